//! Commands of the client as words, however their bytes were cut (RFC 5804 §4): atoms, quoted strings, and literals.
//!
//! A literal follows its announcement without a pause, so one that is refused has to be read to its end all the same, and thrown away.

use memchr::{memchr, memchr3};

use crate::limits::*;

/// A word of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A name or a number.
    Atom(Vec<u8>),
    /// A quoted string or a literal.
    Text(Vec<u8>),
}

/// What is wrong with a command that was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not of the grammar.
    Syntax,
    /// More words than any command has.
    Words,
    /// A literal of more than `SCRIPT_BYTES_MAX`, or a second long one.
    TooLarge,
    /// The caller had no memory for a literal.
    NoMemory,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Wait for more.
    More,
    /// A literal of so many octets follows: call `reserve`.
    Reserve(usize),
    /// A command is complete.
    Command(Vec<Word>),
    /// A command is complete, and makes no sense.
    Broken(Fault),
    /// Where the next command begins is not known.
    Lost,
    /// A bound is passed before a command is complete.
    TooLong,
}

enum Literal {
    /// Long; no memory is reserved for it yet.
    Asked(usize),
    Taking {
        left: usize,
        text: Vec<u8>,
    },
    Skipping {
        left: usize,
    },
}

/// What the client sent and was not taken yet.
#[derive(Default)]
pub struct Reader {
    input: Vec<u8>,
    /// All before is taken.
    at: usize,
    /// Octets behind `at` that belong to a word whose end has not come: they are not looked at again, or a word that comes octet by octet would cost its length squared.
    seen: usize,
    words: Vec<Word>,
    /// Octets of this command, a long literal not counted.
    bytes: usize,
    has_long: bool,
    literal: Option<Literal>,
    fault: Option<Fault>,
}

impl Reader {
    /// Where received bytes are appended.
    pub fn input(&mut self) -> &mut Vec<u8> {
        self.input.drain(..self.at);
        self.at = 0;
        &mut self.input
    }

    /// The next command. `takes_scripts`: long literals are allowed.
    pub fn next(&mut self, takes_scripts: bool) -> Taken {
        loop {
            // until the input is used up or a command is complete
            if self.bytes > COMMAND_BYTES_MAX {
                return Taken::TooLong;
            }
            if let Some(taken) = self.fill_literal() {
                return taken;
            }
            let rest = &self.input[self.at..];
            match rest {
                [] => return Taken::More,
                [b' ', ..] => self.advance(1),
                [b'\n', ..] => return self.end(1),
                [b'\r', b'\n', ..] => return self.end(2),
                [b'\r'] => return Taken::More,
                [b'\r', ..] => {
                    self.break_with(Fault::Syntax);
                    self.advance(1);
                }
                [b'"', ..] => {
                    if let Some(taken) = self.quoted() {
                        return taken;
                    }
                }
                [b'{', ..] => {
                    if let Some(taken) = self.literal_head(takes_scripts) {
                        return taken;
                    }
                }
                _ => {
                    let Some(end) = memchr3(b' ', b'\r', b'\n', &rest[self.seen..]) else {
                        return self.more(rest.len(), rest.len());
                    };
                    let end = self.seen + end;
                    let word = Word::Atom(rest[..end].to_vec());
                    self.push(word);
                    self.advance(end);
                }
            }
        }
    }

    /// The answer to `Reserve`: there is memory for the literal, or it is thrown away.
    pub fn reserve(&mut self, has_memory: bool) {
        if let Some(Literal::Asked(left)) = self.literal {
            self.literal = Some(match has_memory {
                true => Literal::Taking {
                    left,
                    text: Vec::with_capacity(left),
                },
                false => Literal::Skipping { left },
            });
            if !has_memory {
                self.break_with(Fault::NoMemory);
            }
        }
    }

    /// A long literal is a part of the command that is not complete.
    pub fn has_long(&self) -> bool {
        self.has_long
    }

    /// Nothing that was sent is acted on.
    pub fn clear(&mut self) {
        *self = Reader::default();
    }

    /// Gives memory back before a long wait.
    pub fn rest(&mut self) {
        self.input().shrink_to_fit();
    }

