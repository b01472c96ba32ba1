//! What is in memory: a cache over the projection, plus everything newer than it.
//!
//! Invariants between calls:
//! * memory over projection = f(log up to `applied`). `apply` is the only writer of what clients see.
//! * of a loaded mailbox, exactly the messages of chunks `>= loaded_from` are in memory; a change happens only there.
//! * what differs from the projection carries the epoch of its last change. A checkpoint collects all of it and, once
//!   durable, clears what has no later epoch. An entry that carries one, or is pinned, is never evicted.
//!
//! No I/O here: `load` brings rows in, `checkpoint` takes rows out (`state/rows.rs`); `state/cache.rs` says what may leave.

mod cache;
mod rows;

pub use rows::Collected;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use mail::{ModSeq, Uid, UidValidity, spelling};
use store::{BodyRef, Lsn};
use volume::RecordAddress;

use crate::limits::{
    CACHE_BYTES_MIN, CHUNK_MESSAGES, DIRTY_MAILBOXES_MIN, DIRTY_MESSAGES_MAX, HISTORY_MAX,
    KEY_CACHE_MAX, RELOCATED_MAX,
};
use crate::opening::Outline;
use crate::row::{AccountRow, Chunk, Counters, Head};
use crate::{AccountId, MailboxId, Message};

/// Counts checkpoints; the present one is what changes are stamped with.
pub type Epoch = u64;

/// Nothing is evicted but in `evict`: what was just brought in stays until the caller has pinned it.
pub struct State {
    pub mailboxes: HashMap<MailboxId, MailboxEntry>,
    pub accounts: HashMap<AccountId, AccountEntry>,
    pub domains: BTreeMap<String, Domain>,
    domains_dirty: Option<Epoch>,
    /// Address keys that changed since the projection was written.
    pub keys: BTreeMap<String, (Option<AccountId>, Epoch)>,
    /// Answers of the projection, for addresses looked up lately.
    key_cache: HashMap<String, Option<AccountId>>,
    key_clock: VecDeque<String>,
    /// Deleted, with chunk rows still to be cleared away.
    pub condemned: BTreeMap<MailboxId, Condemned>,
    condemned_dirty: Option<Epoch>,
    pub counters: Counters,
    counters_dirty: Option<Epoch>,
    /// Numbers given to operations that are not yet durable count here.
    pub assigned: Counters,
    /// The last group applied.
    pub applied: Lsn,
    epoch: Epoch,
    dirty_mailboxes: HashSet<MailboxId>,
    dirty_accounts: HashSet<AccountId>,
    dirty_messages: usize,
    /// Mailboxes whose watchers are to be told, until the caller takes them.
    pub rung: Vec<(MailboxId, ModSeq)>,
    /// Bodies that lost a reference, until the caller takes them.
    pub dropped: Vec<BodyRef>,
    relocated: HashMap<RecordAddress, BodyRef>,
    relocated_order: VecDeque<RecordAddress>,
    cache_bytes_max: usize,
    cached_bytes: usize,
    mailbox_clock: VecDeque<MailboxId>,
    account_clock: VecDeque<AccountId>,
}

pub struct Domain {
    pub present: bool,
    pub accounts: u64,
    pub dirty: Option<Epoch>,
}

/// Rows of a deleted mailbox.
pub struct Condemned {
    /// The row that remembers it is to be written.
    pub dirty: Option<Epoch>,
    /// Chunks before it are cleared.
    pub cleared_to: Chunk,
}

#[derive(Default)]
pub struct AccountEntry {
    /// `None`: no such account.
    pub row: Option<AccountRow>,
    pub used_bytes: u64,
    /// Promised to deliveries that are not durable yet.
    pub reserved_bytes: Rc<Cell<u64>>,
    pub row_dirty: Option<Epoch>,
    pub used_dirty: Option<Epoch>,
    pub pins: Rc<Cell<u32>>,
    /// A removal is on its way to the log: nothing new may come in behind it.
    pub closing: Rc<Cell<bool>>,
    used_lately: bool,
}

pub struct MailboxEntry {
    pub head: Head,
    /// Ascending by UID; all of chunks `>= loaded_from`.
    pub messages: Arc<Vec<Message>>,
    pub loaded_from: Chunk,
    /// Of the keywords of `messages`. Kept with every change to them: a delivery must not look at all messages.
    pub keyword_bytes: usize,
    /// Changes after `history_floor`, oldest first. An expunged message is one that is no longer in `messages`.
    pub history: VecDeque<(ModSeq, Uid)>,
    pub history_floor: ModSeq,
    /// Only while all messages are in memory; `None`: nobody asked since some were taken out.
    pub outline: Option<Outline>,
    pub head_dirty: Option<Epoch>,
    pub dirty_chunks: BTreeMap<Chunk, Epoch>,
    /// As `head.uid_next` and `head.highest_modseq`, operations that are not yet durable included.
    pub assigned_uid_next: Uid,
    pub assigned_modseq: ModSeq,
    /// Operations assigned and not yet applied.
    pub pending: Rc<Cell<u32>>,
    /// UIDs that an operation not yet durable will take away for certain.
    pub leaving: Rc<RefCell<BTreeSet<Uid>>>,
    pub pins: Rc<Cell<u32>>,
    /// A deletion is on its way to the log: nothing new may come in behind it.
    pub closing: Rc<Cell<bool>>,
    /// A snapshot is being taken: new operations wait.
    pub frozen: Rc<Cell<bool>>,
    used_lately: bool,
    charged_bytes: usize,
}

