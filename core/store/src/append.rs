//! From `append` to durable: the committer.
//!
//! Groups wait in one queue in the order of the `append` calls. One committer, started when the queue fills and gone when it
//! is empty, places them into batches and keeps at most `BATCHES_IN_FLIGHT_MAX` of those on their way: *batch while busy*. With
//! nothing in flight a group leaves at once and alone; while a batch is being written the next one gathers until a slot
//! frees, it is full, or `GATHER_US` passed. When a batch is durable every group in it is applied in log order and
//! only then are the waiters woken.
//!
//! Invariants: a group lies wholly in one batch; a group is never placed before one that was appended earlier; a group that
//! was answered with a fault is not in the log (the volume refuses a batch before it numbers it, or stops for good).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use base::cursor::Write;
use base::hash;
use base::host::{Receiver, Sender, Time, oneshot};
use bytes::Bytes;
use volume::{Batch, BatchAddress, CommitFault, RecordAddress};

use crate::body::{Chunk, Codec, chunk_list_bytes_max, encode_chunks};
use crate::frame::{self, Kind, PlacedBody, Run, align8};
use crate::limits::*;
use crate::{BodyIn, Committed, Group, Inner, Lsn, StoreFault};

pub(crate) type Applied = Box<dyn FnOnce(&Committed)>;
/// For each body its zstd form, where that pays.
pub(crate) type Packed = Vec<Option<Bytes>>;
type Reply<T> = Sender<Result<T, StoreFault>>;

/// The groups on their way into the log.
#[derive(Default)]
pub(crate) struct Queue {
    groups: VecDeque<Waiting>,
    /// The store's own frames: chunks the head group waits for, page tables. They go first.
    own: VecDeque<OwnFrame>,
    bytes: usize,
    committing: bool,
}

struct Waiting {
    group: Group,
    applied: Option<Applied>,
    reply: Reply<Committed>,
    /// Compressed forms made beforehand (reclaim); empty: decide when placing.
    packed: Packed,
    /// May take from the reserve.
    reserve: bool,
    bytes: usize,
    since: Time,
}

struct OwnFrame {
    kind: Kind,
    meta: Vec<u8>,
    run: Bytes,
    placed: Box<dyn FnOnce(Result<(Lsn, RecordAddress), StoreFault>)>,
}

impl Queue {
    pub fn is_past_soft(&self) -> bool {
        self.bytes >= QUEUE_BYTES_SOFT || self.groups.len() >= QUEUE_GROUPS_SOFT
    }
    fn is_past_hard(&self, bytes: usize) -> bool {
        self.bytes + bytes > QUEUE_BYTES_HARD || self.groups.len() >= QUEUE_GROUPS_HARD
    }
    fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.own.is_empty()
    }
}

/// Who appends: decides how far into the reserve it may go.
pub(crate) enum Origin {
    Layer,
    Reclaim(Packed),
}

impl Inner {
    /// Puts `group` into the queue, or says at once why not.
    pub(crate) fn enqueue(
        self: &Rc<Self>,
        group: Group,
        applied: Option<Applied>,
        origin: Origin,
    ) -> Result<Receiver<Result<Committed, StoreFault>>, StoreFault> {
        self.check_bounds(&group)?;
        let (packed, reserve) = match origin {
            Origin::Layer if !group.bodies.is_empty() && !self.space.admits_bodies() => {
                return Err(StoreFault::Full);
            }
            Origin::Layer => {
                let frees_space = self.space.is_reclaiming() && group.bodies.is_empty();
                (Packed::new(), frees_space)
            }
            Origin::Reclaim(packed) => (packed, true),
        };
        let bytes = group_bytes(&group);
        let (reply, receiver) = oneshot();
        let start = {
            let mut queue = self.queue.borrow_mut();
            if queue.is_past_hard(bytes) {
                return Err(StoreFault::Deferred(
                    "more is waiting for the disks than memory is planned for".into(),
                ));
            }
            queue.bytes += bytes;
            queue.groups.push_back(Waiting {
                group,
                applied,
                reply,
                packed,
                reserve,
                bytes,
                since: self.io.host.now(),
            });
            queue.groups.len() == 1 || queue.bytes >= self.sizes.payload_bytes_max
        };
        if start {
            self.wake_committer();
        }
        Ok(receiver)
    }

