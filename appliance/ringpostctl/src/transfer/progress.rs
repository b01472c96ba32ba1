//! How far a transfer is: a bar with rate and time left where people look, and nothing where programs read.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) struct Progress {
    /// `None`: it is not shown.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// On standard error, where that is a terminal.
    pub(crate) fn new(json: bool) -> Progress {
        if json || !std::io::stderr().is_terminal() {
            return Progress { bar: None };
        }
        let style = ProgressStyle::with_template(TEMPLATE);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        Progress {
            bar: Some(ProgressBar::new(0).with_style(style)),
        }
    }

    /// A folder begins, or begins again.
    pub(crate) fn begin(&self, folder: &str, messages: u64) {
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_length(messages);
            bar.set_message(folder.to_owned());
        }
    }

    pub(crate) fn passed(&self, messages: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(messages);
        }
    }

    /// A line above the bar.
    pub(crate) fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("ringpostctl: {line}"),
        }
    }

    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

const TEMPLATE: &str = "{msg} {wide_bar} {pos}/{len} {per_sec}, {eta} left";
