//! Opening: the small tables come into memory, then the log after the projection is applied again.
//!
//! What this reads does not grow with accounts or mailboxes: counters, domains, mailboxes being cleared away, and of the rest
//! only what the replayed groups are about.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use base::host::Bell;
use directory::Directory;
use store::{Lsn, Replay, Replayed, Store, Table};
use tenancy::{Reading, Tenancy, Tenant};

use crate::hold::Hold;
use crate::inner::{Inner, broken, unavailable};
use crate::limits::{
    CONDEMNED_MAX, COPIES_UNFINISHED_MAX, GROUP_MESSAGE_BYTES_MAX, ROWS_PER_READ, SHARES_MAX,
};
use crate::message::MessageEntry;
use crate::noun::Depth;
use crate::record::Entry;
use crate::row::{self, Broken};
use crate::state::State;
use crate::{MailboxFault, MailboxId, Mailboxes, Settings};

impl Mailboxes {
    /// Replays what is newer than the projection and starts the upkeep task (checkpoints, reclaim).
    pub async fn open(
        io: device::Io,
        store: Store,
        replay: Replay,
        settings: Settings,
    ) -> Result<Mailboxes, MailboxFault> {
        Mailboxes::open_beside(io, store, replay, settings, |_| Vec::new()).await
    }

    /// As `open`, beside other tenants of the log, which these mailboxes keep. A COPY that a crash cut is taken back before anything is served.
    pub async fn open_beside(
        io: device::Io,
        store: Store,
        replay: Replay,
        settings: Settings,
        others: impl FnOnce(&Tenancy) -> Vec<Rc<dyn Tenant>>,
    ) -> Result<Mailboxes, MailboxFault> {
        let times = tenancy::Settings {
            checkpoint_groups: settings.checkpoint_groups,
            checkpoint_bytes: settings.checkpoint_bytes,
            checkpoint_us: settings.checkpoint_us,
        };
        let tenancy = Tenancy::new(io, store, times);
        let directory = Directory::new(&tenancy);
        let mailboxes = Mailboxes::new(&tenancy, &directory, settings.cache_bytes);
        let mut tenants = vec![directory.tenant(), mailboxes.tenant()];
        let others = others(&tenancy);
        tenants.extend(others.iter().cloned());
        assert!(
            mailboxes.inner.beside.set(others).is_ok(),
            "they were made just now"
        );
        tenancy.open(replay, tenants).await.map_err(unavailable)?;
        mailboxes.take_back_unfinished().await;
        Ok(mailboxes)
    }

    /// Mailboxes as one of several tenants: nothing of them is there before `Tenancy::open`.
    pub fn new(tenancy: &Tenancy, directory: &Directory, cache_bytes: usize) -> Mailboxes {
        let mut state = State::new(cache_bytes);
        state.applied = tenancy.applied();
        let inner = Rc::new_cyclic(|me| Inner {
            me: me.clone(),
            io: tenancy.io().clone(),
            store: tenancy.store().clone(),
            tenancy: tenancy.clone(),
            directory: directory.clone(),
            state: RefCell::new(state),
            watchers: Rc::default(),
            account_watchers: RefCell::default(),
            recents: RefCell::default(),
            locks: Default::default(),
            loading: Default::default(),
            loaded: Bell::new(),
            settled: Bell::new(),
            ahead: RefCell::default(),
            writing: RefCell::default(),
            beside: OnceCell::new(),
            is_new: Cell::new(false),
            orphans_due: Cell::new(false),
            placing: Rc::default(),
            placing_next: Cell::new(0),
            pass: RefCell::new(None),
            copy_group_bytes: Cell::new(GROUP_MESSAGE_BYTES_MAX),
            copies_begun: Rc::default(),
            rows_read: Cell::new(0),
            marks: Cell::new(0),
        });
        Mailboxes { inner }
    }

    pub fn tenant(&self) -> Rc<dyn Tenant> {
        self.inner.clone()
    }

