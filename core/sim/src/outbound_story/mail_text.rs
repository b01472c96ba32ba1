//! The text of letters, and what can be read from a message that arrived.

use base::BodyName;

/// The number in a letter's text.
pub type Token = u64;

/// A message as a server or a mailbox has it.
#[derive(Debug, Clone)]
pub struct Mail {
    pub text: String,
    /// Its reverse-path.
    from: String,
    pub token: Option<Token>,
    /// What its first Delivered-To names.
    pub via: String,
    pub report: Option<Report>,
}

/// A report (RFC 3464).
#[derive(Debug, Clone)]
pub struct Report {
    /// Its Message-ID.
    pub id: String,
    /// Final recipients, each with its action.
    pub cases: Vec<(String, String)>,
    /// Of the message it is about.
    pub via: String,
    pub text: String,
}

/// A letter's content, without an end of data.
pub fn letter(token: Token, from: &str, bytes: usize) -> String {
    let mut text =
        format!("From: <{from}>\r\nSubject: letter\r\nX-Token: {token}\r\n\r\n.dots\r\n");
    while text.len() < bytes {
        text += "What must be said takes a line of seventy letters or so, and then more.\r\n";
    }
    text
}

impl Mail {
    /// `text`: the content as it was received, dots removed.
    pub fn read(text: String, from: &str) -> Mail {
        let token = field(&text, "X-Token: ").and_then(|number| number.parse().ok());
        let header = text.split("\r\n\r\n").next().unwrap_or_default();
        let via = field(header, "Delivered-To: ")
            .unwrap_or_default()
            .to_owned();
        let report = header
            .contains("report-type=delivery-status")
            .then(|| Report::read(&text, header));
        Mail {
            token,
            via,
            report,
            from: from.to_owned(),
            text,
        }
    }

    /// The names that its body may have in the queue: as it left, or with the field in front that final delivery adds.
    pub fn bodies(&self, sender: &str) -> Vec<BodyName> {
        let with = |from: &str| {
            let raw = format!("Return-Path: <{from}>\r\n{}", self.text);
            BodyName::of(raw.as_bytes())
        };
        let plain = BodyName::of(self.text.as_bytes());
        vec![plain, with(&self.from), with(sender)]
    }
}

impl Report {
    fn read(text: &str, header: &str) -> Report {
        let mut cases = Vec::new();
        let mut last = String::new();
        for line in text.split("\r\n") {
            if let Some(path) = line.strip_prefix("Final-Recipient: rfc822; ") {
                last = path.to_owned();
            } else if let Some(action) = line.strip_prefix("Action: ") {
                cases.push((last.clone(), action.to_owned()));
            }
        }
        let returned = [
            "Content-Type: message/rfc822",
            "Content-Type: text/rfc822-headers",
        ];
        let returned = returned.iter().find_map(|kind| text.split_once(kind));
        let returned = returned.map_or("", |(_, returned)| returned);
        Report {
            id: field(header, "Message-ID: ").unwrap_or_default().to_owned(),
            via: field(returned, "Delivered-To: ")
                .unwrap_or_default()
                .to_owned(),
            cases,
            text: text.to_owned(),
        }
    }
}

/// What stands behind `name` in the first line that begins so.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.split("\r\n").find_map(|line| line.strip_prefix(name))
}
