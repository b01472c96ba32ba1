//! Where something is in a script, and what is wrong there.

use std::fmt;

use crate::limits::QUOTED_COUNT_MAX;

/// Both count from 1; columns are letters, not bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

impl Position {
    pub(crate) const START: Position = Position { line: 1, column: 1 };

    /// Past `text`, which was read here.
    pub(crate) fn advance(&mut self, text: &str) {
        for letter in text.chars() {
            match letter {
                '\n' => {
                    self.line += 1;
                    self.column = 1;
                }
                _ => self.column += 1,
            }
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why bytes are not a script that we run. Its text is one line, for the person who wrote the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    pub at: Position,
    pub text: String,
}

impl CompileError {
    pub(crate) fn new(at: Position, text: impl Into<String>) -> CompileError {
        let text = text.into();
        CompileError { at, text }
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.text)
    }
}

impl std::error::Error for CompileError {}

/// A word of a script or of a message in an error text: short, and on one line whatever it is.
pub(crate) fn quoted(word: &str) -> String {
    let mut letters = word.chars();
    let mut short: String = letters.by_ref().take(QUOTED_COUNT_MAX).collect();
    if letters.next().is_some() {
        short.push('…');
    }
    format!(
        "\"{}\"",
        short.escape_debug().to_string().replace("\\\"", "\"")
    )
}
