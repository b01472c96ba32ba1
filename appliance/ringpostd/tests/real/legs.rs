//! Accidents that happen to one leg, while mail comes in.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use crate::daemon::{ALICE, Home, files_below, said};
use crate::ledger::Ledger;

/// Long enough for some hundred messages.
const LOAD_FOR: Duration = Duration::from_millis(700);

fn load_for_a_while(ledger: &Ledger, home: &Home) {
    ledger.under_load(home.smtp(), || std::thread::sleep(LOAD_FOR));
}

/// `fsck full` reads every live byte on every leg and finds nothing wrong.
fn fsck_is_clean(home: &Home) {
    let output = home.ctl(&["fsck", "full"]);
    assert!(output.status.success(), "fsck full: {}", said(&output));
}

/// Every message must come from the other leg alone: this one is put away while the daemon is down.
fn the_other_leg_alone_has_everything(home: &Home, ledger: &Ledger, put_away: &Path) {
    let aside = put_away.with_extension("aside");
    fs::rename(put_away, &aside).expect("our own file");
    {
        let _daemon = home.start();
        ledger.check(home);
    }
    fs::rename(&aside, put_away).expect("our own file");
}

/// The file is unlinked under load; the daemon dies; it starts with one leg and mail goes on. A new, empty file is
/// attached, filled, and then stands in for the other one.
#[test]
fn a_removed_leg_is_missed_by_nobody_and_replaced() {
    let home = Home::new();
    let ledger = Ledger::of(ALICE);
    let daemon = home.start();
    let legs = home.legs();
    assert_eq!(legs.len(), 2, "{legs:?}");
    ledger.under_load(home.smtp(), || {
        std::thread::sleep(LOAD_FOR);
        fs::remove_file(&legs[1]).expect("our own file");
        std::thread::sleep(LOAD_FOR);
        daemon.kill();
    });
    let _daemon = home.start();
    ledger.check(&home);
    load_for_a_while(&ledger, &home);
    ledger.check(&home);
    home.ctl_ok(&["leg", "attach", "--fresh", &legs[1].to_string_lossy()]);
    load_for_a_while(&ledger, &home);
    home.wait_until_in_sync();
    fsck_is_clean(&home);
    drop(_daemon);
    the_other_leg_alone_has_everything(&home, &ledger, &legs[0]);
}

/// A leg is put aside while the daemon is down, misses some mail, and returns: it gets what it missed.
#[test]
fn a_returned_leg_gets_what_it_missed() {
    let home = Home::new();
    let ledger = Ledger::of(ALICE);
    let legs = {
        let _daemon = home.start();
        load_for_a_while(&ledger, &home);
        home.legs()
    };
    let aside = legs[1].with_extension("aside");
    fs::rename(&legs[1], &aside).expect("our own file");
    {
        let _daemon = home.start();
        load_for_a_while(&ledger, &home);
        ledger.check(&home);
        fs::rename(&aside, &legs[1]).expect("our own file");
        home.ctl_ok(&["leg", "attach", &legs[1].to_string_lossy()]);
        load_for_a_while(&ledger, &home);
        home.wait_until_in_sync();
        fsck_is_clean(&home);
        ledger.check(&home);
    }
    the_other_leg_alone_has_everything(&home, &ledger, &legs[0]);
}

/// Both halves of a truth: the leg that missed mail must never serve alone and pretend that nothing is missing.
#[test]
fn a_stale_leg_does_not_serve_alone() {
    let home = Home::new();
    let ledger = Ledger::of(ALICE);
    let legs = {
        let _daemon = home.start();
        load_for_a_while(&ledger, &home);
        home.legs()
    };
    let (first, second) = (
        legs[0].with_extension("aside"),
        legs[1].with_extension("aside"),
    );
    fs::rename(&legs[1], &second).expect("our own file");
    {
        let _daemon = home.start();
        load_for_a_while(&ledger, &home);
    }
    fs::rename(&legs[0], &first).expect("our own file");
    fs::rename(&second, &legs[1]).expect("our own file");
    let Err(words) = home.try_start() else {
        panic!("a leg that missed acknowledged mail served it alone")
    };
    assert!(
        words.to_lowercase().contains("leg"),
        "the refusal does not say why:\n{words}"
    );
    fs::rename(&first, &legs[0]).expect("our own file");
    let _daemon = home.start();
    ledger.check(&home);
    home.wait_until_in_sync();
}

