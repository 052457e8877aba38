//! What is answered.

use super::*;

#[test]
fn an_answer_is_authoritative_and_repeats_the_question_in_its_case() {
    let reply = reply(&view(&[ZONE]), Transport::Udp, &query("wWw.eXample.com A", None));
    assert_eq!(text(&reply), "NOERROR aa\n= wWw.eXample.com 300 A 192.0.2.80");
    let message = Message::parse(&reply).unwrap();
    assert_eq!((message.header.id, message.header.flags.0), (0x1234, 0x8500), "RD is copied, RA is clear");
    assert!(message.question.unwrap().name.same_case(&Name::parse("wWw.eXample.com").unwrap()));
}

#[test]
fn nodata_and_nxdomain_bring_the_soa_with_the_smaller_ttl() {
    // RFC 2308 section 3: the SOA's TTL is 3600 and its minimum 60.
    assert_eq!(ask("www.example.com MX"), format!("NOERROR aa\n{SOA}"));
    assert_eq!(ask("nowhere.example.com A"), format!("NXDOMAIN aa\n{SOA}"));
    assert_eq!(ask("under.www.example.com A"), format!("NXDOMAIN aa\n{SOA}"));
    assert_eq!(ask("_acme-challenge.deep.er.example.com SOA"), format!("NXDOMAIN aa\n{SOA}"));
    let view = view(&["$ORIGIN small.\n@ 10 SOA ns admin 1 1 1 1 60\n@ 10 NS ns.elsewhere."]);
    let reply = reply(&view, Transport::Udp, &query("small A", None));
    assert_eq!(text(&reply), "NOERROR aa\n^ small 10 SOA ns.small. admin.small. 1 1 1 1 60");
}

#[test]
fn an_empty_non_terminal_is_nodata_not_nxdomain() {
    // RFC 4592 section 2.2.2, RFC 8020.
    for name in ["ent", "b.ent", "_tcp", "wild", "*.went2"] {
        assert_eq!(ask(&format!("{name}.example.com A")), format!("NOERROR aa\n{SOA}"), "{name}");
    }
}

#[test]
fn a_cname_is_followed_inside_the_zone() {
    assert_eq!(
        ask("alias2.example.com A"),
        "NOERROR aa\n= alias2.example.com 300 CNAME alias.example.com.\
         \n= alias.example.com 300 CNAME www.example.com.\n= www.example.com 300 A 192.0.2.80"
    );
    assert_eq!(
        ask("away.example.com A"),
        "NOERROR aa\n= away.example.com 300 CNAME www.elsewhere.test.",
        "elsewhere is not ours to answer"
    );
    // RFC 1034 section 3.6.2: the alias itself is asked for.
    assert_eq!(ask("alias.example.com CNAME"), "NOERROR aa\n= alias.example.com 300 CNAME www.example.com.");
    assert_eq!(ask("alias.example.com ANY"), "NOERROR aa\n= alias.example.com 300 CNAME www.example.com.");
}

#[test]
fn types_that_stand_beside_a_cname_are_answered_there() {
    // RFC 2181 section 10.1, RFC 4035 section 2.5. The CNAME was once followed for them.
    let key = "KEY 512 3 8 AQAB";
    let view = view(&[&format!("{ZONE}\nalias {key}\n")]);
    let asked = |text: &str| self::text(&reply(&view, Transport::Udp, &query(text, None)));
    assert_eq!(asked("alias.example.com KEY"), format!("NOERROR aa\n= alias.example.com 300 {key}"));
    assert_eq!(asked("alias.example.com NSEC"), format!("NOERROR aa\n{SOA}"));
    assert!(asked("alias.example.com A").contains(" CNAME "));
}

#[test]
fn the_rcode_is_that_of_the_chains_last_name() {
    // RFC 6604 section 3; RFC 2308 section 2.1 for the SOA.
    let cname = "= dangling.example.com 300 CNAME nowhere.example.com.";
    assert_eq!(ask("dangling.example.com A"), format!("NXDOMAIN aa\n{cname}\n{SOA}"));
    let cname = "= nodata.example.com 300 CNAME ent.example.com.";
    assert_eq!(ask("nodata.example.com A"), format!("NOERROR aa\n{cname}\n{SOA}"));
}

