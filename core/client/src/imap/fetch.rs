//! FETCH: reads ahead while it sends, reads no more than the items need, and holds no more than `limits.rs` says.
//!
//! Messages are taken in chunks (`load`). While one chunk is written to the client the next ones are being read. What a chunk needs is decided by
//! its items alone: flags and dates come from the mailbox's list, envelopes, structures and the usual header fields
//! from summaries, the rest from bodies. Small bodies are read with their chunk; large ones are sent in pieces (`stream`).
//!
//! Two kinds of memory, never mixed. What waits for the client is taken from the account's share of `Memory::sending`, and
//! when that is spent the client gets its mail in smaller pieces (`LEAST_BYTES`), which every connection may hold. What a line is
//! worked out from (a whole message, where its summary does not say enough) is taken from `Memory::reading`, in turn, and is
//! given back before anything is sent.
//!
//! \Seen is set once the lines of a chunk have gone out (RFC 9051 §6.4.5), and reported in a FETCH of its own: a message that the client
//! did not get stays unseen, and no flag is shown that is not durable.

mod ahead;
mod decode;
mod line;
mod load;
mod preview;
mod put;
mod stream;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use imap::command::{ChangedSince, Slice};
use imap::fetch::{FetchItem, SectionText};
use imap::sequence::SequenceSet;
use mail::{Flags, Summary, SystemFlags, Uid};
use mailbox::{AccountId, FlagChange, MailboxFault, MailboxId, Message, Resync};
use runtime::{Charge, Connection};
use storage::holder;
use storage::owner::Ask;

use ahead::{Ahead, Scale};
use load::Loads;

use super::fault::Failure;
use super::folders::put_vanished;
use super::limits::*;
use super::mode::Mode;
use super::place::NO_PERMISSION;
use super::resync::{Vanished, known};
use super::selected::Selected;
use super::{Done, End, Imap, flush};
use crate::pieces::Reading;

/// What a FETCH asks, and what answering it takes.
pub struct Wanted {
    uid: bool,
    items: Vec<FetchItem>,
    summaries: bool,
    bodies: Bodies,
    /// \Seen is set on what was sent.
    sets_seen: bool,
    flags_listed: bool,
    modseq_listed: bool,
    /// Only what changed since, and what is gone (RFC 7162 §3.1.4.1, §3.2.6).
    since: Option<ChangedSince>,
    /// Only these of the messages that are named and changed (RFC 9394 §3.3).
    slice: Option<Slice>,
    /// The client enabled IMAP4rev2.
    rev2: bool,
    /// Lines are UIDFETCH.
    uid_only: bool,
}

/// How often the bodies of messages must be read for the items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bodies {
    /// Rows and summaries are enough.
    Never,
    /// Only of messages whose summary does not hold all that is asked.
    Sometimes,
    /// Each message's header is enough, as far as its summary says how long it is.
    Heads,
    /// Each message's body is read.
    Always,
}

impl Bodies {
    /// Of each message something is read that its summary does not have.
    fn are_read(self) -> bool {
        matches!(self, Bodies::Heads | Bodies::Always)
    }
}

impl Wanted {
    /// What a FETCH of `items` needs. `read_only`: the mailbox was opened by EXAMINE, so that \Seen is not set (RFC 9051 §6.4.5).
    pub fn new(
        uid: bool,
        mut items: Vec<FetchItem>,
        since: Option<ChangedSince>,
        read_only: bool,
        mode: Mode,
    ) -> Wanted {
        // RFC 9051 §6.4.9: UID FETCH always says the UID. UIDFETCH begins with it.
        if uid && !mode.uid_only && !items.contains(&FetchItem::Uid) {
            items.insert(0, FetchItem::Uid);
        }
        // RFC 7162 §3.1 and §3.1.4.1: with flags, to a client that keeps modification sequences, and with CHANGEDSINCE.
        let with_flags = mode.condstore && items.contains(&FetchItem::Flags);
        if (with_flags || since.is_some()) && !items.contains(&FetchItem::ModSeq) {
            items.push(FetchItem::ModSeq);
        }
        let bodies = |item: &FetchItem| match item {
            item if !item.needs_body(None) => Bodies::Never,
            item if item.may_do_without_body() => Bodies::Sometimes,
            item if item.is_of_header() => Bodies::Heads,
            _ => Bodies::Always,
        };
        let needs: Vec<Bodies> = items.iter().map(bodies).collect();
        Wanted {
            uid,
            summaries: items.iter().any(FetchItem::needs_summary),
            bodies: match () {
                () if needs.contains(&Bodies::Always) => Bodies::Always,
                () if needs.contains(&Bodies::Heads) => Bodies::Heads,
                () if needs.contains(&Bodies::Sometimes) => Bodies::Sometimes,
                () => Bodies::Never,
            },
            sets_seen: !read_only && items.iter().any(FetchItem::sets_seen),
            flags_listed: items.contains(&FetchItem::Flags),
            modseq_listed: items.contains(&FetchItem::ModSeq),
            since,
            slice: None,
            rev2: mode.rev2,
            uid_only: mode.uid_only,
            items,
        }
    }

