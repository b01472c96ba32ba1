//! Conversations with a server that is a few lines of text.

use super::*;

#[test]
fn dots_are_doubled_and_the_end_is_appended() {
    assert_eq!(
        Content::stuffed(b".a\r\n.\r\n..b"),
        Content::Stuffed(b"..a\r\n..\r\n...b\r\n.\r\n".as_slice().into())
    );
    assert_eq!(
        Content::stuffed(b""),
        Content::Stuffed(b".\r\n".as_slice().into())
    );
}

#[test]
fn replies_of_several_lines_are_one() {
    let mut client = Client::new(Role::Smtp, "c.example", false);
    let mut out = Vec::new();
    assert_eq!(
        client.receive(b"220-hello\r\n220 there\r\n", &mut out),
        (22, Event::NeedInput)
    );
    assert_eq!(out, b"EHLO c.example\r\n");
    let (_, event) = client.receive(b"250-x\r\n250 SIZE 1\r\n", &mut out);
    assert_eq!(
        event,
        Event::Ready(Reply {
            code: 250,
            lines: vec!["x".into(), "SIZE 1".into()]
        })
    );
}

/// Ready, with a mail for one recipient under way; what was sent of it.
fn sending(pipelining: bool, content: Content) -> (Client, Vec<u8>) {
    let mut client = Client::new(Role::Smtp, "c", false);
    client.pipelining = pipelining;
    let mut out = Vec::new();
    assert_eq!(client.receive(b"220 a\r\n", &mut out).1, Event::NeedInput);
    let (_, event) = client.receive(b"250 a\r\n", &mut out);
    assert!(matches!(event, Event::Ready(_)));
    out.clear();
    let mail = Mail {
        reverse_path: "s@example.net".into(),
        recipients: vec!["r@example.org".into()],
        parameters: String::new(),
        content,
    };
    client.send(mail, &mut out);
    (client, out)
}

/// Found by the simulator (core/sim, lintel_story): the next MAIL was answered 503.
#[test]
fn a_transaction_without_recipients_is_reset_before_the_next() {
    let raw = b"Subject: a\r\n\r\n";
    for (pipelining, content, replies, outcomes) in [
        (
            true,
            Content::stuffed(raw),
            "250 a\r\n451 b\r\n503 c\r\n",
            1,
        ),
        (true, Content::chunk(raw), "250 a\r\n451 b\r\n503 c\r\n", 1),
        (
            true,
            Content::stuffed(raw),
            "451 a\r\n503 b\r\n503 c\r\n",
            1,
        ),
        (false, Content::stuffed(raw), "250 a\r\n451 b\r\n", 0),
    ] {
        let (mut client, mut out) = sending(pipelining, content);
        let (_, event) = client.receive(replies.as_bytes(), &mut out);
        assert_eq!(event, Event::NeedInput, "{replies}");
        assert!(out.ends_with(b"RSET\r\n"), "{replies}");
        let (_, event) = client.receive(b"250 d\r\n", &mut out);
        let Event::Sent(sent) = event else {
            panic!("{event:?}")
        };
        assert_eq!(
            sent.outcomes.len(),
            outcomes,
            "the reply to RSET is none of them"
        );
        assert!(sent.outcomes.iter().all(|reply| reply.code == 503));
        client.quit(&mut out);
    }
}

/// 354 all the same: the empty message ends the transaction.
#[test]
fn an_empty_message_for_no_recipient_needs_no_reset() {
    let (mut client, mut out) = sending(true, Content::stuffed(b"a\r\n"));
    let (_, event) = client.receive(b"250 a\r\n451 b\r\n354 c\r\n", &mut out);
    assert_eq!(event, Event::NeedInput);
    assert!(out.ends_with(b"DATA\r\n.\r\n"));
    let (_, event) = client.receive(b"554 d\r\n", &mut out);
    assert!(matches!(event, Event::Sent(_)));
}

#[test]
fn what_is_no_reply_is_nonsense() {
    for bad in [
        "hello\r\n",
        "1\r\n",
        "99x a\r\n",
        "250+a\r\n",
        "\r\n",
        "\u{e9}\u{e9}\r\n",
    ] {
        assert_eq!(
            Client::new(Role::Smtp, "c", false)
                .receive(bad.as_bytes(), &mut Vec::new())
                .1,
            Event::Nonsense,
            "{bad}"
        );
    }
    assert_eq!(
        Client::new(Role::Smtp, "c", false)
            .receive(&[b'2'; 2_000], &mut Vec::new())
            .1,
        Event::Nonsense
    );
}

