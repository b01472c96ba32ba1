//! A token, and whether it is good: signed by a key of its provider, for us, and now.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::keys::KeySet;
use crate::limits::*;

/// Why a token is not taken. No text of the token is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The client showed none: it asks where it gets one.
    Missing,
    /// Not a token in the form of RFC 7515 §3.1.
    Malformed,
    /// Of another provider.
    Issuer,
    /// No key of the provider that may be used so.
    Key,
    /// `none`, a shared secret, or another algorithm than the key's.
    Algorithm,
    Signature,
    /// A token of another kind.
    Type,
    /// For another service.
    Audience,
    Expired,
    NotYet,
    /// Good, and not for mail.
    Scope,
    /// It names no account, or the address is not verified.
    Claim,
    /// The provider says that it is not active.
    Inactive,
}

impl Flaw {
    pub const fn name(self) -> &'static str {
        match self {
            Flaw::Missing => "no token",
            Flaw::Malformed => "malformed token",
            Flaw::Issuer => "token of another provider",
            Flaw::Key => "token of an unknown key",
            Flaw::Algorithm => "algorithm of the token is not its key's",
            Flaw::Signature => "wrong signature of the token",
            Flaw::Type => "token of another kind",
            Flaw::Audience => "token for another service",
            Flaw::Expired => "expired token",
            Flaw::NotYet => "token is not valid yet",
            Flaw::Scope => "token without the scope",
            Flaw::Claim => "token names no account",
            Flaw::Inactive => "token is not active",
        }
    }

    /// The provider never signed it, so far as we can tell: it counts as a guess. An old token of a program that fetches a new one now is none.
    pub const fn is_guess(self) -> bool {
        !matches!(
            self,
            Flaw::Missing
                | Flaw::Expired
                | Flaw::NotYet
                | Flaw::Scope
                | Flaw::Audience
                | Flaw::Claim
        )
    }
}

/// What a good token must say.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// As the provider writes itself, compared octet by octet (RFC 7519 §4.1.1).
    pub issuer: String,
    /// One of these; empty: whichever (introspection only).
    pub audience: Vec<String>,
    /// Each of these words; empty: none is needed.
    pub scope: String,
    /// The claim that names the account.
    pub claim: String,
}

/// A token in the form of RFC 7515 §3.1, not yet checked.
pub struct Token<'a> {
    header: Header,
    claims: Map<String, Value>,
    /// What was signed.
    message: &'a str,
    signature: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// Extensions that must be understood (RFC 7515 §4.1.11): there is none that we understand.
    crit: Option<Value>,
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// What a good token says.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims {
    /// Of the account, as the claim has it.
    pub name: String,
    /// In seconds since 1970.
    pub expires_s: i64,
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims")
    }
}

/// A token that names no key: it may be one with a meaning of its own to its provider (RFC 7662).
pub fn is_opaque(token: &str) -> bool {
    token.split('.').count() != 3
}

impl<'a> Token<'a> {
    pub fn parse(token: &'a str) -> Result<Token<'a>, Flaw> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Flaw::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Flaw::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Flaw::Malformed)?;
        let read = |part: &str| {
            BASE64URL_NOPAD
                .decode(part.as_bytes())
                .map_err(|_| Flaw::Malformed)
        };
        // A dot in the claims is no base64. serde_json bounds the depth.
        let header: Header = serde_json::from_slice(&read(header)?).map_err(|_| Flaw::Malformed)?;
        let claims = serde_json::from_slice(&read(claims)?).map_err(|_| Flaw::Malformed)?;
        Ok(Token {
            header,
            claims,
            message,
            signature,
        })
    }

    /// Whose it says it is; only to find the provider by whose keys it is checked.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// The name of the key that it says it is signed with.
    pub fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// What can be said without keys: such a token is refused, whatever keys the provider has.
    pub fn precheck(&self) -> Result<(), Flaw> {
        self.algorithm()?;
        if self.header.crit.is_some() {
            return Err(Flaw::Type);
        }
        // RFC 9068 §4, and what providers from before it write. A token for a log-out or a proof of possession is signed by the same keys.
        let kind = self.header.typ.as_deref().unwrap_or("JWT");
        let is_known = ["JWT", "at+jwt", "application/at+jwt"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(kind));
        is_known.then_some(()).ok_or(Flaw::Type)
    }

    fn algorithm(&self) -> Result<Algorithm, Flaw> {
        let algorithm: Algorithm = self.header.alg.parse().map_err(|_| Flaw::Algorithm)?;
        match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Err(Flaw::Algorithm),
            algorithm => Ok(algorithm),
        }
    }

    /// `Key`: it may be a key that the provider has since the set was fetched.
    pub fn check(&self, keys: &KeySet, rules: &Rules, now_s: i64) -> Result<Claims, Flaw> {
        self.precheck()?;
        let algorithm = self.algorithm()?;
        let mut flaw = Flaw::Key;
        let mut is_signed = false;
        for key in keys.candidates(self.key_id()).take(TRIED_MAX) {
            if !key.may_be_used_with(algorithm) {
                flaw = Flaw::Algorithm;
                continue;
            }
            flaw = Flaw::Signature;
            let message = self.message.as_bytes();
            let verified =
                jsonwebtoken::crypto::verify(self.signature, message, &key.key, algorithm);
            is_signed |= verified.is_ok_and(|is_right| is_right);
            if is_signed {
                break;
            }
        }
        match is_signed {
            true => accept(&self.claims, rules, now_s, true),
            // Without a name of a key another one may have signed, which is not in the set yet.
            false if self.key_id().is_none() && flaw == Flaw::Signature => Err(Flaw::Key),
            false => Err(flaw),
        }
    }
}

