//! Scripts for messages that are in a mailbox already, and with which an IMAP client did something (RFC 6785).
//!
//! A mailbox's annotation names a script of the mailbox's owner; where it has none, a script of the owner's domain or of the box counts that has the
//! name `COMMON_NAME`. What `teach` learns of a move to Junk is learned beside it, whether or not a script runs.
//!
//! What must hold:
//! - The client's command is durable and answered, whatever a script does. A script runs at most once for it: after a crash it does not run.
//! - What a script does with a message begins no other script, so that no two of them throw a message to each other.
//! - The message is marked as deleted last, when everything that is to stay of it is durable. A fault before that leaves it where it is.

use std::collections::HashMap;
use std::str;
use std::sync::Arc;

use ::scripts::Owner;
use bytes::Bytes;
use mail::{Flags, SystemFlags, Uid};
use mailbox::{AccountId, FlagChange, MailboxFault, MailboxId, Mailboxes, Message as Stored};
use runtime::events::MESSAGE;
use store::BodyIn;

use super::group::{Group, note};
use super::happened::{Cause, Happened, words};
use super::plan::{Plan, Planned};
use super::{Filter, Head, Message, Share};
use crate::outgoing::Outgoing;

/// RFC 6785: the annotation of a mailbox, or of the server, with the name of a script.
pub const SCRIPT_ENTRY: &str = "/shared/imapsieve/script";
/// A script of a domain, or of the box, with this name runs for mailboxes without that annotation.
pub const COMMON_NAME: &str = "imapsieve";

/// That it was done, with one message.
#[derive(Debug, Clone)]
pub struct Event {
    pub mailbox: MailboxId,
    pub uid: Uid,
    /// Whose session it was: in a shared mailbox that need not be the owner.
    pub actor: AccountId,
    pub cause: Cause,
    /// Flags that changed, by STORE only.
    pub changed: Flags,
}

/// Messages that left because of events, of each account in the present hour. A client that appends messages to a mailbox with a redirect would
/// otherwise send without the bounds of submission.
#[derive(Debug, Default)]
pub(super) struct Sent {
    hour: u64,
    accounts: HashMap<AccountId, usize>,
}

impl Sent {
    /// Counts `more`, or says that they are too many. The table has an account for each that sent something within the hour.
    fn take(&mut self, account: AccountId, more: usize, now_s: u64) -> bool {
        if self.hour != now_s / HOUR_S {
            self.hour = now_s / HOUR_S;
            self.accounts.clear();
        }
        let sent = self.accounts.get(&account).copied().unwrap_or(0);
        let fits = sent + more <= LETTERS_PER_HOUR_MAX;
        if fits && more > 0 {
            self.accounts.insert(account, sent + more);
        }
        fits
    }
}

/// Redirects and notifications of one account in an hour: what a person files by hand in a folder that sends on stays far below.
const LETTERS_PER_HOUR_MAX: usize = 100;
const HOUR_S: u64 = 3_600;

/// A mailbox with a script.
struct Found {
    owner: AccountId,
    folder: String,
    head: Head,
    script: String,
}

impl Outgoing {
    /// Whether a script runs for what is done with messages of the mailbox.
    pub async fn has_event_script(&self, mailbox: MailboxId) -> Result<bool, MailboxFault> {
        match self.filter() {
            Some(filter) => {
                let found = filter.event_script(self.mailboxes(), mailbox).await;
                Ok(found?.is_some())
            }
            None => Ok(false),
        }
    }

