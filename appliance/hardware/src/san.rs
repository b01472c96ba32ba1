//! Paths to disks that stand elsewhere: which ones the settings want, and how the kernel says they are.
//!
//! `ringpost-boot` leaves in `PATH` what the settings name (no secrets); the kernel's word is in `/sys`, which anybody may read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use plan::san::Target;
use plan::shape::San;
use serde::{Deserialize, Serialize};

use crate::limits::HEALTH_BYTES_MAX;
use crate::read;

/// Below the root.
pub const PATH: &str = "run/ringpost/san.json";

/// Below the root: a document of `key` → why the last attempt at this path failed. Of `ringpost-san`.
pub const WHY: &str = "run/ringpost/san-why.json";

/// One path's name in `WHY`.
pub fn key(target: &str, address: &str) -> String {
    format!("{target} {address}")
}

/// One way to one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathLine {
    pub kind: San,
    /// The target's name; of Fibre Channel, the leg's.
    pub target: String,
    /// Address and port; of Fibre Channel, the disk that is this path.
    pub address: String,
    /// Data can flow.
    pub usable: bool,
    /// The kernel's word (`live`, `connecting`, `LOGGED_IN`, `FAILED`, `running`), or `absent`.
    pub state: String,
    /// Why it cannot be reached, in the words of the program that tried.
    #[serde(default)]
    pub why: Option<String>,
    /// What came by it: `nvme1`, `sdb`.
    pub devices: Vec<String>,
    pub legs: Vec<String>,
}

/// The target was not reached by this path yet, or the kernel gave it up.
pub const ABSENT: &str = "absent";

