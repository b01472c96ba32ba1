//! Bodies on their way out in pieces (`crate::pieces`): one is read from the store while the one before it is taken by the client, and no
//! more than that is in memory.
//!
//! A literal that was begun has to be ended. When the rest cannot be read any more (every copy is damaged; the message
//! was expunged and its place used again) the connection is given up, and the next FETCH of a damaged message is refused
//! before it begins.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use imap::respond::without_nul;
use mailbox::{MailboxFault, Message};
use runtime::{Charge, Connection};
use storage::owner::Ask;

use crate::pieces::{Reader, Reading};

use super::super::fault::Failure;
use super::super::limits::*;
use super::super::{End, Imap};
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
                if failure == Failure::Mailbox(MailboxFault::Damaged) {
                    self.damaged.remember(message);
                }
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
            owner: &self.owner,
            host: &self.host,
            memory: &self.memory,
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
                Err(unread) => return Ok(Err(unread.into())),
            }
        }
        Ok(Ok(()))
    }

    /// With room in the account's share again the rest goes out at full speed.
    fn widen(&mut self) {
        if self.window.is_none() {
            let reader = &mut self.reader;
            let sending = &reader.memory.sending;
            self.window = sending.take_for(reader.reading.holder, WINDOW_BYTES);
            reader.large = self.window.is_some();
        }
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
