//! UDP: one datagram, one message (RFC 1035 section 4.2.1).
//!
//! At each address some threads answer, each by itself: it takes what datagrams have come, answers them all from one
//! snapshot of the zones, and sends the answers. It waits for nothing else, takes no lock and allocates nothing for a
//! query. An update it verifies and reads, so that this is done by all workers at once, and hands to the writer; the
//! answer leaves by the same socket once the change is durable.

use super::exchange::{Admitted, Exchange};
use super::writer::{Applied, Entrance, Request};
use crate::metrics::Tally;
use crate::query::{Peer, Transport, Verdict, prepare, respond};
use crate::sys::datagrams::{ANSWER, Datagrams, Way};
use crate::update::Refusal;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How many updates from datagrams may be under way at once, over all workers. Beyond that they are dropped; their
/// senders ask again.
const UNDER_WAY: usize = 4096;

/// How long a worker rests when it cannot receive: the machine is out of memory, most likely.
const REST: Duration = Duration::from_millis(10);

/// The threads of all addresses. Dropping this ends them: what they have received by then is answered, and updates
/// under way are finished by their own tasks.
#[derive(Debug)]
pub(crate) struct Workers {
    stop: Arc<AtomicBool>,
    wake: fn(&UdpSocket),
    under_way: Arc<Semaphore>,
    sockets: Vec<Arc<UdpSocket>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// None yet; all are to use the same kind of datagrams.
    pub(crate) fn new<D: Datagrams>() -> Workers {
        Workers {
            stop: Arc::default(),
            wake: D::wake,
            under_way: Arc::new(Semaphore::new(UNDER_WAY)),
            sockets: Vec::new(),
            threads: Vec::new(),
        }
    }

    /// Starts so many workers at the address that a socket is bound to.
    pub(crate) fn start<D: Datagrams>(
        &mut self,
        socket: UdpSocket,
        count: NonZeroUsize,
        exchange: &Arc<Exchange>,
    ) -> io::Result<()> {
        for socket in D::sockets(socket, count)? {
            let worker = Worker {
                datagrams: D::new(Arc::clone(&socket))?,
                socket: Arc::clone(&socket),
                exchange: Arc::clone(exchange),
                under_way: Arc::clone(&self.under_way),
                stop: Arc::clone(&self.stop),
                tally: Tally::default(),
            };
            let name = format!("udp-{}", self.threads.len());
            self.threads.push(std::thread::Builder::new().name(name).spawn(|| worker.run())?);
            self.sockets.push(socket);
        }
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.sockets.iter().for_each(|socket| (self.wake)(socket));
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a UDP worker ended by a defect; its datagrams were not answered");
            }
        }
    }
}

/// One thread.
struct Worker<D> {
    datagrams: D,
    socket: Arc<UdpSocket>,
    exchange: Arc<Exchange>,
    under_way: Arc<Semaphore>,
    stop: Arc<AtomicBool>,
    tally: Tally,
}

impl<D: Datagrams> Worker<D> {
    fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            match self.datagrams.receive() {
                Ok(received) => self.answer(received),
                Err(error) => {
                    tracing::debug!("cannot receive datagrams: {error}");
                    std::thread::sleep(REST);
                }
            }
        }
    }

    /// Answers a batch. The snapshot and the time are those of its beginning.
    fn answer(&mut self, received: usize) {
        let exchange = &self.exchange;
        let view = exchange.published.view();
        let now = exchange.clock.now();
        prepare(&view, (0..received).map(|index| self.datagrams.datagram(index)));
        for index in 0..received {
            let Some(slot) = self.datagrams.slot(index) else { continue };
            // Port 0 cannot be answered, and an answer to it would fail.
            if slot.way.peer.port() == 0 {
                continue;
            }
            let peer = Peer { address: plain(slot.way.peer), transport: Transport::Udp };
            let answer = match respond(&view, peer, now, slot.datagram, slot.room) {
                Verdict::Reply(len, reason) => {
                    self.tally.count(reason);
                    exchange.tell(reason, &view, peer, slot.datagram);
                    Some(len)
                }
                Verdict::Drop(reason) => {
                    self.tally.count(reason);
                    None
                }
                Verdict::Transfer => exchange.transfer_in_one(peer, slot.datagram, slot.room),
                Verdict::Update => match exchange.admit(peer, slot.datagram, slot.room) {
                    Ok(admitted) => {
                        let update = Update { peer, way: slot.way, message: slot.datagram.to_vec(), admitted };
                        update.hand_over::<D>(&self.socket, exchange, &self.under_way);
                        None
                    }
                    Err(refusal) => refusal,
                },
            };
            if let Some(len) = answer {
                self.datagrams.answer(index, len);
            }
        }
        drop(view);
        // Before they are sent: who has an answer finds it counted.
        exchange.metrics.count_all(&mut self.tally);
        if let Err(error) = self.datagrams.send() {
            tracing::debug!("cannot send an answer: {error}");
        }
    }
}

/// An update that came as a datagram.
struct Update {
    peer: Peer,
    way: Way,
    message: Vec<u8>,
    admitted: Admitted,
}

impl Update {
    /// Has the writer carry it out; the answer leaves once the change is durable. Where the writer has no room for it, it
    /// is dropped, and its sender asks again.
    fn hand_over<D: Datagrams>(self, socket: &Arc<UdpSocket>, exchange: &Arc<Exchange>, under_way: &Arc<Semaphore>) {
        let dropped = || exchange.metrics.updates_dropped.fetch_add(1, Ordering::Relaxed);
        let Ok(permit) = Arc::clone(under_way).try_acquire_owned() else {
            dropped();
            return;
        };
        let Update { peer, way, message, admitted: Admitted { update, key, signer } } = self;
        let (socket, answering) = (Arc::clone(socket), Arc::clone(exchange));
        let reply = Box::new(move |outcome: Result<Applied, Refusal>| {
            let mut room = [0; ANSWER];
            let len = answering.conclude(peer, &message, signer, &outcome, &mut room);
            if let Some(answer) = len.and_then(|len| room.get(..len)) {
                // This may wait for room in the system's queue, which drains as fast as the network takes it.
                if let Err(error) = D::send_later(&socket, answer, way) {
                    tracing::debug!(address = %way.peer, "cannot send an answer: {error}");
                }
            }
            drop(permit);
        });
        if exchange
            .queue
            .try_send(Request::Update { update, key, entrance: Entrance::Dns, source: peer.address.ip(), reply })
            .is_err()
        {
            dropped();
        }
    }
}

/// An IPv4 address that an IPv6 socket shows as `::ffff:192.0.2.1`, as IPv4.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
