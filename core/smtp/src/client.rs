//! The sender's side of one conversation as a pure state machine: for the relay, the load program and tests.
//!
//! `receive` takes what the server sent and returns what happened; `send` begins a mail transaction when the client is `Ready`.
//! What is to be sent is appended to `output`; the caller sends it after every call.

mod content;

use std::fmt;

use crate::session::Role;

pub use content::{Content, Stuffer};

/// A reply as received: its code and its lines without code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Three digits (RFC 5321 §4.2).
    pub code: u16,
    /// The text of each line, without the code and the sign behind it.
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

/// One mail transaction. Paths are without angle brackets; an empty reverse-path is the null one.
#[derive(Debug, Clone)]
pub struct Mail {
    pub reverse_path: String,
    /// Forward-paths without angle brackets, at least one.
    pub recipients: Vec<String>,
    /// After the path, a blank first: ` SIZE=10240 SMTPUTF8`, or empty.
    pub parameters: String,
    pub content: Content,
}

/// The answers to one `Mail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The reply to MAIL.
    pub mail: Reply,
    /// The reply to each RCPT, in their order. Where MAIL was refused, those that pipelining had already sent.
    pub recipients: Vec<Reply>,
    /// The refusal of DATA or BDAT, or one reply (SMTP), or one for each accepted recipient in order (LMTP). Empty when
    /// no recipient was accepted and the content was never offered.
    pub outcomes: Vec<Reply>,
}

/// What the caller does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Send the output, receive more.
    NeedInput,
    /// Greeted: `send`, `quit`, or wait. The reply is that to EHLO or LHLO.
    Ready(Reply),
    /// The server agreed to TLS: do the handshake, then call `tls_started`.
    StartTls,
    /// DATA was answered 354: the caller sends the content (`Content::ByCaller`), then receives more.
    Content,
    /// The mail transaction is over; another may follow on the connection.
    Sent(Sent),
    /// QUIT was answered.
    Bye,
    /// The server refused the conversation (greeting, EHLO, STARTTLS, or a 421); close.
    Refused(Reply),
    /// The bytes are not a reply of RFC 5321 §4.2, or no reply was expected; close.
    Nonsense,
}

/// What the client waits for. The reply that comes next belongs to it.
#[derive(Debug)]
enum State {
    Greeting,
    Hello,
    /// HELO was sent, because EHLO was not known.
    OldHello,
    StartTls,
    /// The caller shakes hands: bytes of the server are not ours to read.
    Handshake,
    /// No transaction is open. A reply now is not expected, and ends the conversation.
    Ready,
    Mail(Box<Flight>),
    Quit,
    Closed,
}

/// A mail transaction under way.
#[derive(Debug)]
struct Flight {
    mail: Mail,
    /// After the paths of the recipients, a blank first; none at all, or one for each.
    parameters: Vec<String>,
    /// `None`: MAIL was not answered yet.
    mail_reply: Option<Reply>,
    /// Replies to RCPT so far.
    recipients: Vec<Reply>,
    /// Replies about the content so far.
    outcomes: Vec<Reply>,
    /// Content commands are out (DATA, or BDAT with its content).
    offered: bool,
    /// DATA was answered 354 and the content is out.
    content_out: bool,
    /// The content is the caller's to send: `Some(true)`: and it was asked to.
    asked: Option<bool>,
    /// RSET is out, which ends a transaction without recipients; `Some(true)`: and answered.
    reset: Option<bool>,
}

/// One conversation from the sender's side.
#[derive(Debug)]
pub struct Client {
    /// SMTP or LMTP: which hello, and how many replies follow the content.
    role: Role,
    /// Our name in EHLO.
    name: String,
    /// STARTTLS comes before anything else, and a server without it is refused.
    tls_wanted: bool,
    /// Send MAIL, RCPT and DATA at once. Else each waits for the reply before it.
    pub pipelining: bool,
    /// HELO follows where EHLO is not known (RFC 5321 §3.2).
    pub falls_back: bool,
    state: State,
    /// The lines that came in of the next reply.
    replies: Replies,
}

/// Puts received lines together to replies.
#[derive(Debug, Default)]
pub struct Replies {
    /// The code of the reply whose lines come in.
    code: Option<u16>,
    /// Its lines so far.
    lines: Vec<String>,
}

