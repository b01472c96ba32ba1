//! What is asked of the directory: one user, with a password or without, and everything there is.

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use crate::Away;
use crate::connection::{Connection, Fault};
use crate::filter::{Filter, encode, escape};
use crate::limits::{
    ADDRESSES_MAX, EVERYTHING_WITHIN, GROUP_DEPTH_MAX, GROUPS_MAX, GROUPS_OF_ONE_MAX,
    KEPT_BYTES_MAX, MEMBERS_IN_ALL_MAX, MEMBERS_MAX, PAGE_ENTRIES, PAGE_WITHIN, PEOPLE_MAX,
};
use crate::message::{Entry, SUCCESS, Search, UNWELL, WRONG_PASSWORD};
use crate::servers::Servers;
use crate::settings::Settings;

/// A user of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    pub dn: String,
    /// In lower case, in one of the domains; `None`: the directory has none.
    pub address: Option<String>,
    /// Further ones in the domains, without `address`.
    pub aliases: Vec<String>,
    pub is_disabled: bool,
    /// By which groups may name it.
    pub user: Option<String>,
}

/// A group with an address in one of the domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub address: String,
    pub title: String,
    /// Addresses of its members, and of those of groups in it. `Err`: why that is not known whole.
    pub members: Result<Vec<Member>, &'static str>,
}

/// The address of a member.
pub type Member = String;

/// What came of a name and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    Right(Person),
    Wrong,
    /// There is no such user, or not exactly one.
    Unknown,
}

/// Whether the password is that of the user.
pub(crate) async fn check(
    servers: &Rc<Servers>,
    name: &str,
    password: &[u8],
) -> Result<Checked, Away> {
    let within = servers.settings.deadline;
    let settings = &servers.settings;
    servers
        .with(within, async |connection| {
            let Some(found) = find(connection, settings, name).await? else {
                return Ok(Checked::Unknown);
            };
            if !is_alone(connection, settings, name, &found).await? {
                return Ok(Checked::Unknown);
            }
            let done = connection.bind(&found.dn, password).await?;
            let text = done.text;
            match done.code {
                SUCCESS if found.is_disabled => Ok(Checked::Wrong),
                SUCCESS => Ok(Checked::Right(found)),
                code if WRONG_PASSWORD.contains(&code) => Ok(Checked::Wrong),
                code if UNWELL.contains(&code) => Err(Fault::Refused { code, text }),
                code => Err(Fault::OfOne { code, text }),
            }
        })
        .await
}

/// What the directory has about a user.
pub(crate) async fn person(servers: &Rc<Servers>, name: &str) -> Result<Option<Person>, Away> {
    let within = servers.settings.deadline;
    let settings = &servers.settings;
    let find = async |connection: &mut Connection| find(connection, settings, name).await;
    servers.with(within, find).await
}

/// All users and all groups.
pub(crate) async fn everything(servers: &Rc<Servers>) -> Result<(Vec<Person>, Vec<Group>), Away> {
    let settings = &servers.settings;
    let read = async |connection: &mut Connection| {
        let usual = std::mem::replace(&mut connection.deadline, PAGE_WITHIN);
        let people = people(connection, settings).await?;
        let found = match &settings.groups {
            Some(filter) => groups(connection, settings, filter).await?,
            None => Vec::new(),
        };
        connection.deadline = usual;
        Ok((people, found))
    };
    // A server that rests is tried by one question at a time: not by one that takes minutes, or no user could log in meanwhile.
    let tried = servers.with(settings.deadline, async |_| Ok(()));
    tried.await?;
    let (people, found) = servers.with(EVERYTHING_WITHIN, read).await?;
    let required = settings.required_group.clone();
    let required = required.filter(|_| !settings.has_chain_rule);
    // Large groups take a while, and this thread has logins to ask about.
    let resolved = tokio::task::spawn_blocking(move || resolved(people, found, required));
    let resolved = resolved.await;
    resolved.map_err(|_| Away("the members of groups were not put together".to_owned()))?
}

