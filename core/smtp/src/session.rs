//! The receiver's side of one conversation (RFC 5321; LMTP: RFC 2033) as a pure state machine.
//!
//! Between calls: `state` says what may come next, `transaction` what the peer has sent since MAIL. `step` reads input, appends
//! replies, and stops where the caller must act; the caller performs the `Action`, answers by the method named
//! there, and steps again. Replies gather in `output`; the caller sends them when `step` wants input and on `StartTls` and
//! `Close`, which are the synchronisation points of RFC 2920 §3.2.

mod auth;
mod commands;
mod line;
mod transfer;
mod trust;

use std::sync::Arc;

use sasl::bearer::Bearer;
use sasl::scram::Proved;
use sasl::{Credentials, Exchange, Offer};

use crate::command::Rcpt;
use crate::content::Content;
use crate::envelope::{ClaimedHello, Envelope, Message, Recipient};
use crate::limits::Limits;
use crate::path::{ForwardPath, ReversePath};
use crate::reply::{Refusal, Reply, write_greeting};
use crate::xclient::Forwarded;

use line::{Line, find_crlf, split_line};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// RFC 5321: one reply for all recipients.
    Smtp,
    /// One reply for each recipient after the content; LHLO instead of EHLO.
    Lmtp,
}

/// Whose mail a listener takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// From other servers, for people of ours (RFC 5321).
    Exchange,
    /// From people of ours, who log in first, for anybody (RFC 6409). Offers AUTH and DSN.
    Submission {
        /// Passwords are taken without TLS: on loopback, in trial mode.
        login_without_tls: bool,
    },
}

/// What all sessions of a listener share.
#[derive(Debug, Clone)]
pub struct Config {
    /// SMTP or LMTP.
    pub role: Role,
    /// Whose mail it takes.
    pub service: Service,
    /// Our name, in the greeting. A domain, at most 255 bytes.
    pub hostname: String,
    /// How much of everything a peer may send.
    pub limits: Limits,
    /// Offer STARTTLS.
    pub tls_available: bool,
    /// Refuse MAIL before TLS.
    pub tls_required: bool,
}

/// What the caller does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<R> {
    /// All input is used up, but for the `consumed` count a start of a line: send the output, receive more, step again.
    NeedInput,
    /// On a submission port: check who this is and answer by `login_verdict`.
    CheckLogin(Credentials),
    /// On a submission port, SCRAM: look for the keys of this user and answer by `keys_found`, or by `login_verdict` with a refusal.
    FindKeys(Vec<u8>),
    /// SCRAM is over: as `CheckLogin`.
    Proved(Proved),
    /// A token of OAuth: check it and answer by `login_verdict`, or by `token_refused`.
    CheckToken(Bearer),
    /// EXTERNAL: whether the client's certificate is this user's, or, with `None`, whose it is: as `CheckLogin`.
    CheckCertificate(Option<Vec<u8>>),
    /// On a submission port: look whether the user may send as `Session::sender` and answer by `sender_verdict`.
    CheckSender,
    /// Look up `Session::recipient` and answer by `recipient_verdict`.
    CheckRecipient,
    /// Content is about to begin: answer by `begin_content` with a buffer to append it to (trace fields in it already), or by
    /// `refuse_content`. `content_reserve_bytes` says how much room to make.
    BeginContent,
    /// A trusted peer speaks for this client from now on: decide about it, and answer by `forwarded` or `close`.
    Forwarded(Forwarded),
    /// Send the output, forget all input not yet given to `step` (RFC 3207 §4.2), do the handshake, call `tls_started`.
    StartTls,
    /// Content is complete: make it durable, then answer by `outcome`.
    Message(Message<R>),
    /// Send the output and close.
    Close,
}

