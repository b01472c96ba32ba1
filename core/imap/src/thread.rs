//! THREAD (RFC 5256 §3): messages as trees, by subject or by the References field.
//!
//! What must hold: nothing here recurses, for a discussion of a hundred thousand messages is one chain; the work for one message is in
//! proportion to its header; `memory_bytes` is never less than what is held. A `Threader` may go to another thread between two messages.

mod forest;
mod ids;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use mail::InternalDate;
use mail::header;
use mail::summary::EnvelopeFields;
use mail::text::{casemap, decoded_value};

use crate::limits::{REFERENCES_MAX, THREAD_STEPS_MIN, THREAD_STEPS_PER_NODE};
use crate::sort::sent;
use crate::subject::base_subject;

use forest::Forest;
use ids::{first_id, ids};

/// How THREAD finds out what belongs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadAlgorithm {
    /// By base subject, the earliest first and all others below it.
    OrderedSubject,
    /// By References and In-Reply-To, then by base subject.
    References,
}

impl ThreadAlgorithm {
    /// Each with its word.
    pub const ALL: [(&'static str, ThreadAlgorithm); 2] = [
        ("ORDEREDSUBJECT", ThreadAlgorithm::OrderedSubject),
        ("REFERENCES", ThreadAlgorithm::References),
    ];

    /// Its word on the wire.
    pub fn word(self) -> &'static str {
        let named = ThreadAlgorithm::ALL.iter().find(|(_, one)| *one == self);
        named.expect("all are listed").0
    }
}

/// A text as two hashes with keys of this process. Ids and subjects are only ever compared for equality.
type Print = (u64, u64);

/// A message, or none: what only others refer to.
const NONE: u32 = u32::MAX;

/// What is kept of a message.
struct Kept {
    /// When it was sent.
    date: i64,
    /// Of the base subject; `None`: it is empty.
    subject: Option<Print>,
    is_reply: bool,
}

/// A message, or an id that others refer to.
#[derive(Clone, Copy)]
struct Node {
    /// The node above it.
    parent: u32,
    /// Its message, by the place in the order of adding.
    message: u32,
    /// Leads to the name of the set of nodes that it was ever linked with: nodes of two sets are in two trees.
    set: u32,
}

/// Gathers what links messages, then puts the trees together.
pub struct Threader {
    algorithm: ThreadAlgorithm,
    messages: Vec<Kept>,
    nodes: Vec<Node>,
    by_id: HashMap<Print, u32>,
    hashers: [RandomState; 2],
    /// How often a step up was made to find loops.
    steps: u64,
    /// For mapped subjects.
    room: Vec<u8>,
}

/// What a table of prints takes for each entry: half of it may be empty, and it is there twice while it grows.
const ENTRY_BYTES: usize = 3 * (size_of::<(Option<Print>, u32)>() + 1);
/// Of a node: itself, its entry in `by_id`, and its links in the forest.
const NODE_BYTES: usize = 2 * size_of::<Node>() + ENTRY_BYTES + 5 * size_of::<u32>();
/// Of a message: what is kept of it (twice while the list grows), its place in the order by date, its entry among the subjects, and its number
/// in the answer with brackets.
const MESSAGE_BYTES: usize = 2 * size_of::<Kept>() + 4 * size_of::<u32>() + ENTRY_BYTES + 32;

impl Threader {
    pub fn new(algorithm: ThreadAlgorithm) -> Threader {
        Threader {
            algorithm,
            messages: Vec::new(),
            nodes: Vec::new(),
            by_id: HashMap::new(),
            hashers: [RandomState::new(), RandomState::new()],
            steps: 0,
            room: Vec::new(),
        }
    }

    /// The next message, in the order of message numbers. `header` holds at least Date, Subject, Message-ID, In-Reply-To and References.
    pub fn add(&mut self, internal_date: InternalDate, header: &[u8]) {
        let envelope = EnvelopeFields::of(header);
        let subject = envelope.subject.as_deref().unwrap_or_default();
        let subject = decoded_value(subject);
        let base = base_subject(&subject);
        self.room.clear();
        casemap(&base.text, &mut self.room);
        let print = (!self.room.is_empty()).then(|| self.print(&self.room));
        self.messages.push(Kept {
            date: sent(&envelope, internal_date),
            subject: print,
            is_reply: base.is_reply,
        });
        if self.algorithm == ThreadAlgorithm::References {
            self.link(&envelope, header);
        }
    }

