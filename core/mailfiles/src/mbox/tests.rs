use mail::{Keyword, SystemFlags};

use super::*;

fn read(file: &[u8], quoting: Quoting) -> Vec<Letter> {
    let mut reader = Reader::new(file, quoting);
    let mut letters = Vec::new();
    while let Some(letter) = reader.next_letter().expect("memory") {
        letters.push(letter);
    }
    letters
}

fn texts(file: &str) -> Vec<String> {
    let letters = read(file.as_bytes(), Quoting::Mboxrd);
    let text = |letter: Letter| String::from_utf8(letter.message).expect("UTF-8");
    letters.into_iter().map(text).collect()
}

#[test]
fn messages_begin_behind_an_empty_line_with_a_date() {
    let file = "From a@example.org Sat Jan  3 01:05:34 1996\nSubject: 1\n\nFrom here on it is text\n\nFrom now on, too\nFrom b Sat Jan  3 01:05:34 1996\n\n\
                From b Sat Jan  3 01:05 1996\nSubject: 2\n\nlast\n";
    assert_eq!(
        texts(file),
        [
            "Subject: 1\r\n\r\nFrom here on it is text\r\n\r\nFrom now on, too\r\nFrom b Sat Jan  3 01:05:34 1996\r\n",
            "Subject: 2\r\n\r\nlast\r\n"
        ]
    );
}

#[test]
fn quotes_are_undone_as_they_were_made() {
    let file = b"From a Sat Jan  3 01:05:34 1996\n\n>From x\n>>From y\n>Fromage\n";
    let text = |quoting| read(file, quoting).remove(0).message;
    assert_eq!(
        text(Quoting::Mboxrd),
        b"\r\nFrom x\r\n>From y\r\n>Fromage\r\n"
    );
    assert_eq!(
        text(Quoting::Mboxo),
        b"\r\nFrom x\r\n>>From y\r\n>Fromage\r\n"
    );
}

#[test]
fn flags_are_read_and_their_fields_taken_out() {
    let file = b"From a Sat Jan  3 01:05:34 1996\r\nStatus: RO\r\nSubject: 1\r\nX-Status: AF\r\nX-Keywords: $Work later\r\n\t(bad) more\r\nX-UID: 7\r\n\
                 Content-Length: 4000000\r\n\r\nStatus: text\r\n\r\n";
    let letters = read(file, Quoting::Mboxrd);
    let [letter] = &letters[..] else {
        panic!("{letters:?}")
    };
    let wanted = "Subject: 1\r\nContent-Length: 4000000\r\n\r\nStatus: text\r\n";
    assert_eq!(String::from_utf8_lossy(&letter.message), wanted);
    let system = SystemFlags::SEEN.with(SystemFlags::ANSWERED);
    assert_eq!(letter.flags.system, system.with(SystemFlags::FLAGGED));
    let keywords = ["$Work", "later"].map(|word| Keyword::parse(word).expect("an atom"));
    assert_eq!(letter.flags.keywords, keywords);
}

#[test]
fn dates_have_the_forms_of_many_programs() {
    for (line, wanted) in [
        ("From a Sat Jan  3 01:05:34 1970", Some(176_734)),
        ("From a b c Sat Jan 3 01:05 1970\n", Some(176_700)),
        ("From a Sat Jan  3 01:05:34 +0100 1970", Some(173_134)),
        ("From a Sat Jan  3 01:05:34 1970 -0030", Some(178_534)),
        ("From a Sat Jan  3 01:05:34 CET 1970", Some(176_734)),
        ("From Sat on", None),
        ("From a Sat Jan 32 01:05:34 1970", None),
        ("From a Sat Jan  3 25:05:34 1970", None),
        ("From a Sat Jan  3 01:05:34:12 1970", None),
        ("From a Sat Jan  3 01:05:34 70", None),
        ("From a Sat Jan  3 01:05:34 19700", None),
    ] {
        let found = date::of_line(line.as_bytes());
        assert_eq!(found.map(|date| date.unix_seconds), wanted, "{line}");
    }
    for seconds in [0, 176_734, 951_782_400, 4_102_444_799, -1] {
        let line = format!("From a {}\n", date::written(InternalDate::utc(seconds)));
        let found = date::of_line(line.as_bytes()).expect("a date");
        assert_eq!(found.unix_seconds, seconds, "{line}");
    }
}

