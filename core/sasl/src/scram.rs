//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), the server's side. The server holds two keys made of the password, and neither is enough to log in.
//!
//! Ours and not rsasl: what is needed is these two mechanisms with stored keys, which is the 300 lines of this file over aws-lc-rs, in the lock
//! already. rsasl brings 43 crates, calls back for keys in the middle of an exchange, where ours must wait for a disk, and does not undo the escapes of
//! user names (`=2C`, `=3D`), so that some accounts could never log in.
//!
//! What must hold: every text comes from a stranger and is bounded by the line that the protocol accepts; a user that does not exist gets a
//! challenge like any other (the caller makes it), and fails at the proof; a client that believes we offer no channel binding where we do has
//! been lied to on the way, and is refused (RFC 5802 §6); keys are in no `Debug` text.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, pbkdf2};
use unicode_normalization::UnicodeNormalization;

use crate::{Fault, base64};

/// Of every key that is made now. RFC 7677 §4 asks for 4,096 at least; phones take some 10 ms for this many.
pub const ITERATIONS: u32 = 16_384;
/// A salt that we make.
pub const SALT_BYTES: usize = 16;
/// The client's part of the nonce: longer ones only cost memory.
const NONCE_BYTES_MAX: usize = 256;
/// The server's part, before base64.
pub const NONCE_BYTES: usize = 18;
/// The one type of channel binding that is offered (RFC 9266).
const BINDING: &str = "tls-exporter";

/// What a server keeps of one password; useless without the salt that it was made with.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// RFC 5802 §3.
    pub stored: [u8; 32],
    pub server: [u8; 32],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// Of a password as its owner types it. Takes some milliseconds: off the serving cores.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Keys {
        let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        let mut salted = [0; 32];
        let password = prepared(password);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            salt,
            password.as_bytes(),
            &mut salted,
        );
        Keys {
            stored: sha256(&mac(&salted, b"Client Key")),
            server: mac(&salted, b"Server Key"),
        }
    }
}

/// TLS's exporter of this connection (RFC 9266); binds a proof to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Binding(pub [u8; 32]);

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Binding")
    }
}

/// What the caller found for a user: the passwords that may be meant, all with one salt.
#[derive(Clone)]
pub struct Found {
    pub salt: Vec<u8>,
    pub iterations: u32,
    /// The first one that the proof fits decides; empty for a user that does not exist.
    pub keys: Vec<Keys>,
    /// Our part of the nonce, fresh for each exchange.
    pub nonce: [u8; NONCE_BYTES],
    /// What the caller learns of an exchange that does not come to its end.
    pub fate: Arc<Fate>,
}

/// How far an exchange has come. The caller keeps it beside the exchange, which may end without a word.
#[derive(Debug, Default)]
pub struct Fate {
    right: AtomicBool,
    forged: AtomicBool,
}

impl Fate {
    /// The client has seen our signature: it knows that its password is right.
    pub fn is_right(&self) -> bool {
        self.right.load(Relaxed)
    }

    /// It was bound to something else than this connection, or the client was shown another list than ours.
    pub fn is_forged(&self) -> bool {
        self.forged.load(Relaxed)
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Found")
    }
}

/// An exchange came to its end.
#[derive(Clone, PartialEq, Eq)]
pub struct Proved {
    /// As the client sent it, without its escapes.
    pub user: Vec<u8>,
    /// The keys that the proof was made with; `None`: the password is wrong, or there is no such user.
    pub by: Option<Keys>,
}

impl fmt::Debug for Proved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proved")
    }
}

/// What follows a message of the client.
pub(crate) enum Next {
    /// The keys of this user are wanted: `Conversation::found`.
    Find(Vec<u8>),
    /// Plain text, to be sent in base64.
    Say(String),
    Done(Proved),
}

/// One exchange.
pub(crate) struct Conversation {
    /// What this connection can be bound to.
    offered: Option<Binding>,
    /// SCRAM-SHA-256-PLUS.
    is_plus: bool,
    at: At,
}

enum At {
    First,
    /// Keys are owed.
    Finding(First),
    /// The proof is owed.
    Final {
        first: First,
        found: Found,
        server_first: String,
    },
    /// Our own proof was sent: an empty message ends the exchange.
    Shown(Proved),
    Over,
}

/// RFC 5802 §7 client-first-message.
struct First {
    /// Refused for this, once the keys were looked up: so the caller has who was meant, and the time is that of any other user.
    fault: Option<Fault>,
    gs2_header: String,
    bare: String,
    user: String,
    nonce: String,
}

impl Conversation {
    pub fn new(is_plus: bool, offered: Option<Binding>) -> Conversation {
        Conversation {
            offered,
            is_plus,
            at: At::First,
        }
    }

