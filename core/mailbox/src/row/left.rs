//! The UIDVALIDITY of names that a mailbox left, by DELETE or RENAME: what comes to such a name later has no lower one (RFC 3501
//! §2.3.1.1), so that a client never takes its old copy of the name for the mailbox that has it now.

use std::collections::BTreeMap;

use base::cursor::{Reader, Write};
use mail::UidValidity;

use tenancy::encoding::{Broken, put_text, read_text, read_u32};

use crate::limits::{NAMES_LEFT_BYTES_MAX, NAMES_LEFT_MAX};

/// Exact for `NAMES_LEFT_MAX` names, and never too low for any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamesLeft {
    names: BTreeMap<String, UidValidity>,
    /// No name that is not among `names` had a higher one when it was left.
    others: UidValidity,
}

impl Default for NamesLeft {
    fn default() -> NamesLeft {
        NamesLeft {
            names: BTreeMap::new(),
            others: UidValidity(0),
        }
    }
}

impl NamesLeft {
    /// The lowest UIDVALIDITY that a mailbox may have under `name`.
    pub fn lowest(&self, name: &str) -> UidValidity {
        self.names.get(name).copied().unwrap_or(self.others)
    }

    /// The mailbox that had `name` has it no more.
    pub fn leave(&mut self, name: &str, uid_validity: UidValidity) {
        let lowest = self.lowest(name).max(uid_validity);
        self.names.insert(name.to_owned(), lowest);
        let mut bytes: usize = self.names.keys().map(String::len).sum();
        while self.names.len() > NAMES_LEFT_MAX || bytes > NAMES_LEFT_BYTES_MAX {
            // The lowest raises the bound of all other names least.
            let first = self.names.iter().min_by_key(|(_, value)| **value);
            let (name, value) = first
                .map(|(name, value)| (name.clone(), *value))
                .expect("full");
            self.names.remove(&name);
            bytes -= name.len();
            self.others = self.others.max(value);
        }
    }

    /// A mailbox with at least the lowest UIDVALIDITY took `name`: it is noted again when the mailbox leaves.
    pub fn take(&mut self, name: &str) {
        self.names.remove(name);
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(u64::from(self.others.0));
        out.put_varint(self.names.len() as u64);
        for (name, uid_validity) in &self.names {
            put_text(out, name);
            out.put_varint(u64::from(uid_validity.0));
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<NamesLeft, Broken> {
        let others = UidValidity(read_u32(reader)?);
        let mut names = BTreeMap::new();
        for _ in 0..reader.varint()? {
            names.insert(read_text(reader)?, UidValidity(read_u32(reader)?));
        }
        match names.len() <= NAMES_LEFT_MAX {
            true => Ok(NamesLeft { names, others }),
            false => Err(Broken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_names_than_are_kept_are_still_never_too_low() {
        let mut left = NamesLeft::default();
        let name = |number: u32| format!("f{number}");
        let count = NAMES_LEFT_MAX as u32 + 50;
        for number in 0..count {
            left.leave(&name(number), UidValidity(100 + number));
        }
        assert_eq!(left.names.len(), NAMES_LEFT_MAX);
        for number in 0..count {
            assert!(left.lowest(&name(number)) >= UidValidity(100 + number));
        }
        assert_eq!(left.lowest("new"), UidValidity(149));
        assert_eq!(left.lowest(&name(60)), UidValidity(160), "exact");

        let mut bytes = Vec::new();
        left.encode(&mut bytes);
        assert_eq!(NamesLeft::decode(&mut Reader::new(&bytes)), Ok(left));
    }

    #[test]
    fn a_name_is_taken_and_left_again() {
        let mut left = NamesLeft::default();
        left.leave("a", UidValidity(7));
        left.take("a");
        assert_eq!(left.lowest("a"), UidValidity(0));
        left.leave("a", UidValidity(8));
        left.leave("a", UidValidity(3));
        assert_eq!(left.lowest("a"), UidValidity(8));
    }
}
