//! The milter protocol, version 6, on the side of the mail server (Sendmail's `include/libmilter/mfdef.h`; the steps are described in
//! libmilter's `xxfi_negotiate`). Packets out, packets in; the conversation is `call.rs`.
//!
//! A packet is a length in network order, which counts what follows it, a letter, and the letter's data. We offer that a filter adds and
//! changes header fields and asks for quarantine. We do not offer that it changes the body, the sender or the recipients.

use std::net::IpAddr;

use crate::change::{self, Change};
use crate::limits::*;
use crate::{Envelope, Fault, text};

/// The version that we speak, and the oldest one that we take (Postfix takes 2 too; its packets are the same).
pub const VERSION: u32 = 6;
const VERSION_MIN: u32 = 2;

/// SMFIF_ADDHDRS, SMFIF_CHGHDRS and SMFIF_QUARANTINE.
const ADD_FIELDS: u32 = 0x01;
const CHANGE_FIELDS: u32 = 0x10;
const QUARANTINE: u32 = 0x20;
const OFFERED: u32 = ADD_FIELDS | CHANGE_FIELDS | QUARANTINE;

/// SMFIP_*: what a filter may leave out, and where it sends no reply. All of version 6 except SMFIP_RCPT_REJ (0x800), for we send no
/// recipients that we refused.
const STEPS_OFFERED: u32 = 0x1f_f7ff;
const SKIP_OFFERED: u32 = 0x400;
const LEADING_SPACE: u32 = 0x10_0000;

/// A step of the conversation, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Connect,
    Helo,
    Mail,
    Recipient,
    Data,
    Field,
    EndOfHeader,
    Body,
}

impl Step {
    /// SMFIP_NO…: the filter wants none of it.
    fn left_out(self) -> u32 {
        match self {
            Step::Connect => 0x01,
            Step::Helo => 0x02,
            Step::Mail => 0x04,
            Step::Recipient => 0x08,
            Step::Body => 0x10,
            Step::Field => 0x20,
            Step::EndOfHeader => 0x40,
            Step::Data => 0x200,
        }
    }

    /// SMFIP_NR_…: the filter sends no reply to it.
    fn silent(self) -> u32 {
        match self {
            Step::Field => 0x80,
            Step::Connect => 0x1000,
            Step::Helo => 0x2000,
            Step::Mail => 0x4000,
            Step::Recipient => 0x8000,
            Step::Data => 0x1_0000,
            Step::EndOfHeader => 0x4_0000,
            Step::Body => 0x8_0000,
        }
    }
}

/// What both sides agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    steps: u32,
    actions: u32,
}

impl Agreed {
    /// The answer to `negotiate`.
    pub fn parse(data: &[u8]) -> Result<Agreed, Fault> {
        let number = |at: usize| -> Option<u32> {
            let bytes = data.get(at..at + 4)?;
            bytes.try_into().ok().map(u32::from_be_bytes)
        };
        let (Some(version), Some(actions), Some(steps)) = (number(0), number(4), number(8)) else {
            return Err(Fault::Nonsense("negotiation"));
        };
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return Err(Fault::Nonsense("version"));
        }
        // Beside these there are bits of sizes (SMFIP_MDS_…), which only libmilter itself reads.
        if actions & !OFFERED != 0 || steps & 0x0fff_ffff & !STEPS_OFFERED != 0 {
            return Err(Fault::Nonsense("it asks for what was not offered"));
        }
        Ok(Agreed { steps, actions })
    }

    pub fn wants(&self, step: Step) -> bool {
        self.steps & step.left_out() == 0
    }

    pub fn answers(&self, step: Step) -> bool {
        self.steps & step.silent() == 0
    }

    fn keeps_space(&self) -> bool {
        self.steps & LEADING_SPACE != 0
    }

    fn may_skip(&self) -> bool {
        self.steps & SKIP_OFFERED != 0
    }
}

/// The packet with this letter; `data` appends what is in it.
fn packet(out: &mut Vec<u8>, letter: u8, data: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, letter]);
    data(out);
    let bytes = u32::try_from(out.len() - begin - 4).expect("a packet is bounded by its caller");
    out[begin..begin + 4].copy_from_slice(&bytes.to_be_bytes());
}

fn put(out: &mut Vec<u8>, value: &str) {
    out.extend(text::line(value));
    out.push(0);
}

