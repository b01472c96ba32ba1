//! The sender that is shipped, over a queue on simulated disks, names in a table and servers in memory, on virtual time.

mod clock;
mod crash;
mod delivery;
mod door;
mod faults;
mod lead;
mod many;
mod open;
mod reporter;
mod reports;
mod rig;
mod scripted;
mod server;
mod sources;
mod stop;
mod sts;
mod tls;
