//! Sends mail: `smtp::client` on a blocking socket. It can also say exactly what it is given.

use std::io;

pub use smtp::client::Reply;
use smtp::client::{Client, Content, Event, Mail, Replies};
use smtp::session::Role;

use crate::stream::Stream;

/// The reverse-path of every message that `send` sends.
pub const SENDER: &str = "sender@example.net";

/// A connection of the sender's.
pub struct Smtp {
    /// The socket, with its time for each wait.
    stream: Stream,
    /// What was read and not understood yet.
    input: Vec<u8>,
    /// Lines that came in of the next reply.
    replies: Replies,
    /// There once the server greeted us, until the connection is of no more use.
    client: Option<Client>,
}

impl Smtp {
    /// Says nothing and reads nothing.
    pub fn over(stream: Stream) -> Smtp {
        Smtp {
            stream,
            input: Vec::new(),
            replies: Replies::default(),
            client: None,
        }
    }

    /// Reads the greeting and says EHLO as `name`. `Err` also where the server refuses.
    pub fn greeted(stream: Stream, name: &str) -> io::Result<Smtp> {
        let mut smtp = Smtp::over(stream);
        let mut client = Client::new(Role::Smtp, name, false);
        match smtp.event(&mut client, Vec::new())? {
            Event::Ready(_) => smtp.client = Some(client),
            Event::Refused(reply) => return Err(answered(&reply)),
            other => return Err(unexpected(&other)),
        }
        Ok(smtp)
    }

    /// One transaction, of a `greeted` connection: the first refusal, or the reply to the content. `content` has CRLF line ends; its
    /// dots are doubled here. `Err`: the connection broke, and nothing is known of the message.
    pub fn send(&mut self, to: &[&str], content: &str) -> io::Result<Reply> {
        let mut client = self.client.take().ok_or(io::ErrorKind::NotConnected)?;
        let mut output = Vec::new();
        let mail = Mail {
            reverse_path: SENDER.into(),
            recipients: to.iter().map(|&to| to.into()).collect(),
            parameters: String::new(),
            content: Content::stuffed(content.as_bytes()),
        };
        client.send(mail, &mut output);
        let sent = match self.event(&mut client, output)? {
            Event::Sent(sent) => sent,
            // 421: the connection is over.
            Event::Refused(reply) => return Ok(reply),
            other => return Err(unexpected(&other)),
        };
        self.client = Some(client);
        let envelope = [sent.mail].into_iter().chain(sent.recipients);
        let mut refused = envelope.filter(|reply| !reply.is_ok());
        let outcome = refused.next().or(sent.outcomes.into_iter().next());
        outcome.ok_or_else(|| io::Error::other("no reply to the content"))
    }

    /// Sends one line and reads its reply.
    pub fn command(&mut self, line: &str) -> io::Result<Reply> {
        self.raw(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// The same where the reply must have this code.
    pub fn expect(&mut self, line: &str, code: u16) -> io::Result<()> {
        self.raw(format!("{line}\r\n").as_bytes())?;
        self.expect_reply(code)
    }

    /// Reads a reply that must have this code.
    pub fn expect_reply(&mut self, code: u16) -> io::Result<()> {
        let reply = self.reply()?;
        match reply.code == code {
            true => Ok(()),
            false => Err(answered(&reply)),
        }
    }

    /// Sends bytes as they are, a broken line included.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.send(bytes)
    }

    /// Reads the next reply.
    pub fn reply(&mut self) -> io::Result<Reply> {
        loop {
            // until a reply is whole; the stream's time bounds each turn
            let (used, reply) = self.replies.receive(&self.input);
            self.input.drain(..used);
            match reply {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => self.stream.read_more(&mut self.input)?,
                Err(fault) => return Err(io::Error::other(fault.to_string())),
            }
        }
    }

    /// Sends nothing more, and can still read.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.stream.half_close()
    }

    /// Reads up to the next event of the client.
    fn event(&mut self, client: &mut Client, mut output: Vec<u8>) -> io::Result<Event> {
        loop {
            // until an event; the stream's time bounds each turn
            let (used, event) = client.receive(&self.input, &mut output);
            self.input.drain(..used);
            self.stream.send(&output)?;
            output.clear();
            if event != Event::NeedInput {
                return Ok(event);
            }
            self.stream.read_more(&mut self.input)?;
        }
    }
}

/// A reply that was not expected, as an error.
fn answered(reply: &Reply) -> io::Error {
    io::Error::other(format!("the answer is \"{reply}\""))
}

/// An event that was not expected, as an error.
fn unexpected(event: &Event) -> io::Error {
    io::Error::other(format!("SMTP: {event:?}"))
}
