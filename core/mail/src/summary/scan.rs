//! One pass over a message for its structure (RFC 2045, RFC 2046). The lines of a body are looked at only for the
//! boundaries that are open around it; a message without multiparts is one header and one count of line feeds.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

use crate::header::{self, Parameterised, Text};
use crate::limits::*;

use super::{Content, Disposition, ENVELOPE_FIELDS, KEPT_FIELDS, Part, Summary, same};

/// How much a summary may say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Parts that may be listed.
    parts: usize,
    /// Bytes of header fields that may be kept.
    header_bytes: usize,
    text_bytes: usize,
    /// A summary that lists fewer parts than there are is not complete, for a wider one would list more.
    parts_count: bool,
}

impl Bounds {
    /// Of a digest that is kept beside the body.
    pub const KEPT: Bounds = Bounds {
        parts: KEPT_PARTS_MAX,
        header_bytes: KEPT_HEADER_BYTES_MAX,
        text_bytes: KEPT_TEXT_BYTES_MAX,
        parts_count: true,
    };
    /// Of a digest that is made again, for one answer.
    pub const WHOLE: Bounds = Bounds {
        parts: WHOLE_PARTS_MAX,
        header_bytes: WHOLE_HEADER_BYTES_MAX,
        text_bytes: WHOLE_TEXT_BYTES_MAX,
        parts_count: false,
    };
}

/// The digest of `raw` within `bounds`. Its lone line ends were counted before.
pub(super) fn summary(raw: &[u8], bounds: Bounds, line_ends_missing: u32) -> Summary<'_> {
    // Offsets are 32 bits wide, as RFC822.SIZE is in IMAP4rev1.
    let raw = &raw[..raw.len().min(u32::MAX as usize)];
    let mut scanner = Scanner {
        raw,
        at: 0,
        line_feeds: 0,
        boundaries: Vec::new(),
        parts_left: bounds.parts,
        header_bytes_left: bounds.header_bytes,
        text_bytes_left: bounds.text_bytes,
        parts_count: bounds.parts_count,
        complete: true,
    };
    let (header, root, _) = scanner.entity(&KEPT_FIELDS, DEPTH_MAX, false);
    Summary {
        header: Cow::Owned(header),
        complete: scanner.complete,
        line_ends_missing,
        root,
    }
}

/// One pass over a message: what was read, and what room is left.
struct Scanner<'a> {
    raw: &'a [u8],
    /// All before is scanned; always at the beginning of a line, or at the end.
    at: usize,
    /// Line feeds before `at`.
    line_feeds: usize,
    /// Boundaries of the multiparts around us, outermost first.
    boundaries: Vec<Vec<u8>>,
    /// Parts that may still be listed.
    parts_left: usize,
    /// Bytes of header fields that may still be kept.
    header_bytes_left: usize,
    /// Bytes of descriptions that may still be kept.
    text_bytes_left: usize,
    /// See `Bounds::parts_count`.
    parts_count: bool,
    /// Nothing was left out so far.
    complete: bool,
}

/// Why an entity ended.
#[derive(Clone, Copy)]
enum Stop {
    /// The end of the bytes.
    EndOfMessage,
    /// A delimiter line of `boundaries[level]`; `closing` with the two hyphens at its end.
    Delimiter { level: usize, closing: bool },
}

