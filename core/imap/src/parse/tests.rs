use super::*;
use crate::client::{Responses, put_command};
use crate::command::{ChangedSince, ListRequest, Message, SearchResults, StatusItem};
use crate::fetch::{FetchItem, Partial, Section, SectionText};
use crate::limits::SEARCH_TEXTS_MAX;
use crate::search::SearchKey;
use proptest::prelude::*;

fn parsed(line: &str) -> Result<Body, Refusal> {
    command(format!("a {line}\r\n").as_bytes(), Names::ModifiedUtf7)
        .map(|c| c.body)
        .map_err(|bad| bad.refusal)
}

#[test]
fn what_clients_really_send_is_understood() {
    // Thunderbird, mutt, mbsync, Apple Mail, Python's imaplib, curl: as seen on the wire.
    for line in [
        "UID fetch 1:* (FLAGS)",
        "UID fetch 3:9 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority \
         References Newsgroups In-Reply-To Content-Type Reply-To)])",
        "UID fetch 12 (UID RFC822.SIZE BODY[]<0.49152>)",
        "FETCH 1:3 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM SENDER SUBJECT TO CC MESSAGE-ID REFERENCES \
         CONTENT-TYPE CONTENT-DESCRIPTION IN-REPLY-TO REPLY-TO LINES LIST-POST LIST-SUBSCRIBE LIST-UNSUBSCRIBE X-LABEL X-ORIGINAL-TO)])",
        "list (subscribed) \"\" \"*\" return (special-use)",
        "LIST \"\" \"*\" RETURN (SPECIAL-USE STATUS (MESSAGES UNSEEN))",
        "ID (\"name\" \"Thunderbird\" \"version\" NIL)",
        "UID STORE 4 +FLAGS.SILENT (\\Deleted)",
        "STORE 1 +FLAGS \\Seen",
        "STORE 1 FLAGS ()",
        "UID SEARCH UNDELETED SINCE 1-Jan-2020 OR FROM ann (SUBJECT \"x y\" NOT SEEN)",
        "SEARCH CHARSET UTF-8 TEXT {7+}\r\nZ\u{fc}rich",
        "select INBOX",
        "STATUS \"Sent Items\" (UIDNEXT MESSAGES UNSEEN RECENT)",
        "APPEND INBOX (\\Seen) \" 1-Jan-2020 00:00:00 +0100\" {3+}\r\nabc",
        "APPEND INBOX UTF8 (~{3+}\r\nabc)",
        "RENAME a b",
        "GETQUOTAROOT",
        "CREATE \"A/B\" (USE (\\Sent))",
        "authenticate plain =",
        "SEARCH RETURN (SAVE) KEYWORD $Junk",
        "SEARCH RETURN (SAVE MIN MAX) $ UNSEEN",
        "UID SEARCH RETURN () UID $ $",
        "FETCH $ FLAGS",
        "UID STORE $ +FLAGS (\\Deleted)",
        "UID EXPUNGE $",
        "MOVE $ Work",
        "SORT (REVERSE DATE) UTF-8 UNDELETED",
        "UID THREAD REFERENCES UTF-8 ALL",
        "UID FETCH 1:* (FLAGS) (PARTIAL -1:-50)",
    ] {
        let known = !line.starts_with("GETQUOTAROOT");
        assert_eq!(parsed(line).is_ok(), known, "{line}: {:?}", parsed(line));
    }
}

