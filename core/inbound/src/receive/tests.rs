//! A core receives on loopback for a keeper that does what it is told; the clients are blocking sockets on the test's own thread.

mod again;
mod holders;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Mutex;

use runtime::{Core, CoreHandle, CoreSettings, Listener, bind};
use smtp::client::{Client, Content, Event, Mail, Sent};
use tracing::Span;

use super::*;
use storage::arrival::{Looked, Resident};
use storage::owner::Busy;

/// What was handed over: the raw message and its recipients.
type Handed = (Vec<u8>, Vec<u32>);
/// What a delivery comes to.
type Results = Result<Vec<Result<(), MailboxFault>>, Busy>;

/// Accounts 1 alice, 2 bob, 3 full (no room), 4 small (room for 100 bytes), all of example.org.
#[derive(Clone, Default)]
struct Script {
    handed: Arc<Mutex<Vec<Handed>>>,
    /// What the next deliveries come to; without any, all goes well.
    next: Arc<Mutex<VecDeque<Results>>>,
    generation: Arc<AtomicU64>,
    looked_up: Arc<AtomicU64>,
}

impl Keeper for Script {
    async fn look_up(&self, address: &Address) -> Result<Looked, Busy> {
        self.looked_up.fetch_add(1, Relaxed);
        let account = |id, left_bytes| {
            Found::Account(Resident {
                account: AccountId(id),
                left_bytes,
            })
        };
        let found = match (address.local(), address.domain()) {
            ("alice", "example.org") => account(1, None),
            ("bob", "example.org") => account(2, None),
            ("full", "example.org") => account(3, Some(0)),
            ("small", "example.org") => account(4, Some(100)),
            ("gone", "example.org") => return Err(Busy),
            (_, "example.org") => Found::NoMailbox,
            _ => Found::NotOurs,
        };
        Ok(Looked {
            found: Ok(found),
            generation: self.generation.clone(),
            at: self.generation.load(Relaxed),
        })
    }

    async fn deliver(
        &self,
        arrival: Arrival,
        _span: &Span,
    ) -> Result<Vec<Result<(), MailboxFault>>, Busy> {
        let accounts: Vec<u32> = arrival.accounts.iter().map(|account| account.0).collect();
        assert_eq!(arrival.body.name, BodyName::of(&arrival.body.raw));
        assert!(
            Summary::decode(&arrival.body.summary)
                .is_ok_and(|summary| summary == Summary::of(&arrival.body.raw))
        );
        let results = self
            .next
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or_else(|| Ok(vec![Ok(()); accounts.len()]));
        self.handed
            .lock()
            .unwrap()
            .push((arrival.body.raw.to_vec(), accounts));
        results
    }
}

struct Served {
    address: SocketAddr,
    core: CoreHandle,
    script: Script,
    budget: Budget,
    counters: Arc<Counters>,
    /// When the core has stopped: the most bytes that one job looked at on it.
    largest: std::sync::mpsc::Receiver<usize>,
}

struct Options {
    role: Role,
    budget_bytes: usize,
    /// Of one peer.
    share_bytes: usize,
    sink: bool,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            role: Role::Smtp,
            budget_bytes: 64 << 20,
            share_bytes: usize::MAX,
            sink: false,
            tls: None,
        }
    }
}

fn serve(options: Options) -> Served {
    let socket = bind("127.0.0.1:0".parse().unwrap()).expect("a port");
    let address = socket.local_addr().unwrap();
    let script = Script::default();
    let budget = Budget::with_shares(options.budget_bytes, options.share_bytes);
    let (tell_largest, largest) = std::sync::mpsc::channel();
    let (keeper, memory) = (script.clone(), budget.clone());
    let (told, counters) = std::sync::mpsc::channel();
    let core = Core::start(
        CoreSettings {
            name: "test".into(),
            cpu: None,
        },
        move |core| async move {
            let receiver = Rc::new(Receiver::new(keeper, memory, Placed::default()));
            told.send(receiver.counters().clone()).unwrap();
            let config = smtp::Config {
                role: options.role,
                hostname: "mx.example.org".into(),
                limits: smtp::Limits::default(),
                tls_available: options.tls.is_some(),
                tls_required: false,
            };
            let settings = Rc::new(Settings {
                smtp: Arc::new(config),
                tls: options.tls,
                postmaster: Address::from_parts("bob", "example.org"),
                sink: options.sink,
            });
            let listener = Listener {
                name: "test",
                socket,
                connections_max: 10,
                refusal: b"",
                tls: None,
                counters: Arc::default(),
            };
            let serve: runtime::listener::Serve = Rc::new(move |connection| {
                let (receiver, settings) = (receiver.clone(), settings.clone());
                Box::pin(async move { receiver.serve(&settings, connection).await })
            });
            core.serve(listener, serve).expect("a listener");
            core.stop().requested().await;
            core.drain(Duration::from_secs(10)).await;
            let _ = tell_largest.send(runtime::workers::largest_here());
        },
    )
    .expect("a core");
    Served {
        largest,
        address,
        core,
        script,
        budget,
        counters: counters.recv().unwrap(),
    }
}

