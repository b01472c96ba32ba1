//! Connections to the daemon's mail.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mua::imap::Imap;
use mua::smtp::Smtp;
use mua::stream::Stream;

const REPLY_WITHIN: Duration = Duration::from_secs(60);

/// Greeted.
pub fn smtp(server: SocketAddr) -> io::Result<Smtp> {
    let stream = Stream::plain(server, REPLY_WITHIN)?;
    Smtp::greeted(stream, "client.example.net")
}

/// Logged in.
pub fn imap(server: SocketAddr, user: &str, password: &str) -> io::Result<Imap> {
    let mut imap = Imap::over(Stream::plain(server, REPLY_WITHIN)?)?;
    imap.login(user, password)?;
    Ok(imap)
}
