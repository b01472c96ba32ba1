//! The actions of a run, and the rules that hold between them (RFC 5228 §2.10, RFC 5429 §2.4, RFC 5230 §4.7).

use mail::Flags;

use crate::flags;
use crate::limits::{ACTIONS_COUNT_MAX, NOTIFICATIONS_COUNT_MAX, REDIRECTS_COUNT_MAX};
use crate::outcome::{Action, Edition, Target};

use super::Halt;

const REJECTED: &str = "A message that is rejected cannot be filed, sent or answered too";

#[derive(Debug)]
pub(super) struct Ledger {
    /// In the order in which scripts asked for them.
    pub actions: Vec<Action>,
    /// No action said yet where the message goes (RFC 5228 §2.10.2).
    keeps_implicitly: bool,
    /// For `reject`, which cannot stand beside it.
    is_discarded: bool,
    /// Which of the scripts runs now, and which of them replied.
    pub script_index: usize,
    /// By its number, whether or not a reply went out.
    replied: Option<usize>,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger {
            actions: Vec::new(),
            keeps_implicitly: true,
            is_discarded: false,
            script_index: 0,
            replied: None,
        }
    }
}

impl Ledger {
    /// Between two scripts: whether the next one decides. A keep becomes implicit again, and its flags go on in `list`.
    pub fn reopen(&mut self, list: &mut Vec<String>) -> bool {
        let keep = self
            .actions
            .iter()
            .position(|action| matches!(action, Action::Keep { .. }));
        if let Some(index) = keep
            && let Action::Keep { flags, .. } = self.actions.remove(index)
        {
            flags::add_flags(list, &flags);
            self.keeps_implicitly = true;
        }
        self.keeps_implicitly
    }

    /// RFC 5228 §4.4: it only ends the implicit keep; what other actions do with the message stays.
    pub fn discard(&mut self) -> Result<(), Halt> {
        self.check_rejected()?;
        self.is_discarded = true;
        self.keeps_implicitly = false;
        Ok(())
    }

    /// A keep that a script asked for.
    pub fn keep(&mut self, flags: Flags, edition: Edition) -> Result<(), Halt> {
        self.check_rejected()?;
        self.keeps_implicitly = false;
        self.put_into_inbox(flags, edition, false)
    }

    /// At the end of all scripts.
    pub fn keep_implicitly(&mut self, flags: Flags, edition: Edition) -> Result<(), Halt> {
        match self.keeps_implicitly {
            true => self.put_into_inbox(flags, edition, true),
            false => Ok(()),
        }
    }

    /// Whether the message would be kept if the scripts ended here.
    pub fn keeps_implicitly(&self) -> bool {
        self.keeps_implicitly
    }

    /// RFC 5228 §2.10.3: one message is filed in a mailbox once.
    fn put_into_inbox(
        &mut self,
        flags: Flags,
        edition: Edition,
        implicit: bool,
    ) -> Result<(), Halt> {
        for action in &mut self.actions {
            match action {
                Action::Keep { flags: there, .. } => {
                    *there = there.with(&flags);
                    return Ok(());
                }
                Action::FileInto { target, .. } if is_inbox(target) => {
                    target.flags = target.flags.with(&flags);
                    return Ok(());
                }
                _ => {}
            }
        }
        let keep = Action::Keep {
            flags,
            edition,
            implicit,
        };
        match implicit {
            // It is not refused for others before it.
            true => self.actions.push(keep),
            false => self.push(keep)?,
        }
        Ok(())
    }

    pub fn file_into(
        &mut self,
        target: Target,
        edition: Edition,
        copies: bool,
    ) -> Result<(), Halt> {
        self.check_rejected()?;
        self.keeps_implicitly &= copies;
        for action in &mut self.actions {
            match action {
                Action::FileInto { target: there, .. } if same_place(there, &target) => {
                    there.flags = there.flags.with(&target.flags);
                    there.create |= target.create;
                    return Ok(());
                }
                Action::Keep { flags, .. } if is_inbox(&target) => {
                    *flags = flags.with(&target.flags);
                    return Ok(());
                }
                _ => {}
            }
        }
        self.push(Action::FileInto { target, edition })
    }

