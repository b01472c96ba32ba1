//! Arguments of the smaller extensions.

use crate::command::Body;
use crate::limits::{OBJECT_ID_BYTES_MAX, QUOTA_LIMITS_MAX};

use super::words::Words;
use super::{Parsed, Refusal};

/// RFC 4978 §4: DEFLATE is the only mechanism.
pub(super) fn compress(words: &mut Words<'_>) -> Parsed<Body> {
    words.space()?;
    match words.keyword("DEFLATE") {
        true => Ok(Body::Compress),
        false => Err(Refusal::Syntax("DEFLATE is the only compression")),
    }
}

/// RFC 9208 §4.2.
pub(super) fn get_quota(words: &mut Words<'_>) -> Parsed<Body> {
    words.space()?;
    Ok(Body::GetQuota(words.astring()?.into_owned()))
}

/// RFC 9208 §4.1: a root, and pairs of a resource and its limit.
pub(super) fn set_quota(words: &mut Words<'_>) -> Parsed<Body> {
    words.space()?;
    let root = words.astring()?.into_owned();
    words.space()?;
    words.expect(b'(')?;
    let mut limits = Vec::new();
    while !words.accept(b')') {
        if limits.len() == QUOTA_LIMITS_MAX {
            return Err(Refusal::TooMuch("quota resources"));
        }
        if !limits.is_empty() {
            words.space()?;
        }
        let resource = words.atom("Expected a quota resource")?;
        let resource = resource.to_ascii_uppercase().into();
        words.space()?;
        limits.push((resource, words.modseq()?.0));
    }
    Ok(Body::SetQuota { root, limits })
}

/// RFC 8474 §7 objectid, as SEARCH has it.
pub(super) fn object_id(words: &mut Words<'_>) -> Parsed<Box<str>> {
    words.space()?;
    let id = words.atom("Expected an object identifier")?;
    let belongs = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match id.len() <= OBJECT_ID_BYTES_MAX && id.bytes().all(belongs) {
        true => Ok(id.into()),
        false => Err(Refusal::Syntax("Expected an object identifier")),
    }
}
