//! rustls as a pure machine over our own buffers: bytes from the socket in, plaintext and bytes for the socket out.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, Connection, ServerConnection};

/// What TLS agreed on, for trace fields and policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    pub cipher: String,
    /// The name that the client asked for (SNI).
    pub server_name: Option<String>,
    /// What a login can be bound to (RFC 9266); `None` below TLS 1.3, where it would need more than the version to be safe.
    pub exporter: Option<[u8; 32]>,
    /// The client's own certificate (DER), which the configuration asked for and has checked; `None`: it has shown none, or we are the client.
    pub client_certificate: Option<Vec<u8>>,
}

/// TLS failed, and why; an alert may wait to be sent.
#[derive(Debug)]
pub(crate) struct TlsBroken(pub(crate) String);

impl<E: std::error::Error> From<E> for TlsBroken {
    fn from(error: E) -> TlsBroken {
        TlsBroken(error.to_string())
    }
}

pub(crate) struct Tls {
    session: Connection,
    /// The name that we asked for, as client.
    asked: Option<String>,
    /// Plaintext that came with the handshake's last flight; at most one read's worth.
    rest: Vec<u8>,
    /// The peer sent close_notify: it sends nothing more, but may still read.
    pub(crate) peer_ended: bool,
    pub(crate) facts: Option<TlsFacts>,
}

impl Tls {
    /// Our side of a connection that the peer opened.
    pub(crate) fn server(config: &Arc<rustls::ServerConfig>) -> Result<Tls, TlsBroken> {
        let session = ServerConnection::new(config.clone())?;
        Ok(Tls::of(session.into()))
    }

    /// Our side of a connection that we opened. The first flight waits for `take_wire`.
    pub(crate) fn client(
        config: &Arc<rustls::ClientConfig>,
        name: &ServerName<'static>,
    ) -> Result<Tls, TlsBroken> {
        let session = ClientConnection::new(config.clone(), name.clone())?;
        let mut tls = Tls::of(session.into());
        if let ServerName::DnsName(name) = name {
            tls.asked = Some(name.as_ref().to_owned());
        }
        Ok(tls)
    }

    fn of(mut session: Connection) -> Tls {
        session.set_buffer_limit(None); // the bound on what waits inside is ours (`WRITE_BYTES_MAX`)
        Tls {
            session,
            asked: None,
            rest: Vec::new(),
            peer_ended: false,
            facts: None,
        }
    }

    /// Takes in what the socket gave; appends the plaintext that became readable to `plain` and says how much.
    pub(crate) fn feed(
        &mut self,
        mut wire: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<usize, TlsBroken> {
        let mut count = 0;
        while !wire.is_empty() {
            let took = self.session.read_tls(&mut wire)?;
            let state = self.session.process_new_packets()?;
            self.peer_ended |= state.peer_has_closed();
            count += self.take(state.plaintext_bytes_to_read(), plain)?;
            if took == 0 {
                // The peer sent close_notify: what follows must not be read.
                break;
            }
        }
        Ok(count)
    }

    /// Plaintext that came with the handshake's last flight.
    pub(crate) fn take_rest(&mut self, plain: &mut Vec<u8>) -> usize {
        let rest = std::mem::take(&mut self.rest);
        plain.extend_from_slice(&rest);
        rest.len()
    }

    /// As `feed` during the handshake: plaintext stays inside for `take_rest`. Says whether the handshake is over.
    pub(crate) fn feed_handshake(&mut self, wire: &[u8]) -> Result<bool, TlsBroken> {
        let mut rest = std::mem::take(&mut self.rest);
        let fed = self.feed(wire, &mut rest);
        self.rest = rest;
        fed?;
        if self.session.is_handshaking() {
            return Ok(false);
        }
        self.facts = Some(self.agreed());
        Ok(true)
    }

    fn take(&mut self, bytes: usize, plain: &mut Vec<u8>) -> Result<usize, TlsBroken> {
        if bytes > 0 {
            let begin = plain.len();
            plain.resize(begin + bytes, 0);
            self.session.reader().read_exact(&mut plain[begin..])?;
        }
        Ok(bytes)
    }

    /// Encrypts `plain`; the records wait for `take_wire`.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Result<(), TlsBroken> {
        Ok(self.session.writer().write_all(plain)?)
    }

    /// What the other end showed, its own first.
    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        self.session.peer_certificates().unwrap_or_default()
    }

    pub(crate) fn say_goodbye(&mut self) {
        self.session.send_close_notify();
    }

    /// Everything that waits to go out to the socket.
    pub(crate) fn take_wire(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.session.wants_write() {
            match self.session.write_tls(&mut wire) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    // Writing into memory does not fail.
                    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
                }
            }
        }
        wire
    }

    fn exporter(&self) -> Option<[u8; 32]> {
        let (label, context) = (b"EXPORTER-Channel-Binding", Some(&b""[..]));
        let exported = match &self.session {
            Connection::Client(session) => session.export_keying_material([0; 32], label, context),
            Connection::Server(session) => session.export_keying_material([0; 32], label, context),
        };
        exported.ok()
    }

    fn agreed(&self) -> TlsFacts {
        let version = match self.session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLS",
        };
        let cipher = match self.session.negotiated_cipher_suite() {
            Some(suite) => format!("{:?}", suite.suite()),
            None => String::new(),
        };
        let exporter = match version {
            "TLSv1.3" => self.exporter(),
            _ => None,
        };
        TlsFacts {
            version,
            exporter,
            cipher,
            client_certificate: match &self.session {
                Connection::Client(_) => None,
                Connection::Server(_) => self.certificates().first().map(|one| one.to_vec()),
            },
            server_name: match &self.session {
                Connection::Client(_) => self.asked.clone(),
                Connection::Server(session) => session.server_name().map(str::to_owned),
            },
        }
    }
}
