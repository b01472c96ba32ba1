//! *Scripts that filter mail, as they are kept*: of each person, each domain, and the box; and what is remembered for them.
//!
//! A tenant of the log (`tenancy`): records and tables 104–111 are the scripts'. What a script means is `core/sieve`'s; a text is bytes here.
//!
//! What must hold between calls:
//! * memory = f(log): `record::Change::apply` is the only writer of what is visible, live and in replay. Keys that ended are forgotten at any
//!   time: they count for nothing.
//! * an owner's list and the text of its new script are in one record: a script is there with its text or not at all.
//! * memory is bounded by `limits::BYTES_MAX`: lists and keys are in memory, texts only until a checkpoint has written them.
//! * lists are changed one after another: what a record says is the list at its place in the log.
//! * a full volume takes no scripts, and nothing else depends on that. What can be removed can be removed from a full volume too.
//!
//! Start reading with `list.rs` and `keys.rs`, the two durable nouns; `record.rs` is how they change.
#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod fuzzing;
mod keys;
pub mod limits;
mod list;
mod record;
mod state;
mod tenant;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::Bytes;
use store::{Committed, Lsn, Purpose, Record, StoreFault};
use tenancy::encoding::Broken;
use tenancy::{Locks, Part, Tenancy, Tenant};

pub use keys::Key;
pub use list::{List, Owner, Script, Version};
pub use tenant::share;

use limits::*;
use list::is_name;
use record::Change;
use state::{State, TEXTS, text_rows};

