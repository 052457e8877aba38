//! Updates, whatever they hold: what they change, why they are refused, and that they can be undone.

use super::*;

#[derive(Debug, Clone)]
pub(crate) struct Sent {
    entry: model::Entry,
    upper: bool,
    /// Takes the place of owner, type and data: a record that the zone has.
    known: Option<prop::sample::Index>,
}

/// Operations, some of them upon records that the zone has.
fn aimed(operations: Vec<Sent>, lines: &[Line]) -> Vec<Sent> {
    let aim = |mut sent: Sent| {
        if let Some(known) = &sent.known {
            let line = known.get(lines);
            let whole = sent.entry.rtype == "ANY";
            sent.entry.owner = line.owner.clone();
            if !whole {
                sent.entry.rtype = line.rtype.clone();
            }
            if sent.entry.class != 255 {
                sent.entry.data = Some(line.data.clone());
            }
        }
        sent
    };
    operations.into_iter().map(aim).collect()
}

const IN_UPDATES: &[(u32, &str)] =
    &[(6, "A"), (3, "TXT"), (4, "NS"), (4, "CNAME"), (1, "DNAME"), (1, "MX"), (2, "SOA"), (1, "DS")];

/// An owner that is in the zone but for now and then, and often the apex or a name that has records.
fn any_owner(outside: u32) -> impl Strategy<Value = String> {
    let others = prop::sample::select(vec!["xz", "a.xz", "out.side", "."]).prop_map(str::to_owned);
    prop_oneof![20 => owner(2), 6 => Just(APEX.to_owned()), outside => others]
}

/// `damage` in a hundred entries break a rule of form.
pub(crate) fn entry(prerequisite: bool, damage: u32) -> impl Strategy<Value = Sent> {
    let rtype = (typed(IN_UPDATES), prop_oneof![40 => Just(None), damage => Just(Some("AXFR"))]);
    let class = prop_oneof![30 => Just(1u16), 30 => Just(254), 30 => Just(255), damage => Just(3)];
    let ttl = prop_oneof![30 => Just(None), damage => Just(Some(5u32))];
    let whole = prop_oneof![2 => Just(true), 1 => Just(false)];
    let data = prop_oneof![40 => Just(0u8), damage => Just(1u8), damage => Just(2u8)];
    let known = prop::option::weighted(0.4, any::<prop::sample::Index>());
    (any_owner(damage), rtype, class, ttl, whole, data, 0..2u32, (any::<bool>(), known)).prop_map(
        move |(owner, ((rtype, data), meta), class, wrong_ttl, whole, wrong_data, ttl, (upper, known))| {
            let value = class == 1 || (class == 254 && !prerequisite);
            let rtype = match meta {
                Some(meta) => meta,
                None if !value && whole => "ANY",
                None => rtype,
            };
            let data = match wrong_data {
                1 => None,
                2 if value => Some(String::new()),
                0 if value && meta.is_none() => Some(data),
                _ => Some(String::new()),
            };
            let adds = class == 1 && !prerequisite;
            let ttl = wrong_ttl.unwrap_or(if adds { 60 + ttl * 60 } else { 0 });
            let entry = model::Entry { owner: labels(&owner), rtype: rtype.into(), class, ttl, data };
            Sent { entry, upper, known }
        },
    )
}

