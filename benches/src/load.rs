//! The client side: SMTP and LMTP senders on one thread, IMAP readers, and the messages they send.

pub mod imap;
pub mod message;
pub mod sink;
pub mod smtp;
