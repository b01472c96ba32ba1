//! Where the walk of a message starts: one SMTP or LMTP connection, from greeting to end.
//!
//! Owns the session (`smtp::Session`), passes bytes in, and performs the actions that come out. No reply is sent from anywhere else. A
//! message goes through these stages, a file each:
//!
//! 0. `door`, from the connection to RCPT: is this peer served, and what is noted about it.
//! 1. `recipient`, at RCPT: an account of ours with room, or a refusal; `route`: where the message will go for this recipient.
//! 2. `content`, at DATA or BDAT: memory, an id, and the trace fields (`trace`) in front.
//! 3. `authentic`, `judge`, `inspect` and `verdict`, at the end of mail data: whether a stranger's message is its author's; how much it looks like
//!    junk; what scanners find in it; what a look at the whole of it says.
//!    `reported` counts what was found for reports to other domains, and reads the reports of others.
//! 4. `hand_off`, or `apart` for the quarantine: durable in the mailbox of each account, through the `keeper`, and in the queue where the address leads on (`leaving`); then the
//!    answer.
//!
//! What must hold:
//!
//! - *durable* before *accepted*: a 2xx for content leaves after `Keeper::deliver` resolved, never before.
//! - Unknown recipients are refused at RCPT; nothing is relayed but what an administrator (an alias, a group, a route) or a seal of ours names.
//! - Memory of content is taken from a budget that all connections of the box share, and of which one peer's address has at most its
//!   share. When there is no more the peer is answered 452 and may come again; no buffer grows past the budget.
//! - One message has one id, from its first trace field through the log lines of every zone to the text of its 250.

mod apart;
mod authentic;
mod content;
mod directory;
mod door;
mod hand_off;
pub mod inspect;
mod judge;
mod judged;
mod keeper;
pub mod leaving;
mod mark;
mod placed;
mod qmqp;
mod recipient;
mod reported;
mod route;
mod take_over;
mod told;
mod trace;
mod verdict;

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use base::SharedHistogram;
use bytes::Bytes;
use mail::Address;
use runtime::events::MESSAGE;
use runtime::{Accepted, Budget, ConnectionFault, SessionHost};
use smtp::{Action, Message, Refusal, Role, Session};
use storage::holder;
use storage::owner::Owner;
use storage::quarantine::{Held, Why};

pub use apart::Quarantine;
pub use authentic::{Authenticate, Authenticator, Enforcement, METHODS, Results};
pub use content::{Contents, Ids, Incoming, charge};
use directory::Directory;
pub use door::Doorway;
use door::Visit;
pub use inspect::{Inspect, Inspection, Inspector};
pub use judge::Judge;
pub use keeper::{Handed, Keeper, OnBehalf, refusal_for, refusal_of};
pub use mark::Mark;
pub use placed::Placed;
pub use reported::{Failures, Reporting};
use route::Route;
pub use told::Addressees;
pub use verdict::Digest;

/// How one listener receives.
#[derive(Clone)]
pub struct Settings {
    pub smtp: Arc<smtp::Config>,
    /// For STARTTLS; present when `smtp.tls_available`.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Whose account takes mail for `<Postmaster>`, and for `postmaster@` of our domains where there is no such account (RFC 5321 §4.5.1).
    pub postmaster: Option<Address>,
    /// What strangers meet first; `None`: every peer is served.
    pub door: Option<Doorway>,
}

/// What a core's receivers did since start. Written by that core; any thread may read them.
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
    /// From the end of mail data to the 2xx, of accepted messages.
    pub took: SharedHistogram,
    /// What authentication found.
    pub results: Results,
    /// Messages judged, in the order of `spam::Class::ALL`.
    pub judged: [AtomicU64; spam::Class::ALL.len()],
    /// Of them, messages refused.
    pub junk_refused: AtomicU64,
    /// Messages in quarantine, in the order of `Why::ALL`.
    pub kept_apart: [AtomicU64; Why::ALL.len()],
}

/// What all connections of one core share. Lives on that core.
pub struct Receiver<K = Owner> {
    keeper: K,
    host: SessionHost,
    contents: Contents,
    placed: Placed,
    directory: RefCell<Directory>,
    /// `None`: mail is not authenticated.
    authenticate: Option<Rc<dyn Authenticate>>,
    /// `None`: mail is not inspected.
    inspect: Option<Rc<dyn Inspect>>,
    /// `None`: mail is not judged.
    judge: Option<Judge>,
    /// `None`: nothing is kept apart.
    quarantine: Option<Quarantine>,
    /// `None`: nothing is counted for reports.
    reporting: Option<Reporting>,
    counters: Arc<Counters>,
}

