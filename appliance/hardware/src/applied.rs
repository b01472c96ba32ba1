//! Everything that a profile promises, beside what is so: one row each, read from `/proc` and `/sys` as an ordinary user.
//!
//! What must hold: a promise without a row is a fault of this file; a row that cannot be had on this machine says why, and is
//! never counted as kept. Nothing is set here.

use std::path::Path;

use plan::machine::{cpu_list, show_cpus};
use plan::{Plan, Profile, Shape};
use serde::{Deserialize, Serialize};

use crate::apply::{Difference, check_command_line};
use crate::interrupts::{Owner, interrupts};
use crate::probe::kernel_words;
use crate::read;
use crate::tune::{self, Compare, agrees};

mod rings;
mod threads;

pub use rings::rings;
pub use threads::threads;

/// One promise and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// `thread`, `interrupt`, `kernel`, `cpu`, `memory`, `disk`, `card`, `ring`, `leg`, `watchdog`.
    pub area: String,
    /// The thread, file, word or device.
    pub what: String,
    /// The key of the profile; empty: nothing is promised, the row is there to be seen.
    pub key: String,
    /// What the profile wants.
    pub promised: String,
    /// Empty: nothing is there.
    pub applied: String,
    pub verdict: Verdict,
    /// Why it differs or cannot be had.
    pub why: String,
}

/// What became of a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// It could be as promised, and is not.
    Differs,
    /// This machine has nothing that the promise could be kept with.
    NotPossibleHere,
}

impl Verdict {
    /// As the table shows it.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Differs => "differs",
            Verdict::NotPossibleHere => "not possible here",
        }
    }

    fn of(kept: bool) -> Verdict {
        if kept { Verdict::Ok } else { Verdict::Differs }
    }
}

impl Row {
    /// A row whose verdict is whether it was kept.
    pub fn new(
        area: &str,
        what: impl Into<String>,
        key: &str,
        promised: impl Into<String>,
        applied: impl Into<String>,
        kept: bool,
    ) -> Row {
        Row {
            area: area.into(),
            what: what.into(),
            key: key.into(),
            promised: promised.into(),
            applied: applied.into(),
            verdict: Verdict::of(kept),
            why: String::new(),
        }
    }

    fn because(mut self, why: impl Into<String>) -> Row {
        self.why = why.into();
        self
    }

    /// The row with a reason why it cannot be had here.
    fn not_possible(mut self, why: impl Into<String>) -> Row {
        self.verdict = Verdict::NotPossibleHere;
        self.because(why)
    }
}

/// Every row that `/proc` and `/sys` have, for the process that asks. `boot`: what could not be set at boot, and why.
pub fn rows(
    root: &Path,
    plan: &Plan,
    profile: &Profile,
    shape: &Shape,
    boot: &[Difference],
) -> Vec<Row> {
    // As the daemon placed its threads, not as the machine would be placed now: a disk that left moves no thread.
    let Ok(placed) = plan::place::place(&profile.zones, &plan.machine) else {
        return Vec::new();
    };
    let command_line = tune::command_line(profile, &placed);
    let steps = tune::steps(root, profile, shape, &placed);
    let mut rows = threads(root, plan);
    rows.extend(interrupt_rows(root, shape, &steps, boot));
    rows.extend(kernel_rows(root, &command_line, &placed, profile));
    rows.extend(step_rows(root, &steps));
    rows.extend(unkept(root, profile, shape, &steps));
    rows.extend(card_rows(profile, shape, &placed));
    rows.extend(huge_page_use(root, profile));
    rows.extend(watchdog_rows(root, profile));
    rows.extend(rings(root));
    for row in &mut rows {
        let said = boot
            .iter()
            .find(|difference| difference.what == row.what && !difference.why.is_empty());
        if let (Verdict::Differs, true, Some(said)) = (row.verdict, row.why.is_empty(), said) {
            row.why = said.why.clone();
        }
    }
    rows
}

