//! Where mail for a domain goes: one fixed server for everything, or the domain's own (RFC 5321 §5.1).

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use dns::{Exchanger, Exchangers, NameFault, Names};
use sts::{Mode, Policy};

use super::dane::{self, Demand};
use super::limits::ADDRESSES_PER_TRY;
use super::verdict::{Class, Said, Verdict};

/// How messages leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To the servers that the domain names; `port` is 25 but in tests.
    Exchangers { port: u16 },
    /// To one server, whatever the domain: a smart host, or a sink.
    Fixed(FixedServer),
    /// Nothing leaves; what is for mailboxes of ours is placed.
    Nowhere,
}

/// `HOST:PORT`, where HOST is a name, an IPv4 address, or an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedServer {
    pub host: String,
    pub port: u16,
}

impl FromStr for FixedServer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<FixedServer, &'static str> {
        const WANTED: &str = "HOST:PORT is wanted, for example 127.0.0.1:2525 or [::1]:2525";
        let (host, port) = text.rsplit_once(':').ok_or(WANTED)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or(WANTED)?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_right = match bare {
            Some(address) => address
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_ipv6()),
            None => !host.is_empty() && !host.contains([':', '[', ']', '/', ' ']),
        };
        match is_right {
            true => Ok(FixedServer {
                host: bare.unwrap_or(host).to_owned(),
                port,
            }),
            false => Err(WANTED),
        }
    }
}

impl std::fmt::Display for FixedServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// One address to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The server's name, for TLS and for people.
    pub host: String,
    pub address: SocketAddr,
    pub demand: Demand,
}

impl Route {
    pub fn is_fixed(&self) -> bool {
        matches!(self, Route::Fixed(_))
    }

    /// What messages for `domain` share connections by.
    pub fn site(&self, domain: &str) -> String {
        match self {
            Route::Exchangers { .. } | Route::Nowhere => domain.to_owned(),
            Route::Fixed(server) => server.to_string(),
        }
    }

    /// The addresses to dial for mail to `domain`, in this order; at least one, at most `ADDRESSES_PER_TRY`. `ours`: the name of this
    /// server, to which nothing is sent. `policy`: the domain's, if it is to be met (MTA-STS); not for a fixed server.
    pub async fn candidates(
        &self,
        names: &impl Names,
        domain: &str,
        ours: &str,
        policy: Option<&Policy>,
    ) -> Result<Vec<Candidate>, Verdict> {
        let (hosts, port, proved) = match self {
            Route::Fixed(server) => (vec![server.host.clone()], server.port, false),
            Route::Nowhere => {
                let words = "this server sends nothing to others";
                return Err(Verdict::Later(Class::Names, Said::ours("4.4.1", words)));
            }
            Route::Exchangers { port } => {
                let (hosts, proved) = match names.proved_exchangers(domain).await {
                    Ok((Exchangers::Hosts(hosts), proved)) => (hosts, proved),
                    // RFC 7505 §4.
                    Ok((Exchangers::Nowhere, _)) => {
                        let words = format!("{domain} takes no mail (null MX)");
                        return Err(Verdict::Failed(Said::ours("5.1.10", words)));
                    }
                    Err(NameFault::NoSuchDomain) => {
                        let words = format!("there is no domain {domain} that takes mail");
                        return Err(Verdict::Failed(Said::ours("5.1.2", words)));
                    }
                    Err(NameFault::Unavailable(why)) => return Err(unavailable(domain, &why)),
                };
                (before_ours(hosts, domain, ours)?, *port, proved)
            }
        };
        let mut candidates = Vec::new();
        let mut unknown = None;
        let mut unnamed = Vec::new();
        for host in &hosts {
            let found = async {
                let addresses = addresses(names, host).await?;
                let demand = match proved {
                    true => dane::demand(names, host, port, domain).await?,
                    false => Demand::None,
                };
                Ok((addresses, demand))
            };
            match found.await {
                Ok((addresses, demand)) => {
                    let Some(demand) = with_policy(demand, policy, host) else {
                        unnamed.push(host.as_str());
                        continue;
                    };
                    candidates.extend(addresses.into_iter().map(|ip| Candidate {
                        host: host.clone(),
                        address: SocketAddr::new(ip, port),
                        demand: demand.clone(),
                    }));
                }
                // RFC 5321 §5.1: the next one may have one.
                Err(NameFault::NoSuchDomain) => {}
                Err(NameFault::Unavailable(why)) => {
                    unknown.get_or_insert_with(|| unavailable(host, &why));
                }
            }
            if candidates.len() >= ADDRESSES_PER_TRY {
                break;
            }
        }
        candidates.truncate(ADDRESSES_PER_TRY);
        match (candidates.is_empty(), unknown, self) {
            (false, ..) => Ok(candidates),
            (true, Some(unknown), _) => Err(unknown),
            (true, None, _) if !unnamed.is_empty() => {
                let words = format!(
                    "the policy of {domain} (MTA-STS) does not name {}",
                    unnamed.join(", ")
                );
                Err(Verdict::Later(Class::Connect, Said::ours("4.7.5", words)))
            }
            // The operator's mistake is not the sender's.
            (true, None, Route::Fixed(server)) => {
                let words = format!("the server {server} has no address");
                Err(Verdict::Later(Class::Names, Said::ours("4.4.3", words)))
            }
            (true, None, Route::Exchangers { .. } | Route::Nowhere) => {
                let words = format!("no server of {domain} has an address");
                Err(Verdict::Failed(Said::ours("5.4.4", words)))
            }
        }
    }
}

