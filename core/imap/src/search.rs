//! SEARCH keys (RFC 9051 §6.4.4) and whether a message satisfies them.
//!
//! Matching is staged: what a message's row (flags, dates, size, UID) decides never asks for its summary, and what the summary
//! decides never asks for its body. `verdict` says how far it has to go.

mod needle;

use std::cell::OnceCell;

use mail::summary::{AddressList, Summary};
use mail::{Flags, InternalDate, ModSeq, SystemFlags, header, text};

use crate::date::internal_day;
use crate::object::EmailId;
use crate::sequence::{self, SequenceSet};

use needle::{Needle, Needles};

/// The keys of RFC 9051 §6.4.4 as parsed; those of RFC 3501 that say the same twice (NEW, OLD, UN…) are put together from others.
#[derive(Debug, Clone, PartialEq)]
pub enum SearchKey {
    /// Every message.
    All,
    /// All of them; parentheses and plain juxtaposition.
    And(Vec<SearchKey>),
    /// Either of two.
    Or(Box<(SearchKey, SearchKey)>),
    /// The key does not hold.
    Not(Box<SearchKey>),
    /// Message numbers of the session.
    Numbers(SequenceSet),
    /// UIDs, also those that no message has.
    Uids(SequenceSet),
    /// ANSWERED, DELETED, …; the UN forms are `Not`.
    System(SystemFlags),
    /// Compared without regard to case (RFC 9051 §2.3.2).
    Keyword(Box<str>),
    /// RFC 3501 §6.4.4: \Recent in this session.
    Recent,
    /// Days since 1970-01-01; INTERNALDATE, its zone disregarded.
    Before(i64),
    /// On that day.
    On(i64),
    /// On that day or after it.
    Since(i64),
    /// The same of the Date field.
    SentBefore(i64),
    /// On the day that the Date field names.
    SentOn(i64),
    /// On that day or after it.
    SentSince(i64),
    /// More octets than this (RFC822.SIZE).
    Larger(u32),
    /// Fewer octets than this.
    Smaller(u32),
    /// RFC 5032: INTERNALDATE at least so many seconds ago.
    Older(u32),
    /// At most so many seconds ago.
    Younger(u32),
    /// RFC 7162 §3.1.5: changed with it or after it. A message has one modification sequence for all its flags.
    ModSeq(ModSeq),
    /// RFC 8514 §4.3, days since 1970-01-01 in UTC: placed in the mailbox before that day.
    SavedBefore(i64),
    /// On that day.
    SavedOn(i64),
    /// On that day or after it.
    SavedSince(i64),
    /// RFC 8474 §6: the message has this EMAILID.
    EmailId(Box<str>),
    /// RFC 8474 §6. No message has a THREADID here.
    ThreadId(Box<str>),
    /// FROM, TO, CC, BCC, SUBJECT: the field of the ENVELOPE is there (empty text) or contains the text.
    Envelope {
        /// Which field.
        field: EnvelopeField,
        /// The text, in UTF-8.
        text: Box<str>,
    },
    /// A header field that exists (empty text) or contains the text.
    Header {
        /// The name of the field.
        name: Box<str>,
        /// The text, in UTF-8.
        text: Box<str>,
    },
    /// In the text of any part, decoded; header fields do not count.
    Body(Box<str>),
    /// In the header or in the text of any part.
    Text(Box<str>),
}

impl SearchKey {
    /// Whether MODSEQ is among the keys: the answer then has the highest one (RFC 7162 §3.1.6).
    pub fn names_modseq(&self) -> bool {
        match self {
            SearchKey::ModSeq(_) => true,
            SearchKey::And(keys) => keys.iter().any(SearchKey::names_modseq),
            SearchKey::Or(pair) => pair.0.names_modseq() || pair.1.names_modseq(),
            SearchKey::Not(key) => key.names_modseq(),
            _ => false,
        }
    }

    /// Whether message numbers are among the keys. `$` is none.
    pub fn names_numbers(&self) -> bool {
        match self {
            SearchKey::Numbers(set) => !set.is_saved(),
            SearchKey::And(keys) => keys.iter().any(SearchKey::names_numbers),
            SearchKey::Or(pair) => pair.0.names_numbers() || pair.1.names_numbers(),
            SearchKey::Not(key) => key.names_numbers(),
            _ => false,
        }
    }

    /// How many keys there are, all levels together: each is looked at for each message.
    pub fn count(&self) -> usize {
        match self {
            SearchKey::And(keys) => 1 + keys.iter().map(SearchKey::count).sum::<usize>(),
            SearchKey::Or(pair) => 1 + pair.0.count() + pair.1.count(),
            SearchKey::Not(key) => 1 + key.count(),
            _ => 1,
        }
    }
}