/// One leg's file is put back to what it was at an earlier stop, as from a snapshot: it is brought up to date like any stale leg,
/// then it is enough alone; put back once more, it is refused alone.
#[test]
fn a_leg_put_back_to_an_older_state_gets_what_it_lacks_and_never_serves_alone() {
    let home = Home::new();
    let ledger = Ledger::of(ALICE);
    let legs = {
        let _daemon = home.start();
        load_for_a_while(&ledger, &home);
        home.legs()
    };
    let old = legs[0].with_extension("old");
    fs::copy(&legs[0], &old).expect("our own file");
    {
        let _daemon = home.start();
        load_for_a_while(&ledger, &home);
    }
    // Over the old content: the file stays the same one.
    fs::copy(&old, &legs[0]).expect("our own file");
    {
        let _daemon = home.start();
        ledger.check(&home);
        home.wait_until_in_sync();
        fsck_is_clean(&home);
    }
    the_other_leg_alone_has_everything(&home, &ledger, &legs[1]);
    {
        let _daemon = home.start();
        home.wait_until_in_sync();
    }
    fs::copy(&old, &legs[0]).expect("our own file");
    let aside = legs[1].with_extension("aside");
    fs::rename(&legs[1], &aside).expect("our own file");
    let Err(words) = home.try_start() else {
        panic!("a leg put back to an older state served it alone")
    };
    assert!(
        words.contains("stale legs never serve"),
        "the refusal does not say why:\n{words}"
    );
    fs::rename(&aside, &legs[1]).expect("our own file");
    let _daemon = home.start();
    ledger.check(&home);
    home.wait_until_in_sync();
}

/// Half of one leg's file is cut off under load.
#[test]
fn a_truncated_leg_is_healed_from_the_other() {
    accident(&|path| {
        let file = OpenOptions::new()
            .write(true)
            .open(path)
            .expect("our own file");
        let bytes = file.metadata().expect("our own file").len();
        file.set_len(bytes / 2).expect("our own file");
    });
}

/// Garbage over random places of one leg, superblocks included.
#[test]
fn a_leg_full_of_garbage_is_healed_from_the_other() {
    accident(&|path| {
        let mut file = OpenOptions::new()
            .write(true)
            .open(path)
            .expect("our own file");
        let bytes = file.metadata().expect("our own file").len();
        let mut random = fastrand::Rng::with_seed(7);
        let mut garbage = vec![0; 64 << 10];
        for _ in 0..200 {
            random.fill(&mut garbage);
            file.seek(SeekFrom::Start(random.u64(..bytes - garbage.len() as u64)))
                .expect("our own file");
            file.write_all(&garbage).expect("our own file");
        }
        file.sync_all().expect("our own file");
    });
}

/// Spoils the second leg under load; everything stays readable, comes into sync again by itself or by `leg attach`, and
/// afterwards the spoiled leg alone has everything.
fn accident(spoil: &dyn Fn(&Path)) {
    let home = Home::new();
    let ledger = Ledger::of(ALICE);
    let mut legs = Vec::new();
    {
        let _daemon = home.start();
        legs.extend(home.legs());
        load_for_a_while(&ledger, &home);
        ledger.under_load(home.smtp(), || {
            spoil(&legs[1]);
            std::thread::sleep(LOAD_FOR);
        });
        ledger.check(&home);
        // A scrub finds what nobody has read; a leg with too many repairs is put out and must be attached again.
        let _ = home.ctl(&["fsck", "full"]);
        if home.ctl_ok(&["leg", "list"]).matches("in_sync").count() < 2 {
            home.ctl_ok(&["leg", "attach", &legs[1].to_string_lossy()]);
        }
        home.wait_until_in_sync();
        fsck_is_clean(&home);
        ledger.check(&home);
    }
    the_other_leg_alone_has_everything(&home, &ledger, &legs[0]);
}

/// One leg file alone, no daemon, no index: salvage writes every message, unchanged.
#[test]
fn salvage_of_one_orphan_leg_equals_the_mailbox() {
    let home = Home::new();
    let ledger = Ledger::of(ALICE);
    let legs = {
        let daemon = home.start();
        let legs = home.legs();
        ledger.under_load(home.smtp(), || {
            std::thread::sleep(LOAD_FOR);
            daemon.kill();
        });
        legs
    };
    {
        let _daemon = home.start();
        ledger.check(&home);
    }
    for (index, leg) in legs.iter().enumerate() {
        let orphan = home.directory.path().join(format!("orphan{index}"));
        fs::copy(leg, &orphan).expect("our own file");
        let to = home.directory.path().join(format!("salvaged{index}"));
        home.ctl_ok(&[
            "salvage",
            &orphan.to_string_lossy(),
            "--to",
            &to.to_string_lossy(),
        ]);
        let files: Vec<Vec<u8>> = files_below(&to)
            .iter()
            .map(|path| fs::read(path).expect("a salvaged file"))
            .collect();
        ledger.check_files(&files);
    }
}
