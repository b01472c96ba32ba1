//! Where one command ends and the next begins: lines and literals (RFC 9051 §2.2.1, §4.3; RFC 7888).
//!
//! Gathers bytes until a whole command is there, literals in place, and says when the client waits to be asked for a literal.
//! Nothing is kept beyond the bounds it is given; what is too large is refused before it is read, or read and dropped when the
//! client sends it unasked.

use memchr::memchr;

use crate::limits::{DISCARD_BYTES_MAX, LITERALS_MAX, MAILBOX_NAME_BYTES_MAX};

/// What the present state of the session allows.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// One command with its literals, the message of an APPEND left out.
    pub command_bytes_max: usize,
    /// For ID and AUTHENTICATE; not less than `command_bytes_max`.
    pub id_bytes_max: usize,
    /// For the message of an APPEND: its largest literal; 0 where APPEND is not allowed. Its lines and other literals stay within
    /// `command_bytes_max`.
    pub append_bytes_max: usize,
}

/// What the input gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// More bytes are needed.
    More,
    /// The client waits for `+ ` before it sends a literal of so many bytes.
    Continue(usize),
    /// One command, its last line end included.
    Command(Vec<u8>),
    /// A command was dropped for its size; its tag if it had one.
    TooLarge { tag: Box<str>, literal: bool },
    /// No line end within the bounds, or a mad literal: the connection cannot be understood any more.
    Lost,
}

/// Received bytes, and how far the command at their front was looked at.
#[derive(Debug, Default)]
pub struct Reader {
    /// Begins with the first byte of the present command.
    input: Vec<u8>,
    /// Bytes of the present command that are already understood; the beginning of a line.
    line_begin: usize,
    /// Bytes looked at for a line feed.
    scanned: usize,
    /// The present literal ends here.
    literal_end: Option<usize>,
    /// Literals of the present command: bounded, since each costs a parse.
    literal_count: usize,
    /// Bytes of all literals of the present command.
    literal_sum: usize,
    /// Bytes still to be thrown away.
    discard: u64,
    /// Bytes that a client had us throw away since its last whole command. Past a bound the connection ends: it would
    /// only cost.
    discarded: u64,
    /// The present command is refused; its tag.
    refused: Option<Box<str>>,
}

impl Reader {
    /// Where received bytes are appended.
    pub fn input(&mut self) -> &mut Vec<u8> {
        &mut self.input
    }

    /// Whether no byte waits.
    pub fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// Whether no command has begun, nor is one being thrown away.
    pub fn is_between(&self) -> bool {
        self.input.is_empty() && self.discard == 0 && self.literal_end.is_none()
    }

    /// Bytes of a large literal that are still to come; what a caller with a memory budget asks for first.
    pub fn literal_bytes_pending(&self) -> usize {
        self.literal_end
            .map_or(0, |end| end.saturating_sub(self.input.len()))
    }

    /// Forgets everything received, for STARTTLS: RFC 9051 §6.2.1, commands pipelined behind it are not from inside of TLS.
    pub fn clear(&mut self) {
        *self = Reader::default();
    }

