//! What reclaim asks: which bodies still count, where references must point after a move, and which records would be lost.
//!
//! The mark walks the projection's chunk rows once, taking memory's word for what is in memory. Mail moves while it walks, so
//! two things are watched from before the mark until the pass is over: a COPY never carries a reference past the mark unseen
//! (`note_placed`), and a COPY made while bodies move writes the new place (`moved`).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::poll_fn;
use std::task::Poll;

use mail::Uid;
use store::{BodyRef, LocalFuture, Lsn, Purpose, Record, StoreFault};
use volume::{RecordAddress, SegmentIndex};

use crate::copying::CopyEntry;
use crate::hold::Hold;
use crate::inner::{Inner, broken, store_fault};
use crate::limits::{
    GROUP_MESSAGE_BYTES_MAX, MARK_ROWS_PER_READ, RELOCATE_MAILBOXES_PER_GROUP,
    SNAPSHOT_MESSAGES_AT_ONCE, SNAPSHOTS_AT_ONCE,
};
use crate::message::MessageEntry;
use crate::noun::Depth;
use crate::pass::Pass;
use crate::record::Entry;
use crate::row;
use crate::snapshot::MailboxSnapshot;
use crate::state::Unfinished;
use crate::tree::TreeEntry;
use crate::{AccountId, MailboxFault, MailboxId, Mailboxes};

impl store::Tenant for Inner {
    fn live_bodies<'a>(
        &'a self,
        segments: &'a [SegmentIndex],
    ) -> LocalFuture<'a, Result<Vec<BodyRef>, StoreFault>> {
        Box::pin(async move { self.mark(segments).await.map_err(store_fault) })
    }

    fn moved<'a>(
        &'a self,
        pairs: Vec<(BodyRef, BodyRef)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>> {
        let mailboxes = self.mailboxes();
        Box::pin(async move { mailboxes.redirect(pairs).await.map_err(store_fault) })
    }

    fn moved_bytes(&self, bodies: &[&BodyRef]) -> u64 {
        let pass = self.pass.borrow();
        let wanted = pass.as_ref().map(|pass| &pass.wanted);
        let places = |body: &&BodyRef| Some(wanted?.get(&body.body)?.places.len());
        let count: usize = bodies.iter().filter_map(places).sum();
        (count * RELOCATION_BYTES_MAX) as u64
    }

    fn carried_bytes<'a>(
        &'a self,
        records: &'a [(Lsn, Record)],
    ) -> LocalFuture<'a, Result<u64, StoreFault>> {
        let mailboxes = self.mailboxes();
        Box::pin(async move { mailboxes.weigh(records).await.map_err(store_fault) })
    }

    fn carry_forward<'a>(
        &'a self,
        records: Vec<(Lsn, Record)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>> {
        let mailboxes = self.mailboxes();
        Box::pin(async move { mailboxes.carry(records).await.map_err(store_fault) })
    }
}

impl Inner {
    /// Every live body that may be in `segments`, by one walk of all chunk rows.
    async fn mark(&self, segments: &[SegmentIndex]) -> Result<Vec<BodyRef>, MailboxFault> {
        self.marks.set(self.marks.get() + 1);
        let mut pass = Pass::new(segments);
        // COPYs under way are seen here, later ones by `note_placed`.
        for (mailbox, uid, body) in self.placing.borrow().values().flatten() {
            pass.note(*mailbox, *uid, body);
        }
        *self.pass.borrow_mut() = Some(pass);

        let mut from = Vec::new();
        let mut in_memory = HashSet::new();
        let mut messages = Vec::new();
        loop {
            // until the table ends
            let rows = self
                .store
                .range(row::CHUNKS, from, vec![0xff; 13], MARK_ROWS_PER_READ)
                .await
                .map_err(crate::inner::unavailable)?;
            let complete = rows.len() < MARK_ROWS_PER_READ;
            from = rows
                .last()
                .map_or(Vec::new(), |(key, _)| [key.as_slice(), &[0]].concat());
            let state = self.state.borrow();
            let mut pass = self.pass.borrow_mut();
            let pass = pass.as_mut().ok_or_else(|| {
                MailboxFault::Unavailable("two reclaim passes at once".to_owned())
            })?;
            for (key, value) in rows {
                let (mailbox, chunk) = row::read_chunk_key(&key).map_err(broken)?;
                if state.condemned.contains_key(&mailbox) {
                    continue;
                }
                if let Some(entry) = state.mailboxes.get(&mailbox) {
                    // Looked at in this very turn: it may be written back and leave memory before the walk ends.
                    if in_memory.insert(mailbox) {
                        pass.note_placed(mailbox, &entry.messages);
                    }
                    if chunk >= entry.loaded_from {
                        continue;
                    }
                }
                messages.clear();
                row::read_messages(&mut base::cursor::Reader::new(&value), &mut messages)
                    .map_err(broken)?;
                pass.note_placed(mailbox, &messages);
            }
            if complete {
                // Mailboxes without rows as yet.
                for (mailbox, entry) in state
                    .mailboxes
                    .iter()
                    .filter(|(mailbox, _)| !in_memory.contains(mailbox))
                {
                    pass.note_placed(*mailbox, &entry.messages);
                }
                let wanted = pass.wanted.values();
                let mut live: Vec<BodyRef> = wanted.map(|wanted| wanted.body.clone()).collect();
                // They are read in this order: as they are on the legs, and the same each time a seed is replayed.
                live.sort_unstable_by_key(|body| body.body);
                return Ok(live);
            }
        }
    }
}