impl MailboxEntry {
    /// A mailbox of which only the head is in memory.
    pub fn of(head: Head) -> MailboxEntry {
        MailboxEntry {
            messages: Arc::default(),
            loaded_from: Chunk::of(head.uid_next).next(),
            keyword_bytes: 0,
            history: VecDeque::new(),
            history_floor: head.highest_modseq,
            outline: None,
            head_dirty: None,
            dirty_chunks: BTreeMap::new(),
            assigned_uid_next: head.uid_next,
            assigned_modseq: head.highest_modseq,
            pending: Rc::default(),
            leaving: Rc::default(),
            pins: Rc::default(),
            closing: Rc::default(),
            frozen: Rc::default(),
            used_lately: true,
            charged_bytes: 0,
            head,
        }
    }
    pub fn is_dirty(&self) -> bool {
        self.head_dirty.is_some() || !self.dirty_chunks.is_empty()
    }
    /// Where in `messages` those of `uids` (ascending) are that exist.
    pub fn indexes_of(&self, uids: &[Uid]) -> Vec<usize> {
        let mut indexes = Vec::with_capacity(uids.len().min(self.messages.len()));
        let mut from = 0;
        for uid in uids {
            // Doubling steps: a run of neighbours costs one step each, a few among many a binary search each.
            let mut step = 1;
            while from + step < self.messages.len() && self.messages[from + step].uid <= *uid {
                from += step;
                step *= 2;
            }
            let to = (from + step).min(self.messages.len());
            from += self.messages[from..to].partition_point(|message| message.uid < *uid);
            if self
                .messages
                .get(from)
                .is_some_and(|message| message.uid == *uid)
            {
                indexes.push(from);
            }
        }
        indexes
    }
    /// The message in memory with this UID.
    pub fn find(&self, uid: Uid) -> Option<&Message> {
        let index = self
            .messages
            .binary_search_by_key(&uid, |message| message.uid)
            .ok()?;
        Some(&self.messages[index])
    }
    pub fn next_modseq(&mut self) -> ModSeq {
        self.assigned_modseq = ModSeq(self.assigned_modseq.0 + 1);
        self.assigned_modseq
    }
    pub fn note_history(&mut self, modseq: ModSeq, uid: Uid) {
        if self.history.len() == HISTORY_MAX
            && let Some((modseq, _)) = self.history.pop_front()
        {
            self.history_floor = self.history_floor.max(modseq);
        }
        self.history.push_back((modseq, uid));
    }
    fn memory_bytes(&self) -> usize {
        size_of::<MailboxEntry>()
            + ENTRY_OVERHEAD_BYTES
            + self.messages.capacity() * size_of::<Message>()
            + self.keyword_bytes
            + self.history.capacity() * size_of::<(ModSeq, Uid)>()
            + self.outline.as_ref().map_or(0, Outline::memory_bytes)
    }
}

impl AccountEntry {
    pub fn is_dirty(&self) -> bool {
        self.row_dirty.is_some() || self.used_dirty.is_some()
    }
    /// `None` when the account does not exist or is being removed.
    pub fn live(&self) -> Option<&AccountRow> {
        self.row.as_ref().filter(|_| !self.closing.get())
    }
}

impl State {
    pub fn new(cache_bytes: usize) -> State {
        State {
            mailboxes: HashMap::new(),
            accounts: HashMap::new(),
            domains: BTreeMap::new(),
            domains_dirty: None,
            keys: BTreeMap::new(),
            key_cache: HashMap::new(),
            key_clock: VecDeque::new(),
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
            cache_bytes_max: cache_bytes.max(CACHE_BYTES_MIN),
            cached_bytes: 0,
            mailbox_clock: VecDeque::new(),
            account_clock: VecDeque::new(),
        }
    }

    pub fn insert_mailbox(&mut self, mailbox: MailboxId, entry: MailboxEntry) {
        if self.mailboxes.insert(mailbox, entry).is_none() {
            self.mailbox_clock.push_back(mailbox);
        }
        self.charge(mailbox);
    }

    pub fn insert_account(&mut self, account: AccountId, entry: AccountEntry) {
        if self.accounts.insert(account, entry).is_none() {
            self.account_clock.push_back(account);
        }
    }

    /// Takes a deleted mailbox out of memory.
    pub fn forget_mailbox(&mut self, mailbox: MailboxId) -> Option<MailboxEntry> {
        let entry = self.mailboxes.remove(&mailbox)?;
        self.cached_bytes -= entry.charged_bytes;
        self.dirty_mailboxes.remove(&mailbox);
        Some(entry)
    }

    // Marks.

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

