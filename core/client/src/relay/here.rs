//! Messages of the queue for mailboxes of ours: reports to our people, and what found no room at first.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use base::BodyName;
use bytes::Bytes;
use dns::Names;
use mail::Summary;
use mailbox::MailboxFault;
use queue::RecipientState;
use runtime::events::MESSAGE;
use runtime::{Dial, Holder};
use storage::outgoing::{Leading, Placing};
use storage::owner::Ask;
use store::BodyIn;

use super::destination::Route;
use super::letter::{Letter, travels_from};
use super::sender::Shared;
use super::verdict::{Class, Said, Verdict};

impl<K: Ask, N: Names, D: Dial> Shared<K, N, D> {
    /// Places the message for each of `recipients`, in one durable step with the note that it was.
    pub(super) async fn deliver_here(self: &Rc<Self>, letter: Rc<Letter>, recipients: Vec<u32>) {
        let entry = letter.entry();
        let _charge = self
            .memory
            // Twice: where an address leads on it is written again.
            .wait_for(HERE, 2 * entry.body.raw_bytes as usize)
            .await;
        let Some(body) = self.whole(&letter).await else {
            let words = "the message cannot be read from storage now";
            let later = Verdict::Later(Class::Ours, Said::ours("4.3.0", words));
            let verdicts = recipients.into_iter().map(|index| (index, later.clone()));
            return self.settle(&letter, verdicts.collect()).await;
        };
        let (id, now) = (entry.id, self.unix_now());
        let mut verdicts = Vec::new();
        // One recipient at a time, each in a commit of its own: a full mailbox must not undo what another one has.
        for index in recipients {
            // A reference, not a copy: the bytes are shared by all.
            let body = body.clone();
            let placed = self.owner.ask_outgoing(move |outgoing| async move {
                outgoing.deliver_here(id, now, body, index).await
            });
            let later = |words: &str| Verdict::Later(Class::Ours, Said::ours("4.3.0", words));
            let verdict = match placed.await {
                Ok(Ok(Placing::Placed)) => {
                    letter.set_state(index, RecipientState::Delivered);
                    self.counters.delivered.fetch_add(1, Relaxed);
                    let (from, to) = (&entry.from, &entry.recipients[index as usize].to.path);
                    tracing::info!(target: MESSAGE, queue = id.0, from, to, "delivered here");
                    continue;
                }
                Ok(Ok(Placing::Leads(leading))) => {
                    match self.lead_on(&letter, index, leading).await {
                        None => continue,
                        Some(verdict) => verdict,
                    }
                }
                Ok(Ok(Placing::Loop)) => a_loop(),
                // A route leads this address to another server now, whatever it was when the message was accepted.
                Ok(Ok(Placing::Routed(site))) => {
                    // The server that takes everything takes this too; where nothing leaves it waits.
                    let site = match &self.route {
                        Route::Fixed(_) => self.route.site(""),
                        Route::Exchangers { .. } => site,
                        Route::Nowhere => {
                            verdicts.push((index, later("this server sends nothing to others")));
                            continue;
                        }
                    };
                    verdicts.extend(self.give(&letter, site, vec![index]));
                    continue;
                }
                Ok(Ok(Placing::NoMailbox)) => {
                    Verdict::Failed(Said::ours("5.1.1", "there is no such mailbox"))
                }
                Ok(Ok(Placing::Rejected(reason))) => Verdict::Failed(Said::ours("5.7.1", reason)),
                Ok(Ok(Placing::Later(MailboxFault::OverQuota))) => {
                    Verdict::Later(Class::Ours, Said::ours("4.2.2", "the mailbox is full"))
                }
                Ok(Ok(Placing::Later(fault))) => later(&fault.to_string()),
                Ok(Err(fault)) => later(&fault.to_string()),
                Err(busy) => later(&busy.to_string()),
            };
            verdicts.push((index, verdict));
        }
        if !verdicts.is_empty() {
            self.settle(&letter, verdicts).await;
        }
    }

