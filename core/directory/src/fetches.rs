//! Operations on accounts elsewhere that mail is fetched from (`fetch.rs`).
//!
//! What must hold: what a run notes counts only for the account elsewhere that it began with (`FetchRow::serial`); and the marks of a message are in the group of
//! the log that places the message (`Directory::fetch_part`), so that neither is durable without the other.

use store::Purpose;
use tenancy::{Locked, Part};

use crate::aliases::check_count;
use crate::fetch::{Fetch, FetchRow, SeenMark};
use crate::limits::*;
use crate::record::{Entry, name_lock};
use crate::state::State;
use crate::whole::{Named, Noun};
use crate::{AccountId, Directory, DirectoryFault};

/// What a run begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetching {
    pub row: FetchRow,
    /// Marks of messages that are here, by the number of their row.
    pub marks: Vec<(u32, Vec<SeenMark>)>,
}

/// What a run notes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Noting {
    /// That of the row that the run began with.
    pub serial: u32,
    /// IMAP: how far it is, UIDVALIDITY and UID.
    pub looked: Option<(u32, u32)>,
    pub refusals: Option<u32>,
    /// Why nothing more is fetched.
    pub stopped: Option<String>,
    /// Rows of marks as they are from now on; one without marks goes.
    pub marks: Vec<(u32, Vec<SeenMark>)>,
}

impl Directory {
    /// `None`: there is no such account elsewhere.
    pub fn fetch(&self, account: AccountId, number: u32) -> Option<FetchRow> {
        source(&self.inner.state.borrow(), account, number).cloned()
    }

    /// The same with the marks of its messages.
    pub fn fetching(&self, account: AccountId, number: u32) -> Option<Fetching> {
        let state = self.inner.state.borrow();
        let row = source(&state, account, number)?.clone();
        let start = format!("{}\0", source_name(account, number));
        let marks = state.fetches.starting(start.clone());
        let marks = marks.filter_map(|(name, row)| match row {
            Fetch::Seen(marks) => Some((name[start.len()..].parse().ok()?, marks.clone())),
            Fetch::Source(_) => None,
        });
        let marks = marks.collect();
        Some(Fetching { row, marks })
    }

    /// Those of one person, by their numbers.
    pub fn fetches_of(&self, account: AccountId) -> Vec<(u32, FetchRow)> {
        let state = self.inner.state.borrow();
        let all = state.fetches.starting(account_start(account));
        let mut all: Vec<(u32, FetchRow)> = all.filter_map(numbered).collect();
        all.sort_by_key(|(number, _)| *number);
        all
    }

    /// All of the volume: account, number and serial. At most `FETCH_ROWS_MAX`.
    pub fn fetches(&self) -> Vec<(AccountId, u32, u32)> {
        let state = self.inner.state.borrow();
        let all = state.fetches.after(None);
        let each = all.filter_map(|(name, row)| {
            let account = name.split('\0').next()?.parse().ok()?;
            let (number, row) = numbered((name, row))?;
            Some((AccountId(account), number, row.serial))
        });
        each.collect()
    }

    /// How many messages of it are remembered.
    pub fn fetched_count(&self, account: AccountId, number: u32) -> usize {
        let state = self.inner.state.borrow();
        let rows = state
            .fetches
            .starting(format!("{}\0", source_name(account, number)));
        let counts = rows.map(|(_, row)| match row {
            Fetch::Seen(marks) => marks.len(),
            Fetch::Source(_) => 0,
        });
        counts.sum()
    }

    /// A new account elsewhere, under the lowest number that is free. Durable when it answers.
    pub async fn add_fetch(
        &self,
        account: AccountId,
        row: FetchRow,
    ) -> Result<u32, DirectoryFault> {
        check_texts(&row)?;
        let inner = &self.inner;
        inner.tenancy.room_for(Purpose::Keep, false, 1).await?;
        let _locked = inner.locks.lock(name_lock(&account_start(account))).await;
        // One that is being removed gets nothing new: its removal looks at what it has under this lock, later.
        let pin = inner.hold(account).await?;
        if self.hash_of(account).is_none() {
            return Err(DirectoryFault::NoAccount);
        }
        let (number, put) = {
            let state = inner.state.borrow();
            let own = state.fetches.starting(account_start(account));
            if own.filter_map(numbered).count() >= FETCHES_EACH_MAX {
                return Err(DirectoryFault::TooMany(
                    "accounts elsewhere for one person: remove one first",
                ));
            }
            // Not one of which marks are left: they would count for another account.
            let is_free = |number: &u32| {
                let name = source_name(account, *number);
                let mut marks = state.fetches.starting(format!("{name}\0"));
                state.fetches.get(&name).is_none() && marks.next().is_none()
            };
            let number = (1..=FETCH_NUMBER_MAX).find(is_free);
            let number = number.ok_or(DirectoryFault::TooMany("accounts elsewhere"))?;
            let name = source_name(account, number);
            let row = Fetch::Source(Box::new(row));
            check_room(&state, &[(name.clone(), Some(&row))])?;
            (number, Entry::Fetch(Named::Put { name, row }))
        };
        inner.commit(Purpose::Keep, vec![put], vec![pin]).await?;
        Ok(number)
    }