/// People who are in the required group, and groups with their members.
fn resolved(
    mut people: Vec<Person>,
    found: Vec<Found>,
    required: Option<String>,
) -> Result<(Vec<Person>, Vec<Group>), Away> {
    // A filter for people that finds a group with an address as well must not make it an account.
    let groups: HashSet<&str> = found.iter().map(|group| &*group.dn).collect();
    people.retain(|person| !groups.contains(&*folded(&person.dn)));
    if let Some(required) = &required {
        let members = members(required, &by_dn(&found), GROUP_DEPTH_MAX);
        let members = members.map_err(|why| Away(format!("the group {required}: {why}")))?;
        let members: HashSet<String> = members.into_iter().collect();
        let is_in = |person: &Person| {
            let user = person.user.as_deref().unwrap_or_default();
            members.contains(&folded(&person.dn)) || members.contains(&folded(user))
        };
        people.retain(is_in);
    }
    let groups = addressed(&people, &found);
    Ok((people, groups))
}

/// Exactly one user, who is in the required group. An entry without a distinguished name is none: a bind with it would be anonymous.
async fn find(
    connection: &mut Connection,
    settings: &Settings,
    name: &str,
) -> Result<Option<Person>, Fault> {
    let found = entries(connection, settings, name).await?;
    let entry = match found.as_slice() {
        [entry] if !entry.dn.is_empty() => entry,
        [] => return Ok(None),
        _ => {
            tracing::warn!(
                "not exactly one entry of the directory fits a user's name: write a narrower ldap.user_filter"
            );
            return Ok(None);
        }
    };
    let person = person_of(settings, entry);
    match &settings.required_group {
        Some(group) if !settings.has_chain_rule => {
            let is_in = is_in(connection, settings, &person, group).await?;
            Ok(is_in.then_some(person))
        }
        _ => Ok(Some(person)),
    }
}

/// At most two entries that fit a user's name.
async fn entries(
    connection: &mut Connection,
    settings: &Settings,
    name: &str,
) -> Result<Vec<Entry>, Fault> {
    // What is wrong with it is the name's: the settings' filter was tried with another one.
    let filter = settings.user_filter.of_user(name);
    let filter = filter.map_err(|_| Fault::TooMuch("letters in a user's name"))?;
    let filter = required(settings, filter)?;
    let attributes = attributes(settings);
    let search = Search {
        base: &settings.base,
        filter: &filter,
        attributes: &attributes,
        entries_max: 2,
        seconds_max: seconds(settings.deadline),
        page: None,
    };
    let mut found = Vec::new();
    let note = |entry: Entry| {
        found.push(entry);
        match found.len() {
            0..=2 => Ok(()),
            _ => Err(Fault::TooMuch("entries for one user")),
        }
    };
    let done = connection.search(&search, note).await?;
    match done.code == SUCCESS || found.len() == 2 {
        true => Ok(found),
        // A limit of the server's own: there may be another one.
        false => Err(Fault::TooMuch("entries for one user")),
    }
}

/// Whether the address by which a user's account is called is that of no other entry. Who was found by that address is alone; who was found by another name might
/// have the address of another user, because people may be let to write into their own entry.
async fn is_alone(
    connection: &mut Connection,
    settings: &Settings,
    name: &str,
    found: &Person,
) -> Result<bool, Fault> {
    let Some(address) = found.address.as_deref().filter(|address| *address != name) else {
        return Ok(true);
    };
    let others = entries(connection, settings, address).await?;
    let is_its = |entry: &Entry| address_of(settings, entry).as_deref() == Some(address);
    let mut others = others.iter().filter(|entry| entry.dn != found.dn);
    let is_alone = !others.any(is_its);
    if !is_alone {
        tracing::warn!(
            address,
            "several entries of the directory have this address: users of them are not let in"
        );
    }
    Ok(is_alone)
}

