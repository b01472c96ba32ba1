//! The quarantine in words: what administrators see of it.

use serde::{Deserialize, Serialize};

/// A page of the quarantine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuarantinePage {
    /// Messages in it.
    pub count: usize,
    pub messages: Vec<QuarantineLine>,
    /// There are more behind the last one.
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuarantineLine {
    pub number: u32,
    pub bytes: u64,
    /// `virus`, `dmarc` or `scanner`; `unreadable` where its envelope cannot be read, and then the rest is empty.
    pub why: String,
    /// The words of the scanner, or the domain in From.
    pub detail: String,
    pub arrived_unix_s: u64,
    /// In its Received field, for `ringpostctl trace`.
    pub id: String,
    /// Empty: no report is sent.
    pub from: String,
    /// The first of its recipients.
    pub to: String,
    pub recipients: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuarantineDetail {
    pub message: QuarantineLine,
    pub recipients: Vec<String>,
    /// How it begins: its header and the first lines, in printable ASCII.
    pub text: String,
    /// There is more of it.
    pub is_cut: bool,
}
