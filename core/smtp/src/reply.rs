//! The one table of replies: what we say, with its reply code (RFC 5321 §4.2) and enhanced status code (RFC 3463).

use std::fmt::Write as _;

use crate::limits::REPLY_LINE_BYTES_MAX;

/// One reply of one line. `status` is empty where RFC 2034 §4 wants no enhanced code (greeting, EHLO, 3xx).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub status: &'static str,
    pub text: &'static str,
}

const fn reply(code: u16, status: &'static str, text: &'static str) -> Reply {
    Reply { code, status, text }
}

impl Reply {
    pub const OK: Reply = reply(250, "2.0.0", "ok");
    pub const SENDER_OK: Reply = reply(250, "2.1.0", "sender ok");
    pub const RECIPIENT_OK: Reply = reply(250, "2.1.5", "recipient ok");
    pub const CHUNK_OK: Reply = reply(250, "2.0.0", "chunk received");
    pub const BYE: Reply = reply(221, "2.0.0", "bye");
    pub const SEND_CONTENT: Reply = reply(354, "", "end with <CR><LF>.<CR><LF>");
    pub const START_TLS: Reply = reply(220, "2.0.0", "ready for TLS");
    pub const CANNOT_VERIFY: Reply = reply(252, "2.5.0", "not verified; send mail and see");
    pub const HELP: Reply = reply(
        214,
        "2.0.0",
        "RFC 5321; EHLO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY STARTTLS",
    );

    /// Appends the reply as one CRLF line.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_with(out, "");
    }

    /// As `write`, with `detail` after the text. A detail too long for a reply line is cut; control characters and
    /// non-ASCII become `?`, so that no detail can make a second line.
    pub fn write_with(&self, out: &mut Vec<u8>, detail: &str) {
        let begin = out.len();
        let digit = |value: u16| b'0' + (value % 10) as u8;
        out.extend_from_slice(&[
            digit(self.code / 100),
            digit(self.code / 10),
            digit(self.code),
            b' ',
        ]);
        if !self.status.is_empty() {
            out.extend_from_slice(self.status.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(self.text.as_bytes());
        if !detail.is_empty() {
            out.push(b' ');
            let room = REPLY_LINE_BYTES_MAX - 2 - (out.len() - begin);
            out.extend(detail.bytes().take(room).map(|byte| {
                if byte.is_ascii_graphic() || byte == b' ' {
                    byte
                } else {
                    b'?'
                }
            }));
        }
        out.extend_from_slice(b"\r\n");
        debug_assert!(out.len() - begin <= REPLY_LINE_BYTES_MAX);
    }
}

/// Why the peer does not get what it asked for. Each variant is one line of the table in `reply`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    // The line.
    /// RFC 5321 §2.3.8: a line ends in CRLF and in nothing else.
    BareControl,
    LineTooLong,
    NotUtf8,
    UnknownCommand,
    NotImplemented,
    Syntax,
    BadHello,
    BadPath,
    /// RFC 6531 §3.5: UTF-8 without SMTPUTF8.
    Utf8NotAnnounced,
    BadParameter,
    UnknownParameter,
    ParameterAfterHelo,
    // The order.
    HelloFirst,
    WrongHello,
    MailFirst,
    NestedMail,
    NoRecipients,
    DataAfterBdat,
    TlsUnavailable,
    TlsAlready,
    TlsRequired,
    NoAuth,
    // The transaction.
    TooBig,
    TooManyRecipients,
    AddressLiteral,
    UnknownRecipient,
    RelayDenied,
    MailboxFull,
    SenderRefused,
    // The content.
    BareCr,
    BareLf,
    Nul,
    TextLineTooLong,
    Loop,
    // Us.
    /// Lanes or tables are full: the peer may try again.
    Busy,
    /// Memory or disk for content is short.
    StorageFull,
    /// The store defers.
    StorageFault,
    /// Some recipients have it and some do not; the next try brings it to the rest.
    SomeFailed,
    // The end of the connection.
    TooManyErrors,
    TooManyMessages,
    TooManyConnections,
    Http,
    TimedOut,
    ShuttingDown,
}

