//! A made-up life of a few accounts, applied live; the same log, replayed over any checkpoint taken on the way or over nothing at
//! all, must give the same projection byte for byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::BodyName;
use mail::{Flags, InternalDate, Keyword, ModSeq, SystemFlags, Uid, UidValidity};
use store::{Codec, Record, Table};
use volume::{Generation, RecordAddress, SegmentIndex};

use super::*;
use crate::FlagChange;
use crate::load::{Needs, wanted};
use crate::opening::Outline;
use crate::row::{self, Chunk};

type Projection = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

struct Group {
    lsn: Lsn,
    bodies: Vec<BodyRef>,
    records: Vec<Record>,
}

fn body(number: u64) -> BodyRef {
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

fn checkpoint(state: &mut State, projection: &mut Projection) {
    let collected = state.collect();
    for change in &collected.changes {
        match &change.value {
            Some(value) => _ = projection.insert((change.table, change.key.clone()), value.clone()),
            None => _ = projection.remove(&(change.table, change.key.clone())),
        }
    }
    state.settle(&collected);
    assert!(!state.is_dirty());
    assert_eq!(state.dirty_messages(), 0);
}

fn open(projection: &Projection, cache_bytes: usize) -> State {
    let mut state = State::new(cache_bytes);
    if let Some(counters) = projection.get(&(row::COUNTERS, Vec::new())) {
        state.install_counters(counters).unwrap();
    }
    for (table, key) in projection.keys() {
        if *table == row::CONDEMNED {
            state.install_condemned(key).unwrap();
        }
    }
    state
}

/// What `load` does, without waiting.
fn load(state: &mut State, projection: &Projection, entry: &Entry) {
    let needs = Needs::of(entry);
    let mut accounts: Vec<AccountId> = needs.accounts.into_iter().flatten().collect();
    if let Some((mailbox, depth)) = needs.mailbox
        && !state.condemned.contains_key(&mailbox)
    {
        let key = row::mailbox_key(mailbox);
        if !state.mailboxes.contains_key(&mailbox)
            && let Some(head) = projection.get(&(row::HEADS, key))
        {
            state.install_head(mailbox, head).unwrap();
        }
        if let Some(entry) = state.mailboxes.get(&mailbox) {
            accounts.push(entry.head.account);
            if let Some(from) = wanted(entry, depth) {
                let from_key = (row::CHUNKS, row::chunk_key(mailbox, from));
                let to_key = (row::CHUNKS, row::chunk_key(mailbox, entry.loaded_from));
                let rows = projection.range(from_key..to_key);
                let rows: Vec<_> = rows
                    .map(|((_, key), value)| (key.clone(), value.clone()))
                    .collect();
                state.install_chunks(mailbox, from, &rows).unwrap();
            }
        }
    }
    for account in accounts {
        if !state.accounts.contains_key(&account) {
            let key = row::account_key(account);
            let row = projection.get(&(row::TREES, key.clone()));
            let usage = projection.get(&(row::USAGE, key));
            state
                .install_account(account, row.map(Vec::as_slice), usage.map(Vec::as_slice))
                .unwrap();
        }
    }
}

fn replay(projection: &Projection, log: &[Group]) -> Projection {
    let rebuild = projection.is_empty();
    let mut projection = projection.clone();
    let mut state = open(&projection, 0);
    for group in log {
        for record in &group.records {
            let entry = Entry::decode(record).unwrap();
            load(&mut state, &projection, &entry);
            let _ = state.apply(group.lsn, &entry, &group.bodies);
            check(&state);
        }
        state.evict();
    }
    if rebuild {
        let mailboxes: Vec<MailboxId> = state.mailboxes.keys().copied().collect();
        mailboxes
            .into_iter()
            .for_each(|mailbox| state.drop_orphan(mailbox));
    }
    checkpoint(&mut state, &mut projection);
    projection
}

/// Equal row by row, but for chunks of deleted mailboxes: nobody looks at those and they go when there is time.
fn assert_same(left: &Projection, right: &Projection, what: &str) {
    let visible = |projection: &Projection, (table, key): &(Table, Vec<u8>)| {
        *table != row::CHUNKS || projection.contains_key(&(row::HEADS, key[..8].to_vec()))
    };
    let rows = |projection: &Projection| -> Projection {
        let visible = projection
            .iter()
            .filter(|(key, _)| visible(projection, key));
        visible
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let (left, right) = (rows(left), rows(right));
    let keys: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
    for key in keys {
        assert_eq!(
            left.get(key),
            right.get(key),
            "{what}: table {} key {:?}",
            key.0.0,
            key.1
        );
    }
}

/// What must hold of every state.
fn check(state: &State) {
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
struct Life {
    random: fastrand::Rng,
    state: State,
    log: Vec<Group>,
    bodies_count: u64,
    accounts_count: u32,
}

impl Life {
    fn new(seed: u64) -> Life {
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

    fn commit(&mut self, entries: Vec<Entry>, bodies: Vec<BodyRef>) {
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
            Entry::TreePut { account },
            Entry::MailboxCreate {
                account,
                mailbox,
                name: "INBOX".to_owned(),
                uid_validity: UidValidity(7),
                special_use: None,
            },
        ];
        self.commit(entries, Vec::new());
    }

    fn any_mailbox(&mut self) -> Option<(AccountId, String, MailboxId)> {
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

    fn step(&mut self) {
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
                let entry = Entry::Deliver {
                    mailbox,
                    uid,
                    modseq,
                    flags: Flags::default(),
                    internal_date,
                    body_index: 0,
                };
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
                    vec![Entry::Flag {
                        mailbox,
                        modseq,
                        change,
                        flags,
                        uids,
                    }],
                    Vec::new(),
                );
            }
            60..70 => {
                let deleted_only = self.random.bool();
                self.commit(
                    vec![Entry::Expunge {
                        mailbox,
                        modseq,
                        deleted_only,
                        uids,
                    }],
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
                let mut entries = vec![Entry::Place {
                    mailbox: target,
                    messages,
                }];
                if self.random.bool() {
                    entries.push(Entry::Expunge {
                        mailbox,
                        modseq: ModSeq(modseq.0 + 1),
                        deleted_only: false,
                        uids,
                    });
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
                    let entry = Entry::MailboxCreate {
                        account,
                        mailbox,
                        name,
                        uid_validity,
                        special_use: None,
                    };
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
                    vec![Entry::MailboxRename {
                        account,
                        mailbox,
                        from: name,
                        to,
                        uid_validity,
                        moved_at,
                    }],
                    Vec::new(),
                );
            }
            88..91 => self.commit(
                vec![Entry::MailboxDelete {
                    account,
                    mailbox,
                    name,
                    uid_validity: UidValidity(8),
                }],
                Vec::new(),
            ),
            91..93 => {
                let subscribed = self.random.bool();
                self.commit(
                    vec![Entry::Subscribe {
                        account,
                        name,
                        subscribed,
                    }],
                    Vec::new(),
                );
            }
            93..95 => self.snapshot(account, mailbox),
            95 => {
                let mailbox_next = self.state.counters.mailbox_next;
                self.commit(
                    vec![Entry::TreeRemove {
                        account,
                        mailbox_next,
                        uid_validity_last: UidValidity(self.log.len() as u32),
                    }],
                    Vec::new(),
                );
            }
            _ => self.add_account(),
        }
    }

    /// The account and the mailbox, the latter in two parts.
    fn snapshot(&mut self, account: AccountId, mailbox: MailboxId) {
        let tree = self.state.accounts[&account]
            .tree
            .clone()
            .expect("a mailbox has an account");
        let mailbox_next = self.state.counters.mailbox_next;
        self.commit(
            vec![Entry::TreeSnapshot {
                account,
                tree,
                mailbox_next,
            }],
            Vec::new(),
        );
        let head = self.state.mailboxes[&mailbox].head.clone();
        let messages = self.state.mailboxes[&mailbox].messages.clone();
        let middle = Uid(head.uid_next.0 / 2);
        let split = messages.partition_point(|message| message.uid < middle);
        let part = |from, to, begun, messages: &[Message]| Entry::MailboxSnapshot {
            mailbox,
            head: head.clone(),
            from,
            to,
            begun,
            last: begun.is_some(),
            messages: messages.to_vec(),
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

#[test]
fn replay_gives_the_state_that_was_live() {
    for seed in 0..40 {
        let mut life = Life::new(seed);
        let mut projection = Projection::new();
        let mut checkpoints = vec![(0, projection.clone())];
        for _ in 0..200 {
            life.step();
            if life.random.u8(0..20) == 0 {
                checkpoint(&mut life.state, &mut projection);
                checkpoints.push((life.log.len(), projection.clone()));
            }
        }
        checkpoint(&mut life.state, &mut projection);
        for (groups_count, earlier) in &checkpoints {
            let replayed = replay(earlier, &life.log[*groups_count..]);
            assert_same(
                &replayed,
                &projection,
                &format!("seed {seed}, from group {groups_count}"),
            );
        }
    }
}

/// DESIGN.md A6: the projection may be thrown away. Records older than the latest snapshot of what they are about may be gone from the
/// log by then; the rest must give the same mailboxes.
#[test]
fn a_log_without_what_snapshots_cover_gives_the_same_mailboxes() {
    for seed in 100..140 {
        let mut life = Life::new(seed);
        (0..150).for_each(|_| life.step());
        while let Some((account, _, mailbox)) = life
            .any_mailbox()
            .filter(|(_, _, mailbox)| life.state.mailboxes[mailbox].head.snapshot == Lsn(0))
        {
            life.snapshot(account, mailbox);
        }
        (0..50).for_each(|_| life.step());
        let kept = |lsn: Lsn, record: &Record| {
            let entry = Entry::decode(record).unwrap();
            let account = entry
                .tree()
                .and_then(|id| life.state.accounts.get(&id)?.tree.as_ref());
            let mailbox = entry.mailbox().and_then(|id| life.state.mailboxes.get(&id));
            let covered = account.is_none_or(|tree| lsn < tree.snapshot)
                && mailbox.is_none_or(|entry| lsn < entry.head.snapshot);
            !covered || matches!(entry, Entry::TreeRemove { .. })
        };
        // Whole segments go, not single records: keep a random half of those that could go.
        let mut random = fastrand::Rng::with_seed(seed);
        let log: Vec<Group> = life
            .log
            .iter()
            .map(|group| Group {
                lsn: group.lsn,
                bodies: group.bodies.clone(),
                records: group
                    .records
                    .iter()
                    .filter(|record| kept(group.lsn, record) || random.bool())
                    .cloned()
                    .collect(),
            })
            .collect();
        assert!(
            log.iter().map(|group| group.records.len()).sum::<usize>()
                < life.log.iter().map(|group| group.records.len()).sum()
        );
        let mut whole = Projection::new();
        checkpoint(&mut life.state, &mut whole);
        let mut rebuilt = replay(&Projection::new(), &log);
        for projection in [&mut whole, &mut rebuilt] {
            projection.retain(|(table, _), _| *table != row::CONDEMNED);
        }
        assert_same(&rebuilt, &whole, &format!("seed {seed}"));
    }
}

#[test]
fn two_flag_changes_in_one_batch_do_not_undo_each_other() {
    let mut life = Life::new(1);
    let (_, _, mailbox) = life.any_mailbox().unwrap();
    let deliver = Entry::Deliver {
        mailbox,
        uid: Uid(1),
        modseq: ModSeq(2),
        flags: Flags::default(),
        internal_date: InternalDate::utc(0),
        body_index: 0,
    };
    life.commit(vec![deliver], vec![body(1)]);
    for (modseq, flag) in [(3, SystemFlags::SEEN), (4, SystemFlags::FLAGGED)] {
        let entry = Entry::Flag {
            mailbox,
            modseq: ModSeq(modseq),
            change: FlagChange::Add,
            flags: Flags::system(flag),
            uids: vec![Uid(1)],
        };
        life.commit(vec![entry], Vec::new());
    }
    let message = life.state.mailboxes[&mailbox].find(Uid(1)).unwrap();
    assert_eq!(
        message.flags.system,
        SystemFlags::SEEN.with(SystemFlags::FLAGGED)
    );
    assert_eq!(message.modseq, ModSeq(4));
    assert_eq!(life.state.mailboxes[&mailbox].head.unseen, 0);
}

#[test]
fn what_is_dirty_or_pinned_is_not_evicted() {
    let mut life = Life::new(2);
    let mut projection = Projection::new();
    (0..300).for_each(|_| life.step());
    let mut state = open(&projection, 0);
    for group in &life.log {
        for record in &group.records {
            let entry = Entry::decode(record).unwrap();
            load(&mut state, &projection, &entry);
            let _ = state.apply(group.lsn, &entry, &group.bodies);
        }
    }
    let count = state.mailboxes.len();
    for _ in 0..count {
        state.evict();
    }
    assert_eq!(
        state.mailboxes.len(),
        count,
        "all of it is newer than the projection"
    );
    checkpoint(&mut state, &mut projection);
    let pinned = *state.mailboxes.keys().next().unwrap();
    state.mailboxes[&pinned].pins.set(1);
    state.shrink_cache(0);
    for _ in 0..count {
        state.evict();
    }
    assert_eq!(state.mailboxes.keys().collect::<Vec<_>>(), [&pinned]);
    assert!(state.cached_bytes() > 0);
}

#[test]
fn uids_are_found_as_one_by_one() {
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..300 {
        let count = random.u32(0..200);
        let mut entry = MailboxEntry::of(Head::new(AccountId(1), UidValidity(1)));
        entry.messages = Arc::new(crate::row::tests::messages(&mut random, count));
        let share = random.u8(1..20);
        let uids: Vec<Uid> = (0..500)
            .filter(|_| random.u8(0..20) < share)
            .map(Uid)
            .collect();
        let found: Vec<Uid> = entry
            .indexes_of(&uids)
            .into_iter()
            .map(|index| entry.messages[index].uid)
            .collect();
        let expected: Vec<Uid> = uids
            .into_iter()
            .filter(|uid| entry.find(*uid).is_some())
            .collect();
        assert_eq!(found, expected);
    }
}
