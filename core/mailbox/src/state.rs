//! What is in memory: a cache over the projection, plus everything newer than it.
//!
//! Invariants between calls:
//! * memory over projection = f(log up to `applied`). `apply` (`record.rs`) is the only writer of what clients see.
//! * of a loaded mailbox, exactly the messages of chunks `>= loaded_from` are in memory; a change happens only there.
//! * what differs from the projection carries the epoch of its last change. A checkpoint collects all of it and, once
//!   durable, clears what has no later epoch. An entry that carries one, or is pinned, is never evicted.
//!
//! No I/O here: `load` brings rows in, `checkpoint` takes rows out (`state/rows.rs`); `state/cache.rs` says what may leave.

mod cache;
mod digests;
mod mailbox;
mod rows;
mod shares;
mod unfinished;

pub use digests::{DigestCounts, Digests};
pub use mailbox::{MailboxEntry, count};
pub use rows::{Cleared, Writing};
pub use unfinished::Unfinished;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use mail::{ModSeq, Uid, UidValidity};
use store::{BodyRef, Lsn};
use volume::RecordAddress;

use crate::limits::{
    CACHE_BYTES_MIN, CHUNK_MESSAGES, DIGESTS_SHARE, DIRTY_MAILBOXES_MIN, DIRTY_MESSAGES_MAX,
    RELOCATED_MAX,
};
use crate::row::{Chunk, Counters, Tree, Who};
use crate::{AccountId, MailboxId, Message};

/// Counts checkpoints; the present one is what changes are stamped with.
pub type Epoch = u64;

/// Nothing is evicted but in `evict`: what was just brought in stays until the caller has pinned it.
pub struct State {
    /// Mailboxes in memory, loaded from some chunk on.
    pub mailboxes: HashMap<MailboxId, MailboxEntry>,
    pub accounts: HashMap<AccountId, AccountEntry>,
    /// Whom each account gives rights to; of every account that does, in memory or not.
    pub shares: BTreeMap<AccountId, BTreeSet<Who>>,
    /// Of all of them: bounded by `SHARES_MAX` where a list is changed.
    pub shares_count: usize,
    /// What access lists and notes of the accounts in memory take.
    account_beside_bytes: usize,
    /// COPYs that placed some of their messages and not all, by target and first UID.
    pub unfinished: BTreeMap<(MailboxId, Uid), Unfinished>,
    /// Those that differ from the projection.
    unfinished_dirty: BTreeMap<(MailboxId, Uid), Epoch>,
    /// Deleted, with chunk rows still to be cleared away.
    pub condemned: BTreeMap<MailboxId, Condemned>,
    /// The latest epoch in which one of them changed.
    condemned_dirty: Option<Epoch>,
    /// Numbers given by durable records.
    pub counters: Counters,
    /// The epoch in which `counters` changed.
    counters_dirty: Option<Epoch>,
    /// Numbers given to operations that are not yet durable count here.
    pub assigned: Counters,
    /// The last group applied.
    pub applied: Lsn,
    epoch: Epoch,
    /// Mailboxes that differ from the projection.
    dirty_mailboxes: HashSet<MailboxId>,
    /// Accounts that differ from the projection.
    dirty_accounts: HashSet<AccountId>,
    /// Messages that differ from the projection, in all mailboxes: bounded by `DIRTY_MESSAGES_MAX`.
    dirty_messages: usize,
    /// Mailboxes whose watchers are to be told, until the caller takes them.
    pub rung: Vec<(MailboxId, ModSeq)>,
    /// Bodies that lost a reference, until the caller takes them.
    pub dropped: Vec<BodyRef>,
    /// Where reclaim moved bodies lately, by their old address.
    relocated: HashMap<RecordAddress, BodyRef>,
    /// Arrival order of `relocated`.
    relocated_order: VecDeque<RecordAddress>,
    /// The bound of `cached_bytes`: what digests are sure of is kept free.
    cache_bytes_max: usize,
    /// The bound of `cached_bytes` and `digests` together.
    all_bytes_max: usize,
    /// Digests of messages that were read lately: they have what loaded mailboxes leave.
    pub digests: Digests,
    /// Memory of all loaded messages.
    cached_bytes: usize,
    /// Arrival order of `mailboxes`.
    mailbox_clock: VecDeque<MailboxId>,
    /// Arrival order of `accounts`.
    account_clock: VecDeque<AccountId>,
}

