//! One POP3 connection, from greeting to QUIT.
//!
//! Owns the session (`pop3::Session`), passes bytes in, and performs what comes out: a login is checked (`login`), INBOX is listed
//! (`open`), messages are sent (`retrieve`), and at QUIT what was marked is removed.
//!
//! What must hold:
//!
//! - *durable* before *visible*: QUIT is answered +OK when the removal is durable.
//! - A session that ends in any other way removes nothing.
//! - Sessions do not exclude each other: a lock that outlasts a broken connection would keep its owner out. What another session removed
//!   is refused by its number, and numbers stay.
//! - No flag of a message is changed.
//!
//! Start reading at `converse`.

pub mod limits;
mod open;
mod retrieve;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use mail::Uid;
use mailbox::{Account, AccountId, MailboxId};
use pop3::{Event, Policy, Reply, Session, State};
use runtime::{Accepted, Charge, Connection, ConnectionFault, SessionHost};
use sasl::Credentials;
use storage::kept::{self, Rules};
use storage::owner::{Ask, Owner};

use crate::limits::SILENCE_GRACE;
use crate::login::audit::{From as Source, Protocol};
use crate::login::{Challenge, Logins, Unavailable};
use crate::memory::Memory;
use crate::pieces::Damages;

use limits::*;
use open::Measured;

/// What a connection over the listener's limit gets, and one from an address that is banned; in place of the greeting.
pub const TOO_MANY_CONNECTIONS: &[u8] =
    b"-ERR [SYS/TEMP] Too many connections, try again later\r\n";
pub const BANNED: &[u8] =
    b"-ERR [SYS/TEMP] Too many failures from your address, try again later\r\n";

/// How one listener serves. POP3S differs from POP3 only in that TLS was started before `serve`.
#[derive(Clone)]
pub struct Settings {
    /// For STLS; `None` where there is no certificate.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Passwords are taken without TLS from peers on the loopback (trial mode).
    pub login_on_loopback: bool,
}

/// What a core's POP3 sessions did since start. Written by that core, read by any thread.
#[derive(Debug, Default)]
pub struct Counters {
    pub logins: AtomicU64,
    pub logins_refused: AtomicU64,
    /// Messages that RETR sent to their end.
    pub retrieved: AtomicU64,
    /// Messages that QUIT removed.
    pub deleted: AtomicU64,
    /// Of them, those that a rule keeps in a folder.
    pub kept: AtomicU64,
}

/// What all POP3 connections of one core share, on that core.
pub struct Pop3<K = Owner> {
    owner: K,
    host: SessionHost,
    memory: Memory,
    logins: Logins,
    counters: Arc<Counters>,
    measured: RefCell<Measured>,
    damaged: Damages,
    /// What is kept of what clients delete.
    rules: Arc<Rules>,
}

/// Ends the conversation.
enum End {
    /// `out` holds the last words.
    Said,
    /// The client was silent too long (RFC 1939 §3: no response), or a message cannot be sent to its end.
    CutOff,
    Broken(ConnectionFault),
}

impl From<ConnectionFault> for End {
    fn from(fault: ConnectionFault) -> Self {
        End::Broken(fault)
    }
}

/// What one connection knows.
struct Client {
    session: Session,
    out: Vec<u8>,
    /// From the login on.
    opened: Option<Opened>,
    /// SCRAM: not answered yet.
    challenge: Option<Box<Challenge>>,
}

/// Where a login comes from.
fn from(client: &Client, connection: &impl Connection) -> Source {
    Source {
        protocol: Protocol::Pop3,
        peer: connection.peer().ip(),
        mechanism: client.session.mechanism(),
        tls: connection.tls().map(|tls| tls.version),
    }
}

/// Whose INBOX is open.
struct Opened {
    account: AccountId,
    inbox: MailboxId,
    /// What it deletes is kept.
    keeps: bool,
    /// For the list of a large one.
    _charge: Option<Charge>,
}

impl<K: Ask> Pop3<K> {
    /// On a core. `memory` and `logins` are shared by all cores, and with IMAP.
    pub fn new(owner: K, memory: Memory, logins: Logins) -> Pop3<K> {
        Pop3::on(SessionHost::of_core(), owner, memory, logins)
    }

    /// As `new`, wherever `host` is.
    pub fn on(host: SessionHost, owner: K, memory: Memory, logins: Logins) -> Pop3<K> {
        Pop3 {
            owner,
            host,
            memory,
            logins,
            counters: Arc::default(),
            measured: RefCell::default(),
            damaged: Damages::default(),
            rules: Arc::default(),
        }
    }

