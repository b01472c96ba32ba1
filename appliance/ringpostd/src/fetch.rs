//! Mail of people that is fetched regularly from accounts elsewhere (`[fetch]`, `ringpostctl fetch`).
//!
//! `table.rs` has when which is due; each conversation has a thread of its own and a deadline (`run.rs`, `pop3.rs`, `imap.rs`), reaches its server by `dial.rs` and the
//! person's mailboxes by `inbox.rs`. What is fetched and what is here already are rows of the directory; passwords in them are sealed (`seal.rs`).
//!
//! What must hold:
//! - No core of the engine waits for a server: conversations are on threads of the housekeeping CPUs, `CONVERSATIONS_MAX` at a time, one for a person.
//! - A message and the mark that it is here are one step of the log; it is deleted there only afterwards. So it comes once, whenever the process ends.
//! - What a server does costs the messages of that account elsewhere a delay, and nothing else.
//! - No password stands in a log, an answer, or a text of an error.

mod dial;
mod imap;
mod inbox;
mod letter;
pub mod limits;
mod marks;
mod pop3;
mod run;
mod seal;
mod table;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ::admin::certificate::now_s;
use mailbox::names::{FetchProtocol, FetchRow, Fetching, Noting, Sealed};
use mailbox::{AccountId, MailboxFault};
use plan::{Misfit, Plan};
use rustls::ClientConfig;
use spam::Points;
use storage::owner::Owner;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use crate::certificate::parse_chain;
use inbox::Mailboxes;
use letter::Front;
use limits::*;
use marks::Marks;
use run::{Inbox, Job, Ran, Room, Stop, Stumbles};
use seal::Seal;
use table::{Key, Next, Table};

pub use table::Last;

/// What was fetched since the start, of one protocol. Any thread may read it.
#[derive(Debug, Default)]
pub struct Counts {
    pub fetched: AtomicU64,
    pub bytes: AtomicU64,
    pub deleted: AtomicU64,
    pub done: AtomicU64,
    pub failed: AtomicU64,
    pub refused: AtomicU64,
}

/// Fetches. One for the daemon.
pub struct Fetcher {
    settings: plan::fetch::Fetch,
    seal: Seal,
    tls: Arc<ClientConfig>,
    owner: Owner,
    handle: Handle,
    /// The name of this box.
    server: String,
    bytes_max: usize,
    /// From this score on a message is junk; `None`: the settings judge nothing.
    junk: Option<Points>,
    table: Mutex<Table>,
    room: Room,
    /// Something may be due, or a place is free.
    bell: Notify,
    stopping: AtomicBool,
    counts: [Counts; 2],
}

/// How one conversation ended, for an administrator who waits for it.
#[derive(Debug, Clone, Default)]
pub struct Done {
    pub last: Last,
    pub listed: u64,
}

impl Fetcher {
    /// On the main thread: conversations reach storage by its runtime.
    pub fn new(
        settings: &plan::fetch::Fetch,
        tls: Arc<ClientConfig>,
        plan: &Plan,
        owner: &Owner,
    ) -> Arc<Fetcher> {
        // Behind the fields in front of a message, which are ours.
        let message_bytes_max = plan.message_bytes_max as usize;
        let bytes_max = message_bytes_max
            .min(ROOM_BYTES)
            .saturating_sub(FRONT_BYTES);
        Arc::new(Fetcher {
            settings: settings.clone(),
            seal: Seal::of(&plan.state),
            tls,
            owner: owner.clone(),
            handle: Handle::current(),
            server: plan.server_name.clone(),
            bytes_max,
            junk: plan.spam.map(|spam| Points(spam.junk_tenths)),
            table: Mutex::default(),
            room: Room::of(ROOM_BYTES),
            bell: Notify::new(),
            stopping: AtomicBool::new(false),
            counts: Default::default(),
        })
    }

