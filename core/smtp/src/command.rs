//! One command line in, one `Command` out (RFC 5321 §4.1.1).

use crate::limits::HELLO_BYTES_MAX;
use crate::path::{
    ForwardPath, ReversePath, is_address_literal, is_domain, parse_forward, parse_reverse,
};
use crate::reply::Refusal;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    Helo(&'a str),
    Ehlo(&'a str),
    Lhlo(&'a str),
    Mail(Mail),
    /// What follows `RCPT`: whether UTF-8 is welcome is the transaction's to say. See `parse_rcpt`.
    Rcpt(&'a str),
    Data,
    Bdat {
        bytes: u64,
        last: bool,
    },
    Rset,
    Noop,
    Quit,
    Vrfy,
    Expn,
    Help,
    StartTls,
    Auth,
}

/// MAIL with its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mail {
    pub reverse_path: ReversePath,
    /// RFC 1870.
    pub size_bytes: Option<u64>,
    /// RFC 6152. `None`: not given.
    pub body: Option<Body>,
    /// RFC 6531.
    pub smtputf8: bool,
    pub has_parameters: bool,
}

/// What the sender says of the octets. We carry 8-bit data either way; this is kept for a relay to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    SevenBit,
    EightBitMime,
}

/// `line` is without its CRLF.
pub(crate) fn parse(line: &[u8]) -> Result<Command<'_>, Refusal> {
    if line
        .iter()
        .any(|byte| byte.is_ascii_control() && *byte != b'\t')
    {
        return Err(Refusal::BareControl);
    }
    let line = std::str::from_utf8(line).map_err(|_| Refusal::NotUtf8)?;
    let line = line.trim_end_matches([' ', '\t']);
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    let argument = argument.trim_start_matches(' ');
    let mut upper = [0u8; 8];
    let verb = match upper.get_mut(..verb.len()) {
        Some(upper) => {
            upper.copy_from_slice(verb.as_bytes());
            upper.make_ascii_uppercase();
            &*upper
        }
        None => return Err(Refusal::UnknownCommand),
    };

    let bare = |command| {
        if argument.is_empty() {
            Ok(command)
        } else {
            Err(Refusal::Syntax)
        }
    };
    match verb {
        b"MAIL" => parse_mail(argument).map(Command::Mail),
        b"RCPT" => Ok(Command::Rcpt(argument)),
        b"DATA" => bare(Command::Data),
        b"BDAT" => parse_bdat(argument),
        b"EHLO" => hello(argument).map(Command::Ehlo),
        b"HELO" => hello(argument).map(Command::Helo),
        b"LHLO" => hello(argument).map(Command::Lhlo),
        b"RSET" => bare(Command::Rset),
        b"QUIT" => bare(Command::Quit),
        b"NOOP" => Ok(Command::Noop),
        b"VRFY" if argument.is_empty() => Err(Refusal::Syntax),
        b"VRFY" => Ok(Command::Vrfy),
        b"EXPN" => Ok(Command::Expn),
        b"HELP" => Ok(Command::Help),
        b"STARTTLS" => bare(Command::StartTls),
        b"AUTH" => Ok(Command::Auth),
        // A browser made to post to a mail port; what follows is its content, not commands.
        b"GET" | b"POST" | b"PUT" | b"HEAD" | b"OPTIONS" | b"CONNECT" | b"HOST:" => {
            Err(Refusal::Http)
        }
        _ => Err(Refusal::UnknownCommand),
    }
}

/// The claimed name: kept to what cannot break a trace field. RFC 5321 §4.1.4 forbids refusing a wrong name, not a malformed one.
/// RFC 6531 §3.7.1: the name is ASCII (A-labels), since it is sent before SMTPUTF8 is known; and it goes into Received of messages
/// that are ASCII.
fn hello(argument: &str) -> Result<&str, Refusal> {
    let fits = argument.is_ascii()
        && argument.len() <= HELLO_BYTES_MAX
        && (is_domain(argument) || is_address_literal(argument));
    if fits {
        Ok(argument)
    } else {
        Err(Refusal::BadHello)
    }
}

