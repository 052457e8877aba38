//! Many datagrams in each system call: recvmmsg(2) and sendmmsg(2).
//!
//! The structures that the kernel reads and writes, the datagrams and the answers lie in one mapping, made once; a
//! batch allocates nothing. Each slot for a datagram is as long as any datagram, but its pages exist only once
//! something that long has come.
//!
//! Answers of a batch that are equally long and go the same way leave as one message with a segment size (UDP_SEGMENT of
//! udp(7), Linux 4.18): the kernel walks its stack once for all of them, and cuts them apart at the end.
//! Measured over loopback with `load query` from four sockets, 10,000 hosts, medians of four rounds: 1.28 us of CPU for a
//! query where a bare echo of the same calls took 1.44; without it 1.78, the echo 1.55. It helps where many queries come
//! from one socket, as from a load balancer or a busy forwarder; others lose nothing by it.

#![allow(unsafe_code, reason = "recvmmsg and sendmmsg take structures of C that point at each other")]

mod groups;

use super::datagrams::{ANSWER, DATAGRAM, Datagrams, Slot, Way, prepare};
use super::pktinfo::{self, Control};
use groups::{Answer, Groups, Key};
use libc::{c_int, c_uint, cmsghdr, iovec, mmsghdr, msghdr, sockaddr_storage, socklen_t};
use socket2::{Domain, SockRef, Socket, Type};
use std::io;
use std::mem::{offset_of, size_of};
use std::net::{Shutdown, UdpSocket};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// How many datagrams a batch takes at most.
const COUNT: c_uint = 64;
const SLOTS: usize = COUNT as usize;

/// A cache line. Answers begin at one.
const LINE: usize = 64;

/// From one datagram's slot to the next. Were it a power of two, the beginnings of all slots, which are the parts in
/// use, would share a few lines of the processor's caches.
const STRIDE: usize = (DATAGRAM + 1) + 5 * LINE;

/// The room for an address in octets.
const ADDRESS: socklen_t = 128;
const _: () = assert!(size_of::<sockaddr_storage>() == ADDRESS as usize);

// So that any 64 answers fit, each from the beginning of a line.
const _: () = assert!(ANSWER.is_multiple_of(LINE));

/// All memory of a batch. Zeros are a valid value of each part.
#[repr(C)]
struct Room {
    incoming: [mmsghdr; SLOTS],
    outgoing: [mmsghdr; SLOTS],
    incoming_parts: [iovec; SLOTS],
    outgoing_parts: [iovec; SLOTS],
    peers: [sockaddr_storage; SLOTS],
    controls: [Control; SLOTS],
    options: [Options; SLOTS],
    /// One after the other, so that short ones lie together.
    answers: [u8; SLOTS * ANSWER],
    datagrams: [u8; SLOTS * STRIDE],
}

/// What the kernel is told about one outgoing message. The second goes without the first, the first without the second.
#[repr(C)]
struct Options {
    segment: Segment,
    from: Control,
}

/// The control message that has the kernel cut a message into datagrams, CMSG_SPACE octets.
#[repr(C)]
struct Segment {
    header: cmsghdr,
    size: u16,
}

// CMSG_DATA is what follows the header, and the next message begins where this one's alignment allows.
const _: () = assert!(offset_of!(Segment, size) == size_of::<cmsghdr>());
const _: () = assert!(offset_of!(Options, from) == size_of::<Segment>());

/// The longest answers that are sent together. Every path takes datagrams as long (RFC 791 section 3.1: 576 octets with
/// their headers), so an error is never about one peer's path.
const TOGETHER: usize = 512;

/// A batch of datagrams and the answers to them.
#[derive(Debug)]
pub struct Batch {
    socket: Arc<UdpSocket>,
    /// A mapping of its own, and nobody else's.
    room: NonNull<Room>,
    /// Whether the socket listens on all addresses, so that each answer has to say which one it comes from.
    wildcard: bool,
    /// How many slots the last batch took; at most [`SLOTS`].
    received: usize,
    /// The answers that wait to be sent; at most [`SLOTS`].
    groups: Groups,
    /// Whether the kernel cuts messages apart.
    segments: bool,
    /// How many octets of `answers` they take; a multiple of [`LINE`], at most [`ANSWER`] for each.
    used: usize,
}

// SAFETY: the mapping is reached through this value alone and belongs to no thread.
unsafe impl Send for Batch {}

impl Batch {
    /// The `index`-th part of an array of the mapping.
    ///
    /// # Safety
    ///
    /// `array` is one of the arrays of `room` of at least [`SLOTS`] items, and `index` is less than that.
    unsafe fn item<T, const N: usize>(array: *mut [T; N], index: usize) -> *mut T {
        debug_assert!(index < N);
        // SAFETY: within the array, as the caller promises.
        unsafe { array.cast::<T>().add(index) }
    }

