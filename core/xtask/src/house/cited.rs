//! What comments and documents cite exists: documents by name (`FORMAT.md`), sections of the documents whose sections have letters
//! (`DESIGN.md B3`, `INVARIANTS.md I6`), and in the documents of the law each file and function (`volume/src/mirror.rs::settle`). Each planted
//! fault is named under the invariants that it breaks.

use std::collections::BTreeSet;

use super::{Findings, Tree};

/// Documents whose headings begin with a letter and a number, by which comments cite them.
const WITH_SECTIONS: &[&str] = &["core/DESIGN.md", "core/INVARIANTS.md"];
/// Documents in which every file in backticks exists, with the item named behind `::`.
const WITH_FILES: &[&str] = &[
    "core/ARCHITECTURE.md",
    "core/INVARIANTS.md",
    "core/DESIGN.md",
    "core/STYLE.md",
];
/// Where a path in those documents may begin.
const BASES: &[&str] = &["", "core/", "appliance/"];
const INVARIANTS: &str = "core/INVARIANTS.md";
const PLANTED: &str = "core/sim/planted/";
/// Made by a program, and so not in the repository.
const GENERATED: &str = "target/";

pub fn inspect(tree: &Tree, findings: &mut Findings) {
    let documents: Vec<&str> = tree.ending(".md").collect();
    let sections: Vec<(&str, BTreeSet<String>)> = WITH_SECTIONS
        .iter()
        .map(|name| (*name, sections(&tree.text(name))))
        .collect();
    for (ending, comment) in [(".rs", "//"), (".toml", "#"), (".sh", "#"), (".md", "")] {
        for name in tree.ending(ending) {
            let found = missing(&tree.text(name), comment, &documents, &sections);
            let found = found.iter().map(|what| format!("{name}:{what}"));
            findings.complaints.extend(found);
        }
    }
    for name in WITH_FILES.iter().filter(|name| tree.exists(name)) {
        let text_of = |path: &str| {
            let mut paths = BASES.iter().map(|base| format!("{base}{path}"));
            paths
                .find(|path| tree.exists(path))
                .map(|path| tree.text(&path))
        };
        let found = lost_places(&tree.text(name), &text_of);
        let found = found.iter().map(|what| format!("{name}:{what}"));
        findings.complaints.extend(found);
    }
    let law = tree.text(INVARIANTS);
    let planted = tree.ending(".patch");
    for name in planted.filter(|name| name.starts_with(PLANTED)) {
        let found = unnamed(name, &tree.text(name), &law);
        findings.complaints.extend(found);
    }
}

/// The invariants in the head of a planted fault under which the law does not name it.
fn unnamed(name: &str, patch: &str, law: &str) -> Vec<String> {
    let file = name.trim_start_matches("core/");
    let heads = patch
        .lines()
        .filter_map(|line| line.strip_prefix("# invariant: "));
    let words = heads.flat_map(|head| head.split([',', ' ']));
    let broken = words.filter(|word| section_at(word).is_some_and(|section| section == **word));
    broken
        .filter(|invariant| {
            let section = law
                .split(&format!("\n## {invariant}:"))
                .nth(1)
                .unwrap_or("");
            let section = section.split("\n## ").next().unwrap_or("");
            !section.contains(file)
        })
        .map(|invariant| {
            format!("{INVARIANTS}: {invariant} does not name `{file}`, which breaks it")
        })
        .collect()
}

/// Headings that begin with a section's name: `## B3: faults` gives `B3`.
fn sections(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter_map(section_at)
        .collect()
}

/// The section that `text` begins with: one capital letter and a number.
fn section_at(text: &str) -> Option<String> {
    let letter = text.chars().next().filter(char::is_ascii_uppercase)?;
    let digits: String = text[1..].chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then(|| format!("{letter}{digits}"))
}

/// What comment lines of `text` cite and is not there, as `LINE: sentence`. `comment` begins a comment; empty: every line is read.
fn missing(
    text: &str,
    comment: &str,
    documents: &[&str],
    sections: &[(&str, BTreeSet<String>)],
) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(said) = comment_of(line, comment) else {
            continue;
        };
        for (cited, behind) in citations(said) {
            let is_it = |document: &str| {
                document == cited
                    || document
                        .strip_suffix(cited)
                        .is_some_and(|folder| folder.ends_with('/'))
            };
            if !documents.iter().any(|document| is_it(document)) {
                found.push(format!(
                    "{}: `{cited}` is cited and is not in the repository",
                    index + 1
                ));
            }
            let Some((document, known)) = sections.iter().find(|(document, _)| is_it(document))
            else {
                continue;
            };
            for section in cited_sections(behind).filter(|section| !known.contains(section)) {
                found.push(format!(
                    "{}: {document} has no section {section}",
                    index + 1
                ));
            }
        }
    }
    found
}

/// The comment of a line: what follows `begin` where the line begins with it or where it follows code.
fn comment_of<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    let plain = line.trim_start();
    if begin.is_empty() || plain.starts_with(begin) {
        return Some(plain);
    }
    let (_, comment) = plain.split_once(&format!(" {begin} "))?;
    Some(comment)
}

