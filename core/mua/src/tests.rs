use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::imap::Imap;
use crate::smtp::Smtp;
use crate::stream::Stream;
use crate::tls;

/// Far away: it is never waited for.
const WITHIN: Duration = Duration::from_secs(60);

/// A server for one connection, that does what `serve` says.
fn server<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let thread = std::thread::spawn(move || serve(listener.accept().expect("a client").0));
    (address, thread)
}

/// Says each text after the lines before it came; hears the rest, and returns all that it heard.
fn script(mut stream: TcpStream, says: &[(usize, &str)]) -> String {
    let mut lines = BufReader::new(stream.try_clone().expect("a handle"));
    let mut heard = String::new();
    for (count, text) in says {
        for _ in 0..*count {
            lines.read_line(&mut heard).expect("a line");
        }
        stream.write_all(text.as_bytes()).expect("it reads");
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    lines.read_to_string(&mut heard).expect("the rest");
    heard
}

#[test]
fn a_refused_recipient_is_the_answer_and_the_next_message_goes() {
    let (address, served) = server(|stream| {
        script(
            stream,
            &[
                (0, "220 a\r\n"),
                (1, "250 a\r\n"),
                (
                    3,
                    "250 mail\r\n550-5.1.1 not\r\n550 5.1.1 here\r\n503 no\r\n",
                ),
                (1, "250 reset\r\n"),
                (3, "250 mail\r\n250 rcpt\r\n354 go\r\n"),
                (4, "250 kept\r\n"),
            ],
        )
    });
    let stream = Stream::plain(address, WITHIN).expect("it listens");
    let mut smtp = Smtp::greeted(stream, "c.example.net").expect("greeted");
    let refused = smtp
        .send(&["a@example.org"], "Subject: a\r\n\r\n")
        .expect("a reply");
    assert_eq!(refused.to_string(), "550 5.1.1 not\n5.1.1 here");
    let kept = smtp
        .send(&["b@example.org"], "Subject: b\r\n\r\n.dot\r\n")
        .expect("a reply");
    assert!(kept.is_ok());
    drop(smtp);
    let heard = served.join().expect("served");
    assert!(
        heard.ends_with("Subject: b\r\n\r\n..dot\r\n.\r\n"),
        "{heard}"
    );
}

/// RFC 5321 §3.8: 421 at any time ends the connection.
#[test]
fn after_421_nothing_more_is_sent() {
    let (address, served) = server(|stream| {
        script(
            stream,
            &[
                (0, "220 a\r\n"),
                (1, "250 a\r\n"),
                (3, "421 shutting down\r\n"),
            ],
        )
    });
    let stream = Stream::plain(address, WITHIN).expect("it listens");
    let mut smtp = Smtp::greeted(stream, "c.example.net").expect("greeted");
    let reply = smtp.send(&["a@example.org"], "").expect("a reply");
    assert_eq!(reply.code, 421);
    let error = smtp.send(&["a@example.org"], "").expect_err("it is over");
    assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
    drop(smtp);
    assert!(served.join().expect("served").ends_with("DATA\r\n"));
}

#[test]
fn a_no_is_an_error_that_shows_the_answer_and_a_closed_connection_is_one() {
    let (address, served) = server(|stream| {
        script(
            stream,
            &[
                (0, "* OK hello\r\n"),
                (1, "a1 OK\r\n"),
                (1, "* 1 EXISTS\r\na2 NO [UNAVAILABLE] later\r\n"),
                (1, "* 1 FETCH (UID 7 BODY[] {5}\r\na3 OK)\r\na3 OK done\r\n"),
            ],
        )
    });
    let stream = Stream::plain(address, WITHIN).expect("it listens");
    let mut imap = Imap::over(stream).expect("greeted");
    imap.login("a", "b").expect("OK");
    let refused = imap.select("INBOX").expect_err("NO").to_string();
    assert!(refused.contains("NO [UNAVAILABLE] later"), "{refused}");
    let messages = imap.messages().expect("OK");
    assert_eq!(
        (messages[0].uid, &messages[0].bytes[..]),
        (7, &b"a3 OK"[..])
    );
    let closed = imap.command("NOOP").expect_err("closed").to_string();
    assert_eq!(closed, "the connection was closed");
    drop(imap);
    served.join().expect("served");
}

/// A certificate without an issuer, and not for this name.
#[test]
fn any_certificate_is_taken_and_shown() {
    let made = rcgen::generate_simple_self_signed(["mail.example.org".to_owned()]).expect("made");
    let chain = vec![made.cert.der().clone()];
    let key = made.signing_key.serialize_der().try_into().expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain.clone(), key)
        .expect("a pair");
    let (address, served) = server(move |stream| {
        let session = rustls::ServerConnection::new(Arc::new(config)).expect("a session");
        let mut stream = rustls::StreamOwned::new(session, stream);
        stream.write_all(b"* OK hello\r\n").expect("it reads");
        let mut line = [0; 9];
        stream.read_exact(&mut line).expect("a command");
        stream.write_all(b"a1 OK\r\n").expect("it reads");
        line
    });
    let config = tls::config().expect("a provider");
    let mut stream = Stream::tls(address, &config, WITHIN).expect("it listens");
    assert_eq!(stream.certificate().expect("shown"), chain[0].to_vec());
    let mut imap = Imap::over(stream).expect("greeted");
    imap.command("NOOP").expect("OK");
    assert_eq!(&served.join().expect("served"), b"a1 NOOP\r\n");
    assert!(imap.into_stream().secure(&config).is_err());
}
