//! What the owner's thread tells a session that watches accounts, until the session has looked at it. Bounded: past that only one thing is known,
//! that there was more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use imap::list::SEPARATOR;
use imap::notify::Events;
use mailbox::{AccountId, MailboxId, Notice};
use tokio::sync::Notify as Bell;

use super::super::limits::{NOTICED_BYTES_MAX, TOUCHED_MAX};
use super::super::place::root_of;

/// Both ends of it: the owner pushes, and never waits for the session.
pub struct Queue {
    /// What the client does not want to hear of is not kept.
    wants: Events,
    taken: Mutex<Taken>,
    rung: AtomicBool,
    bell: Bell,
}

/// What happened to the messages of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touched {
    pub account: AccountId,
    /// Some came or went.
    pub count: bool,
    pub flags: bool,
}

/// What was not looked at yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    pub touched: BTreeMap<MailboxId, Touched>,
    /// All others, as they happened.
    pub notices: Vec<Notice>,
    notices_bytes: usize,
    /// The client itself subscribed to a name of another account, of which it need not be told.
    subscribed_elsewhere: bool,
    /// There were too many.
    pub overflowed: bool,
}

/// What the session's own command did, which the client need not be told (RFC 5465 §5). Names of its own account.
pub enum Own {
    Created(String),
    Deleted(String),
    Renamed { from: String, to: String },
    Subscribed(String),
}

impl Queue {
    pub fn new(wants: Events) -> Queue {
        Queue {
            wants,
            taken: Mutex::default(),
            rung: AtomicBool::new(false),
            bell: Bell::new(),
        }
    }

    /// A holder that panics leaves a list that is whole: each push is.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On the owner's thread.
    pub fn push(&self, notice: Notice) {
        if !self.is_wanted(&notice) {
            return;
        }
        self.lock().push(notice);
        self.ring();
    }

    fn is_wanted(&self, notice: &Notice) -> bool {
        let wants = self.wants;
        match notice {
            Notice::Messages { count, flags, .. } => {
                (*count && wants.messages) || (*flags && wants.flags)
            }
            // A new INBOX in place of one that was renamed has other messages.
            Notice::Named { name, .. } => wants.names || (wants.messages && name == "INBOX"),
            Notice::Unnamed { .. } => wants.names,
            Notice::Noted { mailbox, .. } if mailbox.0 == 0 => wants.server_annotations,
            Notice::Noted { .. } => wants.annotations,
            // Which mailboxes are watched may depend on it.
            Notice::Subscribed { .. } | Notice::Access { .. } | Notice::Everything => true,
        }
    }

    fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    /// Resolves when there is something.
    pub async fn rung(&self) {
        while !self.rung.load(Ordering::Acquire) {
            self.bell.notified().await;
        }
    }

    /// Everything since the last call; `None`: nothing.
    pub fn take(&self) -> Option<Taken> {
        if !self.rung.swap(false, Ordering::AcqRel) {
            return None;
        }
        let taken = std::mem::take(&mut *self.lock());
        (taken != Taken::default()).then_some(taken)
    }

    /// It could not be looked at: it is given again, with what happened since.
    pub fn put_back(&self, mut taken: Taken) {
        let mut held = self.lock();
        let since = std::mem::take(&mut *held);
        taken.add(since);
        *held = taken;
        drop(held);
        self.ring();
    }

    /// Leaves out what the session's own command did.
    pub fn forget(&self, own: &Own, account: AccountId) {
        let mut taken = self.lock();
        taken.subscribed_elsewhere |= taken.notices.iter().any(is_elsewhere);
        taken.notices.retain(|notice| !own.did(notice, account));
        taken.notices_bytes = taken.notices.iter().map(bytes_of).sum();
    }
}

impl Taken {
    /// Another account may have to be watched: one subscribed to a name of it.
    pub fn concerns_watches(&self) -> bool {
        self.subscribed_elsewhere || self.notices.iter().any(is_elsewhere)
    }

    fn push(&mut self, notice: Notice) {
        if self.overflowed {
            return;
        }
        match notice {
            Notice::Everything => self.overflow(),
            Notice::Messages {
                account,
                mailbox,
                count,
                flags,
            } => {
                let is_full = self.touched.len() >= TOUCHED_MAX;
                if is_full && !self.touched.contains_key(&mailbox) {
                    return self.overflow();
                }
                let touched = self.touched.entry(mailbox).or_insert(Touched {
                    account,
                    count,
                    flags,
                });
                touched.count |= count;
                touched.flags |= flags;
            }
            notice => {
                // Said twice, it is reported once.
                if self.notices.last() == Some(&notice) {
                    return;
                }
                self.notices_bytes += bytes_of(&notice);
                if self.notices_bytes > NOTICED_BYTES_MAX {
                    return self.overflow();
                }
                self.notices.push(notice);
            }
        }
    }

    fn overflow(&mut self) {
        *self = Taken {
            overflowed: true,
            ..Taken::default()
        };
    }

    fn add(&mut self, since: Taken) {
        if since.overflowed {
            return self.overflow();
        }
        self.subscribed_elsewhere |= since.subscribed_elsewhere;
        for (mailbox, touched) in since.touched {
            self.push(Notice::Messages {
                account: touched.account,
                mailbox,
                count: touched.count,
                flags: touched.flags,
            });
        }
        since
            .notices
            .into_iter()
            .for_each(|notice| self.push(notice));
    }
}

