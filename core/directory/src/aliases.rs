//! Operations on aliases, and what an address of ours is that is not an account.

use mail::{Address, spelling};
use store::Purpose;

use crate::accounts::NOT_OURS;
use crate::alias::Alias;
use crate::group::Group;
use crate::limits::{ALIAS_TARGETS_IN_ALL_MAX, ALIAS_TARGETS_MAX, GRANTS_EACH_MAX};
use crate::load::Pin;
use crate::record::{Entry, name_lock};
use crate::state::{Held, State};
use crate::whole::Named;
use crate::{Directory, DirectoryFault};

/// What an address is that is not an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    Alias(String, Alias),
    Group(String, Group),
}

/// A name that a new alias or group may have: composed, in lower case, with the domain as we have it.
pub(crate) struct Name {
    pub name: String,
    /// Keeps the domain from being removed until the name is visible.
    pub pin: Pin,
}

impl Directory {
    /// `name`: an address, or `@domain` for what nothing else in the domain takes. Replaces the targets of an alias that is there; `Exists`: the
    /// address is an account or a group. Durable when it answers.
    pub async fn put_alias(&self, name: &str, targets: Vec<Address>) -> Result<(), DirectoryFault> {
        self.alter_alias(name, |_| Ok(targets)).await
    }

    /// As `put_alias`, with what `change` makes of the targets that are there, none where there is no alias. What two callers do to one alias at a
    /// time both counts.
    pub async fn alter_alias(
        &self,
        name: &str,
        change: impl FnOnce(Vec<Address>) -> Result<Vec<Address>, DirectoryFault>,
    ) -> Result<(), DirectoryFault> {
        let refused = |why| Err(DirectoryFault::Refused(why));
        let inner = &self.inner;
        inner.tenancy.room_for(Purpose::Keep, false, 1).await?;
        let wanted = self.normal_name(name)?;
        let _locked = inner.locks.lock(name_lock(&wanted)).await;
        if self.is_account(&wanted).await? || inner.state.borrow().groups.get(&wanted).is_some() {
            return Err(DirectoryFault::Exists);
        }
        let known = inner.state.borrow().aliases.get(&wanted).cloned();
        let mut seen = std::collections::HashSet::new();
        let mut targets = change(known.map_or(Vec::new(), |alias| alias.targets))?;
        targets.retain(|target| seen.insert(target.key()));
        if targets.is_empty() {
            return refused("an alias needs at least one target");
        }
        if targets.len() > ALIAS_TARGETS_MAX {
            return refused("an alias has at most 100 targets; make a group instead");
        }
        let is_itself = |target: &Address| spelling::keys(target).contains(&wanted);
        if targets.iter().any(is_itself) {
            return refused("an alias cannot lead to itself");
        }
        let Name { name, pin } = self.pinned(wanted)?;
        check_count::<Alias>(&inner.state.borrow(), &name)?;
        check_targets(&inner.state.borrow(), &name, targets.len())?;
        let row = Alias { targets };
        let put = Entry::Alias(Named::Put { name, row });
        inner.commit(Purpose::Keep, vec![put], vec![pin]).await?;
        Ok(())
    }

    /// `Refused`: there is no such alias.
    pub async fn remove_alias(&self, name: &str) -> Result<(), DirectoryFault> {
        self.remove_named::<Alias>(name, "no such alias", Entry::Alias)
            .await
    }

    /// In order of names, at most `count_max`, after the name `after`.
    pub fn aliases(&self, after: Option<&str>, count_max: usize) -> Vec<(String, Alias)> {
        let state = self.inner.state.borrow();
        let some = state.aliases.after(after).take(count_max);
        some.map(|(name, alias)| (name.clone(), alias.clone()))
            .collect()
    }

    /// The alias of exactly this name, an address or `@domain`, in any spelling.
    pub fn alias(&self, name: &str) -> Option<(String, Alias)> {
        let name = self.normal_name(name).ok()?;
        let alias = self.inner.state.borrow().aliases.get(&name).cloned();
        alias.map(|alias| (name, alias))
    }

    /// The alias or group of exactly this address, in any of its spellings.
    pub fn listed(&self, address: &Address) -> Option<Listed> {
        let name = self.normal_name(&address.to_string()).ok()?;
        let state = self.inner.state.borrow();
        if let Some(alias) = state.aliases.get(&name) {
            return Some(Listed::Alias(name, alias.clone()));
        }
        let group = state.groups.get(&name)?;
        Some(Listed::Group(name, group.clone()))
    }

