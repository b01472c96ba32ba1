//! The page of metrics: its names are a promise to dashboards and alarms.

use std::collections::BTreeSet;

use crate::daemon::Home;
use crate::sessions::story;

/// Every sample as `name{label,label}`, sorted. A line that leaves this file breaks a dashboard.
const NAMES: &str = include_str!("metrics.txt");

/// The samples of an OpenMetrics page by name and label names.
fn names(page: &str) -> BTreeSet<String> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (sample, _) = line.rsplit_once(' ').expect("a value");
            let Some((name, labels)) = sample.split_once('{') else {
                return sample.to_owned();
            };
            let labels = labels.trim_end_matches('}').split(',');
            let labels: BTreeSet<&str> = labels
                .map(|label| label.split_once('=').expect("a label").0)
                .collect();
            format!("{name}{{{}}}", Vec::from_iter(labels).join(","))
        })
        .collect()
}

#[test]
fn metrics_keep_their_names() {
    let home = Home::new();
    let _daemon = home.start();
    let append_and_fetch = "a = Raw()\na.append('INBOX', letter('one'))\na.cmd('SELECT INBOX')\na.cmd('FETCH 1 BODY[]')\na.cmd('NOOP')";
    story(&home, append_and_fetch);
    let page = home.ctl_ok(&["metrics"]);
    let have = names(&page);
    let promised: BTreeSet<String> = NAMES.lines().map(str::to_owned).collect();
    assert_eq!(have, promised, "{page}");
    for fetched in [
        "ringpost_imap_fetched_total 1\n",
        "ringpost_imap_fetch_seconds_count 1\n",
        "ringpost_imap_fetch_seconds_bucket{le=\"+Inf\"} 1\n",
    ] {
        assert!(page.contains(fetched), "{fetched} in {page}");
    }
    let families: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("# TYPE "))
        .collect();
    let once: BTreeSet<&str> = families.iter().copied().collect();
    assert_eq!(families.len(), once.len(), "a family is written once");
}
