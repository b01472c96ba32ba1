//! One reclaim pass: which bodies in its segments are wanted, who refers to them, and where they moved.

use std::collections::HashMap;

use mail::Uid;
use store::BodyRef;
use volume::{RecordAddress, SegmentIndex};

use crate::{MailboxId, Message};

/// From the mark to the last relocation.
pub struct Pass {
    segments: Vec<SegmentIndex>,
    pub wanted: HashMap<RecordAddress, Wanted>,
    /// Old place of a body to its new reference.
    pub moved: HashMap<RecordAddress, BodyRef>,
}

/// A body in the segments, and where references to it are or were.
pub struct Wanted {
    pub body: BodyRef,
    pub places: Vec<(MailboxId, Uid)>,
}

impl Pass {
    pub fn new(segments: &[SegmentIndex]) -> Pass {
        Pass {
            segments: segments.to_vec(),
            wanted: HashMap::new(),
            moved: HashMap::new(),
        }
    }

    pub fn note(&mut self, mailbox: MailboxId, uid: Uid, body: &BodyRef) {
        if body.may_lie_in(&self.segments) {
            let wanted = self.wanted.entry(body.body);
            let wanted = wanted.or_insert_with(|| Wanted {
                body: body.clone(),
                places: Vec::new(),
            });
            wanted.places.push((mailbox, uid));
        }
    }

    pub fn note_placed(&mut self, mailbox: MailboxId, messages: &[Message]) {
        messages
            .iter()
            .for_each(|message| self.note(mailbox, message.uid, &message.body));
    }

    pub fn moved(&self, body: &BodyRef) -> Option<&BodyRef> {
        self.moved.get(&body.body)
    }
}
