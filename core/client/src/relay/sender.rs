//! The loop that empties the queue, on one core: takes what is due, sorts it by destination, and has connections made for it.
//!
//! What must hold:
//! - A message is given up, noted as delivered, or due again: whatever happens to a task here, its lease ends with it.
//! - What is in hand is bounded, and half of it is for destinations that answer: dead ones wait for each other only.
//! - A destination that fails is left alone for a while, and what waits for it stays in the queue untried.
//! - Every wait ends: each step of a conversation has a deadline, each try one more, and a stop cuts off what is left.
//!
//! Start reading at `run`, then `worker.rs`.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use base::Time;
use base::host::Bell;
use dns::Names;
use queue::UnixSeconds;
use runtime::{Budget, Dial, SessionHost, Stop};
use storage::outgoing::{Lease, Wanted};
use storage::owner::Ask;
use storage::tallies::Tallies;
use tokio::sync::Notify;

use super::age::Age;
use super::counters::{Counters, SourceCount};
use super::destination::Route;
use super::letter::{Count, Job, Letter};
use super::limits::*;
use super::line::Caller;
use super::site::Site;
use super::source::{Source, Sources};
use super::sts;
use super::verdict::{Class, Said, Verdict};
use crate::signing::Signing;

/// How a sender sends.
#[derive(Clone)]
pub struct Settings {
    /// Our name, for EHLO and reports.
    pub hostname: String,
    pub route: Route,
    /// For STARTTLS; `None`: it is not used.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Policies of domains (MTA-STS); `None`: they are not looked up.
    pub sts: Option<sts::Settings>,
    /// Where conversations come from; empty: from what the system chooses, under `hostname`.
    pub sources: Vec<Source>,
    /// Connections at a time; at most `limits::CONNECTIONS_MAX`.
    pub connections_max: usize,
    /// The order of jitter and marks.
    pub seed: u64,
}

/// Sends what is in the queue. Lives on one core; a volume has one.
pub struct Sender<K, N, D> {
    shared: Rc<Shared<K, N, D>>,
}

pub(super) struct Shared<K, N, D> {
    pub owner: K,
    pub names: N,
    pub dial: D,
    pub caller: Caller,
    pub route: Route,
    pub connections_max: usize,
    /// Of content on its way; with shares, one for each destination.
    pub memory: Budget,
    pub stop: Stop,
    /// Requested when the patience after a stop is over.
    pub cut: Stop,
    pub counters: Arc<Counters>,
    pub age: Age,
    /// There was no room for a report: none is written until then.
    pub reports_from: Cell<Time>,
    pub random: RefCell<fastrand::Rng>,
    pub signing: Signing,
    pub sts: Option<sts::Desk>,
    /// Where conversations are counted for reports; empty: they are not.
    pub tallies: OnceCell<Tallies>,
    pub state: RefCell<State>,
    pub letters: Count,
    /// Tasks that note something or deliver here.
    pub tasks: Rc<Cell<usize>>,
    /// Rung when a worker or a task ended.
    pub ended: Bell,
    /// Rung when all connections are in use and more are wanted: those that idle are let go.
    pub pressed: Bell,
}

#[derive(Default)]
pub(super) struct State {
    pub sites: BTreeMap<String, Site>,
    /// Those with jobs.
    pub pending: BTreeSet<String>,
    /// The last site that was given a worker.
    turn: String,
    pub workers: usize,
    /// Of them, those of sites that are not known to answer.
    pub probes: usize,
}

