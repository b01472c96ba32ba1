//! Mail that arrives for accounts, with their scripts: one group, and one result for each account.

use std::collections::BTreeSet;

use mail::InternalDate;
use mailbox::{AccountId, MailboxFault};
use queue::limits::ENTRY_ROWS;
use queue::{Addressee, DeliveryId, Envelope, Served, UnixSeconds};
use store::BodyIn;

use super::{Outgoing, lifetimes};
use crate::arrival::{Arrival, Posted, Refusing};
use crate::filter::deliver::{Fate, share};
use crate::filter::group::Group;
use crate::filter::{Letter, Message, Plan, Share};

impl Outgoing {
    /// As `arrival::deliver`, with the scripts of each account.
    pub async fn deliver(&self, arrival: Arrival) -> Vec<Result<(), MailboxFault>> {
        self.deliver_noting(None, arrival).await
    }

    /// The same; `id` is noted in the group, with the accounts that were served.
    pub(super) async fn deliver_noting(
        &self,
        id: Option<DeliveryId>,
        arrival: Arrival,
    ) -> Vec<Result<(), MailboxFault>> {
        let Arrival {
            body,
            internal_date,
            accounts,
            junk,
            posted,
        } = arrival;
        let message = Message {
            body: &body,
            from: &posted.from,
            is_utf8: posted.terms.is_utf8,
        };
        let shares: Vec<Share> = accounts
            .iter()
            .enumerate()
            .map(|(index, account)| {
                let path = posted.to.get(index).map(|to| &to.path[..]);
                share(*account, path, junk.contains(account))
            })
            .collect();
        let fates = self.fates(&message, &shares).await;
        let mut results: Vec<Result<(), MailboxFault>> = vec![Ok(()); accounts.len()];
        let refuses = |fate: &Fate| matches!(fate, Fate::Reject { .. });
        // LMTP answers for each recipient, SMTP with one reply for all. One script that refuses must not refuse the message for the others.
        let by_reply = match posted.refusing {
            Refusing::Each => true,
            Refusing::Together => fates.iter().all(refuses),
            Refusing::Report => false,
        };
        let (mut plans, mut of) = (Vec::new(), Vec::new());
        for (index, fate) in fates.into_iter().enumerate() {
            let share = &shares[index];
            let plan = match fate {
                Fate::Place(plan) => Ok(plan),
                Fate::Later(fault) => Err(fault),
                Fate::Reject { reason, .. } if by_reply => {
                    self.note_rejected(share.account);
                    Err(MailboxFault::Rejected(reason))
                }
                Fate::Reject {
                    may_report: false, ..
                } => Ok(self.refused_silently(share.account)),
                Fate::Reject { .. } => self.for_report(&posted, index, share, &body).await,
            };
            match plan {
                Ok(plan) => {
                    plans.push((share.account, plan));
                    of.push(index);
                }
                Err(fault) => results[index] = Err(fault),
            }
        }
        let mut group = Group {
            body,
            internal_date,
            plans,
            rows_beside: if id.is_some() { ENTRY_ROWS } else { 0 },
            is_queued: false,
        };
        // From the end, so that the indexes in front stay right.
        for index in group.split_off().into_iter().rev() {
            group.plans.remove(index);
            results[of.remove(index)] = Err(too_much());
        }
        if group.plans.is_empty() {
            return results;
        }
        let is_whole = of.len() == accounts.len();
        let more = |written: &[Result<(), MailboxFault>]| {
            let Some(id) = id else {
                return Ok(Vec::new());
            };
            // With what was noted before it is all of them, too.
            // Noted in the group itself: who asks again for this delivery gets exactly those that are missing.
            let served = match is_whole && written.iter().all(Result::is_ok) {
                true => Served::All,
                false => Served::Only(served(&accounts, &of, written)),
            };
            Ok(vec![self.queue.note_arrived(id, served)])
        };
        let written = group.write(&self.mailboxes, Some(self), more).await;
        for (index, result) in of.into_iter().zip(written.plans) {
            results[index] = result;
        }
        results
    }

    /// A recipient whose script refuses a message that has its 250: the message waits in the queue, which finds the refusal when it comes to deliver it,
    /// and reports to the sender (`relay::here`).
    async fn for_report(
        &self,
        posted: &Posted,
        index: usize,
        share: &Share,
        body: &BodyIn,
    ) -> Result<Plan, MailboxFault> {
        let to = match posted.to.get(index) {
            Some(to) => to.clone(),
            None => {
                let row = self.mailboxes.directory().account_by_id(share.account);
                let row = row.await?.ok_or(MailboxFault::NoAccount)?;
                Addressee::new(row.address.to_path())
            }
        };
        let now = UnixSeconds(self.unix_now());
        let (warns, expires) = lifetimes(now, posted.from.is_empty());
        let mut terms = posted.terms.clone();
        terms.is_eight_bit |= !body.raw.is_ascii();
        terms.is_junk = share.is_junk;
        let envelope = Envelope {
            from: posted.from.clone(),
            recipients: vec![to],
            arrived: now,
            warns,
            expires,
            terms,
        };
        Ok(Plan::letter(Letter {
            envelope,
            body: 0,
            is_remembered: false,
            what: "queued for a report: the recipient's script refuses it",
        }))
    }
}

/// The plans for recipients of a message that is taken for all of them.
pub(super) struct Planning {
    pub group: Group,
    /// Whom each plan stands for.
    pub to: Vec<Addressee>,
    /// Those for whom the queue tries on, or reports.
    pub waits: Vec<Addressee>,
    /// Why one of them waits, if that is a fault.
    pub fault: Option<MailboxFault>,
}

impl Outgoing {
    pub(super) async fn planning(
        &self,
        message: &Message<'_>,
        here: Vec<(Share, Addressee)>,
        internal_date: InternalDate,
    ) -> Planning {
        let (shares, all): (Vec<Share>, Vec<Addressee>) = here.into_iter().unzip();
        let (mut plans, mut to, mut waits, mut fault) = (Vec::new(), Vec::new(), Vec::new(), None);
        let fates = self.fates(message, &shares).await;
        for ((fate, share), addressee) in fates.into_iter().zip(&shares).zip(all) {
            let plan = match fate {
                Fate::Place(plan) => plan,
                Fate::Reject {
                    may_report: false, ..
                } => self.refused_silently(share.account),
                Fate::Reject { .. } => {
                    waits.push(addressee);
                    continue;
                }
                Fate::Later(why) => {
                    fault.get_or_insert(why);
                    waits.push(addressee);
                    continue;
                }
            };
            plans.push((share.account, plan));
            to.push(addressee);
        }
        let mut group = Group {
            body: message.body.clone(),
            internal_date,
            plans,
            rows_beside: 2 * ENTRY_ROWS,
            is_queued: true,
        };
        for index in group.split_off().into_iter().rev() {
            group.plans.remove(index);
            waits.push(to.remove(index));
        }
        Planning {
            group,
            to,
            waits,
            fault,
        }
    }
}

/// The accounts that have it, ascending.
fn served(accounts: &[AccountId], of: &[usize], written: &[Result<(), MailboxFault>]) -> Vec<u32> {
    let each = of.iter().zip(written);
    let placed = each.filter(|(_, result)| result.is_ok());
    let places: BTreeSet<u32> = placed.map(|(index, _)| accounts[*index].0).collect();
    places.into_iter().collect()
}

/// More than one group takes: those who are left come with the sender's next try, or with the queue's.
pub(super) fn too_much() -> MailboxFault {
    let why = "the scripts of its recipients do more than one step takes";
    MailboxFault::Unavailable(why.to_owned())
}
