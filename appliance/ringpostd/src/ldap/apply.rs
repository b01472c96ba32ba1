//! Accounts, aliases and groups of another directory, as they are here, and one change of them at a time: mail goes on between.

use std::collections::{BTreeMap, BTreeSet};

use mail::Address;
use mailbox::names::{Listed, Mark, Marked, Posters};
use mailbox::{AccountId, MailboxFault, Mailboxes};
use storage::logins::ChangeFault;
use storage::outgoing::Outgoing;
use storage::outside;
use storage::owner::Owner;

use super::differences::{Change, Here, HereAccount};
use super::{canonical, parse};

/// What is marked here. `Err`: not all of it was read.
pub(crate) async fn here(owner: &Owner) -> Result<Here, String> {
    let marks = ask(owner, |outgoing: Outgoing| async move {
        outgoing.mailboxes().directory().marked_accounts()
    });
    let marks = marks.await?;
    let mut here = Here::default();
    for page in marks.chunks(PAGE) {
        let page = page.to_vec();
        let found = ask(owner, move |outgoing: Outgoing| async move {
            accounts(outgoing.mailboxes(), page).await
        });
        for (id, mark, key) in found.await?.map_err(|fault| fault.to_string())? {
            match key {
                Some(key) => {
                    let is_disabled = mark.is_disabled;
                    here.accounts.insert(key, HereAccount { id, is_disabled });
                }
                None => here.orphans.push(id),
            }
        }
    }
    let names = ask(owner, |outgoing: Outgoing| async move {
        names(outgoing.mailboxes())
    });
    (here.aliases, here.groups) = names.await?;
    Ok(here)
}

async fn accounts(
    mailboxes: &Mailboxes,
    page: Vec<(AccountId, Mark)>,
) -> Result<Vec<(AccountId, Mark, Option<String>)>, MailboxFault> {
    let mut found = Vec::new();
    for (id, mark) in page {
        let account = mailboxes.directory().account_by_id(id).await?;
        found.push((id, mark, account.map(|account| canonical(&account.address))));
    }
    Ok(found)
}

type Names = BTreeMap<String, Option<BTreeSet<String>>>;

fn names(mailboxes: &Mailboxes) -> (Names, Names) {
    let directory = mailboxes.directory();
    let keys =
        |addresses: Vec<Address>| -> BTreeSet<String> { addresses.iter().map(canonical).collect() };
    let alias = |name: String| {
        let known = directory.alias(&name);
        let targets = known.map(|(_, alias)| keys(alias.targets));
        (name, targets)
    };
    let group = |name: String| {
        let known = parse(&name).and_then(|address| directory.listed(&address));
        let members = match known {
            Some(Listed::Group(listed, group)) => Some(keys(directory.members(&listed, &group))),
            _ => None,
        };
        (name, members)
    };
    let aliases = directory.marked_names(Marked::Alias).into_iter();
    let groups = directory.marked_names(Marked::Group).into_iter();
    (aliases.map(alias).collect(), groups.map(group).collect())
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Made,
    /// The address is here already, and is of this directory alone.
    Kept,
}

/// Makes one change. `Err`: one sentence.
pub(crate) async fn apply(owner: &Owner, change: Change, quota_bytes: u64) -> Result<Done, String> {
    let done = ask(owner, move |outgoing: Outgoing| async move {
        perform(&outgoing, change, quota_bytes).await
    });
    match done.await? {
        Ok(()) => Ok(Done::Made),
        Err(ChangeFault::Account(MailboxFault::Exists)) => Ok(Done::Kept),
        Err(fault) => Err(fault.to_string()),
    }
}

