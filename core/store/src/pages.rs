//! The table of page checks, and how a checkpoint of it is logged (FORMAT.md §5).
//!
//! Every page of the projection has an eight-byte check in memory; a page read from a leg is good only if it agrees. So the
//! table says which version of each page belongs to the last logged checkpoint, whatever a crash left on the legs.
//! It is logged as *deltas* (the pages of one checkpoint) hanging in a chain from a *whole table*; `open` follows the chain back
//! from the newest, so its length is bounded and old links need not be kept.

use base::cursor::{Reader, Short, Write};
use bytes::Bytes;
use volume::{Generation, Lsn, RecordAddress, SegmentIndex};

use crate::body::{address, put_address};
use crate::limits::{
    DAMAGE_NOTED_MAX, EMPTIED_NOTED_MAX, PAGE_BYTES, PROJECTION_PAGES_MAX, TABLE_RUN_PAGES,
};

/// What `volume::ArenaRead` holds a page against.
pub(crate) fn check_of(page: u64, bytes: &[u8]) -> u64 {
    volume::page_check(page, bytes)
}

/// Checks by page number. 0: never written, reads as zeros (a real check is 0 once in 2^64 pages).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PageTable {
    /// By page number.
    checks: Vec<u64>,
}

impl PageTable {
    /// The check of `page`; 0: it was never written.
    pub fn check(&self, page: u64) -> u64 {
        self.checks.get(page as usize).copied().unwrap_or(0)
    }

    /// The page has this check from now on. Stops the process past the projection's bound.
    pub fn set(&mut self, page: u64, check: u64) {
        let index = page as usize;
        assert!(index < PROJECTION_PAGES_MAX);
        if index >= self.checks.len() {
            self.checks.resize(index + 1, 0);
        }
        self.checks[index] = check;
    }

    /// Forgets the pages past `bytes` of logical length.
    pub fn cut(&mut self, bytes: u64) {
        let pages = bytes.div_ceil(PAGE_BYTES as u64) as usize;
        self.checks.truncate(pages);
    }

    /// Pages that were written, in order.
    pub fn written(&self) -> impl Iterator<Item = (u64, u64)> {
        self.checks
            .iter()
            .enumerate()
            .filter(|(_, check)| **check != 0)
            .map(|(page, check)| (page as u64, *check))
    }

    pub fn bytes(&self) -> usize {
        self.checks.len() * 8
    }

    /// The table in runs of at most `run_pages`.
    pub fn runs(&self, run_pages: usize) -> Vec<Bytes> {
        let encode = |checks: &[u64]| {
            checks
                .iter()
                .flat_map(|check| check.to_le_bytes())
                .collect::<Vec<u8>>()
                .into()
        };
        self.checks.chunks(run_pages).map(encode).collect()
    }

    /// Appends the next run.
    pub fn push_run(&mut self, run: &[u8]) -> Result<(), Short> {
        let (checks, rest) = run.as_chunks::<8>();
        if !rest.is_empty()
            || checks.len() > TABLE_RUN_PAGES
            || self.checks.len() + checks.len() > PROJECTION_PAGES_MAX
        {
            return Err(Short);
        }
        self.checks
            .extend(checks.iter().map(|check| u64::from_le_bytes(*check)));
        Ok(())
    }
}

/// One IDX-SYNC: what `redb` had written when it last returned from a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexSync {
    /// The projection equals f(log up to here).
    pub applied: Lsn,
    /// How long redb believes its file to be.
    pub logical_bytes: u64,
    /// What `changed` is added to.
    pub base: Base,
    /// Pages of this checkpoint, ascending; empty when `base` is a whole table that has them already.
    pub changed: Vec<(u64, u64)>,
    /// redb rewrites page 0 in place, so its image is here and nowhere else.
    pub page0: Bytes,
}
/// What an IDX-SYNC builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// The IDX-SYNC before it.
    Previous(RecordAddress),
    /// The runs of a whole table, in the order of pages.
    Table(Vec<RecordAddress>),
}

/// The shape of IDX-SYNC and note; another one is `Short`.
const VERSION: u8 = 1;

