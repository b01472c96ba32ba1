//! Making a volume and opening one (storage.md A1, B5, B8).
//!
//! Only legs that the witness names are believed. Present, stale and blank devices beside them are reported and left
//! alone; `attach` admits them later.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use device::{BLOCK_BYTES, Buffer, DeviceIndex, Io};

use crate::arena::ArenaShared;
use crate::format::{Header, Inline, Kind};
use bytes::Bytes;

use crate::inner::{Inner, Leg, Log, Mode};
use crate::layout::{Frame, Plan};
use crate::leg::{Probe, clear, probe, write, wwid};
use crate::limits::{
    CLAIMS_OF_OPENING, LEGS_MAX, RESERVE_SEGMENTS_MIN, SEGMENTS_MAX, SUPERBLOCK_CLAIMS_MAX,
};
use crate::pool::Pool;
use crate::recover::{GivenUp, Recovered, recover, segments_for};
use crate::segment::Table;
use crate::stream::Of;
use crate::superblock::{ClaimEntry, Member, Quorum, Superblock, slot_offset};
use crate::types::*;
use crate::{BATCH_HEADER_BYTES, Settings, Volume};

/// Of the superblock that `create` writes; the first opening writes the next one before it takes anything.
const FIRST_SEQ: u64 = 1;

/// The fewest segments a volume can work with: the reserve, the open one, claims ahead and something to store in.
const SEGMENTS_MIN: u64 = RESERVE_SEGMENTS_MIN as u64 + 3;

