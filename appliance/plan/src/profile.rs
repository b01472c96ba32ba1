//! Hardware profiles: what the machine is good for. `hw-profiles/*.toml`.

use std::path::Path;

use serde::Deserialize;

use crate::load::{self, Misfit, Source};
use crate::units::Span;

/// A strict profile file. What it leaves out is computed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub name: String,
    #[serde(default)]
    pub memory: Memory,
    #[serde(default)]
    pub zones: Zones,
    #[serde(default)]
    pub storage: Storage,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    pub percent: u8,
}

/// CPU numbers by zone.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zones {
    pub storage: Option<Vec<usize>>,
    pub inbound: Option<Vec<usize>>,
    pub client: Option<Vec<usize>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    pub batches_in_flight: usize,
    pub batch_buffers: usize,
    pub hard_deadline: Span,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { percent: 75 }
    }
}

impl Default for Storage {
    fn default() -> Storage {
        Storage {
            batches_in_flight: 4,
            batch_buffers: 16,
            hard_deadline: Span(std::time::Duration::from_secs(30)),
        }
    }
}

/// The profile that fits any machine; part of the program.
const GENERIC: &str = include_str!("../../../hw-profiles/generic.toml");

impl Profile {
    pub fn generic() -> Profile {
        Profile::parse("hw-profiles/generic.toml", GENERIC)
            .expect("our own profile is right: a test reads it")
    }

    pub fn parse(name: &str, text: &str) -> Result<Profile, Misfit> {
        let source = Source { name, text };
        let profile: Profile = load::parse(&source)?;
        if !(10..=95).contains(&profile.memory.percent) {
            return Err(Misfit::new(format!(
                "{name}: memory.percent is {}: write 10 to 95",
                profile.memory.percent
            )));
        }
        let storage = &profile.storage;
        if !(1..=64).contains(&storage.batches_in_flight) {
            return Err(Misfit::new(format!(
                "{name}: storage.batches_in_flight: write 1 to 64"
            )));
        }
        if storage.batch_buffers < storage.batches_in_flight + 2 || storage.batch_buffers > 1024 {
            return Err(Misfit::new(format!(
                "{name}: storage.batch_buffers: write {} (batches_in_flight + 2) to 1024",
                storage.batches_in_flight + 2
            )));
        }
        Ok(profile)
    }

    /// By name (`generic`) or by path.
    pub fn load(name: &str) -> Result<Profile, Misfit> {
        if name == "generic" {
            return Ok(Profile::generic());
        }
        let path = Path::new(name);
        if path.components().count() == 1 && path.extension().is_none() {
            return Err(Misfit::new(format!(
                "no profile is called `{name}`: write \"generic\", or the path of a profile file"
            )));
        }
        Profile::parse(name, &load::read_file(path)?)
    }
}
