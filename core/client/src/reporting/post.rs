//! A report of TLS over HTTPS (RFC 8460 §5.4): one POST to a server whose certificate is valid, and the status of its answer.
//!
//! A domain chooses the host; its addresses may be of this network. They get a TLS handshake at the port of HTTPS, and the report follows only
//! when the certificate is one of the web for that host.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dns::Names;
use runtime::{Connection, ConnectionFault, Dial, Dialled};
use rustls::pki_types::ServerName;
use storage::owner::Ask;
use tokio::sync::Notify;

use super::{LOOK_EVERY, Reporter};

/// A report for a web server.
pub(super) struct Post {
    host: String,
    path: String,
    packed: Vec<u8>,
    tries: usize,
    /// When it is tried, on the clock that does not go back.
    at_us: u64,
}

/// Those that wait.
#[derive(Default)]
pub(super) struct Posts {
    waiting: RefCell<VecDeque<Post>>,
    bell: Notify,
}

impl Post {
    pub(super) fn new(host: String, path: String, packed: Vec<u8>) -> Post {
        Post {
            host,
            path,
            packed,
            tries: 0,
            at_us: 0,
        }
    }
}

impl Posts {
    /// `Err`: why it does not wait.
    pub(super) fn put(&self, post: Post) -> Result<(), String> {
        let mut waiting = self.waiting.borrow_mut();
        let bytes: usize = waiting.iter().map(|one| one.packed.len()).sum();
        if waiting.len() >= POSTS_MAX || bytes + post.packed.len() > POSTS_BYTES_MAX {
            return Err(format!("https://{}: too many reports wait", post.host));
        }
        waiting.push_back(post);
        self.bell.notify_one();
        Ok(())
    }

    /// The first that is due and not the first in the queue: one that pauses for twenty minutes holds up none behind it.
    fn due(&self, now_us: u64) -> Option<Post> {
        let mut waiting = self.waiting.borrow_mut();
        let at = waiting.iter().position(|post| post.at_us <= now_us)?;
        waiting.remove(at)
    }
}

impl<K: Ask, N: Names, D: Dial> Reporter<K, N, D> {
    /// Posts what waits, one at a time, until the reporter ends. The mark that it was sent is written: a restart ends the tries.
    pub(super) async fn post_all(&self) {
        loop {
            // until the stop
            let Some(mut post) = self.posts.due(self.host.now().0) else {
                tokio::select! {
                    () = self.posts.bell.notified() => {}
                    () = self.host.sleep(LOOK_EVERY) => {}
                }
                continue;
            };
            // Taken. There is nothing to write about it: the sheet was closed before.
            let Err(mut why) = self.post(&post).await else {
                continue;
            };
            if let Some(pause) = PAUSES.get(post.tries) {
                post.tries += 1;
                post.at_us = self.host.now().0 + pause.as_micros() as u64;
                match self.posts.put(post) {
                    Ok(()) => continue,
                    Err(full) => why = full,
                }
            }
            self.tallies.figures().failed.fetch_add(1, Relaxed);
            tracing::info!(why, "a report is not taken");
        }
    }

    pub(super) async fn post(&self, post: &Post) -> Result<(), String> {
        let Post { host, path, .. } = post;
        let posted = self
            .host
            .within(WITHIN, self.post_once(host, path, &post.packed));
        let posted = posted
            .await
            .unwrap_or_else(|| Err("its server took longer than a minute".to_owned()));
        posted.map_err(|fault| format!("https://{host}: {fault}"))
    }

