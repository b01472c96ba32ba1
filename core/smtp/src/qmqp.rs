//! QMQP, the Quick Mail Queueing Protocol (cr.yp.to/proto/qmqp.html), as pure functions: netstrings in, a request or an answer out.
//!
//! A client sends one netstring: the message, the sender and the recipients as netstrings inside of it. The server answers with one netstring whose first
//! letter is the outcome for all recipients together. The message's lines end in LF on the wire; here they end in CRLF, as everywhere else.
//!
//! What must hold: no input makes it panic; nothing is reserved for a length that a peer only claims (`length` lets the caller decide first); what
//! `request` writes, `Request::parse` gives back.

use mail::Address;

use crate::limits::{NETSTRING_DIGITS_MAX, RECIPIENTS_MAX};
use crate::path::ReversePath;

/// The bytes are not QMQP, or name more than we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Not a netstring, or not the netstrings that belong there.
    Form,
    /// The sender or a recipient is not an address.
    Address,
    /// More than `RECIPIENTS_MAX`.
    Recipients,
    /// A CR without its LF, or a NUL.
    BareCr,
}

/// What the server made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// `K`: it is the server's now, for all recipients.
    Taken,
    /// `Z`: try again later.
    Later,
    /// `D`: not for any recipient, for good.
    Never,
}

/// A whole request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Lines end in CRLF.
    pub content: Vec<u8>,
    pub reverse_path: ReversePath,
    /// At least one.
    pub recipients: Vec<Address>,
}

/// The head of a netstring: how many bytes it has itself, colon included, and how many the string has. `Ok(None)`: more is needed.
pub fn length(input: &[u8]) -> Result<Option<(usize, u64)>, Broken> {
    let window = &input[..input.len().min(NETSTRING_DIGITS_MAX + 1)];
    let digits = window.iter().take_while(|byte| byte.is_ascii_digit());
    let count = digits.count();
    match window.get(count) {
        None if count > NETSTRING_DIGITS_MAX => Err(Broken::Form),
        None => Ok(None),
        Some(b':') if count > 0 && (count == 1 || window[0] != b'0') => {
            let value = window[..count].iter();
            let value = value.fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
            Ok(Some((count + 1, value)))
        }
        Some(_) => Err(Broken::Form),
    }
}

/// The first netstring of `input`, and what follows it.
fn netstring(input: &[u8]) -> Result<(&[u8], &[u8]), Broken> {
    let (head, bytes) = length(input)?.ok_or(Broken::Form)?;
    let bytes = usize::try_from(bytes).map_err(|_| Broken::Form)?;
    let rest = &input[head..];
    let (string, rest) = rest.split_at_checked(bytes).ok_or(Broken::Form)?;
    let rest = rest.strip_prefix(b",").ok_or(Broken::Form)?;
    Ok((string, rest))
}

