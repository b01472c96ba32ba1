//! Servers that hang, answer halves, or send garbage: each call ends at its deadline, and the next server is asked.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::ber::{ENUMERATED, SEQUENCE, SET, constructed, octets, put_number};

use super::*;

/// What a server does with each connection: it has read one message, and may answer.
type Behaviour = fn(&mut TcpStream, usize, u8);

/// A server on a thread of its own, with the number of its connections. It ends with the test's process.
fn server(behaviour: Behaviour) -> (Server, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counted.fetch_add(1, SeqCst);
            std::thread::spawn(move || speak(stream, behaviour));
        }
    });
    let server = Server {
        url: format!("ldap://127.0.0.1:{port}"),
        host: "127.0.0.1".into(),
        port,
        tls: Tls::Never,
    };
    (server, count)
}

fn speak(mut stream: TcpStream, behaviour: Behaviour) {
    let (mut buffer, mut messages) = (Vec::new(), 0);
    loop {
        while let Ok(Some(length)) = ber::message_length(&buffer) {
            if buffer.len() < length {
                break;
            }
            let message: Vec<u8> = buffer.drain(..length).collect();
            let mut whole = ber::Elements::new(&message);
            let mut parts = ber::Elements::new(whole.expect(SEQUENCE).expect("a message"));
            let id = parts.expect(ber::INTEGER).and_then(ber::number);
            let (operation, _) = parts.next().expect("an operation");
            messages += 1;
            behaviour(&mut stream, id.expect("a number") as usize, operation);
        }
        let mut chunk = [0; 4_096];
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(count) => buffer.extend(&chunk[..count]),
        }
        assert!(messages < 10_000);
    }
}

fn send(stream: &mut TcpStream, id: usize, operation: Vec<u8>) {
    let bytes = constructed(SEQUENCE, &[put_number(ber::INTEGER, id as u32), operation]);
    let _ = stream.write_all(&bytes); // the client may be gone
}

fn result(tag: u8, code: u32) -> Vec<u8> {
    constructed(
        tag,
        &[put_number(ENUMERATED, code), octets(b""), octets(b"")],
    )
}

fn entry(dn: &str, mail: &str) -> Vec<u8> {
    let attribute = constructed(
        SEQUENCE,
        &[
            octets(b"mail"),
            constructed(SET, &[octets(mail.as_bytes())]),
        ],
    );
    constructed(
        0x64,
        &[octets(dn.as_bytes()), constructed(SEQUENCE, &[attribute])],
    )
}

/// One that has one user, whose password is anything but that of the tests that say `wrong`.
fn good(stream: &mut TcpStream, id: usize, operation: u8) {
    match operation {
        0x60 => send(stream, id, result(0x61, 0)),
        0x63 => {
            send(stream, id, entry("cn=ada", "ada@example.org"));
            send(stream, id, result(0x65, 0));
        }
        _ => {}
    }
}

fn settings(servers: Vec<Server>) -> Settings {
    Settings {
        servers,
        bind_dn: "cn=search".into(),
        bind_password: Secret::new(b"secret".to_vec()),
        base: "dc=example".into(),
        user_filter: Filter::parse("(mail={address})").expect("a filter"),
        mail: vec!["mail".into()],
        aliases: vec![],
        disabled: String::new(),
        domains: vec!["example.org".into()],
        required_group: None,
        has_chain_rule: false,
        groups: None,
        group_base: "dc=example".into(),
        member: "member".into(),
        user: "uid".into(),
        deadline: Duration::from_millis(300),
    }
}

fn tls() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions");
    let none = rustls::RootCertStore::empty();
    Arc::new(config.with_root_certificates(none).with_no_client_auth())
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

fn ask(servers: Vec<Server>) -> (Ldap, Result<Checked, Away>) {
    let ldap = Ldap::start(settings(servers), tls()).expect("a thread");
    let checked = block_on(ldap.check("ada@example.org".into(), b"pass".to_vec()));
    (ldap, checked)
}

