//! The box as its operator has it: no shell, `ringpostctl` from another machine, disks that are swapped.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use crate::failure::{Doing, Failure, Told, ensure};
use crate::guest::HTTPS;
use crate::keep;
use crate::ledger::reply_within;
use crate::settings;
use crate::shape::{Bus, Credential, Disk, Shape};
use crate::tool::Tool;
use crate::world::{Machine, World, until};

/// A machine whose settings believe the tool's authority, and the tool.
// The box is operated as a customer would: by a certificate from another machine, without a shell in it.
fn administered(world: &mut World) -> Told<(Machine, Tool)> {
    let certificates = tempfile::tempdir().doing("a directory")?.keep();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    let tool = Tool::new(root, &certificates)?;
    let mut shape = Shape::default();
    let text = settings::text(&shape) + &tool.settings()?;
    shape
        .credentials
        .push(Credential::new(settings::CREDENTIAL, text, world.by()));
    let mut machine = world.machine(shape)?;
    machine.boot()?;
    tool.believe(machine.guest().at(HTTPS), reply_within())?;
    Ok((machine, tool))
}

pub fn operated_from_afar(world: &mut World) -> Told<()> {
    let (machine, tool) = administered(world)?;
    world.told(machine, |machine| {
        let (guest, ledger) = machine.both();
        ledger.fill(guest, 5, 2_000)?;
        let at = guest.at(HTTPS);
        let json = |words: &[&str]| -> Told<Value> {
            let said = tool.done(at, &[words, &["--json"]].concat())?;
            serde_json::from_str(&said).doing(format!("`{}`: {said}", words.join(" ")))
        };
        for (words, told) in VERBS {
            let said = tool.done(at, words)?;
            eprintln!("$ ringpostctl {}\n{said}", words.join(" "));
            for text in *told {
                ensure(said.contains(text), || {
                    format!(
                        "`ringpostctl {}` does not say `{text}`:\n{said}",
                        words.join(" ")
                    )
                })?;
            }
            // Each verb has its document too; that it parses is all that is asked of it here.
            json(words)?;
        }
        let disks = json(&["disks"])?;
        let legs = disks["disks"].as_array().into_iter().flatten();
        let legs: Vec<&Value> = legs.filter(|disk| disk["leg"].is_u64()).collect();
        ensure(legs.len() == 2, || format!("two legs are disks: {disks:#}"))?;
        users(&tool, at)?;
        let bundle = json(&["support-bundle"])?;
        for part in [
            "status",
            "disks",
            "network",
            "metrics",
            "log",
            "/run/ringpost/boot.json",
        ] {
            ensure(!bundle[part].is_null(), || {
                format!("the bundle has no {part}")
            })?;
        }
        let text = bundle.to_string();
        // A bundle is sent to strangers by mail.
        for secret in ["$argon2id$", "PRIVATE KEY"] {
            ensure(!text.contains(secret), || {
                format!("the bundle holds {secret}")
            })?;
        }
        // The health of the disks comes half a minute after the start.
        until(std::time::Duration::from_secs(120), || {
            json(&["disks"]).is_ok_and(|disks| {
                let disks = disks["disks"].as_array().cloned().unwrap_or_default();
                disks
                    .iter()
                    .filter(|disk| disk["health"]["verdict"] == "good")
                    .count()
                    >= 2
            })
        })
        .map_err(|failure| failure.during(format!("healthy legs in {:?}", json(&["disks"]))))?;
        eprintln!("$ ringpostctl disks\n{}", tool.done(at, &["disks"])?);
        // Restarted by order.
        machine.guest().new_boot();
        tool.done(at, &["reboot"])?;
        machine.guest().ready()?;
        machine.wait_for_account()?;
        let (guest, ledger) = machine.both();
        ledger.check(guest)?;
        // Reset to nothing but what the credential says: mail stays.
        machine.guest().new_boot();
        tool.done(at, &["factory-reset", "--yes"])?;
        machine.guest().ready()?;
        machine.wait_for_account()?;
        let (guest, ledger) = machine.both();
        ledger.check(guest)?;
        // The certificate was made anew: it is believed anew.
        tool.believe(at, reply_within())?;
        tool.done(at, &["poweroff"])?;
        let off = machine
            .take()
            .wait_for_end(crate::pace::stretched(OFF_WITHIN));
        off.map_err(|failure| failure.during("switching off by order"))
    })
}

