//! Zone files as BIND's `named-checkzone` reads them, and the example zones of the project.
//!
//! Where `named-checkzone` is not installed, the comparison is named and skipped.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure to be seen")]

use dyndns::wire::{Name, Rtype, rdata};
use dyndns::zone::text::{ParsedZone, parse, rdata_to_text, write_zone};
use dyndns::zone::{Key, Record};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Every feature of the format, and every type that both sides can write.
const ZONE: &str = r#"; a comment before anything
$TTL 1h30m
@       IN SOA ns1 hostmaster\.dns ( 2024010100 ; serial
                1h      ; refresh
                15m 2W
                5m )
        NS      ns1
        IN NS   ns2.example.net.
ns1     60 IN A 192.0.2.53
        IN 60 AAAA 2001:db8::53
Ns1     60 in aaaa 2001:DB8:0:0::54
$ORIGIN sub
a       A       192.0.2.1
$ORIGIN deep
b.c     A       192.0.2.2
$ORIGIN example.com.
; blank owner after $ORIGIN: the owner stays the last one
        TXT     "still b.c.deep.sub"
$TTL 300
txt     TXT     plain "two words" "quote \" and \\ and \; and \001" ""
        TXT     ( "in"
                  "parentheses" ; comment inside
                )
        TXT     unquoted\ blank semi\;colon "a;b"
        TXT     a=b"joined"
esc\.aped.label TXT x
\000odd\255 TXT y
*       A       192.0.2.99
*.wild  MX      10 @
mx      MX      10 mail
        MX      20 MAIL.example.com.
        MX      10 mail.EXAMPLE.com.
srv     SRV     0 5 5060 sip
cn      CNAME   www
dn      DNAME   other.example.net.
ptr     PTR     host
hinfo   HINFO   "PC" Linux
rp      RP      admin txt
afs     AFSDB   1 afs
rt      RT      10 rt
px      PX      10 map822 mapx400
x25     X25     "311061700956"
isdn    ISDN    150862028003217 004
        ISDN    150862028003218
gpos    GPOS    -32.6882 116.8652 10.0
minfo   MINFO   r e
mb      MB      host
mg      MG      host
mr      MR      host
nsapptr NSAP-PTR foo.
loc     LOC     52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
        LOC     60 9 N 24 39 E 10m 20m
naptr   NAPTR   100 10 "u" "sip+E2U" "!^.*$!sip:a@example.com!" .
kx      KX      10 kx
cert    CERT    PKIX 65534 RSASHA256 ( MxFcby9k/yvedMfQgKzhH5er0Mu/vILz
                45IkskceFGgiWCn/GxHhai6VAuHAoNUz )
apl     APL     1:192.0.2.0/24 !2:2001:db8::/32
ds      DS      60485 5 1 ( 2BB183AF5F22588179A53B0A
                98631FAD1A292118 )
cds     CDS     0 0 0 00
dlv     DLV     60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118
sshfp   SSHFP   2 1 123456789abcdef67890123456789abcdef67890
ipsec   IPSECKEY 10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==
        IPSECKEY 10 0 2 . AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==
        IPSECKEY 10 3 2 gw AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==
rrsig   RRSIG   A 5 3 86400 20300322173103 20300220173103 2642 example.com. oJB1W6WNGv+ldvQ3WDG0MQkg5IEhjRip
nsec    NSEC    host A MX RRSIG NSEC TYPE1234
dnskey  DNSKEY  256 3 5 AQPSKmynfzW4kyBv015MUG2DeIQ3Cbl+BBZH4b/0PY1kxkmvHjcZc8no
cdnskey CDNSKEY 0 3 0 AA==
key     KEY     256 3 5 AQPSKmynfzW4kyBv015MUG2DeIQ3Cbl+BBZH4b/0PY1kxkmvHjcZc8no
dhcid   DHCID   AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=
n3p     NSEC3PARAM 1 0 12 aabbccdd
        NSEC3PARAM 1 0 12 -
2t7b4g4vsa5smi47k61mv5bv1a22bojr NSEC3 1 1 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG
tlsa    TLSA    3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971
smimea  SMIMEA  3 0 0 308201A2300D06
hip     HIP     2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMzxTs9LBPCIkOFH8cIvM4p rvs
ninfo   NINFO   "status" "ok"
rkey    RKEY    0 3 5 AQPSKmynfzW4kyBv015MUG2DeIQ3Cbl+BBZH4b/0PY1kxkmvHjcZc8no
talink  TALINK  . next
pgp     OPENPGPKEY AQIDBAUGBwgJCgsMDQ4PEA==
csync   CSYNC   66 3 A NS AAAA
zonemd  ZONEMD  2018031500 1 1 FEBE3D4CE2EC2FFA4BA99D46CD69D6D29711E55217057BEE7EB1A7B641A47BA7FED2DD5B97AE499FAFA4F22C6BD647DE
svcb    SVCB    0 target
https   HTTPS   1 . port=8443 alpn="h2,h3" ipv4hint=192.0.2.1 ipv6hint=2001:db8::1
        HTTPS   2 foo mandatory=alpn,ipv4hint alpn=h2 no-default-alpn ipv4hint=192.0.2.1,192.0.2.2 key667="he\210llo"
        HTTPS   3 foo alpn="f\\\\oo\\,bar,h2" ech=AQIDBA== dohpath=/q{?dns}
