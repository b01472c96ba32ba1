//! One conversation with a storage node: connected, under TLS, greeted; then one message after the other.
//!
//! Every wait has a deadline for the step as a whole, so a node that sends a byte a minute holds a sender no longer than one that is silent.
//!
//! What must hold: what broke before the end of data was sent is `Before`, and nothing of the message is anywhere; from the moment at which its last piece is
//! handed to the socket it is `InDoubt`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mail::Address;
use runtime::{Connection, ConnectionFault, Dial, DialFault, Dialled, SessionHost};
use rustls::pki_types::ServerName;
use smtp::Role;
use smtp::client::{Client, Content, Event, Mail, Reply, Sent, Stuffer};
use smtp::qmqp::{self, Outcome};

use super::limits::*;
use super::target::{Protocol, Target};
use crate::receive::Mark;

/// What all conversations of one core share.
#[derive(Clone)]
pub struct Caller<D> {
    pub host: SessionHost,
    pub dial: D,
    /// Our name, for EHLO and LHLO.
    pub hostname: String,
    /// Shows our certificate, and trusts our own authority alone.
    pub tls: Arc<rustls::ClientConfig>,
}

/// Why there is no conversation, or no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broke {
    /// A connection that waited had ended meanwhile; nothing was said of this message.
    Untouched,
    /// Nothing of the message was placed.
    Before(String),
    /// It is not known whether the message was placed.
    InDoubt(String),
    /// A recipient of a message that is for all or none was refused; nothing was placed.
    Refused(Reply),
    /// Some were refused, and the others are to be named alone; nothing was placed. What was said to each.
    SomeRefused(Vec<Reply>),
    /// Our own bound on connections.
    Busy,
    Stopping,
}

/// A message as it is handed over.
pub struct Parcel<'p> {
    pub raw: &'p Bytes,
    pub mark: Mark,
    /// Without brackets; empty for a report.
    pub from: &'p str,
    pub recipients: &'p [String],
    pub is_eight_bit: bool,
    pub is_utf8: bool,
    /// For all of its recipients or for none.
    pub is_whole: bool,
}

/// What a storage node answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// To each recipient, in their order.
    Each(Vec<Reply>),
    /// To all of them, by QMQP.
    All(Outcome, String),
}

/// Whether a stop of this node ends a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Usual,
    /// The end of data was sent: the answer is waited for as long as the core's drain lasts.
    Owed,
}

/// A greeted connection of SMTP or LMTP.
pub struct Talk<C> {
    connection: C,
    client: Client,
    role: Role,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Messages so far.
    pub carried: u32,
}

impl<D: Dial> Caller<D> {
    /// Connects and proves both sides to each other.
    pub async fn connect(
        &self,
        address: SocketAddr,
        name: &ServerName<'static>,
    ) -> Result<D::Connection, Broke> {
        let mut connection = match self.dial.dial(address, CONNECT_MAX).await {
            Ok(connection) => connection,
            Err(DialFault::Busy) => return Err(Broke::Busy),
            Err(DialFault::Stopping) => return Err(Broke::Stopping),
            Err(fault) => return Err(Broke::Before(fault.to_string())),
        };
        connection.deadline(HELLO_MAX);
        let secured = connection.secure(&self.tls, name);
        match self.host.within(HELLO_MAX, secured).await {
            Some(Ok(())) => Ok(connection),
            Some(Err(ConnectionFault::Stopping)) => Err(Broke::Stopping),
            Some(Err(fault)) => {
                let why = connection.tls_trouble().unwrap_or("it closed");
                Err(Broke::Before(format!("{fault}: {why}")))
            }
            None => Err(Broke::Before("TLS was not done in time".to_owned())),
        }
    }

    /// A greeted connection; not for QMQP, which has no greeting.
    pub async fn open(&self, target: &Target) -> Result<Talk<D::Connection>, Broke> {
        let role = match target.protocol {
            Protocol::Smtp => Role::Smtp,
            Protocol::Lmtp | Protocol::Qmqp => Role::Lmtp,
        };
        let connection = self.connect(target.address, &target.name).await?;
        let mut talk = Talk {
            connection,
            client: Client::new(role, &self.hostname, false),
            role,
            input: Vec::new(),
            output: Vec::new(),
            carried: 0,
        };
        let before = |why: String| Broke::Before(why);
        match talk.step(&self.host, HELLO_MAX, Wait::Usual).await {
            Ok(Event::Ready(hello)) => {
                let is_ours = |line: &String| line.eq_ignore_ascii_case("XDELIVERY");
                match hello.lines.iter().any(is_ours) {
                    true => Ok(talk),
                    // Without it a second try would make a second copy.
                    false => Err(before(
                        "it offers no XDELIVERY: it is not a door of a storage node for other zones"
                            .to_owned(),
                    )),
                }
            }
            Ok(Event::Refused(reply)) => Err(before(format!("it says {reply}"))),
            Ok(_) => Err(before("what it sends is not SMTP".to_owned())),
            Err(ConnectionFault::Stopping) => Err(Broke::Stopping),
            Err(fault) => Err(before(format!("no greeting: {fault}"))),
        }
    }

