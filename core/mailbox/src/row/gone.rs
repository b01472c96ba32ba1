//! Which messages a mailbox lost, and when: a row of `GONE`, for clients that come back (RFC 7162 §3.2.5).
//!
//! A client that was away names the last modification sequence it knows and asks what was expunged since. The messages are gone, so nothing
//! else in the projection says it. A mailbox keeps its newest `GONE_RUNS_MAX` runs of expunged UIDs; `floor` says from where on they are
//! complete. To a client below the floor every UID that is not there is reported (§3.2.6 demands it): right, and longer.
//!
//! The floor rises for two reasons. The oldest runs are forgotten when there are too many. And a snapshot of the mailbox forgets all of
//! them: reclaim drops the records before it from the log, so a rebuild from the bare log could know some of the older expunges and not
//! others, which would tell a client that a message is still there. Memory has to be f(log), so the running appliance forgets with it.
//! To write the runs into each snapshot was considered: it costs room on a full volume, for clients that were away for weeks.

use std::collections::VecDeque;

use base::cursor::{Reader, Write};
use mail::{ModSeq, Uid};
use tenancy::encoding::{put_signed, read_signed};

use super::{Broken, ROW_VERSION, read_u32, version};
use crate::UidRun;
use crate::limits::GONE_RUNS_MAX;

/// UIDs that went together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    modseq: ModSeq,
    uids: UidRun,
}

/// What was expunged from one mailbox lately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gone {
    /// Expunges up to here may be forgotten; all later ones are in `runs`.
    floor: ModSeq,
    /// In the order of modification sequences.
    runs: VecDeque<Run>,
}

impl Gone {
    /// Nothing up to `floor` is remembered.
    fn from_now(floor: ModSeq) -> Gone {
        Gone {
            floor,
            runs: VecDeque::new(),
        }
    }

    /// The message went with `modseq`, which is not below any before. UIDs of one expunge ascend.
    pub fn note(&mut self, modseq: ModSeq, uid: Uid) {
        if let Some(run) = self.runs.back_mut()
            && run.modseq == modseq
            && run.uids.first.0.checked_add(run.uids.count) == Some(uid.0)
        {
            run.uids.count += 1;
            return;
        }
        self.runs.push_back(Run {
            modseq,
            uids: UidRun {
                first: uid,
                count: 1,
            },
        });
        if self.runs.len() > GONE_RUNS_MAX
            && let Some(oldest) = self.runs.front().map(|run| run.modseq)
        {
            self.forget(oldest);
        }
    }

    /// What went up to `modseq` is not remembered any more.
    pub fn forget(&mut self, modseq: ModSeq) {
        self.floor = self.floor.max(modseq);
        let first_kept = self.runs.partition_point(|run| run.modseq <= modseq);
        self.runs.drain(..first_kept);
    }

    /// Whether every expunge after the floor is here, in a mailbox that has no message for `absent` UIDs. An earlier release noted none: as long as
    /// nothing was forgotten, what is here must explain all of them.
    pub fn is_whole(&self, absent: u64) -> bool {
        let counts = self.runs.iter().map(|run| u64::from(run.uids.count));
        self.floor > ModSeq(0) || counts.sum::<u64>() == absent
    }

