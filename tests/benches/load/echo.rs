//! The echo: the least that a server does which takes datagrams or streams and gives answers.

use super::mmsg::{Addresses, Batch, wait};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

/// How many datagrams go with one system call.
const BATCH: usize = 64;

/// How much is read from a connection at a time, and written with one call.
const READ: usize = 64 * 1024;

pub(crate) fn run(address: SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    let socket = UdpSocket::bind(address).unwrap();
    std::thread::spawn(move || streams(&listener));
    let mut batch = Batch::new(BATCH, Addresses::Kept);
    loop {
        // An error here is the ICMP answer to a datagram whose sender has gone.
        let Ok(count) = batch.receive(&socket) else { continue };
        let _ = batch.send(&socket, count);
    }
}

struct Connection {
    stream: TcpStream,
    /// What was read and could not be written yet.
    left: Vec<u8>,
}

impl Connection {
    /// Writes back all that there is to read; whether the connection lives.
    fn turn(&mut self, buffer: &mut [u8]) -> bool {
        if self.left.is_empty() {
            match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(len) => self.left.extend_from_slice(&buffer[..len]),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        match self.stream.write(&self.left) {
            Ok(len) => drop(self.left.drain(..len)),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        true
    }
}

fn streams(listener: &TcpListener) {
    listener.set_nonblocking(true).unwrap();
    let mut connections: Vec<Connection> = Vec::new();
    let mut buffer = vec![0; READ];
    loop {
        let sockets: Vec<BorrowedFd<'_>> =
            connections.iter().map(|connection| connection.stream.as_fd()).chain([listener.as_fd()]).collect();
        let up = wait(&sockets, |index| connections.get(index).is_some_and(|one| !one.left.is_empty()), -1);
        let mut index = 0;
        connections.retain_mut(|connection| {
            index += 1;
            !up[index - 1] || connection.turn(&mut buffer)
        });
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).unwrap();
            stream.set_nodelay(true).unwrap();
            connections.push(Connection { stream, left: Vec::new() });
        }
    }
}
