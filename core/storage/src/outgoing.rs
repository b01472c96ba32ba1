//! Messages that must leave, as other cores see them: how one enters the queue, who has it under way, and what came of it.
//!
//! A sender takes due messages as leases, and a message is in one lease at a time. The lease ends when its holder drops it: with the
//! task, the connection or the core that held it. What was not settled by then is due again; so a message is delivered at least once, and
//! twice only where an answer was lost between the server's 250 and `settle`.
//!
//! What must hold: what `submit` accepted is durable, here or in a mailbox, for every recipient; a report enters the queue in the group
//! that takes out what it is about; nothing is leased while the volume takes no writes, since what came of it could not be noted.

mod again;
mod deliver;
mod fetched;
mod here;
mod lead;
mod once;
pub mod reporting;
mod signed;
mod submit;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use lessons::Lessons;
use logins::Keyring;
use mail::{Address, InternalDate};
use mailbox::names::Route;
use mailbox::{AccountId, MailboxFault, Mailboxes, Recipient};
use queue::{
    Addressee, DeliveryId, Entry, Envelope, Note, Queue, QueueFault, QueueId, Turn, UnixSeconds,
};
use reports::Reports;
use runtime::events::MESSAGE;
use scripts::Scripts;
use store::{BodyIn, ReadFault};
use tokio::sync::Notify;

use crate::filter::Filter;
use crate::tallies::{Asked, Done, Tallies, Wanted as WantedReports, asked};

pub use fetched::Fetched;
pub use here::Placing;
pub use lead::Leading;
pub use once::{HandedOver, Seen};

/// The queue beside the mailboxes of one volume; lives on the owner's thread. Clones share one state.
#[derive(Clone)]
pub struct Outgoing {
    mailboxes: Mailboxes,
    queue: Queue,
    /// What people taught about junk; `None`: nothing is taught here.
    lessons: Option<Lessons>,
    /// Scripts that filter mail; `None`: no mail is filtered here.
    scripts: Option<Scripts>,
    /// SCRAM keys and app passwords; `None`: there are none.
    keyring: Option<Keyring>,
    /// What is counted for reports; `None`: nothing is.
    reports: Option<(Reports, Tallies)>,
    /// What runs people's scripts; `None`: nothing does.
    filter: Option<Filter>,
    desk: Rc<Desk>,
}

#[derive(Default)]
struct Desk {
    /// Messages under way; one whose holder is gone is free.
    leases: RefCell<HashMap<QueueId, Weak<()>>>,
    /// Deliveries under way that may come a second time.
    once: RefCell<HashSet<DeliveryId>>,
    /// The site that was looked at last.
    turn: RefCell<String>,
    /// An administrator wants something tried, whatever is known of its site.
    roused: Cell<bool>,
    /// What the key of return paths becomes when there is none.
    fresh_key: Cell<Option<[u8; 32]>>,
    /// Woken when something may have become due.
    sender: RefCell<Option<Arc<Notify>>>,
    /// Woken when an administrator wants reports, and those requests.
    reporter: RefCell<Option<Arc<Notify>>>,
    reports_asked: RefCell<Vec<Asked>>,
}

/// A message of one of our people.
#[derive(Debug, Clone)]
pub struct Submission {
    pub body: BodyIn,
    pub internal_date: InternalDate,
    /// Recipients of this volume, and the copy in Sent.
    pub here: Vec<Local>,
    /// Accounts of `here` for which it looks like junk.
    pub junk: Vec<AccountId>,
    /// What must leave; its recipients may be none.
    pub elsewhere: Envelope,
}

/// Where a copy goes at once.
#[derive(Debug, Clone)]
pub struct Local {
    pub place: Recipient,
    /// Whom it stands for: where it finds no room the queue tries on, and reports. `None`: a copy for the sender, done without.
    pub to: Option<Addressee>,
}

/// A message that its holder has to itself.
#[derive(Debug)]
pub struct Lease {
    /// As it was when the lease began.
    pub entry: Entry,
    /// Those of its recipients, by index, whose domain is ours.
    pub here: Vec<u32>,
    /// Of the others, those that a route sends to a server, with the name of its site (`site_of`).
    pub routed: HashMap<u32, String>,
    _held: Arc<()>,
}

/// Which due messages a sender wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub now: UnixSeconds,
    /// What is past its time comes first, due or not.
    pub age_counts: bool,
    /// So does what its sender is to hear of.
    pub warns: bool,
    /// Messages in all, and for one site.
    pub count_max: usize,
    pub each_max: usize,
    /// For a domain of ours.
    pub here_max: usize,
    /// Sites for which that is another number; 0: they are not tried just now.
    pub rooms: HashMap<String, usize>,
}

impl Outgoing {
    pub fn new(mailboxes: Mailboxes, queue: Queue) -> Outgoing {
        Outgoing {
            mailboxes,
            queue,
            lessons: None,
            scripts: None,
            keyring: None,
            reports: None,
            filter: None,
            desk: Rc::default(),
        }
    }

