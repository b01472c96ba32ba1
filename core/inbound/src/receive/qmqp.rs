//! One message by QMQP: read, looked at, taken for all of its recipients or for none, answered, closed.
//!
//! A peer with a proved certificate is a zone of ours, or another server of the operator's; a mark in the first line tells them apart. What comes without a
//! mark gets trace fields and an id of its own, as mail by LMTP does.
//!
//! What must hold: nothing is taken without TLS but from networks that the operator named (`runtime` asks before it gets here); memory is taken from
//! the budget before the bytes are read; an unknown recipient is never accepted, and one that cannot be looked up defers the message.

use std::time::Duration;

use bytes::Bytes;
use mail::Address;
use queue::DeliveryId;
use runtime::events::MESSAGE;
use runtime::{Accepted, Connection, ConnectionFault};
use smtp::qmqp::{self, Broken, Outcome, Request};
use smtp::{Body, Envelope, ForwardPath, Recipient, Refusal, ReversePath};
use storage::arrival::Found;
use storage::holder;
use store::BodyIn;

use super::leaving::{addressee, envelope as queued};
use super::mark::Mark;
use super::trace::{self, About};
use super::{Digest, Handed, Incoming, Keeper, Receiver, Relaxed, Settings};

/// Of a peer, inside of its request.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// What a request has beside its message: recipients of the greatest length, with their lengths.
const ENVELOPE_BYTES_MAX: u64 = (smtp::limits::RECIPIENTS_MAX as u64 + 2)
    * (smtp::limits::PATH_BYTES_MAX + smtp::limits::NETSTRING_DIGITS_MAX) as u64;
/// Of an answer's text, in letters.
const TEXT_BYTES_MAX: usize = 200;

/// An answer that is not `K`.
struct No {
    outcome: Outcome,
    text: String,
}

impl No {
    fn of(refusal: Refusal) -> No {
        let outcome = match refusal.is_temporary() {
            true => Outcome::Later,
            false => Outcome::Never,
        };
        let line = refusal.line().trim_end();
        No {
            outcome,
            text: line.to_owned(),
        }
    }

    fn about(refusal: Refusal, to: &Address) -> No {
        let mut no = No::of(refusal);
        no.text.push_str(&format!(" <{}>", to.to_path()));
        no
    }
}

impl From<Broken> for No {
    fn from(broken: Broken) -> No {
        let refusal = match broken {
            Broken::Form => Refusal::Syntax,
            Broken::Address => Refusal::BadPath,
            Broken::Recipients => Refusal::TooManyRecipients,
            Broken::BareCr => Refusal::BareCr,
        };
        // The same request would be as wrong at the next try.
        No {
            outcome: Outcome::Never,
            ..No::of(refusal)
        }
    }
}

impl<K: Keeper> Receiver<K> {
    /// Serves `connection` to its end. `is_zone`: its certificate was proved, and a mark is trusted.
    pub async fn serve_qmqp(
        &self,
        settings: &Settings,
        mut connection: impl Accepted,
        is_zone: bool,
    ) {
        connection.deadline(SILENCE_MAX);
        let answer = match self.request(settings, &mut connection, is_zone).await {
            Ok(Ok(id)) => qmqp::answer(Outcome::Taken, &format!("ok {id}")),
            Ok(Err(no)) => {
                let counter = match no.outcome {
                    Outcome::Never => &self.counters.refused,
                    _ => &self.counters.deferred,
                };
                counter.fetch_add(1, Relaxed);
                let text: String = no.text.chars().take(TEXT_BYTES_MAX).collect();
                qmqp::answer(no.outcome, &text)
            }
            Err(ConnectionFault::Stopping) => {
                let refusal = Refusal::ShuttingDown.line().trim_end();
                qmqp::answer(Outcome::Later, refusal)
            }
            Err(fault) => {
                tracing::debug!(peer = %connection.peer(), %fault, "a request of QMQP broke off");
                return;
            }
        };
        if connection.send(&answer).await.is_ok() {
            connection.close().await;
        }
    }

    /// Reads a request and takes its message. `Ok`: its id.
    async fn request(
        &self,
        settings: &Settings,
        connection: &mut impl Accepted,
        is_zone: bool,
    ) -> Result<Result<String, No>, ConnectionFault> {
        let mut inbox = Vec::new();
        let (head, bytes) = loop {
            // until the length is known; at most as many turns as it may have digits
            match qmqp::length(&inbox) {
                Ok(Some(known)) => break known,
                Ok(None) => {
                    connection.receive(&mut inbox).await?;
                }
                Err(broken) => return Ok(Err(broken.into())),
            }
        };
        let message_bytes_max = settings.smtp.limits.message_bytes_max;
        // By its announced length, before a byte of it is in memory.
        if bytes > message_bytes_max + ENVELOPE_BYTES_MAX {
            return Ok(Err(No::of(Refusal::TooBig)));
        }
        let whole = head + bytes as usize + 1;
        let holder = holder::of_peer(connection.peer().ip());
        // Paid for as a whole, and at once: a QMQP message cannot be stopped in the middle and continued.
        let Some(mut incoming) = self.contents.whole(holder, whole) else {
            return Ok(Err(No::of(Refusal::StorageFull)));
        };
        inbox.reserve_exact(whole.saturating_sub(inbox.len()));
        while inbox.len() < whole {
            // Ends: each turn receives something.
            connection.receive(&mut inbox).await?;
        }
        if inbox[whole - 1] != b',' {
            return Ok(Err(Broken::Form.into()));
        }
        // The message a second time, with a CR for each of its lines.
        let lines = memchr::memchr_iter(b'\n', &inbox).count();
        if !incoming.may_grow(whole + lines + trace::TRACE_BYTES) {
            return Ok(Err(No::of(Refusal::StorageFull)));
        }
        let parse = move || Request::parse(&inbox[head..whole - 1]);
        let request = match self.host.work(whole, parse).await {
            Ok(request) => request,
            Err(broken) => return Ok(Err(broken.into())),
        };
        if request.content.len() as u64 > message_bytes_max {
            return Ok(Err(No::of(Refusal::TooBig)));
        }
        let taken = self.take_request(settings, connection, request, incoming, is_zone);
        Ok(taken.await)
    }