/// The memory of all messages that are being received: of which one peer, or one account that appends, has half at most, and at least
/// what one message of `message_bytes_max` takes while its buffer grows.
pub fn memory(bytes: usize, message_bytes_max: usize) -> Budget {
    let message = message_bytes_max.saturating_mul(2);
    Budget::with_shares(bytes, (bytes / 2).max(message))
}

impl<K: Keeper> Receiver<K> {
    /// On a core. `budget` and `placed` are shared by all cores.
    pub fn new(keeper: K, budget: Budget, placed: Placed) -> Receiver<K> {
        let (host, ids) = (SessionHost::of_core(), Ids::of_process());
        Receiver::on(host, ids, keeper, budget, placed)
    }

    /// As `new`, wherever `host` is.
    pub fn on(
        host: SessionHost,
        ids: Ids,
        keeper: K,
        budget: Budget,
        placed: Placed,
    ) -> Receiver<K> {
        Receiver {
            keeper,
            contents: Contents::new(host.clone(), budget, ids),
            host,
            placed,
            directory: RefCell::default(),
            authenticate: None,
            inspect: None,
            judge: None,
            quarantine: None,
            reporting: None,
            counters: Arc::default(),
        }
    }

    /// The same, and SMTP from strangers is authenticated.
    pub fn authenticating(mut self, authenticate: Rc<dyn Authenticate>) -> Receiver<K> {
        self.authenticate = Some(authenticate);
        self
    }

    /// The same, and SMTP from strangers is inspected.
    pub fn inspecting(mut self, inspect: Rc<dyn Inspect>) -> Receiver<K> {
        self.inspect = Some(inspect);
        self
    }

    /// The same, and SMTP from strangers is judged.
    pub fn judging(mut self, judge: Judge) -> Receiver<K> {
        self.judge = Some(judge);
        self
    }

    /// The same, and some SMTP from strangers goes to quarantine.
    pub fn quarantining(mut self, quarantine: Quarantine) -> Receiver<K> {
        self.quarantine = Some(quarantine);
        self
    }

