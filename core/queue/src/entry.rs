//! A message that must leave, as it stands in memory and in its row.
//!
//! Row of `ENTRIES`: number (u64 big-endian) → [`Entry`].

use base::cursor::{Reader, Write};
use store::{BodyRef, Lsn, Table};
use tenancy::encoding::{Broken, put_text, read_text, read_u32};

use crate::limits::{AHEAD_MAX_S, RECIPIENTS_MAX};
use crate::{QueueId, UnixSeconds};

pub(crate) const ENTRIES: Table = Table(65);

/// Who a message is from and to, for how long it is tried (RFC 5321 §4.5.4.1), and on what terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The reverse-path without brackets; empty for a message that is not to be answered (RFC 5321 §4.5.5).
    pub from: String,
    pub recipients: Vec<Addressee>,
    pub arrived: UnixSeconds,
    /// When its sender is to hear that it still waits; 0: never.
    pub warns: UnixSeconds,
    /// When what has not left is given up.
    pub expires: UnixSeconds,
    pub terms: Terms,
}

/// A recipient as the sender gave it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addressee {
    /// The forward-path without brackets.
    pub path: String,
    pub notify: Notify,
    /// The address that was written first (RFC 3461 §4.2), as it was given; empty: not said.
    pub original: String,
}

impl Addressee {
    pub fn new(path: impl Into<String>) -> Addressee {
        Addressee {
            path: path.into(),
            ..Addressee::default()
        }
    }
}

/// Of what the sender wants to hear (RFC 3461 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notify(u8);

impl Notify {
    /// The sender did not say: of failures and delays.
    pub const UNSAID: Notify = Notify(0);
    pub const SUCCESS: Notify = Notify(1);
    pub const FAILURE: Notify = Notify(2);
    pub const DELAY: Notify = Notify(4);
    pub const NEVER: Notify = Notify(8);

    pub fn and(self, other: Notify) -> Notify {
        Notify(self.0 | other.0)
    }

    pub fn is_said(self) -> bool {
        self != Notify::UNSAID
    }

    pub fn has(self, other: Notify) -> bool {
        self.0 & other.0 != 0
    }

    pub fn of_failure(self) -> bool {
        !self.is_said() || self.has(Notify::FAILURE)
    }

    pub fn of_delay(self) -> bool {
        !self.is_said() || self.has(Notify::DELAY)
    }

    pub fn of_success(self) -> bool {
        self.has(Notify::SUCCESS)
    }
}

/// What of a message goes back with a report (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Returned {
    #[default]
    Unsaid,
    Headers,
    Full,
}

/// What holds for the message as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    pub returned: Returned,
    /// The sender's name for it (RFC 3461 §4.4), as it was given; empty: none.
    pub envelope_id: String,
    /// It can only go where addresses and header fields may be UTF-8 (RFC 6531).
    pub is_utf8: bool,
    /// Its content has octets above 127 (RFC 6152).
    pub is_eight_bit: bool,
    /// It must not travel in clear (RFC 8689).
    pub needs_tls: bool,
    /// It looks like junk: copies for mailboxes of ours go where junk goes.
    pub is_junk: bool,
    /// A report of ours about TLS: what comes of it is not reported on, and no policy about TLS keeps it (RFC 8460 §5.3.1).
    pub is_report: bool,
    /// A program of ours wrote it for one of our people, and no signature of ours is on it yet: it is signed before it leaves.
    pub is_unsigned: bool,
}

/// One recipient of a message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub to: Addressee,
    pub state: RecipientState,
    /// Tries so far.
    pub tries: u32,
    /// What the last try was answered, or how it failed; empty before the first.
    pub reply: String,
    /// The host that said so; empty: it came to no conversation.
    pub host: String,
    /// When; 0 before the first try.
    pub tried: UnixSeconds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecipientState {
    /// To be tried at this time.
    Waiting(UnixSeconds),
    /// A server took it.
    Delivered,
    /// Refused for good.
    Failed,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Index among the message's recipients.
    pub recipient: u32,
    pub state: RecipientState,
    pub reply: String,
    pub host: String,
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: QueueId,
    pub body: BodyRef,
    pub from: String,
    pub recipients: Vec<Recipient>,
    pub arrived: UnixSeconds,
    pub warns: UnixSeconds,
    pub expires: UnixSeconds,
    pub terms: Terms,
    /// Its sender heard that it waits.
    pub warned: bool,
    /// An administrator wants it to wait.
    pub held: bool,
    /// Records about it before this one are no longer needed.
    pub snapshot: Lsn,
}

impl Entry {
    /// When it is to be tried next; `None`: nothing of it waits, or it is held.
    pub fn next_try(&self) -> Option<UnixSeconds> {
        self.waiting().map(|(_, at)| at).min()
    }

    /// When its sender is to hear that it waits for long. `None`: it heard, is not to hear, or nothing of it waits.
    pub(crate) fn warning(&self) -> Option<UnixSeconds> {
        self.next_try()?;
        (!self.warned && self.warns.0 > 0).then_some(self.warns)
    }

    /// When what waits of it is past its time. `None`: nothing of it waits.
    pub(crate) fn end(&self) -> Option<UnixSeconds> {
        self.next_try().map(|_| self.expires)
    }

    /// Recipients that wait, with the time of their next try; none while it is held.
    pub fn waiting(&self) -> impl Iterator<Item = (u32, UnixSeconds)> {
        let each = self.recipients.iter().enumerate();
        each.filter_map(|(index, recipient)| match recipient.state {
            RecipientState::Waiting(at) if !self.held => Some((index as u32, at)),
            _ => None,
        })
    }

