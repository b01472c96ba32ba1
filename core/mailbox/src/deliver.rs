//! New mail enters mailboxes: one body, one entry of the log for each recipient, one durable step.

use mail::Uid;
use mail::flags::KEYWORDS_MAX;
use store::Purpose;
use tenancy::Part;

use crate::hold::Hold;
use crate::inner::{Inner, unavailable};
use crate::limits::{MESSAGES_PER_MAILBOX_MAX, RECIPIENTS_MAX};
use crate::message::MessageEntry;
use crate::name;
use crate::noun::Depth;
use crate::record::Entry;
use crate::state::State;
use crate::{AccountId, Delivery, MailboxFault, MailboxId, Mailboxes, Placed, Recipient};

impl Mailboxes {
    /// One body, one entry for each recipient; durable when it resolves. A recipient over quota gets its own answer and does not stop the others.
    pub async fn deliver(&self, delivery: Delivery) -> Vec<Result<Placed, MailboxFault>> {
        self.deliver_with(delivery, |_| Ok(Vec::new())).await
    }

    /// As `deliver`, together with parts of other tenants that share the body: a copy in Sent and an entry in the queue are there
    /// together or not at all. `more` is asked in the same turn, once it is certain that a copy is placed, and is given each recipient's
    /// place or why it gets none; what it refuses is refused for every recipient.
    pub async fn deliver_with(
        &self,
        delivery: Delivery,
        more: impl FnOnce(&[Result<Placed, MailboxFault>]) -> Result<Vec<Part>, MailboxFault>,
    ) -> Vec<Result<Placed, MailboxFault>> {
        let recipients_count = delivery.recipients.len();
        if recipients_count > RECIPIENTS_MAX {
            return vec![Err(MailboxFault::TooMany("recipients")); recipients_count];
        }
        let rows = recipients_count as u64 * DELIVERY_ROWS;
        if let Err(fault) = self.inner.room_for(Purpose::Keep, true, rows).await {
            return vec![Err(fault); recipients_count];
        }
        let (routes, mut hold) = self.route_all(&delivery.recipients).await;

        // No await from here to `commit`: the order of numbers is the order of the log.
        let (entries, placed) = self.inner.assign(&delivery, routes, &mut hold);
        if entries.is_empty() {
            return placed;
        }
        let committed = match more(&placed) {
            Ok(mut parts) => {
                parts.push(self.inner.part(entries, hold));
                let bodies = vec![delivery.body];
                let committed = self.inner.tenancy.commit(Purpose::Keep, bodies, parts);
                committed.await.map_err(unavailable)
            }
            Err(fault) => Err(fault),
        };
        match committed {
            Ok(_) => placed,
            Err(fault) => placed
                .into_iter()
                .map(|result| result.and(Err(fault.clone())))
                .collect(),
        }
    }

    /// Where each recipient's copy goes, all of it in memory and open for mail at this moment.
    async fn route_all(
        &self,
        recipients: &[Recipient],
    ) -> (Vec<Result<MailboxId, MailboxFault>>, Hold) {
        loop {
            let mut hold = Hold::default();
            let mut routes = Vec::with_capacity(recipients.len());
            for recipient in recipients {
                routes.push(self.inner.route(recipient, &mut hold).await);
            }
            let targets: Vec<MailboxId> = routes.iter().flatten().copied().collect();
            match self.inner.standing(&targets) {
                Standing::Open => return (routes, hold),
                Standing::Frozen(wait) => wait.await,
                // It went away while the next one was looked up; the second look finds another way or none.
                Standing::Gone => {}
            }
        }
    }
}

/// Whether mailboxes take new operations now.
pub enum Standing {
    Open,
    Frozen(base::host::BellWait),
    Gone,
}

impl Inner {
    /// The recipient's folder, or INBOX when there is no such folder.
    async fn route(
        &self,
        recipient: &Recipient,
        hold: &mut Hold,
    ) -> Result<MailboxId, MailboxFault> {
        hold.join(self.hold_account(recipient.account).await?);
        let wanted = name::parse(&recipient.mailbox)
            .ok()
            .filter(|wanted| wanted != name::INBOX);
        for name in wanted.as_deref().into_iter().chain([name::INBOX]) {
            let Some(mailbox) = self.folder(recipient.account, name)? else {
                continue;
            };
            match self.hold_mailbox(mailbox, Depth::Tail).await {
                Ok(more) => hold.join(more),
                Err(MailboxFault::NoMailbox) => continue,
                Err(fault) => return Err(fault),
            }
            if !matches!(self.standing(&[mailbox]), Standing::Gone) {
                return Ok(mailbox);
            }
        }
        // INBOX goes only with its account.
        Err(MailboxFault::NoAccount)
    }

