//! Starts that must be refused: one clear sentence, a non-zero exit, and nothing harmed.

use std::fs;

use crate::daemon::{ALICE, Home, files_below, said};
use crate::ledger::Ledger;

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_harms_nothing() {
    let home = Home::new();
    let ledger = Ledger::of(ALICE);
    let _daemon = home.start();
    ledger.fill(home.smtp(), 10, 2_000);
    let base = home.port(1_000).to_string();
    let state = home.state();
    let output = home.run(&[
        "--trial",
        "--state",
        &state.to_string_lossy(),
        "--leg-size",
        home.leg_size,
        "--port-base",
        &base,
    ]);
    assert!(!output.status.success(), "{}", said(&output));
    assert_one_sentence(&said(&output));
    ledger.fill(home.smtp(), 10, 2_000);
    ledger.check(&home);
}

/// A plain machine where something else has a port of the first base: here it is a daemon of the same kind.
#[test]
fn two_trial_daemons_beside_each_other_have_the_ports_of_their_screens() {
    let homes = [Home::without_ports(), Home::without_ports()];
    let daemons = homes.each_ref().map(Home::start);
    for (home, daemon) in homes.iter().zip(&daemons) {
        let words = daemon.words();
        for command in [
            format!("swaks --server {}", home.smtp()),
            format!("curl smtp://{}", home.smtp()),
            format!("imap://{}/INBOX", home.imap()),
            format!("@{}/INBOX", home.imap()),
            format!("curl http://{}/metrics", home.at(80)),
        ] {
            assert!(words.contains(&command), "no `{command}` in:\n{words}");
        }
        let ledger = Ledger::of(ALICE);
        ledger.fill(home.smtp(), 3, 1_000);
        ledger.check(home);
    }
    assert_ne!(homes[0].smtp(), homes[1].smtp());
    let moved = daemons[1].words();
    assert!(moved.contains("is taken by"), "{moved}");
    // Asked for by name, a base is refused: the port and its holder are named, and no state is made.
    let base = homes[0].port(0).to_string();
    let output = homes[0].run(&["--trial", "--state", "third", "--port-base", &base]);
    let words = said(&output);
    assert!(!output.status.success(), "{words}");
    assert_one_sentence(&words);
    let (port, holder) = (homes[0].port(25).to_string(), daemons[0].pid().to_string());
    assert!(words.contains(&port) && words.contains(&holder), "{words}");
}

#[test]
fn an_unknown_key_is_refused_with_file_and_line() {
    let home = Home::new();
    let path = home.directory.path().join("ringpost.toml");
    fs::write(&path, "[volume]\nlegs = [\"a\", \"b\"]\ncompresion = 3\n").expect("our own file");
    let output = home.run(&["--config", &path.to_string_lossy()]);
    assert!(!output.status.success(), "{}", said(&output));
    let words = said(&output);
    assert!(
        words.contains("ringpost.toml") && words.contains('3') && words.contains("compresion"),
        "{words}"
    );
}

#[test]
fn a_missing_configuration_is_refused_by_its_name() {
    let home = Home::new();
    let output = home.run(&["--config", "nowhere.toml"]);
    assert!(!output.status.success());
    assert!(said(&output).contains("nowhere.toml"), "{}", said(&output));
}

#[test]
fn a_leg_that_is_a_directory_is_named() {
    let home = Home::new();
    let legs = {
        let _daemon = home.start();
        home.legs()
    };
    for leg in &legs {
        fs::remove_file(leg).expect("our own file");
        fs::create_dir(leg).expect("our own directory");
    }
    let Err(words) = home.try_start() else {
        panic!("a directory was taken for a leg")
    };
    assert!(words.contains(&*legs[0].to_string_lossy()), "{words}");
    assert!(!words.contains("panicked"), "{words}");
}

/// A leg of another volume in the place of ours: never taken, never overwritten.
#[test]
fn a_leg_of_another_volume_is_not_taken() {
    let (home, other) = (Home::new(), Home::new());
    let (ledger, others) = (Ledger::of(ALICE), Ledger::of(ALICE));
    for (home, ledger) in [(&home, &ledger), (&other, &others)] {
        let _daemon = home.start();
        ledger.fill(home.smtp(), 10, 2_000);
    }
    let (ours, theirs) = (home.legs(), other.legs());
    let aside = ours[1].with_extension("aside");
    fs::rename(&ours[1], &aside).expect("our own file");
    fs::rename(&theirs[1], &ours[1]).expect("our own file");
    match home.try_start() {
        // Served from the right leg alone, and said so.
        Ok(_daemon) => {
            ledger.check(&home);
            let legs = home.ctl_ok(&["leg", "list"]);
            assert!(legs.matches("in_sync").count() < 2, "{legs}");
        }
        Err(words) => assert!(words.contains(&*ours[1].to_string_lossy()), "{words}"),
    }
    // The other volume's leg still is what it was.
    fs::rename(&ours[1], &theirs[1]).expect("our own file");
    fs::rename(&aside, &ours[1]).expect("our own file");
    for (home, ledger) in [(&home, &ledger), (&other, &others)] {
        let _daemon = home.start();
        ledger.check(home);
        home.wait_until_in_sync();
    }
}

