//! Each hardware profile on a machine of its shape: chosen for the right reason, and everything it promises read back.
//!
//! The machines are scaled where a host of two cores has to: `README.md` says what stands for what. What QEMU cannot have (CPU
//! frequencies, idle states, cards with many queues on a user network) must be told as not possible, and nothing else may be.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::failure::{Doing, Failure, Told, ensure};
use crate::guest::HTTPS;
use crate::ledger::reply_within;
use crate::pace;
use crate::profiled;
use crate::settings;
use crate::shape::{Bus, By, Disk, Dmi, Nic, Shape};
use crate::tool::Tool;
use crate::world::{Machine, Source, World};

/// What must be so on a machine.
struct Promise {
    /// The profile that the boot must choose.
    profile: &'static str,
    /// In the reason for the choice.
    why: &'static str,
    /// Named by `server.profile`: nothing in QEMU would make the boot choose it.
    pinned: bool,
    /// Threads by name, and the CPUs that all of one name have together.
    threads: &'static [(&'static str, &'static str)],
    /// The machine as `--machine` describes it, and the CPUs that must be isolated: the kernel is started with the profile's arguments.
    isolated: Option<(&'static str, &'static str)>,
    /// Keys that cannot be kept in QEMU, sorted. `irq.others` for the timer's interrupt, which the kernel moves for nobody: where
    /// `irqaffinity=` is on the command line it is right from the start.
    not_possible: &'static [&'static str],
}

const GIB: u64 = 1 << 30;

/// DMI strings that match no profile, so that the parts decide.
fn maker() -> Dmi {
    Dmi {
        manufacturer: "Example".into(),
        product: "Post 1".into(),
        board: String::new(),
    }
}

/// Two empty legs on one kind of bus.
fn legs(bus: Bus, node: Option<u32>) -> Vec<Disk> {
    ["leg-a", "leg-b"]
        .map(|name| Disk {
            node,
            ..Disk::new(name, bus, GIB)
        })
        .into()
}

/// A machine that fits no profile gets a computed one.
pub fn generic(world: &mut World) -> Told<()> {
    let shape = Shape {
        cpus: 3,
        dmi: maker(),
        ..Shape::default()
    };
    let promise = Promise {
        profile: "generic",
        why: "computed",
        pinned: false,
        threads: &[("storage", "0"), ("inbound", "1"), ("client", "2")],
        isolated: None,
        not_possible: &[],
    };
    hold(world, shape, &promise)
}

/// The default machine of the tests, known by its DMI.
pub fn qemu_small(world: &mut World) -> Told<()> {
    let shape = Shape {
        watchdog: true,
        ..Shape::default()
    };
    let promise = Promise {
        profile: "qemu-small",
        why: "vendor QEMU",
        pinned: false,
        // Two CPUs: everybody may run on both.
        threads: &[("storage", "0-1"), ("inbound+client", "0-1")],
        isolated: None,
        not_possible: &[],
    };
    hold(world, shape, &promise)
}

/// Two NUMA nodes: storage goes to the node of the disks, reception to that of the card.
pub fn qemu_numa(world: &mut World) -> Told<()> {
    let shape = Shape {
        cpus: 4,
        sockets: 2,
        nodes: 2,
        memory_mib: 2_048,
        disks: legs(Bus::Nvme, Some(1)),
        nics: vec![Nic {
            node: Some(0),
            ..Nic::virtio("lan0")
        }],
        watchdog: true,
        ..Shape::default()
    };
    let promise = Promise {
        profile: "qemu-numa",
        why: "NUMA",
        pinned: false,
        // Storage by the disks on node 1 (CPUs 2 and 3), inbound by the card on node 0.
        threads: &[
            ("storage", "2"),
            ("inbound", "1"),
            ("client", "3"),
            ("ringpostd", "0"),
            ("index", "2"),
        ],
        isolated: Some(("cpus=4 nodes=2 disk_node=1 nic_node=0", "1-3")),
        not_possible: &[],
    };
    hold(world, shape, &promise)
}

