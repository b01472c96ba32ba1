//! A policy (RFC 8461 §3.2): how strictly it is meant, for how long it may be kept, and which servers take the domain's mail.

use std::fmt;

use crate::limits::{LINES_MAX, MAX_AGE_S_MAX, PATTERNS_BYTES_MAX, PATTERNS_MAX, POLICY_BYTES_MAX};

/// What a sender does with a server that does not meet the policy (RFC 8461 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Sends nothing to it.
    Enforce,
    /// Sends, and reports.
    Testing,
    /// As if there were no policy.
    None,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub mode: Mode,
    /// Seconds, at most `MAX_AGE_S_MAX`.
    pub max_age_s: u64,
    /// At least one, except of `Mode::None`.
    pub patterns: Vec<Pattern>,
}

/// The name of a server, or `*.` and a name: any server with exactly one label in front of it. In lower case, in A-labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// Why bytes are not a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyFault {
    TooLong,
    /// The line with this number, from 1, is not a key and a value.
    Line(usize),
    Version,
    Mode,
    MaxAge,
    /// The pattern in the line with this number.
    Pattern(usize),
    NoPattern,
    TooManyPatterns,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PolicyFault::TooLong => f.write_str("it is too long"),
            PolicyFault::Line(line) => write!(f, "line {line} is not KEY: VALUE"),
            PolicyFault::Version => f.write_str("its version is not STSv1"),
            PolicyFault::Mode => f.write_str("its mode is not enforce, testing or none"),
            PolicyFault::MaxAge => f.write_str("its max_age is not a number of seconds"),
            PolicyFault::Pattern(line) => write!(f, "line {line} is not the name of a server"),
            PolicyFault::NoPattern => f.write_str("it names no server"),
            PolicyFault::TooManyPatterns => f.write_str("it names too many servers"),
        }
    }
}

impl Mode {
    pub fn of(word: &str) -> Option<Mode> {
        [Mode::Enforce, Mode::Testing, Mode::None]
            .into_iter()
            .find(|mode| mode.word() == word)
    }

    pub fn word(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        }
    }
}

impl Pattern {
    /// `None`: not a name of a host in A-labels, with or without `*.` in front.
    pub fn of(text: &str) -> Option<Pattern> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let is_name = (1..=253).contains(&name.len()) && name.split('.').all(is_label);
        is_name.then(|| Pattern(text.to_ascii_lowercase()))
    }

    /// Whether `host` is a server of this pattern (RFC 8461 §4.1). A dot at its end does not count.
    pub fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self.0.strip_prefix("*.") {
            None => host.eq_ignore_ascii_case(&self.0),
            Some(name) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(name)),
        }
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}

impl Policy {
    /// Reads a policy. Keys that are unknown are passed over; of a key that may be there once the first counts (RFC 8461 §3.2). Blank lines
    /// are passed over too, which is more than the grammar allows: policies are written by hand.
    pub fn parse(bytes: &[u8]) -> Result<Policy, PolicyFault> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyFault::TooLong);
        }
        let (mut version, mut mode, mut max_age) = (None, None, None);
        let (mut patterns, mut patterns_bytes) = (Vec::new(), 0);
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            if number > LINES_MAX {
                return Err(PolicyFault::TooLong);
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = std::str::from_utf8(line).map_err(|_| PolicyFault::Line(number))?;
            if line.trim_matches([' ', '\t']).is_empty() {
                continue;
            }
            let (key, value) = line.split_once(':').ok_or(PolicyFault::Line(number))?;
            if !is_key(key) || value.chars().any(|each| each.is_control() && each != '\t') {
                return Err(PolicyFault::Line(number));
            }
            let value = value.trim_matches([' ', '\t']);
            match key {
                "version" => _ = version.get_or_insert(value),
                "mode" => _ = mode.get_or_insert(value),
                "max_age" => _ = max_age.get_or_insert(value),
                "mx" => {
                    let pattern = Pattern::of(value).ok_or(PolicyFault::Pattern(number))?;
                    patterns_bytes += pattern.0.len();
                    patterns.push(pattern);
                    if patterns.len() > PATTERNS_MAX || patterns_bytes > PATTERNS_BYTES_MAX {
                        return Err(PolicyFault::TooManyPatterns);
                    }
                }
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err(PolicyFault::Version);
        }
        let mode = mode.and_then(Mode::of).ok_or(PolicyFault::Mode)?;
        let max_age_s = max_age.and_then(seconds).ok_or(PolicyFault::MaxAge)?;
        if patterns.is_empty() && mode != Mode::None {
            return Err(PolicyFault::NoPattern);
        }
        Ok(Policy {
            mode,
            max_age_s,
            patterns,
        })
    }

    /// Whether `host` may take the domain's mail.
    pub fn names(&self, host: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(host))
    }

    /// The lines of the policy, without their ends.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            "version: STSv1".to_owned(),
            format!("mode: {}", self.mode.word()),
        ];
        lines.extend(self.patterns.iter().map(|one| format!("mx: {}", one.0)));
        lines.push(format!("max_age: {}", self.max_age_s));
        lines
    }

    /// As it is published; `parse` reads it.
    pub fn text(&self) -> String {
        self.lines()
            .iter()
            .map(|line| format!("{line}\r\n"))
            .collect()
    }
}

