//! Rows of a mailbox's list that a connection holds until its client has taken what is about them.

use mailbox::Message;

use super::limits::ROWS_BYTES_PER_TURN_MAX;

/// How many of `messages`, from the first, a connection may hold at once: one at least.
pub fn fitting(messages: &[Message]) -> usize {
    fitting_in(messages, ROWS_BYTES_PER_TURN_MAX)
}

/// The same of a connection that has paid for `bytes_max`.
fn fitting_in(messages: &[Message], bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fits = messages.iter().take_while(|message| {
        bytes += message.memory_bytes();
        bytes <= bytes_max
    });
    fits.count().max(1).min(messages.len())
}

/// Keeps as many of `messages` as may be held. How many of the `asked` UIDs that settles: the others are to be asked for again.
/// `up_to`: how many of them are not above a UID.
pub fn keep_fitting(
    messages: &mut Vec<Message>,
    asked: usize,
    up_to: impl FnOnce(u32) -> usize,
) -> usize {
    keep_fitting_in(messages, asked, ROWS_BYTES_PER_TURN_MAX, up_to)
}

/// The same of a connection that has paid for `bytes_max`.
pub fn keep_fitting_in(
    messages: &mut Vec<Message>,
    asked: usize,
    bytes_max: usize,
    up_to: impl FnOnce(u32) -> usize,
) -> usize {
    let count = fitting_in(messages, bytes_max);
    if count == messages.len() {
        return asked;
    }
    messages.truncate(count);
    up_to(messages[count - 1].uid.0)
}

#[cfg(test)]
pub mod tests {
    use mail::{Flags, Keyword, SystemFlags};

    use super::super::sample::message;
    use super::*;

    /// With as many and as long keywords as there may be.
    pub fn large(uid: u32) -> Message {
        let keyword = |number| Keyword::parse(&format!("{number:0>64}")).expect("an atom");
        let mut message = message(uid, 2);
        message.flags = Flags {
            system: SystemFlags::default(),
            keywords: (0..64).map(keyword).collect(),
        };
        message
    }

    #[test]
    fn rows_are_held_by_what_they_take() {
        let plain: Vec<Message> = (1..=512).map(|uid| message(uid, 2)).collect();
        assert_eq!(fitting(&plain), 512, "a turn of plain ones");
        let large: Vec<Message> = (1..=512).map(large).collect();
        let count = fitting(&large);
        assert!((1..=32).contains(&count), "{count}");
        assert_eq!(fitting(&large[..1]), 1);
        assert_eq!(fitting(&[]), 0);
    }

    #[test]
    fn what_is_not_kept_is_asked_for_again() {
        // Every second UID is there.
        let uids: Vec<u32> = (1..=200).collect();
        let mut messages: Vec<Message> = (1..=100).map(|index| large(2 * index)).collect();
        let settled = keep_fitting(&mut messages, uids.len(), |uid| {
            uids.partition_point(|&other| other <= uid)
        });
        assert_eq!(settled, 2 * messages.len());
        assert!(messages.len() < 100);
        let mut few = vec![message(2, 2)];
        assert_eq!(
            keep_fitting(&mut few, 200, |_| unreachable!("all fit")),
            200
        );
        assert_eq!(few.len(), 1);
    }
}
