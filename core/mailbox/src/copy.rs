//! COPY and MOVE: new entries that share the body (RFC 3501 §6.4.7, RFC 6851, RFC 4315 COPYUID).
//!
//! What does not fit one commit batch goes in several groups. A COPY of several is marked in the log until its last group (`copying.rs`): a
//! failure takes back what is there, and so does the start after a crash (`back`). A MOVE of several is not: each message is in one of the two mailboxes
//! at any moment, and a client that was cut off finds the rest where it was.

mod back;

use std::collections::BTreeSet;

use mail::{Flags, Keyword, Rights, Uid, UidValidity};
use store::Purpose;

use crate::copying::CopyEntry;
use crate::deliver::Standing;
use crate::hold::Hold;
use crate::limits::{COPIES_UNFINISHED_MAX, GROUP_MESSAGE_BYTES_MAX};
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

/// What a COPY or MOVE leaves and brings.
#[derive(Clone, Copy)]
struct How {
    /// Whether the sources stay.
    keep: Keep,
    /// Of the account that copies, on the target.
    rights: Rights,
    /// What arrives gets `KEPT_MARK`.
    is_marked: bool,
}

/// The keyword of a message that a rule put where it is (`move_marked`). It is about that place: a message that is copied or moved on arrives without it.
pub const KEPT_MARK: &str = "$Pop3Deleted";

/// (source, its new UID), ascending by source, and the UIDVALIDITY of the target.
type Pairs = (UidValidity, Vec<(Uid, Uid)>);

