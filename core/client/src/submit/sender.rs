//! Who this is, and whose addresses they may send under (RFC 6409 §6.1).

use mail::Address;
use mailbox::{Account, AccountId};
use runtime::TlsFacts;
use sasl::bearer::{Bearer, Failure};
use sasl::scram::Proved;
use smtp::{Credentials, Refusal, ReversePath};
use storage::owner::Ask;

use super::Submitter;
use crate::login::audit::From as Source;
use crate::login::{Challenge, Unavailable};

/// Who has logged in.
pub(super) struct User {
    pub account: AccountId,
    address: Address,
    /// Of the usual limits.
    pub times: u32,
}

impl User {
    /// The account's address.
    pub fn name(&self) -> String {
        self.address.to_path()
    }

    /// Of the account's address.
    pub fn domain(&self) -> &str {
        self.address.domain()
    }

    /// The account's own address, with or without a tag (`ann+shop@`).
    pub fn is_own(&self, address: &Address) -> bool {
        let own = self.address.key();
        let plain = address.untagged();
        address.key() == own || plain.is_some_and(|plain| plain.key() == own)
    }
}

impl<A: Ask> Submitter<A> {
    /// MAIL: an address of theirs, or the null one (RFC 5321 §4.5.5: reports that a mail program writes).
    pub(super) async fn check_sender(
        &self,
        user: &User,
        sender: &ReversePath,
    ) -> Result<(), Refusal> {
        match sender {
            ReversePath::Null => Ok(()),
            ReversePath::Address(address) => self.may_send_as(user, address).await,
        }
    }

    /// `Ok(None)`: no such user, or another password.
    pub(super) async fn log_in(
        &self,
        credentials: Credentials,
        from: &Source,
    ) -> Result<Option<User>, Refusal> {
        let Credentials { user, password } = credentials;
        let (owner, host) = (&self.owner, &self.host);
        let found = self.logins.log_in(owner, host, from, &user, &password);
        self.user(found.await, from).await
    }

    /// As `log_in`, at the end of SCRAM.
    pub(super) async fn prove(
        &self,
        proved: Proved,
        challenge: Option<Box<Challenge>>,
        from: &Source,
    ) -> Result<Option<User>, Refusal> {
        let (owner, host) = (&self.owner, &self.host);
        let found = self.logins.proved(owner, host, from, proved, challenge);
        self.user(found.await, from).await
    }

    /// By a token of OAuth. `Ok(Err)`: it is refused, and the client gets the reason.
    pub(super) async fn show(
        &self,
        bearer: Bearer,
        from: &Source,
    ) -> Result<Result<User, Failure>, Refusal> {
        let found = self.logins.token(&self.owner, &self.host, from, bearer);
        let found = match found.await {
            Ok(Ok(account)) => Ok(Some(account)),
            Ok(Err(why)) => {
                tracing::info!(peer = %from.peer, "a login was refused");
                return Ok(Err(why));
            }
            Err(unavailable) => Err(unavailable),
        };
        let user = self.user(found, from).await?;
        Ok(Ok(user.expect("there is an account")))
    }

    /// By the certificate that TLS asked the client for.
    pub(super) async fn certified(
        &self,
        tls: Option<&TlsFacts>,
        user: Option<&[u8]>,
        from: &Source,
    ) -> Result<Option<User>, Refusal> {
        let (owner, host) = (&self.owner, &self.host);
        let found = self.logins.certificate(owner, host, from, tls, user);
        self.user(found.await, from).await
    }

    async fn user(
        &self,
        found: Result<Option<Account>, Unavailable>,
        from: &Source,
    ) -> Result<Option<User>, Refusal> {
        match found {
            Ok(Some(account)) => {
                let id = account.id;
                let times = self
                    .owner
                    .ask(move |mailboxes| async move { mailboxes.directory().allowance(id) });
                Ok(Some(User {
                    account: id,
                    address: account.address,
                    times: times.await.map_err(|_| Refusal::AuthUnavailable)?,
                }))
            }
            Ok(None) => {
                tracing::info!(peer = %from.peer, "a login was refused");
                Ok(None)
            }
            Err(Unavailable) => Err(Refusal::AuthUnavailable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_send_under_their_own_addresses() {
        let address = |local: &str, domain: &str| Address::from_parts(local, domain).unwrap();
        let user = User {
            account: AccountId(1),
            address: address("ann", "example.org"),
            times: 1,
        };
        let may = |local, domain| user.is_own(&address(local, domain));
        assert!(may("ann", "example.org"));
        assert!(may("Ann+shop", "EXAMPLE.org"));
        for (local, domain) in [
            ("bob", "example.org"),
            ("ann", "example.net"),
            ("+ann", "example.org"),
            ("annette", "example.org"),
            ("bob+ann", "example.org"),
        ] {
            assert!(!may(local, domain), "{local}");
        }
        let tagged = User {
            account: AccountId(2),
            address: address("a+b", "example.org"),
            times: 1,
        };
        assert!(tagged.is_own(&address("a+b", "example.org")));
    }
}
