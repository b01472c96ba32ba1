//! Against name servers of the test's own, which answer what they are set to, by UDP and by TCP.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX};
use hickory_proto::rr::{RData, Record, RecordType};

use super::*;

mod proved;
mod records;
mod strangers;

const PATIENCE: Patience = Patience {
    waits: [Duration::from_millis(100); 3],
    deadline: Duration::from_secs(10),
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    Udp,
    Tcp,
}

/// What a server sends back, one after the other.
type Says = Vec<Vec<u8>>;

struct Server {
    address: SocketAddr,
    questions: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<(String, RecordType, By)>>>,
}

/// A server on a port of its own, for as long as the process lives.
fn server(says: impl Fn(&Message, By) -> Says + Send + Sync + 'static) -> Server {
    // The port that UDP gets may be taken for TCP, by a test beside this one as a rule.
    let bind = |_| {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = udp.local_addr().expect("bound");
        Some((udp, TcpListener::bind(address).ok()?, address))
    };
    let bound = (0..20).find_map(bind);
    let (udp, tcp, address) = bound.expect("a port of both in twenty tries");
    let questions = Arc::new(AtomicUsize::new(0));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let says = {
        let (questions, asked) = (questions.clone(), asked.clone());
        Arc::new(move |wire: &[u8], by| {
            questions.fetch_add(1, Ordering::SeqCst);
            let question = Message::from_vec(wire).expect("our own questions can be read");
            let query = &question.queries[0];
            let row = (query.name().to_ascii(), query.query_type(), by);
            asked.lock().expect("no panic").push(row);
            says(&question, by)
        })
    };
    let by_udp = says.clone();
    std::thread::spawn(move || {
        let mut wire = [0; 4_096];
        while let Ok((bytes, from)) = udp.recv_from(&mut wire) {
            for answer in by_udp(&wire[..bytes], By::Udp) {
                let _ = udp.send_to(&answer, from);
            }
        }
    });
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.expect("a connection");
            let mut length = [0; 2];
            if stream.read_exact(&mut length).is_err() {
                continue;
            }
            let mut wire = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut wire).expect("the question follows");
            for answer in says(&wire, By::Tcp) {
                let length = (answer.len() as u16).to_be_bytes();
                let _ = stream.write_all(&[&length[..], &answer].concat());
            }
        }
    });
    Server {
        address,
        questions,
        asked,
    }
}

impl Server {
    fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    fn asked(&self) -> Vec<(String, RecordType, By)> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn kind(question: &Message) -> RecordType {
    question.queries[0].query_type()
}

fn answer(question: &Message, change: impl FnOnce(&mut Message)) -> Message {
    let mut message = Message::response(question.metadata.id, OpCode::Query);
    message.add_query(question.queries[0].clone());
    change(&mut message);
    message
}

fn wire(message: Message) -> Says {
    vec![message.to_vec().expect("it fits")]
}

fn code(question: &Message, code: ResponseCode) -> Says {
    wire(answer(question, |message| {
        message.metadata.response_code = code
    }))
}

/// `count` MX records, or one address of each family.
fn records(question: &Message, count: u16) -> Message {
    answer(question, |message| {
        let owner = question.queries[0].name().clone();
        let add = |message: &mut Message, data| {
            message.add_answer(Record::from_rdata(owner.clone(), 300, data));
        };
        match kind(question) {
            RecordType::MX => {
                for at in 0..count {
                    let host = format!("mx{at}.example.");
                    let host = WireName::from_ascii(&host).expect("a name");
                    add(message, RData::MX(MX::new(10 + at, host)));
                }
            }
            RecordType::A => add(message, RData::A(A::new(192, 0, 2, 1))),
            RecordType::AAAA => add(
                message,
                RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
            ),
            other => panic!("no test asks for {other}"),
        }
    })
}

fn good() -> Server {
    server(|question, _| wire(records(question, 2)))
}

/// A server that hears and says nothing.
fn silent() -> Server {
    server(|_, _| Vec::new())
}

fn resolver(servers: &[&Server]) -> Resolver {
    let servers = servers.iter().map(|server| server.address).collect();
    Resolver::with_patience(Servers::fixed(servers), 1, PATIENCE)
}

fn run<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(story)
}

async fn first_host(names: &Resolver, domain: &str) -> Result<String, NameFault> {
    match names.exchangers(domain).await? {
        Exchangers::Hosts(hosts) => Ok(hosts[0].host.clone()),
        Exchangers::Nowhere => Ok(String::new()),
    }
}

fn unavailable<T: std::fmt::Debug>(outcome: Result<T, NameFault>) -> String {
    match outcome {
        Err(NameFault::Unavailable(why)) => why,
        other => panic!("{other:?} is known for sure"),
    }
}

