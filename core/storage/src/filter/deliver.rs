//! The plans for the recipients of one message: their scripts are run, and what is remembered is looked at under a lock.

use std::sync::atomic::Ordering::Relaxed;

use mail::Address;
use mailbox::{AccountId, MailboxFault};
use runtime::events::MESSAGE;

use super::answers::Answers;
use super::letters::is_forged;
use super::plan::{Plan, Planned};
use super::{Filter, Message, Share};
use crate::junk;
use crate::outgoing::Outgoing;

/// What becomes of one recipient of a message.
pub(crate) enum Fate {
    Place(Plan),
    /// Its script refuses the message.
    Reject {
        reason: String,
        /// A report may carry the reason to the sender. `false`: only a reply of the protocol may. RFC 5429 §2.2.1: a report would go to who did not
        /// send it, or begin a loop.
        may_report: bool,
    },
    /// It is not known what its script says, or there is no room for it.
    Later(MailboxFault),
}

/// How a script's refusal may come to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refusing {
    /// Each recipient has a reply of its own (LMTP).
    Each,
    /// One reply for all: a refusal if all of them refuse.
    Together,
    /// The sender has its reply, or another zone gives it: by a report from the queue.
    #[default]
    Report,
}

impl Outgoing {
    /// One fate for each share.
    pub(crate) async fn fates(&self, message: &Message<'_>, shares: &[Share]) -> Vec<Fate> {
        let mut fates = Vec::with_capacity(shares.len());
        let mut again = Vec::new();
        for (index, share) in shares.iter().enumerate() {
            let fate = self.fate(message, share).await;
            if matches!(&fate, Fate::Place(plan) if plan.effects.ran) {
                // A run takes up to a millisecond of the owner's thread, and a message has a thousand recipients.
                tokio::task::yield_now().await;
            }
            let remembers = matches!(&fate, Fate::Place(plan) if !plan.remember.is_empty());
            if remembers {
                // Its bodies are given back while it waits for the lock.
                again.push(index);
                fates.push(Fate::Place(Plan::nothing()));
            } else {
                fates.push(fate);
            }
        }
        let Some(filter) = self.filter() else {
            return fates;
        };
        // Two deliveries to the same accounts wait for each other in one order.
        again.sort_by_key(|index| shares[*index].account);
        for index in again {
            let share = &shares[index];
            let lock = filter.lock(share.account).await;
            let mut fate = self.fate(message, share).await;
            if let Fate::Place(plan) = &mut fate {
                plan.lock = Some(lock);
            }
            fates[index] = fate;
        }
        fates
    }

    async fn fate(&self, message: &Message<'_>, share: &Share) -> Fate {
        let planned = match self.filter() {
            Some(filter) => self.planned(filter, message, share).await,
            None => Ok(None),
        };
        match planned {
            Err(fault) => Fate::Later(fault),
            Ok(None) => {
                let place = junk::place(self.mailboxes(), share.account, share.is_junk).await;
                Fate::Place(Plan::of(place))
            }
            Ok(Some(Planned::Place(plan))) => Fate::Place(plan),
            Ok(Some(Planned::Reject { reason, by_message })) => Fate::Reject {
                reason,
                may_report: by_message && !share.is_junk && !is_forged(&message.body.raw),
            },
        }
    }

    pub(super) async fn planned(
        &self,
        filter: &Filter,
        message: &Message<'_>,
        share: &Share,
    ) -> Result<Option<Planned>, MailboxFault> {
        let mut answers = Answers::default();
        let said = filter
            .run(self.mailboxes(), message, share, &mut answers)
            .await?;
        match said {
            Some(said) => filter.plan(self, message, share, said).await.map(Some),
            None => Ok(None),
        }
    }

    /// A script's refusal that a reply of the protocol or a report carries to the sender.
    pub(crate) fn note_rejected(&self, account: AccountId) {
        if let Some(filter) = self.filter() {
            filter.counters().rejected.fetch_add(1, Relaxed);
        }
        tracing::info!(target: MESSAGE, account = account.0, "refused by the recipient's script");
    }

    /// One that no reply carries, and no report may: nothing is stored, and nothing is sent.
    pub(crate) fn refused_silently(&self, account: AccountId) -> Plan {
        self.note_rejected(account);
        Plan::nothing()
    }
}

/// The share of an account to which a message came under `path`.
pub(crate) fn share(account: AccountId, path: Option<&str>, is_junk: bool) -> Share {
    Share {
        account,
        to: path.and_then(Address::from_path),
        is_junk,
        event: None,
    }
}