/// Few cores and SATA disks.
pub fn edge_branch(world: &mut World) -> Told<()> {
    let shape = Shape {
        cpus: 4,
        dmi: maker(),
        disks: legs(Bus::Sata, None),
        nics: vec![Nic {
            model: "e1000e".into(),
            ..Nic::virtio("lan0")
        }],
        watchdog: true,
        ..Shape::default()
    };
    let promise = Promise {
        profile: "edge-branch",
        why: "sata disks",
        pinned: false,
        threads: &[
            ("storage", "1"),
            ("inbound", "2"),
            ("client", "3"),
            ("ringpostd", "0"),
        ],
        isolated: None,
        not_possible: &["cpu.governor", "irq.others"],
    };
    hold(world, shape, &promise)
}

/// Many cores and two NVMe disks on one node.
pub fn rack_1u_dual_nvme(world: &mut World) -> Told<()> {
    let shape = Shape {
        cpus: 32,
        memory_mib: 16_384,
        dmi: maker(),
        disks: legs(Bus::Nvme, None),
        nics: vec![Nic {
            model: "e1000e".into(),
            ..Nic::virtio("lan0")
        }],
        watchdog: true,
        ..Shape::default()
    };
    let promise = Promise {
        profile: "rack-1u-dual-nvme",
        why: "nvme disks",
        pinned: false,
        threads: &[
            ("storage", "2"),
            ("inbound", "3-17"),
            ("client", "18-31"),
            ("ringpostd", "0-1"),
        ],
        isolated: Some(("cpus=32", "2-31")),
        not_possible: &["cpu.governor", "cpu.idle_exit_us", "nic.queues"],
    };
    hold(world, shape, &promise)
}

/// Two nodes and eight NVMe disks.
pub fn rack_2u_nvme_24(world: &mut World) -> Told<()> {
    let mut disks = legs(Bus::Nvme, Some(1));
    disks.extend((0..6).map(|number| Disk {
        node: Some(1),
        ..Disk::new(&format!("drive-{number}"), Bus::Nvme, GIB)
    }));
    let shape = Shape {
        cpus: 32,
        sockets: 2,
        nodes: 2,
        memory_mib: 65_536,
        dmi: maker(),
        disks,
        nics: vec![Nic {
            node: Some(0),
            ..Nic::virtio("lan0")
        }],
        watchdog: true,
        ..Shape::default()
    };
    let promise = Promise {
        profile: "rack-2u-nvme-24",
        why: "nvme disks",
        pinned: false,
        // Node 0 has CPUs 0 to 15, four of them for housekeeping; inbound takes two more from node 1.
        threads: &[
            ("storage", "16"),
            ("inbound", "4-15,17-18"),
            ("client", "19-31"),
            ("ringpostd", "0-3"),
        ],
        isolated: Some(("cpus=32 nodes=2 disk_node=1 nic_node=0", "4-31")),
        not_possible: &["cpu.governor", "cpu.idle_exit_us", "nic.queues"],
    };
    hold(world, shape, &promise)
}

/// Storage behind Fibre Channel, which QEMU does not have: a SCSI disk stands for it.
pub fn san_fc_head(world: &mut World) -> Told<()> {
    let shape = Shape {
        cpus: 4,
        dmi: maker(),
        disks: legs(Bus::Scsi, None),
        watchdog: true,
        ..Shape::default()
    };
    let promise = Promise {
        profile: "san-fc-head",
        why: "pinned",
        pinned: true,
        threads: &[
            ("storage", "1"),
            ("inbound", "2"),
            ("client", "3"),
            ("ringpostd", "0"),
        ],
        isolated: None,
        not_possible: &["cpu.governor", "irq.disks", "irq.others"],
    };
    hold(world, shape, &promise)
}

/// Storage behind NVMe over TCP.
pub fn san_nvmetcp_head(world: &mut World) -> Told<()> {
    let shape = Shape {
        cpus: 4,
        dmi: maker(),
        watchdog: true,
        ..Shape::default()
    };
    let promise = Promise {
        profile: "san-nvmetcp-head",
        why: "pinned",
        pinned: true,
        threads: &[
            ("storage", "1"),
            ("inbound", "2"),
            ("client", "3"),
            ("ringpostd", "0"),
        ],
        isolated: None,
        not_possible: &["cpu.governor", "irq.others"],
    };
    hold(world, shape, &promise)
}

