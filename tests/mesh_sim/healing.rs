//! Addresses that change, nodes that end, networks that split.

use crate::world::{World, v4};
use dyndns::mesh::{Action, Event, Refusal, Role};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// `count` nodes that know each other and have been at peace for a minute.
fn peace(count: usize) -> World {
    let mut world = World::of(count, 7);
    world.converge(seconds(120)).unwrap();
    world.run(seconds(60));
    assert!(world.agrees());
    world
}

#[test]
fn nodes_learn_their_own_addresses_of_both_families_from_their_peers() {
    let mut world = World::new(1);
    for number in 0..3 {
        let host = world.add(Role::Member);
        world.moves(host, vec![v4(host + 1), format!("[2001:470::{host}:1]:5399").parse().unwrap()]);
        // The first two are reached by IPv4, the third by IPv6.
        let contact = if number == 2 { "[2001:470::1]:5399".parse().unwrap() } else { v4(1) };
        world.start(host, if number == 0 { Vec::new() } else { vec![contact] }, Duration::ZERO);
    }
    world.run(seconds(20));
    for host in 0..3 {
        assert_eq!(world.node(host).addresses().len(), 2, "{host}: {:?}", world.node(host).addresses());
        assert_eq!(world.sees(0, host), world.sees(2, host));
    }
    assert_eq!(world.sees(0, 2).last().unwrap(), "2001:470::2:1");
}

#[test]
fn nodes_that_all_joined_by_ipv4_learn_their_ipv6_addresses_by_a_contact_that_has_both() {
    let mut world = World::new(1);
    for number in 0..3 {
        let host = world.add(Role::Member);
        world.moves(host, vec![v4(host + 1), format!("[2001:470::{host}:1]:5399").parse().unwrap()]);
        let contacts = vec![v4(1), "[2001:470::1]:5399".parse().unwrap()];
        world.start(host, if number == 0 { Vec::new() } else { contacts }, Duration::ZERO);
    }
    world.run(seconds(40));
    for host in 0..3 {
        assert_eq!(world.node(host).addresses().len(), 2, "{host}: {:?}", world.node(host).addresses());
    }
}

fn v6(host: usize) -> SocketAddr {
    format!("[2001:470::{host}:1]:5399").parse().unwrap()
}

/// The addresses that a node said it has since it began, each time that they changed.
fn said(world: &World, host: usize) -> Vec<Vec<String>> {
    let texts = |list: &Vec<IpAddr>| list.iter().map(ToString::to_string).collect();
    let addresses = world.hosts[host].said.iter().filter_map(|action| match action {
        Action::Addresses(addresses) => Some(texts(addresses)),
        _ => None,
    });
    addresses.collect()
}

/// `count` nodes with addresses of both families, which know each other.
fn both_families(count: usize) -> World {
    let mut world = World::new(3);
    for number in 0..count {
        let host = world.add(Role::Member);
        world.moves(host, vec![v4(host + 1), v6(host)]);
        world.start(host, if number == 0 { Vec::new() } else { vec![v4(1), v6(0)] }, Duration::ZERO);
    }
    world.run(seconds(120));
    assert!(world.agrees() && (0..count).all(|host| world.sees(0, host).len() == 2));
    world
}

#[test]
fn a_family_whose_address_is_lost_leaves_the_record_and_comes_back_with_it() {
    for count in [2, 3, 10] {
        for (lost, left) in [(v6(1), v4(2)), (v4(2), v6(1))] {
            let mut world = both_families(count);
            world.hosts[1].said.clear();
            world.moves(1, vec![left]);
            world.run(seconds(150));
            for host in 0..count {
                assert_eq!(world.sees(host, 1), [left.ip().to_string()], "{count} nodes, {host} without {lost}");
                // Of two the other has nobody left who could see it there.
                let seen = if count == 2 { 1 } else { 2 };
                assert_eq!(world.sees(host, 0).len(), seen, "{count} nodes: {host} of the first");
            }
            world.run(seconds(3600));
            world.moves(1, vec![v4(2), v6(1)]);
            world.run(seconds(600));
            let both = vec![v4(2).ip().to_string(), v6(1).ip().to_string()];
            assert_eq!(world.sees(0, 1), both, "{count} nodes: back at {lost}");
            assert_eq!(said(&world, 1), [vec![left.ip().to_string()], both], "{count} nodes: each change once");
        }
    }
}

#[test]
fn a_family_that_only_two_of_many_have_stays_though_messages_are_lost() {
    let mut world = both_families(2);
    for _ in 2..20 {
        let host = world.add(Role::Member);
        world.start(host, vec![v4(1)], Duration::ZERO);
    }
    world.run(seconds(120));
    world.loss = 50;
    world.hosts[0].said.clear();
    world.run(seconds(2 * 3600));
    assert_eq!(said(&world, 0), Vec::<Vec<String>>::new());
    assert_eq!((world.sees(19, 0).len(), world.sees(19, 1).len()), (2, 2));
}

#[test]
fn a_node_that_nobody_hears_keeps_its_addresses() {
    let mut world = both_families(3);
    world.hosts[1].side = 1;
    world.run(seconds(3600));
    assert_eq!(world.node(1).addresses().len(), 2);
    // The two others see each other, in both.
    assert_eq!((world.sees(0, 2).len(), world.sees(2, 0).len()), (2, 2));
}

