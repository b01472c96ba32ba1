//! How the run before this one ended, and how the engine's did.
//!
//! A mark is on the state partition while the box runs; a clean shutdown removes it (`box_ends`). What else is known
//! comes from the machine: a watchdog that remembers having fired (`bootstatus`), and the kernel's last words in the firmware
//! (pstore). It is judged once per boot: the unit may be started again.
//!
//! What it does not know: a watchdog without memory (iTCO) looks like lost power.

use std::fs;
use std::path::{Path, PathBuf};

use hardware::incident::{self, Kind};

use crate::limits::{KERNEL_WORDS_BYTES_MAX, PANIC_CHARS_MAX};
use crate::report::Report;
use crate::write::{Mode, hand_over, replace};

const STATE: &str = "var/lib/ringpost";
/// While the box runs.
const RUNNING: &str = "var/lib/ringpost/running";
/// The kernel's last words, in full, for a later analysis.
pub const KERNEL_WORDS: &str = "var/lib/ringpost/last-panic.txt";
/// In memory: this boot's verdict.
const JUDGED: &str = "run/ringpost/last-end";
const PSTORE: &str = "sys/fs/pstore";
const WATCHDOGS: &str = "sys/class/watchdog";
/// `WDIOF_CARDRESET` of linux/watchdog.h: the card reset the machine.
const CARD_RESET: u64 = 0x20;

/// Finds out how the last run ended, remembers what was amiss, and marks this one as running. What cannot be written is an alarm.
pub fn judge(root: &Path, now: u64, report: &mut Report) {
    let judged = root.join(JUDGED);
    if let Ok(verdict) = fs::read_to_string(&judged) {
        report.alarms.extend(verdict.lines().map(str::to_owned));
    } else {
        let told = verdict(root);
        let mut alarm = String::new();
        if let Some((kind, what)) = &told {
            note(root, now, *kind, what, report);
            // Power comes and goes; what hangs or gives up is somebody's to look at.
            if *kind != Kind::PowerLost {
                alarm = format!("{what}\n");
            }
        }
        report.alarms.extend(alarm.lines().map(str::to_owned));
        if let Err(misfit) = replace(&judged, &alarm, Mode::Public) {
            report.alarms.push(misfit.to_string());
        }
    }
    if let Err(misfit) = replace(&root.join(RUNNING), &format!("{now}\n"), Mode::Private) {
        report.alarms.push(misfit.to_string());
    }
}

/// The box is about to go off in good order. `Err`: why the mark stays.
pub fn box_ends(root: &Path) -> Result<(), String> {
    let path = root.join(RUNNING);
    files::remove(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// How systemd says that the engine ended: `$SERVICE_RESULT` and `$EXIT_STATUS` of systemd.exec(5). A refusal is none: it has
/// its own words.
pub fn engine_ended(root: &Path, now: u64, result: &str, status: &str) -> Result<(), String> {
    let (kind, what) = match result {
        "watchdog" => (
            Kind::EngineHung,
            "the mail engine did not answer the watchdog; it was killed and is restarted".into(),
        ),
        "timeout" => (
            Kind::EngineHung,
            "the mail engine did not start or stop in time and was killed".into(),
        ),
        "signal" | "core-dump" | "oom-kill" => (
            Kind::EngineCrashed,
            format!("the mail engine exited unexpectedly ({result}, {status}) and is restarted"),
        ),
        _ => return Ok(()),
    };
    incident::note(&root.join(STATE), now, kind, &what).map_err(|error| error.to_string())
}

fn note(root: &Path, now: u64, kind: Kind, what: &str, report: &mut Report) {
    let state = root.join(STATE);
    let noted = incident::note(&state, now, kind, what).map_err(|error| error.to_string());
    let noted = noted.and_then(|()| {
        let handed = hand_over(root, &state.join(incident::FILE));
        handed.map_err(|misfit| misfit.to_string())
    });
    if let Err(why) = noted {
        report
            .alarms
            .push(format!("an incident cannot be recorded: {why}"));
    }
}

/// What was amiss. `None`: nothing, or nothing is known.
fn verdict(root: &Path) -> Option<(Kind, String)> {
    let panic = kernel_words(root);
    let reset = watchdog_fired(root);
    let running = root.join(RUNNING).exists();
    match (reset, panic) {
        (true, Some(words)) => Some((
            Kind::WatchdogReset,
            format!("the kernel panicked ({words}) and the hardware watchdog reset the appliance"),
        )),
        (true, None) => Some((
            Kind::WatchdogReset,
            "the appliance hung and the hardware watchdog reset it".into(),
        )),
        (false, Some(words)) => Some((
            Kind::KernelPanic,
            format!("the kernel panicked and restarted the appliance: {words}"),
        )),
        (false, None) if running => Some((
            Kind::PowerLost,
            "the appliance was not shut down before this start: it lost power or was reset".into(),
        )),
        (false, None) => None,
    }
}

fn watchdog_fired(root: &Path) -> bool {
    let dogs = fs::read_dir(root.join(WATCHDOGS));
    dogs.into_iter().flatten().flatten().any(|dog| {
        let status = fs::read_to_string(dog.path().join("bootstatus")).unwrap_or_default();
        status
            .trim()
            .parse::<u64>()
            .is_ok_and(|status| status & CARD_RESET != 0)
    })
}

/// Takes the kernel's last words out of the firmware, which has little room, and keeps them. What it says in one line.
fn kernel_words(root: &Path) -> Option<String> {
    let mut records: Vec<PathBuf> = fs::read_dir(root.join(PSTORE))
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("dmesg-")
        })
        .collect();
    // Each holds a part, the log's end in the first: part 1 has the lowest number.
    records.sort();
    records.reverse();
    let mut words = String::new();
    let read = records
        .iter()
        .filter_map(|record| Some((record, fs::read(record).ok()?)));
    let read: Vec<_> = read.collect();
    for (_, bytes) in &read {
        words.push_str(&String::from_utf8_lossy(bytes));
        words.push('\n');
    }
    if words.trim().is_empty() {
        return None;
    }
    let mut start = words.len().saturating_sub(KERNEL_WORDS_BYTES_MAX);
    while !words.is_char_boundary(start) {
        start += 1;
    }
    if replace(&root.join(KERNEL_WORDS), &words[start..], Mode::Private).is_ok() {
        for (record, _) in &read {
            let _ = fs::remove_file(record); // it is read again at the next start, at worst
        }
    }
    Some(headline(&words))
}

