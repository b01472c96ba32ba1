//! What a FETCH takes next, and how much of it at once.

use std::collections::VecDeque;

use mail::Uid;
use mailbox::{MailboxFault, MailboxId, Mailboxes, Message};
use runtime::{Budget, Charge};
use storage::owner::Ask;

use super::super::fault::Failure;
use super::super::limits::*;
use super::super::rows::keep_fitting_in;
use super::{Bodies, Wanted};
use crate::pieces::Reading;

/// How much of messages is read ahead and held until the client takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    /// Of one chunk: it ends with the message that reaches this.
    pub chunk_bytes: usize,
    /// A larger message is sent in pieces and counts nothing here.
    message_bytes_max: usize,
}

impl Scale {
    /// For an account with room in its share of `memory.send`.
    pub const FULL: Scale = Scale {
        chunk_bytes: BODY_BYTES_PER_READ_MAX,
        message_bytes_max: HELD_BYTES_MAX,
    };
    /// For an account whose share is spent: what the connection itself pays for.
    pub const LEAST: Scale = Scale {
        chunk_bytes: LEAST_BYTES / 2,
        message_bytes_max: LEAST_BYTES / 2,
    };

    /// What is held of a message while its chunk is sent: its row, its summary and its body, as far as they are `wanted`.
    pub fn cost(self, wanted: &Wanted, message: &Message) -> usize {
        let summary = match wanted.summaries {
            true => message.body.summary.bytes as usize,
            false => 0,
        };
        let body = match wanted.bodies {
            Bodies::Heads | Bodies::Always => self.held_bytes(message),
            Bodies::Never | Bodies::Sometimes => 0,
        };
        size_of::<u32>() + message.memory_bytes() + summary + body
    }

    /// What is held of its body.
    pub fn held_bytes(self, message: &Message) -> usize {
        match message.size_bytes as usize {
            bytes if bytes > self.message_bytes_max => 0,
            bytes => bytes,
        }
    }
}

/// The messages still to come. They are asked for some at a time: a client that reads slowly must not keep the mailbox's whole
/// list in memory, nor make every change to the mailbox copy it.
pub(super) struct Ahead {
    targets: std::vec::IntoIter<(u32, u32)>,
    ready: VecDeque<(u32, Message)>,
    /// For `ready`, where it is more than every connection may hold.
    charge: Option<Charge>,
    /// Rows that the next trip asks for: a list of a screen is there soon, and a list of everything takes few trips.
    trip_rows: usize,
    /// A target is not in the mailbox any more.
    pub gone: bool,
}

impl Ahead {
    /// `targets`: number and UID of the messages, in the order of the answer.
    pub fn new(targets: Vec<(u32, u32)>) -> Ahead {
        Ahead {
            targets: targets.into_iter(),
            ready: VecDeque::new(),
            charge: None,
            trip_rows: ROWS_PER_TURN_MAX,
            gone: false,
        }
    }

