//! What changes a message that waits: what came of a try, and what an administrator wants.
//!
//! All of it goes on when the volume takes no mail: a message that left and is not noted would be sent once more.

use store::{BodyIn, Purpose};
use tenancy::{Locked, Part};

use crate::limits::*;
use crate::record::Change;
use crate::{
    Entry, Envelope, Outcome, Queue, QueueFault, QueueId, RecipientState, UnixSeconds, lock_name,
};

/// What a message's try came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub at: UnixSeconds,
    /// Its sender hears with this that it waits.
    pub warned: bool,
    pub outcomes: Vec<Outcome>,
}

/// A message that nobody else changes meanwhile.
pub struct Settling<'q> {
    queue: &'q Queue,
    id: QueueId,
    _locked: Locked<'q>,
}

impl Settling<'_> {
    /// The message as it is now.
    pub fn entry(&self) -> Result<Entry, QueueFault> {
        self.queue.entry(self.id).ok_or(QueueFault::NoEntry)
    }

    /// The queue's part of a group that notes `note`; with nothing left to be tried the message is taken out for ever.
    pub fn part(&self, note: Note) -> Result<Part, QueueFault> {
        let change = self.change(note)?;
        Ok(self.queue.inner.part(vec![change], None))
    }

    fn change(&self, note: Note) -> Result<Change, QueueFault> {
        let entry = self.entry()?;
        let is_there = |outcome: &Outcome| {
            (outcome.recipient as usize) < entry.recipients.len()
                && outcome.reply.len() <= REPLY_BYTES_MAX
                && outcome.host.len() <= HOST_BYTES_MAX
        };
        if note.outcomes.len() > RECIPIENTS_MAX || !note.outcomes.iter().all(is_there) {
            let why = "an outcome of no recipient, or too long";
            return Err(QueueFault::Refused(why));
        }
        let mut states: Vec<RecipientState> =
            entry.recipients.iter().map(|each| each.state).collect();
        for outcome in &note.outcomes {
            states[outcome.recipient as usize] = outcome.state;
        }
        let waits = |state: &RecipientState| matches!(state, RecipientState::Waiting(_));
        let id = self.id;
        Ok(if states.iter().any(waits) {
            let Note {
                at,
                warned,
                outcomes,
            } = note;
            Change::Tried {
                id,
                at,
                warned,
                outcomes,
            }
        } else {
            Change::Remove { id }
        })
    }
}