impl Mailboxes {
    /// Points messages at the new places of their bodies, mailbox by mailbox.
    async fn redirect(&self, pairs: Vec<(BodyRef, BodyRef)>) -> Result<(), MailboxFault> {
        let places: Vec<RecordAddress> = pairs.iter().map(|(old, _)| old.body).collect();
        {
            let mut pass = self.inner.pass.borrow_mut();
            let pass = pass.as_mut().ok_or_else(|| {
                MailboxFault::Unavailable("bodies moved without a mark".to_owned())
            })?;
            pass.moved
                .extend(pairs.into_iter().map(|(old, new)| (old.body, new)));
        }
        // From here on COPYs write the new place. Those under way wrote the old one: they come to rest first.
        self.rest_of_copies().await;
        let mut by_mailbox: BTreeMap<MailboxId, BTreeSet<Uid>> = BTreeMap::new();
        if let Some(pass) = self.inner.pass.borrow().as_ref() {
            for (mailbox, uid) in places
                .iter()
                .filter_map(|place| pass.wanted.get(place))
                .flat_map(|wanted| &wanted.places)
            {
                by_mailbox.entry(*mailbox).or_default().insert(*uid);
            }
        }
        let mut left: Vec<(MailboxId, BTreeSet<Uid>)> = by_mailbox.into_iter().collect();
        while !left.is_empty() {
            let some = left.split_off(left.len().saturating_sub(RELOCATE_MAILBOXES_PER_GROUP));
            let mut holds = Vec::new();
            for (mailbox, uids) in some {
                let lowest = uids.first().copied().unwrap_or(Uid(u32::MAX));
                match self.inner.hold_mailbox(mailbox, Depth::From(lowest)).await {
                    Ok(hold) => holds.push((mailbox, uids, hold)),
                    Err(MailboxFault::NoMailbox) => {}
                    Err(fault) => return Err(fault),
                }
            }
            for group in self.relocations(&holds) {
                self.inner
                    .commit(Vec::new(), group, Hold::default())
                    .await?;
            }
        }
        Ok(())
    }

    /// Waits until the COPYs that were under way at the call have ended. Later ones write the new places by themselves.
    async fn rest_of_copies(&self) {
        let before = self.inner.placing_next.get();
        while self
            .inner
            .placing
            .borrow()
            .keys()
            .any(|ticket| *ticket < before)
        {
            self.inner.settled.wait().await;
        }
    }

    /// Entries that point the held mailboxes' messages at the new places, in groups that fit a batch.
    fn relocations(&self, holds: &[(MailboxId, BTreeSet<Uid>, Hold)]) -> Vec<Vec<Entry>> {
        let state = self.inner.state.borrow();
        let pass = self.inner.pass.borrow();
        let Some(pass) = pass.as_ref() else {
            return Vec::new();
        };
        let mut groups = vec![Vec::new()];
        let mut bytes = 0;
        for (mailbox, uids, _) in holds {
            let Some(entry) = state.mailboxes.get(mailbox) else {
                continue;
            };
            let new_place = |uid: &Uid| Some((*uid, pass.moved(&entry.find(*uid)?.body)?.clone()));
            let bodies: Vec<(Uid, BodyRef)> = uids.iter().filter_map(new_place).collect();
            for bodies in bodies.chunks(RELOCATIONS_PER_RECORD) {
                bytes += bodies.len() * RELOCATION_BYTES_MAX;
                if bytes > GROUP_MESSAGE_BYTES_MAX {
                    groups.push(Vec::new());
                    bytes = bodies.len() * RELOCATION_BYTES_MAX;
                }
                let group = groups.last_mut().expect("there is always one");
                let relocate = MessageEntry::Relocate {
                    mailbox: *mailbox,
                    bodies: bodies.to_vec(),
                };
                group.push(relocate.into());
            }
        }
        groups.retain(|group| !group.is_empty());
        groups
    }

