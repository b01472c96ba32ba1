//! Aliases, groups and routes: made, listed, changed, removed.

use std::time::{SystemTime, UNIX_EPOCH};

use ::admin::addresses::{AliasDetail, AliasLine, Ask, GroupDetail, GroupLine, Posters, RouteLine};
use ::storage::addresses;
use client::relay::FixedServer;
use mail::Address;
use mailbox::names::{self, Group, GroupChange, Listed, Marked, Route};
use mailbox::{MailboxFault, Mailboxes};
use serde_json::Value;

use crate::admin::accounts::parse_address;
use crate::admin::limits::ACCOUNTS_PAGE;
use crate::admin::shared::{Admin, Refused, document};

/// Performs a request about addresses that have no mailbox.
pub(crate) async fn perform(admin: &Admin, ask: Ask) -> Result<Value, Refused> {
    match ask {
        Ask::AliasAdd { name, targets } => document(&add_targets(admin, name, targets).await?),
        Ask::AliasRemove { name, targets } => {
            document(&remove_targets(admin, name, targets).await?)
        }
        Ask::AliasList => document(&aliases(admin).await?),
        Ask::AliasShow { name } => document(&alias(admin, name).await?),
        Ask::Grant {
            address,
            account,
            granted,
        } => document(&grant(admin, &address, &account, granted).await?),
        Ask::Allowance { account, times } => document(&allow(admin, &account, times).await?),
        Ask::GroupMake {
            name,
            owner,
            posters,
            title,
        } => document(&make_group(admin, name, &owner, posters, title).await?),
        Ask::GroupRemove { name } => document(
            &admin
                .mailboxes(async move |mailboxes| {
                    let directory = mailboxes.directory();
                    directory.remove_group(&name).await?;
                    Ok(directory
                        .mark(Marked::Group, &name.to_lowercase(), false)
                        .await?)
                })
                .await?,
        ),
        Ask::GroupAdd { name, members } => document(&change(admin, name, members, true).await?),
        Ask::GroupDrop { name, members } => document(&change(admin, name, members, false).await?),
        Ask::GroupList => document(&groups(admin).await?),
        Ask::GroupShow { name } => document(&group(admin, name).await?),
        Ask::GroupSet {
            name,
            owner,
            posters,
            title,
        } => {
            let change = GroupChange {
                owner: owner.as_deref().map(parse_address).transpose()?,
                posters: posters.map(of_word),
                title,
            };
            let work = async move |mailboxes: Mailboxes| {
                Ok(mailboxes.directory().change_group(&name, change).await?)
            };
            document(&admin.mailboxes(work).await?)
        }
        Ask::RouteSet {
            scope,
            host,
            needs_tls,
        } => document(&set_route(admin, scope, host, needs_tls).await?),
        Ask::RouteRemove { scope } => document(
            &admin
                .mailboxes(async move |mailboxes| {
                    Ok(mailboxes.directory().remove_route(&scope).await?)
                })
                .await?,
        ),
        Ask::RouteList => document(&routes(admin).await?),
    }
}

/// Every text as an address, or a sentence about the first that is not one.
fn parsed(texts: &[String]) -> Result<Vec<Address>, Refused> {
    texts.iter().map(|text| parse_address(text)).collect()
}

/// Adds targets to an alias. The directory makes the alias where it is missing.
async fn add_targets(admin: &Admin, name: String, targets: Vec<String>) -> Result<(), Refused> {
    let targets = parsed(&targets)?;
    let work = async move |mailboxes: Mailboxes| {
        // The change is a function of what is there, applied under the directory's lock: two operators who add at the same time both add.
        let more = |mut known: Vec<Address>| {
            known.extend(targets);
            Ok(known)
        };
        Ok(mailboxes.directory().alter_alias(&name, more).await?)
    };
    admin.mailboxes(work).await
}

/// Takes targets out of an alias. The alias goes with its last target.
async fn remove_targets(admin: &Admin, name: String, targets: Vec<String>) -> Result<(), Refused> {
    let targets = parsed(&targets)?;
    let work = async move |mailboxes: Mailboxes| {
        let directory = mailboxes.directory();
        let (listed, alias) = directory.alias(&name).ok_or(NO_ALIAS)?;
        let stays = |known: &Address| !targets.iter().any(|target| target.key() == known.key());
        // An alias without targets would take mail and lose it.
        if targets.is_empty() || !alias.targets.iter().any(stays) {
            directory.remove_alias(&name).await?;
            // One of this name that an administrator makes later is not the other directory's.
            return Ok(directory.mark(Marked::Alias, &listed, false).await?);
        }
        if alias.targets.iter().all(stays) {
            return Err(MailboxFault::Refused("the alias has none of these targets"));
        }
        let fewer = |mut known: Vec<Address>| {
            known.retain(stays);
            Ok(known)
        };
        Ok(directory.alter_alias(&name, fewer).await?)
    };
    admin.mailboxes(work).await
}

