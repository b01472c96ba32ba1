//! One GET over plain HTTP/1.1: `/readyz`, `/metrics`.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mua::stream::Stream;

use crate::limits::HTTP_BYTES_MAX;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub status: u16,
    pub body: String,
}

/// Asks for `path`, and to close afterwards.
pub fn get(server: SocketAddr, path: &str, within: Duration) -> io::Result<Page> {
    let mut stream = Stream::plain(server, within)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: ringpost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream
        .take(HTTP_BYTES_MAX as u64)
        .read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::Error::other("no HTTP answer"))
}

/// An answer whose body ends with the connection or by Content-Length; chunks are not asked for and not read.
fn parse(answer: &str) -> Option<Page> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    Some(Page {
        status,
        body: body.into(),
    })
}

/// The value of one sample: `ringpost_leg_read_faults_total{leg="0"}`, written as the page has it.
pub fn sample(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_its_status_and_body() {
        assert_eq!(
            parse("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nstopping\n"),
            Some(Page {
                status: 503,
                body: "stopping\n".into()
            })
        );
        assert_eq!(parse("220 hello\r\n\r\n"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn samples_are_found_by_their_whole_name() {
        let page = "# TYPE a gauge\na_total{leg=\"0\"} 3\na_total{leg=\"1\"} 4\nab 5\na 6\n";
        assert_eq!(sample(page, "a_total{leg=\"1\"}"), Some(4.0));
        assert_eq!(sample(page, "a"), Some(6.0));
        assert_eq!(sample(page, "c"), None);
    }
}
