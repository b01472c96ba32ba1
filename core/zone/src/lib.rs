//! One core's life. (API agreed on 2026-11-21; the story belongs here once the code does.)
//!
//! A pinned thread that runs a tokio-uring runtime (a tokio current-thread runtime that also owns a ring), its
//! listeners, its connections, and lanes to other cores. Knows no protocol and no store.
#![forbid(unsafe_code)]
#![allow(unused_variables, dead_code)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionFault {
    /// The peer closed or reset it.
    #[error("the peer is gone")]
    Closed,
    /// The deadline set by `deadline` passed.
    #[error("the peer was silent too long")]
    TimedOut,
    /// TLS failed; the connection can only be dropped.
    #[error("TLS failed")]
    Tls,
}

/// What TLS agreed on, for trace fields and policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    pub version: &'static str,
    pub cipher: String,
    pub server_name: Option<String>,
}

/// One accepted TCP connection on this core, with or without TLS. Owned buffers inside; at most one small read buffer while idle.
pub struct Connection {}

impl Connection {
    pub fn peer(&self) -> SocketAddr {
        unimplemented!()
    }
    pub fn local(&self) -> SocketAddr {
        unimplemented!()
    }
    pub fn tls(&self) -> Option<&TlsFacts> {
        unimplemented!()
    }
    /// From now on, each wait of `receive` or `send` may last `span`; past it the socket is shut down and the wait answers `TimedOut`.
    pub fn deadline(&mut self, span: Duration) {
        unimplemented!()
    }
    /// Appends what arrived (plaintext) to `into`; answers how many bytes, never 0. Cancel-safe: the read in flight is kept in
    /// `self`, so it may stand in a `select!`.
    pub async fn receive(&mut self, into: &mut Vec<u8>) -> Result<usize, ConnectionFault> {
        unimplemented!()
    }
    /// Sends all of `bytes`. Not cancel-safe.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectionFault> {
        unimplemented!()
    }
    /// Handshake as server. Whatever plaintext was received and not yet consumed must be thrown away by the caller first (RFC 3207 §4.2).
    pub async fn start_tls(
        &mut self,
        config: &Arc<rustls::ServerConfig>,
    ) -> Result<(), ConnectionFault> {
        unimplemented!()
    }
    /// Sends what is left, TLS close_notify, FIN; waits a bounded moment.
    pub async fn close(self) {
        unimplemented!()
    }
}