pub(crate) async fn create(
    io: &Io,
    devices: &[DeviceIndex],
    settings: &Settings,
    witness: &dyn Witness,
    seed: u64,
) -> Result<VolumeId, OpenRefusal> {
    if devices.is_empty() || devices.len() > LEGS_MAX {
        return misfit(format!(
            "a volume has one to {LEGS_MAX} legs, not {}",
            devices.len()
        ));
    }
    let block = BLOCK_BYTES as u64;
    if !settings.segment_bytes.is_multiple_of(block)
        || settings.segment_bytes < 4 * BATCH_HEADER_BYTES as u64
    {
        return misfit("segment_bytes must be a multiple of 4096 and at least 16384");
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let volume = VolumeId(random_id(&mut random));
    let frames = frames(io, devices, settings, Some(volume)).await?;
    let count = frames
        .iter()
        .map(|frame| frame.segments(settings.segment_bytes))
        .min()
        .unwrap_or(0);
    if count < SEGMENTS_MIN {
        return misfit(format!(
            "the smallest device has room for {count} segments of {} bytes; at least {SEGMENTS_MIN} are needed: give \
             larger devices or smaller segments",
            settings.segment_bytes
        ));
    }
    if frames
        .iter()
        .any(|frame| frame.segments_at != frames[0].segments_at)
    {
        return misfit("the devices' sizes are too unlike: use devices of one size");
    }
    let plan = Plan {
        segments_at: frames[0].segments_at,
        segment_bytes: settings.segment_bytes,
        segment_count: count.min(SEGMENTS_MAX as u64) as u32,
    };
    let mut table = Table::new(plan.segment_count);
    let mut claims = Vec::new();
    for _ in 0..CLAIMS_OF_OPENING {
        let (segment, generation) = table.claim(Lsn(0), Lsn(0)).expect("SEGMENTS_MIN are free");
        claims.push(ClaimEntry {
            segment,
            generation,
        });
    }
    let members: Vec<Member> = devices
        .iter()
        .map(|&device| Member {
            id: LegId(random_id(&mut random)),
            state: LegState::InSync,
            stale_since: Lsn(0),
            wwid: wwid(io, device),
        })
        .collect();
    let in_sync = members.iter().map(|member| member.id).collect();
    let superblock = Superblock {
        volume,
        seq: FIRST_SEQ,
        parent: 0,
        epoch: 1,
        term: 0,
        plan,
        clean: true,
        acked: Lsn(0),
        members,
        checkpoint: Lsn(0),
        start: None,
        table: Vec::new(),
        table_lsn: Lsn(0),
        table_chain: 0,
        claims,
        note: Vec::new(),
    };
    for ((&device, frame), member) in devices.iter().zip(&frames).zip(&superblock.members) {
        let formatted = format_leg(
            io,
            device,
            frame,
            &superblock,
            member.id,
            settings.hard_deadline_us,
        )
        .await;
        if let Err(fault) = formatted {
            let name = io.device.geometry(device).stable_id;
            return misfit(format!(
                "device {name} could not be formatted: {fault}; replace it"
            ));
        }
    }
    let record = WitnessRecord {
        volume,
        epoch: 1,
        term: 0,
        in_sync,
    };
    match witness.replace(None, &record) {
        Ok(()) => Ok(volume),
        Err(fault) => misfit(format!("the new volume could not be recorded: {fault}")),
    }
}

/// Whether `create` would find every device blank. Reads only.
pub(crate) async fn check_blank(
    io: &Io,
    devices: &[DeviceIndex],
    settings: &Settings,
) -> Result<(), OpenRefusal> {
    frames(io, devices, settings, None).await.map(|_| ())
}

/// The frames of devices that may be formatted: blank ones; with `settings.format_over` also the remains of `ours` that
/// an earlier `create` with the same seed left. A volume that was ever opened, and any other one, is never formatted over.
async fn frames(
    io: &Io,
    devices: &[DeviceIndex],
    settings: &Settings,
    ours: Option<VolumeId>,
) -> Result<Vec<Frame>, OpenRefusal> {
    let over = settings.format_over && ours.is_some();
    let mut frames: Vec<Frame> = Vec::new();
    for &device in devices {
        match probe(io, device, settings.hard_deadline_us).await {
            Probe::Blank(frame) => frames.push(frame),
            Probe::Leg(quorum, frame)
                if over
                    && Some(quorum.superblock.volume) == ours
                    && quorum.superblock.seq == FIRST_SEQ =>
            {
                frames.push(frame);
            }
            Probe::Leg(quorum, _) => {
                return misfit(format!(
                    "device {} is already a leg of volume {}; nothing was written",
                    io.device.geometry(device).stable_id,
                    quorum.superblock.volume
                ));
            }
            Probe::Unusable(why) if over => {
                let capacity = io.device.geometry(device).capacity_bytes;
                frames.push(crate::layout::frame(capacity).map_or_else(|| misfit(why), Ok)?);
            }
            Probe::Unusable(why) => return misfit(why),
        }
    }
    Ok(frames)
}

/// Guard page, cleared rings, then all four copies of `superblock`.
pub(crate) async fn format_leg(
    io: &Io,
    device: DeviceIndex,
    frame: &Frame,
    superblock: &Superblock,
    leg: LegId,
    deadline_us: u64,
) -> Result<(), device::IoFault> {
    clear(io, device, frame, superblock.volume, leg, deadline_us).await?;
    for (copy, ring) in frame.rings.into_iter().enumerate() {
        let at = ring + slot_offset(superblock.seq);
        let mut buffer = Buffer::zeroed(BLOCK_BYTES);
        superblock.encode_slot(leg, copy, at, &mut buffer);
        write(io, device, at, buffer, deadline_us).await?;
    }
    Ok(())
}

pub(crate) fn random_id(random: &mut fastrand::Rng) -> [u8; 16] {
    uuid::Builder::from_random_bytes(random.u128(..).to_le_bytes())
        .into_uuid()
        .into_bytes()
}

/// A device that is a leg of the volume being opened.
struct Present {
    device: DeviceIndex,
    quorum: Box<Quorum>,
    frame: Frame,
}

pub(crate) async fn open(
    io: &Io,
    devices: &[DeviceIndex],
    settings: &Settings,
    witness: Rc<dyn Witness>,
) -> Result<Volume, OpenRefusal> {
    let mut left_out = Vec::new();
    let mut present = Vec::new();
    for &device in devices {
        let name = io.device.geometry(device).stable_id;
        match probe(io, device, settings.hard_deadline_us).await {
            Probe::Leg(quorum, frame) => present.push(Present {
                device,
                quorum,
                frame,
            }),
            Probe::Blank(_) => left_out.push(format!(
                "device {name} is blank: `leg attach` makes it a leg"
            )),
            Probe::Unusable(why) => left_out.push(why),
        }
    }
    leave_strangers(io, &*witness, &mut present, &mut left_out);
    let volume = one_volume(io, &present, &left_out)?;
    let record = match witness.read(volume) {
        Ok(Some(record)) => record,
        Ok(None) => {
            return misfit(format!(
                "the state directory has no record of volume {volume}: it is the wrong one, or it was lost; restore it, or \
                 start with an empty state directory and every leg that counted: then the record is made anew"
            ));
        }
        Err(fault) => {
            return misfit(format!(
                "the record of volume {volume} cannot be read: {fault}"
            ));
        }
    };
    let newest = present
        .iter()
        .map(|leg| leg.quorum.superblock.epoch)
        .max()
        .unwrap_or(0);
    if newest > record.epoch {
        return misfit(format!(
            "a leg of volume {volume} knows epoch {newest}, the state directory only {}: the state directory is an old \
             copy; restore the current one",
            record.epoch
        ));
    }
    let (believed, stale): (Vec<_>, Vec<_>) = present
        .into_iter()
        .partition(|leg| record.in_sync.contains(&leg.quorum.leg));
    for leg in &stale {
        left_out.push(format!(
            "leg {} on device {} is stale: `leg attach` brings it up to date",
            leg.quorum.leg,
            io.device.geometry(leg.device).stable_id
        ));
    }
    if believed.is_empty() {
        let wanted: Vec<String> = record.in_sync.iter().map(LegId::to_string).collect();
        return misfit(format!(
            "no in-sync leg of volume {volume} is here (wanted: {}); stale legs never serve. Bring one of them back, or \
             rescue what there is with `ringpostctl salvage`. {}",
            wanted.join(", "),
            left_out.join("; ")
        ));
    }
    let inner = assemble(io, settings, witness, volume, &record, &believed, left_out)?;
    start_owning(&inner, &record, &believed).await?;
    Ok(Volume { inner })
}

/// Where the witness knows one of several volumes, that is the one meant: legs of the others are left out, untouched.
fn leave_strangers(
    io: &Io,
    witness: &dyn Witness,
    present: &mut Vec<Present>,
    left_out: &mut Vec<String>,
) {
    let volumes: BTreeSet<VolumeId> = present
        .iter()
        .map(|leg| leg.quorum.superblock.volume)
        .collect();
    // A record that cannot be read is not an absent one: its volume counts as known, and `open` says what is wrong.
    let known: Vec<VolumeId> = volumes
        .into_iter()
        .filter(|volume| !matches!(witness.read(*volume), Ok(None)))
        .collect();
    let [ours] = known[..] else { return };
    present.retain(|leg| {
        let theirs = leg.quorum.superblock.volume;
        if theirs != ours {
            let name = io.device.geometry(leg.device).stable_id;
            left_out.push(format!(
                "device {name} belongs to volume {theirs}, not to {ours}"
            ));
        }
        theirs == ours
    });
}

/// The one volume that the present legs belong to.
fn one_volume(io: &Io, present: &[Present], left_out: &[String]) -> Result<VolumeId, OpenRefusal> {
    let volumes: BTreeSet<VolumeId> = present
        .iter()
        .map(|leg| leg.quorum.superblock.volume)
        .collect();
    match volumes.len() {
        1 => Ok(*volumes.first().expect("one")),
        0 => misfit(format!(
            "none of the devices is a leg. {}",
            left_out.join("; ")
        )),
        _ => {
            let legs: Vec<String> = present
                .iter()
                .map(|leg| {
                    let name = io.device.geometry(leg.device).stable_id;
                    format!(
                        "device {name} belongs to volume {}",
                        leg.quorum.superblock.volume
                    )
                })
                .collect();
            misfit(format!(
                "the devices are legs of different volumes: {}; name only one volume's",
                legs.join(", ")
            ))
        }
    }
}

/// Builds the state from the newest superblock among believed legs.
fn assemble(
    io: &Io,
    settings: &Settings,
    witness: Rc<dyn Witness>,
    volume: VolumeId,
    record: &WitnessRecord,
    believed: &[Present],
    left_out: Vec<String>,
) -> Result<Rc<Inner>, OpenRefusal> {
    let newest = newest_of(believed)?;
    let superblock = &newest.quorum.superblock;
    let mut legs = Vec::new();
    for member in &superblock.members {
        let here = believed.iter().find(|leg| leg.quorum.leg == member.id);
        if let Some(here) = here
            && member.wwid != wwid(io, here.device)
            && !settings.accept_moved
        {
            let name = io.device.geometry(here.device).stable_id;
            return misfit(format!(
                "leg {} now lies on another device ({name}) than the one it was made on: is this a copy? If it was moved \
                 on purpose and the original is gone, start once with accept_moved",
                member.id
            ));
        }
        let state = if here.is_some() {
            LegState::InSync
        } else {
            absent_state(member, record)
        };
        let mut leg = Leg::absent(member.id, state, member.stale_since, member.wwid);
        if let Some(here) = here {
            (leg.device, leg.frame) = (Some(here.device), Some(here.frame));
            leg.wwid = wwid(io, here.device);
        }
        legs.push(leg);
    }
    if believed.iter().any(|leg| {
        !superblock
            .members
            .iter()
            .any(|member| member.id == leg.quorum.leg)
    }) {
        return misfit(
            "a leg that the witness names is missing from the newest member table: restore the state directory",
        );
    }
    let plan = superblock.plan;
    let seq = believed
        .iter()
        .map(|leg| leg.quorum.seq_seen)
        .max()
        .unwrap_or(superblock.seq);
    let log = Log {
        // Until `take_over`: a leg that fails meanwhile is forgotten in memory only.
        mode: Mode::ReadOnly("the volume is being opened".into()),
        epoch: record.epoch,
        term: record.term,
        next: superblock.acked.next(),
        acked: superblock.acked,
        chain: 0,
        pipeline: VecDeque::new(),
        submitted: 0,
        table: Table::new(plan.segment_count),
        marks: VecDeque::new(),
        checkpoint: Checkpoint {
            lsn: superblock.checkpoint,
            note: superblock.note.clone(),
        },
        start: superblock.start,
        table_spots: superblock.table.clone(),
        table_lsn: superblock.table_lsn,
        table_chain: superblock.table_chain,
        claims: superblock.claims.clone(),
        seal: Lsn(0),
        seq,
        parent: newest.quorum.body_hash,
        clean: false,
        respooling: false,
        moves: 0,
        barrier: false,
        watching: false,
        publishing_wanted: false,
        attempted: None,
    };
    Ok(Rc::new(Inner {
        io: io.clone(),
        pool: Pool::new(
            &settings.premade,
            settings.batch_buffers,
            plan.batch_bytes_max(),
        ),
        settings: settings.clone(),
        id: volume,
        plan,
        witness,
        legs: RefCell::new(legs),
        log: RefCell::new(log),
        publishing: Default::default(),
        checkpointing: Default::default(),
        arena_writing: Default::default(),
        arena: Arc::new(ArenaShared::default()),
        moved: Default::default(),
        counters: Cell::default(),
        report: RefCell::new(OpenReport {
            left_out,
            clean: superblock.clean,
            ..OpenReport::default()
        }),
        damage: RefCell::default(),
        read_cache: RefCell::default(),
        page_checks: RefCell::default(),
        takeover: RefCell::default(),
    }))
}

fn absent_state(member: &Member, record: &WitnessRecord) -> LegState {
    // A leg that the witness counts and that is not here is as stale as the others' first write makes it.
    match member.state {
        LegState::InSync | LegState::CatchingUp | LegState::Rebuilding => LegState::Stale,
        other if record.in_sync.contains(&member.id) => {
            tracing::warn!(leg = %member.id, state = ?other, "the witness counts a leg that its superblock does not");
            LegState::Stale
        }
        other => other,
    }
}

/// The believed leg whose superblock is newest. Two contents under one number and epoch are a fork.
fn newest_of(believed: &[Present]) -> Result<&Present, OpenRefusal> {
    let key = |leg: &Present| (leg.quorum.superblock.epoch, leg.quorum.superblock.seq);
    let newest = believed
        .iter()
        .max_by_key(|leg| key(leg))
        .expect("open made sure there is one");
    let forked = believed
        .iter()
        .find(|leg| key(leg) == key(newest) && leg.quorum.body_hash != newest.quorum.body_hash);
    match forked {
        None => Ok(newest),
        Some(other) => misfit(format!(
            "legs {} and {} have two histories under one number (a fork): open with one of them and attach the other as a \
             blank device",
            newest.quorum.leg, other.quorum.leg
        )),
    }
}

/// Finds the end of the log, reading only; then takes the volume over, unless something acknowledged may be lost by that.
async fn start_owning(
    inner: &Rc<Inner>,
    record: &WitnessRecord,
    believed: &[Present],
) -> Result<(), OpenRefusal> {
    let superblock = newest_of(believed)?.quorum.superblock.clone();
    let before = inner.counters.get().bytes_read;
    let mut recovered = recover(inner, &superblock).await?;
    {
        let mut report = inner.report.borrow_mut();
        report.tail_batches = recovered.batches;
        report.tail_bytes = inner.counters.get().bytes_read - before;
        report.damaged = recovered.damaged.clone();
    }
    let loss = loss(&recovered);
    let takeover = Takeover {
        record: record.clone(),
        term: record.term.max(superblock.term) + 1,
        acked_seen: recovered.acked_seen,
        repairs: std::mem::take(&mut recovered.repairs),
        again: std::mem::take(&mut recovered.again),
        idle: recovered.idle,
        given_up: std::mem::take(&mut recovered.given_up),
    };
    let no_room = recovered.no_room;
    adopt(inner, recovered);
    match loss {
        _ if no_room => {
            let why = "no segment is free for a new owner to write in: the volume can only be read; \
                       copy the mail off it with `ringpostctl salvage`";
            tracing::error!(why, "the volume is read-only");
            inner.log.borrow_mut().mode = Mode::ReadOnly(why.into());
            Ok(())
        }
        Some(why) if !inner.settings.accept_damage => {
            tracing::error!(why, "the volume is read-only");
            inner.log.borrow_mut().mode = Mode::ReadOnly(why);
            *inner.takeover.borrow_mut() = Some(takeover);
            Ok(())
        }
        _ => take_over(inner, takeover).await,
    }
}

/// What must not happen without the operator: acknowledged batches would be given up.
fn loss(recovered: &Recovered) -> Option<String> {
    let way_out = "bring missing legs back and start again, or accept the loss (`accept_damage`)";
    if recovered.unknown_end {
        return Some(format!(
            "no leg lets the end of the log be read, and acknowledged mail may lie there: {way_out}"
        ));
    }
    let damaged = &recovered.damaged;
    let list: Vec<String> = damaged.iter().take(8).map(Lsn::to_string).collect();
    (!damaged.is_empty()).then(|| {
        format!(
            "{} acknowledged batches are damaged on every leg (LSN {}{}): {way_out}",
            damaged.len(),
            list.join(", "),
            if damaged.len() > 8 { ", …" } else { "" }
        )
    })
}

/// Takes over what recovery found, for reading.
fn adopt(inner: &Rc<Inner>, recovered: Recovered) {
    {
        let mut log = inner.log.borrow_mut();
        let log = &mut *log;
        log.table = recovered.table;
        log.next = recovered.top.next();
        log.acked = recovered.top;
        log.chain = recovered.chain;
        log.marks = recovered.marks.into();
    }
    let unplaced = SegmentIndex(u32::MAX);
    inner
        .damage
        .borrow_mut()
        .extend(recovered.damaged.iter().map(|&lsn| (lsn, unplaced, 0)));
    inner.arena.set_legs(inner);
    inner.arena.set_segments(inner);
}

/// What is left to do once it is clear that this owner may write.
pub(crate) struct Takeover {
    record: WitnessRecord,
    term: u64,
    acked_seen: Lsn,
    repairs: Vec<(Of, u32)>,
    again: Vec<(Header, Bytes)>,
    idle: bool,
    given_up: GivenUp,
}

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
    } = takeover;
    let here: Vec<LegId> = inner
        .legs
        .borrow()
        .iter()
        .filter(|leg| leg.serves())
        .map(|leg| leg.id)
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
        in_sync: here,
    };
    if let Err(fault) = inner.witness.replace(Some(&record), &new) {
        return misfit(format!(
            "ownership of volume {} could not be recorded: {fault}",
            inner.id
        ));
    }
    for leg in inner.legs.borrow_mut().iter_mut() {
        // A leg that counted until now and is not here has everything acknowledged, and nothing later for sure.
        if record.in_sync.contains(&leg.id) && !leg.serves() {
            (leg.state, leg.stale_since) = (LegState::Stale, acked_seen);
            (leg.device, leg.frame, leg.failing) = (None, None, false);
            tracing::error!(leg = %leg.id, stale_since = acked_seen.0, "a leg is absent");
        }
    }
    {
        let mut log = inner.log.borrow_mut();
        (log.epoch, log.term, log.mode) = (epoch, term, Mode::Running);
    }
    let before = inner.counters.get().repairs;
    for (of, block) in repairs {
        // A repair that does not hold is counted; the other leg still has the batch.
        let _ = inner.repair_batch(of, block).await;
    }
    inner.report.borrow_mut().normalised =
        inner.counters.get().repairs - before + again.len() as u64;
    claim_first(inner, &again)?;
    publish_start(inner, &again, idle, given_up)
        .await
        .or_else(|fault| misfit(format!("the volume could not be opened: {fault}")))?;
    inner.log.borrow_mut().table.opening = false;
    Ok(())
}

