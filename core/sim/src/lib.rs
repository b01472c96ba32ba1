//! The world in one thread, from one seed: what the left pillar promises, and the lintel on top of it, put to the test.
//!
//! Two kinds of runs. *Exhaustive*: a scripted run is cut at every write boundary, and every outcome of that power cut
//! (each write in flight whole, torn or missing) is opened and compared with what the clients had been told. *Random*: one
//! seed decides sizes, latencies, which faults strike which leg, when the machine crashes and what people do meanwhile.
//!
//! What is checked: acknowledged once and present once, byte by byte; nothing is acknowledged before it is durable on every leg
//! that counts (looked at behind the volume's back); legs equal on live ranges at rest; all legs in sync again once faults stop; no
//! segment leaks over openings and closings. Where more breaks than can be borne (`broken_story.rs`): nothing but honesty.
//!
//! One seed in `limits::LINTEL_SHARE` also has a story of the lintel: the sessions of SMTP and IMAP, as they are shipped, with clients on
//! connections in memory (`lintel_story.rs`).
//!
//! One seed in `limits::OUTBOUND_SHARE` has a story of mail that leaves: submission, names that lead on, the queue and the sender, with servers of
//! other sites that misbehave (`outbound_story.rs`).
//!
//! A seed replays: each run prints a digest of all that was asked of the devices, and the same seeds print the same digest. Where they do not,
//! something in the engine depends on what is not in the seed (a hash table that is walked, a clock, a thread).
//!
//! Nothing here is shipped. Start reading at `volume_story.rs`; `run.rs` spreads seeds over cores.
#![forbid(unsafe_code)]

pub mod limits;

mod broken_story;
mod full_story;
pub mod knobs;
mod ledger;
mod lintel_story;
mod machine;
mod mailbox_box;
mod mailbox_exhaustive;
mod mailbox_look;
pub mod mailbox_model;
mod mailbox_story;
mod outbound_story;
mod outcome;
pub mod planted;
pub mod planted_run;
pub mod run;
mod spool_story;
mod submission_story;
mod superblocks;
mod swarm;
mod volume_box;
mod volume_exhaustive;
mod volume_story;
mod what_if;
mod witness;

pub use knobs::{NOT_YET_SURVIVED, ask_for, asked_for};
pub use run::{
    Failure, Summary, exhaustive, kept_seeds, run_kept, run_outbound, run_seed, run_seeds,
    run_until,
};

/// Hears how far a run is; called from several threads.
pub trait Progress: Sync {
    /// That many more steps are coming.
    fn begin(&self, steps: u64);
    fn step(&self);
}

/// Nobody listens.
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&self, _steps: u64) {}
    fn step(&self) {}
}
