//! The appliance's `Connection`: one TCP connection, accepted or dialled, with or without TLS.
//!
//! What must hold between calls: a read or write that the kernel has is kept here as a future, so that a caller may
//! drop `receive` at any await (a `select!`) and lose nothing. tokio-uring cannot cancel: a wait that is over ends by
//! shutting the socket down, which makes the kernel answer.

use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::time::{Instant, Sleep};
use tokio_uring::net::TcpStream;

use crate::connection::{Accepted, Connection, ConnectionFault, Dialled};
use crate::counters::{Counters, Open};
use crate::limits::*;
use crate::stall;
use crate::stop::Stop;
use crate::tls::{Tls, TlsBroken, TlsFacts};

mod duplex;
mod proxied;

/// A read or write that the kernel has, with the buffer that it gives back.
type Operation = Pin<Box<dyn Future<Output = (io::Result<usize>, Vec<u8>)>>>;

/// One TCP connection on this core, with or without TLS. Owned buffers inside; at most one small read buffer
/// while idle.
pub struct TcpConnection {
    /// Shared with the operations in flight, which keep the socket open until the kernel has answered them.
    stream: Rc<TcpStream>,
    /// The peer's address, or the client's that a proxy named.
    peer: SocketAddr,
    /// Our address of the connection.
    local: SocketAddr,
    /// The read in flight. It outlives a caller that stopped waiting for it.
    reading: Option<Operation>,
    /// The write in flight.
    writing: Option<Operation>,
    /// Kept between reads only while data flows; `None` while a read has it.
    spare: Option<Vec<u8>>,
    /// Bytes that came behind a header of the PROXY protocol.
    unread: Option<Vec<u8>>,
    /// Size of the next read's buffer: it grows while data flows and shrinks after small reads.
    read_bytes: usize,
    /// … and at most to this.
    read_bytes_max: usize,
    /// The peer sends nothing more (`Duplex`).
    has_ended: bool,
    /// Small reads in a row.
    small_reads: u8,
    /// Once the handshake has begun.
    tls: Option<Box<Tls>>,
    /// Why TLS failed, for the log and for reports about mail that was not delivered.
    tls_trouble: Option<String>,
    /// How long one wait may take.
    span: Duration,
    /// When the present wait ends. `alarm` may be set to an earlier moment: it looks here when it fires.
    due: Instant,
    alarm: Pin<Box<Sleep>>,
    /// Why nothing can be read or written any more.
    broken: Option<ConnectionFault>,
    /// The core's word to stop. A connection that waits for its peer then ends.
    stop: Stop,
    /// The counters of its listener or dialler.
    counters: Arc<Counters>,
    /// A connection that we opened counts among them for as long as it lives; one that was accepted is counted by its listener.
    _open: Option<Open>,
}

impl TcpConnection {
    /// Takes a connected, blocking-mode socket. Must be called on a core's runtime.
    pub fn new(
        stream: std::net::TcpStream,
        stop: Stop,
        counters: Arc<Counters>,
    ) -> io::Result<TcpConnection> {
        let peer = stream.peer_addr()?;
        let local = stream.local_addr()?;
        stream.set_nodelay(true)?;
        let due = Instant::now() + DEADLINE_DEFAULT;
        Ok(TcpConnection {
            stream: Rc::new(TcpStream::from_std(stream)),
            peer,
            local,
            reading: None,
            writing: None,
            spare: None,
            unread: None,
            read_bytes: READ_BYTES_MIN,
            read_bytes_max: READ_BYTES_MAX,
            has_ended: false,
            small_reads: 0,
            tls: None,
            tls_trouble: None,
            span: DEADLINE_DEFAULT,
            due,
            alarm: Box::pin(tokio::time::sleep_until(due)),
            broken: None,
            stop,
            counters,
            _open: None,
        })
    }

    /// As `new`, for a connection that we opened.
    pub(crate) fn dialled(
        stream: std::net::TcpStream,
        stop: Stop,
        counters: Arc<Counters>,
        open: Open,
    ) -> io::Result<TcpConnection> {
        let mut connection = TcpConnection::new(stream, stop, counters)?;
        connection._open = Some(open);
        Ok(connection)
    }

