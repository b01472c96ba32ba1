//! The twin of `TcpDial` without sockets: a table of addresses, and who listens there, on a host's clock.
//!
//! What must hold: what a sender sees is what it would see of a `TcpDial`. An address that is not in the table refuses.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use base::Host;
use base::host::Bell;

use crate::dial::slot::Slot;
use crate::dial::{Dial, DialFault};
use crate::memory::{MemoryConnection, MemoryPeer, connect};
use crate::session_host::SessionHost;
use crate::stop::Stop;

/// What an address does with a caller that dials it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// A connection at once; it waits for `MemoryListener::accept`.
    Answers,
    /// As `Answers`, after so long.
    Slow(Duration),
    /// `Refused`, at once.
    Refuses,
    /// Nothing is ever heard.
    Hangs,
    /// `Unreachable`, at once.
    Unreachable,
    /// `Busy`, at once: as when the process has no descriptor left.
    Busy,
}

/// Dials within a process. Clones are the same dialler, with one table and one bound.
#[derive(Clone)]
pub struct MemoryDial {
    shared: Rc<Shared>,
}

struct Shared {
    host: Rc<dyn Host>,
    stop: Stop,
    /// Each direction of each connection holds so many bytes.
    pipe_bytes: usize,
    connections_max: usize,
    open: Rc<Cell<usize>>,
    dialled: Cell<u64>,
    places: RefCell<HashMap<SocketAddr, Place>>,
    /// Addresses that are not of this machine.
    absent: RefCell<HashSet<IpAddr>>,
    /// Where the dials came from that reached an address of the table, in order.
    sources: RefCell<Vec<Option<IpAddr>>>,
}

/// An address of the table.
#[derive(Clone)]
struct Place {
    manner: Manner,
    /// Dialled and not accepted yet. Bounded by the dialler's connections.
    queue: Rc<RefCell<VecDeque<MemoryPeer>>>,
    bell: Bell,
}

impl MemoryDial {
    /// Connections whose directions hold `pipe_bytes` bytes each, at most `connections_max` at a time.
    pub fn new(
        host: &Rc<dyn Host>,
        stop: &Stop,
        pipe_bytes: usize,
        connections_max: usize,
    ) -> MemoryDial {
        MemoryDial {
            shared: Rc::new(Shared {
                host: host.clone(),
                stop: stop.clone(),
                pipe_bytes,
                connections_max,
                open: Rc::default(),
                dialled: Cell::new(0),
                places: RefCell::default(),
                absent: RefCell::default(),
                sources: RefCell::default(),
            }),
        }
    }

    /// Listens at `address`, which answers from now on. A second listener of an address takes turns with the first.
    pub fn listen(&self, address: SocketAddr) -> MemoryListener {
        self.set(address, Manner::Answers);
        let place = self.shared.places.borrow()[&address].clone();
        MemoryListener { place }
    }

    /// From now on `address` does `manner` to a caller that dials; connections that are there stay.
    pub fn set(&self, address: SocketAddr, manner: Manner) {
        let mut places = self.shared.places.borrow_mut();
        let place = places.entry(address).or_insert_with(|| Place {
            manner,
            queue: Rc::default(),
            bell: Bell::new(),
        });
        place.manner = manner;
    }

    /// From now on there is no dialling from `address`, or there is again.
    pub fn set_absent(&self, address: IpAddr, is_absent: bool) {
        let mut absent = self.shared.absent.borrow_mut();
        match is_absent {
            true => absent.insert(address),
            false => absent.remove(&address),
        };
    }

    /// Where the dials came from that reached an address of the table, in order; `None`: the caller left it to the system.
    pub fn sources(&self) -> Vec<Option<IpAddr>> {
        self.shared.sources.borrow().clone()
    }

    /// Connections that are open or being dialled.
    pub fn open(&self) -> usize {
        self.shared.open.get()
    }

    /// Dials so far, whatever came of them, but those past the bound.
    pub fn dialled(&self) -> u64 {
        self.shared.dialled.get()
    }
}

impl Dial for MemoryDial {
    type Connection = MemoryConnection;

    async fn dial_from(
        &self,
        from: Option<IpAddr>,
        to: SocketAddr,
        within: Duration,
    ) -> Result<MemoryConnection, DialFault> {
        let shared = &*self.shared;
        if shared.stop.is_requested() {
            return Err(DialFault::Stopping);
        }
        if shared.open.get() >= shared.connections_max {
            return Err(DialFault::Busy);
        }
        if let Some(from) = from
            && (from.is_ipv4() != to.is_ipv4() || shared.absent.borrow().contains(&from))
        {
            return Err(DialFault::NotHere);
        }
        let slot = Slot::take(&shared.open);
        shared.dialled.set(shared.dialled.get() + 1);
        let place = shared.places.borrow().get(&to).cloned();
        let Some(place) = place else {
            return Err(DialFault::Refused);
        };
        shared.sources.borrow_mut().push(from);
        let wait = match place.manner {
            Manner::Refuses => return Err(DialFault::Refused),
            Manner::Unreachable => return Err(DialFault::Unreachable),
            Manner::Busy => return Err(DialFault::Busy),
            Manner::Answers => None,
            Manner::Slow(span) if span <= within => Some((span, Ok(()))),
            Manner::Slow(_) | Manner::Hangs => Some((within, Err(DialFault::TimedOut))),
        };
        if let Some((span, outcome)) = wait {
            let host = SessionHost::on(shared.host.clone());
            tokio::select! {
                biased;
                () = shared.stop.requested() => return Err(DialFault::Stopping),
                () = host.sleep(span) => outcome?,
            }
        }
        let (mut connection, peer) = connect(&shared.host, &shared.stop, to, shared.pipe_bytes);
        connection.slot = Some(slot);
        place.queue.borrow_mut().push_back(peer);
        place.bell.ring();
        Ok(connection)
    }
}

/// The other end of the connections to one address.
pub struct MemoryListener {
    place: Place,
}

impl MemoryListener {
    /// The next connection, in the order they were dialled. Cancel-safe.
    pub async fn accept(&self) -> MemoryPeer {
        loop {
            // until one is dialled
            let next = self.place.queue.borrow_mut().pop_front();
            if let Some(peer) = next {
                return peer;
            }
            self.place.bell.wait().await;
        }
    }
}

#[cfg(test)]
mod tests;
