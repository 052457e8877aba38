//! Tests of the grants and of the right to make zones.

use super::*;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A policy of home.example: lines of `effect key rule [name] [types,...]`.
fn policy(lines: &[&str]) -> UpdatePolicy {
    let grants = lines.iter().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let effect = if words[0] == "deny" { Effect::Deny } else { Effect::Allow };
        let (rule, rest) = match words[2] {
            "name" => (Rule::Name(name(words[3])), &words[4..]),
            "subdomain" => (Rule::Subdomain(name(words[3])), &words[4..]),
            "self" => (Rule::KeyName, &words[3..]),
            _ => (Rule::ZoneSub, &words[3..]),
        };
        let types = match rest {
            [] => Types::Usual,
            ["every"] => Types::Every,
            types => Types::Only(types.iter().map(|word| Rtype::parse(word).unwrap()).collect()),
        };
        Grant { effect, key: name(words[1]), rule, types }
    });
    UpdatePolicy::new(name("home.example"), grants.collect())
}

fn allowed(policy: &UpdatePolicy, key: &str, owner: &str, rtype: Rtype) -> bool {
    policy.decide(&name(key), &name(owner), rtype).is_ok()
}

fn refusal(policy: &UpdatePolicy, key: &str, owner: &str, rtype: Rtype) -> String {
    policy.decide(&name(key), &name(owner), rtype).unwrap_err().to_string()
}

#[test]
fn without_a_grant_nothing_is_allowed() {
    assert!(!allowed(&policy(&[]), "k", "a.home.example", Rtype::A));
    assert!(!allowed(&policy(&["allow other zonesub every"]), "k", "a.home.example", Rtype::A));
}

#[test]
fn name_means_this_name_without_case_and_no_other() {
    let policy = policy(&["allow K name Laptop.home.example"]);
    assert!(allowed(&policy, "k", "laptop.HOME.example", Rtype::A));
    assert!(!allowed(&policy, "k", "x.laptop.home.example", Rtype::A));
    assert!(!allowed(&policy, "k", "home.example", Rtype::A));
}

#[test]
fn subdomain_means_the_name_and_below_by_labels() {
    let policy = policy(&["allow k subdomain lab.home.example"]);
    assert!(allowed(&policy, "k", "lab.home.example", Rtype::A));
    assert!(allowed(&policy, "k", "a.b.lab.home.example", Rtype::TXT));
    assert!(!allowed(&policy, "k", "xlab.home.example", Rtype::A));
    assert!(!allowed(&policy, "k", "home.example", Rtype::A));
}

#[test]
fn self_means_the_name_of_the_key() {
    let policy = policy(&["allow laptop.home.example self"]);
    assert!(allowed(&policy, "laptop.home.example", "LAPTOP.home.example", Rtype::AAAA));
    assert!(!allowed(&policy, "laptop.home.example", "www.home.example", Rtype::AAAA));
    assert!(!allowed(&policy, "laptop.home.example", "x.laptop.home.example", Rtype::AAAA));
}

#[test]
fn zonesub_means_everything_in_the_zone_and_nothing_outside() {
    let policy = policy(&["allow k zonesub", "allow k subdomain example", "allow k name www.example"]);
    assert!(allowed(&policy, "k", "home.example", Rtype::A));
    assert!(allowed(&policy, "k", "a.home.example", Rtype::A));
    assert!(!allowed(&policy, "k", "www.example", Rtype::A));
    assert!(!allowed(&policy, "k", "xhome.example", Rtype::A));
}

#[test]
fn the_apex_soa_and_ns_need_to_be_listed() {
    let usual = policy(&["allow k zonesub"]);
    assert!(!allowed(&usual, "k", "home.example", Rtype::SOA));
    assert!(!allowed(&usual, "k", "HOME.example", Rtype::NS));
    assert!(allowed(&usual, "k", "home.example", Rtype::MX));
    assert!(allowed(&usual, "k", "sub.home.example", Rtype::NS));
    assert!(allowed(&policy(&["allow k zonesub NS"]), "k", "home.example", Rtype::NS));
    assert!(allowed(&policy(&["allow k zonesub every"]), "k", "home.example", Rtype::SOA));
}

#[test]
fn a_list_of_types_allows_these_types_alone() {
    let acme = policy(&["allow acme name _acme-challenge.www.home.example TXT"]);
    assert!(allowed(&acme, "acme", "_acme-challenge.www.home.example", Rtype::TXT));
    assert!(!allowed(&acme, "acme", "_acme-challenge.www.home.example", Rtype::CNAME));
    assert!(!allowed(&acme, "acme", "www.home.example", Rtype::TXT));
}

