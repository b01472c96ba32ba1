//! A key: secret bytes of this volume, made once. `srs` is what return paths of forwarded mail are sealed with.
//!
//! Records 26 `Put` and 27 `Remove` as in `whole.rs`; row: 32 bytes. They are never shown.

use base::cursor::{Reader, Write};
use store::{RecordKind, Table};
use tenancy::encoding::Broken;

use crate::limits::KEYS_MAX;
use crate::whole::Noun;

/// A secret. Its `Debug` shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(pub [u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Noun for Key {
    const NOUN: &'static str = "Key";
    const NOUNS: &'static str = "keys";
    const PUT: RecordKind = RecordKind(26);
    const REMOVE: RecordKind = RecordKind(27);
    const TABLE: Table = Table(21);
    const ROWS_MAX: usize = KEYS_MAX;

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_bytes(&self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Key, Broken> {
        let bytes = reader.take(32)?;
        bytes.try_into().map(Key).map_err(|_| Broken)
    }

    fn describe(&self) -> String {
        "…".to_owned()
    }
}