    /// Points the structures at each other, once for all.
    fn link(&mut self) {
        let room = self.room.as_ptr();
        for index in 0..SLOTS {
            // SAFETY: `room` is the mapping, whole and zeroed; every index is below SLOTS, and so is every offset
            // into `datagrams`. No references into it exist, for `self` is borrowed alone.
            unsafe {
                let incoming = Batch::item(&raw mut (*room).incoming, index);
                let part = Batch::item(&raw mut (*room).incoming_parts, index);
                let datagram = (&raw mut (*room).datagrams).cast::<u8>().add(index * STRIDE);
                (*part).iov_base = datagram.cast();
                (*part).iov_len = DATAGRAM;
                (*incoming).msg_hdr.msg_iov = part;
                (*incoming).msg_hdr.msg_iovlen = 1;
                (*incoming).msg_hdr.msg_name = Batch::item(&raw mut (*room).peers, index).cast();
                let segment = &raw mut (*Batch::item(&raw mut (*room).options, index)).segment;
                // CMSG_LEN: the header and the data, without the padding after them.
                (*segment).header.cmsg_len = (size_of::<cmsghdr>() + size_of::<u16>()) as _;
                (*segment).header.cmsg_level = libc::SOL_UDP;
                (*segment).header.cmsg_type = libc::UDP_SEGMENT;
            }
        }
        self.clear(SLOTS);
    }

    /// Tells the kernel again how much room for addresses there is; it wrote over that what it used.
    fn clear(&mut self, slots: usize) {
        let room = self.room.as_ptr();
        for index in 0..slots.min(SLOTS) {
            // SAFETY: as in `link`; the control message of a slot is as long as is said.
            unsafe {
                let incoming = Batch::item(&raw mut (*room).incoming, index);
                (*incoming).msg_hdr.msg_namelen = ADDRESS;
                if self.wildcard {
                    (*incoming).msg_hdr.msg_control = Batch::item(&raw mut (*room).controls, index).cast();
                    (*incoming).msg_hdr.msg_controllen = size_of::<Control>() as _;
                }
            }
        }
    }
}

impl Batch {
    /// Makes a message of each group of answers.
    fn lay_out(&mut self) {
        let room = self.room.as_ptr();
        self.groups.place(|place, answer| {
            // SAFETY: there are at most SLOTS answers, so `place` is below; `at` and `len` lie within `answers`, as in
            // `slot`.
            unsafe {
                let part = Batch::item(&raw mut (*room).outgoing_parts, place);
                (*part).iov_base = (&raw mut (*room).answers).cast::<u8>().add(answer.at).cast();
                (*part).iov_len = answer.len;
            }
        });
        for (index, group) in self.groups.iter().enumerate() {
            // SAFETY: there are no more groups than answers, and all their places and slots are below SLOTS.
            unsafe {
                let incoming = &raw const (*Batch::item(&raw mut (*room).incoming, group.slot)).msg_hdr;
                let outgoing = &raw mut (*Batch::item(&raw mut (*room).outgoing, index)).msg_hdr;
                // The address as it came is the address to send to.
                (*outgoing).msg_name = (*incoming).msg_name;
                (*outgoing).msg_namelen = (*incoming).msg_namelen;
                (*outgoing).msg_iov = Batch::item(&raw mut (*room).outgoing_parts, group.begin);
                (*outgoing).msg_iovlen = group.count as _;
                let options = Batch::item(&raw mut (*room).options, index);
                (*options).segment.size = u16::try_from(group.key.len).unwrap_or(0);
                if let Some(asked) = group.key.asked {
                    (*options).from = Control::new(asked);
                }
                Batch::tell(outgoing, options, group.count > 1, group.key.asked.is_some());
            }
        }
    }

    /// Has a message tell the kernel what of the options counts.
    ///
    /// # Safety
    ///
    /// Both point at such structures.
    unsafe fn tell(message: *mut msghdr, options: *mut Options, segment: bool, from: bool) {
        // SAFETY: as the caller promises; the parts lie one behind the other.
        let (begin, len) = unsafe {
            match (segment, from) {
                (true, true) => (options.cast(), size_of::<Options>()),
                (true, false) => (options.cast(), size_of::<Segment>()),
                (false, true) => ((&raw mut (*options).from).cast(), size_of::<Control>()),
                (false, false) => (ptr::null_mut(), 0),
            }
        };
        // SAFETY: as the caller promises.
        unsafe {
            (*message).msg_control = begin;
            (*message).msg_controllen = len as _;
        }
    }

