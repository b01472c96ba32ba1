//! `[fetch]`: mail that is fetched from accounts elsewhere for people (POP3, IMAP).

use std::path::PathBuf;

use serde::Deserialize;

/// Hosts and domains in `allow`.
const HOSTS_MAX: usize = 256;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fetch {
    pub enabled: bool,
    /// Hosts that may be asked, `.example.net` with all below it; empty: any that is not in a private network.
    pub allow: Vec<String>,
    /// PEM: authorities that are trusted beside those of the web.
    pub authorities: Option<PathBuf>,
}

impl Fetch {
    /// With every host, as the flag of trial mode has it.
    pub fn on() -> Fetch {
        Fetch {
            enabled: true,
            ..Fetch::default()
        }
    }

    /// Whether the settings let this host be asked. Where it is in the network is looked at with its addresses.
    pub fn allows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_meant = |pattern: &String| {
            let pattern = pattern.to_ascii_lowercase();
            match pattern.strip_prefix('.') {
                Some(domain) => host == domain || host.ends_with(&pattern),
                None => host == pattern,
            }
        };
        self.allow.is_empty() || self.allow.iter().any(is_meant)
    }

    /// What is wrong with them, in words.
    pub(crate) fn check(&self, has_storage: bool) -> Result<(), String> {
        if self.enabled && !has_storage {
            return Err(
                "fetch.enabled: this node has no storage zone: write it on a storage node"
                    .to_owned(),
            );
        }
        if self.allow.len() > HOSTS_MAX {
            return Err(format!("fetch.allow: write at most {HOSTS_MAX}"));
        }
        for pattern in &self.allow {
            let host = pattern.strip_prefix('.').unwrap_or(pattern);
            let is_host = !host.is_empty()
                && host.len() <= 253
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
            if !is_host {
                return Err(format!(
                    "fetch.allow: `{pattern}` is not a host: write mail.example.net, .example.net or an address"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_allowed_by_name_and_by_domain() {
        let with = |allow: &[&str]| Fetch {
            allow: allow.iter().map(|host| (*host).to_owned()).collect(),
            ..Fetch::on()
        };
        assert!(with(&[]).allows("any.example"));
        let some = with(&["mail.example.net", ".example.org"]);
        for (host, is_allowed) in [
            ("mail.example.net", true),
            ("MAIL.example.net.", true),
            ("example.net", false),
            ("a.mail.example.net", false),
            ("example.org", true),
            ("a.b.Example.org", true),
            ("badexample.org", false),
        ] {
            assert_eq!(some.allows(host), is_allowed, "{host}");
        }
        assert_eq!(some.check(true), Ok(()));
        assert!(some.check(false).is_err());
        for wrong in ["", ".", "a b", "imaps://a"] {
            assert!(with(&[wrong]).check(true).is_err(), "{wrong}");
        }
    }
}
