//! From the tree of `syntax` to a `Script`: every command, test and tag is known and required, every string is cut at its variables. A script
//! that passes here can only fail in a run by what is outside it.
//!
//! Behind `ihave` of an extension that we lack (RFC 5463 §4) what does not compile is kept as `Unsupported`: a run never gets there unless the
//! script asks for it.

mod actions;
mod arguments;
mod conditions;
mod matches;
mod replies;

use std::collections::HashMap;

use crate::capability::{Capabilities, Capability};
use crate::limits::{
    COMPILED_BYTES_MAX, REGEXES_COUNT_MAX, SCRIPT_BYTES_MAX, VARIABLE_NAME_BYTES_MAX,
    VARIABLES_COUNT_MAX,
};
use crate::position::{CompileError, Position, quoted};
use crate::program::{Action, Block, Command, Script, Test, Wanted};
use crate::syntax::{self, Node};
use crate::template::{self, Piece, Reference, Slot, Template};

use arguments::Arguments;

impl Script {
    /// Checks a whole script. The error names the first thing that is wrong.
    pub fn compile(bytes: &[u8]) -> Result<Script, CompileError> {
        if bytes.len() > SCRIPT_BYTES_MAX {
            let text = format!("A script has at most {SCRIPT_BYTES_MAX} bytes");
            return Err(CompileError::new(Position::START, text));
        }
        let source = std::str::from_utf8(bytes).map_err(|error| {
            let mut at = Position::START;
            let good = bytes[..error.valid_up_to()].utf8_chunks().next();
            at.advance(good.map_or("", |chunk| chunk.valid()));
            CompileError::new(at, "A script is written in UTF-8; this is something else")
        })?;
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        // RFC 5228 §8.1 has it in no string and no comment; from a string it would get into mail.
        if let Some(nul) = source.find('\0') {
            let mut at = Position::START;
            at.advance(&source[..nul]);
            return Err(CompileError::new(at, "A script has no NUL"));
        }
        let mut compiler = Compiler::default();
        let commands = compiler.block(syntax::parse(source)?, true)?;
        Ok(Script {
            commands,
            locals_count: compiler.locals.len(),
            globals: compiler.globals.into(),
            has_variables: compiler.enabled.has(Capability::Variables),
            includes: compiler.includes.into(),
            bytes: compiler.bytes + compiler.regex_bytes + size_of::<Script>(),
        })
    }
}

#[derive(Default)]
struct Compiler {
    /// Required so far, or asked for with `ihave`.
    enabled: Capabilities,
    /// Of all that was made so far.
    bytes: usize,
    /// Variables of the script by name, in lower case.
    locals: HashMap<String, u16>,
    /// Names that `global` declared.
    declared: HashMap<String, u16>,
    /// All names of shared variables, declared or written with their namespace.
    globals: Vec<Box<str>>,
    /// What `Script::includes` will list.
    includes: Vec<Wanted>,
    regexes_count: usize,
    /// Beside `bytes`: one large expression must not use up what commands may take.
    regex_bytes: usize,
    /// Inside an `if` that asks for an extension which we lack.
    doubtful: bool,
}

impl Compiler {
    /// `at_top`: of a script, where `require` may stand.
    fn block(&mut self, nodes: Vec<Node>, at_top: bool) -> Result<Block, CompileError> {
        let mut commands = Vec::with_capacity(nodes.len());
        let mut nodes = nodes.into_iter().peekable();
        let mut at_head = at_top;
        while let Some(mut node) = nodes.next() {
            let at = node.at;
            let action = match &node.name[..] {
                "require" if at_head => {
                    self.require(node)?;
                    continue;
                }
                "require" => {
                    let text = "\"require\" must stand before all other commands";
                    return Err(CompileError::new(at, text));
                }
                "if" => {
                    let mut branches = vec![node];
                    while let Some(next) =
                        nodes.next_if(|next| matches!(&next.name[..], "elsif" | "else"))
                    {
                        let is_last = next.name == "else";
                        branches.push(next);
                        if is_last {
                            break;
                        }
                    }
                    self.branches(branches)?
                }
                "elsif" | "else" => {
                    let text = format!("{} must follow an \"if\" or \"elsif\"", quoted(&node.name));
                    return Err(CompileError::new(at, text));
                }
                // It has done its work when the script is compiled.
                "global" => {
                    self.global(&mut node)?;
                    at_head = false;
                    continue;
                }
                _ => match self.action(node) {
                    Ok(action) => action,
                    Err(error) => Action::Unsupported(self.unsupported(error)?),
                },
            };
            at_head = false;
            self.charge(at, size_of::<Command>())?;
            commands.push(Command { at, action });
        }
        Ok(commands.into())
    }

