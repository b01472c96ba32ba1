//! The quarantine, for people.

use plan::units::date;

use crate::quarantine::{QuarantineDetail, QuarantineLine, QuarantinePage};
use crate::table::{dash, table};

pub fn page(page: &QuarantinePage) -> String {
    if page.messages.is_empty() {
        return format!("{} messages in quarantine", page.count);
    }
    let rows: Vec<Vec<String>> = page.messages.iter().map(row).collect();
    let head = ["NUMBER", "WHY", "CAME", "BYTES", "FROM", "TO", "DETAIL"];
    let mut text = table(&head, &rows);
    text.push_str(&format!("{} of {} messages", rows.len(), page.count));
    if let Some(last) = page.messages.last().filter(|_| page.more) {
        text.push_str(&format!("; go on with --after {}", last.number));
    }
    text
}

fn row(line: &QuarantineLine) -> Vec<String> {
    let to = match line.recipients {
        0 | 1 => dash(&line.to),
        all => format!("{} and {} more", line.to, all - 1),
    };
    vec![
        line.number.to_string(),
        line.why.clone(),
        date(line.arrived_unix_s),
        line.bytes.to_string(),
        format!("<{}>", line.from),
        to,
        dash(&line.detail),
    ]
}

pub fn detail(detail: &QuarantineDetail) -> String {
    let line = &detail.message;
    let mut text = format!(
        "message    {}\nwhy        {}\ndetail     {}\ncame       {}\nbytes      {}\nid         {}\nfrom       <{}>\n",
        line.number,
        line.why,
        dash(&line.detail),
        date(line.arrived_unix_s),
        line.bytes,
        dash(&line.id),
        line.from,
    );
    for to in &detail.recipients {
        text.push_str(&format!("to         <{to}>\n"));
    }
    text.push('\n');
    text.push_str(&detail.text);
    if detail.is_cut {
        text.push_str("\n(there is more of it)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_and_a_message_say_why_and_for_whom() {
        let line = QuarantineLine {
            number: 7,
            bytes: 12,
            why: "virus".into(),
            detail: "Win.Bad".into(),
            arrived_unix_s: 0,
            id: "64.0.1".into(),
            from: String::new(),
            to: "bob@example.org".into(),
            recipients: 3,
        };
        let text = page(&QuarantinePage {
            count: 9,
            messages: vec![line.clone()],
            more: true,
        });
        assert!(text.contains("bob@example.org and 2 more"), "{text}");
        assert!(
            text.ends_with("1 of 9 messages; go on with --after 7"),
            "{text}"
        );
        let text = detail(&QuarantineDetail {
            message: line,
            recipients: vec!["bob@example.org".into(), "eve@example.org".into()],
            text: "Subject: x\n".into(),
            is_cut: true,
        });
        for words in [
            "detail     Win.Bad",
            "to         <eve@example.org>",
            "there is more",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
    }
}
