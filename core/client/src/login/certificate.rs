//! Logins by the client's certificate (EXTERNAL, RFC 4422 appendix A). TLS has checked who signed it; here its names become an account.
//!
//! What must hold: a certificate logs in to an account whose address is one of its names (rfc822Name), and to no other one; its dates are looked at again, because a session of
//! TLS may be resumed when they are over.

use mailbox::Account;
use runtime::{SessionHost, TlsFacts};
use storage::owner::Ask;

use super::audit::{From, Outcome};
use super::known::{By, Known};
use super::{Logins, Unavailable};

/// The addresses in a certificate (DER), and none if it does not count at this time, in seconds since 1970.
pub type Names = dyn Fn(&[u8], i64) -> Vec<String> + Send + Sync;

/// Addresses of one certificate that are looked at.
const NAMES_MAX: usize = 8;

impl Logins {
    /// As `log_in`. `user`: whom the client wants to be; `None`: whose the certificate is, which must be one account.
    pub async fn certificate(
        &self,
        owner: &impl Ask,
        host: &SessionHost,
        from: &From,
        tls: Option<&TlsFacts>,
        user: Option<&[u8]>,
    ) -> Result<Option<Account>, Unavailable> {
        let names = self.certificates.as_ref().ok_or(Unavailable)?;
        let shown = tls.and_then(|tls| tls.client_certificate.as_deref());
        let all = shown.map_or(Vec::new(), |shown| names(shown, host.unix_seconds()));
        let asked = match user {
            Some(user) => Some(self.known(owner, user).await?),
            None => None,
        };
        let mut found: Option<Known> = None;
        let mut decided = By::Nothing(Outcome::Certificate);
        for name in all.iter().take(NAMES_MAX) {
            // An address and nothing else: a local part alone would be whichever domain's there is.
            if !name.contains('@') {
                continue;
            }
            let known = self.known(owner, name.as_bytes()).await?;
            let is_wanted = asked.as_ref().is_none_or(|asked| asked.name == known.name);
            match (&known.account, is_wanted, &found) {
                (None, ..) => {}
                (_, false, _) => decided = By::Nothing(Outcome::OtherAccount),
                (_, true, None) => {
                    decided = By::Main;
                    found = Some(known);
                }
                (_, true, Some(one)) if one.name == known.name => {}
                // Which of them is meant is not for us to guess.
                (_, true, Some(_)) => {
                    decided = By::Nothing(Outcome::Certificate);
                    break;
                }
            }
        }
        let known = match (decided, found, asked) {
            (By::Main, Some(found), _) => found,
            (_, _, Some(asked)) => asked,
            _ => Known::nameless(format!("a certificate from {}", from.peer)),
        };
        let pass = self.pass(host, from, &known).await?;
        let answer = self.settle(owner, host, from, &known, Ok(decided)).await;
        drop(pass);
        answer
    }
}
