//! The opening of one volume on the thread that owns it: the ring joined to the runtime, legs, volume, log. The mail's and the spool's open alike.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use device::{Device, DeviceIndex, Io};
use plan::profile::RingFlags;
use plan::{Misfit, StoragePlan};
use runtime::CoreHost;
use store::{Replay, Store, StoreFault};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use uring::Ring;
use volume::{BATCH_BYTES_MAX, Premade, Volume};

use crate::admin::open_legs::Legs;
use crate::trial;
use crate::witness::FileWitness;

/// Which of the box's volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Mail,
    Spool,
}

impl Whose {
    /// The table of the settings.
    pub fn section(self) -> &'static str {
        match self {
            Whose::Mail => "volume",
            Whose::Spool => "spool",
        }
    }

    fn index_thread(self) -> &'static str {
        match self {
            Whose::Mail => "index",
            Whose::Spool => "spool index",
        }
    }

    /// What is to be done about a leg that is missing.
    fn one_leg(self) -> &'static str {
        match self {
            Whose::Mail => {
                "mail is served from the other leg alone; `ringpostctl leg attach PATH` adds a leg that returned or a new one"
            }
            Whose::Spool => {
                "the spool goes on with the other leg alone; `ringpostctl spool leg attach PATH` adds a leg that returned or a new one"
            }
        }
    }
}

/// What the thread gets.
pub struct Opening {
    pub whose: Whose,
    pub plan: StoragePlan,
    /// Where the volume's record is kept: witness, marks.
    pub state: PathBuf,
    /// What to do with the legs first.
    pub legs: trial::Legs,
    /// Legs may be on other devices than those they were made on (they were moved on purpose).
    pub accept_moved: bool,
    /// Acknowledged batches that no leg has are given up.
    pub accept_damage: bool,
}

/// The open log of one volume, on its own thread.
pub struct Engine {
    /// Devices, clock and tasks of the thread.
    pub io: Io,
    /// The open legs, for administration.
    pub legs: Rc<OpenLegs>,
    pub store: Store,
    pub replay: Replay,
    /// What the operator should know: legs omitted, damage found.
    pub notes: Vec<String>,
    /// The volume was made just now, or its first start was cut short.
    pub is_new: bool,
}

/// The open legs and their paths.
pub struct OpenLegs {
    ring: Rc<Ring>,
    /// The path that each device was opened at, by its index.
    paths: RefCell<BTreeMap<u16, PathBuf>>,
}

impl Legs for OpenLegs {
    fn open(&self, path: &Path) -> Result<DeviceIndex, String> {
        let device = self.ring.open(path).map_err(|misfit| misfit.to_string())?;
        self.paths.borrow_mut().insert(device.0, path.to_owned());
        Ok(device)
    }

    fn close(&self, device: DeviceIndex) -> bool {
        let closed = self.ring.close(device);
        if closed {
            self.paths.borrow_mut().remove(&device.0);
        }
        closed
    }

    fn is_present(&self, device: DeviceIndex) -> bool {
        self.ring.is_present(device)
    }

    fn path_of(&self, device: DeviceIndex) -> Option<PathBuf> {
        self.paths.borrow().get(&device.0).cloned()
    }

    fn ring(&self) -> (RingFlags, usize) {
        let flags = match self.ring.flags() {
            uring::Flags::DeferTaskrun => RingFlags::DeferTaskrun,
            uring::Flags::SingleIssuer => RingFlags::SingleIssuer,
            uring::Flags::CoopTaskrun => RingFlags::CoopTaskrun,
            uring::Flags::Plain => RingFlags::Plain,
        };
        (flags, self.ring.registered_buffers())
    }

    fn device_at(&self, path: &Path) -> Option<DeviceIndex> {
        let paths = self.paths.borrow();
        paths
            .iter()
            .find(|(_, known)| known.as_path() == path)
            .map(|(device, _)| DeviceIndex(*device))
    }
}

