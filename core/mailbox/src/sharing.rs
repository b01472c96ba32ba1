//! Access lists: who else may do what with a folder (RFC 4314), and what that opens to an account.
//!
//! An owner has every right on the own folders, and no list takes one away. Another account has the sum of the entries that name it, a group that it
//! is a member of, or anyone, less the sum of the negative ones. A new folder begins with the list of the folder above it; a list goes along with a
//! rename, and ends with its folder. Entries of accounts and groups that are gone give nothing, because no number of one is used again, and leave
//! the list with its next change.
//!
//! What must hold: a look at one's own folders asks none of this.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Bound;
use std::task::Poll;

use directory::Directory;
use mail::{Address, Rights, RightsChange};
use store::Purpose;

use crate::access::AccessEntry;
use crate::accounts::account_lock;
use crate::limits::{
    ACCESS_BYTES_PER_ACCOUNT_MAX, ACCESS_PER_ACCOUNT_MAX, ACCESS_PER_FOLDER_MAX, DIRECTORY_ROWS,
    FOLDERS_LOOKED_AT, FOREIGN_ACCOUNTS_MAX, FOREIGN_NAMES_MAX, SHARED_WITH_MAX, SHARES_LOOKED_AT,
    SHARES_MAX,
};
use crate::name;
use crate::names::{Group, Listed};
use crate::noun::Depth;
use crate::row::{Access, AccessList, Grantee, Tree, Who};
use crate::{AccountId, MailboxFault, MailboxId, Mailboxes};

/// RFC 4314 §2: everyone who has an account here. There is no anonymous login.
pub const ANYONE: &str = "anyone";

const NO_IDENTIFIER: MailboxFault =
    MailboxFault::Refused("Identifier is not an account or a group of this server");
const OF_OWNER: MailboxFault = MailboxFault::Refused("The owner always has all rights");

/// One entry of an access list, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLine {
    /// An address or `anyone`, behind `-` where rights are taken away.
    pub identifier: String,
    pub rights: Rights,
}

/// A change of one entry that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessChanged {
    /// Whose folder it is.
    pub owner: Address,
    pub folder: String,
    pub identifier: String,
    pub before: Rights,
    pub after: Rights,
}

/// A folder of another account, as far as the viewer may know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    pub owner: AccountId,
    pub owner_address: Address,
    /// As the owner's folders spell it.
    pub folder: String,
    /// `None`: there is no such folder.
    pub mailbox: Option<MailboxId>,
    /// Of the viewer, on the folder.
    pub rights: Rights,
    /// The same on the nearest folder above it.
    pub rights_above: Rights,
}

/// The folders of one account that another one may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    pub owner: Address,
    /// They stand in the shared namespace.
    pub is_shared: bool,
    /// In name order; each with at least `Rights::LOOKUP`.
    pub folders: Vec<(String, MailboxId, Rights)>,
}

/// Whose rights are asked for.
pub(crate) struct Viewer<'a> {
    directory: &'a Directory,
    id: AccountId,
    address: Address,
    /// Groups that were looked up.
    groups: RefCell<BTreeMap<Who, bool>>,
}

impl<'a> Viewer<'a> {
    pub(crate) fn new(directory: &'a Directory, id: AccountId, address: Address) -> Viewer<'a> {
        Viewer {
            directory,
            id,
            address,
            groups: RefCell::default(),
        }
    }

    fn is(&self, who: &Who) -> bool {
        match who {
            Who::Anyone => true,
            Who::Account(account) => *account == self.id,
            Who::Group { name, serial } => {
                let mut groups = self.groups.borrow_mut();
                if let Some(known) = groups.get(who) {
                    return *known;
                }
                let is = find_group(self.directory, name, *serial).is_some_and(|(name, group)| {
                    self.directory.has_member(&name, &group, &self.address)
                });
                groups.insert(who.clone(), is);
                is
            }
        }
    }

    /// What the list gives.
    pub(crate) fn rights(&self, list: Option<&AccessList>) -> Rights {
        let (mut given, mut taken) = (Rights::NONE, Rights::NONE);
        for (grantee, rights) in list.into_iter().flatten() {
            if self.is(&grantee.who) {
                let sum = if grantee.negative {
                    &mut taken
                } else {
                    &mut given
                };
                *sum = sum.with(*rights);
            }
        }
        given.without(taken)
    }
}

impl Mailboxes {
    pub(crate) async fn viewer(&self, viewer: AccountId) -> Result<Viewer<'_>, MailboxFault> {
        let directory = self.directory();
        let found = directory.account_by_id(viewer).await?;
        let address = found.ok_or(MailboxFault::NoAccount)?.address;
        Ok(Viewer::new(directory, viewer, address))
    }

