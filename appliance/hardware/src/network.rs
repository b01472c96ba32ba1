//! Links, addresses, routes and name servers, as they are now. Reads only.
//!
//! The console, `ringpostctl` and the alarms show this. A file that cannot be read leaves its field empty: half a
//! picture is better than none where an operator looks for a fault.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::read;

/// The network of the machine at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Without the loopback.
    pub links: Vec<Link>,
    /// IPv4 first, then IPv6.
    pub routes: Vec<Route>,
    /// As systemd-networkd got them, by settings or by DHCP.
    pub name_servers: Vec<String>,
    /// Names or addresses of NTP servers, from the same source.
    pub time_servers: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The kernel's name, for example `enp1s0`.
    pub name: String,
    /// `card`, `bond`, `vlan`, or what else the kernel calls it.
    pub kind: String,
    /// The hardware address, six octets in hexadecimal with colons.
    pub mac: String,
    /// The kernel's word: `up`, `down`, `dormant`, …
    pub state: String,
    /// Megabits a second, where the card says so.
    pub speed_mbit: Option<u64>,
    /// The largest packet in bytes.
    pub mtu: u64,
    /// The kernel driver; empty for a virtual interface.
    pub driver: String,
    /// With their prefixes.
    pub addresses: Vec<String>,
    /// Bytes received since the interface came up.
    pub received_bytes: u64,
    /// Bytes sent since the interface came up.
    pub sent_bytes: u64,
    /// Packets that were damaged or thrown away, both ways.
    pub errors: u64,
    /// What a bond has besides; `None` for other interfaces.
    pub bond: Option<Bond>,
    /// What it stands on: a VLAN's card, a bond's members.
    pub on: Vec<String>,
}

/// A bond: several cards that act as one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bond {
    /// As in settings: `active-backup`, `802.3ad`.
    pub mode: String,
    /// The member that carries everything, in `active-backup`.
    pub active: Option<String>,
    pub members: Vec<Member>,
}

/// One card of a bond.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The kernel's name of the card.
    pub name: String,
    /// Whether its link is up, by the monitor of the bond (MII).
    pub up: bool,
    /// How often its link was lost.
    pub failures: u64,
}

/// One route of the main table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// `default`, or an address with its prefix.
    pub to: String,
    /// `None`: the network is on the link itself.
    pub by: Option<String>,
    /// The interface that packets leave by.
    pub link: String,
    /// Of several routes to one destination the one with the lowest metric is taken.
    pub metric: u32,
}

/// The network below `root`; addresses are asked of the running kernel, so `addresses` is empty for a tree of files.
pub fn look(root: &Path, addresses: &Addresses) -> Network {
    let directory = root.join("sys/class/net");
    let links = read::names(&directory)
        .into_iter()
        .filter(|name| name != "lo" && directory.join(name).join("ifindex").exists())
        .map(|name| link(&directory, name, addresses))
        .collect();
    let mut routes = routes4(&read::text(&root.join("proc/net/route")).unwrap_or_default());
    routes.extend(routes6(
        &read::text(&root.join("proc/net/ipv6_route")).unwrap_or_default(),
    ));
    let told = read::text(&root.join("run/systemd/netif/state")).unwrap_or_default();
    Network {
        links,
        routes,
        name_servers: words(&told, "DNS="),
        time_servers: words(&told, "NTP="),
    }
}

/// Addresses with their prefixes, by link.
pub type Addresses = BTreeMap<String, Vec<String>>;

/// Of this machine, by the kernel's own answer (rtnetlink, through getifaddrs). Empty when it may not be asked.
pub fn addresses() -> Addresses {
    let mut found = Addresses::new();
    for entry in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let ip = |address: Option<&nix::sys::socket::SockaddrStorage>| -> Option<IpAddr> {
            let address = address?;
            let four = address.as_sockaddr_in().map(|four| IpAddr::V4(four.ip()));
            four.or(address.as_sockaddr_in6().map(|six| IpAddr::V6(six.ip())))
        };
        let Some(address) = ip(entry.address.as_ref()) else {
            continue;
        };
        let prefix = match ip(entry.netmask.as_ref()) {
            Some(IpAddr::V4(mask)) => mask.to_bits().leading_ones(),
            Some(IpAddr::V6(mask)) => mask.to_bits().leading_ones(),
            None => continue,
        };
        let addresses = found.entry(entry.interface_name).or_default();
        addresses.push(format!("{address}/{prefix}"));
    }
    found
}

