//! One conversation with one server over a connection that was just made, for each kind of server. The caller sets the deadline for all of
//! it, and drops the connection with the call.
//!
//! What a server says before we have sent everything is heard: clamd refuses a stream that is too long in the middle of it.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;

use runtime::Connection;

use crate::change::{self, Change};
use crate::limits::*;
use crate::milter::{self, Agreed, Decision, Said, Step};
use crate::{Envelope, Fault, clamd, http, rspamd};

/// A connection and what came over it. Bounded over the whole call.
struct Wire<C> {
    connection: C,
    input: Vec<u8>,
    received: usize,
}

impl<C: Connection> Wire<C> {
    fn new(connection: C) -> Wire<C> {
        Wire {
            connection,
            input: Vec::new(),
            received: 0,
        }
    }

    async fn more(&mut self) -> Result<(), Fault> {
        let bytes = self.connection.receive(&mut self.input).await?;
        self.count(bytes)
    }

    fn count(&mut self, bytes: usize) -> Result<(), Fault> {
        self.received += bytes;
        match self.received > REPLY_BYTES_MAX + HTTP_HEAD_BYTES_MAX {
            true => Err(Fault::TooLong),
            false => Ok(()),
        }
    }

    /// Whether anything has come that was not read yet. Waits for nothing.
    async fn has_input(&mut self) -> Result<bool, Fault> {
        if !self.input.is_empty() {
            return Ok(true);
        }
        let bytes = {
            let mut receive = pin!(self.connection.receive(&mut self.input));
            poll_fn(|context| {
                Poll::Ready(match receive.as_mut().poll(context) {
                    Poll::Ready(received) => received,
                    Poll::Pending => Ok(0),
                })
            })
            .await?
        };
        self.count(bytes)?;
        Ok(bytes > 0)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        Ok(self.connection.send(bytes).await?)
    }

    /// Sends `content` in pieces; `false`: the server spoke before it had all of it.
    async fn send_until_answered(&mut self, content: &[u8]) -> Result<bool, Fault> {
        for piece in content.chunks(CLAMD_CHUNK_BYTES) {
            if self.has_input().await? {
                return Ok(false);
            }
            self.send(piece).await?;
        }
        Ok(true)
    }
}

/// Asks rspamd about `content`.
pub(crate) async fn rspamd(
    connection: impl Connection,
    server: SocketAddr,
    envelope: &Envelope<'_>,
    content: &[u8],
) -> Result<rspamd::Answer, Fault> {
    let mut wire = Wire::new(connection);
    wire.send(&rspamd::request(envelope, server, content.len()))
        .await?;
    let is_whole = wire.send_until_answered(content).await?;
    let head = loop {
        // until the head is whole; each turn receives something, and the bound is in `Head::parse`
        if let Some(head) = http::Head::parse(&wire.input)? {
            break head;
        }
        wire.more().await?;
    };
    loop {
        // until the body is whole; the bound is in `Wire::count`
        let body = &wire.input[head.bytes..];
        if head.body_bytes.is_some_and(|bytes| body.len() >= bytes) {
            break;
        }
        match (wire.more().await, head.body_bytes) {
            (Ok(()), _) => {}
            // RFC 9112 §6.3: without a length the body ends with the connection.
            (Err(Fault::Connection(runtime::ConnectionFault::Closed)), None) => break,
            (Err(fault), _) => return Err(fault),
        }
    }
    let body = &wire.input[head.bytes..];
    let body = &body[..head.body_bytes.unwrap_or(body.len())];
    match rspamd::parse(head.status, body)? {
        // A message that was not looked at to its end is not clean.
        answer if answer.action == rspamd::Action::Accept && !is_whole => {
            Err(Fault::Nonsense("an early answer"))
        }
        answer => Ok(answer),
    }
}

/// Asks clamd about `content`.
pub(crate) async fn clamd(
    connection: impl Connection,
    content: &[u8],
) -> Result<clamd::Answer, Fault> {
    let mut wire = Wire::new(connection);
    wire.send(clamd::BEGIN).await?;
    let mut is_answered = false;
    for chunk in content.chunks(CLAMD_CHUNK_BYTES) {
        is_answered = wire.has_input().await?;
        if is_answered {
            break;
        }
        wire.send(&clamd::chunk(chunk.len())).await?;
        wire.send(chunk).await?;
    }
    is_answered = is_answered || wire.has_input().await?;
    if !is_answered {
        wire.send(&clamd::END).await?;
    }
    loop {
        // until the answer is whole; the bound is in `clamd::parse`
        if let Some(answer) = clamd::parse(&wire.input)? {
            // A stream that was not looked at to its end is not clean.
            return match (answer, is_answered) {
                (clamd::Answer::Clean, true) => Err(Fault::Nonsense("an early answer")),
                (answer, _) => Ok(answer),
            };
        }
        wire.more().await?;
    }
}

