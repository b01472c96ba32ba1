//! Submission (RFC 6409): one connection of a person's mail program, from greeting to end.
//!
//! Owns the session (`smtp::Session` as `Service::Submission`), passes bytes in, and performs the actions that come out. The stages of a
//! message are files: `sender` (who this is and whose addresses they may use), `author` (so in the From field), `recipient` (here or
//! elsewhere), `allowance` (how much they may send), `inspect` (what a scanner finds in it), `amend` (what RFC 6409 §8 lets us put right), `sign` (DKIM, where something leaves),
//! `hand_off` (into mailboxes here and the queue, in one durable step). Content is begun and paid for as in `inbound::receive`.
//!
//! What must hold: mail for elsewhere is taken from people who have logged in only; a 250 leaves after every recipient's copy
//! is durable, in a mailbox or in the queue; people send under their own addresses.

mod allowance;
mod amend;
mod author;
mod hand_off;
mod inspect;
mod recipient;
mod sender;
mod sign;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use inbound::receive::{Addressees, Contents, Counters, Digest, Ids, Incoming, Inspect, charge};
use mail::Address;
use runtime::events::MESSAGE;
use runtime::{Accepted, Budget, ConnectionFault, SessionHost};
use smtp::{Action, Message, Refusal, Session};
use storage::holder;
use storage::owner::{Ask, Owner};

use crate::login::audit::{From as Source, Protocol};
use crate::login::{Challenge, Logins, Unavailable};
use crate::signing::Signing;
pub use allowance::{Rates, Spent};
use author::Refused;
use recipient::Route;
use sender::User;

/// How one listener takes submissions.
#[derive(Clone)]
pub struct Settings {
    /// Its `service` is `Submission`.
    pub smtp: Arc<smtp::Config>,
    /// For STARTTLS; present when `smtp.tls_available`.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Whose account takes mail for `<Postmaster>` (RFC 5321 §4.5.1).
    pub postmaster: Option<Address>,
    /// What each person may send.
    pub rates: Rates,
}

/// What all connections of one core share. Lives on that core.
pub struct Submitter<A = Owner> {
    owner: A,
    host: SessionHost,
    contents: Contents,
    logins: Logins,
    signing: Signing,
    spent: Spent,
    /// `None`: messages are not looked into.
    inspect: Option<Rc<dyn Inspect>>,
    counters: Arc<Counters>,
}

impl<A: Ask> Submitter<A> {
    /// On a core. `budget` and `logins` are shared by all cores.
    pub fn new(owner: A, budget: Budget, logins: Logins) -> Submitter<A> {
        let (host, ids) = (SessionHost::of_core(), Ids::of_process());
        Submitter::on(host, ids, owner, budget, logins)
    }

    /// As `new`, wherever `host` is.
    pub fn on(
        host: SessionHost,
        ids: Ids,
        owner: A,
        budget: Budget,
        logins: Logins,
    ) -> Submitter<A> {
        Submitter {
            owner,
            contents: Contents::new(host.clone(), budget, ids),
            host,
            logins,
            signing: Signing::default(),
            spent: Spent::default(),
            inspect: None,
            counters: Arc::default(),
        }
    }

    /// Counts what people send together with all that have `spent`.
    pub fn counting(self, spent: Spent) -> Submitter<A> {
        Submitter { spent, ..self }
    }

