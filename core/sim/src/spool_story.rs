//! One story of the inbound spool, from one seed: what was accepted is delivered once, whatever becomes of storage.
//!
//! Two volumes of one box: the mail's and the spool's. Senders deliver through `inbound::spool::Spooled`, the drain hands over, and owners of
//! mailboxes expunge what they read. Meanwhile the lane to storage is full or stands still, the legs of the mail's volume stall for longer than a
//! receiver waits or refuse every write, its segments run out, and the power goes at any boundary: in a direct delivery, between it and the
//! spool's entry, between a hand-over and the removal of its entry.
//!
//! The model: a message that was answered `Ok` is in the INBOX of each of its accounts, or in the spool, or was expunged there; no INBOX has any
//! message twice, and none that was expunged; what one sender had accepted one behind the other is in that order. What was not answered, or
//! refused, may be there once. In the end storage is well, and the spool empties by itself. In one story of two the spool keeps copies, and then the mail's volume
//! is lost as a whole: `loss.rs`.

mod house;
mod lane;
mod loss;
mod model;

use std::cell::RefCell;
use std::rc::Rc;

use base::host::sleep_us;
use device::IoFault;
use device::sim::{Faults, Halt};
use fastrand::Rng;
use runtime::Stop;

use crate::machine::{Machine, Shape};
use crate::volume_story::Told;
use house::{House, Legs};
use lane::Mode;
use model::{ACCOUNTS, Model};

pub fn run(seed: u64) -> Result<Told, String> {
    let mut rng = Rng::with_seed(seed ^ 0x7370_6f6f_6c73);
    let mut told = Told::default();
    // One seed in twelve: two volumes take their time.
    if rng.u8(..12) > 0 {
        return Ok(told);
    }
    let shape = Shape {
        legs: 2,
        leg_bytes: rng.u64(6 << 4..10 << 4) << 16,
        segment_bytes: 128 << 10,
        in_flight_max: rng.usize(1..9),
        clients: 1,
    };
    let mut machine = Machine::create(seed, shape)?;
    // Drawn apart, so that a seed's story is as it was up to the loss.
    let keeps = Rng::with_seed(seed ^ 0x6b65_6570).bool();
    let legs = Legs::create(&machine, seed, if keeps { loss::KEEP_S } else { 0 })?;
    let model = Rc::new(RefCell::new(Model::default()));
    for round in 0..rng.u64(2..5) {
        let cut = rng.u8(..4) > 0;
        let cut = cut.then(|| rng.u64(1..600));
        let plan = rng.fork();
        let world = &machine.world;
        legs.weather(&machine, &Faults::default());
        let lived = world.run(async {
            let house = House::open(&machine, &legs).await?;
            house.check(&model).await?;
            if let Some(cut) = cut {
                world.crash_at(world.boundaries() + cut);
            }
            live(&machine, &legs, &house, &model, plan).await?;
            house.check(&model).await
        });
        match lived {
            Ok(lived) => lived.map_err(|text| format!("spool, round {round}: {text}"))?,
            Err(Halt::PowerCut) => {}
            Err(halt) => return Err(format!("spool, round {round}: {halt}")),
        }
        world.crash();
        told.crashes += 1;
    }
    legs.weather(&machine, &Faults::default());
    let ended = machine.world.run(async {
        let house = House::open(&machine, &legs).await?;
        house.check(&model).await?;
        empties(&house, &model).await?;
        Ok::<_, String>(loss::expected(&house, &model.borrow()))
    });
    let kept = ended
        .map_err(|halt| halt.to_string())?
        .map_err(|text| format!("spool, at the end: {text}"))?;
    if keeps {
        machine.world.crash();
        told.crashes += 1;
        loss::lose_the_mail(&mut machine, seed ^ 1)
            .and_then(|()| loss::bring_back(&machine, &legs, kept, &mut rng))
            .map_err(|text| format!("spool, {text}"))?;
    }
    told.acked = model.borrow().accepted;
    told.digest = machine.world.digest();
    machine.world.crash();
    Ok(told)
}

/// Senders, owners of mailboxes, the drain and the weather, until every sender is through.
async fn live(
    machine: &Machine,
    legs: &Legs,
    house: &House,
    model: &Rc<RefCell<Model>>,
    mut rng: Rng,
) -> Result<(), String> {
    house.people(model).await?;
    let stop = Stop::new();
    house.start_drain(stop.clone());
    let senders: Vec<_> = (0..ACCOUNTS)
        .map(|sender| house.start_sender(sender, model.clone(), rng.fork(), rng.usize(4..24)))
        .collect();
    // Bounded by what the senders have to send.
    while senders.iter().any(|sender| sender.borrow().is_none()) {
        match rng.u8(..8) {
            0 => house.way.set(Mode::Full),
            1 => house.way.set(Mode::Stands),
            2 | 3 => house.way.let_go(),
            4 => legs.weather(
                machine,
                &Faults {
                    refuses_writes: Some(IoFault::NoSpace),
                    ..Faults::default()
                },
            ),
            5 => legs.weather(
                machine,
                &Faults {
                    stall: 0.3,
                    stall_us: 7_000_000,
                    ..Faults::default()
                },
            ),
            _ => legs.weather(machine, &Faults::default()),
        }
        sleep_us(&*house.io.host, rng.u64(1_000..6_000_000)).await;
    }
    stop.request();
    let mut ended = senders
        .iter()
        .filter_map(|sender| sender.borrow_mut().take());
    ended.find_map(Result::err).map_or(Ok(()), Err)
}

/// Storage is well: the drain needs no help.
async fn empties(house: &House, model: &Rc<RefCell<Model>>) -> Result<(), String> {
    let stop = Stop::new();
    house.start_drain(stop.clone());
    for _second in 0..DRAINED_WITHIN_S {
        if house.spool.gauges().waiting() == 0 {
            stop.request();
            let store = house.mailboxes().store();
            let waiting = house.way.outgoing().queue().count();
            if waiting > 0 {
                return Err(format!("{waiting} messages were put in the outbound queue"));
            }
            if store.volume().refuses().is_some() {
                return Err("storage is well and refuses".to_owned());
            }
            return house.check(model).await;
        }
        // Its volume may be full: owners make room.
        house.expunge_all(model).await?;
        sleep_us(&*house.io.host, 1_000_000).await;
    }
    let gauges = house.spool.gauges();
    Err(format!(
        "{} messages still wait, {} of them are stuck",
        gauges.waiting(),
        gauges.stuck()
    ))
}

/// The drain's longest pause is 5 s; the rest is for a full volume.
const DRAINED_WITHIN_S: u32 = 300;
