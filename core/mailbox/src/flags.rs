//! Flags change, messages go (RFC 3501 §6.4.6, §6.4.3; RFC 4315 for UID EXPUNGE).

use std::collections::HashMap;

use mail::flags::KEYWORDS_MAX;
use mail::{Flags, ModSeq, SystemFlags, Uid};
use store::Purpose;

use crate::message::MessageEntry;
use crate::noun::Depth;
use crate::space::rows_of_part;
use crate::state::MailboxEntry;
use crate::{FlagChange, Flagged, MailboxFault, MailboxId, Mailboxes, Message};

impl Mailboxes {
    /// As `change_flags`; answers the messages only.
    pub async fn flag(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
        change: FlagChange,
        flags: &Flags,
    ) -> Result<Vec<Message>, MailboxFault> {
        let flagged = self
            .change_flags(mailbox, uids, change, flags, None)
            .await?;
        Ok(flagged.into_iter().map(|flagged| flagged.message).collect())
    }

    /// Answers the messages that exist, at their state after the change, in ascending order of UIDs. A change that changes
    /// nothing costs no write.
    ///
    /// `TooMany` when a message would have more than `KEYWORDS_MAX` keywords; of at most `UIDS_PER_RECORD_MAX` messages none is
    /// changed then. Only where another change of the same messages was on its way to the log, the ones that had room are.
    ///
    /// With `unchanged_since` a message that changed after it stays as it is, and is answered with `is_refused`. That is decided in the order of
    /// the log, so of two such changes at once one is refused.
    pub async fn change_flags(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
        change: FlagChange,
        flags: &Flags,
        unchanged_since: Option<ModSeq>,
    ) -> Result<Vec<Flagged>, MailboxFault> {
        if flags.keywords.len() > KEYWORDS_MAX {
            return Err(TOO_MANY_KEYWORDS);
        }
        let deletes = change != FlagChange::Remove && flags.system.contains(SystemFlags::DELETED);
        let purpose = if deletes {
            Purpose::Delete
        } else {
            Purpose::Keep
        };
        let mut answer = Vec::new();
        for uids in self.inner.in_parts(uids) {
            let (rows, depth) = (rows_of_part(&uids), Depth::From(uids[0]));
            let mut hold = self
                .inner
                .room_and_hold(purpose, rows, mailbox, depth)
                .await?;
            let _kept = self.inner.pin(mailbox);
            let (entry, before) = {
                let mut state = self.inner.state.borrow_mut();
                let entry = state
                    .mailboxes
                    .get_mut(&mailbox)
                    .ok_or(MailboxFault::NoMailbox)?;
                let found = entry.indexes_of(&uids);
                let found = found.into_iter().map(|index| &entry.messages[index]);
                // What is refused now is refused when the record takes effect: modification sequences only grow.
                let may_change = |message: &&Message| {
                    unchanged_since.is_none_or(|since| message.modseq <= since)
                };
                if change == FlagChange::Add
                    && !found
                        .clone()
                        .filter(may_change)
                        .all(|message| message.flags.has_room_for(flags))
                {
                    return Err(TOO_MANY_KEYWORDS);
                }
                let mut before = Before::of(entry, found.clone(), unchanged_since);
                let idle = entry.pending.get() == 0
                    && found
                        .clone()
                        .filter(may_change)
                        .all(|message| match change {
                            FlagChange::Replace => message.flags == *flags,
                            FlagChange::Add => message.flags.with(flags) == message.flags,
                            FlagChange::Remove => message.flags.without(flags) == message.flags,
                        });
                let uids = found.map(|message| message.uid).collect();
                if idle {
                    (None, before)
                } else {
                    hold.pend(entry, &self.inner.settled);
                    before.ours = entry.next_modseq();
                    let entry = MessageEntry::Flag {
                        mailbox,
                        modseq: before.ours,
                        change,
                        flags: flags.clone(),
                        unchanged_since,
                        uids,
                    };
                    (Some(entry), before)
                }
            };
            if let Some(entry) = entry {
                let entries = vec![entry.into()];
                self.inner.commit(Vec::new(), entries, hold).await?;
            }
            let ours = before.ours;
            let state = self.inner.state.borrow();
            let entry = state
                .mailboxes
                .get(&mailbox)
                .ok_or(MailboxFault::NoMailbox)?;
            let flagged = before.flagged(entry, &uids);
            // Where there was room when the change was given its number, another one may have taken it.
            let lost = |Flagged { message, .. }: &Flagged| {
                let kept = |keyword| message.flags.has_keyword(keyword);
                message.modseq == ours && !flags.keywords.iter().all(kept)
            };
            if change == FlagChange::Add && flagged.iter().any(lost) {
                return Err(TOO_MANY_KEYWORDS);
            }
            answer.extend(flagged);
        }
        Ok(answer)
    }