    /// Begins conversations as they become due, as long as the daemon runs.
    pub async fn run(self: Arc<Fetcher>) {
        tokio::time::sleep(FIRST_AFTER).await;
        while let Err(why) = self.load().await {
            tracing::warn!(why, "accounts elsewhere are read again in a moment");
            tokio::time::sleep(FIRST_AFTER).await;
        }
        loop {
            // until the daemon ends
            let (begun, next) = {
                let mut table = self.table();
                let begun = match self.is_stopping() {
                    true => None,
                    false => table.begin(Instant::now(), CONVERSATIONS_MAX),
                };
                (begun, table.next_due())
            };
            if let Some(key) = begun {
                self.start(key, false, None);
                continue;
            }
            let until = next.map_or(LOOK_EVERY, |due| {
                due.saturating_duration_since(Instant::now())
            });
            // One that is due and has no place waits for the bell.
            let wait = until.clamp(Duration::from_secs(1), LOOK_EVERY);
            tokio::select! {
                () = self.bell.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Conversations begin nothing new from now on.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    async fn load(&self) -> Result<(), String> {
        let ask = self
            .owner
            .ask(|mailboxes| async move { mailboxes.directory().fetches() });
        let all = ask.await.map_err(|busy| busy.to_string())?;
        let mut table = self.table();
        let now = Instant::now();
        for (account, number, serial) in all {
            // One that was added since is known already.
            if table.get(&(account, number)).is_none() {
                table.set((account, number), serial, now);
            }
        }
        Ok(())
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().expect("no holder panics")
    }

    /// It is new, or was changed: it is due now.
    pub(crate) fn changed(&self, account: AccountId, number: u32, serial: u32) {
        self.table().set((account, number), serial, Instant::now());
        self.bell.notify_one();
    }

    pub(crate) fn removed(&self, account: AccountId, number: u32) {
        self.table().remove(&(account, number));
    }

    /// Seals the password for `row`.
    pub(crate) fn seal(
        &self,
        account: AccountId,
        row: &FetchRow,
        password: &str,
    ) -> Result<Sealed, String> {
        match password.len() {
            1..=PASSWORD_BYTES_MAX => self.seal.seal(account, row, password),
            _ => Err(format!("the password has 1 to {PASSWORD_BYTES_MAX} bytes")),
        }
    }

    /// Why the settings do not let this host be asked.
    pub(crate) fn forbids(&self, host: &str) -> Option<String> {
        (!self.settings.allows(host))
            .then(|| format!("{host} is not in fetch.allow: the settings forbid to ask it"))
    }

    /// A conversation now, for an administrator. `Err`: one is under way, or there are as many as there may be.
    pub(crate) fn now(
        self: &Arc<Fetcher>,
        key: Key,
        serial: u32,
        is_check: bool,
    ) -> Result<oneshot::Receiver<Done>, String> {
        let begun = {
            let mut table = self.table();
            if table.get(&key).is_none() {
                // Soon after the start: not all were read yet.
                table.set(key, serial, Instant::now());
            }
            table.begin_now(key, CONVERSATIONS_MAX)
        };
        if !begun {
            return Err(
                "a conversation with an account elsewhere of this person is under way, or as many as there may be are: try again in a minute"
                    .to_owned(),
            );
        }
        let (tell, told) = oneshot::channel();
        self.start(key, is_check, Some(tell));
        Ok(told)
    }

    /// How its last conversation went, whether one is under way, and in how many seconds the next is due.
    pub(crate) fn state(&self, key: &Key) -> (Option<Last>, bool, Option<u64>) {
        let table = self.table();
        let last = table.get(key).and_then(|entry| entry.last.clone());
        let due = table.due_in(key, Instant::now());
        (last, table.is_running(key), due.map(|due| due.as_secs()))
    }

    /// All accounts elsewhere, those that are stopped, those that fail, and conversations under way.
    pub(crate) fn gauges(&self) -> (usize, usize, usize, usize) {
        let table = self.table();
        let (all, stopped, failing) = table.counts();
        (all, stopped, failing, table.running())
    }

    pub(crate) fn counts(&self, protocol: FetchProtocol) -> &Counts {
        &self.counts[protocol as usize]
    }

    pub(crate) fn alarm(&self) -> Option<String> {
        let (_, stopped, _, _) = self.gauges();
        (stopped > 0).then(|| {
            format!(
                "fetch: {stopped} accounts elsewhere are not fetched any more: `ringpostctl fetch list` says why; a new password by `ringpostctl fetch change` starts one again"
            )
        })
    }

    fn start(self: &Arc<Fetcher>, key: Key, is_check: bool, tell: Option<oneshot::Sender<Done>>) {
        let fetcher = self.clone();
        let begun = std::thread::Builder::new()
            .name("fetch".to_owned())
            .spawn(move || {
                let done = fetcher.converse(key, is_check);
                if let Some(tell) = tell {
                    let _ = tell.send(done); // whoever asked may be gone
                }
                fetcher.bell.notify_one();
            });
        if let Err(error) = begun {
            tracing::warn!(%error, "cannot start a thread that fetches");
            let last = Last {
                error: Some(error.to_string()),
                ..Last::default()
            };
            let mut table = self.table();
            let serial = table.get(&key).map_or(0, |entry| entry.serial);
            let done = Some((last, Next::Failed(FIRST_AFTER)));
            table.end(key, serial, done, Stumbles::default(), Instant::now());
        }
    }

    /// One conversation, on its own thread.
    fn converse(&self, key: Key, is_check: bool) -> Done {
        let (account, number) = key;
        let now_s = now_s().max(0);
        let begun = self.table().get(&key).map_or(0, |entry| entry.serial);
        let mut stumbles = self.table().stumbles(&key);
        let ask = self.owner.ask(move |mailboxes| async move {
            let directory = mailboxes.directory();
            let fetching = directory.fetching(account, number);
            let person = directory.account_by_id(account).await?;
            Ok::<_, MailboxFault>(fetching.zip(person))
        });
        let asked = self.handle.block_on(ask);
        let found = match asked {
            Ok(Ok(Some((fetching, person)))) => Some((fetching, person.address.to_path())),
            Ok(Ok(None)) => {
                // The person is gone, or it was removed.
                self.table().forget(&key, begun);
                self.forget_orphan(account);
                return Done::default();
            }
            Ok(Err(_)) | Err(_) => None,
        };
        let Some((fetching, address)) = found else {
            let last = Last {
                unix_s: now_s.unsigned_abs(),
                error: Some("storage is busy".to_owned()),
                ..Last::default()
            };
            let mut table = self.table();
            let serial = table.get(&key).map_or(0, |entry| entry.serial);
            let next = Next::Usual(LOOK_EVERY);
            let done = Some((last.clone(), next));
            table.end(key, serial, done, stumbles, Instant::now());
            return Done { last, listed: 0 };
        };
        let serial = fetching.row.serial;
        let row = fetching.row.clone();
        let front = Front {
            server: self.server.clone(),
            address,
            unix_s: now_s,
        };
        let mut ran = Ran::default();
        let stop = match row.stopped.is_empty() || is_check {
            true => self.conversation(key, fetching, &front, &mut stumbles, is_check, &mut ran),
            false => None,
        };
        let (error, next) = self.settle(key, &row, &front, stop, &ran, is_check);
        let last = Last {
            unix_s: now_s.unsigned_abs(),
            fetched: ran.fetched,
            deleted: ran.deleted,
            left: ran.left,
            error,
            note: ran.note.clone(),
        };
        let counts = self.counts(row.protocol);
        counts.deleted.fetch_add(ran.deleted, Ordering::Relaxed);
        let done = (!is_check).then(|| (last.clone(), next));
        self.table()
            .end(key, serial, done, stumbles, Instant::now());
        Done {
            last,
            listed: ran.listed,
        }
    }

    /// `None`: it went to its end.
    fn conversation(
        &self,
        (account, number): Key,
        fetching: Fetching,
        front: &Front,
        stumbles: &mut Stumbles,
        is_check: bool,
        ran: &mut Ran,
    ) -> Option<Stop> {
        let row = &fetching.row;
        let until = Instant::now() + CONVERSATION_WITHIN;
        let password = match self.seal.open(account, row) {
            Ok(password) => password,
            Err(why) => return Some(Stop::Later(why)),
        };
        if let Some(why) = self.forbids(&row.host) {
            return Some(Stop::Later(why));
        }
        let stream = match dial::connect(&row.host, row.port, row.may_be_private) {
            Ok(stream) => stream,
            Err(why) => return Some(Stop::Server(why)),
        };
        let mut inbox = self.inbox((account, number), row, front);
        let mut job = Job {
            row,
            password: &password,
            until,
            bytes_max: self.bytes_max,
            room: &self.room,
            front: front.clone(),
            today: (front.unix_s / 86_400) as u32,
            stumbles,
            is_stopping: &|| self.is_stopping() || self.table().is_stale(&(account, number)),
            is_check,
        };
        let mut marks = Marks::of(fetching.marks);
        let done = match row.protocol {
            FetchProtocol::Pop3 => {
                pop3::run(stream, &self.tls, &mut job, &mut marks, &mut inbox, ran)
            }
            FetchProtocol::Imap => {
                imap::run(stream, &self.tls, &mut job, &mut marks, &mut inbox, ran)
            }
        };
        done.err().map(|stop| stop.hiding(&row.user, &password))
    }

    fn inbox<'a>(
        &'a self,
        (account, number): Key,
        row: &'a FetchRow,
        front: &'a Front,
    ) -> Mailboxes<'a> {
        Mailboxes {
            owner: &self.owner,
            handle: &self.handle,
            account,
            number,
            address: &front.address,
            host: &row.host,
            is_filtered: row.is_filtered,
            junk: self.junk.filter(|_| row.is_judged),
            counts: self.counts(row.protocol),
            is_own: false,
        }
    }

    /// Counts and notes how it ended: why it failed, and when it is due next.
    fn settle(
        &self,
        key: Key,
        row: &FetchRow,
        front: &Front,
        stop: Option<Stop>,
        ran: &Ran,
        is_check: bool,
    ) -> (Option<String>, Next) {
        let every = Duration::from_secs(u64::from(row.every_s.clamp(EVERY_S_MIN, EVERY_S_MAX)));
        let counts = self.counts(row.protocol);
        let (account, number) = key;
        let mut inbox = self.inbox(key, row, front);
        let noting = || Noting {
            serial: row.serial,
            ..Noting::default()
        };
        let (error, next) = match stop {
            None if !row.stopped.is_empty() && !is_check => {
                return (Some(row.stopped.clone()), Next::Stopped);
            }
            None => {
                counts.done.fetch_add(1, Ordering::Relaxed);
                if row.refusals > 0 && !is_check {
                    let noting = Noting {
                        refusals: Some(0),
                        ..noting()
                    };
                    // At the next end, if not now.
                    let _ = inbox.note(noting);
                }
                let next = match ran.has_more && ran.fetched > 0 {
                    true => Next::Soon,
                    false => Next::Usual(every),
                };
                (None, next)
            }
            Some(Stop::Password(why)) => {
                counts.refused.fetch_add(1, Ordering::Relaxed);
                let why = format!("the server refuses the password: {why}");
                // A password that was changed meanwhile is not the one that was refused.
                let is_stale = self.table().is_stale(&key);
                match is_check || is_stale {
                    true => (Some(why), Next::Failed(every)),
                    false => self.refused(&mut inbox, row, front, why, every),
                }
            }
            Some(Stop::Server(why)) => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                (Some(why), Next::Failed(every))
            }
            Some(Stop::Full) => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                let why =
                    "the account here is over quota: its mail stays elsewhere until there is room";
                (Some(why.to_owned()), Next::Usual(every))
            }
            Some(Stop::Gone) => (None, Next::Usual(every)),
            Some(Stop::Later(why)) => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                (Some(why), Next::Failed(every))
            }
        };
        let why = error.as_deref().unwrap_or_default();
        tracing::info!(
            account = account.0,
            number,
            host = row.host,
            fetched = ran.fetched,
            deleted = ran.deleted,
            left = ran.left,
            why,
            "an account elsewhere was asked"
        );
        (error, next)
    }

    /// A login that the server refused: after some of them nothing is fetched, and the person gets one notice, in the step that notes it.
    fn refused(
        &self,
        inbox: &mut Mailboxes<'_>,
        row: &FetchRow,
        front: &Front,
        why: String,
        every: Duration,
    ) -> (Option<String>, Next) {
        let refusals = row.refusals.saturating_add(1);
        let mut noting = Noting {
            serial: row.serial,
            refusals: Some(refusals),
            ..Noting::default()
        };
        if refusals < REFUSALS_MAX {
            let _ = inbox.note(noting); // one more try, if it is not noted
            return (Some(why), Next::Failed(every));
        }
        noting.stopped = Some(why.clone());
        inbox.is_filtered = false;
        inbox.junk = None;
        inbox.is_own = true;
        let noted = match inbox.place(front.notice(row, &why), noting.clone()) {
            // There is no room for the notice: it is stopped all the same, and administrators see it.
            Err(run::NotPlaced::Full) => inbox.note(noting),
            placed => placed,
        };
        match noted {
            Ok(()) => (Some(why), Next::Stopped),
            Err(_) => (Some(why), Next::Failed(every)),
        }
    }

    /// Rows of an account that is gone.
    fn forget_orphan(&self, account: AccountId) {
        let ask = self.owner.ask(move |mailboxes| async move {
            let directory = mailboxes.directory();
            if let Ok(None) = directory.account_by_id(account).await {
                let _ = directory.forget_fetches(account).await; // at the next start, if not now
            }
        });
        let _ = self.handle.block_on(ask);
    }
}

/// The authorities of the web, and those of the settings. `None`: the settings do not fetch.
pub fn trust(settings: &plan::fetch::Fetch) -> Result<Option<Arc<ClientConfig>>, Misfit> {
    if !settings.enabled {
        return Ok(None);
    }
    let more = match settings.authorities.as_deref() {
        None => Vec::new(),
        Some(path) => {
            let wrong =
                |why: String| Misfit::new(format!("fetch.authorities: {}: {why}", path.display()));
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            parse_chain(&pem).map_err(wrong)?
        }
    };
    let tls = mua::tls::trusting(&more, true);
    tls.map(Some)
        .map_err(|error| Misfit::new(error.to_string()))
}

/// Fields that are put in front of a message: Received, and how it was judged.
const FRONT_BYTES: usize = 4 * 1_024;