/// Runs on the thread that will own the volume. What is wrong with one leg is a note as long as another one serves.
pub async fn open(opening: &Opening) -> Result<Engine, Misfit> {
    let plan = &opening.plan;
    let ring = Ring::with_flags(ring_flags(plan.ring));
    let ring = Rc::new(ring.map_err(|misfit| Misfit::new(misfit.to_string()))?);
    join_ring(ring.clone())?;
    let host = CoreHost::new(opening.whose.index_thread())
        .map_err(|error| Misfit::new(format!("cannot start a thread: {error}")))?;
    let io = Io {
        device: ring.clone(),
        host: Rc::new(host),
    };
    let legs = Rc::new(OpenLegs {
        ring: ring.clone(),
        paths: RefCell::default(),
    });
    let mut notes = Vec::new();
    let first_start = matches!(opening.legs, trial::Legs::Create { .. });
    let mut devices = Vec::new();
    for path in &plan.legs {
        if first_start && trial::is_missing(path) {
            continue; // `first` makes it, once what is here was seen to be blank
        }
        match legs.open(path) {
            Ok(device) => devices.push(device),
            Err(why) if !matches!(opening.legs, trial::Legs::Open | trial::Legs::Finish) => {
                return Err(Misfit::new(why));
            }
            Err(why) => notes.push(why),
        }
    }
    if devices.is_empty() && !first_start {
        return Err(Misfit::new(format!(
            "the volume cannot be opened without legs: {}",
            notes.join("; ")
        )));
    }
    let premade = (0..plan.batch_buffers)
        .map(|_| ring.allocate(BATCH_BYTES_MAX))
        .collect();
    let settings = volume::Settings {
        segment_bytes: plan.segment_bytes,
        hard_deadline_us: plan.hard_deadline_us,
        batches_in_flight_max: plan.batches_in_flight,
        batch_buffers: plan.batch_buffers,
        premade: Premade::new(premade),
        accept_moved: opening.accept_moved,
        accept_damage: opening.accept_damage,
        ..volume::Settings::default()
    };
    let witness = FileWitness::new(opening.state.clone());
    let mut first = First {
        opening,
        io: &io,
        legs: &legs,
        witness: &witness,
        notes: Vec::new(),
    };
    let is_new = match opening.legs {
        trial::Legs::Open => false,
        trial::Legs::Finish => true,
        trial::Legs::Adopt => {
            if !first.adopt(&devices, &settings).await? {
                return Err(trial::no_volume(
                    plan,
                    &opening.state,
                    opening.whose.section(),
                ));
            }
            false
        }
        trial::Legs::Create { begun } => {
            first.create(&mut devices, settings.clone(), begun).await? || begun.is_some()
        }
    };
    notes.append(&mut first.notes);
    let volume = Volume::open(&io, &devices, &settings, Rc::new(witness))
        .await
        .map_err(|refusal| Misfit::new(with_notes(refusal.to_string(), &notes)))?;
    if !notes.is_empty() {
        notes.push(opening.whose.one_leg().to_owned());
    }
    notes.extend(told(&volume, opening.whose));
    readmit(&volume, &devices, &legs, &mut notes).await;
    let settings = store::Settings {
        projection_cache_bytes: plan.projection_cache_bytes as usize,
        compression_level: plan.compression,
        lead: mail::header::bytes,
    };
    let (store, replay) = Store::open(io.clone(), volume, settings)
        .await
        .map_err(|fault| {
            Misfit::new(format!(
                "the log cannot be opened: {fault}{}",
                way_in(&fault)
            ))
        })?;
    Ok(Engine {
        io,
        legs,
        store,
        replay,
        notes,
        is_new,
    })
}

/// A start that knows no volume.
struct First<'a> {
    /// What to open, and what is allowed.
    opening: &'a Opening,
    io: &'a Io,
    /// The legs that are open so far.
    legs: &'a OpenLegs,
    /// Where the volume's record is kept.
    witness: &'a FileWitness,
    notes: Vec<String>,
}

impl First<'_> {
    /// Takes over the volume that `devices` hold; `false`: they hold none. Writes nothing but the record.
    async fn adopt(
        &mut self,
        devices: &[DeviceIndex],
        settings: &volume::Settings,
    ) -> Result<bool, Misfit> {
        let adopted = Volume::adopt(self.io, devices, settings, self.witness)
            .await
            .map_err(refused)?;
        if let Some(volume) = adopted {
            self.notes.push(format!(
                "the state directory had no record of a volume; every leg of volume {volume} that was in sync is present, so it is opened"
            ));
        }
        Ok(adopted.is_some())
    }

    /// Makes a volume, and the file legs that are missing for it, when every leg that is here is blank; takes over the
    /// volume that they hold otherwise, or refuses. `true`: a volume was made. Nothing is written, and no leg made, before
    /// what is here was seen to be blank.
    async fn create(
        &mut self,
        devices: &mut Vec<DeviceIndex>,
        mut settings: volume::Settings,
        begun: Option<u64>,
    ) -> Result<bool, Misfit> {
        settings.format_over = begun.is_some();
        let seed = begun.unwrap_or_else(|| fastrand::u64(..));
        if !devices.is_empty()
            && let Err(refusal) = Volume::check_blank(self.io, devices, &settings, seed).await
        {
            return if self.adopt(devices, &settings).await? {
                Ok(false)
            } else {
                Err(refused(refusal))
            };
        }
        let plan = &self.opening.plan;
        let missing: Vec<PathBuf> = plan
            .legs
            .iter()
            .filter(|leg| trial::is_missing(leg))
            .cloned()
            .collect();
        trial::make(&missing, plan.leg_bytes)?;
        if let Err(misfit) = self.take_all(devices, &settings, seed).await {
            for leg in &missing {
                trial::unmake(leg);
            }
            return Err(misfit);
        }
        // Blank first, then the mark that they may be formatted over: never the other way round.
        trial::formatting(&self.opening.state, seed)?;
        settings.format_over = true;
        Volume::create(self.io, devices, &settings, self.witness, seed)
            .await
            .map_err(refused)?;
        Ok(true)
    }

    /// Opens the legs that were just made, in the order of the plan, and looks at all of them once more.
    async fn take_all(
        &self,
        devices: &mut Vec<DeviceIndex>,
        settings: &volume::Settings,
        seed: u64,
    ) -> Result<(), Misfit> {
        let mut all = Vec::new();
        for path in &self.opening.plan.legs {
            all.push(match self.legs.device_at(path) {
                Some(device) => device,
                None => self.legs.open(path).map_err(Misfit::new)?,
            });
        }
        *devices = all;
        Volume::check_blank(self.io, devices, settings, seed)
            .await
            .map_err(refused)
    }
}

