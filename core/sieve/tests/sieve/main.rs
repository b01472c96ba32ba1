//! What scripts come to, one file for each extension. A test reads as a script, a message, and what comes out, in lines:
//! `implicit keep`, `keep`, `fileinto "Lists"`, `redirect bob@example.org`, `reject …`, `reply …`, `discard`, `failed: …`.

mod base;
mod body;
mod common;
mod copy;
mod date;
mod duplicate;
mod editheader;
mod encoded_character;
mod environment;
mod hostile;
mod ihave;
mod imap4flags;
mod imapsieve;
mod include;
mod limits;
mod mailbox;
mod notify;
mod regex;
mod reject;
mod relational;
mod spamtest;
mod subaddress;
mod vacation;
mod variables;
mod wrong;
