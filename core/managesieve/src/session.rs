//! One conversation as a state machine (RFC 5804 §1.4): which command is allowed when, logins, and what is asked of the account's scripts.
//!
//! Bytes go into `input`; `step` gives what is to be done. What it can answer itself it writes to `out`; what needs an account or its scripts
//! comes out as an `Event`, and the caller reports the outcome (`logged_in`, `login_refused`, `login_deferred`, `reserved`, `done`).

mod login;

use std::sync::Arc;

use sasl::bearer::Bearer;
use sasl::scram::Proved;
use sasl::{Credentials, Exchange, Mechanism, Offer};

use crate::command::{self, Command, Fault};
use crate::limits::*;
use crate::reader::{self, Reader, Taken, Word};
use crate::reply::{Reply, put_literal, put_string};

/// RFC 5804 §1.4: which commands are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Before the login.
    Unauthenticated,
    Authenticated,
    /// After LOGOUT, or a last refusal: nothing more is answered.
    Over,
}

/// What the operator allows on this listener, and what scripts may do.
#[derive(Debug, Clone)]
pub struct Policy {
    /// STARTTLS can be had.
    pub tls_offered: bool,
    /// Passwords may be sent without TLS (loopback in trial mode).
    pub login_without_tls: bool,
    /// Extensions of Sieve, separated by spaces (RFC 5804 §1.7 SIEVE).
    pub extensions: Arc<str>,
    /// Redirects of one message (RFC 5804 §1.7 MAXREDIRECTS).
    pub redirects_max: usize,
}

/// What the caller does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Send what is in `out`, then receive more.
    Wait,
    /// Send what is in `out` and clear it: there is more to do than it should hold the replies to.
    Flush,
    /// Check these, and call `logged_in`, `login_refused` or `login_deferred`.
    LogIn(Credentials),
    /// SCRAM: look for the keys of this user, and call `keys_found`, or `login_deferred`.
    FindKeys(Vec<u8>),
    /// SCRAM is over: as `LogIn`.
    Proved(Proved),
    /// A token of OAuth: call `logged_in`, or `token_refused`, or `login_deferred`.
    CheckToken(Bearer),
    /// EXTERNAL: whether the client's certificate is this user's, or, with `None`, whose it is: as `LogIn`.
    CheckCertificate(Option<Vec<u8>>),
    /// OK is in `out`: send it, shake hands, call `tls_started`.
    StartTls,
    /// A script of so many octets follows: find memory, and call `reserved`. It is needed until `Wait` comes and `holds_script` is false.
    Reserve(usize),
    /// Do this for the account, and call `done`.
    Perform(Request),
    /// UNAUTHENTICATE: the account is the session's no longer.
    Forget,
    /// Send what is in `out` and close.
    Close,
}

/// What is asked of the account's scripts. Names are of one spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    HaveSpace {
        name: String,
        bytes: u32,
    },
    /// The script is compiled first, and only a good one is stored.
    Put {
        name: String,
        text: Vec<u8>,
    },
    List,
    SetActive(Option<String>),
    Get(String),
    Delete(String),
    Rename {
        from: String,
        to: String,
    },
    /// Compiled, and not stored.
    Check(Vec<u8>),
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Of `List`: names, and which one is active.
    Listed(Vec<(String, bool)>),
    /// Of `Get`.
    Text(Arc<[u8]>),
    Refused(Reply),
    /// Of `Put` and `Check`: what is wrong with the script, for people.
    Invalid(String),
}

/// What the next command is.
enum Expect {
    Command,
    /// The answer to a challenge of AUTHENTICATE.
    Response(Exchange),
    /// The caller owes keys.
    Keys(Exchange),
}

/// One conversation, from the greeting to LOGOUT.
pub struct Session {
    reader: Reader,
    policy: Policy,
    state: State,
    /// The connection has TLS.
    tls: bool,
    /// SASL mechanisms beside PLAIN and LOGIN.
    offer: Offer,
    /// Of the last login that was tried.
    mechanism: &'static str,
    expect: Expect,
    /// As the client logged in.
    owner: String,
    /// What is said when the request under way is done.
    success: Option<Reply>,
    /// Past `BAD_COMMANDS_MAX` the connection is closed.
    bad_commands: u32,
    /// At `LOGIN_FAILURES_MAX` the connection is closed.
    login_failures: u32,
}