/// What came is not a reply of RFC 5321 §4.2, or has no end.
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
            // RFC 5321 §4.2.1: all lines of a reply have one code.
            let is_same = *self.code.get_or_insert(code) == code;
            if !is_same || self.lines.len() == REPLY_LINES_MAX {
                return (at, Err(NotAReply));
            }
            self.lines.push(text);
            if last {
                self.code = None;
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
            falls_back: false,
            state: State::Greeting,
            replies: Replies::default(),
        }
    }

    /// Begins a mail transaction. Stops the process unless the last event was `Ready` or `Sent`.
    pub fn send(&mut self, mail: Mail, output: &mut Vec<u8>) {
        self.send_with(mail, Vec::new(), output);
    }

    /// As `send`, with the parameters of each RCPT: ` NOTIFY=NEVER`, or empty.
    pub fn send_with(&mut self, mail: Mail, parameters: Vec<String>, output: &mut Vec<u8>) {
        assert!(parameters.is_empty() || parameters.len() == mail.recipients.len());
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
            parameters,
            mail_reply: None,
            outcomes: Vec::new(),
            offered: false,
            content_out: false,
            asked: None,
            reset: None,
        };
        if self.pipelining {
            for index in 0..flight.mail.recipients.len() {
                flight.name(index, output);
            }
            flight.offer(output);
        }
        self.state = State::Mail(Box::new(flight));
    }

    /// The first refusal of a recipient in the transaction under way. At `Event::Content` all of them have been answered.
    pub fn refused_recipient(&self) -> Option<&Reply> {
        self.recipients().iter().find(|reply| !reply.is_ok())
    }

    /// What was said to each recipient of the transaction under way.
    pub fn recipients(&self) -> &[Reply] {
        match &self.state {
            State::Mail(flight) => &flight.recipients,
            _ => &[],
        }
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

    /// Asks for TLS. Stops the process unless `Ready`. A refusal is `Refused`.
    pub fn start_tls(&mut self, output: &mut Vec<u8>) {
        assert!(matches!(self.state, State::Ready), "TLS before mail");
        write_line(output, &["STARTTLS"]);
        self.state = State::StartTls;
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

    /// The server does not speak SMTP: the conversation is over.
    fn nonsense(&mut self) -> Event {
        self.state = State::Closed;
        Event::Nonsense
    }

    /// EHLO or LHLO.
    fn say_hello(&mut self, output: &mut Vec<u8>) {
        let verb = match self.role {
            Role::Smtp => "EHLO ",
            Role::Lmtp => "LHLO ",
        };
        write_line(output, &[verb, &self.name]);
        self.state = State::Hello;
    }

    /// What a whole reply means now; `None`: more is needed. A 421 may come at any time and ends the conversation (RFC
    /// 5321 §3.8).
    fn on_reply(&mut self, reply: Reply, output: &mut Vec<u8>) -> Option<Event> {
        if reply.code == 421 {
            self.state = State::Closed;
            return Some(Event::Refused(reply));
        }
        match &mut self.state {
            State::Hello if self.falls_back && reply.code / 100 == 5 => {
                write_line(output, &["HELO ", &self.name]);
                self.state = State::OldHello;
                None
            }
            State::OldHello if reply.is_ok() => {
                self.state = State::Ready;
                // What it says is no list of extensions.
                let lines = reply.lines.into_iter().take(1).collect();
                Some(Event::Ready(Reply { lines, ..reply }))
            }
            State::OldHello => {
                self.state = State::Closed;
                Some(Event::Refused(reply))
            }
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
                if flight.asks_caller() {
                    return Some(Event::Content);
                }
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
                } = *flight;
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
            Content::Stuffed(_) | Content::ByCaller => write_line(output, &["DATA"]),
            Content::Chunk(raw) => {
                write_line(output, &["BDAT ", &raw.len().to_string(), " LAST"]);
                output.extend_from_slice(raw);
            }
        }
    }

    /// One reply of the transaction, by what was asked before.
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
                Content::ByCaller => self.asked = Some(false),
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

    /// Once, when it is to send the content.
    fn asks_caller(&mut self) -> bool {
        self.asked == Some(false) && self.asked.replace(true).is_some()
    }

    /// RCPT for the recipient `index`.
    fn name(&self, index: usize, output: &mut Vec<u8>) {
        let parameters = self.parameters.get(index).map_or("", String::as_str);
        let recipient = &self.mail.recipients[index];
        write_line(output, &["RCPT TO:<", recipient, ">", parameters]);
    }

    /// RSET, because no recipient was accepted and the content was never offered.
    fn send_reset(&mut self, output: &mut Vec<u8>) {
        self.reset = Some(false);
        write_line(output, &["RSET"]);
    }

    /// Without pipelining: the next recipient, or the content when one was accepted.
    fn next(&mut self, output: &mut Vec<u8>) {
        let index = self.recipients.len();
        if index < self.mail.recipients.len() {
            self.name(index, output);
        } else if self.accepted() > 0 {
            self.offer(output);
        } else {
            self.send_reset(output);
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

/// One line with its CRLF.
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
mod tests;
