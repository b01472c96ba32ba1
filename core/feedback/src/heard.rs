//! A message to an address for reports: is it one, of which kind, and the figures that are kept of it.

use std::collections::BTreeMap;

use mail_parser::{MessageParser, MimeHeaders, PartType};

use crate::limits::{LINES_MAX, MESSAGE_BYTES_MAX, PARTS_MAX, UNPACKED_MAX};
use crate::{dmarc, package, tls};

/// The figures of one report about one domain.
/// `mark` is what keeps a report that comes twice from being counted twice: senders repeat one when they saw no answer in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    pub kind: Kind,
    pub domain: String,
    /// What makes the report unlike others: its reporter and its id.
    pub mark: String,
    /// When what it is about began, in seconds since 1970.
    pub begin: u64,
    /// How often each was seen; the last may stand for several.
    pub lines: Vec<(String, u64)>,
    /// What is beyond `limits::LINES_MAX`.
    pub other: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Dmarc,
    Tls,
}

/// What a message looks like from its header: reports are not reported on, so that two reporters do not keep each other busy.
pub fn looks_like_report(header: &[u8]) -> bool {
    let value = |name: &[u8]| {
        let mut fields = mail::header::fields(header);
        let field = fields.find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| String::from_utf8_lossy(field.value).to_lowercase())
    };
    let subject = value(b"subject").unwrap_or_default();
    let media_type = value(b"content-type").unwrap_or_default();
    let is_aggregate = subject.trim_start().starts_with("report domain:");
    let is_failure = media_type.contains("multipart/report")
        && (media_type.contains("feedback-report") || media_type.contains("tlsrpt"));
    is_aggregate || is_failure
}

/// The figures of the report in a message; empty where there is none. One of TLS may be about several domains.
pub fn read(raw: &[u8]) -> Vec<Figures> {
    // Ordinary mail to postmaster is no fault of anybody's: whatever is not a report is not counted, and is delivered as it came.
    if raw.len() > MESSAGE_BYTES_MAX {
        return Vec::new();
    }
    let Some(message) = MessageParser::default().parse(raw) else {
        return Vec::new();
    };
    let mut unpacked = 0;
    for part in message.parts.iter().take(PARTS_MAX) {
        let name = part.attachment_name().unwrap_or_default().to_lowercase();
        let media_type = part.content_type();
        let is = |kind: &str| {
            media_type.is_some_and(|of| {
                let sub = of.subtype().unwrap_or_default();
                format!("{}/{sub}", of.ctype()).eq_ignore_ascii_case(kind)
            })
        };
        let bytes = match &part.body {
            PartType::Binary(bytes) | PartType::InlineBinary(bytes) => &bytes[..],
            PartType::Text(text) => text.as_bytes(),
            _ => continue,
        };
        let is_tls = is("application/tlsrpt+gzip")
            || is("application/tlsrpt+json")
            || [".json", ".json.gz"].iter().any(|end| name.ends_with(end));
        let is_dmarc = [
            "application/gzip",
            "application/x-gzip",
            "application/zip",
            "application/x-zip-compressed",
            "text/xml",
            "application/xml",
        ]
        .iter()
        .any(|kind| is(kind))
            || [".xml", ".xml.gz", ".zip"]
                .iter()
                .any(|end| name.ends_with(end));
        if !is_tls && !is_dmarc {
            continue;
        }
        // Each part that looks like a report may be a bomb, so their number is bounded, and not only the size of one.
        unpacked += 1;
        if unpacked > UNPACKED_MAX {
            break;
        }
        let Some(plain) = package::unpacked(bytes) else {
            continue;
        };
        let figures = match is_tls {
            true => tls::read(&plain).map(of_tls).unwrap_or_default(),
            false => dmarc::read(&plain).map(of_dmarc).into_iter().collect(),
        };
        if !figures.is_empty() {
            return figures;
        }
    }
    Vec::new()
}

fn of_dmarc(feedback: dmarc::Feedback) -> Figures {
    let result = |is: bool| if is { "pass" } else { "fail" };
    let each = feedback.records.iter().map(|record| {
        let source = record
            .source
            .map_or(String::new(), |source| source.to_string());
        let line = [
            source.as_str(),
            &record.disposition,
            result(record.dkim_aligned),
            result(record.spf_aligned),
            &record.header_from,
        ];
        (line.join("\t"), record.count)
    });
    let (lines, other) = summed(each);
    Figures {
        kind: Kind::Dmarc,
        mark: format!("{}\t{}", feedback.organization, feedback.id),
        domain: feedback.domain,
        begin: feedback.begin,
        lines,
        other: feedback.other.saturating_add(other),
    }
}

