//! Responses as they come off the wire: whole ones, literals in place, and their values as a tree.

use memchr::memchr;

use crate::limits::RESPONSE_BYTES_MAX;

/// One response line with its literals, the last line end removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    bytes: Vec<u8>,
}

/// The server broke the grammar, or a bound of `limits.rs`; the caller closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sends something that is not an IMAP response")]
pub struct ResponseFault;

/// Cuts received bytes into responses.
#[derive(Debug)]
pub struct Responses {
    input: Vec<u8>,
    /// Before here everything is known to belong to the present response; the beginning of a line.
    line_begin: usize,
    /// Of one response, its literals included.
    bytes_max: usize,
}

impl Default for Responses {
    fn default() -> Self {
        Responses::with_bytes_max(RESPONSE_BYTES_MAX)
    }
}

impl Responses {
    /// A response that has more, or announces more, is a fault.
    pub fn with_bytes_max(bytes_max: usize) -> Responses {
        Responses {
            input: Vec::new(),
            line_begin: 0,
            bytes_max,
        }
    }

    /// Where received bytes are appended.
    pub fn input(&mut self) -> &mut Vec<u8> {
        &mut self.input
    }

    /// The next whole response, or `None` when more bytes are needed.
    pub fn step(&mut self) -> Result<Option<Response>, ResponseFault> {
        loop {
            // each turn takes a line and its literal, or returns
            if self.line_begin > self.input.len() {
                return Ok(None);
            }
            let Some(at) = memchr(b'\n', &self.input[self.line_begin..]) else {
                return if self.input.len() > self.bytes_max {
                    Err(ResponseFault)
                } else {
                    Ok(None)
                };
            };
            let line_end = self.line_begin + at + 1;
            let line = &self.input[self.line_begin..line_end];
            match literal_bytes(line) {
                // All literals of a response together: a server may send any number of them.
                Some(count) if line_end.saturating_add(count) <= self.bytes_max => {
                    self.line_begin = line_end + count;
                }
                Some(_) => return Err(ResponseFault),
                None => {
                    let mut bytes: Vec<u8> = self.input.drain(..line_end).collect();
                    self.line_begin = 0;
                    bytes.pop();
                    if bytes.pop() != Some(b'\r') {
                        return Err(ResponseFault);
                    }
                    return Ok(Some(Response { bytes }));
                }
            }
        }
    }
}

/// The length that `{n}` or `~{n}` at the end of `line` announces. `None`: the line ends without a literal.
fn literal_bytes(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}\r\n")?;
    let open = line.iter().rposition(|&byte| byte == b'{')?;
    crate::sequence::number(&line[open + 1..]).map(|count| count as usize)
}

/// A value in a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Atoms and numbers, and item names with their sections: `BODY[HEADER.FIELDS (TO)]<0>`.
    Atom(String),
    String(Vec<u8>),
    List(Vec<Value>),
}

impl Response {
    /// The line as it came, literals and the last CRLF included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// RFC 9051 §7.6: a line that begins with `+`.
    pub fn is_continuation(&self) -> bool {
        self.bytes.first() == Some(&b'+')
    }

    /// `*`, `+` or the tag.
    pub fn tag(&self) -> &[u8] {
        let end = memchr(b' ', &self.bytes).unwrap_or(self.bytes.len());
        &self.bytes[..end]
    }

    /// `Some(true)` for the tagged OK of `tag`, `Some(false)` for its NO or BAD, `None` for any other response.
    pub fn completes(&self, tag: &str) -> Option<bool> {
        let rest = self
            .bytes
            .strip_prefix(tag.as_bytes())?
            .strip_prefix(b" ")?;
        Some(rest.len() >= 2 && rest[..2].eq_ignore_ascii_case(b"OK"))
    }

    /// The values of the whole line. Text after a status word comes out as atoms, which must not be read.
    pub fn values(&self) -> Result<Vec<Value>, ResponseFault> {
        let mut at = 0;
        let values = list(&self.bytes, &mut at, VALUE_DEPTH_MAX)?;
        if at == self.bytes.len() {
            Ok(values)
        } else {
            Err(ResponseFault)
        }
    }
}

/// A body structure nests once for each level of parts and twice for addresses.
const VALUE_DEPTH_MAX: usize = 128;

/// Values up to `)` or the end.
fn list(bytes: &[u8], at: &mut usize, depth_left: usize) -> Result<Vec<Value>, ResponseFault> {
    let mut values = Vec::new();
    while let Some(&byte) = bytes.get(*at) {
        match byte {
            b' ' => *at += 1,
            b')' => break,
            b'(' => {
                *at += 1;
                let depth_left = depth_left.checked_sub(1).ok_or(ResponseFault)?;
                values.push(Value::List(list(bytes, at, depth_left)?));
                if bytes.get(*at) != Some(&b')') {
                    return Err(ResponseFault);
                }
                *at += 1;
            }
            b'"' => values.push(Value::String(quoted(bytes, at)?)),
            b'{' | b'~' if byte == b'{' || bytes.get(*at + 1) == Some(&b'{') => {
                values.push(Value::String(literal(bytes, at)?))
            }
            _ => values.push(Value::Atom(atom(bytes, at))),
        }
    }
    Ok(values)
}

fn quoted(bytes: &[u8], at: &mut usize) -> Result<Vec<u8>, ResponseFault> {
    let mut text = Vec::new();
    *at += 1;
    loop {
        // ends with the bytes
        match *bytes.get(*at).ok_or(ResponseFault)? {
            b'"' => {
                *at += 1;
                return Ok(text);
            }
            b'\\' => {
                text.push(*bytes.get(*at + 1).ok_or(ResponseFault)?);
                *at += 2;
            }
            b'\r' | b'\n' => return Err(ResponseFault),
            byte => {
                text.push(byte);
                *at += 1;
            }
        }
    }
}

fn literal(bytes: &[u8], at: &mut usize) -> Result<Vec<u8>, ResponseFault> {
    let from = *at + usize::from(bytes[*at] == b'~');
    let line_end = from + memchr(b'\n', &bytes[from..]).ok_or(ResponseFault)? + 1;
    let count = literal_bytes(&bytes[from..line_end]).ok_or(ResponseFault)?;
    let end = line_end.checked_add(count).ok_or(ResponseFault)?;
    let text = bytes.get(line_end..end).ok_or(ResponseFault)?.to_vec();
    *at = end;
    Ok(text)
}

/// To the next space or parenthesis; a bracketed section belongs to it, spaces and all.
fn atom(bytes: &[u8], at: &mut usize) -> String {
    let begin = *at;
    let mut brackets = 0usize;
    while let Some(&byte) = bytes.get(*at) {
        match byte {
            b'[' => brackets += 1,
            b']' => brackets = brackets.saturating_sub(1),
            b' ' | b'(' | b')' if brackets == 0 => break,
            _ => {}
        }
        *at += 1;
    }
    if *at == begin {
        *at += 1; // a stray parenthesis is `list`'s to see; never stand still
    }
    String::from_utf8_lossy(&bytes[begin..*at]).into_owned()
}
