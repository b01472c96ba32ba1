//! THREAD (RFC 5256 §3): messages as trees, by subject or by the References field.
//!
//! `links` has what may be kept from one THREAD to the next.
//!
//! What must hold: nothing here recurses, for a discussion of a hundred thousand messages is one chain; the work for one message is in
//! proportion to its header; `memory_bytes` is never less than what is held. A `Threader` may go to another thread between two messages.

mod forest;
mod ids;
pub mod links;
mod nodes;

use mail::InternalDate;
use mail::header::{self, Text};
use mail::text::{casemap, decoded_value};

use crate::limits::REFERENCES_MAX;
use crate::sort::sent;
use crate::subject::base_subject;

use forest::Forest;
use ids::{first_id, ids};
use links::{Links, Row};
use nodes::{Node, Nodes};

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

/// A message, a node or a text, or none: what only others refer to.
const NONE: u32 = u32::MAX;

/// What is known of a message, by the place in the order of adding.
struct Kept {
    /// When it was sent.
    date: i64,
    /// The number of its base subject; `NONE`: that is empty.
    subject: u32,
    is_reply: bool,
}

/// Gathers what links messages, then puts the trees together.
pub struct Threader {
    algorithm: ThreadAlgorithm,
    links: Links,
    /// For mapped subjects.
    room: Vec<u8>,
}

/// Of a node: itself, its place by the number of its id, and its links in the forest.
const NODE_BYTES: usize = 2 * size_of::<Node>() + 7 * size_of::<u32>();
/// Of a text, be it an id or a subject: its entry in the table (half of it may be empty, and it is there twice while it grows), its node, and
/// its tree by subject.
const TEXT_BYTES: usize = 3 * links::ENTRY_BYTES + NODE_BYTES + size_of::<u32>();
/// Of a message: what is known of it (twice while the list grows), its place in the order by date, the node of one without an id, and its number
/// in the answer with brackets.
const MESSAGE_BYTES: usize =
    2 * size_of::<Row>() + size_of::<Kept>() + 5 * size_of::<u32>() + NODE_BYTES + 32;

/// The fields that count here.
const FIELDS: [&str; 5] = ["Date", "Subject", "Message-ID", "In-Reply-To", "References"];

impl Threader {
    pub fn new(algorithm: ThreadAlgorithm) -> Threader {
        Threader {
            algorithm,
            links: Links::default(),
            room: Vec::new(),
        }
    }

    /// The next message, in the order of message numbers. `header` holds at least Date, Subject, Message-ID, In-Reply-To and References.
    pub fn add(&mut self, internal_date: InternalDate, header: &[u8]) {
        let [date, subject, id, reply_to, references] = values(header);
        let subject = subject.unwrap_or_default();
        let subject = decoded_value(&subject);
        let base = base_subject(&subject);
        self.room.clear();
        casemap(&base.text, &mut self.room);
        let links = &mut self.links;
        let subject = match self.room.is_empty() {
            true => NONE,
            false => links.number(&self.room),
        };
        let own = id.as_deref().and_then(first_id);
        let own = own.map_or(NONE, |id| links.number(&id));
        let references = references.as_deref().unwrap_or_default();
        let count = ids(references).count();
        for id in ids(references).skip(count.saturating_sub(REFERENCES_MAX)) {
            links.refer(&id);
        }
        if count == 0 {
            let reply_to = reply_to.as_deref().and_then(first_id);
            if let Some(id) = reply_to {
                links.refer(&id);
            }
        }
        links.push(
            sent(date.as_deref(), internal_date),
            (subject, base.is_reply),
            own,
        );
    }

    /// What it holds, and what `trees` adds to that.
    pub fn memory_bytes(&self) -> usize {
        self.links.len() * MESSAGE_BYTES
            + self.links.texts() * TEXT_BYTES
            + 2 * self.links.references() * size_of::<u32>()
    }

    /// The list of threads as THREAD answers it, `(2)(3 6 (4 23)(44 7 96))`; `number` gives each message, by its place, its number or UID.
    pub fn trees(self, number: impl Fn(u32) -> u32) -> Vec<u8> {
        let all = 0..self.links.len() as u32;
        trees(&self.links, self.algorithm, all, number)
    }

    /// What was added; `uids` are those of the messages, in the order of adding, and ascend.
    pub fn links(self, uids: Vec<u32>) -> Links {
        self.links.of(uids)
    }
}

/// The first of each of `FIELDS`, unfolded.
fn values(header: &[u8]) -> [Option<Text<'_>>; FIELDS.len()] {
    let mut values = [const { None }; FIELDS.len()];
    for field in header::fields(header) {
        let is_named = |name: &&str| field.name.eq_ignore_ascii_case(name.as_bytes());
        if let Some(at) = FIELDS.iter().position(is_named)
            && values[at].is_none()
        {
            values[at] = Some(header::unfold(field.value));
        }
    }
    values
}

/// The trees of the messages in `rows`, which ascend; `number` is asked with their places among these.
fn trees(
    links: &Links,
    algorithm: ThreadAlgorithm,
    rows: impl Iterator<Item = u32>,
    number: impl Fn(u32) -> u32,
) -> Vec<u8> {
    let rows: Vec<u32> = rows.collect();
    let kept = |&row: &u32| links.row(row).kept();
    let messages: Vec<Kept> = rows.iter().map(kept).collect();
    let forest = match algorithm {
        ThreadAlgorithm::OrderedSubject => Forest::by_subject(&messages, links.texts()),
        ThreadAlgorithm::References => {
            let mut nodes = linked(links, &rows).all;
            Forest::by_references(&messages, &mut nodes, links.texts())
        }
    };
    forest.written(number)
}

/// Step 1 of REFERENCES.
fn linked(links: &Links, rows: &[u32]) -> Nodes {
    let mut nodes = Nodes::default();
    let mut of_text = vec![NONE; links.texts()];
    let mut node_of = |nodes: &mut Nodes, text: u32| {
        let node = &mut of_text[text as usize];
        if *node == NONE {
            *node = nodes.new_node();
        }
        *node
    };
    let mut chain = Vec::new();
    for (message, &row) in rows.iter().enumerate() {
        let own = links.row(row).own;
        let own = (own != NONE).then(|| node_of(&mut nodes, own));
        chain.clear();
        let ids = links.chain(row).iter();
        chain.extend(ids.map(|&id| node_of(&mut nodes, id)));
        nodes.link(message as u32, own, &chain);
    }
    nodes
}

#[cfg(test)]
mod tests;