/// The update as a message; `upper` entries in capitals.
pub(crate) fn update_message(prerequisites: &[Sent], operations: &[Sent]) -> Vec<u8> {
    let mut buffer = vec![0; 65_535];
    let mut composer = Composer::new(&mut buffer, 65_535, 7, UPDATE).unwrap();
    composer.question(&Question { name: name(APEX), rtype: Rtype::SOA, class: Class::IN }).unwrap();
    for (place, entries) in [(Place::Answer, prerequisites), (Place::Authority, operations)] {
        for Sent { entry, upper, .. } in entries {
            let cased = |text: &str| if *upper { text.to_uppercase() } else { text.to_owned() };
            let owner = if entry.owner.is_empty() { Name::root() } else { name(&cased(&entry.owner.join("."))) };
            let rtype: Rtype = entry.rtype.parse().unwrap();
            let data = match entry.data.as_deref() {
                None => Box::from([0xC0]),
                Some("") => Box::default(),
                // An added record keeps its case, which the model does not know.
                Some(text) if entry.rtype == "TXT" || entry.class == 1 && place == Place::Authority => {
                    rdata_from_text(rtype, text, None).unwrap()
                }
                Some(text) => rdata_from_text(rtype, &cased(text), None).unwrap(),
            };
            composer.record(place, &owner, rtype, Class(entry.class), Ttl::new(entry.ttl), &data).unwrap();
        }
    }
    let len = composer.finish();
    buffer.truncate(len);
    buffer
}

fn check_update(lines: &[Line], prerequisites: &[Sent], operations: &[Sent]) -> Result<bool, TestCaseError> {
    let before = zone(lines);
    let bytes = update_message(prerequisites, operations);
    let update = UpdateMessage::read(&Message::parse(&bytes).unwrap()).unwrap();
    let policy = UpdatePolicy::new(name(APEX), vec![Grant::operator(name("key"))]);
    let entries = |sent: &[Sent]| -> Vec<model::Entry> { sent.iter().map(|sent| sent.entry.clone()).collect() };
    let expected = model::update(lines, &labels(APEX), &entries(prerequisites), &entries(operations));
    let held = lines_of(&before);
    let changes = match (apply_update(&before, &update, &policy, &name("key")), expected) {
        (Ok(changes), Ok(expected)) => {
            prop_assert_eq!(lines_of(&before.with(&changes).unwrap()), expected);
            changes
        }
        (Err(refusal), Err(rcode)) => {
            prop_assert_eq!(refusal.rcode().0, rcode, "{}", refusal);
            return Ok(false);
        }
        (got, expected) => return Err(TestCaseError::fail(format!("{got:?}, expected {expected:?}"))),
    };
    let after = before.with(&changes).unwrap();
    prop_assert_eq!(changes.is_empty(), before.serial() == after.serial(), "the serial moves exactly with a change");
    prop_assert!(changes.is_empty() || after.serial().is_after(before.serial()));
    prop_assert_eq!(lines_of(&before), held.clone(), "the zone itself stays as it is");
    prop_assert_eq!(lines_of(&after.with(&changes.clone().inverse()).unwrap()), held, "the inverse undoes it");
    // What is in both lists, or in no order, would make two IXFR differences of one.
    prop_assert!(changes.removed.is_sorted() && changes.added.is_sorted());
    prop_assert!(!changes.removed.iter().any(|record| changes.added.contains(record)));
    Ok(!changes.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, max_shrink_iters: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn updates_change_what_the_naive_model_changes(lines in zone_lines(), operations in vec(entry(false, 0), 0..10)) {
        check_update(&lines, &[], &aimed(operations, &lines))?;
    }

    #[test]
    fn refused_updates_are_refused_for_the_models_reason(
        lines in zone_lines(),
        prerequisites in vec(entry(true, 1), 0..3),
        operations in vec(entry(false, 2), 0..5),
    ) {
        check_update(&lines, &prerequisites, &operations)?;
    }

    #[test]
    fn prerequisites_that_the_zone_itself_gives_hold(lines in zone_lines(), operations in vec(entry(false, 0), 1..3)) {
        let held = |line: &Line| Sent {
            entry: model::Entry {
                owner: line.owner.clone(), rtype: line.rtype.clone(), class: 1, ttl: 0, data: Some(line.data.clone()),
            },
            upper: true,
            known: None,
        };
        let all: Vec<Sent> = lines.iter().map(held).collect();
        check_update(&lines, &all, &operations)?;
        prop_assert!(model::update(&lines, &labels(APEX), &all.iter().map(|sent| sent.entry.clone()).collect::<Vec<_>>(), &[]).is_ok());
    }
}
