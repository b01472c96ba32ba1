//! Sessions that watch all of an account: what its groups did is reported to them one thing at a time.
//!
//! A watch is one entry under each account that it is about, however many mailboxes there are. A group about accounts without a watch costs one
//! question (is there any watch of an account?), and where there are some a look-up for each of its records. What is reported is worked out from the
//! records before they change memory, because of what goes nothing can be asked afterwards: a deleted folder takes its access list along.
//!
//! A bell is called on the owner's thread and must be cheap: the session's end of it keeps a bounded number of notices, and past that
//! one word, that there were too many.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use mail::Rights;

use crate::access::AccessEntry;
use crate::folder::FolderEntry;
use crate::limits::NOTICES_TOGETHER_MAX;
use crate::message::MessageEntry;
use crate::record::Entry;
use crate::row::AccessList;
use crate::state::State;
use crate::tree::TreeEntry;
use crate::{AccountId, MailboxId};

/// What happened in an account that a session watches. Durable, and visible when the bell rings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Messages came to the mailbox or went, or (`flags` alone) only flags changed.
    Messages {
        account: AccountId,
        mailbox: MailboxId,
        count: bool,
        flags: bool,
    },
    /// A folder has this name from now on; `from`: and had that one before.
    Named {
        account: AccountId,
        name: String,
        from: Option<String>,
    },
    /// The folder of this name is gone. `rights`: what the viewer could do there.
    Unnamed {
        account: AccountId,
        name: String,
        rights: Rights,
    },
    /// The access list of a folder changed. `before`: what it gave the viewer.
    Access {
        account: AccountId,
        mailbox: MailboxId,
        before: Rights,
    },
    /// The viewer subscribed to the name, or not any more.
    Subscribed { name: String },
    /// The folder, or (0) the account, has another value under this name.
    Noted {
        account: AccountId,
        mailbox: MailboxId,
        name: String,
    },
    /// More than can be told one by one.
    Everything,
}

/// A session's watch.
pub struct AccountWatch {
    pub viewer: AccountId,
    pub accounts: Vec<AccountId>,
    /// What an access list gives the viewer.
    pub rights: Box<dyn Fn(Option<&AccessList>) -> Rights>,
    pub bell: Box<dyn Fn(Notice)>,
}

#[derive(Default)]
pub struct AccountWatchers {
    by_account: HashMap<AccountId, Vec<(u64, Rc<AccountWatch>)>>,
    /// Under the keys that their sessions made.
    kept: HashMap<u64, Rc<AccountWatch>>,
    /// Entries of `by_account`.
    pub count: usize,
}

impl AccountWatchers {
    fn of(&self, account: AccountId) -> &[(u64, Rc<AccountWatch>)] {
        self.by_account.get(&account).map_or(&[], |watches| watches)
    }

    pub fn add(&mut self, key: u64, watch: AccountWatch) {
        let watch = Rc::new(watch);
        for account in &watch.accounts {
            let watches = self.by_account.entry(*account).or_default();
            watches.push((key, watch.clone()));
        }
        self.count += watch.accounts.len();
        self.kept.insert(key, watch);
    }

    pub fn remove(&mut self, key: u64) {
        let Some(watch) = self.kept.remove(&key) else {
            return;
        };
        self.count -= watch.accounts.len();
        for account in &watch.accounts {
            if let Some(watches) = self.by_account.get_mut(account) {
                watches.retain(|(other, _)| *other != key);
                if watches.is_empty() {
                    self.by_account.remove(account);
                }
            }
        }
    }
}

/// What a group tells, and whom: made before it is applied, rung behind that.
#[derive(Default)]
pub struct Notices(Vec<(Rc<AccountWatch>, Notice)>);

impl Notices {
    pub fn ring(self) {
        for (watch, notice) in self.0 {
            (watch.bell)(notice);
        }
    }
}

impl AccountWatchers {
    /// Something happened that was not seen record by record.
    pub fn ring_everything(&self) {
        let watches = self.kept.values();
        watches.for_each(|watch| (watch.bell)(Notice::Everything));
    }

    /// `state`: as it is before `entries` are applied.
    pub fn notices(&self, state: &State, entries: &[Entry]) -> Notices {
        let mut notices = Notices::default();
        if self.by_account.is_empty() {
            return notices;
        }
        // A rename takes all folders below along.
        let folders = entries
            .iter()
            .filter(|entry| matches!(entry, Entry::Folder(_)));
        if folders.count() > NOTICES_TOGETHER_MAX {
            let trees = entries
                .iter()
                .filter_map(Entry::tree)
                .collect::<BTreeSet<_>>();
            for account in trees {
                everything(self, account, &mut notices);
            }
            return notices;
        }
        for entry in entries {
            match entry {
                Entry::Message(entry) => of_messages(self, state, entry, &mut notices),
                Entry::Folder(entry) => of_folder(self, state, entry, &mut notices),
                Entry::Tree(entry) => of_tree(self, entry, &mut notices),
                Entry::Access(entry) => of_access(self, state, entry, &mut notices),
                // The same once more, so that older records may go; and how far a COPY is, whose messages are in records of their own.
                Entry::Snapshot(_) | Entry::Copying(_) => {}
            }
        }
        notices
    }
}

