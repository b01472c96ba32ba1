//! What the judgement of a message leaves for its delivery.

use mailbox::AccountId;

/// For whom a message looks like junk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// Of its recipients' accounts.
    pub accounts: Vec<AccountId>,
    /// For each recipient that is led on.
    pub is_junk: bool,
}
