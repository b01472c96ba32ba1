//! `[imap]`: capabilities that some mail programs or accounts are not offered.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Imap {
    pub hide: Vec<Hide>,
}

/// One rule. A client has to meet both conditions where both are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hide {
    /// A part of the name that the program gives (IMAP's ID), in any case.
    #[serde(default)]
    pub client: Option<String>,
    /// The address of an account.
    #[serde(default)]
    pub account: Option<String>,
    /// As CAPABILITY has them; a word before `=` stands for all of its kind.
    pub capabilities: Vec<String>,
}

/// Rules: each is looked at for each word of a CAPABILITY reply.
const HIDE_MAX: usize = 64;
/// Capabilities of one rule.
const CAPABILITIES_MAX: usize = 32;
/// Octets of a name or capability; no session remembers more of a program's name.
const NAME_BYTES_MAX: usize = 64;

impl Imap {
    /// One sentence without the file's name.
    pub fn check(&self) -> Result<(), String> {
        if self.hide.len() > HIDE_MAX {
            return Err(format!("imap.hide: write at most {HIDE_MAX} rules"));
        }
        for hide in &self.hide {
            if hide.client.is_none() && hide.account.is_none() {
                return Err("imap.hide: write client, account or both in each rule".into());
            }
            if let Some(client) = &hide.client
                && (client.is_empty() || client.len() > NAME_BYTES_MAX)
            {
                return Err(format!(
                    "imap.hide.client: write 1 to {NAME_BYTES_MAX} octets of the name that the program gives"
                ));
            }
            if let Some(account) = &hide.account
                && !account.contains('@')
            {
                return Err(format!(
                    "imap.hide.account: {account} is not an address; write name@domain"
                ));
            }
            let count = hide.capabilities.len();
            if count == 0 || count > CAPABILITIES_MAX {
                return Err(format!(
                    "imap.hide.capabilities: write 1 to {CAPABILITIES_MAX} words"
                ));
            }
            let is_word = |word: &String| {
                (1..=NAME_BYTES_MAX).contains(&word.len())
                    && word.bytes().all(|byte| byte.is_ascii_graphic())
            };
            if let Some(word) = hide.capabilities.iter().find(|word| !is_word(word)) {
                return Err(format!(
                    "imap.hide.capabilities: {word:?} is not one word of CAPABILITY"
                ));
            }
            // RFC 9051 §6.1.1: without one of them nothing can be done.
            let is_base = |word: &&String| word.to_ascii_uppercase().starts_with("IMAP4");
            if let Some(word) = hide.capabilities.iter().find(is_base) {
                return Err(format!(
                    "imap.hide.capabilities: {word} cannot be hidden; remove it"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;

    fn parsed(rest: &str) -> Result<Vec<super::Hide>, String> {
        let text = format!("[volume]\nlegs = [\"/dev/a\", \"/dev/b\"]\n{rest}");
        let settings = Settings::parse("ringpost.toml", &text);
        settings
            .map(|settings| settings.imap.hide)
            .map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn rules_name_someone_and_something() {
        assert_eq!(parsed(""), Ok(Vec::new()));
        let rule = "[[imap.hide]]\nclient = \"Outlook\"\ncapabilities = [\"QRESYNC\"]\n";
        assert_eq!(parsed(rule).map(|rules| rules.len()), Ok(1));
        for (bad, words) in [
            ("capabilities = [\"IDLE\"]", "client, account or both"),
            ("client = \"\"\ncapabilities = [\"IDLE\"]", "1 to 64 octets"),
            (
                "account = \"bob\"\ncapabilities = [\"IDLE\"]",
                "not an address",
            ),
            ("client = \"x\"\ncapabilities = []", "1 to 32 words"),
            ("client = \"x\"\ncapabilities = [\"A B\"]", "not one word"),
            (
                "client = \"x\"\ncapabilities = [\"imap4rev1\"]",
                "cannot be hidden",
            ),
        ] {
            let refused = parsed(&format!("[[imap.hide]]\n{bad}\n")).expect_err(bad);
            assert!(refused.contains(words), "{refused}");
        }
        let many = rule.repeat(65);
        assert!(parsed(&many).expect_err("too many").contains("at most 64"));
    }
}
