//! The messages that are \Recent in one session (RFC 3501 §2.3.2): the first session that is notified of them has them. One
//! that selected read-write claims them from `Mailboxes`, one that only examines looks and leaves them to others.

use imap::sequence;
use mail::Uid;

use super::numbering::Numbering;

/// UIDs that are \Recent here.
#[derive(Debug, Default, Clone)]
pub struct Recent {
    /// UIDs in ranges, ascending, not touching each other. What was expunged since may lie between.
    ranges: Vec<(u32, u32)>,
}

impl Recent {
    /// First and last UID as `Mailboxes::recent` answers them: each time what came later, or the same and more.
    pub fn add(&mut self, found: Option<(Uid, Uid)>) {
        let Some((Uid(first), Uid(last))) = found else {
            return;
        };
        match self.ranges.last_mut() {
            Some(range) if first <= range.1.saturating_add(1) => range.1 = range.1.max(last),
            _ => self.ranges.push((first, last)),
        }
    }

    /// Whether FETCH reports \Recent for the message.
    pub fn contains(&self, uid: Uid) -> bool {
        sequence::contains(&self.ranges, uid.0)
    }

    /// How many of them have a number.
    pub fn count(&self, numbering: &Numbering) -> u32 {
        numbering.count_in_uids(&self.ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_and_are_counted_by_what_is_there() {
        let mut recent = Recent::default();
        recent.add(None);
        recent.add(Some((Uid(3), Uid(4))));
        recent.add(Some((Uid(5), Uid(6))));
        recent.add(Some((Uid(3), Uid(7))));
        recent.add(Some((Uid(20), Uid(20))));
        assert_eq!(recent.ranges, [(3, 7), (20, 20)]);
        assert!(recent.contains(Uid(7)) && !recent.contains(Uid(8)) && !recent.contains(Uid(2)));
        assert_eq!(recent.count(&Numbering::of([1, 2, 3, 6, 7, 8, 20])), 4);
        assert_eq!(recent.count(&Numbering::default()), 0);
    }
}
