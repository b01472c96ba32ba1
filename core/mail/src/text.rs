//! The readable text of a message, for search. Decoding is `mail-parser`'s (transfer encodings, HTML, dates) and `encoding_rs`'s
//! (charsets). Which parts there are is `summary`'s to say: `mail-parser` takes embedded messages by recursion, and a message of
//! a few hundred kilobytes that nests twenty thousand of them ends its stack.

mod casemap;
mod charset;
mod parameters;
mod words;

use std::borrow::Cow;

use jiff::SignedDuration;
use jiff::civil::Date;
use mail_parser::MessageParser;
use mail_parser::decoders::html::html_to_text;

use crate::header::{self, Field};
use crate::summary::{AddressList, Content, Part, Summary};

pub use casemap::casemap;
pub use charset::{CHARSETS, decode_strictly};

/// Where text is looked for (RFC 9051 §6.4.4), and where it stands: what stands in `Body` is in the scope of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In the body: not in the header of the message, nor in the MIME header fields of its parts. The header of an embedded message
    /// is body.
    Body,
    /// In the header, in all MIME header fields, and in the body.
    Text,
}

/// Calls `visit` with the decoded text of each header field in `scope`, as one line, and of each part whose type is text or message,
/// each with the narrowest scope that it stands in, until it answers `true` (found). HTML comes twice, as written and as text, since a searcher may mean either. Parts of other types
/// give their header fields only, which §6.4.4 allows. Says whether `visit` did.
pub fn any_text(raw: &[u8], scope: Scope, visit: &mut dyn FnMut(Scope, &str) -> bool) -> bool {
    let root = Summary::whole(raw).root;
    let in_header = scope == Scope::Text && any_field_of(&root, raw, Scope::Text, visit);
    in_header || any_text_of(&root, raw, scope, visit)
}

/// The body of `part`. The recursion is bounded by the summary's depth.
fn any_text_of(
    part: &Part<'_>,
    raw: &[u8],
    scope: Scope,
    visit: &mut dyn FnMut(Scope, &str) -> bool,
) -> bool {
    let is = |name: &str| part.media_type.eq_ignore_ascii_case(name.as_bytes());
    match &part.content {
        Content::Multipart(parts) => parts.iter().any(|part| {
            (scope == Scope::Text && any_field_of(part, raw, Scope::Text, visit))
                || any_text_of(part, raw, scope, visit)
        }),
        Content::Message(inner) => {
            any_field_of(&inner.1, raw, Scope::Body, visit)
                || any_text_of(&inner.1, raw, scope, visit)
        }
        Content::Leaf if !is("text") && !is("message") => false,
        Content::Leaf | Content::Unread => {
            let body = &raw[part.body_begin as usize..part.body_end as usize];
            let text = leaf_text(part, body);
            let html = part.media_subtype.eq_ignore_ascii_case(b"html");
            visit(Scope::Body, &text) || (html && visit(Scope::Body, &html_to_text(&text)))
        }
    }
}

/// The header fields of `part`, and the parameters in them that are written in pieces or in a charset (RFC 2231).
fn any_field_of(
    part: &Part<'_>,
    raw: &[u8],
    place: Scope,
    visit: &mut dyn FnMut(Scope, &str) -> bool,
) -> bool {
    let header = &raw[part.header_begin as usize..part.body_begin as usize];
    header::fields(header).any(|field| {
        visit(place, &decoded_line(&field))
            || (field.value.contains(&b'*')
                && parameters::decoded(field.value)
                    .iter()
                    .any(|value| visit(place, value)))
    })
}

