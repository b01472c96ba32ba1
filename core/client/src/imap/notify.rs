//! NOTIFY (RFC 5465): a client that is notified of changes at any time between its commands, in mailboxes that it has not opened too.
//!
//! A session that asks for it has one watch of accounts with the owner, however many mailboxes they have: its own account, and those of others that it
//! names mailboxes of. What happens there is put into a bounded `queue` by the owner's thread, which never waits for the session, and is looked at
//! (`look`) by a trip of the session's own when it has nothing else to do: its lines are written by `report`. The open mailbox is heard of by its own watch, as in IDLE.
//!
//! What must hold:
//!
//! - A connection that does not use NOTIFY holds a pointer for it, and waits in the futures that it always waited in.
//! - All that is kept is paid for from `Memory::notifying`, for as long as it is kept.
//! - Where the queue overflows the client is notified of that, and of nothing more: it is never left to take a part for everything.

mod look;
mod own;
mod queue;
mod report;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base::{LocalTask, Time};
use imap::State;
use imap::fetch::FetchItem;
use imap::notify::{Events, Notify as Command, NotifySet, OfSelected, Watched};
use imap::sequence::SequenceSet;
use mail::Rights;
use mail::spelling::composed;
use mailbox::{AccountId, MailboxFault};
use runtime::{Accepted, Charge, Connection, SessionHost};
use storage::holder;
use storage::owner::Ask;

use super::fault::Failure;
use super::folders::Shown;
use super::limits::{ASK_AGAIN_AFTER, LOOK_EVERY, NOTICES_BYTES};
use super::mode::Mode;
use super::selected::{Expunges, Gone};
use super::watch::end;
use super::wire::Wire;
use super::{Client, Done, End, Imap, fetch, flush};
use look::Viewer;
pub(super) use own::asks;
use own::without;
use queue::{Queue, Taken};

/// What a client asked to be told.
pub struct Notify {
    set: Arc<NotifySet>,
    /// `None`: nothing is asked about mailboxes by their names.
    watch: Option<AccountsWatch>,
    /// UIDs that the client's own command placed in the open mailbox, until they are reported.
    placed: Vec<(u32, u32)>,
    /// For all of it.
    _charge: Option<Charge>,
}

/// A watch of accounts; ends when dropped, a moment later.
struct AccountsWatch {
    /// The owner has it under this.
    key: u64,
    queue: Arc<Queue>,
    host: SessionHost,
    end: Option<Box<dyn FnOnce() -> LocalTask>>,
    /// The next look is not before.
    again_at: Cell<Option<Time>>,
}

impl Drop for AccountsWatch {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            self.host.spawn(end());
        }
    }
}

impl Notify {
    /// NOTIFY NONE.
    pub fn none() -> Notify {
        Notify {
            set: Arc::default(),
            watch: None,
            placed: Vec::new(),
            _charge: None,
        }
    }

    fn of_selected(&self) -> Option<&OfSelected> {
        self.set.selected.as_ref()
    }

    /// What there is to look at; not before `looked` allows it, unless `at_once`.
    fn take(&self, at_once: bool) -> Option<Taken> {
        let watch = self.watch.as_ref()?;
        let again_at = watch.again_at.get();
        if !at_once && again_at.is_some_and(|at| watch.host.now() < at) {
            return None;
        }
        watch.queue.take()
    }

    /// The next look is a while from now, whatever came of this one.
    fn looked(&self) {
        if let Some(watch) = &self.watch {
            let after_us = LOOK_EVERY.as_micros() as u64;
            let again_at = watch.host.now().after_us(after_us);
            watch.again_at.set(Some(again_at));
        }
    }

    fn put_back(&self, taken: Taken) {
        if let Some(watch) = &self.watch {
            watch.queue.put_back(taken);
        }
    }

    /// Resolves when there is something to look at.
    async fn rung(&self) {
        let Some(watch) = &self.watch else {
            return std::future::pending().await;
        };
        if let Some(again_at) = watch.again_at.get() {
            watch.host.sleep_until(again_at).await;
            watch.again_at.set(None);
        }
        watch.queue.rung().await;
    }
}

