//! Reads mail: `imap::client`'s responses on a blocking socket.

use std::io;

use imap::client::{Response, Responses, Value};

use crate::limits::RESPONSES_MAX;
use crate::stream::Stream;

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
    /// Reads the greeting.
    pub fn over(stream: Stream) -> io::Result<Imap> {
        let mut imap = Imap::greeted(stream);
        let greeting = imap.response()?;
        match greeting.as_bytes().starts_with(b"* OK") {
            true => Ok(imap),
            false => Err(answered(&greeting)),
        }
    }

    /// A stream that the server has greeted on: after STARTTLS there is no second greeting.
    pub fn greeted(stream: Stream) -> Imap {
        Imap {
            stream,
            responses: Responses::default(),
            tag: 0,
        }
    }

    /// Gives the stream back, between two commands.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    pub fn login(&mut self, user: &str, password: &str) -> io::Result<()> {
        self.command(&format!("LOGIN \"{user}\" \"{password}\""))
            .map(|_| ())
    }

    /// Every untagged response to the command; `Err` unless it ends in OK. A literal in `text` is a non-synchronizing one.
    pub fn command(&mut self, text: &str) -> io::Result<Vec<Response>> {
        self.tag += 1;
        let tag = format!("a{}", self.tag);
        self.stream.send(format!("{tag} {text}\r\n").as_bytes())?;
        let mut untagged = Vec::new();
        while untagged.len() < RESPONSES_MAX {
            let response = self.response()?;
            match response.completes(&tag) {
                None => untagged.push(response),
                Some(true) => return Ok(untagged),
                Some(false) => return Err(answered(&response)),
            }
        }
        Err(io::Error::other("the answer has no end"))
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
            // until one is whole; the stream's time bounds each turn
            if let Some(response) = self.responses.step().map_err(io::Error::other)? {
                return Ok(response);
            }
            self.stream.read_more(self.responses.input())?;
        }
    }
}

fn answered(response: &Response) -> io::Error {
    let said = String::from_utf8_lossy(response.as_bytes());
    io::Error::other(format!("the answer is \"{said}\""))
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
