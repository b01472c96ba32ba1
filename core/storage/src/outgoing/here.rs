//! A message of the queue for a mailbox of ours: placed as the recipient's scripts say, in one step with the note that it was.

use mail::{Address, InternalDate};
use mailbox::MailboxFault;
use queue::limits::ENTRY_ROWS;
use queue::{Note, Outcome, QueueFault, QueueId, RecipientState, UnixSeconds};
use store::{BodyIn, Purpose};

use super::{Leading, Outgoing, mailbox_fault};
use crate::addresses::Meaning;
use crate::filter::Message;
use crate::filter::deliver::{Fate, share};
use crate::filter::group::Group;
use crate::held;

/// What came of a delivery to a mailbox of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placing {
    Placed,
    /// Our domain, no such mailbox.
    NoMailbox,
    /// Its script refuses the message for this reason, and its sender may hear of that.
    Rejected(String),
    /// No room, or storage defers.
    Later(MailboxFault),
    /// The address has no mailbox but leads on: `lead_on` comes next, with the message changed so.
    Leads(Leading),
    /// Our domain, but the server of a route takes it: the name of its site (`site_of`).
    Routed(String),
    /// The address leads back to itself only, or to too many.
    Loop,
}

impl Outgoing {
    /// Places the message, as `body`, in the INBOX of one of its recipients (or its folder for junk), and notes in the same group that it was
    /// delivered. Any other outcome is the caller's to settle; `Err`: the recipient was not looked at.
    pub async fn deliver_here(
        &self,
        id: QueueId,
        at: UnixSeconds,
        body: BodyIn,
        recipient: u32,
    ) -> Result<Placing, QueueFault> {
        let tenancy = self.queue.tenancy();
        let room = tenancy.room_for(Purpose::Keep, true, ENTRY_ROWS);
        room.await?;
        let settling = self.queue.settling(id).await;
        let entry = settling.entry()?;
        let to = entry.recipients.get(recipient as usize);
        let to = to.ok_or(QueueFault::Refused("no such recipient"))?;
        let Some(address) = Address::from_path(&to.to.path) else {
            return Ok(Placing::NoMailbox);
        };
        let account = match held::meaning(&self.mailboxes, &address, &body.raw).await {
            Ok(Meaning::Account(account, _)) => account,
            Ok(Meaning::NoMailbox | Meaning::NotOurs) => return Ok(Placing::NoMailbox),
            Ok(Meaning::Routed) => {
                let unknown = || Placing::Later(MailboxFault::NoMailbox);
                let site = self.routed(&to.to.path);
                return Ok(site.map_or_else(unknown, Placing::Routed));
            }
            Ok(meaning) => {
                let group = match meaning {
                    Meaning::Group(name, group) => Some((name, group)),
                    _ => None,
                };
                let leading = self.leading(&entry, &address, group.as_ref());
                return Ok(Placing::Leads(leading));
            }
            Err(fault) => return Ok(Placing::Later(fault)),
        };
        let message = Message {
            body: &body,
            from: &entry.from,
            is_utf8: entry.terms.is_utf8,
        };
        let share = share(account, Some(&to.to.path), entry.terms.is_junk);
        let fate = self.fates(&message, &[share]).await.pop();
        let plan = match fate {
            Some(Fate::Place(plan)) => plan,
            Some(Fate::Reject {
                may_report: false, ..
            }) => self.refused_silently(account),
            Some(Fate::Reject { reason, .. }) => {
                self.note_rejected(account);
                return Ok(Placing::Rejected(reason));
            }
            Some(Fate::Later(fault)) => return Ok(Placing::Later(fault)),
            None => return Err(QueueFault::NoEntry),
        };
        let group = Group {
            body,
            internal_date: InternalDate::utc(at.0 as i64),
            plans: vec![(account, plan)],
            rows_beside: ENTRY_ROWS,
            is_queued: false,
        };
        let outcome = Outcome {
            recipient,
            state: RecipientState::Delivered,
            reply: String::new(),
            host: String::new(),
        };
        let note = Note {
            at,
            warned: false,
            outcomes: vec![outcome],
        };
        let written = group.write(&self.mailboxes, Some(self), |_| {
            let part = settling.part(note).map_err(mailbox_fault)?;
            Ok(vec![part])
        });
        Ok(match written.await.plans.pop() {
            Some(Ok(_)) => Placing::Placed,
            Some(Err(MailboxFault::NoAccount | MailboxFault::NoMailbox)) => Placing::NoMailbox,
            Some(Err(fault)) => Placing::Later(fault),
            None => return Err(QueueFault::NoEntry),
        })
    }
}
