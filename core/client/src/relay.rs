//! Mail on its way to other servers.
//!
//! - `schedule.rs`: when something is tried again, and when it is given up. `verdict.rs`: what a try came to.
//! - `report.rs`: what senders hear. `destination.rs`: where mail for a domain goes.
//!
//! Start reading with `schedule.rs`.

pub mod destination;
pub mod limits;
pub mod report;
pub mod schedule;
pub mod verdict;
