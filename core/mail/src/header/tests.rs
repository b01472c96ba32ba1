use super::*;

fn shown(value: &str) -> Vec<String> {
    let text = |text: &Option<Text<'_>>| {
        text.as_ref()
            .map_or("-".into(), |t| String::from_utf8_lossy(t).into_owned())
    };
    let one =
        |a: &HeaderAddress<'_>| format!("{}|{}|{}", text(&a.name), text(&a.mailbox), text(&a.host));
    addresses(value.as_bytes()).map(|a| one(&a)).collect()
}

#[test]
fn plain_and_named_addresses_are_read() {
    assert_eq!(
        shown("a@b.c, Joe Q. Public <joe@x.org>,\r\n \"Smith, J \\\"x\\\"\" <j@y>"),
        ["-|a|b.c", "Joe Q. Public|joe|x.org", "Smith, J \"x\"|j|y"]
    );
}

#[test]
fn encoded_words_stay_encoded() {
    assert_eq!(
        shown("=?utf-8?q?Z=C3=BCrich?= =?utf-8?b?w7w=?= <z@x>"),
        ["=?utf-8?q?Z=C3=BCrich?= =?utf-8?b?w7w=?=|z|x"]
    );
}

#[test]
fn groups_open_and_close() {
    assert_eq!(
        shown("Undisclosed recipients:;"),
        ["-|Undisclosed recipients|-", "-|-|-"]
    );
    assert_eq!(
        shown("A: x@y, Z <z@y>; b@c"),
        ["-|A|-", "-|x|y", "Z|z|y", "-|-|-", "-|b|c"]
    );
    assert_eq!(
        shown("A: x@y"),
        ["-|A|-", "-|x|y", "-|-|-"],
        "an unclosed group is closed"
    );
}

#[test]
fn comments_name_an_address_without_a_phrase() {
    assert_eq!(
        shown("pete(his account)@silly.test (Pete (P.))"),
        ["Pete (P.)|pete|silly.test"]
    );
}

#[test]
fn old_forms_and_nonsense_are_survived() {
    let route: Vec<_> = addresses(b"<@a,@b:joe@c>").collect();
    assert_eq!(route[0].route.as_deref(), Some(&b"@a,@b"[..]));
    assert_eq!(route[0].host.as_deref(), Some(&b"c"[..]));
    assert_eq!(
        shown("\"John Doe\" . x @ [192.0.2.1]"),
        ["-|John Doe.x|[192.0.2.1]"]
    );
    assert_eq!(shown("postmaster"), ["postmaster||"]);
    assert_eq!(shown("<>"), ["-||"]);
    assert_eq!(shown(", ,, a@b,"), ["-|a|b"]);
    assert_eq!(shown("\"unclosed"), ["unclosed||"]);
    assert_eq!(shown("(unclosed"), [""; 0]);
    assert_eq!(shown("((((\\"), [""; 0]);
}

#[test]
fn parameters_are_unquoted_and_comments_dropped() {
    let parsed = Parameterised::parse(
        b" text/Plain (really); charset = \"utf-8\";\r\n name*0=\"a;b\"; name*1=c; flag;;",
    );
    assert_eq!(parsed.value, b"text/Plain");
    assert_eq!(parsed.parameter("CHARSET"), Some(&b"utf-8"[..]));
    assert_eq!(parsed.parameter("name*0"), Some(&b"a;b"[..]));
    assert_eq!(parsed.parameter("flag"), Some(&b""[..]));
    assert_eq!(parsed.parameters.len(), 4);
}

#[test]
fn fields_keep_their_bytes() {
    let header = b"Subject: one\r\n two\r\nnonsense\r\nTo : a@b\n\r\nbody: no\r\n";
    let found: Vec<_> = fields(header).collect();
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].raw, b"Subject: one\r\n two\r\n");
    assert_eq!(&*unfold(found[0].value), b"one two");
    assert_eq!(found[1].name, b"");
    assert_eq!(found[2].name, b"To");
    assert_eq!(value(header, "subject").as_deref(), Some(&b"one two"[..]));
    assert_eq!(value(header, "body"), None);
}

