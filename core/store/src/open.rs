//! Opening: the newest logged checkpoint of the projection, or none and the whole log.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use base::host::{Bell, job};
use device::Io;
use volume::{Lsn, ReadFault, RecordAddress, Volume};

use crate::backend::Arena;
use crate::body::Zstd;
use crate::checkpoint::{Chain, Checkpointer};
use crate::limits::{
    ARENA_PAGES_MIN, DELTA_ENTRY_BYTES, DELTAS_MAX, PAGE_BYTES, RESERVE_SNAPSHOTS_PART,
    SEGMENTS_MIN, Sizes,
};
use crate::pages::{Base, IndexSync, Note, PageTable};
use crate::projection::Projection;
use crate::queue::Queue;
use crate::{Counters, Inner, Replay, Settings, SinceCheckpoint, Store, StoreFault, ledger, space};

/// What opening found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The projection was lost or not wanted: the whole log was replayed.
    pub rebuilt: bool,
    /// The LSN that the projection stood for.
    pub applied: Lsn,
    /// Groups given by `Replay` so far.
    pub replayed_groups: u64,
    /// Stretches of the log that no leg could give when the projection was rebuilt, now or earlier. What only they held is missing
    /// until a leg comes back that has them; the first open after that rebuilds and takes it in.
    pub damaged_stretches: u64,
}

impl Store {
    /// Opens the log and the projection of an open volume. The caller then replays `replay` to its end before any `append`; a
    /// `checkpoint` on the way is allowed, so that a long replay need not fit in memory.
    ///
    /// A projection that cannot be read on any leg is left behind and the whole log is replayed (`open_report`). `Deferred`:
    /// no leg answers, which says nothing about what is on them. `Misfit`: a newer version wrote this volume.
    pub async fn open(
        io: Io,
        volume: Volume,
        settings: Settings,
    ) -> Result<(Store, Replay), StoreFault> {
        let misfit = |_| {
            StoreFault::Misfit(
                "the volume's checkpoint was written by a newer version: open it with that one"
                    .into(),
            )
        };
        let note = Note::decode(&volume.checkpoint().note).map_err(misfit)?;
        let found = match note.sync {
            _ if note.rebuild => Err(Lost("a rebuild was asked for".into())),
            _ if is_whole_again(&volume, &note.past_damage).await => Err(Lost(
                "damage that it was rebuilt past can be read again".into(),
            )),
            None => {
                // An older release took smaller ones: what is in the log is served whatever the size.
                if volume.walk(Lsn(0)).next().await == Ok(None) {
                    check_size(&volume)?;
                }
                return Store::assemble(io, volume.clone(), &settings, empty(&volume)).await;
            }
            Some(newest) => load(&io, &volume, &settings, newest).await?,
        };
        match found {
            Ok(mut found) => {
                found.past_damage = note.past_damage;
                let opened = Store::assemble(io, volume, &settings, found).await?;
                opened.0.inner.resume_reclaim(&note.emptied);
                Ok(opened)
            }
            Err(Lost(why)) => {
                tracing::warn!(%why, "the projection is rebuilt from the whole log");
                Store::open_rebuilding(io, volume, settings).await
            }
        }
    }

    /// As `open`, but leaves the projection behind and replays the whole log.
    pub async fn open_rebuilding(
        io: Io,
        volume: Volume,
        settings: Settings,
    ) -> Result<(Store, Replay), StoreFault> {
        let checkpoint = volume.checkpoint();
        // Before the first new page may overwrite an old one: from here the old projection is never used again.
        let sync = Note::decode(&checkpoint.note)
            .ok()
            .and_then(|note| note.sync);
        let note = Note {
            sync,
            rebuild: true,
            emptied: Vec::new(),
            past_damage: Vec::new(),
        };
        volume
            .set_checkpoint(volume::Checkpoint {
                lsn: checkpoint.lsn,
                note: note.encode(),
            })
            .await?;
        let mut found = empty(&volume);
        found.rebuilt = true;
        Store::assemble(io, volume, &settings, found).await
    }

    /// The log behind what was replayed so far: after `Volume::accept_damage`, which may append again what recovery had kept.
    pub fn replay_rest(&self) -> Replay {
        // Until its end nobody knows what of it is a checkpoint's own.
        self.inner.told.set(Lsn(u64::MAX));
        Replay::new(self.inner.clone(), self.inner.landed.get())
    }