impl<'a> Scanner<'a> {
    /// The entity that begins at `at`: its kept header fields, the part, and what ended it.
    fn entity(
        &mut self,
        kept: &[&str],
        depth_left: usize,
        in_digest: bool,
    ) -> (Vec<u8>, Part<'a>, Stop) {
        let header_begin = self.at;
        let early = self.skip_header();
        let header_end = early.map_or(self.at, |stop| self.end_before(stop).max(header_begin));
        let header = &self.raw[header_begin..header_end];
        let kept = self.kept_fields(header, kept);
        let (mut part, boundary) = self.described(header, in_digest);
        part.header_begin = offset(header_begin);
        part.body_begin = offset(header_end);
        part.body_end = part.body_begin;
        let line_feeds_before = self.line_feeds - line_feeds(&self.raw[header_end..self.at]);
        let stop = match early {
            Some(stop) => {
                self.without_body(&mut part, boundary.is_some(), depth_left);
                stop
            }
            None => self.body(&mut part, boundary, depth_left),
        };
        // The parts of a container are within it: an empty last one ends after its empty line, which is not the delimiter's.
        let inner_end = match &part.content {
            Content::Leaf | Content::Unread => header_end,
            Content::Multipart(parts) => parts.last().map_or(0, |last| last.body_end as usize),
            Content::Message(inner) => inner.1.body_end as usize,
        };
        let end = self.end_before(stop).max(header_end).max(inner_end);
        part.body_end = offset(end);
        // Counted on the way; what lies between the body and the delimiter is one line end at most.
        let after = line_feeds(&self.raw[end..self.at]);
        let unfinished = end > header_end && self.raw[end - 1] != b'\n';
        part.lines = offset(self.line_feeds - after - line_feeds_before + usize::from(unfinished));
        (kept, part, stop)
    }

    /// Where a body ends that `stop` ended: before the line end that belongs to the delimiter (RFC 2046 §5.1.1).
    fn end_before(&self, stop: Stop) -> usize {
        let before = &self.raw[..self.at];
        match stop {
            Stop::EndOfMessage => self.at,
            Stop::Delimiter { .. } => before
                .strip_suffix(b"\r\n")
                .or_else(|| before.strip_suffix(b"\n"))
                .unwrap_or(before)
                .len(),
        }
    }

    /// A delimiter cut the header of `part` short: an embedded message is empty, and a multipart has no parts.
    fn without_body(&mut self, part: &mut Part<'a>, multipart: bool, depth_left: usize) {
        if multipart {
            without_parts(part);
        } else if is_message(part) {
            if !self.may_look_into(part, depth_left) {
                return opaque(part);
            }
            let mut inner = empty_part(false);
            inner.header_begin = part.body_begin;
            inner.body_begin = part.body_begin;
            inner.body_end = part.body_begin;
            part.content = Content::Message(Box::new((Cow::Borrowed(b""), inner)));
        }
    }

    /// Whether the message in `part` is listed; takes its place among the parts.
    fn may_look_into(&mut self, part: &Part<'a>, depth_left: usize) -> bool {
        if depth_left == 0 || is_encoded(part) {
            return false;
        }
        if self.parts_left == 0 {
            self.complete &= !self.parts_count;
            return false;
        }
        self.parts_left -= 1;
        true
    }

    /// The body of `part`; fills in its content.
    fn body(&mut self, part: &mut Part<'a>, boundary: Option<Vec<u8>>, depth_left: usize) -> Stop {
        if let Some(boundary) = boundary {
            if depth_left == 0 {
                opaque(part);
                part.content = Content::Unread;
                return self.skip_body();
            }
            let digest = part.media_subtype.eq_ignore_ascii_case(b"digest");
            let (parts, stop) = self.multipart(boundary, depth_left, digest);
            if parts.is_empty() {
                without_parts(part);
            } else {
                part.content = Content::Multipart(parts);
            }
            return stop;
        }
        if is_message(part) {
            if !self.may_look_into(part, depth_left) {
                opaque(part);
                part.content = Content::Unread;
                return self.skip_body();
            }
            let (kept, inner, stop) = self.entity(&ENVELOPE_FIELDS, depth_left - 1, false);
            part.content = Content::Message(Box::new((Cow::Owned(kept), inner)));
            return stop;
        }
        self.skip_body()
    }

