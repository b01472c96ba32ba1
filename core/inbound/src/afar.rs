//! Storage on other machines: a node with the inbound zone alone hands its mail over to storage nodes, by LMTP, SMTP or QMQP over mutual TLS.
//!
//! - `keeper.rs`: the `Keeper` of such a node. Start reading there.
//! - `spooled.rs`: the same behind a spool (`crate::spool`).
//! - `talk.rs`: one conversation with a storage node; `pool.rs`: connections that wait for the next message.
//! - `target.rs`: the storage nodes, which of them work, and which is asked next.
//! - `doubt.rs`: deliveries whose answer was lost, so that the sender's next try makes no second copy.
//! - `table.rs`: the table of recipients; `pull.rs`: how it is kept fresh. `serve.rs`: the storage node's side.
//!
//! # What must hold, and why it does
//!
//! **250 means durable.** A message is accepted when a storage node answered 250 to its content, and that node answers after its commit.
//!
//! **No doubles.** Each delivery has an id (`queue::DeliveryId`), which goes with it as XDELIVERY, and a storage node places an id once. An answer that was lost
//! after the end of data leaves it unknown whether the message was placed: the sender gets 451, the id is remembered (`doubt.rs`), and the sender's next
//! try goes out under the same id. No other storage node is asked in the same try, nor in later ones for `limits::DOUBT_HOLDS_FOR`. The memory is bounded and
//! is lost at a restart; that costs a second copy, never a message. Two inbound nodes do not know of each other's doubts. A stop waits for answers that are owed.
//!
//! **Unknown is not absent.** An address that the table does not have is refused only while the table is younger than the age given to `Table::new`. An older table, or
//! none, defers. An address that the table has is taken: the storage node decides again.
//!
//! **Bounds.** Conversations at a time (`limits::TALKS_MAX`), connections that wait (`limits::IDLE_MAX`), each step's time, the table's bytes, the doubts.
//! A message is not copied: it goes out in pieces of `limits::PIECE_BYTES`.
//!
//! **A spool in front** is the usual one (`spool::Spooled`). The keeper may be dropped at any await: the id of a message in doubt was noted before its end of data
//! was sent. What the spool took goes over under the id of its bytes, which is in the spool, so such a doubt survives a restart. Not what is doubtful over several
//! tries of a sender that the spool took none of, nor which of several storage nodes may have it.

mod doubt;
mod keeper;
pub mod limits;
mod pool;
pub mod pull;
pub mod serve;
mod spooled;
mod table;
mod talk;
mod target;
#[cfg(test)]
mod tests;

pub use doubt::Doubts;
pub use keeper::{Afar, Settings};
pub use table::{Holds, Table, TableState};
pub use talk::{Broke, Caller};
pub use target::{Protocol, Target, TargetState, Targets};
