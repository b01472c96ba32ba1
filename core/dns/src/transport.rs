//! One question to one server: by UDP, by TCP where the answer is too long for that.
//!
//! What must hold: nothing outlives the call. Each try has a socket of its own, which closes when the future ends or is dropped; so each has
//! a port that the kernel chose at random, beside the random identifier, which is what a forger has to guess (RFC 5452 §9). The socket
//! is connected: the kernel throws away what comes from elsewhere, and says at once when nothing listens there.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::limits::{TCP_BYTES_MAX, UDP_BYTES_MAX};
use crate::question::{Bad, Question, Reading};

/// Why a server gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It said nothing in time: it may be asked again.
    Silent,
    /// It has no answer, or cannot be reached. A short phrase for people.
    Failed(String),
}

/// Asks `server`, and answers what it says and whether it vouches for that; waits at most `wait` for each of at most three sendings: the question, once more without EDNS, and by TCP.
pub(crate) async fn ask(
    server: SocketAddr,
    question: &Question,
    wait: Duration,
) -> Result<(Reading, bool), Trouble> {
    let mut question = question.clone();
    let mut outcome = by_udp(server, &question, wait).await?;
    if outcome == Err(Bad::Edns) {
        question = question.without_edns();
        outcome = by_udp(server, &question, wait).await?;
    }
    if outcome == Err(Bad::Truncated) {
        outcome = within(wait, by_tcp(server, &question)).await?;
    }
    outcome.map_err(|bad| match bad {
        Bad::Failed(why) => Trouble::Failed(why),
        Bad::Truncated => Trouble::Failed("a truncated answer by TCP".to_owned()),
        Bad::NotOurs => Trouble::Failed("an answer to another question".to_owned()),
        Bad::Edns => Trouble::Failed("the server cannot read the question".to_owned()),
    })
}

/// What was read, and whether a validator vouches for it.
type Outcome = Result<(Reading, bool), Bad>;

async fn within(
    wait: Duration,
    sending: impl Future<Output = io::Result<Outcome>>,
) -> Result<Outcome, Trouble> {
    match tokio::time::timeout(wait, sending).await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(error)) => Err(Trouble::Failed(error.to_string())),
        Err(_) => Err(Trouble::Silent),
    }
}

async fn by_udp(
    server: SocketAddr,
    question: &Question,
    wait: Duration,
) -> Result<Outcome, Trouble> {
    within(wait, async {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        socket.send(&to_wire(question)?).await?;
        let mut wire = vec![0; UDP_BYTES_MAX];
        loop {
            // until the answer comes or the wait is over
            let bytes = socket.recv(&mut wire).await?;
            match question.read_authentic(&wire[..bytes]) {
                Err(Bad::NotOurs) => {}
                outcome => return Ok(outcome),
            }
        }
    })
    .await
}

/// RFC 1035 §4.2.2: each message behind its length.
async fn by_tcp(server: SocketAddr, question: &Question) -> io::Result<Outcome> {
    let mut stream = TcpStream::connect(server).await?;
    let wire = to_wire(question)?;
    let mut framed = (wire.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&wire);
    stream.write_all(&framed).await?;
    let bytes = usize::from(stream.read_u16().await?);
    if bytes > TCP_BYTES_MAX {
        let why = format!("an answer of {bytes} bytes");
        return Ok(Err(Bad::Failed(why)));
    }
    let mut wire = vec![0; bytes];
    stream.read_exact(&mut wire).await?;
    Ok(question.read_authentic(&wire))
}

fn to_wire(question: &Question) -> io::Result<Vec<u8>> {
    question
        .to_wire()
        .ok_or_else(|| io::Error::other("the name does not fit the wire"))
}
