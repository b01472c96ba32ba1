//! MULTIAPPEND and REPLACE (RFC 3502, RFC 8508): what is placed together is one commit.

use std::sync::atomic::Ordering::Relaxed;

use base::BodyName;
use bytes::Bytes;
use imap::command::Letter;
use imap::respond::{Status, put_reply};
use imap::sequence::SequenceSet;
use mail::{InternalDate, Rights, Summary, Uid};
use mailbox::{AccountId, Appending, MailboxFault, MailboxId, Placed};
use storage::filter::Cause;
use storage::owner::Ask;
use store::BodyIn;

use super::events::{self, Job};
use super::fault::Failure;
use super::messages::tells_numbers;
use super::place::needs;
use super::selected::Selected;
use super::{Done, Imap};

impl<K: Ask> Imap<K> {
    /// RFC 3502: all of them or none. `bytes` are the command's.
    pub(super) async fn on_append_many(
        &self,
        account: AccountId,
        name: &str,
        letters: Vec<Letter>,
        bytes: Bytes,
    ) -> Result<Done, Failure> {
        let count = letters.len() as u32;
        let placed = self.append(account, name, letters, bytes, None).await?;
        // RFC 4315 §3: as many UIDs as messages, in their order.
        let code = |placed: Placed| {
            let (first, last) = (placed.uid.0, placed.uid.0 + count - 1);
            format!("APPENDUID {} {first}:{last}", placed.uid_validity.0)
        };
        Ok(Done {
            code: placed.map(code).unwrap_or_default(),
            text: "Append completed",
        })
    }

    /// RFC 8508 §3: the message is there and the other one gone, or nothing happened.
    #[expect(clippy::too_many_arguments, reason = "the words of one command")]
    pub(super) async fn on_replace(
        &self,
        account: AccountId,
        selected: &Selected,
        (uid, set): (bool, &SequenceSet),
        name: &str,
        letter: Letter,
        bytes: Bytes,
        out: &mut Vec<u8>,
    ) -> Result<Done, Failure> {
        let targets = selected.targets(set, uid)?;
        let target = match targets[..] {
            [(_, target)] => Uid(target),
            [] => return Err(Failure::No("NONEXISTENT", "Message does not exist")),
            _ => return Err(Failure::Bad("REPLACE takes one message")),
        };
        if let Some(foreign) = selected.foreign {
            // RFC 8508 §5: what STORE of \Deleted and EXPUNGE need.
            needs(
                foreign.rights,
                Rights::DELETE_MESSAGES.with(Rights::EXPUNGE),
            )?;
        }
        let replaces = Some((selected.id, target));
        let placed = self.append(account, name, vec![letter], bytes, replaces);
        // RFC 8508 §3: before the EXPUNGE, untagged.
        if let Some(placed) = placed.await? {
            let code = format!("APPENDUID {} {}", placed.uid_validity.0, placed.uid.0);
            put_reply(out, "*", Status::Ok, &code, "Replacement message ready");
        }
        Ok(Done::plain("Replace completed"))
    }

    /// `None`: it is done, and where the messages are is not this account's to know.
    async fn append(
        &self,
        account: AccountId,
        name: &str,
        letters: Vec<Letter>,
        bytes: Bytes,
        replaces: Option<(MailboxId, Uid)>,
    ) -> Result<Option<Placed>, Failure> {
        let place = self.find_place(account, name).await?;
        place.needs(Rights::INSERT)?;
        let (missing, rights, owner) = (place.missing(), place.rights(), place.account);
        let now = InternalDate::utc(self.host.unix_seconds());
        let count = letters.len() as u64;
        let mut messages = Vec::with_capacity(letters.len());
        for letter in letters {
            let raw = bytes.slice(letter.message.0);
            if raw.is_empty() {
                return Err(Failure::No("CANNOT", "Message is empty"));
            }
            let size = raw.len();
            let digest = move || BodyIn {
                name: BodyName::of(&raw),
                summary: Bytes::from(Summary::of(&raw).encode()),
                raw,
            };
            messages.push(Appending {
                body: self.host.work(size, digest).await,
                internal_date: letter.date.unwrap_or(now),
                flags: rights.allowed(&letter.flags),
            });
        }
        let mailbox = place.name;
        let placed = self
            .owner
            .ask_either(move |mailboxes, outgoing| async move {
                let placed = mailboxes
                    .append(owner, &mailbox, messages, replaces)
                    .await?;
                let has_script = events::wants(outgoing.as_ref(), placed.mailbox).await;
                Ok::<_, MailboxFault>((placed, has_script))
            })
            .await?;
        match placed {
            Ok((placed, has_script)) => {
                if has_script {
                    let uids = (0..count as u32).map(|index| Uid(placed.uid.0 + index));
                    self.begin_events(account, Job::placed(placed.mailbox, Cause::Append, uids));
                }
                self.counters.appended.fetch_add(count, Relaxed);
                Ok(tells_numbers(rights).then_some(placed))
            }
            Err(MailboxFault::NoMailbox) => Err(missing),
            Err(fault) => Err(fault.into()),
        }
    }
}