/// Rows of a deleted mailbox.
pub struct Condemned {
    /// The row that remembers it is to be written.
    pub dirty: Option<Epoch>,
    /// Chunks before it are cleared.
    pub cleared_to: Chunk,
}

/// What memory has about one account's mailboxes.
#[derive(Default)]
pub struct AccountEntry {
    /// `None`: no such account.
    pub tree: Option<Tree>,
    /// The sum over its mailboxes, for the quota.
    pub used_bytes: u64,
    /// Promised to deliveries that are not durable yet.
    pub reserved_bytes: Rc<Cell<u64>>,
    /// The epoch of the tree's last change; `None` when the projection has it.
    pub tree_dirty: Option<Epoch>,
    /// The epoch of the last change of `used_bytes`.
    pub used_dirty: Option<Epoch>,
    /// The epoch in which those that it shares with changed.
    pub shares_dirty: Option<Epoch>,
    /// Operations that need it in memory.
    pub pins: Rc<Cell<u32>>,
    /// A removal is on its way to the log: nothing new may come in behind it.
    pub closing: Rc<Cell<bool>>,
    /// Second chance: cleared by `evict`, set by a look-up.
    used_lately: bool,
    /// What it counts for beside the usual.
    charged_bytes: usize,
}

impl AccountEntry {
    /// Whether the next checkpoint writes a row of it.
    pub fn is_dirty(&self) -> bool {
        self.tree_dirty.is_some() || self.used_dirty.is_some() || self.shares_dirty.is_some()
    }
    /// `None` when the account does not exist or is being removed.
    pub fn live(&self) -> Option<&Tree> {
        self.tree.as_ref().filter(|_| !self.closing.get())
    }
}

impl State {
    /// Empty, as before the first record.
    pub fn new(cache_bytes: usize) -> State {
        let all_bytes_max = cache_bytes.max(CACHE_BYTES_MIN);
        State {
            mailboxes: HashMap::new(),
            accounts: HashMap::new(),
            shares: BTreeMap::new(),
            shares_count: 0,
            account_beside_bytes: 0,
            unfinished: BTreeMap::new(),
            unfinished_dirty: BTreeMap::new(),
            condemned: BTreeMap::new(),
            condemned_dirty: None,
            counters: Counters::FIRST,
            counters_dirty: None,
            assigned: Counters::FIRST,
            applied: Lsn(0),
            epoch: 1,
            dirty_mailboxes: HashSet::new(),
            dirty_accounts: HashSet::new(),
            dirty_messages: 0,
            rung: Vec::new(),
            dropped: Vec::new(),
            relocated: HashMap::new(),
            relocated_order: VecDeque::new(),
            cache_bytes_max: (all_bytes_max - all_bytes_max / DIGESTS_SHARE).max(CACHE_BYTES_MIN),
            all_bytes_max,
            digests: Digests::default(),
            cached_bytes: 0,
            mailbox_clock: VecDeque::new(),
            account_clock: VecDeque::new(),
        }
    }

    /// Into the cache. The clock gets its turn; the turns of mailboxes that were forgotten meanwhile fall out in `evict`.
    pub fn insert_mailbox(&mut self, mailbox: MailboxId, entry: MailboxEntry) {
        if self.mailboxes.insert(mailbox, entry).is_none() {
            self.mailbox_clock.push_back(mailbox);
        }
        self.charge(mailbox);
    }

    /// As `insert_mailbox`, for accounts.
    pub fn insert_account(&mut self, account: AccountId, entry: AccountEntry) {
        match self.accounts.insert(account, entry) {
            None => self.account_clock.push_back(account),
            Some(before) => self.account_beside_bytes -= before.charged_bytes,
        }
        self.charge_account(account);
    }

