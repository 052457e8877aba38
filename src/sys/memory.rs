//! Memory that the allocator keeps although nothing is in it any more.

#![allow(unsafe_code, reason = "what the allocator offers for it is a function of C")]

/// Gives the pages of freed memory back to the system at once; by itself the binary's allocator takes a second or more. Takes
/// some milliseconds for each hundred megabytes.
pub fn give_back() {
    #[cfg(not(target_env = "msvc"))]
    {
        use std::ptr::null_mut;
        // SAFETY: the name is a C string, nothing is read or written through the pointers, and 4096 stands for every arena.
        let _ =
            unsafe { tikv_jemalloc_sys::mallctl(c"arena.4096.purge".as_ptr(), null_mut(), null_mut(), null_mut(), 0) };
    }
}
