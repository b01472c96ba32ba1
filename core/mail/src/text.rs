//! The readable text of a message, for search. `mail-parser` decodes: charsets, transfer encodings, encoded-words, HTML.

use std::borrow::Cow;

use mail_parser::{MessageParser, MimeHeaders, PartType};

use crate::limits::SEARCHED_BYTES_MAX;

/// Calls `visit` with the decoded text of each text part, embedded messages included, until it answers `true` (found). HTML
/// comes twice, as written and as text, since a searcher may mean either. Says whether `visit` did.
///
/// Of a message longer than `SEARCHED_BYTES_MAX` only that much is looked at.
pub fn any_body_text(raw: &[u8], visit: &mut dyn FnMut(&str) -> bool) -> bool {
    let raw = &raw[..raw.len().min(SEARCHED_BYTES_MAX)];
    MessageParser::default()
        .parse(raw)
        .is_some_and(|message| any_text_of(&message, visit, NESTED_MAX))
}

/// Embedded messages inside each other that are searched.
const NESTED_MAX: usize = 8;

fn any_text_of(
    message: &mail_parser::Message<'_>,
    visit: &mut dyn FnMut(&str) -> bool,
    nested_left: usize,
) -> bool {
    for part in &message.parts {
        let found = match &part.body {
            PartType::Text(text) => visit(text),
            PartType::Html(html) => {
                visit(html) || visit(&mail_parser::decoders::html::html_to_text(html))
            }
            PartType::Message(inner) if nested_left > 0 => {
                inner.subject().is_some_and(&mut *visit)
                    || any_text_of(inner, visit, nested_left - 1)
            }
            _ => part.attachment_name().is_some_and(&mut *visit),
        };
        if found {
            return true;
        }
    }
    false
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
    let mut field = b"Subject: ".to_vec();
    field.extend_from_slice(&unfolded);
    field.extend_from_slice(b"\r\n\r\n");
    let parsed = MessageParser::default().parse_headers(&field[..]);
    let subject = parsed.as_ref().and_then(|message| message.subject());
    Cow::Owned(subject.map_or_else(
        || String::from_utf8_lossy(&unfolded).into_owned(),
        str::to_owned,
    ))
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
    fn encoded_words_are_decoded_for_search() {
        assert_eq!(
            decoded_value(b" =?utf-8?q?Z=C3=BCrich?= =?iso-8859-1?q?_=FC?="),
            "Zürich ü"
        );
        assert_eq!(decoded_value(b" plain\r\n folded"), "plain folded");
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
