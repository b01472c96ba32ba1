//! What happens to mail that storage does not take at once: the same bytes go to the inbound zone's own spool (`spool::Spool`), and from there to
//! storage when it takes mail again.
//!
//! - `keeper.rs`: each message is tried directly first (cut-through) and spooled when storage is full, away, or silent for `limits::DIRECT_MAX`.
//! - `drain.rs`: what waits is handed over, in order.
//! - `storing.rs`: storage as both of them use it: on this box, or on other machines (`afar/spooled.rs`).
//! - `lane.rs`: the way to a spool on a thread of its own, as the daemon has it.
//! - `way.rs`: the keeper of a box that may have no spool.
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
//! **A spool whose legs are away** (`SpoolHealth`) holds nothing up: mail goes straight to storage, past what waits there, and is deferred only where storage
//! takes none either. For that time the argument about ids above does not hold: a doubtful delivery that waits in the spool meanwhile is doubled if more than
//! `queue::ARRIVED_WINDOW` others come in before the legs return. A second copy is preferred to mail that does not flow.
//!
//! **Credits.** Every message on its way from a receiver to storage or to the spool has credits of its bytes, and they come back when the way that they are
//! for has ended, which may be long after the receiver stopped waiting. Each way has at most half of them: a storage that stands still leaves the spool
//! its half, and a spool that hangs leaves storage its half. So a storage that is slow gets at most so many bytes, however many
//! senders there are; past that a message is answered 451 at once. Beside them the owner's lane and the spool's are bounded by items, the spool by
//! bytes, messages and recipients, and the drain holds `limits::HANDED_BYTES` or one message, once. `Busy` from storage is the signal to spool; a full
//! spool answers 452.

mod drain;
mod keeper;
mod lane;
pub mod limits;
mod storing;
#[cfg(test)]
mod tests;
mod way;

use std::future::Future;
use std::sync::Arc;

use base::host::oneshot;
use queue::{Envelope, QueueId};
use runtime::{Budget, Charge};
use spool::{Spool, SpoolFault};
use store::BodyIn;

pub use drain::{Drain, Round, drain};
pub use keeper::{Counters, Spooled};
pub use lane::{SpoolEnd, SpoolHealth, SpoolLane, spool_lane};
pub use storing::{Handed, Message, Part, Storing, Told};
pub(crate) use storing::{all, span_of};
pub use way::Way;

/// Credits for messages under way, `bytes` for all of them. A way has half of that, and at least one message of the largest size.
pub fn credits(bytes: usize, message_bytes_max: usize) -> Budget {
    Budget::with_shares(bytes, (bytes / 2).max(message_bytes_max))
}

/// Credits of a message under way. Given back when the last holder drops them.
pub type Held = Arc<Charge>;

/// The way to the spool, as receivers see it.
///
/// What must hold: a `take` that began runs to its end, also when the wait for it is dropped.
pub trait Spooling: Clone + 'static {
    /// Durable when it resolves with `Ok`. `held` is dropped at the end of what was begun.
    fn take(
        &self,
        body: BodyIn,
        envelope: Envelope,
        held: Held,
    ) -> impl Future<Output = Result<QueueId, SpoolFault>>;

    /// Whether anything is in the spool, or on its way into it, that is to go first (`spool::Gauges::waits`).
    fn waits(&self) -> bool;

    /// Whether nothing more fits just now.
    fn is_full(&self) -> bool;
}

/// A spool on the receiver's own thread.
impl Spooling for Spool {
    async fn take(
        &self,
        body: BodyIn,
        envelope: Envelope,
        held: Held,
    ) -> Result<QueueId, SpoolFault> {
        let (sender, receiver) = oneshot();
        let spool = self.clone();
        let host = self.tenancy().io().host.clone();
        host.spawn(Box::pin(async move {
            let taken = Spool::take(&spool, body, envelope).await;
            drop(held);
            sender.send(taken);
        }));
        let gone = || SpoolFault::Away("its thread ended".to_owned());
        receiver.await.unwrap_or_else(|| Err(gone()))
    }

    fn waits(&self) -> bool {
        self.gauges().waits()
    }

    fn is_full(&self) -> bool {
        self.gauges().is_full()
    }
}
