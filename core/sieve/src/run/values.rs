//! Variables: putting them into strings, and setting them (RFC 5229).

use std::borrow::Cow;

use crate::encode;
use crate::limits::{EXPANDED_BYTES_MAX, VARIABLE_BYTES_MAX, VARIABLES_BYTES_MAX};
use crate::program::Modifier;
use crate::template::{Piece, Slot, Template};

use super::{Frame, Halt, Run};

impl Run<'_> {
    /// The string with its variables put in.
    pub(super) fn text<'t>(
        &self,
        frame: &Frame<'_>,
        template: &'t Template,
    ) -> Result<Cow<'t, str>, Halt> {
        let pieces = match template {
            Template::Text(text) => return Ok(Cow::Borrowed(text)),
            Template::Mixed(pieces) => pieces,
        };
        // Checked with each piece: doubling a variable in a script of some lines would fill the memory.
        let captures = frame.captures.borrow();
        let mut out = String::new();
        for piece in pieces {
            out.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Variable(slot) => self.variable(frame, *slot),
                Piece::Capture(index) => captures.text(*index),
            });
            if out.len() > EXPANDED_BYTES_MAX {
                let text = format!("A string has more than {EXPANDED_BYTES_MAX} bytes");
                return Err(Halt::failure(text));
            }
        }
        self.spend_bytes(out.len())?;
        Ok(Cow::Owned(out))
    }

    /// All strings of a list, each with its variables put in.
    pub(super) fn texts<'t>(
        &self,
        frame: &Frame<'_>,
        templates: &'t [Template],
    ) -> Result<Vec<Cow<'t, str>>, Halt> {
        let texts = templates.iter().map(|template| self.text(frame, template));
        texts.collect()
    }

    /// The string behind a tag, if the tag is there.
    pub(super) fn optional_text<'t>(
        &self,
        frame: &Frame<'_>,
        template: &'t Option<Template>,
    ) -> Result<Option<Cow<'t, str>>, Halt> {
        template
            .as_ref()
            .map(|template| self.text(frame, template))
            .transpose()
    }

    /// The value; empty until it is set.
    pub(super) fn variable<'v>(&'v self, frame: &'v Frame<'_>, slot: Slot) -> &'v str {
        match slot {
            Slot::Local(index) => &frame.locals[usize::from(index)],
            Slot::Global(index) => &self.globals[frame.globals[usize::from(index)]].1,
        }
    }

    /// A value that is too long is cut (RFC 5229 §6).
    pub(super) fn set_variable(
        &mut self,
        frame: &mut Frame<'_>,
        slot: Slot,
        mut value: String,
    ) -> Result<(), Halt> {
        // Cut and not refused, between two letters: what was cut is still text.
        value.truncate(value.floor_char_boundary(VARIABLE_BYTES_MAX));
        let place = match slot {
            Slot::Local(index) => &mut frame.locals[usize::from(index)],
            Slot::Global(index) => &mut self.globals[frame.globals[usize::from(index)]].1,
        };
        // Of all variables of all scripts in this run, whose number times the limit of one would be far too much.
        self.variables_bytes = self.variables_bytes - place.len() + value.len();
        *place = value;
        match self.variables_bytes <= VARIABLES_BYTES_MAX {
            true => Ok(()),
            false => Err(Halt::failure("The script's variables take too much memory")),
        }
    }

    /// RFC 5229 §4.1; the modifiers are in their order.
    pub(super) fn modified(
        &self,
        value: Cow<'_, str>,
        modifiers: &[Modifier],
    ) -> Result<String, Halt> {
        let mut value = value.into_owned();
        for modifier in modifiers {
            self.spend_bytes(value.len())?;
            value = modify(value, *modifier);
        }
        Ok(value)
    }
}

/// One modifier. Letters change their case by Unicode, which RFC 5229 §4.1.3 allows beyond ASCII.
fn modify(value: String, modifier: Modifier) -> String {
    match modifier {
        // (Length may change: some letters have no partner of the same size. The limit is applied afterwards.)
        Modifier::Lower => value.to_lowercase(),
        Modifier::Upper => value.to_uppercase(),
        Modifier::LowerFirst => first(&value, |letter| letter.to_lowercase().collect()),
        Modifier::UpperFirst => first(&value, |letter| letter.to_uppercase().collect()),
        Modifier::QuoteWildcard => {
            let mut out = String::with_capacity(value.len());
            for letter in value.chars() {
                if matches!(letter, '*' | '?' | '\\') {
                    out.push('\\');
                }
                out.push(letter);
            }
            out
        }
        Modifier::QuoteRegex => regex::escape(&value),
        Modifier::EncodeUrl => encode::percent(&value),
        Modifier::Length => value.chars().count().to_string(),
    }
}

/// The first letter changed, the others as they are.
fn first(value: &str, change: impl Fn(char) -> String) -> String {
    let mut letters = value.chars();
    match letters.next() {
        Some(letter) => change(letter) + letters.as_str(),
        None => String::new(),
    }
}
