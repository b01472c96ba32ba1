//! Which messages a COPY has placed that is not at its end: rows of `UNFINISHED`, and the same ranges in records.

use base::cursor::{Reader, Write};
use mail::Uid;

use super::{Broken, ROW_VERSION, read_u32, version};
use crate::MailboxId;
use crate::limits::COPY_RANGES_MAX;

/// The target and the first UID that the copy was given there: no other copy has both.
pub fn copy_key(mailbox: MailboxId, copy: Uid) -> Vec<u8> {
    let mut key = super::mailbox_key(mailbox);
    key.extend_from_slice(&copy.0.to_be_bytes());
    key
}

/// The pair of `copy_key`.
pub fn read_copy_key(key: &[u8]) -> Result<(MailboxId, Uid), Broken> {
    let (mailbox, copy) = key.split_at_checked(8).ok_or(Broken)?;
    let copy = u32::from_be_bytes(copy.try_into().map_err(|_| Broken)?);
    Ok((super::read_mailbox_key(mailbox)?, Uid(copy)))
}

/// The value of a row: where the originals are, and what was placed.
pub fn encode_copy(from: MailboxId, ranges: &[(Uid, Uid)]) -> Vec<u8> {
    let mut out = vec![ROW_VERSION];
    out.put_varint(from.0);
    put_ranges(&mut out, ranges);
    out
}

/// The pair of `encode_copy`.
pub fn decode_copy(value: &[u8]) -> Result<(MailboxId, Vec<(Uid, Uid)>), Broken> {
    let reader = &mut Reader::new(value);
    version(reader)?;
    let from = MailboxId(reader.varint()?);
    let ranges = read_ranges(reader)?;
    if reader.is_empty() {
        Ok((from, ranges))
    } else {
        Err(Broken)
    }
}

/// First UID and how many follow, of each range.
pub fn put_ranges(out: &mut Vec<u8>, ranges: &[(Uid, Uid)]) {
    out.put_varint(ranges.len() as u64);
    for (low, high) in ranges {
        out.put_varint(u64::from(low.0));
        out.put_varint(u64::from(high.0 - low.0));
    }
}

/// What `put_ranges` wrote: ascending, and not empty anywhere.
pub fn read_ranges(reader: &mut Reader<'_>) -> Result<Vec<(Uid, Uid)>, Broken> {
    let count = reader.varint()?;
    if count > COPY_RANGES_MAX as u64 {
        return Err(Broken);
    }
    let mut ranges: Vec<(Uid, Uid)> = Vec::new();
    for _ in 0..count {
        let low = read_u32(reader)?;
        let high = low.checked_add(read_u32(reader)?).ok_or(Broken)?;
        if low == 0 || ranges.last().is_some_and(|before| before.1.0 >= low) {
            return Err(Broken);
        }
        ranges.push((Uid(low), Uid(high)));
    }
    Ok(ranges)
}
