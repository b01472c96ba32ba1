//! The readable text of a message, for search. Decoding is `mail-parser`'s (transfer encodings, HTML, dates) and `encoding_rs`'s
//! (charsets). Which parts there are is `summary`'s to say: `mail-parser` takes embedded messages by recursion, and a message of
//! a few hundred kilobytes that nests twenty thousand of them ends its stack.

mod charset;
mod words;

use std::borrow::Cow;

use mail_parser::MessageParser;
use mail_parser::decoders::html::html_to_text;

use crate::header;
use crate::summary::{Content, Part, Summary};

pub use charset::{CHARSETS, decode_strictly};

/// Calls `visit` with the decoded text of each text part, embedded messages included, until it answers `true` (found).
/// HTML comes twice, as written and as text, since a searcher may mean either; other parts give their file names.
/// Says whether `visit` did.
pub fn any_body_text(raw: &[u8], visit: &mut dyn FnMut(&str) -> bool) -> bool {
    any_text_of(&Summary::whole(raw).root, raw, visit)
}

/// The recursion is bounded by the summary's depth.
fn any_text_of(part: &Part<'_>, raw: &[u8], visit: &mut dyn FnMut(&str) -> bool) -> bool {
    match &part.content {
        Content::Multipart(parts) => parts.iter().any(|part| any_text_of(part, raw, visit)),
        Content::Message(inner) => {
            let subject = header::value(&inner.0, "Subject");
            subject.is_some_and(|subject| visit(&decoded_value(&subject)))
                || any_text_of(&inner.1, raw, visit)
        }
        Content::Leaf if part.media_type.eq_ignore_ascii_case(b"text") => {
            let body = &raw[part.body_begin as usize..part.body_end as usize];
            let text = leaf_text(part, body);
            let html = part.media_subtype.eq_ignore_ascii_case(b"html");
            visit(&text) || (html && visit(&html_to_text(&text)))
        }
        Content::Leaf | Content::Unread => {
            let disposition = part.disposition.iter().flat_map(|found| &found.parameters);
            let mut names = part.parameters.iter().chain(disposition);
            names.any(|(_, value)| visit(&decoded_value(value)))
        }
    }
}

/// What cannot be decoded is taken as it stands.
fn leaf_text(part: &Part<'_>, body: &[u8]) -> String {
    let encoding = part.encoding.as_deref().unwrap_or_default();
    let decoded = match () {
        () if encoding.eq_ignore_ascii_case(b"base64") => base64_decoded(body),
        () if encoding.eq_ignore_ascii_case(b"quoted-printable") => quoted_printable_decoded(body),
        () => None,
    };
    let bytes = decoded.as_deref().unwrap_or(body);
    let is_charset = |name: &[u8]| name.eq_ignore_ascii_case(b"charset");
    let charset = part.parameters.iter().find(|(name, _)| is_charset(name));
    let charset = charset.map_or(&b""[..], |(_, charset)| charset);
    charset::decode(charset, bytes).into_owned()
}

/// A header field's value with its encoded-words decoded (RFC 2047). 8-bit bytes that are no UTF-8 become U+FFFD.
pub fn decoded_value(value: &[u8]) -> Cow<'_, str> {
    let unfolded = crate::header::unfold(value);
    if memchr::memmem::find(&unfolded, b"=?").is_none() {
        return match unfolded {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        };
    }
    Cow::Owned(words::decoded(&unfolded))
}

/// RFC 2045 §6.8; `None` when it is no base64.
pub fn base64_decoded(body: &[u8]) -> Option<Vec<u8>> {
    mail_parser::decoders::base64::base64_decode(body)
}

/// RFC 2045 §6.7; `None` when it is no quoted-printable.
pub fn quoted_printable_decoded(body: &[u8]) -> Option<Vec<u8>> {
    mail_parser::decoders::quoted_printable::quoted_printable_decode(body)
}

/// The day a Date field names, as days since 1970-01-01, its zone disregarded (RFC 3501 §6.4.4, SENTON and kin).
pub fn date_days(value: &[u8]) -> Option<i64> {
    let mut field = b"Date: ".to_vec();
    field.extend_from_slice(&crate::header::unfold(value));
    field.extend_from_slice(b"\r\n\r\n");
    let message = MessageParser::default().parse_headers(&field[..])?;
    let date = message.date()?;
    days_from_civil(date.year.into(), date.month.into(), date.day.into())
}

/// Days since 1970-01-01 in the Gregorian calendar; `None` for a month or day that does not exist.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) || !(0..=9999).contains(&year) {
        return None;
    }
    // Years begin in March, so that the leap day is the last of its year.
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The calendar day of `days` since 1970-01-01: year, month, day.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_both_ways() {
        assert_eq!(days_from_civil(1970, 1, 1), Some(0));
        assert_eq!(days_from_civil(2000, 2, 29), Some(11_016));
        assert_eq!(days_from_civil(1900, 2, 29), None);
        for days in (-300_000..300_000).step_by(97) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), Some(days));
        }
    }

    #[test]
    fn a_date_field_names_its_own_day() {
        assert_eq!(
            date_days(b" Tue, 1 Jul 2003 23:52:37 -0900"),
            days_from_civil(2003, 7, 1)
        );
        assert_eq!(date_days(b" nonsense"), None);
    }

    #[test]
    fn folded_values_are_one_line() {
        assert_eq!(decoded_value(b" plain\r\n folded"), "plain folded");
    }

    #[test]
    fn deep_nesting_is_survived() {
        let messages = b"Content-Type: message/rfc822\r\n\r\n".repeat(20_000);
        assert!(!any_body_text(&messages, &mut |_| false));
        let mut multiparts = Vec::new();
        for level in 0..5_000 {
            let part =
                format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n");
            multiparts.extend_from_slice(part.as_bytes());
        }
        assert!(!any_body_text(&multiparts, &mut |_| false));
    }

    #[test]
    fn transfer_encodings_and_attachments_are_searched() {
        let raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\r\nWsO8cmljaA==\r\n--b\r\nContent-Type: text/html\r\n\r\n\
            <p>a <b>bold</b> word</p>\r\n--b--\r\n";
        assert!(any_body_text(raw, &mut |text| text.contains("Zürich")));
        assert!(any_body_text(raw, &mut |text| text.contains("a bold word")));
        assert!(!any_body_text(raw, &mut |text| text.contains("absent")));
    }
}
