//! The zones that both servers are asked about: one written to hold every case, and many that chance made.

/// Every case that the RFCs speak of, in a zone that BIND takes too.
pub(crate) const EVERYTHING: &str = r#"$ORIGIN everything.test.
$TTL 300
@         3600 SOA ns1 admin 7 1200 180 1209600 60
             NS  ns1
             NS  ns.sub
             NS  ns.elsewhere.example.
             MX  10 mail
             MX  20 mail
             MX  30 alias
             MX  40 host.wild
             MX  50 x.sub
             TXT "apex"
             CAA 0 issue "ca.example"
ns1          A   192.0.2.53
             AAAA 2001:db8::53
mail         A   192.0.2.25
             AAAA 2001:db8::25
www          A   192.0.2.80
             A   192.0.2.81
             TXT "x"
             SSHFP 4 2 123456789ABCDEF67890123456789ABCDEF67890123456789ABCDEF123456789
a.b.ent      A   192.0.2.3
_sip._tcp    SRV 0 0 5060 mail
             SRV 0 0 5061 mail
             SRV 0 0 5062 ns.sub
naptr        NAPTR 1 1 "s" "SIP+D2T" "" _sip._tcp
svc          SVCB 1 mail alpn="h2"
https        HTTPS 0 www
afs          AFSDB 1 mail
ptr          PTR www
alias        CNAME www
alias2       CNAME alias
dangling     CNAME nowhere
tonodata     CNAME ent
away         CNAME www.elsewhere.example.
into         CNAME host.sub
todname      CNAME h.dname
loop1        CNAME loop2
loop2        CNAME loop1
self         CNAME self
*.wild       A   192.0.2.99
             MX  10 mail
real.wild    TXT "real"
a.deep.wild  TXT "deep"
*.went       TXT "w"
x.*.went2    TXT "x"
*.wcn        CNAME www
*.wself      CNAME other.wself
sub          NS  ns.sub
             NS  ns.other
             NS  ns.elsewhere.example.
             NS  www
             DS  1 8 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766
ns.sub       A   192.0.2.54
             AAAA 2001:db8::54
ns.other     A   192.0.2.55
below.sub    A   192.0.2.56
cut.sub      NS  ns.cut.sub
unsigned     NS  ns.elsewhere.example.
dname        DNAME target
             A   192.0.2.60
             TXT "d"
hidden.dname A   192.0.2.61
h.target     A   192.0.2.62
c.target     CNAME www
s.target     CNAME h.dname
outname      DNAME elsewhere.example.
upname       DNAME @
odd\.dot     A   192.0.2.70
\000\255     A   192.0.2.71
type         TYPE65280 \# 4 DEADBEEF
"#;

/// More at `big` than a datagram of 512 or 1,232 octets holds.
pub(crate) fn big() -> String {
    let mut text =
        "$ORIGIN big.test.\n$TTL 300\n@ SOA ns admin 1 1 1 1 60\n@ NS ns\nns A 192.0.2.1\ncn CNAME big\n".to_owned();
    for number in 0..12 {
        text += &format!("big TXT \"{number:0150}\"\nsmall TXT \"{number:010}\"\nmx MX {number} m{number}\n");
        text += &format!(
            "m{number} AAAA 2001:db8::{number}\ncut NS n{number}.cut\nn{number}.cut AAAA 2001:db8::{number}\n"
        );
    }
    text
}

/// Chance that can be repeated: a seed gives the same zones on every machine (xorshift of 64 bits).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    pub(crate) fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// An owner up to `depth` labels below the apex.
    pub(crate) fn owner(&mut self, apex: &str, depth: usize) -> String {
        let labels = self.below(depth + 1);
        let mut name = String::new();
        for _ in 0..labels {
            name += self.of(&["a.", "a.", "b.", "b.", "*.", "c."]);
        }
        name + apex
    }

    pub(crate) fn data(&mut self, apex: &str, rtype: &str) -> String {
        let target = if self.below(6) == 0 { "out.side.".to_owned() } else { self.owner(apex, 3) };
        match rtype {
            "A" => format!("192.0.2.{}", 1 + self.below(3)),
            "AAAA" => format!("2001:db8::{}", 1 + self.below(3)),
            "TXT" => format!("\"t{}\"", 1 + self.below(3)),
            "DS" => format!("{} 8 2 {}", 1 + self.below(2), "ab".repeat(32)),
            "MX" => format!("{} {target}", 1 + self.below(2)),
            _ => target,
        }
    }

    /// The text of a zone at `apex`, which ends with a dot.
    pub(crate) fn zone(&mut self, apex: &str) -> String {
        let mut lines: Vec<(String, &str, String)> = Vec::new();
        for _ in 0..3 + self.below(14) {
            let owner = self.owner(apex, 3);
            let rtype =
                self.of(&["A", "A", "A", "AAAA", "TXT", "TXT", "NS", "NS", "CNAME", "CNAME", "DNAME", "MX", "DS"]);
            let data = self.data(apex, rtype);
            let conflict = |(other, theirs, _): &(String, &str, String)| {
                *other == owner && (rtype == "CNAME" || *theirs == "CNAME" || rtype == "DNAME" && *theirs == "DNAME")
            };
            // What BIND does not load: a delegation of a wildcard (RFC 4592 section 4.2 leaves its meaning open), and
            // name servers of the zone itself without an address.
            let unloved = rtype == "NS" && (owner.starts_with('*') || owner == *apex);
            if unloved || lines.iter().any(conflict) || owner == *apex && matches!(rtype, "CNAME" | "DS") {
                continue;
            }
            lines.push((owner, rtype, data));
        }
        let mut text = format!("{apex} 300 SOA ns.{apex} admin.{apex} 7 1 2 3 60\n{apex} 120 NS out.side.\n");
        for (owner, rtype, data) in lines {
            text += &format!("{owner} 120 {rtype} {data}\n");
        }
        text
    }
}
