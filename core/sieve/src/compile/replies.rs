//! `vacation` and `notify`: commands that send something new.

use crate::capability::Capability;
use crate::limits::{DAY_S, REPLY_AGAIN_S, REPLY_AGAIN_S_MAX};
use crate::position::{CompileError, Position, quoted};
use crate::program::{Action, Filing, Notify, Strings, Vacation};
use crate::template::Template;

use super::Compiler;
use super::actions::{check_mailbox, empty_filing};
use super::arguments::{Arguments, Tag};

impl Compiler {
    /// RFC 5230 §4, RFC 6131, RFC 8580.
    pub(super) fn vacation(
        &mut self,
        arguments: &mut Arguments,
        at: Position,
    ) -> Result<Action, CompileError> {
        self.need(Capability::Vacation, at)?;
        let mut vacation = Vacation {
            again_s: REPLY_AGAIN_S,
            subject: None,
            from: None,
            addresses: Strings::default(),
            mime: false,
            handle: None,
            reason: Template::Text("".into()),
            fcc: None,
        };
        // Tags come in any order: those of `:fcc` are collected, and joined to it when all are there.
        let mut has_time = false;
        let mut filing = empty_filing();
        let mut filing_tags = None;
        while let Some(tag) = arguments.tag()? {
            match &tag.name[..] {
                "days" | "seconds" if has_time => {
                    let text = "\":days\" and \":seconds\" cannot stand together";
                    return Err(CompileError::new(tag.at, text));
                }
                "days" => {
                    has_time = true;
                    let days = arguments.number("a number of days")?;
                    // RFC 5230 §4.1: 0 counts as the least that we take.
                    let seconds = days.max(1).saturating_mul(DAY_S);
                    vacation.again_s = seconds.min(REPLY_AGAIN_S_MAX);
                }
                "seconds" => {
                    self.need(Capability::VacationSeconds, tag.at)?;
                    has_time = true;
                    let seconds = arguments.number("a number of seconds")?;
                    vacation.again_s = seconds.min(REPLY_AGAIN_S_MAX);
                }
                "subject" => vacation.subject = Some(arguments.string(self, "a subject")?),
                "from" => {
                    let place = arguments.place();
                    let from = arguments.string(self, "an address")?;
                    check_mailbox_address(place, &from)?;
                    vacation.from = Some(from);
                }
                "addresses" => vacation.addresses = arguments.strings(self, "addresses")?,
                "mime" => vacation.mime = true,
                "handle" => vacation.handle = Some(arguments.string(self, "a name")?),
                "fcc" => vacation.fcc = Some(self.fcc(arguments, &tag)?),
                _ if self.filing_tag(arguments, &tag, &mut filing)? => filing_tags = Some(tag),
                _ => return Err(arguments.unknown(&tag)),
            }
        }
        join_fcc(&mut vacation.fcc, filing, filing_tags)?;
        // The last argument, so that a missing one is reported behind all tags and not at a tag that happens to have no value.
        vacation.reason = arguments.string(self, "the text of the reply")?;
        self.charge(at, size_of::<Vacation>())?;
        Ok(Action::Vacation(Box::new(vacation)))
    }

    /// RFC 8580 §3: the mailbox; how it is filed, other tags say.
    fn fcc(&mut self, arguments: &mut Arguments, tag: &Tag) -> Result<Filing, CompileError> {
        self.need(Capability::Fcc, tag.at)?;
        let place = arguments.place();
        let mailbox = arguments.string(self, "the name of a mailbox")?;
        check_mailbox(place, &mailbox)?;
        Ok(Filing {
            mailbox,
            ..empty_filing()
        })
    }

    /// RFC 5435 §3.
    pub(super) fn notify(
        &mut self,
        arguments: &mut Arguments,
        at: Position,
    ) -> Result<Action, CompileError> {
        self.need(Capability::Enotify, at)?;
        let mut notify = Notify {
            method: Template::Text("".into()),
            from: None,
            importance: None,
            options: Strings::default(),
            message: None,
            fcc: None,
        };
        let mut filing = empty_filing();
        let mut filing_tags = None;
        while let Some(tag) = arguments.tag()? {
            match &tag.name[..] {
                "from" => {
                    let place = arguments.place();
                    let from = arguments.string(self, "an address")?;
                    check_mailbox_address(place, &from)?;
                    notify.from = Some(from);
                }
                "importance" => {
                    let place = arguments.place();
                    let importance = arguments.string(self, "\"1\", \"2\" or \"3\"")?;
                    let wrong = importance
                        .constant()
                        .is_some_and(|text| !["1", "2", "3"].contains(&text));
                    if wrong {
                        let text = "The importance is \"1\" (high), \"2\" or \"3\" (low)";
                        return Err(CompileError::new(place, text));
                    }
                    notify.importance = Some(importance);
                }
                "options" => notify.options = arguments.strings(self, "options")?,
                "message" => notify.message = Some(arguments.string(self, "a message")?),
                "fcc" => notify.fcc = Some(self.fcc(arguments, &tag)?),
                _ if self.filing_tag(arguments, &tag, &mut filing)? => filing_tags = Some(tag),
                _ => return Err(arguments.unknown(&tag)),
            }
        }
        join_fcc(&mut notify.fcc, filing, filing_tags)?;
        let place = arguments.place();
        notify.method = arguments.string(self, "the URI of a method")?;
        // RFC 5435 §3.2: a method that cannot work is an error, as early as it is known.
        if let Some(method) = notify.method.constant()
            && crate::notify::mailto(method).is_none()
        {
            let text = "Notifications go by mail: write \"mailto:\" and an address";
            return Err(CompileError::new(place, text));
        }
        self.charge(at, size_of::<Notify>())?;
        Ok(Action::Notify(Box::new(notify)))
    }
}

/// RFC 8580 §3: the other tags of filing belong to `:fcc`, in any order.
fn join_fcc(
    fcc: &mut Option<Filing>,
    filing: Filing,
    tags: Option<Tag>,
) -> Result<(), CompileError> {
    match (fcc, tags) {
        // `:fcc` gave the mailbox, the other tags gave everything else.
        (Some(fcc), _) => {
            let mailbox = std::mem::replace(&mut fcc.mailbox, Template::Text("".into()));
            *fcc = Filing { mailbox, ..filing };
            Ok(())
        }
        (None, Some(tag)) => {
            let text = format!("\":{}\" needs \":fcc\" beside it", tag.name);
            Err(CompileError::new(tag.at, text))
        }
        (None, None) => Ok(()),
    }
}

/// An address that may have a name beside it, as a From field has it.
fn check_mailbox_address(at: Position, address: &Template) -> Result<(), CompileError> {
    match address.constant() {
        Some(text) if crate::addresses::single(text).is_none() => {
            let text = format!("{} is not an address", quoted(text));
            Err(CompileError::new(at, text))
        }
        _ => Ok(()),
    }
}
