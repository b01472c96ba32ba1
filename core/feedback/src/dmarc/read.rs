//! An aggregate report as it comes in: read event by event, with bounds on depth, texts and records. Reports of the old schema (RFC 7489) and of
//! the new one are read alike; the order of elements does not matter, and extensions are passed over.

use std::net::IpAddr;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;

use crate::limits::{DEPTH_MAX, RECORDS_MAX, TEXT_BYTES_MAX};
use crate::text::{clean, domain};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Feedback {
    pub organization: String,
    pub id: String,
    /// The domain whose policy it is about.
    pub domain: String,
    pub begin: u64,
    pub end: u64,
    /// At most `limits::RECORDS_MAX`.
    pub records: Vec<Record>,
    /// Messages of the records beyond.
    pub other: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    pub source: Option<IpAddr>,
    pub count: u64,
    pub disposition: String,
    pub dkim_aligned: bool,
    pub spf_aligned: bool,
    pub header_from: String,
}

/// `None`: it is not a report, or one that names no domain.
pub fn read(xml: &[u8]) -> Option<Feedback> {
    let xml = std::str::from_utf8(xml).ok()?;
    let mut reader = Reader::from_str(xml);
    let mut feedback = Feedback::default();
    let mut record = Record::default();
    // The names of the open elements.
    let mut path: Vec<String> = Vec::new();
    let mut text = String::new();
    let mut is_feedback = false;
    loop {
        // until the document ends; each event takes bytes of it
        match reader.read_event().ok()? {
            Event::Start(start) => {
                if path.len() >= DEPTH_MAX {
                    return None;
                }
                path.push(name_of(start.local_name().as_ref()));
                is_feedback |= path.len() == 1 && path[0] == "feedback";
                if !is_feedback {
                    return None;
                }
                text.clear();
                if path.len() == 2 && path[1] == "record" {
                    record = Record::default();
                }
            }
            Event::Text(some) => put(&mut text, &some.into_inner()),
            Event::CData(some) => put(&mut text, &some.into_inner()),
            Event::GeneralRef(some) => {
                let of_number = some.resolve_char_ref().ok()?;
                match of_number {
                    Some(letter) => put(&mut text, letter.encode_utf8(&mut [0; 4])),
                    // What a document type defines is not known here, and never expanded.
                    None => put(&mut text, resolve_xml_entity(&some.into_inner())?),
                }
            }
            Event::End(_) => {
                let names: Vec<&str> = path.iter().map(String::as_str).collect();
                take(&mut feedback, &mut record, &names, &text)?;
                if names == ["feedback", "record"] {
                    keep(&mut feedback, std::mem::take(&mut record));
                }
                text.clear();
                path.pop()?;
            }
            Event::Eof => break,
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::DocType(_) => return None,
        }
    }
    (is_feedback && path.is_empty() && !feedback.domain.is_empty()).then_some(feedback)
}

/// The element that ends. `None`: what it says makes no sense.
fn take(feedback: &mut Feedback, record: &mut Record, path: &[&str], text: &str) -> Option<()> {
    let text = text.trim();
    match path {
        ["feedback", "report_metadata", "org_name"] => feedback.organization = clean(text),
        ["feedback", "report_metadata", "report_id"] => feedback.id = clean(text),
        ["feedback", "report_metadata", "date_range", "begin"] => {
            feedback.begin = text.parse().ok()?
        }
        ["feedback", "report_metadata", "date_range", "end"] => feedback.end = text.parse().ok()?,
        ["feedback", "policy_published", "domain"] => feedback.domain = domain(text)?,
        ["feedback", "record", "row", "source_ip"] => record.source = Some(text.parse().ok()?),
        ["feedback", "record", "row", "count"] => record.count = text.parse().ok()?,
        ["feedback", "record", "row", "policy_evaluated", result] => match *result {
            "disposition" => record.disposition = word(text),
            "dkim" => record.dkim_aligned = text.eq_ignore_ascii_case("pass"),
            "spf" => record.spf_aligned = text.eq_ignore_ascii_case("pass"),
            _ => {}
        },
        ["feedback", "record", "identifiers", "header_from"] => {
            record.header_from = domain(text).unwrap_or_default();
        }
        _ => {}
    }
    Some(())
}