    /// The same, and what is found is counted for reports.
    pub fn reporting(mut self, reporting: Reporting) -> Receiver<K> {
        self.reporting = Some(reporting);
        self
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Serves `connection` to its end.
    pub async fn serve(&self, settings: &Settings, connection: impl Accepted) {
        self.serve_peer(settings, connection, false).await;
    }

    /// As `serve`, for another zone of ours: its certificate was proved, and what it says of a delivery is trusted.
    pub async fn serve_zone(&self, settings: &Settings, connection: impl Accepted) {
        assert!(connection.tls().is_some(), "the handshake proves the peer");
        self.serve_peer(settings, connection, true).await;
    }

    async fn serve_peer(&self, settings: &Settings, mut connection: impl Accepted, is_zone: bool) {
        assert_eq!(settings.smtp.service, smtp::Service::Exchange);
        connection.deadline(SILENCE_MAX);
        let (mut output, mut inbox) = (Vec::new(), Vec::new());
        let mut visit = match Visit::begin(settings, &self.host, &connection) {
            Ok(visit) => visit,
            Err(refusal) => return self.turn_away(connection, refusal).await,
        };
        match visit.listen(&mut connection, &mut inbox).await {
            Ok(None) => {}
            Ok(Some(refusal)) => return self.turn_away(connection, refusal).await,
            Err(_) => return,
        }
        let mut session = Session::new(
            settings.smtp.clone(),
            connection.tls().is_some(),
            &mut output,
        );
        if is_zone {
            session.trust_zone();
        }
        if visit.is_trusted() {
            session.trust();
        }
        let conversation = self.converse(
            settings,
            &mut visit,
            &mut session,
            &mut connection,
            inbox,
            &mut output,
        );
        match conversation.await {
            Ok(()) => connection.close().await,
            // RFC 5321 §3.8: a server that closes by itself sends 421 first. After a wait that cannot be answered (a peer that does
            // not read, a TLS handshake) `send` fails at once.
            Err(fault @ (ConnectionFault::Stopping | ConnectionFault::TimedOut)) => {
                let refusal = match fault {
                    ConnectionFault::Stopping => Refusal::ShuttingDown,
                    _ => Refusal::TimedOut,
                };
                output.clear();
                session.close(refusal, &mut output);
                if connection.send(&output).await.is_ok() {
                    connection.close().await;
                }
            }
            Err(fault @ (ConnectionFault::Closed | ConnectionFault::Tls)) => {
                tracing::debug!(peer = %connection.peer(), %fault, "the conversation broke off");
            }
        }
    }

    /// In place of the greeting.
    async fn turn_away(&self, mut connection: impl Accepted, refusal: Refusal) {
        self.count_refusal(Some(refusal));
        if connection.send(refusal.line().as_bytes()).await.is_ok() {
            connection.close().await;
        }
    }

    /// The session decides, this carries out. Replies leave before the next wait for the peer, and a message is accepted only
    /// when its reply is written, which `on_message` does after the commit.
    async fn converse(
        &self,
        settings: &Settings,
        visit: &mut Visit,
        session: &mut Session<Route>,
        connection: &mut impl Accepted,
        mut inbox: Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<(), ConnectionFault> {
        let mut content: Option<Incoming> = None;
        loop {
            // until either side ends it; each turn receives something
            if let Some(refusal) = visit.look(session, &inbox) {
                session.close(refusal, output);
                return connection.send(output).await;
            }
            let mut at = 0;
            loop {
                // until all of it is used up; each turn uses up bytes or settles an answer that was owed
                let (used, action) = session.step(&inbox[at..], output);
                at += used;
                match action {
                    Action::NeedInput => break,
                    Action::CheckRecipient => {
                        let peer = connection.peer().ip();
                        self.answer_recipient(settings, session, peer, visit, output)
                            .await;
                    }
                    Action::BeginContent => {
                        let peer = holder::of_peer(connection.peer().ip());
                        let hostname = &settings.smtp.hostname;
                        let fields = visit.field();
                        let begun = self
                            .contents
                            .begin(hostname, session, connection, peer, &fields, output);
                        self.count_refusal(begun.as_ref().err().copied());
                        content = begun.ok();
                        if let Some(incoming) = &mut content {
                            incoming.peer = visit.peer();
                        }
                    }
                    Action::Message(message) => {
                        let incoming = content.take().expect("content began");
                        let peer = connection.peer().ip();
                        self.on_message(settings, session, peer, message, incoming, output)
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
                    Action::Forwarded(said) => match visit.speaks_for(&said, connection) {
                        Ok(()) => session.forwarded(said.hello, output),
                        Err(refusal) => session.close(refusal, output),
                    },
                    Action::Close => {
                        visit.settle(session, output).await;
                        return connection.send(output).await;
                    }
                    Action::CheckLogin(_)
                    | Action::FindKeys(_)
                    | Action::Proved(_)
                    | Action::CheckToken(_)
                    | Action::CheckCertificate(_)
                    | Action::CheckSender => {
                        unreachable!("`serve` takes no submission port")
                    }
                }
                if output.len() > OUTPUT_BYTES_MAX {
                    connection.send(output).await?;
                    output.clear();
                }
            }
            charge(session, &mut content, output);
            if visit.settle(session, output).await {
                return connection.send(output).await;
            }
            // Idle connections own no buffers: `receive` takes an empty one for its read, or drops it.
            if at == inbox.len() {
                inbox.clear();
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

    /// End of mail data: one answer, or one for each recipient.
    async fn on_message(
        &self,
        settings: &Settings,
        session: &mut Session<Route>,
        peer: IpAddr,
        message: Message<Route>,
        mut incoming: Incoming,
        output: &mut Vec<u8>,
    ) {
        let began = self.host.now();
        let Message { envelope, content } = message;
        let hello = session.hello().map_or("", |hello| hello.name.as_str());
        let sender = (peer, hello, &envelope.reverse_path);
        let (content, mut front) = authentic::front(
            &self.host,
            settings,
            self.authenticate.as_deref(),
            &self.counters,
            sender,
            content,
            &mut incoming,
        )
        .await;
        let checked = front.checked.take();
        if let Some(checked) = &checked {
            self.count_for_report(checked, peer, &content[incoming.trace_bytes..]);
        }
        let (content, mut detail) = match self.inspect.as_deref() {
            // A mail server of the operator's own is in front of LMTP.
            Some(inspect) if settings.smtp.role == Role::Smtp && front.refusal.is_none() => {
                let trace_bytes = incoming.trace_bytes;
                let content = front.unforge(&self.host, content, trace_bytes).await;
                let facts = (&settings.smtp.hostname[..], peer, hello);
                let seen = inspect::look(&self.host, inspect, facts, &envelope, content, &incoming);
                let (content, inspection) = seen.await;
                (content, front.take(inspection, &mut incoming))
            }
            _ => (content, String::new()),
        };
        let recipients = &envelope.recipients;
        let mut content = self
            .judge(settings, &mut front, content, &mut incoming, recipients)
            .await;

        let held = self.apart(
            std::mem::take(&mut front.apart),
            &envelope,
            &content,
            &incoming,
        );
        let lines = held.as_ref().map_or(String::new(), Held::write);
        if front.refusal.is_none() && !incoming.may_grow(lines.len()) {
            front.refusal = Some(Refusal::StorageFull);
        }
        let (refusal, trace_bytes, bytes) = (front.refusal, incoming.trace_bytes, content.len());
        let digest = move || {
            let is_edited = front.is_edited();
            let trace_bytes = lines.len() + front.put(&mut content, trace_bytes, lines.as_bytes());
            // What a filter writes into the header may be anything.
            let mail_data = if is_edited {
                content.len()
            } else {
                trace_bytes
            };
            let digest = Digest::of(&content, trace_bytes, mail_data);
            (Bytes::from(content), trace_bytes, digest)
        };
        let (raw, trace_bytes, digest) = self.host.work(bytes, digest).await;
        incoming.trace_bytes = trace_bytes;
        let id = incoming.id.as_str();
        let span = tracing::info_span!("message", id);
        let message_id = digest.message_id.clone();
        let outcomes = match (refusal.or(digest.refusal(incoming.mark.is_some())), &held) {
            (Some(refusal), _) => vec![Err(refusal); recipients.len()],
            (None, Some(held)) => {
                let kept = self.keep_apart(held, &raw, &incoming, digest, &envelope, &span);
                vec![kept.await; recipients.len()]
            }
            (None, None) => {
                let detail = &mut detail;
                let content = (&raw, &incoming);
                self.hand_off(settings, content, digest, &envelope, detail, &span)
                    .await
            }
        };

        let refusal = one_answer(&outcomes);
        let (from, to, bytes) = (&envelope.reverse_path, Addressees(recipients), raw.len());
        match refusal {
            None => {
                tracing::info!(target: MESSAGE, parent: &span, %peer, %from, %to, message_id, bytes, "accepted")
            }
            Some(refusal) => {
                tracing::info!(target: MESSAGE, parent: &span, %peer, %from, %to, message_id, bytes, %refusal, "not accepted for all")
            }
        }
        if outcomes.iter().any(Result::is_ok) {
            let trace_bytes = incoming.trace_bytes;
            self.hear(settings, checked.as_deref(), recipients, &raw, trace_bytes)
                .await;
            self.counters.accepted.fetch_add(1, Relaxed);
            self.counters.bytes.fetch_add(raw.len() as u64, Relaxed);
            let took_us = self.host.now().since_us(began);
            self.counters.took.note(took_us);
        }
        self.count_refusal(refusal);
        if refusal.is_some() && !detail.is_empty() {
            session.explain(&detail);
        }
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

    fn count_refusal(&self, refusal: Option<Refusal>) {
        match refusal {
            Some(refusal) if refusal.is_temporary() => self.counters.deferred.fetch_add(1, Relaxed),
            Some(_) => self.counters.refused.fetch_add(1, Relaxed),
            None => 0,
        };
    }
}

/// The one answer of SMTP to the outcomes of several recipients; `None` is 250. Where anything was placed or may yet succeed it is
/// temporary: a permanent one would count for all of them.
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

/// The longest silence of a peer. RFC 5321 §4.5.3.2.7 asks a server to wait 5 minutes for a command; inside mail data a sender
/// gives itself 3 minutes for each block (§4.5.3.2.5).
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// Replies gathered before they are sent though the sender's group is not over: many small commands in one segment.
const OUTPUT_BYTES_MAX: usize = 16 * 1_024;

#[cfg(test)]
mod tests;
