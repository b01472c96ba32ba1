//! One run: scripts walk through their commands, ask tests about a message, and collect actions.
//!
//! What must hold: a run ends, whatever script and message are, since every command, test and comparison takes steps, and steps are
//! bounded. It has no effect: the same run again comes to the same actions. If it fails, the message is kept (RFC 5228 §2.10.6).

mod actions;
mod captures;
mod conditions;
mod edits;
mod events;
mod ledger;
mod matches;
mod sources;
mod vacation;
mod values;

use std::cell::{Cell, OnceCell, RefCell};

use mail::Flags;

use crate::body::BodyPart;
use crate::host::{Answer, Envelope, Environment, Host, Included};
use crate::limits::{INCLUDE_DEPTH_MAX, INCLUDES_COUNT_MAX, STEPS_COUNT_MAX, VARIABLES_COUNT_MAX};
use crate::message::View;
use crate::outcome::{Action as Done, Edition, Failure, Later, Outcome, Remember};
use crate::position::{Position, quoted};
use crate::program::{Action, Block, Command, Script, Wanted};

use captures::Captures;
use ledger::Ledger;

impl Script {
    /// Runs this script alone; see `run`.
    pub fn run(
        &self,
        message: &[u8],
        envelope: &Envelope<'_>,
        environment: &Environment<'_>,
        host: &dyn Host,
    ) -> Result<Outcome, Later> {
        run(&[self], message, envelope, environment, host)
    }
}

/// Runs scripts one after another: those of the administrator, of the domain, of the person. The next one runs only while the message is
/// still kept; a keep of an earlier script, implicit or not, is the next one's to decide again, and its flags stay.
pub fn run(
    scripts: &[&Script],
    message: &[u8],
    envelope: &Envelope<'_>,
    environment: &Environment<'_>,
    host: &dyn Host,
) -> Result<Outcome, Later> {
    run_within(
        STEPS_COUNT_MAX,
        scripts,
        message,
        envelope,
        environment,
        host,
    )
}

/// As `run`, with fewer steps: a failure with all of them used (`Outcome::steps`) says nothing of the scripts, and they are run again.
pub fn run_within(
    steps_max: u64,
    scripts: &[&Script],
    message: &[u8],
    envelope: &Envelope<'_>,
    environment: &Environment<'_>,
    host: &dyn Host,
) -> Result<Outcome, Later> {
    let steps_max = steps_max.min(STEPS_COUNT_MAX);
    let mut outcome = Outcome::default();
    let Some(view) = View::of(message) else {
        let halt = Halt::failure("The header of the message is too large for scripts");
        return outcome.failed(halt, 0, 0);
    };
    let mut run = Run {
        view,
        envelope,
        environment,
        host,
        steps: Cell::new(steps_max),
        globals: Vec::new(),
        variables_bytes: 0,
        flags: Vec::new(),
        ledger: Ledger::default(),
        remember: RefCell::default(),
        bodies: OnceCell::new(),
        chain: Vec::new(),
        included: Vec::new(),
        includes_count: 0,
    };
    run.begin_with_flags();
    for (index, script) in scripts.iter().enumerate() {
        if index > 0 && !run.ledger.reopen(&mut run.flags) {
            break;
        }
        run.globals.clear();
        run.variables_bytes = 0;
        run.included.clear();
        run.ledger.script_index = index;
        if let Err(halt) = run.script(script) {
            return outcome.failed(halt, index, steps_max - run.steps.get());
        }
    }
    if let Err(halt) = run.keep_implicitly() {
        let index = scripts.len().saturating_sub(1);
        return outcome.failed(halt, index, steps_max - run.steps.get());
    }
    outcome.steps = steps_max - run.steps.get();
    outcome.actions = run.ledger.actions;
    outcome.remember = run.remember.into_inner();
    outcome.body_begin = run.view.body_begin();
    outcome.editions = run.view.into_editions();
    Ok(outcome)
}

impl Outcome {
    /// Nothing of what scripts wanted is left but the message itself, in INBOX.
    fn failed(mut self, halt: Halt, script_index: usize, used: u64) -> Result<Outcome, Later> {
        let Halt::Failure { included, at, text } = halt else {
            return Err(Later);
        };
        self.steps = used;
        self.actions = vec![Done::Keep {
            flags: Flags::default(),
            edition: Edition::default(),
            implicit: true,
        }];
        self.failure = Some(Failure {
            script_index,
            included,
            at,
            text,
        });
        Ok(self)
    }
}

/// Why a run does not go on.
#[derive(Debug)]
enum Halt {
    Later,
    Failure {
        included: Option<Wanted>,
        at: Option<Position>,
        text: String,
    },
}

impl Halt {
    /// Of a command or a test; `located` adds the place.
    fn failure(text: impl Into<String>) -> Halt {
        Halt::Failure {
            included: None,
            at: None,
            text: text.into(),
        }
    }

    /// With the place, if a command inside did not give one, and the script that the place is in.
    fn located(self, place: Position, chain: &[Wanted]) -> Halt {
        match self {
            Halt::Failure { at: None, text, .. } => Halt::Failure {
                included: chain.last().cloned(),
                at: Some(place),
                text,
            },
            other => other,
        }
    }
}

/// What happens behind a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    /// Of all scripts that include each other.
    Stop,
    /// Of this script.
    Return,
}

