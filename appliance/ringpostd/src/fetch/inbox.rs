//! The person's mailboxes, as a conversation reaches them: by the owner's lane, from a thread that may wait.

use std::sync::atomic::Ordering::Relaxed;

use base::BodyName;
use bytes::Bytes;
use mail::Summary;
use mailbox::names::Noting;
use mailbox::{AccountId, MailboxFault};
use runtime::events::MESSAGE;
use spam::{Author, Peer, Points, Reading, Want};
use storage::lessons::{self, Answer, Asked, For};
use storage::outgoing::Fetched;
use storage::owner::{Busy, Owner};
use store::BodyIn;
use tokio::runtime::Handle;

use super::Counts;
use super::letter::Letter;
use super::limits::{PLACE_TRIES_MAX, PLACE_WAIT};
use super::run::{Inbox, NotPlaced};

pub(super) struct Mailboxes<'a> {
    pub owner: &'a Owner,
    pub handle: &'a Handle,
    pub account: AccountId,
    pub number: u32,
    /// The person's address, for the trace and for the words of the domain.
    pub address: &'a str,
    pub host: &'a str,
    pub is_filtered: bool,
    /// From this score on a message is junk; `None`: none is judged.
    pub junk: Option<Points>,
    pub counts: &'a Counts,
    /// What is placed was written here: it is not counted.
    pub is_own: bool,
}

impl Inbox for Mailboxes<'_> {
    fn place(&mut self, letter: Letter, noting: Noting) -> Result<(), NotPlaced> {
        let Letter {
            id,
            mut bytes,
            date,
        } = letter;
        let is_junk = match self.junk {
            Some(junk) => self.judge(&mut bytes, junk),
            None => false,
        };
        let raw = Bytes::from(bytes);
        let summary = Summary::of(&raw);
        let message_id = message_id(&raw);
        let fetched = Fetched {
            account: self.account,
            number: self.number,
            body: BodyIn {
                name: BodyName::of(&raw),
                summary: Bytes::from(summary.encode()),
                raw: raw.clone(),
            },
            internal_date: date,
            is_junk,
            is_filtered: self.is_filtered,
            noting,
        };
        self.tried(|mailboxes| {
            let fetched = fetched.clone();
            let asked = mailboxes.owner.ask_outgoing(move |outgoing| async move {
                outgoing.deliver_fetched(fetched).await
            });
            mailboxes.handle.block_on(asked)
        })?;
        if self.is_own {
            return Ok(());
        }
        let (to, host, bytes) = (self.address, self.host, raw.len());
        tracing::info!(target: MESSAGE, id, to, host, message_id, bytes, is_junk, "fetched from an account elsewhere");
        self.counts.fetched.fetch_add(1, Relaxed);
        self.counts.bytes.fetch_add(bytes as u64, Relaxed);
        Ok(())
    }

    fn note(&mut self, noting: Noting) -> Result<(), NotPlaced> {
        let (account, number) = (self.account, self.number);
        self.tried(|mailboxes| {
            let noting = noting.clone();
            let asked = mailboxes.owner.ask(move |mailboxes| async move {
                let directory = mailboxes.directory();
                Ok::<(), MailboxFault>(directory.note_fetch(account, number, noting).await?)
            });
            mailboxes.handle.block_on(asked)
        })
    }
}

impl Mailboxes<'_> {
    /// Storage that is busy is asked again for some seconds. One that was lost on the way may have been done: it then is noted, and the next conversation finds that.
    fn tried(
        &self,
        ask: impl Fn(&Self) -> Result<Result<(), MailboxFault>, Busy>,
    ) -> Result<(), NotPlaced> {
        let mut why = String::new();
        for _ in 0..PLACE_TRIES_MAX {
            match ask(self) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(MailboxFault::OverQuota)) => return Err(NotPlaced::Full),
                Ok(Err(MailboxFault::NoAccount | MailboxFault::Refused(_))) => {
                    return Err(NotPlaced::Gone);
                }
                Ok(Err(MailboxFault::TooMany(_))) => return Err(NotPlaced::TooMany),
                // The rows are held, or storage defers: it did not happen.
                Ok(Err(fault @ MailboxFault::Unavailable(_))) => why = fault.to_string(),
                Ok(Err(fault)) => return Err(NotPlaced::Later(fault.to_string())),
                // It is not known whether it happened.
                Err(Busy) => return Err(NotPlaced::Later(Busy.to_string())),
            }
            std::thread::sleep(PLACE_WAIT);
        }
        Err(NotPlaced::Later(why))
    }

    /// Judges a message by what it is, and by what the person taught; its peer and its author's proofs were seen by another server. The field goes in front.
    fn judge(&self, bytes: &mut Vec<u8>, junk: Points) -> bool {
        let reading = Reading::of(bytes, Want::Words);
        let base = spam::judge(&Author::default(), &Peer::default(), &reading);
        let domain = self
            .address
            .rsplit_once('@')
            .map_or("", |(_, domain)| domain);
        let asked = Asked {
            tokens: reading.tokens,
            of: vec![For {
                account: Some(self.account),
                domain: domain.to_lowercase(),
            }],
        };
        let asked = self.owner.ask_outgoing(move |outgoing| async move {
            lessons::words(outgoing.mailboxes(), outgoing.lessons(), &asked)
        });
        let words = match self.handle.block_on(asked) {
            Ok(Answer::Words(words)) => words.into_iter().next().flatten(),
            Ok(Answer::Untrained) | Err(Busy) => None,
        };
        let judgement = base.with(words);
        let field = spam::field(&judgement, junk);
        drop(bytes.splice(0..0, field.into_bytes()));
        judgement.score >= junk
    }
}

/// As the trace shows it.
fn message_id(raw: &[u8]) -> String {
    let header = &raw[..raw.len().min(HEADER_LOOKED_BYTES)];
    let value = mail::header::value(header, "Message-ID");
    let value = value.as_deref().unwrap_or_default();
    let value = String::from_utf8_lossy(value);
    let printable = value
        .trim()
        .chars()
        .filter(|letter| letter.is_ascii_graphic());
    printable.take(MESSAGE_ID_CHARS_MAX).collect()
}

const HEADER_LOOKED_BYTES: usize = 64 * 1_024;
const MESSAGE_ID_CHARS_MAX: usize = 200;