    /// The store over an open volume. The arena is grown to its least size here, so that the first checkpoint of a new volume
    /// does not depend on what mail leaves free.
    async fn assemble(
        io: Io,
        volume: Volume,
        settings: &Settings,
        found: Found,
    ) -> Result<(Store, Replay), StoreFault> {
        let projection = match found.rows {
            Some(rows) => rows,
            None => {
                let (arena, cache_bytes) = (found.arena.clone(), settings.projection_cache_bytes);
                let opened = job(&*io.host, move || Projection::open(arena, cache_bytes)).await;
                Arc::new(opened.map_err(|fault| StoreFault::Projection(fault.to_string()))?)
            }
        };
        // Bounded: each round adds a segment or ends it.
        while volume.arena_pages() < ARENA_PAGES_MIN {
            if let Err(fault) = volume.arena_grow().await {
                // The first checkpoint asks again.
                tracing::warn!(%fault, "no segment for the projection yet");
                break;
            }
        }
        let checks = found.arena.clone();
        volume.set_page_checks(Rc::new(move |page| checks.settled_check(page)));
        let sizes = Sizes::of_payload(volume.begin().await.room_bytes());
        let space = space::Space::default();
        space.set_used_pages((found.arena.table_bytes() / 8) as u64);
        let room = volume.room();
        let volume_bytes = room.segments as u64 * room.segment_pages * PAGE_BYTES as u64;
        let ledger = ledger::Ledger::of_volume(volume_bytes);
        let report = OpenReport {
            rebuilt: found.rebuilt,
            applied: found.applied,
            replayed_groups: 0,
            damaged_stretches: found.past_damage.len() as u64,
        };
        let inner = Rc::new(Inner {
            seed: volume.check_seed(),
            sizes,
            zstd: Zstd::new(settings.compression_level, settings.lead),
            zstd_away: Arc::new(Zstd::new(settings.compression_level, settings.lead)),
            queue: RefCell::new(Queue::default()),
            queue_bell: Bell::new(),
            room_bell: Bell::new(),
            landed: Cell::new(found.applied),
            told: Cell::new(Lsn(u64::MAX)),
            #[cfg(test)]
            keeps_all: Cell::default(),
            space,
            projection: Checkpointer::new(
                projection,
                found.arena,
                found.chain,
                found.applied,
                found.past_damage,
            ),
            reclaim: ledger,
            since_checkpoint: SinceCheckpoint::default(),
            counters: RefCell::new(Counters::default()),
            report: Cell::new(report),
            io,
            volume,
        });
        let replay = Replay::new(inner.clone(), found.applied);
        Ok((Store { inner }, replay))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.projection.close();
    }
}

struct Found {
    arena: Arc<Arena>,
    /// Already open.
    rows: Option<Arc<Projection>>,
    chain: Chain,
    applied: Lsn,
    rebuilt: bool,
    past_damage: Vec<Lsn>,
}

/// Why the projection cannot be used.
struct Lost(String);

fn empty(volume: &Volume) -> Found {
    let arena = Arena::new(
        volume.arena_reader(),
        PageTable::default(),
        vec![0; PAGE_BYTES],
        0,
    );
    Found {
        arena: Arc::new(arena),
        rows: None,
        chain: Chain::default(),
        applied: Lsn(0),
        rebuilt: false,
        past_damage: Vec::new(),
    }
}

/// Whether the log can be read again right behind one of `past_damage`. The look repairs what one leg has.
async fn is_whole_again(volume: &Volume, past_damage: &[Lsn]) -> bool {
    for before in past_damage {
        if let Ok(Some(_)) = volume.walk(*before).next().await {
            return true;
        }
    }
    false
}

