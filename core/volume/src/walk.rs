//! The log read from front to back: what the store replays at open, and what it reads again before it gives a segment
//! back.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;

use crate::BATCH_HEADER_BYTES;
use crate::format::{Header, Kind};
use crate::inner::Inner;
use crate::limits::LEGS_MAX;
use crate::segment::Of;
use crate::segment::State;
use crate::stream::{Found, Stream};
use crate::types::*;

/// A stretch of one segment.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    of: Of,
    from: u32,
    end: u32,
}

/// The log after some LSN, up to what was acknowledged when the walk began.
pub struct Walk {
    inner: Rc<Inner>,
    stretches: VecDeque<Stretch>,
    stream: Option<(Of, Stream)>,
    /// The next batch to give out has at least this number.
    expected: Lsn,
    until: Lsn,
    /// Where no leg has a batch, since the last one that was found. It is damage only if the next batch shows that one is missing.
    gap: Option<(SegmentIndex, u32)>,
    /// The batch behind a gap that was reported.
    behind: Option<(Header, Bytes)>,
    /// How often a leg stopped answering; also which leg is read.
    turns: usize,
}

impl Walk {
    /// What is acknowledged after `after`, as of now: batches that are acknowledged later are not in it. Begins at the last
    /// mark before that, so that not all of a segment is read.
    pub(crate) fn new(inner: Rc<Inner>, after: Lsn) -> Walk {
        let expected = after.next();
        let (stretches, until) = {
            let log = inner.log.borrow();
            let mark = log.mark_before(expected);
            let order = log.table().in_log_order();
            let stretches = order.into_iter().filter_map(|segment| {
                let row = log.table().row(segment);
                let of = Of {
                    segment,
                    generation: row.generation,
                };
                let from = mark
                    .filter(|mark| mark.segment == segment && mark.generation == row.generation)
                    .map_or(0, |mark| mark.block);
                (row.last >= expected).then_some(Stretch {
                    of,
                    from: from.min(row.used_blocks),
                    end: row.used_blocks,
                })
            });
            (stretches.collect(), log.acked())
        };
        Walk {
            inner,
            stretches,
            stream: None,
            expected,
            until,
            gap: None,
            behind: None,
            turns: 0,
        }
    }

    /// One segment from its first block on, for resync and reclaim. Its first batch may have any number: nothing before it
    /// is looked for.
    pub(crate) fn of_segment(inner: Rc<Inner>, segment: SegmentIndex) -> Walk {
        let (stretch, until) = {
            let log = inner.log.borrow();
            let row = log.table().row(segment);
            (
                Stretch {
                    of: Of {
                        segment,
                        generation: row.generation,
                    },
                    from: 0,
                    end: row.used_blocks,
                },
                row.last,
            )
        };
        let until = until.min(inner.log.borrow().acked());
        Walk {
            inner,
            stretches: [stretch].into(),
            stream: None,
            expected: Lsn(1),
            until,
            gap: None,
            behind: None,
            turns: 0,
        }
    }

    /// The next batch of the store's. `Ok(None)` at the end. `Err(Damaged)`: batches are missing here on every leg; the
    /// next call goes on behind them. `Err(Stale)`: the segment was given back meanwhile.
    pub async fn next(&mut self) -> Result<Option<(BatchAddress, Bytes)>, ReadFault> {
        // bounded by the log
        while let Some((header, bytes)) = self.next_any().await? {
            if header.kind == Kind::Store {
                let payload =
                    BATCH_HEADER_BYTES..BATCH_HEADER_BYTES + header.payload_bytes as usize;
                return Ok(Some((header.address(), bytes.slice(payload))));
            }
        }
        Ok(None)
    }

    /// A stream of the leg whose turn it is. The turn passes on when a leg stops answering.
    fn stream_of(&self, stretch: Stretch) -> Result<Stream, ReadFault> {
        let serving = self.inner.legs_where(|leg| leg.serves());
        let turn = self
            .turns
            .checked_rem(serving.len())
            .ok_or(ReadFault::Unavailable)?;
        let (_, device) = serving[turn];
        Ok(Stream::new(
            self.inner.clone(),
            device,
            stretch.of,
            stretch.from,
            stretch.end,
        ))
    }

    /// Batches of every kind, whole.
    pub(crate) async fn next_any(&mut self) -> Result<Option<(Header, Bytes)>, ReadFault> {
        if let Some(batch) = self.behind.take() {
            self.expected = batch.0.lsn.next();
            return Ok(Some(batch));
        }
        // bounded by the log
        loop {
            let Some((of, stream)) = &mut self.stream else {
                let Some(stretch) = self.stretches.pop_front() else {
                    return self.end();
                };
                self.stream = Some((stretch.of, self.stream_of(stretch)?));
                continue;
            };
            let of = *of;
            let batch = match stream.next().await {
                Found::End => {
                    self.stream = None;
                    continue;
                }
                Found::Batch(header, bytes) => (header, bytes),
                Found::Nothing { block } if stream.is_dead() && self.turns < LEGS_MAX => {
                    // Not a damaged batch but a leg that stopped answering: go on with another one.
                    self.turns += 1;
                    let end = stream.end();
                    self.stretches.push_front(Stretch {
                        of,
                        from: block,
                        end,
                    });
                    self.stream = None;
                    continue;
                }
                Found::Nothing { block } => {
                    // Another leg may have it; then this one is put right as well.
                    match self.inner.repair_batch(of, block).await? {
                        Some((header, bytes)) => {
                            stream.skip_to(header.end_block().min(stream.end())).await;
                            (header, bytes)
                        }
                        None => {
                            stream.skip_one().await;
                            self.gap.get_or_insert((of.segment, block));
                            continue;
                        }
                    }
                }
            };
            if batch.0.lsn > self.until {
                self.stream = None;
                self.stretches.clear();
                return self.end();
            }
            if self.lacks_before(batch.0.lsn) {
                self.behind = Some(batch);
                return Err(ReadFault::Damaged);
            }
            if batch.0.lsn >= self.expected {
                self.expected = batch.0.lsn.next();
                return Ok(Some(batch));
            }
        }
    }

    /// Whether the gap passed before `next`, if there was one, held a batch that was asked for. What was accepted as lost is not
    /// missing any more.
    fn lacks_before(&mut self, next: Lsn) -> bool {
        let Some((segment, block)) = self.gap.take() else {
            return false;
        };
        let lacks = !self.inner.is_given_up(self.expected, next);
        if lacks {
            self.inner.note_damage(self.expected, segment, block);
        }
        lacks
    }

    fn end(&mut self) -> Result<Option<(Header, Bytes)>, ReadFault> {
        if self.lacks_before(self.until.next()) {
            self.expected = self.until.next();
            return Err(ReadFault::Damaged);
        }
        Ok(None)
    }
}

impl Inner {
    /// Every batch of the store's in the segment. All of them are in memory together: at most a segment.
    pub async fn walk_segment(
        self: &Rc<Self>,
        segment: SegmentIndex,
    ) -> Result<Vec<(BatchAddress, Bytes)>, ReadFault> {
        let holds = {
            let log = self.log.borrow();
            segment.0 < self.plan.segment_count
                && matches!(log.table().row(segment).state, State::Open | State::Sealed)
        };
        if !holds {
            return Err(ReadFault::Stale);
        }
        let mut walk = Walk::of_segment(self.clone(), segment);
        let mut batches = Vec::new();
        while let Some(batch) = walk.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }
}
