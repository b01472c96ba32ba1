//! Reading a TOML file strictly: the file, the line, and what to write instead.

use std::path::Path;

use serde::de::DeserializeOwned;

/// The operator's mistake, in one sentence with the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(pub String);

impl Misfit {
    /// What a file says comes back in sentences: nothing in them moves a terminal's cursor or begins a line of a log.
    pub fn new(sentence: impl Into<String>) -> Misfit {
        let sentence = sentence.into();
        let obeyed = |c: char| c.is_control() && c != '\n';
        if !sentence.contains(obeyed) {
            return Misfit(sentence);
        }
        let mut printable = String::with_capacity(sentence.len());
        for c in sentence.chars() {
            match obeyed(c) {
                true => printable.extend(c.escape_default()),
                false => printable.push(c),
            }
        }
        Misfit(printable)
    }
}

/// A file that can be asked for the line of a byte.
pub struct Source<'a> {
    pub name: &'a str,
    pub text: &'a str,
}

impl Source<'_> {
    /// `name:line: sentence`.
    pub fn misfit(&self, at: usize, sentence: impl std::fmt::Display) -> Misfit {
        let at = at.min(self.text.len());
        let line = 1 + self.text.as_bytes()[..at]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        let sentence = sentence.to_string().replace('\n', "\\n");
        Misfit::new(format!("{}:{line}: {sentence}", self.name))
    }
}

pub fn read_file(path: &Path) -> Result<String, Misfit> {
    std::fs::read_to_string(path)
        .map_err(|error| Misfit::new(format!("cannot read {}: {error}", path.display())))
}

/// Parses `source` into a strict type (`deny_unknown_fields`).
pub fn parse<T: DeserializeOwned>(source: &Source<'_>) -> Result<T, Misfit> {
    toml::from_str(source.text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        source.misfit(at, helpful(error.message()))
    })
}

/// serde's words for an unknown key, with the nearest known one in front.
fn helpful(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return message.trim_end().replace('\n', "; ");
    }
    let Some(given) = quoted.next() else {
        return message.to_owned();
    };
    let known: Vec<&str> = quoted.collect();
    let nearest = known
        .iter()
        .map(|name| (distance(given, name), *name))
        .min();
    let listed = known
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    match nearest {
        Some((steps, name)) if steps <= 1 + given.len() / 3 => {
            format!("unknown key `{given}`: write `{name}` (known: {listed})")
        }
        _ => format!("unknown key `{given}`: remove it, or write one of {listed}"),
    }
}

/// Edits that turn one word into the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (down, letter) in from.chars().enumerate() {
        let mut corner = row[0];
        row[0] = down + 1;
        for across in 0..to.len() {
            let step = if to[across] == letter {
                corner
            } else {
                1 + corner.min(row[across]).min(row[across + 1])
            };
            corner = row[across + 1];
            row[across + 1] = step;
        }
    }
    row[to.len()]
}