/// What a filter came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filtered {
    /// `Continue`, `Accept`, `Discard`, `Reject`, `TempFail` or `Reply`.
    pub decision: Decision,
    /// Why it asks for quarantine, if it does.
    pub quarantine: Option<String>,
    /// Fields to be put in front, each with its line's end.
    pub fields: Vec<u8>,
    pub changes: Vec<Change>,
}

/// Takes a filter through all steps of a message.
pub(crate) async fn milter(
    connection: impl Connection,
    envelope: &Envelope<'_>,
    content: &[u8],
) -> Result<Filtered, Fault> {
    let window = &content[..content.len().min(HEADER_BYTES_MAX)];
    let (mut count, mut bytes) = (0, 0);
    for field in mail::header::fields(window) {
        (count, bytes) = (count + 1, bytes + field.raw.len());
        if field.name.is_empty() {
            break;
        }
    }
    // What reaches the window's end may be cut there, in its name too.
    if count > FIELDS_MAX || (bytes == window.len() && bytes < content.len()) {
        return Err(Fault::HeaderTooLong);
    }
    let mut talk = Talk {
        wire: Wire::new(connection),
        out: Vec::new(),
        taken: 0,
    };
    milter::negotiate(&mut talk.out);
    let (letter, data) = talk.packet().await?;
    let agreed = match letter {
        b'O' => Agreed::parse(&data)?,
        _ => return Err(Fault::Nonsense("negotiation")),
    };
    let mut filtered = Filtered {
        decision: Decision::Continue,
        quarantine: None,
        fields: Vec::new(),
        changes: Vec::new(),
    };
    if let Some(decision) = talk.steps(&agreed, envelope, content).await? {
        filtered.decision = decision;
    } else {
        milter::end_of_body(&mut talk.out, envelope);
        filtered.decision = talk.end(&agreed, &mut filtered).await?;
    }
    // A courtesy: the connection is closed after it, whether it arrives or not. The verdict does not wait for a filter that reads no more.
    milter::quit(&mut talk.out);
    talk.wire.connection.deadline(QUIT_WAIT);
    let _ = talk.flush().await;
    Ok(filtered)
}

