//! The command line, and the plan that follows from it.

use std::path::{Path, PathBuf};

use clap::Parser;
use plan::limits::PORT_BASE_DEFAULT;
use plan::{Machine, Misfit, Plan, Profile, Settings, Size};

use crate::listen::Ports;

/// Mail in over SMTP, mirrored and durable before the 250, out over IMAP.
#[derive(Debug, Parser)]
#[command(name = "ringpostd", version)]
pub struct Flags {
    /// Run as an ordinary process with file legs and demo accounts (the default without --config)
    #[arg(long, conflicts_with = "config")]
    pub trial: bool,
    /// Everything that trial mode keeps [default: ./var]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Size of each of the two leg files, at first start
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub leg_size: Size,
    /// Every port is this number plus the standard port [default: 3000, or the next thousand whose ports are free]
    #[arg(long, value_name = "N", conflicts_with = "config")]
    pub port_base: Option<u16>,
    /// A real configuration instead of trial mode
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A hardware profile instead of the configured one: `generic` or a file
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Print the checked plan (cores, limits, memory, devices) and exit
    #[arg(long)]
    pub plan: bool,
    /// Print the plan as one JSON document
    #[arg(long, requires = "plan")]
    pub json: bool,
    /// What to log: error, warn, info, debug, or tracing's directives
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Take legs that lie on other devices than those they were made on: they were moved on purpose
    #[arg(long)]
    pub accept_moved: bool,
    /// Give up acknowledged mail that every leg has lost, for when `ringpostctl volume accept-damage` cannot be asked
    #[arg(long)]
    pub accept_damage: bool,
}

/// What to run, checked.
pub struct Chosen {
    pub plan: Plan,
    pub settings: Settings,
    pub trial: bool,
    pub ports: Ports,
}

impl Flags {
    pub fn choose(&self) -> Result<Chosen, Misfit> {
        let (mut settings, ports) = match &self.config {
            Some(path) => (Settings::load(path)?, Ports::Configured),
            None => {
                let state = self.state.clone().unwrap_or_else(|| "./var".into());
                let base = self.port_base.unwrap_or(PORT_BASE_DEFAULT);
                let ports = match self.port_base {
                    Some(_) => Ports::Asked,
                    None => Ports::FirstFree { base },
                };
                (Settings::trial(&state, self.leg_size, base)?, ports)
            }
        };
        let trial = ports != Ports::Configured;
        if let Some(state) = &self.state {
            settings.server.state = state.clone();
        }
        if let Some(profile) = &self.profile {
            settings.server.profile = Some(profile.clone());
        }
        if let Some(level) = &self.log {
            settings.log.level = level.clone();
        } else if trial {
            // The one screen stays readable; `--log info` shows every message's way.
            settings.log.level = "warn".into();
        }
        let profile = Profile::load(settings.profile())?;
        let machine = Machine {
            open_files: runtime::process::open_files_max(),
            ..Machine::of(&hardware::probe(Path::new("/")))
        };
        let plan = Plan::make(&settings, &profile, &machine)?;
        Ok(Chosen {
            plan,
            settings,
            trial,
            ports,
        })
    }
}

#[cfg(test)]
mod tests {
    /// The plan may not see the crates that it plans for; here both are seen.
    #[test]
    fn the_plan_counts_the_control_socket_with_all_its_clients() {
        assert_eq!(
            plan::limits::CONTROL_DESCRIPTORS,
            crate::admin::limits::CLIENTS_MAX as u64 + 1
        );
    }
}