/// Boots the shape, sends mail through it, and holds what `ringpostctl profile applied` reads against the promise.
fn hold(world: &mut World, shape: Shape, promise: &Promise) -> Told<()> {
    let Source::Image(image) = world.source.clone() else {
        return Err(Failure::new(
            "a kernel alone applies no profile: run this story with an image",
        ));
    };
    let made = tempfile::tempdir().doing("a directory for an image")?;
    let tool = profiled::tool(&image, made.path())?;
    let image = match promise.isolated {
        None => image,
        Some((machine, _)) => profiled::make(&image, made.path(), promise.profile, machine)?,
    };
    let profile = promise.pinned.then(|| promise.profile.to_owned());
    let shape = Shape {
        settings: shape.settings.clone() + &tool.settings()?,
        profile,
        ..shape
    };
    let shape = settings::provisioned(shape, By::Smbios);
    let machine = world.boot_image(&image, shape)?;
    world.told(machine, |machine| {
        tool.believe(machine.guest().at(HTTPS), reply_within())?;
        let (guest, ledger) = machine.both();
        ledger.fill(guest, 5, 4_000)?;
        ledger.check(guest)?;
        machine.wait_until_in_sync()?;
        let applied = settled(machine, &tool)?;
        check(&applied, promise)
    })
}

/// What is read back, once a link that came up late has been tuned, too.
fn settled(machine: &mut Machine, tool: &Tool) -> Told<Value> {
    let end = Instant::now() + pace::stretched(SETTLED_WITHIN);
    let words = ["--json", "profile", "applied"];
    loop {
        // until nothing differs, or `end`
        // Exit status 1 when something differs.
        let said = tool.of(machine.guest().at(HTTPS), &words)?;
        let applied: Value = serde_json::from_str(&said.out)
            .map_err(|error| Failure::new(format!("profile applied: {error}: {said:?}")))?;
        if applied["differs"] == 0 || Instant::now() > end {
            return Ok(applied);
        }
        std::thread::sleep(Duration::from_secs(2));
    }
}

/// A link may come up after the daemon; its tuning follows within seconds.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

