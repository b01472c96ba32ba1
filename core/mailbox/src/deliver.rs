//! New mail enters mailboxes: one body, one entry of the log for each recipient, one durable step.

use std::collections::BTreeMap;

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
use crate::{
    AccountId, Bundle, BundleCopy, Bundled, Delivery, MailboxFault, MailboxId, Mailboxes, Placed,
    Recipient,
};

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
        let copy = |(unit, recipient): (usize, Recipient)| BundleCopy {
            recipient,
            body: 0,
            unit,
        };
        let bundle = Bundle {
            bodies: vec![delivery.body],
            internal_date: delivery.internal_date,
            copies: delivery
                .recipients
                .into_iter()
                .enumerate()
                .map(copy)
                .collect(),
            rows_beside: 0,
            stands_alone: false,
        };
        self.deliver_bundle(bundle, more).await.copies
    }

    /// As `deliver_with`, for several bodies, and for recipients that get several copies: each unit of copies is placed as a whole or not at all.
    /// Those of one unit are all `Ok`, or all the same fault.
    pub async fn deliver_bundle(
        &self,
        bundle: Bundle,
        more: impl FnOnce(&[Result<Placed, MailboxFault>]) -> Result<Vec<Part>, MailboxFault>,
    ) -> Bundled {
        let copies_count = bundle.copies.len();
        let none = |fault: MailboxFault| Bundled {
            copies: vec![Err(fault.clone()); copies_count],
            beside: Err(fault),
        };
        if copies_count > RECIPIENTS_MAX {
            return none(MailboxFault::TooMany("recipients"));
        }
        let rows = copies_count as u64 * DELIVERY_ROWS + bundle.rows_beside;
        // For the rows of all recipients at once, before anything is loaded: one look is enough to find a volume full.
        if let Err(fault) = self.inner.room_for(Purpose::Keep, true, rows).await {
            return none(fault);
        }
        let (routes, mut hold) = self.route_all(&bundle.copies).await;

        // No await from here to `commit`: the order of numbers is the order of the log.
        let (entries, copies) = self.inner.assign(&bundle, routes, &mut hold);
        if entries.is_empty() && !bundle.stands_alone {
            return Bundled {
                copies,
                beside: Ok(()),
            };
        }
        let committed = match more(&copies) {
            // Nothing to write is not a commit: it would cost a flush on every leg for a message that leaves no trace.
            Ok(parts) if parts.is_empty() && entries.is_empty() => Ok(()),
            Ok(mut parts) => {
                parts.push(self.inner.part(entries, hold));
                let bodies = bundle.bodies;
                let committed = self.inner.tenancy.commit(Purpose::Keep, bodies, parts);
                committed.await.map(drop).map_err(unavailable)
            }
            Err(fault) => Err(fault),
        };
        let each = |copy: Result<Placed, MailboxFault>| {
            copy.and_then(|copy| committed.clone().map(|()| copy))
        };
        Bundled {
            copies: copies.into_iter().map(each).collect(),
            beside: committed,
        }
    }

    /// Where each recipient's copy goes, all of it in memory and open for mail at this moment.
    async fn route_all(
        &self,
        copies: &[BundleCopy],
    ) -> (Vec<Result<MailboxId, MailboxFault>>, Hold) {
        loop {
            let mut hold = Hold::default();
            let mut routes = Vec::with_capacity(copies.len());
            for copy in copies {
                routes.push(self.inner.route(&copy.recipient, &mut hold).await);
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
        // A folder that a script or a judge names may be gone by now. The message then goes where its owner looks first.
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

    /// Numbers for each unit of copies that has room.
    fn assign(
        &self,
        bundle: &Bundle,
        routes: Vec<Result<MailboxId, MailboxFault>>,
        hold: &mut Hold,
    ) -> (Vec<Entry>, Vec<Result<Placed, MailboxFault>>) {
        let mut state = self.state.borrow_mut();
        let saved_s = self.unix_seconds();
        let mut entries = Vec::with_capacity(routes.len());
        let mut placed = Vec::with_capacity(routes.len());
        let mut from = 0;
        for unit in bundle.copies.chunk_by(|one, other| one.unit == other.unit) {
            let routes = &routes[from..from + unit.len()];
            from += unit.len();
            if let Err(fault) = self.check_unit(&state, bundle, unit, routes) {
                placed.extend(vec![Err(fault); unit.len()]);
                continue;
            }
            for (copy, route) in unit.iter().zip(routes) {
                let taken = route.clone().and_then(|mailbox| {
                    let bytes = bundle.bytes_of(copy);
                    self.take_uids(&mut state, mailbox, 1, bytes, hold)
                });
                if let Ok(taken) = &taken {
                    let entry = state
                        .mailboxes
                        .get_mut(&taken.mailbox)
                        .expect("it is held and open");
                    let deliver = MessageEntry::Deliver {
                        mailbox: taken.mailbox,
                        uid: taken.uid,
                        modseq: entry.next_modseq(),
                        flags: copy.recipient.flags.clone(),
                        internal_date: bundle.internal_date,
                        body_index: copy.body,
                        saved_s,
                    };
                    entries.push(deliver.into());
                }
                placed.push(taken);
            }
        }
        (entries, placed)
    }

    /// Why the copies of a unit are not placed. Of several it looks at the sum: after it each of them has room.
    fn check_unit(
        &self,
        state: &State,
        bundle: &Bundle,
        unit: &[BundleCopy],
        routes: &[Result<MailboxId, MailboxFault>],
    ) -> Result<(), MailboxFault> {
        let (mut bytes, mut counts) = (0, BTreeMap::new());
        for (copy, route) in unit.iter().zip(routes) {
            let mailbox = route.clone()?;
            if copy.recipient.flags.keywords.len() > KEYWORDS_MAX {
                return Err(MailboxFault::TooMany("keywords on one message"));
            }
            // One copy is looked at when it takes its number.
            if unit.len() > 1 {
                bytes += bundle.bytes_of(copy);
                let count = counts.entry(mailbox).or_insert(0u32);
                *count += 1;
                self.check_room(state, mailbox, *count, bytes)?;
            }
        }
        Ok(())
    }

    /// Whether a mailbox takes `count` messages more and its account `bytes`. The mailbox must be held and open.
    fn check_room(
        &self,
        state: &State,
        mailbox: MailboxId,
        count: u32,
        bytes: u64,
    ) -> Result<(), MailboxFault> {
        let entry = state.mailboxes.get(&mailbox).expect("it is held and open");
        let account = state
            .accounts
            .get(&entry.head.account)
            .expect("a held mailbox holds its account");
        let quota_bytes = self.directory.quota_bytes(entry.head.account);
        let promised_bytes = account.used_bytes + account.reserved_bytes.get();
        // What brings nothing always has room: people over their limit move mail away, and put smaller drafts in the place of larger ones.
        let brings = bytes > 0 && promised_bytes.saturating_add(bytes) > quota_bytes;
        if quota_bytes > 0 && brings {
            return Err(MailboxFault::OverQuota);
        }
        if entry.head.messages.saturating_add(count) > MESSAGES_PER_MAILBOX_MAX {
            return Err(MailboxFault::TooMany("messages in the mailbox"));
        }
        // RFC 3501 §2.3.1.1: UIDs never repeat under one UIDVALIDITY; the last value is kept free so that UIDNEXT is a UID.
        match entry.assigned_uid_next.0.checked_add(count) {
            Some(_) => Ok(()),
            None => Err(MailboxFault::TooMany("messages in the mailbox's life")),
        }
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
        self.check_room(state, mailbox, count, bytes)?;
        let entry = state
            .mailboxes
            .get_mut(&mailbox)
            .expect("it is held and open");
        let account = state
            .accounts
            .get(&entry.head.account)
            .expect("a held mailbox holds its account");
        let uid = entry.assigned_uid_next;
        entry.assigned_uid_next = Uid(uid.0 + count);
        hold.reserve(account, bytes);
        hold.pend(entry, &self.settled);
        Ok(Placed {
            mailbox,
            uid_validity: entry.head.uid_validity,
            uid,
        })
    }
}

impl Bundle {
    fn bytes_of(&self, copy: &BundleCopy) -> u64 {
        self.bodies[copy.body as usize].raw.len() as u64
    }
}

/// Rows that one delivery changes: the chunk, the head, the bytes used.
const DELIVERY_ROWS: u64 = 3;
