//! A core dials loopback; the servers are plain blocking sockets on the test's own threads.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream as Blocking};
use std::sync::mpsc;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, socket,
};
use rustls::pki_types::ServerName;

use super::*;
use crate::connection::{Connection as _, ConnectionFault};
use crate::core::CoreSettings;

const WITHIN: Duration = Duration::from_secs(30);

/// Runs `story` on a core, and answers what it answers.
fn on_a_core<T, S, F>(connections_max: usize, story: S) -> T
where
    T: Send + 'static,
    S: FnOnce(TcpDial, Core, Arc<Counters>) -> F + Send + 'static,
    F: Future<Output = T> + 'static,
{
    let (sender, receiver) = mpsc::channel();
    let settings = CoreSettings {
        name: "dial".into(),
        cpu: None,
    };
    let core = Core::start(settings, move |core| async move {
        let counters = Arc::new(Counters::default());
        let dial = TcpDial::new(&core, connections_max, counters.clone());
        let answer = story(dial, core.clone(), counters.clone()).await;
        assert_eq!((counters.open.load(Relaxed), core.sessions()), (0, 0));
        sender.send(answer).expect("the test waits");
    })
    .expect("a core");
    let answer = receiver.recv().expect("the story ends well");
    core.join();
    answer
}

fn server() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

/// An address whose queue is full: the kernel throws every further SYN away.
fn deaf() -> (std::os::fd::OwnedFd, SocketAddr, Vec<Blocking>) {
    use std::os::fd::AsRawFd as _;
    let socket = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .expect("a socket");
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("a port");
    listen(&socket, Backlog::new(0).expect("a number")).expect("it listens");
    let at: SockaddrIn = nix::sys::socket::getsockname(socket.as_raw_fd()).expect("bound");
    let address = SocketAddr::from(([127, 0, 0, 1], at.port()));
    let mut held = Vec::new();
    while let Ok(stream) = Blocking::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
        assert!(held.len() < 16, "the queue has no end");
    }
    (socket, address, held)
}

#[test]
fn a_dialled_connection_carries_bytes_and_says_good_bye() {
    let (socket, address) = server();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = socket.accept().expect("a connection comes");
        stream.write_all(b"220 hello\r\n").expect("it reads");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).expect("it says good-bye");
        heard
    });
    on_a_core(1, move |dial, core, counters| async move {
        let mut connection = dial.dial(address, WITHIN).await.expect("it listens");
        assert_eq!(connection.peer(), address);
        assert_eq!((counters.open.load(Relaxed), core.sessions()), (1, 1));
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n") {
            connection.receive(&mut heard).await.expect("a greeting");
        }
        assert_eq!(heard, b"220 hello\r\n");
        connection.send(b"QUIT\r\n").await.expect("it reads");
        connection.close().await;
        assert_eq!(counters.accepted.load(Relaxed), 1);
    });
    assert_eq!(peer.join().expect("no panic"), b"QUIT\r\n");
}

#[test]
fn a_closed_port_refuses_and_an_address_without_a_way_is_unreachable() {
    let (socket, address) = server();
    drop(socket);
    on_a_core(1, move |dial, _, _| async move {
        let fault = dial.dial(address, WITHIN).await.err();
        assert_eq!(fault, Some(DialFault::Refused));
        // Not an address of a host: the kernel says so at once.
        let fault = dial.dial("255.255.255.255:25".parse().expect("an address"), WITHIN);
        assert_eq!(fault.await.err(), Some(DialFault::Unreachable));
    });
}

#[test]
fn a_host_that_does_not_answer_is_given_up_and_leaves_nothing_open() {
    let (_socket, address, _held) = deaf();
    on_a_core(2, move |dial, core, counters| async move {
        let descriptors = || {
            std::fs::read_dir("/proc/self/fd")
                .expect("a folder")
                .count()
        };
        let fault = dial.dial(address, Duration::from_millis(50)).await.err();
        assert_eq!(fault, Some(DialFault::TimedOut));
        assert_eq!(counters.open.load(Relaxed), 0);
        // Dropped midway, again and again: nothing is kept of any.
        let before = descriptors();
        for _ in 0..200 {
            tokio::select! {
                biased;
                _ = dial.dial(address, WITHIN) => unreachable!("no answer comes"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(counters.open.load(Relaxed), 0);
        assert!(descriptors() < before + 100, "sockets were left behind");
        let stops = async { core.stop().request() };
        let (outcome, ()) = tokio::join!(dial.dial(address, WITHIN), stops);
        assert_eq!(outcome.err(), Some(DialFault::Stopping));
        let fault = dial.dial(address, WITHIN).await.err();
        assert_eq!(fault, Some(DialFault::Stopping));
    });
}

#[test]
fn connections_past_the_bound_are_busy() {
    let (_socket, address) = server();
    on_a_core(2, move |dial, _, counters| async move {
        let first = dial.dial(address, WITHIN).await.expect("it listens");
        let second = dial.clone().dial(address, WITHIN).await.expect("a second");
        let fault = dial.dial(address, WITHIN).await.err();
        assert_eq!(fault, Some(DialFault::Busy));
        assert_eq!(counters.refused.load(Relaxed), 1);
        drop(first);
        drop(dial.dial(address, WITHIN).await.expect("room for one"));
        drop(second);
    });
}

/// A server with a certificate for `localhost`, which says `220 go` and then speaks TLS until the client says good-bye; and a client that
/// trusts it.
fn tls_server() -> (SocketAddr, Arc<rustls::ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("they belong together");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let client = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (socket, address) = server();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let mut stream = stream.expect("a connection comes");
            stream.write_all(b"220 go\r\n").expect("it reads");
            let session = rustls::ServerConnection::new(config.clone()).expect("a server");
            let mut tls = rustls::StreamOwned::new(session, stream);
            // The greeting comes with the server's last flight. A client that refuses the certificate is gone.
            if tls.write_all(b"250 under TLS\r\n").is_err() {
                continue;
            }
            let mut heard = [0; 1_024];
            while let Ok(bytes @ 1..) = tls.read(&mut heard) {
                if tls.write_all(&heard[..bytes]).is_err() {
                    break;
                }
            }
        }
    });
    (address, Arc::new(client))
}

