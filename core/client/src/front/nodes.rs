//! The storage nodes behind a front: who holds which mailbox, what clients may be offered, and what is counted. Shared by the cores of a box.
//!
//! What must hold: a name that no table has is unknown only where every table is fresh; else it is not known who holds it, and the login is put off (I12).

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::Time;
use inbound::afar::{Holds, Table};
use rustls::pki_types::ServerName;

use super::preface::Offered;
use crate::login::audit::Protocol;

/// One storage node.
pub struct Node {
    /// Its door for fronts.
    pub address: SocketAddr,
    /// What its certificate must name.
    pub name: ServerName<'static>,
    /// Where it serves its table of recipients.
    pub recipients: SocketAddr,
    pub table: Table,
    state: Mutex<State>,
    /// By protocol, in the order of `Protocol::ALL`: sessions that were passed on since the start, …
    passed: [AtomicU64; 4],
    /// … and those that are open.
    open: [AtomicU64; 4],
    /// Logins that it refused.
    pub refused: AtomicU64,
    /// Logins that could not be decided because it did not answer as it should.
    pub failed: AtomicU64,
    /// Sessions that it broke off in the middle.
    pub broken: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Why it does not answer; empty while it does.
    trouble: String,
    offered: Option<Offered>,
}

/// What is shown of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    pub is_up: bool,
    /// Why it does not answer; empty while it does.
    pub trouble: String,
}

impl Node {
    pub fn new(
        address: SocketAddr,
        name: ServerName<'static>,
        recipients: SocketAddr,
        table: Table,
    ) -> Node {
        Node {
            address,
            name,
            recipients,
            table,
            state: Mutex::default(),
            passed: Default::default(),
            open: Default::default(),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            broken: AtomicU64::new(0),
        }
    }

    /// For people: `192.0.2.7:2426 (storage1.example.org)`.
    pub fn label(&self) -> String {
        format!("{} ({})", self.address, self.name.to_str())
    }

    pub fn state(&self) -> NodeState {
        let state = self.locked();
        NodeState {
            is_up: state.trouble.is_empty(),
            trouble: state.trouble.clone(),
        }
    }

    pub fn passed(&self, protocol: Protocol) -> u64 {
        self.passed[place(protocol)].load(Relaxed)
    }

    pub fn open(&self, protocol: Protocol) -> u64 {
        self.open[place(protocol)].load(Relaxed)
    }

    pub(super) fn works(&self) {
        let mut state = self.locked();
        if !state.trouble.is_empty() {
            tracing::info!(node = %self.label(), "the storage node works again");
            state.trouble.clear();
        }
    }

    pub(super) fn fails(&self, why: &str) {
        let mut state = self.locked();
        if state.trouble.is_empty() {
            tracing::warn!(node = %self.label(), why, "the storage node does not work: its people cannot log in");
        }
        why.clone_into(&mut state.trouble);
    }

    pub(super) fn offers(&self, offered: Offered) {
        self.locked().offered = Some(offered);
    }

    fn is_up(&self) -> bool {
        self.locked().trouble.is_empty()
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves it whole: each change is one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(protocol: Protocol) -> usize {
    let at = Protocol::ALL.iter().position(|one| *one == protocol);
    at.expect("all are there")
}

/// Who is asked about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The index of the node that holds the mailbox, or of one that will refuse the name: it takes as long as for a wrong password, counts the failure, and
    /// writes it into its audit.
    Node(usize),
    /// It cannot be said who holds it.
    Unknown,
}

/// All of them. Clones are the same.
#[derive(Clone)]
pub struct Nodes {
    all: Arc<[Node]>,
}

impl Nodes {
    /// At least one.
    pub fn new(all: Vec<Node>) -> Nodes {
        assert!(!all.is_empty(), "the plan names one");
        Nodes { all: all.into() }
    }

    pub fn all(&self) -> &[Node] {
        &self.all
    }

    /// Where `user` logs in. While a mailbox moves two tables may have it: a fresh one counts before an old one, then the order of the settings.
    pub(super) fn find(&self, user: &[u8], now: Time) -> Found {
        let user = String::from_utf8_lossy(user);
        let said: Vec<Holds> = self
            .all
            .iter()
            .map(|node| node.table.holds(&user, now))
            .collect();
        let first = |what: Holds| said.iter().position(|said| *said == what);
        if let Some(index) = first(Holds::Account).or_else(|| first(Holds::Perhaps)) {
            return Found::Node(index);
        }
        if said.contains(&Holds::Unknown) {
            return Found::Unknown;
        }
        let working = || self.all.iter().position(Node::is_up);
        Found::Node(first(Holds::Listed).or_else(working).unwrap_or(0))
    }

    /// What clients are offered before it is known who they are: what every node offers that has answered. `None`: none has.
    pub(super) fn offered(&self) -> Option<Offered> {
        let mut all = self
            .all
            .iter()
            .filter_map(|node| node.locked().offered.clone());
        let first = all.next()?;
        Some(all.fold(first, |sum, next| sum.and(&next)))
    }
}

/// A session that is passed on counts for as long as it lives.
pub(super) struct Passed {
    nodes: Nodes,
    index: usize,
    protocol: Protocol,
}

impl Passed {
    pub fn to(nodes: &Nodes, index: usize, protocol: Protocol) -> Passed {
        let (node, at) = (&nodes.all[index], place(protocol));
        node.passed[at].fetch_add(1, Relaxed);
        node.open[at].fetch_add(1, Relaxed);
        Passed {
            nodes: nodes.clone(),
            index,
            protocol,
        }
    }

    pub fn node(&self) -> &Node {
        &self.nodes.all[self.index]
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        self.node().open[place(self.protocol)].fetch_sub(1, Relaxed);
    }
}
