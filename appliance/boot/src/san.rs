//! `[[san]]` → files for `ringpost-san`, which reaches the targets once there is a network, and for those who look.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use plan::san::Target;
use plan::{Misfit, Settings, Shape};
use toml::{Table, Value};

use crate::find::Found;
use crate::write::{Mode, replace};

/// Whole, with the secrets, for root alone; below the root.
pub const PRIVATE: &str = "run/ringpost-san/san.toml";

/// Hands the targets on; what an earlier run of this boot handed on is gone.
pub fn hand_on(root: &Path, found: &Found, settings: &Settings) -> Result<(), Misfit> {
    let (whole, public) = (root.join(PRIVATE), root.join(hardware::san::PATH));
    if settings.san.is_empty() {
        forget(&whole)?;
        return forget(&public);
    }
    let told = |error: &dyn std::fmt::Display| Misfit::new(format!("[[san]]: {error}"));
    // The text as it was written: a target in our own words has no secret.
    let table: Table = found.text.parse().map_err(|error| told(&error))?;
    let only: Table = table.into_iter().filter(|(key, _)| key == "san").collect();
    replace(&whole, &only.to_string(), Mode::Private)?;
    let targets: Vec<&Target> = settings.san.iter().map(|target| target.get_ref()).collect();
    let document = serde_json::to_string_pretty(&targets).map_err(|error| told(&error))?;
    replace(&public, &format!("{document}\n"), Mode::Public)
}

fn forget(path: &Path) -> Result<(), Misfit> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Misfit::new(format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// The daemon opens legs and logs in nowhere: it does not get the credentials.
pub fn without_secrets(table: &mut Table) {
    let targets = table.get_mut("san").and_then(Value::as_array_mut);
    for target in targets.into_iter().flatten() {
        if let Some(target) = target.as_table_mut() {
            target.remove("secret");
            target.remove("user");
        }
    }
}

/// The leg is on a SAN.
pub fn holds(settings: &Settings, leg: &Path) -> bool {
    let mut legs = settings
        .san
        .iter()
        .flat_map(|target| &target.get_ref().legs);
    legs.any(|named| Path::new(named) == leg)
}

/// The machine with the SANs that it will reach: profiles are chosen before there is a network.
pub fn promised(mut shape: Shape, settings: &Settings) -> Shape {
    shape
        .san
        .extend(settings.san.iter().map(|target| target.get_ref().kind));
    shape.san.sort();
    shape.san.dedup();
    shape
}