    /// The viewer's rights on a mailbox: all of them where it is the viewer's own. `NoMailbox`: it is gone.
    pub async fn rights_on(
        &self,
        viewer: AccountId,
        mailbox: MailboxId,
    ) -> Result<Rights, MailboxFault> {
        let viewer = self.viewer(viewer).await?;
        let _hold = self.inner.hold_mailbox(mailbox, Depth::Head).await?;
        let state = self.inner.state.borrow();
        let entry = state.mailboxes.get(&mailbox);
        let owner = entry.ok_or(MailboxFault::NoMailbox)?.head.account;
        if owner == viewer.id {
            return Ok(Rights::ALL);
        }
        let tree = state.accounts.get(&owner).and_then(|entry| entry.live());
        let tree = tree.ok_or(MailboxFault::NoMailbox)?;
        Ok(viewer.rights(tree.access.lists.get(&mailbox)))
    }

    /// A folder of the account `owner`, which need not exist. `NoMailbox`: there is no such account in that namespace, or the name is none.
    pub async fn reach(
        &self,
        viewer: AccountId,
        owner: &Address,
        is_shared: bool,
        folder: &str,
    ) -> Result<Reached, MailboxFault> {
        let viewer = self.viewer(viewer).await?;
        let found = self.directory().account(owner).await?;
        let owner = found.ok_or(MailboxFault::NoMailbox)?;
        let folder = name::parse(folder).map_err(|_| MailboxFault::NoMailbox)?;
        if owner.id == viewer.id {
            return Err(MailboxFault::NoMailbox);
        }
        let _hold = self.inner.hold_tree(owner.id).await?;
        let state = self.inner.state.borrow();
        let tree = state.accounts.get(&owner.id).and_then(|entry| entry.live());
        let tree = tree.ok_or(MailboxFault::NoMailbox)?;
        if tree.access.is_shared != is_shared {
            return Err(MailboxFault::NoMailbox);
        }
        let folder = tree.spelled(&folder);
        let rights_of = |mailbox: MailboxId| viewer.rights(tree.access.lists.get(&mailbox));
        let mailbox = tree.folders.get(&folder).map(|folder| folder.mailbox);
        let above = nearest_above(tree, &folder);
        Ok(Reached {
            owner: owner.id,
            owner_address: owner.address,
            mailbox,
            rights: mailbox.map_or(Rights::NONE, rights_of),
            rights_above: above.map_or(Rights::NONE, rights_of),
            folder,
        })
    }

    /// The folders of others that the viewer may see, by owner. Past `FOREIGN_ACCOUNTS_MAX` owners and `FOREIGN_NAMES_MAX` folders the rest is
    /// omitted, and `false` stands beside the list.
    pub async fn foreign(&self, viewer: AccountId) -> Result<(Vec<Foreign>, bool), MailboxFault> {
        if self.inner.state.borrow().shares.is_empty() {
            return Ok((Vec::new(), true));
        }
        let viewer = self.viewer(viewer).await?;
        let mut owners = self.sharers(&viewer).await;
        let mut is_whole = owners.len() <= FOREIGN_ACCOUNTS_MAX;
        owners.truncate(FOREIGN_ACCOUNTS_MAX);
        let mut found = Vec::new();
        let mut names_left = FOREIGN_NAMES_MAX;
        let mut looked_count = 0;
        for owner in owners {
            if !is_whole && names_left == 0 {
                break;
            }
            if looked_count > FOLDERS_LOOKED_AT {
                looked_count = 0;
                give_way().await;
            }
            let Some(account) = self.directory().account_by_id(owner).await? else {
                continue;
            };
            let _hold = self.inner.hold_tree(owner).await?;
            let state = self.inner.state.borrow();
            let tree = state.accounts.get(&owner).and_then(|entry| entry.live());
            let Some(tree) = tree else { continue };
            looked_count += tree.folders.len();
            let mut folders = Vec::new();
            for (name, folder) in &tree.folders {
                let rights = viewer.rights(tree.access.lists.get(&folder.mailbox));
                if rights.contains(Rights::LOOKUP) {
                    folders.push((name.clone(), folder.mailbox, rights));
                }
            }
            is_whole &= folders.len() <= names_left;
            folders.truncate(names_left);
            names_left -= folders.len();
            if !folders.is_empty() {
                found.push(Foreign {
                    owner: account.address,
                    is_shared: tree.access.is_shared,
                    folders,
                });
            }
        }
        Ok((found, is_whole))
    }