    /// Has the message go on to where the recipient's address leads. `None`: it does, durably.
    async fn lead_on(&self, letter: &Letter, index: u32, leading: Leading) -> Option<Verdict> {
        let later = |words: &str| Verdict::Later(Class::Ours, Said::ours("4.3.0", words));
        let Leading { name, from, fields } = leading;
        let Some(body) = self.whole_with(letter, &from, &fields).await else {
            return Some(later("the message cannot be read from storage now"));
        };
        // Two aliases that lead to each other over another server are seen only in the message: the queue knows each leg of the way alone.
        if was_delivered_to(&body.raw, fields.len(), &name) {
            return Some(a_loop());
        }
        let (id, now) = (letter.entry().id, self.unix_now());
        let led = self.owner.ask_outgoing(move |outgoing| async move {
            outgoing.lead_on(id, now, body, index).await
        });
        match led.await {
            Ok(Ok(Placing::Placed)) => {
                letter.set_state(index, RecipientState::Delivered);
                None
            }
            Ok(Ok(Placing::Loop)) => Some(a_loop()),
            Ok(Ok(Placing::NoMailbox)) => {
                let said = Said::ours("5.1.1", "there is no such mailbox");
                Some(Verdict::Failed(said))
            }
            Ok(Ok(Placing::Later(fault))) => Some(later(&fault.to_string())),
            // It changed meanwhile: the next try finds what it is now.
            Ok(Ok(Placing::Leads(_) | Placing::Routed(_) | Placing::Rejected(_))) => {
                Some(later("the address changed"))
            }
            Ok(Err(fault)) => Some(later(&fault.to_string())),
            Err(busy) => Some(later(&busy.to_string())),
        }
    }

    /// All of it, with the field that final delivery adds (RFC 5321 §4.4).
    async fn whole(&self, letter: &Letter) -> Option<BodyIn> {
        self.whole_with(letter, &letter.entry().from, "").await
    }

    /// As `whole`, with this return path and `fields` behind it.
    async fn whole_with(&self, letter: &Letter, from: &str, fields: &str) -> Option<BodyIn> {
        let entry = letter.entry();
        let field = format!("Return-Path: <{from}>\r\n{fields}");
        // At once: a vector that doubles as it grows would take more than was charged.
        let mut raw = Vec::with_capacity(field.len() + entry.body.raw_bytes as usize);
        raw.extend_from_slice(field.as_bytes());
        let mut at = 0;
        while at < entry.body.raw_bytes {
            // until all of it is read
            let piece = self.read(entry.id, at).await?;
            let from = if at == 0 { travels_from(&piece) } else { 0 };
            raw.extend_from_slice(&piece[from..]);
            at += piece.len() as u32;
        }
        let raw = Bytes::from(raw);
        let bytes = raw.len();
        let work = move || BodyIn {
            name: BodyName::of(&raw),
            summary: Bytes::from(Summary::of(&raw).encode()),
            raw,
        };
        Some(self.caller.host.work(bytes, work).await)
    }
}

fn a_loop() -> Verdict {
    Verdict::Failed(Said::ours("5.4.6", "mail loop detected"))
}

/// RFC 9228: whether the message has been at this address before, by the fields behind the `ours` bytes that were put in front now.
fn was_delivered_to(raw: &[u8], ours: usize, name: &str) -> bool {
    let front = mail::header::fields(raw).next();
    let from = front.map_or(0, |field| field.raw.len()) + ours;
    mail::header::fields(raw.get(from..).unwrap_or_default()).any(|field| {
        field.name.eq_ignore_ascii_case(b"Delivered-To")
            && field
                .value
                .trim_ascii()
                .eq_ignore_ascii_case(name.as_bytes())
    })
}

/// Our mailboxes' share of the memory.
const HERE: Holder = Holder(0);
