//! Where mail *lives*: the mailboxes of accounts and their messages on one volume. Knows no wire syntax and no connection.
//!
//! The truth is the log. Every change, a flag as much as a message, is a record in it (`record`); the projection and memory are
//! both f(log), worked out by one function (`State::apply`) that live operation and replay share. An operation looks at what
//! is visible, is given its UIDs and modification sequences in memory, and hands its records to the store, all in one turn:
//! the order of numbers is the order of the log. When the group is durable, and only then, `apply` makes it visible,
//! watchers are notified, and the caller gets its answer. Durable comes before visible and before accepted.
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

mod access;
mod accounts;
mod append;
mod checkpoint;
mod copy;
mod copying;
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
mod notes;
mod notice;
mod noun;
mod opening;
mod outline;
mod pass;
mod recent;
mod record;
mod remains;
mod replay;
mod resync;
mod row;
pub mod salvage;
mod share;
mod sharing;
mod sight;
mod snapshot;
mod space;
mod state;
mod tenant;
mod tree;
mod view;
mod watch;
mod watching;
mod within;

use std::rc::Rc;

use mail::{Address, Flags, InternalDate, Keyword, ModSeq, Uid, UidValidity};
use store::{BodyIn, BodyRef, Store};

pub use append::Appending;
pub use copy::{KEPT_MARK, Moved};
pub use directory::{AccountId, DkimAlgorithm, DkimKey, DkimState, PrivateKey};
/// What an address is that has no mailbox of its own: the directory's words for it.
pub mod names {
    pub use directory::limits::{
        FETCH_BYTES_MAX, FETCH_FOLDER_BYTES_MAX, FETCH_SEALED_BYTES_MAX, FETCH_USER_BYTES_MAX,
        FETCHED_EACH_MAX, FETCHED_PER_ROW_MAX, FETCHES_EACH_MAX, KEPT_POLICIES_BYTES_MAX,
        KEPT_POLICIES_MAX,
    };
    pub use directory::{
        Alias, FetchProtocol, FetchRow, FetchTls, Fetching, Group, GroupChange, Keep, KeptPolicy,
        Listed, Mark, Marked, NewHash, Noting, Posters, Route, Sealed, SeenMark, parse_scope,
    };
}
pub use notes::{NoteList, NoteOn};
pub use notice::Notice;
pub use resync::{Resync, UidRanges};
pub use sharing::{ANYONE, AccessChanged, AccessLine, Foreign, Reached};
pub use sight::{Sight, Sights, Sought};
pub use state::DigestCounts;
pub use watch::Watch;

/// The identity of a mailbox within its volume. It stays when the mailbox is renamed, and is never used again after a
/// deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId(pub u64);

/// What an account's messages take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// RFC822.SIZE of all of them.
    pub used_bytes: u64,
    /// 0: no limit.
    pub quota_bytes: u64,
}

/// Why an operation on mailboxes failed. The texts are shown to the people behind the clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailboxFault {
    /// The account does not exist, or is being removed.
    #[error("no such account")]
    NoAccount,
    /// The mailbox does not exist, or was deleted meanwhile.
    #[error("no such mailbox")]
    NoMailbox,
    /// The account has a mailbox of this name.
    #[error("it exists already")]
    Exists,
    /// The account's quota would be exceeded. Nothing was stored.
    #[error("over quota")]
    OverQuota,
    /// The peer asked for something that is not allowed (rename INBOX's child into itself, delete INBOX …).
    #[error("not allowed: {0}")]
    Refused(&'static str),
    /// The address does not take mail of this sender. Only a storage node that is asked from afar says so.
    #[error("the sender is not permitted")]
    NotPermitted,
    /// The account's scripts refuse the message, and its sender can be told so. Nothing was stored.
    #[error("the recipient refuses the message: {0}")]
    Rejected(String),
    /// A table's bound was reached.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// No copy of the message verifies. Unknown is not absent: the message exists, and is listed.
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

/// One account with what its mail takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The account's number, which is never used again.
    pub id: AccountId,
    /// The address that mail for the account is sent to and that it logs in with.
    pub address: Address,
    /// argon2id, PHC string form; never logged.
    pub password_hash: String,
    /// 0: no limit.
    pub quota_bytes: u64,
    /// Bytes of all messages in its mailboxes, each copy counted in full.
    pub used_bytes: u64,
}

/// RFC 6154 roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecialUse {
    /// Messages that are kept out of the way but not deleted.
    Archive,
    /// Messages that are being written.
    Drafts,
    /// A view of all messages with \Flagged.
    Flagged,
    /// Messages that were found to be spam.
    Junk,
    /// Copies of messages that the user sent.
    Sent,
    /// Messages that are to be deleted.
    Trash,
    /// A view of all messages.
    All,
}

/// A line of LIST and STATUS. Names are UTF-8 with `/` between levels; INBOX is always upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxInfo {
    /// The mailbox's identity. 0 stands for a name without a mailbox.
    pub id: MailboxId,
    /// The whole name, from the root.
    pub name: String,
    /// Whether the user subscribed to the name (RFC 3501 §6.3.6).
    pub subscribed: bool,
    /// The mailbox's role, if it has one.
    pub special_use: Option<SpecialUse>,
    /// `false`: a name that exists only as the parent of others (\Noselect).
    pub selectable: bool,
}

