//! Traces of messages, kept for weeks: what `ringpostctl trace` searches.
//!
//! Each event of `runtime::events::MESSAGE` becomes one line of JSON (`line`) in a file of the state directory (`days`); `search` reads the files.
//! A line goes through a bounded buffer (`lines`) to a thread of its own: a disk that is slow or full costs lines, which are counted, and never mail. So
//! the trace explains what happened and does not prove it: durable is what the queue and the mailboxes hold. A crash of the machine loses the
//! lines that the kernel had not written yet.

mod days;
mod line;
mod lines;
mod search;

use std::sync::{Mutex, OnceLock};
use std::thread::JoinHandle;

use runtime::events::MESSAGE;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

pub(crate) use days::keep;
pub(crate) use search::search;

use line::Tracer;
use lines::Lines;

/// Of the files, in the state directory.
pub(crate) const PLACE: &str = "trace";

static LINES: OnceLock<Lines> = OnceLock::new();
static WRITER: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);

/// The layer that writes them. What comes before `keep` is called goes nowhere.
pub(crate) fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let lines = LINES.get_or_init(Lines::default).clone();
    *WRITER.lock().expect("no holder of this lock panics") = lines.write_out();
    // The span `message` has the id.
    let is_wanted = filter_fn(|metadata| {
        metadata.target() == MESSAGE || metadata.is_span() && metadata.name() == "message"
    });
    Tracer { lines }.with_filter(is_wanted)
}

/// Lines that found no room, or could not be written, since start.
pub(crate) fn dropped() -> u64 {
    LINES.get().map_or(0, Lines::lost) + days::unwritten()
}

/// Writes what is still waiting.
pub(crate) fn finish() {
    let Some(lines) = LINES.get() else { return };
    lines.end();
    let writer = WRITER.lock().map(|mut writer| writer.take());
    if let Ok(Some(writer)) = writer {
        let _ = writer.join();
    }
}
