//! Words of a message, as numbers.
//!
//! A word is 3 to 32 bytes of letters and digits in lower case. Text without blanks between words (Chinese, Japanese, Thai) gives pairs of
//! neighbours. Words of the subject, of the author's domain and of links' hosts are words of their own.
//!
//! A number is the first 64 bits of BLAKE3. A sender who wants a word of junk to count as a good one has to find a second preimage: 2^64 tries
//! for one word, 2^51 for any of the 8,192 words that a model has. So no secret is needed, and every core and every volume agree.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use base::BodyName;
use base::hash::xxh3_64;

use crate::limits::{TOKENS_MAX, WORD_BYTES_MAX, WORD_BYTES_MIN, WORDS_MAX};

/// Whether words are wanted beside the structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    Structure,
    Words,
}

/// Where a word stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Text,
    Subject,
    Author,
    Link,
}

/// Gathers words up to the bounds.
#[derive(Default)]
pub(crate) struct Gathered {
    /// What was met already, by a cheap checksum: a sender who makes two words of a message equal in it hides one of them.
    met: HashSet<u64, BuildHasherDefault<Itself>>,
    numbers: Vec<u64>,
    /// Only `count` and `hidden` are wanted.
    is_counting: bool,
    /// Words so far, repeated ones too.
    pub count: usize,
    /// Words that were interrupted by characters that a reader cannot see.
    pub hidden: usize,
}

/// A checksum is its own hash.
#[derive(Default)]
struct Itself(u64);
impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 is hashed");
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

impl Gathered {
    pub fn new(want: Want) -> Gathered {
        Gathered {
            is_counting: want == Want::Structure,
            ..Gathered::default()
        }
    }

    fn is_full(&self) -> bool {
        self.count >= WORDS_MAX
    }

    /// Takes the words of `text`.
    pub fn text(&mut self, place: Place, text: &str) {
        let mut word = Word::default();
        let mut before: Option<char> = None;
        for letter in text.chars() {
            // each turn takes one character; the caller bounds the text
            if letter.is_ascii_alphanumeric() || letter == '$' {
                before = None;
                word.push(letter.to_ascii_lowercase());
                continue;
            }
            if !letter.is_ascii() {
                if is_invisible(letter) {
                    word.is_hiding |= !word.text.is_empty();
                    continue;
                }
                if !is_unspaced(letter) && letter.is_alphanumeric() {
                    before = None;
                    letter.to_lowercase().for_each(|letter| word.push(letter));
                    continue;
                }
            }
            self.end(place, &mut word);
            if !is_unspaced(letter) {
                before = None;
            } else if let Some(before) = before.replace(letter) {
                let mut pair = [0; 8];
                let first = before.encode_utf8(&mut pair).len();
                let second = letter.encode_utf8(&mut pair[first..]).len();
                self.note(place, &pair[..first + second]);
            }
            if self.is_full() {
                return;
            }
        }
        self.end(place, &mut word);
    }

    /// A word as it stands, in lower case.
    pub fn whole(&mut self, place: Place, word: &str) {
        self.note(place, word.to_ascii_lowercase().as_bytes());
    }

    fn end(&mut self, place: Place, word: &mut Word) {
        let is_number = word.text.bytes().all(|byte| byte.is_ascii_digit());
        if !word.is_long && word.text.len() >= WORD_BYTES_MIN && !is_number {
            self.hidden += usize::from(word.is_hiding);
            self.note(place, word.text.as_bytes());
        } else if !word.text.is_empty() {
            // It is work as well.
            self.count += 1;
        }
        word.text.clear();
        (word.is_long, word.is_hiding) = (false, false);
    }

    fn note(&mut self, place: Place, word: &[u8]) {
        self.count += 1;
        if self.is_counting || self.numbers.len() >= TOKENS_MAX {
            return;
        }
        if self.met.insert(xxh3_64(word, place as u64)) {
            self.numbers.push(number(place, word));
        }
    }

    /// Ascending.
    pub fn numbers(self) -> Vec<u64> {
        let mut numbers = self.numbers;
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

/// A word that is being read.
#[derive(Default)]
struct Word {
    text: String,
    /// It is longer than a word may be.
    is_long: bool,
    is_hiding: bool,
}

impl Word {
    fn push(&mut self, letter: char) {
        if self.text.len() + letter.len_utf8() > WORD_BYTES_MAX {
            self.is_long = true;
        } else {
            self.text.push(letter);
        }
    }
}

fn number(place: Place, word: &[u8]) -> u64 {
    let place = match place {
        Place::Text => b't',
        Place::Subject => b's',
        Place::Author => b'a',
        Place::Link => b'l',
    };
    let mut bytes = [0; 1 + NAME_BYTES_MAX];
    let word = &word[..word.len().min(NAME_BYTES_MAX)];
    bytes[0] = place;
    bytes[1..=word.len()].copy_from_slice(word);
    let [a, b, c, d, e, f, g, h, ..] = BodyName::of(&bytes[..=word.len()]).0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Names of hosts are taken whole; what is longer is not one.
const NAME_BYTES_MAX: usize = 255;

/// Zero width, soft hyphens, marks of direction: between the letters of a word they hide it from machines.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// Scripts that put no blanks between words.
fn is_unspaced(letter: char) -> bool {
    matches!(u32::from(letter),
        0x0e00..=0x0eff // Thai, Lao
        | 0x1000..=0x109f // Burmese
        | 0x1780..=0x17ff // Khmer
        | 0x3040..=0x30ff // Kana
        | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff // Han
        | 0xac00..=0xd7af // Hangul
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<u64> {
        let mut gathered = Gathered::default();
        gathered.text(Place::Text, text);
        gathered.numbers()
    }

    #[test]
    fn case_signs_and_repetitions_make_no_difference_and_places_do() {
        assert_eq!(
            numbers("Buy CHEAP pills, buy!"),
            numbers("cheap\r\npills buy")
        );
        assert_eq!(numbers("ÄPFEL"), numbers("äpfel"));
        assert_ne!(number(Place::Subject, b"buy"), number(Place::Text, b"buy"));
        assert_eq!(
            numbers("a of 12 12345"),
            Vec::<u64>::new(),
            "too short, or numbers"
        );
    }

    #[test]
    fn text_without_blanks_gives_pairs_of_neighbours() {
        assert_eq!(numbers("免费发票").len(), 3);
        assert_eq!(numbers("免费 发票").len(), 2, "a blank parts them");
        assert_eq!(numbers("免费abc发票").len(), 3);
    }

    #[test]
    fn invisible_characters_do_not_hide_a_word_and_are_counted() {
        let mut gathered = Gathered::default();
        gathered.text(Place::Text, "via\u{200b}gra \u{ad}casino");
        assert_eq!(gathered.hidden, 1);
        assert_eq!(gathered.numbers(), numbers("viagra casino"));
    }

    #[test]
    fn bounds_hold() {
        let many: String = (0..100_000).map(|index| format!("word{index} ")).collect();
        assert_eq!(numbers(&many).len(), TOKENS_MAX);
        assert_eq!(numbers(&"x".repeat(1 << 20)), Vec::<u64>::new());
        let mut gathered = Gathered::default();
        gathered.text(Place::Text, &"same ".repeat(100_000));
        assert_eq!((gathered.count, gathered.numbers().len()), (WORDS_MAX, 1));
    }
}