    /// What the server's annotation says to the account: the script for mailboxes without one of their own.
    pub async fn common_script(
        &self,
        account: AccountId,
    ) -> Result<Option<&'static str>, MailboxFault> {
        let Some(filter) = self.filter() else {
            return Ok(None);
        };
        let head = filter.common(self.mailboxes(), account).await?;
        Ok(head.map(|_| COMMON_NAME))
    }

    /// Runs the mailbox's script, and does what it says. The caller pays for the memory of the message. `false`: there was none to run, or
    /// the message is gone.
    pub async fn on_event(&self, event: &Event) -> Result<bool, MailboxFault> {
        let (Some(filter), mailboxes) = (self.filter(), self.mailboxes()) else {
            return Ok(false);
        };
        let Some(found) = filter.event_script(mailboxes, event.mailbox).await? else {
            return Ok(false);
        };
        let directory = mailboxes.directory();
        let actor = directory.account_by_id(event.actor).await?;
        let owner = directory.account_by_id(found.owner).await?;
        let stored = mailboxes.messages(event.mailbox, &[event.uid]).await?.pop();
        let (Some(actor), Some(owner), Some(stored)) = (actor, owner, stored) else {
            return Ok(false);
        };
        let read = mailboxes.bodies(std::slice::from_ref(&stored.body)).await;
        let body = BodyIn {
            name: stored.body.name,
            // The message itself is never written again: copies share its body.
            summary: Bytes::new(),
            raw: read.into_iter().next().expect("one for one")?,
        };
        let share = Share {
            account: found.owner,
            to: None,
            is_junk: false,
            event: Some(Arc::new(Happened {
                head: found.head,
                script: found.script,
                mailbox: found.folder,
                user: actor.address.to_path(),
                cause: event.cause,
                changed: words(&event.changed),
                flags: stored.flags.clone(),
            })),
        };
        let own = owner.address.to_path();
        let message = Message {
            body: &body,
            // Who sends it on, if the script does: the envelope in which it came is not known any more.
            from: &own,
            is_utf8: false,
        };
        let mut planned = self.planned(filter, &message, &share).await?;
        let remembers = |planned: &Option<Planned>| matches!(planned, Some(Planned::Place(plan)) if !plan.remember.is_empty());
        let mut _lock = None;
        if remembers(&planned) {
            // Its bodies are given back while it waits for the lock.
            drop(planned.take());
            _lock = Some(filter.lock(found.owner).await);
            planned = self.planned(filter, &message, &share).await?;
        }
        match planned {
            Some(Planned::Place(plan)) => {
                self.do_to(event, found.owner, &stored, body, plan).await?;
                Ok(true)
            }
            // A refusal is an error of such a script, so that no plan has one.
            Some(Planned::Reject { .. }) | None => Ok(false),
        }
    }

    /// First what is to come of the message, then the message.
    async fn do_to(
        &self,
        event: &Event,
        owner: AccountId,
        stored: &Stored,
        body: BodyIn,
        mut plan: Plan,
    ) -> Result<(), MailboxFault> {
        let mailboxes = self.mailboxes();
        let copies = std::mem::take(&mut plan.copies).into_iter();
        let (as_it_is, made): (Vec<_>, Vec<_>) = copies.partition(|(_, body)| *body == 0);
        plan.copies = made;
        // By id: two names may be those of one mailbox.
        let mut places: Vec<(MailboxId, Flags)> = Vec::new();
        for (recipient, _) in as_it_is {
            let to = mailboxes.find(owner, &recipient.mailbox).await?;
            match places.iter_mut().find(|(there, _)| *there == to) {
                Some((_, flags)) => *flags = flags.with(&recipient.flags),
                None => places.push((to, recipient.flags)),
            }
        }
        if let Some(filter) = self.filter() {
            let mut sent = filter.inner.sent.borrow_mut();
            if !sent.take(owner, plan.letters.len(), filter.now()) {
                let why = "the scripts of its mailboxes sent too many messages within this hour";
                return Err(MailboxFault::Unavailable(why.to_owned()));
            }
        }
        let letters = plan.letters.len();
        match plan.copies.is_empty() && plan.letters.is_empty() && plan.remember.is_empty() {
            true => note(Some(self), owner, &plan),
            false => {
                let group = Group {
                    body,
                    internal_date: stored.internal_date,
                    plans: vec![(owner, plan)],
                    rows_beside: 0,
                    is_queued: false,
                };
                let written = group.write(mailboxes, Some(self), |_| Ok(Vec::new()));
                written.await.plans.pop().expect("one for one")?;
            }
        }
        if letters > 0 && event.actor != owner {
            // They go out in the owner's name, and the queue's lines do not say whose command it was.
            tracing::info!(target: MESSAGE, account = owner.0, actor = event.actor.0, mailbox = event.mailbox.0, uid = event.uid.0, cause = event.cause.name(), letters, "a mailbox's script sent messages after another account's command");
        }
        let mut stays = None;
        for (to, flags) in places {
            if to == event.mailbox {
                stays = Some(flags);
                continue;
            }
            let (_, pairs) = mailboxes.copy(event.mailbox, &[event.uid], to).await?;
            // None: another session takes it away. If that fails after all, the message is not to be marked without a copy.
            let Some((_, new)) = pairs.first() else {
                return Ok(());
            };
            become_flags(mailboxes, (to, *new), &stored.flags, &flags).await?;
        }
        let place = (event.mailbox, event.uid);
        match stays {
            Some(flags) => become_flags(mailboxes, place, &stored.flags, &flags).await,
            None => {
                // RFC 6785: what is not kept is marked, and it is for its owner's program to expunge it.
                let deleted = Flags::system(SystemFlags::DELETED);
                change(mailboxes, place, FlagChange::Add, &deleted).await
            }
        }
    }
}

