//! INBOX as the list of a session: UIDs, and sizes as RETR will send them.
//!
//! A message's size is that of its stored bytes, and what CRLF adds where lines end otherwise (`mail::line_ends_missing`). Its summary says
//! that; only where it cannot be read the body is counted. Summaries of an INBOX are looked up once for each core; after that only those of
//! new messages are.

use std::collections::HashMap;

use mail::{LineEnds, Summary, Uid, UidValidity};
use mailbox::{AccountId, MailboxFault, MailboxId, Mailboxes, Message};
use pop3::{Maildrop, Reply};
use runtime::Holder;
use storage::holder;
use storage::owner::Ask;

use super::limits::*;
use super::{Opened, Pop3};
use crate::limits::WINDOW_BYTES;
use crate::pieces::{Reader, Reading, Unread};

/// What a core knows of line ends. It saves reads, and decides nothing: a full table is emptied.
#[derive(Default)]
pub struct Measured(HashMap<MailboxId, Inbox>);

#[derive(Default, Clone)]
struct Inbox {
    /// Every message up to here was looked at; `None`: none was.
    up_to: Option<Uid>,
    /// Those that miss line ends, and how many octets that is. UIDs ascend.
    ragged: Vec<(Uid, u32)>,
}

/// What the summaries of some messages say of line ends.
#[derive(Default)]
struct Looked {
    ragged: Vec<(Uid, u32)>,
    /// Their summaries cannot be read.
    unknown: Vec<Message>,
}

/// A mailbox and how much there is to list.
struct Found {
    inbox: MailboxId,
    uid_validity: UidValidity,
    messages: usize,
}

impl<K: Ask> Pop3<K> {
    /// Lists the INBOX of `account`.
    pub(super) async fn open(&self, account: AccountId) -> Result<(Opened, Maildrop), Reply> {
        let found = self.find(account).await?;
        if found.messages > pop3::limits::MESSAGES_MAX {
            return Err(Reply::TOO_MANY_MESSAGES);
        }
        let holder = holder::of_account(account);
        let charge = match found.messages {
            0..=LISTED_FREE_MAX => None,
            messages => {
                let bytes = Maildrop::memory_bytes(messages);
                let charge = self.memory.sending.take_for(holder, bytes);
                Some(charge.ok_or(Reply::NO_MEMORY)?)
            }
        };
        // The sizes once more, all of them ragged at worst in a list that doubled; summaries that are looked at together; a body's piece.
        let lists = 3 * Maildrop::memory_bytes(found.messages);
        let at_work = lists + MEASURED_TOGETHER_BYTES_MAX + WINDOW_BYTES;
        let _at_work = self.memory.reading.wait_for(holder, at_work).await;
        let sizes = self.sizes(&found).await?;
        let ragged = self.measure(holder, found.inbox, &sizes).await?;
        let mut ragged = ragged.into_iter().peekable();
        let messages = sizes.into_iter().map(|(uid, size)| {
            while ragged.next_if(|(other, _)| *other < uid).is_some() {}
            let missing = ragged.next_if(|(other, _)| *other == uid);
            (
                uid,
                size.saturating_add(missing.map_or(0, |(_, missing)| missing)),
            )
        });
        let maildrop = Maildrop::new(found.uid_validity, found.messages, messages);
        let maildrop = maildrop.map_err(|_| Reply::TOO_MANY_MESSAGES)?;
        let opened = Opened {
            account,
            inbox: found.inbox,
            keeps: false,
            _charge: charge,
        };
        Ok((opened, maildrop))
    }

    async fn find(&self, account: AccountId) -> Result<Found, Reply> {
        let found = self.owner.ask(move |mailboxes| async move {
            let inbox = mailboxes.find(account, "INBOX").await?;
            let status = mailboxes.status(inbox).await?;
            Ok(Found {
                inbox,
                uid_validity: status.uid_validity,
                messages: status.messages as usize,
            })
        });
        outcome(found.await)
    }

    /// UIDs and stored bytes of the messages that were counted; what arrived since waits for the next session.
    async fn sizes(&self, found: &Found) -> Result<Vec<(Uid, u32)>, Reply> {
        let (inbox, count) = (found.inbox, found.messages);
        let sizes = self.owner.ask(move |mailboxes| async move {
            let view = mailboxes.view(inbox).await?;
            let messages = view.messages.iter().take(count);
            Ok(messages
                .map(|message| (message.uid, message.size_bytes))
                .collect())
        });
        outcome(sizes.await)
    }

