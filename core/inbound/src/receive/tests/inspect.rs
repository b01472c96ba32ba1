//! Stage 3, what scanners find: each verdict has its reply, and without one the setting decides.

use std::cell::RefCell;
use std::rc::Rc;

use device::sim::SimWorld;
use runtime::Stop;
use runtime::dial::memory::{Manner, MemoryDial};
use runtime::memory::{MemoryPeer, connect};
use scan::known::samples;
use scan::{Filter, Known, Outcome, Pool, Scanner, Scanners};

use super::super::inspect::{Inspect, Inspector, Policy};
use super::*;

/// What a server says to a connection after it has read everything up to the end of the message.
pub(super) type Says = &'static [u8];

#[derive(Clone, Copy)]
pub(super) struct Story {
    pub(super) role: Role,
    pub(super) content: &'static str,
    pub(super) clamd: Option<Says>,
    pub(super) rspamd: Option<Says>,
    pub(super) milter: Option<Says>,
    pub(super) policy: Policy,
    pub(super) filter_defers: bool,
    /// What goes to the quarantine, which is account 9 unless it could not be set up.
    pub(super) keeps: &'static [Why],
    pub(super) has_quarantine: bool,
    /// The domain example.net asks for quarantine (DMARC).
    pub(super) domain_asks: bool,
}

impl Default for Story {
    fn default() -> Self {
        Story {
            role: Role::Smtp,
            content: HELLO,
            clamd: None,
            rspamd: None,
            milter: None,
            policy: Policy {
                bytes_max: 1 << 20,
                refuses_spam: true,
                defers: true,
                keeps_viruses: false,
            },
            filter_defers: true,
            keeps: &[],
            has_quarantine: true,
            domain_asks: false,
        }
    }
}

/// What came of it.
pub(super) struct Told {
    pub(super) reply: String,
    pub(super) handed: Vec<String>,
    /// Of each.
    pub(super) accounts: Vec<Vec<u32>>,
    pub(super) received: Arc<Counters>,
    pub(super) counters: Arc<scan::Counters>,
    /// What clamd and rspamd were sent.
    shown: String,
}

pub(super) const HELLO: &str = "X-Ringpost-Scan: clamd=clean\r\nSubject: hello\r\n\r\nHello\r\n";
/// Whose address answers nothing.
const SILENT: Says = b"";

/// Servers of one kind at one address of memory.
fn pool(
    host: &SessionHost,
    dial: &MemoryDial,
    port: u16,
    says: Says,
    end: &'static [u8],
    counters: &Arc<scan::Counters>,
    shown: &Rc<RefCell<Vec<u8>>>,
) -> Pool<MemoryDial> {
    let address = SocketAddr::from(([192, 0, 2, 9], port));
    if says == SILENT {
        dial.set(address, Manner::Hangs);
    } else {
        let (listener, shown) = (dial.listen(address), shown.clone());
        host.spawn(Box::pin(async move {
            loop {
                // until the world ends
                let peer: MemoryPeer = listener.accept().await;
                let mut got = Vec::new();
                // A milter speaks first about what it wants; the others wait for the end.
                if end.is_empty() {
                    let _ = peer.send(says).await;
                }
                while end.is_empty() || !got.ends_with(end) {
                    if peer.receive(&mut got, 1 << 16).await == 0 {
                        break;
                    }
                }
                shown.borrow_mut().extend_from_slice(&got);
                let _ = peer.send(says).await;
            }
        }));
    }
    let deadline = Duration::from_secs(20);
    let (host, dial) = (host.clone(), dial.clone());
    Pool::new(host, dial, &[address], 4, deadline, counters.clone())
}