/// The state directory is wiped, the legs hold mail. Starts that follow (a service is restarted by itself) take the
/// volume over when both legs are here, and never make a new one over it when one is missing.
#[test]
fn a_wiped_state_directory_costs_no_mail() {
    let home = Home::new();
    let ledger = Ledger::of(ALICE);
    {
        let _daemon = home.start();
        ledger.fill(home.smtp(), 10, 2_000);
    }
    let legs = home.legs();
    wipe_state(&home);
    let aside = home.directory.path().join("aside");
    fs::rename(&legs[1], &aside).expect("our own file");
    for _ in 0..3 {
        let Err(words) = home.try_start() else {
            panic!("one leg and no record, and it served")
        };
        assert!(words.contains("reconnect"), "{words}");
    }
    fs::rename(&aside, &legs[1]).expect("our own file");
    for _ in 0..2 {
        wipe_state(&home);
        let _daemon = home.start();
        ledger.check(&home);
        ledger.fill(home.smtp(), 5, 2_000);
    }
}

/// Leg a alone holds acknowledged mail and is put aside; beside leg b, which missed it, no record is left. Whatever mark of a
/// first start is there too: nothing is made, removed or written over, and with leg a back everything is there.
#[test]
fn a_start_that_is_refused_leaves_everything_as_it_found_it() {
    let home = Home::new();
    let ledger = Ledger::of(ALICE);
    {
        let _daemon = home.start();
        ledger.fill(home.smtp(), 5, 2_000);
    }
    let legs = home.legs();
    let (aside_a, aside_b) = (
        home.directory.path().join("aside-a"),
        home.directory.path().join("aside-b"),
    );
    fs::rename(&legs[1], &aside_b).expect("our own file");
    {
        let _daemon = home.start();
        ledger.fill(home.smtp(), 5, 2_000);
    }
    fs::rename(&legs[0], &aside_a).expect("our own file");
    fs::rename(&aside_b, &legs[1]).expect("our own file");
    wipe_state(&home);
    let listed: String = legs
        .iter()
        .map(|leg| format!("{}\n", leg.display()))
        .collect();
    for mark in [
        None,
        Some(String::new()),
        Some(listed.clone()),
        Some(format!("{listed}formatting 7\n")),
    ] {
        if let Some(mark) = mark {
            fs::write(home.state().join("creating"), mark).expect("our own file");
        }
        let before = there(&home);
        let Err(words) = home.try_start() else {
            panic!("a leg that missed mail served alone")
        };
        assert!(words.contains("reconnect"), "{words}");
        assert_eq!(there(&home), before);
    }
    fs::rename(&aside_a, &legs[0]).expect("our own file");
    let before = there(&home);
    let _daemon = home.start();
    ledger.check(&home);
    assert!(
        before
            .iter()
            .all(|(path, _, _)| path.ends_with("creating") || path.exists())
    );
}

/// Every file of the state, with its size and when it was last written; the lock is every start's own.
fn there(home: &Home) -> Vec<(std::path::PathBuf, u64, std::time::SystemTime)> {
    let mut files: Vec<_> = files_below(&home.state())
        .into_iter()
        .filter(|path| !path.ends_with("lock"))
        .map(|path| {
            let meta = fs::metadata(&path).expect("there");
            (path, meta.len(), meta.modified().expect("known"))
        })
        .collect();
    files.sort();
    files
}

/// The power goes right after the first start, and the removal of its mark never reached the disk: the mark is there
/// again beside a volume that holds mail.
#[test]
fn a_mark_of_the_first_start_that_comes_back_costs_no_mail() {
    let home = Home::new();
    let ledger = Ledger::of(ALICE);
    let legs: String = {
        let _daemon = home.start();
        ledger.fill(home.smtp(), 10, 2_000);
        home.legs()
            .iter()
            .map(|leg| format!("{}\n", leg.display()))
            .collect()
    };
    for mark in [legs.clone(), format!("{legs}formatting 7\n")] {
        fs::write(home.state().join("creating"), mark).expect("our own file");
        let _daemon = home.start();
        ledger.check(&home);
        ledger.fill(home.smtp(), 5, 2_000);
    }
}

/// Everything beside the legs is gone.
fn wipe_state(home: &Home) {
    let legs = home.legs();
    for entry in fs::read_dir(home.state()).expect("readable").flatten() {
        if !legs.contains(&entry.path()) {
            let is_directory = entry.path().is_dir();
            let removed = match is_directory {
                true => fs::remove_dir_all(entry.path()),
                false => fs::remove_file(entry.path()),
            };
            removed.expect("our own file");
        }
    }
}

#[test]
fn a_plan_is_printed_without_touching_anything() {
    let home = Home::new();
    let state = home.state();
    let output = home.run(&["--trial", "--state", &state.to_string_lossy(), "--plan"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(!said(&output).trim().is_empty());
    assert!(home.legs().is_empty(), "--plan made legs");
}

/// What a person sees when a start is refused: no panic, no backtrace, few lines.
fn assert_one_sentence(words: &str) {
    assert!(!words.contains("panicked"), "{words}");
    let lines = words.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(
        (1..=12).contains(&lines),
        "{lines} lines instead of a clear sentence:\n{words}"
    );
}
