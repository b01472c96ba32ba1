//! A core serves IMAP on loopback; the client is a blocking socket on the test's own thread. The owner's lane is not
//! served: what is tested here needs no mailbox.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;

use runtime::{Budget, Core, CoreHandle, CoreSettings, Listener, bind};

use super::*;

/// A core with clients that may be silent for as long as `silences` says. `logged_in`: sessions begin so.
fn start(silences: fn() -> Silences, logged_in: bool) -> (CoreHandle, SocketAddr) {
    start_with(silences, logged_in, Budget::new(1 << 20))
}

fn start_with(
    silences: fn() -> Silences,
    logged_in: bool,
    receiving: Budget,
) -> (CoreHandle, SocketAddr) {
    let socket = bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = socket.local_addr().expect("bound");
    let settings = CoreSettings {
        name: "imap".into(),
        cpu: None,
    };
    let core = Core::start(settings, move |core| async move {
        let memory = Memory {
            reading: Budget::new(1 << 20),
            sending: Budget::new(1 << 20),
            receiving,
            compressing: Budget::new(1 << 20),
            notifying: Budget::new(1 << 20),
            orders: crate::orders::Orders::new(0, 0),
        };
        let (owner, _end) = storage::owner::owner();
        let imap = Rc::new(Imap {
            silences: silences(),
            ..Imap::new(owner, memory, Logins::new())
        });
        let serve = move |connection: runtime::TcpConnection| -> base::LocalTask {
            let imap = imap.clone();
            Box::pin(async move {
                let settings = Settings {
                    tls: None,
                    login_on_loopback: true,
                    append_bytes_max: 1_000,
                    hide: [].into(),
                };
                let mut session = Session::new(Policy::default(), false);
                if logged_in {
                    session.logged_in("-", &mut Vec::new());
                }
                let served = imap.serve_session(&settings, session, connection);
                assert!(size_of_val(&served) <= 2 * WAITING_BYTES_MAX);
                served.await;
            })
        };
        let listener = Listener {
            name: "imap",
            socket,
            connections_max: 10,
            refusal: b"",
            tls: None,
            gate: runtime::Gate::default(),
            counters: Arc::default(),
        };
        core.serve(listener, Rc::new(serve)).expect("a listener");
        core.stop().requested().await;
        assert_eq!(core.drain(Duration::from_secs(10)).await, 0);
    })
    .expect("a core");
    (core, address)
}

/// Sends `bytes` and reads to the end.
fn last_line(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).expect("a socket");
    stream.write_all(bytes).expect("it reads");
    let mut lines = BufReader::new(stream).lines();
    let greeting = lines.next().expect("a greeting").expect("a line");
    assert!(greeting.starts_with("* OK ["), "{greeting}");
    // To the end: after BYE the connection is closed.
    lines
        .map(|line| line.expect("a line, and no reset"))
        .last()
        .expect("last words")
}

const BYE: &str = "* BYE Logged out for inactivity";

/// Finding O13. RFC 9051 §7.1.5.
#[test]
fn a_silent_session_ends_with_bye() {
    let short_before_login = || Silences {
        before_login: Duration::from_millis(50),
        logged_in: Duration::from_secs(600),
    };
    let short_after = || Silences {
        before_login: Duration::from_secs(600),
        logged_in: Duration::from_millis(50),
    };
    let (core, address) = start(short_before_login, false);
    assert_eq!(last_line(address, b""), BYE);
    assert_eq!(
        last_line(address, b"a NOOP\r\nb LOGIN al"),
        BYE,
        "in the middle of a command"
    );
    core.stop();
    core.join();
    let (core, address) = start(short_after, true);
    assert_eq!(last_line(address, b""), BYE);
    assert_eq!(last_line(address, b"a IDLE\r\n"), BYE);
    core.stop();
    core.join();
}

fn patient() -> Silences {
    Silences {
        before_login: Duration::from_secs(600),
        logged_in: Duration::from_secs(600),
    }
}

/// A session that has logged in, and has read the greeting.
fn logged_in(address: SocketAddr) -> (TcpStream, BufReader<TcpStream>) {
    let stream = TcpStream::connect(address).expect("it listens");
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).expect("a socket");
    let mut lines = BufReader::new(stream.try_clone().expect("a socket"));
    assert!(next_line(&mut lines).starts_with("* OK ["));
    (stream, lines)
}

