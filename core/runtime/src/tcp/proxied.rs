//! The header of the PROXY protocol in front of a connection, before TLS and before any byte of the session's.

use super::*;
use crate::proxy::{self, Header};

impl TcpConnection {
    /// Reads the header; from then on `peer` and `local` are the client's. What came behind the header waits for the next read.
    pub(crate) async fn take_proxy_header(&mut self) -> Result<(), ConnectionFault> {
        assert!(self.tls.is_none(), "the header comes first");
        let span = std::mem::replace(&mut self.span, PROXY_DEADLINE);
        self.restart_clock();
        let taken = self.read_header().await;
        self.span = span;
        self.restart_clock();
        taken
    }

    async fn read_header(&mut self) -> Result<(), ConnectionFault> {
        let mut arrived = Vec::new();
        loop {
            // until the header is there; it is bounded, and all of it by the deadline
            let read = self.next_read().await;
            let (bytes, buffer) = read.map_err(|fault| self.break_off(fault))?;
            arrived.extend_from_slice(&buffer[..bytes]);
            self.keep_buffer(bytes, buffer);
            match proxy::parse(&arrived) {
                Ok(None) => {}
                Ok(Some((header, used))) => {
                    if let Header::Proxied {
                        source,
                        destination,
                    } = header
                    {
                        (self.peer, self.local) = (source, destination);
                    }
                    arrived.drain(..used);
                    self.unread = (!arrived.is_empty()).then_some(arrived);
                    return Ok(());
                }
                Err(fault) => {
                    tracing::info!(proxy = %self.peer, %fault, "a connection was closed");
                    return Err(self.break_off(ConnectionFault::Closed));
                }
            }
        }
    }
}
