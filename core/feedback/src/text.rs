//! Texts of others, made fit for lines, XML and header fields.

use crate::limits::TEXT_BYTES_MAX;

/// One line of at most `TEXT_BYTES_MAX`, without characters that separate fields here.
pub fn clean(text: &str) -> String {
    bounded(text, TEXT_BYTES_MAX)
}

pub fn bounded(text: &str, bytes_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(bytes_max));
    for each in text.trim().chars() {
        let each = if each.is_control() { ' ' } else { each };
        if out.len() + each.len_utf8() > bytes_max {
            break;
        }
        out.push(each);
    }
    out
}

/// A domain in lower case without the last dot. `None`: not one that a name or a file can hold.
pub fn domain(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches('.').to_lowercase();
    let is_fit = |each: char| each.is_alphanumeric() || matches!(each, '-' | '.' | '_');
    let fits = !text.is_empty() && text.len() <= TEXT_BYTES_MAX && text.chars().all(is_fit);
    fits.then_some(text)
}

/// For XML: what it cannot hold becomes a question mark.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for each in text.chars() {
        match each {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('?'),
            each if each.is_control() => out.push('?'),
            each => out.push(each),
        }
    }
    out
}

/// Seconds since 1970 as RFC 3339 has them.
pub fn date_time(unix_seconds: u64) -> String {
    let days = (unix_seconds / 86_400) as i64;
    let (year, month, day) = mail::text::civil_from_days(days);
    let of_day = unix_seconds % 86_400;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The other way round; only times of UTC, or with an offset of whole minutes.
pub fn of_date_time(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<i64>().ok().filter(|_| is_number)
    };
    let days = mail::text::days_from_civil(number(0..4)?, number(5..7)?, number(8..10)?)?;
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let zone = rest.trim_start_matches(|each: char| each == '.' || each.is_ascii_digit());
    let offset = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let minutes =
                zone.get(1..3)?.parse::<i64>().ok()? * 60 + zone.get(4..6)?.parse::<i64>().ok()?;
            if *sign == b'+' {
                minutes * 60
            } else {
                -minutes * 60
            }
        }
        _ => return None,
    };
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    u64::try_from(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_rfc_3339_go_both_ways() {
        assert_eq!(date_time(1_459_468_800), "2016-04-01T00:00:00Z");
        for (text, wanted) in [
            ("2016-04-01T00:00:00Z", Some(1_459_468_800)),
            ("2016-04-01T02:00:00.123+02:00", Some(1_459_468_800)),
            ("2016-04-01", None),
            ("2016-13-01T00:00:00Z", None),
            ("2016-04-01T25:00:00Z", None),
            ("2016-04-01T00:00:00\u{e9}", None),
            ("", None),
        ] {
            assert_eq!(of_date_time(text), wanted, "{text}");
        }
    }

    #[test]
    fn nothing_of_others_ends_a_line_or_an_element() {
        assert_eq!(clean(" a\r\nb\tc "), "a  b c");
        assert_eq!(escaped("<a&\"\u{7}>"), "&lt;a&amp;&quot;?&gt;");
        assert_eq!(domain("Example.ORG."), Some("example.org".to_owned()));
        assert_eq!(domain("a/b"), None);
        assert_eq!(clean(&"\u{e9}".repeat(500)).len(), 254);
    }
}
