//! What tests share: comparators, match types, address parts, indexes, keys.

use crate::capability::Capability;
use crate::matching::{Comparator, Kind, Matching, Relation};
use crate::pattern::Pattern;
use crate::position::{CompileError, Position, quoted};
use crate::program::{Index, Keys, Part};
use crate::template::Template;

use super::Compiler;
use super::arguments::{Arguments, Tag};

/// Collects the tags of one test.
/// All `None` and unset at first: a test that says nothing compares as RFC 5228 has it, and a tag that comes twice is noticed because its place
/// is taken.
#[derive(Default)]
pub(super) struct Tags {
    /// `None`: i;ascii-casemap (RFC 5228 §2.7.3).
    comparator: Option<Comparator>,
    /// `None`: `:is` (RFC 5228 §2.7.1).
    kind: Option<Kind>,
    /// `None`: `:all` (RFC 5228 §2.7.4).
    part: Option<Part>,
    /// RFC 5260 §6.
    index: Option<u64>,
    from_end: bool,
}

impl Tags {
    /// `:comparator` and the match types; `false`: it is another tag.
    pub fn matching(
        &mut self,
        compiler: &mut Compiler,
        arguments: &mut Arguments,
        tag: &Tag,
    ) -> Result<bool, CompileError> {
        let kind = match &tag.name[..] {
            "comparator" => {
                self.comparator = Some(comparator(compiler, arguments)?);
                return Ok(true);
            }
            "is" => Kind::Is,
            "contains" => Kind::Contains,
            "matches" => Kind::Matches,
            "regex" => {
                compiler.need(Capability::Regex, tag.at)?;
                Kind::Regex
            }
            "value" => {
                compiler.need(Capability::Relational, tag.at)?;
                Kind::Value(relation(compiler, arguments)?)
            }
            "count" => {
                compiler.need(Capability::Relational, tag.at)?;
                Kind::Count(relation(compiler, arguments)?)
            }
            _ => return Ok(false),
        };
        if self.kind.replace(kind).is_some() {
            return Err(CompileError::new(tag.at, "A test has one match type"));
        }
        Ok(true)
    }

    /// Address parts; `false`: it is another tag.
    pub fn address_part(&mut self, compiler: &Compiler, tag: &Tag) -> Result<bool, CompileError> {
        let part = match &tag.name[..] {
            "all" => Part::All,
            "localpart" => Part::Local,
            "domain" => Part::Domain,
            "user" => Part::User,
            "detail" => Part::Detail,
            _ => return Ok(false),
        };
        if matches!(part, Part::User | Part::Detail) {
            compiler.need(Capability::Subaddress, tag.at)?;
        }
        if self.part.replace(part).is_some() {
            return Err(CompileError::new(tag.at, "A test has one address part"));
        }
        Ok(true)
    }

    /// `:index` and `:last`; `false`: it is another tag. `base`: the extension whose tags they are.
    pub fn field_index(
        &mut self,
        compiler: &Compiler,
        arguments: &mut Arguments,
        tag: &Tag,
        base: Capability,
    ) -> Result<bool, CompileError> {
        match &tag.name[..] {
            "index" => {
                compiler.need(base, tag.at)?;
                let place = arguments.place();
                let number = arguments.number("the number of a field")?;
                // RFC 5260 §6 counts from 1; 0 would silently be no field at all.
                if number == 0 {
                    return Err(CompileError::new(place, "The first field has the number 1"));
                }
                self.index = Some(number);
            }
            "last" => {
                compiler.need(base, tag.at)?;
                self.from_end = true;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The part that was named, or all of an address.
    pub fn part(&self) -> Part {
        self.part.unwrap_or(Part::All)
    }

    /// `at`: where an error belongs. `:last` alone means nothing (RFC 5260 §6).
    pub fn index(&self, at: Position) -> Result<Option<Index>, CompileError> {
        match self.index {
            None if self.from_end => Err(CompileError::new(
                at,
                "\":last\" needs \":index\" beside it",
            )),
            None => Ok(None),
            Some(number) => Ok(Some(Index {
                number,
                from_end: self.from_end,
            })),
        }
    }

    /// How the test compares. RFC 4790 §9.1.1: i;ascii-numeric has no substrings, so that some match types are refused with it.
    pub fn finish(&self, at: Position) -> Result<Matching, CompileError> {
        let matching = Matching {
            comparator: self.comparator.unwrap_or(Comparator::AsciiCasemap),
            kind: self.kind.unwrap_or(Kind::Is),
        };
        let needs_text = matches!(matching.kind, Kind::Contains | Kind::Matches | Kind::Regex);
        match needs_text && matching.comparator == Comparator::AsciiNumeric {
            true => {
                let text =
                    "\"i;ascii-numeric\" compares numbers: use \":is\", \":value\" or \":count\"";
                Err(CompileError::new(at, text))
            }
            false => Ok(matching),
        }
    }
}

/// The name behind `:comparator`. The two that every implementation has need no `require` (RFC 5228 §2.7.3).
fn comparator(
    compiler: &mut Compiler,
    arguments: &mut Arguments,
) -> Result<Comparator, CompileError> {
    let (at, name) = arguments.constant(compiler, "the name of a comparator")?;
    Ok(match &name[..] {
        "i;octet" => Comparator::Octet,
        "i;ascii-casemap" => Comparator::AsciiCasemap,
        "i;ascii-numeric" => {
            compiler.need(Capability::AsciiNumeric, at)?;
            Comparator::AsciiNumeric
        }
        _ => {
            let text = format!("The comparator {} is not supported", quoted(&name));
            return Err(CompileError::new(at, text));
        }
    })
}

/// The word behind `:value` and `:count` (RFC 5231 §4).
fn relation(compiler: &mut Compiler, arguments: &mut Arguments) -> Result<Relation, CompileError> {
    let (at, name) = arguments.constant(compiler, "a relation")?;
    Relation::by_name(&name.to_ascii_lowercase()).ok_or_else(|| {
        CompileError::new(
            at,
            "A relation is \"gt\", \"ge\", \"lt\", \"le\", \"eq\" or \"ne\"",
        )
    })
}

/// The keys of a test, which are its next argument.
pub(super) fn keys(
    compiler: &mut Compiler,
    arguments: &mut Arguments,
    matching: Matching,
) -> Result<Keys, CompileError> {
    let raw = arguments.raw_strings("a string or a list of strings to compare with")?;
    let mut texts = Vec::with_capacity(raw.len());
    let mut patterns = Vec::new();
    for (at, text) in raw {
        let template = compiler.template(at, &text)?;
        if matching.kind == Kind::Regex {
            // A constant pattern is built now, so that a mistake in it is an error of the script and costs nothing at each message.
            let pattern = match &template {
                Template::Text(text) => {
                    compiler.count_regex(at)?;
                    let pattern = Pattern::build(text, matching.comparator)
                        .map_err(|error| CompileError::new(at, error))?;
                    // Their memory has a bound of its own, the product of two limits.
                    compiler.regex_bytes += pattern.bytes();
                    Some(pattern)
                }
                Template::Mixed(_) => None,
            };
            patterns.push(pattern);
        }
        texts.push(template);
    }
    Ok(Keys {
        texts: texts.into(),
        patterns: patterns.into(),
    })
}
