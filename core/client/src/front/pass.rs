//! Bytes passed both ways, unchanged, after the login.
//!
//! What must hold: a side is read only while nothing waits for the other, so each direction holds one read and one write, and a slow reader stops the other
//! side's reads; both directions go on independently, or two ends that send at once would wait for each other; every wait has its end.

use std::time::Duration;

use runtime::{ConnectionFault, Dialled, Duplex, Moved, SessionHost};

use super::limits::*;

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The storage node's last words were passed on, and it said that they were its last.
    Said,
    /// The client is gone, or takes nothing.
    ClientGone,
    /// Neither side said anything for too long.
    Silent,
    /// The storage node is gone in the middle, or takes nothing, or does not answer. `at_line`: a line of ours can follow what the client got.
    Broken { why: &'static str, at_line: bool },
    /// This node stops.
    Stopping { at_line: bool },
}

/// One direction.
struct Way {
    /// Read, and not on its way out yet.
    waiting: Vec<u8>,
    /// Its source sends nothing more.
    has_ended: bool,
}

impl Way {
    fn new(waiting: Vec<u8>) -> Way {
        Way {
            waiting,
            has_ended: false,
        }
    }

    /// Sends the next piece where nothing is on its way out.
    fn hand_on(&mut self, to: &mut impl Duplex) -> Result<(), ConnectionFault> {
        if self.waiting.is_empty() || to.is_sending() {
            return Ok(());
        }
        let bytes = self.waiting.len().min(PASS_BYTES);
        to.deadline(STALLED_MAX);
        to.begin_send(&self.waiting[..bytes])?;
        match bytes == self.waiting.len() {
            // An idle session owns no buffers.
            true => self.waiting = Vec::new(),
            false => drop(self.waiting.drain(..bytes)),
        }
        Ok(())
    }

    /// Where the source may be read to.
    fn room(&mut self, to: &impl Duplex) -> Option<&mut Vec<u8>> {
        let has_room = !self.has_ended && self.waiting.is_empty() && !to.is_sending();
        has_room.then_some(&mut self.waiting)
    }

    /// All that came went out, and no more will come.
    fn is_over(&self, to: &impl Duplex) -> bool {
        self.has_ended && self.waiting.is_empty() && !to.is_sending()
    }
}

/// What happened in a turn.
enum Turn {
    OfStorage(Result<Moved, ConnectionFault>),
    OfClient(Result<Moved, ConnectionFault>),
    NoAnswer,
}

/// Passes on until either side ends it. `down` goes to the client first, `up` to the storage node.
pub async fn pass(
    host: &SessionHost,
    client: &mut impl Duplex,
    storage: &mut (impl Duplex + Dialled),
    down: Vec<u8>,
    up: Vec<u8>,
) -> Ended {
    client.read_at_most(PASS_BYTES);
    storage.read_at_most(PASS_BYTES);
    client.deadline(SILENCE_MAX);
    storage.deadline(SILENCE_MAX);
    // What the client sent behind its login waits for an answer.
    let mut owes_answer = !up.is_empty();
    let mut at_line = down.ends_with(b"\n") || down.is_empty();
    let (mut down, mut up) = (Way::new(down), Way::new(up));
    let mut is_finished = false;
    loop {
        // until either side ends it; every wait below has an end
        if down.hand_on(client).is_err() {
            return Ended::ClientGone;
        }
        if up.hand_on(storage).is_err() {
            return broken("it closed the connection", at_line);
        }
        if down.is_over(client) {
            return match storage.is_complete() {
                true => Ended::Said,
                false => broken("it broke off", at_line),
            };
        }
        if up.is_over(storage) && !is_finished {
            is_finished = true;
            storage.deadline(HALF_CLOSED_MAX);
            if storage.finish().await.is_err() {
                return Ended::ClientGone;
            }
        }
        let waits_for_answer = owes_answer && !is_finished;
        let turn = {
            let from_storage = down.room(client);
            let from_client = up.room(storage);
            tokio::select! {
                biased;
                moved = storage.moves(from_storage) => Turn::OfStorage(moved),
                moved = client.moves(from_client) => Turn::OfClient(moved),
                () = host.sleep(ANSWER_MAX), if waits_for_answer => Turn::NoAnswer,
            }
        };
        match turn {
            Turn::OfStorage(Ok(Moved::Received(_))) => {
                owes_answer = false;
                at_line = down.waiting.ends_with(b"\n");
            }
            Turn::OfClient(Ok(Moved::Received(_))) => owes_answer = true,
            Turn::OfStorage(Ok(Moved::Sent)) => storage.deadline(rest_of(is_finished)),
            Turn::OfClient(Ok(Moved::Sent)) => client.deadline(SILENCE_MAX),
            Turn::OfStorage(Ok(Moved::Ended)) => down.has_ended = true,
            Turn::OfClient(Ok(Moved::Ended)) => up.has_ended = true,
            Turn::NoAnswer => return broken("it does not answer", at_line),
            Turn::OfStorage(Err(ConnectionFault::Stopping))
            | Turn::OfClient(Err(ConnectionFault::Stopping)) => {
                let at_line = at_line && !client.is_sending();
                return Ended::Stopping { at_line };
            }
            // Its own limit is shorter: a storage node that is silent so long in an idle session has forgotten it.
            Turn::OfStorage(Err(ConnectionFault::TimedOut)) if !storage.is_sending() => {
                return Ended::Silent;
            }
            Turn::OfStorage(Err(fault)) => {
                let why = match fault {
                    ConnectionFault::TimedOut => "it takes nothing",
                    _ => "it broke off",
                };
                // What came of it before goes out first, in time or not at all.
                return match drain(host, client, &mut down).await {
                    true => broken(why, at_line),
                    false => Ended::ClientGone,
                };
            }
            Turn::OfClient(Err(ConnectionFault::TimedOut)) if !client.is_sending() => {
                return Ended::Silent;
            }
            Turn::OfClient(Err(_)) => return Ended::ClientGone,
        }
    }
}

/// How long the storage node may be silent once nothing is on its way to it.
fn rest_of(is_finished: bool) -> Duration {
    match is_finished {
        true => HALF_CLOSED_MAX,
        false => SILENCE_MAX,
    }
}

fn broken(why: &'static str, at_line: bool) -> Ended {
    Ended::Broken { why, at_line }
}

/// Sends what was read of a storage node that is gone. `false`: the client does not take it.
async fn drain(host: &SessionHost, client: &mut impl Duplex, down: &mut Way) -> bool {
    let sent = async {
        loop {
            // until all of it is sent: each turn takes a piece of what waits, and no more comes
            if down.hand_on(client).is_err() {
                return false;
            }
            if !client.is_sending() {
                return true;
            }
            if client.moves(None).await.is_err() {
                return false;
            }
        }
    };
    host.within(HALF_CLOSED_MAX, sent).await.unwrap_or(false)
}