    /// TLS begins. The whole handshake has one deadline, `HANDSHAKE_DEADLINE`; the deadline of before holds again
    /// afterwards.
    async fn start(&mut self, tls: Result<Tls, TlsBroken>) -> Result<(), ConnectionFault> {
        assert!(self.tls.is_none(), "TLS starts once");
        let span = std::mem::replace(&mut self.span, HANDSHAKE_DEADLINE);
        self.restart_clock();
        let done = self.handshake(tls).await;
        self.span = span;
        self.restart_clock();
        done
    }

    /// Sends and reads until the handshake is over or has failed.
    async fn handshake(&mut self, tls: Result<Tls, TlsBroken>) -> Result<(), ConnectionFault> {
        match tls {
            Ok(tls) => self.tls = Some(Box::new(tls)),
            Err(broken) => return Err(self.break_off_tls(broken)),
        }
        // A client speaks first.
        self.queue_wire();
        self.finish_write().await?;
        loop {
            // until it is over; the peer's flights are bounded by rustls, and all of them by the deadline
            let read = self.next_read().await;
            let (bytes, buffer) = read.map_err(|fault| self.break_off(fault))?;
            let tls = self.tls.as_mut().expect("set above");
            let over = tls.feed_handshake(&buffer[..bytes]);
            self.keep_buffer(bytes, buffer);
            self.queue_wire();
            let sent = self.finish_write().await;
            match over {
                Ok(over) => {
                    sent?;
                    if over {
                        return Ok(());
                    }
                }
                Err(broken) => return Err(self.break_off_tls(broken)),
            }
        }
    }

    /// Waits for the read in flight, starting one when there is none. Cancel-safe.
    async fn next_read(&mut self) -> Result<(usize, Vec<u8>), ConnectionFault> {
        if let Some(fault) = self.broken {
            return Err(fault);
        }
        if let Some(bytes) = self.unread.take() {
            return Ok((bytes.len(), bytes));
        }
        self.begin_read();
        let stop = self.stop.clone();
        let silent = async {
            stop.requested().await;
            tokio::time::sleep(STOP_SILENCE).await;
        };
        tokio::select! {
            biased;
            ended = Wait { connection: self, side: Side::Read } => {
                let (result, buffer) = ended?;
                stall::arm();
                match result {
                    Ok(bytes) if bytes > 0 => {
                        self.counters.bytes_in.fetch_add(bytes as u64, Relaxed);
                        Ok((bytes, buffer))
                    }
                    _ => Err(self.break_off(ConnectionFault::Closed)),
                }
            }
            () = silent => Err(ConnectionFault::Stopping),
        }
    }

    /// Gives the kernel a read, unless it has one.
    fn begin_read(&mut self) {
        if self.reading.is_some() {
            return;
        }
        let buffer = match self.spare.take() {
            Some(buffer) if buffer.capacity() >= self.read_bytes => buffer,
            _ => Vec::with_capacity(self.read_bytes),
        };
        let stream = self.stream.clone();
        self.reading = Some(Box::pin(async move { stream.read(buffer).await }));
    }

    /// After a read of `bytes`: keeps the buffer while data flows, and chooses the size of the next.
    fn keep(&mut self, bytes: usize, buffer: Vec<u8>) {
        self.restart_clock();
        self.keep_buffer(bytes, buffer);
    }

    /// As `keep`, and the wait goes on: a handshake has one deadline for all of it.
    fn keep_buffer(&mut self, bytes: usize, mut buffer: Vec<u8>) {
        if bytes == self.read_bytes && self.read_bytes < self.read_bytes_max {
            self.read_bytes *= 4;
            self.small_reads = 0;
        } else if bytes * 4 <= self.read_bytes {
            self.small_reads = self.small_reads.saturating_add(1);
            if self.small_reads >= SMALL_READS_BEFORE_SHRINK && self.read_bytes > READ_BYTES_MIN {
                self.read_bytes /= 4;
                self.small_reads = 0;
            }
        } else {
            self.small_reads = 0;
        }
        if buffer.capacity() == self.read_bytes {
            buffer.clear();
            self.spare = Some(buffer);
        }
    }

    /// Sends what TLS has to send: a flight of the handshake, records, an alert.
    fn queue_wire(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        let wire = tls.take_wire();
        if wire.is_empty() {
            return;
        }
        match self.writing.take() {
            None => self.write(wire),
            // Only an alert or a key update meets a write in flight: send it behind.
            Some(before) => {
                let stream = self.stream.clone();
                self.writing = Some(Box::pin(async move {
                    let (result, buffer) = before.await;
                    match result {
                        Ok(_) => write_all(&stream, wire).await,
                        Err(error) => (Err(error), buffer),
                    }
                }));
            }
        }
    }

