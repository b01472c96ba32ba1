//! How reports are packed: gzip out; gzip, zip or nothing in, within bounds that a bomb does not pass.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder};
use flate2::write::GzEncoder;

use crate::limits::{EXPANSION_FREE_BYTES, EXPANSION_MAX, PLAIN_BYTES_MAX};

pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(plain)
        .and_then(|()| encoder.finish())
        .expect("memory takes what is written")
}

/// What is inside of `bytes`; `None`: too much, or broken. What has no mark of a packer is as it is.
pub fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    match bytes {
        [0x1f, 0x8b, ..] => expanded(MultiGzDecoder::new(bytes), bytes.len()),
        [b'P', b'K', 3, 4, ..] => unzipped(bytes),
        _ if bytes.len() <= PLAIN_BYTES_MAX => Some(bytes.to_vec()),
        _ => None,
    }
}

fn expanded(reader: impl Read, packed_bytes: usize) -> Option<Vec<u8>> {
    let by_factor = packed_bytes.saturating_mul(EXPANSION_MAX);
    let most = by_factor
        .saturating_add(EXPANSION_FREE_BYTES)
        .min(PLAIN_BYTES_MAX);
    let mut plain = Vec::new();
    reader.take(most as u64 + 1).read_to_end(&mut plain).ok()?;
    (plain.len() <= most).then_some(plain)
}

/// The first file of an archive (APPNOTE 4.3.7): stored or deflated, and not encrypted. Its size is not looked at, since the data end
/// by themselves; stored data without a size are not read.
fn unzipped(bytes: &[u8]) -> Option<Vec<u8>> {
    let short = |at: usize| {
        let two = bytes.get(at..at + 2)?;
        Some(u16::from_le_bytes([two[0], two[1]]))
    };
    let (flags, method) = (short(6)?, short(8)?);
    let packed = bytes.get(18..22)?.try_into().ok()?;
    let packed = u32::from_le_bytes(packed);
    let from = 30 + usize::from(short(26)?) + usize::from(short(28)?);
    let data = bytes.get(from..)?;
    if flags & 1 != 0 {
        return None;
    }
    match method {
        0 if flags & 8 == 0 => {
            let data = data.get(..usize::try_from(packed).ok()?)?;
            (data.len() <= PLAIN_BYTES_MAX).then(|| data.to_vec())
        }
        8 => expanded(DeflateDecoder::new(data), data.len()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::DeflateEncoder;

    fn zip(plain: &[u8], method: u16) -> Vec<u8> {
        let data = match method {
            8 => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(plain).expect("memory");
                encoder.finish().expect("memory")
            }
            _ => plain.to_vec(),
        };
        let mut out = b"PK\x03\x04\x14\0\0\0".to_vec();
        out.extend(method.to_le_bytes());
        out.extend([0; 8]);
        out.extend((data.len() as u32).to_le_bytes());
        out.extend((plain.len() as u32).to_le_bytes());
        out.extend([5, 0, 0, 0]);
        out.extend(b"a.xml");
        out.extend(data);
        out.extend(b"PK\x01\x02 and so on");
        out
    }

    #[test]
    fn what_was_packed_comes_out_whichever_way() {
        let plain = b"<feedback/>".repeat(50);
        assert_eq!(unpacked(&gzip(&plain)), Some(plain.clone()));
        assert_eq!(unpacked(&zip(&plain, 8)), Some(plain.clone()));
        assert_eq!(unpacked(&zip(&plain, 0)), Some(plain.clone()));
        assert_eq!(unpacked(&plain), Some(plain.clone()));
        assert_eq!(unpacked(&zip(&plain, 12)), None);
        let packed = gzip(&plain);
        for end in 2..packed.len() {
            assert_eq!(unpacked(&packed[..end]), None, "{end}");
        }
        for end in 4..45 {
            let _ = unpacked(&zip(&plain, 8)[..end]);
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = gzip(&vec![0; 4 << 20]);
        assert!(bomb.len() * EXPANSION_MAX < 4 << 20);
        assert_eq!(unpacked(&bomb), None);
        assert_eq!(unpacked(&zip(&vec![0; 4 << 20], 8)), None);
        let noise: Vec<u8> = (0..PLAIN_BYTES_MAX as u64 + 1)
            .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
            .collect();
        assert_eq!(unpacked(&gzip(&noise)), None);
        assert_eq!(unpacked(&noise), None);
    }
}
