//! Stage 3, mail of strangers: what DMARC asks for is done, and what is unknown refuses nothing.

use device::sim::SimWorld;
use dns::Table;
use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;
use runtime::Stop;
use runtime::memory::connect;

use super::*;

/// What a conversation came to.
pub(super) struct Told {
    /// Of the content, and of each further one.
    pub replies: Vec<String>,
    pub handed: Vec<String>,
    /// Whose each of them is.
    accounts: Vec<Vec<u32>>,
    pub counters: Arc<Counters>,
    pub script: Script,
}

pub(super) struct Story<'a> {
    pub role: Role,
    pub enforcement: Option<Enforcement>,
    /// Score of junk, and of what is refused.
    pub judge: Option<(i32, Option<i32>)>,
    pub words: Option<Answer>,
    pub reporting: Option<Reporting>,
    pub to: [&'a str; 2],
    pub fill: &'a dyn Fn(&Table),
    /// One transaction each, to alice and bob.
    pub contents: Vec<String>,
    pub mail_from: &'a str,
    /// Done before each further transaction.
    pub then: &'a dyn Fn(&Table, &Script),
}

impl Default for Story<'_> {
    fn default() -> Self {
        Story {
            role: Role::Smtp,
            enforcement: Some(Enforcement::Enforce),
            judge: None,
            words: None,
            reporting: None,
            to: ["alice", "bob"],
            fill: &rejecting,
            contents: vec![FROM_NET.to_owned()],
            mail_from: "sender@example.net",
            then: &|_, _| {},
        }
    }
}

pub(super) const FROM_NET: &str =
    "From: sender@example.net\r\nTo: alice@example.org\r\nSubject: hello\r\n\r\nHello\r\n";

/// example.net sends from 192.0.2.1 and asks to reject everything else.
pub(super) fn accepting(table: &Table) {
    table.set_texts("example.net", &["v=spf1 ip4:192.0.2.1 -all"]);
    table.set_texts("_dmarc.example.net", &["v=DMARC1; p=reject"]);
    table.set_texts(
        "s._domainkey.example.net",
        &["v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="],
    );
}

/// As `accepting`, but the client is none of example.net's.
fn rejecting(table: &Table) {
    accepting(table);
    table.set_texts("example.net", &["v=spf1 ip4:192.0.2.99 -all"]);
}

pub(super) fn tell(story: Story) -> Told {
    let world = SimWorld::new(1);
    let host = world.io().host;
    let client = SocketAddr::from(([192, 0, 2, 1], 25));
    let (connection, peer) = connect(&host, &Stop::new(), client, 1 << 16);
    let (script, budget) = (Script::default(), Budget::with_shares(1 << 22, 1 << 22));
    let table = Table::new(&host, 1);
    (story.fill)(&table);
    let mut receiver = Receiver::on(
        SessionHost::on(host.clone()),
        Ids::of(1, 1),
        script.clone(),
        budget.clone(),
        Placed::default(),
    );
    if let Some(enforcement) = story.enforcement {
        let names = table.clone();
        receiver = receiver.authenticating(Rc::new(Authenticator { names, enforcement }));
    }
    *script.words.lock().unwrap() = story.words.clone();
    if let Some((junk, refuse)) = story.judge {
        let (junk, refuse) = (spam::Points(junk), refuse.map(spam::Points));
        receiver = receiver.judging(Judge::new(junk, refuse));
    }
    if let Some(reporting) = &story.reporting {
        receiver = receiver.reporting(reporting.clone());
    }
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
        postmaster: Address::from_parts("bob", "example.org"),
        door: None,
    };
    let counters = receiver.counters().clone();
    let hello = match story.role {
        Role::Smtp => "EHLO client.example.net\r\n",
        Role::Lmtp => "LHLO client.example.net\r\n",
    };
    let to = format!(
        "MAIL FROM:<{}>\r\nRCPT TO:<{}@example.org>\r\nRCPT TO:<{}@example.org>\r\nDATA\r\n",
        story.mail_from, story.to[0], story.to[1]
    );
    let replies = world.block_on(async {
        let conversation = async {
            let mut replies = Vec::new();
            let mut all = Vec::new();
            let mut until = async |wanted: &str| {
                while !String::from_utf8_lossy(&all).contains(wanted) {
                    assert!(peer.receive(&mut all, 1 << 10).await > 0, "closed");
                }
                String::from_utf8(std::mem::take(&mut all)).expect("ASCII")
            };
            peer.send(hello.as_bytes()).await.expect("it is there");
            until("250 ").await;
            for (at, content) in story.contents.iter().enumerate() {
                if at > 0 {
                    (story.then)(&table, &script);
                }
                peer.send(to.as_bytes()).await.expect("it is there");
                until("354 ").await;
                let data = format!("{content}.\r\n");
                peer.send(data.as_bytes()).await.expect("it is there");
                replies.push(until("\r\n").await);
            }
            peer.end();
            replies
        };
        tokio::join!(conversation, receiver.serve(&settings, connection)).0
    });
    assert_eq!(budget.used_bytes(), 0, "all memory is given back");
    let handed = std::mem::take(&mut *script.handed.lock().unwrap());
    let (handed, accounts) = handed
        .into_iter()
        .map(|(raw, accounts)| (String::from_utf8(raw).expect("UTF-8"), accounts))
        .unzip();
    Told {
        replies,
        handed,
        accounts,
        counters,
        script,
    }
}

