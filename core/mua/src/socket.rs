//! A TCP connection whose every wait is bounded, and all of them together where there is a deadline.
//!
//! What must hold: a server that sends an octet now and then, inside of TLS too, passes no deadline. TLS reads as often as it likes until it has a record; so
//! the deadline is looked at here, below it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub struct Socket {
    stream: TcpStream,
    /// One read or write.
    within: Duration,
    until: Option<Instant>,
}

impl Socket {
    pub(crate) fn connect(server: SocketAddr, within: Duration) -> io::Result<Socket> {
        let stream = TcpStream::connect_timeout(&server, within)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(within))?;
        stream.set_write_timeout(Some(within))?;
        Ok(Socket {
            stream,
            within,
            until: None,
        })
    }

    /// From now on no wait goes on past `until`.
    pub(crate) fn end_at(&mut self, until: Instant) {
        self.until = Some(until);
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.stream.shutdown(how)
    }

    /// What one wait has, up to the deadline. `None`: there is none, and the socket has its time already.
    fn left(&self) -> io::Result<Option<Duration>> {
        let Some(until) = self.until else {
            return Ok(None);
        };
        let left = until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(Some(left.min(self.within))),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(left) = self.left()? {
            self.stream.set_read_timeout(Some(left))?;
        }
        self.stream.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(left) = self.left()? {
            self.stream.set_write_timeout(Some(left))?;
        }
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
