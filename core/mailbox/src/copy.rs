//! COPY and MOVE: new entries that share the body (RFC 3501 §6.4.7, RFC 6851, RFC 4315 COPYUID).

use std::collections::BTreeSet;

use mail::{Rights, Uid, UidValidity};
use store::Purpose;

use crate::deliver::Standing;
use crate::hold::Hold;
use crate::limits::{GROUP_MESSAGE_BYTES_MAX, UIDS_PER_RECORD_MAX};
use crate::message::MessageEntry;
use crate::noun::Depth;
use crate::record::Entry;
use crate::row::encoded_bytes_max;
use crate::{MailboxFault, MailboxId, Mailboxes, Message};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Source,
    Nothing,
}

/// Whether the sources stay, and the rights on the target of the account that copies.
type How = (Keep, Rights);

/// (source, its new UID), ascending by source, and the UIDVALIDITY of the target.
type Pairs = (UidValidity, Vec<(Uid, Uid)>);

/// What a MOVE did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Of the target.
    pub uid_validity: UidValidity,
    /// (source, its new UID), ascending by source.
    pub pairs: Vec<(Uid, Uid)>,
    /// Why the others stayed where they were.
    pub fault: Option<MailboxFault>,
}

/// One group's worth of a COPY or MOVE.
struct Part {
    uid_validity: UidValidity,
    pairs: Vec<(Uid, Uid)>,
    entries: Vec<Entry>,
}

impl Mailboxes {
    /// All of `uids` that exist, or none: (source, its new UID), ascending by source.
    ///
    /// More than fits one commit batch (some 2,000 messages) goes in several; when a later one fails the earlier ones are taken back. Only a
    /// crash between them can leave some of the copies, for a COPY that was never answered.
    pub async fn copy(
        &self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
    ) -> Result<(UidValidity, Vec<(Uid, Uid)>), MailboxFault> {
        self.copy_with(from, uids, to, Rights::ALL).await
    }

    /// As `copy`, by an account with these rights on the target: flags that it may not set there do not come along (RFC 4314 §4).
    pub async fn copy_with(
        &self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
        rights: Rights,
    ) -> Result<(UidValidity, Vec<(Uid, Uid)>), MailboxFault> {
        let result = self.place_all(from, uids, to, (Keep::Source, rights)).await;
        result.map_err(|(fault, _)| fault)
    }