    fn fill_literal(&mut self) -> Option<Taken> {
        let rest = &self.input[self.at..];
        match self.literal.as_mut()? {
            Literal::Asked(bytes) => Some(Taken::Reserve(*bytes)),
            Literal::Taking { left, text } => {
                let count = rest.len().min(*left);
                text.extend_from_slice(&rest[..count]);
                *left -= count;
                self.at += count;
                if *left > 0 {
                    return Some(Taken::More);
                }
                if let Some(Literal::Taking { text, .. }) = self.literal.take() {
                    self.push(Word::Text(text));
                }
                None
            }
            Literal::Skipping { left } => {
                let count = rest.len().min(*left);
                *left -= count;
                self.at += count;
                if *left > 0 {
                    return Some(Taken::More);
                }
                self.literal = None;
                None
            }
        }
    }

    /// RFC 5804 §4: no line end and no NUL is in a quoted string, and nothing but `"` and `\` is escaped.
    fn quoted(&mut self) -> Option<Taken> {
        let rest = &self.input[self.at..];
        let mut index = self.seen.max(1);
        while let Some(&byte) = rest.get(index) {
            match (byte, rest.get(index + 1)) {
                (b'"', _) => {
                    let word = Word::Text(unescaped(&rest[1..index]));
                    self.push(word);
                    self.advance(index + 1);
                    return None;
                }
                (b'\\', Some(b'"' | b'\\')) => index += 2,
                (b'\\', Some(_)) => {
                    self.break_with(Fault::Syntax);
                    self.advance(index + 1);
                    return None;
                }
                (b'\\', None) => break,
                (b'\r' | b'\n' | 0, _) => {
                    self.break_with(Fault::Syntax);
                    self.advance(index + usize::from(byte == 0));
                    return None;
                }
                _ => index += 1,
            }
        }
        Some(self.more(rest.len(), index))
    }

    fn literal_head(&mut self, takes_scripts: bool) -> Option<Taken> {
        let rest = &self.input[self.at..];
        let head = &rest[..rest.len().min(LITERAL_HEAD_BYTES_MAX)];
        let Some(end) = memchr(b'\n', head) else {
            return Some(match head.len() < LITERAL_HEAD_BYTES_MAX {
                true => Taken::More,
                false => Taken::Lost,
            });
        };
        let Some(count) = count_of(&head[..end]) else {
            return Some(Taken::Lost);
        };
        self.advance(end + 1);
        let is_broken = self.fault.is_some();
        if count <= COMMAND_BYTES_MAX.saturating_sub(self.bytes) {
            self.bytes += count;
            self.literal = Some(Literal::Taking {
                left: count,
                text: Vec::new(),
            });
        } else if !takes_scripts || count > SKIPPED_BYTES_MAX || is_broken {
            return Some(Taken::TooLong);
        } else if count <= SCRIPT_BYTES_MAX && !self.has_long {
            self.has_long = true;
            self.literal = Some(Literal::Asked(count));
        } else {
            // It is thrown away, and the command is refused at its end.
            self.break_with(Fault::TooLarge);
            self.literal = Some(Literal::Skipping { left: count });
        }
        None
    }

    /// Takes input that is not a literal's.
    fn advance(&mut self, count: usize) {
        self.at += count;
        self.bytes += count;
        self.seen = 0;
    }

    /// A word that is not all there: so many octets of it, and `seen` of them say nothing more.
    fn more(&mut self, bytes: usize, seen: usize) -> Taken {
        self.seen = seen;
        match self.bytes + bytes > COMMAND_BYTES_MAX {
            true => Taken::TooLong,
            false => Taken::More,
        }
    }

    fn push(&mut self, word: Word) {
        if self.fault.is_some() {
            return;
        }
        match self.words.len() < WORDS_MAX {
            true => self.words.push(word),
            false => self.break_with(Fault::Words),
        }
    }

    /// The first fault is what is answered.
    fn break_with(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
        self.words = Vec::new();
    }

    fn end(&mut self, line_end: usize) -> Taken {
        self.at += line_end;
        self.bytes = 0;
        self.has_long = false;
        let words = std::mem::take(&mut self.words);
        match self.fault.take() {
            Some(fault) => Taken::Broken(fault),
            None => Taken::Command(words),
        }
    }
}

