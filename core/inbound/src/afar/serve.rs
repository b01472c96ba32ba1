//! The storage node's side of the table of recipients: one line asks, one line or a table answers.
//!
//! `HAVE version` (or `HAVE -`) is answered by `SAME` where that is the table's version, else by `TABLE bytes` and so many bytes, or by `LATER` and why.
//! The connection stays for the next question.
//!
//! What must hold: only peers with a proved certificate get here; a node makes a table at most every `TABLE_FRESH_FOR`, one at a time, and keeps one.

use std::sync::Arc;

use base::Time;
use bytes::Bytes;
use runtime::{Accepted, ConnectionFault, SessionHost};
use storage::owner::Ask;
use storage::recipients::{snapshot, version_of};
use tokio::sync::Mutex;

use super::limits::*;

/// The table that was made last, of all cores. Clones are the same. Held while one is made, so that all who ask meanwhile get it.
#[derive(Clone, Default)]
pub struct Made {
    shared: Arc<Mutex<Option<(Bytes, Time)>>>,
}

/// Tables for other nodes, served on one core.
pub struct Tables<A> {
    host: SessionHost,
    ask: A,
    made: Made,
}

impl<A: Ask> Tables<A> {
    pub fn new(host: SessionHost, ask: A, made: Made) -> Tables<A> {
        Tables { host, ask, made }
    }

    /// Serves `connection` to its end.
    pub async fn serve(&self, mut connection: impl Accepted) {
        connection.deadline(TABLE_SILENCE_MAX);
        let ended = self.converse(&mut connection).await;
        match ended {
            Ok(()) | Err(ConnectionFault::Stopping | ConnectionFault::TimedOut) => {
                connection.close().await;
            }
            Err(fault) => tracing::debug!(peer = %connection.peer(), %fault, "it broke off"),
        }
    }

    async fn converse(&self, connection: &mut impl Accepted) -> Result<(), ConnectionFault> {
        let mut input = Vec::new();
        loop {
            // until either side ends it, or a line makes no sense
            let Some(end) = memchr::memmem::find(&input, b"\r\n") else {
                if input.len() > TABLE_LINE_BYTES_MAX {
                    return connection.send(b"LATER line too long\r\n").await;
                }
                connection.receive(&mut input).await?;
                continue;
            };
            let line: Vec<u8> = input.drain(..end + 2).take(end).collect();
            let Some(have) = line.strip_prefix(b"HAVE ") else {
                return connection.send(b"LATER ask with HAVE\r\n").await;
            };
            match self.table().await {
                Ok(table) => {
                    let version = version_of(&table).unwrap_or_default();
                    if version.as_bytes() == have {
                        connection.send(b"SAME\r\n").await?;
                    } else {
                        let line = format!("TABLE {}\r\n", table.len());
                        connection.send(line.as_bytes()).await?;
                        for piece in table.chunks(PIECE_BYTES) {
                            connection.send(piece).await?;
                        }
                    }
                }
                Err(why) => {
                    let why: String = why
                        .chars()
                        .filter(|letter| !letter.is_control())
                        .take(200)
                        .collect();
                    connection
                        .send(format!("LATER {why}\r\n").as_bytes())
                        .await?;
                }
            }
        }
    }

    /// The one that was made a moment ago, or a new one.
    async fn table(&self) -> Result<Bytes, String> {
        let mut made = self.made.shared.lock().await;
        let now = self.host.now();
        if let Some((table, at)) = &*made
            && now.since_us(*at) < TABLE_FRESH_FOR.as_micros() as u64
        {
            return Ok(table.clone());
        }
        let asked = self
            .ask
            .ask(|mailboxes| async move { snapshot(&mailboxes).await });
        let draft = match asked.await {
            Ok(Ok(draft)) => draft,
            Ok(Err(fault)) => return Err(fault.to_string()),
            Err(busy) => return Err(busy.to_string()),
        };
        let bytes = draft.addresses.len() * 64;
        let table = self.host.work(bytes, move || draft.encode()).await;
        let table = Bytes::from(table.map_err(|no| no.to_string())?);
        *made = Some((table.clone(), now));
        Ok(table)
    }
}
