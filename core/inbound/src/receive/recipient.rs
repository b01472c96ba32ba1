//! Stage 1, RCPT: is the recipient an account of ours with room, or an address that leads on, and if not, why not?
//!
//! The answer comes from the core's own `directory` or, through the `Keeper`, from the storage room. What must hold: an address that is
//! not ours is refused here, before any content; an address that cannot be looked up just now is deferred, not refused.

use mail::Address;
use mailbox::MailboxFault;
use smtp::{ForwardPath, Refusal, ReversePath, Session};
use storage::arrival::Found;

use super::keeper::{refusal_for, refusal_of};
use super::mark::Mark;
use super::route::Route;
use super::{Keeper, Receiver, Settings};

impl<K: Keeper> Receiver<K> {
    /// RCPT: an account of ours, with room, or an address that leads on; or why not.
    pub(super) async fn check_recipient(
        &self,
        settings: &Settings,
        session: &Session<Route>,
    ) -> Result<Route, Refusal> {
        let (mut to, mut entry) = match session.recipient() {
            ForwardPath::Address(address) => (Some(address), self.find(address).await?),
            ForwardPath::Postmaster => (None, Found::NoMailbox),
        };
        let mut by_setting = None;
        if let (Found::NoMailbox, Some(postmaster), true) = (
            &entry,
            &settings.postmaster,
            is_postmaster(session.recipient()),
        ) {
            entry = self.find(postmaster).await?;
            (to, by_setting) = (Some(postmaster), Some(postmaster.clone()));
        }
        let envelope = session.envelope();
        let announced = envelope.and_then(|envelope| envelope.size_bytes);
        let mark = session.delivery().and_then(Mark::parse);
        let is_spooled = mark.is_some_and(|mark| mark.is_spooled);
        match (entry, to) {
            (Found::Account(_) | Found::Listed, _) if self.keeper.refuses() => {
                Err(Refusal::StorageFault)
            }
            // Its sender has a 250: the queue says what becomes of it, and who may post was asked in front.
            (Found::Account(_) | Found::Listed | Found::NoMailbox, Some(to)) if is_spooled => {
                Ok(Route::Listed { to: to.clone() })
            }
            (Found::Account(entry), _) if entry.has_room(announced.unwrap_or(0)) => {
                Ok(Route::Local {
                    account: entry.account,
                    to: by_setting,
                })
            }
            (Found::Account(_), _) => Err(Refusal::MailboxFull),
            (Found::Listed, Some(to)) => {
                let sender = envelope.map(|envelope| &envelope.reverse_path);
                self.admit(to, sender).await?;
                Ok(Route::Listed { to: to.clone() })
            }
            (Found::NoMailbox | Found::Listed, _) => Err(Refusal::UnknownRecipient),
            (Found::NotOurs, _) => Err(Refusal::RelayDenied),
        }
    }

    pub(super) async fn admit(
        &self,
        to: &Address,
        sender: Option<&ReversePath>,
    ) -> Result<(), Refusal> {
        let sender = match sender {
            Some(ReversePath::Address(address)) => Some(address),
            Some(ReversePath::Null) | None => None,
        };
        let now = self.host.unix_seconds().max(0) as u64;
        let admitted = self.keeper.admit(to, sender, now).await;
        let admitted = admitted.map_err(|_| Refusal::Busy)?;
        let admitted = admitted.map_err(|fault| refusal_for(&fault))?;
        admitted.map_err(refusal_of)
    }

    /// From memory where it is known, else from the owner. `generation` keeps an answer that a change has overtaken out of the
    /// memory.
    pub(super) async fn find(&self, address: &Address) -> Result<Found, Refusal> {
        if let Some(resident) = self.directory.borrow().find(address, self.host.now()) {
            return Ok(Found::Account(resident));
        }
        let asked = self.host.now();
        let looked = match self.keeper.look_up(address).await {
            Ok(looked) => looked,
            Err(_busy) => return self.known(address).ok_or(Refusal::Busy),
        };
        let found = match looked.found {
            Ok(found) => found,
            Err(fault @ MailboxFault::Unavailable(_)) => {
                return self.known(address).ok_or_else(|| refusal_for(&fault));
            }
            Err(fault) => return Err(refusal_for(&fault)),
        };
        if let Found::Account(resident) = &found {
            self.directory.borrow_mut().keep(
                looked.generation,
                looked.at,
                address,
                resident.clone(),
                asked,
            );
        }
        Ok(found)
    }

    /// An account that this core looked up before, for a keeper that takes mail for it now. An address that it does not know is not absent:
    /// it is deferred.
    fn known(&self, address: &Address) -> Option<Found> {
        if !self.keeper.takes_known() {
            return None;
        }
        let known = self.directory.borrow().last_known(address);
        known.map(Found::Account)
    }
}

pub(super) fn is_postmaster(path: &ForwardPath) -> bool {
    match path {
        ForwardPath::Postmaster => true,
        ForwardPath::Address(address) => address.local().eq_ignore_ascii_case("postmaster"),
    }
}