/// What stands between the quotes; each `\` has a letter behind it.
fn unescaped(quoted: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => text.extend(bytes.next()),
            _ => text.push(byte),
        }
    }
    text
}

/// RFC 5804 §4: a client's literals end with `+`, so that it need not wait.
fn count_of(head: &[u8]) -> Option<usize> {
    let head = head.strip_suffix(b"\r").unwrap_or(head);
    let digits = head.strip_prefix(b"{")?.strip_suffix(b"+}")?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], size: usize) -> Vec<Taken> {
        let mut reader = Reader::default();
        let mut taken = Vec::new();
        for piece in text.chunks(size) {
            reader.input().extend_from_slice(piece);
            loop {
                match reader.next(true) {
                    Taken::More => break,
                    Taken::Reserve(bytes) => reader.reserve(bytes < 100_000),
                    Taken::Lost | Taken::TooLong => {
                        taken.push(Taken::Lost);
                        return taken;
                    }
                    one => taken.push(one),
                }
            }
        }
        taken
    }

    #[test]
    fn commands_come_out_however_they_were_cut() {
        let long = "x".repeat(20_000);
        let text = format!(
            "NOOP\r\nPUTSCRIPT \"a \\\"b\\\\\" {{{}+}}\r\n{long}\r\nHAVESPACE {{3+}}\r\n\r\nx 12\n\"a\rb\r\nA {{0+}}\r\n B C D\r\n",
            long.len()
        );
        let atom = |text: &str| Word::Atom(text.into());
        let word = |text: &str| Word::Text(text.into());
        let expected = vec![
            Taken::Command(vec![atom("NOOP")]),
            Taken::Command(vec![atom("PUTSCRIPT"), word("a \"b\\"), word(&long)]),
            Taken::Command(vec![atom("HAVESPACE"), word("\r\nx"), atom("12")]),
            Taken::Broken(Fault::Syntax),
            Taken::Broken(Fault::Words),
        ];
        for size in [1, 2, 3, 7, 100, text.len()] {
            assert_eq!(all(text.as_bytes(), size), expected, "{size}");
        }
    }

    /// Octet by octet, a word of 16 KiB was walked from its beginning for each of them.
    #[test]
    fn no_octet_of_a_word_is_looked_at_twice() {
        for begin in ["\"", "x", "A \"\\\""] {
            let mut reader = Reader::default();
            reader.input().extend_from_slice(begin.as_bytes());
            assert_eq!(reader.next(false), Taken::More);
            for _ in 0..10_000 {
                reader.input().push(b'a');
                assert_eq!(reader.next(false), Taken::More);
                assert_eq!(reader.seen, reader.input.len() - reader.at);
            }
            // What an escape stands for is not known before its second octet.
            reader.input().push(b'\\');
            assert_eq!(reader.next(false), Taken::More);
            reader.input().extend_from_slice(b"\"\"\r\n");
            assert!(!matches!(reader.next(false), Taken::More));
            assert_eq!(reader.seen, 0);
        }
    }

    #[test]
    fn a_literal_that_is_refused_is_read_to_its_end() {
        for (bytes, fault) in [
            (200_000, Fault::NoMemory),
            (SCRIPT_BYTES_MAX + 1, Fault::TooLarge),
        ] {
            let text = format!("P \"a\" {{{bytes}+}}\r\n{}\r\nNOOP\r\n", "\n".repeat(bytes));
            let noop = Taken::Command(vec![Word::Atom(b"NOOP".to_vec())]);
            assert_eq!(all(text.as_bytes(), 4_096), [Taken::Broken(fault), noop]);
        }
        let more = format!("P {{{}+}}\r\n", SKIPPED_BYTES_MAX + 1);
        assert_eq!(all(more.as_bytes(), 4_096), [Taken::Lost]);
        assert_eq!(all(b"P {5}\r\nhello\r\n", 4_096), [Taken::Lost]);
        assert_eq!(all("x".repeat(17_000).as_bytes(), 512), [Taken::Lost]);
        assert_eq!(all(" ".repeat(17_000).as_bytes(), 512), [Taken::Lost]);
    }
}
