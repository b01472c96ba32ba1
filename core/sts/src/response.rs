//! The HTTP exchange that fetches a policy (RFC 8461 §3.3, RFC 9112): one GET, one response, and the end.
//!
//! What must hold: only a `200` with `text/plain` is taken, and nothing of it that is past its bound; no redirect is followed. A body that
//! ends before its announced length is not a policy: an attacker on the way could have shortened it.

use std::fmt;

use crate::limits::{FRAMING_BYTES_MAX, HEAD_BYTES_MAX, POLICY_BYTES_MAX};

/// The request for the policy of `domain`, a name in A-labels.
pub fn request(domain: &str) -> String {
    format!(
        "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.{domain}\r\nUser-Agent: Ringpost\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"
    )
}

/// Why there is no policy in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchFault {
    /// It is not HTTP.
    Nonsense,
    Status(u16),
    MediaType,
    TooLong,
    CutShort,
}

impl fmt::Display for FetchFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchFault::Nonsense => f.write_str("its response is not HTTP"),
            FetchFault::Status(status) => write!(f, "its status is {status} and not 200"),
            FetchFault::MediaType => f.write_str("its media type is not text/plain"),
            FetchFault::TooLong => f.write_str("its response is longer than 64 KiB"),
            FetchFault::CutShort => f.write_str("its response ended early"),
        }
    }
}

/// A response as it comes in.
#[derive(Debug, Default)]
pub struct Response {
    bytes: Vec<u8>,
    /// So much of it has no end of the head.
    searched: usize,
    /// Where the body begins, and how it ends.
    body: Option<(usize, Framing)>,
    chunks: Chunks,
}

/// The chunks that came whole so far.
#[derive(Debug, Default)]
struct Chunks {
    /// Octets of the framed body that they take.
    taken: usize,
    body: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    /// The end of the connection is its end.
    Closed,
}

impl Response {
    pub fn new() -> Response {
        Response::default()
    }

    /// The most that comes in, …
    const INPUT_BYTES_MAX: usize = HEAD_BYTES_MAX + POLICY_BYTES_MAX + FRAMING_BYTES_MAX;
    /// … and the most it holds, with the body.
    pub const BYTES_MAX: usize = Response::INPUT_BYTES_MAX + POLICY_BYTES_MAX;

    /// Takes in what came. `Some`: the body, whole; nothing that follows counts.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, FetchFault> {
        if self.bytes.len() + bytes.len() > Response::INPUT_BYTES_MAX {
            return Err(FetchFault::TooLong);
        }
        self.bytes.extend_from_slice(bytes);
        self.look(false)
    }

    /// The connection is closed.
    pub fn end(&mut self) -> Result<Vec<u8>, FetchFault> {
        self.look(true)?.ok_or(FetchFault::CutShort)
    }

    fn look(&mut self, is_end: bool) -> Result<Option<Vec<u8>>, FetchFault> {
        let (from, framing) = match self.body {
            Some(body) => body,
            None => {
                // What was searched is not searched again: a peer may send an octet at a time.
                let from = self.searched.saturating_sub(3);
                let rest = self.bytes[from..].windows(4);
                let end = rest.enumerate().find(|(_, some)| *some == b"\r\n\r\n");
                self.searched = self.bytes.len();
                let Some(end) = end.map(|(at, _)| from + at) else {
                    return match self.bytes.len() >= HEAD_BYTES_MAX + 4 {
                        true => Err(FetchFault::TooLong),
                        false => Ok(None),
                    };
                };
                if end > HEAD_BYTES_MAX {
                    return Err(FetchFault::TooLong);
                }
                let body = (end + 4, head(&self.bytes[..end])?);
                *self.body.insert(body)
            }
        };
        let body = &self.bytes[from..];
        match framing {
            Framing::Length(length) if length > POLICY_BYTES_MAX => Err(FetchFault::TooLong),
            Framing::Length(length) => Ok(body.get(..length).map(<[u8]>::to_vec)),
            Framing::Closed if body.len() > POLICY_BYTES_MAX => Err(FetchFault::TooLong),
            Framing::Closed => Ok(is_end.then(|| body.to_vec())),
            Framing::Chunked => self.chunks.take(body),
        }
    }
}

