//! *What is counted for reports*: sheets of a subject, a day and a name, each with lines and how often each was counted.
//!
//! A tenant of the log (`tenancy`): records and tables 112–119 are the reports'. What a line says, and who reads it, is not known here: the
//! results of authentication and of TLS that other domains hear of are counted like what other domains reported to us. `storage::tallies`
//! gathers and reads; `feedback` has the words.
//!
//! What must hold between calls:
//! * memory = f(log): `record::Change::apply` is the only writer of what is visible, live and in replay.
//! * a sheet that was closed takes no more and is never open again: a report is sent once. What closes it is in the group that sends it.
//! * sheets before the floor of their subject are gone and do not come back, also in a rebuild from a log of which reclaim took parts.
//! * memory is bounded by `limits::BYTES_MAX`, and each subject has its share of it; what does not fit is counted without its line, or reported as lost, and nothing grows.
//! * a full volume takes no counts, and nothing else depends on that.
//!
//! Start reading with `sheet.rs`, the one durable noun; `record.rs` is how it changes, `fit.rs` what is let in.
#![forbid(unsafe_code)]

mod fit;
#[doc(hidden)]
pub mod fuzzing;
pub mod limits;
mod record;
mod sheet;
mod state;
mod tenant;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::{Rc, Weak};

use store::{BodyIn, Committed, Lsn, Purpose, Record, StoreFault};
use tenancy::encoding::Broken;
use tenancy::{Locks, Part, Tenancy, Tenant};

pub use sheet::{Addition, Day, Key, Sheet, Subject};
pub use tenant::share;

