//! The messages of a mailbox by one field, as they may be kept from one SORT to the next: what a message is compared by never changes.
//!
//! Equal keys are there once, in order, and each message has the place of its key: its rank. A later SORT compares ranks and reads no header,
//! whatever its other criteria are. New messages are ranked among themselves first; then two ordered lists of keys become one, and nothing
//! of the old messages is read again.
//!
//! What must hold: `uids` and `keys` ascend, and none is there twice; each key has a message. A `Ranked` never changes, so that several
//! sessions may look into it.

use std::cmp::Ordering;

use crate::uids;

use super::{Column, SortField, Sorter, Texts};

/// See the module.
pub struct Ranked {
    uids: Vec<u32>,
    /// Of each of `uids`, its place in `keys`.
    ranks: Vec<u32>,
    keys: Keys,
}

/// Ascending, each once.
enum Keys {
    Numbers(Vec<i64>),
    /// One text behind the other, and where each ends.
    Texts {
        bytes: Vec<u8>,
        ends: Vec<u32>,
    },
}

/// A key that is not needed.
const NONE: u32 = u32::MAX;
/// A key that is, while its place is not known.
const NEEDED: u32 = 0;

/// What ranking adds for each message while it goes on: its beginning beside its number, twice its place, its rank and UID.
const RANKING_BYTES: usize = size_of::<(u128, u32)>() + 4 * size_of::<u32>() + size_of::<i64>();

impl Sorter {
    /// What was added, by each of its fields. `uids` are those of the messages, in the order of adding, and ascend.
    pub fn ranked<'s>(&'s self, uids: &'s [u32]) -> impl Iterator<Item = (SortField, Ranked)> + 's {
        assert_eq!(uids.len(), self.count as usize, "a UID for each message");
        let ranked = |(field, column): &(SortField, Column)| {
            let (ranks, keys) = match column {
                Column::Numbers(numbers) => rank_numbers(numbers),
                Column::Texts(texts) => rank_texts(texts),
            };
            let uids = uids.to_vec();
            (*field, Ranked { uids, ranks, keys })
        };
        self.columns.iter().map(ranked)
    }

    /// What `ranked` adds to `memory_bytes`, its answers included.
    pub fn ranking_bytes(&self) -> usize {
        let columns = self.columns.len().max(1);
        self.memory_bytes() + columns * self.count as usize * RANKING_BYTES
    }
}

fn rank_numbers(numbers: &[i64]) -> (Vec<u32>, Keys) {
    let mut order: Vec<(i64, u32)> = numbers.iter().copied().zip(0..).collect();
    order.sort_unstable();
    let mut ranks = vec![0; numbers.len()];
    let mut keys: Vec<i64> = Vec::new();
    for (number, at) in order {
        if keys.last() != Some(&number) {
            keys.push(number);
        }
        ranks[at as usize] = keys.len() as u32 - 1;
    }
    keys.shrink_to_fit();
    (ranks, Keys::Numbers(keys))
}

fn rank_texts(texts: &Texts) -> (Vec<u32>, Keys) {
    let count = texts.places.len();
    // Nearly always the beginning decides, and stands beside its number: then nothing else is looked at.
    let mut order: Vec<(u128, u32)> = (0..count)
        .map(|at| (beginning(texts.at(at)), at as u32))
        .collect();
    order.sort_unstable_by(|&(one, one_at), &(other, other_at)| {
        let whole = || texts.at(one_at as usize).cmp(texts.at(other_at as usize));
        one.cmp(&other).then_with(whole)
    });
    let mut ranks = vec![0; count];
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    let mut last: Option<&[u8]> = None;
    for (_, at) in order {
        let text = texts.at(at as usize);
        if last != Some(text) {
            bytes.extend_from_slice(text);
            ends.push(bytes.len() as u32);
            last = Some(text);
        }
        ranks[at as usize] = ends.len() as u32 - 1;
    }
    bytes.shrink_to_fit();
    ends.shrink_to_fit();
    (ranks, Keys::Texts { bytes, ends })
}

