//! Against servers that say what a test wants, and nothing else.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;
use crate::limits::POP3_LINE_BYTES_MAX;

/// Far away: it is never waited for.
const WITHIN: Duration = Duration::from_secs(60);

/// A server that says each text after a line of the client came, the first one at once, and closes. What it heard.
fn against(says: Vec<Vec<u8>>) -> (Result<Pop3, Fault>, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let served = std::thread::spawn(move || {
        let mut stream = listener.accept().expect("a client").0;
        let mut lines = BufReader::new(stream.try_clone().expect("a handle"));
        let mut heard = Vec::new();
        for (index, text) in says.iter().enumerate() {
            if index > 0 {
                let mut line = String::new();
                lines.read_line(&mut line).expect("a line");
                heard.push(line.trim_end().to_owned());
            }
            // A client that has seen enough may be gone.
            let _ = stream.write_all(text);
        }
        heard
    });
    let stream = Stream::plain(address, WITHIN).expect("it listens");
    (Pop3::over(stream, Instant::now() + WITHIN), served)
}

/// The number of the first letter.
fn first(uid: &str) -> u64 {
    uid.bytes().next().map_or(0, u64::from)
}

/// The number behind the first letter.
fn last(uid: &str) -> u64 {
    uid[1..].parse().expect("a number")
}

fn texts(says: &[&str]) -> Vec<Vec<u8>> {
    says.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn a_conversation_lists_reads_deletes_and_ends() {
    let (pop3, served) = against(texts(&[
        "+OK ready <1@x>\r\n",
        "+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n",
        "+OK\r\n",
        "+OK in\r\n",
        "+OK\r\n1 a\r\n2 b\r\n3 twice\r\n4 twice\r\n5 \x7f\r\n6 .\r\n.\r\n",
        "+OK\r\n1 10\r\n2 20 more\r\n9 90\r\n6 x\r\n.\r\n",
        "+OK 10\r\nSubject: x\r\n\r\n..dot\nbare\r\n.\r\n",
        "+OK\r\n",
        "+OK bye\r\n",
    ]));
    let mut pop3 = pop3.expect("greeted");
    let login = pop3.log_in("ann", "pa ss").expect("answered");
    assert!(matches!(login, Login::In));
    let (all, count) = pop3.list(100, first).expect("listed");
    let all = all.iter().map(|one| (one.number, one.id, one.bytes));
    // What is there twice, and what is not a UIDL, is left alone.
    let seen: Vec<_> = all.collect();
    assert_eq!(seen, [(1, 97, 10), (2, 98, 20), (6, 46, 0)]);
    assert_eq!(count, 6);
    let mut out = b"front\r\n".to_vec();
    assert_eq!(pop3.retrieve(2, 100, &mut out).expect("read"), Some(()));
    assert_eq!(out, b"front\r\nSubject: x\r\n\r\n.dot\r\nbare\r\n");
    pop3.delete(2).expect("marked");
    pop3.quit().expect("gone");
    let heard = served.join().expect("served");
    let said = "CAPA|USER ann|PASS pa ss|UIDL|LIST|RETR 2|DELE 2|QUIT";
    assert_eq!(heard.join("|"), said);
}

#[test]
fn plain_is_used_where_words_are_not_ascii_and_refusals_are_told_from_what_passes() {
    let (pop3, served) = against(texts(&[
        "+OK\r\n",
        "+OK\r\nUSER\r\nSASL LOGIN PLAIN\r\n.\r\n",
        "+ \r\n",
        "+OK\r\n",
    ]));
    let login = pop3
        .expect("greeted")
        .log_in("ann", "pä")
        .expect("answered");
    assert!(matches!(login, Login::In));
    let heard = served.join().expect("served");
    assert_eq!(
        heard[1..],
        ["AUTH PLAIN", &base64::encode("\0ann\0pä".as_bytes())]
    );
    for (reply, passes) in [
        ("-ERR [AUTH] wrong\r\n", false),
        ("-ERR no\r\n", false),
        ("-ERR [in-use] locked\r\n", true),
        ("-ERR [SYS/TEMP] later\r\n", true),
        ("-ERR maildrop already locked\r\n", true),
        ("-ERR unable to lock maildrop\r\n", true),
        ("-ERR account locked\r\n", false),
    ] {
        let says = texts(&["+OK\r\n", "-ERR what\r\n", "+OK\r\n", reply]);
        let (pop3, _) = against(says);
        let answer = pop3.expect("greeted").log_in("ann", "p");
        match passes {
            true => assert!(matches!(answer, Err(Fault::Later(_))), "{reply}"),
            false => assert!(matches!(answer, Ok(Login::Refused(_))), "{reply}"),
        }
    }
    let (pop3, served) = against(texts(&["+OK\r\n"]));
    let answer = pop3.expect("greeted").log_in("ann", "p\r\nDELE 1");
    assert!(matches!(answer, Ok(Login::Refused(_))));
    assert_eq!(served.join().expect("served"), [""; 0], "nothing was sent");
}

#[test]
fn servers_that_are_mad_cost_one_try() {
    let is_broken = |fault: &Fault| matches!(fault, Fault::Broken(_));
    let (pop3, _) = against(texts(&["220 smtp\r\n"]));
    assert!(is_broken(&pop3.err().expect("not POP3")));
    let (pop3, _) = against(texts(&["-ERR busy\r\n"]));
    assert!(matches!(pop3.err(), Some(Fault::Later(_))));
    // A line without end, in a reply and in a list.
    let endless = vec![b'x'; 3 * POP3_LINE_BYTES_MAX];
    let (pop3, _) = against(vec![endless.clone()]);
    assert!(is_broken(&pop3.err().expect("no end")));
    let list = [b"+OK\r\n1 ".to_vec(), endless].concat();
    let (pop3, _) = against(vec![b"+OK\r\n".to_vec(), list]);
    assert!(is_broken(
        &pop3.expect("greeted").list(9, first).expect_err("no end")
    ));
    // It closes in the middle of a message; one that is longer than it may be is not read to its end.
    let (pop3, _) = against(texts(&["+OK\r\n", "+OK\r\nSubject: x\r\n\r\nhal"]));
    let mut out = Vec::new();
    let read = pop3.expect("greeted").retrieve(1, 1_000, &mut out);
    assert!(is_broken(&read.expect_err("cut")));
    let (pop3, _) = against(texts(&[
        "+OK\r\n",
        &format!("+OK\r\n{}", "y".repeat(900_000)),
    ]));
    let mut out = Vec::new();
    let read = pop3.expect("greeted").retrieve(1, 1_000, &mut out);
    assert_eq!(read.expect("read so far"), None);
    assert!(out.len() <= 1_000);
    // More messages than are asked for are counted, and not kept.
    let many: String = (1..=500).map(|n| format!("{n} u{n}\r\n")).collect();
    let sizes: String = (1..=500).map(|n| format!("{n} 7\r\n")).collect();
    let (pop3, _) = against(texts(&[
        "+OK\r\n",
        &format!("+OK\r\n{many}.\r\n"),
        &format!("+OK\r\n{sizes}.\r\n"),
    ]));
    let (all, count) = pop3.expect("greeted").list(10, last).expect("listed");
    assert_eq!((all.len(), count), (10, 500));
    assert_eq!(all[9].bytes, 7);
    // Without UIDL no message can be known again.
    let (pop3, _) = against(texts(&["+OK\r\n", "-ERR unknown\r\n"]));
    let listed = pop3.expect("greeted").list(10, first);
    assert!(matches!(listed, Err(Fault::Refused(_))));
}

/// The deadline is over before the server says anything: the same look that bounds a trickle, without waiting for one.
#[test]
fn a_deadline_ends_a_conversation_whatever_arrives() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let mut stream = Stream::plain(address, WITHIN).expect("it listens");
    stream.end_at(Instant::now());
    let over = stream.send(b"CAPA\r\n").expect_err("no time is left");
    assert_eq!(over.kind(), io::ErrorKind::TimedOut);
    let opened = Pop3::over(stream, Instant::now());
    assert!(matches!(opened.err(), Some(Fault::Broken(_))));
}

