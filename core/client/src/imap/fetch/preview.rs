//! PREVIEW of messages that are too large to be held (RFC 8970): their first piece is read, and given back before anything is sent.

use bytes::Bytes;
use imap::fetch::FetchItem;
use mail::Summary;
use mail::preview::preview;
use mailbox::{MailboxFault, Message};
use storage::owner::Ask;

use super::super::Imap;
use super::super::fault::Failure;
use super::super::limits::WINDOW_BYTES;
use super::Wanted;
use crate::pieces::{Reader, Reading};

impl<K: Ask> Imap<K> {
    /// `None`: it is not asked for, or only where it costs little.
    pub(super) async fn front_preview(
        &self,
        reading: Reading,
        message: &Message,
        summary: Option<&Result<Bytes, MailboxFault>>,
        wanted: &Wanted,
    ) -> Result<Option<String>, Failure> {
        if !wanted.items.contains(&FetchItem::Preview { lazy: false }) {
            return Ok(None);
        }
        // A summary that cannot be read fails the line, which is put together next.
        let Some(Ok(summary)) = summary else {
            return Ok(None);
        };
        let memory = &self.memory.reading;
        let _charge = memory.wait_for(reading.holder, WINDOW_BYTES).await;
        let mut reader = Reader {
            owner: &self.owner,
            host: &self.host,
            memory: &self.memory,
            reading,
            message,
            kept: None,
            large: true,
        };
        let front = reader.read(0, message.body.raw_bytes as usize).await?;
        self.count_bodies(1);
        let summary = Summary::decode(summary).ok();
        Ok(summary.map(|summary| preview(&summary.root, &front)))
    }
}