    /// Looks whether a storage node works: as far as a message would get before it is named.
    pub async fn probe(&self, target: &Target) -> Result<(), Broke> {
        match target.protocol {
            Protocol::Qmqp => {
                let connection = self.connect(target.address, &target.name).await?;
                connection.close().await;
            }
            Protocol::Lmtp | Protocol::Smtp => self.open(target).await?.end().await,
        }
        Ok(())
    }

    /// One message by QMQP, on a connection of its own. `doubt` is called before the end of the request is sent.
    pub async fn request(
        &self,
        target: &Target,
        parcel: &Parcel<'_>,
        doubt: impl FnOnce(),
    ) -> Result<Answer, Broke> {
        let address = |path: &str| {
            let unfit = || Broke::Before(format!("{path} is not an address of QMQP"));
            Address::from_path(path).ok_or_else(unfit)
        };
        let sender = match parcel.from {
            "" => None,
            from => Some(address(from)?),
        };
        let recipients: Result<Vec<Address>, Broke> =
            parcel.recipients.iter().map(|to| address(to)).collect();
        let line = parcel.mark.line();
        let (head, tail) = qmqp::around(line.as_bytes(), parcel.raw, sender.as_ref(), &recipients?);
        let mut connection = self.connect(target.address, &target.name).await?;
        let send = async |connection: &mut D::Connection, piece: &[u8]| {
            connection.deadline(PIECE_MAX);
            let sent = self.host.within(PIECE_MAX, connection.send(piece)).await;
            sent.unwrap_or(Err(ConnectionFault::TimedOut))
        };
        let broke = |fault: ConnectionFault| match fault {
            ConnectionFault::Stopping => Broke::Stopping,
            fault => Broke::Before(format!("the request broke off: {fault}")),
        };
        let mut out = head;
        for piece in parcel.raw.chunks(PIECE_BYTES) {
            qmqp::put_lines(&mut out, piece);
            send(&mut connection, &out).await.map_err(broke)?;
            out.clear();
        }
        doubt();
        let doubtful = |why: String| Broke::InDoubt(why);
        out.extend_from_slice(&tail);
        let sent = send(&mut connection, &out).await;
        sent.map_err(|fault| doubtful(format!("the request broke off: {fault}")))?;
        connection.deadline(ANSWER_MAX);
        let read = async {
            let mut input = Vec::new();
            loop {
                // until the answer is whole; its length is bounded
                match qmqp::parse_answer(&input) {
                    Ok(Some((outcome, text))) => return Ok(Answer::All(outcome, text)),
                    Ok(None) => {
                        let received = connection.receive(&mut input).await;
                        // A stop does not end the wait for an answer that is owed.
                        if received == Err(ConnectionFault::Stopping) {
                            continue;
                        }
                        received.map_err(|fault| {
                            doubtful(format!("the answer did not come: {fault}"))
                        })?;
                    }

                    Err(_) => return Err(doubtful("its answer is not QMQP".to_owned())),
                }
            }
        };
        let answer = self.host.within(ANSWER_MAX, read).await;
        answer.unwrap_or_else(|| Err(doubtful("the answer did not come in time".to_owned())))
    }
}

