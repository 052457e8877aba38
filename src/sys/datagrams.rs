//! Datagrams as a worker sees them: it receives some, answers each or not, and sends the answers.
//!
//! Two kinds carry this out: on Linux `mmsg`, many datagrams in each system call; everywhere else, and in tests
//! beside the other, [`Single`], one at a time. What differs between systems is decided here and there; the worker is
//! the same code for both.

use socket2::SockRef;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// A socket's datagrams and the room for answers to them.
pub trait Datagrams: Sized + Send + 'static {
    /// A socket for each of so many workers, the first of them bound already: each its own where the system then
    /// shares the datagrams out among them, else all the same.
    fn sockets(first: UdpSocket, workers: NonZeroUsize) -> io::Result<Vec<Arc<UdpSocket>>>;

    /// Makes room for the datagrams of a socket that blocks.
    fn new(socket: Arc<UdpSocket>) -> io::Result<Self>;

    /// Waits for datagrams and returns how many slots they take. Returns after a while, or once [`Datagrams::wake`] is
    /// called, with none.
    fn receive(&mut self) -> io::Result<usize>;

    /// What came in a slot, at once. Empty where nothing came.
    fn datagram(&self, index: usize) -> &[u8];

    /// What came in a slot, and room for the answer to it. `None` where nothing came.
    fn slot(&mut self, index: usize) -> Option<Slot<'_>>;

    /// The first `len` octets of the room that [`Datagrams::slot`] has just given are the answer.
    fn answer(&mut self, index: usize, len: usize);

    /// Sends all answers. One that cannot be sent is left out; the error is that of the last such.
    fn send(&mut self) -> io::Result<()>;

    /// Sends one answer later, from whatever thread; waits for room in the system's queue.
    fn send_later(socket: &UdpSocket, answer: &[u8], way: Way) -> io::Result<()>;

    /// Ends the waiting of the worker at `socket`, now and from now on.
    fn wake(socket: &UdpSocket);
}

/// A datagram, and room for its answer.
#[derive(Debug)]
pub struct Slot<'a> {
    /// What came.
    pub datagram: &'a [u8],
    /// Whence, and how an answer gets back.
    pub way: Way,
    /// [`ANSWER`] octets.
    pub room: &'a mut [u8],
}

/// Where an answer goes, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Who asked.
    pub peer: SocketAddr,
    /// Which address was asked, where the socket listens on all and the system tells.
    pub asked: Option<Asked>,
}

/// An address of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The address.
    pub address: IpAddr,
    /// The interface of a link-local one, which means nothing without; else 0.
    pub interface: u32,
}

/// The room for one answer in octets: more than the longest that is configured, and a TSIG record.
pub const ANSWER: usize = 4096 + 1024;

/// The longest datagram in octets.
pub(super) const DATAGRAM: usize = 65_535;

/// The kernel's queue of received datagrams in octets: what comes while the worker is not on a processor.
const QUEUE: usize = 4 << 20;

/// How long [`Single`] waits before it looks whether it is to end.
const PATIENCE: Duration = Duration::from_millis(100);

/// One datagram at a time, by the standard library alone.
///
/// All workers share one socket. Where several addresses are this machine's, the system chooses which one an answer
/// comes from.
#[derive(Debug)]
pub struct Single {
    socket: Arc<UdpSocket>,
    datagram: Vec<u8>,
    len: usize,
    peer: Option<SocketAddr>,
    room: Vec<u8>,
    answer: Option<usize>,
}

impl Datagrams for Single {
    fn sockets(first: UdpSocket, workers: NonZeroUsize) -> io::Result<Vec<Arc<UdpSocket>>> {
        prepare(&first)?;
        // There is no portable way to end the waiting on a socket from outside.
        first.set_read_timeout(Some(PATIENCE))?;
        let shared = Arc::new(first);
        Ok(vec![shared; workers.get()])
    }

    fn new(socket: Arc<UdpSocket>) -> io::Result<Single> {
        Ok(Single { socket, datagram: vec![0; DATAGRAM], len: 0, peer: None, room: vec![0; ANSWER], answer: None })
    }

    fn receive(&mut self) -> io::Result<usize> {
        self.peer = None;
        match self.socket.recv_from(&mut self.datagram) {
            Ok((len, peer)) => {
                (self.len, self.peer) = (len, Some(peer));
                Ok(1)
            }
            Err(error) => match error.kind() {
                // On Windows the last is an ICMP message about an earlier answer.
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted | ErrorKind::ConnectionReset => {
                    Ok(0)
                }
                _ => Err(error),
            },
        }
    }

    fn datagram(&self, index: usize) -> &[u8] {
        let len = if index == 0 && self.peer.is_some() { self.len } else { 0 };
        self.datagram.get(..len).unwrap_or_default()
    }

    fn slot(&mut self, index: usize) -> Option<Slot<'_>> {
        let peer = self.peer.filter(|_| index == 0)?;
        let datagram = self.datagram.get(..self.len)?;
        Some(Slot { datagram, way: Way { peer, asked: None }, room: &mut self.room })
    }

    fn answer(&mut self, index: usize, len: usize) {
        if index == 0 {
            self.answer = Some(len);
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let answer = self.answer.take().and_then(|len| self.room.get(..len));
        match answer.zip(self.peer) {
            Some((answer, peer)) => self.socket.send_to(answer, peer).map(drop),
            None => Ok(()),
        }
    }

    fn send_later(socket: &UdpSocket, answer: &[u8], way: Way) -> io::Result<()> {
        socket.send_to(answer, way.peer).map(drop)
    }

    fn wake(_: &UdpSocket) {}
}

/// Has the socket block, and asks for a longer queue; a shorter one serves too.
pub(super) fn prepare(socket: &UdpSocket) -> io::Result<()> {
    if let Err(error) = SockRef::from(socket).set_recv_buffer_size(QUEUE) {
        tracing::debug!("cannot lengthen the queue of a UDP socket: {error}");
    }
    socket.set_nonblocking(false)
}
