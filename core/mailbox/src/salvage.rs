//! Mailboxes from the records of an orphan leg, whatever is missing among them. For `salvage` and `log dump`.
//!
//! The live rules (`apply.rs`) may rely on a log without gaps; these may not. A message whose mailbox is unknown gets one
//! by number, a mailbox whose account is unknown stays without; only what a record takes away explicitly is left out.

use std::collections::BTreeMap;

use mail::{Address, SystemFlags, Uid};
use store::{BodyRef, Lsn, Record};

use crate::record::Entry;
use crate::row::Tree;
use crate::{AccountId, FlagChange, MailboxId, Message};

/// Gathers records in any order; `finish` puts them in theirs.
#[derive(Default)]
pub struct Salvage {
    groups: Vec<(Lsn, Vec<Entry>, Vec<BodyRef>)>,
    accounts: directory::salvage::Salvage,
    /// Records that no rule of this version could read.
    pub unreadable: u64,
}

/// One mailbox as it was last known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalvagedMailbox {
    pub id: MailboxId,
    /// `None`: no record that is left says whose it was.
    pub account_id: Option<AccountId>,
    /// `None`: the records that named it are lost.
    pub account: Option<Address>,
    /// Its name, or `mailbox-N` where that is lost.
    pub name: String,
    /// Ascending by UID.
    pub messages: Vec<Message>,
}

#[derive(Default)]
struct State {
    mailboxes: BTreeMap<MailboxId, Known>,
}

#[derive(Default)]
struct Known {
    account: Option<AccountId>,
    name: Option<String>,
    messages: BTreeMap<Uid, Message>,
}

impl Salvage {
    /// Takes in one group of the log.
    pub fn note(&mut self, lsn: Lsn, records: &[Record], bodies: Vec<BodyRef>) {
        let mut entries = Vec::with_capacity(records.len());
        for record in records {
            if directory::share().owns(record) {
                self.unreadable += u64::from(!self.accounts.note(lsn, record));
                continue;
            }
            match Entry::decode(record) {
                Ok(entry) => entries.push(entry),
                Err(_) => self.unreadable += 1,
            }
        }
        if !entries.is_empty() {
            self.groups.push((lsn, entries, bodies));
        }
    }

    /// The mailboxes that hold messages, by account and name.
    pub fn finish(mut self) -> Vec<SalvagedMailbox> {
        // Stable: the groups of one batch keep their order. A batch found twice says the same twice.
        self.groups.sort_by_key(|(lsn, ..)| *lsn);
        let mut state = State::default();
        for (_, entries, bodies) in self.groups {
            for entry in entries {
                state.apply(entry, &bodies);
            }
        }
        let accounts = self.accounts.finish();
        let named = state
            .mailboxes
            .into_iter()
            .map(|(id, known)| SalvagedMailbox {
                id,
                account_id: known.account,
                account: known
                    .account
                    .and_then(|account| accounts.get(&account).cloned()),
                name: known.name.unwrap_or_else(|| format!("mailbox-{}", id.0)),
                messages: known.messages.into_values().collect(),
            });
        named
            .filter(|mailbox| !mailbox.messages.is_empty())
            .collect()
    }
}