#[test]
fn macros_stand_for_their_items() {
    let items = |line: &str| match parsed(line) {
        Ok(Body::Fetch { items, .. }) => items,
        other => panic!("{other:?}"),
    };
    use FetchItem as I;
    assert_eq!(
        items("FETCH 1 FAST"),
        [I::Flags, I::InternalDate, I::Rfc822Size]
    );
    assert_eq!(items("FETCH 1 FULL").last(), Some(&I::BodyStructureBasic));
    let I::Section {
        peek,
        section,
        partial,
    } = &items("FETCH 1 BODY.PEEK[1.2.header.fields.not (To \"X-Y\")]<3.4>")[0]
    else {
        panic!()
    };
    assert!(*peek);
    assert_eq!(section.part, [1, 2]);
    assert_eq!(
        section.text,
        SectionText::HeaderFields {
            not: true,
            names: vec!["To".into(), "X-Y".into()]
        }
    );
    assert_eq!(
        *partial,
        Some(Partial {
            offset: 3,
            count: 4
        })
    );
}

#[test]
fn wrong_commands_are_told_apart() {
    let syntax = |line: &str| matches!(parsed(line), Err(Refusal::Syntax(_)));
    for line in [
        "LOGIN a",
        "LOGIN \"a b",
        "LOGIN \"a\\n\" b",
        "SELECT",
        "SELECT a b",
        "FETCH 0 FLAGS",
        "FETCH 1",
        "FETCH 1 ()",
        "FETCH 1 BODY[MIME]",
        "FETCH 1 BODY[1.]",
        "FETCH 1 BODY[0]",
        "FETCH 1 BODY[]<0.0>",
        "FETCH 1 BODY[HEADER.FIELDS ()]",
        "FETCH 1 BODY[HEADER.FIELDS (\"a\r\nb\")]",
        "STORE 1 FLAGS (\\Nonsense)",
        "SEARCH",
        "SEARCH OR ALL",
        "SEARCH SINCE 31-Feb-2020",
        "SEARCH RETURN (KEEP) ALL",
        "SEARCH 1,$",
        "FETCH $:* FLAGS",
        "APPEND x \"yesterday\" {1+}\r\na",
        "APPEND x abc",
        "STATUS x ()",
        "NOOP x",
        "UID",
    ] {
        assert!(syntax(line), "{line}: {:?}", parsed(line));
    }
    assert_eq!(parsed("FROBNICATE"), Err(Refusal::UnknownCommand));
    assert_eq!(parsed("UID NOOP"), Err(Refusal::UnknownCommand));
    assert_eq!(
        parsed("SEARCH CHARSET X-KLINGON ALL"),
        Err(Refusal::BadCharset)
    );
    assert_eq!(parsed("SELECT a&b"), Err(Refusal::BadMailboxName));
    assert_eq!(
        parsed("CREATE a (USE (\\Odd))"),
        Err(Refusal::BadSpecialUse)
    );
    let deep = format!("SEARCH {}ALL{}", "(".repeat(40), ")".repeat(40));
    assert_eq!(
        parsed(&deep),
        Err(Refusal::TooMuch("search keys inside each other"))
    );
    assert_eq!(
        parsed(&format!("SEARCH {}", "ALL ".repeat(2_000))),
        Err(Refusal::TooMuch("search keys"))
    );
    let texts = |count| format!("SEARCH {}ALL", "NOT BODY a TEXT b ".repeat(count / 2));
    assert!(parsed(&texts(SEARCH_TEXTS_MAX)).is_ok());
    assert_eq!(
        parsed(&texts(SEARCH_TEXTS_MAX + 2)),
        Err(Refusal::TooMuch("BODY and TEXT keys"))
    );
    assert_eq!(command(b"\r\n", Names::Utf8).unwrap_err().tag, "*".into());
    assert_eq!(
        command(b"+ NOOP\r\n", Names::Utf8).unwrap_err().tag,
        "*".into()
    );
    assert_eq!(
        command(b"x FROB\r\n", Names::Utf8).unwrap_err().tag,
        "x".into()
    );
}