    /// The messages of the list that miss line ends.
    async fn measure(
        &self,
        holder: Holder,
        inbox: MailboxId,
        sizes: &[(Uid, u32)],
    ) -> Result<Vec<(Uid, u32)>, Reply> {
        let known = self.measured.borrow().0.get(&inbox).cloned();
        let mut known = known.unwrap_or_default();
        // What was known before the first message that could not be counted: a later session looks at that one again.
        let mut certain = None;
        let first = sizes.partition_point(|(uid, _)| Some(*uid) <= known.up_to);
        for part in sizes[first..].chunks(MEASURED_TOGETHER_MAX) {
            let uids: Vec<Uid> = part.iter().map(|(uid, _)| *uid).collect();
            let looked = self
                .owner
                .ask(move |mailboxes| async move { look(&mailboxes, inbox, &uids).await });
            let Looked {
                mut ragged,
                unknown,
            } = outcome(looked.await)?;
            let before = known.ragged.len();
            for message in unknown {
                match self
                    .count(
                        Reading {
                            holder,
                            mailbox: inbox,
                        },
                        &message,
                    )
                    .await
                {
                    Ok(0) => {}
                    Ok(missing) => ragged.push((message.uid, missing)),
                    // It cannot be sent either.
                    Err(Unread::Mailbox(MailboxFault::Damaged)) => {}
                    Err(_) => {
                        certain.get_or_insert((known.up_to, before));
                    }
                }
            }
            ragged.sort_unstable_by_key(|(uid, _)| *uid);
            known.ragged.extend(ragged);
            known.up_to = part.last().map(|(uid, _)| *uid);
        }
        let (up_to, count) = certain.unwrap_or((known.up_to, known.ragged.len()));
        if count <= RAGGED_MAX {
            let mut measured = self.measured.borrow_mut();
            if measured.0.len() >= MEASURED_MAX {
                measured.0.clear();
            }
            let ragged = known.ragged[..count].to_vec();
            measured.0.insert(inbox, Inbox { up_to, ragged });
        }
        Ok(known.ragged)
    }

    /// `mail::line_ends_missing` of a body, read piece by piece.
    async fn count(&self, reading: Reading, message: &Message) -> Result<u32, Unread> {
        let mut reader = Reader {
            owner: &self.owner,
            host: &self.host,
            memory: &self.memory,
            reading,
            message,
            kept: None,
            large: true,
        };
        let end = message.size_bytes as usize;
        let mut line_ends = LineEnds::default();
        let mut at = 0;
        while at < end {
            let piece = reader.read(at, end).await?;
            line_ends.put(&piece);
            at += piece.len();
        }
        Ok(line_ends.missing())
    }
}

/// What the summaries of `uids` say.
async fn look(
    mailboxes: &Mailboxes,
    inbox: MailboxId,
    uids: &[Uid],
) -> Result<Looked, MailboxFault> {
    let messages = mailboxes.messages(inbox, uids).await?;
    let mut looked = Looked::default();
    let mut rest = &messages[..];
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|message| {
            bytes += message.body.summary.bytes as usize;
            bytes <= MEASURED_TOGETHER_BYTES_MAX
        });
        let (part, later) = rest.split_at(fits.count().max(1));
        rest = later;
        let bodies: Vec<_> = part.iter().map(|message| message.body.clone()).collect();
        let summaries = mailboxes.summaries(&bodies).await;
        for (message, summary) in std::iter::zip(part, summaries) {
            let summary = summary.ok();
            match summary.map(|summary| Summary::line_ends_missing_in(&summary)) {
                Some(Ok(0)) => {}
                Some(Ok(missing)) => looked.ragged.push((message.uid, missing)),
                Some(Err(_)) | None => looked.unknown.push(message.clone()),
            }
        }
    }
    Ok(looked)
}

/// What a question to the owner came to, in the protocol's words.
fn outcome<T>(asked: Result<Result<T, MailboxFault>, storage::owner::Busy>) -> Result<T, Reply> {
    match asked {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(fault)) => {
            tracing::warn!(%fault, "an INBOX cannot be opened");
            Err(Reply::UNAVAILABLE)
        }
        Err(_busy) => Err(Reply::BUSY),
    }
}
