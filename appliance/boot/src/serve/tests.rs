use std::cell::RefCell;
use std::fs;
use std::rc::Rc;

use hardware::fixture::{Fixture, Kind as Disk};

use super::*;
use crate::find::APPLIED;
use crate::run::{Outcome as Booted, run};
use crate::world::SETTINGS;

const BASE: &str = "# ours\n[volume]\nlegs = [\"/dev/disk/by-id/virtio-leg-a\", \"/dev/disk/by-id/virtio-leg-b\"]\n\
    [listen]\nsmtp = [\"0.0.0.0:25\"]\nhttps = [\"0.0.0.0:443\"]\n";
const LEG_C: &str = "/dev/disk/by-id/virtio-leg-c";
const DHCP: &str = "run/systemd/network/80-ringpost-dhcp.network";
const STATIC: &str = "run/systemd/network/50-ringpost-eth0.network";
const ADDRESS: &str = "[[network.interface]]\nname = \"eth0\"\naddress = [\"192.0.2.10/24\"]\n";

/// A box that was started, and what it told systemd.
struct Box_ {
    fixture: Fixture,
    world: World,
    told: Rc<RefCell<Vec<String>>>,
}

/// The box, with these settings applied, after its start.
fn started(applied: &str) -> Box_ {
    let fixture = Fixture::new()
        .dmi("QEMU", "Standard PC (Q35 + ICH9, 2009)")
        .cpus(2, 1)
        .memory(2 << 30)
        .disk("vda", Disk::Virtio, 1 << 30, None, &["virtio-leg-a"])
        .disk("vdb", Disk::Virtio, 1 << 30, None, &["virtio-leg-b"])
        .disk("vdd", Disk::Virtio, 1 << 30, None, &["virtio-leg-c"])
        .nic("eth0", "virtio_net", 1, None)
        .file("proc/mounts", "/dev/vdc2 /var/lib/ringpost ext4 rw 0 0\n")
        .file("proc/cmdline", "quiet\n")
        .file("proc/sys/kernel/hostname", "firmware\n")
        .file("sys/class/watchdog/watchdog0/timeout", "120\n")
        .file("sys/class/watchdog/watchdog0/state", "active\n")
        .file(APPLIED, applied);
    let told = Rc::new(RefCell::new(Vec::new()));
    let hears = told.clone();
    let world = World {
        root: fixture.root().to_owned(),
        credentials: Some(fixture.root().join("credentials")),
        wait: Duration::ZERO,
        now: crate::limits::CLOCK_MIN,
        usb: Box::new(|| None),
        command: Box::new(move |program, words| {
            hears
                .borrow_mut()
                .push(format!("{program} {}", words.join(" ")));
            Ok(())
        }),
    };
    let mut this = Box_ {
        fixture,
        world,
        told,
    };
    assert_eq!(this.restart("first"), Booted::Ready);
    this
}

impl Box_ {
    fn restart(&mut self, boot: &str) -> Booted {
        self.put("proc/sys/kernel/random/boot_id", boot);
        self.at(10);
        let (outcome, report) = run(&self.world);
        assert_eq!(report.refused, None);
        self.told.borrow_mut().clear();
        outcome
    }

