//! What the steps of an opening hand to each other: recovery to `open`, and `open` to the take-over.

use bytes::Bytes;

use crate::format::{Header, Inline};
use crate::marks::Marks;
use crate::segment::{Of, Table};
use crate::skip::Skip;
use crate::types::*;

/// What recovery hands to `open`.
pub(crate) struct Recovered {
    /// The segment table, brought forward to the end of the log.
    pub table: Table,
    /// The last batch that stays where it is, and its chain value.
    pub top: Lsn,
    /// The chain value of that batch.
    pub chain: u128,
    /// Where walks of the log begin.
    pub marks: Marks,
    /// The highest number that is said to be acknowledged: the line between damage and torn tail.
    pub acked_seen: Lsn,
    /// Unacknowledged batches that not every leg has: to be appended again by the new owner, in order.
    pub again: Vec<(Header, Bytes)>,
    /// No leg lets the place be read where the next batch would be: the end of the log is not known.
    pub unknown_end: bool,
    /// Nothing of the store's follows the checkpoint.
    pub idle: bool,
    /// Acknowledged and on no leg.
    pub damaged: Vec<Lsn>,
    /// The same as stretches, for the record that they are given up; also what such records in the segments given back say.
    pub lost: Vec<Skip>,
    /// Stretches that were given up before.
    pub skips: Vec<Skip>,
    /// Batches that were read, each leg's copy by itself.
    pub batches: u64,
    /// Batches to be put right where they lie: place of each.
    pub repairs: Vec<(Of, u32)>,
    /// What the opening gives back.
    pub given_up: GivenUp,
    /// Free segments that hold nothing but `again`: pinned until those batches are durable elsewhere.
    pub held: Vec<SegmentIndex>,
    /// Not a single segment can be claimed: the volume can be read and no more.
    pub no_room: bool,
}

/// Segments of earlier openings, with nothing in them but the volume's own batches and what no checkpoint came to need: the new
/// owner gives them back, at the moment when the superblocks name its table.
#[derive(Debug, Default)]
pub(crate) struct GivenUp {
    /// Segments that become free.
    pub segments: Vec<SegmentIndex>,
    /// The end of the log without them, and the record of that; `None`: the log ends elsewhere.
    pub skip: Option<(Lsn, Inline)>,
}

/// What is left to do once it is clear that this owner may write. What has a name as in `Recovered` is what recovery found.
pub(crate) struct Takeover {
    /// What the witness had when the opening began: the take-over replaces exactly this.
    pub record: WitnessRecord,
    /// The term of this owner.
    pub term: u64,
    pub acked_seen: Lsn,
    pub repairs: Vec<(Of, u32)>,
    pub again: Vec<(Header, Bytes)>,
    pub idle: bool,
    pub given_up: GivenUp,
    /// Acknowledged and on no leg, and accepted as lost.
    pub lost: Vec<Skip>,
    pub held: Vec<SegmentIndex>,
}
