//! On the owner's thread: what a session that watches accounts is notified of, worked out from what happened and how things are now.
//!
//! What is reported of a name is how it is at the look, not each step on the way: a folder that was made and is gone again is reported as gone. What the
//! viewer may not see is left out here, so that nothing of it leaves the owner's thread (RFC 4314 §6: without `l` a mailbox is not there).

use std::collections::{BTreeMap, BTreeSet};

use imap::command::StatusItem;
use imap::list::SEPARATOR;
use imap::notify::{Events, NotifySet, Watched};
use mail::{Address, Rights};
use mailbox::{AccountId, MailboxFault, MailboxId, Mailboxes, Notice, Sight, Sought};

use super::super::folders::{Counted, Counts, attribute_of};
use super::super::limits::LOOKED_AT_TOGETHER;
use super::super::place::{root_of, shown};
use super::queue::{Taken, Touched, is_at_or_below};

/// One line for the client.
pub(super) enum Told {
    Status {
        name: String,
        items: Vec<StatusItem>,
        counts: Counts,
    },
    List {
        name: String,
        attributes: Vec<&'static str>,
        /// RFC 5465 §5.4.
        old_name: Option<String>,
    },
    /// RFC 5464 §4.4.2: without its value.
    Annotation { name: String, entry: String },
}

/// Who looks, and for what.
#[derive(Clone)]
pub(super) struct Viewer {
    pub account: AccountId,
    pub set: std::sync::Arc<NotifySet>,
    /// The client keeps modification sequences.
    pub condstore: bool,
    /// The mailbox that is open: of its messages the client hears otherwise.
    pub selected: Option<MailboxId>,
}

/// A name as the client has it, and what is there.
struct Seen {
    pub name: String,
    pub sight: Sight,
    pub is_own: bool,
    pub is_subscribed: bool,
}

/// What was seen of one account.
#[derive(Default)]
struct View {
    by_id: BTreeMap<MailboxId, usize>,
    by_name: BTreeMap<String, usize>,
    seen: Vec<Seen>,
}

impl View {
    fn numbered(&self, mailbox: MailboxId) -> Option<&Seen> {
        self.by_id.get(&mailbox).map(|index| &self.seen[*index])
    }

    fn named(&self, name: &str) -> Option<&Seen> {
        self.by_name.get(name).map(|index| &self.seen[*index])
    }
}

impl Seen {
    /// RFC 5465 §5: what is reported of messages and annotations needs both.
    fn is_open(&self) -> bool {
        let needed = Rights::LOOKUP.with(Rights::READ);
        self.is_own || self.sight.rights.contains(needed)
    }

    pub fn is_listed(&self) -> bool {
        self.is_own || self.sight.rights.contains(Rights::LOOKUP)
    }

    /// As LIST has them; one's own name that is only the parent of others too.
    pub fn attributes(&self) -> Vec<&'static str> {
        let mut attributes = Vec::new();
        let exists = self.sight.mailbox.is_some() && self.is_listed();
        if !exists && self.sight.has_children {
            attributes.push("\\Noselect");
        } else if !exists {
            attributes.push("\\NonExistent");
        } else if !self.is_open() {
            // RFC 5465 §3.1, §5.9.
            attributes.push("\\NoAccess");
        }
        attributes.push(match self.sight.has_children {
            true => "\\HasChildren",
            false => "\\HasNoChildren",
        });
        if self.is_subscribed {
            attributes.push("\\Subscribed");
        }
        if let (true, true, Some(special_use)) = (exists, self.is_own, self.sight.special_use) {
            attributes.push(attribute_of(special_use));
        }
        attributes
    }

    fn list(&self, attributes: Vec<&'static str>) -> Told {
        Told::List {
            name: self.name.clone(),
            attributes,
            old_name: None,
        }
    }
}

