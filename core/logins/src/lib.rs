//! *What proves who logs in, beside the password hash of the directory*: SCRAM keys, app passwords, the secret of the box, the end of the audit's chain.
//!
//! A tenant of the log (`tenancy`): records and tables 120–127. What a key or a hash is made of is `client::login`'s.
//!
//! What must hold between calls:
//! * memory = f(log): `record::Change::apply` is the only writer of what is visible, live and in replay.
//! * keys are made with the password: `Changing::with_keys` gives a part of the group that sets the password in the directory, so both are durable or neither. Keys
//!   name the password hash that they belong to, and count for nothing beside another one.
//! * an account that is removed takes its row with it, in the same group (`Changing::removed`).
//! * memory is bounded by `limits::BYTES_MAX`: rows that differ from the projection. All others are read when they are wanted.
//! * the secret is made once, before it is used, and does not change while the volume exists: salts and the hashes of app passwords depend on it.
//!
//! Start reading with `row.rs`, the one durable noun; `record.rs` is how it changes.
#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod fuzzing;
mod head;
pub mod limits;
mod record;
mod row;
mod state;
mod tenant;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use store::{Committed, Lsn, Purpose, Record, StoreFault};
use tenancy::encoding::Broken;
use tenancy::{Locked, Locks, Part, Tenancy, Tenant};

pub use head::Head;
pub use row::{App, Keys, Main, Row, Used};
pub use tenant::share;

use limits::ROW_ROWS;
use record::Change;
use row::Kept;
use state::{ROWS, State};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginFault {
    /// What a bound of `limits.rs` forbids.
    #[error("{0}")]
    Refused(&'static str),
    /// The log or the projection refused.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// What is kept about the logins of one volume; it is on the volume's owner thread. Clones share one state.
#[derive(Clone)]
pub struct Keyring {
    inner: Rc<Inner>,
}

struct Inner {
    me: Weak<Inner>,
    tenancy: Tenancy,
    state: RefCell<State>,
    /// Held from the look at a row to the durable change of it.
    locks: Locks,
    /// What replay read and has not applied, in log order.
    ahead: RefCell<VecDeque<(Lsn, Vec<Change>)>>,
}

/// A row that no other caller changes meanwhile.
pub struct Changing<'a> {
    inner: &'a Inner,
    account: u32,
    /// As it is; `None`: nothing is kept about the account.
    pub row: Option<Row>,
    _locked: Locked<'a>,
}

impl Keyring {
    /// One of several tenants: nothing of it is there before `Tenancy::open`.
    pub fn new(tenancy: &Tenancy) -> Keyring {
        let inner = Rc::new_cyclic(|me| Inner {
            me: me.clone(),
            tenancy: tenancy.clone(),
            state: RefCell::default(),
            locks: Locks::default(),
            ahead: RefCell::default(),
        });
        Keyring { inner }
    }

    pub fn tenant(&self) -> Rc<dyn Tenant> {
        self.inner.clone()
    }

    /// What is kept about an account; the empty row where nothing is. `Err` is not "nothing".
    pub async fn row(&self, account: u32) -> Result<Row, LoginFault> {
        let kept = self.inner.kept(account).await?;
        Ok(kept.map(|kept| kept.row).unwrap_or_default())
    }

    /// Begins a change of an account's row.
    pub async fn changing(&self, account: u32) -> Result<Changing<'_>, LoginFault> {
        let tenancy = &self.inner.tenancy;
        tenancy.room_for(Purpose::Keep, false, ROW_ROWS).await?;
        self.removing(account).await
    }

    /// The same for a removal, which a full volume takes too.
    pub async fn removing(&self, account: u32) -> Result<Changing<'_>, LoginFault> {
        let inner = &*self.inner;
        let _locked = inner.locks.lock(account_lock(account)).await;
        let row = inner.kept(account).await?.map(|kept| kept.row);
        Ok(Changing {
            inner,
            account,
            row,
            _locked,
        })
    }

    /// The part of the group that makes an account: a number that no account had before, so no row is there.
    pub fn begun(&self, account: u32, main: Main) -> Option<Part> {
        let row = Row {
            main: Some(main),
            ..Row::default()
        };
        let takes = self.inner.state.borrow().takes();
        takes.then(|| self.inner.part(Change::Put { account, row }))
    }

    /// The secret of this volume: it is made of `fresh`, which is random, where there is none yet. Durable when it answers.
    pub async fn secret(&self, fresh: [u8; 32]) -> Result<[u8; 32], LoginFault> {
        let inner = &self.inner;
        if let Some(secret) = self.known_secret() {
            return Ok(secret);
        }
        let _locked = inner.locks.lock(SINGLES_LOCK.to_owned()).await;
        if let Some(secret) = self.known_secret() {
            return Ok(secret);
        }
        inner.tenancy.room_for(Purpose::Keep, false, 1).await?;
        inner.commit(Purpose::Keep, Change::Secret(fresh)).await?;
        Ok(fresh)
    }

    fn known_secret(&self) -> Option<[u8; 32]> {
        self.inner.state.borrow().secret()
    }

    /// Where the audit's chain ended when that was last written; `None`: it never was.
    pub fn head(&self) -> Option<Head> {
        self.inner.state.borrow().head()
    }

    /// Durable when it answers. A head that is behind the one that is kept is not written: two writers cannot turn it back.
    pub async fn set_head(&self, head: Head) -> Result<(), LoginFault> {
        let inner = &self.inner;
        inner.tenancy.room_for(Purpose::Keep, false, 1).await?;
        let _locked = inner.locks.lock(SINGLES_LOCK.to_owned()).await;
        if self.head().is_some_and(|kept| kept.line >= head.line) {
            return Ok(());
        }
        inner.commit(Purpose::Keep, Change::Head(head)).await
    }
}

