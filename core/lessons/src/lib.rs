//! *What people taught about junk*: for each person and each domain, which words are in junk and which in good mail.
//!
//! A tenant of the log (`tenancy`): records and tables 96–103 are the lessons'. Words are numbers here; what they mean is `core/spam`'s, and
//! who teaches when is `client::imap`'s, through `storage::lessons`.
//!
//! What must hold between calls:
//! * memory = f(log): `record::Change::apply` is the only writer of what is visible, live and in replay.
//! * a lesson is about a message: the same one twice counts once, and the other way round takes the first one back, while the model
//!   remembers the message (`limits::MESSAGES_PER_MODEL_MAX`).
//! * memory is bounded by `limits::BYTES_MAX`; all models are in memory. The log grows by 4 KiB for a lesson at most, and reclaim carries one
//!   snapshot of a model forward for any number of lessons.
//! * lessons are taken one after another: what a snapshot says is the model at its place in the log.
//! * a full volume takes no lessons, and nothing else depends on that.
//!
//! Start reading with `model.rs`, the one durable noun; `record.rs` is how it changes.
#![forbid(unsafe_code)]

mod fair;
#[doc(hidden)]
pub mod fuzzing;
pub mod limits;
mod model;
mod record;
mod state;
mod tenant;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use store::{Committed, Lsn, Purpose, Record, StoreFault};
use tenancy::encoding::Broken;
use tenancy::{Locks, Part, Tenancy, Tenant};

pub use model::{Kind, Lesson, Model, Whom};
pub use tenant::share;

