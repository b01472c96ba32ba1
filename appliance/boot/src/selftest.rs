//! What is missing, named before the daemon starts.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use plan::{Settings, Shape};

use crate::limits::CLOCK_MIN;
use crate::san;

/// What the box cannot serve mail without, and what should be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub missing: Vec<String>,
    pub alarms: Vec<String>,
}

/// `missing` is what there is no mail without, `alarms` are what can wait: a box with one leg serves mail, and one whose certificate is not there
/// would serve none that a client accepts.
pub fn look(
    root: &Path,
    settings: &Settings,
    shape: &Shape,
    legs: &[String],
    now: u64,
) -> Findings {
    let mut findings = Findings::default();
    look_at_legs(root, settings, shape, legs, &mut findings);
    look_at_state(root, &mut findings);
    // Nothing reaches a box without a card, and its own screen has to say why.
    if shape.nics.is_empty() {
        findings
            .missing
            .push("no network card was found: this image may not contain its driver".into());
    }
    look_at_cards(settings, shape, &mut findings);
    // What to write instead differs: the first pair has a substitute that we make ourselves, the others are for names that only they prove.
    let own = [&settings.tls.certificate, &settings.tls.key];
    let own = own.into_iter().flatten();
    let own = own.map(|file| (file, "[tls]", "remove the key for a self-signed one"));
    let others = settings.tls.certificates.iter();
    let others = others.flat_map(|pair| [&pair.certificate, &pair.key]);
    let others = others.map(|file| (file, "[[tls.certificates]]", "remove its table"));
    for (file, table, or) in own.chain(others) {
        if !below(root, file).exists() {
            let file = file.display();
            findings.missing.push(format!(
                "{file} (from {table}): store the file there, or {or}"
            ));
        }
    }
    // An alarm only: a box that waited for a time server would not start where there is none.
    if now < CLOCK_MIN {
        findings
            .alarms
            .push("the clock is not set: mail gets wrong dates until a time server answers".into());
    }
    findings
}

fn look_at_legs(
    root: &Path,
    settings: &Settings,
    shape: &Shape,
    legs: &[String],
    findings: &mut Findings,
) {
    // Counted is every leg that is here or may come by itself. Only with none at all there is nothing to start for.
    let mut there = 0;
    for leg in legs {
        if san::holds(settings, Path::new(leg)) {
            there += 1; // it cannot have been reached yet; `ringpost-san` reports whether it is
            continue;
        }
        let path = below(root, Path::new(leg));
        // Settings name disks by links of udev; what may hold partitions is the disk behind.
        let real = fs::canonicalize(&path);
        let Ok(real) = real else {
            // A file leg is made by the daemon, when it may.
            if !settings.volume.create || leg.starts_with("/dev/") {
                findings.alarms.push(format!(
                    "leg {leg} is missing: mail continues on the other leg; reattach it with `ringpostctl leg attach`"
                ));
            } else {
                there += 1;
            }
            continue;
        };
        let name = real.file_name().unwrap_or_default().to_string_lossy();
        if let Some(disk) = shape.disks.iter().find(|disk| disk.name == name)
            && disk.partitions > 0
        {
            findings.missing.push(format!(
                "leg {leg} is {name}, a disk with partitions: name a whole disk that holds nothing else"
            ));
        }
        let kind = fs::metadata(&real).map(|meta| meta.file_type());
        if leg.starts_with("/dev/")
            // Below another root (a test's) legs are files.
            && root == Path::new("/")
            && !kind.is_ok_and(|kind| kind.is_block_device())
        {
            findings.missing.push(format!("leg {leg} is not a disk"));
            continue;
        }
        there += 1;
    }
    if there == 0 && !legs.is_empty() {
        findings
            .missing
            .push("no leg was found: plug a disk in, or correct volume.legs".into());
    }
    if legs.len() == 1 {
        findings
            .alarms
            .push("the volume has only one leg: if that disk fails, the mail is lost".into());
    }
}

/// On memory, the box forgets its settings, its certificate and which legs are in sync.
fn look_at_state(root: &Path, findings: &mut Findings) {
    let mounts = fs::read_to_string(root.join("proc/mounts")).unwrap_or_default();
    if !state_is_on_a_disk(&mounts) {
        findings.alarms.push(
            "no state partition: settings, certificate and the record of which legs are in sync are lost at power-off".into(),
        );
    }
}

pub fn state_is_on_a_disk(mounts: &str) -> bool {
    let kind = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            Some((words.next()?, words.next()?))
        })
        // The last line of a place is the mount that is visible.
        .rfind(|(place, _)| *place == "/var/lib/ringpost");
    kind.is_some_and(|(_, kind)| kind != "tmpfs" && kind != "ramfs")
}

fn look_at_cards(settings: &Settings, shape: &Shape, findings: &mut Findings) {
    let Some(network) = &settings.network else {
        return;
    };
    let own: Vec<&str> = network
        .bonds
        .iter()
        .map(|bond| bond.name.as_str())
        .chain(network.vlans.iter().map(|vlan| vlan.name.as_str()))
        .collect();
    let known = |name: &str| {
        name.contains('*') || own.contains(&name) || shape.nics.iter().any(|nic| nic.name == name)
    };
    let members = network.bonds.iter().flat_map(|bond| &bond.members);
    let named = network
        .interfaces
        .iter()
        .filter_map(|interface| interface.name.as_ref())
        .chain(members)
        .chain(network.vlans.iter().map(|vlan| &vlan.on));
    // An alarm and not a refusal: cards may come later, and the one that is there may be all that an operator has to correct it by.
    for name in named.filter(|name| !known(name)) {
        findings.alarms.push(format!(
            "no network card has the name {name}; this machine has {}",
            cards(shape, |nic| &nic.name)
        ));
    }
    let macs = network
        .interfaces
        .iter()
        .filter_map(|interface| interface.mac.as_ref());
    for mac in macs {
        if !shape
            .nics
            .iter()
            .any(|nic| nic.mac.eq_ignore_ascii_case(mac))
        {
            findings.alarms.push(format!(
                "no network card has the address {mac}; this machine has {}",
                cards(shape, |nic| &nic.mac)
            ));
        }
    }
}

fn cards(shape: &Shape, word: impl Fn(&plan::shape::Nic) -> &String) -> String {
    let words: Vec<&str> = shape.nics.iter().map(|nic| word(nic).as_str()).collect();
    if words.is_empty() {
        "none".into()
    } else {
        words.join(", ")
    }
}

/// An absolute path of the settings, below the root.
pub fn below(root: &Path, path: &Path) -> std::path::PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
