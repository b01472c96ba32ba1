//! The pool and the conversations against servers in memory, on virtual time: each server misbehaves at each step.

use std::cell::RefCell;

use device::sim::SimWorld;
use runtime::dial::memory::{Manner, MemoryDial, MemoryListener};
use runtime::memory::{MemoryConnection, MemoryPeer};
use runtime::{DialFault, Stop};

use super::*;
use crate::milter::Decision;
use crate::{Envelope, call, clamd, rspamd};

mod health;

/// Who sends where a test says nothing else.
const PEER: Holder = Holder(1);
const DEADLINE: Duration = Duration::from_secs(20);

struct World {
    sim: SimWorld,
    dial: MemoryDial,
    host: SessionHost,
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 3310))
}

fn world() -> World {
    let sim = SimWorld::new(1);
    let host = sim.io().host;
    World {
        dial: MemoryDial::new(&host, &Stop::new(), 1 << 16, 64),
        host: SessionHost::on(host),
        sim,
    }
}

impl World {
    fn pool(&self, servers: &[u8]) -> Pool<MemoryDial> {
        let servers: Vec<SocketAddr> = servers.iter().map(|last| address(*last)).collect();
        let (host, dial) = (self.host.clone(), self.dial.clone());
        Pool::new(host, dial, &servers, 4, DEADLINE, Arc::default())
    }

    /// A server that does the same with each connection, for as long as the world lasts.
    fn serve(&self, last: u8, server: impl AsyncFn(MemoryPeer) + 'static) {
        let listener: MemoryListener = self.dial.listen(address(last));
        self.host.spawn(Box::pin(async move {
            loop {
                // until the world ends
                server(listener.accept().await).await;
            }
        }));
    }
}

async fn hangs(peer: &MemoryPeer) {
    let mut ignored = Vec::new();
    while peer.receive(&mut ignored, 1 << 16).await > 0 {
        ignored.clear();
    }
}

async fn until(peer: &MemoryPeer, end: &[u8]) -> Vec<u8> {
    let mut got = Vec::new();
    while !got.ends_with(end) {
        if peer.receive(&mut got, 1 << 16).await == 0 {
            break;
        }
    }
    got
}

async fn ask_clamd(pool: &Pool<MemoryDial>, content: &[u8]) -> Result<clamd::Answer, Fault> {
    ask_clamd_for(PEER, pool, content).await
}

async fn ask_clamd_for(
    peer: Holder,
    pool: &Pool<MemoryDial>,
    content: &[u8],
) -> Result<clamd::Answer, Fault> {
    let talk = async |connection: MemoryConnection, _| call::clamd(connection, content).await;
    pool.call(peer, talk).await
}

fn envelope(recipients: &[String]) -> Envelope<'_> {
    Envelope {
        holder: PEER,
        client: "192.0.2.1".parse().expect("an address"),
        helo: "client.example.net",
        hostname: "mx.example.org",
        mail_from: "a@example.net",
        recipients,
        id: "1.2.3",
        user: None,
    }
}

async fn ask_rspamd(pool: &Pool<MemoryDial>, content: &[u8]) -> Result<rspamd::Answer, Fault> {
    let recipients = ["b@example.org".to_owned()];
    pool.call(PEER, async |connection: MemoryConnection, server| {
        call::rspamd(connection, server, &envelope(&recipients), content).await
    })
    .await
}

const END: &[u8] = b"\0\0\0\0";

#[test]
fn a_stream_arrives_whole_and_its_answer_comes_back() {
    let world = world();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let kept = seen.clone();
    world.serve(1, async move |peer| {
        *kept.borrow_mut() = until(&peer, END).await;
        peer.send(b"stream: Bad.Thing FOUND\0")
            .await
            .expect("there");
    });
    let content = vec![b'x'; 150_000];
    let pool = world.pool(&[1]);
    let answer = world
        .sim
        .block_on(async { ask_clamd(&pool, &content).await });
    assert_eq!(answer, Ok(clamd::Answer::Infected("Bad.Thing".to_owned())));
    let seen = seen.borrow();
    let mut rest = seen.strip_prefix(clamd::BEGIN).expect("the command");
    let mut streamed = 0;
    while let Some((length, more)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        assert!(more[..length].iter().all(|byte| *byte == b'x'));
        streamed += length;
        rest = &more[length..];
    }
    assert_eq!(streamed, content.len());
}

