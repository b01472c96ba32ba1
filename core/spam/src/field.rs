//! The judgement as one header field that a person can read:
//! `X-Ringpost-Spam: yes, 7.2 of 5.0 (DMARC fails 2.5; only an image 1.2; words of this domain's junk 3.5)`.

use std::fmt::Write as _;

use crate::{Class, Judgement, Points};

/// Where `auth::header::forged` removes a field of a stranger, it has the same name in lower case.
pub const FIELD: &str = "X-Ringpost-Spam";

/// The field with its line ends, a reason on each line. Every word is ours; `limits::REASONS_MAX` bounds it to 1,500 bytes.
pub fn field(judgement: &Judgement, junk: Points) -> String {
    let word = match judgement.class(junk) {
        Class::Ham => "no",
        Class::Unsure => "unsure",
        Class::Spam => "yes",
    };
    let mut out = format!("{FIELD}: {word}, {} of {junk}", judgement.score);
    for (index, (reason, points)) in judgement.reasons.iter().enumerate() {
        let before = if index == 0 { "\r\n\t(" } else { ";\r\n\t" };
        // Writing to a string cannot fail.
        let _ = write!(out, "{before}{} {points}", reason.text());
    }
    if !judgement.reasons.is_empty() {
        out.push(')');
    }
    out.push_str("\r\n");
    out
}
