//! Deliveries that may come twice: directly from a receiver, and from the spool that took the message when no answer came in time.
//!
//! # Why each is placed once
//!
//! A delivery has an id: the name of its bytes, which are the same in the spool, and of which trace fields with an id of their own are a
//! part (`inbound::receive::content`). The group that places it notes the id (`queue::arrived`), so both are durable or neither. There are
//! three ways to see a delivery a second time:
//!
//! - **The first is durable.** Its id is noted, by this run or by replay: nothing is placed, and the answer is that it is there.
//! - **The first is under way**, in a group that has no outcome yet. Its id is in `Desk::once`, and the second is asked to come later: a group
//!   that is placed behind it in the log could become durable together with it.
//! - **The first ended without being placed** (`Err`). Its group had no place in the log yet, or the volume stopped with it and takes nothing more
//!   until it is opened again (`volume::Volume::abandon`). A process that ends while the first is under way leaves no outcome either. In both
//!   cases replay says at the next start which of the other two it was.
//!
//! A hand-over that is made once more on purpose, after a loss (`round` above 0), has an id of its own, and for mailboxes only what they lack is placed
//! (`again.rs`).
//!
//! It makes no difference which of the two comes first: a direct delivery that waited in the lane for longer than the hand-over finds its id.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use mail::{Address, InternalDate};
use mailbox::{AccountId, MailboxFault};
use queue::limits::ENTRY_ROWS;
use queue::{Addressee, DeliveryId, Envelope, QueueId, Served};
use runtime::events::MESSAGE;
use store::{BodyIn, Purpose};

use super::deliver::Planning;
use super::{Local, Outgoing, Submission, again, is_of_storage, mailbox_fault};
use crate::addresses::Meaning;
use crate::arrival::{Arrival, Posted, Refusing};
use crate::filter::deliver::share;
use crate::filter::{Message, Share};
use crate::held;

/// What a hand-over came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandedOver {
    /// Every recipient has it: in a mailbox, or in the queue, which tries on and reports.
    Now,
    /// A direct delivery or an earlier hand-over had placed it.
    Before,
    /// A direct delivery of it is under way: ask again when that has ended.
    UnderWay,
}

/// What is known of a delivery that cannot be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Every recipient has it.
    Placed,
    /// Some have it.
    Partly,
    /// A direct delivery of it is under way.
    UnderWay,
    /// No recipient has it, as far as ids are remembered.
    Nowhere,
}

impl Outgoing {
    /// What has become of a delivery. Asked behind its direct delivery in the owner's lane, `Nowhere` stays true until a hand-over.
    pub fn seen(&self, id: DeliveryId) -> Seen {
        if self.desk.once.borrow().contains(&id) {
            return Seen::UnderWay;
        }
        match self.queue.arrived(id) {
            Some(Served::All) => Seen::Placed,
            Some(Served::Only(_)) => Seen::Partly,
            None => Seen::Nowhere,
        }
    }

    /// As `arrival::deliver`, and a hand-over of the same bytes finds what was placed.
    pub async fn deliver_once(&self, arrival: Arrival) -> Vec<Result<(), MailboxFault>> {
        let id = DeliveryId::of(&arrival.body.name);
        self.deliver_once_as(id, arrival).await
    }

