use admin::reply::{LegLine, ServiceLine, Status, VolumeLine};
use boot::Report;
use boot::report::ProfileReport;
use hardware::incident::{Incident, Kind};
use plan::{Machine, Plan, Profile, Settings};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::gather::{Brand, Daemon, Known};
use crate::limits::{COLUMNS, ROWS};

fn screen(known: Known, before: Option<&Known>) -> String {
    let brand = Brand {
        name: "Ringpost".into(),
        logo: vec!["  _  ".into(), " (_) ".into()],
    };
    let view = View::new(&brand, known, before);
    let mut terminal = Terminal::new(TestBackend::new(COLUMNS, ROWS)).expect("a screen");
    terminal
        .draw(|frame| draw(frame, &view, Look { colours: false }))
        .expect("drawn");
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            text.push_str(buffer[(column, row)].symbol());
        }
        text.push('\n');
    }
    text
}

fn report() -> Report {
    Report {
        version: "0.1.0".into(),
        settings: Some("a systemd credential".into()),
        server_name: Some("box.example.org".into()),
        profile: Some(ProfileReport {
            name: "qemu-small".into(),
            why: "it fits: vendor QEMU".into(),
            ..ProfileReport::default()
        }),
        ..Report::default()
    }
}

fn leg(index: u8, state: &str) -> LegLine {
    LegLine {
        index,
        id: "0123456789".into(),
        state: state.into(),
        path: Some(format!("/dev/disk/by-id/virtio-leg-{index}")),
        progress: None,
        repairs: 0,
        read_faults: 0,
        write_faults: 0,
        stale_since: None,
        why: None,
    }
}

pub(crate) fn daemon(messages: u64) -> Daemon {
    let settings = Settings::parse(
        "f",
        "[volume]\nlegs = [\"/a\", \"/b\"]\n[listen]\nsmtp = [\"0.0.0.0:25\"]\n",
    )
    .expect("right");
    let machine = Machine {
        cpus: (0..4).collect(),
        memory_bytes: 8 << 30,
        open_files: plan::limits::OPEN_FILES_WANTED,
        topology: plan::machine::Topology::default(),
    };
    Daemon {
        status: Status {
            version: "0.1.0".into(),
            server_name: "box.example.org".into(),
            serving: true,
            refuses: None,
            uptime_s: 60,
            services: vec![ServiceLine {
                service: "smtp".into(),
                addresses: vec!["0.0.0.0:25".into()],
                open: 3,
                accepted: 17,
                refused: 0,
            }],
            legs: vec![leg(0, "in_sync"), leg(1, "in_sync")],
            scrub: None,
            messages_accepted: messages,
            bytes_accepted: 5 << 20,
            receive_memory_bytes: 0,
            owner_waiting: 2,
            owner_under_way: 1,
            alarms: Vec::new(),
            sources: Vec::new(),
            spool: None,
            probation: None,
            incidents: vec![],
            storage_nodes: vec![],
            front: vec![],
            recipients: None,
        },
        plan: Plan::make(&settings, &Profile::generic(), &machine).expect("it fits"),
        volumes: vec![VolumeLine {
            id: "abcdef0123".into(),
            state: "in_sync".into(),
            legs: 2,
            legs_in_sync: 2,
            segments: 64,
            segments_free: 60,
        }],
    }
}

fn serving(messages: u64, at_ms: u64) -> Known {
    Known {
        at_ms,
        boot: Some(report()),
        daemon: Some(daemon(messages)),
        addresses: vec!["10.0.2.15".into()],
        clock: "2026-11-22 03:40:05 UTC".into(),
        now: 1_795_318_805,
        ..Known::default()
    }
}

fn assert_shows(screen: &str, words: &[&str]) {
    for word in words {
        assert!(screen.contains(word), "`{word}` is not on\n{screen}");
    }
}

#[test]
fn a_serving_box_shows_legs_zones_rates_and_addresses_on_80_by_24() {
    let before = serving(100, 1_000);
    let screen = screen(serving(150, 3_000), Some(&before));
    assert_shows(
        &screen,
        &[
            "Ringpost 0.1.0  box.example.org",
            "SERVING: accepts mail",
            "10.0.2.15",
            "profile qemu-small",
            "25.0/s messages",
            "2 waiting, 1 under way",
            "smtp        3       17  0.0.0.0:25",
            "volume abcdef01 in_sync  60/64 free",
            "leg 1 in_sync  virtio-leg-1",
            "storage  1 thread  CPU 0",
            "no alarms",
        ],
    );
}

#[test]
fn a_leg_that_is_gone_is_an_alarm_with_its_reason() {
    let mut known = serving(1, 1_000);
    let daemon = known.daemon.as_mut().expect("it serves");
    daemon.status.legs[1].state = "absent".into();
    daemon.status.legs[1].why = Some("its device is gone".into());
    let screen = screen(known, None);
    assert_shows(&screen, &["1 alarm", "leg 1 is absent: its device is gone"]);
}

