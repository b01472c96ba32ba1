//! What holds for documents: links that lead somewhere, RFC rows whose file exists.

use std::path::Path;

use super::{Findings, Tree};

pub fn inspect(tree: &Tree, findings: &mut Findings) {
    for name in tree.ending(".md") {
        let text = tree.text(name);
        let folder = Path::new(name).parent().unwrap_or(Path::new(""));
        for link in links(&text) {
            let target = link.split('#').next().unwrap_or("");
            // Links out of the repository are not followed: a check that needs a network fails for reasons that are not the tree's.
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !tree.root.join(folder).join(target).exists() {
                findings
                    .complaints
                    .push(format!("{name}: the link to `{target}` leads nowhere"));
            }
        }
    }
    let rows = "core/RFC.md";
    if tree.exists(rows) {
        findings
            .complaints
            .extend(rfc_rows(&tree.text(rows), &|file| {
                tree.exists(file) || tree.exists(&format!("core/{file}"))
            }));
    }
}

/// Targets of `[text](target)`, outside fenced code.
fn links(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else {
                break;
            };
            found.push(target.split_whitespace().next().unwrap_or("").to_string());
            rest = after;
        }
    }
    found
}

/// A row that says `yes` names a file in backticks that exists.
fn rfc_rows(text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with('|'))
    {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        // "partly" and "no" may name a file or not: there is not always one to name.
        if !cells.contains(&"yes") {
            continue;
        }
        let files: Vec<&str> = line
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|word| word.ends_with(".rs"))
            .collect();
        if files.is_empty() {
            complaints.push(format!(
                "core/RFC.md:{}: a row that says yes names its file",
                index + 1
            ));
        }
        for file in files.into_iter().filter(|file| !exists(file)) {
            complaints.push(format!(
                "core/RFC.md:{}: `{file}` does not exist",
                index + 1
            ));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_outside_code() {
        let text = "see [a](x.md) and [b](y.md#part \"title\")\n```\n[c](z.md)\n```\n";
        assert_eq!(links(text), ["x.md", "y.md#part"]);
    }

    #[test]
    fn a_yes_without_its_file_is_found() {
        let text = "| 5321 §4.1 | yes | `smtp/src/gone.rs` |\n| 5321 §4.2 | no | later |\n| 5321 §4.3 | yes | here |\n";
        assert_eq!(rfc_rows(text, &|_| false).len(), 2);
    }
}
