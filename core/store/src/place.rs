//! Groups and the store's own frames into one batch, and the batch into the log.

use base::cursor::Write;
use base::hash;
use bytes::Bytes;
use volume::Batch;

use crate::body::Codec;
use crate::committer::{Cargo, Committer, Flight};
use crate::frame::{self, Kind, PlacedBody, Run, align8};
use crate::limits::COMPRESS_INLINE_BYTES_MAX;
use crate::queue::{OwnFrame, Waiting};
use crate::{BodyIn, Group, Purpose};

/// The stored form of one body of the group being placed.
pub(crate) struct Prepared {
    pub codec: Codec,
    pub stored: Bytes,
}

impl Committer {
    /// Fills the batch in this order: the store's own frames, a group whose chunks are durable, waiting groups. It ends at
    /// the first that does not fit or may not share the batch's reserve: the order of the queue is the order of the log.
    pub(crate) fn fill_and_submit(&mut self, mut batch: Batch) {
        let mut cargo = Vec::new();
        let mut rights = Rights::new(self.inner.space.is_scarce(&self.inner.volume));
        // Before groups, because groups wait for them: chunks for the large one at the head, and a checkpoint for all that needs room.
        while let Some(own) = self.next_own(&batch, &mut rights) {
            let run = self.place_own(&mut batch, &own);
            cargo.push(Cargo::Own {
                kind: own.kind,
                run,
                placed: own.placed,
            });
        }
        if rights.is_index() {
            // Alone: it may go where nothing else may.
            batch.for_checkpoint();
            return self.submit(batch, cargo);
        }
        if let Some(big) = self.big.take_if(|big| big.is_settled()) {
            let prepared = big.prepared();
            let fits = frame_bytes(&big.waiting.group, &prepared) <= batch.room_bytes();
            if fits && rights.admit(big.waiting.purpose) {
                self.inner.queue.borrow_mut().chunking_ends();
                cargo.push(self.place_group(&mut batch, big.waiting, &prepared, true));
            } else {
                self.big = Some(big);
            }
        }
        // Asked before the queue is emptied: it decides whether there is time to compress.
        let alone = cargo.is_empty() && self.inner.queue.borrow().groups() == 1;
        while self.big.is_none() {
            let Some(waiting) = self.inner.queue.borrow_mut().take_first() else {
                break;
            };
            let prepared = self.prepare(&waiting, alone);
            let fits = frame_bytes(&waiting.group, &prepared) <= batch.room_bytes();
            if !fits || !rights.admit(waiting.purpose) {
                // For the next batch; one that fits no batch at all is chunked there (`start_big_group`).
                self.inner.queue.borrow_mut().put_back(waiting);
                break;
            }
            cargo.push(self.place_group(&mut batch, waiting, &prepared, false));
        }
        if cargo.is_empty() {
            // What was waiting failed meanwhile.
            return;
        }
        match rights.purpose {
            #[cfg(test)]
            Some(Purpose::Reclaim) if self.inner.keeps_all.get() => batch.for_deletions(),
            Some(Purpose::Reclaim) => batch.for_reclaim(),
            // The reserve that the whole batch may use is that of its least entitled group, as `Rights` kept it.
            Some(Purpose::Delete) => batch.for_deletions(),
            Some(Purpose::Keep) | None => {}
        }
        self.submit(batch, cargo);
    }

    fn submit(&mut self, batch: Batch, cargo: Vec<Cargo>) {
        let bytes = batch.used_bytes() as u64;
        // Here the batch gets its place in the log: before anything else may be placed.
        let commit = Box::pin(self.inner.volume.commit(batch));
        self.inner
            .queue
            .borrow_mut()
            .flight_begins(Cargo::load(&cargo));
        self.flights.push_back(Flight {
            commit,
            done: None,
            cargo,
            bytes,
            since: self.inner.io.host.now(),
        });
    }

    fn next_own(&mut self, batch: &Batch, rights: &mut Rights) -> Option<OwnFrame> {
        let mut queue = self.inner.queue.borrow_mut();
        let first = queue.first_own()?;
        let bytes =
            align8(frame::FRAME_HEADER_BYTES + frame::RUN_BYTES_MAX) + align8(first.run.len());
        if bytes > batch.room_bytes() || !rights.admit_own(first) {
            return None;
        }
        queue.take_own()
    }

    fn place_own(&mut self, batch: &mut Batch, own: &OwnFrame) -> Run {
        let seed = self.inner.seed;
        // The seed is the volume's own: a run of another volume that is found in this place does not verify.
        let check = hash::xxh3_64(&own.run, seed);
        frame::begin(&mut self.meta);
        frame::put_run(&mut self.meta, 0, own.run.len(), check);
        frame::end(&mut self.meta, own.kind, align8(own.run.len()), seed);
        let at = batch.place(&self.meta);
        let run_at = batch.place(&own.run);
        assert_eq!(run_at as usize, at as usize + align8(self.meta.len()));
        Run {
            at: run_at,
            bytes: own.run.len() as u32,
            check,
        }
    }

    /// The stored form of each body. Compression only when this group is alone and the body small: when others wait the processor
    /// is worth more than the space, and reclaim compresses later what was stored raw.
    fn prepare(&self, waiting: &Waiting, alone: bool) -> Vec<Prepared> {
        let store = |(index, body): (usize, &BodyIn)| {
            let packed = match waiting.packed.get(index) {
                Some(packed) => packed
                    .first()
                    .cloned()
                    .flatten()
                    .filter(|_| packed.len() == 1),
                None if alone && body.raw.len() <= COMPRESS_INLINE_BYTES_MAX => {
                    self.inner.zstd.compress(&body.raw)
                }
                None => None,
            };
            match packed {
                Some(stored) => Prepared {
                    codec: Codec::Zstd,
                    stored,
                },
                None => Prepared {
                    codec: Codec::Raw,
                    stored: body.raw.clone(),
                },
            }
        };
        waiting.group.bodies.iter().enumerate().map(store).collect()
    }