/// Finding I11.
#[test]
fn patterns_that_are_no_names_match_nothing() {
    for line in [
        "LIST \"\" a&b",
        "LIST \"\" \"*a&-&b\"",
        "LIST a&b *",
        "LIST \"\" {1+}\r\n\u{7}",
        "LIST \"\" (a&b a&)",
    ] {
        let Ok(Body::List(request)) = parsed(line) else {
            panic!("{line}")
        };
        for pattern in &request.patterns {
            let pattern = crate::list::joined(&request.reference, pattern);
            for name in ["INBOX", "a", "a&b", "a/b"] {
                assert!(!crate::list::matches(&pattern, name), "{line} {name}");
            }
        }
    }
    assert!(parsed("LSUB a&b a&b").is_ok());
    assert_eq!(
        parsed("STATUS a&b (MESSAGES)"),
        Err(Refusal::BadMailboxName)
    );
}

#[test]
fn inbox_has_no_case() {
    for (line, wanted) in [
        ("SELECT inBox", "INBOX"),
        ("SELECT inbox/a", "INBOX/a"),
        ("SELECT inboxes", "inboxes"),
    ] {
        let Ok(Body::Select { mailbox, .. }) = parsed(line) else {
            panic!()
        };
        assert_eq!(&*mailbox, wanted);
    }
}

/// RFC 9051 §9 CHAR8: an ordinary literal has no NUL. Finding I2.
#[test]
fn nul_comes_in_by_no_door() {
    let syntax = |line: &str| matches!(parsed(line), Err(Refusal::Syntax(_)));
    for line in [
        "APPEND INBOX {3+}\r\na\0b",
        "APPEND INBOX (\\Seen) {1+}\r\n\0",
        "LOGIN ann {3+}\r\na\0b",
        "LOGIN {3+}\r\na\0b pw",
        "CREATE {3+}\r\na\0b",
        "SEARCH TEXT {3+}\r\na\0b",
        "LOGIN ann \"a\0b\"",
    ] {
        assert!(syntax(line), "{line:?}: {:?}", parsed(line));
    }
    // RFC 3516 §4.3: what cannot be given back is refused.
    for line in [
        "APPEND INBOX ~{3+}\r\na\0b",
        "APPEND INBOX UTF8 (~{3+}\r\na\0b)",
    ] {
        assert_eq!(parsed(line), Err(Refusal::Binary), "{line:?}");
    }
    assert!(parsed("APPEND INBOX ~{3+}\r\nabc").is_ok());
}

fn text() -> impl Strategy<Value = String> {
    // No string holds NUL.
    let any = any::<String>().prop_map(|text| text.replace('\0', "0"));
    prop_oneof!["[a-zA-Z0-9 .\"\\\\-]{0,12}", any]
}

fn name() -> impl Strategy<Value = Box<str>> {
    "[a-zA-Z0-9 ./&\"\\\\äß日-]{1,20}".prop_map(|name| super::words::canonical(name).into())
}

fn set() -> impl Strategy<Value = SequenceSet> {
    let bound = prop_oneof![Just(None), (1u32..).prop_map(Some)];
    let numbers = prop::collection::vec((bound.clone(), bound), 1..5)
        .prop_map(|pieces| SequenceSet::from_pieces(pieces).unwrap());
    prop_oneof![4 => numbers, 1 => Just(SequenceSet::saved())]
}

fn flags() -> impl Strategy<Value = Flags> {
    let keywords = prop::collection::btree_set("[$a-z][a-z0-9]{0,8}", 0..4);
    (0u8..32, keywords).prop_map(|(system, words)| Flags {
        system: SystemFlags(system),
        keywords: words
            .iter()
            .map(|word| Keyword::parse(word).unwrap())
            .collect(),
    })
}

