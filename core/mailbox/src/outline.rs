//! What a client learns when it opens a mailbox, kept up to date with the messages so that SELECT does not have to walk them.
//!
//! A mailbox of a hundred thousand messages takes a millisecond to walk, most of it waiting for memory; its outline is a few
//! dozen bytes. It is made when a mailbox is opened for the first time after its messages were loaded, follows deliveries and
//! flags, and is thrown away by what takes messages out, which walks them anyway.

use mail::{Keyword, SystemFlags, Uid};

use crate::limits::KEYWORDS_NOTED_MAX;
use crate::{Message, UidRun};

/// Of a mailbox whose messages are all in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// Ascending; no two can be joined.
    pub runs: Vec<UidRun>,
    /// Index of the first message without \Seen.
    pub first_unseen: Option<usize>,
    /// In the order met, at most `KEYWORDS_NOTED_MAX`; one that no message has any more stays.
    pub keywords: Vec<Keyword>,
}

impl Outline {
    pub fn of(messages: &[Message]) -> Outline {
        let mut outline = Outline::default();
        for (index, message) in messages.iter().enumerate() {
            outline.arrived(index, message);
        }
        outline
    }

    /// `message` is the new last one, at `index`.
    pub fn arrived(&mut self, index: usize, message: &Message) {
        match self.runs.last_mut() {
            Some(run) if run.first.0 + run.count == message.uid.0 => run.count += 1,
            _ => self.runs.push(UidRun {
                first: message.uid,
                count: 1,
            }),
        }
        self.note(index, message);
    }

    /// The flags of the messages at `indexes` changed; `unseen` messages have no \Seen now.
    pub fn flagged(&mut self, messages: &[Message], indexes: &[usize], unseen: u32) {
        for &index in indexes {
            self.note(index, &messages[index]);
        }
        let Some(first) = self.first_unseen else {
            return;
        };
        if unseen == 0 {
            self.first_unseen = None;
        } else if is_seen(&messages[first]) {
            let next = messages[first..]
                .iter()
                .position(|message| !is_seen(message));
            self.first_unseen = next.map(|ahead| first + ahead);
        }
    }

    fn note(&mut self, index: usize, message: &Message) {
        if !is_seen(message) && self.first_unseen.is_none_or(|first| index < first) {
            self.first_unseen = Some(index);
        }
        for keyword in &message.flags.keywords {
            if self.keywords.len() < KEYWORDS_NOTED_MAX && !self.keywords.contains(keyword) {
                self.keywords.push(keyword.clone());
            }
        }
    }

    pub fn memory_bytes(&self) -> usize {
        self.runs.capacity() * size_of::<UidRun>()
            + self.keywords.capacity() * size_of::<Keyword>()
            + self
                .keywords
                .iter()
                .map(|keyword| keyword.as_str().len())
                .sum::<usize>()
    }

    /// What must hold whatever happened since it was made.
    #[cfg(test)]
    pub fn check(&self, messages: &[Message]) {
        let fresh = Outline::of(messages);
        assert_eq!(self.runs, fresh.runs);
        assert_eq!(self.first_unseen, fresh.first_unseen);
        let noted = |keyword| self.keywords.contains(keyword);
        assert!(self.keywords.len() == KEYWORDS_NOTED_MAX || fresh.keywords.iter().all(noted));
    }
}

impl UidRun {
    /// Every UID of the run, ascending.
    pub fn uids(self) -> impl Iterator<Item = Uid> {
        (self.first.0..=self.first.0 + (self.count - 1)).map(Uid)
    }
}

fn is_seen(message: &Message) -> bool {
    message.flags.system.contains(SystemFlags::SEEN)
}