/// What ended a wait.
enum Woken {
    Client,
    /// The open mailbox.
    Opened,
    /// Other mailboxes.
    Others,
}

impl Client {
    /// SELECTED-DELAYED.
    fn keeps_numbers(&self) -> bool {
        let notify = self.notify.as_ref();
        let wanted = notify.and_then(|notify| notify.of_selected());
        wanted.is_some_and(|wanted| wanted.delayed)
    }

    /// Whether what happens may be told while it is waited for the client.
    pub(super) fn listens(&self) -> bool {
        self.notify.is_some() && self.session.is_between_commands()
    }

    fn shown(&self) -> Shown {
        Shown {
            names: self.session.names(),
            append_bytes_max: self.session.append_bytes_max(),
        }
    }

    /// `None` before a login.
    fn viewer(&self) -> Option<Viewer> {
        Some(Viewer {
            account: self.account?,
            set: self.notify.as_ref()?.set.clone(),
            condstore: Mode::of(&self.session).condstore,
            selected: self.selected.as_ref().map(|selected| selected.id),
        })
    }
}

impl<K: Ask> Imap<K> {
    /// RFC 5465 §3.1. A command that fails leaves what was set before.
    pub(super) async fn on_notify(
        &self,
        client: &mut Client,
        account: AccountId,
        command: Command,
        connection: &mut impl Connection,
    ) -> Result<Result<Done, Failure>, End> {
        let mut set = match command {
            Command::None => {
                client.notify = Some(Box::new(Notify::none()));
                return Ok(Ok(Done::plain("Notify completed")));
            }
            Command::Set(set) => *set,
        };
        set.groups
            .iter_mut()
            .for_each(|group| spell(&mut group.mailboxes));
        let wants = set
            .groups
            .iter()
            .fold(Events::default(), |all, group| all.or(group.events));
        let (set, mut accounts) = (Arc::new(set), Vec::new());
        let bytes = set.bytes() + NOTICES_BYTES;
        let holder = holder::of_account(account);
        let Some(charge) = self.memory.notifying.take_for(holder, bytes) else {
            return Ok(Err(TOO_MUCH));
        };
        let mut watch = None;
        if wants != Events::default() {
            match self.watch_accounts(account, &set, wants).await {
                Ok(begun) => {
                    watch = Some(begun.0);
                    accounts = begun.1;
                }
                Err(failure) => return Ok(Err(failure)),
            }
        }
        let viewer = Viewer {
            account,
            set: set.clone(),
            condstore: Mode::of(&client.session).condstore,
            selected: client.selected.as_ref().map(|selected| selected.id),
        };
        // The new watch is there already: nothing falls between the two.
        if !self.tell_others(client, connection, true).await? {
            return Ok(Err(Failure::Busy));
        }
        if watch.is_some() {
            let shown = client.shown();
            let told = self.put_first(viewer, accounts, &shown, &mut client.out, connection);
            if let Err(failure) = told.await? {
                return Ok(Err(failure));
            }
        }
        client.notify = Some(Box::new(Notify {
            set,
            watch,
            placed: Vec::new(),
            _charge: Some(charge),
        }));
        Ok(Ok(Done::plain("Notify completed")))
    }

    /// A watch, and the accounts that it is about.
    async fn watch_accounts(
        &self,
        account: AccountId,
        set: &Arc<NotifySet>,
        wants: Events,
    ) -> Result<(AccountsWatch, Vec<AccountId>), Failure> {
        static KEYS: AtomicU64 = AtomicU64::new(0);
        let key = KEYS.fetch_add(1, Ordering::Relaxed);
        // Made first: a wait that is given up leaves nothing behind.
        let watch = AccountsWatch {
            key,
            queue: Arc::new(Queue::new(wants)),
            host: self.host.clone(),
            end: Some(Box::new(end(
                self.owner.clone(),
                self.host.clone(),
                move |mailboxes| mailboxes.unwatch_accounts(key),
            ))),
            again_at: Cell::default(),
        };
        let accounts = self.begin_watch(&watch, account, set).await?;
        Ok((watch, accounts))
    }