    async fn post_once(&self, host: &str, path: &str, packed: &[u8]) -> Result<(), String> {
        let server = ServerName::try_from(host.to_owned());
        let server = server.map_err(|_| format!("{host} is not a name"))?;
        let addresses = self.names.addresses(host).await;
        let addresses = addresses.map_err(|fault| fault.to_string())?;
        let mut connection = Err(format!("{host} has no address"));
        for address in addresses.into_iter().take(ADDRESSES) {
            let to = SocketAddr::new(address, self.settings.port);
            let dialled = self.dial.dial(to, CONNECT).await;
            // Refused and unreachable addresses are passed over; the deadline of the whole post bounds their sum.
            connection = dialled.map_err(|fault| format!("{fault} ({to})"));
            if connection.is_ok() {
                break;
            }
        }
        let mut connection = connection?;
        connection.deadline(WITHIN);
        // The handshake itself takes any certificate, and `judge` looks at it afterwards: so a flaw can be named in the answer.
        let config = crate::relay::tls::opportunistic();
        if connection.secure(&config, &server).await.is_err() {
            let why = connection.tls_trouble().unwrap_or("TLS failed");
            return Err(why.chars().take(200).collect());
        }
        let shown = connection.certificates();
        let judged = self
            .settings
            .authorities
            .judge(shown, &server, self.host.unix_seconds());
        judged.map_err(|flaw| flaw.words().to_owned())?;
        let mut request = head(host, path, packed.len()).into_bytes();
        request.extend_from_slice(packed);
        let sent = connection.send(&request).await;
        sent.map_err(|fault| fault.to_string())?;
        let (mut answer, mut input) = (Vec::new(), Vec::new());
        loop {
            // until the status line is there; bounded by its size and the deadline
            match connection.receive(&mut input).await {
                Ok(_) => answer.append(&mut input),
                Err(ConnectionFault::Closed) => return Err("it gave no answer".to_owned()),
                Err(fault) => return Err(fault.to_string()),
            }
            if let Some(status) = status(&answer) {
                return match status {
                    200..=299 => Ok(()),
                    status => Err(format!("its status is {status}")),
                };
            }
            if answer.len() > STATUS_BYTES_MAX {
                return Err("its response is not HTTP".to_owned());
            }
        }
    }
}

fn head(host: &str, path: &str, bytes: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Ringpost\r\nContent-Type: application/tlsrpt+gzip\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n"
    )
}

/// Of the first line, once it is whole. Anything that is not HTTP has the status 0.
fn status(answer: &[u8]) -> Option<u16> {
    let end = memchr::memchr(b'\n', answer)?;
    let line = std::str::from_utf8(&answer[..end]).unwrap_or_default();
    let of = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    Some(of.and_then(|code| code.parse().ok()).unwrap_or(0))
}

const ADDRESSES: usize = 4;
const CONNECT: Duration = Duration::from_secs(20);
const WITHIN: Duration = Duration::from_secs(60);
/// Reports that wait for web servers. A stranger chooses how many there are, and servers that take a minute each: what is beyond is not posted.
const POSTS_MAX: usize = 64;
const POSTS_BYTES_MAX: usize = 512 << 10;
/// RFC 8460 §5.5 asks for a day of tries; each takes a place among few.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(1_200),
];
const STATUS_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_reports_wait_and_each_for_its_time() {
        let post = |at_us: u64, bytes: usize| Post {
            at_us,
            ..Post::new("a.example".to_owned(), "/".to_owned(), vec![0; bytes])
        };
        let posts = Posts::default();
        assert_eq!(posts.put(post(9, 1)), Ok(()));
        assert_eq!(posts.put(post(5, POSTS_BYTES_MAX - 1)), Ok(()));
        assert!(posts.put(post(0, 1)).is_err(), "bytes");
        assert!(posts.due(4).is_none());
        assert_eq!(posts.due(9).map(|post| post.at_us), Some(9));
        assert_eq!(posts.due(9).map(|post| post.at_us), Some(5));
        let taken = (0..POSTS_MAX + 3).filter(|_| posts.put(post(0, 1)).is_ok());
        assert_eq!(taken.count(), POSTS_MAX);
    }

    #[test]
    fn the_first_line_says_whether_a_report_was_taken() {
        for (answer, wanted) in [
            ("HTTP/1.1 201 Created\r\nX: y\r\n", Some(201)),
            ("HTTP/1.0 500 no\r\n", Some(500)),
            ("HTTP/1.1 20", None),
            ("220 mx ESMTP\r\n", Some(0)),
            ("HTTP/1.1 \u{e9}\n", Some(0)),
            ("", None),
        ] {
            assert_eq!(status(answer.as_bytes()), wanted, "{answer}");
        }
        let head = head("a.example", "/x?y", 12);
        assert!(head.starts_with("POST /x?y HTTP/1.1\r\nHost: a.example\r\n"));
        assert!(head.contains("\r\nContent-Length: 12\r\n") && head.ends_with("\r\n\r\n"));
    }
}
