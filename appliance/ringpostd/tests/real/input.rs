//! The world's bytes: malformed, absurd, slow, cut off. Each gets its protocol's answer, and the next client is served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::connect;
use crate::daemon::{ALICE, BOB, Home, PASSWORD};
use crate::ledger::Ledger;

/// Reads whatever comes until the peer closes or is silent; never fails.
fn drain(stream: &mut TcpStream) -> Vec<u8> {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
    let mut all = Vec::new();
    let mut chunk = [0; 4_096];
    while let Ok(read) = stream.read(&mut chunk) {
        if read == 0 || all.len() > 1 << 20 {
            break;
        }
        all.extend_from_slice(&chunk[..read]);
    }
    all
}

#[test]
fn noise_on_every_port_stops_nobody() {
    let home = Home::new();
    let mut daemon = home.start();
    let ledger = Ledger::of(ALICE);
    let mut random = fastrand::Rng::with_seed(3);
    for round in 0..40 {
        for port in [24, 25, 80, 143, 993] {
            let Ok(mut stream) = TcpStream::connect(home.at(port)) else {
                continue;
            };
            let mut noise = vec![0; random.usize(1..3_000)];
            random.fill(&mut noise);
            if round % 2 == 0 {
                // Lines, so that more than the first byte is looked at.
                noise
                    .iter_mut()
                    .filter(|byte| random.u8(..40) == 0 || **byte == 0)
                    .for_each(|byte| *byte = b'\n');
            }
            let _ = stream.write_all(&noise);
            if round % 8 == 0 {
                drain(&mut stream);
            }
        }
    }
    assert!(daemon.is_alive());
    ledger.fill(home.smtp(), 3, 1_000);
    ledger.check(&home);
}

#[test]
fn an_absurdly_long_line_is_answered_and_bounded() {
    let home = Home::new();
    let mut daemon = home.start();
    for port in [25, 24, 143] {
        let mut stream = TcpStream::connect(home.at(port)).expect("it listens");
        let _ = stream.set_write_timeout(Some(Duration::from_secs(10)));
        // 32 MiB without a line end; the peer may close at any time.
        let block = vec![b'A'; 1 << 20];
        for _ in 0..32 {
            if stream.write_all(&block).is_err() {
                break;
            }
        }
        let _ = stream.write_all(b"\r\n");
        drop(stream);
        assert!(daemon.is_alive(), "port {port}");
    }
    Ledger::of(ALICE).fill(home.smtp(), 1, 500);
}

/// SMTP smuggling: every end-of-data that is not CRLF . CRLF is refused or taken literally, never the end.
#[test]
fn ambiguous_ends_of_data_do_not_smuggle() {
    let home = Home::new();
    let _daemon = home.start();
    let ends = [
        "\n.\n",
        "\n.\r\n",
        "\r.\r",
        "\r\n.\n",
        "\r\n.\r",
        "\r\n\0.\r\n",
    ];
    for end in ends {
        let mut smtp = connect::smtp(home.smtp()).expect("it listens");
        for command in [
            "MAIL FROM:<a@example.net>",
            &format!("RCPT TO:<{ALICE}>"),
            "DATA",
        ] {
            smtp.command(command).expect("a reply");
        }
        let smuggled = format!(
            "Subject: outer\r\n\r\nbody{end}MAIL FROM:<evil@example.net>\r\nRCPT TO:<{BOB}>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
        );
        // The server may close as soon as it has seen enough.
        let _ = smtp.raw(smuggled.as_bytes());
        let _ = smtp.reply();
    }
    let mut imap = connect::imap(home.imap(), BOB, PASSWORD).expect("login");
    imap.select("INBOX").expect("INBOX");
    assert_eq!(
        imap.messages().expect("FETCH").len(),
        0,
        "a message was smuggled to bob"
    );
}

/// Whatever the wire brings between DATA and the dot comes back as it was.
#[test]
fn broken_mime_comes_back_byte_for_byte() {
    let bodies = [
        "Content-Type: multipart/mixed; boundary=\"x\"\r\n\r\n--x\r\nno header end",
        "Content-Type: multipart/mixed\r\n\r\n--\r\n----\r\n",
        "Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\n",
        "Content-Type: text/plain; charset=\"no such\"\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!! not base64 ====",
        "no header at all",
        "Subject: =?utf-8?q?=FF=FE?= =?broken\r\nFrom: <<<>>>,,,;:\r\nDate: yesterday\r\n\r\nbody",
        ": empty name\r\n folded without a start\r\n\r\n",
    ];
    let home = Home::new();
    let _daemon = home.start();
    let mut smtp = connect::smtp(home.smtp()).expect("it listens");
    for body in bodies {
        let reply = smtp
            .send(&[ALICE], &format!("{body}\r\n"))
            .expect("a reply");
        assert!(reply.code == 250, "{body:?}: {reply}");
    }
    let deep = (0..200)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"))
        .collect::<String>();
    assert!(smtp.send(&[ALICE], &deep).expect("a reply").code == 250);
    let mut imap = connect::imap(home.imap(), ALICE, PASSWORD).expect("login");
    imap.select("INBOX").expect("INBOX");
    let messages = imap.messages().expect("FETCH");
    for (message, body) in messages.iter().zip(bodies) {
        assert!(
            message.bytes.ends_with(format!("{body}\r\n").as_bytes()),
            "{body:?}"
        );
    }
    assert_eq!(messages.len(), bodies.len() + 1);
    imap.command("FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY.PEEK[1] BODY.PEEK[HEADER] RFC822.SIZE)")
        .expect("every item");
}

