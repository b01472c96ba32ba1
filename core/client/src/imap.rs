//! One IMAP connection, from greeting to BYE.
//!
//! Owns the session (`imap::Session`), passes bytes in, and performs what comes out: a login is checked (`login`), a mailbox
//! opened (`selected`), commands are answered from what the owner of the mailboxes says (`folders`, `messages`, `fetch`,
//! `search`), and changes by others are reported at the points where IMAP allows it.
//!
//! What must hold:
//!
//! - *durable* before *visible*: everything that is reported comes from `Mailboxes`, which shows durable changes only.
//! - No EXPUNGE is sent while a command by message numbers runs (RFC 9051 §7.5.1).
//! - A list view reads no body: envelopes, structures and the usual header fields come from summaries.
//! - An idle connection keeps the numbers of its messages as runs, a watch, and no buffers. A mailbox's list is held only
//!   while a command works through it.
//! - Bodies in memory are paid for. What waits for a client comes from its account's share, and past that it gets smaller pieces;
//!   what we work on comes from `Memory::reading`, in turn. No account's reads make another's fail.
//!
//! Start reading at `converse`.

mod acl;
mod annotate;
mod append;
mod batches;
mod events;
mod fault;
mod fetch;
mod folders;
mod keywords;
mod known;
pub mod limits;
mod login;
mod messages;
mod mode;
mod notify;
mod numbering;
mod object;
mod perform;
mod place;
mod progress;
mod quota;
mod recent;
mod resync;
mod rows;
#[cfg(test)]
mod sample;
mod search;
mod selected;
mod sort;
mod teach;
mod watch;
mod wire;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use base::SharedHistogram;
use imap::deflate::Unreadable;
use imap::respond::{Status, put_reply};
use imap::{Event, Policy, Session, State};
use mailbox::AccountId;
use runtime::{Accepted, Charge, Connection, ConnectionFault, SessionHost};
use storage::holder;
use storage::owner::{Ask, Owner};

use crate::login::{Challenge, Logins};
pub use crate::memory::Memory;
use crate::pieces::Damages;
pub use ::imap::hide::Hide;

pub use acl::described;
use limits::*;
use mode::Mode;
use selected::{Expunges, Gone, Selected, Told};
use wire::{Packer, Wire};

/// How one listener serves. IMAPS differs from IMAP only in that TLS was started before `serve`.
#[derive(Clone)]
pub struct Settings {
    /// For STARTTLS; `None` where there is no certificate.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Passwords are taken without TLS from peers on the loopback (trial mode).
    pub login_on_loopback: bool,
    pub append_bytes_max: usize,
    /// Capabilities that some clients or accounts are not offered.
    pub hide: Arc<[Hide]>,
}

/// What a core's IMAP sessions did since start. Written by that core, read by any thread.
#[derive(Debug, Default)]
pub struct Counters {
    pub logins: AtomicU64,
    pub logins_refused: AtomicU64,
    pub commands: AtomicU64,
    /// Messages of which something was sent by FETCH.
    pub fetched: AtomicU64,
    /// How long FETCH commands took, from all of the command to its tagged OK.
    pub fetches: SharedHistogram,
    pub bodies_read: AtomicU64,
    pub appended: AtomicU64,
    /// Messages for which a mailbox's script ran (RFC 6785).
    pub events: AtomicU64,
    /// And those for which none ran, though there is one: too many, or a fault.
    pub events_skipped: AtomicU64,
}

/// What all IMAP connections of one core share. Lives on that core.
pub struct Imap<K = Owner> {
    owner: K,
    host: SessionHost,
    memory: Memory,
    logins: Logins,
    silences: Silences,
    counters: Arc<Counters>,
    /// Lessons about junk under way on this core.
    teaching: Rc<Cell<usize>>,
    /// Scripts that run because of what clients did.
    events: Rc<RefCell<events::Events>>,
    /// Where people store scripts (RFC 5804 §3); `None`: nowhere.
    sieve: Option<Arc<str>>,
    damaged: Damages,
    /// Since a client of this core compressed, with what pays for it.
    packer: RefCell<Option<(Packer, Charge)>>,
    /// How often a client is notified of a command that takes long.
    progress_every: Duration,
}

/// How long a client may say nothing (RFC 9051 §5.4).
struct Silences {
    before_login: Duration,
    logged_in: Duration,
}

