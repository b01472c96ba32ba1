//! `certificate status` and `certificate renew` in words.

use serde::{Deserialize, Serialize};

use crate::table::table;

/// What listeners show, and how the certificate of an authority is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// The default one first.
    pub certificates: Vec<HeldLine>,
    /// `None`: the settings order none.
    pub acme: Option<AcmeLine>,
}

/// A certificate that listeners show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLine {
    /// Its file, or `acme`.
    pub source: String,
    pub names: Vec<String>,
    /// When the first one of its chain ends, in seconds since 1970.
    pub ends_s: u64,
    /// Whole days left; negative once it is over.
    pub days_left: i64,
}

/// How the order of a certificate is (`[acme]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeLine {
    pub directory: String,
    pub challenge: String,
    pub names: Vec<String>,
    /// An order is being made now.
    pub under_way: bool,
    /// The authority says when to renew.
    pub by_authority: bool,
    /// When the next order is, in seconds since 1970; in the past: now.
    pub next_s: u64,
    /// In a row.
    pub failures: u32,
    /// Why the last order failed.
    pub error: Option<String>,
}

/// For people.
pub(crate) fn show(status: &CertificateStatus) -> String {
    let rows: Vec<Vec<String>> = status
        .certificates
        .iter()
        .map(|line| {
            vec![
                line.source.clone(),
                line.names.join(" "),
                plan::date(line.ends_s),
                line.days_left.to_string(),
            ]
        })
        .collect();
    let mut text = table(&["CERTIFICATE", "NAMES", "UNTIL", "DAYS"], &rows);
    let Some(acme) = &status.acme else {
        return text;
    };
    let when = match (acme.under_way, acme.by_authority) {
        (true, _) => "is under way".to_owned(),
        (false, true) => format!("is on {}, as the authority wants", plan::date(acme.next_s)),
        (false, false) => format!("is on {}", plan::date(acme.next_s)),
    };
    text += &format!(
        "\n\nThe authority {} gives a certificate for {} by {}; the next order {when}.",
        acme.directory,
        acme.names.join(" "),
        acme.challenge
    );
    if let Some(error) = &acme.error {
        text += &format!(
            "\nThe last order failed, {} in a row: {error}",
            acme.failures
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_when_the_next_order_is_and_why_the_last_one_failed() {
        let mut status = CertificateStatus {
            certificates: vec![HeldLine {
                source: "acme".into(),
                names: vec!["mail.example.org".into()],
                ends_s: 1_800_000_000,
                days_left: 40,
            }],
            acme: None,
        };
        assert!(!show(&status).contains("authority"));
        status.acme = Some(AcmeLine {
            directory: "https://ca.example/dir".into(),
            challenge: "http-01".into(),
            names: vec!["mail.example.org".into()],
            under_way: false,
            by_authority: true,
            next_s: 1_790_000_000,
            failures: 2,
            error: Some("no route".into()),
        });
        let text = show(&status);
        for wanted in [
            "acme",
            "as the authority wants",
            "2 in a row: no route",
            &plan::date(1_790_000_000),
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }
}
