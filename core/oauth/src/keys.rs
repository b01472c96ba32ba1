//! The keys of a provider (RFC 7517), and which algorithms each of them may be used with.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::limits::*;

/// Keys that a signature may be checked with; others were left out.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// One of them.
#[derive(Clone)]
pub(crate) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(crate) key: DecodingKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// A document of a provider. A key that is of another kind, for another use, or malformed is left out: providers list such beside the ones that count. `Err`: it is not a
    /// key set, or none of its keys can be used.
    pub fn parse(bytes: &[u8]) -> Result<KeySet, String> {
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err("the key set is too long".to_owned());
        }
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|_| "the answer is not a key set (RFC 7517)".to_owned())?;
        let keys: Vec<Key> = document
            .keys
            .into_iter()
            .take(KEYS_MAX)
            .filter_map(Key::of)
            .collect();
        match keys.is_empty() {
            true => Err("the key set has no key that signatures can be checked with".to_owned()),
            false => Ok(KeySet { keys }),
        }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A key of this name is in it.
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// Those that may have signed: of this name where the token names one (RFC 7515 §4.1.4), and any without.
    pub(crate) fn candidates<'a>(&'a self, id: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        let may = move |key: &&Key| match id {
            Some(id) => key.id.as_deref() == Some(id),
            None => true,
        };
        self.keys.iter().filter(may)
    }
}

impl Key {
    /// `None`: it is not one for another one's signatures.
    fn of(value: Value) -> Option<Key> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let common = &jwk.common;
        if common
            .public_key_use
            .as_ref()
            .is_some_and(|it| *it != PublicKeyUse::Signature)
        {
            return None;
        }
        let verifies = |all: &Vec<KeyOperations>| all.contains(&KeyOperations::Verify);
        if !common.key_operations.as_ref().is_none_or(verifies) {
            return None;
        }
        if common
            .key_id
            .as_ref()
            .is_some_and(|id| id.len() > KEY_ID_BYTES_MAX)
        {
            return None;
        }
        let fitting: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                let bytes = |text: &str| Some(BASE64URL_NOPAD.decode(text.as_bytes()).ok()?.len());
                if bytes(&rsa.n)? > MODULUS_BYTES_MAX || bytes(&rsa.e)? > EXPONENT_BYTES_MAX {
                    return None;
                }
                &[
                    Algorithm::RS256,
                    Algorithm::RS384,
                    Algorithm::RS512,
                    Algorithm::PS256,
                    Algorithm::PS384,
                    Algorithm::PS512,
                ]
            }
            AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(curve) => match curve.curve {
                EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
                _ => return None,
            },
            // A shared secret: whoever may check could sign, too.
            _ => return None,
        };
        let algorithms = match common.key_algorithm {
            None => fitting.to_vec(),
            // RFC 7517 §4.4: the key is for this one alone.
            Some(named) => {
                let named = Algorithm::try_from(named).ok()?;
                fitting.iter().copied().filter(|it| *it == named).collect()
            }
        };
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        (!algorithms.is_empty()).then_some(Key {
            id: jwk.common.key_id,
            algorithms,
            key,
        })
    }

    /// Its own list, never the token's word alone.
    pub(crate) fn may_be_used_with(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}
