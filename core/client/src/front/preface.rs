//! What a front and a storage node say to each other before the protocol begins: one line each, inside mutual TLS.
//!
//! `FRONT imap 192.0.2.1:4711 TLSv1.3` asks for a session of a protocol for a client; the answer is `READY`, and the protocol's greeting follows, or
//! `BANNED` or `LATER`. `OFFER` asks what clients may be offered; the answer is `OFFER`, words `name=value`, and the next question may come.
//!
//! Not a header of the PROXY protocol: that stands in front of TLS, where it is proved by nothing, names no protocol, so that there would be four doors, and the
//! client's TLS version would need an extension of it.

use std::net::SocketAddr;

use crate::login::audit::Protocol;

/// What a front wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Offer,
    Session(For),
}

/// Whose session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct For {
    pub protocol: Protocol,
    pub client: SocketAddr,
    /// Of the client's connection with the front: `TLSv1.3`; `None`: it has none.
    pub tls: Option<&'static str>,
}

/// Versions as `runtime::TlsFacts` names them.
const VERSIONS: [&str; 3] = ["TLSv1.3", "TLSv1.2", "TLS"];
const NO_TLS: &str = "none";

impl Wanted {
    /// A line without its end. `None`: it makes no sense.
    pub fn parse(line: &[u8]) -> Option<Wanted> {
        let line = std::str::from_utf8(line).ok()?;
        let words: Vec<&str> = line.splitn(5, ' ').collect();
        match words[..] {
            ["OFFER"] => Some(Wanted::Offer),
            ["FRONT", protocol, client, tls] => Some(Wanted::Session(For {
                protocol: Protocol::named(protocol)?,
                client: client.parse().ok()?,
                tls: match tls {
                    NO_TLS => None,
                    version => Some(VERSIONS.into_iter().find(|known| *known == version)?),
                },
            })),
            _ => None,
        }
    }

    /// With its end.
    pub fn line(self) -> String {
        match self {
            Wanted::Offer => "OFFER\r\n".to_owned(),
            Wanted::Session(For {
                protocol,
                client,
                tls,
            }) => format!(
                "FRONT {} {client} {}\r\n",
                protocol.name(),
                tls.unwrap_or(NO_TLS)
            ),
        }
    }
}

/// What a storage node's sessions offer, as far as a client sees it before the login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    pub scram: bool,
    /// SIZE of submission.
    pub message_bytes_max: u64,
    /// Extensions of Sieve, in the order in which they are listed.
    pub sieve: Vec<String>,
}

impl Offered {
    /// With its end.
    pub fn line(&self) -> String {
        format!(
            "OFFER scram={} size={} sieve={}\r\n",
            u8::from(self.scram),
            self.message_bytes_max,
            self.sieve.join(",")
        )
    }

    /// A line without its end. Words that are not known are passed over: a later release may say more.
    pub fn parse(line: &[u8]) -> Option<Offered> {
        let line = std::str::from_utf8(line).ok()?;
        let mut words = line.split(' ');
        if words.next() != Some("OFFER") {
            return None;
        }
        let (mut scram, mut size, mut sieve) = (None, None, None);
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            match name {
                "scram" => scram = Some(value == "1"),
                "size" => size = Some(value.parse().ok()?),
                "sieve" => {
                    let names = value.split(',').filter(|name| !name.is_empty());
                    sieve = Some(names.map(str::to_owned).collect());
                }
                _ => {}
            }
        }
        Some(Offered {
            scram: scram?,
            message_bytes_max: size?,
            sieve: sieve?,
        })
    }

    /// What both offer.
    pub fn and(self, other: &Offered) -> Offered {
        let mut sieve = self.sieve;
        sieve.retain(|name| other.sieve.contains(name));
        Offered {
            scram: self.scram && other.scram,
            message_bytes_max: self.message_bytes_max.min(other.message_bytes_max),
            sieve,
        }
    }
}

pub const READY: &[u8] = b"READY\r\n";
pub const BANNED: &[u8] = b"BANNED\r\n";
pub const LATER: &[u8] = b"LATER\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_comes_back_as_it_was() {
        for protocol in Protocol::ALL {
            for client in ["192.0.2.1:4711", "[2001:db8::1]:1"] {
                for tls in [None, Some("TLSv1.2"), Some("TLSv1.3")] {
                    let wanted = Wanted::Session(For {
                        protocol,
                        client: client.parse().expect("an address"),
                        tls,
                    });
                    let line = wanted.line();
                    let line = line.strip_suffix("\r\n").expect("a line");
                    assert_eq!(Wanted::parse(line.as_bytes()), Some(wanted));
                }
            }
        }
        assert_eq!(Wanted::parse(b"OFFER"), Some(Wanted::Offer));
    }

    #[test]
    fn anything_else_is_refused() {
        for line in [
            &b""[..],
            b"FRONT",
            b"front imap 192.0.2.1:1 none",
            b"FRONT smtp 192.0.2.1:1 none",
            b"FRONT imap 192.0.2.1 none",
            b"FRONT imap 192.0.2.1:1 SSLv3",
            b"FRONT imap 192.0.2.1:1 none more",
            b"FRONT imap 192.0.2.1:1 \xff",
            b"OFFER x",
        ] {
            assert_eq!(Wanted::parse(line), None, "{}", line.escape_ascii());
        }
        for line in [&b"OFFER"[..], b"OFFER scram=1 size=x sieve=a", b"READY"] {
            assert_eq!(Offered::parse(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn of_several_nodes_only_what_all_of_them_offer_is_offered() {
        let one = Offered::parse(b"OFFER scram=1 size=10 sieve=fileinto,reject more=1");
        let other = Offered::parse(b"OFFER scram=0 size=20 sieve=reject,vacation");
        let (one, other) = (one.expect("well-formed"), other.expect("well-formed"));
        let line = one.line();
        assert_eq!(
            Offered::parse(line.trim_end().as_bytes()),
            Some(one.clone())
        );
        let both = one.and(&other);
        assert_eq!(both.line(), "OFFER scram=0 size=10 sieve=reject\r\n");
        let none = Offered::parse(b"OFFER scram=1 size=1 sieve=").expect("well-formed");
        assert_eq!(none.sieve, Vec::<String>::new());
    }
}
