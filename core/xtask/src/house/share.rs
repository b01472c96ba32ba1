//! How much of the code says why: the share of comment lines outside tests. It falls by itself, since each new feature is written for what it does.
//!
//! What must hold: the bound counts lines and reads none. A comment that only says the code again passes here and is found in a review.

use super::{Findings, Tree};

/// In thousandths of the lines that are code or comment.
const PER_MILLE_MIN: usize = 120;

#[derive(Debug, Default, PartialEq, Eq)]
struct Lines {
    code: usize,
    comments: usize,
}

pub fn inspect(tree: &Tree, findings: &mut Findings) {
    let mut all = Lines::default();
    for name in tree.ending(".rs").filter(|name| !is_test(name)) {
        let own = count(&tree.text(name));
        all.code += own.code;
        all.comments += own.comments;
    }
    let per_mille = per_mille(&all);
    let share = format!("{}.{} %", per_mille / 10, per_mille % 10);
    let sentence = format!(
        "comments are {share} of {} lines outside tests",
        all.code + all.comments
    );
    if per_mille < PER_MILLE_MIN {
        findings.complaints.push(format!(
            "{sentence}: say why where a newcomer would stop, at least {} % in all",
            PER_MILLE_MIN / 10
        ));
    } else {
        findings.mentions.push(sentence);
    }
}

fn per_mille(lines: &Lines) -> usize {
    lines.comments * 1_000 / (lines.code + lines.comments).max(1)
}

/// Tests say in their names what must hold, and are not measured.
fn is_test(name: &str) -> bool {
    let mut folders = name.split('/').rev();
    let file = folders.next().unwrap_or_default();
    file == "tests.rs" || file.ends_with("_tests.rs") || folders.any(|folder| folder == "tests")
}

/// Without blank lines and without modules of tests, which begin and end at the left edge (rustfmt sees to that).
fn count(text: &str) -> Lines {
    let mut found = Lines::default();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test") {
            // Other attributes may follow, then an item of one line or one with a block.
            let item = lines.find(|line| !line.starts_with("#["));
            if item.is_some_and(|item| item.ends_with('{')) {
                lines.find(|line| line.starts_with('}'));
            }
            continue;
        }
        match line.trim_start() {
            "" => {}
            line if line.starts_with("//") => found.comments += 1,
            _ => found.code += 1,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_and_tests_are_not_counted() {
        let text = "//! Story.\n\nuse a::b; // why\n\n#[cfg(test)]\nmod aside;\n/// What.\nfn f() {\n    // Why.\n    g();\n}\n\n#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests {\n    // Why.\n    fn t() {\n    }\n}\n";
        let wanted = Lines {
            code: 4,
            comments: 3,
        };
        assert_eq!(count(text), wanted);
        assert_eq!(per_mille(&wanted), 428);
        assert_eq!(per_mille(&Lines::default()), 0);
    }

    #[test]
    fn files_of_tests_are_known_by_their_place() {
        for name in [
            "core/a/tests/b.rs",
            "core/a/src/tests.rs",
            "core/a/src/tests/b.rs",
            "core/a/src/b_tests.rs",
        ] {
            assert!(is_test(name), "{name}");
        }
        for name in ["core/a/src/b.rs", "qemu-tests/src/stories.rs"] {
            assert!(!is_test(name), "{name}");
        }
    }
}
