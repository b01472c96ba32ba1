//! Commands, except those that control others (`compile.rs`) and those that send something new (`replies.rs`).

use mail::Address;

use crate::capability::Capability;
use crate::limits::INCLUDES_COUNT_MAX;
use crate::position::{CompileError, Position, quoted};
use crate::program::{Action, Deletion, Filing, FlagChange, Location, Modifier, Strings, Wanted};
use crate::syntax::Node;
use crate::template::{self, Slot, Template};

use super::arguments::{Arguments, Tag};
use super::matches::{Tags, keys};
use super::{Compiler, plain_command};

impl Compiler {
    /// Any command but `require`, `if`, `elsif`, `else` and `global`, which the block itself handles.
    pub(super) fn action(&mut self, mut node: Node) -> Result<Action, CompileError> {
        let at = node.at;
        let mut arguments = Arguments::of(&mut node);
        let taken = &mut arguments;
        let action = match &node.name[..] {
            "stop" => Action::Stop,
            "discard" => Action::Discard,
            "keep" => self.keep(taken)?,
            "fileinto" => self.file_into(taken)?,
            "redirect" => self.redirect(taken)?,
            "reject" | "ereject" => {
                let extended = node.name == "ereject";
                self.need(
                    if extended {
                        Capability::Ereject
                    } else {
                        Capability::Reject
                    },
                    at,
                )?;
                let reason = arguments.string(self, "a reason")?;
                Action::Reject { reason, extended }
            }
            "set" => self.set(taken)?,
            "setflag" => self.flags(taken, FlagChange::Set)?,
            "addflag" => self.flags(taken, FlagChange::Add)?,
            "removeflag" => self.flags(taken, FlagChange::Remove)?,
            "vacation" => self.vacation(taken, at)?,
            "notify" => self.notify(taken, at)?,
            "include" => self.include(taken, at)?,
            "return" => {
                self.need(Capability::Include, at)?;
                Action::Return
            }
            "addheader" => self.add_header(taken, at)?,
            "deleteheader" => self.delete_header(taken, at)?,
            "error" => {
                self.need(Capability::Ihave, at)?;
                Action::Error(arguments.string(self, "a message")?)
            }
            _ => {
                let text = format!("There is no command {}", quoted(&node.name));
                return Err(CompileError::new(at, text));
            }
        };
        arguments.end()?;
        plain_command(&node)?;
        Ok(action)
    }

    /// RFC 5228 §4.3, with `:flags` of RFC 5232 §5.
    fn keep(&mut self, arguments: &mut Arguments) -> Result<Action, CompileError> {
        let mut flags = None;
        while let Some(tag) = arguments.tag()? {
            match &tag.name[..] {
                "flags" => flags = Some(self.flag_list(arguments, &tag)?),
                _ => return Err(arguments.unknown(&tag)),
            }
        }
        Ok(Action::Keep(flags))
    }

    fn flag_list(&mut self, arguments: &mut Arguments, tag: &Tag) -> Result<Strings, CompileError> {
        self.need(Capability::Imap4Flags, tag.at)?;
        arguments.strings(self, "flags")
    }

