//! What a mailbox still has of a message that is handed over again after a loss.

use base::BodyName;
use mailbox::{AccountId, MailboxFault, Mailboxes};
use store::ReadFault;

/// Whether a message with these bytes is in a mailbox of the account, and the bytes can be read. One that its owner expunged is not there. Looks at every
/// message of the account: for what an operator asked for. `Err`: it is not known.
pub(super) async fn has(
    mailboxes: &Mailboxes,
    account: AccountId,
    name: &BodyName,
) -> Result<bool, MailboxFault> {
    for folder in mailboxes.list(account).await? {
        let view = match mailboxes.view(folder.id).await {
            // Removed meanwhile.
            Err(MailboxFault::NoMailbox) => continue,
            view => view?,
        };
        let same = view.messages.iter().filter(|each| each.body.name == *name);
        for message in same {
            match mailboxes.store().body_proved(&message.body).await {
                Ok(_) => return Ok(true),
                Err(ReadFault::Damaged) => {}
                // Moved by reclaim, or a leg that does not answer: unknown is not absent.
                Err(fault) => return Err(MailboxFault::Unavailable(fault.to_string())),
            }
        }
    }
    Ok(false)
}
