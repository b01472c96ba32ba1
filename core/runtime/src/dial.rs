//! Connecting to other servers: within a deadline, bounded in number, and every fault with its name.
//!
//! What must hold: a dial that is dropped, or whose deadline is over, leaves no socket, no task and nothing in the kernel behind. So
//! connecting does not use the ring, which cannot cancel: the socket is a non-blocking one of tokio's until it is connected, and closes
//! when it is dropped. Only then it becomes a `TcpConnection`.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpSocket, TcpStream};

use crate::connection::Dialled;
use crate::core::Core;
use crate::counters::{Counters, Open};
use crate::stall;
use crate::tcp::TcpConnection;

pub mod memory;
pub(crate) mod slot;

/// Why there is no connection. The first three are about the other end: another address may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DialFault {
    /// The host answers, and nothing listens there; or it broke the connection off at once.
    #[error("the connection was refused")]
    Refused,
    /// Nothing was heard within the time given.
    #[error("the host did not answer in time")]
    TimedOut,
    /// No way leads there: no route, no address of that family here, or a filter on the way.
    #[error("the host cannot be reached")]
    Unreachable,
    /// Our own bound on connections is reached, or descriptors, ports or memory are spent: try again later.
    #[error("too many connections are open here")]
    Busy,
    /// The address to dial from is not one of this machine, or of another family.
    #[error("the source address is not one of this machine")]
    NotHere,
    /// The appliance is stopping: no connection is begun.
    #[error("the appliance is stopping")]
    Stopping,
}

/// Opens connections to other servers. Clones are the same dialler, with one bound for all.
pub trait Dial: Clone + 'static {
    type Connection: Dialled;

    /// Connects to `to` from `from`, or, without, from the address that the system chooses; waits at most `within` for the answer. May be
    /// dropped at any await.
    fn dial_from(
        &self,
        from: Option<IpAddr>,
        to: SocketAddr,
        within: Duration,
    ) -> impl Future<Output = Result<Self::Connection, DialFault>>;

    /// As `dial_from`, from the address that the system chooses.
    fn dial(
        &self,
        to: SocketAddr,
        within: Duration,
    ) -> impl Future<Output = Result<Self::Connection, DialFault>> {
        self.dial_from(None, to, within)
    }
}

/// Dials from a core. A connection counts as a session of that core: `Core::drain` waits for it.
///
/// One that idles costs `limits::DIALLED_BYTES`, as an accepted one with TLS does.
#[derive(Clone)]
pub struct TcpDial {
    core: Core,
    /// Connections at a time, those that are not answered yet included.
    connections_max: usize,
    counters: Arc<Counters>,
}

impl TcpDial {
    /// At most `connections_max` connections at a time, counted in `counters`, which no other dialler or listener shares.
    pub fn new(core: &Core, connections_max: usize, counters: Arc<Counters>) -> TcpDial {
        TcpDial {
            core: core.clone(),
            connections_max,
            counters,
        }
    }
}

impl Dial for TcpDial {
    type Connection = TcpConnection;

    async fn dial_from(
        &self,
        from: Option<IpAddr>,
        to: SocketAddr,
        within: Duration,
    ) -> Result<TcpConnection, DialFault> {
        let stop = self.core.stop();
        if stop.is_requested() {
            return Err(DialFault::Stopping);
        }
        if self.counters.open.load(Relaxed) >= self.connections_max as u64 {
            self.counters.refused.fetch_add(1, Relaxed);
            return Err(DialFault::Busy);
        }
        let open = Open::new(self.core.clone(), self.counters.clone());
        let connected = tokio::select! {
            biased;
            () = stop.requested() => return Err(DialFault::Stopping),
            connected = tokio::time::timeout(within, connect(from, to)) => connected,
        };
        stall::arm();
        let Ok(connected) = connected else {
            self.counters.timed_out.fetch_add(1, Relaxed);
            return Err(DialFault::TimedOut);
        };
        let connected = match connected {
            Err(Failed::Bind(error)) => {
                tracing::debug!(?from, %to, %error, "cannot dial from there");
                return Err(DialFault::NotHere);
            }
            Err(Failed::Connect(error)) => Err(error),
            Ok(stream) => Ok(stream),
        };
        let taken = connected.and_then(|stream| {
            let stream = stream.into_std()?;
            stream.set_nonblocking(false)?;
            TcpConnection::dialled(stream, stop.clone(), self.counters.clone(), open)
        });
        match taken {
            Ok(connection) => {
                self.counters.accepted.fetch_add(1, Relaxed);
                Ok(connection)
            }
            Err(error) => {
                tracing::debug!(%to, %error, "cannot connect");
                Err(fault_of(&error, to))
            }
        }
    }
}

/// Which step failed.
enum Failed {
    Bind(io::Error),
    Connect(io::Error),
}

async fn connect(from: Option<IpAddr>, to: SocketAddr) -> Result<TcpStream, Failed> {
    let Some(from) = from else {
        return TcpStream::connect(to).await.map_err(Failed::Connect);
    };
    if from.is_ipv4() != to.is_ipv4() {
        return Err(Failed::Bind(io::ErrorKind::InvalidInput.into()));
    }
    let socket = match from {
        IpAddr::V4(_) => TcpSocket::new_v4(),
        IpAddr::V6(_) => TcpSocket::new_v6(),
    };
    // Descriptors may be spent.
    let socket = socket.map_err(Failed::Connect)?;
    // The port is chosen at `connect`, so that it is free for one peer and not for all. Where that cannot be set ports are fewer, and no more.
    let _ = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true);
    socket
        .bind(SocketAddr::new(from, 0))
        .map_err(Failed::Bind)?;
    socket.connect(to).await.map_err(Failed::Connect)
}

/// What an error of `connect` to `to` means.
fn fault_of(error: &io::Error, to: SocketAddr) -> DialFault {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ETIMEDOUT) => DialFault::TimedOut,
        // Of IPv4: every port of ours towards `to` is in use. Of IPv6: it is switched off here.
        Some(Errno::EADDRNOTAVAIL) if to.is_ipv4() => DialFault::Busy,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::EAGAIN) => {
            DialFault::Busy
        }
        // ENOTCONN: it was connected, and broken off before we looked.
        Some(
            Errno::ECONNREFUSED
            | Errno::ECONNRESET
            | Errno::ECONNABORTED
            | Errno::EPIPE
            | Errno::ENOTCONN,
        ) => DialFault::Refused,
        _ => DialFault::Unreachable,
    }
}

#[cfg(test)]
mod tests;