#[test]
fn with_two_nodes_a_changed_address_heals_in_one_heartbeat() {
    let mut world = peace(2);
    world.moves(1, vec![v4(100)]);
    world.run(seconds(12));
    assert_eq!(world.sees(0, 1), ["10.0.0.100"]);
    assert_eq!(world.node(1).addresses()[0].to_string(), "10.0.0.100");
    assert!(world.agrees());
    assert!(world.hosts[1].said.contains(&Action::Addresses(vec!["10.0.0.100".parse().unwrap()])));
}

#[test]
fn two_addresses_changed_at_the_same_moment_heal_through_the_third() {
    let mut world = peace(3);
    world.moves(1, vec![v4(101)]);
    world.moves(2, vec![v4(102)]);
    // Each hears from the first that it moved, at its next heartbeat, and asks it after 5 s where the other is.
    world.run(seconds(20));
    assert_eq!((world.sees(1, 2), world.sees(2, 1)), (vec!["10.0.0.102".into()], vec!["10.0.0.101".into()]));
    world.converge(seconds(30)).unwrap();
}

#[test]
fn a_node_that_comes_back_at_its_old_address_is_found() {
    let mut world = peace(3);
    world.hosts[2].side = 1;
    world.run(seconds(300));
    assert_eq!((world.node(0).hosts().count(), world.node(2).hosts().count()), (2, 1));
    world.hosts[2].side = 0;
    let took = world.converge(seconds(60)).unwrap();
    println!("3 nodes: one that comes back after 5 minutes is known again after {took:?}");
}

#[test]
fn two_nodes_that_lost_each_other_never_give_up() {
    let mut world = peace(2);
    world.hosts[1].side = 1;
    world.run(seconds(3 * 3600));
    world.hosts[1].side = 0;
    let took = world.converge(seconds(60)).unwrap();
    println!("2 nodes: apart for 3 hours, know each other again after {took:?}");
}

#[test]
fn a_silent_node_is_gone_from_all_views_within_ninety_seconds() {
    let mut world = peace(50);
    world.crash(20);
    world.run(seconds(15));
    assert!((0..50).filter(|host| *host != 20).any(|host| !world.sees(host, 20).is_empty()), "gone too early");
    world.run(seconds(75));
    let still = (0..50).filter(|host| *host != 20 && !world.sees(*host, 20).is_empty()).count();
    assert_eq!(still, 0);
    let took = world.converge(seconds(60)).unwrap();
    println!("50 nodes: one that ends is gone everywhere within {:?}", seconds(90) + took);
}

#[test]
fn a_node_that_leaves_is_gone_at_once() {
    let mut world = peace(50);
    world.tell(20, Event::Leave);
    world.run(seconds(10));
    let still = (0..50).filter(|host| *host != 20 && world.node(*host).counts(&world.hosts[20].id)).count();
    assert_eq!(still, 0);
    assert!(world.agrees());
}

#[test]
fn a_mesh_that_was_split_is_one_again_within_three_announcements() {
    let mut world = peace(50);
    for host in 25..50 {
        world.hosts[host].side = 1;
    }
    world.run(seconds(600));
    assert!((0..50).all(|host| world.node(host).hosts().count() == 25));
    for host in 25..50 {
        world.hosts[host].side = 0;
    }
    let took = world.converge(seconds(90)).unwrap();
    println!("50 nodes: split in halves for 10 minutes, one again after {took:?}");
}

#[test]
fn a_mesh_survives_churn_and_loss() {
    let mut world = World::of(50, 9);
    world.loss = 20;
    world.run(seconds(60));
    for round in 0..10 {
        world.crash(round * 3 + 1);
        let new = world.add(Role::Member);
        world.start(new, vec![v4(1)], Duration::ZERO);
        world.run(seconds(20));
        // It comes back, at another address, by what it saved.
        world.moves(round * 3 + 1, vec![v4(500 + round)]);
        world.start(round * 3 + 1, Vec::new(), Duration::ZERO);
    }
    world.loss = 0;
    let took = world.converge(seconds(90)).unwrap();
    assert_eq!(world.live().count(), 60);
    // They may agree before the last has heard where it is now.
    world.run(seconds(20));
    assert_eq!(world.sees(0, 28), ["10.0.1.253"]);
    println!("50 nodes: after 10 crashes, 10 restarts and 10 new nodes in 200 s, know the same after {took:?}");
}

#[test]
fn clocks_five_minutes_apart_do_no_harm() {
    let mut world = World::of(10, 1);
    for host in 0..10 {
        world.hosts[host].skew = if host % 2 == 0 { 290 } else { -290 };
    }
    world.converge(seconds(60)).unwrap();
    world.run(seconds(3 * 3600));
    assert!(world.agrees() && world.node(0).hosts().count() == 10);
}

#[test]
fn a_clock_an_hour_off_is_told_and_harms_nobody() {
    let mut world = peace(3);
    for skew in [3600, -10_000] {
        let host = world.add(Role::Member);
        world.hosts[host].skew = skew;
        world.start(host, vec![v4(1)], Duration::ZERO);
        world.run(seconds(10));
        assert_eq!(world.hosts[host].said, [Action::Refused(Refusal::Clock)]);
    }
    assert!((0..3).all(|host| world.node(host).hosts().count() == 3));
}
