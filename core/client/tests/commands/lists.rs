//! Lists of whole mailboxes, and searches of headers: what they cost in trips to storage and in reads from legs, and that it makes no difference to
//! an answer where a digest came from. Counted, never timed.

use crate::rig::{Rig, Session, run};

/// Fills INBOX with copies of what is there, twice as many each time.
async fn double(session: &mut Session, times: u32) {
    for _ in 0..times {
        session.ok("COPY 1:* INBOX").await;
    }
    session.ok("NOOP").await;
}

fn device_reads(rig: &Rig) -> u64 {
    rig.mailboxes.store().volume().counters().device_reads
}

/// With 512 rows in each trip there were 20 for the rows alone.
#[test]
fn flags_of_ten_thousand_messages_take_a_handful_of_trips() {
    run(|rig| async move {
        rig.deliver_some(5).await;
        let mut session = rig.selected().await;
        double(&mut session, 11).await;
        for items in ["FLAGS", "(UID FLAGS MODSEQ)", "FAST"] {
            let (asked, reads) = (rig.asked.get(), device_reads(&rig));
            let lines = session.ok(&format!("FETCH 1:* {items}")).await;
            // The first command that names MODSEQ is answered with HIGHESTMODSEQ too.
            let fetched = lines.iter().filter(|line| line.contains(" FETCH ("));
            assert_eq!(fetched.count(), 5 << 11, "{items}");
            let trips = rig.asked.get() - asked;
            assert!(trips <= 8, "{items}: {trips} trips");
            assert_eq!(device_reads(&rig), reads, "{items}: rows are in memory");
        }
        // A screen of them is one trip for rows, and one for what else happened.
        let asked = rig.asked.get();
        session.ok("FETCH 1:50 FLAGS").await;
        assert!(rig.asked.get() - asked <= 2);
    });
}

/// Keywords make rows thirty times as large: what a connection holds is bounded by bytes.
#[test]
fn rows_with_many_keywords_come_whole_too() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let mut session = rig.selected().await;
        let keywords: Vec<String> = (0..60).map(|number| format!("{number:k>60}")).collect();
        let flags = keywords.join(" ");
        session
            .ok(&format!("STORE 2 +FLAGS.SILENT ({flags})"))
            .await;
        double(&mut session, 10).await;
        let lines = session.ok("FETCH 1:* (FLAGS)").await;
        let fetched = lines.iter().filter(|line| line.contains(" FETCH ("));
        let with = |line: &&String| line.contains(&keywords[59]);
        let (mut count, mut long) = (0, 0);
        for (index, line) in fetched.enumerate() {
            assert!(line.starts_with(&format!("* {} FETCH", index + 1)));
            count += 1;
            long += usize::from(with(&line));
        }
        assert_eq!((count, long), (3 << 10, 1 << 10));
    });
}

#[test]
fn a_list_that_was_asked_for_once_reads_no_leg_again() {
    run(|rig| async move {
        rig.deliver_some(700).await;
        let mut session = rig.selected().await;
        let first = session.ok("FETCH 1:* (ENVELOPE)").await;
        let (reads, asked) = (device_reads(&rig), rig.asked.get());
        assert_eq!(session.ok("FETCH 1:* (ENVELOPE)").await, first);
        let fields = "BODY.PEEK[HEADER.FIELDS (Subject From Date)]";
        session.ok(&format!("FETCH 1:* (UID FLAGS {fields})")).await;
        session.ok("FETCH 1:* (BODYSTRUCTURE)").await;
        assert!(rig.asked.get() - asked <= 3 * 6);
        for (keys, found) in [
            ("SUBJECT 699", "* SEARCH 699"),
            ("FROM nowhere", "* SEARCH"),
            ("HEADER List-Id \"\"", "* SEARCH"),
            ("NOT FROM b@example.net", "* SEARCH"),
            ("OR SUBJECT 698 HEADER Subject 697", "* SEARCH 697 698"),
        ] {
            assert_eq!(session.ok(&format!("SEARCH {keys}")).await, [found]);
        }
        assert_eq!(device_reads(&rig), reads);
        // Another session, another day.
        let mut other = rig.selected().await;
        assert_eq!(other.ok("FETCH 1:* (ENVELOPE)").await, first);
        assert_eq!(device_reads(&rig), reads);
        let counts = rig.mailboxes.digest_counts();
        assert_eq!(counts.read, 700);
        assert_eq!(counts.remembered, 9 * 700);
    });
}