    /// Appends one frame of the store's own with one run and resolves with the run's address once durable.
    pub(crate) async fn append_own(
        self: &Rc<Self>,
        kind: Kind,
        run: Bytes,
    ) -> Result<(Lsn, RecordAddress), StoreFault> {
        let (reply, receiver) = oneshot();
        let placed = Box::new(move |result| reply.send(result));
        self.queue.borrow_mut().own.push_back(OwnFrame {
            kind,
            meta: Vec::new(),
            run,
            placed,
        });
        self.wake_committer();
        receiver.await.unwrap_or_else(|| Err(stopped()))
    }

    fn check_bounds(&self, group: &Group) -> Result<(), StoreFault> {
        let list = |body: &BodyIn| {
            align8(chunk_list_bytes_max(
                body.raw.len().div_ceil(self.sizes.chunk_bytes),
            ))
        };
        let fits = fixed_frame_bytes(group) + group.bodies.iter().map(list).sum::<usize>()
            <= self.sizes.group_fixed_bytes_max
            && group.records.len() <= GROUP_RECORDS_MAX
            && group.bodies.len() <= GROUP_BODIES_MAX
            && group
                .bodies
                .iter()
                .all(|body| body.raw.len() <= BODY_BYTES_MAX);
        if fits {
            Ok(())
        } else {
            Err(StoreFault::TooLarge)
        }
    }

    fn wake_committer(self: &Rc<Self>) {
        if self.queue.borrow().committing {
            self.queue_bell.ring();
            return;
        }
        self.queue.borrow_mut().committing = true;
        let committer = Committer {
            inner: self.clone(),
            flights: VecDeque::new(),
            big: None,
            meta: Vec::new(),
        };
        self.io.host.spawn(Box::pin(committer.run()));
    }
}

pub(crate) fn stopped() -> StoreFault {
    StoreFault::Deferred("the store is stopping".into())
}

fn group_bytes(group: &Group) -> usize {
    let bodies: usize = group
        .bodies
        .iter()
        .map(|body| body.raw.len() + body.summary.len())
        .sum();
    let records: usize = group
        .records
        .iter()
        .map(|record| record.payload.len())
        .sum();
    bodies + records + 64
}

/// A batch on its way, and who waits for it.
struct Flight {
    commit: Pin<Box<dyn Future<Output = Result<BatchAddress, CommitFault>>>>,
    done: Option<Result<BatchAddress, CommitFault>>,
    cargo: Vec<Cargo>,
    bytes: u64,
}
enum Cargo {
    Group {
        bodies: Vec<PlacedBody>,
        applied: Option<Applied>,
        reply: Reply<Committed>,
    },
    Own {
        run: Run,
        placed: Box<dyn FnOnce(Result<(Lsn, RecordAddress), StoreFault>)>,
    },
}

/// The stored form of one body of the group being placed.
struct Prepared {
    codec: Codec,
    stored: Bytes,
}

/// The head group, waiting for its chunks to be durable.
struct BigGroup {
    waiting: Waiting,
    /// For each body its chunks, or nothing when it is stored inline.
    chunks: Vec<Option<ChunkSlots>>,
}
/// A body's chunks, filled in as they become durable, or why they cannot.
type ChunkSlots = Rc<RefCell<Result<Vec<Option<Chunk>>, StoreFault>>>;

struct Committer {
    inner: Rc<Inner>,
    flights: VecDeque<Flight>,
    big: Option<BigGroup>,
    /// Scratch for one frame's header and meta.
    meta: Vec<u8>,
}

impl Committer {
    async fn run(mut self) {
        // Ends when nothing waits and nothing is in flight; the next append starts another.
        loop {
            self.start_big_group();
            if self.has_placeable() {
                self.wait_for_turn().await;
                let Some(batch) = self.begin().await else {
                    continue;
                };
                self.fill_and_submit(batch);
            } else if !self.flights.is_empty() {
                let before = self.flights.len();
                let bell = self.inner.queue_bell.wait();
                self.drive_until(before, bell).await;
            } else {
                let mut queue = self.inner.queue.borrow_mut();
                assert!(
                    self.big.is_none() && queue.is_empty(),
                    "nobody is left behind"
                );
                queue.committing = false;
                return;
            }
        }
    }