pub fn negotiate(out: &mut Vec<u8>) {
    packet(out, b'O', |out| {
        for number in [VERSION, OFFERED, STEPS_OFFERED] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    });
}

/// Macros for the step with the letter `of`.
fn macros(out: &mut Vec<u8>, of: u8, values: &[(&str, &str)]) {
    packet(out, b'D', |out| {
        out.push(of);
        for (name, value) in values.iter().filter(|(_, value)| !value.is_empty()) {
            put(out, name);
            put(out, value);
        }
    });
}

pub fn connect(out: &mut Vec<u8>, envelope: &Envelope<'_>) {
    let names = [
        ("j", envelope.hostname),
        ("{daemon_name}", "ringpost"),
        ("v", "ringpost"),
    ];
    macros(out, b'C', &names);
    let client = envelope.client.to_canonical();
    packet(out, b'C', |out| {
        // The name of a client that is not looked up is its address in brackets.
        put(out, &format!("[{client}]"));
        out.push(match client {
            IpAddr::V4(_) => b'4',
            IpAddr::V6(_) => b'6',
        });
        out.extend_from_slice(&[0, 0]);
        put(out, &client.to_string());
    });
}

pub fn helo(out: &mut Vec<u8>, envelope: &Envelope<'_>) {
    packet(out, b'H', |out| put(out, envelope.helo));
}

pub fn mail(out: &mut Vec<u8>, envelope: &Envelope<'_>) {
    let user = envelope.user.unwrap_or("");
    let values = [
        ("i", envelope.id),
        ("{auth_authen}", user),
        ("{mail_addr}", envelope.mail_from),
    ];
    macros(out, b'M', &values);
    packet(out, b'M', |out| {
        put(out, &format!("<{}>", envelope.mail_from))
    });
}

pub fn recipient(out: &mut Vec<u8>, recipient: &str) {
    macros(out, b'R', &[("{rcpt_addr}", recipient)]);
    packet(out, b'R', |out| put(out, &format!("<{recipient}>")));
}

pub fn data(out: &mut Vec<u8>) {
    packet(out, b'T', |_| {});
}

/// Name and value, folds included, of one header field. libmilter ends the conversation at a packet above its chunk: what is longer is
/// cut, and the field still counts.
pub fn field(out: &mut Vec<u8>, agreed: &Agreed, name: &[u8], value: &[u8]) {
    let value = match (value, agreed.keeps_space()) {
        ([b' ', rest @ ..], false) => rest,
        (value, _) => value,
    };
    let name = &name[..name.len().min(MILTER_NAME_BYTES)];
    let room = MILTER_CHUNK_BYTES - 2 - name.len();
    let value = &value[..value.len().min(room)];
    packet(out, b'L', |out| {
        out.extend(name.iter().filter(|byte| **byte != 0));
        out.push(0);
        // Lines end in a bare LF here, as in sendmail.
        out.extend(value.iter().filter(|byte| !matches!(byte, 0 | b'\r')));
        out.push(0);
    });
}

pub fn end_of_header(out: &mut Vec<u8>) {
    packet(out, b'N', |_| {});
}

/// What stands before a chunk of the body.
pub fn body(bytes: usize) -> [u8; 5] {
    let length =
        u32::try_from(bytes + 1).expect("a chunk is bounded by limits::MILTER_CHUNK_BYTES");
    let [a, b, c, d] = length.to_be_bytes();
    [a, b, c, d, b'B']
}

pub fn end_of_body(out: &mut Vec<u8>, envelope: &Envelope<'_>) {
    macros(out, b'E', &[("i", envelope.id)]);
    packet(out, b'E', |_| {});
}

/// The conversation is over.
pub fn quit(out: &mut Vec<u8>) {
    packet(out, b'Q', |_| {});
}

/// A packet's letter, its data, and where the next one begins.
pub type Packet<'a> = (u8, &'a [u8], usize);

/// The first packet of `input`; `None`: there is more to come.
pub fn frame(input: &[u8]) -> Result<Option<Packet<'_>>, Fault> {
    let Some((length, rest)) = input.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    match length {
        0 => Err(Fault::Nonsense("a packet of nothing")),
        _ if length > REPLY_BYTES_MAX => Err(Fault::TooLong),
        _ if rest.len() < length => Ok(None),
        _ => Ok(Some((rest[0], &rest[1..length], 4 + length))),
    }
}

