use super::*;

fn agreed(actions: u32, steps: u32) -> Result<Agreed, Fault> {
    let numbers = [VERSION, actions, steps].map(u32::to_be_bytes);
    Agreed::parse(&numbers.concat())
}

fn said(letter: u8, data: &[u8]) -> Result<Said, Fault> {
    let agreed = agreed(OFFERED, SKIP_OFFERED).expect("offered");
    Said::parse(letter, data, &agreed, true)
}

#[test]
fn packets_have_the_form_of_the_protocol() {
    let recipients = ["b@example.org".to_owned()];
    let envelope = Envelope {
        holder: runtime::Holder(1),
        client: "::ffff:192.0.2.1".parse().expect("an address"),
        helo: "client.example.net\0x",
        hostname: "mx.example.org",
        mail_from: "a@example.net",
        recipients: &recipients,
        id: "1.2.3",
        user: None,
    };
    let of = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        out
    };
    assert_eq!(
        of(&negotiate),
        b"\0\0\0\x0dO\0\0\0\x06\0\0\0\x31\0\x1f\xf7\xff"
    );
    let connected = of(&|out| connect(out, &envelope));
    let (letter, data, next) = frame(&connected).expect("ours").expect("whole");
    assert_eq!(letter, b'D');
    assert!(data.starts_with(b"Cj\0mx.example.org\0{daemon_name}\0ringpost\0"));
    let (letter, data, end) = frame(&connected[next..]).expect("ours").expect("whole");
    assert_eq!((letter, end), (b'C', connected.len() - next));
    assert_eq!(data, b"[192.0.2.1]\x004\0\x00192.0.2.1\0");
    assert_eq!(
        of(&|out| helo(out, &envelope)),
        b"\0\0\0\x15Hclient.example.netx\0"
    );
    assert!(of(&|out| mail(out, &envelope)).ends_with(b"\0\0\0\x11M<a@example.net>\0"));
    assert!(of(&|out| recipient(out, "b@x")).ends_with(b"\0\0\0\x07R<b@x>\0"));
    let plain = agreed(0, 0).expect("offered");
    let spaced = agreed(0, LEADING_SPACE).expect("offered");
    let folded = b" a\r\n\tb";
    assert_eq!(
        of(&|out| field(out, &plain, b"X", folded)),
        b"\0\0\0\x08LX\0a\n\tb\0"
    );
    assert_eq!(
        of(&|out| field(out, &spaced, b"X", folded)),
        b"\0\0\0\x09LX\0 a\n\tb\0"
    );
    assert_eq!(body(65_535), [0, 1, 0, 0, b'B']);
    // libmilter ends a conversation at a packet whose data has more than 65,535 bytes.
    for (name, value) in [
        ("X", 65_530),
        ("X", 65_531),
        ("X", 65_532),
        ("X", 1 << 20),
        ("Long", 0),
    ] {
        let long = of(&|out| {
            field(
                out,
                &plain,
                name.repeat(1_000).as_bytes(),
                &vec![b'y'; value],
            )
        });
        let short = of(&|out| field(out, &plain, name.as_bytes(), &vec![b'y'; value]));
        for packet in [long, short] {
            let (letter, data, next) = frame(&packet).expect("ours").expect("whole");
            assert_eq!((letter, next), (b'L', packet.len()));
            assert!(data.len() <= 65_535 && data.ends_with(b"\0"));
        }
    }
    assert!(of(&|out| end_of_body(out, &envelope)).ends_with(b"\0\0\0\x01E"));
    assert_eq!(of(&quit), b"\0\0\0\x01Q");
}

#[test]
fn a_filter_gets_only_what_was_offered() {
    let agreed_on = agreed(ADD_FIELDS, 0x1000_0000 | 0x02 | 0x8_0000).expect("offered");
    assert!(!agreed_on.wants(Step::Helo) && agreed_on.wants(Step::Connect));
    assert!(!agreed_on.answers(Step::Body) && agreed_on.answers(Step::Data));
    for (actions, steps) in [
        (0x02, 0),
        (0x04, 0),
        (0x40, 0),
        (0x100, 0),
        (0, 0x800),
        (0, 0x400_0000),
    ] {
        assert!(agreed(actions, steps).is_err(), "{actions:x} {steps:x}");
    }
    for data in [
        &b""[..],
        b"\0\0\0\x06",
        b"\0\0\0\x07\0\0\0\0\0\0\0\0",
        b"\0\0\0\x01\0\0\0\0\0\0\0\0",
    ] {
        assert!(Agreed::parse(data).is_err(), "{data:?}");
    }
}