/// Each document named in `text`, without leading `./` and `../`, and what follows it.
fn citations(text: &str) -> Vec<(&str, &str)> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    let mut found = Vec::new();
    for (at, _) in text.match_indices(".md") {
        let end = at + ".md".len();
        if text
            .as_bytes()
            .get(end)
            .copied()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        {
            continue;
        }
        let word = text.as_bytes()[..at]
            .iter()
            .rposition(|byte| !is_part(*byte))
            .map_or(0, |before| before + 1);
        let cited = text[word..end]
            .trim_start_matches("../")
            .trim_start_matches("./");
        // A web address is an outside document.
        let elsewhere = cited.starts_with('/') || cited.starts_with(GENERATED);
        if cited != ".md" && !elsewhere {
            found.push((cited, &text[end..]));
        }
    }
    found
}

/// The sections listed right behind a document's name: ` B5, B8)` gives both.
fn cited_sections(behind: &str) -> impl Iterator<Item = String> {
    let words = behind
        .split([' ', ','])
        .filter(|word| !word.is_empty())
        .map(|word| word.trim_end_matches([')', ':', '.', ';', '*']));
    words.map_while(|word| section_at(word).filter(|section| section == word))
}

/// Files in backticks, outside fenced code, that do not exist or have no such item.
fn lost_places(text: &str, text_of: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for word in line.split('`').skip(1).step_by(2) {
            let (path, item) = match word.split_once("::") {
                Some((path, item)) => (path, Some(item)),
                None => (word, None),
            };
            let is_path = path.contains('/') && (path.ends_with(".rs") || path.ends_with(".patch"));
            if !is_path || path.contains([' ', '*', '{']) {
                continue;
            }
            match (text_of(path), item) {
                (None, _) => found.push(format!("{}: `{path}` does not exist", index + 1)),
                (Some(code), Some(item)) if !defines(&code, item) => {
                    found.push(format!("{}: `{path}` has no `{item}`", index + 1));
                }
                _ => {}
            }
        }
    }
    found
}

/// Whether Rust source defines an item of that name.
fn defines(code: &str, item: &str) -> bool {
    let kinds = [
        "fn", "struct", "enum", "trait", "const", "static", "type", "mod",
    ];
    kinds.iter().any(|kind| {
        let begin = format!("{kind} {item}");
        code.match_indices(&begin).any(|(at, _)| {
            let rest = &code[at + begin.len()..];
            !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, comment: &str) -> Vec<String> {
        let documents = ["README.md", "core/DESIGN.md", "core/volume/FORMAT.md"];
        let sections = [("core/DESIGN.md", sections("## B3: faults\n\n## Rest\n"))];
        missing(text, comment, &documents, &sections)
    }

    #[test]
    fn a_document_that_is_not_there_is_reported_with_its_line() {
        let other = "OTHER.md";
        let text = format!("use x;\n// Rows as in storage.md B3.\nlet y = 1; // see {other}\n");
        assert_eq!(
            found(&text, "//"),
            [
                "2: `storage.md` is cited and is not in the repository",
                "3: `OTHER.md` is cited and is not in the repository"
            ]
        );
        assert_eq!(found("See `missing/FORMAT.md`.", "").len(), 1);
    }

    #[test]
    fn a_document_is_found_by_any_end_of_its_path() {
        for cited in [
            "FORMAT.md",
            "volume/FORMAT.md",
            "core/volume/FORMAT.md",
            "../../README.md",
        ] {
            assert!(found(&format!("//! Layout: {cited}."), "//").is_empty());
        }
        // The end of a name is not the end of a path.
        assert_eq!(found("// AT.md", "//").len(), 1);
    }

    #[test]
    fn only_comments_and_documents_cite() {
        assert!(found("let name = \"notes.md\";", "//").is_empty());
        assert!(
            found(
                "// target/bench.md is written by the program; a .mdx is none",
                "//"
            )
            .is_empty()
        );
    }

    #[test]
    fn a_section_that_is_not_there_is_reported() {
        assert!(found("// as DESIGN.md B3: a leg", "//").is_empty());
        assert_eq!(
            found("// (DESIGN.md B3, B9)", "//"),
            ["1: core/DESIGN.md has no section B9"]
        );
        assert!(found("// DESIGN.md says A great deal", "//").is_empty());
    }

    #[test]
    fn a_planted_fault_is_named_under_what_it_breaks() {
        let law = "# Law\n\n## I1: one\n\n`sim/planted/x.patch`\n\n## I2: two\n\n- none\n";
        let of = |invariants: &str| {
            unnamed(
                "core/sim/planted/x.patch",
                &format!("# invariant: {invariants}\n"),
                law,
            )
        };
        assert!(of("I1, RFC 7162").is_empty());
        assert_eq!(of("I1, I2").len(), 1);
        assert_eq!(of("I9").len(), 1);
    }

    #[test]
    fn a_place_that_is_gone_is_reported() {
        let text_of = |path: &str| {
            (path == "volume/src/a.rs").then(|| "fn settle_all() {}\nstruct Leg;".to_owned())
        };
        let text = "`volume/src/a.rs`, `volume/src/a.rs::Leg`, `volume/src/a.rs::settle`, `volume/src/b.rs`\n\
                    ```\n`volume/src/c.rs`\n```\n";
        assert_eq!(
            lost_places(text, &text_of),
            [
                "1: `volume/src/a.rs` has no `settle`",
                "1: `volume/src/b.rs` does not exist"
            ]
        );
    }
}
