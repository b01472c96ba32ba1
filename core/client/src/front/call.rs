//! A connection with a storage node, from the dial to the protocol's greeting, line by line. `pass.rs` takes it over after the login.

use std::time::Duration;

use inbound::afar::{Broke, Caller};
use runtime::{Connection, ConnectionFault, Dial, SessionHost};

use super::limits::*;
use super::nodes::Node;
use super::preface::{BANNED, For, Offered, READY, Wanted};
use crate::limits::SILENCE_GRACE;

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoCall {
    /// The storage node does not answer as it should.
    Fails(String),
    /// It answers, and not now; or our own bound on connections is reached.
    Later(&'static str),
    /// It does not let the client's address in.
    Banned,
    Stopping,
}

impl From<Broke> for NoCall {
    fn from(broke: Broke) -> NoCall {
        match broke {
            Broke::Busy => NoCall::Later("too many connections with storage nodes"),
            Broke::Stopping => NoCall::Stopping,
            Broke::Before(why) | Broke::InDoubt(why) => NoCall::Fails(why),
            Broke::Untouched | Broke::Refused(_) | Broke::SomeRefused(_) => {
                NoCall::Fails("it closed".to_owned())
            }
        }
    }
}

impl From<ConnectionFault> for NoCall {
    fn from(fault: ConnectionFault) -> NoCall {
        match fault {
            ConnectionFault::Stopping => NoCall::Stopping,
            fault => NoCall::Fails(fault.to_string()),
        }
    }
}

/// The connection, and what came of it and was not taken yet.
pub(super) struct Call<C> {
    pub connection: C,
    pub input: Vec<u8>,
}

/// Connects to `node`, and asks for a session.
pub(super) async fn call<D: Dial>(
    caller: &Caller<D>,
    node: &Node,
    session: For,
) -> Result<Call<D::Connection>, NoCall> {
    let mut call = open(caller, node).await?;
    let asked = async {
        call.say(Wanted::Session(session).line().as_bytes()).await?;
        call.line().await
    };
    match in_time(&caller.host, PREFACE_MAX, asked).await? {
        line if line == READY => Ok(call),
        line if line == BANNED => Err(NoCall::Banned),
        line if line == super::preface::LATER => Err(NoCall::Later("it is busy")),
        _ => Err(NoCall::Fails("it is not a door for fronts".to_owned())),
    }
}

/// Asks what clients may be offered.
pub(super) async fn offered<D: Dial>(caller: &Caller<D>, node: &Node) -> Result<Offered, NoCall> {
    let mut call = open(caller, node).await?;
    let asked = async {
        call.say(Wanted::Offer.line().as_bytes()).await?;
        call.line().await
    };
    let line = in_time(&caller.host, OFFER_MAX, asked).await?;
    call.connection.close().await;
    let line = line.strip_suffix(b"\r\n").unwrap_or(&line);
    Offered::parse(line).ok_or_else(|| NoCall::Fails("it is not a door for fronts".to_owned()))
}

async fn open<D: Dial>(caller: &Caller<D>, node: &Node) -> Result<Call<D::Connection>, NoCall> {
    let mut connection = caller.connect(node.address, &node.name).await?;
    // `in_time` ends each wait of a login. The deadline of the handshake is shorter than a storage node's wait before it refuses: it would call that a failure.
    connection.deadline(VERDICT_MAX + SILENCE_GRACE);
    Ok(Call {
        connection,
        input: Vec::new(),
    })
}

/// What `wait` answers; a storage node that does not within `span` fails.
pub(super) async fn in_time<T>(
    host: &SessionHost,
    span: Duration,
    wait: impl Future<Output = Result<T, NoCall>>,
) -> Result<T, NoCall> {
    let answer = host.within(span, wait).await;
    answer.unwrap_or_else(|| Err(NoCall::Fails("it does not answer in time".to_owned())))
}

impl<C: Connection> Call<C> {
    pub async fn say(&mut self, bytes: &[u8]) -> Result<(), NoCall> {
        Ok(self.connection.send(bytes).await?)
    }

    /// The next line with its end. Cancel-safe.
    pub async fn line(&mut self) -> Result<Vec<u8>, NoCall> {
        loop {
            // until a line is whole, or too long
            if let Some(end) = memchr::memchr(b'\n', &self.input) {
                return Ok(self.input.drain(..=end).collect());
            }
            if self.input.len() > LINE_BYTES_MAX {
                return Err(NoCall::Fails("its answer is too long".to_owned()));
            }
            self.connection.receive(&mut self.input).await?;
        }
    }
}
