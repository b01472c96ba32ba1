//! Opening: the small tables come into memory, then the log after the projection is applied again.
//!
//! What this reads does not grow with accounts or mailboxes: counters, domains, mailboxes being cleared away, and of the rest
//! only what the replayed groups are about.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use base::host::Bell;
use store::{Lsn, Purpose, Replay, Store, Table};

use crate::inner::{Inner, broken, unavailable};
use crate::limits::{
    CONDEMNED_MAX, DOMAINS_MAX, REPLAY_GROUPS_AHEAD, REPLAY_GROUPS_LOOK, ROWS_PER_READ,
};
use crate::load::{Depth, Hold, Needs};
use crate::record::Entry;
use crate::row::{self, Broken};
use crate::space::DIRECTORY_ROWS;
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
        let mut state = State::new(settings.cache_bytes);
        state.applied = store.open_report().applied;
        let inner = Inner {
            io,
            store,
            settings,
            state: RefCell::new(state),
            watchers: Rc::default(),
            recents: RefCell::default(),
            directory_generation: Default::default(),
            locks: Default::default(),
            loading: Default::default(),
            loaded: Bell::new(),
            settled: Bell::new(),
            work: Bell::new(),
            hurry: Bell::new(),
            hurried: Cell::new(false),
            futile_at: Cell::new(Lsn(0)),
            eased: Bell::new(),
            checkpointed: Bell::new(),
            checkpointing: Cell::new(false),
            closed: Cell::new(false),
            accepting: Cell::new(false),
            orphans_due: Cell::new(false),
            placing: Rc::default(),
            placing_next: Cell::new(0),
            pass: RefCell::new(None),
            reclaiming: Cell::new(false),
            rows_read: Cell::new(0),
            marks: Cell::new(0),
        };
        let mailboxes = Mailboxes {
            inner: Rc::new(inner),
        };
        let rebuild = !mailboxes.inner.load_small_tables().await?;
        mailboxes.inner.replay(replay).await?;
        let read_only = mailboxes.store().volume().refuses().is_some();
        mailboxes.inner.orphans_due.set(rebuild && read_only);
        if rebuild && !read_only {
            mailboxes.inner.drop_orphans().await?;
        }
        mailboxes.tidy().await;
        mailboxes.start_upkeep();
        Ok(mailboxes)
    }
}

impl Mailboxes {
    /// The operator gives up acknowledged batches that no leg has (`Volume::would_give_up`): the volume is written again, and a
    /// checkpoint leaves the damage behind. `Unavailable` also when the log could not be read on: then nothing is taken until a restart.
    pub async fn accept_damage(&self) -> Result<(), MailboxFault> {
        let inner = &self.inner;
        // From here no number is given until what recovery had kept is applied.
        inner.accepting.set(true);
        let accepted = self.store().volume().accept_damage().await;
        accepted.map_err(|refusal| MailboxFault::Unavailable(refusal.to_string()))?;
        inner.replay_rest().await?;
        inner.accepting.set(false);
        inner.directory_generation.fetch_add(1, Ordering::Release);
        if inner.orphans_due.take() {
            return inner.drop_orphans().await;
        }
        inner.checkpoint().await
    }
}

