//! `ringpostctl import` and `ringpostctl export`: mail moves between an account here and IMAP servers, Maildirs and mbox files.
//!
//! `letter.rs` has the two ends as traits; `mailbox.rs` (IMAP), `maildirs.rs` and `mboxes.rs` are ends; `run.rs` moves between any two, and `journal.rs` remembers what was moved.
//! `own.rs` opens an account here. Nothing of it runs in the daemon: it sees a session of IMAP, with the bounds of one.
//!
//! Start reading at `run.rs`.

mod csv;
mod files;
mod journal;
mod letter;
mod limits;
mod mailbox;
mod maildirs;
mod mboxes;
mod names;
mod outcome;
mod own;
mod progress;
mod run;
mod server;
mod verbs;

pub(crate) use verbs::{Call, ExportVerb, ImportVerb};
