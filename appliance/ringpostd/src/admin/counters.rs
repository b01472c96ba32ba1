//! Where cores leave their counters; asking adds them up.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use ::admin::reply::SourceLine;
use base::Histogram;
use client::imap;
use client::managesieve;
use client::pop3;
use client::relay;
use inbound::receive;
use plan::Service;
use runtime::{Counters, Stalls};
use storage::tallies::Tallies;

/// Where cores leave their counters. Clones share one list.
#[derive(Clone, Default)]
pub struct Metrics {
    shared: Arc<Mutex<Lists>>,
    /// One for all cores.
    scan: Arc<scan::Counters>,
    quarantine: Arc<storage::quarantine::Counters>,
    kept: Arc<storage::kept::Counters>,
}

/// The counters of every core, as they were added.
#[derive(Default)]
pub(crate) struct Lists {
    /// With the service that each listener serves.
    listeners: Vec<(Service, Arc<Counters>)>,
    /// Reception by SMTP and LMTP.
    receivers: Vec<Arc<receive::Counters>>,
    /// Reception by submission.
    submitters: Vec<Arc<receive::Counters>>,
    /// What receivers did with the spool.
    spooled: Vec<Arc<inbound::spool::Counters>>,
    imap: Vec<Arc<imap::Counters>>,
    pop3: Vec<Arc<pop3::Counters>>,
    managesieve: Vec<Arc<managesieve::Counters>>,
    relay: Vec<Arc<relay::Counters>>,
    /// How long tasks kept each core from others, by the core's name.
    pub(crate) cores: Vec<(String, Arc<Stalls>)>,
    /// The memory of messages that all IMAP sessions share; `None` before the first core has it.
    pub(crate) memory: Option<imap::Memory>,
    /// Counts for reports, and their figures.
    tallies: Option<Tallies>,
    /// What people's scripts did; `None`: there is no storage here.
    filter: Option<Arc<storage::filter::Counters>>,
}

/// One service, all cores together.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServiceCount {
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections refused at a bound of ours.
    pub refused: u64,
    /// Connections open now.
    pub open: u64,
    /// Bytes received, as they were on the wire.
    pub bytes_in: u64,
    /// Bytes sent, as they were on the wire.
    pub bytes_out: u64,
    /// Connections that ended in the TLS handshake or by broken TLS.
    pub tls_failures: u64,
    /// Connections that ended at a deadline.
    pub timed_out: u64,
}

/// Messages received, all cores together.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReceivedCount {
    /// Messages answered with 2xx for at least one recipient.
    pub accepted: u64,
    /// Messages and recipients refused for good (5xx).
    pub refused: u64,
    /// Messages and recipients refused for now (4xx).
    pub deferred: u64,
    /// Bytes of the accepted messages, trace fields included.
    pub bytes: u64,
    /// From the end of mail data to the 2xx, of accepted messages.
    pub took: Histogram,
}

impl Metrics {
    /// No counters yet; cores add theirs as they start.
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// What scanners found, all cores together.
    pub fn scan(&self) -> &Arc<scan::Counters> {
        &self.scan
    }

    /// What was over of mail that POP3 clients deleted.
    pub fn kept(&self) -> &Arc<storage::kept::Counters> {
        &self.kept
    }

    /// What left the quarantine.
    pub fn quarantine(&self) -> &Arc<storage::quarantine::Counters> {
        &self.quarantine
    }

    /// A listener on one core. A service has one on every core that serves it.
    pub fn add_listener(&self, service: Service, counters: Arc<Counters>) {
        self.lists().listeners.push((service, counters));
    }

    /// A receiver of SMTP or LMTP on one core.
    pub fn add_receiver(&self, counters: Arc<receive::Counters>) {
        self.lists().receivers.push(counters);
    }

    /// A receiver of submission on one core.
    pub fn add_submitter(&self, counters: Arc<receive::Counters>) {
        self.lists().submitters.push(counters);
    }

    /// What a receiver on one core does with the spool.
    pub fn add_spooled(&self, counters: Arc<inbound::spool::Counters>) {
        self.lists().spooled.push(counters);
    }

    /// One counter of it, all cores together.
    pub(crate) fn spooled_sum(&self, counter: fn(&inbound::spool::Counters) -> &AtomicU64) -> u64 {
        let lists = self.lists();
        let each = lists.spooled.iter();
        each.map(|counters| read(counter(counters))).sum()
    }

    /// The IMAP server of one core.
    pub fn add_imap(&self, counters: Arc<imap::Counters>) {
        self.lists().imap.push(counters);
    }

    /// The POP3 server of one core.
    pub fn add_pop3(&self, counters: Arc<pop3::Counters>) {
        self.lists().pop3.push(counters);
    }

    /// One POP3 counter, all cores together.
    pub(crate) fn pop3_sum(&self, counter: fn(&pop3::Counters) -> &AtomicU64) -> u64 {
        let lists = self.lists();
        let each = lists.pop3.iter();
        each.map(|counters| read(counter(counters))).sum()
    }

    /// The ManageSieve server of one core.
    pub fn add_managesieve(&self, counters: Arc<managesieve::Counters>) {
        self.lists().managesieve.push(counters);
    }

    /// One ManageSieve counter, all cores together.
    pub(crate) fn managesieve_sum(&self, counter: fn(&managesieve::Counters) -> &AtomicU64) -> u64 {
        let lists = self.lists();
        let each = lists.managesieve.iter();
        each.map(|counters| read(counter(counters))).sum()
    }

    /// The relay of one core.
    pub fn add_relay(&self, counters: Arc<relay::Counters>) {
        self.lists().relay.push(counters);
    }

