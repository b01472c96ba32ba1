//! IMAP: a client that says anything, a message and a client that asks anything of it, a server that answers anything.

use ::imap::client::{Responses, put_command, strict};
use ::imap::command::Body;
use ::imap::fetch::{self, FetchItem};
use ::imap::respond::{put_body_structure, put_envelope};
use ::imap::search::{Content, Matcher, Row};
use ::imap::sort::ranked::{self, Ranked};
use ::imap::sort::{SortCriterion, SortField, Sorter};
use ::imap::thread::links::Links;
use ::imap::thread::{ThreadAlgorithm, Threader};
use ::imap::{Event, Names, Policy, Session, State, parse};
use mail::{Flags, InternalDate, ModSeq, Summary};

pub const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"(",
    b")",
    b"\"",
    b"\\",
    b"{3}\r\nabc",
    b"{3+}\r\nabc",
    b"{99999999999}\r\n",
    b"~{2}\r\nab",
    b"NIL",
    b"*",
    b"1:*",
    b"2,4:7",
    b"4294967295",
    b"0",
    b"a1 LOGIN u p\r\n",
    b"a2 SELECT INBOX\r\n",
    b"a3 FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (FROM TO)]<0.100>)\r\n",
    b"a4 UID SEARCH CHARSET UTF-8 OR NOT SEEN SINCE 1-Feb-2026 SUBJECT \"x\"\r\n",
    b"a5 APPEND INBOX (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {4+}\r\nabcd\r\n",
    b"a6 IDLE\r\nDONE\r\n",
    b"a7 LIST (SUBSCRIBED) \"\" (\"*\" \"%\") RETURN (STATUS (MESSAGES))\r\n",
    b"a8 STORE 1 +FLAGS.SILENT ($a \\Deleted)\r\n",
    b"a9 AUTHENTICATE PLAIN AGEAYg==\r\n",
    b"a9 AUTHENTICATE XOAUTH2 dXNlcj1hAWF1dGg9QmVhcmVyIGFiYwEB\r\n",
    b"a9 AUTHENTICATE OAUTHBEARER biwsAWF1dGg9QmVhcmVyIGFiY2QBAQ==\r\nAQ==\r\n",
    b"a9 AUTHENTICATE EXTERNAL =\r\n",
    b"ENABLE IMAP4rev2",
    b" (QRESYNC (1 2 3:4 (1 3)))",
    b" (CHANGEDSINCE 9 VANISHED)",
    b"(UNCHANGEDSINCE 9) ",
    b"MODSEQ ",
    b"9223372036854775807",
    b"SORT (REVERSE DATE) UTF-8 ",
    b"THREAD REFERENCES UTF-8 ",
    b"PARTIAL -1:-9",
    b"YOUNGER 9",
    b"&AOQ-",
    b"&",
    b"BODY[1.2.MIME]",
    b"BINARY[1]",
    b"BODYSTRUCTURE",
    b"ENVELOPE",
    b"UID ",
    b"a1 REPLACE 1 INBOX {3+}\r\nabc\r\n",
    b"a1 APPEND INBOX {3+}\r\nabc (\\Seen) {2+}\r\nab\r\n",
    b"SETQUOTA \"\" (STORAGE 5)",
    b"a1 SETACL x -anyone +lrswi\r\n",
    b"a1 GETMETADATA (MAXSIZE 9 DEPTH infinity) x (/private/a /shared)\r\n",
    b"a1 SETMETADATA x (/private/a {2+}\r\nab /shared/b NIL)\r\n",
    b" RETURN (MYRIGHTS METADATA (/shared/a))",
    b"a1 NOTIFY SET STATUS (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange))\r\n",
    b" (subtree (a b) (MailboxName SubscriptionChange))",
    b"PREVIEW (LAZY)",
    b"EMAILID M1-a ",
    b"SAVEDON 1-Feb-2026 ",
    b"COPY",
    b"MOVE",
    b"EXPUNGE",
    b"\xc3\xa9",
    b"\xff",
    b"\0",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let login = b"a1 LOGIN user pass\r\n";
    let lines: [&[u8]; 13] = [
        b"a NOTIFY NONE\r\nb NOTIFY SET STATUS (selected-delayed (MessageNew (UID BODY.PEEK[HEADER.FIELDS (FROM)]) MessageExpunge)) (mailboxes (a \"b c\") (MessageNew MessageExpunge FlagChange)) (subtree d NONE) (subscribed (SubscriptionChange)) (inboxes (AnnotationChange))\r\nc NOTIFY SET (personal (MailboxName MailboxMetadataChange ServerMetadataChange))\r\n",
        b"a SETACL x \"b@c.d\" lrswipkxteacd\r\nb DELETEACL x -anyone\r\nc GETACL x\r\nd LISTRIGHTS x y\r\ne MYRIGHTS \"Other Users/a@b.c/x\"\r\nf GETMETADATA \"\" (DEPTH 1) (/shared /private/a)\r\ng SETMETADATA x (/private/a \"q\" /shared/b NIL)\r\n",
        b"a SELECT x\r\nb SORT RETURN (MIN PARTIAL -1:-9) (REVERSE DATE DISPLAYTO) UTF-8 OLDER 5\r\nc UID THREAD REFERENCES UTF-8 YOUNGER 7\r\nd UID FETCH 1:* FLAGS (PARTIAL 1:9 CHANGEDSINCE 5)\r\n",
        b"a CAPABILITY\r\nb NOOP\r\nc ID (\"name\" \"x\")\r\nd ENABLE IMAP4rev2 UTF8=ACCEPT\r\ne NAMESPACE\r\nf LOGOUT\r\n",
        b"a SELECT \"INBOX\"\r\nb FETCH 1:3,5:* (FLAGS UID INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY[] BODY.PEEK[1.2.HEADER.FIELDS.NOT (A \"b\")]<1.2> BINARY.SIZE[1])\r\nc STORE 1 -FLAGS (\\Seen k)\r\nd CLOSE\r\n",
        b"a SELECT {5+}\r\nINBOX\r\nb UID SEARCH RETURN (MIN MAX COUNT) CHARSET UTF-8 NOT (OR ALL UNSEEN) HEADER X {1+}\r\ny BEFORE 1-Jan-2020 LARGER 5 UID 1:*\r\nc UID COPY 1 x\r\nd UID EXPUNGE 1:*\r\n",
        b"a APPEND x (\\Seen) \" 1-Jan-2026 00:00:00 +0000\" {10+}\r\n0123456789\r\nb APPEND x {3}\r\nabc\r\n",
        b"a IDLE\r\nDONE\r\nb CREATE \"a/b &AOQ-\" (USE (\\Junk))\r\nc RENAME a b\r\nd DELETE b\r\ne SUBSCRIBE q\r\n",
        b"a LIST (SUBSCRIBED REMOTE RECURSIVEMATCH) \"\" (\"a*\" %) RETURN (CHILDREN SPECIAL-USE STATUS (MESSAGES UIDNEXT))\r\nb LSUB \"\" *\r\nc STATUS x (UNSEEN SIZE)\r\n",
        b"a UNSELECT\r\nb EXAMINE x\r\nc CHECK\r\nd MOVE 1 y\r\ne SEARCH TEXT \"q\\\"r\"\r\n",
        b"a ENABLE QRESYNC\r\nb SELECT x (CONDSTORE QRESYNC (7 8 1:9,11 (1,3 2,5)))\r\nc UID FETCH 1:* (FLAGS MODSEQ) (CHANGEDSINCE 5 VANISHED)\r\nd STORE 1 (UNCHANGEDSINCE 6) FLAGS.SILENT (k)\r\ne SEARCH MODSEQ \"/flags/k\" priv 7 NOT MODSEQ 8\r\n",
        b"",
        b"a AUTHENTICATE PLAIN\r\nAGEAYg==\r\nb STARTTLS\r\n",
    ];
    let with = |line: &&[u8]| {
        let heads = [[0u8, 1], [0, 7], [0, 90]];
        heads
            .map(|head| {
                [
                    &head[..],
                    if line.starts_with(b"a AUTH") {
                        b""
                    } else {
                        login
                    },
                    line,
                ]
                .concat()
            })
            .to_vec()
    };
    lines.iter().flat_map(with).collect()
}

