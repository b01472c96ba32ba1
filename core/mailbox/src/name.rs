//! Mailbox names: UTF-8, levels divided by `/`, INBOX without regard to case (RFC 3501 §5.1).

use mail::spelling::composed;

use crate::MailboxFault;
use crate::limits::{NAME_BYTES_MAX, NAME_LEVEL_BYTES_MAX, NAME_LEVELS_MAX};
use crate::row::Tree;

pub const INBOX: &str = "INBOX";
pub const SEPARATOR: char = '/';

/// The one spelling of `name`, or why it cannot be one. A single trailing separator is dropped.
// RFC 3501 §6.3.3: a trailing separator declares that names will be created below; the name itself is without it.
pub fn parse(name: &str) -> Result<String, MailboxFault> {
    let name = name.strip_suffix(SEPARATOR).unwrap_or(name);
    if name.len() > NAME_BYTES_MAX {
        return Err(MailboxFault::Refused("Mailbox name is too long"));
    }
    if name.chars().any(char::is_control) {
        return Err(MailboxFault::Refused(
            "Mailbox name contains a control character",
        ));
    }
    let mut levels_count = 0;
    for level in name.split(SEPARATOR) {
        levels_count += 1;
        if level.is_empty() {
            return Err(MailboxFault::Refused("Mailbox name has an empty level"));
        }
        if level.len() > NAME_LEVEL_BYTES_MAX {
            return Err(MailboxFault::Refused(
                "Level of the mailbox name is too long",
            ));
        }
    }
    if levels_count > NAME_LEVELS_MAX {
        return Err(MailboxFault::Refused("Mailbox name has too many levels"));
    }
    Ok(fold_inbox(name))
}

fn fold_inbox(name: &str) -> String {
    match name.split_once(SEPARATOR) {
        Some((first, rest)) if first.eq_ignore_ascii_case(INBOX) => {
            format!("{INBOX}{SEPARATOR}{rest}")
        }
        None if name.eq_ignore_ascii_case(INBOX) => INBOX.to_owned(),
        _ => name.to_owned(),
    }
}

impl Tree {
    /// `name` as the account's mailboxes spell it: as it stands when there is one of that name, else as the one that differs only in how letters
    /// and their marks are put together. A name that is not there yet is composed (NFC), below the parents that are.
    // RFC 9051 §5.1: names are Net-Unicode (RFC 5198), which is NFC. Earlier releases took them as they came.
    pub fn spelled(&self, name: &str) -> String {
        if name.is_ascii() || self.folders.contains_key(name) {
            return name.to_owned();
        }
        let wanted = composed(name);
        if self.folders.contains_key(&*wanted) {
            return wanted.into_owned();
        }
        // The longest of those that earlier releases left decomposed.
        let mut best: Option<(&str, usize)> = None;
        for stored in self.folders.keys().filter(|stored| !stored.is_ascii()) {
            let same = composed(stored);
            let fits = *same == *wanted || is_below(&wanted, &same);
            // A parent that is there as it should be spelled comes first.
            let other = *same == **stored || self.folders.contains_key(&*same);
            if fits && !other && best.is_none_or(|(_, bytes)| bytes < same.len()) {
                best = Some((stored, same.len()));
            }
        }
        match best {
            Some((stored, bytes)) => format!("{stored}{}", &wanted[bytes..]),
            None => wanted.into_owned(),
        }
    }
}

/// The names above `name`, outermost first, without itself.
pub fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices(SEPARATOR).map(|(at, _)| &name[..at])
}

/// Whether `name` lies somewhere below `parent`.
pub fn is_below(name: &str, parent: &str) -> bool {
    name.strip_prefix(parent)
        .is_some_and(|rest| rest.starts_with(SEPARATOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_has_one_spelling_at_the_first_level_only() {
        assert_eq!(parse("inBox").as_deref(), Ok("INBOX"));
        assert_eq!(parse("inbox/Lists/").as_deref(), Ok("INBOX/Lists"));
        assert_eq!(parse("Old/inbox").as_deref(), Ok("Old/inbox"));
        assert_eq!(parse("inboxes").as_deref(), Ok("inboxes"));
    }

    #[test]
    fn a_name_without_a_place_in_the_tree_is_refused() {
        for name in ["", "/", "/a", "a//b", "a//", "a\u{7}", "a\nb"] {
            assert!(parse(name).is_err(), "{name:?}");
        }
        assert!(parse(&"x".repeat(NAME_LEVEL_BYTES_MAX)).is_ok());
        assert!(parse(&"x".repeat(NAME_LEVEL_BYTES_MAX + 1)).is_err());
        assert!(parse(&vec!["x"; NAME_LEVELS_MAX].join("/")).is_ok());
        assert!(parse(&vec!["x"; NAME_LEVELS_MAX + 1].join("/")).is_err());
        assert!(parse(&vec!["x".repeat(200); 6].join("/")).is_err());
    }

    #[test]
    fn parents_come_outermost_first() {
        assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(parents("a").count(), 0);
        assert!(is_below("a/b", "a"));
        assert!(!is_below("ab", "a"));
        assert!(!is_below("a", "a"));
    }
}
