//! Making the legs identical at an opening: what one lacks of the acknowledged log goes back where it was, and a leg that lacks
//! too much of it to have merely rotted is left behind. Only reads; the new owner writes (`takeover`).

use std::rc::Rc;

use crate::format::Header;
use crate::inner::Inner;
use crate::limits::{LACKING_AT_OPEN_MAX, PROVED_AT_OPEN_MAX};
use crate::prove::{headed, read_interval, segments_of_interval};
use crate::scan::Union;
use crate::segment::Of;
use crate::segment::Table;
use crate::types::*;

/// What is known beside the superblock that recovery starts from.
pub(crate) struct Evidence {
    /// How far each serving leg's own word goes.
    pub holds: Vec<(LegId, Lsn)>,
    /// Acknowledged, as noted outside the legs.
    pub acked: Lsn,
    /// The last term whose opening came to its end, as the witness knows it.
    pub opened: u64,
}

impl Evidence {
    fn holds_of(&self, inner: &Inner, leg: LegIndex) -> Lsn {
        let id = inner.legs.borrow()[leg].id();
        let mut holds = self.holds.iter();
        holds
            .find(|(held, _)| *held == id)
            .map_or(Lsn(0), |&(_, holds)| holds)
    }
}

/// Proves what lies before the checkpoint: on legs that hold less than that by their own word batch by batch, on all of them by
/// the first blocks of the newest segments. Places to be put right; legs that lack more than that are left behind.
///
/// A power cut between the legs' writes of one superblock leaves the later leg with the word of the one before, however many
/// segments a checkpoint passed over. So only the newest segments are proved batch by batch; for what lies before them a
/// batch on the leg itself stands, which names what every counting leg held when it was written. That is the same word as
/// a superblock's, by the same owner.
pub(crate) async fn prove_before(
    inner: &Rc<Inner>,
    table: &Table,
    checkpoint: Lsn,
    evidence: &Evidence,
    (tail, acknowledged): (&Union, &[Header]),
) -> Vec<(Of, u32)> {
    // A leg that alone has something of the tail stays for now: what it has is copied first, and the look behind the opening
    // finds it again.
    let needed = |leg: LegIndex| has_alone(inner, tail, acknowledged, leg);
    for (leg, holds) in inner.legs_without_heads(&headed(table, checkpoint)).await {
        if !needed(leg) {
            inner.leave_behind(leg, holds, "it lacks segments that it should hold");
        }
    }
    let mut repairs = Vec::new();
    for &(id, holds) in &evidence.holds {
        let index = inner
            .legs
            .borrow()
            .iter()
            .position(|leg| leg.id() == id && leg.serves());
        let Some(index) = index.filter(|_| holds < checkpoint) else {
            continue;
        };
        let leg = LegIndex(index as u8);
        let segments = segments_of_interval(table, holds, checkpoint);
        let newest = segments.len().saturating_sub(PROVED_AT_OPEN_MAX);
        // What is not proved batch by batch, the leg must say of itself in a later batch.
        let from = match segments.get(newest) {
            Some(of) if newest > 0 => Lsn(table.row(of.segment).first.0 - 1),
            _ => holds,
        };
        let union = read_interval(inner, table, (from, checkpoint)).await;
        let says = [tail, &union].map(|union| union.acked_by(leg, evidence.opened));
        if says.into_iter().max().max(Some(holds)) < Some(from) && !needed(leg) {
            inner.leave_behind(leg, holds, "it may lack more than is proved while opening");
            continue;
        }
        let found: Vec<Header> = union
            .found
            .values()
            .flatten()
            .map(|c| c.header.clone())
            .collect();
        repairs.extend(normalise(inner, &union, &found, evidence));
    }
    repairs
}

/// Places of `acknowledged` batches that some serving leg lacks: they go back where they were. A leg that lacks more than rot
/// explains is left behind, unless it alone has another one.
pub(crate) fn normalise(
    inner: &Rc<Inner>,
    union: &Union,
    acknowledged: &[Header],
    evidence: &Evidence,
) -> Vec<(Of, u32)> {
    for (leg, _) in inner.legs_where(|leg| leg.serves()) {
        let lacks = |header: &&Header| !union.legs_with(header).contains(&leg);
        let count = acknowledged.iter().filter(lacks).count();
        let Some(first) = acknowledged.iter().find(lacks) else {
            continue;
        };
        if count > LACKING_AT_OPEN_MAX && !has_alone(inner, union, acknowledged, leg) {
            let holds = evidence
                .holds_of(inner, leg)
                .min(Lsn(first.lsn.0.saturating_sub(1)));
            inner.leave_behind(leg, holds, "it lacks acknowledged batches");
        } else {
            inner.legs.borrow_mut()[leg].suspect_arena();
        }
    }
    let serving = inner.legs_where(|leg| leg.serves());
    let lacked = |header: &&Header| {
        let on = union.legs_with(header);
        !serving.iter().all(|(leg, _)| on.contains(leg))
    };
    acknowledged.iter().filter(lacked).map(place_of).collect()
}

/// Whether no other serving leg has one of these batches that `leg` has.
fn has_alone(inner: &Inner, union: &Union, acknowledged: &[Header], leg: LegIndex) -> bool {
    let others = inner.legs_where(|other| other.serves());
    let only_here = |header: &Header| {
        let on = union.legs_with(header);
        let elsewhere = others
            .iter()
            .any(|(other, _)| *other != leg && on.contains(other));
        on.contains(&leg) && !elsewhere
    };
    acknowledged.iter().any(only_here)
}

pub(crate) fn place_of(header: &Header) -> (Of, u32) {
    (
        Of {
            segment: header.segment,
            generation: header.generation,
        },
        header.block,
    )
}
