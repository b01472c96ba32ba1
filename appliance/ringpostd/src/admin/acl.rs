//! Access lists, as administrators look at them and change them. Each change is in the audit, and so is each grant to send under an address.

use std::time::{SystemTime, UNIX_EPOCH};

use ::admin::acl::{Ask, Changed, Entry, Folder, Lists};
use ::admin::addresses::Ask as Addresses;
use mail::{Rights, RightsChange};
use mailbox::{AccessChanged, AccessLine, Mailboxes};
use serde_json::Value;

use crate::admin::accounts::{exactly, parse_address};
use crate::admin::caller::Caller;
use crate::admin::shared::{Admin, Refused, document};
use crate::audit;

/// Performs a request about access lists.
pub(crate) async fn perform(admin: &Admin, ask: Ask, caller: &Caller) -> Result<Value, Refused> {
    match ask {
        Ask::List { account, folder } => document(&list(admin, &account, folder).await?),
        Ask::Set {
            account,
            folder,
            identifier,
            rights,
        } => {
            let change = RightsChange::parse(&rights).ok_or_else(|| {
                format!("`{rights}` are not rights: use letters of lrswipkxtea, behind + or - for a change")
            })?;
            document(&set(admin, &account, folder, identifier, change, caller).await?)
        }
        Ask::Remove {
            account,
            folder,
            identifier,
        } => {
            let change = RightsChange::Replace(Rights::NONE);
            document(&set(admin, &account, folder, identifier, change, caller).await?)
        }
        Ask::Share { account, shared } => {
            let address = parse_address(&account)?;
            let work = async move |mailboxes: Mailboxes| {
                let found = exactly(&mailboxes, &address).await?;
                mailboxes.mark_shared(found.id, shared).await
            };
            let before = admin.mailboxes(work).await?;
            if before != shared {
                let now = if shared { "shared" } else { "not shared" };
                note(caller, &format!("the folders of {account}: {now} now"));
            }
            document(&())
        }
    }
}

async fn list(admin: &Admin, account: &str, folder: Option<String>) -> Result<Lists, Refused> {
    let address = parse_address(account)?;
    let work = async move |mailboxes: Mailboxes| {
        let found = exactly(&mailboxes, &address).await?;
        let (shared, mut folders) = mailboxes.all_access(found.id).await?;
        if let Some(folder) = folder {
            // A folder that does not exist is an error; one without a list is not.
            let lines = mailboxes.access(found.id, &folder).await?;
            folders = vec![(folder, lines)];
        }
        let entry = |line: AccessLine| Entry {
            identifier: line.identifier,
            rights: line.rights.to_string(),
        };
        let folders = folders.into_iter().map(|(folder, lines)| Folder {
            folder,
            entries: lines.into_iter().map(entry).collect(),
        });
        Ok(Lists {
            account: found.address.to_path(),
            shared,
            folders: folders.collect(),
        })
    };
    admin.mailboxes(work).await
}

async fn set(
    admin: &Admin,
    account: &str,
    folder: String,
    identifier: String,
    change: RightsChange,
    caller: &Caller,
) -> Result<Changed, Refused> {
    let address = parse_address(account)?;
    let work = async move |mailboxes: Mailboxes| {
        let found = exactly(&mailboxes, &address).await?;
        let changed = mailboxes.change_access(found.id, &folder, &identifier, change);
        changed.await
    };
    let changed: AccessChanged = admin.mailboxes(work).await?;
    if changed.before != changed.after {
        note(caller, &client::imap::described(&changed));
    }
    Ok(Changed {
        account: changed.owner.to_path(),
        folder: changed.folder,
        identifier: changed.identifier,
        before: changed.before.to_string(),
        after: changed.after.to_string(),
    })
}

/// A line of the audit.
pub(crate) fn note(caller: &Caller, what: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |span| span.as_secs() as i64);
    audit::note_change(now, &caller.who, caller.door, what);
}

/// What is recorded of a change of who may send under which address.
pub(crate) fn of_grant(ask: &Addresses) -> Option<String> {
    match ask {
        Addresses::Grant {
            address,
            account,
            granted,
        } => {
            let now = if *granted { "granted" } else { "revoked" };
            Some(format!("{account} may send as {address}: {now}"))
        }
        _ => None,
    }
}
