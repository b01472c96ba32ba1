//! What is remembered for the scripts of one account: keys, each until a time. A key stands for a reply that was sent, or for a message that was seen.
//!
//! Row of `KEYS`: account → keys.
//!
//! Remembering is a union: of each key the later end counts, those that end last are kept, and the order in which records come changes
//! nothing. So reclaim writes of an old record what still counts of it and takes no locks against deliveries, and no snapshot
//! of an account is ever written.

use base::cursor::{Reader, Write};
use tenancy::encoding::Broken;

use crate::limits::KEYS_PER_ACCOUNT_MAX;
use crate::list::within;

/// What it stands for is the caller's to say: a hash.
pub type Key = [u8; 16];

/// Ascending, each key once, with the Unix second until which it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Keys(Vec<(Key, u64)>);

impl Keys {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn until(&self, key: &Key) -> Option<u64> {
        let at = self.0.binary_search_by_key(key, |(known, _)| *known).ok()?;
        Some(self.0[at].1)
    }

    /// Takes keys over, and forgets those that ended by `now`.
    pub fn remember(&mut self, keys: &[(Key, u64)], now: u64) {
        for (key, until) in keys {
            match self.0.binary_search_by_key(key, |(known, _)| *known) {
                Ok(at) => self.0[at].1 = self.0[at].1.max(*until),
                Err(at) => self.0.insert(at, (*key, *until)),
            }
        }
        self.expire(now);
        while self.0.len() > KEYS_PER_ACCOUNT_MAX {
            let first = self.0.iter().enumerate();
            let first = first.min_by_key(|(_, (key, until))| (*until, *key));
            let (at, _) = first.expect("it has more than none");
            self.0.remove(at);
        }
        self.0.shrink_to_fit();
    }

    /// Forgets what ended by `now`. Whether something did.
    pub fn expire(&mut self, now: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|(_, until)| *until > now);
        self.0.len() < before
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.put_varint(self.0.len() as u64);
        for (key, until) in &self.0 {
            out.put_bytes(key);
            out.put_varint(*until);
        }
        out
    }

    pub fn decode(row: &[u8]) -> Result<Keys, Broken> {
        let reader = &mut Reader::new(row);
        if reader.u8()? != VERSION {
            return Err(Broken);
        }
        let count = within(reader.varint()?, KEYS_PER_ACCOUNT_MAX)?;
        let mut keys: Vec<(Key, u64)> = Vec::with_capacity(count);
        for _ in 0..count {
            let key = reader.array()?;
            if keys.last().is_some_and(|(before, _)| *before >= key) {
                return Err(Broken);
            }
            keys.push((key, reader.varint()?));
        }
        match reader.is_empty() {
            true => Ok(Keys(keys)),
            false => Err(Broken),
        }
    }
}

const VERSION: u8 = 1;