fn key() -> impl Strategy<Value = SearchKey> {
    use SearchKey as K;
    let day = -10_000i64..20_000;
    let plain = prop_oneof![
        Just(K::All),
        Just(K::Recent),
        set().prop_map(K::Numbers),
        set().prop_map(K::Uids),
        (0u8..5).prop_map(|bit| K::System(SystemFlags(1 << bit))),
        "[a-z$]{1,9}".prop_map(|word| K::Keyword(word.into())),
        day.clone().prop_map(K::Before),
        day.clone().prop_map(K::On),
        day.clone().prop_map(K::Since),
        day.clone().prop_map(K::SentBefore),
        day.clone().prop_map(K::SentOn),
        day.prop_map(K::SentSince),
        any::<u32>().prop_map(K::Larger),
        any::<u32>().prop_map(K::Smaller),
        (1u32..).prop_map(K::Older),
        (1u32..).prop_map(K::Younger),
        super::select::tests::modseq().prop_map(K::ModSeq),
        (
            proptest::sample::select(crate::search::EnvelopeField::ALL.to_vec()),
            text()
        )
            .prop_map(|((_, field), text)| K::Envelope {
                field,
                text: text.into()
            }),
        (text(), text()).prop_map(|(name, text)| K::Header {
            name: name.into(),
            text: text.into()
        }),
        text().prop_map(|text| K::Body(text.into())),
        text().prop_map(|text| K::Text(text.into())),
    ];
    plain.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(K::And),
            (inner.clone(), inner.clone()).prop_map(|pair| K::Or(Box::new(pair))),
            inner.prop_map(|key| K::Not(Box::new(key))),
        ]
    })
}

fn item() -> impl Strategy<Value = FetchItem> {
    use FetchItem as I;
    let partial = prop::option::of(
        (any::<u32>(), 1u32..).prop_map(|(offset, count)| Partial { offset, count }),
    );
    let part = prop::collection::vec(1u32..100, 1..4);
    let names = prop::collection::vec("[A-Za-z(-]{1,9}".prop_map(Box::<str>::from), 1..4);
    let section = prop_oneof![
        Just((vec![], SectionText::All)),
        part.clone().prop_map(|part| (part, SectionText::Mime)),
        part.clone().prop_map(|part| (part, SectionText::All)),
        Just((vec![], SectionText::Text)),
        part.clone().prop_map(|part| (part, SectionText::Header)),
        (any::<bool>(), names)
            .prop_map(|(not, names)| (vec![], SectionText::HeaderFields { not, names })),
    ]
    .prop_map(|(part, text)| Section { part, text });
    prop_oneof![
        prop::sample::select(vec![
            I::Uid,
            I::Flags,
            I::InternalDate,
            I::Rfc822Size,
            I::ModSeq,
            I::EmailId,
            I::ThreadId,
            I::SaveDate,
            I::Preview { lazy: false },
            I::Preview { lazy: true },
            I::Envelope,
            I::BodyStructureBasic,
            I::BodyStructure,
            I::Rfc822,
            I::Rfc822Header,
            I::Rfc822Text
        ]),
        (any::<bool>(), section, partial.clone()).prop_map(|(peek, section, partial)| I::Section {
            peek,
            section,
            partial
        }),
        (any::<bool>(), part.clone(), partial).prop_map(|(peek, part, partial)| I::Binary {
            peek,
            part,
            partial
        }),
        part.prop_map(|part| I::BinarySize { part }),
    ]
}

