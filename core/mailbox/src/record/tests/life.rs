//! A made-up life of a few accounts: things happen at random to what there is, live, and all of it is in a log.

use base::BodyName;
use mail::{Flags, InternalDate, Keyword, ModSeq, SystemFlags, Uid, UidValidity};
use store::{BodyRef, Codec, Lsn, Record};
use volume::{Generation, RecordAddress, SegmentIndex};

use crate::folder::FolderEntry;
use crate::message::MessageEntry;
use crate::outline::Outline;
use crate::record::Entry;
use crate::row::Chunk;
use crate::snapshot::MailboxSnapshot;
use crate::state::State;
use crate::tree::TreeEntry;
use crate::{AccountId, FlagChange, MailboxId, Message};

pub struct Group {
    pub lsn: Lsn,
    pub bodies: Vec<BodyRef>,
    pub records: Vec<Record>,
}

pub fn body(number: u64) -> BodyRef {
    let address = RecordAddress {
        segment: SegmentIndex(number as u32 / 100),
        generation: Generation(1),
        batch_block: number as u32,
        at: 4_096,
        bytes: 1_000,
        check: number,
    };
    BodyRef {
        name: BodyName::of(&number.to_le_bytes()),
        raw_bytes: 1_000 + number as u32,
        summary: RecordAddress {
            at: 8_192,
            bytes: 300,
            ..address
        },
        body: address,
        codec: Codec::Zstd,
    }
}

/// What must hold of every state.
pub fn check(state: &State) {
    for entry in state.mailboxes.values() {
        let messages = &entry.messages;
        let keyword_bytes: usize = messages.iter().map(Message::keyword_bytes).sum();
        assert_eq!(entry.keyword_bytes, keyword_bytes);
        if let Some(outline) = &entry.outline {
            assert_eq!(entry.loaded_from, Chunk(0));
            outline.check(messages);
        }
        assert!(messages.is_sorted_by(|a, b| a.uid < b.uid));
        assert!(
            messages
                .iter()
                .all(|message| message.uid < entry.head.uid_next)
        );
        assert!(
            messages
                .iter()
                .all(|message| message.modseq <= entry.head.highest_modseq)
        );
        if entry.loaded_from == Chunk(0) {
            let unseen = messages
                .iter()
                .filter(|message| !message.flags.system.contains(SystemFlags::SEEN))
                .count();
            let size_bytes: u64 = messages
                .iter()
                .map(|message| u64::from(message.size_bytes))
                .sum();
            assert_eq!(entry.head.messages as usize, messages.len());
            assert_eq!(entry.head.unseen as usize, unseen);
            assert_eq!(entry.head.size_bytes, size_bytes);
        }
    }
}

/// Does things at random, to what there is.
pub struct Life {
    pub random: fastrand::Rng,
    pub state: State,
    pub log: Vec<Group>,
    bodies_count: u64,
    accounts_count: u32,
}

impl Life {
    pub fn new(seed: u64) -> Life {
        let mut life = Life {
            random: fastrand::Rng::with_seed(seed),
            state: State::new(usize::MAX),
            log: Vec::new(),
            bodies_count: 0,
            accounts_count: 0,
        };
        for _ in 0..3 {
            life.add_account();
        }
        life
    }

    pub fn commit(&mut self, entries: Vec<Entry>, bodies: Vec<BodyRef>) {
        // Several groups may share one batch.
        let lsn = Lsn(self.state.applied.0 + self.random.u64(0..2));
        for entry in &entries {
            let _ = self.state.apply(lsn, entry, &bodies);
        }
        check(&self.state);
        self.log.push(Group {
            lsn,
            bodies,
            records: entries.iter().map(Entry::encode).collect(),
        });
    }

