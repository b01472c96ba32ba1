//! What a client learns that comes back after a while (RFC 7162): which messages changed since a modification sequence, and which went.

use mail::{ModSeq, Uid};

use crate::noun::Depth;
use crate::state::MailboxEntry;
use crate::{MailboxFault, MailboxId, Mailboxes, UidRun};

/// First and last UID, ascending; ranges do not touch each other.
pub type UidRanges = [(Uid, Uid)];

/// What happened to some messages after a modification sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resync {
    /// Those that are there and changed or came, ascending.
    pub changed: Vec<Uid>,
    /// UIDs without a message, ascending, in runs that cannot be joined. With `exact` those that were expunged since; without it all of them,
    /// also such as never were (RFC 7162 §3.2.6).
    pub vanished: Vec<UidRun>,
    /// The mailbox remembers every expunge since.
    pub exact: bool,
}

impl Mailboxes {
    /// What happened to the messages in `within` after `since`. `vanished`: whether expunges are asked for; a walk through the messages
    /// in either case.
    pub async fn resync(
        &self,
        mailbox: MailboxId,
        since: ModSeq,
        within: &UidRanges,
        vanished: bool,
    ) -> Result<Resync, MailboxFault> {
        let _hold = self.inner.hold_mailbox(mailbox, Depth::All).await?;
        let state = self.inner.state.borrow();
        let entry = state
            .mailboxes
            .get(&mailbox)
            .ok_or(MailboxFault::NoMailbox)?;
        Ok(entry.resync(since, within, vanished))
    }
}

impl MailboxEntry {
    /// All messages must be in memory.
    fn resync(&self, since: ModSeq, within: &UidRanges, vanished: bool) -> Resync {
        let mut resync = Resync {
            changed: Vec::new(),
            vanished: Vec::new(),
            exact: true,
        };
        if since < self.head.highest_modseq {
            let mut within = within.iter().peekable();
            let asked = |uid: Uid| {
                while within.next_if(|range| range.1 < uid).is_some() {}
                within.peek().is_some_and(|range| range.0 <= uid)
            };
            let changed = self.messages.iter();
            let changed = changed.filter(|message| message.modseq > since);
            let mut asked = asked;
            resync.changed = changed
                .map(|message| message.uid)
                .filter(|uid| asked(*uid))
                .collect();
        }
        if !vanished {
            return resync;
        }
        let absent = u64::from(self.head.uid_next.0.saturating_sub(1))
            .saturating_sub(self.messages.len() as u64);
        let gone = self.gone.as_ref();
        let gone = gone.filter(|gone| since >= self.head.highest_modseq || gone.is_whole(absent));
        let gone = gone.and_then(|gone| gone.since(since));
        resync.vanished = match gone {
            Some(gone) => {
                let mut runs: Vec<UidRun> = gone.collect();
                runs.sort_unstable_by_key(|run| run.first);
                let runs = runs.into_iter();
                let ranges = runs.map(|run| (run.first, Uid(run.first.0 + (run.count - 1))));
                meeting(ranges, within)
            }
            None => {
                resync.exact = false;
                meeting(self.absent(), within)
            }
        };
        resync
    }

    /// Every UID below UIDNEXT that no message has, in ranges.
    fn absent(&self) -> impl Iterator<Item = (Uid, Uid)> + '_ {
        let uids = self.messages.iter().map(|message| message.uid.0);
        let mut next = 1;
        let ends = uids.chain([self.head.uid_next.0]);
        ends.filter_map(move |uid| {
            let from = next;
            next = uid.saturating_add(1);
            (from < uid).then(|| (Uid(from), Uid(uid - 1)))
        })
    }
}

/// What both name; both ascend.
fn meeting(ranges: impl Iterator<Item = (Uid, Uid)>, within: &UidRanges) -> Vec<UidRun> {
    let mut met: Vec<UidRun> = Vec::new();
    for (low, high) in ranges {
        let from = within.partition_point(|range| range.1 < low);
        for range in within[from..].iter().take_while(|range| range.0 <= high) {
            let (first, last) = (low.max(range.0), high.min(range.1));
            let count = last.0 - first.0 + 1;
            match met.last_mut() {
                Some(run) if run.first.0 + run.count == first.0 => run.count += count,
                _ => met.push(UidRun { first, count }),
            }
        }
    }
    met
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet_where_both_are() {
        let uids = |pairs: &[(u32, u32)]| -> Vec<(Uid, Uid)> {
            let pairs = pairs.iter();
            pairs.map(|&(low, high)| (Uid(low), Uid(high))).collect()
        };
        let met = |ranges: &[(u32, u32)], within: &[(u32, u32)]| -> Vec<(u32, u32)> {
            let met = meeting(uids(ranges).into_iter(), &uids(within));
            met.iter().map(|run| (run.first.0, run.count)).collect()
        };
        assert_eq!(
            met(&[(1, 9), (12, 14)], &[(3, 4), (8, 12), (14, u32::MAX)]),
            [(3, 2), (8, 2), (12, 1), (14, 1)]
        );
        assert_eq!(met(&[(1, 4), (5, 9)], &[(1, u32::MAX)]), [(1, 9)]);
        assert_eq!(met(&[(5, u32::MAX)], &[(1, 4)]), []);
        assert_eq!(met(&[], &[(1, 4)]), []);
    }
}
