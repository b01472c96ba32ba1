//! Every crash point of a scripted day of two clients' mailboxes: operations, a checkpoint, reclaim.

use std::cell::Cell;
use std::rc::Rc;

use base::host::sleep_us;
use device::sim::{CacheLanding, Halt};
use fastrand::Rng;

use crate::Progress;
use crate::limits::MAILBOX_OUTCOMES_MAX;
use crate::machine::Shape;
use crate::mailbox_box::MailboxBox;
use crate::outcome::outcomes;
use crate::volume_exhaustive::Tried;

fn create(seed: u64) -> Result<MailboxBox, String> {
    let shape = Shape {
        legs: 2,
        leg_bytes: 12 << 20,
        segment_bytes: 512 << 10,
        in_flight_max: 3,
        clients: 2,
    };
    // No checkpoint by itself: the script makes them, so that the boundaries of a run are the same each time. A cache of one byte has
    // every mailbox loaded from its rows again, which is where a row that was written wrongly shows.
    let settings = mailbox::Settings {
        cache_bytes: 1,
        checkpoint_groups: u64::MAX,
        checkpoint_bytes: u64::MAX,
        checkpoint_us: u64::MAX,
    };
    MailboxBox::create(seed, shape, settings)
}

/// Cuts the script at every boundary. `Err` tells boundary and outcome.
pub fn run(seed: u64, progress: &dyn Progress) -> Result<Tried, String> {
    let mailbox_box = create(seed)?;
    let first = mailbox_box.world.boundaries();
    let done = mailbox_box.world.run(perform(&mailbox_box));
    done.map_err(|halt| format!("mailboxes without a crash: {halt}"))??;
    let last = mailbox_box.world.boundaries();
    mailbox_box.world.crash();
    progress.begin(last - first);
    let mut tried = Tried::default();
    for boundary in first + 1..=last {
        cut_once(seed, boundary, &mut tried).map_err(|text| {
            format!("mailboxes, cut at boundary {boundary} of {first}..={last}: {text}")
        })?;
        tried.boundaries += 1;
        progress.step();
    }
    Ok(tried)
}

/// Runs the script again from the start up to one boundary. That costs a run for each, and buys that nothing of an earlier cut can be in the way.
fn cut_once(seed: u64, boundary: u64, tried: &mut Tried) -> Result<(), String> {
    let before = create(seed)?;
    before.world.crash_at(boundary);
    match before.world.run(perform(&before)) {
        Err(Halt::PowerCut) => {}
        Err(halt) => return Err(format!("the run halts: {halt}")),
        Ok(done) => {
            done?;
            return Err("the run is not the same twice".to_owned());
        }
    }
    // Clients check what they are answered as they go: a wrong answer before the cut is a finding as well.
    before.unbroken()?;
    let cut = before.world.power_cut();
    // Of all the outcomes some are drawn, others at each boundary: over the whole script the kinds of outcome are all tried.
    let mut rng = Rng::with_seed(seed ^ boundary);
    let mut all = outcomes(&cut, &mut rng);
    rng.shuffle(&mut all);
    all.truncate(MAILBOX_OUTCOMES_MAX);
    for (index, outcome) in all.into_iter().enumerate() {
        tried.outcomes += 1;
        // A disk with a write cache may lose all of what was not flushed, or any part of it in any order.
        let cache = if index % 2 == 0 {
            CacheLanding::Lost
        } else {
            CacheLanding::Random
        };
        let after = before.after_cut(seed ^ index as u64, &cut, &outcome, cache);
        let io = after.world.io();
        let checked = after.world.run(async {
            let mailboxes = after.open(&io).await?;
            after.check(&mailboxes).await
        });
        checked
            .map_err(|halt| halt.to_string())
            .flatten()
            .map_err(|text| format!("outcome {outcome:?}: {text}"))?;
        // Tasks that are left hold references to their world; a crash drops them, or hundreds of worlds would stay in memory.
        after.world.crash();
    }
    before.world.crash();
    Ok(())
}

async fn perform(mailbox_box: &MailboxBox) -> Result<(), String> {
    let io = mailbox_box.world.io();
    let mailboxes = mailbox_box.open(&io).await?;
    let running = Rc::new(Cell::new(0));
    for round in 0..3 {
        mailbox_box.start_clients(&io, &mailboxes, &mut Rng::with_seed(round), 12, &running);
        while running.get() > 0 {
            sleep_us(&*io.host, 1_000).await;
        }
        mailboxes
            .checkpoint()
            .await
            .map_err(|fault| format!("checkpoint: {fault}"))?;
        mailboxes.reclaim().await;
    }
    mailbox_box.unbroken()
}
