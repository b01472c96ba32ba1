//! What an address leads to that has no mailbox of its own: an alias, a group, a domain's catch-all, a sealed return path, a route.
//!
//! Mail for such an address is accepted into the queue, and led on from there (`outgoing::Outgoing::lead_on`): one durable step takes the
//! address out of the queue and puts in what it leads to. So nothing is doubled or lost, however many addresses there are.
//!
//! What must hold:
//! - An address that cannot be looked up now is an error, never one that is not there.
//! - Where mail is led to was said by an administrator, or by a seal of ours: an address of a stranger's choice is never a target.
//! - The work is bounded: `DEPTH_MAX` steps from alias to alias, each followed once, and `LED_BYTES_MAX` of addresses in the end.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use mail::{Address, return_path, spelling};
use mailbox::names::{Alias, Group, Listed, Posters, Route};
use mailbox::{AccountId, MailboxFault, Mailboxes};

use crate::reserved;

/// Aliases that lead to aliases or groups, one behind the other.
pub const DEPTH_MAX: usize = 8;
/// Addresses that one address leads to in the end, in bytes: with them the records of one step fit one group of the log.
pub const LED_BYTES_MAX: usize = 512 * 1_024;
/// The directory's key of return paths.
pub const RETURN_PATH_KEY: &str = "srs";

/// What one address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// With its own address.
    Account(AccountId, Address),
    /// By its name, or the catch-all of the domain.
    Alias(String, Alias),
    Group(String, Group),
    /// `group+owner@` and `group+bounces@`: the group's name with it.
    Owner(String, Group),
    /// Sealed here or not: only `open` knows.
    ReturnPath,
    /// A server that an administrator named takes it.
    Routed,
    NoMailbox,
    NotOurs,
}

/// Why mail for an address is not taken, or not led on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It leads to no mailbox, here or elsewhere.
    Unknown,
    /// The sender may not post to the group, or it is a report.
    NotPermitted,
    /// The return path was not sealed here, or too long ago, or what comes to it is not a report.
    NoReport,
    /// It leads back to itself only, over more than `DEPTH_MAX` aliases, or to more than `LED_BYTES_MAX`.
    Loop,
}

/// Where mail for one address goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Led {
    pub here: Vec<(AccountId, Address)>,
    pub elsewhere: Vec<Address>,
    /// The address was a group, of this name.
    pub group: Option<(String, Group)>,
}

/// What `address` is. An exact name comes before one without its tag (RFC 5233), and both before the catch-all.
pub async fn meaning(mailboxes: &Mailboxes, address: &Address) -> Result<Meaning, MailboxFault> {
    let directory = mailboxes.directory();
    if !directory.has_domain(address.domain()) {
        return Ok(Meaning::NotOurs);
    }
    // Not for mail, whoever says so: `held::meaning` is for what `inbound` keeps apart.
    if reserved::is_reserved(address.domain()) {
        return Ok(Meaning::NoMailbox);
    }
    if let Some(Route::Host { .. }) = directory.route_of_address(address) {
        return Ok(Meaning::Routed);
    }
    match directory.listed(address) {
        Some(Listed::Alias(name, alias)) => return Ok(Meaning::Alias(name, alias)),
        Some(Listed::Group(name, group)) => return Ok(Meaning::Group(name, group)),
        None => {}
    }
    if let Some(account) = directory.account(address).await? {
        return Ok(Meaning::Account(account.id, account.address));
    }
    if return_path::is_sealed(address) {
        return Ok(Meaning::ReturnPath);
    }
    if let Some(plain) = address.untagged() {
        match directory.listed(&plain) {
            Some(Listed::Alias(name, alias)) => return Ok(Meaning::Alias(name, alias)),
            Some(Listed::Group(name, group)) => {
                let tag = address.tag().unwrap_or_default().to_lowercase();
                return Ok(match matches!(&tag[..], OWNER | BOUNCES) {
                    true => Meaning::Owner(name, group),
                    false => Meaning::Group(name, group),
                });
            }
            None => {}
        }
    }
    if let Some((name, alias)) = directory.catch_all(address.domain()) {
        return Ok(Meaning::Alias(name, alias));
    }
    Ok(match directory.route_of_domain(address.domain()) {
        Some(Route::Host { .. }) => Meaning::Routed,
        _ => Meaning::NoMailbox,
    })
}

