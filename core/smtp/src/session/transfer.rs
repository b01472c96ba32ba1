//! Content on its way in: how much room it needs, where it is kept, and what its end means (RFC 5321 §4.1.1.4, RFC 3030 §2).

use crate::content::{Content, Framing};
use crate::envelope::Message;
use crate::limits::{CONTENT_RESERVE_BYTES, CONTENT_RESERVE_BYTES_MAX};
use crate::reply::{Refusal, Reply};

use super::{Action, Next, Role, Session, State};

impl<R> Session<R> {
    /// Bytes to make room for, beyond the trace fields: what the sender announced, believed up to a bound.
    pub fn content_reserve_bytes(&self) -> usize {
        let chunk = match self.state {
            State::Begin(Next::Chunk { bytes, .. }) => Some(bytes),
            _ => None,
        };
        let announced = self
            .envelope()
            .and_then(|envelope| envelope.size_bytes)
            .into_iter()
            .chain(chunk)
            .max();
        match announced {
            // Some count LF as one byte: a little more than said.
            Some(bytes) => (bytes.saturating_add(bytes / 32 + 64))
                .min(CONTENT_RESERVE_BYTES_MAX as u64) as usize,
            None => CONTENT_RESERVE_BYTES,
        }
    }

    /// Memory held for content, in bytes.
    pub fn content_bytes(&self) -> usize {
        match &self.state {
            State::Data(content) => content.held_bytes(),
            _ => self
                .transaction
                .as_ref()
                .and_then(|transaction| transaction.chunks.as_ref())
                .map_or(0, Content::held_bytes),
        }
    }

    /// Answers `BeginContent`: content will be appended to `prefix`.
    pub fn begin_content(&mut self, prefix: Vec<u8>, output: &mut Vec<u8>) {
        let State::Begin(next) = std::mem::replace(&mut self.state, State::Command) else {
            panic!("no content is to begin")
        };
        let size_bytes_max = self.config.limits.message_bytes_max;
        match next {
            Next::Data => {
                Reply::SEND_CONTENT.write(output);
                self.state = State::Data(Content::new(Framing::Dots, prefix, size_bytes_max));
            }
            Next::Chunk { bytes, last } => {
                let transaction = self.transaction.as_mut().expect("BDAT has its transaction");
                transaction.chunks = Some(Content::new(Framing::Chunks, prefix, size_bytes_max));
                self.state = State::Chunk { left: bytes, last };
            }
        }
    }

    /// Answers `BeginContent` with no; or, while content comes, keeps no more of it and refuses at its end.
    pub fn refuse_content(&mut self, refusal: Refusal, output: &mut Vec<u8>) {
        match &mut self.state {
            State::Data(content) => content.refuse(refusal),
            State::Begin(next) => {
                let next = *next;
                self.state = State::Command;
                match next {
                    Next::Data => {
                        self.transaction = None;
                        refusal.reply().write(output);
                    }
                    Next::Chunk { bytes, last } => self.skip_chunk(bytes, last, refusal),
                }
            }
            _ => {
                if let Some(content) = self
                    .transaction
                    .as_mut()
                    .and_then(|transaction| transaction.chunks.as_mut())
                {
                    content.refuse(refusal);
                }
            }
        }
    }

    /// A refused chunk ends the transaction (RFC 3030 §4.1): chunks pipelined behind it find none and are refused too.
    pub(super) fn skip_chunk(&mut self, left: u64, last: bool, refusal: Refusal) {
        let recipients = self
            .transaction
            .take()
            .map_or(0, |transaction| transaction.envelope.recipients.len());
        self.state = State::SkipChunk {
            left,
            refusal,
            replies: self.replies_due(last, recipients),
        };
    }

    /// RFC 2033 §4.2: LMTP answers the end of content once for each recipient.
    pub(super) fn replies_due(&self, at_end: bool, recipients: usize) -> usize {
        match self.config.role {
            Role::Lmtp if at_end => recipients.max(1),
            _ => 1,
        }
    }

    /// The reply to one BDAT (RFC 3030 §2). A chunk that is refused ends the transaction: the next one would have nothing to
    /// follow.
    pub(super) fn end_chunk(&mut self, last: bool, output: &mut Vec<u8>) -> Option<Action<R>> {
        self.state = State::Command;
        let chunks = self
            .transaction
            .as_mut()
            .map(|transaction| &mut transaction.chunks)
            .expect("a chunk has its transaction");
        if last {
            let content = chunks.take().expect("a chunk has its content");
            return self.end_content(content, output);
        }
        match chunks.as_ref().and_then(Content::refusal) {
            None => Reply::CHUNK_OK.write(output),
            Some(refusal) => {
                self.transaction = None;
                return self.refuse_all(refusal, 1, output);
            }
        }
        None
    }

    /// The content is complete. The caller owes an outcome from here on; until then no reply is written.
    pub(super) fn end_content(
        &mut self,
        content: Content,
        output: &mut Vec<u8>,
    ) -> Option<Action<R>> {
        let envelope = self
            .transaction
            .take()
            .expect("content has its transaction")
            .envelope;
        let recipients = envelope.recipients.len();
        match content.finish() {
            Ok(content) => {
                self.state = State::Outcome(recipients);
                Some(Action::Message(Message { envelope, content }))
            }
            Err(refusal) => self.refuse_all(refusal, self.replies_due(true, recipients), output),
        }
    }
}
