//! Bodies on their way out in pieces: one is read from the store while the one before it is taken by the client, and no more than that is
//! in memory, whatever the message's size and the client's pace.
//!
//! With room in the account's share of `Memory::sending` a piece is what the store keeps together, half a mebibyte. Without, a piece is cut
//! down to what every connection may hold anyway: it is read again for each cut, so that a slow client costs others nothing
//! but some reads at its own slow pace.
//!
//! A literal that was begun has to be ended. When the rest cannot be read any more (every copy is damaged; the message
//! was expunged and its place used again) the connection is given up, and the next FETCH of a damaged message is refused
//! before it begins.

use std::borrow::Cow;
use std::ops::Range;

use base::BodyName;
use bytes::Bytes;
use imap::respond::without_nul;
use mailbox::{MailboxFault, Message};
use runtime::{Charge, Connection};
use storage::owner::Ask;
use store::Pieces;

use super::super::fault::Failure;
use super::super::limits::*;
use super::super::{End, Imap};
use super::Reading;
use super::decode::{Decoder, Encoding};

/// Bytes of a message that are sent without being in the line that is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// As they are stored, but for NUL, which no literal may hold (RFC 9051 §4.3.1).
    Stored(Range<usize>),
    /// Exactly as they are stored, in a literal8.
    Binary(Range<usize>),
    /// What `part` decodes to, from `wanted.start` to `wanted.end`.
    Decoded {
        part: Range<usize>,
        encoding: Encoding,
        wanted: Range<usize>,
    },
}

/// Reads one message piece by piece.
struct Reader<'i, K> {
    imap: &'i Imap<K>,
    reading: Reading,
    message: &'i Message,
    kept: Option<Pieces>,
    /// There is a window to hold pieces in as they are stored.
    large: bool,
}

/// A source whose first bytes are at hand.
struct Stream<'i, K> {
    reader: Reader<'i, K>,
    filter: Option<Filter>,
    /// NUL is replaced.
    is_literal: bool,
    at: usize,
    end: usize,
    next: Bytes,
    /// Held until the client has taken everything; `None`: its account has none left.
    window: Option<Charge>,
}

impl<K: Ask> Imap<K> {
    /// Sends `out` with `sources` of `message` in their places, and leaves in it what comes after the last. The line about the message begins at
    /// `begin`: when nothing of it can be read it is taken out again, and the answer is why.
    pub(super) async fn send_with(
        &self,
        reading: Reading,
        message: &Message,
        (out, begin): (&mut Vec<u8>, usize),
        sources: Vec<(usize, Source)>,
        connection: &mut impl Connection,
    ) -> Result<Result<(), Failure>, End> {
        let mut sent = 0;
        for (at, source) in sources {
            // Before its literal is announced: most of what can go wrong goes wrong here.
            let done = match self.open(reading, message, source).await {
                Ok(stream) => {
                    connection.send(&out[sent..at]).await?;
                    sent = at;
                    stream.send(connection).await?
                }
                Err(failure) if sent == 0 => {
                    out.truncate(begin);
                    return Ok(Err(failure));
                }
                Err(failure) => Err(failure),
            };
            if let Err(failure) = done {
                tracing::warn!(peer = %connection.peer(), ?failure, "a message cannot be read to its end; the connection is given up");
                self.remember_damage(message, &failure);
                return Err(End::CutOff);
            }
        }
        out.drain(..sent);
        Ok(Ok(()))
    }

    async fn open<'i>(
        &'i self,
        reading: Reading,
        message: &'i Message,
        source: Source,
    ) -> Result<Stream<'i, K>, Failure> {
        let is_literal = matches!(source, Source::Stored(_));
        let (range, filter) = match source {
            Source::Stored(range) | Source::Binary(range) => (range, None),
            Source::Decoded {
                part,
                encoding,
                wanted,
            } => (part, Some(Filter::new(encoding, wanted))),
        };
        let window = self.memory.sending.take_for(reading.holder, WINDOW_BYTES);
        let mut reader = Reader {
            imap: self,
            reading,
            message,
            kept: None,
            large: window.is_some(),
        };
        let next = reader.read(range.start, range.end).await?;
        Ok(Stream {
            reader,
            filter,
            is_literal,
            at: range.start,
            end: range.end,
            next,
            window,
        })
    }

    /// Whether the message was found damaged while it was sent. A small memory: it forgets the oldest.
    pub(super) fn is_known_damaged(&self, message: &Message) -> bool {
        self.damaged.borrow().contains(&message.body.name)
    }

    /// It was read to its end.
    pub(super) fn forget_damage(&self, message: &Message) {
        let mut damaged = self.damaged.borrow_mut();
        damaged.retain(|name| *name != message.body.name);
    }

    fn remember_damage(&self, message: &Message, failure: &Failure) {
        if *failure != Failure::Mailbox(MailboxFault::Damaged) {
            return;
        }
        let mut damaged = self.damaged.borrow_mut();
        if damaged.contains(&message.body.name) {
            return;
        }
        if damaged.len() >= DAMAGED_REMEMBERED_MAX {
            damaged.pop_front();
        }
        let name: BodyName = message.body.name;
        damaged.push_back(name);
    }
}

