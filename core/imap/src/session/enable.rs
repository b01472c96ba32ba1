//! ENABLE (RFC 5161), and what UIDONLY forbids from then on.

use crate::command::{Body, Command};
use crate::respond::{Status, put_reply, put_untagged};

use super::{Event, Session, State};

impl Session {
    /// ENABLE. What was enabled stays enabled until the connection ends.
    /// With a mailbox open the caller answers it once CONDSTORE is newly enabled: it knows HIGHESTMODSEQ (RFC 7162 §3.1).
    pub(super) fn on_enable(
        &mut self,
        tag: Box<str>,
        capabilities: Vec<Box<str>>,
        out: &mut Vec<u8>,
    ) -> Option<Event> {
        let before = self.condstore;
        // RFC 5161 §3.1: what cannot be enabled is passed over in silence.
        let mut enabled = String::new();
        for capability in &capabilities {
            if self.hiding.hides(capability) {
                continue;
            }
            let slot = match &capability[..] {
                "IMAP4REV2" => &mut self.rev2,
                "UTF8=ACCEPT" => &mut self.utf8,
                "CONDSTORE" => &mut self.condstore,
                "QRESYNC" => &mut self.qresync,
                "UIDONLY" => &mut self.uid_only,
                _ => continue,
            };
            if !std::mem::replace(slot, true) {
                enabled.push(' ');
                enabled.push_str(capability);
            }
        }
        // RFC 7162 §3.2.3.
        self.condstore |= self.qresync;
        put_untagged(out, &format!("ENABLED{enabled}"));
        if self.condstore && !before && matches!(self.state, State::Selected { .. }) {
            let body = Body::Enable(capabilities);
            return Some(Event::Perform {
                command: Command { tag, body },
                bytes: Vec::new(),
            });
        }
        put_reply(out, &tag, Status::Ok, "", "Enable completed");
        None
    }

    /// ENABLE UIDONLY was given: no message number is said or taken any more.
    pub fn is_uid_only(&self) -> bool {
        self.uid_only
    }
}

/// Whether a command has message numbers, or would be answered with them (RFC 9586 §3). `$` in a UID command stands for UIDs.
pub(super) fn names_numbers(body: &Body) -> bool {
    match body {
        Body::Fetch { uid, .. }
        | Body::Store { uid, .. }
        | Body::Copy { uid, .. }
        | Body::Move { uid, .. }
        | Body::Replace { uid, .. } => !uid,
        Body::Search(request) => !request.uid || request.key.names_numbers(),
        Body::Sort(request) => !request.search.uid || request.search.key.names_numbers(),
        Body::Thread(request) => !request.uid || request.key.names_numbers(),
        // RFC 9586 §3.7: the numbers that a client remembers.
        Body::Select { resync, .. } => resync
            .as_ref()
            .is_some_and(|resync| resync.matches.is_some()),
        _ => false,
    }
}