async fn perform(outgoing: &Outgoing, change: Change, quota_bytes: u64) -> Result<(), ChangeFault> {
    let directory = outgoing.mailboxes().directory();
    match change {
        Change::MakeAccount(name) => {
            let address = parse(&name).ok_or(MailboxFault::NoAccount)?;
            outside::account(outgoing, &address, Some(quota_bytes)).await?;
        }
        Change::Disable(_, account) => outside::set_disabled(outgoing, account, true).await?,
        Change::Enable(_, account) => outside::set_disabled(outgoing, account, false).await?,
        Change::PutAlias(name, targets) => {
            unless_ours(outgoing, Marked::Alias, &name)?;
            // The mark first: an alias that is there without one would be of this directory alone.
            mark(outgoing, Marked::Alias, &name, true).await?;
            let targets = targets.iter().filter_map(|target| parse(target)).collect();
            let put = directory.put_alias(&name, targets).await;
            if put.is_err() && directory.alias(&name).is_none() {
                mark(outgoing, Marked::Alias, &name, false).await?;
            }
            put.map_err(MailboxFault::from)?;
        }
        Change::RemoveAlias(name) => {
            if directory.alias(&name).is_some() {
                directory
                    .remove_alias(&name)
                    .await
                    .map_err(MailboxFault::from)?;
            }
            mark(outgoing, Marked::Alias, &name, false).await?;
        }
        Change::MakeGroup {
            name,
            title,
            members,
        } => {
            unless_ours(outgoing, Marked::Group, &name)?;
            mark(outgoing, Marked::Group, &name, true).await?;
            if !has_group(outgoing, &name) {
                let domain = name.rsplit_once('@').map_or("", |(_, domain)| domain);
                let owner = parse(&format!("postmaster@{domain}"));
                let owner = owner.ok_or(MailboxFault::NoAccount)?;
                let title: String = title.chars().filter(|letter| is_plain(*letter)).collect();
                let title: String = title.chars().take(TITLE_LETTERS_MAX).collect();
                let made = directory
                    .make_group(&name, Posters::OwnDomain, owner, &title)
                    .await;
                if made.is_err() && !has_group(outgoing, &name) {
                    mark(outgoing, Marked::Group, &name, false).await?;
                }
                made.map_err(MailboxFault::from)?;
            }
            change_members(outgoing, &name, members, true).await?;
        }
        Change::AlterGroup { name, add, drop } => {
            change_members(outgoing, &name, add, true).await?;
            change_members(outgoing, &name, drop, false).await?;
        }
        Change::RemoveGroup(name) => {
            if has_group(outgoing, &name) {
                directory
                    .remove_group(&name)
                    .await
                    .map_err(MailboxFault::from)?;
            }
            mark(outgoing, Marked::Group, &name, false).await?;
        }
        Change::ForgetMark(account) => {
            directory
                .remove_mark(account)
                .await
                .map_err(MailboxFault::from)?;
        }
    }
    Ok(())
}

/// `Exists`: the address stands for something that the other directory does not own.
fn unless_ours(outgoing: &Outgoing, what: Marked, name: &str) -> Result<(), ChangeFault> {
    let directory = outgoing.mailboxes().directory();
    let address = parse(name).ok_or(MailboxFault::NoAccount)?;
    match directory.listed(&address) {
        Some(_) if !directory.is_marked(what, name) => Err(MailboxFault::Exists.into()),
        _ => Ok(()),
    }
}

fn has_group(outgoing: &Outgoing, name: &str) -> bool {
    let directory = outgoing.mailboxes().directory();
    let listed = parse(name).and_then(|address| directory.listed(&address));
    matches!(listed, Some(Listed::Group(..)))
}

async fn mark(
    outgoing: &Outgoing,
    what: Marked,
    name: &str,
    is_marked: bool,
) -> Result<(), ChangeFault> {
    let directory = outgoing.mailboxes().directory();
    let marked = directory.mark(what, name, is_marked).await;
    Ok(marked.map_err(MailboxFault::from)?)
}

async fn change_members(
    outgoing: &Outgoing,
    name: &str,
    members: BTreeSet<String>,
    is_added: bool,
) -> Result<(), ChangeFault> {
    let directory = outgoing.mailboxes().directory();
    let members: Vec<Address> = members.iter().filter_map(|member| parse(member)).collect();
    for page in members.chunks(PAGE) {
        let page = page.to_vec();
        let changed = match is_added {
            true => directory.add_members(name, page).await,
            false => directory.drop_members(name, page).await,
        };
        changed.map_err(MailboxFault::from)?;
    }
    Ok(())
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_graphic() && !"<>\"\\".contains(letter) || letter == ' '
}

/// A full lane is a failure of this change alone: the next reading finds it again.
async fn ask<T, F, W>(owner: &Owner, work: W) -> Result<T, String>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
    W: FnOnce(Outgoing) -> F + Send + 'static,
{
    let done = owner.ask_outgoing(work).await;
    done.map_err(|busy| format!("{busy}: run it again"))
}

/// Accounts, or members, that one step on the owner's thread looks at.
const PAGE: usize = 400;
const TITLE_LETTERS_MAX: usize = 100;