impl Refusal {
    pub const fn reply(self) -> Reply {
        use Refusal::*;
        match self {
            BareControl => reply(500, "5.5.2", "control character in command line"),
            LineTooLong => reply(500, "5.5.2", "line too long"),
            NotUtf8 => reply(500, "5.5.2", "command line is not UTF-8"),
            UnknownCommand => reply(500, "5.5.1", "command not known"),
            NotImplemented => reply(502, "5.5.1", "command not offered"),
            Syntax => reply(501, "5.5.4", "syntax error in arguments"),
            BadHello => reply(
                501,
                "5.5.4",
                "name yourself: a domain or an address literal",
            ),
            BadPath => reply(501, "5.1.7", "syntax error in address"),
            Utf8NotAnnounced => reply(553, "5.6.7", "non-ASCII address without SMTPUTF8"),
            BadParameter => reply(501, "5.5.4", "bad parameter value"),
            UnknownParameter => reply(555, "5.5.4", "parameter not known"),
            ParameterAfterHelo => reply(555, "5.5.4", "parameters need EHLO"),
            HelloFirst => reply(503, "5.5.1", "say hello first"),
            WrongHello => reply(500, "5.5.1", "wrong hello: SMTP says EHLO, LMTP says LHLO"),
            MailFirst => reply(503, "5.5.1", "MAIL first"),
            NestedMail => reply(503, "5.5.1", "a mail transaction is open; RSET ends it"),
            NoRecipients => reply(554, "5.5.1", "no valid recipients"),
            DataAfterBdat => reply(503, "5.5.1", "DATA after BDAT"),
            TlsUnavailable => reply(502, "5.5.1", "TLS is not offered"),
            TlsAlready => reply(503, "5.5.1", "TLS is active already"),
            TlsRequired => reply(530, "5.7.0", "STARTTLS first"),
            NoAuth => reply(502, "5.5.1", "no AUTH here; the submission ports have it"),
            TooBig => reply(552, "5.3.4", "message too big"),
            TooManyRecipients => reply(452, "4.5.3", "too many recipients in one transaction"),
            AddressLiteral => reply(550, "5.1.2", "no mailboxes under address literals here"),
            UnknownRecipient => reply(550, "5.1.1", "no such mailbox here"),
            RelayDenied => reply(550, "5.7.1", "not a relay"),
            MailboxFull => reply(452, "4.2.2", "mailbox full"),
            SenderRefused => reply(550, "5.7.1", "sender refused"),
            BareCr => reply(554, "5.6.0", "message refused: a CR without LF in it"),
            BareLf => reply(554, "5.6.0", "message refused: an LF without CR in it"),
            Nul => reply(554, "5.6.0", "message refused: a NUL in it"),
            TextLineTooLong => reply(
                554,
                "5.6.0",
                "message refused: a line of more than 10000 bytes in it",
            ),
            Loop => reply(554, "5.4.6", "message refused: it goes in circles"),
            Busy => reply(451, "4.3.2", "busy, try again"),
            StorageFull => reply(452, "4.3.1", "no room now, try again"),
            StorageFault => reply(451, "4.3.0", "storage defers, try again"),
            SomeFailed => reply(
                451,
                "4.2.0",
                "not all recipients could be served, try again",
            ),
            TooManyErrors => reply(421, "4.7.0", "too many errors"),
            TooManyMessages => reply(421, "4.7.0", "enough for one connection"),
            TooManyConnections => reply(421, "4.7.0", "too many connections, try again"),
            Http => reply(421, "4.7.0", "this is not HTTP"),
            TimedOut => reply(421, "4.4.2", "silent too long"),
            ShuttingDown => reply(421, "4.3.2", "shutting down, try again"),
        }
    }

    /// 4xx: the peer may try again.
    pub const fn is_temporary(self) -> bool {
        self.reply().code / 100 == 4
    }

    /// Every refusal, for tests and documents.
    pub const ALL: [Refusal; 44] = {
        use Refusal::*;
        [
            BareControl,
            LineTooLong,
            NotUtf8,
            UnknownCommand,
            NotImplemented,
            Syntax,
            BadHello,
            BadPath,
            Utf8NotAnnounced,
            BadParameter,
            UnknownParameter,
            ParameterAfterHelo,
            HelloFirst,
            WrongHello,
            MailFirst,
            NestedMail,
            NoRecipients,
            DataAfterBdat,
            TlsUnavailable,
            TlsAlready,
            TlsRequired,
            NoAuth,
            TooBig,
            TooManyRecipients,
            AddressLiteral,
            UnknownRecipient,
            RelayDenied,
            MailboxFull,
            SenderRefused,
            BareCr,
            BareLf,
            Nul,
            TextLineTooLong,
            Loop,
            Busy,
            StorageFull,
            StorageFault,
            SomeFailed,
            TooManyErrors,
            TooManyMessages,
            TooManyConnections,
            Http,
            TimedOut,
            ShuttingDown,
        ]
    };
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Reply { code, status, text } = self.reply();
        write!(f, "{code} {status} {text}")
    }
}

/// 220, before anything else is said. RFC 5321 §4.2.
pub(crate) fn write_greeting(out: &mut Vec<u8>, hostname: &str, protocol: &str) {
    let mut line = String::new();
    let _ = write!(line, "220 {hostname} {protocol} ringpost\r\n");
    out.extend_from_slice(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_digits_of_both_codes_agree() {
        for refusal in Refusal::ALL {
            let Reply { code, status, text } = refusal.reply();
            assert_eq!(
                status.as_bytes()[0],
                b'0' + (code / 100) as u8,
                "{refusal:?}"
            );
            assert!(
                status.split('.').count() == 3 && !text.is_empty(),
                "{refusal:?}"
            );
        }
    }

    #[test]
    fn a_detail_never_breaks_the_line() {
        let mut out = Vec::new();
        Reply::OK.write_with(&mut out, &"x\r\n250 y\u{e9}".repeat(200));
        assert_eq!(out.len(), REPLY_LINE_BYTES_MAX);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(out.ends_with(b"\r\n") && out.is_ascii());
    }
}
