//! Messages to a server and back, as octets.

use super::DEADLINE;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};

/// A UDP socket that talks to one server.
#[derive(Debug)]
pub(crate) struct Udp(UdpSocket);

impl Udp {
    /// A socket at a port that the system picks.
    pub(crate) fn connect(server: SocketAddr) -> Udp {
        let local = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let socket = UdpSocket::bind(local).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Udp(socket)
    }

    /// Sends one datagram.
    pub(crate) fn send(&self, message: &[u8]) {
        self.0.send(message).unwrap();
    }

    /// The next datagram; an error after the deadline.
    pub(crate) fn receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 65_535];
        loop {
            match self.0.recv(&mut buffer) {
                // The whole machine may have stood still; a wait with a deadline is not taken up again by itself.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => {
                    buffer.truncate(outcome?);
                    return Ok(buffer);
                }
            }
        }
    }

    /// Sends a message and takes the next datagram for its answer.
    pub(crate) fn ask(&self, message: &[u8]) -> Vec<u8> {
        self.send(message);
        self.receive().expect("no answer over UDP")
    }
}

/// A TCP connection to a server.
#[derive(Debug)]
pub(crate) struct Tcp(TcpStream);

impl Tcp {
    /// A new connection.
    pub(crate) fn connect(server: SocketAddr) -> Tcp {
        let stream = TcpStream::connect_timeout(&server, DEADLINE).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        // Each write is to be a segment of its own.
        stream.set_nodelay(true).unwrap();
        Tcp(stream)
    }

    /// Sends these octets as they are.
    pub(crate) fn send_raw(&mut self, octets: &[u8]) -> io::Result<()> {
        self.0.write_all(octets)
    }

    /// Sends one message with its length before it.
    pub(crate) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.send_raw(&framed(message))
    }

    /// The next message; `None` where the server has closed the connection.
    pub(crate) fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut length = [0; 2];
        match self.0.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut message)?;
        Ok(Some(message))
    }

    /// Sends a message and takes the next one for its answer.
    pub(crate) fn ask(&mut self, message: &[u8]) -> Vec<u8> {
        self.send(message).unwrap();
        self.receive().expect("no answer over TCP").expect("connection closed without an answer")
    }

    /// The stream, for what else a test does with it.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.0
    }
}

impl From<socket2::Socket> for Tcp {
    /// A connection made elsewhere.
    fn from(socket: socket2::Socket) -> Tcp {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Tcp(socket.into())
    }
}

/// A message with its length before it (RFC 1035 section 4.2.2).
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes(), message].concat()
}