/// The figures of one mailbox (RFC 3501 §6.3.10), all of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxStatus {
    /// UIDs of another UIDVALIDITY mean other messages.
    pub uid_validity: UidValidity,
    /// The UID that the next message gets.
    pub uid_next: Uid,
    /// The highest modification sequence in the mailbox (RFC 7162 §3.1.2).
    pub highest_modseq: ModSeq,
    pub messages: u32,
    /// Messages without \Seen.
    pub unseen: u32,
    /// Messages with \Deleted (RFC 9051 §6.3.11).
    pub deleted: u32,
    /// The sum of RFC822.SIZE over all messages.
    pub size_bytes: u64,
}

/// One message in one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The message's UID. It ascends in the order of arrival.
    pub uid: Uid,
    /// The modification sequence of the last change of the message (RFC 7162).
    pub modseq: ModSeq,
    pub flags: Flags,
    /// When the message arrived, or the date that APPEND brought (RFC 3501 §2.3.3). The zone is kept.
    pub internal_date: InternalDate,
    /// When it was placed in this mailbox, in seconds since 1970 (RFC 8514); 0: an earlier release placed it and did not record that.
    pub saved_s: u32,
    /// RFC822.SIZE.
    pub size_bytes: u32,
    /// Where the message's bytes are in the log.
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
    /// The change was conditional and the message had changed: it stays as it was (RFC 7162 §3.1.3).
    pub is_refused: bool,
}

/// What a session sees of a mailbox at one modification sequence. Messages ascend by UID.
#[derive(Debug, Clone)]
pub struct View {
    /// The figures of the mailbox at the same moment.
    pub status: MailboxStatus,
    /// All messages. The list is shared: a session keeps it for as long as it needs it, and later changes make a new
    /// one.
    pub messages: std::sync::Arc<Vec<Message>>,
}

/// What a client learns when it opens a mailbox; messages are known by their UIDs only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The figures of the mailbox at the moment of opening.
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
    /// The modification sequence up to which the answer is complete.
    pub highest_modseq: ModSeq,
    /// UIDNEXT at the same moment.
    pub uid_next: Uid,
    /// New or changed messages, ascending by UID, at their present state.
    pub changed: Vec<Message>,
    /// The UIDs of messages that were expunged, ascending.
    pub expunged: Vec<Uid>,
    /// The history does not reach back that far: take a fresh `view`.
    pub too_old: bool,
    /// The mailbox was deleted or renamed away.
    pub gone: bool,
}

/// A message to be stored, with everyone on this volume that gets it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The message's bytes, or the bytes already in the log.
    pub body: BodyIn,
    /// The internal date of every copy.
    pub internal_date: InternalDate,
    /// The mailboxes that get a copy: all of them, or none.
    pub recipients: Vec<Recipient>,
}
#[derive(Debug, Clone)]
pub struct Recipient {
    /// The account that the copy is for.
    pub account: AccountId,
    /// `INBOX`, or a folder; INBOX takes its place when there is no such folder. Mail creates no folders.
    pub mailbox: String,
    /// The flags of the new message, for example \Seen for a copy in Sent.
    pub flags: Flags,
}
/// Bodies that become durable in one step, and the copies of each.
#[derive(Debug, Clone)]
pub struct Bundle {
    pub bodies: Vec<BodyIn>,
    /// The internal date of every copy.
    pub internal_date: InternalDate,
    pub copies: Vec<BundleCopy>,
    /// Rows of the parts beside it.
    pub rows_beside: u64,
    /// The parts beside it become durable though no copy is placed.
    pub stands_alone: bool,
}
/// One copy of one of the bodies.
#[derive(Debug, Clone)]
pub struct BundleCopy {
    pub recipient: Recipient,
    /// An index of `Bundle::bodies`.
    pub body: u32,
    /// Copies of one unit stand beside each other, and are for one account. All of them are placed, or none is.
    pub unit: usize,
}
/// What came of a bundle.
#[derive(Debug, Clone)]
pub struct Bundled {
    /// One result for each copy.
    pub copies: Vec<Result<Placed, MailboxFault>>,
    /// Of the parts beside it. `Err`: the whole group was not written.
    pub beside: Result<(), MailboxFault>,
}
/// Where a copy was placed: what APPENDUID reports (RFC 4315 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The mailbox that took the copy.
    pub mailbox: MailboxId,
    /// The UIDVALIDITY under which `uid` is meant.
    pub uid_validity: UidValidity,
    /// The copy's UID.
    pub uid: Uid,
}

/// How STORE changes flags (RFC 3501 §6.4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagChange {
    /// The message has these flags and no others.
    Replace,
    /// The message has these flags as well.
    Add,
    /// The message has these flags no longer.
    Remove,
}

/// All mailboxes of one volume; lives on the volume's owner thread. Clones share one state.
#[derive(Clone)]
pub struct Mailboxes {
    inner: Rc<inner::Inner>,
}

/// The numbers that the appliance's plan gives to this crate.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Memory for messages of loaded mailboxes, and for digests of messages that were read lately.
    pub cache_bytes: usize,
    /// Groups applied since the last checkpoint after which the next one begins.
    pub checkpoint_groups: u64,
    /// Bytes appended since the last checkpoint after which the next one begins.
    pub checkpoint_bytes: u64,
    /// Microseconds since the last checkpoint after which the next one begins, if anything changed.
    pub checkpoint_us: u64,
}

impl Mailboxes {
    /// The log that the mailboxes are in.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Memory that loaded mailboxes and digests take, in bytes; at most `Settings::cache_bytes` while nothing holds more.
    pub fn cached_bytes(&self) -> usize {
        let state = self.inner.state.borrow();
        state.cached_bytes() + state.digests.bytes()
    }

    /// Where the digests that were asked for came from.
    pub fn digest_counts(&self) -> DigestCounts {
        self.inner.state.borrow().digests.counts()
    }
}

#[cfg(test)]
mod tests;
