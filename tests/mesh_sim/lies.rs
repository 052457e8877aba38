//! Members that lie, strangers that shout.

use crate::world::{World, v4};
use dyndns::mesh::{Action, Beat, Message, News, NodeId, Offence, Summary};
use std::net::SocketAddr;
use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Ten nodes at peace; by custom the last of them lies, and 3 is its victim.
fn peace() -> World {
    let mut world = World::of(10, 3);
    world.converge(seconds(120)).unwrap();
    world.run(seconds(60));
    world
}

const LIAR: usize = 9;
const VICTIM: usize = 3;

fn record_of(world: &World, of: usize) -> Vec<u8> {
    let id = world.hosts[of].id;
    let saved = world.node(0).saved().peers;
    saved.into_iter().map(|(octets, _)| octets).find(|octets| octets[1..33] == id.0).unwrap()
}

fn sequence_of(world: &World, at: usize, of: usize) -> u64 {
    let id = world.hosts[of].id;
    world.node(at).hosts().find(|host| host.claim.id == id).unwrap().claim.sequence
}

fn tell(world: &mut World, news: &[News]) {
    let octets = Message::Tell { news: news.to_vec(), wants: Vec::new() }.encode();
    for to in 0..LIAR {
        world.forge(LIAR, to, octets.clone());
    }
}

#[test]
fn a_replayed_or_changed_record_of_another_changes_nothing() {
    let mut world = peace();
    let old = record_of(&world, VICTIM);
    world.moves(VICTIM, vec![v4(200)]);
    world.run(seconds(60));
    assert_eq!(world.sees(0, VICTIM), ["10.0.0.200"]);
    let before = world.node(0).summary();
    let mut newer = record_of(&world, VICTIM);
    newer[40] += 1;
    tell(&mut world, &[News::Record(old), News::Record(newer)]);
    world.run(seconds(5));
    assert_eq!(world.node(0).summary(), before);
    assert_eq!(world.sees(0, VICTIM), ["10.0.0.200"]);
}

#[test]
fn a_member_that_calls_another_dead_for_ever_does_not_take_it_out_of_a_view() {
    let mut world = peace();
    let id = world.hosts[VICTIM].id;
    let begin = sequence_of(&world, LIAR, VICTIM);
    for second in 0..300 {
        let sequence = sequence_of(&world, LIAR, VICTIM);
        tell(&mut world, &[News::Suspect(id, sequence), News::Suspect(id, sequence + 1)]);
        world.run(seconds(1));
        for host in 0..10 {
            assert!(world.node(host).counts(&id), "gone at {host} after {second} s");
        }
    }
    // Each refutation is a record to all: a liar gets one in five seconds at most.
    let refuted = sequence_of(&world, LIAR, VICTIM) - begin;
    assert!(world.hosts[VICTIM].said.len() < 5 && refuted < 400, "{refuted}");
}

#[test]
fn a_member_that_says_false_addresses_changes_no_ones_address() {
    let mut world = peace();
    let seen: SocketAddr = "8.8.8.8:5399".parse().unwrap();
    for number in 0..200 {
        let summary = Summary::default();
        let lie = Message::Ping(Beat { number, seen, summary, compare: false, news: Vec::new() }).encode();
        for to in 0..LIAR {
            world.forge(LIAR, to, lie.clone());
        }
        world.run(Duration::from_millis(500));
    }
    for host in 0..LIAR {
        assert_eq!(world.sees(0, host), [v4(host + 1).ip().to_string()]);
    }
}

#[test]
fn a_member_that_answers_where_falsely_hides_nobody() {
    let mut world = peace();
    let lie = Message::There { id: world.hosts[VICTIM].id, at: v4(77), age: 0 }.encode();
    for _ in 0..60 {
        for to in 0..LIAR {
            world.forge(LIAR, to, lie.clone());
        }
        world.run(seconds(2));
    }
    assert!((0..10).all(|host| world.sees(host, VICTIM) == ["10.0.0.4"]));
}

