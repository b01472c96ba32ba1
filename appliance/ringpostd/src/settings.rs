//! The command line, and the plan that follows from it.

use std::path::{Path, PathBuf};

use clap::Parser;
use plan::{Machine, Misfit, Plan, Profile, Settings, Size};

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
    /// Every port is this number plus the standard port
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub port_base: u16,
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
    /// Throw accepted mail away instead of storing it: for measuring the receiver alone
    #[arg(long, hide = true)]
    pub sink: bool,
}

/// What to run, checked.
pub struct Chosen {
    pub plan: Plan,
    pub settings: Settings,
    pub trial: bool,
}

impl Flags {
    pub fn choose(&self) -> Result<Chosen, Misfit> {
        let (mut settings, trial) = match &self.config {
            Some(path) => (Settings::load(path)?, false),
            None => {
                let state = self.state.clone().unwrap_or_else(|| "./var".into());
                (
                    Settings::trial(&state, self.leg_size, self.port_base)?,
                    true,
                )
            }
        };
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
        let plan = Plan::make(
            &settings,
            &profile,
            &Machine::of(&hardware::probe(Path::new("/"))),
        )?;
        Ok(Chosen {
            plan,
            settings,
            trial,
        })
    }
}
