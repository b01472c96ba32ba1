//! One HTTP/1.1 reply (RFC 9112), as far as a client needs it that sends one request on a connection.
//!
//! A reply has a Content-Length or ends with the connection. Chunks are not asked for (`Connection: close`), and are nonsense here.

use crate::Fault;
use crate::limits::*;

/// The head of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// Where the body begins.
    pub bytes: usize,
    /// `None`: the body ends with the connection.
    pub body_bytes: Option<usize>,
}

impl Head {
    /// Of what was received; `None`: there is more to come.
    pub fn parse(input: &[u8]) -> Result<Option<Head>, Fault> {
        let mut fields = [httparse::EMPTY_HEADER; HTTP_FIELDS_MAX];
        let mut reply = httparse::Response::new(&mut fields);
        let begin = &input[..input.len().min(HTTP_HEAD_BYTES_MAX)];
        let bytes = match reply.parse(begin) {
            Ok(httparse::Status::Complete(bytes)) => bytes,
            Ok(httparse::Status::Partial) if input.len() < HTTP_HEAD_BYTES_MAX => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(Fault::TooLong),
            Err(_) => return Err(Fault::Nonsense("HTTP")),
        };
        let mut body_bytes = None;
        for field in reply.headers.iter() {
            if field.name.eq_ignore_ascii_case("transfer-encoding")
                || field.name.eq_ignore_ascii_case("content-encoding")
            {
                return Err(Fault::Nonsense("transfer or content encoding"));
            }
            if field.name.eq_ignore_ascii_case("content-length") {
                let length = body_length(field.value)?;
                if body_bytes.is_some_and(|before| before != length) {
                    return Err(Fault::Nonsense("two lengths"));
                }
                body_bytes = Some(length);
            }
        }
        Ok(Some(Head {
            status: reply.code.unwrap_or(0),
            bytes,
            body_bytes,
        }))
    }
}

/// RFC 9110 §8.6.
fn body_length(value: &[u8]) -> Result<usize, Fault> {
    let text = std::str::from_utf8(value).unwrap_or("").trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::Nonsense("length"));
    }
    match text.parse() {
        Ok(bytes) if bytes <= REPLY_BYTES_MAX => Ok(bytes),
        _ => Err(Fault::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let whole = b"HTTP/1.1 200 OK\r\nServer: rspamd/3.4\r\nContent-Length: 2\r\n\r\n{}";
        for bytes in 0..whole.len() - 2 {
            assert_eq!(Head::parse(&whole[..bytes]), Ok(None), "{bytes}");
        }
        let head = Head::parse(whole).expect("well-formed").expect("whole");
        assert_eq!((head.status, head.body_bytes), (200, Some(2)));
        assert_eq!(&whole[head.bytes..], b"{}");
        let open = Head::parse(b"HTTP/1.0 500 no\r\n\r\n").expect("well-formed");
        assert_eq!(open.expect("whole").body_bytes, None);
    }

    #[test]
    fn what_is_not_a_reply_or_has_no_bound_is_a_fault() {
        for (input, fault) in [
            ("SSH-2.0-OpenSSH\r\n\r\n", Fault::Nonsense("HTTP")),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                Fault::Nonsense("length"),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                Fault::TooLong,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                Fault::Nonsense("two lengths"),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                Fault::Nonsense("transfer or content encoding"),
            ),
        ] {
            assert_eq!(Head::parse(input.as_bytes()), Err(fault), "{input}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(64 * 1_024));
        assert_eq!(Head::parse(endless.as_bytes()), Err(Fault::TooLong));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(65));
        assert_eq!(Head::parse(many.as_bytes()), Err(Fault::Nonsense("HTTP")));
    }
}