#[test]
fn tls_as_client_carries_bytes_both_ways_after_a_plain_beginning() {
    let (address, config) = tls_server();
    on_a_core(1, move |dial, _, _| async move {
        let mut connection = dial.dial(address, WITHIN).await.expect("it listens");
        let mut heard = Vec::new();
        while heard.len() < 8 {
            connection.receive(&mut heard).await.expect("a greeting");
        }
        let name = ServerName::try_from("localhost").expect("a name");
        connection
            .secure(&config, &name)
            .await
            .expect("a handshake");
        let facts = connection.tls().expect("TLS is on");
        assert_eq!(
            (facts.version, facts.server_name.as_deref()),
            ("TLSv1.3", Some("localhost"))
        );
        heard.clear();
        while heard.len() < 15 {
            connection.receive(&mut heard).await.expect("a line");
        }
        assert_eq!(heard, b"250 under TLS\r\n");
        for bytes in [1usize, 1_000, 300_000] {
            let sent: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
            let mut back = Vec::new();
            // The peer writes back while we send: in pieces that its socket holds.
            for piece in sent.chunks(16_000) {
                connection.send(piece).await.expect("it reads");
                let so_far = back.len() + piece.len();
                while back.len() < so_far {
                    connection.receive(&mut back).await.expect("an echo");
                }
            }
            assert!(back == sent, "{bytes} bytes came back changed");
        }
        connection.close().await;
    });
}

#[test]
fn a_certificate_of_another_name_breaks_the_connection_only() {
    let (address, config) = tls_server();
    on_a_core(1, move |dial, _, counters| async move {
        for (name, fine) in [("mx.example", false), ("localhost", true)] {
            let mut connection = dial.dial(address, WITHIN).await.expect("it listens");
            let mut heard = Vec::new();
            while heard.len() < 8 {
                connection.receive(&mut heard).await.expect("a greeting");
            }
            let name = ServerName::try_from(name).expect("a name");
            let outcome = connection.secure(&config, &name).await;
            match fine {
                true => assert_eq!((outcome, connection.tls_trouble()), (Ok(()), None)),
                false => {
                    assert_eq!(outcome, Err(ConnectionFault::Tls));
                    assert_eq!(connection.send(b"x").await, Err(ConnectionFault::Tls));
                    let why = connection.tls_trouble().expect("it failed");
                    assert!(why.contains("certificate"), "{why}");
                }
            }
        }
        assert_eq!(counters.tls_failures.load(Relaxed), 1);
    });
}

/// What was received is whole only where the server itself said so: others on the way can end TCP.
#[test]
fn an_end_is_complete_when_it_was_said_under_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("they belong together");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let client = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (config, client) = (Arc::new(config), Arc::new(client));
    let (socket, address) = server();
    let peer = std::thread::spawn(move || {
        for is_said in [true, false] {
            let (stream, _) = socket.accept().expect("a connection comes");
            let session = rustls::ServerConnection::new(config.clone()).expect("a server");
            let mut tls = rustls::StreamOwned::new(session, stream);
            tls.write_all(b"body").expect("it reads");
            if is_said {
                tls.conn.send_close_notify();
            }
            tls.flush().expect("it reads");
            tls.sock
                .shutdown(std::net::Shutdown::Write)
                .expect("it is open");
            // Until the client is gone: what it has not read stays there.
            while let Ok(1..) = tls.sock.read(&mut [0; 64]) {}
        }
    });
    on_a_core(1, move |dial, _, _| async move {
        for is_said in [true, false] {
            let mut connection = dial.dial(address, WITHIN).await.expect("it listens");
            assert!(!connection.is_complete());
            let name = ServerName::try_from("localhost").expect("a name");
            let done = connection.secure(&client, &name).await;
            done.expect("a handshake");
            let mut heard = Vec::new();
            let fault = loop {
                // until the server ends
                if let Err(fault) = connection.receive(&mut heard).await {
                    break fault;
                }
            };
            assert_eq!((fault, &heard[..]), (ConnectionFault::Closed, &b"body"[..]));
            assert_eq!(connection.is_complete(), is_said);
        }
    });
    peer.join().expect("no panic");
}

#[test]
fn a_connection_comes_from_the_address_that_was_asked_for() {
    let (socket, address) = server();
    let peer = std::thread::spawn(move || {
        let (_stream, from) = socket.accept().expect("a connection comes");
        from.ip()
    });
    let ours: IpAddr = "127.0.0.7".parse().expect("an address");
    on_a_core(1, move |dial, _, _| async move {
        let connected = dial.dial_from(Some(ours), address, WITHIN).await;
        drop(connected.expect("it listens"));
    });
    assert_eq!(peer.join().expect("it ended well"), ours);
}

#[test]
fn an_address_of_another_machine_or_family_is_none_to_dial_from() {
    let (_socket, address) = server();
    on_a_core(1, move |dial, _, _| async move {
        // RFC 5737: for documents, and on no machine.
        for from in ["192.0.2.77", "::1"] {
            let from: IpAddr = from.parse().expect("an address");
            let fault = dial.dial_from(Some(from), address, WITHIN).await.err();
            assert_eq!(fault, Some(DialFault::NotHere));
        }
        drop(dial.dial(address, WITHIN).await.expect("room for one"));
    });
}
