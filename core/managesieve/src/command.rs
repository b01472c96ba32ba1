//! Commands of the client (RFC 5804 §2): what they are called and what they take.

use unicode_normalization::UnicodeNormalization;

use crate::limits::{NAME_BYTES_MAX, NAME_LETTERS_MAX};
use crate::reader::Word;

/// One command, its arguments checked.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Authenticate {
        mechanism: String,
        initial: Option<Vec<u8>>,
    },
    StartTls,
    Logout,
    Capability,
    HaveSpace {
        name: String,
        bytes: u32,
    },
    PutScript {
        name: String,
        text: Vec<u8>,
    },
    ListScripts,
    /// `None`: none is active any more.
    SetActive(Option<String>),
    GetScript(String),
    DeleteScript(String),
    RenameScript {
        from: String,
        to: String,
    },
    CheckScript(Vec<u8>),
    /// What to put into the answer.
    Noop(Option<String>),
    Unauthenticate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Unknown,
    Arguments,
    /// RFC 5804 §1.6: not a script's name.
    Name,
}

/// Commands are compared without regard to case.
pub fn parse(words: Vec<Word>) -> Result<Command, Fault> {
    let mut words = words.into_iter();
    let Some(Word::Atom(command)) = words.next() else {
        return Err(Fault::Unknown);
    };
    let command = command.to_ascii_uppercase();
    let arguments = [words.next(), words.next()];
    let parsed = match (&command[..], arguments) {
        (b"AUTHENTICATE", [Some(Word::Text(mechanism)), None]) => Command::Authenticate {
            mechanism: text(mechanism)?,
            initial: None,
        },
        (b"AUTHENTICATE", [Some(Word::Text(mechanism)), Some(Word::Text(initial))]) => {
            Command::Authenticate {
                mechanism: text(mechanism)?,
                initial: Some(initial),
            }
        }
        (b"STARTTLS", [None, None]) => Command::StartTls,
        (b"LOGOUT", [None, None]) => Command::Logout,
        (b"CAPABILITY", [None, None]) => Command::Capability,
        (b"HAVESPACE", [Some(Word::Text(script)), Some(Word::Atom(bytes))]) => {
            let bytes = std::str::from_utf8(&bytes).ok();
            let bytes = bytes.filter(|bytes| bytes.bytes().all(|byte| byte.is_ascii_digit()));
            Command::HaveSpace {
                name: name(script)?,
                bytes: bytes
                    .and_then(|bytes| bytes.parse().ok())
                    .ok_or(Fault::Arguments)?,
            }
        }
        (b"PUTSCRIPT", [Some(Word::Text(script)), Some(Word::Text(text))]) => Command::PutScript {
            name: name(script)?,
            text,
        },
        (b"LISTSCRIPTS", [None, None]) => Command::ListScripts,
        (b"SETACTIVE", [Some(Word::Text(script)), None]) => {
            Command::SetActive(match script.is_empty() {
                true => None,
                false => Some(name(script)?),
            })
        }
        (b"GETSCRIPT", [Some(Word::Text(script)), None]) => Command::GetScript(name(script)?),
        (b"DELETESCRIPT", [Some(Word::Text(script)), None]) => Command::DeleteScript(name(script)?),
        (b"RENAMESCRIPT", [Some(Word::Text(from)), Some(Word::Text(to))]) => {
            Command::RenameScript {
                from: name(from)?,
                to: name(to)?,
            }
        }
        (b"CHECKSCRIPT", [Some(Word::Text(text)), None]) => Command::CheckScript(text),
        (b"NOOP", [None, None]) => Command::Noop(None),
        (b"NOOP", [Some(Word::Text(tag)), None]) => Command::Noop(Some(text(tag)?)),
        (b"UNAUTHENTICATE", [None, None]) => Command::Unauthenticate,
        (command, _) if NAMES.contains(&command) => return Err(Fault::Arguments),
        _ => return Err(Fault::Unknown),
    };
    Ok(parsed)
}

fn text(word: Vec<u8>) -> Result<String, Fault> {
    String::from_utf8(word).map_err(|_| Fault::Arguments)
}

/// RFC 5804 §1.6, as programs on this box choose names too. A name has one spelling: RFC 5198 §3 has it in the form NFC.
pub fn script_name(name: &str) -> Result<String, Fault> {
    // Composed letters are never more than those they were composed of, and never three times as long.
    if name.is_empty() || name.len() > 3 * NAME_BYTES_MAX {
        return Err(Fault::Name);
    }
    let name: String = name.nfc().collect();
    let is_forbidden = |letter: char| {
        letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
    };
    let is_good = name.len() <= NAME_BYTES_MAX
        && name.chars().count() <= NAME_LETTERS_MAX
        && !name.chars().any(is_forbidden);
    match is_good {
        true => Ok(name),
        false => Err(Fault::Name),
    }
}

fn name(word: Vec<u8>) -> Result<String, Fault> {
    script_name(std::str::from_utf8(&word).map_err(|_| Fault::Name)?)
}

const NAMES: [&[u8]; 14] = [
    b"AUTHENTICATE",
    b"STARTTLS",
    b"LOGOUT",
    b"CAPABILITY",
    b"HAVESPACE",
    b"PUTSCRIPT",
    b"LISTSCRIPTS",
    b"SETACTIVE",
    b"GETSCRIPT",
    b"DELETESCRIPT",
    b"RENAMESCRIPT",
    b"CHECKSCRIPT",
    b"NOOP",
    b"UNAUTHENTICATE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling_and_no_control_characters() {
        assert_eq!(script_name("u\u{308}ber").as_deref(), Ok("über"));
        let longest = "ü".repeat(NAME_LETTERS_MAX);
        assert_eq!(script_name(&longest).as_deref(), Ok(&longest[..]));
        let wide = "\u{1f4e7}".repeat(NAME_LETTERS_MAX);
        assert_eq!(script_name(&wide).as_deref(), Ok(&wide[..]));
        for bad in [
            "",
            "a\tb",
            "a\u{7f}",
            "a\u{85}",
            "a\u{2028}",
            &"a".repeat(NAME_LETTERS_MAX + 1),
        ] {
            assert_eq!(script_name(bad), Err(Fault::Name), "{bad:?}");
        }
    }
}