/// Whether the person is in the group, or in groups that are. Looks at `GROUPS_OF_ONE_MAX` of them, `GROUP_DEPTH_MAX` deep; cycles end by what was seen.
async fn is_in(
    connection: &mut Connection,
    settings: &Settings,
    person: &Person,
    group: &str,
) -> Result<bool, Fault> {
    let wanted = folded(group);
    let mut seen: HashSet<String> = HashSet::new();
    let mut queue = VecDeque::from([(person.dn.clone(), 0)]);
    if let Some(user) = &person.user {
        queue.push_back((user.clone(), 0));
    }
    while let Some((member, depth)) = queue.pop_front() {
        if depth >= GROUP_DEPTH_MAX {
            continue;
        }
        let filter = format!("({}={})", settings.member, escape(&member));
        let filter = encode(&filter);
        let filter = filter.map_err(|_| Fault::TooMuch("letters in a name"))?;
        let search = Search {
            base: &settings.group_base,
            filter: &filter,
            // RFC 4511 §4.5.1.8: no attribute at all.
            attributes: &["1.1".to_owned()],
            entries_max: GROUPS_OF_ONE_MAX as u32,
            seconds_max: seconds(settings.deadline),
            page: None,
        };
        let mut found = Vec::new();
        let note = |entry: Entry| {
            found.push(entry.dn);
            match found.len() {
                0..=GROUPS_OF_ONE_MAX => Ok(()),
                _ => Err(Fault::TooMuch("groups of one person")),
            }
        };
        let done = connection.search(&search, note).await?;
        let is_whole = done.code == SUCCESS;
        for dn in found {
            if folded(&dn) == wanted {
                return Ok(true);
            }
            if seen.len() < GROUPS_OF_ONE_MAX && seen.insert(folded(&dn)) {
                queue.push_back((dn, depth + 1));
            }
        }
        if !is_whole {
            return Err(Fault::TooMuch("groups of one person"));
        }
    }
    Ok(false)
}

async fn people(connection: &mut Connection, settings: &Settings) -> Result<Vec<Person>, Fault> {
    let filter = settings.user_filter.of_all().map_err(Fault::Io)?;
    let filter = required(settings, filter)?;
    let (mut people, mut bytes) = (Vec::new(), 0);
    let note = |entry: Entry| {
        let person = person_of(settings, &entry);
        let aliases: usize = person.aliases.iter().map(|alias| alias.len() + 24).sum();
        bytes += person.dn.len() + aliases + 200;
        if people.len() >= PEOPLE_MAX || bytes > KEPT_BYTES_MAX {
            return Err(Fault::TooMuch("people"));
        }
        people.push(person);
        Ok(())
    };
    let attributes = attributes(settings);
    pages(connection, &settings.base, &filter, &attributes, note).await?;
    Ok(people)
}

/// A group as it is read.
struct Found {
    dn: String,
    address: Option<String>,
    title: String,
    members: Vec<String>,
    is_partial: bool,
}

async fn groups(
    connection: &mut Connection,
    settings: &Settings,
    filter: &Filter,
) -> Result<Vec<Found>, Fault> {
    let filter = filter.of_all().map_err(Fault::Io)?;
    let (mut groups, mut members, mut bytes) = (Vec::new(), 0, 0);
    let note = |entry: Entry| {
        let all = entry.values(&settings.member);
        members += all.len();
        bytes += all.iter().map(|member| member.len() + 24).sum::<usize>() + 500;
        if groups.len() >= GROUPS_MAX || members > MEMBERS_MAX || bytes > KEPT_BYTES_MAX {
            return Err(Fault::TooMuch("groups or members of groups"));
        }
        groups.push(Found {
            address: address_of(settings, &entry),
            title: entry.values("cn").first().cloned().unwrap_or_default(),
            members: all.iter().map(|member| folded(member)).collect(),
            is_partial: entry.is_partial(&settings.member),
            dn: folded(&entry.dn),
        });
        Ok(())
    };
    let attributes: Vec<String> = [
        &settings.mail[..],
        &[settings.member.clone(), "cn".to_owned()],
    ]
    .concat();
    pages(connection, &settings.group_base, &filter, &attributes, note).await?;
    Ok(groups)
}