impl IndexSync {
    /// The record's run; the pair of `decode`.
    pub fn encode(&self) -> Vec<u8> {
        // The pairs of what `decode` refuses.
        assert!(self.logical_bytes <= (PROJECTION_PAGES_MAX * PAGE_BYTES) as u64);
        assert_eq!(self.page0.len(), PAGE_BYTES);
        assert!(self.changed.is_sorted_by(|left, right| left.0 < right.0));
        let last = self.changed.last();
        assert!(last.is_none_or(|(page, _)| *page < PROJECTION_PAGES_MAX as u64));
        let mut out = Vec::with_capacity(PAGE_BYTES + 64 + self.changed.len() * 11);
        out.put_u8(VERSION);
        out.put_u64(self.applied.0);
        out.put_u64(self.logical_bytes);
        match &self.base {
            Base::Previous(previous) => {
                out.put_u8(0);
                put_address(&mut out, previous);
            }
            Base::Table(runs) => {
                out.put_u8(1);
                out.put_varint(runs.len() as u64);
                for run in runs {
                    put_address(&mut out, run);
                }
            }
        }
        out.put_bytes(&self.page0);
        out.put_varint(self.changed.len() as u64);
        let mut last = 0;
        for (page, check) in &self.changed {
            out.put_varint(page - last);
            out.put_u64(*check);
            last = *page;
        }
        out
    }

    /// Reads what `encode` wrote, and refuses what it would not have written.
    pub fn decode(bytes: &[u8]) -> Result<IndexSync, Short> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(Short);
        }
        let applied = Lsn(reader.u64()?);
        let logical_bytes = reader.u64()?;
        if logical_bytes > (PROJECTION_PAGES_MAX * PAGE_BYTES) as u64 {
            return Err(Short);
        }
        let base = match reader.u8()? {
            0 => Base::Previous(address(&mut reader)?),
            1 => {
                let count = reader.varint()?;
                let mut runs = Vec::new();
                for _ in 0..count {
                    runs.push(address(&mut reader)?);
                }
                Base::Table(runs)
            }
            _ => return Err(Short),
        };
        let page0 = Bytes::copy_from_slice(reader.take(PAGE_BYTES)?);
        let count = reader.varint()?;
        let mut changed = Vec::new();
        let mut page = 0u64;
        for index in 0..count {
            let step = reader.varint()?;
            page = page
                .checked_add(step)
                .filter(|page| *page < PROJECTION_PAGES_MAX as u64)
                // Ascending: the same page twice would have two checks.
                .filter(|_| index == 0 || step > 0)
                .ok_or(Short)?;
            changed.push((page, reader.u64()?));
        }
        Ok(IndexSync {
            applied,
            logical_bytes,
            base,
            changed,
            page0,
        })
    }
}

/// What the volume's checkpoint keeps for us: where the newest IDX-SYNC is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Note {
    /// The newest IDX-SYNC; `None`: there was no checkpoint.
    pub sync: Option<RecordAddress>,
    /// The projection was found unusable or is not wanted: the next open replays the whole log.
    pub rebuild: bool,
    /// Segments that reclaim had emptied by then and not yet given back. After a restart nothing need be copied out of them again:
    /// that takes room, and there may be none left.
    pub emptied: Vec<(SegmentIndex, Generation)>,
    /// The projection was rebuilt past damage: what no leg could give lay right behind these batches. When it can be read again (a
    /// leg came back that has it), the next open rebuilds once more and takes it in.
    pub past_damage: Vec<Lsn>,
}

