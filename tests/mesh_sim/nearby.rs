//! Members that are announced on the local link: found where nothing else leads to them, and false ones cost little.

use crate::world::{World, key, v4};
use dyndns::mesh::{Action, Contact, EdictKind, Event, NodeId, Role};
use std::net::SocketAddr;
use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn peace(count: usize) -> World {
    let mut world = World::of(count, 17);
    world.converge(seconds(120)).unwrap();
    world.run(seconds(60));
    world
}

/// `host` hears of a node on the link.
fn finds(world: &mut World, host: usize, id: NodeId, address: SocketAddr) {
    world.tell(host, Event::Found(Contact { id: Some(id), address }));
}

/// How many wanted in so far.
fn wishes(world: &World) -> u64 {
    world.kinds[8].0
}

#[test]
fn a_new_node_whose_contacts_are_dead_comes_in_by_one_that_is_announced() {
    let mut world = peace(3);
    let new = world.add(Role::Member);
    world.start(new, vec![v4(200)], Duration::ZERO);
    world.run(seconds(1));
    let id = world.hosts[1].id;
    finds(&mut world, new, id, v4(2));
    // Those that are named come first.
    world.run(seconds(18));
    assert_eq!(world.hosts[new].said, []);
    world.converge(seconds(30)).unwrap();
    assert!(world.hosts[new].said.contains(&Action::Joined));
}

#[test]
fn a_hundred_false_announcements_cost_one_who_wants_in_eight_places_more() {
    let mut world = World::new(1);
    let host = world.add(Role::Member);
    world.start(host, vec![v4(200)], Duration::ZERO);
    world.run(seconds(1));
    (0..100).for_each(|number| finds(&mut world, host, key(1000 + number).id(), v4(1000 + number)));
    world.run(seconds(3600));
    let [Action::GaveUp(tried)] = world.hosts[host].said.as_slice() else { panic!("{:?}", world.hosts[host].said) };
    assert_eq!((tried.len(), wishes(&world)), (9, 36));
}

#[test]
fn a_hundred_false_announcements_cost_a_member_one_place_in_each_full_exchange() {
    let mut world = peace(3);
    let before = wishes(&world);
    (0..100).for_each(|number| finds(&mut world, 1, key(1000 + number).id(), v4(1000 + number)));
    world.run(seconds(3600));
    let more = wishes(&world) - before;
    assert!((40..=52).contains(&more), "{more}");
    assert!(world.agrees());
}

#[test]
fn parts_of_a_mesh_that_have_forgotten_each_other_are_one_again() {
    let mut world = peace(6);
    (3..6).for_each(|host| world.hosts[host].side = 1);
    for host in 0..6 {
        world.moves(host, vec![v4(50 + host)]);
        world.run(seconds(1200));
    }
    (3..6).for_each(|host| world.hosts[host].side = 0);
    world.run(seconds(1800));
    assert_eq!((world.node(0).hosts().count(), world.node(4).hosts().count()), (3, 3));
    assert!(!world.agrees(), "nothing leads from one part to the other");
    let id = world.hosts[0].id;
    finds(&mut world, 4, id, v4(50));
    world.converge(seconds(330)).unwrap();
}

#[test]
fn two_that_have_both_moved_find_each_other_where_one_is_announced() {
    let mut world = peace(2);
    (0..2).for_each(|host| world.moves(host, vec![v4(50 + host)]));
    world.run(seconds(600));
    assert!(!world.agrees(), "each looks where the other was");
    let id = world.hosts[0].id;
    finds(&mut world, 1, id, v4(50));
    world.converge(seconds(10)).unwrap();
}

#[test]
fn where_one_was_announced_before_anybody_missed_it_it_is_tried_once_it_does_not_answer() {
    let mut world = peace(2);
    (0..2).for_each(|host| world.moves(host, vec![v4(50 + host)]));
    let id = world.hosts[0].id;
    finds(&mut world, 1, id, v4(50));
    world.run(seconds(60));
    assert_eq!(world.sees(1, 0), ["10.0.0.50"]);
}

#[test]
fn nobody_goes_where_itself_or_a_removed_node_or_nobody_who_can_be_reached_is_announced() {
    let mut world = peace(3);
    let (own, removed) = (world.hosts[0].id, world.hosts[2].id);
    let edict = world.steward.edict(EdictKind::Remove, removed, world.unix());
    world.tell(0, Event::Edict(edict));
    world.run(seconds(60));
    let before = wishes(&world);
    finds(&mut world, 0, own, v4(77));
    finds(&mut world, 0, removed, v4(78));
    for wrong in ["127.0.0.1:5399", "169.254.7.7:5399", "[fe80::7]:5399", "[::1]:5399"] {
        finds(&mut world, 0, key(1000).id(), wrong.parse().unwrap());
    }
    world.tell(0, Event::Found(Contact { id: None, address: v4(79) }));
    world.run(seconds(900));
    assert_eq!(wishes(&world), before);
}
