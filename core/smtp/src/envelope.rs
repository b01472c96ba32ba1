//! What a peer has sent about a message before and around its content (RFC 5321 §2.3.1).

use crate::command::Body;
use crate::path::{ForwardPath, ReversePath};

/// What the peer called itself. A claim, checked for form only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedHello {
    pub name: String,
    /// EHLO or LHLO rather than HELO.
    pub extended: bool,
}

/// RFC 5321 §2.3.1. `R`: the caller's route of a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<R> {
    pub reverse_path: ReversePath,
    /// Those accepted, in order, duplicates included; at most `Limits::recipients_max`.
    pub recipients: Vec<Recipient<R>>,
    /// RFC 1870: the sender's estimate.
    pub size_bytes: Option<u64>,
    pub body: Option<Body>,
    pub smtputf8: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient<R> {
    pub path: ForwardPath,
    /// What `Session::recipient_verdict` was given: where the message goes for this recipient.
    pub route: R,
}

/// A complete mail transaction. `content` begins with what `Session::begin_content` was given.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<R> {
    pub envelope: Envelope<R>,
    pub content: Vec<u8>,
}
