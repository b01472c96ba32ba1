//! What is in memory: all domains, a cache of accounts over the projection, plus everything newer than it.
//!
//! What differs from the projection carries the epoch of its last change. A checkpoint collects all of it and, once durable, clears
//! what has no later epoch. An account that carries one, or is pinned, is never evicted. No I/O here.

mod apply;
mod held;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use base::cursor::{Reader, Write};
use mail::spelling;
use store::{Change, Table};
use tenancy::encoding::{Broken, decode_number, encode_number, read_u32};

use crate::AccountId;
use crate::account::{ACCOUNTS, AccountRow, KEYS, account_key};
use crate::alias::Alias;
use crate::allowance::Allowance;
use crate::dkim_key::{self, ChangedKeys, DkimKeyRow, KeyName};
use crate::domain::{DOMAINS, Domain};
use crate::fetch::Fetch;
use crate::grant::Grant;
use crate::group::{Group, Member};
use crate::kept_policy::KeptPolicy;
use crate::key::Key;
use crate::limits::{ACCOUNTS_CACHED_MAX, DIRTY_MAX, EVICT_LOOK_MAX, KEY_CACHE_MAX};
use crate::mark::Mark;
use crate::route::Route;
use crate::whole::{Epoch, Whole};

pub(crate) use held::Held;

/// The number of the next account, in one row.
pub(crate) const COUNTERS: Table = Table(1);

/// Domains in full, and accounts that were used lately. What differs from the projection stays in memory until a checkpoint wrote it.
pub(crate) struct State {
    /// Every domain, in lower case.
    pub domains: BTreeMap<String, Domain>,
    /// The latest epoch in which a domain changed.
    domains_dirty: Option<Epoch>,
    pub accounts: HashMap<AccountId, AccountEntry>,
    /// Accounts whose row differs from the projection; they are not evicted.
    dirty_accounts: HashSet<AccountId>,
    /// Arrival order of `accounts`.
    clock: VecDeque<AccountId>,
    /// Address keys that changed since the projection was written.
    pub keys: BTreeMap<String, (Option<AccountId>, Epoch)>,
    /// DKIM keys that changed since the projection was written. The others are read when they are asked for.
    dkim_keys: ChangedKeys,
    /// Answers of the projection, for addresses looked up lately.
    key_cache: HashMap<String, Option<AccountId>>,
    /// Arrival order of `key_cache`.
    key_clock: VecDeque<String>,
    /// The next account's number, by the log; `assigned` counts those that are not durable yet.
    next: AccountId,
    /// The epoch in which `next` changed.
    next_dirty: Option<Epoch>,
    /// The next number to give, operations on their way included.
    assigned: AccountId,
    epoch: Epoch,
    /// By address, or `@domain`.
    pub aliases: Whole<Alias>,
    /// By address.
    pub groups: Whole<Group>,
    /// By group, serial and member.
    pub members: Whole<Member>,
    /// By scope.
    pub routes: Whole<Route>,
    /// By address and account.
    pub grants: Whole<Grant>,
    /// By name.
    pub own_keys: Whole<Key>,
    /// By account.
    pub allowances: Whole<Allowance>,
    pub kept_policies: Whole<KeptPolicy>,
    /// By account, alias or group.
    pub marks: Whole<Mark>,
    /// By account and number, with what was fetched.
    pub fetches: Whole<Fetch>,
}

/// `$body` for every table that is in memory whole.
macro_rules! each_whole {
    ($state:expr, $rows:ident => $body:expr) => {{
        {
            let $rows = &$state.aliases;
            $body
        };
        {
            let $rows = &$state.groups;
            $body
        };
        {
            let $rows = &$state.members;
            $body
        };
        {
            let $rows = &$state.routes;
            $body
        };
        {
            let $rows = &$state.grants;
            $body
        };
        {
            let $rows = &$state.own_keys;
            $body
        };
        {
            let $rows = &$state.allowances;
            $body
        };
        {
            let $rows = &$state.kept_policies;
            $body
        };
        {
            let $rows = &$state.marks;
            $body
        };
        {
            let $rows = &$state.fetches;
            $body
        };
    }};
}

