//! Finds traces of messages in the files: once backwards, for the events that are wanted and what led to them, and once forwards, for all that
//! came of them.
//!
//! Events of one message share the id of its Received field, its number in the queue or its number in the spool. An event with two of them ties them together; so does
//! a message that takes the place of another one, or reports on it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

use ::admin::reply::{TraceEvent, TracePage};
use ::admin::request::TraceWanted;
use serde::Deserialize;
use serde_json::Value;

use super::days::{Kept, files};

/// Messages in one answer, newest first where there are more.
const MESSAGES_MAX: usize = 100;
/// Bytes of the lines in one answer: a reply is a few megabytes at most.
const ANSWER_BYTES_MAX: usize = 2 << 20;
/// Numbers that are followed for one answer; a group of a thousand members has as many copies.
const KEYS_MAX: usize = 20_000;

/// What is known in `directory` about messages that are `wanted`; the oldest first.
pub(crate) fn search(directory: &Path, wanted: &TraceWanted) -> io::Result<TracePage> {
    let mut files = files(directory)?;
    if let Some(since) = wanted.since_unix_s {
        files.retain(|file| unix_seconds(file) >= since);
    }
    let mut ways = Ways::default();
    for file in files.iter().rev() {
        for line in read(file)?.lines().rev() {
            ways.look_back(line, wanted);
        }
    }
    for file in &files {
        for line in read(file)?.lines() {
            ways.follow(line);
        }
    }
    Ok(ways.page())
}

