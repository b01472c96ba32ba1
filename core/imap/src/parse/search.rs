//! SEARCH programs (RFC 9051 §9 `search`, RFC 4731, RFC 5182).

use mail::SystemFlags;

use crate::command::SearchResults;
use crate::date;
use crate::limits::{SEARCH_DEPTH_MAX, SEARCH_KEYS_MAX, SEARCH_TEXTS_MAX};
use crate::search::{EnvelopeField, SearchKey};

use super::more::object_id;
use super::words::Words;
use super::{Parsed, Refusal};

/// RETURN options, CHARSET and keys, in this order (RFC 9051 §6.4.4). Several keys are one `And`.
pub(super) fn search(words: &mut Words<'_>) -> Parsed<(Option<SearchResults>, SearchKey)> {
    words.space()?;
    let mut results = None;
    if let Some(wanted) = returned(words)? {
        results = Some(wanted);
        words.space()?;
    }
    if words.keyword("CHARSET") {
        words.space()?;
        charset(words)?;
        words.space()?;
    }
    Ok((results, keys(words)?))
}

/// `RETURN (…)`; `None` where it does not stand.
pub(super) fn returned(words: &mut Words<'_>) -> Parsed<Option<SearchResults>> {
    if !words.keyword("RETURN") {
        return Ok(None);
    }
    words.space()?;
    let wanted = results_wanted(words)?;
    words.saves = wanted.save;
    Ok(Some(wanted))
}

/// The charset of all strings behind it.
pub(super) fn charset(words: &mut Words<'_>) -> Parsed<()> {
    let charset = words.astring()?;
    // Known at all? What is looked for is decoded as it is read.
    if mail::text::decode_strictly(&charset, b"").is_none() {
        return Err(Refusal::BadCharset);
    }
    words.charset = charset.into_owned();
    Ok(())
}

/// Keys up to the end of the command: one at least.
pub(super) fn keys(words: &mut Words<'_>) -> Parsed<SearchKey> {
    let mut left = Left {
        keys: SEARCH_KEYS_MAX,
        texts: SEARCH_TEXTS_MAX,
    };
    let mut keys = Vec::new();
    while !words.at_end() {
        keys.push(key(words, SEARCH_DEPTH_MAX, &mut left)?);
        if words.space().is_err() {
            break;
        }
    }
    let only = keys.pop().ok_or(Refusal::Syntax("Missing search key"))?;
    if keys.is_empty() {
        return Ok(only);
    }
    keys.push(only);
    Ok(SearchKey::And(keys))
}

/// The list behind RETURN. `()` leaves all `false`.
fn results_wanted(words: &mut Words<'_>) -> Parsed<SearchResults> {
    words.expect(b'(')?;
    let mut results = SearchResults::default();
    words.skip_spaces();
    while !words.accept(b')') {
        match &words.item_name()[..] {
            "MIN" => results.min = true,
            "MAX" => results.max = true,
            "ALL" => results.all = true,
            "COUNT" => results.count = true,
            "SAVE" => results.save = true,
            "PARTIAL" if results.partial.is_none() => {
                words.space()?;
                results.partial = Some(words.slice()?);
            }
            _ => {
                return Err(Refusal::Syntax(
                    "Expected MIN, MAX, ALL, COUNT, SAVE or PARTIAL",
                ));
            }
        }
        words.skip_spaces();
    }
    // RFC 9394 §3.1.
    if results.all && results.partial.is_some() {
        return Err(Refusal::Syntax("ALL and PARTIAL exclude each other"));
    }
    // RFC 4731 §3.1: an empty list is as ALL.
    if results == SearchResults::default() {
        results.all = true;
    }
    Ok(results)
}

/// What one SEARCH may still have.
struct Left {
    keys: usize,
    texts: usize,
}

/// Takes one from a bound that all levels of the command share. Fails when it is used up.
fn take(left: &mut usize, of: &'static str) -> Parsed<()> {
    *left = left.checked_sub(1).ok_or(Refusal::TooMuch(of))?;
    Ok(())
}

