//! Flags change, messages go (RFC 3501 §6.4.6, §6.4.3; RFC 4315 for UID EXPUNGE).

use mail::flags::KEYWORDS_MAX;
use mail::{Flags, SystemFlags, Uid};
use store::Purpose;

use crate::load::Depth;
use crate::record::Entry;
use crate::space::rows_of_part;
use crate::{FlagChange, MailboxFault, MailboxId, Mailboxes, Message};

impl Mailboxes {
    /// Answers the messages that exist, at their state after the change. A change that changes nothing costs no write.
    pub async fn flag(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
        change: FlagChange,
        flags: &Flags,
    ) -> Result<Vec<Message>, MailboxFault> {
        if flags.keywords.len() > KEYWORDS_MAX {
            return Err(MailboxFault::TooMany("keywords"));
        }
        let deletes = change != FlagChange::Remove && flags.system.contains(SystemFlags::DELETED);
        let purpose = if deletes {
            Purpose::Delete
        } else {
            Purpose::Keep
        };
        let mut answer = Vec::new();
        for uids in self.inner.in_parts(uids) {
            self.inner
                .room_for(purpose, false, rows_of_part(&uids))
                .await?;
            let mut hold = self.hold_open(mailbox, Depth::From(uids[0])).await?;
            let _kept = self.inner.pin(mailbox);
            let entry = {
                let mut state = self.inner.state.borrow_mut();
                let entry = state
                    .mailboxes
                    .get_mut(&mailbox)
                    .ok_or(MailboxFault::NoMailbox)?;
                let found = entry.indexes_of(&uids);
                let found = found.into_iter().map(|index| &entry.messages[index]);
                let idle = entry.pending.get() == 0
                    && found.clone().all(|message| match change {
                        FlagChange::Replace => message.flags == *flags,
                        FlagChange::Add => message.flags.with(flags) == message.flags,
                        FlagChange::Remove => message.flags.without(flags) == message.flags,
                    });
                let uids = found.map(|message| message.uid).collect();
                if idle {
                    None
                } else {
                    hold.pend(entry, &self.inner.settled);
                    Some(Entry::Flag {
                        mailbox,
                        modseq: entry.next_modseq(),
                        change,
                        flags: flags.clone(),
                        uids,
                    })
                }
            };
            if let Some(entry) = entry {
                self.inner.commit(Vec::new(), vec![entry], hold).await?;
            }
            let state = self.inner.state.borrow();
            let entry = state
                .mailboxes
                .get(&mailbox)
                .ok_or(MailboxFault::NoMailbox)?;
            let indexes = entry.indexes_of(&uids);
            answer.extend(
                indexes
                    .into_iter()
                    .map(|index| entry.messages[index].clone()),
            );
        }
        Ok(answer)
    }

    /// Removes those of `uids` that are \Deleted now; answers which.
    pub async fn expunge(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
    ) -> Result<Vec<Uid>, MailboxFault> {
        let mut answer = Vec::new();
        for uids in self.inner.in_parts(uids) {
            self.inner
                .room_for(Purpose::Delete, false, rows_of_part(&uids))
                .await?;
            let mut hold = self.hold_open(mailbox, Depth::From(uids[0])).await?;
            let _kept = self.inner.pin(mailbox);
            let (entry, asked) = {
                let mut state = self.inner.state.borrow_mut();
                let entry = state
                    .mailboxes
                    .get_mut(&mailbox)
                    .ok_or(MailboxFault::NoMailbox)?;
                let deleted = |uid: &Uid| {
                    entry
                        .find(*uid)
                        .is_some_and(|message| message.flags.system.contains(SystemFlags::DELETED))
                };
                let uids: Vec<Uid> = uids.iter().copied().filter(deleted).collect();
                if uids.is_empty() {
                    continue;
                }
                hold.pend(entry, &self.inner.settled);
                (
                    Entry::Expunge {
                        mailbox,
                        modseq: entry.next_modseq(),
                        deleted_only: true,
                        uids: uids.clone(),
                    },
                    uids,
                )
            };
            self.inner.commit(Vec::new(), vec![entry], hold).await?;
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
