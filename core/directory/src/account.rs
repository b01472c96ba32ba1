//! An account: its records, its row, and what they do to memory.
//!
//! | record | payload |
//! |---|---|
//! | 3 `Put` | account, address, password hash, quota |
//! | 4 `Remove` | protective magic, account |
//! | 5 `Password` | account, password hash |
//! | 6 `Quota` | account, bytes |
//! | 7 `Snapshot` | account, row: all of it, so that older records may go |
//!
//! Rows: `ACCOUNTS` account → [`AccountRow`]; `KEYS` `Address::key` → account.

use base::cursor::{Reader, Write};
use mail::Address;
use store::{Lsn, Record, RecordKind, Table};
use tenancy::encoding::{Broken, put_magic, put_text, read_magic, read_text, read_u32};

use crate::AccountId;
use crate::state::{AccountEntry as Entry, State};

/// `Address::key` → account; see the head of the file.
pub(crate) const KEYS: Table = Table(3);
/// Account → row.
pub(crate) const ACCOUNTS: Table = Table(4);

const PUT: RecordKind = RecordKind(3);
const REMOVE: RecordKind = RecordKind(4);
const PASSWORD: RecordKind = RecordKind(5);
const QUOTA: RecordKind = RecordKind(6);
const SNAPSHOT: RecordKind = RecordKind(7);

/// What happened to an account, as one record of the log. The record's kind is in the table above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AccountEntry {
    /// A new account; its number was never used before.
    Put {
        account: AccountId,
        address: Address,
        password_hash: String,
        quota_bytes: u64,
    },
    /// The account is gone, and its address is free. Its mail is removed by `mailbox` in the same group.
    Remove { account: AccountId },
    /// The hash replaces the one before.
    Password {
        account: AccountId,
        password_hash: String,
    },
    /// 0: no limit.
    Quota {
        account: AccountId,
        quota_bytes: u64,
    },
    /// The whole row, so that older records may go.
    Snapshot { account: AccountId, row: AccountRow },
}

/// An account as the projection has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountRow {
    pub address: Address,
    pub password_hash: String,
    pub quota_bytes: u64,
    /// Records about the account before it are no longer needed: this snapshot stands for them.
    pub snapshot: Lsn,
}

impl AccountRow {
    /// Appends the row: `ROW_VERSION` first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(ROW_VERSION);
        put_address(out, &self.address);
        put_text(out, &self.password_hash);
        out.put_varint(self.quota_bytes);
        out.put_varint(self.snapshot.0);
    }

    /// `Broken`: another version, or bytes that end early.
    pub fn decode(reader: &mut Reader<'_>) -> Result<AccountRow, Broken> {
        if reader.u8()? != ROW_VERSION {
            return Err(Broken);
        }
        Ok(AccountRow {
            address: read_address(reader)?,
            password_hash: read_text(reader)?,
            quota_bytes: reader.varint()?,
            snapshot: Lsn(reader.varint()?),
        })
    }
}

impl AccountEntry {
    /// The record; its pair is `decode`.
    pub fn encode(&self) -> Record {
        let mut out = Vec::with_capacity(48);
        let kind = match self {
            AccountEntry::Put {
                account,
                address,
                password_hash,
                quota_bytes,
            } => {
                out.put_varint(u64::from(account.0));
                put_address(&mut out, address);
                put_text(&mut out, password_hash);
                out.put_varint(*quota_bytes);
                PUT
            }
            AccountEntry::Remove { account } => {
                put_magic(&mut out);
                out.put_varint(u64::from(account.0));
                REMOVE
            }
            AccountEntry::Password {
                account,
                password_hash,
            } => {
                out.put_varint(u64::from(account.0));
                put_text(&mut out, password_hash);
                PASSWORD
            }
            AccountEntry::Quota {
                account,
                quota_bytes,
            } => {
                out.put_varint(u64::from(account.0));
                out.put_varint(*quota_bytes);
                QUOTA
            }
            AccountEntry::Snapshot { account, row } => {
                out.put_varint(u64::from(account.0));
                row.encode(&mut out);
                SNAPSHOT
            }
        };
        Record {
            kind,
            payload: out.into(),
        }
    }

    /// `None`: the record is another noun's.
    pub fn decode(
        kind: RecordKind,
        reader: &mut Reader<'_>,
    ) -> Result<Option<AccountEntry>, Broken> {
        let account = |reader: &mut Reader<'_>| read_u32(reader).map(AccountId);
        Ok(Some(match kind {
            PUT => AccountEntry::Put {
                account: account(reader)?,
                address: read_address(reader)?,
                password_hash: read_text(reader)?,
                quota_bytes: reader.varint()?,
            },
            REMOVE => {
                read_magic(reader)?;
                AccountEntry::Remove {
                    account: account(reader)?,
                }
            }
            PASSWORD => AccountEntry::Password {
                account: account(reader)?,
                password_hash: read_text(reader)?,
            },
            QUOTA => AccountEntry::Quota {
                account: account(reader)?,
                quota_bytes: reader.varint()?,
            },
            SNAPSHOT => AccountEntry::Snapshot {
                account: account(reader)?,
                row: AccountRow::decode(reader)?,
            },
            _ => return Ok(None),
        }))
    }

