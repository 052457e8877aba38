//! Who may change what: grants, their rules, and the right to make zones.
//!
//! Decides for one key, one owner and one type at a time; which names and types an update touches is
//! the update's own business. The signature has been verified before: an unsigned update never gets
//! here (RFC 3007 section 3 leaves the policy to the server, and ours has nothing for nobody).
//!
//! Invariants: what no grant allows is refused, and a denial wins over every allowance, whatever the order.

use crate::wire::{Name, Rtype};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Who may change what in one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatePolicy {
    apex: Name,
    grants: Vec<Grant>,
    /// Each key named like a child of this name may change TXT at its own name.
    challenges: Option<Name>,
}

/// One line of a policy: what one key may change, or must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whether it allows or denies.
    pub effect: Effect,
    /// The key that signs.
    pub key: Name,
    /// The owners it speaks of.
    pub rule: Rule,
    /// The types it speaks of.
    pub types: Types,
}

/// What a grant does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Gives a right.
    Allow,
    /// Takes it away, whatever else gives it.
    Deny,
}

/// The owners that a grant speaks of; never any outside the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// This name alone.
    Name(Name),
    /// This name and everything below it.
    Subdomain(Name),
    /// Every name in the zone.
    ZoneSub,
    /// The name that is the key's own name: one key per host.
    KeyName,
}

/// The types that a grant speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Types {
    /// Every type, but SOA and NS at the apex: who may change hosts may not thereby give the zone away. Of a single name
    /// also neither NS nor DNAME, which take all names below it away. In a denial it is every type, for a denial that
    /// leaves something out would surprise.
    Usual,
    /// Every type, the apex SOA and NS too.
    Every,
    /// These types, wherever they stand.
    Only(Vec<Rtype>),
}

impl UpdatePolicy {
    /// The policy of the zone at `apex`.
    pub fn new(apex: Name, grants: Vec<Grant>) -> UpdatePolicy {
        UpdatePolicy { apex, grants, challenges: None }
    }

    /// The zone's apex.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// Whether `key` may add or delete records of type `rtype` at `owner`.
    ///
    /// [`Rtype::ANY`] stands for "delete all RRsets from a name" (RFC 2136 section 2.5.3) and needs the right to
    /// every type. At the apex [`Types::Usual`] is enough for it, because there the SOA and the NS stay
    /// (RFC 2136 section 3.4.2.3).
    ///
    /// A cut or a DNAME takes the names below it away, whatever they hold: where any of them is denied, so is that.
    pub fn decide(&self, key: &Name, owner: &Name, rtype: Rtype) -> Result<(), Denied> {
        let mut allowed = rtype == Rtype::TXT && owner == key && self.has_challenges_of(key);
        let mut denial = None;
        let takes_below = rtype == Rtype::DNAME || rtype == Rtype::NS && *owner != self.apex;
        for grant in self.grants.iter().filter(|grant| grant.key == *key) {
            let covers = self.rule_covers(grant, owner);
            match grant.effect {
                Effect::Allow => allowed |= covers && self.types_hold(grant, owner, rtype),
                Effect::Deny if covers && grant.types.touch(rtype) => denial = Some(grant),
                Effect::Deny if takes_below && (covers || self.rule_covers_below(grant, owner)) => denial = Some(grant),
                Effect::Deny => {}
            }
        }
        if allowed && denial.is_none() {
            return Ok(());
        }
        let asked = match rtype {
            Rtype::ANY => format!("all of {owner}"),
            rtype => format!("{rtype} of {owner}"),
        };
        if let (Some(denial), true) = (denial, allowed) {
            let denied = self.object(denial);
            return Err(Denied(format!("key {key:#} must not change {denied}, hence not {asked}").into()));
        }
        let may = self.grants.iter().filter(|grant| grant.key == *key && grant.effect == Effect::Allow);
        let own = self.has_challenges_of(key).then(|| format!("TXT of {key}"));
        let text = match list(may.map(|grant| self.object(grant)).chain(own)) {
            may if may.is_empty() => format!("key {key:#} may change nothing in zone {}, hence not {asked}", self.apex),
            may => format!("key {key:#} may change {may}, not {asked}"),
        };
        Err(Denied(text.into()))
    }

    /// Whether the holder of `key` may change anything at all in the zone.
    pub fn knows(&self, key: &Name) -> bool {
        self.grants.iter().any(|grant| grant.effect == Effect::Allow && grant.key == *key)
    }

    /// Whether the holder of `key` may delete all that `owner` has, which is of `types`: a right to every one of
    /// them will do. Where there is nothing, any right at that owner will, unless a denial bars all of it.
    ///
    /// Errors: what the key may do instead.
    pub fn decide_all(&self, key: &Name, owner: &Name, types: impl Iterator<Item = Rtype>) -> Result<(), Denied> {
        let all = self.decide(key, owner, Rtype::ANY);
        if all.is_ok() {
            return all;
        }
        let mut any = false;
        for rtype in types {
            self.decide(key, owner, rtype)?;
            any = true;
        }
        if any || self.reaches(key, owner) { Ok(()) } else { all }
    }

