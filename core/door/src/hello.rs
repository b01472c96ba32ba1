//! What is wrong with the name that a peer gave itself in HELO or EHLO. The form was checked by `smtp`; whether the name resolves is never
//! asked (RFC 5321 §4.1.4).

use std::net::{IpAddr, Ipv6Addr};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloFault {
    /// It is our own name, or one of our addresses.
    Ours,
    /// An address without brackets.
    BareAddress,
    /// A literal of another address than the peer's.
    OtherAddress,
    /// A literal that is not an address.
    NotAnAddress,
    /// One label: not a name that the world knows (RFC 5321 §2.3.5). Too many honest machines have one to refuse it.
    NotQualified,
}

impl HelloFault {
    pub fn name(self) -> &'static str {
        match self {
            HelloFault::Ours => "our-name",
            HelloFault::BareAddress => "bare-address",
            HelloFault::OtherAddress => "other-address",
            HelloFault::NotAnAddress => "not-an-address",
            HelloFault::NotQualified => "not-qualified",
        }
    }

    /// Whether the fault may refuse mail; else it is a mark at most.
    pub fn may_refuse(self) -> bool {
        self != HelloFault::NotQualified
    }
}

/// Checks `name`, which `peer` gave itself at our address `local`; `ours` is our own name.
pub fn check(name: &str, peer: IpAddr, local: IpAddr, ours: &str) -> Option<HelloFault> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if let Some(inner) = name.strip_prefix('[') {
        let inner = inner.strip_suffix(']').unwrap_or(inner);
        return match literal(inner) {
            None => Some(HelloFault::NotAnAddress),
            Some(address) if address == peer.to_canonical() => None,
            Some(address) if address == local.to_canonical() => Some(HelloFault::Ours),
            Some(_) => Some(HelloFault::OtherAddress),
        };
    }
    if name.eq_ignore_ascii_case(ours) {
        // A peer on our own machine has our name.
        return (peer.to_canonical() != local.to_canonical()).then_some(HelloFault::Ours);
    }
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    if name.parse::<IpAddr>().is_ok() || name.split('.').all(is_number) {
        return Some(HelloFault::BareAddress);
    }
    (!name.contains('.')).then_some(HelloFault::NotQualified)
}

/// RFC 5321 §4.1.3, and IPv6 without its tag, which many programs write.
fn literal(inner: &str) -> Option<IpAddr> {
    let tagged = inner
        .get(..5)
        .is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:"));
    match tagged {
        true => inner[5..]
            .parse()
            .map(|at: Ipv6Addr| at.to_canonical())
            .ok(),
        false => inner.parse().map(|at: IpAddr| at.to_canonical()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(name: &str, peer: &str) -> Option<HelloFault> {
        let at = |text: &str| -> IpAddr { text.parse().expect("an address") };
        check(name, at(peer), at("192.0.2.25"), "mx.example.org")
    }

    #[test]
    fn a_name_is_refused_for_what_it_claims_and_never_for_what_it_resolves_to() {
        assert_eq!(fault("no-such-host.example", "198.51.100.1"), None);
        assert_eq!(
            fault("MX.example.org", "198.51.100.1"),
            Some(HelloFault::Ours)
        );
        assert_eq!(
            fault("mx.example.org.", "198.51.100.1"),
            Some(HelloFault::Ours)
        );
        assert_eq!(fault("mx.example.org", "192.0.2.25"), None, "it is us");
        assert_eq!(fault("mx2.example.org", "198.51.100.1"), None);
        for bare in ["198.51.100.1", "1.2.3.4", "12345", "1.2.3.4.5"] {
            assert_eq!(
                fault(bare, "198.51.100.1"),
                Some(HelloFault::BareAddress),
                "{bare}"
            );
        }
        let single = fault("localhost", "198.51.100.1");
        assert_eq!(single, Some(HelloFault::NotQualified));
        assert!(!HelloFault::NotQualified.may_refuse() && HelloFault::Ours.may_refuse());
    }

    #[test]
    fn a_literal_is_the_peer_s_own_address() {
        assert_eq!(fault("[198.51.100.1]", "198.51.100.1"), None);
        assert_eq!(fault("[198.51.100.1]", "::ffff:198.51.100.1"), None);
        assert_eq!(fault("[IPv6:2001:db8::1]", "2001:db8::1"), None);
        assert_eq!(
            fault("[2001:db8::1]", "2001:db8::1"),
            None,
            "the tag is forgotten often"
        );
        let other = Some(HelloFault::OtherAddress);
        assert_eq!(fault("[198.51.100.2]", "198.51.100.1"), other);
        assert_eq!(fault("[IPv6:2001:db8::2]", "2001:db8::1"), other);
        assert_eq!(
            fault("[192.0.2.25]", "198.51.100.1"),
            Some(HelloFault::Ours)
        );
        let none = Some(HelloFault::NotAnAddress);
        assert_eq!(fault("[example]", "198.51.100.1"), none);
        assert_eq!(fault("[IPv6:192.0.2.1]", "198.51.100.1"), none);
    }
}
