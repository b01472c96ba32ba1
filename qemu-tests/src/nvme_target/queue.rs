//! One connection of the target: PDUs in and out, their digests, and the data of writes that come in pieces.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicU16;

use super::answer::{Answer, GOOD};
use super::{DATA_BYTES_MAX, HEADER_BYTES_MAX, QUEUE_ENTRIES};

/// One connection: the admin queue of a controller, or one of its I/O queues.
pub(super) struct Queue<S> {
    /// The host's connection.
    pub(super) stream: S,
    /// What the namespace is stored in.
    pub(super) disk: Arc<File>,
    /// Size of the namespace.
    pub(super) bytes: u64,
    /// Numbers for controllers, shared by all connections of the target.
    pub(super) controllers: Arc<AtomicU16>,
    /// Which of the two digests were agreed on.
    pub(super) header_digest: bool,
    /// CRC-32C over the data of a PDU (tcp 3.3.1.1).
    pub(super) data_digest: bool,
    /// An I/O queue, by the identifier in Connect; otherwise the admin queue.
    pub(super) is_io: bool,
    /// The controller's number, given at Connect.
    pub(super) controller: u16,
    /// The controller's configuration register (base 3.1.4.5).
    pub(super) configuration: u32,
    /// The submission queue's head, which each completion reports.
    pub(super) head: u16,
    /// Writes whose data are on their way, by command.
    pub(super) writes: BTreeMap<u16, Incoming>,
}

/// A write whose data come in several PDUs.
pub(super) struct Incoming {
    /// Where in the namespace it goes, in bytes.
    pub(super) at: u64,
    /// The data so far; what is missing is zero.
    pub(super) data: Vec<u8>,
    /// Bytes that have not come yet.
    pub(super) missing: usize,
}

// PDU types and flags (tcp 3.6.1).
/// The host's first PDU.
pub(super) const IC_REQ: u8 = 0x00;
/// The target's answer to it.
pub(super) const IC_RESP: u8 = 0x01;
/// The host ends the connection because of a fault.
pub(super) const TERMINATED: u8 = 0x02;
/// A command, with data in the capsule or without.
pub(super) const COMMAND: u8 = 0x04;
/// A completion.
pub(super) const RESPONSE: u8 = 0x05;
/// Data of a write.
pub(super) const FROM_HOST: u8 = 0x06;
/// Data of a read.
pub(super) const TO_HOST: u8 = 0x07;
/// The target is ready for the data of a write.
pub(super) const READY_TO_TRANSFER: u8 = 0x09;
/// The header is followed by its digest.
pub(super) const HAS_HEADER_DIGEST: u8 = 1;
/// The data are followed by their digest.
pub(super) const HAS_DATA_DIGEST: u8 = 2;
/// No more data follow for the command.
pub(super) const LAST_DATA: u8 = 4;

impl<S: Read + Write> Queue<S> {
    /// A queue on a connection that has just been accepted.
    pub(super) fn new(
        stream: S,
        disk: Arc<File>,
        bytes: u64,
        controllers: Arc<AtomicU16>,
    ) -> Queue<S> {
        Queue {
            stream,
            disk,
            bytes,
            controllers,
            header_digest: false,
            data_digest: false,
            is_io: false,
            controller: 0,
            configuration: 0,
            head: 0,
            writes: BTreeMap::new(),
        }
    }

    /// Serves the connection until the host hangs up or breaks the protocol.
    pub(super) fn run(&mut self) -> io::Result<()> {
        self.agree()?;
        loop {
            // until the host hangs up
            let (header, data) = self.receive()?;
            match header[0] {
                COMMAND => self.command(&header[8..72], data)?,
                FROM_HOST => self.take_in(&header, data)?,
                TERMINATED => return Ok(()),
                other => return Err(wrong(format!("a PDU of type {other:#x}"))),
            }
        }
    }

    /// tcp 3.6.2.1: the first PDU each way, without digests.
    pub(super) fn agree(&mut self) -> io::Result<()> {
        let mut request = [0; 128];
        self.stream.read_exact(&mut request)?;
        if request[0] != IC_REQ {
            return Err(wrong("no ICReq".into()));
        }
        self.header_digest = request[11] & 1 != 0;
        self.data_digest = request[11] & 2 != 0;
        let mut response = [0; 128];
        response[0] = IC_RESP;
        response[2] = 128;
        response[4] = 128;
        response[11] = request[11] & 3;
        response[12..16].copy_from_slice(&(DATA_BYTES_MAX as u32).to_le_bytes());
        self.stream.write_all(&response)
    }

