//! Deliveries whose answer was lost: the sender's next try goes out under the id of the first, so that storage places it once.
//!
//! A try is known again by its sender, its recipients and its content without the trace fields that we put in front, which are others at each try.
//! A transaction is taken for the next try only while an earlier one is in doubt. So another message with the same bytes keeps its own copy, except in
//! place of a next try that never comes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::{BodyName, Time};
use mail::header;
use queue::DeliveryId;

use super::limits::{DOUBT_FOR, DOUBTS_MAX};

/// Shared by the cores of a box, for the next try may come to any.
#[derive(Clone, Default)]
pub struct Doubts {
    shared: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    doubtful: HashMap<Key, Doubt>,
    /// Oldest first; may name what is settled.
    order: VecDeque<(Key, Time)>,
}

/// One transaction, over its tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

/// What may have been placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doubt {
    pub id: DeliveryId,
    /// Which storage node may have it: its index.
    pub target: usize,
    since: Time,
}

impl Key {
    /// `part`: what else tells it from others of the same message.
    pub fn of(raw: &[u8], from: &str, recipients: &[String], part: &[u8]) -> Key {
        let mut paths: Vec<String> = recipients.iter().map(|to| to.to_lowercase()).collect();
        paths.sort_unstable();
        let mut text = BodyName::of(as_it_came(raw)).0.to_vec();
        for word in std::iter::once(from).chain(paths.iter().map(String::as_str)) {
            text.extend_from_slice(word.as_bytes());
            // No path has it.
            text.push(0);
        }
        text.extend_from_slice(part);
        Key(BodyName::of(&text).0)
    }
}

impl Doubts {
    pub(super) fn recall(&self, key: &Key, now: Time) -> Option<Doubt> {
        let known = self.known();
        let doubt = known.doubtful.get(key)?;
        let is_young = now.since_us(doubt.since) <= DOUBT_FOR.as_micros() as u64;
        is_young.then_some(*doubt)
    }

    /// The end of data is about to be sent.
    pub(super) fn note(&self, key: Key, id: DeliveryId, target: usize, now: Time) {
        let mut known = self.known();
        let doubt = Doubt {
            id,
            target,
            since: now,
        };
        known.doubtful.insert(key, doubt);
        known.order.push_back((key, now));
        while known.order.len() > DOUBTS_MAX {
            // Ends: each turn takes one out.
            let Some((key, since)) = known.order.pop_front() else {
                return;
            };
            // One that was noted again has a later place too.
            if known
                .doubtful
                .get(&key)
                .is_some_and(|doubt| doubt.since == since)
            {
                known.doubtful.remove(&key);
            }
        }
    }

    /// It was answered for good.
    pub(super) fn settle(&self, key: &Key) {
        let mut known = self.known();
        known.doubtful.remove(key);
        if known.doubtful.is_empty() {
            known.order.clear();
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.known().doubtful.len()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere leaves it whole: each change is one step.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the fields in front that this box writes. A field of the sender's that has such a name may go with them: at each try the same.
fn as_it_came(raw: &[u8]) -> &[u8] {
    let (mut at, mut is_received) = (0, false);
    for field in header::fields(raw) {
        // Ends with the header.
        let is_ours = match field.name {
            name if name.eq_ignore_ascii_case(b"Received") => {
                !std::mem::replace(&mut is_received, true)
            }
            name => {
                let starts = |word: &[u8]| {
                    name.get(..word.len())
                        .is_some_and(|head| head.eq_ignore_ascii_case(word))
                };
                starts(b"Return-Path")
                    || starts(b"Authentication-Results")
                    || starts(b"X-Ringpost-")
            }
        };
        if !is_ours {
            break;
        }
        at += field.raw.len();
    }
    &raw[at..]
}
