//! What each durable noun answers of its records.
//!
//! A noun is one file: its records as bytes (`encode`, `decode`), what they do to memory (`apply`), what they still say where others are
//! missing (`salvage`), and a line for people (`describe`). What a noun keeps as rows of its own is below, in `row`.

use base::cursor::Reader;
use mail::Uid;
use store::{BodyRef, Lsn, Purpose, RecordKind};
use tenancy::encoding::Broken;

use crate::remains::Remains;
use crate::state::State;
use crate::{AccountId, MailboxId};

/// The records of one noun.
pub trait Noun {
    /// Writes the payload and names its kind.
    fn encode(&self, out: &mut Vec<u8>) -> RecordKind;

    /// `None`: the record is another noun's.
    fn decode(kind: RecordKind, reader: &mut Reader<'_>) -> Result<Option<Self>, Broken>
    where
        Self: Sized;

    /// One of each kind: for fuzzers, and for the test of the bytes that are in logs.
    fn samples() -> Vec<Self>
    where
        Self: Sized;

    /// The account whose tree it is about; only a later snapshot of the tree makes it superfluous.
    fn tree(&self) -> Option<AccountId> {
        None
    }

    /// The mailbox whose head or messages it is about; only a later snapshot of the mailbox makes it superfluous.
    fn mailbox(&self) -> Option<MailboxId> {
        None
    }

    /// What must be in memory before `apply`.
    fn needs(&self) -> Needs;

    /// What room may be taken for it. What writes older records again is reclaim's.
    fn purpose(&self) -> Purpose;

    /// Rows that a checkpoint has to write because of it, at most. A row larger than two pages counts as several.
    fn rows(&self, state: &State) -> u64;

    /// Makes it visible. Deterministic: same state and same record, same result. `lsn`: where it is in the log. `bodies` are its
    /// group's, in order.
    fn apply(&self, lsn: Lsn, bodies: &[BodyRef], state: &mut State) -> Effect;

    /// As `apply`, where any other record may be missing.
    fn salvage(&self, bodies: &[BodyRef], remains: &mut Remains);

    /// One line for people.
    fn describe(&self) -> String;
}

/// Whether a record met what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    Applied,
    /// It does not exist: it was deleted, or in a rebuild from the bare log a later snapshot stands for it.
    Absent,
}

/// How much of a mailbox must be in memory.
#[derive(Debug, Clone, Copy)]
pub enum Depth {
    Head,
    /// Where the next message goes.
    Tail,
    /// Every message from this one on.
    From(Uid),
    All,
}

impl Depth {
    /// Every message from `lowest` on, or the head alone where there is none.
    pub fn from_lowest(lowest: Option<Uid>) -> Depth {
        lowest.map_or(Depth::Head, Depth::From)
    }
}

/// What must be in memory before a record is applied. A removed account's mailboxes need not be: their usage goes with the account.
#[derive(Default)]
pub struct Needs {
    pub account: Option<AccountId>,
    /// The mailbox's account is needed too, wherever the mailbox exists.
    pub mailbox: Option<(MailboxId, Depth)>,
}

impl Needs {
    pub fn account(account: AccountId) -> Needs {
        Needs {
            account: Some(account),
            mailbox: None,
        }
    }
    pub fn mailbox(mailbox: MailboxId, depth: Depth) -> Needs {
        Needs {
            account: None,
            mailbox: Some((mailbox, depth)),
        }
    }
}
