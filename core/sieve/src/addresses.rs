//! Addresses in header fields and in the envelope, and their parts (RFC 5228 §2.7.4, RFC 5233).

use std::borrow::Cow;

use mail::Address;

use crate::program::Part;

/// An address as it stands somewhere; an empty domain means that there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub local: String,
    pub domain: String,
}

impl Found {
    pub fn of(address: &Address) -> Found {
        Found {
            local: address.local().to_owned(),
            domain: address.domain().to_owned(),
        }
    }

    /// `None`: it has no such part, and a test does not see it.
    pub fn part(&self, part: Part, separator: char) -> Option<Cow<'_, str>> {
        let whole = Cow::Borrowed(&self.local[..]);
        match part {
            Part::All if self.domain.is_empty() => Some(whole),
            Part::All => Some(Cow::Owned(format!("{}@{}", self.local, self.domain))),
            Part::Local => Some(whole),
            Part::Domain => Some(Cow::Borrowed(&self.domain)),
            Part::User => Some(
                self.local
                    .split_once(separator)
                    .map_or(whole, |(user, _)| user.into()),
            ),
            Part::Detail => self
                .local
                .split_once(separator)
                .map(|(_, detail)| detail.into()),
        }
    }
}

/// The addresses of a field's value. Names, groups' names and comments are not seen (RFC 5228 §5.1).
pub(crate) fn all(value: &[u8]) -> impl Iterator<Item = Found> + '_ {
    mail::header::addresses(value).filter_map(|entry| {
        // Without a host it begins or ends a group.
        let (mailbox, host) = (entry.mailbox?, entry.host?);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (local, domain) = (text(&mailbox), text(&host));
        (!local.is_empty()).then_some(Found { local, domain })
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
        None => Address::from_parts(&first.local, &first.domain),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_at_the_separator() {
        let address = Found {
            local: "ann+shop+x".to_owned(),
            domain: "example.org".to_owned(),
        };
        let part = |part| address.part(part, '+').map(Cow::into_owned);
        assert_eq!(part(Part::All).as_deref(), Some("ann+shop+x@example.org"));
        assert_eq!(part(Part::User).as_deref(), Some("ann"));
        assert_eq!(part(Part::Detail).as_deref(), Some("shop+x"));
        assert_eq!(address.part(Part::Detail, '-'), None);
        assert_eq!(address.part(Part::User, '-').as_deref(), Some("ann+shop+x"));
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