#[test]
fn a_server_that_fails_is_passed_over_for_the_next() {
    for bad in [
        ResponseCode::ServFail,
        ResponseCode::Refused,
        ResponseCode::NotImp,
    ] {
        run(async {
            let (failing, good) = (server(move |question, _| code(question, bad)), good());
            let names = resolver(&[&failing, &good]);
            assert_eq!(
                first_host(&names, "a.example").await.as_deref(),
                Ok("mx0.example")
            );
            let before = failing.questions();
            assert_eq!(
                first_host(&names, "b.example").await.as_deref(),
                Ok("mx0.example")
            );
            assert_eq!(
                failing.questions(),
                before,
                "the one that answered is asked first"
            );
        });
    }
}

#[test]
fn a_failure_of_all_servers_is_for_later_and_is_remembered_a_moment() {
    run(async {
        let failing = server(|question, _| code(question, ResponseCode::ServFail));
        let names = resolver(&[&failing]);
        let why = unavailable(names.exchangers("a.example").await);
        assert!(
            why.contains("SERVFAIL") && why.contains("127.0.0.1"),
            "{why}"
        );
        assert_eq!(
            failing.questions(),
            1,
            "a server that failed is not asked again at once"
        );
        unavailable(names.exchangers("a.example").await);
        assert_eq!(failing.questions(), 1);
    });
}

#[test]
fn a_silent_server_is_asked_three_times_and_costs_the_others_nothing() {
    run(async {
        let (silent, good) = (silent(), good());
        let names = resolver(&[&silent]);
        assert_eq!(
            unavailable(names.exchangers("a.example").await),
            "no name server answers"
        );
        assert_eq!(silent.questions(), 3);
        let names = resolver(&[&silent, &good]);
        assert!(first_host(&names, "a.example").await.is_ok());
        assert!(first_host(&names, "b.example").await.is_ok());
        assert_eq!(silent.questions(), 4);
    });
}

#[test]
fn a_look_up_ends_at_its_deadline_also_when_it_waits_for_its_turn() {
    run(async {
        let silent = silent();
        let servers = Servers::fixed(vec![silent.address]);
        let patience = Patience {
            waits: [Duration::from_secs(60); 3],
            deadline: Duration::from_secs(1),
        };
        let names = Resolver::with_patience(servers, 1, patience);
        let mut waiting = Vec::new();
        for at in 0..LOOKUPS_MAX + 20 {
            let names = names.clone();
            waiting.push(async move { names.exchangers(&format!("n{at}.example")).await });
        }
        let local = tokio::task::LocalSet::new();
        let tasks: Vec<_> = waiting
            .into_iter()
            .map(|one| local.spawn_local(one))
            .collect();
        local
            .run_until(async {
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(names.shared.lookups.available_permits(), 0);
                assert!(silent.questions() <= LOOKUPS_MAX);
                for task in tasks {
                    let outcome = task.await.expect("no panic");
                    assert_eq!(unavailable(outcome), "no answer in time");
                }
            })
            .await;
    });
}

#[test]
fn a_port_where_nothing_listens_is_no_wait() {
    run(async {
        let free = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let closed = free.local_addr().expect("bound");
        drop(free);
        let patience = Patience {
            waits: [Duration::from_secs(600); 3],
            deadline: Duration::from_secs(600),
        };
        let servers = Servers::fixed(vec![closed, good().address]);
        let names = Resolver::with_patience(servers, 1, patience);
        assert!(first_host(&names, "a.example").await.is_ok());
    });
}

#[test]
fn nonsense_is_not_an_answer() {
    run(async {
        let good = good();
        // Without our identifier: somebody else's. With it: the server's own.
        let noise = server(|_, _| vec![vec![0xff; 100], vec![], vec![0; 3]]);
        let broken = server(|question, _| {
            let mut wire = question.metadata.id.to_be_bytes().to_vec();
            wire.extend_from_slice(&[0x81; 200]);
            vec![wire]
        });
        for bad in [&noise, &broken] {
            unavailable(resolver(&[bad]).exchangers("a.example").await);
            assert!(
                first_host(&resolver(&[bad, &good]), "a.example")
                    .await
                    .is_ok()
            );
        }
        assert_eq!(broken.questions(), 2);
    });
}

#[test]
fn a_forged_answer_before_the_right_one_is_waited_past() {
    run(async {
        let forger = server(|question, _| {
            let mut forged = records(question, 1);
            forged.metadata.id = forged.metadata.id.wrapping_add(1);
            let mut other = records(question, 1);
            other.queries[0].set_name(WireName::from_ascii("x.example.").expect("a name"));
            [wire(forged), wire(other), wire(records(question, 2))].concat()
        });
        let found = resolver(&[&forger]).exchangers("a.example").await;
        assert!(
            matches!(&found, Ok(Exchangers::Hosts(hosts)) if hosts.len() == 2),
            "{found:?}"
        );
    });
}

