//! A front: a node of the client zone without storage. It looks up which storage node holds a person's mailbox, and passes IMAP, POP3, ManageSieve and
//! submission on to it after the login: one name for all mailboxes, whichever node holds them.
//!
//! - `tongue.rs`: the protocol before the login. `speech.rs`: the login as it is said to the storage node.
//! - `nodes.rs`: storage nodes, and who holds whom. `watch.rs`: how that is kept fresh.
//! - `call.rs`: a connection with a storage node; `preface.rs`: what is said on it first. `pass.rs`: bytes both ways after the login.
//! - `door.rs`: the storage node's side.
//!
//! # What must hold, and why it does
//!
//! **The storage node's verdict is the verdict.** A front has no password, no hash and no key. The login is said again to the storage node's own session, by
//! PLAIN, or by SCRAM step by step, with the client's address; so its limits on guessing, its audit and its scopes of app passwords are those of a client
//! that came directly.
//!
//! **An unknown name is nothing special**: a storage node is asked about it, and refuses it as late as a wrong password. A name that may be in a table which is
//! missing or old is put off (`nodes.rs`).
//!
//! **Trouble is never a wrong password.** If a storage node is away, hangs or makes no sense, the client gets NO [UNAVAILABLE], -ERR [SYS/TEMP], NO (TRYLATER) or 454.
//!
//! **No binding.** SCRAM-SHA-256-PLUS would bind to the front's TLS, which the storage node does not see. Neither the front nor the storage node's session for it
//! offers it, so a client that could bind and says `y` is right, and is not a downgrade (RFC 5802 §6).
//!
//! **Bounds.** Before the login, those of the sessions; during it, one line at a time; after it, `limits::SESSION_BYTES`. Each wait has its end.
//!
//! Why the protocol is spoken again, in place of an exchange of our own for logins: the storage node's sessions are used as they are, with no second way in.

mod call;
pub mod door;
pub mod limits;
mod nodes;
mod pass;
mod preface;
mod speech;
#[cfg(test)]
mod tests;
mod tongue;
pub mod watch;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use inbound::afar::Caller;
use runtime::{Accepted, ConnectionFault, Dial, Duplex, SessionHost};
use sasl::Credentials;

use crate::limits::SILENCE_GRACE;
use crate::login::Logins;
use crate::login::audit::Protocol;

pub use nodes::{Node, NodeState, Nodes};

use call::{Call, NoCall, call, in_time};
use limits::*;
use nodes::{Found, Passed};
use pass::{Ended, pass};
use preface::For;
use speech::{Heard, Speech};
use tongue::{Manner, Step, Tongue, Why, last_words};

/// How one listener serves. Those inside TLS differ only in that TLS was started before `serve`.
#[derive(Clone)]
pub struct Settings {
    pub protocol: Protocol,
    /// For STARTTLS; `None` where there is no certificate.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Passwords are taken without TLS from peers on the loopback.
    pub login_on_loopback: bool,
    /// The name in greetings.
    pub hostname: String,
    /// SIZE of submission until a storage node has said its own.
    pub message_bytes_max: u64,
}

/// What all connections of one core share, on that core.
pub struct Front<D> {
    host: SessionHost,
    caller: Caller<D>,
    nodes: Nodes,
    /// Failures are reported to its `on_failure`.
    logins: Logins,
}

/// A login, as it is tried.
enum Login {
    Plain(Credentials),
    Scram { user: Vec<u8>, first: String },
}

/// What came of it.
enum Outcome<C> {
    /// What the storage node said of it, and its connection.
    Granted(Vec<u8>, Call<C>, Passed),
    /// The client gave it up; the storage node's reply.
    Cancelled(Vec<u8>),
    Refused,
    PutOff,
    Banned,
    /// The client is gone, or is to go.
    Over(ConnectionFault),
}