    /// Whether the holder of `key` may change anything at `owner`: there is a right, and no denial bars all of it.
    pub fn reaches(&self, key: &Name, owner: &Name) -> bool {
        let own = || self.grants.iter().filter(|grant| grant.key == *key && self.rule_covers(grant, owner));
        let barred = own().any(|grant| grant.effect == Effect::Deny && !matches!(grant.types, Types::Only(_)));
        let challenges = owner == key && self.has_challenges_of(key);
        !barred && (challenges || own().any(|grant| grant.effect == Effect::Allow))
    }

    /// Whether [`UpdatePolicy::reaches`] holds of every owner: one right is over the whole zone, and nothing is denied.
    pub fn reaches_all(&self, key: &Name) -> bool {
        let own = || self.grants.iter().filter(|grant| grant.key == *key);
        let is_whole = |rule: Rule| match rule {
            Rule::ZoneSub => true,
            Rule::Subdomain(name) => self.apex.is_in(&name),
            Rule::Name(_) | Rule::KeyName => false,
        };
        own().any(|grant| grant.effect == Effect::Allow && is_whole(grant.rule))
            && own().all(|grant| grant.effect == Effect::Allow)
    }

    fn has_challenges_of(&self, key: &Name) -> bool {
        let below = |name: &Name| key.is_in(name) && key.label_count() == name.label_count() + 1;
        key.is_in(&self.apex) && self.challenges.as_ref().is_some_and(below)
    }

    fn rule_covers(&self, grant: &Grant, owner: &Name) -> bool {
        owner.is_in(&self.apex)
            && match grant.rule {
                Rule::Name(name) => *owner == name,
                Rule::Subdomain(name) => owner.is_in(&name),
                Rule::ZoneSub => true,
                Rule::KeyName => *owner == grant.key,
            }
    }

    /// Whether a grant speaks of a name below `owner`.
    fn rule_covers_below(&self, grant: &Grant, owner: &Name) -> bool {
        match grant.rule {
            Rule::Name(name) | Rule::Subdomain(name) => name.is_in(owner),
            Rule::ZoneSub => true,
            Rule::KeyName => grant.key.is_in(owner),
        }
    }

    fn types_hold(&self, grant: &Grant, owner: &Name, rtype: Rtype) -> bool {
        match &grant.types {
            Types::Every => true,
            // Whether the name has what it may not delete, is asked type by type.
            Types::Usual if grant.is_of_one_name() && matches!(rtype, Rtype::NS | Rtype::DNAME | Rtype::ANY) => false,
            Types::Usual => *owner != self.apex || !matches!(rtype, Rtype::SOA | Rtype::NS),
            Types::Only(types) => types.contains(&rtype),
        }
    }

    /// What a grant speaks of, as in `A and AAAA of laptop.home.example`.
    fn object(&self, grant: &Grant) -> String {
        let (owners, apex_too) = match grant.rule {
            Rule::Name(name) => (name.to_string(), name == self.apex),
            Rule::Subdomain(name) => (format!("{name} and below"), self.apex.is_in(&name)),
            Rule::ZoneSub => (format!("zone {}", self.apex), true),
            Rule::KeyName => (grant.key.to_string(), grant.key == self.apex),
        };
        let types = match &grant.types {
            Types::Only(types) => list(types.iter().map(Rtype::to_string)),
            Types::Usual if grant.is_of_one_name() && grant.effect == Effect::Allow => match apex_too {
                true => "all but SOA, NS and DNAME".to_string(),
                false => "all but NS and DNAME".to_string(),
            },
            Types::Usual if apex_too && grant.effect == Effect::Allow => "all but the apex SOA and NS".to_string(),
            Types::Usual | Types::Every => "all".to_string(),
        };
        format!("{types} of {owners}")
    }
}

impl Grant {
    /// The right to change everything in a zone, its apex included: what an operator's key has.
    pub fn operator(key: Name) -> Grant {
        Grant { effect: Effect::Allow, key, rule: Rule::ZoneSub, types: Types::Every }
    }

    fn is_of_one_name(&self) -> bool {
        matches!(self.rule, Rule::Name(_) | Rule::KeyName)
    }
}

impl Types {
    /// Whether a denial of these types forbids `rtype`. Deleting a whole name would delete whatever is
    /// denied there, so any denial forbids it.
    fn touch(&self, rtype: Rtype) -> bool {
        match self {
            Types::Every | Types::Usual => true,
            Types::Only(types) => rtype == Rtype::ANY || types.contains(&rtype),
        }
    }
}

