//! Sizes and spans as people write them: `"64MiB"`, `"30s"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A number of bytes; written `1GiB`, `512 KiB` or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A length of time; written `500ms`, `30s`, `5min` or `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

// Powers of two under their own names alone. "GB" means two things, and a leg that is 7 % smaller than it was meant to be cannot grow.
const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];
const SPANS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000)];

/// Splits `30s` into 30 and `s`; `None` when there is no whole number in front.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim()))
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let wrong = || {
            format!("`{text}` is not a size: write for instance \"64MiB\" (B, KiB, MiB, GiB, TiB)")
        };
        let (number, unit) = split(text).ok_or_else(wrong)?;
        let scale = match unit {
            "" => 1,
            unit => {
                SIZES
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(unit))
                    .ok_or_else(wrong)?
                    .1
            }
        };
        // A size that overflows is a typing mistake, and the sentence about it is the same.
        number.checked_mul(scale).map(Size).ok_or_else(wrong)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let wrong = || {
            format!("`{text}` is not a length of time: write for instance \"30s\" (ms, s, min, h)")
        };
        let (number, unit) = split(text).ok_or_else(wrong)?;
        let scale = SPANS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?
            .1;
        number
            .checked_mul(scale)
            .map(|ms| Span(Duration::from_millis(ms)))
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    /// To one decimal: `64MiB`, `1.5GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, scale) = SIZES
            .iter()
            .find(|(_, scale)| self.0 >= *scale)
            .unwrap_or(&("B", 1));
        let tenths = (self.0 as f64 / *scale as f64 * 10.0).round() / 10.0;
        write!(f, "{tenths}{name}")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis() as u64;
        let (name, scale) = SPANS
            .iter()
            .rev()
            .find(|(_, scale)| ms >= *scale && ms.is_multiple_of(*scale))
            .unwrap_or(&("ms", 1));
        write!(f, "{}{name}", ms / scale)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"64MiB\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
        u64::try_from(bytes)
            .map(Size)
            .map_err(|_| E::custom("a size is not negative"))
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The date and time in UTC of `seconds` since 1970-01-01; past the year 9999, the last one there is.
pub fn date(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let at = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_read_back_as_written() {
        for (text, bytes) in [
            ("1GiB", 1 << 30),
            ("64 MiB", 64 << 20),
            ("4096", 4096),
            ("3kib", 3072),
            ("0B", 0),
        ] {
            assert_eq!(text.parse::<Size>(), Ok(Size(bytes)), "{text}");
        }
        assert_eq!(Size(3 << 29).to_string(), "1.5GiB");
        assert_eq!(Size(64 << 20).to_string(), "64MiB");
        for text in ["30s", "500ms", "5min", "2h"] {
            assert_eq!(text.parse::<Span>().expect("a span").to_string(), text);
        }
    }

    #[test]
    fn what_is_no_size_says_how_one_is_written() {
        for text in ["", "MiB", "-1", "1.5GiB", "64MB", "99999999999TiB"] {
            let told = text.parse::<Size>().expect_err(text);
            assert!(told.contains("64MiB"), "{told}");
        }
        assert!("30".parse::<Span>().is_err());
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(1_798_761_600), "2027-01-01 00:00:00 UTC");
        assert!(date(u64::MAX).starts_with("9999-12-30 "));
    }
}
