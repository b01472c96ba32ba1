//! `core/REFERENCE-REPLIES.md` has every text of ManageSieve, and no other.

use std::collections::BTreeSet;

use managesieve::Reply;

const PAGE: &str = include_str!("../../REFERENCE-REPLIES.md");

#[test]
fn every_managesieve_reply_is_on_the_page_and_no_other() {
    let known: BTreeSet<String> = Reply::ALL.iter().map(Reply::to_string).collect();
    assert_eq!(known.len(), Reply::ALL.len(), "no text is there twice");
    let section = PAGE.split("\n## ManageSieve").nth(1).expect("the section");
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
