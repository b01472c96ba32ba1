//! Traces of messages, kept for weeks: what `ringpostctl trace` searches.
//!
//! Each event of `runtime::events::MESSAGE` becomes one line of JSON in a file of the state directory (`days`); `search` reads the files.
//! A line goes through a bounded channel to a thread of its own: a disk that is slow or full costs lines, which are counted, and never mail. So
//! the trace explains what happened and does not prove it: durable is what the queue and the mailboxes hold. A crash of the machine loses the
//! lines that the kernel had not written yet.

mod days;
mod search;

use std::sync::{Mutex, OnceLock};

use runtime::events::MESSAGE;
use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

pub(crate) use days::keep;
pub(crate) use search::search;

use crate::admin::limits::TRACE_LINES_WAITING_MAX;

/// Of the files, in the state directory.
pub(crate) const PLACE: &str = "trace";

static WRITER: Mutex<Option<WorkerGuard>> = Mutex::new(None);
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// The layer that writes them. What comes before `keep` is called goes nowhere.
pub(crate) fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let (lines, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(TRACE_LINES_WAITING_MAX)
        .thread_name("trace")
        .finish(days::Writer);
    let _ = DROPPED.set(lines.error_counter());
    *WRITER.lock().expect("no holder of this lock panics") = Some(guard);
    // The span `message` has the id.
    let is_wanted = filter_fn(|metadata| {
        metadata.target() == MESSAGE || metadata.is_span() && metadata.name() == "message"
    });
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_level(false)
        .with_target(false)
        .with_span_list(false)
        .with_writer(lines)
        .with_filter(is_wanted)
}

/// Lines that found no room, or could not be written, since start.
pub(crate) fn dropped() -> u64 {
    let waiting = DROPPED
        .get()
        .map_or(0, |count| count.dropped_lines() as u64);
    waiting + days::unwritten()
}

/// Writes what is still waiting.
pub(crate) fn finish() {
    drop(WRITER.lock().map(|mut writer| writer.take()));
}