/// What the domain's policy adds. RFC 8461 §2: where there are TLSA records that can be matched, they count. Records that cannot be used demand TLS and
/// prove nothing (RFC 7672 §2.2): they do not excuse a server from a policy that is enforced. `None`: the host must not be used.
fn with_policy(demand: Demand, policy: Option<&Policy>, host: &str) -> Option<Demand> {
    let Some(policy) = policy else {
        return Some(demand);
    };
    let (is_enforced, is_named) = (policy.mode == Mode::Enforce, policy.names(host));
    match demand {
        Demand::Dane { .. } => Some(demand),
        Demand::Tls if !is_enforced => Some(demand),
        _ => (is_named || !is_enforced).then_some(Demand::Policy {
            is_enforced,
            is_named,
        }),
    }
}

/// The server of a site that a route names (`storage::outgoing::site_of`), and whether it must be reached by TLS. `None`: the site is a domain.
pub fn by_route(site: &str) -> Option<(Route, bool)> {
    let server = site.strip_prefix('=')?;
    let (server, needs_tls) = match server.strip_suffix(" tls") {
        Some(server) => (server, true),
        None => (server, false),
    };
    Some((Route::Fixed(server.parse().ok()?), needs_tls))
}

async fn addresses(names: &impl Names, host: &str) -> Result<Vec<IpAddr>, NameFault> {
    match host.parse() {
        Ok(address) => Ok(vec![address]),
        Err(_) => names.addresses(host).await,
    }
}

/// RFC 5321 §5.1: where this server is among them, only those that are preferred to it are tried; where there are none the domain
/// points to us and we do not know it.
fn before_ours(hosts: Vec<Exchanger>, domain: &str, ours: &str) -> Result<Vec<String>, Verdict> {
    let is_ours = |one: &Exchanger| one.host.eq_ignore_ascii_case(ours.trim_end_matches('.'));
    let own = hosts
        .iter()
        .find(|one| is_ours(one))
        .map(|one| one.preference);
    let kept = hosts
        .into_iter()
        .filter(|one| own.is_none_or(|own| one.preference < own));
    let kept: Vec<String> = kept.map(|one| one.host).collect();
    if kept.is_empty() {
        let words = format!("mail for {domain} comes back to this server, which does not take it");
        return Err(Verdict::Failed(Said::ours("5.4.6", words)));
    }
    Ok(kept)
}

