//! `appliance/REFERENCE-METRICS.md` against the samples that a test takes from a running daemon, in both directions.

use std::collections::BTreeSet;

use super::{Findings, Tree};

const PAGE: &str = "appliance/REFERENCE-METRICS.md";
/// One sample a line, `name{label,label}`: the test of the real process holds it to what the daemon answers.
const SAMPLES: &str = "appliance/ringpostd/tests/real/metrics.txt";
/// Where the daemon writes its families.
const SOURCES: &str = "appliance/ringpostd/src/admin/metrics";
/// Families that the daemon of that test does not have.
const ELSEWHERE: &[&str] = &[
    "ringpost_san_path",
    "ringpost_outbound_source_conversations",
    "ringpost_outbound_source_refused",
    "ringpost_outbound_source_resting",
    "ringpost_outbound_source_unavailable",
    // Where people are in another directory.
    "ringpost_ldap_up",
    "ringpost_ldap_calls",
    "ringpost_ldap_failures",
    "ringpost_ldap_seconds",
    // Where mail is fetched from accounts elsewhere.
    "ringpost_fetch_accounts",
    "ringpost_fetch_running",
    "ringpost_fetch_conversations",
    "ringpost_fetch_messages",
    "ringpost_fetch_bytes",
    "ringpost_fetch_deleted",
    // Of a node without storage.
    "ringpost_storage_node_up",
    "ringpost_handed_over",
    "ringpost_recipients_addresses",
    "ringpost_recipients_fresh",
    "ringpost_deliveries_in_doubt",
    // Of a front.
    "ringpost_front_node_up",
    "ringpost_front_sessions_open",
    "ringpost_front_sessions",
    "ringpost_front_failures",
];

pub fn inspect(tree: &Tree, findings: &mut Findings) {
    for name in tree.ending(".rs").filter(|name| name.starts_with(SOURCES)) {
        let found = fragments(&tree.text(name));
        findings
            .complaints
            .extend(found.iter().map(|what| format!("{name}: {what}")));
    }
    if !tree.exists(PAGE) || !tree.exists(SAMPLES) {
        return;
    }
    let found = differences(&tree.text(PAGE), &tree.text(SAMPLES));
    findings
        .complaints
        .extend(found.iter().map(|what| format!("{PAGE}: {what}")));
}

/// HELP texts that are not sentences: the literal behind the name of a family begins with "Reports" and ends with a full stop.
fn fragments(source: &str) -> Vec<String> {
    source
        .split("\"ringpost_")
        .skip(1)
        .filter_map(|rest| rest.split_once("\",")?.1.trim_start().strip_prefix('"'))
        .filter_map(|rest| rest.split_once('"'))
        .filter(|(help, _)| !(help.starts_with("Reports ") && help.ends_with('.')))
        .map(|(help, _)| {
            format!("the HELP text `{help}` is not a sentence: write `Reports …, in UNIT.`")
        })
        .collect()
}

fn differences(page: &str, samples: &str) -> Vec<String> {
    let known: BTreeSet<String> = samples.lines().map(String::from).collect();
    let mut found = Vec::new();
    let mut described = BTreeSet::new();
    for row in page.lines().filter_map(|line| line.strip_prefix("| `")) {
        let cells: Vec<&str> = row
            .split('|')
            .map(|cell| cell.trim().trim_matches('`'))
            .collect();
        let [name, kind, labels, unit, meaning, _] = cells[..] else {
            found.push(format!("a row with another number of cells: {row}"));
            continue;
        };
        if unit.is_empty() || meaning.is_empty() {
            found.push(format!("`{name}` has no unit or no meaning"));
        }
        if ELSEWHERE.contains(&name) {
            continue;
        }
        let labels = labels.split(',').map(str::trim);
        let labels: Vec<&str> = labels.filter(|label| *label != "–").collect();
        match expanded(name, kind, &labels) {
            Some(samples) => described.extend(samples),
            None => found.push(format!("`{name}`: there is no type `{kind}`")),
        }
    }
    // Both directions: a metric that is not described cannot be used, and one that is described and gone breaks an operator's alarm in silence.
    let missing = known.difference(&described);
    found.extend(missing.map(|sample| format!("add the family of `{sample}`")));
    let gone = described.difference(&known);
    found.extend(gone.map(|sample| format!("the daemon has no `{sample}`")));
    found
}

/// The samples of a family, as OpenMetrics names them.
fn expanded(name: &str, kind: &str, labels: &[&str]) -> Option<Vec<String>> {
    let sample = |ending: &str, more: &[&str]| {
        let labels: BTreeSet<&str> = labels.iter().chain(more).copied().collect();
        let labels = Vec::from_iter(labels).join(",");
        match labels.is_empty() {
            true => format!("{name}{ending}"),
            false => format!("{name}{ending}{{{labels}}}"),
        }
    };
    Some(match kind {
        "gauge" => vec![sample("", &[])],
        // OpenMetrics adds the ending; the page has the family's name, as the registry does.
        "counter" => vec![sample("_total", &[])],
        "info" => vec![sample("_info", &[])],
        "histogram" => vec![
            sample("_bucket", &["le"]),
            sample("_count", &[]),
            sample("_sum", &[]),
        ],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: &str = "a_total{leg}\nb\nc_bucket{le,leg}\nc_count{leg}\nc_sum{leg}\n";
    const PAGE: &str = "| metric | type | labels | unit | meaning |\n|---|---|---|---|---|\n| `a` | counter | leg | times | x |\n\
        | `b` | gauge | – | bytes | y |\n| `c` | histogram | leg | seconds | z |\n| `ringpost_san_path` | gauge | target | 0 or 1 | p |\n";

    #[test]
    fn a_help_text_that_is_a_fragment_is_named() {
        let source = |help: &str| {
            format!("page.gauge(\n    \"ringpost_a_bytes\",\n    \"{help}\",\n    7,\n);")
        };
        assert_eq!(
            fragments(&source("Reports the size of a, in bytes.")),
            Vec::<String>::new()
        );
        assert_eq!(fragments(&source("Its bound.")).len(), 1);
        assert_eq!(fragments(&source("Reports its bound")).len(), 1);
    }

    #[test]
    fn a_page_that_agrees_is_silent() {
        assert_eq!(differences(PAGE, SAMPLES), Vec::<String>::new());
    }

    #[test]
    fn what_one_of_both_lacks_is_named() {
        let short = PAGE.replace("| `b` | gauge | – | bytes | y |\n", "");
        assert_eq!(differences(&short, SAMPLES), ["add the family of `b`"]);
        assert_eq!(
            differences(PAGE, &SAMPLES.replace("a_total{leg}", "a_total")),
            [
                "add the family of `a_total`",
                "the daemon has no `a_total{leg}`"
            ]
        );
    }

    #[test]
    fn a_metric_without_a_meaning_or_of_no_type_is_named() {
        assert_eq!(differences(&PAGE.replace("| y |", "| |"), SAMPLES).len(), 1);
        assert_eq!(
            differences(&PAGE.replace("gauge | – |", "dial | – |"), SAMPLES).len(),
            2
        );
    }
}
