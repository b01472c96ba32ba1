//! Updates of the image: what passes between the daemon, which may not write to the ESP, and `ringpost-update serve`, which may.
//!
//! The updater takes only the source's name from a request: the image's signature decides.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exchange::Exchange;
use crate::limits::UPDATE_EXCHANGE_BYTES_MAX;

/// Made with the daemon's runtime directory.
pub const EXCHANGE: &str = "/run/ringpost/update";

/// The two files in `directory`.
pub fn exchange(directory: &Path) -> Exchange<'_> {
    Exchange {
        directory,
        bytes_max: UPDATE_EXCHANGE_BYTES_MAX,
    }
}

/// Hands `request` to the updater and waits for what becomes of it, at most `within`. `Err`: one sentence.
pub fn ask(directory: &Path, request: &Request, within: Duration) -> Result<Outcome, String> {
    let is_over = |outcome: &Outcome| !matches!(outcome, Outcome::Running { .. });
    let answer = exchange(directory).ask(request, within, is_over)?;
    answer.ok_or_else(|| {
        format!(
            "ringpost-update.service has not answered for {} s: `update status` shows whether it was installed",
            within.as_secs()
        )
    })
}

/// What is asked of the updater.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verb", deny_unknown_fields)]
pub enum Request {
    /// A path or URL of an image, with its signature beside it.
    Apply {
        source: String,
        /// Boots that the new version gets before it is given up; `None`: `limits::TRIES`.
        #[serde(default)]
        tries: Option<u32>,
    },
    Rollback,
    Status,
    /// Every system disk is made to hold the same, now.
    Sync,
    /// A blank disk becomes a system disk.
    AddDisk {
        path: String,
    },
}

/// What became of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", deny_unknown_fields)]
pub enum Outcome {
    Running {
        done: u64,
        total: Option<u64>,
    },
    Done {
        version: String,
        next: String,
    },
    /// What `ringpost-update status --json` prints.
    Slots {
        status: serde_json::Value,
    },
    Refused {
        reason: String,
    },
}
