//! Queries over TCP: each connection keeps a window of them under way, and they are answered in any order (RFC 7766).

use super::Setup;
use super::mmsg::wait;
use super::question::{Expected, LONGEST, Questions, is_answer};
use super::window::{Window, number_of};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// The first part, which does not count, in microseconds.
const WARM_UP: u64 = 300_000;

/// After so long without an answer, in microseconds, a connection is opened anew.
const STUCK: u64 = 1_000_000;

#[derive(Default, Clone, Copy)]
struct Count {
    answered: u64,
    wrong: u64,
    /// Connections that ended or stood still, and were opened anew.
    reopened: u64,
}

pub(crate) fn run(setup: &Setup) {
    let mut questions = Questions::new(setup);
    let mut count = Count::default();
    let mut connections: Vec<Connection> = (0..setup.connections).map(|_| Connection::open(setup)).collect();
    let mut buffer = vec![0; 64 * 1024];
    let begin = setup.micros();
    let mut counted = None;
    loop {
        let now = setup.micros();
        if counted.is_none() && now >= begin + WARM_UP {
            counted = Some((now, count, setup.processes.used()));
        }
        if counted.is_some_and(|(start, ..)| now >= start + setup.length()) {
            break;
        }
        for connection in &mut connections {
            connection.fill(&mut questions);
        }
        let streams: Vec<&TcpStream> = connections.iter().map(|connection| &connection.stream).collect();
        let up = wait(&streams, |index| !connections[index].unsent.is_empty(), 20);
        for (connection, up) in connections.iter_mut().zip(up) {
            let alive = !up || connection.receive(setup, &mut buffer, &mut count);
            if !alive || now > connection.heard + STUCK {
                *connection = Connection::open(setup);
                count.reopened += 1;
            }
        }
    }
    let (start, before, used) = counted.unwrap();
    let answered = count.answered - before.answered;
    print!("rate={:.0}", answered as f64 * 1e6 / (setup.micros() - start) as f64);
    setup.processes.print_since(used, answered);
    println!(" answered={answered} wrong={} reopened={}", count.wrong, count.reopened);
}

struct Connection {
    stream: TcpStream,
    window: Window<Expected>,
    unsent: Vec<u8>,
    /// The beginning of an answer whose end is still to come.
    partial: Vec<u8>,
    heard: u64,
}

impl Connection {
    fn open(setup: &Setup) -> Connection {
        let stream = TcpStream::connect(setup.address()).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        let window = Window::new(setup.window);
        Connection { stream, window, unsent: Vec::new(), partial: Vec::new(), heard: setup.micros() }
    }

    /// Asks as much as the window has room for, with one write; waits until that is half of it.
    fn fill(&mut self, questions: &mut Questions) {
        if self.unsent.is_empty() && self.window.room() > self.window.under_way() {
            let mut message = [0; LONGEST];
            loop {
                let mut len = 0;
                let taken = self.window.take(|number| {
                    let (written, expected) = questions.next(number, &mut message);
                    len = written;
                    expected
                });
                if taken.is_none() {
                    break;
                }
                self.unsent.extend_from_slice(&(len as u16).to_be_bytes());
                self.unsent.extend_from_slice(&message[..len]);
            }
        }
        if !self.unsent.is_empty() {
            // An error shows again when it is read.
            let written = self.stream.write(&self.unsent).unwrap_or(0);
            self.unsent.drain(..written);
        }
    }

    /// Takes what has come; whether the connection lives.
    fn receive(&mut self, setup: &Setup, buffer: &mut [u8], count: &mut Count) -> bool {
        match self.stream.read(buffer) {
            Ok(0) => return false,
            Ok(len) => self.partial.extend_from_slice(&buffer[..len]),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        self.heard = setup.micros();
        let mut rest = self.partial.as_slice();
        while let Some((length, after)) = rest.split_first_chunk() {
            let Some((message, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))) else {
                break;
            };
            rest = after;
            let Some(expected) = self.window.settle(number_of(message)) else { continue };
            if is_answer(message, if setup.echo { Expected::Echo } else { expected }) {
                count.answered += 1;
            } else {
                count.wrong += 1;
            }
        }
        let taken = self.partial.len() - rest.len();
        self.partial.drain(..taken);
        true
    }
}
