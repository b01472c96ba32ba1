//! The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): a balancer says in front of the bytes of a connection whose they are.
//!
//! What must hold: the header is bounded, and only connections from networks that the listener trusts begin with one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::PROXY_HEADER_BYTES_MAX;

/// Version 1 with its CRLF; section 2.1: "107 characters".
const LINE_BYTES_MAX: usize = 107;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The balancer's own (a health check), or one whose addresses it does not say: those of the connection count.
    Own,
    Proxied {
        source: SocketAddr,
        destination: SocketAddr,
    },
}

/// The bytes are not a header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection does not begin with a header of the PROXY protocol")]
pub struct NotAHeader;

/// Reads the header in front of `input`: it, and its length in bytes; `None`: more bytes are needed.
pub fn parse(input: &[u8]) -> Result<Option<(Header, usize)>, NotAHeader> {
    let compared = input.len().min(SIGNATURE.len());
    if input[..compared] == SIGNATURE[..compared] {
        return parse_binary(input);
    }
    parse_line(input)
}

/// Version 1. `None`: more bytes are needed; past `LINE_BYTES_MAX` without a line end it is not a header.
fn parse_line(input: &[u8]) -> Result<Option<(Header, usize)>, NotAHeader> {
    const VERB: &[u8] = b"PROXY ";
    let compared = input.len().min(VERB.len());
    if input[..compared] != VERB[..compared] {
        return Err(NotAHeader);
    }
    let window = &input[..input.len().min(LINE_BYTES_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return match window.len() == LINE_BYTES_MAX {
            true => Err(NotAHeader),
            false => Ok(None),
        };
    };
    let line = std::str::from_utf8(&window[VERB.len()..end]).map_err(|_| NotAHeader)?;
    let used = end + 2;
    let words: Vec<&str> = line.split(' ').collect();
    // Section 2.1: whatever follows UNKNOWN is ignored.
    if words[0] == "UNKNOWN" {
        return Ok(Some((Header::Own, used)));
    }
    let [family, from, to, from_port, to_port] = words[..] else {
        return Err(NotAHeader);
    };
    let at = |address: &str, port: &str| {
        let address = match family {
            "TCP4" => address.parse::<Ipv4Addr>().map(IpAddr::V4),
            "TCP6" => address.parse::<Ipv6Addr>().map(IpAddr::V6),
            _ => return Err(NotAHeader),
        };
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or(NotAHeader)?;
        Ok(SocketAddr::new(address.map_err(|_| NotAHeader)?, port))
    };
    let header = proxied(at(from, from_port)?, at(to, to_port)?);
    Ok(Some((header, used)))
}

/// Version 2. The length is bounded before the rest is waited for: the sender decides it.
fn parse_binary(input: &[u8]) -> Result<Option<(Header, usize)>, NotAHeader> {
    let Some(fixed) = input.first_chunk::<FIXED_BYTES>() else {
        return Ok(None);
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let used = FIXED_BYTES + length;
    if used > PROXY_HEADER_BYTES_MAX || !matches!(command, 0x20 | 0x21) {
        return Err(NotAHeader);
    }
    // Section 2.2: what is not assigned is refused, and so are datagrams, which no connection of ours carries.
    let addresses_bytes = match family {
        0x00 => 0,
        0x11 => 12,
        0x21 => 36,
        0x31 => 216,
        _ => return Err(NotAHeader),
    };
    if command == 0x21 && length < addresses_bytes {
        return Err(NotAHeader);
    }
    let Some(rest) = input.get(FIXED_BYTES..used) else {
        return Ok(None);
    };
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    // What follows the addresses (TLVs) is skipped. LOCAL: so are the addresses.
    let header = match (command, family) {
        (0x21, 0x11) => {
            let at = |from: usize| {
                Ipv4Addr::new(rest[from], rest[from + 1], rest[from + 2], rest[from + 3])
            };
            proxied((at(0), port(8)).into(), (at(4), port(10)).into())
        }
        (0x21, 0x21) => {
            let at = |from: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&rest[from..from + 16]);
                Ipv6Addr::from(octets)
            };
            proxied((at(0), port(32)).into(), (at(16), port(34)).into())
        }
        _ => Header::Own,
    };
    Ok(Some((header, used)))
}