    /// Removes those of `uids` that are \Deleted now; answers which.
    pub async fn expunge(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
    ) -> Result<Vec<Uid>, MailboxFault> {
        self.expunge_those(mailbox, uids, Those::Deleted).await
    }

    /// Removes `uids` whatever their flags are; answers which were there. All of them or none across a crash, up to what fits a record
    /// and a full volume's reserve (`in_parts`): some 16,000 messages with segments of 64 MiB, and 1,000 with the smallest. Of more the
    /// lowest UIDs go first.
    pub async fn remove(&self, mailbox: MailboxId, uids: &[Uid]) -> Result<Vec<Uid>, MailboxFault> {
        self.expunge_those(mailbox, uids, Those::All).await
    }

    async fn expunge_those(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
        those: Those,
    ) -> Result<Vec<Uid>, MailboxFault> {
        let mut answer = Vec::new();
        for uids in self.inner.in_parts(uids) {
            let (rows, depth) = (rows_of_part(&uids), Depth::From(uids[0]));
            let mut hold = self
                .inner
                .room_and_hold(Purpose::Delete, rows, mailbox, depth)
                .await?;
            let _kept = self.inner.pin(mailbox);
            let (entry, asked) = {
                let mut state = self.inner.state.borrow_mut();
                let entry = state
                    .mailboxes
                    .get_mut(&mailbox)
                    .ok_or(MailboxFault::NoMailbox)?;
                let goes = |uid: &Uid| {
                    entry.find(*uid).is_some_and(|message| {
                        those == Those::All || message.flags.system.contains(SystemFlags::DELETED)
                    })
                };
                let uids: Vec<Uid> = uids.iter().copied().filter(goes).collect();
                if uids.is_empty() {
                    continue;
                }
                hold.pend(entry, &self.inner.settled);
                (
                    MessageEntry::Expunge {
                        mailbox,
                        modseq: entry.next_modseq(),
                        deleted_only: those == Those::Deleted,
                        uids: uids.clone(),
                    },
                    uids,
                )
            };
            let entries = vec![entry.into()];
            self.inner.commit(Vec::new(), entries, hold).await?;
            let state = self.inner.state.borrow();
            // Deleted with everything in it while we waited: then they are gone as well.
            let kept = |uid: &Uid| {
                state
                    .mailboxes
                    .get(&mailbox)
                    .is_some_and(|entry| entry.find(*uid).is_some())
            };
            answer.extend(asked.into_iter().filter(|uid| !kept(uid)));
        }
        Ok(answer)
    }
}

/// Which of the messages that are named go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Those {
    /// IMAP: the \Deleted ones.
    Deleted,
    /// POP3, which has no flags.
    All,
}

const TOO_MANY_KEYWORDS: MailboxFault = MailboxFault::TooMany("keywords on one message");

/// What was visible of the messages when a change of their flags was given its number.
struct Before {
    modseqs: HashMap<Uid, ModSeq>,
    /// The mailbox's.
    highest: ModSeq,
    /// Others' operations were on their way to the log.
    pending: bool,
    /// The change's own number; 0 when it changes nothing.
    ours: ModSeq,
    /// What changed after it is refused.
    unchanged_since: Option<ModSeq>,
}

impl Before {
    fn of<'m>(
        entry: &MailboxEntry,
        messages: impl Iterator<Item = &'m Message>,
        unchanged_since: Option<ModSeq>,
    ) -> Before {
        Before {
            modseqs: messages
                .map(|message| (message.uid, message.modseq))
                .collect(),
            highest: entry.head.highest_modseq,
            pending: entry.pending.get() > 0,
            ours: ModSeq(0),
            unchanged_since,
        }
    }

    /// After the change became visible: those of `uids` that exist, and what the others did around it.
    fn flagged(mut self, entry: &MailboxEntry, uids: &[Uid]) -> Vec<Flagged> {
        // Without this the numbers at the beginning are those right before the change: operations are applied in order.
        if self.pending {
            let between = entry.history.iter().rev();
            let between = between.take_while(|(modseq, _)| *modseq > self.highest);
            for (modseq, uid) in between.filter(|(modseq, _)| *modseq < self.ours) {
                if let Some(before) = self.modseqs.get_mut(uid) {
                    *before = (*before).max(*modseq);
                }
            }
        }
        let forgotten = self.pending && entry.history_floor > self.highest;
        let indexes = entry.indexes_of(uids).into_iter();
        let flagged = indexes.map(|index| {
            let message = entry.messages[index].clone();
            let before = self.modseqs.get(&message.uid).copied();
            let before = before.filter(|_| !forgotten);
            // Without memory of what was before, one that did not take the change counts as refused: its client asks again.
            let is_refused = self.unchanged_since.is_some_and(|since| {
                message.modseq != self.ours && before.is_none_or(|before| before > since)
            });
            Flagged {
                is_refused,
                is_last: message.modseq == self.ours || Some(message.modseq) == before,
                before,
                message,
            }
        });
        flagged.collect()
    }
}