/// What a filter decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The next step.
    Continue,
    /// Nothing more is to be asked about this message.
    Accept,
    /// No more of the body is wanted.
    Skip,
    /// The message is to be taken and thrown away.
    Discard,
    Reject,
    TempFail,
    /// A reply in the filter's words: 4xx or 5xx, and its text without an enhanced status code.
    Reply(u16, String),
}

/// What one packet of a filter says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Decision(Decision),
    /// It still works on it.
    Progress,
    /// Name and value of a field to be added, wherever.
    Add(Vec<u8>, Vec<u8>),
    Change(Change),
    Quarantine(String),
}

impl Said {
    /// `at_end`: the end of the body was sent, and a filter may ask for changes.
    pub fn parse(letter: u8, data: &[u8], agreed: &Agreed, at_end: bool) -> Result<Said, Fault> {
        let may = |action: u32| match at_end && agreed.actions & action != 0 {
            true => Ok(()),
            false => Err(Fault::Nonsense("a change that was not agreed on")),
        };
        let decision = |decision| Ok(Said::Decision(decision));
        match letter {
            b'c' => decision(Decision::Continue),
            b'a' => decision(Decision::Accept),
            b'd' => decision(Decision::Discard),
            b'r' => decision(Decision::Reject),
            b't' | b'4' | b'f' => decision(Decision::TempFail),
            b'y' => reply(data).map(Said::Decision),
            b's' if agreed.may_skip() && !at_end => decision(Decision::Skip),
            b'p' => Ok(Said::Progress),
            b'h' => {
                may(ADD_FIELDS)?;
                let (name, value) = pair(data)?;
                Ok(Said::Add(name.to_vec(), value.to_vec()))
            }
            b'i' => {
                may(ADD_FIELDS)?;
                let (_, rest) = index(data)?;
                let (name, value) = pair(rest)?;
                Ok(Said::Add(name.to_vec(), value.to_vec()))
            }
            b'm' => {
                may(CHANGE_FIELDS)?;
                let (index, rest) = index(data)?;
                let (name, value) = pair(rest)?;
                let field = match value {
                    b"" => Some(Vec::new()),
                    value => change::field(name, value),
                };
                let field = field.ok_or(Fault::Nonsense("a field that cannot be"))?;
                Ok(Said::Change(Change {
                    name: name.to_vec(),
                    index,
                    field,
                }))
            }
            b'q' => {
                may(QUARANTINE)?;
                let reason = data.strip_suffix(&[0]).unwrap_or(data);
                Ok(Said::Quarantine(text::word(&String::from_utf8_lossy(
                    reason,
                ))))
            }
            _ => Err(Fault::Nonsense("an unknown packet")),
        }
    }
}

fn index(data: &[u8]) -> Result<(u32, &[u8]), Fault> {
    match data.split_first_chunk::<4>() {
        Some((index, rest)) => Ok((u32::from_be_bytes(*index), rest)),
        None => Err(Fault::Nonsense("a short packet")),
    }
}

/// Two strings that each end in NUL.
fn pair(data: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let mut parts = data.split(|byte| *byte == 0);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(value), Some(b""), None) => Ok((name, value)),
        _ => Err(Fault::Nonsense("a field without an end")),
    }
}

/// `550 5.7.1 text`, perhaps over several lines.
fn reply(data: &[u8]) -> Result<Decision, Fault> {
    let text = data.strip_suffix(&[0]).unwrap_or(data);
    let text = String::from_utf8_lossy(text);
    let code = text.get(..3).and_then(|code| code.parse::<u16>().ok());
    let Some(code @ 400..600) = code else {
        return Err(Fault::Nonsense("a reply code"));
    };
    let lines = text.split("\r\n");
    let lines: Vec<&str> = lines
        .map(|line| without_status(line.get(4..).unwrap_or("")))
        .collect();
    Ok(Decision::Reply(code, text::plain(&lines.join(" "))))
}

/// Without an enhanced status code (RFC 3463) in front: our reply has its own.
fn without_status(line: &str) -> &str {
    let Some((status, words)) = line.split_once(' ') else {
        return line;
    };
    let mut numbers = status.split('.');
    let is_number = |part: &str| part.parse::<u16>().is_ok();
    let is_status = numbers.clone().count() == 3 && numbers.all(is_number);
    if is_status { words } else { line }
}

#[cfg(test)]
mod tests;