/// Everything that a filter finds, page by page (RFC 2696); each page has a deadline.
async fn pages(
    connection: &mut Connection,
    base: &str,
    filter: &[u8],
    attributes: &[String],
    mut note: impl FnMut(Entry) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut cookie = Vec::new();
    let pages_max = 2 * PEOPLE_MAX / PAGE_ENTRIES;
    for _ in 0..pages_max {
        let search = Search {
            base,
            filter,
            attributes,
            entries_max: 0,
            seconds_max: 0,
            page: Some((PAGE_ENTRIES as u32, &cookie)),
        };
        let done = connection.search(&search, &mut note).await?;
        if done.cookie.is_empty() {
            return Ok(());
        }
        cookie = done.cookie;
    }
    Err(Fault::TooMuch("pages"))
}

/// `filter`, and the group that users must be in where the server looks for that.
fn required(settings: &Settings, filter: Vec<u8>) -> Result<Vec<u8>, Fault> {
    match &settings.required_group {
        Some(group) if settings.has_chain_rule => {
            let text = format!("(memberOf:{IN_CHAIN}:={})", escape(group));
            let is_in = encode(&text).map_err(Fault::Io)?;
            Ok(crate::ber::constructed(0xa0, &[filter, is_in]))
        }
        _ => Ok(filter),
    }
}

fn attributes(settings: &Settings) -> Vec<String> {
    let single = [settings.disabled.clone(), settings.user.clone()];
    let all = [&settings.mail[..], &settings.aliases[..], &single].concat();
    let mut seen = HashSet::new();
    let kept = all.into_iter().filter(|name| !name.is_empty());
    kept.filter(|name| seen.insert(name.clone())).collect()
}

fn person_of(settings: &Settings, entry: &Entry) -> Person {
    let address = address_of(settings, entry);
    let named = settings.mail.iter().chain(&settings.aliases);
    let values = named.flat_map(|name| entry.values(name));
    let mut aliases: Vec<String> = Vec::new();
    for alias in values.filter_map(|value| ours(settings, value)) {
        let is_new = Some(&alias) != address.as_ref() && !aliases.contains(&alias);
        if is_new && aliases.len() < ADDRESSES_MAX {
            aliases.push(alias);
        }
    }
    Person {
        dn: entry.dn.clone(),
        address,
        aliases,
        is_disabled: is_disabled(settings, entry),
        user: entry.values(&settings.user).first().cloned(),
    }
}

/// The first of ours; `SMTP:` in capitals is Active Directory's way to name it among several.
fn address_of(settings: &Settings, entry: &Entry) -> Option<String> {
    let aliases = settings.aliases.iter();
    let mut capital = aliases.flat_map(|name| entry.values(name));
    let capital = capital.find(|value| value.starts_with("SMTP:"));
    if let Some(address) = capital.and_then(|value| ours(settings, value)) {
        return Some(address);
    }
    let mut values = settings.mail.iter().flat_map(|name| entry.values(name));
    values.find_map(|value| ours(settings, value))
}

/// An address of one of the domains, in lower case.
fn ours(settings: &Settings, value: &str) -> Option<String> {
    let address = match value.split_once(':') {
        Some((kind, address)) if kind.eq_ignore_ascii_case("smtp") => address,
        Some(_) => return None,
        None => value,
    };
    let address = address.trim().to_lowercase();
    let (local, domain) = address.rsplit_once('@')?;
    let is_ours = !local.is_empty() && settings.domains.iter().any(|ours| ours == domain);
    is_ours.then_some(address)
}