impl<K: Ask, N: Names, D: Dial> Sender<K, N, D> {
    /// `memory`: for content on its way, in which a share holds at least `TRY_BYTES`.
    pub fn new(
        host: SessionHost,
        (owner, names, dial): (K, N, D),
        memory: Budget,
        settings: Settings,
        stop: Stop,
    ) -> Sender<K, N, D> {
        let each = settings.sources.iter();
        let counters = Arc::new(Counters {
            sources: each.map(|source| SourceCount::of(&source.name)).collect(),
            ..Counters::default()
        });
        let sources = Sources::new(settings.sources, counters.clone());
        let caller = Caller {
            host,
            hostname: settings.hostname,
            sources: Rc::new(sources),
            tls: settings.tls,
            authorities: settings.sts.as_ref().map(|sts| sts.authorities.clone()),
            counters: counters.clone(),
        };
        Sender {
            shared: Rc::new(Shared {
                owner,
                names,
                dial,
                caller,
                route: settings.route,
                connections_max: settings.connections_max.min(CONNECTIONS_MAX),
                memory,
                stop,
                cut: Stop::new(),
                counters,
                age: Age::new(),
                reports_from: Cell::default(),
                random: RefCell::new(fastrand::Rng::with_seed(settings.seed)),
                signing: Signing::default(),
                sts: settings.sts.map(sts::Desk::new),
                tallies: OnceCell::new(),
                state: RefCell::default(),
                letters: Count::default(),
                tasks: Rc::default(),
                ended: Bell::new(),
                pressed: Bell::new(),
            }),
        }
    }

    /// The same, and conversations are counted for reports to the domains of the servers.
    pub fn counting(self, tallies: Tallies) -> Sender<K, N, D> {
        let is_first = self.shared.tallies.set(tallies).is_ok();
        assert!(is_first, "a sender counts in one place");
        self
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// Sends until the stop that `new` was given is requested; then what is under way has `STOP_PATIENCE` to end.
    pub async fn run(&self) {
        let shared = &self.shared;
        let host = &shared.caller.host;
        let wake = Arc::new(Notify::new());
        let mut is_known = false;
        while !shared.stop.is_requested() {
            // until the stop
            let round = async {
                if !is_known {
                    let wake = wake.clone();
                    let told = shared.owner.ask_outgoing(|outgoing| async move {
                        outgoing.wake_with(wake);
                    });
                    is_known = told.await.is_ok();
                }
                let changed = (shared.letters.bell.wait(), shared.ended.wait());
                let pause = shared.look().await;
                shared.start_workers();
                host.sleep(LOOK_REST).await;
                tokio::select! {
                    biased;
                    () = wake.notified() => {}
                    () = changed.0 => {}
                    () = changed.1 => {}
                    () = host.sleep(pause) => {}
                }
            };
            tokio::select! {
                biased;
                () = shared.stop.requested() => break,
                () = round => {}
            }
        }
        // What waits in hand is due again at once; what is under way may end.
        shared.state.borrow_mut().let_go();
        let patience = async {
            while shared.state.borrow().workers > 0 || shared.tasks.get() > 0 {
                shared.ended.wait().await;
            }
        };
        if host.within(STOP_PATIENCE, patience).await.is_none() {
            tracing::info!("tries that did not end are cut off; their messages are tried again");
        }
        shared.cut.request();
    }
}

impl State {
    fn let_go(&mut self) {
        for site in self.sites.values_mut() {
            site.jobs.clear();
            site.bell.ring();
        }
        self.pending.clear();
    }

    /// The site of that name, which is remembered from now on.
    fn site(&mut self, name: &str) -> &mut Site {
        if !self.sites.contains_key(name) {
            if self.sites.len() >= SITES_MAX {
                self.sites.retain(|_, site| site.is_busy());
            }
            self.sites.insert(name.to_owned(), Site::new());
        }
        self.sites.get_mut(name).expect("it is there now")
    }
}

impl<K: Ask, N: Names, D: Dial> Shared<K, N, D> {
    pub(super) fn unix_now(&self) -> UnixSeconds {
        let host = &self.caller.host;
        let seconds = host.unix_seconds();
        self.age.look(host.now(), seconds);
        UnixSeconds(seconds.max(0) as u64)
    }

    /// The age of messages is a reason to give them up. It is not while their senders cannot hear of it.
    pub(super) fn age_counts(&self) -> bool {
        self.warns() && self.age.counts(self.caller.host.now())
    }

    /// Senders hear what waits for long.
    pub(super) fn warns(&self) -> bool {
        self.caller.host.now() >= self.reports_from.get()
    }

