//! Disks and network of the machine: asked here, shown here.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hardware::health::{self, DiskLine, Health, Holds, Report};
use hardware::network::{self, Link, Network};
use hardware::san::{self, PathLine};
use plan::Size;

use crate::answer::Refused;
use crate::content;
use crate::show::{span, table};
use crate::words::{Disks, LegLine};

/// Every disk with its health and the leg that lies on it, and the paths of the SAN. Reads many files, and both ends of disks that
/// are not in use: not on a thread that others wait for.
pub(crate) async fn disks(legs: Vec<LegLine>) -> Result<Disks, Refused> {
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

pub(crate) async fn network() -> Result<Network, Refused> {
    let look = || network::look(Path::new("/"), &network::addresses());
    tokio::task::spawn_blocking(look)
        .await
        .map_err(|error| error.to_string())
}

/// What somebody should look at beside the mail: disks that say they fail, bonds that lost a member.
pub(crate) async fn alarms() -> Vec<String> {
    let look = || hardware::alarms(Path::new("/"));
    let looked = tokio::task::spawn_blocking(look).await;
    looked.unwrap_or_else(|error| vec![format!("the machine could not be looked at: {error}")])
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
            Some(report) => report.of(&disk),
            None => Health {
                findings: vec!["nobody asks it on this machine".into()],
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

/// Adds what lies on a disk that nobody uses: after a restart a leg that left is known by what stands on it alone.
fn look_at(line: &mut DiskLine, legs: &[LegLine], look: &dyn Fn(&str) -> (Holds, Option<String>)) {
    let used = line
        .leg
        .and_then(|index| legs.iter().find(|leg| leg.index == index));
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

/// The leg that this disk is one of several paths to: nobody may take it for a disk of its own.
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

pub(crate) fn show_disks(answer: &Disks) -> String {
    let lines = &answer.disks;
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let (disk, health) = (&line.disk, &line.health);
            let used = match (line.leg, disk.partitions, line.holds) {
                (Some(leg), ..) => format!("leg {leg}"),
                (None, 0, Holds::Leg) => "old leg".into(),
                (None, 0, Holds::Something) => "not blank".into(),
                (None, 0, _) if disk.removable => "removable".into(),
                (None, 0, Holds::Nothing) => "free".into(),
                (None, 0, Holds::Unknown) => "unknown".into(),
                (None, ..) => "system".into(),
            };
            vec![
                disk.name.clone(),
                used,
                disk.class.name().into(),
                Size(disk.bytes).to_string(),
                health.verdict.word().into(),
                or_dash(health.temperature_c.map(|degrees| format!("{degrees} °C"))),
                or_dash(health.worn_percent.map(|worn| format!("{worn} %"))),
                or_dash(health.power_on_hours.map(|hours| hours.to_string())),
                dash(&disk.model),
                dash(&disk.serial),
            ]
        })
        .collect();
    let mut text = table(
        &[
            "DISK", "IS", "CLASS", "SIZE", "HEALTH", "TEMP", "WORN", "HOURS", "MODEL", "SERIAL",
        ],
        &rows,
    );
    text.push('\n');
    for line in lines {
        if let Some(id) = hardware::disks::stable_path(&line.disk) {
            text.push_str(&format!("{}  {id}\n", line.disk.name));
        }
        if line.leg.is_none() && line.holds == Holds::Leg {
            text.push_str(&format!(
                "{}  a leg that left the mirror, or of another box: it may hold mail\n",
                line.disk.name
            ));
        }
        for finding in &line.health.findings {
            text.push_str(&format!("{}  {finding}\n", line.disk.name));
        }
    }
    if let Some(ago) = lines.iter().find_map(|line| line.looked_s_ago) {
        text.push_str(&format!("health asked {} ago\n", span(ago)));
    }
    if !answer.san.is_empty() {
        text.push('\n');
        text.push_str(&show_paths(&answer.san));
    }
    text
}

fn show_paths(paths: &[PathLine]) -> String {
    let rows: Vec<Vec<String>> = paths
        .iter()
        .map(|path| {
            vec![
                path.kind.to_string(),
                path.target.clone(),
                path.address.clone(),
                path.state.clone(),
                dash(&path.devices.join(" ")),
            ]
        })
        .collect();
    let mut text = table(&["SAN", "TARGET", "PATH", "STATE", "DEVICES"], &rows);
    text.push('\n');
    for path in paths {
        if let Some(why) = &path.why {
            text.push_str(&format!("{}  {why}\n", path.address));
        }
    }
    text
}

pub(crate) fn show_network(network: &Network) -> String {
    let rows: Vec<Vec<String>> = network.links.iter().map(link_row).collect();
    let mut text = table(
        &[
            "LINK", "KIND", "STATE", "SPEED", "MTU", "RECEIVED", "SENT", "ERRORS", "MAC", "DRIVER",
        ],
        &rows,
    );
    text.push('\n');
    for link in &network.links {
        for address in &link.addresses {
            text.push_str(&format!("{}  {address}\n", link.name));
        }
        let Some(bond) = &link.bond else {
            if !link.on.is_empty() {
                text.push_str(&format!("{}  on {}\n", link.name, link.on.join(" ")));
            }
            continue;
        };
        for member in &bond.members {
            let state = match (member.up, bond.active.as_ref() == Some(&member.name)) {
                (false, _) => "no link",
                (true, true) => "up, active",
                (true, false) => "up",
            };
            text.push_str(&format!(
                "{}  {}: {} {state}, lost its link {} times\n",
                link.name, bond.mode, member.name, member.failures
            ));
        }
    }
    text.push('\n');
    let rows: Vec<Vec<String>> = network
        .routes
        .iter()
        .map(|route| {
            vec![
                route.to.clone(),
                route.by.clone().unwrap_or_else(|| "-".into()),
                route.link.clone(),
                route.metric.to_string(),
            ]
        })
        .collect();
    text.push_str(&table(&["TO", "BY", "LINK", "METRIC"], &rows));
    text.push_str(&format!(
        "\nname servers: {}\ntime servers: {}\n",
        dash(&network.name_servers.join(" ")),
        dash(&network.time_servers.join(" "))
    ));
    text
}

fn link_row(link: &Link) -> Vec<String> {
    let speed = match link.speed_mbit {
        None => "-".into(),
        Some(speed) if speed % 1_000 == 0 => format!("{} Gbit/s", speed / 1_000),
        Some(speed) => format!("{speed} Mbit/s"),
    };
    vec![
        link.name.clone(),
        link.kind.clone(),
        link.state.clone(),
        speed,
        link.mtu.to_string(),
        Size(link.received_bytes).to_string(),
        Size(link.sent_bytes).to_string(),
        link.errors.to_string(),
        dash(&link.mac),
        dash(&link.driver),
    ]
}

fn dash(text: &str) -> String {
    match text {
        "" => "-".into(),
        text => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use hardware::fixture::{Fixture, Kind};
    use hardware::health::Verdict;

    use super::*;

    #[test]
    fn a_disk_is_shown_with_its_health_and_its_use() {
        let fixture = Fixture::new()
            .disk("nvme0n1", Kind::Nvme, 1 << 30, None, &["nvme-MODEL_S1"])
            .partitioned("nvme1n1", Kind::Nvme, 1 << 30);
        let disks = hardware::probe(fixture.root()).disks;
        let failing = Health {
            name: "nvme0n1".into(),
            serial: disks[0].serial.clone(),
            verdict: Verdict::Failing,
            findings: vec!["its spare blocks run out".into()],
            temperature_c: Some(71),
            ..Health::default()
        };
        let report = Report {
            looked_at: 100,
            disks: vec![failing],
        };
        let mut lines = lines(disks, Some(&report), &[], 160);
        for line in &mut lines {
            look_at(line, &[], &|_| (Holds::Nothing, None));
        }
        let path = PathLine {
            kind: plan::shape::San::NvmeTcp,
            target: "nqn.2026-11.org.example:mail".into(),
            address: "192.0.2.20:4420".into(),
            usable: false,
            state: san::ABSENT.into(),
            why: Some("no route to host".into()),
            devices: Vec::new(),
            legs: Vec::new(),
        };
        let text = show_disks(&Disks {
            disks: lines,
            san: vec![path],
        });
        for told in [
            "FAILING",
            "71 °C",
            "free",
            "system",
            "its spare blocks run out",
            "/dev/disk/by-id/nvme-MODEL_S1",
            "asked 60 s ago",
            "nqn.2026-11.org.example:mail",
            "192.0.2.20:4420  no route to host",
        ] {
            assert!(text.contains(told), "`{told}` is not in\n{text}");
        }
    }

    #[test]
    fn only_a_blank_disk_is_free() {
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
        let told = |holds: Holds, id: Option<&str>| {
            let mut lines = lines(disks.clone(), None, &legs, 0);
            let found = (holds, id.map(str::to_owned));
            look_at(&mut lines[0], &legs, &|_| found.clone());
            show_disks(&Disks {
                disks: lines,
                san: Vec::new(),
            })
        };
        assert!(told(Holds::Nothing, None).contains("free"));
        for (text, word) in [
            (told(Holds::Leg, Some("aaaa")), "leg 1"),
            (told(Holds::Leg, Some("bbbb")), "old leg"),
            (told(Holds::Something, None), "not blank"),
            (told(Holds::Unknown, None), "unknown"),
        ] {
            assert!(text.contains(word) && !text.contains("free"), "{text}");
        }
    }

    #[test]
    fn nothing_known_is_said_as_such() {
        let text = show_network(&Network::default());
        assert!(text.contains("name servers: -"), "{text}");
        let fixture = Fixture::new().disk("vda", Kind::Virtio, 1 << 30, None, &[]);
        let text = show_disks(&Disks {
            disks: lines(hardware::probe(fixture.root()).disks, None, &[], 0),
            san: Vec::new(),
        });
        assert!(
            text.contains("unknown") && text.contains("nobody asks"),
            "{text}"
        );
    }
}
