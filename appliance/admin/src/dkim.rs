//! DKIM keys in words: what is asked for, and what is shown of a key. The private key is in neither.

use serde::{Deserialize, Serialize};

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DkimAlgorithm {
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    #[serde(rename = "ed25519")]
    Ed25519,
}

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DkimState {
    Made,
    Active,
    Retired,
}

impl DkimAlgorithm {
    /// As it is typed and shown.
    pub fn name(self) -> &'static str {
        match self {
            DkimAlgorithm::Rsa2048 => "rsa-2048",
            DkimAlgorithm::Ed25519 => "ed25519",
        }
    }
}

impl std::str::FromStr for DkimAlgorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<DkimAlgorithm, String> {
        let all = [DkimAlgorithm::Rsa2048, DkimAlgorithm::Ed25519];
        let found = all.into_iter().find(|each| each.name() == text);
        found.ok_or_else(|| "write rsa-2048 or ed25519".to_owned())
    }
}

impl DkimState {
    pub fn name(self) -> &'static str {
        match self {
            DkimState::Made => "made",
            DkimState::Active => "active",
            DkimState::Retired => "retired",
        }
    }
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DkimLine {
    pub domain: String,
    pub selector: String,
    pub algorithm: DkimAlgorithm,
    pub state: DkimState,
    pub made_unix_s: u64,
}

/// One key and the DNS record to publish for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DkimDetail {
    pub key: DkimLine,
    /// Owner name of the TXT record, without the dot at the end.
    pub record_name: String,
    /// Its text in one piece, for forms that cut it themselves.
    pub record_text: String,
    /// As a line of a zone file, in strings of at most 255 octets.
    pub record_zone: String,
}
