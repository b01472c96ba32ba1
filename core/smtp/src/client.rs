//! The sender's side of one conversation as a pure state machine: for tests, the load program, and a relay to come.
//!
//! `receive` takes what the server sent and returns what happened; `send` begins a mail transaction when the client is `Ready`.
//! What is to be sent is appended to `output`; the caller sends it after every call.

use std::fmt;
use std::sync::Arc;

use crate::session::Role;

/// A reply as received: its code and its lines without code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub lines: Vec<String>,
}

impl Reply {
    /// 2xx.
    pub fn is_ok(&self) -> bool {
        self.code / 100 == 2
    }
}

/// The code, and the lines below each other.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.lines.join("\n"))
    }
}

/// Content made ready for the wire once, for many sendings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Dots doubled, end of data appended (RFC 5321 §4.5.2).
    Stuffed(Arc<[u8]>),
    /// For one BDAT LAST (RFC 3030).
    Chunk(Arc<[u8]>),
}

impl Content {
    /// For DATA. `raw` must use CRLF line ends; when the last one is missing it is added.
    pub fn stuffed(raw: &[u8]) -> Content {
        let mut out = Vec::with_capacity(raw.len() + raw.len() / 64 + 5);
        if raw.starts_with(b".") {
            out.push(b'.');
        }
        let mut copied = 0;
        for at in memchr::memmem::find_iter(raw, b"\r\n.") {
            out.extend_from_slice(&raw[copied..at + 3]);
            out.push(b'.');
            copied = at + 3;
        }
        out.extend_from_slice(&raw[copied..]);
        if !raw.is_empty() && !raw.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
        Content::Stuffed(out.into())
    }

    /// For BDAT: as it is.
    pub fn chunk(raw: &[u8]) -> Content {
        Content::Chunk(raw.into())
    }
}

/// One mail transaction. Paths are without angle brackets; an empty reverse-path is the null one.
#[derive(Debug, Clone)]
pub struct Mail {
    pub reverse_path: String,
    pub recipients: Vec<String>,
    /// After the path, a blank first: ` SIZE=10240 SMTPUTF8`, or empty.
    pub parameters: String,
    pub content: Content,
}

/// The answers to one `Mail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub mail: Reply,
    pub recipients: Vec<Reply>,
    /// The refusal of DATA or BDAT, or one reply (SMTP), or one for each accepted recipient in order (LMTP). Empty when
    /// no recipient was accepted and the content was never offered.
    pub outcomes: Vec<Reply>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Send the output, receive more.
    NeedInput,
    /// Greeted: `send`, `quit`, or wait. The reply is that to EHLO or LHLO.
    Ready(Reply),
    /// The server agreed to TLS: do the handshake, then call `tls_started`.
    StartTls,
    Sent(Sent),
    /// QUIT was answered.
    Bye,
    /// The server refused the conversation (greeting, EHLO, STARTTLS, or a 421); close.
    Refused(Reply),
    /// The bytes are not a reply of RFC 5321 §4.2, or no reply was expected; close.
    Nonsense,
}

#[derive(Debug)]
enum State {
    Greeting,
    Hello,
    StartTls,
    Handshake,
    Ready,
    Mail(Flight),
    Quit,
    Closed,
}

/// A mail transaction under way.
#[derive(Debug)]
struct Flight {
    mail: Mail,
    mail_reply: Option<Reply>,
    recipients: Vec<Reply>,
    outcomes: Vec<Reply>,
    /// Content commands are out (DATA, or BDAT with its content).
    offered: bool,
    /// DATA was answered 354 and the content is out.
    content_out: bool,
    /// RSET is out, which ends a transaction without recipients; `Some(true)`: and answered.
    reset: Option<bool>,
}

#[derive(Debug)]
pub struct Client {
    role: Role,
    name: String,
    tls_wanted: bool,
    /// Send MAIL, RCPT and DATA at once. Else each waits for the reply before it.
    pub pipelining: bool,
    state: State,
    replies: Replies,
}

/// Puts received lines together to replies.
#[derive(Debug, Default)]
pub struct Replies {
    lines: Vec<String>,
}

/// What came is no reply of RFC 5321 §4.2, or has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAReply;

impl fmt::Display for NotAReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what the server sends is not a reply of SMTP")
    }
}

impl std::error::Error for NotAReply {}