    /// The mailbox of that name; the account must be held.
    pub fn folder(
        &self,
        account: AccountId,
        name: &str,
    ) -> Result<Option<MailboxId>, MailboxFault> {
        let state = self.state.borrow();
        let row = state
            .accounts
            .get(&account)
            .and_then(|entry| entry.live())
            .ok_or(MailboxFault::NoAccount)?;
        let folder = match row.folders.get(name) {
            None if !name.is_ascii() => row.folders.get(&row.spelled(name)),
            folder => folder,
        };
        Ok(folder.map(|folder| folder.mailbox))
    }

    /// The mailboxes must be held.
    pub fn standing(&self, mailboxes: &[MailboxId]) -> Standing {
        let state = self.state.borrow();
        let mut frozen = false;
        for mailbox in mailboxes {
            let Some(entry) = state.mailboxes.get(mailbox) else {
                return Standing::Gone;
            };
            let account = state
                .accounts
                .get(&entry.head.account)
                .and_then(|account| account.live());
            if entry.closing.get() || account.is_none() {
                return Standing::Gone;
            }
            frozen |= entry.frozen.get();
        }
        if frozen {
            Standing::Frozen(self.settled.wait())
        } else {
            Standing::Open
        }
    }

    /// Numbers for each recipient that has room.
    fn assign(
        &self,
        delivery: &Delivery,
        routes: Vec<Result<MailboxId, MailboxFault>>,
        hold: &mut Hold,
    ) -> (Vec<Entry>, Vec<Result<Placed, MailboxFault>>) {
        let mut state = self.state.borrow_mut();
        let bytes = delivery.body.raw.len() as u64;
        let saved_s = self.unix_seconds();
        let mut entries = Vec::with_capacity(routes.len());
        let placed = std::iter::zip(&delivery.recipients, routes).map(|(recipient, route)| {
            let mailbox = route?;
            if recipient.flags.keywords.len() > KEYWORDS_MAX {
                return Err(MailboxFault::TooMany("keywords on one message"));
            }
            let placed = self.take_uids(&mut state, mailbox, 1, bytes, hold)?;
            let entry = state
                .mailboxes
                .get_mut(&mailbox)
                .expect("it is held and open");
            let deliver = MessageEntry::Deliver {
                mailbox,
                uid: placed.uid,
                modseq: entry.next_modseq(),
                flags: recipient.flags.clone(),
                internal_date: delivery.internal_date,
                body_index: 0,
                saved_s,
            };
            entries.push(deliver.into());
            Ok(placed)
        });
        let placed = placed.collect();
        (entries, placed)
    }

    /// Gives out `count` UIDs in a row and promises `bytes` of quota, or says why not. The mailbox must be held and open.
    pub fn take_uids(
        &self,
        state: &mut State,
        mailbox: MailboxId,
        count: u32,
        bytes: u64,
        hold: &mut Hold,
    ) -> Result<Placed, MailboxFault> {
        let entry = state
            .mailboxes
            .get_mut(&mailbox)
            .expect("it is held and open");
        let account = state
            .accounts
            .get(&entry.head.account)
            .expect("a held mailbox holds its account");
        let quota_bytes = self.directory.quota_bytes(entry.head.account);
        let promised_bytes = account.used_bytes + account.reserved_bytes.get();
        if quota_bytes > 0 && promised_bytes.saturating_add(bytes) > quota_bytes {
            return Err(MailboxFault::OverQuota);
        }
        if entry.head.messages.saturating_add(count) > MESSAGES_PER_MAILBOX_MAX {
            return Err(MailboxFault::TooMany("messages in the mailbox"));
        }
        let uid = entry.assigned_uid_next;
        // RFC 3501 §2.3.1.1: UIDs never repeat under one UIDVALIDITY; the last value is kept free so that UIDNEXT is a UID.
        let uid_next = uid
            .0
            .checked_add(count)
            .ok_or(MailboxFault::TooMany("messages in the mailbox's life"))?;
        entry.assigned_uid_next = Uid(uid_next);
        hold.reserve(account, bytes);
        hold.pend(entry, &self.settled);
        Ok(Placed {
            mailbox,
            uid_validity: entry.head.uid_validity,
            uid,
        })
    }
}

/// Rows that one delivery changes: the chunk, the head, the bytes used.
const DELIVERY_ROWS: u64 = 3;
