//! COMPRESS=DEFLATE (RFC 4978): both directions of a compressed connection, as bytes in and bytes out.
//!
//! What must hold: whatever can be expanded of what has arrived is given out at once, however the client flushed and wherever its
//! bytes were cut. A client that waits for an answer would otherwise wait for ever. What expands is bounded in every call, and a stream
//! that expands to far more commands than anyone types is refused (`Credit`).
//!
//! The two directions cost differently. Expanding needs the last 32 KiB of the client's stream, so each connection has an `Inflater`.
//! Packing does not: a block that refers to nothing before it is as good a part of the stream, so one `Deflater` serves all connections of
//! a core. Small answers become a little larger by that, and an idle connection costs a seventh.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::limits::{BOMB_BYTES_MIN, BOMB_RATIO, PACKED_BYTES_MAX};

/// Why a compressed stream cannot be read any further. The connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not deflate, or it ended: RFC 4978 §3 has no end but that of the connection.
    Broken,
    /// It expands to too much.
    Bomb,
}

/// The client's direction.
pub struct Inflater {
    stream: Decompress,
    /// The last call filled its room: there may be more without further input.
    is_full: bool,
}

impl Default for Inflater {
    fn default() -> Self {
        Inflater {
            stream: Decompress::new(false),
            is_full: false,
        }
    }
}

impl Inflater {
    /// Expands the front of `wire` to at most `room` bytes, which are appended to `plain`, and answers how many bytes of `wire` it used.
    /// All of them unless the room was filled.
    pub fn expand(
        &mut self,
        wire: &[u8],
        room: usize,
        plain: &mut Vec<u8>,
    ) -> Result<usize, Unreadable> {
        let begin = plain.len();
        let (mut used, mut made) = (0, 0);
        plain.resize(begin + room, 0);
        let outcome = loop {
            // each turn uses or makes something, until neither goes on
            let before = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.decompress(
                &wire[used..],
                &mut plain[begin + made..],
                FlushDecompress::None,
            );
            let read = (self.stream.total_in() - before.0) as usize;
            let written = (self.stream.total_out() - before.1) as usize;
            used += read;
            made += written;
            match status {
                Err(_) | Ok(Status::StreamEnd) => break Err(Unreadable::Broken),
                Ok(_) if made == room || (read == 0 && written == 0) => break Ok(used),
                Ok(_) => {}
            }
        };
        plain.truncate(begin + made);
        self.is_full = made == room;
        outcome
    }

    /// There may be more to expand although all input was used.
    pub fn is_full(&self) -> bool {
        self.is_full
    }
}

/// How much a stream may still expand to: so many times what arrived, and a start that short commands never use up.
#[derive(Debug)]
pub struct Credit {
    bytes: usize,
}

impl Default for Credit {
    fn default() -> Self {
        Credit {
            bytes: BOMB_BYTES_MIN,
        }
    }
}

impl Credit {
    /// `wire` bytes became `commands` bytes. What belongs to a literal is not counted: its size was announced and its memory is paid for.
    pub fn spend(&mut self, wire: usize, commands: usize) -> Result<(), Unreadable> {
        let earned = self.bytes.saturating_add(wire.saturating_mul(BOMB_RATIO));
        let left = earned.checked_sub(commands).ok_or(Unreadable::Bomb)?;
        // Credit is not saved up: a large message would pay for a bomb behind it.
        self.bytes = left.min(BOMB_BYTES_MIN);
        Ok(())
    }
}

/// Our direction, for any number of connections in turn.
pub struct Deflater {
    stream: Compress,
}

impl Default for Deflater {
    fn default() -> Self {
        Deflater {
            stream: Compress::new(Compression::fast(), false),
        }
    }
}

