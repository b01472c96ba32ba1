//! A core serves on loopback; the clients are plain blocking sockets on the test's own thread.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::net::TcpStream as ClientStream;
use std::sync::mpsc;

use base::LocalTask;

use super::*;
use crate::core::{Core, CoreHandle, CoreSettings};
use crate::listener::{Gate, Listener, bind};

mod duplex;
mod proxied;

struct Served {
    address: SocketAddr,
    core: CoreHandle,
    counters: Arc<Counters>,
}

/// A core that serves every connection with `serve`, until it is stopped.
fn serve(connections_max: usize, serve: fn(TcpConnection) -> LocalTask) -> Served {
    serve_behind(connections_max, Gate::default(), serve)
}

fn serve_behind(
    connections_max: usize,
    gate: Gate,
    serve: fn(TcpConnection) -> LocalTask,
) -> Served {
    let socket = bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = socket.local_addr().expect("bound");
    let counters = Arc::new(Counters::default());
    let counted = counters.clone();
    let settings = CoreSettings {
        name: "test".into(),
        cpu: Some(0),
    };
    let core = Core::start(settings, move |core| async move {
        let listener = Listener {
            name: "test",
            socket,
            connections_max,
            refusal: b"full\r\n",
            tls: None,
            gate,
            counters: counted,
        };
        core.serve(listener, Rc::new(serve)).expect("a listener");
        core.stop().requested().await;
        assert_eq!(core.drain(Duration::from_secs(10)).await, 0);
    })
    .expect("a core");
    Served {
        address,
        core,
        counters,
    }
}

impl Served {
    fn connect(&self) -> ClientStream {
        let stream = ClientStream::connect(self.address).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a socket");
        stream
    }

    fn stop(self) {
        self.core.stop();
        self.core.join();
    }
}

fn echo(mut connection: TcpConnection) -> LocalTask {
    Box::pin(async move {
        let mut arrived = Vec::new();
        while connection.receive(&mut arrived).await.is_ok() {
            let bytes = std::mem::take(&mut arrived);
            if connection.send(&bytes).await.is_err() {
                return;
            }
        }
        connection.close().await;
    })
}

fn read_exactly(stream: &mut impl Read, bytes: usize) -> Vec<u8> {
    let mut into = vec![0; bytes];
    stream.read_exact(&mut into).expect("the server answers");
    into
}

#[test]
fn bytes_come_back_whatever_their_number() {
    let served = serve(10, echo);
    let mut client = served.connect();
    for bytes in [1usize, 4095, 4096, 4097, 300_000] {
        let sent: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        let mut writer = client.try_clone().expect("a socket");
        let copy = sent.clone();
        let writing = std::thread::spawn(move || writer.write_all(&copy));
        assert!(
            read_exactly(&mut client, bytes) == sent,
            "{bytes} bytes came back changed"
        );
        writing.join().expect("no panic").expect("the server reads");
    }
    drop(client);
    assert!(served.counters.bytes_in.load(Relaxed) > 300_000);
    served.stop();
}

