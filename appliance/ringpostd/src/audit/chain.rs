//! One line, and how lines hang together.
//!
//! `{"line":7,…,"hash":"…"}`: the hash is BLAKE3 of the hash before it (32 bytes) and of the line's text up to `,"hash"`. The first line of a file is its
//! head, `{"after":6,"hash":"…"}`: the line and the hash that it goes on behind.

use serde::{Deserialize, Serialize};

/// What is known of a login, or of a change of rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fields {
    pub unix_s: i64,
    pub protocol: String,
    pub mechanism: String,
    pub peer: String,
    pub tls: Option<String>,
    pub user: Option<String>,
    pub app: Option<String>,
    pub outcome: String,
    /// What was changed, where it is not a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// It stands for so many failures of its kind (`share`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Numbered {
    line: u64,
    /// Lines that should stand before it and could not be written.
    #[serde(default, skip_serializing_if = "is_zero")]
    lost: u64,
    /// The files did not have the end that storage remembered, and the chain goes on behind that one.
    #[serde(default, skip_serializing_if = "is_no")]
    gap: bool,
    #[serde(flatten)]
    fields: Fields,
}

#[derive(Serialize, Deserialize)]
struct FileHead {
    after: u64,
    hash: String,
}

/// The end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct End {
    pub line: u64,
    pub hash: [u8; 32],
}

impl End {
    /// The line's text with its end, and the chain's end behind it.
    pub fn link(&self, fields: &Fields, lost: u64, gap: bool) -> (String, End) {
        let numbered = Numbered {
            line: self.line + 1,
            lost,
            gap,
            fields: fields.clone(),
        };
        let text = serde_json::to_string(&numbered).expect("texts and numbers");
        let text = &text[..text.len() - 1];
        let hash = self.hash_with(text);
        let line = format!("{text}{HASH}{}\"}}\n", blake3::Hash::from(hash).to_hex());
        let end = End {
            line: self.line + 1,
            hash,
        };
        (line, end)
    }

    /// The head of a file that goes on here.
    pub fn head(&self) -> String {
        let head = FileHead {
            after: self.line,
            hash: blake3::Hash::from(self.hash).to_hex().to_string(),
        };
        let text = serde_json::to_string(&head).expect("texts and numbers");
        format!("{text}\n")
    }

    /// What a file's first line says.
    pub fn of_head(line: &str) -> Option<End> {
        let head: FileHead = serde_json::from_str(line).ok()?;
        Some(End {
            line: head.after,
            hash: unhex(&head.hash)?,
        })
    }

    /// The end that a line says of itself, checked or not.
    pub fn said(line: &str) -> Option<End> {
        let (text, hash) = line.rsplit_once(HASH)?;
        let numbered: Numbered = serde_json::from_str(&format!("{text}}}")).ok()?;
        Some(End {
            line: numbered.line,
            hash: unhex(hash.strip_suffix("\"}")?)?,
        })
    }

    /// Whether a line says that what stood before it was not as storage remembered it.
    pub fn is_behind_gap(line: &str) -> bool {
        line.contains(GAP)
    }

    /// The end behind a line that goes on here; `None`: it is not what was written.
    pub fn follow(&self, line: &str) -> Option<End> {
        let (text, _) = line.rsplit_once(HASH)?;
        let said = End::said(line)?;
        let is_next = said.line == self.line + 1 && said.hash == self.hash_with(text);
        is_next.then_some(said)
    }

    fn hash_with(&self, text: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.hash);
        hasher.update(text.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let hash = blake3::Hash::from_hex(text).ok()?;
    Some(*hash.as_bytes())
}

fn is_no(gap: &bool) -> bool {
    !gap
}

fn is_zero(lost: &u64) -> bool {
    *lost == 0
}

/// Cannot stand in a value: quotes are escaped there.
const HASH: &str = ",\"hash\":\"";
/// Neither can this.
const GAP: &str = ",\"gap\":true,";
