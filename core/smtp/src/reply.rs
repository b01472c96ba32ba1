//! The one table of replies: what we say, with its reply code (RFC 5321 §4.2) and enhanced status code (RFC 3463).

use std::fmt::Write as _;

use crate::limits::REPLY_LINE_BYTES_MAX;

/// One reply of one line. `status` is empty where RFC 2034 §4 wants no enhanced code (greeting, EHLO, 3xx).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The reply code: three digits.
    pub code: u16,
    /// The enhanced status code.
    pub status: &'static str,
    /// The text, for people.
    pub text: &'static str,
}

/// A row of the table.
const fn reply(code: u16, status: &'static str, text: &'static str) -> Reply {
    Reply { code, status, text }
}

impl Reply {
    /// For commands that have nothing else to say.
    pub const OK: Reply = reply(250, "2.0.0", "ok");
    /// MAIL was accepted.
    pub const SENDER_OK: Reply = reply(250, "2.1.0", "sender ok");
    /// RCPT was accepted.
    pub const RECIPIENT_OK: Reply = reply(250, "2.1.5", "recipient ok");
    /// A chunk that is not the last (RFC 3030 §2).
    pub const CHUNK_OK: Reply = reply(250, "2.0.0", "chunk received");
    /// QUIT. The connection ends.
    pub const BYE: Reply = reply(221, "2.0.0", "bye");
    /// DATA was accepted: the content follows.
    pub const SEND_CONTENT: Reply = reply(354, "", "start mail input; end with <CR><LF>.<CR><LF>");
    /// STARTTLS was accepted: the handshake follows (RFC 3207 §4).
    pub const START_TLS: Reply = reply(220, "2.0.0", "ready for TLS");
    /// AUTH succeeded.
    pub const LOGIN_OK: Reply = reply(235, "2.7.0", "authentication successful");
    /// VRFY and EXPN: no address is confirmed (RFC 5321 §7.3).
    pub const CANNOT_VERIFY: Reply = reply(
        252,
        "2.5.0",
        "cannot verify the address; send the message to try",
    );
    /// HELP.
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

/// The table of refusals: a name, its reply, and every name once for tests and documents.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $code:literal, $status:literal, $text:literal;)*) => {
        /// Why the peer does not get what it asked for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// Every refusal, for tests and documents.
            pub const ALL: &[Refusal] = &[$(Refusal::$name),*];

            /// Its row of the table.
            pub const fn reply(self) -> Reply {
                match self {
                    $(Refusal::$name => reply($code, $status, $text),)*
                }
            }

            /// The reply as one CRLF line, for a connection that has no session.
            pub const fn line(self) -> &'static str {
                match self {
                    $(Refusal::$name => concat!($code, " ", $status, " ", $text, "\r\n"),)*
                }
            }
        }
    };
}

