//! What a client hears while a long command is worked on (RFC 9585), and what may end that work.

use std::time::Duration;

use base::Time;
use imap::respond::{Status, put_reply, put_string};
use mailbox::MailboxFault;
use runtime::{Connection, ConnectionFault, SessionHost};
use storage::owner::Busy;

use crate::pieces::Unread;

use super::fault::Failure;
use super::limits::PROGRESS_TAKEN_MAX;
use super::{End, flush};

/// Why a command came to nothing: it is answered NO, or its connection ended.
pub enum Stop {
    Failure(Failure),
    End(End),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failure(failure)
    }
}

impl From<Busy> for Stop {
    fn from(busy: Busy) -> Stop {
        Stop::Failure(busy.into())
    }
}

impl From<MailboxFault> for Stop {
    fn from(fault: MailboxFault) -> Stop {
        Stop::Failure(fault.into())
    }
}

impl From<Unread> for Stop {
    fn from(unread: Unread) -> Stop {
        Stop::Failure(unread.into())
    }
}

impl From<End> for Stop {
    fn from(end: End) -> Stop {
        Stop::End(end)
    }
}

/// The outcome as commands give it: the outer error is the connection's.
pub fn outcome<T>(done: Result<T, Stop>) -> Result<Result<T, Failure>, End> {
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(Stop::Failure(failure)) => Ok(Err(failure)),
        Err(Stop::End(end)) => Err(end),
    }
}

/// The command that is worked on, and its client.
pub struct Progress<'c, C> {
    host: SessionHost,
    tag: &'c str,
    pub out: &'c mut Vec<u8>,
    pub connection: &'c mut C,
    /// How often the client is notified of it.
    every: Duration,
    /// When it last did; at first when the command began.
    heard: Time,
    /// Messages that are done, of how many.
    done: usize,
    goal: usize,
}

impl<'c, C: Connection> Progress<'c, C> {
    pub fn new(
        host: &SessionHost,
        tag: &'c str,
        every: Duration,
        (out, connection): (&'c mut Vec<u8>, &'c mut C),
    ) -> Progress<'c, C> {
        Progress {
            host: host.clone(),
            tag,
            out,
            connection,
            every,
            heard: host.now(),
            done: 0,
            goal: 0,
        }
    }

    /// `count` more messages are to be looked at.
    pub fn expect(&mut self, count: usize) {
        self.goal += count;
    }

    /// `count` of them were. Reports it when the client has heard nothing for a while.
    pub async fn step(&mut self, count: usize) -> Result<(), End> {
        self.done = (self.done + count).min(self.goal);
        let silent_us = u128::from(self.host.now().since_us(self.heard));
        if silent_us < self.every.as_micros() {
            return Ok(());
        }
        self.heard = self.host.now();
        let mut code = b"INPROGRESS (".to_vec();
        put_string(&mut code, self.tag.as_bytes());
        code.extend_from_slice(format!(" {} {})", self.done, self.goal).as_bytes());
        let code = String::from_utf8(code).expect("a tag is ASCII");
        put_reply(self.out, "*", Status::Ok, &code, "Still working on it");
        // Memory that others wait for may be held meanwhile, so the client has little time to take it.
        let sent = flush(self.out, self.connection);
        match self.host.within(PROGRESS_TAKEN_MAX, sent).await {
            Some(sent) => Ok(sent?),
            None => Err(End::Broken(ConnectionFault::TimedOut)),
        }
    }
}
