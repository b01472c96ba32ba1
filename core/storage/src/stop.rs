//! A stop that devices hold up: what waits for them is given up, so that the process can end.

use std::rc::Rc;

use base::Host;
use base::host::sleep_us;
use volume::Volume;

use crate::health::{WAIT_US_MAX, no_leg_answers};

/// How often a volume is looked at that is being closed.
const LOOK_US: u64 = 1_000_000;

/// From a stop on, beside the closing of the volume: abandons it where it refuses at the stop, and where for longer than `WAIT_US_MAX`
/// it refuses, no leg answers (then none is ejected), or the oldest batch waits. Returns then; the caller that closed the volume before that
/// drops this.
pub async fn abandon_unanswered(host: Rc<dyn Host>, volume: Volume) {
    if let Some(why) = volume.refuses() {
        return abandon(&volume, &why);
    }
    let mut answered = host.now();
    loop {
        // until the volume is abandoned, or the closing is over
        sleep_us(&*host, LOOK_US).await;
        volume.probe_legs().await;
        match volume.refuses().or_else(|| no_leg_answers(&volume)) {
            // It may be over soon: a change of the legs that count refuses for a moment.
            Some(why) if host.now().since_us(answered) > WAIT_US_MAX => {
                return abandon(&volume, &why);
            }
            Some(_) => {}
            None => answered = host.now(),
        }
        if let Some(us) = volume.oldest_wait_us().filter(|us| *us > WAIT_US_MAX) {
            let waits = format!("a commit has been waiting for {} seconds", us / 1_000_000);
            return abandon(&volume, &waits);
        }
    }
}

fn abandon(volume: &Volume, why: &str) {
    volume.abandon(&format!("ringpostd stops; before that: {why}"));
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use device::sim::{Faults, SimWorld};
    use mailbox::Mailboxes;

    use super::*;
    use crate::rig;

    /// Every operation that a leg is given hangs, for ever.
    fn silence(world: &SimWorld, mailboxes: &Mailboxes) {
        for leg in mailboxes.store().volume().legs() {
            let faults = Faults {
                hang: 1.0,
                ..Faults::default()
            };
            world.set_faults(leg.device.expect("it is here"), faults);
        }
    }

    /// A stop, as the owner's thread does it. Returns once everything is closed or given up.
    fn stop(world: &SimWorld, mailboxes: &Mailboxes) -> bool {
        let (host, volume) = (world.io().host, mailboxes.store().volume().clone());
        let abandoned = Rc::new(Cell::new(false));
        let told = abandoned.clone();
        let watched = host.clone();
        host.spawn(Box::pin(async move {
            abandon_unanswered(watched, volume).await;
            told.set(true);
        }));
        world.block_on(async {
            let _ = mailboxes.close().await;
            let _ = mailboxes.store().volume().close().await;
        });
        abandoned.get()
    }

    #[test]
    fn a_stop_ends_though_no_leg_ever_answers() {
        let (world, mailboxes) = rig::mailboxes();
        silence(&world, &mailboxes);
        assert!(mailboxes.store().volume().refuses().is_none());
        assert!(stop(&world, &mailboxes), "given up");
    }

    /// What waits while the stop begins is answered, and not as durable.
    #[test]
    fn what_waits_for_silent_legs_is_deferred_at_a_stop() {
        let (world, mailboxes) = rig::mailboxes();
        silence(&world, &mailboxes);
        let (adding, answered) = (mailboxes.clone(), Rc::new(Cell::new(None)));
        let told = answered.clone();
        world.io().host.spawn(Box::pin(async move {
            told.set(Some(adding.add_domain("example.net").await.is_ok()));
        }));
        assert!(stop(&world, &mailboxes), "given up");
        world.run_for_us(1_000_000).expect("time goes by");
        assert_eq!(answered.get(), Some(false));
    }

    #[test]
    fn a_stop_with_legs_that_answer_gives_nothing_up() {
        let (world, mailboxes) = rig::mailboxes();
        assert!(!stop(&world, &mailboxes));
    }
}
