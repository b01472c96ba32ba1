//! The DNS records of a domain, for people: a piece of a zone file.

use crate::dns_records::{DomainCheck, DomainDns, Verdict};
use crate::table::table;

pub fn show(dns: &DomainDns) -> String {
    let mut text = format!("; {} on {}\n", dns.domain, dns.host);
    for record in &dns.records {
        text.push_str(&format!("\n; {}\n", record.why));
        // Its zone is another one: its owner is the owner of the address.
        let remark = if record.kind == "PTR" { "; " } else { "" };
        text.push_str(&format!("{remark}{}\n", record.zone));
    }
    for note in &dns.notes {
        text.push_str(&format!("\n; NOTE: {note}\n"));
    }
    text.trim_end().to_owned()
}

pub fn check(check: &DomainCheck) -> String {
    let row = |line: &crate::dns_records::CheckLine| {
        vec![
            line.verdict.name().to_owned(),
            line.kind.clone(),
            line.name.clone(),
            line.why.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = check.lines.iter().map(row).collect();
    let mut text = table(&["VERDICT", "TYPE", "NAME", "WHY"], &rows);
    let right = check
        .lines
        .iter()
        .filter(|line| line.verdict == Verdict::Right);
    let (right, all) = (right.count(), check.lines.len());
    text.push_str(&format!(
        "{right} of {all} right; `domain dns {}` shows what to publish",
        check.domain
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns_records::{CheckLine, DnsRecord};

    #[test]
    fn a_check_is_one_line_for_each_record() {
        let line = |verdict, why: &str| CheckLine {
            name: "example.org".into(),
            kind: "MX".into(),
            verdict,
            why: why.into(),
        };
        let text = check(&DomainCheck {
            domain: "example.org".into(),
            lines: vec![
                line(Verdict::Right, "so"),
                line(Verdict::Unknown, "no answer"),
            ],
            right: false,
        });
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(
            text.contains("unknown") && text.contains("no answer"),
            "{text}"
        );
        assert!(text.ends_with("1 of 2 right; `domain dns example.org` shows what to publish"));
    }

    #[test]
    fn each_record_has_its_reason_above_it_and_all_of_it_is_a_zone_file() {
        let record = |kind: &str, zone: &str| DnsRecord {
            name: "x".into(),
            kind: kind.into(),
            value: "y".into(),
            zone: zone.into(),
            why: format!("why {kind}"),
            optional: false,
        };
        let shown = show(&DomainDns {
            domain: "example.org".into(),
            host: "mx.example.org".into(),
            records: vec![
                record("MX", "x. IN MX 10 y."),
                record("PTR", "z. IN PTR y."),
            ],
            notes: vec!["one thing".into()],
        });
        let expected = "; example.org on mx.example.org\n\n; why MX\nx. IN MX 10 y.\n\n; why PTR\n; z. IN PTR y.\n\n; NOTE: one thing";
        assert_eq!(shown, expected);
    }
}