impl State {
    fn apply(&mut self, entry: Entry, bodies: &[BodyRef]) {
        match entry {
            Entry::TreeRemove { account, .. } => {
                self.mailboxes
                    .retain(|_, known| known.account != Some(account));
            }
            Entry::TreeSnapshot { account, tree, .. } => self.set_tree(account, tree),
            Entry::MailboxCreate {
                account,
                mailbox,
                name,
                ..
            } => {
                let known = self.mailboxes.entry(mailbox).or_default();
                (known.account, known.name) = (Some(account), Some(name));
            }
            Entry::MailboxRename {
                account,
                mailbox,
                to,
                ..
            } => {
                let known = self.mailboxes.entry(mailbox).or_default();
                (known.account, known.name) = (Some(account), Some(to));
            }
            Entry::MailboxDelete { mailbox, .. } => {
                self.mailboxes.remove(&mailbox);
            }
            Entry::Deliver {
                mailbox,
                uid,
                modseq,
                flags,
                internal_date,
                body_index,
            } => {
                let Some(body) = bodies.get(body_index as usize) else {
                    return;
                };
                let size_bytes = body.raw_bytes;
                let message = Message {
                    uid,
                    modseq,
                    flags,
                    internal_date,
                    size_bytes,
                    body: body.clone(),
                };
                self.messages(mailbox).insert(uid, message);
            }
            Entry::Place { mailbox, messages } => {
                let placed = messages.into_iter().map(|message| (message.uid, message));
                self.messages(mailbox).extend(placed);
            }
            Entry::Flag {
                mailbox,
                change,
                flags,
                uids,
                ..
            } => {
                let messages = self.messages(mailbox);
                for uid in uids {
                    if let Some(message) = messages.get_mut(&uid) {
                        let system = &mut message.flags.system;
                        match change {
                            FlagChange::Replace => *system = flags.system,
                            FlagChange::Add => *system = system.with(flags.system),
                            FlagChange::Remove => *system = system.without(flags.system),
                        }
                    }
                }
            }
            Entry::Expunge {
                mailbox,
                deleted_only,
                uids,
                ..
            } => {
                let messages = self.messages(mailbox);
                for uid in uids {
                    let deleted =
                        |message: &Message| message.flags.system.contains(SystemFlags::DELETED);
                    if !deleted_only || messages.get(&uid).is_some_and(deleted) {
                        messages.remove(&uid);
                    }
                }
            }
            Entry::Relocate { mailbox, bodies } => {
                let messages = self.messages(mailbox);
                for (uid, body) in bodies {
                    if let Some(message) = messages.get_mut(&uid) {
                        message.body = body;
                    }
                }
            }
            Entry::MailboxSnapshot {
                mailbox,
                head,
                from,
                to,
                messages,
                ..
            } => {
                let known = self.mailboxes.entry(mailbox).or_default();
                known.account = Some(head.account);
                known.messages.retain(|uid, _| *uid < from || *uid >= to);
                known
                    .messages
                    .extend(messages.into_iter().map(|message| (message.uid, message)));
            }
            Entry::TreePut { .. } | Entry::Subscribe { .. } => {}
        }
    }

    fn messages(&mut self, mailbox: MailboxId) -> &mut BTreeMap<Uid, Message> {
        &mut self.mailboxes.entry(mailbox).or_default().messages
    }

    /// A snapshot lists every folder: what it does not list was deleted.
    fn set_tree(&mut self, account: AccountId, tree: Tree) {
        let listed = |mailbox: &MailboxId| {
            tree.folders
                .values()
                .any(|folder| folder.mailbox == *mailbox)
        };
        self.mailboxes
            .retain(|mailbox, known| known.account != Some(account) || listed(mailbox));
        for (name, folder) in &tree.folders {
            let known = self.mailboxes.entry(folder.mailbox).or_default();
            (known.account, known.name) = (Some(account), Some(name.clone()));
        }
    }
}

/// One record in a line, for people; without password hashes.
pub fn describe(record: &Record) -> String {
    let unreadable = || {
        let kind = record.kind.0;
        format!("a record of kind {kind} that this version cannot read")
    };
    if directory::share().owns(record) {
        return directory::salvage::describe(record).unwrap_or_else(unreadable);
    }
    match Entry::decode(record) {
        Err(_) => unreadable(),
        Ok(Entry::TreeSnapshot { account, tree, .. }) => {
            let folders = tree.folders.len();
            format!("TreeSnapshot {{ account: {account:?}, folders: {folders} }}")
        }
        Ok(Entry::Place { mailbox, messages }) => {
            format!(
                "Place {{ mailbox: {mailbox:?}, messages: {} }}",
                messages.len()
            )
        }
        Ok(Entry::Relocate { mailbox, bodies }) => {
            format!(
                "Relocate {{ mailbox: {mailbox:?}, bodies: {} }}",
                bodies.len()
            )
        }
        Ok(Entry::MailboxSnapshot {
            mailbox,
            from,
            to,
            last,
            messages,
            ..
        }) => format!(
            "MailboxSnapshot {{ mailbox: {mailbox:?}, uids: {}..{}, last: {last}, messages: {} }}",
            from.0,
            to.0,
            messages.len()
        ),
        Ok(entry) => format!("{entry:?}"),
    }
}

