//! A POP3 client for mail that is fetched from servers of others (RFC 1939, 2449, 2595, 5034).
//!
//! What must hold: each line, each list, each message and the whole conversation are bounded, so that a server that hangs, trickles, lies about sizes or never ends its
//! answer costs one try; nothing that a server sends is a panic; and a message counts as deleted there only when QUIT was answered with +OK.
//!
//! `wire.rs` cuts what arrives into lines and messages, without a socket; it is what the fuzzer watches.

pub mod wire;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;
use sasl::base64;

use crate::limits::{POP3_LINES_MAX, POP3_UID_BYTES_MAX, SHOWN_REPLY_BYTES_MAX};
use crate::mover::Fault;
use crate::stream::Stream;
use wire::{Lines, Taken};

/// One connection.
pub struct Pop3 {
    stream: Stream,
    lines: Lines,
    until: Instant,
    capabilities: Vec<String>,
}

/// A message as the server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// In this connection.
    pub number: u32,
    /// Of its UIDL, as the caller hashes it.
    pub id: u64,
    /// As the server says; often wrong by the ends of lines.
    pub bytes: u64,
}

/// What a login came to.
#[derive(Debug)]
pub enum Login {
    In,
    /// The server says that name or password is wrong, or says nothing more than no.
    Refused(String),
}

impl Pop3 {
    /// Reads the greeting. At `until` the connection is of no use any more.
    pub fn over(mut stream: Stream, until: Instant) -> Result<Pop3, Fault> {
        stream.end_at(until);
        let mut pop3 = Pop3 {
            stream,
            lines: Lines::default(),
            until,
            capabilities: Vec::new(),
        };
        match pop3.reply()? {
            Ok(_) => Ok(pop3),
            Err(text) => Err(Fault::Later(text)),
        }
    }

    /// STLS, and TLS with the server of this name.
    pub fn start_tls(mut self, config: &Arc<ClientConfig>, host: &str) -> Result<Pop3, Fault> {
        self.command("STLS")?.map_err(Fault::Refused)?;
        let stream = self.stream.secure_as(config, host).map_err(broken)?;
        Ok(Pop3 {
            stream,
            // What was sent in the clear behind the reply is dropped with the old ones.
            lines: Lines::default(),
            capabilities: Vec::new(),
            ..self
        })
    }

    /// By USER and PASS, or by PLAIN where the server has that alone or the words are not ASCII.
    pub fn log_in(&mut self, user: &str, password: &str) -> Result<Login, Fault> {
        let is_sendable = |word: &str| !word.contains(['\r', '\n', '\0']) && word.len() <= 1_024;
        if !is_sendable(user) || !is_sendable(password) {
            return Ok(Login::Refused(
                "the user or the password has characters that POP3 cannot send".into(),
            ));
        }
        self.ask_capabilities()?;
        let has = |pop3: &Pop3, wanted: &[&str]| {
            pop3.capabilities.iter().any(|line| {
                let words: Vec<&str> = line.split_ascii_whitespace().collect();
                wanted
                    .iter()
                    .all(|wanted| words.iter().any(|word| word.eq_ignore_ascii_case(wanted)))
            })
        };
        let has_plain = has(self, &["SASL", "PLAIN"]);
        let is_ascii = user.is_ascii() && password.is_ascii();
        let by_user = has(self, &["USER"]) || !has_plain;
        let answer = if has_plain && !(is_ascii && by_user) {
            let response = base64::encode(format!("\0{user}\0{password}").as_bytes());
            self.send(b"AUTH PLAIN\r\n")?;
            match self.line()? {
                line if line.starts_with(b"+OK") => Ok(String::new()),
                line if line.starts_with(b"+") => self.command(&response)?,
                line => Err(shown(&line)),
            }
        } else {
            match self.command(&format!("USER {user}"))? {
                Ok(_) => self.command(&format!("PASS {password}"))?,
                refused => refused,
            }
        };
        match answer {
            Ok(_) => Ok(Login::In),
            Err(text) if is_of_moment(&text) => Err(Fault::Later(text)),
            Err(text) => Ok(Login::Refused(text)),
        }
    }

    /// All messages, in the order of the server, `count_max` at most; and how many it has. `Refused`: it has no UIDL, without which a message cannot be known
    /// again. One whose UIDL is not of RFC 1939's form, or is there twice, is not listed: what is done for one of them must not be done to the other.
    pub fn list(
        &mut self,
        count_max: usize,
        id_of: impl Fn(&str) -> u64,
    ) -> Result<(Vec<Listed>, usize), Fault> {
        self.command("UIDL")?.map_err(Fault::Refused)?;
        let mut all: Vec<Listed> = Vec::new();
        let mut count = 0;
        self.each_line(&mut |line| {
            count += 1;
            if let Some((number, uid)) = wire::numbered(line)
                && all.len() < count_max
                && uid.len() <= POP3_UID_BYTES_MAX
                && uid.bytes().all(|byte| (0x21..=0x7e).contains(&byte))
            {
                all.push(Listed {
                    number,
                    id: id_of(uid),
                    bytes: 0,
                });
            }
        })?;
        drop_doubles(&mut all);
        self.command("LIST")?.map_err(Fault::Refused)?;
        self.each_line(&mut |line| {
            if let Some((number, size)) = wire::numbered(line)
                && let Ok(at) = all.binary_search_by_key(&number, |one| one.number)
                && let Some(bytes) = size.split(' ').next().and_then(|size| size.parse().ok())
            {
                all[at].bytes = bytes;
            }
        })?;
        Ok((all, count))
    }

