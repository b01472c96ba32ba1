//! Header fields as bytes: where they are, and which of them claim to be ours (RFC 8601 §5).

use std::ops::Range;

/// Where the header of `content` ends: the first byte of the empty line, or the end.
pub fn end(content: &[u8]) -> usize {
    let mut lines = Lines { content, at: 0 };
    lines.by_ref().for_each(drop);
    lines.at
}

/// The fields of `content` with this name, each with its line's end; `name` is in lower case.
pub fn fields<'a>(content: &'a [u8], name: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    all(content).filter(move |field| is_named(&content[field.clone()], name))
}

/// The fields of `content`, each with its line's end.
fn all(content: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut lines = Lines { content, at: 0 }.peekable();
    std::iter::from_fn(move || {
        let mut field = lines.next()?;
        while let Some(more) = lines.next_if(|line| is_folded(&content[line.clone()])) {
            field.end = more.end;
        }
        Some(field)
    })
}

/// The fields of a stranger that only we write: Authentication-Results in the name of `hostname`, the mark of quarantine, the marks of
/// the door, what scanners found, and the judgement about junk.
pub fn forged(content: &[u8], hostname: &str) -> Vec<Range<usize>> {
    let is_forged = |field: &Range<usize>| {
        let field = &content[field.clone()];
        match field.first() {
            Some(b'a' | b'A') => is_named(field, RESULTS) && is_by(field, hostname),
            Some(b'x' | b'X') => OURS.iter().any(|name| is_named(field, name)),
            _ => false,
        }
    };
    all(content).filter(is_forged).collect()
}

/// Removes `fields`, which are in ascending order, from `content`.
pub fn remove(content: &mut Vec<u8>, fields: &[Range<usize>]) {
    let Some(first) = fields.first() else { return };
    let mut to = first.start;
    for (at, field) in fields.iter().enumerate() {
        let next = fields.get(at + 1).map_or(content.len(), |next| next.start);
        content.copy_within(field.end..next, to);
        to += next - field.end;
    }
    content.truncate(to);
}

/// Name of the field that marks a message whose author's domain asks for quarantine, in lower case.
pub const MARK: &str = "x-ringpost-quarantine";
/// Name of the field with what was seen of a peer at the door (`door::marks::FIELD`), in lower case.
pub const DOOR: &str = "x-ringpost-door";
/// Name of the field with what scanners found (`scan::field::FIELD`), in lower case.
pub const SCAN: &str = "x-ringpost-scan";

/// Name of the field that says how much a message looks like junk (`spam::FIELD`), in lower case.
pub const SPAM: &str = "x-ringpost-spam";
const OURS: [&str; 4] = [MARK, DOOR, SCAN, SPAM];
const RESULTS: &str = "authentication-results";

/// The lines of a header, to the empty line or the end.
struct Lines<'a> {
    content: &'a [u8],
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let rest = &self.content[self.at..];
        let bytes = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        if matches!(&rest[..bytes], b"" | b"\n" | b"\r\n") {
            return None;
        }
        let line = self.at..self.at + bytes;
        self.at = line.end;
        Some(line)
    }
}

fn is_folded(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// RFC 5322 §4.5.8: white space before the colon is obsolete, and taken.
fn is_named(field: &[u8], name: &str) -> bool {
    let Some(colon) = memchr::memchr(b':', field) else {
        return false;
    };
    field[..colon]
        .trim_ascii_end()
        .eq_ignore_ascii_case(name.as_bytes())
}

/// RFC 8601 §2.2: whether the authserv-id is `hostname`, as a token or in quotes, after comments and white space.
fn is_by(field: &[u8], hostname: &str) -> bool {
    let colon = memchr::memchr(b':', field).map_or(field.len(), |colon| colon + 1);
    let value = skip_comments(&field[colon..]);
    let mut id = Vec::new();
    match value.split_first() {
        Some((b'"', quoted)) => {
            let mut quoted = quoted.iter();
            while let Some(byte) = quoted.next() {
                match byte {
                    b'"' => break,
                    b'\\' => id.extend(quoted.next()),
                    b'\r' | b'\n' => {}
                    byte => id.push(*byte),
                }
            }
        }
        _ => {
            let end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b';' | b'(');
            let bytes = value.iter().position(end).unwrap_or(value.len());
            id.extend_from_slice(&value[..bytes]);
        }
    }
    let id = id.trim_ascii();
    let id = id.strip_suffix(b".").unwrap_or(id);
    id.eq_ignore_ascii_case(hostname.as_bytes())
}

