use std::fs;

use hardware::fixture::{Fixture, Kind};

use super::*;

const SMALL: &str = "[volume]\ncreate = true\n[listen]\nsmtp = [\"0.0.0.0:25\"]\n";

/// The machine that `qemu-small` is for, with a clock that was set and a state partition.
fn small() -> Fixture {
    Fixture::new()
        .dmi("QEMU", "Standard PC (Q35 + ICH9, 2009)")
        .cpus(2, 1)
        .memory(2 << 30)
        .disk("vda", Kind::Virtio, 1 << 30, None, &["virtio-leg-a"])
        .disk("vdb", Kind::Virtio, 1 << 30, None, &["virtio-leg-b"])
        .partitioned("vdc", Kind::Virtio, 1 << 30)
        .nic("eth0", "virtio_net", 1, None)
        .file("proc/mounts", "/dev/vdc2 /var/lib/ringpost ext4 rw 0 0\n")
        .file("proc/cmdline", "quiet\n")
        .file("proc/sys/kernel/hostname", "firmware\n")
        .file("sys/class/watchdog/watchdog0/timeout", "120\n")
        .file("sys/class/watchdog/watchdog0/state", "active\n")
}

fn world(fixture: &Fixture) -> World {
    World {
        root: fixture.root().to_owned(),
        credentials: Some(fixture.root().join("credentials")),
        wait: Duration::ZERO,
        now: crate::limits::CLOCK_MIN,
        usb: Box::new(|| None),
        command: Box::new(|_, _| Ok(())),
    }
}

fn read(fixture: &Fixture, path: &str) -> String {
    fs::read_to_string(fixture.root().join(path)).unwrap_or_default()
}

#[test]
fn a_credential_alone_makes_a_box_ready() {
    let fixture = small()
        .file("credentials/ringpost.config", SMALL)
        .file("etc/os-release", "ID=debian\nIMAGE_VERSION=\"1.2.3\"\n");
    let (outcome, report) = run(&world(&fixture));
    assert_eq!(outcome, Outcome::Ready, "{report:#?}");
    assert_eq!(report.version, "1.2.3", "of the image, not of the program");
    let profile = report.profile.as_ref().expect("chosen");
    assert_eq!(profile.name, "qemu-small");
    assert!(profile.why.contains("vendor QEMU"), "{}", profile.why);
    assert_eq!(
        (report.missing.len(), report.alarms.len()),
        (0, 0),
        "{report:#?}"
    );
    assert_eq!(report.differences, []);
    let settings = Settings::parse("f", &read(&fixture, SETTINGS)).expect("whole");
    assert_eq!(settings.profile(), "qemu-small");
    assert_eq!(
        settings.volume.legs.get_ref()[1],
        PathBuf::from("/dev/disk/by-id/virtio-leg-b")
    );
    assert!(
        !fixture.root().join(APPLIED).exists(),
        "a credential comes again"
    );
    assert!(read(&fixture, "run/systemd/network/80-ringpost-dhcp.network").contains("DHCP=yes"));
    let written: Report = serde_json::from_str(&read(&fixture, report::PATH)).expect("JSON");
    assert_eq!(written, report);
}

#[test]
fn a_stick_is_applied_once_and_its_passwords_are_hashed_and_removed() {
    let fixture = small();
    let stick = fixture.root().join("stick");
    fs::create_dir_all(&stick).expect("our own");
    let people = "[[domain]]\nname = \"example.org\"\n[[account]]\naddress = \"alice@example.org\"\npassword_file = \"alice\"\n";
    fs::write(stick.join("ringpost.toml"), format!("{SMALL}{people}")).expect("our own");
    fs::write(stick.join("alice"), "opensesame\n").expect("our own");
    let mut with_stick = world(&fixture);
    let at = stick.clone();
    with_stick.usb = Box::new(move || Some(at.clone()));
    let (outcome, report) = run(&with_stick);
    assert_eq!(outcome, Outcome::Ready, "{report:#?}");
    assert!(!stick.join("alice").exists());
    for path in [APPLIED, SETTINGS] {
        let text = read(&fixture, path);
        assert!(
            text.contains("$argon2id$") && !text.contains("opensesame"),
            "{text}"
        );
    }
    assert!(
        !read(&fixture, report::PATH).contains("argon2id"),
        "a secret in the report"
    );
    // The stick is gone; the box knows.
    let (outcome, report) = run(&world(&fixture));
    assert_eq!(outcome, Outcome::Ready);
    assert!(report.settings.expect("found").contains("applied"));
}

#[test]
fn nobody_said_anything_and_the_set_up_screen_is_asked_for() {
    let fixture = small();
    let (outcome, report) = run(&world(&fixture));
    assert_eq!(outcome, Outcome::NoSettings);
    assert!(!fixture.root().join(SETTINGS).exists());
    assert_eq!(
        report.profile.expect("tuned all the same").name,
        "qemu-small"
    );
    assert!(!report.files.is_empty(), "the network comes up by DHCP");
}

