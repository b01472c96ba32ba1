//! The extensions that we have, by the names that `require` uses.

/// Extensions as bits; a set is a `Capabilities`.
macro_rules! capabilities {
    ($($name:ident = $text:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Capability { $($name,)* }

        const ALL: &[(Capability, &str)] = &[$((Capability::$name, $text),)*];
    };
}

// One list for the enum, for `require` and for what ManageSieve announces: what is listed is what compiles.
capabilities! {
    BodyTest = "body",
    AsciiCasemap = "comparator-i;ascii-casemap",
    AsciiNumeric = "comparator-i;ascii-numeric",
    Octet = "comparator-i;octet",
    Copy = "copy",
    Date = "date",
    Duplicate = "duplicate",
    EditHeader = "editheader",
    EncodedCharacter = "encoded-character",
    Enotify = "enotify",
    Envelope = "envelope",
    Environment = "environment",
    Ereject = "ereject",
    Fcc = "fcc",
    FileInto = "fileinto",
    Ihave = "ihave",
    Imap4Flags = "imap4flags",
    ImapSieve = "imapsieve",
    Include = "include",
    Index = "index",
    Mailbox = "mailbox",
    MailboxId = "mailboxid",
    Regex = "regex",
    Reject = "reject",
    Relational = "relational",
    SpamTest = "spamtest",
    SpamTestPlus = "spamtestplus",
    SpecialUse = "special-use",
    Subaddress = "subaddress",
    Vacation = "vacation",
    VacationSeconds = "vacation-seconds",
    Variables = "variables",
    VirusTest = "virustest",
}

/// All names, sorted, as ManageSieve lists them (RFC 5804 §1.7).
pub fn capability_names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(_, name)| *name)
}

impl Capability {
    pub fn by_name(name: &str) -> Option<Capability> {
        let found = ALL.iter().find(|(_, known)| *known == name);
        found.map(|(capability, _)| *capability)
    }

    pub fn name(self) -> &'static str {
        ALL[self as usize].1
    }
}

/// Those that a script may use from some place on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Capabilities(u64);

// One bit for each.
const _: () = assert!(ALL.len() <= 64);

impl Capabilities {
    pub fn has(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u32) != 0
    }

    /// With those that it includes: RFC 5235 lets `spamtestplus` stand for `spamtest`, RFC 6131 §2 `vacation-seconds` for `vacation`.
    pub fn add(&mut self, capability: Capability) {
        self.0 |= 1 << capability as u32;
        match capability {
            Capability::SpamTestPlus => self.add(Capability::SpamTest),
            Capability::VacationSeconds => self.add(Capability::Vacation),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_lead_to_their_bit() {
        assert!(capability_names().is_sorted());
        for name in capability_names() {
            let capability = Capability::by_name(name).expect("a name of ours");
            assert_eq!(capability.name(), name);
        }
        assert_eq!(Capability::by_name("Copy"), None);
        let mut some = Capabilities::default();
        some.add(Capability::VacationSeconds);
        assert!(some.has(Capability::Vacation) && !some.has(Capability::Copy));
    }
}
