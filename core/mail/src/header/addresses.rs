//! Address lists (RFC 5322 §3.4, §4.4), one entry at a time.

use std::borrow::Cow;

use super::{HeaderAddress, Words};

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
            let phrase = words.run(true);
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
                    let host = words.run(false).unwrap_or_default();
                    words.skip_to_separator();
                    if let Some(local) = phrase {
                        return Some(HeaderAddress {
                            name: words.comment.take().map(Cow::Owned),
                            route: None,
                            mailbox: Some(Cow::Owned(local)),
                            host: Some(Cow::Owned(host)),
                        });
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

/// A name alone (`undisclosed recipients`, a local user): a mailbox at an empty host, for a missing host means a group.
fn bare(phrase: Option<Vec<u8>>) -> Option<HeaderAddress<'static>> {
    Some(HeaderAddress {
        mailbox: Some(Cow::Owned(phrase?)),
        host: Some(Cow::Borrowed(b"")),
        ..HeaderAddress::default()
    })
}

/// After `<`: an optional route, a local part, a domain, `>`.
fn angle(words: &mut Words<'_>) -> HeaderAddress<'static> {
    let mut entry = HeaderAddress::default();
    let mut route = Vec::new();
    loop {
        // each turn takes at least one special character
        let run = words.run(false);
        match words.next_special() {
            Some(b'@') if run.is_none() => {
                let host = words.run(false).unwrap_or_default();
                if !route.is_empty() {
                    route.push(b',');
                }
                route.push(b'@');
                route.extend_from_slice(&host);
            }
            Some(b',' | b':') if run.is_none() && !route.is_empty() => {}
            Some(b'@') => {
                entry.mailbox = run.map(Cow::Owned);
                entry.host = Some(Cow::Owned(words.run(false).unwrap_or_default()));
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
