//! The log after the projection's LSN, group by group.

use std::collections::VecDeque;
use std::rc::Rc;

use volume::{BatchAddress, Lsn, ReadFault, Walk};

use crate::frame::{self, Frame, FrameFault, Frames, Kind};
use crate::{Inner, Record, Replayed, Store, StoreFault};

/// Gives the log after the projection's LSN, group by group. Groups of bodies alone (reclaim's copies) are passed over: a record of
/// the layer above tells of them.
pub struct Replay {
    inner: Rc<Inner>,
    walk: Walk,
    ready: VecDeque<Replayed>,
    seen: Lsn,
    /// The last batch that the walk gave.
    given: Lsn,
}

impl Replay {
    pub(crate) fn new(inner: Rc<Inner>, after: Lsn) -> Replay {
        let walk = inner.volume.walk(after);
        inner.projection.replay_begins();
        Replay {
            inner,
            walk,
            ready: VecDeque::new(),
            seen: after,
            given: after,
        }
    }

    /// The next group, `None` at the log's end. A fault is final. Damage is passed and reported (`open_report`): what follows it is
    /// served, and the volume is read-only until an operator accepts the loss (`Volume::accept_damage`); only a rebuild, the last
    /// way to what is left, goes on without.
    pub async fn next(&mut self) -> Result<Option<Replayed>, StoreFault> {
        // Bounded by the log's length.
        loop {
            if let Some(group) = self.ready.pop_front() {
                return Ok(Some(group));
            }
            let (address, payload) = match self.walk.next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => {
                    let told = &self.inner.told;
                    told.set(told.get().min(self.seen));
                    self.inner.projection.replay_ended();
                    return Ok(None);
                }
                Err(ReadFault::Damaged) => {
                    // A rebuild is the last way to what is left. Else nothing may be written on top before the operator accepts it.
                    if !self.inner.report.get().rebuilt {
                        self.inner.volume.hold_for_damage();
                    }
                    tracing::error!(
                        "a range of the log is damaged on every leg; the log behind it is served"
                    );
                    self.inner.projection.note_damage(self.given);
                    let mut report = self.inner.report.get();
                    report.damaged_stretches += 1;
                    self.inner.report.set(report);
                    continue;
                }
                Err(fault) => return Err(fault.into()),
            };
            self.given = address.lsn;
            let bytes = payload.len() as u64;
            let mut frames = Frames::new(payload, self.inner.seed);
            let mut groups = 0;
            while let Some(frame) = frames.next()? {
                if frame.kind != Kind::Group {
                    continue;
                }
                groups += 1;
                let group = replayed(&frame, &address)?;
                if !group.records.is_empty() {
                    self.seen = self.seen.max(address.lsn);
                    self.ready.push_back(group);
                }
            }
            self.inner.since_checkpoint.add(bytes, groups);
            self.inner
                .landed
                .set(self.inner.landed.get().max(address.lsn));
            let mut report = self.inner.report.get();
            report.replayed_groups += self.ready.len() as u64;
            self.inner.report.set(report);
        }
    }
}

impl Store {
    /// Records in damaged batches whose own checks still agree, so that what was lost can be named.
    pub async fn records_in_damage(&self, batches_max: usize) -> Vec<Record> {
        let mut records = Vec::new();
        for payload in self.inner.volume.damaged_payloads(batches_max).await {
            let mut frames = Frames::new(payload, self.inner.seed);
            // Ends at the first frame that is not whole.
            while let Ok(Some(frame)) = frames.next() {
                if frame.kind == Kind::Group
                    && let Ok(group) = frame::group(&frame)
                {
                    records.extend(group.records);
                }
            }
        }
        records
    }
}

/// The group in `frame`, with the addresses of its bodies.
pub(crate) fn replayed(frame: &Frame, address: &BatchAddress) -> Result<Replayed, StoreFault> {
    let group = frame::group(frame).map_err(|_| FrameFault::Broken(frame.runs_at))?;
    let bodies = group.bodies.iter().map(|body| body.at(address)).collect();
    Ok(Replayed {
        lsn: address.lsn,
        bodies,
        records: group.records,
    })
}

impl From<FrameFault> for StoreFault {
    fn from(fault: FrameFault) -> StoreFault {
        match fault {
            FrameFault::Unknown(_) => StoreFault::Misfit(fault.to_string()),
            FrameFault::Broken(_) => StoreFault::Damaged,
        }
    }
}
