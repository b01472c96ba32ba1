//! Arguments of ACL and METADATA (RFC 4314 §4, RFC 5464 §5).

use mail::RightsChange;

use crate::acl::Acl;
use crate::command::Body;
use crate::limits::{IDENTIFIER_BYTES_MAX, METADATA_ENTRIES_MAX, METADATA_NAME_BYTES_MAX};
use crate::metadata::{Depth, Metadata};

use super::words::Words;
use super::{Parsed, Refusal, spaced_mailbox};

/// `name` is one of the five commands.
pub(super) fn acl(words: &mut Words<'_>, name: &str) -> Parsed<Body> {
    let mailbox = spaced_mailbox(words)?;
    Ok(Body::Acl(match name {
        "SETACL" => {
            let identifier = identifier(words)?;
            words.space()?;
            let text = words.astring()?;
            let text = std::str::from_utf8(&text).ok();
            // RFC 4314 §3.1: a right that the server does not know is answered BAD.
            let change = text.and_then(RightsChange::parse);
            Acl::Set {
                mailbox,
                identifier,
                change: change.ok_or(Refusal::Syntax("Unknown right"))?,
            }
        }
        "DELETEACL" => Acl::Delete {
            mailbox,
            identifier: identifier(words)?,
        },
        "LISTRIGHTS" => Acl::ListRights {
            mailbox,
            identifier: identifier(words)?,
        },
        "GETACL" => Acl::Get { mailbox },
        _ => Acl::MyRights { mailbox },
    }))
}

/// A space and an identifier: UTF-8 without control characters.
fn identifier(words: &mut Words<'_>) -> Parsed<Box<str>> {
    words.space()?;
    let bytes = words.astring()?;
    if bytes.len() > IDENTIFIER_BYTES_MAX {
        return Err(Refusal::TooMuch("octets in an identifier"));
    }
    let text = std::str::from_utf8(&bytes).ok();
    let text = text.filter(|text| !text.is_empty() && !text.chars().any(char::is_control));
    Ok(text.ok_or(Refusal::Syntax("Invalid identifier"))?.into())
}

/// GETMETADATA. RFC 5464 has the options in front of the mailbox in its grammar and behind it in its examples: both are taken.
pub(super) fn get_metadata(words: &mut Words<'_>) -> Parsed<Body> {
    words.space()?;
    let (mut size_max, mut depth) = (None, Depth::Zero);
    let in_front = words.peek() == Some(b'(');
    if in_front {
        (size_max, depth) = options(words)?;
        words.space()?;
    }
    let mailbox = words.mailbox()?;
    words.space()?;
    if !in_front && (words.is_next(b"(MAXSIZE") || words.is_next(b"(DEPTH")) {
        (size_max, depth) = options(words)?;
        words.space()?;
    }
    let entries = entry_list(words)?;
    Ok(Body::Metadata(Metadata::Get {
        mailbox,
        size_max,
        depth,
        entries,
    }))
}

/// One entry, or some in parentheses.
pub(super) fn entry_list(words: &mut Words<'_>) -> Parsed<Vec<Box<str>>> {
    let mut entries = Vec::new();
    if !words.accept(b'(') {
        entries.push(entry(words)?);
        return Ok(entries);
    }
    loop {
        // until the parenthesis, or `METADATA_ENTRIES_MAX`
        entries.push(entry(words)?);
        if words.accept(b')') {
            return Ok(entries);
        }
        if entries.len() == METADATA_ENTRIES_MAX {
            return Err(Refusal::TooMuch("entries"));
        }
        words.space()?;
    }
}

fn options(words: &mut Words<'_>) -> Parsed<(Option<u32>, Depth)> {
    let (mut size_max, mut depth) = (None, Depth::Zero);
    words.expect(b'(')?;
    loop {
        // until the parenthesis; each turn takes a word
        match &words.item_name()[..] {
            "MAXSIZE" => {
                words.space()?;
                size_max = Some(words.number()?);
            }
            "DEPTH" => {
                words.space()?;
                depth = match &words.item_name()[..] {
                    "0" => Depth::Zero,
                    "1" => Depth::One,
                    "INFINITY" => Depth::Infinity,
                    _ => return Err(Refusal::Syntax("Expected a depth of 0, 1 or infinity")),
                };
            }
            _ => return Err(Refusal::Syntax("Unknown GETMETADATA option")),
        }
        if words.accept(b')') {
            return Ok((size_max, depth));
        }
        words.space()?;
    }
}

/// SETMETADATA: pairs of an entry and its value.
pub(super) fn set_metadata(words: &mut Words<'_>) -> Parsed<Body> {
    let mailbox = spaced_mailbox(words)?;
    words.space()?;
    words.expect(b'(')?;
    let mut entries = Vec::new();
    loop {
        // until the parenthesis, or `METADATA_ENTRIES_MAX`
        let name = entry(words)?;
        words.space()?;
        let value = match words.keyword("NIL") {
            true => None,
            false => Some(words.string()?.into_owned()),
        };
        entries.push((name, value));
        if words.accept(b')') {
            return Ok(Body::Metadata(Metadata::Set { mailbox, entries }));
        }
        if entries.len() == METADATA_ENTRIES_MAX {
            return Err(Refusal::TooMuch("entries"));
        }
        words.space()?;
    }
}

