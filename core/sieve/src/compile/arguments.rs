//! The arguments of one command or test, taken one after another: tags first, then what has a place (RFC 5228 §2.6).

use std::collections::VecDeque;

use crate::position::{CompileError, Position, quoted};
use crate::syntax::{Argument, Node, Value};
use crate::template::Template;

use super::Compiler;

/// A tag of a command, with what to answer if the command has none of that name.
pub(super) struct Tag {
    pub name: String,
    pub at: Position,
}

/// What is left of them. A method that meets one of a wrong kind answers with the error that names the command and the place.
pub(super) struct Arguments {
    /// The command's name.
    name: String,
    at: Position,
    left: VecDeque<Argument>,
    /// Tags that were taken.
    seen: Vec<String>,
}

impl Arguments {
    /// Takes them out of `node`, which is left without any.
    pub fn of(node: &mut Node) -> Arguments {
        Arguments {
            name: node.name.clone(),
            at: node.at,
            left: std::mem::take(&mut node.arguments).into(),
            seen: Vec::new(),
        }
    }

    /// The next argument if it is a tag. The same tag twice is an error.
    pub fn tag(&mut self) -> Result<Option<Tag>, CompileError> {
        let Some(Argument {
            at,
            value: Value::Tag(_),
        }) = self.left.front()
        else {
            return Ok(None);
        };
        let at = *at;
        let Some(Argument {
            value: Value::Tag(name),
            ..
        }) = self.left.pop_front()
        else {
            return Ok(None);
        };
        if self.seen.contains(&name) {
            let text = format!("The tag \":{name}\" is there twice");
            return Err(CompileError::new(at, text));
        }
        self.seen.push(name.clone());
        Ok(Some(Tag { name, at }))
    }

    /// For a tag that the command does not have.
    pub fn unknown(&self, tag: &Tag) -> CompileError {
        let text = format!(
            "{} has no tag {}",
            quoted(&self.name),
            quoted(&format!(":{}", tag.name))
        );
        CompileError::new(tag.at, text)
    }

    /// Where the next argument is, or the command if there is none.
    pub fn place(&self) -> Position {
        self.left.front().map_or(self.at, |argument| argument.at)
    }

    /// How many are left.
    pub fn count(&self) -> usize {
        self.left.len()
    }

    /// For an argument that is not there, or is of another kind.
    fn missing(&self, wanted: &str) -> CompileError {
        let text = format!("{} needs {wanted} here", quoted(&self.name));
        CompileError::new(self.place(), text)
    }

    /// A number; `wanted` is for the error.
    pub fn number(&mut self, wanted: &str) -> Result<u64, CompileError> {
        match self.left.front() {
            Some(Argument {
                value: Value::Number(number),
                ..
            }) => {
                let number = *number;
                self.left.pop_front();
                Ok(number)
            }
            _ => Err(self.missing(wanted)),
        }
    }

    /// A string, or a list of them, as written.
    pub fn raw_strings(&mut self, wanted: &str) -> Result<Vec<(Position, String)>, CompileError> {
        match self.left.front() {
            Some(Argument {
                value: Value::Strings(_),
                ..
            }) => match self.left.pop_front() {
                Some(Argument {
                    value: Value::Strings(strings),
                    ..
                }) => Ok(strings),
                _ => Err(self.missing(wanted)),
            },
            _ => Err(self.missing(wanted)),
        }
    }

    /// A single string, as written.
    pub fn raw_string(&mut self, wanted: &str) -> Result<(Position, String), CompileError> {
        let place = self.place();
        let mut strings = self.raw_strings(wanted)?;
        match (strings.pop(), strings.is_empty()) {
            (Some(string), true) => Ok(string),
            _ => {
                let text = format!("{} needs a single string here", quoted(&self.name));
                Err(CompileError::new(place, text))
            }
        }
    }

    /// A string or a list, cut at its variables.
    pub fn strings(
        &mut self,
        compiler: &mut Compiler,
        wanted: &str,
    ) -> Result<Box<[Template]>, CompileError> {
        let strings = self.raw_strings(wanted)?;
        let mut templates = Vec::with_capacity(strings.len());
        for (at, text) in strings {
            templates.push(compiler.template(at, &text)?);
        }
        Ok(templates.into())
    }

    /// A single string, cut at its variables.
    pub fn string(
        &mut self,
        compiler: &mut Compiler,
        wanted: &str,
    ) -> Result<Template, CompileError> {
        let (at, text) = self.raw_string(wanted)?;
        compiler.template(at, &text)
    }

    /// A string that has no variables.
    pub fn constant(
        &mut self,
        compiler: &mut Compiler,
        wanted: &str,
    ) -> Result<(Position, String), CompileError> {
        let (at, text) = self.raw_string(wanted)?;
        match compiler.template(at, &text)?.constant() {
            Some(text) => Ok((at, text.to_owned())),
            None => Err(CompileError::new(
                at,
                "There can be no variables in this string",
            )),
        }
    }

    /// Nothing must be left.
    pub fn end(self) -> Result<(), CompileError> {
        match self.left.front() {
            None => Ok(()),
            Some(Argument {
                at,
                value: Value::Tag(name),
            }) => {
                let name = quoted(&format!(":{name}"));
                let text = format!("The tag {name} must stand before the other arguments");
                Err(CompileError::new(*at, text))
            }
            Some(argument) => {
                let text = format!("{} has too many arguments", quoted(&self.name));
                Err(CompileError::new(argument.at, text))
            }
        }
    }
}
