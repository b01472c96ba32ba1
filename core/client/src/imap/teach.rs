//! A message that a person moves into the folder for junk, or out of it, or marks with `$Junk` or `$NotJunk`, teaches what junk is.
//!
//! What must hold: the COPY, MOVE or STORE was durable and is answered without waiting for this; the lessons under way on a core are bounded, and what
//! does not fit is left out; a fault here is a line in the log. Of each message the first piece that is stored together is read, half a
//! mebibyte at most, as the judge reads the first 256 KiB only.

use std::cell::Cell;
use std::rc::Rc;

use mail::{Flags, Keyword, Uid};
use mailbox::{AccountId, FlagChange, MailboxFault, MailboxId, Mailboxes, Message, SpecialUse};
use runtime::SessionHost;
use spam::{Reading, Want};
use storage::lessons::{Taught, teach};
use storage::owner::Ask;

use super::Imap;
use super::limits::{LESSONS_TOGETHER_MAX, LESSONS_UNDER_WAY_MAX};

impl<K: Ask> Imap<K> {
    /// Begins a lesson about the newest of `uids` of `mailbox`, whose keywords say now what they are.
    pub(super) fn teach_marked(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: impl ExactSizeIterator<Item = Uid>,
        is_junk: bool,
    ) {
        self.begin_lesson(account, newest(uids), Why::Marked { mailbox, is_junk });
    }

    /// Begins a lesson about the newest of `uids` of the folder `to`, which came there from `from`; whether one is due is found out beside the
    /// session.
    pub(super) fn teach(
        &self,
        account: AccountId,
        from: MailboxId,
        to: String,
        uids: impl ExactSizeIterator<Item = Uid>,
    ) {
        self.begin_lesson(account, newest(uids), Why::Moved { from, to });
    }

    fn begin_lesson(&self, account: AccountId, uids: Vec<Uid>, why: Why) {
        if uids.is_empty() || self.teaching.get() >= LESSONS_UNDER_WAY_MAX {
            return;
        }
        let under_way = UnderWay::begin(&self.teaching);
        let (owner, host) = (self.owner.clone(), self.host.clone());
        self.host.spawn(Box::pin(async move {
            let _under_way = under_way;
            if let Err(why) = take(&owner, &host, account, why, uids).await {
                tracing::debug!(account = account.0, why, "a move taught nothing");
            }
        }));
    }
}

async fn take<K: Ask>(
    owner: &K,
    host: &SessionHost,
    account: AccountId,
    why: Why,
    uids: Vec<Uid>,
) -> Result<(), String> {
    let found = owner.ask(move |mailboxes| async move {
        match why {
            Why::Moved { from, to } => messages(&mailboxes, account, from, &to, &uids).await,
            Why::Marked { mailbox, is_junk } => {
                let messages = mailboxes.messages(mailbox, &uids).await?;
                Ok(Some((mailbox, is_junk, messages)))
            }
        }
    });
    let found = found.await.map_err(|busy| busy.to_string())?;
    let Some((mailbox, is_junk, messages)) = found.map_err(|fault| fault.to_string())? else {
        return Ok(());
    };
    for message in messages {
        let (uid, body) = (message.uid, message.body.clone());
        let piece = owner.ask(move |mailboxes| async move {
            let read = mailboxes.piece(mailbox, uid, &body, None, 0).await;
            read.map(|(bytes, _)| bytes)
        });
        let piece = piece.await.map_err(|busy| busy.to_string())?;
        let piece = piece.map_err(|fault| fault.to_string())?;
        let bytes = piece.len().min(spam::limits::READ_BYTES_MAX);
        let read = move || Reading::of(&piece, Want::Words).tokens;
        let taught = Taught {
            account,
            name: message.body.name,
            is_junk,
            tokens: host.work(bytes, read).await,
        };
        let learned = owner.ask_outgoing(move |outgoing| async move {
            match outgoing.lessons() {
                Some(lessons) => teach(outgoing.mailboxes(), lessons, taught).await,
                None => Ok(false),
            }
        });
        let learned = learned.await.map_err(|busy| busy.to_string())?;
        learned.map_err(|fault| fault.to_string())?;
    }
    Ok(())
}

