//! Addresses in header fields and in the envelope, and their parts (RFC 5228 §2.7.4, RFC 5233).

use mail::Address;

use crate::program::Part;

/// An address as it stands somewhere; an empty domain means that there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// `local@domain`, or the local part alone.
    whole: String,
    local_bytes: usize,
}

impl Found {
    pub fn of(address: &Address) -> Found {
        Found {
            whole: address.to_string(),
            local_bytes: address.local().len(),
        }
    }

    pub fn local(&self) -> &str {
        &self.whole[..self.local_bytes]
    }

    pub fn domain(&self) -> &str {
        self.whole.get(self.local_bytes + 1..).unwrap_or_default()
    }

    /// `None`: it has no such part, and a test does not see it.
    pub fn part(&self, part: Part, separator: char) -> Option<&str> {
        match part {
            Part::All => Some(&self.whole),
            Part::Local => Some(self.local()),
            Part::Domain => Some(self.domain()),
            Part::User => self.local().split(separator).next(),
            Part::Detail => self.local().split_once(separator).map(|(_, detail)| detail),
        }
    }
}

/// The addresses of a field's value. Names, groups' names and comments are not seen (RFC 5228 §5.1).
pub(crate) fn all(value: &[u8]) -> impl Iterator<Item = Found> + '_ {
    mail::header::addresses(value).filter_map(|entry| {
        // Without a host it begins or ends a group.
        let (mailbox, host) = (entry.mailbox?, entry.host?);
        let mut whole = String::from_utf8_lossy(&mailbox).into_owned();
        let local_bytes = whole.len();
        if !host.is_empty() {
            whole.push('@');
            whole.push_str(&String::from_utf8_lossy(&host));
        }
        (local_bytes > 0).then_some(Found { whole, local_bytes })
    })
}

/// The one address of a text such as a From field has it, perhaps with a name.
pub(crate) fn single(text: &str) -> Option<Address> {
    if text.chars().any(char::is_control) {
        return None;
    }
    let mut found = all(text.as_bytes());
    let first = found.next()?;
    match found.next() {
        None => Address::from_parts(first.local(), first.domain()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_at_the_separator() {
        let address = all(b"ann+shop+x@example.org").next().expect("an address");
        let part = |part| address.part(part, '+');
        assert_eq!(part(Part::All), Some("ann+shop+x@example.org"));
        assert_eq!(part(Part::User), Some("ann"));
        assert_eq!(part(Part::Detail), Some("shop+x"));
        assert_eq!(address.part(Part::Detail, '-'), None);
        assert_eq!(address.part(Part::User, '-'), Some("ann+shop+x"));
    }

    #[test]
    fn a_single_address_may_have_a_name() {
        let single = |text| single(text).map(|address| address.to_string());
        assert_eq!(
            single("Ann <ann@Example.org>").as_deref(),
            Some("ann@example.org")
        );
        assert_eq!(
            single("ann@example.org").as_deref(),
            Some("ann@example.org")
        );
        for text in [
            "",
            "ann",
            "a@b.c, d@e.f",
            "g: a@b.c, d@e.f;",
            "a@b.c\r\nBcc: d@e.f",
        ] {
            assert_eq!(single(text), None, "{text}");
        }
    }
}
