//! `ringpostctl profile applied`: what the profile promises beside what is so, asked of the running daemon.
//!
//! The machine's part is `hardware::applied`, read as the daemon's own user; the ring and the legs are asked of the storage thread.

use std::path::Path;

use ::admin::reply::{Applied, LegLine};
use hardware::{Difference, Row, Verdict};
use plan::profile::{DIRECTORY, RingFlags};
use plan::{Plan, Profile};
use serde_json::Value;

use crate::admin::shared::{Admin, Refused, volume_of};
use crate::admin::{legs, open_legs};

const BOOT: &str = "/run/ringpost/boot.json";

pub(crate) async fn applied(admin: &Admin) -> Result<Applied, Refused> {
    let plan = admin.plan().clone();
    let (lines, ring) = admin
        .ask(async |mailboxes| {
            let volume = volume_of(&mailboxes);
            (legs::lines(volume), open_legs::legs(volume.id()).ring())
        })
        .await?;
    // A few hundred small files of /proc: on the administration's thread, which serves no mail.
    let root = Path::new("/");
    let profile = profile(root, &plan.profile)?;
    let boot = std::fs::read_to_string(BOOT).ok();
    let boot: Value = boot
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    // What only root could read was read at the boot, and is kept in its report.
    let differences: Vec<Difference> =
        serde_json::from_value(boot["differences"].clone()).unwrap_or_default();
    let shape = hardware::probe(root);
    let mut rows = hardware::applied::rows(root, &plan, &profile, &shape, &differences);
    rows.extend(ring_rows(&plan, ring));
    rows.extend(leg_rows(&plan, &lines));
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    Ok(Applied {
        profile: plan.profile,
        why: boot["profile"]["why"].as_str().map(str::to_owned),
        pinned: boot["profile"]["pinned"] == Value::Bool(true),
        differs: count(Verdict::Differs),
        not_possible: count(Verdict::NotPossibleHere),
        rows,
    })
}

/// By its name; an OEM's takes the place of ours.
fn profile(root: &Path, name: &str) -> Result<Profile, Refused> {
    let all = Profile::all(&root.join(DIRECTORY)).map_err(|misfit| misfit.to_string())?;
    match all.into_iter().find(|profile| profile.name == name) {
        Some(profile) => Ok(profile),
        None => Profile::load(name).map_err(|misfit| misfit.to_string()),
    }
}

/// The ring under the legs. A kernel too old for the best flags takes the next ones, and that is a difference.
fn ring_rows(plan: &Plan, (flags, registered): (RingFlags, usize)) -> Vec<Row> {
    let promised = words(plan.storage.ring);
    let buffers = plan
        .storage
        .batch_buffers
        .min(uring::limits::REGISTERED_BUFFERS_MAX)
        .min(uring::limits::REGISTERED_BYTES_MAX / volume::BATCH_BYTES_MAX);
    vec![
        Row::new(
            "ring",
            "flags of the legs' ring",
            "ring.flags",
            &promised,
            words(flags),
            flags == plan.storage.ring,
        ),
        Row::new(
            "ring",
            "batch buffers registered",
            "storage.batch_buffers",
            buffers.to_string(),
            registered.to_string(),
            registered == buffers,
        ),
    ]
}

/// As a profile spells it.
fn words(flags: RingFlags) -> String {
    let value = serde_json::to_value(flags).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// A row for each planned leg, and for legs outside the plan (attached since).
fn leg_rows(plan: &Plan, lines: &[LegLine]) -> Vec<Row> {
    let told = |line: &LegLine| {
        let path = line.path.as_deref().unwrap_or("no device");
        format!("{} at {}", line.state, device(path))
    };
    let mut rows = Vec::new();
    for path in &plan.storage.legs {
        let path = path.display().to_string();
        let line = lines
            .iter()
            .find(|line| line.path.as_deref() == Some(path.as_str()));
        let kept = line.is_some_and(|line| line.state == "in_sync");
        let applied = line.map(told).unwrap_or_default();
        rows.push(Row::new(
            "leg",
            path,
            "mirror.legs",
            "in_sync",
            applied,
            kept,
        ));
    }
    for line in lines {
        let planned = |path: &String| {
            let mut legs = plan.storage.legs.iter();
            legs.any(|leg| leg.display().to_string() == *path)
        };
        // Attached since the start. It keeps its row, without a promise that it could break.
        if !line.path.as_ref().is_some_and(planned) {
            let what = format!("leg {}", line.index);
            rows.push(Row::new("leg", what, "", "", told(line), true));
        }
    }
    rows
}

/// What a stable name leads to.
fn device(path: &str) -> String {
    std::fs::canonicalize(path).map_or_else(|_| path.to_owned(), |real| real.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: Option<&str>, state: &str) -> LegLine {
        LegLine {
            index: 0,
            id: "x".into(),
            state: state.into(),
            path: path.map(str::to_owned),
            progress: None,
            repairs: 0,
            read_faults: 0,
            write_faults: 0,
            stale_since: None,
            why: None,
        }
    }

    fn plan() -> Plan {
        let text =
            "[server]\nname = \"mx.example.org\"\n[volume]\nlegs = [\"/none/a\", \"/none/b\"]\n";
        let settings = plan::Settings::parse("s", text).expect("right");
        let profile = Profile::built_in("generic").expect("ours");
        Plan::make(&settings, &profile, &plan::Machine::here()).expect("it fits")
    }

    #[test]
    fn a_leg_that_is_absent_or_behind_differs() {
        let lines = [line(Some("/none/a"), "in_sync"), line(None, "stale")];
        let rows = leg_rows(&plan(), &lines);
        let verdicts: Vec<Verdict> = rows.iter().map(|row| row.verdict).collect();
        assert_eq!(verdicts, [Verdict::Ok, Verdict::Differs, Verdict::Ok]);
        assert_eq!(rows[1].applied, "");
        let lines = [
            line(Some("/none/a"), "stale"),
            line(Some("/none/b"), "in_sync"),
        ];
        assert_eq!(leg_rows(&plan(), &lines)[0].verdict, Verdict::Differs);
    }

    #[test]
    fn a_ring_that_stepped_down_differs() {
        let rows = ring_rows(&plan(), (RingFlags::CoopTaskrun, 16));
        assert_eq!(rows[0].promised, "defer-taskrun");
        assert_eq!(rows[0].verdict, Verdict::Differs);
        assert_eq!(rows[1].verdict, Verdict::Ok);
    }
}