fn is_disabled(settings: &Settings, entry: &Entry) -> bool {
    let Some(value) = entry.values(&settings.disabled).first() else {
        return false;
    };
    if settings.disabled.eq_ignore_ascii_case("userAccountControl") {
        return value
            .parse::<i64>()
            .is_ok_and(|bits| bits & ACCOUNT_DISABLE != 0);
    }
    !["false", "0", "no"].contains(&value.to_ascii_lowercase().as_str())
}

/// Groups that have an address, with the addresses of all that are in them.
fn addressed(people: &[Person], found: &[Found]) -> Vec<Group> {
    let mut addresses: HashMap<String, &String> = HashMap::new();
    for person in people.iter().filter(|person| !person.is_disabled) {
        if let Some(address) = &person.address {
            addresses.insert(folded(&person.dn), address);
            if let Some(user) = &person.user {
                addresses.entry(folded(user)).or_insert(address);
            }
        }
    }
    let with_address = found
        .iter()
        .filter_map(|group| Some((group, group.address.clone()?)));
    let (mut left, by_dn) = (MEMBERS_IN_ALL_MAX, by_dn(found));
    with_address
        .map(|(group, address)| Group {
            address,
            title: group.title.clone(),
            members: members(&group.dn, &by_dn, GROUP_DEPTH_MAX).and_then(|members| {
                let mut members: Vec<Member> = members
                    .iter()
                    .filter_map(|member| addresses.get(member).map(|address| (*address).clone()))
                    .collect();
                members.sort();
                members.dedup();
                let fits = left.checked_sub(members.len());
                left = fits.ok_or("all groups together have too many members")?;
                Ok(members)
            }),
        })
        .collect()
}

fn by_dn(found: &[Found]) -> HashMap<&str, &Found> {
    found.iter().map(|group| (&*group.dn, group)).collect()
}

/// Everything that is in a group, and in groups in it: each group is looked at once, so a cycle ends, and at most `depth` deep.
fn members(
    dn: &str,
    by_dn: &HashMap<&str, &Found>,
    depth: usize,
) -> Result<Vec<String>, &'static str> {
    let wanted = folded(dn);
    let start = by_dn
        .get(&*wanted)
        .ok_or("it is not among the groups that were read")?;
    let (mut seen, mut all) = (HashSet::from([wanted.as_str()]), HashSet::new());
    let mut queue = VecDeque::from([(*start, 0)]);
    while let Some((group, level)) = queue.pop_front() {
        if group.is_partial {
            return Err("the server gives a part of its members only");
        }
        for member in &group.members {
            match by_dn.get(&**member) {
                Some(inner) if seen.contains(&*inner.dn) => {}
                Some(_) if level + 1 >= depth => return Err("its groups nest too deep"),
                Some(inner) => {
                    seen.insert(&inner.dn);
                    queue.push_back((inner, level + 1));
                }
                None => {
                    all.insert(member.clone());
                }
            }
            if all.len() > MEMBERS_OF_ONE_MAX {
                return Err("it has too many members");
            }
        }
    }
    Ok(all.into_iter().collect())
}

/// Distinguished names are compared without regard to case and to spaces behind commas, which is what servers differ in (RFC 4514 §3 has more forms).
fn folded(dn: &str) -> String {
    let parts: Vec<&str> = dn.split(',').map(str::trim).collect();
    parts.join(",").to_lowercase()
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs().max(1)).unwrap_or(u32::MAX)
}

/// LDAP_MATCHING_RULE_IN_CHAIN of Active Directory.
const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";
/// Of userAccountControl.
const ACCOUNT_DISABLE: i64 = 2;
/// As `directory` bounds a group.
const MEMBERS_OF_ONE_MAX: usize = 10_000;

#[cfg(test)]
mod tests;