    /// The operator gives up acknowledged batches that no leg has (`Volume::would_give_up`): the volume is written again, and a
    /// checkpoint leaves the damage behind. `Unavailable` also when the log could not be read on: then nothing is taken until a restart.
    pub async fn accept_damage(&self) -> Result<(), MailboxFault> {
        let accepted = self.inner.tenancy.accept_damage().await;
        accepted.map_err(unavailable)
    }
}

impl Mailboxes {
    /// What damaged batches still show of themselves: a sentence for each message or change, at most `count_max`.
    pub async fn named_in_damage(&self, count_max: usize) -> Vec<String> {
        let records = self.store().records_in_damage(count_max).await;
        let mut named = Vec::new();
        for record in records.iter().take(count_max) {
            if directory::share().owns(record) {
                named.push("a change of accounts or domains".to_owned());
                continue;
            }
            let sentence = match Entry::decode(record) {
                Ok(Entry::Message(MessageEntry::Deliver { mailbox, uid, .. })) => {
                    let whose = self.inner.name_of(mailbox).await;
                    format!("the message with UID {} in {whose}", uid.0)
                }
                Ok(entry) => match entry.needs().mailbox {
                    Some((mailbox, _)) => {
                        format!("a change in {}", self.inner.name_of(mailbox).await)
                    }
                    None => "a change of folders".to_owned(),
                },
                Err(_) => "a record that cannot be read".to_owned(),
            };
            named.push(sentence);
        }
        named
    }
}

impl Inner {
    /// Folder and account of a mailbox, or its number when it is not known.
    async fn name_of(&self, mailbox: MailboxId) -> String {
        let unknown = format!("mailbox {}", mailbox.0);
        let Ok(_hold) = self.hold_mailbox(mailbox, Depth::Head).await else {
            return unknown;
        };
        let (account, folder) = {
            let state = self.state.borrow();
            let Some(entry) = state.mailboxes.get(&mailbox) else {
                return unknown;
            };
            let account = entry.head.account;
            let tree = state.accounts.get(&account).and_then(|entry| entry.live());
            let mut folders = tree.iter().flat_map(|tree| &tree.folders);
            let folder = folders.find(|(_, folder)| folder.mailbox == mailbox);
            (account, folder.map(|(name, _)| name.clone()))
        };
        let Ok(Some(account)) = self.directory.account_by_id(account).await else {
            return unknown;
        };
        let folder = folder.unwrap_or_else(|| "a folder".to_owned());
        format!("{folder} of {}", account.address.key())
    }

    /// Counters and deleted mailboxes, before anything is replayed: the records that they come from may be gone from the log.
    pub async fn load_small_tables(&self) -> Result<(), MailboxFault> {
        let counters = self
            .store
            .get(row::COUNTERS, Vec::new())
            .await
            .map_err(unavailable)?;
        if let Some(counters) = &counters {
            self.state
                .borrow_mut()
                .install_counters(counters)
                .map_err(broken)?;
        }
        for (key, _) in self.whole_table(row::CONDEMNED, 2 * CONDEMNED_MAX).await? {
            self.state
                .borrow_mut()
                .install_condemned(&key)
                .map_err(broken)?;
        }
        for (key, value) in self.whole_table(row::SHARES, 2 * SHARES_MAX).await? {
            self.state
                .borrow_mut()
                .install_shares(&key, &value)
                .map_err(broken)?;
        }
        let copies = self.whole_table(row::UNFINISHED, 2 * COPIES_UNFINISHED_MAX);
        for (key, value) in copies.await? {
            self.state
                .borrow_mut()
                .install_copy(&key, &value)
                .map_err(broken)?;
        }
        self.is_new.set(counters.is_none());
        Ok(())
    }

