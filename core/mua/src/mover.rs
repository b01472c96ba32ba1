//! An IMAP client for mail that is moved: `imap.rs` for servers of others.
//!
//! What must hold: each response, each command and each silence is bounded, so that a server that hangs, lies about sizes or closes in the middle costs one try; untagged
//! responses are visited as they arrive, and none is kept; a refusal of the server and a break are different faults.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use imap::client::{Response, Responses, Value};
use imap::date::encode_date_time;
use imap::respond::{put, put_flags};
use mail::{Flags, InternalDate};
use rustls::ClientConfig;
use sasl::base64;

use crate::limits::{
    CAPABILITIES_MAX, MOVED_COMMAND_WITHIN, MOVED_MAX, MOVED_RESPONSE_BYTES_MAX, RESPONSES_MAX,
    SHOWN_REPLY_BYTES_MAX,
};
use crate::stream::Stream;

/// Why a command was not done.
#[derive(Debug)]
pub enum Fault {
    /// The connection is of no use any more; another one may be.
    Broken(String),
    /// The server cannot do it now.
    Later(String),
    /// The server will not do it: its reply.
    Refused(String),
}

/// One logged-in or new connection.
pub struct Mover {
    stream: Stream,
    responses: Responses,
    response_bytes_max: usize,
    tag: u32,
    capabilities: Vec<String>,
    /// Of the present command.
    until: Instant,
    /// Of all commands together.
    ends: Instant,
}

impl Mover {
    /// Reads the greeting.
    pub fn over(stream: Stream) -> Result<Mover, Fault> {
        Mover::bounded(stream, Instant::now() + MOVED_MAX, MOVED_RESPONSE_BYTES_MAX)
    }

    /// The same, and at `ends` the connection is of no use any more; no response has more than `response_bytes_max`.
    pub fn bounded(
        stream: Stream,
        ends: Instant,
        response_bytes_max: usize,
    ) -> Result<Mover, Fault> {
        let mut mover = Mover {
            stream,
            responses: Responses::with_bytes_max(response_bytes_max),
            response_bytes_max,
            tag: 0,
            capabilities: Vec::new(),
            until: ends.min(Instant::now() + MOVED_COMMAND_WITHIN),
            ends,
        };
        mover.stream.end_at(mover.until);
        let greeting = mover.response()?;
        match greeting.as_bytes().starts_with(b"* OK") {
            true => Ok(mover),
            false => Err(Fault::Later(shown(greeting.as_bytes()))),
        }
    }

    /// STARTTLS, and TLS with the server of this name; `None`: with whatever is at the address.
    pub fn start_tls(
        mut self,
        config: &Arc<ClientConfig>,
        host: Option<&str>,
    ) -> Result<Mover, Fault> {
        self.command("STARTTLS", |_| Ok(()))?;
        let stream = match host {
            Some(host) => self.stream.secure_as(config, host),
            None => self.stream.secure(config),
        };
        Ok(Mover {
            stream: stream.map_err(broken)?,
            // What was sent in the clear behind the reply is dropped with the old ones.
            responses: Responses::with_bytes_max(self.response_bytes_max),
            capabilities: Vec::new(),
            ..self
        })
    }

    /// Whether the server has this capability, in the present state.
    pub fn has(&mut self, capability: &str) -> Result<bool, Fault> {
        if self.capabilities.is_empty() {
            let mut found = Vec::new();
            self.command("CAPABILITY", |response| {
                // Of any number of lines: no more is held than is remembered.
                found.extend(capabilities(response));
                found.truncate(CAPABILITIES_MAX);
                Ok(())
            })?;
            self.capabilities = found;
        }
        let mut all = self.capabilities.iter();
        Ok(all.any(|known| known.eq_ignore_ascii_case(capability)))
    }