#[test]
fn a_truncated_answer_is_asked_for_by_tcp_and_is_bounded_there() {
    let truncated = |question: &Message| {
        wire(answer(question, |message| {
            message.metadata.truncation = true
        }))
    };
    run(async {
        let long = server(move |question, by| match by {
            By::Udp => truncated(question),
            By::Tcp => wire(records(question, 100)),
        });
        let Ok(Exchangers::Hosts(hosts)) = resolver(&[&long]).exchangers("a.example").await else {
            panic!("it has exchangers");
        };
        assert_eq!(hosts.len(), EXCHANGERS_MAX);
        assert_eq!(
            (hosts[9].preference, hosts[9].host.as_str()),
            (19, "mx9.example")
        );
        let by: Vec<By> = long.asked().iter().map(|(_, _, by)| *by).collect();
        assert_eq!(by, [By::Udp, By::Tcp]);

        let endless = server(move |question, by| match by {
            By::Udp => truncated(question),
            By::Tcp => vec![vec![0; TCP_BYTES_MAX + 1]],
        });
        let gone = server(move |question, by| match by {
            By::Udp => truncated(question),
            By::Tcp => Vec::new(),
        });
        let always = server(move |question, _| truncated(question));
        for bad in [endless, gone, always] {
            unavailable(resolver(&[&bad]).exchangers("a.example").await);
        }
    });
}

#[test]
fn an_old_server_is_asked_without_edns() {
    run(async {
        let old = server(|question, _| match &question.edns {
            Some(_) => code(question, ResponseCode::FormErr),
            None => wire(records(question, 2)),
        });
        assert!(first_host(&resolver(&[&old]), "a.example").await.is_ok());
        assert_eq!(old.questions(), 2);
    });
}

#[test]
fn aliases_are_followed_to_a_bound() {
    run(async {
        // n8 → n7 → … → n0, which has records; `endless` → endless.endless → …
        let chain = server(|question, _| {
            let name = question.queries[0].name().to_ascii();
            let target = match name.strip_prefix('n').and_then(|rest| rest.split_once('.')) {
                Some(("0", _)) => return wire(records(question, 2)),
                Some((at, _)) => {
                    let at: usize = at.parse().expect("a number");
                    format!("n{}.example.", at - 1)
                }
                None => format!("x{name}"),
            };
            wire(answer(question, |message| {
                let target = WireName::from_ascii(&target).expect("a name");
                let data = RData::CNAME(CNAME(target));
                let owner = question.queries[0].name().clone();
                message.add_answer(Record::from_rdata(owner, 300, data));
            }))
        });
        let names = resolver(&[&chain]);
        assert!(
            first_host(&names, &format!("n{CNAMES_MAX}.example"))
                .await
                .is_ok()
        );
        assert_eq!(chain.questions(), CNAMES_MAX + 1);
        unavailable(
            names
                .exchangers(&format!("n{}.example", CNAMES_MAX + 1))
                .await,
        );
        let before = chain.questions();
        unavailable(names.exchangers("x.example").await);
        assert_eq!(chain.questions() - before, CNAMES_MAX + 1);
    });
}

#[test]
fn without_mx_records_the_domain_itself_takes_its_mail_if_it_has_an_address() {
    run(async {
        let plain = server(|question, _| match kind(question) {
            RecordType::A => wire(records(question, 0)),
            _ => wire(answer(question, |_| {})),
        });
        let names = resolver(&[&plain]);
        assert_eq!(
            names.exchangers("Bücher.example").await,
            Ok(Exchangers::implicit("xn--bcher-kva.example".to_owned()))
        );
        assert!(
            plain
                .asked()
                .iter()
                .all(|(name, _, _)| name == "xn--bcher-kva.example.")
        );
        let before = plain.questions();
        assert!(names.addresses("xn--bcher-kva.example").await.is_ok());
        assert_eq!(plain.questions(), before, "they were found on the way");

        let empty = server(|question, _| wire(answer(question, |_| {})));
        let absent = server(|question, _| code(question, ResponseCode::NXDomain));
        for nothing in [&empty, &absent] {
            let names = resolver(&[nothing]);
            let no = NameFault::NoSuchDomain;
            assert_eq!(names.exchangers("a.example").await, Err(no.clone()));
            assert_eq!(names.addresses("a.example").await, Err(no.clone()));
            let before = nothing.questions();
            assert_eq!(names.exchangers("a.example").await, Err(no));
            assert_eq!(nothing.questions(), before, "an absence is remembered");
        }
        // MX records say nothing, and the addresses are not known: the domain may exist.
        let half = server(|question, _| match kind(question) {
            RecordType::MX => wire(answer(question, |_| {})),
            _ => code(question, ResponseCode::ServFail),
        });
        unavailable(resolver(&[&half]).exchangers("a.example").await);
    });
}