    /// Seconds since it was switched on.
    fn at(&self, uptime: u64) {
        self.put("proc/uptime", &format!("{uptime}.00 1.00\n"));
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.fixture.root().join(path);
        fs::create_dir_all(path.parent().expect("below")).expect("ours");
        fs::write(path, text).expect("ours");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.fixture.root().join(path)).unwrap_or_default()
    }

    fn apply(&self, text: &str) -> Outcome {
        self.apply_with(text, &[])
    }

    fn apply_with(&self, text: &str, legs: &[&str]) -> Outcome {
        answer(
            &self.world,
            &Request::Apply {
                name: "box.toml".into(),
                text: text.into(),
                legs: legs.iter().map(|leg| (*leg).to_owned()).collect(),
                within_s: 300,
                who: "anna".into(),
            },
        )
    }

    fn applied(&self, text: &str) -> Checked {
        match self.apply(text) {
            Outcome::Applied(checked) => checked,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&self, text: &str) -> String {
        match self.apply(text) {
            Outcome::Refused { reason } => reason,
            other => panic!("{other:?}"),
        }
    }

    fn confirm(&self, connected: u64) -> Outcome {
        let (who, connected_ms) = ("anna".into(), connected * 1_000);
        answer(&self.world, &Request::Confirm { who, connected_ms })
    }

    fn shown(&self) -> Shown {
        match answer(&self.world, &Request::Show) {
            Outcome::Shown(shown) => shown,
            other => panic!("{other:?}"),
        }
    }

    fn history(&self) -> String {
        let lines = history::list(&self.world.root).expect("readable");
        let did: Vec<String> = lines
            .iter()
            .map(|line| format!("{} by {}: {}", line.did, line.who, line.keys.join(" ")))
            .collect();
        did.join("\n")
    }

    fn incidents(&self) -> Vec<Kind> {
        let all = incident::list(&self.world.root.join(STATE));
        all.iter().map(|incident| incident.kind).collect()
    }
}