/// What memory has about one account.
#[derive(Default)]
pub(crate) struct AccountEntry {
    /// `None`: no such account.
    pub row: Option<AccountRow>,
    /// Operations that need it in memory.
    pub pins: Rc<Cell<u32>>,
    /// A removal is on its way to the log: nothing new may come in behind it.
    pub closing: Rc<Cell<bool>>,
    /// The epoch of the last change; `None` when the projection has it.
    dirty: Option<Epoch>,
    /// Second chance: cleared by `evict`, set by a look-up.
    used_lately: bool,
}

impl AccountEntry {
    /// `None` when the account does not exist or is being removed.
    pub fn live(&self) -> Option<&AccountRow> {
        self.row.as_ref().filter(|_| !self.closing.get())
    }
}

/// What one checkpoint writes.
pub(crate) struct Collected {
    /// Every row that differs from the projection.
    pub changes: Vec<Change>,
    /// The epoch that it settles.
    epoch: Epoch,
    /// The accounts that it has rows of.
    accounts: Vec<AccountId>,
}

impl State {
    /// Empty, as before the first record.
    pub fn new() -> State {
        State {
            domains: BTreeMap::new(),
            domains_dirty: None,
            accounts: HashMap::new(),
            dirty_accounts: HashSet::new(),
            clock: VecDeque::new(),
            keys: BTreeMap::new(),
            dkim_keys: ChangedKeys::new(),
            key_cache: HashMap::new(),
            key_clock: VecDeque::new(),
            next: AccountId(1),
            next_dirty: None,
            assigned: AccountId(1),
            epoch: 1,
            aliases: Whole::default(),
            groups: Whole::default(),
            members: Whole::default(),
            routes: Whole::default(),
            grants: Whole::default(),
            own_keys: Whole::default(),
            allowances: Whole::default(),
            kept_policies: Whole::default(),
            marks: Whole::default(),
            fetches: Whole::default(),
        }
    }

    // Rows in.

    /// From the projection, before anything is replayed.
    pub fn install_counters(&mut self, row: &[u8]) -> Result<(), Broken> {
        self.next = AccountId(read_u32(&mut Reader::new(row))?);
        self.assigned = self.next;
        Ok(())
    }

    /// From the projection; `Broken` for a name that is not UTF-8.
    pub fn install_domain(&mut self, key: &[u8], row: &[u8]) -> Result<(), Broken> {
        let name = std::str::from_utf8(key).map_err(|_| Broken)?.to_owned();
        let domain = Domain {
            present: true,
            accounts: decode_number(row)?,
            ..Domain::default()
        };
        self.domains.insert(name, domain);
        Ok(())
    }

    /// An account that was not in memory; the row may be missing.
    pub fn install_account(
        &mut self,
        account: AccountId,
        row: Option<&[u8]>,
    ) -> Result<(), Broken> {
        let row = row.map(|row| AccountRow::decode(&mut Reader::new(row)));
        let entry = AccountEntry {
            row: row.transpose()?,
            ..AccountEntry::default()
        };
        self.insert_account(account, entry);
        Ok(())
    }

    /// Into the cache; the clock has each account once.
    pub fn insert_account(&mut self, account: AccountId, entry: AccountEntry) {
        if self.accounts.insert(account, entry).is_none() {
            self.clock.push_back(account);
        }
    }

    // Marks.

    /// What changes are stamped with.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its row is written by the next checkpoint.
    pub fn touch_domain(&mut self, domain: &str) {
        if let Some(entry) = self.domains.get_mut(domain) {
            entry.dirty = Some(self.epoch);
            self.domains_dirty = Some(self.epoch);
        }
    }

    /// Its row is written by the next checkpoint.
    pub fn touch_account(&mut self, account: AccountId) {
        if let Some(entry) = self.accounts.get_mut(&account) {
            entry.dirty = Some(self.epoch);
            self.dirty_accounts.insert(account);
        }
    }

