//! A connection with or without TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::socket::Socket;

pub enum Stream {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Stream {
    /// Connecting, and each read and write, fails after `within`.
    pub fn plain(server: SocketAddr, within: Duration) -> io::Result<Stream> {
        Socket::connect(server, within).map(Stream::Plain)
    }

    /// From now on no read and no write goes on past `until`, whatever the server sends meanwhile.
    pub fn end_at(&mut self, until: Instant) {
        match self {
            Stream::Plain(socket) => socket.end_at(until),
            Stream::Tls(stream) => stream.sock.end_at(until),
        }
    }

    /// The first address of `host` that takes a connection.
    pub fn connect(host: &str, port: u16, within: Duration) -> io::Result<Stream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for server in (host, port).to_socket_addrs()? {
            match Stream::plain(server, within) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// TLS from now on with the server of this name, which its certificate must have. `InvalidInput`: it is TLS already, or this is not a name.
    pub fn secure_as(self, config: &Arc<ClientConfig>, host: &str) -> io::Result<Stream> {
        let Stream::Plain(stream) = self else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, stream);
        while stream.conn.is_handshaking() {
            // until it is done; each turn is bounded by the stream's time
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// TLS from the first byte. The handshake is done with the first read or write.
    pub fn tls(
        server: SocketAddr,
        config: &Arc<ClientConfig>,
        within: Duration,
    ) -> io::Result<Stream> {
        Stream::plain(server, within)?.secure(config)
    }

    /// TLS from now on, after STARTTLS. The server is named by its address, so no name is sent. `InvalidInput`: it is TLS already.
    pub fn secure(self, config: &Arc<ClientConfig>) -> io::Result<Stream> {
        let Stream::Plain(stream) = self else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let name = ServerName::from(stream.peer_addr()?.ip());
        let session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(session, stream))))
    }

    /// The certificate that the server shows (DER), once the handshake is done. `InvalidInput`: there is no TLS.
    pub fn certificate(&mut self) -> io::Result<Vec<u8>> {
        let Stream::Tls(stream) = self else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let shown = stream.conn.peer_certificates().and_then(<[_]>::first);
        let shown = shown.ok_or_else(|| io::Error::other("the server shows no certificate"))?;
        Ok(shown.to_vec())
    }

    /// Ends our half: the server sees the end of input and can still answer.
    pub fn half_close(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.shutdown(Shutdown::Write),
            Stream::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush()?;
                stream.sock.shutdown(Shutdown::Write)
            }
        }
    }

    /// Appends what comes next. `UnexpectedEof`: the server closed the connection.
    pub(crate) fn read_more(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        let mut buffer = [0; crate::limits::READ_BYTES];
        match self.read(&mut buffer)? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection was closed",
            )),
            count => {
                input.extend_from_slice(&buffer[..count]);
                Ok(())
            }
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.flush()
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}
