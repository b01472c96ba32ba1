//! A policy of another domain about its mail servers (MTA-STS, RFC 8461), kept for as long as that domain says.
//!
//! Records 30 `Put` and 31 `Remove` as in `whole.rs`; the name is the domain, in A-labels and lower case. Row: id, policy as text, when it was
//! read, when it ends (Unix seconds). It is not parsed here.
//!
//! Why here and not in the queue: it is a fact about a domain, small, looked up by name, and in memory whole, as a route is. The queue's rows are
//! messages.

use base::cursor::{Reader, Write};
use store::{RecordKind, Table};
use tenancy::encoding::{Broken, put_text, read_text};

use crate::limits::KEPT_POLICIES_MAX;
use crate::whole::Noun;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPolicy {
    /// What the domain calls it; another one means another policy.
    pub id: String,
    /// At most `limits::KEPT_POLICY_BYTES_MAX`.
    pub text: String,
    pub read_unix_s: u64,
    /// From then on it does not count.
    pub ends_unix_s: u64,
}

impl Noun for KeptPolicy {
    const NOUN: &'static str = "KeptPolicy";
    const NOUNS: &'static str = "kept policies";
    const PUT: RecordKind = RecordKind(30);
    const REMOVE: RecordKind = RecordKind(31);
    const TABLE: Table = Table(23);
    const ROWS_MAX: usize = KEPT_POLICIES_MAX;

    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.id);
        put_text(out, &self.text);
        out.put_varint(self.read_unix_s);
        out.put_varint(self.ends_unix_s);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<KeptPolicy, Broken> {
        Ok(KeptPolicy {
            id: read_text(reader)?,
            text: read_text(reader)?,
            read_unix_s: reader.varint()?,
            ends_unix_s: reader.varint()?,
        })
    }

    fn describe(&self) -> String {
        let lines = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown = format!("{} ends {}: {lines}", self.id, self.ends_unix_s);
        shown.escape_debug().to_string()
    }

    fn octets(&self, name: &str) -> usize {
        name.len() + self.id.len() + self.text.len()
    }
}