/// The set-up screen's path: a first run finds nothing and asks for DHCP, the second has a static address.
#[test]
fn settings_that_come_later_replace_the_network_of_a_box_without_settings() {
    let fixture = small();
    let (outcome, _) = run(&world(&fixture));
    assert_eq!(outcome, Outcome::NoSettings);
    let dhcp = "run/systemd/network/80-ringpost-dhcp.network";
    assert!(read(&fixture, dhcp).contains("DHCP=yes"));
    let address = "[[network.interface]]\nname = \"eth0\"\naddress = [\"192.0.2.10/24\"]\n";
    let fixture = fixture.file(APPLIED, &format!("{SMALL}{address}"));
    let (outcome, report) = run(&world(&fixture));
    assert_eq!(outcome, Outcome::Ready, "{report:#?}");
    assert_eq!(
        read(&fixture, dhcp),
        "",
        "it would ask by DHCP on other cards"
    );
    assert!(
        read(&fixture, "run/systemd/network/50-ringpost-eth0.network").contains("192.0.2.10/24")
    );
}

#[test]
fn wrong_settings_are_refused_with_line_and_fix_and_older_ones_are_not_taken() {
    let fixture = small()
        .file("credentials/ringpost.config", "[volume]\ncraete = true\n")
        .file(APPLIED, SMALL);
    let (outcome, report) = run(&world(&fixture));
    assert_eq!(outcome, Outcome::Refused);
    let refused = report.refused.expect("told");
    assert!(
        refused.contains("ringpost.config:2") && refused.contains("write `create`"),
        "{refused}"
    );
    assert!(!fixture.root().join(SETTINGS).exists());
}

#[test]
fn settings_that_do_not_fit_the_machine_are_refused_before_the_daemon_starts() {
    let fixture = small().file(
        "credentials/ringpost.config",
        &format!("{SMALL}imap = [\"0.0.0.0:143\"]\n[limits]\nimap_connections = 1000000\n"),
    );
    let (outcome, report) = run(&world(&fixture));
    assert_eq!(outcome, Outcome::Refused);
    assert!(
        report
            .refused
            .expect("told")
            .contains("limits.imap_connections")
    );
}

#[test]
fn legs_that_nobody_names_are_asked_for_with_what_is_there() {
    let fixture = Fixture::new()
        .cpus(4, 1)
        .memory(4 << 30)
        .disk("sda", Kind::Sata, 1 << 30, None, &["ata-one"])
        .file("credentials/ringpost.config", SMALL);
    let (outcome, report) = run(&world(&fixture));
    assert_eq!(outcome, Outcome::Refused);
    let refused = report.refused.expect("told");
    assert!(
        refused.contains("volume.legs") && refused.contains("/dev/disk/by-id/ata-one"),
        "{refused}"
    );
}

#[test]
fn what_is_missing_is_named() {
    let fixture = Fixture::new()
        .cpus(4, 1)
        .memory(4 << 30)
        .partitioned("vdc", Kind::Virtio, 1 << 30)
        .file("proc/mounts", "tmpfs /var/lib/ringpost tmpfs rw 0 0\n")
        .file(
            "credentials/ringpost.config",
            "[volume]\nlegs = [\"/dev/vdc\", \"/dev/gone\"]\n[tls]\ncertificate = \"/c.pem\"\nkey = \"/k.pem\"\n\
             [[network.interface]]\nname = \"eth7\"\ndhcp = true\n",
        );
    let mut world = world(&fixture);
    world.now = 5;
    let (outcome, report) = run(&world);
    assert_eq!(
        outcome,
        Outcome::Ready,
        "the daemon has the last word: {report:#?}"
    );
    let (missing, alarms) = (report.missing.join("\n"), report.alarms.join("\n"));
    for what in [
        "vdc, a disk with partitions",
        "no network card was found:",
        "/c.pem",
        "/k.pem",
    ] {
        assert!(missing.contains(what), "{what} in {missing}");
    }
    for what in [
        "leg /dev/gone is missing",
        "no state partition",
        "the clock",
        "eth7",
    ] {
        assert!(alarms.contains(what), "{what} in {alarms}");
    }
}

#[test]
fn a_profile_that_is_pinned_is_taken_and_what_it_promises_in_vain_is_told() {
    let fixture = small().file(
        "credentials/ringpost.config",
        &format!("[server]\nprofile = \"rack-1u-dual-nvme\"\n{SMALL}"),
    );
    let text = read(&fixture, "credentials/ringpost.config").replace(
        "create = true",
        "create = true\nlegs = [\"/dev/disk/by-id/virtio-leg-a\", \"/dev/disk/by-id/virtio-leg-b\"]",
    );
    fs::write(fixture.root().join("credentials/ringpost.config"), text).expect("our own");
    let (outcome, report) = run(&world(&fixture));
    assert_eq!(outcome, Outcome::Ready, "{report:#?}");
    let profile = report.profile.expect("chosen");
    assert!(profile.pinned && profile.name == "rack-1u-dual-nvme");
    let keys: Vec<&str> = report.differences.iter().map(|d| d.key.as_str()).collect();
    // The fixture's watchdog takes no new time-out; two CPUs leave nothing to set aside, so nothing is isolated.
    assert_eq!(keys, ["watchdog.timeout"]);
}

