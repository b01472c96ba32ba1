//! `appliance/REFERENCE-EXIT.md` against the sources of the appliance's programs: each exit status that a program can end with has its row, and
//! each row a program that ends so.

use std::collections::BTreeSet;

use super::{Findings, Tree};

const PAGE: &str = "appliance/REFERENCE-EXIT.md";
/// Programs whose end is decided outside the file with `main`.
const ELSEWHERE: &[(&str, &str)] = &[
    ("ringpostctl", "appliance/ringpostctl/src/command.rs"),
    ("ringpostd", "appliance/ringpostd/src/daemon.rs"),
];

/// A program and one of its statuses.
type Exit = (String, u8);

pub fn inspect(tree: &Tree, findings: &mut Findings) {
    if !tree.exists(PAGE) {
        return;
    }
    let mut known = BTreeSet::new();
    for file in tree.ending(".rs").filter(|name| is_main(name)) {
        let program = program(tree, file);
        let mut code = tree.text(file);
        for (_, elsewhere) in ELSEWHERE.iter().filter(|(name, _)| *name == program) {
            code.push_str(&tree.text(elsewhere));
        }
        known.extend(statuses(&code).map(|status| (program.clone(), status)));
    }
    let described = rows(&tree.text(PAGE));
    for (program, status) in known.difference(&described) {
        findings.complaints.push(format!(
            "{PAGE}: add a row for `{program}`, status {status}"
        ));
    }
    for (program, status) in described.difference(&known) {
        findings
            .complaints
            .push(format!("{PAGE}: `{program}` does not end with {status}"));
    }
}

fn is_main(name: &str) -> bool {
    name.starts_with("appliance/") && (name.ends_with("/src/main.rs") || name.contains("/src/bin/"))
}

/// What the program of `file` is called: by its manifest, else by the file, else by the package.
fn program(tree: &Tree, file: &str) -> String {
    let (folder, within) = file.split_once("/src/").unwrap_or((file, ""));
    let manifest: toml::Table = tree
        .text(&format!("{folder}/Cargo.toml"))
        .parse()
        .unwrap_or_default();
    let path = format!("src/{within}");
    let word = |table: &toml::Value, key: &str| Some(table.get(key)?.as_str()?.to_owned());
    let listed = manifest.get("bin").and_then(|bins| bins.as_array());
    let named = listed.into_iter().flatten().find_map(|bin| {
        let is_it = bin.get("path")?.as_str()? == path;
        word(bin, "name").filter(|_| is_it)
    });
    let by_file = within
        .strip_prefix("bin/")
        .map(|name| name.trim_end_matches(".rs").to_owned());
    named
        .or(by_file)
        .or_else(|| word(manifest.get("package")?, "name"))
        .unwrap_or_default()
}

/// The statuses that source names. A program that reads a command line with clap also ends with 2.
fn statuses(code: &str) -> impl Iterator<Item = u8> {
    let mut found = BTreeSet::new();
    // Found in the text and not by running the programs: an exit status of a rare fault is hard to provoke, and easy to read.
    for (word, status) in [
        ("ExitCode::SUCCESS", 0),
        ("ExitCode::FAILURE", 1),
        ("::parse();", 2),
        ("::parse())", 2),
    ] {
        if code.contains(word) {
            found.insert(status);
        }
    }
    for begin in ["ExitCode::from(", "process::exit("] {
        let numbers = code.split(begin).skip(1);
        found.extend(numbers.filter_map(|rest| rest.split(')').next()?.parse::<u8>().ok()));
    }
    found.into_iter()
}

/// Rows with a number in the second cell.
fn rows(page: &str) -> BTreeSet<Exit> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| {
        let (program, rest) = row.split_once('`')?;
        let status = rest.split('|').nth(1)?.trim().parse().ok()?;
        Some((program.to_owned(), status))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_from_source() {
        let code = "let flags = Flags::parse();\nmatch done { Ok(()) => ExitCode::SUCCESS, Err(_) => ExitCode::from(3) }";
        assert_eq!(statuses(code).collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!(statuses("text.parse()").count(), 0);
    }

    #[test]
    fn rows_with_a_status_are_read() {
        let page = "| program | status |\n|---|---|\n| `a` | 1 | x |\n| `a` | signal 6 | y |\n";
        assert_eq!(rows(page), BTreeSet::from([("a".to_owned(), 1)]));
    }
}
