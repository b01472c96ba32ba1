//! Names as they may be asked for: checked here, so that nothing else ever leaves the box.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits::{LABEL_BYTES_MAX, NAME_AS_WRITTEN_BYTES_MAX, NAME_BYTES_MAX};

/// What stands after the @, or in an MX record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// In A-labels and lower case, without a dot at the end.
    Host(String),
    /// RFC 5321 §4.1.3.
    Literal(IpAddr),
}

/// `None`: no host can have this name. A dot at the end is allowed.
pub(crate) fn parse(text: &str) -> Option<Name> {
    if let Some(inner) = text.strip_prefix('[') {
        return literal(inner.strip_suffix(']')?).map(Name::Literal);
    }
    if text.len() > NAME_AS_WRITTEN_BYTES_MAX {
        return None;
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let name = match text.is_ascii() {
        true => text.to_ascii_lowercase(),
        false => idna::domain_to_ascii(text).ok()?,
    };
    is_host(&name).then_some(Name::Host(name))
}

/// A host's name, as `parse` takes it.
pub(crate) fn host(text: &str) -> Option<String> {
    match parse(text)? {
        Name::Host(host) => Some(host),
        Name::Literal(_) => None,
    }
}

/// The owner of records: as a host's name, and with labels of any visible ASCII (RFC 2181 §11), which macros of SPF make. `None`: it does
/// not fit the domain name system.
pub(crate) fn owner(text: &str) -> Option<String> {
    if text.len() > NAME_AS_WRITTEN_BYTES_MAX {
        return None;
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let name = match text.is_ascii() {
        true => text.to_ascii_lowercase(),
        false => idna::domain_to_ascii(text).ok()?,
    };
    let label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_graphic())
    };
    (name.len() <= NAME_BYTES_MAX && name.split('.').all(label)).then_some(name)
}

/// Where the names of `address` are (RFC 1035 §3.5, RFC 3596 §2.5).
pub(crate) fn reverse(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let digits = address.octets().into_iter().rev();
            let labels = digits.map(|octet| format!("{:x}.{:x}.", octet & 0xf, octet >> 4));
            labels.collect::<String>() + "ip6.arpa"
        }
    }
}

/// RFC 5321 §4.1.3: `192.0.2.1`, or `IPv6:2001:db8::1`.
fn literal(text: &str) -> Option<IpAddr> {
    let tagged = text
        .get(..5)
        .is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:"));
    match tagged {
        true => text[5..].parse().map(|at: Ipv6Addr| at.to_canonical()).ok(),
        false => text.parse().map(|at: Ipv4Addr| IpAddr::V4(at)).ok(),
    }
}

/// RFC 1123 §2.1 and RFC 1035 §2.3.4. Underscores are allowed: hosts with them exist. The last label is not a number (RFC 3696 §2), so
/// that an address is not a name.
fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        let bytes = label.as_bytes();
        (1..=LABEL_BYTES_MAX).contains(&bytes.len())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or(name);
    name.len() <= NAME_BYTES_MAX
        && name.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Option<Name> {
        Some(Name::Host(text.to_owned()))
    }

    #[test]
    fn names_become_a_labels_in_lower_case() {
        assert_eq!(parse("Example.ORG"), host("example.org"));
        assert_eq!(parse("example.org."), host("example.org"));
        assert_eq!(parse("bücher.example"), host("xn--bcher-kva.example"));
        assert_eq!(parse("BÜCHER.example."), host("xn--bcher-kva.example"));
        assert_eq!(parse("日本。example"), host("xn--wgv71a.example"));
        assert_eq!(parse("mail_1.example"), host("mail_1.example"));
        assert_eq!(parse("localhost"), host("localhost"));
    }

    #[test]
    fn what_no_host_is_called_is_refused() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = ["a".repeat(63).as_str(); 4].join(".");
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a.example",
            "a.example..",
            "-a.example",
            "a-.example",
            "a b.example",
            "a\0.example",
            "a/b.example",
            "a@b.example",
            "\"a\".example",
            "a\r\n.example",
            "192.0.2.1",
            "example.1",
            "2001:db8::1",
            "bü cher.example",
            "ü\u{ad}\u{fffd}.example",
            &long_label,
            &long_name,
            &"ü".repeat(60),
            &"ü.".repeat(1_000),
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        let longest = format!(
            "{}.{}",
            ["a".repeat(63).as_str(); 3].join("."),
            "a".repeat(61)
        );
        assert_eq!(longest.len(), NAME_BYTES_MAX);
        assert_eq!(parse(&longest), host(&longest));
    }

    #[test]
    fn an_owner_of_records_may_have_labels_that_no_host_has() {
        for (text, name) in [
            ("_DMARC.Example.org.", "_dmarc.example.org"),
            ("a+b=c._spf.example.org", "a+b=c._spf.example.org"),
            ("-a-.1", "-a-.1"),
            ("bücher.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(owner(text).as_deref(), Some(name), "{text}");
        }
        let long_name = ["a".repeat(63).as_str(); 4].join(".");
        for text in [
            "",
            ".",
            "a..b",
            "a b.example",
            "a\0.example",
            "a\r\n.example",
            &long_name,
            &"a".repeat(64),
        ] {
            assert_eq!(owner(text), None, "{text:?}");
        }
    }

    #[test]
    fn addresses_have_a_place_for_their_names() {
        let at = |text: &str| reverse(text.parse().expect("an address"));
        assert_eq!(at("192.0.2.71"), "71.2.0.192.in-addr.arpa");
        assert_eq!(at("::ffff:192.0.2.71"), "71.2.0.192.in-addr.arpa");
        assert_eq!(
            at("2001:db8::567:89ab"),
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
        assert!(owner(&at("2001:db8::1")).is_some());
    }

    #[test]
    fn literals_are_addresses_and_nothing_else() {
        let at = |text: &str| match parse(text) {
            Some(Name::Literal(address)) => Some(address.to_string()),
            Some(Name::Host(host)) => panic!("{host} is not a literal"),
            None => None,
        };
        assert_eq!(at("[192.0.2.1]").as_deref(), Some("192.0.2.1"));
        assert_eq!(at("[IPv6:2001:db8::1]").as_deref(), Some("2001:db8::1"));
        assert_eq!(at("[ipv6:::ffff:192.0.2.1]").as_deref(), Some("192.0.2.1"));
        for text in [
            "[",
            "[]",
            "[192.0.2.1",
            "[192.0.2]",
            "[2001:db8::1]",
            "[IPv6:192.0.2.1]",
            "[ü]",
            "[example]",
        ] {
            assert_eq!(at(text), None, "{text}");
        }
    }
}
