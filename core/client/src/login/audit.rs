//! What the audit gets of each login: `ringpostd` writes it down. No password and no hash is in it; the name of an unknown account stands in it only where it is
//! an address of this server's, because people type passwords where names belong.

use std::net::IpAddr;

use oauth::Flaw;

/// Where a login comes in; its bit is the scope of app passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Imap,
    Pop3,
    Submission,
    Sieve,
}

impl Protocol {
    pub const ALL: [Protocol; 4] = [
        Protocol::Imap,
        Protocol::Pop3,
        Protocol::Submission,
        Protocol::Sieve,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Imap => "imap",
            Protocol::Pop3 => "pop3",
            Protocol::Submission => "submission",
            Protocol::Sieve => "sieve",
        }
    }

    pub fn named(name: &str) -> Option<Protocol> {
        Protocol::ALL
            .into_iter()
            .find(|protocol| protocol.name() == name)
    }

    /// As `logins::App::scopes` has it. Kept on disk: a number is never given to another one.
    pub const fn bit(self) -> u8 {
        match self {
            Protocol::Imap => 1,
            Protocol::Pop3 => 2,
            Protocol::Submission => 4,
            Protocol::Sieve => 8,
        }
    }
}

/// Where a login comes from, and how it is tried.
#[derive(Debug, Clone, Copy)]
pub struct From {
    pub protocol: Protocol,
    pub peer: IpAddr,
    /// `PLAIN`, `SCRAM-SHA-256`, `USER`, …
    pub mechanism: &'static str,
    /// `TLSv1.3`; `None`: there is no TLS.
    pub tls: Option<&'static str>,
}

/// What came of it. A login that was put off was not decided, and is counted only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Granted,
    /// Wrong password.
    Password,
    /// There is no such account.
    NoAccount,
    /// An app password that is not for this protocol.
    Scope,
    /// Another directory has disabled the account, or has it no more.
    Disabled,
    /// Not a login: rights were changed, as `Entry::what` says.
    Changed,
    /// A token of OAuth that is not good.
    Token(Flaw),
    /// A good token or certificate, of another account than the client wants.
    OtherAccount,
    /// A certificate that names no account, or several, or is not valid now.
    Certificate,
    /// SCRAM: it was bound to another connection, or the list of mechanisms was changed on its way.
    Binding,
    /// SCRAM: the client has seen that the password is right, and the login did not come to its end.
    Left,
}

impl Outcome {
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Granted => "granted",
            Outcome::Password => "wrong password",
            Outcome::NoAccount => "no such account",
            Outcome::Scope => "app password is for another protocol",
            Outcome::Disabled => "account is disabled",
            Outcome::Changed => "changed",
            Outcome::Token(flaw) => flaw.name(),
            Outcome::OtherAccount => "of another account",
            Outcome::Certificate => "certificate names no account",
            Outcome::Binding => "bound to another connection",
            Outcome::Left => "right password, login not completed",
        }
    }

    /// It counts against where it comes from: someone may try what is not theirs.
    pub const fn is_guess(self) -> bool {
        match self {
            Outcome::Granted | Outcome::Changed => false,
            Outcome::Token(flaw) => flaw.is_guess(),
            _ => true,
        }
    }

    /// A stranger can make any number of them, so they have a share of the audit's space and no more. A right password and a change of rights are no stranger's, and each has its line.
    pub const fn is_failure(self) -> bool {
        !matches!(self, Outcome::Granted | Outcome::Changed | Outcome::Left)
    }
}

/// One login, or a change of rights.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub unix_seconds: i64,
    pub from: &'a From,
    /// Of the account, or an address of this server that was tried.
    pub name: Option<&'a str>,
    /// The name of the app password that was used.
    pub app: Option<&'a str>,
    pub outcome: Outcome,
    /// What was changed: rights, whose, before and after.
    pub what: Option<&'a str>,
}

/// Where entries go. Must not wait.
pub type Sink = dyn Fn(&Entry<'_>) + Send + Sync;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_cannot_cause_has_its_own_line_in_a_flood() {
        for own in [Outcome::Granted, Outcome::Changed, Outcome::Left] {
            assert!(!own.is_failure(), "{own:?}");
        }
        for one in [
            Outcome::Password,
            Outcome::NoAccount,
            Outcome::Scope,
            Outcome::Disabled,
            Outcome::Token(Flaw::Expired),
            Outcome::OtherAccount,
            Outcome::Certificate,
            Outcome::Binding,
        ] {
            assert!(one.is_failure(), "{one:?}");
        }
    }
}
