//! What a run comes to: actions for the caller, none of which was performed, and what the caller is to remember once it performed them.

use std::fmt;

use mail::{Address, Flags};

use crate::host::Key;
use crate::position::{Position, quoted};
use crate::program::Wanted;

/// The run could not end, because its host answered a question with `Later`. It is started again when that is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Later;

/// All that one message comes to for one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// At most `limits::ACTIONS_COUNT_MAX` and one. None at all: the message is discarded.
    pub actions: Vec<Action>,
    /// Headers that scripts edited; `Edition` says how they are used.
    pub editions: Vec<Vec<u8>>,
    /// Where the body begins in the message, for editions.
    pub body_begin: usize,
    /// For RFC 7352; kept only if the delivery succeeds.
    pub remember: Vec<Remember>,
    /// Why the scripts were given up. Then the only action is an implicit keep, and the owner should get the text, once for each script.
    pub failure: Option<Failure>,
    /// How much work it was, in the unit of `limits::STEPS_COUNT_MAX`.
    pub steps: u64,
}

/// Which header a copy gets. 0 is the message as it came; `n` is `Outcome::editions[n - 1]`, followed by the message from
/// `Outcome::body_begin` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Edition(pub usize);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Into INBOX. If it is implicit, no script said where the message goes, and the caller may file it as junk.
    Keep {
        flags: Flags,
        edition: Edition,
        implicit: bool,
    },
    FileInto {
        target: Target,
        edition: Edition,
    },
    /// On to another address, with the envelope's sender (or its sealed form).
    Redirect {
        address: Address,
        edition: Edition,
    },
    /// The sender gets the reason, and nothing is stored (RFC 5429).
    Reject {
        reason: String,
        /// `ereject`: by a reply of the protocol, if that is still possible, and never by a message to a forged sender.
        extended: bool,
        /// A message may carry the reason to the sender. `false`: only a reply of the protocol may, since there is no sender, or a program or a
        /// list sent it, and a message would begin a loop.
        by_message: bool,
    },
    /// An answer to the sender, unless `Reply::key` is remembered.
    Reply(Box<Reply>),
    Notify(Box<Notification>),
}

/// Where a copy is filed. The first one that exists counts: the id, the special use, the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub mailbox: String,
    /// RFC 9042.
    pub id: Option<String>,
    /// RFC 8579; with `create`, a mailbox that is made gets it.
    pub special_use: Option<String>,
    /// If there is none, it is made; else the message is kept (RFC 5490 §3.2).
    pub create: bool,
    pub flags: Flags,
}

/// A vacation reply (RFC 5230). The loop rules were checked; what the caller must still ask its memory is `key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// With this sender in the envelope: none (RFC 5230 §5.1).
    pub to: Address,
    /// As the From field has it: one line, in ASCII unless the address itself is not.
    pub from: String,
    /// Decoded.
    pub subject: String,
    /// `reason` is a MIME entity with header fields of its own.
    pub mime: bool,
    pub reason: String,
    /// Message-ID of the message, with its brackets.
    pub in_reply_to: Option<String>,
    pub references: Option<String>,
    /// The sender and the kind of reply. If the account remembers it, no reply is sent; if not, it is remembered for `again_s` when the
    /// reply is queued.
    pub key: Key,
    pub again_s: u64,
    /// A copy of the reply goes there too (RFC 8580).
    pub copy_to: Option<Target>,
}

/// A notification by mail (RFC 5436).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub to: Vec<Address>,
    /// As `Reply::from`; the script's, or the recipient's address.
    pub from: String,
    /// Decoded.
    pub subject: String,
    pub text: String,
    /// 1 is high, 3 is low.
    pub importance: u8,
    pub copy_to: Option<Target>,
}

/// What the account remembers from now on, for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remember {
    pub key: Key,
    pub kept_s: u64,
}

/// Why a run failed, for the owner of the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which of the scripts that were handed in; counts from 0.
    pub script_index: usize,
    /// The script that it included, if it failed there.
    pub included: Option<Wanted>,
    /// `None`: it is not about a place of a script.
    pub at: Option<Position>,
    /// One line.
    pub text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(included) = &self.included {
            write!(f, "script {}, ", quoted(&included.name))?;
        }
        if let Some(at) = self.at {
            write!(f, "{at}: ")?;
        }
        f.write_str(&self.text)
    }
}