fn is_key(key: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    key.len() <= 32
        && key
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && key.bytes().all(is_inner)
}

/// RFC 8461 §3.2: 1 to 10 digits. More than a year counts as a year.
fn seconds(text: &str) -> Option<u64> {
    let is_number =
        (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = text.parse().ok().filter(|_| is_number)?;
    Some(number.min(MAX_AGE_S_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n";

    #[test]
    fn the_policy_of_the_rfc_is_read_and_written_again() {
        let policy = Policy::parse(USUAL.as_bytes()).expect("it is right");
        assert_eq!((policy.mode, policy.max_age_s), (Mode::Enforce, 604_800));
        assert_eq!(policy.text(), USUAL);
        // LF alone, no end at the last line, blanks, a blank line, any order.
        let other = "max_age:604800 \n\nmx:\tMail.Example.com\nmode: enforce\nversion:STSv1\nmx: *.example.net\nmx:backupmx.example.com";
        assert_eq!(Policy::parse(other.as_bytes()), Ok(policy));
    }

    #[test]
    fn the_first_of_several_counts_and_what_is_unknown_is_passed_over() {
        let text = "version: STSv1\nversion: STSv2\nmode: testing\nmode: enforce\nx-new.key_1: \u{fc} : y\nmx: a.example\nmax_age: 86400\nmax_age: 1\n";
        let policy = Policy::parse(text.as_bytes()).expect("it is right");
        assert_eq!((policy.mode, policy.max_age_s), (Mode::Testing, 86_400));
        let none = Policy::parse(b"version: STSv1\nmode: none\nmax_age: 9999999999\n");
        let none = none.expect("it needs no server");
        assert_eq!((none.mode, none.max_age_s), (Mode::None, MAX_AGE_S_MAX));
    }

    #[test]
    fn what_is_no_policy_is_refused_with_its_reason() {
        let with = |from: &str, to: &str| USUAL.replace(from, to);
        for (text, wanted) in [
            (String::new(), PolicyFault::Version),
            (with("STSv1", "STSv2"), PolicyFault::Version),
            (with("version: STSv1\r\n", ""), PolicyFault::Version),
            (with("enforce", "Enforce"), PolicyFault::Mode),
            (with("mode: enforce\r\n", ""), PolicyFault::Mode),
            (with("604800", "-1"), PolicyFault::MaxAge),
            (with("604800", "1.5"), PolicyFault::MaxAge),
            (with("604800", "+1"), PolicyFault::MaxAge),
            (with("604800", "10000000000"), PolicyFault::MaxAge),
            (with("604800", ""), PolicyFault::MaxAge),
            (with("mode:", "mode"), PolicyFault::Line(2)),
            (with("mode:", " mode:"), PolicyFault::Line(2)),
            (with("mode:", ":"), PolicyFault::Line(2)),
            (with("\r\nmode", "\rmode"), PolicyFault::Line(1)),
            (with("enforce", "enforce\0"), PolicyFault::Line(2)),
            (with("*.example", "*example"), PolicyFault::Pattern(4)),
            (with("*.example", "a.*.example"), PolicyFault::Pattern(4)),
            (with("*.example", "*.*.example"), PolicyFault::Pattern(4)),
            (with("*.example.net", "*."), PolicyFault::Pattern(4)),
            (with("*.example.net", "*"), PolicyFault::Pattern(4)),
            (with("*.example.net", ""), PolicyFault::Pattern(4)),
            (
                with("*.example.net", "b\u{fc}.net"),
                PolicyFault::Pattern(4),
            ),
            (
                with("*.example.net", "example.net."),
                PolicyFault::Pattern(4),
            ),
            (with("*.example.net", "a..net"), PolicyFault::Pattern(4)),
            (with("*.example.net", "-a.net"), PolicyFault::Pattern(4)),
            (
                "version: STSv1\nmode: testing\nmax_age: 1\n".to_owned(),
                PolicyFault::NoPattern,
            ),
            (
                USUAL.to_owned() + &"mx: a.example\n".repeat(62),
                PolicyFault::TooManyPatterns,
            ),
            (USUAL.to_owned() + &"\n".repeat(1_000), PolicyFault::TooLong),
            (USUAL.to_owned() + &"x".repeat(65_536), PolicyFault::TooLong),
        ] {
            let found = Policy::parse(text.as_bytes());
            assert_eq!(found, Err(wanted), "{:.200}", text);
        }
        assert_eq!(
            Policy::parse(b"version: STSv1\nx: \xff\n"),
            Err(PolicyFault::Line(2))
        );
        let long = format!("{}.example", "a.".repeat(500));
        assert_eq!(Pattern::of(&long), None);
    }

    #[test]
    fn a_star_is_one_label() {
        for (pattern, host, wanted) in [
            ("mx.example", "mx.example", true),
            ("mx.example", "MX.Example.", true),
            ("mx.example", "a.mx.example", false),
            ("*.example", "mx.example", true),
            ("*.example", "a.mx.example", false),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("*.mx.example", "a.MX.example", true),
            ("mx.example", "", false),
        ] {
            let pattern = Pattern::of(pattern).expect("it is right");
            assert_eq!(pattern.matches(host), wanted, "{pattern:?} {host}");
        }
    }
}