    /// The largest message that APPEND takes, where the server says so (RFC 7889).
    pub fn append_limit(&mut self) -> Result<Option<u64>, Fault> {
        self.has("APPENDLIMIT")?;
        let mut all = self.capabilities.iter();
        Ok(all.find_map(|known| {
            known
                .to_ascii_uppercase()
                .strip_prefix("APPENDLIMIT=")?
                .parse()
                .ok()
        }))
    }

    /// By PLAIN where the server has it, else by the command LOGIN.
    pub fn log_in(&mut self, user: &str, password: &str) -> Result<(), Fault> {
        if self.has("LOGINDISABLED")? && !self.has("AUTH=PLAIN")? {
            return Err(Fault::Refused(
                "the server takes no password on this connection".into(),
            ));
        }
        if self.has("AUTH=PLAIN")? {
            let response = base64::encode(format!("\0{user}\0{password}").as_bytes());
            self.begin();
            self.send(format!("a{} AUTHENTICATE PLAIN\r\n", self.tag).as_bytes())?;
            self.go_ahead()?;
            self.send(format!("{response}\r\n").as_bytes())?;
        } else {
            let mut line = format!("a{} LOGIN ", self.tag + 1).into_bytes();
            self.begin();
            for (word, end) in [(user, " "), (password, "\r\n")] {
                let is_quotable = word.is_ascii() && !word.contains(['\r', '\n', '\0']);
                if !is_quotable {
                    return Err(Fault::Refused(
                        "the server takes names and passwords in ASCII only".into(),
                    ));
                }
                put(&mut line, &format!("{}{end}", quoted(word)));
            }
            self.send(&line)?;
        }
        self.finish(&mut |_| Ok(()))?;
        self.capabilities.clear();
        Ok(())
    }

    /// Each untagged response to the command. What `each` returns as a fault ends the connection's use.
    pub fn command(
        &mut self,
        text: &str,
        mut each: impl FnMut(&Response) -> Result<(), Fault>,
    ) -> Result<Response, Fault> {
        self.begin();
        self.send(format!("a{} {text}\r\n", self.tag).as_bytes())?;
        self.finish(&mut each)
    }

    /// Appends a message to `mailbox`, which is spelled as the server wants it. The UIDVALIDITY and UID, where the server says them (RFC 4315 §3).
    pub fn append(
        &mut self,
        mailbox: &str,
        flags: &Flags,
        date: InternalDate,
        message: &[u8],
    ) -> Result<Option<(u32, u32)>, Fault> {
        let waits = !self.has("LITERAL+")?;
        self.begin();
        let mut line = format!("a{} APPEND ", self.tag).into_bytes();
        put(&mut line, &quoted(mailbox));
        line.push(b' ');
        put_flags(&mut line, flags);
        let mark = if waits { "" } else { "+" };
        let (date, count) = (encode_date_time(date), message.len());
        put(&mut line, &format!(" \"{date}\" {{{count}{mark}}}\r\n"));
        self.send(&line)?;
        if waits {
            self.go_ahead()?;
        }
        self.send(message)?;
        self.send(b"\r\n")?;
        let done = self.finish(&mut |_| Ok(()))?;
        Ok(append_uid(&done))
    }

    /// Ends the session; the server's answer is not waited for.
    pub fn log_out(mut self) {
        self.begin();
        let _ = self.send(format!("a{} LOGOUT\r\n", self.tag).as_bytes());
    }

    fn begin(&mut self) {
        self.tag += 1;
        self.until = self.ends.min(Instant::now() + MOVED_COMMAND_WITHIN);
        self.stream.end_at(self.until);
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.stream.send(bytes).map_err(broken)
    }

    /// Waits for `+`.
    fn go_ahead(&mut self) -> Result<(), Fault> {
        let tag = format!("a{}", self.tag);
        for _ in 0..RESPONSES_MAX {
            let response = self.response()?;
            if response.is_continuation() {
                return Ok(());
            }
            if response.completes(&tag).is_some() {
                return Err(refused(&response, &tag));
            }
        }
        Err(Fault::Broken("the answer has no end".into()))
    }