#[test]
fn whatever_a_server_does_the_call_ends_by_its_deadline() {
    for step in 0..7 {
        let world = world();
        let host = world.host.clone();
        match step {
            0 => world.dial.set(address(1), Manner::Hangs),
            1 => world.serve(1, async |peer| hangs(&peer).await),
            // It reads nothing at all: what we send has no room.
            2 => world.serve(1, async |peer| {
                let _kept = peer;
                std::future::pending::<()>().await;
            }),
            3 => world.serve(1, async |peer| {
                until(&peer, END).await;
                peer.send(b"stream: ").await.expect("there");
                hangs(&peer).await;
            }),
            // A byte now and then.
            4 => world.serve(1, async move |peer| {
                until(&peer, END).await;
                while peer.send(b"s").await.is_ok() {
                    host.sleep(Duration::from_secs(1)).await;
                }
            }),
            5 => world.serve(1, async |peer| {
                let mut some = Vec::new();
                peer.receive(&mut some, 100).await;
                peer.reset();
            }),
            _ => world.serve(1, async |peer| {
                until(&peer, END).await;
                let long = vec![b'x'; 64 * 1_024];
                while peer.send(&long).await.is_ok() {}
            }),
        }
        let pool = world.pool(&[1]);
        let began = world.host.now();
        let answer = world
            .sim
            .block_on(async { ask_clamd(&pool, &[b'x'; 200_000]).await });
        let fault = answer.expect_err("no verdict");
        let took = world.host.now().since_us(began);
        assert!(
            took <= DEADLINE.as_micros() as u64,
            "step {step}: {fault}, {took}"
        );
        let expected: fn(&Fault) -> bool = match step {
            0..=4 => |fault| matches!(fault, Fault::TimedOut | Fault::Dial(DialFault::TimedOut)),
            5 => |fault| matches!(fault, Fault::Connection(_)),
            _ => |fault| *fault == Fault::TooLong,
        };
        assert!(expected(&fault), "step {step}: {fault}");
    }
}

#[test]
fn a_stream_that_is_too_long_for_clamd_is_not_a_failure_of_it() {
    let world = world();
    world.serve(1, async |peer| {
        let mut some = Vec::new();
        peer.receive(&mut some, 1_000).await;
        let words = b"INSTREAM size limit exceeded. ERROR\0";
        peer.send(words).await.expect("there");
        hangs(&peer).await;
    });
    let pool = world.pool(&[1]);
    let content = vec![b'x'; 1 << 20];
    let answer = world
        .sim
        .block_on(async { ask_clamd(&pool, &content).await });
    assert_eq!(answer, Ok(clamd::Answer::TooLarge));
    assert_eq!(pool.counters.resting(), 0);
}

#[test]
fn clean_before_the_end_is_not_clean() {
    let world = world();
    world.serve(1, async |peer| {
        peer.send(b"stream: OK\0").await.expect("there");
        hangs(&peer).await;
    });
    let pool = world.pool(&[1]);
    let content = vec![b'x'; 1 << 20];
    let answer = world
        .sim
        .block_on(async { ask_clamd(&pool, &content).await });
    assert_eq!(answer, Err(Fault::Nonsense("an early answer")));
}

#[test]
fn what_rspamd_says_before_it_has_the_message_is_not_clean() {
    for (action, clean) in [("no action", true), ("greylist", true), ("reject", false)] {
        let world = world();
        world.serve(1, async move |peer| {
            let body = format!("{{\"action\":\"{action}\"}}");
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            peer.send(head.as_bytes()).await.expect("there");
            peer.send(body.as_bytes()).await.expect("there");
            hangs(&peer).await;
        });
        let pool = world.pool(&[1]);
        let content = vec![b'x'; 1 << 20];
        let answer = world
            .sim
            .block_on(async { ask_rspamd(&pool, &content).await });
        match clean {
            true => assert_eq!(answer, Err(Fault::Nonsense("an early answer"))),
            false => assert_eq!(answer.expect("a verdict").action, rspamd::Action::Refuse),
        }
    }
}