    /// A whole PDU: its header without digest, and its data, both checked.
    pub(super) fn receive(&mut self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let mut header = vec![0; 8];
        self.stream.read_exact(&mut header)?;
        let (length, total) = (usize::from(header[2]), le32(&header, 4) as usize);
        if !(24..HEADER_BYTES_MAX).contains(&length) || (header[0] == COMMAND && length != 72) {
            return Err(wrong(format!("a header of {length} bytes")));
        }
        header.resize(length, 0);
        self.stream.read_exact(&mut header[8..])?;
        let mut at = length;
        if self.header_digest {
            self.check(&header, "header")?;
            at += 4;
        }
        let begin = match header[3] {
            0 => at,
            begin => usize::from(begin),
        };
        let trailer = if self.data_digest { 4 } else { 0 };
        if total <= at {
            return Ok((header, Vec::new()));
        }
        let size = total.checked_sub(begin.max(at) + trailer);
        let size = size.filter(|size| *size <= DATA_BYTES_MAX);
        let size = size.ok_or_else(|| wrong(format!("a PDU of {total} bytes")))?;
        let mut padding = vec![0; begin.saturating_sub(at)];
        self.stream.read_exact(&mut padding)?;
        let mut data = vec![0; size];
        self.stream.read_exact(&mut data)?;
        if self.data_digest {
            self.check(&data, "data")?;
        }
        Ok((header, data))
    }

    /// Reads a digest and compares it with that of `bytes`.
    pub(super) fn check(&mut self, bytes: &[u8], what: &str) -> io::Result<()> {
        let mut digest = [0; 4];
        self.stream.read_exact(&mut digest)?;
        match u32::from_le_bytes(digest) == crc32c(bytes) {
            true => Ok(()),
            false => Err(wrong(format!("the {what} digest differs"))),
        }
    }

    /// Writes one PDU with the digests that were agreed on (tcp 3.6.1).
    pub(super) fn send(&mut self, kind: u8, flags: u8, rest: &[u8], data: &[u8]) -> io::Result<()> {
        let header = 8 + rest.len();
        let with_digest = header + if self.header_digest { 4 } else { 0 };
        let trailer = if self.data_digest && !data.is_empty() {
            4
        } else {
            0
        };
        let mut pdu = vec![kind, flags, header as u8, 0];
        if self.header_digest {
            pdu[1] |= HAS_HEADER_DIGEST;
        }
        if !data.is_empty() {
            pdu[3] = with_digest as u8;
        }
        if trailer > 0 {
            pdu[1] |= HAS_DATA_DIGEST;
        }
        let total = with_digest + data.len() + trailer;
        pdu.extend((total as u32).to_le_bytes());
        pdu.extend(rest);
        if self.header_digest {
            pdu.extend(crc32c(&pdu).to_le_bytes());
        }
        pdu.extend(data);
        if trailer > 0 {
            pdu.extend(crc32c(data).to_le_bytes());
        }
        self.stream.write_all(&pdu)
    }

    /// Writes a completion (base 3.3.3.2). The phase bit, which is bit 0 of the status, is zero over TCP.
    pub(super) fn answer(&mut self, id: u16, answer: &Answer) -> io::Result<()> {
        self.head = (self.head + 1) % QUEUE_ENTRIES;
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&answer.result.to_le_bytes());
        entry[8..10].copy_from_slice(&self.head.to_le_bytes());
        entry[12..14].copy_from_slice(&id.to_le_bytes());
        entry[14..].copy_from_slice(&(answer.status << 1).to_le_bytes());
        self.send(RESPONSE, 0, &entry, &[])
    }

    /// Data for the host, then the answer (tcp 3.3.2.1).
    pub(super) fn answer_with(&mut self, id: u16, data: &[u8]) -> io::Result<()> {
        let mut rest = [0; 16];
        rest[..2].copy_from_slice(&id.to_le_bytes());
        rest[8..12].copy_from_slice(&(data.len() as u32).to_le_bytes());
        self.send(TO_HOST, LAST_DATA, &rest, data)?;
        self.answer(id, &GOOD)
    }
}

/// The host broke the protocol: the connection ends with this reason.
pub(super) fn wrong(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// Two bytes at `at`, the least significant first.
pub(super) fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Four bytes at `at`, the least significant first.
pub(super) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

/// Eight bytes at `at`, the least significant first.
pub(super) fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

/// Castagnoli's CRC-32, of both digests.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    static TABLE: std::sync::LazyLock<[u32; 256]> = std::sync::LazyLock::new(|| {
        std::array::from_fn(|index| {
            (0..8).fold(index as u32, |crc, _| {
                crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
            })
        })
    });
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7143 §A.4: 32 bytes of zeros, and 0 to 31.
    #[test]
    fn digests_are_castagnolis() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&rising), 0x46dd_794e);
    }
}
