//! What LIST returns beside its lines: rights (RFC 8440) and annotations (RFC 9590).

use imap::Names;
use imap::command::ListRequest;
use imap::metadata::Depth;
use imap::respond::{put_metadata, put_my_rights};
use mail::Rights;
use mailbox::{AccountId, MailboxFault, MailboxId, MailboxInfo, NoteList};
use storage::owner::Ask;

use super::super::Imap;
use super::super::annotate::chosen;
use super::super::fault::Failure;
use super::super::limits::{ANNOTATIONS_LISTED_BYTES_MAX, LOOKED_AT_TOGETHER};

/// Lines behind the one about `info`. `notes`: what may be read of it, where that was asked for.
pub(super) fn put(
    out: &mut Vec<u8>,
    info: &MailboxInfo,
    request: &ListRequest,
    rights: Rights,
    notes: Option<NoteList>,
    names: Names,
) {
    // A name without a mailbox has no rights.
    if request.return_my_rights && info.id != MailboxId(0) {
        put_my_rights(out, &info.name, rights, names);
    }
    if let Some(notes) = notes {
        let chosen = chosen(&notes, &request.return_metadata, Depth::Zero);
        if !chosen.is_empty() {
            put_metadata(out, &info.name, chosen.into_iter(), names);
        }
    }
}

impl<K: Ask> Imap<K> {
    /// Those of the annotations of each of these mailboxes that are `wanted`; none of one that went meanwhile. `TooMany`: more than
    /// `ANNOTATIONS_LISTED_BYTES_MAX`.
    pub(super) async fn notes_on(
        &self,
        account: AccountId,
        ids: Vec<MailboxId>,
        wanted: Vec<Box<str>>,
    ) -> Result<Vec<NoteList>, Failure> {
        let asked = self.owner.ask(move |mailboxes| async move {
            let mut all = Vec::with_capacity(ids.len());
            let mut bytes = 0;
            for (index, id) in ids.into_iter().enumerate() {
                let mut notes = match mailboxes.notes_on(account, id).await {
                    Ok(notes) => notes,
                    Err(MailboxFault::NoMailbox) => NoteList::new(),
                    Err(fault) => return Err(fault),
                };
                notes.retain(|(name, _)| wanted.iter().any(|wanted| **wanted == **name));
                bytes += notes.iter().map(|(_, value)| value.len()).sum::<usize>();
                if bytes > ANNOTATIONS_LISTED_BYTES_MAX {
                    return Err(MailboxFault::TooMany("annotations in one LIST"));
                }
                all.push(notes);
                if index % LOOKED_AT_TOGETHER == LOOKED_AT_TOGETHER - 1 {
                    tokio::task::yield_now().await;
                }
            }
            Ok(all)
        });
        Ok(asked.await??)
    }
}
