//! The two sides of SMTP. The first two bytes of an input choose role, TLS and where the segments are cut.

use std::sync::Arc;

use ::smtp::client::{Client, Content, Event, Mail};
use ::smtp::{Action, Config, Limits, Refusal, Role, Service, Session, limits};

pub const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b".",
    b"\r\n.\r\n",
    b"\n.\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\0",
    b"EHLO c.example\r\n",
    b"LHLO c\r\n",
    b"HELO c\r\n",
    b"MAIL FROM:<a@b.c>",
    b"MAIL FROM:<>\r\n",
    b"RCPT TO:<a@b.c>\r\n",
    b"RCPT TO:<Postmaster>\r\n",
    b"DATA\r\n",
    b"BDAT 5 LAST\r\n",
    b"BDAT 0\r\n",
    b"BDAT 18446744073709551615\r\n",
    b"RSET\r\n",
    b"AUTH PLAIN AGEAYg==\r\n",
    b"AUTH XOAUTH2 dXNlcj1hAWF1dGg9QmVhcmVyIGFiYwEB\r\n",
    b"AUTH OAUTHBEARER biwsAWF1dGg9QmVhcmVyIGFiY2QBAQ==\r\nAQ==\r\n",
    b"AUTH EXTERNAL =\r\n",
    b"AUTH LOGIN\r\n",
    b"YQ==\r\n",
    b"*\r\n",
    b" RET=HDRS ENVID=x\r\n",
    b" NOTIFY=DELAY ORCPT=rfc822;x+40y\r\n",
    b"QUIT\r\n",
    b"STARTTLS\r\n",
    b"NOOP\r\n",
    b"XCLIENT ADDR=192.0.2.1 HELO=a.b\r\n",
    b" NAME=[UNAVAILABLE]",
    b" ADDR=IPV6:::1",
    b" PORT=25 PROTO=ESMTP LOGIN=+41",
    b" SIZE=",
    b" BODY=8BITMIME",
    b" SMTPUTF8",
    b" XDELIVERY=00112233445566778899aabbccddeeff;junk",
    b"\"",
    b"\\",
    b"[IPv6:::1]",
    b"[127.0.0.1]",
    b"<",
    b">",
    b"@",
    b":",
    b",",
    b"\xc3\xa9",
    b"99999999999999999999",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 9] = [
        b"EHLO c.example\r\nMAIL FROM:<a@b.c> SIZE=100 BODY=8BITMIME\r\nRCPT TO:<x@example.org>\r\nDATA\r\nSubject: x\r\n\r\n..\r\ntext\r\n.\r\nQUIT\r\n",
        b"EHLO c\r\nMAIL FROM:<> SMTPUTF8\r\nRCPT TO:<\"a b\"@example.org>\r\nRCPT TO:<@r.x:b@example.org>\r\nBDAT 6\r\nabc\r\n.BDAT 2 LAST\r\n\r\nNOOP\r\n",
        b"LHLO c\r\nMAIL FROM:<a@[IPv6:::1]>\r\nRCPT TO:<Postmaster>\r\nRCPT TO:<y@z>\r\nDATA\r\na\nb\r\n.\r\nRSET\r\nVRFY x\r\nHELP\r\nEXPN y\r\n",
        b"EHLO [127.0.0.1]\r\nSTARTTLS\r\nMAIL FROM:<x@y>\r\n",
        b"HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@y>\r\nDATA\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@y>\r\nDATA\r\n.\r\r\n.\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"EHLO c\r\nAUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@b> RET=HDRS ENVID=x AUTH=<>\r\nRCPT TO:<x@y> NOTIFY=DELAY ORCPT=rfc822;x+40y\r\nDATA\r\n.\r\n",
        b"XCLIENT ADDR=IPV6:2001:db8::1 NAME=[TEMPUNAVAIL] HELO=c+2Ed\r\nEHLO p\r\nMAIL FROM:<a@b>\r\nXCLIENT PORT=1\r\nRCPT TO:<x@y>\r\nDATA\r\n.\r\n",
        b"EHLO c\r\nAUTH LOGIN\r\nYQ==\r\nYg==\r\nAUTH PLAIN\r\n*\r\nMAIL FROM:<a@b>\r\n",
    ];
    let with = |text: &[u8]| {
        [[0u8, 1], [1, 3], [2, 40], [24, 5], [32, 7], [0, 0]].map(|head| [&head, text].concat())
    };
    texts.into_iter().flat_map(with).collect()
}