/// A field as it is read: unfolded, encoded-words decoded, name and colon before the value.
fn decoded_line(field: &Field<'_>) -> String {
    let value = decoded_value(field.value);
    if field.name.is_empty() {
        return value.into_owned();
    }
    let name = String::from_utf8_lossy(field.name);
    let blank = matches!(field.value.first(), Some(b' ' | b'\t'));
    format!("{name}:{}{value}", if blank { " " } else { "" })
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

/// The first text of `part`, a leaf of `raw`: at most `bytes_max` of its bytes are decoded, and as many come out. Cut between two lines, or
/// between two groups of base64, where that is possible.
pub fn beginning(part: &Part<'_>, raw: &[u8], bytes_max: usize) -> String {
    let whole = raw.get(part.body_begin as usize..part.body_end as usize);
    let mut body = whole.unwrap_or_default();
    if body.len() > bytes_max {
        let line_end = memchr::memrchr(b'\n', &body[..bytes_max]);
        body = &body[..line_end.map_or(bytes_max / 4 * 4, |at| at + 1)];
    }
    let mut text = leaf_text(part, body);
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
    text
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

/// An address list as a person would write it: `Name <mailbox@host>, Group: mailbox@host;`, names decoded.
pub fn addresses_text(list: &AddressList<'_>) -> String {
    let mut out = String::new();
    for address in list.iter() {
        let Some(mailbox) = &address.mailbox else {
            out.push(';');
            continue;
        };
        if !out.is_empty() && !out.ends_with(": ") {
            out.push_str(", ");
        }
        let Some(host) = &address.host else {
            out.push_str(&decoded_value(mailbox));
            out.push_str(": ");
            continue;
        };
        let name = address.name.as_ref();
        if let Some(name) = name {
            out.push_str(&decoded_value(name));
            if mailbox.is_empty() && host.is_empty() {
                continue;
            }
            out.push_str(" <");
        }
        out.push_str(&String::from_utf8_lossy(mailbox));
        if !host.is_empty() {
            out.push('@');
            out.push_str(&String::from_utf8_lossy(host));
        }
        if name.is_some() {
            out.push('>');
        }
    }
    out
}

/// RFC 2045 §6.8; `None` when it is not base64.
pub fn base64_decoded(body: &[u8]) -> Option<Vec<u8>> {
    mail_parser::decoders::base64::base64_decode(body)
}

/// RFC 2045 §6.7; `None` when it is not quoted-printable.
pub fn quoted_printable_decoded(body: &[u8]) -> Option<Vec<u8>> {
    mail_parser::decoders::quoted_printable::quoted_printable_decode(body)
}

/// The day a Date field names, as days since 1970-01-01, its zone disregarded (RFC 3501 §6.4.4, SENTON and kin).
pub fn date_days(value: &[u8]) -> Option<i64> {
    days_of(&date_time(value)?)
}

/// The moment a Date field names, in seconds since 1970-01-01 in UTC (RFC 5256 §2.2). A time that no clock shows is 00:00:00, a zone that
/// there cannot be is UTC; `None` without a day.
pub fn date_seconds(value: &[u8]) -> Option<i64> {
    let date = date_time(value).or_else(|| {
        // A day without a time.
        date_time(&[&crate::header::unfold(value), &b" 00:00:00 +0000"[..]].concat())
    })?;
    let days = days_of(&date)?;
    let seconds = match (date.hour, date.minute, date.second) {
        (0..24, 0..60, 0..=60) => {
            i64::from(date.hour) * 3_600 + i64::from(date.minute) * 60 + i64::from(date.second)
        }
        _ => 0,
    };
    let zone = match (date.tz_hour, date.tz_minute) {
        (0..24, 0..60) => i64::from(date.tz_hour) * 3_600 + i64::from(date.tz_minute) * 60,
        _ => 0,
    };
    let local = days * DAY_SECONDS + seconds;
    Some(if date.tz_before_gmt {
        local + zone
    } else {
        local - zone
    })
}

fn date_time(value: &[u8]) -> Option<mail_parser::DateTime> {
    let mut field = b"Date: ".to_vec();
    field.extend_from_slice(&crate::header::unfold(value));
    field.extend_from_slice(b"\r\n\r\n");
    let message = MessageParser::default().parse_headers(&field[..])?;
    message.date().cloned()
}

fn days_of(date: &mail_parser::DateTime) -> Option<i64> {
    days_from_civil(date.year.into(), date.month.into(), date.day.into())
}

/// Days since 1970-01-01 in the Gregorian calendar; `None` for a month or day that does not exist, and for years past 0 to 9999.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let (year, month, day) = (year.try_into(), month.try_into(), day.try_into());
    let date = Date::new(year.ok()?, month.ok()?, day.ok()?).ok()?;
    let days = date.duration_since(EPOCH).as_secs() / DAY_SECONDS;
    (date.year() >= 0).then_some(days)
}

/// The calendar day of `days` since 1970-01-01: year, month, day. Days past the years -9999 to 9999 are the last day there.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let since = SignedDuration::from_secs(days.saturating_mul(DAY_SECONDS));
    let date = EPOCH.saturating_add(since);
    (date.year().into(), date.month().into(), date.day().into())
}

