//! `/run/ringpost/boot.json`: what was found, chosen and applied, for the console and for `ringpostctl`. Holds no secret.

use hardware::Difference;
use plan::{Placement, Shape};
use serde::{Deserialize, Serialize};

/// Below the root.
pub const PATH: &str = "run/ringpost/boot.json";

/// What a boot found and did, for the console and for `ringpostctl`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Of the image; of this program where it is not an image.
    pub version: String,
    /// Where the settings came from, in words; `None`: nowhere.
    pub settings: Option<String>,
    /// Why the settings were refused: file, line and fix.
    pub refused: Option<String>,
    /// The settings are tried in this start, and reverted unless they are confirmed.
    #[serde(default)]
    pub on_probation: bool,
    /// The name in greetings.
    pub server_name: Option<String>,
    /// The profile that was chosen; `None`: there were no settings.
    pub profile: Option<ProfileReport>,
    pub legs: Vec<String>,
    /// What the self-test does not find and the box cannot serve mail without.
    pub missing: Vec<String>,
    /// What works but should be looked at.
    pub alarms: Vec<String>,
    /// Promised by the profile and not so.
    pub differences: Vec<Difference>,
    /// Files written for systemd.
    pub files: Vec<String>,
    pub shape: Shape,
}

/// The profile, and what followed from it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProfileReport {
    pub name: String,
    pub why: String,
    /// The settings name it.
    pub pinned: bool,
    /// Which CPUs do what.
    pub placement: Placement,
    /// The words that the kernel was started with because of it.
    pub command_line: Vec<String>,
}
