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
        let mut choice = Choice::of(asked);
        for name in all.iter().take(NAMES_MAX) {
            // An address and nothing else: a local part alone would be whichever domain's there is.
            if name.contains('@') {
                choice.take(self.known(owner, name.as_bytes()).await?);
            }
        }
        let decided = choice.decided;
        let known = match (decided, choice.found, choice.asked) {
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

/// Which account the names of a certificate come to; their order says nothing.
struct Choice {
    /// Whom the client wants to be.
    asked: Option<Known>,
    found: Option<Known>,
    decided: By,
}

impl Choice {
    fn of(asked: Option<Known>) -> Choice {
        Choice {
            asked,
            found: None,
            decided: By::Nothing(Outcome::Certificate),
        }
    }

    /// One more of its names.
    fn take(&mut self, known: Known) {
        if known.account.is_none() {
            return;
        }
        let asked = self.asked.as_ref();
        let is_wanted = asked.is_none_or(|asked| asked.name == known.name);
        match &self.found {
            None if is_wanted => {
                self.decided = By::Main;
                self.found = Some(known);
            }
            None => self.decided = By::Nothing(Outcome::OtherAccount),
            // The one that is wanted is among them, whatever else is.
            Some(_) if !is_wanted => {}
            Some(one) if one.name == known.name => {}
            // Which of them is meant is not for us to guess.
            Some(_) => self.decided = By::Nothing(Outcome::Certificate),
        }
    }
}

#[cfg(test)]
mod tests {
    use mail::Address;
    use mailbox::AccountId;

    use super::*;

    fn known(name: &str) -> Known {
        let (local, domain) = name.split_once('@').expect("an address");
        let address = Address::from_parts(local, domain).expect("an address");
        let account = Account {
            id: AccountId(1),
            address,
            password_hash: String::new(),
            quota_bytes: 0,
            used_bytes: 0,
        };
        let mut known = Known::nameless(name.to_owned());
        known.account = (local != "none").then_some(account);
        known
    }

    fn decided(asked: Option<&str>, names: &[&str]) -> (By, Option<String>) {
        let mut choice = Choice::of(asked.map(known));
        for name in names {
            choice.take(known(name));
        }
        (choice.decided, choice.found.map(|found| found.name))
    }

    /// Before, a name behind the one that was asked for took the login away again.
    #[test]
    fn the_order_of_names_in_a_certificate_decides_nothing() {
        let (ann, ben, none) = ("ann@example.org", "ben@example.org", "none@example.org");
        let is_ann = (By::Main, Some(ann.to_owned()));
        for names in [
            [ann, ben, none],
            [ben, ann, none],
            [none, ben, ann],
            [ann, none, ben],
        ] {
            assert_eq!(decided(Some(ann), &names), is_ann, "{names:?}");
            let unclear = By::Nothing(Outcome::Certificate);
            assert_eq!(decided(None, &names).0, unclear, "{names:?}");
            let other = By::Nothing(Outcome::OtherAccount);
            assert_eq!(decided(Some("cat@example.org"), &names), (other, None));
        }
        assert_eq!(decided(None, &[none, ann, ann]), is_ann);
        assert_eq!(
            decided(Some(ann), &[none]).0,
            By::Nothing(Outcome::Certificate)
        );
        assert_eq!(decided(None, &[]).0, By::Nothing(Outcome::Certificate));
    }
}