    /// Takes a deleted mailbox out of memory.
    pub fn forget_mailbox(&mut self, mailbox: MailboxId) -> Option<MailboxEntry> {
        let entry = self.mailboxes.remove(&mailbox)?;
        self.cached_bytes -= entry.charged_bytes;
        self.dirty_mailboxes.remove(&mailbox);
        Some(entry)
    }

    // Marks.

    /// The mailbox's head is written by the next checkpoint.
    pub fn touch_head(&mut self, mailbox: MailboxId) {
        if let Some(entry) = self.mailboxes.get_mut(&mailbox) {
            entry.head_dirty = Some(self.epoch);
            self.dirty_mailboxes.insert(mailbox);
        }
    }

    /// The head and the chunks of `uids` differ from the projection now.
    pub fn touch_messages(&mut self, mailbox: MailboxId, uids: impl IntoIterator<Item = Uid>) {
        if let Some(entry) = self.mailboxes.get_mut(&mailbox) {
            let mut last = None;
            for uid in uids {
                let chunk = Chunk::of(uid);
                assert!(
                    chunk >= entry.loaded_from,
                    "a change happens only to what is loaded"
                );
                if last != Some(chunk) {
                    entry.dirty_chunks.insert(chunk, self.epoch);
                    last = Some(chunk);
                }
                self.dirty_messages += 1;
            }
        }
        self.touch_head(mailbox);
        self.charge(mailbox);
    }

    /// The mailbox lost these messages with `modseq`, ascending; all that can go is loaded, and with it what went before.
    pub fn note_gone(
        &mut self,
        mailbox: MailboxId,
        modseq: ModSeq,
        uids: impl Iterator<Item = Uid>,
    ) {
        let Some(entry) = self.mailboxes.get_mut(&mailbox) else {
            return;
        };
        for uid in uids {
            let gone = entry.gone.as_mut();
            gone.expect("it is loaded with what can go")
                .note(modseq, uid);
            entry.gone_dirty = Some(self.epoch);
        }
    }

    /// What the mailbox lost up to `modseq` is forgotten.
    pub fn forget_gone(&mut self, mailbox: MailboxId, modseq: ModSeq) {
        if let Some(entry) = self.mailboxes.get_mut(&mailbox) {
            let gone = entry.gone.as_mut();
            gone.expect("it is loaded with the messages").forget(modseq);
            entry.gone_dirty = Some(self.epoch);
        }
    }

    /// The account's tree is written by the next checkpoint.
    pub fn touch_account(&mut self, account: AccountId) {
        if let Some(entry) = self.accounts.get_mut(&account) {
            entry.tree_dirty = Some(self.epoch);
            self.dirty_accounts.insert(account);
        }
    }

    /// The account uses so much more or less.
    pub fn use_bytes(&mut self, account: AccountId, change_bytes: i64) {
        if let Some(entry) = self.accounts.get_mut(&account) {
            entry.used_bytes = entry.used_bytes.saturating_add_signed(change_bytes);
            entry.used_dirty = Some(self.epoch);
            self.dirty_accounts.insert(account);
        }
    }

    /// The mailbox was deleted: its chunk rows are cleared away later, a part at a time.
    pub fn condemn(&mut self, mailbox: MailboxId) {
        self.condemned.insert(
            mailbox,
            Condemned {
                dirty: Some(self.epoch),
                cleared_to: Chunk(0),
            },
        );
        self.condemned_dirty = Some(self.epoch);
        self.forget_copies(mailbox);
    }

    /// These numbers are taken.
    pub fn raise_counters(&mut self, mailbox: Option<MailboxId>) {
        let before = self.counters;
        if let Some(MailboxId(mailbox)) = mailbox {
            self.counters.mailbox_next = self.counters.mailbox_next.max(MailboxId(mailbox + 1));
        }
        if self.counters != before {
            self.counters_dirty = Some(self.epoch);
        }
        self.assigned.mailbox_next = self.assigned.mailbox_next.max(self.counters.mailbox_next);
    }

