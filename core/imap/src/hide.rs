//! Capabilities that some clients are not offered, because they mishandle them.
//!
//! A rule names clients (by what they say in ID, RFC 2971), an account, or both. What is hidden is not in CAPABILITY and not enabled by ENABLE; a
//! client that uses it all the same is served.

use std::sync::Arc;

use crate::limits::CLIENT_NAME_BYTES_MAX;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hide {
    /// A part of the name that the client gives, in any case; `None`: every client.
    pub client: Option<Box<str>>,
    /// The address of an account, in any case; `None`: every account.
    pub account: Option<Box<str>>,
    /// As CAPABILITY has them: `QRESYNC`, or `COMPRESS` for everything that begins with `COMPRESS=`.
    pub capabilities: Vec<Box<str>>,
}

/// What one session hides.
#[derive(Debug, Clone, Default)]
pub struct Hidden {
    /// `None` where nothing is ever hidden.
    rules: Option<Arc<[Hide]>>,
    /// Lower case; empty until the client says it.
    client: Box<str>,
    /// Lower case; empty before a login.
    account: Box<str>,
}

impl Hidden {
    /// Nothing is known of the client yet.
    pub fn new(rules: Arc<[Hide]>) -> Hidden {
        Hidden {
            rules: (!rules.is_empty()).then_some(rules),
            ..Hidden::default()
        }
    }

    /// What the client says of itself. A later ID takes the place of an earlier one.
    pub fn meet_client(&mut self, pairs: &[(Vec<u8>, Option<Vec<u8>>)]) {
        if self.rules.is_none() {
            return;
        }
        let is_name = |name: &[u8]| name.eq_ignore_ascii_case(b"name");
        let name = pairs.iter().find(|(name, _)| is_name(name));
        let name = name.and_then(|(_, value)| value.as_deref()).unwrap_or(b"");
        let name = &name[..name.len().min(CLIENT_NAME_BYTES_MAX)];
        self.client = String::from_utf8_lossy(name).to_lowercase().into();
    }

    /// Whose mailboxes are served from now on.
    pub fn meet_account(&mut self, address: &str) {
        if self.rules.is_some() {
            self.account = address.to_lowercase().into();
        }
    }

    /// After UNAUTHENTICATE.
    pub fn forget_account(&mut self) {
        self.account = Box::default();
    }

    /// What the client says that it is, in lower case; empty where it did not, or where nothing is ever hidden.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Whether this client is not offered it.
    pub fn hides(&self, capability: &str) -> bool {
        let family = capability.split('=').next().unwrap_or(capability);
        let is = |hidden: &str| {
            hidden.eq_ignore_ascii_case(capability) || hidden.eq_ignore_ascii_case(family)
        };
        let rules = self.rules.iter().flat_map(|rules| rules.iter());
        let mut mine = rules.filter(|rule| self.concerns(rule));
        mine.any(|rule| rule.capabilities.iter().any(|hidden| is(hidden)))
    }

    fn concerns(&self, rule: &Hide) -> bool {
        let client = rule.client.as_deref();
        let account = rule.account.as_deref();
        client.is_none_or(|part| !part.is_empty() && self.client.contains(&part.to_lowercase()))
            && account.is_none_or(|address| address.to_lowercase() == *self.account)
    }

    /// The capabilities of `all` (with blanks between) that are not hidden.
    pub fn shown(&self, all: String) -> String {
        if self.rules.is_none() {
            return all;
        }
        let shown: Vec<&str> = all.split(' ').filter(|word| !self.hides(word)).collect();
        shown.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hide(client: Option<&str>, account: Option<&str>, capabilities: &[&str]) -> Hide {
        Hide {
            client: client.map(Box::from),
            account: account.map(Box::from),
            capabilities: capabilities.iter().copied().map(Box::from).collect(),
        }
    }

    fn named(name: &str) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        vec![(b"Name".to_vec(), Some(name.as_bytes().to_vec()))]
    }

    #[test]
    fn a_rule_concerns_its_client_and_its_account_only() {
        let rules = [
            hide(Some("Outlook"), None, &["QRESYNC", "compress"]),
            hide(None, Some("Bob@example.org"), &["IDLE"]),
            hide(Some("odd"), Some("bob@example.org"), &["MOVE"]),
        ];
        let all = || "IMAP4rev1 IDLE MOVE QRESYNC COMPRESS=DEFLATE".to_owned();
        let mut hidden = Hidden::new(rules.into());
        assert_eq!(hidden.shown(all()), all());
        hidden.meet_client(&named("Microsoft OUTLOOK 16"));
        assert_eq!(hidden.shown(all()), "IMAP4rev1 IDLE MOVE");
        hidden.meet_account("bob@example.org");
        assert_eq!(hidden.shown(all()), "IMAP4rev1 MOVE");
        hidden.meet_client(&named("something odd"));
        assert_eq!(hidden.shown(all()), "IMAP4rev1 QRESYNC COMPRESS=DEFLATE");
        hidden.forget_account();
        hidden.meet_client(&[]);
        assert_eq!(hidden.shown(all()), all());
    }

    #[test]
    fn a_long_name_is_kept_in_part() {
        let mut hidden = Hidden::new([hide(Some("x"), None, &["IDLE"])].into());
        hidden.meet_client(&named(&"é".repeat(500)));
        assert!(hidden.client.len() <= 2 * CLIENT_NAME_BYTES_MAX);
    }
}
