//! What follows from settings and a machine: the profile, the legs, and the whole settings that the daemon reads. A boot writes it down;
//! a check of new settings only looks at it. Nothing is written here.

use std::path::Path;
use std::time::Instant;

use hardware::disks;
use plan::choose::choose;
use plan::{Machine, Misfit, Plan, Profile, Settings, Shape};

use crate::find::Found;
use crate::limits::LOOK_EVERY;
use crate::report::Report;
use crate::settle;
use crate::world::World;

pub(crate) struct Chosen {
    pub profile: Profile,
    pub name: String,
    pub why: String,
}

/// The pinned profile, else the one that fits best.
pub(crate) fn chosen(root: &Path, shape: &Shape, pinned: Option<&str>) -> Result<Chosen, Misfit> {
    let profiles = Profile::all(&root.join(plan::profile::DIRECTORY))?;
    let choice = choose(&profiles, shape);
    let (name, why) = match pinned {
        Some(name) => (name.to_owned(), "pinned by server.profile".to_owned()),
        None => (choice.name, choice.why),
    };
    let profile = match profiles.into_iter().find(|profile| profile.name == name) {
        Some(profile) => profile,
        None => Profile::load(&name)?,
    };
    Ok(Chosen { profile, name, why })
}

/// The settings' legs, else the profile's; waits until those have appeared.
pub(crate) fn legs(
    world: &World,
    settings: &Settings,
    profile: &Profile,
    report: &mut Report,
) -> Result<Vec<String>, Misfit> {
    let root = world.root.as_path();
    let begin = Instant::now();
    let named = settings.volume.legs.get_ref();
    if !named.is_empty() {
        return Ok(named.iter().map(|leg| leg.display().to_string()).collect());
    }
    if !settings.runs(plan::Zone::Storage) {
        return Ok(Vec::new());
    }
    if profile.mirror.legs.is_empty() {
        return Err(Misfit::new(format!(
            "the settings name no legs and profile {} has none to propose: write volume.legs = [\"/dev/disk/by-id/…\", \"/dev/disk/by-id/…\"]; here are {}",
            profile.name,
            known_disks(&report.shape)
        )));
    }
    loop {
        // Until they are found, or the wait is over.
        match disks::legs(&report.shape, &profile.mirror.legs) {
            Ok(legs) => return Ok(legs),
            Err(why) if begin.elapsed() >= world.wait => {
                return Err(Misfit::new(format!(
                    "profile {}: {why}; here are {}",
                    profile.name,
                    known_disks(&report.shape)
                )));
            }
            Err(_) => {
                std::thread::sleep(LOOK_EVERY);
                report.shape = hardware::probe(root);
            }
        }
    }
}

fn known_disks(shape: &Shape) -> String {
    let disks: Vec<String> = shape.mail_disks().filter_map(disks::stable_path).collect();
    if disks.is_empty() {
        "no disks without partitions".into()
    } else {
        disks.join(", ")
    }
}

/// The spool's legs that the profile names, where the settings name none and this machine has all of them. Without them there is no spool, and the
/// plan says so: mail flows all the same.
fn spool_legs(
    settings: &Settings,
    profile: &Profile,
    legs: &[String],
    shape: &Shape,
) -> Option<Vec<String>> {
    let patterns = &profile.mirror.spool;
    if !settings.spool.legs.is_empty() || patterns.is_empty() {
        return None;
    }
    let found = disks::legs(shape, patterns).ok()?;
    let is_own = found.iter().all(|leg| !legs.contains(leg));
    is_own.then_some(found)
}

/// The whole settings, held against the machine once more as the daemon will.
pub(crate) fn daemon_text(
    root: &Path,
    found: &Found,
    settings: &Settings,
    profile: &Profile,
    legs: &[String],
    shape: &Shape,
) -> Result<String, Misfit> {
    let own = settings.volume.legs.get_ref().is_empty() && settings.runs(plan::Zone::Storage);
    let shipped = Profile::built_in(&profile.name).is_some();
    let reference = match (&settings.server.profile, shipped) {
        (Some(pinned), _) if pinned.contains('/') => pinned.clone(),
        // An OEM's file may stand in the place of ours: the daemon is given the file.
        _ => match oem_file(root, &profile.name) {
            Some(path) => path,
            None => profile.name.clone(),
        },
    };
    let spool = spool_legs(settings, profile, legs, shape);
    let text = settle::for_daemon(found, &reference, own.then_some(legs), spool.as_deref())?;
    let whole = Settings::parse(&found.path.display().to_string(), &text)?;
    Plan::make(&whole, profile, &Machine::whole(shape))?;
    Ok(text)
}

/// The path of an OEM's profile file, as the daemon sees it.
fn oem_file(root: &Path, name: &str) -> Option<String> {
    let directory = root.join(plan::profile::DIRECTORY);
    let entries = std::fs::read_dir(&directory).ok()?;
    for entry in entries.flatten() {
        let path = entry.path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if path.extension().is_some_and(|ending| ending == "toml")
            && Profile::parse("f", &text).is_ok_and(|profile| profile.name == name)
        {
            let below = path.strip_prefix(root).ok()?;
            return Some(Path::new("/").join(below).display().to_string());
        }
    }
    None
}
