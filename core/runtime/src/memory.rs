//! A connection without a socket: two bounded pipes in memory, and the deadlines of a host's clock. For the simulator and for tests of
//! whole sessions.
//!
//! What must hold: what a session sees is what it would see of a `TcpConnection`: the same faults at the same moments, no more bytes
//! in memory than the pipes hold, and a peer that may send and read as slowly as it likes, stop sending, reset, or vanish. TLS is
//! spoken of only: `start_tls` and `secure` wait for the peer's and agree on facts, and no byte is enciphered.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::host::Bell;
use base::{Host, Time};
use rustls::pki_types::{CertificateDer, ServerName};

use crate::connection::{Accepted, Connection, ConnectionFault, Dialled};
use crate::dial::slot::Slot;
use crate::limits::*;
use crate::session_host::SessionHost;
use crate::stop::Stop;
use crate::tls::TlsFacts;

mod duplex;

/// One direction.
struct Pipe {
    bytes: VecDeque<u8>,
    /// Bytes that it holds at most: what a real connection's buffers would hold.
    bytes_max: usize,
    /// Bytes that were taken out of it since it is there.
    taken: u64,
    /// Nothing follows.
    ended: bool,
    /// The reader is gone.
    unread: bool,
}

impl Pipe {
    fn new(bytes_max: usize) -> Pipe {
        assert!(bytes_max > 0);
        Pipe {
            bytes: VecDeque::new(),
            bytes_max,
            taken: 0,
            ended: false,
            unread: false,
        }
    }

    /// Takes as many of `bytes` as there is room for.
    fn put(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.bytes_max - self.bytes.len());
        self.bytes.extend(&bytes[..count]);
        count
    }

    /// Moves at most `bytes_max` bytes to the end of `into`. Returns how many.
    fn take(&mut self, into: &mut Vec<u8>, bytes_max: usize) -> usize {
        let count = self.bytes.len().min(bytes_max);
        let (front, back) = self.bytes.as_slices();
        let from_front = count.min(front.len());
        into.extend_from_slice(&front[..from_front]);
        into.extend_from_slice(&back[..count - from_front]);
        self.bytes.drain(..count);
        self.taken += count as u64;
        count
    }

    /// Neither end uses the pipe any more.
    fn close(&mut self) {
        self.ended = true;
        self.unread = true;
    }
}

/// Both directions and what else the two ends know of each other.
struct Shared {
    /// From the peer.
    up: Pipe,
    /// To the peer.
    down: Pipe,
    /// The connection was reset: what is under way is lost, in both directions.
    reset: bool,
    /// The peer's end was not said under TLS.
    cut: bool,
    /// The peer begins its TLS handshake.
    handshake: Option<Handshake>,
    /// What it shows in it.
    certificates: Vec<CertificateDer<'static>>,
}

/// A TLS handshake that the peer has begun. No byte is enciphered, so only its place in the stream counts.
#[derive(Clone, Copy)]
struct Handshake {
    /// Bytes of plaintext that the peer had sent before it.
    after: u64,
    /// Some of them were not read at that moment.
    unread: bool,
    /// The peer breaks it off: no common version, or a certificate that is refused.
    fails: bool,
}

/// Which end of TLS this is.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    /// The session was accepted: the peer begins the handshake.
    Server,
    /// The connection was dialled: this end asked for TLS, and the peer's answer is the handshake.
    Client,
}

/// Our end: what a session serves, or what a sender dialled.
pub struct MemoryConnection {
    shared: Rc<RefCell<Shared>>,
    bell: Bell,
    host: Rc<dyn Host>,
    stop: Stop,
    peer: SocketAddr,
    local: SocketAddr,
    tls: Option<TlsFacts>,
    /// What the peer showed.
    certificates: Vec<CertificateDer<'static>>,
    span: Duration,
    /// When the present wait ends.
    due: Time,
    /// Why nothing can be read or written any more.
    broken: Option<ConnectionFault>,
    /// A connection that was dialled counts among them for as long as it lives.
    pub(crate) slot: Option<Slot>,
    /// What is on its way out (`Duplex`), and how much one read takes.
    leaving: Vec<u8>,
    read_bytes_max: usize,
}

