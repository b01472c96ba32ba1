//! RETR and TOP: one message from the store to the client, in pieces.
//!
//! A message that was announced has to be ended. When the rest cannot be read any more the connection is given up, and the next RETR of a
//! damaged message is refused before it begins.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use mailbox::{MailboxFault, Message};
use pop3::wire::Wire;
use pop3::{Reply, Retrieval};
use runtime::Connection;
use storage::holder;
use storage::owner::Ask;

use super::limits::*;
use super::{End, Opened, Pop3};
use crate::limits::WINDOW_BYTES;
use crate::pieces::{Reader, Reading, Unread};

impl<K: Ask> Pop3<K> {
    /// Sends the message, or writes why it is not sent. What is left in `out` goes with the next replies.
    pub(super) async fn on_retrieve(
        &self,
        opened: &Opened,
        retrieval: Retrieval,
        out: &mut Vec<u8>,
        connection: &mut impl Connection,
    ) -> Result<(), End> {
        let reading = Reading {
            holder: holder::of_account(opened.account),
            mailbox: opened.inbox,
        };
        let message = match self.look_up(opened, retrieval).await {
            Ok(message) => message,
            Err(reply) => {
                reply.put(out);
                return Ok(());
            }
        };
        // Held until the client has taken everything.
        let window = self.memory.sending.take_for(reading.holder, WINDOW_BYTES);
        let mut reader = Reader {
            owner: &self.owner,
            host: &self.host,
            memory: &self.memory,
            reading,
            message: &message,
            kept: None,
            large: window.is_some(),
        };
        let end = message.size_bytes as usize;
        // Before it is announced: most of what can go wrong goes wrong here.
        let first = match self.damaged.knows(&message) {
            true => self.prove(&mut reader, &message).await,
            false => reader.read(0, end).await,
        };
        let first = match first {
            Ok(first) => first,
            Err(unread) => {
                refusal(&unread).put(out);
                return Ok(());
            }
        };
        let wire = match retrieval.lines {
            Some(lines) => Wire::top(lines),
            None => Wire::whole(),
        };
        retrieval.put_announced(out);
        match send(wire, first, &mut reader, out, connection).await? {
            Ok(()) => {
                let whole = u64::from(retrieval.lines.is_none());
                self.counters.retrieved.fetch_add(whole, Relaxed);
                Ok(())
            }
            Err(unread) => {
                tracing::warn!(peer = %connection.peer(), ?unread, "a message cannot be read to its end; the connection is given up");
                if unread == Unread::Mailbox(MailboxFault::Damaged) {
                    self.damaged.remember(&message);
                }
                Err(End::CutOff)
            }
        }
    }

    async fn look_up(&self, opened: &Opened, retrieval: Retrieval) -> Result<Message, Reply> {
        let (inbox, uid) = (opened.inbox, retrieval.uid);
        let found = self
            .owner
            .ask(move |mailboxes| async move { mailboxes.messages(inbox, &[uid]).await });
        match found.await {
            Ok(Ok(mut found)) => found.pop().ok_or(Reply::GONE),
            Ok(Err(MailboxFault::NoMailbox)) => Err(Reply::GONE),
            Ok(Err(fault)) => Err(refusal(&fault.into())),
            Err(_busy) => Err(Reply::BUSY),
        }
    }

    /// A leg that came back may have repaired it: all of it is read before anything is announced. Answers its first piece.
    async fn prove(&self, reader: &mut Reader<'_, K>, message: &Message) -> Result<Bytes, Unread> {
        let end = message.size_bytes as usize;
        let mut at = 0;
        while at < end {
            at += reader.read(at, end).await?.len();
        }
        self.damaged.forget(message);
        reader.read(0, end).await
    }
}

/// Sends from `first`, the message's first bytes, to its end; the next piece is read while one is taken by the client.
async fn send<K: Ask>(
    mut wire: Wire,
    first: Bytes,
    reader: &mut Reader<'_, K>,
    out: &mut Vec<u8>,
    connection: &mut impl Connection,
) -> Result<Result<(), Unread>, End> {
    let end = reader.message.size_bytes as usize;
    let mut piece = first;
    let mut at = 0;
    while at < end && !wire.is_over() {
        at += piece.len();
        let sent = send_piece(&mut wire, &piece, out, connection);
        let next = match reader.large {
            true => {
                let (sent, next) = tokio::join!(sent, reader.read(at, end));
                sent?;
                next
            }
            // One small piece at a time is what the connection pays for.
            false => {
                sent.await?;
                drop(piece);
                match wire.is_over() {
                    true => break,
                    false => reader.read(at, end).await,
                }
            }
        };
        piece = match next {
            Ok(next) => next,
            // TOP has its lines: what was read ahead is not wanted.
            Err(_) if wire.is_over() => break,
            Err(unread) => return Ok(Err(unread)),
        };
    }
    wire.finish(out);
    Ok(Ok(()))
}

async fn send_piece(
    wire: &mut Wire,
    piece: &[u8],
    out: &mut Vec<u8>,
    connection: &mut impl Connection,
) -> Result<(), End> {
    for bytes in piece.chunks(WIRE_BYTES) {
        wire.put(bytes, out);
        if out.len() >= OUTPUT_BYTES_MAX {
            super::flush(out, connection).await?;
        }
    }
    Ok(())
}

fn refusal(unread: &Unread) -> Reply {
    match unread {
        Unread::Mailbox(MailboxFault::Damaged) => Reply::DAMAGED,
        Unread::Mailbox(fault) => {
            tracing::warn!(%fault, "a message cannot be read");
            Reply::UNAVAILABLE
        }
        Unread::Busy => Reply::BUSY,
    }
}
