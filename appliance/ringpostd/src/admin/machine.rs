//! Disks and network of the machine, asked.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use ::admin::reply::{Disks, LegLine};
use ::admin::request::Request;
use hardware::health::{self, DiskLine, Health, Holds, Report};
use hardware::network::{self, Network};
use hardware::san::{self, PathLine};
use serde_json::Value;

use crate::admin::shared::{Admin, Refused, document};
use crate::admin::{content, legs};
use crate::engine::Whose;

/// Performs a request about the machine.
pub(crate) async fn perform(admin: &Admin, request: Request) -> Result<Value, Refused> {
    match request {
        Request::Disks => {
            let mut legs = legs::list(admin, Whose::Mail).await?;
            // A spool that does not answer leaves its disks without the name of their leg.
            let of_spool = legs::list(admin, Whose::Spool).await;
            legs.extend(of_spool.unwrap_or_default());
            document(&disks(legs).await?)
        }
        Request::Network => document(&network().await?),
        _ => Err("not about the machine".into()),
    }
}

/// Every disk with its health and the leg that is on it, and the paths of the SAN. Reads many files, and both ends of disks that
/// are not in use: not on a thread that others wait for.
async fn disks(legs: Vec<LegLine>) -> Result<Disks, Refused> {
    let look = move || {
        let root = Path::new("/");
        let shape = hardware::probe(root);
        let report = health::load(root).map_err(|error| format!("the disks' health: {error}"))?;
        let mut lines = lines(shape.disks, report.as_ref(), &legs, now());
        let san = paths(root)?;
        for line in &mut lines {
            line.leg = line
                .leg
                .or_else(|| leg_by_path(&line.disk.name, &san, &legs));
            look_at(line, &legs, &|name| {
                content::look(&Path::new("/dev").join(name))
            });
        }
        Ok(Disks { disks: lines, san })
    };
    tokio::task::spawn_blocking(look)
        .await
        .map_err(|error| error.to_string())?
}

/// The paths of the SAN as they are now. Reads files only.
pub(crate) fn paths(root: &Path) -> Result<Vec<PathLine>, Refused> {
    let wanted = san::wanted(root).map_err(|error| format!("the SAN's paths: {error}"))?;
    Ok(san::look(root, &wanted))
}

async fn network() -> Result<Network, Refused> {
    let look = || network::look(Path::new("/"), &network::addresses());
    tokio::task::spawn_blocking(look)
        .await
        .map_err(|error| error.to_string())
}

