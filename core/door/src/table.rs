//! A table with a bound: a new row takes the place of the one that was used least recently.

use std::collections::HashMap;
use std::hash::Hash;

/// Rows that are spared before one in use is forgotten all the same.
const SPARED_MAX: usize = 8;
/// The end of the list.
const NONE: u32 = u32::MAX;

/// `rows` names the slot of each key; the slots are a list from the most to the least recently used.
pub(crate) struct Table<K, V> {
    /// Where each key's row is.
    rows: HashMap<K, u32>,
    /// Rows, and places that are free.
    slots: Vec<Slot<K, V>>,
    /// Free places, to be used again.
    free: Vec<u32>,
    /// The most recently used row.
    first: u32,
    /// The least recently used row.
    last: u32,
    rows_max: usize,
}

struct Slot<K, V> {
    /// Its key, to be removed from `rows`.
    key: K,
    value: V,
    /// Its neighbour towards `first`: the row that was used later than it.
    before: u32,
    /// Its neighbour towards `last`.
    after: u32,
}

/// What `rows_max` rows cost at most: vectors and tables that have just grown have twice the room.
pub(crate) const fn bytes_max<K, V>(rows_max: usize) -> usize {
    2 * rows_max * (size_of::<Slot<K, V>>() + size_of::<(K, u32)>() + 1)
}

impl<K: Copy + Eq + Hash, V: Default> Table<K, V> {
    pub fn new(rows_max: usize) -> Table<K, V> {
        assert!(rows_max > 0 && rows_max < NONE as usize);
        Table {
            rows: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            first: NONE,
            last: NONE,
            rows_max,
        }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row of `key`, made where there is none. Where the table is full a row goes that is not `in_use`.
    pub fn touch(&mut self, key: K, in_use: impl Fn(&V) -> bool) -> &mut V {
        let at = match self.rows.get(&key) {
            Some(&at) => {
                self.unlink(at);
                at
            }
            None => {
                if self.rows.len() >= self.rows_max {
                    self.forget_one(in_use);
                }
                self.place(key)
            }
        };
        self.link_first(at);
        &mut self.slots[at as usize].value
    }

    /// The row of `key`, which now was used.
    pub fn get(&mut self, key: &K) -> Option<&mut V> {
        let at = *self.rows.get(key)?;
        self.unlink(at);
        self.link_first(at);
        Some(&mut self.slots[at as usize].value)
    }

    /// As `get`, and the order stays.
    pub fn peek(&self, key: &K) -> Option<&V> {
        let at = *self.rows.get(key)?;
        Some(&self.slots[at as usize].value)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.rows.remove(key)?;
        self.unlink(at);
        self.free.push(at);
        Some(std::mem::take(&mut self.slots[at as usize].value))
    }

    /// Every row, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let value = |at: &u32| &self.slots[*at as usize].value;
        self.rows.iter().map(move |(key, at)| (key, value(at)))
    }

    /// A row with the default value, which is not in the list yet.
    fn place(&mut self, key: K) -> u32 {
        let slot = Slot {
            key,
            value: V::default(),
            before: NONE,
            after: NONE,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        self.rows.insert(key, at);
        at
    }

    /// Makes room: the least recently used row that is not in use goes, within a few looks.
    fn forget_one(&mut self, in_use: impl Fn(&V) -> bool) {
        for _ in 0..SPARED_MAX {
            let at = self.last;
            if !in_use(&self.slots[at as usize].value) {
                break;
            }
            self.unlink(at);
            self.link_first(at);
        }
        let key = self.slots[self.last as usize].key;
        self.remove(&key);
    }

    /// Takes a row out of the list.
    fn unlink(&mut self, at: u32) {
        let Slot { before, after, .. } = self.slots[at as usize];
        match before {
            NONE => self.first = after,
            before => self.slots[before as usize].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.slots[after as usize].before = before,
        }
    }

    /// The row was used last of all.
    fn link_first(&mut self, at: u32) {
        let second = self.first;
        let slot = &mut self.slots[at as usize];
        (slot.before, slot.after) = (NONE, second);
        match second {
            NONE => self.last = at,
            second => self.slots[second as usize].before = at,
        }
        self.first = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_row_makes_room() {
        let mut table: Table<u32, u32> = Table::new(3);
        let never = |_: &u32| false;
        for key in 1..=3 {
            *table.touch(key, never) = key;
        }
        assert_eq!(table.get(&1).copied(), Some(1));
        *table.touch(4, never) = 4;
        assert_eq!(table.peek(&2), None, "1 was used since");
        assert_eq!((table.len(), table.slots.len()), (3, 3));
        assert_eq!(table.remove(&3), Some(3));
        *table.touch(5, never) = 5;
        *table.touch(6, never) = 6;
        let mut keys: Vec<u32> = table.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        assert_eq!((keys.as_slice(), table.slots.len()), (&[4, 5, 6][..], 3));
    }

    #[test]
    fn a_row_in_use_is_spared_while_others_can_go() {
        let mut table: Table<u32, bool> = Table::new(4);
        *table.touch(0, |used| *used) = true;
        for key in 1..100 {
            table.touch(key, |used| *used);
        }
        assert_eq!(table.peek(&0), Some(&true));
        assert_eq!(table.len(), 4);
        let mut all_used: Table<u32, bool> = Table::new(4);
        for key in 0..100 {
            *all_used.touch(key, |used| *used) = true;
        }
        assert_eq!(
            (all_used.len(), all_used.slots.len()),
            (4, 4),
            "the bound holds in any case"
        );
    }

    #[test]
    fn any_order_of_uses_agrees_with_a_list() {
        let (mut table, mut model): (Table<u8, u8>, Vec<u8>) = (Table::new(5), Vec::new());
        let mut state = 7u32;
        for _ in 0..10_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (key, what) = ((state >> 24) as u8 % 12, (state >> 16) % 3);
            match what {
                0 => {
                    table.remove(&key);
                    model.retain(|known| *known != key);
                }
                _ => {
                    table.touch(key, |_| false);
                    model.retain(|known| *known != key);
                    model.insert(0, key);
                    model.truncate(5);
                }
            }
            let mut listed = Vec::new();
            let mut at = table.first;
            while at != NONE {
                listed.push(table.slots[at as usize].key);
                at = table.slots[at as usize].after;
            }
            assert_eq!(listed, model);
        }
    }
}