impl<D: Dial> Front<D>
where
    D::Connection: Duplex,
{
    pub fn new(caller: Caller<D>, nodes: Nodes, logins: Logins) -> Front<D> {
        Front {
            host: caller.host.clone(),
            caller,
            nodes,
            logins,
        }
    }

    /// Serves `connection` to its end.
    pub async fn serve(&self, settings: &Settings, mut client: impl Accepted + Duplex) {
        let protocol = settings.protocol;
        let words = match self.converse(settings, &mut client).await {
            Ok(words) => words,
            Err(ConnectionFault::TimedOut) => last_words(protocol, Why::Silent),
            Err(ConnectionFault::Stopping) => last_words(protocol, Why::Stopping),
            Err(fault) => {
                tracing::debug!(peer = %client.peer(), %fault, "the conversation broke off");
                return;
            }
        };
        if words.is_empty() || client.send(&words).await.is_ok() {
            client.close().await;
        }
    }

    /// `Ok`: the last words.
    async fn converse(
        &self,
        settings: &Settings,
        client: &mut (impl Accepted + Duplex),
    ) -> Result<Vec<u8>, ConnectionFault> {
        client.deadline(silence(settings.protocol) + SILENCE_GRACE);
        let mut out = Vec::new();
        let manner = Manner {
            tls_offered: settings.tls.is_some(),
            login_without_tls: settings.login_on_loopback && client.peer().ip().is_loopback(),
            has_tls: client.tls().is_some(),
            hostname: settings.hostname.clone(),
            offered: self.nodes.offered(),
            message_bytes_max: settings.message_bytes_max,
        };
        let mut tongue = Tongue::new(settings.protocol, manner, &mut out);
        let mut logins = 0;
        loop {
            // until either side ends it
            let login = match tongue.step(&mut out) {
                Step::Wait => {
                    flush(&mut out, client).await?;
                    tongue.rest();
                    let silence = silence(settings.protocol);
                    self.receive(client, tongue.input(), silence).await?;
                    continue;
                }
                Step::Flush => {
                    flush(&mut out, client).await?;
                    continue;
                }
                Step::StartTls => {
                    flush(&mut out, client).await?;
                    let tls = settings.tls.as_ref();
                    let tls = tls.expect("STARTTLS is offered with a certificate only");
                    client.start_tls(tls).await?;
                    tongue.tls_started(self.nodes.offered(), &mut out);
                    continue;
                }
                Step::Close => return Ok(out),
                Step::LogIn(credentials) => Login::Plain(credentials),
                Step::Scram { user, first } => Login::Scram { user, first },
            };
            logins += 1;
            if logins > LOGINS_MAX {
                out.extend_from_slice(&last_words(settings.protocol, Why::TooMany));
                return Ok(out);
            }
            flush(&mut out, client).await?;
            // Boxed: what a login needs is not held by a connection that waits.
            match Box::pin(self.log_in(client, &mut tongue, login)).await {
                Outcome::Granted(said, call, passed) => {
                    let up = std::mem::take(tongue.input());
                    drop(tongue);
                    let passing = self.pass_on(settings.protocol, client, said, up, call, passed);
                    return Box::pin(passing).await;
                }
                Outcome::Cancelled(reply) => tongue.cancelled(&reply, &mut out),
                Outcome::Refused => {
                    self.logins.failed(client.peer().ip());
                    tongue.refused(&mut out);
                }
                Outcome::PutOff => tongue.put_off(&mut out),
                Outcome::Banned => return Ok(last_words(settings.protocol, Why::Banned)),
                Outcome::Over(fault) => return Err(fault),
            }
        }
    }

    /// Waits for the client, no longer than one may be silent before its login.
    async fn receive(
        &self,
        client: &mut (impl Accepted + Duplex),
        into: &mut Vec<u8>,
        silence: Duration,
    ) -> Result<(), ConnectionFault> {
        tokio::select! {
            biased;
            received = client.receive(into) => received.map(|_| ()),
            () = self.host.sleep(silence) => Err(ConnectionFault::TimedOut),
        }
    }

    async fn log_in(
        &self,
        client: &mut (impl Accepted + Duplex),
        tongue: &mut Tongue,
        login: Login,
    ) -> Outcome<D::Connection> {
        let user = match &login {
            Login::Plain(credentials) => &credentials.user,
            Login::Scram { user, .. } => user,
        };
        let index = match self.nodes.find(user, self.host.now()) {
            Found::Node(index) => index,
            Found::Unknown => {
                tracing::debug!("a login is put off: a table of recipients is missing or old");
                return Outcome::PutOff;
            }
        };
        let node = &self.nodes.all()[index];
        let speech = tongue.speech();
        let session = For {
            protocol: speech.protocol,
            client: client.peer(),
            tls: client.tls().map(|tls| tls.version),
        };
        match self.greeted(node, session, &speech).await {
            Ok(call) => {
                self.decide(client, tongue, (index, call), &speech, login)
                    .await
            }
            Err(no) => self.no_call(node, no),
        }
    }

    /// Counts why a storage node does not decide.
    fn no_call(&self, node: &Node, no: NoCall) -> Outcome<D::Connection> {
        match no {
            NoCall::Banned => return Outcome::Banned,
            NoCall::Stopping => return Outcome::Over(ConnectionFault::Stopping),
            NoCall::Later(why) => tracing::debug!(node = %node.label(), why, "a login is put off"),
            NoCall::Fails(why) => node.fails(&why),
        }
        node.failed.fetch_add(1, Relaxed);
        Outcome::PutOff
    }

    /// A session of the storage node at which the login can begin.
    async fn greeted(
        &self,
        node: &Node,
        session: For,
        speech: &Speech,
    ) -> Result<Call<D::Connection>, NoCall> {
        let mut call = call(&self.caller, node, session).await?;
        let greeted = async {
            lines(&mut call, |line| speech.greeting(line)).await?;
            if let Some(question) = speech.question() {
                call.say(question.as_bytes()).await?;
                lines(&mut call, |line| speech.answer(line)).await?;
            }
            Ok(())
        };
        in_time(&self.host, GREETING_MAX, greeted).await?;
        node.works();
        Ok(call)
    }

    /// The login itself: its lines go back and forth until the verdict.
    async fn decide(
        &self,
        client: &mut (impl Accepted + Duplex),
        tongue: &mut Tongue,
        (index, mut call): (usize, Call<D::Connection>),
        speech: &Speech,
        login: Login,
    ) -> Outcome<D::Connection> {
        let node = &self.nodes.all()[index];
        let (mut next, is_exchange) = match &login {
            Login::Plain(credentials) => (speech.plain(credentials).into_bytes(), false),
            Login::Scram { first, .. } => (speech.scram(first).into_bytes(), true),
        };
        let mut is_cancelled = false;
        for _ in 0..CHALLENGES_MAX {
            let asked = async {
                call.say(&next).await?;
                verdict(&mut call, speech).await
            };
            let (heard, said) = match in_time(&self.host, VERDICT_MAX, asked).await {
                Ok(answer) => answer,
                Err(no) => return self.no_call(node, no),
            };
            match heard {
                Heard::Done => {
                    let passed = Passed::to(&self.nodes, index, speech.protocol);
                    return Outcome::Granted(said, call, passed);
                }
                Heard::Refused if is_cancelled => return Outcome::Cancelled(said),
                Heard::Refused => {
                    node.refused.fetch_add(1, Relaxed);
                    return Outcome::Refused;
                }
                Heard::Challenge if is_exchange && !is_cancelled => {
                    if let Err(fault) = client.send(&said).await {
                        return Outcome::Over(fault);
                    }
                    match self.response(client, tongue, speech).await {
                        Ok(response) => next = response,
                        Err(fault) => return Outcome::Over(fault),
                    }
                    is_cancelled = speech.is_cancel(&next);
                }
                Heard::Challenge | Heard::More | Heard::Later => {
                    return self.no_call(node, NoCall::Later("it puts the login off"));
                }
            }
        }
        self.no_call(node, NoCall::Fails("its challenges do not end".to_owned()))
    }

    /// The client's next response, and no byte behind it. Each byte of it would start the wait for the next again: all of it has one end.
    async fn response(
        &self,
        client: &mut (impl Accepted + Duplex),
        tongue: &mut Tongue,
        speech: &Speech,
    ) -> Result<Vec<u8>, ConnectionFault> {
        let whole = async {
            loop {
                // until it is whole, or too long
                let input = tongue.input();
                if let Some(bytes) = speech.response(input) {
                    return Ok(input.drain(..bytes).collect());
                }
                if input.len() > LINE_BYTES_MAX {
                    return Err(ConnectionFault::Closed);
                }
                client.receive(input).await?;
            }
        };
        let whole = self.host.within(RESPONSE_MAX, whole).await;
        whole.unwrap_or(Err(ConnectionFault::TimedOut))
    }

    /// From the storage node's OK to the end. `Ok`: the last words, where a line of ours can follow.
    async fn pass_on(
        &self,
        protocol: Protocol,
        client: &mut (impl Accepted + Duplex),
        said: Vec<u8>,
        up: Vec<u8>,
        call: Call<D::Connection>,
        passed: Passed,
    ) -> Result<Vec<u8>, ConnectionFault> {
        let Call {
            connection: mut storage,
            input,
        } = call;
        let down = [said, input].concat();
        let ended = pass(&self.host, client, &mut storage, down, up).await;
        let node = passed.node();
        let words = |why: Why, at_line: bool| match at_line {
            true => last_words(protocol, why),
            false => Vec::new(),
        };
        match ended {
            Ended::Said => Ok(Vec::new()),
            Ended::ClientGone => Err(ConnectionFault::Closed),
            Ended::Silent => Ok(words(Why::Silent, true)),
            Ended::Stopping { at_line } => Ok(words(Why::Stopping, at_line)),
            Ended::Broken { why, at_line } => {
                node.broken.fetch_add(1, Relaxed);
                tracing::info!(node = %node.label(), why, "the storage node ended a session in the middle");
                Ok(words(Why::NodeGone, at_line))
            }
        }
    }
}