fn unix_seconds(file: &Kept) -> u64 {
    let since = file.written.duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// One file whole: at most `days::PART_BYTES_MAX` and one buffer of lines. One that was removed meanwhile is empty.
fn read(file: &Kept) -> io::Result<String> {
    match fs::read(&file.path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// Of the Received field.
    Id(String),
    /// In the queue.
    Queue(u64),
    /// In the spool.
    Spool(u64),
    /// A line by itself.
    Line(String),
}

/// What of a line is looked at.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    #[serde(default)]
    message_id: String,
    queue: Option<u64>,
    about: Option<u64>,
    spool: Option<u64>,
    /// `[7, 8]`.
    #[serde(default)]
    into: String,
    span: Option<Span>,
}

#[derive(Deserialize)]
struct Span {
    #[serde(default)]
    id: String,
    /// Of a hand-over.
    spool: Option<u64>,
}

impl Line {
    fn keys(&self, text: &str) -> Vec<Key> {
        let id = self.span.as_ref().map(|span| span.id.as_str());
        let id = id.filter(|id| !id.is_empty());
        let into = self.into.split(|each: char| !each.is_ascii_digit());
        let into = into.filter_map(|number| number.parse().ok());
        let numbers = self.queue.into_iter().chain(self.about).chain(into);
        let mut keys: Vec<Key> = numbers.map(Key::Queue).collect();
        let of_span = self.span.as_ref().and_then(|span| span.spool);
        keys.extend(self.spool.or(of_span).map(Key::Spool));
        keys.extend(id.map(|id| Key::Id(id.to_owned())));
        if keys.is_empty() {
            keys.push(Key::Line(text.to_owned()));
        }
        keys
    }

    fn is(&self, wanted: &TraceWanted) -> bool {
        let asked = |wanted: &Option<String>, is: &dyn Fn(&str) -> bool| {
            wanted.as_deref().is_none_or(|wanted| is(bare(wanted)))
        };
        let is_id = |wanted: &str| {
            let id = self.span.as_ref().is_some_and(|span| span.id == wanted);
            let queue = self.queue.is_some_and(|queue| queue.to_string() == wanted);
            id || queue || bare(&self.message_id) == wanted
        };
        asked(&wanted.id, &is_id)
            && asked(&wanted.from, &|wanted| is_address(&self.from, wanted))
            && asked(&wanted.to, &|wanted| {
                self.to.split(',').any(|to| is_address(to, wanted))
            })
    }
}

/// Without the angle brackets.
fn bare(path: &str) -> &str {
    let path = path.trim();
    let inner = path
        .strip_prefix('<')
        .and_then(|path| path.strip_suffix('>'));
    inner.unwrap_or(path)
}

/// Whether `path` is `wanted`, or of its domain where that begins with `@`.
fn is_address(path: &str, wanted: &str) -> bool {
    let path = bare(path);
    match wanted.strip_prefix('@') {
        Some(domain) => path
            .rsplit_once('@')
            .is_some_and(|(_, of)| of.eq_ignore_ascii_case(domain)),
        None => path.eq_ignore_ascii_case(wanted),
    }
}

#[derive(Default)]
struct Ways {
    /// Which message a key belongs to.
    messages: HashMap<Key, usize>,
    /// By message; one that was joined to another one is empty.
    events: Vec<Vec<TraceEvent>>,
    found: usize,
    bytes: usize,
    more: bool,
}

impl Ways {
    fn look_back(&mut self, text: &str, wanted: &TraceWanted) {
        let Some(line) = parse(text) else { return };
        let keys = line.keys(text);
        let is_known = keys.iter().any(|key| self.messages.contains_key(key));
        if !is_known {
            if !line.is(wanted) {
                return;
            }
            if self.found == MESSAGES_MAX {
                self.more = true;
                return;
            }
            self.found += 1;
        }
        self.tie(keys);
    }

    fn follow(&mut self, text: &str) {
        let Some(line) = parse(text) else { return };
        let keys = line.keys(text);
        if !keys.iter().any(|key| self.messages.contains_key(key)) {
            return;
        }
        let message = self.tie(keys);
        self.bytes += text.len();
        match event(text) {
            Some(event) if self.bytes <= ANSWER_BYTES_MAX => self.events[message].push(event),
            _ => self.more = true,
        }
    }

    /// All of `keys` are of one message from now on.
    fn tie(&mut self, keys: Vec<Key>) -> usize {
        let known = keys
            .iter()
            .filter_map(|key| self.messages.get(key).copied());
        let known: Vec<usize> = known.collect();
        let message = known.iter().copied().min().unwrap_or(self.events.len());
        if message == self.events.len() {
            self.events.push(Vec::new());
        }
        for other in known.into_iter().filter(|other| *other != message) {
            let moved = std::mem::take(&mut self.events[other]);
            self.events[message].extend(moved);
            for of in self.messages.values_mut().filter(|of| **of == other) {
                *of = message;
            }
        }
        for key in keys {
            if self.messages.len() >= KEYS_MAX {
                self.more = true;
                break;
            }
            self.messages.insert(key, message);
        }
        message
    }

    fn page(self) -> TracePage {
        let mut messages = self.events;
        messages.retain(|events| !events.is_empty());
        for events in &mut messages {
            events.sort_by(|one, other| one.at.cmp(&other.at));
        }
        messages.sort_by(|one, other| one[0].at.cmp(&other[0].at));
        TracePage {
            messages,
            more: self.more,
        }
    }
}

/// A line that is not one of ours (cut by a crash, changed by hand) says nothing.
fn parse(text: &str) -> Option<Line> {
    serde_json::from_str(text).ok()
}

fn event(text: &str) -> Option<TraceEvent> {
    let Value::Object(mut fields) = serde_json::from_str(text).ok()? else {
        return None;
    };
    let mut text_of = |name| match fields.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (at, what) = (text_of("timestamp"), text_of("message"));
    if let Some(Value::Object(span)) = fields.remove("span") {
        for name in ["id", "spool"] {
            if let Some(value) = span.get(name) {
                fields.insert(name.to_owned(), value.clone());
            }
        }
    }
    Some(TraceEvent { at, what, fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a message to an alias leaves, with others between; and a refusal.
    const LINES: &str = r#"
{"timestamp":"2026-11-30T02:00:00Z","message":"recipient refused","peer":"192.0.2.1","from":"<spam@bad.example>","to":"<nobody@one.example>","refusal":"unknown"}
{"timestamp":"2026-11-30T02:00:01Z","message":"queued","queue":5,"span":{"id":"a.0.1","name":"message"}}
{"timestamp":"2026-11-30T02:00:02Z","message":"accepted","from":"<ann@far.example>","to":"<sales@one.example>,<bob@one.example>","message_id":"<m1@far.example>","span":{"id":"a.0.1","name":"message"}}
{"timestamp":"2026-11-30T02:00:03Z","message":"accepted","from":"<x@far.example>","to":"<bob@one.example>","message_id":"<m2@far.example>","span":{"id":"a.0.2","name":"message"}}
{"timestamp":"2026-11-30T02:00:04Z","message":"led on","queue":5,"to":"sales@one.example","into":"[6, 7]"}
{"timestamp":"2026-11-30T02:00:05Z","message":"delivered","queue":6,"from":"ann@far.example","to":"carol@away.example","host":"mx.away.example","text":"250 ok"}
cut by a cra
{"timestamp":"2026-11-30T02:00:06Z","message":"given up","queue":7,"from":"ann@far.example","to":"dora@gone.example","host":"","text":"no such domain"}
{"timestamp":"2026-11-30T02:00:07Z","message":"reported to the sender","queue":8,"about":7}
{"timestamp":"2026-11-30T02:00:08Z","message":"delivered","queue":8,"from":"","to":"ann@far.example","host":"mx.far.example","text":"250 ok"}
"#;

    fn found(id: Option<&str>, from: Option<&str>, to: Option<&str>) -> Vec<Vec<String>> {
        let place = tempfile::tempdir().expect("a directory");
        // In two files, so that ways cross from one to the other.
        let (first, second) = LINES.split_at(LINES.find("cut by").unwrap());
        fs::write(place.path().join("00000000000000000001.jsonl"), first).unwrap();
        fs::write(place.path().join("00000000000000000002.jsonl"), second).unwrap();
        let own = |text: Option<&str>| text.map(str::to_owned);
        let wanted = TraceWanted {
            id: own(id),
            from: own(from),
            to: own(to),
            since_unix_s: None,
        };
        let page = search(place.path(), &wanted).expect("it reads");
        assert!(!page.more);
        let what = |events: Vec<TraceEvent>| events.into_iter().map(|each| each.what).collect();
        page.messages.into_iter().map(what).collect()
    }

    const WHOLE: [&str; 7] = [
        "queued",
        "accepted",
        "led on",
        "delivered",
        "given up",
        "reported to the sender",
        "delivered",
    ];

    #[test]
    fn any_piece_of_a_way_leads_to_all_of_it() {
        for (id, from, to) in [
            (Some("m1@far.example"), None, None),
            (Some("<m1@far.example>"), None, None),
            (Some("a.0.1"), None, None),
            (Some("8"), None, None),
            (None, None, Some("Dora@gone.example")),
            (None, None, Some("sales@one.example")),
            (None, Some("ann@far.example"), None),
            (None, Some("ann@far.example"), Some("@away.example")),
        ] {
            assert_eq!(found(id, from, to), [WHOLE], "{id:?} {from:?} {to:?}");
        }
    }

    #[test]
    fn what_went_through_the_spool_is_one_way() {
        let place = tempfile::tempdir().expect("a directory");
        let lines = r#"
{"timestamp":"2026-11-30T02:00:00Z","message":"spooled until storage takes it","spool":4,"span":{"id":"a.0.9","name":"message"}}
{"timestamp":"2026-11-30T02:00:01Z","message":"accepted","from":"<ann@far.example>","to":"<sales@one.example>","span":{"id":"a.0.9","name":"message"}}
{"timestamp":"2026-11-30T02:00:02Z","message":"queued","queue":12,"span":{"spool":4,"name":"message"}}
{"timestamp":"2026-11-30T02:00:03Z","message":"handed over from the spool","spool":4,"again":0}
{"timestamp":"2026-11-30T02:00:04Z","message":"delivered","queue":12,"from":"ann@far.example","to":"carol@away.example"}
{"timestamp":"2026-11-30T02:00:05Z","message":"handed over from the spool","spool":5,"again":0}
"#;
        fs::write(place.path().join("00000000000000000001.jsonl"), lines).unwrap();
        let wanted = TraceWanted {
            to: Some("carol@away.example".to_owned()),
            ..TraceWanted::default()
        };
        let page = search(place.path(), &wanted).expect("it reads");
        let events: Vec<&str> = page.messages[0].iter().map(|event| &*event.what).collect();
        let way = [
            "spooled until storage takes it",
            "accepted",
            "queued",
            "handed over from the spool",
            "delivered",
        ];
        assert_eq!((page.messages.len(), &events[..]), (1, &way[..]));
    }

    #[test]
    fn several_messages_are_told_apart_and_a_refusal_stands_alone() {
        let to_bob = found(None, None, Some("bob@one.example"));
        assert_eq!(to_bob.len(), 2);
        assert_eq!(to_bob[1], ["accepted"]);
        let refused = found(None, None, Some("nobody@one.example"));
        assert_eq!(refused, [["recipient refused"]]);
        assert!(found(None, Some("@one.example"), None).is_empty());
        assert_eq!(found(None, None, None).len(), 3);
    }

    #[test]
    fn more_messages_than_one_answer_holds_are_the_newest_and_say_so() {
        let place = tempfile::tempdir().expect("a directory");
        let line = |second: usize| {
            format!(
                "{{\"timestamp\":\"2026-11-30T02:00:00.{second:03}Z\",\"message\":\"accepted\",\"from\":\"a@b\",\"to\":\"c@d\",\"span\":{{\"id\":\"1.0.{second}\"}}}}\n"
            )
        };
        let lines: String = (0..MESSAGES_MAX + 50).map(line).collect();
        fs::write(place.path().join("00000000000000000001.jsonl"), lines).unwrap();
        let page = search(place.path(), &TraceWanted::default()).expect("it reads");
        assert!(page.more);
        assert_eq!(page.messages.len(), MESSAGES_MAX);
        assert_eq!(page.messages[0][0].fields["id"], "1.0.50");
    }
}