use fair::Given;
use limits::*;
use record::{Change, OWNERS_MAX};
use state::State;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LessonFault {
    /// What a bound of `limits.rs` forbids.
    #[error("not allowed: {0}")]
    Refused(&'static str),
    /// A bound of all models together is reached.
    #[error("there is no room for more lessons")]
    Full,
    /// The log or the projection refused.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// The lessons of one volume; live on the volume's owner thread. Clones share one state.
#[derive(Clone)]
pub struct Lessons {
    inner: Rc<Inner>,
}

struct Inner {
    me: Weak<Inner>,
    tenancy: Tenancy,
    state: RefCell<State>,
    /// Held from the look at a model to the durable change of it.
    locks: Locks,
    /// What accounts taught their domains today.
    given: RefCell<Given>,
    /// What replay read and has not applied, in log order.
    ahead: RefCell<VecDeque<(Lsn, Vec<Change>)>>,
}

impl Lessons {
    /// One of several tenants: nothing of it is there before `Tenancy::open`.
    pub fn new(tenancy: &Tenancy) -> Lessons {
        let inner = Rc::new_cyclic(|me| Inner {
            me: me.clone(),
            tenancy: tenancy.clone(),
            state: RefCell::default(),
            locks: Locks::default(),
            given: RefCell::default(),
            ahead: RefCell::default(),
        });
        Lessons { inner }
    }

    pub fn tenant(&self) -> Rc<dyn Tenant> {
        self.inner.clone()
    }

    /// Teaches `lesson` to the models of `of`, which are made where they are missing; durable when it resolves. `false`: they know it
    /// already, and nothing was written. A domain learns from each account `limits::DOMAIN_SHARE` messages of a kind a day. Of several owners those that do not fit the bounds any more are left out; `Full`: none fits.
    pub async fn learn(&self, of: &[Whom], lesson: Lesson) -> Result<bool, LessonFault> {
        check(of, &lesson)?;
        let inner = &self.inner;
        let rows = of.len() as u64 * MODEL_ROWS;
        inner.tenancy.room_for(Purpose::Keep, false, rows).await?;
        let _locked = inner.locks.lock(LOCK.to_owned()).await;
        let giver = giver_of(of);
        let of: Vec<Whom> = {
            let state = inner.state.borrow();
            let knows = |whom: &&Whom| {
                let model = state.models.get(whom);
                model.and_then(|model| model.kind_of(lesson.message)) == lesson.kind
            };
            let new: Vec<&Whom> = of.iter().filter(|whom| !knows(whom)).collect();
            let new: Vec<&Whom> = new
                .into_iter()
                .filter(|whom| !inner.is_past_its_share(&state, of, whom, &lesson))
                .collect();
            if new.is_empty() {
                return Ok(false);
            }
            let (mut models, mut words) = (state.models.len(), state.words);
            let fits = new.into_iter().filter(|whom| {
                let more = usize::from(!state.models.contains_key(whom));
                let has_room = more == 0 || models < MODELS_MAX;
                let fits = has_room && words + lesson.words.len() <= WORDS_MAX;
                if fits {
                    (models, words) = (models + more, words + lesson.words.len());
                }
                // What is taken back takes no room.
                fits || lesson.kind.is_none()
            });
            fits.cloned().collect()
        };
        if !inner.state.borrow().takes(&of) {
            let why = "the index is behind";
            return Err(StoreFault::Deferred(why.to_owned()).into());
        }
        if of.is_empty() {
            return Err(LessonFault::Full);
        }
        let counted = inner.counted(giver, &of, &lesson);
        let learn = Change::Learn { of, lesson };
        inner.commit(Purpose::Keep, learn).await?;
        if let Some((account, kind)) = counted {
            inner.given.borrow_mut().note(account, kind);
        }
        Ok(true)
    }

    /// Removes the model of an owner that is gone. `false`: there was none.
    pub async fn remove(&self, whom: &Whom) -> Result<bool, LessonFault> {
        let inner = &self.inner;
        let attempt = async || {
            let _locked = inner.locks.lock(LOCK.to_owned()).await;
            if !inner.state.borrow().models.contains_key(whom) {
                return Ok(false);
            }
            let whom = whom.clone();
            inner
                .commit(Purpose::Delete, Change::Remove { whom })
                .await?;
            Ok(true)
        };
        inner.tenancy.deleting(MODEL_ROWS, attempt).await
    }

    /// Empties the model of an owner that stays. `false`: there was none.
    pub async fn forget(&self, whom: &Whom) -> Result<bool, LessonFault> {
        let inner = &self.inner;
        let attempt = async || {
            let _locked = inner.locks.lock(LOCK.to_owned()).await;
            if !inner.state.borrow().models.contains_key(whom) {
                return Ok(false);
            }
            let empty = Change::Snapshot {
                whom: whom.clone(),
                model: Model::default(),
            };
            inner.commit(Purpose::Delete, empty).await?;
            Ok(true)
        };
        inner.tenancy.deleting(MODEL_ROWS, attempt).await
    }

    /// What `look` makes of the owner's model; `None`: it has none.
    pub fn with<T>(&self, whom: &Whom, look: impl FnOnce(&Model) -> T) -> Option<T> {
        self.inner.state.borrow().models.get(whom).map(look)
    }

    /// Owners of models, ascending.
    pub fn owners(&self) -> Vec<Whom> {
        self.inner.state.borrow().models.keys().cloned().collect()
    }

    /// Nothing was taught to anyone yet.
    pub fn is_empty(&self) -> bool {
        self.inner.state.borrow().models.is_empty()
    }

    /// Models, and the words of all of them.
    pub fn count(&self) -> (usize, usize) {
        let state = self.inner.state.borrow();
        (state.models.len(), state.words)
    }
}

impl Inner {
    /// Whether `whom` is a domain to which the giver of the lesson, among `of`, adds no more messages today.
    fn is_past_its_share(&self, state: &State, of: &[Whom], whom: &Whom, lesson: &Lesson) -> bool {
        let (Some(account), Some(kind), Whom::Domain(_)) = (giver_of(of), lesson.kind, whom) else {
            return false;
        };
        let model = state.models.get(whom);
        // A correction adds none.
        if model.is_some_and(|model| model.kind_of(lesson.message).is_some()) {
            return false;
        }
        let now = self.tenancy.io().host.unix_seconds();
        !self.given.borrow_mut().has_room(account, kind, now)
    }

    /// Against whose share the lesson counts, if it does.
    fn counted(&self, giver: Option<u32>, of: &[Whom], lesson: &Lesson) -> Option<(u32, Kind)> {
        let state = self.state.borrow();
        let adds = |whom: &Whom| {
            let model = state.models.get(whom);
            let known = model.and_then(|model| model.kind_of(lesson.message));
            matches!(whom, Whom::Domain(_)) && known.is_none()
        };
        let (account, kind) = giver.zip(lesson.kind)?;
        of.iter().any(adds).then_some((account, kind))
    }

    async fn commit(&self, purpose: Purpose, change: Change) -> Result<(), LessonFault> {
        let part = self.part(change);
        let committed = self.tenancy.commit(purpose, Vec::new(), vec![part]).await;
        Ok(committed.map(drop)?)
    }

    fn part(&self, change: Change) -> Part {
        let inner = self
            .me
            .upgrade()
            .expect("it is borrowed from what holds it");
        Part {
            records: vec![change.encode()],
            rows: change.whom().len().max(1) as u64 * MODEL_ROWS,
            applied: Box::new(move |committed: &Committed| {
                change.apply(committed.lsn, &mut inner.state.borrow_mut());
            }),
        }
    }
}

/// The account among the owners of a lesson.
fn giver_of(of: &[Whom]) -> Option<u32> {
    of.iter().find_map(|whom| match whom {
        Whom::Account(account) => Some(*account),
        Whom::Domain(_) => None,
    })
}

/// One record in a line, for people. `None`: this version cannot read it.
pub fn describe(record: &Record) -> Option<String> {
    Some(Change::decode(record).ok()?.describe())
}

/// What passes here can be read again: a record that cannot be would refuse every opening.
fn check(of: &[Whom], lesson: &Lesson) -> Result<(), LessonFault> {
    if of.len() > OWNERS_MAX {
        return Err(LessonFault::Refused("a lesson has at most two owners"));
    }
    if !of.iter().all(Whom::is_valid) {
        let why = "the name of a lesson's domain has 1 to 255 bytes";
        return Err(LessonFault::Refused(why));
    }
    if lesson.words.len() > WORDS_PER_LESSON_MAX {
        return Err(LessonFault::Refused("a lesson has at most 512 words"));
    }
    match lesson.words.is_sorted_by(|before, word| before < word) {
        true => Ok(()),
        false => Err(LessonFault::Refused("the words of a lesson ascend")),
    }
}

/// One for all models: a lesson changes two, and takes one turn of the log.
const LOCK: &str = "lessons";

impl From<Broken> for LessonFault {
    fn from(_: Broken) -> LessonFault {
        let why = "a row or record is not of this release's making";
        LessonFault::Store(StoreFault::Deferred(why.to_owned()))
    }
}

/// What the tenancy is answered.
fn store_fault(fault: LessonFault) -> StoreFault {
    match fault {
        LessonFault::Store(fault) => fault,
        fault => StoreFault::Deferred(fault.to_string()),
    }
}
