//! Mail addresses as SMTP writes them (RFC 5321 §4.1.2 Mailbox; RFC 6531 for UTF-8).

/// A checked `local-part@domain`. Holding one is the proof that it parsed; it says nothing about existence.
///
/// The domain is kept in lower case. The local part is kept as written (unquoted); `key` is what accounts are looked up by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    local: Box<str>,
    domain: Box<str>,
}

/// RFC 5321 §4.5.3.1.1 asks for 64 at least. Return paths of mailing lists and forwarders are longer, and a report must find its way back to them;
/// a whole path has 256 (§4.5.3.1.3).
pub const LOCAL_PART_BYTES_MAX: usize = 192;
/// RFC 5321 §4.5.3.1.2.
pub const DOMAIN_BYTES_MAX: usize = 255;

impl Address {
    /// For code that has already checked both parts (the SMTP and header parsers).
    pub fn from_parts(local: &str, domain: &str) -> Option<Address> {
        let ok = !local.is_empty()
            && local.len() <= LOCAL_PART_BYTES_MAX
            && !domain.is_empty()
            && domain.len() <= DOMAIN_BYTES_MAX
            && !local.chars().chain(domain.chars()).any(char::is_control);
        ok.then(|| Address {
            local: local.into(),
            domain: domain.to_lowercase().into(),
        })
    }
    /// From a path without its brackets (RFC 5321 §4.1.2): the local part may be quoted.
    pub fn from_path(path: &str) -> Option<Address> {
        let (local, domain) = path.rsplit_once('@')?;
        let Some(quoted) = local
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
        else {
            return Address::from_parts(local, domain);
        };
        let mut plain = String::with_capacity(quoted.len());
        let mut letters = quoted.chars();
        while let Some(letter) = letters.next() {
            plain.push(if letter == '\\' {
                letters.next()?
            } else {
                letter
            });
        }
        Address::from_parts(&plain, domain)
    }
    /// As a path without its brackets, quoted where RFC 5321 §4.1.2 wants that; the pair of `from_path`.
    pub fn to_path(&self) -> String {
        if self.is_plain() {
            return format!("{}@{}", self.local, self.domain);
        }
        let escaped = self.local.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{escaped}\"@{}", self.domain)
    }
    /// Whether the local part is a Dot-string, which needs no quotes (RFC 5321 §4.1.2; RFC 6531 §3.3 adds what is not ASCII).
    fn is_plain(&self) -> bool {
        let is_atext = |byte: &u8| match *byte {
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'/' | b'=' | b'?' | b'^'..=b'`' => true,
            b'{'..=b'~' => true,
            other => other.is_ascii_alphanumeric() || !other.is_ascii(),
        };
        let atoms = self.local.as_bytes().split(|byte| *byte == b'.');
        { atoms }.all(|atom| !atom.is_empty() && atom.iter().all(is_atext))
    }
    pub fn local(&self) -> &str {
        &self.local
    }
    pub fn domain(&self) -> &str {
        &self.domain
    }
    /// Without the tag (`ann+shop` is `ann`, RFC 5233); `None`: it has none.
    pub fn untagged(&self) -> Option<Address> {
        let (local, _tag) = self.local.split_once('+')?;
        Address::from_parts(local, &self.domain)
    }
    /// What follows the first `+` of the local part.
    pub fn tag(&self) -> Option<&str> {
        self.local.split_once('+').map(|(_, tag)| tag)
    }
    /// Lower-cased `local@domain`: local parts of our own domains are looked up without regard to case.
    pub fn key(&self) -> String {
        format!("{}@{}", self.local.to_lowercase(), self.domain)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_back_as_the_same_address() {
        for (local, path) in [
            ("ann", "ann@example.org"),
            ("ann+shop=x", "ann+shop=x@example.org"),
            ("a b", "\"a b\"@example.org"),
            ("a@b", "\"a@b\"@example.org"),
            ("a\\\"b", "\"a\\\\\\\"b\"@example.org"),
            (".a", "\".a\"@example.org"),
        ] {
            let address = Address::from_parts(local, "example.org").unwrap();
            assert_eq!(address.to_path(), path);
            assert_eq!(Address::from_path(path), Some(address));
        }
        for bad in ["", "ann", "@example.org", "\"\\\"@example.org", "ann@"] {
            assert_eq!(Address::from_path(bad), None, "{bad}");
        }
    }
}