    /// Sends the answers of a group one by one, where they cannot be sent together.
    fn send_apart(&mut self, index: usize, error: io::Error) -> io::Result<()> {
        let Some(group) = self.groups.iter().nth(index).filter(|group| group.count > 1) else { return Err(error) };
        let (parts, from) = (group.begin..group.begin + group.count, group.key.asked.is_some());
        if matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::ENOPROTOOPT | libc::EOPNOTSUPP)) {
            // The kernel cannot cut, or the device cannot make the checksums of what is cut; neither learns it.
            tracing::debug!("cannot send answers together: {error}");
            self.segments = false;
        }
        let room = self.room.as_ptr();
        let mut outcome = Ok(());
        for part in parts {
            // SAFETY: as in `lay_out` and `send`; the one message is whole.
            let sent = unsafe {
                let message = &raw mut (*Batch::item(&raw mut (*room).outgoing, index)).msg_hdr;
                (*message).msg_iov = Batch::item(&raw mut (*room).outgoing_parts, part);
                (*message).msg_iovlen = 1;
                Batch::tell(message, Batch::item(&raw mut (*room).options, index), false, from);
                loop {
                    let sent = libc::sendmsg(self.socket.as_raw_fd(), message, 0);
                    if sent >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                        break sent;
                    }
                }
            };
            if sent < 0 {
                outcome = Err(io::Error::last_os_error());
            }
        }
        outcome
    }

    /// Forgets the answers.
    fn forget(&mut self) {
        self.groups.clear();
        self.used = 0;
    }
}

/// Whether the kernel cuts messages into datagrams. One that does not know of it would send them whole, without an error.
fn segments(socket: &UdpSocket) -> bool {
    let mut value: c_int = 0;
    let mut len: socklen_t = 4;
    // SAFETY: the descriptor is open while `socket` lives; the value has room for the c_int that `len` says.
    let done = unsafe {
        let (value, len) = ((&raw mut value).cast(), &raw mut len);
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, value, len)
    };
    done == 0
}

impl Datagrams for Batch {
    /// A socket for each worker, at one address (SO_REUSEPORT): the kernel shares the datagrams out by who sends them.
    fn sockets(first: UdpSocket, workers: NonZeroUsize) -> io::Result<Vec<Arc<UdpSocket>>> {
        prepare(&first)?;
        let mut sockets = vec![Arc::new(first)];
        let Some(first) = sockets.first().cloned() else { return Ok(sockets) };
        let address = first.local_addr()?;
        if workers.get() > 1 {
            // Only now that it is bound: so nobody else is at this address, not even who would share it.
            SockRef::from(&first).set_reuse_port(true)?;
        }
        while sockets.len() < workers.get() {
            let next = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
            if address.is_ipv6() {
                next.set_only_v6(SockRef::from(&first).only_v6()?)?;
            }
            next.set_reuse_port(true)?;
            next.bind(&address.into())?;
            let next = UdpSocket::from(next);
            prepare(&next)?;
            sockets.push(Arc::new(next));
        }
        Ok(sockets)
    }

