//! Mail on its way to other servers.
//!
//! `sender` takes due messages from the queue (`storage::outgoing`) as leases, sorts them by destination and keeps connections busy with
//! them; what came of each try goes back to the queue, with a report to the sender where there is something to hear.
//!
//! What must hold: a message that was taken from the queue is delivered, given up with a report, or due again, and noted as delivered only
//! after the server's 250 to its content; no destination holds up another; everything held is bounded in number and time.
//!
//! - `schedule.rs`: when something is tried again, and when it is given up. `age.rs`: whether its age counts. `verdict.rs`: what a try came to.
//! - `report.rs`: what senders hear. `destination.rs`: where mail for a domain goes. `offered.rs`: what a server can do.
//! - `source.rs`: where it is begun from. `line.rs`: one connection. `attempt.rs`: one transaction over it. `tls.rs`: whom TLS believes. `dane.rs`: whom the domain says it should.
//! - `sts.rs`: the domain's policy about its servers (MTA-STS). `authorities.rs`: whose certificates count for it.
//! - `seen.rs`: what a conversation came to; `tally.rs`: counted for reports of TLS.
//! - `sender.rs`: the loop. `site.rs`: what is known of a destination. `worker.rs`: one connection's life. `letter.rs`: a message in hand.
//!   `settle.rs`: what came of it. `here.rs`: messages for our own mailboxes. `counters.rs`.
//!
//! Start reading at `sender.rs`.

mod age;
mod attempt;
pub mod authorities;
pub mod counters;
pub mod dane;
pub mod destination;
mod here;
mod letter;
pub mod limits;
mod line;
mod offered;
pub mod report;
pub mod schedule;
mod seen;
pub mod sender;
mod settle;
mod site;
mod source;
pub mod sts;
mod tally;
pub mod tls;
mod unsigned;
pub mod verdict;
mod worker;

pub use counters::Counters;
pub use destination::{FixedServer, Route};
pub use sender::{Sender, Settings};
pub use source::Source;