/// Reads what `/sys/class/net` has of one interface.
fn link(directory: &Path, name: String, addresses: &Addresses) -> Link {
    let at = directory.join(&name);
    let word = |file: &str| read::text(&at.join(file)).unwrap_or_default();
    let count = |file: &str| read::number(&at.join("statistics").join(file)).unwrap_or(0);
    let kind = match word("uevent")
        .lines()
        .find_map(|line| line.strip_prefix("DEVTYPE="))
    {
        Some(kind) => kind.to_owned(),
        None if at.join("device").exists() => "card".to_owned(),
        None => "virtual".to_owned(),
    };
    let on = read::names(&at)
        .iter()
        .filter_map(|file| file.strip_prefix("lower_").map(str::to_owned))
        .collect();
    Link {
        kind,
        mac: word("address"),
        state: word("operstate"),
        // -1 or an error while there is no link.
        speed_mbit: read::number(&at.join("speed")).filter(|speed| *speed > 0),
        mtu: read::number(&at.join("mtu")).unwrap_or(0),
        driver: read::target_name(&at.join("device/driver")).unwrap_or_default(),
        addresses: addresses.get(&name).cloned().unwrap_or_default(),
        received_bytes: count("rx_bytes"),
        sent_bytes: count("tx_bytes"),
        errors: count("rx_errors") + count("tx_errors") + count("rx_dropped") + count("tx_dropped"),
        bond: bond(directory, &name),
        on,
        name,
    }
}

/// The bond's own files; `None` when the interface is not a bond.
fn bond(directory: &Path, name: &str) -> Option<Bond> {
    let at = directory.join(name).join("bonding");
    // `802.3ad 4`: the word, then the kernel's number of it.
    let mode = read::text(&at.join("mode"))?;
    let members = read::text(&at.join("slaves")).unwrap_or_default();
    let members = members.split_whitespace().map(|member| {
        let of = directory.join(member).join("bonding_slave");
        Member {
            name: member.to_owned(),
            up: read::text(&of.join("mii_status")).is_some_and(|state| state == "up"),
            failures: read::number(&of.join("link_failure_count")).unwrap_or(0),
        }
    });
    Some(Bond {
        mode: mode
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned(),
        active: read::text(&at.join("active_slave")).filter(|active| !active.is_empty()),
        members: members.collect(),
    })
}

/// Sentences about links that should be looked at.
pub fn alarms(network: &Network) -> Vec<String> {
    let mut alarms = Vec::new();
    for link in &network.links {
        for member in link.bond.iter().flat_map(|bond| &bond.members) {
            if !member.up {
                alarms.push(format!(
                    "{}: its member {} has no link",
                    link.name, member.name
                ));
            }
        }
    }
    alarms
}

/// `/proc/net/route`: addresses are words of the machine's own byte order, in hexadecimal.
fn routes4(text: &str) -> Vec<Route> {
    let address = |word: &str| {
        let bits = u32::from_str_radix(word, 16).ok()?;
        Some(Ipv4Addr::from(bits.to_ne_bytes()))
    };
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [link, to, by, _, _, _, metric, mask, ..] = words[..] else {
            return None;
        };
        let (to, by, mask) = (address(to)?, address(by)?, address(mask)?);
        Some(Route {
            to: destination(to.into(), mask.to_bits().leading_ones()),
            by: (!by.is_unspecified()).then(|| by.to_string()),
            link: link.to_owned(),
            metric: metric.parse().ok()?,
        })
    };
    // The first line is the head.
    text.lines().skip(1).filter_map(route).collect()
}

/// `/proc/net/ipv6_route`, without what every machine has: loopback, link-local, multicast, single hosts.
fn routes6(text: &str) -> Vec<Route> {
    let address = |word: &str| u128::from_str_radix(word, 16).ok().map(Ipv6Addr::from);
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [to, prefix, _, _, by, metric, _, _, _, link] = words[..] else {
            return None;
        };
        let (to, by) = (address(to)?, address(by)?);
        let prefix = u32::from_str_radix(prefix, 16).ok()?;
        let common = link == "lo" || to.is_unicast_link_local() || to.is_multicast();
        (!common && prefix < 128).then(|| {
            Some(Route {
                to: destination(to.into(), prefix),
                by: (!by.is_unspecified()).then(|| by.to_string()),
                link: link.to_owned(),
                metric: u32::from_str_radix(metric, 16).ok()?,
            })
        })?
    };
    text.lines().filter_map(route).collect()
}

/// A destination as `ip route` writes it.
fn destination(to: IpAddr, prefix: u32) -> String {
    match (to.is_unspecified(), prefix) {
        (true, 0) => "default".to_owned(),
        _ => format!("{to}/{prefix}"),
    }
}

