//! `[[oauth]]`: providers whose tokens log in (OAUTHBEARER, XOAUTH2). `[client]`: certificates that log in (EXTERNAL).

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::units::Span;

/// A provider whose tokens are taken.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oauth {
    /// As the provider writes itself in its tokens.
    #[serde(default)]
    pub issuer: String,
    /// A token must be for one of these.
    #[serde(default)]
    pub audience: Vec<String>,
    /// Words of the scope that a token must have; empty: none.
    #[serde(default)]
    pub scope: String,
    /// The claim that names the account.
    #[serde(default = "claim_default")]
    pub claim: String,
    /// Where the keys are. `None`: the provider's configuration says so.
    #[serde(default)]
    pub keys_url: Option<String>,
    /// Keys are used for so long while the provider is away.
    #[serde(default = "keep_keys_default")]
    pub keep_keys: Span,
    /// Every token is shown to the provider there (RFC 7662), in place of keys.
    #[serde(default)]
    pub introspection_url: Option<String>,
    #[serde(default)]
    pub client_id: Option<String>,
    /// The file with the secret.
    #[serde(default)]
    pub client_secret: Option<PathBuf>,
    /// PEM: authorities that count in place of those of the web for the provider's own certificate.
    #[serde(default)]
    pub authorities: Option<PathBuf>,
    /// URLs may be `http://` where the host is an address of the loopback.
    #[serde(default)]
    pub plain_on_loopback: bool,
}

fn claim_default() -> String {
    "email".to_owned()
}

fn keep_keys_default() -> Span {
    Span(Duration::from_secs(24 * 3_600))
}

/// Providers, each with a thread or two.
pub const PROVIDERS_MAX: usize = 8;
const AUDIENCES_MAX: usize = 16;
const TEXT_BYTES_MAX: usize = 256;
const KEEP_KEYS_MAX: Duration = Duration::from_secs(14 * 86_400);

/// One provider as it stands in a table, for tests.
#[doc(hidden)]
pub fn parse(text: &str) -> Result<Oauth, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}

/// One sentence without the file's name.
pub fn check(providers: &[Oauth]) -> Result<(), String> {
    if providers.len() > PROVIDERS_MAX {
        return Err(format!("[[oauth]]: write at most {PROVIDERS_MAX}"));
    }
    for (at, provider) in providers.iter().enumerate() {
        provider.check()?;
        let before = &providers[..at];
        if before.iter().any(|one| one.issuer == provider.issuer) {
            let issuer = &provider.issuer;
            return Err(format!("oauth.issuer: {issuer} is written twice"));
        }
        // A token that says nothing of its provider would be shown to one that it is not of.
        let asks = |one: &Oauth| one.introspection_url.is_some();
        if asks(provider) && before.iter().any(asks) {
            return Err("oauth.introspection_url: write it for one provider at most, because a token does not say whose it is".into());
        }
    }
    Ok(())
}

impl Oauth {
    fn check(&self) -> Result<(), String> {
        self.check_url("issuer", &self.issuer)?;
        for (name, url) in [
            ("keys_url", &self.keys_url),
            ("introspection_url", &self.introspection_url),
        ] {
            if let Some(url) = url {
                self.check_url(name, url)?;
            }
        }
        let is_text = |text: &str| {
            text.len() <= TEXT_BYTES_MAX && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        };
        let texts = self.audience.iter().chain([&self.scope, &self.claim]);
        let mut texts = texts.chain(&self.client_id);
        if let Some(text) = texts.find(|text| !is_text(text)) {
            return Err(format!(
                "[[oauth]]: `{}` is too long, or has other letters than ASCII",
                text.escape_default()
            ));
        }
        if self.audience.len() > AUDIENCES_MAX {
            return Err(format!("oauth.audience: write at most {AUDIENCES_MAX}"));
        }
        let asks = self.introspection_url.is_some();
        if self.audience.iter().all(String::is_empty) && !asks {
            return Err("oauth.audience: write what the provider puts into `aud` of tokens for this server; without it every token of the provider would log in".into());
        }
        if asks && self.audience.iter().all(String::is_empty) && self.scope.trim().is_empty() {
            return Err("oauth.introspection_url needs oauth.audience or oauth.scope: without them each token of the provider would log in, also one that another service was given".into());
        }
        if self.claim.is_empty() {
            return Err(
                "oauth.claim: write the claim that has the address, such as \"email\"".into(),
            );
        }
        if asks && (self.client_id.is_none() || self.client_secret.is_none()) {
            return Err("oauth.introspection_url needs oauth.client_id and oauth.client_secret: add the missing one".into());
        }
        if asks && self.keys_url.is_some() {
            return Err("oauth.keys_url: remove it, because oauth.introspection_url asks the provider about each token".into());
        }
        if !asks && (self.client_id.is_some() || self.client_secret.is_some()) {
            return Err("oauth.client_id and oauth.client_secret are for oauth.introspection_url: remove them, or write it".into());
        }
        if self.keep_keys.0 > KEEP_KEYS_MAX {
            return Err("oauth.keep_keys: write at most 336h".into());
        }
        Ok(())
    }

