//! Comparators and match types (RFC 5228 §2.7, RFC 5231, RFC 4790; regular expressions are in `pattern.rs`).

use std::cmp::Ordering;

use memchr::{memchr2_iter, memmem};

/// How a value is compared with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matching {
    pub comparator: Comparator,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparator {
    Octet,
    AsciiCasemap,
    AsciiNumeric,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Is,
    Contains,
    Matches,
    Regex,
    Value(Relation),
    /// How many values there are, against each key.
    Count(Relation),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Equal,
    Unequal,
}

impl Relation {
    /// RFC 5231 §4.
    pub fn by_name(name: &str) -> Option<Relation> {
        Some(match name {
            "gt" => Relation::Greater,
            "ge" => Relation::GreaterEqual,
            "lt" => Relation::Less,
            "le" => Relation::LessEqual,
            "eq" => Relation::Equal,
            "ne" => Relation::Unequal,
            _ => return None,
        })
    }

    /// Whether values in that order are in the relation.
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Relation::Greater => order.is_gt(),
            Relation::GreaterEqual => order.is_ge(),
            Relation::Less => order.is_lt(),
            Relation::LessEqual => order.is_le(),
            Relation::Equal => order.is_eq(),
            Relation::Unequal => order.is_ne(),
        }
    }
}

impl Comparator {
    /// RFC 4790 §9: which of two texts comes first.
    pub fn order(self, left: &str, right: &str) -> Ordering {
        match self {
            Comparator::Octet => left.cmp(right),
            Comparator::AsciiCasemap => {
                let upper = |text: &str| {
                    text.bytes()
                        .map(|byte| byte.to_ascii_uppercase())
                        .collect::<Vec<u8>>()
                };
                upper(left).cmp(&upper(right))
            }
            Comparator::AsciiNumeric => numeric_order(left, right),
        }
    }

    /// As `order`, without a copy.
    pub fn equal(self, left: &str, right: &str) -> bool {
        match self {
            Comparator::Octet => left == right,
            Comparator::AsciiCasemap => left.eq_ignore_ascii_case(right),
            Comparator::AsciiNumeric => numeric_order(left, right).is_eq(),
        }
    }

    /// As many bytes as `equal` looks at, at its worst. A number has as many digits as its text, whatever it is compared with.
    pub fn equal_bytes(self, left: &str, right: &str) -> usize {
        match self {
            Comparator::AsciiNumeric => left.len() + right.len(),
            Comparator::Octet | Comparator::AsciiCasemap => left.len().min(right.len()),
        }
    }

    /// Whether `part` stands somewhere in `text`; see `contains_bytes` for what that costs.
    pub fn contains(self, text: &str, part: &str) -> bool {
        let (text, part) = (text.as_bytes(), part.as_bytes());
        let Some(&first) = part.first() else {
            return true;
        };
        if self == Comparator::Octet {
            return memmem::find(text, part).is_some();
        }
        if text.len() > SHORT_BYTES_MAX {
            let (text, part) = (text.to_ascii_lowercase(), part.to_ascii_lowercase());
            return memmem::find(&text, &part).is_some();
        }
        let Some(last) = text.len().checked_sub(part.len()) else {
            return false;
        };
        let (lower, upper) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
        memchr2_iter(lower, upper, &text[..=last])
            .any(|at| text[at..at + part.len()].eq_ignore_ascii_case(part))
    }

    /// As many bytes as `contains` looks at, at its worst.
    pub fn contains_bytes(self, text: &str, part: &str) -> usize {
        match self {
            Comparator::AsciiCasemap if text.len() <= SHORT_BYTES_MAX => {
                text.len() * (1 + part.len() / 8)
            }
            _ => text.len() + part.len(),
        }
    }

    /// Two bytes, for patterns.
    fn same(self, left: u8, right: u8) -> bool {
        match self {
            Comparator::AsciiCasemap => left.eq_ignore_ascii_case(&right),
            _ => left == right,
        }
    }
}

/// A text up to this is looked through letter by letter, without a copy. That is faster for most header fields, and not linear.
const SHORT_BYTES_MAX: usize = 512;

/// RFC 4790 §9.1: the number that a text begins with; a text without one is larger than any number, and equal to other such texts.
fn numeric_order(left: &str, right: &str) -> Ordering {
    let digits = |text: &'_ str| {
        let end = text.bytes().position(|byte| !byte.is_ascii_digit());
        end.unwrap_or(text.len())
    };
    let number = |text| match digits(text) {
        0 => None,
        end => Some(text[..end].trim_start_matches('0')),
    };
    let number: [Option<&str>; 2] = [number(left), number(right)];
    match number {
        [None, None] => Ordering::Equal,
        [None, Some(_)] => Ordering::Greater,
        [Some(_), None] => Ordering::Less,
        [Some(left), Some(right)] => (left.len(), left).cmp(&(right.len(), right)),
    }
}

/// What a pattern with wildcards came to.
pub(crate) enum Globbed {
    Not,
    /// What each wildcard matched, as ranges of the text; empty unless asked for.
    Matches(Vec<(usize, usize)>),
    /// `steps` were not enough.
    TooLong,
}