/// A header of some shape: fields several times or not at all, folded, in odd spelling, with words and bytes that are none.
fn header(random: &mut fastrand::Rng) -> Vec<u8> {
    let values: [&[u8]; 12] = [
        b" plain words",
        b" Bob Builder <bob@example.net>, \"A, B\" <ab@example.org>",
        b" folded\r\n  value\r\n\twith tabs",
        b" =?utf-8?Q?Gr=C3=BC=C3=9Fe?= =?utf-8?B?w7w=?= <x@example.net>",
        b" friends: a@example.net, b@example.net;",
        b"",
        b" \xff\xfe 8 bit \xc3\xbc",
        b" <1@example.net> <2@example.net>",
        b" Mon, 30 Nov 2026 10:00:00 +0100",
        b" \"quote\\\" \\\\ and\" <q@[127.0.0.1]> (comment (nested))",
        b" @route.example:u@example.net",
        b" ;:,<>@",
    ];
    let names = [
        "Subject",
        "FROM",
        "from",
        "To",
        "Cc",
        "Bcc",
        "Reply-To",
        "Sender",
        "Date",
        "Message-ID",
        "In-Reply-To",
        "References",
        "List-Id",
        "X-Other",
        "Received",
        "Not a field",
    ];
    let mut out = Vec::new();
    for _ in 0..random.usize(0..20) {
        out.extend_from_slice(names[random.usize(..names.len())].as_bytes());
        out.extend_from_slice([&b":"[..], b" :"][random.usize(..2)]);
        out.extend_from_slice(values[random.usize(..values.len())]);
        out.extend_from_slice([&b"\r\n"[..], b"\n"][usize::from(random.u8(..8) == 0)]);
    }
    out
}

/// The answer without the message's number and its UID.
fn about(line: &str) -> &str {
    line.split_once("FETCH").map_or(line, |(_, rest)| rest)
}

/// Each message is there twice: with its digest, and with one of a version that nothing can read, so that its body is read instead.
#[test]
fn a_digest_from_memory_one_from_a_leg_and_the_body_give_the_same_answers() {
    run(|rig| async move {
        let mut random = fastrand::Rng::with_seed(12);
        const COUNT: usize = 60;
        for number in 0..COUNT {
            let mut raw = header(&mut random);
            if number % 9 > 0 {
                raw.extend_from_slice(b"\r\n");
                raw.extend_from_slice(format!("the text of {number}\r\n").as_bytes());
            }
            rig.deliver_bytes(&raw).await;
            rig.deliver_with(&raw, vec![0xff, 1, 2]).await;
        }
        let mut session = rig.selected().await;
        for items in [
            "ENVELOPE",
            "BODYSTRUCTURE",
            "BODY",
            "BODY.PEEK[HEADER.FIELDS (From To Cc Subject Date Message-ID References List-Id)]",
            "BODY.PEEK[HEADER.FIELDS (subject)]",
            "BODY.PEEK[HEADER.FIELDS (X-Other Subject)]",
            "BODY.PEEK[HEADER.FIELDS.NOT (From To)]",
            "BODY.PEEK[HEADER]",
            "(RFC822.SIZE ENVELOPE BODY.PEEK[HEADER.FIELDS (To)]<3.9>)",
        ] {
            for _ in 0..2 {
                let mut texts: Vec<Vec<String>> = Vec::new();
                for line in session.ok(&format!("FETCH 1:* {items}")).await {
                    match line.starts_with("* ") && line.contains(" FETCH (") {
                        true => texts.push(vec![about(&line).to_owned()]),
                        false => texts.last_mut().expect("begun").push(line),
                    }
                }
                assert_eq!(texts.len(), 2 * COUNT, "{items}");
                for pair in texts.chunks(2) {
                    assert_eq!(pair[0], pair[1], "{items}");
                }
            }
        }
        for keys in [
            "SUBJECT words",
            "SUBJECT \"folded value\"",
            "FROM bob@example",
            "FROM \"\"",
            "TO friends",
            "CC \"a, b\"",
            "BCC 127.0.0.1",
            "HEADER List-Id \"\"",
            "HEADER References 2@example",
            "HEADER X-Other plain",
            "SENTON 30-Nov-2026",
            "NOT FROM example",
            "OR SUBJECT quote TO route.example",
        ] {
            for _ in 0..2 {
                let lines = session.ok(&format!("SEARCH {keys}")).await;
                let found: Vec<usize> = lines[0]
                    .split(' ')
                    .skip(2)
                    .map(|number| number.parse().expect("a number"))
                    .collect();
                let whole = found
                    .chunks(2)
                    .all(|pair| pair.len() == 2 && pair[0] % 2 == 1 && pair[1] == pair[0] + 1);
                assert!(whole, "{keys}: {found:?}");
            }
        }
    });
}