    /// RFC 5228 §4.2: to the same address once, without regard to case.
    pub fn redirect(
        &mut self,
        address: mail::Address,
        edition: Edition,
        copies: bool,
    ) -> Result<(), Halt> {
        self.check_rejected()?;
        self.keeps_implicitly &= copies;
        let mut count = 0;
        for action in &self.actions {
            if let Action::Redirect { address: other, .. } = action {
                count += 1;
                if other.key() == address.key() {
                    return Ok(());
                }
            }
        }
        if count == REDIRECTS_COUNT_MAX {
            let text =
                format!("A message is redirected to at most {REDIRECTS_COUNT_MAX} addresses");
            return Err(Halt::failure(text));
        }
        self.push(Action::Redirect { address, edition })
    }

    /// RFC 5429 §2.4: nothing else can happen to a message that is rejected. A notification does nothing with it and may go out (RFC 5435 §7).
    pub fn reject(&mut self, reason: String, extended: bool, by_message: bool) -> Result<(), Halt> {
        self.check_rejected()?;
        let is_other = |action: &Action| !matches!(action, Action::Notify(_));
        if self.is_discarded || self.replied.is_some() || self.actions.iter().any(is_other) {
            return Err(Halt::failure(REJECTED));
        }
        self.keeps_implicitly = false;
        self.push(Action::Reject {
            reason,
            extended,
            by_message,
        })
    }

    /// RFC 5230 §4.7: once in a script. Of several scripts the first one replies. Says whether it may; `note_reply` counts it.
    pub fn may_reply(&mut self) -> Result<bool, Halt> {
        self.check_rejected()?;
        match self.replied {
            Some(index) if index == self.script_index => {
                Err(Halt::failure("A message gets one \"vacation\" reply"))
            }
            Some(_) => Ok(false),
            None => {
                self.replied = Some(self.script_index);
                Ok(true)
            }
        }
    }

    /// Several may go out, to different addresses, and beside any other action (RFC 5435 §7).
    pub fn notify(&mut self, notification: crate::outcome::Notification) -> Result<(), Halt> {
        let is_one = |action: &&Action| matches!(action, Action::Notify(_));
        if self.actions.iter().filter(is_one).count() == NOTIFICATIONS_COUNT_MAX {
            let text = format!("A message causes at most {NOTIFICATIONS_COUNT_MAX} notifications");
            return Err(Halt::failure(text));
        }
        self.push(Action::Notify(Box::new(notification)))
    }

    /// RFC 5228 §2.10.4.
    pub fn push(&mut self, action: Action) -> Result<(), Halt> {
        if self.actions.len() == ACTIONS_COUNT_MAX {
            let text = format!("A message causes at most {ACTIONS_COUNT_MAX} actions");
            return Err(Halt::failure(text));
        }
        self.actions.push(action);
        Ok(())
    }

    /// Asked by every action that says what else is to happen.
    fn check_rejected(&self) -> Result<(), Halt> {
        let is_one = |action: &Action| matches!(action, Action::Reject { .. });
        match self.actions.iter().any(is_one) {
            true => Err(Halt::failure(REJECTED)),
            false => Ok(()),
        }
    }
}

/// INBOX by its name, in any case (RFC 9051 §5.1).
fn is_inbox(target: &Target) -> bool {
    target.id.is_none()
        && target.special_use.is_none()
        && target.mailbox.eq_ignore_ascii_case("INBOX")
}

fn same_place(one: &Target, other: &Target) -> bool {
    one.id == other.id
        && one.special_use == other.special_use
        && (one.mailbox == other.mailbox || (is_inbox(one) && is_inbox(other)))
}
