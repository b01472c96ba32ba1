//! What links the messages of a mailbox, as it may be kept from one THREAD to the next: dates, subjects and ids never change.
//!
//! Ids and base subjects are numbers: they are only ever compared for equality. A table has the number of each text by two hashes of it
//! with keys of this process, 128 bits together: no sender can find two texts with the same.
//!
//! What must hold: `uids` ascend, each with a row; each number in `rows` and `chains` is below `texts.len()`. Links that are kept never change, so
//! that several sessions may look into them.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::OnceLock;

use crate::uids;

use super::{Kept, MESSAGE_BYTES, NODE_BYTES, NONE, ThreadAlgorithm, trees};

/// See the module.
#[derive(Default)]
pub struct Links {
    /// Empty until all messages were added.
    uids: Vec<u32>,
    rows: Vec<Row>,
    /// What each message refers to, one behind the other.
    chains: Vec<u32>,
    texts: Texts,
    /// Messages that were taken out since `texts` was made: some of its texts belong to none.
    gone: usize,
}

/// What is kept of a message.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// When it was sent.
    pub date: i64,
    /// Of its base subject; `NONE`: that is empty.
    pub subject: u32,
    /// Of its id; `NONE`: it has none.
    pub own: u32,
    /// Where its part of `chains` ends.
    chain_end: u32,
    pub is_reply: bool,
}

/// Two hashes of a text.
type Print = (u64, u64);
type Texts = HashMap<Print, u32, BuildHasherDefault<First>>;

/// What one text takes in the table.
pub(super) const ENTRY_BYTES: usize = size_of::<(Print, u32)>() + 1;

/// A print is a hash already.
#[derive(Default)]
struct First(u64);

impl Hasher for First {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a print is two numbers")
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }
}

fn print(bytes: &[u8]) -> Print {
    static KEYS: OnceLock<[RandomState; 2]> = OnceLock::new();
    let [one, other] = KEYS.get_or_init(|| [RandomState::new(), RandomState::new()]);
    (one.hash_one(bytes), other.hash_one(bytes))
}

impl Row {
    pub fn kept(&self) -> Kept {
        Kept {
            date: self.date,
            subject: self.subject,
            is_reply: self.is_reply,
        }
    }
}

impl Links {
    /// The number of a text.
    pub(super) fn number(&mut self, text: &[u8]) -> u32 {
        let next = self.texts.len() as u32;
        *self.texts.entry(print(text)).or_insert(next)
    }

    /// The message that is pushed next refers to `id`.
    pub(super) fn refer(&mut self, id: &[u8]) {
        let id = self.number(id);
        self.chains.push(id);
    }

    pub(super) fn push(&mut self, date: i64, (subject, is_reply): (u32, bool), own: u32) {
        self.rows.push(Row {
            date,
            subject,
            own,
            chain_end: self.chains.len() as u32,
            is_reply,
        });
    }

    /// All were pushed, and these are their UIDs.
    pub(super) fn of(mut self, uids: Vec<u32>) -> Links {
        assert_eq!(uids.len(), self.rows.len(), "a UID for each message");
        self.uids = uids;
        self.uids.shrink_to_fit();
        self.rows.shrink_to_fit();
        self.chains.shrink_to_fit();
        self
    }

    pub(super) fn row(&self, row: u32) -> &Row {
        &self.rows[row as usize]
    }

    pub(super) fn chain(&self, row: u32) -> &[u32] {
        let end = self.rows[row as usize].chain_end;
        let begin = row.checked_sub(1);
        let begin = begin.map_or(0, |before| self.rows[before as usize].chain_end);
        &self.chains[begin as usize..end as usize]
    }

