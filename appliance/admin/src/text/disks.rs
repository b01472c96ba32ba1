//! Disks and the paths of the SAN for people.

use hardware::health::Holds;
use hardware::san::PathLine;
use plan::Size;

use crate::reply::Disks;
use crate::table::{dash, span, table};

pub(super) fn show(answer: &Disks) -> String {
    let lines = &answer.disks;
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let (disk, health) = (&line.disk, &line.health);
            // In the order of certainty: what this volume uses, then what the disk itself shows. "free" is said only of a disk whose beginning was
            // read and is blank, because people format what is called free.
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
    // The names by which `leg attach` wants a disk, ready to be copied: kernel names change from boot to boot.
    for line in lines {
        if let Some(id) = hardware::disks::stable_path(&line.disk) {
            text.push_str(&format!("{}  {id}\n", line.disk.name));
        }
        if line.leg.is_none() && line.holds == Holds::Leg {
            text.push_str(&format!(
                "{}  a leg that left the mirror or belongs to another appliance: it may hold mail\n",
                line.disk.name
            ));
        }
        for finding in &line.health.findings {
            text.push_str(&format!("{}  {finding}\n", line.disk.name));
        }
    }
    if let Some(ago) = lines.iter().find_map(|line| line.looked_s_ago) {
        text.push_str(&format!("health read {} ago\n", span(ago)));
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

#[cfg(test)]
mod tests {
    use hardware::fixture::{Fixture, Kind};
    use hardware::health::{DiskLine, Health, Verdict};
    use hardware::san::ABSENT;

    use super::*;

    fn line(disk: plan::shape::Disk, holds: Holds, leg: Option<u8>) -> DiskLine {
        DiskLine {
            leg,
            looked_s_ago: None,
            health: Health::default(),
            disk,
            holds,
        }
    }

    #[test]
    fn a_disk_is_shown_with_its_health_and_its_use() {
        let fixture = Fixture::new()
            .disk("nvme0n1", Kind::Nvme, 1 << 30, None, &["nvme-MODEL_S1"])
            .partitioned("nvme1n1", Kind::Nvme, 1 << 30);
        let mut lines: Vec<DiskLine> = hardware::probe(fixture.root())
            .disks
            .into_iter()
            .map(|disk| line(disk, Holds::Nothing, None))
            .collect();
        lines[0].looked_s_ago = Some(60);
        lines[0].health = Health {
            verdict: Verdict::Failing,
            findings: vec!["its spare blocks are nearly used up".into()],
            temperature_c: Some(71),
            ..Health::default()
        };
        let path = PathLine {
            kind: plan::shape::San::NvmeTcp,
            target: "nqn.2026-11.org.example:mail".into(),
            address: "192.0.2.20:4420".into(),
            usable: false,
            state: ABSENT.into(),
            why: Some("no route to host".into()),
            devices: Vec::new(),
            legs: Vec::new(),
        };
        let text = show(&Disks {
            disks: lines,
            san: vec![path],
        });
        for told in [
            "FAILING",
            "71 °C",
            "free",
            "system",
            "its spare blocks are nearly used up",
            "/dev/disk/by-id/nvme-MODEL_S1",
            "health read 60 s ago",
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
        let told = |holds: Holds, leg: Option<u8>| {
            show(&Disks {
                disks: vec![line(disks[0].clone(), holds, leg)],
                san: Vec::new(),
            })
        };
        assert!(told(Holds::Nothing, None).contains("free"));
        for (text, word) in [
            (told(Holds::Leg, Some(1)), "leg 1"),
            (told(Holds::Leg, None), "old leg"),
            (told(Holds::Something, None), "not blank"),
            (told(Holds::Unknown, None), "unknown"),
        ] {
            assert!(text.contains(word) && !text.contains("free"), "{text}");
        }
    }
}