    /// Gives memory back when nothing is waiting.
    pub fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = Vec::new();
        }
    }

    /// Goes on to the end of a command, or says what is missing.
    pub fn step(&mut self, bounds: Bounds) -> Read {
        loop {
            // each turn takes a line or a literal, or returns
            if self.discard > 0 {
                let count = self.discard.min(self.input.len() as u64);
                self.input.drain(..count as usize);
                self.discard -= count;
                if self.discard > 0 {
                    return Read::More;
                }
            }
            if let Some(end) = self.literal_end {
                if self.input.len() < end {
                    return Read::More;
                }
                self.literal_end = None;
                self.line_begin = end;
                self.scanned = end;
            }
            let Some(at) = memchr(b'\n', &self.input[self.scanned..]) else {
                self.scanned = self.input.len();
                let bytes = self.input.len();
                let beyond = bytes > bounds.command_bytes_max
                    && bytes as u64 > self.bytes_max(bytes, bounds, 0);
                return if beyond { Read::Lost } else { Read::More };
            };
            let line_end = self.scanned + at + 1;
            let literal = literal_mark(&self.input[self.line_begin..line_end]);
            if let Some(read) = self.line(line_end, literal, bounds) {
                return read;
            }
        }
    }

    /// A line without literals, for SASL responses and DONE; its line end removed.
    pub fn line_only(&mut self, bytes_max: usize) -> Result<Option<Vec<u8>>, TooLong> {
        let Some(at) = memchr(b'\n', &self.input) else {
            return if self.input.len() > bytes_max {
                Err(TooLong)
            } else {
                Ok(None)
            };
        };
        let mut line: Vec<u8> = self.input.drain(..=at).collect();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }

    /// The line that ends before `line_end`, with the literal that it announces: the end of the command, one more
    /// literal, or a refusal.
    fn line(&mut self, line_end: usize, literal: Option<Literal>, bounds: Bounds) -> Option<Read> {
        if let Some(tag) = self.refused.take() {
            // The rest of a dropped command.
            self.input.drain(..line_end);
            self.restart();
            return match literal {
                Some(Literal {
                    bytes,
                    waits: false,
                }) => self.begin_discard(tag, bytes),
                _ => Some(Read::TooLarge { tag, literal: true }),
            };
        }
        let Some(literal) = literal else {
            if line_end as u64 > self.bytes_max(line_end, bounds, 0) {
                return Some(self.drop_command(line_end, false));
            }
            return Some(Read::Command(self.take_command(line_end)));
        };
        let end = (line_end as u64).saturating_add(literal.bytes);
        let is_append = brings_message(&self.input[..line_end]);
        // RFC 3502: several messages have together what one may have. The name of the mailbox may be a literal too.
        let sum = (self.literal_sum as u64).saturating_add(literal.bytes);
        let sum_max = (bounds.append_bytes_max + MAILBOX_NAME_BYTES_MAX) as u64;
        let is_within = literal.bytes <= bounds.append_bytes_max as u64 && sum <= sum_max;
        let fits = (!is_append || is_within)
            && end <= self.bytes_max(line_end, bounds, literal.bytes)
            && self.literal_count < LITERALS_MAX;
        if !fits {
            if literal.waits {
                return Some(self.drop_command(line_end, true));
            }
            let tag = tag_of(&self.input);
            self.input.drain(..line_end);
            self.restart();
            return self.begin_discard(tag, literal.bytes);
        }
        self.literal_count += 1;
        self.literal_sum += literal.bytes as usize;
        self.literal_end = Some(end as usize);
        literal
            .waits
            .then_some(Read::Continue(literal.bytes as usize))
    }

    /// For all of the present command, of which there are `held` bytes, with a literal of `next` bytes to come. The literals of an APPEND have a
    /// bound of their own and are not counted with the rest.
    fn bytes_max(&self, held: usize, bounds: Bounds, next: u64) -> u64 {
        let command = &self.input[..held];
        // A token of OAuth may be as long, and is the initial response.
        if is_command(command, b"ID") || is_command(command, b"AUTHENTICATE") {
            return bounds.id_bytes_max as u64;
        }
        let message = match brings_message(command) {
            true => next.saturating_add(self.literal_sum as u64),
            false => 0,
        };
        (bounds.command_bytes_max as u64).saturating_add(message)
    }

    /// Throws the literal of a refused command away: the client sends it without waiting.
    fn begin_discard(&mut self, tag: Box<str>, bytes: u64) -> Option<Read> {
        self.discarded = self.discarded.saturating_add(bytes);
        if self.discarded > DISCARD_BYTES_MAX {
            return Some(Read::Lost);
        }
        self.discard = bytes;
        self.refused = Some(tag);
        None
    }

    /// The command is refused before its literal is read.
    fn drop_command(&mut self, line_end: usize, literal: bool) -> Read {
        let tag = tag_of(&self.input);
        self.input.drain(..line_end);
        self.restart();
        Read::TooLarge { tag, literal }
    }

    /// Hands the command out. A long one leaves with the buffer instead of being copied.
    fn take_command(&mut self, end: usize) -> Vec<u8> {
        self.restart();
        self.discarded = 0;
        if end == self.input.len() {
            return std::mem::take(&mut self.input);
        }
        if end < COPY_BYTES_MAX {
            return self.input.drain(..end).collect();
        }
        let rest = self.input.split_off(end);
        std::mem::replace(&mut self.input, rest)
    }

    /// Nothing of the next command is known yet.
    fn restart(&mut self) {
        self.line_begin = 0;
        self.scanned = 0;
        self.literal_end = None;
        self.literal_count = 0;
        self.literal_sum = 0;
    }
}

/// Shorter commands are copied out of the input, longer ones leave with its buffer.
const COPY_BYTES_MAX: usize = 16 * 1_024;

/// The line was longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// A literal that a line announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Literal {
    bytes: u64,
    /// The client waits for `+ ` before it sends it (RFC 9051 §4.3).
    waits: bool,
}