impl Replies {
    /// Reads at most up to the end of a reply; answers how many bytes of `input` are used up. The rest comes again. `Ok(None)`: more is
    /// needed.
    pub fn receive(&mut self, input: &[u8]) -> (usize, Result<Option<Reply>, NotAReply>) {
        let mut at = 0;
        loop {
            // Each turn uses up a line or returns.
            let Some(end) = memchr::memmem::find(&input[at..], b"\r\n") else {
                let endless = input.len() - at > REPLY_LINE_BYTES_MAX;
                return (at, if endless { Err(NotAReply) } else { Ok(None) });
            };
            let line = &input[at..at + end];
            at += end + 2;
            let read = parse_reply_line(line);
            let Some((code, last, text)) = read.filter(|_| line.len() <= REPLY_LINE_BYTES_MAX)
            else {
                return (at, Err(NotAReply));
            };
            if self.lines.len() == REPLY_LINES_MAX {
                return (at, Err(NotAReply));
            }
            self.lines.push(text);
            if last {
                let lines = std::mem::take(&mut self.lines);
                return (at, Ok(Some(Reply { code, lines })));
            }
        }
    }
}

/// A reply longer than this is nonsense.
const REPLY_LINES_MAX: usize = 100;
/// Twice what RFC 5321 §4.5.3.1.5 allows.
const REPLY_LINE_BYTES_MAX: usize = 1_024;

impl Client {
    /// Waits for the greeting, then says hello as `name`; with `tls_wanted` STARTTLS comes next.
    pub fn new(role: Role, name: &str, tls_wanted: bool) -> Client {
        Client {
            role,
            name: name.to_owned(),
            tls_wanted,
            pipelining: true,
            state: State::Greeting,
            replies: Replies::default(),
        }
    }

    /// Begins a mail transaction. Stops the process unless the last event was `Ready` or `Sent`.
    pub fn send(&mut self, mail: Mail, output: &mut Vec<u8>) {
        assert!(
            matches!(self.state, State::Ready),
            "one transaction at a time"
        );
        write_line(
            output,
            &["MAIL FROM:<", &mail.reverse_path, ">", &mail.parameters],
        );
        let mut flight = Flight {
            recipients: Vec::with_capacity(mail.recipients.len()),
            mail,
            mail_reply: None,
            outcomes: Vec::new(),
            offered: false,
            content_out: false,
            reset: None,
        };
        if self.pipelining {
            for recipient in &flight.mail.recipients {
                write_line(output, &["RCPT TO:<", recipient, ">"]);
            }
            flight.offer(output);
        }
        self.state = State::Mail(flight);
    }

    /// Stops the process unless `Ready`.
    pub fn quit(&mut self, output: &mut Vec<u8>) {
        assert!(
            matches!(self.state, State::Ready),
            "QUIT between transactions"
        );
        write_line(output, &["QUIT"]);
        self.state = State::Quit;
    }

    /// TLS is up: hello once more (RFC 3207 §4.2).
    pub fn tls_started(&mut self, output: &mut Vec<u8>) {
        assert!(matches!(self.state, State::Handshake));
        self.tls_wanted = false;
        self.say_hello(output);
    }

    /// Reads at most up to the next event; answers how many bytes of `input` are used up. The rest comes again.
    pub fn receive(&mut self, input: &[u8], output: &mut Vec<u8>) -> (usize, Event) {
        let mut at = 0;
        loop {
            // Each turn uses up a reply or returns.
            let (used, reply) = self.replies.receive(&input[at..]);
            at += used;
            let event = match reply {
                Ok(None) => return (at, Event::NeedInput),
                Ok(Some(reply)) => self.on_reply(reply, output),
                Err(NotAReply) => Some(self.nonsense()),
            };
            if let Some(event) = event {
                return (at, event);
            }
        }
    }

    fn nonsense(&mut self) -> Event {
        self.state = State::Closed;
        Event::Nonsense
    }

    fn say_hello(&mut self, output: &mut Vec<u8>) {
        let verb = match self.role {
            Role::Smtp => "EHLO ",
            Role::Lmtp => "LHLO ",
        };
        write_line(output, &[verb, &self.name]);
        self.state = State::Hello;
    }

