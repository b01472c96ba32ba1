//! Every text that a ManageSieve client may get: clients show them to people. `core/REFERENCE-REPLIES.md` has a row for each.
//!
//! Response codes in parentheses are what programs decide by: RFC 5804 §1.3.

use std::fmt::{self, Display};

use crate::limits::QUOTED_BYTES_MAX;

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// OK, NO, or BYE.
    status: &'static str,
    /// Without parentheses; empty for none.
    code: &'static str,
    text: &'static str,
}

impl Reply {
    const fn ok(text: &'static str) -> Reply {
        let (status, code) = ("OK", "");
        Reply { status, code, text }
    }

    const fn no(code: &'static str, text: &'static str) -> Reply {
        let status = "NO";
        Reply { status, code, text }
    }

    const fn bye(code: &'static str, text: &'static str) -> Reply {
        let status = "BYE";
        Reply { status, code, text }
    }

    /// Appends the line.
    pub fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{self}\r\n").as_bytes());
    }
}

impl Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status)?;
        if !self.code.is_empty() {
            write!(f, " ({})", self.code)?;
        }
        write!(f, " \"{}\"", self.text)
    }
}

/// Appends a string: quoted where it can be (RFC 5804 §4), else as a literal.
pub fn put_string(text: &str, out: &mut Vec<u8>) {
    let is_plain = text.len() <= QUOTED_BYTES_MAX
        && !text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    if !is_plain {
        put_literal(text.as_bytes(), out);
        return;
    }
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Appends a literal, as servers write them.
pub fn put_literal(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{{}}}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
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
    /// Behind the capabilities, as the greeting.
    READY = Reply::ok("Ringpost ready");
    /// CAPABILITY, and after TLS was started.
    CAPABILITIES = Reply::ok("Capability completed");
    /// STARTTLS.
    BEGIN_TLS = Reply::ok("Begin TLS negotiation now");
    /// AUTHENTICATE.
    LOGGED_IN = Reply::ok("Logged in");
    /// UNAUTHENTICATE.
    LOGGED_OUT = Reply::ok("No longer logged in");
    /// LOGOUT; the connection is closed.
    BYE = Reply::ok("Logging out");
    /// NOOP without a text.
    NOOP = Reply::ok("NOOP completed");
    /// HAVESPACE.
    HAS_SPACE = Reply::ok("There is room for the script");
    /// PUTSCRIPT; the script is durable.
    STORED = Reply::ok("Script stored");
    /// LISTSCRIPTS, behind the list.
    LISTED = Reply::ok("List completed");
    /// GETSCRIPT, behind the script.
    SENT = Reply::ok("Script sent");
    /// SETACTIVE.
    ACTIVATED = Reply::ok("Active script set");
    /// DELETESCRIPT.
    DELETED = Reply::ok("Script deleted");
    /// RENAMESCRIPT.
    RENAMED = Reply::ok("Script renamed");
    /// CHECKSCRIPT.
    VALID = Reply::ok("Script is valid");
    /// Wrong password, or an unknown user.
    WRONG_PASSWORD = Reply::no("", "Authentication failed");
    /// PLAIN named another identity.
    ACTING_AS = Reply::no("", "Authorization identity not supported");
    /// AUTHENTICATE answered by `*`.
    CANCELLED = Reply::no("", "Authentication cancelled");
    /// AUTHENTICATE answered by nonsense.
    BAD_RESPONSE = Reply::no("", "Invalid authentication response");
    /// AUTHENTICATE with another mechanism.
    NO_MECHANISM = Reply::no("", "Unsupported authentication mechanism; use PLAIN");
    /// A password without TLS.
    NEEDS_TLS = Reply::no("ENCRYPT-NEEDED", "Plaintext authentication is allowed only inside TLS");
    /// STARTTLS where there is no certificate, or TLS already.
    NO_STARTTLS = Reply::no("", "STARTTLS not available");
    /// A command for which the client has to be logged in.
    LOG_IN_FIRST = Reply::no("", "Log in first");
    /// A command of the time before the login.
    LOGGED_IN_ALREADY = Reply::no("", "Already logged in");
    /// UNAUTHENTICATE before the login.
    NOT_LOGGED_IN = Reply::no("", "Not logged in");
    /// Not a command.
    UNKNOWN = Reply::no("", "Unknown command");
    /// A command with other arguments than it takes.
    ARGUMENTS = Reply::no("", "Invalid arguments");
    /// Not of the grammar.
    SYNTAX = Reply::no("", "Syntax error");
    /// RFC 5804 §1.6.
    BAD_NAME = Reply::no("", "Invalid script name: 1 to 128 letters, no control characters");
    /// No script has the name.
    NONEXISTENT = Reply::no("NONEXISTENT", "There is no script by that name");
    /// RENAMESCRIPT to a name that another script has.
    ALREADY_EXISTS = Reply::no("ALREADYEXISTS", "A script by that name already exists");
    /// DELETESCRIPT of the active script.
    ACTIVE = Reply::no("ACTIVE", "The active script cannot be deleted");
    /// A script of more than 256 KiB.
    TOO_LARGE = Reply::no("QUOTA/MAXSIZE", "A script has at most 256 KiB");
    /// A script more than 64.
    TOO_MANY = Reply::no("QUOTA/MAXSCRIPTS", "There are at most 64 scripts");
    /// All scripts of the account.
    TOO_MUCH = Reply::no("QUOTA", "All scripts together have at most 1 MiB");
    /// The bound of all accounts, or the volume is full.
    NO_ROOM = Reply::no("QUOTA", "The server has no room for more scripts");
    /// Storage is busy.
    BUSY = Reply::no("TRYLATER", "Storage is busy, try again later");
    /// Storage defers.
    UNAVAILABLE = Reply::no("TRYLATER", "Storage is unavailable, try again later");
    /// The account's share of memory is spent.
    NO_MEMORY = Reply::no("TRYLATER", "Too many scripts are on their way, close other connections");
    /// And the connection is closed.
    TOO_MANY_FAILURES = Reply::bye("", "Too many failed logins");
    /// And the connection is closed.
    TOO_LONG = Reply::bye("", "Command is too long");
    /// And the connection is closed: where the next command begins is not known.
    BAD_LITERAL = Reply::bye("", "Invalid literal: {number+} is expected");
    /// And the connection is closed.
    TOO_MANY_ERRORS = Reply::bye("", "Too many errors");
    /// The client was silent too long.
    TOO_SILENT = Reply::bye("", "Closing an idle connection");
    /// A connection over the listener's limit, in place of the greeting.
    TOO_MANY_CONNECTIONS = Reply::bye("TRYLATER", "Too many connections, try again later");
    /// A connection from an address that is banned, in place of the greeting.
    BANNED = Reply::bye("TRYLATER", "Too many failures from your address, try again later");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_a_line_whose_text_needs_no_escapes() {
        for reply in Reply::ALL {
            let mut line = Vec::new();
            put_string(reply.text, &mut line);
            let text = String::from_utf8(line).unwrap();
            assert!(reply.to_string().ends_with(&text), "{reply}");
        }
        assert_eq!(
            Reply::NEEDS_TLS.to_string(),
            "NO (ENCRYPT-NEEDED) \"Plaintext authentication is allowed only inside TLS\""
        );
    }

    #[test]
    fn a_string_is_quoted_where_it_can_be() {
        let put = |text: &str| {
            let mut out = Vec::new();
            put_string(text, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(put("a \"b\\"), "\"a \\\"b\\\\\"");
        assert_eq!(put("a\r\nb"), "{4}\r\na\r\nb");
        let long = "x".repeat(QUOTED_BYTES_MAX + 1);
        assert_eq!(put(&long), format!("{{1025}}\r\n{long}"));
    }
}