    fn new(socket: Arc<UdpSocket>) -> io::Result<Batch> {
        let address = socket.local_addr()?;
        let wildcard = address.ip().is_unspecified();
        if wildcard {
            pktinfo::enable(&socket, address.is_ipv6())?;
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // No swap space is set aside for what hardly anybody ever sends.
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at a place that the kernel chooses touches no other memory.
        let mapping = unsafe { libc::mmap(ptr::null_mut(), size_of::<Room>(), access, kind, -1, 0) };
        if mapping == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // Huge pages would make all of it exist with the first datagram. An error leaves it at that.
        // SAFETY: the range is the mapping, whose contents this does not change.
        let _ = unsafe { libc::madvise(mapping, size_of::<Room>(), libc::MADV_NOHUGEPAGE) };
        let room = NonNull::new(mapping.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let segments = segments(&socket);
        let mut batch = Batch { socket, room, wildcard, received: 0, groups: Groups::default(), segments, used: 0 };
        batch.link();
        Ok(batch)
    }

    fn receive(&mut self) -> io::Result<usize> {
        self.clear(self.received);
        self.forget();
        self.received = 0;
        let room = self.room.as_ptr();
        // MSG_WAITFORONE: waits for the first datagram and takes whatever else is there.
        // SAFETY: the descriptor is open while the socket lives; COUNT structures lie at that pointer, and what they
        // point at has the lengths that they say; nobody holds references into it, for `self` is borrowed alone.
        let received = unsafe {
            let incoming = Batch::item(&raw mut (*room).incoming, 0);
            libc::recvmmsg(self.socket.as_raw_fd(), incoming, COUNT, libc::MSG_WAITFORONE, ptr::null_mut())
        };
        match usize::try_from(received) {
            Ok(received) => self.received = received.min(SLOTS),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
        Ok(self.received)
    }

    fn datagram(&self, index: usize) -> &[u8] {
        if index >= self.received {
            return &[];
        }
        let room = self.room.as_ptr();
        // SAFETY: `index` is below SLOTS. The kernel filled the slot, no call that writes there is under way, and none can
        // be made while `self` is borrowed.
        unsafe {
            let len = (*Batch::item(&raw mut (*room).incoming, index)).msg_len;
            let datagram = (&raw const (*room).datagrams).cast::<u8>().add(index * STRIDE);
            std::slice::from_raw_parts(datagram, usize::try_from(len).unwrap_or(0).min(DATAGRAM))
        }
    }

    fn slot(&mut self, index: usize) -> Option<Slot<'_>> {
        if index >= self.received || self.groups.is_full() {
            return None;
        }
        let room = self.room.as_ptr();
        // SAFETY: `index` is below SLOTS. The kernel filled the slot, and no call that writes there is under way. With
        // fewer than SLOTS answers queued, ANSWER octets are left of `answers` beyond those in use. The two slices do
        // not overlap, every octet of them is initialised, and they borrow `self` alone.
        unsafe {
            let incoming = Batch::item(&raw mut (*room).incoming, index);
            let peer = pktinfo::address(Batch::item(&raw mut (*room).peers, index), (*incoming).msg_hdr.msg_namelen)?;
            let asked = match self.wildcard && (*incoming).msg_hdr.msg_controllen > 0 {
                true => (*Batch::item(&raw mut (*room).controls, index)).asked(),
                false => None,
            };
            let answer = (&raw mut (*room).answers).cast::<u8>().add(self.used);
            Some(Slot {
                datagram: self.datagram(index),
                way: Way { peer, asked },
                room: std::slice::from_raw_parts_mut(answer, ANSWER),
            })
        }
    }

    fn answer(&mut self, index: usize, len: usize) {
        if index >= self.received || self.groups.is_full() {
            return;
        }
        let room = self.room.as_ptr();
        let len = len.min(ANSWER);
        // SAFETY: `index` is below SLOTS. The kernel has filled the slot, or it holds zeros; an address has its octets at
        // the beginning, and the first four words lie within it, aligned.
        let key = unsafe {
            let incoming = Batch::item(&raw mut (*room).incoming, index);
            let asked = match self.wildcard && (*incoming).msg_hdr.msg_controllen > 0 {
                true => (*Batch::item(&raw mut (*room).controls, index)).asked(),
                false => None,
            };
            // The kernel never writes beyond the address that it tells, and all of a socket's are of one kind.
            let peer = Batch::item(&raw mut (*room).peers, index).cast::<[u64; 4]>().read();
            Key { peer, asked, len }
        };
        let together = self.segments && (1..=TOGETHER).contains(&len);
        self.groups.add(key, Answer { slot: index, at: self.used, len }, together);
        self.used += len.next_multiple_of(LINE);
    }

    fn send(&mut self) -> io::Result<()> {
        self.lay_out();
        let room = self.room.as_ptr();
        let mut outcome = Ok(());
        let mut sent = 0;
        while sent < self.groups.len() {
            let count = c_uint::try_from(self.groups.len() - sent).unwrap_or(COUNT);
            // SAFETY: the descriptor is open while the socket lives; from that pointer on lie `count` structures that
            // `lay_out` has filled, and what they point at has the lengths that they say.
            let done = unsafe {
                let outgoing = Batch::item(&raw mut (*room).outgoing, sent);
                libc::sendmmsg(self.socket.as_raw_fd(), outgoing, count, 0)
            };
            match usize::try_from(done) {
                Ok(done) if done > 0 => sent += done,
                _ => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        // It is about the first of them; the others go on.
                        if let Err(error) = self.send_apart(sent, error) {
                            outcome = Err(error);
                        }
                        sent += 1;
                    }
                }
            }
        }
        self.forget();
        outcome
    }

    fn send_later(socket: &UdpSocket, answer: &[u8], way: Way) -> io::Result<()> {
        pktinfo::send(socket, answer, way)
    }

    /// On Linux shutdown(2) ends the waiting even on a socket that is not connected; it complains of that and does it
    /// all the same. The worker needs no timeout and no second descriptor for it, and what is queued is still read.
    fn wake(socket: &UdpSocket) {
        let _ = SockRef::from(socket).shutdown(Shutdown::Read);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length, and nothing points into it any more.
        let _: c_int = unsafe { libc::munmap(self.room.as_ptr().cast(), size_of::<Room>()) };
    }
}

#[cfg(test)]
mod tests;