    /// RFC 6851: copy and expunge as one durable step. What does not fit one commit batch moves in several; each message
    /// is in exactly one of the two mailboxes at any moment. A fault after the first step is reported together with what was moved before it.
    pub async fn r#move(
        &self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
    ) -> Result<Moved, MailboxFault> {
        self.move_with(from, uids, to, Rights::ALL).await
    }

    /// As `r#move`, with the flags that `copy_with` leaves.
    pub async fn move_with(
        &self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
        rights: Rights,
    ) -> Result<Moved, MailboxFault> {
        match self
            .place_all(from, uids, to, (Keep::Nothing, rights))
            .await
        {
            Ok((uid_validity, pairs)) => Ok(Moved {
                uid_validity,
                pairs,
                fault: None,
            }),
            Err((fault, Some((uid_validity, pairs)))) => Ok(Moved {
                uid_validity,
                pairs,
                fault: Some(fault),
            }),
            Err((fault, None)) => Err(fault),
        }
    }

    /// On failure: the fault, and what of a MOVE was done before it.
    async fn place_all(
        &self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
        how: How,
    ) -> Result<Pairs, (MailboxFault, Option<Pairs>)> {
        let mut left: BTreeSet<Uid> = uids.iter().copied().collect();
        let mut pairs = Vec::new();
        let mut uid_validity = None;
        loop {
            match self.place_some(from, &mut left, to, how).await {
                Ok((validity, more)) => {
                    uid_validity = Some(validity);
                    pairs.extend(more);
                    if left.is_empty() {
                        return Ok((validity, pairs));
                    }
                }
                Err(fault) if pairs.is_empty() => return Err((fault, None)),
                Err(fault) => {
                    if how.0 == Keep::Nothing {
                        return Err((fault, uid_validity.map(|validity| (validity, pairs))));
                    }
                    self.take_back(to, pairs.iter().map(|(_, new)| *new).collect())
                        .await;
                    return Err((fault, None));
                }
            }
        }
    }

    /// Takes from `left` what fits one group and places it. Empty pairs when none of them exists.
    async fn place_some(
        &self,
        from: MailboxId,
        left: &mut BTreeSet<Uid>,
        to: MailboxId,
        how: How,
    ) -> Result<(UidValidity, Vec<(Uid, Uid)>), MailboxFault> {
        self.inner.room_for(Purpose::Keep, false, 1).await?;
        let lowest = left.first().copied().unwrap_or(Uid(u32::MAX));
        let mut hold = loop {
            let mut hold = self.inner.hold_mailbox(from, Depth::From(lowest)).await?;
            hold.join(self.inner.hold_mailbox(to, Depth::Tail).await?);
            match self.inner.standing(&[from, to]) {
                Standing::Open => break hold,
                Standing::Frozen(wait) => wait.await,
                Standing::Gone => return Err(MailboxFault::NoMailbox),
            }
        };

        // No await from here to `commit`: the order of numbers is the order of the log.
        let part = self.part(from, left, to, how, &mut hold)?;
        if !part.entries.is_empty() {
            self.inner.commit(Vec::new(), part.entries, hold).await?;
        }
        Ok((part.uid_validity, part.pairs))
    }

    /// The entries for what of `left` fits one group. Both mailboxes must be held and open.
    fn part(
        &self,
        from: MailboxId,
        left: &mut BTreeSet<Uid>,
        to: MailboxId,
        (keep, rights): How,
        hold: &mut Hold,
    ) -> Result<Part, MailboxFault> {
        let mut state = self.inner.state.borrow_mut();
        let source = state.mailboxes.get(&from).expect("it is held and open");
        let mut messages = take_part(left, |uid| {
            let leaving = source.leaving.borrow().contains(&uid);
            source.find(uid).filter(|_| !leaving).cloned()
        });
        if messages.is_empty() {
            let target = state.mailboxes.get(&to).expect("it is held and open");
            let uid_validity = target.head.uid_validity;
            return Ok(Part {
                uid_validity,
                pairs: Vec::new(),
                entries: Vec::new(),
            });
        }
        let bytes = messages
            .iter()
            .map(|message| u64::from(message.size_bytes))
            .sum();
        // A move inside one account needs no room: what it brings it takes away in the same step.
        let one_account = source.head.account == state.mailboxes[&to].head.account;
        let bytes = if keep == Keep::Nothing && one_account {
            0
        } else {
            bytes
        };
        let placed = self
            .inner
            .take_uids(&mut state, to, messages.len() as u32, bytes, hold)?;
        let modseq = state
            .mailboxes
            .get_mut(&to)
            .expect("it is held and open")
            .next_modseq();
        let saved_s = self.inner.unix_seconds();
        let mut pairs = Vec::with_capacity(messages.len());
        for (message, uid) in messages.iter_mut().zip(placed.uid.0..) {
            pairs.push((message.uid, Uid(uid)));
            message.uid = Uid(uid);
            message.modseq = modseq;
            message.saved_s = saved_s;
            if !rights.changes_all_flags() {
                message.flags = rights.allowed(&message.flags);
            }
            if let Some(body) = self.inner.moving_to(&message.body) {
                message.body = body;
            }
        }
        self.inner.placing(hold, to, &messages);
        let place = MessageEntry::Place {
            mailbox: to,
            messages,
        };
        let mut entries = vec![place.into()];
        if keep == Keep::Nothing {
            let source = state.mailboxes.get_mut(&from).expect("it is held and open");
            let uids: Vec<Uid> = pairs.iter().map(|(old, _)| *old).collect();
            hold.pend(source, &self.inner.settled);
            hold.leave(source, uids.clone());
            let expunge = MessageEntry::Expunge {
                mailbox: from,
                modseq: source.next_modseq(),
                deleted_only: false,
                uids,
            };
            entries.push(expunge.into());
        }
        Ok(Part {
            uid_validity: placed.uid_validity,
            pairs,
            entries,
        })
    }

    /// RFC 3501 §6.4.7: a COPY that fails leaves the target as it was.
    async fn take_back(&self, mailbox: MailboxId, uids: Vec<Uid>) {
        for uids in uids.chunks(UIDS_PER_RECORD_MAX) {
            let Ok(mut hold) = self.hold_open(mailbox, Depth::From(uids[0])).await else {
                return;
            };
            let modseq = {
                let mut state = self.inner.state.borrow_mut();
                let Some(entry) = state.mailboxes.get_mut(&mailbox) else {
                    return;
                };
                hold.pend(entry, &self.inner.settled);
                entry.next_modseq()
            };
            let expunge = MessageEntry::Expunge {
                mailbox,
                modseq,
                deleted_only: false,
                uids: uids.to_vec(),
            };
            let entries = vec![expunge.into()];
            if let Err(fault) = self.inner.commit(Vec::new(), entries, hold).await {
                tracing::warn!(mailbox = mailbox.0, %fault, "copies of a failed COPY stay in the mailbox");
                return;
            }
        }
    }
}

/// The next messages of `left` that fit one group together; those that do not exist are dropped from it.
fn take_part(left: &mut BTreeSet<Uid>, find: impl Fn(Uid) -> Option<Message>) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    let mut bytes = 0;
    while let Some(uid) = left.first().copied() {
        if let Some(message) = find(uid) {
            bytes += encoded_bytes_max(&message);
            if !messages.is_empty() && bytes > GROUP_MESSAGE_BYTES_MAX {
                break;
            }
            messages.push(message);
        }
        left.remove(&uid);
    }
    messages
}
