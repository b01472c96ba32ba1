//! One command line in, one `Command` out (RFC 5321 §4.1.1).

use sasl::Mechanism;

use crate::envelope::{Body, Notify, Returned};
use crate::limits::{
    DELIVERY_BYTES_MAX, ENVELOPE_ID_BYTES_MAX, HELLO_BYTES_MAX, ORIGINAL_RECIPIENT_BYTES_MAX,
};
use crate::path::{
    ForwardPath, ReversePath, is_address_literal, is_domain, parse_forward, parse_reverse,
};
use crate::reply::Refusal;

/// A command with its argument, of which the form has been checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// RFC 5321 §4.1.1.1.
    Helo(&'a str),
    /// RFC 5321 §4.1.1.1.
    Ehlo(&'a str),
    /// RFC 2033 §4.1.
    Lhlo(&'a str),
    /// RFC 5321 §4.1.1.2.
    Mail(Mail),
    /// What follows `RCPT`: whether UTF-8 is welcome is the transaction's to say. See `parse_rcpt`.
    Rcpt(&'a str),
    /// RFC 5321 §4.1.1.4.
    Data,
    /// RFC 3030 §2.
    Bdat {
        /// Octets of the chunk.
        bytes: u64,
        /// No chunk follows.
        last: bool,
    },
    /// RFC 5321 §4.1.1.5.
    Rset,
    /// RFC 5321 §4.1.1.9.
    Noop,
    /// RFC 5321 §4.1.1.10.
    Quit,
    /// RFC 5321 §4.1.1.6.
    Vrfy,
    /// RFC 5321 §4.1.1.7.
    Expn,
    /// RFC 5321 §4.1.1.8.
    Help,
    /// RFC 3207 §4.
    StartTls,
    /// What follows `XCLIENT`.
    Xclient(&'a str),
    /// RFC 4954 §4.
    Auth {
        /// `None`: one that is not known.
        mechanism: Option<Mechanism>,
        /// In base64; `=` is an empty one.
        initial: Option<&'a str>,
    },
}

/// MAIL with its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mail {
    /// The sender; empty for a report.
    pub reverse_path: ReversePath,
    /// RFC 1870.
    pub size_bytes: Option<u64>,
    /// RFC 6152. `None`: not given.
    pub body: Option<Body>,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 3461.
    pub returned: Option<Returned>,
    /// The sender's own name for the transaction (RFC 3461 §4.4).
    pub envelope_id: Option<String>,
    /// XDELIVERY, as it was given: which delivery this is, in the words of another zone of ours.
    pub delivery: Option<String>,
    /// HELO does not offer extensions: then none may be given.
    pub has_parameters: bool,
}

/// RCPT with its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rcpt {
    pub path: ForwardPath,
    /// RFC 3461.
    pub notify: Option<Notify>,
    /// The address that the sender first had (RFC 3461 §4.2).
    pub original: Option<String>,
}

/// `line` is without its CRLF. `submission`: the parameters of people's programs are known too (AUTH, RFC 4954 §5; RET and ENVID, RFC 3461).
pub(crate) fn parse(line: &[u8], submission: bool, zone: bool) -> Result<Command<'_>, Refusal> {
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
        b"MAIL" => parse_mail(argument, submission, zone).map(Command::Mail),
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
        b"AUTH" => parse_auth(argument),
        b"XCLIENT" => Ok(Command::Xclient(argument)),
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
    match is_hello(argument) {
        true => Ok(argument),
        false => Err(Refusal::BadHello),
    }
}

/// Whether the name has a form that RFC 5321 §4.1.2 allows.
pub(crate) fn is_hello(name: &str) -> bool {
    name.is_ascii()
        && name.len() <= HELLO_BYTES_MAX
        && (is_domain(name) || is_address_literal(name))
}

/// MAIL. A parameter that is given twice, or is not known, refuses the command.
/// Parameters of RFC 3461 and RFC 4954 are known on a port of `submission`, XDELIVERY to a peer that is a zone of ours.
fn parse_mail(argument: &str, submission: bool, zone: bool) -> Result<Mail, Refusal> {
    let path = after_keyword(argument, "FROM:")?;
    let (reverse_path, rest) = parse_reverse(path, true)?;
    let mut mail = Mail {
        reverse_path,
        size_bytes: None,
        body: None,
        smtputf8: false,
        returned: None,
        envelope_id: None,
        delivery: None,
        has_parameters: false,
    };
    let mut acting_for = false;
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
        } else if submission && name.eq_ignore_ascii_case("RET") && mail.returned.is_none() {
            mail.returned = Some(returned(value.ok_or(Refusal::BadParameter)?)?);
        } else if submission && name.eq_ignore_ascii_case("ENVID") && mail.envelope_id.is_none() {
            let value = value.ok_or(Refusal::BadParameter)?;
            let fits = (1..=ENVELOPE_ID_BYTES_MAX).contains(&xtext(value)?);
            mail.envelope_id = Some(match fits {
                true => value.to_owned(),
                false => return Err(Refusal::BadParameter),
            });
        } else if submission && name.eq_ignore_ascii_case("AUTH") && !acting_for {
            // RFC 4954 §5: who first submitted the message, as the client has it. We pass nobody's word on: `<>` goes out.
            xtext(value.ok_or(Refusal::BadParameter)?)?;
            acting_for = true;
        } else if zone && name.eq_ignore_ascii_case("XDELIVERY") && mail.delivery.is_none() {
            let value = value.filter(|value| value.len() <= DELIVERY_BYTES_MAX);
            mail.delivery = Some(value.ok_or(Refusal::BadParameter)?.to_owned());
        } else if ["SIZE", "BODY", "SMTPUTF8"]
            .iter()
            .chain(["RET", "ENVID", "AUTH"].iter().filter(|_| submission))
            .chain(["XDELIVERY"].iter().filter(|_| zone))
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

/// `argument` is what follows `RCPT`. Parameters are those of RFC 3461, which only `submission` offers.
pub(crate) fn parse_rcpt(argument: &str, utf8: bool, submission: bool) -> Result<Rcpt, Refusal> {
    let path = after_keyword(argument, "TO:")?;
    let (path, rest) = parse_forward(path, utf8)?;
    let mut rcpt = Rcpt {
        path,
        notify: None,
        original: None,
    };
    for parameter in parameters(rest)? {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if submission && name.eq_ignore_ascii_case("NOTIFY") && rcpt.notify.is_none() {
            rcpt.notify = Some(notify(value)?);
        } else if submission && name.eq_ignore_ascii_case("ORCPT") && rcpt.original.is_none() {
            rcpt.original = Some(original_recipient(value)?);
        } else if submission
            && ["NOTIFY", "ORCPT"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
        {
            return Err(Refusal::BadParameter); // said twice
        } else {
            return Err(Refusal::UnknownParameter);
        }
    }
    Ok(rcpt)
}

/// RFC 4954 §4: a mechanism and perhaps an initial response.
fn parse_auth(argument: &str) -> Result<Command<'_>, Refusal> {
    let (name, initial) = match argument.split_once(' ') {
        Some((name, initial)) => (name, Some(initial.trim_start_matches(' '))),
        None => (argument, None),
    };
    if name.is_empty() || initial.is_some_and(|initial| initial.is_empty() || initial.contains(' '))
    {
        return Err(Refusal::Syntax);
    }
    Ok(Command::Auth {
        mechanism: Mechanism::named(name),
        initial,
    })
}

/// RET (RFC 3461 §4.3).
fn returned(value: &str) -> Result<Returned, Refusal> {
    if value.eq_ignore_ascii_case("FULL") {
        Ok(Returned::Full)
    } else if value.eq_ignore_ascii_case("HDRS") {
        Ok(Returned::Headers)
    } else {
        Err(Refusal::BadParameter)
    }
}

/// RFC 3461 §4.1: NEVER alone, or a list of the others.
fn notify(value: &str) -> Result<Notify, Refusal> {
    let mut notify = Notify::default();
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(notify);
    }
    for word in value.split(',') {
        let wanted = if word.eq_ignore_ascii_case("SUCCESS") {
            &mut notify.success
        } else if word.eq_ignore_ascii_case("FAILURE") {
            &mut notify.failure
        } else if word.eq_ignore_ascii_case("DELAY") {
            &mut notify.delay
        } else {
            return Err(Refusal::BadParameter);
        };
        *wanted = true;
    }
    Ok(notify)
}

