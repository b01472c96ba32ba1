//! The way to a server elsewhere: its addresses, which of them may be asked, and a connection.
//!
//! What must hold: a person who may name a host (later in the webmail) must not make the box ask itself or the networks behind it. So names are looked up here, each
//! address is judged, and exactly that address is dialled: no second look-up can lead elsewhere.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use mua::stream::Stream;

use super::limits::{ADDRESSES_MAX, SILENCE_MAX};

/// Connected to the first address that may be asked and takes a connection. `Err`: one sentence.
pub(super) fn connect(host: &str, port: u16, may_be_private: bool) -> Result<Stream, String> {
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("{host} cannot be looked up: {error}"))?;
    let found: Vec<SocketAddr> = found.take(4 * ADDRESSES_MAX).collect();
    let allowed = found
        .iter()
        .filter(|address| may_be_private || is_foreign(address.ip()));
    let mut last = None;
    for address in allowed.take(ADDRESSES_MAX) {
        match Stream::plain(*address, SILENCE_MAX) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(match (last, found.is_empty()) {
        (Some(error), _) => format!("{host}: {}", words(&error)),
        (None, true) => format!("{host} has no address"),
        (None, false) => format!(
            "{host} is in a private network or is this machine: `ringpostctl fetch change --allow-private` permits that"
        ),
    })
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it does not answer".to_owned(),
        _ => error.to_string(),
    }
}

/// On the internet, and not an address of this machine.
fn is_foreign(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let is_global = match ip {
        IpAddr::V4(ip) => is_global_v4(ip),
        IpAddr::V6(ip) => is_global_v6(ip),
    };
    is_global && !is_own(ip)
}

fn is_global_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(a == 0
        || a >= 224
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        // RFC 6598, 6890, 2544.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b)))
}

fn is_global_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_global_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // RFC 3056: the IPv4 address is in the second and third.
        [0x2002, high, low, ..] => embedded(high, low),
        // RFC 6052.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2001, 0, ..] | [0x2001, 0xdb8, ..] => false,
        // What the registries give out.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// The kernel would use the address itself to reach it. Nothing is sent.
fn is_own(ip: IpAddr) -> bool {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((ip, 9))?;
        socket.local_addr()
    };
    source().is_ok_and(|source: SocketAddr| source.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_networks_and_this_machine_are_not_asked() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2001::1",
        ] {
            let ip: IpAddr = address.parse().expect("an address");
            assert!(!is_foreign(ip), "{address}");
        }
        for address in [
            "8.8.8.8",
            "100.63.0.1",
            "2600::1",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            let ip: IpAddr = address.parse().expect("an address");
            assert!(is_foreign(ip), "{address}");
        }
        assert!(is_own(Ipv4Addr::LOCALHOST.into()));
    }

    #[test]
    fn a_host_that_leads_to_this_machine_is_refused_in_words() {
        for host in ["localhost", "127.0.0.1"] {
            let refused = connect(host, 1, false).err().expect("refused");
            assert!(refused.contains("--allow-private"), "{refused}");
            let tried = connect(host, 1, true).err().expect("nothing listens");
            assert!(!tried.contains("--allow-private"), "{tried}");
        }
    }
}
