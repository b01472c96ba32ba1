//! Mail addresses as SMTP writes them (RFC 5321 §4.1.2 Mailbox; RFC 6531 for UTF-8).

/// A checked `local-part@domain`. Holding one is the proof that it parsed; it says nothing about existence.
///
/// The domain is kept in lower case. The local part is kept as written (unquoted); `key` is what accounts are looked up by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    local: Box<str>,
    domain: Box<str>,
}

/// RFC 5321 §4.5.3.1.1–3.
pub const LOCAL_PART_BYTES_MAX: usize = 64;
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
    pub fn local(&self) -> &str {
        &self.local
    }
    pub fn domain(&self) -> &str {
        &self.domain
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