/// `{n}` or `{n+}` at the end of a line. A quoted string cannot end so: its line goes on with a quote.
fn literal_mark(line: &[u8]) -> Option<Literal> {
    let line = line.strip_suffix(b"}\r\n")?;
    let (line, waits) = match line.strip_suffix(b"+") {
        Some(line) => (line, false),
        None => (line, true),
    };
    let digits = line
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (line, digits) = line.split_at(line.len() - digits);
    if digits.is_empty() || line.last() != Some(&b'{') {
        return None;
    }
    let text = std::str::from_utf8(digits).expect("digits are ASCII");
    Some(Literal {
        bytes: text.parse().unwrap_or(u64::MAX),
        waits,
    })
}

/// Is the second word of `command` this one?
fn is_command(command: &[u8], name: &[u8]) -> bool {
    let mut words = command
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty());
    words
        .nth(1)
        .is_some_and(|word| word.eq_ignore_ascii_case(name))
}

/// APPEND, REPLACE or UID REPLACE.
fn brings_message(command: &[u8]) -> bool {
    let words = command.split(|&byte| byte == b' ');
    let mut words = words.filter(|word| !word.is_empty()).skip(1);
    let is =
        |word: Option<&[u8]>, name: &[u8]| word.is_some_and(|word| word.eq_ignore_ascii_case(name));
    let first = words.next();
    is(first, b"APPEND")
        || is(first, b"REPLACE")
        || (is(first, b"UID") && is(words.next(), b"REPLACE"))
}