    /// The same, beside what people taught about junk.
    pub fn with_lessons(mut self, lessons: Lessons) -> Outgoing {
        self.lessons = Some(lessons);
        self
    }

    pub fn lessons(&self) -> Option<&Lessons> {
        self.lessons.as_ref()
    }

    /// The same, beside scripts that filter mail.
    pub fn with_scripts(mut self, scripts: Scripts) -> Outgoing {
        self.scripts = Some(scripts);
        self
    }

    pub fn scripts(&self) -> Option<&Scripts> {
        self.scripts.as_ref()
    }

    /// The same, beside what is kept about logins.
    pub fn with_keyring(mut self, keyring: Keyring) -> Outgoing {
        self.keyring = Some(keyring);
        self
    }

    pub fn keyring(&self) -> Option<&Keyring> {
        self.keyring.as_ref()
    }

    /// The same, beside what is counted for reports.
    pub fn with_reports(mut self, reports: Reports, tallies: Tallies) -> Outgoing {
        self.reports = Some((reports, tallies));
        self
    }

    /// The same, and people's scripts run for mail that comes.
    pub fn with_filter(mut self, filter: Filter) -> Outgoing {
        self.filter = Some(filter);
        self
    }

    pub fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }

    pub fn reports(&self) -> Option<(&Reports, &Tallies)> {
        let (reports, tallies) = self.reports.as_ref()?;
        Some((reports, tallies))
    }

    /// From now on `reporter` is notified when reports are wanted at once.
    pub fn wake_reporter_with(&self, reporter: Arc<Notify>) {
        *self.desk.reporter.borrow_mut() = Some(reporter);
    }

    /// Has reports made at once, and answers what came of them. `None`: nothing makes reports here, or it has too much to do.
    pub async fn want_reports(&self, wanted: WantedReports) -> Option<Vec<Done>> {
        // What was counted just now belongs to them. What cannot be written stays out.
        let _ = self.flush_reports().await;
        let reporter = self.desk.reporter.borrow().clone()?;
        let (request, answer) = asked(wanted);
        {
            let mut waiting = self.desk.reports_asked.borrow_mut();
            if waiting.len() >= REPORTS_ASKED_MAX {
                return None;
            }
            waiting.push(request);
        }
        reporter.notify_one();
        answer.await
    }

    /// Nothing makes reports any more: requests that wait get no answer, and no later one waits. Without it a stop would wait for them.
    pub fn reporter_ends(&self) {
        *self.desk.reporter.borrow_mut() = None;
        drop(self.desk.reports_asked.take());
    }

    /// The requests that wait.
    pub fn take_wanted_reports(&self) -> Vec<Asked> {
        self.desk.reports_asked.take()
    }

    /// Since 1970, by the volume's clock.
    fn unix_now(&self) -> u64 {
        let host = &self.queue.tenancy().io().host;
        host.unix_seconds().max(0) as u64
    }

    pub fn mailboxes(&self) -> &Mailboxes {
        &self.mailboxes
    }

    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// From now on `sender` is notified when a message enters or an administrator wants one tried.
    pub fn wake_with(&self, sender: Arc<Notify>) {
        *self.desk.sender.borrow_mut() = Some(sender);
    }

    /// Something may be due that was not.
    pub fn wake(&self) {
        if let Some(sender) = &*self.desk.sender.borrow() {
            sender.notify_one();
        }
    }

    /// Due messages, none of which is under way; none at all while the volume takes no writes. Late ones come first, whatever room
    /// their site has.
    pub fn due(&self, wanted: &Wanted) -> Vec<Lease> {
        if self.mailboxes.store().volume().refuses().is_some() {
            return Vec::new();
        }
        let mut leases = self.desk.leases.borrow_mut();
        leases.retain(|_, held| held.strong_count() > 0);
        let turn = Turn {
            age_counts: wanted.age_counts,
            warns: wanted.warns,
            count_max: wanted.count_max,
            room: &|site| match self.mailboxes.has_domain(site) {
                true => wanted.here_max,
                false => {
                    let by_route = self.mailboxes.directory().route_of_all(site);
                    let name = by_route.as_ref().and_then(site_of);
                    let room = wanted.rooms.get(name.as_deref().unwrap_or(site));
                    room.copied().unwrap_or(wanted.each_max)
                }
            },
            is_taken: &|id| leases.contains_key(&id),
        };
        let after = &mut *self.desk.turn.borrow_mut();
        let due = self.queue.due_in_turn(wanted.now, &turn, after);
        let lease = |id| {
            let entry: Entry = self.queue.entry(id)?;
            let (mut here, mut routed) = (Vec::new(), HashMap::new());
            for (index, each) in (0u32..).zip(&entry.recipients) {
                if self.mailboxes.has_domain(&queue::site(&each.to.path)) {
                    here.push(index);
                } else if let Some(site) = self.routed(&each.to.path) {
                    routed.insert(index, site);
                }
            }
            let held = Arc::new(());
            leases.insert(id, Arc::downgrade(&held));
            Some(Lease {
                routed,
                here,
                entry,
                _held: held,
            })
        };
        due.into_iter().filter_map(lease).collect()
    }

    /// Everything of the message that waits is due at `now`, and no site is left alone any longer.
    pub async fn retry(&self, id: QueueId, now: UnixSeconds) -> Result<(), QueueFault> {
        self.queue.retry(id, now).await?;
        self.desk.roused.set(true);
        self.wake();
        Ok(())
    }

    /// Has the message wait until it is released (`false`).
    pub async fn hold(&self, id: QueueId, held: bool) -> Result<(), QueueFault> {
        self.queue.hold(id, held).await?;
        self.wake();
        Ok(())
    }

    /// Whether `retry` was called since this was asked last.
    pub fn is_roused(&self) -> bool {
        self.desk.roused.take()
    }

    /// When the next message is to be tried; in the past: one waits for room at its site, or is under way.
    pub fn first_due(&self) -> Option<UnixSeconds> {
        self.queue.first_due()
    }

    /// Notes what came of a try, with the report about it, if there is one, in the same group. `NoEntry`: an administrator took the
    /// message out meanwhile.
    pub async fn settle(
        &self,
        id: QueueId,
        note: Note,
        report: Option<(BodyIn, Envelope)>,
    ) -> Result<(), QueueFault> {
        if let Some(report) = self.queue.settle(id, note, report).await? {
            tracing::info!(target: MESSAGE, queue = report.0, about = id.0, "reported to the sender");
            self.wake();
        }
        Ok(())
    }

    /// The site of the server that a route names for this path.
    fn routed(&self, path: &str) -> Option<String> {
        let address = Address::from_path(path)?;
        let directory = self.mailboxes.directory();
        site_of(&directory.route(address.local(), address.domain())?)
    }

    /// The message's bytes from `at` (less than its length) on, as many as are kept together: half a mebibyte at most. `None`: it is
    /// not in the queue any more.
    pub async fn body(&self, id: QueueId, at: u32) -> Option<Result<Bytes, ReadFault>> {
        let store = self.mailboxes.store();
        let mut read = Err(ReadFault::Damaged);
        for _attempt in 0..STALE_READS_MAX {
            // Reclaim may move it meanwhile.
            let body = self.queue.entry(id)?.body;
            read = async { store.piece(&store.pieces(&body).await?, at).await }.await;
            if read != Err(ReadFault::Stale) {
                break;
            }
        }
        Some(read)
    }

    /// Messages by number, after `after`; for administrators.
    pub fn list(&self, after: Option<QueueId>, count_max: usize) -> Vec<Entry> {
        self.queue.entries(after, count_max)
    }

    /// Whether a sender has it just now.
    pub fn is_under_way(&self, id: QueueId) -> bool {
        let leases = self.desk.leases.borrow();
        leases.get(&id).is_some_and(|held| held.strong_count() > 0)
    }
}

