//! What a client says is never more than what it is: no second line for a storage node, and nothing from outside of TLS inside of it.

use sasl::{Credentials, base64};

use super::super::tongue::Step as Asked;
use super::*;

const NASTY: [&[u8]; 6] = [
    b"ann\r\nb LOGIN x y",
    b"ann\0bob\0x",
    b"\"{5}\r\n",
    b"*",
    b"\xff\xfe\x80",
    b"",
];

#[test]
fn a_name_or_a_password_is_never_a_second_line() {
    for protocol in Protocol::ALL {
        let speech = Speech {
            protocol,
            tag: "a".into(),
            name: "c".into(),
        };
        for user in NASTY {
            for password in NASTY {
                let said = speech.plain(&Credentials {
                    user: user.to_vec(),
                    password: password.to_vec(),
                });
                let lines: Vec<&str> = said.split_inclusive("\r\n").collect();
                let literal = usize::from(protocol == Protocol::Sieve);
                assert_eq!(lines.len(), 1 + literal, "{said:?}");
                let is_plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
                let inside = said.replace("\r\n", "");
                assert!(inside.bytes().all(is_plain), "{said:?}");
                let last = said.trim_end().rsplit([' ', '\n']).next().unwrap_or("");
                let text = base64::decode(last.as_bytes()).expect("base64");
                assert_eq!(text, [&b"\0"[..], user, b"\0", password].concat());
            }
        }
        // The client's own words in a question.
        let name = "m\r\nx \"q\\\0\u{e9}".into();
        let speech = Speech { name, ..speech };
        if protocol == Protocol::Imap {
            let asked = speech.question().expect("one");
            assert_eq!(asked, "front ID (\"name\" \"mx q\")\r\n");
        }
    }
}

/// A name in EHLO reaches the storage node as it is, so it can be nothing but a name.
#[test]
fn what_is_no_name_in_ehlo_reaches_no_node() {
    let world = World::new();
    for name in ["a\rRSET", "a\nRSET", "a\0", "a b", "\u{e9}.example"] {
        world.run(Protocol::Submission, async |mut client| {
            assert!(client.line().await.starts_with("220 "));
            let answer = client.ask(&format!("EHLO {name}")).await;
            assert!(answer.starts_with('5'), "{name:?}: {answer}");
            client.0.peer.end();
            let rest = client.0.rest().await;
            assert!(!rest.contains("235"), "{rest}");
        });
    }
}

/// RFC 3207 §4.2, RFC 9051 §6.2.1, RFC 2595 §4, RFC 5804 §2.2.
#[test]
fn what_was_sent_behind_starttls_in_the_clear_is_not_acted_on() {
    let login = "AGFsaWNlQGV4YW1wbGUub3JnAHNlY3JldA==";
    let said = [
        (
            Protocol::Imap,
            format!("a STARTTLS\r\nb AUTHENTICATE PLAIN {login}\r\n"),
        ),
        (Protocol::Pop3, format!("STLS\r\nAUTH PLAIN {login}\r\n")),
        (
            Protocol::Sieve,
            format!("STARTTLS\r\nAUTHENTICATE \"PLAIN\" \"{login}\"\r\n"),
        ),
        (
            Protocol::Submission,
            format!("EHLO c\r\nSTARTTLS\r\nEHLO c\r\nAUTH PLAIN {login}\r\n"),
        ),
    ];
    for (protocol, said) in said {
        let manner = Manner {
            tls_offered: true,
            login_without_tls: false,
            has_tls: false,
            hostname: "front.example.org".to_owned(),
            offered: None,
            message_bytes_max: 1,
        };
        let mut out = Vec::new();
        let mut tongue = Tongue::new(protocol, manner, &mut out);
        tongue.input().extend_from_slice(said.as_bytes());
        let mut asked = || {
            loop {
                // until it wants more than that something is sent
                match tongue.step(&mut out) {
                    Asked::Flush => out.clear(),
                    asked => return asked,
                }
            }
        };
        assert!(matches!(asked(), Asked::StartTls), "{protocol:?}");
        let mut out = Vec::new();
        tongue.tls_started(None, &mut out);
        assert!(tongue.input().is_empty(), "{protocol:?}");
        assert!(matches!(tongue.step(&mut out), Asked::Wait), "{protocol:?}");
        assert!(tongue.speech().name.is_empty(), "{protocol:?}: of before");
    }
}
