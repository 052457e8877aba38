//! The rules again, as plainly as the RFCs tell them: records in a list, names as lists of labels, no index and no
//! sharing. Slow, and written apart from the code that it judges.

use std::collections::{BTreeMap, BTreeSet};

/// A name as lower-case labels from the left.
pub(crate) type Labels = Vec<String>;

/// A record: owner, type, TTL, data as text in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) owner: Labels,
    pub(crate) rtype: String,
    pub(crate) ttl: u32,
    pub(crate) data: String,
}

/// What a question is answered with. Additional records are not modelled but for glue.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Reply {
    pub(crate) rcode: u16,
    pub(crate) authoritative: bool,
    pub(crate) answer: BTreeSet<Line>,
    pub(crate) authority: BTreeSet<Line>,
    pub(crate) glue: BTreeSet<Line>,
}

pub(crate) fn labels(text: &str) -> Labels {
    text.trim_end_matches('.').split('.').filter(|label| !label.is_empty()).map(str::to_lowercase).collect()
}

fn is_in(name: &[String], above: &[String]) -> bool {
    name.ends_with(above)
}

fn wire_len(name: &[String]) -> usize {
    name.iter().map(|label| label.len() + 1).sum::<usize>() + 1
}

/// RFC 1034 section 4.3.2 as RFC 4592 section 3.3 and RFC 6672 section 3.2 amend it, for one zone.
pub(crate) fn answer(zone: &[Line], apex: &Labels, qname: &Labels, qtype: &str) -> Reply {
    let mut reply = Reply { authoritative: true, ..Reply::default() };
    let mut name = qname.clone();
    let mut asked = Vec::new();
    for _ in 0..16 {
        match step(zone, apex, &name, qtype) {
            Step::Referral(cut) => {
                reply.authoritative = !asked.is_empty();
                reply.authority = at(zone, &cut).filter(|line| line.rtype == "NS").cloned().collect();
                for ns in &reply.authority {
                    let glue = zone.iter().filter(|line| line.owner == labels(&ns.data));
                    reply.glue.extend(glue.filter(|line| line.rtype == "A" || line.rtype == "AAAA").cloned());
                }
                return reply;
            }
            Step::Dname(dname) => {
                let target = labels(&dname.data);
                let prefix = &name[..name.len() - dname.owner.len()];
                let moved = [prefix, &target].concat();
                let ttl = dname.ttl;
                reply.answer.insert(dname);
                if wire_len(&moved) > 255 {
                    reply.rcode = 6;
                    return reply;
                }
                let data = format!("{}.", moved.join("."));
                reply.answer.insert(Line { owner: name.clone(), rtype: "CNAME".into(), ttl, data });
                asked.push(name);
                name = moved;
            }
            Step::Node(lines) => {
                let cname = lines.iter().find(|line| line.rtype == "CNAME" && qtype != "CNAME" && qtype != "ANY");
                let Some(cname) = cname else {
                    let wanted = lines.iter().filter(|line| qtype == "ANY" || line.rtype == qtype);
                    let found: Vec<Line> = wanted.map(|line| Line { owner: name.clone(), ..line.clone() }).collect();
                    if found.is_empty() {
                        reply.authority.insert(soa(zone));
                    }
                    reply.answer.extend(found);
                    return reply;
                };
                reply.answer.insert(Line { owner: name.clone(), ..cname.clone() });
                asked.push(name);
                name = labels(&cname.data);
            }
            Step::NoName => {
                reply.rcode = 3;
                reply.authority.insert(soa(zone));
                return reply;
            }
        }
        // RFC 1034 section 3.6.2: loops are signalled as an error.
        if asked.contains(&name) {
            reply.rcode = 2;
        }
        if reply.rcode != 0 || !is_in(&name, apex) {
            return reply;
        }
    }
    reply
}

enum Step {
    Referral(Labels),
    Dname(Line),
    /// The records of the name or of the wildcard that stands for it, none for an empty non-terminal.
    Node(Vec<Line>),
    NoName,
}

/// Step 3: match down, label by label.
fn step(zone: &[Line], apex: &Labels, qname: &Labels, qtype: &str) -> Step {
    let has = |name: &[String], rtype: &str| at(zone, name).any(|line| line.rtype == rtype);
    for depth in apex.len()..=qname.len() {
        let here = &qname[qname.len() - depth..];
        if !zone.iter().any(|line| is_in(&line.owner, here)) {
            // 3c: the label before was the last to match, so it is the closest encloser.
            let star = [&["*".to_string()], &here[1..]].concat();
            if !zone.iter().any(|line| is_in(&line.owner, &star)) {
                return Step::NoName;
            }
            return Step::Node(at(zone, &star).cloned().collect());
        }
        let last = depth == qname.len();
        if depth > apex.len() && has(here, "NS") && !(last && qtype == "DS") {
            return Step::Referral(here.to_vec());
        }
        if !last && let Some(dname) = at(zone, here).find(|line| line.rtype == "DNAME") {
            return Step::Dname(dname.clone());
        }
    }
    Step::Node(at(zone, qname).cloned().collect())
}

fn at<'z>(zone: &'z [Line], name: &[String]) -> impl Iterator<Item = &'z Line> {
    let name = name.to_vec();
    zone.iter().filter(move |line| line.owner == name)
}

/// RFC 2308 section 3.
fn soa(zone: &[Line]) -> Line {
    let soa = zone.iter().find(|line| line.rtype == "SOA").unwrap();
    let minimum = soa.data.split(' ').next_back().unwrap().parse().unwrap();
    Line { ttl: soa.ttl.min(minimum), ..soa.clone() }
}

