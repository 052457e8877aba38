//! Tickets, names, servers and starts.

use crate::world::{EPOCH, World, v4};
use dyndns::mesh::{Action, EdictKind, Event, Refusal, Rights, Role};
use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn peace(count: usize) -> World {
    let mut world = World::of(count, 11);
    world.converge(seconds(120)).unwrap();
    world.run(seconds(60));
    world
}

#[test]
fn an_expired_ticket_lets_nobody_in_but_a_member_comes_back_after_it() {
    let mut world = peace(5);
    world.crash(3);
    world.run(seconds(86_400));
    let new = world.add(Role::Member);
    world.start(new, vec![v4(1)], Duration::ZERO);
    world.start(3, Vec::new(), Duration::ZERO);
    world.run(seconds(30));
    assert_eq!(world.hosts[new].said, [Action::Refused(Refusal::Expired)]);
    assert!(world.agrees() && world.node(0).hosts().count() == 5);
}

#[test]
fn a_member_that_was_away_for_long_comes_back_after_its_tickets_end_though_all_others_have_restarted() {
    let mut world = peace(5);
    let edict = world.steward.edict(EdictKind::Remove, world.hosts[4].id, world.unix());
    world.crash(4);
    world.tell(0, Event::Edict(edict));
    world.crash(3);
    world.run(seconds(86_400));
    // One after the other, as for an upgrade, and then all at once, as after a power cut.
    for host in [0, 1, 2] {
        world.crash(host);
        world.run(seconds(300));
        world.start(host, Vec::new(), Duration::ZERO);
        world.run(seconds(300));
    }
    (0..3).for_each(|host| world.crash(host));
    (0..3).for_each(|host| world.start(host, Vec::new(), Duration::ZERO));
    world.run(seconds(7200));
    world.hosts[3].said.clear();
    world.start(3, Vec::new(), Duration::ZERO);
    world.start(4, Vec::new(), Duration::ZERO);
    world.run(seconds(60));
    assert!((0..4).all(|host| world.node(host).hosts().count() == 4), "{:?}", world.hosts[3].said);
    assert!(world.hosts[4].said.contains(&Action::Removed), "{:?}", world.hosts[4].said);
}

#[test]
fn a_member_whose_ticket_has_ended_is_told_where_nobody_remembers_it_and_goes_on() {
    let mut world = peace(2);
    world.crash(1);
    world.run(seconds(86_400));
    // The other has lost all but its key.
    world.crash(0);
    world.forgets(0);
    world.start(0, Vec::new(), Duration::ZERO);
    world.start(1, Vec::new(), Duration::ZERO);
    world.run(seconds(600));
    assert!(world.hosts[1].said.contains(&Action::KeptOut(Refusal::Expired)), "{:?}", world.hosts[1].said);
    assert!(world.node(1).wake().is_some());
}

#[test]
fn a_member_that_starts_alone_never_gives_up() {
    let mut world = peace(2);
    world.tell(0, Event::Leave);
    world.run(seconds(5));
    world.crash(1);
    world.crash(0);
    world.hosts[1].said.clear();
    world.start(1, vec![v4(1)], Duration::ZERO);
    world.run(seconds(3600));
    assert_eq!(world.hosts[1].said, []);
    world.start(0, Vec::new(), Duration::ZERO);
    world.converge(seconds(60)).unwrap();
}

#[test]
fn who_was_gone_before_a_restart_is_gone_after_it() {
    let mut world = peace(5);
    world.crash(4);
    world.run(seconds(120));
    world.crash(0);
    world.start(0, Vec::new(), Duration::ZERO);
    world.run(seconds(1));
    assert!(world.sees(0, 4).is_empty() && !world.sees(0, 3).is_empty());
    world.start(4, Vec::new(), Duration::ZERO);
    world.converge(seconds(60)).unwrap();
}