/// The status line and the fields; only what says that a policy follows, and how it is framed.
fn head(bytes: &[u8]) -> Result<Framing, FetchFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| FetchFault::Nonsense)?;
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let (version, status) = status.split_once(' ').ok_or(FetchFault::Nonsense)?;
    let code = status.get(..3).unwrap_or_default();
    let is_code = code.bytes().all(|byte| byte.is_ascii_digit()) && code.len() == 3;
    let is_end = matches!(status.as_bytes().get(3), None | Some(b' '));
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || !is_code || !is_end {
        return Err(FetchFault::Nonsense);
    }
    if code != "200" {
        return Err(FetchFault::Status(code.parse().unwrap_or(0)));
    }
    let (mut media_type, mut length, mut coding) = (None, None, None);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(FetchFault::Nonsense)?;
        let value = value.trim_matches([' ', '\t']);
        let known = match name.to_ascii_lowercase().as_str() {
            "content-type" => &mut media_type,
            "content-length" => &mut length,
            "transfer-encoding" => &mut coding,
            // A compressed policy was not asked for.
            "content-encoding" if !value.eq_ignore_ascii_case("identity") => {
                return Err(FetchFault::MediaType);
            }
            _ => continue,
        };
        // Two that differ leave open which of them somebody on the way went by (RFC 9112 §6.3).
        if known.is_some_and(|known| known != value) {
            return Err(FetchFault::Nonsense);
        }
        *known = Some(value);
    }
    let media_type = media_type.unwrap_or_default();
    let bare = media_type.split(';').next().unwrap_or_default();
    if !bare
        .trim_matches([' ', '\t'])
        .eq_ignore_ascii_case("text/plain")
    {
        return Err(FetchFault::MediaType);
    }
    match (coding, length) {
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (Some(_), _) => Err(FetchFault::Nonsense),
        (None, Some(length)) => {
            let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
            match length.parse::<usize>() {
                Ok(length) if is_number => Ok(Framing::Length(length)),
                Err(_) if is_number && !length.is_empty() => Err(FetchFault::TooLong),
                _ => Err(FetchFault::Nonsense),
            }
        }
        (None, None) => Ok(Framing::Closed),
    }
}

impl Chunks {
    /// `framed`: what came of the body (RFC 9112 §7.1). A chunk that was taken is not read again. `None`: it is not whole yet.
    fn take(&mut self, framed: &[u8]) -> Result<Option<Vec<u8>>, FetchFault> {
        loop {
            // until the last chunk, or there is no more
            let bytes = &framed[self.taken..];
            let begin = &bytes[..bytes.len().min(CHUNK_LINE_BYTES_MAX + 2)];
            let Some(end) = begin.windows(2).position(|some| some == b"\r\n") else {
                return match bytes.len() >= CHUNK_LINE_BYTES_MAX + 2 {
                    true => Err(FetchFault::Nonsense),
                    false => Ok(None),
                };
            };
            let line = &bytes[..end];
            let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let digits = std::str::from_utf8(digits).map_err(|_| FetchFault::Nonsense)?;
            let digits = digits.trim_matches([' ', '\t']);
            let is_number = (1..=8).contains(&digits.len())
                && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let count = usize::from_str_radix(digits, 16).ok().filter(|_| is_number);
            let count = count.ok_or(FetchFault::Nonsense)?;
            if count == 0 {
                // Trailers are not read: nothing in them counts.
                return Ok(Some(std::mem::take(&mut self.body)));
            }
            if self.body.len() + count > POLICY_BYTES_MAX {
                return Err(FetchFault::TooLong);
            }
            let rest = &bytes[end + 2..];
            let (Some(chunk), Some(after)) = (rest.get(..count), rest.get(count..count + 2)) else {
                return Ok(None);
            };
            if after != b"\r\n" {
                return Err(FetchFault::Nonsense);
            }
            self.body.extend_from_slice(chunk);
            self.taken += end + 2 + count + 2;
        }
    }
}