impl<K: Ask> Stream<'_, K> {
    async fn send(mut self, connection: &mut impl Connection) -> Result<Result<(), Failure>, End> {
        while self.at < self.end {
            self.widen();
            let mut piece = std::mem::take(&mut self.next);
            self.at += piece.len();
            let last = self.at == self.end;
            if let Some(filter) = &mut self.filter {
                match filter.pass(&piece, last) {
                    Some(decoded) => piece = decoded,
                    // It could be decoded when the line was put together: the bytes are not the same any more.
                    None => return Ok(Err(MailboxFault::Damaged.into())),
                }
            }
            if self.is_literal
                && let Cow::Owned(replaced) = without_nul(&piece)
            {
                piece = Bytes::from(replaced);
            }
            let next = if self.window.is_some() {
                let following = self.reader.read(self.at, self.end);
                let (sent, next) = tokio::join!(connection.send(&piece), following);
                sent?;
                next
            } else {
                connection.send(&piece).await?;
                drop(piece);
                self.reader.read(self.at, self.end).await
            };
            match next {
                Ok(next) => self.next = next,
                Err(failure) => return Ok(Err(failure)),
            }
        }
        Ok(Ok(()))
    }

    /// With room in the account's share again the rest goes out at full speed.
    fn widen(&mut self) {
        if self.window.is_none() {
            let reader = &mut self.reader;
            let sending = &reader.imap.memory.sending;
            self.window = sending.take_for(reader.reading.holder, WINDOW_BYTES);
            reader.large = self.window.is_some();
        }
    }
}

impl<K: Ask> Reader<'_, K> {
    /// Some bytes from `at` on, none past `end`; at least one before it. Without a window (`!large`) a copy of a few.
    async fn read(&mut self, at: usize, end: usize) -> Result<Bytes, Failure> {
        if at >= end {
            return Ok(Bytes::new());
        }
        if self.large {
            let piece = self.piece(at).await?;
            return Ok(piece.slice(..piece.len().min(end - at)));
        }
        // Held while it is read and cut down, which no client can prolong.
        let memory = &self.imap.memory.reading;
        let _charge = memory.wait_for(self.reading.holder, WINDOW_BYTES).await;
        let piece = self.piece(at).await?;
        let bytes = piece.len().min(end - at).min(LEAST_BYTES);
        Ok(Bytes::copy_from_slice(&piece[..bytes]))
    }

    async fn piece(&mut self, at: usize) -> Result<Bytes, Failure> {
        let (mailbox, uid, at) = (self.reading.mailbox, self.message.uid, at as u32);
        for _ in 0..ASK_AGAIN_MAX {
            let (body, kept) = (self.message.body.clone(), self.kept.clone());
            let asked = self
                .imap
                .owner
                .ask(move |mailboxes| async move {
                    mailboxes.piece(mailbox, uid, &body, kept, at).await
                })
                .await;
            match asked {
                Ok(Ok((bytes, pieces))) if !bytes.is_empty() => {
                    self.kept = Some(pieces);
                    return Ok(bytes);
                }
                Ok(Ok(_)) => return Err(MailboxFault::Damaged.into()),
                Ok(Err(fault)) => return Err(fault.into()),
                // The lane is full for a moment: no reason to cut a literal short.
                Err(_) => self.imap.host.sleep(ASK_AGAIN_AFTER).await,
            }
        }
        Err(Failure::Busy)
    }
}

/// Decodes what passes and keeps to the bytes that are wanted of it.
struct Filter {
    /// `None` once it was finished.
    decoder: Option<Decoder>,
    wanted: Range<usize>,
    passed: usize,
}

impl Filter {
    fn new(encoding: Encoding, wanted: Range<usize>) -> Filter {
        Filter {
            decoder: Some(Decoder::new(encoding)),
            wanted,
            passed: 0,
        }
    }

    fn pass(&mut self, bytes: &[u8], last: bool) -> Option<Bytes> {
        let mut decoded = self.decoder.as_mut()?.feed(bytes)?;
        if last {
            decoded.extend(self.decoder.take()?.finish()?);
        }
        let begin = self.passed;
        self.passed += decoded.len();
        let from = self.wanted.start.clamp(begin, self.passed) - begin;
        let to = self.wanted.end.clamp(begin, self.passed) - begin;
        // What was promised in the literal's mark must come.
        if last && self.passed < self.wanted.end {
            return None;
        }
        Some(Bytes::from(decoded).slice(from..to))
    }
}
