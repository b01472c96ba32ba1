//! Scripts that run because an IMAP client did something with a message (RFC 6785): what they see of it, and what they may not do.

use crate::flags;

use super::{Halt, Run};

impl Run<'_> {
    /// The internal variable of `imap4flags` begins as the message is: a script that only adds a flag leaves the others.
    pub(super) fn begin_with_flags(&mut self) {
        if let Some(event) = self.environment.event {
            flags::add_flags(&mut self.flags, event.flags);
        }
    }

    /// An item behind `imap.`. At a delivery there is none of them.
    pub(super) fn event_item(&self, name: &str) -> Option<&str> {
        let event = self.environment.event.as_ref()?;
        Some(match name {
            "user" => event.user,
            "email" => event.email,
            "cause" => event.cause,
            "mailbox" => event.mailbox,
            "changedflags" => event.changed_flags,
            _ => return None,
        })
    }

    /// For what only makes sense while a message arrives: its sender has had the answer long ago, and a second one about a message that was moved
    /// between two folders would be wrong.
    pub(super) fn check_arriving(&self, what: &str) -> Result<(), Halt> {
        match self.environment.event {
            None => Ok(()),
            Some(_) => {
                let text = format!("A message that is in a mailbox already cannot be {what}");
                Err(Halt::failure(text))
            }
        }
    }
}