/// What came out does not depend on the cut; each command is written and read back as itself.
pub fn session(data: &[u8]) {
    let &[choice, cut, ref bytes @ ..] = data else {
        return;
    };
    let policy = Policy {
        tls_offered: choice & 1 != 0,
        login_without_tls: choice & 2 == 0,
        append_bytes_max: 2_000,
    };
    let whole = converse(policy, bytes, usize::MAX);
    let pieces = converse(policy, bytes, usize::from(cut).max(1));
    // A line past its bound is refused when it is whole and given up on while it is not: that may depend on the cut.
    let within_bounds = bytes.len() <= ::imap::limits::COMMAND_BYTES_BEFORE_LOGIN_MAX;
    assert!(
        !within_bounds || whole == pieces,
        "the cut changes the outcome"
    );
    assert!(whole.1.is_empty() || whole.1.ends_with(b"\r\n"));
}

/// The events as text, and the output.
fn converse(policy: Policy, bytes: &[u8], size: usize) -> (Vec<String>, Vec<u8>) {
    let mut session = Session::new(policy, false);
    session.offer(super::offer());
    let mut out = Vec::new();
    let mut sent = Vec::new();
    let mut events = Vec::new();
    session.greet(&mut out);
    for segment in bytes.chunks(size) {
        session.input().extend_from_slice(segment);
        loop {
            // until input is wanted: every other event used some up
            let event = session.step(&mut out);
            sent.append(&mut out);
            match &event {
                Event::Wait => break,
                // Where that falls depends on the cut.
                Event::Flush => continue,
                Event::LogIn { tag, user, .. } => {
                    if user == b"wrong" {
                        if session.login_refused(tag, &mut out).is_some() {
                            sent.append(&mut out);
                            return (events, sent);
                        }
                    } else {
                        session.logged_in(tag, &mut out);
                    }
                }
                Event::FindKeys { user, .. } => {
                    if user == b"later" {
                        session.login_deferred();
                    } else {
                        session.keys_found(sasl::fuzzing::found(), &mut out);
                    }
                }
                Event::Proved { tag, proved } => {
                    assert_eq!(proved.by, None);
                    if session.login_refused(tag, &mut out).is_some() {
                        sent.append(&mut out);
                        return (events, sent);
                    }
                }
                Event::CheckToken { bearer, .. } if bearer.token == "later" => {
                    session.login_deferred();
                }
                Event::CheckToken { tag, bearer } => match bearer.token.len() % 2 {
                    0 => session.token_refused(&sasl::fuzzing::failure(), &mut out),
                    _ => session.logged_in(tag, &mut out),
                },
                Event::CheckCertificate { tag, user } => {
                    if user.is_none() {
                        session.logged_in(tag, &mut out);
                    } else if session.login_refused(tag, &mut out).is_some() {
                        sent.append(&mut out);
                        return (events, sent);
                    }
                }
                Event::Perform { command, .. } => {
                    read_back(command, session.names());
                    match command.body {
                        Body::Select { read_only, .. } => session.selected(read_only),
                        Body::Close | Body::Unselect => session.unselected(),
                        _ => {}
                    }
                }
                Event::Idle | Event::IdleEnded { .. } => {}
                // What follows is another stream.
                Event::StartTls | Event::Compress { .. } | Event::Close => {
                    events.push(format!("{event:?}"));
                    return (events, sent);
                }
            }
            events.push(format!("{event:?}"));
        }
    }
    assert!(session.state() != State::Logout, "a logout ends in Close");
    (events, sent)
}

