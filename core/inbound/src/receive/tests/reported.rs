//! Stage 3, for reports: what is found is counted for the domain that asks for it, and what others report is read.

use dns::Table;
use feedback::dmarc::{Published, Row};
use feedback::letter::{Kind, Letter};
use reports::Addition;
use storage::tallies::{DMARC_HEARD, DMARC_SEEN, Tallies};

use super::authentic::{FROM_NET, Story, accepting, tell};
use super::*;

fn reporting(failures: Option<u32>) -> Reporting {
    Reporting {
        tallies: Tallies::default(),
        counts: true,
        failures: failures.map(Failures::new),
    }
}

/// example.net asks for reports of both kinds; the client is its own, or not.
fn asking(table: &Table, is_its_own: bool) {
    accepting(table);
    if !is_its_own {
        table.set_texts("example.net", &["v=spf1 ip4:192.0.2.99 -all"]);
    }
    let record =
        "v=DMARC1; p=reject; sp=none; rua=mailto:a@example.net!1m; ruf=mailto:f@example.net";
    table.set_texts("_dmarc.example.net", &[record]);
}

fn only(waiting: Vec<Addition>) -> Addition {
    let [one] = <[Addition; 1]>::try_from(waiting).expect("one sheet");
    one
}

#[test]
fn what_is_found_is_counted_for_the_domain_whose_record_was_applied() {
    for (is_its_own, enforcement, disposition, reason) in [
        (true, Enforcement::Enforce, "pass", ""),
        (false, Enforcement::Enforce, "reject", ""),
        (false, Enforcement::Report, "none", "local_policy"),
    ] {
        let reporting = reporting(None);
        tell(Story {
            fill: &|table| asking(table, is_its_own),
            enforcement: Some(enforcement),
            contents: vec![FROM_NET.to_owned(), FROM_NET.to_owned()],
            reporting: Some(reporting.clone()),
            ..Story::default()
        });
        let sheet = only(reporting.tallies.waiting());
        assert_eq!(
            (sheet.key.subject, &sheet.key.name[..]),
            (DMARC_SEEN, "example.net")
        );
        let published = Published::decode(&sheet.head).expect("a head");
        assert_eq!(
            (&published.policy[..], &published.subdomains[..]),
            ("reject", "none")
        );
        assert_eq!(published.destinations, "mailto:a@example.net!1m");
        let [(line, count)] = &sheet.lines[..] else {
            panic!("{sheet:?}");
        };
        let row = Row::decode(line).expect("a line");
        assert_eq!(*count, 2);
        assert_eq!(
            (&row.disposition[..], &row.reason[..]),
            (disposition, reason)
        );
        assert_eq!((row.spf_aligned, row.dkim_aligned), (is_its_own, false));
        assert_eq!(row.source, std::net::IpAddr::from([192, 0, 2, 1]));
        assert_eq!(row.header_from, "example.net");
        assert_eq!(row.spf_result, if is_its_own { "pass" } else { "fail" });
    }
}

#[test]
fn a_domain_that_asks_for_nothing_and_a_report_are_not_counted() {
    let reporting = reporting(Some(10));
    tell(Story {
        reporting: Some(reporting.clone()),
        ..Story::default()
    });
    let report = "From: sender@example.net\r\nSubject: Report Domain: example.org Submitter: example.net\r\n\r\n";
    for (is_its_own, counted) in [(true, 0), (false, 1)] {
        tell(Story {
            fill: &|table| asking(table, is_its_own),
            contents: vec![report.to_owned()],
            reporting: Some(reporting.clone()),
            ..Story::default()
        });
        let waiting = reporting.tallies.waiting();
        assert_eq!(waiting.len(), counted, "forged, it is counted: {waiting:?}");
    }
    let failures = reporting.failures.expect("they are on");
    assert_eq!(failures.take(), None, "no report about what looks like one");
}

#[test]
fn failures_wait_for_their_report_and_are_bounded_by_the_hour() {
    let reporting = reporting(Some(2));
    tell(Story {
        fill: &|table| asking(table, false),
        contents: vec![FROM_NET.to_owned(); 4],
        reporting: Some(reporting.clone()),
        ..Story::default()
    });
    let failures = reporting.failures.expect("they are on");
    let (failure, to) = failures.take().expect("the first");
    assert_eq!(to, "mailto:f@example.net");
    assert_eq!(failure.unaligned, ["dkim", "spf"]);
    assert_eq!(failure.spf_domain.as_deref(), Some("example.net"));
    assert!(failure.header.starts_with(b"From: sender@example.net\r\n"));
    assert!(failures.take().is_some());
    assert!(failures.take().is_none(), "two in an hour");
}

#[test]
fn a_report_to_postmaster_is_read_if_its_domain_stands_for_it() {
    let xml = "<feedback><report_metadata><org_name>Net</org_name><report_id>1</report_id></report_metadata><policy_published><domain>example.org</domain></policy_published>\
        <record><row><source_ip>192.0.2.7</source_ip><count>3</count><policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row></record></feedback>";
    let letter = Letter {
        kind: Kind::Dmarc,
        from: "sender@example.net",
        organization: "Net",
        to: "postmaster@example.org",
        domain: "example.org",
        submitter: "example.net",
        id: "1@example.net",
        begin: 0,
        end: 86_400,
        unix_seconds: 90_000,
        mark: 1,
    };
    let raw = letter.write(&feedback::package::gzip(xml.as_bytes()));
    let content = String::from_utf8(raw).expect("ASCII");
    for (is_its_own, to, is_read) in [
        (true, "Postmaster", true),
        (true, "alice", false),
        (false, "postmaster", false),
    ] {
        let reporting = reporting(None);
        tell(Story {
            fill: &|table| asking(table, is_its_own),
            enforcement: Some(Enforcement::Report),
            contents: vec![content.clone()],
            to: ["bob", to],
            reporting: Some(reporting.clone()),
            ..Story::default()
        });
        let mut waiting = reporting.tallies.waiting();
        // A forged one is counted like any other message.
        waiting.retain(|one| one.key.subject != DMARC_SEEN);
        assert_eq!(waiting.len(), usize::from(is_read), "{to}: {waiting:?}");
        if is_read {
            let sheet = only(waiting);
            assert_eq!(
                (sheet.key.subject, &sheet.key.name[..]),
                (DMARC_HEARD, "example.org")
            );
            assert_eq!(sheet.once.as_deref(), Some(&b"=Net\t1"[..]));
            let line = b"192.0.2.7\tnone\tpass\tfail\t".to_vec();
            assert_eq!(sheet.lines, [(line, 3)]);
        }
    }
}
