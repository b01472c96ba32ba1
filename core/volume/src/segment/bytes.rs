//! The segment table as bytes: the parts that a checkpoint writes.

use base::cursor::{Reader, Write};

use super::{Row, State, Table};
use crate::types::{Generation, Lsn, SegmentIndex};

const ROW_BYTES: usize = 29;
/// Bits of a row's state code.
const HOLDS_STORE: u8 = 0x80;
const NEEDED: u8 = 0x40;

impl Table {
    /// The table as payloads of at most `part_bytes` each, for a checkpoint that needs `needed`.
    pub fn encode(&self, part_bytes: usize, needed: &[SegmentIndex]) -> Vec<Vec<u8>> {
        let rows_per_part = (part_bytes - 8) / ROW_BYTES;
        let parts = self
            .rows
            .chunks(rows_per_part)
            .enumerate()
            .map(|(part, rows)| {
                let mut out = Vec::with_capacity(8 + rows.len() * ROW_BYTES);
                out.put_u32((part * rows_per_part) as u32);
                out.put_u32(rows.len() as u32);
                for (index, row) in (part * rows_per_part..).zip(rows) {
                    let is_needed = needed.contains(&SegmentIndex(index as u32));
                    let (code, ordinal) = match row.state {
                        State::Free => (0, 0),
                        State::Claimed => (1, 0),
                        State::Open => (2, 0),
                        State::Sealed => (3, 0),
                        State::Arena { ordinal } => (4, ordinal),
                    };
                    let store = if row.holds_store { HOLDS_STORE } else { 0 };
                    let needed = if is_needed { NEEDED } else { 0 };
                    out.put_u8(code | store | needed);
                    out.put_u32(ordinal);
                    out.put_u32(row.generation.0);
                    out.put_u32(row.used_blocks);
                    out.put_u64(row.first.0);
                    out.put_u64(row.last.0);
                }
                out
            });
        parts.collect()
    }

    /// The mirror of `encode`; `None` when the parts do not make up `segment_count` rows.
    pub fn decode(parts: &[impl AsRef<[u8]>], segment_count: u32) -> Option<Table> {
        let (mut rows, mut needed) = (Vec::new(), Vec::new());
        for part in parts {
            let mut reader = Reader::new(part.as_ref());
            let first = reader.u32().ok()?;
            if first as usize != rows.len() {
                return None;
            }
            for _ in 0..reader.u32().ok()? {
                let code = reader.u8().ok()?;
                let ordinal = reader.u32().ok()?;
                let state = match code & !(HOLDS_STORE | NEEDED) {
                    0 => State::Free,
                    1 => State::Claimed,
                    2 => State::Open,
                    3 => State::Sealed,
                    4 => State::Arena { ordinal },
                    _ => return None,
                };
                let generation = Generation(reader.u32().ok()?);
                let used_blocks = reader.u32().ok()?;
                let (first, last) = (Lsn(reader.u64().ok()?), Lsn(reader.u64().ok()?));
                let holds_store = code & HOLDS_STORE != 0;
                if code & NEEDED != 0 {
                    needed.push(SegmentIndex(rows.len() as u32));
                }
                let row = Row {
                    holds_store,
                    provisional: Lsn(0),
                    state,
                    generation,
                    used_blocks,
                    first,
                    last,
                    known: Lsn(0),
                };
                rows.push(row.without_leftovers());
            }
        }
        (rows.len() == segment_count as usize).then(|| {
            let mut table = Table::from_rows(rows);
            table.needed = needed;
            table.derive();
            table
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Holds;

    #[test]
    fn a_table_reads_back_from_its_parts() {
        let mut table = Table::new(100);
        for lsn in 1..=5 {
            table.claim(Lsn(0), Lsn(0));
            table.place(Lsn(lsn), 64, 64, Holds::Store, |_| true);
        }
        table.claim(Lsn(0), Lsn(0));
        table.grow_arena(Lsn(6), Lsn(6));
        let parts = table.encode(1000, &[SegmentIndex(2)]);
        assert!(parts.len() > 1);
        let back = Table::decode(&parts, 100).expect("whole");
        assert_eq!(back.claimed, table.claimed);
        assert_eq!(back.open, table.open);
        assert_eq!(back.arena, table.arena);
        assert_eq!(back.needed, [SegmentIndex(2)]);
        assert!(Table::decode(&parts[1..], 100).is_none());
    }
}
