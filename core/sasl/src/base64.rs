//! RFC 4648 §4 for SASL: strict, padded, nothing else between; one text and not several behind each other.

use data_encoding::BASE64;

/// `None` for anything but the one encoding of some bytes.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    // The crate takes texts that were joined behind their padding; RFC 4648 §3.3 and SASL do not.
    let end = text.iter().position(|byte| *byte == b'=');
    if end.is_some_and(|end| end + 2 < text.len()) {
        return None;
    }
    BASE64.decode(text).ok()
}

/// RFC 4648 §4, with padding.
pub fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfc_vectors_hold() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(plain.as_bytes()));
        }
        for text in [
            "Zg=",
            "Zh==",
            "Z===",
            "Zg==Zg==",
            "Zm8=Zg==",
            "Zm9vZg==Zm9v",
            "Z g=",
            "Zg==\n",
            "Zg-_",
            "====",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }
}