fn keep(feedback: &mut Feedback, record: Record) {
    match feedback.records.len() < RECORDS_MAX {
        true => feedback.records.push(record),
        false => feedback.other = feedback.other.saturating_add(record.count),
    }
}

fn name_of(name: &str) -> String {
    name.chars().take(32).collect()
}

/// What is done with mail, in one of the words of the schema.
fn word(text: &str) -> String {
    let words = ["none", "pass", "quarantine", "reject"];
    let found = words.iter().find(|word| word.eq_ignore_ascii_case(text));
    found.map_or("other", |word| word).to_owned()
}

/// Of long texts the beginning is enough.
fn put(text: &mut String, more: &str) {
    let room = (2 * TEXT_BYTES_MAX).saturating_sub(text.len());
    let mut end = room.min(more.len());
    while !more.is_char_boundary(end) {
        end -= 1;
    }
    text.push_str(&more[..end]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_can_be_read() {
        let read = read(crate::dmarc::tests::xml().as_bytes()).expect("ours");
        assert_eq!(read.organization, "Here & There");
        assert_eq!(read.id, "1.example.org@here.example");
        assert_eq!((read.begin, read.end), (1_700_000_000, 1_700_086_400));
        assert_eq!(read.domain, "example.org");
        let [one, two] = &read.records[..] else {
            panic!("{read:?}");
        };
        assert_eq!((one.count, &one.disposition[..]), (3, "reject"));
        assert!(!one.dkim_aligned && two.dkim_aligned);
        assert_eq!(one.source, Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!(one.header_from, "news.example.org");
    }

    #[test]
    fn prefixes_old_schemas_and_extensions_do_not_matter() {
        let xml = "<?xml version='1.0'?><!-- x --><d:feedback xmlns:d='urn:x'><d:policy_published><d:domain>A.example</d:domain><d:pct>100</d:pct></d:policy_published>\
            <d:extension><x:y xmlns:x='urn:z'><x:w>&#65;&lt;</x:w></x:y></d:extension>\
            <d:record><d:row><d:source_ip> 2001:db8::1 </d:source_ip><d:count>2</d:count><d:policy_evaluated><d:spf>pass</d:spf><d:disposition>strange</d:disposition></d:policy_evaluated></d:row></d:record></d:feedback>";
        let read = read(xml.as_bytes()).expect("a report");
        assert_eq!(read.domain, "a.example");
        assert_eq!(read.records[0].count, 2);
        assert!(read.records[0].spf_aligned);
        assert_eq!(read.records[0].disposition, "other");
    }

    #[test]
    fn what_is_not_a_report_or_past_a_bound_is_refused() {
        let deep = format!("<feedback>{}", "<a>".repeat(DEPTH_MAX));
        let about = "<policy_published><domain>a.example</domain></policy_published>";
        for bad in [
            "",
            "hello",
            "<html></html>",
            "<feedback></feedback>",
            "<feedback><policy_published><domain>a/b</domain></policy_published></feedback>",
            "<!DOCTYPE feedback [<!ENTITY a 'aaaa'>]><feedback><policy_published><domain>&a;</domain></policy_published></feedback>",
            &deep,
            &format!("<feedback>{about}"),
            &format!("<feedback>{about}&unknown;</feedback>"),
            &format!("<feedback>{about}<record><row><count>-1</count></row></record></feedback>"),
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
        let record = "<record><row><count>1</count></row></record>";
        let many = format!(
            "<feedback>{about}{}</feedback>",
            record.repeat(RECORDS_MAX + 3)
        );
        let read = read(many.as_bytes()).expect("a report");
        assert_eq!((read.records.len(), read.other), (RECORDS_MAX, 3));
    }
}