#[test]
fn content_in_pieces_is_what_it_is_as_a_whole() {
    let raw = b".a\r\n.\r\n..b\r\nc.\r\n".as_slice();
    let Content::Stuffed(whole) = Content::stuffed(raw) else {
        panic!("it is stuffed");
    };
    for cut in 0..=raw.len() {
        let (mut stuffer, mut out) = (Stuffer::default(), Vec::new());
        stuffer.put(&raw[..cut], &mut out);
        stuffer.put(&raw[cut..], &mut out);
        stuffer.end(&mut out);
        assert_eq!(out, *whole, "cut at {cut}");
    }
    for (raw, sent) in [
        (b"".as_slice(), b".\r\n".as_slice()),
        (b"a", b"a\r\n.\r\n"),
        // Nothing that a server could take for the end of data.
        (b"a\n.\nb\r.\rc\r", b"a\r\n..\r\nb\r\n..\r\nc\r\n.\r\n"),
    ] {
        let (mut stuffer, mut out) = (Stuffer::default(), Vec::new());
        raw.iter().for_each(|byte| stuffer.put(&[*byte], &mut out));
        stuffer.end(&mut out);
        assert_eq!(out, sent, "{}", String::from_utf8_lossy(raw));
    }
}

#[test]
fn an_old_server_is_greeted_once_more() {
    let mut client = Client::new(Role::Smtp, "c", false);
    client.falls_back = true;
    let mut out = Vec::new();
    let (_, event) = client.receive(b"220 a\r\n502 what\r\n250-x\r\n250 SIZE 1\r\n", &mut out);
    assert_eq!(out, b"EHLO c\r\nHELO c\r\n");
    let Event::Ready(reply) = event else {
        panic!("{event:?}")
    };
    assert_eq!(reply.lines, ["x"], "HELO lists no extensions");
}

#[test]
fn the_caller_sends_the_content_once_it_is_asked_to() {
    let (mut client, out) = sending(true, Content::ByCaller);
    assert!(out.ends_with(b"DATA\r\n"));
    let mut out = Vec::new();
    let (used, event) = client.receive(b"250 a\r\n250 b\r\n354 c\r\n", &mut out);
    assert_eq!((used, event), (21, Event::Content));
    assert!(out.is_empty());
    let (_, event) = client.receive(b"250 d\r\n", &mut out);
    let Event::Sent(sent) = event else {
        panic!("{event:?}")
    };
    assert_eq!(sent.outcomes.len(), 1);
    // Without a recipient it is not asked.
    let (mut client, _) = sending(true, Content::ByCaller);
    let (_, event) = client.receive(b"250 a\r\n550 b\r\n354 c\r\n", &mut out);
    assert_eq!(
        (event, out.as_slice()),
        (Event::NeedInput, b".\r\n".as_slice())
    );
}

#[test]
fn recipients_have_their_parameters() {
    for pipelining in [true, false] {
        let mut client = Client::new(Role::Smtp, "c", false);
        client.pipelining = pipelining;
        let mut out = Vec::new();
        client.receive(b"220 a\r\n", &mut out);
        client.receive(b"250 a\r\n", &mut out);
        let mail = Mail {
            reverse_path: String::new(),
            recipients: vec!["r@example.org".into(), "s@example.org".into()],
            parameters: " SIZE=9".into(),
            content: Content::ByCaller,
        };
        client.send_with(mail, vec![" NOTIFY=NEVER".into(), String::new()], &mut out);
        client.receive(b"250 a\r\n250 b\r\n", &mut out);
        let said = String::from_utf8(out).expect("ASCII");
        let wanted = "MAIL FROM:<> SIZE=9\r\nRCPT TO:<r@example.org> NOTIFY=NEVER\r\nRCPT TO:<s@example.org>\r\n";
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn a_reply_has_one_code() {
    let mut client = Client::new(Role::Smtp, "c", false);
    let (_, event) = client.receive(b"220-a\r\n250 b\r\n", &mut Vec::new());
    assert_eq!(event, Event::Nonsense);
}
