//! FETCH: reads ahead while it sends, reads no more than the items need, and holds no more than `limits.rs` says.
//!
//! Messages are taken in chunks. While one chunk is written to the client the next is being read. What a chunk needs is decided by
//! its items alone: flags and dates come from the mailbox's list, envelopes, structures and the usual header fields
//! from summaries, the rest from bodies.

mod line;

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use imap::fetch::FetchItem;
use imap::sequence::SequenceSet;
use mail::{Flags, Summary, SystemFlags, Uid};
use mailbox::{FlagChange, MailboxFault, MailboxId, Message};
use store::BodyRef;
use zone::{Charge, Connection};

use crate::owner::Owner;

use line::{FetchLine, Read};

use super::fault::Failure;
use super::limits::*;
use super::selected::Selected;
use super::{Done, End, Imap, flush};

/// What a FETCH asks, and what answering it takes.
pub struct Wanted {
    uid: bool,
    items: Vec<FetchItem>,
    summaries: bool,
    bodies: Bodies,
    /// \Seen is set on the way.
    sets_seen: bool,
    flags_listed: bool,
    /// The client enabled IMAP4rev2.
    rev2: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bodies {
    Never,
    /// Only of messages whose summary does not hold all that is asked.
    Sometimes,
    Always,
}

impl Wanted {
    pub fn new(uid: bool, mut items: Vec<FetchItem>, read_only: bool, rev2: bool) -> Wanted {
        // RFC 9051 §6.4.9: UID FETCH always says the UID.
        if uid && !items.contains(&FetchItem::Uid) {
            items.insert(0, FetchItem::Uid);
        }
        let bodies = |item: &FetchItem| match item {
            item if !item.needs_body(None) => Bodies::Never,
            item if item.may_do_without_body() => Bodies::Sometimes,
            _ => Bodies::Always,
        };
        let needs: Vec<Bodies> = items.iter().map(bodies).collect();
        Wanted {
            uid,
            summaries: items.iter().any(FetchItem::needs_summary),
            bodies: match () {
                () if needs.contains(&Bodies::Always) => Bodies::Always,
                () if needs.contains(&Bodies::Sometimes) => Bodies::Sometimes,
                () => Bodies::Never,
            },
            sets_seen: !read_only && items.iter().any(FetchItem::sets_seen),
            flags_listed: items.contains(&FetchItem::Flags),
            rev2,
            items,
        }
    }

    /// The bodies that are read are those of whole messages, not only headers.
    fn whole_bodies(&self) -> bool {
        self.bodies == Bodies::Always
    }

    fn messages_per_chunk(&self) -> usize {
        match (self.bodies, self.summaries) {
            (Bodies::Always, _) => BODIES_PER_READ_MAX,
            (_, true) => SUMMARIES_PER_READ_MAX,
            _ => ROWS_PER_TURN_MAX,
        }
    }
}

/// A chunk of messages and what was read of them.
#[derive(Default)]
struct Chunk {
    /// With numbers.
    messages: Vec<(u32, Message)>,
    /// As many as `messages`, or none.
    summaries: Vec<Result<Bytes, MailboxFault>>,
    /// As many as `messages`, or none. `None`: not needed.
    bodies: Vec<Option<Result<Bytes, MailboxFault>>>,
    /// UIDs whose \Seen was set on the way.
    seen: Vec<Uid>,
    charge: Option<Charge>,
}

/// What was wrong with some of the messages; the others are sent all the same.
#[derive(Default)]
struct Troubles {
    gone: bool,
    first: Option<Failure>,
}

impl Imap {
    /// The tagged outcome, or the end of the connection.
    pub(super) async fn on_fetch(
        &self,
        selected: &mut Selected,
        set: &SequenceSet,
        wanted: Wanted,
        out: &mut Vec<u8>,
        connection: &mut Connection,
    ) -> Result<Result<Done, Failure>, End> {
        let targets = match selected.targets(set, wanted.uid) {
            Ok(targets) => targets,
            Err(failure) => return Ok(Err(failure)),
        };
        let id = selected.id;
        let mut ahead = Ahead {
            targets: targets.into_iter(),
            ready: VecDeque::new(),
            gone: false,
        };
        let mut troubles = Troubles::default();
        let mut next = self.load(id, &wanted, &mut ahead).await;
        loop {
            // until no message is left
            let chunk = match next {
                Ok(chunk) if chunk.messages.is_empty() => break,
                Ok(chunk) => chunk,
                Err(failure) => return Ok(Err(failure)),
            };
            let sent;
            (sent, next) = tokio::join!(
                self.send_chunk(selected, chunk, &wanted, out, connection, &mut troubles),
                self.load(id, &wanted, &mut ahead),
            );
            sent?;
        }
        troubles.gone |= ahead.gone;
        Ok(match troubles.first {
            Some(failure) => Err(failure),
            None => Ok(Done::for_those_there(
                "fetched",
                troubles.gone && !wanted.uid,
            )),
        })
    }

