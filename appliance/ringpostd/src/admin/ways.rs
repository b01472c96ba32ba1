//! Which way mail takes and why, and another way for mail that waits.
//!
//! The way is worked out again from what decides about the next try: the directory, the routes, the daemon's own `--outbound-to`, and the records of
//! the domain with a resolver that has nothing in its cache. Nothing is fetched and no server is dialled: of policies (MTA-STS) the kept one is
//! shown. To move mail that waits is to set a route, which every later try obeys, and to make what waits due; a mark on each message was the other
//! way, but new mail for the domain would go on to the server that does not take it.

use std::time::{SystemTime, UNIX_EPOCH};

use ::admin::limits::{QUEUE_PAGE_MAX, WAYS_SHOWN_MAX};
use ::admin::request::Request;
use ::admin::ways::{Rerouted, Way, WayServer, Ways};
use ::queue::{QueueFault, QueueId, RecipientState, UnixSeconds};
use ::storage::addresses::{Meaning, meaning};
use ::storage::outgoing::{Outgoing, site_of};
use client::relay::dane::Demand;
use client::relay::{FixedServer, Route as Leaves, destination};
use dns::Names;
use mail::{Address, spelling};
use mailbox::names::{Route, parse_scope};
use mailbox::{MailboxFault, Mailboxes};
use serde_json::Value;
use sts::{Mode, Policy};

use crate::admin::shared::{Admin, Refused, document};

/// Performs a request about ways.
pub(crate) async fn perform(admin: &Admin, request: Request) -> Result<Value, Refused> {
    match request {
        Request::QueueRoute { of } => document(&show(admin, &of).await?),
        Request::QueueReroute {
            domain,
            host,
            needs_tls,
        } => document(&reroute(admin, &domain, &host, needs_tls).await?),
        _ => Err("not about ways".into()),
    }
}

async fn show(admin: &Admin, of: &str) -> Result<Ways, Refused> {
    let (paths, others) = match of.parse() {
        Ok(id) => waiting(admin, QueueId(id)).await?,
        Err(_) => (vec![of.to_owned()], 0),
    };
    let names = crate::cores::names(admin.plan());
    let mut ways = Vec::new();
    for path in paths {
        let known = known(admin, path).await?;
        ways.push(way(&names, admin.leaves(), &admin.plan().server_name, known).await);
    }
    Ok(Ways { ways, others })
}

/// The recipients of a message that wait, and how many are not among them.
async fn waiting(admin: &Admin, id: QueueId) -> Result<(Vec<String>, usize), Refused> {
    let entry = admin
        .outgoing(async move |outgoing| outgoing.queue().entry(id).ok_or(QueueFault::NoEntry))
        .await?;
    let waiting = entry
        .recipients
        .iter()
        .filter(|each| matches!(each.state, RecipientState::Waiting(_)));
    let mut paths: Vec<String> = waiting.map(|each| each.to.path.clone()).collect();
    let others = paths.len().saturating_sub(WAYS_SHOWN_MAX);
    paths.truncate(WAYS_SHOWN_MAX);
    Ok((paths, others))
}

/// What storage has about an address or a domain.
/// Looked up in one visit to the storage thread; the resolver is asked afterwards, on this one, since a name server may take seconds.
struct Known {
    of: String,
    domain: String,
    here: Here,
    /// The route that counts for it, with its scope.
    route: Option<(String, Route)>,
    policy: Option<Policy>,
}

enum Here {
    /// Its domain is not ours.
    No,
    /// The domain itself was asked for.
    Domain,
    Address(Meaning),
}

async fn known(admin: &Admin, of: String) -> Result<Known, Refused> {
    let work = async move |mailboxes: Mailboxes| Ok(look_up(&mailboxes, &of).await);
    admin.mailboxes(work).await?
}

