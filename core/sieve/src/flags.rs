//! Lists of flags as `imap4flags` has them (RFC 5232): words without doubles, case does not count.

use mail::flags::KEYWORDS_MAX;
use mail::{Flags, Keyword, SystemFlags};

const SYSTEM: [(&str, SystemFlags); 5] = [
    ("\\Seen", SystemFlags::SEEN),
    ("\\Answered", SystemFlags::ANSWERED),
    ("\\Flagged", SystemFlags::FLAGGED),
    ("\\Deleted", SystemFlags::DELETED),
    ("\\Draft", SystemFlags::DRAFT),
];

/// `\\Recent` is not among them: no client sets it (RFC 9051 §2.3.2).
fn system(word: &str) -> Option<SystemFlags> {
    let same = SYSTEM
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(word));
    same.map(|(_, flag)| *flag)
}

/// The flags of a text, which spaces divide. What cannot be a flag is omitted (RFC 5232 §2).
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split_ascii_whitespace();
    words.filter(|word| system(word).is_some() || Keyword::parse(word).is_some())
}

/// What adding or removing the flags of `text` costs: a word may have a single letter, and each is compared with `KEYWORDS_MAX` others.
pub(crate) fn steps(text: &str) -> u64 {
    10 + 8 * text.len() as u64
}

/// Adds the flags of `text` that are not there. What a message could not carry is omitted.
pub(crate) fn add(list: &mut Vec<String>, text: &str) {
    for word in words(text) {
        let is_there = list.iter().any(|one| one.eq_ignore_ascii_case(word));
        if !is_there && list.len() < KEYWORDS_MAX + SYSTEM.len() {
            list.push(word.to_owned());
        }
    }
}

/// Those of a message, as words.
pub(crate) fn add_flags(list: &mut Vec<String>, flags: &Flags) {
    for (name, flag) in SYSTEM {
        if flags.system.contains(flag) {
            add(list, name);
        }
    }
    flags
        .keywords
        .iter()
        .for_each(|keyword| add(list, keyword.as_str()));
}

/// Removes those that are there.
pub(crate) fn remove(list: &mut Vec<String>, text: &str) {
    for word in words(text) {
        list.retain(|one| !one.eq_ignore_ascii_case(word));
    }
}

/// For a mailbox.
pub(crate) fn flags(list: &[String]) -> Flags {
    let mut flags = Flags::default();
    for word in list {
        match (system(word), Keyword::parse(word)) {
            (Some(flag), _) => flags.system = flags.system.with(flag),
            (None, Some(keyword)) if flags.keywords.len() < KEYWORDS_MAX => {
                flags.keywords.push(keyword);
            }
            (None, _) => {}
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_each_flag_once_and_no_other_word() {
        let mut list = Vec::new();
        add(&mut list, "\\seen  $Work \\Recent a(b $work");
        add(&mut list, "\\SEEN \\Flagged");
        assert_eq!(list, ["\\seen", "$Work", "\\Flagged"]);
        remove(&mut list, "\\flagged none");
        let flags = flags(&list);
        assert_eq!(flags.system, SystemFlags::SEEN);
        assert_eq!(flags.keywords[0].as_str(), "$Work");
    }
}
