//! How long it takes, and what it costs, with many nodes.

use crate::world::{World, v4};
use dyndns::clock::Clock;
use dyndns::mesh::Role;
use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How many members the nodes know, the fewest and the most.
fn known(world: &World) -> (u32, u32) {
    let known = || world.live().map(|node| node.summary().members);
    (known().min().unwrap(), known().max().unwrap())
}

/// What each node of a mesh in peace sends in a minute.
fn print_traffic(world: &mut World, time: Duration) -> (f64, f64) {
    let (messages, octets) = world.traffic(time);
    let count = world.live().count();
    println!("{count} nodes: each sends {messages:.0} messages and {octets:.0} octets in a minute");
    (messages, octets)
}

#[test]
fn three_nodes_converge_within_seconds() {
    let mut world = World::of(3, 1);
    let took = world.converge(seconds(60)).unwrap();
    println!("3 nodes: know the same after {took:?}");
    assert!(took <= seconds(15), "{took:?}");
    print_traffic(&mut world, seconds(600));
}

#[test]
fn fifty_nodes_that_start_at_once_converge_within_an_announcement() {
    for seed in 1..=5 {
        let took = World::of(50, seed).converge(seconds(90)).unwrap();
        println!("50 nodes: know the same after {took:?}, by the chance of {seed}");
        assert!(took <= seconds(30), "{took:?} by the chance of {seed}");
    }
}

#[test]
fn fifty_nodes_converge_though_one_message_in_ten_is_lost() {
    let mut world = World::new(5);
    world.loss = 100;
    for number in 0..50 {
        let host = world.add(Role::Member);
        // With one contact one new node in a thousand would give up.
        world.start(host, if number == 0 { Vec::new() } else { vec![v4(1), v4(2)] }, seconds(number));
    }
    world.run(seconds(60));
    let took = world.converge(seconds(120)).unwrap();
    println!("50 nodes, one message in ten lost: know the same {took:?} after the last start");
    for _ in 0..30 {
        world.run(seconds(10));
        assert_eq!(known(&world), (50, 50), "at {:?}: loss alone takes nobody out of a view", world.now);
    }
}

#[test]
fn messages_do_not_grow_with_the_mesh_and_octets_grow_by_the_renewals_alone() {
    let of = |count: usize| {
        let mut world = World::of(count, 3);
        world.converge(seconds(120)).unwrap();
        // An hour has everything in it, each renewal and each full exchange.
        print_traffic(&mut world, seconds(3600))
    };
    let (small, large) = (of(25), of(100));
    assert!(large.0 < small.0 * 1.2, "messages: {small:?} {large:?}");
    assert!(large.1 < small.1 * 4.0, "octets: {small:?} {large:?}");
}

#[test]
fn two_thousand_nodes_converge_within_three_announcements() {
    let clock = Clock::System;
    let begin = clock.monotonic_micros();
    let mut world = World::new(1);
    let servers = 20;
    for number in 0..2000 {
        let host = world.add(if number < servers { Role::Server } else { Role::Member });
        let contacts = match number {
            0 => Vec::new(),
            _ if number < servers => vec![v4(1)],
            _ => vec![v4(1 + number % servers), v4(1 + (number + 1) % servers)],
        };
        world.start(host, contacts, Duration::from_millis(5 * number as u64));
    }
    world.run(seconds(10));
    println!("2000 nodes: started within 10 s, know {:?} others", known(&world));
    let took = world.converge(seconds(90));
    println!("2000 nodes: know the same {took:?} after the last start; {:?}", known(&world));
    assert!(took.is_some(), "not within three announcements: {:?}", known(&world));

    print_traffic(&mut world, seconds(30));

    // One moves: all know, and it is known nowhere at its old address.
    world.moves(1000, vec![v4(3000)]);
    let moved = world.now;
    while !(0..2000).all(|host| world.sees(host, 1000) == ["10.0.11.184"]) {
        world.run(seconds(2));
        assert!(world.now - moved <= seconds(90), "{:?}", world.sees(1999, 1000));
    }
    println!("2000 nodes: a changed address is known to all after {:?}", world.now - moved);
    println!("2000 nodes: {} ms in all", (clock.monotonic_micros() - begin) / 1000);
}
