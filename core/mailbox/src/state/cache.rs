//! What may leave memory, and when.

use bytes::Bytes;
use volume::RecordAddress;

use super::State;
use crate::MailboxId;
use crate::limits::{ACCOUNT_CACHE_MIN, ACCOUNT_CACHE_SHARE, EVICT_LOOK_MAX};

/// A loaded account with a handful of folders.
const ACCOUNT_BYTES: usize = 1_536;
/// One account or group that folders are shared with (`State::shares`): they stay in memory, and loaded accounts have what they leave.
const SHARE_BYTES: usize = 100;

impl State {
    pub fn charge(&mut self, mailbox: MailboxId) {
        if let Some(entry) = self.mailboxes.get_mut(&mailbox) {
            let bytes = entry.memory_bytes();
            self.cached_bytes = self.cached_bytes - entry.charged_bytes + bytes;
            entry.charged_bytes = bytes;
        }
    }

    /// Brings the caches back under their bounds as far as a few looks allow: second chance in arrival order; what is dirty or
    /// pinned stays.
    pub fn evict(&mut self) {
        self.evict_mailboxes();
        self.evict_accounts();
        self.evict_digests();
    }

    fn evict_digests(&mut self) {
        let room = self.room_for_digests();
        self.digests.keep_within(room);
    }

    /// Remembers digests that were read, as far as there is room.
    pub fn keep_digests(&mut self, read: &[(RecordAddress, Bytes)]) {
        let room = self.room_for_digests();
        self.digests.take_in(read, room);
    }

    /// Digests have what loaded mailboxes leave of the whole.
    fn room_for_digests(&self) -> usize {
        self.all_bytes_max.saturating_sub(self.cached_bytes)
    }

    /// Bounded by `EVICT_LOOK_MAX` looks a call. What differs from the projection, is pinned or has an operation under way
    /// stays: memory may have the only copy of what is visible.
    fn evict_mailboxes(&mut self) {
        for _ in 0..EVICT_LOOK_MAX {
            if self.cached_bytes <= self.cache_bytes_max {
                return;
            }
            let Some(id) = self.mailbox_clock.pop_front() else {
                return;
            };
            let Some(entry) = self.mailboxes.get_mut(&id) else {
                continue;
            };
            if entry.is_dirty()
                || entry.pins.get() > 0
                || entry.pending.get() > 0
                || std::mem::take(&mut entry.used_lately)
            {
                self.mailbox_clock.push_back(id);
                continue;
            }
            self.cached_bytes -= entry.charged_bytes;
            self.mailboxes.remove(&id);
        }
    }

    /// As `evict_mailboxes`; an account with reserved bytes stays, or a quota could be passed.
    fn evict_accounts(&mut self) {
        let bytes_max = self.cache_bytes_max / ACCOUNT_CACHE_SHARE;
        for _ in 0..EVICT_LOOK_MAX {
            let bytes = self.accounts.len() * ACCOUNT_BYTES
                + self.account_beside_bytes
                + self.shares_count * SHARE_BYTES;
            if bytes <= bytes_max || self.accounts.len() <= ACCOUNT_CACHE_MIN {
                return;
            }
            let Some(id) = self.account_clock.pop_front() else {
                return;
            };
            let Some(entry) = self.accounts.get_mut(&id) else {
                continue;
            };
            if entry.is_dirty()
                || entry.pins.get() > 0
                || entry.reserved_bytes.get() > 0
                || std::mem::take(&mut entry.used_lately)
            {
                self.account_clock.push_back(id);
                continue;
            }
            self.account_beside_bytes -= entry.charged_bytes;
            self.accounts.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use base::BodyName;
    use mail::{Flags, InternalDate, Keyword, ModSeq, SystemFlags, Uid, UidValidity};
    use store::{BodyRef, Codec, Lsn};
    use volume::{Generation, RecordAddress, SegmentIndex};

    use super::*;
    use crate::message::MessageEntry;
    use crate::row::Chunk;
    use crate::row::{Gone, Head, chunk_key, put_messages};
    use crate::state::MailboxEntry;
    use crate::{AccountId, FlagChange, Message};

    const BOX: MailboxId = MailboxId(7);

    fn loaded() -> State {
        let mut state = State::new(0);
        let head = Head::new(AccountId(1), UidValidity(1));
        let mut entry = MailboxEntry::of(head);
        entry.loaded_from = Chunk(0);
        entry.gone = Some(Gone::default());
        state.insert_mailbox(BOX, entry);
        state
    }

    fn keywords() -> Flags {
        let keyword = |number| Keyword::parse(&format!("{number:0>64}")).expect("an atom");
        Flags {
            system: SystemFlags::DELETED,
            keywords: (0..64).map(keyword).collect(),
        }
    }

    fn message(uid: u32, flags: Flags) -> Message {
        let address = RecordAddress {
            segment: SegmentIndex(0),
            generation: Generation(1),
            batch_block: 0,
            at: 0,
            bytes: 10,
            check: 0,
        };
        Message {
            uid: Uid(uid),
            modseq: ModSeq(u64::from(uid) + 1),
            flags,
            internal_date: InternalDate::utc(0),
            saved_s: 0,
            size_bytes: 10,
            body: BodyRef {
                name: BodyName([0; 32]),
                raw_bytes: 10,
                summary: address,
                body: address,
                codec: Codec::Raw,
            },
        }
    }

    #[test]
    fn keywords_are_charged_as_they_come_and_go() {
        let mut state = loaded();
        let empty = state.cached_bytes();
        let mut lsn = 0;
        let mut apply = |state: &mut State, entry: MessageEntry| {
            lsn += 1;
            let _ = state.apply(Lsn(lsn), &entry.into(), &[]);
            state.cached_bytes() - empty
        };
        let flag = |modseq, change, flags, uids: &[u32]| MessageEntry::Flag {
            mailbox: BOX,
            modseq: ModSeq(modseq),
            change,
            flags,
            unchanged_since: None,
            uids: uids.iter().copied().map(Uid).collect(),
        };
        let messages = vec![message(1, keywords()), message(2, Flags::default())];
        let one = apply(
            &mut state,
            MessageEntry::Place {
                mailbox: BOX,
                messages,
            },
        );
        assert!(one > 4_096, "{one}");
        let both = apply(&mut state, flag(10, FlagChange::Add, keywords(), &[1, 2]));
        assert!(both > one + 4_096, "{both}");
        let again = apply(&mut state, flag(11, FlagChange::Remove, keywords(), &[1]));
        assert!(again + 4_096 < both, "{again}");
        let expunge = MessageEntry::Expunge {
            mailbox: BOX,
            modseq: ModSeq(12),
            deleted_only: false,
            uids: vec![Uid(2)],
        };
        let none = apply(&mut state, expunge);
        assert!(none + 4_096 < again, "{none}");
    }

    #[test]
    fn keywords_are_charged_when_they_are_loaded() {
        let mut state = State::new(0);
        let mut head = Head::new(AccountId(1), UidValidity(1));
        (head.uid_next, head.messages) = (Uid(2), 1);
        state.insert_mailbox(BOX, MailboxEntry::of(head));
        let empty = state.cached_bytes();
        let chunk = Chunk::of(Uid(1));
        let mut value = Vec::new();
        put_messages(&mut value, &[message(1, keywords())]);
        let rows = [(chunk_key(BOX, chunk), value)];
        state.install_chunks(BOX, chunk, &rows).expect("a row");
        let bytes = state.cached_bytes() - empty;
        assert!(bytes > 4_096, "{bytes}");
    }
}
