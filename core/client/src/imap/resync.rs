//! A client that comes back (RFC 7162 §3.2): what it says it knows, and the VANISHED lines that it gets.

use imap::command;
use imap::respond::{put, put_number};
use imap::sequence::{self, SequenceSet};
use mail::{ModSeq, Uid, UidValidity};

use super::limits::VANISHED_RANGES_PER_LINE_MAX;
use super::numbering::Numbering;

/// What SELECT (QRESYNC …) asks of storage.
#[derive(Clone)]
pub struct Asked {
    /// With another one nothing is answered.
    pub uid_validity: UidValidity,
    pub since: ModSeq,
    /// The UIDs that the client knows.
    pub within: Vec<(Uid, Uid)>,
}

impl Asked {
    pub fn of(resync: &command::Resync) -> Asked {
        let all = || vec![(Uid(1), Uid(u32::MAX))];
        Asked {
            uid_validity: UidValidity(resync.uid_validity),
            since: resync.modseq,
            within: resync.known.as_ref().map_or_else(all, known),
        }
    }
}

/// The UIDs of a set without `$`; `*` reaches to the end, for the last messages may be gone.
pub fn known(set: &SequenceSet) -> Vec<(Uid, Uid)> {
    let ranges = set.ranges(u32::MAX).into_iter();
    ranges.map(|(low, high)| (Uid(low), Uid(high))).collect()
}

/// RFC 7162 §3.2.5.2: the greatest of the UIDs that still have the number which the client gives. Nothing up to it went since the client
/// looked, for each message that goes moves the numbers above it. 0: none.
pub fn matched(matches: &(SequenceSet, SequenceSet), numbering: &Numbering) -> u32 {
    let each = |set: &SequenceSet| {
        let ranges = set.ranges(0).into_iter();
        ranges.flat_map(|(low, high)| low..=high)
    };
    // Ends with the mailbox: both ascend.
    let pairs = std::iter::zip(each(&matches.0), each(&matches.1));
    let pairs = pairs.take_while(|(number, _)| *number <= numbering.count());
    let right = pairs.filter(|(number, uid)| numbering.number_of(*uid) == Some(*number));
    right.last().map_or(0, |(_, uid)| uid)
}

/// VANISHED lines, put into `out` one at a time: there may be very many ranges.
pub struct Vanished {
    /// What stands between the word and the UIDs.
    earlier: &'static str,
    ranges: std::vec::IntoIter<(u32, u32)>,
}

impl Vanished {
    /// Of messages that went before the client looked (RFC 7162 §3.2.10.1): no number changes.
    pub fn earlier(ranges: Vec<(u32, u32)>) -> Vanished {
        Vanished {
            earlier: "(EARLIER) ",
            ranges: ranges.into_iter(),
        }
    }

    /// Of messages that had a number until now (RFC 7162 §3.2.10.2). `uids` ascend.
    pub fn now(uids: impl Iterator<Item = u32>) -> Vanished {
        Vanished {
            earlier: "",
            ranges: sequence::joined(uids).into_iter(),
        }
    }

    /// `false`: there is no further line.
    pub fn put_line(&mut self, out: &mut Vec<u8>) -> bool {
        if self.ranges.len() == 0 {
            return false;
        }
        put(out, "* VANISHED ");
        put(out, self.earlier);
        let some = self.ranges.by_ref().take(VANISHED_RANGES_PER_LINE_MAX);
        for (index, (low, high)) in some.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            put_number(out, low);
            if high > low {
                out.push(b':');
                put_number(out, high);
            }
        }
        put(out, "\r\n");
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_still_fit_say_what_is_left() {
        let set = |text: &str| SequenceSet::parse(text.as_bytes()).unwrap();
        let numbering = Numbering::of([1, 2, 3, 5, 8, 9]);
        for (numbers, uids, greatest) in [
            ("1,3", "1,3", 3),
            ("1:3,4", "1:3,5", 5),
            ("1,3,5", "1,3,7", 3),
            ("4", "4", 0),
            ("3,9", "3,20", 3),
            ("1:4294967295", "1:4294967295", 3),
        ] {
            let matches = (set(numbers), set(uids));
            assert_eq!(matched(&matches, &numbering), greatest, "{numbers} {uids}");
        }
    }

    #[test]
    fn many_ranges_take_several_lines() {
        let count = 2 * VANISHED_RANGES_PER_LINE_MAX as u32 + 1;
        let mut vanished = Vanished::now((1..=count).map(|number| 2 * number));
        let mut lines = Vec::new();
        let mut out = Vec::new();
        while vanished.put_line(&mut out) {
            lines.push(String::from_utf8(std::mem::take(&mut out)).unwrap());
        }
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.starts_with("* VANISHED ")));
        assert_eq!(lines[2], format!("* VANISHED {}\r\n", 2 * count));
        let mut earlier = Vanished::earlier(vec![(1, 3), (7, 7)]);
        assert!(earlier.put_line(&mut out) && !earlier.put_line(&mut out));
        assert_eq!(out, b"* VANISHED (EARLIER) 1:3,7\r\n");
    }
}
