//! *What must leave*: messages that wait for other servers, each with its recipients and what came of the tries so far.
//!
//! Beside them the ids of deliveries that came in lately (`arrived`): one that comes directly and from a spool is placed once.
//!
//! A tenant of the log (`tenancy`): records and tables 64–95 are the queue's. A message enters by a part of a group whose bodies
//! it shares (`put`): a copy in Sent and the entry here become durable together or not at all. Or it comes with its body alone
//! (`enqueue`). Who tries, and when, is not decided here: `client::relay` does, through `storage::outgoing`.
//!
//! What must hold between calls:
//! * memory = f(log): `entry::Change::apply` is the only writer of what is visible, live and in replay.
//! * a message that was removed never comes back, also in a rebuild from a log of which reclaim took parts: it would be sent twice.
//! * a body is wanted while an entry has it.
//! * memory is bounded by `limits::ENTRIES_MAX` and `ADDRESSEES_MAX`; all entries are in memory.
//!
//! Start reading with `entry.rs`, the one durable noun; `record.rs` is how it changes, `settle.rs` who may change it.
#![forbid(unsafe_code)]

mod arrived;
mod entry;
#[doc(hidden)]
pub mod fuzzing;
pub mod limits;
mod reclaim;
mod record;
mod replay;
pub mod salvage;
mod settle;
mod state;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use store::{BodyIn, BodyRef, Committed, Lsn, Purpose, StoreFault};
use tenancy::encoding::Broken;
use tenancy::{Locks, Part, Tenancy, Tenant};

pub use arrived::{DeliveryId, Served, WINDOW as ARRIVED_WINDOW};
pub use entry::{
    Addressee, Entry, Envelope, Notify, Outcome, Recipient, RecipientState, Returned, Terms,
    is_due, site,
};
pub use replay::share;
pub use settle::{Note, Settling};
pub use state::Turn;

use limits::*;
use record::Change;
use state::State;

/// A message in the queue; never used twice on one volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