/// The words after `key` in lines like `DNS=10.0.2.3 10.0.2.4`.
fn words(text: &str, key: &str) -> Vec<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let words = line.unwrap_or_default().split_whitespace();
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn a_bond_with_a_dead_member_is_shown_and_alarmed() {
        let fixture = Fixture::new()
            .file("sys/class/net/bond0/ifindex", "4\n")
            .file(
                "sys/class/net/bond0/uevent",
                "DEVTYPE=bond\nINTERFACE=bond0\n",
            )
            .file("sys/class/net/bond0/operstate", "up\n")
            .file("sys/class/net/bond0/speed", "10000\n")
            .file("sys/class/net/bond0/mtu", "9000\n")
            .file("sys/class/net/bond0/bonding/mode", "active-backup 1\n")
            .file("sys/class/net/bond0/bonding/slaves", "eth0 eth1\n")
            .file("sys/class/net/bond0/bonding/active_slave", "eth1\n")
            .file("sys/class/net/bond0/lower_eth0/x", "")
            .file("sys/class/net/bond0/statistics/rx_dropped", "3\n")
            .file("sys/class/net/eth0/bonding_slave/mii_status", "down\n")
            .file("sys/class/net/eth0/bonding_slave/link_failure_count", "2\n")
            .file("sys/class/net/eth1/bonding_slave/mii_status", "up\n")
            .file("sys/class/net/lo/ifindex", "1\n")
            .file("sys/class/net/bonding_masters", "bond0\n")
            .file(
                "run/systemd/netif/state",
                "OPER_STATE=routable\nDNS=192.0.2.53 192.0.2.54\nNTP=ntp.example.org\n",
            );
        let addresses = Addresses::from([("bond0".to_owned(), vec!["192.0.2.10/24".to_owned()])]);
        let network = look(fixture.root(), &addresses);
        let [bond] = &network.links[..] else {
            panic!("{network:?}");
        };
        assert_eq!(
            (bond.kind.as_str(), bond.speed_mbit, bond.mtu),
            ("bond", Some(10_000), 9_000)
        );
        assert_eq!(
            (&bond.addresses[..], bond.errors),
            (&["192.0.2.10/24".to_owned()][..], 3)
        );
        assert_eq!(bond.on, ["eth0"]);
        let of = bond.bond.as_ref().expect("a bond");
        assert_eq!(
            (of.mode.as_str(), of.active.as_deref()),
            ("active-backup", Some("eth1"))
        );
        assert_eq!(alarms(&network), ["bond0: its member eth0 has no link"]);
        assert_eq!(network.name_servers, ["192.0.2.53", "192.0.2.54"]);
        assert_eq!(network.time_servers, ["ntp.example.org"]);
    }

    #[test]
    fn routes_are_read_as_the_kernel_writes_them() {
        let four = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0202000A\t0003\t0\t0\t1024\t00000000\t0\t0\t0\n\
            eth0\t0002000A\t00000000\t0001\t0\t0\t1024\t00FFFFFF\t0\t0\t0\n";
        if cfg!(target_endian = "little") {
            let told: Vec<String> = routes4(four).iter().map(show).collect();
            assert_eq!(
                told,
                ["default by 10.0.2.2 on eth0", "10.0.2.0/24 by - on eth0"]
            );
        }
        let six = "20010db8000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n\
            fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n\
            00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000002 00000400 00000001 00000000 00000001     eth0\n\
            00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000001 00000000 80200001       lo\n";
        let told: Vec<String> = routes6(six).iter().map(show).collect();
        assert_eq!(
            told,
            ["2001:db8::/64 by - on eth0", "default by fe80::2 on eth0"]
        );
    }

    fn show(route: &Route) -> String {
        let by = route.by.as_deref().unwrap_or("-");
        format!("{} by {by} on {}", route.to, route.link)
    }

    #[test]
    fn this_machine_has_a_loopback_with_its_prefix() {
        let found = addresses();
        let loopback = found.get("lo").cloned().unwrap_or_default();
        assert!(loopback.contains(&"127.0.0.1/8".to_owned()), "{found:?}");
    }

    #[test]
    fn nonsense_is_no_route_and_no_panic() {
        assert!(routes4("head\nx\neth0 zz 0 0 0 0 0 0\n").is_empty());
        assert!(routes6("x y z\n").is_empty());
        assert_eq!(
            look(Path::new("/nonexistent"), &Addresses::new()),
            Network::default()
        );
    }
}
