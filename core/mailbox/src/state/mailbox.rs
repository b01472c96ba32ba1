//! One mailbox in memory, and how it comes and goes.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use mail::{ModSeq, SystemFlags, Uid};

use super::{Epoch, State};
use crate::limits::HISTORY_MAX;
use crate::outline::Outline;
use crate::row::{Chunk, Gone, Head, Tree};
use crate::{MailboxId, Message};

/// A mailbox with its newest messages, or with all of them.
pub struct MailboxEntry {
    pub head: Head,
    /// Ascending by UID; all of chunks `>= loaded_from`.
    pub messages: Arc<Vec<Message>>,
    /// The first chunk in memory; 0: all of them are.
    pub loaded_from: Chunk,
    /// Of the keywords of `messages`. Kept with every change to them: a delivery must not look at all messages.
    pub keyword_bytes: usize,
    /// Changes after `history_floor`, oldest first. An expunged message is one that is no longer in `messages`.
    pub history: VecDeque<(ModSeq, Uid)>,
    /// What happened up to here is not remembered.
    pub history_floor: ModSeq,
    /// What went, for clients that come back. In memory whenever more than the last chunk is: only then can anything go.
    pub gone: Option<Gone>,
    /// The epoch of the last change of `gone`; `None` when the projection has it.
    pub gone_dirty: Option<Epoch>,
    /// Only while all messages are in memory; `None`: no SELECT asked since some were taken out.
    pub outline: Option<Outline>,
    /// The epoch of the head's last change; `None` when the projection has it.
    pub head_dirty: Option<Epoch>,
    /// Chunks that differ from the projection.
    pub dirty_chunks: BTreeMap<Chunk, Epoch>,
    /// As `head.uid_next` and `head.highest_modseq`, operations that are not yet durable included.
    pub assigned_uid_next: Uid,
    /// See `assigned_uid_next`.
    pub assigned_modseq: ModSeq,
    /// Operations assigned and not yet applied.
    pub pending: Rc<Cell<u32>>,
    /// UIDs that an operation not yet durable will take away for certain.
    pub leaving: Rc<RefCell<BTreeSet<Uid>>>,
    /// Operations that need it in memory.
    pub pins: Rc<Cell<u32>>,
    /// A deletion is on its way to the log: nothing new may come in behind it.
    pub closing: Rc<Cell<bool>>,
    /// A snapshot is being taken: new operations wait.
    pub frozen: Rc<Cell<bool>>,
    /// Second chance: cleared by `evict`, set by a look-up.
    pub(super) used_lately: bool,
    /// What it counts for in the cache's bound.
    pub(super) charged_bytes: usize,
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
            gone: None,
            gone_dirty: None,
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
    /// Whether the next checkpoint writes a row of it.
    pub fn is_dirty(&self) -> bool {
        self.head_dirty.is_some() || self.gone_dirty.is_some() || !self.dirty_chunks.is_empty()
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
    /// A modification sequence for an operation that goes to the log in this turn.
    pub fn next_modseq(&mut self) -> ModSeq {
        self.assigned_modseq = ModSeq(self.assigned_modseq.0 + 1);
        self.assigned_modseq
    }
    /// A durable operation has this modification sequence.
    pub fn raise_modseq(&mut self, modseq: ModSeq) {
        self.head.highest_modseq = self.head.highest_modseq.max(modseq);
        self.assigned_modseq = self.assigned_modseq.max(modseq);
    }
    /// A message changed. Past `HISTORY_MAX` changes the oldest are forgotten: a client that knows nothing newer reads
    /// the mailbox again.
    pub fn note_history(&mut self, modseq: ModSeq, uid: Uid) {
        if self.history.len() == HISTORY_MAX
            && let Some((modseq, _)) = self.history.pop_front()
        {
            self.history_floor = self.history_floor.max(modseq);
        }
        self.history.push_back((modseq, uid));
    }
    /// What it takes in memory, about.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<MailboxEntry>()
            + ENTRY_OVERHEAD_BYTES
            + self.messages.capacity() * size_of::<Message>()
            + self.keyword_bytes
            + self.history.capacity() * size_of::<(ModSeq, Uid)>()
            + self.gone.as_ref().map_or(0, Gone::memory_bytes)
            + self.outline.as_ref().map_or(0, Outline::memory_bytes)
    }
}

impl State {
    /// A mailbox without messages, which is complete in memory.
    pub fn new_mailbox(&mut self, mailbox: MailboxId, head: Head) {
        let mut entry = MailboxEntry::of(head);
        // It has no messages, so all of them are in memory, and none went yet.
        entry.loaded_from = Chunk(0);
        entry.gone = Some(Gone::default());
        self.insert_mailbox(mailbox, entry);
        self.touch_head(mailbox);
    }

    /// The mailbox is gone: its bytes are free, its sessions learn it, its bodies may be dead.
    pub fn delete_mailbox(&mut self, mailbox: MailboxId) {
        if let Some(entry) = self.forget_mailbox(mailbox) {
            self.use_bytes(entry.head.account, -(entry.head.size_bytes as i64));
            self.rung.push((mailbox, entry.head.highest_modseq));
            self.dropped
                .extend(entry.messages.iter().map(|message| message.body.clone()));
        }
        self.condemn(mailbox);
    }

    /// After a rebuild from the bare log: a mailbox that no account lists was deleted, by a record that a later snapshot of the account made
    /// superfluous. Mailbox and account must be loaded.
    pub fn drop_orphan(&mut self, mailbox: MailboxId) {
        let Some(entry) = self.mailboxes.get(&mailbox) else {
            return;
        };
        let tree = self
            .accounts
            .get(&entry.head.account)
            .and_then(|entry| entry.tree.as_ref());
        let is_listed = |tree: &Tree| {
            tree.folders
                .values()
                .any(|folder| folder.mailbox == mailbox)
        };
        if !tree.is_some_and(is_listed) {
            self.delete_mailbox(mailbox);
        }
    }
}

/// Adds `message` to the head's sums and to what keywords take (`sign` 1), or takes it out (-1).
pub fn count(head: &mut Head, keyword_bytes: &mut usize, message: &Message, sign: i32) {
    let add = |sum: u32, holds: bool| {
        if holds {
            sum.checked_add_signed(sign)
                .expect("sums follow the messages")
        } else {
            sum
        }
    };
    head.messages = add(head.messages, true);
    head.unseen = add(
        head.unseen,
        !message.flags.system.contains(SystemFlags::SEEN),
    );
    head.deleted = add(
        head.deleted,
        message.flags.system.contains(SystemFlags::DELETED),
    );
    head.size_bytes = head
        .size_bytes
        .checked_add_signed(i64::from(sign) * i64::from(message.size_bytes))
        .expect("sums follow the messages");
    *keyword_bytes = keyword_bytes
        .checked_add_signed(sign as isize * message.keyword_bytes() as isize)
        .expect("sums follow the messages");
}

/// Map slot, allocation headers and the small maps of one loaded mailbox.
const ENTRY_OVERHEAD_BYTES: usize = 256;
