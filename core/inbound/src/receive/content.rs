//! Stage 2, DATA or BDAT: the content's memory, its id and the trace fields in front of it.
//!
//! What must hold: content is paid for from the budget, its first buffer before it is made and growth after each receive; what is
//! refused or forgotten gives its memory back at once; an id is never used twice.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use runtime::{Budget, Charge, Connection, Holder, SessionHost};
use smtp::{Refusal, Session};

use super::judged::Judged;
use super::mark::Mark;
use super::trace::{self, Dates};

/// What content is made of on one core: memory that all connections of the box share, ids, a clock.
pub struct Contents {
    host: SessionHost,
    /// Bytes of content in memory, over all cores.
    budget: Budget,
    ids: Ids,
    dates: Dates,
}

impl Contents {
    pub fn new(host: SessionHost, budget: Budget, ids: Ids) -> Contents {
        Contents {
            host,
            budget,
            ids,
            dates: Dates::default(),
        }
    }

    /// DATA, or the first BDAT: memory first, for `holder`; then the trace fields in front, in which `hostname` is ours, and `fields` behind
    /// them. `Err`: the session has refused.
    pub fn begin<R>(
        &self,
        hostname: &str,
        session: &mut Session<R>,
        connection: &impl Connection,
        holder: Holder,
        fields: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<Incoming, Refusal> {
        let room = session.content_reserve_bytes() + trace::TRACE_BYTES + fields.len();
        let mark = session.delivery().and_then(Mark::parse);
        let charge = match &mark {
            // One node brings the mail of many peers, and has no share.
            Some(_) => self.budget.take(room),
            None => self.budget.take_for(holder, room),
        };
        let Some(charge) = charge else {
            session.refuse_content(Refusal::StorageFull, output);
            return Err(Refusal::StorageFull);
        };
        let id = self.ids.next();
        let unix_seconds = self.host.unix_seconds();
        let mut prefix = Vec::with_capacity(room);
        // The zone that received the message has written them: it is stored as on a box with all zones.
        if mark.is_none() {
            trace::write(
                &mut prefix,
                hostname,
                session,
                connection.peer().ip(),
                connection.tls(),
                &id,
                &self.dates.of(unix_seconds),
            );
            prefix.extend_from_slice(fields);
        }
        let trace_bytes = prefix.len();
        session.begin_content(prefix, output);
        Ok(Incoming {
            id,
            unix_seconds,
            trace_bytes,
            mark,
            peer: spam::Peer::default(),
            judged: Judged::default(),
            charge,
        })
    }
}

impl Contents {
    /// Content that comes as a whole: so many bytes of memory, and an id. `None`: there is no room for it.
    pub fn whole(&self, holder: Holder, bytes: usize) -> Option<Incoming> {
        Some(Incoming {
            charge: self.budget.take_for(holder, bytes)?,
            id: self.ids.next(),
            unix_seconds: self.host.unix_seconds(),
            trace_bytes: 0,
            mark: None,
            peer: spam::Peer::default(),
            judged: Judged::default(),
        })
    }
}

/// While content comes: pays for the buffer's growth, or refuses the content. When none comes any more: gives the memory back.
pub fn charge<R>(session: &mut Session<R>, content: &mut Option<Incoming>, output: &mut Vec<u8>) {
    let Some(incoming) = content else { return };
    let held = session.content_bytes();
    if held == 0 {
        // Refused or forgotten; content that will complete always holds something.
        *content = None;
    } else if held > incoming.charge.bytes()
        && !incoming.charge.grow(held - incoming.charge.bytes())
    {
        session.refuse_content(Refusal::StorageFull, output);
        *content = None;
    }
}

/// A message whose content is coming.
pub struct Incoming {
    pub id: String,
    pub unix_seconds: i64,
    /// Bytes that we put in front.
    pub trace_bytes: usize,
    /// Another zone of ours hands it over.
    pub(super) mark: Option<Mark>,
    /// What counts for or against the peer that brings it.
    pub(super) peer: spam::Peer,
    /// For whom it looks like junk.
    pub(super) judged: Judged,
    /// The content's memory, given back when this is dropped: once it is durable or refused.
    charge: Charge,
}

impl Incoming {
    /// Pays for so many bytes more; `false`: there is no room for them.
    pub fn may_grow(&mut self, bytes: usize) -> bool {
        self.charge.grow(bytes)
    }
}

/// Message ids: unique over restarts and cores without a shared counter.
pub struct Ids {
    start: u64,
    receiver: u32,
    next: Cell<u64>,
}

impl Ids {
    /// Of this process, for one receiver.
    pub fn of_process() -> Ids {
        static RECEIVERS: AtomicU32 = AtomicU32::new(0);
        let start = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |span| span.as_micros() as u64);
        Ids::of(start, RECEIVERS.fetch_add(1, Relaxed))
    }

    /// For a world that counts its starts and receivers itself: no two receivers may have the same pair of numbers.
    pub fn of(start: u64, receiver: u32) -> Ids {
        Ids {
            start,
            receiver,
            next: Cell::new(0),
        }
    }

    /// Start in microseconds, receiver, sequence; a dot-atom.
    pub(super) fn next(&self) -> String {
        let sequence = self.next.get();
        self.next.set(sequence + 1);
        format!("{:x}.{:x}.{:x}", self.start, self.receiver, sequence)
    }
}
