//! The trees of one THREAD, put together and written.
//!
//! All lists of siblings are in the order of their dates without being sorted one by one: messages are gone through in that order
//! once, and each goes to the end of its list. Only a tree's top may be a node without a message.

use std::collections::HashMap;

use crate::respond::put_number;

use super::nodes::Node;
use super::{Kept, NONE};

/// Lists of siblings, linked through the nodes.
pub(super) struct Forest {
    /// The first and the last child of each node, and the next sibling.
    first: Vec<u32>,
    last: Vec<u32>,
    next: Vec<u32>,
    /// The message of each node; `NONE` for a top without one.
    message: Vec<u32>,
    tops: Vec<u32>,
}

impl Forest {
    /// ORDEREDSUBJECT: each node is a message. Subjects are numbers below `texts`.
    pub fn by_subject(messages: &[Kept], texts: usize) -> Forest {
        let mut forest = Forest::of((0..messages.len() as u32).collect());
        // Behind the others the tree of all messages without a subject.
        let mut tops = vec![NONE; texts + 1];
        for message in by_date(messages, 0..messages.len() as u32) {
            let subject = messages[message as usize].subject as usize;
            let top = &mut tops[subject.min(texts)];
            match *top {
                NONE => {
                    *top = message;
                    forest.tops.push(message);
                }
                top => forest.append(top, message),
            }
        }
        forest
    }

    /// Steps 2 to 6 of REFERENCES. Subjects are numbers below `texts`.
    pub fn by_references(messages: &[Kept], nodes: &mut Vec<Node>, texts: usize) -> Forest {
        let mut node_of = vec![NONE; messages.len()];
        for (node, found) in nodes.iter().enumerate() {
            if found.message != NONE {
                node_of[found.message as usize] = node as u32;
            }
        }
        let order = by_date(messages, 0..messages.len() as u32);
        let order: Vec<u32> = order.map(|message| node_of[message as usize]).collect();
        prune(nodes, &order);
        gather(messages, nodes, &order, texts);
        // 6
        let mut forest = Forest::of(nodes.iter().map(|node| node.message).collect());
        for &node in &order {
            match nodes[node as usize].parent {
                NONE => forest.tops.push(node),
                parent => {
                    let is_first = forest.first[parent as usize] == NONE;
                    // A top without a message stands where its first child would.
                    if is_first && nodes[parent as usize].message == NONE {
                        forest.tops.push(parent);
                    }
                    forest.append(parent, node);
                }
            }
        }
        forest
    }

    fn of(message: Vec<u32>) -> Forest {
        Forest {
            first: vec![NONE; message.len()],
            last: vec![NONE; message.len()],
            next: vec![NONE; message.len()],
            message,
            tops: Vec::new(),
        }
    }

    /// Adds `node` behind the children of `parent`.
    fn append(&mut self, parent: u32, node: u32) {
        match self.last[parent as usize] {
            NONE => self.first[parent as usize] = node,
            last => self.next[last as usize] = node,
        }
        self.last[parent as usize] = node;
    }

    /// RFC 5256 §4 thread-list, one for each top.
    pub fn written(&self, number: impl Fn(u32) -> u32) -> Vec<u8> {
        let mut out = Vec::new();
        for &top in &self.tops {
            // The next sibling of each list that is open; the tree's own is closed last.
            let mut open = Vec::new();
            self.put_chain(top, &number, &mut open, &mut out);
            while let Some(next) = open.pop() {
                if next == NONE {
                    out.push(b')');
                    continue;
                }
                open.push(self.next[next as usize]);
                self.put_chain(next, &number, &mut open, &mut out);
            }
        }
        out
    }

    /// `(` and a message with its only child, and its only child …, then `)`; or, where there are several, `open` says what follows.
    fn put_chain(
        &self,
        top: u32,
        number: &impl Fn(u32) -> u32,
        open: &mut Vec<u32>,
        out: &mut Vec<u8>,
    ) {
        out.push(b'(');
        let mut node = top;
        loop {
            // each turn goes down by one
            let message = self.message[node as usize];
            if message != NONE {
                if !out.ends_with(b"(") {
                    out.push(b' ');
                }
                put_number(out, number(message));
            }
            let child = self.first[node as usize];
            if child == NONE {
                return out.push(b')');
            }
            if self.next[child as usize] == NONE {
                node = child;
                continue;
            }
            if message != NONE {
                out.push(b' ');
            }
            return open.push(child);
        }
    }
}

