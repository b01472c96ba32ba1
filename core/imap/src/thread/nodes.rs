//! Step 1 of REFERENCES: messages and the ids that others refer to, linked as they say.

use crate::limits::{THREAD_STEPS_MIN, THREAD_STEPS_PER_NODE};

use super::NONE;

/// A message, or an id that others refer to.
#[derive(Clone, Copy)]
pub(super) struct Node {
    /// The node above it.
    pub parent: u32,
    /// Its message, by the place in the order of adding.
    pub message: u32,
    /// Leads to the name of the set of nodes that it was ever linked with: nodes of two sets are in two trees.
    pub set: u32,
}

/// All of them, and how often a step up was made to find loops.
#[derive(Default)]
pub(super) struct Nodes {
    pub all: Vec<Node>,
    pub steps: u64,
}

impl Nodes {
    /// The next message. `own` is the node of its id, where it has one; `chain` those of what it refers to, the last one its parent.
    pub fn link(&mut self, message: u32, own: Option<u32>, chain: &[u32]) {
        let node = match own {
            Some(node) if self.all[node as usize].message == NONE => node,
            // Without an id of its own, or with one that an earlier message has.
            _ => self.new_node(),
        };
        self.all[node as usize].message = message;
        for pair in chain.windows(2) {
            let [above, below] = [pair[0], pair[1]];
            if self.all[below as usize].parent == NONE {
                self.set_parent(below, above);
            }
        }
        // The message itself is the better witness: what others said of its parent counts no more.
        self.all[node as usize].parent = NONE;
        if let Some(&parent) = chain.last() {
            self.set_parent(node, parent);
        }
    }

    pub fn new_node(&mut self) -> u32 {
        let node = self.all.len() as u32;
        self.all.push(Node {
            parent: NONE,
            message: NONE,
            set: node,
        });
        node
    }

    /// Links `child`, which has no parent, below `parent`, except where a loop would follow.
    pub fn set_parent(&mut self, child: u32, parent: u32) {
        if child == parent {
            return;
        }
        let (one, other) = (self.set_of(child), self.set_of(parent));
        // In two trees there is nothing to look for, and that is nearly always so.
        if one == other && self.is_above(child, parent) {
            return;
        }
        self.all[child as usize].parent = parent;
        self.all[one as usize].set = other;
    }

    /// Whether `node` is found on the way up from `from`; also answered yes when too many steps were made.
    fn is_above(&mut self, node: u32, from: u32) -> bool {
        let steps_max = THREAD_STEPS_MIN + THREAD_STEPS_PER_NODE * self.all.len() as u64;
        let mut here = from;
        while here != NONE {
            if here == node || self.steps >= steps_max {
                return true;
            }
            self.steps += 1;
            here = self.all[here as usize].parent;
        }
        false
    }

    /// The name of the set that a node is in; the way to it becomes shorter.
    fn set_of(&mut self, mut node: u32) -> u32 {
        loop {
            // until a node that names its own set
            let above = self.all[node as usize].set;
            if above == node {
                return node;
            }
            let next = self.all[above as usize].set;
            self.all[node as usize].set = next;
            node = next;
        }
    }
}
