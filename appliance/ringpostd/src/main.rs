//! The daemon: reads the plan, opens legs, pins cores, starts zones.
//!
//! `settings.rs` turns the command line into a checked plan; `state.rs` holds what lives beside the legs (lock, witness,
//! certificate); `listen.rs` binds the sockets; `engine.rs` opens a volume, `storage.rs` the mail's and `spool.rs` the spool's; `cores.rs` starts the planned threads and stops them again;
//! `trial.rs` is the first start and trial mode's one screen, `people.rs` who is there from the beginning, `notify.rs` word to systemd. Called as `ringpostctl` this program is the operator's
//! tool instead (the crate `ringpostctl`). `admin.rs` performs what administrators ask for.
//!
//! What must hold: `RINGPOST READY` means every planned listener accepts; a stop finishes what was accepted, checkpoints
//! and exits with 0; what the operator did wrong is one sentence on standard error and exit status 1; a panic anywhere
//! ends the process at once, so that no half-broken thread goes on answering.
//!
//! Start reading at `daemon.rs`.
#![forbid(unsafe_code)]

mod acme;
mod admin;
mod apart;
mod audit;
mod certificate;
mod client_certificate;
mod cores;
mod daemon;
mod door;
mod engine;
mod events;
mod fetch;
mod front;
mod kept;
mod ldap;
mod listen;
mod notes;
mod notify;
mod oauth;
mod peers;
mod people;
mod quarantine;
mod reports;
mod scan;
mod self_signed;
mod serving;
mod settings;
mod spool;
mod state;
mod storage;
mod trace;
mod trial;
mod witness;
mod witness_file;

use std::path::Path;
use std::process::ExitCode;

/// Messages are received on one thread and let go of on another, thousands a second; the C library's allocator takes a lock
/// for that and hands pages back to the kernel in between (a tenth of all processor time here).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    if name == "ringpostctl" {
        return ringpostctl::command::main();
    }
    match daemon::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(misfit) => {
            eprintln!("ringpostd: {misfit}");
            state::leave_last_words(&misfit);
            ExitCode::FAILURE
        }
    }
}