/// What the groups together ask of a name: a mailbox in several has the events of all.
pub(super) fn events_of(set: &NotifySet, name: &str, is_own: bool, is_subscribed: bool) -> Events {
    let concerns = |watched: &Watched| match watched {
        // RFC 5465 §6.3: a script may file into any mailbox.
        Watched::Inboxes | Watched::Personal => is_own,
        Watched::Subscribed => is_subscribed,
        Watched::Subtree(names) => names
            .iter()
            .any(|parent| parent.is_empty() || is_at_or_below(name, parent)),
        Watched::Mailboxes(names) => names.iter().any(|other| **other == *name),
    };
    let groups = set.groups.iter();
    let mine = groups.filter(|group| concerns(&group.mailboxes));
    mine.fold(Events::default(), |all, group| all.or(group.events))
}

/// The accounts that the groups may be about, one's own first. Of a namespace as a whole those that share something now; of a name the account that it
/// begins with, shared or not, so that rights that it gives are heard of.
pub(super) async fn accounts(
    mailboxes: &Mailboxes,
    viewer: AccountId,
    set: &NotifySet,
) -> Result<Vec<AccountId>, MailboxFault> {
    let mut addresses: BTreeSet<String> = BTreeSet::new();
    let mut all_others = false;
    for group in &set.groups {
        let names = match &group.mailboxes {
            Watched::Inboxes | Watched::Personal => continue,
            Watched::Subscribed => {
                let names = mailboxes.subscriptions(viewer).await?;
                addresses.extend(
                    names
                        .iter()
                        .filter_map(|name| owner_of(name))
                        .map(str::to_owned),
                );
                continue;
            }
            Watched::Mailboxes(names) => names,
            Watched::Subtree(names) => {
                let is_root = |name: &str| {
                    name.is_empty() || root_of(name).is_some_and(|(_, below)| below.is_empty())
                };
                all_others |= names.iter().any(|name| is_root(name));
                names
            }
        };
        addresses.extend(
            names
                .iter()
                .filter_map(|name| owner_of(name))
                .map(str::to_owned),
        );
    }
    let mut others = BTreeSet::new();
    for address in addresses {
        let Some(address) = Address::from_path(&address) else {
            continue;
        };
        if let Some(account) = mailboxes.directory().account(&address).await? {
            others.insert(account.id);
        }
    }
    if all_others {
        others.extend(mailboxes.sharers_with(viewer).await?);
    }
    others.remove(&viewer);
    Ok(std::iter::once(viewer).chain(others).collect())
}

/// The level of a name in a namespace of others that is an address, if it is one.
fn owner_of(name: &str) -> Option<&str> {
    let (_, below) = root_of(name)?;
    below.split(SEPARATOR).next()
}

