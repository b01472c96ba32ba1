//! Whose message this is: the domain of its From field.

use mail::{header, spelling};

/// The domain of the author, lower-cased, in ASCII where it has such a spelling. `None` where it is not certain: no From field or several
/// (RFC 5322 §3.6 allows one), no address in it, or addresses of several domains.
pub fn author_domain(message: &[u8]) -> Option<String> {
    let mut fields = header::fields(message).filter(|field| {
        let name = field.name;
        name.eq_ignore_ascii_case(b"From")
    });
    let (Some(from), None) = (fields.next(), fields.next()) else {
        return None;
    };
    let mut found: Option<String> = None;
    for address in header::addresses(from.value) {
        if address.mailbox.is_none() || address.host.is_none() {
            // The name of a group, or its end.
            continue;
        }
        let host = address.host.unwrap_or_default();
        let domain = ascii_domain(std::str::from_utf8(&host).ok()?);
        if *found.get_or_insert_with(|| domain.clone()) != domain {
            return None;
        }
    }
    found.filter(|domain| !domain.is_empty())
}

/// `domain` in A-labels where it has them.
pub fn ascii_domain(domain: &str) -> String {
    let spellings = spelling::domains(domain);
    let ascii = spellings.iter().find(|spelled| spelled.is_ascii());
    ascii.or(spellings.first()).cloned().unwrap_or_default()
}
