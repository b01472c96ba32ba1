//! What a COPY of several groups placed is taken back when it failed, and at the start after a crash (RFC 3501 §6.4.7).
//!
//! The messages were visible meanwhile: a person may have taken them for good and deleted the originals. So only a copy goes whose source has that
//! mail at this moment; what the source has no more stays where it was copied to. Wherever a copy goes, another message of the same body is left.

use std::cell::Cell;
use std::collections::HashSet;

use base::BodyName;
use mail::Uid;

use super::{MailboxFault, MailboxId, Mailboxes};
use crate::copying::CopyEntry;
use crate::deliver::Standing;
use crate::limits::UIDS_PER_RECORD_MAX;
use crate::message::MessageEntry;
use crate::noun::Depth;
use crate::record::Entry;
use crate::row::Chunk;
use crate::state::{MailboxEntry, Unfinished};

/// A part of the messages of a copy that are there.
struct Step {
    /// Their originals are not there any more.
    kept_count: usize,
    /// Where the next part begins; `None`: this is the last one.
    next: Option<Uid>,
}

impl Mailboxes {
    /// After a crash. What cannot be taken back now stays marked for the next start.
    pub(crate) async fn take_back_unfinished(&self) {
        let unfinished: Vec<(MailboxId, Uid)> = {
            let state = self.inner.state.borrow();
            state.unfinished.keys().copied().collect()
        };
        for (mailbox, copy) in unfinished {
            match self.take_back(mailbox, copy).await {
                Ok(kept) => {
                    tracing::info!(
                        mailbox = mailbox.0,
                        kept,
                        "an unfinished COPY was taken back"
                    );
                }
                Err(fault) => {
                    tracing::warn!(mailbox = mailbox.0, %fault, "an unfinished COPY stays in the mailbox until the next start");
                }
            }
        }
    }

    /// What `copy` has placed, as far as its originals are there; the mark goes with the last of it. How many messages stay.
    pub(super) async fn take_back(
        &self,
        mailbox: MailboxId,
        copy: Uid,
    ) -> Result<usize, MailboxFault> {
        let rows_max = self.inner.store.rows_at_once() / 2;
        let (at, mut kept_count) = (Cell::new(Uid(0)), 0);
        loop {
            // until the mark is gone
            let step = self.inner.deleting(rows_max, async || {
                self.take_some_back(mailbox, copy, at.get()).await
            });
            let step = step.await?;
            kept_count += step.kept_count;
            match step.next {
                Some(next) => at.set(next),
                None => return Ok(kept_count),
            }
        }
    }

    /// The part of it that begins at `begin`.
    async fn take_some_back(
        &self,
        mailbox: MailboxId,
        copy: Uid,
        begin: Uid,
    ) -> Result<Step, MailboxFault> {
        loop {
            // until nothing is under way in the source
            let unfinished = self
                .inner
                .state
                .borrow()
                .unfinished
                .get(&(mailbox, copy))
                .cloned();
            let Some(Unfinished { from, ranges }) = unfinished else {
                return Err(MailboxFault::NoMailbox);
            };
            let lowest = ranges.first().map(|(low, _)| *low);
            let mut hold = self
                .inner
                .hold_mailbox(mailbox, Depth::from_lowest(lowest))
                .await?;
            let has_source = match self.inner.hold_mailbox(from, Depth::All).await {
                Ok(source) => {
                    hold.join(source);
                    true
                }
                Err(MailboxFault::NoMailbox | MailboxFault::NoAccount) => false,
                Err(fault) => return Err(fault),
            };
            match self.inner.standing(&[mailbox]) {
                Standing::Open => {}
                Standing::Frozen(wait) => {
                    wait.await;
                    continue;
                }
                Standing::Gone => return Err(MailboxFault::NoMailbox),
            }
            // A deletion that was appended and is not applied yet would take an original that is counted on here.
            if has_source && self.inner.is_pending(from) {
                self.inner.settled.wait().await;
                continue;
            }

            // No await from here to `commit`: what is deleted from the source from now on is behind this in the log.
            let has_source = has_source && !matches!(self.inner.standing(&[from]), Standing::Gone);
            let rows_max = self.inner.store.rows_at_once() / 2;
            let mut entries: Vec<Entry> = Vec::new();
            let step = {
                let mut state = self.inner.state.borrow_mut();
                let source = state.mailboxes.get(&from).filter(|_| has_source);
                let target = state.mailboxes.get(&mailbox).expect("it is held and open");
                let (copies, next) = some_of(target, &ranges, begin, rows_max);
                // A copy into the same mailbox is not its own original.
                let is_own = |uid: Uid| from == mailbox && is_within(&ranges, uid);
                let back = with_originals(&copies, source, is_own);
                let target = state.mailboxes.get_mut(&mailbox);
                let target = target.expect("it is held and open");
                hold.pend(target, &self.inner.settled);
                if !back.is_empty() {
                    let expunge = MessageEntry::Expunge {
                        mailbox,
                        modseq: target.next_modseq(),
                        deleted_only: false,
                        uids: back.clone(),
                    };
                    entries.push(expunge.into());
                }
                Step {
                    kept_count: copies.len() - back.len(),
                    next,
                }
            };
            if step.next.is_none() {
                entries.push(CopyEntry::Done { mailbox, copy }.into());
            }
            if !entries.is_empty() {
                self.inner.commit(Vec::new(), entries, hold).await?;
            }
            return Ok(step);
        }
    }
}

fn is_within(ranges: &[(Uid, Uid)], uid: Uid) -> bool {
    let after = ranges.partition_point(|(low, _)| *low <= uid);
    after > 0 && ranges[after - 1].1 >= uid
}

/// Messages of `ranges` from `begin` on, as many as fit one record and `rows_max` rows, and where the next ones begin.
fn some_of(
    target: &MailboxEntry,
    ranges: &[(Uid, Uid)],
    begin: Uid,
    rows_max: u64,
) -> (Vec<(Uid, BodyName)>, Option<Uid>) {
    let (mut some, mut chunks, mut last) = (Vec::new(), 0, None);
    let first = target
        .messages
        .partition_point(|message| message.uid < begin);
    let rest = target.messages[first..].iter();
    for message in rest.filter(|message| is_within(ranges, message.uid)) {
        let chunk = Some(Chunk::of(message.uid));
        chunks += u64::from(chunk != last);
        last = chunk;
        let is_full = chunks > rows_max || some.len() == UIDS_PER_RECORD_MAX;
        if is_full && !some.is_empty() {
            return (some, Some(message.uid));
        }
        some.push((message.uid, message.body.name));
    }
    (some, None)
}

/// Those of `copies` whose body some message of `source` has that is not one of them.
fn with_originals(
    copies: &[(Uid, BodyName)],
    source: Option<&MailboxEntry>,
    is_own: impl Fn(Uid) -> bool,
) -> Vec<Uid> {
    let asked: HashSet<BodyName> = copies.iter().map(|(_, name)| *name).collect();
    let originals = source.into_iter().flat_map(|source| source.messages.iter());
    let originals: HashSet<BodyName> = originals
        .filter(|message| asked.contains(&message.body.name) && !is_own(message.uid))
        .map(|message| message.body.name)
        .collect();
    let goes = copies.iter().filter(|(_, name)| originals.contains(name));
    goes.map(|(uid, _)| *uid).collect()
}