/// The line in front of a chunk, with extensions.
const CHUNK_LINE_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of `text`, as a whole and octet by octet, when the connection ends behind it.
    fn of(text: &str) -> Result<String, FetchFault> {
        let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut response = Response::new();
            for piece in pieces {
                if let Some(body) = response.take(piece)? {
                    return Ok(body);
                }
            }
            response.end()
        };
        let whole = read(&mut [text.as_bytes()].into_iter());
        if text.len() < 1_000 {
            assert_eq!(read(&mut text.as_bytes().chunks(1)), whole, "{text}");
        }
        whole.map(|body| String::from_utf8_lossy(&body).into_owned())
    }

    #[test]
    fn a_body_is_framed_in_three_ways() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbody and more",
            "HTTP/1.1 200\r\ncontent-type:TEXT/Plain; charset=utf-8\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
            "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nbody",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nbo\r\n02 ; x=y\r\ndy\r\n0\r\nT: x\r\n\r\n",
        ] {
            assert_eq!(of(text).as_deref(), Ok("body"), "{text}");
        }
    }

    /// A peer that sends octets one at a time has each chunk read once.
    #[test]
    fn chunks_that_came_whole_are_not_read_again() {
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut response = Response::new();
        assert_eq!(response.take(head.as_bytes()), Ok(None));
        for each in 1..=1_000 {
            for octet in b"2\r\nab\r\n" {
                assert_eq!(response.take(&[*octet]), Ok(None));
            }
            let chunks = &response.chunks;
            assert_eq!((chunks.taken, chunks.body.len()), (7 * each, 2 * each));
        }
        let body = response
            .take(b"0\r\n")
            .map(|body| body.map(|body| body.len()));
        assert_eq!(body, Ok(Some(2_000)));
        let line = |bytes: usize| {
            let mut chunks = Chunks::default();
            let line = format!("1;{}\r\nx\r\n0\r\n", "y".repeat(bytes - 2));
            chunks.take(line.as_bytes())
        };
        assert_eq!(line(CHUNK_LINE_BYTES_MAX), Ok(Some(b"x".to_vec())));
        assert_eq!(line(CHUNK_LINE_BYTES_MAX + 1), Err(FetchFault::Nonsense));
    }

    #[test]
    fn nothing_but_200_and_plain_text_is_taken() {
        for (text, wanted) in [
            ("", FetchFault::CutShort),
            ("HTTP/1.1 200 OK\r\n", FetchFault::CutShort),
            ("220 mx ESMTP\r\n\r\n", FetchFault::Nonsense),
            ("HTTP/2 200 OK\r\n\r\n", FetchFault::Nonsense),
            ("HTTP/1.1 2000 OK\r\n\r\n", FetchFault::Nonsense),
            ("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", FetchFault::Nonsense),
            (
                "HTTP/1.1 301 Moved\r\nLocation: https://evil.example/\r\n\r\n",
                FetchFault::Status(301),
            ),
            ("HTTP/1.1 404 No\r\n\r\n", FetchFault::Status(404)),
            ("HTTP/1.1 206 Part\r\n\r\n", FetchFault::Status(206)),
            ("HTTP/1.1 200 OK\r\n\r\nbody", FetchFault::MediaType),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nbody",
                FetchFault::MediaType,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/plainer\r\n\r\nbody",
                FetchFault::MediaType,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n\r\nbody",
                FetchFault::MediaType,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nbody",
                FetchFault::CutShort,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
                FetchFault::Nonsense,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: +4\r\n\r\nbody",
                FetchFault::Nonsense,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 99999999999999999999999\r\n\r\nbody",
                FetchFault::TooLong,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
                FetchFault::Nonsense,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
                FetchFault::CutShort,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbody\r\n",
                FetchFault::Nonsense,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
                FetchFault::TooLong,
            ),
        ] {
            assert_eq!(of(text), Err(wanted), "{text}");
        }
    }

    #[test]
    fn an_octet_past_64_kib_is_too_many_in_each_framing() {
        let full = "x".repeat(POLICY_BYTES_MAX);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
        let length = |body: &str| format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let closed = |body: &str| format!("{head}\r\n{body}");
        let chunks = |body: &str| {
            let coding = "Transfer-Encoding: chunked";
            format!(
                "{head}{coding}\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                body.len()
            )
        };
        for text in [length(&full), closed(&full), chunks(&full)] {
            assert_eq!(of(&text).map(|body| body.len()), Ok(POLICY_BYTES_MAX));
        }
        let more = full + "x";
        for text in [length(&more), closed(&more), chunks(&more)] {
            assert_eq!(of(&text), Err(FetchFault::TooLong));
        }
        let endless = format!("{head}{}", "X: y\r\n".repeat(20_000));
        assert_eq!(of(&endless), Err(FetchFault::TooLong));
    }
}