#[test]
fn a_revoked_ticket_lets_nobody_in_at_any_member_and_members_stay() {
    let mut world = peace(5);
    let edict = world.steward.edict(EdictKind::Revoke, world.ticket().pass.ticket, world.unix());
    world.tell(0, Event::Edict(edict));
    world.run(seconds(60));
    let new = world.add(Role::Member);
    world.start(new, vec![v4(5)], Duration::ZERO);
    world.run(seconds(10));
    assert_eq!(world.hosts[new].said, [Action::Refused(Refusal::Revoked)]);
    assert!(world.agrees() && world.node(0).hosts().count() == 5);

    let other = world.steward.ticket([4; 32], Rights::Join, EPOCH + 86_400, Vec::new()).unwrap();
    let new = world.add_with(50, "new", Role::Member, &other);
    world.start(new, vec![v4(5)], Duration::ZERO);
    world.converge(seconds(60)).unwrap();
    assert_eq!(world.node(0).hosts().count(), 6);
}

#[test]
fn a_removed_node_is_gone_everywhere_and_never_returns_with_its_key() {
    let mut world = peace(10);
    let edict = world.steward.edict(EdictKind::Remove, world.hosts[4].id, world.unix());
    world.tell(7, Event::Edict(edict));
    world.run(seconds(40));
    assert!(world.hosts[4].said.iter().any(|said| matches!(said, Action::Removed)), "{:?}", world.hosts[4].said);
    assert!((0..10).filter(|host| *host != 4).all(|host| !world.node(host).counts(&world.hosts[4].id)));

    // With another ticket and nothing saved it is still the same key.
    let other = world.steward.ticket([4; 32], Rights::Join, EPOCH + 86_400, Vec::new()).unwrap();
    let back = world.add_with(4, "back", Role::Member, &other);
    world.start(back, vec![v4(1)], Duration::ZERO);
    world.run(seconds(10));
    assert_eq!(world.hosts[back].said, [Action::Refused(Refusal::Removed)]);
    assert!(world.agrees() && world.node(0).hosts().count() == 9);
}

#[test]
fn a_second_claimant_of_a_name_is_told_who_has_it_until_the_holder_is_gone() {
    let mut world = peace(3);
    let ticket = world.ticket();
    let (first, second) = (world.hosts[2].id, 3);
    let claimant = world.add_with(60, "n2", Role::Member, &ticket);
    world.start(claimant, vec![v4(1)], Duration::ZERO);
    world.run(seconds(10));
    assert_eq!(world.hosts[second].said, [Action::Refused(Refusal::NameTaken(first))]);
    assert_eq!(world.holder(0, "n2"), Some(first));

    world.tell(2, Event::Leave);
    world.run(seconds(10));
    world.start(claimant, vec![v4(1)], Duration::ZERO);
    world.converge(seconds(60)).unwrap();
    assert_eq!(world.holder(0, "n2"), Some(world.hosts[claimant].id));
}

#[test]
fn a_name_claimed_on_both_sides_of_a_split_is_the_first_claimants_everywhere() {
    let mut world = peace(6);
    let ticket = world.ticket();
    (3..6).for_each(|host| world.hosts[host].side = 1);
    let early = world.add_with(60, "nas", Role::Member, &ticket);
    world.start(early, vec![v4(1)], Duration::ZERO);
    world.run(seconds(20));
    let late = world.add_with(61, "nas", Role::Member, &ticket);
    world.hosts[late].side = 1;
    world.start(late, vec![v4(4)], Duration::ZERO);
    world.run(seconds(200));
    assert_eq!(world.holder(4, "nas"), Some(world.hosts[late].id));
    (0..8).for_each(|host| world.hosts[host].side = 0);
    world.converge(seconds(120)).unwrap();
    let early = world.hosts[early].id;
    assert!((0..8).all(|host| world.holder(host, "nas") == Some(early)));
    assert!(world.hosts[late].said.contains(&Action::NameTaken(early)));
}

#[test]
fn a_dead_network_is_given_up_after_four_tries_of_each_contact() {
    let mut world = World::new(1);
    let host = world.add(Role::Member);
    let contacts = vec![v4(200), v4(201)];
    world.start(host, contacts.clone(), Duration::ZERO);
    world.run(seconds(39));
    assert_eq!(world.hosts[host].said, []);
    world.run(seconds(2));
    assert_eq!(world.hosts[host].said, [Action::GaveUp(contacts)]);
    assert_eq!(world.kinds[8].0, 8);
}