/// Where cards and disks interrupt, and everything else that the profile moves.
fn interrupt_rows(
    root: &Path,
    shape: &Shape,
    steps: &[tune::Step],
    boot: &[Difference],
) -> Vec<Row> {
    let mut rows = Vec::new();
    for irq in interrupts(root) {
        let directory = root.join(format!("proc/irq/{}", irq.number));
        let set = read::text(&directory.join("smp_affinity_list")).unwrap_or_default();
        // Empty where the interrupt was not requested yet, or on kernels that do not report it.
        let effective = read::text(&directory.join("effective_affinity_list")).unwrap_or_default();
        let path = format!("proc/irq/{}/smp_affinity_list", irq.number);
        let step = steps.iter().find(|step| step.path == Path::new(&path));
        let owner = irq.of(shape);
        let what = format!("/{path} ({})", irq.name);
        // An interrupt that was moved is moved when it next fires: an idle one is still "served" where it was.
        let stays = effective.is_empty() || agrees(Compare::Cpus, &set, &effective);
        let applied = match stays {
            true => set.clone(),
            false => format!("{set}, on {effective} until it next fires"),
        };
        match step {
            Some(step) => {
                let kept = agrees(step.compare, &step.value, &set);
                let row = Row::new("interrupt", what, &step.key, &step.value, applied, kept);
                let whole = format!("/{path}");
                let said = boot.iter().find(|difference| difference.what == whole);
                let said = said.map_or("", |difference| difference.why.as_str());
                rows.push(match kept {
                    true => row,
                    false if is_managed(&irq.name) || IMMOVABLE.iter().any(|errno| said.ends_with(errno)) => {
                        row.not_possible("the kernel places this interrupt itself and does not allow it to be moved")
                    }
                    false => row.because(said),
                });
            }
            // Nothing is promised: seen, and kept by definition.
            None if owner != Owner::Other => {
                rows.push(Row::new("interrupt", what, "", "", applied, true))
            }
            None => {}
        }
    }
    rows
}

/// What Linux answers root who moves an interrupt that it manages itself or that cannot be moved (`irq_can_set_affinity_usr`: EIO,
/// from 6.11 on EPERM), as std words it.
const IMMOVABLE: [&str; 2] = ["(os error 5)", "(os error 1)"];

/// I/O queues of NVMe: `nvme0q3`. The admin queue 0 can be moved.
fn is_managed(name: &str) -> bool {
    name.strip_prefix("nvme")
        .and_then(|rest| rest.split_once('q'))
        .is_some_and(|(_, queue)| queue != "0")
}

/// The words of the kernel's command line, and the CPUs that it isolated.
fn kernel_rows(
    root: &Path,
    command_line: &[String],
    placed: &plan::Placement,
    profile: &Profile,
) -> Vec<Row> {
    let missing = check_command_line(root, command_line);
    let mut rows: Vec<Row> = command_line
        .iter()
        .map(|word| {
            let difference = missing.iter().find(|missing| missing.promised == *word);
            let what = word.split('=').next().unwrap_or(word);
            match difference {
                None => Row::new("kernel", what, "kernel", word, word, true),
                Some(missing) => Row::new("kernel", what, "kernel", word, &missing.found, false)
                    .because(&missing.why),
            }
        })
        .collect();
    let zones = placed.zone_cpus();
    if profile.kernel.isolate && !placed.housekeeping.is_empty() && !zones.is_empty() {
        for file in ["isolated", "nohz_full"] {
            let path = format!("sys/devices/system/cpu/{file}");
            let found = read::text(&root.join(&path)).unwrap_or_default();
            let kept = cpu_list(&found).is_some_and(|list| list == zones);
            let what = format!("/{path}");
            rows.push(Row::new(
                "kernel",
                what,
                "kernel.isolate",
                show_cpus(&zones),
                found,
                kept,
            ));
        }
    }
    let line = kernel_words(root).join(" ");
    rows.push(Row::new("kernel", "/proc/cmdline", "", "", line, true));
    rows
}

/// Everything but interrupts, which have their own rows.
fn step_rows(root: &Path, steps: &[tune::Step]) -> Vec<Row> {
    let steps = steps.iter().filter(|step| !step.key.starts_with("irq."));
    steps
        .map(|step| {
            let found = read::text(&root.join(&step.path)).unwrap_or_default();
            let kept = agrees(step.compare, &step.value, &found);
            let what = format!("/{}", step.path.display());
            Row::new(area(&step.key), what, &step.key, &step.value, found, kept)
        })
        .collect()
}