/// An entry of an update: class 1, 254 (NONE) or 255 (ANY); no data is an empty text; `None` is damaged data.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) owner: Labels,
    pub(crate) rtype: String,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Option<String>,
}

fn is_meta(rtype: &str) -> bool {
    matches!(rtype, "ANY" | "AXFR" | "MAILA" | "MAILB")
}

/// RFC 2136 sections 3.2 and 3.4, up to the records after the update.
pub(crate) fn update(
    zone: &[Line],
    apex: &Labels,
    prerequisites: &[Entry],
    operations: &[Entry],
) -> Result<Vec<Line>, u16> {
    const FORMERR: u16 = 1;
    let mut temp: BTreeMap<(Labels, String), BTreeSet<String>> = BTreeMap::new();
    for rr in prerequisites {
        let in_use = at(zone, &rr.owner).next().is_some();
        let has = at(zone, &rr.owner).any(|line| line.rtype == rr.rtype);
        if rr.ttl != 0 {
            return Err(FORMERR);
        }
        if !is_in(&rr.owner, apex) {
            return Err(10);
        }
        let bare = rr.data.as_deref() == Some("");
        match rr.class {
            254 | 255 if !bare || (is_meta(&rr.rtype) && rr.rtype != "ANY") => return Err(FORMERR),
            255 if rr.rtype == "ANY" && !in_use => return Err(3),
            255 if rr.rtype != "ANY" && !has => return Err(8),
            254 if rr.rtype == "ANY" && in_use => return Err(6),
            254 if rr.rtype != "ANY" && has => return Err(7),
            254 | 255 => {}
            1 if is_meta(&rr.rtype) => return Err(FORMERR),
            1 => match &rr.data {
                Some(data) if !data.is_empty() => {
                    temp.entry((rr.owner.clone(), rr.rtype.clone())).or_default().insert(data.clone());
                }
                _ => return Err(FORMERR),
            },
            _ => return Err(FORMERR),
        }
    }
    for ((owner, rtype), wanted) in temp {
        let held: BTreeSet<String> =
            at(zone, &owner).filter(|line| line.rtype == rtype).map(|line| line.data.clone()).collect();
        if held != wanted {
            return Err(8);
        }
    }
    for rr in operations {
        if !is_in(&rr.owner, apex) {
            return Err(10);
        }
        let bare = rr.data.as_deref() == Some("");
        let good = match rr.class {
            1 => !is_meta(&rr.rtype) && !bare && rr.data.is_some(),
            255 => rr.ttl == 0 && bare && (!is_meta(&rr.rtype) || rr.rtype == "ANY"),
            254 => rr.ttl == 0 && !is_meta(&rr.rtype) && !bare && rr.data.is_some(),
            _ => false,
        };
        if !good {
            return Err(FORMERR);
        }
    }
    let mut after = zone.to_vec();
    for rr in operations {
        carry_out(&mut after, apex, rr, serial(zone));
    }
    after.sort();
    let mut before = zone.to_vec();
    before.sort();
    if before != after && serial(&before) == serial(&after) {
        let soa = after.iter_mut().find(|line| line.rtype == "SOA").unwrap();
        let next = if serial(&before) == u32::MAX { 1 } else { serial(&before) + 1 };
        soa.data = with_serial(&soa.data, next);
        after.sort();
    }
    Ok(after)
}

/// Section 3.4.2.7, line by line.
fn carry_out(zone: &mut Vec<Line>, apex: &Labels, rr: &Entry, before: u32) {
    let data = rr.data.clone().unwrap();
    let at_apex = rr.owner == *apex;
    let same_set = |line: &Line| line.owner == rr.owner && line.rtype == rr.rtype;
    match rr.class {
        1 => {
            let others = |cname| at(zone, &rr.owner).any(|line| (line.rtype == "CNAME") == cname);
            if others(rr.rtype != "CNAME") {
                return;
            }
            if rr.rtype == "SOA" {
                let after = |serial: u32| (1..0x8000_0000).contains(&number(&data).wrapping_sub(serial));
                let newer = |old: &Line| after(number(&old.data)) && after(before);
                if !zone.iter().any(|line| same_set(line) && newer(line)) {
                    return;
                }
            }
            let line = Line { owner: rr.owner.clone(), rtype: rr.rtype.clone(), ttl: rr.ttl, data };
            let single = matches!(&*rr.rtype, "SOA" | "CNAME" | "DNAME");
            zone.retain(|old| !same_set(old) || !(single || old.data == line.data));
            zone.push(line);
            zone.iter_mut().filter(|line| same_set(line)).for_each(|line| line.ttl = rr.ttl);
        }
        255 if at_apex && rr.rtype == "ANY" => {
            zone.retain(|line| line.owner != rr.owner || line.rtype == "SOA" || line.rtype == "NS");
        }
        255 if rr.rtype == "ANY" => zone.retain(|line| line.owner != rr.owner),
        255 if at_apex && (rr.rtype == "SOA" || rr.rtype == "NS") => {}
        255 => zone.retain(|line| !same_set(line)),
        _ => {
            let last = zone.iter().filter(|line| same_set(line)).count() == 1;
            if rr.rtype == "SOA" || (at_apex && rr.rtype == "NS" && last) {
                return;
            }
            zone.retain(|line| !same_set(line) || line.data != data);
        }
    }
}

fn number(soa: &str) -> u32 {
    soa.split(' ').nth(2).unwrap().parse().unwrap()
}

pub(crate) fn serial(zone: &[Line]) -> u32 {
    number(&zone.iter().find(|line| line.rtype == "SOA").unwrap().data)
}

fn with_serial(soa: &str, serial: u32) -> String {
    let mut words: Vec<String> = soa.split(' ').map(str::to_owned).collect();
    words[2] = serial.to_string();
    words.join(" ")
}