/// Ends the conversation.
enum End {
    /// `out` holds the last words.
    Said,
    /// The client was silent too long.
    Silent,
    /// In the middle of a literal, where no reply can be sent.
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
    account: Option<AccountId>,
    selected: Option<Selected>,
    /// Since it used NOTIFY.
    notify: Option<Box<notify::Notify>>,
    /// For the literal that is being received.
    charge: Option<Charge>,
    /// SCRAM: not answered yet.
    challenge: Option<Box<Challenge>>,
}

impl<K: Ask> Imap<K> {
    /// On a core. `memory` and `logins` are shared by all cores.
    pub fn new(owner: K, memory: Memory, logins: Logins) -> Imap<K> {
        Imap::on(SessionHost::of_core(), owner, memory, logins)
    }

    /// As `new`, wherever `host` is.
    pub fn on(host: SessionHost, owner: K, memory: Memory, logins: Logins) -> Imap<K> {
        Imap {
            owner,
            host,
            memory,
            logins,
            silences: Silences {
                before_login: SILENCE_BEFORE_LOGIN_MAX,
                logged_in: SILENCE_MAX,
            },
            counters: Arc::default(),
            teaching: Rc::default(),
            events: Rc::default(),
            sieve: None,
            damaged: Damages::default(),
            packer: RefCell::default(),
            progress_every: PROGRESS_EVERY,
        }
    }

    /// Announces that scripts run because of what clients do, and that they are stored at this URL (RFC 6785).
    pub fn announcing_sieve(mut self, url: Option<Arc<str>>) -> Imap<K> {
        self.sieve = url;
        self
    }

    /// Reports on long commands as often as `every` says.
    pub fn reporting_progress(mut self, every: Duration) -> Imap<K> {
        self.progress_every = every;
        self
    }

    /// For the metrics; one set for each core.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Serves `connection` to its end.
    pub async fn serve(&self, settings: &Settings, connection: impl Accepted) {
        let policy = Policy {
            tls_offered: settings.tls.is_some(),
            login_without_tls: settings.login_on_loopback && connection.peer().ip().is_loopback(),
            append_bytes_max: settings.append_bytes_max,
        };
        let mut session = Session::new(policy, connection.tls().is_some());
        session.offer(self.logins.offer(connection.tls()));
        session.hiding(settings.hide.clone());
        session.sieve_at(self.sieve.clone());
        self.serve_session(settings, session, connection).await;
    }

    async fn serve_session(
        &self,
        settings: &Settings,
        session: Session,
        connection: impl Accepted,
    ) {
        let mut connection = Wire::new(connection);
        let mut client = Client {
            session,
            out: Vec::new(),
            account: None,
            selected: None,
            notify: None,
            charge: None,
            challenge: None,
        };
        let end = self.converse(settings, &mut client, &mut connection).await;
        // What it watched ends now, however long its client takes to read the last words.
        client.notify = None;
        match end {
            End::Said => {}
            // RFC 9051 §7.1.5: BYE at the end of an inactive session too.
            End::Silent => {
                tracing::debug!(peer = %connection.peer(), "the client was silent too long");
                client
                    .session
                    .bye(&mut client.out, "Logged out for inactivity");
            }
            End::CutOff => return,
            End::Broken(_) if let Some(trouble) = connection.trouble() => {
                tracing::debug!(peer = %connection.peer(), ?trouble, "the compressed stream cannot be read");
                client.out.clear();
                match trouble {
                    Unreadable::Broken => client
                        .session
                        .bye(&mut client.out, "Compressed data cannot be decompressed"),
                    Unreadable::Bomb => client.session.bye(
                        &mut client.out,
                        "Compressed data expands to too many commands",
                    ),
                };
            }
            End::Broken(ConnectionFault::Stopping) => {
                client.out.clear();
                client.session.bye(&mut client.out, "Server shutting down");
            }
            End::Broken(ConnectionFault::TimedOut) => {
                tracing::debug!(peer = %connection.peer(), "the client takes nothing");
                return;
            }
            End::Broken(fault) => {
                tracing::debug!(peer = %connection.peer(), %fault, "the conversation broke off");
                return;
            }
        }
        if connection.send(&client.out).await.is_ok() {
            connection.close().await;
        }
    }