    /// Keeps what clients delete as long as `rules` say.
    pub fn keeping(mut self, rules: Arc<Rules>) -> Pop3<K> {
        self.rules = rules;
        self
    }

    /// For the metrics; one set for each core.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Serves `connection` to its end.
    pub async fn serve(&self, settings: &Settings, mut connection: impl Accepted) {
        let policy = Policy {
            tls_offered: settings.tls.is_some(),
            login_without_tls: settings.login_on_loopback && connection.peer().ip().is_loopback(),
        };
        let mut client = Client {
            session: Session::new(policy, connection.tls().is_some()),
            out: Vec::new(),
            opened: None,
            challenge: None,
        };
        client.session.offer(self.logins.offer(connection.tls()));
        match self.converse(settings, &mut client, &mut connection).await {
            End::Said => {
                if connection.send(&client.out).await.is_ok() {
                    connection.close().await;
                }
            }
            End::CutOff => {}
            End::Broken(fault) => {
                tracing::debug!(peer = %connection.peer(), %fault, "the conversation broke off");
            }
        }
    }

    async fn converse(
        &self,
        settings: &Settings,
        client: &mut Client,
        connection: &mut impl Accepted,
    ) -> End {
        connection.deadline(SILENCE_BEFORE_LOGIN_MAX + SILENCE_GRACE);
        client.session.greet(&mut client.out);
        loop {
            // until either side ends it
            let done = match client.session.step(&mut client.out) {
                Event::Wait => self.wait(client, connection).await,
                Event::Flush => flush(&mut client.out, connection).await,
                Event::Close => return End::Said,
                // Boxed: what commands need is not held by a connection that waits.
                event => Box::pin(self.on_event(settings, client, connection, event)).await,
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Sends what there is and receives something.
    async fn wait(&self, client: &mut Client, connection: &mut impl Connection) -> Result<(), End> {
        flush(&mut client.out, connection).await?;
        client.out = Vec::new();
        client.session.rest();
        let silence = silence(client);
        tokio::select! {
            biased;
            received = connection.receive(client.session.input()) => received.map(|_| ()).map_err(End::from),
            () = self.host.sleep(silence) => {
                tracing::debug!(peer = %connection.peer(), "the client was silent too long");
                Err(End::CutOff)
            }
        }
    }

    async fn on_event(
        &self,
        settings: &Settings,
        client: &mut Client,
        connection: &mut impl Accepted,
        event: Event,
    ) -> Result<(), End> {
        match event {
            Event::Wait | Event::Flush | Event::Close => {
                unreachable!("`converse` keeps these to itself")
            }
            Event::StartTls => {
                flush(&mut client.out, connection).await?;
                let tls = settings.tls.as_ref();
                let tls = tls.expect("STLS is offered with a certificate only");
                connection.start_tls(tls).await?;
                client.session.tls_started();
                client.session.offer(self.logins.offer(connection.tls()));
            }
            Event::LogIn(credentials) => {
                let Credentials { user, password } = credentials;
                let from = from(client, connection);
                let (owner, host) = (&self.owner, &self.host);
                let found = self.logins.log_in(owner, host, &from, &user, &password);
                let found = found.await;
                self.on_login(client, connection, found).await;
            }
            Event::FindKeys(user) => {
                let from = from(client, connection);
                let found = self.logins.keys(&self.owner, &self.host, &from, &user);
                match found.await {
                    Ok((found, challenge)) => {
                        client.challenge = Some(challenge);
                        client.session.keys_found(found, &mut client.out);
                    }
                    Err(Unavailable) => client.session.login_deferred(Reply::BUSY, &mut client.out),
                }
            }
            Event::Proved(proved) => {
                let from = from(client, connection);
                let (owner, host) = (&self.owner, &self.host);
                let challenge = client.challenge.take();
                let found = self.logins.proved(owner, host, &from, proved, challenge);
                let found = found.await;
                self.on_login(client, connection, found).await;
            }
            Event::CheckToken(bearer) => {
                let from = from(client, connection);
                let found = self.logins.token(&self.owner, &self.host, &from, bearer);
                let found = match found.await {
                    Ok(Ok(account)) => Ok(Some(account)),
                    Ok(Err(why)) => {
                        self.count_refused(connection);
                        client.session.token_refused(&why, &mut client.out);
                        return Ok(());
                    }
                    Err(unavailable) => Err(unavailable),
                };
                self.on_login(client, connection, found).await;
            }
            Event::CheckCertificate(user) => {
                let from = from(client, connection);
                let (owner, host, user) = (&self.owner, &self.host, user.as_deref());
                let tls = connection.tls();
                let found = self.logins.certificate(owner, host, &from, tls, user);
                let found = found.await;
                self.on_login(client, connection, found).await;
            }
            Event::Send(retrieval) => {
                let opened = client.opened.as_ref().expect("a maildrop is open");
                self.on_retrieve(opened, retrieval, &mut client.out, connection)
                    .await?;
            }
            Event::Remove(uids) => {
                let opened = client.opened.as_ref().expect("a maildrop is open");
                let outcome = self.remove(opened, uids).await;
                client.session.removed(outcome, &mut client.out);
            }
        }
        Ok(())
    }

    fn count_refused(&self, connection: &impl Connection) {
        self.counters.logins_refused.fetch_add(1, Relaxed);
        tracing::info!(peer = %connection.peer(), "a login was refused");
    }

    async fn on_login(
        &self,
        client: &mut Client,
        connection: &mut impl Connection,
        found: Result<Option<Account>, Unavailable>,
    ) {
        let peer = connection.peer();
        let out = &mut client.out;
        match found {
            Ok(Some(account)) => match self.open(account.id).await {
                Ok((mut opened, maildrop)) => {
                    opened.keeps = self.rules.days(&account.address) > 0;
                    self.counters.logins.fetch_add(1, Relaxed);
                    tracing::info!(%peer, account = %account.address, "Logged in by POP3");
                    client.opened = Some(opened);
                    client.challenge = None;
                    client.session.opened(maildrop, out);
                    connection.deadline(SILENCE_MAX + SILENCE_GRACE);
                }
                Err(why) => client.session.login_deferred(why, out),
            },
            Ok(None) => {
                self.count_refused(connection);
                client.session.login_refused(out);
            }
            Err(_) => client.session.login_deferred(Reply::BUSY, out),
        }
    }

    /// RFC 1939 §6: removes what was marked, in one commit where it fits one (`Mailboxes::remove`), or moves it where a rule keeps it.
    async fn remove(&self, opened: &Opened, uids: Vec<Uid>) -> Result<(), Reply> {
        let Opened {
            account,
            inbox,
            keeps,
            ..
        } = *opened;
        let rules = self.rules.clone();
        let removed = self.owner.ask(move |mailboxes| async move {
            if keeps {
                return kept::keep(&mailboxes, account, inbox, &uids, &rules.folder).await;
            }
            // RFC 9051 §6.3.6: an INBOX that was renamed meanwhile is another mailbox now, and its messages are to be kept.
            if mailboxes.find(account, "INBOX").await? != inbox {
                return Ok(None);
            }
            let removed = mailboxes.remove(inbox, &uids).await?;
            Ok(Some(removed.len()))
        });
        match removed.await {
            Ok(Ok(Some(count))) => {
                self.counters.deleted.fetch_add(count as u64, Relaxed);
                if keeps {
                    self.counters.kept.fetch_add(count as u64, Relaxed);
                }
                Ok(())
            }
            Ok(Ok(None)) => Err(Reply::NOT_DELETED),
            Ok(Err(fault)) => {
                tracing::warn!(%fault, "messages that a POP3 client deleted stay");
                Err(Reply::NOT_DELETED)
            }
            Err(_busy) => Err(Reply::NOT_DELETED),
        }
    }
}

/// How long the client may be silent now. The connection's own deadline is later.
fn silence(client: &Client) -> Duration {
    match client.session.state() {
        State::Authorization => SILENCE_BEFORE_LOGIN_MAX,
        State::Transaction | State::Over => SILENCE_MAX,
    }
}

/// Sends `out` and clears it; nothing is sent where it is empty.
async fn flush(out: &mut Vec<u8>, connection: &mut impl Connection) -> Result<(), End> {
    if !out.is_empty() {
        connection.send(out).await?;
        out.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They are sent before there is a session.
    #[test]
    fn refusals_in_place_of_the_greeting_are_replies_of_the_page() {
        for (bytes, reply) in [
            (TOO_MANY_CONNECTIONS, Reply::TOO_MANY_CONNECTIONS),
            (BANNED, Reply::BANNED),
        ] {
            let mut line = Vec::new();
            reply.put(&mut line);
            assert_eq!(bytes, line);
        }
    }
}
