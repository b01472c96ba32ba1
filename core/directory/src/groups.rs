//! Operations on groups and their members.

use mail::{Address, spelling};
use store::Purpose;

use crate::aliases::{Name, check_count};
use crate::group::{Group, Member, Posters};
use crate::limits::{GROUP_MEMBERS_MAX, MEMBERS_MAX, TITLE_BYTES_MAX};
use crate::record::{Entry, name_lock};
use crate::whole::Named;
use crate::{Directory, DirectoryFault};

/// What of a group is to be another thing; `None`: as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupChange {
    pub posters: Option<Posters>,
    pub owner: Option<Address>,
    /// The new words of List-Id.
    pub title: Option<String>,
}

impl Directory {
    /// `Exists`: the address is an account, an alias or a group. Durable when it answers.
    pub async fn make_group(
        &self,
        name: &str,
        posters: Posters,
        owner: Address,
        title: &str,
    ) -> Result<(), DirectoryFault> {
        check_title(title)?;
        let inner = &self.inner;
        inner.tenancy.room_for(Purpose::Keep, false, 1).await?;
        let wanted = self.normal_name(name)?;
        if wanted.starts_with('@') {
            return Err(DirectoryFault::Refused("a group needs a name before the @"));
        }
        // Otherwise reports would go to the members.
        let (local, domain) = wanted.rsplit_once('@').unwrap_or_default();
        if Address::from_parts(&format!("{local}+bounces"), domain).is_none() {
            let why = "the name of a group has at most 184 bytes before the @";
            return Err(DirectoryFault::Refused(why));
        }
        if spelling::keys(&owner).contains(&wanted) {
            let why = "a group cannot be its own owner";
            return Err(DirectoryFault::Refused(why));
        }
        let _locked = inner.locks.lock(name_lock(&wanted)).await;
        let is_listed = {
            let state = inner.state.borrow();
            state.aliases.get(&wanted).is_some() || state.groups.get(&wanted).is_some()
        };
        if is_listed || self.is_account(&wanted).await? {
            return Err(DirectoryFault::Exists);
        }
        let Name { name, pin } = self.pinned(wanted)?;
        check_count::<Group>(&inner.state.borrow(), &name)?;
        // The serial tells this group's members from those of an earlier one of the same name: members are not removed one by one with their group.
        let row = Group {
            // Positions of the log only grow, and an earlier group of this name was removed before this one.
            serial: inner.tenancy.applied().0,
            posters,
            owner,
            title: title.to_owned(),
        };
        let put = Entry::Group(Named::Put { name, row });
        inner.commit(Purpose::Keep, vec![put], vec![pin]).await?;
        Ok(())
    }

    /// Its members are forgotten with it. `Refused`: there is no such group.
    pub async fn remove_group(&self, name: &str) -> Result<(), DirectoryFault> {
        self.remove_named::<Group>(name, NO_GROUP, Entry::Group)
            .await
    }

    /// Changes what is given. Durable when it answers. `Refused`: no such group, a title that is not
    /// plain, or the group as its own owner.
    pub async fn change_group(
        &self,
        name: &str,
        change: GroupChange,
    ) -> Result<(), DirectoryFault> {
        // Everything is checked before the lock and before the commit, so that a change is made as a whole or not at all.
        check_title(change.title.as_deref().unwrap_or_default())?;
        let name = self.normal_name(name)?;
        let inner = &self.inner;
        inner.tenancy.room_for(Purpose::Keep, false, 1).await?;
        let _locked = inner.locks.lock(name_lock(&name)).await;
        let mut row = self.group_row(&name)?;
        row.posters = change.posters.unwrap_or(row.posters);
        row.owner = change.owner.unwrap_or(row.owner);
        row.title = change.title.unwrap_or(row.title);
        if spelling::keys(&row.owner).contains(&name) {
            let why = "a group cannot be its own owner";
            return Err(DirectoryFault::Refused(why));
        }
        let put = Entry::Group(Named::Put { name, row });
        inner.commit(Purpose::Keep, vec![put], Vec::new()).await?;
        Ok(())
    }

    /// At most `AT_ONCE_MAX` of them, together or not at all; answers how many were not members before.
    pub async fn add_members(
        &self,
        group: &str,
        members: Vec<Address>,
    ) -> Result<usize, DirectoryFault> {
        let name = self.checked_members(group, &members)?;
        let inner = &self.inner;
        let rows = members.len() as u64;
        inner.tenancy.room_for(Purpose::Keep, false, rows).await?;
        let _locked = inner.locks.lock(name_lock(&name)).await;
        let row = self.group_row(&name)?;
        let start = row.members_start(&name);
        let entries: Vec<Entry> = {
            let state = inner.state.borrow();
            // By key: an address that is named twice in one request is one member.
            let mut fresh = std::collections::BTreeMap::new();
            for address in members {
                let name = format!("{start}{}", address.key());
                if state.members.get(&name).is_none() {
                    fresh.insert(name, Member { address });
                }
            }
            if state.members.starting(start.clone()).count() + fresh.len() > GROUP_MEMBERS_MAX
                || state.members.count() + fresh.len() > MEMBERS_MAX
            {
                return Err(DirectoryFault::TooMany("members"));
            }
            let put = |(name, row)| Entry::Member(Named::Put { name, row });
            fresh.into_iter().map(put).collect()
        };
        let count = entries.len();
        if count > 0 {
            inner.commit(Purpose::Keep, entries, Vec::new()).await?;
        }
        Ok(count)
    }

