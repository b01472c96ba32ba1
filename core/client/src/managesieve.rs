//! One ManageSieve connection, from greeting to LOGOUT.
//!
//! Owns the session (`managesieve::Session`), passes bytes in, and performs what comes out: a login is checked (`login`), a script is compiled
//! beside the core, and stored by the volume's owner (`perform`).
//!
//! What must hold:
//!
//! - *durable* before *answered*: OK to a change is sent when the change is durable.
//! - a script that does not compile is not stored.
//! - memory for a large script is taken from the account's share before the script is received.
//!
//! Start reading at `converse`.

pub mod limits;
mod perform;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use mailbox::{Account, AccountId};
use managesieve::{Event, Policy, Reply, Session, State};
use runtime::{Accepted, Charge, Connection, ConnectionFault, SessionHost};
use sasl::Credentials;
use storage::holder;
use storage::owner::{Ask, Owner};

use crate::limits::SILENCE_GRACE;
use crate::login::audit::{From as Source, Protocol};
use crate::login::{Challenge, Logins, Unavailable};
use crate::memory::Memory;

pub use perform::{check, weight};

use limits::*;

/// What a connection over the listener's limit gets, and one from an address that is banned; in place of the greeting.
pub const TOO_MANY_CONNECTIONS: &[u8] =
    b"BYE (TRYLATER) \"Too many connections, try again later\"\r\n";
pub const BANNED: &[u8] =
    b"BYE (TRYLATER) \"Too many failures from your address, try again later\"\r\n";

/// A script's name in its one spelling; `None`: it is not one (RFC 5804 §1.6).
pub fn script_name(name: &str) -> Option<String> {
    managesieve::script_name(name).ok()
}

/// How one listener serves.
#[derive(Clone)]
pub struct Settings {
    /// For STARTTLS; `None` where there is no certificate.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Passwords are taken without TLS from peers on the loopback (trial mode).
    pub login_on_loopback: bool,
}

/// What a core's sessions did since start. Written by that core, read by any thread.
#[derive(Debug, Default)]
pub struct Counters {
    pub logins: AtomicU64,
    pub logins_refused: AtomicU64,
    /// Scripts that were stored.
    pub stored: AtomicU64,
    /// Scripts that did not compile.
    pub invalid: AtomicU64,
}

/// What all ManageSieve connections of one core share, on that core.
pub struct ManageSieve<K = Owner> {
    owner: K,
    host: SessionHost,
    memory: Memory,
    logins: Logins,
    counters: Arc<Counters>,
    /// As the capability SIEVE has them.
    extensions: Arc<str>,
}

/// Ends the conversation.
enum End {
    /// `out` holds the last words.
    Said,
    Broken(ConnectionFault),
}

impl From<ConnectionFault> for End {
    fn from(fault: ConnectionFault) -> Self {
        End::Broken(fault)
    }
}

/// One connection.
struct Client {
    session: Session,
    out: Vec<u8>,
    /// From the login on.
    account: Option<AccountId>,
    /// For a script on its way.
    charge: Option<Charge>,
    /// SCRAM: not answered yet.
    challenge: Option<Box<Challenge>>,
}

/// Where a login comes from.
fn from(client: &Client, connection: &impl Connection) -> Source {
    Source {
        protocol: Protocol::Sieve,
        peer: connection.peer().ip(),
        mechanism: client.session.mechanism(),
        tls: connection.tls().map(|tls| tls.version),
    }
}

impl<K: Ask> ManageSieve<K> {
    /// On a core. `memory` and `logins` are shared by all cores, and with IMAP.
    pub fn new(owner: K, memory: Memory, logins: Logins) -> ManageSieve<K> {
        ManageSieve::on(SessionHost::of_core(), owner, memory, logins)
    }

