//! Settings changed from afar: what passes between the daemon, which may not change the box, and `ringpost-boot settings serve`, which may.
//!
//! That side checks the settings itself, as the boot will.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::exchange::Exchange;
use crate::limits::{SETTINGS_ANSWER_WITHIN, SETTINGS_EXCHANGE_BYTES_MAX};

/// Made with the daemon's runtime directory.
pub const EXCHANGE: &str = "/run/ringpost/settings";

/// The two files in `directory`.
pub fn exchange(directory: &Path) -> Exchange<'_> {
    Exchange {
        directory,
        bytes_max: SETTINGS_EXCHANGE_BYTES_MAX,
    }
}

/// Hands `request` over and waits for what becomes of it. `Err`: one sentence.
pub fn ask(directory: &Path, request: &Request) -> Result<Outcome, String> {
    let within = SETTINGS_ANSWER_WITHIN;
    let answer = exchange(directory).ask(request, within, |_: &Outcome| true)?;
    answer.ok_or_else(|| {
        format!(
            "ringpost-settings.service has not answered for {} s: `settings history` shows whether the change was made",
            within.as_secs()
        )
    })
}

/// What is asked about settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verb", deny_unknown_fields)]
pub enum Request {
    /// The settings in force.
    Show,
    /// Changes of settings, the newest first.
    History,
    /// Checks new settings and changes nothing.
    Check {
        /// What the file is called where it came from, for sentences.
        name: String,
        /// The text of the settings file.
        text: String,
        /// Paths of the volume's legs now.
        legs: Vec<String>,
    },
    /// Checks new settings and puts them in force, on probation where they could cut off access.
    Apply {
        /// As in `Check`.
        name: String,
        /// The text of the settings file.
        text: String,
        /// Paths of the volume's legs now.
        legs: Vec<String>,
        /// How long a change on probation is waited for.
        within_s: u64,
        /// The name on the client certificate, for the history.
        who: String,
    },
    /// Ends a probation: the settings stay. The connection must be newer than the settings, so that it proves them.
    Confirm {
        /// The name on the client certificate.
        who: String,
        /// When the connection was accepted that this came by: milliseconds of the machine's uptime.
        connected_ms: u64,
    },
    /// Ends a probation; without one, the previous settings.
    Revert {
        /// Paths of the volume's legs now.
        legs: Vec<String>,
        /// How long a change on probation is waited for.
        within_s: u64,
        /// The name on the client certificate.
        who: String,
    },
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", deny_unknown_fields)]
pub enum Outcome {
    Shown(Shown),
    History {
        lines: Vec<Line>,
    },
    Checked(Checked),
    /// The answer to `Apply`, and to a `Revert` that had no probation to end.
    Applied(Checked),
    /// The answer to `Confirm`, with the keys that stay changed.
    Confirmed {
        keys: Vec<String>,
    },
    /// The answer to `Revert`, with what happens next.
    Reverted {
        keys: Vec<String>,
        next: String,
    },
    /// Nothing was changed; the reason is one sentence for the operator.
    Refused {
        reason: String,
    },
}

/// The settings in force; no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Where they came from, in words.
    pub from: String,
    /// The text of the file, secrets left out.
    pub text: String,
    /// Why they are not changed from here.
    pub fixed: Option<String>,
    /// The change that waits for a confirmation, if one does.
    pub probation: Option<Told>,
}

/// When a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// While the daemon runs.
    Now,
    /// The host name now, greetings at the next restart.
    NameNow,
    /// With the next start of the box or of the daemon.
    NextRestart,
    /// Read only when a volume is made.
    NewVolume,
}

impl Effect {
    /// As the preview of a change shows it.
    pub fn words(self) -> &'static str {
        match self {
            Effect::Now => "now",
            Effect::NameNow => "immediately (host name) and at the next restart (greetings)",
            Effect::NextRestart => "at the next restart",
            Effect::NewVolume => "no effect: it is read only when a volume is created",
        }
    }
}

/// Whether a change is on probation until it is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probation {
    /// It stands at once.
    #[default]
    No,
    /// From now on.
    Now,
    /// From the next restart on: until then nothing changes.
    NextRestart,
}

/// One key that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// `network.interface.eth0.address`
    pub key: String,
    /// When the new value counts.
    pub effect: Effect,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// One sentence with the fix each; with any, nothing is applied.
    pub mistakes: Vec<String>,
    /// Every key that differs, in the order of the file.
    pub changes: Vec<Change>,
    /// What should be looked at all the same.
    pub notes: Vec<String>,
    /// Whether the change has to be confirmed.
    pub probation: Probation,
    /// How long a change on probation is waited for; 0 before it is applied.
    #[serde(default)]
    pub within_s: u64,
}

impl Checked {
    /// A check that found this one mistake.
    pub fn mistaken(sentence: impl Into<String>) -> Checked {
        Checked {
            mistakes: vec![sentence.into()],
            ..Checked::default()
        }
    }

    pub fn keys(&self) -> Vec<String> {
        self.changes
            .iter()
            .map(|change| change.key.clone())
            .collect()
    }
}

/// One change of settings that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Seconds since 1970 by the box's own clock.
    pub at: u64,
    /// The name on the client certificate, or who it was on the box itself.
    pub who: String,
    /// `applied`, `on probation`, `confirmed`, `taken back`, …
    pub did: String,
    /// The keys that changed.
    pub keys: Vec<String>,
}

/// What a probation looks like from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The name on the client certificate of the change.
    pub who: String,
    /// The keys that changed.
    pub keys: Vec<String>,
    /// It begins with the next restart.
    pub waits_for_restart: bool,
    /// Seconds until the settings are given up; `None`: not counted yet.
    pub left_s: Option<u64>,
}

impl Told {
    /// One sentence with what is to be done.
    pub fn sentence(&self) -> String {
        let what = format!("settings of {} are on probation", self.who);
        match (self.waits_for_restart, self.left_s) {
            (true, _) => format!(
                "{what} from the next restart on: `ringpostctl reboot`, then `settings confirm`; or `settings revert`"
            ),
            (false, Some(left)) => format!(
                "{what}: `ringpostctl settings confirm` within {left} s, or the previous settings are restored"
            ),
            (false, None) => format!("{what}: `ringpostctl settings confirm` keeps them"),
        }
    }

    /// For a line of a console.
    pub fn line(&self) -> String {
        let whose = format!("settings of {}", self.who);
        match (self.waits_for_restart, self.left_s) {
            (true, _) => format!("{whose} wait for the next restart to be tried"),
            (false, Some(left)) => {
                format!("{whose} are on probation: {left} s left to confirm them")
            }
            (false, None) => format!("{whose} are on probation"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_read_as_it_was_written() {
        let checked = Checked::mistaken("x");
        for outcome in [
            Outcome::Checked(checked.clone()),
            Outcome::Applied(checked),
            Outcome::History { lines: Vec::new() },
            Outcome::Confirmed { keys: Vec::new() },
            Outcome::Shown(Shown {
                from: "x".into(),
                text: String::new(),
                fixed: None,
                probation: None,
            }),
        ] {
            let text = serde_json::to_string(&outcome).expect("JSON");
            assert_eq!(serde_json::from_str(&text).ok(), Some(outcome));
        }
    }
}
