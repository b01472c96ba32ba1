//! The messages of a session: numbers, sizes and marks as RFC 1939 §5 has them. They are those of the login, whatever happens to the
//! mailbox meanwhile.

use mail::{Uid, UidValidity};

use crate::limits::MESSAGES_MAX;

/// The maildrop of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maildrop {
    uid_validity: UidValidity,
    /// By number, the first of which is 1. UIDs ascend.
    messages: Vec<Entry>,
    /// A bit for each message: it is marked as deleted.
    deleted: Vec<u64>,
    /// All messages, and their octets.
    all: Totals,
    /// The same of those that are not marked.
    left: Totals,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    uid: Uid,
    octets: u32,
}

/// How many messages, and how many octets they have together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub messages: u32,
    pub octets: u64,
}

/// There are more messages than a session may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Maildrop {
    /// Bytes that the list of so many messages takes.
    pub const fn memory_bytes(messages: usize) -> usize {
        messages * size_of::<Entry>() + messages.div_ceil(64) * size_of::<u64>()
    }

    /// `messages`: UID, and octets on the wire without doubled dots. UIDs ascend. `expected` is how many there will be, about.
    pub fn new(
        uid_validity: UidValidity,
        expected: usize,
        messages: impl IntoIterator<Item = (Uid, u32)>,
    ) -> Result<Maildrop, TooMany> {
        let mut maildrop = Maildrop {
            uid_validity,
            messages: Vec::with_capacity(expected.min(MESSAGES_MAX)),
            deleted: Vec::new(),
            all: Totals::default(),
            left: Totals::default(),
        };
        for (uid, octets) in messages {
            if maildrop.messages.len() == MESSAGES_MAX {
                return Err(TooMany);
            }
            maildrop.all.messages += 1;
            maildrop.all.octets += u64::from(octets);
            maildrop.messages.push(Entry { uid, octets });
        }
        maildrop.left = maildrop.all;
        maildrop.deleted = vec![0; maildrop.messages.len().div_ceil(64)];
        Ok(maildrop)
    }

    /// What is not marked as deleted.
    pub fn left(&self) -> Totals {
        self.left
    }

    /// UID and octets of the message; `None`: there is none of the number, or it is marked as deleted.
    pub fn message(&self, number: u32) -> Option<(Uid, u32)> {
        let index = (number as usize).checked_sub(1)?;
        let entry = self.messages.get(index)?;
        (!self.is_deleted(index)).then_some((entry.uid, entry.octets))
    }

    /// The first message of `number` or a higher one that is not marked: its number, UID and octets. Marks are passed 64 at a time: many
    /// lists of a large maildrop that is marked whole may be asked for in a few bytes.
    pub fn next(&self, number: u32) -> Option<(u32, Uid, u32)> {
        let mut index = (number as usize).max(1) - 1;
        while let Some(marks) = self.deleted.get(index / 64) {
            // Of what is behind the last message no bit is set: `get` says that there is none.
            let unmarked = !marks >> (index % 64);
            if unmarked != 0 {
                index += unmarked.trailing_zeros() as usize;
                let entry = self.messages.get(index)?;
                return Some((index as u32 + 1, entry.uid, entry.octets));
            }
            index = (index / 64 + 1) * 64;
        }
        None
    }

    /// RFC 1939 §7 UIDL: 16 characters, which are the message's for good. UIDVALIDITY and UID are never given twice and outlast
    /// restarts; a hash of the bytes would be the same for two copies of one message.
    pub fn unique_id(&self, uid: Uid) -> String {
        format!("{:08x}{:08x}", self.uid_validity.0, uid.0)
    }

    /// Marks the message. `false`: there is none of the number, or it is marked already.
    pub fn delete(&mut self, number: u32) -> bool {
        let Some((_, octets)) = self.message(number) else {
            return false;
        };
        let index = number as usize - 1;
        self.deleted[index / 64] |= 1 << (index % 64);
        self.left.messages -= 1;
        self.left.octets -= u64::from(octets);
        true
    }

    /// Takes every mark away.
    pub fn reset(&mut self) {
        self.deleted.fill(0);
        self.left = self.all;
    }

    /// UIDs of the messages that are marked, ascending.
    pub fn deleted(&self) -> Vec<Uid> {
        let all = self.messages.iter().enumerate();
        let deleted = all.filter(|(index, _)| self.is_deleted(*index));
        deleted.map(|(_, entry)| entry.uid).collect()
    }

    fn is_deleted(&self, index: usize) -> bool {
        self.deleted[index / 64] >> (index % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_take_messages_out_of_the_totals_and_give_them_back() {
        let all = (1..=130).map(|uid| (Uid(3 * uid), uid));
        let mut maildrop = Maildrop::new(UidValidity(7), 130, all).expect("few");
        let whole = maildrop.left();
        assert_eq!((whole.messages, whole.octets), (130, 130 * 131 / 2));
        for number in [1, 64, 65, 128, 130] {
            assert!(maildrop.delete(number));
            assert!(!maildrop.delete(number), "it is marked already");
            assert_eq!(maildrop.message(number), None);
        }
        assert!(!maildrop.delete(0) && !maildrop.delete(131) && !maildrop.delete(u32::MAX));
        let uids = [3, 192, 195, 384, 390].map(Uid);
        assert_eq!(maildrop.deleted(), uids);
        assert_eq!(maildrop.left().messages, 125);
        assert_eq!(
            maildrop.left().octets,
            whole.octets - (1 + 64 + 65 + 128 + 130)
        );
        assert_eq!(maildrop.message(2), Some((Uid(6), 2)), "numbers stay");
        let mut number = 1;
        let listed = std::iter::from_fn(|| {
            let next = maildrop.next(number)?;
            number = next.0 + 1;
            Some(next)
        });
        let unmarked = (1..=130).filter_map(|number| {
            let (uid, octets) = maildrop.message(number)?;
            Some((number, uid, octets))
        });
        assert!(listed.eq(unmarked));
        maildrop.reset();
        assert_eq!(maildrop.left(), whole);
        assert!(maildrop.deleted().is_empty());
        assert!((1..=130).all(|number| maildrop.delete(number)));
        assert_eq!(
            (maildrop.next(1), maildrop.left()),
            (None, Totals::default())
        );
        assert_eq!((maildrop.next(0), maildrop.next(u32::MAX)), (None, None));
        maildrop.reset();
        assert_eq!(maildrop.next(0), Some((1, Uid(3), 1)));
    }

    #[test]
    fn no_more_messages_are_listed_than_are_planned() {
        let all = |count: usize| (1..=count as u32).map(|uid| (Uid(uid), u32::MAX));
        let full = Maildrop::new(UidValidity(1), MESSAGES_MAX, all(MESSAGES_MAX));
        let full = full.expect("as many as there may be");
        assert_eq!(
            full.left().octets,
            MESSAGES_MAX as u64 * u64::from(u32::MAX)
        );
        assert_eq!(Maildrop::memory_bytes(MESSAGES_MAX), 1_625_000);
        let one_more = Maildrop::new(UidValidity(1), 0, all(MESSAGES_MAX + 1));
        assert_eq!(one_more, Err(TooMany));
    }

    #[test]
    fn a_unique_id_is_of_both_numbers() {
        let maildrop = Maildrop::new(UidValidity(0x5f), 0, []).expect("empty");
        assert_eq!(maildrop.unique_id(Uid(u32::MAX)), "0000005fffffffff");
    }
}
