//! Bytes in a charset to text. `encoding_rs` has the charsets of the web and with them those of nearly all mail; `mail-parser` has some
//! that are older (UTF-7, code pages of DOS).

use std::borrow::Cow;

use encoding_rs::{BIG5, EUC_JP, EUC_KR, Encoding, GBK, ISO_2022_JP, SHIFT_JIS};
use mail_parser::decoders::charsets::map::charset_decoder;

/// The names of all charsets that `encoding_rs` knows, without its "replacement", which reads nothing.
pub const CHARSETS: [&str; 39] = [
    "UTF-8",
    "IBM866",
    "ISO-8859-2",
    "ISO-8859-3",
    "ISO-8859-4",
    "ISO-8859-5",
    "ISO-8859-6",
    "ISO-8859-7",
    "ISO-8859-8",
    "ISO-8859-8-I",
    "ISO-8859-10",
    "ISO-8859-13",
    "ISO-8859-14",
    "ISO-8859-15",
    "ISO-8859-16",
    "KOI8-R",
    "KOI8-U",
    "macintosh",
    "windows-874",
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "windows-1253",
    "windows-1254",
    "windows-1255",
    "windows-1256",
    "windows-1257",
    "windows-1258",
    "x-mac-cyrillic",
    "GBK",
    "gb18030",
    "Big5",
    "EUC-JP",
    "ISO-2022-JP",
    "Shift_JIS",
    "EUC-KR",
    "UTF-16BE",
    "UTF-16LE",
    "x-user-defined",
];

/// `bytes` as text. Bytes that the charset does not have become U+FFFD; of an unknown charset UTF-8 is assumed.
pub fn decode<'a>(charset: &[u8], bytes: &'a [u8]) -> Cow<'a, str> {
    if is_ascii(charset)
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return Cow::Borrowed(text);
    }
    if let Some(encoding) = encoding(charset) {
        return encoding.decode(bytes).0;
    }
    // The "replacement" of the Encoding standard would read nothing of the few charsets it stands for.
    let replaced = Encoding::for_label(charset).is_some();
    match charset_decoder(charset).filter(|_| !replaced) {
        Some(decode) => Cow::Owned(decode(bytes)),
        None => String::from_utf8_lossy(bytes),
    }
}

/// For text that is looked for (RFC 9051 §6.4.4 CHARSET): `None` when the charset is not known or `bytes` are not of it.
pub fn decode_strictly(charset: &[u8], bytes: &[u8]) -> Option<String> {
    if is_ascii(charset) {
        return std::str::from_utf8(bytes).ok().map(str::to_owned);
    }
    let encoding = encoding(charset)?;
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    Some(text.into_owned())
}

/// Two texts of it may be read as one. Shifts between sets of characters begin and end in each encoded-word (RFC 1468).
pub fn is_stateless(charset: &[u8]) -> bool {
    encoding(charset).is_some_and(|encoding| encoding != ISO_2022_JP)
}

/// Many programs say US-ASCII and send UTF-8; ASCII itself is both.
fn is_ascii(charset: &[u8]) -> bool {
    charset.eq_ignore_ascii_case(b"us-ascii") || charset.eq_ignore_ascii_case(b"ascii")
}