    /// The tagged OK.
    fn finish(
        &mut self,
        each: &mut dyn FnMut(&Response) -> Result<(), Fault>,
    ) -> Result<Response, Fault> {
        let tag = format!("a{}", self.tag);
        for _ in 0..RESPONSES_MAX {
            let response = self.response()?;
            match response.completes(&tag) {
                None if starts(response.as_bytes(), b"* BYE") => {
                    return Err(Fault::Broken(shown(response.as_bytes())));
                }
                None => each(&response)?,
                Some(true) => return Ok(response),
                Some(false) => return Err(refused(&response, &tag)),
            }
        }
        Err(Fault::Broken("the answer has no end".into()))
    }

    fn response(&mut self) -> Result<Response, Fault> {
        loop {
            // until one is whole; the stream's time bounds each turn, `until` all of them
            let step = self.responses.step();
            if let Some(response) = step.map_err(|fault| Fault::Broken(fault.to_string()))? {
                return Ok(response);
            }
            if Instant::now() > self.until {
                return Err(Fault::Broken("the answer takes too long".into()));
            }
            self.stream
                .read_more(self.responses.input())
                .map_err(broken)?;
        }
    }
}

/// As a quoted string (RFC 9051 §4.3). What cannot stand in one is omitted.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if matches!(letter, '"' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
    out
}

/// A time-out of the socket has a kind of its own, and words that no operator understands.
fn broken(error: io::Error) -> Fault {
    Fault::Broken(match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the server is silent".into(),
        _ => error.to_string(),
    })
}

/// RFC 5530: what may pass, and what will not.
fn refused(response: &Response, tag: &str) -> Fault {
    let bytes = response.as_bytes();
    let text = shown(&bytes[tag.len().min(bytes.len())..]);
    let upper = text.to_ascii_uppercase();
    let passes = ["[UNAVAILABLE]", "[INUSE]", "[SERVERBUG]", "[INPROGRESS"];
    match passes.iter().any(|code| upper.contains(code)) {
        true => Fault::Later(text),
        false => Fault::Refused(text),
    }
}

/// A reply as people may see it: no control characters, and not all of a long one.
fn shown(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(SHOWN_REPLY_BYTES_MAX)];
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    text.chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}

fn starts(bytes: &[u8], with: &[u8]) -> bool {
    bytes.len() >= with.len() && bytes[..with.len()].eq_ignore_ascii_case(with)
}

/// `* CAPABILITY …`
fn capabilities(response: &Response) -> Vec<String> {
    let text = String::from_utf8_lossy(response.as_bytes());
    match text.get(..13) {
        Some(begin) if begin.eq_ignore_ascii_case("* CAPABILITY ") => text[13..]
            .split_ascii_whitespace()
            .filter(|word| word.len() <= SHOWN_REPLY_BYTES_MAX)
            .take(CAPABILITIES_MAX)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

/// `[APPENDUID 38505 3955]` of a tagged OK.
fn append_uid(response: &Response) -> Option<(u32, u32)> {
    let text = String::from_utf8_lossy(response.as_bytes()).to_ascii_uppercase();
    let (_, code) = text.split_once("[APPENDUID ")?;
    let (validity, uid) = code.split(']').next()?.split_once(' ')?;
    Some((validity.parse().ok()?, uid.parse().ok()?))
}

/// `(FLAGS (…) UID 7 …)` of a FETCH line, as pairs. `None`: it is another response.
pub fn fetched(response: &Response) -> Option<Vec<(String, Value)>> {
    let values = response.values().ok()?;
    let mut values = values.into_iter().skip(2);
    match (values.next()?, values.next()?) {
        (Value::Atom(word), Value::List(items)) if word.eq_ignore_ascii_case("FETCH") => {
            let mut pairs = Vec::new();
            let mut items = items.into_iter();
            while let (Some(name), Some(value)) = (items.next(), items.next()) {
                if let Value::Atom(name) = name {
                    pairs.push((name.to_ascii_uppercase(), value));
                }
            }
            Some(pairs)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