    /// An address came (`Some`) or went; the cached answer of the projection is no longer true.
    pub fn put_key(&mut self, key: String, account: Option<AccountId>) {
        self.key_cache.remove(&key);
        self.keys.insert(key, (account, self.epoch));
    }

    /// A DKIM key came, changed or went (`None`).
    pub fn put_dkim_key(&mut self, name: KeyName, row: Option<DkimKeyRow>) {
        self.dkim_keys.insert(name, (row, self.epoch));
    }

    /// The number is taken.
    pub fn raise_next(&mut self, account: AccountId) {
        let next = AccountId(account.0 + 1);
        if next > self.next {
            self.next = next;
            self.next_dirty = Some(self.epoch);
        }
        self.assigned = self.assigned.max(self.next);
    }

    /// A number for a new account.
    pub fn assign(&mut self) -> AccountId {
        let account = self.assigned;
        self.assigned = AccountId(account.0 + 1);
        account
    }

    // Looking up.

    /// The domain of ours that `domain` names in any of its spellings, as we have it.
    pub fn domain(&self, domain: &str) -> Option<(String, &Domain)> {
        let spellings = spelling::domains(domain);
        let mut found = spellings.into_iter().filter_map(|spelled| {
            let entry = self.domains.get(&spelled)?;
            entry.present.then_some((spelled, entry))
        });
        found.next()
    }

    /// As a look-up: the account survives the next `evict`.
    pub fn account_used(&mut self, account: AccountId) -> Option<&mut AccountEntry> {
        let entry = self.accounts.get_mut(&account)?;
        entry.used_lately = true;
        Some(entry)
    }

    /// What is known in memory of an address key: `None` when only the projection knows.
    pub fn key(&self, key: &str) -> Option<Option<AccountId>> {
        if let Some((account, _)) = self.keys.get(key) {
            return Some(*account);
        }
        self.key_cache.get(key).copied()
    }

    /// What changed of the domain's DKIM keys since the projection was written.
    pub fn dkim_keys_changed(
        &self,
        domain: &str,
    ) -> impl Iterator<Item = (&KeyName, &Option<DkimKeyRow>)> {
        let from = KeyName {
            domain: domain.to_owned(),
            selector: String::new(),
        };
        let later = self.dkim_keys.range(from..);
        let of_domain = later.take_while(move |(name, _)| name.domain == domain);
        of_domain.map(|(name, (row, _))| (name, row))
    }

    /// `None`: the projection knows.
    pub fn dkim_key_changed(&self, name: &KeyName) -> Option<&Option<DkimKeyRow>> {
        self.dkim_keys.get(name).map(|(row, _)| row)
    }

    /// Remembers what the projection answered; at most `KEY_CACHE_MAX`, the oldest goes first.
    pub fn cache_key(&mut self, key: String, account: Option<AccountId>) {
        if self.key_cache.insert(key.clone(), account).is_none() {
            self.key_clock.push_back(key);
            if self.key_clock.len() > KEY_CACHE_MAX
                && let Some(oldest) = self.key_clock.pop_front()
            {
                self.key_cache.remove(&oldest);
            }
        }
    }

    /// Brings the cache back under its bound as far as a few looks allow: second chance in arrival order.
    pub fn evict(&mut self) {
        for _ in 0..EVICT_LOOK_MAX {
            if self.accounts.len() <= ACCOUNTS_CACHED_MAX {
                return;
            }
            let Some(id) = self.clock.pop_front() else {
                return;
            };
            let Some(entry) = self.accounts.get_mut(&id) else {
                continue;
            };
            let stays = entry.dirty.is_some() || entry.pins.get() > 0;
            if stays || std::mem::take(&mut entry.used_lately) {
                self.clock.push_back(id);
                continue;
            }
            self.accounts.remove(&id);
        }
    }

    // Rows out.

    /// Whether a checkpoint has anything to write.
    pub fn is_dirty(&self) -> bool {
        self.whole_dirty() > 0
            || !self.dirty_accounts.is_empty()
            || !self.keys.is_empty()
            || !self.dkim_keys.is_empty()
            || self.domains_dirty.is_some()
            || self.next_dirty.is_some()
    }

