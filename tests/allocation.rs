//! Answering a query over UDP allocates nothing (rule 13 of the design): proven with an allocator that counts.
#![cfg(test)]
#![allow(unsafe_code, reason = "a global allocator is unsafe to implement; this one counts and hands everything on")]

use dyndns::query::{Peer, Reason, Transport, Verdict, View, respond};
use dyndns::wire::{Class, Composer, Edns, Flags, Name, Question, Rtype};
use dyndns::zone::Zone;
use dyndns::zone::text::parse;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

/// The system's allocator, with a count of what each thread asks of it.
struct Counting;

thread_local! {
    // Constant and without a destructor: reading it allocates nothing itself.
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ASKED.with(|asked| asked.set(asked.get() + 1));
}

// SAFETY: each method hands its arguments on to the system's allocator as they are, and does nothing else with memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as in `alloc`.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count();
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often memory is asked for, or given back, while `work` runs.
fn asked(work: impl FnOnce()) -> usize {
    let before = ASKED.with(Cell::get);
    work();
    ASKED.with(Cell::get) - before
}

const ZONE: &str = "
$ORIGIN example.com.
$TTL 300
@         SOA   ns1 admin 7 1200 180 1209600 60
          NS    ns1
          NS    ns2.elsewhere.test.
          MX    10 mail
          TXT   \"a text\"
ns1       A     192.0.2.53
mail      A     192.0.2.25
          AAAA  2001:db8::25
router    A     192.0.2.1
          AAAA  2001:db8::1
several   A     192.0.2.2
          A     192.0.2.3
          A     192.0.2.4
alias     CNAME alias2
alias2    CNAME router
loop      CNAME loop2
loop2     CNAME loop
*.wild    A     192.0.2.99
*.chain   CNAME router
a.b.ent   A     192.0.2.5
_sip._tcp SRV   0 0 5060 mail
sub       NS    ns.sub
          NS    ns.elsewhere.test.
ns.sub    A     192.0.2.54
";

/// A zone of many hosts, whose tree has several levels.
fn hosts() -> String {
    let mut text =
        "$ORIGIN hosts.example.\n$TTL 60\n@ SOA ns1 admin 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.53\n".to_string();
    for host in 0..5000 {
        text += &format!("host-{host} A 10.0.{}.{}\nhost-{host} AAAA 2001:db8::{host:x}\n", host / 256, host % 256);
    }
    text
}

fn view() -> View {
    let mut view = View::default();
    for text in [ZONE, &hosts()] {
        let parsed = parse(text, "test.zone", None, &mut |_| Err("no file".into())).unwrap();
        view.zones.insert(Arc::new(Zone::new(&parsed.apex, parsed.records).unwrap()));
    }
    view
}

fn query(text: &str, edns: Option<u16>) -> Vec<u8> {
    let (name, rtype) = text.split_once(' ').unwrap();
    let question = Question { name: Name::parse(name).unwrap(), rtype: Rtype::parse(rtype).unwrap(), class: Class::IN };
    let mut buffer = [0; 512];
    let mut composer = Composer::new(&mut buffer, 512, 0x1234, Flags::RD).unwrap();
    composer.question(&question).unwrap();
    if let Some(udp_size) = edns {
        composer.edns(Edns { udp_size, version: 0, extended_rcode: 0, dnssec_ok: true }).unwrap();
    }
    let len = composer.finish();
    buffer[..len].to_vec()
}

/// Not among these: the CNAME that is made where a DNAME moves a name (RFC 6672 section 2.2). It is in no zone, and a
/// record set of its own is made for it.
#[test]
fn an_answer_over_udp_allocates_nothing() {
    let view = view();
    let peer = Peer { address: "192.0.2.1:5353".parse().unwrap(), transport: Transport::Udp };
    let mut buffer = vec![0; 4096];
    let mut faults = Vec::new();
    for (question, expected) in [
        ("router.example.com A", Reason::Answered),
        ("router.example.com AAAA", Reason::Answered),
        ("ROUTER.example.COM AAAA", Reason::Answered),
        ("several.example.com A", Reason::Answered),
        ("router.example.com ANY", Reason::Answered),
        ("example.com SOA", Reason::Answered),
        ("example.com NS", Reason::Answered),
        ("example.com MX", Reason::Answered),
        ("_sip._tcp.example.com SRV", Reason::Answered),
        ("alias.example.com A", Reason::Answered),
        ("x.wild.example.com A", Reason::Answered),
        ("x.y.chain.example.com AAAA", Reason::Answered),
        ("router.example.com TXT", Reason::NoData),
        ("b.ent.example.com A", Reason::NoData),
        ("x.wild.example.com TXT", Reason::NoData),
        ("nothing.example.com A", Reason::NxDomain),
        ("a.b.c.d.e.f.example.com A", Reason::NxDomain),
        ("host.sub.example.com A", Reason::Referral),
        ("elsewhere.test A", Reason::OutOfZone),
        ("host-0.hosts.example A", Reason::Answered),
        ("host-4321.hosts.example AAAA", Reason::Answered),
        ("host-4321.hosts.example TXT", Reason::NoData),
        ("host-9999.hosts.example A", Reason::NxDomain),
    ] {
        for edns in [None, Some(512), Some(1232)] {
            let message = query(question, edns);
            let mut verdict = Verdict::Drop(Reason::Runt);
            let times = asked(|| verdict = respond(&view, peer, 1_800_000_000, &message, &mut buffer));
            assert!(matches!(verdict, Verdict::Reply(_, reason) if reason == expected), "{question}: {verdict:?}");
            if times > 0 {
                faults.push(format!("{question}, EDNS {edns:?}: {times}"));
            }
        }
    }
    assert!(faults.is_empty(), "these asked for memory, or gave it back, so often:\n{}", faults.join("\n"));
}

#[test]
fn what_is_no_answerable_query_allocates_nothing_either() {
    let view = view();
    let peer = Peer { address: "192.0.2.1:5353".parse().unwrap(), transport: Transport::Udp };
    let mut buffer = vec![0; 4096];
    let good = query("router.example.com A", Some(1232));
    for cut in 0..good.len() {
        let times = asked(|| {
            respond(&view, peer, 1_800_000_000, &good[..cut], &mut buffer);
        });
        assert_eq!(times, 0, "the first {cut} octets of a query");
    }
    for question in ["loop.example.com A", "router.example.com TKEY"] {
        let message = query(question, None);
        let times = asked(|| {
            respond(&view, peer, 1_800_000_000, &message, &mut buffer);
        });
        assert_eq!(times, 0, "{question}");
    }
}

#[test]
fn the_count_sees_what_is_allocated() {
    assert_eq!(asked(|| drop(std::hint::black_box(Box::new(1)))), 2);
}
