//! Doors for `core/fuzz`, no part of the API: reports as strangers write them.

use crate::limits::{LINES_MAX, RECORDS_MAX};
use crate::{Destination, destination, dmarc, heard, letter, package, tls};

/// A report of DMARC, packed or not.
pub fn dmarc_report(bytes: &[u8]) {
    let Some(plain) = package::unpacked(bytes) else {
        return;
    };
    if let Some(read) = dmarc::read(&plain) {
        assert!(!read.domain.is_empty() && read.records.len() <= RECORDS_MAX);
    }
}

/// A report of TLS, packed or not.
pub fn tls_report(bytes: &[u8]) {
    let Some(plain) = package::unpacked(bytes) else {
        return;
    };
    if let Some(read) = tls::read(&plain) {
        assert!(!read.policies.is_empty());
    }
}

/// A message, the records of other domains, and lines of our own.
pub fn message(bytes: &[u8]) {
    for figures in heard::read(bytes) {
        assert!(figures.lines.len() <= LINES_MAX);
    }
    let _ = heard::looks_like_report(bytes);
    let text = String::from_utf8_lossy(bytes);
    for one in Destination::list(&text) {
        assert!(!one.host().is_empty());
    }
    let _ = destination::of_tls_records(&[bytes.to_vec()]);
    if let Some(row) = dmarc::Row::decode(bytes) {
        let _ = dmarc::Row::decode(&row.encode());
    }
    let failure = letter::Failure {
        domain: "example.org".to_owned(),
        header_from: "example.org".to_owned(),
        envelope_from: text.chars().take(100).collect(),
        source: std::net::IpAddr::from([192, 0, 2, 1]),
        arrived: 0,
        results: text.chars().take(500).collect(),
        unaligned: vec!["dkim"],
        disposition: "none",
        signature: None,
        spf_domain: None,
        header: bytes.to_vec(),
    };
    let raw = failure.write(&letter(), false);
    let is_short = |line: &[u8]| line.len() <= 998 + 2;
    assert!(raw.split(|byte| *byte == b'\n').all(is_short));
}

fn letter() -> letter::Letter<'static> {
    letter::Letter {
        kind: letter::Kind::Dmarc,
        from: "a@b.example",
        organization: "B",
        to: "c@d.example",
        domain: "example.org",
        submitter: "b.example",
        id: "1@b.example",
        begin: 0,
        end: 86_400,
        unix_seconds: 0,
        mark: 1,
    }
}

const XML: &str = "<?xml version=\"1.0\"?><feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\"><report_metadata><org_name>A&amp;B</org_name><report_id>1</report_id>\
    <date_range><begin>1</begin><end>2</end></date_range></report_metadata><policy_published><domain>a.example</domain><p>none</p></policy_published>\
    <record><row><source_ip>192.0.2.1</source_ip><count>2</count><policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>\
    <identifiers><header_from>a.example</header_from></identifiers><auth_results/></record></feedback>";
const JSON: &str = "{\"organization-name\":\"A\",\"date-range\":{\"start-datetime\":\"2016-04-01T00:00:00Z\",\"end-datetime\":\"2016-04-01T23:59:59Z\"},\"report-id\":\"1\",\
    \"policies\":[{\"policy\":{\"policy-type\":\"sts\",\"policy-string\":[\"version: STSv1\"],\"policy-domain\":\"a.example\",\"mx-host\":\"*.a.example\"},\
    \"summary\":{\"total-successful-session-count\":5,\"total-failure-session-count\":1},\"failure-details\":[{\"result-type\":\"certificate-expired\",\"failed-session-count\":1}]}]}";

pub fn dmarc_reports() -> Vec<Vec<u8>> {
    vec![XML.as_bytes().to_vec(), package::gzip(XML.as_bytes())]
}

pub fn tls_reports() -> Vec<Vec<u8>> {
    vec![JSON.as_bytes().to_vec(), package::gzip(JSON.as_bytes())]
}

pub fn messages() -> Vec<Vec<u8>> {
    let dmarc = letter().write(&package::gzip(XML.as_bytes()));
    let tls = letter::Letter {
        kind: letter::Kind::Tls,
        ..letter()
    };
    vec![
        dmarc,
        tls.write(&package::gzip(JSON.as_bytes())),
        b"mailto:a@b.example!10m,https://c.example/x".to_vec(),
        b"v=TLSRPTv1; rua=mailto:a@b.example".to_vec(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_what_their_targets_read() {
        for seed in dmarc_reports() {
            let plain = package::unpacked(&seed).expect("packed well");
            assert!(dmarc::read(&plain).is_some());
            dmarc_report(&seed);
        }
        for seed in tls_reports() {
            let plain = package::unpacked(&seed).expect("packed well");
            assert!(tls::read(&plain).is_some());
            tls_report(&seed);
        }
        assert!(
            messages()[..2]
                .iter()
                .all(|raw| heard::read(raw).len() == 1)
        );
        messages().iter().for_each(|raw| message(raw));
    }
}