/// The parser and our own client check each other: what one has read the other one writes, and it must be read as the same. A quoting rule
/// that only one of them has would let a folder name become part of a command.
fn read_back(command: &::imap::Command, names: Names) {
    let brings_message = matches!(
        command.body,
        Body::Append { .. } | Body::AppendMany { .. } | Body::Replace { .. }
    );
    if brings_message {
        return; // its message is a place in bytes that are written again
    }
    let mut line = Vec::new();
    put_command(&mut line, command, b"", names);
    let again = parse::command(&line, names);
    assert!(
        again.as_ref() == Ok(command),
        "{command:?} is written as {} and read as {again:?}",
        line.escape_ascii()
    );
}

/// Of headers, one behind the other with a NUL between.
pub const SORT_WORDS: &[&[u8]] = &[
    b"\0",
    b"\r\n",
    b"\r\n ",
    b"Message-ID: ",
    b"References: ",
    b"In-Reply-To: ",
    b"<a@x>",
    b"<b@x>",
    b"<c@x> <a@x>",
    b"<\"a\"@x>",
    b"<\"",
    b"Subject: ",
    b"Re: ",
    b"[fwd: ",
    b"]",
    b"[x] ",
    b" (fwd)",
    b"=?utf-8?q?=C3=84?=",
    b"From: A <b@c>\r\n",
    b"To: g: x@y;\r\n",
    b"Date: 1 Jan 2026 00:00:00 +0100\r\n",
    b"Date: 99 Foo 26\r\n",
];

