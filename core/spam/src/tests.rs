use crate::fuzzing::check;
use crate::limits::*;
use crate::*;

fn message(header: &str, body: &str) -> Vec<u8> {
    format!("{header}\r\n{body}").into_bytes()
}

const HEADER: &str = "From: Ann <ann@example.net>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@example.net>\r\nSubject: lunch\r\n";

fn signs(raw: &[u8]) -> Vec<Sign> {
    Reading::of(raw, Want::Structure).signs
}

#[test]
fn an_ordinary_letter_has_no_signs_and_is_ham() {
    let raw = message(
        HEADER,
        "Shall we have lunch on Monday? I know a good place at the lake.\r\n",
    );
    assert_eq!(signs(&raw), []);
    let author = Author {
        spf: Proof::Pass,
        dkim: Proof::Pass,
        dmarc: Proof::Pass,
    };
    let judged = judge(&author, &Peer::default(), &Reading::of(&raw, Want::Words));
    assert_eq!(
        (judged.score, judged.class(Points(50))),
        (Points(-5), Class::Ham)
    );
    assert_eq!(
        field(&judged, Points(50)),
        "X-Ringpost-Spam: no, -0.5 of 5.0\r\n\t(DMARC passes -0.5)\r\n"
    );
}

#[test]
fn structure_is_seen() {
    let html = |body: &str| message(&format!("{HEADER}Content-Type: text/html\r\n"), body);
    let attached = |name: &str| {
        let header = format!("{HEADER}Content-Type: multipart/mixed; boundary=b\r\n");
        let body = format!(
            "--b\r\n\r\nplease open the file that I attached for you\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\r\nMZ\r\n--b--\r\n"
        );
        message(&header, &body)
    };
    let image = message(&format!("{HEADER}Content-Type: image/png\r\n"), "png");
    let words = "Please read this letter with enough words to be a text of its own today.";
    let named = HEADER.replace("Ann", "\"service@bank.example\"");
    let loud = HEADER.replace("lunch", "=?utf-8?q?BUY_ALL_OF_IT_NOW?=");
    let cases = [
        (
            b"\r\n".to_vec(),
            vec![Sign::NoFrom, Sign::NoDate, Sign::NoMessageId, Sign::Empty],
        ),
        (
            message(&format!("{HEADER}From: b@example.com\r\n"), words),
            vec![Sign::SeveralFrom],
        ),
        (image, vec![Sign::OnlyAnImage]),
        (attached("bill.pdf.EXE"), vec![Sign::Program]),
        (attached("bill.pdf"), vec![]),
        (message(&named, words), vec![Sign::NameOfAnother]),
        (
            message(&named.replace("bank.example", "lists.example.net"), words),
            vec![],
        ),
        (message(&loud, words), vec![Sign::LoudSubject]),
        (
            html("<a href='http://evil.example'>www.bank.example</a>"),
            vec![Sign::OnlyHtml, Sign::LinkToAnother],
        ),
        (
            html("<a href='http://www.bank.example'>bank.example</a>"),
            vec![Sign::OnlyHtml],
        ),
        (
            message(HEADER, "see http://192.0.2.7/ for all the words"),
            vec![Sign::LinkToNumber],
        ),
        (
            message(HEADER, "see http://bank.example@evil.example/"),
            vec![Sign::LinkWithUser],
        ),
        (
            message(
                &format!("{HEADER}Content-Type: text/plain; charset=utf-8\r\n"),
                "via\u{200b}gra cas\u{200b}ino lot\u{200b}tery",
            ),
            vec![Sign::HiddenLetters],
        ),
    ];
    for (raw, expected) in cases {
        assert_eq!(signs(&raw), expected, "{}", String::from_utf8_lossy(&raw));
    }
}

#[test]
fn encodings_and_html_hide_no_words() {
    let plain = message(HEADER, "cheap pills");
    let base64 = message(
        &format!("{HEADER}Content-Transfer-Encoding: base64\r\n"),
        "Y2hlYXAgcGlsbHM=\r\n",
    );
    let quoted = message(
        &format!("{HEADER}Content-Transfer-Encoding: quoted-printable\r\n"),
        "ch=65ap p=\r\nills",
    );
    let html = message(
        &format!("{HEADER}Content-Type: text/html\r\n"),
        "<style>body</style>ch&#101;ap <b>pills</b>",
    );
    let of = |raw: &[u8]| Reading::of(raw, Want::Words).tokens;
    for raw in [base64, quoted, html] {
        assert_eq!(of(&raw), of(&plain), "{}", String::from_utf8_lossy(&raw));
    }
    assert_eq!(Reading::of(&plain, Want::Structure).tokens, []);
}

#[test]
fn a_forged_author_on_a_listed_peer_is_junk_and_what_is_unknown_counts_for_nothing() {
    let raw = message(HEADER, "some words of no matter to the judge");
    let reading = Reading::of(&raw, Want::Words);
    let unknown = judge(&Author::default(), &Peer::default(), &reading);
    assert_eq!(unknown, Judgement::default());
    let author = Author {
        spf: Proof::Fail,
        dkim: Proof::Absent,
        dmarc: Proof::Fail,
    };
    let peer = Peer {
        lists: 3,
        ..Peer::default()
    };
    let judged = judge(&author, &peer, &reading);
    assert_eq!(
        (judged.score, judged.class(Points(50))),
        (Points(73), Class::Spam)
    );
    assert_eq!(
        field(&judged, Points(50)),
        "X-Ringpost-Spam: yes, 7.3 of 5.0\r\n\t(DMARC fails 2.5;\r\n\tSPF fails 1.2;\r\n\tthe peer is on DNS lists 3.6)\r\n"
    );
    let good = Peer {
        lists: i32::MIN,
        ..Peer::default()
    };
    assert_eq!(
        judge(&Author::default(), &good, &reading).score,
        Points(-40)
    );
}

