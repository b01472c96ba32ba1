//! What was seen at the door, as one header field that a person can read: `X-Ringpost-Door: hello=our-name; lists=5 (bad.example)`.

use std::fmt::Write as _;

use crate::hello::HelloFault;
use crate::lists::Standing;
use crate::policy::List;

pub const FIELD: &str = "X-Ringpost-Door";

/// The marks of one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// It sent before our greeting.
    pub early: bool,
    /// It sent commands in groups before it had leave to.
    pub pipelined: bool,
    pub hello: Option<HelloFault>,
    /// Its reverse name is missing or does not point back.
    pub reverse_name: bool,
    /// The score, where it is at or past the bound.
    pub lists: Option<Standing>,
}

impl Marks {
    pub fn is_empty(&self) -> bool {
        *self == Marks::default()
    }

    /// Appends the field, or nothing. Every word is ours or a zone of the settings: nothing that a peer wrote.
    pub fn write(&self, lists: &[List], out: &mut Vec<u8>) {
        if self.is_empty() {
            return;
        }
        let mut words: Vec<String> = Vec::new();
        if self.early {
            words.push("early-talker".to_owned());
        }
        if self.pipelined {
            words.push("early-pipelining".to_owned());
        }
        if let Some(fault) = self.hello {
            words.push(format!("hello={}", fault.name()));
        }
        if self.reverse_name {
            words.push("no-reverse-name".to_owned());
        }
        if let Some(standing) = &self.lists {
            let zones = standing.on.iter().filter_map(|at| lists.get(*at));
            let zones: Vec<&str> = zones.map(|list| list.zone.as_str()).collect();
            let mut word = format!("lists={}", standing.score);
            // Writing to a string cannot fail; a line for each zone keeps below RFC 5322's 998 bytes.
            let _ = write!(word, " ({})", zones.join(",\r\n\t"));
            words.push(word);
        }
        out.extend_from_slice(FIELD.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(words.join(";\r\n\t").as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Answers;

    #[test]
    fn the_field_says_what_was_seen_and_is_absent_where_nothing_was() {
        let zone = |at: usize| List {
            zone: format!("{}{at}.example", "z".repeat(200)),
            weight: 1,
            answers: Answers::ANY,
        };
        let lists: Vec<List> = (0..8).map(zone).collect();
        let mut out = Vec::new();
        Marks::default().write(&lists, &mut out);
        assert_eq!(out, b"");
        let marks = Marks {
            early: true,
            pipelined: true,
            hello: Some(HelloFault::Ours),
            reverse_name: true,
            lists: Some(Standing {
                score: 8,
                on: (0..8).collect(),
                reason: Some("\r\nInjected: yes".to_owned()),
                unknown: 0,
            }),
        };
        marks.write(&lists, &mut out);
        let text = String::from_utf8(out).expect("ASCII");
        assert!(text.starts_with(
            "X-Ringpost-Door: early-talker;\r\n\tearly-pipelining;\r\n\thello=our-name;\r\n\tno-reverse-name;\r\n\tlists=8 (zzz"
        ));
        assert!(text.ends_with("z7.example)\r\n") && !text.contains("Injected"));
        for line in text.split("\r\n") {
            assert!(line.len() < 998);
        }
        let folded = text.trim_end().split("\r\n").skip(1);
        assert!(
            folded.into_iter().all(|line| line.starts_with('\t')),
            "one field"
        );
    }
}
