//! RFC 2136 sections 2.4 and 3.2.

use super::*;

fn check(prerequisites: &str) -> Rcode {
    rcode(prerequisites, "")
}

#[test]
fn an_rrset_must_exist_whatever_its_value() {
    // Section 2.4.1.
    assert_eq!(check("www 0 ANY A"), Rcode::NOERROR);
    assert_eq!(check("WWW 0 ANY A"), Rcode::NOERROR, "names are compared without case");
    assert_eq!(check("www 0 ANY MX"), Rcode::NXRRSET);
    assert_eq!(check("nope 0 ANY A"), Rcode::NXRRSET);
}

#[test]
fn an_rrset_must_exist_with_exactly_this_value() {
    // Section 2.4.2: whole RRsets, in any order.
    assert_eq!(check("www 0 IN A 192.0.2.81\nwww 0 IN A 192.0.2.80"), Rcode::NOERROR);
    assert_eq!(check("www 0 IN A 192.0.2.80\nWWW 0 IN A 192.0.2.81\nwww 0 IN A 192.0.2.80"), Rcode::NOERROR);
    assert_eq!(check("www 0 IN A 192.0.2.80"), Rcode::NXRRSET, "the zone has a record more");
    let more = "www 0 IN A 192.0.2.80\nwww 0 IN A 192.0.2.81\nwww 0 IN A 192.0.2.82";
    assert_eq!(check(more), Rcode::NXRRSET, "the zone has a record less");
    assert_eq!(check("www 0 IN MX 1 mail"), Rcode::NXRRSET);
    assert_eq!(check("nope 0 IN A 192.0.2.80"), Rcode::NXRRSET);
}

#[test]
fn names_in_values_compare_without_case_and_text_with() {
    assert_eq!(check("ptr 0 IN PTR hOST"), Rcode::NOERROR);
    assert_eq!(check("www 0 IN TXT \"Text\""), Rcode::NOERROR);
    assert_eq!(check("www 0 IN TXT \"text\""), Rcode::NXRRSET);
}

#[test]
fn an_rrset_must_not_exist() {
    // Section 2.4.3.
    assert_eq!(check("www 0 NONE A"), Rcode::YXRRSET);
    assert_eq!(check("www 0 NONE MX"), Rcode::NOERROR);
    assert_eq!(check("nope 0 NONE A"), Rcode::NOERROR);
}

#[test]
fn a_name_must_be_in_use_or_must_not() {
    // Sections 2.4.4 and 2.4.5.
    assert_eq!(check("www 0 ANY ANY"), Rcode::NOERROR);
    assert_eq!(check("nope 0 ANY ANY"), Rcode::NXDOMAIN);
    assert_eq!(check("www 0 NONE ANY"), Rcode::YXDOMAIN);
    assert_eq!(check("nope 0 NONE ANY"), Rcode::NOERROR);
    // A name that only has names below it owns no record.
    assert_eq!(check("ent 0 ANY ANY"), Rcode::NXDOMAIN);
    assert_eq!(check("ent 0 NONE ANY"), Rcode::NOERROR);
}

#[test]
fn wildcards_aliases_and_delegations_mean_only_themselves() {
    assert_eq!(check("x.wild 0 ANY A"), Rcode::NXRRSET);
    assert_eq!(check("x.wild 0 NONE ANY"), Rcode::NOERROR);
    assert_eq!(check("*.wild 0 ANY A"), Rcode::NOERROR);
    assert_eq!(check("alias 0 ANY A"), Rcode::NXRRSET);
    assert_eq!(check("alias 0 ANY CNAME"), Rcode::NOERROR);
    assert_eq!(check("x.one.sub 0 ANY ANY"), Rcode::NXDOMAIN);
    assert_eq!(check("one.sub 0 IN NS ns1"), Rcode::NOERROR);
}

#[test]
fn malformed_prerequisites_are_formerr() {
    // Section 3.2.5.
    for entry in [
        "www 1 ANY A",
        "www 1 NONE A",
        "www 1 IN A 192.0.2.80",
        "www 0 ANY A 192.0.2.80",
        "www 0 NONE A 192.0.2.80",
        "www 0 IN ANY",
        "www 0 ANY AXFR",
        "www 0 3 A",
        "www 0 IN A \\# 01 02 03",
        "www 0 IN A",
    ] {
        assert_eq!(check(entry), Rcode::FORMERR, "{entry}");
    }
}

#[test]
fn names_outside_the_zone_are_notzone_by_labels() {
    for owner in ["com.", ".", "example.org.", "xexample.com."] {
        for entry in ["0 ANY ANY", "0 NONE ANY", "0 IN A 192.0.2.1"] {
            assert_eq!(check(&format!("{owner} {entry}")), Rcode::NOTZONE, "{owner} {entry}");
        }
    }
}

#[test]
fn the_first_that_fails_is_the_answer_and_values_are_compared_last() {
    // Section 3.2.5: its pseudocode goes through all entries before it compares the collected RRsets.
    assert_eq!(check("nope 0 ANY ANY\nwww 0 NONE ANY"), Rcode::NXDOMAIN);
    assert_eq!(check("www 0 NONE ANY\nnope 0 ANY ANY"), Rcode::YXDOMAIN);
    assert_eq!(check("www 0 IN A 192.0.2.1\nwww 0 NONE ANY"), Rcode::YXDOMAIN);
    assert_eq!(check("nope 0 ANY ANY\nwww 1 ANY A"), Rcode::NXDOMAIN);
    assert_eq!(check("www 1 ANY A\nnope 0 ANY ANY"), Rcode::FORMERR);
}

#[test]
fn all_must_hold_and_then_the_update_is_made() {
    let both = "www 0 ANY A\nnope 0 NONE ANY";
    assert_eq!(
        show(&zone(), &changes(&zone(), both, "nope 60 IN A 192.0.2.9").unwrap()),
        "7 -> 8\n+ nope 60 A 192.0.2.9"
    );
    assert_eq!(rcode("www 0 ANY A\nwww 0 NONE ANY", "nope 60 IN A 192.0.2.9"), Rcode::YXDOMAIN);
}

#[test]
fn a_refusal_says_which_prerequisite() {
    let refusal = changes(&zone(), "nope 0 ANY ANY", "").unwrap_err();
    assert_eq!(refusal.to_string(), "prerequisite not met: nope.example.com is not in use and must be");
}
