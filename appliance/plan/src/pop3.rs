//! `[pop3]`: what is kept of mail that POP3 clients delete.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pop3 {
    /// For every account without a rule of its own; 0: nothing is kept.
    pub keep_days: u32,
    /// The folder in which it is kept.
    pub keep_in: String,
    pub keep: Vec<Keep>,
}

/// For one account, or all of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// Its address.
    #[serde(default)]
    pub account: Option<String>,
    #[serde(default)]
    pub domain: Option<String>,
    /// 0: nothing is kept.
    pub days: u32,
}

/// The same as the daemon uses it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pop3Plan {
    pub keep_days: u32,
    pub keep_in: String,
    pub keep: Vec<Keep>,
}

impl Default for Pop3 {
    fn default() -> Pop3 {
        Pop3 {
            keep_days: 0,
            keep_in: KEEP_IN_DEFAULT.to_owned(),
            keep: Vec::new(),
        }
    }
}

/// Each rule is compared with the address of each login.
const RULES_MAX: usize = 1_024;
const DAYS_MAX: u32 = 3_650;
/// Octets of the folder's name.
const NAME_BYTES_MAX: usize = 128;
const KEEP_IN_DEFAULT: &str = "Deleted by POP3";

impl Pop3 {
    pub fn plan(&self) -> Pop3Plan {
        Pop3Plan {
            keep_days: self.keep_days,
            keep_in: self.keep_in.clone(),
            keep: self.keep.clone(),
        }
    }

    /// One sentence without the file's name.
    pub fn check(&self) -> Result<(), String> {
        let name = &self.keep_in;
        let is_name = (1..=NAME_BYTES_MAX).contains(&name.len())
            && !name.contains(|letter: char| letter.is_control() || "/*%".contains(letter))
            && name.trim() == name;
        // INBOX itself would show the mail to POP3 again.
        if !is_name || name.eq_ignore_ascii_case("INBOX") {
            return Err(format!(
                "pop3.keep_in: {name:?} cannot be the folder; write the name of one that is not INBOX, without /, * and %"
            ));
        }
        if self.keep.len() > RULES_MAX {
            return Err(format!("pop3.keep: write at most {RULES_MAX} rules"));
        }
        let days = self.keep.iter().map(|rule| rule.days);
        if days.chain([self.keep_days]).any(|days| days > DAYS_MAX) {
            return Err(format!("pop3: keep mail for at most {DAYS_MAX} days"));
        }
        for (at, rule) in self.keep.iter().enumerate() {
            match (&rule.account, &rule.domain) {
                (Some(account), None) if !is_address(account) => {
                    return Err(format!(
                        "pop3.keep.account: {account} is not an address; write name@domain"
                    ));
                }
                (None, Some(domain)) if !is_domain(domain) => {
                    return Err(format!("pop3.keep.domain: {domain:?} is not a domain"));
                }
                (Some(_), None) | (None, Some(_)) => {}
                _ => return Err("pop3.keep: write account or domain in each rule".into()),
            }
            let lower = |name: &Option<String>| name.as_ref().map(|name| name.to_lowercase());
            let whose = |rule: &Keep| (lower(&rule.account), lower(&rule.domain));
            if self.keep[..at]
                .iter()
                .any(|other| whose(other) == whose(rule))
            {
                return Err("pop3.keep: write one rule for each account and domain".into());
            }
        }
        Ok(())
    }
}

/// A rule for what is the address of no account would keep nothing, in silence, and the mail is gone then.
fn is_address(account: &str) -> bool {
    let parts = account.rsplit_once('@');
    let is_one = parts.is_some_and(|(local, domain)| !local.is_empty() && is_domain(domain));
    is_one && !account.starts_with(['<', ' ']) && !account.contains(char::is_control)
}

fn is_domain(domain: &str) -> bool {
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '-' || !letter.is_ascii();
    let mut labels = domain.split('.');
    labels.all(|label| !label.is_empty() && label.chars().all(is_letter))
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;

    fn parsed(rest: &str) -> Result<super::Pop3Plan, String> {
        let text = format!("[volume]\nlegs = [\"/dev/a\", \"/dev/b\"]\n{rest}");
        let settings = Settings::parse("ringpost.toml", &text);
        settings
            .map(|settings| settings.pop3.plan())
            .map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn rules_are_for_one_account_or_one_domain() {
        let plan = parsed("").expect("nothing is kept");
        assert_eq!((plan.keep_days, &plan.keep_in[..]), (0, "Deleted by POP3"));
        let text = "[pop3]\nkeep_days = 30\n[[pop3.keep]]\ndomain = \"example.org\"\ndays = 90\n";
        let plan = parsed(text).expect("rules");
        assert_eq!((plan.keep_days, plan.keep[0].days), (30, 90));
        for (bad, words) in [
            ("[pop3]\nkeep_in = \"inbox\"", "cannot be the folder"),
            ("[pop3]\nkeep_in = \"a/b\"", "cannot be the folder"),
            ("[pop3]\nkeep_days = 3651", "at most 3650 days"),
            ("[[pop3.keep]]\ndays = 3", "account or domain"),
            (
                "[[pop3.keep]]\naccount = \"a@b.example\"\ndomain = \"b.example\"\ndays = 3",
                "account or domain",
            ),
            (
                "[[pop3.keep]]\naccount = \"ann\"\ndays = 3",
                "not an address",
            ),
            (
                "[[pop3.keep]]\naccount = \"<ann@example.org>\"\ndays = 3",
                "not an address",
            ),
            (
                "[[pop3.keep]]\naccount = \"ann@example.org \"\ndays = 3",
                "not an address",
            ),
            (
                "[[pop3.keep]]\naccount = \"ann@\"\ndays = 3",
                "not an address",
            ),
            ("[[pop3.keep]]\ndomain = \"\"\ndays = 3", "not a domain"),
            (
                "[[pop3.keep]]\ndomain = \"*.example.org\"\ndays = 3",
                "not a domain",
            ),
        ] {
            let refused = parsed(&format!("{bad}\n")).expect_err(bad);
            assert!(refused.contains(words), "{refused}");
        }
        let twice = "[[pop3.keep]]\ndomain = \"example.org\"\ndays = 9\n".repeat(2);
        assert!(
            parsed(&twice)
                .expect_err("two")
                .contains("one rule for each")
        );
    }
}
