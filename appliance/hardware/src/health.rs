//! What disks say about themselves: SMART of ATA and SCSI disks, the health log of NVMe ones.
//!
//! Reading it takes rights that the daemon does not have, so `ringpost-disks` runs as root now and then, asks `smartctl`, and
//! leaves the answers in `PATH`; the daemon and the console read that file.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use plan::Shape;
use plan::shape::Disk;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits::{HEALTH_BYTES_MAX, SMARTCTL_WITHIN, WEAR_PERCENT_ALARM};

/// Below the root.
pub const PATH: &str = "run/ringpost/disks.json";

/// Every answer of one look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Seconds since 1970.
    pub looked_at: u64,
    pub disks: Vec<Health>,
}

/// One disk's word on itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The kernel's name, `nvme0n1`.
    pub name: String,
    /// So that another disk in the same place is not taken for this one.
    pub serial: String,
    /// What follows from the rest.
    pub verdict: Verdict,
    /// Why it is not good, or why nothing is known.
    pub findings: Vec<String>,
    pub temperature_c: Option<i64>,
    pub power_on_hours: Option<u64>,
    /// How much of its life is used up; may pass 100.
    pub worn_percent: Option<u64>,
    /// Spare blocks left, of those it was made with.
    pub spare_percent: Option<u64>,
    /// Data that the disk itself could not read or write.
    pub media_errors: Option<u64>,
}

/// What is to be done about a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is to be done.
    Good,
    /// It works and should be replaced before long.
    Worn,
    /// It says itself that it fails.
    Failing,
    /// It reports none (virtual disks), or could not be read.
    #[default]
    Unknown,
}

impl Verdict {
    /// As tables show it.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Good => "good",
            Verdict::Worn => "worn",
            Verdict::Failing => "FAILING",
            Verdict::Unknown => "unknown",
        }
    }
}

/// A disk, what it says of itself, and which leg it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskLine {
    pub disk: Disk,
    pub health: Health,
    /// How old the health is, in seconds; `None`: it was never read.
    pub looked_s_ago: Option<u64>,
    /// The leg of the volume that is on it.
    pub leg: Option<u8>,
    /// What was found on it; not looked at where it is a leg in use or has partitions.
    #[serde(default)]
    pub holds: Holds,
}

/// What is on a disk without partitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// Its first and last 4 MiB are zero.
    Nothing,
    /// A leg that no volume here counts on: detached, retired, or of another box. It may hold mail.
    Leg,
    /// Something else: a file system, or bytes of no known shape.
    Something,
    /// Not looked at, or it could not be read.
    #[default]
    Unknown,
}

/// Asks every disk of `shape`. Takes as long as the slowest; a disk that hangs is given up after `SMARTCTL_WITHIN`.
pub fn ask(shape: &Shape) -> Vec<Health> {
    shape
        .disks
        .iter()
        .map(|disk| {
            let mut health = match smartctl(&disk.name) {
                Ok(answer) => judge(&answer),
                Err(why) => unknown(why),
            };
            health.name = disk.name.clone();
            health.serial = disk.serial.clone();
            health
        })
        .collect()
}

