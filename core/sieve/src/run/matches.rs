//! Values against keys.

use std::borrow::Cow;

use crate::matching::{Comparator, Globbed, Kind, Matching, Relation, glob};
use crate::pattern::Pattern;
use crate::program::{Keys, Match, Source};

use super::{Frame, Halt, Run};

/// Building a regular expression in a run takes up to a millisecond or two.
// At its price in steps, so that a script cannot build patterns all day within its limit.
const STEPS_OF_REGEX: u64 = 400_000;

/// Keys of a test in this run.
pub(super) struct Ready<'k> {
    keys: &'k Keys,
    /// `None`: they are the same in every run.
    texts: Option<Vec<Cow<'k, str>>>,
}

impl Run<'_> {
    /// One value that matches one key is enough (RFC 5228 §2.7.1).
    pub(super) fn matches(&self, frame: &Frame<'_>, test: &Match) -> Result<bool, Halt> {
        let mut keys = self.ready(frame, &test.keys)?;
        if let Source::Flags(_) = test.source {
            keys.split();
        }
        let counts = matches!(test.matching.kind, Kind::Count(_));
        let values = self.values(frame, &test.source, counts)?;
        // Before any value is looked at: only their number matters.
        if let Kind::Count(relation) = test.matching.kind {
            return self.counts(values.len(), &keys, test.matching.comparator, relation);
        }
        // RFC 5173 §6: a body leaves match variables as they are.
        let captures = frame.script.has_variables && !matches!(test.source, Source::Body(_));
        for value in values {
            if self.value_matches(frame, &value, test.matching, &keys, captures)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// RFC 5231 §4.2: whether the number of values is in the relation to one of the keys.
    pub(super) fn counts(
        &self,
        values_count: usize,
        keys: &Ready<'_>,
        comparator: Comparator,
        relation: Relation,
    ) -> Result<bool, Halt> {
        let count = values_count.to_string();
        for key in keys.all() {
            self.spend_bytes(count.len() + key.len())?;
            if relation.holds(comparator.order(&count, key)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// With variables put in. Keys without any are borrowed, and most have none: fifty rules would make as many lists.
    pub(super) fn ready<'k>(&self, frame: &Frame<'_>, keys: &'k Keys) -> Result<Ready<'k>, Halt> {
        let are_constant = keys.texts.iter().all(|text| text.constant().is_some());
        let texts = match are_constant {
            true => None,
            false => Some(self.texts(frame, &keys.texts)?),
        };
        Ok(Ready { keys, texts })
    }

    /// Whether one value matches one of the keys.
    pub(super) fn value_matches(
        &self,
        frame: &Frame<'_>,
        value: &str,
        matching: Matching,
        keys: &Ready<'_>,
        captures: bool,
    ) -> Result<bool, Halt> {
        let comparator = matching.comparator;
        for index in 0..keys.count() {
            let key = keys.text(index);
            let matched = match matching.kind {
                Kind::Is => {
                    self.spend_bytes(comparator.equal_bytes(value, key))?;
                    comparator.equal(value, key)
                }
                Kind::Contains => {
                    self.spend_bytes(comparator.contains_bytes(value, key))?;
                    comparator.contains(value, key)
                }
                Kind::Value(relation) => {
                    self.spend_bytes(value.len() + key.len())?;
                    relation.holds(comparator.order(value, key))
                }
                Kind::Matches => self.globs(frame, comparator, key, value, captures)?,
                Kind::Regex => {
                    let pattern = keys.keys.patterns.get(index).and_then(Option::as_ref);
                    self.regex_matches(frame, comparator, pattern, key, value, captures)?
                }
                // Values are not looked at one by one for it.
                Kind::Count(_) => false,
            };
            if matched {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// `:matches`. The steps are counted as they are taken, since a pattern may go back over the text again and again.
    fn globs(
        &self,
        frame: &Frame<'_>,
        comparator: Comparator,
        pattern: &str,
        value: &str,
        captures: bool,
    ) -> Result<bool, Halt> {
        // It takes from what is left itself, since only it sees how often it goes back.
        let mut left = self.steps.get();
        let globbed = glob(comparator, pattern, value, captures, &mut left);
        self.spend(self.steps.get() - left)?;
        match globbed {
            Globbed::Not => Ok(false),
            // Nothing is left to spend, so that this is the failure.
            Globbed::TooLong => self.spend(1).map(|()| false),
            Globbed::Matches(ranges) => {
                if captures {
                    self.spend_bytes(2 * value.len())?;
                    let texts = ranges.into_iter().map(|(begin, end)| &value[begin..end]);
                    frame
                        .captures
                        .borrow_mut()
                        .set(std::iter::once(value).chain(texts));
                }
                Ok(true)
            }
        }
    }

    /// `:regex`. A pattern with variables is built by each run, and pays for it.
    fn regex_matches(
        &self,
        frame: &Frame<'_>,
        comparator: Comparator,
        pattern: Option<&Pattern>,
        key: &str,
        value: &str,
        captures: bool,
    ) -> Result<bool, Halt> {
        let built;
        let pattern = match pattern {
            Some(pattern) => pattern,
            None => {
                self.spend(STEPS_OF_REGEX)?;
                built = Pattern::build(key, comparator).map_err(Halt::failure)?;
                &built
            }
        };
        // Paid for before it runs. The engine takes linear time, but there is no way to stop it in the middle.
        self.spend(pattern.steps(value.len()))?;
        if !captures {
            return Ok(pattern.matches(value));
        }
        let Some(groups) = pattern.groups(value) else {
            return Ok(false);
        };
        frame.captures.borrow_mut().set(groups.into_iter());
        Ok(true)
    }
}

impl Ready<'_> {
    fn count(&self) -> usize {
        self.texts.as_ref().map_or(self.keys.texts.len(), Vec::len)
    }

    fn text(&self, index: usize) -> &str {
        match &self.texts {
            Some(texts) => &texts[index],
            // `ready` leaves `texts` out only where all of them are constant.
            None => self.keys.texts[index].constant().unwrap_or_default(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        (0..self.count()).map(|index| self.text(index))
    }

    /// RFC 5232 §2: a string may hold several flags.
    fn split(&mut self) {
        let words = self.all().flat_map(str::split_ascii_whitespace);
        self.texts = Some(words.map(|word| Cow::Owned(word.to_owned())).collect());
    }
}