    /// Bytes that `carry` would append for `records`, at most.
    async fn weigh(&self, records: &[(Lsn, Record)]) -> Result<u64, MailboxFault> {
        let said = Said::in_records(records)?;
        let mut bytes = said.removed.len() * REMOVAL_BYTES_MAX;
        for (account, lsn) in &said.accounts {
            let _hold = self.inner.hold_tree(*account).await?;
            let state = self.inner.state.borrow();
            let row = state.accounts.get(account).and_then(|entry| entry.live());
            if let Some(row) = row.filter(|row| row.snapshot <= *lsn) {
                let mut encoded = Vec::new();
                row.encode(&mut encoded);
                bytes += encoded.len() + SNAPSHOT_BYTES;
            }
        }
        for (mailbox, lsn) in &said.mailboxes {
            let _hold = match self.inner.hold_mailbox(*mailbox, Depth::Head).await {
                Ok(hold) => hold,
                Err(MailboxFault::NoMailbox) => continue,
                Err(fault) => return Err(fault),
            };
            let state = self.inner.state.borrow();
            let head = state.mailboxes.get(mailbox).map(|entry| &entry.head);
            if let Some(head) = head.filter(|head| head.snapshot <= *lsn) {
                bytes += SNAPSHOT_BYTES + head.messages as usize * SNAPSHOT_MESSAGE_BYTES;
                let copies = state.copies_into(*mailbox);
                bytes += copies
                    .map(|(_, copy)| 48 + 10 * copy.ranges.len())
                    .sum::<usize>();
            }
        }
        Ok(bytes as u64)
    }

    /// Writes again what would be lost with `records`. What a later snapshot covers is lost without harm.
    async fn carry(&self, records: Vec<(Lsn, Record)>) -> Result<(), MailboxFault> {
        let said = Said::in_records(&records)?;
        drop(records);
        let counters = self.inner.state.borrow().counters;
        let again = said.removed.into_iter().map(|account| TreeEntry::Remove {
            account,
            mailbox_next: counters.mailbox_next,
            uid_validity_last: counters.uid_validity_removed,
        });
        for entry in again {
            self.carry_one(entry.into()).await?;
        }
        let mut together = Together::default();
        for (account, lsn) in said.accounts {
            together.push(1, Box::pin(self.snapshot_account(account, lsn)));
            together.run_if_many().await?;
        }
        for (mailbox, lsn) in said.mailboxes {
            let messages = match self.inner.hold_mailbox(mailbox, Depth::Head).await {
                Ok(_hold) => {
                    let state = self.inner.state.borrow();
                    let entry = state.mailboxes.get(&mailbox);
                    entry.map_or(0, |entry| entry.head.messages as usize)
                }
                Err(MailboxFault::NoMailbox) => continue,
                Err(fault) => return Err(fault),
            };
            together.push(messages, Box::pin(self.snapshot_mailbox(mailbox, lsn)));
            together.run_if_many().await?;
        }
        together.run().await
    }

    /// One record of its own, for what nothing else in the log says.
    async fn carry_one(&self, entry: Entry) -> Result<(), MailboxFault> {
        let (bodies, hold) = (Vec::new(), Hold::default());
        self.inner
            .commit_for(Purpose::Reclaim, bodies, vec![entry], hold)
            .await?;
        Ok(())
    }

    /// Unless a snapshot after `lsn` exists.
    async fn snapshot_account(&self, account: AccountId, lsn: Lsn) -> Result<(), MailboxFault> {
        // Every change of the row takes this lock until it is applied: what is read here is the row at this place of the log.
        let _locked = self
            .inner
            .locks
            .lock(crate::accounts::account_lock(account))
            .await;
        let hold = self.inner.hold_tree(account).await?;
        let entry = {
            let state = self.inner.state.borrow();
            let tree = state.accounts.get(&account).and_then(|entry| entry.live());
            let Some(tree) = tree.filter(|tree| tree.snapshot <= lsn) else {
                return Ok(());
            };
            TreeEntry::Snapshot {
                account,
                tree: tree.clone(),
                mailbox_next: state.counters.mailbox_next,
            }
        };
        let entries = vec![entry.into()];
        self.inner.commit(Vec::new(), entries, hold).await?;
        Ok(())
    }

