//! Identifiers of mailboxes and messages (RFC 8474).

use imap::object::EmailId;
use mailbox::{MailboxId, Message};

/// The MAILBOXID, in its parentheses. A mailbox's number is given once and stays with it when it is renamed.
pub(super) fn mailbox_id(id: MailboxId) -> String {
    format!("(F{})", id.0)
}

/// What the EMAILID of a message is made of: the name of its bytes stays when they are copied, moved, or brought elsewhere by reclaim.
pub(super) fn email_id(message: &Message) -> EmailId {
    EmailId::of(&message.body.name.0, message.internal_date)
}