/// RFC 5464 §3.2: components behind `/`, of printable ASCII without wildcards; case says nothing.
fn entry(words: &mut Words<'_>) -> Parsed<Box<str>> {
    let bytes = words.astring()?;
    if bytes.len() > METADATA_NAME_BYTES_MAX {
        return Err(Refusal::TooMuch("octets in an entry name"));
    }
    let belongs = |byte: &u8| (b' '..=b'~').contains(byte) && !b"*%".contains(byte);
    let text = std::str::from_utf8(&bytes).ok();
    let text = text.filter(|text| {
        let is_whole = text.starts_with('/') && !text.ends_with('/') && !text.contains("//");
        is_whole && text.bytes().all(|byte| belongs(&byte))
    });
    let text = text.ok_or(Refusal::Syntax("Invalid entry name"))?;
    Ok(text.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::command;
    use super::*;
    use crate::client::put_command;
    use crate::command::Command;
    use crate::parse::Names;

    fn parsed(line: &str) -> Parsed<Body> {
        let bytes = format!("1 {line}\r\n");
        let parsed = command(bytes.as_bytes(), Names::Utf8);
        parsed
            .map(|command| command.body)
            .map_err(|bad| bad.refusal)
    }

    fn any_acl() -> impl Strategy<Value = Acl> {
        let name = || "[a-zA-Z0-9/ \"\\\\é&-]{1,20}".prop_map(Box::<str>::from);
        let who = || "-?[a-z.\" é@]{1,30}".prop_map(Box::<str>::from);
        let change = (0u8..3, 0u16..=mail::Rights::ALL.bits()).prop_map(|(way, bits)| {
            let rights = mail::Rights::of_bits(bits).unwrap();
            match way {
                0 => RightsChange::Replace(rights),
                1 => RightsChange::Add(rights),
                _ => RightsChange::Remove(rights),
            }
        });
        prop_oneof![
            (name(), who(), change).prop_map(|(mailbox, identifier, change)| Acl::Set {
                mailbox,
                identifier,
                change
            }),
            (name(), who()).prop_map(|(mailbox, identifier)| Acl::Delete {
                mailbox,
                identifier
            }),
            (name(), who()).prop_map(|(mailbox, identifier)| Acl::ListRights {
                mailbox,
                identifier
            }),
            name().prop_map(|mailbox| Acl::Get { mailbox }),
            name().prop_map(|mailbox| Acl::MyRights { mailbox }),
        ]
    }

    fn any_metadata() -> impl Strategy<Value = Metadata> {
        let name = || prop_oneof![Just("".to_owned()), "[a-z/é]{1,20}".prop_map(|name| name)];
        let name = move || name().prop_map(Box::<str>::from);
        let entry = || "(/[a-z \"]{1,9}){1,4}".prop_map(Box::<str>::from);
        let value = prop::option::of(prop::collection::vec(1u8.., 0..40));
        let depth = prop::sample::select(vec![Depth::Zero, Depth::One, Depth::Infinity]);
        let wanted = (
            name(),
            any::<Option<u32>>(),
            depth,
            prop::collection::vec(entry(), 1..5),
        );
        let pairs = prop::collection::vec((entry(), value), 1..5);
        prop_oneof![
            wanted.prop_map(|(mailbox, size_max, depth, entries)| Metadata::Get {
                mailbox,
                size_max,
                depth,
                entries
            }),
            (name(), pairs).prop_map(|(mailbox, entries)| Metadata::Set { mailbox, entries }),
        ]
    }

    proptest! {
        #[test]
        fn what_a_client_writes_is_read_back(acl in any_acl(), metadata in any_metadata()) {
            for body in [Body::Acl(acl), Body::Metadata(metadata)] {
                for names in [Names::Utf8, Names::ModifiedUtf7] {
                    let wanted = Command { tag: "7".into(), body: body.clone() };
                    let mut out = Vec::new();
                    put_command(&mut out, &wanted, b"", names);
                    prop_assert_eq!(command(&out, names).ok(), Some(wanted));
                }
            }
        }
    }

    #[test]
    fn unknown_rights_and_bad_identifiers_are_refused() {
        assert!(parsed("SETACL INBOX bob lrswipkxteacd").is_ok());
        for line in [
            "SETACL INBOX bob lrq",
            "SETACL INBOX bob LR",
            "SETACL INBOX bob",
            "SETACL INBOX \"\" lr",
            "SETACL INBOX \"a\tb\" lr",
            "MYRIGHTS",
            "GETACL INBOX bob",
            "LISTRIGHTS INBOX",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
        let long = format!("GETACL INBOX\r\n1 DELETEACL INBOX {}", "x".repeat(1_025));
        assert!(parsed(&long).is_err());
        let long = format!("DELETEACL INBOX {}", "x".repeat(1_025));
        assert!(matches!(parsed(&long), Err(Refusal::TooMuch(_))));
    }

    #[test]
    fn options_stand_on_either_side_of_the_mailbox() {
        let one = parsed("GETMETADATA (MAXSIZE 9 DEPTH 1) INBOX /shared/Comment").unwrap();
        let other = parsed("GETMETADATA INBOX (MAXSIZE 9 DEPTH 1) (/SHARED/comment)").unwrap();
        assert_eq!(one, other);
        for line in [
            "GETMETADATA INBOX",
            "GETMETADATA INBOX ()",
            "GETMETADATA INBOX comment",
            "GETMETADATA INBOX /shared//comment",
            "GETMETADATA INBOX /shared/comment/",
            "GETMETADATA INBOX \"/shared/*\"",
            "GETMETADATA (DEPTH 2) INBOX /shared",
            "GETMETADATA (SIZE 2) INBOX /shared",
            "SETMETADATA INBOX ()",
            "SETMETADATA INBOX (/shared/comment)",
            "SETMETADATA INBOX (/shared/comment value)",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
        let many = vec!["/a"; METADATA_ENTRIES_MAX + 1].join(" ");
        let many = parsed(&format!("GETMETADATA INBOX ({many})"));
        assert!(matches!(many, Err(Refusal::TooMuch(_))));
    }
}