    /// Takes due messages, as many as there is room for. Answers when to look again if nothing happens.
    async fn look(self: &Rc<Self>) -> Duration {
        let Some(wanted) = self.wanted() else {
            return LOOK_EVERY;
        };
        let now = wanted.now;
        let due = self.owner.ask_outgoing(move |outgoing| async move {
            let leases = outgoing.due(&wanted);
            (leases, outgoing.first_due(), outgoing.is_roused())
        });
        // Busy: the next look is soon.
        let Ok((leases, first_due, is_roused)) = due.await else {
            return LOOK_EVERY;
        };
        for lease in leases {
            self.sort(lease);
        }
        self.counters.in_hand.store(self.letters.get(), Relaxed);
        if is_roused {
            let mut state = self.state.borrow_mut();
            state.sites.values_mut().for_each(Site::wake);
            return Duration::ZERO;
        }
        match first_due.map_or(LOOK_EVERY_IDLE.as_secs(), |at| at.0.saturating_sub(now.0)) {
            0 => LOOK_EVERY,
            seconds => Duration::from_secs(seconds).min(LOOK_EVERY_IDLE),
        }
    }

    fn wanted(&self) -> Option<Wanted> {
        let count_max = LETTERS_MAX
            .saturating_sub(self.letters.get())
            .min(LOOK_LETTERS_MAX);
        if count_max == 0 {
            return None;
        }
        let now = self.caller.host.now();
        let unix_now = self.unix_now();
        let (age_counts, warns) = (self.age_counts(), self.warns());
        let state = self.state.borrow();
        let probes: usize = state
            .sites
            .values()
            .filter(|site| !site.answers)
            .map(|site| site.jobs.len())
            .sum();
        let probe_room = LETTERS_MAX / PROBES_SHARE;
        let is_room = probes + state.probes < probe_room;
        let each_max = if is_room { PROBE_LETTERS_MAX } else { 0 };
        let room = |site: &Site| match site.answers || is_room {
            true => site.room(now),
            false => 0,
        };
        let asleep = state
            .sites
            .values()
            .filter(|site| site.is_asleep(now))
            .count();
        self.counters.asleep.store(asleep, Relaxed);
        Some(match &self.route {
            Route::Exchangers { .. } => Wanted {
                now: unix_now,
                age_counts,
                warns,
                count_max,
                each_max,
                here_max: HERE_LETTERS_MAX,
                rooms: state
                    .sites
                    .iter()
                    .map(|(name, site)| (name.clone(), room(site)))
                    .collect(),
            },
            Route::Nowhere => Wanted {
                now: unix_now,
                age_counts,
                warns,
                count_max: count_max.min(HERE_LETTERS_MAX),
                each_max: 0,
                here_max: HERE_LETTERS_MAX,
                rooms: HashMap::new(),
            },
            // One site behind all names.
            Route::Fixed(_) => {
                let name = self.route.site("");
                let room = state.sites.get(&name).map_or(PROBE_LETTERS_MAX, room);
                Wanted {
                    now: unix_now,
                    age_counts,
                    warns,
                    count_max: count_max.min(room + HERE_LETTERS_MAX),
                    each_max: room,
                    here_max: HERE_LETTERS_MAX,
                    rooms: HashMap::new(),
                }
            }
        })
    }