    /// Accounts that share something with the viewer: at most one more than are looked through.
    pub(crate) async fn sharers(&self, viewer: &Viewer<'_>) -> Vec<AccountId> {
        let mut owners = Vec::new();
        let mut from = Bound::Unbounded;
        loop {
            // until all were looked at, or enough were found
            let mut looked_count = 0;
            let mut last = None;
            {
                let state = self.inner.state.borrow();
                for (owner, grantees) in state.shares.range((from, Bound::Unbounded)) {
                    if looked_count >= SHARES_LOOKED_AT {
                        last = Some(*owner);
                        break;
                    }
                    looked_count += grantees.len();
                    if *owner != viewer.id && grantees.iter().any(|who| viewer.is(who)) {
                        owners.push(*owner);
                    }
                }
            }
            match last {
                Some(next) if owners.len() <= FOREIGN_ACCOUNTS_MAX => {
                    from = Bound::Included(next);
                    give_way().await;
                }
                _ => return owners,
            }
        }
    }

    /// The access list of one folder, in the order of identifiers; entries of accounts and groups that are gone are omitted.
    pub async fn access(
        &self,
        owner: AccountId,
        folder: &str,
    ) -> Result<Vec<AccessLine>, MailboxFault> {
        let mailbox = self.find(owner, folder).await?;
        let _hold = self.hold_live_account(owner).await?;
        let list = {
            let state = self.inner.state.borrow();
            let tree = state.accounts.get(&owner).and_then(|entry| entry.live());
            let tree = tree.ok_or(MailboxFault::NoAccount)?;
            tree.access.lists.get(&mailbox).cloned().unwrap_or_default()
        };
        self.shown(list).await
    }

    /// Every folder of the account that has an access list, in name order, and whether the account stands in the shared namespace.
    pub async fn all_access(
        &self,
        owner: AccountId,
    ) -> Result<(bool, Vec<(String, Vec<AccessLine>)>), MailboxFault> {
        let _hold = self.hold_live_account(owner).await?;
        let (is_shared, lists) = {
            let state = self.inner.state.borrow();
            let tree = state.accounts.get(&owner).and_then(|entry| entry.live());
            let tree = tree.ok_or(MailboxFault::NoAccount)?;
            let mut lists = Vec::new();
            for (name, folder) in &tree.folders {
                if let Some(list) = tree.access.lists.get(&folder.mailbox) {
                    lists.push((name.clone(), list.clone()));
                }
            }
            (tree.access.is_shared, lists)
        };
        let mut all = Vec::with_capacity(lists.len());
        for (name, list) in lists {
            all.push((name, self.shown(list).await?));
        }
        Ok((is_shared, all))
    }

    async fn shown(&self, list: AccessList) -> Result<Vec<AccessLine>, MailboxFault> {
        let mut lines = Vec::with_capacity(list.len());
        for (Grantee { negative, who }, rights) in list {
            let name = match who {
                Who::Anyone => ANYONE.to_owned(),
                Who::Group { name, serial } => match find_group(self.directory(), &name, serial) {
                    Some((name, _)) => name,
                    None => continue,
                },
                Who::Account(account) => match self.directory().account_by_id(account).await? {
                    Some(account) => account.address.to_path(),
                    None => continue,
                },
            };
            let sign = if negative { "-" } else { "" };
            lines.push(AccessLine {
                identifier: format!("{sign}{name}"),
                rights,
            });
        }
        Ok(lines)
    }

