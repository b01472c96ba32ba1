//! One random story of mailboxes, from one seed.
//!
//! Clients deliver, flag, copy, move, expunge, create, rename and delete, and compare every answer with their model. Beside them checkpoints
//! and reclaim run, the weak leg misbehaves and the machine crashes. Half of the volumes are so small that reclaim has to make room. After each
//! crash every client finds what it was told, with or without the one operation that was never answered; and so it does from each leg alone
//! that is in sync. At the end the projection is thrown away, and the bare log must give the same.

use std::cell::Cell;
use std::rc::Rc;

use base::host::sleep_us;
use device::Io;
use device::sim::Halt;
use fastrand::Rng;
use mailbox::Mailboxes;

use crate::knobs::Knobs;
use crate::machine::{Shape, scrub_twice};
use crate::mailbox_box::MailboxBox;
use crate::volume_story::Told;

pub fn run(seed: u64) -> Result<Told, String> {
    let mut rng = Rng::with_seed(seed ^ 0x6d61_696c_626f_7865);
    let small = rng.bool();
    let shape = Shape {
        legs: 2,
        leg_bytes: if small {
            rng.u64(6 << 4..8 << 4) << 16
        } else {
            // With the largest segments 14 MiB are less than the store takes.
            rng.u64(14..32).max(15) << 20
        },
        segment_bytes: if small {
            128 << 10
        } else {
            [256 << 10, 512 << 10, 1 << 20][rng.usize(..3)]
        },
        in_flight_max: rng.usize(1..9),
        clients: rng.usize(1..5),
    };
    // A cache of one byte loads everything anew for each operation, and checkpoints that never come make replay do all the work. The usual
    // settings hide both.
    let settings = mailbox::Settings {
        cache_bytes: [1, 64 << 10, 64 << 20][rng.usize(..3)],
        checkpoint_groups: [8, 50, u64::MAX][rng.usize(..3)],
        checkpoint_bytes: [64 << 10, 1 << 20, u64::MAX][rng.usize(..3)],
        checkpoint_us: [10_000, 1_000_000, u64::MAX][rng.usize(..3)],
    };
    let mailbox_box = MailboxBox::create(seed, shape, settings)?;
    mailbox_box.knobs.set(Knobs::draw(&mut rng.fork()));
    for client in &mailbox_box.clients {
        client.borrow_mut().large = mailbox_box.knobs.get().large_bodies;
    }
    mailbox_box.draw_weakness(&mut rng);
    let mut told = Told::default();
    for round in 0..rng.u64(1..6) {
        power_on(&mailbox_box, &mut rng, &mut told)
            .map_err(|text| format!("mailboxes, round {round}: {text}"))?;
        if rng.u8(..3) == 0 {
            let alone = mailbox_box.each_alone(rng.u64(..));
            alone.map_err(|text| format!("mailboxes, after round {round}: {text}"))?;
        }
        if rng.u8(..4) == 0 {
            prove(&mailbox_box, &mut rng)
                .map_err(|text| format!("mailboxes, all is well after round {round}: {text}"))?;
            mailbox_box.draw_weakness(&mut rng);
        }
    }
    heal(&mailbox_box, &mut rng).map_err(|text| format!("mailboxes, after the faults: {text}"))?;
    told.acked = mailbox_box.acked();
    told.faults = mailbox_box.fault_counts();
    told.digest = mailbox_box.world.digest();
    mailbox_box.world.crash();
    Ok(told)
}

fn power_on(mailbox_box: &MailboxBox, rng: &mut Rng, told: &mut Told) -> Result<(), String> {
    let world = &mailbox_box.world;
    mailbox_box.draw_faults(rng);
    if rng.bool() {
        world.crash_at(world.boundaries() + rng.u64(1..800));
    }
    let io = world.io();
    let plan = rng.fork();
    match world.run(work(mailbox_box, &io, plan)) {
        Ok(done) => done?,
        Err(Halt::PowerCut) => {}
        Err(halt) => return Err(halt.to_string()),
    }
    mailbox_box.unbroken()?;
    world.crash();
    told.crashes += 1;
    Ok(())
}

