//! Files of other programs: mbox, names and keywords of Maildir.

use ::mailfiles::maildir::{self, Keywords};
use ::mailfiles::mbox::{Letter, Quoting, Reader, put};
use ::mailfiles::wire;
use mail::InternalDate;

pub const MBOX_WORDS: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\r",
    b"\0",
    b"\xff",
    b">",
    b"From ",
    b">From ",
    b"\n\nFrom a Sat Jan  3 01:05:34 1996\n",
    b"\r\n\r\nFrom a@example.org Sat Jan  3 01:05 +0100 1996\r\n",
    b" Sat Feb 31 24:60:61 99999",
    b"Status: RO\n",
    b"X-Status: AFDT\n",
    b"X-Keywords: $Junk (bad) a,b\n\tmore\n",
    b"Content-Length: 99999999999999999999\n",
    b"X-IMAPbase: 1 2\n",
];

pub fn mbox_seeds() -> Vec<Vec<u8>> {
    let two = &b"From a Sat Jan  3 01:05:34 1996\nStatus: RO\nSubject: 1\n\n>From x\n\nFrom b Sat Jan  3 01:05:34 1996\r\n\r\nlast"[..];
    let long = [
        &b"From a Sat Jan  3 01:05:34 1996\nX-Keywords: a b\n c\n\n"[..],
        &[b'x'; 70_000],
        b"\n\nFrom a Sat Jan  3 01:05:34 1996\n\n\n\n",
    ];
    vec![two.to_vec(), long.concat(), b"\n\r\n\n".to_vec()]
}

/// What is read is not more than there is, and what is written of it comes back.
pub fn mbox(bytes: &[u8]) {
    let letters = read(bytes, Quoting::Mboxrd);
    let mboxo = read(bytes, Quoting::Mboxo);
    assert_eq!(letters.len(), mboxo.len(), "quotes are no beginnings");
    let total: usize = letters.iter().map(|letter| letter.message.len()).sum();
    assert!(total <= 2 * bytes.len(), "each line end is one byte more");
    assert!(letters.is_sorted_by(|one, other| one.at < other.at));
    let mut file = Vec::new();
    for letter in &letters {
        let date = letter.date.unwrap_or(InternalDate::utc(0));
        put(&mut file, &letter.message, &letter.flags, date).expect("memory");
    }
    let again = read(&file, Quoting::Mboxrd);
    assert_eq!(
        again.len(),
        letters.len(),
        "no message becomes two, or none"
    );
    for (one, other) in letters.iter().zip(&again) {
        assert_eq!(one.flags, other.flags);
        // The last line of a file may have no end.
        let mut message = one.message.clone();
        if !message.is_empty() && !message.ends_with(b"\n") {
            message.extend_from_slice(b"\r\n");
        }
        assert_eq!(message, other.message);
        assert_eq!(wire(&other.message), other.message);
    }
}

fn read(bytes: &[u8], quoting: Quoting) -> Vec<Letter> {
    let mut reader = Reader::new(bytes, quoting);
    let mut letters = Vec::new();
    // The only error is a file that is not an mbox.
    while let Ok(Some(letter)) = reader.next_letter() {
        letters.push(letter);
    }
    letters
}

pub const MAILDIR_WORDS: &[&[u8]] = &[
    b":2,", b"FS", b"abz", b",S=12", b"\n", b" ", b"0 ", b"25 ", b"26 ", b"$Junk", b"\\Seen",
    b"\xff",
];

pub fn maildir_seeds() -> Vec<Vec<u8>> {
    let seeds: [&[u8]; 2] = [
        b"1.a.host,S=1:2,FSab\n0 $Junk\n1 Work\n",
        b"1.a\n0 a\n1 b\n25 c\n",
    ];
    seeds.map(<[u8]>::to_vec).to_vec()
}

/// The first line is a name, the others are keywords. Flags that were read and written are the same.
pub fn maildir(bytes: &[u8]) {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let (name, rest) = bytes.split_at(end);
    let (base, info) = maildir::split(name);
    assert!(base.len() + info.len() <= name.len());
    let mut keywords = Keywords::parse(rest);
    assert_eq!(Keywords::parse(keywords.encode().as_bytes()), keywords);
    let flags = maildir::flags(info, &keywords);
    let before = keywords.clone();
    let (letters, is_whole) = maildir::info(&flags, &mut keywords);
    assert!(is_whole && keywords == before, "they have letters already");
    let again = maildir::flags(letters.as_bytes(), &keywords);
    assert_eq!(again.system, flags.system);
    assert_eq!(again.keywords.len(), flags.keywords.len());
    assert!(
        flags
            .keywords
            .iter()
            .all(|keyword| again.has_keyword(keyword))
    );
}