#[test]
fn a_member_that_asks_for_everything_again_and_again_gets_no_more_than_its_share() {
    let mut world = World::of(100, 3);
    world.converge(seconds(120)).unwrap();
    let liar = 99;
    let octets = Message::Known { buckets: u64::MAX, entries: Vec::new() }.encode();
    let before = world.octets;
    for _ in 0..1900 {
        world.forge(liar, 0, octets.clone());
    }
    world.run(seconds(1));
    // 100 records of 315 octets are 31,500: 1,900 times that would be 60 MB.
    let spent = world.octets - before;
    assert!((10_000_000..40_000_000).contains(&spent), "{spent}");
}

#[test]
fn a_member_that_floods_is_cut_off_and_the_others_go_on() {
    let mut world = peace();
    let octets = Message::Where(NodeId([1; 32])).encode();
    for _ in 0..5000 {
        world.forge(LIAR, 0, octets.clone());
    }
    world.run(seconds(2));
    let liar = world.hosts[LIAR].id;
    assert_eq!(world.hosts[0].said.iter().filter(|said| **said == Action::Close(liar, Offence::Flood)).count(), 1);
    world.run(seconds(60));
    assert!((1..LIAR).all(|host| (0..LIAR).all(|other| !world.sees(host, other).is_empty())));
    // It is a member like any other when it is quiet.
    world.run(seconds(120));
    assert!(world.agrees() && world.node(0).hosts().count() == 10);
}

#[test]
fn two_machines_with_one_key_do_not_make_the_mesh_talk_without_end() {
    let mut world = peace();
    let ticket = world.ticket();
    let copy = world.add_with(VICTIM, "n3", dyndns::mesh::Role::Member, &ticket);
    world.start(copy, vec![v4(1)], Duration::ZERO);
    let (begin, sent) = (sequence_of(&world, 0, VICTIM), world.sent);
    world.run(seconds(300));
    let records = sequence_of(&world, 0, VICTIM) - begin;
    // The clock alone moves it on by 300.
    assert!(records < 700, "{records}");
    assert!((world.sent - sent) / 11 < 5 * 200, "{} messages", world.sent - sent);
    assert!((0..LIAR).all(|host| host == VICTIM || world.node(host).counts(&world.hosts[VICTIM].id)));
}

#[test]
fn octets_that_are_no_message_close_the_connection() {
    let mut world = peace();
    world.forge(LIAR, 0, vec![1, 99, 3]);
    world.run(seconds(1));
    let liar = world.hosts[LIAR].id;
    let closed = |said: &Action| matches!(said, Action::Close(id, Offence::Malformed(_)) if *id == liar);
    assert!(world.hosts[0].said.iter().any(closed), "{:?}", world.hosts[0].said);
}

#[test]
fn a_stranger_learns_nothing_and_changes_nothing() {
    let mut world = peace();
    let ticket = world.ticket();
    let stranger = world.add_with(77, "stranger", dyndns::mesh::Role::Member, &ticket);
    let before = world.node(0).summary();
    let known = Message::Known { buckets: u64::MAX, entries: Vec::new() };
    let suspect = News::Suspect(world.hosts[VICTIM].id, sequence_of(&world, 0, VICTIM));
    let tell = Message::Tell { news: vec![suspect], wants: world.hosts.iter().map(|host| host.id).collect() };
    let where_is = Message::Where(world.hosts[VICTIM].id);
    let (octets, strangers) = (world.octets, world.kinds[12].0);
    for message in [known, tell, where_is] {
        world.forge(stranger, 0, message.encode());
    }
    world.run(Duration::from_millis(200));
    assert_eq!(world.node(0).summary(), before);
    // Three times: I do not know you; its own words and a heartbeat aside that is all there was.
    assert_eq!(world.kinds[12].0 - strangers, 3);
    assert!(world.octets - octets < 2000);
}