#[test]
fn a_server_that_hangs_in_any_place_ends_at_the_deadline_and_the_next_is_asked() {
    let hangs: [Behaviour; 6] = [
        // It accepts and says nothing.
        |_, _, _| {},
        // Half of a message.
        |stream, _, _| drop(stream.write_all(b"\x30\x0c\x02\x01")),
        // A head that promises much.
        |stream, _, _| drop(stream.write_all(b"\x30\x83\x0f\x00\x00\x02")),
        // It stops in the middle of a search.
        |stream, id, operation| match operation {
            0x63 => send(stream, id, entry("cn=ada", "ada@example.org")),
            _ => good(stream, id, operation),
        },
        // The bind of the user is never answered; that of the one that searches was.
        |stream, id, operation| match (operation, id) {
            (0x60, 3) => {}
            _ => good(stream, id, operation),
        },
        // Intermediate messages without end.
        |stream, id, operation| {
            if operation == 0x63 {
                for _ in 0..1_000 {
                    send(stream, id, constructed(0x79, &[]));
                }
            } else {
                good(stream, id, operation);
            }
        },
    ];
    for (index, behaviour) in hangs.into_iter().enumerate() {
        let (bad, _) = server(behaviour);
        let (well, asked) = server(good);
        let (ldap, checked) = ask(vec![bad.clone(), well]);
        assert!(
            matches!(checked, Ok(Checked::Right(_))),
            "{index}: {checked:?}"
        );
        assert_eq!(asked.load(SeqCst), 1);
        let health = ldap.gauges().health();
        assert!(!health[0].is_up && health[1].is_up, "{index}: {health:?}");
        assert_eq!(health[0].why.as_deref(), Some("it does not answer in time"));
        let (_, alone) = ask(vec![bad]);
        assert!(alone.is_err(), "{index}: {alone:?}");
    }
}

#[test]
fn garbage_is_a_fault_of_the_server_and_of_nothing_else() {
    let garbage: [Behaviour; 7] = [
        |stream, _, _| drop(stream.write_all(b"\x30\x00")),
        |stream, _, _| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        |stream, _, _| drop(stream.write_all(&[0x30; 65_536])),
        // Longer than what is read.
        |stream, _, _| drop(stream.write_all(b"\x30\x84\x7f\xff\xff\xff")),
        // The answer to something else.
        |stream, id, _| send(stream, id + 7, result(0x61, 0)),
        // A notice of disconnection.
        |stream, _, _| send(stream, 0, result(0x78, 52)),
        |stream, _, _| drop(stream.shutdown(std::net::Shutdown::Both)),
    ];
    for (index, behaviour) in garbage.into_iter().enumerate() {
        let (bad, _) = server(behaviour);
        let (well, _) = server(good);
        let (ldap, checked) = ask(vec![bad, well]);
        assert!(
            matches!(checked, Ok(Checked::Right(_))),
            "{index}: {checked:?}"
        );
        assert!(!ldap.gauges().health()[0].is_up, "{index}");
    }
}

fn check(ldap: &Ldap, name: &str) -> Result<Checked, Away> {
    block_on(ldap.check(name.to_owned(), b"pass".to_vec()))
}

/// A client that connects to us chooses the name: no name makes a server rest, or no user could log in.
#[test]
fn a_name_or_a_password_that_is_too_long_costs_no_server_its_rest() {
    let (well, asked) = server(good);
    let narrow = format!("(mail={}{{address}})", "x".repeat(3_800));
    let settings = Settings {
        user_filter: Filter::parse(&narrow).expect("a filter"),
        ..settings(vec![well])
    };
    let ldap = Ldap::start(settings, tls()).expect("a thread");
    let long = format!("{}@example.org", "a".repeat(limits::USER_BYTES_MAX));
    assert_eq!(check(&ldap, &long), Ok(Checked::Unknown));
    assert_eq!(block_on(ldap.person(long)), Ok(None));
    for password in [
        vec![b'a'; limits::PASSWORD_BYTES_MAX + 1],
        b"\0pass".to_vec(),
    ] {
        let checked = block_on(ldap.check("ada@example.org".into(), password));
        assert_eq!(checked, Ok(Checked::Wrong));
    }
    assert_eq!(asked.load(SeqCst), 0);
    // Letters that are escaped take three places, and do not fit into this filter.
    let stars = format!("{}@example.org", "*".repeat(200));
    assert!(check(&ldap, &stars).unwrap_err().0.contains("letters"));
    assert!(ldap.gauges().health()[0].is_up);
    assert!(matches!(
        check(&ldap, "ada@example.org"),
        Ok(Checked::Right(_))
    ));
}