#[test]
fn rspamd_is_asked_by_one_request_and_heard_in_pieces() {
    let world = world();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let kept = seen.clone();
    world.serve(1, async move |peer| {
        let got = until(&peer, b"Hello\r\n").await;
        kept.borrow_mut()
            .push(String::from_utf8(got).expect("text"));
        let body = "{\"action\":\"reject\",\"score\":20.5,\"required_score\":15.0}";
        let reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        for byte in reply.as_bytes() {
            peer.send(&[*byte]).await.expect("there");
        }
    });
    let pool = world.pool(&[1]);
    let content = b"Subject: x\r\n\r\nHello\r\n";
    let answer = world
        .sim
        .block_on(async { ask_rspamd(&pool, content).await });
    let answer = answer.expect("a verdict");
    assert_eq!(
        (answer.action, answer.score),
        (rspamd::Action::Refuse, 20.5)
    );
    let seen = seen.borrow();
    assert!(
        seen[0].starts_with("POST /checkv2 HTTP/1.1\r\n"),
        "{seen:?}"
    );
    assert!(seen[0].ends_with("\r\n\r\nSubject: x\r\n\r\nHello\r\n"));
}

#[test]
fn a_reply_of_rspamd_that_breaks_off_or_has_no_end_is_no_verdict() {
    let replies: [(&'static [u8], bool); 4] = [
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"action\":\"no action\"}",
            false,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Len", false),
        (b"220 mx.example.org ESMTP\r\n", false),
        (b"HTTP/1.1 200 OK\r\n\r\n{\"x\":\"", true),
    ];
    for (reply, endless) in replies {
        let world = world();
        world.serve(1, async move |peer| {
            until(&peer, b"Hello\r\n").await;
            peer.send(reply).await.expect("there");
            let long = vec![b'x'; 64 * 1_024];
            while endless && peer.send(&long).await.is_ok() {}
        });
        let pool = world.pool(&[1]);
        let answer = world
            .sim
            .block_on(async { ask_rspamd(&pool, b"Hello\r\n").await });
        let fault = answer.expect_err("no verdict");
        assert!(fault != Fault::TimedOut, "{fault}");
        assert_eq!(endless, fault == Fault::TooLong, "{fault}");
    }
}

#[test]
fn a_header_without_an_end_costs_no_filter_its_time() {
    let many = "X: y\r\n".repeat(FIELDS_MAX + 1);
    let folded = format!("X: y{}\r\n\r\n", "\r\n ".repeat(HEADER_BYTES_MAX / 3));
    let long = format!("X: {}\r\n\r\nHello\r\n", "y".repeat(HEADER_BYTES_MAX));
    // The next field's name lies across the bound.
    let name = format!(
        "X: {}\r\nName: z\r\n\r\nHello\r\n",
        "y".repeat(HEADER_BYTES_MAX - 7)
    );
    for content in [many, folded, long, name] {
        let content: &'static [u8] = Box::leak(content.into_bytes().into_boxed_slice());
        let (answer, letters) = filtered(&[], content);
        assert_eq!((answer, &letters[..]), (Err(Fault::HeaderTooLong), ""));
    }
    // A long body is none.
    let body = format!("X: y\r\n\r\n{}", "line\r\n".repeat(HEADER_BYTES_MAX / 6));
    let body: &'static [u8] = Box::leak(body.into_bytes().into_boxed_slice());
    assert!(filtered(&[], body).0.is_ok());
}

/// Letters of packets, and what a filter answers to each; `None`: it hangs.
type Script = &'static [(u8, Option<&'static [u8]>)];

const AGREED: &[u8] = b"\0\0\0\x0dO\0\0\0\x06\0\0\0\x31\0\0\0\0";

