//! One stream of messages: a TCP connection, or what is inside an encrypted one.
//!
//! What has come is read with one call, answered from one snapshot of the zones, and the answers leave with one call. All
//! that happens without waiting, in memory that belongs to the thread (a [`Desk`]): a connection itself keeps only the
//! beginning of a message whose end is still to come, and answers that its peer does not take. So 10,000 idle
//! connections have no buffers, and busy ones share two that stay in the processor's cache.
//!
//! Measured with 20 connections of 100 queries under way on one core, in turns: where reads had room for 64 octets, 168 to
//! 189 k answers a second; so 734 to 900 k; Knot 157 to 164 k. 4,000 idle connections: 18.6 KB each, now 8.9 KB.

use super::Service;
use crate::metrics::Tally;
use crate::query::{Peer, Verdict, respond};
use crate::server::exchange::MESSAGE;
use crate::sys::datagrams::ANSWER;
use crate::transfer::{Axfr, Piece};
use crate::wire::Message;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};

/// A stream whose messages are answered.
pub(in crate::server) struct Connection<S> {
    pub(in crate::server) stream: S,
    peer: Peer,
    service: Service,
    idle: Duration,
    /// What came and is not answered yet: the beginning of a message, or an update and what is behind it.
    input: Vec<u8>,
    /// Answers that the stream has not taken yet. While there are any, nothing is read.
    output: Vec<u8>,
    /// Whether the stream may hold back some of what it took, as TLS does.
    held_back: bool,
}

/// How much is read at a time. Then it is the next connection's turn.
const READ: usize = 16 * 1024;
/// Answers are gathered up to so many octets before they are written.
const GATHERED: usize = 64 * 1024;
/// What a connection keeps of a buffer that is done with.
const SMALL: usize = 512;

/// Where a thread answers. Nothing stays on it from one turn to the next.
struct Desk {
    /// What was left of the input, at most one message and one reading, and what is read now.
    input: Vec<u8>,
    /// Room for one answer beyond what is gathered.
    output: Vec<u8>,
    tally: Tally,
}

thread_local! {
    static DESK: RefCell<Desk> = RefCell::new(Desk {
        input: vec![0; 2 + MESSAGE + READ],
        output: vec![0; GATHERED + 2 + MESSAGE],
        tally: Tally::default(),
    });
}

