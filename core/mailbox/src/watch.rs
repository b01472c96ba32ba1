//! Who is told of changes.

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
}

impl Watchers {
    pub fn of(&self, mailbox: MailboxId) -> Vec<MailboxBell> {
        self.by_mailbox.get(&mailbox).map_or(Vec::new(), |bells| {
            bells.iter().map(|(_, bell)| bell.clone()).collect()
        })
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
        let mut watchers = self.inner.watchers.borrow_mut();
        let ticket = watchers.next;
        watchers.next += 1;
        if watchers.count < WATCHES_MAX {
            watchers.count += 1;
            watchers
                .by_mailbox
                .entry(mailbox)
                .or_default()
                .push((ticket, Rc::from(bell)));
        } else {
            tracing::warn!(
                mailbox = mailbox.0,
                "too many watches; changes are not reported to a session"
            );
        }
        Watch {
            watchers: self.inner.watchers.clone(),
            mailbox,
            ticket,
        }
    }
}
