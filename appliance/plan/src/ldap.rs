//! `[ldap]`: people whose passwords another directory checks (LDAP, Active Directory).

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::units::{Size, Span};

/// What the directory is like where a setting does not say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavor {
    /// People with `uid` and `mail`, groups with `member`.
    #[default]
    Generic,
    /// `userPrincipalName`, `sAMAccountName`, `proxyAddresses`, `userAccountControl`; the server follows groups in groups.
    ActiveDirectory,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ldap {
    /// `ldaps://host` or `ldap://host`, in the order in which they are asked. Empty: there is no such directory.
    pub servers: Vec<String>,
    pub flavor: Flavor,
    /// PEM: the authorities of the servers' certificates, in place of those of the web.
    pub ca: Option<PathBuf>,
    /// `ldap://` without TLS: passwords travel in clear.
    pub insecure: bool,
    /// Who searches. Empty: searches are anonymous.
    pub bind_dn: String,
    pub bind_password_file: Option<PathBuf>,
    /// Where people are.
    pub base: String,
    pub user_filter: Option<String>,
    pub mail: Option<Vec<String>>,
    pub aliases: Option<Vec<String>>,
    pub disabled: Option<String>,
    /// The distinguished name of a group that people must be in.
    pub required_group: Option<String>,
    /// Which entries are groups. Empty: no groups are read.
    pub group_filter: Option<String>,
    /// Where groups are; omitted: where people are.
    pub group_base: Option<String>,
    pub member: Option<String>,
    pub user: Option<String>,
    /// People of these domains are the directory's.
    pub domains: Vec<String>,
    /// For one call.
    pub deadline: Span,
    /// How long a password that was right is right while all servers are away.
    pub cache: Span,
    /// A person who logs in and has no account gets one.
    pub create_accounts: bool,
    /// Of accounts that are made; 0: no limit.
    pub quota: Size,
    /// How often everything is read; 0: by `ringpostctl ldap sync` only.
    pub sync: Span,
    /// The share of accounts that one reading may disable, in percent.
    pub sync_disables_max: u32,
}

impl Default for Ldap {
    fn default() -> Ldap {
        Ldap {
            servers: Vec::new(),
            flavor: Flavor::Generic,
            ca: None,
            insecure: false,
            bind_dn: String::new(),
            bind_password_file: None,
            base: String::new(),
            user_filter: None,
            mail: None,
            aliases: None,
            disabled: None,
            required_group: None,
            group_filter: None,
            group_base: None,
            member: None,
            user: None,
            domains: Vec::new(),
            deadline: Span(Duration::from_secs(5)),
            cache: Span(Duration::from_secs(24 * 3_600)),
            create_accounts: false,
            quota: Size(0),
            sync: Span(Duration::ZERO),
            sync_disables_max: 10,
        }
    }
}

/// What the flavor says where a setting is omitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    pub user_filter: String,
    pub mail: Vec<String>,
    pub aliases: Vec<String>,
    pub disabled: String,
    pub group_filter: String,
    pub member: String,
    pub user: String,
    /// The server follows groups in groups (LDAP_MATCHING_RULE_IN_CHAIN).
    pub has_chain_rule: bool,
}

/// A server of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LdapServer {
    pub host: String,
    pub port: u16,
    /// TLS from the first byte.
    pub is_ldaps: bool,
}

impl Ldap {
    pub fn is_on(&self) -> bool {
        !self.servers.is_empty()
    }

    /// The settings, and what the flavor says of the others.
    pub fn schema(&self) -> Schema {
        let of = |written: &Option<String>, usual: &str| {
            written.clone().unwrap_or_else(|| usual.to_owned())
        };
        let all = |written: &Option<Vec<String>>, usual: &[&str]| {
            let usual = || usual.iter().map(|name| (*name).to_owned()).collect();
            written.clone().unwrap_or_else(usual)
        };
        match self.flavor {
            Flavor::Generic => Schema {
                user_filter: of(
                    &self.user_filter, // Without the first part groups with an address would be people.
                    "(&(uid=*)(|(mail={address})(uid={user})))",
                ),
                mail: all(&self.mail, &["mail"]),
                aliases: all(&self.aliases, &["mailAlternateAddress"]),
                disabled: of(&self.disabled, ""),
                group_filter: of(&self.group_filter, "(objectClass=groupOfNames)"),
                member: of(&self.member, "member"),
                user: of(&self.user, "uid"),
                has_chain_rule: false,
            },
            Flavor::ActiveDirectory => Schema {
                user_filter: of(
                    &self.user_filter,
                    "(&(objectCategory=person)(objectClass=user)(|(userPrincipalName={address})(sAMAccountName={user})(mail={address})(proxyAddresses=smtp:{address})))",
                ),
                mail: all(&self.mail, &["mail", "userPrincipalName"]),
                aliases: all(&self.aliases, &["proxyAddresses"]),
                disabled: of(&self.disabled, "userAccountControl"),
                group_filter: of(&self.group_filter, "(objectCategory=group)"),
                member: of(&self.member, "member"),
                user: of(&self.user, "sAMAccountName"),
                has_chain_rule: true,
            },
        }
    }

