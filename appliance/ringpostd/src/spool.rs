//! The spool's thread: opens the spool's own volume, takes what storage does not take at once, and hands it over.
//!
//! It has a thread of its own, pinned to no CPU: the spool is there for the time in which storage's thread stands still, and on a small machine receivers run
//! on that very thread.
//!
//! What must hold: nothing about the spool stops the start, or mail on its way to storage. What is wrong with it is a sentence for the operator, and
//! the box then does without. It is closed before storage is, because what it hands over goes there.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use base::host::{Receiver, Sender, oneshot, sleep_us};
use inbound::spool::{SpoolEnd, SpoolHealth, SpoolLane, drain, spool_lane};
use plan::{Misfit, Plan};
use runtime::{Core, CoreHandle, CoreSettings, SessionHost, Stop};
use spool::{Settings, Spool};
use storage::health::{CommitPath, PROBE_US, probe_store};
use storage::owner::Owner;
use tracing::Instrument;

use crate::apart;
use crate::engine::{self, Opening, Whose};
use crate::trial;
use crate::witness::FileWitness;

/// Below the state directory: the witness and marks of the spool's volume.
const PLACE: &str = "spool";

/// What became of the spool at a start.
pub struct Begun {
    /// `Err`: there is none, and why.
    pub lane: Result<SpoolLane, String>,
    /// What the operator should know.
    pub notes: Vec<String>,
    pub thread: Option<Thread>,
}

/// The running thread.
pub struct Thread {
    handle: CoreHandle,
    close: Stop,
    ended: Receiver<()>,
}

impl Thread {
    /// Takes no more, and closes the spool's volume. What waits is handed over after the next start.
    pub async fn stop(self) {
        self.close.request();
        self.handle.stop();
        let _ = self.ended.await;
        self.handle.join();
    }
}

/// Legs may have been moved, and damage may be given up: as the flags of the start say.
#[derive(Debug, Clone, Copy)]
pub struct Leave {
    pub accept_moved: bool,
    pub accept_damage: bool,
}

/// Where the spool hands over to.
pub enum Onward {
    Here(Owner),
    /// Storage nodes.
    Away(apart::Way),
}

/// Opens the spool that the plan names.
pub async fn begin(plan: &Plan, leave: Leave, onward: Onward) -> Begun {
    match start(plan, leave, onward).await {
        Ok(Some((lane, notes, thread))) => Begun {
            lane: Ok(lane),
            notes: notes.iter().map(|note| format!("spool: {note}")).collect(),
            thread: Some(thread),
        },
        Ok(None) => {
            let why = plan.spool_left_out.clone();
            let state = plan.state.join(PLACE);
            let was_there = FileWitness::new(state.clone()).knows_any();
            let note = was_there.unwrap_or(false).then(|| {
                format!(
                    "this start has no spool, and {} records one: mail may wait in it until a start names its legs again",
                    state.display()
                )
            });
            Begun {
                lane: Err(why.unwrap_or_else(|| "none is planned".to_owned())),
                notes: note.into_iter().collect(),
                thread: None,
            }
        }
        Err(misfit) => {
            let why = misfit.to_string();
            tracing::error!(
                why,
                "the spool cannot be opened; mail goes straight to storage"
            );
            Begun {
                notes: vec![format!(
                    "the spool cannot be opened: {why}. Mail goes straight to storage and is deferred when storage takes none; what waits in the spool stays there until a start can open it"
                )],
                lane: Err(format!("it could not be opened: {why}")),
                thread: None,
            }
        }
    }
}

type Started = (SpoolLane, Vec<String>, Thread);

async fn start(plan: &Plan, leave: Leave, onward: Onward) -> Result<Option<Started>, Misfit> {
    let Some(spool) = &plan.spool else {
        return Ok(None);
    };
    let state = plan.state.join(PLACE);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&state);
    made.map_err(|error| Misfit::new(format!("cannot make {}: {error}", state.display())))?;
    let opening = Opening {
        whose: Whose::Spool,
        plan: spool.storage.clone(),
        legs: trial::decide(&spool.storage, &state, Whose::Spool.section())?,
        state,
        accept_moved: leave.accept_moved,
        accept_damage: leave.accept_damage,
    };
    let settings = Settings {
        // The volume's own size is the bound.
        bytes_max: u64::MAX,
        messages_max: spool.messages_max,
        addressees_max: spool.addressees_max,
        keep_s: spool.keep_s,
        checkpoints: tenancy::Settings {
            checkpoint_groups: spool.storage.checkpoint_groups,
            checkpoint_bytes: spool.storage.checkpoint_bytes,
            checkpoint_us: spool.storage.checkpoint_us,
        },
    };
    let (told, opened) = oneshot();
    let (over, ended) = oneshot();
    let close = Stop::new();
    let given = Given {
        opening,
        settings,
        onward,
        close: close.clone(),
        told,
    };
    let core = CoreSettings {
        name: "spool".to_owned(),
        cpu: None,
    };
    let main = move |core: Core| async move {
        given.live(core).await;
        over.send(());
    };
    let handle = Core::start(core, main).map_err(|fault| Misfit::new(fault.to_string()))?;
    let gone = || Err(Misfit::new("the spool's thread ended"));
    let opened = opened.await.unwrap_or_else(gone);
    let thread = Thread {
        handle,
        close,
        ended,
    };
    match opened {
        Ok((lane, notes)) => Ok(Some((lane, notes, thread))),
        Err(misfit) => {
            thread.stop().await;
            Err(misfit)
        }
    }
}

