//! What differs between another directory and what is here. Pure: nothing is read or changed.
//!
//! What must hold: an account is disabled, never removed; what is of this directory alone is not looked at; more than a share is never disabled or removed
//! without an administrator's word, and never all of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ::ldap::{Group, Person};
use mailbox::AccountId;

/// What is here now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Here {
    /// Those of the other directory, by their key.
    pub accounts: BTreeMap<String, HereAccount>,
    /// Marked, with the keys of their targets; `None`: only the mark is left.
    pub aliases: BTreeMap<String, Option<BTreeSet<String>>>,
    /// Marked, with the keys of their members; `None`: only the mark is left.
    pub groups: BTreeMap<String, Option<BTreeSet<String>>>,
    /// Marks of accounts that are gone.
    pub orphans: Vec<AccountId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HereAccount {
    pub id: AccountId,
    pub is_disabled: bool,
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    MakeAccount(String),
    Disable(String, AccountId),
    Enable(String, AccountId),
    PutAlias(String, BTreeSet<String>),
    RemoveAlias(String),
    MakeGroup {
        name: String,
        title: String,
        members: BTreeSet<String>,
    },
    AlterGroup {
        name: String,
        add: BTreeSet<String>,
        drop: BTreeSet<String>,
    },
    RemoveGroup(String),
    ForgetMark(AccountId),
}

impl Change {
    /// What is done, and to what.
    pub fn words(&self) -> (&'static str, String) {
        match self {
            Change::MakeAccount(name) => ("make account", name.clone()),
            Change::Disable(name, _) => ("disable account", name.clone()),
            Change::Enable(name, _) => ("enable account", name.clone()),
            Change::PutAlias(name, _) => ("set alias", name.clone()),
            Change::RemoveAlias(name) => ("remove alias", name.clone()),
            Change::MakeGroup { name, .. } => ("make group", name.clone()),
            Change::AlterGroup { name, .. } => ("change group", name.clone()),
            Change::RemoveGroup(name) => ("remove group", name.clone()),
            Change::ForgetMark(account) => ("forget removed account", account.0.to_string()),
        }
    }
}

/// What is to be changed, in order, and what was noticed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub all: Vec<Change>,
    pub notes: Vec<String>,
    /// Why it must not be done without an administrator's word.
    pub stopped: Option<String>,
}

/// What differs between the other directory and what is here. `share`: how much of it may be disabled or removed, in percent.
pub(crate) fn changes(people: &[Person], groups: &[Group], here: &Here, share: u32) -> Changes {
    let mut changes = Changes::default();
    let mut wanted: BTreeMap<&str, &Person> = BTreeMap::new();
    let mut nameless: BTreeSet<String> = BTreeSet::new();
    for person in people {
        let Some(address) = person.address.as_deref() else {
            changes.note(format!("{}: it has no address of ldap.domains", person.dn));
            let user = person.user.as_ref().filter(|_| !person.is_disabled);
            nameless.extend(user.map(|user| user.to_lowercase()));
            continue;
        };
        match wanted.get(address) {
            Some(known) => {
                changes.note(format!(
                    "{address}: several entries have it; the first one that is not disabled counts"
                ));
                if known.is_disabled && !person.is_disabled {
                    wanted.insert(address, person);
                }
            }
            None => {
                wanted.insert(address, person);
            }
        }
    }
    if people.is_empty() && here.accounts.values().any(|account| !account.is_disabled) {
        changes.stopped = Some("the directory has no people at all".to_owned());
    }
    accounts(&wanted, &nameless, here, share, &mut changes);
    aliases(&wanted, here, share, &mut changes);
    self::groups(groups, here, share, &mut changes);
    changes
}

impl Changes {
    fn note(&mut self, note: String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }

    /// Stops where more than the share would go. One may always; all of them never.
    fn limit(&mut self, what: &str, going: usize, of: usize, share: u32) {
        let allowed = match share {
            0 => 0,
            share => (of * share as usize / 100).max(1),
        };
        let is_all = going == of && of > 1;
        if going > 0 && (going > allowed || is_all) && self.stopped.is_none() {
            self.stopped = Some(format!(
                "{going} of {of} {what}, and ldap.sync_disables_max allows {allowed}"
            ));
        }
    }
}

