//! How tenants write texts and numbers into records and rows.

use base::cursor::{Reader, Short, Write};

/// The bytes behind a good checksum do not make sense: written by another release, or our mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;
impl From<Short> for Broken {
    fn from(_: Short) -> Broken {
        Broken
    }
}

/// Stands before everything that takes something away (DESIGN.md A7): no stray record shape can pass for one.
const PROTECTIVE_MAGIC: u64 = 0x6e6f_7369_6c79_6d67;

pub fn put_magic(out: &mut Vec<u8>) {
    out.put_u64(PROTECTIVE_MAGIC);
}
pub fn read_magic(reader: &mut Reader<'_>) -> Result<(), Broken> {
    if reader.u64()? == PROTECTIVE_MAGIC {
        Ok(())
    } else {
        Err(Broken)
    }
}

pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    out.put_varint(((value << 1) ^ (value >> 63)) as u64);
}
pub fn read_signed(reader: &mut Reader<'_>) -> Result<i64, Short> {
    let value = reader.varint()?;
    Ok((value >> 1) as i64 ^ -((value & 1) as i64))
}
pub fn read_u32(reader: &mut Reader<'_>) -> Result<u32, Broken> {
    u32::try_from(reader.varint()?).map_err(|_| Broken)
}

/// UTF-8, its length in bytes before it.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_varint(text.len() as u64);
    out.put_bytes(text.as_bytes());
}
pub fn read_text(reader: &mut Reader<'_>) -> Result<String, Broken> {
    let count = usize::try_from(reader.varint()?).map_err(|_| Broken)?;
    let bytes = reader.take(count)?;
    Ok(std::str::from_utf8(bytes).map_err(|_| Broken)?.to_owned())
}

/// A row that is one number.
pub fn encode_number(value: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(10);
    out.put_varint(value);
    out
}
pub fn decode_number(bytes: &[u8]) -> Result<u64, Broken> {
    Ok(Reader::new(bytes).varint()?)
}
