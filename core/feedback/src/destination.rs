//! Where a domain wants its reports: the list behind `rua=` or `ruf=` (RFC 9989 §4.7, RFC 8460 §3).

use crate::limits::{DESTINATIONS_BYTES_MAX, DESTINATIONS_MAX};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Mail {
        /// `local@domain`.
        address: String,
        /// A report that is larger, packed and encoded, does not go there.
        bytes_max: Option<u64>,
    },
    Https {
        host: String,
        /// With its query.
        path: String,
    },
}

impl Destination {
    /// The list of a record, in its order. What is not understood is left out, and so is what is beyond the bounds or there already.
    pub fn list(text: &str) -> Vec<Destination> {
        if text.len() > DESTINATIONS_BYTES_MAX {
            return Vec::new();
        }
        let each = text
            .split(',')
            .filter_map(|uri| Destination::parse(uri.trim()));
        Destination::once(each)
    }

    /// The first of them, each once: an address that is named twice gets one report.
    pub fn once(each: impl IntoIterator<Item = Destination>) -> Vec<Destination> {
        let mut some: Vec<Destination> = Vec::new();
        for one in each {
            if some.len() >= DESTINATIONS_MAX {
                break;
            }
            if !some.iter().any(|there| there.is_at(&one)) {
                some.push(one);
            }
        }
        some
    }

    fn is_at(&self, other: &Destination) -> bool {
        match (self, other) {
            (Destination::Mail { address, .. }, Destination::Mail { address: other, .. }) => {
                address == other
            }
            _ => self == other,
        }
    }

    fn parse(uri: &str) -> Option<Destination> {
        let (scheme, rest) = uri.split_once(':')?;
        match &scheme.to_ascii_lowercase()[..] {
            "mailto" => {
                // A size of its own is old (RFC 7489 §6.2), and kept to.
                let (rest, bytes_max) = match rest.rsplit_once('!') {
                    Some((rest, size)) => (rest, Some(size_of(size)?)),
                    None => (rest, None),
                };
                let rest = rest.split('?').next().unwrap_or_default();
                let address = mail::Address::from_path(&unescaped(rest)?)?;
                Some(Destination::Mail {
                    address: address.to_path(),
                    bytes_max,
                })
            }
            "https" => {
                let rest = rest.strip_prefix("//")?;
                let (host, path) = match rest.find(['/', '?']) {
                    Some(at) => rest.split_at(at),
                    None => (rest, "/"),
                };
                let is_fit = |byte: u8| byte.is_ascii_graphic();
                let path = match path.starts_with('/') {
                    true => path.to_owned(),
                    false => format!("/{path}"),
                };
                let path = path.split('#').next().unwrap_or("/").to_owned();
                // Another port, or a user, is not for strangers to choose.
                let host = crate::text::domain(host).filter(|host| host.is_ascii())?;
                path.bytes()
                    .all(is_fit)
                    .then_some(Destination::Https { host, path })
            }
            _ => None,
        }
    }

    /// The domain that is in charge of it.
    pub fn host(&self) -> &str {
        match self {
            Destination::Mail { address, .. } => address.rsplit('@').next().unwrap_or_default(),
            Destination::Https { host, .. } => host,
        }
    }

    /// Whether a report of so many bytes, as it travels, may go there.
    pub fn takes(&self, bytes: usize) -> bool {
        match self {
            Destination::Mail {
                bytes_max: Some(most),
                ..
            } => bytes as u64 <= *most,
            _ => true,
        }
    }
}

/// `10m`, `500k`: powers of two.
fn size_of(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => (&text[..text.len() - 1], 10),
        b'm' => (&text[..text.len() - 1], 20),
        b'g' => (&text[..text.len() - 1], 30),
        b't' => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(1 << shift)
}

/// RFC 3986 §2.1: `%21` is an exclamation mark, `%2C` a comma.
fn unescaped(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let digits = std::str::from_utf8(bytes.get(at + 1..at + 3)?).ok()?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
                at += 3;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

/// The list of a record of TLS reporting, `None` where there is not exactly one (RFC 8460 §3).
pub fn of_tls_records(texts: &[Vec<u8>]) -> Option<String> {
    let records = texts
        .iter()
        .filter_map(|text| std::str::from_utf8(text).ok());
    let mut records = records.filter(|text| {
        let first = text.split(';').next().unwrap_or_default();
        let tag = first.split_once('=');
        tag.is_some_and(|(name, value)| name.trim() == "v" && value.trim() == "TLSRPTv1")
    });
    let (record, None) = (records.next()?, records.next()) else {
        return None;
    };
    let mut tags = record.split(';').filter_map(|tag| tag.split_once('='));
    let (_, list) = tags.find(|(name, _)| name.trim() == "rua")?;
    let list = list.trim();
    (!list.is_empty() && list.len() <= DESTINATIONS_BYTES_MAX).then(|| list.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(address: &str, bytes_max: Option<u64>) -> Destination {
        Destination::Mail {
            address: address.to_owned(),
            bytes_max,
        }
    }

    #[test]
    fn a_list_has_addresses_with_sizes_and_web_servers() {
        let list = "mailto:a@b.example!10m, MAILTO:c%2Bd@e.example,https://f.example/x?y=1,ftp://g.example,mailto:none,https://h.example:8443/,https://u@i.example/";
        let https = |host: &str, path: &str| Destination::Https {
            host: host.to_owned(),
            path: path.to_owned(),
        };
        assert_eq!(
            Destination::list(list),
            [
                mail("a@b.example", Some(10 << 20)),
                mail("c+d@e.example", None),
                https("f.example", "/x?y=1"),
            ]
        );
        assert_eq!(
            Destination::list("https://a.example?q"),
            [https("a.example", "/?q")]
        );
        assert!(Destination::list("mailto:a@b.example!x,mailto:%zz@b.example").is_empty());
        let many: String = (0..20)
            .map(|at| format!("mailto:{at}@b.example,"))
            .collect();
        assert_eq!(Destination::list(&many).len(), DESTINATIONS_MAX);
        assert!(Destination::list(&many.repeat(10)).is_empty());
        let twice = "mailto:a@b.example!1k,mailto:a@B.example,https://c.example,https://c.example/";
        let once = [mail("a@b.example", Some(1 << 10)), https("c.example", "/")];
        assert_eq!(Destination::list(twice), once);
        let one = mail("a@b.example", Some(500 << 10));
        assert!(one.takes(500 << 10) && !one.takes((500 << 10) + 1));
        assert_eq!(one.host(), "b.example");
    }

    #[test]
    fn there_is_one_record_of_tls_reporting_or_none() {
        let of = |texts: &[&str]| {
            let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
            of_tls_records(&texts)
        };
        let one = "v=TLSRPTv1; rua=mailto:a@b.example,https://c.example/";
        let list = Some("mailto:a@b.example,https://c.example/".to_owned());
        assert_eq!(of(&[one, "v=spf1 -all"]), list);
        assert_eq!(of(&[one, one]), None, "two");
        assert_eq!(of(&["v=TLSRPTv2; rua=mailto:a@b.example"]), None);
        assert_eq!(of(&["v=TLSRPTv1;"]), None);
    }
}
