//! Address lists (RFC 5322 §3.4, §4.4), one entry at a time.

use std::borrow::Cow;

use super::{HeaderAddress, Words, unfold};

/// The entries of an RFC 5322 address list, obsolete forms included. What makes no sense is skipped, at most to the next comma.
///
/// Entries are read as they are asked for: a list may be as long as the message.
pub fn addresses(value: &[u8]) -> Addresses<'_> {
    Addresses {
        words: Words::new(value),
        in_group: false,
        after: None,
    }
}

#[derive(Debug, Clone)]
pub struct Addresses<'a> {
    words: Words<'a>,
    in_group: bool,
    /// What comes behind the entry before.
    after: Option<HeaderAddress<'static>>,
}

impl Iterator for Addresses<'_> {
    type Item = HeaderAddress<'static>;

    fn next(&mut self) -> Option<HeaderAddress<'static>> {
        if let Some(after) = self.after.take() {
            return Some(after);
        }
        loop {
            // each turn takes a special character, or ends
            let words = &mut self.words;
            words.comment = None;
            let begin = words.bytes;
            let phrase = words.phrase();
            match words.next_special() {
                None if phrase.is_some() => return bare(phrase),
                None if self.in_group => {
                    self.in_group = false;
                    return Some(HeaderAddress::default());
                }
                None => return None,
                Some(b'<') => {
                    let mut entry = angle(words);
                    words.skip_to_separator();
                    entry.name = phrase.or_else(|| words.comment.take()).map(Cow::Owned);
                    if entry.mailbox.is_some() {
                        return Some(entry);
                    }
                }
                Some(b'@') => {
                    let entry = bare_address(words, begin);
                    if entry.is_some() {
                        return entry;
                    }
                }
                Some(b':') if !self.in_group => {
                    self.in_group = true;
                    return Some(HeaderAddress {
                        mailbox: Some(Cow::Owned(phrase.unwrap_or_default())),
                        ..HeaderAddress::default()
                    });
                }
                Some(b';') if self.in_group => {
                    self.in_group = false;
                    let end = HeaderAddress::default();
                    let Some(member) = bare(phrase) else {
                        return Some(end);
                    };
                    self.after = Some(end);
                    return Some(member);
                }
                Some(_) if phrase.is_some() => return bare(phrase),
                Some(_) => {}
            }
        }
    }
}

/// A name alone (`undisclosed recipients`): an empty mailbox at an empty host, for a missing host means a group. Clients show the name.
fn bare(phrase: Option<Vec<u8>>) -> Option<HeaderAddress<'static>> {
    Some(HeaderAddress {
        name: Some(Cow::Owned(phrase?)),
        mailbox: Some(Cow::Borrowed(b"")),
        host: Some(Cow::Borrowed(b"")),
        ..HeaderAddress::default()
    })
}

/// After `@`, where `begin` is what stood before the words before it: an address without angle brackets. When an angle address
/// follows, that is the address, and what looked like one is its name: mail goes to what is in the brackets.
fn bare_address(words: &mut Words<'_>, begin: &[u8]) -> Option<HeaderAddress<'static>> {
    let after_at = words.bytes;
    let host = words.dot_words().unwrap_or_default();
    loop {
        // each turn takes a special character, or ends
        words.phrase();
        match words.bytes.first() {
            Some(b'<') => {
                let mut before = unfold(&begin[..begin.len() - words.bytes.len()]).into_owned();
                before.retain(|&byte| byte != b'"');
                words.next_special();
                let mut entry = angle(words);
                words.skip_to_separator();
                if entry.mailbox.is_some() {
                    entry.name = Some(Cow::Owned(before));
                    return Some(entry);
                }
                break;
            }
            Some(b',') => {
                words.next_special();
                break;
            }
            Some(b';') | None => break,
            Some(_) => {
                words.next_special();
            }
        }
    }
    // Its local part is the last of the words before the `@`; those before that can only be meant as a name.
    let mut local_words = Words::new(&begin[..begin.len() - after_at.len() - 1]);
    let mut local = local_words.dot_words()?;
    let mut name: Option<Vec<u8>> = None;
    while let Some(next) = local_words.dot_words() {
        let name = match &mut name {
            Some(name) => {
                name.push(b' ');
                name
            }
            None => name.insert(Vec::new()),
        };
        name.append(&mut local);
        local = next;
    }
    Some(HeaderAddress {
        name: name.or_else(|| words.comment.take()).map(Cow::Owned),
        route: None,
        mailbox: Some(Cow::Owned(local)),
        host: Some(Cow::Owned(host)),
    })
}

/// After `<`: an optional route, a local part, a domain, `>`.
fn angle(words: &mut Words<'_>) -> HeaderAddress<'static> {
    let mut entry = HeaderAddress::default();
    let mut route = Vec::new();
    loop {
        // each turn takes at least one special character
        let run = words.local_part();
        match words.next_special() {
            Some(b'@') if run.is_none() => {
                let host = words.dot_words().unwrap_or_default();
                if !route.is_empty() {
                    route.push(b',');
                }
                route.push(b'@');
                route.extend_from_slice(&host);
            }
            Some(b',' | b':') if run.is_none() && !route.is_empty() => {}
            Some(b'@') => {
                entry.mailbox = run.map(Cow::Owned);
                entry.host = Some(Cow::Owned(words.dot_words().unwrap_or_default()));
                break;
            }
            Some(b'>') | None => {
                // `<>` is an empty mailbox at an empty host
                entry.mailbox = Some(Cow::Owned(run.unwrap_or_default()));
                entry.host = Some(Cow::Borrowed(b""));
                break;
            }
            Some(_) => break,
        }
    }
    if !route.is_empty() {
        entry.route = Some(Cow::Owned(route));
    }
    entry
}
