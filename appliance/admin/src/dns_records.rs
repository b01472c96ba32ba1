//! The DNS records of a domain in words: what to publish, and what is published.

use serde::{Deserialize, Serialize};

/// Everything to publish for a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainDns {
    /// In A-labels.
    pub domain: String,
    /// The host name of this appliance.
    pub host: String,
    /// The records, in the order in which they matter.
    pub records: Vec<DnsRecord>,
    /// What cannot be a record: what is missing here, and what another must set.
    pub notes: Vec<String>,
}

/// One record to publish.
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
    /// One line for each record, as in `DomainDns`.
    pub lines: Vec<CheckLine>,
    /// All of it is right.
    pub right: bool,
}

/// One record, looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckLine {
    /// The owner name.
    pub name: String,
    pub kind: String,
    /// What is to be said of it.
    pub verdict: Verdict,
    /// What was found, and what to do.
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is as it should be.
    Right,
    /// The name servers say that it is not there.
    Missing,
    /// It is there, and is not as it should be.
    Wrong,
    /// There was no answer, or one that cannot be judged here.
    Unknown,
}

impl Verdict {
    /// As the table shows it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Right => "right",
            Verdict::Missing => "missing",
            Verdict::Wrong => "wrong",
            Verdict::Unknown => "unknown",
        }
    }
}
