//! Dates of header fields, and their parts (RFC 5260 §4).

use mail::text::{civil_from_days, days_from_civil};
use mail_parser::MessageParser;

/// A moment and the time zone that it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub unix_s: i64,
    /// Minutes east of UTC.
    pub zone_minutes: i32,
}

/// RFC 5260 §4: the date that a field's value is, or that stands behind its last semicolon (Received).
pub(crate) fn parse(value: &str) -> Option<Moment> {
    let text = value.rsplit(';').next().unwrap_or(value);
    if text.len() > 200 {
        return None;
    }
    let field = format!("Date: {}\r\n\r\n", text.trim().replace(['\r', '\n'], " "));
    let message = MessageParser::default().parse_headers(field.as_bytes())?;
    let date = message.date()?;
    let days = days_from_civil(date.year.into(), date.month.into(), date.day.into())?;
    let (hour, minute, second) = (
        i64::from(date.hour),
        i64::from(date.minute),
        i64::from(date.second),
    );
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let east = i32::from(date.tz_hour) * 60 + i32::from(date.tz_minute);
    let zone_minutes = if date.tz_before_gmt { -east } else { east };
    let local = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(Moment {
        unix_s: local - i64::from(zone_minutes) * 60,
        zone_minutes,
    })
}

/// One part of the moment, as RFC 5260 §4.2 and §4.3 write it. `None`: there is no such part.
pub(crate) fn part(moment: Moment, part: &str) -> Option<String> {
    let local = moment
        .unix_s
        .saturating_add(i64::from(moment.zone_minutes) * 60);
    let (days, second_of_day) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (
        second_of_day / 3_600,
        second_of_day / 60 % 60,
        second_of_day % 60,
    );
    let zone = |between: &str| {
        let sign = if moment.zone_minutes < 0 { '-' } else { '+' };
        let minutes = moment.zone_minutes.unsigned_abs();
        format!("{sign}{:02}{between}{:02}", minutes / 60, minutes % 60)
    };
    Some(match part {
        "year" => format!("{year:04}"),
        "month" => format!("{month:02}"),
        "day" => format!("{day:02}"),
        "date" => format!("{year:04}-{month:02}-{day:02}"),
        // The Modified Julian Day; 1 January 1970 is 40,587.
        "julian" => (days + 40_587).to_string(),
        "hour" => format!("{hour:02}"),
        "minute" => format!("{minute:02}"),
        "second" => format!("{second:02}"),
        "time" => format!("{hour:02}:{minute:02}:{second:02}"),
        "iso8601" => format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{}",
            zone(":")
        ),
        "std11" => {
            let utc = mail::text::date(local);
            let date = utc.strip_suffix("+0000").unwrap_or(&utc);
            format!("{date}{}", zone(""))
        }
        "zone" => zone(""),
        // 1 January 1970 was a Thursday; Sunday is 0.
        "weekday" => (days + 4).rem_euclid(7).to_string(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_falls_into_its_parts() {
        let moment = parse("Sat, 28 Feb 2026 23:45:06 -0530").expect("a date");
        assert_eq!(moment.zone_minutes, -330);
        for (name, text) in [
            ("year", "2026"),
            ("month", "02"),
            ("day", "28"),
            ("date", "2026-02-28"),
            ("julian", "61099"),
            ("hour", "23"),
            ("minute", "45"),
            ("second", "06"),
            ("time", "23:45:06"),
            ("iso8601", "2026-02-28T23:45:06-05:30"),
            ("std11", "Sat, 28 Feb 2026 23:45:06 -0530"),
            ("zone", "-0530"),
            ("weekday", "6"),
        ] {
            assert_eq!(part(moment, name).as_deref(), Some(text), "{name}");
        }
        assert_eq!(part(moment, "era"), None);
        let elsewhere = Moment {
            zone_minutes: 60,
            ..moment
        };
        assert_eq!(part(elsewhere, "date").as_deref(), Some("2026-03-01"));
        assert_eq!(part(elsewhere, "time").as_deref(), Some("06:15:06"));
    }

    #[test]
    fn a_trace_field_has_its_date_at_the_end() {
        let moment = parse("from a by b; Mon, 30 Nov 2026 10:00:00 +0000").expect("a date");
        assert_eq!(part(moment, "date").as_deref(), Some("2026-11-30"));
        for text in ["", "yesterday", "99 Nov 2026", &"x".repeat(10_000)] {
            assert_eq!(parse(text), None);
        }
    }
}
