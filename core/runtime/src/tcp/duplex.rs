//! Both directions of a TCP connection awaited together.
//!
//! What must hold: as in the parent, what the kernel has is kept in the connection, so a wait that is dropped loses nothing. An end of the peer's bytes is
//! an answer here and breaks nothing off, because a relay owes the peer what is still to come from the other side.

use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use crate::connection::{ConnectionFault, Duplex, Moved};
use crate::limits::{READ_BYTES_MIN, STOP_SILENCE, WRITE_BYTES_MAX};
use crate::stall;

use super::{Operation, TcpConnection};

/// The kernel answered one of the two.
enum Ready {
    Read(io::Result<usize>, Vec<u8>),
    Written(io::Result<usize>),
}

impl Duplex for TcpConnection {
    fn read_at_most(&mut self, bytes: usize) {
        self.read_bytes_max = bytes.max(READ_BYTES_MIN);
        self.read_bytes = self.read_bytes.min(self.read_bytes_max);
    }

    fn is_sending(&self) -> bool {
        self.writing.is_some()
    }

    fn begin_send(&mut self, bytes: &[u8]) -> Result<(), ConnectionFault> {
        assert!(!self.is_sending() && bytes.len() <= WRITE_BYTES_MAX);
        if let Some(fault) = self.broken {
            return Err(fault);
        }
        match &mut self.tls {
            None => self.write(bytes.to_vec()),
            Some(tls) => {
                if let Err(broken) = tls.seal(bytes) {
                    return Err(self.break_off_tls(broken));
                }
                self.queue_wire();
            }
        }
        self.restart_clock();
        Ok(())
    }

    async fn moves(&mut self, mut into: Option<&mut Vec<u8>>) -> Result<Moved, ConnectionFault> {
        if let (Some(tls), Some(into)) = (&mut self.tls, &mut into) {
            let rest = tls.take_rest(into);
            if rest > 0 {
                return Ok(Moved::Received(rest));
            }
        }
        loop {
            // until something moved: a record of TLS may hold no byte for us
            let ended = self.has_ended || self.tls.as_ref().is_some_and(|tls| tls.peer_ended);
            if ended && into.is_some() {
                self.has_ended = true;
                return Ok(Moved::Ended);
            }
            let (bytes, buffer) = match self.ready(into.is_some()).await? {
                Ready::Written(Ok(bytes)) => {
                    self.counters.bytes_out.fetch_add(bytes as u64, Relaxed);
                    self.restart_clock();
                    return Ok(Moved::Sent);
                }
                Ready::Read(Ok(0), _) => {
                    self.has_ended = true;
                    continue;
                }
                Ready::Read(Ok(bytes), buffer) => (bytes, buffer),
                Ready::Written(Err(_)) | Ready::Read(Err(_), _) => {
                    return Err(self.break_off(ConnectionFault::Closed));
                }
            };
            self.counters.bytes_in.fetch_add(bytes as u64, Relaxed);
            let into = into.as_mut().expect("only then it is read");
            let count = match &mut self.tls {
                None => {
                    into.extend_from_slice(&buffer[..bytes]);
                    Ok(bytes)
                }
                Some(tls) => tls.feed(&buffer[..bytes], into),
            };
            self.keep(bytes, buffer);
            // An answer of TLS itself (key update, alert).
            self.queue_wire();
            match count {
                Ok(0) => {}
                Ok(count) => return Ok(Moved::Received(count)),
                Err(broken) => {
                    let _ = self.finish_write().await;
                    return Err(self.break_off_tls(broken));
                }
            }
        }
    }

    async fn finish(&mut self) -> Result<(), ConnectionFault> {
        self.restart_clock();
        self.finish_write().await?;
        if let Some(tls) = &mut self.tls {
            tls.say_goodbye();
            self.queue_wire();
            self.finish_write().await?;
        }
        match self.stream.shutdown(Shutdown::Write) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.break_off(ConnectionFault::Closed)),
        }
    }
}

impl TcpConnection {
    /// Waits for the write in flight, and where `reads` for a read, which is begun where there is none. Cancel-safe.
    async fn ready(&mut self, reads: bool) -> Result<Ready, ConnectionFault> {
        if let Some(fault) = self.broken {
            return Err(fault);
        }
        if reads {
            if let Some(bytes) = self.unread.take() {
                return Ok(Ready::Read(Ok(bytes.len()), bytes));
            }
            self.begin_read();
        }
        let stop = self.stop.clone();
        let silent = async {
            stop.requested().await;
            tokio::time::sleep(STOP_SILENCE).await;
        };
        tokio::select! {
            biased;
            ready = Either { connection: self, reads } => {
                stall::arm();
                ready
            }
            () = silent => Err(ConnectionFault::Stopping),
        }
    }
}

/// Waits for either operation in flight, within the connection's deadline.
struct Either<'a> {
    connection: &'a mut TcpConnection,
    reads: bool,
}

impl Future for Either<'_> {
    type Output = Result<Ready, ConnectionFault>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let connection = &mut *this.connection;
        let polled = |operation: &mut Option<Operation>, context: &mut Context<'_>| {
            let ended = match operation.as_mut()?.as_mut().poll(context) {
                Poll::Ready(ended) => ended,
                Poll::Pending => return None,
            };
            *operation = None;
            Some(ended)
        };
        if let Some((result, _)) = polled(&mut connection.writing, context) {
            return Poll::Ready(match connection.broken {
                Some(fault) => Err(fault),
                None => Ok(Ready::Written(result)),
            });
        }
        if this.reads
            && let Some((result, buffer)) = polled(&mut connection.reading, context)
        {
            return Poll::Ready(match connection.broken {
                Some(fault) => Err(fault),
                None => Ok(Ready::Read(result, buffer)),
            });
        }
        let waits = this.reads || connection.writing.is_some();
        if waits && connection.broken.is_none() && connection.poll_overdue(context) {
            if connection.writing.is_none() {
                // The read stays in flight, and the connection open for the last words.
                return Poll::Ready(Err(ConnectionFault::TimedOut));
            }
            // The kernel now ends the operation, and this poll comes again.
            connection.break_off(ConnectionFault::TimedOut);
        }
        Poll::Pending
    }
}
