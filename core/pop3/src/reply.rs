//! Every text that a POP3 client may get: clients show them to people. `core/REFERENCE-REPLIES.md` has a row for each.
//!
//! Response codes in brackets are what programs decide by: RFC 2449 §8 and RFC 3206.

use std::fmt::{self, Display};

/// One line, without numbers of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    is_ok: bool,
    /// Without brackets; empty for none.
    code: &'static str,
    text: &'static str,
}

impl Reply {
    const fn ok(text: &'static str) -> Reply {
        Reply {
            is_ok: true,
            code: "",
            text,
        }
    }

    const fn refused(code: &'static str, text: &'static str) -> Reply {
        Reply {
            is_ok: false,
            code,
            text,
        }
    }

    /// Appends the line.
    pub fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{self}\r\n").as_bytes());
    }
}

impl Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_ok { "+OK " } else { "-ERR " })?;
        if !self.code.is_empty() {
            write!(f, "[{}] ", self.code)?;
        }
        f.write_str(self.text)
    }
}

macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident = $reply:expr;)*) => {
        impl Reply {
            $($(#[$doc])* pub const $name: Reply = $reply;)*

            /// All of them.
            pub const ALL: &[Reply] = &[$(Reply::$name),*];
        }
    };
}

replies! {
    /// The greeting.
    READY = Reply::ok("Ringpost ready");
    /// The answer to USER, for any name.
    SEND_PASSWORD = Reply::ok("Send the password");
    /// The maildrop is open.
    LOGGED_IN = Reply::ok("Logged in");
    /// STLS.
    BEGIN_TLS = Reply::ok("Begin TLS negotiation now");
    /// Before the list of CAPA.
    CAPABILITIES = Reply::ok("Capability list follows");
    /// Before the list of AUTH without a mechanism.
    MECHANISMS = Reply::ok("List of mechanisms follows");
    /// Before the list of LANG.
    LANGUAGES = Reply::ok("Language list follows");
    /// LANG with a language that we have: its tag stands first (RFC 6856 §3.2).
    LANGUAGE = Reply::ok("en Language set to English");
    /// UTF8.
    UTF8 = Reply::ok("UTF8 enabled");
    /// NOOP.
    NOOP = Reply::ok("NOOP completed");
    /// DELE.
    DELETED = Reply::ok("Message marked for deletion");
    /// RSET.
    RESET = Reply::ok("Deletion marks removed");
    /// Before the list of UIDL.
    UNIQUE_IDS = Reply::ok("Unique-id list follows");
    /// TOP, before the message.
    TOP = Reply::ok("Top of message follows");
    /// QUIT; marked messages are gone for good.
    BYE = Reply::ok("Logging out");
    /// Wrong password, or an unknown user.
    WRONG_PASSWORD = Reply::refused("AUTH", "Authentication failed");
    /// PLAIN named another identity.
    ACTING_AS = Reply::refused("AUTH", "Authorization identity not supported");
    /// And the connection is closed.
    TOO_MANY_FAILURES = Reply::refused("AUTH", "Too many failed logins");
    /// AUTH answered by `*`.
    CANCELLED = Reply::refused("", "Authentication cancelled");
    /// AUTH answered by nonsense.
    BAD_RESPONSE = Reply::refused("", "Invalid authentication response");
    /// AUTH with another mechanism.
    NO_MECHANISM = Reply::refused("", "Unsupported authentication mechanism; use PLAIN");
    /// A password without TLS.
    NEEDS_TLS = Reply::refused("", "Plaintext authentication is allowed only inside TLS");
    /// PASS first.
    USER_FIRST = Reply::refused("", "Send USER first");
    /// STLS where there is no certificate, or TLS already.
    NO_STLS = Reply::refused("", "STLS not available");
    /// A command of the TRANSACTION state.
    LOG_IN_FIRST = Reply::refused("", "Log in first");
    /// A command of the AUTHORIZATION state.
    LOGGED_IN_ALREADY = Reply::refused("", "Already logged in");
    /// Not a command.
    UNKNOWN = Reply::refused("", "Unknown command");
    /// A command with other arguments than it takes.
    ARGUMENTS = Reply::refused("", "Invalid arguments");
    /// LANG with another language.
    NO_LANGUAGE = Reply::refused("", "Language not supported");
    /// And the connection is closed.
    LINE_TOO_LONG = Reply::refused("", "Line is too long");
    /// And the connection is closed.
    TOO_MANY_ERRORS = Reply::refused("", "Too many errors");
    /// No message has the number, or it is marked as deleted.
    NO_MESSAGE = Reply::refused("", "No such message");
    /// Another session expunged it.
    GONE = Reply::refused("", "Message was deleted by another session");
    /// Of the message that was asked for.
    DAMAGED = Reply::refused("SYS/PERM", "Every stored copy of the message is damaged");
    /// Storage is busy.
    BUSY = Reply::refused("SYS/TEMP", "Storage is busy, try again later");
    /// Storage defers.
    UNAVAILABLE = Reply::refused("SYS/TEMP", "Storage is unavailable, try again later");
    /// The account's share of memory is spent.
    NO_MEMORY = Reply::refused("SYS/TEMP", "Too many large mailboxes are open, close other connections");
    /// More than `limits::MESSAGES_MAX`.
    TOO_MANY_MESSAGES = Reply::refused("SYS/PERM", "Mailbox has too many messages for POP3, use IMAP");
    /// QUIT; what was marked stays, all or some of it.
    NOT_DELETED = Reply::refused("SYS/TEMP", "Some deleted messages not removed");
    /// A connection over the listener's limit, in place of the greeting.
    TOO_MANY_CONNECTIONS = Reply::refused("SYS/TEMP", "Too many connections, try again later");
    /// A connection from an address that is banned, in place of the greeting.
    BANNED = Reply::refused("SYS/TEMP", "Too many failures from your address, try again later");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_fits_a_line_of_the_protocol() {
        for reply in Reply::ALL {
            let mut line = Vec::new();
            reply.put(&mut line);
            // RFC 1939 §3, with CRLF.
            assert!(line.len() <= 512 && line.is_ascii());
        }
        assert_eq!(Reply::NOOP.to_string(), "+OK NOOP completed");
        assert_eq!(
            Reply::WRONG_PASSWORD.to_string(),
            "-ERR [AUTH] Authentication failed"
        );
    }
}
