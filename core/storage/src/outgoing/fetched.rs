//! A message that was fetched from an account elsewhere: placed for its person in one group with the mark that it is here.
//!
//! What must hold: message and mark are durable together or not at all, so that it is neither fetched twice nor lost, whenever the process ends. No report and no
//! reply goes to its sender: that one wrote to another address, perhaps years ago. So it has the null reverse-path, and what a script refuses is in INBOX.

use mail::InternalDate;
use mailbox::names::Noting;
use mailbox::{AccountId, MailboxFault};
use store::BodyIn;

use super::Outgoing;
use crate::filter::deliver::Fate;
use crate::filter::group::Group;
use crate::filter::{Message, Plan, Share};
use crate::junk;

/// A message from elsewhere.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub account: AccountId,
    /// Which of the person's accounts elsewhere.
    pub number: u32,
    pub body: BodyIn,
    pub internal_date: InternalDate,
    pub is_junk: bool,
    /// The person's scripts run for it.
    pub is_filtered: bool,
    pub noting: Noting,
}

impl Outgoing {
    /// Durable when it answers. `NoAccount`: the person is gone. `Unavailable`: try again.
    pub async fn deliver_fetched(&self, fetched: Fetched) -> Result<(), MailboxFault> {
        let Fetched {
            account,
            number,
            body,
            internal_date,
            is_junk,
            is_filtered,
            noting,
        } = fetched;
        let inbox = async |is_junk| Plan::of(junk::place(self.mailboxes(), account, is_junk).await);
        let plan = match is_filtered {
            false => inbox(is_junk).await,
            true => {
                let message = Message {
                    body: &body,
                    from: "",
                    is_utf8: false,
                };
                let share = Share {
                    account,
                    to: None,
                    is_junk,
                    event: None,
                };
                match self.fates(&message, &[share]).await.pop() {
                    Some(Fate::Place(plan)) => plan,
                    Some(Fate::Reject { .. }) => {
                        self.note_rejected(account);
                        inbox(is_junk).await
                    }
                    Some(Fate::Later(fault)) => return Err(fault),
                    None => return Err(MailboxFault::NoAccount),
                }
            }
        };
        let rows_beside = 1 + noting.marks.len() as u64;
        let group = Group {
            body,
            internal_date,
            plans: vec![(account, plan)],
            rows_beside,
            is_queued: false,
        };
        let directory = self.mailboxes().directory();
        let mut held = None;
        let more = |written: &[Result<(), MailboxFault>]| {
            // Without its message a mark would hide it for ever.
            if let Some(Err(fault)) = written.first() {
                return Err(fault.clone());
            }
            let part = directory.fetch_part(account, number, noting)?;
            let (part, locked) = part.ok_or_else(busy)?;
            held = Some(locked);
            Ok(vec![part])
        };
        let written = group.write(self.mailboxes(), Some(self), more).await;
        drop(held);
        match written.plans.into_iter().next() {
            Some(Ok(())) if written.is_written => Ok(()),
            // Nothing was asked for beside it: it was not placed.
            Some(Ok(())) => Err(busy()),
            Some(Err(fault)) => Err(fault),
            None => Err(busy()),
        }
    }
}

fn busy() -> MailboxFault {
    MailboxFault::Unavailable("the rows of the account elsewhere are being written".to_owned())
}
