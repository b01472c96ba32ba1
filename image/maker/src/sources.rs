//! Where Debian 13's packages come from: this machine's own apt sources, with the suite replaced.
//!
//! A machine that reaches a mirror of its own (behind a firewall, a cache) goes on using that one. No host name stands in this
//! repository: where the machine's sources say nothing usable, the tools' own defaults apply.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The release that the image is made of.
pub const RELEASE: &str = "trixie";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One place and one suite of Debian 13.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    uri: String,
    suite: String,
}

/// What this machine's apt uses, as Debian 13 sources; empty when it is not Debian or has none.
pub fn of_this_machine() -> Vec<Source> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_string())
            .unwrap_or_default()
    };
    if field("ID") != "debian" {
        return Vec::new();
    }
    let mut texts = Vec::new();
    let folder = Path::new("/etc/apt/sources.list.d");
    let mut files: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files.insert(0, "/etc/apt/sources.list".into());
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        texts.push((file.extension().is_some_and(|end| end == "sources"), text));
    }
    of_texts(&field("VERSION_CODENAME"), &texts)
}

/// `texts`: whether in deb822 form, and the content.
fn of_texts(codename: &str, texts: &[(bool, String)]) -> Vec<Source> {
    let mut found = BTreeSet::new();
    for (deb822, text) in texts {
        if *deb822 {
            for stanza in stanzas(text) {
                let words = |name: &str| -> Vec<&str> {
                    stanza
                        .iter()
                        .find(|(key, _)| key.eq_ignore_ascii_case(name))
                        .map(|(_, value)| value.split_whitespace().collect())
                        .unwrap_or_default()
                };
                if !words("Types").contains(&"deb") || words("Enabled") == ["no"] {
                    continue;
                }
                for uri in words("URIs") {
                    for suite in words("Suites") {
                        found.extend(moved(codename, uri, suite));
                    }
                }
            }
        } else {
            for line in text.lines() {
                let line = line.split('#').next().unwrap_or("");
                let Some(rest) = line.trim().strip_prefix("deb ") else {
                    continue;
                };
                let rest = rest.trim_start();
                let rest = match rest.strip_prefix('[') {
                    Some(options) => options.split_once(']').map_or("", |(_, rest)| rest),
                    None => rest,
                };
                let mut words = rest.split_whitespace();
                if let (Some(uri), Some(suite)) = (words.next(), words.next()) {
                    found.extend(moved(codename, uri, suite));
                }
            }
        }
    }
    // Updates and security without the release itself are of no use.
    if found.iter().any(|source| source.suite == RELEASE) {
        found.into_iter().collect()
    } else {
        Vec::new()
    }
}

/// The same place with Debian 13's suite; `None` for sources that are not the release's own (backports, other vendors).
fn moved(codename: &str, uri: &str, suite: &str) -> Option<Source> {
    let kind = suite.strip_prefix(codename)?;
    ["", "-updates", "-security"]
        .contains(&kind)
        .then(|| Source {
            uri: uri.to_string(),
            suite: format!("{RELEASE}{kind}"),
        })
}

/// The stanzas of a deb822 text: keys and values, continuation lines joined.
fn stanzas(text: &str) -> Vec<Vec<(String, String)>> {
    let mut stanzas: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.trim().is_empty() {
            stanzas.push(Vec::new());
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanzas.last_mut().and_then(|stanza| stanza.last_mut()) {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((key, value)) = line.split_once(':') {
            let stanza = stanzas.last_mut().expect("there is always one");
            stanza.push((key.trim().to_string(), value.trim().to_string()));
        }
    }
    stanzas.retain(|stanza| !stanza.is_empty());
    stanzas
}

/// As a file for apt.
pub fn file(sources: &[Source], components: &str) -> String {
    sources
        .iter()
        .map(|source| {
            format!(
                "Types: deb\nURIs: {}\nSuites: {}\nComponents: {components}\nSigned-By: {KEYRING}\n\n",
                source.uri, source.suite
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "Types: deb\n# a remark\nURIs: http://mirror.invalid/debian\nSuites: bookworm\n bookworm-updates bookworm-backports\n\
                          Components: main\n\nTypes: deb\nURIs: http://other.invalid/x\nSuites: nodistro\nComponents: main\n";

    #[test]
    fn the_machines_mirror_is_kept_and_the_suite_replaced() {
        let found = of_texts("bookworm", &[(true, DEB822.into())]);
        let suites: Vec<&str> = found.iter().map(|source| source.suite.as_str()).collect();
        assert_eq!(suites, ["trixie", "trixie-updates"]);
        assert!(
            found
                .iter()
                .all(|source| source.uri == "http://mirror.invalid/debian")
        );
        assert!(file(&found, "main").contains("Suites: trixie-updates\nComponents: main\n"));
    }

    #[test]
    fn the_older_form_is_read_too() {
        let list = "deb [arch=amd64 signed-by=/x] http://m.invalid/debian bookworm main # us\ndeb-src http://m.invalid/debian bookworm main\n\
                    deb http://m.invalid/debian-security bookworm-security main\n";
        let found = of_texts("bookworm", &[(false, list.into())]);
        let suites: Vec<&str> = found.iter().map(|source| source.suite.as_str()).collect();
        assert_eq!(suites, ["trixie", "trixie-security"]);
    }

    #[test]
    fn sources_without_the_release_itself_are_no_sources() {
        let list = "deb http://m.invalid/debian-security bookworm-security main\n";
        assert!(of_texts("bookworm", &[(false, list.into())]).is_empty());
    }
}
