//! Message numbers of one session: which UID has which number (RFC 9051 §2.3.1.2), kept as runs of neighbouring UIDs.
//!
//! A session keeps this and nothing else of a mailbox: a hundred thousand messages that were never expunged from are one
//! run of sixteen bytes.

use mailbox::UidRun;

/// UIDs `uid`, `uid + 1`, … with the numbers `number`, `number + 1`, ….
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    uid: u32,
    number: u32,
    count: u32,
}

/// Which UID has which number.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Numbering {
    /// Ascending; no two can be joined.
    runs: Vec<Run>,
}

impl Numbering {
    /// `runs` ascend; no two can be joined.
    pub fn of_runs(runs: &[UidRun]) -> Numbering {
        let mut number = 1;
        let runs = runs.iter().map(|run| {
            let first = number;
            number += run.count;
            Run {
                uid: run.first.0,
                number: first,
                count: run.count,
            }
        });
        Numbering {
            runs: runs.collect(),
        }
    }

    /// `uids` ascend.
    #[cfg(test)]
    pub fn of(uids: impl IntoIterator<Item = u32>) -> Numbering {
        let mut numbering = Numbering::default();
        for uid in uids {
            numbering.push(uid);
        }
        numbering.runs.shrink_to_fit();
        numbering
    }

    /// How many messages there are; the highest number.
    pub fn count(&self) -> u32 {
        self.runs.last().map_or(0, |run| run.number + run.count - 1)
    }

    /// 0 for none.
    pub fn highest_uid(&self) -> u32 {
        self.runs.last().map_or(0, |run| run.uid + (run.count - 1))
    }

    /// A new message; its UID is above all others.
    pub fn push(&mut self, uid: u32) {
        assert!(uid > self.highest_uid(), "UIDs only grow");
        let number = self.count() + 1;
        match self.runs.last_mut() {
            Some(run) if run.uid + run.count == uid => run.count += 1,
            _ => self.runs.push(Run {
                uid,
                number,
                count: 1,
            }),
        }
    }

    /// `None`: no message of this session has the UID.
    pub fn number_of(&self, uid: u32) -> Option<u32> {
        let run = self.run_from(uid)?;
        (uid - run.uid < run.count).then(|| run.number + (uid - run.uid))
    }

    /// Takes messages out, in one pass however many there are; `uids` ascend. Answers the number of each at the moment when those
    /// before it are out, for those that had one.
    pub fn remove_all(&mut self, uids: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let mut uids = uids.into_iter().peekable();
        let mut numbers = Vec::new();
        for run in std::mem::take(&mut self.runs) {
            let (mut first, mut left) = (run.uid, run.count);
            while left > 0 {
                while uids.next_if(|&uid| uid < first).is_some() {}
                let within = uids.next_if(|&uid| uid - first < left);
                let Some(within) = within.map(|uid| uid - first) else {
                    self.push_run(first, left);
                    break;
                };
                self.push_run(first, within);
                numbers.push(self.count() + 1);
                left -= within + 1;
                // Past the greatest UID nothing is left.
                first = first.saturating_add(within).saturating_add(1);
            }
        }
        numbers
    }

    /// Behind all others, and not next to the last.
    fn push_run(&mut self, uid: u32, count: u32) {
        let number = self.count() + 1;
        if count > 0 {
            self.runs.push(Run { uid, number, count });
        }
    }

    /// (number, UID) of the messages whose UIDs are in `ranges` (ascending, as `SequenceSet::ranges` gives them).
    pub fn in_uids(&self, ranges: &[(u32, u32)]) -> Vec<(u32, u32)> {
        let mut found = Vec::new();
        for &(low, high) in ranges {
            let from = self
                .runs
                .partition_point(|run| run.uid + (run.count - 1) < low);
            for run in self.runs[from..].iter().take_while(|run| run.uid <= high) {
                let begin = low.max(run.uid);
                let end = high.min(run.uid + (run.count - 1));
                found.extend((begin..=end).map(|uid| (run.number + (uid - run.uid), uid)));
            }
        }
        found
    }

    /// The UIDs of `runs` (ascending) that no message of this session has, in ranges.
    pub fn without(&self, runs: &[UidRun]) -> Vec<(u32, u32)> {
        let mut left = Vec::new();
        for run in runs {
            let (mut low, high) = (run.first.0, run.first.0 + (run.count - 1));
            let from = self
                .runs
                .partition_point(|run| run.uid + (run.count - 1) < low);
            let mut done = false;
            for here in self.runs[from..].iter().take_while(|run| run.uid <= high) {
                if low < here.uid {
                    left.push((low, here.uid - 1));
                }
                let last = here.uid + (here.count - 1);
                done = last >= high;
                low = last.saturating_add(1);
            }
            if !done {
                left.push((low, high));
            }
        }
        left
    }

    /// How many messages have UIDs in `ranges` (ascending).
    pub fn count_in_uids(&self, ranges: &[(u32, u32)]) -> u32 {
        let mut count = 0;
        for &(low, high) in ranges {
            let from = self
                .runs
                .partition_point(|run| run.uid + (run.count - 1) < low);
            for run in self.runs[from..].iter().take_while(|run| run.uid <= high) {
                count += high.min(run.uid + (run.count - 1)) - low.max(run.uid) + 1;
            }
        }
        count
    }