    /// Reads what `wanted` needs of the next messages.
    async fn load(
        &self,
        id: MailboxId,
        wanted: &Wanted,
        ahead: &mut Ahead,
    ) -> Result<Chunk, Failure> {
        let mut chunk = Chunk {
            messages: ahead.take(&self.owner, id, wanted).await?,
            ..Chunk::default()
        };
        if chunk.messages.is_empty() || (!wanted.summaries && wanted.bodies == Bodies::Never) {
            return Ok(chunk);
        }
        let refs = |messages: &[(u32, Message)]| -> Vec<BodyRef> {
            messages
                .iter()
                .map(|(_, message)| message.body.clone())
                .collect()
        };
        let bodies_at_once = wanted.bodies == Bodies::Always;
        if bodies_at_once {
            let sizes = chunk
                .messages
                .iter()
                .map(|(_, message)| message.size_bytes as usize);
            chunk.charge = Some(self.memory(sizes.sum()).await.ok_or(Failure::Busy)?);
        }
        if wanted.sets_seen {
            let unseen =
                |message: &&(u32, Message)| !message.1.flags.system.contains(SystemFlags::SEEN);
            chunk.seen = chunk
                .messages
                .iter()
                .filter(unseen)
                .map(|(_, message)| message.uid)
                .collect();
        }
        let (all, unseen) = (refs(&chunk.messages), chunk.seen.clone());
        let summaries_wanted = wanted.summaries;
        let (summaries, bodies, flagged) = self
            .owner
            .ask(move |mailboxes| async move {
                let seen = Flags {
                    system: SystemFlags::SEEN,
                    keywords: Vec::new(),
                };
                let summaries = async {
                    match summaries_wanted {
                        true => mailboxes.summaries(&all).await,
                        false => Vec::new(),
                    }
                };
                let bodies = async {
                    match bodies_at_once {
                        true => mailboxes.bodies(&all).await,
                        false => Vec::new(),
                    }
                };
                let flagged = async {
                    match unseen.is_empty() {
                        true => Ok(Vec::new()),
                        false => mailboxes.flag(id, &unseen, FlagChange::Add, &seen).await,
                    }
                };
                tokio::join!(summaries, bodies, flagged)
            })
            .await?;
        chunk.summaries = summaries;
        chunk.bodies = bodies.into_iter().map(Some).collect();
        chunk.flagged(flagged);
        if wanted.bodies == Bodies::Sometimes {
            self.load_incomplete(&mut chunk, ahead).await?;
        }
        let read = chunk.bodies.iter().flatten().count();
        self.counters.bodies_read.fetch_add(read as u64, Relaxed);
        Ok(chunk)
    }

    /// Whole summaries in place of those that do not hold what is asked: a header or a list of parts past the bounds of what is kept,
    /// or a summary that cannot be read. Where even the whole one does not, the header is kept for HEADER.FIELDS.
    ///
    /// What is gathered stays within `BODY_BYTES_PER_READ_MAX` and one message: the rest of the chunk goes back to `ahead`.
    async fn load_incomplete(&self, chunk: &mut Chunk, ahead: &mut Ahead) -> Result<(), Failure> {
        let complete = |summary: &Result<Bytes, MailboxFault>| {
            summary
                .as_ref()
                .is_ok_and(|bytes| Summary::is_complete(bytes))
        };
        let indexes: Vec<usize> = (0..chunk.messages.len())
            .filter(|&index| !complete(&chunk.summaries[index]))
            .collect();
        if indexes.is_empty() {
            return Ok(());
        }
        chunk.bodies = vec![None; chunk.messages.len()];
        let mut gathered = 0;
        for index in indexes {
            if gathered > BODY_BYTES_PER_READ_MAX {
                chunk.give_back(index, ahead);
                break;
            }
            // One by one: this is rare, and each may be large.
            let message = &chunk.messages[index].1;
            let _charge = self
                .memory(message.size_bytes as usize)
                .await
                .ok_or(Failure::Busy)?;
            let body = [message.body.clone()];
            let mut bodies = self
                .owner
                .ask(move |mailboxes| async move { mailboxes.bodies(&body).await })
                .await?;
            let body = match bodies.pop().expect("one for one") {
                Ok(body) => body,
                Err(fault) => {
                    chunk.bodies[index] = Some(Err(fault));
                    continue;
                }
            };
            let whole = Summary::whole(&body);
            if !whole.complete {
                let header = &body[..whole.root.body_begin as usize];
                gathered += header.len();
                chunk.bodies[index] = Some(Ok(Bytes::copy_from_slice(header)));
            }
            let whole = Bytes::from(whole.encode());
            gathered += whole.len();
            chunk.summaries[index] = Ok(whole);
        }
        Ok(())
    }

