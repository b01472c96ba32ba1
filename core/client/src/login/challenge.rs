//! A challenge of SCRAM that a client has not answered yet.
//!
//! A challenge costs nothing, and each of them is a guess that may be under way. So it holds a place in the table of failures (`Attempts::challenge`) until it is settled or
//! dropped: many at once wait as many one after another do. And a client that has seen our signature knows that its password is right, whether it ends the exchange or leaves:
//! a challenge that is dropped then is a line of the audit, and so is one whose proof was bound to another connection.

use std::sync::Arc;

use runtime::SessionHost;
use sasl::scram::Fate;

use super::attempts::Open;
use super::audit::{Entry, From, Outcome, Sink};

/// Kept by a session between `Logins::keys` and `Logins::proved`.
pub struct Challenge {
    pub(super) fate: Arc<Fate>,
    pub(super) open: Open,
    pub(super) audit: Option<Arc<Sink>>,
    pub(super) host: SessionHost,
    pub(super) from: From,
    /// As the audit may have it.
    pub(super) name: Option<String>,
    pub(super) is_settled: bool,
}

impl Challenge {
    /// `proved` has come: it reports what there is to report.
    pub(super) fn settle(&mut self) {
        self.is_settled = true;
    }
}

impl Drop for Challenge {
    fn drop(&mut self) {
        let outcome = match () {
            () if self.is_settled => return,
            () if self.fate.is_right() => Outcome::Left,
            () if self.fate.is_forged() => {
                self.open.failed(self.host.now());
                Outcome::Binding
            }
            () => return,
        };
        let Some(sink) = &self.audit else { return };
        sink(&Entry {
            unix_seconds: self.host.unix_seconds(),
            from: &self.from,
            name: self.name.as_deref(),
            app: None,
            outcome,
            what: None,
        });
    }
}
