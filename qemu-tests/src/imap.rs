//! Reads mail from a guest by IMAP over TLS: `core/imap`'s responses on a blocking socket.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use imap::client::{Response, Responses, Value};

use crate::tls::Stream;

/// A session that is logged in.
pub struct Imap {
    stream: Stream,
    responses: Responses,
    tag: u32,
}

/// A message as FETCH shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub uid: u32,
    pub bytes: Vec<u8>,
}

impl Imap {
    /// Port 993: passwords are not taken without TLS from anybody but the guest itself.
    pub fn login(
        server: SocketAddr,
        user: &str,
        password: &str,
        within: Duration,
    ) -> io::Result<Imap> {
        let mut imap = Imap {
            stream: Stream::tls(server, within)?,
            responses: Responses::default(),
            tag: 0,
        };
        imap.response()?;
        imap.command(&format!("LOGIN \"{user}\" \"{password}\""))?;
        Ok(imap)
    }

    /// Every untagged response to the command; `Err` unless it ends in OK. `text` holds no literal.
    pub fn command(&mut self, text: &str) -> io::Result<Vec<Response>> {
        self.tag += 1;
        let tag = format!("q{}", self.tag);
        self.stream
            .write_all(format!("{tag} {text}\r\n").as_bytes())?;
        let mut untagged = Vec::new();
        loop {
            // until the tagged line; the read time-out bounds each turn
            let response = self.response()?;
            match response.completes(&tag) {
                None => untagged.push(response),
                Some(true) => return Ok(untagged),
                Some(false) => {
                    let said = String::from_utf8_lossy(response.as_bytes()).into_owned();
                    return Err(io::Error::other(format!("IMAP: {said}")));
                }
            }
        }
    }

    /// UIDVALIDITY of the mailbox, which is selected.
    pub fn select(&mut self, mailbox: &str) -> io::Result<u32> {
        let responses = self.command(&format!("SELECT \"{mailbox}\""))?;
        responses
            .iter()
            .find_map(|response| {
                let text = std::str::from_utf8(response.as_bytes()).ok()?;
                let (_, rest) = text.split_once("[UIDVALIDITY ")?;
                rest.split(']').next()?.parse().ok()
            })
            .ok_or_else(|| io::Error::other("SELECT without UIDVALIDITY"))
    }

    /// Every message of the selected mailbox, whole.
    pub fn messages(&mut self) -> io::Result<Vec<Message>> {
        let responses = self.command("UID FETCH 1:* (UID BODY.PEEK[])")?;
        responses.iter().filter_map(message).collect()
    }

    fn response(&mut self) -> io::Result<Response> {
        loop {
            // until one is whole; the read time-out bounds each turn
            if let Some(response) = self.responses.step().map_err(io::Error::other)? {
                return Ok(response);
            }
            let mut buffer = [0; 16_384];
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.responses.input().extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// `* 3 FETCH (UID 7 BODY[] {…}…)`; `None` for another response.
fn message(response: &Response) -> Option<io::Result<Message>> {
    let values = match response.values() {
        Ok(values) => values,
        Err(fault) => return Some(Err(io::Error::other(fault))),
    };
    let [_, _, Value::Atom(word), Value::List(items)] = &values[..] else {
        return None;
    };
    if !word.eq_ignore_ascii_case("FETCH") {
        return None;
    }
    let (mut uid, mut bytes) = (None, None);
    for pair in items.chunks(2) {
        match pair {
            [Value::Atom(name), Value::Atom(number)] if name.eq_ignore_ascii_case("UID") => {
                uid = number.parse().ok();
            }
            [Value::Atom(name), Value::String(body)] if name.eq_ignore_ascii_case("BODY[]") => {
                bytes = Some(body.clone());
            }
            _ => {}
        }
    }
    match (uid, bytes) {
        (Some(uid), Some(bytes)) => Some(Ok(Message { uid, bytes })),
        // An unasked FETCH with flags alone.
        _ => None,
    }
}
