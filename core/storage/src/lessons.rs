//! What people taught about junk, as other cores ask for it.

use mailbox::AccountId;
use spam::Words;

/// The words of one message, and for whom it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `spam::Reading::tokens`.
    pub tokens: Vec<u64>,
    pub of: Vec<For>,
}

/// One recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct For {
    /// `None`: the address leads on.
    pub account: Option<AccountId>,
    /// In lower case.
    pub domain: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Too little was taught here to anyone.
    Untrained,
    /// For each recipient what its own lessons say, or those of its domain.
    Words(Vec<Option<Words>>),
}
