//! The mailbox that a session has open: its numbers, and what its client was not told yet.
//!
//! What must hold: the client's idea of the mailbox is `numbering`, changed only together with what is written to `out`:
//! EXISTS, FETCH and EXPUNGE in the order in which they are read (RFC 9051 §5.2, §7.5.1).

use imap::respond::{put, put_flags_of_session, put_number, put_reply};
use imap::sequence::SequenceSet;
use mail::Uid;
use mailbox::{AccountId, Changes, FlagChange, Flagged, MailboxFault, MailboxId, Message, Opening};

use crate::owner::Owner;

use super::fault::Failure;
use super::keywords::Keywords;
use super::known::Known;
use super::numbering::Numbering;
use super::recent::Recent;
use super::watch::{Begun, Watching};

pub struct Selected {
    pub id: MailboxId,
    pub numbering: Numbering,
    /// What the client knows of flags.
    pub known: Known,
    /// What it knows of keywords.
    pub keywords: Keywords,
    recent: Recent,
    read_only: bool,
    /// Whose INBOX it is; `None` for any other mailbox.
    inbox_of: Option<AccountId>,
    /// IMAP4rev2 is enabled, which has no \Recent.
    pub rev2: bool,
    /// `$`: UIDs in ranges, ascending, as SEARCH RETURN (SAVE) left them. Those that are gone have no number and so are in
    /// no answer (RFC 9051 §6.4.4.1).
    pub saved: Vec<(u32, u32)>,
    watching: Watching,
    /// Gone, but the client may not be told yet (RFC 9051 §7.5.1: not during FETCH, STORE or SEARCH).
    expunged: Vec<Uid>,
    /// Messages came or went, and it was told beside the answer to something else: see `put_size_again`.
    told_beside: bool,
}

/// The mailbox was deleted under the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// May EXPUNGE be sent now?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expunges {
    Now,
    Later,
}

impl Selected {
    /// With what SELECT reports of the mailbox.
    pub fn new(
        begun: Begun,
        inbox_of: Option<AccountId>,
        read_only: bool,
        rev2: bool,
    ) -> (Selected, Opening) {
        let Begun {
            watching,
            id,
            opening,
            recent: found,
        } = begun;
        let mut recent = Recent::default();
        recent.add(found);
        let selected = Selected {
            id,
            numbering: Numbering::of_runs(&opening.uids),
            watching,
            // SELECT sends no flags: the client asks for those it wants.
            known: Known::new(opening.status.highest_modseq),
            keywords: Keywords::new(opening.keywords.clone(), read_only),
            saved: Vec::new(),
            expunged: Vec::new(),
            recent,
            read_only,
            inbox_of,
            rev2,
            told_beside: false,
        };
        (selected, opening)
    }

    /// What is \Recent, in a session that shows it.
    pub fn recent_shown(&self) -> Option<&Recent> {
        (!self.rev2).then_some(&self.recent)
    }

    /// Whether \Recent is among the flags shown of the message.
    pub fn shows_recent(&self, uid: Uid) -> bool {
        self.recent_shown()
            .is_some_and(|recent| recent.contains(uid))
    }

