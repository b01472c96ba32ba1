//! What all clones of `Mailboxes` share, and the one way to the log: numbers are given, the group is handed to the store, and at the
//! moment of durability the state changes and the watchers are notified.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::rc::{Rc, Weak};

use base::host::Bell;
use directory::Directory;
use mail::Uid;
use store::{BodyIn, BodyRef, Committed, Lsn, Purpose, ReadFault, Store, StoreFault};
use tenancy::{Locks, Part, Tenancy, Tenant};

use crate::hold::{Hold, Object};
use crate::message::MessageEntry;
use crate::notice::AccountWatchers;
use crate::noun::Effect;
use crate::pass::Pass;
use crate::recent::Recents;
use crate::record::{Entry, purpose_of};
use crate::row::Broken;
use crate::state::{State, Writing};
use crate::watch::Watchers;
use crate::{MailboxFault, MailboxId, Mailboxes, Message};

/// A reference on its way into a mailbox.
pub type Placing = (MailboxId, Uid, BodyRef);

/// A group that was read from the log, decoded and not yet applied.
pub type Ahead = (Lsn, Vec<Entry>, Vec<BodyRef>);

/// What all clones of `Mailboxes` share.
pub struct Inner {
    /// To make a `Mailboxes` from what is held.
    pub me: Weak<Inner>,
    /// The clock, tasks and devices.
    pub io: device::Io,
    /// The log.
    pub store: Store,
    /// The records of all tenants, and the room that they may take.
    pub tenancy: Tenancy,
    /// Accounts, addresses and domains.
    pub directory: Directory,
    /// The mailboxes in memory. No borrow of it is held across an await.
    pub state: RefCell<State>,
    /// Sessions that wait for changes.
    pub watchers: Rc<RefCell<Watchers>>,
    /// Sessions that wait for changes of whole accounts.
    pub account_watchers: RefCell<AccountWatchers>,
    /// Which messages no session has seen as \Recent yet (RFC 3501 §2.3.2).
    pub recents: RefCell<Recents>,
    /// Names of which one operation at a time may decide.
    pub locks: Locks,
    /// What is being read from the projection now, so that it is read once for all that wait for it.
    pub loading: RefCell<HashSet<Object>>,
    /// Rung when a read of the projection has ended.
    pub loaded: Bell,
    /// Rung when an operation under way ends.
    pub settled: Bell,
    /// What replay read and has not applied, in log order.
    pub ahead: RefCell<VecDeque<Ahead>>,
    /// Other tenants of the log: they last as long as these mailboxes.
    pub beside: OnceCell<Vec<Rc<dyn Tenant>>>,
    /// The checkpoint under way.
    pub writing: RefCell<Writing>,
    /// The projection had no rows of ours when it was opened.
    pub is_new: Cell<bool>,
    /// The projection is new and was not looked through, because the volume could not be written.
    pub orphans_due: Cell<bool>,
    /// Bodies of COPYs under way: not referenced yet, and still wanted.
    pub placing: Rc<RefCell<BTreeMap<u64, Vec<Placing>>>>,
    /// The number of the next COPY in `placing`.
    pub placing_next: Cell<u64>,
    /// What reclaim is doing, while it does it.
    pub pass: RefCell<Option<Pass>>,
    /// A COPY places so many bytes of encoded messages in one group.
    pub copy_group_bytes: Cell<usize>,
    /// COPYs of several groups that are under way.
    pub copies_begun: Rc<Cell<u32>>,
    /// Rows asked of the projection one by one, for tests of what a restart costs.
    pub rows_read: Cell<u64>,
    /// Walks of all chunk rows, for tests of what reclaim costs at rest.
    pub marks: Cell<u64>,
}

impl Inner {
    /// Makes `entries` durable and then visible, together and in this order. `hold` is let go when they are, or when it failed.
    ///
    /// Every number in `entries` was given in the same turn, without an await before this call: that makes the order of numbers the
    /// order of the log.
    pub async fn commit(
        self: &Rc<Self>,
        bodies: Vec<BodyIn>,
        entries: Vec<Entry>,
        hold: Hold,
    ) -> Result<Committed, MailboxFault> {
        let purpose = purpose_of(&entries);
        self.commit_for(purpose, bodies, entries, hold).await
    }

    /// As `commit`, where the entries alone do not say what they are for.
    pub async fn commit_for(
        self: &Rc<Self>,
        purpose: Purpose,
        bodies: Vec<BodyIn>,
        entries: Vec<Entry>,
        hold: Hold,
    ) -> Result<Committed, MailboxFault> {
        let part = self.part(entries, hold);
        let committed = self.tenancy.commit(purpose, bodies, vec![part]).await;
        committed.map_err(unavailable)
    }

    /// `entries` as this tenant's part of a group.
    pub fn part(self: &Rc<Self>, entries: Vec<Entry>, hold: Hold) -> Part {
        let inner = self.clone();
        Part {
            records: entries.iter().map(Entry::encode).collect(),
            rows: self.state.borrow().rows_of(&entries),
            applied: Box::new(move |committed: &Committed| {
                inner.applied(committed.lsn, &entries, &committed.bodies);
                drop(hold);
            }),
        }
    }