#[test]
fn a_node_without_storage_shows_its_storage_nodes() {
    let node = |name: &str, up: bool| admin::reply::StorageNodeLine {
        address: "192.0.2.7:2424".into(),
        protocol: "lmtp".into(),
        name: name.into(),
        up,
        failures: u32::from(!up),
        why: if up {
            String::new()
        } else {
            "connection refused".into()
        },
        messages_taken: 1,
        messages_failed: 0,
    };
    let mut known = serving(1, 1_000);
    let daemon = known.daemon.as_mut().expect("it serves");
    daemon.status.legs.clear();
    daemon.volumes.clear();
    daemon.status.storage_nodes = vec![node("storage1", true), node("storage2", false)];
    daemon.status.recipients = Some(admin::reply::RecipientsLine {
        version: String::new(),
        addresses: 0,
        domains: 0,
        age_s: None,
        fresh: false,
        trouble: "no answer in time".into(),
        in_doubt: 0,
    });
    let screen = screen(known, None);
    assert_shows(
        &screen,
        &[
            "storage1 works  192.0.2.7:2424",
            "2 alarms",
            "storage node storage2 failed: connection refused",
            "too old to refuse by it: no answer in time",
        ],
    );
}

#[test]
fn paths_of_a_san_are_counted_by_target() {
    let path = |address: &str, usable: bool| hardware::san::PathLine {
        kind: plan::shape::San::Iscsi,
        target: "iqn.x:mail".into(),
        address: address.into(),
        usable,
        state: "LOGGED_IN".into(),
        why: None,
        devices: Vec::new(),
        legs: Vec::new(),
    };
    let known = Known {
        san: vec![path("a", true), path("b", false)],
        ..serving(1, 1_000)
    };
    assert_shows(&screen(known, None), &["iscsi 1 of 2 paths  iqn.x:mail"]);
}

#[test]
fn a_box_that_takes_no_mail_says_why() {
    let mut known = serving(1, 1_000);
    known.daemon.as_mut().expect("it runs").status.refuses = Some("no free segment is left".into());
    let screen = screen(known, None);
    assert_shows(
        &screen,
        &[
            "ACCEPTS NO MAIL",
            "no mail is accepted: no free segment is left",
        ],
    );
}

#[test]
fn settings_that_were_refused_are_shown_with_their_line() {
    let known = Known {
        boot: Some(Report {
            refused: Some("ringpost.toml:3: `craete` is not known here: write `create`".into()),
            ..report()
        }),
        ..Known::default()
    };
    let screen = screen(known, None);
    assert_shows(
        &screen,
        &["FAILED", "because:", "ringpost.toml:3", "no address yet"],
    );
}

#[test]
fn a_daemon_that_ended_is_quoted() {
    let known = Known {
        boot: Some(report()),
        failed: Some("no in-sync leg is here".into()),
        ..Known::default()
    };
    assert_shows(&screen(known, None), &["FAILED", "no in-sync leg is here"]);
}

#[test]
fn each_step_of_a_start_has_its_words() {
    assert_shows(
        &screen(Known::default(), None),
        &["STARTING: looking for settings"],
    );
    let mut known = Known {
        boot: Some(report()),
        ..Known::default()
    };
    assert_shows(
        &screen(known.clone(), None),
        &[
            "STARTING: the mail engine",
            "settings from a systemd credential",
        ],
    );
    known.at_ms = 61_000;
    assert_shows(&screen(known, None), &["LATE"]);
    let known = Known {
        boot: Some(Report::default()),
        ..Known::default()
    };
    assert_shows(&screen(known, None), &["NOT SET UP", "Press Enter"]);
}

#[test]
fn what_the_boot_found_missing_stays_on_the_screen() {
    let mut known = serving(1, 1_000);
    known.boot.as_mut().expect("there").missing = vec!["no network card".into()];
    let boot = known.boot.as_mut().expect("there");
    boot.alarms = (0..9).map(|number| format!("alarm {number}")).collect();
    let screen = screen(known, None);
    assert_shows(
        &screen,
        &["10 alarms", "missing: no network card", "… and more"],
    );
}

#[test]
fn settings_on_probation_are_the_first_alarm() {
    let told = admin::settings::Told {
        who: "anna".into(),
        keys: vec!["network.dns".into()],
        waits_for_restart: false,
        left_s: Some(240),
    };
    let known = Known {
        probation: Some(told.line()),
        ..serving(150, 3_000)
    };
    assert_shows(
        &screen(known, None),
        &[
            "1 alarm",
            "settings of anna are on probation: 240 s left to confirm them",
        ],
    );
}

#[test]
fn an_engine_that_hung_is_an_alarm_for_a_day() {
    let mut known = serving(1, 1_000);
    let incident = |at| Incident {
        at,
        kind: Kind::EngineHung,
        what: "the mail engine hung".into(),
        times: 3,
    };
    let daemon = known.daemon.as_mut().expect("it serves");
    daemon.status.incidents = vec![incident(known.now - 100)];
    assert_shows(
        &screen(known.clone(), None),
        &["1 alarm", "the mail engine hung (3 times)"],
    );
    let daemon = known.daemon.as_mut().expect("it serves");
    daemon.status.incidents = vec![incident(known.now - 100_000)];
    assert_shows(&screen(known, None), &["no alarms"]);
}