/// One key. `depth_left` bounds how deep parentheses, NOT and OR are inside each other: each level is a stack frame.
fn key(words: &mut Words<'_>, depth_left: usize, left: &mut Left) -> Parsed<SearchKey> {
    use SearchKey as K;
    take(&mut left.keys, "search keys")?;
    let deeper = || {
        depth_left
            .checked_sub(1)
            .ok_or(Refusal::TooMuch("search keys inside each other"))
    };
    if words.accept(b'(') {
        let depth_left = deeper()?;
        let mut keys = Vec::new();
        words.skip_spaces();
        while !words.accept(b')') {
            keys.push(key(words, depth_left, left)?);
            words.skip_spaces();
        }
        return if keys.is_empty() {
            Err(Refusal::Syntax("Missing search key"))
        } else {
            Ok(K::And(keys))
        };
    }
    if words
        .peek()
        .is_some_and(|byte| byte.is_ascii_digit() || b"*$".contains(&byte))
    {
        return Ok(K::Numbers(words.sequence_set()?));
    }
    let system = |flag| Ok(K::System(flag));
    let without = |flag| Ok(K::Not(Box::new(K::System(flag))));
    match &words.item_name()[..] {
        "ALL" => Ok(K::All),
        "ANSWERED" => system(SystemFlags::ANSWERED),
        "DELETED" => system(SystemFlags::DELETED),
        "DRAFT" => system(SystemFlags::DRAFT),
        "FLAGGED" => system(SystemFlags::FLAGGED),
        "SEEN" => system(SystemFlags::SEEN),
        "UNANSWERED" => without(SystemFlags::ANSWERED),
        "UNDELETED" => without(SystemFlags::DELETED),
        "UNDRAFT" => without(SystemFlags::DRAFT),
        "UNFLAGGED" => without(SystemFlags::FLAGGED),
        "UNSEEN" => without(SystemFlags::SEEN),
        // RFC 3501 §6.4.4: NEW is RECENT UNSEEN, OLD is NOT RECENT.
        "NEW" => Ok(K::And(vec![
            K::Recent,
            K::Not(Box::new(K::System(SystemFlags::SEEN))),
        ])),
        "OLD" => Ok(K::Not(Box::new(K::Recent))),
        "RECENT" => Ok(K::Recent),
        "KEYWORD" => Ok(K::Keyword(spaced_keyword(words)?)),
        "UNKEYWORD" => Ok(K::Not(Box::new(K::Keyword(spaced_keyword(words)?)))),
        "BEFORE" => Ok(K::Before(spaced_day(words)?)),
        "ON" => Ok(K::On(spaced_day(words)?)),
        "SINCE" => Ok(K::Since(spaced_day(words)?)),
        "SENTBEFORE" => Ok(K::SentBefore(spaced_day(words)?)),
        "SENTON" => Ok(K::SentOn(spaced_day(words)?)),
        "SENTSINCE" => Ok(K::SentSince(spaced_day(words)?)),
        "LARGER" => Ok(K::Larger(spaced_number(words)?)),
        "SMALLER" => Ok(K::Smaller(spaced_number(words)?)),
        "MODSEQ" => modseq(words),
        "SAVEDBEFORE" => Ok(K::SavedBefore(spaced_day(words)?)),
        "SAVEDON" => Ok(K::SavedOn(spaced_day(words)?)),
        "SAVEDSINCE" => Ok(K::SavedSince(spaced_day(words)?)),
        // RFC 8514 §4.3: every mailbox has dates.
        "SAVEDATESUPPORTED" => Ok(K::All),
        "EMAILID" => Ok(K::EmailId(object_id(words)?)),
        "THREADID" => Ok(K::ThreadId(object_id(words)?)),
        "OLDER" => Ok(K::Older(spaced_interval(words)?)),
        "YOUNGER" => Ok(K::Younger(spaced_interval(words)?)),
        "BCC" => envelope(EnvelopeField::Bcc, words),
        "CC" => envelope(EnvelopeField::Cc, words),
        "FROM" => envelope(EnvelopeField::From, words),
        "SUBJECT" => envelope(EnvelopeField::Subject, words),
        "TO" => envelope(EnvelopeField::To, words),
        "HEADER" => {
            let name = spaced_text(words)?;
            Ok(K::Header {
                name,
                text: spaced_text(words)?,
            })
        }
        "BODY" => Ok(K::Body(looked_for(words, left)?)),
        "TEXT" => Ok(K::Text(looked_for(words, left)?)),
        "UID" => {
            words.space()?;
            Ok(K::Uids(words.sequence_set()?))
        }
        "NOT" => {
            words.space()?;
            Ok(K::Not(Box::new(key(words, deeper()?, left)?)))
        }
        "OR" => {
            let depth_left = deeper()?;
            words.space()?;
            let first = key(words, depth_left, left)?;
            words.space()?;
            Ok(K::Or(Box::new((first, key(words, depth_left, left)?))))
        }
        _ => Err(Refusal::Syntax("Unknown search key")),
    }
}

/// The text of BODY or TEXT, which costs a look through every message and so has a bound of its own.
fn looked_for(words: &mut Words<'_>, left: &mut Left) -> Parsed<Box<str>> {
    take(&mut left.texts, "BODY and TEXT keys")?;
    spaced_text(words)
}

/// RFC 7162 §3.1.5. The name of a flag and whose it is are read and make no difference: a message has one modification sequence.
fn modseq(words: &mut Words<'_>) -> Parsed<SearchKey> {
    words.space()?;
    if words.peek() == Some(b'"') {
        if !words.string()?.starts_with(b"/flags/") {
            return Err(Refusal::Syntax("Expected /flags/ and a flag"));
        }
        words.space()?;
        if !["ALL", "PRIV", "SHARED"]
            .iter()
            .any(|word| words.keyword(word))
        {
            return Err(Refusal::Syntax("Expected all, priv or shared"));
        }
        words.space()?;
    }
    Ok(SearchKey::ModSeq(words.modseq()?))
}

fn envelope(field: EnvelopeField, words: &mut Words<'_>) -> Parsed<SearchKey> {
    let text = spaced_text(words)?;
    Ok(SearchKey::Envelope { field, text })
}

fn spaced_text(words: &mut Words<'_>) -> Parsed<Box<str>> {
    words.space()?;
    words.search_text()
}

fn spaced_keyword(words: &mut Words<'_>) -> Parsed<Box<str>> {
    words.space()?;
    Ok(words.flag_text()?.into())
}

fn spaced_number(words: &mut Words<'_>) -> Parsed<u32> {
    words.space()?;
    words.number()
}

/// RFC 5032 §3: seconds, not 0.
fn spaced_interval(words: &mut Words<'_>) -> Parsed<u32> {
    match spaced_number(words)? {
        0 => Err(Refusal::Syntax("Expected a number of seconds above 0")),
        seconds => Ok(seconds),
    }
}

/// A day as days since 1970-01-01; quotes around it are allowed (RFC 9051 §9 date).
fn spaced_day(words: &mut Words<'_>) -> Parsed<i64> {
    words.space()?;
    let text = words.astring()?;
    let text = std::str::from_utf8(&text).unwrap_or_default();
    date::parse_day(text).ok_or(Refusal::Syntax("Invalid date"))
}