/// A subscription to a name of another account.
fn is_elsewhere(notice: &Notice) -> bool {
    matches!(notice, Notice::Subscribed { name } if root_of(name).is_some())
}

impl Own {
    fn did(&self, notice: &Notice, own: AccountId) -> bool {
        match (self, notice) {
            // With the folders above that were missing.
            (Own::Created(created), Notice::Named { account, name, .. }) => {
                *account == own && is_at_or_below(created, name)
            }
            (Own::Deleted(deleted), Notice::Unnamed { account, name }) => {
                *account == own && name == deleted
            }
            (
                Own::Renamed { from: before, to },
                Notice::Named {
                    account,
                    name,
                    from,
                },
            ) => {
                let is_moved = from
                    .as_ref()
                    .is_some_and(|from| is_at_or_below(from, before));
                let is_made = from.is_none() && (is_at_or_below(to, name) || name == "INBOX");
                *account == own && (is_moved || is_made)
            }
            (Own::Subscribed(subscribed), Notice::Subscribed { name }) => name == subscribed,
            _ => false,
        }
    }
}

pub fn is_at_or_below(name: &str, parent: &str) -> bool {
    name.strip_prefix(parent)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(SEPARATOR))
}

/// What a notice takes in memory.
fn bytes_of(notice: &Notice) -> usize {
    let text = match notice {
        Notice::Named { name, from, .. } => name.len() + from.as_ref().map_or(0, String::len),
        Notice::Unnamed { name, .. }
        | Notice::Access { name, .. }
        | Notice::Subscribed { name }
        | Notice::Noted { name, .. } => name.len(),
        Notice::Messages { .. } | Notice::Everything => 0,
    };
    size_of::<Notice>() + text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: AccountId = AccountId(1);

    fn all() -> Events {
        Events {
            messages: true,
            flags: true,
            names: true,
            subscriptions: true,
            annotations: true,
            server_annotations: true,
        }
    }

    fn messages(mailbox: u64, count: bool) -> Notice {
        Notice::Messages {
            account: ALICE,
            mailbox: MailboxId(mailbox),
            count,
            flags: !count,
        }
    }

    fn named(name: &str, from: Option<&str>) -> Notice {
        Notice::Named {
            account: ALICE,
            name: name.into(),
            from: from.map(Into::into),
        }
    }

    #[test]
    fn a_mailbox_that_changes_often_is_one_thing() {
        let queue = Queue::new(all());
        assert_eq!(queue.take(), None);
        for _ in 0..10 * TOUCHED_MAX {
            queue.push(messages(7, false));
        }
        queue.push(messages(7, true));
        let taken = queue.take().expect("something");
        assert_eq!(taken.touched.len(), 1);
        let touched = taken.touched[&MailboxId(7)];
        assert!(touched.count && touched.flags && !taken.overflowed);
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn past_its_bounds_it_keeps_that_there_was_more_and_nothing_else() {
        let queue = Queue::new(all());
        (0..=TOUCHED_MAX as u64).for_each(|number| queue.push(messages(number, true)));
        queue.push(named("x", None));
        let taken = queue.take().expect("something");
        assert!(taken.overflowed && taken.touched.is_empty() && taken.notices.is_empty());
        let name = "n".repeat(500);
        for number in 0..=NOTICED_BYTES_MAX / 500 {
            queue.push(named(&format!("{number}{name}"), None));
        }
        assert!(queue.take().expect("something").overflowed);
        queue.push(named("x", None));
        assert!(!queue.take().expect("something").overflowed);
    }

    #[test]
    fn what_was_put_back_is_given_again_within_the_bounds() {
        let queue = Queue::new(all());
        queue.push(messages(1, true));
        queue.push(named("a", None));
        let taken = queue.take().expect("something");
        queue.push(messages(1, false));
        queue.push(named("b", None));
        queue.put_back(taken);
        let taken = queue.take().expect("something");
        assert!(taken.touched[&MailboxId(1)].flags);
        assert_eq!(taken.notices, [named("a", None), named("b", None)]);
        (0..TOUCHED_MAX as u64).for_each(|number| queue.push(messages(number + 9, true)));
        queue.put_back(taken);
        assert!(queue.take().expect("something").overflowed);
    }

    #[test]
    fn what_is_not_wanted_is_not_kept() {
        let queue = Queue::new(Events {
            messages: true,
            ..Events::default()
        });
        queue.push(messages(1, false));
        queue.push(named("x", None));
        assert_eq!(queue.take(), None);
        queue.push(messages(1, true));
        assert!(queue.take().is_some());
    }

    #[test]
    fn ones_own_commands_are_left_out_and_no_others() {
        let queue = Queue::new(all());
        for notice in [named("a", None), named("a/b", None), named("ab", None)] {
            queue.push(notice);
        }
        queue.forget(&Own::Created("a/b".into()), ALICE);
        assert_eq!(queue.take().expect("one").notices, [named("ab", None)]);
        let moved = [
            named("y", None),
            named("y/a", Some("a")),
            named("y/a/b", Some("a/b")),
            named("z", Some("ab")),
        ];
        moved.into_iter().for_each(|notice| queue.push(notice));
        let own = Own::Renamed {
            from: "a".into(),
            to: "y/a".into(),
        };
        queue.forget(&own, ALICE);
        assert_eq!(queue.take().expect("one").notices, [named("z", Some("ab"))]);
    }
}