/// Runs a filter that answers each letter as the script says, and `c` to those that are not in it. Answers the letters it saw.
fn filtered(script: Script, content: &'static [u8]) -> (Result<call::Filtered, Fault>, String) {
    let world = world();
    let letters = Rc::new(RefCell::new(String::new()));
    let seen = letters.clone();
    world.serve(1, async move |peer| {
        let mut input = Vec::new();
        loop {
            // until the other side is gone
            while let Ok(Some((letter, _, next))) = crate::milter::frame(&input) {
                input.drain(..next);
                seen.borrow_mut().push(char::from(letter));
                let answer = script.iter().find(|(of, _)| *of == letter);
                let answer = match (letter, answer) {
                    (_, Some((_, answer))) => *answer,
                    (b'O', None) => Some(AGREED),
                    (b'D' | b'Q', None) => Some(&b""[..]),
                    (_, None) => Some(&b"\0\0\0\x01c"[..]),
                };
                match answer {
                    Some(b"") => {}
                    Some(answer) => peer.send(answer).await.expect("there"),
                    None => return hangs(&peer).await,
                }
            }
            if peer.receive(&mut input, 1 << 16).await == 0 {
                return;
            }
        }
    });
    let pool = world.pool(&[1]);
    let recipients = ["b@example.org".to_owned(), "c@example.org".to_owned()];
    let filtered = world.sim.block_on(async {
        let talk = async |connection: MemoryConnection, _| {
            call::milter(connection, &envelope(&recipients), content).await
        };
        pool.call(PEER, talk).await
    });
    let letters = letters.borrow().clone();
    (filtered, letters)
}

const MESSAGE: &[u8] = b"Subject: x\r\nTo: y\r\n\r\nHello\r\n";

#[test]
fn a_filter_sees_every_step_in_order_and_its_changes_come_back() {
    let end: &[u8] = b"\0\0\0\x01p\0\0\0\x06hX\0 y\0\0\0\0\x0fm\0\0\0\x01Subject\0z\0\0\0\0\x05qodd\0\0\0\0\x01c";
    let script: Script = &[(b'E', Some(END_OF_FILTER))];
    assert_eq!(end, END_OF_FILTER);
    let (answer, letters) = filtered(script, MESSAGE);
    let answer = answer.expect("a verdict");
    assert!(letters.starts_with("ODCHDMDRDRTLLNBDE"), "{letters}");
    assert_eq!(answer.decision, Decision::Continue);
    assert_eq!(answer.fields, b"X: y\r\n");
    assert_eq!(answer.changes[0].field, b"Subject: z\r\n");
    assert_eq!(answer.quarantine.as_deref(), Some("odd"));
}

const END_OF_FILTER: &[u8] =
    b"\0\0\0\x01p\0\0\0\x06hX\0 y\0\0\0\0\x0fm\0\0\0\x01Subject\0z\0\0\0\0\x05qodd\0\0\0\0\x01c";

#[test]
fn a_decision_at_any_step_ends_the_conversation() {
    let replied = || Decision::Reply(450, "later".to_owned());
    let stories: [(Script, Decision, &str); 5] = [
        (&[(b'C', Some(b"\0\0\0\x01r"))], Decision::Reject, "ODC"),
        (
            &[(b'M', Some(b"\0\0\0\x01t"))],
            Decision::TempFail,
            "ODCHDM",
        ),
        (
            &[(b'R', Some(b"\0\0\0\x10y450 4.7.1 later\0"))],
            replied(),
            "ODCHDMDR",
        ),
        (
            &[(b'N', Some(b"\0\0\0\x01a"))],
            Decision::Accept,
            "ODCHDMDRDRTLLN",
        ),
        (
            &[(b'E', Some(b"\0\0\0\x01d"))],
            Decision::Discard,
            "ODCHDMDRDRTLLNBDE",
        ),
    ];
    for (script, decision, letters) in stories {
        let (answer, seen) = filtered(script, MESSAGE);
        assert_eq!(answer.expect("a verdict").decision, decision);
        assert!(seen == letters || seen == format!("{letters}Q"), "{seen}");
    }
}

