//! Settings that are the box's rather than the daemon's: network, time, and the first domains and accounts.

use std::net::IpAddr;

use serde::Deserialize;

use crate::limits::{FIRST_PEOPLE_MAX, INTERFACES_MAX};
use crate::units::Size;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Name servers, for every interface.
    pub dns: Vec<IpAddr>,
    #[serde(rename = "interface")]
    pub interfaces: Vec<Interface>,
    #[serde(rename = "bond")]
    pub bonds: Vec<Bond>,
    #[serde(rename = "vlan")]
    pub vlans: Vec<Vlan>,
}

/// A network card, by its name or its MAC address.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// The kernel's name, `*` allowed: `eth0`, `en*`.
    pub name: Option<String>,
    pub mac: Option<String>,
    #[serde(default)]
    pub dhcp: bool,
    /// With their prefix: `192.0.2.10/24`.
    #[serde(default)]
    pub address: Vec<String>,
    #[serde(default)]
    pub gateway: Vec<IpAddr>,
    pub mtu: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BondMode {
    /// One card works, the others wait: needs nothing of the switch.
    #[default]
    ActiveBackup,
    /// LACP: the switch must do it as well.
    #[serde(rename = "802.3ad")]
    Lacp,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bond {
    pub name: String,
    /// Names of cards.
    pub members: Vec<String>,
    #[serde(default)]
    pub mode: BondMode,
    #[serde(default)]
    pub dhcp: bool,
    #[serde(default)]
    pub address: Vec<String>,
    #[serde(default)]
    pub gateway: Vec<IpAddr>,
    pub mtu: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vlan {
    pub name: String,
    pub id: u16,
    /// The card or bond that carries it.
    pub on: String,
    #[serde(default)]
    pub dhcp: bool,
    #[serde(default)]
    pub address: Vec<String>,
    #[serde(default)]
    pub gateway: Vec<IpAddr>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Time {
    /// Time servers; omitted: those that the image was built with.
    pub ntp: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    pub name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    pub address: String,
    /// An argon2id hash in PHC form: `$argon2id$v=19$…`.
    pub password_hash: Option<String>,
    /// A file beside the settings whose first line is the password. `ringpost-boot` puts its hash in its place and removes it.
    pub password_file: Option<String>,
    /// 0: no bound.
    #[serde(default = "no_quota")]
    pub quota: Size,
}

fn no_quota() -> Size {
    Size(0)
}

impl Network {
    pub fn check(&self) -> Result<(), String> {
        // Each becomes files for networkd, which reads them at every change.
        if self.interfaces.len() + self.bonds.len() + self.vlans.len() > INTERFACES_MAX {
            return Err(format!(
                "[network]: write at most {INTERFACES_MAX} interfaces"
            ));
        }
        for interface in &self.interfaces {
            let what = match (&interface.name, &interface.mac) {
                // One of the two: with both it would not be clear which counts when they disagree.
                (Some(name), None) => {
                    check_name("network.interface", name, true)?;
                    name
                }
                (None, Some(mac)) => {
                    check_mac(mac)?;
                    mac
                }
                _ => {
                    return Err("[[network.interface]]: write either `name` or `mac`".into());
                }
            };
            check_addresses(what, interface.dhcp, &interface.address)?;
            check_mtu(what, interface.mtu)?;
        }
        for bond in &self.bonds {
            check_name("network.bond", &bond.name, false)?;
            if bond.members.is_empty() {
                return Err(format!("bond {}: name its `members`", bond.name));
            }
            for member in &bond.members {
                check_name("network.bond.members", member, true)?;
            }
            check_addresses(&bond.name, bond.dhcp, &bond.address)?;
            check_mtu(&bond.name, bond.mtu)?;
        }
        for vlan in &self.vlans {
            check_name("network.vlan", &vlan.name, false)?;
            check_name("network.vlan.on", &vlan.on, false)?;
            if !(1..=4094).contains(&vlan.id) {
                return Err(format!("vlan {}: `id` is 1 to 4094", vlan.name));
            }
            check_addresses(&vlan.name, vlan.dhcp, &vlan.address)?;
        }
        Ok(())
    }
}

impl Time {
    pub fn check(&self) -> Result<(), String> {
        for server in &self.ntp {
            check_host("time.ntp", server)?;
        }
        Ok(())
    }
}

/// What lands in a line of a networkd file must not begin a second one.
fn check_name(key: &str, name: &str, pattern: bool) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c) || pattern && c == '*';
    if (1..=15).contains(&name.len()) && name.chars().all(good) {
        return Ok(());
    }
    Err(format!(
        "{key}: `{}` is not an interface name: write up to 15 letters, digits, `-`, `_` and `.`",
        name.escape_default()
    ))
}

pub(crate) fn check_host(key: &str, name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-.:".contains(c);
    if !name.is_empty() && name.len() <= 255 && name.chars().all(good) {
        return Ok(());
    }
    Err(format!(
        "{key}: `{}` is neither a host name nor an address",
        name.escape_default()
    ))
}

fn check_mac(mac: &str) -> Result<(), String> {
    let parts: Vec<&str> = mac.split(':').collect();
    let good = |part: &&str| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit());
    if parts.len() == 6 && parts.iter().all(good) {
        return Ok(());
    }
    Err(format!(
        "network.interface.mac: `{}` is not a MAC address: write it like 52:54:00:12:34:56",
        mac.escape_default()
    ))
}