    /// The next messages, as many as are read at once.
    pub async fn take(
        &mut self,
        owner: &impl Ask,
        sending: &Budget,
        reading: Reading,
        wanted: &Wanted,
        scale: Scale,
    ) -> Result<Vec<(u32, Message)>, Failure> {
        while self.ready.is_empty() && self.targets.len() > 0 {
            let bytes_max = self.pay(sending, reading, wanted);
            let rest = self.targets.as_slice();
            let count = rest.len().min(bytes_max / size_of::<Message>());
            let next = rest[..count].to_vec();
            let uids: Vec<Uid> = next.iter().map(|&(_, uid)| Uid(uid)).collect();
            let id = reading.mailbox;
            let (asked, mut messages) = owner
                .ask(move |mailboxes| async move { rows(&mailboxes, id, &uids, bytes_max).await })
                .await??;
            let count = keep_fitting_in(&mut messages, asked, bytes_max, |uid| {
                next.partition_point(|target| target.1 <= uid)
            });
            self.targets.by_ref().take(count).for_each(drop);
            self.fill(&next[..count], messages);
        }
        if self.ready.len() <= wanted.messages_per_chunk() {
            let costs = self
                .ready
                .iter()
                .map(|(_, message)| scale.cost(wanted, message));
            if costs.sum::<usize>() <= scale.chunk_bytes {
                // All of them, where they are.
                return Ok(std::mem::take(&mut self.ready).into());
            }
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < wanted.messages_per_chunk() && bytes < scale.chunk_bytes {
            let Some((number, message)) = self.ready.pop_front() else {
                break;
            };
            bytes += scale.cost(wanted, &message);
            taken.push((number, message));
        }
        Ok(taken)
    }

    /// How many bytes of rows the next trip may bring. More than every connection may hold is paid for from the account's share, until those rows
    /// are taken; where that has no room the trip is a short one.
    fn pay(&mut self, sending: &Budget, reading: Reading, wanted: &Wanted) -> usize {
        self.charge = None;
        let rows = self.trip_rows.min(self.targets.len());
        self.trip_rows = (2 * self.trip_rows).min(wanted.rows_per_trip());
        if rows > ROWS_PER_TURN_MAX {
            let bytes = rows * size_of::<Message>();
            self.charge = sending.take_for(reading.holder, bytes);
        }
        match &self.charge {
            Some(charge) => charge.bytes(),
            None => ROWS_BYTES_PER_TURN_MAX,
        }
    }

    /// What was taken last is paid for by the caller from now on.
    pub fn taken_over(&mut self) {
        if self.ready.is_empty() {
            self.ready = VecDeque::new();
            self.charge = None;
        }
    }

    /// Gives back what was taken last.
    pub fn put_back(&mut self, messages: Vec<(u32, Message)>) {
        for message in messages.into_iter().rev() {
            self.ready.push_front(message);
        }
    }

    /// Walks the targets and what was found of them side by side; both ascend by UID.
    fn fill(&mut self, targets: &[(u32, u32)], messages: Vec<Message>) {
        self.ready.reserve(messages.len());
        let mut messages = messages.into_iter().peekable();
        for &(number, uid) in targets {
            match messages.next_if(|message| message.uid.0 == uid) {
                Some(message) => self.ready.push_back((number, message)),
                None => self.gone = true,
            }
        }
    }
}

/// On the owner's thread: how many of `uids` (ascending) were looked up, and those that exist. A turn of them at a time; it ends with the turn that
/// reaches `bytes_max`.
async fn rows(
    mailboxes: &Mailboxes,
    id: MailboxId,
    uids: &[Uid],
    bytes_max: usize,
) -> Result<(usize, Vec<Message>), MailboxFault> {
    let (mut asked, mut bytes, mut found): (_, _, Vec<Message>) = (0, 0, Vec::new());
    for turn in uids.chunks(ROWS_PER_TURN_MAX) {
        if asked > 0 {
            // Others are served between two turns: at most seven times in one trip.
            tokio::task::yield_now().await;
        }
        let messages = mailboxes.messages(id, turn).await?;
        bytes += messages.iter().map(Message::memory_bytes).sum::<usize>();
        asked += turn.len();
        match found.is_empty() {
            true => found = messages,
            false => found.extend(messages),
        }
        if bytes >= bytes_max {
            break;
        }
    }
    Ok((asked, found))
}

#[cfg(test)]
mod tests {
    use super::super::super::rows::tests::large;
    use super::super::super::sample::message;
    use super::*;

    fn wanted(item: imap::fetch::FetchItem) -> Wanted {
        Wanted::new(false, vec![item], None, false, Default::default())
    }

    /// Rows of the first trips of a FETCH of 10,000 messages.
    fn trips(sending: &Budget, wanted: &Wanted) -> (Vec<usize>, Ahead) {
        let reading = Reading {
            holder: storage::holder::of_account(mailbox::AccountId(1)),
            mailbox: MailboxId(1),
        };
        let mut ahead = Ahead::new((1..=10_000).map(|number| (number, number)).collect());
        let rows = |_| ahead.pay(sending, reading, wanted) / size_of::<Message>();
        let trips = (0..5).map(rows).collect();
        (trips, ahead)
    }

    #[test]
    fn long_trips_are_paid_for_until_their_rows_are_taken_over() {
        let flags = wanted(imap::fetch::FetchItem::Flags);
        let sending = Budget::new(64 << 20);
        let (rows, mut ahead) = trips(&sending, &flags);
        assert_eq!(rows, [512, 1_024, 2_048, 4_096, 4_096]);
        let paid = 4_096 * size_of::<Message>();
        assert_eq!(sending.used_bytes(), paid, "for one trip at a time");
        ahead.ready.push_back((1, message(1, 1)));
        ahead.taken_over();
        assert_eq!(sending.used_bytes(), paid, "some are not taken yet");
        ahead.ready.clear();
        ahead.taken_over();
        assert_eq!(sending.used_bytes(), 0);
    }

    #[test]
    fn trips_are_short_without_room_and_where_more_than_rows_is_sent() {
        let flags = wanted(imap::fetch::FetchItem::Flags);
        let none = Budget::new(1_024);
        assert_eq!(trips(&none, &flags).0, [512; 5]);
        let sending = Budget::new(64 << 20);
        for item in [
            imap::fetch::FetchItem::Envelope,
            imap::fetch::FetchItem::Rfc822,
        ] {
            assert_eq!(trips(&sending, &wanted(item)).0, [512; 5]);
            assert_eq!(sending.used_bytes(), 0);
        }
    }

    /// 64 keywords of 64 bytes each.
    #[test]
    fn keywords_count_in_what_a_row_takes() {
        let wanted = wanted(imap::fetch::FetchItem::Flags);
        let plain = Scale::FULL.cost(&wanted, &message(1, 1));
        let with_keywords = Scale::FULL.cost(&wanted, &large(1));
        assert!(with_keywords >= plain + 4_096, "{with_keywords}");
    }
}