    /// The account that the record is about.
    pub fn account(&self) -> AccountId {
        match self {
            AccountEntry::Put { account, .. }
            | AccountEntry::Remove { account }
            | AccountEntry::Password { account, .. }
            | AccountEntry::Quota { account, .. }
            | AccountEntry::Snapshot { account, .. } => *account,
        }
    }

    /// The account must be loaded. One that is absent does not exist: it was removed, or in a rebuild from the bare log a
    /// later snapshot stands for it; then the entry has no effect.
    pub fn apply(&self, lsn: Lsn, state: &mut State) {
        match self {
            AccountEntry::Put {
                account,
                address,
                password_hash,
                quota_bytes,
            } => {
                let row = AccountRow {
                    address: address.clone(),
                    password_hash: password_hash.clone(),
                    quota_bytes: *quota_bytes,
                    snapshot: Lsn(0),
                };
                state.put_account(*account, row);
            }
            AccountEntry::Remove { account } => state.remove_account(*account),
            AccountEntry::Password {
                account,
                password_hash,
            } => state.change_account(*account, |row| row.password_hash.clone_from(password_hash)),
            AccountEntry::Quota {
                account,
                quota_bytes,
            } => state.change_account(*account, |row| row.quota_bytes = *quota_bytes),
            AccountEntry::Snapshot { account, row } => {
                let row = AccountRow {
                    snapshot: lsn,
                    ..row.clone()
                };
                if state.has_row(*account) {
                    state.change_account(*account, |known| *known = row);
                } else {
                    state.put_account(*account, row);
                }
            }
        }
    }

    /// One line for people, without the password hash.
    pub fn describe(&self) -> String {
        const HIDDEN: &str = "…";
        match self {
            AccountEntry::Put {
                account,
                address,
                quota_bytes,
                ..
            } => format!(
                "AccountPut {{ account: {account:?}, address: {address}, password: {HIDDEN}, quota_bytes: {quota_bytes} }}"
            ),
            AccountEntry::Remove { account } => format!("AccountRemove {{ account: {account:?} }}"),
            AccountEntry::Password { account, .. } => {
                format!("AccountPassword {{ account: {account:?}, password: {HIDDEN} }}")
            }
            AccountEntry::Quota {
                account,
                quota_bytes,
            } => format!("AccountQuota {{ account: {account:?}, quota_bytes: {quota_bytes} }}"),
            AccountEntry::Snapshot { account, row } => format!(
                "AccountSnapshot {{ account: {account:?}, address: {}, password: {HIDDEN} }}",
                row.address
            ),
        }
    }
}

impl State {
    fn put_account(&mut self, account: AccountId, row: AccountRow) {
        self.raise_next(account);
        self.count_account(row.address.domain(), 1);
        self.put_key(row.address.key(), Some(account));
        if !self.accounts.contains_key(&account) {
            self.insert_account(account, Entry::default());
        }
        let entry = self.accounts.get_mut(&account).expect("just made certain");
        if let Some(known) = entry.row.replace(row) {
            // Only a log that was rebuilt from names an account twice.
            self.count_account(known.address.domain(), -1);
        }
        self.touch_account(account);
    }

    fn remove_account(&mut self, account: AccountId) {
        self.raise_next(account);
        let entry = self.accounts.get_mut(&account);
        let Some(row) = entry.and_then(|entry| entry.row.take()) else {
            return;
        };
        self.touch_account(account);
        self.count_account(row.address.domain(), -1);
        let key = row.address.key();
        let holder = self.keys.get(&key);
        if holder.is_none_or(|(holder, _)| *holder == Some(account)) {
            self.put_key(key, None);
        }
    }

    fn change_account(&mut self, account: AccountId, change: impl FnOnce(&mut AccountRow)) {
        let entry = self.accounts.get_mut(&account);
        if let Some(row) = entry.and_then(|entry| entry.row.as_mut()) {
            change(row);
            self.touch_account(account);
        }
    }

    fn has_row(&self, account: AccountId) -> bool {
        let entry = self.accounts.get(&account);
        entry.is_some_and(|entry| entry.row.is_some())
    }
}

/// Local part and domain, each with its length.
pub(crate) fn put_address(out: &mut Vec<u8>, address: &Address) {
    put_text(out, address.local());
    put_text(out, address.domain());
}

/// `Broken` for what is not an address: it was one when it was written.
pub(crate) fn read_address(reader: &mut Reader<'_>) -> Result<Address, Broken> {
    let local = read_text(reader)?;
    let domain = read_text(reader)?;
    Address::from_parts(&local, &domain).ok_or(Broken)
}

/// Big-endian, so that the projection's order is the order of numbers.
pub(crate) fn account_key(account: AccountId) -> Vec<u8> {
    account.0.to_be_bytes().to_vec()
}

/// The shape of `AccountRow`; another one is `Broken`, which refuses the opening.
const ROW_VERSION: u8 = 1;