/// One user's entry is odd: the server is asked about others at once, and the next server about this one.
#[test]
fn an_answer_about_one_user_does_not_let_a_server_rest() {
    let odd: [Behaviour; 2] = [
        // `other`, to the bind of the user.
        |stream, id, operation| match (operation, id) {
            (0x60, 3) => send(stream, id, result(0x61, 80)),
            _ => good(stream, id, operation),
        },
        // invalidAttributeSyntax, of what the user wrote.
        |stream, id, operation| match operation {
            0x63 => send(stream, id, result(0x65, 21)),
            _ => good(stream, id, operation),
        },
    ];
    for behaviour in odd {
        let (odd, _) = server(behaviour);
        let (well, _) = server(good);
        let (ldap, checked) = ask(vec![odd, well]);
        assert!(matches!(checked, Ok(Checked::Right(_))), "{checked:?}");
        let health = ldap.gauges().health();
        assert!(health[0].is_up && health[0].failures == 1, "{health:?}");
        assert!(health[0].why.is_some());
    }
}

/// A search by the user's name finds one entry, and a search by its address two.
#[test]
fn an_address_that_two_entries_have_lets_no_one_in_by_another_name() {
    let (two, _) = server(|stream, id, operation| match (operation, id) {
        (0x63, 2) => {
            send(stream, id, entry("cn=mallory", "ada@example.org"));
            send(stream, id, result(0x65, 0));
        }
        (0x63, _) => {
            send(stream, id, entry("cn=mallory", "ada@example.org"));
            send(stream, id, entry("cn=ada", "ada@example.org"));
            send(stream, id, result(0x65, 0));
        }
        _ => good(stream, id, operation),
    });
    let ldap = Ldap::start(settings(vec![two]), tls()).expect("a thread");
    assert_eq!(check(&ldap, "mallory@example.org"), Ok(Checked::Unknown));
    let (one, _) = server(good);
    let ldap = Ldap::start(settings(vec![one]), tls()).expect("a thread");
    let checked = check(&ldap, "lovelace@example.org");
    assert!(matches!(checked, Ok(Checked::Right(_))), "{checked:?}");
}

/// The server's own limit cut the answer: there may be a second entry.
#[test]
fn one_entry_of_a_search_that_was_cut_off_is_not_the_only_one() {
    let (cut, _) = server(|stream, id, operation| match operation {
        0x63 => {
            send(stream, id, entry("cn=ada", "ada@example.org"));
            send(stream, id, result(0x65, 4));
        }
        _ => good(stream, id, operation),
    });
    let (ldap, checked) = ask(vec![cut]);
    assert!(checked.unwrap_err().0.contains("too many entries"));
    assert!(ldap.gauges().health()[0].is_up);
}

/// It closes connections that were idle, and says so: that is not the end of the server.
#[test]
fn a_notice_on_a_kept_connection_is_answered_by_another_connection() {
    let (closing, asked) = server(|stream, id, operation| {
        good(stream, id, operation);
        if (operation, id) == (0x60, 3) {
            send(stream, 0, result(0x78, 52));
        }
    });
    let (ldap, first) = ask(vec![closing]);
    assert!(matches!(first, Ok(Checked::Right(_))), "{first:?}");
    std::thread::sleep(Duration::from_millis(50));
    let again = check(&ldap, "ada@example.org");
    assert!(matches!(again, Ok(Checked::Right(_))), "{again:?}");
    assert_eq!(asked.load(SeqCst), 2);
    assert!(ldap.gauges().health()[0].is_up);
}

/// Questions that wait for each other are no fault of the server, however short its deadline is.
#[test]
fn a_queue_of_our_own_is_not_taken_for_a_server_that_fails() {
    let (slow, _) = server(|stream, id, operation| {
        if operation == 0x63 {
            std::thread::sleep(Duration::from_millis(50));
        }
        good(stream, id, operation);
    });
    let ldap = Ldap::start(settings(vec![slow]), tls()).expect("a thread");
    block_on(async {
        let local = tokio::task::LocalSet::new();
        for _ in 0..60 {
            let ldap = ldap.clone();
            local.spawn_local(async move {
                let _ = ldap.check("ada@example.org".into(), b"p".to_vec()).await; // it may be put off
            });
        }
        local.await;
    });
    let health = &ldap.gauges().health()[0];
    assert!(health.is_up && health.failures == 0, "{health:?}");
}

