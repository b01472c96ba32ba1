//! Keys: made, read, and as DNS shows them.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use data_encoding::BASE64;

use crate::limits::TXT_STRING_BYTES_MAX;

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// With 2,048 bits (RFC 6376 §3.3.1, RFC 8301 §3.2).
    RsaSha256,
    /// RFC 8463.
    Ed25519Sha256,
}

/// A key that signs. Its `Debug` shows nothing of it.
pub struct SigningKey {
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key that cannot be made or read, or that does not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("the key cannot be made: the cryptographic library refused")]
    NotMade,
    #[error("the key is not a private key of its algorithm")]
    Unreadable,
    #[error("the key does not sign: the cryptographic library refused")]
    DoesNotSign,
}

impl Algorithm {
    /// The value of `a=`.
    pub(crate) fn signature_name(self) -> &'static str {
        match self {
            Algorithm::RsaSha256 => "rsa-sha256",
            Algorithm::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    /// The value of `k=`.
    fn key_name(self) -> &'static str {
        match self {
            Algorithm::RsaSha256 => "rsa",
            Algorithm::Ed25519Sha256 => "ed25519",
        }
    }
}

impl SigningKey {
    /// A new private key in PKCS#8 DER. RSA takes some hundred milliseconds, now and then seconds: not on a core that serves.
    pub fn generate(algorithm: Algorithm) -> Result<Vec<u8>, KeyFault> {
        match algorithm {
            Algorithm::RsaSha256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyFault::NotMade)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyFault::NotMade)?;
                Ok(der.as_ref().to_vec())
            }
            Algorithm::Ed25519Sha256 => {
                let pair = Ed25519KeyPair::generate().map_err(|_| KeyFault::NotMade)?;
                let der = pair.to_pkcs8().map_err(|_| KeyFault::NotMade)?;
                Ok(der.as_ref().to_vec())
            }
        }
    }

    /// From PKCS#8 DER; it is checked, which takes a millisecond for RSA.
    pub fn parse(algorithm: Algorithm, pkcs8: &[u8]) -> Result<SigningKey, KeyFault> {
        let pair = match algorithm {
            Algorithm::RsaSha256 => RsaKeyPair::from_pkcs8(pkcs8).map(Pair::Rsa),
            Algorithm::Ed25519Sha256 => Ed25519KeyPair::from_pkcs8(pkcs8).map(Pair::Ed25519),
        };
        let pair = pair.map_err(|_| KeyFault::Unreadable)?;
        Ok(SigningKey { pair })
    }

    pub fn algorithm(&self) -> Algorithm {
        match &self.pair {
            Pair::Rsa(_) => Algorithm::RsaSha256,
            Pair::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// The text of the DNS record (RFC 6376 §3.6.1): RSA as SubjectPublicKeyInfo, Ed25519 as its 32 octets (RFC 8463 §4).
    pub fn record(&self) -> Result<String, KeyFault> {
        let public = match &self.pair {
            Pair::Rsa(pair) => {
                let der: PublicKeyX509Der<'_> = pair
                    .public_key()
                    .as_der()
                    .map_err(|_| KeyFault::Unreadable)?;
                BASE64.encode(der.as_ref())
            }
            Pair::Ed25519(pair) => BASE64.encode(pair.public_key().as_ref()),
        };
        let kind = self.algorithm().key_name();
        Ok(format!("v=DKIM1; k={kind}; p={public}"))
    }

    /// Signs `input`, of which Ed25519 gets the hash `hashed` (RFC 8463 §3).
    pub(crate) fn sign(&self, input: &[u8], hashed: &[u8]) -> Result<Vec<u8>, KeyFault> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let random = SystemRandom::new();
                let signed = pair.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature);
                signed.map_err(|_| KeyFault::DoesNotSign)?;
                Ok(signature)
            }
            Pair::Ed25519(pair) => Ok(pair.sign(hashed).as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?}, …)", self.algorithm())
    }
}

/// `text` as strings of a TXT record, each with its quotes, as a zone file has them (RFC 1035 §5.1).
pub fn strings(text: &str) -> String {
    assert!(text.is_ascii(), "texts of records are ASCII: {text}");
    let text = text.as_bytes();
    let each = text.chunks(TXT_STRING_BYTES_MAX).map(|string| {
        let string = String::from_utf8_lossy(string);
        format!("\"{}\"", string.replace('\\', "\\\\").replace('"', "\\\""))
    });
    each.collect::<Vec<_>>().join(" ")
}
