//! Which delivery a message is, as one zone tells it another: in XDELIVERY of MAIL, or in the first line of a message that comes by QMQP.
//!
//! Thirty-two digits of the delivery id, `;junk` behind them where the message looks like junk for its recipients, and `;spooled` behind that where it
//! waited in the other zone's spool: its sender has a 250, so it is taken for each recipient in a domain of ours, whatever has become of that one. `;again`
//! in its place: it was handed over before, and an operator asks for it after a loss. Only a peer with a proved certificate is trusted; what is in the place
//! of a mark and is none is as if there were none.

use queue::DeliveryId;

/// The name of the field that carries a mark over QMQP, up to its value. It is the first line, and is taken off.
pub(super) const FIELD: &str = "X-Ringpost-Delivery: ";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub id: DeliveryId,
    pub is_junk: bool,
    pub is_spooled: bool,
    /// Only where it waited in a spool.
    pub is_again: bool,
}

impl Mark {
    pub fn parse(text: &str) -> Option<Mark> {
        let (text, is_again) = without(text, AGAIN);
        let (text, is_spooled) = match is_again {
            true => (text, true),
            false => without(text, SPOOLED),
        };
        let (digits, is_junk) = without(text, JUNK);
        let is_lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() != 32 || !digits.bytes().all(is_lower) {
            return None;
        }
        let id = u128::from_str_radix(digits, 16).ok()?;
        Some(Mark {
            id: DeliveryId(id.to_be_bytes()),
            is_junk,
            is_spooled,
            is_again,
        })
    }

    /// The first line of a message over QMQP, its line end with it.
    pub fn line(&self) -> String {
        format!("{FIELD}{self}\r\n")
    }

    /// Takes such a line off the front of `content`.
    pub(super) fn take_line(content: &mut Vec<u8>) -> Option<Mark> {
        let rest = content.strip_prefix(FIELD.as_bytes())?;
        let window = &rest[..rest.len().min(smtp::limits::DELIVERY_BYTES_MAX)];
        let end = memchr::memchr(b'\r', window)?;
        let mark = Mark::parse(std::str::from_utf8(&window[..end]).ok()?)?;
        content.drain(..FIELD.len() + end + 2);
        Some(mark)
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let junk = if self.is_junk { JUNK } else { "" };
        let spooled = match (self.is_again, self.is_spooled) {
            (true, _) => AGAIN,
            (false, true) => SPOOLED,
            (false, false) => "",
        };
        write!(f, "{:032x}{junk}{spooled}", u128::from_be_bytes(self.id.0))
    }
}

/// `text` without `end`, and whether it had it.
fn without<'t>(text: &'t str, end: &str) -> (&'t str, bool) {
    match text.strip_suffix(end) {
        Some(rest) => (rest, true),
        None => (text, false),
    }
}

const JUNK: &str = ";junk";
const SPOOLED: &str = ";spooled";
const AGAIN: &str = ";again";

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(is_junk: bool, is_spooled: bool) -> Mark {
        Mark {
            id: DeliveryId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]),
            is_junk,
            is_spooled,
            is_again: false,
        }
    }

    #[test]
    fn a_mark_comes_back_as_it_was() {
        let both = [false, true];
        let marks = both.map(|is_junk| both.map(|is_spooled| mark(is_junk, is_spooled)));
        let again = both.map(|is_junk| Mark {
            is_again: true,
            ..mark(is_junk, true)
        });
        for mark in marks.into_iter().flatten().chain(again) {
            assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
            assert!(mark.to_string().len() <= smtp::limits::DELIVERY_BYTES_MAX);
            let mut content = mark.line().into_bytes();
            content.extend_from_slice(b"Subject: a\r\n");
            assert_eq!(Mark::take_line(&mut content), Some(mark));
            assert_eq!(content, b"Subject: a\r\n");
        }
    }

    #[test]
    fn what_is_no_mark_is_left_where_it_is() {
        let upper = mark(false, false).to_string().to_uppercase();
        let turned = format!("{}{SPOOLED}{JUNK}", mark(false, false));
        for text in [
            "",
            ";junk",
            "00",
            "+0000000000000000000000000000001",
            &upper,
            &turned,
        ] {
            assert_eq!(Mark::parse(text), None, "{text}");
            let mut content = format!("{FIELD}{text}\r\n\r\n").into_bytes();
            let before = content.clone();
            assert_eq!(Mark::take_line(&mut content), None);
            assert_eq!(content, before);
        }
    }
}
