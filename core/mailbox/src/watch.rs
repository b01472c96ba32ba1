//! Watchers: the sessions that are notified of changes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use mail::ModSeq;

use crate::limits::WATCHES_MAX;
use crate::{MailboxId, Mailboxes};

type MailboxBell = Rc<dyn Fn(ModSeq)>;

#[derive(Default)]
pub struct Watchers {
    by_mailbox: HashMap<MailboxId, Vec<(u64, MailboxBell)>>,
    count: usize,
    next: u64,
    /// Watches of sessions on other threads, under the keys that they made.
    kept: HashMap<u64, (MailboxId, u64)>,
}

impl Watchers {
    pub fn of(&self, mailbox: MailboxId) -> Vec<MailboxBell> {
        self.by_mailbox.get(&mailbox).map_or(Vec::new(), |bells| {
            bells.iter().map(|(_, bell)| bell.clone()).collect()
        })
    }

    /// Its ticket; `false`: there are too many, and the bell never rings.
    fn add(&mut self, mailbox: MailboxId, bell: Box<dyn Fn(ModSeq)>) -> (u64, bool) {
        let ticket = self.next;
        self.next += 1;
        let has_place = self.count < WATCHES_MAX;
        if has_place {
            self.count += 1;
            let bells = self.by_mailbox.entry(mailbox).or_default();
            bells.push((ticket, Rc::from(bell)));
        } else {
            tracing::warn!(
                mailbox = mailbox.0,
                "too many watches; a session is not told of changes"
            );
        }
        (ticket, has_place)
    }

    fn remove(&mut self, mailbox: MailboxId, ticket: u64) {
        if let Some(bells) = self.by_mailbox.get_mut(&mailbox) {
            let before = bells.len();
            bells.retain(|(other, _)| *other != ticket);
            self.count -= before - bells.len();
            if bells.is_empty() {
                self.by_mailbox.remove(&mailbox);
            }
        }
    }
}

/// Ends its watch when dropped.
pub struct Watch {
    watchers: Rc<RefCell<Watchers>>,
    mailbox: MailboxId,
    ticket: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watchers.borrow_mut().remove(self.mailbox, self.ticket);
    }
}

impl Mailboxes {
    /// `bell` is called on this thread after each change of `mailbox` became durable, until the `Watch` is dropped; the last time
    /// when it is deleted. It must be cheap and not call back in. Past `WATCHES_MAX` watches the bell never rings: the
    /// session then learns of changes when its client asks.
    pub fn watch(&self, mailbox: MailboxId, bell: Box<dyn Fn(ModSeq)>) -> Watch {
        let (ticket, _) = self.inner.watchers.borrow_mut().add(mailbox, bell);
        Watch {
            watchers: self.inner.watchers.clone(),
            mailbox,
            ticket,
        }
    }

    /// As `watch`, for a session on another thread, which cannot hold a `Watch`: kept here until `unwatch`, or as long as there are these mailboxes.
    /// `key` is the session's own; one that is in use is replaced.
    pub fn watch_under(&self, key: u64, mailbox: MailboxId, bell: Box<dyn Fn(ModSeq)>) {
        self.unwatch(key);
        let mut watchers = self.inner.watchers.borrow_mut();
        let (ticket, has_place) = watchers.add(mailbox, bell);
        if has_place {
            watchers.kept.insert(key, (mailbox, ticket));
        }
    }

    /// Ends the watch under `key`, where there is one.
    pub fn unwatch(&self, key: u64) {
        let mut watchers = self.inner.watchers.borrow_mut();
        if let Some((mailbox, ticket)) = watchers.kept.remove(&key) {
            watchers.remove(mailbox, ticket);
        }
    }
}
