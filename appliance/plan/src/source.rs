//! `[[outbound.sources]]`: which addresses and names mail leaves from.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::limits::{SOURCE_NAMES_MAX, SOURCES_MAX};

/// One source: a name with an address of one family or of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// For EHLO, and as the label of its metrics.
    pub name: String,
    #[serde(default)]
    pub ipv4: Option<Ipv4Addr>,
    #[serde(default)]
    pub ipv6: Option<Ipv6Addr>,
    /// Addresses and domains of senders that it is for.
    #[serde(default)]
    pub senders: Vec<String>,
    /// Domains that it is for. Without any of both: whatever no other source is for.
    #[serde(default)]
    pub domains: Vec<String>,
}

/// One sentence without the file's name.
pub fn check(sources: &[Source]) -> Result<(), String> {
    if sources.len() > SOURCES_MAX {
        return Err(format!("outbound.sources: write at most {SOURCES_MAX}"));
    }
    for (at, source) in sources.iter().enumerate() {
        let Source { name, .. } = source;
        crate::site::check_host("outbound.sources.name", name)?;
        let is_same = |one: &Source| one.name.eq_ignore_ascii_case(name);
        if sources[..at].iter().any(is_same) {
            return Err(format!(
                "outbound.sources: {name} is there twice; give each its own name"
            ));
        }
        if source.ipv4.is_none() && source.ipv6.is_none() {
            return Err(format!(
                "outbound.sources: {name} has no address: write ipv4, ipv6 or both"
            ));
        }
        let is_any = source.ipv4.is_some_and(|address| address.is_unspecified())
            || source.ipv6.is_some_and(|address| address.is_unspecified());
        if is_any {
            return Err(format!(
                "outbound.sources: {name}: write an address of this machine"
            ));
        }
        let names = source.senders.iter().chain(&source.domains);
        if names.clone().count() > SOURCE_NAMES_MAX {
            return Err(format!(
                "outbound.sources: {name}: write at most {SOURCE_NAMES_MAX} senders and domains"
            ));
        }
        let is_wrong = |text: &&String| {
            let domain = text.rsplit_once('@').map_or(text.as_str(), |(_, of)| of);
            domain.is_empty() || text.len() > 320 || text.contains(char::is_whitespace)
        };
        if let Some(wrong) = names.clone().find(is_wrong) {
            return Err(format!(
                "outbound.sources: {name}: `{wrong}` is not a domain or an address"
            ));
        }
        if let Some(wrong) = source.domains.iter().find(|domain| domain.contains('@')) {
            return Err(format!(
                "outbound.sources: {name}: `{wrong}` is not a domain; addresses are for senders"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn parsed(rest: &str) -> Result<Vec<Source>, String> {
        let text = format!("[volume]\nlegs = [\"/dev/a\", \"/dev/b\"]\n{rest}");
        let settings = Settings::parse("ringpost.toml", &text);
        settings
            .map(|settings| settings.outbound.sources)
            .map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn a_source_has_a_name_and_an_address_of_its_own() {
        let two = parsed(
            "[[outbound.sources]]\nname = \"a.example\"\nipv4 = \"192.0.2.1\"\n\
             [[outbound.sources]]\nname = \"b.example\"\nipv6 = \"2001:db8::2\"\nsenders = [\"news@c.example\"]\n",
        );
        assert_eq!(two.expect("good settings").len(), 2);
        let one = |rest: &str| parsed(&format!("[[outbound.sources]]\n{rest}"));
        for (bad, words) in [
            ("name = \"a.example\"\n", "has no address"),
            (
                "name = \"a b\"\nipv4 = \"192.0.2.1\"\n",
                "outbound.sources.name",
            ),
            (
                "name = \"a.example\"\nipv4 = \"0.0.0.0\"\n",
                "an address of this machine",
            ),
            (
                "name = \"a.example\"\nipv4 = \"192.0.2.1\"\ndomains = [\"x@b.example\"]\n",
                "addresses are for senders",
            ),
            (
                "name = \"a.example\"\nipv4 = \"192.0.2.1\"\nsenders = [\"x@\"]\n",
                "is not a domain or an address",
            ),
            (
                "name = \"a.example\"\nipv4 = \"192.0.2.1\"\n[[outbound.sources]]\nname = \"A.example\"\nipv4 = \"192.0.2.2\"\n",
                "is there twice",
            ),
        ] {
            let refused = one(bad).expect_err(bad);
            assert!(refused.contains(words), "{refused}");
        }
        let many: String = (0..=SOURCES_MAX)
            .map(|at| {
                format!("[[outbound.sources]]\nname = \"a{at}.example\"\nipv4 = \"192.0.2.1\"\n")
            })
            .collect();
        assert!(parsed(&many).expect_err("too many").contains("at most"));
    }
}
