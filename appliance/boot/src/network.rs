//! `[network]` and `[time]` → files for systemd-networkd and systemd-timesyncd.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

use plan::Misfit;
use plan::site::{BondMode, Network, Time};

use crate::write::{Mode, replace};

/// A file's path below the root, and its text.
pub type Files = BTreeMap<String, String>;

const DIRECTORY: &str = "run/systemd/network";
const TIME: &str = "run/systemd/timesyncd.conf.d/50-ringpost.conf";

/// The settings of one interface, gathered from every table that names it.
#[derive(Default)]
struct Told {
    matches: String,
    network: String,
    mtu: Option<u32>,
}

/// Without `[network]`: DHCP on every card.
pub fn files(network: Option<&Network>, time: &Time) -> Files {
    let mut files = Files::new();
    match network {
        Some(network) => write_network(network, &mut files),
        None => {
            files.insert(
                format!("{DIRECTORY}/80-ringpost-dhcp.network"),
                "[Match]\nType=ether\nKind=!*\n\n[Network]\nDHCP=yes\n".into(),
            );
        }
    }
    if !time.ntp.is_empty() {
        files.insert(TIME.into(), format!("[Time]\nNTP={}\n", time.ntp.join(" ")));
    }
    files
}

/// Puts what systemd-networkd and systemd-timesyncd read in the place of what this boot wrote before. Says whether each of
/// the two has something new to read.
pub fn put(root: &Path, files: &Files) -> Result<(bool, bool), Misfit> {
    let mut new = (false, false);
    for (path, text) in files {
        let path = root.join(path);
        // An unchanged file is left alone: its interface is then not reconfigured, and connections over it stay.
        if fs::read_to_string(&path).is_ok_and(|there| there == *text) {
            continue;
        }
        replace(&path, text, Mode::Public)?;
        match path.starts_with(root.join(DIRECTORY)) {
            true => new.0 = true,
            false => new.1 = true,
        }
    }
    let is_links = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The profile's `.link` files stay.
        name.contains("-ringpost-") && (name.ends_with(".network") || name.ends_with(".netdev"))
    };
    let directory = root.join(DIRECTORY);
    let mut old = Vec::new();
    match fs::read_dir(&directory) {
        Ok(entries) => {
            for entry in entries {
                old.push(entry.map_err(|error| told(&directory, &error))?.path());
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(told(&directory, &error)),
    }
    let old = old.into_iter().filter(|path| is_links(path));
    for path in old.chain([root.join(TIME)]) {
        let written = path
            .strip_prefix(root)
            .is_ok_and(|below| files.contains_key(below.to_string_lossy().as_ref()));
        if written || !path.exists() {
            continue;
        }
        fs::remove_file(&path).map_err(|error| told(&path, &error))?;
        match path.starts_with(&directory) {
            true => new.0 = true,
            false => new.1 = true,
        }
    }
    Ok(new)
}

/// Removes what an earlier run of this boot wrote for systemd-networkd: settings came meanwhile, or others.
pub fn forget(root: &Path) -> Result<(), Misfit> {
    let directory = root.join(DIRECTORY);
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(told(&directory, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| told(&directory, &error))?;
        if entry.file_name().to_string_lossy().contains("-ringpost-") {
            fs::remove_file(entry.path()).map_err(|error| told(&entry.path(), &error))?;
        }
    }
    Ok(())
}

fn told(path: &Path, error: &std::io::Error) -> Misfit {
    Misfit::new(format!("{}: {error}", path.display()))
}

// Interface, bond and VLAN tables may name the same card, and networkd takes only the first file that matches it. So everything about a
// card is gathered first and written once.
fn write_network(network: &Network, files: &mut Files) {
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    let by_name = |name: &str| format!("Name={name}");
    for interface in &network.interfaces {
        let (key, matches) = match (&interface.name, &interface.mac) {
            (Some(name), _) => (name, by_name(name)),
            // `Kind=!*` leaves bonds and VLANs out, which carry their card's MAC address.
            (None, Some(mac)) => (mac, format!("MACAddress={mac}\nType=ether\nKind=!*")),
            (None, None) => continue, // refused by Network::check
        };
        let entry = told.entry(key.clone()).or_default();
        entry.matches = matches;
        entry.mtu = interface.mtu;
        entry.network = addresses(
            interface.dhcp,
            &interface.address,
            &interface.gateway,
            &network.dns,
        );
    }
    for bond in &network.bonds {
        let entry = told.entry(bond.name.clone()).or_default();
        entry.matches = by_name(&bond.name);
        entry.mtu = bond.mtu;
        entry.network = addresses(bond.dhcp, &bond.address, &bond.gateway, &network.dns);
        let mode = match bond.mode {
            BondMode::ActiveBackup => "active-backup",
            BondMode::Lacp => "802.3ad",
        };
        // A link that is gone is noticed after a tenth of a second.
        files.insert(
            format!("{DIRECTORY}/50-ringpost-{}.netdev", bond.name),
            format!(
                "[NetDev]\nName={}\nKind=bond\n\n[Bond]\nMode={mode}\nMIIMonitorSec=100ms\n",
                bond.name
            ),
        );
        for member in &bond.members {
            let entry = told.entry(member.clone()).or_default();
            entry.matches = by_name(member);
            let _ = writeln!(entry.network, "Bond={}", bond.name);
        }
    }
    for vlan in &network.vlans {
        let entry = told.entry(vlan.name.clone()).or_default();
        entry.matches = by_name(&vlan.name);
        entry.network = addresses(vlan.dhcp, &vlan.address, &vlan.gateway, &network.dns);
        files.insert(
            format!("{DIRECTORY}/50-ringpost-{}.netdev", vlan.name),
            format!(
                "[NetDev]\nName={}\nKind=vlan\n\n[VLAN]\nId={}\n",
                vlan.name, vlan.id
            ),
        );
        let carrier = told.entry(vlan.on.clone()).or_default();
        if carrier.matches.is_empty() {
            carrier.matches = by_name(&vlan.on);
        }
        let _ = writeln!(carrier.network, "VLAN={}", vlan.name);
    }
    for (name, told) in told {
        let mut text = format!("[Match]\n{}\n", told.matches);
        if let Some(mtu) = told.mtu {
            let _ = write!(text, "\n[Link]\nMTUBytes={mtu}\n");
        }
        let _ = write!(text, "\n[Network]\n{}", told.network);
        let name = name.replace([':', '*'], "-");
        files.insert(format!("{DIRECTORY}/50-ringpost-{name}.network"), text);
    }
}

fn addresses(dhcp: bool, addresses: &[String], gateways: &[IpAddr], dns: &[IpAddr]) -> String {
    let mut text = String::new();
    if dhcp {
        text.push_str("DHCP=yes\n");
    }
    for address in addresses {
        let _ = writeln!(text, "Address={address}");
    }
    for gateway in gateways {
        let _ = writeln!(text, "Gateway={gateway}");
    }
    // A member of a bond has no addresses, and name servers on it would be asked through a card that carries no IP.
    if dhcp || !addresses.is_empty() {
        for server in dns {
            let _ = writeln!(text, "DNS={server}");
        }
    }
    text
}

/// Queue pairs for cards: a `.link` file each. It stands before the distribution's, whose naming it keeps.
pub fn queue_files(cards: &[(String, u64)]) -> Files {
    let mut files = Files::new();
    for (mac, queues) in cards {
        let name = mac.replace(':', "-");
        files.insert(
            format!("{DIRECTORY}/50-ringpost-{name}.link"),
            format!(
                "[Match]\nPermanentMACAddress={mac}\n\n[Link]\nNamePolicy=keep kernel database onboard slot path\nCombinedChannels={queues}\n"
            ),
        );
    }
    files
}

pub(crate) fn set_host_name(root: &Path, name: &str) -> Result<(), Misfit> {
    // The kernel's name has no domain; what mail uses is `server.name`, whole.
    let host = name.split('.').next().unwrap_or(name);
    std::fs::write(root.join("proc/sys/kernel/hostname"), host)
        .map_err(|error| Misfit::new(format!("the host name cannot be set to {host}: {error}")))
}

#[cfg(test)]
mod tests {
    use plan::Settings;

    use super::*;

    fn written(text: &str) -> Files {
        let settings = Settings::parse("f", &format!("[volume]\nlegs = [\"/a\", \"/b\"]\n{text}"))
            .expect("right");
        files(settings.network.as_ref(), &settings.time)
    }

    #[test]
    fn nothing_said_means_dhcp_on_every_card() {
        let files = written("");
        assert_eq!(files.len(), 1);
        assert!(files["run/systemd/network/80-ringpost-dhcp.network"].contains("DHCP=yes"));
    }

    #[test]
    fn a_bond_carries_a_vlan_with_addresses() {
        let files = written(
            "[network]\ndns = [\"192.0.2.53\"]\n\
             [[network.bond]]\nname = \"bond0\"\nmembers = [\"eth0\", \"eth1\"]\nmode = \"802.3ad\"\nmtu = 9000\n\
             [[network.vlan]]\nname = \"mail\"\nid = 100\non = \"bond0\"\naddress = [\"192.0.2.10/24\"]\ngateway = [\"192.0.2.1\"]\n",
        );
        let file = |name: &str| files[&format!("run/systemd/network/50-ringpost-{name}")].as_str();
        assert_eq!(
            file("eth1.network"),
            "[Match]\nName=eth1\n\n[Network]\nBond=bond0\n"
        );
        assert!(file("bond0.netdev").contains("Mode=802.3ad"));
        assert_eq!(
            file("bond0.network"),
            "[Match]\nName=bond0\n\n[Link]\nMTUBytes=9000\n\n[Network]\nVLAN=mail\n"
        );
        assert!(file("mail.netdev").contains("Kind=vlan\n\n[VLAN]\nId=100"));
        assert_eq!(
            file("mail.network"),
            "[Match]\nName=mail\n\n[Network]\nAddress=192.0.2.10/24\nGateway=192.0.2.1\nDNS=192.0.2.53\n"
        );
    }

    #[test]
    fn only_what_changed_is_put_and_what_is_no_longer_said_is_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        let link = root.join(DIRECTORY).join("50-ringpost-52-54.link");
        fs::create_dir_all(link.parent().expect("below")).expect("ours");
        fs::write(&link, "queues").expect("ours");
        let dhcp = written("[time]\nntp = [\"a\"]\n");
        assert_eq!(put(root, &dhcp), Ok((true, true)));
        assert_eq!(put(root, &dhcp), Ok((false, false)));
        let address = "[[network.interface]]\nname = \"e\"\naddress = [\"192.0.2.1/24\"]\n";
        assert_eq!(
            put(root, &written(&format!("{address}[time]\nntp = [\"a\"]\n"))),
            Ok((true, false))
        );
        assert!(
            !root
                .join(DIRECTORY)
                .join("80-ringpost-dhcp.network")
                .exists()
        );
        assert_eq!(put(root, &written(address)), Ok((false, true)));
        assert!(!root.join(TIME).exists() && link.exists());
    }

    #[test]
    fn a_card_is_found_by_its_mac_and_time_servers_are_told() {
        let files = written(
            "[[network.interface]]\nmac = \"52:54:00:12:34:56\"\ndhcp = true\n[time]\nntp = [\"a.example.org\", \"192.0.2.1\"]\n",
        );
        let text = &files["run/systemd/network/50-ringpost-52-54-00-12-34-56.network"];
        assert!(text.contains("MACAddress=52:54:00:12:34:56") && text.contains("DHCP=yes"));
        let time = &files["run/systemd/timesyncd.conf.d/50-ringpost.conf"];
        assert_eq!(time, "[Time]\nNTP=a.example.org 192.0.2.1\n");
    }
}
