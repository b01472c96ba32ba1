//! What a session that watches accounts is shown of their folders, as they are now.

use std::ops::Bound;

use mail::{Address, Rights};

use crate::name::{self, SEPARATOR};
use crate::row::Tree;
use crate::sharing::Viewer;
use crate::{AccountId, MailboxFault, MailboxId, Mailboxes, SpecialUse};

/// One name of an account, and what is there for the viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// `None`: no folder has the name.
    pub mailbox: Option<MailboxId>,
    /// From the root of its account.
    pub name: String,
    /// Of the viewer.
    pub rights: Rights,
    /// Other folders are below it.
    pub has_children: bool,
    pub special_use: Option<SpecialUse>,
}

/// The names that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sights {
    /// `None`: the viewer's own account.
    pub foreign: Option<(Address, bool)>,
    pub sights: Vec<Sight>,
}

/// Which names.
#[derive(Debug, Clone, Copy)]
pub enum Sought<'a> {
    /// So many behind this one, in their order; `None`: from the first.
    After(Option<&'a str>, usize),
    /// Those of the folders of these numbers (ascending) that are there, then these.
    Some(&'a [MailboxId], &'a [String]),
}

impl Mailboxes {
    /// Where folders are sought by their numbers it costs a look at each of the account's names, without a copy of those that are not sought.
    /// `NoAccount`: it is gone.
    pub async fn sights(
        &self,
        viewer: AccountId,
        account: AccountId,
        sought: Sought<'_>,
    ) -> Result<Sights, MailboxFault> {
        let is_own = viewer == account;
        let (viewer, owner) = match is_own {
            true => (None, None),
            false => {
                let owner = self.directory().account_by_id(account).await?;
                (
                    Some(self.viewer(viewer).await?),
                    Some(owner.ok_or(MailboxFault::NoAccount)?.address),
                )
            }
        };
        let _hold = self.hold_live_account(account).await?;
        self.with_account(account, |tree| {
            let sight = |name: &str| tree.sight(viewer.as_ref(), name);
            let sights = match sought {
                Sought::After(name, count) => {
                    let from = name.map_or(Bound::Unbounded, Bound::Excluded);
                    let names = tree.folders.range::<str, _>((from, Bound::Unbounded));
                    names.take(count).map(|(name, _)| sight(name)).collect()
                }
                Sought::Some(ids, names) => {
                    let folders = tree.folders.iter();
                    let is_sought = |id: &MailboxId| ids.binary_search(id).is_ok();
                    let numbered = folders.filter(|(_, folder)| is_sought(&folder.mailbox));
                    let numbered = match ids.is_empty() {
                        true => Vec::new(),
                        false => numbered.map(|(name, _)| sight(name)).collect(),
                    };
                    let named = names.iter().map(|name| sight(name));
                    numbered.into_iter().chain(named).collect()
                }
            };
            Sights {
                foreign: owner.map(|address| (address, tree.access.is_shared)),
                sights,
            }
        })
    }

    /// Which of the names the account is subscribed to.
    pub async fn are_subscribed(
        &self,
        account: AccountId,
        names: &[String],
    ) -> Result<Vec<bool>, MailboxFault> {
        let _hold = self.hold_live_account(account).await?;
        self.with_account(account, |tree| {
            let subscribed = |name: &String| tree.subscriptions.contains(name);
            names.iter().map(subscribed).collect()
        })
    }

    /// Accounts of which the viewer may see something; at most one more than `FOREIGN_ACCOUNTS_MAX`.
    pub async fn sharers_with(&self, viewer: AccountId) -> Result<Vec<AccountId>, MailboxFault> {
        let viewer = self.viewer(viewer).await?;
        Ok(self.sharers(&viewer).await)
    }
}

impl Tree {
    /// `viewer`: of another account.
    fn sight(&self, viewer: Option<&Viewer<'_>>, name: &str) -> Sight {
        let folder = self.folders.get(name);
        let above = format!("{name}{SEPARATOR}");
        let from = Bound::Included(above.as_str());
        let mut below = self.folders.range::<str, _>((from, Bound::Unbounded));
        let rights = |mailbox: MailboxId| match viewer {
            Some(viewer) => viewer.rights(self.access.lists.get(&mailbox)),
            None => Rights::ALL,
        };
        // Children that the viewer may not see are not there.
        let is_shown = |mailbox| rights(mailbox).contains(Rights::LOOKUP);
        let has_children = below
            .by_ref()
            .take_while(|(other, _)| name::is_below(other, name))
            .any(|(_, folder)| is_shown(folder.mailbox));
        Sight {
            mailbox: folder.map(|folder| folder.mailbox),
            name: name.to_owned(),
            rights: folder.map_or(Rights::NONE, |folder| rights(folder.mailbox)),
            has_children,
            special_use: folder.and_then(|folder| folder.special_use),
        }
    }
}
