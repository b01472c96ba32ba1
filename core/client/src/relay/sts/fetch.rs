//! A policy over HTTPS (RFC 8461 §3.3): one deadline for all of it, a certificate of the web for `mta-sts.DOMAIN`, and one response.
//!
//! A domain chooses the addresses that are dialled, loopback and private ones too. They get a TLS handshake at port 443; the request follows only
//! when the certificate is valid for `mta-sts.DOMAIN`, so that no service of this network is asked for anything.

use std::fmt;
use std::net::SocketAddr;

use dns::{NameFault, Names};
use runtime::{Connection, ConnectionFault, Dial, DialFault, Dialled, Holder};
use rustls::pki_types::ServerName;
use storage::owner::Ask;
use sts::{FetchFault, Policy, Response};

use super::Desk;
use crate::relay::limits::{STS_ADDRESSES, STS_CONNECT, STS_FETCH, STS_UNCHARGED_BYTES};
use crate::relay::sender::Shared;

/// Why there is no policy although the domain has one, in the three kinds of RFC 8460 §4.3.2.2. The text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    Fetch(String),
    WebPki(String),
    Invalid(String),
    /// No connection can be opened here now: it says nothing of the domain.
    Busy,
    /// The appliance is stopping.
    Stopping,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Fetch(why) | Fault::WebPki(why) | Fault::Invalid(why) => f.write_str(why),
            Fault::Busy => f.write_str("too many connections are open here"),
            Fault::Stopping => f.write_str("the appliance is stopping"),
        }
    }
}

impl From<ConnectionFault> for Fault {
    fn from(fault: ConnectionFault) -> Fault {
        match fault {
            ConnectionFault::Stopping => Fault::Stopping,
            fault => Fault::Fetch(fault.to_string()),
        }
    }
}

impl From<FetchFault> for Fault {
    fn from(fault: FetchFault) -> Fault {
        Fault::Fetch(fault.to_string())
    }
}

impl<K: Ask, N: Names, D: Dial> Shared<K, N, D> {
    /// The policy of the domain `name`, which is in A-labels.
    pub(super) async fn fetch(&self, desk: &Desk, name: &str) -> Result<Policy, Fault> {
        let fetched = async {
            let body = self.get(desk, name).await?;
            Policy::parse(&body).map_err(|fault| Fault::Invalid(fault.to_string()))
        };
        let late = || Fault::Fetch("its server took longer than a minute".to_owned());
        let fetched = self.caller.host.within(STS_FETCH, fetched).await;
        fetched.unwrap_or_else(|| Err(late()))
    }

    async fn get(&self, desk: &Desk, name: &str) -> Result<Vec<u8>, Fault> {
        let host = format!("mta-sts.{name}");
        let server = ServerName::try_from(host.clone());
        let server = server.map_err(|_| Fault::Fetch(format!("{host} is not a name")))?;
        let addresses = self.names.addresses(&host).await.map_err(|fault| {
            Fault::Fetch(match fault {
                NameFault::NoSuchDomain => format!("{host} has no address"),
                fault => fault.to_string(),
            })
        })?;
        let mut connection = Err(Fault::Fetch(format!("{host} has no address")));
        for address in addresses.into_iter().take(STS_ADDRESSES) {
            let to = SocketAddr::new(address, desk.settings.port);
            connection = match self.dial.dial(to, STS_CONNECT).await {
                Err(DialFault::Stopping) => return Err(Fault::Stopping),
                Err(DialFault::Busy) => return Err(Fault::Busy),
                dialled => dialled.map_err(|fault| Fault::Fetch(format!("{fault} ({to})"))),
            };
            if connection.is_ok() {
                break;
            }
        }
        let mut connection = connection?;
        connection.deadline(STS_FETCH);
        match connection.secure(&desk.tls, &server).await {
            Ok(()) => {}
            Err(ConnectionFault::Tls) => {
                let why = connection.tls_trouble().unwrap_or("TLS failed");
                return Err(Fault::Fetch(why.chars().take(200).collect()));
            }
            Err(fault) => return Err(fault.into()),
        }
        let unix_s = self.caller.host.unix_seconds();
        let authorities = &desk.settings.authorities;
        authorities
            .judge(connection.certificates(), &server, unix_s)
            .map_err(|flaw| Fault::WebPki(flaw.words().to_owned()))?;
        connection.send(sts::request(name).as_bytes()).await?;
        let (mut response, mut input) = (Response::new(), Vec::new());
        let (mut charge, mut received) = (None, 0);
        loop {
            // until the response is whole; bounded by its size and the caller's deadline
            match connection.receive(&mut input).await {
                Ok(bytes) => received += bytes,
                // An attacker on the way can end the connection, and what came would be another policy.
                Err(ConnectionFault::Closed) if !connection.is_complete() => {
                    return Err(FetchFault::CutShort.into());
                }
                Err(ConnectionFault::Closed) => return Ok(response.end()?),
                Err(fault) => return Err(fault.into()),
            }
            // A policy is shorter. For what is not, servers wait among themselves: a slow one takes nothing from the usual policy of another.
            if received > STS_UNCHARGED_BYTES && charge.is_none() {
                let taken = self.memory.wait_for(FETCHES, Response::BYTES_MAX).await;
                charge = Some(taken);
            }
            if let Some(body) = response.take(&input)? {
                return Ok(body);
            }
            input.clear();
        }
    }
}

/// All fetches of long responses are one holder of memory.
const FETCHES: Holder = Holder(1);
