//! Step 2 of the walk: one SMTP or LMTP connection, from greeting to end.
//!
//! Owns the session (`smtp::Session`), passes bytes in, and performs the actions that come out: a recipient is looked up, content gets its
//! buffer and its trace fields, a complete message is handed to the owner of the mailboxes and answered when it is durable. No reply is sent
//! from anywhere else.
//!
//! What must hold:
//!
//! - *durable* before *accepted*: a 2xx for content leaves after `Mailboxes::deliver` resolved, never before.
//! - Unknown recipients are refused at RCPT; nothing is relayed.
//! - Memory of content is taken from a budget that all connections of the box share, and of which one peer's address has at most its
//!   share. When there is no more the peer hears 452 and comes again; nobody's buffer grows past it.
//! - One message has one id, from its first trace field through the log lines of every zone to the text of its 250.
//!
//! # Some recipients could be served and some not
//!
//! LMTP says so for each. SMTP has one answer for all: 250 would lose mail, and 451 alone would deliver twice to those who were served. So 451 is
//! said, what was placed is remembered (`placed`), and the sender's next try places only the rest. What is forgotten
//! (a restart, a full table, five days) costs a second copy, never a lost message. The common case, a full mailbox, is refused at RCPT already. A report (DSN)
//! to the sender would be the other way; it needs the outbound queue, which is not there yet.

mod directory;
mod keeper;
mod placed;
mod route;
mod trace;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base::BodyName;
use bytes::Bytes;
use mail::{Address, InternalDate, Summary};
use mailbox::{AccountId, MailboxFault};
use runtime::{Budget, Charge, Connection, ConnectionFault, work};
use smtp::{Action, ForwardPath, Message, Refusal, Role, Session};
use storage::arrival::{Arrival, Found};
use storage::holder;
use storage::owner::Owner;
use store::BodyIn;

use directory::Directory;
pub use keeper::Keeper;
pub use placed::Placed;
use route::Route;

/// How one listener receives.
#[derive(Clone)]
pub struct Settings {
    pub smtp: Arc<smtp::Config>,
    /// For STARTTLS; present when `smtp.tls_available`.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Who reads `<Postmaster>`, and `postmaster@` of our domains where there is no such account (RFC 5321 §4.5.1).
    pub postmaster: Option<Address>,
    /// For benches only: everything is done but the store is never asked to keep a message. What is acknowledged is lost.
    pub sink: bool,
}

/// What a core's receivers did since start. Written by that core, read by whoever asks.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages answered with 2xx, for at least one recipient.
    pub accepted: AtomicU64,
    /// Messages answered with 5xx by us, and recipients refused for good.
    pub refused: AtomicU64,
    /// Messages and recipients answered with 4xx.
    pub deferred: AtomicU64,
    /// Bytes of accepted messages, trace fields included.
    pub bytes: AtomicU64,
}

/// What all connections of one core share. Lives on that core.
pub struct Receiver<K = Owner> {
    keeper: K,
    /// Bytes of content in memory, over all cores.
    budget: Budget,
    placed: Placed,
    directory: RefCell<Directory>,
    counters: Arc<Counters>,
    ids: Ids,
}

/// The memory of all messages that are being received: of which one peer, or one account that appends, has half at most, and at least
/// what one message of `message_bytes_max` takes while its buffer grows.
pub fn memory(bytes: usize, message_bytes_max: usize) -> Budget {
    let message = message_bytes_max.saturating_mul(2);
    Budget::with_shares(bytes, (bytes / 2).max(message))
}