    /// Where counts for reports are gathered.
    pub fn set_tallies(&self, tallies: Tallies) {
        self.lists().tallies = Some(tallies);
    }

    /// Where scripts count what they do.
    pub fn set_filter(&self, counters: Arc<storage::filter::Counters>) {
        self.lists().filter = Some(counters);
    }

    pub(crate) fn filter(&self) -> Option<Arc<storage::filter::Counters>> {
        self.lists().filter.clone()
    }

    pub(crate) fn tallies(&self) -> Option<Tallies> {
        self.lists().tallies.clone()
    }

    /// One counter of sending.
    pub(crate) fn relay_sum(&self, counter: fn(&relay::Counters) -> u64) -> u64 {
        let lists = self.lists();
        lists.relay.iter().map(|counters| counter(counters)).sum()
    }

    /// Every source of mail on its way out; one sender has them.
    pub(crate) fn sources(&self) -> Vec<SourceLine> {
        let lists = self.lists();
        let sources = lists.relay.iter().flat_map(|counters| &counters.sources);
        let line = |of: &relay::counters::SourceCount| SourceLine {
            name: of.name.clone(),
            conversations: read(&of.conversations),
            refused: read(&of.refused),
            unavailable: read(&of.unavailable),
            resting: of.resting.load(Relaxed) as u64,
        };
        sources.map(line).collect()
    }

    /// `name`: as the plan calls the core.
    pub fn add_core(&self, name: &str, stalls: Arc<Stalls>) {
        self.lists().cores.push((name.to_owned(), stalls));
    }

    /// The memory of messages that all cores share.
    pub fn add_memory(&self, memory: imap::Memory) {
        self.lists().memory = Some(memory);
    }

    /// One IMAP counter, all cores together.
    pub(crate) fn imap_sum(&self, counter: fn(&imap::Counters) -> &AtomicU64) -> u64 {
        let lists = self.lists();
        lists
            .imap
            .iter()
            .map(|counters| read(counter(counters)))
            .sum()
    }

    /// How long FETCH commands took, all cores together.
    pub(crate) fn fetches(&self) -> Histogram {
        let mut sum = Histogram::default();
        for counters in &self.lists().imap {
            sum.add(&counters.fetches.read());
        }
        sum
    }

    /// The connections of `service`, all cores together.
    pub fn service(&self, service: Service) -> ServiceCount {
        let mut sum = ServiceCount::default();
        for (_, counters) in self
            .lists()
            .listeners
            .iter()
            .filter(|(of, _)| *of == service)
        {
            sum.accepted += read(&counters.accepted);
            sum.refused += read(&counters.refused);
            sum.open += read(&counters.open);
            sum.bytes_in += read(&counters.bytes_in);
            sum.bytes_out += read(&counters.bytes_out);
            sum.tls_failures += read(&counters.tls_failures);
            sum.timed_out += read(&counters.timed_out);
        }
        sum
    }

    /// What SMTP and LMTP received, all cores together.
    pub fn received(&self) -> ReceivedCount {
        ReceivedCount::of(&self.lists().receivers)
    }

    /// What authentication found: method, outcome, messages.
    pub(crate) fn authenticated(&self) -> Vec<(&'static str, &'static str, u64)> {
        let lists = self.lists();
        let mut sum: Vec<_> = receive::Results::default().all().collect();
        for counters in &lists.receivers {
            for (row, (.., count)) in sum.iter_mut().zip(counters.results.all()) {
                row.2 += count;
            }
        }
        sum
    }

    /// One counter of what was done about it.
    pub(crate) fn results_sum(&self, counter: fn(&receive::Results) -> &AtomicU64) -> u64 {
        let lists = self.lists();
        let each = lists.receivers.iter();
        each.map(|counters| read(counter(&counters.results))).sum()
    }

    /// Messages judged, by class.
    pub(crate) fn judged(&self) -> Vec<(&'static str, u64)> {
        let lists = self.lists();
        let classes = spam::Class::ALL.iter().enumerate();
        let sum = classes.map(|(at, class)| {
            let each = lists.receivers.iter();
            (class.word(), each.map(|of| read(&of.judged[at])).sum())
        });
        sum.collect()
    }

    /// Messages refused as junk.
    pub(crate) fn junk_refused(&self) -> u64 {
        let lists = self.lists();
        let each = lists.receivers.iter();
        each.map(|of| read(&of.junk_refused)).sum()
    }

    /// Messages put into quarantine, by their place in `Why::ALL`.
    pub(crate) fn kept_apart(&self, at: usize) -> u64 {
        let lists = self.lists();
        let each = lists.receivers.iter();
        each.map(|of| read(&of.kept_apart[at])).sum()
    }

    /// What submission received, all cores together.
    pub fn submitted(&self) -> ReceivedCount {
        ReceivedCount::of(&self.lists().submitters)
    }

    /// All lists. Held for a sum at most, never over an await.
    pub(crate) fn lists(&self) -> std::sync::MutexGuard<'_, Lists> {
        self.shared.lock().expect("no holder of this lock panics")
    }
}

impl ReceivedCount {
    fn of(each: &[Arc<receive::Counters>]) -> ReceivedCount {
        let mut sum = ReceivedCount::default();
        for counters in each {
            sum.accepted += read(&counters.accepted);
            sum.refused += read(&counters.refused);
            sum.deferred += read(&counters.deferred);
            sum.bytes += read(&counters.bytes);
            sum.took.add(&counters.took.read());
        }
        sum
    }
}

/// Counters are independent of each other, so relaxed order is enough.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}