/// The tag of a command that is refused; `*` where it is not a tag.
fn tag_of(command: &[u8]) -> Box<str> {
    let end = command.iter().position(|&byte| byte == b' ').unwrap_or(0);
    let ok = |byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(byte);
    match std::str::from_utf8(&command[..end]) {
        Ok(tag)
            if !tag.is_empty()
                && tag.len() <= crate::limits::TAG_BYTES_MAX
                && tag.bytes().all(|byte| ok(&byte)) =>
        {
            tag.into()
        }
        _ => "*".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        command_bytes_max: 100,
        id_bytes_max: 300,
        append_bytes_max: 1_000,
    };

    fn read(reader: &mut Reader, bytes: &[u8]) -> Read {
        reader.input().extend_from_slice(bytes);
        reader.step(BOUNDS)
    }

    #[test]
    fn commands_come_out_whole_however_they_arrive() {
        let bytes = b"a NOOP\r\nb LOGIN {5+}\r\nalice {3+}\r\npw\n\r\nc X\n";
        let expected: [&[u8]; 3] = [
            b"a NOOP\r\n",
            b"b LOGIN {5+}\r\nalice {3+}\r\npw\n\r\n",
            b"c X\n",
        ];
        for step in [1, 2, 7, bytes.len()] {
            let mut reader = Reader::default();
            let mut commands = Vec::new();
            for chunk in bytes.chunks(step) {
                reader.input().extend_from_slice(chunk);
                while let Read::Command(command) = reader.step(BOUNDS) {
                    commands.push(command);
                }
            }
            assert_eq!(commands, expected);
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_waiting_client_is_asked_once() {
        let mut reader = Reader::default();
        assert_eq!(read(&mut reader, b"a LOGIN {5}\r\n"), Read::Continue(5));
        assert_eq!(read(&mut reader, b""), Read::More);
        assert_eq!(read(&mut reader, b"al"), Read::More);
        assert_eq!(reader.literal_bytes_pending(), 3);
        assert_eq!(read(&mut reader, b"ice {0}\r\n"), Read::Continue(0));
        assert_eq!(
            read(&mut reader, b"\r\n"),
            Read::Command(b"a LOGIN {5}\r\nalice {0}\r\n\r\n".to_vec())
        );
    }

    #[test]
    fn too_large_literals_are_refused_or_dropped() {
        let mut reader = Reader::default();
        let refused = |tag: &str, literal| Read::TooLarge {
            tag: tag.into(),
            literal,
        };
        assert_eq!(read(&mut reader, b"a LOGIN {101}\r\n"), refused("a", true));
        assert_eq!(
            read(&mut reader, b"b APPEND x {1001}\r\n"),
            refused("b", true)
        );
        assert_eq!(
            read(&mut reader, b"c APPEND x {1000}\r\n"),
            Read::Continue(1_000)
        );
        let mut reader = Reader::default();
        assert_eq!(read(&mut reader, b"d LOGIN {200+}\r\n"), Read::More);
        assert_eq!(read(&mut reader, &[b'x'; 150]), Read::More);
        assert_eq!(read(&mut reader, &[b'x'; 50]), Read::More);
        assert_eq!(
            read(&mut reader, b" {3+}\r\nabc\r\ne NOOP\r\n"),
            refused("d", true)
        );
        assert_eq!(
            read(&mut reader, b""),
            Read::Command(b"e NOOP\r\n".to_vec())
        );
        assert_eq!(
            read(&mut reader, b"f X {99999999999999999999+}\r\n"),
            Read::Lost
        );
    }

    #[test]
    fn the_messages_of_an_append_have_one_bound() {
        let refused = Read::TooLarge {
            tag: "a".into(),
            literal: true,
        };
        // A name that stays within the bound of the command, and the message.
        let begin = |reader: &mut Reader| {
            assert_eq!(read(reader, b"a APPEND {60+}\r\n"), Read::More);
            assert_eq!(read(reader, &[b'x'; 60]), Read::More);
            assert_eq!(read(reader, b" {200+}\r\n"), Read::More);
            assert_eq!(reader.literal_bytes_pending(), 200);
            assert_eq!(read(reader, &[b'x'; 200]), Read::More);
        };
        let mut reader = Reader::default();
        begin(&mut reader);
        assert!(matches!(read(&mut reader, b"\r\n"), Read::Command(_)));
        begin(&mut reader);
        let large = read(&mut reader, b" {1001}\r\n");
        assert_eq!(large, refused, "larger than one may be");
        let mut reader = Reader::default();
        begin(&mut reader);
        assert_eq!(read(&mut reader, b" {900+}\r\n"), Read::More);
        assert_eq!(read(&mut reader, &[b'x'; 900]), Read::More);
        let sum = read(&mut reader, b" {900}\r\n");
        assert_eq!(sum, refused, "more than one may be, together");
        let mut reader = Reader::default();
        begin(&mut reader);
        assert_eq!(
            read(&mut reader, &[b'x'; 100]),
            Read::Lost,
            "lines count too"
        );
    }

    /// The message takes nothing of what the command may be long, and the command nothing of the message.
    #[test]
    fn a_message_that_nearly_fits_the_command_is_no_matter() {
        for bytes in [80, 81, 82, 83, 90, 99, 100, 101, 1_000] {
            let mut reader = Reader::default();
            let mark = format!("a APPEND x {{{bytes}}}\r\n");
            assert_eq!(read(&mut reader, mark.as_bytes()), Read::Continue(bytes));
            assert_eq!(read(&mut reader, &vec![b'x'; bytes]), Read::More);
            assert!(matches!(read(&mut reader, b"\r\n"), Read::Command(_)));
        }
    }

    #[test]
    fn endless_lines_lose_the_connection_and_long_ones_the_command() {
        let mut reader = Reader::default();
        assert_eq!(read(&mut reader, &[b'x'; 101]), Read::Lost);
        let mut reader = Reader::default();
        let mut long = b"a ".repeat(60);
        long.extend_from_slice(b"\r\n");
        assert_eq!(
            read(&mut reader, &long),
            Read::TooLarge {
                tag: "a".into(),
                literal: false
            }
        );
    }

    #[test]
    fn lines_of_a_dialogue_have_no_literals() {
        let mut reader = Reader::default();
        reader.input().extend_from_slice(b"AGE {3}\r\nDONE\nrest");
        assert_eq!(reader.line_only(100), Ok(Some(b"AGE {3}".to_vec())));
        assert_eq!(reader.line_only(100), Ok(Some(b"DONE".to_vec())));
        assert_eq!(reader.line_only(100), Ok(None));
        assert_eq!(reader.line_only(3), Err(TooLong));
    }

    #[test]
    fn id_has_a_bound_of_its_own() {
        let mut reader = Reader::default();
        let mut long = b"a id (\"name\" \"".to_vec();
        long.extend_from_slice(&[b'x'; 200]);
        assert_eq!(read(&mut reader, &long), Read::More);
        assert_eq!(
            read(&mut reader, b"\")\r\n"),
            Read::Command([&long[..], b"\")\r\n"].concat())
        );
        assert_eq!(read(&mut reader, b"b ID ({201}\r\n"), Read::Continue(201));
        assert_eq!(read(&mut reader, &[b'x'; 201]), Read::More);
        assert_eq!(
            read(&mut reader, b" {201}\r\n"),
            Read::TooLarge {
                tag: "b".into(),
                literal: true
            }
        );
        assert_eq!(read(&mut reader, b"c ID "), Read::More);
        assert_eq!(read(&mut reader, &[b'x'; 300]), Read::Lost);
        let mut reader = Reader::default();
        assert_eq!(read(&mut reader, b"ID ID2 "), Read::More);
        assert_eq!(read(&mut reader, &[b'x'; 100]), Read::Lost);
    }
}
