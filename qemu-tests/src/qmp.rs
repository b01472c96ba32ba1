//! QEMU's machine protocol: one JSON object per line, commands one at a time, events whenever they like.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::failure::{Doing, Failure, Told};
use crate::limits::{QMP_LINE_BYTES_MAX, QMP_WITHIN};

/// What QEMU says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    Greeting,
    Return(Value),
    /// The error's class and sentence.
    Error(String, String),
    Event(Event),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

/// One line. `Err` says what is wrong with it.
pub fn parse(line: &str) -> Result<Said, String> {
    let value: Value =
        serde_json::from_str(line).map_err(|error| format!("QMP says no JSON: {error}"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if value.get("QMP").is_some() {
        Ok(Said::Greeting)
    } else if let Some(name) = value.get("event") {
        Ok(Said::Event(Event {
            name: text(name),
            data: value["data"].clone(),
        }))
    } else if let Some(error) = value.get("error") {
        Ok(Said::Error(text(&error["class"]), text(&error["desc"])))
    } else if let Some(value) = value.get("return") {
        Ok(Said::Return(value.clone()))
    } else {
        Err(format!("QMP sends an unknown message: {line}"))
    }
}

/// A connection past its greeting. Dropping it leaves QEMU running.
pub struct Qmp {
    stream: UnixStream,
    answers: Receiver<Said>,
    events: Arc<(Mutex<Vec<Event>>, Condvar)>,
}

impl Qmp {
    /// Connects and agrees on capabilities.
    pub fn connect(socket: &Path) -> Told<Qmp> {
        let stream = UnixStream::connect(socket).doing("connecting to QMP")?;
        let reader = stream.try_clone().doing("connecting to QMP")?;
        let (answer, answers) = channel();
        let events = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let noted = events.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            loop {
                // until QEMU is gone
                let mut line = String::new();
                let read = (&mut reader)
                    .take(QMP_LINE_BYTES_MAX as u64)
                    .read_line(&mut line);
                if !read.is_ok_and(|count| count > 0) {
                    return;
                }
                match parse(&line) {
                    Ok(Said::Event(event)) => {
                        let (events, news) = &*noted;
                        events.lock().expect("no reader panics").push(event);
                        news.notify_all();
                    }
                    Ok(said) => {
                        if answer.send(said).is_err() {
                            return;
                        }
                    }
                    Err(wrong) => eprintln!("{wrong}"),
                }
            }
        });
        let mut qmp = Qmp {
            stream,
            answers,
            events,
        };
        match qmp.answer()? {
            Said::Greeting => {}
            other => return Err(Failure::new(format!("QMP greets with {other:?}"))),
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// One command; what it returns, or QEMU's own sentence.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Told<Value> {
        let line = json!({"execute": command, "arguments": arguments});
        writeln!(self.stream, "{line}").doing(command)?;
        match self.answer().map_err(|failure| failure.during(command))? {
            Said::Return(value) => Ok(value),
            Said::Error(class, sentence) => {
                Err(Failure::new(format!("QMP {command}: {sentence} ({class})")))
            }
            other => Err(Failure::new(format!("QMP {command}: {other:?}"))),
        }
    }

    fn answer(&self) -> Told<Said> {
        self.answers
            .recv_timeout(QMP_WITHIN)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => Failure::new("QEMU does not answer on QMP"),
                RecvTimeoutError::Disconnected => Failure::new("QEMU is gone"),
            })
    }

    /// How many events there were so far: `wait_event` looks at those after it.
    pub fn mark(&self) -> usize {
        self.events.0.lock().expect("no reader panics").len()
    }

    /// Waits for an event called `name` that `fits`, at or after `mark`.
    pub fn wait_event(
        &self,
        mark: usize,
        name: &str,
        fits: impl Fn(&Value) -> bool,
        within: Duration,
    ) -> Told<Event> {
        let end = Instant::now() + within;
        let (events, news) = &*self.events;
        let mut events = events.lock().expect("no reader panics");
        loop {
            // until it comes or `end`
            let found = events
                .iter()
                .skip(mark)
                .find(|event| event.name == name && fits(&event.data));
            if let Some(event) = found {
                return Ok(event.clone());
            }
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                return Err(Failure::new(format!(
                    "QEMU did not say {name} within {} s",
                    within.as_secs()
                )));
            };
            events = news.wait_timeout(events, left).expect("no reader panics").0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_kinds_of_lines_are_told_apart() {
        assert_eq!(
            parse(r#"{"QMP": {"version": {}, "capabilities": ["oob"]}}"#),
            Ok(Said::Greeting)
        );
        assert_eq!(
            parse(r#"{"return": {"a": 1}}"#),
            Ok(Said::Return(json!({"a": 1})))
        );
        assert_eq!(
            parse(r#"{"error": {"class": "DeviceNotFound", "desc": "no leg-c"}}"#),
            Ok(Said::Error("DeviceNotFound".into(), "no leg-c".into()))
        );
        assert_eq!(
            parse(
                r#"{"timestamp": {"seconds": 1}, "event": "DEVICE_DELETED", "data": {"device": "leg-a"}}"#
            ),
            Ok(Said::Event(Event {
                name: "DEVICE_DELETED".into(),
                data: json!({"device": "leg-a"})
            }))
        );
        assert_eq!(
            parse(r#"{"event": "STOP"}"#),
            Ok(Said::Event(Event {
                name: "STOP".into(),
                data: Value::Null
            }))
        );
    }

    #[test]
    fn what_is_no_qmp_is_said_so() {
        for line in ["", "hello", "{}", "[1]", r#"{"id": 3}"#] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
