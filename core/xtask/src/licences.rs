//! Which licences a dependency may have. `cargo deny check` reads the same list from `deny.toml`; this check needs
//! nothing but `cargo metadata`, so that it is never omitted.

use std::path::Path;
use std::process::Command;

use crate::shell;

/// One sentence for each package whose licence expression cannot be met from the list in `deny.toml`.
pub fn complaints(root: &Path) -> Result<Vec<String>, String> {
    let deny = std::fs::read_to_string(root.join("deny.toml"))
        .map_err(|error| format!("deny.toml: {error}"))?;
    let deny: toml::Table = deny
        .parse()
        .map_err(|error| format!("deny.toml: {error}"))?;
    let words = |table: &str, key: &str| -> Vec<toml::Value> {
        deny.get(table)
            .and_then(|table| table.get(key))
            .and_then(|value| value.as_array())
            .cloned()
            .unwrap_or_default()
    };
    let allowed: Vec<String> = words("licenses", "allow")
        .iter()
        .filter_map(|word| word.as_str().map(String::from))
        .collect();
    let banned: Vec<String> = words("bans", "deny")
        .iter()
        .filter_map(|entry| {
            entry
                .get("crate")
                .or(entry.get("name"))
                .and_then(|name| name.as_str())
                .map(String::from)
        })
        .collect();
    let output = Command::new(shell::cargo_path())
        .current_dir(root)
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "cargo metadata --locked: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    // Of every package in the lock file, those for other platforms too: which of them is linked depends on the machine that builds.
    let mut complaints = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or("?");
        let licence = package["license"].as_str().unwrap_or("");
        if banned.iter().any(|banned| banned == name) {
            complaints.push(format!("{name}: banned by deny.toml"));
        }
        // Ours have no source; everything else comes from the one registry, never from a git repository.
        if package["source"]
            .as_str()
            .is_some_and(|source| !source.starts_with("registry+"))
        {
            complaints.push(format!("{name}: comes from {}", package["source"]));
        }
        if !permitted(licence, &|word| {
            allowed.iter().any(|allowed| allowed == word)
        }) {
            complaints.push(format!(
                "{name}: licence '{licence}' is not on the list in deny.toml"
            ));
        }
    }
    Ok(complaints)
}

/// Whether an SPDX expression can be met. An empty or broken expression cannot. `/` is cargo's old way of writing OR.
fn permitted(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader {
        tokens: &tokens,
        next: 0,
        allowed,
    };
    reader.either() == Some(true) && reader.next == tokens.len()
}

struct Reader<'a> {
    tokens: &'a [&'a str],
    next: usize,
    allowed: &'a dyn Fn(&str) -> bool,
}

impl Reader<'_> {
    fn either(&mut self) -> Option<bool> {
        let mut met = self.both()?;
        while self.take("OR") {
            met |= self.both()?;
        }
        Some(met)
    }

    fn both(&mut self) -> Option<bool> {
        let mut met = self.one()?;
        while self.take("AND") {
            met &= self.one()?;
        }
        Some(met)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let met = self.either()?;
            return self.take(")").then_some(met);
        }
        let name = *self.tokens.get(self.next)?;
        self.next += 1;
        if self.take("WITH") {
            let exception = *self.tokens.get(self.next)?;
            self.next += 1;
            return Some(
                // An exception only permits more, so the licence alone is enough.
                (self.allowed)(&format!("{name} WITH {exception}")) || (self.allowed)(name),
            );
        }
        Some((self.allowed)(name))
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.tokens.get(self.next) == Some(&word);
        self.next += usize::from(found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::permitted;

    #[test]
    fn expressions_are_met_as_spdx_says() {
        let allowed = |word: &str| ["MIT", "Apache-2.0", "Unicode-3.0"].contains(&word);
        assert!(permitted("MIT OR GPL-3.0-only", &allowed));
        assert!(permitted("MIT/Apache-2.0", &allowed));
        assert!(permitted("(MIT OR Apache-2.0) AND Unicode-3.0", &allowed));
        assert!(permitted("Apache-2.0 WITH LLVM-exception", &allowed));
        assert!(!permitted("MIT AND GPL-3.0-only", &allowed));
        assert!(!permitted("AGPL-3.0-only", &allowed));
        assert!(!permitted("", &allowed));
        assert!(!permitted("(MIT", &allowed));
    }
}
