//! Traces of messages, for people.

use serde_json::Value;

use crate::reply::{TraceEvent, TracePage};

pub fn show(page: &TracePage) -> String {
    if page.messages.is_empty() {
        return "no message is known that fits; `--days` looks further back, up to `trace.days`"
            .to_owned();
    }
    let mut text = String::new();
    for events in &page.messages {
        for (index, event) in events.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "  " });
            text.push_str(&line(event));
            text.push('\n');
        }
        text.push('\n');
    }
    let count = page.messages.len();
    text.push_str(&match (page.more, count) {
        (true, _) => format!("the newest {count} messages or less; ask for fewer"),
        (false, 1) => "1 message".to_owned(),
        (false, _) => format!("{count} messages"),
    });
    text
}

/// The time to the second, what happened, and the fields: addresses first.
fn line(event: &TraceEvent) -> String {
    let at = event.at.get(..19).unwrap_or(&event.at).replace('T', " ");
    let mut line = format!("{at}  {}", event.what);
    let first = ["from", "to", "host", "text", "refusal", "reason"];
    let is_first = |name: &str| first.contains(&name);
    let rest = event.fields.keys().map(String::as_str);
    for name in first.into_iter().chain(rest.filter(|name| !is_first(name))) {
        let value = match event.fields.get(name) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) if text.is_empty() => continue,
            // Of other servers, to a terminal.
            Some(Value::String(text)) => text.chars().filter(|each| !each.is_control()).collect(),
            Some(other) => other.to_string(),
        };
        line.push_str(&format!("  {}={value}", name.replace('_', "-")));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_a_block_of_lines() {
        let event = |text: &str| serde_json::from_str(text).expect("an event");
        let events = vec![
            event(
                r#"{"at":"2026-11-30T02:00:00.123456Z","what":"submitted","message_id":"<m@a>","to":"<b@c>","from":"<a@b>","queue":7}"#,
            ),
            event(
                r#"{"at":"2026-11-30T02:00:01Z","what":"delivered","host":"mx.c","text":"250 \u001b[2Jok","from":""}"#,
            ),
        ];
        let page = TracePage {
            messages: vec![events],
            more: false,
        };
        assert_eq!(
            show(&page),
            "2026-11-30 02:00:00  submitted  from=<a@b>  to=<b@c>  message-id=<m@a>  queue=7\n  \
             2026-11-30 02:00:01  delivered  host=mx.c  text=250 [2Jok\n\n1 message"
        );
    }
}
