//! What storage's trouble sounds like in IMAP (RFC 5530).

use imap::respond::{Status, put_reply};
use mailbox::MailboxFault;
use storage::owner::Busy;

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

impl Failure {
    /// The only place where storage's trouble becomes words.
    pub fn put(&self, out: &mut Vec<u8>, tag: &str) {
        let (status, code, text) = match self {
            Failure::Bad(text) => (Status::Bad, "", *text),
            Failure::No(code, text) => (Status::No, *code, *text),
            // RFC 9051 §7.1 TRYCREATE.
            Failure::NoTarget => (Status::No, "TRYCREATE", "there is no such mailbox"),
            Failure::Busy => (
                Status::No,
                "UNAVAILABLE",
                "storage is busy, try again later",
            ),
            Failure::Mailbox(fault) => match fault {
                MailboxFault::NoAccount => (Status::No, "CONTACTADMIN", "the account is gone"),
                MailboxFault::NoMailbox => (Status::No, "NONEXISTENT", "there is no such mailbox"),
                MailboxFault::Exists => (Status::No, "ALREADYEXISTS", "it exists already"),
                MailboxFault::OverQuota => (Status::No, "OVERQUOTA", "there is no room left"),
                MailboxFault::Refused(why) => (Status::No, "CANNOT", *why),
                MailboxFault::TooMany(_) => (Status::No, "LIMIT", "there are too many already"),
                MailboxFault::TooLarge => (Status::No, "LIMIT", "it is too large to be stored"),
                MailboxFault::Full => (
                    Status::No,
                    "UNAVAILABLE",
                    "storage is full, delete something or try again",
                ),
                MailboxFault::Damaged => (
                    Status::No,
                    "CORRUPTION",
                    "every copy of a message is damaged",
                ),
                MailboxFault::Unavailable(why) => {
                    tracing::warn!(%why, "storage defers");
                    (
                        Status::No,
                        "UNAVAILABLE",
                        "storage is unavailable, try again",
                    )
                }
            },
        };
        put_reply(out, tag, status, code, text);
    }
}