    pub fn respond(&mut self, message: &[u8]) -> Result<Next, Fault> {
        match std::mem::replace(&mut self.at, At::Over) {
            At::First => {
                let first = self.first(message)?;
                let user = first.user.clone().into_bytes();
                self.at = At::Finding(first);
                Ok(Next::Find(user))
            }
            At::Final {
                first,
                found,
                server_first,
            } => {
                let (proved, signature) = self.last(&first, &found, &server_first, message)?;
                match signature {
                    // Our signature proves to the client that we have its key; then it has the word again.
                    Some(signature) => {
                        self.at = At::Shown(proved);
                        Ok(Next::Say(format!("v={}", base64::encode(&signature))))
                    }
                    None => Ok(Next::Done(proved)),
                }
            }
            At::Shown(proved) if message.is_empty() => Ok(Next::Done(proved)),
            At::Shown(_) | At::Finding(_) | At::Over => Err(Fault::Malformed),
        }
    }

    /// While keys are owed: the client-first-message as it came.
    pub fn first_message(&self) -> Option<String> {
        match &self.at {
            At::Finding(first) => Some(format!("{}{}", first.gs2_header, first.bare)),
            _ => None,
        }
    }

    /// The challenge, once the keys were looked up. `Malformed`: they were not asked for.
    pub fn found(&mut self, found: Found) -> Result<String, Fault> {
        let At::Finding(first) = std::mem::replace(&mut self.at, At::Over) else {
            return Err(Fault::Malformed);
        };
        if let Some(fault) = first.fault {
            found.fate.forged.store(true, Relaxed);
            return Err(fault);
        }
        let (nonce, ours) = (&first.nonce, base64::encode(&found.nonce));
        let (salt, iterations) = (base64::encode(&found.salt), found.iterations);
        let server_first = format!("r={nonce}{ours},s={salt},i={iterations}");
        let said = server_first.clone();
        self.at = At::Final {
            first,
            found,
            server_first,
        };
        Ok(said)
    }

    fn first(&self, message: &[u8]) -> Result<First, Fault> {
        let text = std::str::from_utf8(message).map_err(|_| Fault::Malformed)?;
        let (flag, rest) = text.split_once(',').ok_or(Fault::Malformed)?;
        let (acting_as, bare) = rest.split_once(',').ok_or(Fault::Malformed)?;
        let mut fault = None;
        match (flag, self.is_plus) {
            ("n", false) => {}
            // RFC 5802 §6: it could bind, and believes that we cannot. The list that it saw was not ours.
            ("y", false) if self.offered.is_some() => fault = Some(Fault::Downgraded),
            ("y", false) => {}
            (flag, true) => match flag.strip_prefix("p=") {
                Some(BINDING) if self.offered.is_some() => {}
                Some(_) => fault = Some(Fault::Binding),
                None => return Err(Fault::Malformed),
            },
            _ => return Err(Fault::Malformed),
        }
        // An extension that must be understood begins with `m=`: there is none that we understand (RFC 5802 §5.1).
        let mut attributes = bare.split(',');
        let user = attributes.next().and_then(|text| text.strip_prefix("n="));
        let user = unescaped(user.ok_or(Fault::Malformed)?)?;
        let nonce = attributes.next().and_then(|text| text.strip_prefix("r="));
        let nonce = nonce.ok_or(Fault::Malformed)?;
        let is_printable = |byte: u8| (0x21..=0x7e).contains(&byte);
        if nonce.is_empty() || nonce.len() > NONCE_BYTES_MAX || !nonce.bytes().all(is_printable) {
            return Err(Fault::Malformed);
        }
        if !acting_as.is_empty() {
            let name = acting_as.strip_prefix("a=").ok_or(Fault::Malformed)?;
            if unescaped(name)? != user {
                return Err(Fault::ActingAs);
            }
        }
        Ok(First {
            fault,
            gs2_header: format!("{flag},{acting_as},"),
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
            user,
        })
    }

