//! One check of one target: read what it holds, compare, write what differs, verify.

use super::Fault;
use super::target::{Blame, Remote, Target, Trouble};
use crate::agent::plan::{Change, Held, plan};
use crate::wire::Name;
use std::fmt;

/// What is being done, as it is done.
#[derive(Debug)]
pub enum Step<'a> {
    /// The hosts were found there.
    Found(&'a Target),
    /// All is right.
    Nothing,
    /// These are about to be written.
    Writing(&'a [Change]),
    /// They were written, and show.
    Shown(&'a [Change]),
}

/// How a check ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was written and shows.
    pub shown: Vec<Change>,
    /// Those of it of which the target held no address, or others.
    pub moved: Vec<Change>,
    /// What is held as it should be, written now or before.
    pub right: Vec<Change>,
    /// What may still have to be written.
    pub pending: Vec<Change>,
    /// Why.
    pub fault: Option<Fault>,
}

/// Brings a target to what is wanted. A zone that fails does not keep the others from being brought there, nor does a
/// host that is refused by itself.
pub async fn bring(remote: &Remote, wanted: &[Change], tell: &mut (dyn FnMut(Step<'_>) + Send)) -> Outcome {
    let mut names: Vec<Name> = Vec::new();
    for change in wanted {
        if !names.contains(&change.name) {
            names.push(change.name);
        }
    }
    let mut outcome = Outcome::default();
    let of = |names: &[Name]| wanted.iter().filter(|change| names.contains(&change.name)).cloned().collect::<Vec<_>>();
    let (zones, lost) = remote.open(&names).await;
    for (names, fault) in lost {
        outcome.pending.extend(of(&names));
        outcome.fault.get_or_insert(fault);
    }
    for (target, names) in zones {
        tell(Step::Found(&target));
        let mut groups = vec![names];
        while let Some(names) = groups.pop() {
            let wanted = of(&names);
            match bring_hosts(&target, &names, &wanted, tell).await {
                Ok((mut shown, mut moved)) => {
                    outcome.shown.append(&mut shown);
                    outcome.moved.append(&mut moved);
                    outcome.right.extend(wanted);
                }
                // One of them is refused, and all were for its sake; alone the others are not.
                Err(Trouble { blame: Blame::Hosts, .. }) if names.len() > 1 => {
                    groups.extend(names.into_iter().rev().map(|name| vec![name]));
                }
                Err(Trouble { fault, .. }) => {
                    outcome.pending.extend(wanted);
                    outcome.fault.get_or_insert(fault);
                }
            }
        }
    }
    outcome
}

/// What was written, and of it what was not there with another TTL alone.
async fn bring_hosts(
    target: &Target,
    names: &[Name],
    wanted: &[Change],
    tell: &mut (dyn FnMut(Step<'_>) + Send),
) -> Result<(Vec<Change>, Vec<Change>), Trouble> {
    let held = target.current(names).await?;
    let held_of = |name: &Name| {
        names.iter().zip(&held).find(|(held, _)| *held == name).map(|(_, held)| held.clone()).unwrap_or_default()
    };
    let changes = plan(wanted, held_of);
    if changes.is_empty() {
        tell(Step::Nothing);
        return Ok((changes, Vec::new()));
    }
    tell(Step::Writing(&changes));
    let receipt = target.write(changes.clone(), &whole(wanted, names, &held)).await?;
    target.verify(&receipt).await?;
    tell(Step::Shown(&changes));
    let moved = changes.iter().filter(|change| !change.is_address_of(&held_of(&change.name))).cloned().collect();
    Ok((changes, moved))
}

/// What is wanted, and of the families of which nothing is, what is held: some providers erase what they are not told
/// again.
fn whole(wanted: &[Change], names: &[Name], held: &[Held]) -> Vec<Change> {
    let mut whole = wanted.to_vec();
    for (name, held) in names.iter().zip(held) {
        for is_v4 in [true, false] {
            let told = wanted.iter().any(|change| change.name == *name && change.address.is_ipv4() == is_v4);
            let mut family = held.addresses.iter().filter(|address| address.is_ipv4() == is_v4);
            if let (false, Some(address), None) = (told, family.next(), family.next()) {
                whole.push(Change { name: *name, address: *address });
            }
        }
    }
    whole
}

/// What a person is told.
impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Found(target) => writeln!(f, "{target}"),
            Step::Nothing => f.write_str("nothing to change\n"),
            Step::Writing([_]) => f.write_str("writing 1 address\n"),
            Step::Writing(changes) => writeln!(f, "writing {} addresses", changes.len()),
            Step::Shown(changes) => {
                changes.iter().try_for_each(|change| writeln!(f, "{} is now {}", change.name, change.address))
            }
        }
    }
}