    /// The parts between delimiters of `boundary`, and what ended the last one. Past the bound the rest is one part.
    fn multipart(
        &mut self,
        boundary: Vec<u8>,
        depth_left: usize,
        digest: bool,
    ) -> (Vec<Part<'a>>, Stop) {
        let mine = self.boundaries.len();
        self.boundaries.push(boundary);
        let mut parts = Vec::new();
        let mut stop = self.skip_body(); // the preamble
        while let Stop::Delimiter {
            level,
            closing: false,
        } = stop
        {
            if level != mine {
                break;
            }
            self.pass_line();
            if self.parts_left == 0 {
                let (rest, next) = self.rest_of_parts(mine);
                parts.push(rest);
                stop = next;
                break;
            }
            self.parts_left -= 1;
            let (_, part, next) = self.entity(&[], depth_left - 1, digest);
            parts.push(part);
            stop = next;
        }
        self.boundaries.truncate(mine);
        if let Stop::Delimiter {
            level,
            closing: true,
        } = stop
            && level == mine
        {
            self.pass_line();
            stop = self.skip_body(); // the epilogue
        }
        (parts, stop)
    }

    /// Everything up to the closing delimiter of `boundaries[mine]` as one part without a header, so that it can be fetched.
    fn rest_of_parts(&mut self, mine: usize) -> (Part<'a>, Stop) {
        self.complete &= !self.parts_count;
        let mut rest = empty_part(false);
        opaque(&mut rest);
        rest.content = Content::Unread;
        rest.header_begin = offset(self.at);
        rest.body_begin = rest.header_begin;
        loop {
            // each turn passes a delimiter line, or ends
            let stop = self.skip_body();
            match stop {
                Stop::Delimiter {
                    level,
                    closing: false,
                } if level == mine => self.pass_line(),
                _ => {
                    rest.body_end = offset(self.end_before(stop)).max(rest.body_begin);
                    return (rest, stop);
                }
            }
        }
    }

    /// To the end of the header: past the empty line, or to a delimiter that comes first.
    fn skip_header(&mut self) -> Option<Stop> {
        loop {
            // until the end of the message
            if self.at == self.raw.len() {
                return None;
            }
            if let Some(stop) = self.delimiter_here() {
                return Some(stop);
            }
            let end = header::line_end(self.raw, self.at);
            let empty = matches!(&self.raw[self.at..end], b"\n" | b"\r\n");
            self.advance(end);
            if empty {
                return None;
            }
        }
    }

    /// To the next delimiter of any open boundary, or to the end.
    fn skip_body(&mut self) -> Stop {
        if self.boundaries.is_empty() {
            self.line_feeds += line_feeds(&self.raw[self.at..]);
            self.at = self.raw.len();
        }
        while self.at < self.raw.len() {
            if let Some(stop) = self.delimiter_here() {
                return stop;
            }
            self.pass_line();
        }
        Stop::EndOfMessage
    }

    /// Past the line we are at.
    fn pass_line(&mut self) {
        self.advance(header::line_end(self.raw, self.at));
    }

    /// Goes on to `to`, which is at the beginning of a line or at the end.
    fn advance(&mut self, to: usize) {
        if to > self.at && self.raw[to - 1] == b'\n' {
            self.line_feeds += 1;
        }
        self.at = to;
    }

    /// Is the line at `at` a delimiter (RFC 2046 §5.1.1)? A line that is nothing but one counts first, of the inner boundaries before
    /// the outer ones. Else it is enough that the line begins with a boundary, as the note to implementors says; the longest one
    /// counts, and where several are open, the character behind it must not be one of a boundary's: it may be another boundary that was closed.
    fn delimiter_here(&self) -> Option<Stop> {
        if self.boundaries.is_empty() {
            return None;
        }
        let line = self.raw[self.at..].strip_prefix(b"--")?;
        let line = trim_end(&line[..header::line_end(line, 0)]);
        let mut longest: Option<(usize, &[u8])> = None;
        for (level, boundary) in self.boundaries.iter().enumerate().rev() {
            let Some(rest) = line.strip_prefix(&boundary[..]) else {
                continue;
            };
            if matches!(rest, b"" | b"--") {
                let closing = !rest.is_empty();
                return Some(Stop::Delimiter { level, closing });
            }
            if longest.is_none_or(|(_, other)| rest.len() < other.len()) {
                longest = Some((level, rest));
            }
        }
        let (level, rest) = longest?;
        let closing = rest.starts_with(b"--");
        let behind = if closing { &rest[2..] } else { rest };
        let unsure = self.boundaries.len() > 1 && behind.first().is_some_and(is_boundary_char);
        (!unsure).then_some(Stop::Delimiter { level, closing })
    }

