//! `[acme]`: a certificate from an authority that gives it by itself (ACME, RFC 8555).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Span;

/// How the authority finds out that the names are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Challenge {
    /// It fetches a text over HTTP from port 80 of each name (RFC 8555 §8.3).
    #[default]
    #[serde(rename = "http-01")]
    Http,
    /// It opens TLS to port 443 of each name (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn,
    /// It looks up a record of each name (RFC 8555 §8.4), which we put into the zone (RFC 2136).
    #[serde(rename = "dns-01")]
    Dns,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Acme {
    /// The URL where the authority says what it offers. Empty: no certificate is ordered.
    pub directory: String,
    /// The operator accepts the authority's terms.
    pub terms_agreed: bool,
    /// URLs (`mailto:…`) at which the authority may reach the operator.
    pub contact: Vec<String>,
    /// What the certificate is to be for. Empty: `server.name`.
    pub names: Vec<String>,
    pub challenge: Challenge,
    /// PEM: authorities that count beside those of the web for the directory's own certificate.
    pub authorities: Option<PathBuf>,
    pub dns: AcmeDns,
}

/// Where and how records are put into the zone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AcmeDns {
    /// The zone's primary name server.
    pub server: Option<SocketAddr>,
    pub zone: String,
    /// The name of the key (TSIG, hmac-sha256).
    pub key: String,
    /// The file with the key in base64.
    pub secret: Option<PathBuf>,
    /// How long the zone's other servers take to have the record.
    pub wait: Span,
}

impl Default for AcmeDns {
    fn default() -> AcmeDns {
        AcmeDns {
            server: None,
            zone: String::new(),
            key: String::new(),
            secret: None,
            wait: Span(Duration::from_secs(30)),
        }
    }
}

/// An authority gives no certificate for more names, and each costs it a look.
const NAMES_MAX: usize = 100;
const CONTACTS_MAX: usize = 10;
const WAIT_MAX: Duration = Duration::from_secs(300);

impl Acme {
    pub fn is_on(&self) -> bool {
        !self.directory.is_empty()
    }

    /// What the certificate is to be for, in lower case and in A-labels as they were written.
    pub fn names(&self, server_name: &str) -> Vec<String> {
        match self.names.as_slice() {
            [] => vec![server_name.to_ascii_lowercase()],
            names => names.iter().map(|name| name.to_ascii_lowercase()).collect(),
        }
    }

    /// One sentence without the file's name. `challenge`, `policy`: whether those listeners are open.
    pub fn check(&self, server_name: &str, challenge: bool, policy: bool) -> Result<(), String> {
        let http = self.is_on() && self.challenge == Challenge::Http;
        if http != challenge {
            return Err(match http {
                true => "listen.challenge: acme.challenge \"http-01\" needs it, on port 80 as the authority sees it: write an address, or choose another challenge".into(),
                false => "listen.challenge is for [acme] with the challenge \"http-01\": remove it, or write acme.directory".to_owned(),
            });
        }
        if !self.is_on() {
            return Ok(());
        }
        if !self.directory.starts_with("https://") {
            return Err("acme.directory: write an address that begins with https://".into());
        }
        if !self.terms_agreed {
            return Err("acme.terms_agreed: read the terms of the authority, and write true if you accept them".into());
        }
        if self.contact.len() > CONTACTS_MAX {
            return Err(format!("acme.contact: write at most {CONTACTS_MAX}"));
        }
        if let Some(contact) = self.contact.iter().find(|one| !one.starts_with("mailto:")) {
            return Err(format!("acme.contact: write \"mailto:{contact}\""));
        }
        let names = self.names(server_name);
        if names.len() > NAMES_MAX {
            return Err(format!("acme.names: write at most {NAMES_MAX}"));
        }
        for (at, name) in names.iter().enumerate() {
            let (wild, host) = match name.strip_prefix("*.") {
                Some(rest) => (true, rest),
                None => (false, name.as_str()),
            };
            crate::site::check_host("acme.names", host)?;
            if !host.contains('.') || host.contains(':') || host.parse::<std::net::IpAddr>().is_ok()
            {
                return Err(format!(
                    "acme.names: `{name}` is not a name that an authority can look up: write whole names, those with other letters as xn--…"
                ));
            }
            if names[..at].contains(name) {
                return Err(format!("acme.names: {name} is written twice"));
            }
            if wild && self.challenge != Challenge::Dns {
                return Err(format!(
                    "acme.names: {name} needs acme.challenge \"dns-01\": choose it, or write whole names"
                ));
            }
        }
        match self.challenge {
            Challenge::Http => Ok(()),
            Challenge::TlsAlpn if !policy => Err("listen.policy: acme.challenge \"tls-alpn-01\" needs it, on port 443 as the authority sees it: write an address, or choose another challenge".into()),
            Challenge::TlsAlpn => Ok(()),
            Challenge::Dns => self.dns.check(&names),
        }
    }
}