#[test]
fn words_move_the_score_and_a_persons_more_than_a_domains() {
    let with = |junk_permille, whose| {
        let words = Some(Words {
            junk_permille,
            whose,
        });
        Judgement::default().with(words)
    };
    assert_eq!(with(500, Whose::Person), Judgement::default());
    assert_eq!(with(1_000, Whose::Domain).score, Points(45));
    assert_eq!(with(0, Whose::Domain).score, Points(-30));
    assert_eq!(with(1_000, Whose::Person).class(Points(50)), Class::Spam);
    let domain = with(750, Whose::Domain);
    assert_eq!(domain.class(Points(44)), Class::Unsure);
    assert!(
        field(&domain, Points(44))
            .contains("unsure, 2.2 of 4.4\r\n\t(words of this domain's junk 2.2)")
    );
}

/// What a person says decides, however much else there is against a message.
#[test]
fn words_count_behind_every_other_reason() {
    let author = Author {
        spf: Proof::Fail,
        dkim: Proof::Fail,
        dmarc: Proof::Fail,
    };
    let peer = Peer {
        lists: 9,
        hello: true,
        reverse_name: true,
        early: true,
    };
    let reading = Reading {
        signs: Sign::ALL.to_vec(),
        tokens: Vec::new(),
    };
    let base = judge(&author, &peer, &reading);
    assert_eq!(base.reasons.len(), 3 + 4 + Sign::ALL.len());
    assert!(base.reasons.len() < REASONS_MAX);
    for (junk_permille, points) in [(0, -65), (1_000, 65)] {
        let whose = Whose::Person;
        let words = Words {
            junk_permille,
            whose,
        };
        let judged = base.clone().with(Some(words));
        assert_eq!(judged.score, Points(base.score.0 + points));
        let sum: i32 = judged.reasons.iter().map(|(_, points)| points.0).sum();
        assert_eq!(judged.score, Points(sum), "the field adds up");
        check(&field(&judged, Points(50)));
    }
}

#[test]
fn the_longest_field_is_one_field_of_ascii() {
    let signs = Sign::Program;
    let mut judged = Judgement::default();
    for _ in 0..100 {
        judged.add(Reason::Structure(signs), Points(-123));
        judged.add(Reason::ListedGood, Points(-40));
    }
    assert_eq!(judged.reasons.len(), REASONS_MAX);
    check(&field(&judged, Points(1_000)));
}

/// A million empty parts, parts within parts, one word of ten megabytes: each costs what an ordinary message costs, about.
#[test]
fn hostile_messages_end_at_the_bounds() {
    let parts = message(
        &format!("{HEADER}Content-Type: multipart/mixed; boundary=b\r\n"),
        &"--b\r\n\r\n".repeat(1_000_000),
    );
    assert!(signs(&parts).contains(&Sign::TooManyParts));
    let mut deep = HEADER.to_owned();
    for depth in 0..20_000 {
        deep += &format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n");
    }
    let nested = format!(
        "{HEADER}{}",
        "Content-Type: message/rfc822\r\n\r\n".repeat(100_000)
    );
    for raw in [deep, nested] {
        fuzzing::message(raw.as_bytes());
    }
    let word = message(HEADER, &"a".repeat(10 << 20));
    assert_eq!(
        Reading::of(&word, Want::Words).tokens.len(),
        2,
        "the author and the subject"
    );
    let encoded = message(
        &format!("{HEADER}Content-Transfer-Encoding: base64\r\n"),
        &"YWFh".repeat(1 << 20),
    );
    fuzzing::message(&encoded);
    let links = message(HEADER, &"http://a.example ".repeat(100_000));
    fuzzing::message(&links);
    for seed in fuzzing::seeds() {
        for end in 0..seed.len() {
            fuzzing::message(&seed[..end]);
        }
    }
}

/// The mail of a small office: words tell it from junk of which a part was seen.
#[test]
fn a_small_corpus_is_told_apart() {
    use std::collections::HashMap;
    let text = |kind: &[&str], at: usize| -> String {
        (0..12)
            .map(|word| format!("{} ", kind[(at * 7 + word * 5 + at * word) % kind.len()]))
            .collect()
    };
    let junk = [
        "winner", "lottery", "claim", "prize", "urgent", "transfer", "million", "dollars",
        "bitcoin", "casino", "please", "today",
    ];
    let good = [
        "meeting", "invoice", "project", "lunch", "schedule", "report", "customer", "delivery",
        "monday", "agenda", "please", "today",
    ];
    let raw = |kind: &[&str], at| message(HEADER, &text(kind, at));
    let mut counts: HashMap<u64, Counts> = HashMap::new();
    for at in 0..15 {
        for token in Reading::of(&raw(&junk, at), Want::Words).tokens {
            counts.entry(token).or_default().junk += 1;
        }
        for token in Reading::of(&raw(&good, at), Want::Words).tokens {
            counts.entry(token).or_default().good += 1;
        }
    }
    let totals = Totals { junk: 15, good: 15 };
    let permille = |raw: &[u8]| {
        let tokens = Reading::of(raw, Want::Words).tokens;
        let counts = tokens
            .iter()
            .map(|token| counts.get(token).copied().unwrap_or_default());
        bayes::junk_permille(totals, counts)
    };
    for at in 15..40 {
        assert!(permille(&raw(&junk, at)).unwrap() > 900);
        assert!(permille(&raw(&good, at)).unwrap() < 100);
    }
}
