//! Numbers that mail is known by.

/// RFC 3501 §2.3.1.1: unique in its mailbox for ever, strictly ascending, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub u32);

/// RFC 3501 §2.3.1.1. Never changed by failover, move or rebuild (INVARIANTS.md I14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UidValidity(pub u32);

/// RFC 7162 §3.1: the one change counter of a mailbox. 0 is before every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ModSeq(pub u64);

/// RFC 3501 §2.3.3, as seconds since the Unix epoch and the zone it was given in, in minutes east.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InternalDate {
    pub unix_seconds: i64,
    pub zone_minutes: i16,
}

impl InternalDate {
    pub fn utc(unix_seconds: i64) -> Self {
        Self {
            unix_seconds,
            zone_minutes: 0,
        }
    }
}
