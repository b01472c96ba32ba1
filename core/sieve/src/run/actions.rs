//! Commands that act. None of them does anything: each leaves an entry in the ledger, a variable, or an edited header.

use mail::{Address, Flags};

use crate::addresses;
use crate::encode;
use crate::flags;
use crate::limits::REASON_BYTES_MAX;
use crate::notify::mailto;
use crate::outcome::{Edition, Notification, Target};
use crate::position::quoted;
use crate::program::{Action, Filing, FlagChange, Notify, Strings};
use crate::template::{Slot, Template};

use super::{Frame, Halt, Run};

impl Run<'_> {
    /// Commands that do not change which one is next.
    // The order of entries is kept, because two actions may be refused together: `reject` beside `fileinto` is an error of the script
    // (RFC 5429 §2.4), and it is the ledger that sees both.
    pub(super) fn perform(&mut self, frame: &mut Frame<'_>, action: &Action) -> Result<(), Halt> {
        match action {
            Action::Discard => self.ledger.discard(),
            Action::Keep(flags) => {
                let flags = self.flags_of(frame, flags.as_ref())?;
                let edition = self.edition()?;
                self.ledger.keep(flags, edition)
            }
            Action::FileInto(filing) => {
                let target = self.target(frame, filing)?;
                let edition = self.edition()?;
                self.ledger.file_into(target, edition, filing.copies)
            }
            // The address is the script's, not the sender's: whether it leads in a circle is for the delivery, which sees the trace fields.
            Action::Redirect { address, copies } => {
                let address = self.address(frame, address)?;
                let edition = self.edition()?;
                self.ledger.redirect(address, edition, *copies)
            }
            Action::Reject { reason, extended } => {
                self.check_arriving("rejected")?;
                let reason = self.text(frame, reason)?;
                let end = reason.floor_char_boundary(REASON_BYTES_MAX);
                let reason = reason[..end].to_owned();
                // Refusing in the dialogue is the delivery's first choice. Where that is not possible any more a message would answer, and only
                // if the sender is one that may be answered at all.
                let by_message = self.answerable(&self.own_addresses())?.is_some();
                self.ledger.reject(reason, *extended, by_message)
            }
            Action::Set {
                slot,
                modifiers,
                value,
            } => {
                let value = self.text(frame, value)?;
                let value = self.modified(value, modifiers)?;
                self.set_variable(frame, *slot, value)
            }
            Action::Flags {
                change,
                variable,
                flags,
            } => self.change_flags(frame, *change, *variable, flags),
            Action::Vacation(vacation) => {
                self.check_arriving("answered by \"vacation\"")?;
                self.vacation(frame, vacation)
            }
            Action::Notify(notify) => self.notify(frame, notify),
            Action::AddHeader { name, value, last } => self.add_header(frame, name, value, *last),
            Action::DeleteHeader(deletion) => self.delete_header(frame, deletion),
            Action::Error(message) => {
                let message = self.text(frame, message)?;
                Err(Halt::failure(format!(
                    "The script says {}",
                    quoted(&message)
                )))
            }
            Action::Unsupported(text) => Err(Halt::failure(&**text)),
            // These are the caller's.
            Action::If(..) | Action::Stop | Action::Return | Action::Include { .. } => Ok(()),
        }
    }

    /// What is left when all scripts have ended.
    pub(super) fn keep_implicitly(&mut self) -> Result<(), Halt> {
        if !self.ledger.keeps_implicitly() {
            return Ok(());
        }
        let edition = self.edition()?;
        self.ledger
            .keep_implicitly(flags::flags(&self.flags), edition)
    }

    /// The header as it is now.
    fn edition(&mut self) -> Result<Edition, Halt> {
        match self.view.edition() {
            Some(number) => Ok(Edition(number)),
            None => Err(Halt::failure(
                "The header is edited between too many actions",
            )),
        }
    }

    /// Those that a command names, or the internal variable's (RFC 5232 §5).
    fn flags_of(&self, frame: &Frame<'_>, named: Option<&Strings>) -> Result<Flags, Halt> {
        // Without `:flags` the internal variable counts, as `addflag` left it: the way scripts were written before the tag was there.
        let Some(named) = named else {
            return Ok(flags::flags(&self.flags));
        };
        let mut list = Vec::new();
        for text in self.texts(frame, named)? {
            self.spend(flags::steps(&text))?;
            flags::add(&mut list, &text);
        }
        Ok(flags::flags(&list))
    }

    /// RFC 5228 §4.1. Whether there is such a mailbox is for the delivery to find, which also knows what to do if not.
    pub(super) fn target(&self, frame: &Frame<'_>, filing: &Filing) -> Result<Target, Halt> {
        let mailbox = self.text(frame, &filing.mailbox)?;
        if mailbox.is_empty() || mailbox.chars().any(char::is_control) {
            let text = format!("{} is not the name of a mailbox", quoted(&mailbox));
            return Err(Halt::failure(text));
        }
        let owned = |text: Option<std::borrow::Cow<'_, str>>| text.map(|text| text.into_owned());
        Ok(Target {
            mailbox: mailbox.into_owned(),
            id: owned(self.optional_text(frame, &filing.id)?),
            special_use: owned(self.optional_text(frame, &filing.special_use)?),
            create: filing.create,
            flags: self.flags_of(frame, filing.flags.as_ref())?,
        })
    }

    /// An address alone, for an envelope.
    fn address(&self, frame: &Frame<'_>, template: &Template) -> Result<Address, Halt> {
        let text = self.text(frame, template)?;
        let address = match text.contains([' ', '<', '>', ',']) {
            true => None,
            false => Address::from_path(&text),
        };
        address.ok_or_else(|| Halt::failure(format!("{} is not an address", quoted(&text))))
    }

    /// RFC 5232 §3.
    fn change_flags(
        &mut self,
        frame: &mut Frame<'_>,
        change: FlagChange,
        variable: Option<Slot>,
        named: &Strings,
    ) -> Result<(), Halt> {
        let mut list = match (change, variable) {
            (FlagChange::Set, _) => Vec::new(),
            (_, None) => std::mem::take(&mut self.flags),
            (_, Some(slot)) => {
                let mut list = Vec::new();
                flags::add(&mut list, self.variable(frame, slot));
                list
            }
        };
        for text in self.texts(frame, named)? {
            self.spend(flags::steps(&text))?;
            match change {
                FlagChange::Remove => flags::remove(&mut list, &text),
                FlagChange::Set | FlagChange::Add => flags::add(&mut list, &text),
            }
        }
        match variable {
            None => self.flags = list,
            Some(slot) => self.set_variable(frame, slot, list.join(" "))?,
        }
        Ok(())
    }

    /// The From field of what a script sends.
    pub(super) fn sender(
        &self,
        frame: &Frame<'_>,
        from: &Option<Template>,
        otherwise: &str,
    ) -> Result<String, Halt> {
        let Some(text) = self.optional_text(frame, from)? else {
            return Ok(otherwise.to_owned());
        };
        if addresses::single(&text).is_none() {
            return Err(Halt::failure(format!(
                "{} is not an address",
                quoted(&text)
            )));
        }
        // A name in other letters is encoded; an address stays as it is.
        Ok(match text.rsplit_once('<') {
            Some((name, address)) if !text.is_ascii() || encode::has_long_word(&text) => {
                let name = encode::ascii(name.trim().trim_matches('"'));
                format!("{name} <{address}")
            }
            _ => text.into_owned(),
        })
    }

    /// RFC 5436 §2. The notification is checked before its loop rule is, so that a mistake is an error for every message.
    fn notify(&mut self, frame: &Frame<'_>, notify: &Notify) -> Result<(), Halt> {
        let method = self.text(frame, &notify.method)?;
        self.spend_bytes(method.len())?;
        let Some(found) = mailto(&method) else {
            let text = format!("{} is not a way to send a notification", quoted(&method));
            return Err(Halt::failure(text));
        };
        let importance = match self.optional_text(frame, &notify.importance)?.as_deref() {
            None | Some("2") => 2,
            Some("1") => 1,
            Some("3") => 3,
            Some(other) => {
                let text = format!("{} is not an importance; write 1, 2 or 3", quoted(other));
                return Err(Halt::failure(text));
            }
        };
        let message = self.optional_text(frame, &notify.message)?;
        // Made up also where the loop rule drops it: the subject and that rule look through the fields.
        self.spend_bytes(8 * self.view.fields_count() + REASON_BYTES_MAX)?;
        // RFC 5436 §2: the message is the subject; the body is the URI's.
        let subject = match (message, found.subject) {
            (Some(message), _) => message.into_owned(),
            (None, Some(subject)) => subject,
            (None, None) => {
                let subject = self.view.first("Subject").unwrap_or_default();
                // Cut before it is copied: a field may have a million bytes.
                let end = subject.floor_char_boundary(REASON_BYTES_MAX);
                format!("New message: {}", &subject[..end])
            }
        };
        let end = subject.floor_char_boundary(REASON_BYTES_MAX);
        // Options are read and have no meaning for this method.
        self.texts(frame, &notify.options)?;
        let notification = Notification {
            to: found.to,
            from: self.sender(frame, &notify.from, &self.envelope.to.to_path())?,
            subject: subject[..end].to_owned(),
            text: found.body.unwrap_or_default(),
            importance,
            copy_to: notify
                .fcc
                .as_ref()
                .map(|fcc| self.target(frame, fcc))
                .transpose()?,
        };
        // RFC 5436 §2: what a program sent causes no message of another program.
        match self.is_auto_submitted() {
            true => Ok(()),
            false => self.ledger.notify(notification),
        }
    }
}