#[test]
fn deleting_a_whole_name_needs_the_right_to_every_type() {
    assert!(!allowed(&policy(&["allow k zonesub A AAAA TXT"]), "k", "a.home.example", Rtype::ANY));
    assert!(allowed(&policy(&["allow k zonesub"]), "k", "a.home.example", Rtype::ANY));
    assert!(allowed(&policy(&["allow k zonesub"]), "k", "home.example", Rtype::ANY));
    let denied = policy(&["allow k zonesub every", "deny k name a.home.example MX"]);
    assert!(!allowed(&denied, "k", "a.home.example", Rtype::ANY));
    assert!(allowed(&denied, "k", "b.home.example", Rtype::ANY));
}

#[test]
fn a_denial_wins_whatever_the_order() {
    for lines in [
        ["allow k zonesub every", "deny k subdomain www.home.example"],
        ["deny k subdomain www.home.example", "allow k zonesub every"],
    ] {
        let policy = policy(&lines);
        assert!(!allowed(&policy, "k", "www.home.example", Rtype::A));
        assert!(!allowed(&policy, "k", "x.www.home.example", Rtype::A));
        assert!(allowed(&policy, "k", "home.example", Rtype::A));
    }
}

/// `update add play.home.example NS ...` gave who did so login.play.home.example, whatever the grants said of that name.
#[test]
fn a_denied_name_cannot_be_taken_by_a_cut_or_a_dname_above_it() {
    for denial in
        ["name login.play.home.example", "subdomain login.play.home.example", "name login.play.home.example A"]
    {
        let policy = policy(&["allow k zonesub every", &format!("deny k {denial}")]);
        for rtype in [Rtype::NS, Rtype::DNAME] {
            assert!(!allowed(&policy, "k", "play.home.example", rtype), "{denial} {rtype}");
            assert!(!allowed(&policy, "k", "LOGIN.play.home.example", rtype), "{denial} {rtype}");
            assert!(allowed(&policy, "k", "x.play.home.example", rtype), "{denial} {rtype}");
        }
        assert!(allowed(&policy, "k", "play.home.example", Rtype::A));
        // The apex is no cut, and its DNAME moves every name.
        assert!(allowed(&policy, "k", "home.example", Rtype::NS));
        assert!(!allowed(&policy, "k", "home.example", Rtype::DNAME));
    }
    let policy = policy(&["allow k zonesub", "deny k zonesub CAA"]);
    assert!(!allowed(&policy, "k", "play.home.example", Rtype::NS));
    assert_eq!(
        refusal(&policy, "k", "play.home.example", Rtype::NS),
        "key k. must not change CAA of zone home.example, hence not NS of play.home.example"
    );
}

#[test]
fn the_right_to_one_name_is_none_to_take_the_names_below_it() {
    for (key, line) in [("k", "allow k name nas.home.example"), ("nas.home.example", "allow nas.home.example self")] {
        let may = |rtype| allowed(&policy(&[line]), key, "nas.home.example", rtype);
        assert!(may(Rtype::A) && may(Rtype::CNAME) && !may(Rtype::NS) && !may(Rtype::DNAME), "{line}");
        let listed = policy(&[&format!("{line} NS")]);
        assert!(allowed(&listed, key, "nas.home.example", Rtype::NS), "{line}");
        let all = |types: &[Rtype]| {
            policy(&[line]).decide_all(&name(key), &name("nas.home.example"), types.iter().copied()).is_ok()
        };
        assert!(all(&[Rtype::A, Rtype::TXT]) && all(&[]) && !all(&[Rtype::A, Rtype::NS]), "{line}");
    }
    assert_eq!(
        refusal(&policy(&["allow k name nas.home.example"]), "k", "nas.home.example", Rtype::NS),
        "key k. may change all but NS and DNAME of nas.home.example, not NS of nas.home.example"
    );
}

#[test]
fn a_denial_without_types_denies_the_apex_soa_too() {
    let policy = policy(&["allow k zonesub every", "deny k name home.example"]);
    assert!(!allowed(&policy, "k", "home.example", Rtype::SOA));
    assert!(!allowed(&policy, "k", "home.example", Rtype::NS));
}

#[test]
fn a_refusal_says_what_the_key_may_do() {
    let host = policy(&["allow laptop name laptop.home.example A AAAA"]);
    assert_eq!(
        refusal(&host, "laptop", "www.home.example", Rtype::TXT),
        "key laptop. may change A and AAAA of laptop.home.example, not TXT of www.home.example"
    );
    assert_eq!(
        refusal(&host, "phone", "www.home.example", Rtype::A),
        "key phone. may change nothing in zone home.example, hence not A of www.home.example"
    );
    assert_eq!(
        refusal(&policy(&["allow k zonesub"]), "k", "home.example", Rtype::NS),
        "key k. may change all but the apex SOA and NS of zone home.example, not NS of home.example"
    );
    let two = policy(&["allow k subdomain lab.home.example", "allow k name www.home.example TXT"]);
    assert_eq!(
        refusal(&two, "k", "www.home.example", Rtype::ANY),
        "key k. may change all of lab.home.example and below and TXT of www.home.example, not all of www.home.example"
    );
    let denied = policy(&["allow k zonesub", "deny k name www.home.example MX"]);
    assert_eq!(
        refusal(&denied, "k", "www.home.example", Rtype::MX),
        "key k. must not change MX of www.home.example, hence not MX of www.home.example"
    );
}

