//! Arguments of the smaller extensions.

use mail::Flags;

use crate::command::{Body, Letter, Message};
use crate::limits::{APPENDED_TOGETHER_MAX, OBJECT_ID_BYTES_MAX, QUOTA_LIMITS_MAX};

use super::words::Words;
use super::{Parsed, Refusal, flag_list, spaced_mailbox, spaced_set};

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

/// RFC 8970 §3.2: `(LAZY)` or nothing. Other parentheses behind it are modifiers of the FETCH.
pub(super) fn preview_modifier(words: &mut Words<'_>) -> Parsed<bool> {
    if !words.is_next(b" (LAZY") {
        return Ok(false);
    }
    words.space()?;
    words.expect(b'(')?;
    let lazy = words.keyword("LAZY");
    words.expect(b')')?;
    Ok(lazy)
}

/// RFC 9051 §6.3.12, RFC 3502 and RFC 8508: flags, date-time and message. Flags and date-time are optional; the message must be a literal.
pub(super) fn letter(words: &mut Words<'_>) -> Parsed<Letter> {
    words.space()?;
    let mut flags = Flags::default();
    if words.peek() == Some(b'(') {
        flags = flag_list(words)?;
        words.space()?;
    }
    let mut date = None;
    if words.peek() == Some(b'"') {
        let text = words.string()?;
        date =
            Some(crate::date::parse_date_time(&text).ok_or(Refusal::Syntax("Invalid date-time"))?);
        words.space()?;
    }
    // RFC 6855 §4: UTF8 (~{n} ...) once UTF8=ACCEPT is enabled.
    let wrapped = words.keyword("UTF8");
    if wrapped {
        words.space()?;
        words.expect(b'(')?;
    }
    let is_literal8 = words.peek() == Some(b'~');
    let range = words
        .literal_range()
        .ok_or(Refusal::Syntax("Message must be sent as a literal"))?;
    if words.has_nul(&range) {
        // RFC 9051 §4.3: CHAR8 has no NUL. In a literal8 it is allowed, but FETCH BODY[] could not give such a message back.
        return Err(match is_literal8 {
            true => Refusal::Binary,
            false => Refusal::Syntax("Literal must not contain NUL"),
        });
    }
    if wrapped {
        words.expect(b')')?;
    }
    Ok(Letter {
        flags,
        date,
        message: Message(range),
    })
}

/// RFC 3502: APPEND with one message or more.
pub(super) fn append(words: &mut Words<'_>) -> Parsed<Body> {
    let mailbox = spaced_mailbox(words)?;
    let mut letters = vec![letter(words)?];
    while words.peek() == Some(b' ') && !words.is_rest_blank() {
        if letters.len() == APPENDED_TOGETHER_MAX {
            return Err(Refusal::TooMuch("messages in one APPEND"));
        }
        letters.push(letter(words)?);
    }
    if letters.len() > 1 {
        return Ok(Body::AppendMany { mailbox, letters });
    }
    let Letter {
        flags,
        date,
        message,
    } = letters.remove(0);
    Ok(Body::Append {
        mailbox,
        flags,
        date,
        message,
    })
}

/// RFC 8508 §3.
pub(super) fn replace(words: &mut Words<'_>, uid: bool) -> Parsed<Body> {
    let set = spaced_set(words)?;
    let mailbox = spaced_mailbox(words)?;
    Ok(Body::Replace {
        uid,
        set,
        mailbox,
        letter: letter(words)?,
    })
}

/// RFC 10022: a size, and a range of batches or all of them.
pub(super) fn uid_batches(words: &mut Words<'_>) -> Parsed<Body> {
    words.space()?;
    let size = counted(words)?;
    let mut batches = None;
    if words.peek() == Some(b' ') && !words.is_rest_blank() {
        words.space()?;
        let first = counted(words)?;
        if !words.accept(b':') {
            return Err(Refusal::Syntax("Expected a range of batches as 1:3"));
        }
        let last = counted(words)?;
        if first > last {
            return Err(Refusal::TurnedBatches);
        }
        batches = Some((first, last));
    }
    Ok(Body::UidBatches { size, batches })
}

/// A number that is not 0.
fn counted(words: &mut Words<'_>) -> Parsed<u32> {
    match words.number()? {
        0 => Err(Refusal::Syntax(
            "Batches and their messages are counted from 1",
        )),
        number => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use crate::client::put_command;
    use crate::parse::{Names, command};

    use super::*;

    #[test]
    fn batches_are_a_size_and_a_range_that_ascends() {
        let parsed = |line: &str| command(line.as_bytes(), Names::Utf8);
        for (line, batches) in [
            ("t UIDBATCHES 2000\r\n", None),
            ("t UIDBATCHES 2000 10:20\r\n", Some((10, 20))),
            ("t UIDBATCHES 2000 1:1\r\n", Some((1, 1))),
        ] {
            let read = parsed(line).unwrap();
            let size = 2000;
            assert_eq!(read.body, Body::UidBatches { size, batches });
            let mut written = Vec::new();
            put_command(&mut written, &read, b"", Names::Utf8);
            assert_eq!(written, line.as_bytes());
        }
        let refusal = |line: &str| parsed(line).unwrap_err().refusal;
        assert_eq!(refusal("t UIDBATCHES 2000 2:1\r\n"), Refusal::TurnedBatches);
        for line in [
            "t UIDBATCHES\r\n",
            "t UIDBATCHES 0\r\n",
            "t UIDBATCHES x\r\n",
            "t UIDBATCHES 2000 7\r\n",
            "t UIDBATCHES 2000 0:7\r\n",
            "t UIDBATCHES 2000 1:*\r\n",
            "t UIDBATCHES 2000 1:2 3\r\n",
            "t UID UIDBATCHES 2000\r\n",
        ] {
            assert!(
                matches!(refusal(line), Refusal::Syntax(_) | Refusal::UnknownCommand),
                "{line}"
            );
        }
    }
}