    /// The tags that say where and how a copy is filed; `false`: it is another tag.
    pub(super) fn filing_tag(
        &mut self,
        arguments: &mut Arguments,
        tag: &Tag,
        filing: &mut Filing,
    ) -> Result<bool, CompileError> {
        match &tag.name[..] {
            "create" => {
                self.need(Capability::Mailbox, tag.at)?;
                // Whether the mailbox is made is decided at delivery; a script that asks for it in every rule costs nothing when it is there.
                filing.create = true;
            }
            "flags" => filing.flags = Some(self.flag_list(arguments, tag)?),
            "mailboxid" => {
                self.need(Capability::MailboxId, tag.at)?;
                filing.id = Some(arguments.string(self, "the id of a mailbox")?);
            }
            "specialuse" => {
                self.need(Capability::SpecialUse, tag.at)?;
                filing.special_use = Some(arguments.string(self, "a special use")?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// RFC 5228 §4.1. A constant name is checked here, so that its owner learns of a mistake while the script is written.
    fn file_into(&mut self, arguments: &mut Arguments) -> Result<Action, CompileError> {
        self.need(Capability::FileInto, arguments.place())?;
        let mut filing = empty_filing();
        while let Some(tag) = arguments.tag()? {
            if tag.name == "copy" {
                self.need(Capability::Copy, tag.at)?;
                filing.copies = true;
            } else if !self.filing_tag(arguments, &tag, &mut filing)? {
                return Err(arguments.unknown(&tag));
            }
        }
        let place = arguments.place();
        filing.mailbox = arguments.string(self, "the name of a mailbox")?;
        check_mailbox(place, &filing.mailbox)?;
        self.charge(place, size_of::<Filing>())?;
        Ok(Action::FileInto(Box::new(filing)))
    }

    /// RFC 5228 §4.2; the address is checked now if it has no variables, and by each run if it has.
    fn redirect(&mut self, arguments: &mut Arguments) -> Result<Action, CompileError> {
        let mut copies = false;
        while let Some(tag) = arguments.tag()? {
            match &tag.name[..] {
                "copy" => {
                    self.need(Capability::Copy, tag.at)?;
                    copies = true;
                }
                _ => return Err(arguments.unknown(&tag)),
            }
        }
        let place = arguments.place();
        let address = arguments.string(self, "an address")?;
        check_address(place, &address)?;
        Ok(Action::Redirect { address, copies })
    }

    /// RFC 5229 §4.
    fn set(&mut self, arguments: &mut Arguments) -> Result<Action, CompileError> {
        self.need(Capability::Variables, arguments.place())?;
        // As many as there are precedences at most, since two of the same are refused.
        let mut modifiers: Vec<Modifier> = Vec::new();
        while let Some(tag) = arguments.tag()? {
            let modifier = match &tag.name[..] {
                "lower" => Modifier::Lower,
                "upper" => Modifier::Upper,
                "lowerfirst" => Modifier::LowerFirst,
                "upperfirst" => Modifier::UpperFirst,
                "quotewildcard" => Modifier::QuoteWildcard,
                "quoteregex" => {
                    self.need(Capability::Regex, tag.at)?;
                    Modifier::QuoteRegex
                }
                "encodeurl" => {
                    self.need(Capability::Enotify, tag.at)?;
                    Modifier::EncodeUrl
                }
                "length" => Modifier::Length,
                _ => return Err(arguments.unknown(&tag)),
            };
            // RFC 5229 §4.1.
            if modifiers
                .iter()
                .any(|other| other.precedence() == modifier.precedence())
            {
                let text = format!(
                    "\":{}\" cannot stand beside another one of its kind",
                    tag.name
                );
                return Err(CompileError::new(tag.at, text));
            }
            modifiers.push(modifier);
        }
        modifiers.sort_by_key(|modifier| std::cmp::Reverse(modifier.precedence()));
        let (at, name) = arguments.raw_string("the name of a variable")?;
        let slot = self.named_slot(at, &name)?;
        let value = arguments.string(self, "a value")?;
        Ok(Action::Set {
            slot,
            modifiers: modifiers.into(),
            value,
        })
    }

    /// A variable that is changed, by its name.
    pub(super) fn named_slot(&mut self, at: Position, name: &str) -> Result<Slot, CompileError> {
        self.need(Capability::Variables, at)?;
        // `global.a` and `a` differ in a dot, and a name with two dots is neither.
        let slot = match name.split_once('.') {
            Some((space, name)) if template::is_identifier(space) => {
                self.slot_in(at, space, name)?
            }
            None if template::is_identifier(name) => self.slot(at, name)?,
            _ => {
                let text = format!("{} is not the name of a variable", quoted(name));
                return Err(CompileError::new(at, text));
            }
        };
        Ok(slot)
    }

    /// RFC 5232 §3: one string means the flags of the internal variable, two mean a variable and its flags.
    fn flags(
        &mut self,
        arguments: &mut Arguments,
        change: FlagChange,
    ) -> Result<Action, CompileError> {
        self.need(Capability::Imap4Flags, arguments.place())?;
        let variable = match arguments.count() {
            0 | 1 => None,
            _ => {
                let (at, name) = arguments.raw_string("the name of a variable")?;
                Some(self.named_slot(at, &name)?)
            }
        };
        let flags = arguments.strings(self, "flags")?;
        Ok(Action::Flags {
            change,
            variable,
            flags,
        })
    }

    /// RFC 6609 §3.2.
    fn include(&mut self, arguments: &mut Arguments, at: Position) -> Result<Action, CompileError> {
        self.need(Capability::Include, at)?;
        let (mut location, mut once, mut optional) = (None, false, false);
        while let Some(tag) = arguments.tag()? {
            match &tag.name[..] {
                "personal" | "global" if location.is_some() => {
                    let text = "\":personal\" and \":global\" cannot stand together";
                    return Err(CompileError::new(tag.at, text));
                }
                "personal" => location = Some(Location::Personal),
                "global" => location = Some(Location::Global),
                "once" => once = true,
                "optional" => optional = true,
                _ => return Err(arguments.unknown(&tag)),
            }
        }
        let (at, name) = arguments.constant(self, "the name of a script")?;
        // RFC 5804 §1.6 has no slash or control character in names.
        if name.is_empty() || name.contains('/') || name.chars().any(char::is_control) {
            let text = format!("{} is not the name of a script", quoted(&name));
            return Err(CompileError::new(at, text));
        }
        let wanted = Wanted {
            location: location.unwrap_or(Location::Personal),
            name: name.into(),
        };
        // The caller may read them all before a run, so that each counts once however often it stands there.
        if !self.includes.contains(&wanted) {
            if self.includes.len() == INCLUDES_COUNT_MAX {
                let text = format!("A script includes at most {INCLUDES_COUNT_MAX} others");
                return Err(CompileError::new(at, text));
            }
            self.charge(at, size_of::<Wanted>() + wanted.name.len())?;
            self.includes.push(wanted.clone());
        }
        Ok(Action::Include {
            wanted,
            once,
            optional,
        })
    }

    /// RFC 5293 §4.
    fn add_header(
        &mut self,
        arguments: &mut Arguments,
        at: Position,
    ) -> Result<Action, CompileError> {
        self.need(Capability::EditHeader, at)?;
        let mut last = false;
        while let Some(tag) = arguments.tag()? {
            match &tag.name[..] {
                "last" => last = true,
                _ => return Err(arguments.unknown(&tag)),
            }
        }
        let place = arguments.place();
        let name = arguments.string(self, "the name of a header field")?;
        check_field_name(place, &name)?;
        let value = arguments.string(self, "a value")?;
        Ok(Action::AddHeader { name, value, last })
    }

    /// RFC 5293 §5. Without patterns every field of the name goes.
    fn delete_header(
        &mut self,
        arguments: &mut Arguments,
        at: Position,
    ) -> Result<Action, CompileError> {
        self.need(Capability::EditHeader, at)?;
        let mut tags = Tags::default();
        while let Some(tag) = arguments.tag()? {
            if !tags.matching(self, arguments, &tag)?
                && !tags.field_index(self, arguments, &tag, Capability::EditHeader)?
            {
                return Err(arguments.unknown(&tag));
            }
        }
        let place = arguments.place();
        let index = tags.index(place)?;
        let matching = tags.finish(place)?;
        let name = arguments.string(self, "the name of a header field")?;
        check_field_name(place, &name)?;
        let keys = match arguments.count() {
            0 => None,
            _ => Some(keys(self, arguments, matching)?),
        };
        self.charge(at, size_of::<Deletion>())?;
        Ok(Action::DeleteHeader(Box::new(Deletion {
            name,
            index,
            matching,
            keys,
        })))
    }
}

/// Into nowhere yet: tags and the name are put in as they are read.
pub(super) fn empty_filing() -> Filing {
    Filing {
        mailbox: Template::Text("".into()),
        copies: false,
        create: false,
        flags: None,
        id: None,
        special_use: None,
    }
}

/// Only what no mailbox can be called; whether there is one is for the delivery to find.
pub(super) fn check_mailbox(at: Position, mailbox: &Template) -> Result<(), CompileError> {
    match mailbox.constant() {
        Some(name) if name.is_empty() || name.chars().any(char::is_control) => {
            let text = format!("{} is not the name of a mailbox", quoted(name));
            Err(CompileError::new(at, text))
        }
        _ => Ok(()),
    }
}

/// RFC 5228 §2.4.2.3: an address without a name beside it.
fn check_address(at: Position, address: &Template) -> Result<(), CompileError> {
    match address.constant() {
        Some(text) if Address::from_path(text).is_none() || text.contains([' ', '<', '>', ',']) => {
            let text = format!("{} is not an address", quoted(text));
            Err(CompileError::new(at, text))
        }
        _ => Ok(()),
    }
}

/// A colon or a blank in it would make another field, or none.
fn check_field_name(at: Position, name: &Template) -> Result<(), CompileError> {
    match name.constant() {
        Some(text) if !crate::message::is_field_name(text) => {
            let text = format!("{} is not the name of a header field", quoted(text));
            Err(CompileError::new(at, text))
        }
        _ => Ok(()),
    }
}
