//! Deliveries whose answer was lost: the sender's next try goes out under the id of the first, so that storage places it once.
//!
//! A try is known again by its sender, its recipients and its content without the trace fields that we put in front, which are others at each try.
//! A transaction is taken for the next try only while an earlier one is in doubt. So another message with the same bytes keeps its own copy, except in
//! place of a next try that never comes. One that is under way is not in doubt yet: a second one meanwhile is another message, and has an id of its own.
//!
//! A message that the node's spool took is handed over from there under the id of its bytes and recipients (`delivery_id`). That is the id of its direct try, except where
//! this try went on under the id of an earlier one: then the doubt goes with the message, and is that of its hand-over. It is lost at a restart, and the id
//! of the bytes is not.
//!
//! What must hold: only what is in doubt takes room here for longer than its try; past `DOUBTS_MAX` the oldest doubt is forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::{BodyName, Time};
use mail::header;
use queue::DeliveryId;

use super::limits::{DOUBT_FOR, DOUBT_HOLDS_FOR, DOUBTS_MAX};

/// Shared by the cores of a box, for the next try may come to any.
#[derive(Clone, Default)]
pub struct Doubts {
    shared: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// Tries under way, and what is in doubt. Mostly one for each key: more where the same message came several times at once.
    tries: HashMap<Key, Vec<Try>>,
    /// What is in doubt, in the order in which that began.
    doubtful: BTreeMap<u64, Key>,
    /// The number of the next try.
    next: u64,
}

/// One transaction, over its tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

#[derive(Debug, Clone, Copy)]
struct Try {
    number: u64,
    id: DeliveryId,
    /// The storage node that may have it, and since when; `None`: no end of data was sent under this id.
    sent: Option<Sent>,
    is_under_way: bool,
}

/// Which storage node may have a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// Its index.
    pub target: usize,
    since: Time,
}

impl Sent {
    /// No other storage node is asked yet.
    pub fn holds(&self, now: Time) -> bool {
        now.since_us(self.since) < DOUBT_HOLDS_FOR.as_micros() as u64
    }
}

impl Key {
    /// `is_whole`: for all of its recipients or for none, which tells it from others of the same message.
    pub fn of(raw: &[u8], from: &str, recipients: &[String], is_whole: bool) -> Key {
        let mut paths: Vec<String> = recipients.iter().map(|to| to.to_lowercase()).collect();
        paths.sort_unstable();
        let mut text = BodyName::of(as_it_came(raw)).0.to_vec();
        for word in std::iter::once(from).chain(paths.iter().map(String::as_str)) {
            text.extend_from_slice(word.as_bytes());
            // No path has it.
            text.push(0);
        }
        text.push(u8::from(is_whole));
        Key(BodyName::of(&text).0)
    }

    /// The hand-over of a message from the spool, which no sender tries again.
    pub fn of_spool(id: DeliveryId) -> Key {
        Key(BodyName::of(&[&b"spool"[..], &id.0].concat()).0)
    }
}

impl Doubts {
    /// Begins a try: under the id of one that is in doubt, or under `id`.
    pub(super) fn begin(&self, key: Key, id: DeliveryId, now: Time) -> Begun {
        let mut known = self.known();
        let begun = match known.in_doubt(&key, now) {
            Some(earlier) => {
                earlier.is_under_way = true;
                *earlier
            }
            None => {
                let number = known.next;
                known.next += 1;
                let new = Try {
                    number,
                    id,
                    sent: None,
                    is_under_way: true,
                };
                known.tries.entry(key).or_default().push(new);
                new
            }
        };
        known.doubtful.remove(&begun.number);
        Begun {
            doubts: self.clone(),
            key,
            number: begun.number,
            id: begun.id,
            sent: begun.sent,
        }
    }

    /// The spool is about to take a message, whose hand-over has the id `own`. A doubt about it is that of this hand-over from now on, and of no next try.
    pub(super) fn goes_to_spool(&self, key: Key, own: DeliveryId, now: Time) {
        let mut known = self.known();
        let Some(earlier) = known.in_doubt(&key, now).copied() else {
            return;
        };
        known.forget(&key, earlier.number);
        known.put(Key::of_spool(own), earlier);
    }

    /// It did not: the doubt is that of the sender's next try again.
    pub(super) fn stays_out(&self, key: Key, own: DeliveryId, now: Time) {
        let mut known = self.known();
        let of_spool = Key::of_spool(own);
        if let Some(earlier) = known.in_doubt(&of_spool, now).copied() {
            known.forget(&of_spool, earlier.number);
            known.put(key, earlier);
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

impl Known {
    fn of(&mut self, key: &Key, number: u64) -> Option<&mut Try> {
        let mut tries = self.tries.get_mut(key)?.iter_mut();
        tries.find(|each| each.number == number)
    }

    /// What is in doubt, under another key.
    fn put(&mut self, key: Key, doubt: Try) {
        self.tries.entry(key).or_default().push(doubt);
        self.doubtful.insert(doubt.number, key);
    }

    fn in_doubt(&mut self, key: &Key, now: Time) -> Option<&mut Try> {
        let is_young = |sent: &Sent| now.since_us(sent.since) <= DOUBT_FOR.as_micros() as u64;
        let mut tries = self.tries.get_mut(key)?.iter_mut();
        tries.find(|each| !each.is_under_way && each.sent.as_ref().is_some_and(is_young))
    }

    fn forget(&mut self, key: &Key, number: u64) {
        self.doubtful.remove(&number);
        if let Some(tries) = self.tries.get_mut(key) {
            tries.retain(|each| each.number != number);
            if tries.is_empty() {
                self.tries.remove(key);
            }
        }
    }
}

/// A try under way. Where it ends without `settle`, also because its caller gave it up, what was sent is in doubt from then on.
pub(super) struct Begun {
    doubts: Doubts,
    key: Key,
    number: u64,
    pub id: DeliveryId,
    /// Of earlier tries.
    pub sent: Option<Sent>,
}

impl Begun {
    /// The end of data is about to be sent.
    pub fn note(&self, target: usize, now: Time) {
        let mut known = self.doubts.known();
        if let Some(own) = known.of(&self.key, self.number) {
            let is_same = own.sent.is_some_and(|sent| sent.target == target);
            if !is_same {
                own.sent = Some(Sent { target, since: now });
            }
        }
    }

    /// It was answered for good.
    pub fn settle(self) {
        self.doubts.known().forget(&self.key, self.number);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut known = self.doubts.known();
        match known.of(&self.key, self.number) {
            // It was settled.
            None => return,
            Some(own) if own.sent.is_none() => {
                known.forget(&self.key, self.number);
                return;
            }
            Some(own) => own.is_under_way = false,
        }
        known.doubtful.insert(self.number, self.key);
        while known.doubtful.len() > DOUBTS_MAX {
            // Ends: each turn takes one out.
            let Some((number, key)) = known.doubtful.pop_first() else {
                return;
            };
            known.forget(&key, number);
        }
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
