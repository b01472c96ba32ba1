//! A life, applied as it happens; the same log, replayed over any checkpoint taken on the way or over nothing at all, must give the same
//! projection byte for byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use mail::{Flags, InternalDate, ModSeq, SystemFlags, Uid, UidValidity};
use store::{Lsn, Record, Table};

use super::life::{Group, Life, body, check};
use crate::load::{wanted, wants_gone};
use crate::message::MessageEntry;
use crate::record::Entry;
use crate::row::{self, Head};
use crate::state::{MailboxEntry, State};
use crate::tree::TreeEntry;
use crate::{AccountId, FlagChange, MailboxId};

type Projection = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

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
    let needs = entry.needs();
    let mut accounts: Vec<AccountId> = needs.account.into_iter().collect();
    if let Some((mailbox, depth)) = needs.mailbox
        && !state.condemned.contains_key(&mailbox)
    {
        let key = row::mailbox_key(mailbox);
        if !state.mailboxes.contains_key(&mailbox)
            && let Some(head) = projection.get(&(row::HEADS, key))
        {
            state.install_head(mailbox, head).unwrap();
        }
        if state
            .mailboxes
            .get(&mailbox)
            .is_some_and(|entry| wants_gone(entry, depth))
        {
            let row = projection.get(&(row::GONE, row::mailbox_key(mailbox)));
            state.install_gone(mailbox, row.map(Vec::as_slice)).unwrap();
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

/// Equal row by row, but for chunks of deleted mailboxes: no reader looks at those, and a later checkpoint removes them.
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
            !covered || matches!(entry, Entry::Tree(TreeEntry::Remove { .. }))
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
    let deliver = MessageEntry::Deliver {
        mailbox,
        uid: Uid(1),
        modseq: ModSeq(2),
        flags: Flags::default(),
        internal_date: InternalDate::utc(0),
        body_index: 0,
        saved_s: 0,
    }
    .into();
    life.commit(vec![deliver], vec![body(1)]);
    for (modseq, flag) in [(3, SystemFlags::SEEN), (4, SystemFlags::FLAGGED)] {
        let entry = MessageEntry::Flag {
            mailbox,
            modseq: ModSeq(modseq),
            change: FlagChange::Add,
            flags: Flags::system(flag),
            unchanged_since: None,
            uids: vec![Uid(1)],
        }
        .into();
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