    fn on_reply(&mut self, reply: Reply, output: &mut Vec<u8>) -> Option<Event> {
        if reply.code == 421 {
            self.state = State::Closed;
            return Some(Event::Refused(reply));
        }
        match &mut self.state {
            State::Greeting | State::Hello | State::StartTls if !reply.is_ok() => {
                self.state = State::Closed;
                Some(Event::Refused(reply))
            }
            State::Greeting => {
                self.say_hello(output);
                None
            }
            State::Hello if self.tls_wanted => {
                write_line(output, &["STARTTLS"]);
                self.state = State::StartTls;
                None
            }
            State::Hello => {
                self.state = State::Ready;
                Some(Event::Ready(reply))
            }
            State::StartTls => {
                self.state = State::Handshake;
                Some(Event::StartTls)
            }
            State::Mail(flight) => {
                flight.note(reply, self.pipelining, output);
                if !flight.is_over(self.role) {
                    return None;
                }
                let State::Mail(flight) = std::mem::replace(&mut self.state, State::Ready) else {
                    unreachable!()
                };
                let Flight {
                    mail_reply,
                    recipients,
                    outcomes,
                    ..
                } = flight;
                Some(Event::Sent(Sent {
                    mail: mail_reply?,
                    recipients,
                    outcomes,
                }))
            }
            State::Quit => {
                self.state = State::Closed;
                Some(Event::Bye)
            }
            State::Ready | State::Handshake | State::Closed => Some(self.nonsense()),
        }
    }
}

impl Flight {
    /// DATA, or BDAT with everything.
    fn offer(&mut self, output: &mut Vec<u8>) {
        self.offered = true;
        match &self.mail.content {
            Content::Stuffed(_) => write_line(output, &["DATA"]),
            Content::Chunk(raw) => {
                write_line(output, &["BDAT ", &raw.len().to_string(), " LAST"]);
                output.extend_from_slice(raw);
            }
        }
    }

    fn note(&mut self, reply: Reply, pipelining: bool, output: &mut Vec<u8>) {
        if self.mail_reply.is_none() {
            let ok = reply.is_ok();
            self.mail_reply = Some(reply);
            if ok && !pipelining {
                self.next(output);
            }
        } else if self.recipients.len() < self.mail.recipients.len() {
            self.recipients.push(reply);
            if !pipelining {
                self.next(output);
            }
        } else if reply.code == 354 && !self.content_out {
            self.content_out = true;
            match &self.mail.content {
                // RFC 2920 §3.1: a server that says 354 with no recipient left gets an empty message.
                _ if self.accepted() == 0 => output.extend_from_slice(b".\r\n"),
                Content::Stuffed(stuffed) | Content::Chunk(stuffed) => {
                    output.extend_from_slice(stuffed)
                }
            }
        } else if self.reset.is_some() {
            self.reset = Some(true);
        } else {
            self.outcomes.push(reply);
            // DATA or BDAT without a recipient is refused, and the transaction that MAIL began is still open (RFC 5321 §3.3).
            if self.accepted() == 0 && !self.content_out {
                self.send_reset(output);
            }
        }
    }

    fn send_reset(&mut self, output: &mut Vec<u8>) {
        self.reset = Some(false);
        write_line(output, &["RSET"]);
    }

    /// Without pipelining: the next recipient, or the content when one was accepted.
    fn next(&mut self, output: &mut Vec<u8>) {
        match self.mail.recipients.get(self.recipients.len()) {
            Some(recipient) => write_line(output, &["RCPT TO:<", recipient, ">"]),
            None if self.accepted() > 0 => self.offer(output),
            None => self.send_reset(output),
        }
    }

    fn accepted(&self) -> usize {
        self.recipients.iter().filter(|reply| reply.is_ok()).count()
    }

    /// All replies are in.
    fn is_over(&self, role: Role) -> bool {
        let Some(mail) = &self.mail_reply else {
            return false;
        };
        if !self.offered && !mail.is_ok() {
            return true; // no other line was sent
        }
        if self.recipients.len() < self.mail.recipients.len() {
            return false;
        }
        if let Some(answered) = self.reset {
            return answered;
        }
        let chunk = matches!(self.mail.content, Content::Chunk(_));
        let due = match role {
            // LMTP answers the end of content for each accepted recipient, a refused DATA once.
            Role::Lmtp if self.content_out || chunk => self.accepted().max(1),
            _ => 1,
        };
        self.outcomes.len() >= due
    }
}

fn write_line(output: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        output.extend_from_slice(part.as_bytes());
    }
    output.extend_from_slice(b"\r\n");
}

