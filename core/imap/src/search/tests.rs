use super::*;

/// When the searches are made.
const NOW: i64 = 86_400 * 100 + 40;

const RAW: &[u8] = b"From: Ann <ann@example.org>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from Bonn\r\nX-Tag: blue\r\n\
    Date: Tue, 1 Jul 2003 23:52:37 -0900\r\n\r\nThe quick\r\nbrown fox\r\n";

fn verdicts(key: &SearchKey) -> [Verdict; 3] {
    let flags = Flags {
        system: SystemFlags::SEEN,
        keywords: vec![mail::Keyword::parse("$Work").unwrap()],
    };
    let date = InternalDate {
        unix_seconds: 86_400 * 100 - 60,
        zone_minutes: 120,
    };
    let row = Row {
        number: 2,
        uid: 7,
        flags: &flags,
        recent: false,
        internal_date: date,
        size_bytes: 100,
        modseq: ModSeq(50),
        email_id: crate::object::EmailId::of(&[7; 32], InternalDate::utc(0)),
        saved_s: 0,
    };
    let summary = Summary::of(RAW);
    let matcher = Matcher::new(key, 3, 9, &[(7, 8)], NOW);
    [
        matcher.verdict(row, Content::default()),
        matcher.verdict(
            row,
            Content {
                summary: Some(&summary),
                body: None,
            },
        ),
        matcher.verdict(
            row,
            Content {
                summary: Some(&summary),
                body: Some(RAW),
            },
        ),
    ]
}

fn header(name: &str, text: &str) -> SearchKey {
    SearchKey::Header {
        name: name.into(),
        text: text.into(),
    }
}

fn envelope(word: &str, text: &str) -> SearchKey {
    let (_, field) = EnvelopeField::ALL
        .into_iter()
        .find(|(known, _)| *known == word)
        .unwrap();
    SearchKey::Envelope {
        field,
        text: text.into(),
    }
}

use Verdict::*;

/// RFC 9051 §6.4.4: FROM, TO, CC, BCC and SUBJECT look into the envelope (I4).
#[test]
fn envelope_keys_see_the_envelope_and_not_the_field() {
    let raw = b"From: =?utf-8?q?J=C3=BCrgen?= (home) <a @\r\n b.test>\r\nTo: g: x (y) @ z.test,\r\n \"Last, First\" <l@m.test>;\r\n\
        Subject: one\r\nSubject: two\r\n\r\n";
    let summary = Summary::of(raw);
    let flags = Flags::default();
    let row = Row {
        number: 1,
        uid: 1,
        flags: &flags,
        internal_date: InternalDate::utc(0),
        size_bytes: 1,
        modseq: ModSeq(1),
        email_id: crate::object::EmailId::of(&[7; 32], InternalDate::utc(0)),
        saved_s: 0,
        recent: false,
    };
    let content = Content {
        summary: Some(&summary),
        body: None,
    };
    let cases = [
        ("FROM", "A@B.TEST", Yes),
        ("FROM", "jürgen <a@b.test>", Yes),
        ("FROM", "utf-8", No),
        ("FROM", "(home)", No),
        ("TO", "x@z.test", Yes),
        ("TO", "g: ", Yes),
        ("TO", "Last, First <l@m.test>;", Yes),
        ("CC", "", No),
        ("TO", "", Yes),
        ("SUBJECT", "one", Yes),
        ("SUBJECT", "two", No),
        ("BCC", "x", No),
    ];
    for (word, text, wanted) in cases {
        let key = envelope(word, text);
        assert_eq!(
            Matcher::new(&key, 1, 1, &[], NOW).verdict(row, content),
            wanted,
            "{word} {text}"
        );
    }
    // HEADER still sees every field as it stands.
    assert_eq!(
        Matcher::new(&header("Subject", "two"), 1, 1, &[], NOW).verdict(row, content),
        Yes
    );
}

