//! A core receives on loopback for a keeper that follows a script; the clients are blocking sockets on the test's own thread.

mod again;
mod apart;
mod authentic;
mod content;
mod conversation;
mod door;
mod hand_off;
mod inspect;
mod judge;
mod recipient;
mod reported;
mod route;
mod verdict;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use base::BodyName;
use mail::Summary;
use mailbox::{AccountId, MailboxFault};
use runtime::{Core, CoreHandle, CoreSettings, Listener, bind};
use smtp::client::{Client, Content, Event, Mail, Sent};
use tracing::Span;

use storage::addresses::Refused;
use storage::arrival::{Arrival, Found, Looked, Posted, Resident};
use storage::lessons::{Answer, Asked};
use storage::outgoing::Submission;
use storage::owner::Busy;

use super::*;

/// What was handed over: the raw message and its recipients.
type Handed = (Vec<u8>, Vec<u32>);
/// What a delivery comes to.
type Results = Result<Vec<Result<(), MailboxFault>>, Busy>;

/// Accounts 1 alice, 2 bob, 3 full (no room), 4 small (room for 100 bytes), and sales, list and broken, which lead on, all of example.org.
#[derive(Clone, Default)]
struct Script {
    handed: Arc<Mutex<Vec<Handed>>>,
    /// What was to be led on.
    submitted: Arc<Mutex<Vec<Submission>>>,
    /// What the next deliveries come to; without any, all goes well.
    next: Arc<Mutex<VecDeque<Results>>>,
    generation: Arc<AtomicU64>,
    looked_up: Arc<AtomicU64>,
    /// No mail can be taken just now.
    refusing: Arc<AtomicBool>,
    /// For which accounts each delivery was junk.
    junk: Arc<Mutex<Vec<Vec<u32>>>>,
    /// Who sent each delivery, and to whom.
    posted: Arc<Mutex<Vec<Posted>>>,
    /// What the owner's words say; `None`: it is busy.
    words: Arc<Mutex<Option<Answer>>>,
    /// It never says them.
    slow: Arc<AtomicBool>,
    /// What it was asked.
    asked: Arc<Mutex<Vec<Asked>>>,
    /// No address can be looked up, and mail for those that were is taken.
    silent: Arc<AtomicBool>,
}

impl Keeper for Script {
    async fn look_up(&self, address: &Address) -> Result<Looked, Busy> {
        self.looked_up.fetch_add(1, Relaxed);
        if self.silent.load(Relaxed) {
            return Err(Busy);
        }
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
            ("sales" | "list" | "broken", "example.org") => Found::Listed,
            (_, "example.org") => Found::NoMailbox,
            _ => Found::NotOurs,
        };
        Ok(Looked {
            found: Ok(found),
            generation: self.generation.clone(),
            at: self.generation.load(Relaxed),
        })
    }

    fn refuses(&self) -> bool {
        self.refusing.load(Relaxed)
    }

    async fn words(&self, asked: Asked) -> Result<Answer, Busy> {
        self.asked.lock().unwrap().push(asked);
        if self.slow.load(Relaxed) {
            std::future::pending::<()>().await;
        }
        self.words.lock().unwrap().clone().ok_or(Busy)
    }

    fn takes_known(&self) -> bool {
        self.silent.load(Relaxed)
    }

    async fn admit(
        &self,
        address: &Address,
        sender: Option<&Address>,
        _unix_seconds: u64,
    ) -> Result<Result<Result<(), Refused>, MailboxFault>, Busy> {
        Ok(match (address.local(), sender) {
            ("broken", _) => Err(MailboxFault::Unavailable("a leg is away".into())),
            ("list", None) => Ok(Err(Refused::NotPermitted)),
            _ => Ok(Ok(())),
        })
    }

    async fn submit(
        &self,
        submission: Submission,
        _span: &Span,
    ) -> Result<Result<(), MailboxFault>, Busy> {
        self.submitted.lock().unwrap().push(submission);
        match self.next.lock().unwrap().pop_front() {
            Some(Ok(results)) => Ok(results.into_iter().collect()),
            Some(Err(busy)) => Err(busy),
            None => Ok(Ok(())),
        }
    }

    async fn deliver(
        &self,
        arrival: Arrival,
        _on_behalf: OnBehalf<'_>,
        _span: &Span,
    ) -> Result<Vec<Result<(), MailboxFault>>, Busy> {
        let accounts: Vec<u32> = arrival.accounts.iter().map(|account| account.0).collect();
        assert_eq!(arrival.body.name, BodyName::of(&arrival.body.raw));
        assert!(
            Summary::decode(&arrival.body.summary)
                .is_ok_and(|summary| summary == Summary::of(&arrival.body.raw))
        );
        let junk = arrival.junk.iter().map(|account| account.0).collect();
        self.junk.lock().unwrap().push(junk);
        self.posted.lock().unwrap().push(arrival.posted);
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
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            role: Role::Smtp,
            budget_bytes: 64 << 20,
            share_bytes: usize::MAX,
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
    let (report, counters) = std::sync::mpsc::channel();
    let core = Core::start(
        CoreSettings {
            name: "test".into(),
            cpu: None,
        },
        move |core| async move {
            let receiver = Rc::new(Receiver::new(keeper, memory, Placed::default()));
            report.send(receiver.counters().clone()).unwrap();
            let config = smtp::Config {
                role: options.role,
                service: smtp::Service::Exchange,
                hostname: "mx.example.org".into(),
                limits: smtp::Limits::default(),
                tls_available: options.tls.is_some(),
                tls_required: false,
            };
            let settings = Rc::new(Settings {
                smtp: Arc::new(config),
                tls: options.tls,
                postmaster: Address::from_parts("bob", "example.org"),
                door: None,
            });
            let listener = Listener {
                name: "test",
                socket,
                connections_max: 10,
                refusal: b"",
                tls: None,
                gate: runtime::Gate::default(),
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