impl Session {
    /// `tls`: the connection began inside of TLS.
    pub fn new(policy: Policy, tls: bool) -> Session {
        Session {
            reader: Reader::default(),
            policy,
            state: State::Unauthenticated,
            tls,
            offer: Offer::default(),
            mechanism: "",
            expect: Expect::Command,
            owner: String::new(),
            success: None,
            bad_commands: 0,
            login_failures: 0,
        }
    }

    /// RFC 5804 §1.7: the capabilities are the greeting.
    pub fn greet(&self, out: &mut Vec<u8>) {
        self.put_capabilities(out);
        Reply::READY.put(out);
    }

    /// What has been reached.
    pub fn state(&self) -> State {
        self.state
    }

    /// Where received bytes are appended.
    pub fn input(&mut self) -> &mut Vec<u8> {
        self.reader.input()
    }

    /// Gives memory back before a long wait.
    pub fn rest(&mut self) {
        self.reader.rest();
    }

    /// The next thing to do. Call again after each event but `Wait`, which wants more input, and `Close`.
    pub fn step(&mut self, out: &mut Vec<u8>) -> Event {
        loop {
            // until the input is used up
            if self.state == State::Over {
                return Event::Close;
            }
            if out.len() > REPLIES_BYTES_MAX {
                return Event::Flush;
            }
            let takes_scripts = self.state == State::Authenticated;
            let event = match self.reader.next(takes_scripts) {
                Taken::More => Some(Event::Wait),
                Taken::Reserve(bytes) => Some(Event::Reserve(bytes)),
                Taken::Command(words) => self.on_words(words, out),
                Taken::Broken(fault) => {
                    self.expect = Expect::Command;
                    match fault {
                        reader::Fault::TooLarge => answer(Reply::TOO_LARGE, out),
                        reader::Fault::NoMemory => answer(Reply::NO_MEMORY, out),
                        reader::Fault::Words => self.refuse(Reply::ARGUMENTS, out),
                        reader::Fault::Syntax => self.refuse(Reply::SYNTAX, out),
                    }
                }
                Taken::Lost => Some(self.end(Reply::BAD_LITERAL, out)),
                Taken::TooLong => Some(self.end(Reply::TOO_LONG, out)),
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    /// The answer to `Event::Reserve`.
    pub fn reserved(&mut self, has_memory: bool) {
        self.reader.reserve(has_memory);
    }

    /// Memory that was reserved is still needed.
    pub fn holds_script(&self) -> bool {
        self.reader.has_long()
    }

    fn on_words(&mut self, words: Vec<Word>, out: &mut Vec<u8>) -> Option<Event> {
        match std::mem::replace(&mut self.expect, Expect::Command) {
            Expect::Response(exchange) => match &words[..] {
                [Word::Text(response)] => self.on_response(exchange, response, out),
                _ => self.refuse(Reply::BAD_RESPONSE, out),
            },
            Expect::Keys(_) => panic!("step while keys are owed"),
            Expect::Command => match command::parse(words) {
                Ok(command) => self.on_command(command, out),
                Err(Fault::Unknown) => self.refuse(Reply::UNKNOWN, out),
                Err(Fault::Arguments) => self.refuse(Reply::ARGUMENTS, out),
                Err(Fault::Name) => answer(Reply::BAD_NAME, out),
            },
        }
    }

    /// RFC 5804 §1.4 and §2: may this command be used now?
    fn on_command(&mut self, command: Command, out: &mut Vec<u8>) -> Option<Event> {
        use Command as C;
        let is_for_login = matches!(command, C::Authenticate { .. } | C::StartTls);
        let is_for_both = matches!(command, C::Logout | C::Capability | C::Noop(_));
        match self.state {
            State::Authenticated if is_for_login => {
                return self.refuse(Reply::LOGGED_IN_ALREADY, out);
            }
            State::Unauthenticated if matches!(command, C::Unauthenticate) => {
                return self.refuse(Reply::NOT_LOGGED_IN, out);
            }
            State::Unauthenticated if !is_for_login && !is_for_both => {
                return self.refuse(Reply::LOG_IN_FIRST, out);
            }
            _ => {}
        }
        let (request, success) = match command {
            C::Authenticate { mechanism, initial } => {
                return self.on_authenticate(&mechanism, initial.as_deref(), out);
            }
            C::StartTls => return self.on_starttls(out),
            C::Logout => return Some(self.end(Reply::BYE, out)),
            C::Capability => {
                self.put_capabilities(out);
                return answer(Reply::CAPABILITIES, out);
            }
            C::Noop(None) => return answer(Reply::NOOP, out),
            C::Noop(Some(tag)) => {
                // RFC 5804 §2.13: the client finds the text again behind the answers to what it sent before.
                out.extend_from_slice(b"OK (TAG ");
                put_string(&tag, out);
                out.extend_from_slice(b") \"NOOP completed\"\r\n");
                return None;
            }
            C::Unauthenticate => {
                self.state = State::Unauthenticated;
                self.owner = String::new();
                Reply::LOGGED_OUT.put(out);
                return Some(Event::Forget);
            }
            C::HaveSpace { name, bytes } => (Request::HaveSpace { name, bytes }, Reply::HAS_SPACE),
            C::PutScript { name, text } => (Request::Put { name, text }, Reply::STORED),
            C::ListScripts => (Request::List, Reply::LISTED),
            C::SetActive(name) => (Request::SetActive(name), Reply::ACTIVATED),
            C::GetScript(name) => (Request::Get(name), Reply::SENT),
            C::DeleteScript(name) => (Request::Delete(name), Reply::DELETED),
            C::RenameScript { from, to } => (Request::Rename { from, to }, Reply::RENAMED),
            C::CheckScript(text) => (Request::Check(text), Reply::VALID),
        };
        self.success = Some(success);
        Some(Event::Perform(request))
    }

    /// The outcome of `Event::Perform`.
    pub fn done(&mut self, outcome: Outcome, out: &mut Vec<u8>) {
        let success = self.success.take().expect("a request is under way");
        match outcome {
            Outcome::Done => success.put(out),
            Outcome::Listed(scripts) => {
                for (name, is_active) in scripts {
                    put_string(&name, out);
                    out.extend_from_slice(if is_active { b" ACTIVE\r\n" } else { b"\r\n" });
                }
                success.put(out);
            }
            Outcome::Text(text) => {
                put_literal(&text, out);
                out.extend_from_slice(b"\r\n");
                success.put(out);
            }
            Outcome::Refused(reply) => reply.put(out),
            Outcome::Invalid(why) => {
                out.extend_from_slice(b"NO ");
                put_string(&why, out);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// The client was silent too long (RFC 5804 §1.2: BYE says so).
    pub fn too_silent(&mut self, out: &mut Vec<u8>) {
        self.end(Reply::TOO_SILENT, out);
    }

    /// RFC 5804 §1.7, each on a line of its own.
    fn put_capabilities(&self, out: &mut Vec<u8>) {
        let mut put = |name: &str, value: &str| {
            put_string(name, out);
            if !value.is_empty() || name == "SASL" {
                out.push(b' ');
                put_string(value, out);
            }
            out.extend_from_slice(b"\r\n");
        };
        put("IMPLEMENTATION", "Ringpost");
        put("VERSION", "1.0");
        let mechanisms = match self.may_log_in() {
            true => {
                let names: Vec<_> = self.offer.mechanisms().map(Mechanism::name).collect();
                names.join(" ")
            }
            // §1.7: none are offered before TLS.
            false => String::new(),
        };
        put("SASL", &mechanisms);
        put("SIEVE", &self.policy.extensions);
        if self
            .policy
            .extensions
            .split(' ')
            .any(|name| name == "enotify")
        {
            put("NOTIFY", "mailto");
        }
        if self.policy.tls_offered && !self.tls {
            put("STARTTLS", "");
        }
        put("MAXREDIRECTS", &self.policy.redirects_max.to_string());
        put("LANGUAGE", "en");
        if self.state == State::Authenticated {
            put("OWNER", &self.owner);
        }
        put("UNAUTHENTICATE", "");
    }

    /// A command that makes no sense. `Some(Close)` after too many.
    fn refuse(&mut self, reply: Reply, out: &mut Vec<u8>) -> Option<Event> {
        self.bad_commands += 1;
        if self.bad_commands > BAD_COMMANDS_MAX {
            return Some(self.end(Reply::TOO_MANY_ERRORS, out));
        }
        answer(reply, out)
    }

    /// The last words.
    fn end(&mut self, reply: Reply, out: &mut Vec<u8>) -> Event {
        reply.put(out);
        self.state = State::Over;
        self.reader.clear();
        Event::Close
    }
}

/// Writes a reply that is all of the answer.
fn answer(reply: Reply, out: &mut Vec<u8>) -> Option<Event> {
    reply.put(out);
    None
}