#[test]
fn a_cname_loop_ends_and_is_an_error() {
    // RFC 1034 section 3.6.2.
    assert_eq!(ask("self.example.com A"), "SERVFAIL aa\n= self.example.com 300 CNAME self.example.com.");
    assert_eq!(
        ask("loop1.example.com A"),
        "SERVFAIL aa\n= loop1.example.com 300 CNAME loop2.example.com.\
         \n= loop2.example.com 300 CNAME loop1.example.com."
    );
}

#[test]
fn a_chain_of_many_names_ends_too() {
    let mut text = "$ORIGIN long.\n@ 60 SOA ns admin 1 1 1 1 60\n@ 60 NS ns.elsewhere.\n".to_string();
    for step in 0..40 {
        text += &format!("c{step} 60 CNAME c{}\n", step + 1);
    }
    let view = view(&[&text]);
    let reply = reply(&view, Transport::Tcp, &query("c0.long A", None));
    assert_eq!(Message::parse(&reply).unwrap().header.counts[1], 16);
}

#[test]
fn a_referral_is_not_authoritative_and_brings_the_addresses_that_the_zone_has() {
    // RFC 1034 section 4.2.1; ns.other lies in the zone but not below the cut.
    let referral = "\n^ sub.example.com 300 NS ns.sub.example.com.\n^ sub.example.com 300 NS ns.other.example.com.\
                    \n^ sub.example.com 300 NS ns.elsewhere.test.\n+ ns.sub.example.com 300 A 192.0.2.54\
                    \n+ ns.sub.example.com 300 AAAA 2001:db8::54\n+ ns.other.example.com 300 A 192.0.2.55";
    for asked in ["sub A", "sub NS", "sub ANY", "sub SOA", "x.y.sub A", "below.sub A", "ns.sub A", "x.sub DS"] {
        let (name, rtype) = asked.split_once(' ').unwrap();
        assert_eq!(ask(&format!("{name}.example.com {rtype}")), format!("NOERROR{referral}"), "{asked}");
    }
    // RFC 1035 section 4.1.1: AA speaks of the first owner in the answer, which is ours.
    let cname = "\n= into.example.com 300 CNAME host.sub.example.com.";
    assert_eq!(ask("into.example.com A"), format!("NOERROR aa{cname}{referral}"));
}

#[test]
fn ds_at_a_cut_is_the_parents_to_answer() {
    // RFC 4035 section 3.1.4.1.
    assert!(ask("sub.example.com DS").starts_with("NOERROR aa\n= sub.example.com 300 DS 1 8 2 E2D3"));
    let child = "$ORIGIN sub.example.com.\n@ 60 SOA ns admin 1 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.54";
    let view = view(&[ZONE, child]);
    let asked = |text: &str| self::text(&reply(&view, Transport::Udp, &query(text, None)));
    assert!(asked("sub.example.com DS").starts_with("NOERROR aa\n= sub.example.com 300 DS 1 8 2 E2D3"));
    assert!(asked("sub.example.com NS").starts_with("NOERROR aa\n= sub.example.com 60 NS"), "the child's own");
    // Where only the child is served, it denies.
    let alone = self::view(&[child]);
    let asked = text(&reply(&alone, Transport::Udp, &query("sub.example.com DS", None)));
    assert_eq!(asked, "NOERROR aa\n^ sub.example.com 60 SOA ns.sub.example.com. admin.sub.example.com. 1 1 1 1 60");
}

#[test]
fn wildcards_answer_for_names_that_do_not_exist() {
    assert_eq!(ask("a.wild.example.com A"), "NOERROR aa\n= a.wild.example.com 300 A 192.0.2.99");
    assert_eq!(ask("a.b.c.wild.example.com A"), "NOERROR aa\n= a.b.c.wild.example.com 300 A 192.0.2.99");
    assert_eq!(ask("*.wild.example.com A"), "NOERROR aa\n= *.wild.example.com 300 A 192.0.2.99");
    assert_eq!(ask("real.wild.example.com A"), format!("NOERROR aa\n{SOA}"), "it exists");
    assert_eq!(ask("x.real.wild.example.com A"), format!("NXDOMAIN aa\n{SOA}"), "its closest encloser is real.wild");
    assert_eq!(ask("a.wild.example.com MX"), format!("NOERROR aa\n{SOA}"));
    assert_eq!(
        ask("a.wcn.example.com A"),
        "NOERROR aa\n= a.wcn.example.com 300 CNAME www.example.com.\n= www.example.com 300 A 192.0.2.80"
    );
    // RFC 4592 section 2.2.3: a wildcard may itself be an empty non-terminal, and stands for no data then.
    assert_eq!(ask("a.went2.example.com TXT"), format!("NOERROR aa\n{SOA}"));
    assert_eq!(ask("x.a.went2.example.com TXT"), format!("NOERROR aa\n{SOA}"));
}