    pub fn touch_account(&mut self, account: AccountId) {
        if let Some(entry) = self.accounts.get_mut(&account) {
            entry.row_dirty = Some(self.epoch);
            self.dirty_accounts.insert(account);
        }
    }

    pub fn use_bytes(&mut self, account: AccountId, change_bytes: i64) {
        if let Some(entry) = self.accounts.get_mut(&account) {
            entry.used_bytes = entry.used_bytes.saturating_add_signed(change_bytes);
            entry.used_dirty = Some(self.epoch);
            self.dirty_accounts.insert(account);
        }
    }

    pub fn touch_domain(&mut self, domain: &str) {
        if let Some(entry) = self.domains.get_mut(domain) {
            entry.dirty = Some(self.epoch);
            self.domains_dirty = Some(self.epoch);
        }
    }

    pub fn put_key(&mut self, key: String, account: Option<AccountId>) {
        self.key_cache.remove(&key);
        self.keys.insert(key, (account, self.epoch));
    }

    pub fn condemn(&mut self, mailbox: MailboxId) {
        self.condemned.insert(
            mailbox,
            Condemned {
                dirty: Some(self.epoch),
                cleared_to: Chunk(0),
            },
        );
        self.condemned_dirty = Some(self.epoch);
    }

    /// These numbers are taken.
    pub fn raise_counters(&mut self, account: Option<AccountId>, mailbox: Option<MailboxId>) {
        let before = self.counters;
        if let Some(AccountId(account)) = account {
            self.counters.account_next = self.counters.account_next.max(AccountId(account + 1));
        }
        if let Some(MailboxId(mailbox)) = mailbox {
            self.counters.mailbox_next = self.counters.mailbox_next.max(MailboxId(mailbox + 1));
        }
        if self.counters != before {
            self.counters_dirty = Some(self.epoch);
        }
        self.assigned.account_next = self.assigned.account_next.max(self.counters.account_next);
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
    /// The domain of ours that `domain` names in any of its spellings, as we have it.
    pub fn domain(&self, domain: &str) -> Option<(String, &Domain)> {
        let spellings = spelling::domains(domain);
        let mut found = spellings.into_iter().filter_map(|spelled| {
            let entry = self.domains.get(&spelled)?;
            entry.present.then_some((spelled, entry))
        });
        found.next()
    }
    pub fn relocated(&self, body: &BodyRef) -> Option<&BodyRef> {
        let mut found = self.relocated.get(&body.body)?;
        while let Some(next) = self.relocated.get(&found.body) {
            // Ends: an address holds its segment's generation, so none is used twice.
            found = next;
        }
        Some(found)
    }

    // Looking up.

    /// What is known in memory of an address key: `None` when only the projection knows.
    pub fn key(&self, key: &str) -> Option<Option<AccountId>> {
        if let Some((account, _)) = self.keys.get(key) {
            return Some(*account);
        }
        self.key_cache.get(key).copied()
    }
    pub fn cache_key(&mut self, key: String, account: Option<AccountId>) {
        if self.key_cache.insert(key.clone(), account).is_none() {
            self.key_clock.push_back(key);
            if self.key_clock.len() > KEY_CACHE_MAX
                && let Some(oldest) = self.key_clock.pop_front()
            {
                self.key_cache.remove(&oldest);
            }
        }
    }
    pub fn mailbox_used(&mut self, mailbox: MailboxId) -> Option<&mut MailboxEntry> {
        let entry = self.mailboxes.get_mut(&mailbox)?;
        entry.used_lately = true;
        Some(entry)
    }
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
            .map(|mailbox| 1 + chunks(mailbox))
            .sum();
        let small = self.domains.len().min(self.keys.len() + 1) + self.condemned.len();
        (of_mailboxes + 2 * self.dirty_accounts.len() + self.keys.len() + small) as u64
    }
    pub fn is_dirty(&self) -> bool {
        !self.dirty_mailboxes.is_empty()
            || !self.dirty_accounts.is_empty()
            || !self.keys.is_empty()
            || self.counters_dirty.is_some()
            || self.domains_dirty.is_some()
            || self.condemned_dirty.is_some()
    }
    #[cfg(test)]
    pub fn shrink_cache(&mut self, cache_bytes_max: usize) {
        self.cache_bytes_max = cache_bytes_max;
    }
    pub fn cached_bytes(&self) -> usize {
        self.cached_bytes
    }
}

/// The part of `messages` (ascending) that lies in `chunk`.
pub fn of_chunk(messages: &[Message], chunk: Chunk) -> &[Message] {
    let from = messages.partition_point(|message| Chunk::of(message.uid) < chunk);
    let to = messages.partition_point(|message| Chunk::of(message.uid) <= chunk);
    &messages[from..to]
}

/// Map slot, allocation headers and the small maps of one loaded mailbox.
const ENTRY_OVERHEAD_BYTES: usize = 256;
/// A mailbox with only its last chunk in memory; one that is dirty cannot be let go.
const TAIL_BYTES_MAX: usize = 1_024 + CHUNK_MESSAGES as usize * size_of::<Message>();