    /// Starts a write. There must be none in flight.
    fn write(&mut self, bytes: Vec<u8>) {
        assert!(self.writing.is_none());
        let stream = self.stream.clone();
        self.writing = Some(Box::pin(async move { write_all(&stream, bytes).await }));
    }

    /// Waits until nothing is being written. Cancel-safe: the write goes on and is awaited by the next call.
    async fn finish_write(&mut self) -> Result<(), ConnectionFault> {
        if self.writing.is_none() {
            return Ok(());
        }
        let (result, _) = Wait {
            connection: self,
            side: Side::Write,
        }
        .await?;
        match result {
            Ok(bytes) => {
                self.counters.bytes_out.fetch_add(bytes as u64, Relaxed);
                Ok(())
            }
            Err(_) => Err(self.break_off(ConnectionFault::Closed)),
        }
    }

    /// A new wait begins. The alarm is only ever set earlier here: setting a timer on each read would cost more than
    /// the read.
    fn restart_clock(&mut self) {
        self.due = Instant::now() + self.span;
        if self.due < self.alarm.deadline() {
            self.alarm.as_mut().reset(self.due);
        }
    }

    /// `true` once the present wait lasted too long.
    fn poll_overdue(&mut self, context: &mut Context<'_>) -> bool {
        while self.alarm.as_mut().poll(context).is_ready() {
            if Instant::now() >= self.due {
                return true;
            }
            self.alarm.as_mut().reset(self.due);
        }
        false
    }

    /// TLS is broken: the reason is kept, and the connection ends.
    fn break_off_tls(&mut self, why: TlsBroken) -> ConnectionFault {
        tracing::debug!(peer = %self.peer, why = why.0, "TLS failed");
        self.tls_trouble.get_or_insert(why.0);
        self.break_off(ConnectionFault::Tls)
    }

    /// Nothing more can be read or written: the kernel answers what is in flight.
    fn break_off(&mut self, fault: ConnectionFault) -> ConnectionFault {
        if let Some(before) = self.broken {
            return before;
        }
        match fault {
            ConnectionFault::TimedOut => self.counters.timed_out.fetch_add(1, Relaxed),
            ConnectionFault::Tls => self.counters.tls_failures.fetch_add(1, Relaxed),
            ConnectionFault::Closed | ConnectionFault::Stopping => 0,
        };
        let _ = self.stream.shutdown(Shutdown::Both);
        self.broken = Some(fault);
        fault
    }
}

impl Connection for TcpConnection {
    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn local(&self) -> SocketAddr {
        self.local
    }

    fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref().and_then(|tls| tls.facts.as_ref())
    }

    fn deadline(&mut self, span: Duration) {
        self.span = span;
        self.restart_clock();
    }

    async fn receive(&mut self, into: &mut Vec<u8>) -> Result<usize, ConnectionFault> {
        if let Some(tls) = &mut self.tls {
            let rest = tls.take_rest(into);
            if rest > 0 {
                return Ok(rest);
            }
        }
        // The allocation of an empty buffer serves the next read, or is given back: an idle connection has one buffer.
        if into.is_empty() {
            let empty = std::mem::take(into);
            let is_wanted = self.reading.is_none() && self.spare.is_none();
            if is_wanted && empty.capacity() == self.read_bytes {
                self.spare = Some(empty);
            }
        }
        loop {
            self.finish_write().await?;
            let (bytes, mut buffer) = match self.next_read().await {
                Err(ConnectionFault::TimedOut) => {
                    self.counters.timed_out.fetch_add(1, Relaxed);
                    return Err(ConnectionFault::TimedOut);
                }
                read => read?,
            };
            let count = match &mut self.tls {
                // The caller gets the buffer itself.
                None if into.is_empty() => {
                    buffer.truncate(bytes);
                    std::mem::swap(into, &mut buffer);
                    Ok(bytes)
                }
                None => {
                    into.extend_from_slice(&buffer[..bytes]);
                    Ok(bytes)
                }
                Some(tls) => tls.feed(&buffer[..bytes], into),
            };
            self.keep(bytes, buffer);
            // An answer of TLS itself (key update, alert). Nothing is awaited between taking bytes and answering.
            self.queue_wire();
            match count {
                Ok(0) if self.tls.as_ref().is_some_and(|tls| tls.peer_ended) => {
                    return Err(ConnectionFault::Closed);
                }
                Ok(0) => {}
                Ok(count) => return Ok(count),
                Err(broken) => {
                    let _ = self.finish_write().await;
                    return Err(self.break_off_tls(broken));
                }
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectionFault> {
        for chunk in bytes.chunks(WRITE_BYTES_MAX) {
            self.finish_write().await?;
            match &mut self.tls {
                None => self.write(chunk.to_vec()),
                Some(tls) => {
                    if let Err(broken) = tls.seal(chunk) {
                        return Err(self.break_off_tls(broken));
                    }
                    self.queue_wire();
                }
            }
            // The clock of a read in flight stands still meanwhile: what we send is not the peer's silence.
            self.restart_clock();
            self.finish_write().await?;
        }
        self.restart_clock();
        Ok(())
    }

    async fn close(mut self) {
        self.span = LINGER;
        self.restart_clock();
        if self.finish_write().await.is_err() {
            return;
        }
        if let Some(tls) = &mut self.tls {
            tls.say_goodbye();
            self.queue_wire();
            if self.finish_write().await.is_err() {
                return;
            }
        }
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut lingered = 0;
        while lingered < LINGER_BYTES_MAX && !self.stop.is_requested() {
            match self.next_read().await {
                // The clock is not restarted: `LINGER` is for all of it.
                Ok((bytes, buffer)) => {
                    lingered += bytes;
                    self.spare = Some(buffer);
                }
                Err(_) => return,
            }
        }
    }
}

impl Accepted for TcpConnection {
    fn speaks_for(&mut self, client: SocketAddr) {
        self.peer = client;
    }

    async fn start_tls(
        &mut self,
        config: &Arc<rustls::ServerConfig>,
    ) -> Result<(), ConnectionFault> {
        self.start(Tls::server(config)).await
    }
}

impl Dialled for TcpConnection {
    async fn secure(
        &mut self,
        config: &Arc<rustls::ClientConfig>,
        name: &ServerName<'static>,
    ) -> Result<(), ConnectionFault> {
        self.start(Tls::client(config, name)).await
    }

    fn tls_trouble(&self) -> Option<&str> {
        self.tls_trouble.as_deref()
    }

    fn certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.as_ref().map_or(&[], |tls| tls.certificates())
    }

    fn is_complete(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.peer_ended)
    }
}

impl Drop for TcpConnection {
    fn drop(&mut self) {
        // A read in flight holds the socket open until the kernel answers it.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Which of the two operations a `Wait` is for.
enum Side {
    Read,
    Write,
}

/// Waits for the operation in flight on one side, within the connection's deadline.
struct Wait<'a> {
    connection: &'a mut TcpConnection,
    side: Side,
}

impl Future for Wait<'_> {
    type Output = Result<(io::Result<usize>, Vec<u8>), ConnectionFault>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let connection = &mut *this.connection;
        let operation = match this.side {
            Side::Read => &mut connection.reading,
            Side::Write => &mut connection.writing,
        };
        let polled = operation
            .as_mut()
            .expect("the caller started it")
            .as_mut()
            .poll(context);
        if let Poll::Ready(ended) = polled {
            *operation = None;
            return Poll::Ready(match connection.broken {
                Some(fault) => Err(fault),
                None => Ok(ended),
            });
        }
        if connection.broken.is_none() && connection.poll_overdue(context) {
            match this.side {
                // The read stays in flight, and the connection open for the last words.
                Side::Read => return Poll::Ready(Err(ConnectionFault::TimedOut)),
                // The kernel now ends the operation, and this poll comes again.
                Side::Write => {
                    connection.break_off(ConnectionFault::TimedOut);
                }
            }
        }
        Poll::Pending
    }
}

/// Writes all of `bytes` and gives the buffer back.
async fn write_all(stream: &TcpStream, bytes: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
    let count = bytes.len();
    let (result, bytes) = stream.write_all(bytes).await;
    (result.map(|()| count), bytes)
}

#[cfg(test)]
mod tests;
