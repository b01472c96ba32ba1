//! `[scan]`: who looks for spam and viruses in messages.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use crate::limits::*;
use crate::units::{Size, Span};

/// What becomes of mail that is certainly spam.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnSpam {
    #[default]
    Refuse,
    Junk,
}

/// What becomes of mail that no server looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenUnavailable {
    Accept,
    /// The sender tries again: nothing is lost, and nothing comes in unseen.
    #[default]
    Defer,
}

/// Servers of one list do the same; mail is spread over them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scan {
    pub rspamd: Vec<SocketAddr>,
    pub clamd: Vec<SocketAddr>,
    /// Longer messages are taken as they are.
    pub message: Size,
    /// Of a call, all of it.
    pub deadline: Span,
    /// Calls at a time, of each thread to each kind of server.
    pub connections: usize,
    pub spam: OnSpam,
    /// Of clamd. Without rspamd mail is always taken.
    pub when_unavailable: WhenUnavailable,
    /// What people submit is looked into for viruses too.
    pub submission: bool,
    #[serde(rename = "milter")]
    pub milters: Vec<Milter>,
}

/// A filter that speaks the milter protocol.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Milter {
    /// In the header field that reports what it found.
    pub name: String,
    pub servers: Vec<SocketAddr>,
    #[serde(default)]
    pub when_unavailable: WhenUnavailable,
}

impl Default for Scan {
    fn default() -> Scan {
        Scan {
            rspamd: Vec::new(),
            clamd: Vec::new(),
            message: Size(SCAN_MESSAGE_BYTES_DEFAULT),
            deadline: Span(SCAN_DEADLINE_DEFAULT),
            connections: SCAN_CONNECTIONS_DEFAULT,
            spam: OnSpam::default(),
            when_unavailable: WhenUnavailable::default(),
            submission: true,
            milters: Vec::new(),
        }
    }
}

impl Scan {
    /// Calls at a time, on this many threads that receive and that take submissions.
    pub fn calls(&self, receiving: u64, submitting: u64) -> u64 {
        let kinds = u64::from(!self.rspamd.is_empty())
            + u64::from(!self.clamd.is_empty())
            + self.milters.len() as u64;
        let submitted = u64::from(self.scans_submissions());
        (receiving * kinds + submitting * submitted).saturating_mul(self.connections as u64)
    }

    /// Whether submitted mail goes to a server.
    pub fn scans_submissions(&self) -> bool {
        self.submission && !self.clamd.is_empty()
    }

    /// One sentence without the file's name.
    pub fn check(&self) -> Result<(), String> {
        for (key, servers) in [("rspamd", &self.rspamd), ("clamd", &self.clamd)] {
            if servers.len() > SCAN_SERVERS_MAX {
                return Err(format!(
                    "scan.{key}: write at most {SCAN_SERVERS_MAX} servers"
                ));
            }
        }
        if !(Duration::from_secs(1)..=SCAN_DEADLINE_MAX).contains(&self.deadline.0) {
            let most = SCAN_DEADLINE_MAX.as_secs();
            return Err(format!("scan.deadline: write 1s to {most}s"));
        }
        if !(1..=SCAN_CONNECTIONS_MAX).contains(&self.connections) {
            return Err(format!(
                "scan.connections: write 1 to {SCAN_CONNECTIONS_MAX}"
            ));
        }
        if self.milters.len() > SCAN_MILTERS_MAX {
            return Err(format!(
                "[[scan.milter]]: write at most {SCAN_MILTERS_MAX} filters"
            ));
        }
        let filters = self.milters.len().max(1) as u32;
        if self.deadline.0 * filters > SCAN_WAIT_MAX {
            let most = SCAN_WAIT_MAX.as_secs() / u64::from(filters);
            return Err(format!(
                "scan.deadline: each of the {filters} filters may take so long, and clients do not wait for all of them: write at most {most}s"
            ));
        }
        for (at, milter) in self.milters.iter().enumerate() {
            let name = &milter.name;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if !(1..=32).contains(&name.len()) || !name.bytes().all(plain) {
                return Err(format!(
                    "scan.milter.name: \"{name}\" does not work: write 1 to 32 letters, digits, `-` and `_`"
                ));
            }
            if ["scan", "own", "rspamd", "clamd"].contains(&name.as_str())
                || self.milters[..at].iter().any(|other| other.name == *name)
            {
                return Err(format!(
                    "scan.milter.name: \"{name}\" is taken: write another name"
                ));
            }
            if !(1..=SCAN_SERVERS_MAX).contains(&milter.servers.len()) {
                return Err(format!(
                    "scan.milter.servers of {name}: write 1 to {SCAN_SERVERS_MAX} addresses"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    fn parse(scan: &str) -> Result<Scan, String> {
        let text = format!("[volume]\nlegs = [\"/a\", \"/b\"]\n{scan}");
        match Settings::parse("s", &text) {
            Ok(settings) => Ok(settings.scan),
            Err(misfit) => Err(misfit.to_string()),
        }
    }

    #[test]
    fn scanners_may_be_left_out_and_written_in_full() {
        let scan = parse("").expect("the default");
        assert_eq!(scan.calls(4, 4), 0);
        let scan = parse(
            "[scan]\nrspamd = [\"192.0.2.7:11333\"]\nclamd = [\"192.0.2.8:3310\", \"[::1]:3310\"]\nmessage = \"5MiB\"\n\
             deadline = \"30s\"\nconnections = 2\nspam = \"junk\"\nwhen_unavailable = \"accept\"\n[[scan.milter]]\n\
             name = \"opendkim\"\nservers = [\"127.0.0.1:8891\"]\n",
        );
        let scan = scan.expect("well-formed");
        assert_eq!((scan.clamd.len(), scan.spam), (2, OnSpam::Junk));
        assert_eq!(scan.milters[0].when_unavailable, WhenUnavailable::Defer);
        // Three kinds on two threads, and clamd on one.
        assert_eq!(scan.calls(2, 1), 14);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_fix() {
        for (written, fix) in [
            ("clamd = [\"clamd.example.org\"]", "invalid socket address"),
            ("deadline = \"0s\"", "write 1s to"),
            ("deadline = \"1h\"", "write 1s to"),
            ("connections = 0", "write 1 to"),
            ("spam = \"drop\"", "`junk`"),
            ("when_unavailable = \"drop\"", "`defer`"),
            (
                "deadline = \"161s\"\n[[scan.milter]]\nname = \"a\"\nservers = [\"127.0.0.1:1\"]\n[[scan.milter]]\nname = \"b\"\n\
                 servers = [\"127.0.0.1:1\"]\n[[scan.milter]]\nname = \"c\"\nservers = [\"127.0.0.1:1\"]",
                "write at most 160s",
            ),
            (
                "[[scan.milter]]\nname = \"a;b\"\nservers = [\"127.0.0.1:1\"]",
                "letters, digits",
            ),
            (
                "[[scan.milter]]\nname = \"clamd\"\nservers = [\"127.0.0.1:1\"]",
                "another name",
            ),
            (
                "[[scan.milter]]\nname = \"a\"\nservers = []",
                "1 to 8 addresses",
            ),
        ] {
            let refused = parse(&format!("[scan]\n{written}\n")).expect_err(written);
            assert!(refused.contains(fix), "{written}: {refused}");
        }
    }
}
