//! The machine itself: what it has, how it is tuned, and whether it is.
//!
//! `probe.rs` reads `/sys` and `/proc` into a `plan::Shape`; `tune.rs` turns a profile and a placement into single steps (this
//! file shall read so); `apply.rs` takes them and reads every one back. What differs afterwards is a `Difference`, in words.
//! `incident.rs` remembers what went wrong with the box.
//! `applied.rs` reads back everything that a profile promises, threads and interrupts among it, beside the promise.
//!
//! `content.rs` looks at what is on a disk, `health.rs` has what disks report about themselves (read by the program `ringpost-disks`), `network.rs` links and routes as they are,
//! `san.rs` the paths to disks that stand elsewhere.
//!
//! What must hold: every path is below a root directory that the caller names, so that a tree of files stands for any machine
//! in a test; what cannot be read of `/sys` and `/proc` counts as not there, what we wrote ourselves does not; but for incidents nothing here writes to a disk; a step that fails stops no other.
//!
//! Start reading at `probe.rs`, then `tune.rs`.
#![forbid(unsafe_code)]

pub mod applied;
pub mod apply;
pub mod content;
pub mod disks;
#[doc(hidden)]
pub mod fixture;
pub mod health;
pub mod incident;
mod interrupts;
pub mod limits;
pub mod network;
pub mod probe;
mod read;
pub mod san;
pub mod tune;

/// What the operator should look at beside the mail: disks that report a failure, bonds that lost a member, paths of a
/// SAN that are down. Reads files only.
pub fn alarms(root: &std::path::Path) -> Vec<String> {
    let mut alarms = match health::load(root) {
        Ok(report) => report.map(|report| report.alarms()).unwrap_or_default(),
        Err(error) => vec![format!("the health of the disks is unknown: {error}")],
    };
    let network = network::look(root, &network::Addresses::new());
    alarms.extend(network::alarms(&network));
    alarms.extend(system_disks(root));
    match san::wanted(root) {
        Ok(targets) => alarms.extend(san::alarms(&san::look(root, &targets))),
        Err(error) => alarms.push(format!("the state of the SAN paths is unknown: {error}")),
    }
    alarms
}

/// What `ringpost-mirror` reports about the box's own disks; nothing where it does not run.
fn system_disks(root: &std::path::Path) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Report {
        alarms: Vec<String>,
    }
    let path = root.join("run/ringpost/system-disks.json");
    if !path.exists() {
        return Vec::new();
    }
    let report = read::text(&path).and_then(|text| serde_json::from_str(&text).ok());
    match report {
        Some(Report { alarms }) => alarms,
        None => vec!["the state of the system disk mirror is unknown".into()],
    }
}

/// The version of the image that runs (`IMAGE_VERSION` of `/etc/os-release`); `None`: this is not an image.
pub fn image_version(root: &std::path::Path) -> Option<String> {
    let text = read::text(&root.join("etc/os-release"))?;
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("IMAGE_VERSION="))?;
    Some(version.trim().trim_matches('"').to_owned())
}

pub use applied::{Row, Verdict};
pub use apply::{Difference, apply, check};
pub use probe::probe;
pub use tune::{Step, command_line, steps};