#[derive(Debug)]
enum State {
    /// Commands come. `TooLong` while the rest of an overlong line is skipped.
    Command,
    /// The rest of a line that was too long is thrown away up to its end.
    SkipLine,
    /// A response of the client to our challenge comes.
    Auth(Exchange),
    /// The caller owes keys for SCRAM, or a verdict on a token.
    Keys(Exchange),
    /// The caller owes a verdict on who this is.
    Login,
    /// The caller owes a decision about the client that a proxy speaks for.
    Forwarded,
    /// The caller owes a verdict on the sender of the open transaction.
    Sender,
    /// The caller owes a verdict on this recipient.
    Recipient(Rcpt),
    /// The caller owes a buffer.
    Begin(Next),
    /// Mail data, by dots.
    Data(Content),
    /// A chunk, `left` bytes of it to come.
    Chunk { left: u64, last: bool },
    /// A chunk that is discarded; `refusal` is the reply at its end.
    SkipChunk {
        left: u64,
        refusal: Refusal,
        replies: usize,
    },
    /// The caller owes an outcome for this many recipients.
    Outcome(usize),
    /// The conversation is over.
    Closed,
}

/// How the content comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// After DATA: up to a line with a dot.
    Data,
    /// BDAT (RFC 3030): `bytes` octets, and whether they are the last.
    Chunk { bytes: u64, last: bool },
}

/// A mail transaction (RFC 5321 §3.3): from MAIL to the end of the content.
#[derive(Debug)]
struct Transaction<R> {
    /// Sender and recipients so far.
    envelope: Envelope<R>,
    /// XDELIVERY of MAIL.
    delivery: Option<Box<str>>,
    /// Content of the chunks so far.
    chunks: Option<Content>,
}

/// `R` is the route of a recipient: whatever the caller's look-up found, handed back with the message. The session never looks into it.
#[derive(Debug)]
pub struct Session<R> {
    /// What the listener's sessions share.
    config: Arc<Config>,
    /// The connection has TLS.
    tls: bool,
    /// The last HELO, EHLO or LHLO.
    hello: Option<ClaimedHello>,
    /// SASL mechanisms beside PLAIN and LOGIN, and the one of the last AUTH.
    offer: Offer,
    mechanism: &'static str,
    /// On a submission port: AUTH succeeded.
    logged_in: bool,
    /// May use XCLIENT.
    trusted: bool,
    /// The peer is another zone of ours, with a proved certificate.
    is_zone: bool,
    /// The HELO of XCLIENT.
    forwarded_hello: Option<Box<str>>,
    /// Since MAIL; `None`: no transaction is open.
    transaction: Option<Transaction<R>>,
    /// What may come next.
    state: State,
    /// Messages accepted on this connection.
    messages: u64,
    /// AUTH that failed, on this connection.
    login_failures: u32,
    // Since the last accepted message:
    /// Commands that were refused.
    errors: u32,
    /// Recipients that were refused: a peer that guesses addresses ends with `TooManyErrors`.
    refused_recipients: u32,
    /// Recipients past `recipients_max`.
    excess_recipients: u32,
    /// Commands that send no mail (NOOP, RSET, VRFY): they keep a connection open and cost work.
    idle_commands: u32,
    /// Since the greeting; see `faults`.
    faults: u32,
    /// What the next refusal by the caller says behind its text.
    detail: Option<Box<str>>,
}

impl<R> Session<R> {
    /// Greets. `tls`: the connection began with TLS (implicit TLS ports).
    pub fn new(config: Arc<Config>, tls: bool, output: &mut Vec<u8>) -> Session<R> {
        greet(&config, output);
        Session {
            config,
            tls,
            hello: None,
            offer: Offer::default(),
            mechanism: "",
            logged_in: false,
            trusted: false,
            is_zone: false,
            forwarded_hello: None,
            transaction: None,
            state: State::Command,
            messages: 0,
            login_failures: 0,
            errors: 0,
            refused_recipients: 0,
            excess_recipients: 0,
            idle_commands: 0,
            faults: 0,
            detail: None,
        }
    }

    /// The refusal that the caller answers with next says `detail` behind its text.
    pub fn explain(&mut self, detail: &str) {
        self.detail = Some(detail.into());
    }

