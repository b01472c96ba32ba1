//! What holds for any bytes at all, and for any content between our own client and our own server.

use crate::world::{World, config};
use proptest::prelude::*;
use smtp::client::{Client, Content, Event, Mail};
use smtp::{Role, Service, limits};

/// Pieces of SMTP in any order, so that the deep states are reached too.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"EHLO c.example\r\n",
        b"LHLO c.example\r\n",
        b"HELO c\r\n",
        b"MAIL FROM:<>\r\n",
        b"MAIL FROM:<a@b.c> SIZE=10 BODY=8BITMIME\r\n",
        b"MAIL FROM:<\xc3\xa9@b> SMTPUTF8\r\n",
        b"RCPT TO:<alice@example.org>\r\n",
        b"RCPT TO:<nobody@example.org>\r\n",
        b"RCPT TO:<full@example.org>\r\n",
        b"RCPT TO:<x@y.z>\r\n",
        b"RCPT TO:<Postmaster>\r\n",
        b"DATA\r\n",
        b"BDAT 5\r\nhello",
        b"BDAT 0 LAST\r\n",
        b"BDAT 7 LAST\r\nhello\r\n",
        b"BDAT 4\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"VRFY x\r\n",
        b"HELP\r\n",
        b"EXPN\r\n",
        b"STARTTLS\r\n",
        b"AUTH PLAIN\r\n",
        b"AUTH LOGIN\r\n",
        b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
        b"MAIL FROM:<alice@example.org> RET=HDRS ENVID=x AUTH=<>\r\n",
        b"RCPT TO:<bob@example.org> NOTIFY=DELAY ORCPT=rfc822;b+40c\r\n",
        b"*\r\n",
        b".\r\n",
        b"\r\n.\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b".",
        b"..",
        b"\0",
        b"Subject: x\r\n\r\n",
        b"text",
        b" ",
        b":",
        b"<",
        b">",
        b"@",
        b"\"",
        b"[",
    ];
    let word = prop_oneof![
        8 => proptest::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => (0usize..3_000, any::<u8>()).prop_map(|(count, byte)| vec![byte; count]),
    ];
    proptest::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just(".".to_owned()),
        Just("..".to_owned()),
        Just(String::new()),
        "[ -~]{0,60}",
        "\\.[ -~]{0,8}",
        "\\PC{0,20}"
    ];
    proptest::collection::vec(line, 0..20).prop_map(|lines| {
        lines
            .iter()
            .flat_map(|line| [line.as_bytes(), b"\r\n"].concat())
            .collect()
    })
}

/// A session's whole life in one exchange: what the server kept.
fn exchange(
    role: Role,
    pipelining: bool,
    content: Content,
    recipients: usize,
    cut: usize,
) -> Vec<Vec<u8>> {
    let mut server = World::new(config(role));
    let mut client = Client::new(role, "client.example", false);
    client.pipelining = pipelining;
    let mut to_server = Vec::new();
    let mut to_client = std::mem::take(&mut server.output);
    let mut content = Some(content);
    let mut at = 0;
    // Bounded: every turn moves bytes one way or the other.
    for _ in 0..10_000 {
        let (used, event) = client.receive(&to_client[at..], &mut to_server);
        at += used;
        match event {
            Event::Ready(_) => {
                let content = content.take().expect("greeted once");
                let recipients = (0..recipients)
                    .map(|index| {
                        ["alice@example.org", "nobody@example.org", "bob@example.org"][index % 3]
                            .to_owned()
                    })
                    .collect();
                client.send(
                    Mail {
                        reverse_path: "sender@example.net".into(),
                        recipients,
                        parameters: " BODY=8BITMIME".into(),
                        content,
                    },
                    &mut to_server,
                );
            }
            Event::Sent(sent) => {
                assert!(sent.mail.is_ok() && sent.recipients.len() == recipients);
                assert_eq!(
                    sent.recipients
                        .iter()
                        .filter(|reply| !reply.is_ok())
                        .count(),
                    recipients.div_ceil(3) - usize::from(recipients % 3 == 1)
                );
                let due = if role == Role::Lmtp {
                    sent.recipients.iter().filter(|reply| reply.is_ok()).count()
                } else {
                    1
                };
                assert_eq!(sent.outcomes.len(), due);
                assert!(sent.outcomes.iter().all(|reply| reply.is_ok()), "{sent:?}");
                client.quit(&mut to_server);
            }
            Event::Bye => return server.messages,
            Event::NeedInput => {
                for piece in std::mem::take(&mut to_server).chunks(cut) {
                    server.receive(piece);
                }
                to_client.append(&mut server.output);
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("the two never came to an end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_get_well_formed_replies_however_they_are_cut(bytes in pieces(), lmtp: bool, submission: bool, cut in 1usize..50) {
        let role = if lmtp { Role::Lmtp } else { Role::Smtp };
        let run = |size: usize| {
            let mut config = config(role);
            if submission {
                config.service = Service::Submission { login_without_tls: true };
            }
            let mut world = World::new(config);
            for piece in bytes.chunks(size) {
                world.receive(piece);
            }
            world
        };
        let whole = run(usize::MAX);
        for line in whole.output.split_inclusive(|byte| *byte == b'\n') {
            prop_assert!(line.ends_with(b"\r\n") && line.len() <= limits::REPLY_LINE_BYTES_MAX);
            prop_assert!(line[..3].iter().all(u8::is_ascii_digit) && (line[3] == b' ' || line[3] == b'-'));
        }
        let cut = run(cut);
        prop_assert_eq!(&cut.output, &whole.output);
        prop_assert_eq!(&cut.messages, &whole.messages);
        for message in &whole.messages {
            let crs = memchr::memchr_iter(b'\r', message).count();
            prop_assert!(memchr::memmem::find_iter(message, b"\r\n").count() == crs && memchr::memchr_iter(b'\n', message).count() == crs);
        }
    }

    #[test]
    fn content_arrives_as_it_was_sent(raw in content(), lmtp: bool, pipelining: bool, chunked: bool, recipients in 1usize..7, cut in 1usize..200) {
        let role = if lmtp { Role::Lmtp } else { Role::Smtp };
        let content = if chunked { Content::chunk(&raw) } else { Content::stuffed(&raw) };
        prop_assert_eq!(exchange(role, pipelining, content, recipients, cut), vec![raw]);
    }
}
