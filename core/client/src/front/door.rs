//! The storage node's door for fronts: after the handshake, which proved the front's certificate, one line says whose session it is; then the session of that
//! protocol runs as for a client that came directly.
//!
//! What must hold: nothing is served before the line; the session sees the client's address and its TLS, and offers neither STARTTLS nor a binding, because the
//! TLS here is the front's.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use runtime::{Accepted, Connection, ConnectionFault, SessionHost, TlsFacts};

use super::limits::{PREFACE_BYTES_MAX, PREFACE_MAX};
use super::preface::{BANNED, For, LATER, Offered, READY, Wanted};
use crate::login::audit::Protocol;

/// What this node's sessions offer.
#[derive(Debug, Clone)]
pub struct Offer {
    pub scram: bool,
    pub message_bytes_max: u64,
}

/// Serves fronts on one core.
#[derive(Clone)]
pub struct Door {
    host: SessionHost,
    offer: Arc<str>,
    /// Whether an address may log in at all now.
    lets_in: Rc<dyn Fn(IpAddr) -> bool>,
}

/// A front's connection, as the client's.
pub struct Fronted<C> {
    inner: C,
    tls: TlsFacts,
}

impl Door {
    pub fn new(host: SessionHost, offer: Offer, lets_in: Rc<dyn Fn(IpAddr) -> bool>) -> Door {
        let offered = Offered {
            scram: offer.scram,
            message_bytes_max: offer.message_bytes_max,
            sieve: sieve::capability_names().map(str::to_owned).collect(),
        };
        Door {
            host,
            offer: offered.line().into(),
            lets_in,
        }
    }

    /// Whose session the front wants; the connection speaks for that client from then on. `None`: it was answered, or it is gone.
    pub async fn admit<C: Accepted>(&self, mut connection: C) -> Option<(Protocol, Fronted<C>)> {
        connection.deadline(PREFACE_MAX);
        let asked = self.host.within(PREFACE_MAX, self.ask(&mut connection));
        let session = match asked.await {
            Some(Ok(Some(session))) => session,
            Some(Ok(None)) => {
                connection.close().await;
                return None;
            }
            Some(Err(fault)) => {
                tracing::debug!(peer = %connection.peer(), %fault, "a front broke off");
                return None;
            }
            None => return None,
        };
        // One family for one address, as the listener has it.
        let client = SocketAddr::new(session.client.ip().to_canonical(), session.client.port());
        connection.speaks_for(client);
        let tls = TlsFacts {
            version: session.tls.unwrap_or("none"),
            cipher: String::new(),
            server_name: None,
            exporter: None,
            client_certificate: None,
        };
        let inner = connection;
        Some((session.protocol, Fronted { inner, tls }))
    }

    /// `None`: nothing more is wanted.
    async fn ask(&self, connection: &mut impl Accepted) -> Result<Option<For>, ConnectionFault> {
        let mut input = Vec::new();
        loop {
            // until a session is wanted, or nothing more; `PREFACE_MAX` is for all of it
            let Some(end) = memchr::memmem::find(&input, b"\r\n") else {
                if input.len() > PREFACE_BYTES_MAX {
                    return Ok(None);
                }
                connection.receive(&mut input).await?;
                continue;
            };
            let line: Vec<u8> = input.drain(..end + 2).take(end).collect();
            match Wanted::parse(&line) {
                Some(Wanted::Offer) => connection.send(self.offer.as_bytes()).await?,
                Some(Wanted::Session(session)) => {
                    if !(self.lets_in)(session.client.ip().to_canonical()) {
                        connection.send(BANNED).await?;
                        return Ok(None);
                    }
                    // A front says nothing more before the answer.
                    if !input.is_empty() {
                        connection.send(LATER).await?;
                        return Ok(None);
                    }
                    connection.send(READY).await?;
                    return Ok(Some(session));
                }
                None => {
                    connection.send(LATER).await?;
                    return Ok(None);
                }
            }
        }
    }
}

impl<C: Connection> Connection for Fronted<C> {
    fn peer(&self) -> SocketAddr {
        self.inner.peer()
    }

    fn local(&self) -> SocketAddr {
        self.inner.local()
    }

    fn tls(&self) -> Option<&TlsFacts> {
        Some(&self.tls)
    }

    fn deadline(&mut self, span: Duration) {
        self.inner.deadline(span);
    }

    async fn receive(&mut self, into: &mut Vec<u8>) -> Result<usize, ConnectionFault> {
        self.inner.receive(into).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectionFault> {
        self.inner.send(bytes).await
    }

    async fn close(self) {
        self.inner.close().await;
    }
}

impl<C: Accepted> Accepted for Fronted<C> {
    fn speaks_for(&mut self, client: SocketAddr) {
        self.inner.speaks_for(client);
    }

    /// The TLS here is the front's, and the session offers no other.
    async fn start_tls(
        &mut self,
        _config: &Arc<rustls::ServerConfig>,
    ) -> Result<(), ConnectionFault> {
        Err(ConnectionFault::Tls)
    }
}