fn unavailable(name: &str, why: &str) -> Verdict {
    let words = format!("{name} cannot be looked up now: {why}");
    Verdict::Later(Class::Names, Said::ours("4.4.3", words))
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use device::sim::SimWorld;
    use dns::Table;

    use super::*;

    const OURS: &str = "mx.example.org";
    const MX: Route = Route::Exchangers { port: 25 };

    fn with_names<F: Future<Output = ()>>(story: impl FnOnce(Table) -> F) {
        let world = SimWorld::new(1);
        let host = world.io().host;
        world.block_on(story(Table::new(&host, 1)));
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn lasts(found: Result<Vec<Candidate>, Verdict>) -> Vec<String> {
        let each = found.expect("there are some").into_iter();
        each.map(|one| format!("{} {}", one.host, one.address))
            .collect()
    }

    #[test]
    fn servers_are_tried_by_preference_and_with_all_addresses() {
        with_names(|names| async move {
            names.set_exchangers("a.example", &[(20, "two.example"), (10, "one.example")]);
            names.set_addresses("one.example", &[ip(1), ip(2)]);
            names.set_addresses("two.example", &[ip(3)]);
            let found = MX.candidates(&names, "a.example", OURS, None).await;
            let wanted = [
                "one.example 192.0.2.1:25",
                "one.example 192.0.2.2:25",
                "two.example 192.0.2.3:25",
            ];
            assert_eq!(lasts(found), wanted);
            // One that does not exist is passed over, and one that cannot be looked up too.
            names.remove("one.example");
            assert_eq!(
                lasts(MX.candidates(&names, "a.example", OURS, None).await),
                wanted[2..]
            );
            names.set_failing("one.example", Some("SERVFAIL"));
            assert_eq!(
                lasts(MX.candidates(&names, "a.example", OURS, None).await),
                wanted[2..]
            );
            // No MX: the domain itself.
            let found = MX.candidates(&names, "two.example", OURS, None).await;
            assert_eq!(lasts(found), wanted[2..]);
            let found = MX.candidates(&names, "[192.0.2.9]", OURS, None).await;
            assert_eq!(lasts(found), ["[192.0.2.9] 192.0.2.9:25"]);
        });
    }

    #[test]
    fn what_is_for_good_and_what_may_pass() {
        with_names(|names| async move {
            names.set_exchangers("null.example", &[(0, ".")]);
            names.set_exchangers("empty.example", &[(10, "nowhere.example")]);
            names.set_failing("broken.example", Some("SERVFAIL"));
            names.set_exchangers(
                "half.example",
                &[(10, "nowhere.example"), (20, "broken.example")],
            );
            for (domain, wanted) in [
                ("null.example", "5.1.10"),
                ("absent.example", "5.1.2"),
                ("empty.example", "5.4.4"),
                ("broken.example", "4.4.3"),
                ("half.example", "4.4.3"),
                ("", "5.1.2"),
                ("a b", "5.1.2"),
            ] {
                let refused = MX
                    .candidates(&names, domain, OURS, None)
                    .await
                    .expect_err(domain);
                assert!(
                    refused.said().text.starts_with(wanted),
                    "{domain}: {refused:?}"
                );
                let is_later = matches!(refused, Verdict::Later(Class::Names, _));
                assert_eq!(is_later, wanted.starts_with('4'), "{domain}");
            }
        });
    }

    #[test]
    fn nothing_is_sent_to_ourselves_or_behind_us() {
        with_names(|names| async move {
            let all = [
                (10, "one.example"),
                (20, "MX.example.org"),
                (20, "equal.example"),
                (30, "two.example"),
            ];
            names.set_exchangers("a.example", &all);
            for (last, host) in ["one.example", OURS, "equal.example", "two.example"]
                .iter()
                .enumerate()
            {
                names.set_addresses(host, &[ip(last as u8 + 1)]);
            }
            let found = MX
                .candidates(&names, "a.example", "mx.Example.org.", None)
                .await;
            assert_eq!(lasts(found), ["one.example 192.0.2.1:25"]);
            names.set_exchangers("b.example", &all[1..]);
            let refused = MX.candidates(&names, "b.example", OURS, None).await;
            let refused = refused.expect_err("it is a loop");
            assert!(matches!(&refused, Verdict::Failed(said) if said.text.starts_with("5.4.6")));
        });
    }

    #[test]
    fn a_try_has_a_bounded_number_of_addresses() {
        with_names(|names| async move {
            let hosts: Vec<String> = (0..100).map(|host| format!("h{host}.example")).collect();
            let some: Vec<(u16, &str)> = hosts.iter().map(|host| (10, host.as_str())).collect();
            names.set_exchangers("many.example", &some);
            let addresses: Vec<IpAddr> = (1..=16).map(ip).collect();
            hosts
                .iter()
                .for_each(|host| names.set_addresses(host, &addresses));
            let found = MX.candidates(&names, "many.example", OURS, None).await;
            assert_eq!(found.expect("some").len(), ADDRESSES_PER_TRY);
        });
    }

    #[test]
    fn a_fixed_server_is_for_every_domain() {
        for (text, shown) in [
            ("127.0.0.1:2525", "127.0.0.1:2525"),
            ("[::1]:2525", "[::1]:2525"),
            ("smart.example:25", "smart.example:25"),
        ] {
            let server: FixedServer = text.parse().expect("it is right");
            assert_eq!(server.to_string(), shown);
            assert_eq!(Route::Fixed(server).site("a.example"), shown);
        }
        for bad in [
            "",
            "a",
            "a:",
            ":25",
            "a:0",
            "a:99999",
            "::1:25",
            "[a]:25",
            "a b:25",
            "[127.0.0.1]:25",
        ] {
            assert!(bad.parse::<FixedServer>().is_err(), "{bad}");
        }
        with_names(|names| async move {
            let fixed = |text: &str| Route::Fixed(text.parse().expect("right"));
            let found = fixed("[::1]:2525")
                .candidates(&names, "a.example", OURS, None)
                .await;
            assert_eq!(lasts(found), ["::1 [::1]:2525"]);
            // A wrong setting loses nothing.
            let later = fixed("absent.example:25")
                .candidates(&names, "a.example", OURS, None)
                .await;
            assert!(matches!(later, Err(Verdict::Later(Class::Names, _))));
            assert_eq!(names.lookups(), 1);
        });
    }

    #[test]
    fn the_site_of_a_route_is_its_server_again() {
        use mailbox::names;
        for (host, port, needs_tls) in [("smart.example", 587, true), ("::1", 25, false)] {
            let route = names::Route::Host {
                host: host.to_owned(),
                port,
                needs_tls,
            };
            let site = storage::outgoing::site_of(&route).expect("it names a server");
            let server = FixedServer {
                host: host.to_owned(),
                port,
            };
            assert_eq!(by_route(&site), Some((Route::Fixed(server), needs_tls)));
        }
        assert_eq!(storage::outgoing::site_of(&names::Route::Here), None);
        assert_eq!(by_route("a.example"), None);
    }
}
