//! Whole sessions, of IMAP with a file for each command, of POP3, and of submission: the session that is shipped, on a connection in memory, over mailboxes on simulated disks.

mod append;
mod condstore;
mod copy;
mod create;
mod delete;
mod enable;
mod expunge;
mod fetch;
mod idle;
mod list;
mod lists;
mod login;
mod r#move;
mod pop3;
mod qresync;
mod rename;
mod rig;
mod search;
mod select;
mod signing;
mod status;
mod store;
mod submission;
mod subscribe;
mod teach;