    /// Reads `input` up to the next thing that the caller must do. Answers how many bytes are used up and what to do.
    ///
    /// Bytes not used up come again, with more behind them; there are fewer than `COMMAND_LINE_BYTES_MAX` of them (of `AUTH_LINE_BYTES_MAX` in a login) when
    /// the action is `NeedInput`. Stops the process when called while an answer is owed.
    pub fn step(&mut self, input: &[u8], output: &mut Vec<u8>) -> (usize, Action<R>) {
        let mut at = 0;
        loop {
            // Each turn uses up input, changes to a state that does, or returns.
            let rest = &input[at..];
            match &mut self.state {
                State::Command | State::Auth(_) => {
                    match split_line(rest, self.line_bytes_max(rest)) {
                        Line::Whole(line, bytes) => {
                            at += bytes;
                            match self.on_line(line, output) {
                                // RFC 3207 §4.2: what was pipelined behind STARTTLS was not sent under TLS.
                                Some(Action::StartTls) => return (input.len(), Action::StartTls),
                                Some(action) => return (at, action),
                                None => {}
                            }
                        }
                        Line::Partial => return (at, Action::NeedInput),
                        Line::TooLong => self.state = State::SkipLine,
                    }
                }
                State::SkipLine => match find_crlf(rest) {
                    Some(end) => {
                        at += end + 2;
                        self.state = State::Command;
                        if let Some(action) = self.refuse(Refusal::LineTooLong, output) {
                            return (at, action);
                        }
                    }
                    // A CR at the end may be half of the CRLF.
                    None => {
                        return (
                            input.len() - usize::from(rest.ends_with(b"\r")),
                            Action::NeedInput,
                        );
                    }
                },
                State::Data(content) => {
                    let (bytes, ended) = content.take(rest);
                    at += bytes;
                    if !ended {
                        return (at, Action::NeedInput);
                    }
                    let State::Data(content) = std::mem::replace(&mut self.state, State::Command)
                    else {
                        unreachable!()
                    };
                    if let Some(action) = self.end_content(content, output) {
                        return (at, action);
                    }
                }
                State::Chunk { left, last } => {
                    let bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    let last = *last;
                    *left -= bytes as u64;
                    let done = *left == 0;
                    at += bytes;
                    let content = self
                        .transaction
                        .as_mut()
                        .and_then(|transaction| transaction.chunks.as_mut())
                        .expect("a chunk has its content");
                    content.take(&rest[..bytes]);
                    if !done {
                        return (at, Action::NeedInput);
                    }
                    if let Some(action) = self.end_chunk(last, output) {
                        return (at, action);
                    }
                }
                State::SkipChunk {
                    left,
                    refusal,
                    replies,
                } => {
                    let bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= bytes as u64;
                    at += bytes;
                    if *left > 0 {
                        return (at, Action::NeedInput);
                    }
                    let (refusal, replies) = (*refusal, *replies);
                    self.state = State::Command;
                    if let Some(action) = self.refuse_all(refusal, replies, output) {
                        return (at, action);
                    }
                }
                State::Closed => return (input.len(), Action::Close),
                State::Login
                | State::Keys(_)
                | State::Forwarded
                | State::Sender
                | State::Recipient(_)
                | State::Begin(_)
                | State::Outcome(_) => {
                    panic!("step while an answer is owed")
                }
            }
        }
    }

    /// Commands refused since the greeting that no honest sender sends (`Refusal::is_fault`).
    pub fn faults(&self) -> u32 {
        self.faults
    }

    /// The sender to be checked: between `CheckSender` and `sender_verdict`.
    pub fn sender(&self) -> &ReversePath {
        assert!(
            matches!(self.state, State::Sender),
            "no sender is to be checked"
        );
        let transaction = self.transaction.as_ref();
        &transaction
            .expect("MAIL has its transaction")
            .envelope
            .reverse_path
    }