fn parse_mail(argument: &str) -> Result<Mail, Refusal> {
    let path = after_keyword(argument, "FROM:")?;
    let (reverse_path, rest) = parse_reverse(path, true)?;
    let mut mail = Mail {
        reverse_path,
        size_bytes: None,
        body: None,
        smtputf8: false,
        has_parameters: false,
    };
    for parameter in parameters(rest)? {
        mail.has_parameters = true;
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (parameter, None),
        };
        if name.eq_ignore_ascii_case("SIZE") && mail.size_bytes.is_none() {
            mail.size_bytes = Some(number(value.ok_or(Refusal::BadParameter)?)?);
        } else if name.eq_ignore_ascii_case("BODY") && mail.body.is_none() {
            let value = value.ok_or(Refusal::BadParameter)?;
            mail.body = Some(if value.eq_ignore_ascii_case("7BIT") {
                Body::SevenBit
            } else if value.eq_ignore_ascii_case("8BITMIME") {
                Body::EightBitMime
            } else {
                return Err(Refusal::BadParameter);
            });
        } else if name.eq_ignore_ascii_case("SMTPUTF8") && !mail.smtputf8 {
            if value.is_some() {
                return Err(Refusal::BadParameter);
            }
            mail.smtputf8 = true;
        } else if ["SIZE", "BODY", "SMTPUTF8"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
        {
            return Err(Refusal::BadParameter); // given twice
        } else {
            return Err(Refusal::UnknownParameter);
        }
    }
    if !mail.smtputf8
        && let ReversePath::Address(address) = &mail.reverse_path
        && !(address.local().is_ascii() && address.domain().is_ascii())
    {
        return Err(Refusal::Utf8NotAnnounced);
    }
    Ok(mail)
}

/// `argument` is what follows `RCPT`. No parameter is offered (DSN is not), so any is refused.
pub(crate) fn parse_rcpt(argument: &str, utf8: bool) -> Result<ForwardPath, Refusal> {
    let path = after_keyword(argument, "TO:")?;
    let (forward_path, rest) = parse_forward(path, utf8)?;
    match parameters(rest)?.next() {
        Some(_) => Err(Refusal::UnknownParameter),
        None => Ok(forward_path),
    }
}

/// RFC 5321 §3.3 allows no space after the colon; people at terminals type one, and it can mean nothing else.
fn after_keyword<'a>(argument: &'a str, keyword: &str) -> Result<&'a str, Refusal> {
    match argument.get(..keyword.len()) {
        Some(head) if head.eq_ignore_ascii_case(keyword) => {
            Ok(argument[keyword.len()..].trim_start_matches(' '))
        }
        _ => Err(Refusal::Syntax),
    }
}

fn parameters(rest: &str) -> Result<impl Iterator<Item = &str>, Refusal> {
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(Refusal::BadPath);
    }
    Ok(rest.split(' ').filter(|parameter| !parameter.is_empty()))
}

/// RFC 3030 §2: `BDAT size [LAST]`.
fn parse_bdat(argument: &str) -> Result<Command<'_>, Refusal> {
    let (size, last) = argument.split_once(' ').unwrap_or((argument, ""));
    let bytes = number(size).map_err(|_| Refusal::Syntax)?;
    match last.trim_matches(' ') {
        "" => Ok(Command::Bdat { bytes, last: false }),
        word if word.eq_ignore_ascii_case("LAST") => Ok(Command::Bdat { bytes, last: true }),
        _ => Err(Refusal::Syntax),
    }
}

/// RFC 1870 §3: one to twenty digits. What does not fit 64 bits is surely too big.
fn number(digits: &str) -> Result<u64, Refusal> {
    if digits.is_empty() || digits.len() > 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::BadParameter);
    }
    Ok(digits.parse().unwrap_or(u64::MAX))
}
