//! XCLIENT, Postfix's extension (its XCLIENT_README): a proxy that is trusted says for which client it speaks.

use std::net::{IpAddr, Ipv6Addr};

use crate::command::is_hello;
use crate::limits::XCLIENT_VALUE_BYTES_MAX;
use crate::reply::Refusal;

/// What the proxy says of its client. What it does not say, or says to be unavailable, is `None`: then what was known before holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forwarded {
    /// ADDR.
    pub address: Option<IpAddr>,
    /// PORT.
    pub port: Option<u16>,
    /// NAME, the reverse name.
    pub name: ForwardedName,
    /// HELO: counts in place of the name that comes with the next EHLO.
    pub hello: Option<String>,
}

/// What the proxy found out about its client's reverse name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ForwardedName {
    #[default]
    Unsaid,
    /// There is none.
    Unavailable,
    /// It could not be looked up.
    TemporarilyUnavailable,
    Known(String),
}

/// The attributes, as EHLO offers them. LOGIN is taken and ignored: a login counts only where it was made.
pub(crate) const OFFER: &str = "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN\r\n";

/// `argument` is what follows `XCLIENT`.
pub(crate) fn parse(argument: &str) -> Result<Forwarded, Refusal> {
    let mut forwarded = Forwarded::default();
    let mut count = 0;
    for attribute in argument.split(' ').filter(|part| !part.is_empty()) {
        count += 1;
        let (name, value) = attribute.split_once('=').ok_or(Refusal::Syntax)?;
        let value = decode(value)?;
        // An empty value takes back what was said.
        let absent = value.is_empty() || value.eq_ignore_ascii_case("[UNAVAILABLE]");
        let later = value.eq_ignore_ascii_case("[TEMPUNAVAIL]");
        let said = !absent && !later;
        if name.eq_ignore_ascii_case("NAME") {
            forwarded.name = match (absent, later) {
                (true, _) => ForwardedName::Unavailable,
                (_, true) => ForwardedName::TemporarilyUnavailable,
                _ => ForwardedName::Known(value),
            };
        } else if name.eq_ignore_ascii_case("ADDR") {
            forwarded.address = said.then(|| address(&value)).transpose()?;
        } else if name.eq_ignore_ascii_case("PORT") {
            let port = || value.parse().map_err(|_| Refusal::BadParameter);
            forwarded.port = said.then(port).transpose()?;
        } else if name.eq_ignore_ascii_case("HELO") {
            // It goes into trace fields: as strict as a name that a client gives itself.
            if said && !is_hello(&value) {
                return Err(Refusal::BadParameter);
            }
            forwarded.hello = said.then_some(value);
        } else if name.eq_ignore_ascii_case("PROTO") {
            let known = ["SMTP", "ESMTP"];
            if said && !known.iter().any(|known| value.eq_ignore_ascii_case(known)) {
                return Err(Refusal::BadParameter);
            }
        } else if !name.eq_ignore_ascii_case("LOGIN") {
            return Err(Refusal::BadParameter);
        }
    }
    match count {
        0 => Err(Refusal::Syntax),
        _ => Ok(forwarded),
    }
}

/// `192.0.2.1`, `IPV6:2001:db8::1`; IPv6 without its tag is taken too.
fn address(value: &str) -> Result<IpAddr, Refusal> {
    let tagged = value
        .get(..5)
        .is_some_and(|tag| tag.eq_ignore_ascii_case("IPV6:"));
    let parsed = match tagged {
        true => value[5..].parse().map(|at: Ipv6Addr| IpAddr::V6(at)),
        false => value.parse(),
    };
    let address = parsed.map_err(|_| Refusal::BadParameter)?.to_canonical();
    // No client connects from these; a rule about them would be wrong.
    match address.is_unspecified() || address.is_multicast() {
        true => Err(Refusal::BadParameter),
        false => Ok(address),
    }
}

/// RFC 3461 §4, xtext: `+` and two hexadecimal digits stand for a byte. Only printable ASCII may come of it.
fn decode(text: &str) -> Result<String, Refusal> {
    let mut value = String::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'+' => {
                let mut digit = || {
                    let digit = bytes.next().map(char::from);
                    digit
                        .and_then(|digit| digit.to_digit(16))
                        .ok_or(Refusal::BadParameter)
                };
                let high = digit()? as u8;
                high * 16 + digit()? as u8
            }
            byte => byte,
        };
        if !(byte.is_ascii_graphic() || byte == b' ') || value.len() >= XCLIENT_VALUE_BYTES_MAX {
            return Err(Refusal::BadParameter);
        }
        value.push(char::from(byte));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn the_examples_of_the_readme_are_understood() {
        let said = parse("NAME=spike.porcupine.org ADDR=168.100.189.2").expect("well-formed");
        assert_eq!(said.address, at("168.100.189.2"));
        assert_eq!(
            said.name,
            ForwardedName::Known("spike.porcupine.org".to_owned())
        );
        assert_eq!((said.port, &said.hello), (None, &None));
        let said =
            parse("addr=IPV6:2001:db8::1 port=4711 proto=ESMTP helo=[IPv6:2001:db8::1] login=x")
                .expect("well-formed");
        assert_eq!((said.address, said.port), (at("2001:db8::1"), Some(4711)));
        assert_eq!(said.hello.as_deref(), Some("[IPv6:2001:db8::1]"));
        let said = parse("NAME=[UNAVAILABLE] ADDR=[unavailable] PORT= HELO=[TEMPUNAVAIL]")
            .expect("well-formed");
        assert_eq!(
            said,
            Forwarded {
                name: ForwardedName::Unavailable,
                ..Forwarded::default()
            }
        );
        let said = parse("NAME=[TEMPUNAVAIL]").expect("well-formed");
        assert_eq!(said.name, ForwardedName::TemporarilyUnavailable);
        let said = parse("NAME=a+2Eb HELO=c+2ed").expect("xtext");
        assert_eq!(said.name, ForwardedName::Known("a.b".to_owned()));
        assert_eq!(said.hello.as_deref(), Some("c.d"));
        assert_eq!(
            parse("ADDR=::ffff:192.0.2.1").map(|said| said.address),
            Ok(at("192.0.2.1"))
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let long = format!("NAME={}", "x".repeat(XCLIENT_VALUE_BYTES_MAX + 1));
        for argument in [
            "",
            " ",
            "ADDR",
            "=",
            "ADDR=example.org",
            "ADDR=192.0.2.1/24",
            "ADDR=0.0.0.0",
            "ADDR=IPV6:192.0.2.1",
            "ADDR=224.0.0.1",
            "PORT=65536",
            "PORT=-1",
            "PROTO=HTTP",
            "HELO=a+20b",
            "HELO=a+0D+0Ab",
            "NAME=+",
            "NAME=+4",
            "NAME=+zz",
            "NAME=+00",
            "COLOUR=red",
            "NAME=\u{e9}",
            &long,
        ] {
            assert!(parse(argument).is_err(), "{argument:?}");
        }
    }
}
