//! Several messages enter one mailbox together, or one takes the place of another (RFC 3502, RFC 8508): one durable step.

use mail::flags::KEYWORDS_MAX;
use mail::{Flags, InternalDate, Uid};
use store::{BodyIn, Purpose};

use crate::deliver::Standing;
use crate::limits::APPENDED_MAX;
use crate::message::MessageEntry;
use crate::noun::Depth;
use crate::{AccountId, MailboxFault, MailboxId, Mailboxes, Placed};

/// One message on its way in.
pub struct Appending {
    pub body: BodyIn,
    pub internal_date: InternalDate,
    pub flags: Flags,
}

impl Mailboxes {
    /// All of `messages`, in their order and at UIDs in a row, or none; `Placed` is about the first one. With `replaces` that message is gone in the
    /// same step: a crash leaves the one or the other. `Refused` when it was expunged before.
    pub async fn append(
        &self,
        account: AccountId,
        name: &str,
        messages: Vec<Appending>,
        replaces: Option<(MailboxId, Uid)>,
    ) -> Result<Placed, MailboxFault> {
        assert!(!messages.is_empty(), "there is something to append");
        if messages.len() > APPENDED_MAX {
            return Err(MailboxFault::TooMany("messages in one APPEND"));
        }
        let too_many = |message: &Appending| message.flags.keywords.len() > KEYWORDS_MAX;
        if messages.iter().any(too_many) {
            return Err(MailboxFault::TooMany("keywords on one message"));
        }
        // By name and not by a session's id: the client names the mailbox again in each command, and it may be another one by now.
        let to = self.find(account, name).await?;
        let rows = (messages.len() as u64 + 1) * APPENDED_ROWS;
        self.inner.room_for(Purpose::Keep, true, rows).await?;
        let mut hold = loop {
            let mut hold = self.inner.hold_mailbox(to, Depth::Tail).await?;
            let mut open = vec![to];
            if let Some((from, uid)) = replaces {
                hold.join(self.inner.hold_mailbox(from, Depth::From(uid)).await?);
                open.push(from);
            }
            match self.inner.standing(&open) {
                Standing::Open => break hold,
                Standing::Frozen(wait) => wait.await,
                Standing::Gone => return Err(MailboxFault::NoMailbox),
            }
        };

        // No await from here to `commit`: the order of numbers is the order of the log.
        let (entries, placed) = {
            let mut state = self.inner.state.borrow_mut();
            let bytes = messages.iter().map(|message| message.body.raw.len() as u64);
            let mut bytes: u64 = bytes.sum();
            if let Some((from, uid)) = replaces {
                let source = state.mailboxes.get(&from).expect("it is held and open");
                // Another command takes this message away and is not durable yet. Both would succeed, and one message would be replaced by two.
                let leaving = source.leaving.borrow().contains(&uid);
                let replaced = source.find(uid).filter(|_| !leaving);
                let replaced = replaced.ok_or(GONE)?;
                // What it brings takes the room of what goes, where both are one account's.
                if source.head.account == state.mailboxes[&to].head.account {
                    bytes = bytes.saturating_sub(u64::from(replaced.size_bytes));
                }
            }
            let count = messages.len() as u32;
            let inner = &self.inner;
            let placed = inner.take_uids(&mut state, to, count, bytes, &mut hold)?;
            let saved_s = inner.unix_seconds();
            let target = state.mailboxes.get_mut(&to).expect("it is held and open");
            let mut entries = Vec::with_capacity(messages.len() + 1);
            for (index, message) in messages.iter().enumerate() {
                let deliver = MessageEntry::Deliver {
                    mailbox: to,
                    uid: Uid(placed.uid.0 + index as u32),
                    modseq: target.next_modseq(),
                    flags: message.flags.clone(),
                    internal_date: message.internal_date,
                    body_index: index as u32,
                    saved_s,
                };
                entries.push(deliver.into());
            }
            if let Some((from, uid)) = replaces {
                let source = state.mailboxes.get_mut(&from).expect("it is held and open");
                hold.pend(source, &self.inner.settled);
                hold.leave(source, vec![uid]);
                let expunge = MessageEntry::Expunge {
                    mailbox: from,
                    modseq: source.next_modseq(),
                    deleted_only: false,
                    uids: vec![uid],
                };
                entries.push(expunge.into());
            }
            (entries, placed)
        };
        let bodies = messages.into_iter().map(|message| message.body).collect();
        let committed = self.inner.commit_for(Purpose::Keep, bodies, entries, hold);
        committed.await?;
        Ok(placed)
    }
}

/// Rows that one message changes: the chunk, the head, the bytes used.
const APPENDED_ROWS: u64 = 3;

const GONE: MailboxFault = MailboxFault::Refused("Message to replace does not exist");