    /// `Err`: the transaction does not begin.
    pub fn sender_verdict(&mut self, verdict: Result<(), Refusal>, output: &mut Vec<u8>) {
        assert!(
            matches!(self.state, State::Sender),
            "no sender is to be checked"
        );
        self.state = State::Command;
        match verdict {
            Ok(()) => Reply::SENDER_OK.write(output),
            Err(refusal) => {
                self.transaction = None;
                // A close that comes of it is seen by the next `step`.
                let _ = self.refuse(refusal, output);
            }
        }
    }

    /// The recipient to be checked: between `CheckRecipient` and `recipient_verdict`.
    pub fn recipient(&self) -> &ForwardPath {
        match &self.state {
            State::Recipient(rcpt) => &rcpt.path,
            _ => panic!("no recipient is to be checked"),
        }
    }

    /// `Ok`: accepted, and the route stands beside it in the envelope.
    pub fn recipient_verdict(&mut self, verdict: Result<R, Refusal>, output: &mut Vec<u8>) {
        let State::Recipient(rcpt) = std::mem::replace(&mut self.state, State::Command) else {
            panic!("no recipient is to be checked")
        };
        match verdict {
            Ok(route) => {
                let transaction = self.transaction.as_mut().expect("RCPT has its transaction");
                transaction.envelope.recipients.push(Recipient {
                    path: rcpt.path,
                    notify: rcpt.notify,
                    original: rcpt.original,
                    route,
                });
                Reply::RECIPIENT_OK.write(output);
            }
            Err(refusal) => {
                let detail = self.detail.take().unwrap_or_default();
                self.count_refused_recipient(refusal, &detail, output);
            }
        }
    }

    /// As `recipient_verdict` with an `Err`; `detail` is added to the reply's text.
    pub fn refuse_recipient(&mut self, refusal: Refusal, detail: &str, output: &mut Vec<u8>) {
        assert!(
            matches!(self.state, State::Recipient(_)),
            "no recipient is to be checked"
        );
        self.state = State::Command;
        self.count_refused_recipient(refusal, detail, output);
    }

    /// Counts a refused recipient, and ends the conversation at the bound. Another zone of ours has none: it names the recipients of strangers, and a
    /// conversation that ended would look to it as if this node had failed.
    fn count_refused_recipient(&mut self, refusal: Refusal, detail: &str, output: &mut Vec<u8>) {
        self.refused_recipients += 1;
        refusal.reply().write_with(output, detail);
        // RFC 5321 §3.8: after a 421 the connection ends.
        if refusal.reply().code == 421 {
            self.state = State::Closed;
        } else if !self.is_zone
            && self.refused_recipients >= self.config.limits.refused_recipients_max
        {
            self.close(Refusal::TooManyErrors, output);
        }
    }

    /// The transaction so far.
    pub fn envelope(&self) -> Option<&Envelope<R>> {
        self.transaction
            .as_ref()
            .map(|transaction| &transaction.envelope)
    }

