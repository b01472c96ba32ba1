//! The envelope of a message in quarantine, as lines in front of its bytes.
//!
//! ```text
//! X-Ringpost-Held: dmarc; at=1790000000; id=64.0.1; utf8=0; eight-bit=1; returned=0; recipients=1
//! X-Ringpost-Held-Why: header.from=example.net
//! X-Ringpost-Held-From: you@example.net
//! X-Ringpost-Held-To: 0 alice@example.org
//! ```
//!
//! What must hold: `Held::read` takes the first bytes of a message alone, and only what `Held::write` wrote there. The first field of any other
//! message that arrives is one of ours (`inbound::receive::trace`), so a sender cannot forge an envelope.
//!
//! A block of lines was chosen over a record of its own in the log: the message and its envelope are one body, so they are durable in one step,
//! also on the way through a spool, and `ringpostctl salvage` shows both. What a sender said in ORCPT and ENVID is not kept: a report about a
//! message that was released does not name them.

use std::fmt::Write as _;

use mail::Address;
use mailbox::{MailboxFault, Mailboxes};
use queue::{Addressee, Notify, Returned, Terms};

use crate::addresses::{self, Meaning};
use crate::reserved;

/// Why a message is in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A scanner found a virus.
    Virus,
    /// The domain in From asks for it (DMARC).
    Dmarc,
    /// A scanner or a filter asks for it.
    Scanner,
}

impl Why {
    pub const ALL: [Why; 3] = [Why::Virus, Why::Dmarc, Why::Scanner];

    pub fn word(self) -> &'static str {
        match self {
            Why::Virus => "virus",
            Why::Dmarc => "dmarc",
            Why::Scanner => "scanner",
        }
    }

    fn of(word: &str) -> Option<Why> {
        Why::ALL.into_iter().find(|why| why.word() == word)
    }
}

/// A message's envelope, and what is known of its way into the quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub why: Why,
    /// Printable ASCII, at most `DETAIL_BYTES_MAX`; may be empty.
    pub detail: String,
    /// When it came.
    pub unix_seconds: u64,
    /// The id in its Received field.
    pub id: String,
    /// Empty: the null reverse-path.
    pub from: String,
    pub recipients: Vec<Addressee>,
    pub terms: Terms,
}

impl Held {
    /// Every line with its end.
    pub fn write(&self) -> String {
        let returned = match self.terms.returned {
            Returned::Unsaid => 0,
            Returned::Headers => 1,
            Returned::Full => 2,
        };
        let mut text = format!(
            "{HELD}: {}; at={}; id={}; utf8={}; eight-bit={}; returned={returned}; recipients={}\r\n{WHY}: {}\r\n{FROM}: {}\r\n",
            self.why.word(),
            self.unix_seconds,
            self.id,
            u8::from(self.terms.is_utf8),
            u8::from(self.terms.is_eight_bit),
            self.recipients.len(),
            detail(&self.detail),
            self.from,
        );
        for to in &self.recipients {
            let notify = bits(to.notify);
            // A string takes all text.
            let _ = write!(text, "{TO}: {notify} {}\r\n", to.path);
        }
        text
    }

    /// The envelope in front of `bytes`, which may end anywhere behind it, and how many bytes it has. `None`: there is none, or not all of it.
    pub fn read(bytes: &[u8]) -> Option<(Held, usize)> {
        let mut at = bytes.strip_prefix(RETURN).map_or(0, |_| RETURN.len());
        let mut line = |name: &str| {
            let rest = bytes.get(at..)?;
            let rest = rest.strip_prefix(name.as_bytes())?.strip_prefix(b": ")?;
            let length = line_bytes(rest)?;
            at += name.len() + 2 + length + 2;
            std::str::from_utf8(&rest[..length]).ok()
        };
        let head = line(HELD)?;
        let (detail, from) = (line(WHY)?.to_owned(), line(FROM)?.to_owned());
        let mut words = head.split("; ");
        let why = Why::of(words.next()?)?;
        let mut value = |key: &str| words.next()?.strip_prefix(key)?.strip_prefix('=');
        let unix_seconds = value("at")?.parse().ok()?;
        let id = value("id")?.to_owned();
        let is_utf8 = value("utf8")? == "1";
        let is_eight_bit = value("eight-bit")? == "1";
        let returned = match value("returned")? {
            "0" => Returned::Unsaid,
            "1" => Returned::Headers,
            "2" => Returned::Full,
            _ => return None,
        };
        let count: usize = value("recipients")?.parse().ok()?;
        if !(1..=RECIPIENTS_MAX).contains(&count) {
            return None;
        }
        let mut recipients = Vec::with_capacity(count);
        for _ in 0..count {
            let (notify, path) = line(TO)?.split_once(' ')?;
            Address::from_path(path)?;
            recipients.push(Addressee {
                path: path.to_owned(),
                notify: notify_of(notify.parse().ok()?)?,
                original: String::new(),
            });
        }
        let terms = Terms {
            returned,
            is_utf8,
            is_eight_bit,
            ..Terms::default()
        };
        let held = Held {
            why,
            detail,
            unix_seconds,
            id,
            from,
            recipients,
            terms,
        };
        Some((held, at))
    }
}

