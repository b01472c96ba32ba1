//! Who may use whom: the manifests against the rule table in `core/ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, Tree};

const TABLE: &str = "core/ARCHITECTURE.md";

/// Crates that only touch the world through traits. `reach` bars runtimes and sockets from them, also behind other crates. A crate for
/// system calls is behind `memmap2`, with which `device` gets page-aligned memory without `unsafe`, so only their own manifests are held
/// to that.
const PURE: &[&str] = &[
    "base",
    "device",
    "volume",
    "store",
    "tenancy",
    "directory",
    "mailbox",
    "queue",
    "lessons",
    "scripts",
    "reports",
    "logins",
    "feedback",
    "mail",
    "smtp",
    "imap",
    "pop3",
    "managesieve",
    "spam",
    "sieve",
    "plan",
];
const SYSTEM_CALLS: &str = "libc";

/// Row of the table: crate name to the names it may use.
type Rules = BTreeMap<String, BTreeSet<String>>;

pub fn inspect(tree: &Tree, findings: &mut Findings) {
    let rules = rules(&tree.text(TABLE));
    if rules.is_empty() {
        findings.complaints.push(format!("{TABLE}: the rule table is gone (rows `| `crate` | one line | may use | must not know |`)"));
        return;
    }
    let mut seen = BTreeSet::new();
    for manifest in tree
        .ending("Cargo.toml")
        .filter(|name| *name != "Cargo.toml")
    {
        let table: toml::Table = match tree.text(manifest).parse() {
            Ok(table) => table,
            Err(error) => {
                findings.complaints.push(format!("{manifest}: {error}"));
                continue;
            }
        };
        let Some(name) = table
            .get("package")
            .and_then(|package| package.get("name"))
            .and_then(|name| name.as_str())
        else {
            continue;
        };
        seen.insert(name.to_string());
        inspect_manifest(manifest, name, &table, &rules, &mut findings.complaints);
    }
    // In the other direction too: a row of a crate that is gone would let its name be used for something else.
    for name in rules.keys().filter(|name| !seen.contains(*name)) {
        findings
            .complaints
            .push(format!("{TABLE}: `{name}` has a row but no crate"));
    }
}

fn inspect_manifest(
    manifest: &str,
    name: &str,
    table: &toml::Table,
    rules: &Rules,
    complaints: &mut Vec<String>,
) {
    let Some(allowed) = rules.get(name) else {
        complaints.push(format!(
            "{manifest}: `{name}` has no row in {TABLE}; a new room is opened with its row"
        ));
        return;
    };
    for (kind, used) in dependencies(table) {
        if rules.contains_key(&used) && !allowed.contains(&used) {
            complaints.push(format!(
                "{manifest}: `{name}` may not use `{used}` ({kind}); see {TABLE}"
            ));
        }
        // Tests may do what the room may not: they are not shipped.
        if kind != "dev-dependencies" && PURE.contains(&name) && used == SYSTEM_CALLS {
            complaints.push(format!(
                "{manifest}: `{name}` is a pure room and may not use `{used}`"
            ));
        }
    }
    // Without this line a crate silently has cargo's own lints and not the house's.
    if table
        .get("lints")
        .and_then(|lints| lints.get("workspace"))
        .and_then(|value| value.as_bool())
        != Some(true)
    {
        complaints.push(format!("{manifest}: add `[lints] workspace = true`"));
    }
}

/// Every dependency with the section it stands in; the package's real name when it is renamed.
pub(super) fn dependencies(table: &toml::Table) -> Vec<(String, String)> {
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = table
        .get("target")
        .and_then(|target| target.as_table())
        .into_iter()
        .flat_map(|target| target.values());
    let mut found = Vec::new();
    for holder in std::iter::once(table).chain(targets.filter_map(|target| target.as_table())) {
        for section in sections {
            for (name, value) in holder
                .get(section)
                .and_then(|section| section.as_table())
                .into_iter()
                .flatten()
            {
                let real = value
                    .get("package")
                    .and_then(|package| package.as_str())
                    .unwrap_or(name);
                found.push((section.to_string(), real.to_string()));
            }
        }
    }
    found
}

fn rules(text: &str) -> Rules {
    let mut rules = Rules::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line
            .trim()
            .trim_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        let [name, _, uses, _] = cells[..] else {
            continue;
        };
        let uses = uses
            .split(',')
            .map(|word| word.trim().trim_matches('`').to_string())
            .filter(|word| !word.is_empty() && word != "–");
        rules.insert(name.trim_matches('`').to_string(), uses.collect());
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "| crate | one line | may use | must not know |\n|---|---|---|---|\n\
        | `base` | numbers | – | mail |\n| `volume` | legs | base, device | mail |\n| `device` | io | base | – |\n| `smtp` | words | base | – |\n";

    fn complaints(name: &str, manifest: &str) -> Vec<String> {
        let table: toml::Table = format!("[lints]\nworkspace = true\n{manifest}")
            .parse()
            .expect("a test manifest");
        let mut complaints = Vec::new();
        inspect_manifest("x/Cargo.toml", name, &table, &rules(ROWS), &mut complaints);
        complaints
    }

    #[test]
    fn a_permitted_use_is_silent() {
        assert_eq!(
            complaints(
                "volume",
                "[dependencies]\nbase.workspace = true\nbytes = \"1\""
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn the_pillars_do_not_meet() {
        assert_eq!(
            complaints("smtp", "[dependencies]\nvolume.workspace = true").len(),
            1
        );
        assert_eq!(
            complaints("smtp", "[dev-dependencies]\nvolume.workspace = true").len(),
            1
        );
        assert_eq!(
            complaints(
                "smtp",
                "[target.'cfg(unix)'.dependencies]\nvolume.workspace = true"
            )
            .len(),
            1
        );
        assert_eq!(
            complaints(
                "smtp",
                "[dependencies]\nhidden = { package = \"volume\", path = \"x\" }"
            )
            .len(),
            1
        );
    }

    #[test]
    fn a_pure_room_makes_no_system_calls() {
        assert_eq!(
            complaints("volume", "[dependencies]\nlibc = \"0.2\"").len(),
            1
        );
    }

    #[test]
    fn a_room_without_a_row_is_named() {
        assert_eq!(complaints("attic", "").len(), 1);
    }
}