spf     SPF     "v=spf1 -all"
nid     NID     10 0014:4fff:ff20:ee64
l32     L32     10 192.0.2.1
l64     L64     10 2001:0DB8:1140:1000
lp      LP      10 l64
eui     EUI48   00-00-5e-00-53-2a
        EUI64   00-00-5e-ef-10-00-00-2a
uri     URI     10 1 "https://example.com/a b"
caa     CAA     0 issue "ca.example.net; policy=ev"
        CAA     128 tbs Unknown
avc     AVC     app-name:x
amt     AMTRELAY 10 0 2 2001:db8::15
        AMTRELAY 10 1 3 relay
        AMTRELAY 10 0 0 .
known   A       \# 4 C0000263
        TYPE15  \# 8 000a 016d 0265 78 00
unknown TYPE65280 \# 4 DEADBEEF
        CLASS1 TYPE65280 \# 0
$INCLUDE more.inc inc
after   A       192.0.2.5
$GENERATE 1-9/4 gen-${0,3,d} A 192.0.2.$
$GENERATE 1-2 g$ 77 IN MX "1$ mail$"
"#;
const INCLUDED: &str = "@ A 192.0.2.3\nx 120 A 192.0.2.4\n$ORIGIN y\nz TXT included\n";

fn read(text: &str, folder: &Path) -> ParsedZone {
    let file = folder.join("zone").display().to_string();
    let mut include = |path: &str| std::fs::read_to_string(path).map_err(|error| error.to_string());
    match parse(text, &file, Name::parse("example.com").ok(), &mut include) {
        Ok(zone) => zone,
        Err(errors) => panic!("{}", errors.iter().map(|error| format!("{error}\n")).collect::<String>()),
    }
}

/// The records in canonical form, as lines that a person can compare.
fn lines(zone: &ParsedZone) -> BTreeSet<String> {
    zone.records
        .iter()
        .map(|Record { owner, rtype, ttl, rdata }| {
            let text = rdata_to_text(*rtype, &rdata::canonical(*rtype, rdata));
            format!("{} {ttl} {rtype} {text}", owner.name())
        })
        .collect()
}

#[test]
fn named_checkzone_takes_a_zone_file_to_mean_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let zone = |text: &str| {
        std::fs::write(folder.path().join("zone"), text).unwrap();
        dump(folder.path())
    };
    std::fs::write(folder.path().join("more.inc"), INCLUDED).unwrap();
    let Some(dumped) = zone(ZONE) else { return };
    let ours = read(ZONE, folder.path());
    let (ours_lines, bind_lines) = (lines(&ours), lines(&read(&dumped, folder.path())));
    let only_ours: Vec<_> = ours_lines.difference(&bind_lines).collect();
    let only_bind: Vec<_> = bind_lines.difference(&ours_lines).collect();
    assert!(only_ours.is_empty() && only_bind.is_empty(), "only ours: {only_ours:#?}\nonly BIND: {only_bind:#?}");

    // And BIND takes what we write for the same zone.
    let mut written = String::new();
    write_zone(&mut written, &ours.apex, &ours.records).unwrap();
    let dumped = zone(&written).unwrap();
    assert_eq!(lines(&read(&dumped, folder.path())), ours_lines);
}

/// What `named-checkzone` reads from the file `zone`, in its own words; `None`, said aloud, where it is not
/// installed.
fn dump(folder: &Path) -> Option<String> {
    let ignored = ["-k", "-n", "-m", "-M", "-S", "-r"].map(|check| [check, "ignore"]);
    let checked = Command::new("named-checkzone")
        .args(["-i", "none", "-D", "-f", "text", "-s", "full", "-o", "-", "-w"])
        .arg(folder)
        .args(ignored.as_flattened())
        .args(["example.com", "zone"])
        .output();
    let Ok(checked) = checked else {
        eprintln!("skipped: named-checkzone is not installed");
        return None;
    };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    Some(String::from_utf8(checked.stdout).unwrap())
}

fn example(file: &str) -> ParsedZone {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("zones").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    parse(&text, file, None, &mut |_| Err("no file".to_owned())).unwrap()
}

#[test]
fn the_example_zone_holds_what_the_quick_start_needs() {
    let zone = example("example.com.zone");
    assert_eq!(zone.warnings, []);
    assert_eq!(zone.apex, Name::parse("example.com").unwrap());
    let has = |owner: &str, rtype| {
        let owner = Key::new(&Name::parse(owner).unwrap());
        zone.records.iter().any(|record| record.owner == owner && record.rtype == rtype)
    };
    assert!(has("ns1.example.com", Rtype::A) && has("ns1.example.com", Rtype::AAAA));
    assert!(has("example.com", Rtype::MX) && has("*.apps.example.com", Rtype::A));
    // The first update of the quick start makes this name.
    assert!(!zone.records.iter().any(|record| record.owner.name() == Name::parse("router.example.com").unwrap()));
}

#[test]
fn the_example_reverse_zone_names_the_hosts_of_the_example_zone() {
    let hosts = example("example.com.zone");
    for record in example("2.0.192.in-addr.arpa.zone").records {
        if record.rtype == Rtype::PTR {
            let host = Key::new(rdata::target(Rtype::PTR, &record.rdata).unwrap());
            assert!(hosts.records.iter().any(|other| other.owner == host), "{:?}", record.owner);
        }
    }
}
