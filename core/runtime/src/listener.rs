//! Accepting connections: one socket per address, shared by the cores that serve it, bounded on each.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use base::{LocalTask, Network};
use nix::sys::socket::Backlog;
use tokio::io::unix::AsyncFd;

use crate::connection::{Accepted as _, Connection as _};
use crate::core::Core;
use crate::counters::{Counters, Open};
use crate::limits::*;
use crate::stall;
use crate::tcp::TcpConnection;

/// A bound socket and what to do with who comes.
pub struct Listener {
    /// For people: `smtp`, `imaps`.
    pub name: &'static str,
    /// The socket, bound and listening.
    pub socket: TcpListener,
    /// Connections open at once on this core. One peer's address has half of them at most (`PEER_SHARE`), but for the machine's own.
    pub connections_max: usize,
    /// Sent as it is to a peer past the bound, before the socket is closed; empty where TLS comes first.
    pub refusal: &'static [u8],
    /// Handshake first (IMAPS, HTTPS).
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Which peers may come in, and which speak for others.
    pub gate: Gate,
    /// What is counted of it on this core.
    pub counters: Arc<Counters>,
}

/// What is asked about a peer before it is served. The default asks nothing.
#[derive(Clone, Default)]
pub struct Gate {
    /// Connections from these networks begin with a header of the PROXY protocol, and are the client's that it names.
    pub proxies: Vec<Network>,
    /// Whether this client may come in.
    pub lets_in: Option<Arc<LetsIn>>,
    /// Sent as it is to one that may not; empty where TLS comes first.
    pub refusal: &'static [u8],
}

/// Whether a client with this address may come in. Called for each connection, so it must be quick.
pub type LetsIn = dyn Fn(IpAddr) -> bool + Send + Sync;

/// What serves one connection, to its end.
pub type Serve = Rc<dyn Fn(TcpConnection) -> LocalTask>;

/// Binds `address` exclusively. `try_clone` the socket for every core that serves it.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpListener::bind(address)?;
    nix::sys::socket::listen(&socket, Backlog::new(ACCEPT_BACKLOG)?)?;
    // Accepting waits for readiness, so that a stop never leaves an accept behind in the kernel.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Core {
    /// Accepts on `listener` until the core is asked to stop. Each connection is served by a task of its own.
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

