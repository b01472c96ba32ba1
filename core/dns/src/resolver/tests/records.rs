//! Records as the zone has them: texts, and the names of an address.

use hickory_proto::rr::rdata::{PTR, TXT};

use super::*;

fn text(strings: &[&str]) -> RData {
    let strings = strings.iter().map(|text| (*text).to_owned());
    RData::TXT(TXT::new(strings.collect()))
}

fn with_records(question: &Message, records: impl IntoIterator<Item = RData>) -> Says {
    wire(answer(question, |message| {
        let owner = question.queries[0].name();
        for data in records {
            message.add_answer(Record::from_rdata(owner.clone(), 300, data));
        }
    }))
}

#[test]
fn texts_are_found_through_an_alias_and_kept() {
    run(async {
        let server = server(|question, _| {
            let name = question.queries[0].name().to_ascii();
            match name.as_str() {
                "_dmarc.example." => wire(answer(question, |message| {
                    let owner = question.queries[0].name().clone();
                    let target = WireName::from_ascii("policy.example.").expect("a name");
                    let data = RData::CNAME(CNAME(target));
                    message.add_answer(Record::from_rdata(owner, 300, data));
                })),
                "policy.example." => {
                    with_records(question, [text(&["v=DMARC1;", " p=none"]), text(&["x"])])
                }
                _ => code(question, ResponseCode::NXDomain),
            }
        });
        let names = resolver(&[&server]);
        let both = Ok(vec![b"v=DMARC1; p=none".to_vec(), b"x".to_vec()]);
        assert_eq!(names.texts("_dmarc.Example").await, both);
        assert_eq!(names.texts("_DMARC.example.").await, both);
        assert_eq!(server.questions(), 2, "the second time it was known");
        let absent = Err(NameFault::NoSuchDomain);
        assert_eq!(names.texts("other.example").await, absent);
        assert_eq!(names.texts("other.example").await, absent);
        // Without a time in the answer it is kept for a moment.
        assert_eq!(server.questions(), 3);
    });
}

#[test]
fn a_name_without_records_a_name_that_is_not_there_and_one_unknown_differ() {
    run(async {
        let server = server(
            |question, _| match question.queries[0].name().to_ascii().as_str() {
                "bare.example." => wire(answer(question, |_| {})),
                "absent.example." => code(question, ResponseCode::NXDomain),
                _ => code(question, ResponseCode::ServFail),
            },
        );
        let names = resolver(&[&server]);
        for kind in [Kind::Txt, Kind::A, Kind::Mx] {
            assert_eq!(names.records("bare.example", kind).await, Ok(Vec::new()));
            let absent = names.records("absent.example", kind).await;
            assert_eq!(absent, Err(NameFault::NoSuchDomain));
            let why = unavailable(names.records("failing.example", kind).await);
            assert!(why.contains("SERVFAIL"), "{why}");
        }
        // Each kind is kept by itself.
        assert_eq!(server.questions(), 9);
        assert_eq!(names.records("bare.example", Kind::A).await, Ok(Vec::new()));
        assert_eq!(server.questions(), 9);
    });
}

#[test]
fn more_records_than_are_taken_count_as_unknown_and_names_are_cut() {
    run(async {
        let server = server(|question, by| {
            if by == By::Udp {
                let truncated = answer(question, |message| message.metadata.truncation = true);
                return wire(truncated);
            }
            match kind(question) {
                RecordType::PTR => {
                    let name =
                        |at| WireName::from_ascii(format!("h{at}.example.")).expect("a name");
                    with_records(question, (0..200).map(|at| RData::PTR(PTR(name(at)))))
                }
                _ if question.queries[0].name().to_ascii().starts_with("long") => {
                    let part = "x".repeat(255);
                    let record = text(&[part.as_str(); 33]);
                    with_records(question, [record.clone(), record])
                }
                _ => with_records(question, (0..=RECORDS_MAX).map(|_| text(&["x"]))),
            }
        });
        let names = resolver(&[&server]);
        for name in ["many.example", "long.example"] {
            unavailable(names.texts(name).await);
        }
        let address = "2001:db8::1".parse().expect("an address");
        let found = names.names_of(address).await.expect("names");
        assert_eq!(found.len(), NAMES_MAX);
        assert_eq!(found[0], "h0.example");
        let asked = server.asked().pop().expect("a question");
        assert!(asked.0.ends_with(".8.b.d.0.1.0.0.2.ip6.arpa."), "{asked:?}");
    });
}

#[test]
fn labels_that_no_host_has_are_asked_for_and_what_fits_no_zone_is_not() {
    run(async {
        let server = server(|question, _| code(question, ResponseCode::NXDomain));
        let names = resolver(&[&server]);
        let absent = Err(NameFault::NoSuchDomain);
        for name in [
            "a..example",
            "a b.example",
            "",
            "x.onion",
            "_dmarc.localhost",
        ] {
            assert_eq!(names.texts(name).await, absent, "{name}");
        }
        assert_eq!(server.questions(), 0);
        for name in ["a+b=c._spf.example", "*.example", "\\.example", "-a.1"] {
            assert_eq!(names.texts(name).await, absent, "{name}");
        }
        assert_eq!(server.questions(), 4);
    });
}
