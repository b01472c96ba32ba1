//! Whether the volume takes batches, and why not. `Stopped` is the end: no method leads out of it.

use std::collections::VecDeque;

use super::{Entry, Log};

/// Why nothing is taken while an opening goes on beside clients.
const TAKEN_OVER: &str = "the volume is being taken over";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    Running,
    /// Membership cannot be recorded just now: new commits are refused, those with an LSN wait.
    Deferring(String),
    /// Every counting leg refuses writes: new commits are refused, those with an LSN wait and are written again (`outage`).
    Outage(String),
    /// Acknowledged batches are missing: no writes until an operator accepts that.
    ReadOnly(String),
    /// Never again in this process.
    Stopped(String),
}

impl Mode {
    /// Why it takes nothing, if it does not.
    pub fn why(&self) -> Option<&str> {
        match self {
            Mode::Running => None,
            Mode::Deferring(why) | Mode::Outage(why) | Mode::ReadOnly(why) | Mode::Stopped(why) => {
                Some(why)
            }
        }
    }

    /// Why what waits will not become durable by waiting, if so. A witness that does not answer (`Deferring`) is waited for.
    pub fn why_hopeless(&self) -> Option<&str> {
        match self {
            Mode::Running | Mode::Deferring(_) => None,
            Mode::Outage(why) | Mode::ReadOnly(why) | Mode::Stopped(why) => Some(why),
        }
    }
}

impl Log {
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    pub fn is_running(&self) -> bool {
        self.mode == Mode::Running
    }

    pub fn is_stopped(&self) -> bool {
        matches!(self.mode, Mode::Stopped(_))
    }

    pub fn is_read_only(&self) -> bool {
        matches!(self.mode, Mode::ReadOnly(_))
    }

    pub fn is_outage(&self) -> bool {
        matches!(self.mode, Mode::Outage(_))
    }

    /// Batches are taken, or would be if the witness answered.
    pub fn takes_batches(&self) -> bool {
        matches!(self.mode, Mode::Running | Mode::Deferring(_))
    }

    /// Why an opening goes on beside clients, if one does.
    pub fn taken_over(&self) -> Option<&'static str> {
        (self.is_running() && self.table.is_opening()).then_some(TAKEN_OVER)
    }

    /// The witness names this owner: from here on it may write. `false`: the volume was stopped meanwhile.
    pub fn own(&mut self, epoch: u64, term: u64) -> bool {
        if self.is_stopped() {
            return false;
        }
        assert!(self.is_read_only() && self.pipeline.is_empty());
        assert!(
            epoch >= self.epoch && term > self.term,
            "I2: an owner comes after the one before"
        );
        (self.epoch, self.term, self.mode) = (epoch, term, Mode::Running);
        true
    }

    /// The opening found why the volume may only be read.
    pub fn stay_read_only(&mut self, why: String) {
        assert!(self.is_read_only() || self.is_stopped());
        if !self.is_stopped() {
            self.mode = Mode::ReadOnly(why);
        }
    }

    /// Damage was found while the volume ran. `false`: it takes nothing already.
    pub fn hold(&mut self, why: String) -> bool {
        if !self.is_running() {
            return false;
        }
        self.mode = Mode::ReadOnly(why);
        true
    }

    /// The operator accepted the damage that `hold` was for. `false`: the volume was stopped meanwhile.
    pub fn release(&mut self) -> bool {
        if !self.is_read_only() {
            return false;
        }
        self.mode = Mode::Running;
        true
    }

    /// The witness or every superblock ring refuses. `false`: the volume takes nothing already.
    pub fn defer(&mut self, why: &str) -> bool {
        if !self.is_running() {
            return false;
        }
        self.mode = Mode::Deferring(why.to_string());
        true
    }

    /// Witness and superblocks say what memory says. `false`: nothing was deferred.
    pub fn resume(&mut self) -> bool {
        if !matches!(self.mode, Mode::Deferring(_)) {
            return false;
        }
        self.mode = Mode::Running;
        true
    }

    /// Every counting leg refuses writes. `false`: the volume takes nothing already.
    pub fn begin_outage(&mut self, why: String) -> bool {
        if !self.takes_batches() {
            return false;
        }
        self.refused = false;
        self.mode = Mode::Outage(why);
        true
    }

    /// They still do. Not once the volume has stopped.
    pub fn outage_goes_on(&mut self, why: String) {
        if self.is_outage() {
            self.mode = Mode::Outage(why);
        }
    }

    /// A leg takes writes again; what landed meanwhile is to be judged like any other. `false`: the outage was over.
    pub fn end_outage(&mut self) -> bool {
        if !self.is_outage() {
            return false;
        }
        self.mode = Mode::Running;
        self.note_refused();
        true
    }

    /// Never again. Answers what waits for an acknowledgement that will not come; `None`: it had stopped before.
    pub fn stop(&mut self, why: &str) -> Option<VecDeque<Entry>> {
        if self.is_stopped() {
            return None;
        }
        if self.clean {
            tracing::info!(why, "the volume stops");
        } else {
            tracing::error!(why, "the volume stops");
        }
        self.mode = Mode::Stopped(why.to_string());
        (self.submitted, self.refused) = (0, false);
        Some(std::mem::take(&mut self.pipeline))
    }
}