/// The last look's report below `root`; `None`: there was none. One that cannot be read says nothing about the disks.
pub fn load(root: &Path) -> io::Result<Option<Report>> {
    let file = match fs::File::open(root.join(PATH)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(HEALTH_BYTES_MAX).read_to_string(&mut text)?;
    Ok(Some(serde_json::from_str(&text)?))
}

impl Report {
    /// What is known of this very disk.
    pub fn of(&self, disk: &Disk) -> Health {
        let same = |health: &&Health| health.name == disk.name && health.serial == disk.serial;
        let found = self.disks.iter().find(same).cloned();
        found.unwrap_or_else(|| unknown("its health was not read yet".into()))
    }

    /// A sentence for each disk that should be replaced.
    pub fn alarms(&self) -> Vec<String> {
        let bad = |health: &&Health| matches!(health.verdict, Verdict::Worn | Verdict::Failing);
        let tell = |health: &Health| {
            let serial = match health.serial.as_str() {
                "" => String::new(),
                serial => format!(" ({serial})"),
            };
            format!(
                "disk {}{serial} is {}: {}",
                health.name,
                health.verdict.word(),
                health.findings.join("; ")
            )
        };
        self.disks.iter().filter(bad).map(tell).collect()
    }
}

/// A disk of which nothing is known, with the reason.
fn unknown(why: String) -> Health {
    Health {
        findings: vec![why],
        ..Health::default()
    }
}

/// `smartctl`'s JSON about one disk. A disk that sleeps is not woken.
fn smartctl(name: &str) -> Result<Value, String> {
    let mut child = Command::new("smartctl")
        .args([
            "--json=c",
            "--info",
            "--health",
            "--attributes",
            "--nocheck=standby,0",
        ])
        .arg(format!("/dev/{name}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("smartctl: {error}"))?;
    let mut output = child.stdout.take().expect("it was asked for");
    // A thread, because a disk that hangs holds up its reader.
    let (tell, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = (&mut output)
            .take(HEALTH_BYTES_MAX)
            .read_to_string(&mut text);
        let _ = tell.send(text); // the receiver is gone after the deadline
    });
    let Ok(text) = heard.recv_timeout(SMARTCTL_WITHIN) else {
        let _ = child.kill();
        return Err(format!(
            "it did not answer within {} s",
            SMARTCTL_WITHIN.as_secs()
        ));
    };
    // The exit status has a bit for each kind of trouble; the document says the same in words.
    let give_up = Instant::now() + SMARTCTL_WITHIN;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(20));
    }
    serde_json::from_str(&text)
        .map_err(|error| format!("the output of smartctl cannot be read: {error}"))
}

/// What `smartctl --json` of any kind of disk means.
fn judge(answer: &Value) -> Health {
    let number = |value: &Value| value.as_u64();
    let nvme = &answer["nvme_smart_health_information_log"];
    let mut health = Health {
        temperature_c: answer["temperature"]["current"].as_i64(),
        power_on_hours: number(&answer["power_on_time"]["hours"]),
        worn_percent: number(&nvme["percentage_used"]),
        spare_percent: number(&nvme["available_spare"]),
        media_errors: number(&nvme["media_errors"]),
        ..Health::default()
    };
    let Some(passed) = answer["smart_status"]["passed"].as_bool() else {
        let said = answer["smartctl"]["messages"][0]["string"].as_str();
        health.findings.push(match said {
            Some(said) => said.trim().to_owned(),
            None => "it does not report its health".to_owned(),
        });
        return health;
    };
    let mut failing = Vec::new();
    let mut worn = Vec::new();
    if !passed {
        failing.push("its SMART health check fails".to_owned());
    }
    let warning = number(&nvme["critical_warning"]).unwrap_or(0);
    for (bit, sentence) in CRITICAL_WARNINGS {
        if warning & bit != 0 {
            failing.push(sentence.to_owned());
        }
    }
    if health
        .worn_percent
        .is_some_and(|worn| worn >= WEAR_PERCENT_ALARM)
    {
        worn.push(format!(
            "{} % of its life is used",
            health.worn_percent.unwrap_or(0)
        ));
    }
    if health.media_errors.is_some_and(|errors| errors > 0) {
        worn.push(format!("{} media errors", health.media_errors.unwrap_or(0)));
    }
    for attribute in answer["ata_smart_attributes"]["table"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let (id, raw) = (
            number(&attribute["id"]),
            number(&attribute["raw"]["value"]).unwrap_or(0),
        );
        let meaning = ATA_TROUBLES.iter().find(|(known, _)| Some(*known) == id);
        if let Some((_, meaning)) = meaning
            && raw > 0
        {
            worn.push(format!("{raw} {meaning}"));
        }
    }
    let grown = number(&answer["scsi_grown_defect_list"]).unwrap_or(0);
    if grown > 0 {
        worn.push(format!("{grown} grown defects"));
    }
    health.verdict = match (failing.is_empty(), worn.is_empty()) {
        (false, _) => Verdict::Failing,
        (true, false) => Verdict::Worn,
        (true, true) => Verdict::Good,
    };
    health.findings = [failing, worn].concat();
    health
}