const OFF_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

/// Every verb that looks, and some of what it must say.
const VERBS: &[(&[&str], &[&str])] = &[
    (&["status"], &["mx.example.org", "accepts mail", "in_sync"]),
    (&["plan"], &["storage"]),
    (&["logs", "-n", "50"], &["control"]),
    (&["metrics"], &["ringpost_uptime_seconds", "ringpost_leg"]),
    (
        &["network"],
        &["10.0.", "virtio_net", "default", "name servers: 10.0."],
    ),
    (
        &["disks"],
        &["leg 0", "leg 1", "system", "nvme-QEMU_NVMe_Ctrl_leg-a"],
    ),
    (&["time"], &["UTC"]),
    (&["certificate", "show"], &["mx.example.org"]),
    (&["update", "status"], &["0."]),
    (&["account", "list"], &["alice@example.org"]),
    (&["domain", "list"], &["example.org"]),
    (&["volume", "show"], &["in_sync"]),
    (&["leg", "list"], &["in_sync"]),
    (&["fsck"], &["no errors found"]),
];

/// Made, given another password, listed, removed.
fn users(tool: &Tool, at: SocketAddr) -> Told<()> {
    tool.done(
        at,
        &[
            "account",
            "add",
            "zoe@example.org",
            "--password",
            "first-word",
        ],
    )?;
    tool.done(
        at,
        &[
            "account",
            "password",
            "zoe@example.org",
            "--password",
            "second-word",
        ],
    )?;
    tool.done(at, &["account", "quota", "zoe@example.org", "10MiB"])?;
    let listed = tool.done(at, &["account", "list"])?;
    ensure(listed.contains("zoe@example.org"), || listed.clone())?;
    tool.done(at, &["account", "remove", "zoe@example.org"])?;
    let listed = tool.done(at, &["account", "list"])?;
    ensure(!listed.contains("zoe@example.org"), || listed.clone())
}

pub fn leg_replaced_by_a_blank_disk(world: &mut World) -> Told<()> {
    let (machine, tool) = administered(world)?;
    world.told(machine, |machine| {
        let (guest, ledger) = machine.both();
        ledger.fill(guest, 20, 4_000)?;
        let at = guest.at(HTTPS);
        guest.pull("leg-b")?;
        ledger.fill(guest, 5, 4_000)?;
        machine.wait_for_legs("in_sync", 1)?;
        let said = tool.of(at, &["fsck"])?;
        // Degraded is not clean: a script that looks at the exit status has to notice.
        ensure(said.code == 1, || format!("fsck with a dead leg: {said:?}"))?;
        eprintln!(
            "$ ringpostctl leg list\n{}",
            tool.done(at, &["leg", "list"])?
        );
        // Another disk in its bay: another serial number, nothing on it.
        let fresh = Disk::new("leg-c", Bus::Nvme, 1 << 30);
        keep::blank(&machine.site.disk("leg-c"), fresh.bytes)?;
        machine.guest().plug_in(&fresh, "leg-b")?;
        let attach = ["leg", "attach", &fresh.by_id()];
        let mut last = Failure::new("never tried");
        until(std::time::Duration::from_secs(30), || {
            // udev names it by and by.
            match tool.done(at, &attach) {
                Ok(said) => {
                    eprintln!("$ ringpostctl {}\n{said}", attach.join(" "));
                    true
                }
                Err(failure) => {
                    last = failure;
                    false
                }
            }
        })
        .map_err(|failure| last.clone().during(failure))?;
        machine.wait_for_legs("in_sync", 2)?;
        let said = tool.done(at, &["fsck", "full"])?;
        eprintln!("$ ringpostctl fsck full\n{said}");
        // It is whole: it serves alone.
        let (guest, ledger) = machine.both();
        // The leg that was there from the beginning. What the new one did not get is missing now.
        guest.pull("leg-a")?;
        ledger.check(guest)
    })
}
