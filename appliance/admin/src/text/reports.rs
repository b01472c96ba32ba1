//! Reports between domains, for people.

use crate::reply::{ReportDay, ReportDetail, ReportSent, ReportSummary};
use crate::table::{dash, table};

pub fn list(all: &[ReportSummary]) -> String {
    if all.is_empty() {
        return "nothing was reported, and nothing is counted".to_owned();
    }
    let rows = all.iter().map(|one| {
        vec![
            one.domain.clone(),
            about(&one.kind, one.received).to_owned(),
            one.days.to_string(),
            one.reports.to_string(),
            one.passed.to_string(),
            one.failed.to_string(),
            one.last.clone(),
        ]
    });
    let head = [
        "DOMAIN", "ABOUT", "DAYS", "REPORTS", "PASSED", "FAILED", "LAST DAY",
    ];
    table(&head, &rows.collect::<Vec<_>>())
}

pub fn show(detail: &ReportDetail) -> String {
    let days: Vec<String> = detail.days.iter().map(day).collect();
    days.join("\n")
}

fn day(day: &ReportDay) -> String {
    let about = about(&day.kind, day.received);
    let sent = if day.sent { ", reported" } else { "" };
    let mut text = format!(
        "{}: {about}{sent}; {} passed, {} failed",
        day.day, day.passed, day.failed
    );
    // Bounded tables leave something out on bad days. The sums above have it all the same.
    if day.other > 0 {
        text.push_str(&format!(", {} without details", day.other));
    }
    text.push('\n');
    for report in &day.reports {
        text.push_str(&format!("  report of {report}\n"));
    }
    let rows = day.lines.iter().map(|line| {
        let words = line.fields.iter().filter(|field| !field.is_empty());
        let words: Vec<&str> = words.map(String::as_str).collect();
        vec![
            line.count.to_string(),
            if line.passed { "passed" } else { "failed" }.to_owned(),
            words.join(" "),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if !rows.is_empty() {
        text.push_str(&table(&["COUNT", "RESULT", "DETAILS"], &rows));
    }
    text
}

pub fn sent(all: &[ReportSent]) -> String {
    if all.is_empty() {
        return "nothing is counted that was not reported yet".to_owned();
    }
    let rows = all.iter().map(|one| {
        vec![
            one.domain.clone(),
            one.kind.clone(),
            one.day.clone(),
            dash(&one.to.join(" ")),
            one.why.clone(),
        ]
    });
    table(
        &["DOMAIN", "ABOUT", "DAY", "SENT TO", "REMARK"],
        &rows.collect::<Vec<_>>(),
    )
}

fn about(kind: &str, received: bool) -> &'static str {
    match (kind, received) {
        ("dmarc", true) => "our mail elsewhere",
        ("dmarc", false) => "its mail here",
        (_, true) => "TLS to our servers",
        (_, false) => "TLS to its servers",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::ReportLine;

    #[test]
    fn reports_are_tables_with_whose_mail_it_is() {
        let summary = ReportSummary {
            domain: "example.org".into(),
            received: true,
            kind: "dmarc".into(),
            days: 2,
            reports: 3,
            passed: 40,
            failed: 1,
            last: "2026-11-30".into(),
        };
        let text = list(&[summary]);
        assert!(
            text.contains("example.org  our mail elsewhere  2     3        40      1"),
            "{text}"
        );
        let detail = ReportDetail {
            domain: "example.org".into(),
            days: vec![ReportDay {
                day: "2026-11-30".into(),
                kind: "tls".into(),
                received: false,
                sent: true,
                reports: Vec::new(),
                passed: 0,
                failed: 2,
                other: 5,
                lines: vec![ReportLine {
                    count: 2,
                    passed: false,
                    fields: vec!["sts".into(), "certificate-expired".into(), String::new()],
                }],
            }],
        };
        let text = show(&detail);
        assert!(
            text.starts_with(
                "2026-11-30: TLS to its servers, reported; 0 passed, 2 failed, 5 without details\n"
            ),
            "{text}"
        );
        assert!(
            text.contains("2      failed  sts certificate-expired"),
            "{text}"
        );
        let sent = sent(&[ReportSent {
            kind: "dmarc".into(),
            day: "2026-11-30".into(),
            domain: "example.org".into(),
            to: vec!["mailto:a@b.example".into()],
            why: String::new(),
        }]);
        assert!(sent.contains("mailto:a@b.example"), "{sent}");
        assert!(list(&[]).contains("nothing"));
    }
}
