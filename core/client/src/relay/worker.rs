//! One connection to one destination, from its first message to its last.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use dns::Names;
use runtime::{Dial, Holder};
use storage::owner::Ask;

use super::attempt::Tried;
use super::dane::Demand;
use super::destination::{self, Route};
use super::letter::{Job, Letter};
use super::limits::*;
use super::line::{Line, NoLine};
use super::sender::Shared;
use super::sts::Found;
use super::verdict::{Class, Said, Verdict};

/// What follows for the connection.
enum Next<C> {
    Keep(Line<C>),
    Renew,
    End,
}

impl<K: Ask, N: Names, D: Dial> Shared<K, N, D> {
    /// The caller has counted it.
    pub(super) fn start_worker(self: &Rc<Self>, site: String, is_probe: bool) {
        let shared = self.clone();
        self.caller.host.spawn(Box::pin(async move {
            let mut guard = Guard {
                shared: shared.clone(),
                site: site.clone(),
                is_probe,
            };
            tokio::select! {
                biased;
                () = shared.cut.requested() => {}
                () = shared.work(&site, &mut guard) => {}
            }
        }));
    }

    async fn work(self: &Rc<Self>, name: &str, guard: &mut Guard<K, N, D>) {
        let mut line: Option<Line<D::Connection>> = None;
        loop {
            // until there is nothing to do here, or no way to do it
            if self.stop.is_requested() {
                break;
            }
            // Some servers count, and close on the message after their limit: leaving first costs a handshake, and is not a failure of theirs.
            let is_over = line
                .as_ref()
                .is_some_and(|line| line.carried >= MESSAGES_PER_CONNECTION);
            if is_over && let Some(line) = line.take() {
                line.bye(&self.caller).await;
                continue;
            }
            // Nothing to send now. The connection is kept open for a moment, because mail for one destination tends to come in groups.
            let Some(job) = self.take_job(name) else {
                let Some(mut open) = line.take() else { break };
                match self.idle(name, &mut open).await {
                    Some(true) => line = Some(open),
                    Some(false) => open.bye(&self.caller).await,
                    None => {}
                }
                continue;
            };
            // A line that was opened without any demand on TLS is for reports about TLS alone: no person's mail may slip out on it.
            if !job.letter.entry().terms.is_report
                && let Some(lax) = line.take_if(|line| line.is_lax)
            {
                lax.bye(&self.caller).await;
            }
            let pool = self.pool(name, &job);
            // One of another pool is not for this message.
            if let Some(other) = line.take_if(|line| !line.is_of(&pool)) {
                other.bye(&self.caller).await;
            }
            let (open, job) = match line.take() {
                Some(line) => (line, job),
                None => match self.open(name, job, &pool).await {
                    Some(both) => both,
                    None => break,
                },
            };
            // An open connection is the proof that the site answers. Only so many sites that have not answered may be tried at a time, and this one
            // does not count as such any more.
            guard.proved();
            match self.carry(name, open, job).await {
                Next::Keep(open) => line = Some(open),
                Next::Renew => {}
                Next::End => break,
            }
        }
        if let Some(line) = line {
            line.bye(&self.caller).await;
        }
    }

    /// The sources that this message may come from.
    fn pool(&self, name: &str, job: &Job) -> Vec<usize> {
        let to = match destination::by_route(name) {
            Some((Route::Fixed(server), _)) => server.host,
            _ => name.to_owned(),
        };
        self.caller.sources.pool(&job.letter.entry().from, &to)
    }

    fn take_job(&self, name: &str) -> Option<Job> {
        let mut state = self.state.borrow_mut();
        let site = state.sites.get_mut(name)?;
        // Fewer connections are wanted than there are.
        if site.workers - site.idle > site.limit {
            return None;
        }
        let job = site.jobs.pop_front();
        if site.jobs.is_empty() {
            state.pending.remove(name);
        }
        job
    }

    /// Waits for a job. `Some(true)`: there may be one; `Some(false)`: the time is over; `None`: the connection broke.
    async fn idle(&self, name: &str, line: &mut Line<D::Connection>) -> Option<bool> {
        let bell = {
            let mut state = self.state.borrow_mut();
            let site = state.sites.get_mut(name)?;
            if site.workers - site.idle > site.limit {
                return Some(false);
            }
            site.idle += 1;
            site.bell.clone()
        };
        // Made before anything is awaited: a job that comes between here and the first poll rings, and is not missed.
        let wait = bell.wait();
        let came = tokio::select! {
            biased;
            () = self.stop.requested() => Some(false),
            () = line.breaks() => None,
            () = wait => Some(true),
            () = self.pressed.wait() => Some(false),
            () = self.caller.host.sleep(IDLE) => Some(false),
        };
        if let Some(site) = self.state.borrow_mut().sites.get_mut(name) {
            site.idle -= 1;
        }
        came
    }