impl<K: Keeper> Receiver<K> {
    /// `budget` and `placed` are shared by all cores.
    pub fn new(keeper: K, budget: Budget, placed: Placed) -> Receiver<K> {
        Receiver {
            keeper,
            budget,
            placed,
            directory: RefCell::default(),
            counters: Arc::default(),
            ids: Ids::new(),
        }
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Serves `connection` to its end.
    pub async fn serve(&self, settings: &Settings, mut connection: Connection) {
        let mut output = Vec::new();
        let mut session = Session::new(
            settings.smtp.clone(),
            connection.tls().is_some(),
            &mut output,
        );
        connection.deadline(SILENCE_MAX);
        match self
            .converse(settings, &mut session, &mut connection, &mut output)
            .await
        {
            Ok(()) => connection.close().await,
            Err(ConnectionFault::Stopping) => {
                output.clear();
                session.close(Refusal::ShuttingDown, &mut output);
                if connection.send(&output).await.is_ok() {
                    connection.close().await;
                }
            }
            Err(
                fault
                @ (ConnectionFault::Closed | ConnectionFault::TimedOut | ConnectionFault::Tls),
            ) => {
                tracing::debug!(peer = %connection.peer(), %fault, "the conversation broke off");
            }
        }
    }

    async fn converse(
        &self,
        settings: &Settings,
        session: &mut Session<Route>,
        connection: &mut Connection,
        output: &mut Vec<u8>,
    ) -> Result<(), ConnectionFault> {
        let mut inbox = Vec::new();
        let mut content: Option<Incoming> = None;
        loop {
            // until either side ends it; each turn receives something
            let mut at = 0;
            loop {
                // until all of it is used up; each turn uses up bytes or settles an answer that was owed
                let (used, action) = session.step(&inbox[at..], output);
                at += used;
                match action {
                    Action::NeedInput => break,
                    Action::CheckRecipient => {
                        let verdict = self.check_recipient(settings, session).await;
                        self.count_refusal(verdict.as_ref().err().copied());
                        session.recipient_verdict(verdict, output);
                    }
                    Action::BeginContent => {
                        content = self.begin_content(settings, session, connection, output);
                    }
                    Action::Message(message) => {
                        let incoming = content.take().expect("content began");
                        self.on_message(settings, session, message, incoming, output)
                            .await;
                    }
                    Action::StartTls => {
                        connection.send(output).await?;
                        output.clear();
                        let tls = settings
                            .tls
                            .as_ref()
                            .expect("STARTTLS is offered with a certificate only");
                        connection.start_tls(tls).await?;
                        session.tls_started();
                        content = None;
                        at = inbox.len();
                        break;
                    }
                    Action::Close => return connection.send(output).await,
                }
                if output.len() > OUTPUT_BYTES_MAX {
                    connection.send(output).await?;
                    output.clear();
                }
            }
            self.charge(session, &mut content, output);
            // Idle connections own no buffers.
            if at == inbox.len() {
                inbox = Vec::new();
            } else {
                inbox.drain(..at);
            }
            if !output.is_empty() {
                connection.send(output).await?;
                *output = Vec::new();
            }
            connection.receive(&mut inbox).await?;
        }
    }

    /// RCPT: an account of ours, with room, or why not.
    async fn check_recipient(
        &self,
        settings: &Settings,
        session: &Session<Route>,
    ) -> Result<Route, Refusal> {
        let entry = match session.recipient() {
            ForwardPath::Address(address) => self.look_up(address).await?,
            ForwardPath::Postmaster => Found::NoMailbox,
        };
        let entry = match (entry, &settings.postmaster, session.recipient()) {
            (Found::NoMailbox, Some(postmaster), path) if is_postmaster(path) => {
                self.look_up(postmaster).await?
            }
            (entry, ..) => entry,
        };
        let announced = session
            .envelope()
            .and_then(|envelope| envelope.size_bytes)
            .unwrap_or(0);
        match entry {
            Found::Account(_) if self.keeper.refuses() => Err(Refusal::StorageFault),
            Found::Account(entry) if entry.has_room(announced) => Ok(Route::Local {
                account: entry.account,
            }),
            Found::Account(_) => Err(Refusal::MailboxFull),
            Found::NoMailbox => Err(Refusal::UnknownRecipient),
            Found::NotOurs => Err(Refusal::RelayDenied),
        }
    }

    async fn look_up(&self, address: &Address) -> Result<Found, Refusal> {
        if let Some(resident) = self.directory.borrow().find(address) {
            return Ok(Found::Account(resident));
        }
        let asked = Instant::now();
        let looked = self
            .keeper
            .look_up(address)
            .await
            .map_err(|_| Refusal::Busy)?;
        let found = looked.found.map_err(|fault| refusal_for(&fault))?;
        if let Found::Account(resident) = &found {
            self.directory.borrow_mut().keep(
                looked.generation,
                looked.at,
                address,
                resident.clone(),
                asked,
            );
        }
        Ok(found)
    }

    /// DATA, or the first BDAT: memory first, then the trace fields in front.
    fn begin_content(
        &self,
        settings: &Settings,
        session: &mut Session<Route>,
        connection: &Connection,
        output: &mut Vec<u8>,
    ) -> Option<Incoming> {
        let room = session.content_reserve_bytes() + trace::TRACE_BYTES;
        let peer = holder::of_peer(connection.peer().ip());
        let Some(charge) = self.budget.take_for(peer, room) else {
            self.count_refusal(Some(Refusal::StorageFull));
            session.refuse_content(Refusal::StorageFull, output);
            return None;
        };
        let id = self.ids.next();
        let unix_seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |span| span.as_secs() as i64);
        let mut prefix = Vec::with_capacity(room);
        trace::write(
            &mut prefix,
            &settings.smtp.hostname,
            session,
            connection.peer().ip(),
            connection.tls(),
            &id,
            unix_seconds,
        );
        let trace_bytes = prefix.len();
        session.begin_content(prefix, output);
        Some(Incoming {
            id,
            unix_seconds,
            trace_bytes,
            charge,
        })
    }

