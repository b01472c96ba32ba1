//! Flags and keywords (RFC 3501 §2.3.2, RFC 9051 §2.3.2).

/// The system flags as bits. `\Recent` is a matter of sessions and not kept here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SystemFlags(pub u8);

impl SystemFlags {
    pub const SEEN: SystemFlags = SystemFlags(1);
    pub const ANSWERED: SystemFlags = SystemFlags(2);
    pub const FLAGGED: SystemFlags = SystemFlags(4);
    pub const DELETED: SystemFlags = SystemFlags(8);
    pub const DRAFT: SystemFlags = SystemFlags(16);

    pub fn contains(self, other: SystemFlags) -> bool {
        self.0 & other.0 == other.0
    }
    pub fn with(self, other: SystemFlags) -> SystemFlags {
        SystemFlags(self.0 | other.0)
    }
    pub fn without(self, other: SystemFlags) -> SystemFlags {
        SystemFlags(self.0 & !other.0)
    }
}

/// Longest keyword kept, in bytes; RFC 3501 sets no limit.
pub const KEYWORD_BYTES_MAX: usize = 64;
/// Keywords on one message.
pub const KEYWORDS_MAX: usize = 32;

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