    /// As `new`, wherever `host` is.
    pub fn on(host: SessionHost, owner: K, memory: Memory, logins: Logins) -> ManageSieve<K> {
        let extensions: Vec<&str> = sieve::capability_names().collect();
        ManageSieve {
            owner,
            host,
            memory,
            logins,
            counters: Arc::default(),
            extensions: extensions.join(" ").into(),
        }
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
            extensions: self.extensions.clone(),
            redirects_max: sieve::limits::REDIRECTS_COUNT_MAX,
        };
        let mut client = Client {
            session: Session::new(policy, connection.tls().is_some()),
            out: Vec::new(),
            account: None,
            charge: None,
            challenge: None,
        };
        client.session.offer(self.logins.offer(connection.tls()));
        match self.converse(settings, &mut client, &mut connection).await {
            End::Said => {
                if connection.send(&client.out).await.is_ok() {
                    connection.close().await;
                }
            }
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
        if !client.session.holds_script() {
            client.charge = None;
        }
        client.session.rest();
        let silence = silence(client);
        tokio::select! {
            biased;
            received = connection.receive(client.session.input()) => received.map(|_| ()).map_err(End::from),
            () = self.host.sleep(silence) => {
                tracing::debug!(peer = %connection.peer(), "the client was silent too long");
                client.session.too_silent(&mut client.out);
                Err(End::Said)
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
                let tls = tls.expect("STARTTLS is offered with a certificate only");
                connection.start_tls(tls).await?;
                client.session.offer(self.logins.offer(connection.tls()));
                client.session.tls_started(&mut client.out);
            }
            Event::LogIn(credentials) => {
                let Credentials { user, password } = credentials;
                let from = from(client, connection);
                let (owner, host) = (&self.owner, &self.host);
                let found = self.logins.log_in(owner, host, &from, &user, &password);
                let found = found.await;
                self.on_login(client, connection, found);
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
                self.on_login(client, connection, found);
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
                self.on_login(client, connection, found);
            }
            Event::CheckCertificate(user) => {
                let from = from(client, connection);
                let (owner, host, user) = (&self.owner, &self.host, user.as_deref());
                let tls = connection.tls();
                let found = self.logins.certificate(owner, host, &from, tls, user);
                let found = found.await;
                self.on_login(client, connection, found);
            }
            Event::Reserve(bytes) => {
                // Its replies go first: what was read for them is not needed beside the new script.
                flush(&mut client.out, connection).await?;
                client.charge = None;
                let account = client.account.expect("large scripts come after the login");
                let holder = holder::of_account(account);
                client.charge = self.memory.sending.take_for(holder, bytes);
                client.session.reserved(client.charge.is_some());
            }
            Event::Perform(request) => {
                let account = client.account.expect("requests come after the login");
                let outcome = self.perform(account, request, &mut client.charge).await;
                client.session.done(outcome, &mut client.out);
            }
            Event::Forget => {
                client.account = None;
                client.charge = None;
                connection.deadline(SILENCE_BEFORE_LOGIN_MAX + SILENCE_GRACE);
            }
        }
        Ok(())
    }

    fn count_refused(&self, connection: &impl Connection) {
        self.counters.logins_refused.fetch_add(1, Relaxed);
        tracing::info!(peer = %connection.peer(), "a login was refused");
    }

    fn on_login(
        &self,
        client: &mut Client,
        connection: &mut impl Connection,
        found: Result<Option<Account>, Unavailable>,
    ) {
        let peer = connection.peer();
        let out = &mut client.out;
        match found {
            Ok(Some(account)) => {
                self.counters.logins.fetch_add(1, Relaxed);
                tracing::info!(%peer, account = %account.address, "Logged in by ManageSieve");
                client.account = Some(account.id);
                client.challenge = None;
                client.session.logged_in(&account.address.to_string(), out);
                connection.deadline(SILENCE_MAX + SILENCE_GRACE);
            }
            Ok(None) => {
                self.count_refused(connection);
                client.session.login_refused(out);
            }
            Err(_) => client.session.login_deferred(Reply::BUSY, out),
        }
    }
}

/// How long the client may be silent now. The connection's own deadline is later.
fn silence(client: &Client) -> Duration {
    match client.session.state() {
        State::Unauthenticated => SILENCE_BEFORE_LOGIN_MAX,
        _ if client.session.holds_script() => SILENCE_IN_SCRIPT_MAX,
        State::Authenticated | State::Over => SILENCE_MAX,
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