    /// One sentence without the file's name. `has_storage`: accounts are on this node.
    pub fn check(&self, has_storage: bool) -> Result<(), String> {
        if !self.is_on() {
            return Ok(());
        }
        if !has_storage {
            return Err(
                "[ldap] is for nodes with storage, where the accounts are: remove it here".into(),
            );
        }
        if self.servers.len() > SERVERS_MAX {
            return Err(format!("ldap.servers: write at most {SERVERS_MAX}"));
        }
        for url in &self.servers {
            server(url)?;
        }
        if self.base.is_empty() {
            return Err("ldap.base: write where people are, like \"dc=example,dc=org\"".into());
        }
        if self.bind_dn.is_empty() != self.bind_password_file.is_none() {
            return Err("ldap.bind_dn and ldap.bind_password_file belong together: write both, or none for anonymous searches".into());
        }
        if self.domains.is_empty() {
            return Err("ldap.domains: write the domains whose people are in the directory".into());
        }
        if self.domains.len() > DOMAINS_MAX {
            return Err(format!("ldap.domains: write at most {DOMAINS_MAX}"));
        }
        for domain in &self.domains {
            crate::site::check_host("ldap.domains", domain)?;
        }
        let schema = self.schema();
        if !schema.user_filter.contains("{address}") && !schema.user_filter.contains("{user}") {
            return Err("ldap.user_filter: write where the user stands, {address} or {user}; without, every name finds the same entry".into());
        }
        let lists = [("mail", &schema.mail), ("aliases", &schema.aliases)];
        for (key, names) in lists {
            if names.len() > ATTRIBUTES_MAX || names.iter().any(|name| !is_name(name)) {
                return Err(format!(
                    "ldap.{key}: write at most {ATTRIBUTES_MAX} names of attributes"
                ));
            }
        }
        let singles = [
            ("disabled", &schema.disabled, true),
            ("member", &schema.member, false),
            ("user", &schema.user, false),
        ];
        for (key, name, may_be_empty) in singles {
            let is_right = is_name(name) || may_be_empty && name.is_empty();
            if !is_right {
                return Err(format!("ldap.{key}: write the name of one attribute"));
            }
        }
        if !(DEADLINE_MIN..=DEADLINE_MAX).contains(&self.deadline.0) {
            let (least, most) = (Span(DEADLINE_MIN), Span(DEADLINE_MAX));
            return Err(format!("ldap.deadline: write {least} to {most}"));
        }
        if self.cache.0 > CACHE_MAX {
            return Err(format!("ldap.cache: write at most {}", Span(CACHE_MAX)));
        }
        if !self.sync.0.is_zero() && !(SYNC_MIN..=SYNC_MAX).contains(&self.sync.0) {
            let (least, most) = (Span(SYNC_MIN), Span(SYNC_MAX));
            return Err(format!(
                "ldap.sync: write \"0s\" (off), or {least} to {most}"
            ));
        }
        match self.sync_disables_max {
            0..=100 => Ok(()),
            _ => Err("ldap.sync_disables_max: write 0 to 100, in percent".into()),
        }
    }
}

