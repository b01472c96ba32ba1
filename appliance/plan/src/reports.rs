//! `[reports]`: what other domains hear of their mail and of their servers.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reports {
    /// Aggregate reports of DMARC.
    pub dmarc: bool,
    /// Reports of TLS.
    pub tls: bool,
    /// Reports of single messages that failed DMARC.
    pub failures: bool,
    /// Of one domain in an hour.
    pub failures_per_hour: u32,
    /// What people wrote is taken out of the header that such a report shows.
    pub failures_redacted: bool,
    /// `local@domain`; empty: postmaster@ the host name.
    pub from: String,
    /// The reporter's name for people; empty: the host name.
    pub organization: String,
}

/// The same as the daemon uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportsPlan {
    pub from: String,
    pub organization: String,
    pub dmarc: bool,
    pub tls: bool,
    /// Messages of one domain in an hour; `None`: none are reported.
    pub failures_per_hour: Option<u32>,
    pub failures_redacted: bool,
}

impl Default for Reports {
    fn default() -> Reports {
        Reports {
            dmarc: true,
            tls: true,
            failures: false,
            failures_per_hour: 10,
            failures_redacted: true,
            from: String::new(),
            organization: String::new(),
        }
    }
}

impl Reports {
    /// For trial mode, whose host has no name of its own.
    pub fn trial() -> Reports {
        Reports {
            from: "postmaster@example.org".to_owned(),
            ..Reports::default()
        }
    }

    /// `None`: nothing is reported, also because this host has no name that others can look up.
    pub fn plan(&self, server_name: &str) -> Option<ReportsPlan> {
        let from = match self.from.as_str() {
            "" if server_name.contains('.') => format!("postmaster@{server_name}"),
            "" => return None,
            from => from.to_owned(),
        };
        let is_on = self.dmarc || self.tls || self.failures;
        is_on.then(|| ReportsPlan {
            from,
            organization: match self.organization.as_str() {
                "" => server_name.to_owned(),
                name => name.to_owned(),
            },
            dmarc: self.dmarc,
            tls: self.tls,
            failures_per_hour: self.failures.then_some(self.failures_per_hour),
            failures_redacted: self.failures_redacted,
        })
    }

    /// One sentence without the file's name.
    pub fn check(&self) -> Result<(), String> {
        let is_fit = |each: char| each.is_ascii_graphic() && !"<>\"(),:;\\".contains(each);
        let parts = self.from.split_once('@');
        let is_address = parts.is_some_and(|(local, domain)| {
            let is_domain = domain.contains('.') && !domain.contains('@');
            !local.is_empty() && is_domain && self.from.chars().all(is_fit)
        });
        let is_short = self.from.len() <= FROM_BYTES_MAX;
        let is_right = self.from.is_empty() || is_address && is_short;
        if !is_right {
            return Err(
                "reports.from: write an address, such as postmaster@example.org".to_owned(),
            );
        }
        let is_name = !self.organization.chars().any(char::is_control);
        if !is_name || self.organization.len() > ORGANIZATION_BYTES_MAX {
            return Err(format!(
                "reports.organization: write a name of at most {ORGANIZATION_BYTES_MAX} bytes in one line"
            ));
        }
        if !(1..=FAILURES_PER_HOUR_MAX).contains(&self.failures_per_hour) {
            return Err(format!(
                "reports.failures_per_hour: write 1 to {FAILURES_PER_HOUR_MAX}"
            ));
        }
        Ok(())
    }
}

const FROM_BYTES_MAX: usize = 200;
const ORGANIZATION_BYTES_MAX: usize = 100;
const FAILURES_PER_HOUR_MAX: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn parsed(rest: &str) -> Result<Reports, String> {
        let text = format!("[volume]\nlegs = [\"/dev/a\", \"/dev/b\"]\n[reports]\n{rest}");
        let settings = Settings::parse("ringpost.toml", &text);
        settings
            .map(|settings| settings.reports)
            .map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn reports_come_from_an_address_that_others_can_answer_or_not_at_all() {
        let reports = parsed("").expect("nothing is wrong");
        assert_eq!(reports.plan("localhost"), None, "it has no name");
        let plan = reports.plan("mx.example.org").expect("it has a name");
        assert_eq!(plan.from, "postmaster@mx.example.org");
        assert_eq!(plan.organization, "mx.example.org");
        assert_eq!(
            (plan.dmarc, plan.tls, plan.failures_per_hour),
            (true, true, None)
        );
        let reports = parsed("from = \"a@b.example\"\nfailures = true\ntls = false\n");
        let plan = reports
            .expect("right")
            .plan("localhost")
            .expect("by its address");
        assert_eq!((plan.tls, plan.failures_per_hour), (false, Some(10)));
        let off = parsed("dmarc = false\ntls = false\n").expect("right");
        assert_eq!(off.plan("mx.example.org"), None);
        for bad in [
            "from = \"a\"\n",
            "from = \"a@b\"\n",
            "from = \"<a@b.example>\"\n",
            "organization = \"a\\nb\"\n",
            "failures_per_hour = 0\n",
        ] {
            assert!(parsed(bad).unwrap_err().contains("reports."), "{bad}");
        }
    }
}
