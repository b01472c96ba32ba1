//! Rows come in on demand, and what an operation works on stays in memory until it is done (`hold`).
//!
//! At most one task at a time loads one object; others wait for it. What is being loaded is not in memory yet (or, for
//! more of a mailbox's chunks, is clean), so nothing can change under the reader, and a checkpoint that commits meanwhile
//! does not touch those rows.

use std::collections::BTreeSet;

use crate::hold::{Hold, Object};
use crate::inner::{Inner, broken, unavailable};
use crate::limits::ROWS_PER_READ;
use crate::noun::Depth;
use crate::record::Entry;
use crate::row::{self, Chunk};
use crate::state::MailboxEntry;
use crate::{AccountId, MailboxFault, MailboxId};

impl Inner {
    /// `NoMailbox` when it does not exist or is being deleted.
    /// Pins the mailbox, its account's tree and its account's row together: an operation that holds a mailbox may ask for its quota, its name and its
    /// owner without another await.
    pub async fn hold_mailbox(
        &self,
        mailbox: MailboxId,
        depth: Depth,
    ) -> Result<Hold, MailboxFault> {
        let mut hold = self.hold_messages(mailbox, depth).await?;
        let account = {
            let state = self.state.borrow();
            state
                .mailboxes
                .get(&mailbox)
                .map(|entry| entry.head.account)
        };
        let pin = self
            .directory
            .hold(account.ok_or(MailboxFault::NoMailbox)?)
            .await?;
        hold.row(pin);
        Ok(hold)
    }

    /// Without the account's row in the directory: what replay needs.
    async fn hold_messages(&self, mailbox: MailboxId, depth: Depth) -> Result<Hold, MailboxFault> {
        loop {
            if self.state.borrow().condemned.contains_key(&mailbox) {
                return Err(MailboxFault::NoMailbox);
            }
            // Looked at again after every wait: what another task loaded may be evicted before this one runs.
            if let Some((mut hold, account)) = self.hold_loaded(mailbox, depth) {
                hold.join(self.hold_tree(account).await?);
                return Ok(hold);
            }
            match self.busy(Object::Mailbox(mailbox)) {
                Some(wait) => wait.await,
                None => {
                    let _loading = Loading {
                        inner: self,
                        object: Object::Mailbox(mailbox),
                    };
                    self.load_mailbox(mailbox, depth).await?;
                }
            }
        }
    }

    /// Pins a mailbox of which enough is in memory, and says whose it is.
    fn hold_loaded(&self, mailbox: MailboxId, depth: Depth) -> Option<(Hold, AccountId)> {
        let mut state = self.state.borrow_mut();
        let entry = state.mailbox_used(mailbox)?;
        if wanted(entry, depth).is_some() || wants_gone(entry, depth) {
            return None;
        }
        let mut hold = Hold::default();
        hold.pin(&entry.pins);
        Some((hold, entry.head.account))
    }

    /// The account's mailboxes, and its row in the directory; both may say that there is no such account.
    pub async fn hold_account(&self, account: AccountId) -> Result<Hold, MailboxFault> {
        let mut hold = self.hold_tree(account).await?;
        let pin = self.directory.hold(account).await?;
        hold.row(pin);
        Ok(hold)
    }

    /// The account's mailboxes alone: what replay needs, where the directory may be ahead or behind.
    pub async fn hold_tree(&self, account: AccountId) -> Result<Hold, MailboxFault> {
        loop {
            let wait = {
                let mut state = self.state.borrow_mut();
                if let Some(entry) = state.account_used(account) {
                    let mut hold = Hold::default();
                    hold.pin(&entry.pins);
                    state.evict();
                    return Ok(hold);
                }
                self.busy(Object::Account(account))
            };
            match wait {
                Some(wait) => wait.await,
                None => {
                    let _loading = Loading {
                        inner: self,
                        object: Object::Account(account),
                    };
                    let tree = self.get(row::TREES, row::account_key(account)).await?;
                    let usage = self.get(row::USAGE, row::account_key(account)).await?;
                    let mut state = self.state.borrow_mut();
                    // (The rows were read at a moment when it was not durable yet.)
                    // A creation may have been applied meanwhile; it knows better.
                    if !state.accounts.contains_key(&account) {
                        state
                            .install_account(account, tree.as_deref(), usage.as_deref())
                            .map_err(broken)?;
                    }
                }
            }
        }
    }