/// Takes a server's URL apart. One sentence where it is none.
pub fn server(url: &str) -> Result<LdapServer, String> {
    let wrong = || {
        format!(
            "ldap.servers: `{url}`: write \"ldaps://host\" or \"ldap://host\", with a port behind if it is another one"
        )
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let is_ldaps = match scheme {
        "ldaps" => true,
        "ldap" => false,
        _ => return Err(wrong()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let usual = if is_ldaps { 636 } else { 389 };
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']').ok_or_else(wrong)?;
            let host: std::net::Ipv6Addr = host.parse().map_err(|_| wrong())?;
            (host.to_string(), behind.strip_prefix(':'))
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (rest.to_owned(), None),
        },
    };
    let port = match port {
        Some(port) => port.parse().map_err(|_| wrong())?,
        None => usual,
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:_".contains(&byte);
    if port == 0 || host.is_empty() || host.len() > 253 || !host.bytes().all(is_host) {
        return Err(wrong());
    }
    Ok(LdapServer {
        host,
        port,
        is_ldaps,
    })
}

fn is_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-.;_".contains(&byte);
    (1..=128).contains(&name.len()) && name.bytes().all(is_good)
}

const SERVERS_MAX: usize = 4;
const DOMAINS_MAX: usize = 1_000;
const ATTRIBUTES_MAX: usize = 8;
const DEADLINE_MIN: Duration = Duration::from_millis(100);
const DEADLINE_MAX: Duration = Duration::from_secs(60);
const CACHE_MAX: Duration = Duration::from_secs(31 * 24 * 3_600);
const SYNC_MIN: Duration = Duration::from_secs(60);
const SYNC_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    const BEGIN: &str = "[server]\nname = \"mail.example.org\"\n[volume]\nlegs = [\"a\", \"b\"]\n";
    const RIGHT: &str = "[ldap]\nservers = [\"ldaps://dc1.example.org\"]\nbase = \"dc=example\"\ndomains = [\"example.org\"]\n";

    fn read(text: &str) -> Result<Settings, String> {
        Settings::parse("x.toml", &format!("{BEGIN}{text}")).map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn a_directory_needs_servers_a_base_domains_and_a_place_for_the_user() {
        for (text, why) in [
            (RIGHT.replace("ldaps:", "http:"), "ldap.servers"),
            (RIGHT.replace("dc=example", ""), "ldap.base"),
            (RIGHT.replace("\"example.org\"", ""), "ldap.domains"),
            (format!("{RIGHT}bind_dn = \"cn=a\"\n"), "belong together"),
            (format!("{RIGHT}user_filter = \"(uid=bob)\"\n"), "{address}"),
            (format!("{RIGHT}deadline = \"10min\"\n"), "ldap.deadline"),
            (format!("{RIGHT}cache = \"9000h\"\n"), "ldap.cache"),
            (format!("{RIGHT}sync = \"5s\"\n"), "ldap.sync"),
            (format!("{RIGHT}sync_disables_max = 101\n"), "percent"),
            (format!("{RIGHT}mail = [\"a b\"]\n"), "ldap.mail"),
            (format!("{RIGHT}member = \"\"\n"), "ldap.member"),
            (
                format!("{RIGHT}bind_password = \"secret\"\n"),
                "bind_password_file",
            ),
        ] {
            let said = read(&text).expect_err(&text);
            assert!(said.contains(why), "{text}: {said}");
        }
        let settings = read(RIGHT).expect("right");
        assert!(settings.ldap.is_on() && !settings.ldap.create_accounts);
        assert!(!read("").expect("right").ldap.is_on());
    }

    #[test]
    fn a_flavor_says_what_is_not_written() {
        let text = format!("{RIGHT}flavor = \"active-directory\"\nuser = \"cn\"\n");
        let schema = read(&text).expect("right").ldap.schema();
        assert!(schema.user_filter.contains("sAMAccountName={user}"));
        assert_eq!(schema.aliases, ["proxyAddresses"]);
        assert_eq!(schema.disabled, "userAccountControl");
        assert_eq!(schema.user, "cn");
        assert!(schema.has_chain_rule);
    }

    #[test]
    fn urls_are_taken_apart() {
        let parts = |url| server(url).map(|server| (server.host, server.port, server.is_ldaps));
        let at = |host: &str, port, is_ldaps| Ok((host.to_owned(), port, is_ldaps));
        assert_eq!(parts("ldaps://dc1"), at("dc1", 636, true));
        assert_eq!(parts("ldap://10.0.0.1:3389/"), at("10.0.0.1", 3389, false));
        assert_eq!(
            parts("ldap://[2001:db8::1]:390"),
            at("2001:db8::1", 390, false)
        );
        for url in [
            "dc1",
            "ldap://",
            "ldap://a:b",
            "ldap://a b",
            "ldap://a/dc=x",
            "ldapi://x",
            "ldap://[x]",
        ] {
            assert!(parts(url).is_err(), "{url}");
        }
    }
}