#[test]
fn rows_decide_without_reading() {
    assert_eq!(verdicts(&SearchKey::System(SystemFlags::SEEN)), [Yes; 3]);
    assert_eq!(verdicts(&SearchKey::Keyword("$work".into())), [Yes; 3]);
    assert_eq!(
        verdicts(&SearchKey::Not(Box::new(SearchKey::Recent))),
        [Yes; 3]
    );
    assert_eq!(
        verdicts(&SearchKey::On(100)),
        [Yes; 3],
        "the day in the message's own zone"
    );
    assert_eq!(verdicts(&SearchKey::Before(100)), [No; 3]);
    assert_eq!(verdicts(&SearchKey::Since(100)), [Yes; 3]);
    assert_eq!(verdicts(&SearchKey::Larger(100)), [No; 3]);
    // RFC 5032 §3: it came a hundred seconds ago.
    assert_eq!(verdicts(&SearchKey::Younger(100)), [Yes; 3]);
    assert_eq!(verdicts(&SearchKey::Younger(99)), [No; 3]);
    assert_eq!(verdicts(&SearchKey::Older(100)), [Yes; 3]);
    assert_eq!(verdicts(&SearchKey::Older(101)), [No; 3]);
    assert_eq!(verdicts(&SearchKey::Older(u32::MAX)), [No; 3]);
    assert_eq!(
        verdicts(&SearchKey::Numbers(SequenceSet::parse(b"2").unwrap())),
        [Yes; 3]
    );
    assert_eq!(
        verdicts(&SearchKey::Uids(SequenceSet::parse(b"8:*").unwrap())),
        [No; 3]
    );
    // By number or by UID, `$` is the same messages.
    assert_eq!(
        verdicts(&SearchKey::Numbers(SequenceSet::saved())),
        [Yes; 3]
    );
    assert_eq!(verdicts(&SearchKey::Uids(SequenceSet::saved())), [Yes; 3]);
}

#[test]
fn kept_fields_need_the_summary_and_others_the_body() {
    assert_eq!(
        verdicts(&header("subject", "GRÜSSE")),
        [NeedSummary, No, No]
    );
    assert_eq!(
        verdicts(&header("subject", "GRÜßE FROM")),
        [NeedSummary, Yes, Yes]
    );
    assert_eq!(verdicts(&envelope("FROM", "ANN@")), [NeedSummary, Yes, Yes]);
    assert_eq!(verdicts(&header("cc", "")), [NeedSummary, No, No]);
    assert_eq!(verdicts(&header("x-tag", "")), [NeedBody, NeedBody, Yes]);
    assert_eq!(
        verdicts(&SearchKey::SentOn(12_234)),
        [NeedSummary, Yes, Yes]
    );
    assert_eq!(
        verdicts(&SearchKey::Body("QUICK".into())),
        [NeedBody, NeedBody, Yes]
    );
    assert_eq!(
        verdicts(&SearchKey::Body("bonn".into())),
        [NeedBody, NeedBody, No]
    );
    assert_eq!(
        verdicts(&SearchKey::Text("bonn".into())),
        [NeedBody, NeedBody, Yes]
    );
}

#[test]
fn keys_are_counted_on_all_levels() {
    let or = SearchKey::Or(Box::new((SearchKey::All, SearchKey::Recent)));
    assert_eq!(SearchKey::All.count(), 1);
    assert_eq!(SearchKey::Not(Box::new(or.clone())).count(), 4);
    assert_eq!(SearchKey::And(vec![or, SearchKey::All]).count(), 5);
}

#[test]
fn the_cheap_key_decides_for_the_dear_one() {
    let dear = || SearchKey::Body("fox".into());
    assert_eq!(
        verdicts(&SearchKey::And(vec![dear(), SearchKey::Recent])),
        [No; 3]
    );
    assert_eq!(
        verdicts(&SearchKey::Or(Box::new((dear(), SearchKey::All)))),
        [Yes; 3]
    );
    assert_eq!(
        verdicts(&SearchKey::And(vec![dear(), header("subject", "absent")])),
        [NeedSummary, No, No]
    );
    assert_eq!(
        verdicts(&SearchKey::Not(Box::new(dear()))),
        [NeedBody, NeedBody, No]
    );
}
