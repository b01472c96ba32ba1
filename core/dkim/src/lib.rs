//! DKIM (RFC 6376), the signer's side: keys, their DNS record, and signatures over a message.
//!
//! Pure: bytes come in, bytes go out; random numbers for new keys come from the operating system. The signatures are ours and not `mail-auth`'s:
//! oversigning (a field is named once more than it is there, so that no second one can be added) needs control of `h=`, and what is left is a
//! page of canonicalisation. `mail-auth` verifies each of them in the tests, as the other side does.
//!
//! - `key.rs`: a key made, read, and its DNS record. `canonical.rs`: what is hashed of a message. `sign.rs`: the field `DKIM-Signature`.
//! - `author.rs`: the domain of a message's author, which a signature must be aligned with (RFC 9989).
//!
//! What must hold: a private key is in no text; `h=` names From; a signature has no `l=`; the same message, key and time give the same RSA and
//! Ed25519 signature.
//!
//! Start reading at `sign.rs`.
#![forbid(unsafe_code)]

mod author;
mod canonical;
#[doc(hidden)]
pub mod fuzzing;
mod key;
pub mod limits;
mod sign;
#[cfg(test)]
mod tests;

pub use author::{ascii_domain, author_domain};
pub use key::{Algorithm, KeyFault, SigningKey, strings};
pub use sign::{Signer, sign};