    /// Every row of a table that is bounded by `rows_max`. More rows than that are refused, because memory is planned for the
    /// bound.
    async fn whole_table(
        &self,
        table: Table,
        rows_max: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, MailboxFault> {
        let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut from = Vec::new();
        while rows.len() <= rows_max {
            let read = self
                .store
                .range(table, from, vec![0xff; 13], ROWS_PER_READ)
                .await
                .map_err(unavailable)?;
            let complete = read.len() < ROWS_PER_READ;
            from = read
                .last()
                .map_or(Vec::new(), |(key, _)| [key.as_slice(), &[0]].concat());
            rows.extend(read);
            if complete {
                return Ok(rows);
            }
        }
        Err(MailboxFault::Unavailable(format!(
            "table {} holds more than {rows_max} rows",
            table.0
        )))
    }

    /// Takes groups to be applied. What they are about is loaded together, unless others look at the memory meanwhile: then
    /// each is loaded when it is applied.
    pub async fn decode(
        &self,
        groups: Vec<Replayed>,
        reading: Reading,
    ) -> Result<(), MailboxFault> {
        let mut ahead = Vec::with_capacity(groups.len());
        for group in groups {
            let entries: Result<Vec<Entry>, Broken> =
                group.records.iter().map(Entry::decode).collect();
            ahead.push((group.lsn, entries.map_err(broken)?, group.bodies));
        }
        if reading == Reading::Alone {
            self.load_for(ahead.iter().flat_map(|(_, entries, _)| entries))
                .await?;
        }
        self.ahead.borrow_mut().extend(ahead);
        Ok(())
    }

    /// Applies what was read, up to the batch `until`.
    pub async fn apply_ahead(&self, until: Lsn, reading: Reading) -> Result<(), MailboxFault> {
        let next = || {
            let mut ahead = self.ahead.borrow_mut();
            let is_due = ahead.front().is_some_and(|(lsn, ..)| *lsn <= until);
            if is_due { ahead.pop_front() } else { None }
        };
        while let Some((lsn, entries, bodies)) = next() {
            for entry in &entries {
                let _hold: Hold = self.hold_for(entry).await?;
                // Absent: deleted later in the log and already gone from the projection, or restored by a later snapshot.
                let _effect = self.state.borrow_mut().apply(lsn, entry, &bodies);
            }
            let mut state = self.state.borrow_mut();
            state.applied = state.applied.max(lsn);
            state.dropped.clear();
            if reading == Reading::Alone {
                // Nobody watches yet.
                state.rung.clear();
                state.evict();
            }
        }
        Ok(())
    }

    /// Watchers hear of what was read beside them; a projection that is new is looked through.
    pub async fn log_was_read(&self, reading: Reading, writable: bool) -> Result<(), MailboxFault> {
        if reading == Reading::BesideReaders {
            let rung = std::mem::take(&mut self.state.borrow_mut().rung);
            for (mailbox, modseq) in rung {
                let bells = self.watchers.borrow().of(mailbox);
                bells.iter().for_each(|bell| bell(modseq));
            }
            self.account_watchers.borrow().ring_everything();
        } else if self.is_new.get() {
            self.orphans_due.set(true);
        }
        if writable && self.orphans_due.take() {
            self.drop_orphans().await?;
        }
        Ok(())
    }

    /// Looks at every mailbox once, after a projection was built from nothing.
    async fn drop_orphans(&self) -> Result<(), MailboxFault> {
        self.tenancy.checkpoint().await.map_err(unavailable)?;
        let mut from = Vec::new();
        loop {
            // until the table ends
            let rows = self
                .store
                .range(row::HEADS, from, vec![0xff; 9], ROWS_PER_READ)
                .await
                .map_err(unavailable)?;
            for (key, _) in &rows {
                let mailbox = row::read_mailbox_key(key).map_err(broken)?;
                match self.hold_mailbox(mailbox, Depth::Head).await {
                    Ok(_hold) => self.state.borrow_mut().drop_orphan(mailbox),
                    Err(MailboxFault::NoMailbox) => {}
                    Err(fault) => return Err(fault),
                }
            }
            match rows.last() {
                Some((key, _)) if rows.len() == ROWS_PER_READ => {
                    from = [key.as_slice(), &[0]].concat()
                }
                _ => return Ok(()),
            }
        }
    }
}
