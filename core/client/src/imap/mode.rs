//! What a client has enabled, as far as it changes how mailboxes are shown to it.

use imap::Session;

/// Nothing of it is ever switched off again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mode {
    /// IMAP4rev2, which has no \Recent.
    pub rev2: bool,
    /// MODSEQ is in FETCH responses about flags (RFC 7162 §3.1).
    pub condstore: bool,
    /// VANISHED instead of EXPUNGE (RFC 7162 §3.2).
    pub qresync: bool,
    /// UIDFETCH instead of FETCH, VANISHED instead of EXPUNGE (RFC 9586).
    pub uid_only: bool,
}

impl Mode {
    /// As of now.
    pub fn of(session: &Session) -> Mode {
        Mode {
            rev2: session.is_rev2(),
            condstore: session.is_condstore(),
            qresync: session.is_qresync(),
            uid_only: session.is_uid_only(),
        }
    }
}
