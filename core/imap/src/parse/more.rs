//! Arguments of the smaller extensions.

use crate::command::Body;

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
