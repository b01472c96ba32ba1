mod round;

use super::*;
use crate::command::{ChangedSince, ListRequest, Message, SearchResults, StatusItem};
use crate::fetch::{FetchItem, Partial, Section, SectionText};
use crate::limits::SEARCH_TEXTS_MAX;
use crate::search::SearchKey;

fn parsed(line: &str) -> Result<Body, Refusal> {
    command(format!("a {line}\r\n").as_bytes(), Names::ModifiedUtf7)
        .map(|c| c.body)
        .map_err(|bad| bad.refusal)
}

#[test]
fn what_clients_really_send_is_understood() {
    // Thunderbird, mutt, mbsync, Apple Mail, Python's imaplib, curl: as seen on the wire.
    for line in [
        "UID fetch 1:* (FLAGS)",
        "UID fetch 3:9 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority \
         References Newsgroups In-Reply-To Content-Type Reply-To)])",
        "UID fetch 12 (UID RFC822.SIZE BODY[]<0.49152>)",
        "FETCH 1:3 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM SENDER SUBJECT TO CC MESSAGE-ID REFERENCES \
         CONTENT-TYPE CONTENT-DESCRIPTION IN-REPLY-TO REPLY-TO LINES LIST-POST LIST-SUBSCRIBE LIST-UNSUBSCRIBE X-LABEL X-ORIGINAL-TO)])",
        "list (subscribed) \"\" \"*\" return (special-use)",
        "LIST \"\" \"*\" RETURN (SPECIAL-USE STATUS (MESSAGES UNSEEN))",
        "ID (\"name\" \"Thunderbird\" \"version\" NIL)",
        "UID STORE 4 +FLAGS.SILENT (\\Deleted)",
        "STORE 1 +FLAGS \\Seen",
        "STORE 1 FLAGS ()",
        "UID SEARCH UNDELETED SINCE 1-Jan-2020 OR FROM ann (SUBJECT \"x y\" NOT SEEN)",
        "SEARCH CHARSET UTF-8 TEXT {7+}\r\nZ\u{fc}rich",
        "select INBOX",
        "STATUS \"Sent Items\" (UIDNEXT MESSAGES UNSEEN RECENT)",
        "APPEND INBOX (\\Seen) \" 1-Jan-2020 00:00:00 +0100\" {3+}\r\nabc",
        "APPEND INBOX UTF8 (~{3+}\r\nabc)",
        "RENAME a b",
        "GETQUOTAROOT",
        "CREATE \"A/B\" (USE (\\Sent))",
        "authenticate plain =",
        "SEARCH RETURN (SAVE) KEYWORD $Junk",
        "SEARCH RETURN (SAVE MIN MAX) $ UNSEEN",
        "UID SEARCH RETURN () UID $ $",
        "FETCH $ FLAGS",
        "UID STORE $ +FLAGS (\\Deleted)",
        "UID EXPUNGE $",
        "MOVE $ Work",
        "SORT (REVERSE DATE) UTF-8 UNDELETED",
        "UID THREAD REFERENCES UTF-8 ALL",
        "UID FETCH 1:* (FLAGS) (PARTIAL -1:-50)",
    ] {
        let known = !line.starts_with("GETQUOTAROOT");
        assert_eq!(parsed(line).is_ok(), known, "{line}: {:?}", parsed(line));
    }
}

#[test]
fn macros_stand_for_their_items() {
    let items = |line: &str| match parsed(line) {
        Ok(Body::Fetch { items, .. }) => items,
        other => panic!("{other:?}"),
    };
    use FetchItem as I;
    assert_eq!(
        items("FETCH 1 FAST"),
        [I::Flags, I::InternalDate, I::Rfc822Size]
    );
    assert_eq!(items("FETCH 1 FULL").last(), Some(&I::BodyStructureBasic));
    let I::Section {
        peek,
        section,
        partial,
    } = &items("FETCH 1 BODY.PEEK[1.2.header.fields.not (To \"X-Y\")]<3.4>")[0]
    else {
        panic!()
    };
    assert!(*peek);
    assert_eq!(section.part, [1, 2]);
    assert_eq!(
        section.text,
        SectionText::HeaderFields {
            not: true,
            names: vec!["To".into(), "X-Y".into()]
        }
    );
    assert_eq!(
        *partial,
        Some(Partial {
            offset: 3,
            count: 4
        })
    );
}