    /// Says EXISTS once more when it was last told beside the answer to some other command that messages came or went.
    ///
    /// Thunderbird acts on what IDLE or NOOP tell it; EXISTS and EXPUNGE among the lines of a FETCH it passes over, and would
    /// show what was there before until it asks by itself, minutes later. RFC 9051 §7: any response at any time.
    pub fn put_size_again(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.told_beside) {
            self.put_exists(out);
        }
    }

    /// What was told just now was what the client asked for.
    pub fn was_listening(&mut self) {
        self.told_beside = false;
    }

    /// Resolves when there may be something to tell.
    pub async fn rung(&self) {
        self.watching.rung().await;
    }

    /// (number, UID) of the messages that `set` names; a number beyond the mailbox is the client's error.
    pub fn targets(&self, set: &SequenceSet, uid: bool) -> Result<Vec<(u32, u32)>, Failure> {
        if uid || set.is_saved() {
            return Ok(self.numbering.in_uids(&self.uid_ranges(set)));
        }
        let count = self.numbering.count();
        // RFC 9051 §9 seq-number: in an empty mailbox there is no `*` either.
        if count == 0 || set.greatest().is_some_and(|number| number > count) {
            return Err(Failure::Bad("there is no message of that number"));
        }
        Ok(self.numbering.in_numbers(&set.ranges(count)))
    }

    /// The UIDs that `set`, of UIDs or `$`, names.
    pub fn uid_ranges(&self, set: &SequenceSet) -> Vec<(u32, u32)> {
        match set.is_saved() {
            true => self.saved.clone(),
            false => set.ranges(self.numbering.highest_uid()),
        }
    }

    /// Tells what happened since the last time. Costs nothing when nothing did.
    pub async fn tell(
        &mut self,
        owner: &Owner,
        expunges: Expunges,
        out: &mut Vec<u8>,
    ) -> Result<(), Gone> {
        if self.watching.take() {
            let (id, modseq) = (self.id, self.known.up_to());
            let claims = !self.read_only;
            let changes = owner
                .ask(move |mailboxes| async move {
                    let changes = mailboxes.changes(id, modseq).await?;
                    let complete = !changes.gone && !changes.too_old;
                    let recent = complete
                        .then(|| mailboxes.recent(id, changes.uid_next, claims))
                        .flatten();
                    Ok::<_, MailboxFault>((changes, recent))
                })
                .await;
            match changes {
                Ok(Ok((changes, _))) if changes.gone => {
                    self.follow_inbox(owner, expunges, out).await?;
                }
                Ok(Ok((changes, _))) if changes.too_old => self.tell_from_view(owner, out).await?,
                Ok(Ok((changes, recent))) => {
                    self.recent.add(recent);
                    self.tell_changes(changes, out);
                }
                // The next time will do.
                Ok(Err(_)) | Err(_) => self.watching.put_back(),
            }
        }
        if expunges == Expunges::Now {
            self.tell_expunged(out);
        }
        Ok(())
    }

    /// RFC 9051 §6.3.6: RENAME of INBOX moves its messages away and leaves it empty. The mailbox that was open has the new name
    /// now, and INBOX is another one: the messages go, and what is in the new INBOX comes.
    async fn follow_inbox(
        &mut self,
        owner: &Owner,
        expunges: Expunges,
        out: &mut Vec<u8>,
    ) -> Result<(), Gone> {
        let account = self.inbox_of.ok_or(Gone)?;
        if expunges == Expunges::Later {
            self.watching.put_back();
            return Ok(());
        }
        match Watching::begin(owner, account, "INBOX", !self.read_only).await {
            Ok(Ok(begun)) if begun.id != self.id => {
                for number in (1..=self.numbering.count()).rev() {
                    put_expunge(out, number);
                }
                let (inbox, opening) =
                    Selected::new(begun, self.inbox_of, self.read_only, self.rev2);
                *self = inbox;
                // UIDVALIDITY is another one, and is among these lines.
                self.put_opening(&opening, out);
                self.told_beside = true;
                Ok(())
            }
            // INBOX goes with its account only.
            Ok(Ok(_) | Err(MailboxFault::NoMailbox | MailboxFault::NoAccount)) => Err(Gone),
            Ok(Err(_)) | Err(_) => {
                self.watching.put_back();
                Ok(())
            }
        }
    }

    fn tell_changes(&mut self, changes: Changes, out: &mut Vec<u8>) {
        let highest = self.numbering.highest_uid();
        let first_new = changes
            .changed
            .partition_point(|message| message.uid.0 <= highest);
        let (known, new) = changes.changed.split_at(first_new);
        self.tell_new(new, out);
        self.tell_flags(known, out);
        self.expunged.extend(changes.expunged);
        self.known.caught_up(changes.highest_modseq);
    }

    /// The long way: the mailbox does not remember what happened since.
    async fn tell_from_view(&mut self, owner: &Owner, out: &mut Vec<u8>) -> Result<(), Gone> {
        let (id, claims) = (self.id, !self.read_only);
        let view = owner
            .ask(move |mailboxes| async move {
                let view = mailboxes.view(id).await?;
                let recent = mailboxes.recent(id, view.status.uid_next, claims);
                Ok::<_, MailboxFault>((view, recent))
            })
            .await;
        let Ok(Ok((view, recent))) = view else {
            self.watching.put_back();
            return Ok(());
        };
        self.recent.add(recent);
        let before = self.known.up_to();
        let changed: Vec<Message> = view
            .messages
            .iter()
            .filter(|message| message.modseq > before)
            .cloned()
            .collect();
        let mut present = view.messages.iter().map(|message| message.uid.0).peekable();
        let mut expunged = Vec::new();
        for uid in self.numbering.uids() {
            while present.next_if(|&other| other < uid).is_some() {}
            if present.next_if_eq(&uid).is_none() && !self.expunged.contains(&Uid(uid)) {
                expunged.push(Uid(uid));
            }
        }
        self.tell_changes(
            Changes {
                highest_modseq: view.status.highest_modseq,
                uid_next: view.status.uid_next,
                changed,
                expunged,
                too_old: false,
                gone: false,
            },
            out,
        );
        Ok(())
    }

    fn tell_new(&mut self, new: &[Message], out: &mut Vec<u8>) {
        for message in new {
            self.numbering.push(message.uid.0);
        }
        if !new.is_empty() {
            self.told_beside = true;
            self.put_exists(out);
            self.put_recent(out);
        }
    }

    /// RFC 3501 §7.3.2.
    fn put_recent(&self, out: &mut Vec<u8>) {
        if let Some(recent) = self.recent_shown() {
            put(out, "* ");
            put_number(out, recent.count(&self.numbering));
            put(out, " RECENT\r\n");
        }
    }

    fn put_exists(&self, out: &mut Vec<u8>) {
        put(out, "* ");
        put_number(out, self.numbering.count());
        put(out, " EXISTS\r\n");
    }

    fn tell_flags(&mut self, changed: &[Message], out: &mut Vec<u8>) {
        let unknown = |message: &&Message| !self.known.knows(message);
        let changed: Vec<&Message> = changed.iter().filter(unknown).collect();
        for batch in Keywords::batch(&changed) {
            self.keywords.announce(batch.iter().copied(), out);
            for message in batch {
                self.put_flags_of(message, out);
            }
        }
    }

    /// `* 3 FETCH (UID 7 FLAGS (\Seen))`, unless the message has no number any more.
    fn put_flags_of(&mut self, message: &Message, out: &mut Vec<u8>) {
        if let Some(number) = self.numbering.number_of(message.uid.0) {
            put_flags_line(out, number, message, self.shows_recent(message.uid));
            self.known.sent(message);
        }
    }

    /// What STORE answers; a silent one shows new keywords only.
    pub fn put_stored(
        &mut self,
        flagged: &[Flagged],
        change: FlagChange,
        silent: bool,
        out: &mut Vec<u8>,
    ) {
        for batch in Keywords::batch(flagged) {
            self.keywords
                .announce(batch.iter().map(|flagged| &flagged.message), out);
            match silent {
                true => self.known.asked(batch, change),
                false => batch
                    .iter()
                    .for_each(|flagged| self.put_flags_of(&flagged.message, out)),
            }
        }
    }

    fn tell_expunged(&mut self, out: &mut Vec<u8>) {
        for uid in std::mem::take(&mut self.expunged) {
            // One that came and went between two looks never had a number.
            if let Some(number) = self.numbering.remove(uid.0) {
                self.told_beside = true;
                put_expunge(out, number);
            }
        }
    }

    /// The untagged lines of SELECT (RFC 9051 §6.3.2, RFC 3501 §6.3.1).
    pub fn put_opening(&self, opening: &Opening, out: &mut Vec<u8>) {
        self.put_exists(out);
        self.put_recent(out);
        if !self.rev2
            && let Some(number) = opening.first_unseen
        {
            put_reply(
                out,
                "*",
                imap::respond::Status::Ok,
                &format!("UNSEEN {number}"),
                "the first unseen message",
            );
        }
        self.keywords.put(out);
        let status = imap::respond::Status::Ok;
        let validity = format!("UIDVALIDITY {}", opening.status.uid_validity.0);
        put_reply(out, "*", status, &validity, "UIDs are valid");
        let next = format!("UIDNEXT {}", opening.status.uid_next.0);
        put_reply(out, "*", status, &next, "the next UID");
    }
}

fn put_expunge(out: &mut Vec<u8>, number: u32) {
    put(out, "* ");
    put_number(out, number);
    put(out, " EXPUNGE\r\n");
}

fn put_flags_line(out: &mut Vec<u8>, number: u32, message: &Message, recent: bool) {
    put(out, "* ");
    put_number(out, number);
    put(out, " FETCH (UID ");
    put_number(out, message.uid.0);
    put(out, " FLAGS ");
    put_flags_of_session(out, &message.flags, recent);
    put(out, ")\r\n");
}
