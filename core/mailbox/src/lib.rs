//! Where mail *lives*: the mailboxes of accounts and their messages on one volume. Knows no wire syntax and no connection.
//!
//! The truth is the log. Every change, a flag as much as a message, is a record in it (`record`); the projection and memory are
//! both f(log), worked out by one function (`State::apply`) that live operation and replay share. An operation looks at what
//! is visible, is given its UIDs and modification sequences in memory, and hands its records to the store, all in one turn:
//! the order of numbers is the order of the log. When the group is durable, and only then, `apply` makes it visible,
//! watchers are told, and the caller gets its answer. Durable comes before visible and before accepted.
//!
//! What must hold between calls:
//! * memory laid over the projection = f(log up to the last group applied) (INVARIANTS.md I8).
//! * UIDs only grow under one UIDVALIDITY; a UIDVALIDITY never changes and is higher than any its name had before (I14).
//! * what clients see changes in `State::apply` and nowhere else; no RefCell is borrowed across an await.
//! * memory is bounded: what is loaded by `Settings::cache_bytes`, what is newer than the projection by `DIRTY_MESSAGES_MAX`, past
//!   which changes wait for a checkpoint.
//!
//! The main path is `deliver`: routes are looked up and loaded (a mailbox's head and last chunk, not its messages), numbers
//! given, one group committed. `load` brings rows in and keeps them in memory while they are in use; `checkpoint` takes what
//! changed out again; `replay` opens; `tenant` answers reclaim. Mailboxes are a tenant of the log (`tenancy`), beside the directory of
//! accounts (`directory`). Everything runs on the volume's owner thread.
//!
//! One file for each durable noun, with its records and what they do to memory, also where other records are missing: `tree.rs`, `folder.rs`,
//! `message.rs`, `snapshot.rs`. To add a noun, write such a file and name it in `record.rs`.
//!
//! The floors, each of which uses only those below: operations; `inner`; `record`, the list of nouns; the nouns; `state`, what is in memory;
//! `row`, bytes of the projection.
//!
//! Start reading with `deliver.rs`, then `inner.rs`, `message.rs` and `state.rs`.
#![forbid(unsafe_code)]

mod accounts;
mod checkpoint;
mod copy;
mod deliver;
mod flags;
mod folder;
mod folders;
#[doc(hidden)]
pub mod fuzzing;
mod hold;
mod inner;
pub mod limits;
mod load;
mod message;
mod name;
mod noun;
mod opening;
mod outline;
mod pass;
mod recent;
mod record;
mod remains;
mod replay;
mod row;
pub mod salvage;
mod share;
mod snapshot;
mod space;
mod state;
mod tenant;
mod tree;
mod view;
mod watch;

use std::rc::Rc;

use mail::{Address, Flags, InternalDate, Keyword, ModSeq, Uid, UidValidity};
use store::{BodyIn, BodyRef, Store};

pub use copy::Moved;
pub use directory::{AccountId, DkimAlgorithm, DkimKey, DkimState, PrivateKey};
/// What an address is that has no mailbox of its own: the directory's words for it.
pub mod names {
    pub use directory::limits::{KEPT_POLICIES_BYTES_MAX, KEPT_POLICIES_MAX};
    pub use directory::{
        Alias, Group, GroupChange, KeptPolicy, Listed, Posters, Route, parse_scope,
    };
}
pub use watch::Watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId(pub u64);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailboxFault {
    #[error("no such account")]
    NoAccount,
    #[error("no such mailbox")]
    NoMailbox,
    #[error("it exists already")]
    Exists,
    #[error("over quota")]
    OverQuota,
    /// The peer asked for something that is not allowed (rename INBOX's child into itself, delete INBOX …).
    #[error("not allowed: {0}")]
    Refused(&'static str),
    /// A table's bound was reached.
    #[error("too many {0}")]
    TooMany(&'static str),
    #[error("every copy of the message is damaged")]
    Damaged,
    /// The volume has no room for it; nothing was changed. Room is being made: the peer may try again.
    #[error("storage is full")]
    Full,
    /// More than the log takes at once (`store::limits::GROUP_FIXED_BYTES_MAX`, `BODY_BYTES_MAX`): it will never fit.
    #[error("too large to be stored")]
    TooLarge,
    /// Storage defers; the peer may try again.
    #[error("temporarily unavailable: {0}")]
    Unavailable(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub address: Address,
    /// argon2id, PHC string form; never logged.
    pub password_hash: String,
    /// 0: no limit.
    pub quota_bytes: u64,
    pub used_bytes: u64,
}

/// RFC 6154 roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecialUse {
    Archive,
    Drafts,
    Flagged,
    Junk,
    Sent,
    Trash,
    All,
}

/// A line of LIST and STATUS. Names are UTF-8 with `/` between levels; INBOX is always upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxInfo {
    pub id: MailboxId,
    pub name: String,
    pub subscribed: bool,
    pub special_use: Option<SpecialUse>,
    /// `false`: a name that exists only as the parent of others (\Noselect).
    pub selectable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxStatus {
    pub uid_validity: UidValidity,
    pub uid_next: Uid,
    pub highest_modseq: ModSeq,
    pub messages: u32,
    pub unseen: u32,
    pub deleted: u32,
    pub size_bytes: u64,
}

/// One message in one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub uid: Uid,
    pub modseq: ModSeq,
    pub flags: Flags,
    pub internal_date: InternalDate,
    /// RFC822.SIZE.
    pub size_bytes: u32,
    pub body: BodyRef,
}

impl Message {
    /// What it takes in memory, about: its row and its keywords.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Message>() + self.keyword_bytes()
    }

    /// Up to 5 KiB beside a row of some 160 bytes.
    pub(crate) fn keyword_bytes(&self) -> usize {
        let keywords = self.flags.keywords.iter();
        let bytes = keywords.map(|keyword| size_of::<Keyword>() + keyword.as_str().len());
        bytes.sum()
    }
}