    /// Unless a snapshot after `lsn` exists. The mailbox takes no new operations meanwhile: what is written is its state at that place
    /// of the log.
    async fn snapshot_mailbox(&self, mailbox: MailboxId, lsn: Lsn) -> Result<(), MailboxFault> {
        let mut freeze = match self.hold_open(mailbox, Depth::All).await {
            Ok(hold) => hold,
            Err(MailboxFault::NoMailbox) => return Ok(()),
            Err(fault) => return Err(fault),
        };
        {
            let state = self.inner.state.borrow();
            let Some(entry) = state
                .mailboxes
                .get(&mailbox)
                .filter(|entry| entry.head.snapshot <= lsn)
            else {
                return Ok(());
            };
            freeze.set(&entry.frozen, &self.inner.settled);
        }
        // Operations under way come to rest; frozen, no new ones begin.
        while self.inner.is_pending(mailbox) {
            self.inner.settled.wait().await;
        }
        let (parts, copies) = {
            let state = self.inner.state.borrow();
            let Some(entry) = state.mailboxes.get(&mailbox) else {
                return Ok(());
            };
            let parts = MailboxSnapshot::parts(mailbox, &entry.head, &entry.messages);
            let part = |(copy, unfinished): (Uid, &Unfinished)| CopyEntry::Part {
                mailbox,
                from: unfinished.from,
                copy,
                ranges: unfinished.ranges.clone(),
            };
            let copies: Vec<CopyEntry> = state.copies_into(mailbox).map(part).collect();
            (parts, copies)
        };
        let mut first_lsn = None;
        for mut part in parts {
            part.begun = first_lsn;
            let is_last = part.last;
            let mut entries: Vec<Entry> = vec![part.into()];
            if is_last {
                entries.extend(copies.iter().cloned().map(Entry::from));
            }
            let committed = self
                .inner
                .commit_for(Purpose::Reclaim, Vec::new(), entries, Hold::default())
                .await?;
            first_lsn.get_or_insert(committed.lsn);
        }
        drop(freeze);
        Ok(())
    }
}

/// Snapshots taken at once, so that they share a commit batch: alone each would take two blocks of the log.
#[derive(Default)]
struct Together<'a> {
    /// Those that were not run yet.
    running: Vec<LocalFuture<'a, Result<(), MailboxFault>>>,
    /// Messages in them.
    messages: usize,
}

impl<'a> Together<'a> {
    /// One more, to be run with the others.
    fn push(&mut self, messages: usize, snapshot: LocalFuture<'a, Result<(), MailboxFault>>) {
        self.messages += messages;
        self.running.push(snapshot);
    }

    /// Runs them once there are enough for a batch.
    async fn run_if_many(&mut self) -> Result<(), MailboxFault> {
        if self.running.len() >= SNAPSHOTS_AT_ONCE || self.messages >= SNAPSHOT_MESSAGES_AT_ONCE {
            self.run().await?;
        }
        Ok(())
    }

    /// Ends with the first fault, when all have come to their end.
    async fn run(&mut self) -> Result<(), MailboxFault> {
        let mut result = Ok(());
        self.messages = 0;
        let running = &mut self.running;
        poll_fn(|context| {
            running.retain_mut(|one| match one.as_mut().poll(context) {
                Poll::Ready(done) => {
                    result = std::mem::replace(&mut result, Ok(())).and(done);
                    false
                }
                Poll::Pending => true,
            });
            if running.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        result
    }
}

/// What records are about, each with the latest of them.
#[derive(Default)]
struct Said {
    /// Nothing else says that the account is gone, so this is kept for ever.
    removed: BTreeSet<AccountId>,
    /// Accounts that records are about.
    accounts: BTreeMap<AccountId, Lsn>,
    /// Mailboxes that records are about.
    mailboxes: BTreeMap<MailboxId, Lsn>,
}

impl Said {
    /// Reads the records of a segment that is to be freed.
    fn in_records(records: &[(Lsn, Record)]) -> Result<Said, MailboxFault> {
        let mut said = Said::default();
        for (lsn, record) in records {
            let entry = Entry::decode(record).map_err(broken)?;
            if let Entry::Tree(TreeEntry::Remove { account, .. }) = &entry {
                said.removed.insert(*account);
                continue;
            }
            if let Some(account) = entry.tree() {
                let latest = said.accounts.entry(account).or_insert(*lsn);
                *latest = (*lsn).max(*latest);
            }
            if let Some(mailbox) = entry.mailbox() {
                let latest = said.mailboxes.entry(mailbox).or_insert(*lsn);
                *latest = (*lsn).max(*latest);
            }
        }
        Ok(said)
    }
}

/// Of a snapshot: head or account, with the frame around it.
const SNAPSHOT_BYTES: usize = 512;
/// One message in a snapshot, without keywords: reference, dates, numbers.
const SNAPSHOT_MESSAGE_BYTES: usize = 112;
/// A removal, encoded, at most.
const REMOVAL_BYTES_MAX: usize = 64;
/// A body reference with its UID, encoded.
const RELOCATION_BYTES_MAX: usize = 160;
/// So many relocations fit one record.
const RELOCATIONS_PER_RECORD: usize = GROUP_MESSAGE_BYTES_MAX / RELOCATION_BYTES_MAX;
const _: () = assert!(RELOCATIONS_PER_RECORD > 0);
