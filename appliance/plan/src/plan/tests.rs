mod spool;

use std::path::Path;

use super::*;
use crate::units::Size;

fn machine(cpus: usize, memory_bytes: u64) -> Machine {
    Machine {
        cpus: (0..cpus).collect(),
        memory_bytes,
        open_files: OPEN_FILES_WANTED,
        topology: crate::machine::Topology::default(),
    }
}

fn trial(machine: &Machine) -> Result<Plan, Misfit> {
    let settings = Settings::trial(Path::new("var"), Size(1 << 30), 3000)?;
    Plan::make(&settings, &Profile::generic(), machine)
}

fn told(text: &str) -> String {
    Settings::parse("ringpost.toml", text)
        .expect_err("it is wrong")
        .to_string()
}

/// The settings' text with what every file needs in front; `rest` begins on line 3.
fn with(rest: &str) -> String {
    format!("[volume]\nlegs = [\"/dev/a\", \"/dev/b\"]\n{rest}")
}

#[test]
fn one_two_and_many_cpus_each_get_a_whole_house() {
    for (cpus, threads) in [(1, 1), (2, 2), (3, 3), (4, 4), (8, 8), (128, 33)] {
        let plan = trial(&machine(cpus, 8 << 30)).expect("it fits");
        assert_eq!(plan.cores.len(), threads, "{cpus} CPUs");
        assert_eq!(plan.cores_of(Zone::Storage).count(), 1);
        for zone in Zone::ALL {
            assert!(
                plan.cores_of(zone).count() >= 1,
                "{cpus} CPUs run {}",
                zone.name()
            );
        }
    }
    let plan = trial(&machine(1, 8 << 30)).expect("it fits");
    assert_eq!(
        plan.cores[0].zones,
        [Zone::Storage, Zone::Inbound, Zone::Client]
    );
    let plan = trial(&machine(2, 8 << 30)).expect("it fits");
    assert_eq!(plan.cores[1].zones, [Zone::Inbound, Zone::Client]);
    assert_eq!(
        plan.cores[1].cpu, None,
        "no thread is pinned where there is no other CPU"
    );
    let plan = trial(&machine(4, 8 << 30)).expect("it fits");
    assert_eq!(plan.cores[1].cpu, Some(1));
}

#[test]
fn computed_limits_fit_every_machine_from_the_least_upwards() {
    for mib in [704, 720, 1024, 2048, 4096, 16384, 1 << 20] {
        let plan =
            trial(&machine(4, mib << 20)).unwrap_or_else(|misfit| panic!("{mib} MiB: {misfit}"));
        let sum: u64 = plan.memory.iter().map(|line| line.bytes).sum();
        assert!(sum <= plan.memory_bytes);
    }
}

#[test]
fn too_little_memory_is_said_at_once() {
    let misfit = trial(&machine(4, 256 << 20))
        .expect_err("too small")
        .to_string();
    assert!(
        misfit.contains("192MiB") && misfit.contains("524MiB"),
        "{misfit}"
    );
}

#[test]
fn limits_that_do_not_fit_are_refused_with_the_one_to_lower() {
    let text = with("[limits]\nimap_connections = 1_000_000\n");
    let settings = Settings::parse(
        "ringpost.toml",
        &with("[listen]\nimap = [\"0.0.0.0:143\"]\n"),
    )
    .expect("right");
    assert!(Plan::make(&settings, &Profile::generic(), &machine(4, 8 << 30)).is_ok());
    let settings = Settings::parse(
        "ringpost.toml",
        &(text + "[listen]\nimap = [\"0.0.0.0:143\"]\n"),
    )
    .expect("right");
    let misfit = Plan::make(&settings, &Profile::generic(), &machine(4, 8 << 30))
        .expect_err("too much")
        .to_string();
    assert!(misfit.contains("lower limits.imap_connections"), "{misfit}");
}

#[test]
fn a_message_larger_than_the_receive_memory_is_refused() {
    let settings = Settings::parse("f", &with("[memory]\nreceive = \"10MiB\"\n")).expect("right");
    let misfit = Plan::make(&settings, &Profile::generic(), &machine(4, 8 << 30))
        .expect_err("too small")
        .to_string();
    assert!(misfit.contains("lower limits.message"), "{misfit}");
}