async fn look_up(mailboxes: &Mailboxes, of: &str) -> Result<Known, Refused> {
    let wrong = || format!("`{of}` is not a number of the queue, a domain or an address");
    let (address, domain) = match of.contains('@') {
        true => {
            let address = Address::from_path(of).ok_or_else(wrong)?;
            let domain = address.domain().to_owned();
            (Some(address), domain)
        }
        false => (None, of.to_owned()),
    };
    let scope = parse_scope(&domain).filter(|scope| scope != "*");
    let scope = scope.ok_or_else(wrong)?;
    let directory = mailboxes.directory();
    let here = match (mailboxes.has_domain(&domain), &address) {
        (false, _) => Here::No,
        (true, None) => Here::Domain,
        (true, Some(address)) => {
            let found = meaning(mailboxes, address).await;
            Here::Address(found.map_err(|fault| fault.to_string())?)
        }
    };
    // In this order: the narrowest counts.
    let own = address.as_ref().and_then(|address| {
        let route = directory.route_of_address(address)?;
        Some((address.to_string(), route))
    });
    let of_domain = || Some((scope.clone(), directory.route_of_domain(&domain)?));
    let of_all = || Some(("*".to_owned(), directory.route_of_all(&domain)?));
    let policy_name = spelling::domains(&domain)
        .into_iter()
        .find(|one| one.is_ascii());
    let kept = policy_name.and_then(|name| directory.kept_policy(&name));
    let now = unix_now();
    let kept = kept.filter(|kept| now.0 < kept.ends_unix_s);
    Ok(Known {
        of: of.to_owned(),
        here,
        route: own.or_else(of_domain).or_else(of_all),
        policy: kept.and_then(|kept| Policy::parse(kept.text.as_bytes()).ok()),
        domain,
    })
}

/// `leaves`: how the daemon sends what has no route; `None`: nothing leaves. `ours`: the name of this server.
async fn way(names: &impl Names, leaves: Option<&Leaves>, ours: &str, known: Known) -> Way {
    let said = |way: &str, why: String| Way {
        of: known.of.clone(),
        way: way.to_owned(),
        why,
        servers: Vec::new(),
        trouble: None,
        policy: None,
    };
    // A route to a host counts before the domain is asked whose it is; one that exempts from wider routes does not name a server.
    let by_host = match &known.route {
        Some((scope, route @ Route::Host { .. })) => site_of(route).map(|site| (scope, site)),
        _ => None,
    };
    match &known.here {
        Here::No => {}
        Here::Domain => {
            let why = match &by_host {
                None => "it is a domain of this server: write an address of it for more".to_owned(),
                Some((scope, _)) => format!(
                    "it is a domain of this server; what no account, alias or group takes goes by the route of {scope}: write an address for more"
                ),
            };
            return said("here", why);
        }
        Here::Address(meaning) => {
            let (way, why) = match meaning {
                Meaning::Account(_, address) => ("here", format!("it is the account {address}")),
                Meaning::Alias(name, _) => (
                    "alias",
                    format!("the alias {name} takes it: `alias show {name}` shows what it leads to"),
                ),
                Meaning::Group(name, _) => ("group", format!("the group {name} takes it")),
                Meaning::Owner(name, _) => ("group", format!("the owner of the group {name} gets it")),
                Meaning::ReturnPath => (
                    "return path",
                    "a report to it goes back to the sender that is sealed in it".to_owned(),
                ),
                Meaning::NoMailbox | Meaning::NotOurs => (
                    "no mailbox",
                    "its domain is one of this server, and no account, alias, group or route takes it".to_owned(),
                ),
                Meaning::Routed => ("", String::new()),
            };
            if !way.is_empty() {
                return said(way, why);
            }
        }
    }
    let nowhere = Leaves::Nowhere;
    let leaves = leaves.unwrap_or(&nowhere);
    let by_route = by_host.and_then(|(scope, site)| {
        let (route, needs_tls) = destination::by_route(&site)?;
        Some((scope, route, needs_tls))
    });
    let (mut way, route, needs_tls) = match (leaves, by_route) {
        // The daemon's own server comes before all routes.
        (Leaves::Fixed(server), _) => (
            said(
                "smart host",
                format!("ringpostd was started with --outbound-to {server}"),
            ),
            leaves.clone(),
            false,
        ),
        (Leaves::Nowhere, _) => {
            let why =
                "this daemon sends nothing to other servers (trial mode without --outbound-to)";
            return said("nowhere", why.to_owned());
        }
        (Leaves::Exchangers { .. }, Some((scope, route, needs_tls))) => {
            let why = match scope.as_str() {
                "*" => "the route of everything (*) names it".to_owned(),
                scope => format!("the route of {scope} names it"),
            };
            (said("smart host", why), route, needs_tls)
        }
        (Leaves::Exchangers { .. }, None) => {
            let why = match &known.route {
                Some((scope, _)) => format!(
                    "the route of {scope} exempts it from wider routes: the servers that the domain names take it"
                ),
                None => "it has no route: the servers that the domain names take it".to_owned(),
            };
            (said("mx", why), leaves.clone(), false)
        }
    };
    // (MTA-STS is about the hosts that a domain publishes. Whoever names another one has left that ground on purpose.)
    // A server that the operator names is not held to a policy.
    let policy = known.policy.as_ref().filter(|_| !route.is_fixed());
    way.policy = policy.map(|policy| policy.mode.word().to_owned());
    let demanded = policy.filter(|policy| policy.mode != Mode::None);
    match route.candidates(names, &known.domain, ours, demanded).await {
        Ok(candidates) => {
            let servers = candidates.into_iter();
            way.servers = servers
                .map(|one| WayServer {
                    tls: tls(&one.demand, needs_tls).to_owned(),
                    host: one.host,
                    address: one.address.to_string(),
                })
                .collect();
        }
        Err(verdict) => way.trouble = Some(verdict.said().text.clone()),
    }
    way
}