/// Whether mail from `sender` (`None`: the null reverse-path) for `address`, which has no mailbox, is taken at all.
pub async fn admit(
    mailboxes: &Mailboxes,
    address: &Address,
    sender: Option<&Address>,
    unix_seconds: u64,
) -> Result<Result<(), Refused>, MailboxFault> {
    let directory = mailboxes.directory();
    match meaning(mailboxes, address).await? {
        // RFC 5321 §4.5.5: only reports come to a return path. Taken from others, it would be a way to the sender behind it.
        Meaning::ReturnPath if sender.is_some() => return Ok(Err(Refused::NoReport)),
        Meaning::Group(name, group) => {
            let may_post = match (sender, group.posters) {
                (None, _) => false,
                (Some(_), Posters::Anyone) => true,
                (Some(sender), Posters::Members) => directory.is_member(&name, &group, sender),
                (Some(sender), Posters::OwnDomain) => {
                    let domain = name.rsplit_once('@').map_or("", |(_, domain)| domain);
                    directory.our_domain(sender.domain()).as_deref() == Some(domain)
                }
            };
            // What each member leads to is looked at when the post goes to them.
            return Ok(match (may_post, directory.has_members(&name, &group)) {
                (false, _) => Err(Refused::NotPermitted),
                (true, false) => Err(Refused::Unknown),
                (true, true) => Ok(()),
            });
        }
        _ => {}
    }
    let led = follow(mailboxes, address, unix_seconds, Enough::First).await?;
    Ok(led.map(drop))
}

/// How much of what an address leads to is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Enough {
    /// That there is something: RCPT is a stranger's to repeat, and thousands of members are not looked up for each.
    First,
    All,
}

/// Everything that `address` leads to, each account and each address elsewhere once.
pub async fn lead(
    mailboxes: &Mailboxes,
    address: &Address,
    unix_seconds: u64,
) -> Result<Result<Led, Refused>, MailboxFault> {
    follow(mailboxes, address, unix_seconds, Enough::All).await
}

/// Depth-first, in the order of the targets. Bounded four ways: each name once, `DEPTH_MAX` levels, `LED_BYTES_MAX` of
/// results, `WAITING_MAX` addresses to follow. Past a bound the whole address is refused, never a part of it.
async fn follow(
    mailboxes: &Mailboxes,
    address: &Address,
    unix_seconds: u64,
    enough: Enough,
) -> Result<Result<Led, Refused>, MailboxFault> {
    let directory = mailboxes.directory();
    let mut led = Led::default();
    let mut waiting = Vec::new();
    let mut followed = HashSet::new();
    match meaning(mailboxes, address).await? {
        Meaning::ReturnPath => {
            let opened = directory.known_key(RETURN_PATH_KEY);
            let opened = opened.and_then(|key| return_path::open(address, &key, unix_seconds).ok());
            let Some(sender) = opened else {
                return Ok(Err(Refused::NoReport));
            };
            // A sender of ours needs no seal, so none has one.
            if directory.has_domain(sender.domain()) {
                return Ok(Err(Refused::NoReport));
            }
            led.elsewhere.push(sender);
            return Ok(Ok(led));
        }
        Meaning::Routed => {
            led.elsewhere.push(address.clone());
            return Ok(Ok(led));
        }
        Meaning::Group(name, group) => led.group = Some((name, group)),
        _ => {}
    }
    waiting.push((address.clone(), 0));
    let mut known = Known::default();
    let mut bytes = 0;
    let mut is_loop = false;
    let mut count = 0u32;
    while let Some((address, depth)) = waiting.pop() {
        let is_found = !led.here.is_empty() || !led.elsewhere.is_empty();
        if enough == Enough::First && is_found {
            break;
        }
        // Ends: each alias, group and address is followed once. The owner's thread has other work between.
        count += 1;
        if count.is_multiple_of(FOLLOWED_AT_ONCE) {
            tokio::task::yield_now().await;
        }
        let (name, next) = match meaning(mailboxes, &address).await? {
            Meaning::Account(account, own) => {
                if known.accounts.insert(account) {
                    bytes += own.to_path().len() + ADDRESSEE_BYTES;
                    led.here.push((account, own));
                }
                continue;
            }
            Meaning::NotOurs | Meaning::Routed => {
                if known.elsewhere.insert(address.key()) {
                    bytes += address.to_path().len() + ADDRESSEE_BYTES;
                    led.elsewhere.push(address);
                }
                continue;
            }
            Meaning::ReturnPath | Meaning::NoMailbox => continue,
            Meaning::Alias(name, alias) => (name, alias.targets),
            Meaning::Group(name, group) => {
                let members = directory.members(&name, &group);
                (name, members)
            }
            Meaning::Owner(name, group) => (format!("{name} owner"), vec![group.owner]),
        };
        if !followed.insert(name) {
            is_loop = true;
            continue;
        }
        // As a whole: with the rest alone it would be lost for those behind, and nobody would hear of it.
        if depth == DEPTH_MAX {
            return Ok(Err(Refused::Loop));
        }
        // In the order that was given: the last one in is the first out.
        let next = next.into_iter().rev().map(|target| (target, depth + 1));
        waiting.extend(next);
        if bytes > LED_BYTES_MAX || waiting.len() > WAITING_MAX {
            return Ok(Err(Refused::Loop));
        }
    }
    if bytes > LED_BYTES_MAX {
        return Ok(Err(Refused::Loop));
    }
    Ok(match led.here.is_empty() && led.elsewhere.is_empty() {
        true if is_loop => Err(Refused::Loop),
        true => Err(Refused::Unknown),
        false => Ok(led),
    })
}