/// The first bytes as a number that compares as they do; equal where one text begins with the other and some zeros.
fn beginning(text: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let count = text.len().min(bytes.len());
    bytes[..count].copy_from_slice(&text[..count]);
    u128::from_be_bytes(bytes)
}

impl Keys {
    fn len(&self) -> usize {
        match self {
            Keys::Numbers(numbers) => numbers.len(),
            Keys::Texts { ends, .. } => ends.len(),
        }
    }

    fn text<'k>(bytes: &'k [u8], ends: &[u32], at: usize) -> &'k [u8] {
        let begin = at.checked_sub(1).map_or(0, |before| ends[before]);
        &bytes[begin as usize..ends[at] as usize]
    }

    /// The keys of both whose places in `old_places` and `fresh_places` are `NEEDED`, in one list; these become their places in it.
    fn merged(old: &Keys, fresh: &Keys, old_places: &mut [u32], fresh_places: &mut [u32]) -> Keys {
        match (old, fresh) {
            (Keys::Numbers(old), Keys::Numbers(fresh)) => {
                let mut keys = Vec::with_capacity(old.len() + fresh.len());
                let compare = |one: usize, other: usize| old[one].cmp(&fresh[other]);
                walk(old_places, fresh_places, compare, |is_fresh, at| {
                    keys.push(if is_fresh { fresh[at] } else { old[at] });
                });
                keys.shrink_to_fit();
                Keys::Numbers(keys)
            }
            (
                Keys::Texts { bytes, ends },
                Keys::Texts {
                    bytes: fresh_bytes,
                    ends: fresh_ends,
                },
            ) => {
                let old = |at| Keys::text(bytes, ends, at);
                let fresh = |at| Keys::text(fresh_bytes, fresh_ends, at);
                let mut all = Vec::with_capacity(bytes.len() + fresh_bytes.len());
                let mut all_ends = Vec::with_capacity(ends.len() + fresh_ends.len());
                let compare = |one: usize, other: usize| old(one).cmp(fresh(other));
                walk(old_places, fresh_places, compare, |is_fresh, at| {
                    all.extend_from_slice(if is_fresh { fresh(at) } else { old(at) });
                    all_ends.push(all.len() as u32);
                });
                all.shrink_to_fit();
                all_ends.shrink_to_fit();
                Keys::Texts {
                    bytes: all,
                    ends: all_ends,
                }
            }
            _ => unreachable!("both are of one field"),
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Keys::Numbers(numbers) => numbers.capacity() * size_of::<i64>(),
            Keys::Texts { bytes, ends } => bytes.capacity() + ends.capacity() * size_of::<u32>(),
        }
    }
}

/// Goes through two lists of keys in their common order; `put` gets each that is needed, once.
fn walk(
    old: &mut [u32],
    fresh: &mut [u32],
    compare: impl Fn(usize, usize) -> Ordering,
    mut put: impl FnMut(bool, usize),
) {
    let (mut one, mut other, mut count) = (0, 0, 0);
    loop {
        // each turn passes a key
        while old.get(one) == Some(&NONE) {
            one += 1;
        }
        while fresh.get(other) == Some(&NONE) {
            other += 1;
        }
        let order = match (one < old.len(), other < fresh.len()) {
            (false, false) => return,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (true, true) => compare(one, other),
        };
        put(order.is_gt(), if order.is_gt() { other } else { one });
        if order.is_le() {
            old[one] = count;
            one += 1;
        }
        if order.is_ge() {
            fresh[other] = count;
            other += 1;
        }
        count += 1;
    }
}

