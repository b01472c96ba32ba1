//! One story of mail that leaves, from one seed: submission, the listener for strangers, the queue, names that lead on, and the sender as
//! it is shipped, against servers of other sites, on virtual time.
//!
//! People submit, with parameters of RFC 3461, and strangers write to aliases, a group, a catch-all and mailboxes. Servers of other sites accept, defer,
//! refuse, hang at any step, close in the middle of a reply (also after they took the content), say nonsense, are not reached or not found, and
//! change. An administrator holds, releases, retries and drops messages and changes where names lead. Meanwhile one leg may be weak, every leg
//! refuses writes for a while, storage is busy, the volume is full, the clock jumps, the machine stops in peace or loses its power.
//!
//! What is checked:
//! - What was answered 250 is, in the end, with each final recipient, or its sender was told; nobody has it twice, but for an answer that was
//!   lost or a power cut before it was noted. A report arrives, unless its reader's server refuses it.
//! - Nobody has what does not lead to them, at some moment since it was written; one step leads on to all targets of one moment.
//! - What is held stays. Nothing is reported as failed that nobody refused and that did not expire.
//! - A server that is well gets its mail soon, however others hang.
//! - When all is well again the queue is empty within `OUTBOUND_DRAIN`, and no connection, memory or task is left.
//! - `Queue::checker`, between any two steps.
//!
//! What is not told here: TLS, DANE and routes, which `client/tests/relay` has.

mod mail_text;
mod model;
mod operator;
mod power_on;
mod remote;
mod writer;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use base::host::sleep_us;
use device::Io;
use device::sim::{Halt, SimWorld};
use fastrand::Rng;
use storage::outgoing::Outgoing;

use crate::knobs::Knobs;
use crate::limits::{OUTBOUND_DRAIN, OUTBOUND_SHARE};
use crate::machine::{Machine, Shape, Weakness};
use crate::volume_story::Told;

use mail_text::Mail;
use model::Known;
use operator::Operator;
use power_on::{PowerOn, Terms};
use writer::Writer;

/// What outlives a crash.
struct Town {
    machine: Machine,
    known: Rc<RefCell<Known>>,
    /// The volume is filled now and then.
    fills: bool,
    checkpoint_us: u64,
    connections_max: usize,
    /// Of the power-on that is or was last: what was noted when the power went.
    outgoing: RefCell<Option<Outgoing>>,
}

/// One seed in `OUTBOUND_SHARE` has this story.
pub fn run(seed: u64) -> Result<Told, String> {
    if seed % OUTBOUND_SHARE != 1 {
        return Ok(Told::default());
    }
    run_alone(seed)
}