/// Accepts for ever. The kernel gives one connection to one of the cores that share the socket.
async fn accept_all(core: &Core, socket: AsyncFd<TcpListener>, listener: &Listener, serve: Serve) {
    let peers = Rc::new(Peers::of(listener.connections_max));
    let mut trouble = AcceptTrouble::default();
    loop {
        // until the core stops: our caller drops us then
        let accepted = socket
            .async_io(tokio::io::Interest::READABLE, |socket| socket.accept())
            .await;
        match accepted {
            Ok((stream, peer)) => {
                stall::arm();
                trouble.is_over();
                admit(core, stream, peer, listener, &peers, &serve);
            }
            // The peer left before we came: the next one has nothing to do with it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // No descriptor is left, most often (EMFILE).
                let pause = trouble.pause(listener.name, &error);
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Accepts of one listener that failed: each in a row is waited out twice as long as the one before, and the log has one
/// line for all of `ACCEPT_SAID_EVERY`.
#[derive(Debug, Default)]
pub struct AcceptTrouble {
    /// Failures since the last success.
    in_a_row: u32,
    /// Failures that the log has not counted yet.
    since_said: u32,
    /// When the log last had a line.
    said: Option<Instant>,
}

impl AcceptTrouble {
    /// One more failed. Returns how long to wait before the next try.
    pub fn pause(&mut self, listener: &str, error: &io::Error) -> Duration {
        let doubled = ACCEPT_PAUSE.saturating_mul(1 << self.in_a_row.min(16));
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.since_said = self.since_said.saturating_add(1);
        if self.is_to_be_said(Instant::now()) {
            let times = self.since_said;
            self.since_said = 0;
            tracing::warn!(listener, %error, times, "cannot accept connections");
        }
        doubled.min(ACCEPT_PAUSE_MAX)
    }

    /// One was accepted.
    pub fn is_over(&mut self) {
        self.in_a_row = 0;
    }

    /// Whether the log gets a line now.
    fn is_to_be_said(&mut self, now: Instant) -> bool {
        let due = self
            .said
            .is_none_or(|said| now.duration_since(said) >= ACCEPT_SAID_EVERY);
        if due {
            self.said = Some(now);
        }
        due
    }
}

/// Decides about one connection: refused at a bound, turned away at the gate, or served by a task of its own.
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
    let mut proxies = listener.gate.proxies.iter();
    let is_proxy = proxies.any(|network| network.contains(peer.ip()));
    if full || !is_proxy && !peers.has_room(peer.ip()) {
        counters.refused.fetch_add(1, Relaxed);
        tracing::debug!(listener = listener.name, %peer, "refused: too many connections");
        refuse(stream, listener.refusal);
        return;
    }
    let connection = match TcpConnection::new(stream, core.stop().clone(), counters.clone()) {
        Ok(connection) => connection,
        // The peer is gone already.
        Err(_) => return,
    };
    counters.accepted.fetch_add(1, Relaxed);
    let open = Open::new(core.clone(), counters.clone());
    let entered = (!is_proxy).then(|| Peers::enter(peers, peer.ip()));
    let peers = peers.clone();
    let (lets_in, barred) = (listener.gate.lets_in.clone(), listener.gate.refusal);
    let refusal = listener.refusal;
    let serve = serve.clone();
    let tls = listener.tls.clone();
    tokio::task::spawn_local(async move {
        let _open = open;
        let mut connection = connection;
        let gate = Door {
            is_proxy,
            peers,
            lets_in,
            refusal,
            barred,
            tls,
        };
        // Boxed: a handshake needs kilobytes, and a connection that waits for years does not hold them.
        let entered = Box::pin(gate.let_in(&mut connection, entered)).await;
        let _entered = match entered {
            Ok(entered) => entered,
            Err(Some(refusal)) => return Box::pin(turn_away(connection, refusal)).await,
            Err(None) => return,
        };
        serve(connection).await;
    });
}

/// What a connection passes before it is served.
struct Door {
    /// The peer is one of the proxies, which send a header first.
    is_proxy: bool,
    peers: Rc<Peers>,
    lets_in: Option<Arc<LetsIn>>,
    /// What a peer with too many connections reads.
    refusal: &'static [u8],
    /// What a banned peer reads.
    barred: &'static [u8],
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Door {
    /// The header of the PROXY protocol, the gate, and TLS where the listener begins with it. `Err` has what the peer is to read, if anything.
    async fn let_in(
        self,
        connection: &mut TcpConnection,
        mut entered: Option<Entered>,
    ) -> Result<Option<Entered>, Option<&'static [u8]>> {
        if self.is_proxy {
            if let Err(fault) = connection.take_proxy_header().await {
                let peer = connection.peer();
                tracing::debug!(%peer, %fault, "no header of the PROXY protocol came");
                return Err(None);
            }
            let client = connection.peer().ip();
            if !self.peers.has_room(client) {
                return Err(Some(self.refusal));
            }
            entered = Some(Peers::enter(&self.peers, client));
        }
        let client = connection.peer().ip();
        if self.lets_in.is_some_and(|lets_in| !lets_in(client)) {
            tracing::debug!(peer = %client, "refused: banned");
            return Err(Some(self.barred));
        }
        if let Some(config) = self.tls
            && let Err(fault) = connection.start_tls(&config).await
        {
            tracing::debug!(peer = %connection.peer(), %fault, "TLS handshake failed");
            return Err(None);
        }
        Ok(entered)
    }
}

/// Best effort, without waiting: a fresh socket has room for a line.
fn refuse(mut stream: TcpStream, refusal: &[u8]) {
    if stream.set_nonblocking(true).is_ok() {
        let _ = stream.write(refusal);
        let _ = stream.shutdown(Shutdown::Write);
    }
}

/// Says why, and closes properly, so that the peer can read it.
async fn turn_away(mut connection: TcpConnection, refusal: &'static [u8]) {
    if !refusal.is_empty() && connection.send(refusal).await.is_ok() {
        connection.close().await;
    }
}

/// Who has how many connections open, by address (IPv6: by the first 64 bits, which are one customer's).
pub struct Peers {
    /// Connections of one peer at most.
    each_max: usize,
    /// How many each peer has open. Bounded by the listener's connections.
    open: RefCell<HashMap<IpAddr, usize>>,
}

impl Peers {
    /// For a listener of `connections_max`.
    pub fn of(connections_max: usize) -> Peers {
        Peers {
            each_max: (connections_max / PEER_SHARE).max(1),
            open: RefCell::default(),
        }
    }

    /// Whether `peer` may open one more.
    pub fn has_room(&self, peer: IpAddr) -> bool {
        let peer = network(peer);
        // What runs on this machine is the operator's.
        peer.is_loopback() || self.open.borrow().get(&peer).copied().unwrap_or(0) < self.each_max
    }

    /// Counts one connection of `peer` for as long as the answer lives.
    pub fn enter(peers: &Rc<Peers>, peer: IpAddr) -> Entered {
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

/// One connection of a peer, counted until it is dropped.
pub struct Entered {
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
            "nothing is kept of a peer that left"
        );
        let _held: Vec<Entered> = (0..9)
            .map(|_| Peers::enter(&peers, of("127.0.0.1")))
            .collect();
        assert!(peers.has_room(of("127.0.0.1")) && peers.has_room(of("::ffff:127.0.0.1")));
        assert!(Peers::of(1).has_room(hostile));
    }

    #[test]
    fn accepts_that_fail_are_waited_out_longer_and_longer_and_said_once_a_minute() {
        let mut trouble = AcceptTrouble::default();
        let error = io::Error::from_raw_os_error(nix::libc::EMFILE);
        let pauses: Vec<Duration> = (0..20).map(|_| trouble.pause("smtp", &error)).collect();
        assert_eq!(pauses[0], ACCEPT_PAUSE);
        assert!(
            pauses.is_sorted() && pauses[19] == ACCEPT_PAUSE_MAX,
            "{pauses:?}"
        );
        assert_eq!(trouble.since_said, 19, "one line for all of them");
        trouble.is_over();
        assert_eq!(trouble.pause("smtp", &error), ACCEPT_PAUSE);
        let said = trouble.said.expect("it was sent");
        assert!(!trouble.is_to_be_said(said + ACCEPT_SAID_EVERY / 2));
        assert!(trouble.is_to_be_said(said + ACCEPT_SAID_EVERY));
    }
}