    /// The fields that `names` lists, byte for byte. One that does not fit is left out, and the digest is not complete.
    fn kept_fields(&mut self, header: &[u8], names: &[&str]) -> Vec<u8> {
        let mut kept = Vec::new();
        if names.is_empty() {
            return kept;
        }
        for field in header::fields(header) {
            if names.iter().any(|name| same(field.name, name)) {
                // A field without its line end would run into the next one.
                let open = usize::from(!field.raw.ends_with(b"\n")) * 2;
                if field.raw.len() + open > self.header_bytes_left {
                    self.complete = false;
                    continue;
                }
                self.header_bytes_left -= field.raw.len() + open;
                kept.extend_from_slice(field.raw);
                kept.extend_from_slice(&b"\r\n"[..open]);
            }
        }
        kept
    }

    /// What a part's header says of it, and the boundary when it is a multipart.
    fn described(&mut self, header: &'a [u8], in_digest: bool) -> (Part<'a>, Option<Vec<u8>>) {
        let mut part = empty_part(in_digest);
        let mut boundary = None;
        let mut typed = false;
        for field in header::fields(header) {
            let Some(rest) = field
                .name
                .get(..8)
                .filter(|head| head.eq_ignore_ascii_case(b"Content-"))
            else {
                continue;
            };
            let name = &field.name[rest.len()..];
            if same(name, "Type") {
                if !typed {
                    typed = true;
                    boundary = self.content_type(&mut part, field.value);
                }
                continue;
            }
            if same(name, "Disposition") {
                let parsed = Parameterised::parse(field.value);
                self.complete &= !parsed.cut;
                if part.disposition.is_none() && !parsed.value.is_empty() {
                    part.disposition = Some(Disposition {
                        kind: self.text(parsed.value.into()),
                        parameters: self.texts(parsed.parameters),
                    });
                }
                continue;
            }
            let slot = match () {
                () if same(name, "Transfer-Encoding") => &mut part.encoding,
                () if same(name, "ID") => &mut part.id,
                () if same(name, "Description") => &mut part.description,
                () if same(name, "MD5") => &mut part.md5,
                () if same(name, "Language") => &mut part.language,
                () if same(name, "Location") => &mut part.location,
                () => continue,
            };
            if slot.is_none() {
                let encoding = same(name, "Transfer-Encoding");
                let text = if encoding {
                    // Comments and white space are not part of an encoding's name.
                    Cow::Owned(Parameterised::parse(field.value).value)
                } else {
                    header::unfold(field.value)
                };
                // RFC 2045 §6.1: a field that names no encoding is as none.
                if !(encoding && text.is_empty()) {
                    *slot = Some(self.text(text));
                }
            }
        }
        (part, boundary)
    }

