//! Diagnostics: tracing to standard error, for people on a terminal and as JSON elsewhere. And the end of a panic.

use std::io::IsTerminal;

use plan::Misfit;
use plan::settings::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

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
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| control::logs::Kept);
    let set = if human {
        builder.with_ansi(terminal).with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    set.map_err(|error| Misfit::new(format!("cannot log: {error}")))
}

/// A broken assertion ends the process: whatever is durable stays durable, and the next start sees to the rest. The one
/// exception is a parser's own guard against the world's bytes.
pub fn abort_on_panic() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        std::process::abort();
    }));
}