struct Outcome {
    output: Vec<u8>,
    messages: Vec<Vec<u8>>,
}

/// Well-formed replies, messages without ambiguities, and the same for any cut.
/// Two properties matter more than the absence of panics. Where a network happens to cut the stream must not change what is received,
/// or one message would be two for some senders. And a message that is taken contains no line end that another server could read as the
/// end of the message.
pub fn session(data: &[u8]) {
    let &[choice, cut, ref bytes @ ..] = data else {
        return;
    };
    let config = Config {
        role: if choice & 1 == 0 {
            Role::Smtp
        } else {
            Role::Lmtp
        },
        service: if choice & 8 == 0 {
            Service::Exchange
        } else {
            Service::Submission {
                login_without_tls: choice & 16 != 0,
            }
        },
        hostname: "mx.example.org".into(),
        limits: Limits {
            message_bytes_max: 4_000,
            recipients_max: 3,
            ..Limits::default()
        },
        tls_available: choice & 2 != 0,
        tls_required: choice & 4 != 0,
    };
    let config = Arc::new(config);
    let trusted = choice & 32 != 0;
    let whole = converse(&config, trusted, bytes, usize::MAX);
    let pieces = converse(&config, trusted, bytes, usize::from(cut).max(1));
    assert!(
        whole.output == pieces.output && whole.messages == pieces.messages,
        "the cut changes the outcome"
    );

    for line in whole.output.split_inclusive(|byte| *byte == b'\n') {
        assert!(
            line.ends_with(b"\r\n") && line.len() <= limits::REPLY_LINE_BYTES_MAX,
            "{}",
            line.escape_ascii()
        );
        assert!(
            line[..3].iter().all(u8::is_ascii_digit) && matches!(line[3], b' ' | b'-'),
            "{}",
            line.escape_ascii()
        );
    }
    for message in &whole.messages {
        let pairs = memchr::memmem::find_iter(message, b"\r\n").count();
        let halves = [b'\r', b'\n'].map(|half| memchr::memchr_iter(half, message).count());
        assert!(
            halves == [pairs; 2] && memchr::memchr(0, message).is_none(),
            "an ambiguous message was taken"
        );
        assert!(message.len() <= 4_000);
    }
}