/// The fields of an ENVELOPE that have search keys of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvelopeField {
    /// FROM.
    From,
    /// TO.
    To,
    /// CC.
    Cc,
    /// BCC.
    Bcc,
    /// SUBJECT.
    Subject,
}

impl EnvelopeField {
    /// With the words of their keys.
    pub const ALL: [(&'static str, EnvelopeField); 5] = [
        ("FROM", EnvelopeField::From),
        ("TO", EnvelopeField::To),
        ("CC", EnvelopeField::Cc),
        ("BCC", EnvelopeField::Bcc),
        ("SUBJECT", EnvelopeField::Subject),
    ];

    /// The key's word, which is the field's name too.
    pub fn word(self) -> &'static str {
        let named = EnvelopeField::ALL.iter().find(|(_, field)| *field == self);
        named.expect("all are listed").0
    }
}

/// What is known of a message without reading anything.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The message number in the session.
    pub number: u32,
    /// The UID.
    pub uid: u32,
    /// System flags and keywords.
    pub flags: &'a Flags,
    /// \Recent in this session.
    pub recent: bool,
    /// INTERNALDATE.
    pub internal_date: InternalDate,
    /// RFC822.SIZE.
    pub size_bytes: u32,
    /// RFC 7162.
    pub modseq: ModSeq,
    /// RFC 8474.
    pub email_id: EmailId,
    /// RFC 8514, in seconds since 1970; 0: not known.
    pub saved_s: u32,
}

/// What was read of it so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Content<'a> {
    /// The digest, once it was read.
    pub summary: Option<&'a Summary<'a>>,
    /// The whole message, once it was read.
    pub body: Option<&'a [u8]>,
}

/// What is known of one message so far, ordered: the need of the costlier read is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It does not match.
    No,
    /// Undecided without the summary.
    NeedSummary,
    /// Undecided without the whole message.
    NeedBody,
    /// It matches.
    Yes,
}

/// Does the message match? With a body given the answer is `Yes` or `No`. `highest` are the greatest message number and UID
/// of the mailbox, for `*`; `saved` the UIDs of `$` in ranges (ascending); `now` in seconds since 1970-01-01, for OLDER and YOUNGER.
pub struct Matcher<'k> {
    key: Compiled<'k>,
    needles: Needles,
}

/// A key with its sets resolved and its texts folded once.
enum Compiled<'k> {
    /// See `SearchKey`; sets are ranges here, and texts are folded.
    All,
    And(Vec<Compiled<'k>>),
    Or(Box<(Compiled<'k>, Compiled<'k>)>),
    Not(Box<Compiled<'k>>),
    Numbers(Vec<(u32, u32)>),
    Uids(Vec<(u32, u32)>),
    Envelope {
        field: EnvelopeField,
        text: Needle,
    },
    Header {
        name: &'k str,
        text: Needle,
    },
    /// `$`
    Saved(&'k [(u32, u32)]),
    /// BODY or TEXT, by its place among the needles.
    Text(usize),
    /// `None`: no message has such a one. Read once, since it is compared with that of every message.
    EmailId(Option<EmailId>),
    /// INTERNALDATE not after it.
    Until(i64),
    /// Not before it.
    From(i64),
    /// A key that needs no preparation.
    Plain(&'k SearchKey),
}

/// One message, as far as it was read, and what was found in its text once something looked.
struct Look<'m> {
    /// Summary and body, where they were read.
    content: Content<'m>,
    /// The texts of BODY and TEXT keys.
    needles: &'m Needles,
    /// Which of them are in the message: all of them are looked for in one pass, at the first key that asks.
    found: OnceCell<Vec<bool>>,
}

impl<'k> Matcher<'k> {
    /// A matcher for one search. Numbers and `*` are resolved for the mailbox as it is now.
    pub fn new(
        key: &'k SearchKey,
        highest_number: u32,
        highest_uid: u32,
        saved: &'k [(u32, u32)],
        now: i64,
    ) -> Matcher<'k> {
        let sets = Sets {
            highest_number,
            highest_uid,
            saved,
            now,
        };
        let mut needles = Needles::default();
        Matcher {
            key: compile(key, &sets, &mut needles),
            needles,
        }
    }

    /// Whether the message matches, or what must be read to know.
    pub fn verdict(&self, row: Row<'_>, content: Content<'_>) -> Verdict {
        let look = Look {
            content,
            needles: &self.needles,
            found: OnceCell::new(),
        };
        verdict(&self.key, row, &look)
    }
}

/// What sequence sets stand for.
struct Sets<'s> {
    /// The greatest message number.
    highest_number: u32,
    /// The greatest UID.
    highest_uid: u32,
    /// The UIDs of `$`.
    saved: &'s [(u32, u32)],
    /// The time of the search.
    now: i64,
}