/// Some discussions.
pub fn sort_seeds() -> Vec<Vec<u8>> {
    let seeds: [&[u8]; 4] = [
        b"Message-ID: <a@x>\r\nSubject: one\r\n\0Message-ID: <b@x>\r\nReferences: <a@x>\r\nSubject: Re: one\r\n\0Message-ID: <c@x>\r\nReferences: <a@x> <b@x>\r\n",
        b"Message-ID: <a@x>\r\nReferences: <b@x>\r\n\0Message-ID: <b@x>\r\nReferences: <a@x>\r\n\0Message-ID: <a@x>\r\n",
        b"Subject: [x] Re: [y] Fwd: two (fwd)\r\nFrom: A <b@c>\r\nDate: 1 Jan 2026 00:00:00 +0100\r\n\0Subject: [fwd: two]\r\nIn-Reply-To: <q@x>\r\n\0References: <q@x>\r\n",
        b"",
    ];
    seeds.map(<[u8]>::to_vec).to_vec()
}

/// Whatever the headers: each message has one place in the order, and one in the trees; and they are the same where half of them was kept.
pub fn sort(data: &[u8]) {
    let headers: Vec<&[u8]> = data.split(|&byte| byte == 0).collect();
    let count = headers.len() as u32;
    let (half, uids) = (headers.len() / 2, (1..=count).collect::<Vec<u32>>());
    for (_, field) in SortField::ALL {
        let criterion = SortCriterion {
            field,
            reverse: data.len().is_multiple_of(2),
        };
        let mut sorter = Sorter::new(&[criterion], headers.len());
        for header in &headers {
            sorter.add(InternalDate::utc(7), header.len() as u32, header);
        }
        let ranked = |part: std::ops::Range<usize>| {
            let mut sorter = Sorter::new(&[criterion], part.len());
            for header in &headers[part.clone()] {
                sorter.add(InternalDate::utc(7), header.len() as u32, header);
            }
            let mut ranked = sorter.ranked(&uids[part]);
            ranked.next().expect("one field").1
        };
        let (old, fresh) = (ranked(0..half), ranked(half..headers.len()));
        let kept = Ranked::merged(&old, &fresh, uids.iter().copied());
        let mut order = sorter.order();
        let kept = ranked::order(&[(&kept, criterion.reverse)], &uids);
        assert_eq!(order, kept, "{field:?}");
        order.sort_unstable();
        assert!(order.into_iter().eq(0..count), "{field:?}");
    }
    for (_, algorithm) in ThreadAlgorithm::ALL {
        let mut threader = Threader::new(algorithm);
        for header in &headers {
            threader.add(InternalDate::utc(7), header);
        }
        let trees = threader.trees(|message| message + 1);
        let links = |part: std::ops::Range<usize>| {
            let mut threader = Threader::new(algorithm);
            for header in &headers[part.clone()] {
                threader.add(InternalDate::utc(7), header);
            }
            threader.links(uids[part].to_vec())
        };
        let (old, fresh) = (links(0..half), links(half..headers.len()));
        let kept = Links::merged(&old, &fresh, uids.iter().copied());
        assert!(kept.trees(algorithm, &uids, |place| place + 1) == trees);
        let mut depth = 0i64;
        for byte in &trees {
            depth += i64::from(*byte == b'(') - i64::from(*byte == b')');
            assert!(depth >= 0);
        }
        assert_eq!(depth, 0, "{}", trees.escape_ascii());
        let words = trees.split(|byte| b"() ".contains(byte));
        let words = words.filter(|word| !word.is_empty());
        let mut numbers: Vec<u32> = words
            .map(|word| {
                std::str::from_utf8(word)
                    .ok()
                    .and_then(|word| word.parse().ok())
            })
            .map(|number| number.expect("a number"))
            .collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(1..=count), "{algorithm:?}");
    }
}