impl Served {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    /// One connection, these mails, then QUIT.
    fn send(&self, role: Role, mails: Vec<Mail>) -> Vec<Sent> {
        let mut stream = self.connect();
        converse(
            &mut stream,
            &mut Client::new(role, "client.example", false),
            mails,
        )
    }

    fn handed(&self) -> Vec<Handed> {
        std::mem::take(&mut self.script.handed.lock().unwrap())
    }

    fn then(&self, results: Results) {
        self.script.next.lock().unwrap().push_back(results);
    }

    fn stop(self) {
        self.core.stop();
        self.core.join();
        assert_eq!(self.budget.used_bytes(), 0, "all memory is given back");
    }
}

fn converse(stream: &mut (impl Read + Write), client: &mut Client, mails: Vec<Mail>) -> Vec<Sent> {
    let (mut mails, mut sent) = (mails.into_iter(), Vec::new());
    let (mut input, mut output) = (Vec::new(), Vec::new());
    let mut at = 0;
    loop {
        // until the server says goodbye
        let (used, event) = client.receive(&input[at..], &mut output);
        at += used;
        match event {
            Event::NeedInput => {}
            Event::Bye => return sent,
            Event::StartTls => return sent,
            Event::Ready(_) | Event::Sent(_) => {
                if let Event::Sent(answer) = event {
                    sent.push(answer);
                }
                match mails.next() {
                    Some(mail) => client.send(mail, &mut output),
                    None => client.quit(&mut output),
                }
            }
            other => panic!("{other:?}"),
        }
        stream.write_all(&output).expect("the server listens");
        output.clear();
        if event_wants_input(&input[at..]) {
            let mut arrived = [0; 4096];
            let count = stream.read(&mut arrived).expect("the server answers");
            assert!(count > 0, "the server closed early");
            input.extend_from_slice(&arrived[..count]);
        }
    }
}

fn event_wants_input(rest: &[u8]) -> bool {
    memchr::memchr(b'\n', rest).is_none()
}

const CONTENT: &[u8] = b"Subject: hello\r\n\r\n.dot\r\ntext\r\n";

fn mail(recipients: &[&str]) -> Mail {
    Mail {
        reverse_path: "sender@example.net".into(),
        recipients: recipients
            .iter()
            .map(|recipient| format!("{recipient}@example.org"))
            .collect(),
        parameters: String::new(),
        content: Content::stuffed(CONTENT),
    }
}

/// The first outcome as code and text.
fn outcome(sent: &Sent) -> (u16, &str) {
    (sent.outcomes[0].code, &sent.outcomes[0].lines[0])
}

fn codes(replies: &[smtp::client::Reply]) -> Vec<(u16, &str)> {
    replies
        .iter()
        .map(|reply| (reply.code, reply.lines[0].split(' ').next().unwrap()))
        .collect()
}

#[test]
fn a_message_is_handed_over_behind_its_trace_fields_and_then_accepted() {
    let served = serve(Options::default());
    let sent = served.send(Role::Smtp, vec![mail(&["alice"])]);
    let (code, text) = outcome(&sent[0]);
    assert_eq!(code, 250);
    let id = text
        .strip_prefix("2.0.0 ok ")
        .expect("the reply names the message");

    let (raw, accounts) = served.handed().remove(0);
    assert_eq!(accounts, [1]);
    let raw = String::from_utf8(raw).unwrap();
    let begin = format!(
        "Return-Path: <sender@example.net>\r\nReceived: from client.example ([127.0.0.1])\r\n\tby mx.example.org with ESMTP\r\n\tid {id}\r\n\tfor <alice@example.org>; "
    );
    let rest = raw.strip_prefix(&begin).unwrap_or_else(|| panic!("{raw}"));
    let (date, content) = rest.split_once("\r\n").unwrap();
    assert!(date.ends_with(" +0000"), "{date}");
    assert_eq!(content.as_bytes(), CONTENT);
    assert_eq!(served.counters.accepted.load(Relaxed), 1);
    assert_eq!(served.counters.bytes.load(Relaxed), raw.len() as u64);
    served.stop();
}

