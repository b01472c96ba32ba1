//! Connections to the mail of a guest.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mua::imap::Imap;
use mua::smtp::Smtp;
use mua::stream::Stream;
use mua::tls;

use crate::shape::base64;

/// Greeted. Reads and writes that take longer than `within` fail.
pub fn smtp(server: SocketAddr, within: Duration) -> io::Result<Smtp> {
    Smtp::greeted(Stream::plain(server, within)?, "harness.example.net")
}

/// Port 993: passwords are not taken without TLS from anybody but the guest itself.
pub fn imap(server: SocketAddr, user: &str, password: &str, within: Duration) -> io::Result<Imap> {
    let mut imap = Imap::over(Stream::tls(server, &tls::config()?, within)?)?;
    imap.login(user, password)?;
    Ok(imap)
}

/// The certificate that the server shows, as PEM.
pub fn certificate_pem(server: SocketAddr, within: Duration) -> io::Result<String> {
    let shown = Stream::tls(server, &tls::config()?, within)?.certificate()?;
    // RFC 7468 §3: base64 in lines of 64.
    let text = base64(&shown);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    Ok(format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    ))
}
