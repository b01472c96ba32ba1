//! One story of mailboxes that fill their volume, from one seed: no disk fails, there is only no room (findings E1 and E2).
//!
//! Clients deliver until the store refuses. The machine is restarted on the full volume, several times, in the middle of openings too. Then
//! part of it is expunged and reclaim runs while nobody writes, so that what it copied is the end of the log when the power goes. Then
//! everything is expunged, which a full volume always takes, and once checkpoints and reclaim have run it takes mail as before.

use std::cell::Cell;
use std::rc::Rc;

use base::host::sleep_us;
use device::sim::Halt;
use fastrand::Rng;

use crate::knobs::Knobs;
use crate::limits::{EMPTYING_PASSES_MAX, FILLING_OPERATIONS, THINNING_PASSES_MAX};
use crate::machine::Shape;
use crate::mailbox_box::MailboxBox;
use crate::volume_story::Told;

pub fn run(seed: u64) -> Result<Told, String> {
    let mut rng = Rng::with_seed(seed ^ 0x6675_6c6c);
    let mut told = Told::default();
    if !Knobs::draw(&mut rng.fork()).full_volume {
        return Ok(told);
    }
    let shape = Shape {
        legs: 2,
        // The smallest that the store takes with the larger segments, and half as much again.
        leg_bytes: rng.u64(7 << 4..10 << 4) << 16,
        segment_bytes: [128 << 10, 256 << 10][rng.usize(..2)],
        in_flight_max: rng.usize(1..9),
        clients: rng.usize(1..4),
    };
    let settings = mailbox::Settings {
        cache_bytes: 1 << 20,
        checkpoint_groups: [50, u64::MAX][rng.usize(..2)],
        checkpoint_bytes: 1 << 20,
        checkpoint_us: [1_000_000, 60_000_000][rng.usize(..2)],
    };
    let mailbox_box = MailboxBox::create(seed, shape, settings)?;
    for client in &mailbox_box.clients {
        client.borrow_mut().large = rng.bool();
    }
    for round in 0..rng.u64(1..4) {
        let run = fill(&mailbox_box, &mut rng)
            .and_then(|()| restart(&mailbox_box, &mut rng, &mut told))
            .and_then(|()| thin_out(&mailbox_box, &mut rng, &mut told))
            .and_then(|()| empty(&mailbox_box, &mut rng));
        run.map_err(|text| format!("a full volume, round {round}: {text}"))?;
        told.crashes += 1;
    }
    told.acked = mailbox_box.acked();
    told.faults = mailbox_box.fault_counts();
    told.digest = mailbox_box.world.digest();
    Ok(told)
}

/// Clients deliver, and delete little, until each of them was refused.
fn fill(mailbox_box: &MailboxBox, rng: &mut Rng) -> Result<(), String> {
    let world = &mailbox_box.world;
    let io = world.io();
    let filled = world.run(async {
        let mailboxes = mailbox_box.open(&io).await?;
        mailbox_box.check(&mailboxes).await?;
        let running = Rc::new(Cell::new(0));
        mailbox_box.start_clients(&io, &mailboxes, rng, FILLING_OPERATIONS, &running);
        while running.get() > 0 {
            sleep_us(&*io.host, rng.u64(1..20_000)).await;
            match rng.u8(..24) {
                0 => drop(mailboxes.checkpoint().await),
                1 => _ = mailboxes.reclaim().await,
                _ => {}
            }
        }
        mailbox_box.unbroken()
    });
    filled.map_err(|halt| halt.to_string())??;
    world.crash();
    Ok(())
}

/// Opens again and again; some openings are cut short.
fn restart(mailbox_box: &MailboxBox, rng: &mut Rng, told: &mut Told) -> Result<(), String> {
    let world = &mailbox_box.world;
    for opening in 0..rng.u64(0..7) {
        if rng.bool() {
            world.crash_at(world.boundaries() + rng.u64(1..60));
        }
        let io = world.io();
        let opened = world.run(async {
            let mailboxes = mailbox_box.open(&io).await?;
            mailbox_box.check(&mailboxes).await
        });
        match opened {
            Ok(checked) => checked.map_err(|text| format!("opening {opening}: {text}"))?,
            Err(Halt::PowerCut) => {}
            Err(halt) => return Err(format!("opening {opening}: {halt}")),
        }
        world.crash();
        told.crashes += 1;
    }
    Ok(())
}

/// Most letters are expunged, and reclaim copies the others while nothing else is written: with checkpoints in between or without
/// any. Then the power goes, and whatever the next openings give up, every letter is there.
fn thin_out(mailbox_box: &MailboxBox, rng: &mut Rng, told: &mut Told) -> Result<(), String> {
    let world = &mailbox_box.world;
    let io = world.io();
    let (passes, checkpoints) = (rng.u8(1..THINNING_PASSES_MAX), rng.bool());
    let mut dice = rng.fork();
    let thinned = world.run(async {
        let mailboxes = mailbox_box.open(&io).await?;
        mailbox_box.check(&mailboxes).await?;
        let done = mailbox_box.expunge(&mailboxes, || dice.u8(..4) > 0).await;
        done.map_err(|text| format!("it cannot be thinned out: {text}"))?;
        drop(mailboxes.checkpoint().await);
        for _ in 0..passes {
            mailboxes.reclaim().await;
            if checkpoints {
                drop(mailboxes.checkpoint().await);
            }
        }
        Ok::<(), String>(())
    });
    thinned.map_err(|halt| halt.to_string())??;
    world.crash();
    told.crashes += 1;
    restart(mailbox_box, rng, told).map_err(|text| format!("thinned out: {text}"))
}

/// Everything is expunged; then there is room.
fn empty(mailbox_box: &MailboxBox, rng: &mut Rng) -> Result<(), String> {
    let world = &mailbox_box.world;
    let io = world.io();
    let emptied = world.run(async {
        let mailboxes = mailbox_box.open(&io).await?;
        mailbox_box.check(&mailboxes).await?;
        mailbox_box
            .expunge(&mailboxes, || true)
            .await
            .map_err(|text| format!("it cannot be emptied: {text}"))?;
        // Bounded: each pass gives something back, or there is nothing to give.
        for _ in 0..EMPTYING_PASSES_MAX {
            drop(mailboxes.checkpoint().await);
            mailboxes.reclaim().await;
            // The upkeep task may be at it already, and then this pass was none.
            sleep_us(&*io.host, 100_000).await;
        }
        let before = mailbox_box.acked();
        let running = Rc::new(Cell::new(0));
        mailbox_box.start_clients(&io, &mailboxes, rng, 4, &running);
        while running.get() > 0 {
            sleep_us(&*io.host, 10_000).await;
        }
        mailbox_box.unbroken()?;
        let taken = mailbox_box.acked() - before;
        // Four are tried by each; on the smallest volumes a few large letters are all there is room for.
        if taken < mailbox_box.clients.len() as u64 {
            let text = crate::machine::describe(mailboxes.store().volume());
            return Err(format!(
                "it was emptied, and took {taken} operations\n{text}"
            ));
        }
        mailbox_box.check(&mailboxes).await
    });
    emptied.map_err(|halt| halt.to_string())??;
    world.crash();
    Ok(())
}