    fn add_account(&mut self) {
        self.accounts_count += 1;
        let account = AccountId(self.accounts_count);
        let mailbox = self.state.counters.mailbox_next;
        let entries = vec![
            TreeEntry::Put { account }.into(),
            FolderEntry::Create {
                account,
                mailbox,
                name: "INBOX".to_owned(),
                uid_validity: UidValidity(7),
                special_use: None,
            }
            .into(),
        ];
        self.commit(entries, Vec::new());
    }

    pub fn any_mailbox(&mut self) -> Option<(AccountId, String, MailboxId)> {
        let all: Vec<_> = self
            .state
            .accounts
            .iter()
            .filter_map(|(id, entry)| Some((*id, entry.tree.as_ref()?)))
            .flat_map(|(id, tree)| {
                tree.folders
                    .iter()
                    .map(move |(name, folder)| (id, name.clone(), folder.mailbox))
            })
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect();
        self.random.choice(all)
    }

    fn some_uids(&mut self, mailbox: MailboxId) -> Vec<Uid> {
        let entry = &self.state.mailboxes[&mailbox];
        let share = self.random.u8(1..10);
        entry
            .messages
            .iter()
            .map(|message| message.uid)
            .filter(|_| self.random.u8(0..10) < share)
            .collect()
    }

    pub fn step(&mut self) {
        let Some((account, name, mailbox)) = self.any_mailbox() else {
            return self.add_account();
        };
        let modseq =
            ModSeq(self.state.mailboxes[&mailbox].head.highest_modseq.0 + self.random.u64(1..3));
        let uids = self.some_uids(mailbox);
        if let Some(entry) = self.state.mailboxes.get_mut(&mailbox)
            && entry.loaded_from == Chunk(0)
            && self.random.u8(0..4) == 0
        {
            // As a client that opens it would.
            let outline = Outline::of(&entry.messages);
            entry.outline.get_or_insert(outline);
        }
        match self.random.u8(0..100) {
            0..45 => {
                self.bodies_count += 1;
                let bodies = vec![body(self.bodies_count)];
                let uid =
                    Uid(self.state.mailboxes[&mailbox].head.uid_next.0 + self.random.u32(0..20));
                let internal_date = InternalDate::utc(self.bodies_count as i64);
                let entry = MessageEntry::Deliver {
                    mailbox,
                    uid,
                    modseq,
                    flags: Flags::default(),
                    internal_date,
                    body_index: 0,
                    saved_s: self.random.u32(0..3),
                }
                .into();
                self.commit(vec![entry], bodies);
            }
            45..60 => {
                let system = SystemFlags(self.random.u8(0..32));
                let keywords = if self.random.bool() {
                    vec![Keyword::parse("Work").unwrap()]
                } else {
                    Vec::new()
                };
                let flags = Flags { system, keywords };
                let change = [FlagChange::Replace, FlagChange::Add, FlagChange::Remove]
                    [self.random.usize(0..3)];
                self.commit(
                    vec![
                        MessageEntry::Flag {
                            mailbox,
                            modseq,
                            change,
                            flags,
                            unchanged_since: None,
                            uids,
                        }
                        .into(),
                    ],
                    Vec::new(),
                );
            }
            60..70 => {
                let deleted_only = self.random.bool();
                self.commit(
                    vec![
                        MessageEntry::Expunge {
                            mailbox,
                            modseq,
                            deleted_only,
                            uids,
                        }
                        .into(),
                    ],
                    Vec::new(),
                );
            }
            70..80 => {
                let Some((_, _, target)) = self.any_mailbox() else {
                    return;
                };
                let to = &self.state.mailboxes[&target].head;
                let (uid_next, highest) = (to.uid_next.0, to.highest_modseq.0);
                let mut messages: Vec<Message> = uids
                    .iter()
                    .filter_map(|uid| self.state.mailboxes[&mailbox].find(*uid).cloned())
                    .collect();
                for (message, uid) in messages.iter_mut().zip(uid_next..) {
                    message.uid = Uid(uid);
                    message.modseq = ModSeq(highest + 1);
                }
                let mut entries = vec![
                    MessageEntry::Place {
                        mailbox: target,
                        messages,
                    }
                    .into(),
                ];
                if self.random.bool() {
                    entries.push(
                        MessageEntry::Expunge {
                            mailbox,
                            modseq: ModSeq(modseq.0 + 1),
                            deleted_only: false,
                            uids,
                        }
                        .into(),
                    );
                }
                self.commit(entries, Vec::new());
            }
            80..85 => {
                let name = format!("f{}", self.random.u8(..));
                if self.state.accounts[&account]
                    .tree
                    .as_ref()
                    .is_some_and(|row| !row.folders.contains_key(&name))
                {
                    let mailbox = self.state.counters.mailbox_next;
                    let uid_validity = UidValidity(8);
                    let entry = FolderEntry::Create {
                        account,
                        mailbox,
                        name,
                        uid_validity,
                        special_use: None,
                    }
                    .into();
                    self.commit(vec![entry], Vec::new());
                }
            }
            85..88 => {
                let to = format!("r{}", self.log.len());
                let moved_at = self.random.bool().then_some(modseq);
                let uid_validity = match moved_at {
                    Some(_) => UidValidity(8 + self.log.len() as u32),
                    None => self.state.mailboxes[&mailbox].head.uid_validity,
                };
                self.commit(
                    vec![
                        FolderEntry::Rename {
                            account,
                            mailbox,
                            from: name,
                            to,
                            uid_validity,
                            moved_at,
                        }
                        .into(),
                    ],
                    Vec::new(),
                );
            }
            88..91 => self.commit(
                vec![
                    FolderEntry::Delete {
                        account,
                        mailbox,
                        name,
                        uid_validity: UidValidity(8),
                    }
                    .into(),
                ],
                Vec::new(),
            ),
            91..93 => {
                let subscribed = self.random.bool();
                self.commit(
                    vec![
                        TreeEntry::Subscribe {
                            account,
                            name,
                            subscribed,
                        }
                        .into(),
                    ],
                    Vec::new(),
                );
            }
            93..95 => self.snapshot(account, mailbox),
            95 => {
                let mailbox_next = self.state.counters.mailbox_next;
                self.commit(
                    vec![
                        TreeEntry::Remove {
                            account,
                            mailbox_next,
                            uid_validity_last: UidValidity(self.log.len() as u32),
                        }
                        .into(),
                    ],
                    Vec::new(),
                );
            }
            _ => self.add_account(),
        }
    }

