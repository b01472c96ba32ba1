//! Our own daemon as one end: an IMAP session of an account, opened by an administrator.
//!
//! Each connection needs a pass, which the daemon gives to administrators for one login (`client::login::pass`): a connection that breaks off, or a daemon that starts again, is
//! followed by the next pass.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use admin::logins::{Ask, Pass, Purpose};
use admin::places::Remote;
use admin::request::Request;
use plan::{Plan, Service};

use super::letter::Fault;
use super::mailbox::Mailboxes;
use super::server::{Place, Server, Tls, certificates};
use crate::app_password::Asker;

/// The way to the daemon.
pub(crate) struct Own<'a> {
    ask: Asker<'a>,
    server: Server,
}

impl<'a> Own<'a> {
    /// Where the daemon serves IMAP, as it says itself.
    pub(crate) fn find(ask: Asker<'a>, remote: Option<&Remote>) -> Result<Own<'a>, String> {
        let plan: Plan = serde_json::from_value(ask(Request::Plan)?).map_err(|error| {
            format!("the daemon has another version ({error}): use the ringpostctl of that version")
        })?;
        let server = match remote {
            Some(remote) => afar(&plan, remote)?,
            None => here(&plan)?,
        };
        Ok(Own { ask, server })
    }

    /// `Err`: there is no such account, or it may not be opened.
    pub(crate) fn check(&self, account: &str) -> Result<(), String> {
        let address = account.to_owned();
        (self.ask)(Request::AccountShow { address }).map(drop)
    }

    /// A session of the account.
    pub(crate) fn open(
        &self,
        account: &str,
        purpose: Purpose,
        since: Option<String>,
    ) -> Result<Mailboxes, Fault> {
        let account = account.to_owned();
        let asked = (self.ask)(Request::Logins {
            ask: Ask::Pass { account, purpose },
        });
        let pass: Pass = serde_json::from_value(asked.map_err(Fault::Away)?)
            .map_err(|error| Fault::Stop(format!("the daemon has another version: {error}")))?;
        let line = self.server.open(&pass.user, &pass.password)?;
        Mailboxes::over(line, self.server.clone(), since)
    }
}

/// A listener of this very machine: its identity is known, so its certificate may be self-signed.
fn here(plan: &Plan) -> Result<Server, String> {
    let inside = address(plan, Service::Imaps).map(|at| (at, Tls::Inside));
    let started = || address(plan, Service::Imap).map(|at| (at, Tls::Started));
    let (at, tls) = inside.or_else(started).ok_or(NO_LISTENER)?;
    let config = mua::tls::config().map_err(|error| error.to_string())?;
    let place = Place {
        host: at.ip().to_string(),
        port: at.port(),
        tls,
    };
    Ok(Server {
        place,
        config,
        is_named: false,
    })
}

/// The appliance of `--host`, by IMAP inside of TLS, with the certificate that `--ca` names.
fn afar(plan: &Plan, remote: &Remote) -> Result<Server, String> {
    let at = address(plan, Service::Imaps).ok_or(NO_LISTENER)?;
    let url = format!("imaps://{}", remote.host.trim_start_matches("https://"));
    let mut place = Place::parse(&url, false)?;
    place.port = at.port();
    let trusted = certificates(&remote.authority)?;
    let config = mua::tls::trusting(&trusted, false).map_err(|error| error.to_string())?;
    Ok(Server {
        place,
        config,
        is_named: true,
    })
}

const NO_LISTENER: &str = "the settings have no IMAP listener ([listen] imaps)";

fn address(plan: &Plan, service: Service) -> Option<SocketAddr> {
    let mut address = *plan.listener(service)?.addresses.first()?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Some(address)
}