    /// Whether at least `part` in four of what may wait for a checkpoint waits.
    pub fn is_behind(&self, part: usize) -> bool {
        let waiting =
            self.dirty_accounts.len() + self.keys.len() + self.dkim_keys.len() + self.whole_dirty();
        waiting >= DIRTY_MAX / 4 * part
    }

    /// Rows of the tables that are in memory whole.
    fn whole_dirty(&self) -> usize {
        let mut count = 0;
        each_whole!(self, rows => count += rows.dirty_rows());
        count
    }

    /// Rows that the next checkpoint will write, counted high: room is set aside for them.
    pub fn dirty_rows(&self) -> u64 {
        let domains = match self.domains_dirty {
            Some(_) => self.domains.len().min(self.keys.len() + 1),
            None => 0,
        };
        let waiting = self.dirty_accounts.len() + self.keys.len() + self.dkim_keys.len();
        (waiting + domains + self.whole_dirty()) as u64
    }

    /// Every row that differs from the projection. A new epoch begins.
    pub fn collect(&mut self) -> Collected {
        let mut accounts: Vec<AccountId> = self.dirty_accounts.iter().copied().collect();
        accounts.sort_unstable();
        let mut changes = Vec::new();
        let mut put = |table, key, value| changes.push(Change { table, key, value });
        if self.next_dirty.is_some() {
            let mut row = Vec::new();
            row.put_varint(u64::from(self.next.0));
            put(COUNTERS, Vec::new(), Some(row));
        }
        if self.domains_dirty.is_some() {
            let dirty = self
                .domains
                .iter()
                .filter(|(_, domain)| domain.dirty.is_some());
            for (name, domain) in dirty {
                let row = domain.present.then(|| encode_number(domain.accounts));
                put(DOMAINS, name.as_bytes().to_vec(), row);
            }
        }
        for (key, (account, _)) in &self.keys {
            let row = account.map(|account| encode_number(u64::from(account.0)));
            put(KEYS, key.as_bytes().to_vec(), row);
        }
        for account in &accounts {
            let row = self.accounts[account].row.as_ref().map(|row| {
                let mut out = Vec::with_capacity(160);
                row.encode(&mut out);
                out
            });
            put(ACCOUNTS, account_key(*account), row);
        }
        changes.extend(dkim_key::changes(&self.dkim_keys));
        each_whole!(self, rows => rows.collect(&mut changes));
        let epoch = self.epoch;
        self.epoch += 1;
        Collected {
            changes,
            epoch,
            accounts,
        }
    }

    /// `collected` is durable in the projection: what did not change since is clean.
    pub fn settle(&mut self, collected: &Collected) {
        let epoch = collected.epoch;
        let clear = |stamp: &mut Option<Epoch>| {
            if stamp.is_some_and(|stamp| stamp <= epoch) {
                *stamp = None;
            }
        };
        clear(&mut self.next_dirty);
        if self.domains_dirty.is_some() {
            self.domains
                .values_mut()
                .for_each(|domain| clear(&mut domain.dirty));
            self.domains.retain(|_, domain| {
                domain.present || domain.accounts > 0 || domain.dirty.is_some()
            });
            clear(&mut self.domains_dirty);
        }
        self.keys.retain(|_, (_, stamp)| *stamp > epoch);
        self.dkim_keys.retain(|_, (_, stamp)| *stamp > epoch);
        self.aliases.settle(epoch);
        self.groups.settle(epoch);
        self.members.settle(epoch);
        self.routes.settle(epoch);
        self.grants.settle(epoch);
        self.own_keys.settle(epoch);
        self.allowances.settle(epoch);
        self.kept_policies.settle(epoch);
        self.marks.settle(epoch);
        self.fetches.settle(epoch);
        for id in &collected.accounts {
            let Some(entry) = self.accounts.get_mut(id) else {
                continue;
            };
            clear(&mut entry.dirty);
            if entry.dirty.is_none() {
                self.dirty_accounts.remove(id);
            }
        }
        self.evict();
    }
}
