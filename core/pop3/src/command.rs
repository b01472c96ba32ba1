//! A line of the client as a command (RFC 1939 §3: a keyword in any case, then arguments after single spaces).

/// What a client may ask. Numbers are not checked against the maildrop here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    Auth {
        /// `None`: the client asks which mechanisms there are.
        mechanism: Option<&'a str>,
        /// RFC 5034 §4; `Some` of nothing where it is `=`.
        initial: Option<&'a [u8]>,
    },
    Capa,
    Dele(u32),
    /// RFC 6856 §3; `None`: the client asks which there are.
    Lang(Option<&'a str>),
    List(Option<u32>),
    Noop,
    /// All behind the space: a password may have spaces.
    Pass(&'a [u8]),
    Quit,
    Retr(u32),
    Rset,
    Stat,
    Stls,
    Top {
        number: u32,
        lines: u32,
    },
    Uidl(Option<u32>),
    User(&'a [u8]),
    Utf8,
}

/// Why a line is not a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Unknown,
    /// The keyword is right.
    Arguments,
}

/// Parses a line without its line end.
pub fn parse(line: &[u8]) -> Result<Command<'_>, Fault> {
    let (keyword, rest) = match line.iter().position(|&byte| byte == b' ') {
        Some(at) => (&line[..at], Some(&line[at + 1..])),
        None => (line, None),
    };
    if keyword.len() > KEYWORD_BYTES_MAX {
        return Err(Fault::Unknown);
    }
    let keyword = keyword.to_ascii_uppercase();
    // Many clients leave a space behind a command without arguments.
    let words = rest.map(<[u8]>::trim_ascii).filter(|rest| !rest.is_empty());
    let bare = |command| match words {
        None => Ok(command),
        Some(_) => Err(Fault::Arguments),
    };
    match &keyword[..] {
        b"USER" => Ok(Command::User(text(rest)?)),
        b"PASS" => Ok(Command::Pass(text(rest)?)),
        b"AUTH" => auth(words),
        b"CAPA" => bare(Command::Capa),
        b"STLS" => bare(Command::Stls),
        b"UTF8" => bare(Command::Utf8),
        b"LANG" => match words.map(str::from_utf8) {
            None => Ok(Command::Lang(None)),
            Some(Ok(language)) if !language.contains(' ') => Ok(Command::Lang(Some(language))),
            Some(_) => Err(Fault::Arguments),
        },
        b"STAT" => bare(Command::Stat),
        b"LIST" => Ok(Command::List(words.map(number).transpose()?)),
        b"UIDL" => Ok(Command::Uidl(words.map(number).transpose()?)),
        b"RETR" => Ok(Command::Retr(number(words.ok_or(Fault::Arguments)?)?)),
        b"DELE" => Ok(Command::Dele(number(words.ok_or(Fault::Arguments)?)?)),
        b"TOP" => top(words.ok_or(Fault::Arguments)?),
        b"NOOP" => bare(Command::Noop),
        b"RSET" => bare(Command::Rset),
        b"QUIT" => bare(Command::Quit),
        _ => Err(Fault::Unknown),
    }
}

/// An argument that is taken as it stands.
fn text(rest: Option<&[u8]>) -> Result<&[u8], Fault> {
    let text = rest.filter(|text| !text.is_empty() && !text.contains(&0));
    text.ok_or(Fault::Arguments)
}

fn auth(words: Option<&[u8]>) -> Result<Command<'_>, Fault> {
    let Some(words) = words else {
        return Ok(Command::Auth {
            mechanism: None,
            initial: None,
        });
    };
    let words = str::from_utf8(words).map_err(|_| Fault::Arguments)?;
    let (mechanism, initial) = match words.split_once(' ') {
        Some((mechanism, initial)) => (mechanism, Some(initial.as_bytes())),
        None => (words, None),
    };
    let initial = match initial {
        Some(b"=") => Some(&b""[..]),
        initial => initial,
    };
    Ok(Command::Auth {
        mechanism: Some(mechanism),
        initial,
    })
}

fn top(words: &[u8]) -> Result<Command<'_>, Fault> {
    let at = words.iter().position(|&byte| byte == b' ');
    let at = at.ok_or(Fault::Arguments)?;
    Ok(Command::Top {
        number: number(&words[..at])?,
        // More lines than a number can say are all of them.
        lines: number(words[at + 1..].trim_ascii_start())?,
    })
}

/// Digits and nothing else. A number that is too large is one that no message has.
fn number(word: &[u8]) -> Result<u32, Fault> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Arguments);
    }
    let digits = str::from_utf8(word).expect("they are ASCII");
    Ok(digits.parse().unwrap_or(u32::MAX))
}

/// RFC 1939 §3: keywords have three or four octets.
const KEYWORD_BYTES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_have_any_case_and_arguments_are_what_they_say() {
        for (line, command) in [
            (&b"stat"[..], Command::Stat),
            (b"STAT ", Command::Stat),
            (b"Retr 12", Command::Retr(12)),
            (b"RETR 99999999999", Command::Retr(u32::MAX)),
            (b"LIST", Command::List(None)),
            (b"LIST 3 ", Command::List(Some(3))),
            (b"UIDL 0", Command::Uidl(Some(0))),
            (
                b"TOP 1 0",
                Command::Top {
                    number: 1,
                    lines: 0,
                },
            ),
            (b"PASS  a b ", Command::Pass(b" a b ")),
            (b"user \xc3\xa9", Command::User(b"\xc3\xa9")),
            (
                b"AUTH",
                Command::Auth {
                    mechanism: None,
                    initial: None,
                },
            ),
            (
                b"AUTH PLAIN =",
                Command::Auth {
                    mechanism: Some("PLAIN"),
                    initial: Some(b""),
                },
            ),
            (b"LANG *", Command::Lang(Some("*"))),
        ] {
            assert_eq!(parse(line), Ok(command));
        }
    }

    #[test]
    fn what_is_not_a_command_is_told_apart_from_wrong_arguments() {
        for line in [
            &b""[..],
            b" STAT",
            b"APOP a b",
            b"XYZZY",
            b"\0\0\0\0",
            b"STAT\t",
        ] {
            assert_eq!(parse(line), Err(Fault::Unknown));
        }
        for line in [
            &b"RETR"[..],
            b"RETR x",
            b"RETR -1",
            b"RETR +1",
            b"RETR 1 2",
            b"TOP 1",
            b"TOP 1 -2",
            b"STAT 1",
            b"PASS",
            b"PASS ",
            b"USER a\0b",
            b"AUTH \xff",
            b"LANG a b",
        ] {
            assert_eq!(parse(line), Err(Fault::Arguments));
        }
    }
}
