//! Access lists on the wire (RFC 4314): what is asked. The lines that answer are in `respond`.

use mail::RightsChange;

/// RFC 4314 §2.2: the rights that RFC 2086 did not have.
pub const CAPABILITY: &str = "ACL RIGHTS=kxte LIST-MYRIGHTS";

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acl {
    /// §3.1.
    Set {
        mailbox: Box<str>,
        /// `-` in front takes rights away.
        identifier: Box<str>,
        change: RightsChange,
    },
    /// §3.2.
    Delete {
        mailbox: Box<str>,
        identifier: Box<str>,
    },
    /// §3.3.
    Get { mailbox: Box<str> },
    /// §3.4.
    ListRights {
        mailbox: Box<str>,
        identifier: Box<str>,
    },
    /// §3.5.
    MyRights { mailbox: Box<str> },
}