#[test]
fn a_contact_that_does_not_answer_gives_way_to_the_next() {
    let mut world = peace(3);
    let new = world.add(Role::Member);
    world.start(new, vec![v4(200), v4(2)], Duration::ZERO);
    world.run(seconds(19));
    assert_eq!(world.hosts[new].said, []);
    world.run(seconds(5));
    assert!(world.hosts[new].said.contains(&Action::Joined));
}

#[test]
fn a_busy_server_names_others_and_the_new_node_goes_there_by_itself() {
    let mut world = World::new(2);
    for host in 0..4 {
        world.add(if host < 2 { Role::Server } else { Role::Member });
        world.start(host, if host == 0 { Vec::new() } else { vec![v4(1)] }, Duration::ZERO);
    }
    world.converge(seconds(60)).unwrap();
    world.crash(0);
    world.settings(0).sessions = 0;
    world.start(0, Vec::new(), Duration::ZERO);
    world.run(seconds(60));
    let new = world.add(Role::Member);
    world.start(new, vec![v4(1)], Duration::ZERO);
    world.run(seconds(5));
    assert_eq!(world.kinds[10].0, 1, "one redirect");
    assert!(world.hosts[new].said.contains(&Action::Joined));
    world.converge(seconds(60)).unwrap();
}

#[test]
fn servers_that_are_all_busy_do_not_send_a_new_node_in_circles() {
    let mut world = World::new(2);
    for host in 0..4 {
        world.add(Role::Server);
        world.start(host, if host == 0 { Vec::new() } else { vec![v4(1)] }, Duration::ZERO);
    }
    world.converge(seconds(60)).unwrap();
    for host in 0..4 {
        world.crash(host);
        world.settings(host).sessions = 0;
        world.start(host, Vec::new(), Duration::ZERO);
    }
    world.run(seconds(60));
    let new = world.add(Role::Member);
    world.start(new, vec![v4(1)], Duration::ZERO);
    let joins = world.kinds[8].0;
    world.run(seconds(120));
    assert!(matches!(world.hosts[new].said[..], [Action::AllBusy(_)]), "{:?}", world.hosts[new].said);
    assert!(world.kinds[8].0 - joins <= 4 * 8, "{}", world.kinds[8].0 - joins);
}

#[test]
fn a_restart_rejoins_by_itself_at_another_address_though_the_first_node_is_cut_off() {
    let mut world = peace(5);
    world.hosts[0].side = 1;
    world.crash(4);
    world.moves(4, vec![v4(99)]);
    world.run(seconds(200));
    world.start(4, Vec::new(), Duration::ZERO);
    world.run(seconds(30));
    assert_eq!(world.sees(1, 4), ["10.0.0.99"]);
    let new = world.add(Role::Member);
    world.start(new, vec![v4(3)], Duration::ZERO);
    world.run(seconds(30));
    assert!((1..5).all(|host| !world.sees(host, new).is_empty()));
}

#[test]
fn a_watcher_sees_all_and_is_seen_by_none() {
    let mut world = peace(5);
    let ticket = world.steward.ticket([8; 32], Rights::Watch, EPOCH + 86_400, Vec::new()).unwrap();
    let watcher = world.add_with(70, "watcher", Role::Watcher, &ticket);
    world.start(watcher, vec![v4(1)], Duration::ZERO);
    world.run(seconds(60));
    world.moves(3, vec![v4(120)]);
    world.run(seconds(120));
    assert_eq!(world.node(watcher).hosts().count(), 5);
    assert_eq!(world.sees(watcher, 3), ["10.0.0.120"]);
    assert!((0..5).all(|host| world.sees(host, watcher).is_empty() && world.node(host).hosts().count() == 5));
}

#[test]
fn what_an_operator_states_is_published_instead_of_what_peers_see() {
    let mut world = peace(2);
    let new = world.add(Role::Member);
    world.settings(new).advertise = vec!["203.0.114.9".parse().unwrap()];
    world.start(new, vec![v4(1)], Duration::ZERO);
    world.run(seconds(60));
    assert_eq!(world.sees(0, new), ["203.0.114.9"]);
}