/// The client shuts its half down after the dot: the message is taken, the reply is still sent.
#[test]
fn a_half_closed_connection_still_gets_its_reply() {
    let home = Home::new();
    let _daemon = home.start();
    let mut smtp = connect::smtp(home.smtp()).expect("it listens");
    for command in [
        "MAIL FROM:<a@example.net>",
        &format!("RCPT TO:<{ALICE}>"),
        "DATA",
    ] {
        smtp.command(command).expect("a reply");
    }
    smtp.raw(b"Subject: half\r\n\r\nclosed\r\n.\r\n")
        .expect("it reads");
    smtp.half_close().expect("our own socket");
    assert!(smtp.reply().expect("a reply").code == 250);
    // And one that ends in the middle of the data: nothing is taken.
    let mut smtp = connect::smtp(home.smtp()).expect("it listens");
    for command in [
        "MAIL FROM:<a@example.net>",
        &format!("RCPT TO:<{ALICE}>"),
        "DATA",
    ] {
        smtp.command(command).expect("a reply");
    }
    smtp.raw(b"Subject: cut\r\n\r\noff in the mid")
        .expect("it reads");
    smtp.half_close().expect("our own socket");
    let _ = smtp.reply();
    let mut imap = connect::imap(home.imap(), ALICE, PASSWORD).expect("login");
    imap.select("INBOX").expect("INBOX");
    assert_eq!(imap.messages().expect("FETCH").len(), 1);
}

/// Two hundred senders of one byte at a time hold no other sender up.
#[test]
fn slow_senders_do_not_hold_others_up() {
    let home = Home::new();
    let _daemon = home.start();
    let mut slow: Vec<TcpStream> = (0..200)
        .filter_map(|_| TcpStream::connect(home.smtp()).ok())
        .collect();
    let ledger = Ledger::of(ALICE);
    for byte in b"EHLO slow" {
        for stream in &mut slow {
            let _ = stream.write_all(&[*byte]);
        }
        ledger.fill(home.smtp(), 5, 2_000);
    }
    ledger.check(&home);
}

/// Unknown recipients, other domains, absurd sizes: refused where the protocol says so.
#[test]
fn refusals_come_at_the_right_command() {
    let home = Home::new();
    let _daemon = home.start();
    let mut smtp = connect::smtp(home.smtp()).expect("it listens");
    assert!(
        smtp.command("MAIL FROM:<a@example.net>")
            .expect("a reply")
            .code
            == 250
    );
    assert!(
        smtp.command("RCPT TO:<nobody@example.org>")
            .expect("a reply")
            .code
            == 550
    );
    assert!(
        smtp.command("RCPT TO:<alice@example.com>")
            .expect("a reply")
            .code
            >= 550
    );
    assert!(smtp.command("DATA").expect("a reply").code >= 500);
    smtp.command("RSET").expect("a reply");
    let reply = smtp
        .command("MAIL FROM:<a@example.net> SIZE=99999999999")
        .expect("a reply");
    assert!(reply.code == 552, "{reply}");
    assert!(smtp.command("NONSENSE").expect("a reply").code == 500);
    assert!(smtp.command("QUIT").expect("a reply").code == 221);
}

/// The volume is filled to the brim: senders are deferred, what was taken is there, and after a crash too.
#[test]
fn a_full_volume_refuses_politely_and_keeps_what_it_took() {
    let mut home = Home::new();
    // With a spool more is taken, and waits: `spool.rs`.
    home.more.extend(["--spool-size", "0"].map(str::to_owned));
    let ledger = Ledger::of(ALICE);
    {
        let _daemon = home.start();
        let mut smtp = connect::smtp(home.smtp()).expect("it listens");
        let mut refused = None;
        // 256 MiB hold fewer than so many of 400 KB.
        for _ in 0..2_000 {
            refused = ledger
                .send(&mut smtp, 400_000)
                .expect("the connection holds");
            if refused.is_some() {
                break;
            }
        }
        let reply = refused.expect("the volume is never full");
        assert!(reply.code / 100 == 4, "{reply}");
        let mut imap = connect::imap(home.imap(), ALICE, PASSWORD).expect("login on a full volume");
        imap.select("INBOX").expect("INBOX on a full volume");
    }
    let _daemon = home.start();
    ledger.check(&home);
}
