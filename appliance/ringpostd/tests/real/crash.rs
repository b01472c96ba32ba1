//! kill -9 under load, again and again: what was acknowledged is there.

use std::time::Duration;

use crate::daemon::{ALICE, Home};
use crate::ledger::Ledger;

const ROUNDS: usize = 20;

/// Four senders, killed after a random moment, twenty times on the same state: at first nothing is there, then
/// checkpoints, then recovery of a recovered log.
#[test]
fn acknowledged_messages_survive_kill_after_kill() {
    let home = Home::new();
    let ledger = Ledger::of(ALICE);
    for _ in 0..ROUNDS {
        let daemon = home.start();
        ledger.check(&home);
        ledger.under_load(home.smtp(), || {
            std::thread::sleep(Duration::from_millis(fastrand::u64(50..600)));
            daemon.kill();
        });
    }
    let _daemon = home.start();
    ledger.check(&home);
    assert!(
        ledger.acknowledged() > ROUNDS,
        "the load was too small to say anything"
    );
}

/// SIGTERM in the middle of the load drains: it ends with 0 and the next start has everything.
#[test]
fn sigterm_under_load_loses_nothing_and_ends_with_zero() {
    // Roomy: a drain lasts while senders go on, and a volume filled to the end is another story.
    let home = Home::with_leg_size("1GiB");
    let ledger = Ledger::of(ALICE);
    for _ in 0..3 {
        let daemon = home.start();
        let status = ledger.under_load(home.smtp(), || {
            std::thread::sleep(Duration::from_millis(300));
            daemon.stop()
        });
        assert_eq!(status.code(), Some(0));
        let _daemon = home.start();
        ledger.check(&home);
    }
}

/// A crash between a start and its first message, over and over, must cost nothing: no claim of segments may leak.
#[test]
fn crashes_right_after_ready_do_not_wear_the_volume_out() {
    let home = Home::new();
    let ledger = Ledger::of(ALICE);
    {
        let _daemon = home.start();
        ledger.fill(home.smtp(), 5, 1_000);
    }
    for _ in 0..30 {
        home.start().kill();
    }
    let _daemon = home.start();
    ledger.check(&home);
    ledger.fill(home.smtp(), 5, 1_000);
    ledger.check(&home);
}
