//! What a client did with a message, as the message's script sees it (RFC 6785).

use mail::{Flags, SystemFlags};

use super::Head;

/// What a client did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// APPEND or REPLACE.
    Append,
    /// COPY or MOVE.
    Copy,
    /// STORE.
    Flag,
}

impl Cause {
    pub fn name(self) -> &'static str {
        match self {
            Cause::Append => "APPEND",
            Cause::Copy => "COPY",
            Cause::Flag => "FLAG",
        }
    }
}

/// What a script sees of it.
#[derive(Debug)]
pub(crate) struct Happened {
    pub head: Head,
    /// The script's name.
    pub script: String,
    pub mailbox: String,
    pub user: String,
    pub cause: Cause,
    pub changed: String,
    pub flags: Flags,
}

impl Happened {
    pub fn shown(&self) -> sieve::Event<'_> {
        sieve::Event {
            user: &self.user,
            email: &self.user,
            cause: self.cause.name(),
            mailbox: &self.mailbox,
            changed_flags: &self.changed,
            flags: &self.flags,
        }
    }
}

/// Flags by their names, with blanks between.
pub(super) fn words(flags: &Flags) -> String {
    let system = [
        ("\\Seen", SystemFlags::SEEN),
        ("\\Answered", SystemFlags::ANSWERED),
        ("\\Flagged", SystemFlags::FLAGGED),
        ("\\Deleted", SystemFlags::DELETED),
        ("\\Draft", SystemFlags::DRAFT),
    ];
    let mut words: Vec<&str> = Vec::new();
    for (name, flag) in system {
        if flags.system.contains(flag) {
            words.push(name);
        }
    }
    words.extend(flags.keywords.iter().map(mail::Keyword::as_str));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_named_as_clients_name_them() {
        let mut flags = Flags::system(SystemFlags::SEEN.with(SystemFlags::DRAFT));
        flags.keywords.extend(mail::Keyword::parse("$Work"));
        assert_eq!(words(&flags), "\\Seen \\Draft $Work");
        assert_eq!(words(&Flags::default()), "");
    }
}
