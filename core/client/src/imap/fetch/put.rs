//! The line about one message, put together from what its chunk has of it, or from all of the message.

use std::sync::Arc;

use bytes::Bytes;
use mailbox::{MailboxFault, Message};
use runtime::Charge;
use storage::owner::Ask;

use super::super::Imap;
use super::super::fault::Failure;
use super::super::limits::LINE_BYTES_FREE;
use super::line::{self, FetchLine, Read};
use super::stream::Source;
use super::{Chunk, Wanted};
use crate::pieces::Reading;

impl<K: Ask> Imap<K> {
    /// As `put_line`, having read what it takes.
    pub(super) async fn line_of(
        &self,
        reading: Reading,
        chunk: &Chunk,
        index: usize,
        recent: bool,
        wanted: &Arc<Wanted>,
        out: &mut Vec<u8>,
    ) -> Put {
        let preview = match chunk.bodies.get(index).and_then(Option::as_ref) {
            Some(_) => None,
            None => {
                let ((_, message), summary) = (&chunk.messages[index], chunk.summaries.get(index));
                let preview = self.front_preview(reading, message, summary, wanted);
                preview.await?
            }
        };
        match self.put_line(reading, chunk, index, (recent, preview), wanted, out) {
            Some(line) => line,
            None => {
                let line = self.put_line_of_all(reading, chunk, index, recent, wanted, out);
                line.await
            }
        }
    }

    /// Puts the line about one message together: what is to be sent within it from the store, and what pays for a long line. `None`, and nothing
    /// is put: all of the message is needed, which is not at hand.
    fn put_line(
        &self,
        reading: Reading,
        chunk: &Chunk,
        index: usize,
        (recent, preview): (bool, Option<String>),
        wanted: &Wanted,
        out: &mut Vec<u8>,
    ) -> Option<Put> {
        let (number, message) = &chunk.messages[index];
        let summary = chunk.summaries.get(index);
        let held = chunk.bodies.get(index).and_then(Option::as_ref);
        let decoded = line::decoded(summary);
        let known = summary.map(|_| decoded.as_ref());
        if held.is_none() && (self.is_doubted(message, wanted) || wanted.needs_all(known)) {
            return None;
        }
        let read = Read {
            summary,
            decoded,
            body: held,
            stays: held.is_some(),
            recent,
            preview,
        };
        let begin = out.len();
        let mut line = FetchLine::new(out, self.memory.sending.share_bytes_max());
        if let Err(failure) = line.put_message(*number, message, &read, wanted) {
            return Some(Err(failure));
        }
        let sources = line.sources;
        let free = LINE_BYTES_FREE + held.map_or(0, |_| message.size_bytes as usize);
        Some(self.pay_for(reading, out.len() - begin, free, sources))
    }

    /// A leg that came back may have repaired it: all of it is read before anything is announced.
    fn is_doubted(&self, message: &Message, wanted: &Wanted) -> bool {
        wanted.bodies.are_read() && self.damaged.knows(message)
    }

    /// As `put_line`, having read all of the message.
    async fn put_line_of_all(
        &self,
        reading: Reading,
        chunk: &Chunk,
        index: usize,
        recent: bool,
        wanted: &Arc<Wanted>,
        out: &mut Vec<u8>,
    ) -> Put {
        let (number, message) = &chunk.messages[index];
        let whole = self.whole(reading, message).await?;
        if whole.0.is_ok() && self.is_doubted(message, wanted) {
            self.damaged.forget(message);
        }
        let line = Large {
            number: *number,
            message: message.clone(),
            summary: chunk.summaries.get(index).cloned(),
            recent,
            wanted: wanted.clone(),
            line_bytes_max: self.memory.sending.share_bytes_max(),
        };
        let put = move || line.put(whole);
        let (line, mut sources) = self.host.work(message.size_bytes as usize, put).await?;
        let begin = out.len();
        out.extend_from_slice(&line);
        for (at, _) in &mut sources {
            *at += begin;
        }
        self.pay_for(reading, line.len(), LINE_BYTES_FREE, sources)
    }

    /// What pays for a line of so many bytes, where it is longer than those that are `free`.
    fn pay_for(
        &self,
        reading: Reading,
        bytes: usize,
        free: usize,
        sources: Vec<(usize, Source)>,
    ) -> Put {
        if bytes <= free {
            return Ok((sources, None));
        }
        // It waits for the client, so it is the account's own share that it has to fit in.
        match self.memory.sending.take_for(reading.holder, bytes) {
            Some(charge) => Ok((sources, Some(charge))),
            None => Err(Failure::No(
                "LIMIT",
                "Other connections of this account hold too much unread data; read it first",
            )),
        }
    }
}

/// What is to be sent within a line from the store, and what pays for the line.
type Put = Result<(Vec<(usize, Source)>, Option<Charge>), Failure>;

/// A line that all of a large message is needed for. It is put together beside the core.
struct Large {
    number: u32,
    message: Message,
    summary: Option<Result<Bytes, MailboxFault>>,
    recent: bool,
    wanted: Arc<Wanted>,
    line_bytes_max: usize,
}

/// A line, and what is to be sent within it from the store.
type Line = (Vec<u8>, Vec<(usize, Source)>);

impl Large {
    /// `whole` is given back before the line is.
    fn put(self, whole: (Result<Bytes, MailboxFault>, Charge)) -> Result<Line, Failure> {
        let read = Read {
            summary: self.summary.as_ref(),
            decoded: line::decoded(self.summary.as_ref()),
            body: Some(&whole.0),
            stays: false,
            recent: self.recent,
            preview: None,
        };
        let mut out = Vec::new();
        let mut line = FetchLine::new(&mut out, self.line_bytes_max);
        line.put_message(self.number, &self.message, &read, &self.wanted)?;
        let sources = line.sources;
        Ok((out, sources))
    }
}