/// Since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueFault {
    #[error("no such message in the queue")]
    NoEntry,
    /// The peer or the caller asked for what a bound of `limits.rs` forbids.
    #[error("not allowed: {0}")]
    Refused(&'static str),
    /// `limits::ENTRIES_MAX` messages wait; the peer may try again.
    #[error("the queue is full")]
    Full,
    /// The log or the projection refused.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// The queue of one volume; lives on the volume's owner thread. Clones share one state.
#[derive(Clone)]
pub struct Queue {
    inner: Rc<Inner>,
}

/// A group that was read from the log, decoded and not yet applied.
type Ahead = (Lsn, Vec<Change>, Vec<BodyRef>);

struct Inner {
    me: Weak<Inner>,
    tenancy: Tenancy,
    state: RefCell<State>,
    /// Held from the look at a message to the durable change of it.
    locks: Locks,
    /// What replay read and has not applied, in log order.
    ahead: RefCell<VecDeque<Ahead>>,
}

impl Queue {
    /// One of several tenants: nothing of it is there before `Tenancy::open`.
    pub fn new(tenancy: &Tenancy) -> Queue {
        let inner = Rc::new_cyclic(|me| Inner {
            me: me.clone(),
            tenancy: tenancy.clone(),
            state: RefCell::new(State::new()),
            locks: Locks::default(),
            ahead: RefCell::default(),
        });
        Queue { inner }
    }

    pub fn tenant(&self) -> Rc<dyn Tenant> {
        self.inner.clone()
    }

    /// A number for a message and the queue's part of the group that brings it, whose body `body_index` it is. In the same turn as the
    /// commit; rows for `Tenancy::room_for`: `limits::ENTRY_ROWS`.
    pub fn put(&self, envelope: Envelope, body_index: u32) -> Result<(QueueId, Part), QueueFault> {
        self.put_within(envelope, body_index, 0)
    }

    /// A message without a copy elsewhere: it is durable when this resolves.
    pub async fn enqueue(&self, body: BodyIn, envelope: Envelope) -> Result<QueueId, QueueFault> {
        let tenancy = &self.inner.tenancy;
        tenancy.room_for(Purpose::Keep, true, ENTRY_ROWS).await?;
        let (id, part) = self.put(envelope, 0)?;
        let committed = tenancy.commit(Purpose::Keep, vec![body], vec![part]);
        committed.await?;
        Ok(id)
    }

    /// `beyond`: so many more than the bounds.
    fn put_within(
        &self,
        envelope: Envelope,
        body_index: u32,
        beyond: usize,
    ) -> Result<(QueueId, Part), QueueFault> {
        check(&envelope)?;
        let count = envelope.recipients.len();
        let id = {
            let mut state = self.inner.state.borrow_mut();
            let addressees = state.addressees + state.addressees_arriving + count;
            if state.entries.len() + state.arriving >= ENTRIES_MAX + beyond
                || addressees > ADDRESSEES_MAX + beyond
            {
                return Err(QueueFault::Full);
            }
            state.assign()
        };
        let arriving = Arriving::begin(&self.inner, count);
        let put = Change::Put {
            id,
            body_index,
            envelope,
        };
        Ok((id, self.inner.part(vec![put], Some(arriving))))
    }

    /// Who has this delivery; `None`: it did not come in, or very many came in after it (`ARRIVED_WINDOW`).
    pub fn arrived(&self, id: DeliveryId) -> Option<Served> {
        self.inner.state.borrow().arrived.find(id).cloned()
    }

    /// The queue's part of the group that places a delivery. `Only` names at least one; rows for `Tenancy::room_for`: `limits::ENTRY_ROWS`.
    pub fn note_arrived(&self, id: DeliveryId, served: Served) -> Part {
        assert!(
            served != Served::Only(Vec::new()),
            "it would be read as all of them"
        );
        self.inner.part(vec![Change::Arrived { id, served }], None)
    }

    pub fn entry(&self, id: QueueId) -> Option<Entry> {
        self.inner.state.borrow().entries.get(&id).cloned()
    }

    /// By number, at most `count_max`, after the number `after`.
    pub fn entries(&self, after: Option<QueueId>, count_max: usize) -> Vec<Entry> {
        let from = after.map_or(QueueId(0), |after| QueueId(after.0 + 1));
        let state = self.inner.state.borrow();
        state
            .entries
            .range(from..)
            .take(count_max)
            .map(|(_, entry)| entry.clone())
            .collect()
    }

    /// Messages with a recipient to be tried at `now` or before, the longest due first, at most `count_max`.
    pub fn due(&self, now: UnixSeconds, count_max: usize) -> Vec<QueueId> {
        self.inner.state.borrow().due(now, count_max)
    }

    /// Messages due at `now`: first those whose sender is to hear of them, then site by site, from the one behind `after` on, and no more
    /// of one site than `turn` allows. `after` is where the next call goes on.
    pub fn due_in_turn(
        &self,
        now: UnixSeconds,
        turn: &Turn<'_>,
        after: &mut String,
    ) -> Vec<QueueId> {
        self.inner.state.borrow().due_in_turn(now, turn, after)
    }

    /// When the first message is to be tried; in the past: it should have been.
    pub fn first_due(&self) -> Option<UnixSeconds> {
        self.inner.state.borrow().first_due()
    }

    /// When the oldest message came.
    pub fn oldest(&self) -> Option<UnixSeconds> {
        let state = self.inner.state.borrow();
        state
            .entries
            .first_key_value()
            .map(|(_, entry)| entry.arrived)
    }

    /// The log that it is in.
    pub fn tenancy(&self) -> &Tenancy {
        &self.inner.tenancy
    }

    /// Checks what must hold between two steps, for `SimWorld::after_each_step`: `false` once this queue is gone. Its cost grows with the
    /// messages that wait.
    pub fn checker(&self) -> impl Fn() -> bool + 'static {
        let (inner, seen) = (Rc::downgrade(&self.inner), Cell::new(u64::MAX));
        move || {
            let Some(inner) = inner.upgrade() else {
                return false;
            };
            let state = inner.state.borrow();
            // Nothing else changes what is checked.
            if seen.replace(state.turns) != state.turns {
                state.check();
            }
            true
        }
    }

    /// Recipients of all messages, and of those on their way to the log: what counts against `limits::ADDRESSEES_MAX`.
    pub fn addressees(&self) -> usize {
        let state = self.inner.state.borrow();
        state.addressees + state.addressees_arriving
    }

    /// Messages that wait.
    pub fn count(&self) -> usize {
        self.inner.state.borrow().entries.len()
    }
}