/// By the date, and those of one date by their number.
fn by_date(messages: &[Kept], all: std::ops::Range<u32>) -> impl Iterator<Item = u32> {
    let mut order: Vec<u32> = all.collect();
    order.sort_unstable_by_key(|&message| (messages[message as usize].date, message));
    order.into_iter()
}

/// Steps 2 and 3: every parent becomes a message, or a top without one that has several children.
fn prune(nodes: &mut [Node], order: &[u32]) {
    // Of a node without a message: the message above it, or else the top of its tree.
    let mut above = vec![NONE; nodes.len()];
    let mut way = Vec::new();
    for node in 0..nodes.len() as u32 {
        let mut here = node;
        // Up to what is known already: each node is passed once.
        let found = loop {
            if nodes[here as usize].message != NONE || above[here as usize] != NONE {
                break match nodes[here as usize].message {
                    NONE => above[here as usize],
                    _ => here,
                };
            }
            way.push(here);
            match nodes[here as usize].parent {
                NONE => break here,
                parent => here = parent,
            }
        };
        for passed in way.drain(..) {
            above[passed as usize] = found;
        }
    }
    let mut children = vec![0u32; nodes.len()];
    for &node in order {
        let parent = nodes[node as usize].parent;
        if parent != NONE && nodes[parent as usize].message == NONE {
            let found = above[parent as usize];
            nodes[node as usize].parent = found;
            children[found as usize] += 1;
        }
    }
    for &node in order {
        let parent = nodes[node as usize].parent;
        if parent != NONE
            && nodes[parent as usize].message == NONE
            && children[parent as usize] == 1
        {
            nodes[node as usize].parent = NONE;
        }
    }
}

/// Steps 4 and 5: trees with the same subject become one.
fn gather(messages: &[Kept], nodes: &mut Vec<Node>, order: &[u32], texts: usize) {
    // 4: the tops by date, each with the message that stands for it.
    let mut tops: Vec<(u32, u32)> = Vec::new();
    let mut seen = vec![false; nodes.len()];
    for &node in order {
        match nodes[node as usize].parent {
            NONE => tops.push((node, node)),
            parent if nodes[parent as usize].message == NONE && !seen[parent as usize] => {
                seen[parent as usize] = true;
                tops.push((parent, node));
            }
            _ => {}
        }
    }
    drop(seen);
    let of = |nodes: &[Node], node: u32| &messages[nodes[node as usize].message as usize];
    let is_dummy = |nodes: &[Node], node: u32| nodes[node as usize].message == NONE;
    // 5.B
    let mut table = vec![NONE; texts];
    for &(top, first) in &tops {
        let subject = of(nodes, first).subject;
        if subject == NONE {
            continue;
        }
        let known = &mut table[subject as usize];
        if *known == NONE {
            *known = top;
        }
        if is_dummy(nodes, *known) {
            continue;
        }
        if is_dummy(nodes, top) || (of(nodes, *known).is_reply && !of(nodes, top).is_reply) {
            *known = top;
        }
    }
    // 5.C
    let mut moved: HashMap<u32, u32> = HashMap::new();
    for &(top, first) in &tops {
        let subject = of(nodes, first).subject;
        if subject == NONE {
            continue;
        }
        // 5.B has put one there.
        let known = table[subject as usize];
        if known == top {
            continue;
        }
        match (is_dummy(nodes, known), is_dummy(nodes, top)) {
            (true, true) => drop(moved.insert(top, known)),
            (true, false) => nodes[top as usize].parent = known,
            (false, _) if of(nodes, top).is_reply && !of(nodes, known).is_reply => {
                nodes[top as usize].parent = known;
            }
            (false, _) => {
                let both = nodes.len() as u32;
                nodes.push(Node {
                    parent: NONE,
                    message: NONE,
                    set: both,
                });
                nodes[top as usize].parent = both;
                nodes[known as usize].parent = both;
                table[subject as usize] = both;
            }
        }
    }
    for &node in order {
        if let Some(&known) = moved.get(&nodes[node as usize].parent) {
            nodes[node as usize].parent = known;
        }
    }
}
