//! Rights on a mailbox (RFC 4314 §2.1), and which flags they allow to be changed.

use std::fmt;

use crate::flags::{Flags, SystemFlags};

/// A set of rights; each has one bit. The bits are kept on disk: none is ever given to another right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Rights(u16);

impl Rights {
    pub const NONE: Rights = Rights(0);
    /// `l`: the mailbox is listed, and its existence may be known.
    pub const LOOKUP: Rights = Rights(1);
    /// `r`: SELECT, STATUS, FETCH, SEARCH, and COPY from it.
    pub const READ: Rights = Rights(1 << 1);
    /// `s`: \Seen may be set and cleared.
    pub const SEEN: Rights = Rights(1 << 2);
    /// `w`: flags other than \Seen and \Deleted may be set and cleared.
    pub const WRITE: Rights = Rights(1 << 3);
    /// `i`: APPEND, and COPY into it.
    pub const INSERT: Rights = Rights(1 << 4);
    /// `p`: mail may be submitted to it. No command here asks for this right; it is kept for programs that do.
    pub const POST: Rights = Rights(1 << 5);
    /// `k`: mailboxes may be made below it.
    pub const CREATE: Rights = Rights(1 << 6);
    /// `x`: it may be deleted and renamed.
    pub const DELETE_MAILBOX: Rights = Rights(1 << 7);
    /// `t`: \Deleted may be set and cleared.
    pub const DELETE_MESSAGES: Rights = Rights(1 << 8);
    /// `e`: EXPUNGE.
    pub const EXPUNGE: Rights = Rights(1 << 9);
    /// `a`: rights may be seen and changed.
    pub const ADMINISTER: Rights = Rights(1 << 10);
    /// What an owner has.
    pub const ALL: Rights = Rights((1 << 11) - 1);

    /// Each right with its letter, in the order of RFC 4314 §2.1.
    pub const LETTERS: [(char, Rights); 11] = [
        ('l', Rights::LOOKUP),
        ('r', Rights::READ),
        ('s', Rights::SEEN),
        ('w', Rights::WRITE),
        ('i', Rights::INSERT),
        ('p', Rights::POST),
        ('k', Rights::CREATE),
        ('x', Rights::DELETE_MAILBOX),
        ('t', Rights::DELETE_MESSAGES),
        ('e', Rights::EXPUNGE),
        ('a', Rights::ADMINISTER),
    ];

    /// RFC 4314 §2.1.1: what `c` of RFC 2086 stands for.
    const OBSOLETE_CREATE: Rights = Rights(1 << 6 | 1 << 7);
    /// The same for `d`. A mailbox is deleted by `c` here, as most servers have it.
    const OBSOLETE_DELETE: Rights = Rights(1 << 8 | 1 << 9);

    /// `None`: a letter that is not a right. RFC 2086's `c` and `d` are read as what they stand for.
    pub fn parse(text: &str) -> Option<Rights> {
        let mut rights = Rights::NONE;
        for letter in text.chars() {
            rights = rights.with(match letter {
                'c' => Rights::OBSOLETE_CREATE,
                'd' => Rights::OBSOLETE_DELETE,
                _ => {
                    let mut known = Rights::LETTERS.iter();
                    known.find(|(known, _)| *known == letter)?.1
                }
            });
        }
        Some(rights)
    }

    /// The bits as they are stored.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// The pair of `bits`; `None`: a bit that no right has.
    pub fn of_bits(bits: u16) -> Option<Rights> {
        (bits & !Rights::ALL.0 == 0).then_some(Rights(bits))
    }

    /// Whether all of `other` are among these.
    pub fn contains(self, other: Rights) -> bool {
        self.0 & other.0 == other.0
    }
    /// Whether any of `other` is among these.
    pub fn meets(self, other: Rights) -> bool {
        self.0 & other.0 != 0
    }
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// These and `other`.
    pub fn with(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }
    /// These without `other`.
    pub fn without(self, other: Rights) -> Rights {
        Rights(self.0 & !other.0)
    }

    /// The letters, with RFC 2086's `c` and `d` behind them where one of the rights that they stand for is here (RFC 4314 §2.1.1).
    pub fn with_obsolete(self) -> String {
        let mut text = self.to_string();
        if self.meets(Rights::OBSOLETE_CREATE) {
            text.push('c');
        }
        if self.meets(Rights::OBSOLETE_DELETE) {
            text.push('d');
        }
        text
    }

