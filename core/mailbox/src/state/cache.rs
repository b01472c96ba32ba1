//! What may leave memory, and when.

use super::State;
use crate::MailboxId;
use crate::limits::{ACCOUNT_CACHE_MIN, ACCOUNT_CACHE_SHARE, EVICT_LOOK_MAX};

/// A loaded account with a handful of folders.
const ACCOUNT_BYTES: usize = 1_536;

impl State {
    pub fn charge(&mut self, mailbox: MailboxId) {
        if let Some(entry) = self.mailboxes.get_mut(&mailbox) {
            let bytes = entry.memory_bytes();
            self.cached_bytes = self.cached_bytes - entry.charged_bytes + bytes;
            entry.charged_bytes = bytes;
        }
    }

    /// Brings the caches back under their bounds as far as a few looks allow: second chance in arrival order; what is dirty or
    /// pinned stays.
    pub fn evict(&mut self) {
        self.evict_mailboxes();
        self.evict_accounts();
    }

    fn evict_mailboxes(&mut self) {
        for _ in 0..EVICT_LOOK_MAX {
            if self.cached_bytes <= self.cache_bytes_max {
                return;
            }
            let Some(id) = self.mailbox_clock.pop_front() else {
                return;
            };
            let Some(entry) = self.mailboxes.get_mut(&id) else {
                continue;
            };
            if entry.is_dirty()
                || entry.pins.get() > 0
                || entry.pending.get() > 0
                || std::mem::take(&mut entry.used_lately)
            {
                self.mailbox_clock.push_back(id);
                continue;
            }
            self.cached_bytes -= entry.charged_bytes;
            self.mailboxes.remove(&id);
        }
    }

    fn evict_accounts(&mut self) {
        let accounts_max =
            (self.cache_bytes_max / ACCOUNT_CACHE_SHARE / ACCOUNT_BYTES).max(ACCOUNT_CACHE_MIN);
        for _ in 0..EVICT_LOOK_MAX {
            if self.accounts.len() <= accounts_max {
                return;
            }
            let Some(id) = self.account_clock.pop_front() else {
                return;
            };
            let Some(entry) = self.accounts.get_mut(&id) else {
                continue;
            };
            if entry.is_dirty()
                || entry.pins.get() > 0
                || entry.reserved_bytes.get() > 0
                || std::mem::take(&mut entry.used_lately)
            {
                self.account_clock.push_back(id);
                continue;
            }
            self.accounts.remove(&id);
        }
    }
}