    /// Gives each recipient that is due to its destination.
    fn sort(self: &Rc<Self>, lease: Lease) {
        let letter = Letter::new(lease, &self.letters);
        let entry = letter.entry();
        let now = self.unix_now();
        let is_late = entry.expires <= now && self.age_counts();
        let mut groups: HashMap<String, Vec<u32>> = HashMap::new();
        let mut here = Vec::new();
        let due = entry
            .waiting()
            .filter(|(_, at)| queue::is_due(*at, now) || is_late);
        let due: Vec<u32> = due.map(|(index, _)| index).collect();
        if entry.terms.is_unsigned && !due.is_empty() {
            let shared = self.clone();
            return self.task(async move { shared.sign_first(letter, due).await });
        }
        for index in due {
            if letter.is_here(index) {
                here.push(index);
                continue;
            }
            let site = match (letter.routed(index), &self.route) {
                (Some(site), Route::Exchangers { .. }) => site.to_owned(),
                _ => queue::site(&entry.recipients[index as usize].to.path),
            };
            groups.entry(site).or_default().push(index);
        }
        let mut verdicts = Vec::new();
        // In an order that does not depend on a table's.
        let mut groups: Vec<(String, Vec<u32>)> = groups.into_iter().collect();
        groups.sort();
        if let Route::Fixed(_) = self.route {
            let all: Vec<u32> = groups.drain(..).flat_map(|(_, some)| some).collect();
            if !all.is_empty() {
                groups.push((self.route.site(""), all));
            }
        }
        for (name, some) in groups {
            if name.is_empty() {
                let said = Said::ours("5.1.3", "the address has no domain");
                verdicts.extend(
                    some.into_iter()
                        .map(|index| (index, Verdict::Failed(said.clone()))),
                );
                continue;
            }
            verdicts.extend(self.give(&letter, name, some));
        }
        if !here.is_empty() {
            let (shared, letter) = (self.clone(), letter.clone());
            self.task(async move { shared.deliver_here(letter, here).await });
        }
        let is_warned = entry.warns.0 > 0 && entry.warns <= now && !entry.warned;
        if !verdicts.is_empty() || is_warned && self.warns() {
            let shared = self.clone();
            self.task(async move { shared.settle(&letter, verdicts).await });
        }
    }

    /// Gives recipients to their destination. Answers what is known of them if it is left alone just now.
    pub(super) fn give(
        &self,
        letter: &Rc<Letter>,
        name: String,
        some: Vec<u32>,
    ) -> Vec<(u32, Verdict)> {
        let mut state = self.state.borrow_mut();
        let site = state.site(&name);
        if site.is_asleep(self.caller.host.now()) {
            // Its time is over, or its sender is to hear: what is known of the site is the answer.
            let unknown = || Verdict::Later(Class::Connect, Said::ours("4.4.1", "no answer"));
            let known = site.last.clone().unwrap_or_else(unknown);
            let verdict = |index| (index, known.clone());
            return some.into_iter().map(verdict).collect();
        }
        for recipients in some.chunks(RECIPIENTS_PER_TRANSACTION) {
            site.jobs.push_back(Job {
                letter: letter.clone(),
                recipients: recipients.to_vec(),
            });
        }
        site.bell.ring();
        state.pending.insert(name);
        Vec::new()
    }

    /// Runs beside everything else, until it ends or is cut off.
    pub(super) fn task(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        self.tasks.set(self.tasks.get() + 1);
        let shared = self.clone();
        self.caller.host.spawn(Box::pin(async move {
            tokio::select! {
                biased;
                () = task => {}
                () = shared.cut.requested() => {}
            }
            shared.tasks.set(shared.tasks.get() - 1);
            shared.ended.ring();
        }));
    }

    /// Has connections made for what waits, as many as there may be; the sites take turns.
    fn start_workers(self: &Rc<Self>) {
        let now = self.caller.host.now();
        let names: Vec<String> = {
            let state = self.state.borrow();
            let behind = state.pending.iter().filter(|name| **name > state.turn);
            let before = state.pending.iter().filter(|name| **name <= state.turn);
            behind.chain(before).cloned().collect()
        };
        for name in names {
            loop {
                // until it has what it may have
                let mut state = self.state.borrow_mut();
                let state = &mut *state;
                if state.workers >= self.connections_max {
                    self.pressed.ring();
                    return;
                }
                let probes_max = (self.connections_max / PROBES_SHARE).max(1);
                let Some(site) = state.sites.get_mut(&name) else {
                    break;
                };
                if site.jobs.is_empty() {
                    state.pending.remove(&name);
                    break;
                }
                let is_probe = !site.answers;
                if site.wants(now) == 0 || is_probe && state.probes >= probes_max {
                    break;
                }
                site.workers += 1;
                state.workers += 1;
                state.probes += usize::from(is_probe);
                state.turn.clone_from(&name);
                self.counters.connections.store(state.workers, Relaxed);
                self.start_worker(name.clone(), is_probe);
            }
        }
    }
}