type Told = Result<(SpoolLane, Vec<String>), Misfit>;

/// What the thread starts with.
struct Given {
    opening: Opening,
    settings: Settings,
    onward: Onward,
    close: Stop,
    told: Sender<Told>,
}

impl Given {
    /// The thread's whole life.
    async fn live(self, core: Core) {
        let opened = match open(&self.opening, self.settings).await {
            Ok(opened) => opened,
            Err(misfit) => return self.told.send(Err(misfit)),
        };
        let (spool, end, close) = (opened.spool, opened.end, self.close);
        let (store, host) = (spool.tenancy().store().clone(), opened.host);
        let volume = store.volume().clone();
        let of_spool = || tracing::info_span!("spool");
        let legs_planned = self.opening.plan.legs.len();
        let upkeep = storage::upkeep::run(host.clone(), volume.clone(), legs_planned);
        tokio::task::spawn_local(upkeep.instrument(of_spool()));
        let watched = watch(host.clone(), store, end.health());
        tokio::task::spawn_local(watched.instrument(of_spool()));
        let (hands_over, stops) = (spool.clone(), close.clone());
        let session_host = SessionHost::of_core();
        let drained = match self.onward {
            Onward::Here(owner) => {
                tokio::task::spawn_local(drain(session_host, hands_over, owner, stops))
            }
            Onward::Away(way) => {
                let afar = way.keeper(&core);
                tokio::task::spawn_local(drain(session_host, hands_over, afar, stops))
            }
        };
        self.told.send(Ok((opened.lane, opened.notes)));

        let (stops, silent) = (close.clone(), volume.clone());
        // What waits for legs that refuse or are silent would keep the process from ending.
        let abandoned = tokio::task::spawn_local(async move {
            stops.requested().await;
            storage::stop::abandon_unanswered(host, silent).await;
        });
        end.run(spool.clone(), async { close.requested().await })
            .await;
        close.requested().await;
        let _ = drained.await;
        if let Err(fault) = spool.tenancy().close().await {
            tracing::error!(%fault, "the spool was not closed cleanly; the next start replays its log");
        }
        if let Err(fault) = volume.close().await {
            tracing::error!(%fault, "the spool's volume was not closed cleanly; the next start recovers it");
        }
        abandoned.abort();
    }
}

struct Opened {
    spool: Spool,
    host: std::rc::Rc<dyn base::Host>,
    lane: SpoolLane,
    end: SpoolEnd,
    notes: Vec<String>,
}

async fn open(opening: &Opening, settings: Settings) -> Result<Opened, Misfit> {
    let engine = engine::open(opening).await?;
    let volume = engine.store.volume().clone();
    crate::admin::legs::enter(engine.legs, &volume);
    let host = engine.io.host.clone();
    let spool = Spool::open(engine.io, engine.store, engine.replay, settings).await;
    let spool =
        spool.map_err(|fault| Misfit::new(format!("what waits in it cannot be read: {fault}")))?;
    if engine.is_new {
        trial::created(&opening.state)?;
    }
    let mut notes = engine.notes;
    let waiting = spool.gauges().waiting();
    if waiting > 0 {
        notes.push(format!(
            "{waiting} messages wait in it and are handed over now"
        ));
    }
    let (lane, end) = spool_lane(&spool);
    Ok(Opened {
        spool,
        host,
        lane,
        end,
        notes,
    })
}

/// Probes the spool's volume until the thread ends. A spool that is only full is not in trouble.
async fn watch(host: std::rc::Rc<dyn base::Host>, store: store::Store, health: Arc<SpoolHealth>) {
    let mut path = CommitPath::default();
    loop {
        // until the thread ends
        let seen = probe_store(&*host, &store, &mut path).await;
        health.note(seen.trouble.filter(|_| !seen.full));
        sleep_us(&*host, PROBE_US).await;
    }
}