fn refusal(outcome: Outcome) -> String {
    match outcome {
        Outcome::Refused { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn settings_of_a_credential_are_shown_and_not_changed_here() {
    let this = started(BASE);
    this.put("credentials/ringpost.config", BASE);
    let why = this.refused("[time]\n");
    assert!(
        why.contains("credential") && why.contains("overrides"),
        "{why}"
    );
    let shown = this.shown();
    assert!(shown.fixed.is_some() && shown.text == BASE);
}

#[test]
fn a_time_server_is_asked_at_once_and_the_settings_before_are_kept() {
    let this = started(BASE);
    let new = format!("{BASE}[time]\nntp = [\"192.0.2.1\"]\n");
    let checked = this.applied(&new);
    assert_eq!(checked.probation, Probation::No, "{checked:?}");
    assert_eq!((checked.mistakes.len(), checked.notes.len()), (0, 1));
    assert_eq!(
        (this.read(APPLIED), this.read(PREVIOUS)),
        (new, BASE.into())
    );
    assert!(
        this.read("run/systemd/timesyncd.conf.d/50-ringpost.conf")
            .contains("192.0.2.1")
    );
    assert_eq!(
        *this.told.borrow(),
        ["systemctl try-restart systemd-timesyncd.service"]
    );
    assert_eq!(this.history(), "applied by anna: time.ntp");
    // And back.
    let reverted = answer(
        &this.world,
        &Request::Revert {
            legs: Vec::new(),
            within_s: 300,
            who: "ben".into(),
        },
    );
    assert!(matches!(reverted, Outcome::Applied(_)), "{reverted:?}");
    assert_eq!(this.read(APPLIED), BASE);
}

#[test]
fn an_address_is_in_force_on_probation_and_stays_when_a_new_connection_confirms_it() {
    let mut this = started(BASE);
    let new = format!("{BASE}{ADDRESS}[server]\nname = \"mail.example.org\"\n");
    let checked = this.applied(&new);
    assert_eq!((checked.probation, checked.within_s), (Probation::Now, 300));
    assert!(this.read(STATIC).is_empty(), "the answer goes first");
    assert!(refusal(this.confirm(10)).contains("not in force yet"));
    this.at(20);
    assert!(tick(&this.world).expect("ticks").is_some());
    assert!(this.read(STATIC).contains("192.0.2.10/24") && this.read(DHCP).is_empty());
    assert_eq!(this.read("proc/sys/kernel/hostname"), "mail");
    let told = this.shown().probation.expect("on probation");
    assert_eq!((told.who.as_str(), told.left_s), ("anna", Some(300)));
    assert!(this.refused(BASE).contains("settings confirm"));
    assert_eq!(this.read(APPLIED), BASE, "not before it is confirmed");
    assert!(refusal(this.confirm(19)).contains("older than the settings"));
    this.at(60);
    assert!(matches!(this.confirm(59), Outcome::Confirmed { .. }));
    assert_eq!(
        (this.read(APPLIED), this.read(PREVIOUS)),
        (new, BASE.into())
    );
    assert_eq!(tick(&this.world), Ok(None));
    this.restart("second");
    assert!(this.read(STATIC).contains("192.0.2.10/24"));
    assert_eq!(this.incidents(), []);
}

#[test]
fn an_address_that_nobody_confirms_goes_away_by_itself() {
    let this = started(BASE);
    this.applied(&format!("{BASE}{ADDRESS}"));
    this.at(20);
    assert!(tick(&this.world).expect("ticks").is_some());
    this.at(319);
    assert!(tick(&this.world).expect("ticks").is_some());
    assert!(this.read(STATIC).contains("192.0.2.10/24"));
    this.at(320);
    assert!(refusal(this.confirm(318)).contains("too late"));
    assert_eq!(tick(&this.world), Ok(None));
    assert!(this.read(STATIC).is_empty() && this.read(DHCP).contains("DHCP=yes"));
    let reload = "systemctl reload-or-restart systemd-networkd.service";
    let guard = "systemctl start --no-block ringpost-probation.service";
    assert_eq!(*this.told.borrow(), [guard, reload, reload]);
    assert_eq!(this.incidents(), [Kind::SettingsGivenUp]);
    assert!(
        this.history()
            .contains("reverted: they were not confirmed in time by anna: network")
    );
    assert_eq!(this.shown().probation, None);
    assert_eq!(this.read(APPLIED), BASE);
}

#[test]
fn a_power_cut_on_probation_brings_the_old_address_back() {
    let mut this = started(BASE);
    this.applied(&format!("{BASE}{ADDRESS}"));
    this.at(20);
    assert!(tick(&this.world).expect("ticks").is_some());
    this.restart("second");
    assert!(this.read(STATIC).is_empty() && this.read(DHCP).contains("DHCP=yes"));
    assert!(this.read("run/ringpost/boot.json").contains("reverted"));
    assert!(this.incidents().contains(&Kind::SettingsGivenUp));
}

#[test]
fn a_listener_waits_for_the_restart_is_tried_there_and_restarts_the_box_when_nobody_confirms() {
    let mut this = started(BASE);
    let new = BASE.replace("0.0.0.0:25", "0.0.0.0:2525");
    let checked = this.applied(&new);
    assert_eq!(checked.probation, Probation::NextRestart);
    assert!(refusal(this.confirm(11)).contains("reboot"));
    assert_eq!(tick(&this.world), Ok(None), "nothing to guard yet");
    this.restart("second");
    assert!(this.read(SETTINGS).contains("2525"));
    assert!(tick(&this.world).expect("ticks").is_some());
    this.at(311);
    assert_eq!(tick(&this.world), Ok(None));
    assert_eq!(*this.told.borrow(), ["systemctl --no-block reboot"]);
    this.restart("third");
    assert!(!this.read(SETTINGS).contains("2525"));

    this.applied(&new);
    this.restart("fourth");
    assert!(matches!(this.confirm(12), Outcome::Confirmed { .. }));
    this.restart("fifth");
    assert!(this.read(SETTINGS).contains("2525"));
}

#[test]
fn what_a_start_cannot_carry_out_it_gives_up_in_the_same_start() {
    let mut this = started(BASE);
    this.applied(&BASE.replace("0.0.0.0:25", "0.0.0.0:2525"));
    // As by a machine that lost memory meanwhile.
    this.put(
        CANDIDATE,
        &format!("{BASE}[limits]\nsmtp_connections = 100000000\n"),
    );
    assert_eq!(this.restart("second"), Booted::Ready);
    assert!(this.read(SETTINGS).contains("0.0.0.0:25"));
    let report = this.read("run/ringpost/boot.json");
    assert!(
        report.contains("reverted") && report.contains("limits.smtp_connections"),
        "{report}"
    );
    assert_eq!(this.shown().probation, None);
}

#[test]
fn settings_on_probation_are_taken_back_by_order() {
    let this = started(BASE);
    let revert = Request::Revert {
        legs: Vec::new(),
        within_s: 0,
        who: "ben".into(),
    };
    assert!(refusal(answer(&this.world, &revert)).contains("nothing is on probation"));
    this.applied(&BASE.replace("0.0.0.0:25", "0.0.0.0:2525"));
    assert!(matches!(
        answer(&this.world, &revert),
        Outcome::Reverted { .. }
    ));
    assert_eq!(this.shown().probation, None);
    this.applied(&format!("{BASE}{ADDRESS}"));
    this.at(20);
    assert!(tick(&this.world).expect("ticks").is_some());
    assert!(matches!(
        answer(&this.world, &revert),
        Outcome::Reverted { .. }
    ));
    assert_eq!(tick(&this.world), Ok(None));
    assert!(this.read(STATIC).is_empty());
    assert!(this.history().contains("taken back by ben"));
}

#[test]
fn legs_are_named_only_as_the_volume_has_them() {
    let this = started(BASE);
    let new = BASE.replace("/dev/disk/by-id/virtio-leg-b", LEG_C);
    let why = this.refused(&new);
    assert!(why.contains("leg attach") && why.contains(LEG_C), "{why}");
    // It was attached: another name for it will do.
    let outcome = this.apply_with(&new, &["/dev/vdd", "/dev/disk/by-id/virtio-leg-a"]);
    let Outcome::Applied(checked) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(checked.probation, Probation::NextRestart);
    // Left for the profile to name, they are the same.
    let unnamed = BASE.replace(
        "legs = [\"/dev/disk/by-id/virtio-leg-a\", \"/dev/disk/by-id/virtio-leg-b\"]",
        "",
    );
    let checked = match answer(
        &this.world,
        &Request::Check {
            name: "x".into(),
            text: unnamed,
            legs: Vec::new(),
        },
    ) {
        Outcome::Checked(checked) => checked,
        other => panic!("{other:?}"),
    };
    assert_eq!(checked.mistakes, [] as [&str; 0]);
}

#[test]
fn a_leg_on_a_san_joins_by_settings_and_its_secret_is_not_shown() {
    let this = started(BASE);
    let leg = "/dev/disk/by-id/scsi-360000000000000000e00000000010001";
    let target = format!(
        "[[san]]\nkind = \"iscsi\"\ntarget = \"iqn.2026-11.org.example:mail\"\nhost = \"iqn.2026-11.org.example:box1\"\naddress = [\"192.0.2.20:3260\"]\nuser = \"box1\"\nsecret = \"open-sesame-1\"\nlegs = [\"{leg}\"]\n"
    );
    let with = |legs: &str| {
        format!(
            "{}{target}",
            BASE.replace("/dev/disk/by-id/virtio-leg-b\"", legs)
        )
    };
    // In the place of a local leg that the volume still lies on: no.
    assert!(
        this.refused(&with(&format!("{leg}\"")))
            .contains("leg detach")
    );
    let checked = this.applied(&with(&format!("/dev/disk/by-id/virtio-leg-b\", \"{leg}\"")));
    assert_eq!(checked.probation, Probation::NextRestart);
    assert!(
        checked
            .keys()
            .contains(&"san.iqn.2026-11.org.example:mail.secret".to_owned()),
        "{checked:?}"
    );
    assert!(!format!("{checked:?}").contains("sesame"));
    let mut this = this;
    assert_eq!(this.restart("second"), Booted::Ready);
    let shown = this.shown().text;
    assert!(
        shown.contains("iqn.2026-11") && !shown.contains("sesame"),
        "{shown}"
    );
}

#[test]
fn a_mistake_is_one_sentence_with_the_fix_and_changes_nothing() {
    let this = started(BASE);
    let cases = [
        (
            "[volume]\ncraete = true\n".to_owned(),
            "box.toml:2: unknown key `craete`: write `create`",
        ),
        (
            format!("{BASE}[server]\nname = \"a b\"\n"),
            "neither a host name",
        ),
        (
            format!("{BASE}[server]\nstate = \"/else\"\n"),
            "server.state",
        ),
        (
            format!("{BASE}[server]\nprofile = \"none-such\"\n"),
            "none-such",
        ),
        (
            format!("{BASE}[limits]\nsmtp_connections = 100000000\n"),
            "limits.smtp_connections",
        ),
        (
            format!("{BASE}[tls]\ncertificate = \"/c\"\nkey = \"/k\"\n"),
            "self-signed",
        ),
        (
            format!(
                "{BASE}[[domain]]\nname = \"b.example\"\n[[account]]\naddress = \"a@b.example\"\npassword_file = \"../../etc/shadow\"\n"
            ),
            "account add",
        ),
    ];
    for (text, told) in cases {
        let why = this.refused(&text);
        assert!(why.contains(told), "{told} in {why}");
        assert_eq!(this.read(APPLIED), BASE);
        assert_eq!(this.shown().probation, None);
    }
    assert_eq!(this.history(), "");
    // All of them at once.
    let two = format!("{BASE}[server]\nstate = \"/else\"\n[[domain]]\nname = \"b.example\"\n");
    assert_eq!(this.refused(&two).lines().count(), 2);
}

#[test]
fn hostile_settings_are_refused() {
    let this = started(BASE);
    let deep = format!("{BASE}x = {}", "[".repeat(200_000));
    let tables = format!("{BASE}[a{}]\n", ".a".repeat(100_000));
    let dotted = format!("{BASE}[server]\n{}x = 1\n", "a.".repeat(100_000));
    let long = format!("{BASE}#{}", "x".repeat(2 << 20));
    let control = format!("{BASE}[server]\nname = \"\u{1b}[2J\"\n");
    for text in [
        deep,
        tables,
        dotted,
        long,
        control,
        "\0".into(),
        String::new(),
    ] {
        let why = this.refused(&text);
        assert!(
            why.len() < 2_000 && !why.contains('\u{1b}'),
            "{}",
            why.len()
        );
    }
    assert_eq!(this.read(APPLIED), BASE);
}

#[test]
fn a_network_that_cannot_be_told_to_systemd_is_taken_back() {
    let mut this = started(BASE);
    this.world.command = Box::new(|_, words| match words[0] {
        "reload-or-restart" => Err("it hangs".into()),
        _ => Ok(()),
    });
    this.applied(&format!("{BASE}{ADDRESS}"));
    assert_eq!(tick(&this.world), Ok(None));
    assert_eq!(this.incidents(), [Kind::SettingsGivenUp]);
    assert!(this.read(STATIC).is_empty());
}

#[test]
fn without_a_guard_nothing_is_put_on_probation() {
    let mut this = started(BASE);
    this.world.command = Box::new(|_, _| Err("no such unit".into()));
    assert!(
        this.refused(&format!("{BASE}{ADDRESS}"))
            .contains("no such unit")
    );
    assert_eq!(this.shown().probation, None);
}

#[test]
fn the_daemon_asks_by_files() {
    let this = started(BASE);
    let exchange = this.world.root.join("exchange");
    fs::create_dir(&exchange).expect("ours");
    assert_eq!(serve(&this.world, &exchange), Ok(()), "no request");
    let request = serde_json::json!({ "id": "7", "content": Request::Show });
    admin::exchange::put(&exchange, "request.json", &request).expect("ours");
    assert_eq!(serve(&this.world, &exchange), Ok(()));
    let text = fs::read_to_string(exchange.join("result.json")).expect("answered");
    let mut answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(answer["id"], "7");
    assert!(matches!(
        serde_json::from_value(answer["content"].take()),
        Ok(Outcome::Shown(shown)) if shown.text == BASE
    ));
}