    /// Header and meta go first, so the places of the runs are computed before they are written; an assertion holds each run
    /// to its computed place, because a wrong one would be found only when the body is read.
    fn place_group(
        &mut self,
        batch: &mut Batch,
        waiting: Waiting,
        prepared: &[Prepared],
        is_chunked: bool,
    ) -> Cargo {
        let Waiting {
            group,
            applied,
            reply,
            rows,
            since,
            ..
        } = waiting;
        let seed = self.inner.seed;
        frame::begin(&mut self.meta);
        self.meta.put_varint(group.records.len() as u64);
        for record in &group.records {
            frame::put_record(&mut self.meta, record);
        }
        self.meta.put_varint(group.bodies.len() as u64);
        let mut bodies = Vec::with_capacity(group.bodies.len());
        let mut runs_bytes = 0;
        for (body, prepared) in group.bodies.iter().zip(prepared) {
            self.meta.put_bytes(&body.name.0);
            self.meta.put_varint(body.raw.len() as u64);
            self.meta.put_u8(prepared.codec.number());
            let mut run = |bytes: &Bytes, meta: &mut Vec<u8>| {
                let run = Run {
                    at: runs_bytes as u32,
                    bytes: bytes.len() as u32,
                    check: hash::xxh3_64(bytes, seed),
                };
                frame::put_run(meta, runs_bytes, bytes.len(), run.check);
                runs_bytes += align8(bytes.len());
                run
            };
            let summary = run(&body.summary, &mut self.meta);
            let stored = run(&prepared.stored, &mut self.meta);
            bodies.push(PlacedBody {
                name: body.name,
                raw_bytes: body.raw.len() as u32,
                codec: prepared.codec,
                summary,
                body: stored,
            });
        }
        frame::end(&mut self.meta, Kind::Group, runs_bytes, seed);
        let runs_at = batch.place(&self.meta) + align8(self.meta.len()) as u32;
        for ((placed, body), prepared) in bodies.iter_mut().zip(&group.bodies).zip(prepared) {
            for (run, bytes) in [
                (&mut placed.summary, &body.summary),
                (&mut placed.body, &prepared.stored),
            ] {
                run.at += runs_at;
                if !bytes.is_empty() {
                    assert_eq!(batch.place(bytes), run.at, "runs are where the meta says");
                }
            }
        }
        self.inner.note_group(
            &group,
            prepared.iter().map(|body| body.stored.len() as u64).sum(),
        );
        Cargo::Group {
            bodies,
            applied,
            reply,
            rows,
            since,
            is_chunked,
        }
    }
}

/// Whose batch it is. While space is scarce, what may take from the reserve and what may not do not share one: bodies
/// would eat the reserve, or a checkpoint would be refused for the company it keeps.
struct Rights {
    scarce: bool,
    /// Frames of a checkpoint only, or none of them.
    index: Option<bool>,
    /// Of the groups admitted: the one that is refused first, where they differ.
    purpose: Option<Purpose>,
}

impl Rights {
    fn new(scarce: bool) -> Rights {
        Rights {
            scarce,
            index: None,
            purpose: None,
        }
    }

    fn admit_own(&mut self, frame: &OwnFrame) -> bool {
        let index = matches!(frame.kind, Kind::IndexSync | Kind::IndexTable);
        *self.index.get_or_insert(index) == index && self.admit(frame.purpose)
    }

    fn is_index(&self) -> bool {
        self.index == Some(true)
    }

    fn admit(&mut self, purpose: Purpose) -> bool {
        let before = *self.purpose.get_or_insert(purpose);
        if self.scarce && before != purpose {
            return false;
        }
        self.purpose = Some(match (before, purpose) {
            (Purpose::Keep, _) | (_, Purpose::Keep) => Purpose::Keep,
            (Purpose::Delete, _) | (_, Purpose::Delete) => Purpose::Delete,
            (Purpose::Reclaim, Purpose::Reclaim) => Purpose::Reclaim,
        });
        true
    }
}

/// An upper bound of what the group takes in a batch.
fn frame_bytes(group: &Group, prepared: &[Prepared]) -> usize {
    fixed_frame_bytes(group)
        + prepared
            .iter()
            .map(|body| align8(body.stored.len()))
            .sum::<usize>()
}

/// The same with every body stored raw.
pub(crate) fn raw_frame_bytes(group: &Group) -> usize {
    fixed_frame_bytes(group)
        + group
            .bodies
            .iter()
            .map(|body| align8(body.raw.len()))
            .sum::<usize>()
}

pub(crate) fn fixed_frame_bytes(group: &Group) -> usize {
    let records: usize = group
        .records
        .iter()
        .map(|record| record.payload.len() + frame::RECORD_OVERHEAD_BYTES_MAX)
        .sum();
    let bodies = group.bodies.len() * frame::BODY_META_BYTES_MAX;
    let summaries: usize = group
        .bodies
        .iter()
        .map(|body| align8(body.summary.len()))
        .sum();
    align8(frame::FRAME_HEADER_BYTES + 2 * 5 + records + bodies) + summaries
}
