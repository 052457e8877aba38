//! Many datagrams in each system call: recvmmsg(2) and sendmmsg(2).
//!
//! The structures that the kernel reads and writes, the datagrams and the answers lie in one mapping, made once; a
//! batch allocates nothing. Each slot for a datagram is as long as any datagram, but its pages exist only once
//! something that long has come.

#![allow(unsafe_code, reason = "recvmmsg and sendmmsg take structures of C that point at each other")]

use super::datagrams::{ANSWER, DATAGRAM, Datagrams, Slot, Way, prepare};
use super::pktinfo::{self, Control};
use libc::{c_int, c_uint, iovec, mmsghdr, sockaddr_storage, socklen_t};
use socket2::{Domain, SockRef, Socket, Type};
use std::io;
use std::mem::size_of;
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
    /// One after the other, so that short ones lie together.
    answers: [u8; SLOTS * ANSWER],
    datagrams: [u8; SLOTS * STRIDE],
}

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
    /// How many answers wait to be sent; at most [`SLOTS`].
    queued: usize,
    /// How many octets of `answers` they take; a multiple of [`LINE`], at most `queued` times [`ANSWER`].
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
                let outgoing = Batch::item(&raw mut (*room).outgoing, index);
                (*outgoing).msg_hdr.msg_iov = Batch::item(&raw mut (*room).outgoing_parts, index);
                (*outgoing).msg_hdr.msg_iovlen = 1;
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
        let mut batch = Batch { socket, room, wildcard, received: 0, queued: 0, used: 0 };
        batch.link();
        Ok(batch)
    }

    fn receive(&mut self) -> io::Result<usize> {
        self.clear(self.received);
        (self.received, self.queued, self.used) = (0, 0, 0);
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

    fn slot(&mut self, index: usize) -> Option<Slot<'_>> {
        if index >= self.received || self.queued >= SLOTS {
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
            let datagram = (&raw const (*room).datagrams).cast::<u8>().add(index * STRIDE);
            let len = usize::try_from((*incoming).msg_len).unwrap_or(0).min(DATAGRAM);
            let answer = (&raw mut (*room).answers).cast::<u8>().add(self.used);
            Some(Slot {
                datagram: std::slice::from_raw_parts(datagram, len),
                way: Way { peer, asked },
                room: std::slice::from_raw_parts_mut(answer, ANSWER),
            })
        }
    }

    fn answer(&mut self, index: usize, len: usize) {
        if index >= self.received || self.queued >= SLOTS {
            return;
        }
        let room = self.room.as_ptr();
        let len = len.min(ANSWER);
        // SAFETY: `index` and `queued` are below SLOTS, and `used` plus ANSWER within `answers`, as in `slot`.
        unsafe {
            let incoming = &raw const (*Batch::item(&raw mut (*room).incoming, index)).msg_hdr;
            let outgoing = &raw mut (*Batch::item(&raw mut (*room).outgoing, self.queued)).msg_hdr;
            let part = Batch::item(&raw mut (*room).outgoing_parts, self.queued);
            (*part).iov_base = (&raw mut (*room).answers).cast::<u8>().add(self.used).cast();
            (*part).iov_len = len;
            // The address as it came is the address to send to.
            (*outgoing).msg_name = (*incoming).msg_name;
            (*outgoing).msg_namelen = (*incoming).msg_namelen;
            if self.wildcard {
                let control = Batch::item(&raw mut (*room).controls, index);
                let told = (*incoming).msg_controllen > 0 && (*control).turn();
                (*outgoing).msg_control = if told { control.cast() } else { ptr::null_mut() };
                (*outgoing).msg_controllen = if told { size_of::<Control>() as _ } else { 0 };
            }
        }
        self.queued += 1;
        self.used += len.next_multiple_of(LINE);
    }

    fn send(&mut self) -> io::Result<()> {
        let room = self.room.as_ptr();
        let mut outcome = Ok(());
        let mut sent = 0;
        while sent < self.queued {
            let count = c_uint::try_from(self.queued - sent).unwrap_or(COUNT);
            // SAFETY: the descriptor is open while the socket lives; from that pointer on lie `count` structures that
            // `answer` has filled, and what they point at has the lengths that they say.
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
                        outcome = Err(error);
                        sent += 1;
                    }
                }
            }
        }
        (self.queued, self.used) = (0, 0);
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
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, SocketAddr};

    fn batch(address: &str) -> (Batch, SocketAddr) {
        let socket = UdpSocket::bind(address).unwrap();
        let server = socket.local_addr().unwrap();
        let sockets = Batch::sockets(socket, NonZeroUsize::MIN).unwrap();
        (Batch::new(Arc::clone(&sockets[0])).unwrap(), server)
    }

    fn client(server: SocketAddr) -> UdpSocket {
        let client = UdpSocket::bind(SocketAddr::new(server.ip(), 0)).unwrap();
        client.connect(server).unwrap();
        client.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        client
    }

    #[test]
    fn every_slot_answers_its_own_peer_as_long_as_it_likes() {
        let (mut batch, server) = batch("127.0.0.1:0");
        let clients: Vec<UdpSocket> = (0..SLOTS + 6).map(|_| client(server)).collect();
        for round in 0..3_u8 {
            for (index, client) in clients.iter().enumerate() {
                client.send(&vec![round; index]).unwrap();
            }
            let mut seen = 0;
            while seen < clients.len() {
                let received = batch.receive().unwrap();
                for index in 0..received {
                    let slot = batch.slot(index).unwrap();
                    // Each client says which one it is by the length.
                    let client = slot.datagram.len();
                    assert_eq!(slot.datagram, vec![round; client]);
                    assert_eq!(slot.way.peer, clients[client].local_addr().unwrap());
                    // Every other one is answered, with all the room there is.
                    slot.room.fill(round ^ client.to_be_bytes()[7]);
                    if client % 2 == 0 {
                        batch.answer(index, ANSWER + 1);
                    }
                }
                batch.send().unwrap();
                seen += received;
            }
            for (index, client) in clients.iter().enumerate().filter(|(index, _)| index % 2 == 0) {
                let mut answer = vec![0; 2 * ANSWER];
                let len = client.recv(&mut answer).unwrap();
                assert_eq!(answer[..len], vec![round ^ index.to_be_bytes()[7]; ANSWER]);
            }
        }
        assert!(batch.slot(SLOTS).is_none());
    }

    #[test]
    fn an_answer_that_cannot_be_sent_holds_up_no_other() {
        let (mut batch, server) = batch("127.0.0.1:0");
        let clients = [client(server), client(server), client(server)];
        // All three in one batch.
        loop {
            clients.iter().for_each(|client| assert_eq!(client.send(b"question").unwrap(), 8));
            if batch.receive().unwrap() >= 3 {
                break;
            }
        }
        for index in 0..3 {
            batch.slot(index).unwrap().room[..2].copy_from_slice(b"ok");
            batch.answer(index, 2);
        }
        // SAFETY: the room is the batch's own and no call is under way.
        unsafe {
            // An address of no known family.
            let peer = Batch::item(&raw mut (*batch.room.as_ptr()).peers, 1);
            (*peer).ss_family = 0xffff;
        }
        assert!(batch.send().is_err());
        for index in [0, 2] {
            let peer = batch.slot(index).unwrap().way.peer;
            let client = clients.iter().find(|client| client.local_addr().unwrap() == peer).unwrap();
            assert_eq!(client.recv(&mut [0; 8]).unwrap(), 2);
        }
    }

    #[test]
    fn a_socket_at_all_addresses_tells_which_was_asked_and_answers_from_it() {
        let (mut batch, server) = batch("0.0.0.0:0");
        for last in [1, 2, 77] {
            let asked = SocketAddr::new([127, 0, 0, last].into(), server.port());
            let client = client(asked);
            for later in [false, true] {
                client.send(b"which").unwrap();
                assert_eq!(batch.receive().unwrap(), 1);
                let slot = batch.slot(0).unwrap();
                let way = slot.way;
                assert_eq!(way.asked.unwrap().address, asked.ip());
                slot.room[..2].copy_from_slice(b"ok");
                if later {
                    Batch::send_later(&batch.socket, b"ok", way).unwrap();
                } else {
                    batch.answer(0, 2);
                    batch.send().unwrap();
                }
                // Only what comes from the address that it is connected to arrives.
                let mut answer = [0; 8];
                assert_eq!(client.recv(&mut answer).unwrap(), 2);
            }
        }
        let (mut batch, server) = super::tests::batch("[::]:0");
        let asked = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), server.port());
        let client = client(asked);
        client.send(b"which").unwrap();
        assert_eq!(batch.receive().unwrap(), 1);
        assert_eq!(batch.slot(0).unwrap().way.asked.unwrap().address, asked.ip());
        batch.answer(0, 2);
        batch.send().unwrap();
        assert_eq!(client.recv(&mut [0; 8]).unwrap(), 2);
    }

    #[test]
    fn a_socket_at_one_address_is_told_nothing_and_its_waiting_can_be_ended() {
        let (mut batch, server) = batch("127.0.0.1:0");
        client(server).send(b"which").unwrap();
        assert_eq!(batch.receive().unwrap(), 1);
        assert_eq!(batch.slot(0).unwrap().way.asked, None);
        Batch::wake(&batch.socket);
        for _ in 0..2 {
            let received = batch.receive().unwrap();
            assert!((0..received).all(|index| batch.slot(index).is_none()));
        }
    }

    #[test]
    fn workers_share_an_address_that_nobody_else_can_have() {
        let workers = NonZeroUsize::new(3).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = socket.local_addr().unwrap();
        let sockets = Batch::sockets(socket, workers).unwrap();
        assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == server) && sockets.len() == 3);
        // A second server binds its first socket alone.
        assert_eq!(UdpSocket::bind(server).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // The kernel deals datagrams out to all of them.
        let clients: Vec<UdpSocket> = (0..200).map(|_| client(server)).collect();
        clients.iter().for_each(|client| assert_eq!(client.send(b"question").unwrap(), 8));
        let mut batches: Vec<(Batch, usize)> = Vec::new();
        for socket in sockets {
            socket.set_nonblocking(true).unwrap();
            batches.push((Batch::new(socket).unwrap(), 0));
        }
        while batches.iter().map(|(_, here)| here).sum::<usize>() < clients.len() {
            batches.iter_mut().for_each(|(batch, here)| *here += batch.receive().unwrap_or(0));
        }
        assert!(batches.iter().all(|(_, here)| *here > 0));
    }
}
