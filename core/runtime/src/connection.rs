//! What a session needs of the connection it serves: bytes in, bytes out, a deadline on every wait.
//!
//! `tcp.rs` is the connection of the appliance, `memory.rs` its twin without a socket, on a host's clock. Sessions are written for
//! the trait, so that the simulator and tests run the sessions that are shipped. A server's session needs an `Accepted` one, a sender's
//! a `Dialled` one: they differ in which side of TLS is ours.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};

use crate::tls::TlsFacts;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionFault {
    /// The peer closed or reset it.
    #[error("the peer is gone")]
    Closed,
    /// The deadline set by `deadline` passed. If the wait was for bytes (`receive`), the last words can still be sent (421, BYE).
    #[error("the peer was silent too long")]
    TimedOut,
    /// TLS failed; the connection can only be dropped.
    #[error("TLS failed")]
    Tls,
    /// The appliance is stopping and the peer is silent: say so (421, BYE) and close.
    #[error("the appliance is stopping")]
    Stopping,
}

/// One connection, with or without TLS.
///
/// What must hold: after `Closed` and `Tls`, and after `TimedOut` of `send` or `start_tls`, every further call answers the same
/// fault. `Stopping`, and `TimedOut` of `receive`, leave the connection usable for the last words: RFC 5321 §3.8 asks for a 421
/// before a server closes. Dropping a connection breaks it off.
pub trait Connection {
    fn peer(&self) -> SocketAddr;

    fn local(&self) -> SocketAddr;

    /// `None`: TLS was not started.
    fn tls(&self) -> Option<&TlsFacts>;

    /// From now on, each wait of `receive` or `send` may last `span`; past it the wait answers `TimedOut`. A wait for bytes counts from the last bytes that came (or from here), also when `receive` was dropped and
    /// called again meanwhile.
    fn deadline(&mut self, span: Duration);

    /// Appends what arrived (plaintext) to `into`; answers how many bytes, never 0. Cancel-safe: it may stand in a `select!`.
    fn receive(
        &mut self,
        into: &mut Vec<u8>,
    ) -> impl Future<Output = Result<usize, ConnectionFault>>;

    /// Sends all of `bytes`. Not cancel-safe: a caller that drops it midway can only drop the connection.
    fn send(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), ConnectionFault>>;

    /// Sends what is left, TLS close_notify, FIN; waits a bounded moment for the peer's FIN so that it reads our last bytes.
    fn close(self) -> impl Future<Output = ()>;
}

/// A connection whose two directions are awaited together: for a relay, which would wait for ever if both ends sent and it read neither.
pub trait Duplex: Connection {
    /// From now on one read takes at most about `bytes`: what a relay holds of each direction.
    fn read_at_most(&mut self, bytes: usize);

    /// Something is on its way out that was not handed to the peer yet.
    fn is_sending(&self) -> bool;

    /// Begins to send `bytes`, at most `WRITE_BYTES_MAX`. Nothing may be on its way out (`is_sending`).
    fn begin_send(&mut self, bytes: &[u8]) -> Result<(), ConnectionFault>;

    /// Waits for what comes first: bytes, where `into` is given, or the end of what is being sent. Waits for a stop alone where it is neither. Cancel-safe.
    ///
    /// The deadline holds as for `receive` while `into` is given, and as for `send` while something is on its way out.
    fn moves(
        &mut self,
        into: Option<&mut Vec<u8>>,
    ) -> impl Future<Output = Result<Moved, ConnectionFault>>;

    /// Sends nothing more (TLS close_notify, FIN), and goes on reading. What is on its way out is sent first.
    fn finish(&mut self) -> impl Future<Output = Result<(), ConnectionFault>>;
}

/// What `Duplex::moves` waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// So many bytes came; never 0.
    Received(usize),
    /// Nothing is on its way out any more.
    Sent,
    /// The peer sends nothing more, and may still read.
    Ended,
}

/// A connection that the peer opened: we are the server of TLS.
pub trait Accepted: Connection {
    /// The peer speaks for a client of its own: from now on that one's address is the answer of `peer`.
    fn speaks_for(&mut self, client: SocketAddr);

    /// Handshake as server. Whatever plaintext was received and not yet consumed must be thrown away by the caller first
    /// (RFC 3207 §4.2).
    fn start_tls(
        &mut self,
        config: &Arc<rustls::ServerConfig>,
    ) -> impl Future<Output = Result<(), ConnectionFault>>;
}

/// A connection that we opened (`Dial`): we are the client of TLS.
pub trait Dialled: Connection {
    /// Handshake as client; `name` is asked for (SNI), and the certificate is checked against it as `config` says. Whatever
    /// plaintext was received and not yet consumed must be thrown away by the caller first (RFC 3207 §4.2).
    fn secure(
        &mut self,
        config: &Arc<rustls::ClientConfig>,
        name: &ServerName<'static>,
    ) -> impl Future<Output = Result<(), ConnectionFault>>;

    /// Why TLS failed, in a short phrase for people (`invalid peer certificate: Expired`); `None` unless the fault was `Tls`.
    fn tls_trouble(&self) -> Option<&str>;

    /// The certificates that the server showed, its own first; none before TLS.
    fn certificates(&self) -> &[CertificateDer<'static>];

    /// The server said under TLS that it sends nothing more (close_notify). After a fault `Closed` without it, what was received may have been cut
    /// short on the way (RFC 8446 §6.1).
    fn is_complete(&self) -> bool;
}