/// The volume's reason, as a start reports it.
fn refused(refusal: volume::OpenRefusal) -> Misfit {
    Misfit::new(refusal.to_string())
}

/// The planned flags and those that older kernels know.
fn ring_flags(best: RingFlags) -> &'static [uring::Flags] {
    let known: &[uring::Flags] = &uring::FLAGS;
    match best {
        RingFlags::DeferTaskrun => known,
        RingFlags::SingleIssuer => &known[1..],
        RingFlags::CoopTaskrun => &known[2..],
        RingFlags::Plain => &known[3..],
    }
}

/// Planned legs that the volume omitted are admitted again at once: one that missed mail gets what it missed, a blank
/// one everything. Legs of other volumes are refused by the volume and let go.
async fn readmit(
    volume: &Volume,
    devices: &[DeviceIndex],
    legs: &OpenLegs,
    notes: &mut Vec<String>,
) {
    for &device in devices {
        if volume.legs().iter().any(|leg| leg.device == Some(device)) {
            continue;
        }
        let path = legs.path_of(device).unwrap_or_default();
        match volume.attach(device).await {
            Ok(leg) => notes.push(format!(
                "{} is leg {} and is being brought up to date",
                path.display(),
                leg.0
            )),
            Err(refusal) => {
                notes.push(format!("{} is omitted: {refusal}", path.display()));
                legs.close(device);
            }
        }
    }
}

/// A refusal with what was noted before it: often the note names the cause.
fn with_notes(refusal: String, notes: &[String]) -> String {
    if notes.is_empty() {
        refusal
    } else {
        format!("{refusal}; {}", notes.join("; "))
    }
}

/// What helps where not even reading is possible.
fn way_in(fault: &StoreFault) -> &'static str {
    match fault {
        StoreFault::Deferred(_) => {
            "; the index of the mailboxes is lost as well, so the mailboxes cannot be read: start once with --accept-damage"
        }
        _ => "",
    }
}

/// What opening omitted or found, in sentences.
fn told(volume: &Volume, whose: Whose) -> Vec<String> {
    let report = volume.open_report();
    for why in &report.left_out {
        tracing::info!(why, "omitted at first");
    }
    let mut notes = Vec::new();
    if !report.damaged.is_empty() {
        let what = match whose {
            Whose::Mail => "`ringpostctl volume accept-damage` lists them",
            Whose::Spool => "`ringpostctl spool accept-damage` lists them",
        };
        notes.push(format!(
            "{} acknowledged batches are damaged on every leg; {what}",
            report.damaged.len()
        ));
    }
    tracing::info!(
        volume = %volume.id(),
        clean = report.clean,
        tail_batches = report.tail_batches,
        normalised = report.normalised,
        "volume open"
    );
    notes
}

/// Turns the ring whenever something is to be submitted or has completed. Operations started by tasks that are ready
/// now reach the kernel together: the turn is a task like them and comes after.
fn join_ring(ring: Rc<Ring>) -> Result<(), Misfit> {
    let told =
        |error: std::io::Error| Misfit::new(format!("cannot wait for the storage ring: {error}"));
    let bell = Arc::new(Notify::new());
    let kick = bell.clone();
    ring.set_kick(Box::new(move || kick.notify_one()));
    let descriptor = ring.eventfd().try_clone_to_owned().map_err(told)?;
    #[expect(
        deprecated,
        reason = "an OwnedFd owns its descriptor for life, which is all that `register` asks; that one is unsafe"
    )]
    let completions = AsyncFd::new(descriptor).map_err(told)?;
    tokio::task::spawn_local(async move {
        loop {
            // until the thread ends
            tokio::select! {
                ready = completions.readable() => match ready {
                    // Edge-triggered: the next completion is a new edge, the counter need not be read.
                    Ok(mut ready) => ready.clear_ready(),
                    Err(error) => panic!("the storage ring's eventfd: {error}"),
                },
                () = bell.notified() => {}
            }
            runtime::stall::arm();
            ring.turn();
        }
    });
    Ok(())
}
