//! Which command is allowed in which state (RFC 9051 §3).

use super::enable::names_numbers;
use super::{Session, State};
use crate::command::{Body, Command};
use crate::respond::Status;

/// The least state that a command needs (RFC 9051 §6).
enum Needs {
    /// Allowed before a login.
    NoLogin,
    /// Allowed after a login.
    Login,
    /// Allowed while a mailbox is open.
    Mailbox,
    /// Allowed while a mailbox is open for writing.
    WritableMailbox,
}

impl Session {
    /// RFC 9051 §3 and §6: may this command be used now?
    pub(super) fn admit(
        &self,
        command: &Command,
    ) -> Result<(), (Status, &'static str, &'static str)> {
        use Body as B;
        let needs = match &command.body {
            B::Capability | B::Noop | B::Logout | B::Id(_) => return Ok(()),
            B::StartTls | B::Authenticate { .. } | B::Login { .. } => Needs::NoLogin,
            B::Enable(_)
            | B::Namespace
            | B::Select { .. }
            | B::Create { .. }
            | B::Delete(_)
            | B::Rename { .. }
            | B::Subscribe(_)
            | B::Unsubscribe(_)
            | B::List(_)
            | B::Lsub { .. }
            | B::Status { .. }
            | B::Append { .. }
            | B::AppendMany { .. }
            | B::Compress
            | B::GetQuota(_)
            | B::GetQuotaRoot(_)
            | B::SetQuota { .. }
            | B::Unauthenticate
            | B::Acl(_)
            | B::Metadata(_)
            | B::Notify(_)
            | B::Idle => Needs::Login,
            B::Check | B::Close | B::Unselect | B::Search(_) | B::Fetch { .. } | B::Copy { .. } => {
                Needs::Mailbox
            }
            B::Sort(_) | B::Thread(_) | B::UidBatches { .. } => Needs::Mailbox,
            B::Expunge { .. } | B::Store { .. } | B::Move { .. } | B::Replace { .. } => {
                Needs::WritableMailbox
            }
        };
        // RFC 7162 §3.2.3.
        let resyncs = match &command.body {
            B::Select { resync, .. } => resync.is_some(),
            B::Fetch { since, .. } => since.is_some_and(|since| since.vanished),
            _ => false,
        };
        match (needs, self.state) {
            (_, State::Logout) => Err((Status::Bad, "", "Already logged out")),
            (Needs::NoLogin, State::NotAuthenticated) => Ok(()),
            (Needs::NoLogin, _) => Err((Status::Bad, "", "Already logged in")),
            (_, State::NotAuthenticated) => Err((Status::Bad, "", "Log in first")),
            _ if resyncs && !self.qresync => Err((Status::Bad, "", "ENABLE QRESYNC first")),
            _ if self.uid_only && names_numbers(&command.body) => Err((
                Status::Bad,
                "UIDREQUIRED",
                "Message numbers are not allowed after ENABLE UIDONLY",
            )),
            (Needs::Login, _) => Ok(()),
            (_, State::Authenticated) => Err((Status::Bad, "", "Select a mailbox first")),
            (Needs::WritableMailbox, State::Selected { read_only: true }) => {
                Err((Status::No, "", "Mailbox is read-only"))
            }
            (_, State::Selected { .. }) => Ok(()),
        }
    }
}