    /// Whom an identifier means: `anyone`, the address of an account or a group, behind `-` for rights that are taken away. The text is the one that
    /// `access` shows.
    async fn grantee(&self, identifier: &str) -> Result<(Grantee, String), MailboxFault> {
        let (negative, name) = match identifier.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, identifier),
        };
        let (who, name) = if name.eq_ignore_ascii_case(ANYONE) {
            (Who::Anyone, ANYONE.to_owned())
        } else {
            let address = Address::from_path(name).ok_or(NO_IDENTIFIER)?;
            if let Some(Listed::Group(name, group)) = self.directory().listed(&address) {
                let serial = group.serial();
                let who = Who::Group {
                    name: name.clone(),
                    serial,
                };
                (who, name)
            } else {
                let found = self.directory().account(&address).await?;
                let found = found.ok_or(NO_IDENTIFIER)?;
                // Mail for an address with a tag goes to the account without it; rights are for what was named.
                if address.untagged().is_some() && found.address.untagged().is_none() {
                    return Err(NO_IDENTIFIER);
                }
                (Who::Account(found.id), found.address.to_path())
            }
        };
        let sign = if negative { "-" } else { "" };
        Ok((Grantee { negative, who }, format!("{sign}{name}")))
    }

    /// Changes one entry. Durable when it answers, and sessions that have the folder open are notified; without a difference nothing is written.
    /// `Refused`: the identifier is unknown, or the owner's.
    pub async fn change_access(
        &self,
        owner: AccountId,
        folder: &str,
        identifier: &str,
        change: RightsChange,
    ) -> Result<AccessChanged, MailboxFault> {
        let folder = name::parse(folder).map_err(|_| MailboxFault::NoMailbox)?;
        let (grantee, identifier) = self.grantee(identifier).await?;
        if grantee.who == Who::Account(owner) {
            return Err(OF_OWNER);
        }
        self.inner
            .deleting(DIRECTORY_ROWS, async || {
                self.try_change_access(owner, &folder, &grantee, &identifier, change)
                    .await
            })
            .await
    }

    async fn try_change_access(
        &self,
        owner: AccountId,
        folder: &str,
        grantee: &Grantee,
        identifier: &str,
        change: RightsChange,
    ) -> Result<AccessChanged, MailboxFault> {
        let _locked = self.inner.locks.lock(account_lock(owner)).await;
        let hold = self.hold_live_account(owner).await?;
        let found = self.directory().account_by_id(owner).await?;
        let owner_address = found.ok_or(MailboxFault::NoAccount)?.address;
        let (folder, mailbox, access) = {
            let state = self.inner.state.borrow();
            let tree = state.accounts.get(&owner).and_then(|entry| entry.live());
            let tree = tree.ok_or(MailboxFault::NoAccount)?;
            let folder = tree.spelled(folder);
            let found = tree.folders.get(&folder).ok_or(MailboxFault::NoMailbox)?;
            (folder, found.mailbox, tree.access.clone())
        };
        let mut list = access.lists.get(&mailbox).cloned().unwrap_or_default();
        let before = list.get(grantee).copied().unwrap_or_default();
        let after = change.of(before);
        if before != after {
            self.drop_strangers(&mut list).await?;
            match after.is_empty() {
                true => list.remove(grantee),
                false => list.insert(grantee.clone(), after),
            };
            self.check_bounds(owner, access, mailbox, &list)?;
            let change = AccessEntry::List {
                account: owner,
                mailbox,
                list,
            };
            let entries = vec![change.into()];
            let purpose = match before.contains(after) {
                // Rights can be taken away on a full volume.
                true => Purpose::Delete,
                false => Purpose::Keep,
            };
            let committed = self.inner.commit_for(purpose, Vec::new(), entries, hold);
            committed.await?;
        }
        Ok(AccessChanged {
            owner: owner_address,
            folder,
            identifier: identifier.to_owned(),
            before,
            after,
        })
    }

    /// Takes entries of accounts and groups out that are gone.
    async fn drop_strangers(&self, list: &mut AccessList) -> Result<(), MailboxFault> {
        let mut gone = Vec::new();
        for grantee in list.keys() {
            let is_gone = match &grantee.who {
                Who::Anyone => false,
                Who::Account(account) => self.directory().account_by_id(*account).await?.is_none(),
                Who::Group { name, serial } => {
                    find_group(self.directory(), name, *serial).is_none()
                }
            };
            if is_gone {
                gone.push(grantee.clone());
            }
        }
        gone.iter().for_each(|grantee| _ = list.remove(grantee));
        Ok(())
    }

    /// Whether `list` may take the place of the folder's one. A list that became shorter always may.
    fn check_bounds(
        &self,
        owner: AccountId,
        mut access: Access,
        mailbox: MailboxId,
        list: &AccessList,
    ) -> Result<(), MailboxFault> {
        let (before, bytes_before) = (access.entries_count(), access.bytes_max());
        let shared_before = access.grantees().len();
        if list.len() > ACCESS_PER_FOLDER_MAX {
            return Err(MailboxFault::TooMany("entries of an access list"));
        }
        access.lists.insert(mailbox, list.clone());
        let now = access.entries_count();
        let bytes = access.bytes_max();
        if (now > before && now > ACCESS_PER_ACCOUNT_MAX)
            || (bytes > bytes_before && bytes > ACCESS_BYTES_PER_ACCOUNT_MAX)
        {
            return Err(MailboxFault::TooMany("entries of access lists"));
        }
        let shared = access.grantees().len();
        let state = self.inner.state.borrow();
        let known = state.shares.get(&owner).map_or(0, |known| known.len());
        let all = state.shares_count - known + shared;
        if shared > shared_before && (shared > SHARED_WITH_MAX || all > SHARES_MAX) {
            return Err(MailboxFault::TooMany(
                "accounts that folders are shared with",
            ));
        }
        Ok(())
    }

    /// The account's folders stand in the shared namespace from now on, or (`false`) among other users. Answers what it was.
    pub async fn mark_shared(
        &self,
        account: AccountId,
        is_shared: bool,
    ) -> Result<bool, MailboxFault> {
        self.inner
            .room_for(Purpose::Keep, false, DIRECTORY_ROWS)
            .await?;
        let _locked = self.inner.locks.lock(account_lock(account)).await;
        let hold = self.hold_live_account(account).await?;
        let before = {
            let state = self.inner.state.borrow();
            let tree = state.accounts.get(&account).and_then(|entry| entry.live());
            tree.ok_or(MailboxFault::NoAccount)?.access.is_shared
        };
        if before != is_shared {
            let entries = vec![AccessEntry::Shared { account, is_shared }.into()];
            self.inner.commit(Vec::new(), entries, hold).await?;
        }
        Ok(before)
    }

    /// Whether the account has a folder of this name, or folders below it.
    pub async fn has_root(&self, account: AccountId, root: &str) -> Result<bool, MailboxFault> {
        let _hold = self.hold_live_account(account).await?;
        let state = self.inner.state.borrow();
        let tree = state.accounts.get(&account).and_then(|entry| entry.live());
        let tree = tree.ok_or(MailboxFault::NoAccount)?;
        let mut from = tree.folders.range(root.to_owned()..);
        // Names like `Shared-old` sort between `Shared` and `Shared/a`.
        let mut near = from.by_ref().take_while(|(name, _)| name.starts_with(root));
        Ok(near.any(|(name, _)| name == root || name::is_below(name, root)))
    }
}

/// The group of this name, if it is still the one of this number.
fn find_group(directory: &Directory, name: &str, serial: u64) -> Option<(String, Group)> {
    match directory.listed(&Address::from_path(name)?)? {
        Listed::Group(name, group) if group.serial() == serial => Some((name, group)),
        _ => None,
    }
}

/// Lets other tasks of the thread go on before this one does.
async fn give_way() {
    let mut gave_way = false;
    poll_fn(|context| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The folder that a folder of this name is below.
pub(crate) fn nearest_above(tree: &Tree, folder: &str) -> Option<MailboxId> {
    let mut above: Vec<&str> = name::parents(folder).collect();
    above.reverse();
    let found = above.into_iter().find_map(|name| tree.folders.get(name));
    found.map(|folder| folder.mailbox)
}