    /// RFC 2045 §5.2: a type that cannot be read is text/plain.
    fn content_type(&mut self, part: &mut Part<'a>, value: &[u8]) -> Option<Vec<u8>> {
        let parsed = Parameterised::parse(value);
        self.complete &= !parsed.cut;
        let slash = memchr(b'/', &parsed.value)?;
        let (main, sub) = (&parsed.value[..slash], &parsed.value[slash + 1..]);
        if main.is_empty() || sub.is_empty() {
            return None;
        }
        let mut boundary = None;
        if main.eq_ignore_ascii_case(b"multipart") {
            boundary = parsed
                .parameter("boundary")
                .map(|boundary| trim_end(boundary).to_vec());
            // Without a usable boundary there are no parts to show; the text is shown instead.
            boundary
                .as_ref()
                .filter(|boundary| (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()))?;
        }
        part.media_type = self.text(main.to_vec().into());
        part.media_subtype = self.text(sub.to_vec().into());
        part.parameters = self.texts(parsed.parameters);
        if part.media_type.is_empty() || part.media_subtype.is_empty() {
            opaque(part); // out of room
        }
        boundary
    }

    /// `text`, or nothing of it when the room for descriptions is used up.
    fn text(&mut self, text: Text<'a>) -> Text<'a> {
        if text.len() > self.text_bytes_left {
            self.complete = false;
            return Cow::Borrowed(b"");
        }
        self.text_bytes_left -= text.len();
        text
    }

    /// Names and values, as far as there is room. A pair whose name is left out is left out whole.
    fn texts(&mut self, pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<(Text<'a>, Text<'a>)> {
        let both =
            |(name, value): (Vec<u8>, Vec<u8>)| (self.text(name.into()), self.text(value.into()));
        pairs
            .into_iter()
            .map(both)
            .filter(|(name, _)| !name.is_empty())
            .collect()
    }
}

/// RFC 2045 §5.2 and, within multipart/digest, RFC 2046 §5.1.5.
fn empty_part<'a>(in_digest: bool) -> Part<'a> {
    let (media_type, media_subtype): (&[u8], &[u8]) = if in_digest {
        (b"message", b"rfc822")
    } else {
        (b"text", b"plain")
    };
    Part {
        media_type: Cow::Borrowed(media_type),
        media_subtype: Cow::Borrowed(media_subtype),
        parameters: Vec::new(),
        id: None,
        description: None,
        encoding: None,
        md5: None,
        disposition: None,
        language: None,
        location: None,
        header_begin: 0,
        body_begin: 0,
        body_end: 0,
        lines: 0,
        content: Content::Leaf,
    }
}

/// RFC 2046 §5.2.1, and RFC 6532 §3.7 message/global.
fn is_message(part: &Part<'_>) -> bool {
    part.media_type.eq_ignore_ascii_case(b"message")
        && (part.media_subtype.eq_ignore_ascii_case(b"rfc822")
            || part.media_subtype.eq_ignore_ascii_case(b"global"))
}

/// The offsets of what is in an encoded part would not be the message's.
fn is_encoded(part: &Part<'_>) -> bool {
    part.encoding.as_ref().is_some_and(|encoding| {
        encoding.eq_ignore_ascii_case(b"base64")
            || encoding.eq_ignore_ascii_case(b"quoted-printable")
    })
}

/// A container that is not looked into must not look like one to the client.
fn opaque(part: &mut Part<'_>) {
    part.media_type = Cow::Borrowed(b"application");
    part.media_subtype = Cow::Borrowed(b"octet-stream");
    part.parameters = Vec::new();
}

/// A multipart whose boundary never comes is shown as the text that it most likely is.
fn without_parts(part: &mut Part<'_>) {
    part.media_type = Cow::Borrowed(b"text");
    part.media_subtype = Cow::Borrowed(b"plain");
    part.parameters = Vec::new();
}

/// RFC 2046 §5.1.1 bcharsnospace.
fn is_boundary_char(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(byte)
}

/// Line feeds in `bytes`, which is how lines are counted.
fn line_feeds(bytes: &[u8]) -> usize {
    memchr_iter(b'\n', bytes).count()
}

/// Without white space and line ends at its end.
fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = bytes {
        bytes = rest;
    }
    bytes
}

/// An offset as parts have it.
fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("`summary` cut the message to 4 GiB")
}