fn any_body() -> impl Strategy<Value = Body> {
    let bytes = || prop::collection::vec(1u8.., 0..20);
    let status = prop::sample::subsequence(StatusItem::ALL.to_vec(), 1..4);
    let list = (
        any::<[bool; 5]>(),
        name(),
        prop::collection::vec(name(), 1..3),
        prop::sample::subsequence(StatusItem::ALL.to_vec(), 0..3),
    )
        .prop_map(
            |(
                [subscribed, special, children, recursive, extended],
                reference,
                mut patterns,
                status,
            )| {
                if !extended {
                    patterns.truncate(1);
                    return ListRequest {
                        reference,
                        patterns,
                        ..ListRequest::default()
                    };
                }
                ListRequest {
                    reference,
                    patterns,
                    extended,
                    select_subscribed: subscribed,
                    select_special_use: special,
                    recursive_match: recursive && (subscribed || special),
                    return_subscribed: subscribed,
                    return_children: children,
                    return_special_use: special,
                    return_status: status,
                    ..ListRequest::default()
                }
            },
        );
    let results = prop::option::of(
        (
            any::<[bool; 4]>(),
            prop::option::of(super::sort::tests::slice()),
        )
            .prop_map(|([min, max, count, save], partial)| SearchResults {
                min,
                max,
                count,
                all: !(min || max || count || save || partial.is_some()),
                save,
                partial,
            }),
    )
    .boxed();
    let change = prop::sample::select(vec![
        StoreChange::Replace,
        StoreChange::Add,
        StoreChange::Remove,
    ]);
    let date = prop::option::of((0i64..4_000_000_000, -1_400i16..1_400).prop_map(
        |(unix_seconds, zone_minutes)| mail::InternalDate {
            unix_seconds,
            zone_minutes,
        },
    ));
    prop_oneof![
        prop::sample::select(vec![
            Body::Capability,
            Body::Noop,
            Body::Logout,
            Body::StartTls,
            Body::Namespace,
            Body::Idle,
            Body::Compress,
            Body::Unauthenticate,
            Body::Check,
            Body::Close,
            Body::Unselect
        ]),
        (bytes(), bytes()).prop_map(|(user, password)| Body::Login { user, password }),
        bytes().prop_map(Body::GetQuota),
        name().prop_map(Body::GetQuotaRoot),
        (
            bytes(),
            prop::collection::vec(
                ("[A-Z]{1,9}".prop_map(Box::<str>::from), 0..=i64::MAX as u64),
                0..3
            )
        )
            .prop_map(|(root, limits)| Body::SetQuota { root, limits }),
        prop::option::of(bytes()).prop_map(|initial| Body::Authenticate {
            mechanism: "PLAIN".into(),
            initial
        }),
        prop::collection::vec((bytes(), prop::option::of(bytes())), 0..3).prop_map(Body::Id),
        super::select::tests::any_select(name().boxed()),
        (
            name(),
            prop::option::of(prop::sample::select(SpecialUse::ALL.to_vec()))
        )
            .prop_map(|(mailbox, special_use)| Body::Create {
                mailbox,
                special_use
            }),
        (name(), name()).prop_map(|(from, to)| Body::Rename { from, to }),
        list.prop_map(Body::List),
        (name(), status).prop_map(|(mailbox, items)| Body::Status { mailbox, items }),
        (name(), flags(), date).prop_map(|(mailbox, flags, date)| Body::Append {
            mailbox,
            flags,
            date,
            message: Message(0..0)
        }),
        prop::option::of(set()).prop_map(|uids| Body::Expunge { uids }),
        (any::<bool>(), results.clone(), key())
            .prop_map(|(uid, results, key)| Body::Search(SearchRequest { uid, results, key })),
        super::sort::tests::any_sort(results, key().boxed()),
        (
            any::<bool>(),
            set(),
            prop::collection::vec(item(), 1..4),
            prop::option::of((super::select::tests::modseq(), any::<bool>())),
            prop::option::of(super::sort::tests::slice())
        )
            .prop_map(|(uid, set, items, since, slice)| Body::Fetch {
                uid,
                set,
                items,
                since: since.map(|(modseq, vanished)| ChangedSince {
                    modseq,
                    vanished: vanished && uid
                }),
                slice: slice.filter(|_| uid),
            }),
        (
            any::<bool>(),
            set(),
            change,
            any::<bool>(),
            flags(),
            prop::option::of(super::select::tests::modseq())
        )
            .prop_map(
                |(uid, set, change, silent, flags, unchanged_since)| Body::Store {
                    uid,
                    set,
                    change,
                    silent,
                    flags,
                    unchanged_since
                }
            ),
        (any::<bool>(), set(), name()).prop_map(|(uid, set, mailbox)| Body::Move {
            uid,
            set,
            mailbox
        }),
    ]
}