/// What mail by this route shares connections by: `=HOST:PORT`, with ` tls` behind it where TLS is required. No domain begins so.
pub fn site_of(route: &Route) -> Option<String> {
    match route {
        Route::Here => None,
        Route::Host {
            host,
            port,
            needs_tls,
        } => {
            let host = match host.contains(':') {
                true => format!("[{host}]"),
                false => host.clone(),
            };
            let tls = if *needs_tls { " tls" } else { "" };
            Some(format!("={host}:{port}{tls}"))
        }
    }
}

const DAY: u64 = 86_400;

/// RFC 5321 §4.5.4.1: 4 to 5 days at least.
pub const LIFE_S: u64 = 5 * DAY;
/// A message that is not to be answered has no sender who waits for it.
pub const NULL_SENDER_LIFE_S: u64 = 2 * DAY;
/// A sender hears that a message still waits.
pub const WARN_AFTER_S: u64 = 4 * 3_600;

/// When a message that came at `now` warns and expires. `is_null`: it has the null reverse-path.
pub fn lifetimes(now: UnixSeconds, is_null: bool) -> (UnixSeconds, UnixSeconds) {
    let after = |span| UnixSeconds(now.0.saturating_add(span));
    match is_null {
        true => (UnixSeconds(0), after(NULL_SENDER_LIFE_S)),
        false => (after(WARN_AFTER_S), after(LIFE_S)),
    }
}

/// Requests for reports that wait at a time: of administrators.
const REPORTS_ASKED_MAX: usize = 8;

/// Reclaim moves a body once in a pass; passes take long.
const STALE_READS_MAX: usize = 3;

pub(crate) fn mailbox_fault(fault: QueueFault) -> MailboxFault {
    match fault {
        QueueFault::Store(fault) => fault.into(),
        fault @ (QueueFault::Full | QueueFault::NoEntry) => {
            MailboxFault::Unavailable(fault.to_string())
        }
        QueueFault::Refused(why) => MailboxFault::Refused(why),
    }
}

/// Nothing was placed for anybody, and the sender is to come again.
fn is_of_storage(fault: &MailboxFault) -> bool {
    matches!(
        fault,
        MailboxFault::Full
            | MailboxFault::TooLarge
            | MailboxFault::Unavailable(_)
            | MailboxFault::Damaged
            | MailboxFault::Refused(_)
    )
}
