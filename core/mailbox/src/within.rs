//! Flags as an account may change them that has some of the rights on a mailbox, and not all (RFC 4314 §4).

use std::collections::BTreeMap;

use mail::{Flags, ModSeq, Rights, Uid};

use crate::{FlagChange, Flagged, MailboxFault, MailboxId, Mailboxes, Message};

/// Times that flags are looked at again which another session changed meanwhile.
const ROUNDS_MAX: usize = 8;

impl Mailboxes {
    /// As `change_flags`, for an account with `rights` on the mailbox. Flags that it may not change stay as they are.
    ///
    /// A replacement is then another one for messages with other flags: of many messages those with equal flags are one durable step, and
    /// several may be done when a later one fails. A change by another session in between is not undone: those messages are looked at again.
    pub async fn change_flags_within(
        &self,
        mailbox: MailboxId,
        uids: &[Uid],
        change: FlagChange,
        flags: &Flags,
        unchanged_since: Option<ModSeq>,
        rights: Rights,
    ) -> Result<Vec<Flagged>, MailboxFault> {
        let allowed = rights.allowed(flags);
        if change != FlagChange::Replace || rights.changes_all_flags() {
            return self
                .change_flags(mailbox, uids, change, &allowed, unchanged_since)
                .await;
        }
        let mut done: Vec<Flagged> = Vec::new();
        let mut left = uids.to_vec();
        for _ in 0..ROUNDS_MAX {
            let messages = self.messages(mailbox, &left).await?;
            left.clear();
            for (flags, (uids, highest)) in grouped(&messages, &allowed, rights) {
                let since = unchanged_since.unwrap_or(highest);
                let change = FlagChange::Replace;
                let flagged = self
                    .change_flags(mailbox, &uids, change, &flags, Some(since))
                    .await?;
                for one in flagged {
                    match one.is_refused && unchanged_since.is_none() {
                        true => left.push(one.message.uid),
                        false => done.push(one),
                    }
                }
            }
            if left.is_empty() {
                done.sort_unstable_by_key(|one| one.message.uid);
                return Ok(done);
            }
            left.sort_unstable();
        }
        let why = "the flags are changed by others again and again";
        Err(MailboxFault::Unavailable(why.to_owned()))
    }
}

/// What the flags become, and of which messages (ascending), with the highest of their modification sequences.
type Group = (Flags, (Vec<Uid>, ModSeq));

/// Messages of which the same becomes. `allowed` takes the place of what `rights` may change.
fn grouped(messages: &[Message], allowed: &Flags, rights: Rights) -> Vec<Group> {
    let mut groups: BTreeMap<(u8, Vec<&str>), Group> = BTreeMap::new();
    for message in messages {
        let before = &message.flags;
        let key = before.keywords.iter().map(mail::Keyword::as_str);
        let key = (before.system.0, key.collect());
        let (_, (uids, highest)) = groups.entry(key).or_insert_with(|| {
            let kept = before.without(&rights.allowed(before));
            (kept.with(allowed), (Vec::new(), ModSeq(0)))
        });
        uids.push(message.uid);
        *highest = (*highest).max(message.modseq);
    }
    groups.into_values().collect()
}
