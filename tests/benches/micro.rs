//! Nanoseconds of the steps that a query takes: parse, lookup, compose, and respond, which is all of them; and of what a group
//! of updates does to a zone that is being answered from.
//!
//! ```text
//! cargo bench --bench micro                          the median of many samples, and the fastest
//! cargo bench --bench micro -- respond               only those whose name has this word in it
//! cargo bench --bench micro -- --once 1000 parse     just so often: for valgrind --tool=callgrind
//! cargo bench --bench micro -- --hosts 1000000
//! ```
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark stops at what it does not expect")]
#![allow(clippy::print_stdout, reason = "it prints its figures")]

use dyndns::clock::Clock;
use dyndns::query::{Peer, Transport, Verdict, View, prepare, respond};
use dyndns::wire::{Class, Composer, Flags, Message, Name, Place, Question, Rtype, Ttl};
use dyndns::zone::text::parse;
use dyndns::zone::{Draft, Key, KeyBuf, RrsetBuf, Zone};
use std::hint::black_box;
use std::sync::Arc;

/// How many samples the median is of.
const SAMPLES: usize = 25;

/// How many updates share a sync, where many come at the same time.
const GROUP: usize = 128;

/// How many questions are answered together, and how many there are of those: too many for the processor to keep what
/// answered them the last time.
const BATCH: usize = 64;
const MANY: usize = 1 << 17;

/// How long a sample is at least, in microseconds.
const SAMPLE: u64 = 4000;

/// How many different questions there are; the next is never the one before.
const QUESTIONS: usize = 4096;

fn main() {
    let mut bench = Bench { filter: String::new(), once: None };
    let mut hosts = 10_000;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--once" => bench.once = words.next().and_then(|number| number.parse().ok()),
            "--hosts" => hosts = words.next().unwrap().parse().unwrap(),
            "--bench" => {}
            // Under `cargo test --benches`, which asks for a list of tests.
            _ if word.starts_with("--") => return,
            _ => bench.filter = word,
        }
    }
    let view = serve(hosts);
    steps(&bench, &view, hosts);
    batches(&bench, &view, hosts);
    changes(&bench, view, hosts);
}

fn steps(bench: &Bench, view: &View, hosts: usize) {
    // A step that has nothing to do with the hosts' order: a prime, so that they come as if at random.
    let host = |index: usize| index * 7919 % hosts;
    let ask = |word: &str, rtype| -> Vec<Vec<u8>> {
        (0..QUESTIONS).map(|index| query(&format!("{word}{}.bench.example", host(index)), rtype)).collect()
    };
    let found = ask("host-", Rtype::A);
    let missing = ask("none-", Rtype::A);

    bench.run("parse query", |turn| {
        black_box(Message::parse(&found[turn % QUESTIONS]).is_ok());
    });
    bench.run("parse name", |turn| {
        black_box(Name::read(&found[turn % QUESTIONS], 12).is_ok());
    });

    let zone = view.zones.iter().next().unwrap();
    let names = |word: &str| -> Vec<Name> {
        (0..QUESTIONS).map(|index| Name::parse(&format!("{word}{}.bench.example", host(index))).unwrap()).collect()
    };
    for (label, names) in [("lookup found", names("host-")), ("lookup nxdomain", names("none-"))] {
        bench.run(label, |turn| {
            let key = KeyBuf::new(&names[turn % QUESTIONS]);
            black_box(zone.lookup(key.as_bytes(), Rtype::A));
        });
    }

    let owner = Name::parse("host-1.bench.example").unwrap();
    let question = Question { name: owner, rtype: Rtype::A, class: Class::IN };
    let mut buffer = vec![0; 4096];
    bench.run("compose A", |turn| {
        let mut composer = Composer::new(&mut buffer, 1232, turn.to_le_bytes()[0].into(), Flags::QR).unwrap();
        composer.question(&question).unwrap();
        composer.record(Place::Answer, &owner, Rtype::A, Class::IN, Ttl::new(60), &[192, 0, 2, 1]).unwrap();
        black_box(composer.finish());
    });

    let peer = Peer { address: "192.0.2.1:5353".parse().unwrap(), transport: Transport::Udp };
    let now = Clock::System.now();
    let ipv6 = ask("host-", Rtype::AAAA);
    let nodata = ask("host-", Rtype::TXT);
    for (label, queries) in
        [("respond A", &found), ("respond AAAA", &ipv6), ("respond NXDOMAIN", &missing), ("respond NODATA", &nodata)]
    {
        bench.run(label, |turn| {
            let verdict = respond(view, peer, now, &queries[turn % QUESTIONS], &mut buffer);
            assert!(matches!(black_box(verdict), Verdict::Reply(..)));
        });
    }
}

