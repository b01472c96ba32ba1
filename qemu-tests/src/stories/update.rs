//! Versions: tried, blessed, given up, refused. Administered from outside the guest, over HTTPS with a client certificate.

use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use minisign::{KeyPair, SecretKey, SecretKeyBox};
use serde_json::Value;

use crate::failure::{Doing, Failure, Told, ensure};
use crate::guest::HTTPS;
use crate::ledger::reply_within;
use crate::limits::BOOT_MAX;
use crate::releases::{BAD, BASE, NEXT, Releases};
use crate::serial::{Kind, READY};
use crate::serve::Serve;
use crate::world::{Machine, World, until};

/// The machine and what updates it.
fn begin(world: &mut World) -> Told<(Rc<Releases>, Machine)> {
    let releases = world.releases()?;
    let more = releases.tool.settings()?;
    let mut machine = world.on_image(&releases.base, &more)?;
    releases
        .tool
        .believe(machine.guest().at(HTTPS), reply_within())?;
    Ok((releases, machine))
}

/// Files that are not signed by our key, or not for this image, are refused, and the slots stay as they are.
pub fn broken_signature_refused(world: &mut World) -> Told<()> {
    let (releases, machine) = begin(world)?;
    world.told(machine, |machine| {
        let before = slots(machine, &releases)?;
        let store = releases.directory().join("wrong");
        fs::create_dir_all(&store).doing(store.display())?;
        let serve = Serve::start(&store)?;
        for (file, sentence) in wrong_files(&releases, &store)? {
            let said = releases.tool.refused(
                machine.guest().at(HTTPS),
                &["update", "apply", &serve.url(&file)],
            )?;
            eprintln!("{file}: {said}");
            ensure(said.contains(sentence), || {
                format!("{file} is refused, but not with \"{sentence}\": {said}")
            })?;
            let after = slots(machine, &releases)?;
            ensure(after == before, || {
                format!("{file} was refused and changed the slots: {before} became {after}")
            })?;
        }
        let (guest, ledger) = machine.both();
        ledger.fill(guest, 2, 2_000)?;
        ledger.check(guest)
    })
}

/// Files in `store` with their signatures, and what the refusal of each must say.
fn wrong_files(releases: &Releases, store: &Path) -> Told<Vec<(String, &'static str)>> {
    let ours = secret(&releases.update_key()?)?;
    let stranger = KeyPair::generate_unencrypted_keypair()
        .doing("another key")?
        .sk;
    let image = fs::read(&releases.next).doing(releases.next.display())?;
    let claim = |version: &str| format!("product=ringpost arch=x86_64 version={version}");
    let put = |name: &str, bytes: &[u8], signature: &str| -> Told<()> {
        fs::write(store.join(name), bytes).doing(name)?;
        fs::write(store.join(format!("{name}.minisig")), signature).doing(name)
    };
    let sign = |key: &SecretKey, bytes: &[u8], comment: &str| -> Told<String> {
        minisign::sign(None, key, bytes, Some(comment), None)
            .map(|signed| signed.into_string())
            .doing("signing")
    };

    let mut flipped = image.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let beside = releases.next.with_extension("efi.minisig");
    let right = fs::read_to_string(&beside).doing(beside.display())?;
    put("flipped.efi", &flipped, &right)?;
    // What is refused is refused for its signature, whatever its size: these are short to be quick.
    let short = &image[..1 << 20];
    put(
        "stranger.efi",
        short,
        &sign(&stranger, short, &claim("9.9.9"))?,
    )?;
    let edited = sign(&ours, short, &claim(NEXT))?.replace(NEXT, "9.9.9");
    put("edited.efi", short, &edited)?;
    put("older.efi", short, &sign(&ours, short, &claim("0.9.0"))?)?;
    let foreign = claim("9.9.9").replace("ringpost", "toaster");
    put("foreign.efi", short, &sign(&ours, short, &foreign)?)?;
    fs::write(store.join("bare.efi"), short).doing("bare.efi")?;
    let nobody = "no update key of this appliance verifies the signature";
    Ok([
        ("flipped.efi", nobody),
        ("stranger.efi", nobody),
        ("edited.efi", nobody),
        ("older.efi", "is not newer than"),
        ("foreign.efi", "use the right file"),
        ("bare.efi", "only with its .minisig signature beside it"),
    ]
    .map(|(name, sentence)| (name.to_owned(), sentence))
    .to_vec())
}

/// The key that the releases of the test are signed with.
fn secret(text: &str) -> Told<SecretKey> {
    SecretKeyBox::from_string(text)
        .and_then(SecretKeyBox::into_unencrypted_secret_key)
        .doing("the update key")
}