/// One session over `bytes` in segments of `size`; TLS is agreed to and the rest of the segment thrown away, so STARTTLS ends
/// the comparison (what follows it in one segment is gone, in two it is TLS).
fn converse(config: &Arc<Config>, trusted: bool, bytes: &[u8], size: usize) -> Outcome {
    let mut outcome = Outcome {
        output: Vec::new(),
        messages: Vec::new(),
    };
    let mut session = Session::new(config.clone(), false, &mut outcome.output);
    session.offer(super::offer());
    if trusted {
        session.trust();
        session.trust_zone();
    }
    let mut inbox = Vec::new();
    for segment in bytes.chunks(size) {
        inbox.extend_from_slice(segment);
        let mut at = 0;
        loop {
            // until input is wanted: every other action uses up bytes
            let (used, action) = session.step(&inbox[at..], &mut outcome.output);
            at += used;
            match action {
                Action::NeedInput => break,
                Action::CheckLogin(credentials) => {
                    let verdict = match credentials.user.len() % 3 {
                        0 => Err(Refusal::AuthUnavailable),
                        which => Ok(which == 1),
                    };
                    session.login_verdict(verdict, &mut outcome.output);
                }
                Action::FindKeys(user) => match user.len() % 3 {
                    0 => {
                        let refusal = Err(Refusal::AuthUnavailable);
                        session.login_verdict(refusal, &mut outcome.output);
                    }
                    _ => session.keys_found(sasl::fuzzing::found(), &mut outcome.output),
                },
                Action::Proved(proved) => {
                    assert_eq!(proved.by, None);
                    session.login_verdict(Ok(false), &mut outcome.output);
                }
                Action::CheckToken(bearer) => match bearer.token.len() % 2 {
                    0 => session.token_refused(&sasl::fuzzing::failure(), &mut outcome.output),
                    _ => session.login_verdict(Ok(true), &mut outcome.output),
                },
                Action::CheckCertificate(user) => {
                    session.login_verdict(Ok(user.is_none()), &mut outcome.output);
                }
                Action::CheckSender => {
                    let verdict = match session.sender().to_string().contains('z') {
                        true => Err(Refusal::NotYourAddress),
                        false => Ok(()),
                    };
                    session.sender_verdict(verdict, &mut outcome.output);
                }
                Action::CheckRecipient => {
                    let verdict = if session.recipient().to_string().contains('z') {
                        Err(Refusal::UnknownRecipient)
                    } else {
                        Ok(())
                    };
                    session.recipient_verdict(verdict, &mut outcome.output);
                }
                Action::BeginContent if session.content_reserve_bytes() % 7 == 3 => {
                    session.refuse_content(Refusal::StorageFull, &mut outcome.output)
                }
                Action::BeginContent => session.begin_content(Vec::new(), &mut outcome.output),
                Action::Message(message) => {
                    let due = if config.role == Role::Lmtp {
                        message.envelope.recipients.len()
                    } else {
                        1
                    };
                    outcome.messages.push(message.content);
                    session.outcome(&vec![Ok("id"); due], &mut outcome.output);
                }
                Action::Forwarded(said) => {
                    assert!(trusted, "a stranger may not speak for others");
                    session.forwarded(said.hello, &mut outcome.output);
                }
                Action::StartTls | Action::Close => return outcome,
            }
        }
        inbox.drain(..at);
        assert!(
            inbox.len() < limits::AUTH_LINE_BYTES_MAX,
            "a line is held past its bound"
        );
    }
    outcome
}

pub const CLIENT_WORDS: &[&[u8]] = &[
    b"\r\n",
    b"250 ",
    b"250-",
    b"354 go\r\n",
    b"421 bye\r\n",
    b"550 5.1.1 no\r\n",
    b"220 x\r\n",
    b"25",
    b"999 \r\n",
    b"\n",
    b"250\r\n",
];

pub fn client_seeds() -> Vec<Vec<u8>> {
    let replies: &[u8] = b"220 hi\r\n250-mx\r\n250 SIZE 5\r\n250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n250 done\r\n250 done\r\n221 bye\r\n";
    (0u8..8)
        .map(|choice| [&[choice], replies].concat())
        .collect()
}

/// A server may say anything.
/// It may answer before it is asked, with codes that do not exist, and never end a line. The client comes back all the same: the loop ends with
/// the bytes, because every event but a send leaves it.
pub fn client(data: &[u8]) {
    let &[choice, ref bytes @ ..] = data else {
        return;
    };
    let role = if choice & 1 == 0 {
        Role::Smtp
    } else {
        Role::Lmtp
    };
    let mut client = Client::new(role, "c.example", choice & 8 != 0);
    client.pipelining = choice & 2 != 0;
    let mut output = Vec::new();
    let mut at = 0;
    loop {
        // until the bytes or the conversation end
        let (used, event) = client.receive(&bytes[at..], &mut output);
        at += used;
        match event {
            Event::Ready(_) | Event::Sent(_) if used > 0 => {
                let content = if choice & 4 == 0 {
                    Content::stuffed(b"x\r\n")
                } else {
                    Content::chunk(b"x")
                };
                let recipients = vec!["a@b".to_owned(), "c@d".to_owned()];
                client.send(
                    Mail {
                        reverse_path: String::new(),
                        recipients,
                        parameters: String::new(),
                        content,
                    },
                    &mut output,
                );
            }
            Event::StartTls => client.tls_started(&mut output),
            _ => return,
        }
    }
}