    async fn begin_watch(
        &self,
        watch: &AccountsWatch,
        account: AccountId,
        set: &Arc<NotifySet>,
    ) -> Result<Vec<AccountId>, Failure> {
        let (key, set) = (watch.key, set.clone());
        let queue = Arc::downgrade(&watch.queue);
        let begun = self.owner.ask(move |mailboxes| async move {
            let accounts = look::accounts(&mailboxes, account, &set).await?;
            let bell = Box::new(move |notice| match queue.upgrade() {
                Some(queue) => {
                    queue.push(notice);
                    true
                }
                None => false,
            });
            let watching = mailboxes.watch_accounts(key, account, accounts.clone(), bell);
            watching.await?;
            Ok::<_, MailboxFault>(accounts)
        });
        match begun.await? {
            Err(MailboxFault::TooMany(_)) => Err(TOO_MUCH),
            begun => Ok(begun?),
        }
    }

    /// The client subscribed to a name of another account, which may not be watched yet (RFC 5465 §6.4).
    async fn watch_again(&self, client: &mut Client) {
        let (Some(account), Some(notify)) = (client.account, &client.notify) else {
            return;
        };
        let Some(watch) = &notify.watch else { return };
        let begun = self.begin_watch(watch, account, &notify.set).await;
        // The old watch may be gone: the client must not wait for what is not told.
        if begun.is_err() {
            report::overflow(client);
        }
    }

    /// As `wait` and `on_idle`, for a client that asked to be notified: tells what happens until the client sends anything.
    pub(super) async fn on_listen(
        &self,
        client: &mut Client,
        connection: &mut Wire<impl Accepted>,
        idles: bool,
    ) -> Result<(), End> {
        if let (true, Some(selected)) = (idles, &mut client.selected) {
            selected.put_size_again(&mut client.out);
        }
        let silence = self.silence(client);
        let mut looked = false;
        loop {
            // until the client says something
            flush(&mut client.out, connection).await?;
            self.tell_now(client, connection, idles).await?;
            // What must wait for a command (an INBOX that was renamed, with its numbers kept) is not looked at again and again.
            let in_vain = looked && !idles && client.out.is_empty() && client.keeps_numbers();
            flush(&mut client.out, connection).await?;
            client.out = Vec::new();
            client.session.rest();
            if !client.session.input().is_empty() {
                return Ok(()); // DONE came behind IDLE
            }
            self.pay_for_literal(client, connection).await?;
            connection.expect_literal(0);
            match self.listen(client, connection, silence, in_vain).await? {
                Woken::Client => return Ok(()),
                Woken::Opened => looked = true,
                Woken::Others => looked = false,
            }
        }
    }