    /// The system flags that may be changed.
    pub fn system_flags(self) -> SystemFlags {
        let mut flags = SystemFlags::default();
        if self.contains(Rights::SEEN) {
            flags = flags.with(SystemFlags::SEEN);
        }
        if self.contains(Rights::DELETE_MESSAGES) {
            flags = flags.with(SystemFlags::DELETED);
        }
        if self.contains(Rights::WRITE) {
            let others = [
                SystemFlags::ANSWERED,
                SystemFlags::FLAGGED,
                SystemFlags::DRAFT,
            ];
            flags = others.into_iter().fold(flags, SystemFlags::with);
        }
        flags
    }

    /// Whether any flag at all may be changed.
    pub fn changes_flags(self) -> bool {
        self.meets(
            Rights::SEEN
                .with(Rights::WRITE)
                .with(Rights::DELETE_MESSAGES),
        )
    }

    /// Whether every flag may be changed.
    pub fn changes_all_flags(self) -> bool {
        self.contains(
            Rights::SEEN
                .with(Rights::WRITE)
                .with(Rights::DELETE_MESSAGES),
        )
    }

    /// Those of `flags` that may be changed.
    pub fn allowed(self, flags: &Flags) -> Flags {
        Flags {
            system: SystemFlags(flags.system.0 & self.system_flags().0),
            keywords: match self.contains(Rights::WRITE) {
                true => flags.keywords.clone(),
                false => Vec::new(),
            },
        }
    }
}

impl fmt::Display for Rights {
    /// The letters, in the order of RFC 4314 §2.1.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (letter, right) in Rights::LETTERS {
            if self.contains(right) {
                write!(out, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// What SETACL does with the rights it brings (RFC 4314 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RightsChange {
    /// These and no others; `NONE` takes the entry out.
    Replace(Rights),
    /// `+`
    Add(Rights),
    /// `-`
    Remove(Rights),
}

impl RightsChange {
    /// A sign, or none, and letters.
    pub fn parse(text: &str) -> Option<RightsChange> {
        Some(match text.as_bytes().first() {
            Some(b'+') => RightsChange::Add(Rights::parse(&text[1..])?),
            Some(b'-') => RightsChange::Remove(Rights::parse(&text[1..])?),
            _ => RightsChange::Replace(Rights::parse(text)?),
        })
    }

    /// What becomes of `before`.
    pub fn of(self, before: Rights) -> Rights {
        match self {
            RightsChange::Replace(rights) => rights,
            RightsChange::Add(rights) => before.with(rights),
            RightsChange::Remove(rights) => before.without(rights),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keyword;

    #[test]
    fn letters_and_bits_come_back_as_they_were() {
        for bits in 0..=Rights::ALL.bits() {
            let rights = Rights::of_bits(bits).unwrap();
            assert_eq!(Rights::parse(&rights.to_string()), Some(rights));
            assert!(Rights::parse(&rights.with_obsolete()).is_some());
        }
        assert_eq!(Rights::of_bits(1 << 11), None);
        assert_eq!(Rights::ALL.to_string(), "lrswipkxtea");
        assert_eq!(Rights::parse("lrz"), None);
        assert_eq!(Rights::parse("L"), None, "rights are lower case");
        assert_eq!(Rights::parse(""), Some(Rights::NONE));
    }

    #[test]
    fn rights_of_rfc_2086_are_read_and_shown() {
        assert_eq!(Rights::parse("cd").unwrap().to_string(), "kxte");
        assert_eq!(Rights::parse("lrx").unwrap().with_obsolete(), "lrxc");
        assert_eq!(Rights::parse("lrt").unwrap().with_obsolete(), "lrtd");
        assert_eq!(Rights::ALL.with_obsolete(), "lrswipkxteacd");
    }

    #[test]
    fn a_change_replaces_adds_or_removes() {
        let before = Rights::parse("lrs").unwrap();
        for (change, after) in [
            ("lr", "lr"),
            ("+wi", "lrswi"),
            ("-s", "lr"),
            ("", ""),
            ("-", "lrs"),
        ] {
            let change = RightsChange::parse(change).unwrap();
            assert_eq!(change.of(before).to_string(), after);
        }
        assert_eq!(RightsChange::parse("+q"), None);
        assert_eq!(RightsChange::parse("+-r"), None);
    }

    #[test]
    fn each_flag_has_its_right() {
        let all = Flags {
            system: SystemFlags(31),
            keywords: vec![Keyword::parse("$Done").unwrap()],
        };
        let allowed = |rights: &str| Rights::parse(rights).unwrap().allowed(&all);
        assert_eq!(allowed("s"), Flags::system(SystemFlags::SEEN));
        assert_eq!(allowed("t"), Flags::system(SystemFlags::DELETED));
        assert_eq!(allowed("w").system, SystemFlags(31 - 1 - 8));
        assert_eq!(allowed("w").keywords, all.keywords);
        assert_eq!(allowed("swt"), all);
        assert_eq!(allowed("lripkxea"), Flags::default());
    }
}
