//! Logins by a token of OAuth (OAUTHBEARER, XOAUTH2): what a provider says of a token, and whose account that is.
//!
//! What must hold: a provider that is away makes a login temporary and never wrong; the claim of a good token names an account that is here, and a client that says whom
//! it wants to be is that account or is refused; a token is in no line of the audit and of the log.

use std::future::Future;
use std::pin::Pin;

use mailbox::Account;
use oauth::Flaw;
use runtime::SessionHost;
use sasl::bearer::{Bearer, Failure, Status};
use storage::owner::Ask;

use super::audit::{From, Outcome};
use super::known::{By, Known};
use super::{Logins, Unavailable};
use crate::limits::LOGIN_FAILURE_DELAY;

/// Asks providers about tokens, wherever that does not hold the session's thread.
pub trait Tokens: Send + Sync + 'static {
    /// The name of an account that a good token gives. `Unavailable`: the provider could not be asked, or there is too much to ask it.
    fn check(&self, token: String) -> Checking;

    /// What a client gets when its token is refused.
    fn failure(&self, status: Status) -> Failure;
}

/// Bounded in time by who makes it.
pub type Checking = Pin<Box<dyn Future<Output = Result<Result<String, Flaw>, Unavailable>>>>;

impl Logins {
    /// `Ok(Err)`: refused, which was answered late and reported; the client gets the reason.
    pub async fn token(
        &self,
        owner: &impl Ask,
        host: &SessionHost,
        from: &From,
        bearer: Bearer,
    ) -> Result<Result<Account, Failure>, Unavailable> {
        let tokens = self.tokens.clone().ok_or(Unavailable)?;
        if bearer.token.is_empty() {
            // It asks where it gets one (RFC 7628 §4.3): nothing was tried.
            host.sleep(LOGIN_FAILURE_DELAY).await;
            return Ok(Err(tokens.failure(Status::InvalidToken)));
        }
        let asked = match &bearer.user {
            Some(user) => Some(self.known(owner, user).await?),
            None => None,
        };
        // Without a name the source counts alone: one name for all such clients would make them wait for each other.
        let known = match &asked {
            Some(asked) => asked.shallow(),
            None => Known::nameless(format!("a token from {}", from.peer)),
        };
        let pass = self.pass(host, from, &known).await?;
        let Ok(checked) = tokens.check(bearer.token).await else {
            // Not at once, or one connection could ask again without end: each time costs signatures that are checked.
            host.sleep(LOGIN_FAILURE_DELAY).await;
            return Err(Unavailable);
        };
        let (known, decided) = match checked {
            Err(flaw) => (known, By::Nothing(Outcome::Token(flaw))),
            Ok(name) => {
                let named = self.known(owner, name.as_bytes()).await?;
                let decided = match (&named.account, &asked) {
                    (None, _) => By::Nothing(Outcome::NoAccount),
                    (Some(_), Some(asked)) if asked.name != named.name => {
                        By::Nothing(Outcome::OtherAccount)
                    }
                    (Some(_), _) => By::Main,
                };
                (named, decided)
            }
        };
        let settled = self.settle(owner, host, from, &known, Ok(decided)).await?;
        drop(pass);
        let status = match decided {
            By::Nothing(Outcome::Token(Flaw::Scope)) => Status::InsufficientScope,
            _ => Status::InvalidToken,
        };
        Ok(settled.ok_or_else(|| tokens.failure(status)))
    }
}
