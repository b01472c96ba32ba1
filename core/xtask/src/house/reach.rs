//! What a room must not reach: the second table of `core/ARCHITECTURE.md`, against the manifests and `Cargo.lock`.
//!
//! A room reaches what its dependencies need, and what those need in turn. Within the house the manifests say so, without
//! dev-dependencies; outside it `Cargo.lock` does, which has no dev-dependencies of others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Findings, Tree, manifests};

const TABLE: &str = "core/ARCHITECTURE.md";
const HEADING: &str = "## What a room must not reach";

/// A crate's name to the names of the crates that it is built with.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// A row: each of `rooms` must reach none of `barred`.
#[derive(Debug, PartialEq, Eq)]
struct Bar {
    rooms: Vec<String>,
    barred: Vec<String>,
}

pub fn inspect(tree: &Tree, findings: &mut Findings) {
    let bars = bars(&tree.text(TABLE));
    if bars.is_empty() {
        findings.complaints.push(format!(
            "{TABLE}: the table under `{HEADING}` is gone (rows `| rooms | must not reach | why |`)"
        ));
        return;
    }
    let mut uses = match locked(&tree.text("Cargo.lock")) {
        Ok(uses) => uses,
        Err(error) => {
            findings.complaints.push(format!("Cargo.lock: {error}"));
            return;
        }
    };
    let known: BTreeSet<String> = uses.keys().cloned().collect();
    for manifest in tree.ending("Cargo.toml") {
        // A manifest that cannot be read is reported by `manifests`.
        if let Ok(table) = tree.text(manifest).parse::<toml::Table>()
            && let Some((name, used)) = built_with(&table)
        {
            uses.insert(name, used);
        }
    }
    findings.complaints.extend(complaints(&bars, &uses));
    for name in bars.iter().flat_map(|bar| &bar.barred) {
        if !known.contains(name) {
            // A mention, since a crate that is not there is not reached either. But a name that is misspelled would bar nothing.
            findings.mentions.push(format!(
                "{TABLE}: `{name}` is barred and not in Cargo.lock; is it spelled as its package is?"
            ));
        }
    }
}

fn complaints(bars: &[Bar], uses: &Uses) -> Vec<String> {
    let mut complaints = Vec::new();
    for bar in bars {
        for room in &bar.rooms {
            if !uses.contains_key(room) {
                complaints.push(format!("{TABLE}: `{room}` is in `{HEADING}` but no crate"));
            }
            for barred in &bar.barred {
                if let Some(way) = way(room, barred, uses) {
                    complaints.push(format!(
                        "`{room}` must not reach `{barred}` ({}); see {TABLE}",
                        way.join(" → ")
                    ));
                }
            }
        }
    }
    complaints
}

/// The shortest way from `room` to `barred`, both included.
fn way(room: &str, barred: &str, uses: &Uses) -> Option<Vec<String>> {
    let mut waiting = VecDeque::from([vec![room.to_string()]]);
    let mut seen = BTreeSet::from([room.to_string()]);
    // Breadth first, because the shortest way is the one that explains the complaint.
    // Ends: each crate waits once.
    while let Some(way) = waiting.pop_front() {
        for next in uses.get(way.last()?).into_iter().flatten() {
            if !seen.insert(next.clone()) {
                continue;
            }
            let mut longer = way.clone();
            longer.push(next.clone());
            if next == barred {
                return Some(longer);
            }
            waiting.push_back(longer);
        }
    }
    None
}

/// The package's name and what it is built with: no dev-dependencies.
fn built_with(table: &toml::Table) -> Option<(String, BTreeSet<String>)> {
    let name = table.get("package")?.get("name")?.as_str()?.to_string();
    let used = manifests::dependencies(table)
        .into_iter()
        .filter(|(section, _)| section != "dev-dependencies")
        .map(|(_, used)| used);
    Some((name, used.collect()))
}