/// What the operator should look at beside the mail: disks that report a failure, bonds that lost a member.
pub(crate) async fn alarms() -> Vec<String> {
    let look = || hardware::alarms(Path::new("/"));
    let looked = tokio::task::spawn_blocking(look).await;
    looked.unwrap_or_else(|error| vec![format!("the hardware could not be read: {error}")])
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn lines(
    disks: Vec<plan::shape::Disk>,
    report: Option<&Report>,
    legs: &[LegLine],
    now: u64,
) -> Vec<DiskLine> {
    let named: Vec<(Option<String>, u8)> = legs
        .iter()
        .map(|leg| (leg.path.as_deref().and_then(kernel_name), leg.index))
        .collect();
    let line = |disk: plan::shape::Disk| {
        let health = match report {
            // Asking a disk may take seconds, or hang with it. A program of its own does so, and this reads what it wrote.
            Some(report) => report.of(&disk),
            None => Health {
                findings: vec!["health is not monitored on this machine".into()],
                ..Health::default()
            },
        };
        let leg = named
            .iter()
            .find(|(name, _)| name.as_ref() == Some(&disk.name));
        DiskLine {
            leg: leg.map(|(_, index)| *index),
            looked_s_ago: report.map(|report| now.saturating_sub(report.looked_at)),
            health,
            disk,
            holds: Holds::Unknown,
        }
    };
    disks.into_iter().map(line).collect()
}

/// Adds what is on a disk without a use: after a restart only its contents show that it is a leg that left.
fn look_at(line: &mut DiskLine, legs: &[LegLine], look: &dyn Fn(&str) -> (Holds, Option<String>)) {
    let used = line
        .leg
        .and_then(|index| legs.iter().find(|leg| leg.index == index));
    // What is in use is not read here: the volume knows better, and a read beside it would disturb the mail.
    if line.disk.partitions > 0 || used.is_some_and(|leg| leg.state == "in_sync") {
        return;
    }
    let (holds, id) = look(&line.disk.name);
    line.holds = holds;
    // Nothing, where a leg was last seen: another disk in its bay.
    line.leg = match holds {
        Holds::Leg => legs
            .iter()
            .find(|leg| Some(&leg.id) == id.as_ref())
            .map(|leg| leg.index),
        Holds::Nothing | Holds::Something => None,
        Holds::Unknown => line.leg,
    };
}

/// The leg that this disk is one of several paths to: it must not be taken for a disk of its own.
fn leg_by_path(disk: &str, paths: &[PathLine], legs: &[LegLine]) -> Option<u8> {
    let path = paths
        .iter()
        .find(|path| path.devices.iter().any(|device| device == disk))?;
    let leg = |leg: &&LegLine| {
        let name = leg.path.as_ref();
        name.is_some_and(|name| path.legs.contains(name))
    };
    legs.iter().find(leg).map(|leg| leg.index)
}

/// `/dev/disk/by-id/nvme-X` → `nvme0n1`.
fn kernel_name(path: &str) -> Option<String> {
    let real = std::fs::canonicalize(path).ok()?;
    Some(real.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use hardware::fixture::{Fixture, Kind};
    use hardware::health::Verdict;

    use super::*;

    #[test]
    fn a_disk_has_the_health_that_was_last_reported() {
        let fixture = Fixture::new()
            .disk("nvme0n1", Kind::Nvme, 1 << 30, None, &["nvme-MODEL_S1"])
            .partitioned("nvme1n1", Kind::Nvme, 1 << 30);
        let disks = hardware::probe(fixture.root()).disks;
        let failing = Health {
            name: "nvme0n1".into(),
            serial: disks[0].serial.clone(),
            verdict: Verdict::Failing,
            ..Health::default()
        };
        let report = Report {
            looked_at: 100,
            disks: vec![failing.clone()],
        };
        let lines = lines(disks.clone(), Some(&report), &[], 160);
        assert_eq!(lines[0].health, failing);
        assert_eq!(lines[0].looked_s_ago, Some(60));
        let unasked = super::lines(disks, None, &[], 0);
        assert_eq!(unasked[0].health.verdict, Verdict::Unknown);
        assert!(unasked[0].health.findings[0].contains("health is not monitored"));
    }

    #[test]
    fn a_disk_is_what_lies_on_it_and_a_leg_is_known_by_its_id() {
        let fixture = Fixture::new().disk("vda", Kind::Virtio, 1 << 30, None, &["virtio-a"]);
        let disks = hardware::probe(fixture.root()).disks;
        let stale = LegLine {
            index: 1,
            id: "aaaa".into(),
            state: "stale".into(),
            path: None,
            progress: None,
            repairs: 0,
            read_faults: 0,
            write_faults: 0,
            stale_since: None,
            why: None,
        };
        let legs = [stale];
        for (holds, id, leg) in [
            (Holds::Nothing, None, None),
            (Holds::Leg, Some("aaaa"), Some(1)),
            (Holds::Leg, Some("bbbb"), None),
            (Holds::Something, None, None),
            (Holds::Unknown, None, None),
        ] {
            let mut lines = lines(disks.clone(), None, &legs, 0);
            let found = (holds, id.map(str::to_owned));
            look_at(&mut lines[0], &legs, &|_| found.clone());
            assert_eq!((lines[0].holds, lines[0].leg), (holds, leg), "{id:?}");
        }
    }
}
