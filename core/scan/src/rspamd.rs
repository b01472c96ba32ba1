//! rspamd's `POST /checkv2` (rspamd.com, "Rspamd protocol"): the request's head, and the JSON that comes back.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::Value;

use crate::limits::*;
use crate::{Envelope, Fault, text};

/// What stands before the content, which has `content_bytes` bytes.
pub fn request(envelope: &Envelope<'_>, server: SocketAddr, content_bytes: usize) -> Vec<u8> {
    let mut out = format!(
        "POST /checkv2 HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nContent-Length: {content_bytes}\r\n"
    )
    .into_bytes();
    let client = envelope.client.to_canonical().to_string();
    put(&mut out, "IP", &client);
    put(&mut out, "Helo", envelope.helo);
    put(&mut out, "From", &format!("<{}>", envelope.mail_from));
    for recipient in envelope.recipients.iter().take(RECIPIENTS_NAMED_MAX) {
        put(&mut out, "Rcpt", &format!("<{recipient}>"));
    }
    put(&mut out, "Queue-Id", envelope.id);
    put(&mut out, "MTA-Name", envelope.hostname);
    if let Some(user) = envelope.user {
        put(&mut out, "User", user);
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn put(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend(text::line(value));
    out.extend_from_slice(b"\r\n");
}

/// What rspamd asks for (its actions, in the order of severity).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `no action`, and `greylist`, which is a recommendation: where it greylists itself, it says `soft reject`.
    Accept,
    /// `add header` and `rewrite subject`.
    Mark,
    /// `quarantine` and `discard`: kept apart. Nothing that we have taken is thrown away.
    Quarantine,
    /// `soft reject`.
    Defer,
    /// `reject`.
    Refuse,
}

/// What rspamd says of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub action: Action,
    pub score: f64,
    pub required: f64,
    /// Names and scores, those that count most first; at most `limits::SYMBOLS_SHOWN_MAX`.
    pub symbols: Vec<(String, f64)>,
    /// Fields to be put in front, each with its line's end.
    pub fields: Vec<u8>,
    /// What the client is to be told, if rspamd says so.
    pub message: Option<String>,
}

