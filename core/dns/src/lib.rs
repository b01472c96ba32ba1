//! Names: where mail for a domain goes, which addresses a host has, what records of a domain say, and the names of an address.
//!
//! A sender asks `Names`. Its answers are small and bounded, whatever a zone says: the first hosts by preference, the first addresses.
//! `Resolver` is the appliance's; `Table` is its twin in memory, for tests and the simulator.
//!
//! What must hold:
//! - *Unknown is not absent*: `NoSuchDomain` needs an authoritative answer; every other trouble is `Unavailable`, and the caller comes again.
//! - A name that no host can have is refused before any packet leaves (`name.rs`).
//! - What is kept is bounded in bytes (`cache.rs`), what is asked at a time in number; an answer is read and let go before the next.
//! - Every look-up ends within `limits::LOOKUP_DEADLINE`, and may be dropped at any await.
//!
//! Why only the wire format is a library's (hickory-proto), and the asking is ours: hickory-resolver 0.26.3 does not go to the next server on
//! SERVFAIL or REFUSED, cannot tell an endless chain of aliases or a referral from "no records" (which would make mail bounce), bounds its
//! cache by count, runs tasks of its own, and cannot ask with AD=1, which DANE needs.
//!
//! Main path: `resolver.rs` (`share.rs`: how much of it one stranger has) looks into `cache.rs`, else asks one of `servers.rs` by `transport.rs`; `question.rs` is the wire. `update.rs` is the wire of a change of a zone of our own. Start
//! reading at `Names`.
#![forbid(unsafe_code)]

use std::future::Future;
use std::net::IpAddr;

mod cache;
mod exchangers;
pub mod fuzzing;
pub mod limits;
mod name;
mod question;
mod resolver;
mod servers;
mod share;
mod table;
mod transport;
mod update;

pub use exchangers::{Exchanger, Exchangers};
pub use question::{Kind, Value};
pub use resolver::{Patience, Resolver};
pub use servers::Servers;
pub use table::Table;
pub use update::{TextUpdate, read_update_reply};

/// What a mail server asks of the domain name system. Clones ask the same one.
pub trait Names: Clone + 'static {
    /// Where mail for `domain` goes (RFC 5321 §5.1). `domain` is a name, in Unicode or in A-labels, or an address literal in brackets.
    /// Without MX records the answer is the domain itself, provided that it has an address.
    fn exchangers(&self, domain: &str) -> impl Future<Output = Result<Exchangers, NameFault>>;

    /// The addresses of `host`: at least one, at most `limits::ADDRESSES_MAX`, in the order to try them. IPv6 and IPv4 take turns. An address
    /// literal in brackets is its own address.
    fn addresses(&self, host: &str) -> impl Future<Output = Result<Vec<IpAddr>, NameFault>>;

    /// The records of `name` of one kind as the zone has them, its aliases followed: what a check of a sender reads, which must not take a
    /// part for the whole. `Ok` without any: the name is there, and no such record. `NoSuchDomain`: the name is not there at all (RFC
    /// 8020). More than `limits::RECORDS_MAX` records or `limits::RECORDS_BYTES_MAX` bytes are `Unavailable`; of the names of an address
    /// the first `limits::NAMES_MAX` are taken. `name` may have labels that no host has, such as `_dmarc` or `a+b`.
    fn records(
        &self,
        name: &str,
        kind: Kind,
    ) -> impl Future<Output = Result<Vec<Value>, NameFault>>;

    /// As `records`, of a signed zone and validated (RFC 4035). `Ok(None)`: the zone is not signed, or nothing here validates. `Unavailable` is
    /// also what a signature that does not match comes to: an attacker must not be able to send mail elsewhere by a broken one.
    fn proved(
        &self,
        name: &str,
        kind: Kind,
    ) -> impl Future<Output = Result<Option<Vec<Value>>, NameFault>> {
        let _ = (name, kind);
        async { Ok(None) }
    }

    /// As `exchangers`, and whether a validator vouches for them.
    fn proved_exchangers(
        &self,
        domain: &str,
    ) -> impl Future<Output = Result<(Exchangers, bool), NameFault>> {
        async move { Ok((self.exchangers(domain).await?, false)) }
    }

    /// The same names, asked on behalf of a stranger at `peer`, whose zones may be slow on purpose: its network has a share of the look-ups that may be
    /// under way, and waits for its own.
    fn on_behalf_of(&self, peer: IpAddr) -> Self {
        let _ = peer;
        self.clone()
    }

    /// The texts of `name`, one for each TXT record, its strings joined. As `records`.
    fn texts(&self, name: &str) -> impl Future<Output = Result<Vec<Vec<u8>>, NameFault>> {
        async move {
            let texts = self.records(name, Kind::Txt).await?.into_iter();
            Ok(texts.filter_map(Value::into_text).collect())
        }
    }

    /// The names of `address` (PTR), in A-labels and lower case, without a dot at the end; those that no host can have are left out. As
    /// `records`. Anybody may claim any name for an address of his: it counts only where `addresses` of it lead back.
    fn names_of(&self, address: IpAddr) -> impl Future<Output = Result<Vec<String>, NameFault>> {
        async move {
            let owner = name::reverse(address);
            let names = self.records(&owner, Kind::Ptr).await?.into_iter();
            Ok(names.filter_map(Value::into_host).collect())
        }
    }
}

/// `Names::proved_exchangers` of an implementation with a validator.
async fn proved_exchangers(
    names: &impl Names,
    domain: &str,
) -> Result<(Exchangers, bool), NameFault> {
    let Some(host) = name::host(domain) else {
        return Ok((names.exchangers(domain).await?, false));
    };
    let values = match names.proved(&host, Kind::Mx).await {
        Ok(Some(values)) => values,
        Ok(None) | Err(NameFault::NoSuchDomain) => {
            return Ok((names.exchangers(domain).await?, false));
        }
        Err(unavailable) => return Err(unavailable),
    };
    // RFC 5321 §5.1: without MX records the domain itself; whether it has an address is looked up with it.
    if values.is_empty() {
        return Ok((Exchangers::implicit(host), true));
    }
    let records = values.into_iter().filter_map(|value| match value {
        Value::Exchanger(preference, host) => Some((preference, host)),
        _ => None,
    });
    Ok((Exchangers::of(records)?, true))
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// For good: the name does not exist, or nothing is there that takes mail, or no host can have such a name.
    #[error("there is no such domain")]
    NoSuchDomain,
    /// For now: no answer in time, a server that failed, or an answer that makes no sense. One short line for people.
    #[error("the name cannot be looked up now: {0}")]
    Unavailable(String),
}