/// The other end. Dropped, it is a peer that vanished: it sends nothing more and reads nothing.
pub struct MemoryPeer {
    shared: Rc<RefCell<Shared>>,
    bell: Bell,
}

/// The connection was broken off by the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is broken off")]
pub struct BrokenOff;

/// A connection from `peer`; each direction holds at most `bytes_max` bytes.
pub fn connect(
    host: &Rc<dyn Host>,
    stop: &Stop,
    peer: SocketAddr,
    bytes_max: usize,
) -> (MemoryConnection, MemoryPeer) {
    let shared = Rc::new(RefCell::new(Shared {
        up: Pipe::new(bytes_max),
        down: Pipe::new(bytes_max),
        reset: false,
        cut: false,
        handshake: None,
        certificates: Vec::new(),
    }));
    let bell = Bell::new();
    let span = DEADLINE_DEFAULT;
    let connection = MemoryConnection {
        shared: shared.clone(),
        bell: bell.clone(),
        host: host.clone(),
        stop: stop.clone(),
        peer,
        local: SocketAddr::from(([127, 0, 0, 1], 1)),
        tls: None,
        certificates: Vec::new(),
        span,
        due: host.now().after_us(span.as_micros() as u64),
        broken: None,
        slot: None,
        leaving: Vec::new(),
        read_bytes_max: READ_BYTES_MIN,
    };
    (connection, MemoryPeer { shared, bell })
}

impl MemoryConnection {
    /// A new wait begins: the deadline is `span` from now.
    fn restart_clock(&mut self) {
        self.due = self.host.now().after_us(self.span.as_micros() as u64);
    }

    /// The connection ends with `fault`, unless it ended with another one before.
    fn break_off(&mut self, fault: ConnectionFault) -> ConnectionFault {
        self.shut();
        *self.broken.get_or_insert(fault)
    }

    /// Stops both directions, as a dropped socket does.
    fn shut(&self) {
        let mut shared = self.shared.borrow_mut();
        shared.down.ended = true;
        shared.up.unread = true;
        drop(shared);
        self.bell.ring();
    }

    /// Waits until something happens to the connection, within its deadline.
    async fn happens(&mut self) -> Result<(), ConnectionFault> {
        if self.host.now() >= self.due {
            return Err(ConnectionFault::TimedOut);
        }
        tokio::select! {
            biased;
            () = self.bell.wait() => {}
            () = self.host.sleep_until(self.due) => {}
        }
        Ok(())
    }

    /// As `happens`; when the deadline passes the connection is broken off.
    async fn in_time(&mut self) -> Result<(), ConnectionFault> {
        match self.happens().await {
            Err(fault) => Err(self.break_off(fault)),
            Ok(()) => Ok(()),
        }
    }

    /// What one read takes. A server that we dialled says nothing behind its plaintext before our handshake came.
    fn readable_max(&self, shared: &Shared) -> usize {
        match shared.handshake {
            Some(begun) if self.slot.is_some() && self.tls.is_none() => {
                let before = begun.after.saturating_sub(shared.up.taken);
                READ_BYTES_MIN.min(before as usize)
            }
            _ => READ_BYTES_MIN,
        }
    }

    /// Waits for bytes; not for the word to stop.
    async fn next_read(&mut self, into: &mut Vec<u8>) -> Result<usize, ConnectionFault> {
        loop {
            // until bytes come or the wait is over
            if let Some(fault) = self.broken {
                return Err(fault);
            }
            let (taken, over) = {
                let mut shared = self.shared.borrow_mut();
                let bytes_max = self.readable_max(&shared);
                let taken = match shared.reset {
                    true => 0,
                    false => shared.up.take(into, bytes_max),
                };
                (taken, shared.reset || shared.up.ended)
            };
            if taken > 0 {
                self.bell.ring();
                return Ok(taken);
            }
            if over {
                return Err(self.break_off(ConnectionFault::Closed));
            }
            self.happens().await?;
        }
    }

