//! UIDBATCHES (RFC 10022): the mailbox cut into ranges of UIDs, the newest messages first.

use imap::limits::BATCH_MESSAGES_MIN;
use imap::respond::{put, put_number, put_string};
use runtime::Connection;
use storage::owner::Ask;

use super::fault::Failure;
use super::limits::OUTPUT_BYTES_MAX;
use super::numbering::Numbering;
use super::selected::Selected;
use super::{Done, End, Imap, flush};

impl<K: Ask> Imap<K> {
    /// The ranges of the batches that were asked for. Neither `$` nor any message is touched.
    pub(super) async fn on_uid_batches(
        &self,
        selected: &Selected,
        tag: &str,
        (size, wanted): (u32, Option<(u32, u32)>),
        (out, connection): (&mut Vec<u8>, &mut impl Connection),
    ) -> Result<Result<Done, Failure>, End> {
        if size < BATCH_MESSAGES_MIN {
            return Ok(Err(Failure::No(
                "TOOFEW",
                "A batch must have at least 500 messages",
            )));
        }
        put(out, "* UIDBATCHES (TAG ");
        put_string(out, tag.as_bytes());
        put(out, ")");
        let (first, last) = wanted.unwrap_or((1, u32::MAX));
        let last = last.min(selected.numbering.count().div_ceil(size));
        for batch in first..=last {
            put(out, if batch == first { " " } else { "," });
            let (high, low) = range(&selected.numbering, size, batch);
            put_number(out, high);
            put(out, ":");
            put_number(out, low);
            if out.len() > OUTPUT_BYTES_MAX {
                flush(out, connection).await?;
            }
        }
        put(out, "\r\n");
        Ok(Ok(Done::plain("Uidbatches completed")))
    }
}

/// Highest and lowest UID of a batch that there is. Each range begins where the one before it ends, and the last ends at 1, so that together they hold
/// every UID: a message that is gone by then, or of which the client was not told yet, moves no boundary.
fn range(numbering: &Numbering, size: u32, batch: u32) -> (u32, u32) {
    // The number of the lowest message of a batch, where it is not the last batch.
    let lowest = |batch: u32| {
        let messages = batch.checked_mul(size)?;
        let number = numbering.count().checked_sub(messages)?.checked_add(1)?;
        numbering.uid_of(number).filter(|_| number > 1)
    };
    let high = match batch {
        1 => numbering.highest_uid(),
        _ => lowest(batch - 1).expect("the batch is not empty") - 1,
    };
    (high, lowest(batch).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(numbering: &Numbering, size: u32) -> Vec<(u32, u32)> {
        let count = numbering.count().div_ceil(size);
        (1..=count)
            .map(|batch| range(numbering, size, batch))
            .collect()
    }

    #[test]
    fn batches_hold_every_uid_once_and_no_more_messages_than_asked() {
        for count in [1, 499, 500, 501, 999, 1_000, 1_001, 4_321] {
            let numbering = Numbering::of((1..=count).map(|number| 3 * number + number % 3));
            let ranges = ranges(&numbering, 500);
            let mut next = numbering.highest_uid();
            for (index, &(high, low)) in ranges.iter().enumerate() {
                assert_eq!(high, next, "{count}");
                next = low - 1;
                let within = numbering.count_in_uids(&[(low, high)]);
                let is_last = index + 1 == ranges.len();
                assert!(within == 500 || is_last && within > 0, "{count}: {within}");
            }
            assert_eq!(next, 0, "{count}");
        }
    }

    #[test]
    fn the_largest_size_is_one_batch() {
        let numbering = Numbering::of([7, 9]);
        assert_eq!(ranges(&numbering, u32::MAX), [(9, 1)]);
    }
}