#[test]
fn several_recipients_are_not_told_of_each_other_and_one_mailbox_gets_one_copy() {
    let served = serve(Options::default());
    let sent = served.send(Role::Smtp, vec![mail(&["alice", "bob", "alice"])]);
    assert_eq!(outcome(&sent[0]).0, 250);
    let (raw, accounts) = served.handed().remove(0);
    assert_eq!(accounts, [1, 2]);
    assert!(memchr::memmem::find(&raw, b"for <").is_none());
    served.stop();
}

#[test]
fn each_recipient_hears_its_own_answer() {
    let served = serve(Options::default());
    let mut several = mail(&["alice", "nobody", "full", "gone", "postmaster"]);
    several
        .recipients
        .extend(["x@elsewhere.example".to_owned(), "Postmaster".to_owned()]);
    several.parameters = " SIZE=150".into();
    several.recipients.push("small@example.org".into());
    let sent = served.send(Role::Smtp, vec![several]);
    assert_eq!(
        codes(&sent[0].recipients),
        [
            (250, "2.1.5"),
            (550, "5.1.1"),
            (452, "4.2.2"),
            (451, "4.3.2"),
            (250, "2.1.5"),
            (550, "5.7.1"),
            (250, "2.1.5"),
            (452, "4.2.2")
        ]
    );
    assert_eq!(served.handed()[0].1, [1, 2], "postmaster is bob");
    served.stop();
}

#[test]
fn the_directory_is_asked_once_until_it_changes() {
    let served = serve(Options::default());
    served.send(
        Role::Smtp,
        vec![mail(&["alice"]), mail(&["alice"]), mail(&["alice"])],
    );
    assert_eq!(served.script.looked_up.load(Relaxed), 1);
    served.script.generation.fetch_add(1, Relaxed);
    served.send(Role::Smtp, vec![mail(&["alice"])]);
    assert_eq!(served.script.looked_up.load(Relaxed), 2);
    served.stop();
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let served = serve(Options {
        role: Role::Lmtp,
        ..Options::default()
    });
    served.then(Ok(vec![Ok(()), Err(MailboxFault::OverQuota)]));
    let sent = served.send(Role::Lmtp, vec![mail(&["bob", "nobody", "alice", "bob"])]);
    // The store was asked for accounts 1 and 2, in that order: alice has it, bob's mailbox is full.
    assert_eq!(
        codes(&sent[0].outcomes),
        [(452, "4.2.2"), (250, "2.0.0"), (452, "4.2.2")]
    );
    served.stop();
}

#[test]
fn storage_that_cannot_is_a_temporary_answer() {
    let served = serve(Options::default());
    served.then(Err(Busy));
    served.then(Ok(vec![Err(MailboxFault::Unavailable("full".into()))]));
    served.then(Ok(vec![Err(MailboxFault::NoAccount)]));
    let sent = served.send(
        Role::Smtp,
        vec![
            mail(&["alice"]),
            mail(&["alice"]),
            mail(&["alice"]),
            mail(&["alice"]),
        ],
    );
    let answers: Vec<_> = sent.iter().map(|sent| codes(&sent.outcomes)[0]).collect();
    assert_eq!(
        answers,
        [
            (451, "4.3.2"),
            (451, "4.3.0"),
            (550, "5.1.1"),
            (250, "2.0.0")
        ]
    );
    assert_eq!(
        (
            served.counters.deferred.load(Relaxed),
            served.counters.refused.load(Relaxed)
        ),
        (2, 1)
    );
    served.stop();
}

#[test]
fn content_never_outgrows_its_budget() {
    let served = serve(Options {
        budget_bytes: 100_000,
        ..Options::default()
    });
    let mut big = mail(&["alice"]);
    big.content = Content::stuffed(&b"0123456789abcdef\r\n".repeat(10_000));
    let mut announced = big.clone();
    announced.parameters = " SIZE=180000".into();
    let mut chunk = big.clone();
    chunk.content = Content::chunk(&b"0123456789abcdef\r\n".repeat(10_000));
    let sent = served.send(Role::Smtp, vec![big, announced, chunk, mail(&["alice"])]);
    let answers: Vec<_> = sent.iter().map(|sent| codes(&sent.outcomes)[0]).collect();
    assert_eq!(
        answers,
        [
            (452, "4.3.1"),
            (452, "4.3.1"),
            (452, "4.3.1"),
            (250, "2.0.0")
        ]
    );
    assert_eq!(served.handed().len(), 1);
    served.stop();
}

