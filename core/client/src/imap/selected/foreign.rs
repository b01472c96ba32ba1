//! A mailbox of another account that a session has open: what it may do there is looked up before each command, and before changes are reported to it.

use mail::Rights;
use mailbox::{AccountId, MailboxFault, Opening};
use storage::owner::Ask;

use super::super::Imap;
use super::super::keywords::Keywords;
use super::{Gone, Selected};

/// Whose session it is, and what it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    pub viewer: AccountId,
    /// As of the last look.
    pub rights: Rights,
}

impl Selected {
    /// It is one of another account, which gave these rights.
    pub fn belongs_to_other(&mut self, opening: &Opening, viewer: AccountId, rights: Rights) {
        self.foreign = Some(Foreign { viewer, rights });
        if !self.read_only {
            self.keywords = Keywords::new(opening.keywords.clone(), rights);
        }
    }

    /// What the session may do in it.
    pub fn rights(&self) -> Rights {
        self.foreign.map_or(Rights::ALL, |foreign| foreign.rights)
    }

    /// \Recent is for the account that the mail is for.
    pub(super) fn claims(&self) -> bool {
        !self.read_only && self.foreign.is_none()
    }
}

impl<K: Ask> Imap<K> {
    /// Nothing is looked up for a mailbox of one's own. `false`: it could not be found out, and nothing may be shown until it can.
    pub(in super::super) async fn look_at_rights(
        &self,
        selected: &mut Selected,
    ) -> Result<bool, Gone> {
        let Some(foreign) = &mut selected.foreign else {
            return Ok(true);
        };
        let (viewer, id) = (foreign.viewer, selected.id);
        let found = self
            .owner
            .ask(move |mailboxes| async move { mailboxes.rights_on(viewer, id).await });
        match found.await {
            Ok(Ok(rights)) if rights.contains(Rights::READ) => {
                foreign.rights = rights;
                Ok(true)
            }
            Ok(Ok(_) | Err(MailboxFault::NoAccount)) => Err(Gone::Revoked),
            Ok(Err(MailboxFault::NoMailbox)) => Err(Gone::Deleted),
            Ok(Err(_)) | Err(_) => {
                selected.watching.put_back();
                Ok(false)
            }
        }
    }
}