/// By its label in the Encoding standard, or by a name that only mail has.
fn encoding(charset: &[u8]) -> Option<&'static Encoding> {
    Encoding::for_label_no_replacement(charset).or_else(|| {
        let name = charset.trim_ascii().to_ascii_lowercase();
        match &name[..] {
            b"cp932" | b"windows-932" => Some(SHIFT_JIS),
            b"cp936" | b"ms936" | b"windows-936" | b"euc-cn" | b"euccn" => Some(GBK),
            b"cp949" | b"ms949" | b"uhc" | b"euckr" => Some(EUC_KR),
            b"cp950" | b"ms950" | b"windows-950" => Some(BIG5),
            b"cp51932" | b"eucjp" | b"eucjp-ms" => Some(EUC_JP),
            b"cp50220" | b"cp50221" | b"cp50222" => Some(ISO_2022_JP),
            name if name.starts_with(b"iso-2022-jp-") => Some(ISO_2022_JP),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Scope;

    /// A text of the charset that is not ASCII, and its bytes.
    fn sample(name: &str) -> (&'static str, Vec<u8>) {
        let texts = [
            "你好",
            "日本語",
            "한국어",
            "Привет",
            "Γειά",
            "שלום",
            "مرحبا",
            "สวัสดี",
            "Grüße",
            "çok",
            "žluťoučký",
            "ŵy",
            "\u{f780}\u{f7ff}",
        ];
        let wide = |text: &'static str, bytes: fn(u16) -> [u8; 2]| {
            (text, text.encode_utf16().flat_map(bytes).collect())
        };
        match name {
            "UTF-16BE" => return wide(texts[0], u16::to_be_bytes),
            "UTF-16LE" => return wide(texts[0], u16::to_le_bytes),
            _ => {}
        }
        let encoding = Encoding::for_label(name.as_bytes()).expect("it is one of theirs");
        assert_eq!(encoding.name(), name);
        texts
            .into_iter()
            .find_map(|text| match encoding.encode(text) {
                (bytes, _, false) => Some((text, bytes.into_owned())),
                _ => None,
            })
            .unwrap_or_else(|| panic!("no sample text for {name}"))
    }

    #[test]
    fn every_charset_is_read_in_subject_and_body() {
        for name in CHARSETS {
            let (text, bytes) = sample(name);
            let hex = |byte: &u8| format!("={byte:02X}");
            let quoted: String = bytes.iter().map(hex).collect();
            let subject = format!("=?{}?Q?{quoted}?=", name.to_uppercase());
            assert_eq!(
                crate::text::decoded_value(subject.as_bytes()),
                text,
                "{name}"
            );
            let found = |raw: &[u8]| {
                crate::text::any_text(raw, Scope::Body, &mut |_, decoded| decoded.contains(text))
            };
            let head = format!("Content-Type: text/plain; charset=\"{name}\"\r\n");
            let plain = [head.as_bytes(), b"\r\n", &bytes, b"\r\n"].concat();
            assert!(found(&plain), "{name}");
            let encoded =
                format!("{head}Content-Transfer-Encoding: quoted-printable\r\n\r\n{quoted}\r\n");
            assert!(found(encoded.as_bytes()), "{name}");
            assert_eq!(
                decode_strictly(name.as_bytes(), &bytes).as_deref(),
                Some(text),
                "{name}"
            );
        }
    }

    #[test]
    fn names_that_only_mail_has_are_known() {
        let cases: [(&str, &[u8], &str); 9] = [
            ("gb2312", b"\xc4\xe3\xba\xc3", "你好"),
            ("cp936", b"\xc4\xe3\xba\xc3", "你好"),
            ("cp932", b"\x93\xfa\x96\x7b", "日本"),
            ("ks_c_5601-1987", b"\xc7\xd1\xb1\xdb", "한글"),
            ("cp950", b"\xa7\x41\xa6\x6e", "你好"),
            ("ISO-2022-JP-2", b"\x1b$BF|K\\\x1b(B", "日本"),
            ("utf-7", b"Z+APw-rich", "Zürich"),
            ("cp850", b"Z\x81rich", "Zürich"),
            ("us-ascii", "Zürich".as_bytes(), "Zürich"),
        ];
        for (name, bytes, text) in cases {
            assert_eq!(decode(name.as_bytes(), bytes), text, "{name}");
        }
        assert_eq!(decode(b"", b"\xff"), "\u{fffd}");
        assert_eq!(decode(b"x-unknown", "ü".as_bytes()), "ü");
        assert_eq!(decode_strictly(b"x-unknown", b"a"), None);
        assert_eq!(decode_strictly(b"utf-8", b"\xff"), None);
    }
}
