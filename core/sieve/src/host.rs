//! What a run asks of its surroundings, and what it is given.
//!
//! A run never waits. What the caller does not have at hand it answers with `Answer::Later` and notes down; the run then ends with
//! `Later`, the caller looks the question up, and runs the script again from its first line. That is safe: a run has no effect.

use std::fmt;
use std::sync::Arc;

use crate::program::{Script, Wanted};

/// Answers questions about the account whose mail it is. What could not be looked up is `Later`, never "no". A run asks at most 800, so that
/// this bounds how often the caller begins one again.
pub trait Host {
    /// A script by its name (RFC 6609).
    fn script(&self, wanted: &Wanted) -> Answer<Included>;
    /// There is a mailbox of that name, and mail can be filed in it (RFC 5490 §3.1).
    fn has_mailbox(&self, name: &str) -> Answer<bool>;
    /// There is a mailbox with that id (RFC 9042 §5).
    fn has_mailbox_with_id(&self, id: &str) -> Answer<bool>;
    /// A mailbox, any one or the one of that name, has the special use, which begins with a backslash (RFC 8579).
    fn has_special_use(&self, mailbox: Option<&str>, special_use: &str) -> Answer<bool>;
    /// A delivery of the account remembered the key, and its time is not over (RFC 7352).
    fn is_remembered(&self, key: &Key) -> Answer<bool>;
}

#[derive(Debug, Clone)]
pub enum Answer<T> {
    Is(T),
    /// Not known now. The caller looks it up and runs again.
    Later,
}

/// What a script's name leads to.
#[derive(Debug, Clone)]
pub enum Included {
    Script(Arc<Script>),
    Absent,
    /// It is there and does not compile; the text says why.
    Broken(String),
}

/// Stands for a text in the caller's memory: 16 bytes of a BLAKE3 hash. No two texts that a sender can choose have the same one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// Of several texts; where one ends and the next begins counts.
    pub(crate) fn of(kind: &str, texts: &[&str]) -> Key {
        let mut hasher = blake3::Hasher::new_derive_key(kind);
        for text in texts {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Key(key)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The envelope of one delivery, for one recipient.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'e> {
    /// `None`: the null sender.
    pub from: Option<&'e mail::Address>,
    /// The address that the message was sent to, before aliases were followed.
    pub to: &'e mail::Address,
}

/// What a script may know beside the message.
#[derive(Debug, Clone, Copy)]
pub struct Environment<'e> {
    /// Seconds since 1970-01-01 UTC.
    pub now_unix_s: i64,
    /// Of the appliance: minutes east of UTC.
    pub zone_minutes: i32,
    /// Its name.
    pub host: &'e str,
    /// The domain of the account.
    pub domain: &'e str,
    /// The name and the address of the peer that brought the message, where they are known.
    pub remote_host: Option<&'e str>,
    pub remote_ip: Option<&'e str>,
    /// Addresses of the account, aliases too, as `mail::Address::key` writes them. Vacation replies only to mail that names one of them.
    pub own_addresses: &'e [String],
    /// What divides a local part from its detail (RFC 5233).
    pub separator: char,
    /// How likely the message is junk; `None`: nothing judged it.
    pub spam_percent: Option<u8>,
    /// RFC 5235: 1 is clean, 5 is a virus; `None`: no scanner looked.
    pub virus: Option<u8>,
    /// The message is in a mailbox, and a client did something with it (RFC 6785); `None`: it is being delivered.
    pub event: Option<Event<'e>>,
}

/// What an IMAP client did with a message. Its account may be another one than the script's, in a mailbox that is shared.
#[derive(Debug, Clone, Copy)]
pub struct Event<'e> {
    /// The login's name, and its address.
    pub user: &'e str,
    pub email: &'e str,
    /// `APPEND`, `COPY` or `FLAG`.
    pub cause: &'e str,
    /// Where the message is, as its owner names it.
    pub mailbox: &'e str,
    /// The names of flags that changed, with blanks between; empty unless the cause is `FLAG`.
    pub changed_flags: &'e str,
    /// Those that the message has now.
    pub flags: &'e mail::Flags,
}
