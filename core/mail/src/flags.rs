//! Flags and keywords (RFC 3501 §2.3.2, RFC 9051 §2.3.2).

/// The system flags as bits. `\Recent` is a matter of sessions and not kept here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SystemFlags(pub u8);

impl SystemFlags {
    /// The message was read.
    pub const SEEN: SystemFlags = SystemFlags(1);
    pub const ANSWERED: SystemFlags = SystemFlags(2);
    /// The message is marked for attention.
    pub const FLAGGED: SystemFlags = SystemFlags(4);
    /// The message is to be removed by EXPUNGE.
    pub const DELETED: SystemFlags = SystemFlags(8);
    pub const DRAFT: SystemFlags = SystemFlags(16);

    /// Whether all of `other` are set.
    pub fn contains(self, other: SystemFlags) -> bool {
        self.0 & other.0 == other.0
    }
    /// These and `other`.
    pub fn with(self, other: SystemFlags) -> SystemFlags {
        SystemFlags(self.0 | other.0)
    }
    /// These without `other`.
    pub fn without(self, other: SystemFlags) -> SystemFlags {
        SystemFlags(self.0 & !other.0)
    }
}

/// Longest keyword kept, in bytes; RFC 3501 sets no limit.
pub const KEYWORD_BYTES_MAX: usize = 64;
/// Keywords on one message. Messages that were moved here from other servers carry some dozens; past this a change of flags
/// is refused, and no keyword is lost in silence.
pub const KEYWORDS_MAX: usize = 64;

/// A flag-keyword: an atom without a backslash, compared without regard to case, kept as first written.
#[derive(Debug, Clone, PartialOrd, Ord)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// `None` when `text` is not an IMAP atom or is longer than `KEYWORD_BYTES_MAX`.
    pub fn parse(text: &str) -> Option<Keyword> {
        let ok = !text.is_empty()
            && text.len() <= KEYWORD_BYTES_MAX
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte));
        ok.then(|| Keyword(text.into()))
    }
    /// As first written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Keyword) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}
impl Eq for Keyword {}

/// All flags of one message. An empty keyword list owns no memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flags {
    pub system: SystemFlags,
    /// No two equal; at most `KEYWORDS_MAX`.
    pub keywords: Vec<Keyword>,
}

impl Flags {
    /// Without keywords.
    pub fn system(system: SystemFlags) -> Flags {
        Flags {
            system,
            keywords: Vec::new(),
        }
    }

    /// Whether the keyword is set, however it is spelled.
    pub fn has_keyword(&self, keyword: &Keyword) -> bool {
        self.keywords.contains(keyword)
    }

    /// Whether `with` would keep every keyword of `more`.
    pub fn has_room_for(&self, more: &Flags) -> bool {
        let new = more
            .keywords
            .iter()
            .filter(|keyword| !self.has_keyword(keyword));
        match new.count() {
            0 => true,
            new => self.keywords.len() + new <= KEYWORDS_MAX,
        }
    }

    /// These flags and `more`. Keywords past `KEYWORDS_MAX` are omitted; one that is there already keeps its spelling.
    pub fn with(&self, more: &Flags) -> Flags {
        let mut flags = Flags {
            system: self.system.with(more.system),
            keywords: self.keywords.clone(),
        };
        for keyword in &more.keywords {
            if flags.keywords.len() < KEYWORDS_MAX && !flags.has_keyword(keyword) {
                flags.keywords.push(keyword.clone());
            }
        }
        flags
    }

    /// These flags but for `fewer`.
    pub fn without(&self, fewer: &Flags) -> Flags {
        Flags {
            system: self.system.without(fewer.system),
            keywords: self
                .keywords
                .iter()
                .filter(|keyword| !fewer.has_keyword(keyword))
                .cloned()
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(system: SystemFlags, keywords: &[&str]) -> Flags {
        Flags {
            system,
            keywords: keywords
                .iter()
                .map(|text| Keyword::parse(text).unwrap())
                .collect(),
        }
    }

    #[test]
    fn a_keyword_is_one_whatever_its_case() {
        let before = flags(SystemFlags::SEEN, &["$Forwarded"]);
        let after = before.with(&flags(SystemFlags::DELETED, &["$forwarded", "Work"]));
        assert_eq!(
            after
                .keywords
                .iter()
                .map(Keyword::as_str)
                .collect::<Vec<_>>(),
            ["$Forwarded", "Work"]
        );
        assert_eq!(
            after.without(&flags(SystemFlags::SEEN, &["$FORWARDED"])),
            flags(SystemFlags::DELETED, &["Work"])
        );
    }

    #[test]
    fn keywords_on_one_message_are_bounded() {
        let many: Vec<String> = (0..KEYWORDS_MAX + 5)
            .map(|index| format!("k{index}"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let many = flags(SystemFlags::default(), &many);
        let full = Flags::default().with(&many);
        assert_eq!(full.keywords.len(), KEYWORDS_MAX);
        assert!(!Flags::default().has_room_for(&many));
        assert!(full.has_room_for(&flags(SystemFlags::SEEN, &["K0", "k63"])));
        assert!(!full.has_room_for(&flags(SystemFlags::default(), &["other"])));
    }

    #[test]
    fn what_is_no_atom_is_no_keyword() {
        for text in ["", "a b", "\\Seen", "a(b", "a]", "\u{e9}", "a\r"] {
            assert!(Keyword::parse(text).is_none(), "{text:?}");
        }
    }
}