#[test]
fn a_wrong_file_is_refused_with_its_line_and_what_to_write() {
    let cases = [
        (
            with("[limits]\nimap_conections = 5\n"),
            ":4: ",
            "write `imap_connections`",
        ),
        (with("[limitz]\n"), ":3: ", "write `limits`"),
        (with("[limits]\nmessage = \"50MB\"\n"), ":4: ", "\"64MiB\""),
        (
            with("[limits]\nmessage = \"1KiB\"\n"),
            ":4: ",
            "64KiB to 1GiB",
        ),
        (
            with("[listen]\nsmtp = [\"25\"]\n"),
            ":4: ",
            "socket address",
        ),
        (with("[log]\nformat = \"jason\"\n"), ":4: ", "write `json`"),
        (with("compression = 99\n"), ":3: ", "0 (off) to 9"),
        ("[volume]\nlegs = []\n".into(), ":2: ", "name two devices"),
        (
            "[volume]\nlegs = [\"/dev/a\", \"/dev/a\"]\n".into(),
            ":2: ",
            "named twice",
        ),
        ("[volume\n".into(), ":1: ", "]"),
        ("".into(), ": ", "[volume] is missing"),
        (with("[tls]\nkey = \"k\"\n"), "", "together"),
    ];
    for (text, line, what) in cases {
        let told = told(&text);
        assert!(
            told.contains(&format!("ringpost.toml{line}")) && told.contains(what),
            "{text:?} gave: {told}"
        );
        assert!(!told.contains('\n'), "one sentence: {told}");
    }
}

#[test]
fn a_profile_may_place_zones_but_not_on_other_peoples_cpus() {
    let profile = Profile::parse(
        "p",
        "name = \"p\"\n[zones]\nstorage = [3]\ninbound = [1, 2]\nclient = [1]\n",
    )
    .expect("right");
    let settings = Settings::trial(Path::new("var"), Size(1 << 30), 3000).expect("right");
    let plan = Plan::make(&settings, &profile, &machine(4, 8 << 30)).expect("it fits");
    assert_eq!(plan.cores.len(), 3);
    assert_eq!(plan.cores_of(Zone::Inbound).count(), 2);
    let misfit = Plan::make(&settings, &profile, &machine(2, 8 << 30))
        .expect_err("no CPU 3")
        .to_string();
    assert!(
        misfit.contains("CPU 3") && misfit.contains("0-1"),
        "{misfit}"
    );
    assert!(Profile::parse("p", "name = \"p\"\n[zones]\nstorage = [0, 1]\n").is_err());
}

#[test]
fn a_port_base_that_leaves_no_ports_is_refused() {
    assert!(Settings::trial(Path::new("var"), Size(1 << 30), 64_000).is_ok());
    let misfit = Settings::trial(Path::new("var"), Size(1 << 30), 65_000)
        .expect_err("too high")
        .to_string();
    assert!(misfit.contains("64540"), "{misfit}");
}

#[test]
fn small_legs_get_small_segments_and_tiny_ones_are_refused() {
    let segment = |leg_bytes: u64| {
        let settings = Settings::trial(Path::new("var"), Size(leg_bytes), 3000).expect("right");
        Plan::make(&settings, &Profile::generic(), &machine(2, 8 << 30))
            .map(|plan| plan.storage.segment_bytes)
    };
    assert_eq!(segment(1 << 40), Ok(64 << 20));
    assert_eq!(segment(1 << 30), Ok(16 << 20));
    assert_eq!(segment(64 << 20), Ok(4 << 20));
    assert!(segment(1 << 20).is_err_and(|misfit| misfit.to_string().contains("64MiB")));
    assert!(segment((1 << 30) + 1).is_err());
}

fn with_open_files(open_files: u64) -> Machine {
    Machine {
        open_files,
        ..machine(2, 8 << 30)
    }
}

/// `ulimit -n 256`: fewer connections, and all that the engine and the operator need beside them.
#[test]
fn connections_shrink_to_the_open_files_that_there_are() {
    for open_files in [256, 1_024, 4_096, 65_536] {
        let plan = trial(&with_open_files(open_files)).expect("it fits");
        let sum: u64 = plan.descriptors.iter().map(|line| line.count).sum();
        assert!(sum <= open_files, "{sum} of {open_files}");
        let fixed = plan.descriptors.iter().filter(|line| line.lower.is_empty());
        assert!(fixed.map(|line| line.count).sum::<u64>() > 100);
        for listener in &plan.listeners {
            assert!(listener.connections_max >= CONNECTIONS_MIN, "{listener:?}");
        }
    }
    let plan = trial(&with_open_files(65_536)).expect("it fits");
    assert_eq!(
        plan.listeners,
        trial(&machine(2, 8 << 30)).expect("it fits").listeners
    );
    let few = trial(&with_open_files(1_024)).expect("it fits");
    let of = |service| few.listener(service).expect("listens").connections_max;
    assert!(of(Service::Imap) > 2 * of(Service::Smtp), "in proportion");
}