    /// Whether something could go into a batch now.
    fn has_placeable(&self) -> bool {
        let queue = self.inner.queue.borrow();
        match &self.big {
            Some(big) => !queue.own.is_empty() || big.is_settled(),
            None => !queue.is_empty(),
        }
    }

    /// Batch while busy: with something in flight, gather.
    async fn wait_for_turn(&mut self) {
        // Bounded by `GATHER_US`, a full batch, or the batch in flight.
        while !self.flights.is_empty() {
            let in_flight = self.flights.len();
            let gathered = {
                let queue = self.inner.queue.borrow();
                let oldest = queue.groups.front().map(|waiting| waiting.since);
                let due = oldest
                    .is_some_and(|since| self.inner.io.host.now().since_us(since) >= GATHER_US);
                due || queue.bytes >= self.inner.sizes.payload_bytes_max
                    || !queue.own.is_empty()
                    || self.big.is_some()
            };
            if gathered && in_flight < BATCHES_IN_FLIGHT_MAX {
                return;
            }
            let bell = self.inner.queue_bell.wait();
            if in_flight < BATCHES_IN_FLIGHT_MAX {
                let since = self
                    .inner
                    .queue
                    .borrow()
                    .groups
                    .front()
                    .map(|waiting| waiting.since);
                let until = since
                    .unwrap_or_else(|| self.inner.io.host.now())
                    .after_us(GATHER_US);
                let timer = self.inner.io.host.sleep_until(until);
                self.drive_until(in_flight, either(bell, timer)).await;
            } else {
                self.drive_until(in_flight, bell).await;
            }
        }
    }

    /// A batch buffer; settles what lands meanwhile.
    async fn begin(&mut self) -> Option<Batch> {
        let volume = self.inner.volume.clone();
        let mut begin = pin!(volume.begin());
        let batch = poll_fn(|context| {
            self.poll_flights(context);
            begin.as_mut().poll(context)
        })
        .await;
        // A big group may have failed with a chunk that landed meanwhile.
        self.has_placeable().then_some(batch)
    }

    /// Resolves when fewer than `before` batches are in flight, or `until` does.
    async fn drive_until(&mut self, before: usize, until: impl Future<Output = ()>) {
        let mut until = pin!(until);
        poll_fn(|context| {
            self.poll_flights(context);
            if self.flights.len() < before {
                Poll::Ready(())
            } else {
                until.as_mut().poll(context)
            }
        })
        .await;
    }

    fn poll_flights(&mut self, context: &mut Context<'_>) {
        for flight in &mut self.flights {
            if flight.done.is_none()
                && let Poll::Ready(result) = flight.commit.as_mut().poll(context)
            {
                flight.done = Some(result);
            }
        }
        while self
            .flights
            .front()
            .is_some_and(|flight| flight.done.is_some())
        {
            let flight = self.flights.pop_front().expect("the front was looked at");
            self.land(flight);
        }
    }

    /// A batch is durable, or failed: apply in log order, then answer.
    fn land(&mut self, mut flight: Flight) {
        match flight.done.take().expect("only finished flights land") {
            Ok(address) => self.landed(flight, &address),
            Err(fault) => self.fail(flight, fault.into()),
        }
        self.fail_big_group();
        if !self.inner.queue.borrow().is_past_soft() {
            self.inner.room_bell.ring();
        }
    }

    fn landed(&mut self, flight: Flight, address: &BatchAddress) {
        let mut answers = Vec::with_capacity(flight.cargo.len());
        let mut groups = 0;
        for cargo in flight.cargo {
            match cargo {
                Cargo::Group {
                    bodies,
                    applied,
                    reply,
                } => {
                    groups += 1;
                    let bodies = bodies.iter().map(|body| body.at(address)).collect();
                    let committed = Committed {
                        lsn: address.lsn,
                        bodies,
                    };
                    if let Some(applied) = applied {
                        applied(&committed);
                    }
                    answers.push((reply, committed));
                }
                Cargo::Own { run, placed } => placed(Ok((address.lsn, run.address(address)))),
            }
        }
        self.inner.note_batch(address, flight.bytes, groups);
        for (reply, committed) in answers {
            reply.send(Ok(committed));
        }
    }

