//! A report of TLS over HTTPS (RFC 8460 §5.4): one POST to a server whose certificate is valid, and the status of its answer.
//!
//! A domain chooses the host; its addresses may be of this network. They get a TLS handshake at the port of HTTPS, and the report follows only
//! when the certificate is one of the web for that host.

use std::net::SocketAddr;
use std::time::Duration;

use dns::Names;
use runtime::{Connection, ConnectionFault, Dial, Dialled};
use rustls::pki_types::ServerName;
use storage::owner::Ask;

use super::Reporter;

impl<K: Ask, N: Names, D: Dial> Reporter<K, N, D> {
    /// With some more tries, if no administrator waits for it: the mark that it was sent is written, and a restart ends them.
    pub(super) async fn post_patiently(
        &self,
        host: &str,
        path: &str,
        packed: &[u8],
        at_once: bool,
    ) -> Result<(), String> {
        let mut posted = self.post(host, path, packed).await;
        for pause in PAUSES {
            if posted.is_ok() || at_once {
                break;
            }
            self.host.sleep(pause).await;
            posted = self.post(host, path, packed).await;
        }
        posted
    }

    async fn post(&self, host: &str, path: &str, packed: &[u8]) -> Result<(), String> {
        let posted = self.host.within(WITHIN, self.post_once(host, path, packed));
        posted
            .await
            .unwrap_or_else(|| Err("its server took longer than a minute".to_owned()))
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
            connection = dialled.map_err(|fault| format!("{fault} ({to})"));
            if connection.is_ok() {
                break;
            }
        }
        let mut connection = connection?;
        connection.deadline(WITHIN);
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
/// RFC 8460 §5.5 asks for a day of tries; while these last no other report is made.
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