/// What the settings want; empty where they name no target.
pub fn wanted(root: &Path) -> io::Result<Vec<Target>> {
    let file = match fs::File::open(root.join(PATH)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(HEALTH_BYTES_MAX).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

/// Every path to `targets`, in their order.
pub fn look(root: &Path, targets: &[Target]) -> Vec<PathLine> {
    let controllers = controllers(root);
    let sessions = sessions(root);
    let why = why(root);
    let mut lines = Vec::new();
    for target in targets {
        if target.kind == San::Fc {
            lines.extend(target.legs.iter().flat_map(|leg| fc(root, leg)));
            continue;
        }
        let found = match target.kind {
            San::NvmeTcp => &controllers,
            _ => &sessions,
        };
        for address in &target.address {
            let way = found.get(&(target.target.clone(), *address));
            lines.push(PathLine {
                kind: target.kind,
                target: target.target.clone(),
                address: address.to_string(),
                usable: way.is_some_and(|way| way.usable),
                state: way.map_or(ABSENT.into(), |way| way.state.clone()),
                why: match way {
                    Some(_) => None,
                    None => why.get(&key(&target.target, &address.to_string())).cloned(),
                },
                devices: way.map(|way| way.devices.clone()).unwrap_or_default(),
                legs: target.legs.clone(),
            });
        }
    }
    lines
}

/// A sentence for each path that is not as it should be, and one for each target that no path leads to.
pub fn alarms(lines: &[PathLine]) -> Vec<String> {
    let mut alarms = Vec::new();
    for line in lines.iter().filter(|line| !line.usable) {
        let others = lines.iter().filter(|other| other.target == line.target);
        let left = others.filter(|other| other.usable).count();
        let left = match left {
            0 => "no other path is left".into(),
            1 => "one other path is left".into(),
            left => format!("{left} other paths are left"),
        };
        let why = line.why.as_deref().map(|why| format!(" ({why})"));
        alarms.push(format!(
            "SAN path {} to {} is {}{}; {left}",
            line.address,
            line.target,
            line.state,
            why.unwrap_or_default()
        ));
    }
    alarms
}

/// A hint; without one it is still known that the path is absent.
fn why(root: &Path) -> BTreeMap<String, String> {
    let text = read::text(&root.join(WHY)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

struct Way {
    usable: bool,
    state: String,
    devices: Vec<String>,
}

type Ways = BTreeMap<(String, SocketAddr), Way>;

/// NVMe controllers over TCP. One that reconnects keeps its place here.
fn controllers(root: &Path) -> Ways {
    let directory = root.join("sys/class/nvme");
    let mut ways = Ways::new();
    for name in read::names(&directory) {
        let controller = directory.join(&name);
        let word = |file: &str| read::text(&controller.join(file)).unwrap_or_default();
        if word("transport") != "tcp" {
            continue;
        }
        let Some(address) = fabrics_address(&word("address")) else {
            continue;
        };
        let state = word("state");
        ways.insert(
            (word("subsysnqn"), address),
            Way {
                usable: state == "live",
                state,
                devices: vec![name],
            },
        );
    }
    ways
}

/// `traddr=192.0.2.20,trsvcid=4420,src_addr=…`
fn fabrics_address(text: &str) -> Option<SocketAddr> {
    let value = |key: &str| {
        text.split(',')
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    };
    let ip: IpAddr = value("traddr")?.parse().ok()?;
    Some(SocketAddr::new(ip, value("trsvcid")?.parse().ok()?))
}

fn sessions(root: &Path) -> Ways {
    let class = root.join("sys/class");
    let mut ways = Ways::new();
    for connection in read::names(&class.join("iscsi_connection")) {
        // `connection3:0` belongs to `session3`.
        let Some(number) = connection
            .strip_prefix("connection")
            .and_then(|rest| rest.split(':').next())
        else {
            continue;
        };
        let end = class.join("iscsi_connection").join(&connection);
        let session = class.join("iscsi_session").join(format!("session{number}"));
        let of = |place: &Path, file: &str| read::text(&place.join(file)).unwrap_or_default();
        let (Ok(ip), Ok(port)) = (
            of(&end, "persistent_address").parse::<IpAddr>(),
            of(&end, "persistent_port").parse(),
        ) else {
            continue;
        };
        let state = of(&session, "state");
        ways.insert(
            (of(&session, "targetname"), SocketAddr::new(ip, port)),
            Way {
                usable: state == "LOGGED_IN",
                state,
                devices: session_disks(&session.join("device")),
            },
        );
    }
    ways
}

/// `sessionN/target2:0:0/2:0:0:1/block/sdb`
fn session_disks(session: &Path) -> Vec<String> {
    let mut disks = Vec::new();
    for target in read::names(session) {
        if !target.starts_with("target") {
            continue;
        }
        for unit in read::names(&session.join(&target)) {
            disks.extend(read::names(&session.join(&target).join(unit).join("block")));
        }
    }
    disks
}

/// A leg on Fibre Channel: the disks that its map joins, or the disk itself.
fn fc(root: &Path, leg: &str) -> Vec<PathLine> {
    let line = |address: String, state: String| PathLine {
        kind: San::Fc,
        target: leg.to_owned(),
        usable: state == "running",
        devices: vec![address.clone()],
        address,
        state,
        why: None,
        legs: vec![leg.to_owned()],
    };
    let link = root.join(leg.trim_start_matches('/'));
    let Some(name) = read::target_name(&link) else {
        return vec![PathLine {
            devices: Vec::new(),
            ..line("-".into(), ABSENT.into())
        }];
    };
    let block = root.join("sys/block");
    let mut disks = read::names(&block.join(&name).join("slaves"));
    if disks.is_empty() {
        disks.push(name);
    }
    let state = |disk: &str| {
        let state = read::text(&block.join(disk).join("device/state"));
        state.unwrap_or_else(|| ABSENT.into())
    };
    disks
        .into_iter()
        .map(|disk| {
            let state = state(&disk);
            line(disk, state)
        })
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

    fn target(kind: San, name: &str, address: &[&str], leg: &str) -> Target {
        Target {
            kind,
            target: name.into(),
            address: address
                .iter()
                .map(|address| address.parse().expect("right"))
                .collect(),
            host: "h".into(),
            user: None,
            secret: None,
            digests: None,
            legs: vec![leg.into()],
        }
    }

    #[test]
    fn every_path_that_the_settings_want_is_told_as_the_kernel_sees_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        let nvme = "sys/class/nvme/nvme2";
        put(root, &format!("{nvme}/transport"), "tcp\n");
        put(root, &format!("{nvme}/subsysnqn"), "nqn.x:mail\n");
        put(
            root,
            &format!("{nvme}/address"),
            "traddr=192.0.2.20,trsvcid=4420,src_addr=192.0.2.1\n",
        );
        put(root, &format!("{nvme}/state"), "connecting\n");
        put(root, "sys/class/nvme/nvme0/transport", "pcie\n");
        let session = "sys/class/iscsi_session/session3";
        put(root, &format!("{session}/targetname"), "iqn.x:mail\n");
        put(root, &format!("{session}/state"), "LOGGED_IN\n");
        put(
            root,
            &format!("{session}/device/target3:0:0/3:0:0:1/block/sdb/size"),
            "8",
        );
        let end = "sys/class/iscsi_connection/connection3:0";
        put(root, &format!("{end}/persistent_address"), "2001:db8::20\n");
        put(root, &format!("{end}/persistent_port"), "3260\n");
        let targets = [
            target(
                San::NvmeTcp,
                "nqn.x:mail",
                &["192.0.2.20:4420", "192.0.2.21:4420"],
                "/n",
            ),
            target(San::Iscsi, "iqn.x:mail", &["[2001:db8::20]:3260"], "/i"),
        ];
        put(
            root,
            WHY,
            r#"{"nqn.x:mail 192.0.2.21:4420": "no route to host"}"#,
        );
        let lines = look(root, &targets);
        let told: Vec<(&str, bool, &[String])> = lines
            .iter()
            .map(|line| (line.state.as_str(), line.usable, line.devices.as_slice()))
            .collect();
        assert_eq!(
            told,
            [
                ("connecting", false, &["nvme2".to_owned()][..]),
                (ABSENT, false, &[]),
                ("LOGGED_IN", true, &["sdb".to_owned()])
            ]
        );
        let alarms = alarms(&lines);
        assert_eq!(alarms.len(), 2);
        assert!(
            alarms[0].contains("192.0.2.20:4420") && alarms[0].contains("no other path is left"),
            "{alarms:?}"
        );
        assert!(
            alarms[1].contains("absent (no route to host)"),
            "{alarms:?}"
        );
    }

    #[test]
    fn a_map_on_fibre_channel_is_as_many_paths_as_it_joins() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        let leg = "/dev/disk/by-id/dm-uuid-mpath-36";
        let wanted = [target(San::Fc, "", &[], leg)];
        assert_eq!(look(root, &wanted)[0].state, ABSENT);
        fs::create_dir_all(root.join("dev/disk/by-id")).expect("our own");
        std::os::unix::fs::symlink("../../dm-0", root.join(&leg[1..])).expect("our own");
        put(root, "sys/block/dm-0/slaves/sda/x", "");
        put(root, "sys/block/dm-0/slaves/sdb/x", "");
        put(root, "sys/block/sda/device/state", "running\n");
        put(root, "sys/block/sdb/device/state", "transport-offline\n");
        let lines = look(root, &wanted);
        let usable: Vec<bool> = lines.iter().map(|line| line.usable).collect();
        assert_eq!(usable, [true, false]);
        assert!(alarms(&lines)[0].contains("one other path is left"));
    }

    #[test]
    fn what_is_left_for_others_has_no_secret_and_is_read_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        assert!(wanted(root).expect("nothing there").is_empty());
        let one = target(San::Iscsi, "iqn.x:mail", &["192.0.2.20:3260"], "/i");
        let text = serde_json::to_string(&[&one]).expect("a document");
        put(root, PATH, &text);
        assert_eq!(wanted(root).expect("readable"), [one]);
        put(root, PATH, "{");
        assert!(wanted(root).is_err(), "unknown is not absent");
    }
}