/// RFC 5321 §4.2: code, whether it is the reply's last line, text.
fn parse_reply_line(line: &[u8]) -> Option<(u16, bool, String)> {
    let (code, rest) = line.split_at_checked(3)?;
    if !code.iter().all(u8::is_ascii_digit) || !(b'2'..=b'5').contains(&code[0]) {
        return None;
    }
    let code = code
        .iter()
        .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let (last, text) = match rest {
        [] => (true, rest),
        [b' ', text @ ..] => (true, text),
        [b'-', text @ ..] => (false, text),
        _ => return None,
    };
    Some((code, last, String::from_utf8_lossy(text).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_doubled_and_the_end_is_appended() {
        assert_eq!(
            Content::stuffed(b".a\r\n.\r\n..b"),
            Content::Stuffed(b"..a\r\n..\r\n...b\r\n.\r\n".as_slice().into())
        );
        assert_eq!(
            Content::stuffed(b""),
            Content::Stuffed(b".\r\n".as_slice().into())
        );
    }

    #[test]
    fn replies_of_several_lines_are_one() {
        let mut client = Client::new(Role::Smtp, "c.example", false);
        let mut out = Vec::new();
        assert_eq!(
            client.receive(b"220-hello\r\n220 there\r\n", &mut out),
            (22, Event::NeedInput)
        );
        assert_eq!(out, b"EHLO c.example\r\n");
        let (_, event) = client.receive(b"250-x\r\n250 SIZE 1\r\n", &mut out);
        assert_eq!(
            event,
            Event::Ready(Reply {
                code: 250,
                lines: vec!["x".into(), "SIZE 1".into()]
            })
        );
    }

    /// Ready, with a mail for one recipient under way; what was sent of it.
    fn sending(pipelining: bool, content: Content) -> (Client, Vec<u8>) {
        let mut client = Client::new(Role::Smtp, "c", false);
        client.pipelining = pipelining;
        let mut out = Vec::new();
        assert_eq!(client.receive(b"220 a\r\n", &mut out).1, Event::NeedInput);
        let (_, event) = client.receive(b"250 a\r\n", &mut out);
        assert!(matches!(event, Event::Ready(_)));
        out.clear();
        let mail = Mail {
            reverse_path: "s@example.net".into(),
            recipients: vec!["r@example.org".into()],
            parameters: String::new(),
            content,
        };
        client.send(mail, &mut out);
        (client, out)
    }

    /// Found by the simulator (core/sim, lintel_story): the next MAIL was answered 503.
    #[test]
    fn a_transaction_without_recipients_is_reset_before_the_next() {
        let raw = b"Subject: a\r\n\r\n";
        for (pipelining, content, replies, outcomes) in [
            (
                true,
                Content::stuffed(raw),
                "250 a\r\n451 b\r\n503 c\r\n",
                1,
            ),
            (true, Content::chunk(raw), "250 a\r\n451 b\r\n503 c\r\n", 1),
            (
                true,
                Content::stuffed(raw),
                "451 a\r\n503 b\r\n503 c\r\n",
                1,
            ),
            (false, Content::stuffed(raw), "250 a\r\n451 b\r\n", 0),
        ] {
            let (mut client, mut out) = sending(pipelining, content);
            let (_, event) = client.receive(replies.as_bytes(), &mut out);
            assert_eq!(event, Event::NeedInput, "{replies}");
            assert!(out.ends_with(b"RSET\r\n"), "{replies}");
            let (_, event) = client.receive(b"250 d\r\n", &mut out);
            let Event::Sent(sent) = event else {
                panic!("{event:?}")
            };
            assert_eq!(
                sent.outcomes.len(),
                outcomes,
                "the reply to RSET is none of them"
            );
            assert!(sent.outcomes.iter().all(|reply| reply.code == 503));
            client.quit(&mut out);
        }
    }

    /// 354 all the same: the empty message ends the transaction.
    #[test]
    fn an_empty_message_for_no_recipient_needs_no_reset() {
        let (mut client, mut out) = sending(true, Content::stuffed(b"a\r\n"));
        let (_, event) = client.receive(b"250 a\r\n451 b\r\n354 c\r\n", &mut out);
        assert_eq!(event, Event::NeedInput);
        assert!(out.ends_with(b"DATA\r\n.\r\n"));
        let (_, event) = client.receive(b"554 d\r\n", &mut out);
        assert!(matches!(event, Event::Sent(_)));
    }

    #[test]
    fn what_is_no_reply_is_nonsense() {
        for bad in [
            "hello\r\n",
            "1\r\n",
            "99x a\r\n",
            "250+a\r\n",
            "\r\n",
            "\u{e9}\u{e9}\r\n",
        ] {
            assert_eq!(
                Client::new(Role::Smtp, "c", false)
                    .receive(bad.as_bytes(), &mut Vec::new())
                    .1,
                Event::Nonsense,
                "{bad}"
            );
        }
        assert_eq!(
            Client::new(Role::Smtp, "c", false)
                .receive(&[b'2'; 2_000], &mut Vec::new())
                .1,
            Event::Nonsense
        );
    }
}
