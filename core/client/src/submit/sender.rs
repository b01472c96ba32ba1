//! Who this is, and whose addresses they may send under (RFC 6409 §6.1).

use std::net::IpAddr;

use mail::Address;
use mailbox::AccountId;
use smtp::{Credentials, Refusal, ReversePath};
use storage::owner::Ask;

use super::Submitter;
use crate::imap::limits::LOGIN_FAILURE_DELAY;
use crate::login::Unavailable;

/// Who has logged in.
pub(super) struct User {
    pub account: AccountId,
    address: Address,
}

impl User {
    /// Under the account's own address, with or without a tag (`ann+shop@`), and under the null one (RFC 5321 §4.5.5: reports that a mail
    /// program writes).
    pub fn may_send_as(&self, sender: &ReversePath) -> Result<(), Refusal> {
        let own = self.address.key();
        match sender {
            ReversePath::Null => Ok(()),
            ReversePath::Address(address) if untagged(address).key() == own => Ok(()),
            ReversePath::Address(address) if address.key() == own => Ok(()),
            ReversePath::Address(_) => Err(Refusal::NotYourAddress),
        }
    }
}

fn untagged(address: &Address) -> Address {
    let local = address.local().split('+').next().unwrap_or_default();
    Address::from_parts(local, address.domain()).unwrap_or_else(|| address.clone())
}

impl<A: Ask> Submitter<A> {
    /// `Ok(None)`: no such user, or another password.
    pub(super) async fn log_in(
        &self,
        credentials: Credentials,
        peer: IpAddr,
    ) -> Result<Option<User>, Refusal> {
        let Credentials { user, password } = credentials;
        let checked = self.logins.check(&self.owner, &self.host, &user, &password);
        match checked.await {
            Ok(Some(account)) => Ok(Some(User {
                account: account.id,
                address: account.address,
            })),
            Ok(None) => {
                tracing::info!(%peer, user = %user.escape_ascii(), "a login was refused");
                self.logins.failed(peer);
                self.host.sleep(LOGIN_FAILURE_DELAY).await;
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
        };
        let may = |local, domain| user.may_send_as(&ReversePath::Address(address(local, domain)));
        assert_eq!(user.may_send_as(&ReversePath::Null), Ok(()));
        assert_eq!(may("ann", "example.org"), Ok(()));
        assert_eq!(may("Ann+shop", "EXAMPLE.org"), Ok(()));
        for (local, domain) in [
            ("bob", "example.org"),
            ("ann", "example.net"),
            ("+ann", "example.org"),
            ("annette", "example.org"),
            ("bob+ann", "example.org"),
        ] {
            assert_eq!(may(local, domain), Err(Refusal::NotYourAddress), "{local}");
        }
        let tagged = User {
            account: AccountId(2),
            address: address("a+b", "example.org"),
        };
        let own = ReversePath::Address(address("a+b", "example.org"));
        assert_eq!(tagged.may_send_as(&own), Ok(()));
    }
}