impl Mailboxes {
    /// What damaged batches still show of themselves: a sentence for each message or change, at most `count_max`.
    pub async fn named_in_damage(&self, count_max: usize) -> Vec<String> {
        let records = self.store().records_in_damage(count_max).await;
        let mut named = Vec::new();
        for record in records.iter().take(count_max) {
            let sentence = match Entry::decode(record) {
                Ok(Entry::Deliver { mailbox, uid, .. }) => {
                    let whose = self.inner.name_of(mailbox).await;
                    format!("the message with UID {} in {whose}", uid.0)
                }
                Ok(entry) => match Needs::of(&entry).mailbox {
                    Some((mailbox, _)) => {
                        format!("a change in {}", self.inner.name_of(mailbox).await)
                    }
                    None => "a change of accounts, domains or folders".to_owned(),
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
        let state = self.state.borrow();
        let account = state
            .mailboxes
            .get(&mailbox)
            .and_then(|entry| state.accounts.get(&entry.head.account))
            .and_then(|account| account.live());
        let Some(account) = account else {
            return unknown;
        };
        let mut folders = account.folders.iter();
        let folder = folders.find(|(_, folder)| folder.mailbox == mailbox);
        match folder {
            Some((name, _)) => format!("{name} of {}", account.address.key()),
            None => format!("a folder of {}", account.address.key()),
        }
    }

    /// Applies what the log got since it was replayed, beside readers.
    async fn replay_rest(self: &Rc<Self>) -> Result<(), MailboxFault> {
        let mut replay = self.store.replay_rest();
        while let Some(group) = replay.next().await.map_err(unavailable)? {
            let entries: Result<Vec<Entry>, Broken> =
                group.records.iter().map(Entry::decode).collect();
            for entry in &entries.map_err(broken)? {
                let _hold: Hold = self.hold_for(entry).await?;
                let _effect = self
                    .state
                    .borrow_mut()
                    .apply(group.lsn, entry, &group.bodies);
            }
            let mut state = self.state.borrow_mut();
            state.applied = state.applied.max(group.lsn);
        }
        let rung = {
            let mut state = self.state.borrow_mut();
            state.dropped.clear();
            std::mem::take(&mut state.rung)
        };
        for (mailbox, modseq) in rung {
            let bells = self.watchers.borrow().of(mailbox);
            bells.iter().for_each(|bell| bell(modseq));
        }
        Ok(())
    }

    /// `false`: the projection is empty.
    async fn load_small_tables(&self) -> Result<bool, MailboxFault> {
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
        for (key, value) in self.whole_table(row::DOMAINS, DOMAINS_MAX).await? {
            self.state
                .borrow_mut()
                .install_domain(&key, &value)
                .map_err(broken)?;
        }
        for (key, _) in self.whole_table(row::CONDEMNED, 2 * CONDEMNED_MAX).await? {
            self.state
                .borrow_mut()
                .install_condemned(&key)
                .map_err(broken)?;
        }
        Ok(counters.is_some())
    }

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
                .range(table, from, vec![0xff; 9], ROWS_PER_READ)
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

    async fn replay(self: &Rc<Self>, mut replay: Replay) -> Result<(), MailboxFault> {
        let (mut groups_count, mut unlooked) = (0u64, 0u64);
        loop {
            // until the log ends
            let mut groups = Vec::with_capacity(REPLAY_GROUPS_AHEAD);
            while groups.len() < REPLAY_GROUPS_AHEAD
                && let Some(group) = replay.next().await.map_err(unavailable)?
            {
                let entries: Result<Vec<Entry>, Broken> =
                    group.records.iter().map(Entry::decode).collect();
                groups.push((group.lsn, entries.map_err(broken)?, group.bodies));
            }
            if groups.is_empty() {
                break;
            }
            groups_count += groups.len() as u64;
            self.load_for(groups.iter().flat_map(|(_, entries, _)| entries))
                .await?;
            for (lsn, entries, bodies) in groups {
                // A checkpoint stands for whole batches, and one batch may hold several groups: only between two batches, therefore.
                if lsn > self.state.borrow().applied {
                    self.checkpoint_while_replaying(&mut unlooked).await?;
                }
                for entry in &entries {
                    let _hold: Hold = self.hold_for(entry).await?;
                    // Absent: deleted later in the log and already gone from the projection, or restored by a later snapshot.
                    let _effect = self.state.borrow_mut().apply(lsn, entry, &bodies);
                }
                let mut state = self.state.borrow_mut();
                state.applied = state.applied.max(lsn);
                // Nobody watches yet.
                state.rung.clear();
                state.dropped.clear();
                state.evict();
                unlooked += 1;
            }
        }
        self.store.note_replayed(self.state.borrow().dirty_rows());
        tracing::info!(groups_count, "the log after the projection is replayed");
        Ok(())
    }

    /// A long log (the projection was lost) must not fill memory, nor owe the projection more than fits. `unlooked` groups have
    /// been applied since the last look.
    async fn checkpoint_while_replaying(
        self: &Rc<Self>,
        unlooked: &mut u64,
    ) -> Result<(), MailboxFault> {
        let mut is_due = self.state.borrow().is_behind(4);
        if *unlooked >= REPLAY_GROUPS_LOOK {
            *unlooked = 0;
            let rows = self.state.borrow().dirty_rows() + REPLAY_GROUPS_LOOK * DIRECTORY_ROWS;
            is_due |= !self.store.admits(Purpose::Delete, false, rows);
        }
        if is_due && self.store.volume().refuses().is_none() {
            self.checkpoint().await?;
        }
        Ok(())
    }

    /// Looks at every mailbox once, after a projection was built from nothing.
    async fn drop_orphans(&self) -> Result<(), MailboxFault> {
        self.checkpoint().await?;
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
