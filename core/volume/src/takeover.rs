//! The end of an opening: from here this owner writes (DESIGN.md B5).

use std::rc::Rc;

use bytes::Bytes;

use crate::format::{Header, Inline, Kind};
use crate::inner::Inner;
use crate::limits::{CLAIMS_OF_OPENING, SKIPS_PER_BATCH};
use crate::opening::{GivenUp, Takeover};
use crate::recover::segments_for;
use crate::skip::Skip;
use crate::types::*;

/// Raises the term through the witness, makes the legs identical, claims fresh segments and writes all of it down.
pub(crate) async fn take_over(inner: &Rc<Inner>, takeover: Takeover) -> Result<(), OpenRefusal> {
    let Takeover {
        record,
        term,
        acked_seen,
        repairs,
        again,
        idle,
        given_up,
        lost,
        held,
    } = takeover;
    if inner.is_stopped() {
        return misfit(format!(
            "volume {} has stopped; start ringpostd again",
            inner.id
        ));
    }
    let here: Vec<LegId> = inner
        .legs
        .borrow()
        .iter()
        .filter(|leg| leg.serves())
        .map(|leg| leg.id())
        .collect();
    if here.is_empty() {
        return misfit(format!("no leg of volume {} answers", inner.id));
    }
    let everybody = record.in_sync.iter().all(|id| here.contains(id));
    let epoch = record.epoch + u64::from(!everybody);
    let new = WitnessRecord {
        volume: inner.id,
        epoch,
        term,
        opened: record.opened,
        in_sync: here,
    };
    if let Err(fault) = inner.witness.replace(Some(&record), &new) {
        return misfit(format!(
            "ownership of volume {} could not be recorded: {fault}",
            inner.id
        ));
    }
    for leg in inner.legs.borrow_mut().iter_mut() {
        // A leg that counted until now and is not here has everything acknowledged, and nothing later for sure; one that is
        // here and does not count holds as much as it proved.
        if record.in_sync.contains(&leg.id()) && !leg.serves() {
            let since = leg.is_left_out(acked_seen);
            tracing::error!(leg = %leg.id(), stale_since = since.0, "a leg is absent");
        }
    }
    {
        if !inner.log.borrow_mut().own(epoch, term) {
            return misfit(format!(
                "volume {} was stopped while it was opened",
                inner.id
            ));
        }
    }
    let before = inner.counters.get().repairs;
    for (of, block) in repairs {
        // A leg on which a repair does not hold leaves (`read::rewrite`); another one has the batch.
        let _ = inner.repair_batch(of, block).await;
    }
    let unsure = {
        let mut legs = inner.legs.borrow_mut();
        let proved = legs.iter_mut().filter(|leg| leg.serves());
        // What they lacked is on them now.
        proved.for_each(|leg| leg.has_all());
        legs.iter().any(|leg| leg.is_arena_unsure())
    };
    inner.report.borrow_mut().normalised =
        inner.counters.get().repairs - before + again.len() as u64;
    claim_first(inner, &again)?;
    publish_start(inner, &again, idle, given_up, &lost, held)
        .await
        .or_else(|fault| misfit(format!("the volume could not be opened: {fault}")))?;
    inner.given_up.borrow_mut().extend(lost);
    // Before the first acknowledgement to anybody outside: a leg that does not know this term is refused from here on.
    inner
        .record_opened()
        .await
        .or_else(|fault| misfit(format!("the opening could not be recorded: {fault}")))?;
    inner.log.borrow_mut().table_mut().opening_ends();
    inner.note_position();
    inner
        .io
        .host
        .spawn(Box::pin(inner.clone().prove_heads(unsure)));
    Ok(())
}

/// Two segments to go on with, and as many as the batches to be appended again can fill.
fn claim_first(inner: &Rc<Inner>, again: &[(Header, Bytes)]) -> Result<(), OpenRefusal> {
    let mut log = inner.log.borrow_mut();
    // Claims that were filled stay listed until the next table; the unused ones are free again.
    log.drop_old_claims();
    for _ in 0..CLAIMS_OF_OPENING + segments_for(again, inner.plan.segment_bytes) {
        match log.claim_by_superblock() {
            None => break,
            Some(Ok(())) => {}
            Some(Err(())) => {
                return misfit(
                    "the volume was interrupted too often while opening; free segments cannot be claimed",
                );
            }
        }
    }
    Ok(())
}

/// Superblocks under the new term, then SEAL and a fresh segment table in the new owner's own segment. What
/// earlier openings took is given back with it: otherwise each would cost a segment until a checkpoint of the store's passes it.
async fn publish_start(
    inner: &Rc<Inner>,
    again: &[(Header, Bytes)],
    idle: bool,
    given_up: GivenUp,
    lost: &[Skip],
    held: Vec<SegmentIndex>,
) -> Result<(), CommitFault> {
    inner.publish().await?;
    let top = inner.log.borrow().acked();
    for (header, bytes) in again {
        // Nobody waits for it; the seal behind it is awaited.
        drop(inner.enqueue_again(header, bytes)?);
    }
    if !inner.log.borrow().table().has_claimed() {
        return Err(CommitFault::Full);
    }
    // Where it gives earlier seals up it seals as much as they did.
    let last = given_up.skip.map_or(top, |(after, _)| after);
    let mut records = vec![Inline::Seal { last }];
    records.extend(given_up.skip.map(|(_, record)| record));
    inner.log.borrow_mut().begin_seal();
    let mut sealed = inner.enqueue_own(Kind::Records, &[], &records)?;
    for lost in lost.chunks(SKIPS_PER_BATCH) {
        let records: Vec<Inline> = lost.iter().map(Skip::record).collect();
        sealed = inner.enqueue_own(Kind::Records, &[], &records)?;
    }
    for &segment in &given_up.segments {
        // The table about to be written says that it is free; nobody may write there before the superblocks say so too.
        let mut log = inner.log.borrow_mut();
        log.table_mut().free(segment, Lsn(0));
        log.table_mut().pin(segment);
    }
    for &segment in &held {
        // What it held has a new place before the SEAL; the table says that it is free for good.
        let mut log = inner.log.borrow_mut();
        log.table_mut().free_held(segment);
    }
    sealed
        .await
        .unwrap_or_else(|| Err(CommitFault::Deferred("the volume stopped".into())))?;
    let mut checkpoint = inner.checkpoint_now();
    if idle {
        // Nothing of the store's lies behind the checkpoint: it may move up, and the volume's own batches be given back.
        checkpoint.lsn = top;
    }
    inner.set_checkpoint(checkpoint, None).await?;
    let mut log = inner.log.borrow_mut();
    for segment in given_up.segments.into_iter().chain(held) {
        log.table_mut().unpin(segment);
    }
    Ok(())
}
