//! The storage nodes that mail can be handed over to: which of them work, and which is asked next. Shared by the cores of a box.
//!
//! What must hold: a node that failed gets no mail until a probe reached it; when none works, none is asked, and senders are deferred at once.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::Time;
use rustls::pki_types::ServerName;

use super::limits::{DOWN_MAX, DOWN_MIN};

/// How a storage node is spoken to; always over TLS from the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Lmtp,
    Smtp,
    Qmqp,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Lmtp => "lmtp",
            Protocol::Smtp => "smtp",
            Protocol::Qmqp => "qmqp",
        }
    }
}

/// One storage node.
#[derive(Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub protocol: Protocol,
    /// What its certificate must name.
    pub name: ServerName<'static>,
    /// The lowest that works is asked.
    pub priority: u16,
    /// Its share among those of one priority; at least 1.
    pub weight: u16,
    /// Where it serves the table of recipients.
    pub recipients: Option<SocketAddr>,
    health: Mutex<Health>,
    /// Messages that it took.
    pub taken: AtomicU64,
    /// Messages that it did not take, for whatever reason.
    pub failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Health {
    /// In a row.
    failures: u32,
    /// It failed, and is probed at this time.
    probed_at: Option<Time>,
    why: String,
}

/// What is shown of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetState {
    pub is_up: bool,
    /// Failures in a row.
    pub failures: u32,
    /// Of the last one; empty while it works.
    pub why: String,
}