/// A new version is installed, tried and blessed; the old one stays as the way back.
pub fn update_applied(world: &mut World) -> Told<()> {
    let (releases, machine) = begin(world)?;
    world.told(machine, |machine| {
        expect(machine, &releases, BASE, "good", "before the update")?;
        let (guest, ledger) = machine.both();
        ledger.fill(guest, 20, 3_000)?;
        // A file of the operator's machine: it is sent along.
        let image = releases.next.to_string_lossy().into_owned();
        let said = releases
            .tool
            .done(guest.at(HTTPS), &["update", "apply", &image])?;
        ensure(said.contains(NEXT), || {
            format!("`update apply` says: {said}")
        })?;
        expect(machine, &releases, NEXT, "on_trial", "after `update apply`")?;
        order_reboot(machine, &releases)?;
        machine.ready()?;
        blessed(machine, &releases, NEXT)?;
        expect(machine, &releases, BASE, "good", "the way back")?;
        let (guest, ledger) = machine.both();
        ledger
            .check(guest)
            .map_err(|failure| failure.during("after the update"))?;
        ledger.fill(guest, 5, 3_000)?;
        ledger.check(guest)?;
        machine.wait_until_in_sync()
    })
}

/// A version that fails its mail test is given up after one try.
pub fn bad_update_rolled_back(world: &mut World) -> Told<()> {
    let (releases, machine) = begin(world)?;
    world.told(machine, |machine| fall_back(machine, &releases, 1))
}

/// As `bad_update_rolled_back`, with three tries.
pub fn bad_update_tried_three_times(world: &mut World) -> Told<()> {
    let (releases, machine) = begin(world)?;
    world.told(machine, |machine| fall_back(machine, &releases, 3))
}

/// Applies the bad version and waits until the box has come back to where it was, by itself.
fn fall_back(machine: &mut Machine, releases: &Releases, tries: usize) -> Told<()> {
    let home = running(&status(machine, releases)?)?;
    let (guest, ledger) = machine.both();
    ledger.fill(guest, 20, 3_000)?;
    let store = releases
        .bad
        .parent()
        .ok_or_else(|| Failure::new("the bad image is nowhere"))?;
    let serve = Serve::start(store)?;
    let url = serve.url(&format!("ringpost_{BAD}.efi"));
    let given = tries.to_string();
    releases.tool.done(
        guest.at(HTTPS),
        &["update", "apply", &url, "--tries", &given],
    )?;
    order_reboot(machine, releases)?;
    let guest = machine.guest();
    let mut mark = guest.begin;
    for _ in 0..tries {
        // A shutdown, a boot and the gate.
        guest.wait_since(mark, NOT_PASSED, &EXPECTED, BOOT_MAX * 2)?;
        mark = guest.serial.mark();
    }
    guest.new_boot();
    guest.wait_since(mark, READY, &EXPECTED, BOOT_MAX * 2)?;
    machine.ready()?;
    let status = status(machine, releases)?;
    ensure(running(&status)? == home, || {
        format!("the box did not return to {home}: {status}")
    })?;
    let bad = slot(&status, BAD)?;
    eprintln!(
        "{}",
        releases
            .tool
            .done(machine.guest().at(HTTPS), &["update", "status"])?
    );
    ensure(
        bad["standing"] == "given_up"
            && bad["tried"] == tries
            && bad["failed"]["times"] == tries
            && bad["failed"]["why"]
                .as_str()
                .is_some_and(|why| why.contains("no SMTP listener")),
        || format!("`update status` does not say why {BAD} was given up: {bad}"),
    )?;
    let (guest, ledger) = machine.both();
    ledger
        .check(guest)
        .map_err(|failure| failure.during("back on the old version"))?;
    ledger.fill(guest, 5, 3_000)?;
    ledger.check(guest)?;
    machine.wait_until_in_sync()
}

/// Power is cut early, in the middle and late while an image is being written: the box starts the version that it had.
pub fn power_cut_mid_update(world: &mut World) -> Told<()> {
    let (releases, machine) = begin(world)?;
    world.told(machine, |machine| {
        let (guest, ledger) = machine.both();
        ledger.fill(guest, 10, 3_000)?;
        let before = slots(machine, &releases)?;
        let store = releases
            .next
            .parent()
            .ok_or_else(|| Failure::new("the image is nowhere"))?;
        let serve = Serve::start(store)?;
        let url = serve.url(&format!("ringpost_{NEXT}.efi"));
        let length = fs::metadata(&releases.next).doing("the image")?.len();
        for part in [10, 50, 99] {
            let begun = serve.sent();
            serve.slow_down(SLOW);
            let guest = machine.take();
            let (tool, at) = (&releases.tool, guest.at(HTTPS));
            std::thread::scope(|scope| {
                let asked = scope.spawn(|| tool.done(at, &["update", "apply", &url]));
                let arrived = until(ARRIVED_WITHIN, || {
                    serve.sent() - begun > length / 100 * part || asked.is_finished()
                });
                let over = asked.is_finished();
                guest.cut_power();
                serve.slow_down(0);
                arrived?;
                ensure(!over, || "the update was over before the power cut".into())
            })?;
            machine.boot()?;
            let after = slots(machine, &releases)?;
            ensure(after == before, || {
                format!("a power cut after {part} % changed the slots: {before} became {after}")
            })?;
            let (guest, ledger) = machine.both();
            ledger.check(guest)?;
        }
        // And nothing of it stands in the way.
        releases
            .tool
            .done(machine.guest().at(HTTPS), &["update", "apply", &url])?;
        order_reboot(machine, &releases)?;
        machine.ready()?;
        blessed(machine, &releases, NEXT)
    })
}

