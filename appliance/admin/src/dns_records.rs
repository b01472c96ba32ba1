//! The DNS records of a domain in words: what to publish, and what is published.

use serde::{Deserialize, Serialize};

/// Everything to publish for a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainDns {
    /// In A-labels.
    pub domain: String,
    /// The host name of this appliance.
    pub host: String,
    pub records: Vec<DnsRecord>,
    /// What cannot be a record: what is missing here, and what another must set.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsRecord {
    /// Owner name, without the dot at the end.
    pub name: String,
    /// `MX`, `A`, `AAAA`, `TXT`, `SRV` or `PTR`.
    pub kind: String,
    /// The data; of a TXT record its text in one piece.
    pub value: String,
    /// The record as a line of a zone file.
    pub zone: String,
    /// What it is for, in one sentence.
    pub why: String,
    /// It does no harm where it is not published.
    #[serde(default)]
    pub optional: bool,
}

/// What is published of a domain's records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainCheck {
    pub domain: String,
    pub lines: Vec<CheckLine>,
    /// All of it is right.
    pub right: bool,
}

/// One record, looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckLine {
    pub name: String,
    pub kind: String,
    pub verdict: Verdict,
    /// What was found, and what to do.
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Right,
    /// The name servers say that it is not there.
    Missing,
    Wrong,
    /// There was no answer, or one that cannot be judged here.
    Unknown,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Right => "right",
            Verdict::Missing => "missing",
            Verdict::Wrong => "wrong",
            Verdict::Unknown => "unknown",
        }
    }
}
