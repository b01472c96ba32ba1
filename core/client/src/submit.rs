//! Submission (RFC 6409): one connection of a person's mail program, from greeting to end.
//!
//! Owns the session (`smtp::Session` as `Service::Submission`), passes bytes in, and performs the actions that come out. The stages of a
//! message are files: `sender` (who this is and whose addresses they may use), `recipient` (here or elsewhere), `amend` (what RFC 6409 §8
//! lets us put right), `sign` (DKIM, where something leaves), `hand_off` (into mailboxes here and the queue, in one durable step). Content is begun and paid for as in
//! `inbound::receive`.
//!
//! What must hold: mail for elsewhere is taken from people who have logged in only; a 250 leaves after every recipient's copy
//! is durable, in a mailbox or in the queue; people send under their own addresses.

mod amend;
mod hand_off;
mod recipient;
mod sender;
mod sign;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use inbound::receive::{Contents, Counters, Digest, Ids, Incoming, charge};
use mail::Address;
use runtime::{Accepted, Budget, ConnectionFault, SessionHost};
use smtp::{Action, Message, Refusal, Session};
use storage::holder;
use storage::owner::{Ask, Owner};

use crate::login::Logins;
use crate::signing::Signing;
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
}

/// What all connections of one core share. Lives on that core.
pub struct Submitter<A = Owner> {
    owner: A,
    host: SessionHost,
    contents: Contents,
    logins: Logins,
    signing: Signing,
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
            counters: Arc::default(),
        }
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
        connection.deadline(SILENCE_MAX);
        let mut conversation = Conversation {
            submitter: self,
            settings,
            session: &mut session,
            user: None,
            content: None,
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
                let peer = connection.peer().ip();
                let verdict = submitter.log_in(credentials, peer).await;
                let found = verdict.as_ref().map(Option::is_some);
                let found = found.map_err(|refusal| *refusal);
                self.session.login_verdict(found, output);
                self.user = verdict.ok().flatten();
            }
            Action::CheckSender => {
                let user = self.user.as_ref().expect("MAIL comes after the login");
                let verdict = user.may_send_as(self.session.sender());
                submitter.count_refusal(verdict.err());
                self.session.sender_verdict(verdict, output);
            }
            Action::CheckRecipient => {
                let verdict = submitter.check_recipient(self.settings, self.session).await;
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
                let outcome = self.on_message(message, &mut incoming).await;
                submitter.count_refusal(outcome.err());
                let answer = outcome.map(|()| incoming.id.as_str());
                self.session.outcome(&[answer], output);
            }
            Action::NeedInput | Action::StartTls | Action::Close | Action::Forwarded(_) => {
                unreachable!("`run` performs these; no peer of a submission port is trusted")
            }
        }
    }

    /// End of mail data: durable for every recipient, or why not.
    async fn on_message(
        &self,
        message: Message<Route>,
        incoming: &mut Incoming,
    ) -> Result<(), Refusal> {
        let submitter = self.submitter;
        let began = submitter.host.now();
        let span = tracing::info_span!("message", id = incoming.id);
        let Message {
            envelope,
            mut content,
        } = message;
        let facts = amend::Facts {
            id: &incoming.id,
            hostname: &self.settings.smtp.hostname,
            unix_seconds: incoming.unix_seconds,
        };
        let more = amend::apply(&mut content, incoming.trace_bytes, &facts);
        if !incoming.may_grow(more) {
            return Err(Refusal::StorageFull);
        }
        let content = self.sign(&envelope, content, incoming).await?;
        let raw = Bytes::from(content);
        let (digested, trace_bytes) = (raw.clone(), incoming.trace_bytes);
        let digest = move || Digest::of(&digested, trace_bytes);
        let digest = submitter.host.work(raw.len(), digest).await;
        let outcome = match digest.refusal() {
            Some(refusal) => Err(refusal),
            None => {
                submitter
                    .hand_off(&raw, &envelope, digest, incoming.unix_seconds, &span)
                    .await
            }
        };
        let user = self.user.as_ref().map_or(0, |user| user.account.0);
        let (recipients, bytes) = (envelope.recipients.len(), raw.len());
        match outcome {
            Ok(queued) => {
                tracing::info!(parent: &span, user, from = %envelope.reverse_path, recipients, bytes, queue = queued.map(|id| id.0), "submitted");
                submitter.counters.accepted.fetch_add(1, Relaxed);
                submitter.counters.bytes.fetch_add(bytes as u64, Relaxed);
                let took_us = submitter.host.now().since_us(began);
                submitter.counters.took.note(took_us);
                Ok(())
            }
            Err(refusal) => {
                tracing::info!(parent: &span, user, from = %envelope.reverse_path, recipients, bytes, %refusal, "not submitted");
                Err(refusal)
            }
        }
    }
}

/// The longest silence of a client, RFC 5321 §4.5.3.2.7.
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// Replies gathered before they are sent though the client's group is not over: many small commands in one segment.
const OUTPUT_BYTES_MAX: usize = 16 * 1_024;