    /// The same, and messages are looked into where `inspect` is given.
    pub fn inspecting(self, inspect: Option<Rc<dyn Inspect>>) -> Submitter<A> {
        Submitter { inspect, ..self }
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Serves `connection` to its end.
    pub async fn serve(&self, settings: &Settings, mut connection: impl Accepted) {
        let service = settings.smtp.service;
        assert!(matches!(service, smtp::Service::Submission { .. }));
        let mut output = Vec::new();
        let mut session = Session::new(
            settings.smtp.clone(),
            connection.tls().is_some(),
            &mut output,
        );
        session.offer(self.logins.offer(connection.tls()));
        connection.deadline(SILENCE_MAX);
        let mut conversation = Conversation {
            submitter: self,
            settings,
            session: &mut session,
            user: None,
            content: None,
            challenge: None,
        };
        let last_words = match conversation.run(&mut connection, &mut output).await {
            Ok(()) => return connection.close().await,
            Err(ConnectionFault::Stopping) => Refusal::ShuttingDown,
            Err(fault) => {
                tracing::debug!(peer = %connection.peer(), %fault, "the conversation broke off");
                return;
            }
        };
        output.clear();
        session.close(last_words, &mut output);
        if connection.send(&output).await.is_ok() {
            connection.close().await;
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

/// One connection's state between its session's actions.
struct Conversation<'a, A> {
    submitter: &'a Submitter<A>,
    settings: &'a Settings,
    session: &'a mut Session<Route>,
    /// Who has logged in.
    user: Option<User>,
    content: Option<Incoming>,
    /// SCRAM: not answered yet.
    challenge: Option<Box<Challenge>>,
}

impl<A: Ask> Conversation<'_, A> {
    async fn run(
        &mut self,
        connection: &mut impl Accepted,
        output: &mut Vec<u8>,
    ) -> Result<(), ConnectionFault> {
        let mut inbox = Vec::new();
        loop {
            // until either side ends it; each turn receives something
            let mut at = 0;
            loop {
                // until all of it is used up; each turn uses up bytes or settles an answer that was owed
                let (used, action) = self.session.step(&inbox[at..], output);
                at += used;
                match action {
                    Action::NeedInput => break,
                    Action::StartTls => {
                        connection.send(output).await?;
                        output.clear();
                        let tls = self.settings.tls.as_ref();
                        let tls = tls.expect("STARTTLS is offered with a certificate only");
                        connection.start_tls(tls).await?;
                        self.session.tls_started();
                        let offer = self.submitter.logins.offer(connection.tls());
                        self.session.offer(offer);
                        (self.user, self.content) = (None, None);
                        at = inbox.len();
                        break;
                    }
                    Action::Close => return connection.send(output).await,
                    action => self.perform(action, connection, output).await,
                }
                if output.len() > OUTPUT_BYTES_MAX {
                    connection.send(output).await?;
                    output.clear();
                }
            }
            charge(self.session, &mut self.content, output);
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

    /// What the session asks for, but for what the connection does.
    async fn perform(
        &mut self,
        action: Action<Route>,
        connection: &impl Accepted,
        output: &mut Vec<u8>,
    ) {
        let submitter = self.submitter;
        match action {
            Action::CheckLogin(credentials) => {
                let from = self.source(connection);
                let verdict = submitter.log_in(credentials, &from).await;
                self.on_verdict(verdict, output);
            }
            Action::FindKeys(user) => {
                let (from, logins) = (self.source(connection), &submitter.logins);
                let found = logins.keys(&submitter.owner, &submitter.host, &from, &user);
                match found.await {
                    Ok((found, challenge)) => {
                        self.challenge = Some(challenge);
                        self.session.keys_found(found, output);
                    }
                    Err(Unavailable) => self.on_verdict(Err(Refusal::AuthUnavailable), output),
                }
            }
            Action::Proved(proved) => {
                let from = self.source(connection);
                let challenge = self.challenge.take();
                let verdict = submitter.prove(proved, challenge, &from).await;
                self.on_verdict(verdict, output);
            }
            Action::CheckToken(bearer) => {
                let from = self.source(connection);
                match submitter.show(bearer, &from).await {
                    Ok(Ok(user)) => self.on_verdict(Ok(Some(user)), output),
                    Ok(Err(why)) => self.session.token_refused(&why, output),
                    Err(refusal) => self.on_verdict(Err(refusal), output),
                }
            }
            Action::CheckCertificate(user) => {
                let from = self.source(connection);
                let (tls, user) = (connection.tls(), user.as_deref());
                let verdict = submitter.certified(tls, user, &from).await;
                self.on_verdict(verdict, output);
            }
            Action::CheckSender => {
                let user = self.user.as_ref().expect("MAIL comes after the login");
                let sender = self.session.sender();
                let verdict = submitter.check_sender(user, sender).await;
                let verdict = verdict.and_then(|()| self.may_send(1));
                submitter.count_refusal(verdict.err());
                self.session.sender_verdict(verdict, output);
            }
            Action::CheckRecipient => {
                let verdict = submitter.check_recipient(self.settings, self.session).await;
                let before = self.session.envelope();
                let before = before.map_or(0, |envelope| envelope.recipients.len());
                let verdict = verdict.and_then(|route| self.may_send(before + 1).map(|()| route));
                submitter.count_refusal(verdict.as_ref().err().copied());
                self.session.recipient_verdict(verdict, output);
            }
            Action::BeginContent => {
                let user = self.user.as_ref().expect("DATA comes after the login");
                let (hostname, holder) = (
                    &self.settings.smtp.hostname,
                    holder::of_account(user.account),
                );
                let begun = submitter.contents.begin(
                    hostname,
                    self.session,
                    connection,
                    holder,
                    b"",
                    output,
                );
                submitter.count_refusal(begun.as_ref().err().copied());
                self.content = begun.ok();
            }
            Action::Message(message) => {
                let mut incoming = self.content.take().expect("content began");
                let peer = connection.peer().ip();
                let outcome = self.on_message(message, peer, &mut incoming).await;
                let outcome = outcome.map_err(|Refused { refusal, detail }| {
                    self.session.explain(&detail);
                    refusal
                });
                submitter.count_refusal(outcome.err());
                let answer = outcome.map(|()| incoming.id.as_str());
                self.session.outcome(&[answer], output);
            }
            Action::NeedInput | Action::StartTls | Action::Close | Action::Forwarded(_) => {
                unreachable!("`run` performs these; no peer of a submission port is trusted")
            }
        }
    }

    /// Where a login comes from.
    fn source(&self, connection: &impl Accepted) -> Source {
        Source {
            protocol: Protocol::Submission,
            peer: connection.peer().ip(),
            mechanism: self.session.mechanism(),
            tls: connection.tls().map(|tls| tls.version),
        }
    }

    fn on_verdict(&mut self, verdict: Result<Option<User>, Refusal>, output: &mut Vec<u8>) {
        let found = verdict.as_ref().map(Option::is_some);
        let found = found.map_err(|refusal| *refusal);
        self.session.login_verdict(found, output);
        self.user = verdict.ok().flatten();
        if self.user.is_some() {
            self.challenge = None;
        }
    }

    fn rates(&self, user: &User) -> (&Rates, u32) {
        (&self.settings.rates, user.times)
    }

    /// Whether a message to so many recipients is within what this person may send; the reply says when it will be.
    fn may_send(&mut self, recipients: usize) -> Result<(), Refusal> {
        let submitter = self.submitter;
        let user = self.user.as_ref().expect("MAIL comes after the login");
        let (now, rates) = (submitter.host.now(), self.rates(user));
        let allowed = submitter.spent.allows(user.account, rates, recipients, now);
        allowed.map_err(|exceeded| {
            tracing::info!(user = user.account.0, "a person's sending limit is reached");
            self.session.explain(&exceeded.to_string());
            Refusal::SentEnough
        })
    }

    fn from<'b>(&'b self, user: &'b User, client: IpAddr) -> inspect::From<'b> {
        let hello = self.session.hello();
        inspect::From {
            hostname: &self.settings.smtp.hostname,
            client,
            helo: hello.map_or("", |hello| hello.name.as_str()),
            user,
        }
    }

    /// End of mail data: durable for every recipient, or why not.
    async fn on_message(
        &self,
        message: Message<Route>,
        peer: IpAddr,
        incoming: &mut Incoming,
    ) -> Result<(), Refused> {
        let submitter = self.submitter;
        let began = submitter.host.now();
        let span = tracing::info_span!("message", id = incoming.id);
        let Message { envelope, content } = message;
        let user = self.user.as_ref().expect("DATA comes after the login");
        let own = &content[incoming.trace_bytes..];
        if let Err(refused) = submitter.check_authors(user, own).await {
            let Refused { refusal, detail } = &refused;
            let (from, to) = (&envelope.reverse_path, Addressees(&envelope.recipients));
            tracing::info!(target: MESSAGE, parent: &span, user = user.account.0, %from, %to, %refusal, detail, "not submitted");
            return Err(refused);
        }
        let facts = amend::Facts {
            id: &incoming.id,
            hostname: &self.settings.smtp.hostname,
            unix_seconds: incoming.unix_seconds,
        };
        let (now, count) = (submitter.host.now(), envelope.recipients.len());
        let taken = submitter
            .spent
            .take(user.account, self.rates(user), count, now);
        taken.map_err(|exceeded| Refused {
            refusal: Refusal::SentEnough,
            detail: exceeded.to_string(),
        })?;
        let mut content = submitter
            .inspect(self.from(user, peer), &envelope, content, incoming)
            .await?;
        let more = amend::apply(&mut content, incoming.trace_bytes, &facts);
        if !incoming.may_grow(more) {
            return Err(Refusal::StorageFull.into());
        }
        let content = self.sign(&envelope, content, incoming).await?;
        let raw = Bytes::from(content);
        let (digested, trace_bytes) = (raw.clone(), incoming.trace_bytes);
        let digest = move || Digest::of(&digested, trace_bytes, digested.len());
        let digest = submitter.host.work(raw.len(), digest).await;
        let message_id = digest.message_id.clone();
        let outcome = match digest.refusal(false) {
            Some(refusal) => Err(refusal),
            None => {
                submitter
                    .hand_off(&raw, &envelope, digest, incoming.unix_seconds, &span)
                    .await
            }
        };
        let user = user.account.0;
        let (from, to) = (&envelope.reverse_path, Addressees(&envelope.recipients));
        let bytes = raw.len();
        match outcome {
            Ok(queued) => {
                tracing::info!(target: MESSAGE, parent: &span, user, %from, %to, message_id, bytes, queue = queued.map(|id| id.0), "submitted");
                submitter.counters.accepted.fetch_add(1, Relaxed);
                submitter.counters.bytes.fetch_add(bytes as u64, Relaxed);
                let took_us = submitter.host.now().since_us(began);
                submitter.counters.took.note(took_us);
                Ok(())
            }
            Err(refusal) => {
                tracing::info!(target: MESSAGE, parent: &span, user, %from, %to, message_id, bytes, %refusal, "not submitted");
                Err(refusal.into())
            }
        }
    }
}

/// The longest silence of a client, RFC 5321 §4.5.3.2.7.
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// Replies gathered before they are sent though the client's group is not over: many small commands in one segment.
const OUTPUT_BYTES_MAX: usize = 16 * 1_024;
