//! Whom each account's folders are shared with: in memory for all accounts that share anything, so that a LIST finds what others share without
//! a look at each account; and what access lists and notes take beside the usual.

use std::collections::BTreeSet;

use super::State;
use crate::AccountId;
use crate::row::{Broken, Who, decode_grantees, read_account_key};

impl State {
    /// A row of `SHARES`.
    pub fn install_shares(&mut self, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        let grantees = decode_grantees(value)?;
        self.shares_count += grantees.len();
        let before = self.shares.insert(read_account_key(key)?, grantees);
        self.shares_count -= before.map_or(0, |before| before.len());
        Ok(())
    }

    /// From now on `account` gives rights to these. The next checkpoint writes it, if it is news.
    pub fn set_shares(&mut self, account: AccountId, now: BTreeSet<Who>) {
        let before = self.shares.get(&account).map_or(0, BTreeSet::len);
        if self.shares.get(&account).is_some_and(|known| *known == now)
            || (before == 0 && now.is_empty())
        {
            return;
        }
        self.shares_count = self.shares_count - before + now.len();
        if now.is_empty() {
            self.shares.remove(&account);
        } else {
            self.shares.insert(account, now);
        }
        let epoch = self.epoch;
        if let Some(entry) = self.accounts.get_mut(&account) {
            entry.shares_dirty = Some(epoch);
            self.dirty_accounts.insert(account);
        }
    }

    /// Counts what the account's access lists and notes take in memory now.
    pub fn charge_account(&mut self, account: AccountId) {
        if let Some(entry) = self.accounts.get_mut(&account) {
            let tree = entry.tree.as_ref();
            let bytes = tree.map_or(0, |tree| {
                tree.access.memory_bytes() + tree.notes.memory_bytes()
            });
            self.account_beside_bytes = self.account_beside_bytes - entry.charged_bytes + bytes;
            entry.charged_bytes = bytes;
        }
    }
}