impl<C: Dialled> Talk<C> {
    /// One message. `doubt` is called before the end of data is sent.
    pub async fn transact(
        &mut self,
        host: &SessionHost,
        parcel: &Parcel<'_>,
        doubt: impl FnOnce(),
    ) -> Result<Answer, Broke> {
        let is_reused = self.carried > 0;
        self.carried += 1;
        let mail = Mail {
            reverse_path: parcel.from.to_owned(),
            recipients: parcel.recipients.to_vec(),
            parameters: parameters(parcel),
            content: Content::ByCaller,
        };
        self.client.send(mail, &mut self.output);
        let first = match self.step(host, ENVELOPE_MAX, Wait::Usual).await {
            Ok(Event::Refused(_)) | Err(ConnectionFault::Closed) if is_reused => {
                return Err(Broke::Untouched);
            }
            Ok(event) => event,
            Err(ConnectionFault::Stopping) => return Err(Broke::Stopping),
            Err(fault) => {
                return Err(Broke::Before(format!(
                    "the conversation broke off: {fault}"
                )));
            }
        };
        match first {
            Event::Content => {}
            Event::Sent(sent) => return Ok(self.answers(parcel, sent)),
            Event::Refused(reply) => return Err(Broke::Before(format!("it says {reply}"))),
            _ => return Err(Broke::Before("what it sends is not SMTP".to_owned())),
        }
        // An id stands for all of its recipients: what is placed under it for some would count as placed for the rest.
        if let Some(reply) = self.client.refused_recipient() {
            return Err(match parcel.is_whole {
                true => Broke::Refused(reply.clone()),
                false => Broke::SomeRefused(self.client.recipients().to_vec()),
            });
        }
        let (mut stuffer, mut out) = (Stuffer::default(), Vec::new());
        for piece in parcel.raw.chunks(PIECE_BYTES) {
            out.clear();
            stuffer.put(piece, &mut out);
            match self.send_piece(host, &out).await {
                Ok(()) => {}
                Err(ConnectionFault::Stopping) => return Err(Broke::Stopping),
                Err(fault) => return Err(Broke::Before(format!("the content broke off: {fault}"))),
            }
        }
        out.clear();
        stuffer.end(&mut out);
        doubt();
        let doubtful = |why: String| Broke::InDoubt(why);
        let sent = self.send_piece(host, &out).await;
        sent.map_err(|fault| doubtful(format!("the end of data broke off: {fault}")))?;
        match self.step(host, ANSWER_MAX, Wait::Owed).await {
            Ok(Event::Sent(sent)) => Ok(self.answers(parcel, sent)),
            Ok(Event::Refused(reply)) => Err(doubtful(format!("it says {reply}"))),
            Ok(_) => Err(doubtful("its answer is not SMTP".to_owned())),
            Err(fault) => Err(doubtful(format!("the answer did not come: {fault}"))),
        }
    }

    /// QUIT, and what the node says to it is not waited for.
    pub async fn end(mut self) {
        self.client.quit(&mut self.output);
        self.connection.deadline(HELLO_MAX);
        if self.connection.send(&self.output).await.is_ok() {
            self.connection.close().await;
        }
    }

    async fn send_piece(
        &mut self,
        host: &SessionHost,
        piece: &[u8],
    ) -> Result<(), ConnectionFault> {
        self.connection.deadline(PIECE_MAX);
        let sent = host.within(PIECE_MAX, self.connection.send(piece)).await;
        sent.unwrap_or(Err(ConnectionFault::TimedOut))
    }

    /// The next event, within `span` as a whole.
    async fn step(
        &mut self,
        host: &SessionHost,
        span: Duration,
        wait: Wait,
    ) -> Result<Event, ConnectionFault> {
        self.connection.deadline(span);
        let turn = async {
            loop {
                // until an event; the client bounds what it keeps of a reply
                let (used, event) = self.client.receive(&self.input, &mut self.output);
                self.input.drain(..used);
                if !self.output.is_empty() {
                    self.connection.send(&self.output).await?;
                    self.output.clear();
                }
                if event != Event::NeedInput {
                    return Ok(event);
                }
                match self.connection.receive(&mut self.input).await {
                    // A stop that broke off here would leave the message in doubt, and the doubt ends with the process.
                    Err(ConnectionFault::Stopping) if wait == Wait::Owed => {}
                    received => {
                        received?;
                    }
                }
            }
        };
        let turned = host.within(span, turn).await;
        turned.unwrap_or(Err(ConnectionFault::TimedOut))
    }

    /// The reply that counts for each recipient.
    fn answers(&self, parcel: &Parcel<'_>, sent: Sent) -> Answer {
        let Sent {
            mail,
            recipients,
            outcomes,
        } = sent;
        let mut outcomes = outcomes.into_iter();
        let mut last: Option<Reply> = None;
        let silent = Reply {
            code: 451,
            lines: vec!["4.3.0 no answer for this recipient".to_owned()],
        };
        let each = (0..parcel.recipients.len()).map(|index| {
            if !mail.is_ok() {
                return mail.clone();
            }
            match recipients.get(index) {
                Some(reply) if reply.is_ok() => {
                    // LMTP: the next one; SMTP: the one that there is. A refused DATA is answered once in both.
                    last = match (self.role, outcomes.next()) {
                        (_, Some(reply)) => Some(reply),
                        (Role::Lmtp, None) => last.take().filter(|reply| !reply.is_ok()),
                        (Role::Smtp, None) => last.take(),
                    };
                    last.clone().unwrap_or_else(|| silent.clone())
                }
                Some(reply) => reply.clone(),
                None => silent.clone(),
            }
        });
        Answer::Each(each.collect())
    }
}

fn parameters(parcel: &Parcel<'_>) -> String {
    let mut out = format!(" SIZE={} XDELIVERY={}", parcel.raw.len(), parcel.mark);
    if parcel.is_eight_bit {
        out.push_str(" BODY=8BITMIME");
    }
    if parcel.is_utf8 {
        out.push_str(" SMTPUTF8");
    }
    out
}
