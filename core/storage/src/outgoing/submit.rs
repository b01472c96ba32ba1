//! A message of our people, or one that leads on: copies here and an entry in the queue, in one group.

use std::collections::HashMap;

use mailbox::MailboxFault;
use queue::{Addressee, QueueId};

use super::{Local, Outgoing, Submission, is_of_storage, mailbox_fault};
use crate::filter::deliver::share;
use crate::filter::{Message, Plan};

impl Outgoing {
    /// Places a message with its local recipients and in the queue, in one durable group. Answers its number in the queue, if it is there.
    /// A local recipient without room goes to the queue too. `Err`: refused as a whole, or (storage failed between two groups) to
    /// be sent again.
    pub async fn submit(&self, submission: Submission) -> Result<Option<QueueId>, MailboxFault> {
        let Submission {
            body,
            internal_date,
            here,
            junk,
            mut elsewhere,
        } = submission;
        let (mut shares, mut copies) = (Vec::new(), Vec::new());
        for Local { place, to } in here {
            let is_junk = junk.contains(&place.account);
            match to {
                Some(to) => shares.push((share(place.account, Some(&to.path), is_junk), to)),
                // A copy for the sender passes by the scripts.
                None => copies.push((place.account, Plan::of(place))),
            }
        }
        let mut given = None;
        let (mut refused, mut refused_are_junk) = (Vec::new(), true);
        let message = Message {
            body: &body,
            from: &elsewhere.from,
            is_utf8: elsewhere.terms.is_utf8,
        };
        let is_junk: HashMap<String, bool> = shares
            .iter()
            .map(|(share, to)| (to.path.clone(), share.is_junk))
            .collect();
        let planning = self.planning(&message, shares, internal_date).await;
        let (mut group, to, mut first_fault) = (planning.group, planning.to, planning.fault);
        let mut refuse = |to: Addressee| {
            refused_are_junk &= is_junk.get(&to.path).is_some_and(|is_junk| *is_junk);
            refused.push(to);
        };
        planning.waits.into_iter().for_each(&mut refuse);
        group.plans.extend(copies);
        if !group.plans.is_empty() {
            let written = group.write(&self.mailboxes, Some(self), |_| {
                if elsewhere.recipients.is_empty() {
                    return Ok(Vec::new());
                }
                let (id, part) = self
                    .queue
                    .put(elsewhere.clone(), 0)
                    .map_err(mailbox_fault)?;
                given = Some(id);
                Ok(vec![part])
            });
            let written = written.await;
            let mut to = to.into_iter();
            for result in written.plans {
                // Those of the sender's copies stand behind them.
                let to = to.next();
                let Err(fault) = result else { continue };
                if !written.is_written && is_of_storage(&fault) {
                    return Err(fault);
                }
                if let Some(to) = to {
                    refuse(to);
                }
                first_fault.get_or_insert(fault);
            }
            if written.is_written {
                // With what must leave.
                elsewhere.recipients.clear();
            }
        }
        if !refused.is_empty() {
            // One mark for all of them: in doubt it is good mail.
            let others_are_junk = elsewhere.recipients.is_empty() || elsewhere.terms.is_junk;
            elsewhere.terms.is_junk = others_are_junk && refused_are_junk;
        }
        elsewhere.recipients.extend(refused);
        if !elsewhere.recipients.is_empty() {
            let queued = self.queue.enqueue(body, elsewhere).await;
            let queued = queued.map_err(|fault| first_fault.unwrap_or(mailbox_fault(fault)))?;
            given.get_or_insert(queued);
        }
        self.wake();
        Ok(given)
    }
}
