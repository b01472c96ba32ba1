//! Which messages of an account elsewhere are here already, as one conversation sees it: the rows of marks, and a table over them.

use std::collections::{BTreeMap, HashMap};

use mailbox::names::{FETCHED_EACH_MAX, FETCHED_PER_ROW_MAX, SeenMark};

/// A row of marks as it is to be written.
pub(super) type Row = (u32, Vec<SeenMark>);

/// In place of the day: what the server lists under this name is neither fetched nor deleted. It said that it deleted the message, so that this may be another one;
/// or the message was fetched from there before.
pub(super) const STAYS: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct Marks {
    rows: BTreeMap<u32, Vec<SeenMark>>,
    /// When each was fetched.
    days: HashMap<u64, u32>,
}

impl Marks {
    pub fn of(rows: Vec<Row>) -> Marks {
        let all = rows.iter().flat_map(|(_, marks)| marks);
        let days = all.map(|mark| (mark.id, mark.day)).collect();
        let rows = rows.into_iter().collect();
        Marks { rows, days }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.days.len()
    }

    /// When it was fetched; `None`: it was not.
    pub fn day(&self, id: u64) -> Option<u32> {
        self.days.get(&id).copied()
    }

    pub fn stays(&self, id: u64) -> bool {
        self.day(id) == Some(STAYS)
    }

    /// The rows that are written when the server has deleted those.
    pub fn deleting(&self, is_meant: impl Fn(u64) -> bool) -> Vec<Row> {
        let changed = self.rows.iter().filter_map(|(number, marks)| {
            let mut marks = marks.clone();
            let meant = marks.iter_mut().filter(|mark| is_meant(mark.id));
            let count = meant.map(|mark| mark.day = STAYS).count();
            (count > 0).then_some((*number, marks))
        });
        changed.collect()
    }

    /// Those that were fetched on `day` or before, ascending.
    pub fn until(&self, day: u32) -> Vec<u64> {
        let due = self.days.iter().filter(|(_, at)| **at <= day);
        let mut due: Vec<u64> = due.map(|(id, _)| *id).collect();
        due.sort_unstable();
        due
    }

    /// The row that is written with one mark more; `None`: there are as many as are remembered.
    pub fn with(&self, mark: SeenMark) -> Option<Row> {
        if self.days.len() >= FETCHED_EACH_MAX {
            return None;
        }
        let has_room = |marks: &Vec<SeenMark>| marks.len() < FETCHED_PER_ROW_MAX;
        let open = self.rows.iter().rev().find(|(_, marks)| has_room(marks));
        let (number, mut marks) = match open {
            Some((number, marks)) => (*number, marks.clone()),
            // A row that is full everywhere: the lowest number that is free.
            None => {
                let mut free = 0..=self.rows.len() as u32;
                let free = free.find(|number| !self.rows.contains_key(number));
                (free.expect("one more than there are"), Vec::new())
            }
        };
        marks.push(mark);
        Some((number, marks))
    }

    /// The rows that are written when only those remain that `stay`.
    pub fn retaining(&self, stay: impl Fn(u64) -> bool) -> Vec<Row> {
        let changed = self.rows.iter().filter_map(|(number, marks)| {
            let left = marks.iter().filter(|mark| stay(mark.id));
            let left: Vec<SeenMark> = left.copied().collect();
            (left.len() < marks.len()).then_some((*number, left))
        });
        changed.collect()
    }

    /// It is written.
    pub fn set(&mut self, (number, marks): Row) {
        for mark in self.rows.remove(&number).unwrap_or_default() {
            self.days.remove(&mark.id);
        }
        for mark in &marks {
            self.days.insert(mark.id, mark.day);
        }
        if !marks.is_empty() {
            self.rows.insert(number, marks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(id: u64) -> SeenMark {
        SeenMark { id, day: id as u32 }
    }

    #[test]
    fn marks_fill_rows_and_rows_that_are_empty_are_used_again() {
        let mut marks = Marks::default();
        let count = 3 * FETCHED_PER_ROW_MAX as u64;
        for id in 0..count {
            let row = marks.with(mark(id)).expect("room");
            marks.set(row);
        }
        assert_eq!((marks.len() as u64, marks.rows.len()), (count, 3));
        assert_eq!(marks.day(5), Some(5));
        assert_eq!(marks.until(2), [0, 1, 2]);
        // All of the second row go, and one of the first.
        let per_row = FETCHED_PER_ROW_MAX as u64;
        let gone = marks.retaining(|id| !(per_row..2 * per_row).contains(&id) && id != 0);
        assert_eq!(gone.len(), 2);
        gone.into_iter().for_each(|row| marks.set(row));
        assert_eq!((marks.day(0), marks.day(per_row)), (None, None));
        assert_eq!(
            marks.with(mark(7_000)).expect("room").0,
            0,
            "where there is room"
        );
        marks.set(marks.with(mark(7_000)).expect("room"));
        assert_eq!(marks.with(mark(7_001)).expect("room").0, 1);
        let again = Marks::of(marks.rows.clone().into_iter().collect());
        assert_eq!(again.days, marks.days);
    }

    #[test]
    fn no_more_are_remembered_than_there_may_be() {
        let per_row = FETCHED_PER_ROW_MAX as u64;
        let rows = FETCHED_EACH_MAX.div_ceil(FETCHED_PER_ROW_MAX) as u64;
        let all = (0..rows).map(|number| {
            let ids = number * per_row..(number + 1) * per_row;
            let ids = ids.filter(|id| *id < FETCHED_EACH_MAX as u64);
            (number as u32, ids.map(mark).collect())
        });
        let marks = Marks::of(all.collect());
        assert_eq!(marks.len(), FETCHED_EACH_MAX);
        assert_eq!(marks.with(mark(u64::MAX)), None);
    }
}