/// The rights of every key over every zone, as the configuration has them.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    operators: Vec<Name>,
    creators: Vec<(Name, Creation)>,
    challenges: Option<Name>,
    zones: HashMap<Name, Arc<UpdatePolicy>>,
}

/// Which zones a key may make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// Any zone.
    Anywhere,
    /// Zones at or below one of these names.
    Under(Vec<Name>),
}

impl Rights {
    /// No rights for anybody.
    pub fn new() -> Rights {
        Rights::default()
    }

    /// Gives `key` the right to change everything in every zone.
    pub fn allow_everything(&mut self, key: Name) {
        self.operators.push(key);
        for policy in self.zones.values_mut() {
            Arc::make_mut(policy).grants.push(Grant::operator(key));
        }
    }

    /// Gives `key` the right to make zones, and to change everything in those it may make and that the
    /// configuration does not name.
    pub fn allow_creation(&mut self, key: Name, creation: Creation) {
        self.creators.push((key, creation));
    }

    /// Gives every key that is named like a child of `name` the right to TXT at its own name: accounts for ACME
    /// challenges, which come and go without a grant of their own.
    pub fn allow_challenges(&mut self, name: Name) {
        self.challenges = Some(name);
        for policy in self.zones.values_mut() {
            Arc::make_mut(policy).challenges = Some(name);
        }
    }

    /// Adds a zone that the configuration names, with its grants.
    pub fn insert_zone(&mut self, apex: Name, mut grants: Vec<Grant>) {
        grants.extend(self.operators.iter().copied().map(Grant::operator));
        let challenges = self.challenges;
        self.zones.insert(apex, Arc::new(UpdatePolicy { apex, grants, challenges }));
    }

    /// The policy of the zone at `apex`. A zone that the configuration does not name was made by an update:
    /// its makers and the operators may change it.
    pub fn policy(&self, apex: &Name) -> Arc<UpdatePolicy> {
        if let Some(policy) = self.zones.get(apex) {
            return Arc::clone(policy);
        }
        let makers = self.creators.iter().filter(|(_, creation)| creation.covers(apex)).map(|(key, _)| key);
        let grants = self.operators.iter().chain(makers).copied().map(Grant::operator);
        Arc::new(UpdatePolicy { apex: *apex, grants: grants.collect(), challenges: self.challenges })
    }

    /// Whether `key` may make the zone at `apex`, which is to lie below the zone `above` where one that is served here
    /// covers it already.
    ///
    /// Names that the zone above has would be the new one's: that takes the right to delegate them there, or a
    /// permission to make zones that names this very part of it. Else a right to make zones would be a right to every
    /// name in every zone, denials or not.
    pub fn may_create(&self, key: &Name, apex: &Name, above: Option<&Name>) -> Result<(), Denied> {
        let own = self.creators.iter().filter(|(creator, _)| creator == key).map(|(_, creation)| creation);
        if own.clone().any(|creation| creation.covers(apex)) {
            let Some(above) = above else { return Ok(()) };
            if own.clone().any(|creation| creation.names(apex, above)) {
                return Ok(());
            }
            return self.policy(above).decide(key, apex, Rtype::NS).map_err(|Denied(why)| {
                Denied(format!("zone {apex} would take names from zone {above}: {why}").into())
            });
        }
        let under = own.flat_map(|creation| match creation {
            Creation::Anywhere => &[][..],
            Creation::Under(names) => names,
        });
        Err(Denied(
            match list(under.map(Name::to_string)) {
                under if under.is_empty() => format!("key {key:#} may make no zones, and {apex} is none of ours"),
                under => format!("key {key:#} may make zones in {under}, not {apex}"),
            }
            .into(),
        ))
    }
}

impl Creation {
    fn covers(&self, apex: &Name) -> bool {
        match self {
            // The root zone would have every name there is: nobody means that by "anywhere".
            Creation::Anywhere => !apex.is_root(),
            Creation::Under(names) => names.iter().any(|name| apex.is_in(name)),
        }
    }

    /// Whether it covers `apex` by a name that is in the zone `above`.
    fn names(&self, apex: &Name, above: &Name) -> bool {
        matches!(self, Creation::Under(names) if names.iter().any(|name| apex.is_in(name) && name.is_in(above)))
    }
}

/// Why a key may not do what it asks: one line for the operator's log, which says what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied(Box<str>);

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Denied {}

/// `a, b and c`, and no more than four of them: a refusal is one log line.
fn list(words: impl Iterator<Item = String>) -> String {
    const MOST: usize = 4;
    let mut words: Vec<String> = words.collect();
    if words.len() > MOST {
        let more = words.len() - (MOST - 1);
        words.truncate(MOST - 1);
        words.push(format!("{more} more"));
    }
    let last = words.pop().unwrap_or_default();
    if words.is_empty() { last } else { format!("{} and {last}", words.join(", ")) }
}

#[cfg(test)]
mod tests;