/// A date and time of a header field (RFC 5322 §3.3), in UTC.
pub fn date(unix_seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]; // from 1 January 1970
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = unix_seconds.div_euclid(86_400);
    let second = unix_seconds.rem_euclid(86_400);
    let (year, month, day) = civil_from_days(days);
    let weekday = DAYS[days.rem_euclid(7) as usize];
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let month = MONTHS[month as usize - 1];
    format!("{weekday}, {day} {month} {year:04} {hour:02}:{minute:02}:{second:02} +0000")
}

const EPOCH: Date = jiff::civil::date(1970, 1, 1);
const DAY_SECONDS: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 +0000");
        assert_eq!(date(1_795_305_599), "Sat, 21 Nov 2026 23:59:59 +0000");
        assert_eq!(date(4_107_542_400), "Mon, 1 Mar 2100 00:00:00 +0000");
    }

    #[test]
    fn days_and_dates_agree_both_ways() {
        assert_eq!(days_from_civil(1970, 1, 1), Some(0));
        assert_eq!(days_from_civil(2000, 2, 29), Some(11_016));
        assert_eq!(days_from_civil(1900, 2, 29), None);
        for days in (-300_000..300_000).step_by(97) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), Some(days));
        }
        assert_eq!(days_from_civil(9999, 12, 31), Some(2_932_896));
        assert_eq!(days_from_civil(0, 1, 1), Some(-719_528));
        for (year, month, day) in [
            (-1, 12, 31),
            (10_000, 1, 1),
            (i64::MAX, 1, 1),
            (2026, 13, 1),
            (2026, 0, 1),
            (2026, 4, 31),
            (2026, 1, 0),
            (2026, 1, 257),
        ] {
            assert_eq!(days_from_civil(year, month, day), None);
        }
        assert_eq!(civil_from_days(2_932_896), (9999, 12, 31));
        assert_eq!(civil_from_days(i64::MAX), (9999, 12, 31));
        assert_eq!(civil_from_days(i64::MIN), (-9999, 1, 1));
    }

    #[test]
    fn a_date_field_names_its_own_day() {
        assert_eq!(
            date_days(b" Tue, 1 Jul 2003 23:52:37 -0900"),
            days_from_civil(2003, 7, 1)
        );
        assert_eq!(date_days(b" nonsense"), None);
        let moment = days_from_civil(2003, 7, 2).map(|days| days * DAY_SECONDS + 8 * 3_600 + 3_157);
        assert_eq!(date_seconds(b" Tue, 1 Jul 2003 23:52:37 -0900"), moment);
        assert_eq!(date_seconds(b" 2 Jul 2003 10:22:37 +0130"), moment);
        assert_eq!(date_seconds(b" nonsense"), None);
        // The parser makes some zone of it.
        assert!(date_seconds(b"1 Jul 2003 00:00:00 +9999").is_some());
        for odd in ["1 Jul 2003 99:99:99 +0000", "1 Jul 2003"] {
            let day = days_from_civil(2003, 7, 1).map(|days| days * DAY_SECONDS);
            assert_eq!(date_seconds(odd.as_bytes()), day, "{odd}");
        }
    }

    #[test]
    fn folded_values_are_one_line() {
        assert_eq!(decoded_value(b" plain\r\n folded"), "plain folded");
    }

    #[test]
    fn deep_nesting_is_survived() {
        let messages = b"Content-Type: message/rfc822\r\n\r\n".repeat(20_000);
        assert!(!any_text(&messages, Scope::Text, &mut |_, _| false));
        let mut multiparts = Vec::new();
        for level in 0..5_000 {
            let part =
                format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n");
            multiparts.extend_from_slice(part.as_bytes());
        }
        assert!(!any_text(&multiparts, Scope::Text, &mut |_, _| false));
    }

    fn found(raw: &[u8], scope: Scope, wanted: &str) -> bool {
        any_text(raw, scope, &mut |_, text| text.contains(wanted))
    }

    #[test]
    fn transfer_encodings_and_attachments_are_searched() {
        let raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\r\nWsO8cmljaA==\r\n--b\r\nContent-Type: text/html\r\n\r\n\
            <p>a <b>bold</b> word</p>\r\n--b\r\nContent-Type: application/pdf; name=\"=?utf-8?q?=C3=BC?=.pdf\"\r\n\
            Content-Disposition: attachment; filename*0*=utf-8''Gr%C3%BC; filename*1=\"ne Gr\"; filename*2*=%C3%BC%C3%9Fe.pdf\r\n\r\n\
            octets\r\n--b--\r\n";
        for wanted in ["Zürich", "a bold word"] {
            assert!(found(raw, Scope::Body, wanted), "{wanted}");
            assert!(found(raw, Scope::Text, wanted), "{wanted}");
        }
        // File names are in MIME header fields, which BODY does not search; the contents of the file may be omitted.
        for wanted in ["ü.pdf", "Grüne Grüße.pdf"] {
            assert!(found(raw, Scope::Text, wanted), "{wanted}");
            assert!(!found(raw, Scope::Body, wanted), "{wanted}");
        }
        assert!(!found(raw, Scope::Text, "octets"));
    }

    /// RFC 9051 §6.4.4: only parts whose type is neither text nor message may be omitted, and TEXT searches MIME header fields (M3).
    #[test]
    fn reports_and_the_header_fields_of_parts_are_searched() {
        let raw = b"Subject: report\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\nX-Part-Field: word\r\n\r\nhello\r\n--b\r\n\
            Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; someone@example.net\r\n--b\r\n\
            Content-Type: message/disposition-notification\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
            Disposition: manual=3B displayed\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nX-Inner: field\r\n\r\ninner text\r\n--b\r\n\
            Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogaGlkZGVuCgpoYXJk\r\n--b--\r\n";
        for wanted in [
            "Final-Recipient: rfc822; someone@example.net",
            "Disposition: manual; displayed",
            "X-Inner: field",
            "inner text",
            "Subject: hidden",
        ] {
            assert!(found(raw, Scope::Body, wanted), "{wanted}");
            assert!(found(raw, Scope::Text, wanted), "{wanted}");
        }
        for wanted in ["X-Part-Field: word", "Subject: report", "multipart/report"] {
            assert!(found(raw, Scope::Text, wanted), "{wanted}");
            assert!(!found(raw, Scope::Body, wanted), "{wanted}");
        }
    }

    /// What is past the bounds of the summary is searched as it stands (M2).
    #[test]
    fn what_is_not_looked_into_is_searched_too() {
        let mut deep = b"Content-Type: message/rfc822\r\n\r\n".repeat(40);
        deep.extend_from_slice(b"Subject: deepest\r\n\r\nend of it\r\n");
        let mut many = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
        many.extend_from_slice(&b"--b\r\n\r\nx\r\n".repeat(crate::limits::WHOLE_PARTS_MAX + 3));
        many.extend_from_slice(b"--b\r\n\r\nend of it\r\n--b--\r\n");
        for raw in [&deep, &many] {
            assert!(found(raw, Scope::Body, "end of it"));
        }
    }
}