    /// RFC 5802 §3: with which key the proof was made, and our own.
    fn last(
        &self,
        first: &First,
        found: &Found,
        server_first: &str,
        message: &[u8],
    ) -> Result<(Proved, Option<[u8; 32]>), Fault> {
        let text = std::str::from_utf8(message).map_err(|_| Fault::Malformed)?;
        // The proof is last, and what it is made over ends before it.
        let (unproved, proof) = text.rsplit_once(",p=").ok_or(Fault::Malformed)?;
        let proof = base64::decode(proof.as_bytes()).ok_or(Fault::Malformed)?;
        let proof = <[u8; 32]>::try_from(proof).map_err(|_| Fault::Malformed)?;
        let mut attributes = unproved.split(',');
        let bound = attributes.next().and_then(|text| text.strip_prefix("c="));
        let bound = base64::decode(bound.ok_or(Fault::Malformed)?.as_bytes());
        let nonce = attributes.next().and_then(|text| text.strip_prefix("r="));
        let mut expected = first.gs2_header.clone().into_bytes();
        if self.is_plus {
            let binding = self.offered.as_ref().ok_or(Fault::Binding)?;
            expected.extend_from_slice(&binding.0);
        }
        if bound.ok_or(Fault::Malformed)? != expected {
            found.fate.forged.store(true, Relaxed);
            return Err(Fault::Binding);
        }
        let ours = base64::encode(&found.nonce);
        let is_ours = nonce.and_then(|nonce| nonce.strip_prefix(first.nonce.as_str()));
        if is_ours != Some(ours.as_str()) {
            return Err(Fault::Malformed);
        }
        let said = format!("{},{server_first},{unproved}", first.bare);
        // All of them, whichever fits: the time tells nothing of which.
        let mut by = None;
        for keys in &found.keys {
            let signature = mac(&keys.stored, said.as_bytes());
            let key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
            let is_it = verify_slices_are_equal(&sha256(&key), &keys.stored).is_ok();
            if is_it && by.is_none() {
                by = Some(keys.clone());
            }
        }
        found.fate.right.store(by.is_some(), Relaxed);
        let signature = by.as_ref().map(|keys| mac(&keys.server, said.as_bytes()));
        let user = first.user.clone().into_bytes();
        Ok((Proved { user, by }, signature))
    }
}

/// RFC 5802 §5.1: `=2C` and `=3D` stand for a comma and an equals sign, and `=` stands for nothing else.
pub(crate) fn unescaped(name: &str) -> Result<String, Fault> {
    let mut pieces = name.split('=');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (sign, rest) = match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return Err(Fault::Malformed),
        };
        out.push(sign);
        out.push_str(rest);
    }
    match out.is_empty() || out.contains('\0') {
        true => Err(Fault::Malformed),
        false => Ok(out),
    }
}

/// SASLprep (RFC 4013 §2.1 and §2.2): spaces of other kinds are spaces, what is not seen is nothing, the rest is composed (NFKC). What it would prohibit is
/// taken as it is: such a password logs in by PLAIN too.
fn prepared(password: &str) -> String {
    if password.is_ascii() {
        return password.to_owned();
    }
    let mapped = password.chars().filter_map(|letter| match letter {
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200b}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            Some(' ')
        }
        '\u{ad}' | '\u{34f}' | '\u{1806}' | '\u{180b}'..='\u{180d}' => None,
        '\u{200c}' | '\u{200d}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' => None,
        letter => Some(letter),
    });
    mapped.nfkc().collect()
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let tag = hmac::sign(&key, text);
    tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The other side, for tests of every protocol that carries it.
#[doc(hidden)]
pub mod client {
    use super::*;

    /// What a client keeps between its two messages.
    pub struct Client {
        password: String,
        header: String,
        bare: String,
        bound: Vec<u8>,
    }

    impl Client {
        /// `flag` is `n`, `y` or `p=tls-exporter`; with the last, `bound` is what it binds to.
        pub fn new(user: &str, password: &str, nonce: &str, flag: &str, bound: &[u8]) -> Client {
            let header = format!("{flag},,");
            Client {
                password: password.to_owned(),
                bound: [header.as_bytes(), bound].concat(),
                bare: format!("n={user},r={nonce}"),
                header,
            }
        }

        /// In base64, as all that is said here.
        pub fn first(&self) -> String {
            base64::encode(format!("{}{}", self.header, self.bare).as_bytes())
        }

        /// The answer to a challenge. `None`: it is not one.
        pub fn last(&self, challenge: &str) -> Option<String> {
            let challenge = base64::decode(challenge.as_bytes())?;
            let challenge = String::from_utf8(challenge).ok()?;
            let mut parts = challenge.split(',');
            let nonce = parts.next()?.strip_prefix("r=")?;
            let salt = base64::decode(parts.next()?.strip_prefix("s=")?.as_bytes())?;
            let iterations = parts.next()?.strip_prefix("i=")?.parse().ok()?;
            let mut salted = [0; 32];
            pbkdf2::derive(
                pbkdf2::PBKDF2_HMAC_SHA256,
                NonZeroU32::new(iterations)?,
                &salt,
                self.password.as_bytes(),
                &mut salted,
            );
            let key = mac(&salted, b"Client Key");
            let unproved = format!("c={},r={nonce}", base64::encode(&self.bound));
            let said = format!("{},{challenge},{unproved}", self.bare);
            let signature = mac(&sha256(&key), said.as_bytes());
            let proof: Vec<u8> = key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
            let last = format!("{unproved},p={}", base64::encode(&proof));
            Some(base64::encode(last.as_bytes()))
        }
    }
}

#[cfg(test)]
mod tests;
