//! Settings made complete: passwords hashed, profile and legs written in.

use std::fs;
use std::path::{Path, PathBuf};

use admin::limits::{PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN};
use plan::Misfit;
use toml::{Table, Value};

use crate::find::Found;
use crate::san;

/// The text with a hash in the place of every `password_file`, and the files that were read.
pub fn with_hashes(found: &Found) -> Result<(String, Vec<PathBuf>), Misfit> {
    if !found.text.contains("password_file") {
        return Ok((found.text.clone(), Vec::new()));
    }
    let mut table = table(found)?;
    let mut read = Vec::new();
    let accounts = table.get_mut("account").and_then(Value::as_array_mut);
    for account in accounts.into_iter().flatten() {
        let Some(account) = account.as_table_mut() else {
            continue;
        };
        let Some(Value::String(file)) = account.remove("password_file") else {
            continue;
        };
        let path = found.path.parent().unwrap_or(Path::new("/")).join(file);
        account.insert("password_hash".into(), Value::String(hash_of(&path)?));
        read.push(path);
    }
    Ok((table.to_string(), read))
}

/// The first line of a file, hashed as `ringpostctl` does.
fn hash_of(path: &Path) -> Result<String, Misfit> {
    let told = |what: String| Misfit::new(format!("password_file {}: {what}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    let password = text.lines().next().unwrap_or("");
    if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&password.len()) {
        return Err(told(format!(
            "its first line has {} bytes: write a password of {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX}",
            password.len()
        )));
    }
    admin::password::hash(password).map_err(told)
}

/// What the daemon reads: the settings with the chosen profile and, where they name none, the profile's legs;
/// without a SAN's secrets.
pub fn for_daemon(
    found: &Found,
    profile: &str,
    legs: Option<&[String]>,
    spool: Option<&[String]>,
) -> Result<String, Misfit> {
    let mut table = table(found)?;
    san::without_secrets(&mut table);
    section(&mut table, "server").insert("profile".into(), Value::String(profile.to_owned()));
    if let Some(legs) = legs {
        let legs = legs.iter().cloned().map(Value::String).collect();
        section(&mut table, "volume").insert("legs".into(), Value::Array(legs));
    }
    if let Some(legs) = spool {
        // It is made when the volume is.
        let create = section(&mut table, "volume").get("create").cloned();
        let legs = legs.iter().cloned().map(Value::String).collect();
        let spool = section(&mut table, "spool");
        spool.insert("legs".into(), Value::Array(legs));
        if let (Some(create), false) = (create, spool.contains_key("create")) {
            spool.insert("create".into(), create);
        }
    }
    Ok(format!(
        "# Written by ringpost-boot from {} ({}).\n{table}",
        found.path.display(),
        found.from.words()
    ))
}

fn table(found: &Found) -> Result<Table, Misfit> {
    // It was parsed strictly before; this is the same text.
    found.text.parse().map_err(|error: toml::de::Error| {
        Misfit::new(format!("{}: {}", found.path.display(), error.message()))
    })
}

fn section<'a>(table: &'a mut Table, name: &str) -> &'a mut Table {
    let entry = table
        .entry(name)
        .or_insert_with(|| Value::Table(Table::new()));
    entry.as_table_mut().expect("checked by plan::Settings")
}