    async fn converse(
        &self,
        settings: &Settings,
        client: &mut Client,
        connection: &mut Wire<impl Accepted>,
    ) -> End {
        connection.deadline(self.silences.before_login + SILENCE_GRACE);
        client.session.greet(&mut client.out);
        loop {
            // until either side ends it
            let event = client.session.step(&mut client.out);
            let done = match event {
                // Boxed: other connections do not hold what this takes.
                Event::Wait if client.listens() => {
                    Box::pin(self.on_listen(client, connection, false)).await
                }
                Event::Idle if client.notify.is_some() => {
                    Box::pin(self.on_listen(client, connection, true)).await
                }
                Event::Wait => self.wait(client, connection).await,
                Event::Flush => {
                    let sent = flush(&mut client.out, connection).await;
                    sent.map_err(End::from)
                }
                Event::Close => return End::Said,
                // In a box of its own: most connections wait here, and this future is small.
                Event::Idle => {
                    let idle = self.on_idle(client, connection);
                    debug_assert!(size_of_val(&idle) <= WAITING_BYTES_MAX);
                    Box::pin(idle).await
                }
                // Boxed: what commands need is not held by a connection that waits.
                event => Box::pin(self.on_event(settings, client, connection, event)).await,
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Sends what there is and receives something.
    async fn wait(
        &self,
        client: &mut Client,
        connection: &mut Wire<impl Accepted>,
    ) -> Result<(), End> {
        flush(&mut client.out, connection).await?;
        client.out = Vec::new();
        client.session.rest();
        self.pay_for_literal(client, connection).await?;
        let silence = self.silence(client);
        connection.expect_literal(client.session.literal_bytes_pending());
        tokio::select! {
            biased;
            received = connection.receive(client.session.input()) => received.map(|_| ()).map_err(End::from),
            () = self.host.sleep(silence) => Err(End::Silent),
        }
    }

    /// How long the client may be silent now. The connection's own deadline is later: after it no reply can be sent.
    fn silence(&self, client: &Client) -> Duration {
        match client.session.state() {
            State::NotAuthenticated => self.silences.before_login,
            _ => self.silences.logged_in,
        }
    }

    /// A command of more than `SMALL_COMMAND_BYTES`, which brings messages, is received only once there is memory for all of it. What is here of
    /// it stays paid for while a further message waits for memory (RFC 3502).
    async fn pay_for_literal(
        &self,
        client: &mut Client,
        connection: &impl Connection,
    ) -> Result<(), End> {
        let receiving = &self.memory.receiving;
        let pending = client.session.literal_bytes_pending();
        let bytes = client.session.input().len() + pending;
        let wanted = bytes.min(receiving.share_bytes_max());
        let holder = match client.account {
            Some(account) => holder::of_account(account),
            None => holder::of_peer(connection.peer().ip()),
        };
        // It is kept while its literals come, and what little follows them. One that is too large is of a command that was refused.
        let is_of_it =
            |charge: &Charge| charge.bytes() <= wanted && charge.holder() == Some(holder);
        client.charge = client.charge.take().filter(is_of_it);
        let paid = client.charge.as_ref().map_or(0, Charge::bytes);
        if wanted - paid <= SMALL_COMMAND_BYTES {
            return Ok(());
        }
        let charge = receiving.wait_for(holder, wanted - paid);
        match self.host.within(RECEIVING_WAIT_MAX, charge).await {
            Some(more) => {
                match &mut client.charge {
                    Some(charge) => charge.join(more),
                    None => client.charge = Some(more),
                }
                client.session.input().reserve_exact(pending);
                Ok(())
            }
            None => {
                client.session.bye(
                    &mut client.out,
                    "Not enough memory for the message, try again later",
                );
                Err(End::Said)
            }
        }
    }

    async fn on_event(
        &self,
        settings: &Settings,
        client: &mut Client,
        connection: &mut Wire<impl Accepted>,
        event: Event,
    ) -> Result<(), End> {
        match event {
            Event::Wait | Event::Flush | Event::Close | Event::Idle => {
                unreachable!("`converse` keeps these to itself")
            }
            Event::LogIn { .. }
            | Event::FindKeys { .. }
            | Event::Proved { .. }
            | Event::CheckToken { .. }
            | Event::CheckCertificate { .. } => {
                self.on_login_event(client, connection, event).await
            }
            Event::StartTls => {
                flush(&mut client.out, connection).await?;
                let tls = settings.tls.as_ref();
                let tls = tls.expect("STARTTLS is offered with a certificate only");
                connection.start_tls(tls).await?;
                client.session.tls_started();
                client.session.offer(self.logins.offer(connection.tls()));
                Ok(())
            }
            Event::Compress { tag } => self.on_compress(client, connection, &tag).await,
            Event::IdleEnded { tag } => {
                let told = self
                    .tell_as(client, connection, Expunges::Now, false)
                    .await?;
                if let Some(selected) = &mut client.selected {
                    selected.put_ahead(&mut client.out);
                }
                // Without a tag the session has answered BAD already.
                if !tag.is_empty() {
                    put_reply(&mut client.out, &tag, Status::Ok, "", "Idle completed");
                }
                told.map_err(|gone| gone.end(client))
            }
            Event::Perform { command, bytes } => {
                let charge = client.charge.take();
                self.counters.commands.fetch_add(1, Relaxed);
                let done = self.perform(client, connection, command, bytes).await;
                drop(charge);
                if client.out.len() > OUTPUT_BYTES_MAX {
                    flush(&mut client.out, connection).await?;
                }
                done
            }
        }
    }

    /// RFC 2177: reports changes as they happen, until the client sends anything.
    async fn on_idle(
        &self,
        client: &mut Client,
        connection: &mut impl Connection,
    ) -> Result<(), End> {
        if let Some(selected) = &mut client.selected {
            selected.put_size_again(&mut client.out);
        }
        let silence = self.silence(client);
        loop {
            // until the client says something
            // Boxed: the wait below does not hold what reports need.
            let told = Box::pin(self.tell(client, connection, Expunges::Now)).await?;
            told.map_err(|gone| gone.end(client))?;
            if let Some(selected) = &mut client.selected {
                selected.was_listening();
            }
            flush(&mut client.out, connection).await?;
            client.out = Vec::new();
            let Client {
                session, selected, ..
            } = client;
            let rung = async {
                match selected {
                    Some(selected) => selected.rung().await,
                    None => std::future::pending().await,
                }
            };
            session.rest();
            if !session.input().is_empty() {
                return Ok(()); // DONE came behind IDLE
            }
            tokio::select! {
                biased;
                received = connection.receive(session.input()) => {
                    received?;
                    return Ok(());
                }
                () = rung => {}
                () = self.host.sleep(silence) => return Err(End::Silent),
            }
        }
    }

    /// Tells the client of changes to its mailbox, and sends what is more than fits `out`.
    async fn tell(
        &self,
        client: &mut Client,
        connection: &mut impl Connection,
        expunges: Expunges,
    ) -> Result<Result<(), Gone>, ConnectionFault> {
        let Some(selected) = &mut client.selected else {
            return Ok(Ok(()));
        };
        selected.mode = Mode::of(&client.session);
        match self.look_at_rights(selected).await {
            Ok(true) => {}
            // Until it is known whether the client may hear of changes it does not.
            Ok(false) => return Ok(Ok(())),
            Err(gone) => return Ok(Err(gone)),
        }
        loop {
            // until everything is reported
            match selected.tell(&self.owner, expunges, &mut client.out).await {
                Ok(Told::All) => return Ok(Ok(())),
                Ok(Told::Part) => flush(&mut client.out, connection).await?,
                Err(gone) => {
                    if matches!(gone, Gone::Deleted) {
                        self.memory.orders.forget(selected.id);
                    }
                    return Ok(Err(gone));
                }
            }
        }
    }
}

impl Gone {
    /// The last words; what else is in `out` goes before them.
    fn end(self, client: &mut Client) -> End {
        client.selected = None;
        client.session.unselected();
        let words = match self {
            Gone::Deleted => "the mailbox was deleted or renamed",
            Gone::Revoked => "the mailbox is no longer shared with this account",
        };
        client.session.bye(&mut client.out, words);
        End::Said
    }
}

/// The tagged OK of a command: a response code, often none, and words.
struct Done {
    code: String,
    text: &'static str,
}

impl Done {
    /// RFC 2180 §4.1 and §4.2, for all commands alike: what another session expunged is passed over, the rest is done, and
    /// the answer is OK. A command by numbers says so (`some_gone`), for its client may have counted.
    fn for_those_there(text: &'static str, some_gone: bool) -> Done {
        Done {
            code: if some_gone { "EXPUNGEISSUED" } else { "" }.into(),
            text,
        }
    }

    fn plain(text: &'static str) -> Done {
        Done {
            code: String::new(),
            text,
        }
    }
}

/// Sends `out` and clears it; nothing is sent where it is empty.
async fn flush(out: &mut Vec<u8>, connection: &mut impl Connection) -> Result<(), ConnectionFault> {
    if !out.is_empty() {
        connection.send(out).await?;
        out.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