impl Deflater {
    /// Packs `plain`, at most `PACKED_BYTES_MAX` of it, as blocks that refer to nothing before them and end on a whole byte (a sync flush), so
    /// that the client can expand all of it at once.
    pub fn pack(&mut self, plain: &[u8]) -> Vec<u8> {
        assert!(plain.len() <= PACKED_BYTES_MAX, "the caller cuts");
        self.stream.reset();
        // Room for all of it, with nine bits for each octet, and a stored block's heads, so that one call does it.
        let mut packed = Vec::with_capacity(plain.len() + plain.len() / 8 + 256);
        let done = self
            .stream
            .compress_vec(plain, &mut packed, FlushCompress::Sync);
        done.expect("packing bytes in memory does not fail");
        assert_eq!(self.stream.total_in(), plain.len() as u64);
        assert!(packed.len() < packed.capacity(), "the flush is whole");
        packed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a NOOP`, `b SELECT INBOX` and `c NOOP` by Python's zlib, raw, each flushed (`zlib.compressobj(9, zlib.DEFLATED, -15)`).
    const SYNC: [&[u8]; 3] = [
        &[
            0x4a, 0x54, 0xf0, 0xf3, 0xf7, 0x0f, 0xe0, 0xe5, 0x02, 0x00, 0x00, 0x00, 0xff, 0xff,
        ],
        &[
            0x4a, 0x52, 0x08, 0x76, 0xf5, 0x71, 0x75, 0x0e, 0x51, 0xf0, 0xf4, 0x73, 0xf2, 0x8f,
            0xe0, 0xe5, 0x02, 0x00, 0x00, 0x00, 0xff, 0xff,
        ],
        &[0x4a, 0x86, 0x8a, 0x03, 0x00, 0x00, 0x00, 0xff, 0xff],
    ];
    /// The same with `Z_PARTIAL_FLUSH`, which ends in the middle of a byte.
    const PARTIAL: [&[u8]; 3] = [
        &[0x4a, 0x54, 0xf0, 0xf3, 0xf7, 0x0f, 0xe0, 0xe5, 0x02, 0x08],
        &[
            0xa0, 0x24, 0x85, 0x60, 0x57, 0x1f, 0x57, 0xe7, 0x10, 0x05, 0x4f, 0x3f, 0x27, 0xff,
            0x08, 0x5e, 0x2e, 0x80, 0x00,
        ],
        &[0x4a, 0x86, 0x8a, 0x03, 0x04],
    ];
    const PLAIN: [&[u8]; 3] = [b"a NOOP\r\n", b"b SELECT INBOX\r\n", b"c NOOP\r\n"];

    /// RFC 4978 §3: a client may flush in any way, and waits for the answer then.
    #[test]
    fn a_command_is_out_with_the_last_byte_of_its_flush() {
        for stream in [SYNC, PARTIAL] {
            let mut inflater = Inflater::default();
            for (packed, expected) in stream.iter().zip(PLAIN) {
                let mut plain = Vec::new();
                for byte in packed.iter() {
                    let used = inflater.expand(&[*byte], 100, &mut plain).unwrap();
                    assert_eq!(used, 1);
                }
                assert_eq!(
                    plain.escape_ascii().to_string(),
                    expected.escape_ascii().to_string()
                );
            }
        }
    }

    #[test]
    fn the_cut_changes_nothing() {
        for stream in [SYNC, PARTIAL] {
            let wire = stream.concat();
            for cut in 0..=wire.len() {
                for room in [1, 3, 100] {
                    let mut inflater = Inflater::default();
                    let mut plain = Vec::new();
                    for mut part in [&wire[..cut], &wire[cut..]] {
                        while !part.is_empty() || inflater.is_full() {
                            let before = plain.len();
                            let used = inflater.expand(part, room, &mut plain).unwrap();
                            assert!(plain.len() - before <= room);
                            part = &part[used..];
                        }
                    }
                    assert_eq!(plain, PLAIN.concat(), "{cut} {room}");
                }
            }
        }
    }

    #[test]
    fn what_is_packed_in_turn_for_two_clients_is_one_stream_for_each() {
        let mut deflater = Deflater::default();
        let mut noise = 1_u32;
        let mut sent = [Vec::new(), Vec::new()];
        let mut inflaters = [Inflater::default(), Inflater::default()];
        let mut got = [Vec::new(), Vec::new()];
        for turn in 0..41_usize {
            let bytes: Vec<u8> = (0..turn * turn * 40)
                .map(|at| {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if turn % 3 != 2 {
                        (noise >> 24) as u8
                    } else {
                        (at % 60) as u8
                    }
                })
                .collect();
            let whose = turn % 2;
            sent[whose].extend_from_slice(&bytes);
            let packed = deflater.pack(&bytes);
            let used = inflaters[whose].expand(&packed, bytes.len() + 1, &mut got[whose]);
            assert_eq!(used, Ok(packed.len()));
            let differs =
                std::iter::zip(&got[whose], &sent[whose]).position(|(one, other)| one != other);
            assert_eq!(
                (got[whose].len(), differs),
                (sent[whose].len(), None),
                "turn {turn}"
            );
        }
    }

    /// Static codes have nine bits for each octet above 143: such bytes grow by an eighth when nothing in them repeats.
    #[test]
    fn what_cannot_be_packed_grows_and_is_whole() {
        let mut noise = 1_u32;
        let mut byte = |least: u8| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            least + ((noise >> 16) % (256 - u32::from(least))) as u8
        };
        for (bytes, least) in [(PACKED_BYTES_MAX, 144), (3_000, 144), (PACKED_BYTES_MAX, 0)] {
            let plain: Vec<u8> = (0..bytes).map(|_| byte(least)).collect();
            let packed = Deflater::default().pack(&plain);
            let mut got = Vec::new();
            let used = Inflater::default().expand(&packed, plain.len() + 1, &mut got);
            assert_eq!(used, Ok(packed.len()));
            assert!(got == plain, "{bytes} bytes from {least} on");
        }
    }

    #[test]
    fn nonsense_and_an_end_are_broken() {
        let mut plain = Vec::new();
        for wire in [&[0xff_u8; 8][..], &[3, 0], b"a NOOP\r\n"] {
            let expanded = Inflater::default().expand(wire, 100, &mut plain);
            assert_eq!(expanded, Err(Unreadable::Broken), "{wire:?}");
        }
    }

    #[test]
    fn a_bomb_runs_out_of_credit_and_commands_do_not() {
        let mut deflater = Deflater::default();
        let bomb = b"a NOOP\r\n".repeat(PACKED_BYTES_MAX / 8);
        let packed = deflater.pack(&bomb);
        let mut credit = Credit::default();
        let spent = (0..100).try_for_each(|_| credit.spend(packed.len(), bomb.len()));
        assert_eq!(spent, Err(Unreadable::Bomb));
        let mut credit = Credit::default();
        let commands: String = (0..1_000)
            .map(|number| format!("a{number} UID FETCH {number} (FLAGS BODY.PEEK[])\r\n"))
            .collect();
        let packed = deflater.pack(commands.as_bytes());
        for _ in 0..1_000 {
            credit.spend(packed.len(), commands.len()).unwrap();
        }
    }
}
