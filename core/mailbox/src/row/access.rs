//! Who may do what with a folder: the access lists of one account, which stand in its row of `TREES`, and a row of `SHARES`, which says whom they
//! name.

use std::collections::{BTreeMap, BTreeSet};

use base::cursor::{Reader, Write};
use mail::Rights;
use tenancy::encoding::{put_text, read_text};

use super::{Broken, read_bool, read_u32};
use crate::limits::{ACCESS_PER_ACCOUNT_MAX, ACCESS_PER_FOLDER_MAX, SHARED_WITH_MAX};
use crate::{AccountId, MailboxId};

/// Whom an entry of an access list is about (RFC 4314 §2: an identifier).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// Every account of this box.
    Anyone,
    Account(AccountId),
    /// The members of the group of this address, as the directory spells it, and of this one only: a later group of its name has another number.
    Group {
        name: String,
        serial: u64,
    },
}

/// An entry's key: an identifier, and whether its rights are given or (RFC 4314 §2: `-`) taken away.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grantee {
    pub negative: bool,
    pub who: Who,
}

/// The entries of one folder; none of them has no rights.
pub type AccessList = BTreeMap<Grantee, Rights>;

/// All access lists of one account, and whether its mailboxes are those of a shared account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The account stands in the shared namespace, not among other users.
    pub is_shared: bool,
    /// By folder; none of them is empty.
    pub lists: BTreeMap<MailboxId, AccessList>,
}

impl Access {
    pub fn is_empty(&self) -> bool {
        !self.is_shared && self.lists.is_empty()
    }

    /// The entries of all folders.
    pub fn entries_count(&self) -> usize {
        self.lists.values().map(BTreeMap::len).sum()
    }

    /// What `encode` makes of all entries, at most.
    pub fn bytes_max(&self) -> usize {
        self.lists.values().map(list_bytes_max).sum()
    }

    /// Whom the lists give rights to.
    pub fn grantees(&self) -> BTreeSet<Who> {
        let entries = self.lists.values().flat_map(BTreeMap::keys);
        let given = entries.filter(|grantee| !grantee.negative);
        given.map(|grantee| grantee.who.clone()).collect()
    }

    /// Beside what every account takes in memory, about.
    pub fn memory_bytes(&self) -> usize {
        let texts = self.lists.values().flat_map(BTreeMap::keys);
        let texts = texts.map(|grantee| match &grantee.who {
            Who::Group { name, .. } => name.len(),
            Who::Anyone | Who::Account(_) => 0,
        });
        let entry = size_of::<(Grantee, Rights)>() + ENTRY_OVERHEAD_BYTES;
        self.entries_count() * entry + texts.sum::<usize>()
    }

    /// Appends it; the pair of `decode`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(self.is_shared));
        out.put_varint(self.lists.len() as u64);
        for (mailbox, list) in &self.lists {
            out.put_varint(mailbox.0);
            put_access_list(out, list);
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Access, Broken> {
        let mut access = Access {
            is_shared: read_bool(reader)?,
            lists: BTreeMap::new(),
        };
        for _ in 0..reader.varint()? {
            let mailbox = MailboxId(reader.varint()?);
            let list = read_access_list(reader)?;
            if list.is_empty() {
                return Err(Broken);
            }
            access.lists.insert(mailbox, list);
        }
        match access.entries_count() <= ACCESS_PER_ACCOUNT_MAX {
            true => Ok(access),
            false => Err(Broken),
        }
    }
}

/// What one list takes in the row, at most.
pub fn list_bytes_max(list: &AccessList) -> usize {
    let names = list.keys().map(|grantee| match &grantee.who {
        Who::Group { name, .. } => VARINT_BYTES_MAX + VARINT_BYTES_MAX + name.len(),
        Who::Anyone | Who::Account(_) => ID_BYTES_MAX,
    });
    // The mailbox and the count; of each entry its sign, what it names, and rights.
    2 * VARINT_BYTES_MAX + list.len() * (1 + 1 + 2) + names.sum::<usize>()
}

/// One list, which may be empty.
pub fn put_access_list(out: &mut Vec<u8>, list: &AccessList) {
    out.put_varint(list.len() as u64);
    for (grantee, rights) in list {
        out.put_u8(u8::from(grantee.negative));
        put_who(out, &grantee.who);
        out.put_varint(u64::from(rights.bits()));
    }
}

/// The pair of `put_access_list`.
pub fn read_access_list(reader: &mut Reader<'_>) -> Result<AccessList, Broken> {
    let mut list = AccessList::new();
    let count = reader.varint()?;
    if count > ACCESS_PER_FOLDER_MAX as u64 {
        return Err(Broken);
    }
    for _ in 0..count {
        let grantee = Grantee {
            negative: read_bool(reader)?,
            who: read_who(reader)?,
        };
        let bits = u16::try_from(reader.varint()?).map_err(|_| Broken)?;
        let rights = Rights::of_bits(bits).filter(|rights| !rights.is_empty());
        list.insert(grantee, rights.ok_or(Broken)?);
    }
    Ok(list)
}

/// A row of `SHARES`.
pub fn encode_grantees(grantees: &BTreeSet<Who>) -> Vec<u8> {
    let mut out = vec![SHARES_VERSION];
    out.put_varint(grantees.len() as u64);
    for who in grantees {
        put_who(&mut out, who);
    }
    out
}

/// The pair of `encode_grantees`.
pub fn decode_grantees(bytes: &[u8]) -> Result<BTreeSet<Who>, Broken> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != SHARES_VERSION {
        return Err(Broken);
    }
    let count = reader.varint()?;
    if count > SHARED_WITH_MAX as u64 {
        return Err(Broken);
    }
    (0..count).map(|_| read_who(&mut reader)).collect()
}

