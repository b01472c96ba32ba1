//! A group: an address of a domain of ours whose mail goes to its members, here or elsewhere, with the List-* fields of RFC 2369 and RFC 2919.
//!
//! Records 18 `Put` and 19 `Remove` as in `whole.rs`; row: serial, posters, owner, title. Members are rows of their own
//! (records 20 and 21; name: group, serial, member, with NUL between; row: the member's address), so that a change of one writes one.
//!
//! The serial tells a group from an earlier one of the same name: where a rebuild from the bare log finds an old member whose group is gone,
//! the member is of no group that there is, and is dropped.

use base::cursor::{Reader, Write};
use mail::Address;
use store::{RecordKind, Table};
use tenancy::encoding::{Broken, put_text, read_text};

use crate::account::{put_address, read_address};
use crate::limits::{GROUPS_MAX, MEMBERS_MAX};
use crate::whole::Noun;

/// Who may post to a group. It is decided by the envelope's sender, which anyone can write: as strong as what SPF and DMARC make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posters {
    Anyone,
    /// Senders whose address is a member.
    Members,
    /// Addresses of the group's own domain.
    OwnDomain,
}

/// A group as its row has it; its name is the row's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Tells it from earlier groups of the same name.
    pub(crate) serial: u64,
    pub posters: Posters,
    /// Where reports about its mail go, and what people write to `name+owner@`.
    pub owner: Address,
    /// The words of List-Id; may be empty.
    pub title: String,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// An address here or elsewhere.
    pub address: Address,
}

impl Group {
    /// One that is in no directory.
    #[doc(hidden)]
    pub fn for_tests(posters: Posters, owner: Address, title: &str) -> Group {
        Group {
            serial: 0,
            posters,
            owner,
            title: title.to_owned(),
        }
    }

    /// Tells it from earlier groups of the same name.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// What the names of its members begin with.
    pub(crate) fn members_start(&self, name: &str) -> String {
        format!("{name}\0{}\0", self.serial)
    }
}

impl Noun for Group {
    const NOUN: &'static str = "Group";
    const NOUNS: &'static str = "groups";
    const PUT: RecordKind = RecordKind(18);
    const REMOVE: RecordKind = RecordKind(19);
    const TABLE: Table = Table(17);
    const ROWS_MAX: usize = GROUPS_MAX;

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.serial);
        out.put_u8(match self.posters {
            Posters::Anyone => 0,
            Posters::Members => 1,
            Posters::OwnDomain => 2,
        });
        put_address(out, &self.owner);
        put_text(out, &self.title);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Group, Broken> {
        Ok(Group {
            serial: reader.varint()?,
            posters: match reader.u8()? {
                0 => Posters::Anyone,
                1 => Posters::Members,
                2 => Posters::OwnDomain,
                _ => return Err(Broken),
            },
            owner: read_address(reader)?,
            title: read_text(reader)?,
        })
    }

    fn describe(&self) -> String {
        format!(
            "posters {:?}, owner {}, serial {}",
            self.posters, self.owner, self.serial
        )
    }
}

impl Noun for Member {
    const NOUN: &'static str = "Member";
    const NOUNS: &'static str = "members";
    const PUT: RecordKind = RecordKind(20);
    const REMOVE: RecordKind = RecordKind(21);
    const TABLE: Table = Table(18);
    const ROWS_MAX: usize = MEMBERS_MAX;

    fn encode(&self, out: &mut Vec<u8>) {
        put_address(out, &self.address);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Member, Broken> {
        Ok(Member {
            address: read_address(reader)?,
        })
    }

    fn describe(&self) -> String {
        self.address.to_string()
    }
}