/// Resolves sets and folds texts, once for all messages.
fn compile<'k>(key: &'k SearchKey, sets: &Sets<'k>, needles: &mut Needles) -> Compiled<'k> {
    match key {
        SearchKey::All => Compiled::All,
        SearchKey::And(keys) => {
            let keys = keys.iter();
            Compiled::And(keys.map(|key| compile(key, sets, needles)).collect())
        }
        SearchKey::Or(pair) => Compiled::Or(Box::new((
            compile(&pair.0, sets, needles),
            compile(&pair.1, sets, needles),
        ))),
        SearchKey::Not(key) => Compiled::Not(Box::new(compile(key, sets, needles))),
        SearchKey::Numbers(set) | SearchKey::Uids(set) if set.is_saved() => {
            Compiled::Saved(sets.saved)
        }
        SearchKey::Numbers(set) => Compiled::Numbers(set.ranges(sets.highest_number)),
        SearchKey::Uids(set) => Compiled::Uids(set.ranges(sets.highest_uid)),
        SearchKey::Envelope { field, text } => Compiled::Envelope {
            field: *field,
            text: Needle::new(text),
        },
        SearchKey::Header { name, text } => Compiled::Header {
            name,
            text: Needle::new(text),
        },
        SearchKey::Older(seconds) => Compiled::Until(sets.now.saturating_sub((*seconds).into())),
        SearchKey::Younger(seconds) => Compiled::From(sets.now.saturating_sub((*seconds).into())),
        SearchKey::EmailId(id) => Compiled::EmailId(EmailId::parse(id)),
        SearchKey::Body(text) => Compiled::Text(needles.add(text::Scope::Body, text)),
        SearchKey::Text(text) => Compiled::Text(needles.add(text::Scope::Text, text)),
        plain => Compiled::Plain(plain),
    }
}

/// And, Or and Not over what the single keys say. An undecided key is asked for what it needs least.
fn verdict(key: &Compiled<'_>, row: Row<'_>, look: &Look<'_>) -> Verdict {
    match key {
        Compiled::All => Verdict::Yes,
        Compiled::And(keys) => {
            let mut all = Verdict::Yes;
            for key in keys {
                match verdict(key, row, look) {
                    Verdict::No => return Verdict::No,
                    Verdict::Yes => {}
                    // The lesser need first: a summary may settle it.
                    need => all = all.min(need),
                }
            }
            all
        }
        Compiled::Or(pair) => match (verdict(&pair.0, row, look), verdict(&pair.1, row, look)) {
            (Verdict::Yes, _) | (_, Verdict::Yes) => Verdict::Yes,
            (Verdict::No, other) | (other, Verdict::No) => other,
            (first, second) => first.min(second),
        },
        Compiled::Not(key) => match verdict(key, row, look) {
            Verdict::Yes => Verdict::No,
            Verdict::No => Verdict::Yes,
            need => need,
        },
        Compiled::Numbers(ranges) => sequence::contains(ranges, row.number).into(),
        Compiled::Uids(ranges) => sequence::contains(ranges, row.uid).into(),
        Compiled::Saved(ranges) => sequence::contains(ranges, row.uid).into(),
        Compiled::Envelope { field, text } => envelope_verdict(*field, text, look.content),
        Compiled::Header { name, text } => header_verdict(name, text, look.content),
        Compiled::Text(needle) => text_verdict(*needle, look),
        Compiled::EmailId(id) => (*id == Some(row.email_id)).into(),
        Compiled::Until(limit) => (row.internal_date.unix_seconds <= *limit).into(),
        Compiled::From(limit) => (row.internal_date.unix_seconds >= *limit).into(),
        Compiled::Plain(key) => plain_verdict(key, row, look.content),
    }
}

/// RFC 8514 §4.3: without a date that of its arrival counts.
fn saved_day(row: Row<'_>) -> i64 {
    match row.saved_s {
        0 => internal_day(row.internal_date),
        saved_s => internal_day(InternalDate::utc(i64::from(saved_s))),
    }
}

