//! Messages whose lines do not all end in CRLF. SMTP takes none in; APPEND of IMAP stores what a client sends, byte for byte.

use memchr::memchr_iter;

/// Octets that `raw` takes more where every line ends in CRLF, the last one included: 0 for nearly every message. Saturates.
pub fn line_ends_missing(raw: &[u8]) -> u32 {
    let is_lone = |&at: &usize| at == 0 || raw[at - 1] != b'\r';
    let lone = memchr_iter(b'\n', raw).filter(is_lone).count();
    let at_the_end = match raw.last() {
        None | Some(b'\n') => 0,
        Some(_) => 2,
    };
    u32::try_from(lone + at_the_end).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crlf_would_add_is_counted() {
        for (raw, missing) in [
            ("", 0),
            ("a\r\n", 0),
            ("a\r\n\r\n", 0),
            ("a", 2),
            ("a\r", 2),
            ("\n", 1),
            ("a\n\nb\r\nc", 4),
            ("\r\r\n", 0),
        ] {
            assert_eq!(line_ends_missing(raw.as_bytes()), missing, "{raw:?}");
        }
    }
}