/// Every package of the lock file; versions of one name are taken together.
fn locked(text: &str) -> Result<Uses, String> {
    let lock: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    let packages = lock.get("package").and_then(|packages| packages.as_array());
    let mut uses = Uses::new();
    for package in packages.ok_or("it has no packages")? {
        let Some(name) = package.get("name").and_then(|name| name.as_str()) else {
            continue;
        };
        let needed = package
            .get("dependencies")
            .and_then(|needed| needed.as_array());
        let needed = needed
            .into_iter()
            .flatten()
            .filter_map(|needed| needed.as_str()?.split(' ').next())
            .map(String::from);
        uses.entry(name.to_string()).or_default().extend(needed);
    }
    Ok(uses)
}

fn bars(text: &str) -> Vec<Bar> {
    let section = text.split(HEADING).nth(1).unwrap_or("");
    let section = section.split("\n## ").next().unwrap_or("");
    let names = |cell: &str| {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(String::from)
            .collect()
    };
    section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| {
            let mut cells = line.trim().trim_matches('|').split('|');
            Some(Bar {
                rooms: names(cells.next()?),
                barred: names(cells.next()?),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "| `inbound` | strangers | mail | – |\n\n## What a room must not reach\n\n\
        | rooms | must not reach | why |\n|---|---|---|\n| `inbound`, `mail` | `argon2`, `client` | passwords |\n\n\
        ## Next\n\n| `inbound` | `bytes` | another table |\n";
    const LOCK: &str = "version = 4\n[[package]]\nname = \"argon2\"\nversion = \"0.5.0\"\n\
        [[package]]\nname = \"outer\"\nversion = \"1.0.0\"\ndependencies = [\"argon2 0.5.0\", \"bytes\"]\n\
        [[package]]\nname = \"bytes\"\nversion = \"1.0.0\"\n";

    /// What is found when `inbound`, `mail` and `client` have these manifests.
    fn found(inbound: &str, mail: &str) -> Vec<String> {
        let mut uses = locked(LOCK).expect("a test lock file");
        let client = "[dependencies]\nargon2 = \"0.5\"";
        for (name, rest) in [("inbound", inbound), ("mail", mail), ("client", client)] {
            let table: toml::Table = format!("[package]\nname = \"{name}\"\n{rest}")
                .parse()
                .expect("a test manifest");
            uses.extend(built_with(&table));
        }
        complaints(&bars(TEXT), &uses)
    }

    #[test]
    fn the_rows_of_the_section_are_read_and_no_others() {
        let names = |names: [&str; 2]| names.map(String::from).to_vec();
        assert_eq!(
            bars(TEXT),
            [Bar {
                rooms: names(["inbound", "mail"]),
                barred: names(["argon2", "client"]),
            }]
        );
        assert_eq!(bars("| `inbound` | `argon2` | – |"), []);
    }

    #[test]
    fn what_is_not_barred_is_silent() {
        assert!(found("[dependencies]\nmail.workspace = true\nbytes = \"1\"", "").is_empty());
    }

    #[test]
    fn a_barred_crate_in_the_manifest_is_found() {
        assert_eq!(
            found("[dependencies]\nargon2.workspace = true", "").len(),
            1
        );
        assert_eq!(
            found(
                "[target.'cfg(unix)'.dependencies]\nhash = { package = \"argon2\", version = \"0.5\" }",
                ""
            )
            .len(),
            1
        );
        assert_eq!(found("", "[build-dependencies]\nargon2 = \"0.5\"").len(), 1);
    }

    #[test]
    fn a_barred_crate_behind_another_room_is_found_with_the_way_to_it() {
        let found = found(
            "[dependencies]\nmail.workspace = true",
            "[dependencies]\nclient.workspace = true",
        );
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(
            found.iter().any(|line| line
                .contains("`inbound` must not reach `argon2` (inbound → mail → client → argon2)")),
            "{found:?}"
        );
    }

    #[test]
    fn a_barred_crate_behind_a_crate_of_others_is_found() {
        let found = found("[dependencies]\nouter = \"1\"", "");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("inbound → outer → argon2"), "{found:?}");
    }

    #[test]
    fn tests_may_use_what_the_room_may_not() {
        assert!(found("[dev-dependencies]\nargon2 = \"0.5\"", "").is_empty());
    }

    #[test]
    fn a_row_about_a_crate_that_is_gone_is_found() {
        let uses = locked(LOCK).expect("a test lock file");
        let found = complaints(&bars(TEXT), &uses);
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