/// RFC 3461 §4.2: an address type, `;`, and xtext.
fn original_recipient(value: &str) -> Result<String, Refusal> {
    let (kind, address) = value.split_once(';').ok_or(Refusal::BadParameter)?;
    let is_atom = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        !text.is_empty() && text.bytes().all(plain)
    };
    let bytes = kind.len() + 1 + xtext(address)?;
    match is_atom(kind) && !address.is_empty() && bytes <= ORIGINAL_RECIPIENT_BYTES_MAX {
        true => Ok(value.to_owned()),
        false => Err(Refusal::BadParameter),
    }
}

/// RFC 3461 §4: printable ASCII in which `+` and two capital hexadecimal digits stand for a byte. Answers how many bytes it stands for. It
/// goes into header fields of reports: nothing that is not printable ASCII may come of it.
fn xtext(text: &str) -> Result<usize, Refusal> {
    let mut count = 0;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'+' => {
                let mut digit = || match bytes.next() {
                    Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
                    Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
                    _ => Err(Refusal::BadParameter),
                };
                let high = digit()?;
                high * 16 + digit()?
            }
            b'=' => return Err(Refusal::BadParameter),
            byte => byte,
        };
        if !(byte.is_ascii_graphic() || byte == b' ') {
            return Err(Refusal::BadParameter);
        }
        count += 1;
    }
    Ok(count)
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

/// The words behind a path, blanks between them.
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