/// `nameless`: names of users without an address. A login made an account of such a name.
fn accounts(
    wanted: &BTreeMap<&str, &Person>,
    nameless: &BTreeSet<String>,
    here: &Here,
    share: u32,
    changes: &mut Changes,
) {
    let (mut disabled, mut enabled) = (0, 0);
    for (key, account) in &here.accounts {
        let person = wanted.get(key.as_str());
        let local = key.rsplit_once('@').map_or("", |(local, _)| local);
        let is_wanted = match person {
            Some(person) => !person.is_disabled,
            None => nameless.contains(local),
        };
        enabled += usize::from(!account.is_disabled);
        match (account.is_disabled, is_wanted) {
            (false, false) => {
                disabled += 1;
                changes.all.push(Change::Disable(key.clone(), account.id));
            }
            (true, true) => changes.all.push(Change::Enable(key.clone(), account.id)),
            _ => {}
        }
    }
    changes.limit("accounts would be disabled", disabled, enabled, share);
    for (address, person) in wanted {
        if !here.accounts.contains_key(*address) && !person.is_disabled {
            changes.all.push(Change::MakeAccount((*address).to_owned()));
        }
    }
    let orphans = here.orphans.iter().copied();
    changes.all.extend(orphans.map(Change::ForgetMark));
}

fn aliases(wanted: &BTreeMap<&str, &Person>, here: &Here, share: u32, changes: &mut Changes) {
    let mut all: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (address, person) in wanted {
        // Mail of a user who is disabled is kept, and so are the ways to it.
        let has_account = !person.is_disabled || here.accounts.contains_key(*address);
        for alias in person.aliases.iter().filter(|_| has_account) {
            if wanted.contains_key(alias.as_str()) {
                changes.note(format!(
                    "{alias}: it is an account, and not an alias of {address}"
                ));
                continue;
            }
            all.entry(alias).or_default().insert((*address).to_owned());
        }
    }
    let gone = |name: &&String| !all.contains_key(name.as_str());
    let gone: Vec<&String> = here.aliases.keys().filter(gone).collect();
    changes.limit(
        "aliases would be removed",
        gone.len(),
        here.aliases.len(),
        share,
    );
    let gone = gone.into_iter().cloned();
    changes.all.extend(gone.map(Change::RemoveAlias));
    for (alias, targets) in all {
        if here.aliases.get(alias) != Some(&Some(targets.clone())) {
            changes
                .all
                .push(Change::PutAlias(alias.to_owned(), targets));
        }
    }
}

fn groups(found: &[Group], here: &Here, share: u32, changes: &mut Changes) {
    let mut wanted: HashMap<&str, &Group> = HashMap::new();
    for group in found {
        if wanted.insert(&group.address, group).is_some() {
            changes.note(format!(
                "{}: several groups have this address",
                group.address
            ));
        }
    }
    let gone = |name: &&String| !wanted.contains_key(name.as_str());
    let gone: Vec<&String> = here.groups.keys().filter(gone).collect();
    // Where the server hides members from us, all of them are gone.
    let is_emptied = |(name, known): &(&String, &Option<BTreeSet<String>>)| {
        let members = wanted.get(name.as_str()).map(|group| &group.members);
        let had = known.as_ref().is_some_and(|known| !known.is_empty());
        had && matches!(members, Some(Ok(members)) if members.is_empty())
    };
    let emptied = here.groups.iter().filter(is_emptied).count();
    changes.limit(
        "groups would be removed or lose all members",
        gone.len() + emptied,
        here.groups.len(),
        share,
    );
    let gone = gone.into_iter().cloned();
    changes.all.extend(gone.map(Change::RemoveGroup));
    let mut names: Vec<&str> = wanted.keys().copied().collect();
    names.sort_unstable();
    for name in names {
        let group = wanted[name];
        let members: BTreeSet<String> = match &group.members {
            Ok(members) => members.iter().cloned().collect(),
            Err(why) => {
                changes.note(format!("{name}: {why}: the group stays as it is"));
                continue;
            }
        };
        match here.groups.get(name) {
            Some(Some(known)) if *known == members => {}
            Some(Some(known)) => changes.all.push(Change::AlterGroup {
                name: name.to_owned(),
                add: members.difference(known).cloned().collect(),
                drop: known.difference(&members).cloned().collect(),
            }),
            _ => changes.all.push(Change::MakeGroup {
                name: name.to_owned(),
                title: group.title.clone(),
                members,
            }),
        }
    }
}

/// Notes of one reading; further ones are left out.
pub(crate) const NOTES_MAX: usize = 200;

#[cfg(test)]
mod tests;
