//! Which way mail takes, for people.

use crate::table::table;
use crate::ways::{Rerouted, Way, Ways};

pub fn show(ways: &Ways) -> String {
    let mut texts: Vec<String> = ways.ways.iter().map(one).collect();
    match (ways.ways.is_empty(), ways.others) {
        (true, _) => texts.push("no recipient of this message waits".to_owned()),
        (false, 0) => {}
        (false, others) => texts.push(format!("{others} more recipients are not shown")),
    }
    texts.join("\n\n")
}

fn one(way: &Way) -> String {
    let mut text = format!(
        "{}\n  way      {}\n  because  {}\n",
        way.of, way.way, way.why
    );
    if let Some(policy) = &way.policy {
        text.push_str(&format!("  policy   MTA-STS, mode {policy}\n"));
    }
    if let Some(trouble) = &way.trouble {
        text.push_str(&format!("  but      {trouble}\n"));
    }
    if !way.servers.is_empty() {
        let servers = way.servers.iter();
        let rows: Vec<Vec<String>> = servers
            .map(|server| {
                vec![
                    server.host.clone(),
                    server.address.clone(),
                    server.tls.clone(),
                ]
            })
            .collect();
        for line in table(&["SERVER", "ADDRESS", "TLS"], &rows).lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text.trim_end().to_owned()
}

pub fn rerouted(done: &Rerouted) -> String {
    format!(
        "mail for {} goes to {} from now on; {} messages that waited are tried there now. `route remove {}` ends it",
        done.domain, done.server, done.messages, done.domain
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ways::WayServer;

    #[test]
    fn a_way_says_why_and_what_is_asked_of_each_server() {
        let way = Way {
            of: "bob@example.net".into(),
            way: "mx".into(),
            why: "no route is set for it".into(),
            servers: vec![WayServer {
                host: "mx.example.net".into(),
                address: "192.0.2.1:25".into(),
                tls: "where it is offered".into(),
            }],
            trouble: None,
            policy: Some("enforce".into()),
        };
        let text = show(&Ways {
            ways: vec![way],
            others: 3,
        });
        for words in [
            "way      mx",
            "MTA-STS, mode enforce",
            "mx.example.net  192.0.2.1:25  where it is offered",
            "3 more recipients",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
    }
}