    /// What the peer called itself last.
    pub fn hello(&self) -> Option<&ClaimedHello> {
        self.hello.as_ref()
    }

    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// RFC 3848 and RFC 6531 §4.3: the word after `with` in Received.
    pub fn with_protocol(&self) -> &'static str {
        let extended = self.hello.as_ref().is_some_and(|hello| hello.extended);
        let utf8 = self.envelope().is_some_and(|envelope| envelope.smtputf8);
        match (self.config.role, utf8, self.tls, self.logged_in) {
            (Role::Lmtp, false, false, _) => "LMTP",
            (Role::Lmtp, false, true, _) => "LMTPS",
            (Role::Lmtp, true, false, _) => "UTF8LMTP",
            (Role::Lmtp, true, true, _) => "UTF8LMTPS",
            (Role::Smtp, true, false, false) => "UTF8SMTP",
            (Role::Smtp, true, true, false) => "UTF8SMTPS",
            (Role::Smtp, true, false, true) => "UTF8SMTPA",
            (Role::Smtp, true, true, true) => "UTF8SMTPSA",
            (Role::Smtp, false, true, false) => "ESMTPS",
            (Role::Smtp, false, false, true) => "ESMTPA",
            (Role::Smtp, false, true, true) => "ESMTPSA",
            (Role::Smtp, false, false, false) if extended => "ESMTP",
            (Role::Smtp, false, false, false) => "SMTP",
        }
    }

    /// Answers `Message`. SMTP: exactly one outcome. LMTP: one for each recipient of the envelope, in order.
    /// `Ok(id)` goes into the reply.
    pub fn outcome(&mut self, outcomes: &[Result<&str, Refusal>], output: &mut Vec<u8>) {
        let State::Outcome(recipients) = std::mem::replace(&mut self.state, State::Command) else {
            panic!("no outcome is owed")
        };
        let expected = match self.config.role {
            Role::Smtp => 1,
            Role::Lmtp => recipients,
        };
        assert_eq!(
            outcomes.len(),
            expected,
            "one reply for SMTP, one for each recipient for LMTP"
        );
        for outcome in outcomes {
            match outcome {
                Ok(id) => Reply::OK.write_with(output, id),
                Err(refusal) => self.write_explained(*refusal, output),
            }
        }
        if outcomes.iter().any(Result::is_ok) {
            self.messages += 1;
            self.errors = 0;
            self.refused_recipients = 0;
            self.excess_recipients = 0;
            self.idle_commands = 0;
        }
    }

    /// The handshake is done: everything received before is discarded (RFC 3207 §4.2).
    pub fn tls_started(&mut self) {
        self.tls = true;
        self.hello = None;
        self.logged_in = false;
        self.transaction = None;
        self.state = State::Command;
    }

    /// Ends the conversation from our side: time-out, shutting down. Writes `refusal` (a 421) unless it would be taken for part of an answer
    /// the peer is not waiting for yet.
    pub fn close(&mut self, refusal: Refusal, output: &mut Vec<u8>) {
        if !matches!(self.state, State::Closed) {
            refusal.reply().write(output);
            self.state = State::Closed;
        }
    }

    /// Writes a refusal with what `explain` left, once.
    fn write_explained(&mut self, refusal: Refusal, output: &mut Vec<u8>) {
        let detail = self.detail.take().unwrap_or_default();
        refusal.reply().write_with(output, &detail);
    }

    /// A refusal of content for `replies` recipients (LMTP), which counts as one error.
    fn refuse_all(
        &mut self,
        refusal: Refusal,
        replies: usize,
        output: &mut Vec<u8>,
    ) -> Option<Action<R>> {
        for _ in 1..replies {
            refusal.reply().write(output);
        }
        self.refuse(refusal, output)
    }

    /// Says no, counts it, and has enough at some point.
    fn refuse(&mut self, refusal: Refusal, output: &mut Vec<u8>) -> Option<Action<R>> {
        self.write_explained(refusal, output);
        self.errors += 1;
        self.faults = self.faults.saturating_add(u32::from(refusal.is_fault()));
        if self.errors < self.config.limits.errors_max {
            return None;
        }
        self.close(Refusal::TooManyErrors, output);
        Some(Action::Close)
    }

    /// A reply to a command that sends no mail, within their bound.
    fn idle(&mut self, reply: Reply, output: &mut Vec<u8>) -> Option<Action<R>> {
        let action = self.count_idle(output);
        if action.is_none() {
            reply.write(output);
        }
        action
    }

    /// Counts such a command; `Some`: there were too many, and the conversation ends.
    fn count_idle(&mut self, output: &mut Vec<u8>) -> Option<Action<R>> {
        self.idle_commands += 1;
        if self.idle_commands <= self.config.limits.idle_commands_max {
            return None;
        }
        self.close(Refusal::TooManyErrors, output);
        Some(Action::Close)
    }
}

/// The greeting (RFC 5321 §4.2): our name first, then the protocol.
fn greet(config: &Config, output: &mut Vec<u8>) {
    let protocol = match config.role {
        Role::Smtp => "ESMTP",
        Role::Lmtp => "LMTP",
    };
    write_greeting(output, &config.hostname, protocol);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_small() {
        assert!(
            size_of::<Session<u64>>() <= 512,
            "{}",
            size_of::<Session<u64>>()
        );
    }
}
