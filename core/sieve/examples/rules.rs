//! How long a script of 50 rules takes for one message: `cargo run --release -p sieve --example rules`.
//! One figure a line: name, value, unit.

use std::time::Instant;

use mail::Address;
use sieve::{Answer, Envelope, Environment, Host, Included, Key, Script, Wanted};

/// A caller that has nothing.
struct Nothing;

impl Host for Nothing {
    fn script(&self, _wanted: &Wanted) -> Answer<Included> {
        Answer::Is(Included::Absent)
    }
    fn has_mailbox(&self, _name: &str) -> Answer<bool> {
        Answer::Is(true)
    }
    fn has_mailbox_with_id(&self, _id: &str) -> Answer<bool> {
        Answer::Is(false)
    }
    fn has_special_use(&self, _mailbox: Option<&str>, _special_use: &str) -> Answer<bool> {
        Answer::Is(false)
    }
    fn is_remembered(&self, _key: &Key) -> Answer<bool> {
        Answer::Is(false)
    }
}

/// Fifty rules as people have them, none of which is for the message, so that all are tried.
fn rules() -> String {
    let mut script =
        "require [\"fileinto\", \"envelope\", \"subaddress\", \"variables\", \"imap4flags\"];\n"
            .to_owned();
    for index in 0..10 {
        script.push_str(&format!(
            "if header :contains [\"subject\", \"x-label\"] [\"project {index}\", \"ticket-{index}\"] {{ fileinto \"Projects/{index}\"; stop; }}\n\
             if address :is [\"from\", \"sender\"] [\"person{index}@example.com\", \"other{index}@example.com\"] {{ addflag \"\\\\Flagged\"; fileinto \"People\"; stop; }}\n\
             if address :domain \"from\" \"shop{index}.example.com\" {{ fileinto \"Shops\"; stop; }}\n\
             if header :matches \"list-id\" \"*<list{index}.*>\" {{ fileinto \"Lists/${{1}}\"; stop; }}\n\
             if allof (envelope :detail \"to\" \"tag{index}\", not size :over 1M) {{ fileinto \"Tags/{index}\"; stop; }}\n"
        ));
    }
    script
}

fn message() -> Vec<u8> {
    let mut text = String::new();
    for index in 0..6 {
        text.push_str(&format!(
            "Received: from relay{index}.example.net (relay{index}.example.net [192.0.2.{index}])\r\n\tby mx{index}.example.org with ESMTPS id ABCDEF{index};\r\n\tMon, 30 Nov 2026 10:00:0{index} +0000\r\n"
        ));
    }
    text.push_str(
        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=sel; h=from:to:subject;\r\n\tbh=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=; b=BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB\r\n\
         From: \"Ann of Example\" <ann@example.net>\r\nTo: Bob <bob+shop@example.org>, Carol <carol@example.org>\r\nCc: team@example.org\r\n\
         Subject: =?utf-8?q?Re:_the_plans_for_the_second_half_of_the_year_=C3=BC?=\r\nDate: Mon, 30 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <0123456789abcdef@example.net>\r\nIn-Reply-To: <fedcba@example.org>\r\nReferences: <a@example.org> <b@example.org> <fedcba@example.org>\r\n\
         List-Id: Sea <sea.example.net>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nX-Mailer: Example 1.0\r\n\r\n",
    );
    text.push_str(&"A line of the letter, as letters have them.\r\n".repeat(200));
    text.into_bytes()
}

fn main() {
    let source = rules();
    let begin = Instant::now();
    let script = Script::compile(source.as_bytes()).expect("the rules compile");
    println!(
        "sieve_compile {:.1} us",
        begin.elapsed().as_secs_f64() * 1e6
    );
    println!("sieve_script {} bytes", source.len());
    println!("sieve_compiled {} bytes", script.bytes());
    let message = message();
    let (from, to) = ("ann@example.net", "bob+shop@example.org");
    let address = |path| Address::from_path(path).expect("an address");
    let (from, to) = (address(from), address(to));
    let envelope = Envelope {
        from: Some(&from),
        to: &to,
    };
    let environment = Environment {
        now_unix_s: 1_796_032_800,
        zone_minutes: 0,
        host: "mx.example.org",
        domain: "example.org",
        remote_host: None,
        remote_ip: None,
        own_addresses: &[],
        separator: '+',
        spam_percent: None,
        virus: None,
        event: None,
    };
    let run = || {
        script
            .run(&message, &envelope, &environment, &Nothing)
            .expect("an outcome")
    };
    println!("sieve_steps {} steps", run().steps);
    // The best of several rounds: what disturbs one is not the script's.
    let mut best = f64::MAX;
    for _ in 0..20 {
        let begin = Instant::now();
        for _ in 0..1_000 {
            std::hint::black_box(run());
        }
        best = best.min(begin.elapsed().as_secs_f64() * 1e3);
    }
    println!("sieve_fifty_rules {best:.2} us");
}