refusals! {
    // The line.
    /// RFC 5321 §2.3.8: a line ends in CRLF and in nothing else.
    BareControl: 500, "5.5.2", "control character in command line";
    /// RFC 5321 §4.5.3.1.4: a server must take 512 bytes; ours takes four times as much.
    LineTooLong: 500, "5.5.2", "line too long";
    /// RFC 6531: commands are ASCII or UTF-8.
    NotUtf8: 500, "5.5.2", "command line is not UTF-8";
    /// RFC 5321 §4.2.4: 500 for a command that is not recognized, 502 for one that is and is not implemented.
    UnknownCommand: 500, "5.5.1", "command not recognized";
    /// A command that is known and not offered.
    NotImplemented: 502, "5.5.1", "command not implemented";
    /// The command is known; what follows it is not as it must be.
    Syntax: 501, "5.5.4", "syntax error in arguments";
    /// RFC 5321 §4.1.4: a hello that is not acceptable gets 501, and the session stays as it was.
    BadHello: 501, "5.5.4", "invalid name; send a domain or an address literal";
    /// RFC 5321 §4.1.2: the path is not in its grammar.
    BadPath: 501, "5.1.7", "syntax error in address";
    /// RFC 6531 §3.5: UTF-8 without SMTPUTF8.
    Utf8NotAnnounced: 553, "5.6.7", "non-ASCII address without SMTPUTF8";
    /// The parameter is known, and its value is not allowed.
    BadParameter: 501, "5.5.4", "bad parameter value";
    /// RFC 5321 §4.1.1.11: 555 for a parameter that the server does not recognize.
    UnknownParameter: 555, "5.5.4", "parameter not recognized";
    /// Parameters are a part of the extensions, which HELO does not offer.
    ParameterAfterHelo: 555, "5.5.4", "parameters require EHLO";
    // The order.
    /// RFC 5321 §4.1.4: a session begins with a hello.
    HelloFirst: 503, "5.5.1", "send EHLO first (LHLO on LMTP)";
    /// RFC 2033 §4.1: LHLO takes the place of HELO and EHLO in LMTP, and is not a command of SMTP.
    WrongHello: 500, "5.5.1", "wrong command; use EHLO on SMTP, LHLO on LMTP";
    /// RFC 5321 §4.1.4: RCPT and DATA are a part of a transaction.
    MailFirst: 503, "5.5.1", "send MAIL first";
    /// RFC 5321 §4.1.4: one transaction at a time.
    NestedMail: 503, "5.5.1", "nested MAIL command; send RSET first";
    /// RFC 5321 §3.3: no recipient was accepted.
    NoRecipients: 554, "5.5.1", "no valid recipients";
    /// RFC 3030 §2: DATA and BDAT do not mix in one transaction.
    DataAfterBdat: 503, "5.5.1", "DATA not allowed after BDAT";
    /// The listener has no certificate.
    TlsUnavailable: 502, "5.5.1", "TLS not available";
    /// TLS starts once on a connection (RFC 3207).
    TlsAlready: 503, "5.5.1", "TLS already active";
    /// RFC 3207 §4: this listener wants TLS first.
    TlsRequired: 530, "5.7.0", "must issue a STARTTLS command first";
    /// The port is for other servers, which do not log in.
    NoAuth: 502, "5.5.1", "authentication not available on this port";
    // Who sends (RFC 4954 §4, §6).
    /// RFC 6409 §4.3: 530 where mail is sent before a login.
    AuthRequired: 530, "5.7.0", "authentication required";
    /// RFC 4954 §4: one login in a session.
    AuthAlready: 503, "5.5.1", "already authenticated";
    /// RFC 4954 §4: AUTH is not permitted during a mail transaction.
    AuthInTransaction: 503, "5.5.1", "AUTH is not permitted during a mail transaction";
    /// RFC 4954 §4: 504 for a mechanism that is not offered.
    AuthMechanism: 504, "5.5.4", "authentication mechanism not supported";
    /// RFC 4954 §4: a response that cannot be decoded gets 501 5.5.2.
    AuthEncoding: 501, "5.5.2", "the response is not base64";
    /// The mechanism does not allow this response.
    AuthMalformed: 501, "5.5.2", "the response is malformed";
    /// RFC 4954 §4: the client sent an asterisk.
    AuthCancelled: 501, "5.7.0", "authentication cancelled";
    /// RFC 4954 §6. It does not say whether the account exists.
    AuthFailed: 535, "5.7.8", "authentication credentials invalid";
    /// The passwords cannot be read now. The client may try again.
    AuthUnavailable: 454, "4.7.0", "temporary authentication failure";
    /// RFC 6409 §6.1: the sender may not send under this address.
    NotYourAddress: 553, "5.7.1", "sender address does not belong to this account";
    /// When it is free again stands behind it.
    SentEnough: 450, "4.7.1", "sending limit of this account reached;";
    /// RFC 6409 §6.1. The address stands behind it.
    NotYourFrom: 550, "5.7.1", "the From field has an address that does not belong to this account:";
    // The transaction.
    /// RFC 1870 §6.1: 552 at MAIL by the size that it declares. A message that turns out larger gets it after its content.
    TooBig: 552, "5.3.4", "message size exceeds the limit";
    /// RFC 5321 §4.5.3.1.10: the client sends the rest in another transaction.
    TooManyRecipients: 452, "4.5.3", "too many recipients";
    /// Mail is for domains; an address literal names none of ours.
    AddressLiteral: 550, "5.1.2", "address literals not accepted";
    /// The domain is ours, and the address is not.
    UnknownRecipient: 550, "5.1.1", "no such user here";
    /// The domain is not ours.
    RelayDenied: 550, "5.7.1", "relaying denied";
    /// The quota is used up. It may have room later, so this is temporary.
    MailboxFull: 452, "4.2.2", "mailbox full";
    // The door.
    /// The address failed too often, or an administrator banned it.
    Banned: 421, "4.7.0", "too many failures from your address, try again later";
    /// Bounds of one address and of its network.
    Crowded: 421, "4.7.0", "too many connections from your network, try again later";
    /// The bound of messages of one sender domain.
    SenderLimit: 450, "4.7.1", "too many messages of this sender domain, try again later";
    /// RFC 6647.
    Greylisted: 450, "4.7.1", "greylisted, try again later";
    /// The name cannot be the peer's: it is ours, or another address. RFC 5321 §4.1.4: whether it resolves is not asked.
    HelloRefused: 550, "5.7.1", "the name given in HELO or EHLO is not yours";
    /// RFC 2920 §3.1; RFC 5321 §3.1.
    EarlyTalker: 554, "5.5.1", "commands sent before their turn";
    /// RFC 5782.
    Listed: 554, "5.7.1", "your address is on a block list";
    /// XCLIENT begins a conversation again, so none may be under way.
    XclientInTransaction: 503, "5.5.1", "XCLIENT is not permitted during a mail transaction";
    /// RFC 3463 §3.8.
    PostDenied: 550, "5.7.2", "not permitted to post to this list";
    // The content.
    /// RFC 5321 §2.3.8: CR and LF come together only.
    BareCr: 554, "5.6.0", "bare CR not allowed in a message";
    /// As `BareCr`. A bare LF is the means of SMTP smuggling.
    BareLf: 554, "5.6.0", "bare LF not allowed in a message";
    /// RFC 5322 §3.5: text has no such octet.
    Nul: 554, "5.6.0", "NUL not allowed in a message";
    /// RFC 5321 §6.3: too many Received fields.
    Loop: 554, "5.4.6", "mail loop detected";
    /// RFC 9989 §4.7: p=reject.
    NotAuthentic: 550, "5.7.1", "the domain in From asks to reject this message, because neither SPF nor DKIM authenticates it (DMARC)";
    /// The name of what was found stands behind it.
    Infected: 550, "5.7.1", "message contains a virus";
    Spam: 550, "5.7.1", "message refused as spam";
    /// A filter's own words stand behind it.
    Filtered: 550, "5.7.1", "message refused by a content filter";
    /// RFC 5429 §2.1: the recipient's own script; its words stand behind it.
    Rejected: 550, "5.7.1", "the recipient refuses this message";
    FilterDefers: 451, "4.7.1", "message deferred by a content filter, try again later";
    Unscanned: 451, "4.7.1", "message cannot be scanned now, try again later";
    Junk: 550, "5.7.1", "this message looks like spam";
    // Us.
    /// Lanes or tables are full: the peer may try again.
    Busy: 451, "4.3.2", "busy, try again later";
    /// Memory or disk for content is short.
    StorageFull: 452, "4.3.1", "insufficient storage, try again later";
    /// The store defers.
    StorageFault: 451, "4.3.0", "storage temporarily unavailable, try again later";
    /// Some recipients have it and some do not; the next try brings it to the rest.
    SomeFailed: 451, "4.2.0", "delivery failed for some recipients, try again later";
    // The end of the connection.
    /// Too many commands were refused.
    TooManyErrors: 421, "4.7.0", "too many errors";
    /// The client opens another connection for the rest.
    TooManyMessages: 421, "4.7.0", "too many messages on one connection";
    /// The bound of all connections.
    TooManyConnections: 421, "4.3.2", "too many connections, try again later";
    /// A web browser was made to speak to us: its first line is a request of HTTP.
    Http: 421, "4.7.0", "not an HTTP server";
    /// RFC 5321 §4.5.3.2.7: five minutes without a command.
    TimedOut: 421, "4.4.2", "timeout waiting for the client";
    /// RFC 5321 §3.8: the service is being stopped.
    ShuttingDown: 421, "4.3.2", "service shutting down, try again later";
}