    /// Writes all of `bytes`, as the peer makes room.
    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), ConnectionFault> {
        loop {
            // until all of it is in the pipe, or the wait is over
            if let Some(fault) = self.broken {
                return Err(fault);
            }
            let (put, over) = {
                let mut shared = self.shared.borrow_mut();
                let over = shared.reset || shared.down.unread;
                (if over { 0 } else { shared.down.put(bytes) }, over)
            };
            if over {
                return Err(self.break_off(ConnectionFault::Closed));
            }
            if put > 0 {
                self.bell.ring();
            }
            bytes = &bytes[put..];
            if bytes.is_empty() {
                return Ok(());
            }
            self.in_time().await?;
        }
    }

    /// The handshake of either side, within `HANDSHAKE_DEADLINE`; the deadline of before holds again afterwards.
    async fn start(&mut self, side: Side, name: Option<String>) -> Result<(), ConnectionFault> {
        assert!(self.tls.is_none(), "TLS starts once");
        let span = std::mem::replace(&mut self.span, HANDSHAKE_DEADLINE);
        self.restart_clock();
        let done = self.handshake(side).await;
        self.span = span;
        self.restart_clock();
        done?;
        self.certificates = std::mem::take(&mut self.shared.borrow_mut().certificates);
        self.tls = Some(TlsFacts {
            version: "TLSv1.3",
            cipher: "NONE".into(),
            server_name: name,
            exporter: None,
            client_certificate: None,
        });
        Ok(())
    }

    /// Waits for the peer's handshake. Plaintext behind the point where TLS begins breaks the connection off: it could
    /// have been injected.
    async fn handshake(&mut self, side: Side) -> Result<(), ConnectionFault> {
        loop {
            // until the peer begins its handshake
            if let Some(fault) = self.broken {
                return Err(fault);
            }
            let (begun, plaintext, taken, over) = {
                let shared = self.shared.borrow();
                let over = shared.reset || shared.up.ended && shared.up.bytes.is_empty();
                let plaintext = !shared.up.bytes.is_empty();
                (shared.handshake, plaintext, shared.up.taken, over)
            };
            match begun {
                Some(begun) => {
                    // A client that begins before it was told to has its first flight taken for plaintext. A server waits for the
                    // client's: only what it said before, and we did not read, stands in the way.
                    let mixed = match side {
                        Side::Server => begun.unread,
                        Side::Client => taken < begun.after,
                    };
                    if mixed || begun.fails {
                        return Err(self.break_off(ConnectionFault::Tls));
                    }
                    return Ok(());
                }
                None if plaintext => return Err(self.break_off(ConnectionFault::Tls)),
                None if over => return Err(self.break_off(ConnectionFault::Closed)),
                None => self.in_time().await?,
            }
        }
    }
}

impl Connection for MemoryConnection {
    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn local(&self) -> SocketAddr {
        self.local
    }

    fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    fn deadline(&mut self, span: Duration) {
        self.span = span;
        self.restart_clock();
    }

    async fn receive(&mut self, into: &mut Vec<u8>) -> Result<usize, ConnectionFault> {
        let (stop, host) = (self.stop.clone(), SessionHost::on(self.host.clone()));
        let silent = async {
            stop.requested().await;
            host.sleep(STOP_SILENCE).await;
        };
        let bytes = tokio::select! {
            biased;
            bytes = self.next_read(into) => bytes?,
            () = silent => return Err(ConnectionFault::Stopping),
        };
        self.restart_clock();
        Ok(bytes)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectionFault> {
        self.send_leaving().await?;
        for chunk in bytes.chunks(WRITE_BYTES_MAX) {
            self.restart_clock();
            self.write(chunk).await?;
        }
        self.restart_clock();
        Ok(())
    }

    async fn close(mut self) {
        self.span = LINGER;
        if self.send_leaving().await.is_err() {
            return;
        }
        self.restart_clock();
        self.shared.borrow_mut().down.ended = true;
        self.bell.ring();
        let (mut lingered, mut rest) = (0, Vec::new());
        while lingered < LINGER_BYTES_MAX && !self.stop.is_requested() {
            // The clock is not restarted: `LINGER` is for all of it.
            match self.next_read(&mut rest).await {
                Ok(bytes) => lingered += bytes,
                Err(_) => return,
            }
            rest.clear();
        }
    }
}

impl Accepted for MemoryConnection {
    fn speaks_for(&mut self, client: SocketAddr) {
        self.peer = client;
    }

