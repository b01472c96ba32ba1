//! Sieve (RFC 5228): what a person's script says about a message, as a list of actions. Pure: no sockets, no store, no clock.
//!
//! `Script::compile` checks a script once; `Script::run`, or `run` for several scripts in a row, says for one message and one recipient what is
//! to happen, and does nothing itself. What the caller knows of the account is asked through `Host`.
//!
//! What must hold:
//! - any bytes are a script or an error with its place; any message ends every run within `limits::STEPS_COUNT_MAX`.
//! - a run has no effect. The same script, message and answers come to the same outcome.
//! - a run that fails keeps the message; what could not be looked up is neither yes nor no, and the run is made again.
//! - no reply that a script causes can cause another one (`run/vacation.rs`).
//! - a message that is in a mailbox already is neither refused nor answered (`run/events.rs`).
//!
//! From the text to an outcome: `lex.rs`, `syntax.rs`, `compile.rs` with its children, `program.rs`, `run.rs` with its children, `outcome.rs`.
//! Start reading at `run.rs::run`.
//!
//! What the caller keeps for an account: keys of replies (`Reply::key`, for `Reply::again_s`) and of duplicates (`Outcome::remember`). Both are
//! 16 bytes with a time to forget them at; the caller bounds how many there are, and forgets the oldest first.
#![forbid(unsafe_code)]

mod addresses;
mod body;
mod capability;
mod compile;
mod dates;
mod encode;
mod flags;
pub mod fuzzing;
mod host;
mod lex;
pub mod limits;
mod matching;
mod message;
mod notify;
mod outcome;
mod pattern;
mod position;
mod program;
mod reply;
mod run;
mod syntax;
mod template;

pub use capability::capability_names;
pub use host::{Answer, Envelope, Environment, Event, Host, Included, Key};
pub use outcome::{
    Action, Edition, Failure, Later, Notification, Outcome, Remember, Reply, Target,
};
pub use position::{CompileError, Position};
pub use program::{Location, Script, Wanted};
pub use run::{run, run_within};