    async fn send_chunk(
        &self,
        selected: &mut Selected,
        chunk: Chunk,
        wanted: &Wanted,
        out: &mut Vec<u8>,
        connection: &mut Connection,
        troubles: &mut Troubles,
    ) -> Result<(), End> {
        self.counters
            .fetched
            .fetch_add(chunk.messages.len() as u64, Relaxed);
        for (index, (number, message)) in chunk.messages.iter().enumerate() {
            if index % ANNOUNCED_TOGETHER_MAX == 0 {
                let batch = &chunk.messages[index..];
                let batch = batch.iter().take(ANNOUNCED_TOGETHER_MAX);
                let batch = batch.map(|(_, message)| message);
                let shows =
                    |message: &&Message| wanted.flags_listed || chunk.is_newly_seen(message.uid);
                selected.keywords.announce(batch.filter(shows), out);
            }
            let read = Read {
                summary: chunk.summaries.get(index),
                body: chunk.bodies.get(index).and_then(Option::as_ref),
                recent: selected.shows_recent(message.uid),
                newly_seen: chunk.is_newly_seen(message.uid),
            };
            let begin = out.len();
            let mut line = FetchLine {
                out,
                direct: Vec::new(),
            };
            match line.put_message(*number, message, &read, wanted) {
                Ok(()) => {
                    let direct = line.direct;
                    // Only now: a message that could not be read sent no flags.
                    if wanted.flags_listed || read.newly_seen {
                        selected.known.sent(message);
                    }
                    send_with(out, direct, connection).await?;
                }
                Err(failure) => {
                    out.truncate(begin);
                    troubles.first.get_or_insert(failure);
                }
            }
            if out.len() > OUTPUT_BYTES_MAX {
                flush(out, connection).await?;
            }
        }
        Ok(())
    }
}

/// Sends `out` with the large bodies in their places, so that they are not copied first.
async fn send_with(
    out: &mut Vec<u8>,
    direct: Vec<(usize, Bytes)>,
    connection: &mut Connection,
) -> Result<(), End> {
    if direct.is_empty() {
        return Ok(());
    }
    let mut sent = 0;
    for (at, body) in direct {
        connection.send(&out[sent..at]).await?;
        connection.send(&body).await?;
        sent = at;
    }
    out.drain(..sent);
    Ok(())
}

/// The messages still to come. They are asked for some at a time: a client that reads slowly must not keep the mailbox's whole
/// list in memory, nor make every change to the mailbox copy it.
struct Ahead {
    targets: std::vec::IntoIter<(u32, u32)>,
    ready: VecDeque<(u32, Message)>,
    /// A target is not in the mailbox any more.
    gone: bool,
}

impl Ahead {
    /// The next messages, as many as are read at once.
    async fn take(
        &mut self,
        owner: &Owner,
        id: MailboxId,
        wanted: &Wanted,
    ) -> Result<Vec<(u32, Message)>, Failure> {
        while self.ready.is_empty() && self.targets.len() > 0 {
            let next: Vec<(u32, u32)> = self.targets.by_ref().take(ROWS_PER_TURN_MAX).collect();
            let uids: Vec<Uid> = next.iter().map(|&(_, uid)| Uid(uid)).collect();
            let messages = owner
                .ask(move |mailboxes| async move { mailboxes.messages(id, &uids).await })
                .await??;
            self.fill(&next, messages);
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < wanted.messages_per_chunk() && bytes < BODY_BYTES_PER_READ_MAX {
            let Some((number, message)) = self.ready.pop_front() else {
                break;
            };
            if wanted.bodies == Bodies::Always {
                bytes += message.size_bytes as usize;
            }
            taken.push((number, message));
        }
        Ok(taken)
    }

    /// Walks the targets and what was found of them side by side; both ascend by UID.
    fn fill(&mut self, targets: &[(u32, u32)], messages: Vec<Message>) {
        let mut messages = messages.into_iter().peekable();
        for &(number, uid) in targets {
            match messages.next_if(|message| message.uid.0 == uid) {
                Some(message) => self.ready.push_back((number, message)),
                None => self.gone = true,
            }
        }
    }
}

impl Chunk {
    /// The messages from `index` on are read with the next chunk.
    fn give_back(&mut self, index: usize, ahead: &mut Ahead) {
        for message in self.messages.drain(index..).rev() {
            ahead.ready.push_front(message);
        }
        self.summaries.truncate(index);
        self.bodies.truncate(index);
    }

    /// Whether \Seen was set on the way.
    fn is_newly_seen(&self, uid: Uid) -> bool {
        self.seen.binary_search(&uid).is_ok()
    }

    /// Takes over the flags after \Seen was set. That it could not be is no reason to show nothing (RFC 9051 §6.4.5 says
    /// "implicitly"); the client sees that the flag is not there.
    fn flagged(&mut self, flagged: Result<Vec<Message>, MailboxFault>) {
        let flagged = match flagged {
            Ok(flagged) => flagged,
            Err(fault) => {
                tracing::warn!(%fault, "\\Seen could not be set");
                Vec::new()
            }
        };
        self.seen = flagged.iter().map(|message| message.uid).collect();
        let mut changed = flagged.into_iter().peekable();
        for (_, message) in &mut self.messages {
            if let Some(new) = changed.next_if(|new| new.uid == message.uid) {
                *message = new;
            }
        }
    }
}