/// Writes a step that the envelope alone makes.
type Write = fn(&mut Vec<u8>, &Envelope<'_>);

struct Talk<C> {
    wire: Wire<C>,
    out: Vec<u8>,
    /// Bytes of `wire.input` that belong to packets that were read.
    taken: usize,
}

impl<C: Connection> Talk<C> {
    async fn flush(&mut self) -> Result<(), Fault> {
        let out = std::mem::take(&mut self.out);
        self.wire.send(&out).await
    }

    /// Sends what is written, and answers the next packet.
    async fn packet(&mut self) -> Result<(u8, Vec<u8>), Fault> {
        if !self.out.is_empty() {
            self.flush().await?;
        }
        loop {
            // until a packet is whole; the bounds are in `frame` and `Wire::count`
            self.wire.input.drain(..std::mem::take(&mut self.taken));
            if let Some((letter, data, next)) = milter::frame(&self.wire.input)? {
                self.taken = next;
                return Ok((letter, data.to_vec()));
            }
            self.wire.more().await?;
        }
    }

    /// The filter's decision about the step that was just written; `None`: go on with the next.
    async fn decision(&mut self, agreed: &Agreed, step: Step) -> Result<Option<Decision>, Fault> {
        if !agreed.answers(step) {
            return Ok(None);
        }
        loop {
            // until it decides; each packet counts
            let (letter, data) = self.packet().await?;
            match Said::parse(letter, &data, agreed, false)? {
                Said::Progress => {}
                Said::Decision(Decision::Continue) => return Ok(None),
                Said::Decision(Decision::Skip) if step != Step::Body => {
                    return Err(Fault::Nonsense("a skip outside the body"));
                }
                Said::Decision(decision) => return Ok(Some(decision)),
                _ => return Err(Fault::Nonsense("a change before the end")),
            }
        }
    }

    /// Everything up to the end of the body; a decision where one ends it earlier.
    async fn steps(
        &mut self,
        agreed: &Agreed,
        envelope: &Envelope<'_>,
        content: &[u8],
    ) -> Result<Option<Decision>, Fault> {
        let simple: [(Step, Write); 3] = [
            (Step::Connect, milter::connect),
            (Step::Helo, milter::helo),
            (Step::Mail, milter::mail),
        ];
        for (step, write) in simple {
            if agreed.wants(step) {
                write(&mut self.out, envelope);
                if let Some(decision) = self.decision(agreed, step).await? {
                    return Ok(Some(decision));
                }
            }
        }
        for recipient in envelope.recipients.iter().take(RECIPIENTS_NAMED_MAX) {
            if agreed.wants(Step::Recipient) {
                milter::recipient(&mut self.out, recipient);
                if let Some(decision) = self.decision(agreed, Step::Recipient).await? {
                    return Ok(Some(decision));
                }
            }
        }
        if agreed.wants(Step::Data) {
            milter::data(&mut self.out);
            if let Some(decision) = self.decision(agreed, Step::Data).await? {
                return Ok(Some(decision));
            }
        }
        let mut header_bytes = 0;
        for field in change::fields(content) {
            header_bytes += field.raw.len();
            if agreed.wants(Step::Field) {
                milter::field(&mut self.out, agreed, field.name, field.value);
                if let Some(decision) = self.decision(agreed, Step::Field).await? {
                    return Ok(Some(decision));
                }
                if self.out.len() > CLAMD_CHUNK_BYTES {
                    self.flush().await?;
                }
            }
        }
        if agreed.wants(Step::EndOfHeader) {
            milter::end_of_header(&mut self.out);
            if let Some(decision) = self.decision(agreed, Step::EndOfHeader).await? {
                return Ok(Some(decision));
            }
        }
        if agreed.wants(Step::Body) {
            return self.body(agreed, body_of(content, header_bytes)).await;
        }
        Ok(None)
    }

    async fn body(&mut self, agreed: &Agreed, body: &[u8]) -> Result<Option<Decision>, Fault> {
        for chunk in body.chunks(MILTER_CHUNK_BYTES) {
            self.out.extend_from_slice(&milter::body(chunk.len()));
            self.flush().await?;
            self.wire.send(chunk).await?;
            match self.decision(agreed, Step::Body).await? {
                None => {}
                Some(Decision::Skip) => break,
                Some(decision) => return Ok(Some(decision)),
            }
        }
        Ok(None)
    }

    /// The changes that a filter asks for, up to its last word.
    async fn end(&mut self, agreed: &Agreed, filtered: &mut Filtered) -> Result<Decision, Fault> {
        loop {
            // until it decides; each packet counts
            let (letter, data) = self.packet().await?;
            match Said::parse(letter, &data, agreed, true)? {
                Said::Progress => {}
                Said::Decision(decision) => return Ok(decision),
                Said::Add(name, value) => {
                    if !change::put_field(&mut filtered.fields, &name, &value) {
                        return Err(Fault::Nonsense("a field that cannot be"));
                    }
                }
                Said::Change(change) => {
                    filtered.changes.push(change);
                    let bytes = filtered.changes.iter().map(|change| change.field.len());
                    let bytes: usize = bytes.sum();
                    if filtered.changes.len() > CHANGES_MAX || bytes > ADDED_BYTES_MAX {
                        return Err(Fault::TooLong);
                    }
                }
                Said::Quarantine(reason) => filtered.quarantine = Some(reason),
            }
        }
    }
}

/// What stands behind the empty line; where there is none, behind the last field.
fn body_of(content: &[u8], header_bytes: usize) -> &[u8] {
    let rest = &content[header_bytes..];
    let without = rest.strip_prefix(b"\r\n").or(rest.strip_prefix(b"\n"));
    without.unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_behind_the_fields_is_hidden_from_a_filter() {
        assert_eq!(body_of(b"A: 1\r\n\r\nx", 6), b"x");
        assert_eq!(body_of(b"A: 1\r\n\nx", 6), b"x");
        assert_eq!(body_of(b"A: 1\r\n", 6), b"");
        let rest = b"no field\r\n\r\nx";
        assert_eq!(body_of(&[b"A: 1\r\n", &rest[..]].concat(), 6), rest);
    }
}