/// A key that `compile` left as it is.
fn plain_verdict(key: &SearchKey, row: Row<'_>, content: Content<'_>) -> Verdict {
    let day = || internal_day(row.internal_date);
    match key {
        SearchKey::System(flags) => row.flags.system.contains(*flags).into(),
        SearchKey::Keyword(name) => row
            .flags
            .keywords
            .iter()
            .any(|k| k.as_str().eq_ignore_ascii_case(name))
            .into(),
        SearchKey::Recent => row.recent.into(),
        SearchKey::Before(limit) => (day() < *limit).into(),
        SearchKey::On(limit) => (day() == *limit).into(),
        SearchKey::Since(limit) => (day() >= *limit).into(),
        SearchKey::SentBefore(limit) => sent(content, |day| day < *limit),
        SearchKey::SentOn(limit) => sent(content, |day| day == *limit),
        SearchKey::SentSince(limit) => sent(content, |day| day >= *limit),
        SearchKey::Larger(bytes) => (row.size_bytes > *bytes).into(),
        SearchKey::Smaller(bytes) => (row.size_bytes < *bytes).into(),
        SearchKey::ModSeq(least) => (row.modseq >= *least).into(),
        SearchKey::SavedBefore(day) => (saved_day(row) < *day).into(),
        SearchKey::SavedOn(day) => (saved_day(row) == *day).into(),
        SearchKey::SavedSince(day) => (saved_day(row) >= *day).into(),
        SearchKey::ThreadId(_) => Verdict::No,
        SearchKey::All
        | SearchKey::And(_)
        | SearchKey::Or(_)
        | SearchKey::Not(_)
        | SearchKey::Numbers(_)
        | SearchKey::Uids(_)
        | SearchKey::Envelope { .. }
        | SearchKey::Header { .. }
        | SearchKey::EmailId(_)
        | SearchKey::Older(_)
        | SearchKey::Younger(_)
        | SearchKey::Body(_)
        | SearchKey::Text(_) => unreachable!("`compile` gives these forms of their own"),
    }
}

/// The Date field's day; a message without a usable one matches none of the SENT keys.
fn sent(content: Content<'_>, holds: impl Fn(i64) -> bool) -> Verdict {
    match header_bytes("Date", content) {
        Ok(header) => header::value(header, "Date")
            .and_then(|value| text::date_days(&value))
            .is_some_and(holds)
            .into(),
        Err(need) => need,
    }
}

/// A key that needs the text of the message.
fn text_verdict(needle: usize, look: &Look<'_>) -> Verdict {
    match look.content.body {
        Some(body) => look.found.get_or_init(|| look.needles.found_in(body))[needle].into(),
        None => Verdict::NeedBody,
    }
}

/// RFC 9051 §6.4.4: what is searched is the envelope, not the field it was made of. An absent field contains nothing.
fn envelope_verdict(field: EnvelopeField, needle: &Needle, content: Content<'_>) -> Verdict {
    let header = match header_bytes(field.word(), content) {
        Ok(header) => header,
        Err(need) => return need,
    };
    // The one field, not all of the envelope: it is the same for these, which have no default.
    if field == EnvelopeField::Subject {
        let found = |subject: header::Text<'_>| needle.is_in(&text::decoded_value(&subject));
        return header::value(header, field.word())
            .is_some_and(found)
            .into();
    }
    let list = AddressList::of_field(header, field.word());
    (!list.is_empty() && needle.is_in(&text::addresses_text(&list))).into()
}

/// HEADER. Encoded words are decoded before the text is looked for (RFC 9051 §6.4.4).
fn header_verdict(name: &str, needle: &Needle, content: Content<'_>) -> Verdict {
    let header = match header_bytes(name, content) {
        Ok(header) => header,
        Err(need) => return need,
    };
    let named = |field: &header::Field<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
    header::fields(header)
        .filter(named)
        .any(|field| needle.is_in(&text::decoded_value(field.value)))
        .into()
}

/// Header bytes that hold every field called `name`, or what must be read first.
fn header_bytes<'a>(name: &str, content: Content<'a>) -> Result<&'a [u8], Verdict> {
    let kept = mail::summary::KEPT_FIELDS
        .iter()
        .any(|kept| kept.eq_ignore_ascii_case(name));
    match content {
        Content {
            body: Some(body), ..
        } => Ok(body),
        Content {
            summary: Some(summary),
            ..
        } if kept && summary.complete => Ok(&summary.header),
        Content { summary: None, .. } if kept => Err(Verdict::NeedSummary),
        _ => Err(Verdict::NeedBody),
    }
}

impl From<bool> for Verdict {
    fn from(yes: bool) -> Verdict {
        if yes { Verdict::Yes } else { Verdict::No }
    }
}

#[cfg(test)]
mod tests;
