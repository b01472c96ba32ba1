//! The text of an Authentication-Results field (RFC 8601 §2.2).
//!
//! What must hold: nothing of a stranger ends a line, a quote or a comment; no line is longer than RFC 5322 §2.1.1 allows.

use std::fmt::Write as _;

use crate::dmarc::Disposition;
use crate::{Envelope, Found, Outcome, Verdict};

pub(crate) fn field(verdict: &Verdict, hostname: &str, envelope: &Envelope) -> String {
    let mut out = format!("Authentication-Results: {hostname}");
    put(&mut out, "spf", verdict.spf.found);
    // The identity that SPF was asked about: with the null sender it is the name in EHLO (RFC 7208 §2.4).
    match envelope.mail_from {
        "" => property(&mut out, "smtp.helo", envelope.helo),
        from => property(&mut out, "smtp.mailfrom", from),
    }
    for signature in &verdict.signatures.dkim {
        put(&mut out, "dkim", signature.found);
        for (name, value) in [
            ("header.d", signature.domain.as_str()),
            ("header.s", &signature.selector),
            ("header.a", signature.algorithm),
            ("header.b", &signature.begins),
        ] {
            property(&mut out, name, value);
        }
    }
    match verdict.signatures.left_out {
        // Said also when there is nothing: without it a reader cannot tell whether it was looked at.
        0 if verdict.signatures.dkim.is_empty() => out.push_str(";\r\n\tdkim=none"),
        0 => {}
        left_out => {
            let _ = write!(
                out,
                ";\r\n\tdkim=policy ({left_out} more signatures not checked)"
            );
        }
    }
    let arc = &verdict.signatures.arc;
    if arc.found.outcome != Outcome::None {
        put(&mut out, "arc", arc.found);
    }
    let dmarc = &verdict.dmarc;
    put(&mut out, "dmarc", dmarc.found);
    if matches!(dmarc.found.outcome, Outcome::Pass | Outcome::Fail) {
        let disposition = match dmarc.disposition {
            Disposition::Deliver => "none",
            Disposition::Quarantine => "quarantine",
            Disposition::Reject => "reject",
        };
        let _ = write!(out, " (p={} dis={disposition})", dmarc.policy.word());
    }
    property(&mut out, "header.from", &dmarc.domain);
    out.push_str("\r\n");
    out
}

fn put(out: &mut String, method: &str, found: Found) {
    // Writing to a string cannot fail.
    let _ = write!(out, ";\r\n\t{method}={}", found.outcome.word());
    if !found.why.is_empty() {
        let _ = write!(out, " ({})", found.why);
    }
}

/// A property with a value of a stranger: as it is where it is a token or an address, else in quotes; cut where it is too long.
fn property(out: &mut String, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    // Each property on a line of its own, so that the longest value that is allowed still fits the line.
    let _ = write!(out, "\r\n\t {name}=");
    let cut = value
        .char_indices()
        .nth(VALUE_CHARS_MAX)
        .map_or(value.len(), |(at, _)| at);
    let value = &value[..cut];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-./=?^_`{|}~@".contains(&byte);
    if value.bytes().all(plain) {
        out.push_str(value);
        return;
    }
    out.push('"');
    for char in value.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            char if char.is_control() => out.push('?'),
            char => out.push(char),
        }
    }
    out.push('"');
}

/// Every one may take two bytes, or four of UTF-8.
const VALUE_CHARS_MAX: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> String {
        let mut out = String::new();
        property(&mut out, "x", value);
        out
    }

    #[test]
    fn a_value_ends_neither_its_quotes_nor_its_line() {
        assert_eq!(of("a.b+c@d.example"), "\r\n\t x=a.b+c@d.example");
        assert_eq!(of("a; dmarc=pass"), "\r\n\t x=\"a; dmarc=pass\"");
        assert_eq!(of("a\"\\b\r\nc"), "\r\n\t x=\"a\\\"\\\\b??c\"");
        assert_eq!(of("(a"), "\r\n\t x=\"(a\"");
        assert_eq!(of("ü@example"), "\r\n\t x=\"ü@example\"");
        assert_eq!(of(""), "");
        for long in [
            "a".repeat(5_000),
            "\"".repeat(5_000),
            "\u{1f600}".repeat(5_000),
        ] {
            let line = of(&long);
            assert!(line.len() - 2 <= 998, "{}", line.len());
        }
    }
}