    /// Applies a durable group: state, \Recent, sessions, dead bodies, in this order. Nothing is awaited in between, so
    /// no session sees half a group.
    fn applied(&self, lsn: Lsn, entries: &[Entry], bodies: &[BodyRef]) {
        let watchers = self.account_watchers.borrow();
        let notices = watchers.notices(&self.state.borrow(), entries);
        drop(watchers);
        let (rung, dropped) = {
            let mut state = self.state.borrow_mut();
            for entry in entries {
                let effect = state.apply(lsn, entry, bodies);
                let mail = matches!(
                    entry,
                    Entry::Message(MessageEntry::Deliver { .. } | MessageEntry::Place { .. })
                );
                assert!(
                    effect == Effect::Applied || !mail,
                    "an accepted message has a mailbox"
                );
            }
            state.evict();
            (
                std::mem::take(&mut state.rung),
                std::mem::take(&mut state.dropped),
            )
        };
        {
            // Before the bells: the session that hears of a message can claim it.
            let mut recents = self.recents.borrow_mut();
            entries.iter().for_each(|entry| recents.note(entry));
        }
        // An estimate: other mailboxes may hold the same body. Reclaim's mark is the truth.
        dropped.iter().for_each(|body| self.store.note_dead(body));
        for (mailbox, modseq) in rung {
            let bells = self.watchers.borrow().of(mailbox);
            bells.iter().for_each(|bell| bell(modseq));
        }
        notices.ring(&self.account_watchers);
    }

    /// A handle for the layer above.
    pub fn mailboxes(&self) -> Mailboxes {
        let inner = self
            .me
            .upgrade()
            .expect("it is borrowed from what holds it");
        Mailboxes { inner }
    }

    /// Notes the bodies of `messages`, on their way into `mailbox` by COPY, as wanted until `hold` is let go, and for a mark of live
    /// bodies that is under way.
    pub fn placing(&self, hold: &mut Hold, mailbox: MailboxId, messages: &[Message]) {
        let ticket = self.placing_next.get();
        self.placing_next.set(ticket + 1);
        if let Some(pass) = self.pass.borrow_mut().as_mut() {
            pass.note_placed(mailbox, messages);
        }
        let bodies = messages
            .iter()
            .map(|message| (mailbox, message.uid, message.body.clone()))
            .collect();
        self.placing.borrow_mut().insert(ticket, bodies);
        let placing = self.placing.clone();
        hold.finally(move || _ = placing.borrow_mut().remove(&ticket));
    }

    /// Where reclaim is moving this body to just now.
    pub fn moving_to(&self, body: &BodyRef) -> Option<BodyRef> {
        self.pass
            .borrow()
            .as_ref()
            .and_then(|pass| pass.moved(body).cloned())
    }

    /// Keeps a mailbox that is in memory there.
    pub fn pin(&self, mailbox: MailboxId) -> Hold {
        let mut hold = Hold::default();
        if let Some(entry) = self.state.borrow().mailboxes.get(&mailbox) {
            hold.pin(&entry.pins);
        }
        hold
    }

    /// Whether operations on the mailbox are on their way to the log.
    pub fn is_pending(&self, mailbox: MailboxId) -> bool {
        let state = self.state.borrow();
        state
            .mailboxes
            .get(&mailbox)
            .is_some_and(|entry| entry.pending.get() > 0)
    }

    /// For UIDVALIDITY: positive, and rising for another eighty years.
    pub fn unix_seconds(&self) -> u32 {
        u32::try_from(self.io.host.unix_seconds())
            .unwrap_or(1)
            .max(1)
    }
}

/// What a fault of the store is for a client. Damage is permanent, so it is not reported as a temporary fault.
pub fn unavailable(fault: StoreFault) -> MailboxFault {
    match fault {
        StoreFault::Damaged => MailboxFault::Damaged,
        StoreFault::TooLarge => MailboxFault::TooLarge,
        StoreFault::Full => MailboxFault::Full,
        StoreFault::Deferred(why) => MailboxFault::Unavailable(why),
        fault => MailboxFault::Unavailable(fault.to_string()),
    }
}

impl From<StoreFault> for MailboxFault {
    fn from(fault: StoreFault) -> MailboxFault {
        unavailable(fault)
    }
}

/// What the tenancy is answered.
pub fn store_fault(fault: MailboxFault) -> StoreFault {
    match fault {
        MailboxFault::Damaged => StoreFault::Damaged,
        MailboxFault::Full => StoreFault::Full,
        MailboxFault::Unavailable(why) => StoreFault::Deferred(why),
        fault => StoreFault::Deferred(fault.to_string()),
    }
}

/// As `unavailable`, for reads of message bytes.
pub fn unread(fault: ReadFault) -> MailboxFault {
    match fault {
        ReadFault::Damaged => MailboxFault::Damaged,
        fault => MailboxFault::Unavailable(fault.to_string()),
    }
}

/// Bytes that this release did not write. They may be those of a later release: what is stored is not lost, only not
/// readable here.
pub fn broken(_: Broken) -> MailboxFault {
    MailboxFault::Unavailable("a row or record is not of this release's making".to_owned())
}
