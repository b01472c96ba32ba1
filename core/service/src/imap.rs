//! One IMAP connection, from greeting to BYE.
//!
//! Owns the session (`imap::Session`), passes bytes in, and performs what comes out: a login is checked (`login`), a mailbox
//! opened (`selected`), commands are answered from what the owner of the mailboxes says (`folders`, `messages`, `fetch`,
//! `search`), and changes by others are told at the points where IMAP allows it.
//!
//! What must hold:
//!
//! - *durable* before *visible*: everything that is told comes from `Mailboxes`, which shows durable changes only.
//! - No EXPUNGE is sent while a command by message numbers runs (RFC 9051 §7.5.1).
//! - A list view reads no body: envelopes, structures and the usual header fields come from summaries.
//! - An idle connection keeps the numbers of its messages as runs, a watch, and no buffers. A mailbox's list is held only
//!   while a command works through it.
//! - Bodies in memory are paid for. What waits for a client comes from its account's share, and past that it gets smaller pieces;
//!   what we work on comes from `Memory::reading`, in turn. No account's reads make another's fail.
//!
//! Start reading at `converse`.

mod fault;
mod fetch;
mod folders;
pub mod limits;
mod login;
mod messages;
mod numbering;
mod search;
mod selected;
mod watch;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use base::BodyName;
use imap::respond::{Status, put_reply};
use imap::{Body, Command, Event, Policy, Session, State};
use mailbox::AccountId;
use zone::{Budget, Charge, Connection, ConnectionFault};

use crate::holder;
use crate::owner::Owner;

use fault::Failure;
use limits::*;
pub use login::{Logins, hash_password};
use selected::{Expunges, Gone, Selected};

/// How one listener serves. IMAPS differs from IMAP only in that TLS was started before `serve`.
#[derive(Clone)]
pub struct Settings {
    /// For STARTTLS; `None` where there is no certificate.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Passwords are taken without TLS from peers on the loopback (trial mode).
    pub login_on_loopback: bool,
    pub append_bytes_max: usize,
}

/// What a core's IMAP sessions did since start. Written by that core, read by whoever asks.
#[derive(Debug, Default)]
pub struct Counters {
    pub logins: AtomicU64,
    pub logins_refused: AtomicU64,
    pub commands: AtomicU64,
    /// Messages of which something was sent by FETCH.
    pub fetched: AtomicU64,
    pub bodies_read: AtomicU64,
    pub appended: AtomicU64,
}

/// What all IMAP connections of one core share. Lives on that core.
pub struct Imap {
    owner: Owner,
    memory: Memory,
    logins: Logins,
    counters: Arc<Counters>,
    /// Messages that were found damaged while they were sent.
    damaged: RefCell<VecDeque<BodyName>>,
}

/// Bytes of messages in memory, over all cores and services. All three have shares.
#[derive(Clone)]
pub struct Memory {
    /// Bodies that we look into (SEARCH, parts that are decoded), held at our own pace. A share holds the largest message.
    pub reading: Budget,
    /// Bodies that wait for clients to take them.
    pub sending: Budget,
    /// APPENDs on their way in; shared with the receivers.
    pub receiving: Budget,
}

impl Memory {
    /// With the shares of `limits`; `receiving` is the receivers'.
    pub fn new(reading_bytes: usize, sending_bytes: usize, receiving: Budget) -> Memory {
        let reading_share = (reading_bytes / READING_SHARE).max(READING_SHARE_BYTES_MIN);
        let sending_share = (sending_bytes / SENDING_SHARE).max(SENDING_SHARE_BYTES_MIN);
        Memory {
            reading: Budget::with_shares(reading_bytes, reading_share),
            sending: Budget::with_shares(sending_bytes, sending_share),
            receiving,
        }
    }
}

/// Ends the conversation.
enum End {
    /// `out` holds the last words.
    Said,
    /// In the middle of a literal: there is nothing that could be said.
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
    /// For the literal that is being received.
    charge: Option<Charge>,
}