/// What follows CFWS (RFC 5322 §3.2.2).
fn skip_comments(mut value: &[u8]) -> &[u8] {
    let mut depth = 0u32;
    while let Some((byte, rest)) = value.split_first() {
        match byte {
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            b'\\' if depth > 0 => {
                value = rest.get(1..).unwrap_or_default();
                continue;
            }
            _ if depth > 0 || byte.is_ascii_whitespace() => {}
            _ => break,
        }
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "mx.example.org";

    fn without(content: &str) -> String {
        let mut content = content.as_bytes().to_vec();
        let forged = forged(&content, OURS);
        remove(&mut content, &forged);
        String::from_utf8(content).expect("UTF-8")
    }

    #[test]
    fn results_in_our_name_are_removed_however_they_are_written() {
        for field in [
            "Authentication-Results: mx.example.org; spf=pass\r\n",
            "AUTHENTICATION-RESULTS:MX.Example.Org;\r\n\tspf=pass;\r\n dkim=pass\r\n",
            "Authentication-Results : mx.example.org 1; none\r\n",
            "Authentication-Results:\r\n (a (b\\) c)) \"mx.example.org\" ; none\r\n",
            "Authentication-Results: \"mx.\\example.org\"; none\r\n",
            "Authentication-Results: mx.example.org.; none\r\n",
            "Authentication-Results: mx.example.org(x); none\r\n",
            "Authentication-Results: mx.example.org\r\n",
            "X-Ringpost-Quarantine: no\r\n",
            "X-Ringpost-Door: lists=-5\r\n",
            "X-Ringpost-Scan: clamd=clean\r\n",
            "x-ringpost-DOOR :\r\n\tlists=-5;\r\n hello=our-name\r\n",
        ] {
            let content = format!("From: a@b.example\r\n{field}To: c\r\n\r\n{field}");
            let expected = format!("From: a@b.example\r\nTo: c\r\n\r\n{field}");
            assert_eq!(without(&content), expected, "{field}");
            assert_eq!(without(&format!("{field}{field}\r\n")), "\r\n");
            assert_eq!(without(field), "");
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for content in [
            "Authentication-Results: mx.example.org.evil.example; spf=pass\r\n\r\n",
            "Authentication-Results: mx.example; spf=pass\r\n mx.example.org; spf=pass\r\n\r\n",
            "Authentication-Results: (mx.example.org); spf=pass\r\n\r\n",
            "ARC-Authentication-Results: i=1; mx.example.org; spf=pass\r\n\r\n",
            "X-Authentication-Results: mx.example.org; spf=pass\r\n\r\n",
            "Subject: x\r\n Authentication-Results: mx.example.org; spf=pass\r\n\r\n",
            "X-Ringpost-Door-Keeper: x\r\nX-Ringpost-Doo: x\r\nSubject: x\r\n X-Ringpost-Door: x\r\n\r\n",
            "\r\nAuthentication-Results: mx.example.org; spf=pass\r\n",
            "Authentication-Results mx.example.org\r\n\r\n",
            "",
            "\r\n",
        ] {
            assert_eq!(without(content), content);
        }
    }

    #[test]
    fn the_header_ends_at_the_empty_line() {
        assert_eq!(end(b"A: b\r\n c\r\n\r\nbody\r\n\r\n"), 10);
        assert_eq!(end(b"A: b\r\n"), 6);
        assert_eq!(end(b"\r\nbody"), 0);
        assert_eq!(end(b""), 0);
    }
}