/// Whether the account may send under an address that is not its own: an alias whose only target it is, or one that was granted to it.
pub async fn may_send_as(
    mailboxes: &Mailboxes,
    account: AccountId,
    address: &Address,
) -> Result<bool, MailboxFault> {
    let directory = mailboxes.directory();
    for address in [Some(address.clone()), address.untagged()]
        .into_iter()
        .flatten()
    {
        let Some(listed) = directory.listed(&address) else {
            continue;
        };
        if directory.grants(&address).contains(&account) {
            return Ok(true);
        }
        let Listed::Alias(_, alias) = listed else {
            continue;
        };
        if let [target] = &alias.targets[..]
            && let Meaning::Account(found, _) = meaning(mailboxes, target).await?
            && found == account
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What was found already.
#[derive(Default)]
struct Known {
    accounts: HashSet<AccountId>,
    elsewhere: HashSet<String>,
}

/// Where reports about a group's mail go: to its owner, not to who wrote.
pub fn bounces_of(group: &str) -> String {
    tagged(group, BOUNCES)
}

/// Where people write about a group.
pub fn owner_of(group: &str) -> String {
    tagged(group, OWNER)
}

fn tagged(group: &str, tag: &str) -> String {
    let (local, domain) = group.rsplit_once('@').unwrap_or((group, ""));
    let address = Address::from_parts(&format!("{local}+{tag}"), &in_ascii(domain));
    address.map_or_else(|| group.to_owned(), |address| address.to_path())
}

/// The fields that stand in front of mail that was led on from `name`: RFC 9228 against loops; for a group RFC 2369 and RFC 2919.
pub fn fields(group: Option<&(String, Group)>, name: &Address) -> String {
    let mut fields = format!("Delivered-To: {}\r\n", name.to_path());
    let Some((group, row)) = group else {
        return fields;
    };
    let (local, domain) = group.rsplit_once('@').unwrap_or_default();
    let domain = in_ascii(domain);
    // RFC 2919 §3: letters of a dot-atom only.
    let label = |letter: char| match letter.is_ascii_alphanumeric() || letter == '-' {
        true => letter,
        false => '-',
    };
    let label: String = local.chars().map(label).collect();
    let title = match row.title.is_empty() {
        true => String::new(),
        false => format!("\"{}\" ", row.title.replace(['"', '\\'], "'")),
    };
    let path = Address::from_parts(local, &domain);
    let path = path.map_or_else(|| group.clone(), |path| path.to_path());
    let owner = owner_of(group);
    fields += &format!("List-Id: {title}<{label}.{domain}>\r\n");
    fields += &format!("List-Post: <mailto:{}>\r\n", url(&path));
    fields += &format!("List-Owner: <mailto:{}>\r\n", url(&owner));
    fields += &format!(
        "List-Unsubscribe: <mailto:{}?subject=unsubscribe>\r\n",
        url(&owner)
    );
    fields += "Precedence: list\r\n";
    fields
}

/// A domain as every server takes it (RFC 5890): what leaves under a name in letters needs SMTPUTF8, and not all have that.
pub(crate) fn in_ascii(domain: &str) -> String {
    let mut spellings = spelling::domains(domain).into_iter();
    let found = spellings.find(|spelled| spelled.is_ascii());
    found.unwrap_or_else(|| domain.to_owned())
}

/// As it stands in a mailto URL (RFC 6068 §2).
fn url(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' | b'+' => {
                out.push(byte as char)
            }
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

/// What an address takes in a record of the queue beside its text.
const ADDRESSEE_BYTES: usize = 16;
/// Addresses looked at in one turn of the owner's thread, a few microseconds each.
const FOLLOWED_AT_ONCE: u32 = 128;
const OWNER: &str = "owner";
const BOUNCES: &str = "bounces";
/// Addresses that wait to be followed: all members of one group, and aliases in it.
const WAITING_MAX: usize = 20_000;
