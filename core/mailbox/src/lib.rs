//! Where mail *lives*. (API agreed on 2026-11-21; the story belongs here once the code does.)
#![forbid(unsafe_code)]
#![allow(unused_variables, dead_code)]

use std::rc::Rc;

use bytes::Bytes;
use mail::{Address, Flags, InternalDate, ModSeq, Uid, UidValidity};
use store::{BodyIn, BodyRef, Store};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u32);
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
    /// Storage defers or is full; the peer may try again.
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

/// What a session sees of a mailbox at one modification sequence. Messages ascend by UID.
#[derive(Debug, Clone)]
pub struct View {
    pub status: MailboxStatus,
    pub messages: std::sync::Arc<Vec<Message>>,
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
    /// `INBOX`, or a folder that is created when missing (`create`) or replaced by INBOX.
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
pub struct Mailboxes {}

#[derive(Debug, Clone)]
pub struct Settings {
    /// Memory for messages of loaded mailboxes.
    pub cache_bytes: usize,
    pub checkpoint_groups: u64,
    pub checkpoint_bytes: u64,
    pub checkpoint_us: u64,
}

impl Mailboxes {
    /// Replays what is newer than the projection and starts the upkeep task (checkpoints, reclaim).
    pub async fn open(
        io: device::Io,
        store: Store,
        replay: store::Replay,
        settings: Settings,
    ) -> Result<Mailboxes, MailboxFault> {
        unimplemented!()
    }
    pub fn store(&self) -> &Store {
        unimplemented!()
    }

    // The directory.
    pub async fn add_domain(&self, domain: &str) -> Result<(), MailboxFault> {
        unimplemented!()
    }
    pub async fn remove_domain(&self, domain: &str) -> Result<(), MailboxFault> {
        unimplemented!()
    }
    pub fn domains(&self) -> Vec<String> {
        unimplemented!()
    }
    /// Creates the account with INBOX and the usual folders (Drafts, Sent, Junk, Trash, Archive with their special use, subscribed).
    pub async fn add_account(
        &self,
        address: &Address,
        password_hash: &str,
        quota_bytes: u64,
    ) -> Result<AccountId, MailboxFault> {
        unimplemented!()
    }
    pub async fn remove_account(&self, account: AccountId) -> Result<(), MailboxFault> {
        unimplemented!()
    }
    pub async fn set_password_hash(
        &self,
        account: AccountId,
        password_hash: &str,
    ) -> Result<(), MailboxFault> {
        unimplemented!()
    }
    pub async fn set_quota(
        &self,
        account: AccountId,
        quota_bytes: u64,
    ) -> Result<(), MailboxFault> {
        unimplemented!()
    }
    /// By `Address::key`. `local+detail@domain` finds `local@domain` when no such account exists itself (RFC 5233).
    pub async fn account(&self, address: &Address) -> Result<Option<Account>, MailboxFault> {
        unimplemented!()
    }
    /// In address order, at most `count_max`, after `after`.
    pub async fn accounts(
        &self,
        after: Option<&str>,
        count_max: usize,
    ) -> Result<Vec<Account>, MailboxFault> {
        unimplemented!()
    }
    /// Rises with every directory change: caches of `account` elsewhere are good while it stands still.
    pub fn directory_generation(&self) -> std::sync::Arc<std::sync::atomic::AtomicU64> {
        unimplemented!()
    }

    // Mailboxes of an account.
    pub async fn list(&self, account: AccountId) -> Result<Vec<MailboxInfo>, MailboxFault> {
        unimplemented!()
    }
    pub async fn find(&self, account: AccountId, name: &str) -> Result<MailboxId, MailboxFault> {
        unimplemented!()
    }
    /// Creates missing parents too.
    pub async fn create(
        &self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxId, MailboxFault> {
        unimplemented!()
    }
    pub async fn delete(&self, account: AccountId, name: &str) -> Result<(), MailboxFault> {
        unimplemented!()
    }
    /// RFC 3501 §6.3.5, children and INBOX's special case included.
    pub async fn rename(
        &self,
        account: AccountId,
        from: &str,
        to: &str,
    ) -> Result<(), MailboxFault> {
        unimplemented!()
    }
    pub async fn subscribe(
        &self,
        account: AccountId,
        name: &str,
        subscribed: bool,
    ) -> Result<(), MailboxFault> {
        unimplemented!()
    }
    /// Subscribed names, those of deleted mailboxes included (RFC 3501 §6.3.9).
    pub async fn subscriptions(&self, account: AccountId) -> Result<Vec<String>, MailboxFault> {
        unimplemented!()
    }
    pub async fn status(&self, mailbox: MailboxId) -> Result<MailboxStatus, MailboxFault> {
        unimplemented!()
    }

    // Messages.
    /// One body, one entry for each recipient; durable when it resolves. A recipient over quota gets its own answer and does not stop the others.
    pub async fn deliver(&self, delivery: Delivery) -> Vec<Result<Placed, MailboxFault>> {
        unimplemented!()
    }
    pub async fn view(&self, mailbox: MailboxId) -> Result<View, MailboxFault> {
        unimplemented!()
    }
    pub async fn changes(
        &self,
        mailbox: MailboxId,
        after: ModSeq,
    ) -> Result<Changes, MailboxFault> {
        unimplemented!()
    }
    /// Answers the messages that exist, at their state after the change.
    pub async fn flag(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
        change: FlagChange,
        flags: &Flags,
    ) -> Result<Vec<Message>, MailboxFault> {
        unimplemented!()
    }
    /// All of `uids` that exist, or none: (source, its new UID), ascending by source.
    pub async fn copy(
        &self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
    ) -> Result<(UidValidity, Vec<(Uid, Uid)>), MailboxFault> {
        unimplemented!()
    }
    /// RFC 6851: copy and expunge as one durable step.
    pub async fn r#move(
        &self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
    ) -> Result<(UidValidity, Vec<(Uid, Uid)>), MailboxFault> {
        unimplemented!()
    }
    /// Removes those of `uids` that are \Deleted now; answers which.
    pub async fn expunge(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
    ) -> Result<Vec<Uid>, MailboxFault> {
        unimplemented!()
    }
    pub async fn bodies(&self, bodies: &[BodyRef]) -> Vec<Result<Bytes, MailboxFault>> {
        unimplemented!()
    }
    pub async fn summaries(&self, bodies: &[BodyRef]) -> Vec<Result<Bytes, MailboxFault>> {
        unimplemented!()
    }

    /// `bell` is called on this thread after each change of `mailbox` became durable, until the `Watch` is dropped. It must be cheap and not call back in.
    pub fn watch(&self, mailbox: MailboxId, bell: Box<dyn Fn(ModSeq)>) -> Watch {
        unimplemented!()
    }
    /// Checkpoints what is in memory; for a clean stop.
    pub async fn close(&self) -> Result<(), MailboxFault> {
        unimplemented!()
    }
}

pub struct Watch {
    _entry: Rc<()>,
}
