//! The chunks of a FETCH on their way from storage.
//!
//! A trip to the owner's thread waits for a device and then takes that thread's time to check and expand what was read. With one trip under way, one
//! of the two stands still; so there are two, and the client is sent a third chunk meanwhile. Work that began on the owner's thread goes on without
//! being looked at here, so a trip is begun by one look and awaited when it is its turn.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use mail::Summary;
use mailbox::{MailboxFault, Message};
use storage::owner::Ask;
use store::BodyRef;

use super::super::Imap;
use super::super::fault::Failure;
use super::super::limits::LOADS_AT_ONCE;
use super::ahead::{Ahead, Scale};
use super::{Bodies, Chunk, Wanted};
use crate::pieces::Reading;

/// Chunks that were asked for, in the order of their messages.
#[derive(Default)]
pub(super) struct Loads<'f>(VecDeque<Load<'f>>);

enum Load<'f> {
    UnderWay(Pin<Box<dyn Future<Output = Result<Chunk, Failure>> + 'f>>),
    Ended(Result<Chunk, Failure>),
}

impl<'f> Loads<'f> {
    /// Begins a trip.
    async fn begin(&mut self, trip: impl Future<Output = Result<Chunk, Failure>> + 'f) {
        let mut trip: Pin<Box<dyn Future<Output = _> + 'f>> = Box::pin(trip);
        let early = poll_fn(|context| Poll::Ready(trip.as_mut().poll(context))).await;
        self.0.push_back(match early {
            Poll::Ready(ended) => Load::Ended(ended),
            Poll::Pending => Load::UnderWay(trip),
        });
    }

    /// The next chunk cannot be asked for: that is said behind those that were.
    fn refused(&mut self, failure: Failure) {
        self.0.push_back(Load::Ended(Err(failure)));
    }

    /// The chunk that was asked for first; `None`: none is under way.
    async fn next(&mut self) -> Result<Option<Chunk>, Failure> {
        let ended = match self.0.pop_front() {
            None => return Ok(None),
            Some(Load::Ended(ended)) => ended,
            Some(Load::UnderWay(trip)) => trip.await,
        };
        ended.map(Some)
    }
}

/// How much of each of `held`, which are some of `all`, its header takes: all of it where its summary does not say.
fn heads_of(
    all: &[BodyRef],
    summaries: &[Result<Bytes, MailboxFault>],
    held: Vec<BodyRef>,
) -> Vec<(BodyRef, usize)> {
    let mut known = std::iter::zip(all, summaries);
    let head_of = |body: BodyRef| {
        let summary = known.find(|(other, _)| other.body == body.body);
        let summary = summary.and_then(|(_, summary)| Summary::decode(summary.as_ref().ok()?).ok());
        let bytes = match summary {
            Some(summary) if summary.complete => summary.root.body_begin,
            _ => body.raw_bytes,
        };
        (body, bytes as usize)
    };
    held.into_iter().map(head_of).collect()
}

impl<K: Ask> Imap<K> {
    /// The next chunk, with what `wanted` needs of its messages; those behind it are asked for meanwhile. `None`: there are no more.
    pub(super) async fn load<'f>(
        &'f self,
        reading: Reading,
        wanted: &'f Wanted,
        ahead: &mut Ahead,
        loads: &mut Loads<'f>,
    ) -> Result<Option<Chunk>, Failure> {
        while loads.0.len() < LOADS_AT_ONCE {
            let is_only = loads.0.is_empty();
            match self.take(reading, wanted, ahead, is_only).await {
                Ok(Some((chunk, scale))) => loads.begin(self.read(wanted, chunk, scale)).await,
                Ok(None) => break,
                Err(failure) => {
                    loads.refused(failure);
                    break;
                }
            }
        }
        loads.next().await
    }

    /// The rows of one more chunk, paid for, and at which scale. `None`: there are no more; or the account's share has no room for it and it is not
    /// the `only` one, which every connection may hold.
    async fn take(
        &self,
        reading: Reading,
        wanted: &Wanted,
        ahead: &mut Ahead,
        only: bool,
    ) -> Result<Option<(Chunk, Scale)>, Failure> {
        let (owner, sending) = (&self.owner, &self.memory.sending);
        let mut scale = Scale::FULL;
        let messages = ahead.take(owner, sending, reading, wanted, scale);
        let mut chunk = Chunk {
            messages: messages.await?,
            ..Chunk::default()
        };
        let bytes = chunk.cost(scale, wanted);
        chunk.charge = sending.take_for(reading.holder, bytes);
        if chunk.charge.is_some() {
            ahead.taken_over();
        } else {
            ahead.put_back(std::mem::take(&mut chunk.messages));
            if !only {
                return Ok(None);
            }
            scale = Scale::LEAST;
            let messages = ahead.take(owner, sending, reading, wanted, scale);
            chunk.messages = messages.await?;
        }
        Ok((!chunk.messages.is_empty()).then_some((chunk, scale)))
    }

    /// Reads what `wanted` needs of the messages of `chunk`.
    async fn read(
        &self,
        wanted: &Wanted,
        mut chunk: Chunk,
        scale: Scale,
    ) -> Result<Chunk, Failure> {
        if !wanted.summaries && !wanted.bodies.are_read() {
            return Ok(chunk);
        }
        let (summaries_wanted, kind) = (wanted.summaries, wanted.bodies);
        let refs = |chosen: &dyn Fn(&Message) -> bool| -> Vec<BodyRef> {
            let messages = chunk.messages.iter().map(|(_, message)| message);
            let chosen = messages.filter(|message| chosen(message));
            chosen.map(|message| message.body.clone()).collect()
        };
        let all = refs(&|_| summaries_wanted);
        let held = refs(&|message| kind.are_read() && scale.held_bytes(message) > 0);
        let (summaries, bodies) = self
            .owner
            .ask(move |mailboxes| async move {
                match kind {
                    Bodies::Never | Bodies::Sometimes => {
                        (mailboxes.summaries(&all).await, Vec::new())
                    }
                    Bodies::Heads => {
                        let summaries = mailboxes.summaries(&all).await;
                        let heads = heads_of(&all, &summaries, held);
                        (summaries, mailboxes.heads(&heads).await)
                    }
                    Bodies::Always => {
                        tokio::join!(mailboxes.summaries(&all), mailboxes.bodies(&held))
                    }
                }
            })
            .await?;
        self.count_bodies(bodies.len());
        chunk.summaries = summaries;
        if kind.are_read() {
            let mut bodies = bodies.into_iter();
            let body_of = |(_, message): &(u32, Message)| match scale.held_bytes(message) {
                0 => None,
                _ => bodies.next(),
            };
            chunk.bodies = chunk.messages.iter().map(body_of).collect();
        }
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::message;
    use super::*;

    #[tokio::test]
    async fn what_was_read_is_sent_before_the_failure_behind_it() {
        let chunk = |number| Chunk {
            messages: vec![(number, message(number, 1))],
            ..Chunk::default()
        };
        let mut loads = Loads::default();
        loads.begin(async { Ok(chunk(1)) }).await;
        let later = async {
            tokio::task::yield_now().await;
            Ok(chunk(2))
        };
        loads.begin(later).await;
        loads.refused(Failure::Busy);
        for number in [1, 2] {
            let read = loads.next().await.ok().flatten();
            assert_eq!(read.map(|chunk| chunk.messages[0].0), Some(number));
        }
        assert!(matches!(loads.next().await, Err(Failure::Busy)));
        assert!(matches!(loads.next().await, Ok(None)));
    }
}
