//! Where a message goes that looks like junk.

use mail::{Flags, Keyword};
use mailbox::{AccountId, Mailboxes, Recipient, SpecialUse};

pub(crate) const INBOX: &str = "INBOX";
const JUNK: &str = "$Junk";

/// Where a copy for the account goes first. In the folder for junk it gets the keyword `$Junk` (RFC 9051 §2.3.2), which mail programs show.
pub(crate) async fn place(mailboxes: &Mailboxes, account: AccountId, is_junk: bool) -> Recipient {
    let mailbox = match is_junk {
        true => folder(mailboxes, account).await,
        false => INBOX.to_owned(),
    };
    let mut flags = Flags::default();
    if mailbox != INBOX {
        flags.keywords.extend(Keyword::parse(JUNK));
    }
    Recipient {
        account,
        mailbox,
        flags,
    }
}

/// The name of the account's folder with the use \Junk (RFC 6154); INBOX where there is none, or where it cannot be read just now: the
/// delivery that follows meets the same fault and answers it, and mail is in INBOX rather than nowhere.
async fn folder(mailboxes: &Mailboxes, account: AccountId) -> String {
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