/// What a provider says of a token, in the token or by introspection, against the rules. `strict`: issuer, audience and end must be there.
pub(crate) fn accept(
    claims: &Map<String, Value>,
    rules: &Rules,
    now_s: i64,
    strict: bool,
) -> Result<Claims, Flaw> {
    match claims.get("iss") {
        None if !strict => {}
        Some(Value::String(issuer)) if *issuer == rules.issuer => {}
        _ => return Err(Flaw::Issuer),
    }
    let is_ours = |one: &Value| {
        let one = one.as_str();
        one.is_some_and(|one| rules.audience.iter().any(|ours| ours == one))
    };
    let is_for_us = match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().any(is_ours),
        Some(one) => is_ours(one),
        None => false,
    };
    if !is_for_us && (strict || !rules.audience.is_empty()) {
        return Err(Flaw::Audience);
    }
    let expires_s = match (claims.get("exp"), strict) {
        (None, false) => i64::MAX,
        (exp, _) => seconds(exp).ok_or(Flaw::Malformed)?,
    };
    if now_s >= expires_s.saturating_add(SKEW_S) {
        return Err(Flaw::Expired);
    }
    if let Some(begin) = claims.get("nbf") {
        let begin_s = seconds(Some(begin)).ok_or(Flaw::Malformed)?;
        if now_s.saturating_add(SKEW_S) < begin_s {
            return Err(Flaw::NotYet);
        }
    }
    if !rules
        .scope
        .split_ascii_whitespace()
        .all(|word| has_scope(claims, word))
    {
        return Err(Flaw::Scope);
    }
    let name = claims.get(&rules.claim).and_then(Value::as_str);
    let name = name.filter(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX);
    // An address that the provider has not seen proved may be anybody's. Some write it as a text.
    let is_denied = |value: &Value| match value {
        Value::Bool(verified) => !verified,
        Value::String(verified) => !verified.eq_ignore_ascii_case("true"),
        _ => true,
    };
    if rules.claim == "email" && claims.get("email_verified").is_some_and(is_denied) {
        return Err(Flaw::Claim);
    }
    Ok(Claims {
        name: name.ok_or(Flaw::Claim)?.to_owned(),
        expires_s,
    })
}

/// RFC 7519 §2 NumericDate: it may have a fraction.
fn seconds(value: Option<&Value>) -> Option<i64> {
    let number = value?.as_number()?;
    number.as_i64().or_else(|| {
        let number = number.as_f64().filter(|number| number.is_finite())?;
        Some(number as i64)
    })
}

/// RFC 8693 §4.2 `scope`, and `scp`, as some providers call it, or write it as a list.
fn has_scope(claims: &Map<String, Value>, word: &str) -> bool {
    ["scope", "scp"].iter().any(|name| match claims.get(*name) {
        Some(Value::String(all)) => all.split_ascii_whitespace().any(|one| one == word),
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(word)),
        _ => false,
    })
}

#[cfg(test)]
mod tests;