fn next_line(lines: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line, and no reset");
    line
}

/// Waits until so many bytes of `budget` are used.
fn until_used(budget: &Budget, bytes: impl std::ops::RangeBounds<usize>) {
    let began = std::time::Instant::now();
    while !bytes.contains(&budget.used_bytes()) {
        let used = budget.used_bytes();
        assert!(began.elapsed() < Duration::from_secs(20), "{used} are used");
        std::thread::yield_now();
    }
}

/// A message that the session itself refuses, for the NUL in it: no mailbox is needed.
fn message(bytes: usize) -> Vec<u8> {
    vec![0; bytes]
}

#[test]
fn every_large_command_is_paid_for() {
    let budget = Budget::new(1 << 20);
    let (core, address) = start_with(patient, true, budget.clone());
    let (mut stream, mut lines) = logged_in(address);
    // Each is small; both together are not.
    stream
        .write_all(b"a APPEND {40000+}\r\n")
        .expect("it reads");
    stream.write_all(&message(40_000)).expect("it reads");
    stream.write_all(b" {60000+}\r\n").expect("it reads");
    until_used(&budget, 100_000..);
    // Refused, and what follows at once is another message.
    let mut rest = message(60_000);
    rest.extend_from_slice(b"\r\nb APPEND x {900000}\r\n");
    stream.write_all(&rest).expect("it reads");
    assert!(next_line(&mut lines).starts_with("a BAD "));
    assert_eq!(next_line(&mut lines), "+ go ahead\r\n");
    until_used(&budget, 900_000..);
    // Nothing is held for a client that has only begun a small literal.
    let mut rest = message(900_000);
    rest.extend_from_slice(b"\r\nc LOGIN {10}\r\n");
    stream.write_all(&rest).expect("it reads");
    assert!(next_line(&mut lines).starts_with("b BAD "));
    until_used(&budget, ..=0);
    core.stop();
    core.join();
}

#[test]
fn a_literal_keeps_its_turn_however_it_comes() {
    let budget = Budget::new(1 << 20);
    let (core, address) = start_with(patient, true, budget.clone());
    let (mut stream, mut lines) = logged_in(address);
    let mark = b"a APPEND x {900000}\r\n";
    stream.write_all(mark).expect("it reads");
    assert_eq!(next_line(&mut lines), "+ go ahead\r\n");
    until_used(&budget, 900_000..);
    // Another session waits for what this one has.
    let mut other = Box::pin(budget.wait_for(runtime::Holder(u64::MAX), 900_000));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(other.as_mut().poll(&mut context).is_pending());
    for piece in message(900_000).chunks(1_000) {
        stream.write_all(piece).expect("it reads");
    }
    stream.write_all(b"\r\n").expect("it reads");
    let answer = next_line(&mut lines);
    assert!(answer.starts_with("a BAD "), "{answer}");
    drop(other);
    core.stop();
    core.join();
}

/// RFC 3502: what has come of a command is in memory, and so it stays paid for while a further message of it waits.
#[test]
fn what_is_here_stays_paid_for_while_the_next_message_waits() {
    let budget = Budget::new(1 << 20);
    let (core, address) = start_with(patient, true, budget.clone());
    let (mut stream, mut lines) = logged_in(address);
    stream
        .write_all(b"a APPEND x {500000}\r\n")
        .expect("it reads");
    assert_eq!(next_line(&mut lines), "+ go ahead\r\n");
    until_used(&budget, 500_000..);
    let used = budget.used_bytes();
    let rest = budget.take((1 << 20) - used).expect("all that is left");
    let mut more = message(500_000);
    more.extend_from_slice(b" {400000}\r\n");
    stream.write_all(&more).expect("it reads");
    // Its turn comes when another gives back; until then nothing of it is given to others.
    let mut other = Box::pin(budget.wait_for(runtime::Holder(u64::MAX), 100_000));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..200 {
        assert!(other.as_mut().poll(&mut context).is_pending());
        assert_eq!(budget.used_bytes(), 1 << 20);
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(other);
    drop(rest);
    assert_eq!(next_line(&mut lines), "+ go ahead\r\n");
    until_used(&budget, 900_000..);
    stream.write_all(&message(400_000)).expect("it reads");
    stream.write_all(b"\r\n").expect("it reads");
    let answer = next_line(&mut lines);
    assert!(answer.starts_with("a BAD "), "{answer}");
    core.stop();
    core.join();
}
