//! The comparator i;unicode-casemap (RFC 5051), which RFC 5255 §4.2 asks of SEARCH, SORT and THREAD: texts are equal, or contain each other,
//! where their mapped forms do, and they sort as the octets of these.
//!
//! Each character is mapped alone: to its simple title-case form, then to what that decomposes into. Marks are not put into another
//! order, so that a text may be mapped in pieces.

use unicode_normalization::char::decompose_compatible;

/// Appends the mapped form of `text`.
pub fn casemap(text: &str, into: &mut Vec<u8>) {
    let begin = into.len();
    let ascii = text.bytes().position(|byte| !byte.is_ascii());
    let (plain, rest) = text.split_at(ascii.unwrap_or(text.len()));
    into.extend_from_slice(plain.as_bytes());
    into[begin..].make_ascii_uppercase();
    for letter in rest.chars() {
        if letter.is_ascii() {
            into.push(letter.to_ascii_uppercase() as u8);
            continue;
        }
        decompose_compatible(title(letter), |piece| {
            into.extend_from_slice(piece.encode_utf8(&mut [0; 4]).as_bytes());
        });
    }
}

/// The simple title-case form: one character for one.
fn title(letter: char) -> char {
    match letter {
        // Two letters in one, of which only the first is large.
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        // Georgian has no title case: both its alphabets are compared in the one of the book.
        '\u{10d0}'..='\u{10ff}' => letter,
        // Greek with an iota below: in capitals it is two letters, in title case it is one.
        '\u{1f80}'..='\u{1faf}' => char::from_u32(letter as u32 | 8).unwrap_or(letter),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => char::from_u32(letter as u32 + 9).unwrap_or(letter),
        _ => {
            let mut upper = letter.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(only), None) => only,
                // As `ß`: there is no single letter.
                _ => letter,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(text: &str) -> String {
        let mut out = Vec::new();
        casemap(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn case_and_composition_make_no_difference() {
        for (one, other) in [
            ("Grüße", "GRU\u{308}ße"),
            ("ΟΔΟΣ", "οδος"),
            ("é", "E\u{301}"),
            ("ﬁne", "ﬁNE"),
            ("ᾳ", "ᾼ"),
            ("ǆ", "Ǆ"),
            ("plain", "PLAIN"),
            ("Ａ", "ａ"),
        ] {
            assert_eq!(mapped(one), mapped(other), "{one} {other}");
        }
        assert_ne!(mapped("straße"), mapped("strasse"));
        assert_ne!(mapped("ა"), mapped("b"));
    }

    #[test]
    fn letters_sort_before_what_follows_the_capitals() {
        assert!(mapped("b") < mapped("_"));
        assert!(mapped("a") < mapped("B") && mapped("B") < mapped("c"));
    }

    /// What is mapped in pieces is as what is mapped at once, and mapping it again changes no plain letter.
    #[test]
    fn pieces_are_mapped_as_the_whole() {
        let text = "Älpler und ÖSTERREICH, e\u{301}\u{323}\u{301}, ｆｕｌｌ, 한국어";
        for (at, _) in text.char_indices() {
            let (one, other) = text.split_at(at);
            assert_eq!(mapped(one) + &mapped(other), mapped(text));
        }
    }
}