/// One message after its flags were changed, and what a session may conclude that knew it before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flagged {
    /// At its present state.
    pub message: Message,
    /// The message's modification sequence right before the change. `None`: the mailbox does not remember.
    pub before: Option<ModSeq>,
    /// The message was not changed after this change.
    pub is_last: bool,
}

/// What a session sees of a mailbox at one modification sequence. Messages ascend by UID.
#[derive(Debug, Clone)]
pub struct View {
    pub status: MailboxStatus,
    pub messages: std::sync::Arc<Vec<Message>>,
}

/// What a client is told when it opens a mailbox; messages are known by their UIDs only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub status: MailboxStatus,
    /// Every UID, ascending, in runs of neighbours that cannot be joined.
    pub uids: Vec<UidRun>,
    /// Number of the first message without \Seen, counted from 1.
    pub first_unseen: Option<u32>,
    /// Keywords in use, or used since the mailbox was loaded; some of them where there are very many.
    pub keywords: Vec<Keyword>,
}

/// UIDs `first`, `first + 1`, …: `count` of them, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UidRun {
    pub first: Uid,
    pub count: u32,
}

/// What happened after some modification sequence.
#[derive(Debug, Clone)]
pub struct Changes {
    pub highest_modseq: ModSeq,
    pub uid_next: Uid,
    /// New or changed messages, ascending by UID, at their present state.
    pub changed: Vec<Message>,
    pub expunged: Vec<Uid>,
    /// The history does not reach back that far: take a fresh `view`.
    pub too_old: bool,
    /// The mailbox was deleted or renamed away.
    pub gone: bool,
}

#[derive(Debug, Clone)]
pub struct Delivery {
    pub body: BodyIn,
    pub internal_date: InternalDate,
    pub recipients: Vec<Recipient>,
}
#[derive(Debug, Clone)]
pub struct Recipient {
    pub account: AccountId,
    /// `INBOX`, or a folder; INBOX takes its place when there is no such folder. Mail creates no folders.
    pub mailbox: String,
    pub flags: Flags,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    pub mailbox: MailboxId,
    pub uid_validity: UidValidity,
    pub uid: Uid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagChange {
    Replace,
    Add,
    Remove,
}

/// All mailboxes of one volume; lives on the volume's owner thread. Clones share one state.
#[derive(Clone)]
pub struct Mailboxes {
    inner: Rc<inner::Inner>,
}

#[derive(Debug, Clone)]
pub struct Settings {
    /// Memory for messages of loaded mailboxes.
    pub cache_bytes: usize,
    pub checkpoint_groups: u64,
    pub checkpoint_bytes: u64,
    pub checkpoint_us: u64,
}

impl Mailboxes {
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Memory that loaded mailboxes take, in bytes; at most `Settings::cache_bytes` while nothing holds more.
    pub fn cached_bytes(&self) -> usize {
        self.inner.state.borrow().cached_bytes()
    }
}

#[cfg(test)]
mod tests;