    /// A connection for `job`; without one, what is to become of it is settled.
    async fn open(
        self: &Rc<Self>,
        name: &str,
        job: Job,
        pool: &[usize],
    ) -> Option<(Line<D::Connection>, Job)> {
        let by_route = destination::by_route(name);
        let (route, by_route_tls) = match &by_route {
            Some((route, needs_tls)) => (route, *needs_tls),
            None => (&self.route, false),
        };
        let needs_tls = by_route_tls || job.letter.entry().terms.needs_tls;
        // RFC 8460 §5.3.1: a report about TLS must get through where TLS does not work as it should.
        // (The mark is on the message itself, so that it holds for later tries and after a restart.)
        let is_lax = job.letter.entry().terms.is_report;
        let made = async {
            let ours = &self.caller.hostname;
            // A server that the operator names is the operator's to trust.
            let found = match route {
                Route::Exchangers { .. } if !is_lax => {
                    self.policy(name).await.map_err(NoLine::Because)?
                }
                Route::Exchangers { .. } | Route::Fixed(_) | Route::Nowhere => Found::default(),
            };
            let candidates = route.candidates(&self.names, name, ours, found.demanded());
            let candidates = candidates.await.map_err(NoLine::Because);
            let mut seen = Vec::new();
            let opened = match candidates {
                Ok(mut candidates) => {
                    if is_lax {
                        candidates
                            .iter_mut()
                            .for_each(|one| one.demand = Demand::None);
                    }
                    let from = (pool, name);
                    let opened =
                        self.caller
                            .open(&self.dial, &candidates, needs_tls, from, &mut seen);
                    opened.await
                }
                Err(none) => Err(none),
            };
            if matches!(route, Route::Exchangers { .. }) && !is_lax {
                let unnamed = match &opened {
                    Err(NoLine::Because(verdict)) => Some(verdict.said().text.as_str()),
                    _ => None,
                };
                let unnamed = unnamed.filter(|said| said.starts_with("4.7.5"));
                self.count_seen(name, &found, seen, unnamed);
            }
            // The policy that is kept may be out of date: a domain that moved its mail names other hosts in the one that it serves today.
            if let (Err(NoLine::Because(Verdict::Later(..))), Some(desk)) = (&opened, &self.sts)
                && found.is_enforced()
            {
                desk.doubt(name);
            }
            let mut line = opened?;
            line.is_lax = is_lax;
            if by_route_tls && !line.is_secure() {
                line.bye(&self.caller).await;
                let words = "the server offers no TLS, which the route requires";
                let said = Said::ours("4.7.5", words).with_host(name);
                return Err(NoLine::Because(Verdict::Later(Class::Tls, said)));
            }
            Ok(line)
        };
        let made = tokio::select! {
            biased;
            () = self.stop.requested() => return None,
            // Each step has a time-out of its own. This one is for their sum: a domain with many addresses that all hang.
            made = self.caller.host.within(TRY_MAX, made) => made,
        };
        let late = || {
            Verdict::Later(
                Class::Connect,
                Said::ours("4.4.7", "no conversation in an hour"),
            )
        };
        let verdict = match made {
            Some(Ok(line)) => {
                self.counters.conversations.fetch_add(1, Relaxed);
                self.counters
                    .tls_failed
                    .fetch_add(u64::from(line.tls_failed), Relaxed);
                self.counters
                    .proved
                    .fetch_add(u64::from(line.proved), Relaxed);
                return Some((line, job));
            }
            Some(Err(NoLine::Stopping)) => return None,
            // The operator's server: a wrong setting does not make mail bounce.
            Some(Err(NoLine::Because(Verdict::Failed(said)))) if route.is_fixed() => {
                Verdict::Later(Class::Connect, said)
            }
            Some(Err(NoLine::Because(verdict))) => verdict,
            None => late(),
        };
        self.counters.unreached.fetch_add(1, Relaxed);
        let now = self.caller.host.now();
        let jitter = self.random.borrow_mut().u64(..200);
        let mut jobs = vec![job];
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if let Some(site) = state.sites.get_mut(name) {
            // What is said to one pool of sources is not said to the others: their mail is tried on its own.
            let waiting = site.jobs.drain(..);
            let (same, others): (VecDeque<Job>, _) =
                waiting.partition(|job| self.pool(name, job) == pool);
            let is_said_to_all = others.is_empty();
            site.jobs = others;
            // Which messages a verdict is about decides what becomes of those that wait behind this one: they share the destination, and not
            // always the reason.
            match &verdict {
                // About this message, or about us.
                Verdict::Later(Class::Tls | Class::Ours, _) => site.jobs.extend(same),
                Verdict::Later(Class::Closing, _) if site.workers > 1 => {
                    site.is_crowded();
                    site.jobs.extend(jobs.drain(..).chain(same));
                }
                // What else waits stays in the queue, untried.
                Verdict::Later(..) if is_said_to_all => {
                    site.failed(verdict.clone(), true, now, jitter);
                }
                Verdict::Later(..) => {}
                // So it is with all that waits for this domain.
                Verdict::Failed(_) | Verdict::Delivered(_) => jobs.extend(same),
            }
            match site.jobs.is_empty() {
                true => state.pending.remove(name),
                false => state.pending.insert(name.to_owned()),
            };
        }
        for job in jobs {
            let verdicts = job.recipients.iter().map(|index| (*index, verdict.clone()));
            self.note_later(job.letter.clone(), verdicts.collect());
        }
        None
    }