    /// While content comes: pays for the buffer's growth, or lets go of it. When none comes any more: gives back.
    fn charge(
        &self,
        session: &mut Session<Route>,
        content: &mut Option<Incoming>,
        output: &mut Vec<u8>,
    ) {
        let Some(incoming) = content else { return };
        let held = session.content_bytes();
        if held == 0 {
            // Refused or forgotten. Its id is still needed when the end comes only if it was not: then something is held.
            *content = None;
        } else if held > incoming.charge.bytes()
            && !incoming.charge.grow(held - incoming.charge.bytes())
        {
            session.refuse_content(Refusal::StorageFull, output);
            *content = None;
        }
    }

    /// End of mail data: one answer, or one for each recipient.
    async fn on_message(
        &self,
        settings: &Settings,
        session: &mut Session<Route>,
        message: Message<Route>,
        incoming: Incoming,
        output: &mut Vec<u8>,
    ) {
        let id = incoming.id.as_str();
        let span = tracing::info_span!("message", id);
        let raw = Bytes::from(message.content);
        let accounts: Vec<AccountId> = message
            .envelope
            .recipients
            .iter()
            .map(|recipient| match recipient.route {
                Route::Local { account } => account,
            })
            .collect();

        let (digested, trace_bytes) = (raw.clone(), incoming.trace_bytes);
        let digest = move || Digest::of(&digested, trace_bytes);
        let digest = work(raw.len(), digest).await;
        let outcomes = if digest.hops > trace::HOPS_MAX {
            vec![Err(Refusal::Loop); accounts.len()]
        } else {
            self.deliver(settings, &raw, &incoming, digest, &accounts, &span)
                .await
        };

        let refusal = one_answer(&outcomes);
        match refusal {
            None => {
                tracing::info!(parent: &span, from = %message.envelope.reverse_path, recipients = accounts.len(), bytes = raw.len(), "accepted")
            }
            Some(refusal) => {
                tracing::info!(parent: &span, from = %message.envelope.reverse_path, recipients = accounts.len(), bytes = raw.len(), %refusal, "not accepted for all")
            }
        }
        if outcomes.iter().any(Result::is_ok) {
            self.counters.accepted.fetch_add(1, Relaxed);
            self.counters.bytes.fetch_add(raw.len() as u64, Relaxed);
        }
        self.count_refusal(refusal);
        match settings.smtp.role {
            Role::Smtp => session.outcome(&[refusal.map_or(Ok(id), Err)], output),
            Role::Lmtp => {
                let outcomes: Vec<_> = outcomes
                    .iter()
                    .map(|outcome| outcome.map(|()| id))
                    .collect();
                session.outcome(&outcomes, output);
            }
        }
    }

    /// Makes the message durable in the mailbox of each of `accounts`; one outcome for each. For SMTP, which has one answer for all, what
    /// was placed is remembered when that answer will not be 250.
    async fn deliver(
        &self,
        settings: &Settings,
        raw: &Bytes,
        incoming: &Incoming,
        digest: Digest,
        accounts: &[AccountId],
        span: &tracing::Span,
    ) -> Vec<Result<(), Refusal>> {
        let one_answer = settings.smtp.role == Role::Smtp;
        // Two addresses of one account are one mailbox: one copy (RFC 5321 §4.1.1.3 leaves it to us).
        let mut wanted = accounts.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let content = &raw[incoming.trace_bytes..];
        let earlier = if one_answer {
            self.placed.recall(content, &wanted, Instant::now())
        } else {
            Vec::new()
        };
        wanted.retain(|account| !earlier.contains(account));

        let body = BodyIn {
            name: digest.name,
            raw: raw.clone(),
            summary: digest.summary,
        };
        let arrival = Arrival {
            body,
            internal_date: InternalDate::utc(incoming.unix_seconds),
            accounts: wanted.clone(),
        };
        let results: Vec<Result<(), Refusal>> = if settings.sink || wanted.is_empty() {
            vec![Ok(()); wanted.len()]
        } else {
            match self.keeper.deliver(arrival, span).await {
                Ok(results) => {
                    assert_eq!(results.len(), wanted.len(), "one result for each recipient");
                    results
                        .into_iter()
                        .map(|result| result.map_err(|fault| refusal_for(&fault)))
                        .collect()
                }
                Err(_busy) => vec![Err(Refusal::Busy); wanted.len()],
            }
        };

        let failed = results.iter().any(Result::is_err);
        if one_answer && failed {
            let of = |served: bool| -> Vec<AccountId> {
                let results = wanted.iter().zip(&results);
                let chosen = results.filter(|(_, result)| result.is_ok() == served);
                chosen.map(|(account, _)| *account).collect()
            };
            let (placed, missing) = (of(true), of(false));
            self.placed
                .remember(content, &placed, &missing, Instant::now());
        } else if one_answer {
            self.placed.settle(content, &wanted);
        }
        let outcome = |account: &AccountId| match wanted.binary_search(account) {
            Ok(index) => results[index],
            Err(_) => Ok(()), // placed by an earlier try
        };
        accounts.iter().map(outcome).collect()
    }

