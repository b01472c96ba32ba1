//! RCPT: a mailbox of this box, or somewhere else.
//!
//! What must hold: an address of a domain of ours without an account is refused now, and never sent to another server; an address that cannot
//! be looked up just now is deferred.

use inbound::receive::{refusal_for, refusal_of};
use mail::Address;
use mailbox::AccountId;
use smtp::{ForwardPath, Refusal, ReversePath, Session};
use storage::addresses;
use storage::arrival::{self, Found};
use storage::owner::Ask;

use super::{Settings, Submitter};

/// The way of one recipient's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Into the INBOX of an account of this box, which has this address.
    Here(AccountId, Address),
    /// To an address of ours that leads on, by the queue.
    Listed(Address),
    /// To another server, by the queue.
    Elsewhere,
}

impl<A: Ask> Submitter<A> {
    pub(super) async fn check_recipient(
        &self,
        settings: &Settings,
        session: &Session<Route>,
    ) -> Result<Route, Refusal> {
        let wanted = match (session.recipient(), &settings.postmaster) {
            (ForwardPath::Address(address), _) => address.clone(),
            (ForwardPath::Postmaster, Some(postmaster)) => postmaster.clone(),
            (ForwardPath::Postmaster, None) => return Err(Refusal::UnknownRecipient),
        };
        if self.owner.refuses_mail() {
            return Err(Refusal::StorageFault);
        }
        let announced = session.envelope().and_then(|envelope| envelope.size_bytes);
        match self.find(wanted.clone()).await? {
            Found::Account(resident) if resident.has_room(announced.unwrap_or(0)) => {
                Ok(Route::Here(resident.account, wanted))
            }
            Found::Account(_) => Err(Refusal::MailboxFull),
            Found::NoMailbox => Err(Refusal::UnknownRecipient),
            Found::NotOurs => Ok(Route::Elsewhere),
            Found::Listed => {
                self.admit(wanted.clone(), session).await?;
                Ok(Route::Listed(wanted))
            }
        }
    }

    async fn admit(&self, wanted: Address, session: &Session<Route>) -> Result<(), Refusal> {
        let sender = match session.envelope().map(|envelope| &envelope.reverse_path) {
            Some(ReversePath::Address(address)) => Some(address.clone()),
            Some(ReversePath::Null) | None => None,
        };
        let now = self.host.unix_seconds().max(0) as u64;
        let admitted = self.owner.ask(move |mailboxes| async move {
            addresses::admit(&mailboxes, &wanted, sender.as_ref(), now).await
        });
        let admitted = admitted.await.map_err(|_| Refusal::Busy)?;
        let admitted = admitted.map_err(|fault| refusal_for(&fault))?;
        admitted.map_err(refusal_of)
    }

    async fn find(&self, wanted: Address) -> Result<Found, Refusal> {
        let looked = self
            .owner
            .ask(move |mailboxes| async move { arrival::look_up(&mailboxes, &wanted).await });
        let looked = looked.await.map_err(|_| Refusal::Busy)?;
        looked.found.map_err(|fault| refusal_for(&fault))
    }
}
