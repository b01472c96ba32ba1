//! One signature of DKIM (RFC 6376), or one of the same form of ARC: what is checked before its key is there, and with it.
//!
//! RSA with SHA-256 (1,024 to 4,096 bits, RFC 8301) and Ed25519 (RFC 8463) are taken. A signature of a part of the body (`l=`) is not: anybody
//! could add to the message (RFC 6376 §8.2).

use mail_auth::common::crypto::Algorithm;
use mail_auth::common::verify::DomainKey;

use crate::keys::Key;
use crate::limits::{RSA_BITS_MAX, RSA_BITS_MIN};
use crate::{Found, Outcome, domain_of, found};

/// One DKIM-Signature of a message, and what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Who signed (`d=`): the signature speaks for this domain where it passes. Empty where the field could not be read.
    pub domain: String,
    pub selector: String,
    /// `rsa-sha256` and the like.
    pub algorithm: &'static str,
    /// The first bytes of the signature in base64, by which a reader tells several of one domain apart (RFC 6008 §4).
    pub begins: String,
    pub found: Found,
}

/// What must be verified once the key is there.
pub(crate) struct Job {
    /// Where the key is.
    pub key: String,
    /// The canonical header.
    pub signed: Vec<u8>,
    pub signature: Vec<u8>,
    pub algorithm: Algorithm,
    /// The domain of `i=`, where there is one, and of `d=`.
    pub identity: Option<(String, String)>,
}

impl Job {
    /// Verifies, with what was found where the key is.
    pub(crate) fn verify(&self, key: Option<&Key>) -> Found {
        let key = match key {
            Some(Key::Found(key)) => key,
            Some(Key::Unusable(why)) => return found(Outcome::PermError, why),
            Some(Key::Unknown) | None => {
                return found(Outcome::TempError, "the key could not be looked up");
            }
        };
        if let Some(found) = self.refuses(key) {
            return found;
        }
        match key
            .p
            .verify_bytes(&self.signed, &self.signature, self.algorithm)
        {
            Ok(()) => found(Outcome::Pass, ""),
            Err(mail_auth::Error::Crypto(
                mail_auth::common::crypto::CryptoError::IncompatibleAlgorithms,
            )) => found(Outcome::PermError, "the key is of another kind"),
            Err(_) => found(Outcome::Fail, "the signature does not match"),
        }
    }

    fn refuses(&self, key: &DomainKey) -> Option<Found> {
        // mail-auth says `usize::MAX` for Ed25519, and 0 for what is not a key.
        match key.p.public_key_bits() {
            usize::MAX => {}
            bits if bits < RSA_BITS_MIN => {
                return Some(found(Outcome::PermError, "the key is too short"));
            }
            bits if bits > RSA_BITS_MAX => {
                return Some(found(Outcome::Policy, "the key is too long"));
            }
            _ => {}
        }
        let (identity, domain) = self.identity.as_ref()?;
        let inside = match identity.strip_suffix(domain.as_str()) {
            Some("") => true,
            // RFC 6376 §3.6.1, t=s: no subdomain.
            Some(front) => front.ends_with('.') && !key.has_flag(FLAG_SAME_DOMAIN),
            None => false,
        };
        (!inside).then_some(found(Outcome::PermError, "i= is outside of d="))
    }
}

/// What is wrong with a signature before its key is there.
pub(crate) fn fault(signature: &mail_auth::dkim::Signature, unix_seconds: u64) -> Option<Found> {
    let named = |name: &str| signature.h.iter().any(|of| of.eq_ignore_ascii_case(name));
    if signature.v != 1 {
        return Some(found(Outcome::PermError, "no version"));
    }
    if !named("from") {
        return Some(found(Outcome::PermError, "From is not signed"));
    }
    // RFC 8301 §3.1.
    if signature.a == Algorithm::RsaSha1 {
        return Some(found(Outcome::PermError, "SHA-1"));
    }
    let expires = signature.x;
    if expires != 0 && (expires <= unix_seconds || expires <= signature.t) {
        return Some(found(Outcome::Fail, "the signature has expired"));
    }
    None
}

/// The domain of `i=`, which may have any local part or none.
pub(crate) fn identity(signature: &mail_auth::dkim::Signature) -> Option<(String, String)> {
    let at = signature.i.rsplit_once('@')?;
    Some((domain_of(at.1), domain_of(&signature.d)))
}

/// The value of a signature's own field with an empty `b=` and without the line's end (RFC 6376 §3.5, §3.7).
pub(crate) fn without_signature(value: &[u8]) -> Vec<u8> {
    let value = value.strip_suffix(b"\r\n").unwrap_or(value);
    let mut out = Vec::with_capacity(value.len());
    for (at, tag) in value.split(|byte| *byte == b';').enumerate() {
        if at > 0 {
            out.push(b';');
        }
        let equals = memchr::memchr(b'=', tag);
        match equals {
            Some(equals) if tag[..equals].trim_ascii() == b"b" => {
                out.extend_from_slice(&tag[..=equals]);
            }
            _ => out.extend_from_slice(tag),
        }
    }
    out
}

/// mail-auth's `Flag::MatchDomain`, which is private.
pub(crate) const FLAG_SAME_DOMAIN: u64 = 0x20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_value_of_b_is_left_out() {
        for (value, without) in [
            (" v=1; b=abc\r\n\tdef; bh=xyz\r\n", " v=1; b=; bh=xyz"),
            ("bh=b=1; b =\r\n abc\r\n", "bh=b=1; b ="),
            ("v=1", "v=1"),
            ("", ""),
            (" b=;\r\n", " b=;"),
        ] {
            let found = without_signature(value.as_bytes());
            assert_eq!(String::from_utf8_lossy(&found), without, "{value:?}");
        }
    }
}