/// The line that says why, without its time stamp.
fn headline(words: &str) -> String {
    let tells = ["Kernel panic - not syncing: ", "BUG: ", "Oops: "];
    let found = tells.iter().find_map(|tell| {
        let line = words.lines().find(|line| line.contains(tell))?;
        line.split_once(tell).map(|(_, rest)| rest)
    });
    let printable = |c: &char| !c.is_control();
    found
        .unwrap_or("no reason given")
        .chars()
        .filter(printable)
        .take(PANIC_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("below")).expect("our own");
        fs::write(path, text).expect("our own");
    }

    /// A start of the box; its memory is new.
    fn start(root: &Path) -> Vec<String> {
        let _ = fs::remove_dir_all(root.join("run"));
        fs::create_dir_all(root.join(STATE)).expect("our own");
        let mut report = Report::default();
        judge(root, 7, &mut report);
        report.alarms
    }

    fn kinds(root: &Path) -> Vec<Kind> {
        let all = incident::list(&root.join(STATE));
        all.iter().map(|incident| incident.kind).collect()
    }

    #[test]
    fn first_start_and_shutdown_in_good_order_are_no_incidents() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        assert_eq!(start(root), [""; 0]);
        box_ends(root).expect("our own");
        assert_eq!(start(root), [""; 0]);
        assert_eq!(kinds(root), []);
        box_ends(root).expect("our own");
        box_ends(root).expect("twice is once");
    }

    #[test]
    fn lost_power_is_remembered_and_is_no_alarm() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        start(root);
        assert_eq!(start(root), [""; 0]);
        assert_eq!(kinds(root), [Kind::PowerLost]);
    }

    #[test]
    fn a_watchdog_that_fired_is_an_alarm_and_judged_once_per_boot() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        put(root, "sys/class/watchdog/watchdog0/bootstatus", "0\n");
        start(root);
        put(root, "sys/class/watchdog/watchdog0/bootstatus", "32\n");
        let alarms = start(root);
        assert_eq!(
            alarms,
            ["the appliance hung and the hardware watchdog reset it"]
        );
        let mut again = Report::default();
        judge(root, 8, &mut again);
        assert_eq!(again.alarms, alarms, "the unit was started again");
        let all = incident::list(&root.join(STATE));
        assert_eq!((all.len(), all[0].times), (1, 1));
    }

    #[test]
    fn the_kernels_last_words_are_kept_and_taken_out_of_the_firmware() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        start(root);
        put(
            root,
            "sys/fs/pstore/dmesg-efi_pstore-179501",
            "Panic#1 Part1\n<0>[   61.1] Kernel panic - not syncing: sysrq triggered crash\n<4>[   61.2] CPU: 0\n",
        );
        put(
            root,
            "sys/fs/pstore/dmesg-efi_pstore-179502",
            "Panic#1 Part2\n<6>[   60.0] before\n",
        );
        let alarms = start(root);
        assert_eq!(
            alarms,
            ["the kernel panicked and restarted the appliance: sysrq triggered crash"]
        );
        assert_eq!(kinds(root), [Kind::KernelPanic]);
        let words = fs::read_to_string(root.join(KERNEL_WORDS)).expect("kept");
        assert!(words.find("before") < words.find("Kernel panic"), "{words}");
        assert_eq!(
            fs::read_dir(root.join(PSTORE)).expect("there").count(),
            0,
            "room for the next"
        );
    }

    #[test]
    fn the_engines_end_is_told_by_systemd() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        fs::create_dir_all(root.join(STATE)).expect("our own");
        for (result, status) in [
            ("success", "0"),
            ("exit-code", "1"),
            ("watchdog", "ABRT"),
            ("core-dump", "SEGV"),
        ] {
            engine_ended(root, 7, result, status).expect("room");
        }
        assert_eq!(kinds(root), [Kind::EngineHung, Kind::EngineCrashed]);
    }
}