fn of_folder(
    watchers: &AccountWatchers,
    state: &State,
    entry: &FolderEntry,
    notices: &mut Notices,
) {
    match entry {
        FolderEntry::Create { account, name, .. } => {
            for (_, watch) in watchers.of(*account) {
                let (account, name) = (*account, name.clone());
                let from = None;
                let named = Notice::Named {
                    account,
                    name,
                    from,
                };
                notices.0.push((watch.clone(), named));
            }
        }
        FolderEntry::Rename {
            account,
            mailbox,
            from,
            to,
            moved_at,
            ..
        } => {
            for (_, watch) in watchers.of(*account) {
                let named = Notice::Named {
                    account: *account,
                    name: to.clone(),
                    from: Some(from.clone()),
                };
                notices.0.push((watch.clone(), named));
                // Another UIDVALIDITY.
                if moved_at.is_some() {
                    let messages = Notice::Messages {
                        account: *account,
                        mailbox: *mailbox,
                        count: true,
                        flags: true,
                    };
                    notices.0.push((watch.clone(), messages));
                }
            }
        }
        FolderEntry::Delete {
            account,
            mailbox,
            name,
            ..
        } => {
            for (_, watch) in watchers.of(*account) {
                let unnamed = Notice::Unnamed {
                    account: *account,
                    name: name.clone(),
                    rights: rights_of(watch, state, *account, *mailbox),
                };
                notices.0.push((watch.clone(), unnamed));
            }
        }
    }
}

fn of_access(
    watchers: &AccountWatchers,
    state: &State,
    entry: &AccessEntry,
    notices: &mut Notices,
) {
    match entry {
        // All of its folders have other names for those who see some.
        AccessEntry::Shared { account, .. } => everything(watchers, *account, notices),
        AccessEntry::List {
            account, mailbox, ..
        } => {
            for (_, watch) in watchers.of(*account) {
                if watch.viewer == *account {
                    continue;
                }
                let access = Notice::Access {
                    account: *account,
                    mailbox: *mailbox,
                    before: rights_of(watch, state, *account, *mailbox),
                };
                notices.0.push((watch.clone(), access));
            }
        }
        AccessEntry::Note {
            account,
            mailbox,
            name,
            ..
        } => {
            for (_, watch) in watchers.of(*account) {
                let (account, mailbox, name) = (*account, *mailbox, name.clone());
                // What is private is the owner's; what is noted about the account too.
                let is_shared = mailbox != MailboxId(0) && name.starts_with("/shared/");
                if watch.viewer == account || is_shared {
                    let noted = Notice::Noted {
                        account,
                        mailbox,
                        name,
                    };
                    notices.0.push((watch.clone(), noted));
                }
            }
        }
    }
}

/// What the viewer may do there now.
fn rights_of(
    watch: &AccountWatch,
    state: &State,
    account: AccountId,
    mailbox: MailboxId,
) -> Rights {
    if watch.viewer == account {
        return Rights::ALL;
    }
    let tree = state.accounts.get(&account).and_then(|entry| entry.live());
    (watch.rights)(tree.and_then(|tree| tree.access.lists.get(&mailbox)))
}

fn of_messages(
    watchers: &AccountWatchers,
    state: &State,
    entry: &MessageEntry,
    notices: &mut Notices,
) {
    let (mailbox, count) = match entry {
        MessageEntry::Deliver { mailbox, .. }
        | MessageEntry::Place { mailbox, .. }
        | MessageEntry::Expunge { mailbox, .. } => (*mailbox, true),
        MessageEntry::Flag { mailbox, .. } => (*mailbox, false),
        MessageEntry::Relocate { .. } => return,
    };
    let Some(entry) = state.mailboxes.get(&mailbox) else {
        return;
    };
    let account = entry.head.account;
    for (_, watch) in watchers.of(account) {
        let messages = Notice::Messages {
            account,
            mailbox,
            count,
            flags: !count,
        };
        notices.0.push((watch.clone(), messages));
    }
}

fn of_tree(watchers: &AccountWatchers, entry: &TreeEntry, notices: &mut Notices) {
    match entry {
        TreeEntry::Subscribe { account, name, .. } => {
            let watches = watchers.of(*account).iter();
            for (_, watch) in watches.filter(|(_, watch)| watch.viewer == *account) {
                let subscribed = Notice::Subscribed { name: name.clone() };
                notices.0.push((watch.clone(), subscribed));
            }
        }
        TreeEntry::Remove { account, .. } => everything(watchers, *account, notices),
        TreeEntry::Put { .. } | TreeEntry::Snapshot { .. } => {}
    }
}

fn everything(watchers: &AccountWatchers, account: AccountId, notices: &mut Notices) {
    for (_, watch) in watchers.of(account) {
        notices.0.push((watch.clone(), Notice::Everything));
    }
}