#[test]
fn a_dropped_receive_loses_no_bytes() {
    // The server's receive loses a race against a short timer again and again, as in IMAP IDLE.
    fn impatient(mut connection: TcpConnection) -> LocalTask {
        Box::pin(async move {
            let mut arrived = Vec::new();
            while arrived.len() < 3000 {
                tokio::select! {
                    got = connection.receive(&mut arrived) => if got.is_err() { return },
                    () = tokio::time::sleep(Duration::from_micros(300)) => {}
                }
            }
            let _ = connection.send(&arrived).await;
            connection.close().await;
        })
    }
    let served = serve(10, impatient);
    let mut client = served.connect();
    let sent: Vec<u8> = (0..3000usize).map(|at| (at % 251) as u8).collect();
    for piece in sent.chunks(100) {
        client.write_all(piece).expect("the server reads");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(read_exactly(&mut client, 3000) == sent);
    served.stop();
}

#[test]
fn a_silent_peer_is_timed_out_and_its_socket_let_go() {
    fn short(mut connection: TcpConnection) -> LocalTask {
        Box::pin(async move {
            connection.deadline(Duration::from_millis(50));
            let fault = connection.receive(&mut Vec::new()).await;
            assert_eq!(fault, Err(ConnectionFault::TimedOut));
            connection.send(b"421").await.expect("the last words");
            connection.close().await;
        })
    }
    let served = serve(10, short);
    let mut client = served.connect();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("a FIN");
    assert_eq!(rest, b"421");
    drop(client);
    assert_eq!(served.counters.timed_out.load(Relaxed), 1);
    served.stop();
}

#[test]
fn a_peer_that_does_not_read_is_timed_out() {
    fn talkative(mut connection: TcpConnection) -> LocalTask {
        Box::pin(async move {
            connection.deadline(Duration::from_millis(100));
            let fault = connection.send(&vec![7; 64 << 20]).await;
            assert_eq!(fault, Err(ConnectionFault::TimedOut));
        })
    }
    let served = serve(10, talkative);
    let client = served.connect();
    while served.counters.timed_out.load(Relaxed) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(client);
    served.stop();
}

#[test]
fn one_too_many_is_refused_politely_and_the_others_stay() {
    let served = serve(1, echo);
    let mut first = served.connect();
    first.write_all(b"a").expect("the server reads");
    assert_eq!(read_exactly(&mut first, 1), b"a");
    let mut second = served.connect();
    let mut said = Vec::new();
    second.read_to_end(&mut said).expect("a refusal and a FIN");
    assert_eq!(said, b"full\r\n");
    first.write_all(b"b").expect("the server reads");
    assert_eq!(read_exactly(&mut first, 1), b"b");
    assert_eq!(served.counters.refused.load(Relaxed), 1);
    served.stop();
}

#[test]
fn a_stop_reaches_sessions_that_wait() {
    fn polite(mut connection: TcpConnection) -> LocalTask {
        Box::pin(async move {
            let mut arrived = Vec::new();
            loop {
                match connection.receive(&mut arrived).await {
                    Ok(_) => {}
                    Err(ConnectionFault::Stopping) => break,
                    Err(other) => panic!("{other}"),
                }
            }
            connection.send(b"bye").await.expect("the peer reads");
            connection.close().await;
        })
    }
    let served = serve(10, polite);
    let mut client = served.connect();
    client.write_all(b"hello").expect("the server reads");
    while served.counters.bytes_in.load(Relaxed) < 5 {
        std::thread::sleep(Duration::from_millis(1));
    }
    served.core.stop();
    let mut said = Vec::new();
    client.read_to_end(&mut said).expect("a FIN");
    assert_eq!(said, b"bye");
    drop(client);
    let address = served.address;
    served.stop();
    assert!(
        ClientStream::connect(address).is_err(),
        "a stopped core listens no more"
    );
}

/// A self-signed certificate, and a client that trusts exactly it.
fn tls_pair() -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .expect("a key");
    let server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they belong together");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let client = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

thread_local! {
    static SERVER: std::cell::RefCell<Option<Arc<rustls::ServerConfig>>> = const { std::cell::RefCell::new(None) };
}

#[test]
fn tls_carries_bytes_both_ways_after_a_plain_beginning() {
    fn upgrade(mut connection: TcpConnection) -> LocalTask {
        Box::pin(async move {
            let mut arrived = Vec::new();
            connection
                .receive(&mut arrived)
                .await
                .expect("the peer speaks");
            assert_eq!(arrived, b"STARTTLS");
            connection.send(b"go").await.expect("the peer reads");
            let config = SERVER.with_borrow(Clone::clone).expect("set before");
            connection.start_tls(&config).await.expect("a handshake");
            let facts = connection.tls().expect("TLS is on").clone();
            assert_eq!(
                (facts.version, facts.server_name.as_deref()),
                ("TLSv1.3", Some("localhost"))
            );
            echo(connection).await;
        })
    }
    let (server, client) = tls_pair();
    let served = {
        let (sender, receiver) = mpsc::channel();
        let socket = bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = socket.local_addr().expect("bound");
        let counters = Arc::new(Counters::default());
        let counted = counters.clone();
        let core = Core::start(
            CoreSettings {
                name: "tls".into(),
                cpu: None,
            },
            move |core| async move {
                SERVER.set(Some(server));
                let listener = Listener {
                    name: "tls",
                    socket,
                    connections_max: 9,
                    refusal: b"",
                    tls: None,
                    gate: Gate::default(),
                    counters: counted,
                };
                core.serve(listener, Rc::new(upgrade)).expect("a listener");
                sender.send(()).expect("the test waits");
                core.stop().requested().await;
                core.drain(Duration::from_secs(10)).await;
            },
        )
        .expect("a core");
        receiver.recv().expect("it serves");
        Served {
            address,
            core,
            counters,
        }
    };
    let mut plain = served.connect();
    plain.write_all(b"STARTTLS").expect("the server reads");
    assert_eq!(read_exactly(&mut plain, 2), b"go");
    let name = "localhost".try_into().expect("a name");
    let session = rustls::ClientConnection::new(client, name).expect("a client");
    let mut stream = rustls::StreamOwned::new(session, plain);
    for bytes in [1usize, 5000, 60_000] {
        let sent: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        stream.write_all(&sent).expect("the server reads");
        assert!(
            read_exactly(&mut stream, bytes) == sent,
            "{bytes} bytes came back changed"
        );
    }
    stream.conn.send_close_notify();
    stream.flush().expect("the server reads");
    let mut rest = Vec::new();
    stream
        .read_to_end(&mut rest)
        .expect("close_notify from the server");
    assert!(rest.is_empty());
    served.stop();
}

#[test]
fn plain_text_on_a_tls_port_is_a_tls_failure_and_nothing_more() {
    let (server, _) = tls_pair();
    let socket = bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = socket.local_addr().expect("bound");
    let counters = Arc::new(Counters::default());
    let counted = counters.clone();
    let core = Core::start(
        CoreSettings {
            name: "tls".into(),
            cpu: None,
        },
        move |core| async move {
            let listener = Listener {
                name: "tls",
                socket,
                connections_max: 9,
                refusal: b"",
                tls: Some(server),
                gate: Gate::default(),
                counters: counted,
            };
            core.serve(listener, Rc::new(echo)).expect("a listener");
            core.stop().requested().await;
            core.drain(Duration::from_secs(10)).await;
        },
    )
    .expect("a core");
    let served = Served {
        address,
        core,
        counters,
    };
    let mut client = served.connect();
    client
        .write_all(b"EHLO lost.example\r\n")
        .expect("the server reads");
    let mut said = Vec::new();
    // An alert, then the end; a reset in place of the FIN is as good.
    let _ = client.read_to_end(&mut said);
    assert_eq!(said.first(), Some(&21), "a TLS alert record");
    assert_eq!(served.counters.tls_failures.load(Relaxed), 1);
    served.stop();
}