    fn count_refusal(&self, refusal: Option<Refusal>) {
        match refusal {
            Some(refusal) if refusal.is_temporary() => self.counters.deferred.fetch_add(1, Relaxed),
            Some(_) => self.counters.refused.fetch_add(1, Relaxed),
            None => 0,
        };
    }
}

/// A message whose content is coming.
struct Incoming {
    id: String,
    unix_seconds: i64,
    /// Bytes that we put in front.
    trace_bytes: usize,
    /// The content's memory, given back when this is dropped: once it is durable or refused.
    charge: Charge,
}

/// What is to be known of a complete message, by looking at all of it.
struct Digest {
    name: BodyName,
    summary: Bytes,
    /// Received fields that others wrote.
    hops: usize,
}

impl Digest {
    fn of(raw: &[u8], trace_bytes: usize) -> Digest {
        Digest {
            name: BodyName::of(raw),
            summary: Bytes::from(Summary::of(raw).encode()),
            hops: trace::hops(&raw[trace_bytes..]),
        }
    }
}

fn is_postmaster(path: &ForwardPath) -> bool {
    match path {
        ForwardPath::Postmaster => true,
        ForwardPath::Address(address) => address.local().eq_ignore_ascii_case("postmaster"),
    }
}

/// The one answer of SMTP to the outcomes of several recipients; `None` is 250. Where anything was placed or may yet succeed it is
/// temporary: a permanent one would be told to the sender for all of them.
fn one_answer(outcomes: &[Result<(), Refusal>]) -> Option<Refusal> {
    let refusals = || outcomes.iter().filter_map(|outcome| outcome.err());
    let first = refusals().next()?;
    if outcomes.iter().any(Result::is_ok) {
        return Some(Refusal::SomeFailed);
    }
    Some(
        refusals()
            .find(|refusal| refusal.is_temporary())
            .unwrap_or(first),
    )
}

/// What the store's trouble means to a sender.
fn refusal_for(fault: &MailboxFault) -> Refusal {
    match fault {
        MailboxFault::NoAccount => Refusal::UnknownRecipient,
        MailboxFault::OverQuota => Refusal::MailboxFull,
        MailboxFault::TooMany(_) => Refusal::MailboxFull,
        MailboxFault::Full => Refusal::StorageFull,
        MailboxFault::TooLarge => Refusal::TooBig,
        MailboxFault::Unavailable(why) => {
            tracing::warn!(%why, "storage defers");
            Refusal::StorageFault
        }
        MailboxFault::NoMailbox
        | MailboxFault::Exists
        | MailboxFault::Refused(_)
        | MailboxFault::Damaged => {
            tracing::error!(%fault, "a delivery failed that should not");
            Refusal::StorageFault
        }
    }
}

/// Message ids: unique over restarts and cores without asking anybody.
struct Ids {
    start: u64,
    receiver: u32,
    next: Cell<u64>,
}

impl Ids {
    fn new() -> Ids {
        static RECEIVERS: AtomicU32 = AtomicU32::new(0);
        let start = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |span| span.as_micros() as u64);
        Ids {
            start,
            receiver: RECEIVERS.fetch_add(1, Relaxed),
            next: Cell::new(0),
        }
    }

    /// Start in microseconds, receiver, sequence; a dot-atom.
    fn next(&self) -> String {
        let sequence = self.next.get();
        self.next.set(sequence + 1);
        format!("{:x}.{:x}.{:x}", self.start, self.receiver, sequence)
    }
}

/// The longest silence of a peer. RFC 5321 §4.5.3.2.7 asks a server to wait 5 minutes for a command; inside mail data a sender
/// gives itself 3 minutes for each block (§4.5.3.2.5).
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// Replies gathered before they are sent though the sender's group is not over: many small commands in one segment.
const OUTPUT_BYTES_MAX: usize = 16 * 1_024;

#[cfg(test)]
mod tests;