/// Every row of what was applied: as promised, or among those that QEMU cannot have.
fn check(applied: &Value, promise: &Promise) -> Told<()> {
    let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let empty = Vec::new();
    let rows = applied["rows"].as_array().unwrap_or(&empty);
    for row in rows {
        let verdict = word(row, "verdict");
        if !word(row, "key").is_empty() || verdict != "ok" {
            eprintln!(
                "{:18} {:46} {:>16} | {:24} {verdict} {}",
                word(row, "key"),
                word(row, "what"),
                word(row, "promised"),
                word(row, "applied"),
                word(row, "why")
            );
        }
    }
    let profile = applied["profile"].as_str().unwrap_or_default();
    let why = applied["why"].as_str().unwrap_or_default();
    eprintln!("profile {profile}: {why}");
    ensure(
        profile == promise.profile && why.contains(promise.why),
        || {
            format!(
                "profile {profile} was taken ({why}), not {} for {}",
                promise.profile, promise.why
            )
        },
    )?;
    ensure(applied["pinned"] == promise.pinned, || {
        "pinned or not".into()
    })?;
    let differing: Vec<String> = rows
        .iter()
        .filter(|row| row["verdict"] == "differs")
        .map(|row| {
            format!(
                "{}: \"{}\" promised, \"{}\" found",
                word(row, "what"),
                word(row, "promised"),
                word(row, "applied")
            )
        })
        .collect();
    ensure(differing.is_empty(), || {
        format!("not as promised:\n    {}", differing.join("\n    "))
    })?;
    let mut impossible: Vec<String> = rows
        .iter()
        .filter(|row| row["verdict"] == "not_possible_here")
        .map(|row| word(row, "key"))
        .collect();
    impossible.sort();
    impossible.dedup();
    ensure(impossible == promise.not_possible, || {
        format!(
            "reported as not possible: {impossible:?}, expected {:?}",
            promise.not_possible
        )
    })?;
    // The box's own verdicts stand; these numbers are ours.
    for (name, cpus) in promise.threads {
        let of_name = rows.iter().filter(|row| {
            row["area"] == "thread" && word(row, "what").starts_with(&format!("{name} ("))
        });
        let found = joined(of_name.map(|row| word(row, "applied")))?;
        ensure(found == *cpus, || {
            format!("threads {name} are on CPUs {found}, not {cpus}")
        })?;
    }
    let shown = |what: &str| {
        let row = rows.iter().find(|row| row["what"] == what);
        row.map(|row| word(row, "applied")).unwrap_or_default()
    };
    if let Some((_, cpus)) = promise.isolated {
        let isolated = shown("/sys/devices/system/cpu/isolated");
        let line = shown("/proc/cmdline");
        ensure(
            isolated == cpus && line.contains(&format!("nohz_full={cpus}")),
            || format!("isolated: \"{isolated}\", not {cpus}; command line: {line}"),
        )?;
    }
    // Mail came in by the card: its queues have fired where they were put.
    for row in rows.iter().filter(|row| row["key"] == "irq.nic") {
        let (what, found) = (word(row, "what"), word(row, "applied"));
        let is_input = what.contains("-input.") || what.contains("-rx-");
        ensure(!is_input || found == word(row, "promised"), || {
            format!("{what}: {found}")
        })?;
    }
    let legs = rows.iter().filter(|row| row["area"] == "leg").count();
    let interrupts = rows.iter().filter(|row| row["area"] == "interrupt").count();
    ensure(legs == 2 && interrupts > 0, || {
        format!("{legs} legs and {interrupts} interrupts were read back")
    })
}

/// Lists of CPUs together, as the kernel writes them.
fn joined(lists: impl Iterator<Item = String>) -> Told<String> {
    let mut cpus = Vec::new();
    for list in lists {
        for part in list.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.parse::<u32>().doing("a list of CPUs");
            cpus.extend(number(first)?..=number(last)?);
        }
    }
    cpus.sort_unstable();
    cpus.dedup();
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for cpu in cpus {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => parts.push((cpu, cpu)),
        }
    }
    let shown = parts.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    Ok(shown.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_joined_as_the_kernel_writes_them() {
        let lists = ["3", "1", "2,7", "0-1"].map(String::from);
        assert_eq!(joined(lists.into_iter()).expect("lists"), "0-3,7");
        assert!(joined(["x".to_owned()].into_iter()).is_err());
    }

    fn row(area: &str, what: &str, key: &str, applied: &str, verdict: &str) -> Value {
        serde_json::json!({"area": area, "what": what, "key": key, "promised": "", "applied": applied, "verdict": verdict, "why": ""})
    }

    #[test]
    fn a_thread_on_another_cpu_than_we_reckoned_is_a_failure_whatever_the_box_says() {
        let promise = Promise {
            profile: "generic",
            why: "computed",
            pinned: false,
            threads: &[("storage", "0")],
            isolated: None,
            not_possible: &["cpu.governor"],
        };
        let told = |thread: &str, verdict: &str| {
            let rows = [
                row("thread", "storage (7)", "zones.storage", thread, verdict),
                row("leg", "a", "mirror.legs", "in_sync", "ok"),
                row("leg", "b", "mirror.legs", "in_sync", "ok"),
                row("interrupt", "i", "", "0", "ok"),
                row(
                    "cpu",
                    "cpu.governor",
                    "cpu.governor",
                    "",
                    "not_possible_here",
                ),
            ];
            let applied = serde_json::json!({"profile": "generic", "why": "computed", "pinned": false, "differs": 0, "rows": rows});
            check(&applied, &promise)
        };
        assert!(told("0", "ok").is_ok());
        assert!(told("1", "ok").is_err());
        assert!(told("0", "differs").is_err());
        assert!(told("0", "not_possible_here").is_err());
    }
}
