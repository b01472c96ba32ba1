//! A front's storage nodes, as `status` shows them.

use serde::{Deserialize, Serialize};

use crate::table::{span, table};

/// One storage node behind a front.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrontNodeLine {
    pub address: String,
    pub name: String,
    pub up: bool,
    /// Why it does not answer; empty while it does.
    pub why: String,
    /// Sessions of each protocol.
    pub sessions: Vec<FrontSessions>,
    /// Logins that it refused.
    pub refused: u64,
    /// Logins that were put off because it did not answer as it should.
    pub failed: u64,
    /// Sessions that it broke off in the middle.
    pub broken: u64,
    /// Addresses of its table of recipients.
    pub addresses: u64,
    /// Since it confirmed the table; `None`: it did not since the start.
    pub age_s: Option<u64>,
    /// People who are in no table are refused; else they are put off.
    pub fresh: bool,
    /// Why the table cannot be fetched; empty while it can.
    pub trouble: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrontSessions {
    pub protocol: String,
    pub open: u64,
    /// Since the start.
    pub passed: u64,
}

/// For people.
pub(crate) fn lines(nodes: &[FrontNodeLine]) -> String {
    let sum = |node: &FrontNodeLine, of: fn(&FrontSessions) -> u64| {
        node.sessions.iter().map(of).sum::<u64>().to_string()
    };
    let row = |node: &FrontNodeLine| {
        let state = match node.up {
            true => "works".to_owned(),
            false => format!("failed: {}", node.why),
        };
        vec![
            node.address.clone(),
            node.name.clone(),
            sum(node, |sessions| sessions.open),
            sum(node, |sessions| sessions.passed),
            node.refused.to_string(),
            node.failed.to_string(),
            node.broken.to_string(),
            state,
        ]
    };
    let rows: Vec<Vec<String>> = nodes.iter().map(row).collect();
    let head = [
        "STORAGE NODE",
        "NAME",
        "OPEN",
        "PASSED ON",
        "REFUSED",
        "PUT OFF",
        "BROKEN OFF",
        "STATE",
    ];
    let mut text = table(&head, &rows);
    for node in nodes {
        let age = match node.age_s {
            Some(age_s) => format!("confirmed {} ago", span(age_s)),
            None => "not confirmed since the start".to_owned(),
        };
        let unknown = match node.fresh {
            true => "",
            false => "; logins of unknown names are put off, because it is too old to refuse by it",
        };
        let trouble = match &node.trouble[..] {
            "" => String::new(),
            why => format!("; it cannot be fetched: {why}"),
        };
        text.push_str(&format!(
            "table of recipients of {}: {} addresses, {age}{unknown}{trouble}\n",
            node.name, node.addresses
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_away_says_why() {
        let sessions = |protocol: &str, open, passed| FrontSessions {
            protocol: protocol.into(),
            open,
            passed,
        };
        let mut node = FrontNodeLine {
            address: "192.0.2.7:2426".into(),
            name: "storage1.example.org".into(),
            up: true,
            why: String::new(),
            sessions: vec![sessions("imap", 2, 5), sessions("pop3", 1, 4)],
            refused: 6,
            failed: 7,
            broken: 8,
            addresses: 10,
            age_s: Some(3),
            fresh: true,
            trouble: String::new(),
        };
        let text = lines(std::slice::from_ref(&node));
        assert!(
            text.contains("works") && text.contains("10 addresses"),
            "{text}"
        );
        let row: Vec<&str> = text
            .lines()
            .nth(1)
            .unwrap_or("")
            .split_whitespace()
            .collect();
        assert_eq!(row[2..7], ["3", "9", "6", "7", "8"]);
        (node.up, node.why) = (false, "the connection was refused".into());
        (node.fresh, node.trouble) = (false, "no answer".into());
        let text = lines(&[node]);
        for part in ["failed: the connection was refused", "put off", "no answer"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
