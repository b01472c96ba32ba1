//! How a login is said to a storage node, and what its lines mean, in each protocol. Pure.
//!
//! The storage node's session runs the whole login as if the client were there: its verdict is the verdict, its audit has the client's address, and its
//! reply goes to the client unchanged.

use sasl::{Credentials, base64};

use crate::login::audit::Protocol;

/// What the storage node's session gets of what the front's session knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speech {
    pub protocol: Protocol,
    /// IMAP: of the client's command.
    pub tag: Box<str>,
    /// What the client calls itself: in EHLO, or in ID.
    pub name: Box<str>,
}

/// What a line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// More lines follow.
    More,
    /// It went well: of a greeting or of a question, that the next may come; of a login, that it is granted.
    Done,
    /// The client's turn in an exchange.
    Challenge,
    /// The login is refused for good.
    Refused,
    /// It cannot be done now.
    Later,
}

/// The tag of ID.
const ID_TAG: &str = "front";

impl Speech {
    /// A line of the greeting.
    pub fn greeting(&self, line: &[u8]) -> Heard {
        match self.protocol {
            Protocol::Imap => done_if(line.starts_with(b"* OK")),
            Protocol::Pop3 => done_if(line.starts_with(b"+OK")),
            Protocol::Sieve => match line {
                [b'"', ..] => Heard::More,
                line => done_if(line.starts_with(b"OK")),
            },
            Protocol::Submission => reply(line, b"220"),
        }
    }

    /// What is said before the login, if anything is.
    pub fn question(&self) -> Option<String> {
        match self.protocol {
            Protocol::Submission => Some(format!("EHLO {}\r\n", self.name)),
            Protocol::Imap if !self.name.is_empty() => {
                let is_plain = |letter: &char| letter.is_ascii() && !letter.is_control();
                let plain = self.name.chars().filter(is_plain);
                let name: String = plain.filter(|letter| !"\"\\".contains(*letter)).collect();
                Some(format!("{ID_TAG} ID (\"name\" \"{name}\")\r\n"))
            }
            Protocol::Imap | Protocol::Pop3 | Protocol::Sieve => None,
        }
    }

    /// A line of the answer to that.
    pub fn answer(&self, line: &[u8]) -> Heard {
        match self.protocol {
            Protocol::Submission => reply(line, b"250"),
            _ if line.starts_with(b"* BYE") => Heard::Later,
            _ if line.starts_with(b"* ") => Heard::More,
            _ => Heard::Done,
        }
    }

    /// A name and a password.
    pub fn plain(&self, credentials: &Credentials) -> String {
        let Credentials { user, password } = credentials;
        let text = [&b"\0"[..], user, b"\0", password].concat();
        self.begin("PLAIN", &text)
    }

    /// SCRAM, from the client's first message on.
    pub fn scram(&self, first: &str) -> String {
        self.begin("SCRAM-SHA-256", first.as_bytes())
    }

    fn begin(&self, mechanism: &str, initial: &[u8]) -> String {
        let initial = base64::encode(initial);
        match self.protocol {
            Protocol::Imap => format!("{} AUTHENTICATE {mechanism} {initial}\r\n", self.tag),
            Protocol::Pop3 | Protocol::Submission => format!("AUTH {mechanism} {initial}\r\n"),
            // A quoted string has at most 1024 octets.
            Protocol::Sieve => format!(
                "AUTHENTICATE \"{mechanism}\" {{{}+}}\r\n{initial}\r\n",
                initial.len()
            ),
        }
    }

    /// A line of the login.
    pub fn verdict(&self, line: &[u8]) -> Heard {
        match self.protocol {
            Protocol::Imap => self.tagged(line),
            Protocol::Pop3 => match line {
                _ if line.starts_with(b"+OK") => Heard::Done,
                [b'+', ..] => Heard::Challenge,
                _ if line.starts_with(b"-ERR [SYS/") || line.starts_with(b"-ERR [IN-USE]") => {
                    Heard::Later
                }
                _ if line.starts_with(b"-ERR") => Heard::Refused,
                _ => Heard::Later,
            },
            Protocol::Sieve => match line {
                [b'"' | b'{', ..] => Heard::Challenge,
                _ if line.starts_with(b"OK") => Heard::Done,
                _ if line.starts_with(b"NO (TRYLATER)") => Heard::Later,
                _ if line.starts_with(b"NO") => Heard::Refused,
                _ => Heard::Later,
            },
            Protocol::Submission => match line {
                _ if line.starts_with(b"334") => Heard::Challenge,
                [b'5', _, _, b' ', ..] => Heard::Refused,
                [b'5', _, _, b'-', ..] => Heard::More,
                _ => reply(line, b"235"),
            },
        }
    }