#[test]
fn a_refusal_stays_short_where_the_grants_are_many() {
    let lines: Vec<String> = (0..50).map(|n| format!("allow k name h{n}.home.example A")).collect();
    let policy = policy(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let text = refusal(&policy, "k", "www.home.example", Rtype::A);
    assert!(text.contains("A of h2.home.example and 47 more, not A of www.home.example"), "{text}");
}

#[test]
fn an_operators_key_may_change_every_zone_named_before_or_after() {
    let mut rights = Rights::new();
    rights.insert_zone(name("a.example"), vec![]);
    rights.allow_everything(name("op"));
    rights.insert_zone(name("b.example"), vec![]);
    for apex in ["A.example", "b.example", "made.example"] {
        let policy = rights.policy(&name(apex));
        assert!(policy.decide(&name("op"), &name(apex), Rtype::SOA).is_ok(), "{apex}");
        assert!(policy.decide(&name("k"), &name(apex), Rtype::A).is_err(), "{apex}");
    }
    assert!(rights.may_create(&name("op"), &name("new.example"), None).is_err());
}

#[test]
fn a_key_makes_zones_only_where_it_may() {
    let mut rights = Rights::new();
    rights.allow_creation(name("any"), Creation::Anywhere);
    rights.allow_creation(name("some"), Creation::Under(vec![name("dyn.example"), name("example.net")]));
    assert_eq!(rights.may_create(&name("any"), &name("x.test"), None), Ok(()));
    assert_eq!(rights.may_create(&name("some"), &name("a.DYN.example"), None), Ok(()));
    assert_eq!(
        rights.may_create(&name("some"), &name("xdyn.example"), None).unwrap_err().to_string(),
        "key some. may make zones in dyn.example and example.net, not xdyn.example"
    );
    assert_eq!(
        rights.may_create(&name("none"), &name("a.example"), None).unwrap_err().to_string(),
        "key none. may make no zones, and a.example is none of ours"
    );
}

#[test]
fn who_may_make_a_zone_may_change_it_unless_the_configuration_names_it() {
    let mut rights = Rights::new();
    rights.allow_creation(name("some"), Creation::Under(vec![name("dyn.example")]));
    rights.insert_zone(name("kept.dyn.example"), vec![]);
    let may = |apex: &str| rights.policy(&name(apex)).decide(&name("some"), &name(apex), Rtype::NS).is_ok();
    assert!(may("a.dyn.example"));
    assert!(!may("kept.dyn.example"));
    assert!(!may("other.example"));
}

/// A key with `create-zones = true` and a denial of login.home.example made a zone of that very name, and had it.
#[test]
fn a_key_makes_no_zone_of_names_that_another_zone_has_and_denies_it() {
    let mut rights = Rights::new();
    rights.allow_creation(name("any"), Creation::Anywhere);
    rights.allow_creation(name("wide"), Creation::Under(vec![name("example")]));
    rights.allow_creation(name("some"), Creation::Under(vec![name("dyn.home.example")]));
    let apex = name("home.example");
    let grant = |effect, rule| Grant { effect, key: name("any"), rule, types: Types::Usual };
    let play = grant(Effect::Allow, Rule::Subdomain(name("play.home.example")));
    let login = grant(Effect::Deny, Rule::Name(name("login.play.home.example")));
    rights.insert_zone(apex, vec![play, login]);
    let may = |key: &str, new: &str| rights.may_create(&name(key), &name(new), Some(&apex)).is_ok();
    assert!(may("any", "a.play.home.example"), "it may delegate there");
    assert!(!may("any", "login.play.home.example"), "denied");
    assert!(!may("any", "play.home.example"), "the denied name would be in it");
    assert!(!may("any", "ns.home.example") && !may("wide", "ns.home.example"), "not granted");
    assert!(may("some", "a.dyn.home.example"), "named as a place for zones");
    assert_eq!(
        rights.may_create(&name("wide"), &name("www.home.example"), Some(&apex)).unwrap_err().to_string(),
        "zone www.home.example would take names from zone home.example: key wide. may change nothing in zone \
         home.example, hence not NS of www.home.example"
    );
}

/// A zone that was made by an update is its makers', and so is what they make below it.
#[test]
fn makers_make_zones_below_their_own() {
    let mut rights = Rights::new();
    rights.allow_creation(name("any"), Creation::Anywhere);
    rights.allow_creation(name("some"), Creation::Under(vec![name("dyn.example")]));
    let may = |key: &str| rights.may_create(&name(key), &name("b.a.dyn.example"), Some(&name("a.dyn.example"))).is_ok();
    assert!(may("any") && may("some"));
}
