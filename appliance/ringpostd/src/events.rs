//! Diagnostics: tracing to standard error, for people on a terminal and as JSON elsewhere. And the end of a panic.
//!
//! A zone's thread only formats its line. One thread of its own, on the housekeeping CPUs, writes what has gathered: a reader that is slow or
//! stands still costs lines (counted), never mail.

use std::io::IsTerminal;
use std::sync::Mutex;

use plan::Misfit;
use plan::settings::{Log, LogFormat};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// While it is held the writer runs; when it is dropped, what waits is written.
static WRITER: Mutex<Option<WorkerGuard>> = Mutex::new(None);

pub fn start(log: &Log) -> Result<(), Misfit> {
    let filter = EnvFilter::try_new(&log.level).map_err(|error| {
        Misfit::new(format!(
            "log level `{}`: {error}; write error, warn, info or debug",
            log.level
        ))
    })?;
    let terminal = std::io::stderr().is_terminal();
    let human = match log.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let (lines, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(crate::admin::limits::LOG_LINES_WAITING_MAX)
        .thread_name("log")
        .finish(crate::admin::logs::Kept::to_stderr());
    let counter = lines.error_counter();
    crate::admin::logs::counts_dropped(move || counter.dropped_lines() as u64);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines);
    let set = if human {
        builder.with_ansi(terminal).with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    set.map_err(|error| Misfit::new(format!("cannot log: {error}")))?;
    *WRITER.lock().expect("no holder of this lock panics") = Some(guard);
    Ok(())
}

/// Writes what is still waiting; nothing is logged any more.
pub fn finish() {
    drop(WRITER.lock().map(|mut writer| writer.take()));
}

/// A broken assertion ends the process: whatever is durable stays durable, and the next start sees to the rest. The one
/// exception is a parser's own guard against the world's bytes.
pub fn abort_on_panic() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        finish();
        std::process::abort();
    }));
}
