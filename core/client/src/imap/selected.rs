//! The mailbox that a session has open: its numbers, and what was not reported to its client yet.
//!
//! What must hold: the client's idea of the mailbox is `numbering`, changed only together with what is written to `out`:
//! EXISTS, FETCH and EXPUNGE in the order in which they are read (RFC 9051 §5.2, §7.5.1).

mod changed;
mod foreign;
mod lines;
mod withheld;

use std::collections::VecDeque;

use imap::respond::{Status, put, put_number, put_reply};
use imap::sequence::SequenceSet;
use mail::{ModSeq, Rights, Uid};
use mailbox::{
    AccountId, Changes, FlagChange, Flagged, MailboxFault, MailboxId, Message, Opening, Resync,
};
use storage::owner::Ask;

use super::fault::Failure;
use super::keywords::Keywords;
use super::known::Known;
use super::limits::{EXPUNGES_TOGETHER_MAX, OUTPUT_BYTES_MAX};
use super::mode::Mode;
use super::numbering::Numbering;
use super::object::mailbox_id;
use super::recent::Recent;
use super::resync::{Vanished, matched};
use super::watch::{Begun, Watching};
use changed::Changed;
pub use foreign::Foreign;
pub use lines::put_fetch_head;
use lines::{put_expunge, put_flags_line, put_modseq_line};

/// One open mailbox of one session. It keeps numbers and what was reported, never a list of messages.
pub struct Selected {
    pub id: MailboxId,
    /// What number each message has for the client.
    pub numbering: Numbering,
    /// What the client knows of flags.
    pub known: Known,
    /// What it knows of keywords.
    pub keywords: Keywords,
    /// Which messages are \Recent in this session (RFC 3501 §2.3.2).
    recent: Recent,
    /// The client wants to hear of messages and not of flags (RFC 5465).
    pub hides_flags: bool,
    /// Flags changed behind `settled` that were not reported for that reason.
    withheld: bool,
    /// Opened by EXAMINE.
    read_only: bool,
    /// Whose INBOX it is; `None` for any other mailbox.
    inbox_of: Option<AccountId>,
    /// Of another account, and what the session's account may do in it; `None`: its own, with every right.
    pub foreign: Option<Foreign>,
    /// What the client has enabled.
    pub mode: Mode,
    /// Everything that happened up to here was reported: the client may come back with it (RFC 7162 §6).
    settled: ModSeq,
    /// The greatest MODSEQ shown since the last tagged reply. A client takes it for what it may come back with, unless HIGHESTMODSEQ follows.
    shown: ModSeq,
    /// Messages were reported gone since the last tagged reply.
    told_gone: bool,
    /// `$`: UIDs in ranges, ascending, as SEARCH RETURN (SAVE) left them. Those that are gone have no number and so are in
    /// no answer (RFC 9051 §6.4.4.1).
    pub saved: Vec<(u32, u32)>,
    /// Ends with the session's use of the mailbox.
    watching: Watching,
    /// Changed, and not reported yet, though `known` has caught up with it.
    changed: Changed,
    /// Gone, but this may not be reported yet (RFC 9051 §7.5.1: not during FETCH, STORE or SEARCH). Ascending.
    expunged: VecDeque<u32>,
    /// Messages came or went, and this was reported beside the answer to something else: see `put_size_again`.
    told_beside: bool,
}

/// The session's mailbox is closed under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It was deleted, or renamed away.
    Deleted,
    /// The account that it belongs to took the right to read it back.
    Revoked,
}

/// How far a look at the changes came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Everything that happened was reported.
    All,
    /// What is in `out` is to be sent before there is more.
    Part,
}

/// May EXPUNGE be sent now?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expunges {
    /// Between commands, and at the end of those that allow it.
    Now,
    /// The client counts by message numbers just now, so they must not change.
    Later,
}

impl Selected {
    /// With what SELECT reports of the mailbox.
    pub fn new(
        begun: Begun,
        inbox_of: Option<AccountId>,
        read_only: bool,
        mode: Mode,
    ) -> (Selected, Opening) {
        let Begun {
            watching,
            id,
            opening,
            recent: found,
            ..
        } = begun;
        let mut recent = Recent::default();
        recent.add(found);
        let selected = Selected {
            id,
            numbering: Numbering::of_runs(&opening.uids),
            watching,
            // SELECT sends no flags: the client asks for those it wants.
            known: Known::new(opening.status.highest_modseq),
            keywords: Keywords::new(
                opening.keywords.clone(),
                if read_only { Rights::NONE } else { Rights::ALL },
            ),
            saved: Vec::new(),
            changed: Changed::default(),
            expunged: VecDeque::new(),
            recent,
            hides_flags: false,
            withheld: false,
            read_only,
            inbox_of,
            foreign: None,
            mode,
            settled: opening.status.highest_modseq,
            shown: ModSeq(0),
            told_gone: false,
            told_beside: false,
        };
        (selected, opening)
    }