impl Queue {
    /// Waits until nobody else changes the message; it may have gone meanwhile.
    pub async fn settling(&self, id: QueueId) -> Settling<'_> {
        Settling {
            queue: self,
            id,
            _locked: self.inner.locks.lock(lock_name(id)).await,
        }
    }

    /// Notes what came of a try in one durable step, together with the report about it that goes to the sender. With nothing left to
    /// be tried the message is taken out for ever. `Full` and every other fault: nothing was noted and no report is there.
    pub async fn settle(
        &self,
        id: QueueId,
        note: Note,
        report: Option<(BodyIn, Envelope)>,
    ) -> Result<Option<QueueId>, QueueFault> {
        let tenancy = &self.inner.tenancy;
        let Some((body, envelope)) = report else {
            let is_new = |outcome: &Outcome| matches!(outcome.state, RecipientState::Waiting(_));
            if note.outcomes.iter().all(is_new) {
                // Takes nothing away: on a full volume it is not worth the reserve.
                tenancy.room_for(Purpose::Keep, false, ENTRY_ROWS).await?;
                let settling = self.settling(id).await;
                let part = settling.part(note)?;
                let committed = tenancy.commit(Purpose::Keep, Vec::new(), vec![part]).await;
                committed?;
                return Ok(None);
            }
            self.delete(id, |settling| settling.change(note.clone()))
                .await?;
            return Ok(None);
        };
        tenancy
            .room_for(Purpose::Keep, true, 2 * ENTRY_ROWS)
            .await?;
        let settling = self.settling(id).await;
        // No await from here to `commit`: the order of numbers is the order of the log.
        let noted = settling.part(note)?;
        let (report, part) = self.put_within(envelope, 0, REPORTS_MAX)?;
        let parts = vec![part, noted];
        let committed = tenancy.commit(Purpose::Keep, vec![body], parts).await;
        committed?;
        Ok(Some(report))
    }

    /// Notes what came of a try, and puts in messages that take the place of what it settles, all of them with `body`, in one durable
    /// step. Past the bounds of the queue too, up to `REPORTS_MAX`: what they stand for was accepted. Answers their numbers. Every fault:
    /// nothing was done.
    pub async fn replace(
        &self,
        id: QueueId,
        note: Note,
        body: BodyIn,
        envelopes: Vec<Envelope>,
    ) -> Result<Vec<QueueId>, QueueFault> {
        let tenancy = &self.inner.tenancy;
        let rows = (envelopes.len() as u64 + 1) * ENTRY_ROWS;
        tenancy.room_for(Purpose::Keep, true, rows).await?;
        let settling = self.settling(id).await;
        // No await from here to `commit`: the order of numbers is the order of the log.
        let mut parts = Vec::with_capacity(envelopes.len() + 1);
        let noted = settling.part(note)?;
        let mut ids = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            let (id, part) = self.put_within(envelope, 0, REPORTS_MAX)?;
            ids.push(id);
            parts.push(part);
        }
        parts.push(noted);
        let committed = tenancy.commit(Purpose::Keep, vec![body], parts).await;
        committed?;
        Ok(ids)
    }

    /// Takes a message out of the queue for ever.
    pub async fn remove(&self, id: QueueId) -> Result<(), QueueFault> {
        self.delete(id, |_| Ok(Change::Remove { id })).await
    }

    /// The same of several, in one durable step. What was taken out meanwhile is no fault.
    pub async fn remove_all(&self, ids: &[QueueId]) -> Result<(), QueueFault> {
        self.change_all(ids, (REMOVED_AT_ONCE, 1), |entry| {
            vec![Change::Remove { id: entry.id }]
        })
        .await
    }

    /// `changes` of those that are there, so many of each, in one durable step for every `at_once`; it goes on when the volume is full.
    async fn change_all(
        &self,
        ids: &[QueueId],
        (at_once, of_each): (usize, u64),
        changes: impl Fn(&Entry) -> Vec<Change>,
    ) -> Result<(), QueueFault> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        for some in ids.chunks(at_once) {
            let attempt = async || {
                // In the order of their numbers, so that two callers do not wait for each other.
                let mut settling = Vec::with_capacity(some.len());
                for id in some {
                    settling.push(self.settling(*id).await);
                }
                let there = some.iter().filter_map(|id| self.entry(*id));
                let changes: Vec<Change> = there.flat_map(|entry| changes(&entry)).collect();
                if changes.is_empty() {
                    return Ok(());
                }
                self.inner.commit(Purpose::Delete, changes).await
            };
            let rows = some.len() as u64 * of_each * ENTRY_ROWS;
            self.inner.tenancy.deleting(rows, attempt).await?;
        }
        Ok(())
    }

    /// Notes of each of these that it was tried at `at`, and has it wait until it is released, in one durable step for every `KEPT_AT_ONCE`. What was
    /// taken out meanwhile is no fault. For a spool, whose entries are so after their hand-over.
    pub async fn keep_all(&self, ids: &[QueueId], at: UnixSeconds) -> Result<(), QueueFault> {
        self.change_all(ids, (KEPT_AT_ONCE, 2), |entry| {
            let outcome = Outcome {
                recipient: 0,
                state: RecipientState::Waiting(entry.arrived),
                reply: String::new(),
                host: String::new(),
            };
            let (id, held) = (entry.id, true);
            let tried = Change::Tried {
                id,
                at,
                warned: false,
                outcomes: vec![outcome],
            };
            vec![tried, Change::Hold { id, held }]
        })
        .await
    }

    /// Releases each of these, as `keep_all`.
    pub async fn release_all(&self, ids: &[QueueId]) -> Result<(), QueueFault> {
        self.change_all(ids, (KEPT_AT_ONCE, 1), |entry| {
            let (id, held) = (entry.id, false);
            vec![Change::Hold { id, held }]
        })
        .await
    }

    /// Has a message wait until it is released, or go on.
    pub async fn hold(&self, id: QueueId, held: bool) -> Result<(), QueueFault> {
        self.delete(id, |_| Ok(Change::Hold { id, held })).await
    }

    /// Everything of the message that waits is to be tried at `at`.
    pub async fn retry(&self, id: QueueId, at: UnixSeconds) -> Result<(), QueueFault> {
        self.delete(id, |_| Ok(Change::Retry { id, at })).await
    }

    /// A change that goes on when the volume is full.
    async fn delete(
        &self,
        id: QueueId,
        change: impl Fn(&Settling<'_>) -> Result<Change, QueueFault>,
    ) -> Result<(), QueueFault> {
        let attempt = async || {
            let settling = self.settling(id).await;
            settling.entry()?;
            let change = change(&settling)?;
            self.inner.commit(Purpose::Delete, vec![change]).await
        };
        self.inner.tenancy.deleting(ENTRY_ROWS, attempt).await
    }
}