#[test]
fn a_filter_that_wants_no_more_of_the_body_gets_its_end() {
    static LONG: &[u8] = &[b'x'; 200_000];
    let script: Script = &[
        (b'O', Some(b"\0\0\0\x0dO\0\0\0\x06\0\0\0\0\0\0\x04\0")),
        (b'B', Some(b"\0\0\0\x01s")),
    ];
    // Without an empty line all of it is header: the body stands behind one.
    let content: &'static [u8] =
        Box::leak([b"Subject: x\r\n\r\n", LONG].concat().into_boxed_slice());
    let (answer, letters) = filtered(script, content);
    assert_eq!(answer.expect("a verdict").decision, Decision::Continue);
    assert!(letters.starts_with("ODCHDMDRDRTLNBDE"), "{letters}");
}

#[test]
fn steps_that_a_filter_leaves_out_or_is_silent_about_are_not_waited_for() {
    // No HELO, no RCPT; silent about fields and the body.
    let script: Script = &[
        (b'O', Some(b"\0\0\0\x0dO\0\0\0\x06\0\0\0\0\0\x08\0\x8a")),
        (b'L', Some(b"")),
        (b'B', Some(b"")),
    ];
    let (answer, letters) = filtered(script, MESSAGE);
    assert_eq!(answer.expect("a verdict").decision, Decision::Continue);
    assert!(letters.starts_with("ODCDMTLLNBDE"), "{letters}");
}

#[test]
fn a_filter_that_hangs_at_any_step_or_answers_nonsense_gives_no_verdict() {
    let hanging: [Script; 8] = [
        &[(b'O', None)],
        &[(b'C', None)],
        &[(b'H', None)],
        &[(b'R', None)],
        &[(b'L', None)],
        &[(b'N', None)],
        &[(b'B', None)],
        &[(b'E', None)],
    ];
    for script in hanging {
        assert_eq!(filtered(script, MESSAGE).0, Err(Fault::TimedOut));
    }
    let nonsense: [Script; 6] = [
        &[(b'O', Some(b"220 mx.example.org ESMTP\r\n"))],
        &[(b'O', Some(b"\0\0\0\x01c"))],
        &[(b'H', Some(b"\xff\xff\xff\xffc"))],
        &[(b'L', Some(b"\0\0\0\x01s"))],
        &[(b'B', Some(b"\0\0\0\x06hX\0 y\0"))],
        &[(b'E', Some(b"\0\0\0\x05bbody"))],
    ];
    for script in nonsense {
        let fault = filtered(script, MESSAGE).0.expect_err("no verdict");
        assert!(
            matches!(fault, Fault::Nonsense(_) | Fault::TooLong),
            "{fault}"
        );
    }
}

#[test]
fn a_filter_is_shown_each_field_and_everything_else_as_body() {
    let long = format!("Subject: {}\r\nTo: y\r\n\r\nHello\r\n", "x".repeat(200_000));
    let long: &'static [u8] = Box::leak(long.into_bytes().into_boxed_slice());
    let (answer, letters) = filtered(&[], long);
    assert_eq!(answer.expect("a verdict").decision, Decision::Continue);
    assert!(letters.contains("TLLNBDE"), "{letters}");
    // A line that is no field: other software sees the body begin there.
    let (_, letters) = filtered(&[], b"Subject: x\r\nno field\r\nTo: y\r\n\r\nHello\r\n");
    assert!(letters.contains("TLNBDE"), "{letters}");
}

#[test]
fn a_verdict_stands_although_the_filter_reads_no_more() {
    let world = world();
    world.serve(1, async |peer| {
        // It wants the body alone, and knows already.
        let said = b"\0\0\0\x0dO\0\0\0\x06\0\0\0\x31\0\0\x02\x6f\0\0\0\x01r";
        peer.send(said).await.expect("there");
        std::future::pending::<()>().await;
        drop(peer);
    });
    // With what is negotiated and the packet's head, all that the pipe holds: there is no room for the last word.
    let content = [b"\r\n".to_vec(), vec![b'x'; (1 << 16) - 17 - 5]].concat();
    let pool = world.pool(&[1]);
    let answer = world.sim.block_on(async {
        let talk = async |connection: MemoryConnection, _| {
            call::milter(connection, &envelope(&[]), &content).await
        };
        pool.call(PEER, talk).await
    });
    assert_eq!(answer.expect("a verdict").decision, Decision::Reject);
}
