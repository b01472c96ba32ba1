//! What a session's client knows of its messages' flags: what was sent to it, and what it asked for itself.
//!
//! What must hold: nothing is noted here because the server worked it out. A state of a message is known when its flags
//! were written to the client, or when the client knew the state before and made the change to this one itself
//! (RFC 9051 §6.4.6: `.SILENT` does not hide what others did).

use std::collections::HashMap;

use mail::{ModSeq, Uid};
use mailbox::{FlagChange, Flagged, Message};

/// States are named by their modification sequences.
pub struct Known {
    /// Every change up to here was sent, except for messages that are gone.
    up_to: ModSeq,
    /// Later states that the client knows all the same. Emptied whenever `up_to` moves.
    beyond: HashMap<Uid, ModSeq>,
}

impl Known {
    /// `up_to`: the state that SELECT showed.
    pub fn new(up_to: ModSeq) -> Known {
        Known {
            up_to,
            beyond: HashMap::new(),
        }
    }

    /// Every change up to here was reported, or was the client's own.
    pub fn up_to(&self) -> ModSeq {
        self.up_to
    }

    /// The flags of `message` were written to the client.
    pub fn sent(&mut self, message: &Message) {
        if message.modseq > self.up_to {
            self.beyond.insert(message.uid, message.modseq);
        }
    }

    /// The client made `change` and asked not to be answered.
    pub fn asked(&mut self, flagged: &[Flagged], change: FlagChange) {
        for Flagged {
            message,
            before,
            is_last,
            is_refused,
        } in flagged
        {
            if *is_refused {
                continue;
            }
            // FLAGS names every flag there is now; +FLAGS and -FLAGS say nothing of the others.
            let knew_others = change == FlagChange::Replace
                || before.is_some_and(|before| self.is_known(message.uid, before));
            if *is_last && knew_others {
                self.sent(message);
            }
        }
    }

    /// Need not be sent.
    pub fn knows(&self, message: &Message) -> bool {
        self.is_known(message.uid, message.modseq)
    }

    fn is_known(&self, uid: Uid, modseq: ModSeq) -> bool {
        modseq <= self.up_to || self.beyond.get(&uid) == Some(&modseq)
    }

    /// Everything up to `modseq` was sent.
    pub fn caught_up(&mut self, modseq: ModSeq) {
        assert!(modseq >= self.up_to, "modification sequences only grow");
        self.up_to = modseq;
        self.beyond = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::message;
    use super::*;

    fn flagged(uid: u32, before: Option<u64>, now: u64, is_last: bool) -> Flagged {
        Flagged {
            message: message(uid, now),
            before: before.map(ModSeq),
            is_last,
            is_refused: false,
        }
    }

    #[test]
    fn a_silent_change_to_a_known_state_is_known() {
        let mut known = Known::new(ModSeq(10));
        known.asked(&[flagged(1, Some(10), 11, true)], FlagChange::Add);
        assert!(known.knows(&message(1, 11)));
        known.asked(&[flagged(1, Some(11), 12, true)], FlagChange::Remove);
        assert!(known.knows(&message(1, 12)), "its own changes add up");
    }

    #[test]
    fn a_silent_change_does_not_hide_what_others_did() {
        let mut known = Known::new(ModSeq(10));
        // Before it, unseen by this client: finding I1.
        known.asked(&[flagged(1, Some(11), 12, true)], FlagChange::Add);
        assert!(!known.knows(&message(1, 12)));
        // Before it, and forgotten by the mailbox.
        known.asked(&[flagged(2, None, 12, true)], FlagChange::Remove);
        assert!(!known.knows(&message(2, 12)));
        // After it.
        known.asked(&[flagged(3, Some(9), 14, false)], FlagChange::Replace);
        assert!(!known.knows(&message(3, 14)));
        // The other's change was sent meanwhile.
        known.sent(&message(4, 13));
        known.asked(&[flagged(4, Some(13), 14, true)], FlagChange::Add);
        assert!(known.knows(&message(4, 14)));
    }

    #[test]
    fn all_flags_at_once_are_known_whatever_there_was_before() {
        let mut known = Known::new(ModSeq(10));
        known.asked(&[flagged(1, Some(11), 12, true)], FlagChange::Replace);
        assert!(known.knows(&message(1, 12)));
        // What changed nothing: the state is the other session's, and exactly what was asked for.
        known.asked(&[flagged(2, Some(11), 11, true)], FlagChange::Replace);
        assert!(known.knows(&message(2, 11)));
        known.asked(&[flagged(3, Some(11), 11, true)], FlagChange::Add);
        assert!(!known.knows(&message(3, 11)));
    }

    #[test]
    fn what_was_sent_is_known_until_it_changes() {
        let mut known = Known::new(ModSeq(10));
        known.sent(&message(1, 12));
        assert!(known.knows(&message(1, 12)));
        assert!(!known.knows(&message(1, 13)));
        known.caught_up(ModSeq(13));
        assert!(known.knows(&message(1, 13)));
        assert!(!known.knows(&message(1, 14)));
    }
}
