//! From a script's text to tokens (RFC 5228 §8.1). Line ends may be CRLF, as the RFC has them, or LF; strings get CRLF either way.

use crate::limits::STRING_BYTES_MAX;
use crate::position::{CompileError, Position, quoted};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token<'s> {
    Identifier(&'s str),
    /// Without its colon.
    Tag(&'s str),
    Number(u64),
    Text(String),
    /// One of `()[]{},;`.
    Mark(char),
    End,
}

impl Token<'_> {
    /// As an error text shows it.
    pub fn shown(&self) -> String {
        match self {
            Token::Identifier(name) => quoted(name),
            Token::Tag(name) => quoted(&format!(":{name}")),
            Token::Number(number) => format!("the number {number}"),
            Token::Text(text) => format!("the string {}", quoted(text)),
            Token::Mark(mark) => format!("\"{mark}\""),
            Token::End => "the end of the script".to_owned(),
        }
    }
}

/// Gives out tokens until `Token::End`, which it repeats.
pub(crate) struct Lexer<'s> {
    /// Not read yet.
    rest: &'s str,
    at: Position,
}

impl<'s> Lexer<'s> {
    pub fn new(source: &'s str) -> Lexer<'s> {
        Lexer {
            rest: source,
            at: Position::START,
        }
    }

    /// The next token and where it begins.
    pub fn token(&mut self) -> Result<(Position, Token<'s>), CompileError> {
        self.skip_white()?;
        let at = self.at;
        let Some(first) = self.rest.chars().next() else {
            return Ok((at, Token::End));
        };
        let token = match first {
            '(' | ')' | '[' | ']' | '{' | '}' | ',' | ';' => {
                self.take(1);
                Token::Mark(first)
            }
            '"' => Token::Text(self.quoted_string()?),
            ':' => {
                self.take(1);
                match self.identifier() {
                    "" => return Err(CompileError::new(at, "Write a tag's name behind the colon")),
                    name => Token::Tag(name),
                }
            }
            '0'..='9' => Token::Number(self.number()?),
            'a'..='z' | 'A'..='Z' | '_' => {
                let name = self.identifier();
                match name.eq_ignore_ascii_case("text") && self.rest.starts_with(':') {
                    true => Token::Text(self.multi_line(at)?),
                    false => Token::Identifier(name),
                }
            }
            _ => {
                let text = format!("{} has no meaning here", quoted(&first.to_string()));
                return Err(CompileError::new(at, text));
            }
        };
        Ok((at, token))
    }

    /// Hands out the next `bytes`, which end between two letters.
    fn take(&mut self, bytes: usize) -> &'s str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.at.advance(taken);
        self.rest = rest;
        taken
    }

    /// Past white space and both kinds of comments.
    fn skip_white(&mut self) -> Result<(), CompileError> {
        loop {
            // each turn takes a byte at least, or ends
            let blank = |letter: char| !matches!(letter, ' ' | '\t' | '\r' | '\n');
            let end = self.rest.find(blank).unwrap_or(self.rest.len());
            self.take(end);
            if self.rest.starts_with('#') {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.take(end);
            } else if self.rest.starts_with("/*") {
                let Some(end) = self.rest[2..].find("*/") else {
                    let text = "The comment has no end; write \"*/\" behind it";
                    return Err(CompileError::new(self.at, text));
                };
                self.take(end + 4);
            } else {
                return Ok(());
            }
        }
    }

