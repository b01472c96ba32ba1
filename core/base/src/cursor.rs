//! Little-endian byte cursors for on-disk and between-core structures.
//!
//! A reader never panics on what the bytes say: everything that can run short answers `Short`.

/// The bytes ended before the value did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short;

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the structure ends before its last field")
    }
}
impl std::error::Error for Short {}

/// Reads values from the front of a slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

/// An integer of fixed width, least significant byte first.
macro_rules! read_int {
    ($name:ident, $int:ty) => {
        pub fn $name(&mut self) -> Result<$int, Short> {
            let (head, rest) = self.bytes.split_first_chunk().ok_or(Short)?;
            self.bytes = rest;
            Ok(<$int>::from_le_bytes(*head))
        }
    };
}

impl<'a> Reader<'a> {
    /// Reads from the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    read_int!(u8, u8);
    read_int!(u16, u16);
    read_int!(u32, u32);
    read_int!(u64, u64);
    read_int!(u128, u128);
    read_int!(i64, i64);

    /// The next `count` bytes, borrowed.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Short> {
        if count > self.bytes.len() {
            return Err(Short);
        }
        let (head, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let (head, rest) = self.bytes.split_first_chunk().ok_or(Short)?;
        self.bytes = rest;
        Ok(*head)
    }

    /// A byte string with a `u32` length before it.
    pub fn blob(&mut self) -> Result<&'a [u8], Short> {
        let count = self.u32()? as usize;
        self.take(count)
    }

    /// A LEB128 unsigned integer of at most 64 bits.
    pub fn varint(&mut self) -> Result<u64, Short> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Short)
    }

    /// The bytes that were not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Appends values to a vector; the mirror of `Reader`.
pub trait Write {
    fn put_u8(&mut self, value: u8);
    /// Two bytes, the least significant first.
    fn put_u16(&mut self, value: u16);
    /// Four bytes, the least significant first.
    fn put_u32(&mut self, value: u32);
    /// Eight bytes, the least significant first.
    fn put_u64(&mut self, value: u64);
    /// Sixteen bytes, the least significant first.
    fn put_u128(&mut self, value: u128);
    /// Eight bytes in two's complement, the least significant first.
    fn put_i64(&mut self, value: i64);
    /// The bytes as they are. The reader must know how many there are.
    fn put_bytes(&mut self, bytes: &[u8]);
    /// Length as `u32`, then the bytes. Stops the process past 4 GiB.
    fn put_blob(&mut self, bytes: &[u8]);
    /// LEB128: seven bits in each byte, the lowest first, the top bit set in all but the last. Ten bytes at most.
    fn put_varint(&mut self, value: u64);
}

impl Write for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }
    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_u128(&mut self, value: u128) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
    fn put_blob(&mut self, bytes: &[u8]) {
        let count = u32::try_from(bytes.len()).expect("a blob is under 4 GiB");
        self.put_u32(count);
        self.extend_from_slice(bytes);
    }
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read() {
        let mut bytes = Vec::new();
        bytes.put_u8(7);
        bytes.put_u64(u64::MAX);
        bytes.put_blob(b"ringpost");
        for value in [0, 127, 128, 300, u64::MAX] {
            bytes.put_varint(value);
        }
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8(), Ok(7));
        assert_eq!(reader.u64(), Ok(u64::MAX));
        assert_eq!(reader.blob(), Ok(&b"ringpost"[..]));
        for value in [0, 127, 128, 300, u64::MAX] {
            assert_eq!(reader.varint(), Ok(value));
        }
        assert!(reader.is_empty());
        assert_eq!(reader.u8(), Err(Short));
    }

    #[test]
    fn a_length_past_the_end_is_short() {
        assert_eq!(Reader::new(&[255, 255, 255, 255, 1]).blob(), Err(Short));
        assert_eq!(Reader::new(&[0x80; 11]).varint(), Err(Short));
    }
}
