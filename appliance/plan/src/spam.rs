//! `[spam]`: which mail of strangers is filed as junk.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spam {
    pub enabled: bool,
    /// From this score on a message is junk.
    pub junk_score: f64,
    /// From this score on it is refused; 0: never.
    pub refuse_score: f64,
}

/// The same as the daemon uses it, in tenths of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpamPlan {
    pub junk_tenths: i32,
    pub refuse_tenths: Option<i32>,
}

impl Default for Spam {
    fn default() -> Spam {
        Spam {
            enabled: true,
            junk_score: 5.0,
            refuse_score: 0.0,
        }
    }
}

impl Spam {
    /// For trial mode, which asks no name server.
    pub fn off() -> Spam {
        Spam {
            enabled: false,
            ..Spam::default()
        }
    }

    /// `None`: nothing is judged.
    pub fn plan(&self) -> Option<SpamPlan> {
        self.enabled.then(|| SpamPlan {
            junk_tenths: tenths(self.junk_score),
            refuse_tenths: (self.refuse_score != 0.0).then(|| tenths(self.refuse_score)),
        })
    }

    /// One sentence without the file's name.
    pub fn check(&self) -> Result<(), String> {
        if !(SCORE_MIN..=SCORE_MAX).contains(&self.junk_score) {
            return Err(format!(
                "spam.junk_score: write a score of {SCORE_MIN} to {SCORE_MAX}"
            ));
        }
        let refuse = self.refuse_score;
        if refuse != 0.0 && !(self.junk_score..=SCORE_MAX).contains(&refuse) {
            return Err(format!(
                "spam.refuse_score: write 0 (nothing is refused), or a score from spam.junk_score to {SCORE_MAX}"
            ));
        }
        Ok(())
    }
}

fn tenths(score: f64) -> i32 {
    (score * 10.0).round() as i32
}

/// Below it ordinary mail is junk.
const SCORE_MIN: f64 = 1.0;
const SCORE_MAX: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn parsed(rest: &str) -> Result<Option<SpamPlan>, String> {
        let text = format!("[volume]\nlegs = [\"/dev/a\", \"/dev/b\"]\n[spam]\n{rest}");
        let settings = Settings::parse("ringpost.toml", &text);
        settings
            .map(|settings| settings.spam.plan())
            .map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn scores_are_tenths_and_bounds_hold() {
        let of = |junk_tenths, refuse_tenths| {
            Ok(Some(SpamPlan {
                junk_tenths,
                refuse_tenths,
            }))
        };
        assert_eq!(parsed(""), of(50, None));
        assert_eq!(
            parsed("junk_score = 6.25\nrefuse_score = 12\n"),
            of(63, Some(120))
        );
        assert_eq!(parsed("enabled = false\n"), Ok(None));
        for bad in [
            "junk_score = 0\n",
            "junk_score = nan\n",
            "junk_score = 101\n",
        ] {
            assert!(
                parsed(bad).unwrap_err().contains("spam.junk_score: write"),
                "{bad}"
            );
        }
        for bad in ["refuse_score = 4.9\n", "refuse_score = inf\n"] {
            assert!(
                parsed(bad)
                    .unwrap_err()
                    .contains("spam.refuse_score: write"),
                "{bad}"
            );
        }
        assert!(parsed("weights = 1\n").is_err());
    }
}