#[test]
fn wrong_commands_are_told_apart() {
    let syntax = |line: &str| matches!(parsed(line), Err(Refusal::Syntax(_)));
    for line in [
        "LOGIN a",
        "LOGIN \"a b",
        "LOGIN \"a\\n\" b",
        "SELECT",
        "SELECT a b",
        "FETCH 0 FLAGS",
        "FETCH 1",
        "FETCH 1 ()",
        "FETCH 1 BODY[MIME]",
        "FETCH 1 BODY[1.]",
        "FETCH 1 BODY[0]",
        "FETCH 1 BODY[]<0.0>",
        "FETCH 1 BODY[HEADER.FIELDS ()]",
        "FETCH 1 BODY[HEADER.FIELDS (\"a\r\nb\")]",
        "STORE 1 FLAGS (\\Nonsense)",
        "SEARCH",
        "SEARCH OR ALL",
        "SEARCH SINCE 31-Feb-2020",
        "SEARCH RETURN (KEEP) ALL",
        "SEARCH 1,$",
        "FETCH $:* FLAGS",
        "APPEND x \"yesterday\" {1+}\r\na",
        "APPEND x abc",
        "STATUS x ()",
        "NOOP x",
        "UID",
    ] {
        assert!(syntax(line), "{line}: {:?}", parsed(line));
    }
    assert_eq!(parsed("FROBNICATE"), Err(Refusal::UnknownCommand));
    assert_eq!(parsed("UID NOOP"), Err(Refusal::UnknownCommand));
    assert_eq!(
        parsed("SEARCH CHARSET X-KLINGON ALL"),
        Err(Refusal::BadCharset)
    );
    assert_eq!(parsed("SELECT a&b"), Err(Refusal::BadMailboxName));
    assert_eq!(
        parsed("CREATE a (USE (\\Odd))"),
        Err(Refusal::BadSpecialUse)
    );
    let deep = format!("SEARCH {}ALL{}", "(".repeat(40), ")".repeat(40));
    assert_eq!(
        parsed(&deep),
        Err(Refusal::TooMuch("search keys inside each other"))
    );
    assert_eq!(
        parsed(&format!("SEARCH {}", "ALL ".repeat(2_000))),
        Err(Refusal::TooMuch("search keys"))
    );
    let texts = |count| format!("SEARCH {}ALL", "NOT BODY a TEXT b ".repeat(count / 2));
    assert!(parsed(&texts(SEARCH_TEXTS_MAX)).is_ok());
    assert_eq!(
        parsed(&texts(SEARCH_TEXTS_MAX + 2)),
        Err(Refusal::TooMuch("BODY and TEXT keys"))
    );
    assert_eq!(command(b"\r\n", Names::Utf8).unwrap_err().tag, "*".into());
    assert_eq!(
        command(b"+ NOOP\r\n", Names::Utf8).unwrap_err().tag,
        "*".into()
    );
    assert_eq!(
        command(b"x FROB\r\n", Names::Utf8).unwrap_err().tag,
        "x".into()
    );
}