impl Changing<'_> {
    /// The part of a group after which `row` is what is kept. The caller keeps this value until the group is applied.
    pub fn part(&self, row: Row) -> Result<Part, LoginFault> {
        row.check().map_err(LoginFault::Refused)?;
        if !self.inner.state.borrow().takes() {
            let why = "the index is behind";
            return Err(StoreFault::Deferred(why.to_owned()).into());
        }
        let account = self.account;
        Ok(self.inner.part(Change::Put { account, row }))
    }

    /// With these keys of the account's own password, and the app passwords that are there.
    pub fn with_keys(&self, main: Option<Main>) -> Result<Part, LoginFault> {
        let row = self.row.clone().unwrap_or_default();
        self.part(Row { main, ..row })
    }

    /// The account's removal. `None`: nothing is kept about it.
    pub fn removed(&self) -> Option<Part> {
        let account = self.account;
        let is_there = self.row.is_some();
        is_there.then(|| self.inner.part(Change::Remove { account }))
    }

    /// Writes `row`; durable when it answers.
    pub async fn put(self, row: Row) -> Result<(), LoginFault> {
        self.write(Purpose::Keep, row).await
    }

    /// The same for a row that lost something: a full volume takes it too.
    pub async fn put_less(self, row: Row) -> Result<(), LoginFault> {
        self.write(Purpose::Delete, row).await
    }

    async fn write(self, purpose: Purpose, row: Row) -> Result<(), LoginFault> {
        let part = self.part(row)?;
        let tenancy = &self.inner.tenancy;
        let committed = tenancy.commit(purpose, Vec::new(), vec![part]).await;
        Ok(committed.map(drop)?)
    }
}

impl Inner {
    async fn kept(&self, account: u32) -> Result<Option<Kept>, LoginFault> {
        if let Some(known) = self.state.borrow().row(account) {
            return Ok(known.cloned());
        }
        let key = account.to_be_bytes().to_vec();
        let row = self.tenancy.store().get(ROWS, key).await?;
        // A change that became durable while we read is newer than what we read.
        if let Some(known) = self.state.borrow().row(account) {
            return Ok(known.cloned());
        }
        Ok(row.as_deref().map(Kept::decode).transpose()?)
    }

    async fn commit(&self, purpose: Purpose, change: Change) -> Result<(), LoginFault> {
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
            rows: ROW_ROWS,
            applied: Box::new(move |committed: &Committed| {
                change.apply(committed.lsn, &mut inner.state.borrow_mut());
            }),
        }
    }
}

/// A record of ours in a line, for people; `None`: it cannot be read.
pub fn describe(record: &Record) -> Option<String> {
    let change = Change::decode(record).ok()?;
    Some(change.describe())
}

fn account_lock(account: u32) -> String {
    format!("account {account}")
}

/// One for the secret and the head.
const SINGLES_LOCK: &str = "singles";

impl From<Broken> for LoginFault {
    fn from(_: Broken) -> LoginFault {
        let why = "a row or record is not of this release's making";
        LoginFault::Store(StoreFault::Deferred(why.to_owned()))
    }
}

/// What the tenancy is answered.
fn store_fault(fault: LoginFault) -> StoreFault {
    match fault {
        LoginFault::Store(fault) => fault,
        fault => StoreFault::Deferred(fault.to_string()),
    }
}
