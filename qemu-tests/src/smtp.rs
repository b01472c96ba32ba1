//! Sends mail to a guest: `core/smtp`'s client on a blocking socket.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use smtp::client::{Client, Content, Event, Mail, Reply};
use smtp::session::Role;

use crate::tls::Stream;

/// A greeted connection.
pub struct Smtp {
    client: Client,
    stream: Stream,
    input: Vec<u8>,
}

/// What became of one message for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// 250 after the content: from here on it must never be lost.
    Accepted,
    Refused(Reply),
}

impl Smtp {
    pub fn connect(server: SocketAddr, within: Duration) -> io::Result<Smtp> {
        let mut smtp = Smtp {
            client: Client::new(Role::Smtp, "harness.example.net", false),
            stream: Stream::plain(server, within)?,
            input: Vec::new(),
        };
        match smtp.event(Vec::new())? {
            Event::Ready(_) => Ok(smtp),
            other => Err(nonsense(&other)),
        }
    }

    /// One transaction to one recipient. `Err`: the connection broke, and nothing is known.
    pub fn send(&mut self, to: &str, content: &str) -> io::Result<Outcome> {
        let mut output = Vec::new();
        let mail = Mail {
            reverse_path: "sender@example.net".into(),
            recipients: vec![to.into()],
            parameters: String::new(),
            content: Content::stuffed(content.as_bytes()),
        };
        self.client.send(mail, &mut output);
        let sent = match self.event(output)? {
            Event::Sent(sent) => sent,
            other => return Err(nonsense(&other)),
        };
        let replies = [Some(sent.mail), sent.recipients.into_iter().next()];
        for reply in replies.into_iter().flatten() {
            if !reply.is_ok() {
                return Ok(Outcome::Refused(reply));
            }
        }
        match sent.outcomes.into_iter().next() {
            Some(reply) if reply.is_ok() => Ok(Outcome::Accepted),
            Some(reply) => Ok(Outcome::Refused(reply)),
            None => Err(io::Error::other("no reply to the content")),
        }
    }

    fn event(&mut self, output: Vec<u8>) -> io::Result<Event> {
        self.stream.write_all(&output)?;
        loop {
            // until an event; the read time-out bounds each turn
            let mut output = Vec::new();
            let (used, event) = self.client.receive(&self.input, &mut output);
            self.input.drain(..used);
            self.stream.write_all(&output)?;
            if event != Event::NeedInput {
                return Ok(event);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.input.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

fn nonsense(event: &Event) -> io::Error {
    io::Error::other(format!("SMTP: {event:?}"))
}