/// Every alias, a page at a time: the storage thread serves mail between two pages.
async fn aliases(admin: &Admin) -> Result<Vec<AliasLine>, Refused> {
    let mut lines: Vec<AliasLine> = Vec::new();
    loop {
        // until a page is not full
        let after = lines.last().map(|line| line.name.clone());
        let page = admin.mailboxes(async move |mailboxes| {
            let page = mailboxes
                .directory()
                .aliases(after.as_deref(), ACCOUNTS_PAGE);
            Ok(page
                .into_iter()
                .map(|(name, alias)| alias_line(name, &alias.targets))
                .collect::<Vec<_>>())
        });
        let page = page.await?;
        let full = page.len() == ACCOUNTS_PAGE;
        lines.extend(page);
        if !full {
            return Ok(lines);
        }
    }
}

fn alias_line(name: String, targets: &[Address]) -> AliasLine {
    AliasLine {
        name,
        targets: targets.iter().map(Address::to_path).collect(),
    }
}

/// One alias, and where its mail would end now: the same look-up as at reception.
async fn alias(admin: &Admin, name: String) -> Result<AliasDetail, Refused> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |span| span.as_secs());
    let work = async move |mailboxes: Mailboxes| {
        let directory = mailboxes.directory();
        let (name, alias) = directory.alias(&name).ok_or(NO_ALIAS)?;
        // A catch-all is looked at by a name that nothing else has.
        let address = match name.strip_prefix('@') {
            Some(domain) => Address::from_parts("\u{1f4ed}", domain),
            None => Address::from_path(&name),
        };
        let address = address.ok_or(NO_ALIAS)?;
        let mut detail = AliasDetail {
            alias: alias_line(name, &alias.targets),
            here: Vec::new(),
            elsewhere: Vec::new(),
            refused: None,
            granted: granted(&mailboxes, &address).await?,
        };
        match addresses::lead(&mailboxes, &address, now).await? {
            Ok(led) => {
                let here = led.here.iter().map(|(_, address)| address.to_path());
                detail.here = here.collect();
                detail.elsewhere = led.elsewhere.iter().map(Address::to_path).collect();
            }
            Err(addresses::Refused::Loop) => {
                // Shown, and not refused when it was made: the circle may close by a change of the other alias.
                detail.refused = Some("it leads back to itself, or to too many addresses".into());
            }
            Err(_) => detail.refused = Some("it leads to no mailbox".into()),
        }
        Ok(detail)
    };
    admin.mailboxes(work).await
}

/// The accounts that may send under an address, those that are gone left out.
async fn granted(mailboxes: &Mailboxes, address: &Address) -> Result<Vec<String>, MailboxFault> {
    let directory = mailboxes.directory();
    let mut names = Vec::new();
    for account in directory.grants(address) {
        let account = directory.account_by_id(account).await?;
        names.extend(account.map(|account| account.address.to_path()));
    }
    Ok(names)
}

/// Gives an account the right to send under an address, or takes it back.
async fn grant(admin: &Admin, address: &str, account: &str, granted: bool) -> Result<(), Refused> {
    let (address, account) = (parse_address(address)?, parse_address(account)?);
    let work = async move |mailboxes: Mailboxes| {
        let found = mailboxes.account(&account).await?;
        let found = found.ok_or(MailboxFault::NoAccount)?;
        Ok(mailboxes
            .directory()
            .grant(&address, found.id, granted)
            .await?)
    };
    admin.mailboxes(work).await
}

/// Sets how many times the usual number of messages an account may send.
async fn allow(admin: &Admin, account: &str, times: u32) -> Result<(), Refused> {
    let account = parse_address(account)?;
    let work = async move |mailboxes: Mailboxes| {
        let found = mailboxes.account(&account).await?;
        let found = found.ok_or(MailboxFault::NoAccount)?;
        Ok(mailboxes.directory().set_allowance(found.id, times).await?)
    };
    admin.mailboxes(work).await
}

async fn make_group(
    admin: &Admin,
    name: String,
    owner: &str,
    posters: Posters,
    title: String,
) -> Result<(), Refused> {
    let owner = parse_address(owner)?;
    let work = async move |mailboxes: Mailboxes| {
        let made = mailboxes
            .directory()
            .make_group(&name, of_word(posters), owner, &title);
        Ok(made.await?)
    };
    admin.mailboxes(work).await
}