    /// Everything `entry` is about, for replay: what is absent stays absent.
    pub async fn hold_for(&self, entry: &Entry) -> Result<Hold, MailboxFault> {
        let needs = entry.needs();
        let mut hold = Hold::default();
        if let Some(account) = needs.account {
            hold.join(self.hold_tree(account).await?);
        }
        if let Some((mailbox, depth)) = needs.mailbox {
            match self.hold_messages(mailbox, depth).await {
                Ok(more) => hold.join(more),
                Err(MailboxFault::NoMailbox) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(hold)
    }

    /// Brings in what `entries` are about with a few visits to the index thread, as far as that is known beforehand. The rest, and
    /// what leaves memory again before its turn, `hold_for` brings in. For replay: no other caller uses the state meanwhile.
    pub async fn load_for<'e>(
        &self,
        entries: impl Iterator<Item = &'e Entry>,
    ) -> Result<(), MailboxFault> {
        let mut mailboxes = BTreeSet::new();
        let mut accounts = BTreeSet::new();
        let mut tails = BTreeSet::new();
        for entry in entries {
            let needs = entry.needs();
            accounts.extend(needs.account);
            if let Some((mailbox, depth)) = needs.mailbox {
                mailboxes.insert(mailbox);
                if matches!(depth, Depth::Tail) {
                    tails.insert(mailbox);
                }
            }
        }
        // Heads first: they say which account a mailbox is of, and how far its messages go.
        self.load_heads(mailboxes).await?;
        {
            let state = self.state.borrow();
            let held = tails.iter().filter_map(|id| state.mailboxes.get(id));
            accounts.extend(held.map(|entry| entry.head.account));
        }
        self.load_accounts(accounts).await?;
        self.load_tails(tails).await
    }

    async fn load_heads(&self, mut mailboxes: BTreeSet<MailboxId>) -> Result<(), MailboxFault> {
        {
            let state = self.state.borrow();
            mailboxes.retain(|mailbox| {
                !state.mailboxes.contains_key(mailbox) && !state.condemned.contains_key(mailbox)
            });
        }
        let keys = mailboxes.iter().map(|id| row::mailbox_key(*id)).collect();
        let rows = self.get_many(row::HEADS, keys).await?;
        let mut state = self.state.borrow_mut();
        for (mailbox, row) in std::iter::zip(mailboxes, rows) {
            // One that is not there yet is made by an entry to come.
            if let Some(row) = row {
                state.install_head(mailbox, &row).map_err(broken)?;
            }
        }
        Ok(())
    }

    async fn load_accounts(&self, mut accounts: BTreeSet<AccountId>) -> Result<(), MailboxFault> {
        {
            let state = self.state.borrow();
            accounts.retain(|account| !state.accounts.contains_key(account));
        }
        let keys: Vec<_> = accounts.iter().map(|id| row::account_key(*id)).collect();
        let rows = self.get_many(row::TREES, keys.clone()).await?;
        let usages = self.get_many(row::USAGE, keys).await?;
        let mut state = self.state.borrow_mut();
        for (account, (row, usage)) in std::iter::zip(accounts, std::iter::zip(rows, usages)) {
            state
                .install_account(account, row.as_deref(), usage.as_deref())
                .map_err(broken)?;
        }
        Ok(())
    }

    /// The last chunks of those mailboxes of which only the head is in memory.
    async fn load_tails(&self, mailboxes: BTreeSet<MailboxId>) -> Result<(), MailboxFault> {
        let tails: Vec<(MailboxId, Chunk)> = {
            let state = self.state.borrow();
            let bare = |mailbox: MailboxId| {
                let from = wanted(state.mailboxes.get(&mailbox)?, Depth::Tail)?;
                (state.mailboxes[&mailbox].loaded_from == from.next()).then_some((mailbox, from))
            };
            mailboxes.into_iter().filter_map(bare).collect()
        };
        let keys = tails
            .iter()
            .map(|(mailbox, chunk)| row::chunk_key(*mailbox, *chunk));
        let keys: Vec<_> = keys.collect();
        let rows = self.get_many(row::CHUNKS, keys.clone()).await?;
        let mut state = self.state.borrow_mut();
        for ((mailbox, chunk), (key, row)) in std::iter::zip(tails, std::iter::zip(keys, rows)) {
            let rows: Vec<_> = row.map(|row| (key, row)).into_iter().collect();
            state
                .install_chunks(mailbox, chunk, &rows)
                .map_err(broken)?;
        }
        Ok(())
    }

    /// Brings head and messages into memory. The state may change while rows are read, so it is looked up again after each
    /// await; the pin keeps what was brought in from being evicted meanwhile.
    async fn load_mailbox(&self, mailbox: MailboxId, depth: Depth) -> Result<(), MailboxFault> {
        let mut pin = Hold::default();
        if !self.state.borrow().mailboxes.contains_key(&mailbox) {
            let head = self
                .get(row::HEADS, row::mailbox_key(mailbox))
                .await?
                .ok_or(MailboxFault::NoMailbox)?;
            let mut state = self.state.borrow_mut();
            if state.condemned.contains_key(&mailbox) {
                return Err(MailboxFault::NoMailbox);
            }
            if !state.mailboxes.contains_key(&mailbox) {
                state.install_head(mailbox, &head).map_err(broken)?;
            }
        }
        let wants_gone = {
            let state = self.state.borrow();
            let Some(entry) = state.mailboxes.get(&mailbox) else {
                return Err(MailboxFault::NoMailbox);
            };
            pin.pin(&entry.pins);
            wants_gone(entry, depth)
        };
        if wants_gone {
            let row = self.get(row::GONE, row::mailbox_key(mailbox)).await?;
            let mut state = self.state.borrow_mut();
            state
                .install_gone(mailbox, row.as_deref())
                .map_err(broken)?;
            state.charge(mailbox);
        }
        let (from, to) = {
            let state = self.state.borrow();
            let Some(entry) = state.mailboxes.get(&mailbox) else {
                return Err(MailboxFault::NoMailbox);
            };
            let Some(from) = wanted(entry, depth) else {
                return Ok(());
            };
            // All there is may be in memory already, or lie outside the row that is wanted.
            let complete = entry.messages.len() == entry.head.messages as usize;
            let fresh =
                from == Chunk::of(entry.head.uid_next) && from.first_uid() == entry.head.uid_next;
            (
                from,
                if complete || fresh {
                    from
                } else {
                    entry.loaded_from
                },
            )
        };
        let mut rows = Vec::new();
        let mut next = row::chunk_key(mailbox, from);
        let end = row::chunk_key(mailbox, to);
        while next < end {
            let read = self
                .store
                .range(row::CHUNKS, next, end.clone(), ROWS_PER_READ)
                .await
                .map_err(unavailable)?;
            next = match read.last() {
                Some((key, _)) if read.len() == ROWS_PER_READ => [key.as_slice(), &[0]].concat(),
                _ => end.clone(),
            };
            rows.extend(read);
        }
        self.state
            .borrow_mut()
            .install_chunks(mailbox, from, &rows)
            .map_err(broken)
    }

    async fn get_many(
        &self,
        table: store::Table,
        keys: Vec<Vec<u8>>,
    ) -> Result<Vec<Option<Vec<u8>>>, MailboxFault> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.rows_read.set(self.rows_read.get() + keys.len() as u64);
        self.store.get_many(table, keys).await.map_err(unavailable)
    }

