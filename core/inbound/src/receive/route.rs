//! Where a message goes for one recipient: settled at RCPT, carried by `smtp::Session`, followed once the verdict allows it.
//!
//! What must hold: recipients with one destination get one copy, and each of them gets that copy's outcome.

use mail::Address;
use mailbox::AccountId;
use smtp::{Recipient, Refusal};

/// The way of one recipient's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Into a mailbox of this box. Which mailbox of the account, the storage room decides.
    /// `to`: its address where the recipient named another (`<Postmaster>`).
    Local {
        account: AccountId,
        to: Option<Address>,
    },
    /// To an address of ours without a mailbox: into the queue, from where it is led on.
    Listed { to: Address },
}

impl Route {
    fn account(&self) -> Option<AccountId> {
        match self {
            Route::Local { account, .. } => Some(*account),
            Route::Listed { .. } => None,
        }
    }

    pub(super) fn is_listed(&self) -> bool {
        matches!(self, Route::Listed { .. })
    }
}

/// The accounts that `recipients` lead to, ascending, each once. Two addresses of one account are one mailbox: one copy (RFC 5321
/// §4.1.1.3 leaves it to us).
pub(super) fn accounts(recipients: &[Recipient<Route>]) -> Vec<AccountId> {
    let routes = recipients.iter().map(|recipient| &recipient.route);
    let mut accounts: Vec<AccountId> = routes.filter_map(Route::account).collect();
    accounts.sort_unstable();
    accounts.dedup();
    accounts
}

/// One outcome for each recipient, in order. `results` are those of the accounts `handed`, ascending; any other account of `recipients` has
/// the message from an earlier try.
pub(super) fn outcomes(
    recipients: &[Recipient<Route>],
    handed: &[AccountId],
    results: &[Result<(), Refusal>],
) -> Vec<Result<(), Refusal>> {
    assert_eq!(results.len(), handed.len(), "one result for each account");
    let outcome = |recipient: &Recipient<Route>| {
        let account = recipient.route.account();
        let index = account.and_then(|account| handed.binary_search(&account).ok());
        index.map_or(Ok(()), |index| results[index])
    };
    recipients.iter().map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use smtp::ForwardPath;

    use super::*;

    fn to(accounts: &[u32]) -> Vec<Recipient<Route>> {
        let recipient = |account: &u32| Recipient {
            path: ForwardPath::Postmaster,
            notify: None,
            original: None,
            route: Route::Local {
                account: AccountId(*account),
                to: None,
            },
        };
        accounts.iter().map(recipient).collect()
    }

    #[test]
    fn an_account_gets_one_copy_for_all_its_addresses() {
        assert_eq!(accounts(&to(&[7, 3, 7])), [AccountId(3), AccountId(7)]);
        assert_eq!(accounts(&[]), []);
    }

    #[test]
    fn each_recipient_gets_the_outcome_of_its_account() {
        let (ok, full) = (Ok(()), Err(Refusal::MailboxFull));
        let handed = [AccountId(3), AccountId(7)];
        let found = outcomes(&to(&[7, 3, 7]), &handed, &[ok, full]);
        assert_eq!(found, [full, ok, full]);
    }

    #[test]
    fn what_was_not_handed_off_again_is_placed_already() {
        let full = Err(Refusal::MailboxFull);
        assert_eq!(
            outcomes(&to(&[3, 7]), &[AccountId(7)], &[full]),
            [Ok(()), full]
        );
        assert_eq!(outcomes(&to(&[3]), &[], &[]), [Ok(())]);
    }
}