/// Finding I11.
#[test]
fn patterns_that_are_no_names_match_nothing() {
    for line in [
        "LIST \"\" a&b",
        "LIST \"\" \"*a&-&b\"",
        "LIST a&b *",
        "LIST \"\" {1+}\r\n\u{7}",
        "LIST \"\" (a&b a&)",
    ] {
        let Ok(Body::List(request)) = parsed(line) else {
            panic!("{line}")
        };
        for pattern in &request.patterns {
            let pattern = crate::list::joined(&request.reference, pattern);
            for name in ["INBOX", "a", "a&b", "a/b"] {
                assert!(!crate::list::matches(&pattern, name), "{line} {name}");
            }
        }
    }
    assert!(parsed("LSUB a&b a&b").is_ok());
    assert_eq!(
        parsed("STATUS a&b (MESSAGES)"),
        Err(Refusal::BadMailboxName)
    );
}

#[test]
fn inbox_has_no_case() {
    for (line, wanted) in [
        ("SELECT inBox", "INBOX"),
        ("SELECT inbox/a", "INBOX/a"),
        ("SELECT inboxes", "inboxes"),
    ] {
        let Ok(Body::Select { mailbox, .. }) = parsed(line) else {
            panic!()
        };
        assert_eq!(&*mailbox, wanted);
    }
}

/// RFC 9051 §9 CHAR8: an ordinary literal has no NUL. Finding I2.
#[test]
fn nul_comes_in_by_no_door() {
    let syntax = |line: &str| matches!(parsed(line), Err(Refusal::Syntax(_)));
    for line in [
        "APPEND INBOX {3+}\r\na\0b",
        "APPEND INBOX (\\Seen) {1+}\r\n\0",
        "LOGIN ann {3+}\r\na\0b",
        "LOGIN {3+}\r\na\0b pw",
        "CREATE {3+}\r\na\0b",
        "SEARCH TEXT {3+}\r\na\0b",
        "LOGIN ann \"a\0b\"",
    ] {
        assert!(syntax(line), "{line:?}: {:?}", parsed(line));
    }
    // RFC 3516 §4.3: what cannot be given back is refused.
    for line in [
        "APPEND INBOX ~{3+}\r\na\0b",
        "APPEND INBOX UTF8 (~{3+}\r\na\0b)",
    ] {
        assert_eq!(parsed(line), Err(Refusal::Binary), "{line:?}");
    }
    assert!(parsed("APPEND INBOX ~{3+}\r\nabc").is_ok());
}

/// RFC 9051 §6.4.4 CHARSET: what is looked for is kept as text, whatever it was written in.
#[test]
fn search_texts_are_read_in_their_charset() {
    let subject = |line: &[u8]| {
        let line = [b"t SEARCH ", line, b"\r\n"].concat();
        match command(&line, Names::Utf8).map(|command| command.body) {
            Ok(Body::Search(request)) => Ok(request.key),
            Ok(other) => panic!("{other:?}"),
            Err(fault) => Err(fault.refusal),
        }
    };
    let wanted = subject("SUBJECT \"\u{4f60}\u{597d}\"".as_bytes());
    assert!(wanted.is_ok());
    for line in [
        &b"CHARSET GB2312 SUBJECT \"\xc4\xe3\xba\xc3\""[..],
        b"CHARSET big5 SUBJECT {4+}\r\n\xa7\x41\xa6\x6e",
        b"CHARSET \"gb18030\" SUBJECT \"\xc4\xe3\xba\xc3\"",
        b"CHARSET UTF-8 SUBJECT \"\xe4\xbd\xa0\xe5\xa5\xbd\"",
    ] {
        assert_eq!(subject(line), wanted, "{}", line.escape_ascii());
    }
    for line in [
        &b"CHARSET UTF-8 SUBJECT \"\xff\""[..],
        b"SUBJECT \"\xff\"",
        b"CHARSET UTF-16LE SUBJECT {1+}\r\na",
        b"CHARSET ISO-2022-CN ALL",
    ] {
        assert_eq!(
            subject(line),
            Err(Refusal::BadCharset),
            "{}",
            line.escape_ascii()
        );
    }
}

#[test]
fn the_refusal_lists_what_is_supported() {
    let list = mail::text::CHARSETS.join(" ");
    assert_eq!(crate::session::BAD_CHARSET, format!("BADCHARSET ({list})"));
}