    /// RFC 5463 §4: behind an `ihave` that is false, what does not compile is kept as its error text. Limits hold there as elsewhere, or a
    /// script could get past all of them by asking for an extension that does not exist.
    fn unsupported(&mut self, error: CompileError) -> Result<Box<str>, CompileError> {
        let within = self.bytes <= COMPILED_BYTES_MAX && self.regexes_count <= REGEXES_COUNT_MAX;
        if !self.doubtful || !within {
            return Err(error);
        }
        self.charge(error.at, error.text.len())?;
        Ok(error.text.into())
    }

    /// RFC 5228 §3.2. An extension that we lack is an error, since the script relies on it.
    fn require(&mut self, mut node: Node) -> Result<(), CompileError> {
        let mut arguments = Arguments::of(&mut node);
        for (at, name) in arguments.raw_strings("the names of extensions")? {
            match Capability::by_name(&name) {
                Some(capability) => self.enabled.add(capability),
                None => {
                    let text = format!("The extension {} is not supported", quoted(&name));
                    return Err(CompileError::new(at, text));
                }
            }
        }
        arguments.end()?;
        plain_command(&node)
    }

    /// An `if` with all that follows it. The `elsif` of an `ihave` is compiled as leniently as its block: which of them runs is not known
    /// here.
    fn branches(&mut self, branches: Vec<Node>) -> Result<Action, CompileError> {
        let outer = self.doubtful;
        let mut tested = Vec::new();
        let mut last = Block::default();
        for mut node in branches {
            let at = node.at;
            Arguments::of(&mut node).end()?;
            let Some(block) = node.block.take() else {
                let text = format!("{} needs a block", quoted(&node.name));
                return Err(CompileError::new(at, text));
            };
            if node.name == "else" {
                if let Some(test) = node.tests.first() {
                    return Err(CompileError::new(test.at, "\"else\" has no test"));
                }
                last = self.block(block, false)?;
            } else {
                let test = self.only_test(node)?;
                self.charge(at, size_of::<(Test, Block)>())?;
                tested.push((test, self.block(block, false)?));
            }
        }
        self.doubtful = outer;
        Ok(Action::If(tested.into(), last))
    }

    /// The one test of `if`, `elsif` and `not`.
    fn only_test(&mut self, mut node: Node) -> Result<Test, CompileError> {
        let test = node.tests.pop();
        match test {
            Some(test) if node.tests.is_empty() && !node.in_list => self.test(test),
            _ => {
                let text = format!("{} needs one test", quoted(&node.name));
                Err(CompileError::new(node.at, text))
            }
        }
    }

    /// Refuses what the script did not require.
    fn need(&self, capability: Capability, at: Position) -> Result<(), CompileError> {
        match self.enabled.has(capability) {
            true => Ok(()),
            false => {
                let name = capability.name();
                let text = format!("This needs the extension \"{name}\"; add it to \"require\"");
                Err(CompileError::new(at, text))
            }
        }
    }

    /// Counts memory that the script keeps: a piece of it, and what the allocator adds to each.
    fn charge(&mut self, at: Position, bytes: usize) -> Result<(), CompileError> {
        self.bytes += bytes + ALLOCATION_BYTES;
        match self.bytes <= COMPILED_BYTES_MAX {
            true => Ok(()),
            false => Err(CompileError::new(at, "The script takes too much memory")),
        }
    }

    /// Asked before an expression is built: that takes milliseconds, also for one that is refused.
    fn count_regex(&mut self, at: Position) -> Result<(), CompileError> {
        self.regexes_count += 1;
        if self.regexes_count > REGEXES_COUNT_MAX {
            let text = format!("A script has at most {REGEXES_COUNT_MAX} regular expressions");
            return Err(CompileError::new(at, text));
        }
        Ok(())
    }

    /// A string as a run needs it. Characters are decoded before variables are looked for (RFC 5229 §3).
    fn template(&mut self, at: Position, text: &str) -> Result<Template, CompileError> {
        let decoded = match self.enabled.has(Capability::EncodedCharacter) {
            true => template::decode(text, at)?,
            false => text.into(),
        };
        let template = match self.enabled.has(Capability::Variables) {
            true => template::cut(&decoded, at, &mut |reference| self.piece(at, reference))?,
            false => Template::Text(decoded.into()),
        };
        self.charge(at, size_of::<Template>() + template.bytes())?;
        Ok(template)
    }