/// Why nothing was changed, where the caller can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no script of this name")]
    Nonexistent,
    #[error("there is a script of this name already")]
    AlreadyExists,
    #[error("the script is the active one")]
    Active,
    #[error("a script's name, and the name of its domain, have a length that can be kept")]
    Name,
    #[error("a script has at most 256 KiB")]
    ScriptTooLarge,
    #[error("there are at most 64 scripts")]
    TooMany,
    #[error("all scripts together have at most 1 MiB")]
    TooMuch,
    /// A bound of all owners together.
    #[error("there is no room for more scripts on this box")]
    BoxFull,
    #[error("no more is remembered for scripts just now")]
    KeysFull,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptFault {
    #[error("not allowed: {0}")]
    Refused(#[from] Refusal),
    /// The log or the projection refused.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// The scripts of one volume; live on the volume's owner thread. Clones share one state.
#[derive(Clone)]
pub struct Scripts {
    inner: Rc<Inner>,
}

struct Inner {
    me: Weak<Inner>,
    tenancy: Tenancy,
    state: RefCell<State>,
    /// Held from the look at a list to the durable change of it.
    locks: Locks,
    /// What replay read and has not applied, in log order. A text is a part of the record that was read.
    ahead: RefCell<VecDeque<(Lsn, Vec<Change>)>>,
}

impl Scripts {
    /// One of several tenants: nothing of it is there before `Tenancy::open`.
    pub fn new(tenancy: &Tenancy) -> Scripts {
        let inner = Rc::new_cyclic(|me| Inner {
            me: me.clone(),
            tenancy: tenancy.clone(),
            state: RefCell::default(),
            locks: Locks::default(),
            ahead: RefCell::default(),
        });
        Scripts { inner }
    }

    pub fn tenant(&self) -> Rc<dyn Tenant> {
        self.inner.clone()
    }

    // Scripts.

    /// Names and sizes; empty for an owner that stored none.
    pub fn list(&self, owner: &Owner) -> List {
        let state = self.inner.state.borrow();
        state.kept(owner).unwrap_or_default().list
    }

    /// Which script is run for mail to the owner. A look at memory: most owners have none, and what was compiled of a version may be kept.
    pub fn active_version(&self, owner: &Owner) -> Option<Version> {
        let state = self.inner.state.borrow();
        Some(state.kept(owner)?.list.active()?.version)
    }

    /// As `active_version`, for a script that another one includes by name.
    pub fn named_version(&self, owner: &Owner, name: &str) -> Option<Version> {
        let state = self.inner.state.borrow();
        Some(state.kept(owner)?.list.named(name)?.version)
    }

    /// The text of a script. `None`: the owner has none of this version any more. It reads a row, unless the script is newer than the last checkpoint.
    pub async fn text(
        &self,
        owner: &Owner,
        version: Version,
    ) -> Result<Option<Arc<[u8]>>, ScriptFault> {
        let inner = &self.inner;
        let is_listed = || {
            let state = inner.state.borrow();
            let kept = state.kept(owner);
            kept.is_some_and(|kept| kept.list.has(version))
        };
        for _attempt in 0..TEXT_ATTEMPTS {
            if !is_listed() {
                return Ok(None);
            }
            let waiting = inner.state.borrow().waiting_text(owner, version);
            if waiting.is_some() {
                return Ok(waiting);
            }
            let store = inner.tenancy.store();
            let row = store.get(TEXTS, owner.text_key(version)).await?;
            if let Some(row) = row {
                return Ok(Some(row.into()));
            }
            // It was removed meanwhile, and perhaps stored once more: then its text waits for a checkpoint again.
        }
        // I12: a row that is missing is not a script that is not there.
        let why = "the text of a script is not in the index";
        Err(StoreFault::Deferred(why.to_owned()).into())
    }

    /// The script that is run for mail to the owner.
    pub async fn active(&self, owner: &Owner) -> Result<Option<(Version, Arc<[u8]>)>, ScriptFault> {
        for _attempt in 0..TEXT_ATTEMPTS {
            let Some(version) = self.active_version(owner) else {
                return Ok(None);
            };
            if let Some(text) = self.text(owner, version).await? {
                return Ok(Some((version, text)));
            }
            // Another one is active by now.
        }
        let why = "the active script changes all the time";
        Err(StoreFault::Deferred(why.to_owned()).into())
    }

    /// Whether `put` would take a script of this name and size now.
    pub fn has_room(&self, owner: &Owner, name: &str, bytes: usize) -> Result<(), Refusal> {
        self.inner.has_room(owner, name, bytes)
    }

    /// Stores a script, or replaces the one of this name; an active one stays active. `activates`: mail is filtered by it from now on. Durable
    /// when it resolves.
    pub async fn put(
        &self,
        owner: &Owner,
        name: &str,
        text: Bytes,
        activates: bool,
    ) -> Result<(), ScriptFault> {
        let inner = &self.inner;
        inner.has_room(owner, name, text.len())?;
        let rows = LIST_ROWS + text_rows(text.len());
        inner.tenancy.room_for(Purpose::Keep, false, rows).await?;
        if !inner.state.borrow().takes_list(text.len()) {
            // Not under the lock, for which a pass of reclaim may wait, and a checkpoint for the pass.
            inner.tenancy.checkpoint().await?;
        }
        let _locked = inner.locks.lock(LOCK.to_owned()).await;
        inner.has_room(owner, name, text.len())?;
        if !inner.state.borrow().takes_list(text.len()) {
            return Err(behind());
        }
        let mut list = self.list(owner);
        let version = Version::of(&text);
        let is_known = list.has(version);
        let script = Script {
            name: name.to_owned(),
            version,
            bytes: u32::try_from(text.len()).expect("it is within SCRIPT_BYTES_MAX"),
        };
        let index = match list.index_of(name) {
            Some(index) => {
                list.scripts[index] = script;
                index
            }
            None => {
                list.scripts.push(script);
                list.scripts.len() - 1
            }
        };
        if activates {
            list.active = Some(index);
        }
        let owner = owner.clone();
        let text = (!is_known).then_some((version, text));
        let change = Change::List { owner, list, text };
        inner.commit(Purpose::Keep, vec![change]).await
    }

    /// Makes a script the active one; `None`: no script is active from now on.
    pub async fn activate(&self, owner: &Owner, name: Option<&str>) -> Result<(), ScriptFault> {
        self.change(owner, Purpose::Keep, |list| {
            let active = match name {
                Some(name) => Some(list.index_of(name).ok_or(Refusal::Nonexistent)?),
                None => None,
            };
            let changes = list.active != active;
            list.active = active;
            Ok(changes)
        })
        .await
    }

    /// Gives a script another name.
    pub async fn rename(&self, owner: &Owner, from: &str, to: &str) -> Result<(), ScriptFault> {
        self.change(owner, Purpose::Keep, |list| {
            let index = list.index_of(from).ok_or(Refusal::Nonexistent)?;
            if list.index_of(to).is_some() {
                return Err(Refusal::AlreadyExists);
            }
            if !is_name(to) {
                return Err(Refusal::Name);
            }
            list.scripts[index].name = to.to_owned();
            Ok(true)
        })
        .await
    }

    /// Removes a script that is not active.
    pub async fn remove(&self, owner: &Owner, name: &str) -> Result<(), ScriptFault> {
        self.change(owner, Purpose::Delete, |list| {
            let index = list.index_of(name).ok_or(Refusal::Nonexistent)?;
            match list.active {
                Some(active) if active == index => return Err(Refusal::Active),
                Some(active) if active > index => list.active = Some(active - 1),
                _ => {}
            }
            list.scripts.remove(index);
            Ok(true)
        })
        .await
    }

    /// Removes everything of an owner that is gone. `false`: there was nothing.
    pub async fn forget(&self, owner: &Owner) -> Result<bool, ScriptFault> {
        let inner = &self.inner;
        let attempt = async || {
            let _locked = inner.locks.lock(LOCK.to_owned()).await;
            if !inner.has(owner) {
                return Ok(false);
            }
            let owner = owner.clone();
            let gone = vec![Change::Gone { owner }];
            inner.commit(Purpose::Delete, gone).await?;
            Ok(true)
        };
        inner.tenancy.deleting(GONE_ROWS, attempt).await
    }

    /// Those of whom something is kept, ascending.
    pub fn owners(&self) -> Vec<Owner> {
        let state = self.inner.state.borrow();
        let of_keys = state.keys.keys().map(|account| Owner::Account(*account));
        let of_keys = of_keys.filter(|owner| !state.has_list(owner));
        let mut owners: Vec<Owner> = state.listed().cloned().chain(of_keys).collect();
        owners.sort();
        owners
    }

    /// Lists, and keys of all accounts.
    pub fn count(&self) -> (usize, usize) {
        let state = self.inner.state.borrow();
        (state.listed().len(), state.keys_count)
    }

    // What is remembered.

    /// Whether a key of the account is remembered at `now`.
    pub fn remembers(&self, account: u32, key: &Key, now: u64) -> bool {
        let state = self.inner.state.borrow();
        let until = state.keys.get(&account).and_then(|keys| keys.until(key));
        until.is_some_and(|until| until > now)
    }

    /// A part of the group that delivers a message: keys of the account, each until a Unix second, durable with the message or not at all. Where
    /// a key is remembered longer already, that counts. Refused or deferred where memory is full: the caller then does without what the keys stand for.
    pub fn remember(
        &self,
        account: u32,
        keys: Vec<(Key, u64)>,
        now: u64,
    ) -> Result<Part, ScriptFault> {
        let state = self.inner.state.borrow();
        if keys.len() > KEYS_PER_RECORD_MAX || state.keys_count + keys.len() > KEYS_MAX {
            return Err(Refusal::KeysFull.into());
        }
        if !state.takes_keys(account) {
            return Err(behind());
        }
        let change = Change::Remember { account, now, keys };
        Ok(self.inner.part(vec![change]))
    }

    /// Forgets keys that ended by `now`, and answers how many. What is left for a later turn is bounded by what a checkpoint takes.
    pub fn expire(&self, now: u64) -> usize {
        self.inner.state.borrow_mut().expire(now)
    }

    /// `change` of an owner's list; it answers whether there is one.
    async fn change(
        &self,
        owner: &Owner,
        purpose: Purpose,
        change: impl Fn(&mut List) -> Result<bool, Refusal>,
    ) -> Result<(), ScriptFault> {
        let inner = &self.inner;
        let attempt = async || {
            let _locked = inner.locks.lock(LOCK.to_owned()).await;
            let mut list = self.list(owner);
            let before = list.bytes_max();
            if !change(&mut list)? {
                return Ok(());
            }
            let more = list.bytes_max().saturating_sub(before);
            if inner.state.borrow().cost + more > LISTS_BYTES_MAX {
                return Err(Refusal::BoxFull.into());
            }
            if !inner.state.borrow().takes_list(0) {
                return Err(behind());
            }
            let (owner, text) = (owner.clone(), None);
            let change = Change::List { owner, list, text };
            inner.commit(purpose, vec![change]).await
        };
        match purpose {
            Purpose::Delete => inner.tenancy.deleting(GONE_ROWS, attempt).await,
            _ => {
                inner.tenancy.room_for(purpose, false, LIST_ROWS).await?;
                attempt().await
            }
        }
    }
}

impl Inner {
    /// Whether anything is kept of the owner.
    fn has(&self, owner: &Owner) -> bool {
        let state = self.state.borrow();
        let has_keys = matches!(owner, Owner::Account(account) if state.keys.contains_key(account));
        has_keys || state.has_list(owner)
    }

    fn has_room(&self, owner: &Owner, name: &str, bytes: usize) -> Result<(), Refusal> {
        if !is_name(name) || !owner.is_valid() {
            return Err(Refusal::Name);
        }
        if bytes > SCRIPT_BYTES_MAX {
            return Err(Refusal::ScriptTooLarge);
        }
        let state = self.state.borrow();
        let list = state.kept(owner).map(|kept| kept.list);
        let list = list.as_ref();
        let replaced = list.and_then(|list| list.named(name));
        let (count, total) = list.map_or((0, 0), |list| (list.scripts.len(), list.bytes()));
        if replaced.is_none() && count >= SCRIPTS_PER_OWNER_MAX {
            return Err(Refusal::TooMany);
        }
        let less = replaced.map_or(0, |script| script.bytes as usize);
        if total - less + bytes > OWNER_BYTES_MAX {
            return Err(Refusal::TooMuch);
        }
        let list_cost = if list.is_some() { 0 } else { OWNER_COST };
        let cost = match replaced {
            Some(_) => 0,
            None => list_cost + SCRIPT_COST + name.len(),
        };
        match state.cost + cost <= LISTS_BYTES_MAX {
            true => Ok(()),
            false => Err(Refusal::BoxFull),
        }
    }

    async fn commit(&self, purpose: Purpose, changes: Vec<Change>) -> Result<(), ScriptFault> {
        let part = self.part(changes);
        let committed = self.tenancy.commit(purpose, Vec::new(), vec![part]).await;
        Ok(committed.map(drop)?)
    }

    fn part(&self, changes: Vec<Change>) -> Part {
        let inner = self
            .me
            .upgrade()
            .expect("it is borrowed from what holds it");
        let rows = |change: &Change| match change {
            Change::List { text, .. } => {
                LIST_ROWS + text.as_ref().map_or(1, |(_, text)| text_rows(text.len()))
            }
            Change::Gone { .. } => GONE_ROWS,
            Change::Remember { .. } => KEYS_ROWS,
        };
        Part {
            records: changes.iter().map(Change::encode).collect(),
            rows: changes.iter().map(rows).sum(),
            applied: Box::new(move |committed: &Committed| {
                let state = &mut inner.state.borrow_mut();
                for change in &changes {
                    change.apply(committed.lsn, state);
                }
            }),
        }
    }
}

/// One record in a line, for people. `None`: this version cannot read it.
pub fn describe(record: &Record) -> Option<String> {
    Some(Change::decode(record).ok()?.describe())
}

fn behind() -> ScriptFault {
    StoreFault::Deferred("the index is behind".to_owned()).into()
}

/// One for all lists: people change them seldom.
const LOCK: &str = "scripts";
/// Looks for a text while its owner stores scripts.
const TEXT_ATTEMPTS: usize = 4;
/// All rows of an owner: its list, its keys, its texts, which go.
const GONE_ROWS: u64 = LIST_ROWS + KEYS_ROWS + SCRIPTS_PER_OWNER_MAX as u64;

impl From<Broken> for ScriptFault {
    fn from(_: Broken) -> ScriptFault {
        let why = "a row or record is not of this release's making";
        ScriptFault::Store(StoreFault::Deferred(why.to_owned()))
    }
}

/// What the tenancy is answered.
fn store_fault(fault: ScriptFault) -> StoreFault {
    match fault {
        ScriptFault::Store(fault) => fault,
        fault => StoreFault::Deferred(fault.to_string()),
    }
}
