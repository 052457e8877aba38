//! Many datagrams with one system call, as the servers that are compared do it.
#![allow(unsafe_code, reason = "std has no recvmmsg and no sendmmsg; the program stands alone and cannot use sys")]

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};

/// Room for so many datagrams, and the headers that tell the kernel where they are.
pub(crate) struct Batch {
    headers: Vec<libc::mmsghdr>,
    // The headers point into these two and into `octets`; none of them is ever resized.
    parts: Vec<libc::iovec>,
    _names: Vec<libc::sockaddr_storage>,
    octets: Vec<u8>,
}

/// Whether the other side's addresses are kept, to send to, or the socket is connected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addresses {
    Kept,
    Connected,
}

/// The longest datagram that is kept whole.
const STRIDE: usize = 1536;

impl Batch {
    pub(crate) fn new(size: usize, addresses: Addresses) -> Batch {
        let mut octets = vec![0u8; size * STRIDE];
        // SAFETY: both are plain C structures, for which zeros are a value.
        let mut names: Vec<libc::sockaddr_storage> = vec![unsafe { std::mem::zeroed() }; size];
        let mut headers: Vec<libc::mmsghdr> = vec![unsafe { std::mem::zeroed() }; size];
        let mut parts: Vec<libc::iovec> = octets
            .chunks_exact_mut(STRIDE)
            .map(|chunk| libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: STRIDE })
            .collect();
        for ((header, part), name) in headers.iter_mut().zip(&mut parts).zip(&mut names) {
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            if addresses == Addresses::Kept {
                header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
            }
        }
        Batch { headers, parts, _names: names, octets }
    }

    pub(crate) fn size(&self) -> usize {
        self.headers.len()
    }

    /// Receives what is there, at most the batch; a socket that blocks waits for the first.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        for (header, part) in self.headers.iter_mut().zip(&mut self.parts) {
            part.iov_len = STRIDE;
            if !header.msg_hdr.msg_name.is_null() {
                header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            }
        }
        let size = self.headers.len() as u32;
        // SAFETY: each of the `size` headers points to one part of STRIDE octets and to one name or none, all owned by
        // this batch, which is borrowed until the call returns.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                size,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (header, part) in self.headers.iter().zip(&mut self.parts).take(received) {
            part.iov_len = header.msg_len as usize;
        }
        Ok(received)
    }

    /// The datagram at `index`.
    pub(crate) fn message(&self, index: usize) -> &[u8] {
        &self.octets[index * STRIDE..][..self.parts[index].iov_len]
    }

    /// Room for the datagram at `index`, to be written by `fill`, which says how long it is.
    pub(crate) fn write(&mut self, index: usize, fill: impl FnOnce(&mut [u8]) -> usize) {
        let len = fill(&mut self.octets[index * STRIDE..][..STRIDE]);
        self.parts[index].iov_len = len.min(STRIDE);
    }

    /// Sends the first `count` datagrams; returns how many went.
    pub(crate) fn send(&mut self, socket: &UdpSocket, count: usize) -> io::Result<usize> {
        let count = count.min(self.headers.len());
        // SAFETY: as in `receive`; no more than the headers that there are.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count as u32, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Waits until one of the sockets can be read (or written, where `writing` says so), at most so many milliseconds.
/// Returns for each whether something is up.
pub(crate) fn wait<S: AsFd>(sockets: &[S], writing: impl Fn(usize) -> bool, milliseconds: i32) -> Vec<bool> {
    let mut entries: Vec<libc::pollfd> = sockets
        .iter()
        .enumerate()
        .map(|(index, socket)| {
            let events = if writing(index) { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN };
            libc::pollfd { fd: socket.as_fd().as_raw_fd(), events, revents: 0 }
        })
        .collect();
    // SAFETY: the pointer and the length are those of one vector of entries.
    unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, milliseconds) };
    entries.iter().map(|entry| entry.revents != 0).collect()
}