#[test]
fn what_cannot_fit_the_open_files_is_refused_with_what_to_raise() {
    let misfit = trial(&with_open_files(64))
        .expect_err("too few")
        .to_string();
    assert!(
        misfit.contains("ulimit -n") && misfit.contains("64"),
        "{misfit}"
    );
    let settings = Settings::parse(
        "f",
        &with("[limits]\nimap_connections = 5000\n[listen]\nimap = [\"127.0.0.1:3143\"]\n"),
    )
    .expect("right");
    let misfit = Plan::make(&settings, &Profile::generic(), &with_open_files(1_024))
        .expect_err("a written limit stands")
        .to_string();
    assert!(
        misfit.contains("limits.imap_connections (5000)"),
        "{misfit}"
    );
    assert!(Plan::make(&settings, &Profile::generic(), &with_open_files(8_192)).is_ok());
}

#[test]
fn a_silent_leg_is_waited_for_as_long_as_its_kind_may_take() {
    let deadline_s = |settings: &Settings, machine: &Machine| {
        let plan = Plan::make(settings, &Profile::generic(), machine).expect("it fits");
        plan.storage.hard_deadline_us / 1_000_000
    };
    let mut turning = machine(2, 8 << 30);
    turning.topology.turning_disks = true;
    let devices = Settings::parse("f", &with("")).expect("right");
    assert_eq!(deadline_s(&devices, &machine(2, 8 << 30)), 2);
    assert_eq!(deadline_s(&devices, &turning), 15);
    let files = Settings::trial(Path::new("var"), Size(1 << 30), 3000).expect("right");
    assert_eq!(deadline_s(&files, &machine(2, 8 << 30)), 15);
}

/// DESIGN.md B3: 2 s NVMe, 5 s SAN, 15 s arrays of turning disks and everything that imitates them.
#[test]
fn no_profile_lets_a_silent_leg_hold_mail_for_longer_than_its_kind_may_take() {
    for (name, _) in crate::profile::BUILT_IN {
        let profile = Profile::built_in(name).expect("ours");
        let deadline = profile.storage.hard_deadline.map(|span| span.0);
        let expected = match name {
            "generic" => None,
            name if name.contains("nvme") && !name.contains("san") => Some(DEADLINE_SOLID_STATE),
            name if name.contains("san") => Some(DEADLINE_SAN),
            _ => Some(DEADLINE_TURNING),
        };
        assert_eq!(deadline, expected, "{name}");
    }
}

#[test]
fn threads_that_look_names_up_are_paid_for() {
    let of = |rest: &str, cpus: usize| {
        let settings = Settings::parse("f", &with(rest)).expect("right");
        Plan::make(&settings, &Profile::generic(), &machine(cpus, 8 << 30)).expect("it fits")
    };
    let counted = |plan: &Plan| {
        let memory = plan
            .memory
            .iter()
            .find(|line| line.what == "names looked up");
        let sockets = plan.descriptors.iter();
        let sockets = sockets.filter(|line| line.what == "names looked up");
        let sockets: u64 = sockets.map(|line| line.count).sum();
        let bytes = memory.expect("a line").bytes;
        (bytes / RESOLVER_BYTES, sockets / RESOLVER_DESCRIPTORS)
    };
    let plan = of("", 2);
    assert_eq!(plan.authentication, Authentication::Enforce);
    assert_eq!(counted(&plan), (2, 2), "one thread receives, and sends");
    let plan = of("", 8);
    let receiving = plan.cores_of(Zone::Inbound).count() as u64;
    assert_eq!(counted(&plan), (receiving + 1, receiving + 1));
    // Only sending is left.
    let plan = of("[inbound]\nauthentication = \"off\"\n", 8);
    assert_eq!(counted(&plan), (1, 0));
    // The door looks names up by itself.
    for door in [
        "reverse_name = true\n",
        "[[door.list]]\nzone = \"bl.example\"\n",
    ] {
        let settings = format!("[inbound]\nauthentication = \"off\"\n[door]\n{door}");
        let asking = receiving + 1;
        assert_eq!(counted(&of(&settings, 8)), (asking, asking), "{door}");
    }
    let plan = of(
        "[inbound]\nauthentication = \"report\"\n[dns]\nservers = [\"192.0.2.1:53\"]\n",
        8,
    );
    assert_eq!(plan.authentication, Authentication::Report);
    assert_eq!(
        plan.name_servers,
        ["192.0.2.1:53".parse().expect("an address")]
    );
    let plan = trial(&machine(8, 8 << 30)).expect("it fits");
    assert_eq!(plan.authentication, Authentication::Off);
}

#[test]
fn name_servers_are_at_most_three() {
    let four = "[dns]\nservers = [\"192.0.2.1:53\", \"192.0.2.2:53\", \"192.0.2.3:53\", \"[2001:db8::1]:53\"]\n";
    assert!(told(&with(four)).contains("dns.servers: write at most 3"));
    assert!(told(&with("[dns]\nservers = [\"192.0.2.1\"]\n")).contains("ringpost.toml:4"));
    assert!(told(&with("[inbound]\nauthentication = \"on\"\n")).contains("enforce"));
}
