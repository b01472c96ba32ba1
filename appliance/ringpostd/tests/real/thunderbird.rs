//! Thunderbird, as Debian has it, without a window: a day of mail, told by `thunderbird/day.py`.
//!
//! Not in the ordinary run, for it needs a desktop's packages: `cargo xtask test --only thunderbird` installs them and runs it.
//! What it holds there, the ordinary run holds by what Thunderbird said: `core/imap/tests/transcripts/thunderbird_*.txt` and
//! `sessions.rs`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::daemon::Home;

/// The day takes half a minute on two busy cores.
const DAY_WITHIN: Duration = Duration::from_secs(600);
/// One program for `python3 -c`: how to drive Thunderbird, and the day.
const PROGRAM: &str = concat!(
    include_str!("thunderbird/marionette.py"),
    include_str!("thunderbird/day.py")
);

#[test]
#[ignore = "needs Debian's thunderbird: cargo xtask test --only thunderbird"]
fn thunderbird_goes_through_a_day_of_mail() {
    let home = Home::new();
    let mut daemon = home.start();
    let ports = [25, 143, 993].map(|port| home.port(port).to_string());
    let mut child = Command::new("python3")
        .args(["-c", PROGRAM])
        .args(ports)
        .arg(home.directory.path().join("profile"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("python3; `cargo xtask setup` installs it");
    // Thunderbird is in the group of the program that started it.
    let group = Pid::from_raw(child.id().cast_signed());
    let (done, waits) = mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if waits.recv_timeout(DAY_WITHIN) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = killpg(group, Signal::SIGKILL);
        }
    });
    let mut stdin = child.stdin.take().expect("stdin was asked for");
    let stdout = child.stdout.take().expect("stdout was asked for");
    let mut good = false;
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        println!("{line}");
        good |= line == "a good day";
        if line == "restart" {
            daemon.kill();
            daemon = home.start();
            writeln!(stdin, "it is back").expect("the story waits for it");
        }
    }
    let status = child.wait().expect("our own child");
    drop(done);
    guard.join().expect("the guard only waits");
    assert!(status.success() && good, "the day ended with {status}");
    drop(daemon);
}