#[test]
fn an_oems_profile_stands_before_ours_and_the_daemon_is_given_its_file() {
    let fixture = small()
        .file(
            "usr/share/ringpost/hw-profiles/small.toml",
            "name = \"qemu-small\"\nabout = \"theirs\"\n[match]\nvendor = \"QEMU\"\n[mirror]\nlegs = [\"*leg-a\", \"*leg-b\"]\n",
        )
        .file("credentials/ringpost.config", SMALL);
    let (outcome, report) = run(&world(&fixture));
    assert_eq!(outcome, Outcome::Ready, "{report:#?}");
    let settings = Settings::parse("f", &read(&fixture, SETTINGS)).expect("whole");
    assert_eq!(
        settings.profile(),
        "/usr/share/ringpost/hw-profiles/small.toml"
    );
}

#[test]
fn a_factory_reset_brings_the_set_up_screen_back() {
    let fixture = small()
        .file(APPLIED, SMALL)
        .file("var/lib/ringpost/factory-reset", "");
    let (outcome, report) = run(&world(&fixture));
    assert_eq!(outcome, Outcome::NoSettings);
    assert!(report.alarms[0].contains("factory reset"));
}

#[test]
fn a_card_that_was_brought_up_later_is_tuned_as_well() {
    let (_, fixture) = Fixture::of_every_profile()
        .into_iter()
        .find(|(name, _)| *name == "qemu-numa")
        .expect("listed");
    let fixture = fixture.file("credentials/ringpost.config", SMALL);
    let world = world(&fixture);
    let (_, report) = run(&world);
    assert_eq!(report.profile.as_ref().expect("chosen").name, "qemu-numa");
    let kernel = |report: &Report| {
        let kernel = report.differences.iter();
        kernel
            .filter(|difference| difference.key == "kernel")
            .count()
    };
    assert_eq!(kernel(&report), 4, "{report:#?}");
    let fixture = fixture.irq(32, "eth0-rx-2", 8);
    let later = again(&world).expect("tuned");
    let placed = read(&fixture, "proc/irq/32/smp_affinity_list");
    assert_eq!(placed, "3", "inbound's third CPU");
    assert_eq!(kernel(&later), 4, "a state that is not a step stays");
    let written: Report = serde_json::from_str(&read(&fixture, report::PATH)).expect("JSON");
    assert_eq!(written, later);
}

#[test]
fn nothing_is_tuned_before_the_boot() {
    assert!(again(&world(&small())).is_err());
}

#[test]
fn legs_on_a_san_are_not_waited_for_and_their_secrets_stay_with_root() {
    let leg = "/dev/disk/by-id/scsi-360000000000000000e00000000010001";
    let text = format!(
        "[volume]\nlegs = [\"/dev/disk/by-id/virtio-leg-a\", \"{leg}\"]\n\
         [[san]]\nkind = \"iscsi\"\ntarget = \"iqn.2026-11.org.example:mail\"\nhost = \"iqn.2026-11.org.example:box1\"\n\
         address = [\"192.0.2.20:3260\"]\nuser = \"box1\"\nsecret = \"open-sesame-1\"\nlegs = [\"{leg}\"]\n"
    );
    let fixture = small().file("credentials/ringpost.config", &text);
    let world = World {
        // Longer than any test: it would hang here if the leg were waited for.
        wait: Duration::from_secs(24 * 3600),
        ..world(&fixture)
    };
    let (outcome, report) = run(&world);
    assert_eq!(outcome, Outcome::Ready, "{report:#?}");
    assert_eq!(report.missing.len() + report.alarms.len(), 0, "{report:#?}");
    assert_eq!(report.shape.san, [plan::shape::San::Iscsi]);
    let whole = read(&fixture, san::PRIVATE);
    assert!(
        whole.contains("open-sesame-1") && !whole.contains("volume"),
        "{whole}"
    );
    let meta = fs::metadata(fixture.root().join(san::PRIVATE)).expect("written");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777,
        0o600
    );
    for path in [SETTINGS, hardware::san::PATH, report::PATH] {
        let text = read(&fixture, path);
        assert!(
            !text.is_empty() && !text.contains("open-sesame-1"),
            "{path}: {text}"
        );
    }
    assert!(read(&fixture, SETTINGS).contains("iqn.2026-11.org.example:mail"));
    let wanted = hardware::san::wanted(fixture.root()).expect("readable");
    assert_eq!(wanted[0].legs, [leg]);
    // Settings came anew without it.
    fs::write(fixture.root().join("credentials/ringpost.config"), SMALL).expect("our own");
    let (outcome, _) = run(&world);
    assert_eq!(outcome, Outcome::Ready);
    assert!(!fixture.root().join(san::PRIVATE).exists());
}
