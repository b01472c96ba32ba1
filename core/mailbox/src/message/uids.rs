//! UIDs in a record, as runs.

use base::cursor::{Reader, Write};
use mail::Uid;
use tenancy::encoding::{Broken, read_u32};

use crate::limits::UIDS_PER_RECORD_MAX;

/// Ascending UIDs as runs: (distance from the last run's end, length).
pub fn put_uids(out: &mut Vec<u8>, uids: &[Uid]) {
    debug_assert!(uids.is_sorted());
    let mut runs = Vec::new();
    for uid in uids {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == uid.0 => *count += 1,
            _ => runs.push((uid.0, 1u32)),
        }
    }
    out.put_varint(runs.len() as u64);
    let mut end = 0;
    for (first, count) in runs {
        out.put_varint(u64::from(first - end));
        out.put_varint(u64::from(count));
        end = first + count;
    }
}

/// A record never names more UIDs than `UIDS_PER_RECORD_MAX`; a false length must not fill memory.
pub fn read_uids(reader: &mut Reader<'_>) -> Result<Vec<Uid>, Broken> {
    let mut uids = Vec::new();
    let mut end = 0u32;
    for _ in 0..reader.varint()? {
        let first = end.checked_add(read_u32(reader)?).ok_or(Broken)?;
        let count = read_u32(reader)?;
        end = first.checked_add(count).ok_or(Broken)?;
        if uids.len() + count as usize > UIDS_PER_RECORD_MAX {
            return Err(Broken);
        }
        uids.extend((first..end).map(Uid));
    }
    Ok(uids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_in_a_row_cost_a_few_bytes() {
        let uids: Vec<Uid> = (1..=20_000).map(Uid).collect();
        let mut out = Vec::new();
        put_uids(&mut out, &uids);
        assert!(out.len() < 16);
        assert_eq!(read_uids(&mut Reader::new(&out)), Ok(uids));
    }

    #[test]
    fn a_false_run_length_does_not_fill_memory() {
        let mut out = Vec::new();
        out.put_varint(1);
        out.put_varint(1);
        out.put_varint(u64::from(u32::MAX - 2));
        assert_eq!(read_uids(&mut Reader::new(&out)), Err(Broken));
    }
}