    /// What is \Recent, in a session that shows it.
    pub fn recent_shown(&self) -> Option<&Recent> {
        (!self.mode.rev2).then_some(&self.recent)
    }

    /// Whether \Recent is among the flags shown of the message.
    pub fn shows_recent(&self, uid: Uid) -> bool {
        self.recent_shown()
            .is_some_and(|recent| recent.contains(uid))
    }

    /// What SELECT (QRESYNC …) answers: the messages that changed are reported by the next `tell`, and the ranges are those of VANISHED
    /// (EARLIER). `matches`: numbers that the client gave, with their UIDs.
    pub fn comes_back(
        &mut self,
        resync: Resync,
        matches: Option<&(SequenceSet, SequenceSet)>,
    ) -> Vanished {
        // Later changes among them are told as of now; messages that came since have no number yet.
        self.changed.later = resync.changed.into_iter();
        let mut ranges = self.numbering.without(&resync.vanished);
        if let (false, Some(matches)) = (resync.exact, matches) {
            let matched = matched(matches, &self.numbering);
            ranges.retain(|(_, high)| *high > matched);
        }
        Vanished::earlier(ranges)
    }

    /// Something is known of that was not reported yet.
    pub fn is_behind(&self) -> bool {
        !self.changed.is_empty() || !self.expunged.is_empty()
    }

    /// MODSEQ was shown to the client.
    pub fn showed(&mut self, modseq: ModSeq) {
        self.shown = self.shown.max(modseq);
    }

    /// Everything up to here was reported.
    pub fn settled(&self) -> ModSeq {
        self.settled
    }

    /// RFC 7162 §3.1.2.1.
    pub fn put_highest(&self, out: &mut Vec<u8>) {
        let code = format!("HIGHESTMODSEQ {}", self.settled.0);
        put_reply(out, "*", Status::Ok, &code, "Highest");
    }

    /// Before a tagged reply. RFC 7162 §6: without HIGHESTMODSEQ a client takes the greatest MODSEQ that it saw for what it knows. While
    /// expunges with a lower one wait (§7.5.1 of RFC 9051), it would never hear of them after a reconnect; nor of flags that storage could not
    /// tell now, which concerns clients without QRESYNC too.
    pub fn put_ahead(&mut self, out: &mut Vec<u8>) {
        let concerned = self.mode.qresync || (self.mode.condstore && !self.changed.is_empty());
        if concerned && self.shown > self.settled {
            self.put_highest(out);
        }
        self.shown = ModSeq(0);
        self.told_gone = false;
    }

    /// Whether messages were reported gone since the last tagged reply.
    pub fn told_gone(&self) -> bool {
        self.told_gone
    }

