//! Accepting connections: one socket per address, shared by the cores that serve it, bounded on each.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use base::LocalTask;
use nix::sys::socket::Backlog;
use tokio::io::unix::AsyncFd;

use crate::connection::Connection;
use crate::core::Core;
use crate::limits::*;

/// What one listener on one core counted since start. Written by that core, read by whoever asks.
#[derive(Debug, Default)]
pub struct Counters {
    pub accepted: AtomicU64,
    pub refused: AtomicU64,
    pub open: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    pub tls_failures: AtomicU64,
    pub timed_out: AtomicU64,
}

/// A bound socket and what to do with who comes.
pub struct Listener {
    /// For people: `smtp`, `imaps`.
    pub name: &'static str,
    pub socket: TcpListener,
    /// Connections open at once on this core. One peer's address has half of them at most (`PEER_SHARE`), but for the machine's own.
    pub connections_max: usize,
    /// Sent as it is to whoever comes past the bound, before the socket is closed; empty where TLS comes first.
    pub refusal: &'static [u8],
    /// Handshake first (IMAPS, HTTPS).
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub counters: Arc<Counters>,
}

/// What serves one connection, to its end.
pub type Serve = Rc<dyn Fn(Connection) -> LocalTask>;

/// Binds `address` exclusively. `try_clone` the socket for every core that serves it.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpListener::bind(address)?;
    nix::sys::socket::listen(&socket, Backlog::new(ACCEPT_BACKLOG)?)?;
    // Accepting waits for readiness, so that a stop never leaves an accept behind in the kernel.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Core {
    /// Accepts on `listener` until the core is told to stop. Each connection is served by a task of its own.
    pub fn serve(&self, listener: Listener, serve: Serve) -> io::Result<()> {
        #[expect(
            deprecated,
            reason = "a TcpListener owns its descriptor for life, which is all that `register` asks; that one is unsafe"
        )]
        let socket = AsyncFd::new(listener.socket.try_clone()?)?;
        let core = self.clone();
        tokio::task::spawn_local(async move {
            let stop = core.stop().clone();
            tokio::select! {
                () = stop.requested() => {}
                () = accept_all(&core, socket, &listener, serve) => {}
            }
        });
        Ok(())
    }
}

async fn accept_all(core: &Core, socket: AsyncFd<TcpListener>, listener: &Listener, serve: Serve) {
    let peers = Rc::new(Peers::of(listener.connections_max));
    loop {
        // until the core stops: our caller drops us then
        let accepted = socket
            .async_io(tokio::io::Interest::READABLE, |socket| socket.accept())
            .await;
        match accepted {
            Ok((stream, peer)) => admit(core, stream, peer, listener, &peers, &serve),
            Err(error) => {
                // The peer left before we came (ECONNABORTED and kin), or we have no descriptor left (EMFILE).
                tracing::warn!(listener = listener.name, %error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(
    core: &Core,
    stream: TcpStream,
    peer: SocketAddr,
    listener: &Listener,
    peers: &Rc<Peers>,
    serve: &Serve,
) {
    let counters = &listener.counters;
    let full = counters.open.load(Relaxed) >= listener.connections_max as u64;
    if full || !peers.has_room(peer.ip()) {
        counters.refused.fetch_add(1, Relaxed);
        tracing::debug!(listener = listener.name, %peer, "refused: too many connections");
        refuse(stream, listener.refusal);
        return;
    }
    let connection = match Connection::new(stream, core.stop().clone(), counters.clone()) {
        Ok(connection) => connection,
        // The peer is gone already.
        Err(_) => return,
    };
    counters.accepted.fetch_add(1, Relaxed);
    let open = Open::new(core.clone(), counters.clone());
    let entered = Peers::enter(peers, peer.ip());
    let serve = serve.clone();
    let tls = listener.tls.clone();
    tokio::task::spawn_local(async move {
        let _open = (open, entered);
        let mut connection = connection;
        if let Some(config) = tls
            && let Err(fault) = connection.start_tls(&config).await
        {
            tracing::debug!(%peer, %fault, "TLS handshake failed");
            return;
        }
        serve(connection).await;
    });
}

/// Best effort, without waiting: a fresh socket has room for a line.
fn refuse(mut stream: TcpStream, refusal: &[u8]) {
    if stream.set_nonblocking(true).is_ok() {
        let _ = stream.write(refusal);
        let _ = stream.shutdown(Shutdown::Write);
    }
}

/// Who has how many connections open, by address (IPv6: by the first 64 bits, which are one customer's).
struct Peers {
    each_max: usize,
    open: RefCell<HashMap<IpAddr, usize>>,
}

impl Peers {
    fn of(connections_max: usize) -> Peers {
        Peers {
            each_max: (connections_max / PEER_SHARE).max(1),
            open: RefCell::default(),
        }
    }

    fn has_room(&self, peer: IpAddr) -> bool {
        let peer = network(peer);
        // What runs on this machine is the operator's.
        peer.is_loopback() || self.open.borrow().get(&peer).copied().unwrap_or(0) < self.each_max
    }

    /// Counts one connection of `peer` for as long as the answer lives.
    fn enter(peers: &Rc<Peers>, peer: IpAddr) -> Entered {
        let peer = network(peer);
        *peers.open.borrow_mut().entry(peer).or_default() += 1;
        Entered {
            peers: peers.clone(),
            peer,
        }
    }
}

/// The address that stands for all of one customer's.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6((address.to_bits() >> 64 << 64).into())
        }
        other => other,
    }
}

struct Entered {
    peers: Rc<Peers>,
    peer: IpAddr,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.peers.open.borrow_mut();
        let count = open.get_mut(&self.peer).expect("it entered");
        *count -= 1;
        if *count == 0 {
            open.remove(&self.peer);
        }
    }
}

/// Counts one open session for as long as it lives.
struct Open {
    core: Core,
    counters: Arc<Counters>,
}

impl Open {
    fn new(core: Core, counters: Arc<Counters>) -> Open {
        counters.open.fetch_add(1, Relaxed);
        core.session_began();
        Open { core, counters }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counters.open.fetch_sub(1, Relaxed);
        self.core.session_ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_leaves_half_of_the_connections_to_others() {
        let peers = Rc::new(Peers::of(10));
        let of = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let hostile = of("2001:db8::1");
        let held: Vec<Entered> = (0..5).map(|_| Peers::enter(&peers, hostile)).collect();
        assert!(!peers.has_room(hostile));
        assert!(
            !peers.has_room(of("2001:db8::ffff:2")),
            "it is the same customer"
        );
        assert!(peers.has_room(of("2001:db8:0:1::1")));
        assert!(peers.has_room(of("192.0.2.1")));
        drop(held);
        assert!(peers.has_room(hostile));
        assert!(
            peers.open.borrow().is_empty(),
            "nothing is kept of whoever left"
        );
        let _held: Vec<Entered> = (0..9)
            .map(|_| Peers::enter(&peers, of("127.0.0.1")))
            .collect();
        assert!(peers.has_room(of("127.0.0.1")) && peers.has_room(of("::ffff:127.0.0.1")));
        assert!(Peers::of(1).has_room(hostile));
    }
}