    /// As `add_members`; answers how many were members.
    pub async fn drop_members(
        &self,
        group: &str,
        members: Vec<Address>,
    ) -> Result<usize, DirectoryFault> {
        let name = self.checked_members(group, &members)?;
        let attempt = async || {
            let inner = &self.inner;
            let _locked = inner.locks.lock(name_lock(&name)).await;
            let start = self.group_row(&name)?.members_start(&name);
            let entries: Vec<Entry> = {
                let state = inner.state.borrow();
                // In every spelling, as the look-up does it: a member that was added in Unicode is dropped by its ASCII form too.
                let keys = members.iter().flat_map(spelling::keys);
                let names: std::collections::BTreeSet<String> = keys
                    .map(|key| format!("{start}{key}"))
                    .filter(|name| state.members.get(name).is_some())
                    .collect();
                let remove = |name| Entry::Member(Named::Remove { name });
                names.into_iter().map(remove).collect()
            };
            let count = entries.len();
            if count > 0 {
                inner.commit(Purpose::Delete, entries, Vec::new()).await?;
            }
            Ok(count)
        };
        let rows = members.len() as u64;
        self.inner.tenancy.deleting(rows, attempt).await
    }

    /// In order of names, at most `count_max`, after the name `after`; each with the number of its members.
    pub fn groups(&self, after: Option<&str>, count_max: usize) -> Vec<(String, Group, usize)> {
        let state = self.inner.state.borrow();
        let some = state.groups.after(after).take(count_max);
        some.map(|(name, group)| {
            let members = state.members.starting(group.members_start(name)).count();
            (name.clone(), group.clone(), members)
        })
        .collect()
    }

    /// All members of the group of this name, as `listed` has it; at most `GROUP_MEMBERS_MAX`.
    pub fn members(&self, name: &str, group: &Group) -> Vec<Address> {
        let state = self.inner.state.borrow();
        let members = state.members.starting(group.members_start(name));
        members.map(|(_, member)| member.address.clone()).collect()
    }

    pub fn has_members(&self, name: &str, group: &Group) -> bool {
        let state = self.inner.state.borrow();
        state
            .members
            .starting(group.members_start(name))
            .next()
            .is_some()
    }

    /// In any spelling of `address`, without its tag too.
    pub fn is_member(&self, name: &str, group: &Group, address: &Address) -> bool {
        let has = |address: &Address| self.has_member(name, group, address);
        has(address) || address.untagged().is_some_and(|plain| has(&plain))
    }

    /// In any spelling of `address`, and with its tag if it has one: the account of an address with a tag is not the one without.
    pub fn has_member(&self, name: &str, group: &Group, address: &Address) -> bool {
        let state = self.inner.state.borrow();
        let start = group.members_start(name);
        let is_there = |key: String| state.members.get(&format!("{start}{key}")).is_some();
        spelling::keys(address).into_iter().any(is_there)
    }

    /// The group's name, if these members may be changed in it.
    fn checked_members(&self, group: &str, members: &[Address]) -> Result<String, DirectoryFault> {
        if members.len() > AT_ONCE_MAX {
            let why = "at most 500 members are added or dropped at once";
            return Err(DirectoryFault::Refused(why));
        }
        let name = self.normal_name(group)?;
        if members
            .iter()
            .any(|member| spelling::keys(member).contains(&name))
        {
            let why = "a group cannot be a member of itself";
            return Err(DirectoryFault::Refused(why));
        }
        Ok(name)
    }

    fn group_row(&self, name: &str) -> Result<Group, DirectoryFault> {
        let state = self.inner.state.borrow();
        let row = state.groups.get(name).cloned();
        row.ok_or(DirectoryFault::Refused(NO_GROUP))
    }
}

/// A title goes into a header field as it is, so it must be plain.
fn check_title(title: &str) -> Result<(), DirectoryFault> {
    let is_plain = |letter: char| letter.is_ascii_graphic() || letter == ' ';
    if title.len() > TITLE_BYTES_MAX || !title.chars().all(is_plain) {
        let why = "a title is at most 200 letters of ASCII";
        return Err(DirectoryFault::Refused(why));
    }
    Ok(())
}

/// Members changed by one group of the log: some 300 KiB of records at most.
const AT_ONCE_MAX: usize = 500;

const NO_GROUP: &str = "no such group";