/// Answers many questions at a time, as a worker does with what has come together.
fn batches(bench: &Bench, view: &View, hosts: usize) {
    let queries: Vec<Vec<u8>> =
        (0..MANY).map(|index| query(&format!("host-{}.bench.example", index * 7919 % hosts), Rtype::A)).collect();
    let peer = Peer { address: "192.0.2.1:5353".parse().unwrap(), transport: Transport::Udp };
    let now = Clock::System.now();
    let mut rooms = vec![[0; 512]; BATCH];
    bench.run(&format!("respond to {BATCH}"), |turn| {
        let batch = queries.chunks_exact(BATCH).nth(turn % (MANY / BATCH)).unwrap();
        prepare(view, batch.iter().map(Vec::as_slice));
        for (query, room) in batch.iter().zip(&mut rooms) {
            assert!(matches!(black_box(respond(view, peer, now, query, room)), Verdict::Reply(..)));
        }
    });
}

/// Gives some hosts another address each, in a zone whose last state is still read, and publishes it.
fn changes(bench: &Bench, mut view: View, hosts: usize) {
    bench.run(&format!("change {GROUP} hosts"), |turn| {
        let mut zones = view.zones.clone();
        let names: Vec<Name> = (turn * GROUP..(turn + 1) * GROUP)
            .map(|index| Name::parse(&format!("host-{}.bench.example", index * 7919 % hosts)).unwrap())
            .collect();
        zones.prepare_changes(names.iter().map(Into::into));
        for (index, name) in names.iter().enumerate() {
            let owner = Key::new(name);
            let [.., a, b, c] = (turn * GROUP + index + 1).to_be_bytes();
            let zone = zones.iter().next().unwrap();
            let mut draft = Draft::new(zone);
            let address = RrsetBuf::one(Rtype::A, Ttl::new(300), &[192, a, b, c]);
            let node = draft.node(owner.as_bytes()).with(address.as_rrset());
            draft.set(&owner, node);
            let changes = draft.finish();
            let apex = *zone.apex();
            zones.change(&apex, &changes).unwrap();
        }
        view.zones = zones;
    });
}

/// What is run, and how.
struct Bench {
    filter: String,
    once: Option<usize>,
}

impl Bench {
    /// Prints the nanoseconds of one turn of `step`, which is told which turn it is.
    fn run(&self, label: &str, mut step: impl FnMut(usize)) {
        if !label.contains(&self.filter) {
            return;
        }
        if let Some(count) = self.once {
            // The clock is not read: rustix, which reads it, ends a process that runs under valgrind.
            (0..count).for_each(step);
            println!("{label:<20} {count} times");
            return;
        }
        let mut turn = 0;
        let mut turns = |count: usize| {
            let start = Clock::System.monotonic_micros();
            for _ in 0..count {
                step(turn);
                turn += 1;
            }
            Clock::System.monotonic_micros() - start
        };
        let mut count = 64;
        while turns(count) < SAMPLE {
            count *= 2;
        }
        let mut samples: Vec<u64> = (0..SAMPLES).map(|_| turns(count)).collect();
        samples.sort_unstable();
        let nanoseconds = |micros: u64| micros as f64 * 1000.0 / count as f64;
        println!(
            "{label:<20} {:>8.1} ns   fastest {:>8.1}",
            nanoseconds(samples[SAMPLES / 2]),
            nanoseconds(samples[0])
        );
    }
}

/// A zone in which each of so many hosts has an address of both kinds.
fn serve(hosts: usize) -> View {
    let mut text =
        "$ORIGIN bench.example.\n$TTL 300\n@ SOA ns1 admin 1 2 3 4 300\n@ NS ns1\nns1 A 127.0.0.1\n".to_string();
    for host in 0..hosts {
        let [.., a, b, c] = host.to_be_bytes();
        text += &format!("host-{host} A 10.{a}.{b}.{c}\nhost-{host} AAAA 2001:db8::{a:x}:{b:x}{c:02x}\n");
    }
    let parsed = parse(&text, "bench.zone", None, &mut |_| Err("no file".into())).unwrap();
    let mut view = View::default();
    view.zones.insert(Arc::new(Zone::new(&parsed.apex, parsed.records).unwrap()));
    view
}

fn query(name: &str, rtype: Rtype) -> Vec<u8> {
    let mut buffer = vec![0; 512];
    let mut composer = Composer::new(&mut buffer, 512, 0x1234, Flags::RD).unwrap();
    composer.question(&Question { name: Name::parse(name).unwrap(), rtype, class: Class::IN }).unwrap();
    let len = composer.finish();
    buffer.truncate(len);
    buffer
}
