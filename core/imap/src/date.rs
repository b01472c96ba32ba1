//! IMAP's two date forms (RFC 9051 §9 `date` and `date-time`).

use mail::InternalDate;
use mail::text::{civil_from_days, days_from_civil};

/// RFC 9051 §9 date-month.
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const DAY_SECONDS: i64 = 86_400;

/// `17-Jul-1996 02:44:25 -0700`, without quotes, the day padded with a space.
pub fn encode_date_time(date: InternalDate) -> String {
    let local = date
        .unix_seconds
        .saturating_add(i64::from(date.zone_minutes) * 60);
    let (days, seconds) = (local.div_euclid(DAY_SECONDS), local.rem_euclid(DAY_SECONDS));
    // Four digits are all the form has room for.
    let days = days.clamp(-719_528, 2_932_896);
    let (year, month, day) = civil_from_days(days);
    let sign = if date.zone_minutes < 0 { '-' } else { '+' };
    let zone = date.zone_minutes.unsigned_abs();
    format!(
        "{day:2}-{}-{year:04} {:02}:{:02}:{:02} {sign}{:02}{:02}",
        MONTHS[month as usize - 1],
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        zone / 60,
        zone % 60
    )
}

/// RFC 9051 §9 date-time, without its quotes. `None`: wrong form, or a day that its month does not have.
pub fn parse_date_time(text: &[u8]) -> Option<InternalDate> {
    let text = std::str::from_utf8(text).ok()?;
    if text.len() != 26 || !text.is_ascii() {
        return None;
    }
    let days = parse_day(text[..11].trim_start())?;
    let clock = &text.as_bytes()[11..];
    let two = |at: usize| -> Option<i64> {
        crate::sequence::number(clock.get(at..at + 2)?).map(i64::from)
    };
    if clock[0] != b' ' || clock[3] != b':' || clock[6] != b':' || clock[9] != b' ' {
        return None;
    }
    let (hour, minute, second) = (two(1)?, two(4)?, two(7)?);
    let (zone_hour, zone_minute) = (two(11)?, two(13)?);
    let sign = match clock[10] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 60 || zone_hour > 23 || zone_minute > 59 {
        return None;
    }
    let zone_minutes = sign * (zone_hour * 60 + zone_minute);
    let unix_seconds = days * DAY_SECONDS + hour * 3_600 + minute * 60 + second - zone_minutes * 60;
    Some(InternalDate {
        unix_seconds,
        zone_minutes: zone_minutes as i16,
    })
}

/// `1-Feb-1994` as days since 1970-01-01.
pub fn parse_day(text: &str) -> Option<i64> {
    let mut pieces = text.split('-');
    let (day, month, year) = (pieces.next()?, pieces.next()?, pieces.next()?);
    if pieces.next().is_some() || day.len() > 2 || year.len() != 4 {
        return None;
    }
    let month = MONTHS
        .iter()
        .position(|name| name.eq_ignore_ascii_case(month))? as i64
        + 1;
    let day = crate::sequence::number(day.as_bytes())?;
    let year = crate::sequence::number(year.as_bytes())?;
    days_from_civil(year.into(), month, day.into())
}

/// RFC 9051 §9 date, from days since 1970-01-01.
pub fn encode_day(days: i64) -> String {
    let (year, month, day) = civil_from_days(days);
    format!("{day}-{}-{year:04}", MONTHS[month as usize - 1])
}

/// The day of an internal date in its own zone: SEARCH compares days and disregards zones (RFC 9051 §6.4.4).
pub fn internal_day(date: InternalDate) -> i64 {
    date.unix_seconds
        .saturating_add(i64::from(date.zone_minutes) * 60)
        .div_euclid(DAY_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfc_example_comes_back() {
        let text = "17-Jul-1996 02:44:25 -0700";
        let date = parse_date_time(text.as_bytes()).unwrap();
        assert_eq!(
            date,
            InternalDate {
                unix_seconds: 837_596_665,
                zone_minutes: -420
            }
        );
        assert_eq!(encode_date_time(date), text);
        assert_eq!(
            encode_date_time(InternalDate::utc(0)),
            " 1-Jan-1970 00:00:00 +0000"
        );
        assert_eq!(
            parse_date_time(b" 1-Jan-1970 00:00:00 +0000"),
            Some(InternalDate::utc(0))
        );
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for text in [
            "31-Feb-2020 00:00:00 +0000",
            " 1-Jan-1970 24:00:00 +0000",
            "1-Jan-1970 00:00:00 +0000",
            "",
        ] {
            assert_eq!(parse_date_time(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_day("29-Feb-2001"), None);
        assert_eq!(parse_day("1-feb-1994"), Some(8_797));
        assert_eq!(encode_day(8_797), "1-Feb-1994");
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        for unix_seconds in [i64::MIN, i64::MAX] {
            for zone_minutes in [i16::MIN, i16::MAX] {
                let date = InternalDate {
                    unix_seconds,
                    zone_minutes,
                };
                encode_date_time(date);
                internal_day(date);
            }
        }
    }
}