    /// With PARTIAL.
    pub fn sliced(mut self, slice: Option<Slice>) -> Wanted {
        self.slice = slice;
        self
    }

    /// Whether a line about a message of this summary can be put together only with all of the message in memory. `Some(None)`: it has a
    /// summary, which cannot be read.
    fn needs_all(&self, summary: Option<Option<&Summary<'_>>>) -> bool {
        match (self.bodies, summary) {
            (Bodies::Never, _) => false,
            (_, Some(None)) => true,
            (Bodies::Sometimes, summary) => !summary.flatten().is_some_and(|found| found.complete),
            // What was not kept of its parts is found only in the message.
            (Bodies::Heads | Bodies::Always, Some(Some(found))) if !found.complete => true,
            (Bodies::Heads | Bodies::Always, summary) => {
                let summary = summary.flatten();
                self.items.iter().any(|item| match item {
                    FetchItem::Section { section, .. }
                        if matches!(section.text, SectionText::HeaderFields { .. }) =>
                    {
                        item.needs_body(summary)
                    }
                    FetchItem::Binary { .. } | FetchItem::BinarySize { .. } => true,
                    _ => false,
                })
            }
        }
    }

    fn messages_per_chunk(&self) -> usize {
        match (self.bodies, self.summaries) {
            (Bodies::Heads | Bodies::Always, _) => BODIES_PER_READ_MAX,
            (_, true) => SUMMARIES_PER_READ_MAX,
            _ => ROWS_PER_TRIP_MAX,
        }
    }

    /// More rows than are sent next would wait for the client and take the room of what is sent.
    fn rows_per_trip(&self) -> usize {
        self.messages_per_chunk().max(ROWS_PER_TURN_MAX)
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
    /// For all of it, until the client has taken it.
    charge: Option<Charge>,
}

/// What was wrong with some of the messages; the others are sent all the same.
#[derive(Default)]
struct Troubles {
    gone: bool,
    first: Option<Failure>,
}

impl<K: Ask> Imap<K> {
    /// The tagged outcome, or the end of the connection.
    pub(super) async fn on_fetch(
        &self,
        account: AccountId,
        selected: &mut Selected,
        set: &SequenceSet,
        wanted: Wanted,
        out: &mut Vec<u8>,
        connection: &mut impl Connection,
    ) -> Result<Result<Done, Failure>, End> {
        let mut targets = match selected.targets(set, wanted.uid) {
            Ok(targets) => targets,
            Err(failure) => return Ok(Err(failure)),
        };
        if let Some(since) = wanted.since {
            let within = match wanted.uid && !set.is_saved() {
                true => known(set),
                false => vec![(Uid(1), Uid(u32::MAX))],
            };
            let happened = match self.happened(selected.id, since, within).await {
                Ok(happened) => happened,
                Err(failure) => return Ok(Err(failure)),
            };
            let mut changed = happened.changed.iter().map(|uid| uid.0).peekable();
            targets.retain(|(_, uid)| {
                while changed.next_if(|other| other < uid).is_some() {}
                changed.next_if_eq(uid).is_some()
            });
            // RFC 7162 §3.2.6: before any FETCH. What still has a number here is reported by VANISHED without EARLIER.
            let gone = selected.numbering.without(&happened.vanished);
            put_vanished(&mut Vanished::earlier(gone), out, connection).await?;
        }
        if let Some(slice) = wanted.slice {
            targets = targets[slice.of(targets.len())].to_vec();
        }
        let reading = Reading {
            holder: holder::of_account(account),
            mailbox: selected.id,
        };
        let mut ahead = Ahead::new(targets);
        let mut troubles = Troubles::default();
        let wanted = Arc::new(wanted);
        let mut loads = Loads::default();
        let mut next = self.load(reading, &wanted, &mut ahead, &mut loads).await;
        loop {
            // until no message is left
            let chunk = match next {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(failure) => return Ok(Err(failure)),
            };
            let sent;
            (sent, next) = tokio::join!(
                self.send_chunk(
                    reading,
                    selected,
                    chunk,
                    &wanted,
                    (&mut *out, &mut *connection),
                    &mut troubles
                ),
                self.load(reading, &wanted, &mut ahead, &mut loads),
            );
            sent?;
            // A client that reads slowly does not read on when its right is gone; `tell` closes the mailbox then.
            match self.look_at_rights(selected).await {
                Ok(true) => {}
                Ok(false) => return Ok(Err(Failure::Busy)),
                Err(_) => return Ok(Err(NO_PERMISSION)),
            }
        }
        troubles.gone |= ahead.gone;
        Ok(match troubles.first {
            Some(failure) => Err(failure),
            None => Ok(Done::for_those_there(
                "Fetch completed",
                troubles.gone && !wanted.uid,
            )),
        })
    }