impl Target {
    pub fn new(
        address: SocketAddr,
        protocol: Protocol,
        name: ServerName<'static>,
        priority: u16,
        weight: u16,
        recipients: Option<SocketAddr>,
    ) -> Target {
        Target {
            address,
            protocol,
            name,
            priority,
            weight: weight.max(1),
            recipients,
            health: Mutex::default(),
            taken: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// For people: `192.0.2.7:2424 (lmtp, storage1.example.org)`.
    pub fn label(&self) -> String {
        let name = self.name.to_str();
        format!("{} ({}, {name})", self.address, self.protocol.name())
    }

    pub fn state(&self) -> TargetState {
        let health = self.health();
        TargetState {
            is_up: health.probed_at.is_none(),
            failures: health.failures,
            why: health.why.clone(),
        }
    }

    /// It answered as it should.
    pub(super) fn works(&self) {
        let mut health = self.health();
        if health.probed_at.is_some() {
            tracing::info!(target = %self.label(), "the storage node works again");
        }
        *health = Health::default();
    }

    /// It did not.
    pub(super) fn fails(&self, why: &str, now: Time) {
        let mut health = self.health();
        // Conversations of one time break off together: that is one failure, and the next is a probe's.
        if health.probed_at.is_some_and(|at| now < at) {
            return;
        }
        if health.probed_at.is_none() {
            tracing::warn!(target = %self.label(), why, "the storage node does not work: it gets no mail until a probe reaches it");
        }
        let doubled = DOWN_MIN.saturating_mul(1 << health.failures.min(16));
        let wait = doubled.min(DOWN_MAX);
        health.failures = health.failures.saturating_add(1);
        health.probed_at = Some(now.after_us(wait.as_micros() as u64));
        why.clone_into(&mut health.why);
    }

    pub(super) fn is_up(&self) -> bool {
        self.health().probed_at.is_none()
    }

    /// It failed, and it is time to look whether it works again.
    pub(super) fn is_to_be_probed(&self, now: Time) -> bool {
        self.health().probed_at.is_some_and(|at| at <= now)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        // A panic elsewhere leaves it whole: each change is one step.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them. Clones are the same.
#[derive(Debug, Clone)]
pub struct Targets {
    all: Arc<[Target]>,
}

impl Targets {
    /// At least one.
    pub fn new(all: Vec<Target>) -> Targets {
        assert!(!all.is_empty(), "the plan names one");
        Targets { all: all.into() }
    }

    pub fn all(&self) -> &[Target] {
        &self.all
    }

    pub(super) fn any_up(&self) -> bool {
        self.all.iter().any(Target::is_up)
    }

    /// Those that work, in the order in which they are asked: by priority, and within one by weight and chance. `first`: the one that is asked before
    /// all others, if it works.
    pub(super) fn order(&self, first: Option<usize>, draw: impl Fn() -> u64) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.all.len())
            .filter(|index| self.all[*index].is_up())
            .collect();
        left.sort_by_key(|index| self.all[*index].priority);
        let mut order = Vec::with_capacity(left.len());
        if let Some(at) = left.iter().position(|index| Some(*index) == first) {
            order.push(left.remove(at));
        }
        while let Some(index) = left.first() {
            // Ends: each turn takes one out.
            let priority = self.all[*index].priority;
            let same = left.iter().map(|index| &self.all[*index]);
            let same = same.take_while(|target| target.priority == priority);
            let weights: Vec<u64> = same.map(|target| u64::from(target.weight)).collect();
            let mut at = draw() % weights.iter().sum::<u64>();
            let mut chosen = 0;
            while at >= weights[chosen] {
                at -= weights[chosen];
                chosen += 1;
            }
            order.push(left.remove(chosen));
        }
        order
    }

    pub(super) fn count(&self, index: usize, is_taken: bool) {
        let target = &self.all[index];
        let counter = match is_taken {
            true => &target.taken,
            false => &target.failed,
        };
        counter.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(priority: u16, weight: u16) -> Target {
        let name = ServerName::try_from("storage.example.org").expect("a name");
        let address = SocketAddr::from(([192, 0, 2, 1], 2424));
        Target::new(address, Protocol::Lmtp, name, priority, weight, None)
    }

    #[test]
    fn the_lowest_priority_that_works_is_asked_first() {
        let targets = Targets::new(vec![target(2, 1), target(1, 1), target(1, 9)]);
        assert_eq!(targets.order(None, || 0), [1, 2, 0]);
        assert_eq!(targets.order(None, || 1), [2, 1, 0], "by weight");
        assert_eq!(targets.order(Some(0), || 0), [0, 1, 2]);
        targets.all()[1].fails("it is gone", Time(0));
        assert_eq!(targets.order(Some(1), || 0), [2, 0]);
        targets.all()[1].works();
        assert_eq!(targets.order(None, || 0), [1, 2, 0]);
    }

    #[test]
    fn weights_are_shares() {
        let targets = Targets::new(vec![target(1, 1), target(1, 3)]);
        let firsts = (0..4u64).map(|draw| targets.order(None, || draw)[0]);
        assert_eq!(firsts.collect::<Vec<_>>(), [0, 1, 1, 1]);
    }

    /// All conversations with it break off at once when it restarts.
    #[test]
    fn failures_at_one_time_are_one() {
        let target = target(1, 1);
        for _ in 0..32 {
            target.fails("it closed", Time(5));
        }
        assert!(target.is_to_be_probed(Time(5).after_us(1_000_000)));
        assert_eq!(target.state().failures, 1);
    }

    #[test]
    fn a_node_that_fails_is_probed_later_and_later() {
        let target = target(1, 1);
        let mut now = Time(0);
        for wait_s in [1, 2, 4, 8, 16, 30, 30] {
            target.fails("it is gone", now);
            assert!(
                !target.is_up() && !target.is_to_be_probed(now.after_us(wait_s * 1_000_000 - 1))
            );
            now = now.after_us(wait_s * 1_000_000);
            assert!(target.is_to_be_probed(now), "{wait_s}");
        }
        assert_eq!(target.state().failures, 7);
        assert_eq!(target.state().why, "it is gone");
        target.works();
        assert!(target.is_up() && !target.is_to_be_probed(now));
        assert!(target.state().why.is_empty());
    }
}
