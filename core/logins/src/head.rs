//! The end of the audit's chain, as storage remembers it. The lines themselves are in files of the daemon.

use base::cursor::{Reader, Write};
use tenancy::encoding::Broken;

use crate::row::read_array;

/// The end of the audit's chain at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Of the last line; lines are counted from 1 on.
    pub line: u64,
    pub hash: [u8; 32],
    pub unix_seconds: i64,
}

impl Head {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.line);
        out.extend_from_slice(&self.hash);
        out.put_u64(self.unix_seconds as u64);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Head, Broken> {
        Ok(Head {
            line: reader.varint()?,
            hash: read_array(reader)?,
            unix_seconds: reader.u64()? as i64,
        })
    }
}