impl Imap {
    /// `memory` and `logins` are shared by all cores.
    pub fn new(owner: Owner, memory: Memory, logins: Logins) -> Imap {
        Imap {
            owner,
            memory,
            logins,
            counters: Arc::default(),
            damaged: RefCell::default(),
        }
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Serves `connection` to its end.
    pub async fn serve(&self, settings: &Settings, mut connection: Connection) {
        let policy = Policy {
            tls_offered: settings.tls.is_some(),
            login_without_tls: settings.login_on_loopback && connection.peer().ip().is_loopback(),
            append_bytes_max: settings.append_bytes_max,
        };
        let mut client = Client {
            session: Session::new(policy, connection.tls().is_some()),
            out: Vec::new(),
            account: None,
            selected: None,
            charge: None,
        };
        connection.deadline(SILENCE_BEFORE_LOGIN_MAX);
        let end = self.converse(settings, &mut client, &mut connection).await;
        match end {
            End::Said => {}
            End::CutOff => return,
            End::Broken(ConnectionFault::Stopping) => {
                client.out.clear();
                client.session.bye(&mut client.out, "we are stopping");
            }
            End::Broken(ConnectionFault::TimedOut) => {
                tracing::debug!(peer = %connection.peer(), "the client was silent too long");
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
        connection: &mut Connection,
    ) -> End {
        client.session.greet(&mut client.out);
        loop {
            // until either side ends it
            let event = client.session.step(&mut client.out);
            let done = match event {
                Event::Wait => self.wait(client, connection).await,
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
    async fn wait(&self, client: &mut Client, connection: &mut Connection) -> Result<(), End> {
        flush(&mut client.out, connection).await?;
        client.out = Vec::new();
        client.session.rest();
        self.pay_for_literal(client, connection).await?;
        connection.receive(client.session.input()).await?;
        Ok(())
    }

    /// A large literal is received only once there is memory for it.
    async fn pay_for_literal(
        &self,
        client: &mut Client,
        connection: &Connection,
    ) -> Result<(), End> {
        let pending = client.session.literal_bytes_pending();
        if client.session.input().len() < SMALL_LITERAL_BYTES {
            client.charge = None; // of a command that was refused
        }
        if pending < SMALL_LITERAL_BYTES || client.charge.is_some() {
            return Ok(());
        }
        let holder = match client.account {
            Some(account) => holder::of_account(account),
            None => holder::of_peer(connection.peer().ip()),
        };
        let receiving = &self.memory.receiving;
        let charge = receiving.wait_for(holder, pending);
        match tokio::time::timeout(RECEIVING_WAIT_MAX, charge).await {
            Ok(charge) => {
                client.charge = Some(charge);
                client.session.input().reserve_exact(pending);
                Ok(())
            }
            Err(_) => {
                let words = "there is no memory for such a message now";
                client.session.bye(&mut client.out, words);
                Err(End::Said)
            }
        }
    }

    async fn on_event(
        &self,
        settings: &Settings,
        client: &mut Client,
        connection: &mut Connection,
        event: Event,
    ) -> Result<(), End> {
        match event {
            Event::Wait | Event::Close => unreachable!("`converse` keeps these to itself"),
            Event::LogIn {
                tag,
                user,
                password,
            } => {
                self.on_login(client, connection, &tag, &user, &password)
                    .await
            }
            Event::StartTls => {
                flush(&mut client.out, connection).await?;
                let tls = settings.tls.as_ref();
                let tls = tls.expect("STARTTLS is offered with a certificate only");
                connection.start_tls(tls).await?;
                client.session.tls_started();
                Ok(())
            }
            Event::Idle => self.on_idle(client, connection).await,
            Event::IdleEnded { tag } => {
                let told = self.tell(client, Expunges::Now).await;
                // Without a tag the session has said BAD already.
                if !tag.is_empty() {
                    put_reply(&mut client.out, &tag, Status::Ok, "", "idled");
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

    async fn on_login(
        &self,
        client: &mut Client,
        connection: &mut Connection,
        tag: &str,
        user: &[u8],
        password: &[u8],
    ) -> Result<(), End> {
        match self.logins.check(&self.owner, user, password).await {
            Ok(Some(account)) => {
                self.counters.logins.fetch_add(1, Relaxed);
                tracing::info!(peer = %connection.peer(), account = %account.address, "logged in");
                client.account = Some(account.id);
                client.session.logged_in(tag, &mut client.out);
                connection.deadline(SILENCE_MAX);
                Ok(())
            }
            Ok(None) => {
                self.counters.logins_refused.fetch_add(1, Relaxed);
                tracing::info!(peer = %connection.peer(), "a login was refused");
                tokio::time::sleep(LOGIN_FAILURE_DELAY).await;
                match client.session.login_refused(tag, &mut client.out) {
                    Some(_close) => Err(End::Said),
                    None => Ok(()),
                }
            }
            Err(_) => {
                Failure::Busy.put(&mut client.out, tag);
                Ok(())
            }
        }
    }

    /// RFC 2177: tells of changes as they happen, until the client says anything.
    async fn on_idle(&self, client: &mut Client, connection: &mut Connection) -> Result<(), End> {
        if let Some(selected) = &mut client.selected {
            selected.put_size_again(&mut client.out);
        }
        loop {
            // until the client says something
            let told = self.tell(client, Expunges::Now).await;
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
            }
        }
    }

    /// Tells the client of changes to its mailbox.
    async fn tell(&self, client: &mut Client, expunges: Expunges) -> Result<(), Gone> {
        match &mut client.selected {
            Some(selected) => selected.tell(&self.owner, expunges, &mut client.out).await,
            None => Ok(()),
        }
    }

    /// Does a command and replies to it.
    async fn perform(
        &self,
        client: &mut Client,
        connection: &mut Connection,
        command: Command,
        bytes: Vec<u8>,
    ) -> Result<(), End> {
        let Command { tag, body } = command;
        // RFC 9051 §7.5.1: by number, numbers stay. RFC 3501 §7.4.1 allows EXPUNGE in their UID forms.
        let expunges = match &body {
            Body::Fetch { uid: false, .. } | Body::Store { uid: false, .. } => Expunges::Later,
            Body::Search(request) if !request.uid => Expunges::Later,
            _ => Expunges::Now,
        };
        let listens = body == Body::Noop;
        let answer = self.answer(client, connection, &tag, body, bytes).await?;
        let told = self.tell(client, expunges).await;
        if let (true, Some(selected)) = (listens, &mut client.selected) {
            selected.was_listening();
        }
        match answer {
            Ok(Done { code, text }) => put_reply(&mut client.out, &tag, Status::Ok, &code, text),
            Err(failure) => failure.put(&mut client.out, &tag),
        }
        told.map_err(|gone| gone.end(client))
    }

    async fn answer(
        &self,
        client: &mut Client,
        connection: &mut Connection,
        tag: &str,
        body: Body,
        bytes: Vec<u8>,
    ) -> Result<Result<Done, Failure>, End> {
        let account = client.account.expect("the session lets nobody in before");
        let out = &mut client.out;
        let names = client.session.names();
        let shown = folders::Shown {
            names,
            append_bytes_max: client.session.append_bytes_max(),
        };
        Ok(match body {
            Body::Noop | Body::Check => Ok(Done::plain("nothing else to tell")),
            Body::Select { mailbox, read_only } => {
                self.on_select(client, account, &mailbox, read_only).await
            }
            Body::Close | Body::Unselect => {
                let writable = client.session.state() == State::Selected { read_only: false };
                let selected = client.selected.take();
                client.session.unselected();
                match selected {
                    // RFC 9051 §6.4.1: without telling.
                    Some(selected) if body == Body::Close && writable => self
                        .expunge(&selected, None)
                        .await
                        .map(|()| Done::plain("closed")),
                    _ => Ok(Done::plain("closed")),
                }
            }
            Body::Create {
                mailbox,
                special_use,
            } => self.on_create(account, &mailbox, special_use).await,
            Body::Delete(mailbox) => self.on_delete(account, &mailbox).await,
            Body::Rename { from, to } => self.on_rename(account, &from, &to).await,
            Body::Subscribe(mailbox) => self.on_subscribe(account, &mailbox, true).await,
            Body::Unsubscribe(mailbox) => self.on_subscribe(account, &mailbox, false).await,
            Body::List(request) => self.on_list(account, &request, &shown, out).await,
            Body::Lsub { reference, pattern } => {
                self.on_lsub(account, &reference, &pattern, names, out)
                    .await
            }
            Body::Status { mailbox, items } => {
                self.on_status(account, &mailbox, &items, &shown, out).await
            }
            Body::Append {
                mailbox,
                flags,
                date,
                message,
            } => {
                let raw = bytes::Bytes::from(bytes).slice(message.0);
                self.on_append(account, &mailbox, flags, date, raw).await
            }
            Body::Expunge { uids } => {
                let selected = client.selected.as_ref().expect("the session knows");
                let done = self.expunge(selected, uids.as_ref()).await;
                done.map(|()| Done::plain("expunged"))
            }
            Body::Store {
                uid,
                set,
                change,
                silent,
                flags,
            } => {
                let selected = client.selected.as_mut().expect("the session knows");
                let wanted = messages::Store {
                    uid,
                    set,
                    change,
                    silent,
                    flags,
                };
                self.on_store(selected, wanted, out).await
            }
            Body::Copy { uid, set, mailbox } => {
                let selected = client.selected.as_ref().expect("the session knows");
                self.on_copy(account, selected, uid, &set, &mailbox).await
            }
            Body::Move { uid, set, mailbox } => {
                let selected = client.selected.as_ref().expect("the session knows");
                self.on_move(account, selected, uid, &set, &mailbox, out)
                    .await
            }
            Body::Search(request) => {
                let selected = client.selected.as_ref().expect("the session knows");
                let rev2 = client.session.is_rev2();
                self.on_search(account, selected, &request, rev2, tag, out)
                    .await
            }
            Body::Fetch { uid, set, items } => {
                let read_only = client.session.state() == State::Selected { read_only: true };
                let selected = client.selected.as_mut().expect("the session knows");
                let wanted = fetch::Wanted::new(uid, items, read_only);
                self.on_fetch(account, selected, &set, wanted, out, connection)
                    .await?
            }
            Body::Capability
            | Body::Logout
            | Body::StartTls
            | Body::Authenticate { .. }
            | Body::Login { .. }
            | Body::Enable(_)
            | Body::Id(_)
            | Body::Namespace
            | Body::Idle => unreachable!("the session answers these itself"),
        })
    }
}

impl Gone {
    /// The last words; what else is in `out` goes before them.
    fn end(self, client: &mut Client) -> End {
        client.selected = None;
        client.session.unselected();
        let words = "the mailbox was deleted or renamed";
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
    fn plain(text: &'static str) -> Done {
        Done {
            code: String::new(),
            text,
        }
    }
}

async fn flush(out: &mut Vec<u8>, connection: &mut Connection) -> Result<(), ConnectionFault> {
    if !out.is_empty() {
        connection.send(out).await?;
        out.clear();
    }
    Ok(())
}
