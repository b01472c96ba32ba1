//! `[quarantine]`: which mail of strangers is kept apart until an administrator decides.

use serde::{Deserialize, Serialize};

use crate::units::Size;

/// Whose verdict sends a message to the quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// clamd finds a virus, or it is the EICAR test file. Else such mail is refused.
    Virus,
    /// The domain in From asks for quarantine. Else such mail goes to the folder for junk.
    Dmarc,
    /// rspamd or a milter asks for quarantine. Else as for `Dmarc`.
    Scanner,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quarantine {
    /// Empty: nothing is kept apart.
    pub verdicts: Vec<Verdict>,
    /// What is older is removed.
    pub days: u32,
    /// Of all messages; what does not fit is deferred.
    pub size: Size,
}

/// The same as the daemon uses it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QuarantinePlan {
    pub verdicts: Vec<Verdict>,
    pub days: u32,
    pub bytes_max: u64,
}

impl Default for Quarantine {
    fn default() -> Quarantine {
        Quarantine {
            verdicts: Vec::new(),
            days: 30,
            size: Size(1 << 30),
        }
    }
}

impl Quarantine {
    pub fn plan(&self) -> QuarantinePlan {
        QuarantinePlan {
            verdicts: self.verdicts.clone(),
            days: self.days,
            bytes_max: self.size.0,
        }
    }

    /// One sentence without the file's name.
    pub fn check(&self, message_bytes_max: u64) -> Result<(), String> {
        for (at, verdict) in self.verdicts.iter().enumerate() {
            if self.verdicts[..at].contains(verdict) {
                return Err("quarantine.verdicts: write each verdict once".into());
            }
        }
        if !(1..=DAYS_MAX).contains(&self.days) {
            return Err(format!("quarantine.days: write 1 to {DAYS_MAX}"));
        }
        // With the lines in front. A smaller one would defer a message for ever.
        if !self.verdicts.is_empty() && self.size.0 < message_bytes_max.saturating_mul(2) {
            return Err(format!(
                "quarantine.size: write at least {}, which is twice limits.message",
                Size(message_bytes_max.saturating_mul(2))
            ));
        }
        Ok(())
    }
}

/// Ten years: longer than anything is kept that no law asks for.
const DAYS_MAX: u32 = 3_650;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn parsed(rest: &str) -> Result<QuarantinePlan, String> {
        let text = format!("[volume]\nlegs = [\"/dev/a\", \"/dev/b\"]\n[quarantine]\n{rest}");
        let settings = Settings::parse("ringpost.toml", &text);
        settings
            .map(|settings| settings.quarantine.plan())
            .map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn verdicts_are_chosen_by_name_and_bounds_hold() {
        let none = parsed("").expect("the defaults");
        assert_eq!(
            (none.verdicts, none.days, none.bytes_max),
            (vec![], 30, 1 << 30)
        );
        let some = parsed("verdicts = [\"virus\", \"dmarc\"]\ndays = 7\nsize = \"2GiB\"\n");
        let some = some.expect("good settings");
        assert_eq!(some.verdicts, [Verdict::Virus, Verdict::Dmarc]);
        assert_eq!((some.days, some.bytes_max), (7, 2 << 30));
        for (bad, words) in [
            (
                "verdicts = [\"virus\", \"virus\"]\n",
                "write each verdict once",
            ),
            ("verdicts = [\"spam\"]\n", "`scanner`"),
            ("days = 0\n", "quarantine.days: write 1 to"),
            (
                "verdicts = [\"dmarc\"]\nsize = \"1MiB\"\n",
                "quarantine.size: write at least",
            ),
        ] {
            let refused = parsed(bad).expect_err(bad);
            assert!(refused.contains(words), "{refused}");
        }
    }
}
