//! A small blocking IMAP client: enough to see what a mailbox holds, byte by byte.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const REPLY_WITHIN: Duration = Duration::from_secs(60);

pub struct Imap {
    reader: BufReader<TcpStream>,
    tag: u32,
}

/// One response line with its literals, in order.
pub struct Response {
    pub line: String,
    pub literals: Vec<Vec<u8>>,
}

/// A message as FETCH shows it.
pub struct Message {
    pub uid: u32,
    pub bytes: Vec<u8>,
}

impl Imap {
    pub fn login(server: SocketAddr, user: &str, password: &str) -> io::Result<Imap> {
        let stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(REPLY_WITHIN))?;
        let mut imap = Imap {
            reader: BufReader::new(stream),
            tag: 0,
        };
        imap.response()?;
        imap.command(&format!("LOGIN \"{user}\" \"{password}\""))?;
        Ok(imap)
    }

    /// Every untagged response to the command; `Err` unless it ends in OK.
    pub fn command(&mut self, text: &str) -> io::Result<Vec<Response>> {
        self.tag += 1;
        let tag = format!("t{} ", self.tag);
        self.reader
            .get_mut()
            .write_all(format!("{tag}{text}\r\n").as_bytes())?;
        let mut responses = Vec::new();
        loop {
            // Until the tagged line; the read time-out bounds it.
            let response = self.response()?;
            if let Some(rest) = response.line.strip_prefix(&tag) {
                if rest.starts_with("OK") {
                    return Ok(responses);
                }
                return Err(io::Error::other(format!("{text}: {rest}")));
            }
            responses.push(response);
        }
    }

    /// UIDVALIDITY of the mailbox, which is selected.
    pub fn select(&mut self, mailbox: &str) -> io::Result<u32> {
        let responses = self.command(&format!("SELECT \"{mailbox}\""))?;
        responses
            .iter()
            .find_map(|response| {
                response
                    .line
                    .split_once("[UIDVALIDITY ")?
                    .1
                    .split(']')
                    .next()?
                    .parse()
                    .ok()
            })
            .ok_or_else(|| io::Error::other("SELECT without UIDVALIDITY"))
    }

    /// Every message of the selected mailbox, whole.
    pub fn messages(&mut self) -> io::Result<Vec<Message>> {
        let responses = self.command("UID FETCH 1:* (UID BODY.PEEK[])")?;
        responses
            .into_iter()
            .filter(|response| response.line.contains(" FETCH "))
            .map(|mut response| {
                let uid = response
                    .line
                    .split_once("UID ")
                    .and_then(|(_, rest)| rest.split([' ', ')']).next()?.parse().ok())
                    .ok_or_else(|| io::Error::other("FETCH without UID"))?;
                let bytes = response
                    .literals
                    .pop()
                    .ok_or_else(|| io::Error::other("FETCH without a body"))?;
                Ok(Message { uid, bytes })
            })
            .collect()
    }

    /// One line, with its literals read and left out of it.
    fn response(&mut self) -> io::Result<Response> {
        let mut response = Response {
            line: String::new(),
            literals: Vec::new(),
        };
        loop {
            // Until a line that announces no literal.
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\r', '\n']);
            response.line.push_str(text);
            let size = text
                .strip_suffix('}')
                .and_then(|head| head.rsplit_once('{')?.1.parse::<usize>().ok());
            let Some(size) = size else {
                return Ok(response);
            };
            let mut literal = vec![0; size];
            self.reader.read_exact(&mut literal)?;
            response.literals.push(literal);
        }
    }
}