    fn fail(&self, flight: Flight, fault: StoreFault) {
        tracing::warn!(%fault, groups = flight.cargo.len(), "a commit batch was refused");
        for cargo in flight.cargo {
            match cargo {
                Cargo::Group { reply, .. } => reply.send(Err(fault.clone())),
                Cargo::Own { placed, .. } => placed(Err(fault.clone())),
            }
        }
    }

    fn fail_big_group(&mut self) {
        let Some(fault) = self.big.as_ref().and_then(BigGroup::fault) else {
            return;
        };
        let big = self.big.take().expect("looked at just now");
        big.waiting.reply.send(Err(fault));
    }

    fn fill_and_submit(&mut self, mut batch: Batch) {
        let mut cargo = Vec::new();
        while let Some(own) = self.next_own(&batch) {
            batch.use_reserve();
            let run = self.place_own(&mut batch, &own);
            cargo.push(Cargo::Own {
                run,
                placed: own.placed,
            });
        }
        if let Some(big) = self.big.take_if(|big| big.is_settled()) {
            let prepared = big.prepared();
            if frame_bytes(&big.waiting.group, &prepared) <= batch.room_bytes() {
                cargo.push(self.place_group(&mut batch, big.waiting, &prepared));
            } else {
                self.big = Some(big);
            }
        }
        let alone = cargo.is_empty() && self.inner.queue.borrow().groups.len() == 1;
        while self.big.is_none() {
            let Some(waiting) = self.inner.queue.borrow_mut().groups.pop_front() else {
                break;
            };
            let prepared = self.prepare(&waiting, alone);
            let bytes = frame_bytes(&waiting.group, &prepared);
            if bytes > batch.room_bytes() {
                // For the next batch; one that fits no batch at all is chunked there (`start_big_group`).
                self.inner.queue.borrow_mut().groups.push_front(waiting);
                break;
            }
            self.inner.queue.borrow_mut().bytes -= waiting.bytes;
            cargo.push(self.place_group(&mut batch, waiting, &prepared));
        }
        if cargo.is_empty() {
            // What was waiting failed meanwhile.
            return;
        }
        let bytes = batch.used_bytes() as u64;
        // Here the batch gets its place in the log: before anything else may be placed.
        let commit = Box::pin(self.inner.volume.commit(batch));
        self.flights.push_back(Flight {
            commit,
            done: None,
            cargo,
            bytes,
        });
    }

    fn next_own(&mut self, batch: &Batch) -> Option<OwnFrame> {
        let mut queue = self.inner.queue.borrow_mut();
        let first = queue.own.front()?;
        let bytes = align8(frame::FRAME_HEADER_BYTES + first.meta.len() + frame::RUN_BYTES_MAX)
            + align8(first.run.len());
        if bytes > batch.room_bytes() {
            return None;
        }
        queue.own.pop_front()
    }

