//! The queue, for people.

use plan::units::date;

use crate::reply::{QueueDetail, QueueLine, QueuePage};
use crate::table::table;

pub fn page(page: &QueuePage) -> String {
    if page.messages.is_empty() {
        return format!("{} messages in the queue", page.count);
    }
    let rows: Vec<Vec<String>> = page.messages.iter().map(row).collect();
    let mut text = table(
        &[
            "ID",
            "STATE",
            "CAME",
            "NEXT TRY",
            "BYTES",
            "FROM",
            "TO",
            "LAST ANSWER",
        ],
        &rows,
    );
    let shown = page.messages.len();
    text.push_str(&format!("{shown} of {} messages", page.count));
    if let Some(last) = page.messages.last().filter(|_| page.more) {
        text.push_str(&format!("; go on with --after {}", last.id));
    }
    text
}

/// One line for a message, whatever the number of its recipients: the first that waits stands for the others, and says why it waits.
fn row(line: &QueueLine) -> Vec<String> {
    let others = line.waiting.saturating_sub(1);
    let to = match others {
        0 => line.to.clone(),
        others => format!("{} and {others} more", line.to),
    };
    vec![
        line.id.to_string(),
        line.state.clone(),
        date(line.arrived_unix_s),
        line.next_try_unix_s.map_or("-".to_owned(), date),
        line.bytes.to_string(),
        format!("<{}>", line.from),
        to,
        if line.reply.is_empty() {
            "-".to_owned()
        } else {
            line.reply.clone()
        },
    ]
}

pub fn detail(detail: &QueueDetail) -> String {
    let line = &detail.message;
    let mut text = format!(
        "message    {}\nstate      {}\nfrom       <{}>\nbytes      {}\ncame       {}\ngiven up   {}\n",
        line.id,
        line.state,
        line.from,
        line.bytes,
        date(line.arrived_unix_s),
        date(line.expires_unix_s),
    );
    if detail.warned {
        text.push_str("           its sender got a report that it waits\n");
    }
    text.push('\n');
    let rows: Vec<Vec<String>> = detail
        .recipients
        .iter()
        .map(|each| {
            let dash = |text: &str| {
                if text.is_empty() {
                    "-".to_owned()
                } else {
                    text.to_owned()
                }
            };
            vec![
                each.to.clone(),
                each.state.clone(),
                each.tries.to_string(),
                each.next_try_unix_s.map_or("-".to_owned(), date),
                dash(&each.host),
                dash(&each.reply),
            ]
        })
        .collect();
    let head = ["TO", "STATE", "TRIES", "NEXT TRY", "SERVER", "LAST ANSWER"];
    text.push_str(&table(&head, &rows));
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_is_left_and_where_to_go_on() {
        let line = QueueLine {
            id: 7,
            state: "waiting".into(),
            from: String::new(),
            bytes: 12,
            arrived_unix_s: 0,
            expires_unix_s: 0,
            next_try_unix_s: None,
            waiting: 3,
            recipients: 4,
            to: "bob@example.net".into(),
            reply: String::new(),
        };
        let text = page(&QueuePage {
            count: 9,
            messages: vec![line],
            more: true,
        });
        assert!(
            text.contains("bob@example.net and 2 more") && text.contains("<>"),
            "{text}"
        );
        assert!(
            text.ends_with("1 of 9 messages; go on with --after 7"),
            "{text}"
        );
    }
}