    /// An account was removed that gave UIDVALIDITYs up to this one.
    pub fn raise_removed(&mut self, uid_validity: UidValidity) {
        if uid_validity > self.counters.uid_validity_removed {
            self.counters.uid_validity_removed = uid_validity;
            self.counters_dirty = Some(self.epoch);
        }
    }

    /// `old` moved to `new`: sessions that still hold `old` are helped to it for a while.
    pub fn note_relocated(&mut self, old: RecordAddress, new: BodyRef) {
        if self.relocated.insert(old, new).is_none() {
            self.relocated_order.push_back(old);
            if self.relocated_order.len() > RELOCATED_MAX
                && let Some(oldest) = self.relocated_order.pop_front()
            {
                self.relocated.remove(&oldest);
            }
        }
    }
    /// Where reclaim brought this body since, however often it moved.
    pub fn relocated(&self, body: &BodyRef) -> Option<&BodyRef> {
        let mut found = self.relocated.get(&body.body)?;
        while let Some(next) = self.relocated.get(&found.body) {
            // Ends: an address holds its segment's generation, so none is used twice.
            found = next;
        }
        Some(found)
    }

    // Looking up.

    /// As a look-up: the mailbox survives the next `evict`.
    pub fn mailbox_used(&mut self, mailbox: MailboxId) -> Option<&mut MailboxEntry> {
        let entry = self.mailboxes.get_mut(&mailbox)?;
        entry.used_lately = true;
        Some(entry)
    }
    /// As a look-up: the account survives the next `evict`.
    pub fn account_used(&mut self, account: AccountId) -> Option<&mut AccountEntry> {
        let entry = self.accounts.get_mut(&account)?;
        entry.used_lately = true;
        Some(entry)
    }

    #[cfg(test)]
    pub fn dirty_messages(&self) -> usize {
        self.dirty_messages
    }
    /// Whether at least `part` in four of what may wait for a checkpoint waits.
    pub fn is_behind(&self, part: usize) -> bool {
        let mailboxes_max = (self.cache_bytes_max / TAIL_BYTES_MAX).max(DIRTY_MAILBOXES_MIN);
        self.dirty_messages >= DIRTY_MESSAGES_MAX / 4 * part
            || self.dirty_mailboxes.len() >= mailboxes_max / 4 * part
    }
    /// Rows that the next checkpoint writes, about.
    pub fn dirty_rows(&self) -> u64 {
        let chunks = |mailbox| {
            self.mailboxes
                .get(mailbox)
                .map_or(0, |entry| entry.dirty_chunks.len())
        };
        let of_mailboxes: usize = self
            .dirty_mailboxes
            .iter()
            .map(|mailbox| 2 + chunks(mailbox))
            .sum();
        let copies = self.unfinished_dirty.len();
        (of_mailboxes + 3 * self.dirty_accounts.len() + self.condemned.len() + copies) as u64
    }
    /// Whether a checkpoint has anything to write.
    pub fn is_dirty(&self) -> bool {
        !self.dirty_mailboxes.is_empty()
            || !self.dirty_accounts.is_empty()
            || self.counters_dirty.is_some()
            || self.condemned_dirty.is_some()
            || !self.unfinished_dirty.is_empty()
    }
    #[cfg(test)]
    pub fn shrink_cache(&mut self, cache_bytes_max: usize) {
        self.cache_bytes_max = cache_bytes_max;
    }
    pub fn cached_bytes(&self) -> usize {
        self.cached_bytes
    }
}

/// The part of `messages` (ascending) that belongs to `chunk`.
pub fn of_chunk(messages: &[Message], chunk: Chunk) -> &[Message] {
    let from = messages.partition_point(|message| Chunk::of(message.uid) < chunk);
    let to = messages.partition_point(|message| Chunk::of(message.uid) <= chunk);
    &messages[from..to]
}

/// A mailbox with only its last chunk in memory; one that is dirty cannot be let go.
const TAIL_BYTES_MAX: usize = 1_024 + CHUNK_MESSAGES as usize * size_of::<Message>();
