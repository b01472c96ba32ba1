//! Annotations of folders (RFC 5464): values under names, with the account or with one of its folders.
//!
//! They stand in the account's row, go along with a rename, and end with their folder. What they take is bounded by itself and is not a part of
//! the quota, which is about messages.

use store::Purpose;

use crate::access::AccessEntry;
use crate::accounts::account_lock;
use crate::limits::{DIRECTORY_ROWS, NOTES_BYTES_PER_ACCOUNT_MAX, NOTES_PER_ACCOUNT_MAX};
use crate::noun::Depth;
use crate::record::Entry;
use crate::{AccountId, MailboxFault, MailboxId, Mailboxes};

/// Stands for the account as a whole.
const OF_ACCOUNT: MailboxId = MailboxId(0);

/// Names with their values.
pub type NoteList = Vec<(String, Vec<u8>)>;

/// A note of a folder, or that there is none, and whose the folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteOn {
    pub owner: AccountId,
    /// Its whole name.
    pub folder: String,
    pub value: Option<Vec<u8>>,
}

impl Mailboxes {
    /// All notes of one of the account's folders, or (`None`) of the account, by name.
    pub async fn notes(
        &self,
        account: AccountId,
        folder: Option<&str>,
    ) -> Result<NoteList, MailboxFault> {
        let mailbox = match folder {
            Some(folder) => self.find(account, folder).await?,
            None => OF_ACCOUNT,
        };
        self.notes_of(account, mailbox).await
    }

    /// What `viewer` may read of the notes of any folder, which it may read: all of one of its own, else those under `/shared/`.
    pub async fn notes_on(
        &self,
        viewer: AccountId,
        mailbox: MailboxId,
    ) -> Result<NoteList, MailboxFault> {
        let owner = {
            let _hold = self.inner.hold_mailbox(mailbox, Depth::Head).await?;
            let state = self.inner.state.borrow();
            let entry = state.mailboxes.get(&mailbox);
            entry.ok_or(MailboxFault::NoMailbox)?.head.account
        };
        let mut notes = self.notes_of(owner, mailbox).await?;
        notes.retain(|(name, _)| owner == viewer || name.starts_with("/shared/"));
        Ok(notes)
    }

    /// One note of a folder, with the folder's owner and the name that the owner gave it. Nothing else is copied: every change of flags may ask.
    pub async fn note_on(&self, mailbox: MailboxId, name: &str) -> Result<NoteOn, MailboxFault> {
        let owner = {
            let _hold = self.inner.hold_mailbox(mailbox, Depth::Head).await?;
            let state = self.inner.state.borrow();
            let entry = state.mailboxes.get(&mailbox);
            entry.ok_or(MailboxFault::NoMailbox)?.head.account
        };
        let _hold = self.hold_live_account(owner).await?;
        let state = self.inner.state.borrow();
        let tree = state.accounts.get(&owner).and_then(|entry| entry.live());
        let tree = tree.ok_or(MailboxFault::NoAccount)?;
        let mut folders = tree.folders.iter();
        let folder = folders.find(|(_, folder)| folder.mailbox == mailbox);
        let (folder, _) = folder.ok_or(MailboxFault::NoMailbox)?;
        Ok(NoteOn {
            owner,
            folder: folder.clone(),
            value: tree.notes.value(mailbox, name).cloned(),
        })
    }

    /// The same, of a folder by its number. One that the account has not has no notes.
    async fn notes_of(
        &self,
        account: AccountId,
        mailbox: MailboxId,
    ) -> Result<NoteList, MailboxFault> {
        let _hold = self.hold_live_account(account).await?;
        let state = self.inner.state.borrow();
        let tree = state.accounts.get(&account).and_then(|entry| entry.live());
        let notes = &tree.ok_or(MailboxFault::NoAccount)?.notes;
        let all = notes.of(mailbox);
        Ok(all
            .map(|(name, value)| (name.to_owned(), value.to_vec()))
            .collect())
    }

    /// Sets values, and takes those out that are `None`: all of them, or none. `TooMany`: they would not fit the account's bounds.
    pub async fn set_notes(
        &self,
        account: AccountId,
        folder: Option<&str>,
        values: Vec<(String, Option<Vec<u8>>)>,
    ) -> Result<(), MailboxFault> {
        self.inner
            .deleting(DIRECTORY_ROWS, async || {
                self.try_set_notes(account, folder, &values).await
            })
            .await
    }

    async fn try_set_notes(
        &self,
        account: AccountId,
        folder: Option<&str>,
        values: &[(String, Option<Vec<u8>>)],
    ) -> Result<(), MailboxFault> {
        let _locked = self.inner.locks.lock(account_lock(account)).await;
        let mailbox = match folder {
            Some(folder) => self.find(account, folder).await?,
            None => OF_ACCOUNT,
        };
        let hold = self.hold_live_account(account).await?;
        let mut entries: Vec<Entry> = Vec::new();
        {
            let state = self.inner.state.borrow();
            let tree = state.accounts.get(&account).and_then(|entry| entry.live());
            let before = &tree.ok_or(MailboxFault::NoAccount)?.notes;
            let mut notes = before.clone();
            for (name, value) in values {
                if notes.value(mailbox, name) == value.as_ref() {
                    continue;
                }
                notes.set(mailbox, name, value.as_deref());
                let note = AccessEntry::Note {
                    account,
                    mailbox,
                    name: name.clone(),
                    value: value.clone(),
                };
                entries.push(note.into());
            }
            let more = notes.count() > before.count() && notes.count() > NOTES_PER_ACCOUNT_MAX;
            let larger = notes.bytes() > before.bytes();
            if more || (larger && notes.bytes() > NOTES_BYTES_PER_ACCOUNT_MAX) {
                return Err(MailboxFault::TooMany("annotations"));
            }
        }
        if entries.is_empty() {
            return Ok(());
        }
        let purpose = match values.iter().all(|(_, value)| value.is_none()) {
            true => Purpose::Delete,
            false => Purpose::Keep,
        };
        let committed = self.inner.commit_for(purpose, Vec::new(), entries, hold);
        committed.await?;
        Ok(())
    }
}
