//! Sessions that watch all of an account: what its groups did is reported to them one thing at a time.
//!
//! A watch is one entry under each account that it is about, however many mailboxes there are. A group about accounts without a watch costs one
//! question (is there any watch of an account?), and where there are some a look-up for each of its records. What is reported is worked out from the
//! records before they change memory, because of what goes nothing can be asked afterwards: a deleted folder takes its access list along.
//!
//! What must hold:
//!
//! - What is made for a group is as much as its records are, however many sessions watch: each session's notice is made when its bell is rung.
//! - A viewer that may not see a folder is not rung because of it, and gets no name of it.
//!
//! A bell is called on the owner's thread and must be cheap: the session's end of it keeps a bounded number of notices, and past that
//! one word, that there were too many.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use mail::Rights;

use crate::access::AccessEntry;
use crate::folder::FolderEntry;
use crate::limits::NOTICES_TOGETHER_MAX;
use crate::message::MessageEntry;
use crate::record::Entry;
use crate::row::{AccessList, Tree};
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
    /// A folder has this name from now on; `from`: and had that one before, where the viewer could see it.
    Named {
        account: AccountId,
        name: String,
        from: Option<String>,
    },
    /// The folder of this name is gone, which the viewer could see.
    Unnamed { account: AccountId, name: String },
    /// The access list of a folder changed. `name`: what it was called then, because it may have a name by now that the viewer must not see. `before`: what the list gave
    /// the viewer.
    Access {
        account: AccountId,
        mailbox: MailboxId,
        name: String,
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

/// What an access list gives a viewer; of none, what one has without it.
type RightsOf = dyn Fn(Option<&AccessList>) -> Rights;

/// A session's watch.
pub struct AccountWatch {
    pub viewer: AccountId,
    pub accounts: Vec<AccountId>,
    /// What an access list gives the viewer.
    pub rights: Box<RightsOf>,
    /// `false`: no session hears it any more.
    pub bell: Box<dyn Fn(Notice) -> bool>,
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

/// What a group did, before it is applied; rung behind that.
#[derive(Default)]
pub struct Notices(Vec<Happened>);

/// One thing, for all watches of the account.
struct Happened {
    account: AccountId,
    notice: Notice,
    whom: Whom,
}

/// Which watches hear of it, and how much.
enum Whom {
    All,
    /// Those of the account itself.
    Owner,
    /// Those too whose viewers this access list of the folder lets see it.
    ByRights(Option<AccessList>),
    /// Those of others whose rights to see or read the folder changed: its list before, and now.
    Changed(Option<AccessList>, AccessList),
}

impl Notices {
    pub fn ring(&self, watchers: &RefCell<AccountWatchers>) {
        let mut gone = Vec::new();
        let borrowed = watchers.borrow();
        for happened in &self.0 {
            for (key, watch) in borrowed.of(happened.account) {
                if let Some(notice) = happened.seen_by(watch)
                    && !(watch.bell)(notice)
                {
                    gone.push(*key);
                }
            }
        }
        drop(borrowed);
        for key in gone {
            watchers.borrow_mut().remove(key);
        }
    }

    /// For tests.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    fn add(&mut self, account: AccountId, notice: Notice, whom: Whom) {
        // A group of deliveries into one mailbox.
        let last = self.0.last().map(|last| &last.notice);
        if !(matches!(notice, Notice::Messages { .. }) && last == Some(&notice)) {
            self.0.push(Happened {
                account,
                notice,
                whom,
            });
        }
    }
}

impl Happened {
    fn seen_by(&self, watch: &AccountWatch) -> Option<Notice> {
        let is_own = watch.viewer == self.account;
        let rights = |list: Option<&AccessList>| match is_own {
            true => Rights::ALL,
            false => (watch.rights)(list),
        };
        let notice = || self.notice.clone();
        match &self.whom {
            Whom::All => Some(notice()),
            Whom::Owner => is_own.then(notice),
            Whom::ByRights(list) => {
                let rights = rights(list.as_ref());
                let is_seen = rights.contains(Rights::LOOKUP);
                match notice() {
                    Notice::Named {
                        account,
                        name,
                        from,
                    } => Some(Notice::Named {
                        account,
                        name,
                        from: from.filter(|_| is_seen),
                    }),
                    notice @ Notice::Unnamed { .. } => is_seen.then_some(notice),
                    notice => (is_seen && rights.contains(Rights::READ)).then_some(notice),
                }
            }
            Whom::Changed(list, now) => {
                let (had, has) = (rights(list.as_ref()), rights(Some(now)));
                let differ = |right| had.contains(right) != has.contains(right);
                let is_changed = differ(Rights::LOOKUP) || differ(Rights::READ);
                let mut notice = (!is_own && is_changed).then(notice)?;
                if let Notice::Access { before, .. } = &mut notice {
                    *before = had;
                }
                Some(notice)
            }
        }
    }
}

impl AccountWatchers {
    /// Something happened that was not seen record by record.
    pub fn ring_everything(&self) {
        let watches = self.kept.values();
        // One that is gone is found by the next notice.
        watches.for_each(|watch| _ = (watch.bell)(Notice::Everything));
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
                notices.add(account, Notice::Everything, Whom::All);
            }
            return notices;
        }
        for entry in entries {
            match entry {
                Entry::Message(entry) => self.of_messages(state, entry, &mut notices),
                Entry::Folder(entry) => self.of_folder(state, entry, &mut notices),
                Entry::Tree(entry) => of_tree(entry, &mut notices),
                Entry::Access(entry) => self.of_access(state, entry, &mut notices),
                // The same once more, so that older records may go; and what is placed beside the mark of a large copy has records of its own.
                Entry::Snapshot(_) | Entry::Copying(_) => {}
            }
        }
        notices
    }

    /// Whom to tell of a folder, by its access list. Where it is not in memory, the session's look asks for the rights.
    fn by_rights(&self, state: &State, account: AccountId, mailbox: MailboxId) -> Whom {
        let mut watches = self.of(account).iter();
        if watches.all(|(_, watch)| watch.viewer == account) {
            return Whom::All;
        }
        match tree_of(state, account) {
            Some(tree) => Whom::ByRights(tree.access.lists.get(&mailbox).cloned()),
            None => Whom::All,
        }
    }

    fn of_folder(&self, state: &State, entry: &FolderEntry, notices: &mut Notices) {
        match entry {
            FolderEntry::Create { account, name, .. } => {
                let (account, name) = (*account, name.clone());
                let from = None;
                let named = Notice::Named {
                    account,
                    name,
                    from,
                };
                notices.add(account, named, Whom::All);
            }
            FolderEntry::Rename {
                account,
                mailbox,
                from,
                to,
                moved_at,
                ..
            } => {
                let named = Notice::Named {
                    account: *account,
                    name: to.clone(),
                    from: Some(from.clone()),
                };
                notices.add(*account, named, self.by_rights(state, *account, *mailbox));
                // Another UIDVALIDITY.
                if moved_at.is_some() {
                    let messages = Notice::Messages {
                        account: *account,
                        mailbox: *mailbox,
                        count: true,
                        flags: true,
                    };
                    notices.add(*account, messages, Whom::All);
                }
            }
            FolderEntry::Delete {
                account,
                mailbox,
                name,
                ..
            } => {
                let unnamed = Notice::Unnamed {
                    account: *account,
                    name: name.clone(),
                };
                let whom = self.by_rights(state, *account, *mailbox);
                notices.add(*account, unnamed, whom);
            }
        }
    }

    fn of_access(&self, state: &State, entry: &AccessEntry, notices: &mut Notices) {
        match entry {
            // All of its folders have other names for those who see some.
            AccessEntry::Shared { account, .. } => {
                notices.add(*account, Notice::Everything, Whom::All);
            }
            AccessEntry::List {
                account,
                mailbox,
                list,
            } => {
                let mut watches = self.of(*account).iter();
                if watches.all(|(_, watch)| watch.viewer == *account) {
                    return;
                }
                let tree = tree_of(state, *account);
                let before = tree.and_then(|tree| tree.access.lists.get(mailbox));
                let mut folders = tree.into_iter().flat_map(|tree| &tree.folders);
                // One that this group makes has no name yet, and is told of by it.
                let Some((name, _)) = folders.find(|(_, folder)| folder.mailbox == *mailbox) else {
                    return;
                };
                let access = Notice::Access {
                    account: *account,
                    mailbox: *mailbox,
                    name: name.clone(),
                    before: Rights::NONE,
                };
                let whom = Whom::Changed(before.cloned(), list.clone());
                notices.add(*account, access, whom);
            }
            AccessEntry::Note {
                account,
                mailbox,
                name,
                ..
            } => {
                let noted = Notice::Noted {
                    account: *account,
                    mailbox: *mailbox,
                    name: name.clone(),
                };
                // What is private is the owner's; what is noted about the account too.
                let is_shared = *mailbox != MailboxId(0) && name.starts_with("/shared/");
                let whom = match is_shared {
                    true => self.by_rights(state, *account, *mailbox),
                    false => Whom::Owner,
                };
                notices.add(*account, noted, whom);
            }
        }
    }

    fn of_messages(&self, state: &State, entry: &MessageEntry, notices: &mut Notices) {
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
        if self.of(account).is_empty() {
            return;
        }
        let messages = Notice::Messages {
            account,
            mailbox,
            count,
            flags: !count,
        };
        notices.add(account, messages, self.by_rights(state, account, mailbox));
    }
}

fn tree_of(state: &State, account: AccountId) -> Option<&Tree> {
    state.accounts.get(&account).and_then(|entry| entry.live())
}

fn of_tree(entry: &TreeEntry, notices: &mut Notices) {
    match entry {
        TreeEntry::Subscribe { account, name, .. } => {
            let subscribed = Notice::Subscribed { name: name.clone() };
            notices.add(*account, subscribed, Whom::Owner);
        }
        TreeEntry::Remove { account, .. } => {
            notices.add(*account, Notice::Everything, Whom::All);
        }
        TreeEntry::Put { .. } | TreeEntry::Snapshot { .. } => {}
    }
}
