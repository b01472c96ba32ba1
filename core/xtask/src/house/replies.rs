//! `core/REFERENCE-REPLIES.md` against the sources that write IMAP replies, in both directions. (SMTP has one table of replies, and a test of its
//! own beside it.)

use std::collections::BTreeSet;

use super::{Findings, Tree};

const PAGE: &str = "core/REFERENCE-REPLIES.md";
const SECTION: &str = "\n## IMAP";
/// Where IMAP replies are written.
const SOURCES: &[&str] = &["core/imap/src/", "core/client/src/", "core/mailbox/src/"];
/// Below those, what speaks as a client or only in tests.
const OTHERS: &[&str] = &[
    "core/imap/src/client",
    "/tests.rs",
    "/tests/",
    "/fuzzing.rs",
];
/// Calls whose string literals are texts of replies.
const CALLS: &[&str] = &[
    "put_reply(",
    "put_untagged(",
    "(Status::",
    "Done::plain(",
    "for_those_there(",
    "Failure::No(",
    "Failure::Bad(",
    "Refusal::Syntax(",
    ".atom(",
    "MailboxFault::Refused(",
    ".bye(",
];
/// The field of a `Done` that is written out.
const FIELD: &str = "text: \"";

pub fn inspect(tree: &Tree, findings: &mut Findings) {
    if !tree.exists(PAGE) {
        return;
    }
    let mut known = BTreeSet::new();
    for name in tree.ending(".rs") {
        let is_source = SOURCES.iter().any(|folder| name.starts_with(folder))
            && !OTHERS.iter().any(|other| name.contains(other));
        if is_source {
            known.extend(texts(&tree.text(name)));
        }
    }
    let described = rows(&tree.text(PAGE));
    for text in known.difference(&described) {
        findings
            .complaints
            .push(format!("{PAGE}: add the IMAP reply `{text}`"));
    }
    for text in described.difference(&known) {
        findings
            .complaints
            .push(format!("{PAGE}: no source says `{text}` any more"));
    }
}

/// The first cells of the section's rows.
fn rows(page: &str) -> BTreeSet<String> {
    let section = page.split(SECTION).nth(1).unwrap_or("");
    let section = section.split("\n## ").next().unwrap_or("");
    let rows = section.lines().filter_map(|row| row.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once("` |"))
        .map(|(text, _)| text.to_owned())
        .collect()
}

/// The texts of replies in Rust source, without its tests.
fn texts(source: &str) -> BTreeSet<String> {
    let code = source
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or("");
    let code: String = code
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
        // As `rustfmt` breaks long calls.
        .replace("(\n", "(")
        .replace('\n', " ");
    let mut found = BTreeSet::new();
    for call in CALLS {
        for (at, _) in code.match_indices(call) {
            found.extend(literals(&code[at + call.len()..]));
        }
    }
    for (at, _) in code.match_indices(FIELD) {
        found.extend(literals(&code[at + FIELD.len() - 1..]).into_iter().take(1));
    }
    found
        .iter()
        .filter_map(|literal| text_of(literal))
        .collect()
}

/// The string literals up to the parenthesis that closes the call.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<String> = None;
    let mut depth = 1;
    let mut characters = code.chars();
    while let Some(character) = characters.next() {
        match (&mut open, character) {
            (Some(literal), '\\') => literal.extend(characters.next()),
            (Some(_), '"') => found.extend(open.take()),
            (Some(literal), character) => literal.push(character),
            (None, '"') => open = Some(String::new()),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, _) => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

/// What of a literal is text for people; `None`: a response code, a tag, or untagged data.
fn text_of(literal: &str) -> Option<String> {
    let text = literal.strip_prefix("BYE ").unwrap_or(literal);
    let first_word = text.split(' ').next().unwrap_or("");
    let is_text = text.contains(|c: char| c.is_ascii_lowercase()) && !text.contains('{');
    let is_data = ["NAMESPACE", "CAPABILITY", "ENABLED"].contains(&first_word);
    (is_text && !is_data).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "fn f() {\n    put_reply(\n        out,\n        tag(x),\n        Status::No,\n        \"CANNOT\",\n        \"it \\\"is\\\" not\",\n    );\n\
        // put_reply(out, \"a comment\")\n    Done { code, text: \"done so\" };\n    put_untagged(out, \"BYE for now\");\n    log(\"not a reply\");\n}\n\
        #[cfg(test)]\nmod tests {\n    fn t() { Done::plain(\"only in a test\") }\n}\n";

    #[test]
    fn texts_are_those_of_replies_alone() {
        let expected = ["done so", "for now", "it \"is\" not"].map(String::from);
        assert_eq!(texts(SOURCE), BTreeSet::from(expected));
    }

    #[test]
    fn rows_are_those_of_the_section() {
        let page = "## SMTP\n\n| `250 ok` | x |\n\n## IMAP\n\n| reply | when |\n|---|---|\n| `done so` | OK |\n\n## Next\n\n| `z` | y |\n";
        assert_eq!(rows(page), BTreeSet::from(["done so".to_owned()]));
    }
}