#[test]
fn one_family_of_addresses_is_enough_and_both_take_turns() {
    run(async {
        let both = good();
        let found = resolver(&[&both]).addresses("a.example").await;
        let found: Vec<String> = found
            .expect("addresses")
            .iter()
            .map(IpAddr::to_string)
            .collect();
        assert_eq!(found, ["2001:db8::1", "192.0.2.1"]);
        for bad in [ResponseCode::ServFail, ResponseCode::NXDomain] {
            let half = server(move |question, _| match kind(question) {
                RecordType::A => wire(records(question, 0)),
                _ => code(question, bad),
            });
            let found = resolver(&[&half]).addresses("a.example").await;
            assert_eq!(found, Ok(vec![IpAddr::from([192, 0, 2, 1])]), "{bad}");
        }
        // Absent by one, unknown by the other: not absent.
        let unsure = server(|question, _| match kind(question) {
            RecordType::A => code(question, ResponseCode::ServFail),
            _ => wire(answer(question, |_| {})),
        });
        unavailable(resolver(&[&unsure]).addresses("a.example").await);
    });
}

#[test]
fn an_answer_is_asked_for_once_while_it_holds() {
    run(async {
        let good = good();
        let names = resolver(&[&good]);
        for _ in 0..3 {
            assert!(first_host(&names, "A.example.").await.is_ok());
            assert!(names.clone().addresses("mx0.example").await.is_ok());
        }
        assert_eq!(good.questions(), 3, "MX, AAAA and A");
        let fleeting = server(|question, _| {
            let mut message = records(question, 2);
            message.answers.iter_mut().for_each(|record| record.ttl = 0);
            wire(message)
        });
        let names = resolver(&[&fleeting]);
        for _ in 0..3 {
            assert!(first_host(&names, "a.example").await.is_ok());
        }
        assert_eq!(fleeting.questions(), 3, "a lifetime of nothing is not kept");
    });
}

#[test]
fn nothing_is_asked_about_what_cannot_be_a_host() {
    run(async {
        let good = good();
        let names = resolver(&[&good]);
        let long = format!("{}.example", "a".repeat(64));
        let longer = ["a".repeat(60).as_str(); 5].join(".");
        for wrong in [
            "",
            "a..b",
            "a b.example",
            "192.0.2.1",
            "x.onion",
            "localhost",
            "a.invalid",
            &long,
            &longer,
        ] {
            assert_eq!(
                names.exchangers(wrong).await,
                Err(NameFault::NoSuchDomain),
                "{wrong}"
            );
            assert_eq!(
                names.addresses(wrong).await,
                Err(NameFault::NoSuchDomain),
                "{wrong}"
            );
        }
        assert_eq!(
            names.addresses("[IPv6:2001:db8::7]").await,
            Ok(vec!["2001:db8::7".parse().expect("an address")])
        );
        assert_eq!(good.questions(), 0);
    });
}

#[test]
fn addresses_that_nobody_can_dial_are_left_out_and_the_rest_is_bounded() {
    let many = |family: fn(u16) -> IpAddr, count| {
        (0..count).map(|at| Value::Address(family(at))).collect()
    };
    let four: fn(u16) -> IpAddr = |at| IpAddr::from([192, 0, 2, at as u8]);
    let six: fn(u16) -> IpAddr = |at| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, at]);
    let mixed = take_turns(many(six, 100), many(four, 100));
    assert_eq!(mixed.len(), ADDRESSES_MAX);
    assert_eq!(mixed[..4], [six(0), four(0), six(1), four(1)]);
    let lone = take_turns(many(six, 1), many(four, 100));
    assert_eq!(lone[..3], [six(0), four(0), four(1)]);
    assert_eq!(lone.len(), ADDRESSES_MAX);
    let useless = ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1"];
    let useless = useless.map(|text| Value::Address(text.parse().expect("an address")));
    assert!(take_turns(Vec::new(), useless.to_vec()).is_empty());
}

#[test]
fn identifiers_differ_from_question_to_question_and_from_resolver_to_resolver() {
    let twins = [(); 2].map(|()| Resolver::new(Servers::fixed(Vec::new()), 1));
    let [one, other] = twins.map(|names| {
        let of = (0..64).map(|_| names.shared.identifier());
        of.collect::<std::collections::BTreeSet<u16>>()
    });
    assert!(one.len() > 60 && other.len() > 60 && one != other);
}