    /// The account and the mailbox, the latter in two parts.
    pub fn snapshot(&mut self, account: AccountId, mailbox: MailboxId) {
        let tree = self.state.accounts[&account]
            .tree
            .clone()
            .expect("a mailbox has an account");
        let mailbox_next = self.state.counters.mailbox_next;
        self.commit(
            vec![
                TreeEntry::Snapshot {
                    account,
                    tree,
                    mailbox_next,
                }
                .into(),
            ],
            Vec::new(),
        );
        let head = self.state.mailboxes[&mailbox].head.clone();
        let messages = self.state.mailboxes[&mailbox].messages.clone();
        let middle = Uid(head.uid_next.0 / 2);
        let split = messages.partition_point(|message| message.uid < middle);
        let part = |from, to, begun, messages: &[Message]| {
            MailboxSnapshot {
                mailbox,
                head: head.clone(),
                from,
                to,
                begun,
                last: begun.is_some(),
                messages: messages.to_vec(),
            }
            .into()
        };
        self.commit(
            vec![part(Uid(0), middle, None, &messages[..split])],
            Vec::new(),
        );
        let begun = Some(self.state.applied);
        self.commit(
            vec![part(middle, Uid(u32::MAX), begun, &messages[split..])],
            Vec::new(),
        );
        assert_eq!(self.state.mailboxes[&mailbox].messages, messages);
    }
}
