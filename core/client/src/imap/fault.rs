//! What storage's trouble sounds like in IMAP (RFC 5530).

use imap::respond::{Status, put_reply};
use mailbox::MailboxFault;
use storage::owner::Busy;

use crate::pieces::Unread;

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    Mailbox(MailboxFault),
    /// COPY, MOVE or APPEND to a mailbox that is not there.
    NoTarget,
    Busy,
    Bad(&'static str),
    No(&'static str, &'static str),
}

impl From<Busy> for Failure {
    fn from(_: Busy) -> Self {
        Failure::Busy
    }
}

impl From<MailboxFault> for Failure {
    fn from(fault: MailboxFault) -> Self {
        Failure::Mailbox(fault)
    }
}

impl From<Unread> for Failure {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Mailbox(fault) => Failure::Mailbox(fault),
            Unread::Busy => Failure::Busy,
        }
    }
}

impl Failure {
    /// The only place where storage's trouble becomes words.
    pub fn put(&self, out: &mut Vec<u8>, tag: &str) {
        let (status, code, text) = match self {
            Failure::Bad(text) => (Status::Bad, "", *text),
            Failure::No(code, text) => (Status::No, *code, *text),
            // RFC 9051 §7.1 TRYCREATE.
            Failure::NoTarget => (Status::No, "TRYCREATE", "Mailbox does not exist"),
            Failure::Busy => (
                Status::No,
                "UNAVAILABLE",
                "Storage is busy, try again later",
            ),
            Failure::Mailbox(fault) => match fault {
                MailboxFault::NoAccount => (Status::No, "CONTACTADMIN", "Account does not exist"),
                MailboxFault::NoMailbox => (Status::No, "NONEXISTENT", "Mailbox does not exist"),
                MailboxFault::Exists => (Status::No, "ALREADYEXISTS", "Mailbox already exists"),
                MailboxFault::OverQuota => (Status::No, "OVERQUOTA", "Quota exceeded"),
                MailboxFault::Refused(why) => (Status::No, "CANNOT", *why),
                MailboxFault::Rejected(_) | MailboxFault::NotPermitted => {
                    (Status::No, "CANNOT", "Not permitted")
                }
                MailboxFault::TooMany(_) => (
                    Status::No,
                    "LIMIT",
                    "Limit of the account or mailbox reached",
                ),
                MailboxFault::TooLarge => (Status::No, "LIMIT", "Too large to be stored"),
                MailboxFault::Full => (
                    Status::No,
                    "UNAVAILABLE",
                    "Storage is full, delete messages or try again later",
                ),
                MailboxFault::Damaged => (
                    Status::No,
                    "CORRUPTION",
                    "Every stored copy of a message is damaged",
                ),
                MailboxFault::Unavailable(why) => {
                    tracing::warn!(%why, "storage defers");
                    (
                        Status::No,
                        "UNAVAILABLE",
                        "Storage is unavailable, try again later",
                    )
                }
            },
        };
        put_reply(out, tag, status, code, text);
    }
}
