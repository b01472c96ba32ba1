//! SPF: may this client send for this domain? (RFC 7208)
//!
//! Records and macros are mail-auth's; `check_host` (§4) is ours. The macro `p` is always "unknown" (§7.2 discourages
//! it, and its look-ups are the client's to choose). Explanations (`exp=`) are not fetched: what a stranger writes does not go into our replies.

use std::cell::Cell;
use std::net::IpAddr;
use std::pin::Pin;

use dns::{Kind, NameFault, Names, Value};
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::spf::{Macro, Mechanism, Qualifier, Spf as Record, Variables};

use crate::limits::{SPF_HOSTS_MAX, SPF_LOOKUPS_MAX, SPF_VOIDS_MAX};
use crate::{Ask, Envelope, Found, Outcome, domain_of, found};

/// What SPF says about the client.
#[derive(Debug, Clone)]
pub struct Spf {
    /// The result, with its reason.
    pub found: Found,
    /// Whose record it was, for DMARC: of the reverse-path, or of the hello where that is null (§2.4).
    pub domain: String,
}

/// Checks one client for one sender.
struct Check<'a, 'b, N> {
    /// Asks for records, within the bounds of one message.
    ask: &'a Ask<'b, N>,
    /// The address of the client.
    client: IpAddr,
    /// The client's name in HELO or EHLO.
    helo: &'a str,
    /// The sender that is checked, for macros.
    sender: &'a str,
    /// Terms that looked something up so far (§4.6.4).
    lookups: Cell<u32>,
    /// Look-ups without a result so far (§4.6.4).
    voids: Cell<u32>,
}

/// Ends the whole check with this result.
type Halt = Found;

impl Spf {
    /// `check_host()` for the sender of `envelope`.
    pub async fn check<N: Names>(ask: &Ask<'_, N>, envelope: &Envelope<'_>) -> Spf {
        let postmaster;
        let (sender, domain) = match envelope.mail_from.rsplit_once('@') {
            Some((_, domain)) => (envelope.mail_from, domain),
            None => {
                postmaster = format!("postmaster@{}", envelope.helo);
                (postmaster.as_str(), envelope.helo)
            }
        };
        let domain = domain_of(domain);
        // §4.3: an address literal, and a name without a dot, have no record.
        if domain.starts_with('[') || !domain.contains('.') {
            let none = found(Outcome::None, "not a domain");
            return Spf {
                found: none,
                domain,
            };
        }
        let check = Check {
            ask,
            client: envelope.client.to_canonical(),
            helo: envelope.helo,
            sender,
            lookups: Cell::new(0),
            voids: Cell::new(0),
        };
        let found = check.host(&domain).await.unwrap_or_else(|halt| halt);
        Spf { found, domain }
    }
}

