use plan::{Machine, Settings};

use super::*;
use crate::fixture::Fixture;
use crate::{apply, probe};

const SETTINGS: &str = "[server]\nname = \"mx.example.org\"\n[volume]\nlegs = [\"/leg\"]\n";

fn numa() -> (Fixture, Plan, Profile, Shape) {
    let (_, fixture) = Fixture::of_every_profile()
        .into_iter()
        .find(|(name, _)| *name == "qemu-numa")
        .expect("listed");
    let profile = Profile::built_in("qemu-numa").expect("ours");
    let shape = probe(fixture.root());
    let settings = Settings::parse("s", SETTINGS).expect("right");
    let plan = Plan::make(&settings, &profile, &Machine::whole(&shape)).expect("it fits");
    (fixture, plan, profile, shape)
}

/// Threads as a started daemon has them; `storage` runs on the CPU given.
fn with_threads(fixture: Fixture, storage: &str) -> Fixture {
    let threads = [
        ("100", "ringpostd", "0"),
        ("101", "storage", storage),
        ("102", "inbound", "1"),
        ("103", "inbound", "2"),
        ("104", "inbound", "3"),
        ("105", "client", "5"),
        ("106", "client", "6"),
        ("107", "client", "7"),
        ("108", "index", "4"),
        ("109", "iou-wrk-101", "0-7"),
    ];
    threads
        .into_iter()
        .fold(fixture, |fixture, (id, name, cpus)| {
            fixture
                .file(&format!("proc/self/task/{id}/comm"), &format!("{name}\n"))
                .file(
                    &format!("proc/self/task/{id}/status"),
                    &format!("Name:\t{name}\nCpus_allowed_list:\t{cpus}\n"),
                )
        })
}

fn differing(rows: &[Row]) -> Vec<&str> {
    let rows = rows.iter().filter(|row| row.verdict == Verdict::Differs);
    rows.map(|row| row.what.as_str()).collect()
}

#[test]
fn a_thread_on_a_strange_cpu_is_told_and_one_that_is_missing_too() {
    let (fixture, plan, ..) = numa();
    let fixture = with_threads(fixture, "4");
    let rows = threads(fixture.root(), &plan);
    assert_eq!(rows.len(), 10);
    assert_eq!(differing(&rows), ["iou-wrk-101 (109)"], "{rows:#?}");
    let (fixture, plan, ..) = numa();
    let rows = threads(with_threads(fixture, "0-7").root(), &plan);
    assert!(differing(&rows).contains(&"storage (101)"), "{rows:#?}");
    let (fixture, plan, ..) = numa();
    let rows = threads(fixture.root(), &plan);
    assert_eq!(differing(&rows).len(), 7, "{rows:#?}");
}

#[test]
fn what_was_applied_reads_as_promised_and_the_rest_says_why() {
    let (fixture, plan, profile, shape) = numa();
    let fixture = with_threads(fixture, "4")
        .file(
            "proc/cmdline",
            "quiet isolcpus=managed_irq,domain,1-7 nohz_full=1-7 rcu_nocbs=1-7 irqaffinity=0\n",
        )
        .file("sys/devices/system/cpu/isolated", "1-7\n")
        .file("sys/devices/system/cpu/nohz_full", "1-6\n")
        .file("proc/irq/30/effective_affinity_list", "5\n")
        .file(
            "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
            "1\n",
        );
    let root = fixture.root();
    let placed = plan::place::place(&profile.zones, &plan.machine).expect("it fits");
    let steps = tune::steps(root, &profile, &shape, &placed);
    assert_eq!(apply::apply(root, &steps), []);
    let rows = rows(root, &plan, &profile, &shape, &[]);
    assert_eq!(
        differing(&rows),
        [
            "iou-wrk-101 (109)",
            "/sys/devices/system/cpu/nohz_full",
            "huge pages in use"
        ],
        "{rows:#?}"
    );
    let moving = rows.iter().find(|row| row.what.contains("eth0-rx-0"));
    let moving = &moving.expect("the card's").applied;
    assert_eq!(moving, "1, on 5 until it next fires");
    let watchdog = rows.iter().find(|row| row.area == "watchdog");
    let watchdog = watchdog.expect("the profile promises one");
    assert_eq!(watchdog.verdict, Verdict::NotPossibleHere);
    assert!(
        rows.iter()
            .any(|row| row.what.contains("nvme0q0") && row.key.is_empty())
    );
}

#[test]
fn every_key_of_a_profile_has_a_row_on_its_machine() {
    for (name, fixture) in Fixture::of_every_profile() {
        let profile = Profile::built_in(name).expect("ours");
        let shape = probe(fixture.root());
        let settings = Settings::parse("s", SETTINGS).expect("right");
        let plan = Plan::make(&settings, &profile, &Machine::whole(&shape)).expect("it fits");
        let rows = rows(fixture.root(), &plan, &profile, &shape, &[]);
        let told = |key: &str| rows.iter().any(|row| row.key.starts_with(key));
        assert_eq!(
            told("block.scheduler"),
            profile.block.scheduler.is_some(),
            "{name}"
        );
        assert_eq!(
            told("block.timeout"),
            profile.block.timeout.is_some(),
            "{name}"
        );
        assert_eq!(
            told("cpu.governor"),
            profile.cpu.governor.is_some(),
            "{name}"
        );
        assert_eq!(
            told("cpu.idle_exit_us"),
            profile.cpu.idle_exit_us.is_some(),
            "{name}"
        );
        assert_eq!(told("nic.queues"), profile.nic.queues.is_some(), "{name}");
        assert_eq!(
            told("memory.hugepages"),
            profile.memory.hugepages.is_some(),
            "{name}"
        );
        assert_eq!(
            told("watchdog.timeout"),
            profile.watchdog.timeout.is_some(),
            "{name}"
        );
        assert_eq!(told("kernel.isolate"), profile.kernel.isolate, "{name}");
        assert!(told("zones.storage"), "{name}");
    }
}

#[test]
fn queues_that_the_kernel_spreads_are_not_ours_to_move() {
    assert!(is_managed("nvme0q3") && is_managed("nvme12q10"));
    assert!(!is_managed("nvme0q0") && !is_managed("virtio2-req.0"));
}

#[test]
fn an_interrupt_that_the_kernel_keeps_where_it_is_cannot_be_had_here() {
    let (fixture, plan, profile, shape) = numa();
    let left = |why: &str| Difference {
        key: "irq.others".into(),
        what: "/proc/irq/9/smp_affinity_list".into(),
        promised: "0".into(),
        found: "0-7".into(),
        why: why.into(),
    };
    for (why, verdict) in [
        (
            "Operation not permitted (os error 1)",
            Verdict::NotPossibleHere,
        ),
        ("Input/output error (os error 5)", Verdict::NotPossibleHere),
        ("No space left on device (os error 28)", Verdict::Differs),
    ] {
        let rows = rows(fixture.root(), &plan, &profile, &shape, &[left(why)]);
        let row = rows.iter().find(|row| row.what.contains("(acpi)"));
        assert_eq!(row.expect("told").verdict, verdict, "{why}");
    }
}