#[test]
fn a_message_that_goes_in_circles_is_refused() {
    let served = serve(Options::default());
    let mut circling = mail(&["alice"]);
    circling.content = Content::stuffed(&b"Received: from a by b; now\r\n".repeat(101));
    let sent = served.send(Role::Smtp, vec![circling]);
    assert_eq!(codes(&sent[0].outcomes), [(554, "5.4.6")]);
    assert!(served.handed().is_empty());
    served.stop();
}

#[test]
fn the_sink_keeps_nothing() {
    let served = serve(Options {
        sink: true,
        ..Options::default()
    });
    let sent = served.send(Role::Smtp, vec![mail(&["alice"]), mail(&["nobody"])]);
    assert_eq!(outcome(&sent[0]).0, 250);
    assert_eq!(codes(&sent[1].recipients), [(550, "5.1.1")]);
    assert!(served.handed().is_empty());
    served.stop();
}

#[test]
fn whoever_is_silent_when_the_appliance_stops_is_told() {
    let served = serve(Options::default());
    let mut lines = BufReader::new(served.connect());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    served.core.stop();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "421 4.3.2 shutting down, try again\r\n");
    served.stop();
}

#[test]
fn starttls_protects_the_rest_and_stands_in_the_trace() {
    let signed = rcgen::generate_simple_self_signed(vec!["mx.example.org".to_owned()])
        .expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der())
        .expect("a key");
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .expect("a pair");
    let served = serve(Options {
        tls: Some(Arc::new(config)),
        ..Options::default()
    });

    let mut stream = served.connect();
    let mut client = Client::new(Role::Smtp, "client.example", true);
    assert_eq!(
        converse(&mut stream, &mut client, Vec::new()),
        [],
        "plaintext ends at STARTTLS"
    );
    let mut roots = rustls::RootCertStore::empty();
    roots.add(signed.cert.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection =
        rustls::ClientConnection::new(Arc::new(config), "mx.example.org".try_into().unwrap())
            .unwrap();
    let mut stream = rustls::StreamOwned::new(connection, stream);
    let mut hello = Vec::new();
    client.tls_started(&mut hello);
    stream.write_all(&hello).unwrap();
    let sent = converse(&mut stream, &mut client, vec![mail(&["alice"])]);
    assert_eq!(outcome(&sent[0]).0, 250);
    let raw = String::from_utf8(served.handed().remove(0).0).unwrap();
    assert!(raw.contains("with ESMTPS (TLS"), "{raw}");
    served.stop();
}

#[test]
fn ids_never_repeat() {
    let (one, two) = (Ids::new(), Ids::new());
    let ids = [one.next(), one.next(), two.next(), two.next()];
    for (index, id) in ids.iter().enumerate() {
        assert!(!ids[..index].contains(id), "{ids:?}");
        assert!(
            id.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
        );
    }
}

#[test]
fn one_answer_for_all_is_never_final_where_anything_may_yet_succeed() {
    let (ok, full, unknown) = (
        Ok(()),
        Err(Refusal::MailboxFull),
        Err(Refusal::UnknownRecipient),
    );
    assert_eq!(one_answer(&[ok, ok]), None);
    assert_eq!(one_answer(&[unknown, ok]), Some(Refusal::SomeFailed));
    assert_eq!(one_answer(&[unknown, full]), Some(Refusal::MailboxFull));
    assert_eq!(
        one_answer(&[unknown, unknown]),
        Some(Refusal::UnknownRecipient)
    );
    for fault in [
        MailboxFault::NoMailbox,
        MailboxFault::Exists,
        MailboxFault::OverQuota,
        MailboxFault::Refused("x"),
        MailboxFault::TooMany("x"),
        MailboxFault::Damaged,
        MailboxFault::Unavailable("x".into()),
    ] {
        assert!(refusal_for(&fault).is_temporary(), "{fault:?}");
    }
    assert!(!refusal_for(&MailboxFault::NoAccount).is_temporary());
}

/// RFC 3463 §3.4: a full system is not a full mailbox, and a message that never fits is refused for good.
#[test]
fn what_the_store_cannot_take_is_named_to_the_sender() {
    assert_eq!(refusal_for(&MailboxFault::Full), Refusal::StorageFull);
    assert_eq!(refusal_for(&MailboxFault::TooLarge), Refusal::TooBig);
    assert_eq!(refusal_for(&MailboxFault::OverQuota), Refusal::MailboxFull);
    assert!(refusal_for(&MailboxFault::Full).is_temporary());
    assert!(!refusal_for(&MailboxFault::TooLarge).is_temporary());
}
