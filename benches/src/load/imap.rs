//! A small blocking IMAP client: what the bench needs, over plain or TLS sockets, literals skipped at full speed.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mua::stream::Stream;
use rustls::ClientConfig;

/// Large, because bodies are read at full speed.
const BUFFER_BYTES: usize = 256 * 1_024;
/// An idle connection needs no more, and there are a thousand of them.
const IDLE_BUFFER_BYTES: usize = 1_024;
/// A server silent for so long counts as broken.
const REPLY_WITHIN: Duration = Duration::from_secs(120);

/// A connection, and the number of the last command.
pub struct Imap {
    reader: BufReader<Stream>,
    tag: u32,
}

/// What a FETCH brought.
#[derive(Debug, Default, Clone, Copy)]
pub struct Fetched {
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

impl Imap {
    /// Connects and reads the greeting.
    pub fn connect(server: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Imap> {
        Imap::connect_with(server, tls, BUFFER_BYTES)
    }

    /// For connections that will only wait.
    pub fn connect_small(server: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Imap> {
        Imap::connect_with(server, tls, IDLE_BUFFER_BYTES)
    }

    /// As `connect`, with a buffer of this size.
    fn connect_with(
        server: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        buffer_bytes: usize,
    ) -> io::Result<Imap> {
        let stream = match tls {
            Some(config) => Stream::tls(server, config, REPLY_WITHIN)?,
            None => Stream::plain(server, REPLY_WITHIN)?,
        };
        let mut imap = Imap {
            reader: BufReader::with_capacity(buffer_bytes, stream),
            tag: 0,
        };
        let greeting = imap.line()?;
        if !greeting.starts_with("* OK") {
            return Err(io::Error::other(format!("greeting: {greeting}")));
        }
        Ok(imap)
    }

    pub fn login(&mut self, user: &str, password: &str) -> io::Result<()> {
        self.command(&format!("LOGIN \"{user}\" \"{password}\""), |_| ())
            .map(|_| ())
    }

    /// Returns how many messages the mailbox holds.
    pub fn select(&mut self, mailbox: &str) -> io::Result<u64> {
        let mut exists = 0;
        self.command(&format!("SELECT \"{mailbox}\""), |line| {
            if let Some(count) = line
                .strip_prefix("* ")
                .and_then(|rest| rest.strip_suffix(" EXISTS"))
            {
                exists = count.parse().unwrap_or(0);
            }
        })?;
        Ok(exists)
    }

    /// Messages in a mailbox that is not selected.
    pub fn status(&mut self, mailbox: &str) -> io::Result<u64> {
        let mut count = None;
        self.command(&format!("STATUS \"{mailbox}\" (MESSAGES)"), |line| {
            let number = line
                .split_once("(MESSAGES ")
                .and_then(|(_, rest)| rest.split([')', ' ']).next());
            count = count.or(number.and_then(|number| number.parse().ok()));
        })?;
        count.ok_or_else(|| io::Error::other("STATUS returned no MESSAGES"))
    }

    /// `FETCH set items`, bodies read and thrown away.
    pub fn fetch(&mut self, set: &str, items: &str) -> io::Result<Fetched> {
        let mut fetched = Fetched::default();
        fetched.bytes = self.command(&format!("FETCH {set} {items}"), |line| {
            fetched.messages += u64::from(line.starts_with("* ") && line.contains(" FETCH "));
        })?;
        Ok(fetched)
    }

    /// Any command; its untagged lines are thrown away.
    pub fn run(&mut self, command: &str) -> io::Result<()> {
        self.command(command, |_| ()).map(drop)
    }

    /// Enters IDLE (RFC 2177) and returns when the server waits with us.
    pub fn idle(&mut self) -> io::Result<()> {
        let tag = self.send("IDLE")?;
        loop {
            // Until the continuation; the read time-out bounds it.
            let line = self.line()?;
            if line.starts_with('+') {
                return Ok(());
            }
            if line.starts_with(&tag) {
                return Err(io::Error::other(line));
            }
        }
    }

    /// Sends a command and reads to its tagged OK; `on_line` sees every untagged line (without literals). Returns the
    /// bytes of literals read.
    fn command(&mut self, text: &str, mut on_line: impl FnMut(&str)) -> io::Result<u64> {
        let tag = self.send(text)?;
        let mut bytes = 0;
        loop {
            // Until the tagged line; the read time-out bounds it.
            let line = self.line()?;
            if let Some(rest) = line.strip_prefix(&tag) {
                let fine = rest.trim_start().to_ascii_uppercase().starts_with("OK");
                let verb = text.split(' ').next().unwrap_or("");
                return if fine {
                    Ok(bytes)
                } else {
                    Err(io::Error::other(format!("{verb}: {line}")))
                };
            }
            on_line(&line);
            if let Some(size) = literal_size(&line) {
                self.skip(size)?;
                bytes += size;
            }
        }
    }

    /// Sends a command and returns its tag.
    fn send(&mut self, text: &str) -> io::Result<String> {
        self.tag += 1;
        let tag = format!("a{} ", self.tag);
        let stream = self.reader.get_mut();
        stream.write_all(format!("{tag}{text}\r\n").as_bytes())?;
        stream.flush()?;
        Ok(tag)
    }

    /// One line without its end.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::with_capacity(128);
        if self.reader.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line)
            .trim_end_matches(['\r', '\n'])
            .to_string())
    }