/// The one message, delivered.
fn delivered(story: Story) -> (String, Arc<Counters>) {
    let Told {
        replies,
        mut handed,
        counters,
        ..
    } = tell(story);
    assert!(replies[0].starts_with("250 2.0.0"), "{replies:?}");
    (handed.pop().expect("a message"), counters)
}

fn count(counters: &Counters, method: &str, outcome: &str) -> u64 {
    let mut all = counters.results.all();
    let row = all.find(|(of, word, _)| (*of, *word) == (method, outcome));
    row.expect("a row").2
}

fn signed(content: &str) -> String {
    let decode = |text: &str| data_encoding::BASE64.decode(text.as_bytes()).unwrap();
    let seed = decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=");
    let public = decode("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    let key = Ed25519Key::from_seed_and_public_key(&seed, &public).unwrap();
    let signer = DkimSigner::from_key(key)
        .domain("example.net")
        .selector("s")
        .headers(["From", "To", "Subject"]);
    let signature = signer.sign(content.as_bytes()).unwrap();
    format!("{}{content}", signature.to_header())
}

#[test]
fn a_message_of_its_author_is_delivered_with_the_results_in_front() {
    let (raw, counters) = delivered(Story {
        fill: &accepting,
        ..Story::default()
    });
    let fields = "Authentication-Results: mx.example.org;\r\n\tspf=pass\r\n\t smtp.mailfrom=sender@example.net;\r\n\tdkim=none;\r\n\t\
        dmarc=pass (p=reject dis=none)\r\n\t header.from=example.net\r\nReturn-Path: <sender@example.net>\r\nReceived: ";
    assert!(raw.starts_with(fields), "{raw}");
    assert!(raw.ends_with(FROM_NET), "{raw}");
    assert_eq!(count(&counters, "spf", "pass"), 1);
    assert_eq!(count(&counters, "dkim", "none"), 1);
    assert_eq!(count(&counters, "dmarc", "pass"), 1);
}

#[test]
fn what_the_domain_asks_to_reject_is_refused_for_all_recipients() {
    let told = tell(Story::default());
    assert_eq!(
        told.replies,
        [
            "550 5.7.1 the domain in From asks to reject this message, because neither SPF nor DKIM authenticates it (DMARC)\r\n"
        ]
    );
    assert_eq!(told.handed, [""; 0]);
    assert_eq!(told.counters.results.rejected.load(Relaxed), 1);
    assert_eq!(told.counters.refused.load(Relaxed), 1);
    assert_eq!(count(&told.counters, "dmarc", "fail"), 1);
}

#[test]
fn quarantine_is_a_delivery_with_a_mark() {
    let (raw, counters) = delivered(Story {
        fill: &|table| {
            rejecting(table);
            table.set_texts("_dmarc.example.net", &["v=DMARC1; p=quarantine"]);
        },
        contents: vec![format!("x-ringpost-quarantine: mine\r\n{FROM_NET}")],
        ..Story::default()
    });
    assert!(
        raw.contains("dmarc=fail (p=quarantine dis=quarantine)"),
        "{raw}"
    );
    assert!(
        raw.contains("\r\nX-Ringpost-Quarantine: dmarc; header.from=example.net\r\nReturn-Path:"),
        "{raw}"
    );
    assert!(!raw.contains("mine"), "{raw}");
    assert_eq!(counters.results.quarantined.load(Relaxed), 1);
}

#[test]
fn without_answers_mail_is_delivered_and_the_field_says_so() {
    let all = [
        "example.net",
        "_dmarc.example.net",
        "s._domainkey.example.net",
    ];
    let failing = |table: &Table| {
        rejecting(table);
        for name in all {
            table.set_failing(name, Some("SERVFAIL"));
        }
    };
    let silent = |table: &Table| {
        rejecting(table);
        for name in all {
            table.set_slow(name, Duration::from_secs(3_600));
        }
    };
    for fill in [&failing as &dyn Fn(&Table), &silent] {
        let (raw, counters) = delivered(Story {
            fill,
            contents: vec![signed(FROM_NET)],
            ..Story::default()
        });
        for word in ["spf=temperror", "dkim=temperror", "dmarc=temperror"] {
            assert!(raw.contains(word), "{word}: {raw}");
        }
        assert_eq!(count(&counters, "dmarc", "temperror"), 1);
    }
}

#[test]
fn a_domain_without_records_is_delivered_as_it_comes() {
    let (raw, counters) = delivered(Story {
        fill: &|_| {},
        ..Story::default()
    });
    for word in ["spf=none", "dkim=none", "dmarc=none"] {
        assert!(raw.contains(word), "{word}: {raw}");
    }
    assert_eq!(count(&counters, "dmarc", "none"), 1);
}

#[test]
fn a_list_that_keeps_the_signature_passes_and_one_that_breaks_it_is_refused() {
    let list = |contents: Vec<String>| Story {
        mail_from: "list-bounces@list.test",
        contents,
        ..Story::default()
    };
    let (raw, _) = delivered(list(vec![format!(
        "List-Id: <x.list.test>\r\n{}",
        signed(FROM_NET)
    )]));
    assert!(
        raw.contains("dkim=pass") && raw.contains("dmarc=pass"),
        "{raw}"
    );
    let told = tell(list(vec![format!("{}-- \r\nfooter\r\n", signed(FROM_NET))]));
    assert!(
        told.replies[0].starts_with("550 5.7.1 "),
        "{:?}",
        told.replies
    );
    assert_eq!(count(&told.counters, "dkim", "fail"), 1);
}

#[test]
fn a_report_changes_no_delivery() {
    let (raw, counters) = delivered(Story {
        enforcement: Some(Enforcement::Report),
        ..Story::default()
    });
    assert!(raw.contains("dmarc=fail (p=reject dis=reject)"), "{raw}");
    assert_eq!(counters.results.rejected.load(Relaxed), 0);
}

#[test]
fn fields_in_our_name_are_removed_from_mail_of_strangers_and_no_others() {
    const OURS: &str = "Authentication-Results: MX.example.org (x);\r\n\tspf=pass\r\n";
    const OTHERS: &str = "Authentication-Results: mx.example.net; spf=pass\r\n";
    let content = format!("{OURS}Subject: x\r\n{OTHERS}{OURS}\r\n{OURS}");
    let kept = format!("Subject: x\r\n{OTHERS}\r\n{OURS}");
    for enforcement in [None, Some(Enforcement::Enforce)] {
        let (raw, _) = delivered(Story {
            enforcement,
            contents: vec![content.clone()],
            ..Story::default()
        });
        assert!(raw.ends_with(&format!("\r\n{kept}")), "{raw}");
        let ours = usize::from(enforcement.is_some());
        assert_eq!(
            raw.to_lowercase()
                .matches("results: mx.example.org")
                .count(),
            ours + 1
        );
    }
    // LMTP comes from a server of the operator's own, which has checked.
    let (raw, counters) = delivered(Story {
        role: Role::Lmtp,
        contents: vec![content.clone()],
        ..Story::default()
    });
    assert!(
        raw.starts_with("Return-Path:") && raw.ends_with(&content),
        "{raw}"
    );
    assert_eq!(count(&counters, "dmarc", "fail"), 0);
}

#[test]
fn a_large_message_is_hashed_beside_the_core_and_comes_back_whole() {
    let body = "0123456789abcdef\r\n".repeat(20_000);
    let content = signed(&format!("{FROM_NET}{body}"));
    let (raw, _) = delivered(Story {
        contents: vec![content.clone()],
        ..Story::default()
    });
    assert!(raw.contains("dkim=pass") && raw.ends_with(&content));
}

/// What is in front may differ from try to try; the content is the same.
#[test]
fn a_next_try_is_known_although_its_results_differ() {
    let told = tell(Story {
        fill: &|table| {
            accepting(table);
            table.set_failing("example.net", Some("SERVFAIL"));
        },
        contents: vec![
            "Subject: first\r\n\r\n\r\n".to_owned(),
            FROM_NET.to_owned(),
            FROM_NET.to_owned(),
        ],
        then: &|table, script| {
            if script.handed.lock().unwrap().len() == 1 {
                let full = Err(MailboxFault::OverQuota);
                script
                    .next
                    .lock()
                    .unwrap()
                    .push_back(Ok(vec![Ok(()), full]));
            } else {
                table.set_failing("example.net", None);
            }
        },
        ..Story::default()
    });
    let codes: Vec<&str> = told.replies.iter().map(|reply| &reply[..3]).collect();
    assert_eq!(codes, ["250", "451", "250"]);
    assert_eq!(told.accounts, [vec![1, 2], vec![1, 2], vec![2]]);
    assert!(told.handed[1].contains("spf=temperror") && told.handed[2].contains("spf=pass"));
}