/// `:matches` (RFC 5228 §2.7.1): `*` is any letters, `?` is one letter, a backslash takes a letter's meaning away. Each `*` matches as few
/// letters as it can, from the left (RFC 5229 §3.2). Takes one of `steps` for each letter that is looked at.
pub(crate) fn glob(
    comparator: Comparator,
    pattern: &str,
    text: &str,
    captures: bool,
    steps: &mut u64,
) -> Globbed {
    let (pattern, bytes) = (pattern.as_bytes(), text.as_bytes());
    let (mut in_pattern, mut in_text) = (0, 0);
    let mut matched: Vec<(usize, usize)> = Vec::new();
    // Behind the last `*`: where the pattern goes on, where the star's text begins and now ends, and how much was matched before.
    let mut star: Option<(usize, usize, usize, usize)> = None;
    loop {
        // each turn takes a step
        if *steps == 0 {
            return Globbed::TooLong;
        }
        *steps -= 1;
        let goes_on = match pattern.get(in_pattern) {
            Some(b'*') => {
                star = Some((in_pattern + 1, in_text, in_text, matched.len()));
                if captures {
                    matched.push((in_text, in_text));
                }
                in_pattern += 1;
                true
            }
            Some(b'?') if in_text < bytes.len() => {
                let end = letter_end(text, in_text);
                if captures {
                    matched.push((in_text, end));
                }
                (in_pattern, in_text) = (in_pattern + 1, end);
                true
            }
            Some(b'?') => false,
            Some(&letter) => {
                let escaped = letter == b'\\' && in_pattern + 1 < pattern.len();
                let at = in_pattern + usize::from(escaped);
                let same = in_text < bytes.len() && comparator.same(pattern[at], bytes[in_text]);
                if same {
                    (in_pattern, in_text) = (at + 1, in_text + 1);
                }
                same
            }
            None if in_text == bytes.len() => return Globbed::Matches(matched),
            // The end of a text cannot move: a last star takes all that is left.
            None => false,
        };
        if goes_on {
            continue;
        }
        let Some((behind, begin, end, before)) = star else {
            return Globbed::Not;
        };
        if end >= bytes.len() {
            return Globbed::Not;
        }
        // Nothing but the end is wanted behind this star.
        let end = match behind == pattern.len() {
            true => bytes.len(),
            false => letter_end(text, end),
        };
        star = Some((behind, begin, end, before));
        if captures {
            matched.truncate(before);
            matched.push((begin, end));
        }
        (in_pattern, in_text) = (behind, end);
    }
}

/// Behind the letter that `at` is in.
fn letter_end(text: &str, at: usize) -> usize {
    let mut end = at + 1;
    while !text.is_char_boundary(end) {
        end += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured<'t>(pattern: &str, text: &'t str) -> Option<Vec<&'t str>> {
        let mut steps = 10_000;
        match glob(Comparator::AsciiCasemap, pattern, text, true, &mut steps) {
            Globbed::Matches(ranges) => Some(
                ranges
                    .into_iter()
                    .map(|(begin, end)| &text[begin..end])
                    .collect(),
            ),
            Globbed::Not => None,
            Globbed::TooLong => panic!("{pattern} on {text}"),
        }
    }

    #[test]
    fn wildcards_match_as_little_as_they_can_from_the_left() {
        for (pattern, text, wanted) in [
            ("", "", Some(vec![])),
            ("", "a", None),
            ("a", "A", Some(vec![])),
            ("*", "", Some(vec![""])),
            ("*", "abc", Some(vec!["abc"])),
            ("*b*", "abcb", Some(vec!["a", "cb"])),
            ("*,*", "a,b,c", Some(vec!["a", "b,c"])),
            ("*b", "abab", Some(vec!["aba"])),
            ("?*", "ü", Some(vec!["ü", ""])),
            ("*?", "üöä", Some(vec!["üö", "ä"])),
            ("a??d", "aücd", Some(vec!["ü", "c"])),
            ("**", "ab", Some(vec!["", "ab"])),
            (r"\*\?\\", r"*?\", Some(vec![])),
            (r"\*", "a", None),
            ("[*] *", "[ACME] coyote", Some(vec!["ACME", "coyote"])),
            ("a*a", "a", None),
            ("?", "", None),
            ("x\\", "x\\", Some(vec![])),
        ] {
            assert_eq!(captured(pattern, text), wanted, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_pattern_that_goes_back_again_and_again_runs_out_of_steps() {
        let text = "a".repeat(5_000);
        let pattern = format!("{}b", "a".repeat(1_000));
        let pattern = format!("*{pattern}");
        let mut steps = 100_000;
        let out = glob(Comparator::Octet, &pattern, &text, false, &mut steps);
        assert!(matches!(out, Globbed::TooLong));
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let order = |left, right| Comparator::AsciiNumeric.order(left, right);
        assert_eq!(order("9", "10"), Ordering::Less);
        assert_eq!(order("007", "7x"), Ordering::Equal);
        assert_eq!(order("", "99999999999999999999999"), Ordering::Greater);
        assert_eq!(order("-1", "x"), Ordering::Equal);
        assert_eq!(order("0", "00"), Ordering::Equal);
        assert_eq!(Comparator::AsciiCasemap.order("b", "A"), Ordering::Greater);
        assert_eq!(Comparator::Octet.order("b", "A"), Ordering::Greater);
        assert_eq!(Comparator::Octet.order("B", "a"), Ordering::Less);
    }

    #[test]
    fn a_part_is_found_in_any_case() {
        let fold = Comparator::AsciiCasemap;
        assert!(fold.contains("Make MONEY fast", "money"));
        assert!(fold.contains("x", "") && fold.contains("", ""));
        assert!(!fold.contains("mone", "money") && !Comparator::Octet.contains("A", "a"));
        let long = "the quick brown fox jumps over it".repeat(20);
        assert!(fold.contains(&format!("xx{}", long.to_uppercase()), &long));
        assert!(fold.contains(&long, "FOX") && !fold.contains(&long, "foxes"));
        assert!(
            fold.contains("\u{fc}BER", "\u{fc}ber") && !fold.contains("\u{dc}ber", "\u{fc}ber")
        );
    }
}
