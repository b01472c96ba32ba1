//! Real processes: the daemon as people run it, real clients, real files, kill -9.
//!
//! What must hold here: a story stops only processes that it started; no story asserts a time (a wait has a bound that
//! is far away); the ledger of acknowledged messages is kept outside the daemon, by the client that read the 250.
//!
//! Start reading at `daemon.rs` (start, READY, kill) and `ledger.rs` (what was acknowledged, what is there).
#![forbid(unsafe_code)]

mod acme;
mod apart;
mod appliance;
mod authentic;
mod clients;
mod compress;
mod connect;
mod crash;
mod daemon;
mod dialogues;
mod door;
mod fetch;
mod filter;
mod holders;
mod imapflow;
mod imapsieve;
mod input;
mod internet;
mod kept;
mod ldap;
mod ledger;
mod legs;
mod logins;
mod managesieve;
mod manual;
mod metrics;
mod notified;
mod oauth;
mod operator;
mod outage;
mod pop3;
mod ports;
mod posted;
mod programs;
mod quarantine;
mod quota;
mod remote;
mod reports;
mod resync;
mod route;
mod scan;
mod scarce;
mod sessions;
mod shared;
mod spam;
mod spool;
mod start;
mod stress;
mod submission;
mod thunderbird;
mod transfer;