    /// As `deliver_once`, under the id that another node gave: its next try of a message has other trace fields, and the same id.
    pub async fn deliver_once_as(
        &self,
        id: DeliveryId,
        arrival: Arrival,
    ) -> Vec<Result<(), MailboxFault>> {
        let count = arrival.accounts.len();
        let Some(_begun) = Begun::begin(&self.desk.once, id) else {
            return vec![Err(under_way()); count];
        };
        // Whom an earlier hand-over or try gave a place or the queue's patience has it; only the rest is placed.
        let served = self.queue.arrived(id);
        let has = |account: &AccountId| served.as_ref().is_some_and(|served| served.has(account.0));
        let all = arrival.accounts.clone();
        let accounts: Vec<AccountId> = all.iter().copied().filter(|each| !has(each)).collect();
        if accounts.is_empty() {
            return vec![Ok(()); count];
        }
        let Posted { to, .. } = &arrival.posted;
        let each = all.iter().zip(to).filter(|(account, _)| !has(account));
        let to = each.map(|(_, to)| to.clone()).collect();
        let arrival = Arrival {
            accounts,
            posted: Posted {
                to,
                // All of the message's recipients are not in one try any more.
                refusing: match arrival.posted.refusing {
                    Refusing::Together if served.is_some() => Refusing::Report,
                    refusing => refusing,
                },
                ..arrival.posted
            },
            ..arrival
        };
        let mut placed = self.deliver_noting(Some(id), arrival).await.into_iter();
        let result = |account: &AccountId| match has(account) {
            true => Ok(()),
            false => placed.next().expect("one result for each that was placed"),
        };
        all.iter().map(result).collect()
    }

    /// As `submit`, for mail that arrives, in one group: a hand-over of the same bytes finds it.
    pub async fn submit_once(&self, submission: Submission) -> Result<(), MailboxFault> {
        let id = DeliveryId::of(&submission.body.name);
        let Some(_begun) = Begun::begin(&self.desk.once, id) else {
            return Err(under_way());
        };
        if self.queue.arrived(id).is_some() {
            return Ok(());
        }
        let Submission {
            body,
            internal_date,
            here,
            junk,
            elsewhere,
        } = submission;
        let shares = here.into_iter().filter_map(|Local { place, to }| {
            let is_junk = junk.contains(&place.account);
            let to = to?;
            Some((share(place.account, Some(&to.path), is_junk), to))
        });
        self.place(id, body, internal_date, shares.collect(), elsewhere)
            .await
    }

    /// Takes a message over from a spool. Each recipient is looked up now: who has a mailbox with room gets it there, and all others are put
    /// in the queue, which leads them on, tries on or reports to the sender that it failed. All of it is one group. `Err`: nothing was done, and
    /// storage is to be asked again. `round` above 0: it was handed over so often before, and who still has it gets no second copy.
    pub async fn hand_over(
        &self,
        body: BodyIn,
        envelope: Envelope,
        round: u32,
    ) -> Result<HandedOver, MailboxFault> {
        let id = DeliveryId::again(&body.name, round);
        self.hand_over_in(round > 0, id, body, envelope).await
    }

    /// As `hand_over`, under the id that another node gave. `is_again`: with a round above 0.
    pub async fn hand_over_as(
        &self,
        id: DeliveryId,
        is_again: bool,
        body: BodyIn,
        envelope: Envelope,
    ) -> Result<HandedOver, MailboxFault> {
        self.hand_over_in(is_again, id, body, envelope).await
    }

    async fn hand_over_in(
        &self,
        is_again: bool,
        id: DeliveryId,
        body: BodyIn,
        envelope: Envelope,
    ) -> Result<HandedOver, MailboxFault> {
        let Some(_begun) = Begun::begin(&self.desk.once, id) else {
            return Ok(HandedOver::UnderWay);
        };
        let served = self.queue.arrived(id);
        if served == Some(Served::All) {
            return Ok(HandedOver::Before);
        }
        let mut elsewhere = envelope;
        let (mut here, mut seen) = (Vec::new(), HashSet::new());
        for to in std::mem::take(&mut elsewhere.recipients) {
            let meaning = match Address::from_path(&to.path) {
                Some(address) => held::meaning(&self.mailboxes, &address, &body.raw).await?,
                None => Meaning::NotOurs,
            };
            match meaning {
                // It has it, or another of its addresses gets it for it.
                Meaning::Account(account, _)
                    if served.as_ref().is_some_and(|served| served.has(account.0))
                        || !seen.insert(account) => {}
                Meaning::Account(account, _)
                    if is_again && again::has(&self.mailboxes, account, &body.name).await? => {}
                Meaning::Account(account, _) => {
                    let is_junk = elsewhere.terms.is_junk;
                    here.push((share(account, Some(&to.path), is_junk), to));
                }
                _ => elsewhere.recipients.push(to),
            }
        }
        if here.is_empty() && elsewhere.recipients.is_empty() {
            return Ok(HandedOver::Before);
        }
        let internal_date = InternalDate::utc(elsewhere.arrived.0 as i64);
        self.place(id, body, internal_date, here, elsewhere).await?;
        Ok(HandedOver::Now)
    }