#[test]
fn each_reply_is_read() {
    let decision = |decision| Ok(Said::Decision(decision));
    assert_eq!(said(b'c', b""), decision(Decision::Continue));
    assert_eq!(said(b'a', b""), decision(Decision::Accept));
    assert_eq!(said(b'd', b""), decision(Decision::Discard));
    assert_eq!(said(b'r', b""), decision(Decision::Reject));
    assert_eq!(said(b't', b""), decision(Decision::TempFail));
    assert_eq!(said(b'p', b""), Ok(Said::Progress));
    assert_eq!(
        said(b'y', b"550 5.7.1 no\r\n550 5.7.1 way\0"),
        decision(Decision::Reply(550, "no way".to_owned()))
    );
    assert_eq!(
        said(b'h', b"X\0 y\0"),
        Ok(Said::Add(b"X".to_vec(), b" y".to_vec()))
    );
    assert_eq!(
        said(b'i', b"\0\0\0\x01X\0y\0"),
        Ok(Said::Add(b"X".to_vec(), b"y".to_vec()))
    );
    let change = |field: &[u8]| {
        Said::Change(Change {
            name: b"X".to_vec(),
            index: 2,
            field: field.to_vec(),
        })
    };
    assert_eq!(said(b'm', b"\0\0\0\x02X\0y\0"), Ok(change(b"X: y\r\n")));
    assert_eq!(said(b'm', b"\0\0\0\x02X\0\0"), Ok(change(b"")));
    assert_eq!(
        said(b'q', b"too (odd)\r\n\0"),
        Ok(Said::Quarantine("too odd".to_owned()))
    );
}

#[test]
fn what_was_not_agreed_on_is_nonsense() {
    let nothing = agreed(0, 0).expect("offered");
    let everything = agreed(OFFERED, SKIP_OFFERED).expect("offered");
    for (letter, data) in [
        (b'h', &b"X\0y\0"[..]),
        (b'i', b"\0\0\0\0X\0y\0"),
        (b'm', b"\0\0\0\x01X\0y\0"),
        (b'q', b"x\0"),
    ] {
        assert!(Said::parse(letter, data, &nothing, true).is_err());
        assert!(Said::parse(letter, data, &everything, false).is_err());
        assert!(Said::parse(letter, data, &everything, true).is_ok());
    }
    assert!(Said::parse(b's', b"", &nothing, false).is_err());
    assert!(Said::parse(b's', b"", &everything, true).is_err());
    for (letter, data) in [
        (b'h', &b"X"[..]),
        (b'h', b"X\0y"),
        (b'h', b"X\0y\0z\0"),
        (b'i', b"\0\0"),
        (b'm', b"\0\0\0\x01a b\0y\0"),
        (b'm', b"\0\0\0\x01X-Ringpost-Scan\0y\0"),
        (b'y', b"250 fine\0"),
        (b'y', b"55"),
        (b'y', "\u{e9}\u{e9}".as_bytes()),
        (b'b', b"a new body"),
        (b'+', b"<eve@example.net>\0"),
        (b'-', b"<b@example.org>\0"),
        (b'e', b"<eve@example.net>\0"),
        (0, b""),
    ] {
        assert!(said(letter, data).is_err(), "{}", letter as char);
    }
}

#[test]
fn a_packet_is_bounded_before_it_is_kept() {
    assert_eq!(frame(b"\0\0"), Ok(None));
    assert_eq!(frame(b"\0\0\0\x02h"), Ok(None));
    assert_eq!(frame(b"\0\0\0\x01crest"), Ok(Some((b'c', &b""[..], 5))));
    assert_eq!(
        frame(b"\0\0\0\0"),
        Err(Fault::Nonsense("a packet of nothing"))
    );
    assert_eq!(frame(b"\xff\xff\xff\xff"), Err(Fault::TooLong));
    assert_eq!(frame(b"HTTP/1.1"), Err(Fault::TooLong));
}