/// RFC 5322 §4.5.2: `"From" *WSP ":"`, and WSP is not a line end (M10).
#[test]
fn a_fold_before_the_colon_is_not_a_field() {
    let header = b"From\r\n : attacker@evil.test\r\nFrom: admin@bank.test\r\n";
    let found: Vec<_> = fields(header).collect();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].name, found[1].name), (&b""[..], &b"From"[..]));
    assert_eq!(
        value(header, "from").as_deref(),
        Some(&b"admin@bank.test"[..])
    );
    // Siblings: a line that begins with a blank, a name with a blank inside, and one that is not ASCII.
    for line in [
        " From: a@b",
        "Fr om: a@b",
        "From\u{e9}: a@b",
        ": a@b",
        "\tFrom : a@b",
    ] {
        assert_eq!(fields(line.as_bytes()).next().unwrap().name, b"", "{line}");
    }
    assert_eq!(fields(b"From \t: a@b").next().unwrap().name, b"From");
}

/// RFC 2045 §5.1, §5.2: white space ends a token (M7), in types, parameters and addresses.
#[test]
fn white_space_ends_a_token() {
    let of = |value: &str| {
        let parsed = Parameterised::parse(value.as_bytes());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pairs: Vec<String> = parsed
            .parameters
            .iter()
            .map(|(name, value)| format!("{}={}", text(name), text(value)))
            .collect();
        format!("{}|{}", text(&parsed.value), pairs.join("|"))
    };
    let cases = [
        ("text/plain charset=utf-8", "text/plain|charset=utf-8"),
        (
            "text / (c) plain ; charset = (c) utf-8 (c)",
            "text/plain|charset=utf-8",
        ),
        (
            "text/plain; charset=utf-8 format=flowed",
            "text/plain|charset=utf-8|format=flowed",
        ),
        (
            "attachment; filename=my  file v=2.pdf; size=3",
            "attachment|filename=my file|v=2.pdf|size=3",
        ),
        (
            "attachment; filename=my\r\n file.pdf",
            "attachment|filename=my file.pdf",
        ),
        (
            "attachment; filename==?utf-8?q?a?= =?utf-8?q?b?=",
            "attachment|filename==?utf-8?q?a?= =?utf-8?q?b?=",
        ),
        ("a/b; x=\"1\" \"2\"; y=\"3\"4", "a/b|x=1 2|y=34"),
        ("text/plain odd words", "text/plain|"),
        ("7bit (comment)", "7bit|"),
        ("inline; flag; =x; \"q\"; y=", "inline|flag=|y="),
        ("", "|"),
        (";;", "|"),
    ];
    for (value, wanted) in cases {
        assert_eq!(of(value), wanted, "{value}");
    }
    assert_eq!(
        shown("<john doe@b .test>, joe . q @ c. (x) d junk, Ann Lee ann@e"),
        ["-|john doe|b.test", "x|joe.q|c.d", "Ann Lee|ann|e"]
    );
}

/// What the RFC leaves open is read so that people see who wrote (M13).
#[test]
fn the_angle_address_is_the_address_and_words_are_a_name() {
    assert_eq!(
        shown("boss@bank.test <mallory@evil.test>"),
        ["boss@bank.test|mallory|evil.test"]
    );
    assert_eq!(
        shown("boss@bank.test via x: y@z <m@evil.test>, a@b"),
        ["boss@bank.test via x: y@z|m|evil.test", "-|a|b"]
    );
    assert_eq!(shown("a@b <;"), ["-|a|b"], "without one the address stays");
    assert_eq!(shown("Name Only"), ["Name Only||"]);
    assert_eq!(
        shown("g: Some Body, a@b;"),
        ["-|g|-", "Some Body||", "-|a|b", "-|-|-"]
    );
}