#[test]
fn messages_are_the_same_in_pieces_of_any_size() {
    let message = b"a: b\r\n\r\n..x\r\n.\r.y\nlong\r\r\n..\r\n.\r\nrest";
    for size in 1..=message.len() as u8 {
        wire::fuzzing::cut(&[&[size], &message[..]].concat());
    }
    let mut lines = Lines::default();
    lines.input().extend_from_slice(message);
    let mut out = Vec::new();
    assert_eq!(lines.take_message(&mut out, usize::MAX), Taken::End);
    assert_eq!(out, b"a: b\r\n\r\n.x\r\n\r.y\r\nlong\r\r\n.\r\n");
    assert_eq!(lines.line(), Ok(None));
    lines.input().extend_from_slice(b"\r\n");
    assert_eq!(lines.line(), Ok(Some(b"rest".to_vec())));
}

/// A message with lone LFs must not end itself, and put words of its own into the server's mouth.
#[test]
fn a_message_ends_only_as_its_server_ends_lines() {
    let inner = "Subject: x\r\n\r\na\n.\n+OK\r\nSubject: forged\n.\r\nb\r\n..\n.\r\n.\r\n";
    for size in 1..inner.len() {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        lines.input().extend_from_slice(b"+OK\r\n");
        lines.line().expect("short").expect("whole");
        let taken = inner.as_bytes().chunks(size).map(|piece| {
            lines.input().extend_from_slice(piece);
            lines.take_message(&mut out, 1_000)
        });
        let taken: Vec<Taken> = taken.collect();
        assert_eq!(
            taken.iter().position(|one| *one == Taken::End),
            Some(taken.len() - 1),
            "{size}"
        );
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "Subject: x\r\n\r\na\r\n.\r\n+OK\r\nSubject: forged\r\n.\r\nb\r\n.\r\n.\r\n"
        );
    }
    // A server that ends all its lines with LF alone.
    let (pop3, _) = against(texts(&["+OK\n", "+OK\nSubject: x\n\n..dot\n.\n"]));
    let mut out = Vec::new();
    let read = pop3.expect("greeted").retrieve(1, 100, &mut out);
    assert_eq!(read.expect("read"), Some(()));
    assert_eq!(out, b"Subject: x\r\n\r\n.dot\r\n");
    // More than was asked for: what it is about cannot be known.
    let (pop3, _) = against(texts(&[
        "+OK\n",
        "+OK\nSubject: x\n.\n+OK\nSubject: y\n.\n",
    ]));
    let read = pop3.expect("greeted").retrieve(1, 100, &mut out);
    assert!(matches!(read, Err(Fault::Broken(_))), "{read:?}");
}
