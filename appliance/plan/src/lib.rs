//! Hardware profile + settings + machine → one checked plan.
//!
//! `ringpost.toml` says what the operator wants (`settings.rs`), a profile what the hardware is good for (`profile.rs`),
//! `/proc` and the control group what is really there (`machine.rs`). `plan.rs` turns the three into a `Plan`: which
//! thread runs which zones (`place.rs`), who listens where, and every limit. `choose.rs` holds every profile against a machine's
//! `Shape` (`shape.rs`) and says which fits best and why; `door.rs` is what strangers meet, `scan.rs` who looks into their mail, `spam.rs` which of it is junk, `spool.rs` where it waits, `front.rs` whom people are passed on to, `reports.rs` what other domains hear of it; `site.rs` and `san.rs` are the settings that are not the daemon's: network, time, people; targets of a SAN. `memory.rs` adds the limits up; a sum that does not fit the
//! machine is refused at start with the name of the limit to lower, never discovered under load. `LIMITS.md` says who may hold how much
//! of each shared budget, for how long, and what the others get meanwhile.
//!
//! What must hold: a `Plan` in hand has been checked; a wrong file is refused with its name, the line and what to write instead;
//! an unknown key is an error. Reads `/proc`, the isolated CPUs and the files it is given; opens no socket and looks into no disk.
//!
//! Main path: `load.rs` → `plan.rs` → `memory.rs` → `show.rs`. Start reading at `plan.rs`.
#![forbid(unsafe_code)]

pub mod acme;
pub mod choose;
pub mod descriptors;
pub mod door;
pub mod fetch;
pub mod front;
pub mod imap;
pub mod ldap;
pub mod limits;
pub mod load;
pub mod machine;
pub mod memory;
pub mod oauth;
pub mod place;
pub mod plan;
pub mod pop3;
pub mod profile;
pub mod quarantine;
pub mod reports;
pub mod san;
pub mod scan;
pub mod settings;
pub mod shape;
pub mod show;
pub mod site;
pub mod source;
pub mod spam;
pub mod spool;
pub mod units;
pub mod zones;

pub use descriptors::sending_connections;
pub use load::Misfit;
pub use machine::Machine;
pub use place::Placement;
pub use plan::{CorePlan, ListenerPlan, Plan, Service, StoragePlan, Zone};
pub use profile::Profile;
pub use settings::{Authentication, PolicyMode, Settings};
pub use shape::Shape;
pub use units::{Size, Span, date};
