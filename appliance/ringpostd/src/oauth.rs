//! Providers of tokens (`[[oauth]]`): whose a token is, and whether it is good, by the provider's keys or by its own word.
//!
//! What must hold: no core waits for a provider but in a bounded queue and for a bounded time (`keys.rs`, `ask.rs`); a token is shown to the provider that it is of, and to no other one;
//! what a provider could not be asked is `Unavailable`, never "wrong".
//!
//! `keys.rs` keeps the keys of one provider, `ask.rs` asks one about tokens, `web.rs` fetches.

mod ask;
mod keys;
mod web;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ::admin::certificate::now_s;
use ::admin::logins::ProviderLine;
use client::login::Unavailable;
use client::login::oauth::{Checking, Tokens};
use oauth::provider::configuration_url;
use oauth::token::is_opaque;
use oauth::{Flaw, Rules, Token};
use plan::Misfit;
use sasl::bearer::{Failure, Status};

use ask::Asked;
use keys::Keys;
use web::Web;

/// All providers.
pub(crate) struct Oauth {
    providers: Vec<Arc<Provider>>,
}

/// One of them.
struct Provider {
    rules: Rules,
    by: By,
    good: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
}

enum By {
    Keys(Arc<Keys>),
    Asking(Arc<Asked>),
}

/// What comes of a token: the account's name, or why not.
type Checked = Result<Result<String, Flaw>, Unavailable>;

impl Oauth {
    /// Starts the threads that fetch; `None`: the settings name no provider. Providers need not answer: a start waits for none.
    pub(crate) fn open(settings: &[plan::oauth::Oauth]) -> Result<Option<Arc<Oauth>>, Misfit> {
        let providers: Result<Vec<_>, Misfit> = settings.iter().map(Provider::open).collect();
        let providers: Vec<Arc<Provider>> = providers?.into_iter().map(Arc::new).collect();
        let is_some = !providers.is_empty();
        Ok(is_some.then(|| Arc::new(Oauth { providers })))
    }

    /// For `ringpostctl oauth status`.
    pub(crate) fn lines(&self) -> Vec<ProviderLine> {
        self.providers.iter().map(|one| one.line()).collect()
    }

    /// The provider that a token is of, by what it says of itself: it is checked by that one's keys, or shown to that one.
    fn provider_of(&self, token: &str) -> Result<Arc<Provider>, Flaw> {
        let asks = |one: &&Arc<Provider>| matches!(one.by, By::Asking(_));
        let parsed = match is_opaque(token) {
            true => Err(Flaw::Malformed),
            false => Token::parse(token),
        };
        match parsed {
            Ok(parsed) => {
                let issuer = parsed.issuer();
                let its = |one: &&Arc<Provider>| issuer == Some(one.rules.issuer.as_str());
                self.providers.iter().find(its).cloned().ok_or(Flaw::Issuer)
            }
            // It has a meaning to its provider alone; the settings have one at most that is asked.
            Err(flaw) => self.providers.iter().find(asks).cloned().ok_or(flaw),
        }
    }
}

impl Tokens for Oauth {
    fn check(&self, token: String) -> Checking {
        let provider = self.provider_of(&token);
        Box::pin(async move {
            let provider = match provider {
                Ok(provider) => provider,
                Err(flaw) => return Ok(Err(flaw)),
            };
            let checked: Checked = match &provider.by {
                By::Keys(keys) => keys.check(&token, &provider.rules, now_s).await,
                By::Asking(asked) => asked.check(token, now_s).await,
            };
            let count = match &checked {
                Ok(Ok(_)) => &provider.good,
                Ok(Err(_)) => &provider.refused,
                Err(Unavailable) => &provider.unavailable,
            };
            count.fetch_add(1, Relaxed);
            checked
        })
    }

    fn failure(&self, status: Status) -> Failure {
        // With several of them it is the program's to know which one its person has.
        let only = match &self.providers[..] {
            [only] => Some(only),
            _ => None,
        };
        let configuration = only.filter(|one| matches!(one.by, By::Keys(_)));
        Failure {
            status,
            scope: only.map_or(String::new(), |one| one.rules.scope.clone()),
            configuration: configuration
                .map_or(String::new(), |one| configuration_url(&one.rules.issuer)),
        }
    }
}

impl Provider {
    fn open(settings: &plan::oauth::Oauth) -> Result<Provider, Misfit> {
        let rules = Rules {
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            scope: settings.scope.clone(),
            claim: settings.claim.clone(),
        };
        let web = Web::new(settings.authorities.as_deref(), settings.plain_on_loopback)?;
        let by = match &settings.introspection_url {
            Some(url) => {
                let id = settings.client_id.as_deref().unwrap_or_default();
                let secret = match &settings.client_secret {
                    Some(path) => fs::read_to_string(path).map_err(|error| {
                        let path = path.display();
                        Misfit::new(format!("oauth.client_secret: {path}: {error}"))
                    })?,
                    None => String::new(),
                };
                let web = web.proving(id, secret.trim());
                By::Asking(Asked::start(web, url.clone(), rules.clone())?)
            }
            None => By::Keys(Keys::start(web, settings)?),
        };
        Ok(Provider {
            rules,
            by,
            good: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
        })
    }

    fn line(&self) -> ProviderLine {
        let (by, keys, answered_s, error) = match &self.by {
            By::Keys(keys) => {
                let (count, fetched_s, error) = keys.facts();
                ("keys", count, fetched_s, error)
            }
            By::Asking(asked) => {
                let (answered_s, error) = asked.facts();
                ("introspection", 0, answered_s, error)
            }
        };
        ProviderLine {
            issuer: self.rules.issuer.clone(),
            by: by.to_owned(),
            keys,
            answered_s,
            error,
            good: self.good.load(Relaxed),
            refused: self.refused.load(Relaxed),
            unavailable: self.unavailable.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests;