/// NVM Express base specification 2.0, figure 207: bits of the critical warning.
const CRITICAL_WARNINGS: [(u64, &str); 5] = [
    (1, "its spare blocks are nearly used up"),
    (2, "its temperature is out of range"),
    (4, "its reliability is degraded"),
    (8, "it is read-only"),
    (16, "its power-loss protection failed"),
];

/// Attributes of ATA disks whose raw value is a count of sectors that went bad.
const ATA_TROUBLES: [(u64, &str); 4] = [
    (5, "reallocated sectors"),
    (187, "errors that could not be corrected"),
    (197, "sectors that are pending reallocation"),
    (198, "sectors that cannot be read"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_good_nvme_disk_is_good_and_its_figures_are_told() {
        let health = judge(&json!({
            "smart_status": {"passed": true},
            "temperature": {"current": 41},
            "power_on_time": {"hours": 9000},
            "nvme_smart_health_information_log": {
                "critical_warning": 0, "percentage_used": 3, "available_spare": 100, "media_errors": 0
            }
        }));
        assert_eq!((health.verdict, health.findings.len()), (Verdict::Good, 0));
        assert_eq!(
            (health.temperature_c, health.worn_percent),
            (Some(41), Some(3))
        );
    }

    #[test]
    fn a_dying_disk_is_failing_and_says_why() {
        let health = judge(&json!({
            "smart_status": {"passed": false},
            "nvme_smart_health_information_log": {"critical_warning": 9, "percentage_used": 104}
        }));
        assert_eq!(health.verdict, Verdict::Failing);
        let alarm = Report {
            looked_at: 0,
            disks: vec![Health {
                name: "nvme0n1".into(),
                serial: "S1".into(),
                ..health
            }],
        }
        .alarms();
        assert_eq!(
            alarm,
            [
                "disk nvme0n1 (S1) is FAILING: its SMART health check fails; its spare blocks are nearly used up; it is read-only; 104 % of its life is used"
            ]
        );
    }

    #[test]
    fn sectors_that_went_bad_make_a_disk_worn() {
        let health = judge(&json!({
            "smart_status": {"passed": true},
            "ata_smart_attributes": {"table": [
                {"id": 5, "raw": {"value": 0}}, {"id": 197, "raw": {"value": 8}}, {"id": 9, "raw": {"value": 77}}
            ]}
        }));
        assert_eq!(health.verdict, Verdict::Worn);
        assert_eq!(health.findings, ["8 sectors that are pending reallocation"]);
    }

    #[test]
    fn a_disk_that_does_not_tell_is_neither_good_nor_bad() {
        let said = json!({"smartctl": {"messages": [{"string": "/dev/vda: Unable to detect device type"}]}});
        let health = judge(&said);
        assert_eq!(health.verdict, Verdict::Unknown);
        assert!(health.findings[0].contains("Unable"), "{health:?}");
        assert_eq!(judge(&Value::Null).verdict, Verdict::Unknown);
        let report = Report {
            looked_at: 1,
            disks: vec![health],
        };
        assert!(report.alarms().is_empty(), "unknown health is not an alarm");
    }

    #[test]
    fn another_disk_in_the_same_place_is_not_the_one_that_was_asked() {
        let disk = |serial: &str| Disk {
            name: "sda".into(),
            class: plan::shape::DiskClass::Sata,
            node: None,
            bytes: 1,
            partitions: 0,
            removable: false,
            rotational: false,
            model: String::new(),
            serial: serial.into(),
            ids: Vec::new(),
        };
        let old = Health {
            name: "sda".into(),
            serial: "OLD".into(),
            verdict: Verdict::Failing,
            ..Health::default()
        };
        let report = Report {
            looked_at: 1,
            disks: vec![old],
        };
        assert_eq!(report.of(&disk("OLD")).verdict, Verdict::Failing);
        assert_eq!(report.of(&disk("NEW")).verdict, Verdict::Unknown);
    }
}
