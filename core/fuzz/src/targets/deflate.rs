//! The compressed stream of an IMAP client (RFC 4978): any bytes, in any cut.

use ::imap::deflate::{Credit, Deflater, Inflater, Unreadable};
use ::imap::limits::{BOMB_BYTES_MIN, BOMB_RATIO, EXPANDED_BYTES_MAX, PACKED_BYTES_MAX};

pub const WORDS: &[&[u8]] = &[
    b"\0\0\0\xff\xff",
    b"\0\0\xff\xff",
    b"\x03\0",
    b"\x4a\x54\xf0\xf3\xf7\x0f\xe0\xe5\x02\x08",
    b"a1 UID FETCH 1:* (FLAGS)\r\n",
];

/// Streams as clients send them, behind a byte for the cut and one for the kind of run.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut deflater = Deflater::default();
    let texts: [&[u8]; 3] = [
        b"a NOOP\r\n",
        b"a1 UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (FROM TO)])\r\na2 IDLE\r\n",
        &[b'x'; 4_000],
    ];
    let mut seeds: Vec<Vec<u8>> = texts
        .iter()
        .map(|text| [&[7, 1], &deflater.pack(text)[..]].concat())
        .collect();
    let both = texts.map(|text| deflater.pack(text)).concat();
    seeds.push([&[1, 1], &both[..]].concat());
    seeds.push([&[0, 0], texts[1]].concat());
    seeds
}

/// With the second byte even the rest is packed, and must come back as it was; else it is expanded as it is.
pub fn stream(data: &[u8]) {
    let &[cut, kind, ref bytes @ ..] = data else {
        return;
    };
    let cut = (usize::from(cut) * 257).max(1);
    if kind % 2 == 0 {
        let mut deflater = Deflater::default();
        let pieces = bytes.chunks(cut.min(PACKED_BYTES_MAX));
        let packed: Vec<u8> = pieces.flat_map(|piece| deflater.pack(piece)).collect();
        let (plain, fault) = expanded(&packed, usize::MAX, EXPANDED_BYTES_MAX);
        assert!(plain == bytes && fault.is_none(), "{fault:?}");
        return;
    }
    let (whole, fault) = expanded(bytes, usize::MAX, EXPANDED_BYTES_MAX);
    let (pieces, fault_in_pieces) = expanded(bytes, cut, 100);
    if fault.is_none() && fault_in_pieces.is_none() {
        assert!(whole == pieces, "the cut changes what comes out");
    }
}

/// All that comes out, and why no more does. Never more than credit allows.
fn expanded(wire: &[u8], cut: usize, room: usize) -> (Vec<u8>, Option<Unreadable>) {
    let (mut inflater, mut credit) = (Inflater::default(), Credit::default());
    let mut plain = Vec::new();
    for mut piece in wire.chunks(cut) {
        while !piece.is_empty() || inflater.is_full() {
            let before = plain.len();
            let used = match inflater.expand(piece, room, &mut plain) {
                Ok(used) => used,
                Err(fault) => return (plain, Some(fault)),
            };
            assert!(plain.len() - before <= room, "more than there was room for");
            if let Err(fault) = credit.spend(used, plain.len() - before) {
                return (plain, Some(fault));
            }
            piece = &piece[used..];
        }
    }
    assert!(plain.len() <= BOMB_BYTES_MIN + wire.len() * BOMB_RATIO);
    (plain, None)
}
