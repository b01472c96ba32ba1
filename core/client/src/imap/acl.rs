//! Access lists (RFC 4314): shown, changed, and each change in the audit.

use imap::Names;
use imap::acl::Acl;
use imap::respond::{put_acl, put_list_rights, put_my_rights};
use mail::{Rights, RightsChange};
use mailbox::{ANYONE, AccessChanged, AccountId, MailboxFault};
use storage::owner::Ask;

use super::fault::Failure;
use super::place::Place;
use super::{Done, Imap};
use crate::login::audit::From as Source;

impl<K: Ask> Imap<K> {
    pub(super) async fn on_acl(
        &self,
        account: AccountId,
        acl: Acl,
        names: Names,
        from: &Source,
        out: &mut Vec<u8>,
    ) -> Result<Done, Failure> {
        match acl {
            Acl::Set {
                mailbox,
                identifier,
                change,
            } => {
                self.change_access(account, &mailbox, &identifier, change, from)
                    .await?;
                Ok(Done::plain("Setacl completed"))
            }
            Acl::Delete {
                mailbox,
                identifier,
            } => {
                let change = RightsChange::Replace(Rights::NONE);
                self.change_access(account, &mailbox, &identifier, change, from)
                    .await?;
                Ok(Done::plain("Deleteacl completed"))
            }
            Acl::Get { mailbox } => {
                let place = self.administered(account, &mailbox).await?;
                let (owner, folder) = (place.account, place.name);
                let found = self.owner.ask(move |mailboxes| async move {
                    let lines = mailboxes.access(owner, &folder).await?;
                    let owner = mailboxes.directory().account_by_id(owner).await?;
                    let owner = owner.ok_or(MailboxFault::NoAccount)?;
                    Ok::<_, MailboxFault>((owner.address.to_path(), lines))
                });
                let (owner, lines) = found.await??;
                let others = lines.iter().map(|line| (&line.identifier[..], line.rights));
                let all = std::iter::once((&owner[..], Rights::ALL)).chain(others);
                put_acl(out, &mailbox, all, names);
                Ok(Done::plain("Getacl completed"))
            }
            Acl::ListRights {
                mailbox,
                identifier,
            } => {
                let place = self.administered(account, &mailbox).await?;
                let (owner, folder, who) = (place.account, place.name, identifier.clone());
                let found = self.owner.ask(move |mailboxes| async move {
                    mailboxes.find(owner, &folder).await?;
                    if who.trim_start_matches('-').eq_ignore_ascii_case(ANYONE) {
                        return Ok(false);
                    }
                    let owner = mailboxes.directory().account_by_id(owner).await?;
                    let address = owner.ok_or(MailboxFault::NoAccount)?.address;
                    Ok::<_, MailboxFault>(address.to_path().eq_ignore_ascii_case(&who))
                });
                let is_owner = found.await??;
                put_list_rights(out, &mailbox, &identifier, is_owner, names);
                Ok(Done::plain("Listrights completed"))
            }
            Acl::MyRights { mailbox } => {
                let place = self.find_place(account, &mailbox).await?;
                // §4: any of these shows that the mailbox is there.
                let shows = Rights::parse("lrikxa").expect("letters of rights");
                match &place.foreign {
                    Some(foreign) if !foreign.rights.meets(shows) => {
                        return Err(MailboxFault::NoMailbox.into());
                    }
                    Some(_) => {}
                    None => {
                        let name = place.name.clone();
                        let find = self.owner.ask(move |mailboxes| async move {
                            mailboxes.find(account, &name).await
                        });
                        find.await??;
                    }
                }
                put_my_rights(out, &mailbox, place.rights(), names);
                Ok(Done::plain("Myrights completed"))
            }
        }
    }

    async fn administered(&self, account: AccountId, mailbox: &str) -> Result<Place, Failure> {
        let place = self.find_place(account, mailbox).await?;
        place.needs(Rights::ADMINISTER)?;
        Ok(place)
    }

    /// Durable, and in the audit, when it answers.
    async fn change_access(
        &self,
        account: AccountId,
        mailbox: &str,
        identifier: &str,
        change: RightsChange,
        from: &Source,
    ) -> Result<(), Failure> {
        let place = self.administered(account, mailbox).await?;
        let (owner, folder, identifier) = (place.account, place.name, identifier.to_owned());
        let changed = self.owner.ask(move |mailboxes| async move {
            // First: no change is without its line of the audit because this failed behind it.
            let who = mailboxes.directory().account_by_id(account).await?;
            let changed = mailboxes.change_access(owner, &folder, &identifier, change);
            Ok::<_, MailboxFault>((changed.await?, who.map(|who| who.address.to_path())))
        });
        let (changed, who) = changed.await??;
        self.audit(&changed, who.as_deref(), from);
        Ok(())
    }

    fn audit(&self, changed: &AccessChanged, who: Option<&str>, from: &Source) {
        if changed.before == changed.after {
            return;
        }
        let what = described(changed);
        tracing::info!(peer = %from.peer, who, what, "rights were changed");
        self.logins.changed(&self.host, from, who, &what);
    }
}

/// One line about a change of rights, for the audit.
pub fn described(changed: &AccessChanged) -> String {
    let shown = |rights: Rights| match rights.is_empty() {
        true => "none".to_owned(),
        false => rights.to_string(),
    };
    format!(
        "rights of {} on {} of {}: {} before, {} now",
        changed.identifier,
        changed.folder,
        changed.owner.to_path(),
        shown(changed.before),
        shown(changed.after)
    )
}