    /// What it holds, and what `trees` adds to that.
    pub fn memory_bytes(&self) -> usize {
        self.messages.len() * MESSAGE_BYTES + self.nodes.len() * NODE_BYTES
    }

    /// The list of threads as THREAD answers it, `(2)(3 6 (4 23)(44 7 96))`; `number` gives each message, by its place, its number or UID.
    pub fn trees(self, number: impl Fn(u32) -> u32) -> Vec<u8> {
        let Threader {
            algorithm,
            messages,
            mut nodes,
            ..
        } = self;
        let forest = match algorithm {
            ThreadAlgorithm::OrderedSubject => Forest::by_subject(&messages),
            ThreadAlgorithm::References => Forest::by_references(&messages, &mut nodes),
        };
        forest.written(number)
    }

    /// Step 1 of REFERENCES.
    fn link(&mut self, envelope: &EnvelopeFields<'_>, header: &[u8]) {
        let message = self.messages.len() as u32 - 1;
        let own = envelope.message_id.as_deref().and_then(first_id);
        let node = match own.map(|id| self.node_of(&id)) {
            Some(node) if self.nodes[node as usize].message == NONE => node,
            // Without an id of its own, or with one that an earlier message has.
            _ => self.new_node(),
        };
        self.nodes[node as usize].message = message;
        let references = header::value(header, "References");
        let references = references.as_deref().unwrap_or_default();
        let count = ids(references).count();
        let mut last = None;
        for id in ids(references).skip(count.saturating_sub(REFERENCES_MAX)) {
            let next = self.node_of(&id);
            if let Some(last) = last
                && self.nodes[next as usize].parent == NONE
            {
                self.set_parent(next, last);
            }
            last = Some(next);
        }
        if last.is_none() {
            let reply_to = envelope.in_reply_to.as_deref().and_then(first_id);
            last = reply_to.map(|id| self.node_of(&id));
        }
        // The message itself is the better witness: what others said of its parent counts no more.
        self.nodes[node as usize].parent = NONE;
        if let Some(parent) = last {
            self.set_parent(node, parent);
        }
    }

    /// The node of an id, made where there is none.
    fn node_of(&mut self, id: &[u8]) -> u32 {
        let print = self.print(id);
        if let Some(&node) = self.by_id.get(&print) {
            return node;
        }
        let node = self.new_node();
        self.by_id.insert(print, node);
        node
    }

    fn new_node(&mut self) -> u32 {
        let node = self.nodes.len() as u32;
        self.nodes.push(Node {
            parent: NONE,
            message: NONE,
            set: node,
        });
        node
    }

    /// Links `child`, which has no parent, below `parent`, except where a loop would follow.
    fn set_parent(&mut self, child: u32, parent: u32) {
        if child == parent {
            return;
        }
        let (one, other) = (self.set_of(child), self.set_of(parent));
        // In two trees there is nothing to look for, and that is nearly always so.
        if one == other && self.is_above(child, parent) {
            return;
        }
        self.nodes[child as usize].parent = parent;
        self.nodes[one as usize].set = other;
    }

    /// Whether `node` is found on the way up from `from`; also answered yes when too many steps were made.
    fn is_above(&mut self, node: u32, from: u32) -> bool {
        let steps_max = THREAD_STEPS_MIN + THREAD_STEPS_PER_NODE * self.nodes.len() as u64;
        let mut here = from;
        while here != NONE {
            if here == node || self.steps >= steps_max {
                return true;
            }
            self.steps += 1;
            here = self.nodes[here as usize].parent;
        }
        false
    }

    /// The name of the set that a node is in; the way to it becomes shorter.
    fn set_of(&mut self, mut node: u32) -> u32 {
        loop {
            // until a node that names its own set
            let above = self.nodes[node as usize].set;
            if above == node {
                return node;
            }
            let next = self.nodes[above as usize].set;
            self.nodes[node as usize].set = next;
            node = next;
        }
    }

    fn print(&self, bytes: &[u8]) -> Print {
        let [one, other] = &self.hashers;
        (one.hash_one(bytes), other.hash_one(bytes))
    }
}

#[cfg(test)]
mod tests;