#[test]
fn a_dname_moves_what_lies_below_it() {
    // RFC 6672 sections 2.3 and 3.1: the DNAME, a CNAME made of it with its TTL, and the data.
    let dname = "= dname.example.com 300 DNAME target.example.com.";
    for host in ["h", "H"] {
        assert_eq!(
            ask(&format!("{host}.dname.example.com A")),
            format!(
                "NOERROR aa\n{dname}\n= {host}.dname.example.com 300 CNAME {host}.target.example.com.\
                 \n= {host}.target.example.com 300 A 192.0.2.62"
            )
        );
    }
    assert_eq!(ask("dname.example.com A"), "NOERROR aa\n= dname.example.com 300 A 192.0.2.60", "not its owner");
    assert_eq!(ask("dname.example.com DNAME"), format!("NOERROR aa\n{dname}"));
    assert_eq!(
        ask("hidden.dname.example.com A"),
        format!("NXDOMAIN aa\n{dname}\n= hidden.dname.example.com 300 CNAME hidden.target.example.com.\n{SOA}"),
        "what stands below a DNAME is hidden by it"
    );
}

#[test]
fn a_dname_that_makes_a_name_too_long_is_yxdomain() {
    // RFC 6672 section 2.2. Four labels of 50 octets fit below `long`, not below its target.
    let label = "l".repeat(50);
    let asked = ask(&format!("{label}.{label}.{label}.long.example.com A"));
    assert!(asked.starts_with("YXDOMAIN aa\n= long.example.com 300 DNAME aaaa"), "{asked}");
    assert_eq!(asked.lines().count(), 2);
}

#[test]
fn a_dname_that_leads_below_itself_appears_once() {
    // It was once written again for every step.
    let asked = ask("x.grow.example.com A");
    assert_eq!(asked.matches(" DNAME ").count(), 1, "{asked}");
    assert!(asked.matches(" CNAME ").count() > 1, "{asked}");
    // Asked for itself, at the end of a chain that it made.
    for rtype in ["DNAME", "ANY"] {
        let asked = ask(&format!("up.up.example.com {rtype}"));
        assert_eq!(asked.matches(" DNAME ").count(), 1, "{asked}");
    }
}

#[test]
fn addresses_of_named_hosts_come_along_once() {
    // Two MX records of one host once brought its addresses twice.
    assert_eq!(
        ask("example.com MX"),
        "NOERROR aa\n= example.com 300 MX 10 mail.example.com.\n= example.com 300 MX 20 mail.example.com.\
         \n= example.com 300 MX 30 mail.elsewhere.test.\n+ mail.example.com 300 A 192.0.2.25\
         \n+ mail.example.com 300 AAAA 2001:db8::25"
    );
    assert_eq!(ask("_sip._tcp.example.com SRV").matches("+ ").count(), 2);
    assert_eq!(
        ask("example.com NS"),
        "NOERROR aa\n= example.com 300 NS ns1.example.com.\n= example.com 300 NS ns.sub.example.com.\
         \n+ ns1.example.com 300 A 192.0.2.53"
    );
}

#[test]
fn names_outside_every_zone_are_refused() {
    for name in ["example.org", "xexample.com", "com", "."] {
        assert_eq!(ask(&format!("{name} A")), "REFUSED", "{name}");
    }
}

#[test]
fn the_longest_apex_answers() {
    let child = "$ORIGIN sub.example.com.\n@ 60 SOA ns admin 1 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1";
    let view = view(&[ZONE, child]);
    let asked = text(&reply(&view, Transport::Udp, &query("ns.sub.example.com A", None)));
    assert_eq!(asked, "NOERROR aa\n= ns.sub.example.com 60 A 192.0.2.1");
}

