//! Watches of whole accounts, as sessions begin and end them. What is reported is in `notice`.

use crate::limits::{ACCOUNT_WATCHES_MAX, ACCOUNTS_WATCHED_MAX};
use crate::notice::{AccountWatch, Notice};
use crate::row::AccessList;
use crate::sharing::Viewer;
use crate::{AccountId, MailboxFault, Mailboxes};

impl Mailboxes {
    /// `bell` is called on this thread about each thing that became durable in one of `accounts`, until `unwatch_accounts(key)`, or as long as there are
    /// these mailboxes; or it answers `false`: the session is gone, and could not end its watch. It must be cheap and not call back in. `key` is the session's own; a watch under it is replaced, and with a fault it is
    /// gone all the same.
    pub async fn watch_accounts(
        &self,
        key: u64,
        viewer: AccountId,
        accounts: Vec<AccountId>,
        bell: Box<dyn Fn(Notice) -> bool>,
    ) -> Result<(), MailboxFault> {
        let found = self.directory().account_by_id(viewer).await;
        let mut watchers = self.inner.account_watchers.borrow_mut();
        // Not before: what happens meanwhile is reported to the watch that is replaced.
        watchers.remove(key);
        let address = found?.ok_or(MailboxFault::NoAccount)?.address;
        if accounts.len() > ACCOUNTS_WATCHED_MAX
            || watchers.count + accounts.len() > ACCOUNT_WATCHES_MAX
        {
            return Err(MailboxFault::TooMany("watched accounts"));
        }
        let directory = self.directory().clone();
        let rights = Box::new(move |list: Option<&AccessList>| {
            Viewer::new(&directory, viewer, address.clone()).rights(list)
        });
        let watch = AccountWatch {
            viewer,
            accounts,
            rights,
            bell,
        };
        watchers.add(key, watch);
        Ok(())
    }

    /// Ends the watch under `key`, where there is one.
    pub fn unwatch_accounts(&self, key: u64) {
        self.inner.account_watchers.borrow_mut().remove(key);
    }

    /// Entries of all watches of accounts, for tests and metrics.
    pub fn account_watches(&self) -> usize {
        self.inner.account_watchers.borrow().count
    }
}