    /// One transaction.
    /// The memory is taken before a byte is read: a thousand destinations that take large mail slowly would otherwise hold their pieces all at once.
    async fn carry(
        self: &Rc<Self>,
        name: &str,
        mut line: Line<D::Connection>,
        job: Job,
    ) -> Next<D::Connection> {
        let entry = job.letter.entry();
        let bytes = (entry.body.raw_bytes as usize * 2 + 4_096).min(TRY_BYTES);
        let tried = async {
            let _charge = self.memory.wait_for(holder(name), bytes).await;
            let read = async |at| self.read(entry.id, at).await;
            line.transact(&self.caller, entry, &job.recipients, read)
                .await
        };
        let tried = self.caller.host.within(TRY_MAX, tried).await;
        let said = || Said::ours("4.4.7", "a try took an hour, and was broken off").with_host(name);
        let (verdicts, next) = match tried {
            Some(Tried::Over(verdicts)) => {
                // Whatever was said of the recipients: a server that ends a transaction properly works, and its pauses start from the shortest again.
                self.with_site(name, |site| site.succeeded());
                (verdicts, Next::Keep(line))
            }
            Some(Tried::Untouched) => {
                let mut state = self.state.borrow_mut();
                if let Some(site) = state.sites.get_mut(name) {
                    site.jobs.push_front(job);
                    state.pending.insert(name.to_owned());
                }
                return Next::Renew;
            }
            Some(Tried::Stopping) => return Next::End,
            Some(Tried::Broken { verdicts, hung }) => {
                let is_asleep = self.broke(name, &verdicts, hung);
                (verdicts, if is_asleep { Next::End } else { Next::Renew })
            }
            None => {
                tracing::warn!(id = entry.id.0, site = name, "a try took too long");
                let later = Verdict::Later(Class::Broken, said());
                let verdicts: Vec<(u32, Verdict)> = job
                    .recipients
                    .iter()
                    .map(|index| (*index, later.clone()))
                    .collect();
                self.broke(name, &verdicts, true);
                (verdicts, Next::End)
            }
        };
        self.note_later(job.letter.clone(), verdicts);
        next
    }

    /// A connection broke; whether the site is left alone now.
    /// The jobs that waited are dropped and not settled: their leases end, and the queue has them untried. So a site that fails costs one try for
    /// one message, however many wait.
    fn broke(&self, name: &str, verdicts: &[(u32, Verdict)], hung: bool) -> bool {
        let Some((_, verdict)) = verdicts.last() else {
            return false;
        };
        // Our own trouble.
        if matches!(verdict, Verdict::Later(Class::Ours, _)) {
            return false;
        }
        let now = self.caller.host.now();
        let jitter = self.random.borrow_mut().u64(..200);
        let mut state = self.state.borrow_mut();
        let Some(site) = state.sites.get_mut(name) else {
            return false;
        };
        let is_asleep = site.failed(verdict.clone(), hung, now, jitter);
        if is_asleep {
            site.jobs.clear();
            state.pending.remove(name);
        }
        is_asleep
    }

    fn with_site(&self, name: &str, change: impl FnOnce(&mut super::site::Site)) {
        if let Some(site) = self.state.borrow_mut().sites.get_mut(name) {
            change(site);
        }
    }

    /// Notes it beside the next message.
    /// A commit takes milliseconds in which the connection would stand idle.
    fn note_later(self: &Rc<Self>, letter: Rc<Letter>, verdicts: Vec<(u32, Verdict)>) {
        let shared = self.clone();
        self.task(async move { shared.settle(&letter, verdicts).await });
    }
}

/// A worker is counted until it ends, however that comes.
struct Guard<K, N, D> {
    shared: Rc<Shared<K, N, D>>,
    site: String,
    is_probe: bool,
}

impl<K, N, D> Guard<K, N, D> {
    /// The site answers: this is a probe no longer.
    fn proved(&mut self) {
        if std::mem::take(&mut self.is_probe) {
            self.shared.state.borrow_mut().probes -= 1;
        }
    }
}

impl<K, N, D> Drop for Guard<K, N, D> {
    fn drop(&mut self) {
        self.proved();
        let mut state = self.shared.state.borrow_mut();
        state.workers -= 1;
        if let Some(site) = state.sites.get_mut(&self.site) {
            site.workers -= 1;
        }
        self.shared
            .counters
            .connections
            .store(state.workers, Relaxed);
        drop(state);
        self.shared.ended.ring();
    }
}

/// Whose share of the memory a destination's messages use.
fn holder(name: &str) -> Holder {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    Holder(hasher.finish())
}