impl AcmeDns {
    fn check(&self, names: &[String]) -> Result<(), String> {
        let missing = [
            ("server", self.server.is_none()),
            ("zone", self.zone.is_empty()),
            ("key", self.key.is_empty()),
            ("secret", self.secret.is_none()),
        ];
        if let Some((key, _)) = missing.iter().find(|(_, missing)| *missing) {
            return Err(format!(
                "acme.dns.{key}: acme.challenge \"dns-01\" needs it: write it, or choose another challenge"
            ));
        }
        if self.wait.0 > WAIT_MAX {
            return Err(format!("acme.dns.wait: write at most {}", Span(WAIT_MAX)));
        }
        let zone = self.zone.trim_end_matches('.').to_ascii_lowercase();
        let outside = |name: &&String| **name != zone && !name.ends_with(&format!(".{zone}"));
        match names.iter().find(outside) {
            Some(name) => Err(format!(
                "acme.dns.zone: {name} is not in {zone}: write the zone that all names are in, or choose another challenge"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Settings;

    const BEGIN: &str = "[server]\nname = \"mail.example.org\"\n[volume]\nlegs = [\"a\", \"b\"]\n";

    fn read(text: &str) -> Result<Settings, String> {
        Settings::parse("x.toml", &format!("{BEGIN}{text}")).map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn an_order_needs_consent_and_a_way_in_for_the_authority() {
        let acme = "[acme]\ndirectory = \"https://ca.example/dir\"\n";
        let agreed = &format!("{acme}terms_agreed = true\n");
        let listen = "[listen]\nchallenge = [\"0.0.0.0:80\"]\n";
        let policy = "[listen]\npolicy = [\"0.0.0.0:443\"]\n";
        let dns = "challenge = \"dns-01\"\n[acme.dns]\nserver = \"192.0.2.1:53\"\nzone = \"example.org\"\nkey = \"k\"\n";
        for (text, why) in [
            (format!("{listen}{acme}"), "terms_agreed"),
            (agreed.clone(), "listen.challenge"),
            (listen.to_owned(), "remove it"),
            (
                format!("{agreed}challenge = \"tls-alpn-01\"\n"),
                "listen.policy",
            ),
            (format!("{agreed}{dns}"), "acme.dns.secret"),
            (
                format!("{listen}{agreed}names = [\"*.example.org\"]\n"),
                "dns-01",
            ),
            (format!("{listen}{agreed}names = [\"mail\"]\n"), "look up"),
            (
                format!("{listen}{agreed}contact = [\"a@example.org\"]\n"),
                "mailto:a@",
            ),
            (
                format!("{agreed}names = [\"a.example.net\"]\n{dns}secret = \"s\"\n"),
                "not in example.org",
            ),
            (
                format!("{listen}{}", agreed.replace("https", "http")),
                "https",
            ),
        ] {
            let said = read(&text).expect_err(&text);
            assert!(said.contains(why), "{text}: {said}");
        }
        for text in [
            format!("{listen}{agreed}"),
            format!("{policy}{agreed}challenge = \"tls-alpn-01\"\n"),
            format!("{agreed}names = [\"*.example.org\", \"example.org\"]\n{dns}secret = \"s\"\n"),
        ] {
            assert_eq!(read(&text).err(), None, "{text}");
        }
        let settings = read("").expect("right");
        assert!(!settings.acme.is_on());
        assert_eq!(
            settings.acme.names(&settings.server.name),
            ["mail.example.org"]
        );
    }
}
