//! Where a conversation begins and ends: the handshake, and the stop of the appliance.

use super::*;

#[test]
fn a_silent_peer_is_answered_421_when_the_appliance_stops() {
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