/// An operator goes back to the version of before.
pub fn rolled_back_by_order(world: &mut World) -> Told<()> {
    let (releases, machine) = begin(world)?;
    world.told(machine, |machine| {
        if running(&status(machine, &releases)?)? == BASE {
            let image = releases.next.to_string_lossy().into_owned();
            releases
                .tool
                .done(machine.guest().at(HTTPS), &["update", "apply", &image])?;
            order_reboot(machine, &releases)?;
            machine.ready()?;
            blessed(machine, &releases, NEXT)?;
        }
        let (guest, ledger) = machine.both();
        ledger.fill(guest, 10, 3_000)?;
        let said = releases
            .tool
            .done(guest.at(HTTPS), &["update", "rollback"])?;
        ensure(said.contains(BASE), || {
            format!("`update rollback` says: {said}")
        })?;
        order_reboot(machine, &releases)?;
        machine.ready()?;
        expect(
            machine,
            &releases,
            NEXT,
            "given_up",
            "after `update rollback`",
        )?;
        let now = running(&status(machine, &releases)?)?;
        ensure(now == BASE, || {
            format!("after `update rollback` {now} runs")
        })?;
        let (guest, ledger) = machine.both();
        ledger.check(guest)?;
        ledger.fill(guest, 5, 3_000)?;
        ledger.check(guest)
    })
}

/// What the health gate says on the console when it does not open.
const NOT_PASSED: &str = "this version failed its mail test";
/// A version that fails may say so in many ways.
const EXPECTED: [Kind; 2] = [Kind::Unit, Kind::Said];
/// So that a power cut comes in the middle of an image of 100 MB, seconds after its beginning.
const SLOW: u64 = 8 << 20;
/// As slow as `SLOW` makes it, and some more.
const ARRIVED_WITHIN: Duration = Duration::from_secs(60);
/// From READY to the name without a counter: a mail round trip, and a rename.
const BLESSED_WITHIN: Duration = Duration::from_secs(60);

/// `ringpostctl reboot`; what is heard from here on is the new boot.
fn order_reboot(machine: &mut Machine, releases: &Releases) -> Told<()> {
    let guest = machine.guest();
    guest.new_boot();
    releases.tool.done(guest.at(HTTPS), &["reboot"]).map(|_| ())
}

/// What `update status` reports.
fn status(machine: &mut Machine, releases: &Releases) -> Told<Value> {
    let text = releases
        .tool
        .done(machine.guest().at(HTTPS), &["update", "status", "--json"])?;
    serde_json::from_str(&text).doing("reading `update status --json`")
}

/// The version that runs.
fn running(status: &Value) -> Told<String> {
    status["running"].as_str().map(String::from).ok_or_else(|| {
        Failure::new(format!(
            "`update status` names no running version: {status}"
        ))
    })
}

/// The files on the ESP that the boot loader counts in.
fn slots(machine: &mut Machine, releases: &Releases) -> Told<Value> {
    Ok(status(machine, releases)?["esps"].clone())
}

/// The row of one version on the first disk.
fn slot<'a>(status: &'a Value, version: &str) -> Told<&'a Value> {
    status["esps"][0]["slots"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|slot| slot["version"] == version)
        .ok_or_else(|| Failure::new(format!("there is no slot {version}: {status}")))
}

/// The version has this standing now.
fn expect(
    machine: &mut Machine,
    releases: &Releases,
    version: &str,
    standing: &str,
    when: &str,
) -> Told<()> {
    let status = status(machine, releases)?;
    let slot = slot(&status, version)?;
    ensure(slot["standing"] == standing, || {
        format!("{when}: {version} should be {standing}: {slot}")
    })
}

/// Waits until this version runs under a name without a counter.
fn blessed(machine: &mut Machine, releases: &Releases, version: &str) -> Told<()> {
    let mut last = Value::Null;
    until(BLESSED_WITHIN, || {
        last = status(machine, releases).unwrap_or_default();
        slot(&last, version).is_ok_and(|slot| slot["file"] == format!("ringpost_{version}.efi"))
    })
    .map_err(|failure| failure.during(format!("{version} is blessed (status: {last})")))?;
    let now = running(&last)?;
    ensure(now == version, || {
        format!("{version} is blessed and {now} runs")
    })
}
