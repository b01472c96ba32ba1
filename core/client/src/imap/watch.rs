//! How a session on one core is notified of changes that the owner makes durable on another.
//!
//! The watch itself cannot leave the owner's thread, so it stays with the mailboxes that it watches, under a ticket that the session holds: several
//! volumes of one thread keep theirs apart, and a volume that closes takes its own along. The bell that the owner rings is a flag and a `Notify`,
//! both fit to be touched from any thread.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base::{LocalTask, Time};
use mail::Uid;
use mailbox::{AccountId, MailboxFault, MailboxId, Mailboxes, Opening, Resync};
use runtime::SessionHost;
use storage::owner::{Ask, Busy};
use tokio::sync::Notify;

use super::limits::{ASK_AGAIN_AFTER, UNWATCH_TRIES_MAX};
use super::resync::Asked;

#[derive(Default)]
struct Signal {
    rung: AtomicBool,
    notify: Notify,
}

/// A session's watch on one mailbox; ends when dropped, a moment later.
pub struct Watching {
    signal: Arc<Signal>,
    host: SessionHost,
    /// What ends it: a task, when it is dropped.
    end: Option<Box<dyn FnOnce() -> LocalTask>>,
    /// A change that could not be looked at is not looked at again before.
    again_at: Cell<Option<Time>>,
}

/// A mailbox that was opened.
pub struct Begun {
    pub watching: Watching,
    pub id: MailboxId,
    pub opening: Opening,
    /// First and last UID of the \Recent messages.
    pub recent: Option<(Uid, Uid)>,
    /// What happened since the client was here, as of the opening or a moment later.
    pub resync: Option<Resync>,
}

impl Watching {
    /// Watches the mailbox of that name and looks at it, in this order: no change is missed. `claims`: what is \Recent is this
    /// session's from now on. `asked`: what the client knew, if it was here before.
    pub async fn begin(
        owner: &impl Ask,
        host: &SessionHost,
        account: AccountId,
        name: &str,
        claims: bool,
        asked: Option<Asked>,
    ) -> Result<Result<Begun, MailboxFault>, Busy> {
        static TICKETS: AtomicU64 = AtomicU64::new(0);
        let ticket = TICKETS.fetch_add(1, Ordering::Relaxed);
        let signal = Arc::new(Signal::default());
        // Made first: a wait that is given up leaves nothing behind.
        let watching = Watching {
            signal: signal.clone(),
            host: host.clone(),
            end: Some(Box::new(end(
                owner.clone(),
                host.clone(),
                move |mailboxes| {
                    mailboxes.unwatch(ticket);
                },
            ))),
            again_at: Cell::default(),
        };
        let name = name.to_owned();
        let opening = owner.ask(move |mailboxes| async move {
            let mailbox = mailboxes.find(account, &name).await?;
            let bell = move |_modseq| signal.ring();
            mailboxes.watch_under(ticket, mailbox, Box::new(bell));
            let opening = mailboxes.opening(mailbox).await?;
            let recent = mailboxes.recent(mailbox, opening.status.uid_next, claims);
            let asked = asked.filter(|asked| asked.uid_validity == opening.status.uid_validity);
            let resync = match asked {
                Some(Asked { since, within, .. }) => {
                    Some(mailboxes.resync(mailbox, since, &within, true).await?)
                }
                None => None,
            };
            Ok((mailbox, opening, recent, resync))
        });
        let found = opening.await?;
        Ok(found.map(|(id, opening, recent, resync)| Begun {
            watching,
            id,
            opening,
            recent,
            resync,
        }))
    }

    /// On nothing.
    #[cfg(test)]
    pub fn nothing() -> Watching {
        Watching {
            signal: Arc::default(),
            host: SessionHost::of_core(),
            end: None,
            again_at: Cell::default(),
        }
    }

    /// Resolves when the mailbox changed since the last `take`; at once when it did before, and a moment later when it was put back:
    /// a session that waits in a loop must not take the core from the others while storage is busy or gone.
    pub async fn rung(&self) {
        if let Some(again_at) = self.again_at.take() {
            self.host.sleep_until(again_at).await;
        }
        while !self.signal.rung.load(Ordering::Acquire) {
            self.signal.notify.notified().await;
        }
    }

    /// The clock and sleeps of the session's core.
    pub fn host(&self) -> &SessionHost {
        &self.host
    }

    /// Did it change since the last `take`?
    pub fn take(&self) -> bool {
        self.signal.rung.swap(false, Ordering::AcqRel)
    }

    /// The change could not be looked at: look again next time.
    pub fn put_back(&self) {
        let after_us = ASK_AGAIN_AFTER.as_micros() as u64;
        self.again_at.set(Some(self.host.now().after_us(after_us)));
        self.signal.rung.store(true, Ordering::Release);
    }
}

impl Signal {
    fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.notify.notify_one();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            self.host.spawn(end());
        }
    }
}

/// Drops a watch (`unwatch`), where it is.
pub fn end(
    owner: impl Ask,
    host: SessionHost,
    unwatch: impl Fn(&Mailboxes) + Clone + Send + 'static,
) -> impl FnOnce() -> LocalTask {
    move || {
        Box::pin(async move {
            for _ in 0..UNWATCH_TRIES_MAX {
                let unwatch = unwatch.clone();
                let ended = owner.ask(move |mailboxes| async move { unwatch(&mailboxes) });
                if ended.await.is_ok() {
                    return;
                }
                host.sleep(ASK_AGAIN_AFTER).await;
            }
            tracing::warn!("a watch could not be ended: the owner is busy or gone");
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_change_that_was_put_back_is_not_there_at_once() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let watching = Watching::nothing();
        runtime.block_on(async {
            watching.signal.ring();
            watching.rung().await;
            assert!(watching.take());
            watching.put_back();
            let at_once = tokio::time::timeout(Duration::ZERO, watching.rung());
            assert!(at_once.await.is_err());
            watching.put_back();
            watching.rung().await;
            assert!(watching.take() && !watching.take());
        });
    }
}
