//! A table of recipients from the directory, beside the mailboxes.
//!
//! Page by page: other work of the owner's thread runs between. A change of the directory meanwhile makes the table one of both times; the next
//! one, seconds later, has it. A fault makes no table at all: an address that could not be read is not one that is not there.

use mailbox::names::Route;
use mailbox::{MailboxFault, Mailboxes};

use super::{Draft, Rest, Sign, TABLE_BYTES_MAX};
use crate::reserved::is_reserved;

/// Everything that other nodes may know of our addresses.
pub async fn snapshot(mailboxes: &Mailboxes) -> Result<Draft, MailboxFault> {
    snapshot_within(mailboxes, TABLE_BYTES_MAX).await
}

/// More than `bytes_max` are not collected: the plan has room for one table, not for a directory of any size.
pub(super) async fn snapshot_within(
    mailboxes: &Mailboxes,
    bytes_max: usize,
) -> Result<Draft, MailboxFault> {
    let directory = mailboxes.directory();
    let mut draft = Draft::default();
    let mut counted = (0, 0);
    let mut fits = |draft: &Draft| {
        let new = &draft.addresses[counted.0..];
        counted.1 += new
            .iter()
            .map(|(key, _)| key.len() + ENTRY_BYTES)
            .sum::<usize>();
        counted.0 = draft.addresses.len();
        match counted.1 <= bytes_max {
            true => Ok(()),
            false => Err(MailboxFault::TooMany("addresses for a table of recipients")),
        }
    };
    for domain in directory.domains() {
        // The quarantine's: no mail from outside is for it.
        if is_reserved(&domain) {
            continue;
        }
        let routed = matches!(directory.route_of_domain(&domain), Some(Route::Host { .. }));
        let leads_on = routed || directory.catch_all(&domain).is_some();
        draft.domains.push((domain, Rest { leads_on }));
    }
    // The order of `addresses::meaning`: a route of an address, an alias, a group, an account; the first entry of a key counts.
    let mut after: Option<String> = None;
    loop {
        // until a page is not full
        let page = directory.routes(after.as_deref(), PAGE);
        let is_last = page.len() < PAGE;
        after = page.last().map(|(scope, _)| scope.clone());
        for (scope, route) in page {
            let names_address = scope.find('@').is_some_and(|at| at > 0);
            if names_address && matches!(route, Route::Host { .. }) {
                draft.addresses.push((scope, Sign::Listed));
            }
        }
        fits(&draft)?;
        if is_last {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut after: Option<String> = None;
    loop {
        // until a page is not full
        let page = directory.aliases(after.as_deref(), PAGE);
        let is_last = page.len() < PAGE;
        after = page.last().map(|(name, _)| name.clone());
        let named = page.into_iter().filter(|(name, _)| !name.starts_with('@'));
        let listed = named.map(|(name, _)| (name, Sign::Listed));
        draft.addresses.extend(listed);
        fits(&draft)?;
        if is_last {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut after: Option<String> = None;
    loop {
        // until a page is not full
        let page = directory.groups(after.as_deref(), PAGE);
        let is_last = page.len() < PAGE;
        after = page.last().map(|(name, ..)| name.clone());
        let listed = page.into_iter().map(|(name, ..)| (name, Sign::Group));
        draft.addresses.extend(listed);
        fits(&draft)?;
        if is_last {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut after: Option<String> = None;
    loop {
        // until a page is not full
        let page = mailboxes.accounts(after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|account| account.address.key());
        for account in page {
            if is_reserved(account.address.domain()) {
                continue;
            }
            let is_full = account.quota_bytes > 0 && account.used_bytes >= account.quota_bytes;
            let sign = match is_full {
                true => Sign::Full(account.id),
                false => Sign::Account(account.id),
            };
            draft.addresses.push((account.address.key(), sign));
        }
        fits(&draft)?;
        if is_last {
            return Ok(draft);
        }
        tokio::task::yield_now().await;
    }
}

/// Of an entry of a table beside its key.
const ENTRY_BYTES: usize = 9;
/// Entries read at a time.
const PAGE: usize = 256;