fn put_netstring(out: &mut Vec<u8>, string: &[u8]) {
    out.extend_from_slice(string.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(string);
    out.push(b',');
}

fn address(bytes: &[u8]) -> Result<Address, Broken> {
    let text = std::str::from_utf8(bytes).map_err(|_| Broken::Address)?;
    let (local, domain) = text.rsplit_once('@').ok_or(Broken::Address)?;
    // It becomes a path of SMTP and a word of a trace field later: a domain has none of the signs that end one.
    let is_plain = |letter: char| letter.is_alphanumeric() || "-._[]:".contains(letter);
    let address = Address::from_parts(local, domain).ok_or(Broken::Address)?;
    match domain.chars().all(is_plain) {
        true => Ok(address),
        false => Err(Broken::Address),
    }
}

impl Request {
    /// `string`: the whole string of the outer netstring.
    pub fn parse(string: &[u8]) -> Result<Request, Broken> {
        let (message, rest) = netstring(string)?;
        let (sender, mut rest) = netstring(rest)?;
        let reverse_path = match sender {
            b"" => ReversePath::Null,
            sender => ReversePath::Address(address(sender)?),
        };
        let mut recipients = Vec::new();
        while !rest.is_empty() {
            // Ends: each turn uses up a netstring.
            if recipients.len() == RECIPIENTS_MAX {
                return Err(Broken::Recipients);
            }
            let (recipient, behind) = netstring(rest)?;
            recipients.push(address(recipient)?);
            rest = behind;
        }
        if recipients.is_empty() {
            return Err(Broken::Form);
        }
        Ok(Request {
            content: with_crlf(message)?,
            reverse_path,
            recipients,
        })
    }
}

/// What stands around the content of a request on the wire: the content goes out between the two by `put_lines`, piece by piece, and is never copied as a
/// whole. `first_line` (its CRLF with it, or empty) is in front of the content, whose lines end in CRLF.
pub fn around(
    first_line: &[u8],
    content: &[u8],
    sender: Option<&Address>,
    recipients: &[Address],
) -> (Vec<u8>, Vec<u8>) {
    let on_wire = |bytes: &[u8]| bytes.len() - memchr::memchr_iter(b'\r', bytes).count();
    let message_bytes = on_wire(first_line) + on_wire(content);
    let mut tail = vec![b','];
    let sender = sender.map(Address::to_string).unwrap_or_default();
    put_netstring(&mut tail, sender.as_bytes());
    for recipient in recipients {
        put_netstring(&mut tail, recipient.to_string().as_bytes());
    }
    let message_head = format!("{message_bytes}:");
    let whole = message_head.len() + message_bytes + tail.len();
    let mut head = format!("{whole}:{message_head}").into_bytes();
    put_lines(&mut head, first_line);
    tail.push(b',');
    (head, tail)
}

/// The next piece of a content, with LF for CRLF. The content has no CR without its LF.
pub fn put_lines(out: &mut Vec<u8>, piece: &[u8]) {
    let mut rest = piece;
    while let Some(at) = memchr::memchr(b'\r', rest) {
        // Ends: each turn uses up a CR.
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// A whole request on the wire, for tests and small messages.
pub fn request(
    first_line: &[u8],
    content: &[u8],
    sender: Option<&Address>,
    recipients: &[Address],
) -> Vec<u8> {
    let (mut out, tail) = around(first_line, content, sender, recipients);
    put_lines(&mut out, content);
    out.extend_from_slice(&tail);
    out
}

/// Lines that end in LF, or in CRLF as some clients send them, all with CRLF.
fn with_crlf(message: &[u8]) -> Result<Vec<u8>, Broken> {
    let lines = memchr::memchr_iter(b'\n', message).count();
    let mut out = Vec::with_capacity(message.len() + lines);
    let mut last = 0;
    for &byte in message {
        match (last, byte) {
            (_, 0) => return Err(Broken::BareCr),
            (b'\r', b'\n') => {}
            (b'\r', _) => return Err(Broken::BareCr),
            (_, b'\n') => out.push(b'\r'),
            _ => {}
        }
        out.push(byte);
        last = byte;
    }
    match last {
        b'\r' => Err(Broken::BareCr),
        _ => Ok(out),
    }
}

/// An answer on the wire; `text` is for people.
pub fn answer(outcome: Outcome, text: &str) -> Vec<u8> {
    let letter = match outcome {
        Outcome::Taken => 'K',
        Outcome::Later => 'Z',
        Outcome::Never => 'D',
    };
    let mut out = Vec::new();
    put_netstring(&mut out, format!("{letter}{text}").as_bytes());
    out
}

/// A server's answer and its text; `Ok(None)`: more is needed.
pub fn parse_answer(input: &[u8]) -> Result<Option<(Outcome, String)>, Broken> {
    let Some((head, bytes)) = length(input)? else {
        return Ok(None);
    };
    if bytes > ANSWER_BYTES_MAX {
        return Err(Broken::Form);
    }
    if ((input.len() - head) as u64) < bytes + 1 {
        return Ok(None);
    }
    let (string, _) = netstring(input)?;
    let (letter, text) = string.split_first().ok_or(Broken::Form)?;
    let outcome = match letter {
        b'K' => Outcome::Taken,
        b'Z' => Outcome::Later,
        b'D' => Outcome::Never,
        _ => return Err(Broken::Form),
    };
    Ok(Some((outcome, String::from_utf8_lossy(text).into_owned())))
}

/// An answer that is longer is nonsense.
const ANSWER_BYTES_MAX: u64 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn to(path: &str) -> Address {
        Address::from_path(path).expect("an address")
    }

    fn string_of(wire: &[u8]) -> &[u8] {
        netstring(wire).expect("one netstring").0
    }

    #[test]
    fn a_request_comes_back_as_it_was() {
        let content = b"Subject: a\r\n\r\nline\r\n.\r\nno end";
        let recipients = [to("bob@example.org"), to("\"a b\"@example.org")];
        let sender = to("ann@example.net");
        let wire = request(b"", content, Some(&sender), &recipients);
        assert!(!wire.contains(&b'\r'), "lines end in LF on the wire");
        let parsed = Request::parse(string_of(&wire)).expect("well-formed");
        assert_eq!(parsed.content, content);
        assert_eq!(parsed.reverse_path, ReversePath::Address(sender));
        assert_eq!(parsed.recipients, recipients);
        let report = request(b"X: y\r\n", content, None, &recipients);
        let parsed = Request::parse(string_of(&report)).expect("well-formed");
        assert_eq!(parsed.reverse_path, ReversePath::Null);
        assert!(parsed.content.starts_with(b"X: y\r\nSubject: a\r\n"));
    }

    #[test]
    fn a_line_of_64_kib_is_carried() {
        let mut content = vec![b'x'; 64 * 1_024];
        content.extend_from_slice(b"\r\n");
        let wire = request(b"", &content, None, &[to("bob@example.org")]);
        let parsed = Request::parse(string_of(&wire)).expect("well-formed");
        assert_eq!(parsed.content, content);
    }

    #[test]
    fn the_head_of_a_netstring_is_bounded() {
        assert_eq!(length(b""), Ok(None));
        assert_eq!(length(b"12"), Ok(None));
        assert_eq!(length(b"12:x"), Ok(Some((3, 12))));
        assert_eq!(length(b"0:,"), Ok(Some((2, 0))));
        for bad in [
            &b":"[..],
            b"x",
            b"-1:",
            b"012:",
            b"12345678901:",
            b"12345678901",
        ] {
            assert_eq!(length(bad), Err(Broken::Form), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_a_request_is_refused() {
        let parse = |text: &str| Request::parse(text.as_bytes()).expect_err(text);
        assert_eq!(parse("1:a,0:,"), Broken::Form, "no recipient");
        assert_eq!(parse("1:a,0:,3:b@c"), Broken::Form);
        assert_eq!(parse("1:a,0:,1:b,"), Broken::Address);
        assert_eq!(parse("1:a,0:,6:b@c>\nd,"), Broken::Address);
        assert_eq!(parse("3:a\rb,0:,3:b@c,"), Broken::BareCr);
        assert_eq!(parse("2:a\r,0:,3:b@c,"), Broken::BareCr);
        assert_eq!(parse("3:a\0b,0:,3:b@c,"), Broken::BareCr);
        assert_eq!(parse("99:a,0:,3:b@c,"), Broken::Form);
        let many = format!("1:a,0:,{}", "3:b@c,".repeat(RECIPIENTS_MAX + 1));
        assert_eq!(parse(&many), Broken::Recipients);
        let crlf = Request::parse(b"4:a\r\nb,0:,3:b@c,").expect("CRLF is a line end too");
        assert_eq!(crlf.content, b"a\r\nb");
    }

    #[test]
    fn an_answer_comes_back_as_it_was() {
        for outcome in [Outcome::Taken, Outcome::Later, Outcome::Never] {
            let wire = answer(outcome, "text");
            assert_eq!(parse_answer(&wire), Ok(Some((outcome, "text".to_owned()))));
            for cut in 0..wire.len() {
                assert_eq!(parse_answer(&wire[..cut]), Ok(None));
            }
        }
        assert_eq!(parse_answer(b"1:x,"), Err(Broken::Form));
        assert_eq!(parse_answer(b"0:,"), Err(Broken::Form));
        assert_eq!(parse_answer(b"99999:K"), Err(Broken::Form));
    }
}
