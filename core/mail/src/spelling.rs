//! One spelling for what Unicode lets people write in several ways.
//!
//! Letters and their marks may come composed (ü) or decomposed (u and U+0308); RFC 6532 §3.1 and RFC 5198 (Net-Unicode, which RFC 9051 §5.1
//! asks for in names of mailboxes) want them composed: NFC. A domain may come in letters (U-labels) or in ASCII (A-labels, `xn--`): RFC 5890
//! §2.3.2.1 calls them equivalent.
//!
//! Nothing is folded here beyond that: two names that look alike stay two.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfd_quick};

use crate::Address;

/// `text` in NFC.
pub fn composed(text: &str) -> Cow<'_, str> {
    match text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        true => Cow::Borrowed(text),
        false => Cow::Owned(text.nfc().collect()),
    }
}

/// `text` in NFD: how some systems write what was typed.
fn decomposed(text: &str) -> Cow<'_, str> {
    match text.is_ascii() || is_nfd_quick(text.chars()) == IsNormalized::Yes {
        true => Cow::Borrowed(text),
        false => Cow::Owned(text.nfd().collect()),
    }
}

/// The spellings of `domain` that name the same one, each once, lower-cased: as it stands, then in letters, then in ASCII. What is
/// no valid internationalised name has only the first.
pub fn domains(domain: &str) -> Vec<String> {
    let domain = domain.to_lowercase();
    let mut found = vec![composed(&domain).into_owned()];
    push(&mut found, domain.clone());
    if domain.is_ascii() && !domain.split('.').any(|label| label.starts_with("xn--")) {
        return found;
    }
    // UTS 46, as browsers and RFC 5895 do. With an error there is no other spelling that could be trusted.
    let (letters, valid) = idna::domain_to_unicode(&domain);
    if valid.is_ok() {
        push(&mut found, letters);
        if let Ok(ascii) = idna::domain_to_ascii(&domain) {
            push(&mut found, ascii);
        }
    }
    found
}

/// The spellings of `address` that name the same account, as `Address::key` would have them, each once; what is most likely first. One for an
/// address in ASCII.
pub fn keys(address: &Address) -> Vec<String> {
    let mut found = vec![address.key()];
    let local = address.local().to_lowercase();
    let local = [
        composed(&local),
        Cow::Borrowed(&local[..]),
        decomposed(&local),
    ];
    for domain in domains(address.domain()) {
        for local in &local {
            push(&mut found, format!("{local}@{domain}"));
        }
    }
    found
}

fn push(found: &mut Vec<String>, text: String) {
    if !found.contains(&text) {
        found.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_their_marks_come_together() {
        assert_eq!(composed("mu\u{308}ller"), "m\u{fc}ller");
        assert_eq!(composed("m\u{fc}ller"), "m\u{fc}ller");
        // Hangul, and two marks in the wrong order.
        assert_eq!(composed("\u{1100}\u{1161}"), "\u{ac00}");
        assert_eq!(composed("a\u{301}\u{323}"), "\u{1ea1}\u{301}");
        // Compatibility forms stay: NFC, not NFKC.
        assert_eq!(composed("\u{fb01}"), "\u{fb01}");
    }

    #[test]
    fn a_domain_in_letters_and_in_ascii_is_one() {
        for domain in [
            "b\u{fc}cher.example",
            "bu\u{308}cher.example",
            "xn--bcher-kva.example",
            "XN--BCHER-KVA.example",
        ] {
            let found = domains(domain);
            for spelling in ["b\u{fc}cher.example", "xn--bcher-kva.example"] {
                assert!(
                    found.iter().any(|one| one == spelling),
                    "{domain}: {found:?}"
                );
            }
        }
        assert_eq!(domains("Example.ORG"), ["example.org"]);
    }

    #[test]
    fn what_is_no_internationalised_name_is_only_itself() {
        for domain in ["xn--a.example", "xn--.example", "xn--zzzzzzz99999.example"] {
            assert_eq!(domains(domain), [domain]);
        }
    }

    #[test]
    fn an_ascii_address_has_one_key() {
        let address = Address::from_parts("Alice", "Example.org").expect("an address");
        assert_eq!(keys(&address), ["alice@example.org"]);
        let address = Address::from_parts("mu\u{308}ller", "example.org").expect("an address");
        assert!(keys(&address).contains(&"m\u{fc}ller@example.org".to_owned()));
    }
}