struct Run<'r> {
    view: View<'r>,
    envelope: &'r Envelope<'r>,
    environment: &'r Environment<'r>,
    host: &'r dyn Host,
    /// Left.
    steps: Cell<u64>,
    /// Variables that scripts share (RFC 6609 §3.4), by name.
    globals: Vec<(Box<str>, String)>,
    /// Of the values of all variables that can be reached now.
    variables_bytes: usize,
    /// RFC 5232 §2: the internal variable.
    flags: Vec<String>,
    /// What scripts asked for so far.
    ledger: Ledger,
    /// What tests leave behind; they have the run as `&self`, since they change nothing else.
    remember: RefCell<Vec<Remember>>,
    /// Decoded when the first test of the body asks.
    bodies: OnceCell<Vec<BodyPart>>,
    /// Scripts that are being included, outermost first.
    chain: Vec<Wanted>,
    /// All that were included.
    included: Vec<Wanted>,
    includes_count: usize,
}

/// What belongs to one script of a run.
struct Frame<'s> {
    script: &'s Script,
    /// By the numbers that the compiler gave to names.
    locals: Vec<String>,
    /// For each of the script's global names its number among `Run::globals`.
    globals: Vec<usize>,
    captures: RefCell<Captures>,
}

/// A command or a test, whatever it does.
const STEPS_OF_ONE: u64 = 10;
/// A run asks its host at most 800 times.
const STEPS_OF_QUESTION: u64 = STEPS_COUNT_MAX / 800;

impl Run<'_> {
    /// Takes steps, or ends the run if there are not so many.
    fn spend(&self, steps: u64) -> Result<(), Halt> {
        match self.steps.get().checked_sub(steps) {
            Some(left) => {
                self.steps.set(left);
                Ok(())
            }
            None => {
                self.steps.set(0);
                Err(Halt::failure("The script takes too long for this message"))
            }
        }
    }

    /// A question to the host. Every one that it has to look up costs a whole run, so that there can only be some hundred.
    fn asked<T>(&self, answer: impl FnOnce() -> Answer<T>) -> Result<T, Halt> {
        self.spend(STEPS_OF_QUESTION)?;
        match answer() {
            Answer::Is(answer) => Ok(answer),
            Answer::Later => Err(Halt::Later),
        }
    }

    /// Takes the steps of looking at some bytes.
    fn spend_bytes(&self, bytes: usize) -> Result<(), Halt> {
        self.spend(1 + bytes as u64 / 4)
    }

    /// One script with variables of its own.
    fn script(&mut self, script: &Script) -> Result<Flow, Halt> {
        let mut globals = Vec::with_capacity(script.globals.len());
        for name in &script.globals {
            let known = self.globals.iter().position(|(known, _)| known == name);
            globals.push(known.unwrap_or(self.globals.len()));
            if known.is_none() {
                self.globals.push((name.clone(), String::new()));
            }
        }
        if self.globals.len() > VARIABLES_COUNT_MAX {
            return Err(Halt::failure("The scripts share too many variables"));
        }
        let mut frame = Frame {
            script,
            locals: vec![String::new(); script.locals_count],
            globals,
            captures: RefCell::default(),
        };
        let flow = self.block(&mut frame, &script.commands);
        // What is not reachable any more does not count.
        let freed: usize = frame.locals.iter().map(String::len).sum();
        self.variables_bytes = self.variables_bytes.saturating_sub(freed);
        flow
    }

    /// Commands until one ends the block. An error gets the place of the innermost command.
    fn block(&mut self, frame: &mut Frame<'_>, block: &Block) -> Result<Flow, Halt> {
        for command in block {
            let flow = self.command(frame, command);
            match flow.map_err(|halt| halt.located(command.at, &self.chain))? {
                Flow::Next => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::Next)
    }

    /// One command, with those that it holds. Blocks in blocks and included scripts recurse here, at most `NESTING_COUNT_MAX` times
    /// `INCLUDE_DEPTH_MAX` and the first script.
    fn command(&mut self, frame: &mut Frame<'_>, command: &Command) -> Result<Flow, Halt> {
        self.spend(STEPS_OF_ONE)?;
        match &command.action {
            Action::If(branches, last) => {
                for (test, block) in branches {
                    if self.test(frame, test)? {
                        return self.block(frame, block);
                    }
                }
                self.block(frame, last)
            }
            Action::Stop => Ok(Flow::Stop),
            Action::Return => Ok(Flow::Return),
            Action::Include {
                wanted,
                once,
                optional,
            } => self.include(wanted, *once, *optional),
            action => self.perform(frame, action).map(|()| Flow::Next),
        }
    }

    /// RFC 6609 §3.2.
    fn include(&mut self, wanted: &Wanted, once: bool, optional: bool) -> Result<Flow, Halt> {
        let name = quoted(&wanted.name);
        if once && self.included.contains(wanted) {
            return Ok(Flow::Next);
        }
        if self.chain.contains(wanted) {
            return Err(Halt::failure(format!("The script {name} includes itself")));
        }
        if self.chain.len() == INCLUDE_DEPTH_MAX {
            let text = format!("Scripts include each other more than {INCLUDE_DEPTH_MAX} deep");
            return Err(Halt::failure(text));
        }
        self.includes_count += 1;
        if self.includes_count > INCLUDES_COUNT_MAX {
            let text = format!("More than {INCLUDES_COUNT_MAX} scripts are included");
            return Err(Halt::failure(text));
        }
        let script = match self.asked(|| self.host.script(wanted))? {
            Included::Script(script) => script,
            Included::Absent if optional => return Ok(Flow::Next),
            Included::Absent => {
                return Err(Halt::failure(format!("There is no script {name}")));
            }
            Included::Broken(text) => {
                return Err(Halt::failure(format!("The script {name} is wrong: {text}")));
            }
        };
        self.included.push(wanted.clone());
        self.chain.push(wanted.clone());
        let flow = self.script(&script)?;
        self.chain.pop();
        Ok(match flow {
            Flow::Stop => Flow::Stop,
            Flow::Next | Flow::Return => Flow::Next,
        })
    }
}