    async fn listen(
        &self,
        client: &mut Client,
        connection: &mut Wire<impl Accepted>,
        silence: Duration,
        in_vain: bool,
    ) -> Result<Woken, End> {
        let Client {
            session,
            selected,
            notify,
            ..
        } = client;
        let wants = notify
            .as_ref()
            .is_some_and(|notify| notify.of_selected().is_some());
        let opened = async {
            if in_vain {
                self.host.sleep(IN_VAIN_AFTER).await;
            }
            match selected {
                Some(selected) if wants => selected.rung().await,
                _ => std::future::pending().await,
            }
        };
        let others = async {
            match notify {
                Some(notify) => notify.rung().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            received = connection.receive(session.input()) => {
                received?;
                Ok(Woken::Client)
            }
            () = opened => Ok(Woken::Opened),
            () = others => Ok(Woken::Others),
            () = self.host.sleep(silence) => Err(End::Silent),
        }
    }

    async fn tell_now(
        &self,
        client: &mut Client,
        connection: &mut impl Connection,
        idles: bool,
    ) -> Result<(), End> {
        // RFC 5465 §6.1.2: IDLE allows numbers to change.
        let expunges = match client.keeps_numbers() && !idles {
            true => Expunges::Later,
            false => Expunges::Now,
        };
        let told = self.tell_as(client, connection, expunges, false).await?;
        told.map_err(|gone| gone.end(client))?;
        if let Some(selected) = &mut client.selected {
            selected.was_listening();
            // No tagged reply follows.
            selected.put_ahead(&mut client.out);
        }
        self.tell_others(client, connection, false).await?;
        Ok(())
    }

    /// Tells of the open mailbox what NOTIFY lets through; all of it where the client asks, or has not used NOTIFY.
    pub(super) async fn tell_as(
        &self,
        client: &mut Client,
        connection: &mut impl Connection,
        expunges: Expunges,
        asks: bool,
    ) -> Result<Result<(), Gone>, End> {
        let Some(notify) = &client.notify else {
            return Ok(self.tell(client, connection, expunges).await?);
        };
        let wanted = notify.of_selected();
        let Some(selected) = &mut client.selected else {
            return Ok(Ok(()));
        };
        if !asks && wanted.is_none() {
            // What it may do there is looked at all the same.
            return Ok(match self.look_at_rights(selected).await {
                Ok(_) => Ok(()),
                Err(gone) => Err(gone),
            });
        }
        selected.hides_flags = !asks && !wanted.is_some_and(|wanted| wanted.events.flags);
        let items = wanted.map_or(Vec::new(), |wanted| wanted.items.clone());
        let (id, before) = (selected.id, selected.numbering.highest_uid());
        let told = self.tell(client, connection, expunges).await?;
        let after = match &client.selected {
            Some(selected) if selected.id == id => selected.numbering.highest_uid(),
            _ => 0,
        };
        if told.is_ok() && after > before && !items.is_empty() {
            self.fetch_new(client, connection, items, (before + 1, after))
                .await?;
        }
        Ok(told)
    }

    /// RFC 5465 §5.2: what the client wants to know of new messages at once, behind EXISTS.
    async fn fetch_new(
        &self,
        client: &mut Client,
        connection: &mut impl Connection,
        items: Vec<FetchItem>,
        uids: (u32, u32),
    ) -> Result<(), End> {
        let placed = client.notify.as_mut();
        let placed = placed.map(|notify| std::mem::take(&mut notify.placed));
        let set = match placed.unwrap_or_default() {
            placed if placed.is_empty() => Some(format!("{}:{}", uids.0, uids.1)),
            placed => without(uids, &placed),
        };
        let set = set.and_then(|set| SequenceSet::parse(set.as_bytes()));
        let read_only = client.session.state() == State::Selected { read_only: true };
        for _ in 0..FETCH_TRIES_MAX {
            let (Some(account), Some(selected), Some(set)) =
                (client.account, &mut client.selected, &set)
            else {
                return Ok(());
            };
            let read_only = read_only || !selected.rights().contains(Rights::SEEN);
            let wanted = fetch::Wanted::new(true, items.clone(), None, read_only, selected.mode);
            let out = &mut client.out;
            let fetched = self.on_fetch(account, selected, set, wanted, out, connection);
            match fetched.await? {
                Err(Failure::Busy) => self.host.sleep(ASK_AGAIN_AFTER).await,
                // A message that went meanwhile, or that cannot be read: the client asks for it by itself, and hears why.
                Ok(_) | Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Tries to fetch what new messages are reported with, while storage is busy; the client has EXISTS, and can ask.
const FETCH_TRIES_MAX: usize = 20;

/// After a look that told nothing where numbers must stay, the open mailbox is looked at again.
const IN_VAIN_AFTER: Duration = Duration::from_secs(1);

/// RFC 5465 §3.1.
const TOO_MUCH: Failure = Failure::No("NOTIFICATIONOVERFLOW", "Too much would have to be watched");

/// Names as they are compared.
fn spell(watched: &mut Watched) {
    if let Watched::Subtree(names) | Watched::Mailboxes(names) = watched {
        for name in names {
            let plain = name.strip_suffix('/').unwrap_or(name);
            *name = composed(plain).into_owned().into();
        }
    }
}
