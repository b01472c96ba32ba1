//! The box as somebody sees it who sits at its serial port.

use std::time::Duration;

use crate::failure::{Failure, Told, ensure};
use crate::guest::Guest;
use crate::ledger::{ALICE, PASSWORD};
use crate::limits::BOOT_MAX;
use crate::pace;
use crate::screen::{COLUMNS, Screen};
use crate::serial::{DASHBOARD, Mark};
use crate::settings;
use crate::shape::Shape;
use crate::world::{World, until};

pub fn dashboard_on_serial(world: &mut World) -> Told<()> {
    let machine = world.running()?;
    world.told(machine, |machine| {
        let begin = machine.guest().begin;
        machine.guest().wait(DASHBOARD, &[], DRAWN_WITHIN)?;
        let screen = drawn(machine.guest(), begin, "SERVING")?;
        for told in [
            "mx.example.org",
            "10.0.",
            "profile qemu-small",
            "leg 0 in_sync",
            "leg 1 in_sync",
            "storage",
            "inbound",
            "client",
            "smtp",
            "no alarms",
        ] {
            ensure(screen.has(told), || {
                format!("`{told}` is not on the screen:\n{}", screen.picture())
            })?;
        }
        // A cursor means that something else writes to the terminal as well.
        ensure(screen.cursor.is_none(), || "the cursor blinks on it".into())?;
        whole(&screen)?;
        // It lives: a message that comes in is counted on it.
        let before = counted(&screen)?;
        let (guest, ledger) = machine.both();
        ledger.fill(guest, 3, 2_000)?;
        let mut last = screen;
        until(DRAWN_WITHIN, || {
            last = Screen::after(&guest.serial.since(begin));
            counted(&last).is_ok_and(|now| now == before + 3)
        })
        .map_err(|failure| failure.during(format!("counting them:\n{}", last.picture())))?;
        // After some seconds of drawing nothing has run across it.
        std::thread::sleep(Duration::from_secs(5));
        let screen = Screen::after(&guest.serial.since(begin));
        whole(&screen)?;
        let shown = guest.serial.since(begin);
        for secret in ["$argon2id$", "PRIVATE KEY", "password"] {
            ensure(!shown.contains(secret), || {
                format!("`{secret}` was on the serial line")
            })?;
        }
        eprintln!("{}", screen.picture());
        Ok(())
    })
}

/// `accepted N messages`, as the dashboard counts.
fn counted(screen: &Screen) -> Told<u64> {
    let row = screen.row("accepted ").unwrap_or_default();
    let count = row
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok());
    count.ok_or_else(|| Failure::new(format!("no count is shown:\n{}", screen.picture())))
}

/// Every row of the frame is where it is drawn, and nothing else is.
fn whole(screen: &Screen) -> Told<()> {
    let titled = |row: &&String| {
        let title = [" mail ", " no alarms "]
            .iter()
            .any(|title| row.starts_with(title));
        title && row.ends_with('─') && row.chars().count() == usize::from(COLUMNS)
    };
    let frames = screen.rows.iter().filter(titled).count();
    ensure(
        screen.rows[0].starts_with("Ringpost ") && frames == 2,
        || format!("the screen is torn:\n{}", screen.picture()),
    )?;
    let noise = |row: &&String| {
        row.starts_with('[') || row.contains("systemd[") || row.contains("ringpostd:")
    };
    match screen.rows.iter().find(noise) {
        None => Ok(()),
        Some(row) => Err(Failure::new(format!(
            "`{row}` runs across it:\n{}",
            screen.picture()
        ))),
    }
}

/// The screen, once `text` stands on it.
fn drawn(guest: &mut Guest, since: Mark, text: &str) -> Told<Screen> {
    let mut screen = Screen::after("");
    until(DRAWN_WITHIN, || {
        screen = Screen::after(&guest.serial.since(since));
        screen.has(text)
    })
    .map_err(|failure| failure.during(format!("`{text}` on the screen:\n{}", screen.picture())))?;
    Ok(screen)
}

/// The dashboard asks the daemon every second, and draws everything anew every minute.
const DRAWN_WITHIN: Duration = Duration::from_secs(75);

pub fn set_up_on_serial(world: &mut World) -> Told<()> {
    let mut machine = world.machine(Shape::default())?;
    let guest = Guest::start(&machine.site)?;
    machine.give_back(guest);
    world.told(machine, |machine| {
        let begin = machine.guest().begin;
        machine.guest().wait(DASHBOARD, &[], BOOT_MAX)?;
        drawn(machine.guest(), begin, "Press Enter")?;
        let serial = machine.guest().serial.clone();
        let from = serial.mark();
        serial.write("\r")?;
        let legs: Vec<String> = settings::legs(&machine.site.shape)
            .map(|leg| leg.by_id())
            .collect();
        let (account, domain) = ALICE.split_once('@').unwrap_or_default();
        let mut at = from;
        for (question, answer) in [
            ("Host name", "mx.example.org"),
            ("or Enter for DHCP: ", ""),
            ("Numbers of the two", "1 2"),
            ("First mail domain", domain),
            ("First account", account),
            ("Its password: ", PASSWORD),
            ("Once more: ", PASSWORD),
            ("Enter for none: ", ""),
            ("Type yes", "yes"),
        ] {
            at = asked(machine.guest(), at, question)?;
            serial.write(&format!("{answer}\r"))?;
        }
        machine.guest().ready()?;
        let said = serial.since(from);
        for leg in legs {
            ensure(said.contains(&leg), || {
                format!("{leg} was not offered:\n{said}")
            })?;
        }
        let typed = said.split("Its password: ").nth(1).unwrap_or_default();
        // The next question names `ringpostctl`, which has the password in it.
        let typed = typed
            .split("Remote administration")
            .next()
            .unwrap_or_default();
        ensure(!typed.contains(PASSWORD), || {
            format!("the password was shown while it was typed:\n{typed}")
        })?;
        machine.wait_for_account()?;
        let (guest, ledger) = machine.both();
        ledger.fill(guest, 3, 2_000)?;
        ledger.check(guest)?;
        drawn(guest, begin, "SERVING")?;
        // The answers are kept: the next start asks nobody.
        machine.reset()?;
        let (guest, ledger) = machine.both();
        ledger.check(guest)
    })
}

/// Waits for a question after `since`; where it was heard.
fn asked(guest: &mut Guest, since: Mark, question: &str) -> Told<Mark> {
    guest.wait_since(since, question, &[], pace::stretched(ASKED_WITHIN))?;
    Ok(guest.serial.mark())
}

/// A hash of a password takes an emulated CPU seconds.
const ASKED_WITHIN: Duration = Duration::from_secs(45);

pub fn power_button_stops_cleanly(world: &mut World) -> Told<()> {
    let machine = world.running()?;
    world.told(machine, |machine| {
        let (guest, ledger) = machine.both();
        ledger.fill(guest, 5, 2_000)?;
        let begin = guest.serial.mark();
        let serial = guest.serial.clone();
        machine.take().power_down(pace::stretched(OFF_WITHIN))?;
        let said = serial.since(begin);
        ensure(!said.contains("Kernel panic"), || said.clone())?;
        machine.boot()?;
        let (guest, ledger) = machine.both();
        ledger.check(guest)
    })
}

/// Sessions get ten seconds, the index is written, systemd stops the rest.
const OFF_WITHIN: Duration = Duration::from_secs(60);
