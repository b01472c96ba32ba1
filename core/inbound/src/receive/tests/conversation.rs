//! Where a conversation begins and ends: the handshake, the silence of a peer, and the stop of the appliance.

use device::sim::SimWorld;
use runtime::Stop;
use runtime::memory::{MemoryPeer, connect};

use super::*;

/// Serves one connection in memory, on virtual time. `peer` is the other end, whose buffers hold `bytes_max` bytes in each
/// direction. Answers what `peer` answers, and when the receiver was done, in seconds.
fn in_memory<F: Future<Output = String>>(
    bytes_max: usize,
    peer: impl FnOnce(MemoryPeer) -> F,
) -> (String, u64) {
    let world = SimWorld::new(1);
    let host = world.io().host;
    let address = SocketAddr::from(([192, 0, 2, 1], 25));
    let (connection, other) = connect(&host, &Stop::new(), address, bytes_max);
    let receiver = Receiver::on(
        SessionHost::on(host.clone()),
        Ids::of(1, 1),
        Script::default(),
        Budget::with_shares(1 << 20, 1 << 20),
        Placed::default(),
    );
    let settings = Settings {
        smtp: Arc::new(smtp::Config {
            role: Role::Smtp,
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
    world.block_on(async move {
        let served = async {
            receiver.serve(&settings, connection).await;
            host.now().0 / 1_000_000
        };
        tokio::join!(peer(other), served)
    })
}

/// Sends `bytes` and reads everything that comes until the other end closes.
async fn talk(peer: MemoryPeer, bytes: &[u8]) -> String {
    peer.send(bytes).await.expect("the receiver is there");
    let mut all = Vec::new();
    while peer.receive(&mut all, 1 << 10).await > 0 {}
    peer.end();
    String::from_utf8(all).expect("replies are ASCII")
}

const TIMED_OUT: &str = "421 4.4.2 timeout waiting for the client\r\n";

#[test]
fn a_peer_that_is_silent_for_five_minutes_is_answered_421() {
    let (replies, ended_s) = in_memory(1 << 10, |peer| talk(peer, b"EHLO client.example\r\n"));
    assert!(
        replies.ends_with(&format!("250 ENHANCEDSTATUSCODES\r\n{TIMED_OUT}")),
        "{replies}"
    );
    assert_eq!(ended_s, 300);
}

#[test]
fn silence_inside_mail_data_is_answered_421_too() {
    let script = b"EHLO client.example\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nSubject: half";
    let (replies, ended_s) = in_memory(1 << 10, |peer| talk(peer, script));
    let (before, last) = replies.split_once("354 ").expect("mail data began");
    assert!(before.contains("recipient ok"), "{replies}");
    assert!(last.ends_with(TIMED_OUT), "{replies}");
    assert_eq!(ended_s, 300);
}

#[test]
fn a_peer_that_reads_nothing_holds_its_connection_for_five_minutes_and_no_longer() {
    // The greeting is longer than the buffer of ten bytes.
    let (sent, ended_s) = in_memory(10, |peer| async move {
        let refused = peer.send(&[b'x'; 11]).await;
        format!("{refused:?}")
    });
    assert_eq!((sent.as_str(), ended_s), ("Err(BrokenOff)", 300));
}

#[test]
fn a_silent_peer_is_answered_421_when_the_appliance_stops() {
    let served = serve(Options::default());
    let mut lines = BufReader::new(served.connect());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    served.core.stop();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "421 4.3.2 service shutting down, try again later\r\n");
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
