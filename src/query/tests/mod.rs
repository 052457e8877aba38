//! Questions and their whole answers, in text: the response code, the flags that are set beside QR, and each
//! section.

use super::{Peer, Transport, Verdict, View, respond};
use crate::wire::{Class, Composer, Edns, Flags, Message, Name, Question, Rcode, Rtype, Section, rdata};
use crate::zone::Zone;
use crate::zone::text::{parse, rdata_to_text};
use std::sync::Arc;

mod answers;
mod envelope;

const NOW: u64 = 1_800_000_000;

const ZONE: &str = "
$ORIGIN example.com.
$TTL 300
@         3600 SOA ns1 admin 7 1200 180 1209600 60
             NS  ns1
             NS  ns.sub
             MX  10 mail
             MX  20 mail
             MX  30 mail.elsewhere.test.
ns1          A   192.0.2.53
mail         A   192.0.2.25
             AAAA 2001:db8::25
Www          A   192.0.2.80
             TXT \"x\"
a.b.ent      A   192.0.2.3
_sip._tcp    SRV 0 0 5060 mail
             SRV 0 0 5061 mail
alias        CNAME www
alias2       CNAME alias
dangling     CNAME nowhere
nodata       CNAME ent
away         CNAME www.elsewhere.test.
into         CNAME host.sub
loop1        CNAME loop2
loop2        CNAME loop1
self         CNAME self
*.wild       A   192.0.2.99
real.wild    TXT \"real\"
*.went       TXT \"w\"
x.*.went2    TXT \"x\"
*.wcn        CNAME www
sub          NS  ns.sub
             NS  ns.other
             NS  ns.elsewhere.test.
             DS  1 8 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766
ns.sub       A   192.0.2.54
             AAAA 2001:db8::54
ns.other     A   192.0.2.55
below.sub    A   192.0.2.56
dname        DNAME target
             A   192.0.2.60
hidden.dname A   192.0.2.61
h.target     A   192.0.2.62
grow         DNAME deeper.grow
up           DNAME @
long         DNAME aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.test.
";

fn zone(text: &str) -> Arc<Zone> {
    let parsed = parse(text, "test.zone", None, &mut |_| Err("no file".into())).unwrap();
    Arc::new(Zone::new(&parsed.apex, parsed.records).unwrap())
}

fn view(zones: &[&str]) -> View {
    let mut view = View::default();
    for text in zones {
        view.zones.insert(zone(text));
    }
    view
}

fn question(text: &str) -> Question {
    let mut words = text.split(' ');
    let name = Name::parse(words.next().unwrap()).unwrap();
    let rtype = Rtype::parse(words.next().unwrap()).unwrap();
    let class = words.next().map_or(Class::IN, |class| if class == "CH" { Class::CH } else { Class::ANY });
    Question { name, rtype, class }
}

/// A query with one question, and EDNS if a size is given.
fn query(text: &str, edns: Option<u16>) -> Vec<u8> {
    let mut buffer = [0; 1024];
    let mut composer = Composer::new(&mut buffer, 1024, 0x1234, Flags::RD).unwrap();
    composer.question(&question(text)).unwrap();
    if let Some(udp_size) = edns {
        composer.edns(Edns { udp_size, version: 0, extended_rcode: 0, dnssec_ok: false }).unwrap();
    }
    let len = composer.finish();
    buffer[..len].to_vec()
}

fn send(view: &View, transport: Transport, message: &[u8]) -> (Vec<u8>, Verdict) {
    let mut buffer = vec![0xAA; if transport == Transport::Tcp { 65_535 } else { 4096 }];
    let peer = Peer { address: "192.0.2.1:5353".parse().unwrap(), transport };
    let verdict = respond(view, peer, NOW, message, &mut buffer);
    let len = if let Verdict::Reply(len, _) = verdict { len } else { 0 };
    (buffer[..len].to_vec(), verdict)
}

fn reply(view: &View, transport: Transport, message: &[u8]) -> Vec<u8> {
    let (reply, verdict) = send(view, transport, message);
    assert!(matches!(verdict, Verdict::Reply(..)), "{verdict:?}");
    reply
}

/// A reply as text; the OPT and TSIG records are left out.
fn text(reply: &[u8]) -> String {
    let message = Message::parse(reply).unwrap();
    let flags = message.header.flags;
    let extended = message.edns.map_or(0, |edns| u16::from(edns.extended_rcode) << 4);
    let mut text = Rcode(extended | flags.rcode().0).to_string();
    for (flag, word) in [(Flags::AA, " aa"), (Flags::TC, " tc"), (Flags::RA, " ra"), (Flags::AD, " ad")] {
        text += if flags.has(flag) { word } else { "" };
    }
    for (section, word) in [(Section::Answer, '='), (Section::Authority, '^'), (Section::Additional, '+')] {
        for record in message.section(section).filter(|record| !matches!(record.rtype, Rtype::OPT | Rtype::TSIG)) {
            let data = rdata::read(reply, record.rdata_at, record.rdata_len, record.rtype).unwrap();
            let data = rdata_to_text(record.rtype, &data);
            text += &format!("\n{word} {} {} {} {data}", record.owner, record.ttl, record.rtype);
        }
    }
    text
}

fn ask(question: &str) -> String {
    text(&reply(&view(&[ZONE]), Transport::Udp, &query(question, None)))
}

const SOA: &str = "^ example.com 60 SOA ns1.example.com. admin.example.com. 7 1200 180 1209600 60";

/// A zone with so many TXT records of 200 octets and so many of type URI at `big`.
fn big(txt: usize, uri: usize) -> String {
    let mut text = "$ORIGIN big.\n@ 60 SOA ns admin 1 1 1 1 60\n@ 60 NS ns.elsewhere.\ncn 60 CNAME big\n".to_string();
    for number in 0..txt {
        text += &format!("big 60 TXT \"{number:0200}\"\n");
    }
    for number in 0..uri {
        text += &format!("big 60 URI 1 1 \"{number:0200}\"\n");
    }
    text
}