/// A COPY of several groups, from its first on.
#[derive(Default)]
struct Large {
    /// The first UID that it was given.
    name: Option<Uid>,
    /// It is one of those under way: many may begin before the mark of the first is in memory.
    counted: Hold,
}

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
    /// More than fits one commit batch (some 2,000 messages) goes in several; when a later one fails the earlier ones are taken back, and so they
    /// are at the start after a crash, as far as their originals are still there.
    pub async fn copy(
        &self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
    ) -> Result<(UidValidity, Vec<(Uid, Uid)>), MailboxFault> {
        self.copy_with(from, uids, to, Rights::ALL).await
    }

    /// For the simulator: a COPY is large from so many bytes of encoded messages on.
    pub fn copy_in_groups_of(&self, bytes_max: usize) {
        assert!(bytes_max <= GROUP_MESSAGE_BYTES_MAX);
        self.inner.copy_group_bytes.set(bytes_max);
    }

    /// COPYs that placed some of their messages and not all: those under way, and those that a volume which cannot be written could not take back.
    pub fn copies_unfinished(&self) -> usize {
        self.inner.state.borrow().unfinished.len()
    }

    /// As `copy`, by an account with these rights on the target: flags that it may not set there do not come along (RFC 4314 §4).
    pub async fn copy_with(
        &self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
        rights: Rights,
    ) -> Result<(UidValidity, Vec<(Uid, Uid)>), MailboxFault> {
        let how = How {
            keep: Keep::Source,
            rights,
            is_marked: false,
        };
        let result = self.place_all(from, uids, to, how).await;
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
        let how = How {
            keep: Keep::Nothing,
            rights,
            is_marked: false,
        };
        self.move_so(from, uids, to, how).await
    }

    /// As `r#move`; what arrives has `KEPT_MARK`, set in the step that moves it. A message with as many keywords as one may have arrives without.
    pub async fn move_marked(
        &self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
    ) -> Result<Moved, MailboxFault> {
        let how = How {
            keep: Keep::Nothing,
            rights: Rights::ALL,
            is_marked: true,
        };
        self.move_so(from, uids, to, how).await
    }

    async fn move_so(
        &self,
        from: MailboxId,
        uids: &[Uid],
        to: MailboxId,
        how: How,
    ) -> Result<Moved, MailboxFault> {
        match self.place_all(from, uids, to, how).await {
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
        let mut copy = Large::default();
        loop {
            match self.place_some(from, &mut left, to, how, &mut copy).await {
                Ok((validity, more)) => {
                    uid_validity = Some(validity);
                    pairs.extend(more);
                    if left.is_empty() {
                        return Ok((validity, pairs));
                    }
                }
                Err(fault) if pairs.is_empty() => return Err((fault, None)),
                Err(fault) => {
                    if how.keep == Keep::Nothing {
                        return Err((fault, uid_validity.map(|validity| (validity, pairs))));
                    }
                    let name = copy.name.expect("its first group was not its last");
                    if let Err(fault) = self.take_back(to, name).await {
                        tracing::warn!(mailbox = to.0, %fault, "copies of a failed COPY stay in the mailbox until the next start");
                    }
                    return Err((fault, None));
                }
            }
        }
    }

    /// Takes from `left` what fits one group and places it. Empty pairs when none of them exists. `copy` names a COPY of several groups from its first on.
    async fn place_some(
        &self,
        from: MailboxId,
        left: &mut BTreeSet<Uid>,
        to: MailboxId,
        how: How,
        copy: &mut Large,
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
        let part = self.part(from, left, to, how, copy, &mut hold)?;
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
        how: How,
        copy: &mut Large,
        hold: &mut Hold,
    ) -> Result<Part, MailboxFault> {
        let mut state = self.inner.state.borrow_mut();
        let source = state.mailboxes.get(&from).expect("it is held and open");
        let (keep, rights) = (how.keep, how.rights);
        let bytes_max = match keep {
            Keep::Source => self.inner.copy_group_bytes.get(),
            Keep::Nothing => GROUP_MESSAGE_BYTES_MAX,
        };
        let mark = Flags {
            keywords: Keyword::parse(KEPT_MARK).into_iter().collect(),
            ..Flags::default()
        };
        let mut messages = take_part(left, bytes_max, |uid| {
            let leaving = source.leaving.borrow().contains(&uid);
            let mut message = source.find(uid).filter(|_| !leaving)?.clone();
            // Before its bytes are counted: a mark takes some.
            set_mark(&mut message.flags, &mark, how.is_marked);
            Some(message)
        });
        if messages.is_empty() {
            let target = state.mailboxes.get(&to).expect("it is held and open");
            let uid_validity = target.head.uid_validity;
            // The others went meanwhile: what is there is all of it.
            let done = copy.name;
            let done = done.map(|copy| CopyEntry::Done { mailbox: to, copy });
            if done.is_some() {
                hold.pend(target, &self.inner.settled);
            }
            return Ok(Part {
                uid_validity,
                pairs: Vec::new(),
                entries: done.into_iter().map(Entry::from).collect(),
            });
        }
        let begins = copy.name.is_none();
        let in_groups = keep == Keep::Source && !(begins && left.is_empty());
        if in_groups && !left.is_empty() {
            let begun = &self.inner.copies_begun;
            let is_one_more = begins && begun.get() as usize >= COPIES_UNFINISHED_MAX;
            if is_one_more || !state.has_room_for_copy(begins) {
                return Err(MailboxFault::TooMany("large copies at once"));
            }
            if begins {
                copy.counted.pin(begun);
            }
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
        if in_groups {
            let last = pairs.last().expect("there are messages").1;
            let name = *copy.name.get_or_insert(placed.uid);
            let mark = match left.is_empty() {
                true => CopyEntry::Done {
                    mailbox: to,
                    copy: name,
                },
                false => CopyEntry::Part {
                    mailbox: to,
                    from,
                    copy: name,
                    ranges: vec![(placed.uid, last)],
                },
            };
            entries.push(mark.into());
        }
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
}

/// What arrives has the mark or not, whatever it had where it was.
fn set_mark(flags: &mut Flags, mark: &Flags, is_marked: bool) {
    if is_marked {
        // Without room it is left out.
        *flags = flags.with(mark);
    } else if mark.keywords.iter().any(|one| flags.has_keyword(one)) {
        *flags = flags.without(mark);
    }
}

/// The next messages of `left` that fit one group together; those that do not exist are dropped from it.
fn take_part(
    left: &mut BTreeSet<Uid>,
    bytes_max: usize,
    find: impl Fn(Uid) -> Option<Message>,
) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    let mut bytes = 0;
    while let Some(uid) = left.first().copied() {
        if let Some(message) = find(uid) {
            bytes += encoded_bytes_max(&message);
            if !messages.is_empty() && bytes > bytes_max {
                break;
            }
            messages.push(message);
        }
        left.remove(&uid);
    }
    messages
}
