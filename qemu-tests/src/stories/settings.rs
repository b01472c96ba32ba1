//! Settings that are changed over TLS, and mistakes in them that go away by themselves.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use mua::smtp::Smtp;

use crate::connect;
use crate::failure::{Doing, Failure, Told, ensure};
use crate::guest::{HTTPS, SMTP};
use crate::ledger::reply_within;
use crate::shape::{Nic, Shape};
use crate::tool::Tool;
use crate::world::{Machine, World, until};
use crate::{pace, settings};

/// No credential: the settings lie on a stick, and in the box from then on.
pub fn settings_from_afar(world: &mut World) -> Told<()> {
    let certificates = tempfile::tempdir().doing("a directory")?.keep();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    let tool = Tool::new(root, &certificates)?;
    let mut shape = Shape::default();
    let first = settings::text(&shape) + &tool.settings()?;
    shape.stick = Some(first.clone());
    let mut machine = world.machine(shape)?;
    machine.boot()?;
    world.told(machine, |machine| {
        tool.believe(machine.guest().at(HTTPS), reply_within())?;
        let file = machine.site.path("new.toml");
        let story = Story {
            tool,
            first,
            file: file.to_string_lossy().into_owned(),
        };
        let (guest, ledger) = machine.both();
        ledger.fill(guest, 5, 2_000)?;
        story.mistakes_change_nothing(guest.at(HTTPS))?;
        story.name_and_address(machine)?;
        story.unreachable(machine)?;
        story.power_cut(machine)?;
        story.engine_out_of_reach(machine)?;
        story.listener(machine)?;
        let (guest, ledger) = machine.both();
        ledger.check(guest)
    })
}

/// The box and what is applied to it.
struct Story {
    /// `ringpostctl` with a client certificate.
    tool: Tool,
    /// The settings of the stick.
    first: String,
    /// Where the next ones are written, on this machine.
    file: String,
}

impl Story {
    /// Writes the file that is applied next.
    fn write(&self, text: &str) -> Told<()> {
        std::fs::write(&self.file, text).doing(&self.file)
    }

    /// The first settings with another name, and addresses in the place of DHCP.
    fn with(&self, addresses: &str) -> String {
        let card = Nic::guest_name(0);
        let named = self.first.replace("mx.example.org", "mx2.example.org");
        format!(
            "{named}\n[network]\ndns = [\"10.0.2.3\"]\n[[network.interface]]\nname = \"{card}\"\naddress = [{addresses}]\ngateway = [\"10.0.2.2\"]\n"
        )
    }

    /// Runs a command that must succeed.
    fn said(&self, at: SocketAddr, words: &[&str]) -> Told<String> {
        let said = self.tool.done(at, words)?;
        eprintln!("$ ringpostctl {}\n{said}", words.join(" "));
        Ok(said)
    }

    /// As `said`; the output must have each of `told`.
    fn says(&self, at: SocketAddr, words: &[&str], told: &[&str]) -> Told<()> {
        let said = self.said(at, words)?;
        for text in told {
            ensure(said.contains(text), || {
                format!(
                    "`ringpostctl {}` does not say `{text}`:\n{said}",
                    words.join(" ")
                )
            })?;
        }
        Ok(())
    }

    /// Runs a command that must be refused with `told` in its reason.
    fn refused(&self, at: SocketAddr, words: &[&str], told: &str) -> Told<()> {
        let why = self.tool.refused(at, words)?;
        eprintln!("$ ringpostctl {}\n{why}", words.join(" "));
        ensure(why.contains(told), || {
            format!("`{told}` is not in the refusal: {why}")
        })
    }

    /// Settings with mistakes are refused with the fix, and nothing of them is in force.
    fn mistakes_change_nothing(&self, at: SocketAddr) -> Told<()> {
        let shown = self.said(at, &["settings", "show"])?;
        ensure(
            shown.contains("(kept)") && !shown.contains("argon2"),
            || format!("a secret is shown, or none is left:\n{shown}"),
        )?;
        // What was shown can be applied again.
        self.write(&shown)?;
        self.says(at, &["settings", "check", &self.file], &["nothing changes"])?;
        self.write(&self.first.replace("[listen]", "[lsten]"))?;
        let why = self.tool.of(at, &["settings", "check", &self.file])?;
        ensure(why.code == 1 && why.out.contains("write `listen`"), || {
            format!("a misspelled table: {why:?}")
        })?;
        self.write(
            &self
                .first
                .replace("nvme-QEMU_NVMe_Ctrl_leg-b", "nvme-other"),
        )?;
        self.refused(
            at,
            &["settings", "apply", &self.file, "--yes"],
            "leg attach",
        )?;
        self.refused(at, &["settings", "confirm"], "nothing is on probation")
    }

    /// Name and addresses change while mail goes on, and are confirmed.
    fn name_and_address(&self, machine: &mut Machine) -> Told<()> {
        let at = machine.guest().at(HTTPS);
        self.write(&self.with("\"10.0.2.15/24\", \"10.0.2.99/24\""))?;
        self.refused(at, &["settings", "apply", &self.file], "--yes")?;
        self.says(
            at,
            &["settings", "apply", &self.file, "--yes"],
            &["server.name", "on probation", "300 s"],
        )?;
        self.confirmed(at)?;
        self.says(at, &["network"], &["10.0.2.15", "10.0.2.99", "10.0.2.3"])?;
        self.says(
            at,
            &["settings", "history"],
            &["confirmed", "client", "network"],
        )?;
        self.says(at, &["logs", "-n", "50"], &["settings changed"])?;
        let (guest, ledger) = machine.both();
        ledger.fill(guest, 5, 2_000)
    }

