//! What it costs to judge an ordinary message of 10 KiB: `cargo run --release -p spam --example cost`.

use std::hint::black_box;
use std::time::Instant;

use spam::{Author, Counts, Peer, Points, Reading, Totals, Want, Whose, Words};

fn main() {
    let words: Vec<String> = (0..400u32)
        .map(|index| format!("word{}", index * index % 977))
        .collect();
    let text = |bytes: usize| -> String {
        let lines = words
            .chunks(9)
            .map(|line| format!("{}\r\n", line.join(" ")));
        let lines: Vec<String> = lines.collect();
        lines
            .iter()
            .cycle()
            .scan(0, |sum, line| {
                *sum += line.len();
                (*sum <= bytes).then(|| line.clone())
            })
            .collect()
    };
    let header = "From: Ann <ann@example.net>\r\nTo: bob@example.org\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@example.net>\r\nSubject: a letter\r\n";
    let plain = format!("{header}\r\n{}", text(10 << 10));
    let html = format!(
        "{header}Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n{}\r\n--b\r\nContent-Type: text/html\r\n\r\n<html><body><p>{}</p><a href=\"https://www.example.net/x\">here</a></body></html>\r\n--b--\r\n",
        text(4 << 10),
        text(6 << 10),
    );
    for (name, raw, want) in [
        ("10 KiB of text, words", &plain, Want::Words),
        ("10 KiB of text and HTML, words", &html, Want::Words),
        ("10 KiB of text and HTML, structure", &html, Want::Structure),
    ] {
        let began = Instant::now();
        for _ in 0..TURNS {
            let reading = Reading::of(black_box(raw.as_bytes()), want);
            let judged = spam::judge(&Author::default(), &Peer::default(), &reading);
            let counts = reading.tokens.iter().map(|token| Counts {
                junk: (token % 9) as u32,
                good: (token % 7) as u32,
            });
            let permille = spam::bayes::junk_permille(Totals { junk: 90, good: 90 }, counts);
            let words = permille.map(|junk_permille| Words {
                junk_permille,
                whose: Whose::Domain,
            });
            black_box(spam::field(&judged.with(words), Points(50)));
        }
        let micros = began.elapsed().as_secs_f64() * 1e6 / f64::from(TURNS);
        println!("{name}: {micros:.1} us");
    }
}

const TURNS: u32 = 5_000;
