//! Networks of addresses: `192.0.2.0/24`, `2001:db8::/32`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IP prefix. Its address has no bit behind the prefix, and is IPv4 where it may be (RFC 4291 §2.5.5.2), so that equal networks are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// The text is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotANetwork;

impl Network {
    /// The network of `prefix` bits around `address`; a longer prefix than the address has is the address alone.
    pub fn around(address: IpAddr, prefix: u8) -> Network {
        match address.to_canonical() {
            IpAddr::V4(four) => {
                let prefix = prefix.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                Network {
                    address: Ipv4Addr::from_bits(four.to_bits() & mask).into(),
                    prefix,
                }
            }
            IpAddr::V6(six) => {
                let prefix = prefix.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Network {
                    address: Ipv6Addr::from_bits(six.to_bits() & mask).into(),
                    prefix,
                }
            }
        }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && Network::around(address, self.prefix) == *self
    }

    /// The first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// One address and no more.
    pub fn is_host(&self) -> bool {
        self.prefix == if self.address.is_ipv4() { 32 } else { 128 }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    /// `address/bits`, or an address alone. Bits behind the prefix are an error: `192.0.2.1/24` may mean the address or its network.
    fn from_str(text: &str) -> Result<Network, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, bits)) => {
                let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
                let bits = digits.then(|| bits.parse().ok()).flatten();
                (address, Some(bits.ok_or(NotANetwork)?))
            }
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let longest: u8 = if address.is_ipv4() { 32 } else { 128 };
        // IPv4 in IPv6 is written as IPv4, or the prefix would count other bits.
        if address.to_canonical() != address || prefix.is_some_and(|bits| bits > longest) {
            return Err(NotANetwork);
        }
        let network = Network::around(address, prefix.unwrap_or(longest));
        match network.address == address {
            true => Ok(network),
            false => Err(NotANetwork),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_host() {
            true => write!(f, "{}", self.address),
            false => write!(f, "{}/{}", self.address, self.prefix),
        }
    }
}

impl fmt::Display for NotANetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write an address, or a network as 192.0.2.0/24 or 2001:db8::/32")
    }
}

impl std::error::Error for NotANetwork {}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect(text)
    }

    fn at(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        assert!(network("192.0.2.0/24").contains(at("192.0.2.255")));
        assert!(network("192.0.2.0/24").contains(at("::ffff:192.0.2.1")));
        assert!(!network("192.0.2.0/24").contains(at("192.0.3.0")));
        assert!(network("0.0.0.0/0").contains(at("203.0.113.9")));
        assert!(!network("0.0.0.0/0").contains(at("2001:db8::1")));
        assert!(network("::/0").contains(at("2001:db8::1")));
        assert!(!network("::/0").contains(at("192.0.2.1")));
        assert!(network("2001:db8::/32").contains(at("2001:db8:ffff::1")));
        assert!(!network("2001:db8::/32").contains(at("2001:db9::1")));
        assert!(network("::1").contains(at("::1")) && !network("::1").contains(at("::2")));
    }

    #[test]
    fn what_is_written_comes_back_and_anything_else_is_refused() {
        for text in [
            "192.0.2.0/24",
            "192.0.2.1",
            "2001:db8::/32",
            "::1",
            "0.0.0.0/0",
            "::/0",
        ] {
            assert_eq!(network(text).to_string(), text);
        }
        assert_eq!(network("192.0.2.1/32"), network("192.0.2.1"));
        for text in [
            "",
            "/",
            "192.0.2.1/24",
            "192.0.2.0/33",
            "192.0.2.0/",
            "192.0.2.0/+8",
            "2001:db8::1/32",
            "::ffff:192.0.2.0/120",
            "::/129",
            "::/999",
            "example.org",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork), "{text}");
        }
        assert_eq!(
            Network::around(at("2001:db8:1:2:3::"), 64),
            network("2001:db8:1:2::/64")
        );
    }
}
