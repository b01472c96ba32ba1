//! What one client believes its mailboxes to hold, and what each operation makes of that.
//!
//! The model does not guess UIDs: an operation that creates messages is applied with the UIDs the engine chose, and the model says
//! whether they were allowed. After a crash the same function answers whether an operation that nobody confirmed took place.

use std::collections::BTreeMap;

use mail::{ModSeq, SystemFlags, Uid, UidValidity};
use mailbox::{FlagChange, MailboxId};

/// Which of a client's accounts.
pub type Whose = usize;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its bytes follow from it.
    pub number: u64,
    pub flags: SystemFlags,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    pub id: MailboxId,
    pub uid_validity: UidValidity,
    pub letters: BTreeMap<Uid, Letter>,
}

/// Everything of one client: comparing two of these compares all that clients can see but for counters.
pub type Picture = BTreeMap<(Whose, String), Folder>;

#[derive(Debug, Clone)]
pub enum Operation {
    /// One body into each of these folders, as one durable step.
    Deliver {
        number: u64,
        to: Vec<(Whose, String)>,
        flags: SystemFlags,
    },
    Flag {
        folder: (Whose, String),
        uids: Vec<Uid>,
        change: FlagChange,
        flags: SystemFlags,
    },
    Expunge {
        folder: (Whose, String),
        uids: Vec<Uid>,
    },
    Copy {
        from: (Whose, String),
        uids: Vec<Uid>,
        to: (Whose, String),
    },
    Move {
        from: (Whose, String),
        uids: Vec<Uid>,
        to: (Whose, String),
    },
    Create {
        folder: (Whose, String),
    },
    Rename {
        whose: Whose,
        from: String,
        to: String,
    },
    Delete {
        folder: (Whose, String),
    },
}

/// Numbers that may only grow, by mailbox. They outlive the mailbox: a number is never used again.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    /// One past the highest UID that a client was told of.
    uid_next: BTreeMap<MailboxId, Uid>,
    modseq: BTreeMap<MailboxId, ModSeq>,
    /// The highest UIDVALIDITY each name had, and which mailbox had it.
    validity: BTreeMap<(Whose, String), (UidValidity, MailboxId)>,
    /// Name and UIDVALIDITY of each mailbox.
    of_mailbox: BTreeMap<MailboxId, (String, UidValidity)>,
}

impl Marks {
    /// Notes what is visible now; `Err` when a number went back.
    pub fn see(
        &mut self,
        at: &(Whose, String),
        folder: &Folder,
        uid_next: Uid,
        modseq: ModSeq,
    ) -> Result<(), String> {
        if folder
            .letters
            .last_key_value()
            .is_some_and(|(uid, _)| *uid >= uid_next)
        {
            return Err(format!("{at:?}: a UID at or past UIDNEXT {uid_next:?}"));
        }
        let known = self.uid_next.entry(folder.id).or_insert(uid_next);
        if uid_next < *known {
            return Err(format!(
                "{at:?}: UIDNEXT went from {known:?} back to {uid_next:?}"
            ));
        }
        *known = uid_next;
        let known = self.modseq.entry(folder.id).or_insert(modseq);
        if modseq < *known {
            return Err(format!(
                "{at:?}: HIGHESTMODSEQ went from {known:?} back to {modseq:?}"
            ));
        }
        *known = modseq;
        // RFC 3501 §2.3.1.1: the value of a name never goes back, and two mailboxes never share one.
        let now = (folder.uid_validity, folder.id);
        let known = self.validity.entry(at.clone()).or_insert(now);
        if now.0 < known.0 || now.0 == known.0 && now.1 != known.1 {
            return Err(format!(
                "{at:?}: UIDVALIDITY went from {known:?} to {now:?}"
            ));
        }
        *known = now;
        // It changes with the name only.
        let named = (at.1.clone(), folder.uid_validity);
        if let Some(before) = self.of_mailbox.insert(folder.id, named.clone())
            && before.0 == named.0
            && before.1 != named.1
        {
            return Err(format!("{at:?}: UIDVALIDITY was {:?}", before.1));
        }
        Ok(())
    }

    /// A UID given to a message: never one that was given before.
    fn fresh(&self, folder: &Folder, uid: Uid) -> bool {
        self.uid_next
            .get(&folder.id)
            .is_none_or(|next| uid >= *next)
            && !folder.letters.contains_key(&uid)
    }
}

impl Operation {
    /// `before` with this operation done, given what is seen `after` it (new UIDs and folder ids are taken from there).
    /// `None`: `after` cannot be its result.
    pub fn applied(&self, before: &Picture, after: &Picture, marks: &Marks) -> Option<Picture> {
        let mut picture = before.clone();
        match self {
            Operation::Deliver { number, to, flags } => {
                for at in to {
                    let letter = Letter {
                        number: *number,
                        flags: *flags,
                    };
                    arrive(&mut picture, after, marks, at, vec![letter])?;
                }
            }
            Operation::Flag {
                folder,
                uids,
                change,
                flags,
            } => {
                let folder = picture.get_mut(folder)?;
                let named = folder
                    .letters
                    .iter_mut()
                    .filter(|(uid, _)| uids.contains(uid));
                for (_, letter) in named {
                    letter.flags = match change {
                        FlagChange::Replace => *flags,
                        FlagChange::Add => letter.flags.with(*flags),
                        FlagChange::Remove => letter.flags.without(*flags),
                    };
                }
            }
            Operation::Expunge { folder, uids } => {
                let folder = picture.get_mut(folder)?;
                let deleted = |letter: &Letter| letter.flags.contains(SystemFlags::DELETED);
                folder
                    .letters
                    .retain(|uid, letter| !(uids.contains(uid) && deleted(letter)));
            }
            Operation::Copy { from, uids, to } => {
                let letters = picture.get(from)?.letters.clone();
                let copied = letters
                    .into_iter()
                    .filter(|(uid, _)| uids.contains(uid))
                    .map(|(_, letter)| letter);
                arrive(&mut picture, after, marks, to, copied.collect())?;
            }
            Operation::Move { from, uids, to } => {
                let source = picture.get_mut(from)?;
                let mut moved = Vec::new();
                for uid in uids {
                    moved.extend(source.letters.remove(uid));
                }
                arrive(&mut picture, after, marks, to, moved)?;
            }
            Operation::Create { folder } => {
                picture.insert(folder.clone(), after.get(folder)?.clone());
                if !after.get(folder)?.letters.is_empty() {
                    return None;
                }
            }
            Operation::Rename { whose, from, to } => {
                let mut folder = picture.remove(&(*whose, from.clone()))?;
                let to = (*whose, to.clone());
                // A new one where the name may have had a higher one; `Marks` judges it.
                folder.uid_validity = after.get(&to)?.uid_validity;
                picture.insert(to, folder);
            }
            Operation::Delete { folder } => {
                picture.remove(folder)?;
            }
        }
        Some(picture)
    }
}

/// `letters` come into `at`, in order, under the UIDs that are new there `after`.
fn arrive(
    picture: &mut Picture,
    after: &Picture,
    marks: &Marks,
    at: &(Whose, String),
    letters: Vec<Letter>,
) -> Option<()> {
    let folder = picture.get_mut(at)?;
    let seen = &after.get(at)?.letters;
    let new: Vec<Uid> = seen
        .keys()
        .filter(|uid| marks.fresh(folder, **uid))
        .copied()
        .collect();
    if new.len() != letters.len() {
        return None;
    }
    folder.letters.extend(new.into_iter().zip(letters));
    Some(())
}
