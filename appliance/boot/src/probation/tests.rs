//! The power fails after every step of every change: which settings does the next start take, and does it ever have none?

use super::*;

const OLD: &str = "old";
const NEW: &str = "new";

fn tree(boot: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    start(directory.path(), boot);
    perform(directory.path(), &[Step::Write(APPLIED, OLD.into())]).expect("ours");
    directory
}

/// The machine starts: another boot id, and the clock of its uptime from the beginning.
fn start(root: &Path, boot: &str) {
    for (path, text) in [
        ("proc/uptime", "12.50 20.00\n"),
        ("proc/sys/kernel/random/boot_id", boot),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("below")).expect("ours");
        fs::write(path, text).expect("ours");
    }
}

fn running(boot: &str) -> Note {
    note(Phase::Running {
        boot: boot.into(),
        live: true,
        since_ms: None,
        until_ms: None,
    })
}

fn note(phase: Phase) -> Note {
    Note {
        who: "anna".into(),
        keys: vec!["network".into()],
        within_s: 300,
        phase,
    }
}

/// The settings that a start takes.
fn taken(root: &Path) -> String {
    match at_boot(root).expect("readable") {
        AtBoot::Try { text, .. } => text,
        _ => text(root, APPLIED)
            .expect("readable")
            .expect("never without"),
    }
}

/// What the next start takes when the power fails after each number of steps, with what the step after it left half done.
fn cut(prepare: &[Step], steps: &[Step]) -> Vec<String> {
    (0..=steps.len())
        .map(|done| {
            let directory = tree("first");
            let root = directory.path();
            perform(root, prepare).expect("ours");
            perform(root, &steps[..done]).expect("ours");
            if let Some(Step::Write(name, text)) = steps.get(done) {
                let torn = root.join(name).with_extension("new");
                fs::write(torn, &text[..text.len() / 2]).expect("ours");
            }
            start(root, "second");
            let first = taken(root);
            // A start that is cut short decides as the one before it did, or gives up; it never begins a second try.
            start(root, "third");
            let again = taken(root);
            assert!(again == first || again == OLD, "{first} then {again}");
            first
        })
        .collect()
}

#[test]
fn power_cut_while_settings_without_probation_are_applied() {
    assert_eq!(cut(&[], &accept(OLD, NEW)), [OLD, OLD, NEW]);
}

#[test]
fn power_cut_while_a_change_of_the_running_network_is_tried_brings_the_old_settings_back() {
    assert_eq!(cut(&[], &begin(NEW, &running("first"))), [OLD, OLD, OLD]);
}

#[test]
fn power_cut_before_the_restart_that_a_change_waits_for_is_that_restart() {
    assert_eq!(
        cut(&[], &begin(NEW, &note(Phase::Waiting))),
        [OLD, OLD, NEW]
    );
}

#[test]
fn power_cut_while_confirming_keeps_what_was_confirmed_from_one_step_on() {
    let prepare = begin(NEW, &running("first"));
    assert_eq!(cut(&prepare, &confirm(OLD, NEW)), [OLD, OLD, NEW, NEW, NEW]);
}

#[test]
fn power_cut_while_giving_up_gives_up() {
    assert_eq!(cut(&begin(NEW, &running("first")), &end()), [OLD, OLD, OLD]);
    let waiting = begin(NEW, &note(Phase::Waiting));
    assert_eq!(cut(&waiting, &end())[1..], [OLD, OLD]);
}

#[test]
fn a_change_that_waited_is_tried_once() {
    let directory = tree("first");
    let root = directory.path();
    perform(root, &begin(NEW, &note(Phase::Waiting))).expect("ours");
    start(root, "second");
    assert_eq!(taken(root), NEW);
    // `ringpost-boot` may run twice in one start.
    assert_eq!(taken(root), NEW);
    start(root, "third");
    let AtBoot::GivenUp { who, why, .. } = at_boot(root).expect("readable") else {
        panic!("tried twice");
    };
    assert!(who == "anna" && why.contains("restarted"), "{who}: {why}");
    assert_eq!(at_boot(root), Ok(AtBoot::Nothing));
    assert_eq!(text(root, CANDIDATE), Ok(None));
}

#[test]
fn a_note_that_means_nothing_is_given_up_and_one_that_cannot_be_removed_is_an_error() {
    let directory = tree("first");
    let root = directory.path();
    for bytes in [&b"{"[..], b"\xff", &[b'['; 4_000], b"{}", b""] {
        perform(root, &[Step::Write(CANDIDATE, NEW.into())]).expect("ours");
        fs::write(root.join(NOTE), bytes).expect("ours");
        assert!(load(root).is_err());
        assert_eq!(taken(root), OLD);
        assert_eq!(load(root), Ok(None));
    }
    fs::create_dir(root.join(NOTE)).expect("ours");
    assert!(at_boot(root).is_err());
}

#[test]
fn time_left_is_told_from_the_uptime() {
    let directory = tree("first");
    let root = directory.path();
    let mut note = running("first");
    for (until_ms, left_s) in [(Some(14_400), Some(2)), (Some(3), Some(0)), (None, None)] {
        note.phase = Phase::Running {
            boot: "first".into(),
            live: true,
            since_ms: None,
            until_ms,
        };
        perform(root, &begin(NEW, &note)).expect("ours");
        let told = told(root).expect("readable").expect("there");
        assert_eq!(told.left_s, left_s);
        assert!(told.sentence().contains("settings confirm"));
    }
}