fn of_tls(heard: tls::Heard) -> Vec<Figures> {
    let mut all: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for policy in heard.policies {
        let lines = all.entry(policy.domain).or_default();
        let word = &policy.policy;
        let details = policy.failures.iter();
        let named = details.fold(0u64, |sum, (_, _, count)| sum.saturating_add(*count));
        lines.push((format!("{word}\tsuccess\t"), policy.successful));
        for (result, host, count) in &policy.failures {
            lines.push((format!("{word}\t{result}\t{host}"), *count));
        }
        // A reporter may count more failures than it details, or fewer: the difference is a line of its own, and never below zero.
        // Failures without details.
        lines.push((
            format!("{word}\tfailure\t"),
            policy.failed.saturating_sub(named),
        ));
    }
    let each = all.into_iter().map(|(domain, lines)| {
        let (lines, other) = summed(lines.into_iter().filter(|(_, count)| *count > 0));
        Figures {
            kind: Kind::Tls,
            domain,
            mark: format!("{}\t{}", heard.organization, heard.id),
            begin: heard.begin,
            lines,
            other,
        }
    });
    each.collect()
}

/// The same lines once; the rest of too many as a sum.
fn summed(each: impl Iterator<Item = (String, u64)>) -> (Vec<(String, u64)>, u64) {
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    let mut other = 0u64;
    for (line, count) in each {
        // A line that is there already still counts: the bound is on memory, and the sums should be as right as they can be within it.
        if lines.len() >= LINES_MAX && !lines.contains_key(&line) {
            other = other.saturating_add(count);
            continue;
        }
        let there = lines.entry(line).or_default();
        *there = there.saturating_add(count);
    }
    (lines.into_iter().collect(), other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letter;

    #[test]
    fn a_report_that_is_sent_can_be_heard() {
        let packed = package::gzip(dmarc::tests::xml().as_bytes());
        let raw = letter::tests::letter(letter::Kind::Dmarc).write(&packed);
        assert!(looks_like_report(&raw));
        let [figures] = &read(&raw)[..] else {
            panic!("one report");
        };
        assert_eq!(figures.kind, Kind::Dmarc);
        assert_eq!(figures.domain, "example.org");
        assert_eq!(figures.mark, "Here & There\t1.example.org@here.example");
        let failed = "192.0.2.1\treject\tfail\tfail\tnews.example.org".to_owned();
        assert!(figures.lines.contains(&(failed, 3)), "{figures:?}");

        let packed = package::gzip(tls::tests::json().as_bytes());
        let raw = letter::tests::letter(letter::Kind::Tls).write(&packed);
        assert!(looks_like_report(&raw));
        let [figures] = &read(&raw)[..] else {
            panic!("one report");
        };
        assert_eq!(
            (figures.kind, &figures.domain[..]),
            (Kind::Tls, "example.net")
        );
        assert!(figures.lines.contains(&("sts\tsuccess\t".to_owned(), 40)));
        let failed = "sts\tcertificate-expired\tmx.example.net".to_owned();
        assert!(figures.lines.contains(&(failed, 3)), "{figures:?}");
    }

    /// Each of sixty parts may unpack to eight MiB.
    #[test]
    fn a_message_is_unpacked_a_few_times_only() {
        let part = |xml: &str| {
            let head = "--b\r\nContent-Type: text/xml\r\n\r\n";
            format!("{head}{xml}\r\n")
        };
        let xml = dmarc::tests::xml();
        for (before, is_read) in [(UNPACKED_MAX - 1, true), (UNPACKED_MAX, false)] {
            let parts = part("<html/>").repeat(before) + &part(&xml);
            let raw = format!(
                "From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n"
            );
            assert_eq!(read(raw.as_bytes()).len(), usize::from(is_read), "{before}");
        }
    }

    #[test]
    fn other_mail_is_not_a_report() {
        let raw = b"From: a@b.example\r\nSubject: Report about my holidays\r\nContent-Type: text/plain\r\n\r\n<feedback>";
        assert!(read(raw).is_empty() && !looks_like_report(raw));
        assert!(read(b"").is_empty());
        assert!(read(&vec![b'x'; MESSAGE_BYTES_MAX + 1]).is_empty());
        let failure =
            letter::tests::failure().write(&letter::tests::letter(letter::Kind::Dmarc), true);
        assert!(looks_like_report(&failure) && read(&failure).is_empty());
    }
}
