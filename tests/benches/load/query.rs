//! Queries over UDP: as many as go, or so many a second; alone or with signed updates beside them.

use super::Setup;
use super::mmsg::{Addresses, Batch, wait};
use super::processes::print_percentiles;
use super::question::{Expected, Questions, is_answer};
use super::update::Beside;
use super::window::{Window, number_of};
use std::net::UdpSocket;

/// How many datagrams go with one system call.
const BATCH: usize = 64;

/// The first part of each measurement, which does not count: caches fill, sockets grow.
const WARM_UP: u64 = 300_000;

/// After so long without any answer, in microseconds, what is under way is taken for lost.
const LOST: u64 = 200_000;

#[derive(Default, Clone, Copy)]
struct Count {
    answered: u64,
    /// Answers that were not what was expected.
    wrong: u64,
    lost: u64,
}

/// Keeps a window of queries under way.
pub(crate) fn closed_loop(setup: &Setup) {
    let mut asking: Vec<Asking> =
        (0..setup.sockets).map(|_| Asking::new(setup, (setup.window / setup.sockets).max(1))).collect();
    let mut questions = Questions::new(setup);
    let mut beside = Beside::new(setup);
    let mut count = Count::default();
    let begin = setup.micros();
    let mut counted = None;
    let mut heard = begin;
    loop {
        let now = setup.micros();
        beside.turn(now);
        if counted.is_none() && now >= begin + WARM_UP {
            counted = Some((now, count, setup.processes.used()));
        }
        if counted.is_some_and(|(start, ..)| now >= start + setup.length()) {
            break;
        }
        let before = count.answered + count.wrong;
        for one in &mut asking {
            one.receive(setup.echo, &mut count);
            one.fill(&mut questions);
        }
        if count.answered + count.wrong > before {
            heard = now;
        } else if now > heard + LOST {
            count.lost += asking.iter_mut().map(|one| one.window.give_up()).sum::<u64>();
            heard = now;
        } else {
            let sockets: Vec<&UdpSocket> = asking.iter().map(|one| &one.socket).collect();
            wait(&sockets, |_| false, if setup.updates > 0 { 1 } else { 20 });
        }
    }
    let (start, before, used) = counted.unwrap();
    let answered = count.answered - before.answered;
    let seconds = (setup.micros() - start) as f64 / 1e6;
    print!("rate={:.0}", answered as f64 / seconds);
    setup.processes.print_since(used, answered);
    print!(" answered={answered} wrong={} lost={}", count.wrong, count.lost);
    beside.print();
    println!();
}

/// One socket and what it waits for.
struct Asking {
    socket: UdpSocket,
    window: Window<Expected>,
    batch: Batch,
}

impl Asking {
    fn new(setup: &Setup, window: usize) -> Asking {
        Asking {
            socket: setup.socket(),
            window: Window::new(window),
            batch: Batch::new(window.min(BATCH), Addresses::Connected),
        }
    }

    fn receive(&mut self, echo: bool, count: &mut Count) {
        // Nothing there, or the server is not: both show as no answers.
        let received = self.batch.receive(&self.socket).unwrap_or(0);
        for index in 0..received {
            let message = self.batch.message(index);
            let Some(expected) = self.window.settle(number_of(message)) else { continue };
            if is_answer(message, if echo { Expected::Echo } else { expected }) {
                count.answered += 1;
            } else {
                count.wrong += 1;
            }
        }
    }

    fn fill(&mut self, questions: &mut Questions) {
        let count = self.window.room().min(self.batch.size());
        if count == 0 {
            return;
        }
        let mut numbers = [0; BATCH];
        for (index, number) in numbers.iter_mut().enumerate().take(count) {
            let (window, batch) = (&mut self.window, &mut self.batch);
            batch.write(index, |message| {
                let mut len = 0;
                let taken = window.take(|number| {
                    let (written, expected) = questions.next(number, message);
                    len = written;
                    expected
                });
                *number = taken.unwrap();
                len
            });
        }
        let sent = self.batch.send(&self.socket, count).unwrap_or(0);
        for number in numbers.get(sent..count).unwrap_or_default() {
            self.window.settle(*number);
        }
    }
}

/// Sends at a fixed rate whatever comes back, and counts each answer from the moment its query was due.
pub(crate) fn fixed_rate(setup: &Setup) {
    let sockets: Vec<UdpSocket> = (0..setup.sockets).map(|_| setup.socket()).collect();
    let mut questions = Questions::new(setup);
    let mut beside = Beside::new(setup);
    // When the query of this number was due, and what has to come back.
    let mut waiting: Vec<Option<(u64, Expected)>> = vec![None; 1 << 16];
    let mut batch = Batch::new(BATCH, Addresses::Connected);
    let mut latencies = Vec::new();
    let (mut sent, mut lost, mut wrong) = (0u64, 0u64, 0u64);
    let start = setup.micros();
    let warm = start + WARM_UP;
    let end = warm + setup.length();
    let used = setup.processes.used();
    loop {
        let now = setup.micros();
        beside.turn(now);
        if now >= end + LOST {
            break;
        }
        // One socket after the other, a batch each; mostly of one.
        let due = if now < end { (now - start) * setup.rate / 1_000_000 } else { sent };
        let count = (due.saturating_sub(sent) as usize).min(BATCH);
        if count > 0 {
            for index in 0..count {
                let number = (sent + index as u64) as u16;
                batch.write(index, |message| {
                    let (len, expected) = questions.next(number, message);
                    let place = &mut waiting[usize::from(number)];
                    lost += u64::from(place.is_some());
                    *place = Some((start + (sent + index as u64) * 1_000_000 / setup.rate, expected));
                    len
                });
            }
            let socket = &sockets[sent as usize / BATCH % setup.sockets];
            let went = batch.send(socket, count).unwrap_or(0);
            for index in went..count {
                waiting[usize::from((sent + index as u64) as u16)] = None;
            }
            lost += (count - went) as u64;
            sent += count as u64;
        }
        for socket in &sockets {
            let Ok(received) = batch.receive(socket) else { continue };
            let now = setup.micros();
            for index in 0..received {
                let message = batch.message(index);
                let Some((due, expected)) = waiting[usize::from(number_of(message))].take() else { continue };
                if !is_answer(message, if setup.echo { Expected::Echo } else { expected }) {
                    wrong += 1;
                } else if due >= warm {
                    latencies.push(now.saturating_sub(due) as u32);
                }
            }
        }
    }
    lost += waiting.iter().flatten().count() as u64;
    let answered = latencies.len() as u64;
    print!("rate={:.0}", answered as f64 / setup.seconds);
    print_percentiles(&mut latencies);
    setup.processes.print_since(used, answered);
    print!(" answered={answered} wrong={wrong} lost={lost}");
    beside.print();
    println!();
}