    /// Reads a literal and throws it away.
    fn skip(&mut self, size: u64) -> io::Result<()> {
        let mut left = size as usize;
        while left > 0 {
            let there = self.reader.fill_buf()?.len();
            if there == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let taken = there.min(left);
            self.reader.consume(taken);
            left -= taken;
        }
        Ok(())
    }
}

/// The size at the end of a line that announces a literal: `{123}` or, in either direction, `{123+}`.
fn literal_size(line: &str) -> Option<u64> {
    let (_, size) = line.strip_suffix('}')?.rsplit_once('{')?;
    size.trim_end_matches('+').parse().ok()
}

/// Fetches every message of a mailbox once over each of `sessions` connections, `at_once` messages a command.
/// Returns messages and bytes of all sessions and the time from the first command to the last reply.
pub fn fetch_all(
    server: SocketAddr,
    user: &str,
    password: &str,
    sessions: usize,
    at_once: u64,
) -> io::Result<(Fetched, Duration)> {
    let mut open = Vec::new();
    for _ in 0..sessions {
        let mut imap = Imap::connect(server, None)?;
        imap.login(user, password)?;
        let exists = imap.select("INBOX")?;
        open.push((imap, exists));
    }
    let begin = Instant::now();
    let workers: Vec<_> = open
        .into_iter()
        .map(|(mut imap, exists)| {
            std::thread::spawn(move || {
                let mut total = Fetched::default();
                let mut first = 1;
                while first <= exists {
                    let last = (first + at_once - 1).min(exists);
                    let fetched = imap.fetch(&format!("{first}:{last}"), "(UID BODY.PEEK[])")?;
                    total.messages += fetched.messages;
                    total.bytes += fetched.bytes;
                    first = last + 1;
                }
                Ok::<Fetched, io::Error>(total)
            })
        })
        .collect();
    let mut total = Fetched::default();
    for worker in workers {
        let fetched = worker
            .join()
            .map_err(|_| io::Error::other("a reader stopped"))??;
        total.messages += fetched.messages;
        total.bytes += fetched.bytes;
    }
    Ok((total, begin.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::literal_size;

    #[test]
    fn literals_are_announced_at_the_end_of_a_line() {
        assert_eq!(literal_size("* 1 FETCH (BODY[] {42}"), Some(42));
        assert_eq!(literal_size("* 1 FETCH (FLAGS ())"), None);
        assert_eq!(literal_size("x {7+}"), Some(7));
    }
}