    /// Changes it. With another serial it is another account elsewhere: what was fetched from the earlier one is forgotten. `Refused`: there is none.
    pub async fn change_fetch(
        &self,
        account: AccountId,
        number: u32,
        change: impl FnOnce(&mut FetchRow),
    ) -> Result<FetchRow, DirectoryFault> {
        let inner = &self.inner;
        let rows = 1 + rows_each_max();
        inner.tenancy.room_for(Purpose::Keep, false, rows).await?;
        let _locked = inner.locks.lock(name_lock(&account_start(account))).await;
        let name = source_name(account, number);
        let (row, entries) = {
            let state = inner.state.borrow();
            let before = source(&state, account, number);
            let before = before.ok_or(DirectoryFault::Refused(NO_FETCH))?;
            let mut row = before.clone();
            change(&mut row);
            check_texts(&row)?;
            let mut entries = Vec::new();
            if row.serial != before.serial {
                let marks = state.fetches.starting(format!("{name}\0"));
                entries.extend(marks.map(|(name, _)| removal(name.clone())));
            }
            let put = Fetch::Source(Box::new(row.clone()));
            check_room(&state, &[(name.clone(), Some(&put))])?;
            entries.push(Entry::Fetch(Named::Put { name, row: put }));
            (row, entries)
        };
        inner.commit(Purpose::Keep, entries, Vec::new()).await?;
        Ok(row)
    }

    /// Forgets it, with what was fetched. `Refused`: there is none.
    pub async fn remove_fetch(
        &self,
        account: AccountId,
        number: u32,
    ) -> Result<(), DirectoryFault> {
        let name = source_name(account, number);
        let own = format!("{name}\0");
        let removed = self.forget_fetch(account, |other| other == name || other.starts_with(&own));
        match removed.await? {
            0 => Err(DirectoryFault::Refused(NO_FETCH)),
            _ => Ok(()),
        }
    }

    /// Forgets all of an account that is gone.
    pub async fn forget_fetches(&self, account: AccountId) -> Result<(), DirectoryFault> {
        self.forget_fetch(account, |_| true).await.map(drop)
    }

    async fn forget_fetch(
        &self,
        account: AccountId,
        is_meant: impl Fn(&str) -> bool,
    ) -> Result<usize, DirectoryFault> {
        let mut count = 0;
        loop {
            // until nothing is left; each turn removes a row at least
            let attempt = async || {
                let inner = &self.inner;
                let _locked = inner.locks.lock(name_lock(&account_start(account))).await;
                let names: Vec<String> = {
                    let state = inner.state.borrow();
                    let own = state.fetches.starting(account_start(account));
                    let own = own.map(|(name, _)| name).filter(|name| is_meant(name));
                    // The account elsewhere stands before its marks.
                    own.take(REMOVED_AT_ONCE).cloned().collect()
                };
                let removed = names.len();
                if removed > 0 {
                    let entries = names.into_iter().map(removal).collect();
                    inner.commit(Purpose::Delete, entries, Vec::new()).await?;
                }
                Ok::<_, DirectoryFault>(removed)
            };
            let removed = self
                .inner
                .tenancy
                .deleting(REMOVED_AT_ONCE as u64, attempt)
                .await?;
            count += removed;
            if removed < REMOVED_AT_ONCE {
                return Ok(count);
            }
        }
    }

    /// Notes without a message.
    pub async fn note_fetch(
        &self,
        account: AccountId,
        number: u32,
        noting: Noting,
    ) -> Result<(), DirectoryFault> {
        let inner = &self.inner;
        let rows = 1 + noting.marks.len() as u64;
        inner.tenancy.room_for(Purpose::Keep, false, rows).await?;
        let _locked = inner.locks.lock(name_lock(&account_start(account))).await;
        let entries = noted(&inner.state.borrow(), account, number, noting)?;
        if entries.is_empty() {
            return Ok(());
        }
        inner.commit(Purpose::Keep, entries, Vec::new()).await?;
        Ok(())
    }

    /// The part of a message's group that notes it, and the lock to be held until that has an outcome. `None`: the rows are being written by another task
    /// (reclaim, an administrator); the message is to come again in a moment. Not waited for, because the group of a message may wait for what waits for the lock.
    pub fn fetch_part(
        &self,
        account: AccountId,
        number: u32,
        noting: Noting,
    ) -> Result<Option<(Part, Locked<'_>)>, DirectoryFault> {
        let inner = &self.inner;
        let Some(locked) = inner.locks.try_lock(name_lock(&account_start(account))) else {
            return Ok(None);
        };
        let entries = noted(&inner.state.borrow(), account, number, noting)?;
        Ok(Some((inner.part(entries, Vec::new()), locked)))
    }
}