proptest! {
    #[test]
    fn every_command_is_read_back_as_written(body in any_body(), utf8 in any::<bool>(), message in "[a-z\r\n]{0,20}") {
        let names = if utf8 { Names::Utf8 } else { Names::ModifiedUtf7 };
        let written = Command { tag: "t1".into(), body };
        let mut bytes = Vec::new();
        put_command(&mut bytes, &written, message.as_bytes(), names);
        let mut read = command(&bytes, names).unwrap();
        if let Body::Append { message: range, .. } = &mut read.body {
            prop_assert_eq!(&bytes[range.0.clone()], message.as_bytes());
            range.0 = 0..0;
        }
        prop_assert_eq!(read, written);
        // And the reader finds the same end.
        let mut reader = crate::reader::Reader::default();
        reader.input().extend_from_slice(&bytes);
        let bounds = crate::reader::Bounds { command_bytes_max: 65_536, id_bytes_max: 65_536, append_bytes_max: 65_536 };
        prop_assert_eq!(reader.step(bounds), crate::reader::Read::Command(bytes));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = command(&bytes, Names::Utf8);
        let _ = command(&bytes, Names::ModifiedUtf7);
        let mut responses = Responses::default();
        responses.input().extend_from_slice(&bytes);
        while let Ok(Some(response)) = responses.step() {
            let _ = response.values();
        }
    }

    #[test]
    fn broken_commands_are_survived(body in any_body(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = Vec::new();
        put_command(&mut bytes, &Command { tag: "t".into(), body }, b"x", Names::Utf8);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = command(&bytes, Names::Utf8);
        let _ = command(&bytes[..at], Names::ModifiedUtf7);
        let mut session = crate::Session::new(crate::Policy { login_without_tls: true, ..crate::Policy::default() }, false);
        session.logged_in("x", &mut Vec::new());
        session.selected(false);
        session.input().extend_from_slice(&bytes);
        let mut out = Vec::new();
        for _ in 0..10 {
            session.step(&mut out);
        }
    }
}

/// RFC 9051 §6.4.4 CHARSET: what is looked for is kept as text, whatever it was written in.
#[test]
fn search_texts_are_read_in_their_charset() {
    let subject = |line: &[u8]| {
        let line = [b"t SEARCH ", line, b"\r\n"].concat();
        match command(&line, Names::Utf8).map(|command| command.body) {
            Ok(Body::Search(request)) => Ok(request.key),
            Ok(other) => panic!("{other:?}"),
            Err(fault) => Err(fault.refusal),
        }
    };
    let wanted = subject("SUBJECT \"\u{4f60}\u{597d}\"".as_bytes());
    assert!(wanted.is_ok());
    for line in [
        &b"CHARSET GB2312 SUBJECT \"\xc4\xe3\xba\xc3\""[..],
        b"CHARSET big5 SUBJECT {4+}\r\n\xa7\x41\xa6\x6e",
        b"CHARSET \"gb18030\" SUBJECT \"\xc4\xe3\xba\xc3\"",
        b"CHARSET UTF-8 SUBJECT \"\xe4\xbd\xa0\xe5\xa5\xbd\"",
    ] {
        assert_eq!(subject(line), wanted, "{}", line.escape_ascii());
    }
    for line in [
        &b"CHARSET UTF-8 SUBJECT \"\xff\""[..],
        b"SUBJECT \"\xff\"",
        b"CHARSET UTF-16LE SUBJECT {1+}\r\na",
        b"CHARSET ISO-2022-CN ALL",
    ] {
        assert_eq!(
            subject(line),
            Err(Refusal::BadCharset),
            "{}",
            line.escape_ascii()
        );
    }
}

#[test]
fn the_refusal_lists_what_is_supported() {
    let list = mail::text::CHARSETS.join(" ");
    assert_eq!(crate::session::BAD_CHARSET, format!("BADCHARSET ({list})"));
}
