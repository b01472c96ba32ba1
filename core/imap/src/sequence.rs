//! Sequence sets (RFC 9051 §9 `sequence-set`): message numbers or UIDs, `*` for the highest in the mailbox.

use crate::limits::SEQUENCE_PIECES_MAX;

/// One end of a range; `None` is `*`.
pub type Bound = Option<u32>;

/// The pieces in the order given, numbers never 0; or `$`, the saved search result, which has no piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceSet {
    pieces: Vec<(Bound, Bound)>,
}

impl SequenceSet {
    /// The set of a single number.
    pub fn one(number: u32) -> SequenceSet {
        assert!(number > 0);
        SequenceSet {
            pieces: vec![(Some(number), Some(number))],
        }
    }

    /// RFC 9051 §6.4.4.1 `$`: the messages that the last SEARCH RETURN (SAVE) found.
    pub fn saved() -> SequenceSet {
        SequenceSet { pieces: Vec::new() }
    }

    /// `$`: the result that SEARCH RETURN (SAVE) left (RFC 9051 §6.4.4.1).
    pub fn is_saved(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Numbers only: neither `$` nor `*`.
    pub fn is_plain(&self) -> bool {
        let numbers = |pair: &(Bound, Bound)| pair.0.is_some() && pair.1.is_some();
        !self.is_saved() && self.pieces.iter().all(numbers)
    }

    /// `None` for no piece, a 0, or more than `SEQUENCE_PIECES_MAX` pieces.
    pub fn from_pieces(pieces: Vec<(Bound, Bound)>) -> Option<SequenceSet> {
        let usable = |pair: &(Bound, Bound)| pair.0 != Some(0) && pair.1 != Some(0);
        let ok =
            !pieces.is_empty() && pieces.len() <= SEQUENCE_PIECES_MAX && pieces.iter().all(usable);
        ok.then_some(SequenceSet { pieces })
    }

    /// RFC 9051 §9 sequence-set. `None`: wrong form, a zero, or more than `SEQUENCE_PIECES_MAX` pieces.
    pub fn parse(text: &[u8]) -> Option<SequenceSet> {
        if text == b"$" {
            return Some(SequenceSet::saved());
        }
        let mut pieces = Vec::new();
        for piece in text.split(|&byte| byte == b',') {
            if pieces.len() == SEQUENCE_PIECES_MAX {
                return None;
            }
            let mut ends = piece.splitn(2, |&byte| byte == b':');
            let first = bound(ends.next()?)?;
            let last = ends.next().map_or(Some(first), bound)?;
            pieces.push((first, last));
        }
        SequenceSet::from_pieces(pieces)
    }

    /// As ranges with both ends numbers, lower end first, ascending, not touching each other. `highest` is what `*` means;
    /// 0 for an empty mailbox, where `*` names nothing. None for `$`, which only its session can resolve.
    ///
    /// RFC 9051 §9 seq-range: `*` and the order of the two ends make no difference, so `559:*` contains the last message
    /// even when its UID is below 559.
    pub fn ranges(&self, highest: u32) -> Vec<(u32, u32)> {
        let mut ranges = Vec::with_capacity(self.pieces.len());
        for &(first, last) in &self.pieces {
            let (first, last) = (first.unwrap_or(highest), last.unwrap_or(highest));
            let (low, high) = (first.min(last), first.max(last));
            if high > 0 {
                ranges.push((low.max(1), high));
            }
        }
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        merged
    }

    /// The greatest number written out, `*` aside: a message number beyond the mailbox is the client's error.
    pub fn greatest(&self) -> Option<u32> {
        self.pieces
            .iter()
            .flat_map(|&(first, last)| [first, last])
            .flatten()
            .max()
    }

    /// The set in its form on the wire.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if self.is_saved() {
            out.push(b'$');
        }
        for (index, &(first, last)) in self.pieces.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            put_bound(out, first);
            if first != last {
                out.push(b':');
                put_bound(out, last);
            }
        }
    }
}

/// Is `number` in one of `ranges` (as `SequenceSet::ranges` gives them)?
pub fn contains(ranges: &[(u32, u32)], number: u32) -> bool {
    let after = ranges.partition_point(|&(low, _)| low <= number);
    after > 0 && ranges[after - 1].1 >= number
}

/// Ascending numbers as ranges that do not touch each other.
pub fn joined(numbers: impl IntoIterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.1.checked_add(1) == Some(number) => last.1 = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

/// Ascending numbers as a compact set: `1:3,7`. Empty for no numbers.
pub fn compact(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut out = String::new();
    let mut put = |low: u32, high: u32| {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&low.to_string());
        if high > low {
            out.push(':');
            out.push_str(&high.to_string());
        }
    };
    let mut open: Option<(u32, u32)> = None;
    for number in numbers {
        open = match open {
            Some((low, high)) if high.checked_add(1) == Some(number) => Some((low, number)),
            Some((low, high)) => {
                put(low, high);
                Some((number, number))
            }
            None => Some((number, number)),
        };
    }
    if let Some((low, high)) = open {
        put(low, high);
    }
    out
}

fn bound(text: &[u8]) -> Option<Bound> {
    if text == b"*" {
        return Some(None);
    }
    number(text).filter(|&number| number > 0).map(Some)
}

/// A decimal number of 32 bits, digits only.
pub(crate) fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 10 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn put_bound(out: &mut Vec<u8>, bound: Bound) {
    match bound {
        Some(number) => out.extend_from_slice(number.to_string().as_bytes()),
        None => out.push(b'*'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_turned_ranges_are_resolved() {
        let set = SequenceSet::parse(b"5:3,9,*,559:*").unwrap();
        assert_eq!(set.ranges(12), [(3, 5), (9, 9), (12, 559)]);
        assert_eq!(
            SequenceSet::parse(b"1:4,3:9,10").unwrap().ranges(12),
            [(1, 10)]
        );
        assert_eq!(SequenceSet::parse(b"*").unwrap().ranges(0), []);
        assert!(contains(&[(3, 5), (9, 9)], 4));
        assert!(!contains(&[(3, 5), (9, 9)], 6));
        assert!(!contains(&[(3, 5)], 2));
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in [
            "",
            "0",
            "1:0",
            "1,,2",
            "a",
            "1:2:3",
            "4294967296",
            ",1",
            "-1",
            "1:",
            "1,$",
            "$:3",
            "$$",
        ] {
            assert_eq!(SequenceSet::parse(text.as_bytes()), None, "{text}");
        }
        let many = vec!["1"; SEQUENCE_PIECES_MAX + 1].join(",");
        assert_eq!(SequenceSet::parse(many.as_bytes()), None);
    }

    #[test]
    fn neighbours_are_joined() {
        assert_eq!(compact([1, 2, 3, 7, u32::MAX]), "1:3,7,4294967295");
        assert_eq!(compact([]), "");
    }
}