    /// What happened to the messages `within`.
    async fn happened(
        &self,
        id: MailboxId,
        since: ChangedSince,
        within: Vec<(Uid, Uid)>,
    ) -> Result<Resync, Failure> {
        let ChangedSince { modseq, vanished } = since;
        let happened = self.owner.ask(move |mailboxes| async move {
            mailboxes.resync(id, modseq, &within, vanished).await
        });
        Ok(happened.await??)
    }

    fn count_bodies(&self, count: usize) {
        self.counters.bodies_read.fetch_add(count as u64, Relaxed);
    }

    /// All of one message, and what pays for it: to be given back before anything is sent.
    async fn whole(
        &self,
        reading: Reading,
        message: &Message,
    ) -> Result<(Result<Bytes, MailboxFault>, Charge), Failure> {
        let bytes = message.size_bytes as usize;
        let charge = self.memory.reading.wait_for(reading.holder, bytes).await;
        let body = [message.body.clone()];
        let mut bodies = self
            .owner
            .ask(move |mailboxes| async move { mailboxes.bodies(&body).await })
            .await?;
        self.count_bodies(1);
        Ok((bodies.pop().expect("one for one"), charge))
    }

    async fn send_chunk(
        &self,
        reading: Reading,
        selected: &mut Selected,
        chunk: Chunk,
        wanted: &Arc<Wanted>,
        (out, connection): (&mut Vec<u8>, &mut impl Connection),
        troubles: &mut Troubles,
    ) -> Result<(), End> {
        self.counters
            .fetched
            .fetch_add(chunk.messages.len() as u64, Relaxed);
        let mut seen = Vec::new();
        for (index, (_, message)) in chunk.messages.iter().enumerate() {
            if index % ANNOUNCED_TOGETHER_MAX == 0 {
                let batch = &chunk.messages[index..];
                let batch = batch.iter().take(ANNOUNCED_TOGETHER_MAX);
                let batch = batch.map(|(_, message)| message);
                selected
                    .keywords
                    .announce(batch.filter(|_| wanted.flags_listed), out);
            }
            let recent = selected.shows_recent(message.uid);
            let begin = out.len();
            let line = self.line_of(reading, &chunk, index, recent, wanted, out);
            let (sources, charge) = match line.await {
                Ok(line) => {
                    // Only now: a message that could not be read sent no flags.
                    if wanted.flags_listed {
                        selected.known.sent(message);
                    }
                    if wanted.modseq_listed {
                        selected.showed(message.modseq);
                    }
                    line
                }
                Err(failure) => {
                    out.truncate(begin);
                    troubles.first.get_or_insert(failure);
                    continue;
                }
            };
            if !sources.is_empty() {
                self.count_bodies(1);
                let place = (&mut *out, begin);
                let sent = self.send_with(reading, message, place, sources, connection);
                if let Err(failure) = sent.await? {
                    troubles.first.get_or_insert(failure);
                    continue;
                }
            }
            if wanted.sets_seen && !message.flags.system.contains(SystemFlags::SEEN) {
                seen.push(message.uid);
            }
            if charge.is_some() || out.len() > OUTPUT_BYTES_MAX {
                flush(out, connection).await?;
            }
            if charge.is_some() {
                *out = Vec::new();
            }
        }
        flush(out, connection).await?;
        for uids in seen.chunks(ANNOUNCED_TOGETHER_MAX) {
            let flagged = self.set_seen(reading.mailbox, uids.to_vec()).await;
            selected.put_flags(&flagged, out);
            if out.len() > OUTPUT_BYTES_MAX {
                flush(out, connection).await?;
            }
        }
        Ok(())
    }

    /// Those whose \Seen is set now. A failure here does not fail the FETCH: the client has the message (RFC 9051 §6.4.5 says
    /// "implicitly"), and is not shown the flag.
    async fn set_seen(&self, mailbox: MailboxId, uids: Vec<Uid>) -> Vec<Message> {
        let seen = Flags::system(SystemFlags::SEEN);
        let flagged = self
            .owner
            .ask(move |mailboxes| async move {
                mailboxes.flag(mailbox, &uids, FlagChange::Add, &seen).await
            })
            .await;
        match flagged {
            Ok(Ok(flagged)) => flagged,
            Ok(Err(fault)) => {
                tracing::warn!(%fault, "\\Seen could not be set");
                Vec::new()
            }
            Err(_busy) => {
                tracing::warn!("storage is too busy to set \\Seen");
                Vec::new()
            }
        }
    }
}

impl Chunk {
    fn cost(&self, scale: Scale, wanted: &Wanted) -> usize {
        let messages = self.messages.iter();
        let costs = messages.map(|(_, message)| scale.cost(wanted, message));
        costs.sum()
    }
}
