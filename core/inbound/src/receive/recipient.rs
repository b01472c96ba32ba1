//! Stage 1, RCPT: is the recipient an account of ours with room, and if not, why not?
//!
//! The answer comes from the core's own `directory` or, through the `Keeper`, from the storage room. What must hold: an address that is
//! not ours is refused here, before any content; an address that cannot be looked up just now is deferred, not refused.

use mail::Address;
use smtp::{ForwardPath, Refusal, Session};
use storage::arrival::Found;

use super::keeper::refusal_for;
use super::route::Route;
use super::{Keeper, Receiver, Settings};

impl<K: Keeper> Receiver<K> {
    /// RCPT: an account of ours, with room, or why not.
    pub(super) async fn check_recipient(
        &self,
        settings: &Settings,
        session: &Session<Route>,
    ) -> Result<Route, Refusal> {
        let entry = match session.recipient() {
            ForwardPath::Address(address) => self.look_up(address).await?,
            ForwardPath::Postmaster => Found::NoMailbox,
        };
        let entry = match (entry, &settings.postmaster, session.recipient()) {
            (Found::NoMailbox, Some(postmaster), path) if is_postmaster(path) => {
                self.look_up(postmaster).await?
            }
            (entry, ..) => entry,
        };
        let announced = session
            .envelope()
            .and_then(|envelope| envelope.size_bytes)
            .unwrap_or(0);
        match entry {
            Found::Account(_) if self.keeper.refuses() => Err(Refusal::StorageFault),
            Found::Account(entry) if entry.has_room(announced) => Ok(Route::Local {
                account: entry.account,
            }),
            Found::Account(_) => Err(Refusal::MailboxFull),
            Found::NoMailbox => Err(Refusal::UnknownRecipient),
            Found::NotOurs => Err(Refusal::RelayDenied),
        }
    }

    async fn look_up(&self, address: &Address) -> Result<Found, Refusal> {
        if let Some(resident) = self.directory.borrow().find(address, self.host.now()) {
            return Ok(Found::Account(resident));
        }
        let asked = self.host.now();
        let looked = self
            .keeper
            .look_up(address)
            .await
            .map_err(|_| Refusal::Busy)?;
        let found = looked.found.map_err(|fault| refusal_for(&fault))?;
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
}

pub(super) fn is_postmaster(path: &ForwardPath) -> bool {
    match path {
        ForwardPath::Postmaster => true,
        ForwardPath::Address(address) => address.local().eq_ignore_ascii_case("postmaster"),
    }
}