/// What came of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Something came, but no message is whole.
    Partial,
    /// Messages were answered, as many as were there.
    Answered,
    /// Messages were answered, and there may be more.
    Busy,
    /// The next message is an update.
    Update,
    /// The next message asks for a whole zone.
    Transfer,
    /// The peer has ended the stream, or the stream has failed.
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(in crate::server) fn new(stream: S, peer: Peer, service: Service) -> Connection<S> {
        let (input, output) = (Vec::new(), Vec::new());
        Connection { stream, peer, idle: service.idle(), service, input, output, held_back: false }
    }

    /// Answers messages in the order they come until the peer ends, errs or is too slow.
    pub(in crate::server) async fn serve(&mut self) {
        let mut stop = self.service.stop.clone();
        let mut stopped = pin!(stop.changed());
        // A message must be whole within the idle time, and answers must be taken within it, however slowly octets go.
        let mut deadline = Instant::now() + self.idle;
        // Set anew only when it goes off.
        let mut alarm = pin!(sleep_until(deadline));
        loop {
            let turn = tokio::select! {
                biased;
                _ = &mut stopped => return,
                turn = poll_fn(|cx| self.turn(cx)) => turn,
                () = &mut alarm => {
                    if alarm.deadline() >= deadline {
                        return;
                    }
                    alarm.as_mut().reset(deadline);
                    continue;
                }
            };
            let outcome = match turn {
                Turn::Partial => continue,
                Turn::Answered => Some(()),
                Turn::Busy => {
                    tokio::task::yield_now().await;
                    Some(())
                }
                // In boxes: what they keep while they wait is many times what an idle connection takes.
                Turn::Update => Box::pin(self.update()).await,
                Turn::Transfer => Box::pin(self.transfer()).await,
                Turn::End => None,
            };
            if outcome.is_none() {
                return;
            }
            deadline = Instant::now() + self.idle;
        }
    }

    /// Writes what is left of earlier answers, then answers what is left of the input, or what comes.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if ready!(self.poll_drain(cx)).is_err() {
            return Poll::Ready(Turn::End);
        }
        DESK.with_borrow_mut(|desk| {
            let left = self.input.len();
            let mut filled = left;
            if first(&self.input).is_none() {
                let Some(room) = desk.input.get_mut(left..left + READ) else { return Poll::Ready(Turn::End) };
                let mut room = ReadBuf::new(room);
                match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room)) {
                    Ok(()) if !room.filled().is_empty() => filled += room.filled().len(),
                    _ => return Poll::Ready(Turn::End),
                }
            }
            let Some(begin) = desk.input.get_mut(..left) else { return Poll::Ready(Turn::End) };
            begin.copy_from_slice(&self.input);
            self.input.clear();

            let Answered { turn, used, written } = self.answer(desk, filled);
            let turn = if turn == Turn::Answered && filled - left == READ { Turn::Busy } else { turn };
            self.input.extend_from_slice(desk.input.get(used..filled).unwrap_or_default());
            self.input.shrink_to(SMALL);
            match self.send(cx, desk.output.get(..written).unwrap_or_default()) {
                Ok(()) => Poll::Ready(turn),
                Err(_) => Poll::Ready(Turn::End),
            }
        })
    }

    /// Answers the whole messages of the first `filled` octets of input, as far as that goes without waiting.
    fn answer(&self, desk: &mut Desk, filled: usize) -> Answered {
        let exchange = &self.service.exchange;
        let view = exchange.published.view();
        let now = exchange.clock.now();
        let Desk { input, output, tally } = desk;
        let mut answered = Answered { turn: Turn::Partial, used: 0, written: 0 };
        while let Some(message) = input.get(answered.used..filled).and_then(first) {
            // Room for a message is left as long as less than GATHERED is written.
            let room = output.get_mut(answered.written..).and_then(|room| room.split_first_chunk_mut());
            let room = room.and_then(|(length, room)| Some((length, room.get_mut(..MESSAGE)?)));
            let Some((length, room)) = room.filter(|_| answered.written < GATHERED) else {
                answered.turn = Turn::Busy;
                break;
            };
            let reason = match respond(&view, self.peer, now, message, room) {
                Verdict::Reply(len, reason) => {
                    // It is within the room, whose length the two octets can say.
                    *length = u16::try_from(len).unwrap_or_default().to_be_bytes();
                    answered.written += 2 + len;
                    self.service.exchange.tell(reason, &view, self.peer, message);
                    reason
                }
                Verdict::Drop(reason) => reason,
                Verdict::Update => {
                    answered.turn = Turn::Update;
                    break;
                }
                Verdict::Transfer => {
                    answered.turn = Turn::Transfer;
                    break;
                }
            };
            tally.count(reason);
            answered.used += 2 + message.len();
            answered.turn = Turn::Answered;
        }
        // Before they are sent: who has an answer finds it counted.
        exchange.metrics.count_all(tally);
        answered
    }

    /// Carries out the update that is the next message.
    async fn update(&mut self) -> Option<()> {
        let input = std::mem::take(&mut self.input);
        let message = first(&input)?;
        let mut room = vec![0; ANSWER];
        let len = self.service.exchange.update(self.peer, message, &mut room).await;
        if let Some(answer) = len.and_then(|len| room.get(..len)) {
            self.gather(answer)?;
        }
        self.input = input.get(2 + message.len()..)?.to_vec();
        Some(())
    }

    /// Sends the zone that the next message asks for, message by message, or the refusal.
    async fn transfer(&mut self) -> Option<()> {
        let input = std::mem::take(&mut self.input);
        let message = first(&input)?;
        let mut room = vec![0; MESSAGE];
        match self.service.exchange.transfer(self.peer, message, &mut room) {
            Ok(granted) => {
                let mut axfr = Axfr::new(&granted.zone, Message::parse(message).ok()?, granted.edns, granted.signer);
                loop {
                    match axfr.next(&mut room, self.service.exchange.clock.now()) {
                        Piece::Message(len) => self.gather(room.get(..len)?)?,
                        Piece::Done => break,
                        // The receiver sees that the transfer broke off, and keeps what it had.
                        Piece::Stuck => return None,
                    }
                    self.drain().await?;
                }
            }
            Err(Some(len)) => self.gather(room.get(..len)?)?,
            Err(None) => {}
        }
        self.input = input.get(2 + message.len()..)?.to_vec();
        Some(())
    }

    /// Adds an answer with its length before it.
    fn gather(&mut self, answer: &[u8]) -> Option<()> {
        self.output.extend_from_slice(&u16::try_from(answer.len()).ok()?.to_be_bytes());
        self.output.extend_from_slice(answer);
        Some(())
    }

    /// Waits until the stream has taken all answers. One who does not take them is cut off; the server's end waits for
    /// nobody.
    async fn drain(&mut self) -> Option<()> {
        let mut stop = self.service.stop.clone();
        let idle = self.idle;
        tokio::select! {
            biased;
            drained = timeout(idle, poll_fn(|cx| self.poll_drain(cx))) => drained.ok()?.ok(),
            _ = stop.changed() => None,
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.output.is_empty() {
            let output = std::mem::take(&mut self.output);
            self.send(cx, &output)?;
            if !self.output.is_empty() {
                return Poll::Pending;
            }
        }
        if self.held_back {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.held_back = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Has the stream take as many of these octets as it does at once, and keeps the others. There are none before them.
    fn send(&mut self, cx: &mut Context<'_>, mut octets: &[u8]) -> io::Result<()> {
        while !octets.is_empty() {
            self.held_back = true;
            match Pin::new(&mut self.stream).poll_write(cx, octets) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(taken) => octets = octets.get(taken?..).unwrap_or_default(),
                Poll::Pending => break,
            }
        }
        self.output.extend_from_slice(octets);
        Ok(())
    }
}

/// How far a turn came.
struct Answered {
    turn: Turn,
    /// Octets of input that are done with.
    used: usize,
    /// Octets of output to be sent.
    written: usize,
}

/// The first message, where it is whole, without its length.
fn first(input: &[u8]) -> Option<&[u8]> {
    let (length, rest) = input.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}