    /// Says EXISTS once more when the last report of messages that came or went was beside the answer to another command.
    ///
    /// Thunderbird acts on what IDLE or NOOP report; EXISTS and EXPUNGE among the lines of a FETCH it passes over, and would
    /// show what was there before until it asks by itself, minutes later. RFC 9051 §7: any response at any time.
    pub fn put_size_again(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.told_beside) {
            self.put_exists(out);
        }
    }

    /// The last report was the one that the client asked for.
    pub fn was_listening(&mut self) {
        self.told_beside = false;
    }

    /// Resolves when there may be something to report.
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
            return Err(Failure::Bad("Message number out of range"));
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

    /// Tells what happened since the last time, until `out` is full (`Told::Part`): it is called again then. Costs nothing when
    /// nothing happened.
    pub async fn tell(
        &mut self,
        owner: &impl Ask,
        expunges: Expunges,
        out: &mut Vec<u8>,
    ) -> Result<Told, Gone> {
        self.reveal(owner).await;
        if self.changed.is_empty()
            && self.watching.take()
            && self.look(owner, expunges, out).await? == Told::Part
        {
            return Ok(Told::Part);
        }
        if self.tell_flags(owner, out).await == Told::Part {
            return Ok(Told::Part);
        }
        if expunges == Expunges::Now && self.tell_expunged(out) == Told::Part {
            return Ok(Told::Part);
        }
        if !self.is_behind() && !self.withheld {
            self.settled = self.known.up_to();
        }
        Ok(Told::All)
    }

    /// Learns what happened. `Told::Part`: something else must be reported before more can be learnt.
    async fn look(
        &mut self,
        owner: &impl Ask,
        expunges: Expunges,
        out: &mut Vec<u8>,
    ) -> Result<Told, Gone> {
        let (id, modseq) = (self.id, self.known.up_to());
        let claims = self.claims();
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
                return self.follow_inbox(owner, expunges, out).await;
            }
            Ok(Ok((changes, _))) if changes.too_old => self.look_at_view(owner, out).await,
            Ok(Ok((changes, recent))) => {
                self.recent.add(recent);
                self.note_changes(changes, out);
            }
            // The next time will do.
            Ok(Err(_)) | Err(_) => self.watching.put_back(),
        }
        Ok(Told::All)
    }

    /// RFC 9051 §6.3.6: RENAME of INBOX moves its messages away and leaves it empty. The mailbox that was open has the new name
    /// now, and INBOX is another one: the messages go, and what is in the new INBOX comes.
    async fn follow_inbox(
        &mut self,
        owner: &impl Ask,
        expunges: Expunges,
        out: &mut Vec<u8>,
    ) -> Result<Told, Gone> {
        let account = self.inbox_of.ok_or(Gone::Deleted)?;
        if expunges == Expunges::Later {
            self.watching.put_back();
            return Ok(Told::All);
        }
        if self.numbering.count() > 0 {
            self.watching.put_back();
            self.expunged = self.numbering.uids().collect();
            self.tell_expunged(out);
            return Ok(Told::Part);
        }
        let host = self.watching.host().clone();
        match Watching::begin(owner, &host, account, "INBOX", !self.read_only, None).await {
            Ok(Ok(begun)) if begun.id != self.id => {
                let (inbox, opening) =
                    Selected::new(begun, self.inbox_of, self.read_only, self.mode);
                *self = inbox;
                // UIDVALIDITY is another one, and is among these lines.
                self.put_opening(&opening, out);
                self.told_beside = true;
                Ok(Told::All)
            }
            // INBOX goes with its account only.
            Ok(Ok(_) | Err(MailboxFault::NoMailbox | MailboxFault::NoAccount)) => {
                Err(Gone::Deleted)
            }
            Ok(Err(_)) | Err(_) => {
                self.watching.put_back();
                Ok(Told::All)
            }
        }
    }

    /// Takes in what happened. New messages are reported at once; flags and expunges follow when they may be reported.
    fn note_changes(&mut self, changes: Changes, out: &mut Vec<u8>) {
        let highest = self.numbering.highest_uid();
        let first_new = changes
            .changed
            .partition_point(|message| message.uid.0 <= highest);
        let mut known = changes.changed;
        self.tell_new(&known.split_off(first_new), out);
        known.retain(|message| !self.known.knows(message));
        match self.hides_flags {
            true => self.withheld |= !known.is_empty(),
            false => self.changed.note(known),
        }
        self.note_expunged(changes.expunged.iter().map(|uid| uid.0));
        self.known.caught_up(changes.highest_modseq);
    }

    fn note_expunged(&mut self, uids: impl Iterator<Item = u32>) {
        let mut all: Vec<u32> = std::mem::take(&mut self.expunged).into();
        all.extend(uids);
        all.sort_unstable();
        all.dedup();
        self.expunged = all.into();
    }

    /// The long way: the mailbox does not remember what happened since.
    async fn look_at_view(&mut self, owner: &impl Ask, out: &mut Vec<u8>) {
        let (id, claims) = (self.id, self.claims());
        let view = owner
            .ask(move |mailboxes| async move {
                let view = mailboxes.view(id).await?;
                let recent = mailboxes.recent(id, view.status.uid_next, claims);
                Ok::<_, MailboxFault>((view, recent))
            })
            .await;
        let Ok(Ok((view, recent))) = view else {
            return self.watching.put_back();
        };
        self.recent.add(recent);
        let highest = self.numbering.highest_uid();
        let first_new = view
            .messages
            .partition_point(|message| message.uid.0 <= highest);
        let (known, new) = view.messages.split_at(first_new);
        let changed = known.iter().filter(|message| !self.known.knows(message));
        let changed: Vec<Uid> = changed.map(|message| message.uid).collect();
        match self.hides_flags {
            true => self.withheld |= !changed.is_empty(),
            false => self.changed.later = changed.into_iter(),
        }
        let mut present = known.iter().map(|message| message.uid.0).peekable();
        let gone = self.numbering.uids().filter(|&uid| {
            while present.next_if(|&other| other < uid).is_some() {}
            present.next_if_eq(&uid).is_none()
        });
        let gone: Vec<u32> = gone.collect();
        self.note_expunged(gone.into_iter());
        self.tell_new(new, out);
        self.known.caught_up(view.status.highest_modseq);
    }

    /// New messages get their numbers, and EXISTS says how many there are.
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

    /// `* 4 EXISTS`.
    fn put_exists(&self, out: &mut Vec<u8>) {
        put(out, "* ");
        put_number(out, self.numbering.count());
        put(out, " EXISTS\r\n");
    }

    /// Reports flags that changed, a part at a time, so that a session never holds more than its share.
    async fn tell_flags(&mut self, owner: &impl Ask, out: &mut Vec<u8>) -> Told {
        while !self.changed.is_empty() {
            if out.len() > OUTPUT_BYTES_MAX {
                return Told::Part;
            }
            if !self.changed.read(owner, self.id).await {
                self.watching.put_back();
                break;
            }
            let batch = Keywords::batch(self.changed.ready.make_contiguous()).next();
            let count = batch.map_or(0, <[Message]>::len);
            let batch: Vec<Message> = self.changed.ready.drain(..count).collect();
            self.put_flags(&batch, out);
        }
        Told::All
    }

    /// The flags of at most `ANNOUNCED_TOGETHER_MAX` messages, and before them the keywords that the client does not know.
    pub fn put_flags(&mut self, batch: &[Message], out: &mut Vec<u8>) {
        self.keywords.announce(batch, out);
        for message in batch {
            self.put_flags_of(message, out);
        }
    }

    /// `* 3 FETCH (UID 7 FLAGS (\Seen))`, unless the message has no number any more.
    fn put_flags_of(&mut self, message: &Message, out: &mut Vec<u8>) {
        if let Some(number) = self.numbering.number_of(message.uid.0) {
            let recent = self.shows_recent(message.uid);
            put_flags_line(out, number, message, recent, self.mode);
            self.showed(message.modseq);
            self.known.sent(message);
        }
    }

    /// What STORE answers; a silent one shows new keywords, and to a client that keeps modification sequences the new ones.
    pub fn put_stored(
        &mut self,
        flagged: &[Flagged],
        change: FlagChange,
        silent: bool,
        out: &mut Vec<u8>,
    ) {
        for batch in Keywords::batch(flagged) {
            let done = batch.iter().filter(|flagged| !flagged.is_refused);
            let done = done.map(|flagged| &flagged.message);
            self.keywords.announce(done.clone(), out);
            if !silent {
                done.for_each(|message| self.put_flags_of(message, out));
                continue;
            }
            self.known.asked(batch, change);
            // RFC 7162 §3.1.3, Example 3.
            for message in done.filter(|_| self.mode.condstore) {
                if let Some(number) = self.numbering.number_of(message.uid.0) {
                    put_modseq_line(out, number, message, self.mode);
                    self.shown = self.shown.max(message.modseq);
                }
            }
        }
    }

    /// Reports expunges. Each number counts as of its own line (RFC 9051 §7.5.1).
    fn tell_expunged(&mut self, out: &mut Vec<u8>) -> Told {
        while !self.expunged.is_empty() {
            if out.len() > OUTPUT_BYTES_MAX {
                return Told::Part;
            }
            let count = self.expunged.len().min(EXPUNGES_TOGETHER_MAX);
            let mut gone: Vec<u32> = self.expunged.drain(..count).collect();
            // One that came and went between two looks never had a number.
            gone.retain(|uid| self.numbering.number_of(*uid).is_some());
            self.told_beside |= !gone.is_empty();
            self.told_gone |= !gone.is_empty();
            let numbers = self.numbering.remove_all(gone.iter().copied());
            // RFC 9586 §3.4, §3.6: also without QRESYNC.
            if self.mode.qresync || self.mode.uid_only {
                let mut vanished = Vanished::now(gone.into_iter());
                while vanished.put_line(out) {}
            } else {
                numbers.iter().for_each(|number| put_expunge(out, *number));
            }
        }
        Told::All
    }

    /// The untagged lines of SELECT (RFC 9051 §6.3.2, RFC 3501 §6.3.1).
    pub fn put_opening(&self, opening: &Opening, out: &mut Vec<u8>) {
        self.put_exists(out);
        self.put_recent(out);
        // RFC 9586 §3: a number too.
        if !(self.mode.rev2 || self.mode.uid_only)
            && let Some(number) = opening.first_unseen
        {
            put_reply(
                out,
                "*",
                Status::Ok,
                &format!("UNSEEN {number}"),
                "First unseen message",
            );
        }
        self.keywords.put(out);
        let status = Status::Ok;
        let validity = format!("UIDVALIDITY {}", opening.status.uid_validity.0);
        put_reply(out, "*", status, &validity, "UIDs valid");
        let next = format!("UIDNEXT {}", opening.status.uid_next.0);
        put_reply(out, "*", status, &next, "Predicted next UID");
        let id = format!("MAILBOXID {}", mailbox_id(self.id));
        put_reply(out, "*", status, &id, "Mailbox identifier");
        self.put_highest(out);
    }
}

#[cfg(test)]
mod tests;
