//! What happens to mail that storage does not take at once: the same bytes go to the inbound zone's own spool (`spool::Spool`), and from there to
//! storage when it takes mail again.
//!
//! - `keeper.rs`: each message is tried directly first (cut-through) and spooled when storage is full, away, or silent for `limits::DIRECT_MAX`.
//! - `drain.rs`: what waits is handed over, in order.
//!
//! # What must hold, and why it does
//!
//! **250 means durable.** A message is accepted when the direct delivery or the spool answered `Ok`, and both answer after their commit. It leaves the spool
//! after the hand-over was answered.
//!
//! **No doubles.** The direct delivery of a spooled message may be under way, or done without an answer. Both carry the same delivery id, the
//! name of the bytes, and storage places an id once (`storage::outgoing`, `once.rs` has the argument; `queue`, `arrived.rs` says for how long an id is
//! remembered). One number for each spool (the highest handed over) would be smaller, but a direct delivery has no place in the order of a spool that it
//! was not in yet.
//!
//! **Order.** While anything waits, everything goes through the spool: a message never overtakes an earlier one of the same sender that had its 250. The drain
//! hands several over at a time only where no two of them are for one address. The rule is for the whole spool and not for one account, because the
//! memory of ids relies on it: no direct delivery begins while a doubtful one waits.
//!
//! **Unknown is not absent.** Whether an address is one of ours is not known while storage is away. A core accepts those that it looked up before and that
//! the directory has not changed since (`receive/directory.rs`); all others are deferred with 451.
//!
//! **Nothing is dropped.** A recipient whose account or room is gone at the hand-over is put in the outbound queue in the same group: the queue tries on
//! and reports to the sender. A message that cannot be handed over at all (damaged on every leg of the spool) is kept, counted (`Gauges::stuck`) and does not
//! hold up the others, once storage has said that no recipient has it and that no direct delivery of it is under way: from then on its id need not be
//! remembered, and new mail goes to storage directly again. One that some recipients have keeps all mail on the way through the spool. A message that storage
//! defers alone (a damaged account, a full queue) waits aside, and only what is for the same addresses waits behind it. A full spool refuses with 452 4.3.1.
//!
//! **Bounds.** What is being received is bounded by the memory budget of messages, the owner's lane by its items, the spool by bytes and messages.
//! A direct delivery that is not waited for any more keeps its bytes until it ends, although the receiver's memory is given back: at most once the
//! budget of messages, because none begins while anything waits. The drain holds `limits::HANDED_BYTES` or one message, once.
//! The lane's bound and `Busy` are the throttle between storage and inbound: a message over it goes to the spool, and a full spool answers 452.

mod drain;
mod keeper;
pub mod limits;
#[cfg(test)]
mod tests;

use std::future::Future;

use queue::Envelope;
use spool::{Spool, SpoolFault};
use store::BodyIn;

pub use drain::{Drain, Round, drain};
pub use keeper::{Counters, Spooled};

/// The way to the spool, as receivers see it.
///
/// What must hold: a `take` that began runs to its end, also when the wait for it is dropped.
pub trait Spooling: Clone + 'static {
    /// Durable when it resolves with `Ok`.
    fn take(
        &self,
        body: BodyIn,
        envelope: Envelope,
    ) -> impl Future<Output = Result<(), SpoolFault>>;

    /// Whether anything is in the spool, or on its way into it, that is to go first (`spool::Gauges::waits`).
    fn waits(&self) -> bool;

    /// Whether nothing more fits just now.
    fn is_full(&self) -> bool;
}

/// A spool on the receiver's own thread.
impl Spooling for Spool {
    async fn take(&self, body: BodyIn, envelope: Envelope) -> Result<(), SpoolFault> {
        Spool::take(self, body, envelope).await.map(drop)
    }

    fn waits(&self) -> bool {
        self.gauges().waits()
    }

    fn is_full(&self) -> bool {
        self.gauges().is_full()
    }
}