impl Refusal {
    /// 4xx: the peer may try again.
    pub const fn is_temporary(self) -> bool {
        self.reply().code / 100 == 4
    }

    /// Whether the peer broke the protocol. `MailFirst` and `NoRecipients` do not say so: a sender that pipelines (RFC 2920 §3.1) has sent RCPT
    /// and DATA before it sees that MAIL or every recipient was refused.
    pub const fn is_fault(self) -> bool {
        matches!(
            self,
            Refusal::BareControl
                | Refusal::LineTooLong
                | Refusal::NotUtf8
                | Refusal::UnknownCommand
                | Refusal::NotImplemented
                | Refusal::Syntax
                | Refusal::BadHello
                | Refusal::BadPath
                | Refusal::BadParameter
                | Refusal::HelloFirst
                | Refusal::WrongHello
                | Refusal::NestedMail
                | Refusal::DataAfterBdat
                | Refusal::TlsUnavailable
                | Refusal::TlsAlready
                | Refusal::NoAuth
                | Refusal::XclientInTransaction
        )
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Reply { code, status, text } = self.reply();
        write!(f, "{code} {status} {text}")
    }
}

/// 220, the first line of the server. RFC 5321 §4.2.
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
        for &refusal in Refusal::ALL {
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
    fn the_line_of_a_refusal_is_its_reply() {
        for &refusal in Refusal::ALL {
            let mut out = Vec::new();
            refusal.reply().write(&mut out);
            assert_eq!(refusal.line().as_bytes(), out, "{refusal:?}");
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
