//! The date of a line `From someone Sat Jan  3 01:05:34 1996`, in UTC (RFC 4155), or with the zones that programs add.

use mail::InternalDate;
use mail::text::{civil_from_days, days_from_civil};

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// A line is looked at from its end; a sender may have spaces.
const WORDS_MAX: usize = 8;

/// `None`: the line does not end in a date.
pub fn of_line(line: &[u8]) -> Option<InternalDate> {
    let line = String::from_utf8_lossy(line);
    let mut words: Vec<&str> = line
        .split_ascii_whitespace()
        .rev()
        .take(WORDS_MAX)
        .collect();
    words.reverse();
    let at = words.iter().rposition(|word| DAYS.contains(word))?;
    let [month, day, clock, rest @ ..] = &words[at + 1..] else {
        return None;
    };
    let month = MONTHS.iter().position(|known| known == month)? as i64 + 1;
    let day = day.parse::<i64>().ok()?;
    let seconds = seconds(clock)?;
    // The zone stands before the year or behind it; a name of one means nothing that is certain.
    let (zone, year) = match rest {
        [year] => (None, year),
        [one, two] if is_year(one) => (zone_of(two), one),
        [one, two] => (zone_of(one), two),
        _ => return None,
    };
    if !is_year(year) {
        return None;
    }
    let days = days_from_civil(year.parse().ok()?, month, day)?;
    let zone = zone.unwrap_or(0);
    Some(InternalDate {
        unix_seconds: days * 86_400 + seconds - i64::from(zone) * 60,
        zone_minutes: zone,
    })
}

fn is_year(word: &str) -> bool {
    word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// `01:05:34`, or without seconds.
fn seconds(clock: &str) -> Option<i64> {
    let mut parts = clock.split(':');
    let mut next = |max: i64| {
        let part = parts.next()?;
        let is_number = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        let number = part.parse().ok().filter(|_| is_number)?;
        (number <= max).then_some(number)
    };
    let (hour, minute) = (next(23)?, next(59)?);
    let second = if clock.len() > 5 { next(60)? } else { 0 };
    parts
        .next()
        .is_none()
        .then_some(hour * 3_600 + minute * 60 + second)
}

/// `+0100` in minutes.
fn zone_of(word: &str) -> Option<i16> {
    let (sign, digits) = match word.as_bytes() {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    if digits.len() != 4 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |at: usize| i16::from(digits[at] - b'0') * 10 + i16::from(digits[at + 1] - b'0');
    let (hours, minutes) = (number(0), number(2));
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

/// In UTC, as RFC 4155 has it.
pub fn written(date: InternalDate) -> String {
    // Years have four digits.
    let seconds = date.unix_seconds.clamp(-62_135_596_800, 253_402_300_799);
    let (days, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let (week_day, month) = (
        DAYS[days.rem_euclid(7) as usize],
        MONTHS[month as usize - 1],
    );
    let (hour, minute, second) = (clock / 3_600, clock / 60 % 60, clock % 60);
    format!("{week_day} {month} {day:2} {hour:02}:{minute:02}:{second:02} {year:04}")
}