pub(super) fn tell(story: Story) -> Told {
    let world = SimWorld::new(1);
    let host = world.io().host;
    let client = SocketAddr::from(([192, 0, 2, 1], 25));
    let (connection, peer) = connect(&host, &Stop::new(), client, 1 << 16);
    let (script, budget) = (Script::default(), Budget::with_shares(1 << 24, 1 << 24));
    let counters: Arc<scan::Counters> = Arc::default();
    let sessions = SessionHost::on(host.clone());
    let dial = MemoryDial::new(&host, &Stop::new(), 1 << 16, 16);
    let shown = Rc::default();
    let pool = |port, says, end| pool(&sessions, &dial, port, says, end, &counters, &shown);
    let mut scanners = Scanners::none(counters.clone());
    scanners.clamd = story.clamd.map(|says| pool(1, says, b"\0\0\0\0"));
    scanners.rspamd = story.rspamd.map(|says| pool(2, says, b"Hello\r\n"));
    scanners.filters.extend(story.milter.map(|says| Filter {
        name: "filter".to_owned(),
        defers: story.filter_defers,
        pool: pool(3, says, b""),
    }));
    let receiver = Receiver::on(
        sessions.clone(),
        Ids::of(1, 1),
        script.clone(),
        budget.clone(),
        Placed::default(),
    );
    let receiver = receiver.inspecting(Rc::new(Inspector {
        scanners,
        policy: story.policy,
    }));
    let receiver = if story.domain_asks {
        let names = dns::Table::new(&host, 1);
        names.set_texts("_dmarc.example.net", &["v=DMARC1; p=quarantine"]);
        let enforcement = Enforcement::Enforce;
        receiver.authenticating(Rc::new(Authenticator { names, enforcement }))
    } else {
        receiver
    };
    let receiver = receiver.quarantining(Quarantine {
        verdicts: story.keeps.to_vec(),
        account: story.has_quarantine.then_some(AccountId(9)),
    });
    let settings = Settings {
        smtp: Arc::new(smtp::Config {
            role: story.role,
            service: smtp::Service::Exchange,
            hostname: "mx.example.org".into(),
            limits: smtp::Limits::default(),
            tls_available: false,
            tls_required: false,
        }),
        tls: None,
        postmaster: None,
        door: None,
    };
    let hello = match story.role {
        Role::Smtp => "EHLO",
        Role::Lmtp => "LHLO",
    };
    let reply = world.block_on(async {
        let conversation = async {
            let mut all = Vec::new();
            let mut until = async |wanted: &str| {
                while !String::from_utf8_lossy(&all).contains(wanted) {
                    assert!(peer.receive(&mut all, 1 << 10).await > 0, "closed");
                }
                String::from_utf8(std::mem::take(&mut all)).expect("ASCII")
            };
            let first = format!("{hello} client.example.net\r\n");
            peer.send(first.as_bytes()).await.expect("it is there");
            until("250 ").await;
            let to = "MAIL FROM:<a@example.net>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n";
            peer.send(to.as_bytes()).await.expect("it is there");
            until("354 ").await;
            let data = format!("{}.\r\n", story.content);
            peer.send(data.as_bytes()).await.expect("it is there");
            let reply = until("\r\n").await;
            peer.end();
            reply
        };
        tokio::join!(conversation, receiver.serve(&settings, connection)).0
    });
    assert_eq!(budget.used_bytes(), 0, "all memory is given back");
    let handed = std::mem::take(&mut *script.handed.lock().unwrap());
    let text = |raw: Vec<u8>| String::from_utf8(raw).expect("UTF-8");
    let (handed, accounts) = handed
        .into_iter()
        .map(|(raw, accounts)| (text(raw), accounts))
        .unzip();
    Told {
        reply,
        handed,
        accounts,
        received: receiver.counters().clone(),
        counters,
        shown: String::from_utf8_lossy(&shown.borrow()).into_owned(),
    }
}

/// The one message, taken.
fn taken(story: Story) -> String {
    let Told {
        reply, mut handed, ..
    } = tell(story);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    handed.pop().expect("a message")
}

const OK: Says = b"stream: OK\0";
pub(super) const VIRUS: Says = b"stream: Win.Bad FOUND\0";
const SPAM: Says = b"HTTP/1.1 200 OK\r\n\r\n{\"action\":\"reject\",\"score\":20,\"required_score\":15,\"messages\":{\"smtp_message\":\"go away\"}}";
const JUNK: Says = b"HTTP/1.1 200 OK\r\n\r\n{\"action\":\"add header\",\"score\":7,\"required_score\":15,\"symbols\":{\"BAD\":{\"score\":7}},\"milter\":{\"add_headers\":{\"X-Spam\":{\"value\":\"Yes\"}}}}";
const LATER: Says =
    b"HTTP/1.1 200 OK\r\n\r\n{\"action\":\"soft reject\",\"score\":1,\"required_score\":15}";