    /// What takes the rest of `domain`.
    pub fn catch_all(&self, domain: &str) -> Option<(String, Alias)> {
        self.alias(&format!("@{domain}"))
    }

    /// The domain of ours that `domain` names in any spelling, as we have it.
    pub fn our_domain(&self, domain: &str) -> Option<String> {
        let state = self.inner.state.borrow();
        state.domain(domain).map(|(domain, _)| domain)
    }

    /// `name` as a key of aliases and groups. `Refused`: not an address, or not of a domain of ours.
    pub(crate) fn normal_name(&self, name: &str) -> Result<String, DirectoryFault> {
        let refused = DirectoryFault::Refused("that is not an address");
        let Some((local, domain)) = name.rsplit_once('@') else {
            return Err(refused);
        };
        let domain = self.our_domain(domain);
        let domain = domain.ok_or(DirectoryFault::Refused(NOT_OURS))?;
        if local.is_empty() {
            return Ok(format!("@{domain}"));
        }
        let address = Address::from_parts(&spelling::composed(local), &domain);
        Ok(address.ok_or(refused)?.key())
    }

    /// `name` is a `normal_name`.
    pub(crate) async fn is_account(&self, name: &str) -> Result<bool, DirectoryFault> {
        let parts = name.rsplit_once('@');
        match parts.and_then(|(local, domain)| Address::from_parts(local, domain)) {
            Some(address) => Ok(self.id_of(&address).await?.is_some()),
            None => Ok(false),
        }
    }

    /// In the same turn as the commit.
    pub(crate) fn pinned(&self, name: String) -> Result<Name, DirectoryFault> {
        let state = self.inner.state.borrow();
        let (_, domain) = name.rsplit_once('@').unwrap_or_default();
        let domain = state.domains.get(domain).filter(|domain| domain.is_open());
        let domain = domain.ok_or(DirectoryFault::Refused(NOT_OURS))?;
        let pin = Pin::of(&domain.arriving);
        drop(state);
        Ok(Name { name, pin })
    }

    /// Removes a name that is there, and the grants for it. `absent`: what is said of one that is not.
    pub(crate) async fn remove_named<N: Held>(
        &self,
        name: &str,
        absent: &'static str,
        entry: impl Fn(Named<N>) -> Entry,
    ) -> Result<(), DirectoryFault> {
        let name = self.normal_name(name)?;
        let attempt = async || {
            let inner = &self.inner;
            let _locked = inner.locks.lock(name_lock(&name)).await;
            if N::rows(&inner.state.borrow()).get(&name).is_none() {
                return Err(DirectoryFault::Refused(absent));
            }
            let mut entries = vec![entry(Named::Remove { name: name.clone() })];
            // Who comes to have the address next did not grant them.
            let grants: Vec<String> = {
                let state = inner.state.borrow();
                let grants = state.grants.starting(format!("{name}\0"));
                grants.map(|(name, _)| name.clone()).collect()
            };
            let remove = |name| Entry::Grant(Named::Remove { name });
            entries.extend(grants.into_iter().map(remove));
            inner.commit(Purpose::Delete, entries, Vec::new()).await?;
            Ok(())
        };
        let rows = 1 + GRANTS_EACH_MAX as u64;
        self.inner.tenancy.deleting(rows, attempt).await
    }
}

impl State {
    /// Aliases or groups are in `domain`, which is spelled as we have it.
    pub(crate) fn is_listed_in(&self, domain: &str) -> bool {
        let is_in = |name: &String| name.rsplit_once('@').is_some_and(|(_, of)| of == domain);
        self.aliases.after(None).any(|(name, _)| is_in(name))
            || self.groups.after(None).any(|(name, _)| is_in(name))
    }
}

/// So many targets of this alias beside those of all others.
fn check_targets(state: &State, name: &str, count: usize) -> Result<(), DirectoryFault> {
    let others = state
        .aliases
        .after(None)
        .filter(|(other, _)| *other != name);
    let others = others.map(|(_, alias)| alias.targets.len());
    if count > 1 && others.sum::<usize>() + count > ALIAS_TARGETS_IN_ALL_MAX {
        return Err(DirectoryFault::TooMany("targets of aliases"));
    }
    Ok(())
}

/// A row more, unless the name is there already.
pub(crate) fn check_count<N: Held>(state: &State, name: &str) -> Result<(), DirectoryFault> {
    let rows = N::rows(state);
    if rows.get(name).is_none() && rows.count() >= N::ROWS_MAX {
        return Err(DirectoryFault::TooMany(N::NOUNS));
    }
    Ok(())
}