    /// The sites that it waits for, each with its first try.
    pub(crate) fn sites(&self) -> Vec<(String, UnixSeconds)> {
        let mut sites: Vec<(String, UnixSeconds)> = Vec::new();
        let mut waiting: Vec<(String, UnixSeconds)> = self
            .waiting()
            .map(|(index, at)| (site(&self.recipients[index as usize].to.path), at))
            .collect();
        waiting.sort();
        for (site, at) in waiting {
            if sites.last().is_none_or(|(last, _)| *last != site) {
                sites.push((site, at));
            }
        }
        sites
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(ROW_VERSION);
        out.put_varint(self.id.0);
        self.body.encode(out);
        put_text(out, &self.from);
        out.put_varint(self.recipients.len() as u64);
        for recipient in &self.recipients {
            put_addressee(out, &recipient.to);
            put_state(out, recipient.state);
            out.put_varint(u64::from(recipient.tries));
            put_text(out, &recipient.reply);
            put_text(out, &recipient.host);
            out.put_varint(recipient.tried.0);
        }
        out.put_varint(self.arrived.0);
        out.put_varint(self.warns.0);
        out.put_varint(self.expires.0);
        put_terms(out, &self.terms);
        out.put_u8(u8::from(self.warned) | u8::from(self.held) << 1);
        out.put_varint(self.snapshot.0);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Entry, Broken> {
        if reader.u8()? != ROW_VERSION {
            return Err(Broken);
        }
        let id = QueueId(reader.varint()?);
        let body = BodyRef::decode(reader)?;
        let from = read_text(reader)?;
        let mut recipients = Vec::new();
        for _ in 0..count(reader, RECIPIENTS_MAX)? {
            recipients.push(Recipient {
                to: read_addressee(reader)?,
                state: read_state(reader)?,
                tries: read_u32(reader)?,
                reply: read_text(reader)?,
                host: read_text(reader)?,
                tried: UnixSeconds(reader.varint()?),
            });
        }
        let (arrived, warns, expires) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let terms = read_terms(reader)?;
        let flags = reader.u8()?;
        if flags > 3 {
            return Err(Broken);
        }
        Ok(Entry {
            id,
            body,
            from,
            recipients,
            arrived: UnixSeconds(arrived),
            warns: UnixSeconds(warns),
            expires: UnixSeconds(expires),
            terms,
            warned: flags & 1 != 0,
            held: flags & 2 != 0,
            snapshot: Lsn(reader.varint()?),
        })
    }
}

/// Whether what is to be tried at `at` is due: its time has come, or is further ahead than any wait, because the clock was set back.
pub fn is_due(at: UnixSeconds, now: UnixSeconds) -> bool {
    at <= now || at.0 > now.0.saturating_add(AHEAD_MAX_S)
}

/// Where a path leads: what stands behind its last `@`, in lower case.
pub fn site(path: &str) -> String {
    let site = path.rsplit_once('@').map_or("", |(_, site)| site);
    site.to_lowercase()
}

pub(crate) fn put_addressee(out: &mut Vec<u8>, to: &Addressee) {
    put_text(out, &to.path);
    out.put_u8(to.notify.0);
    put_text(out, &to.original);
}

pub(crate) fn read_addressee(reader: &mut Reader<'_>) -> Result<Addressee, Broken> {
    let path = read_text(reader)?;
    let notify = Notify(reader.u8()?);
    if notify.0 > 15 {
        return Err(Broken);
    }
    Ok(Addressee {
        path,
        notify,
        original: read_text(reader)?,
    })
}

pub(crate) fn put_terms(out: &mut Vec<u8>, terms: &Terms) {
    let returned = match terms.returned {
        Returned::Unsaid => 0,
        Returned::Headers => 1,
        Returned::Full => 2,
    };
    let flags = [
        terms.is_utf8,
        terms.is_eight_bit,
        terms.needs_tls,
        terms.is_junk,
        terms.is_report,
        terms.is_unsigned,
    ];
    let bits = flags
        .iter()
        .rev()
        .fold(0u8, |bits, is_set| bits << 1 | u8::from(*is_set));
    out.put_u8(returned | bits << 2);
    put_text(out, &terms.envelope_id);
}

pub(crate) fn read_terms(reader: &mut Reader<'_>) -> Result<Terms, Broken> {
    let bits = reader.u8()?;
    let returned = match bits & 3 {
        0 => Returned::Unsaid,
        1 => Returned::Headers,
        2 => Returned::Full,
        _ => return Err(Broken),
    };
    Ok(Terms {
        returned,
        is_utf8: bits & 4 != 0,
        is_eight_bit: bits & 8 != 0,
        needs_tls: bits & 16 != 0,
        is_junk: bits & 32 != 0,
        is_report: bits & 64 != 0,
        is_unsigned: bits & 128 != 0,
        envelope_id: read_text(reader)?,
    })
}

pub(crate) fn put_state(out: &mut Vec<u8>, state: RecipientState) {
    match state {
        RecipientState::Waiting(at) => {
            out.put_u8(0);
            out.put_varint(at.0);
        }
        RecipientState::Delivered => out.put_u8(1),
        RecipientState::Failed => out.put_u8(2),
    }
}

pub(crate) fn read_state(reader: &mut Reader<'_>) -> Result<RecipientState, Broken> {
    Ok(match reader.u8()? {
        0 => RecipientState::Waiting(UnixSeconds(reader.varint()?)),
        1 => RecipientState::Delivered,
        2 => RecipientState::Failed,
        _ => return Err(Broken),
    })
}

pub(crate) fn count(reader: &mut Reader<'_>, max: usize) -> Result<usize, Broken> {
    let count = reader.varint()?;
    usize::try_from(count)
        .ok()
        .filter(|count| *count <= max)
        .ok_or(Broken)
}

pub(crate) fn entry_key(id: QueueId) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}

const ROW_VERSION: u8 = 1;