#[cfg(test)]
mod tests {
    use mail::{Flags, InternalDate, ModSeq, UidValidity};

    use super::*;

    fn body(text: &str) -> BodyRef {
        let nowhere = volume::RecordAddress {
            segment: volume::SegmentIndex(0),
            generation: volume::Generation(1),
            batch_block: 0,
            at: 4096,
            bytes: 0,
            check: 0,
        };
        BodyRef {
            name: base::BodyName::of(text.as_bytes()),
            raw_bytes: text.len() as u32,
            summary: nowhere,
            body: nowhere,
            codec: store::Codec::Raw,
        }
    }

    fn deliver(mailbox: u64, uid: u32) -> Entry {
        Entry::Deliver {
            mailbox: MailboxId(mailbox),
            uid: Uid(uid),
            modseq: ModSeq(u64::from(uid)),
            flags: Flags::default(),
            internal_date: InternalDate::utc(0),
            body_index: 0,
        }
    }

    /// The directory's kind.
    const ACCOUNT_PUT: u8 = 3;

    fn create() -> Vec<Entry> {
        let account = AccountId(7);
        vec![
            Entry::TreePut { account },
            Entry::MailboxCreate {
                account,
                mailbox: MailboxId(1),
                name: "INBOX".into(),
                uid_validity: UidValidity(1),
                special_use: None,
            },
        ]
    }

    fn note(salvage: &mut Salvage, lsn: u64, entries: &[Entry]) {
        let records: Vec<Record> = entries.iter().map(Entry::encode).collect();
        salvage.note(Lsn(lsn), &records, vec![body("hello")]);
    }

    #[test]
    fn groups_in_any_order_give_the_same_mailboxes() {
        let expunge = Entry::Expunge {
            mailbox: MailboxId(1),
            modseq: ModSeq(9),
            deleted_only: false,
            uids: vec![Uid(1)],
        };
        let mut salvage = Salvage::default();
        note(&mut salvage, 4, &[expunge]);
        note(&mut salvage, 3, &[deliver(1, 2)]);
        note(&mut salvage, 2, &[deliver(1, 1)]);
        note(&mut salvage, 1, &create());
        let records = directory::fuzzing::records().into_iter();
        let mut puts = records.filter(|record| record[0] == ACCOUNT_PUT);
        let put = puts.next().expect("a sample of an account, alice");
        let put = Record {
            kind: store::RecordKind(put[0]),
            payload: put[1..].to_vec().into(),
        };
        salvage.note(Lsn(1), &[put], vec![]);
        note(&mut salvage, 2, &[deliver(1, 1)]);
        let found = salvage.finish();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "INBOX");
        assert_eq!(
            found[0].account.as_ref().map(Address::key).as_deref(),
            Some("alice@example.org")
        );
        assert_eq!(
            found[0]
                .messages
                .iter()
                .map(|message| message.uid.0)
                .collect::<Vec<_>>(),
            [2]
        );
    }

    #[test]
    fn mail_without_its_mailbox_record_is_still_found() {
        let mut salvage = Salvage::default();
        note(&mut salvage, 7, &[deliver(5, 3)]);
        let found = salvage.finish();
        assert_eq!(
            (found[0].account.clone(), found[0].name.as_str()),
            (None, "mailbox-5")
        );
    }
}
