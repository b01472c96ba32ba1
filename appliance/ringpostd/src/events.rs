//! Diagnostics: tracing to standard error, for people on a terminal and as JSON elsewhere. And the end of a panic.
//!
//! A zone's thread only formats its line. One thread of its own, on the housekeeping CPUs, writes what has gathered: a reader that is slow or
//! stands still costs lines (counted), never mail.

use std::io::IsTerminal;
use std::sync::Mutex;

use plan::Misfit;
use plan::settings::{Log, LogFormat};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// While it is held the writer runs; when it is dropped, what waits is written.
static WRITER: Mutex<Option<WorkerGuard>> = Mutex::new(None);

pub fn start(log: &Log) -> Result<(), Misfit> {
    let filter = filter(&log.level)?;
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
    let layer = tracing_subscriber::fmt::layer().with_writer(lines);
    let layer = if human {
        layer.with_ansi(terminal).with_target(false).boxed()
    } else {
        layer.json().flatten_event(true).boxed()
    };
    let set = tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .with(crate::trace::layer())
        .try_init();
    set.map_err(|error| Misfit::new(format!("cannot log: {error}")))?;
    *WRITER.lock().expect("no holder of this lock panics") = Some(guard);
    Ok(())
}

/// A level, or levels by module (`info,smtp=debug`). Events here have no spans, so what tracing's larger filter adds, and its engine of regular
/// expressions, would be of no use.
fn filter(level: &str) -> Result<Targets, Misfit> {
    let wrong = |why: &dyn std::fmt::Display| {
        Misfit::new(format!(
            "log level `{level}`: {why}; write error, warn, info or debug"
        ))
    };
    // A word alone would be taken for a module, of which everything is then logged.
    let is_level = |word: &&str| {
        let word = word.trim();
        word.contains('=') || !word.is_empty() && word.parse::<LevelFilter>().is_ok()
    };
    if let Some(word) = level.split(',').find(|word| !is_level(word)) {
        return Err(wrong(&format_args!("`{word}` is not a level")));
    }
    level.parse().map_err(|error: ParseError| wrong(&error))
}

/// Writes what is still waiting; nothing is logged any more.
pub fn finish() {
    drop(WRITER.lock().map(|mut writer| writer.take()));
    crate::trace::finish();
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

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels_and_levels_by_module_are_taken_and_other_words_are_not() {
        let some = filter("info,smtp=debug").unwrap();
        assert!(some.would_enable("smtp::session", &Level::DEBUG));
        assert!(some.would_enable("volume", &Level::INFO));
        assert!(!some.would_enable("volume", &Level::DEBUG));
        assert!(filter("off").is_ok() && filter("ERROR").is_ok());
        for wrong in ["loud", "", "info,", "info,smtp=loud", "info,loud"] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
        let told = filter("loud").unwrap_err().0;
        assert!(told.contains("`loud` is not a level"), "{told}");
    }
}
