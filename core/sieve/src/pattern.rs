//! Regular expressions, by the `regex` crate: its engine takes no time that grows faster than the text.
//!
//! What grows is the time for each letter: with the states of the expression, when they are too many for the table that the engine makes as
//! it runs. So an expression gets the smallest of a few sizes that it fits in, and its steps are counted by that.

use regex::{Regex, RegexBuilder};

use crate::limits::{REGEX_BYTES_MAX, REGEX_PATTERN_BYTES_MAX};
use crate::matching::Comparator;
use crate::position::quoted;

#[derive(Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    /// It was built within so many bytes.
    size_bytes: usize,
}

const SIZES_BYTES: [usize; 4] = [
    REGEX_BYTES_MAX / 8,
    REGEX_BYTES_MAX / 4,
    REGEX_BYTES_MAX / 2,
    REGEX_BYTES_MAX,
];
/// At its worst an expression of this many bytes took 10 ns for one byte of text, which is a step and more.
const BYTES_OF_STEP: usize = 256;

impl Pattern {
    /// The expression within its bounds, or what is wrong with it in one line.
    pub fn build(source: &str, comparator: Comparator) -> Result<Pattern, String> {
        if source.len() > REGEX_PATTERN_BYTES_MAX {
            return Err(format!(
                "A regular expression has at most {REGEX_PATTERN_BYTES_MAX} bytes"
            ));
        }
        let mut builder = RegexBuilder::new(source);
        builder.case_insensitive(comparator == Comparator::AsciiCasemap);
        builder.dfa_size_limit(REGEX_BYTES_MAX);
        for size_bytes in SIZES_BYTES {
            match builder.size_limit(size_bytes).build() {
                Ok(regex) => return Ok(Pattern { regex, size_bytes }),
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(error) => {
                    // The last line says what is wrong; those before it show where.
                    let text = error.to_string();
                    let last = text.lines().last().unwrap_or_default();
                    let last = last.trim_start_matches("error: ");
                    let source = quoted(source);
                    return Err(format!("The regular expression {source} is wrong: {last}"));
                }
            }
        }
        Err("The regular expression takes too much memory; make its repeats smaller".to_owned())
    }

    /// Memory that it takes: the expression forwards and backwards, and for both the table that the engine fills while it runs.
    pub fn bytes(&self) -> usize {
        2 * (self.size_bytes + REGEX_BYTES_MAX)
    }

    /// What a text of some bytes costs.
    pub fn steps(&self, text_bytes: usize) -> u64 {
        let each = 4 + self.size_bytes / BYTES_OF_STEP;
        100 + text_bytes as u64 * each as u64
    }

    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The whole match and its groups; a group that took no part is empty.
    pub fn groups<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        let found = self.regex.captures(text)?;
        let texts = found.iter().map(|one| one.map_or("", |one| one.as_str()));
        Some(texts.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worst that was found: random letters make the engine give up its table.
    #[test]
    fn a_larger_expression_costs_more_steps() {
        let steps = |source: &str| {
            let pattern = Pattern::build(source, Comparator::AsciiCasemap);
            pattern.expect(source).steps(1_000)
        };
        let small = steps("ticket [0-9]+");
        let large = steps("[a-m](.?[n-z].?){10}[yz]1");
        assert!(small < large, "{small} {large}");
        assert!(Pattern::build("(.{0,30}){8}", Comparator::Octet).is_err());
    }
}