    /// Appends the message to `out`, with CRLF at the end of each line. `None`: it has more than `bytes_max`, and the connection is of no use any more.
    pub fn retrieve(
        &mut self,
        number: u32,
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<()>, Fault> {
        self.command(&format!("RETR {number}"))?
            .map_err(Fault::Refused)?;
        let end = out.len() + bytes_max;
        loop {
            // until the message ends, or is too long; each turn takes bytes, or waits for some within the deadline
            match self.lines.take_message(out, end) {
                Taken::End if self.lines.is_empty() => return Ok(Some(())),
                // Nothing was asked for behind it: replies and commands are out of step.
                Taken::End => {
                    return Err(Fault::Broken(
                        "the server sends more than one message".into(),
                    ));
                }
                Taken::TooLong => return Ok(None),
                Taken::More => self.read_more()?,
            }
        }
    }

    /// Marks it; it goes with QUIT.
    pub fn delete(&mut self, number: u32) -> Result<(), Fault> {
        self.command(&format!("DELE {number}"))?
            .map_err(Fault::Refused)?;
        Ok(())
    }

    /// `Ok`: what was marked is gone there.
    pub fn quit(mut self) -> Result<(), Fault> {
        self.command("QUIT")?.map_err(Fault::Refused)?;
        Ok(())
    }

    fn ask_capabilities(&mut self) -> Result<(), Fault> {
        // RFC 2449 is not everywhere: a server without it has USER.
        if self.command("CAPA")?.is_ok() {
            let mut all = Vec::new();
            self.each_line(&mut |line| {
                if all.len() < crate::limits::CAPABILITIES_MAX {
                    all.push(String::from_utf8_lossy(line).into_owned());
                }
            })?;
            self.capabilities = all;
        }
        Ok(())
    }

    /// The text behind +OK, or (inner `Err`) that behind -ERR.
    fn command(&mut self, text: &str) -> Result<Result<String, String>, Fault> {
        self.send(format!("{text}\r\n").as_bytes())?;
        self.reply()
    }

    fn reply(&mut self) -> Result<Result<String, String>, Fault> {
        let line = self.line()?;
        if line.starts_with(b"+OK") {
            return Ok(Ok(shown(&line[3..])));
        }
        match line.starts_with(b"-ERR") {
            true => Ok(Err(shown(&line))),
            false => Err(Fault::Broken("what the server sends is not POP3".into())),
        }
    }

    /// Of a list, up to the dot that ends it.
    fn each_line(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        for _ in 0..POP3_LINES_MAX {
            let line = self.line()?;
            match line.strip_prefix(b".") {
                Some([]) => return Ok(()),
                Some(rest) => each(rest),
                None => each(&line),
            }
        }
        Err(Fault::Broken("the list has no end".into()))
    }

    fn line(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            // until a line is whole; the line's bound and the deadline bound the turns
            match self.lines.line() {
                Ok(Some(line)) => return Ok(line),
                Ok(None) => self.read_more()?,
                Err(wire::TooLong) => {
                    return Err(Fault::Broken("the server sends a line without end".into()));
                }
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.stream.send(bytes).map_err(broken)
    }

    fn read_more(&mut self) -> Result<(), Fault> {
        if Instant::now() > self.until {
            return Err(Fault::Broken("the server takes too long".into()));
        }
        self.stream.read_more(self.lines.input()).map_err(broken)
    }
}

/// RFC 2449 §8, 3206, and in the words of RFC 1939 §4 a maildrop that another program has open: what may pass. A server that says none of it means the password.
fn is_of_moment(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let codes = ["[SYS/TEMP]", "[IN-USE]", "[LOGIN-DELAY]"];
    let is_open_elsewhere = upper.contains("MAILDROP") && upper.contains("LOCK");
    is_open_elsewhere || codes.iter().any(|code| upper.contains(code))
}

/// Ascending by number, each number and each UIDL once; of those that are there twice none.
fn drop_doubles(all: &mut Vec<Listed>) {
    all.sort_unstable_by_key(|one| one.id);
    retain_single(all, |one| one.id);
    all.sort_unstable_by_key(|one| one.number);
    retain_single(all, |one| u64::from(one.number));
}

/// Of those that stand beside each other with the same key none.
fn retain_single(all: &mut Vec<Listed>, key: impl Fn(&Listed) -> u64) {
    let keys: Vec<u64> = all.iter().map(key).collect();
    let mut at = 0;
    all.retain(|_| {
        let own = keys[at];
        let is_double = at > 0 && keys[at - 1] == own || keys.get(at + 1) == Some(&own);
        at += 1;
        !is_double
    });
}

/// A time-out of the socket has a kind of its own, and words that no operator understands.
fn broken(error: io::Error) -> Fault {
    Fault::Broken(match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the server is silent".into(),
        _ => error.to_string(),
    })
}

/// A reply as people may see it: no control characters, and not all of a long one.
fn shown(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(SHOWN_REPLY_BYTES_MAX)];
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim().chars();
    text.map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests;