    /// (number, UID) of the messages whose numbers are in `ranges`.
    pub fn in_numbers(&self, ranges: &[(u32, u32)]) -> Vec<(u32, u32)> {
        let mut found = Vec::new();
        for &(low, high) in ranges {
            let from = self
                .runs
                .partition_point(|run| run.number + (run.count - 1) < low);
            for run in self.runs[from..]
                .iter()
                .take_while(|run| run.number <= high)
            {
                let begin = low.max(run.number);
                let end = high.min(run.number + (run.count - 1));
                found.extend((begin..=end).map(|number| (number, run.uid + (number - run.number))));
            }
        }
        found
    }

    /// The UID of the message with this number; `None`: there is none.
    pub fn uid_of(&self, number: u32) -> Option<u32> {
        let after = self.runs.partition_point(|run| run.number <= number);
        let run = self.runs[..after].last()?;
        (number - run.number < run.count).then(|| run.uid + (number - run.number))
    }

    /// Every UID, ascending.
    pub fn uids(&self) -> impl Iterator<Item = u32> {
        self.runs
            .iter()
            .flat_map(|run| run.uid..=run.uid + (run.count - 1))
    }

    fn run_from(&self, uid: u32) -> Option<&Run> {
        let after = self.runs.partition_point(|run| run.uid <= uid);
        self.runs[..after].last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_uids_through_expunges() {
        let mut model: Vec<u32> = (1..200)
            .filter(|uid| uid % 7 != 3 && uid % 11 != 0)
            .collect();
        let mut numbering = Numbering::of(model.iter().copied());
        let mut turn = 12345u32;
        while !model.is_empty() {
            turn = turn.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            let index = (turn >> 8) as usize % model.len();
            let uid = model.remove(index);
            assert_eq!(numbering.remove_all([uid]), [index as u32 + 1]);
            assert!(numbering.remove_all([uid]).is_empty());
            assert!(numbering.uids().eq(model.iter().copied()));
            assert_eq!(numbering.count() as usize, model.len());
            assert_eq!(numbering.uid_of(0), None);
            assert_eq!(numbering.uid_of(numbering.count() + 1), None);
            for (index, &uid) in model.iter().enumerate() {
                assert_eq!(numbering.uid_of(index as u32 + 1), Some(uid));
                assert_eq!(numbering.number_of(uid), Some(index as u32 + 1));
                let number = index as u32 + 1;
                assert_eq!(numbering.in_numbers(&[(number, number)]), [(number, uid)]);
            }
            if turn.is_multiple_of(3) {
                let uid = 1_000 + turn % 2 + numbering.highest_uid().max(1_000) - 1_000 + 1;
                model.push(uid);
                numbering.push(uid);
                if model.len() > 150 {
                    model.pop();
                    numbering.remove_all([uid]);
                }
            }
            if model.len() < 5 && turn.is_multiple_of(5) {
                break;
            }
        }
    }

    #[test]
    fn many_that_go_at_once_go_as_one_after_the_other() {
        let all = [1, 2, 3, 7, 8, 10, u32::MAX - 1, u32::MAX];
        // Every choice of them, with some that are not there.
        for chosen in 0u32..1 << all.len() {
            let gone = (0..all.len()).filter(|index| chosen >> index & 1 == 1);
            let mut gone: Vec<u32> = gone.map(|index| all[index]).collect();
            let mut model: Vec<u32> = all.to_vec();
            let numbers = gone.iter().map(|uid| {
                let index = model.iter().position(|other| other == uid).expect("there");
                model.remove(index);
                index as u32 + 1
            });
            let numbers: Vec<u32> = numbers.collect();
            gone.extend([5, 9]);
            gone.sort_unstable();
            let mut numbering = Numbering::of(all);
            assert_eq!(numbering.remove_all(gone), numbers, "{chosen:b}");
            assert_eq!(numbering, Numbering::of(model), "{chosen:b}");
        }
    }

    #[test]
    fn ranges_find_only_what_is_there() {
        let numbering = Numbering::of([2, 3, 4, 8, 9, 20]);
        assert_eq!(
            numbering.in_uids(&[(1, 3), (9, 15), (20, u32::MAX)]),
            [(1, 2), (2, 3), (5, 9), (6, 20)]
        );
        assert_eq!(
            numbering.in_numbers(&[(3, 4), (6, 99)]),
            [(3, 4), (4, 8), (6, 20)]
        );
        assert_eq!(numbering.in_uids(&[(5, 7)]), []);
        assert_eq!(Numbering::default().in_numbers(&[(1, 5)]), []);
        assert_eq!((numbering.count(), numbering.highest_uid()), (6, 20));
        assert_eq!(numbering.number_of(1), None);
        assert_eq!(numbering.number_of(5), None);
    }

    #[test]
    fn what_has_a_number_is_left_out() {
        let numbering = Numbering::of([2, 3, 4, 8, 9, 20, u32::MAX]);
        let run = |first, count| UidRun {
            first: mail::Uid(first),
            count,
        };
        assert_eq!(
            numbering.without(&[run(1, 3), run(5, 2), run(7, 8), run(20, 1), run(21, 1)]),
            [(1, 1), (5, 6), (7, 7), (10, 14), (21, 21)]
        );
        let end = [run(u32::MAX - 1, 2)];
        assert_eq!(numbering.without(&end), [(u32::MAX - 1, u32::MAX - 1)]);
        assert_eq!(Numbering::default().without(&[run(1, 9)]), [(1, 9)]);
    }

    #[test]
    fn the_last_uid_does_not_overflow() {
        let numbering = Numbering::of([u32::MAX - 1, u32::MAX]);
        assert_eq!(numbering.in_uids(&[(1, u32::MAX)]).len(), 2);
        assert_eq!(numbering.number_of(u32::MAX), Some(2));
    }
}