#[test]
fn any_is_one_rrset_over_udp_and_all_over_tcp() {
    // RFC 8482 sections 4.1 and 4.4.
    assert_eq!(ask("www.example.com ANY"), "NOERROR aa\n= www.example.com 300 A 192.0.2.80");
    let all = text(&reply(&view(&[ZONE]), Transport::Tcp, &query("www.example.com ANY", None)));
    assert_eq!(all, "NOERROR aa\n= www.example.com 300 A 192.0.2.80\n= www.example.com 300 TXT \"x\"");
}

#[test]
fn an_answer_that_does_not_fit_is_cut_after_whole_rrsets() {
    // RFC 2181 section 9: TC, and no part of an RRset.
    let view = view(&[&big(5, 0)]);
    let cut = "NOERROR aa tc\n= cn.big 60 CNAME big.big.";
    let short = reply(&view, Transport::Udp, &query("cn.big TXT", None));
    assert_eq!(text(&short), cut);
    assert_eq!(Message::parse(&short).unwrap().header.counts, [1, 1, 0, 0]);
    let short = reply(&view, Transport::Udp, &query("cn.big TXT", Some(800)));
    assert_eq!(text(&short), cut);
    assert_eq!(Message::parse(&short).unwrap().header.counts, [1, 1, 0, 1], "the OPT record is still there");
    let whole = reply(&view, Transport::Udp, &query("cn.big TXT", Some(4096)));
    assert_eq!(text(&whole).lines().count(), 7);
    assert!(whole.len() <= 1232, "{}", whole.len());
    let whole = reply(&view, Transport::Tcp, &query("cn.big TXT", None));
    assert_eq!(text(&whole).lines().count(), 7);
}

#[test]
fn our_own_limit_holds_whatever_the_client_offers_and_512_always_fits() {
    let view = view(&[&big(6, 0)]);
    let cut = reply(&view, Transport::Udp, &query("big.big TXT", Some(65_535)));
    assert_eq!(text(&cut), "NOERROR aa tc");
    // RFC 6891 section 6.2.3: less than 512 counts as 512.
    let view = self::view(&[&big(2, 0)]);
    let fits = reply(&view, Transport::Udp, &query("big.big TXT", Some(0)));
    assert!(text(&fits).lines().count() == 3 && fits.len() > 400, "{}", text(&fits));
}

#[test]
fn additional_addresses_are_left_out_without_a_word_but_glue_is_not() {
    // RFC 2181 section 9: what is only nice to have sets no TC. RFC 9471 section 3: glue does.
    let mut text = "$ORIGIN many.\n@ 60 SOA ns admin 1 1 1 1 60\n@ 60 NS ns.elsewhere.\n".to_string();
    for host in 0..12 {
        text += &format!("@ 60 MX {host} m{host}\nm{host} 60 AAAA 2001:db8::{host}\n");
        text += &format!("cut 60 NS n{host}.cut\nn{host}.cut 60 AAAA 2001:db8::{host}\n");
    }
    let view = view(&[&text]);
    let mail = self::text(&reply(&view, Transport::Udp, &query("many MX", None)));
    assert!(mail.starts_with("NOERROR aa\n") && (14..25).contains(&mail.lines().count()), "{mail}");
    let referral = self::text(&reply(&view, Transport::Udp, &query("x.cut.many A", None)));
    assert!(referral.starts_with("NOERROR tc\n^ cut.many 60 NS"), "{referral}");
    let referral = self::text(&reply(&view, Transport::Udp, &query("x.cut.many A", Some(1232))));
    assert!(referral.starts_with("NOERROR\n^ cut.many 60 NS") && referral.lines().count() == 25, "{referral}");
}

#[test]
fn what_no_message_can_hold_is_servfail_over_tcp_and_any_gives_the_rest() {
    // 330 records of 213 octets are over 65,535.
    let view = view(&[&big(330, 1)]);
    assert_eq!(text(&reply(&view, Transport::Tcp, &query("cn.big TXT", None))), "SERVFAIL");
    assert_eq!(text(&reply(&view, Transport::Tcp, &query("big.big URI", None))).lines().count(), 2);
    assert_eq!(text(&reply(&view, Transport::Tcp, &query("big.big ANY", None))).lines().count(), 2);
    assert_eq!(text(&reply(&view, Transport::Udp, &query("big.big ANY", None))), "NOERROR aa tc");
}