use fit::Fitting;
use limits::*;
use record::Change;
use state::State;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportFault {
    /// What a bound of `limits.rs` forbids.
    #[error("not allowed: {0}")]
    Refused(&'static str),
    /// The log or the projection refused.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// The sheets of one volume; live on the volume's owner thread. Clones share one state.
#[derive(Clone)]
pub struct Reports {
    inner: Rc<Inner>,
}

struct Inner {
    me: Weak<Inner>,
    tenancy: Tenancy,
    state: RefCell<State>,
    /// Held from the look at a sheet to the durable change of it.
    locks: Locks,
    /// What replay read and has not applied, in log order.
    ahead: RefCell<VecDeque<(Lsn, Vec<Change>)>>,
}

impl Reports {
    /// One of several tenants: nothing of it is there before `Tenancy::open`.
    pub fn new(tenancy: &Tenancy) -> Reports {
        let inner = Rc::new_cyclic(|me| Inner {
            me: me.clone(),
            tenancy: tenancy.clone(),
            state: RefCell::default(),
            locks: Locks::default(),
            ahead: RefCell::default(),
        });
        Reports { inner }
    }

    pub fn tenant(&self) -> Rc<dyn Tenant> {
        self.inner.clone()
    }

    /// Adds to at most `ADDITIONS_PER_GROUP_MAX` sheets, each once; durable when it resolves. Answers what was counted and found no sheet. `Err`:
    /// nothing was added, and the caller may try again.
    pub async fn add(&self, additions: Vec<Addition>) -> Result<u64, ReportFault> {
        check(&additions)?;
        let inner = &self.inner;
        let rows = additions.len() as u64 * SHEET_ROWS;
        inner.tenancy.room_for(Purpose::Keep, false, rows).await?;
        let _locked = inner.locks.lock(LOCK.to_owned()).await;
        let (fitted, lost) = {
            let state = inner.state.borrow();
            let mut fitting = Fitting::on(&state);
            additions
                .into_iter()
                .for_each(|addition| fitting.take(addition));
            let keys = fitting.fitted.iter().map(|addition| &addition.key);
            if !state.takes(keys) {
                let why = "the index is behind";
                return Err(StoreFault::Deferred(why.to_owned()).into());
            }
            (fitting.fitted, fitting.lost)
        };
        if !fitted.is_empty() {
            let changes = fitted.into_iter().map(Change::Add).collect();
            inner.commit(Purpose::Keep, changes).await?;
        }
        Ok(lost)
    }

    /// Closes a sheet in one group with `bodies` and the parts of other tenants that `beside` makes. `Ok(false)`: it is closed already or not
    /// there; `beside` was not called, and nothing was written.
    pub async fn close_with<F: From<ReportFault>>(
        &self,
        key: &Key,
        rows: u64,
        bodies: Vec<BodyIn>,
        beside: impl FnOnce() -> Result<Vec<Part>, F>,
    ) -> Result<bool, F> {
        let inner = &self.inner;
        let store = |fault: StoreFault| F::from(ReportFault::from(fault));
        let room = inner
            .tenancy
            .room_for(Purpose::Keep, !bodies.is_empty(), rows + SHEET_ROWS);
        room.await.map_err(store)?;
        let _locked = inner.locks.lock(LOCK.to_owned()).await;
        if !self.with(key, |sheet| !sheet.is_closed).unwrap_or(false) {
            return Ok(false);
        }
        let mut parts = beside()?;
        parts.push(inner.part(vec![Change::Close(key.clone())]));
        let committed = inner.tenancy.commit(Purpose::Keep, bodies, parts).await;
        committed.map_err(store)?;
        Ok(true)
    }

    /// Forgets the sheets of a subject before a day, and takes none of the last of their days or before any more. `false`: there is none.
    /// A day that only a wrong clock names closes no day that comes: the floor is behind the last day that is forgotten.
    pub async fn forget_before(&self, subject: Subject, day: Day) -> Result<bool, ReportFault> {
        if subject.0 >= SUBJECTS_MAX {
            return Err(ReportFault::Refused("there is no such subject"));
        }
        let inner = &self.inner;
        let attempt = async || {
            let _locked = inner.locks.lock(LOCK.to_owned()).await;
            let last = inner.state.borrow().before(subject, day).pop();
            let Some(Key { day: last, .. }) = last else {
                return Ok(false);
            };
            let day = Day(last.0.saturating_add(1)).min(day);
            let floor = Change::Floor { subject, day };
            inner.commit(Purpose::Delete, vec![floor]).await?;
            Ok(true)
        };
        inner.tenancy.deleting(SHEET_ROWS, attempt).await
    }

    /// What `look` makes of a sheet; `None`: it is not there.
    pub fn with<T>(&self, key: &Key, look: impl FnOnce(&Sheet) -> T) -> Option<T> {
        self.inner.state.borrow().sheets.get(key).map(look)
    }

    /// Calls `look` with each sheet, by subject, day and name.
    pub fn each(&self, mut look: impl FnMut(&Key, &Sheet)) {
        let state = self.inner.state.borrow();
        state
            .sheets
            .iter()
            .for_each(|(key, sheet)| look(key, sheet));
    }

    /// Sheets, and what they cost in bytes.
    pub fn count(&self) -> (usize, usize) {
        let state = self.inner.state.borrow();
        (state.sheets.len(), state.bytes())
    }
}

impl Inner {
    async fn commit(&self, purpose: Purpose, changes: Vec<Change>) -> Result<(), ReportFault> {
        let part = self.part(changes);
        let committed = self.tenancy.commit(purpose, Vec::new(), vec![part]).await;
        Ok(committed.map(drop)?)
    }

    fn part(&self, changes: Vec<Change>) -> Part {
        let inner = self
            .me
            .upgrade()
            .expect("it is borrowed from what holds it");
        Part {
            records: changes.iter().map(Change::encode).collect(),
            rows: changes.len() as u64 * SHEET_ROWS,
            applied: Box::new(move |committed: &Committed| {
                let mut state = inner.state.borrow_mut();
                for change in &changes {
                    change.apply(committed.lsn, &mut state);
                }
            }),
        }
    }
}

/// One record in a line, for people. `None`: this version cannot read it.
pub fn describe(record: &Record) -> Option<String> {
    Some(Change::decode(record).ok()?.describe())
}

/// What passes here can be read again: a record that cannot be would refuse every opening.
fn check(additions: &[Addition]) -> Result<(), ReportFault> {
    if additions.len() > ADDITIONS_PER_GROUP_MAX {
        return Err(ReportFault::Refused("too many sheets at once"));
    }
    let keys: BTreeSet<&Key> = additions.iter().map(|addition| &addition.key).collect();
    if keys.len() < additions.len() {
        return Err(ReportFault::Refused("a sheet is named twice"));
    }
    if !keys.iter().all(|key| key.is_valid()) {
        return Err(ReportFault::Refused(
            "the name of a sheet has 1 to 255 bytes",
        ));
    }
    let is_long = |addition: &Addition| {
        let once = addition.once.as_ref();
        addition.head.len() > HEAD_BYTES_MAX
            || once.is_some_and(|once| once.is_empty() || once.len() > LINE_BYTES_MAX)
    };
    match additions.iter().any(is_long) {
        true => Err(ReportFault::Refused("a text of a sheet is too long")),
        false => Ok(()),
    }
}

/// One for all sheets: they change once a minute.
const LOCK: &str = "reports";

impl From<Broken> for ReportFault {
    fn from(_: Broken) -> ReportFault {
        let why = "a row or record is not of this release's making";
        ReportFault::Store(StoreFault::Deferred(why.to_owned()))
    }
}

/// What the tenancy is answered.
fn store_fault(fault: ReportFault) -> StoreFault {
    match fault {
        ReportFault::Store(fault) => fault,
        fault => StoreFault::Deferred(fault.to_string()),
    }
}