    async fn start_tls(
        &mut self,
        _config: &Arc<rustls::ServerConfig>,
    ) -> Result<(), ConnectionFault> {
        self.start(Side::Server, None).await
    }
}

impl Dialled for MemoryConnection {
    async fn secure(
        &mut self,
        _config: &Arc<rustls::ClientConfig>,
        name: &ServerName<'static>,
    ) -> Result<(), ConnectionFault> {
        let name = name.to_str().into_owned();
        self.start(Side::Client, Some(name)).await
    }

    fn tls_trouble(&self) -> Option<&str> {
        (self.broken == Some(ConnectionFault::Tls)).then_some("the handshake failed")
    }

    fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    fn is_complete(&self) -> bool {
        let shared = self.shared.borrow();
        self.tls.is_some() && shared.up.ended && !shared.reset && !shared.cut
    }
}

impl Drop for MemoryConnection {
    fn drop(&mut self) {
        self.shut();
    }
}

impl MemoryPeer {
    /// Sends all of `bytes`, as there is room.
    pub async fn send(&self, mut bytes: &[u8]) -> Result<(), BrokenOff> {
        while !bytes.is_empty() {
            let put = self.send_some(bytes).await?;
            bytes = &bytes[put..];
        }
        Ok(())
    }

    /// Sends at least one of `bytes`, as many as there is room for once there is any; answers how many. Cancel-safe.
    pub async fn send_some(&self, bytes: &[u8]) -> Result<usize, BrokenOff> {
        assert!(!bytes.is_empty());
        loop {
            // until there is room
            let put = {
                let mut shared = self.shared.borrow_mut();
                if shared.reset || shared.up.unread || shared.up.ended {
                    return Err(BrokenOff);
                }
                shared.up.put(bytes)
            };
            if put > 0 {
                self.bell.ring();
                return Ok(put);
            }
            self.bell.wait().await;
        }
    }

    /// Appends at least one and at most `bytes_max` bytes to `into`, once there are any; 0: there will be none any more.
    pub async fn receive(&self, into: &mut Vec<u8>, bytes_max: usize) -> usize {
        loop {
            // until bytes come or none will
            let (taken, over) = {
                let mut shared = self.shared.borrow_mut();
                let taken = shared.down.take(into, bytes_max);
                (taken, shared.reset || shared.down.ended)
            };
            if taken > 0 {
                self.bell.ring();
                return taken;
            }
            if over {
                return 0;
            }
            self.bell.wait().await;
        }
    }

    /// Sends nothing more (FIN), and goes on reading.
    pub fn end(&self) {
        self.shared.borrow_mut().up.ended = true;
        self.bell.ring();
    }

    /// As `end`, and under TLS nothing says so.
    pub fn cut(&self) {
        self.shared.borrow_mut().cut = true;
        self.end();
    }

    /// Breaks the connection off, with what is under way in both directions.
    pub fn reset(&self) {
        self.shared.borrow_mut().reset = true;
        self.bell.ring();
    }

    /// Begins the TLS handshake. A peer that plays a server calls it when it has said that it is ready for TLS.
    pub fn start_tls(&self) {
        self.shake(false);
    }

    /// As `start_tls`, as a server that shows `certificates`, its own first.
    pub fn start_tls_showing(&self, certificates: Vec<CertificateDer<'static>>) {
        self.shared.borrow_mut().certificates = certificates;
        self.start_tls();
    }

    /// Begins the TLS handshake, and it fails: no common version, or a certificate that is refused.
    pub fn fail_tls(&self) {
        self.shake(true);
    }

    /// Begins a handshake, with what was sent before it and not read.
    fn shake(&self, fails: bool) {
        let mut shared = self.shared.borrow_mut();
        let unread = shared.up.bytes.len();
        shared.handshake = Some(Handshake {
            after: shared.up.taken + unread as u64,
            unread: unread > 0,
            fails,
        });
        drop(shared);
        self.bell.ring();
    }

    /// Bytes under way: to the session, and from it.
    pub fn under_way(&self) -> (usize, usize) {
        let shared = self.shared.borrow();
        (shared.up.bytes.len(), shared.down.bytes.len())
    }
}

impl Drop for MemoryPeer {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        shared.up.ended = true;
        shared.down.close();
        drop(shared);
        self.bell.ring();
    }
}

#[cfg(test)]
mod tests;
