use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;

/// Far away: it is never waited for.
const WITHIN: Duration = Duration::from_secs(60);

/// A connection to a server that says each text after a line of the client came; the first one at once. What it heard.
fn against(says: Vec<Vec<u8>>) -> (Stream, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let served = std::thread::spawn(move || {
        let mut stream: TcpStream = listener.accept().expect("a client").0;
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
    (stream, served)
}

fn texts(says: &[&str]) -> Vec<Vec<u8>> {
    says.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn a_password_goes_by_plain_or_in_quotes() {
    let (stream, served) = against(texts(&[
        "* OK hi\r\n",
        "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\na1 OK\r\n",
        "+ \r\n",
        "a2 OK in\r\n",
    ]));
    let mut mover = Mover::over(stream).expect("greeted");
    mover.log_in("ann", "pä\"ss").expect("in");
    let heard = served.join().expect("served");
    let response = base64::encode("\0ann\0pä\"ss".as_bytes());
    assert_eq!(heard, ["a1 CAPABILITY", "a2 AUTHENTICATE PLAIN", &response]);

    let (stream, served) = against(texts(&[
        "* OK hi\r\n",
        "* CAPABILITY IMAP4rev1\r\na1 OK\r\n",
        "a2 NO [AUTHENTICATIONFAILED] wrong\r\n",
    ]));
    let mut mover = Mover::over(stream).expect("greeted");
    let refused = mover.log_in("ann", "p\"a\\ss");
    assert!(matches!(refused, Err(Fault::Refused(text)) if text.contains("wrong")));
    let heard = served.join().expect("served");
    assert_eq!(heard[1], r#"a2 LOGIN "ann" "p\"a\\ss""#);
}

#[test]
fn an_append_waits_for_the_server_where_it_must() {
    let (stream, served) = against(texts(&[
        "* OK hi\r\n",
        "* CAPABILITY IMAP4rev1 APPENDLIMIT=7\r\na1 OK\r\n",
        "+ go\r\n",
        "a2 OK [APPENDUID 3 9] done\r\n",
    ]));
    let mut mover = Mover::over(stream).expect("greeted");
    assert_eq!(mover.append_limit().expect("known"), Some(7));
    let date = InternalDate::utc(0);
    let put = mover.append("a \"b\"", &Flags::default(), date, b"Hi\r\n");
    assert_eq!(put.expect("stored"), Some((3, 9)));
    let heard = served.join().expect("served");
    assert_eq!(
        heard[1],
        "a2 APPEND \"a \\\"b\\\"\" () \" 1-Jan-1970 00:00:00 +0000\" {4}"
    );
}

#[test]
fn what_passes_and_what_does_not_are_told_apart() {
    for (reply, wanted) in [
        ("a1 NO [OVERQUOTA] full\r\n", "refused"),
        ("a1 BAD what\r\n", "refused"),
        ("a1 NO [UNAVAILABLE] later\r\n", "later"),
        ("* BYE stopping\r\n", "broken"),
        ("", "broken"),
        ("\0\0\r\n*\r\na1 OK\r\n", "done"),
    ] {
        let (stream, served) = against(texts(&["* OK hi\r\n", reply]));
        let mut mover = Mover::over(stream).expect("greeted");
        let done = match mover.command("NOOP", |_| Ok(())) {
            Ok(_) => "done",
            Err(Fault::Broken(_)) => "broken",
            Err(Fault::Later(_)) => "later",
            Err(Fault::Refused(_)) => "refused",
        };
        served.join().expect("served");
        assert_eq!(done, wanted, "{reply}");
    }
}

#[test]
fn a_size_that_is_a_lie_breaks_the_connection_and_takes_no_memory() {
    let small = "* 1 FETCH (UID 1 BODY[] {1000}\r\nx".to_owned();
    let many = "* 1 FETCH (A {20000000}\r\n".to_owned() + &"x".repeat(20_000_000);
    let many = format!("{many} B {{40000000}}\r\n");
    for reply in [
        "* 1 FETCH (UID 1 BODY[] {4294967295}\r\n",
        "* 1 FETCH (UID 1 BODY[] {99999999999999999999}\r\nx",
        &small,
        &many,
    ] {
        let (stream, served) = against(texts(&["* OK hi\r\n", reply]));
        let mut mover = Mover::over(stream).expect("greeted");
        let mut count = 0;
        let done = mover.command("UID FETCH 1 BODY.PEEK[]", |response| {
            count += usize::from(fetched(response).is_some());
            Ok(())
        });
        assert!(
            matches!(done, Err(Fault::Broken(_))),
            "{:?}",
            reply.get(..40)
        );
        assert_eq!(count, 0);
        drop(mover);
        served.join().expect("served");
    }
}

#[test]
fn a_reply_is_shown_without_what_a_terminal_would_obey() {
    let text = shown(b" NO \x1b[2Jgone\xff\r\n");
    assert_eq!(text, "NO ?[2Jgone\u{fffd}");
    assert!(shown(&[b'x'; 5_000]).len() <= SHOWN_REPLY_BYTES_MAX);
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let stream = Stream::plain(address, Duration::from_millis(20)).expect("it listens");
    let silent = Mover::over(stream).err();
    assert!(matches!(silent, Some(Fault::Broken(why)) if why.contains("silent")));
}
