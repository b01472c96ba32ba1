//! On which CPUs each thread of a process may run.

use std::path::Path;

use plan::Plan;
use plan::machine::{cpu_list, show_cpus};

use super::Row;
use crate::read;

struct Thread {
    id: usize,
    name: String,
    allowed: Vec<usize>,
}

/// A row for every thread of the process that asks, and for every planned one that is not there.
pub fn threads(root: &Path, plan: &Plan) -> Vec<Row> {
    let found = read_threads(root);
    let mut rows = Vec::new();
    let mut seen = vec![false; found.len()];
    for core in &plan.cores {
        let name = core.thread_name();
        // The one that is pinned there; else any of the name that is not claimed yet.
        let free = |index: &usize| !seen[*index] && found[*index].name == name;
        let pinned = |index: &usize| found[*index].allowed == core.cpu.as_slice();
        let candidates: Vec<usize> = (0..found.len()).filter(free).collect();
        let index = candidates.iter().copied().find(pinned);
        let index = index.or_else(|| candidates.last().copied());
        let promised = core.cpu.map_or("any".to_owned(), |cpu| cpu.to_string());
        let key = format!("zones.{}", core.zones[0].name());
        let Some(index) = index else {
            let what = format!("{name} (no such thread)");
            rows.push(Row::new("thread", what, &key, promised, "", false));
            continue;
        };
        seen[index] = true;
        let thread = &found[index];
        let kept = core.cpu.is_none() || thread.allowed == core.cpu.as_slice();
        rows.push(row(thread, &key, &promised, kept));
    }
    let zones: Vec<usize> = plan.cores.iter().filter_map(|core| core.cpu).collect();
    let on_zone = |thread: &Thread| {
        !thread.allowed.is_empty() && thread.allowed.iter().all(|cpu| zones.contains(cpu))
    };
    let housekeeping = &plan.housekeeping;
    for (thread, _) in found.iter().zip(&seen).filter(|(_, seen)| !**seen) {
        let owner = plan
            .cores
            .iter()
            .any(|core| core.thread_name() == thread.name);
        if zones.is_empty() {
            rows.push(row(thread, "", "any", !owner));
        } else if is_helper(&thread.name) {
            // A helper of a zone runs where that zone does; one of the administration's with the rest.
            let promised = "a zone's CPUs, or housekeeping";
            let kept = on_zone(thread) || is_within(thread, housekeeping);
            rows.push(row(thread, "zones", promised, kept));
        } else if housekeeping.is_empty() {
            rows.push(row(thread, "", "any", !owner));
        } else {
            let kept = !owner && is_within(thread, housekeeping);
            let promised = show_cpus(housekeeping);
            rows.push(row(thread, "zones.housekeeping", &promised, kept));
        }
    }
    rows
}

/// Threads that a zone starts for work that blocks: the volume's index, password hashes, and the kernel's own for io_uring.
fn is_helper(name: &str) -> bool {
    name == "index" || name.starts_with("tokio-") || name.starts_with("iou-")
}

fn is_within(thread: &Thread, cpus: &[usize]) -> bool {
    !thread.allowed.is_empty() && thread.allowed.iter().all(|cpu| cpus.contains(cpu))
}

fn row(thread: &Thread, key: &str, promised: &str, kept: bool) -> Row {
    let what = format!("{} ({})", thread.name, thread.id);
    Row::new(
        "thread",
        what,
        key,
        promised,
        show_cpus(&thread.allowed),
        kept,
    )
}

fn read_threads(root: &Path) -> Vec<Thread> {
    let directory = root.join("proc/self/task");
    let mut ids: Vec<usize> = read::names(&directory)
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    ids.sort_unstable();
    ids.into_iter()
        .filter_map(|id| {
            // One that ended meanwhile has neither.
            let status = read::text(&directory.join(format!("{id}/status")))?;
            let allowed = status
                .lines()
                .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
                .and_then(cpu_list)?;
            let name = read::text(&directory.join(format!("{id}/comm")))?;
            Some(Thread { id, name, allowed })
        })
        .collect()
}