async fn work(mailbox_box: &MailboxBox, io: &Io, mut rng: Rng) -> Result<(), String> {
    let mailboxes = mailbox_box.open(io).await?;
    mailbox_box.check(&mailboxes).await?;
    if mailboxes.store().volume().refuses().is_some() {
        return Ok(()); // it can only be read, until the next opening
    }
    let running = Rc::new(Cell::new(0));
    let count = rng.usize(1..60);
    mailbox_box.start_clients(io, &mailboxes, &mut rng, count, &running);
    while running.get() > 0 {
        sleep_us(&*io.host, rng.u64(1..8_000)).await;
        mailbox_box.note_space(&mailboxes);
        match rng.u8(..24) {
            // Every kind of upkeep at moments that the daemon's own clock would hardly choose, and several of them at once.
            0..=2 => drop(mailboxes.checkpoint().await), // refused while the volume defers; nothing is lost by that
            3 | 4 => _ = mailboxes.reclaim().await,
            5 => mailbox_box.interrupt_witness(io, &mut rng),
            6 | 7 => mailbox_box.disturb(&mut rng),
            8 | 9 => mailbox_box.attach_missing(mailboxes.store().volume()).await,
            10 => drop(mailboxes.store().volume().scrub().await),
            11 => mailbox_box.begin_outage(io, &mut rng),
            _ => {}
        }
    }
    mailbox_box.unbroken()?;
    if rng.u8(..3) == 0 {
        drop(mailboxes.close().await);
        drop(mailboxes.store().volume().close().await);
    }
    Ok(())
}

/// Faults are over for now: every leg is in sync, and each of them by itself has everything.
fn prove(mailbox_box: &MailboxBox, rng: &mut Rng) -> Result<(), String> {
    mailbox_box.faults_off();
    let world = &mailbox_box.world;
    let io = world.io();
    let proved = world.run(async {
        let mailboxes = in_sync_again(mailbox_box, &io, rng).await?;
        if rng.bool() {
            drop(mailboxes.close().await);
            drop(mailboxes.store().volume().close().await);
        }
        Ok::<(), String>(())
    });
    proved.map_err(|halt| halt.to_string())??;
    world.crash();
    Ok(())
}

async fn in_sync_again(
    mailbox_box: &MailboxBox,
    io: &Io,
    rng: &mut Rng,
) -> Result<Mailboxes, String> {
    let mailboxes = mailbox_box.open(io).await?;
    mailbox_box.check(&mailboxes).await?;
    let volume = mailboxes.store().volume();
    mailbox_box.heal(io, volume).await?;
    mailbox_box.each_alone(rng.u64(..))?;
    Ok(mailboxes)
}

fn heal(mailbox_box: &MailboxBox, rng: &mut Rng) -> Result<(), String> {
    mailbox_box.faults_off();
    let world = &mailbox_box.world;
    let io = world.io();
    let healed = world.run(async {
        let mailboxes = in_sync_again(mailbox_box, &io, rng).await?;
        scrub_twice(mailboxes.store().volume()).await?;
        // It still takes mail, and everything is there afterwards.
        let running = Rc::new(Cell::new(0));
        mailbox_box.start_clients(&io, &mailboxes, &mut Rng::with_seed(1), 3, &running);
        while running.get() > 0 {
            sleep_us(&*io.host, 1_000).await;
        }
        mailbox_box.unbroken()?;
        // A rebuild writes a second projection beside the first.
        let room = mailbox_box.has_room_for_two(&mailboxes);
        match mailboxes.checkpoint().await {
            // `full_story` asks for more (E1).
            Err(_) if !room => return Ok(false),
            done => done.map_err(|fault| format!("checkpoint: {fault}"))?,
        }
        mailbox_box.check(&mailboxes).await?;
        if !mailbox_box.has_room_for_two(&mailboxes) {
            return Ok(false);
        }
        let asked = mailboxes
            .store()
            .request_rebuild()
            .await
            .map_err(|fault| format!("rebuild: {fault}"));
        asked.map(|()| true)
    });
    let asked = healed.map_err(|halt| halt.to_string())??;
    world.crash();
    if !asked {
        return Ok(());
    }
    let io = world.io();
    let rebuilt = world.run(async {
        let mailboxes = mailbox_box
            .open(&io)
            .await
            .map_err(|text| format!("from the bare log: {text}"))?;
        if !mailboxes.store().open_report().rebuilt {
            return Err("the projection was to be rebuilt and was not".to_owned());
        }
        mailbox_box
            .check(&mailboxes)
            .await
            .map_err(|text| format!("from the bare log: {text}"))
    });
    rebuilt.map_err(|halt| halt.to_string())?
}