/// Of what is asked, and of the messages that are asked about.
pub const ASK_WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\0",
    b"\xff",
    b" ",
    b"\"",
    b"\\",
    b"(",
    b")",
    b"<",
    b">",
    b"@",
    b":",
    b";",
    b",",
    b"--b\r\n",
    b"--b--\r\n",
    b"--b words\r\n",
    b"--x\r\n",
    b"--x--\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
    b"Content-Type: multipart/digest; boundary=x\r\n",
    b"Content-Type: message/rfc822\r\n\r\n",
    b"Content-Type: message/global\r\n",
    b"Content-Type: text/plain charset=utf-8\r\n",
    b"Content-Transfer-Encoding:",
    b" base64\r\n",
    b"Content-Disposition: attachment; filename*0*=utf-8''%C3%BC; filename*1=b\r\n",
    b"Content-Language: en, de\r\n",
    b"Content-ID: <1>\r\n",
    b"From: a <b@c> d\r\n",
    b"To: g: x@y, z;\r\n",
    b"Subject: =?gb2312?B?xOO6ww==?= =?utf-8?q?=C3?=\r\n",
    b"BODY[1.2.MIME]",
    b"BINARY[1]",
    b"TEXT ",
    b"FROM ",
];

/// A command line, then a message.
pub fn ask_seeds() -> Vec<Vec<u8>> {
    let asks: [&[u8]; 6] = [
        b"a FETCH 1 (ENVELOPE BODYSTRUCTURE BODY BODY[] BODY[1] BODY[2.1.MIME] BODY[HEADER] BODY[TEXT]<2.9> RFC822)\r\n",
        b"a FETCH 1 (BODY[HEADER.FIELDS (Subject To)] BODY[2.HEADER.FIELDS.NOT (From)] BINARY[1] BINARY[2]<0.5> BINARY.SIZE[1])\r\n",
        b"a FETCH 1 (BODY[1.1.1.TEXT] BODY[1.HEADER] BODY[2.2])\r\n",
        b"a SEARCH OR TEXT x BODY y FROM a NOT TO b SUBJECT \"c d\"\r\n",
        b"a SEARCH HEADER Content-Type m SENTBEFORE 1-Jan-2030 SENTON 21-Nov-2026 1:* UID 7\r\n",
        b"a SEARCH BCC q CC r MODSEQ 9 LARGER 3 SMALLER 9 KEYWORD k UNDELETED ON 2-Feb-2020\r\n",
    ];
    asks.iter()
        .flat_map(|ask| {
            super::summary::seeds()
                .into_iter()
                .map(|message| [ask, &*message].concat())
        })
        .collect()
}

