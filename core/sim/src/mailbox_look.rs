//! What a client sees of its mailboxes, checked against itself on the way.

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;
use mail::{ModSeq, SystemFlags, Uid};
use mailbox::{AccountId, Mailboxes, Message};

use crate::ledger::fill;
use crate::mailbox_model::{Folder, Letter, Marks, Picture, Whose};

/// A letter with this bit in its number is larger than a batch of a small volume.
pub const LARGE_BIT: u32 = 40;

/// All that can be seen of some accounts, checked against itself and against what may only grow.
pub async fn look(
    mailboxes: &Mailboxes,
    accounts: &[AccountId],
    marks: &mut Marks,
) -> Result<Picture, String> {
    let mut picture = Picture::new();
    for (whose, account) in accounts.iter().enumerate() {
        for info in mailboxes
            .list(*account)
            .await
            .map_err(|fault| format!("list: {fault}"))?
        {
            if !info.selectable {
                continue;
            }
            let view = mailboxes
                .view(info.id)
                .await
                .map_err(|fault| format!("view of {}: {fault}", info.name))?;
            let status = &view.status;
            let letters: BTreeMap<Uid, Letter> = view
                .messages
                .iter()
                .map(|message| (message.uid, seen(message)))
                .collect();
            // STATUS is answered from counters that are kept, FETCH from the messages themselves. They are written by different code, so they
            // are held against each other each time that anybody looks.
            let count = |test: &dyn Fn(&Message) -> bool| {
                view.messages.iter().filter(|message| test(message)).count()
            };
            let unseen = count(&|message| !message.flags.system.contains(SystemFlags::SEEN));
            let deleted = count(&|message| message.flags.system.contains(SystemFlags::DELETED));
            let size_bytes: u64 = view
                .messages
                .iter()
                .map(|message| u64::from(message.size_bytes))
                .sum();
            let counted = (
                status.messages as usize,
                status.unseen as usize,
                status.deleted as usize,
                status.size_bytes,
            );
            if counted != (letters.len(), unseen, deleted, size_bytes) {
                return Err(format!(
                    "{}: the status {status:?} does not fit its messages",
                    info.name
                ));
            }
            if view
                .messages
                .iter()
                .any(|message| message.modseq > status.highest_modseq)
            {
                return Err(format!("{}: a message past HIGHESTMODSEQ", info.name));
            }
            let folder = Folder {
                id: info.id,
                uid_validity: status.uid_validity,
                letters,
            };
            let at = (whose, info.name);
            // UIDNEXT, HIGHESTMODSEQ and UIDVALIDITY may only grow, over power cuts too: a client that saw a number builds on it.
            marks.see(&at, &folder, status.uid_next, status.highest_modseq)?;
            check_changes(mailboxes, &at, &folder, status.highest_modseq).await?;
            picture.insert(at, folder);
        }
    }
    Ok(picture)
}

/// `changes` from the beginning, if it reaches that far, tells the same mailbox.
async fn check_changes(
    mailboxes: &Mailboxes,
    at: &(Whose, String),
    folder: &Folder,
    modseq: ModSeq,
) -> Result<(), String> {
    let changes = mailboxes
        .changes(folder.id, ModSeq(0))
        .await
        .map_err(|fault| format!("changes: {fault}"))?;
    // Another client changed the mailbox between the two questions: there is nothing to compare.
    if changes.too_old || changes.highest_modseq != modseq {
        return Ok(());
    }
    let changed: BTreeMap<Uid, Letter> = changes
        .changed
        .iter()
        .map(|message| (message.uid, seen(message)))
        .collect();
    if changed != folder.letters
        || changes
            .expunged
            .iter()
            .any(|uid| folder.letters.contains_key(uid))
    {
        return Err(format!(
            "{at:?}: changes since the beginning are {changed:?}, the view {:?}",
            folder.letters
        ));
    }
    Ok(())
}

/// The letter's number travels as its internal date: the one field that the engine keeps and never looks into.
fn seen(message: &Message) -> Letter {
    Letter {
        number: message.internal_date.unix_seconds as u64,
        flags: message.flags.system,
    }
}

/// Every body and summary is what its letter says, byte by byte.
pub async fn read_letters(mailboxes: &Mailboxes, accounts: &[AccountId]) -> Result<(), String> {
    for account in accounts {
        for info in mailboxes
            .list(*account)
            .await
            .map_err(|fault| format!("list: {fault}"))?
        {
            if !info.selectable {
                continue;
            }
            let view = mailboxes
                .view(info.id)
                .await
                .map_err(|fault| format!("view: {fault}"))?;
            let refs: Vec<_> = view
                .messages
                .iter()
                .map(|message| message.body.clone())
                .collect();
            // Of a whole mailbox at once, as FETCH 1:* asks: neighbours are then read together, which is where a wrong offset would give the
            // bytes of the next letter.
            let bodies = mailboxes.bodies(&refs).await;
            let summaries = mailboxes.summaries(&refs).await;
            for ((message, body), summary) in view.messages.iter().zip(bodies).zip(summaries) {
                let number = seen(message).number;
                if body.as_ref() != Ok(&letter(number)) {
                    let fault = body.err();
                    return Err(format!(
                        "{} {:?}: the body of letter {number} is wrong: {fault:?}",
                        info.name, message.uid
                    ));
                }
                if summary.as_deref() != Ok(format!("summary of {number}").as_bytes()) {
                    return Err(format!(
                        "{} {:?}: the summary of letter {number} is wrong",
                        info.name, message.uid
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The bytes of letter `number`: mostly short, some compressible, a few larger than a batch.
pub fn letter(number: u64) -> Bytes {
    let mut rng = Rng::with_seed(number ^ 0x6c65_7474_6572);
    let bytes = match rng.u8(..32) {
        // The length follows from the number alone, so that whoever finds the letter again can write it without having kept it.
        _ if number >> LARGE_BIT & 1 == 1 => rng.usize(100_000..400_000),
        0 => rng.usize(100_000..600_000),
        1..=4 => rng.usize(8_000..40_000),
        _ => rng.usize(10..3_000),
    };
    let mut raw = vec![b'x'; bytes];
    if rng.bool() {
        fill(&mut rng, &mut raw);
    }
    raw[..8].copy_from_slice(&number.to_le_bytes());
    raw.into()
}