#[test]
fn clean_mail_is_taken_with_one_field_of_ours_and_none_of_a_stranger() {
    let raw = taken(Story {
        clamd: Some(OK),
        ..Story::default()
    });
    assert!(
        raw.starts_with("X-Ringpost-Scan: clamd=clean\r\nReturn-Path: <a@example.net>\r\n"),
        "{raw}"
    );
    assert!(
        raw.ends_with("\r\nSubject: hello\r\n\r\nHello\r\n"),
        "{raw}"
    );
    assert_eq!(raw.matches("X-Ringpost-Scan").count(), 1, "{raw}");
    // Where no scanner is named nothing is said, and what a stranger says is removed too.
    assert!(!taken(Story::default()).contains("X-Ringpost-Scan"));
}

#[test]
fn the_field_that_is_removed_is_the_one_that_is_written() {
    assert_eq!(auth::header::SCAN, scan::field::FIELD.to_lowercase());
}

#[test]
fn a_virus_is_refused_by_its_name() {
    let told = tell(Story {
        clamd: Some(VIRUS),
        ..Story::default()
    });
    assert_eq!(told.reply, "550 5.7.1 message contains a virus Win.Bad\r\n");
    assert_eq!(told.handed, [""; 0]);
    assert_eq!(told.counters.read(Scanner::Clamd, Outcome::Refused), 1);
}

#[test]
fn rspamd_refuses_marks_and_defers() {
    let spam = Story {
        rspamd: Some(SPAM),
        ..Story::default()
    };
    assert_eq!(
        tell(spam).reply,
        "550 5.7.1 message refused as spam go away\r\n"
    );
    let raw = taken(Story {
        policy: Policy {
            refuses_spam: false,
            ..spam.policy
        },
        ..spam
    });
    assert!(
        raw.starts_with("X-Ringpost-Scan: rspamd=junk (20.00 of 15.00)\r\n"),
        "{raw}"
    );
    let raw = taken(Story {
        rspamd: Some(JUNK),
        ..spam
    });
    assert!(
        raw.starts_with(
            "X-Ringpost-Scan: rspamd=junk (7.00 of 15.00, BAD 7.00)\r\nX-Spam: Yes\r\nReturn-Path:"
        ),
        "{raw}"
    );
    let told = tell(Story {
        rspamd: Some(LATER),
        ..spam
    });
    assert!(
        told.reply
            .starts_with("451 4.7.1 message deferred by a content filter")
    );
    assert_eq!(told.counters.read(Scanner::Rspamd, Outcome::Deferred), 1);
}

#[test]
fn without_a_verdict_spam_is_taken_and_viruses_are_as_the_setting_says() {
    let raw = taken(Story {
        rspamd: Some(SILENT),
        clamd: Some(OK),
        ..Story::default()
    });
    assert!(
        raw.starts_with("X-Ringpost-Scan: clamd=clean;\r\n\trspamd=unscanned (the host did not answer in time)\r\n"),
        "{raw}"
    );
    let silent = Story {
        clamd: Some(SILENT),
        ..Story::default()
    };
    let told = tell(silent);
    assert_eq!(
        told.reply,
        "451 4.7.1 message cannot be scanned now, try again later\r\n"
    );
    assert_eq!(told.counters.read(Scanner::Clamd, Outcome::Unscanned), 1);
    let raw = taken(Story {
        policy: Policy {
            defers: false,
            ..silent.policy
        },
        ..silent
    });
    assert!(
        raw.starts_with("X-Ringpost-Scan: clamd=unscanned ("),
        "{raw}"
    );
}

#[test]
fn a_virus_counts_whatever_became_of_the_others() {
    let told = tell(Story {
        rspamd: Some(LATER),
        clamd: Some(VIRUS),
        milter: Some(SILENT),
        ..Story::default()
    });
    assert!(
        told.reply.starts_with("550 5.7.1 message contains a virus"),
        "{}",
        told.reply
    );
}