    /// Copies for `here`, an entry in the queue for `elsewhere` and for those of `here` without room or whose scripts refuse it, and the id: one group.
    async fn place(
        &self,
        id: DeliveryId,
        body: BodyIn,
        internal_date: InternalDate,
        here: Vec<(Share, Addressee)>,
        elsewhere: Envelope,
    ) -> Result<(), MailboxFault> {
        let given = Cell::new(None);
        let with = |refused: Vec<Addressee>| {
            let mut envelope = elsewhere.clone();
            let known: HashSet<String> = envelope
                .recipients
                .iter()
                .map(|to| to.path.clone())
                .collect();
            let refused = refused.into_iter();
            let refused = refused.filter(|to| !known.contains(&to.path));
            envelope.recipients.extend(refused);
            envelope
        };
        let parts = |envelope: Envelope| {
            let mut parts = vec![self.queue.note_arrived(id, Served::All)];
            if !envelope.recipients.is_empty() {
                let (queued, part) = self.queue.put(envelope, 0).map_err(mailbox_fault)?;
                parts.push(part);
                given.set(Some(queued));
            }
            Ok::<_, MailboxFault>(parts)
        };
        let message = Message {
            body: &body,
            from: &elsewhere.from,
            is_utf8: elsewhere.terms.is_utf8,
        };
        let planning = self.planning(&message, here, internal_date).await;
        // Who cannot be planned for now waits in the queue, which tries for each alone: a hand-over that fails as a whole comes again and again.
        let Planning {
            group,
            to,
            mut waits,
            fault: _,
        } = planning;
        let mut is_written = false;
        if !group.plans.is_empty() {
            let written = group.write(&self.mailboxes, Some(self), |placed| {
                let each = to.iter().zip(placed);
                let refused = each.filter(|(_, result)| result.is_err());
                let refused = refused.map(|(to, _)| to.clone());
                parts(with(waits.iter().cloned().chain(refused).collect()))
            });
            let written = written.await;
            is_written = written.is_written;
            let mut faults = written.plans.iter().filter_map(|each| each.clone().err());
            if !is_written && let Some(fault) = faults.find(is_of_storage) {
                return Err(fault);
            }
            let each = to.into_iter().zip(written.plans);
            waits.extend(each.filter(|(_, result)| result.is_err()).map(|(to, _)| to));
        }
        if !is_written {
            let tenancy = self.queue.tenancy();
            let room = tenancy.room_for(Purpose::Keep, true, 2 * ENTRY_ROWS);
            room.await.map_err(MailboxFault::from)?;
            // No await from here to `commit`: the order of numbers is the order of the log.
            let parts = parts(with(waits))?;
            let committed = tenancy.commit(Purpose::Keep, vec![body], parts).await;
            committed.map_err(MailboxFault::from)?;
        }
        if let Some(QueueId(queue)) = given.get() {
            tracing::info!(target: MESSAGE, queue, "queued");
        }
        self.wake();
        Ok(())
    }
}

fn under_way() -> MailboxFault {
    MailboxFault::Unavailable("the same delivery is under way".to_owned())
}

/// A delivery under way, for as long as this lives.
struct Begun<'d> {
    all: &'d RefCell<HashSet<DeliveryId>>,
    id: DeliveryId,
}

impl<'d> Begun<'d> {
    /// `None`: it is under way already.
    fn begin(all: &'d RefCell<HashSet<DeliveryId>>, id: DeliveryId) -> Option<Begun<'d>> {
        let is_new = all.borrow_mut().insert(id);
        // Made only then: one that is dropped ends what is under way.
        is_new.then(|| Begun { all, id })
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.all.borrow_mut().remove(&self.id);
    }
}