impl Note {
    /// The note as the superblocks keep it; the pair of `decode`.
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.emptied.len() <= EMPTIED_NOTED_MAX);
        assert!(self.past_damage.len() <= DAMAGE_NOTED_MAX);
        let mut out = vec![
            VERSION,
            u8::from(self.rebuild),
            u8::from(self.sync.is_some()),
        ];
        if let Some(sync) = &self.sync {
            put_address(&mut out, sync);
        }
        out.put_varint(self.emptied.len() as u64);
        for (segment, generation) in &self.emptied {
            out.put_varint(u64::from(segment.0));
            out.put_u32(generation.0);
        }
        out.put_varint(self.past_damage.len() as u64);
        for before in &self.past_damage {
            out.put_varint(before.0);
        }
        assert!(out.len() <= volume::limits::NOTE_BYTES_MAX);
        out
    }

    /// An empty note is that of a volume without a checkpoint.
    pub fn decode(bytes: &[u8]) -> Result<Note, Short> {
        if bytes.is_empty() {
            return Ok(Note::default());
        }
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(Short);
        }
        let rebuild = reader.u8()? != 0;
        let sync = if reader.u8()? != 0 {
            Some(address(&mut reader)?)
        } else {
            None
        };
        // Older notes end here.
        let count = if reader.is_empty() {
            0
        } else {
            reader.varint()?
        };
        if count > EMPTIED_NOTED_MAX as u64 {
            return Err(Short);
        }
        let mut emptied = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let segment = u32::try_from(reader.varint()?).map_err(|_| Short)?;
            emptied.push((SegmentIndex(segment), Generation(reader.u32()?)));
        }
        // As do somewhat newer ones here.
        let count = if reader.is_empty() {
            0
        } else {
            reader.varint()?
        };
        if count > DAMAGE_NOTED_MAX as u64 {
            return Err(Short);
        }
        let mut past_damage = Vec::with_capacity(count as usize);
        for _ in 0..count {
            past_damage.push(Lsn(reader.varint()?));
        }
        Ok(Note {
            sync,
            rebuild,
            emptied,
            past_damage,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u32) -> RecordAddress {
        RecordAddress {
            segment: SegmentIndex(segment),
            generation: Generation(1),
            batch_block: 2,
            at: 4096,
            bytes: 9,
            check: 5,
        }
    }

    #[test]
    fn a_sync_is_read_back() {
        for base in [Base::Previous(at(1)), Base::Table(vec![at(2), at(3)])] {
            let sync = IndexSync {
                applied: Lsn(77),
                logical_bytes: 1 << 20,
                base,
                changed: vec![(1, 10), (2, 20), (200, 30)],
                page0: vec![7; PAGE_BYTES].into(),
            };
            assert_eq!(IndexSync::decode(&sync.encode()), Ok(sync));
        }
        let note = Note {
            sync: Some(at(4)),
            rebuild: true,
            emptied: vec![
                (SegmentIndex(3), Generation(9)),
                (SegmentIndex(70_000), Generation(1)),
            ],
            past_damage: vec![Lsn(12), Lsn(1 << 40)],
        };
        // Before there were the lists, and before the second.
        for (cut, emptied) in [(2, Vec::new()), (1, note.emptied.clone())] {
            let older = Note {
                emptied,
                past_damage: Vec::new(),
                ..note.clone()
            };
            let bytes = older.encode();
            assert_eq!(Note::decode(&bytes[..bytes.len() - cut]), Ok(older));
        }
        let fullest = Note {
            emptied: vec![(SegmentIndex(u32::MAX), Generation(u32::MAX)); EMPTIED_NOTED_MAX],
            past_damage: vec![Lsn(u64::MAX); DAMAGE_NOTED_MAX],
            ..note.clone()
        };
        assert!(fullest.encode().len() <= volume::limits::NOTE_BYTES_MAX);
        assert_eq!(Note::decode(&note.encode()), Ok(note));
        assert_eq!(Note::decode(&[]), Ok(Note::default()));
    }

    #[test]
    fn a_table_survives_its_runs_and_forgets_what_was_cut_off() {
        let mut table = PageTable::default();
        table.set(3, 33);
        table.set(TABLE_RUN_PAGES as u64 + 5, 55);
        let runs = table.runs(TABLE_RUN_PAGES);
        assert_eq!(runs.len(), 2);
        let mut again = PageTable::default();
        for run in runs {
            again.push_run(&run).unwrap();
        }
        assert_eq!(again, table);
        assert_eq!(
            again.written().collect::<Vec<_>>(),
            [(3, 33), (TABLE_RUN_PAGES as u64 + 5, 55)]
        );
        again.cut(4 * PAGE_BYTES as u64);
        assert_eq!(again.check(3), 33);
        again.cut(3 * PAGE_BYTES as u64);
        again.set(5, 1);
        assert_eq!((again.check(3), again.check(4)), (0, 0));
    }
}