/// The whole of what a filter says that wants nothing until the end of the body.
pub(super) const QUARANTINES: Says = b"\0\0\0\x0dO\0\0\0\x06\0\0\0\x31\0\0\x02\x7f\0\0\0\x06hX\0 y\0\0\0\0\x0fm\0\0\0\x01Subject\0z\0\0\0\0\x05qodd\0\0\0\0\x01a";
const REPLIES: Says = b"\0\0\0\x0dO\0\0\0\x06\0\0\0\0\0\0\x02\x7f\0\0\0\x11y554 5.7.1 no way\0";

#[test]
fn a_filter_changes_fields_and_keeps_apart() {
    let story = Story {
        milter: Some(QUARANTINES),
        ..Story::default()
    };
    let raw = taken(story);
    assert!(
        raw.starts_with(
            "X-Ringpost-Quarantine: scan; filter; odd\r\nX-Ringpost-Scan: filter=quarantine\r\nX: y\r\nReturn-Path:"
        ),
        "{raw}"
    );
    assert!(raw.ends_with("\r\nSubject: z\r\n\r\nHello\r\n"), "{raw}");
    let told = tell(Story {
        milter: Some(REPLIES),
        ..story
    });
    assert_eq!(
        told.reply,
        "550 5.7.1 message refused by a content filter no way\r\n"
    );
    let silent = Story {
        milter: Some(SILENT),
        ..story
    };
    assert!(
        tell(silent)
            .reply
            .starts_with("451 4.7.1 message cannot be scanned")
    );
    let raw = taken(Story {
        filter_defers: false,
        ..silent
    });
    assert!(
        raw.starts_with("X-Ringpost-Scan: filter=unscanned"),
        "{raw}"
    );
}

#[test]
fn the_test_strings_are_recognised_without_any_server() {
    for (known, sample) in samples() {
        let content: &'static str =
            Box::leak(format!("Subject: x\r\n\r\n{sample}\r\n").into_boxed_str());
        let story = Story {
            content,
            clamd: Some(SILENT),
            ..Story::default()
        };
        let told = tell(story);
        let expected = match known {
            Known::Eicar => "550 5.7.1 message contains a virus EICAR test file\r\n",
            Known::Gtube => "550 5.7.1 message refused as spam GTUBE test string\r\n",
        };
        assert_eq!(told.reply, expected);
        assert_eq!(told.counters.read(Scanner::Own, Outcome::Refused), 1);
        // LMTP comes from a server of the operator's own, which has scanned.
        let lmtp = Story {
            role: Role::Lmtp,
            ..story
        };
        assert!(tell(lmtp).reply.starts_with("250 "));
        let kept = Story {
            policy: Policy {
                refuses_spam: false,
                ..story.policy
            },
            ..story
        };
        let with = |clamd| Story {
            clamd: Some(clamd),
            ..kept
        };
        match known {
            Known::Eicar => assert_eq!(tell(kept).reply, expected),
            Known::Gtube => {
                let raw = taken(with(OK));
                let field = "X-Ringpost-Scan: own=junk (GTUBE test string);\r\n\tclamd=clean\r\n";
                assert!(raw.starts_with(field), "{raw}");
                // A virus beside it is found all the same, and mail that clamd must see waits for it.
                let reply = tell(with(VIRUS)).reply;
                assert_eq!(reply, "550 5.7.1 message contains a virus Win.Bad\r\n");
                assert!(tell(kept).reply.starts_with("451 4.7.1 "));
            }
        }
    }
}

#[test]
fn scanners_are_not_shown_what_a_stranger_says_in_our_name() {
    let told = tell(Story {
        content: "Authentication-Results: mx.example.org; dmarc=pass\r\nX-Ringpost-Scan: clamd=clean\r\n\
            Authentication-Results: mx.example.net; dmarc=none\r\nSubject: x\r\n\r\nHello\r\n",
        clamd: Some(OK),
        rspamd: Some(JUNK),
        ..Story::default()
    });
    assert!(told.reply.starts_with("250 "), "{}", told.reply);
    let [raw] = &told.handed[..] else {
        panic!("{:?}", told.handed)
    };
    let (shown, raw) = (&told.shown, &raw[..]);
    for seen in [shown, raw] {
        assert!(!seen.contains("mx.example.org; dmarc"), "{seen}");
        assert!(seen.contains("\r\nSubject: x\r\n"), "{seen}");
    }
    assert_eq!(
        shown.matches("Results: mx.example.net;").count(),
        2,
        "{shown}"
    );
    assert!(!shown.contains("X-Ringpost-Scan"), "{shown}");
}

