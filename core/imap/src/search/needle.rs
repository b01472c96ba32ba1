//! Texts that are looked for without regard to case (RFC 9051 §6.4.4), by the comparator i;unicode-casemap (RFC 5255 §4.2).
//!
//! What must hold: the work is in proportion to the text, whatever is looked for in it, and what is folded is in memory a window at a
//! time. However many BODY and TEXT keys a search has, a message is parsed and decoded once.

use mail::text::{Scope, any_text, casemap};
use memchr::memmem::Finder;

/// Of a text, folded and looked through at once.
const WINDOW_BYTES: usize = 64 * 1_024;

/// A text to look for, folded once for all messages.
pub(super) struct Needle {
    finder: Finder<'static>,
}

impl Needle {
    pub fn new(text: &str) -> Needle {
        let mut folded = Vec::new();
        casemap(text, &mut folded);
        Needle {
            finder: Finder::new(&folded).into_owned(),
        }
    }

    /// Whether `text` contains it, case disregarded.
    pub fn is_in(&self, text: &str) -> bool {
        any_window(text, self.bytes(), &mut Vec::new(), &mut |window| {
            self.finder.find(window).is_some()
        })
    }

    fn bytes(&self) -> usize {
        self.finder.needle().len()
    }
}

/// What the BODY and TEXT keys of one search look for.
#[derive(Default)]
pub(super) struct Needles {
    all: Vec<(Scope, Needle)>,
}

impl Needles {
    /// Answers its place in `found_in`.
    pub fn add(&mut self, scope: Scope, text: &str) -> usize {
        self.all.push((scope, Needle::new(text)));
        self.all.len() - 1
    }

    /// Which of them the message `raw` has.
    pub fn found_in(&self, raw: &[u8]) -> Vec<bool> {
        let mut found = vec![false; self.all.len()];
        let scopes: Vec<Scope> = self.all.iter().map(|(scope, _)| *scope).collect();
        let widest = match scopes.contains(&Scope::Text) {
            true => Scope::Text,
            false => Scope::Body,
        };
        let longest = self.all.iter().map(|(_, needle)| needle.bytes()).max();
        let mut room = Vec::new();
        any_text(raw, widest, &mut |place, text| {
            any_window(text, longest.unwrap_or(0), &mut room, &mut |window| {
                for (found, (scope, needle)) in found.iter_mut().zip(&self.all) {
                    let looks_here = place == Scope::Body || *scope == Scope::Text;
                    if !*found && looks_here {
                        *found = needle.finder.find(window).is_some();
                    }
                }
                found.iter().all(|found| *found)
            })
        });
        found
    }
}

/// Calls `visit` with `text`, folded, in windows (in `room`, which is cleared) until it answers `true`; what is at most `needle_bytes` long is
/// whole in one of them. Says whether `visit` did.
fn any_window(
    text: &str,
    needle_bytes: usize,
    room: &mut Vec<u8>,
    visit: &mut dyn FnMut(&[u8]) -> bool,
) -> bool {
    room.clear();
    let mut rest = text;
    loop {
        // until the text ends; the first window may be empty
        let (piece, after) = rest.split_at(rest.floor_char_boundary(WINDOW_BYTES));
        let kept = needle_bytes.saturating_sub(1).min(room.len());
        room.drain(..room.len() - kept);
        casemap(piece, room);
        if visit(room) {
            return true;
        }
        if after.is_empty() {
            return false;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_no_matter_in_any_script() {
        for (needle, text) in [
            ("GRÜSSE", "viele grüsse"),
            ("ΟΔΟΣ", "η οδος εδώ"),
            ("οδος", "ΟΔΟΣ"),
            ("straße", "Straße"),
            ("re\u{301}sume\u{301}", "Mein RÉSUMÉ"),
            ("", ""),
        ] {
            assert!(Needle::new(needle).is_in(text), "{needle} in {text}");
        }
        assert!(!Needle::new("fox").is_in(""));
        assert!(!Needle::new("fox").is_in("fo x"));
    }

    #[test]
    fn what_lies_across_two_windows_is_found() {
        for letter in ["x", "ü"] {
            for before in WINDOW_BYTES - 8..WINDOW_BYTES + 8 {
                let text = format!(
                    "{}Nadel{}",
                    letter.repeat(before / letter.len()),
                    "y".repeat(9)
                );
                assert!(Needle::new("nadel").is_in(&text), "{before}");
                assert!(!Needle::new("nadelx").is_in(&text), "{before}");
            }
        }
        let long = "ab".repeat(WINDOW_BYTES);
        assert!(Needle::new(&long).is_in(&format!("x{long}")));
        assert!(!Needle::new(&format!("{long}b")).is_in(&format!("{long}{long}")));
    }

    #[test]
    fn many_keys_are_looked_for_in_one_go_each_in_its_scope() {
        let raw = b"Subject: alpha\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nbeta\r\n--b\r\n\
            Content-Type: message/rfc822\r\n\r\nSubject: gamma\r\n\r\ndelta\r\n--b--\r\n";
        let mut needles = Needles::default();
        let mut wanted = Vec::new();
        for (word, in_body, in_text) in [
            ("alpha", false, true),
            ("beta", true, true),
            ("Gamma", true, true),
            ("delta", true, true),
            ("absent", false, false),
        ] {
            for (scope, is_found) in [(Scope::Body, in_body), (Scope::Text, in_text)] {
                assert_eq!(needles.add(scope, word), wanted.len());
                wanted.push(is_found);
            }
        }
        assert_eq!(needles.found_in(raw), wanted);
        assert_eq!(Needles::default().found_in(raw), []);
    }
}