impl Ranked {
    /// Both as one, without the messages that are not in `live`, whose UIDs ascend. Both are of one field.
    pub fn merged(old: &Ranked, fresh: &Ranked, live: impl Iterator<Item = u32>) -> Ranked {
        let rows = uids::merged(&old.uids, &fresh.uids, live);
        let mut places = [old, fresh].map(|from| vec![NONE; from.keys.len()]);
        let rank_of = |one: &uids::Origin| match one.is_fresh {
            true => fresh.ranks[one.row as usize] as usize,
            false => old.ranks[one.row as usize] as usize,
        };
        for one in &rows {
            places[usize::from(one.is_fresh)][rank_of(one)] = NEEDED;
        }
        let [of_old, of_fresh] = &mut places;
        let keys = Keys::merged(&old.keys, &fresh.keys, of_old, of_fresh);
        let rank = |one: &uids::Origin| places[usize::from(one.is_fresh)][rank_of(one)];
        Ranked {
            uids: rows.iter().map(|one| one.uid).collect(),
            ranks: rows.iter().map(rank).collect(),
            keys,
        }
    }

    /// The same without the messages `uids`, which ascend.
    pub fn without(&self, uids: &[u32]) -> Ranked {
        let none = Ranked {
            uids: Vec::new(),
            ranks: Vec::new(),
            keys: match self.keys {
                Keys::Numbers(_) => Keys::Numbers(Vec::new()),
                Keys::Texts { .. } => Keys::Texts {
                    bytes: Vec::new(),
                    ends: Vec::new(),
                },
            },
        };
        let left = self.uids.iter().copied();
        let left = left.filter(|uid| uids.binary_search(uid).is_err());
        Ranked::merged(self, &none, left)
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.uids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.uids.is_empty()
    }

    /// Which of `uids`, which ascend, are here.
    pub fn knows<'r>(&'r self, uids: &'r [u32]) -> impl Iterator<Item = bool> + 'r {
        uids::rows(&self.uids, uids).map(|row| row.is_some())
    }

    pub fn memory_bytes(&self) -> usize {
        let rows = self.uids.capacity() + self.ranks.capacity();
        rows * size_of::<u32>() + self.keys.memory_bytes()
    }
}

/// The messages `uids`, which ascend and are in all of `criteria`, by their places in the list: as `Sorter::order`. A criterion with `true` is turned
/// round.
pub fn order(criteria: &[(&Ranked, bool)], uids: &[u32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..uids.len() as u32).collect();
    // The last criterion first: each further one leaves what it finds equal as it is.
    for (index, &(ranked, reverse)) in criteria.iter().enumerate().rev() {
        let counted_before = |&(before, _): &(&Ranked, bool)| std::ptr::eq(before, ranked);
        if !criteria[..index].iter().any(counted_before) {
            by_rank(&mut order, ranked, reverse, uids);
        }
    }
    order
}

/// What `order` holds at most for each message, its answer included; and for each key of the criteria.
pub const ORDER_BYTES: usize = 4 * size_of::<u32>();

/// Sorts `order` by the ranks; equal ones stay.
fn by_rank(order: &mut Vec<u32>, ranked: &Ranked, reverse: bool, uids: &[u32]) {
    let count = ranked.keys.len();
    let rows = uids::rows(&ranked.uids, uids);
    let last = count.saturating_sub(1) as u32;
    let ranks = rows.map(|row| {
        let row = row.expect("what is sorted was looked up");
        let rank = ranked.ranks[row as usize];
        if reverse { last - rank } else { rank }
    });
    let ranks: Vec<u32> = ranks.collect();
    // Few of many: it takes longer to go through all ranks.
    if order.len() < count / 16 {
        return order.sort_by_key(|&at| ranks[at as usize]);
    }
    let mut begins = vec![0u32; count + 1];
    for &rank in &ranks {
        begins[rank as usize + 1] += 1;
    }
    for rank in 1..begins.len() {
        begins[rank] += begins[rank - 1];
    }
    let mut sorted = vec![0; order.len()];
    for &at in &*order {
        let place = &mut begins[ranks[at as usize] as usize];
        sorted[*place as usize] = at;
        *place += 1;
    }
    *order = sorted;
}

#[cfg(test)]
mod tests;
