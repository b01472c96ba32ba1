//! An account: its records and its row. What they do to memory is in `state/apply.rs`.
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

/// `Address::key` → account; see the head of the file.
pub(crate) const KEYS: Table = Table(3);
/// Account → row.
pub(crate) const ACCOUNTS: Table = Table(4);

// The kinds of the table above. A number is never given to another record.
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
        /// The address that mail is sent to, and that the user logs in with.
        address: Address,
        /// argon2id, PHC string form.
        password_hash: String,
        /// 0: no limit.
        quota_bytes: u64,
    },
    /// The account is gone, and its address is free. Its mail is removed by `mailbox` in the same group.
    Remove { account: AccountId },
    /// The hash replaces the one before.
    Password {
        account: AccountId,
        /// argon2id, PHC string form.
        password_hash: String,
    },
    /// 0: no limit.
    Quota {
        account: AccountId,
        /// In bytes of all messages.
        quota_bytes: u64,
    },
    /// The whole row, so that older records may go.
    Snapshot { account: AccountId, row: AccountRow },
}

/// An account as the projection has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountRow {
    pub address: Address,
    /// argon2id, PHC string form; never logged.
    pub password_hash: String,
    /// 0: no limit.
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
