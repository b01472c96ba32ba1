//! Where a message goes for one recipient: settled at RCPT, carried by `smtp::Session`, followed when the content is complete.

use mailbox::AccountId;

/// The way of one recipient's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Into a mailbox of this box. Which one of the account's is for the storage room to say.
    Local { account: AccountId },
}