fn check_addresses(what: &str, dhcp: bool, addresses: &[String]) -> Result<(), String> {
    for address in addresses {
        let parsed = address.split_once('/').and_then(|(host, prefix)| {
            let bits = match host.parse::<IpAddr>().ok()? {
                IpAddr::V4(_) => 32,
                IpAddr::V6(_) => 128,
            };
            prefix.parse::<u8>().ok().filter(|prefix| *prefix <= bits)
        });
        if parsed.is_none() {
            return Err(format!(
                "{what}: `{}` is not an address with a prefix: write it like 192.0.2.10/24",
                address.escape_default()
            ));
        }
    }
    if dhcp && !addresses.is_empty() {
        return Err(format!(
            "{what}: write `dhcp = true` or `address`, not both"
        ));
    }
    Ok(())
}

fn check_mtu(what: &str, mtu: Option<u32>) -> Result<(), String> {
    match mtu {
        Some(mtu) if !(576..=9_216).contains(&mtu) => Err(format!("{what}: `mtu` is 576 to 9216")),
        _ => Ok(()),
    }
}

/// The domain of the quarantine's account, which storage makes by itself.
pub const QUARANTINE_DOMAIN: &str = "quarantine.invalid";

/// Domains and accounts belong together. Whether an address is one, the daemon says.
pub fn check_people(domains: &[Domain], accounts: &[Account]) -> Result<(), String> {
    if domains.len() > FIRST_PEOPLE_MAX || accounts.len() > FIRST_PEOPLE_MAX {
        return Err(format!(
            "write at most {FIRST_PEOPLE_MAX} [[domain]] and [[account]]; make more with ringpostctl"
        ));
    }
    for domain in domains {
        check_host("domain.name", &domain.name)?;
        // An address of it would be the quarantine's own, or look like it.
        let name = domain.name.trim_end_matches('.');
        if name.eq_ignore_ascii_case(QUARANTINE_DOMAIN) {
            return Err(format!(
                "domain.name: {QUARANTINE_DOMAIN} is the quarantine's own: remove this [[domain]] and its accounts"
            ));
        }
    }
    for account in accounts {
        let shown = account.address.escape_default();
        let Some((local, domain)) = account.address.rsplit_once('@') else {
            return Err(format!(
                "account.address: `{shown}` is not an address: write it like alice@example.org"
            ));
        };
        if local.is_empty()
            || !domains
                .iter()
                .any(|known| known.name.eq_ignore_ascii_case(domain))
        {
            return Err(format!(
                "account {shown}: its domain is not among [[domain]]: add `[[domain]]` with `name = \"{}\"`",
                domain.escape_default()
            ));
        }
        match (&account.password_hash, &account.password_file) {
            // A plain password here would be stored as a hash that no password fits, and its owner would look for the fault elsewhere.
            (Some(hash), None) if hash.starts_with("$argon2id$") => {}
            (Some(_), None) => {
                return Err(format!(
                    "account {shown}: password_hash is not an argon2id hash: write one that begins with $argon2id$"
                ));
            }
            (None, Some(_)) => {}
            _ => {
                return Err(format!(
                    "account {shown}: write either `password_hash` or `password_file`"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;

    fn told(rest: &str) -> String {
        let text = format!("[volume]\nlegs = [\"/dev/a\", \"/dev/b\"]\n{rest}");
        match Settings::parse("ringpost.toml", &text) {
            Ok(_) => String::new(),
            Err(misfit) => misfit.to_string(),
        }
    }

    #[test]
    fn a_whole_site_is_taken() {
        let told = told(
            "[network]\ndns = [\"192.0.2.53\"]\n\
             [[network.interface]]\nmac = \"52:54:00:12:34:56\"\naddress = [\"192.0.2.10/24\", \"2001:db8::10/64\"]\ngateway = [\"192.0.2.1\"]\nmtu = 9000\n\
             [[network.bond]]\nname = \"bond0\"\nmembers = [\"eth1\", \"eth2\"]\nmode = \"802.3ad\"\n\
             [[network.vlan]]\nname = \"mail\"\nid = 100\non = \"bond0\"\ndhcp = true\n\
             [time]\nntp = [\"ntp.example.org\"]\n\
             [[domain]]\nname = \"example.org\"\n\
             [[account]]\naddress = \"alice@example.org\"\npassword_hash = \"$argon2id$v=19$x\"\nquota = \"1GiB\"\n",
        );
        assert_eq!(told, "");
    }

    #[test]
    fn what_is_wrong_with_a_site_is_one_sentence_with_the_fix() {
        let cases = [
            (
                "[[network.interface]]\ndhcp = true\n",
                "either `name` or `mac`",
            ),
            (
                "[[network.interface]]\nname = \"a\\nb\"\n",
                "not an interface name",
            ),
            (
                "[[network.interface]]\nname = \"eth0\"\naddress = [\"192.0.2.10\"]\n",
                "192.0.2.10/24",
            ),
            (
                "[[network.interface]]\nname = \"eth0\"\naddress = [\"192.0.2.10/33\"]\n",
                "192.0.2.10/24",
            ),
            (
                "[[network.interface]]\nmac = \"52:54\"\n",
                "52:54:00:12:34:56",
            ),
            (
                "[[network.vlan]]\nname = \"v\"\nid = 5000\non = \"eth0\"\n",
                "1 to 4094",
            ),
            (
                "[[domain]]\nname = \"Quarantine.invalid.\"\n",
                "the quarantine's own",
            ),
            ("[time]\nntp = [\"a b\"]\n", "neither a host name"),
            ("[server]\nname = \"a\\r\\nb\"\n", "neither a host name"),
            (
                "[[account]]\naddress = \"alice@example.org\"\npassword_hash = \"$argon2id$\"\n",
                "add `[[domain]]`",
            ),
            (
                "[[domain]]\nname = \"example.org\"\n[[account]]\naddress = \"alice@example.org\"\n",
                "password_hash",
            ),
            (
                "[[domain]]\nname = \"example.org\"\n[[account]]\naddress = \"alice@example.org\"\npassword_hash = \"secret\"\n",
                "argon2id",
            ),
            ("[netwrok]\n", "write `network`"),
        ];
        for (text, what) in cases {
            let told = told(text);
            assert!(
                told.contains(what) && told.contains("ringpost.toml"),
                "{text:?} gave: {told}"
            );
            assert!(!told.contains('\n'), "one sentence: {told}");
        }
    }
}