    /// How many texts have numbers.
    pub(super) fn texts(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn references(&self) -> usize {
        self.chains.len()
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Which of `uids`, which ascend, are here.
    pub fn knows<'l>(&'l self, uids: &'l [u32]) -> impl Iterator<Item = bool> + 'l {
        uids::rows(&self.uids, uids).map(|row| row.is_some())
    }

    /// The threads of the messages `uids`, which ascend and are here, as `Threader::trees` gives them.
    pub fn trees(
        &self,
        algorithm: ThreadAlgorithm,
        uids: &[u32],
        number: impl Fn(u32) -> u32,
    ) -> Vec<u8> {
        let rows = uids::rows(&self.uids, uids);
        let rows = rows.map(|row| row.expect("what is threaded was looked up"));
        trees(self, algorithm, rows, number)
    }

    /// What `trees` holds at most for so many messages, its answer included.
    pub fn trees_bytes(&self, count: usize) -> usize {
        // Few messages refer to few of the ids.
        let nodes = self.texts().min(count + self.chains.len());
        count * MESSAGE_BYTES + nodes * NODE_BYTES + 2 * self.texts() * size_of::<u32>()
    }

    /// Both as one, without the messages that are not in `live`, whose UIDs ascend.
    pub fn merged(old: &Links, fresh: &Links, live: impl Iterator<Item = u32>) -> Links {
        let origins = uids::merged(&old.uids, &fresh.uids, live);
        let mut texts = old.texts.clone();
        let mut numbers = vec![NONE; fresh.texts.len()];
        for (print, &number) in &fresh.texts {
            let next = texts.len() as u32;
            numbers[number as usize] = *texts.entry(*print).or_insert(next);
        }
        let mut links = Links {
            uids: origins.iter().map(|one| one.uid).collect(),
            rows: Vec::with_capacity(origins.len()),
            chains: Vec::with_capacity(old.chains.len() + fresh.chains.len()),
            texts,
            gone: 0,
        };
        for one in origins {
            match one.is_fresh {
                true => links.take(fresh, one.row, |number| numbers[number as usize]),
                false => links.take(old, one.row, |number| number),
            }
        }
        links.gone = old.gone + (old.len() + fresh.len()).saturating_sub(links.len());
        links.chains.shrink_to_fit();
        if links.gone > links.len() / 4 {
            links.renumber();
        }
        links
    }

    /// A row of other links, whose numbers are `number` here.
    fn take(&mut self, from: &Links, row: u32, number: impl Fn(u32) -> u32) {
        let number = |text| if text == NONE { NONE } else { number(text) };
        let chain = from.chain(row).iter().map(|&id| number(id));
        self.chains.extend(chain);
        let row = from.row(row);
        self.rows.push(Row {
            subject: number(row.subject),
            own: number(row.own),
            chain_end: self.chains.len() as u32,
            ..*row
        });
    }

    /// Forgets the texts of messages that are gone.
    fn renumber(&mut self) {
        let mut numbers = vec![NONE; self.texts.len()];
        let mut count = 0;
        let mut renumbered = |text: &mut u32| {
            if *text == NONE {
                return;
            }
            let number = &mut numbers[*text as usize];
            if *number == NONE {
                *number = count;
                count += 1;
            }
            *text = *number;
        };
        for row in &mut self.rows {
            renumbered(&mut row.subject);
            renumbered(&mut row.own);
        }
        self.chains.iter_mut().for_each(renumbered);
        let old = std::mem::take(&mut self.texts);
        self.texts.reserve(count as usize);
        let left = old
            .into_iter()
            .map(|(print, text)| (print, numbers[text as usize]));
        self.texts
            .extend(left.filter(|(_, number)| *number != NONE));
        self.gone = 0;
    }

    /// The same without the messages `uids`, which ascend.
    pub fn without(&self, uids: &[u32]) -> Links {
        let left = self.uids.iter().copied();
        let left = left.filter(|uid| uids.binary_search(uid).is_err());
        Links::merged(self, &Links::default(), left)
    }

    pub fn memory_bytes(&self) -> usize {
        let numbers = self.uids.capacity() + self.chains.capacity();
        // Of eight places in a table seven may be used.
        let entries = self.texts.capacity().div_ceil(7) * 8;
        numbers * size_of::<u32>() + self.rows.capacity() * size_of::<Row>() + entries * ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests;