    /// By a new connection each time: as soon as the settings are in force.
    fn confirmed(&self, at: SocketAddr) -> Told<()> {
        let mut last = Failure::new("never tried");
        until(Duration::from_secs(60), || {
            match self.said(at, &["settings", "confirm"]) {
                Ok(_) => true,
                Err(failure) => {
                    last = failure;
                    false
                }
            }
        })
        .map_err(|failure| last.clone().during(failure))
    }

    /// Settings that cut the box off go away by themselves.
    fn unreachable(&self, machine: &mut Machine) -> Told<()> {
        let (at, smtp) = (machine.guest().at(HTTPS), machine.guest().at(SMTP));
        self.write(&self.with("\"10.0.2.77/24\""))?;
        let apply = ["settings", "apply", &self.file, "--yes", "--within", "30s"];
        self.says(at, &apply, &["30 s"])?;
        until(AWAY_WITHIN, || greets(smtp).is_err())
            .map_err(|failure| failure.during("the old address going away"))?;
        until(BACK_WITHIN, || greets(smtp).is_ok())
            .map_err(|failure| failure.during("the old address coming back by itself"))?;
        self.says(at, &["status"], &["reverted", "not confirmed in time"])?;
        self.says(at, &["settings", "show"], &["10.0.2.99"])?;
        self.refused(at, &["settings", "confirm"], "nothing is on probation")?;
        let (guest, ledger) = machine.both();
        ledger.fill(guest, 5, 2_000)
    }

    /// A power cut during a probation ends it: the box starts with the settings of before.
    fn power_cut(&self, machine: &mut Machine) -> Told<()> {
        let (at, smtp) = (machine.guest().at(HTTPS), machine.guest().at(SMTP));
        let apply = ["settings", "apply", &self.file, "--yes", "--within", "1h"];
        self.said(at, &apply)?;
        until(AWAY_WITHIN, || greets(smtp).is_err())
            .map_err(|failure| failure.during("the old address going away again"))?;
        machine.cut_power();
        machine.boot()?;
        let at = machine.guest().at(HTTPS);
        // The name was confirmed before, and greetings have it since this start.
        self.says(
            at,
            &["status"],
            &["mx2.example.org runs", "reverted", "restarted before"],
        )?;
        self.says(at, &["network"], &["10.0.2.99"])?;
        let (guest, ledger) = machine.both();
        ledger.check(guest)
    }

    /// A restart by order.
    fn reboot(&self, machine: &mut Machine) -> Told<()> {
        let at = machine.guest().at(HTTPS);
        machine.guest().new_boot();
        self.tool.done(at, &["reboot"])?;
        machine.ready()
    }

    /// A service for administration that listens where nobody asks: the box restarts by itself.
    fn engine_out_of_reach(&self, machine: &mut Machine) -> Told<()> {
        let at = machine.guest().at(HTTPS);
        let moved = self
            .with("\"10.0.2.15/24\", \"10.0.2.99/24\"")
            .replace("0.0.0.0:443", "0.0.0.0:8443");
        self.write(&moved)?;
        self.says(
            at,
            &["settings", "apply", &self.file, "--yes", "--within", "30s"],
            &["listen.https", "at the next restart", "reboot"],
        )?;
        self.reboot(machine)?;
        machine.guest().new_boot();
        machine
            .ready()
            .map_err(|failure| failure.during("the box restarting by itself"))?;
        let at = machine.guest().at(HTTPS);
        self.says(at, &["status"], &["reverted", "not confirmed in time"])
    }

    /// A listener takes effect at the restart, and its probation begins there.
    fn listener(&self, machine: &mut Machine) -> Told<()> {
        let at = machine.guest().at(HTTPS);
        let more = self
            .with("\"10.0.2.15/24\", \"10.0.2.99/24\"")
            .replace("[listen]\n", "[listen]\nlmtp = [\"0.0.0.0:24\"]\n");
        self.write(&more)?;
        self.says(
            at,
            &["settings", "apply", &self.file, "--yes", "--within", "1h"],
            &["listen.lmtp", "at the next restart", "reboot"],
        )?;
        self.refused(at, &["settings", "confirm"], "reboot")?;
        self.reboot(machine)?;
        let at = machine.guest().at(HTTPS);
        self.says(at, &["status"], &["lmtp", "ALARM: settings of client"])?;
        self.confirmed(at)?;
        let status = self.said(at, &["status"])?;
        ensure(!status.contains("on probation"), || {
            format!("still on probation:\n{status}")
        })
    }
}

/// QEMU takes the connection whatever becomes of the guest: a greeting is what counts.
fn greets(server: SocketAddr) -> std::io::Result<Smtp> {
    connect::smtp(server, pace::stretched(Duration::from_secs(3)))
}

/// The answer goes first, then the network is told.
const AWAY_WITHIN: Duration = Duration::from_secs(25);
/// Half a minute of probation, and the network once more.
const BACK_WITHIN: Duration = Duration::from_secs(60);
