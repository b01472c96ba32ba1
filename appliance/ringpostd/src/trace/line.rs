//! One event as one line of JSON. By our own hand: `tracing_subscriber`'s own JSON reads the fields of a span back from text for each event, which
//! was a twelfth of what a message costs the core that receives it.

use std::cell::RefCell;
use std::fmt;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde::Serializer as _;
use serde_json::Serializer;
use serde_json::ser::CompactFormatter;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::lines::Lines;

/// About one line.
const LINE_BYTES: usize = 512;

/// Writes each event, and in `span` the fields of the span that it is in.
pub(super) struct Tracer {
    pub(super) lines: Lines,
}

/// `,"name":value` for each field of a span.
struct Kept(Vec<u8>);

impl<S> Layer<S> for Tracer
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut kept = Vec::new();
            attributes.record(&mut Fields(&mut kept));
            span.extensions_mut().replace(Kept(kept));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(Kept(kept)) = span.extensions_mut().get_mut()
        {
            values.record(&mut Fields(kept));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Vec::with_capacity(LINE_BYTES);
        line.extend_from_slice(b"{\"timestamp\":\"");
        put_time(&mut line, SystemTime::now());
        line.push(b'"');
        event.record(&mut Fields(&mut line));
        if let Some(span) = context.event_span(event)
            && let Some(Kept(kept)) = span.extensions().get()
        {
            line.extend_from_slice(b",\"span\":{\"name\":\"message\"");
            line.extend_from_slice(kept);
            line.push(b'}');
        }
        line.extend_from_slice(b"}\n");
        self.lines.push(&line);
    }
}

/// Appends `2026-11-30T08:15:42.000123Z` (RFC 3339). The seconds are written as text once for all lines of a second.
fn put_time(line: &mut Vec<u8>, now: SystemTime) {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, mut micros) = (since.as_secs(), since.subsec_micros());
    SECOND.with_borrow_mut(|(of, text)| {
        if *of != seconds {
            let time = Timestamp::from_second(seconds as i64).unwrap_or_default();
            (*of, *text) = (seconds, time.to_string());
        }
        line.extend_from_slice(text.trim_end_matches('Z').as_bytes());
    });
    let mut fraction = *b".000000Z";
    for digit in fraction[1..7].iter_mut().rev() {
        *digit += (micros % 10) as u8;
        micros /= 10;
    }
    line.extend_from_slice(&fraction);
}

/// Appends `,"name":value` for each field.
struct Fields<'l>(&'l mut Vec<u8>);

impl Fields<'_> {
    /// The name of a field is an identifier: nothing in it needs an escape.
    fn name(&mut self, field: &Field) -> Serializer<&mut Vec<u8>, CompactFormatter> {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(field.name().as_bytes());
        self.0.extend_from_slice(b"\":");
        Serializer::new(&mut *self.0)
    }
}

// Writing to a vector cannot fail.
impl Visit for Fields<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        let _ = self.name(field).serialize_u64(value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        let _ = self.name(field).serialize_i64(value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        let _ = self.name(field).serialize_bool(value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = self.name(field).serialize_str(value);
    }

    /// Addresses and the like need no escape: their text is written where it stays, and taken out again if it does need one.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = self.name(field);
        let begin = self.0.len();
        self.0.push(b'"');
        let _ = write!(self.0, "{value:?}");
        let text = &self.0[begin + 1..];
        let needs_escape = |byte: &u8| matches!(byte, 0..b' ' | b'"' | b'\\');
        if !text.iter().any(needs_escape) {
            self.0.push(b'"');
            return;
        }
        let text = String::from_utf8_lossy(text).into_owned();
        self.0.truncate(begin);
        let _ = Serializer::new(&mut *self.0).serialize_str(&text);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn the_time_has_microseconds_and_its_second_is_not_kept_too_long() {
        let text = |micros: u64| {
            let mut line = Vec::new();
            put_time(&mut line, UNIX_EPOCH + Duration::from_micros(micros));
            String::from_utf8(line).expect("text")
        };
        assert_eq!(text(1_796_026_542_000_123), "2026-11-30T08:15:42.000123Z");
        assert_eq!(text(1_796_026_542_999_999), "2026-11-30T08:15:42.999999Z");
        assert_eq!(text(1_796_026_543_000_000), "2026-11-30T08:15:43.000000Z");
        assert_eq!(text(0), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn an_event_is_a_line_of_json_with_the_fields_of_its_span() {
        let lines = Lines::default();
        let tracer = Tracer {
            lines: lines.clone(),
        };
        let subscriber = tracing_subscriber::registry().with(tracer);
        tracing::subscriber::with_default(subscriber, || {
            let hostile = "a\"b\\c\n\u{1}é";
            let span = tracing::info_span!("message", id = "a.0.1", spool = tracing::field::Empty);
            span.record("spool", 7);
            let absent: Option<u64> = None;
            tracing::info!(parent: &span, from = %hostile, to = hostile, queue = 5u64, absent, is = true, "led on");
            tracing::info!(less = -1, "alone");
        });
        let text = String::from_utf8(lines.take()).expect("JSON is text");
        let read: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let mut first = read[0].clone();
        let time = first["timestamp"].take();
        assert!(
            time.as_str().is_some_and(|time| time.ends_with('Z')),
            "{time}"
        );
        let hostile = "a\"b\\c\n\u{1}é";
        assert_eq!(
            first,
            json!({
                "timestamp": null, "message": "led on", "from": hostile, "to": hostile, "queue": 5, "is": true,
                "span": {"name": "message", "id": "a.0.1", "spool": 7},
            })
        );
        assert_eq!(
            (&read[1]["less"], &read[1]["span"]),
            (&json!(-1), &Value::Null)
        );
        assert_eq!(read.len(), 2);
    }
}