/// Whatever is asked of whatever message: sections are within it, what is written is values, and a search comes to a verdict.
pub fn ask(data: &[u8]) {
    let Some(end) = memchr::memmem::find(data, b"\r\n") else {
        return;
    };
    let (line, raw) = data.split_at(end + 2);
    let Ok(command) = parse::command(line, Names::Utf8) else {
        return;
    };
    let summary = Summary::of(raw);
    match command.body {
        Body::Fetch { items, .. } => {
            let mut out = b"* 1 FETCH (".to_vec();
            put_envelope(&mut out, &summary.envelope());
            for extended in [false, true] {
                out.push(b' ');
                put_body_structure(&mut out, &summary.root, extended, true);
            }
            strict::verify(raw, &summary);
            strict::verify(raw, &Summary::whole(raw));
            for item in &items {
                answer(item, &summary, raw);
            }
            out.extend_from_slice(b")\r\n");
            let mut responses = Responses::default();
            responses.input().extend_from_slice(&out);
            let response = responses
                .step()
                .expect("our own response")
                .expect("a whole one");
            response.values().expect("well-formed values");
        }
        Body::Search(request) => {
            let matcher = Matcher::new(&request.key, 1, 7, &[(7, 7)], 1_000_000);
            let flags = Flags::default();
            let row = Row {
                number: 1,
                uid: 7,
                flags: &flags,
                recent: false,
                internal_date: InternalDate::utc(0),
                size_bytes: raw.len() as u32,
                modseq: ModSeq(50),
                email_id: ::imap::object::EmailId::of(&[7; 32], InternalDate::utc(0)),
                saved_s: 0,
            };
            matcher.verdict(row, Content::default());
            matcher.verdict(
                row,
                Content {
                    summary: Some(&summary),
                    body: None,
                },
            );
            let verdict = matcher.verdict(
                row,
                Content {
                    summary: Some(&summary),
                    body: Some(raw),
                },
            );
            assert!(
                matches!(
                    verdict,
                    ::imap::search::Verdict::Yes | ::imap::search::Verdict::No
                ),
                "{verdict:?}"
            );
        }
        _ => {}
    }
}

/// One item of a FETCH by both ways that the server has: from the summary alone where that is enough, and from the whole message. A client
/// must not be able to see which way was taken.
fn answer(item: &FetchItem, summary: &Summary, raw: &[u8]) {
    item.needs_body(Some(summary));
    match item {
        FetchItem::Section {
            section, partial, ..
        } => {
            if let Some(bytes) = fetch::cut(section, summary, raw) {
                assert!(fetch::part_of(&bytes, *partial).len() <= bytes.len());
                // What the summary alone can answer is what the body would.
                if let Some(fields) = fetch::fields_from_summary(section, summary) {
                    assert_eq!(fields, *bytes, "{section:?}");
                }
            }
        }
        FetchItem::Binary { part, partial, .. } => {
            if let Some((body, encoding)) = fetch::binary_part(part, summary, raw)
                && let Some(decoded) = fetch::transfer_decoded(body, encoding)
            {
                fetch::part_of(&decoded, *partial);
            }
        }
        _ => {}
    }
}

pub fn response_seeds() -> Vec<Vec<u8>> {
    let text: &[u8] = b"* OK [CAPABILITY IMAP4rev1] hi\r\n* 3 FETCH (FLAGS (\\Seen) BODY[] {5}\r\nhello ENVELOPE (\"x\" NIL ((NIL NIL \"a\" \"b\")) NIL))\r\n+ go\r\n* LIST (\\HasNoChildren) \"/\" &AOQ-\r\na OK Enable completed\r\n";
    vec![text.to_vec()]
}

/// A server may say anything.
pub fn responses(data: &[u8]) {
    let mut responses = Responses::default();
    responses.input().extend_from_slice(data);
    // Each response uses up a line.
    while let Ok(Some(response)) = responses.step() {
        let _ = response.values();
        response.completes("a");
        response.is_continuation();
        response.tag();
    }
}