/// Two segments to go on with, and as many as the batches to be appended again can fill.
fn claim_first(inner: &Rc<Inner>, again: &[(Header, Bytes)]) -> Result<(), OpenRefusal> {
    let mut log = inner.log.borrow_mut();
    let log = &mut *log;
    // Claims that were filled stay listed until the next table; the unused ones are free again.
    log.claims
        .retain(|claim| log.table.row(claim.segment).generation == claim.generation);
    for _ in 0..CLAIMS_OF_OPENING + segments_for(again, inner.plan.segment_bytes) {
        let Some((segment, generation)) = log.table.claim(Lsn(0), log.acked) else {
            break;
        };
        if log.claims.len() == SUPERBLOCK_CLAIMS_MAX {
            return misfit(
                "the volume was interrupted too often while opening; free segments cannot be claimed",
            );
        }
        log.claims.push(ClaimEntry {
            segment,
            generation,
        });
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
) -> Result<(), CommitFault> {
    inner.publish().await?;
    let top = inner.log.borrow().acked;
    for (header, bytes) in again {
        // Nobody waits for it; the seal behind it is awaited.
        drop(inner.enqueue_again(header, bytes)?);
    }
    if inner.log.borrow().table.claimed.is_empty() {
        return Err(CommitFault::Full);
    }
    // Where it gives earlier seals up it seals as much as they did.
    let last = given_up.skip.map_or(top, |(after, _)| after);
    let mut records = vec![Inline::Seal { last }];
    records.extend(given_up.skip.map(|(_, record)| record));
    let seal = inner.log.borrow().next;
    inner.log.borrow_mut().seal = seal;
    let sealed = inner.enqueue_own(Kind::Records, &[], &records)?;
    for &segment in &given_up.segments {
        // The table about to be written says that it is free; nobody may write there before the superblocks say so too.
        let mut log = inner.log.borrow_mut();
        log.table.free(segment, Lsn(0));
        log.table.pin(segment);
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
    for segment in given_up.segments {
        log.table.unpin(segment);
    }
    Ok(())
}