    fn tagged(&self, line: &[u8]) -> Heard {
        let tag = self.tag.as_bytes();
        let rest = line.strip_prefix(tag);
        match rest.and_then(|rest| rest.strip_prefix(b" ")) {
            Some(rest) if rest.starts_with(b"OK") => Heard::Done,
            // RFC 5530: these say that another time it may be different.
            Some(rest)
                if [&b"NO [UNAVAILABLE]"[..], b"NO [INUSE]", b"NO [LIMIT]"]
                    .iter()
                    .any(|code| rest.starts_with(code)) =>
            {
                Heard::Later
            }
            Some(_) => Heard::Refused,
            None if line.starts_with(b"+ ") => Heard::Challenge,
            None if line.starts_with(b"* BYE") => Heard::Later,
            None if line.starts_with(b"* ") => Heard::More,
            None => Heard::Later,
        }
    }

    /// Whether a client's response ends the exchange (RFC 4422 §3.5).
    pub fn is_cancel(&self, response: &[u8]) -> bool {
        let response = response.strip_suffix(b"\n").unwrap_or(response);
        let response = response.strip_suffix(b"\r").unwrap_or(response);
        match self.protocol {
            Protocol::Sieve => response == b"\"*\"" || response.ends_with(b"\n*"),
            _ => response == b"*",
        }
    }

    /// How many bytes of `input` are the client's next response; `None`: it is not all there. A ManageSieve response may be a literal.
    pub fn response(&self, input: &[u8]) -> Option<usize> {
        let line = memchr::memchr(b'\n', input)? + 1;
        let literal = match self.protocol {
            Protocol::Sieve => literal_bytes(&input[..line]),
            _ => None,
        };
        let Some(bytes) = literal else {
            return Some(line);
        };
        let begin = line.saturating_add(bytes);
        let end = memchr::memchr(b'\n', input.get(begin..)?)?;
        Some(begin + end + 1)
    }
}

fn done_if(is_done: bool) -> Heard {
    match is_done {
        true => Heard::Done,
        false => Heard::Later,
    }
}

/// A line of an SMTP reply: of `code`, its last or one before.
fn reply(line: &[u8], code: &[u8; 3]) -> Heard {
    match line.strip_prefix(&code[..]) {
        Some([b'-', ..]) => Heard::More,
        Some(_) => Heard::Done,
        None => Heard::Later,
    }
}