#[derive(Deserialize)]
struct Wire {
    action: Option<String>,
    score: Option<f64>,
    required_score: Option<f64>,
    #[serde(default)]
    symbols: BTreeMap<String, Symbol>,
    /// Whatever shape these have: what cannot be read of them costs no verdict.
    milter: Option<Value>,
    messages: Option<Value>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Symbol {
    score: Option<f64>,
}

/// The body of a reply with this status.
pub fn parse(status: u16, body: &[u8]) -> Result<Answer, Fault> {
    // serde_json bounds how deep it goes; what is not named above is passed over and not kept.
    let wire: Wire = serde_json::from_slice(body).map_err(|_| Fault::Nonsense("JSON"))?;
    if let Some(error) = wire.error {
        return Err(Fault::Said(text::plain(&error)));
    }
    if status != 200 {
        return Err(Fault::Said(format!("status {status}")));
    }
    let action = match wire.action.as_deref() {
        Some("no action" | "greylist") => Action::Accept,
        Some("add header" | "rewrite subject") => Action::Mark,
        Some("quarantine" | "discard") => Action::Quarantine,
        Some("soft reject") => Action::Defer,
        Some("reject") => Action::Refuse,
        _ => return Err(Fault::Nonsense("action")),
    };
    let mut symbols: Vec<(String, f64)> = wire
        .symbols
        .iter()
        .map(|(name, symbol)| (text::word(name), symbol.score.unwrap_or(0.0)))
        .collect();
    symbols.sort_by(|(_, a), (_, b)| b.abs().total_cmp(&a.abs()));
    symbols.truncate(SYMBOLS_SHOWN_MAX);
    Ok(Answer {
        action,
        score: wire.score.unwrap_or(0.0),
        required: wire.required_score.unwrap_or(0.0),
        symbols,
        fields: fields(wire.milter),
        message: wire
            .messages
            .as_ref()
            .and_then(|messages| messages.get("smtp_message")?.as_str())
            .map(text::plain)
            .filter(|message| !message.is_empty()),
    })
}

/// The fields of `add_headers`, as far as there is room: a text, an object with a `value`, or a list of these.
fn fields(milter: Option<Value>) -> Vec<u8> {
    let mut out = Vec::new();
    let added = milter.as_ref().and_then(|milter| milter.get("add_headers"));
    let Some(Value::Object(added)) = added else {
        return out;
    };
    for (name, added) in added {
        let values = match added {
            Value::Array(many) => &many[..],
            one => std::slice::from_ref(one),
        };
        for value in values {
            if let Some(value) = value.get("value").unwrap_or(value).as_str() {
                crate::change::put_field(&mut out, name.as_bytes(), value.as_bytes());
            }
        }
    }
    out
}

impl Answer {
    /// The score and what made it, for our header field.
    pub fn words(&self) -> String {
        let mut words = format!("{:.2} of {:.2}", self.score, self.required);
        for (name, score) in &self.symbols {
            // Writing to a string cannot fail.
            let _ = write!(words, ", {name} {score:.2}");
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &str = r#"{"is_skipped":false,"score":7.5,"required_score":15.0,"action":"add header",
        "symbols":{"A":{"name":"A","score":0.1,"options":["x"]},"BAYES_SPAM":{"score":5.1,"metric_score":5.1},"GOOD":{"score":-2.0}},
        "messages":{"smtp_message":"Try\r\nagain"},"message-id":"undef",
        "milter":{"add_headers":{"X-Spam":{"value":"Yes","order":0},"X-Two":[{"value":"1"},{"value":"2","order":1}],"X-Old":"text","X-Odd":7,"X-Odder":[[1],{"value":null}],
        "Bad Name":{"value":"x"},"X-Break":{"value":"a\r\n\r\nb"}},"remove_headers":{"X-Spam":0}}}"#;

    #[test]
    fn an_answer_is_read_with_what_counts_most_first() {
        let answer = parse(200, REPLY.as_bytes()).expect("well-formed");
        assert_eq!(answer.action, Action::Mark);
        assert_eq!(
            answer.words(),
            "7.50 of 15.00, BAYES_SPAM 5.10, GOOD -2.00, A 0.10"
        );
        assert_eq!(answer.message.as_deref(), Some("Try again"));
        assert_eq!(
            String::from_utf8_lossy(&answer.fields),
            "X-Break: a b\r\nX-Old: text\r\nX-Spam: Yes\r\nX-Two: 1\r\nX-Two: 2\r\n"
        );
    }

    #[test]
    fn every_action_has_its_meaning_and_an_unknown_one_has_none() {
        for (word, action) in [
            ("no action", Action::Accept),
            ("greylist", Action::Accept),
            ("add header", Action::Mark),
            ("rewrite subject", Action::Mark),
            ("soft reject", Action::Defer),
            ("quarantine", Action::Quarantine),
            ("discard", Action::Quarantine),
            ("reject", Action::Refuse),
        ] {
            let body = format!("{{\"action\":\"{word}\"}}");
            let answer = parse(200, body.as_bytes()).expect("well-formed");
            assert_eq!(answer.action, action, "{word}");
        }
        let unknown = parse(200, b"{\"action\":\"explode\"}");
        assert_eq!(unknown, Err(Fault::Nonsense("action")));
    }

    #[test]
    fn nonsense_errors_and_bombs_are_no_verdict() {
        let deep = format!("{{\"symbols\":{}", "[".repeat(200_000));
        let deeper = format!("{{\"x\":{}", "{\"a\":".repeat(50_000));
        let none: [(&[u8], Fault); 8] = [
            (b"", Fault::Nonsense("JSON")),
            (b"null", Fault::Nonsense("JSON")),
            (b"[]", Fault::Nonsense("action")),
            (b"{}", Fault::Nonsense("action")),
            (b"{\"action\":\"reject\"", Fault::Nonsense("JSON")),
            (
                b"{\"action\":\"reject\",\"score\":1e999}",
                Fault::Nonsense("JSON"),
            ),
            (deep.as_bytes(), Fault::Nonsense("JSON")),
            (deeper.as_bytes(), Fault::Nonsense("JSON")),
        ];
        for (body, _) in none {
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            assert!(
                matches!(parse(200, body), Err(Fault::Nonsense(_))),
                "{shown}"
            );
        }
        assert_eq!(
            parse(200, b"{\"error\":\"no\\nway\"}"),
            Err(Fault::Said("no way".to_owned()))
        );
        assert_eq!(
            parse(503, b"{\"action\":\"no action\"}"),
            Err(Fault::Said("status 503".to_owned()))
        );
    }

    #[test]
    fn what_a_server_adds_is_bounded() {
        let many: Vec<String> = (0..5_000)
            .map(|at| format!("\"X-{at}\":\"{}\"", "y".repeat(40)))
            .collect();
        let symbols: Vec<String> = (0..4_000).map(|at| format!("\"S{at}\":{{}}")).collect();
        let body = format!(
            "{{\"action\":\"no action\",\"symbols\":{{{}}},\"milter\":{{\"add_headers\":{{{}}}}}}}",
            symbols.join(","),
            many.join(",")
        );
        let answer = parse(200, body.as_bytes()).expect("well-formed");
        assert!(answer.fields.len() <= ADDED_BYTES_MAX && answer.fields.ends_with(b"\r\n"));
        assert_eq!(answer.symbols.len(), SYMBOLS_SHOWN_MAX);
    }

    #[test]
    fn nothing_of_the_envelope_ends_a_line_of_the_request() {
        let recipients = vec![
            "b@example.org".to_owned(),
            "c\r\nX: y@example.org".to_owned(),
        ];
        let envelope = Envelope {
            holder: runtime::Holder(1),
            client: "::ffff:192.0.2.1".parse().expect("an address"),
            helo: "mail.example.net\r\nEvil: 1",
            hostname: "mx.example.org",
            mail_from: "",
            recipients: &recipients,
            id: "1.2.3",
            user: None,
        };
        let head = request(&envelope, "[::1]:11333".parse().expect("an address"), 5);
        assert_eq!(
            String::from_utf8_lossy(&head),
            "POST /checkv2 HTTP/1.1\r\nHost: [::1]:11333\r\nConnection: close\r\nContent-Length: 5\r\nIP: 192.0.2.1\r\n\
             Helo: mail.example.netEvil: 1\r\nFrom: <>\r\nRcpt: <b@example.org>\r\nRcpt: <cX: y@example.org>\r\nQueue-Id: 1.2.3\r\n\
             MTA-Name: mx.example.org\r\n\r\n"
        );
    }
}