/// What makes a lesson due.
enum Why {
    Moved { from: MailboxId, to: String },
    Marked { mailbox: MailboxId, is_junk: bool },
}

/// Whether the keywords of a message say so already.
pub(super) fn says(flags: &Flags, is_junk: bool) -> bool {
    said_by(FlagChange::Add, flags) == Some(is_junk)
}

/// What keywords say of a message (RFC 9051 §2.3.2): `Some(true)`: junk. Both together say nothing, and so does a change that removes.
pub(super) fn said_by(change: FlagChange, flags: &Flags) -> Option<bool> {
    let has = |text: &str| {
        let keyword = Keyword::parse(text);
        keyword.is_some_and(|keyword| flags.has_keyword(&keyword))
    };
    match (change, has("$Junk"), has("$NotJunk")) {
        (FlagChange::Remove, ..) | (_, true, true) | (_, false, false) => None,
        (_, is_junk, _) => Some(is_junk),
    }
}

/// The folder `to`, whether what came there is junk, and the messages; `None`: nothing is to be learned. What goes from the
/// folder for junk to the one for rubbish is deleted, not good.
async fn messages(
    mailboxes: &Mailboxes,
    account: AccountId,
    from: MailboxId,
    to: &str,
    uids: &[Uid],
) -> Result<Option<(MailboxId, bool, Vec<Message>)>, MailboxFault> {
    let folders = mailboxes.list(account).await?;
    let to = mailboxes.find(account, to).await?;
    let role = |id: MailboxId| {
        let folder = folders
            .iter()
            .find(|folder| folder.id == id && folder.selectable);
        folder.and_then(|folder| folder.special_use)
    };
    let is_junk = match (role(from), role(to)) {
        (Some(SpecialUse::Junk), Some(SpecialUse::Junk | SpecialUse::Trash)) => return Ok(None),
        (_, Some(SpecialUse::Junk)) => true,
        (Some(SpecialUse::Junk), _) => false,
        _ => return Ok(None),
    };
    let messages = mailboxes.messages(to, uids).await?;
    Ok(Some((to, is_junk, messages)))
}

/// The last ones, which are all that is held until the lesson ends: a move may be of a whole folder.
fn newest(uids: impl ExactSizeIterator<Item = Uid>) -> Vec<Uid> {
    let before = uids.len().saturating_sub(LESSONS_TOGETHER_MAX);
    uids.skip(before).collect()
}

/// Counts against `LESSONS_UNDER_WAY_MAX`.
struct UnderWay(Rc<Cell<usize>>);
impl UnderWay {
    fn begin(count: &Rc<Cell<usize>>) -> UnderWay {
        count.set(count.get() + 1);
        UnderWay(count.clone())
    }
}
impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_speak_when_they_are_set_alone() {
        let flags = |words: &[&str]| Flags {
            keywords: words
                .iter()
                .filter_map(|word| Keyword::parse(word))
                .collect(),
            ..Flags::default()
        };
        let (add, replace, remove) = (FlagChange::Add, FlagChange::Replace, FlagChange::Remove);
        for (change, words, wanted) in [
            (add, &["$junk"][..], Some(true)),
            (replace, &["$NotJunk", "work"], Some(false)),
            (add, &["$Junk", "$NotJunk"], None),
            (remove, &["$Junk"], None),
            (add, &["Junk"], None),
            (replace, &[], None),
        ] {
            assert_eq!(said_by(change, &flags(words)), wanted, "{words:?}");
        }
    }

    #[test]
    fn of_a_large_move_only_what_teaches_is_held() {
        let most = LESSONS_TOGETHER_MAX as u32;
        for count in [0, 1, most, most + 1, 100_000] {
            let uids: Vec<Uid> = (0..count).map(Uid).collect();
            let held = newest(uids.iter().copied());
            assert!(held.capacity() <= 2 * LESSONS_TOGETHER_MAX);
            assert_eq!(held, uids[uids.len() - count.min(most) as usize..]);
        }
    }
}