/// Adds members, or takes them out. Returns how many were not members before, or how many were.
async fn change(
    admin: &Admin,
    name: String,
    members: Vec<String>,
    added: bool,
) -> Result<usize, Refused> {
    let members = parsed(&members)?;
    let work = async move |mailboxes: Mailboxes| {
        let directory = mailboxes.directory();
        Ok(match added {
            true => directory.add_members(&name, members).await?,
            false => directory.drop_members(&name, members).await?,
        })
    };
    admin.mailboxes(work).await
}

/// Every group, a page at a time.
async fn groups(admin: &Admin) -> Result<Vec<GroupLine>, Refused> {
    let mut lines: Vec<GroupLine> = Vec::new();
    loop {
        // until a page is not full
        let after = lines.last().map(|line| line.name.clone());
        let page = admin.mailboxes(async move |mailboxes| {
            let page = mailboxes
                .directory()
                .groups(after.as_deref(), ACCOUNTS_PAGE);
            let line =
                |(name, group, members): (String, Group, usize)| group_line(name, &group, members);
            Ok(page.into_iter().map(line).collect::<Vec<_>>())
        });
        let page = page.await?;
        let full = page.len() == ACCOUNTS_PAGE;
        lines.extend(page);
        if !full {
            return Ok(lines);
        }
    }
}

fn group_line(name: String, group: &Group, members: usize) -> GroupLine {
    GroupLine {
        name,
        title: group.title.clone(),
        owner: group.owner.to_path(),
        posters: match group.posters {
            names::Posters::Anyone => Posters::Anyone,
            names::Posters::Members => Posters::Members,
            names::Posters::OwnDomain => Posters::Domain,
        },
        members,
    }
}

/// One group with its members and with the accounts that may send under its address.
async fn group(admin: &Admin, name: String) -> Result<GroupDetail, Refused> {
    let address = parse_address(&name)?;
    let work = async move |mailboxes: Mailboxes| {
        let directory = mailboxes.directory();
        let Some(Listed::Group(name, group)) = directory.listed(&address) else {
            return Err(MailboxFault::Refused("no such group"));
        };
        let members = directory.members(&name, &group);
        Ok(GroupDetail {
            group: group_line(name, &group, members.len()),
            members: members.iter().map(Address::to_path).collect(),
            granted: granted(&mailboxes, &address).await?,
        })
    };
    admin.mailboxes(work).await
}

/// Sets a route. The server is parsed here, so that a misspelled one is refused before anything is stored.
async fn set_route(
    admin: &Admin,
    scope: String,
    host: Option<String>,
    needs_tls: bool,
) -> Result<(), Refused> {
    let route = match host {
        None => Route::Here,
        Some(host) => {
            let server: FixedServer = host.parse().map_err(str::to_owned)?;
            Route::Host {
                host: server.host,
                port: server.port,
                needs_tls,
            }
        }
    };
    let work = async move |mailboxes: Mailboxes| {
        Ok(mailboxes.directory().put_route(&scope, route).await?)
    };
    admin.mailboxes(work).await
}

/// Every route, a page at a time.
async fn routes(admin: &Admin) -> Result<Vec<RouteLine>, Refused> {
    let mut lines: Vec<RouteLine> = Vec::new();
    loop {
        // until a page is not full
        let after = lines.last().map(|line| line.scope.clone());
        let page = admin.mailboxes(async move |mailboxes| {
            let page = mailboxes
                .directory()
                .routes(after.as_deref(), ACCOUNTS_PAGE);
            Ok(page.into_iter().map(route_line).collect::<Vec<_>>())
        });
        let page = page.await?;
        let full = page.len() == ACCOUNTS_PAGE;
        lines.extend(page);
        if !full {
            return Ok(lines);
        }
    }
}

fn route_line((scope, route): (String, Route)) -> RouteLine {
    match route {
        Route::Here => RouteLine {
            scope,
            host: None,
            needs_tls: false,
        },
        Route::Host {
            host,
            port,
            needs_tls,
        } => RouteLine {
            scope,
            host: Some(FixedServer { host, port }.to_string()),
            needs_tls,
        },
    }
}

/// The directory's word for it.
fn of_word(posters: Posters) -> names::Posters {
    match posters {
        Posters::Anyone => names::Posters::Anyone,
        Posters::Members => names::Posters::Members,
        Posters::Domain => names::Posters::OwnDomain,
    }
}

/// What the operator gets for a name that is not an alias.
const NO_ALIAS: MailboxFault = MailboxFault::Refused("no such alias");