impl Filter {
    /// The script of a mailbox, if there is one.
    async fn event_script(
        &self,
        mailboxes: &Mailboxes,
        mailbox: MailboxId,
    ) -> Result<Option<Found>, MailboxFault> {
        let scripts = &self.inner.scripts;
        // A box without scripts pays one look at a counter for each command.
        if scripts.count().0 == 0 {
            return Ok(None);
        }
        let note = mailboxes.note_on(mailbox, SCRIPT_ENTRY).await?;
        let (head, script) = match &note.value {
            // An empty name stands for no script: nothing runs here, not even the common one.
            Some(name) => {
                let name = str::from_utf8(name).unwrap_or_default();
                let owner = Owner::Account(note.owner.0);
                let version = scripts.named_version(&owner, name);
                let head = version.map(|version| Head { owner, version });
                if head.is_none() && !name.is_empty() {
                    tracing::debug!(
                        account = note.owner.0,
                        "a mailbox names a script that is not there"
                    );
                }
                (head, name.to_owned())
            }
            None => {
                let head = self.common(mailboxes, note.owner).await?;
                (head, COMMON_NAME.to_owned())
            }
        };
        Ok(head.map(|head| Found {
            owner: note.owner,
            folder: note.folder,
            head,
            script,
        }))
    }

    /// That of the account's domain, else that of the box.
    async fn common(
        &self,
        mailboxes: &Mailboxes,
        account: AccountId,
    ) -> Result<Option<Head>, MailboxFault> {
        let row = mailboxes.directory().account_by_id(account).await?;
        let of_domain = row.and_then(|row| crate::scripts::domain(mailboxes, row.address.domain()));
        let mut owners = [of_domain, Some(Owner::Box)].into_iter().flatten();
        Ok(owners.find_map(|owner| {
            let version = self.inner.scripts.named_version(&owner, COMMON_NAME)?;
            Some(Head { owner, version })
        }))
    }
}

/// What the script changed of the flags, and nothing else: a client may have changed others since it began.
async fn become_flags(
    mailboxes: &Mailboxes,
    place: (MailboxId, Uid),
    before: &Flags,
    after: &Flags,
) -> Result<(), MailboxFault> {
    change(mailboxes, place, FlagChange::Add, &after.without(before)).await?;
    change(mailboxes, place, FlagChange::Remove, &before.without(after)).await
}

async fn change(
    mailboxes: &Mailboxes,
    (mailbox, uid): (MailboxId, Uid),
    change: FlagChange,
    flags: &Flags,
) -> Result<(), MailboxFault> {
    if *flags == Flags::default() {
        return Ok(());
    }
    let flagged = mailboxes.flag(mailbox, &[uid], change, flags).await;
    flagged.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_within_an_hour_is_bounded_for_each_account() {
        let (mut sent, ann, bob) = (Sent::default(), AccountId(1), AccountId(2));
        for _ in 0..LETTERS_PER_HOUR_MAX / 4 {
            assert!(sent.take(ann, 4, HOUR_S));
        }
        assert!(!sent.take(ann, 1, HOUR_S) && sent.take(ann, 0, HOUR_S));
        assert!(sent.take(bob, 4, HOUR_S));
        assert!(sent.take(ann, 4, 2 * HOUR_S), "another hour");
        assert_eq!(sent.accounts.len(), 1);
    }
}
