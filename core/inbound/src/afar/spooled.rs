//! Storage on other machines behind a spool: the same keeper, asked directly first, and by the spool's drain.
//!
//! What waited in the spool goes over whole, with a mark that says so: the storage node takes it for every recipient in a domain of its own, and its queue
//! tries on or reports where one is gone. So the spool has one answer for each message, and this node never owes a report.
//!
//! What must hold: the hand-over has the id of the direct try (`keeper::delivery_id`, `Doubts::goes_to_spool`); what a storage node refuses for good stays in
//! the spool.

use std::time::Duration;

use mail::Address;
use mailbox::{AccountId, MailboxFault};
use queue::{DeliveryId, Entry};
use runtime::Dial;
use storage::arrival::Arrival;
use storage::outgoing::{HandedOver, Seen, Submission};
use storage::owner::Busy;
use tracing::{Instrument, Span};

use super::doubt::Key;
use super::keeper::{self, Afar, Letter, NotHanded, unavailable};
use super::limits::{LAST_ANSWERS_MAX, SPOOLED_AT_ONCE};
use crate::receive::{Keeper, OnBehalf};
use crate::spool::{self, Handed, Message, Part, Storing, Told};

impl<D: Dial + 'static> Storing for Afar<D> {
    fn refuses_mail(&self) -> bool {
        Keeper::refuses(self)
    }

    async fn submit_once(
        &self,
        submission: Submission,
        _held: spool::Held,
        span: &Span,
    ) -> Result<Result<(), MailboxFault>, Busy> {
        self.submit(submission, span).await
    }

    async fn deliver_once(
        &self,
        arrival: Arrival,
        on_behalf: OnBehalf<'_>,
        _held: spool::Held,
        span: &Span,
    ) -> Result<Vec<Result<(), MailboxFault>>, Busy> {
        self.deliver(arrival, on_behalf, span).await
    }

    fn parts(&self, accounts: &[AccountId], junk: &[AccountId]) -> Vec<Vec<AccountId>> {
        keeper::parts(accounts, junk)
    }

    /// At RCPT of a direct delivery the storage node decides who may post to a group. It cannot refuse what comes from the spool.
    fn goes_to_spool(&self, part: &Part<'_>) -> bool {
        let table = &self.shared.settings.table;
        let mut recipients = part.tried.recipients.iter();
        let is_group = |path: &str| Address::from_path(path).is_some_and(|to| table.is_group(&to));
        if recipients.any(|to| is_group(&to.path)) {
            return false;
        }
        if let Some((key, id)) = self.doubt_of(part) {
            let now = self.shared.caller.host.now();
            self.shared.settings.doubts.goes_to_spool(key, id, now);
        }
        true
    }

    fn stays_out(&self, part: &Part<'_>) {
        if let Some((key, id)) = self.doubt_of(part) {
            let now = self.shared.caller.host.now();
            self.shared.settings.doubts.stays_out(key, id, now);
        }
    }

    /// Recipients are looked up in the table, which is here.
    fn looks_far(&self) -> bool {
        false
    }

    /// Another node may be asked at the next start, and does not know what the first one has.
    fn answers_within(&self) -> Duration {
        LAST_ANSWERS_MAX
    }

    /// Storage nodes are not asked what they have seen of a message: one that cannot be read is handed over late or never, and a second copy is preferred
    /// to a way that stays closed.
    async fn hand_over(&self, messages: Vec<Message>, damaged: &[Entry]) -> Result<Told, Busy> {
        let seen = vec![Seen::Nowhere; damaged.len() + messages.len()];
        let mut results = Vec::with_capacity(messages.len());
        let mut messages = messages.into_iter();
        while messages.len() > 0 {
            // Ends: each turn takes some out.
            let some = messages.by_ref().take(SPOOLED_AT_ONCE);
            let work = some.map(|message| {
                let span = spool::span_of(&message);
                async move { self.hand_spooled(&message).await }.instrument(span)
            });
            results.extend(spool::all(work).await);
        }
        Ok(Told { results, seen })
    }
}

impl<D: Dial> Afar<D> {
    /// As which try a doubt about it would be known, and the id of its hand-over. Mostly there is no doubt, and then the bytes are not hashed again.
    fn doubt_of(&self, part: &Part<'_>) -> Option<(Key, DeliveryId)> {
        if self.shared.settings.doubts.count() == 0 {
            return None;
        }
        let (body, tried, waits) = (part.body, part.tried, part.waits);
        let key = Key::of(&body.raw, &tried.from, &keeper::paths(tried), part.is_whole);
        let for_whom = keeper::paths(waits);
        let id = keeper::delivery_id(&body.name, &waits.terms, &for_whom, 0);
        Some((key, id))
    }

    async fn hand_spooled(&self, message: &Message) -> Handed {
        let Message {
            body,
            envelope,
            round,
            ..
        } = message;
        let recipients = keeper::paths(envelope);
        let letter = Letter {
            raw: &body.raw,
            name: &body.name,
            id: keeper::delivery_id(&body.name, &envelope.terms, &recipients, *round),
            recipients,
            envelope,
            is_whole: true,
            is_spooled: true,
            is_again: *round > 0,
        };
        let results = match self.hand(&letter).await {
            Ok(results) => results,
            Err(NotHanded::Busy | NotHanded::Some(_) | NotHanded::OneOfSeveral) => {
                return Err(unavailable("too many messages wait for a storage node"));
            }
        };
        let first_fault = results.into_iter().find_map(Result::err);
        match first_fault {
            None => Ok(HandedOver::Now),
            Some(MailboxFault::NoAccount | MailboxFault::NotPermitted) => {
                let why = "the storage node does not know the domain of a recipient any more";
                Err(MailboxFault::Refused(why))
            }
            Some(fault) => Err(fault),
        }
    }
}
