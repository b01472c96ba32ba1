//! One connection to a server. After any fault it is not used again: what was read may be the half of something.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::ber::{Malformed, message_length};
use crate::left;
use crate::limits::SEARCH_BYTES_MAX;
use crate::message::{self, Answer, Done, Entry, SUCCESS, Search};
use crate::settings::{Server, Tls};

/// Why a call gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Io(String),
    #[error("it does not answer in time")]
    Deadline,
    #[error("what it sends is not LDAP, or too long")]
    Malformed,
    #[error("it refuses: {text} (result {code})")]
    Refused { code: u32, text: String },
    /// It says so of one user or of one question; others are answered.
    #[error("it answers others, but not this question: {text} (result {code})")]
    OfOne { code: u32, text: String },
    /// The text says what is too many.
    #[error("it has too many {0}")]
    TooMuch(&'static str),
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Fault {
        Fault::Malformed
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        Fault::Io(error.to_string())
    }
}

trait Stream: AsyncRead + AsyncWrite {}
impl<S: AsyncRead + AsyncWrite> Stream for S {}

/// An open connection.
pub(crate) struct Connection {
    stream: Pin<Box<dyn Stream>>,
    /// Bytes that were read and are not used; never more than one message and a read.
    buffer: Vec<u8>,
    last_id: u32,
    /// For one call.
    pub deadline: Duration,
    /// It speaks as the one that searches.
    pub is_service: bool,
    pub used: Instant,
}

impl Connection {
    /// Connected, inside TLS where the settings say so.
    pub async fn open(
        server: &Server,
        tls: &Arc<ClientConfig>,
        deadline: Duration,
    ) -> Result<Connection, Fault> {
        let opened = timeout(deadline, Connection::connect(server, tls, deadline)).await;
        opened.unwrap_or(Err(Fault::Deadline))
    }

    async fn connect(
        server: &Server,
        tls: &Arc<ClientConfig>,
        deadline: Duration,
    ) -> Result<Connection, Fault> {
        let began = Instant::now();
        let socket = TcpStream::connect((server.host.as_str(), server.port)).await?;
        let _ = socket.set_nodelay(true); // slower, not wrong
        let mut connection = Connection {
            stream: Box::pin(tokio::io::empty()),
            buffer: Vec::new(),
            last_id: 0,
            deadline,
            is_service: false,
            used: Instant::now(),
        };
        let socket = match server.tls {
            Tls::Never => {
                connection.stream = Box::pin(socket);
                return Ok(connection);
            }
            Tls::Implicit => socket,
            Tls::Start => start_tls(socket, left(deadline, began)).await?,
        };
        let name = ServerName::try_from(server.host.clone());
        let name = name.map_err(|error| Fault::Io(error.to_string()))?;
        let inside = TlsConnector::from(tls.clone())
            .connect(name, socket)
            .await?;
        connection.stream = Box::pin(inside);
        Ok(connection)
    }

    /// `Ok`: the result of a bind with this name and password, whatever it is.
    pub async fn bind(&mut self, dn: &str, password: &[u8]) -> Result<Done, Fault> {
        // RFC 4513 §5.1.2: with a name and no password it succeeds, and proves nothing.
        if dn.is_empty() != password.is_empty() {
            return Err(Fault::Io("a bind needs a name and a password".to_owned()));
        }
        self.is_service = false;
        let id = self.next_id();
        let request = message::bind(id, dn, password);
        let deadline = self.deadline;
        let call = async {
            self.stream.write_all(&request).await?;
            self.stream.flush().await?;
            loop {
                // until the deadline
                if let (_, Answer::Done(done)) = self.answer(id).await? {
                    return Ok(done);
                }
            }
        };
        timeout(deadline, call)
            .await
            .unwrap_or(Err(Fault::Deadline))
    }

    /// Entries that are found, and the end of the search. `Refused`: it ended otherwise than well, unless it did so because of `entries_max`.
    pub async fn search(
        &mut self,
        search: &Search<'_>,
        mut found: impl FnMut(Entry) -> Result<(), Fault>,
    ) -> Result<Done, Fault> {
        let id = self.next_id();
        let request = message::search(id, search);
        let deadline = self.deadline;
        let mut bytes = 0;
        let call = async {
            self.stream.write_all(&request).await?;
            self.stream.flush().await?;
            loop {
                // until the deadline
                let (length, answer) = self.answer(id).await?;
                bytes += length;
                if bytes > SEARCH_BYTES_MAX {
                    return Err(Fault::TooMuch("bytes in one search"));
                }
                match answer {
                    Answer::Entry(entry) => {
                        found(entry)?;
                    }
                    Answer::Other => {}
                    Answer::Done(done) => return Ok(done),
                }
            }
        };
        let done = timeout(deadline, call).await;
        let done = done.unwrap_or(Err(Fault::Deadline))?;
        let is_cut = search.entries_max > 0 && done.code == message::SIZE_LIMIT_EXCEEDED;
        match done.code {
            SUCCESS => Ok(done),
            _ if is_cut => Ok(done),
            // The server is well: other questions are answered.
            code if message::LIMITS.contains(&code) => Err(Fault::TooMuch(
                "entries for a limit of its own (result 3, 4 or 11)",
            )),
            // A value of the question is not to its taste, and another one may be.
            code if message::OF_THE_QUESTION.contains(&code) => Err(Fault::OfOne {
                code,
                text: done.text,
            }),
            code => Err(Fault::Refused {
                code,
                text: done.text,
            }),
        }
    }

    /// The next message, which is about this operation, and its length.
    async fn answer(&mut self, id: u32) -> Result<(usize, Answer), Fault> {
        let length = loop {
            // until a message is whole, which is bounded, or the deadline
            if let Some(length) = message_length(&self.buffer)?
                && self.buffer.len() >= length
            {
                break length;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(Fault::Io("it closed the connection".to_owned()));
            }
        };
        let read = message::read(&self.buffer[..length]);
        self.buffer.drain(..length);
        match read? {
            (of, answer) if of == id => Ok((length, answer)),
            // RFC 4511 §4.4.1: one that was kept is tried again as another connection.
            (0, Answer::Done(Done { code, text, .. })) => Err(Fault::Io(format!(
                "it closes the connection: {text} (result {code})"
            ))),
            _ => Err(Fault::Malformed),
        }
    }

    fn next_id(&mut self) -> u32 {
        // It is closed long before they are used up.
        self.last_id = self.last_id % 0x3fff_ffff + 1;
        self.last_id
    }
}

/// RFC 4511 §4.14: what comes behind the answer did not come through TLS, and ends it.
async fn start_tls(mut socket: TcpStream, within: Duration) -> Result<TcpStream, Fault> {
    let call = async {
        socket.write_all(&message::start_tls(1)).await?;
        let mut buffer = Vec::new();
        loop {
            // until a message is whole, which is bounded, or the deadline
            match message_length(&buffer)? {
                Some(length) if buffer.len() > length => return Err(Fault::Malformed),
                Some(length) if buffer.len() == length => break,
                _ => {}
            }
            if socket.read_buf(&mut buffer).await? == 0 {
                return Err(Fault::Io("it closed the connection".to_owned()));
            }
        }
        match message::read(&buffer)? {
            (1, Answer::Done(done)) if done.code == SUCCESS => Ok(socket),
            (_, Answer::Done(done)) => Err(Fault::Refused {
                code: done.code,
                text: done.text,
            }),
            _ => Err(Fault::Malformed),
        }
    };
    timeout(within, call).await.unwrap_or(Err(Fault::Deadline))
}