#[test]
fn odd_files_are_read_to_their_end() {
    for empty in ["", "\n", "\r\n\n"] {
        assert_eq!(texts(empty), [""; 0], "{empty:?}");
    }
    let mut reader = Reader::new(&b"Subject: a\n\nnot an mbox\n"[..], Quoting::Mboxrd);
    let error = reader.next_letter().expect_err("it does not begin so");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let file = b"From nothing\n\nFrom a Sat Jan  3 01:05:34 1996\nX: \0\xff\n\nno end";
    let letters = read(file, Quoting::Mboxrd);
    let messages: Vec<&[u8]> = letters.iter().map(|letter| &letter.message[..]).collect();
    assert_eq!(messages, [&b""[..], b"X: \0\xff\r\n\r\nno end"]);
    assert_eq!(letters[0].date, None);
}

#[test]
fn a_huge_line_is_whole_and_is_no_beginning_in_its_middle() {
    let long = "x".repeat(LINE_PIECE_BYTES_MAX);
    let file = format!(
        "From a Sat Jan  3 01:05:34 1996\nA: {long}\n\n{long}From a Sat Jan  3 01:05:34 1996\n>From{long}\n"
    );
    let wanted =
        format!("A: {long}\r\n\r\n{long}From a Sat Jan  3 01:05:34 1996\r\n>From{long}\r\n");
    assert_eq!(texts(&file), [wanted]);
}

#[test]
fn a_message_that_is_too_large_is_read_past() {
    let mut file = b"From a Sat Jan  3 01:05:34 1996\n\n".to_vec();
    file.resize(file.len() + MESSAGE_BYTES_MAX, b'x');
    file.extend_from_slice(b"\n\nFrom a Sat Jan  3 01:05:34 1996\nB: 2\n\n");
    let letters = read(&file, Quoting::Mboxrd);
    let sizes: Vec<(usize, bool)> = letters
        .iter()
        .map(|letter| (letter.message.len(), letter.is_too_large))
        .collect();
    assert_eq!(sizes, [(0, true), (6, false)]);
}

#[test]
fn what_is_written_comes_back_as_it_was() {
    let flags = Flags {
        system: SystemFlags::SEEN.with(SystemFlags::DRAFT),
        keywords: vec![Keyword::parse("$Junk").expect("an atom")],
    };
    let date = InternalDate::utc(1_700_000_000);
    let messages = [
        &b"Subject: a\r\n\r\nFrom x\r\n>From y\r\n\r\nFrom a Sat Jan  3 01:05:34 1996\r\n"[..],
        b"\r\n\r\n",
        b"A: b\r\n\r\n\r\n\r\n",
        b"\xff\0\r\n",
        // Findings of the fuzzer: flags came back as text, and a CR was lost.
        b"",
        b"A: b\r\r\n\r\r\n\r\nx\r\r\n",
        b" folded: x\r\n\r\nStatus: text\r\n",
    ];
    let mut file = Vec::new();
    for message in messages {
        put(&mut file, message, &flags, date).expect("memory");
        put(&mut file, message, &Flags::default(), date).expect("memory");
    }
    let letters = read(&file, Quoting::Mboxrd);
    assert_eq!(letters.len(), 2 * messages.len());
    for (letters, message) in letters.chunks(2).zip(messages) {
        for (letter, flags) in letters.iter().zip([flags.clone(), Flags::default()]) {
            let mut there = Reader::new(&file[letter.at as usize..], Quoting::Mboxrd);
            let again = there
                .next_letter()
                .expect("memory")
                .expect("it begins there");
            assert_eq!(again.message, letter.message);
            let text = String::from_utf8_lossy(message);
            assert_eq!(letter.message, message, "{text}");
            assert_eq!((&letter.flags, letter.date), (&flags, Some(date)), "{text}");
        }
    }
}

#[test]
fn a_stranger_s_fields_set_no_flags_when_a_message_is_written() {
    let message = b"Status: RO\r\nSubject: a\r\nX-Status: AD\r\nX-Keywords: $Junk\r\n\tmore\r\n\r\nStatus: text\r\n";
    let mut file = Vec::new();
    let date = InternalDate::utc(0);
    put(&mut file, message, &Flags::default(), date).expect("memory");
    let letter = read(&file, Quoting::Mboxrd).remove(0);
    assert_eq!(letter.flags, Flags::default());
    assert_eq!(letter.message, b"Subject: a\r\n\r\nStatus: text\r\n");
}