/// What the notes come to as records.
fn noted(
    state: &State,
    account: AccountId,
    number: u32,
    noting: Noting,
) -> Result<Vec<Entry>, DirectoryFault> {
    let before = source(state, account, number);
    let before = before.filter(|row| row.serial == noting.serial);
    let before = before.ok_or(DirectoryFault::Refused(NO_FETCH))?;
    let name = source_name(account, number);
    let mut row = before.clone();
    if let Some((validity, uid)) = noting.looked {
        (row.validity, row.uid) = (validity, uid);
    }
    row.refusals = noting.refusals.unwrap_or(row.refusals);
    if let Some(stopped) = noting.stopped {
        row.stopped = shortened(stopped);
    }
    let mut puts: Vec<(String, Option<Fetch>)> = Vec::new();
    for (block, marks) in noting.marks {
        if marks.len() > FETCHED_PER_ROW_MAX || block as usize >= rows_each_max() as usize {
            return Err(DirectoryFault::TooMany("messages of one account elsewhere"));
        }
        let row = (!marks.is_empty()).then_some(Fetch::Seen(marks));
        puts.push((format!("{name}\0{block}"), row));
    }
    if row != *before {
        puts.push((name, Some(Fetch::Source(Box::new(row)))));
    }
    let sizes: Vec<(String, Option<&Fetch>)> = puts
        .iter()
        .map(|(name, row)| (name.clone(), row.as_ref()))
        .collect();
    check_room(state, &sizes)?;
    let entry = |(name, row)| match row {
        Some(row) => Entry::Fetch(Named::Put { name, row }),
        None => removal(name),
    };
    Ok(puts.into_iter().map(entry).collect())
}

/// What grows must be within the bounds; what shrinks always may.
fn check_room(state: &State, puts: &[(String, Option<&Fetch>)]) -> Result<(), DirectoryFault> {
    let (mut more, mut less) = (0, 0);
    for (name, row) in puts {
        less += state.fetches.get(name).map_or(0, |row| row.octets(name));
        more += row.map_or(0, |row| row.octets(name));
        if row.is_some() {
            check_count::<Fetch>(state, name)?;
        }
    }
    if more > less && state.fetches.octets() + more - less > FETCH_BYTES_MAX {
        return Err(DirectoryFault::TooMany(
            "accounts elsewhere, or messages that are left there, on this box",
        ));
    }
    Ok(())
}

fn check_texts(row: &FetchRow) -> Result<(), DirectoryFault> {
    let is_within = (1..=FETCH_HOST_BYTES_MAX).contains(&row.host.len())
        && (1..=FETCH_USER_BYTES_MAX).contains(&row.user.len())
        && row.folder.len() <= FETCH_FOLDER_BYTES_MAX
        && row.sealed.0.len() <= FETCH_SEALED_BYTES_MAX
        && row.stopped.len() <= FETCH_REASON_BYTES_MAX;
    match is_within {
        true => Ok(()),
        false => Err(DirectoryFault::Refused(
            "the host, the user, the password or the folder is too long, or missing",
        )),
    }
}

/// A server's words are a part of it.
fn shortened(mut why: String) -> String {
    while why.len() > FETCH_REASON_BYTES_MAX {
        why.pop();
    }
    why
}

fn source(state: &State, account: AccountId, number: u32) -> Option<&FetchRow> {
    match state.fetches.get(&source_name(account, number))? {
        Fetch::Source(row) => Some(row),
        Fetch::Seen(_) => None,
    }
}

/// `None`: a row of marks.
fn numbered((name, row): (&String, &Fetch)) -> Option<(u32, FetchRow)> {
    let number = name.split('\0').nth(1)?.parse().ok()?;
    match row {
        Fetch::Source(row) => Some((number, (**row).clone())),
        Fetch::Seen(_) => None,
    }
}

fn removal(name: String) -> Entry {
    Entry::Fetch(Named::Remove { name })
}

fn account_start(account: AccountId) -> String {
    format!("{}\0", account.0)
}

fn source_name(account: AccountId, number: u32) -> String {
    format!("{}\0{number}", account.0)
}

/// Rows of marks of one account elsewhere.
fn rows_each_max() -> u64 {
    FETCHED_EACH_MAX.div_ceil(FETCHED_PER_ROW_MAX) as u64
}

/// Rows that one removal takes out.
const REMOVED_AT_ONCE: usize = 128;
const NO_FETCH: &str =
    "there is no such account elsewhere: `ringpostctl fetch list` shows those that there are";