    /// What went after `modseq`, in the order in which it went; `None`: not all of it is known.
    pub fn since(&self, modseq: ModSeq) -> Option<impl Iterator<Item = UidRun> + '_> {
        let first = self.runs.partition_point(|run| run.modseq <= modseq);
        (modseq >= self.floor).then(|| self.runs.range(first..).map(|run| run.uids))
    }

    /// About.
    pub fn memory_bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }

    /// Appends the row; the pair of `decode`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(ROW_VERSION);
        out.put_varint(self.floor.0);
        out.put_varint(self.runs.len() as u64);
        let (mut modseq, mut end) = (self.floor.0, 0);
        for run in &self.runs {
            out.put_varint(run.modseq.0 - modseq);
            put_signed(out, i64::from(run.uids.first.0) - end);
            out.put_varint(u64::from(run.uids.count));
            modseq = run.modseq.0;
            end = i64::from(run.uids.first.0) + i64::from(run.uids.count);
        }
    }

    /// Reads what `encode` wrote. `Broken`: another version, bytes that end early, UIDs that there are not.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Gone, Broken> {
        version(reader)?;
        let floor = ModSeq(reader.varint()?);
        let mut gone = Gone::from_now(floor);
        let count = reader.varint()?;
        if count > GONE_RUNS_MAX as u64 {
            return Err(Broken);
        }
        let (mut modseq, mut end) = (floor.0, 0i64);
        for _ in 0..count {
            modseq = modseq.checked_add(reader.varint()?).ok_or(Broken)?;
            let first = end.checked_add(read_signed(reader)?).ok_or(Broken)?;
            let first = u32::try_from(first).map_err(|_| Broken)?;
            let count = read_u32(reader)?;
            let last = count
                .checked_sub(1)
                .and_then(|more| first.checked_add(more));
            end = i64::from(last.ok_or(Broken)?) + 1;
            gone.runs.push_back(Run {
                modseq: ModSeq(modseq),
                uids: UidRun {
                    first: Uid(first),
                    count,
                },
            });
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(gone: &Gone, modseq: u64) -> Option<Vec<(u32, u32)>> {
        let runs = gone.since(ModSeq(modseq))?;
        Some(runs.map(|run| (run.first.0, run.count)).collect())
    }

    #[test]
    fn what_went_is_known_from_the_floor_on() {
        let mut gone = Gone::from_now(ModSeq(4));
        for (modseq, uid) in [(5, 3), (5, 4), (5, 9), (6, 10), (8, 1)] {
            gone.note(ModSeq(modseq), Uid(uid));
        }
        assert_eq!(since(&gone, 3), None);
        assert_eq!(since(&gone, 4), Some(vec![(3, 2), (9, 1), (10, 1), (1, 1)]));
        assert_eq!(since(&gone, 5), Some(vec![(10, 1), (1, 1)]));
        assert_eq!(since(&gone, 8), Some(vec![]));
        gone.forget(ModSeq(6));
        assert_eq!(since(&gone, 5), None);
        assert_eq!(since(&gone, 6), Some(vec![(1, 1)]));
        gone.forget(ModSeq(2));
        assert_eq!(since(&gone, 6), Some(vec![(1, 1)]));
    }

    #[test]
    fn the_oldest_are_forgotten_and_that_is_known() {
        let mut gone = Gone::default();
        let runs = GONE_RUNS_MAX as u64 + 10;
        for number in 1..=runs {
            gone.note(ModSeq(10 * number), Uid(2 * number as u32));
        }
        assert_eq!(since(&gone, 99), None);
        assert_eq!(
            since(&gone, 100).map(|runs| runs.len()),
            Some(GONE_RUNS_MAX)
        );
        let mut bytes = Vec::new();
        gone.encode(&mut bytes);
        assert!(bytes.len() <= crate::limits::ROW_BYTES, "{}", bytes.len());
        // One EXPUNGE that alone is more than is remembered.
        for number in 0..=GONE_RUNS_MAX as u32 {
            gone.note(ModSeq(1_000_000), Uid(10_000 + 2 * number));
        }
        assert_eq!(since(&gone, 999_999), None);
        assert_eq!(since(&gone, 1_000_000), Some(vec![]));
    }

    #[test]
    fn the_row_comes_back_as_it_was_and_no_damage_stops_us() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut gone = Gone::from_now(ModSeq(7));
        let mut modseq = 7;
        for _ in 0..200 {
            modseq += random.u64(0..3) + 1;
            gone.note(ModSeq(modseq), Uid(random.u32(1..)));
        }
        let mut bytes = Vec::new();
        gone.encode(&mut bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!(Gone::decode(&mut reader), Ok(gone));
        assert!(reader.is_empty());
        for end in 0..bytes.len() {
            assert!(Gone::decode(&mut Reader::new(&bytes[..end])).is_err());
        }
        for _ in 0..20_000 {
            let mut damaged = bytes.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(0..damaged.len());
                damaged[at] = random.u8(..);
            }
            let _ = Gone::decode(&mut Reader::new(&damaged));
        }
    }
}