impl<N: Names> Check<'_, '_, N> {
    /// The result for `domain`: of the sender, or of an `include` or `redirect`.
    fn host<'s>(
        &'s self,
        domain: &'s str,
    ) -> Pin<Box<dyn Future<Output = Result<Found, Halt>> + 's>> {
        // Its depth is bounded: each level has counted a look-up.
        Box::pin(async move {
            let record = match self.record(domain).await? {
                Ok(record) => record,
                Err(none) => return Ok(none),
            };
            let mut vars = Variables::new();
            vars.set_ip(&self.client);
            vars.set_sender(self.sender.as_bytes());
            vars.set_helo_domain(self.helo.as_bytes());
            vars.set_host_domain(&b"unknown"[..]);
            vars.set_validated_domain(&b"unknown"[..]);
            vars.set_domain(domain.as_bytes());
            let target = |text: &Macro| name(&text.eval(&vars, domain, false));
            for directive in &record.directives {
                let matches = match &directive.mechanism {
                    Mechanism::All => true,
                    Mechanism::Ip4 { addr, mask } => {
                        within(self.client, (*addr).into(), *mask, u128::MAX)
                    }
                    Mechanism::Ip6 { addr, mask } => {
                        within(self.client, (*addr).into(), u32::MAX, *mask)
                    }
                    Mechanism::A {
                        macro_string,
                        ip4_mask,
                        ip6_mask,
                    } => {
                        self.count()?;
                        let masks = (*ip4_mask, *ip6_mask);
                        let addresses = self.addresses(&target(macro_string)).await?;
                        self.count_void(addresses.is_empty())?;
                        self.is_in(&addresses, masks)
                    }
                    Mechanism::Mx {
                        macro_string,
                        ip4_mask,
                        ip6_mask,
                    } => {
                        self.count()?;
                        let masks = (*ip4_mask, *ip6_mask);
                        self.is_exchanger(&target(macro_string), masks).await?
                    }
                    Mechanism::Include { macro_string } => {
                        self.count()?;
                        let included = self.host(&target(macro_string)).await?;
                        match included.outcome {
                            Outcome::Pass => true,
                            Outcome::None => {
                                return Err(permanent("an included record is missing"));
                            }
                            _ => false,
                        }
                    }
                    Mechanism::Ptr { macro_string } => {
                        self.count()?;
                        self.has_name_in(&target(macro_string)).await
                    }
                    Mechanism::Exists { macro_string } => {
                        self.count()?;
                        // §5.7: A, whatever the client's family is.
                        let found = self.records(&target(macro_string), Kind::A).await?;
                        self.count_void(found.is_empty())?;
                        !found.is_empty()
                    }
                };
                if matches {
                    return Ok(found(of(&directive.qualifier), ""));
                }
            }
            match &record.redirect {
                None => Ok(found(Outcome::Neutral, "")),
                Some(redirect) => {
                    self.count()?;
                    let result = self.host(&target(redirect)).await?;
                    match result.outcome {
                        Outcome::None => Err(permanent("the record that it leads to is missing")),
                        _ => Ok(result),
                    }
                }
            }
        })
    }

    /// §4.4 to §4.6: the one record of `domain`; `Ok(Err)`: there is none.
    async fn record(&self, domain: &str) -> Result<Result<Record, Found>, Halt> {
        let texts = match self.ask.texts(domain).await {
            Ok(texts) => texts,
            Err(NameFault::NoSuchDomain) => Vec::new(),
            Err(NameFault::Unavailable(_)) => return Err(unknown()),
        };
        let mut records = texts.iter().filter(|text| is_record(text));
        match (records.next(), records.next()) {
            (None, _) => Ok(Err(found(Outcome::None, ""))),
            (Some(_), Some(_)) => Err(permanent("several records")),
            (Some(text), None) => match Record::parse(text) {
                Ok(record) if terms_are_known(text) => Ok(Ok(record)),
                _ => Err(permanent("the record has an error")),
            },
        }
    }

    /// Those of the client's family.
    async fn addresses(&self, host: &str) -> Result<Vec<Value>, Halt> {
        let kind = match self.client {
            IpAddr::V4(_) => Kind::A,
            IpAddr::V6(_) => Kind::Aaaa,
        };
        self.records(host, kind).await
    }

    /// Records of one kind; an empty list where there are none. A look-up without an answer ends the check with `temperror`.
    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, Halt> {
        match self.ask.records(name, kind).await {
            Ok(values) => Ok(values),
            Err(NameFault::NoSuchDomain) => Ok(Vec::new()),
            Err(NameFault::Unavailable(_)) => Err(unknown()),
        }
    }

    /// §5.4.
    async fn is_exchanger(&self, domain: &str, masks: (u32, u128)) -> Result<bool, Halt> {
        let hosts = self.records(domain, Kind::Mx).await?;
        self.count_void(hosts.is_empty())?;
        if hosts.len() > SPF_HOSTS_MAX {
            return Err(permanent("more than 10 hosts of one mx"));
        }
        for host in hosts {
            let Value::Exchanger(_, host) = host else {
                continue;
            };
            let addresses = self.addresses(&host).await?;
            if self.is_in(&addresses, masks) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// §5.5: what cannot be looked up does not match.
    async fn has_name_in(&self, domain: &str) -> bool {
        let names = self.ask.names_of(self.client).await.unwrap_or_default();
        let domain = domain_of(domain);
        for name in names.iter().take(SPF_HOSTS_MAX) {
            let inside = name
                .strip_suffix(&domain)
                .is_some_and(|front| front.is_empty() || front.ends_with('.'));
            if !inside {
                continue;
            }
            let Ok(addresses) = self.addresses(name).await else {
                continue;
            };
            if self.is_in(&addresses, (u32::MAX, u128::MAX)) {
                return true;
            }
        }
        false
    }

    /// Whether one of `addresses` is in the client's network.
    fn is_in(&self, addresses: &[Value], (four, six): (u32, u128)) -> bool {
        addresses.iter().any(|value| match value {
            Value::Address(address) => within(self.client, *address, four, six),
            _ => false,
        })
    }

    /// §4.6.4: counts a term that looks something up.
    fn count(&self) -> Result<(), Halt> {
        self.lookups.set(self.lookups.get() + 1);
        match self.lookups.get() <= SPF_LOOKUPS_MAX {
            true => Ok(()),
            false => Err(permanent("more than 10 look-ups")),
        }
    }

    /// §4.6.4: counts a look-up that brought nothing.
    fn count_void(&self, void: bool) -> Result<(), Halt> {
        self.voids.set(self.voids.get() + u32::from(void));
        match self.voids.get() <= SPF_VOIDS_MAX {
            true => Ok(()),
            false => Err(permanent("more than 2 look-ups without a result")),
        }
    }
}

/// `permerror`: the record is at fault (§2.6.7).
fn permanent(why: &'static str) -> Halt {
    found(Outcome::PermError, why)
}

/// `temperror`: it may be known later (§2.6.6).
fn unknown() -> Halt {
    found(Outcome::TempError, "a name could not be looked up")
}

/// The result that a qualifier stands for (§4.6.2).
fn of(qualifier: &Qualifier) -> Outcome {
    match qualifier {
        Qualifier::Pass => Outcome::Pass,
        Qualifier::Fail => Outcome::Fail,
        Qualifier::SoftFail => Outcome::SoftFail,
        Qualifier::Neutral => Outcome::Neutral,
    }
}

/// Whether `client` agrees with `network` in the bits of the mask. Addresses of two families never agree.
fn within(client: IpAddr, network: IpAddr, four: u32, six: u128) -> bool {
    match (client, network.to_canonical()) {
        (IpAddr::V4(client), IpAddr::V4(network)) => {
            (u32::from(client) ^ u32::from(network)) & four == 0
        }
        (IpAddr::V6(client), IpAddr::V6(network)) => {
            (u128::from(client) ^ u128::from(network)) & six == 0
        }
        _ => false,
    }
}

/// §7.3: a name that is too long loses labels on its left.
pub(crate) fn name(text: &str) -> String {
    let mut text = text.strip_suffix('.').unwrap_or(text);
    while text.len() > dns::limits::NAME_BYTES_MAX {
        match text.split_once('.') {
            Some((_, rest)) => text = rest,
            None => break,
        }
    }
    text.to_owned()
}

/// §4.5: a version, and a space or the end behind it.
fn is_record(text: &[u8]) -> bool {
    match text.split_at_checked(VERSION.len()) {
        Some((version, rest)) => {
            version.eq_ignore_ascii_case(VERSION) && matches!(rest.first(), None | Some(b' '))
        }
        None => false,
    }
}

/// §4.6.1, §5, §6: a term is a mechanism that is known, or a modifier with its equals sign. Anything else is an error; the parser would take it for a
/// modifier.
fn terms_are_known(text: &[u8]) -> bool {
    let terms = text[VERSION.len()..].split(|byte| *byte == b' ');
    terms.filter(|term| !term.is_empty()).all(|term| {
        let end = term
            .iter()
            .position(|byte| matches!(byte, b':' | b'=' | b'/'));
        let (head, sign) = match end {
            Some(end) => (&term[..end], Some(term[end])),
            None => (term, None),
        };
        if sign == Some(b'=') {
            return head.first().is_some_and(u8::is_ascii_alphabetic);
        }
        let head = match head {
            [b'+' | b'-' | b'~' | b'?', head @ ..] => head,
            head => head,
        };
        MECHANISMS
            .iter()
            .any(|known| head.eq_ignore_ascii_case(known))
    })
}

/// §4.5: exactly this, and then a space or the end. Another TXT record is not SPF's.
const VERSION: &[u8] = b"v=spf1";
/// §5. Another word is a mistake in the record, and the whole of it is `permerror` (§4.6).
const MECHANISMS: [&[u8]; 8] = [
    b"all", b"include", b"a", b"mx", b"ptr", b"ip4", b"ip6", b"exists",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_terms_are_told_from_other_texts() {
        for text in ["v=spf1", "V=SPF1 -all", "v=spf1  a"] {
            assert!(is_record(text.as_bytes()), "{text}");
        }
        for text in ["v=spf10 -all", "v=spf", "spf1", "v=spf2.0/pra ?all"] {
            assert!(!is_record(text.as_bytes()), "{text}");
        }
        for terms in [
            " a -all",
            " mx/24 ip4:192.0.2.0/24 ~all",
            " x=y redirect=a.example",
        ] {
            assert!(
                terms_are_known(format!("v=spf1{terms}").as_bytes()),
                "{terms}"
            );
        }
        for terms in [" b -all", " ipv4:192.0.2.1", " -", " =x", " all.example"] {
            assert!(
                !terms_are_known(format!("v=spf1{terms}").as_bytes()),
                "{terms}"
            );
        }
    }

    #[test]
    fn networks_hold_addresses_of_their_family_only() {
        let at = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let (four, six) = (0xffff_ff00, u128::MAX << 64);
        assert!(within(at("192.0.2.200"), at("192.0.2.1"), four, six));
        assert!(!within(at("192.0.3.1"), at("192.0.2.1"), four, six));
        assert!(within(at("2001:db8::1"), at("2001:db8::2"), four, six));
        assert!(!within(at("2001:db8:0:1::1"), at("2001:db8::2"), four, six));
        assert!(!within(at("192.0.2.1"), at("2001:db8::2"), 0, 0));
    }

    #[test]
    fn a_name_that_is_too_long_loses_labels_on_its_left() {
        let long = format!("{}.example.org", ["a".repeat(60).as_str(); 5].join("."));
        let cut = name(&long);
        assert!(cut.len() <= dns::limits::NAME_BYTES_MAX && long.ends_with(&cut));
        assert_eq!(name("example.org."), "example.org");
    }
}
