//! Whether the volume takes batches, and why not.

/// Why nothing is taken while an opening goes on beside clients.
pub(crate) const TAKEN_OVER: &str = "the volume is being taken over";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    Running,
    /// Membership cannot be recorded just now: new commits are refused, those with an LSN wait.
    Deferring(String),
    /// Every counting leg refuses writes: new commits are refused, those with an LSN wait and are written again (`outage`).
    Outage(String),
    /// Acknowledged batches are missing: no writes until somebody accepts that.
    ReadOnly(String),
    /// Never again in this process.
    Stopped(String),
}
