//! New settings held against the box, as the next boot would: what is wrong, what changes, and when.

use std::path::{Path, PathBuf};

use admin::settings::Checked;
use plan::{Misfit, Profile, Settings};
use toml::Table;

use crate::change;
use crate::derive::{chosen, daemon_text, legs};
use crate::find::{Found, From};
use crate::limits::SETTINGS_BYTES_MAX;
use crate::report::Report;
use crate::selftest::{self, Findings, below};
use crate::world::{SETTINGS, World};
use crate::{probation, san, secret};

/// New settings, as they came.
pub struct New<'a> {
    /// What the file is called where it came from.
    pub name: &'a str,
    pub text: &'a str,
    /// Paths of the volume's legs now.
    pub legs: &'a [String],
}

/// The whole text that would be kept, and what was found. Nothing is written.
pub fn check(world: &World, current: &str, new: &New<'_>) -> (String, Checked) {
    match checked(world, current, new) {
        Ok(found) => found,
        Err(misfit) => (String::new(), Checked::mistaken(misfit.to_string())),
    }
}

// Secrets first: what was shown to the administrator had marks in the place of hashes, and those have to be hashes again before
// anything is compared or parsed.
fn checked(world: &World, current: &str, new: &New<'_>) -> Result<(String, Checked), Misfit> {
    if new.text.len() as u64 > SETTINGS_BYTES_MAX {
        return Err(Misfit::new(format!(
            "{}: {} bytes are too many for settings: write at most {SETTINGS_BYTES_MAX} bytes",
            new.name,
            new.text.len()
        )));
    }
    let old: Table = table("the settings in force", current)?;
    let text =
        secret::with(new.text, &old).map_err(|why| Misfit::new(format!("{}: {why}", new.name)))?;
    let settings = Settings::parse_before_legs(new.name, &text)?;
    if settings
        .accounts
        .iter()
        .any(|account| account.password_file.is_some())
    {
        return Err(Misfit::new(format!(
            "{}: password_file works only at the first start: use `ringpostctl account add`",
            new.name
        )));
    }
    let mut checked = change::between(&old, &table(new.name, &text)?);
    // The same look at the old settings tells which findings are new. `Err` here is possible (a profile was renamed by an update), and then
    // all findings count as new.
    let before = of_boot(world, "the settings in force", current);
    match of_boot(world, new.name, &text) {
        Err(misfit) => checked.mistakes.push(misfit.to_string()),
        Ok(after) => {
            // A leg on a SAN cannot be attached before settings say how it is reached: it comes by itself.
            let is_away = |leg: &String| san::holds(&settings, Path::new(leg));
            let named: Vec<String> = after.legs.into_iter().filter(|leg| !is_away(leg)).collect();
            let now: Vec<String> = new
                .legs
                .iter()
                .filter(|leg| !is_away(leg))
                .cloned()
                .collect();
            judge_legs(&world.root, &now, &named, &is_away, &mut checked);
            // What the machine lacks already is not this change's fault.
            let known = before.map(|before| before.findings).unwrap_or_default();
            let fresh = |list: Vec<String>, known: &[String]| {
                list.into_iter()
                    .filter(|sentence| !known.contains(sentence))
                    .collect::<Vec<_>>()
            };
            checked
                .mistakes
                .extend(fresh(after.findings.missing, &known.missing));
            checked
                .notes
                .extend(fresh(after.findings.alarms, &known.alarms));
        }
    }
    if settings.listen.https.is_empty() || settings.admin.client_ca.is_none() {
        checked.notes.push(
            "with these settings this appliance cannot be administered remotely: set [listen] https and [admin] client_ca"
                .into(),
        );
    }
    Ok((text, checked))
}

fn table(name: &str, text: &str) -> Result<Table, Misfit> {
    text.parse()
        .map_err(|error: toml::de::Error| Misfit::new(format!("{name}: {}", error.message())))
}

struct OfBoot {
    legs: Vec<String>,
    findings: Findings,
}

/// What a boot with this text would come to, up to where it would begin to change the machine.
fn of_boot(world: &World, name: &str, text: &str) -> Result<OfBoot, Misfit> {
    let root = world.root.as_path();
    let settings = Settings::parse_before_legs(name, text)?;
    let mut report = Report {
        shape: hardware::probe(root),
        ..Report::default()
    };
    report.shape = san::promised(report.shape, &settings);
    let chosen = chosen(root, &report.shape, settings.server.profile.as_deref())?;
    let profile: &Profile = &chosen.profile;
    let legs = legs(world, &settings, profile, &mut report)?;
    let found = Found {
        from: From::Applied,
        path: PathBuf::from(name),
        text: text.to_owned(),
    };
    daemon_text(root, &found, &settings, profile, &legs, &report.shape)?;
    let findings = selftest::look(root, &settings, &report.shape, &legs, world.now);
    Ok(OfBoot { legs, findings })
}

/// The legs that settings name, without those on a SAN, are those that the volume has: as this start was given them, or as they are attached now.
fn judge_legs(
    root: &Path,
    now: &[String],
    named: &[String],
    is_away: &dyn Fn(&String) -> bool,
    checked: &mut Checked,
) {
    let real = |legs: &[String]| -> Vec<PathBuf> {
        let mut real: Vec<PathBuf> = legs
            .iter()
            .map(|leg| {
                let path = below(root, Path::new(leg));
                std::fs::canonicalize(&path).unwrap_or(path)
            })
            .collect();
        real.sort();
        real
    };
    let running = probation::text(root, SETTINGS).ok().flatten();
    let given = running
        .and_then(|text| Settings::parse(SETTINGS, &text).ok())
        .map(|settings| {
            let legs = settings.volume.legs.get_ref().iter();
            legs.map(|leg| leg.display().to_string())
                .filter(|leg| !is_away(leg))
                .collect::<Vec<_>>()
        });
    // Paths are compared by what they lead to: `/dev/disk/by-id` and `/dev/nvme0n1` may be one disk.
    let same = given.is_some_and(|given| real(&given) == real(named));
    if !same && real(now) != real(named) {
        checked.mistakes.push(format!(
            "volume.legs: these settings name {}, and the volume is stored on {}: change the legs with `ringpostctl leg attach` and `leg detach`, then name them here",
            named.join(", "),
            if now.is_empty() { "others".into() } else { now.join(", ") }
        ));
    }
}
