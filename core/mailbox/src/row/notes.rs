//! Annotations of one account's folders (RFC 5464), which stand in its row of `TREES`.

use std::collections::BTreeMap;

use base::cursor::{Reader, Write};
use tenancy::encoding::{put_text, read_text};

use super::Broken;
use crate::MailboxId;
use crate::limits::{NOTES_BYTES_PER_ACCOUNT_MAX, NOTES_PER_ACCOUNT_MAX};

/// Values by folder and name. `MailboxId(0)` stands for the account as a whole. Names are lower case, as `/private/comment`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    values: BTreeMap<(MailboxId, String), Vec<u8>>,
    /// Of all names and values.
    bytes: usize,
}

impl Notes {
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// Of all names and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Beside what every account takes in memory, about.
    pub fn memory_bytes(&self) -> usize {
        self.bytes + self.values.len() * ENTRY_OVERHEAD_BYTES
    }

    pub fn value(&self, mailbox: MailboxId, name: &str) -> Option<&Vec<u8>> {
        self.values.get(&(mailbox, name.to_owned()))
    }

    /// Those of one folder, by name.
    pub fn of(&self, mailbox: MailboxId) -> impl Iterator<Item = (&str, &[u8])> {
        let from = self.values.range((mailbox, String::new())..);
        from.take_while(move |((other, _), _)| *other == mailbox)
            .map(|((_, name), value)| (name.as_str(), value.as_slice()))
    }

    /// `None` takes the value out.
    pub fn set(&mut self, mailbox: MailboxId, name: &str, value: Option<&[u8]>) {
        let key = (mailbox, name.to_owned());
        let before = match value {
            Some(value) => {
                self.bytes += name.len() + value.len();
                self.values.insert(key, value.to_vec())
            }
            None => self.values.remove(&key),
        };
        if let Some(before) = before {
            self.bytes -= name.len() + before.len();
        }
    }

    /// The folder is gone.
    pub fn forget(&mut self, mailbox: MailboxId) {
        let names: Vec<String> = self.of(mailbox).map(|(name, _)| name.to_owned()).collect();
        for name in names {
            self.set(mailbox, &name, None);
        }
    }

    /// Appends them; the pair of `decode`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.values.len() as u64);
        for ((mailbox, name), value) in &self.values {
            out.put_varint(mailbox.0);
            put_text(out, name);
            put_value(out, value);
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Notes, Broken> {
        let mut notes = Notes::default();
        let count = reader.varint()?;
        if count > NOTES_PER_ACCOUNT_MAX as u64 {
            return Err(Broken);
        }
        for _ in 0..count {
            let mailbox = MailboxId(reader.varint()?);
            let name = read_text(reader)?;
            notes.set(mailbox, &name, Some(&read_value(reader)?));
            if notes.bytes > NOTES_BYTES_PER_ACCOUNT_MAX {
                return Err(Broken);
            }
        }
        Ok(notes)
    }
}

/// Any bytes.
pub fn put_value(out: &mut Vec<u8>, value: &[u8]) {
    out.put_varint(value.len() as u64);
    out.put_bytes(value);
}

/// The pair of `put_value`.
pub fn read_value(reader: &mut Reader<'_>) -> Result<Vec<u8>, Broken> {
    let count = usize::try_from(reader.varint()?).map_err(|_| Broken)?;
    if count > NOTES_BYTES_PER_ACCOUNT_MAX {
        return Err(Broken);
    }
    Ok(reader.take(count)?.to_vec())
}

/// A node of a map, shared by some entries, and two allocations.
const ENTRY_OVERHEAD_BYTES: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back_as_they_were_and_their_bytes_are_counted() {
        let mut notes = Notes::default();
        notes.set(MailboxId(0), "/private/comment", Some(b"mine"));
        notes.set(MailboxId(7), "/shared/comment", Some(b"\0\xff"));
        notes.set(MailboxId(7), "/shared/comment", Some(b"ours"));
        assert_eq!((notes.count(), notes.bytes()), (2, 16 + 4 + 15 + 4));
        assert_eq!(notes.of(MailboxId(7)).count(), 1);
        let mut bytes = Vec::new();
        notes.encode(&mut bytes);
        assert_eq!(Notes::decode(&mut Reader::new(&bytes)), Ok(notes.clone()));
        for end in 0..bytes.len() {
            assert!(Notes::decode(&mut Reader::new(&bytes[..end])).is_err());
        }
        notes.forget(MailboxId(7));
        notes.set(MailboxId(0), "/private/comment", None);
        assert_eq!(notes, Notes::default());
    }
}
