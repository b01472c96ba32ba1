//! Any command, and that it is read back as it was written.

use proptest::prelude::*;

use super::*;
use crate::client::{Responses, put_command};

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