    /// Letters, digits and underscores, not a digit first; empty if there are none.
    fn identifier(&mut self) -> &'s str {
        let ends = |letter: char| !(letter.is_ascii_alphanumeric() || letter == '_');
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        match self
            .rest
            .starts_with(|letter: char| letter.is_ascii_digit())
        {
            true => "",
            false => self.take(end),
        }
    }

    /// RFC 5228 §2.4.1: digits, and a quantifier of 2^10, 2^20 or 2^30.
    fn number(&mut self) -> Result<u64, CompileError> {
        let at = self.at;
        let ends = |letter: char| !letter.is_ascii_digit();
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let digits = self.take(end);
        let shift = match self.rest.chars().next() {
            Some('k' | 'K') => 10,
            Some('m' | 'M') => 20,
            Some('g' | 'G') => 30,
            _ => 0,
        };
        if shift > 0 {
            self.take(1);
        }
        let number: Option<u64> = digits.parse().ok();
        let number = number.and_then(|number| number.checked_mul(1 << shift));
        // The RFC asks for 31 bits; 63 leave room for sums.
        match number.filter(|number| *number <= i64::MAX as u64) {
            Some(number) if self.identifier().is_empty() => Ok(number),
            Some(_) => Err(CompileError::new(
                at,
                "A number ends with a digit, or with K, M or G",
            )),
            None => Err(CompileError::new(at, "The number is too large")),
        }
    }

    /// RFC 5228 §2.4.2: up to the closing quote, over several lines too.
    fn quoted_string(&mut self) -> Result<String, CompileError> {
        let at = self.at;
        let mut text = String::new();
        let mut letters = self.rest.char_indices().skip(1);
        let mut before = '"';
        while let Some((index, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.take(index + 1);
                    return Ok(text);
                }
                // RFC 5228 §2.4.2: before any other letter the backslash is as if it were not there.
                '\\' => match self.rest[index + 1..].chars().next() {
                    // It cannot take the meaning of a line end away, which is below.
                    Some('\r' | '\n') => {}
                    Some(escaped) => {
                        text.push(escaped);
                        letters.next();
                    }
                    None => break,
                },
                '\n' if before != '\r' => text.push_str("\r\n"),
                _ => text.push(letter),
            }
            before = letter;
            check_length(at, &text)?;
        }
        Err(CompileError::new(at, "The string has no closing quote"))
    }

    /// Behind `text`: `:`, blanks, a comment perhaps, then lines until one that is a single dot.
    fn multi_line(&mut self, at: Position) -> Result<String, CompileError> {
        let line_end = |text: &str| text.find('\n').map_or(text.len(), |end| end + 1);
        let head = self.take(line_end(self.rest));
        let head = head[1..].trim_matches([' ', '\t', '\r', '\n']);
        if !head.is_empty() && !head.starts_with('#') {
            let text = "Begin the text of \"text:\" on a line of its own";
            return Err(CompileError::new(at, text));
        }
        let mut text = String::new();
        while !self.rest.is_empty() {
            let line = self.take(line_end(self.rest));
            let plain = line.strip_suffix('\n').unwrap_or(line);
            let plain = plain.strip_suffix('\r').unwrap_or(plain);
            if plain == "." {
                return Ok(text);
            }
            // A dot at the begin of a line is doubled, as SMTP has it.
            text.push_str(match plain.starts_with("..") {
                true => &plain[1..],
                false => plain,
            });
            text.push_str("\r\n");
            check_length(at, &text)?;
        }
        let text = "The text has no end; write a line with a single dot behind it";
        Err(CompileError::new(at, text))
    }
}

/// Asked as a string grows, so that a long one takes no memory before it is refused.
fn check_length(at: Position, text: &str) -> Result<(), CompileError> {
    match text.len() <= STRING_BYTES_MAX {
        true => Ok(()),
        false => {
            let text = format!("A string has at most {STRING_BYTES_MAX} bytes");
            Err(CompileError::new(at, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(source: &str) -> Vec<Token<'_>> {
        let mut lexer = Lexer::new(source);
        let mut found = Vec::new();
        loop {
            // until the end of the script
            match lexer.token().expect("a token") {
                (_, Token::End) => return found,
                (_, token) => found.push(token),
            }
        }
    }

    fn error(source: &str) -> String {
        let mut lexer = Lexer::new(source);
        loop {
            // until the error, which each of these has
            match lexer.token() {
                Ok((_, Token::End)) => panic!("no error in {source:?}"),
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
        }
    }

    #[test]
    fn words_numbers_and_marks_are_told_apart() {
        let marks = |mark| Token::Mark(mark);
        assert_eq!(
            tokens("size :over 10K; # no\r\n/* no\n*/ {}"),
            [
                Token::Identifier("size"),
                Token::Tag("over"),
                Token::Number(10_240),
                marks(';'),
                marks('{'),
                marks('}'),
            ]
        );
        assert_eq!(
            tokens("1M 2g"),
            [Token::Number(1 << 20), Token::Number(2 << 30)]
        );
    }

    #[test]
    fn strings_lose_their_quoting() {
        for (source, text) in [
            (r#""a\"b\\c\d""#, "a\"b\\cd"),
            ("\"two\nlines\"", "two\r\nlines"),
            ("\"two\\\nlines\"", "two\r\nlines"),
            ("\"two\\\r\nlines\"", "two\r\nlines"),
            (
                "text: # why\r\nHello\r\n..dot\r\n.\r\n",
                "Hello\r\n.dot\r\n",
            ),
            ("TEXT:\nx\n.\n", "x\r\n"),
            ("text:\n.", ""),
        ] {
            assert_eq!(tokens(source), [Token::Text(text.to_owned())], "{source}");
        }
    }

    #[test]
    fn an_error_names_its_place() {
        assert_eq!(error("ü\n"), "line 1, column 1: \"ü\" has no meaning here");
        assert!(error("keep;\n  \"ab").starts_with("line 2, column 3: The string has no"));
        assert!(error("text:\nabc").starts_with("line 1, column 1: The text has no end"));
        assert!(error("text: abc\n.\n").contains("on a line of its own"));
        assert!(error("/* x").contains("comment"));
        assert!(error("99999999999999999999").contains("too large"));
        assert!(error("9999999999G").contains("too large"));
        assert!(error("10KB").contains("A number ends"));
        assert!(error(": over").contains("tag"));
        let long = format!("\"{}\"", "x".repeat(STRING_BYTES_MAX + 1));
        assert!(error(&long).contains("at most"));
    }
}