    async fn take_request(
        &self,
        settings: &Settings,
        connection: &impl Connection,
        request: Request,
        incoming: Incoming,
        is_zone: bool,
    ) -> Result<String, No> {
        let began = self.host.now();
        let Request {
            mut content,
            reverse_path,
            recipients,
        } = request;
        // A peer that is not a zone may write such a line as well; it is then text of its message.
        let mark = is_zone.then(|| Mark::take_line(&mut content)).flatten();
        let is_spooled = mark.is_some_and(|mark| mark.is_spooled);
        let mut known = Vec::with_capacity(recipients.len());
        // QMQP has one answer for the whole message. So every recipient is known before anything is taken, and one that is not ends it.
        for to in recipients {
            let from = (&reverse_path, is_spooled);
            let to = self.known_recipient(settings, to, from).await?;
            known.push(Recipient {
                path: ForwardPath::Address(to),
                notify: None,
                original: None,
                route: (),
            });
        }
        let mut trace_bytes = 0;
        if mark.is_none() {
            let mut fields = Vec::with_capacity(trace::TRACE_BYTES);
            let paths: Vec<&ForwardPath> = known.iter().map(|to| &to.path).collect();
            let about = About {
                hello: "unknown",
                with: "QMQP",
                reverse_path: &reverse_path,
                recipients: &paths,
            };
            let (host, peer) = (&settings.smtp.hostname, connection.peer().ip());
            let (id, date) = (&incoming.id, mail::text::date(incoming.unix_seconds));
            trace::put(&mut fields, host, &about, peer, connection.tls(), id, &date);
            trace_bytes = fields.len();
            content.splice(..0, fields);
        }
        let envelope = Envelope {
            reverse_path,
            recipients: known,
            size_bytes: None,
            body: Some(Body::EightBitMime),
            smtputf8: false,
            returned: None,
            envelope_id: None,
        };
        let raw = Bytes::from(content);
        let bytes = raw.len();
        let work = raw.clone();
        let digest = move || Digest::of(&work, trace_bytes, work.len());
        let digest = self.host.work(bytes, digest).await;
        if let Some(refusal) = digest.refusal(mark.is_some()) {
            return Err(No::of(refusal));
        }
        let paths = envelope.recipients.iter();
        let all = paths.filter_map(|recipient| match &recipient.path {
            ForwardPath::Address(address) => Some(addressee(recipient, address)),
            ForwardPath::Postmaster => None,
        });
        let mut queued = queued(&envelope, all.collect(), incoming.unix_seconds, &raw);
        queued.terms.is_junk = mark.is_some_and(|mark| mark.is_junk);
        let needs_utf8 = |to: &queue::Addressee| !to.path.is_ascii();
        queued.terms.is_utf8 = !queued.from.is_ascii() || queued.recipients.iter().any(needs_utf8);
        let message_id = digest.message_id.clone();
        let body = BodyIn {
            name: digest.name,
            raw,
            summary: digest.summary,
        };
        let id = incoming.id.as_str();
        let span = tracing::info_span!("message", id);
        let handed = Handed::Whole {
            // Without a mark the content names the delivery: a client that saw no answer sends the same bytes again, and they are placed once.
            id: mark.map_or(DeliveryId::of(&body.name), |mark| mark.id),
            is_again: mark.is_some_and(|mark| mark.is_again),
            body,
            envelope: queued,
        };
        let outcome = self.handed_over(handed, 1, &span).await[0];
        let (peer, from) = (connection.peer().ip(), &envelope.reverse_path);
        let to = super::Addressees(&envelope.recipients);
        match outcome {
            Ok(()) => {
                tracing::info!(target: MESSAGE, parent: &span, %peer, %from, %to, message_id, bytes, "accepted");
                self.counters.accepted.fetch_add(1, Relaxed);
                self.counters.bytes.fetch_add(bytes as u64, Relaxed);
                self.counters.took.note(self.host.now().since_us(began));
                Ok(incoming.id)
            }
            Err(refusal) => {
                tracing::info!(target: MESSAGE, parent: &span, %peer, %from, %to, message_id, bytes, %refusal, "not accepted for all");
                Err(No::of(refusal))
            }
        }
    }

    /// A recipient of ours, or why the whole message is not taken. What waited in a spool has its 250: the hand-over says what becomes of it.
    async fn known_recipient(
        &self,
        settings: &Settings,
        to: Address,
        (from, is_spooled): (&ReversePath, bool),
    ) -> Result<Address, No> {
        let path = ForwardPath::Address(to.clone());
        let found = self.find(&to).await.map_err(|no| No::about(no, &to))?;
        match found {
            Found::Account(_) => Ok(to),
            Found::Listed | Found::NoMailbox if is_spooled => Ok(to),
            Found::Listed => {
                let admitted = self.admit(&to, Some(from)).await;
                admitted.map_err(|no| No::about(no, &to))?;
                Ok(to)
            }
            Found::NoMailbox => match &settings.postmaster {
                Some(postmaster) if super::recipient::is_postmaster(&path) => {
                    Ok(postmaster.clone())
                }
                _ => Err(No::about(Refusal::UnknownRecipient, &to)),
            },
            Found::NotOurs => Err(No::about(Refusal::RelayDenied, &to)),
        }
    }
}