    fn check_url(&self, name: &str, url: &str) -> Result<(), String> {
        let is_plain = url
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"');
        let host = |scheme: &str| {
            let rest = url.strip_prefix(scheme)?;
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            (!host.is_empty() && !host.contains('@')).then_some(host)
        };
        let is_here = |host: &str| {
            let bare = match host.strip_prefix('[') {
                Some(rest) => rest.split(']').next().unwrap_or_default(),
                None => host.split(':').next().unwrap_or_default(),
            };
            bare.parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
        };
        let is_allowed = host("https://").is_some()
            || (self.plain_on_loopback && host("http://").is_some_and(is_here));
        match is_allowed && is_plain && url.len() <= TEXT_BYTES_MAX {
            true => Ok(()),
            false => Err(format!(
                "oauth.{name}: write an address that begins with https://"
            )),
        }
    }
}

/// What clients may prove themselves with in TLS.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Client {
    /// PEM: authorities whose certificates log in.
    pub certificates_from: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(text: &str) -> Oauth {
        toml::from_str(text).expect("it is read")
    }

    const GOOD: &str = "issuer = \"https://id.example\"\naudience = [\"mail\"]\n";

    #[test]
    fn providers_are_reached_by_https_alone_and_tokens_are_for_us() {
        let refused = |text: &str| check(&[provider(text)]).expect_err(text);
        assert_eq!(check(&[provider(GOOD)]), Ok(()));
        let local = "issuer = \"http://127.0.0.1:1/x\"\naudience = [\"m\"]\n";
        assert!(refused(local).contains("https://"));
        let allowed = format!("{local}plain_on_loopback = true\n");
        assert_eq!(check(&[provider(&allowed)]), Ok(()));
        for host in [
            "http://example.org",
            "http://127.0.0.1.example.org",
            "http://localhost",
            "http://127.0.0.1@example.org",
        ] {
            let text =
                format!("issuer = \"{host}\"\naudience = [\"m\"]\nplain_on_loopback = true\n");
            assert!(refused(&text).contains("oauth.issuer"), "{host}");
        }
        assert!(refused("issuer = \"https://id.example\"\n").contains("oauth.audience"));
        let asks = format!("{GOOD}introspection_url = \"https://id.example/i\"\n");
        assert!(refused(&asks).contains("client_id"));
        let asks = format!("{asks}client_id = \"c\"\nclient_secret = \"/s\"\n");
        assert_eq!(check(&[provider(&asks)]), Ok(()));
        // Another service that its people show their tokens to could read their mail.
        let any = asks.replace("audience = [\"mail\"]\n", "");
        assert!(refused(&any).contains("oauth.scope"));
        assert_eq!(
            check(&[provider(&format!("{any}scope = \"mail\"\n"))]),
            Ok(())
        );
        let other = asks.replace("id.example\"", "other.example\"");
        let both = check(&[provider(&asks), provider(&other)]).expect_err("two of them");
        assert!(both.contains("one provider"), "{both}");
        let twice = check(&[provider(GOOD), provider(GOOD)]).expect_err("twice");
        assert!(twice.contains("twice"), "{twice}");
    }
}