fn put_who(out: &mut Vec<u8>, who: &Who) {
    match who {
        Who::Anyone => out.put_u8(0),
        Who::Account(account) => {
            out.put_u8(1);
            out.put_varint(u64::from(account.0));
        }
        Who::Group { name, serial } => {
            out.put_u8(2);
            put_text(out, name);
            out.put_varint(*serial);
        }
    }
}

fn read_who(reader: &mut Reader<'_>) -> Result<Who, Broken> {
    Ok(match reader.u8()? {
        0 => Who::Anyone,
        1 => Who::Account(AccountId(read_u32(reader)?)),
        2 => Who::Group {
            name: read_text(reader)?,
            serial: reader.varint()?,
        },
        _ => return Err(Broken),
    })
}

/// Of 64 bits.
const VARINT_BYTES_MAX: usize = 10;
/// Of the number of an account.
const ID_BYTES_MAX: usize = 5;
/// The shape of rows of `SHARES`.
const SHARES_VERSION: u8 = 1;
/// A node of a map, shared by some entries, and the text's allocation.
const ENTRY_OVERHEAD_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn grantee(negative: bool, who: Who) -> Grantee {
        Grantee { negative, who }
    }

    #[test]
    fn lists_and_rows_come_back_as_they_were() {
        let team = Who::Group {
            name: "team@example.org".into(),
            serial: 300,
        };
        let list = AccessList::from([
            (grantee(false, Who::Anyone), Rights::LOOKUP),
            (grantee(false, team), Rights::ALL),
            (grantee(true, Who::Account(AccountId(7))), Rights::READ),
        ]);
        let access = Access {
            is_shared: true,
            lists: BTreeMap::from([(MailboxId(1 << 40), list)]),
        };
        let mut bytes = Vec::new();
        access.encode(&mut bytes);
        assert!(bytes.len() <= 2 + access.bytes_max());
        assert_eq!(Access::decode(&mut Reader::new(&bytes)), Ok(access.clone()));
        for end in 0..bytes.len() {
            assert!(Access::decode(&mut Reader::new(&bytes[..end])).is_err());
        }
        let grantees = access.grantees();
        assert_eq!(
            grantees.len(),
            2,
            "nothing is shared with whom rights are taken from"
        );
        let row = encode_grantees(&grantees);
        assert_eq!(decode_grantees(&row), Ok(grantees));
        assert!(decode_grantees(&row[..row.len() - 1]).is_err());
    }

    #[test]
    fn a_list_without_rights_or_with_unknown_ones_is_not_ours() {
        for bits in [0, Rights::ALL.bits() + 1] {
            let mut bytes = vec![1, 0, 0];
            bytes.put_varint(u64::from(bits));
            assert_eq!(read_access_list(&mut Reader::new(&bytes)), Err(Broken));
        }
    }
}