    async fn get(
        &self,
        table: store::Table,
        key: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, MailboxFault> {
        self.rows_read.set(self.rows_read.get() + 1);
        self.store.get(table, key).await.map_err(unavailable)
    }

    /// Marks `object` as being loaded by the caller, or gives the wait for the one who is at it.
    fn busy(&self, object: Object) -> Option<base::host::BellWait> {
        if self.loading.borrow_mut().insert(object) {
            None
        } else {
            Some(self.loaded.wait())
        }
    }
}

/// From which chunk on more must be loaded; `None` when enough is in memory.
pub fn wanted(entry: &MailboxEntry, depth: Depth) -> Option<Chunk> {
    let from = match depth {
        Depth::Head => return None,
        Depth::Tail => Chunk::of(entry.head.uid_next),
        Depth::From(uid) => Chunk::of(uid),
        Depth::All => Chunk(0),
    };
    (from < entry.loaded_from).then_some(from)
}

/// Whether what went must be read: messages may go wherever more than the tail is asked for.
pub fn wants_gone(entry: &MailboxEntry, depth: Depth) -> bool {
    entry.gone.is_none() && matches!(depth, Depth::From(_) | Depth::All)
}

struct Loading<'a> {
    inner: &'a Inner,
    object: Object,
}
impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.inner.loading.borrow_mut().remove(&self.object);
        self.inner.loaded.ring();
    }
}