/// The part of the machine that a key is about.
fn area(key: &str) -> &'static str {
    match key.split('.').next() {
        Some("block") => "disk",
        Some("memory") => "memory",
        _ => "cpu",
    }
}

/// Keys that led to no step at all: what they would be written to is not there.
fn unkept(root: &Path, profile: &Profile, shape: &Shape, steps: &[tune::Step]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut none = |key: &str, promised: Option<String>, why: &str| {
        if let Some(promised) = promised
            && !steps.iter().any(|step| step.key == key)
        {
            let row = Row::new(area(key), key, key, promised, "", false);
            rows.push(row.not_possible(why));
        }
    };
    none(
        "cpu.governor",
        profile.cpu.governor.clone(),
        "the kernel cannot set the CPU frequency of this machine (no cpufreq)",
    );
    none(
        "cpu.idle_exit_us",
        profile.cpu.idle_exit_us.map(|limit| limit.to_string()),
        if read::names(&root.join("sys/devices/system/cpu/cpu0/cpuidle")).is_empty() {
            "the kernel cannot choose CPU idle states on this machine (no cpuidle)"
        } else {
            "no idle state has a longer exit latency"
        },
    );
    let timeout = profile.block.timeout;
    none(
        "block.timeout",
        timeout.map(|timeout| timeout.0.as_secs().to_string()),
        "this machine does not have a SCSI or SATA disk",
    );
    if shape.mail_disks().next().is_none() {
        let why = "this machine does not have a disk that can hold mail";
        none("block.scheduler", profile.block.scheduler.clone(), why);
        let requests = profile.block.requests.map(|requests| requests.to_string());
        none("block.requests", requests, why);
    }
    rows
}

/// Queue pairs of each card.
fn card_rows(profile: &Profile, shape: &Shape, placed: &plan::Placement) -> Vec<Row> {
    let wanted = tune::nic_queues(profile, placed);
    let cards = shape.nics.iter();
    cards
        .map(|nic| {
            let what = nic.name.clone();
            let applied = format!("{} ({})", nic.queues, nic.driver);
            match wanted {
                None => Row::new("card", what, "", "", applied, true),
                Some(queues) => {
                    let kept = nic.queues as u64 == queues;
                    let row = Row::new(
                        "card",
                        what,
                        "nic.queues",
                        queues.to_string(),
                        applied,
                        kept,
                    );
                    if nic.queues == 1 && !kept {
                        // What a card could have is not in /sys: one with a single queue takes no order for more.
                        return row.not_possible("the card has a single queue");
                    }
                    row
                }
            }
        })
        .collect()
}

/// The engine's batch buffers are in huge pages, one each; no other process here uses any.
fn huge_page_use(root: &Path, profile: &Profile) -> Option<Row> {
    profile.memory.hugepages?;
    let directory = root.join("sys/kernel/mm/hugepages/hugepages-2048kB");
    let total = read::number(&directory.join("nr_hugepages"))?;
    let free = read::number(&directory.join("free_hugepages"))?;
    let (used, wanted) = (
        total.saturating_sub(free),
        profile.storage.batch_buffers as u64,
    );
    Some(Row::new(
        "memory",
        "huge pages in use",
        "storage.batch_buffers",
        wanted.to_string(),
        used.to_string(),
        used >= wanted,
    ))
}

/// The hardware watchdog: armed, with the promised time-out.
fn watchdog_rows(root: &Path, profile: &Profile) -> Option<Row> {
    let promised = profile.watchdog.timeout?.0.as_secs().to_string();
    let directory = root.join("sys/class/watchdog/watchdog0");
    let what = "/sys/class/watchdog/watchdog0/timeout";
    if !directory.exists() {
        let row = Row::new("watchdog", what, "watchdog.timeout", promised, "", false);
        return Some(row.not_possible("this machine does not have a watchdog"));
    }
    let word = |file: &str| read::text(&directory.join(file)).unwrap_or_default();
    let (timeout, state) = (word("timeout"), word("state"));
    let kept = timeout == promised && state == "active";
    let applied = format!("{timeout}, {state}, {}", word("identity"));
    let key = "watchdog.timeout";
    Some(Row::new("watchdog", what, key, promised, applied, kept))
}

#[cfg(test)]
mod tests;
