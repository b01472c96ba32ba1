//! One core's life: a pinned thread, its runtime, its listeners, its connections, and lanes to other cores.
//!
//! A `Core` is an operating-system thread, pinned to one CPU when that is allowed, that runs a tokio-uring runtime
//! (a tokio current-thread runtime that also owns a ring). Sockets use the ring with owned buffers; timers and
//! libraries that expect tokio run beside them on the same thread. Work that belongs to another core travels a
//! `Lane`: a bounded queue with one doorbell, whose `Full` is an answer. Memory that many connections share is taken
//! from a `Budget`, which says no instead of growing. Work over many bytes leaves the core by `work`. Knows no protocol and no store.
//!
//! What must hold:
//! - A read in flight is never dropped: tokio-uring does not cancel it, and the orphan would swallow the next bytes. It
//!   lives in the `TcpConnection`; time-outs and drops *shut the socket down* so that the kernel lets go of it.
//! - tokio-uring submits its queue only when the thread parks, so nothing here (and nothing that runs here) may spin
//!   on `yield_now`.
//! - Accepted connections are bounded per listener and core; past the bound a peer gets a polite refusal. Dialled ones are bounded per
//!   `TcpDial`; past the bound the caller gets `Busy`. Nothing of a dial that is given up stays behind.
//! - A core that was asked to stop accepts no connection; sessions learn it from `ConnectionFault::Stopping`.
//!
//! Main path: `core.rs` starts the thread → `listener.rs` accepts (or `dial.rs` connects) → `tcp.rs` carries bytes (`tls.rs` when TLS is spoken) → a service
//! asks another core through `lane.rs`. `process.rs` is for the start of the process. Start
//! reading at `core.rs`.
//!
//! Sessions see a `Connection` and a `SessionHost`, and neither tokio nor a clock: in the simulator both are in memory, on virtual
//! time (`memory.rs`).
#![forbid(unsafe_code)]

pub mod budget;
pub mod connection;
pub mod core;
mod counters;
pub mod dial;
pub mod events;
pub mod host;
pub mod lane;
pub mod limits;
pub mod listener;
pub mod memory;
pub mod process;
pub mod proxy;
pub mod session_host;
pub mod stall;
pub mod stop;
mod tcp;
mod tls;
pub mod workers;

pub use budget::{Budget, Charge, Holder};
pub use connection::{Accepted, Connection, ConnectionFault, Dialled, Duplex, Moved};
pub use core::{Core, CoreHandle, CoreSettings, StartFault};
pub use counters::Counters;
pub use dial::memory::MemoryDial;
pub use dial::{Dial, DialFault, TcpDial};
pub use host::CoreHost;
pub use lane::{Lane, LaneEnd, lane};
pub use listener::{AcceptTrouble, Gate, Listener, Peers, bind};
pub use session_host::SessionHost;
pub use stall::Stalls;
pub use stop::Stop;
pub use tcp::TcpConnection;
pub use tls::TlsFacts;
pub use workers::work;