    /// Where a reference leads. A variable that is only read exists too: it is empty until it is set (RFC 5229 §3).
    fn piece(&mut self, at: Position, reference: Reference<'_>) -> Result<Piece, CompileError> {
        Ok(match reference {
            Reference::Capture(index) => Piece::Capture(index),
            Reference::Name(name) => Piece::Variable(self.slot(at, name)?),
            Reference::Space(space, name) => Piece::Variable(self.slot_in(at, space, name)?),
        })
    }

    /// A variable of the script by its name; it is made if it is not there.
    fn slot(&mut self, at: Position, name: &str) -> Result<Slot, CompileError> {
        let name = name.to_ascii_lowercase();
        if let Some(index) = self.declared.get(&name) {
            return Ok(Slot::Global(*index));
        }
        if let Some(index) = self.locals.get(&name) {
            return Ok(Slot::Local(*index));
        }
        self.check_name(at, &name)?;
        let index = self.locals.len() as u16;
        self.locals.insert(name, index);
        Ok(Slot::Local(index))
    }

    /// A variable in a namespace; `global` is the only one (RFC 6609 §3.4.2).
    fn slot_in(&mut self, at: Position, space: &str, name: &str) -> Result<Slot, CompileError> {
        if !space.eq_ignore_ascii_case("global") || !template::is_identifier(name) {
            let text = format!(
                "There are no variables {}",
                quoted(&format!("{space}.{name}"))
            );
            return Err(CompileError::new(at, text));
        }
        self.need(Capability::Include, at)?;
        Ok(Slot::Global(
            self.global_index(at, &name.to_ascii_lowercase())?,
        ))
    }

    /// The number of a shared variable among this script's names of such.
    fn global_index(&mut self, at: Position, name: &str) -> Result<u16, CompileError> {
        let known = self.globals.iter().position(|global| **global == *name);
        if let Some(index) = known {
            return Ok(index as u16);
        }
        self.check_name(at, name)?;
        self.charge(at, size_of::<Box<str>>() + name.len())?;
        self.globals.push(name.into());
        Ok(self.globals.len() as u16 - 1)
    }

    /// For a variable that is about to be made.
    fn check_name(&self, at: Position, name: &str) -> Result<(), CompileError> {
        if name.len() > VARIABLE_NAME_BYTES_MAX {
            let text = format!("A variable's name has at most {VARIABLE_NAME_BYTES_MAX} letters");
            return Err(CompileError::new(at, text));
        }
        if self.locals.len() + self.globals.len() >= VARIABLES_COUNT_MAX {
            let text = format!("A script has at most {VARIABLES_COUNT_MAX} variables");
            return Err(CompileError::new(at, text));
        }
        Ok(())
    }

    /// `global` (RFC 6609 §3.4.1).
    fn global(&mut self, node: &mut Node) -> Result<(), CompileError> {
        let at = node.at;
        self.need(Capability::Include, at)?;
        self.need(Capability::Variables, at)?;
        let mut arguments = Arguments::of(node);
        for (at, name) in arguments.raw_strings("the names of variables")? {
            let name = name.to_ascii_lowercase();
            if !template::is_identifier(&name) {
                let text = format!("{} is not the name of a variable", quoted(&name));
                return Err(CompileError::new(at, text));
            }
            if self.locals.contains_key(&name) {
                let text = format!(
                    "{} was used before; write \"global\" above that",
                    quoted(&name)
                );
                return Err(CompileError::new(at, text));
            }
            let index = self.global_index(at, &name)?;
            self.declared.insert(name, index);
        }
        arguments.end()?;
        plain_command(node)
    }
}

/// What an allocation takes beside its contents.
const ALLOCATION_BYTES: usize = 16;

/// A command with neither tests nor a block.
fn plain_command(node: &Node) -> Result<(), CompileError> {
    let text = match (node.tests.first(), node.in_list, &node.block) {
        (None, false, None) => return Ok(()),
        (None, false, Some(_)) => "has no block; write \";\" behind it",
        _ => "has no tests",
    };
    let text = format!("{} {text}", quoted(&node.name));
    Err(CompileError::new(node.at, text))
}
