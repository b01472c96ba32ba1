//! Where a message goes that looks like junk.

use mailbox::{AccountId, Mailboxes, SpecialUse};

pub(crate) const INBOX: &str = "INBOX";

/// The name of the account's folder with the use \Junk (RFC 6154); INBOX where there is none, or where it cannot be read just now: the
/// delivery that follows meets the same fault and answers it, and mail is in INBOX rather than nowhere.
pub(crate) async fn folder(mailboxes: &Mailboxes, account: AccountId) -> String {
    let folders = match mailboxes.list(account).await {
        Ok(folders) => folders,
        Err(fault) => {
            tracing::debug!(account = account.0, %fault, "no look for a folder for junk");
            Vec::new()
        }
    };
    let mut folders = folders.into_iter();
    let junk =
        folders.find(|folder| folder.special_use == Some(SpecialUse::Junk) && folder.selectable);
    junk.map_or(INBOX.to_owned(), |folder| folder.name)
}