/// IPv4 in IPv6 is IPv4, as everywhere.
fn proxied(source: SocketAddr, destination: SocketAddr) -> Header {
    let plain = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    Header::Proxied {
        source: plain(source),
        destination: plain(destination),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: &str, destination: &str) -> Header {
        proxied(
            source.parse().expect("an address"),
            destination.parse().expect("an address"),
        )
    }

    /// Version 2.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    /// `bytes` is a header however much of what follows came with it, and none of its beginnings is.
    fn whole(bytes: &[u8], header: Header) {
        let expected = Ok(Some((header, bytes.len())));
        assert_eq!(parse(bytes), expected, "{}", bytes.escape_ascii());
        assert_eq!(parse(&[bytes, b"EHLO x\r\n"].concat()), expected);
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut} bytes");
        }
    }

    #[test]
    fn both_versions_name_the_client() {
        whole(
            b"PROXY TCP4 192.0.2.1 192.0.2.25 56324 25\r\n",
            of("192.0.2.1:56324", "192.0.2.25:25"),
        );
        whole(
            b"PROXY TCP6 2001:db8::1 2001:db8::25 1 65535\r\n",
            of("[2001:db8::1]:1", "[2001:db8::25]:65535"),
        );
        let four = [192, 0, 2, 1, 192, 0, 2, 25, 0x12, 0x34, 0, 25];
        whole(
            &binary(0x21, 0x11, &four),
            of("192.0.2.1:4660", "192.0.2.25:25"),
        );
        let tlv = [&four[..], b"\x02\0\x0bexample.org"].concat();
        whole(
            &binary(0x21, 0x11, &tlv),
            of("192.0.2.1:4660", "192.0.2.25:25"),
        );
        let mut six = [0u8; 36];
        (six[10], six[11]) = (0xff, 0xff);
        six[12..16].copy_from_slice(&[198, 51, 100, 7]);
        (six[31], six[33], six[35]) = (1, 9, 25);
        whole(&binary(0x21, 0x21, &six), of("198.51.100.7:9", "[::1]:25"));
    }

    #[test]
    fn a_header_without_addresses_leaves_those_of_the_connection() {
        whole(b"PROXY UNKNOWN\r\n", Header::Own);
        whole(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Header::Own);
        whole(&binary(0x20, 0x00, b""), Header::Own);
        whole(&binary(0x20, 0x11, &[1; 12]), Header::Own);
        whole(&binary(0x20, 0x21, &[1; 5]), Header::Own);
        whole(&binary(0x21, 0x00, &[7; 100]), Header::Own);
        whole(&binary(0x21, 0x31, &[b'/'; 216]), Header::Own);
    }

    #[test]
    fn anything_else_is_not_a_header() {
        let long = format!("PROXY UNKNOWN {}", "x".repeat(LINE_BYTES_MAX));
        for line in [
            "EHLO client.example\r\n",
            "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 \u{e9}\r\n",
            "\r\n\r\nX",
            &long,
        ] {
            assert_eq!(parse(line.as_bytes()), Err(NotAHeader), "{line:?}");
        }
        for (command, family, bytes) in [
            (0x11, 0x11, 12),
            (0x22, 0x11, 12),
            (0x21, 0x12, 12),
            (0x21, 0x41, 12),
            (0x21, 0x11, 11),
            (0x21, 0x21, 35),
            (0x20, 0x00, PROXY_HEADER_BYTES_MAX),
        ] {
            let header = binary(command, family, &vec![0; bytes]);
            assert_eq!(
                parse(&header),
                Err(NotAHeader),
                "{command:x} {family:x} {bytes}"
            );
        }
    }
}