impl Inner {
    async fn commit(&self, purpose: Purpose, changes: Vec<Change>) -> Result<(), QueueFault> {
        let part = self.part(changes, None);
        let committed = self.tenancy.commit(purpose, Vec::new(), vec![part]).await;
        Ok(committed.map(drop)?)
    }

    /// `changes` as this tenant's part of a group.
    fn part(&self, changes: Vec<Change>, arriving: Option<Arriving>) -> Part {
        let inner = self
            .me
            .upgrade()
            .expect("it is borrowed from what holds it");
        Part {
            records: changes.iter().map(Change::encode).collect(),
            rows: changes.len() as u64 * ENTRY_ROWS,
            applied: Box::new(move |committed: &Committed| {
                let dropped = {
                    let mut state = inner.state.borrow_mut();
                    for change in &changes {
                        change.apply(committed.lsn, &committed.bodies, &mut state);
                    }
                    std::mem::take(&mut state.dropped)
                };
                // An estimate: a mailbox may hold the same body. Reclaim's mark is the truth.
                let store = inner.tenancy.store();
                dropped.iter().for_each(|body| store.note_dead(body));
                drop(arriving);
            }),
        }
    }
}

/// A message on its way to the log: it counts against `ENTRIES_MAX`, and its recipients against `ADDRESSEES_MAX`.
struct Arriving {
    inner: Rc<Inner>,
    addressees: usize,
}
impl Arriving {
    fn begin(inner: &Rc<Inner>, addressees: usize) -> Arriving {
        let mut state = inner.state.borrow_mut();
        state.arriving += 1;
        state.addressees_arriving += addressees;
        drop(state);
        Arriving {
            inner: inner.clone(),
            addressees,
        }
    }
}
impl Drop for Arriving {
    fn drop(&mut self) {
        let mut state = self.inner.state.borrow_mut();
        state.arriving -= 1;
        state.addressees_arriving -= self.addressees;
    }
}

fn check(envelope: &Envelope) -> Result<(), QueueFault> {
    if !(1..=RECIPIENTS_MAX).contains(&envelope.recipients.len()) {
        return Err(QueueFault::Refused("a message has 1 to 1,000 recipients"));
    }
    let is_long =
        |to: &Addressee| to.path.len() > PATH_BYTES_MAX || to.original.len() > ORIGINAL_BYTES_MAX;
    let terms = &envelope.terms;
    if envelope.from.len() > PATH_BYTES_MAX
        || terms.envelope_id.len() > ENVELOPE_ID_BYTES_MAX
        || envelope.recipients.iter().any(is_long)
    {
        return Err(QueueFault::Refused("a text of the envelope is too long"));
    }
    let texts = envelope.recipients.iter();
    let bytes: usize = texts.map(|to| to.path.len() + to.original.len()).sum();
    if bytes + envelope.from.len() + terms.envelope_id.len() > ENVELOPE_BYTES_MAX {
        return Err(QueueFault::Refused("the envelope is too large"));
    }
    Ok(())
}

fn lock_name(id: QueueId) -> String {
    format!("message {}", id.0)
}

impl From<Broken> for QueueFault {
    fn from(_: Broken) -> QueueFault {
        let why = "a row or record is not of this release's making";
        QueueFault::Store(StoreFault::Deferred(why.to_owned()))
    }
}

/// What the tenancy is answered.
fn store_fault(fault: QueueFault) -> StoreFault {
    match fault {
        QueueFault::Store(fault) => fault,
        fault => StoreFault::Deferred(fault.to_string()),
    }
}