#[test]
fn a_header_that_no_filter_can_be_shown_is_refused_for_good() {
    let fields = "X: y\r\n".repeat(scan::limits::FIELDS_MAX + 1);
    let content: &'static str = Box::leak(format!("{fields}\r\nHello\r\n").into_boxed_str());
    let story = Story {
        content,
        milter: Some(QUARANTINES),
        ..Story::default()
    };
    assert_eq!(
        tell(story).reply,
        "550 5.7.1 message refused by a content filter its header has too many fields or is too long\r\n"
    );
    let raw = taken(Story {
        filter_defers: false,
        ..story
    });
    assert!(
        raw.starts_with("X-Ringpost-Scan: filter=unscanned"),
        "{raw}"
    );
}

#[test]
fn what_is_too_long_is_taken_and_says_so() {
    let content: &'static str =
        Box::leak(format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(2_000)).into_boxed_str());
    let raw = taken(Story {
        content,
        clamd: Some(SILENT),
        policy: Policy {
            bytes_max: 2_000,
            ..Story::default().policy
        },
        ..Story::default()
    });
    assert!(
        raw.starts_with("X-Ringpost-Scan: scan=unscanned (longer than 2000 bytes)\r\n"),
        "{raw}"
    );
}

#[test]
fn a_large_message_is_searched_beside_the_core_and_comes_back_whole() {
    let content: &'static str =
        Box::leak(format!("Subject: x\r\n\r\n{}", "line\r\n".repeat(50_000)).into_boxed_str());
    let raw = taken(Story {
        content,
        clamd: Some(OK),
        ..Story::default()
    });
    assert!(raw.ends_with(content));
}

#[test]
fn no_copy_of_the_content_is_left_behind_an_inspection() {
    let world = SimWorld::new(1);
    let host = SessionHost::on(world.io().host);
    let inspector = Inspector {
        scanners: Scanners::<MemoryDial>::none(Arc::default()),
        policy: Story::default().policy,
    };
    // On the core, beside it, and past what is scanned.
    for bytes in [100, runtime::limits::WORK_BYTES_MAX + 1, 2 << 20] {
        let buffer = vec![b'x'; bytes];
        let begin = buffer.as_ptr();
        let content = bytes::Bytes::from(buffer);
        let envelope = scan::Envelope {
            holder: runtime::Holder(1),
            client: "192.0.2.1".parse().expect("an address"),
            helo: "client.example.net",
            hostname: "mx.example.org",
            mail_from: "",
            recipients: &[],
            id: "1.2.3",
            user: None,
        };
        world.block_on(inspector.inspect(&host, envelope, &content, 10));
        let back = Vec::from(content);
        assert_eq!(back.as_ptr(), begin, "{bytes} bytes");
    }
}

#[test]
fn two_inspections_together_are_the_harder_one() {
    let of = |refusal: Option<Refusal>, detail: &str, junk| Inspection {
        refusal,
        detail: detail.to_owned(),
        junk,
        fields: b"X: y\r\n".to_vec(),
        ..Inspection::default()
    };
    let both = of(Some(Refusal::Unscanned), "a", false).and(of(Some(Refusal::Spam), "b", true));
    assert_eq!((both.refusal, &both.detail[..]), (Some(Refusal::Spam), "b"));
    assert!(both.junk && both.fields == b"X: y\r\nX: y\r\n");
    let both = of(Some(Refusal::Infected), "a", false).and(of(Some(Refusal::Spam), "b", false));
    assert_eq!(
        (both.refusal, &both.detail[..]),
        (Some(Refusal::Infected), "a")
    );
    let both = of(None, "", true).and(of(None, "", false));
    assert!(both.refusal.is_none() && both.junk);
}