/// How long a client may say nothing before its login.
fn silence(protocol: Protocol) -> Duration {
    match protocol {
        Protocol::Submission => SILENCE_OF_SENDER_MAX,
        Protocol::Imap | Protocol::Pop3 | Protocol::Sieve => SILENCE_BEFORE_LOGIN_MAX,
    }
}

/// Reads lines until they say more than that more follow.
async fn lines<C: runtime::Connection>(
    call: &mut Call<C>,
    meaning: impl Fn(&[u8]) -> Heard,
) -> Result<(), NoCall> {
    for _ in 0..LINES_MAX {
        let line = call.line().await?;
        match meaning(&line) {
            Heard::More => {}
            Heard::Done => return Ok(()),
            Heard::Challenge | Heard::Refused | Heard::Later => {
                return Err(NoCall::Later("it greets with a refusal"));
            }
        }
    }
    Err(NoCall::Fails("its greeting does not end".to_owned()))
}

/// The storage node's turn in a login: its lines up to one that means something, and what that is.
async fn verdict<C: runtime::Connection>(
    call: &mut Call<C>,
    speech: &Speech,
) -> Result<(Heard, Vec<u8>), NoCall> {
    let mut said = Vec::new();
    for _ in 0..LINES_MAX {
        let line = call.line().await?;
        let heard = speech.verdict(&line);
        said.extend_from_slice(&line);
        if heard != Heard::More {
            return Ok((heard, said));
        }
    }
    Err(NoCall::Fails("its answer does not end".to_owned()))
}

/// Sends `out` and clears it; nothing is sent where it is empty.
async fn flush(
    out: &mut Vec<u8>,
    client: &mut (impl Accepted + Duplex),
) -> Result<(), ConnectionFault> {
    if !out.is_empty() {
        client.send(out).await?;
        *out = Vec::new();
    }
    Ok(())
}