/// What the viewer sees of the account, as it calls it. `None`: of another account, whose namespace a folder of one's own hides, or which is gone.
async fn seen(
    mailboxes: &Mailboxes,
    viewer: AccountId,
    account: AccountId,
    sought: Sought<'_>,
) -> Result<Option<Vec<Seen>>, MailboxFault> {
    let found = match mailboxes.sights(viewer, account, sought).await {
        Ok(found) => found,
        Err(MailboxFault::NoAccount) if account != viewer => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let is_own = found.foreign.is_none();
    let mut names: Vec<String> = Vec::with_capacity(found.sights.len());
    match &found.foreign {
        None => names.extend(found.sights.iter().map(|sight| sight.name.clone())),
        Some((address, is_shared)) => {
            let one = shown(*is_shared, address, "x");
            let root = root_of(&one).map_or("", |(root, _)| root);
            // An address with a separator is not reached by a name.
            if address.to_path().contains(SEPARATOR) || mailboxes.has_root(viewer, root).await? {
                return Ok(None);
            }
            let sights = found.sights.iter();
            names.extend(sights.map(|sight| shown(*is_shared, address, &sight.name)));
        }
    }
    let subscribed = mailboxes.are_subscribed(viewer, &names).await?;
    let all = names.into_iter().zip(subscribed).zip(found.sights);
    Ok(Some(
        all.map(|((name, is_subscribed), sight)| Seen {
            name,
            sight,
            is_own,
            is_subscribed,
        })
        .collect(),
    ))
}

/// What is reported at the beginning of the account's next mailboxes (`LOOKED_AT_TOGETHER`) behind the name `after`, and the last of their names where
/// there may be more: a session holds no more of them, however long its client takes to read.
pub(super) async fn first(
    mailboxes: &Mailboxes,
    viewer: &Viewer,
    account: AccountId,
    after: Option<&str>,
) -> Result<(Vec<Told>, Option<String>), MailboxFault> {
    let sought = Sought::After(after, LOOKED_AT_TOGETHER);
    let seen = seen(mailboxes, viewer.account, account, sought).await?;
    let seen = seen.unwrap_or_default();
    let is_full = seen.len() == LOOKED_AT_TOGETHER;
    let last = seen.last().filter(|_| is_full);
    let last = last.map(|seen| seen.sight.name.clone());
    let mut told = Vec::new();
    for seen in seen.iter().filter(|seen| seen.is_listed()) {
        let events = events_of(&viewer.set, &seen.name, seen.is_own, seen.is_subscribed);
        if events.messages {
            told.extend(first_status(mailboxes, viewer, seen, events).await?);
        }
    }
    Ok((told, last))
}

/// What is reported once of a mailbox, at the beginning (RFC 5465 §3.1); `None`: it went meanwhile.
async fn first_status(
    mailboxes: &Mailboxes,
    viewer: &Viewer,
    seen: &Seen,
    events: Events,
) -> Result<Option<Told>, MailboxFault> {
    if !seen.is_open() {
        return Ok(Some(seen.list(seen.attributes())));
    }
    if !viewer.set.status || seen.sight.mailbox == viewer.selected {
        return Ok(None);
    }
    // §3.1: with FlagChange HIGHESTMODSEQ is reported to every client.
    let items = status_items(true, events.flags, events.flags || viewer.condstore);
    status(mailboxes, seen, items).await
}

/// `count`: messages came or went; `flags`: what concerns flags is reported too.
fn status_items(count: bool, flags: bool, modseq: bool) -> Vec<StatusItem> {
    let mut items = Vec::new();
    if count {
        items.extend([StatusItem::Messages, StatusItem::UidNext]);
    }
    items.push(StatusItem::UidValidity);
    if flags {
        items.push(StatusItem::Unseen);
    }
    if modseq {
        items.push(StatusItem::HighestModSeq);
    }
    items
}

async fn status(
    mailboxes: &Mailboxes,
    seen: &Seen,
    items: Vec<StatusItem>,
) -> Result<Option<Told>, MailboxFault> {
    let Some(id) = seen.sight.mailbox else {
        return Ok(None);
    };
    match Counts::of(mailboxes, id, Counted::by(&items)).await {
        Ok(counts) => Ok(Some(Told::Status {
            name: seen.name.clone(),
            items,
            counts,
        })),
        // One that cannot be read for ever does not keep the client from hearing of the others.
        Err(MailboxFault::NoMailbox | MailboxFault::Damaged) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// What is reported of what happened: names first, then counts.
pub(super) async fn told(
    mailboxes: &Mailboxes,
    viewer: &Viewer,
    taken: &Taken,
) -> Result<Vec<Told>, MailboxFault> {
    let mut touched: BTreeMap<MailboxId, Touched> = taken.touched.clone();
    let views = views(mailboxes, viewer, taken).await?;
    let mut told = Vec::new();
    let mut listed = BTreeSet::new();
    for notice in &taken.notices {
        // A folder that was made and then shared is in two notices, and is as it is now.
        let lines = told_of(&views, viewer, notice).into_iter();
        told.extend(lines.filter(|line| match line {
            Told::List {
                name,
                old_name: None,
                ..
            } => listed.insert(name.clone()),
            _ => true,
        }));
        // INBOX is another mailbox now.
        if let Notice::Named { account, name, .. } = notice
            && name == "INBOX"
            && let Some(seen) = views.get(account).and_then(|view| view.named(name))
            && let Some(mailbox) = seen.sight.mailbox
        {
            let inbox = Touched {
                account: *account,
                count: true,
                flags: true,
            };
            touched.insert(mailbox, inbox);
        }
    }
    for (mailbox, touched) in touched {
        if viewer.selected == Some(mailbox) {
            continue;
        }
        let view = views.get(&touched.account);
        let seen = view.and_then(|view| {
            let inbox = view.named("INBOX");
            let inbox = inbox.filter(|seen| seen.sight.mailbox == Some(mailbox));
            view.numbered(mailbox).or(inbox)
        });
        let Some(seen) = seen.filter(|seen| seen.is_open()) else {
            continue;
        };
        let events = events_of(&viewer.set, &seen.name, seen.is_own, seen.is_subscribed);
        let count = touched.count && events.messages;
        if count || (touched.flags && events.flags) {
            let items = status_items(count, events.flags, viewer.condstore);
            told.extend(status(mailboxes, seen, items).await?);
        }
    }
    Ok(told)
}

/// Each account that something happened in, with the names that are asked for.
async fn views(
    mailboxes: &Mailboxes,
    viewer: &Viewer,
    taken: &Taken,
) -> Result<BTreeMap<AccountId, View>, MailboxFault> {
    let mut sought: BTreeMap<AccountId, (BTreeSet<MailboxId>, BTreeSet<String>)> = BTreeMap::new();
    for (mailbox, touched) in &taken.touched {
        sought
            .entry(touched.account)
            .or_default()
            .0
            .insert(*mailbox);
    }
    for notice in &taken.notices {
        match notice {
            Notice::Named {
                account,
                name,
                from,
            } => {
                let names = &mut sought.entry(*account).or_default().1;
                names.insert(name.clone());
                names.extend(from.clone());
            }
            Notice::Unnamed { account, name } => {
                let names = &mut sought.entry(*account).or_default().1;
                names.insert(name.clone());
            }
            Notice::Access {
                account,
                mailbox,
                name,
                ..
            } => {
                let (ids, names) = sought.entry(*account).or_default();
                ids.insert(*mailbox);
                names.insert(name.clone());
            }
            Notice::Noted {
                account, mailbox, ..
            } => _ = sought.entry(*account).or_default().0.insert(*mailbox),
            Notice::Subscribed { name } => {
                let (account, name) = located(mailboxes, viewer.account, name).await?;
                let names = &mut sought.entry(account).or_default().1;
                names.insert(name);
            }
            Notice::Messages { .. } | Notice::Everything => {}
        }
    }
    let mut views = BTreeMap::new();
    for (account, (ids, names)) in sought {
        let ids: Vec<MailboxId> = ids.into_iter().collect();
        let names: Vec<String> = names.into_iter().collect();
        let sought = Sought::Some(&ids, &names);
        let Some(seen) = seen(mailboxes, viewer.account, account, sought).await? else {
            continue;
        };
        let mut view = View::default();
        // Those that were asked for by name are the last ones, in their order.
        let by_number = seen.len() - names.len();
        for (index, seen) in seen.iter().enumerate() {
            match (index < by_number, seen.sight.mailbox) {
                (true, Some(mailbox)) => _ = view.by_id.insert(mailbox, index),
                _ => _ = view.by_name.insert(seen.sight.name.clone(), index),
            }
        }
        view.seen = seen;
        views.insert(account, view);
    }
    Ok(views)
}

/// Whose folder a name is that the viewer subscribed to, and what its owner calls it.
async fn located(
    mailboxes: &Mailboxes,
    viewer: AccountId,
    name: &str,
) -> Result<(AccountId, String), MailboxFault> {
    let below = root_of(name).and_then(|(_, below)| below.split_once(SEPARATOR));
    if let Some((owner, folder)) = below
        && let Some(address) = Address::from_path(owner)
        && let Some(account) = mailboxes.directory().account(&address).await?
        && account.id != viewer
    {
        return Ok((account.id, folder.to_owned()));
    }
    Ok((viewer, name.to_owned()))
}

/// The line about one notice, if the client wants to hear of it and may.
fn told_of(views: &BTreeMap<AccountId, View>, viewer: &Viewer, notice: &Notice) -> Option<Told> {
    let set = &viewer.set;
    let events = |seen: &Seen, name: &str| events_of(set, name, seen.is_own, seen.is_subscribed);
    match notice {
        Notice::Named {
            account,
            name,
            from,
        } => {
            let seen = views.get(account)?.named(name)?;
            // INBOX keeps its name, and gives its messages to another one.
            let from = from.as_deref().filter(|from| *from != "INBOX");
            let before = from.and_then(|from| views.get(account)?.named(from));
            let is_wanted = events(seen, &seen.name).names
                || before.is_some_and(|before| events(before, &before.name).names);
            if !is_wanted {
                return None;
            }
            // Rights that went since: of the new name nothing is said, and the old one is gone all the same.
            if !seen.is_listed() {
                return before.map(|before| before.list(before.attributes()));
            }
            Some(Told::List {
                name: seen.name.clone(),
                attributes: seen.attributes(),
                // Also where it went on, or is gone again: the client follows it from name to name.
                old_name: before.map(|before| before.name.clone()),
            })
        }
        Notice::Unnamed { account, name } => {
            let seen = views.get(account)?.named(name)?;
            let is_wanted = events(seen, &seen.name).names;
            is_wanted.then(|| seen.list(seen.attributes()))
        }
        Notice::Access {
            account,
            mailbox,
            name,
            before,
        } => {
            let view = views.get(account)?;
            let wants = |seen: &&Seen| events(seen, &seen.name) != Events::default();
            let shown = view.numbered(*mailbox).filter(|seen| seen.is_listed());
            if let Some(seen) = shown {
                let now = seen.sight.rights;
                let changed = |right| before.contains(right) != now.contains(right);
                let is_changed = changed(Rights::LOOKUP) || changed(Rights::READ);
                let seen = Some(seen).filter(wants).filter(|_| is_changed);
                return seen.map(|seen| seen.list(seen.attributes()));
            }
            // Never shown, and not now.
            if !before.contains(Rights::LOOKUP) {
                return None;
            }
            // RFC 5465 §5.9, and as if it had ceased (§5.4): by the name that the client knows.
            let seen = view.named(name).filter(wants)?;
            let mut attributes = seen.attributes();
            if !seen.is_listed() {
                attributes.push("\\NoAccess");
            }
            Some(seen.list(attributes))
        }
        Notice::Subscribed { name } => {
            let mut found = views.values().flat_map(|view| &view.seen);
            let seen = found.find(|seen| seen.name == *name)?;
            // One that is not subscribed any more was.
            let is_wanted = events_of(set, name, seen.is_own, true).subscriptions;
            is_wanted.then(|| seen.list(seen.attributes()))
        }
        Notice::Noted {
            account,
            mailbox,
            name,
        } => {
            let annotation = |mailbox: &str| Told::Annotation {
                name: mailbox.to_owned(),
                entry: name.clone(),
            };
            if mailbox.0 == 0 {
                let groups = set.groups.iter();
                let mut wanted = groups.filter(|group| group.events.server_annotations);
                return wanted.next().map(|_| annotation(""));
            }
            let seen = views.get(account)?.numbered(*mailbox)?;
            let is_wanted = events(seen, &seen.name).annotations && seen.is_open();
            is_wanted.then(|| annotation(&seen.name))
        }
        Notice::Messages { .. } | Notice::Everything => None,
    }
}