/// In the order of strength that the sender uses: what the operator sees here is what the next try demands.
fn tls(demand: &Demand, needs_tls: bool) -> &'static str {
    match demand {
        Demand::None if needs_tls => "required by the route",
        Demand::None => "where it is offered",
        Demand::Tls => "required; the TLSA records cannot be matched (DANE)",
        Demand::Dane { .. } => "required, with a certificate that the domain publishes (DANE)",
        Demand::Policy {
            is_enforced: true, ..
        } => "required, with a valid certificate (MTA-STS)",
        Demand::Policy { .. } => "where it is offered; the domain tests a policy (MTA-STS)",
    }
}

async fn reroute(
    admin: &Admin,
    domain: &str,
    host: &str,
    needs_tls: bool,
) -> Result<Rerouted, Refused> {
    let server: FixedServer = host.parse().map_err(str::to_owned)?;
    let scope = parse_scope(domain).filter(|scope| scope != "*" && !scope.contains('@'));
    let scope = scope.ok_or_else(|| format!("`{domain}` is not a domain"))?;
    match admin.leaves() {
        Some(Leaves::Exchangers { .. }) => {}
        Some(Leaves::Fixed(server)) => {
            return Err(format!(
                "ringpostd was started with --outbound-to {server}, which comes before all routes: start it without"
            ));
        }
        Some(Leaves::Nowhere) | None => {
            return Err("this daemon sends nothing to other servers".into());
        }
    }
    let route = Route::Host {
        host: server.host.clone(),
        port: server.port,
        needs_tls,
    };
    let of = scope.clone();
    let set = async move |mailboxes: Mailboxes| -> Result<(), MailboxFault> {
        Ok(mailboxes.directory().put_route(&of, route).await?)
    };
    admin.mailboxes(set).await?;
    let (mut messages, mut after) = (0, None);
    loop {
        // until a page is not full; mail goes on between two pages
        let (of, now) = (scope.clone(), unix_now());
        let page = async move |outgoing: Outgoing| wake(&outgoing, &of, after, now).await;
        let (woken, last) = admin.outgoing(page).await?;
        messages += woken;
        match last {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    Ok(Rerouted {
        domain: scope,
        server: server.to_string(),
        messages,
    })
}

/// Makes those of one page due that wait for the domain. Answers how many, and the last one of a full page.
async fn wake(
    outgoing: &Outgoing,
    scope: &str,
    after: Option<QueueId>,
    now: UnixSeconds,
) -> Result<(usize, Option<QueueId>), QueueFault> {
    let entries = outgoing.list(after, QUEUE_PAGE_MAX);
    let last = entries.last().map(|entry| entry.id);
    let is_full = entries.len() == QUEUE_PAGE_MAX;
    let mut woken = 0;
    for entry in entries {
        let mut waiting = entry.recipients.iter().filter(|each| {
            matches!(each.state, RecipientState::Waiting(_))
                && parse_scope(&queue::site(&each.to.path)).as_deref() == Some(scope)
        });
        if entry.held || waiting.next().is_none() {
            continue;
        }
        match outgoing.retry(entry.id, now).await {
            Ok(()) => woken += 1,
            // It has just left.
            Err(QueueFault::NoEntry) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok((woken, last.filter(|_| is_full)))
}

fn unix_now() -> UnixSeconds {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixSeconds(now.map_or(0, |span| span.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use device::sim::SimWorld;
    use dns::Table;
    use mailbox::AccountId;

    use super::*;

    const MX: Leaves = Leaves::Exchangers { port: 25 };

    fn elsewhere(route: Option<(&str, Route)>) -> Known {
        Known {
            of: "bob@a.example".to_owned(),
            domain: "a.example".to_owned(),
            here: Here::No,
            route: route.map(|(scope, route)| (scope.to_owned(), route)),
            policy: None,
        }
    }

    fn smart(needs_tls: bool) -> Route {
        Route::Host {
            host: "192.0.2.7".to_owned(),
            port: 587,
            needs_tls,
        }
    }

    fn found(leaves: Option<&Leaves>, known: Known) -> Way {
        let world = SimWorld::new(1);
        let names = Table::new(&world.io().host, 1);
        names.set_exchangers("a.example", &[(10, "mx.a.example")]);
        names.set_addresses("mx.a.example", &[IpAddr::from([192, 0, 2, 1])]);
        world.block_on(async { way(&names, leaves, "mx.example.org", known).await })
    }

    fn line(way: &Way) -> String {
        let servers = way.servers.iter();
        let servers: Vec<String> = servers
            .map(|one| format!("{} {} {}", one.host, one.address, one.tls))
            .collect();
        format!("{}: {}", way.way, servers.join(", "))
    }

    #[test]
    fn the_narrowest_route_counts_then_the_domain_s_servers() {
        let way = found(Some(&MX), elsewhere(None));
        assert_eq!(
            line(&way),
            "mx: mx.a.example 192.0.2.1:25 where it is offered"
        );
        let way = found(Some(&MX), elsewhere(Some(("a.example", smart(true)))));
        assert_eq!(
            line(&way),
            "smart host: 192.0.2.7 192.0.2.7:587 required by the route"
        );
        assert_eq!(way.why, "the route of a.example names it");
        let way = found(Some(&MX), elsewhere(Some(("a.example", Route::Here))));
        assert!(line(&way).starts_with("mx: mx.a.example"), "{way:?}");
        assert!(way.why.contains("exempts"), "{way:?}");
    }

    #[test]
    fn the_daemon_s_own_server_comes_before_routes_and_without_any_nothing_leaves() {
        let fixed = Leaves::Fixed("192.0.2.9:25".parse().expect("a server"));
        let way = found(Some(&fixed), elsewhere(Some(("*", smart(true)))));
        assert_eq!(
            line(&way),
            "smart host: 192.0.2.9 192.0.2.9:25 where it is offered"
        );
        for leaves in [None, Some(&Leaves::Nowhere)] {
            assert_eq!(line(&found(leaves, elsewhere(None))), "nowhere: ");
        }
    }

    #[test]
    fn a_policy_that_is_kept_is_met_by_the_domain_s_servers_alone() {
        let policy = |mx: &str| {
            let text = format!("version: STSv1\nmode: enforce\nmax_age: 86400\nmx: {mx}\n");
            Policy::parse(text.as_bytes()).ok()
        };
        let known = |mx, route| Known {
            policy: policy(mx),
            ..elsewhere(route)
        };
        let way = found(Some(&MX), known("mx.a.example", None));
        assert_eq!(way.policy.as_deref(), Some("enforce"));
        assert!(
            line(&way).ends_with("a valid certificate (MTA-STS)"),
            "{way:?}"
        );
        let way = found(Some(&MX), known("other.example", None));
        assert!(way.servers.is_empty());
        assert!(way.trouble.is_some_and(|why| why.contains("does not name")));
        let way = found(
            Some(&MX),
            known("other.example", Some(("a.example", smart(false)))),
        );
        assert_eq!((way.policy, way.servers.len()), (None, 1));
    }

    #[test]
    fn what_is_here_is_not_looked_up() {
        let address = || Address::from_parts("bob", "a.example").expect("plain words");
        for (here, wanted) in [
            (Here::Domain, "here: "),
            (
                Here::Address(Meaning::Account(AccountId(1), address())),
                "here: ",
            ),
            (Here::Address(Meaning::NoMailbox), "no mailbox: "),
            (Here::Address(Meaning::ReturnPath), "return path: "),
        ] {
            let known = Known {
                here,
                ..elsewhere(None)
            };
            assert_eq!(line(&found(Some(&MX), known)), wanted);
        }
        // Our domain, and a route takes what no account does.
        let known = Known {
            here: Here::Address(Meaning::Routed),
            ..elsewhere(Some(("a.example", smart(false))))
        };
        assert!(line(&found(Some(&MX), known)).starts_with("smart host: "));
    }
}