/// The projection as the newest IDX-SYNC has it. `Lost`: it does not agree with the log and is rebuilt. A leg that does not
/// answer is a fault and never `Lost`: a rebuild would throw away what is only unreachable.
async fn load(
    io: &Io,
    volume: &Volume,
    settings: &Settings,
    newest: RecordAddress,
) -> Result<Result<Found, Lost>, StoreFault> {
    let (arena, chain, applied) = match follow(volume, newest).await {
        Ok(Ok(followed)) => followed,
        Ok(Err(lost)) => return Ok(Err(lost)),
        Err(fault) => return Err(fault.into()),
    };
    let (opening, cache_bytes) = (arena.clone(), settings.projection_cache_bytes);
    let opened = job(&*io.host, move || {
        let rows = Projection::open(opening, cache_bytes)?;
        let applied = rows.applied()?;
        Ok::<_, redb::Error>((rows, applied))
    })
    .await;
    Ok(match opened {
        Ok((rows, Some(found))) if found == applied => Ok(Found {
            arena,
            rows: Some(Arc::new(rows)),
            chain,
            applied,
            rebuilt: false,
            past_damage: Vec::new(),
        }),
        Ok((_, found)) => Err(Lost(format!(
            "it stands for {found:?}, the log says {applied:?}"
        ))),
        Err(_) if arena.fault() == Some(ReadFault::Unavailable) => {
            return Err(ReadFault::Unavailable.into());
        }
        Err(fault) => Err(Lost(fault.to_string())),
    })
}

/// Segments of so many pages that a new volume must have: the reserve with what it keeps for snapshots, the projection's first ones, and two for
/// mail.
pub(crate) fn segments_min(segment_pages: u64) -> usize {
    let snapshots = ARENA_PAGES_MIN / RESERVE_SNAPSHOTS_PART / segment_pages;
    SEGMENTS_MIN + snapshots as usize + ARENA_PAGES_MIN.div_ceil(segment_pages) as usize
}

/// Whether a volume that holds nothing yet can ever take mail.
fn check_size(volume: &Volume) -> Result<(), StoreFault> {
    let room = volume.room();
    let needed = segments_min(room.segment_pages);
    if room.segments >= needed {
        return Ok(());
    }
    Err(StoreFault::Misfit(format!(
        "the volume has {} segments of {} bytes; at least {needed} are needed: give larger devices or smaller segments",
        room.segments,
        room.segment_pages * PAGE_BYTES as u64
    )))
}

type Followed = (Arc<Arena>, Chain, Lsn);

/// Back along the chain to a whole table, then forward again.
async fn follow(
    volume: &Volume,
    newest: RecordAddress,
) -> Result<Result<Followed, Lost>, ReadFault> {
    let mut chain = Chain {
        newest: Some(newest),
        ..Chain::default()
    };
    let mut syncs = Vec::new();
    let mut next = newest;
    let runs = loop {
        // Bounded: a chain has a whole table every `DELTAS_MAX` links.
        if syncs.len() > DELTAS_MAX as usize {
            return Ok(Err(Lost("its page table has no beginning".into())));
        }
        let Some(payload) = read_known(volume, &next, &mut chain).await? else {
            return Ok(Err(Lost("a page delta is damaged".into())));
        };
        let Ok(sync) = IndexSync::decode(&payload) else {
            return Ok(Err(Lost("a page delta is of another version".into())));
        };
        let base = sync.base.clone();
        syncs.push(sync);
        match base {
            Base::Previous(previous) => {
                chain.deltas += 1;
                next = previous;
            }
            Base::Table(runs) => break runs,
        }
    };
    let mut table = PageTable::default();
    for run in &runs {
        let Some(run) = read_known(volume, run, &mut chain).await? else {
            return Ok(Err(Lost("the page table is damaged".into())));
        };
        if table.push_run(&run).is_err() {
            return Ok(Err(Lost("the page table is of another version".into())));
        }
    }
    for sync in syncs.iter().rev() {
        chain.delta_bytes += sync.changed.len() * DELTA_ENTRY_BYTES;
        for (page, check) in &sync.changed {
            table.set(*page, *check);
        }
        table.cut(sync.logical_bytes);
    }
    let newest = &syncs[0];
    let arena = Arena::new(
        volume.arena_reader(),
        table,
        newest.page0.to_vec(),
        newest.logical_bytes,
    );
    Ok(Ok((Arc::new(arena), chain, newest.applied)))
}

/// One run of the chain; `None` when no leg has it whole. No answer is not damage.
async fn read_known(
    volume: &Volume,
    address: &RecordAddress,
    chain: &mut Chain,
) -> Result<Option<bytes::Bytes>, ReadFault> {
    chain.note(address);
    match volume.read(address).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(ReadFault::Damaged | ReadFault::Stale) => Ok(None),
        Err(ReadFault::Unavailable) => Err(ReadFault::Unavailable),
    }
}