/// As `addresses::meaning`, for a message that begins with `raw`: the quarantine has a mailbox for what `inbound` put an envelope in front of,
/// and for nothing else. So no alias, no person and no route leads into it or takes what belongs there elsewhere.
pub(crate) async fn meaning(
    mailboxes: &Mailboxes,
    address: &Address,
    raw: &[u8],
) -> Result<Meaning, MailboxFault> {
    let own = reserved::address();
    if reserved::is_reserved(address.domain())
        && address.local() == own.local()
        && Held::read(raw).is_some()
        && let Some(account) = mailboxes.account(&own).await?
    {
        return Ok(Meaning::Account(account.id, own));
    }
    addresses::meaning(mailboxes, address).await
}

/// The words of a scanner, which may be a sender's: as much as fits one line of printable ASCII.
fn detail(text: &str) -> String {
    let printable = text.chars().map(|each| match each {
        ' '..='~' => each,
        _ => '?',
    });
    printable.take(DETAIL_BYTES_MAX).collect()
}

const WORDS: [Notify; 4] = [
    Notify::SUCCESS,
    Notify::FAILURE,
    Notify::DELAY,
    Notify::NEVER,
];

fn bits(notify: Notify) -> u8 {
    let words = WORDS.iter().enumerate();
    let said = words.filter(|(_, word)| notify.has(**word));
    said.map(|(at, _)| 1 << at).sum()
}

fn notify_of(bits: u8) -> Option<Notify> {
    let words = WORDS.into_iter().enumerate();
    let said = words.filter(|(at, _)| bits & 1 << at != 0);
    let notify = said.fold(Notify::UNSAID, |all, (_, word)| all.and(word));
    (bits < 1 << WORDS.len()).then_some(notify)
}

/// Of the text in front of the first line's end; an envelope's line is short.
fn line_bytes(bytes: &[u8]) -> Option<usize> {
    let bytes = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    bytes.windows(2).position(|pair| pair == b"\r\n")
}

/// A message that found no room waits in the queue, which puts this in front when it delivers. `inbound` writes a sender there that is empty for
/// what is kept apart. Behind that field every other message has one of ours (Received), too.
const RETURN: &[u8] = b"Return-Path: <>\r\n";
const HELD: &str = "X-Ringpost-Held";
const WHY: &str = "X-Ringpost-Held-Why";
const FROM: &str = "X-Ringpost-Held-From";
const TO: &str = "X-Ringpost-Held-To";
/// Of the words of a scanner: a virus' name has 100 characters at most, as a rule.
pub const DETAIL_BYTES_MAX: usize = 200;
/// A path has `queue::limits::PATH_BYTES_MAX`, and may be UTF-8.
const LINE_BYTES_MAX: usize = 1_024;
const RECIPIENTS_MAX: usize = queue::limits::RECIPIENTS_MAX;
const _: () = assert!(queue::limits::PATH_BYTES_MAX + 8 < LINE_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Held {
        let to = |path: &str, notify| Addressee {
            notify,
            ..Addressee::new(path)
        };
        Held {
            why: Why::Dmarc,
            detail: "header.from=example.net".to_owned(),
            unix_seconds: 1_790_000_000,
            id: "64.0.1".to_owned(),
            from: "you@example.net".to_owned(),
            recipients: vec![
                to("alice@example.org", Notify::UNSAID),
                to("\"a b\"@example.org", Notify::FAILURE.and(Notify::DELAY)),
                to("bob@example.org", Notify::NEVER),
            ],
            terms: Terms {
                returned: Returned::Headers,
                is_eight_bit: true,
                ..Terms::default()
            },
        }
    }

    #[test]
    fn an_envelope_is_read_back_as_it_was_written_and_nothing_of_the_message_with_it() {
        let mut report = held();
        report.from.clear();
        for held in [held(), report] {
            let text = held.write();
            let message = format!("{text}Received: by mx\r\n\r\n");
            let read = Held::read(message.as_bytes());
            assert_eq!(read, Some((held.clone(), text.len())));
            // As the queue delivers it.
            let waited = format!("Return-Path: <>\r\n{message}");
            let read = Held::read(waited.as_bytes());
            assert_eq!(read, Some((held, text.len() + RETURN.len())));
        }
    }

    #[test]
    fn what_is_cut_off_or_not_ours_is_no_envelope() {
        let text = held().write();
        for end in 0..text.len() {
            assert_eq!(Held::read(&text.as_bytes()[..end]), None, "{end}");
        }
        for bad in [
            "Received: by mx\r\nX-Ringpost-Held: dmarc\r\n".to_owned(),
            text.replace("dmarc;", "other;"),
            text.replace("Held-To: 0 ", "Held-To: 16 "),
            text.replace("alice@example.org", "alice"),
            text.replace("returned=1", "returned=3"),
        ] {
            assert_eq!(Held::read(bad.as_bytes()), None, "{bad}");
        }
        let none = Held {
            recipients: Vec::new(),
            ..held()
        };
        assert_eq!(Held::read(none.write().as_bytes()), None);
    }

    #[test]
    fn the_words_of_a_scanner_stay_on_one_line() {
        let odd = Held {
            detail: format!(
                "Win\r\nX-Ringpost-Held-To: 0 eve@example.net {}",
                "x".repeat(999)
            ),
            ..held()
        };
        let (read, _) = Held::read(odd.write().as_bytes()).expect("an envelope");
        assert!(
            read.detail.starts_with("Win??X-Ringpost"),
            "{}",
            read.detail
        );
        assert_eq!(read.detail.len(), DETAIL_BYTES_MAX);
        assert_eq!(read.recipients, held().recipients);
    }
}
