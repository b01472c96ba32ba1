//! The one row of `COUNTERS`.

use base::cursor::{Reader, Write};
use mail::UidValidity;

use super::{Broken, ROW_VERSION, read_u32, version};
use crate::MailboxId;

/// Numbers given out so far, for the whole volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    pub mailbox_next: MailboxId,
    /// No mailbox of an account that was removed had a higher one.
    pub uid_validity_removed: UidValidity,
}

impl Counters {
    pub const FIRST: Counters = Counters {
        mailbox_next: MailboxId(1),
        uid_validity_removed: UidValidity(0),
    };

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![ROW_VERSION];
        out.put_varint(self.mailbox_next.0);
        out.put_varint(u64::from(self.uid_validity_removed.0));
        out
    }
    pub fn decode(bytes: &[u8]) -> Result<Counters, Broken> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        Ok(Counters {
            mailbox_next: MailboxId(reader.varint()?),
            uid_validity_removed: UidValidity(read_u32(&mut reader)?),
        })
    }
}
