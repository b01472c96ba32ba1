//! `core/REFERENCE-REPLIES.md` has every reply of SMTP, and no other.

use std::collections::BTreeSet;

use smtp::{Refusal, Reply};

const PAGE: &str = include_str!("../../REFERENCE-REPLIES.md");
const TABLE: &str = include_str!("../src/reply.rs");

fn line(reply: Reply) -> String {
    let Reply { code, status, text } = reply;
    match status {
        "" => format!("{code} {text}"),
        _ => format!("{code} {status} {text}"),
    }
}

/// The replies that are constants: what stands between the parentheses of `Reply = reply(code, "status", "text")`.
fn constants() -> Vec<String> {
    let found: Vec<String> = TABLE
        .split(": Reply = reply(")
        .skip(1)
        .map(|rest| {
            let code = rest.trim_start().split(',').next().unwrap_or("").trim();
            let mut quoted = rest.split('"').skip(1).step_by(2);
            let (status, text) = (quoted.next().unwrap_or(""), quoted.next().unwrap_or(""));
            line(Reply {
                code: code.parse().expect("a reply code"),
                status: Box::leak(status.into()),
                text: Box::leak(text.into()),
            })
        })
        .collect();
    // The reader above still fits the source.
    assert!(found.contains(&line(Reply::OK)) && found.contains(&line(Reply::HELP)));
    found
}

#[test]
fn every_smtp_reply_is_on_the_page_and_no_other() {
    let mut known: BTreeSet<String> = constants().into_iter().collect();
    known.extend(Refusal::ALL.iter().map(|refusal| line(refusal.reply())));
    let section = PAGE
        .split("\n## SMTP and LMTP")
        .nth(1)
        .expect("the section");
    let section = section.split("\n## ").next().unwrap_or("");
    let rows = section.lines().filter_map(|row| row.strip_prefix("| `"));
    let described: BTreeSet<String> = rows
        .filter_map(|row| row.split_once('`'))
        .map(|(reply, _)| reply.to_owned())
        .collect();
    let missing: Vec<_> = known.difference(&described).collect();
    let gone: Vec<_> = described.difference(&known).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "core/REFERENCE-REPLIES.md: add {missing:#?}, remove {gone:#?}"
    );
}