/// RFC 5804 §4: `{5+}`.
fn literal_bytes(line: &[u8]) -> Option<usize> {
    let inside = line.strip_prefix(b"{")?;
    let end = memchr::memchr(b'}', inside)?;
    let digits = inside[..end].strip_suffix(b"+").unwrap_or(&inside[..end]);
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speech(protocol: Protocol) -> Speech {
        Speech {
            protocol,
            tag: "a1".into(),
            name: "cl\"ient".into(),
        }
    }

    #[test]
    fn each_protocol_says_a_login_in_its_own_words() {
        let credentials = Credentials {
            user: b"ann".to_vec(),
            password: b"secret".to_vec(),
        };
        let said = Protocol::ALL.map(|protocol| speech(protocol).plain(&credentials));
        assert_eq!(
            said,
            [
                "a1 AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=\r\n",
                "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n",
                "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n",
                "AUTHENTICATE \"PLAIN\" {16+}\r\nAGFubgBzZWNyZXQ=\r\n",
            ]
        );
        let asked = Protocol::ALL.map(|protocol| speech(protocol).question());
        let words = asked.map(Option::unwrap_or_default);
        assert_eq!(
            words,
            [
                "front ID (\"name\" \"client\")\r\n",
                "",
                "EHLO cl\"ient\r\n",
                ""
            ]
        );
    }

    #[test]
    fn a_wrong_password_is_refused_and_trouble_is_put_off() {
        let verdict = |protocol, line: &str| speech(protocol).verdict(line.as_bytes());
        for (protocol, line, heard) in [
            (
                Protocol::Imap,
                "a1 OK [CAPABILITY IMAP4rev1] in\r\n",
                Heard::Done,
            ),
            (
                Protocol::Imap,
                "a1 NO [AUTHENTICATIONFAILED] x\r\n",
                Heard::Refused,
            ),
            (Protocol::Imap, "a1 BAD x\r\n", Heard::Refused),
            (Protocol::Imap, "a1 NO [UNAVAILABLE] x\r\n", Heard::Later),
            (Protocol::Imap, "* OK x\r\n", Heard::More),
            (Protocol::Imap, "* BYE x\r\n", Heard::Later),
            (Protocol::Imap, "+ cj0=\r\n", Heard::Challenge),
            (Protocol::Imap, "a11 OK x\r\n", Heard::Later),
            (Protocol::Pop3, "+OK in\r\n", Heard::Done),
            (Protocol::Pop3, "+ cj0=\r\n", Heard::Challenge),
            (Protocol::Pop3, "-ERR [AUTH] x\r\n", Heard::Refused),
            (Protocol::Pop3, "-ERR [SYS/TEMP] x\r\n", Heard::Later),
            (Protocol::Pop3, "x\r\n", Heard::Later),
            (Protocol::Sieve, "OK \"in\"\r\n", Heard::Done),
            (Protocol::Sieve, "\"cj0=\"\r\n", Heard::Challenge),
            (Protocol::Sieve, "NO \"x\"\r\n", Heard::Refused),
            (Protocol::Sieve, "NO (TRYLATER) \"x\"\r\n", Heard::Later),
            (Protocol::Sieve, "BYE \"x\"\r\n", Heard::Later),
            (Protocol::Submission, "235 2.7.0 in\r\n", Heard::Done),
            (Protocol::Submission, "334 cj0=\r\n", Heard::Challenge),
            (Protocol::Submission, "535 5.7.8 x\r\n", Heard::Refused),
            (Protocol::Submission, "454 4.7.0 x\r\n", Heard::Later),
            (Protocol::Submission, "421 4.3.2 x\r\n", Heard::Later),
        ] {
            assert_eq!(verdict(protocol, line), heard, "{line:?}");
        }
    }

    #[test]
    fn a_response_is_taken_whole_and_no_byte_behind_it() {
        let sieve = speech(Protocol::Sieve);
        let imap = speech(Protocol::Imap);
        assert_eq!(imap.response(b"abc\r\nb NOOP\r\n"), Some(5));
        assert_eq!(imap.response(b"{3}\r\nabc\r\n"), Some(5));
        assert_eq!(sieve.response(b"\"abc\"\r\nNOOP\r\n"), Some(7));
        let literal = b"{3+}\r\nabc\r\nNOOP\r\n";
        assert_eq!(sieve.response(literal), Some(11));
        for cut in 0..11 {
            assert_eq!(sieve.response(&literal[..cut]), None, "{cut}");
        }
        assert_eq!(sieve.response(b"{99999999999999999999}\r\n"), Some(24));
        assert_eq!(sieve.response(b"{18446744073709551615}\r\n"), None);
        assert!(imap.is_cancel(b"*\r\n") && !imap.is_cancel(b"Kg==\r\n"));
        assert!(sieve.is_cancel(b"\"*\"\r\n") && sieve.is_cancel(b"{1+}\r\n*\r\n"));
    }

    /// A storage node of another release, or something else at its address.
    #[test]
    fn what_makes_no_sense_grants_nothing() {
        let mut state = 1u32;
        for _ in 0..20_000 {
            let mut line = Vec::new();
            for _ in 0..(state >> 16) % 12 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                line.push(b"a1 *+OK235{}\"N\r\n"[(state >> 24) as usize % 16]);
            }
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            for protocol in Protocol::ALL {
                let speech = speech(protocol);
                if speech.verdict(&line) == Heard::Done {
                    let ok = [&b"a1 OK"[..], b"+OK", b"235", b"OK"];
                    assert!(ok.iter().any(|ok| line.starts_with(ok)));
                }
                speech.greeting(&line);
                speech.answer(&line);
                if let Some(bytes) = speech.response(&line) {
                    assert!(bytes <= line.len());
                }
            }
        }
    }
}