/// Entries without end, of one user or of all: what is held is bounded, and the server is not at fault.
#[test]
fn a_search_that_never_ends_is_cut_off() {
    let (flood, _) = server(|stream, id, operation| match operation {
        0x63 => {
            let mut one = constructed(
                SEQUENCE,
                &[
                    put_number(ber::INTEGER, id as u32),
                    entry("cn=ada", "ada@example.org"),
                ],
            );
            one = one.repeat(100);
            while stream.write_all(&one).is_ok() {}
        }
        _ => good(stream, id, operation),
    });
    let (ldap, checked) = ask(vec![flood]);
    assert!(checked.unwrap_err().0.contains("too many entries"));
    assert!(ldap.gauges().health()[0].is_up);
}

#[test]
fn a_server_that_failed_rests_and_is_not_asked_again_at_once() {
    let (silent, asked) = server(|_, _, _| {});
    let (ldap, first) = ask(vec![silent]);
    assert!(first.is_err());
    for _ in 0..20 {
        let again = block_on(ldap.check("ada@example.org".into(), b"pass".to_vec()));
        assert!(again.is_err());
    }
    assert_eq!(asked.load(SeqCst), 1, "it rests");
    assert_eq!(ldap.gauges().health()[0].calls, 1);
}

#[test]
fn an_empty_password_never_reaches_a_server() {
    let (well, asked) = server(good);
    let ldap = Ldap::start(settings(vec![well]), tls()).expect("a thread");
    let checked = block_on(ldap.check("ada@example.org".into(), Vec::new()));
    assert_eq!(checked, Ok(Checked::Wrong));
    assert_eq!(asked.load(SeqCst), 0);
}

/// A bind with an empty name is anonymous, whatever the password.
#[test]
fn an_entry_without_a_name_is_no_user() {
    let (nameless, _) = server(|stream, id, operation| match operation {
        0x63 => {
            send(stream, id, entry("", "ada@example.org"));
            send(stream, id, result(0x65, 0));
        }
        _ => good(stream, id, operation),
    });
    assert_eq!(ask(vec![nameless]).1, Ok(Checked::Unknown));
}

/// A search whose base is missing, or that the server does not want to make, is not an empty directory.
#[test]
fn a_refused_search_is_not_an_empty_one() {
    let (refusing, _) = server(|stream, id, operation| match operation {
        0x63 => send(stream, id, result(0x65, 32)),
        _ => good(stream, id, operation),
    });
    let ldap = Ldap::start(settings(vec![refusing]), tls()).expect("a thread");
    assert!(block_on(ldap.everything()).is_err());
    let (cut, _) = server(|stream, id, operation| match operation {
        0x63 => {
            send(stream, id, entry("cn=ada", "ada@example.org"));
            send(stream, id, result(0x65, 4));
        }
        _ => good(stream, id, operation),
    });
    let ldap = Ldap::start(settings(vec![cut]), tls()).expect("a thread");
    assert!(block_on(ldap.everything()).is_err(), "not all of it");
    assert!(ldap.gauges().health()[0].is_up, "logins go on");
}

/// Five hundred entries take longer than one.
#[test]
fn a_page_of_everything_may_take_longer_than_a_login() {
    let (slow, _) = server(|stream, id, operation| {
        if operation == 0x63 {
            std::thread::sleep(Duration::from_millis(500));
        }
        good(stream, id, operation);
    });
    let ldap = Ldap::start(settings(vec![slow]), tls()).expect("a thread");
    let (people, _) = block_on(ldap.everything()).expect("read");
    assert_eq!(people.len(), 1);
    assert!(ldap.gauges().health()[0].is_up);
    assert!(
        check(&ldap, "ada@example.org").is_err(),
        "a login waits less"
    );
}

#[test]
fn many_questions_share_few_connections() {
    let (well, asked) = server(good);
    let patient = Settings {
        deadline: Duration::from_secs(30),
        ..settings(vec![well])
    };
    let ldap = Ldap::start(patient, tls()).expect("a thread");
    block_on(async {
        let local = tokio::task::LocalSet::new();
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let ldap = ldap.clone();
                let check =
                    async move { ldap.check("ada@example.org".into(), b"p".to_vec()).await };
                local.spawn_local(check)
            })
            .collect();
        local.await;
        for task in tasks {
            assert!(matches!(task.await, Ok(Ok(Checked::Right(_)))));
        }
    });
    assert!(asked.load(SeqCst) <= limits::CONNECTIONS_EACH_MAX);
}