/// This story, whatever the share.
pub fn run_alone(seed: u64) -> Result<Told, String> {
    // On a thread of its own: what a session leaves in thread-locals ends with the story.
    let told = std::thread::scope(|scope| scope.spawn(|| tell(seed)).join());
    told.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn tell(seed: u64) -> Result<Told, String> {
    let mut rng = Rng::with_seed(seed ^ 0x6f75_7462_6f75);
    let fills = rng.u8(..8) == 0;
    let shape = Shape {
        legs: 2,
        leg_bytes: if fills { 8 << 20 } else { 12 << 20 },
        segment_bytes: 256 << 10,
        in_flight_max: rng.usize(1..9),
        clients: 1,
    };
    let machine = Machine::create(seed, shape)?;
    machine.knobs.set(Knobs {
        all_refuse: rng.u8(..4) == 0,
        ..Knobs::default()
    });
    if rng.u8(..4) == 0 {
        machine.draw_weakness(&mut rng);
        // What is lost without a sign is told in `mailbox_story`.
        machine.weakness.set(Weakness {
            silent: false,
            ..machine.weakness.get()
        });
    }
    let town = Town {
        machine,
        known: Rc::default(),
        fills,
        checkpoint_us: [100_000, 1_000_000, 20_000_000][rng.usize(..3)],
        connections_max: [2, 5, 100, 100][rng.usize(..4)],
        outgoing: RefCell::default(),
    };
    let mut told = Told::default();
    first_start(&town)?;
    let rounds = rng.u64(..3);
    for round in 0..=rounds {
        let last = round == rounds;
        power_on(&town, &mut rng, round, last)
            .map_err(|text| format!("mail that leaves, round {round} of {rounds}: {text}"))?;
        told.crashes += 1;
    }
    town.known
        .borrow()
        .check_end()
        .map_err(|text| format!("mail that leaves: {text}"))?;
    told.acked = town.known.borrow().accepted;
    told.faults = town.machine.fault_counts();
    told.digest = town.machine.world.digest();
    Ok(told)
}

fn first_start(town: &Town) -> Result<(), String> {
    let world = &town.machine.world;
    let io = world.io();
    let furnished = world.run(async {
        let outgoing = power_on::open(&town.machine, &io, town.checkpoint_us).await?;
        operator::furnish(&outgoing, &town.known).await
    });
    furnished.map_err(|halt| halt.to_string())??;
    world.crash();
    Ok(())
}

fn power_on(town: &Town, rng: &mut Rng, round: u64, last: bool) -> Result<(), String> {
    let machine = &town.machine;
    let world = &machine.world;
    machine.faults_off();
    if !last && machine.weakness.get().leg.is_some() {
        machine.draw_faults(rng);
    }
    if !last && rng.u8(..3) > 0 {
        world.crash_at(world.boundaries() + rng.u64(1..500));
    }
    let io = world.io();
    let plan = rng.fork();
    match run_long(world, work(town, &io, plan, round, last)) {
        Ok(done) => done?,
        Err(Halt::PowerCut) => {}
        Err(halt) => return Err(halt.to_string()),
    }
    if let Some(outgoing) = town.outgoing.take() {
        town.known.borrow_mut().excuse(outgoing.queue());
    }
    town.unbroken()?;
    world.crash();
    Ok(())
}

/// As `SimWorld::run`, for hours.
fn run_long<T>(world: &SimWorld, future: impl Future<Output = T>) -> Result<T, Halt> {
    let mut future = Box::pin(future);
    for _ in 0..RUNS_MAX {
        let host = world.io().host;
        let until = world.now().after_us(1_800_000_000);
        let part = async {
            tokio::select! {
                biased;
                done = &mut future => Some(done),
                () = host.sleep_until(until) => None,
            }
        };
        if let Some(done) = world.run(part)? {
            return Ok(done);
        }
    }
    Err(Halt::Endless)
}

type LocalWork = Pin<Box<dyn Future<Output = Result<(), String>>>>;

async fn work(town: &Town, io: &Io, mut rng: Rng, round: u64, last: bool) -> Result<(), String> {
    let outgoing = power_on::open(&town.machine, io, town.checkpoint_us).await?;
    *town.outgoing.borrow_mut() = Some(outgoing.clone());
    operator::look(&outgoing, &mut town.known.borrow_mut(), io.host.now().0)?;
    let busy_share = [0, 0, 10, 100][rng.usize(..4)];
    let is_well = town.machine.weakness.get().leg.is_none() || last;
    let is_calm = is_well
        && busy_share == 0
        && !town.fills
        && !town.machine.knobs.get().all_refuse
        && town.connections_max == 100;
    let terms = Terms {
        start: round,
        busy_share,
        connections_max: town.connections_max,
    };
    let power = Rc::new(PowerOn::start(io, outgoing, &town.known, terms, &mut rng));
    let running = Rc::new(Cell::new(0));
    let start = |task: LocalWork| {
        let (known, running) = (town.known.clone(), running.clone());
        running.set(running.get() + 1);
        io.host.spawn(Box::pin(async move {
            if let Err(text) = task.await {
                known.borrow_mut().fail(text);
            }
            running.set(running.get() - 1);
        }));
    };
    for _ in 0..rng.usize(1..4) {
        let mut writer = Writer {
            power: power.clone(),
            known: town.known.clone(),
            rng: rng.fork(),
            is_calm,
        };
        let letters = rng.usize(1..6);
        start(Box::pin(async move { writer.run(letters).await }));
    }
    let mut operator = town.operator(&power, &mut rng);
    let works = [0, 4, 10][rng.usize(..3)];
    start(Box::pin(async move { operator.run(works).await }));
    let stops = !last && rng.u8(..3) == 0;
    let gentle_home = rng.bool();
    let mut outage = true;
    let weak = !last && town.machine.weakness.get().leg.is_some();
    let mut rounds_left = rng.usize(1..20);
    while running.get() > 0 || rounds_left > 0 {
        rounds_left = rounds_left.saturating_sub(1);
        sleep_us(&*io.host, rng.u64(1..600_000_000)).await;
        match rng.u8(..12) {
            0 => drop(power.outgoing.mailboxes().checkpoint().await),
            1 if std::mem::take(&mut outage) => town.machine.begin_outage(io, &mut rng),
            2 if stops => {
                power.stop.request();
                rounds_left = 0;
            }
            3 if weak => town.machine.disturb(&mut rng),
            4 if weak => {
                let volume = power.outgoing.mailboxes().store().volume();
                town.machine.attach_missing(volume).await;
            }
            _ => {
                let remote = &power.remotes[rng.usize(1..power.remotes.len())];
                remote.change(&mut rng, gentle_home && remote.domain == power_on::HOME);
            }
        }
        town.unbroken()?;
    }
    if last {
        drain(town, io, &power, &mut rng).await?;
    }
    power.end_sender().await?;
    town.known.borrow_mut().excuse(power.outgoing.queue());
    if last {
        town.read_mailboxes(&power).await?;
    }
    if rng.bool() {
        drop(power.outgoing.mailboxes().close().await);
        drop(power.outgoing.mailboxes().store().volume().close().await);
    }
    Ok(())
}

/// All is well again: everything leaves.
async fn drain(town: &Town, io: &Io, power: &Rc<PowerOn>, rng: &mut Rng) -> Result<(), String> {
    power.calm_down();
    let volume = power.outgoing.mailboxes().store().volume();
    town.machine.heal(io, volume).await?;
    let mut operator = town.operator(power, rng);
    operator.empty().await?;
    operator.release_all().await;
    if rng.bool() {
        trouble(town, power, rng).await?;
    }
    power.remotes.iter().for_each(|remote| remote.heal());
    let queue = power.outgoing.queue();
    let words = "all is well, and the queue does not empty";
    let emptied = power
        .until(words, OUTBOUND_DRAIN, || queue.count() == 0)
        .await;
    if let Err(words) = emptied {
        return Err(format!("{words}: {:?}", queue.entries(None, 3)));
    }
    town.unbroken()?;
    power.at_rest().await
}

/// Letters wait for servers that are not well, and the clock jumps: nothing bounces for it, and nothing waits for it.
async fn trouble(town: &Town, power: &Rc<PowerOn>, rng: &mut Rng) -> Result<(), String> {
    for remote in &power.remotes[1..] {
        remote.change(rng, remote.domain == power_on::HOME);
    }
    let mut writer = Writer {
        power: power.clone(),
        known: town.known.clone(),
        rng: rng.fork(),
        is_calm: false,
    };
    for _ in 0..rng.usize(1..6) {
        writer.write_one().await?;
    }
    let host = power.sessions();
    host.sleep(Duration::from_secs(rng.u64(1..3_000))).await;
    let days = [0, 5, 40, -5, -400][rng.usize(..5)];
    town.machine.world.set_clock_by(days * 86_400);
    host.sleep(Duration::from_secs(rng.u64(1..3_000))).await;
    Ok(())
}

impl Town {
    fn operator(&self, power: &Rc<PowerOn>, rng: &mut Rng) -> Operator {
        Operator {
            power: power.clone(),
            known: self.known.clone(),
            rng: rng.fork(),
            fills: self.fills,
        }
    }

    fn unbroken(&self) -> Result<(), String> {
        match &self.known.borrow().broken {
            Some(text) => Err(text.clone()),
            None => Ok(()),
        }
    }

    /// What is in our own mailboxes was taken too.
    async fn read_mailboxes(&self, power: &PowerOn) -> Result<(), String> {
        let mailboxes = power.outgoing.mailboxes();
        for local in ["ada", "bob"] {
            let path = format!("{local}@example.org");
            let account = mailboxes.account(&operator::at(&path)).await;
            let account = account.map_err(|fault| fault.to_string())?;
            let account = account.ok_or("an account is gone")?.id;
            let (inbox, _) = operator::inbox(mailboxes, account).await?;
            let view = mailboxes
                .view(inbox)
                .await
                .map_err(|fault| fault.to_string())?;
            for message in view.messages.iter() {
                let raw = mailboxes.store().body_proved(&message.body).await;
                let raw = raw.map_err(|fault| format!("a letter is not whole: {fault}"))?;
                let mail = Mail::read(String::from_utf8_lossy(&raw).into_owned(), "");
                self.known
                    .borrow_mut()
                    .take(&path, &mail, true, false, true);
            }
        }
        self.unbroken()
    }
}

/// Runs of half an hour in one power-on: two days.
const RUNS_MAX: usize = 96;
