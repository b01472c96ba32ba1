//! Mailbox names on the wire of IMAP4rev1: modified UTF-7 (RFC 3501 §5.1.3).

use std::fmt::Write as _;

/// RFC 3501 §5.1.3: base64 with `,` in the place of `/`.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// `name` in modified UTF-7.
pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        if is_direct(first) {
            out.push(first);
            if first == '&' {
                out.push('-');
            }
            rest = &rest[1..];
            continue;
        }
        let end = rest.find(is_direct).unwrap_or(rest.len());
        encode_run(&rest[..end], &mut out);
        rest = &rest[end..];
    }
    out
}

/// Printable ASCII except `&` stands for itself.
fn is_direct(symbol: char) -> bool {
    matches!(symbol, ' '..='~')
}

fn encode_run(run: &str, out: &mut String) {
    out.push('&');
    let (mut bits, mut count) = (0u32, 0);
    for unit in run.encode_utf16() {
        bits = (bits << 16) | u32::from(unit);
        count += 16;
        while count >= 6 {
            count -= 6;
            out.push(char::from(ALPHABET[(bits >> count) as usize & 63]));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        out.push(char::from(ALPHABET[(bits << (6 - count)) as usize & 63]));
    }
    out.push('-');
}

/// The name that `wire` stands for; `None` when it is not modified UTF-7, or not its one right form: two spellings of one
/// mailbox would be two mailboxes to a client.
pub fn decode(wire: &str) -> Option<String> {
    let mut out = String::with_capacity(wire.len());
    let mut rest = wire;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let (run, after) = rest[at + 1..].split_once('-')?;
        if run.is_empty() {
            out.push('&');
        } else {
            decode_run(run, &mut out)?;
        }
        rest = after;
    }
    out.push_str(rest);
    (encode(&out) == wire).then_some(out)
}

/// Appends the text of the base64 between `&` and `-`. `None`: another letter, or an unpaired surrogate. `decode` checks the rest.
fn decode_run(run: &str, out: &mut String) -> Option<()> {
    let mut units = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in run.bytes() {
        let value = ALPHABET.iter().position(|&letter| letter == byte)?;
        bits = (bits << 6) | value as u32;
        count += 6;
        if count >= 16 {
            count -= 16;
            units.push((bits >> count) as u16);
            bits &= (1 << count) - 1;
        }
    }
    for symbol in char::decode_utf16(units) {
        out.write_char(symbol.ok()?).ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_rfc_hold() {
        for (name, wire) in [
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("A&B", "A&-B"),
            ("☺!", "&Jjo-!"),
            ("😀", "&2D3eAA-"),
        ] {
            assert_eq!(encode(name), wire);
            assert_eq!(decode(wire).as_deref(), Some(name));
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        // RFC 3501 §5.1.3: a superfluous shift, unused bits, an ASCII letter in base 64, 8-bit text
        for wire in [
            "&Jjo-&Jjo-",
            "&Jjp-",
            "&AGE-",
            "ü",
            "&Jjo",
            "&J-",
            "&2D0-",
            "&!-",
        ] {
            assert_eq!(decode(wire), None, "{wire}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in any::<String>()) {
            prop_assert_eq!(decode(&encode(&name)), Some(name));
        }

        #[test]
        fn any_text_is_survived(wire in "[&a-zA-Z0-9+,/ü-]{0,30}") {
            if let Some(name) = decode(&wire) {
                prop_assert_eq!(encode(&name), wire);
            }
        }
    }
}