    fn place_own(&mut self, batch: &mut Batch, own: &OwnFrame) -> Run {
        let seed = self.inner.seed;
        let check = hash::xxh3_64(&own.run, seed);
        frame::begin(&mut self.meta);
        self.meta.put_bytes(&own.meta);
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

    /// The stored form of each body. Compression only when this group is alone: when others wait the processor is worth more
    /// than the space, and reclaim compresses later what was stored raw.
    fn prepare(&self, waiting: &Waiting, alone: bool) -> Vec<Prepared> {
        let store = |(index, body): (usize, &BodyIn)| {
            let packed = match waiting.packed.get(index) {
                Some(packed) => packed.clone(),
                None => alone.then(|| self.inner.zstd.compress(&body.raw)).flatten(),
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

    fn place_group(&mut self, batch: &mut Batch, waiting: Waiting, prepared: &[Prepared]) -> Cargo {
        let Waiting {
            group,
            applied,
            reply,
            reserve,
            ..
        } = waiting;
        if reserve {
            batch.use_reserve();
        }
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
                    assert_eq!(batch.place(bytes), run.at, "runs lie where the meta says");
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
        }
    }

    /// When the head group fits no batch: its largest bodies become chunks, which go first.
    fn start_big_group(&mut self) {
        if self.big.is_some() {
            return;
        }
        let waiting = {
            let mut queue = self.inner.queue.borrow_mut();
            let Some(first) = queue.groups.front() else {
                return;
            };
            if raw_frame_bytes(&first.group) <= self.inner.sizes.payload_bytes_max {
                return;
            }
            let bytes = first.bytes;
            queue.bytes -= bytes;
            queue.groups.pop_front().expect("the front was looked at")
        };
        let mut total = raw_frame_bytes(&waiting.group);
        let mut by_size: Vec<usize> = (0..waiting.group.bodies.len()).collect();
        by_size.sort_by_key(|index| std::cmp::Reverse(waiting.group.bodies[*index].raw.len()));
        let mut chunks = vec![None; waiting.group.bodies.len()];
        for index in by_size {
            let raw = &waiting.group.bodies[index].raw;
            if total <= self.inner.sizes.payload_bytes_max {
                break;
            }
            total = total - align8(raw.len())
                + align8(chunk_list_bytes_max(
                    raw.len().div_ceil(self.inner.sizes.chunk_bytes),
                ));
            chunks[index] = Some(self.queue_chunks(raw));
        }
        assert!(
            total <= self.inner.sizes.payload_bytes_max,
            "bounds were checked at append"
        );
        self.big = Some(BigGroup { waiting, chunks });
    }

    fn queue_chunks(&self, raw: &Bytes) -> ChunkSlots {
        let chunk_bytes = self.inner.sizes.chunk_bytes;
        let count = raw.len().div_ceil(chunk_bytes);
        let slots: ChunkSlots = Rc::new(RefCell::new(Ok(vec![None; count])));
        let mut queue = self.inner.queue.borrow_mut();
        let busy = !queue.groups.is_empty();
        for index in 0..count {
            let piece = raw.slice(index * chunk_bytes..raw.len().min((index + 1) * chunk_bytes));
            let raw_bytes = piece.len() as u32;
            let (codec, run) = match (!busy).then(|| self.inner.zstd.compress(&piece)).flatten() {
                Some(packed) => (Codec::Zstd, packed),
                None => (Codec::Raw, piece),
            };
            let slots = slots.clone();
            let placed = Box::new(move |result: Result<(Lsn, RecordAddress), StoreFault>| {
                let mut slots = slots.borrow_mut();
                match (result, &mut *slots) {
                    (Ok((_, address)), Ok(chunks)) => {
                        chunks[index] = Some(Chunk {
                            address,
                            codec,
                            raw_bytes,
                        })
                    }
                    (Err(fault), Ok(_)) => *slots = Err(fault),
                    (_, Err(_)) => {}
                }
            });
            queue.own.push_back(OwnFrame {
                kind: Kind::Chunk,
                meta: Vec::new(),
                run,
                placed,
            });
        }
        slots
    }
}

impl BigGroup {
    /// Every chunk is durable, or one failed.
    fn is_settled(&self) -> bool {
        let settled = |slots: &ChunkSlots| {
            slots
                .borrow()
                .as_ref()
                .map_or(true, |chunks| chunks.iter().all(Option::is_some))
        };
        self.fault().is_some() || self.chunks.iter().flatten().all(settled)
    }

    fn fault(&self) -> Option<StoreFault> {
        self.chunks
            .iter()
            .flatten()
            .find_map(|slots| slots.borrow().as_ref().err().cloned())
    }

    fn prepared(&self) -> Vec<Prepared> {
        let store = |(body, slots): (&BodyIn, &Option<ChunkSlots>)| match slots {
            None => Prepared {
                codec: Codec::Raw,
                stored: body.raw.clone(),
            },
            Some(slots) => {
                let slots = slots.borrow();
                let chunks = slots.as_ref().expect("asked once settled without a fault");
                let chunks: Vec<Chunk> = chunks.iter().flatten().cloned().collect();
                Prepared {
                    codec: Codec::Chunked,
                    stored: encode_chunks(&chunks).into(),
                }
            }
        };
        self.waiting
            .group
            .bodies
            .iter()
            .zip(&self.chunks)
            .map(store)
            .collect()
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
fn raw_frame_bytes(group: &Group) -> usize {
    fixed_frame_bytes(group)
        + group
            .bodies
            .iter()
            .map(|body| align8(body.raw.len()))
            .sum::<usize>()
}

fn fixed_frame_bytes(group: &Group) -> usize {
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

async fn either(first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| match first.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => second.as_mut().poll(context),
    })
    .await;
}
