//! One conversation as a state machine (RFC 1939 §3): which command is allowed when, logins, lists, and marks of deletion.
//!
//! Bytes go into `input`; `step` gives what is to be done. What it can answer itself it writes to `out`; what needs an account or the
//! bytes of a message comes out as an `Event`, and the caller reports the outcome (`opened`, `refused`, `removed`).

mod login;

use sasl::bearer::Bearer;
use sasl::scram::Proved;
use sasl::{Credentials, Exchange, Mechanism, Offer};

use mail::Uid;

use crate::command::{self, Command, Fault};
use crate::limits::*;
use crate::maildrop::Maildrop;
use crate::reader::{Reader, TooLong};
use crate::reply::Reply;

/// RFC 1939 §3: which commands are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Before the login.
    Authorization,
    /// The maildrop is open.
    Transaction,
    /// After QUIT, or a last refusal: nothing more is answered.
    Over,
}

/// What the operator allows on this listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// STLS can be had.
    pub tls_offered: bool,
    /// Passwords may be sent without TLS (loopback in trial mode).
    pub login_without_tls: bool,
}

/// What the caller does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Send what is in `out`, then receive more.
    Wait,
    /// Send what is in `out` and clear it: there is more to do than it should hold the replies to.
    Flush,
    /// Check these, open the maildrop, and call `opened` or `refused`.
    LogIn(Credentials),
    /// SCRAM: look for the keys of this user, and call `keys_found`, or `login_deferred`.
    FindKeys(Vec<u8>),
    /// SCRAM is over: as `LogIn`.
    Proved(Proved),
    /// A token of OAuth: call `opened`, or `token_refused`, or `login_deferred`.
    CheckToken(Bearer),
    /// EXTERNAL: whether the client's certificate is this user's, or, with `None`, whose it is: as `LogIn`.
    CheckCertificate(Option<Vec<u8>>),
    /// +OK is in `out`: send it, shake hands, call `tls_started`.
    StartTls,
    /// Send the message through `wire`, behind `put_announced`; or write a refusal.
    Send(Retrieval),
    /// QUIT: remove these messages, all of them or none, and call `removed`.
    Remove(Vec<Uid>),
    /// Send what is in `out` and close.
    Close,
}

/// A message that the client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retrieval {
    pub uid: Uid,
    /// Its size, as LIST has it.
    pub octets: u32,
    /// TOP: lines of its body. `None`: RETR, all of it.
    pub lines: Option<u32>,
}

impl Retrieval {
    /// +OK before the message.
    pub fn put_announced(&self, out: &mut Vec<u8>) {
        match self.lines {
            Some(_) => Reply::TOP.put(out),
            None => put(out, &format!("+OK {} octets\r\n", self.octets)),
        }
    }
}

/// What the next line is.
enum Expect {
    Command,
    /// The answer to a challenge of AUTH.
    Response(Exchange),
    /// The caller owes keys.
    Keys(Exchange),
}

/// A list that is being written.
#[derive(Debug, Clone, Copy)]
struct Listing {
    of: Of,
    next: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Sizes,
    UniqueIds,
}

/// One conversation, from the greeting to QUIT.
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
    /// USER, until PASS.
    user: Option<Vec<u8>>,
    /// From the login on.
    maildrop: Option<Maildrop>,
    listing: Option<Listing>,
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
            state: State::Authorization,
            tls,
            offer: Offer::default(),
            mechanism: "",
            expect: Expect::Command,
            user: None,
            maildrop: None,
            listing: None,
            bad_commands: 0,
            login_failures: 0,
        }
    }

    /// The greeting. Without a timestamp there is no APOP, which needs passwords in the clear at rest.
    pub fn greet(&self, out: &mut Vec<u8>) {
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
            let event = match self.listing {
                Some(listing) => self.list_more(listing, out),
                None => self.next_line(out),
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    fn next_line(&mut self, out: &mut Vec<u8>) -> Option<Event> {
        let bytes_max = match self.expect {
            Expect::Command => LINE_BYTES_MAX,
            Expect::Response(_) => SASL_LINE_BYTES_MAX,
            Expect::Keys(_) => panic!("step while keys are owed"),
        };
        let line = match self.reader.line(bytes_max) {
            Ok(None) => return Some(Event::Wait),
            Ok(Some(line)) => line.to_vec(),
            Err(TooLong) => return Some(self.end(Reply::LINE_TOO_LONG, out)),
        };
        match std::mem::replace(&mut self.expect, Expect::Command) {
            Expect::Response(exchange) => self.on_response(exchange, &line, out),
            Expect::Keys(_) => unreachable!("there is no line for it"),
            Expect::Command => match command::parse(&line) {
                Ok(command) => self.on_command(command, out),
                Err(Fault::Unknown) => self.refuse(Reply::UNKNOWN, out),
                Err(Fault::Arguments) => self.refuse(Reply::ARGUMENTS, out),
            },
        }
    }

    /// RFC 1939 §3, and for each extension its own section: may this command be used now?
    fn on_command(&mut self, command: Command<'_>, out: &mut Vec<u8>) -> Option<Event> {
        use Command as C;
        let is_for_login = matches!(
            command,
            C::User(_) | C::Pass(_) | C::Auth { .. } | C::Stls | C::Utf8
        );
        let is_for_both = matches!(command, C::Capa | C::Lang(_) | C::Quit);
        match self.state {
            State::Transaction if is_for_login => {
                return self.refuse(Reply::LOGGED_IN_ALREADY, out);
            }
            State::Authorization if !is_for_login && !is_for_both => {
                return self.refuse(Reply::LOG_IN_FIRST, out);
            }
            _ => {}
        }
        match command {
            C::User(user) => self.on_user(user, out),
            C::Pass(password) => self.on_pass(password, out),
            C::Auth { mechanism, initial } => self.on_auth(mechanism, initial, out),
            C::Stls => self.on_stls(out),
            // RFC 6856 §2: messages and replies are sent as they are anyway.
            C::Utf8 => answer(Reply::UTF8, out),
            C::Capa => self.on_capa(out),
            C::Lang(language) => self.on_lang(language, out),
            C::Quit => self.on_quit(out),
            C::Noop => answer(Reply::NOOP, out),
            command => self.on_message_command(command, out),
        }
    }

    fn on_message_command(&mut self, command: Command<'_>, out: &mut Vec<u8>) -> Option<Event> {
        use Command as C;
        let maildrop = self.maildrop.as_mut();
        let maildrop = maildrop.expect("a maildrop is open in the TRANSACTION state");
        match command {
            C::Stat => {
                let left = maildrop.left();
                put(out, &format!("+OK {} {}\r\n", left.messages, left.octets));
                None
            }
            C::Rset => {
                maildrop.reset();
                answer(Reply::RESET, out)
            }
            C::Dele(number) => match maildrop.delete(number) {
                true => answer(Reply::DELETED, out),
                false => answer(Reply::NO_MESSAGE, out),
            },
            C::List(None) => {
                let left = maildrop.left();
                let line = format!(
                    "+OK {} messages ({} octets)\r\n",
                    left.messages, left.octets
                );
                put(out, &line);
                self.begin_list(Of::Sizes)
            }
            C::Uidl(None) => {
                Reply::UNIQUE_IDS.put(out);
                self.begin_list(Of::UniqueIds)
            }
            C::List(Some(number)) => match maildrop.message(number) {
                Some((_, octets)) => {
                    put(out, &format!("+OK {number} {octets}\r\n"));
                    None
                }
                None => answer(Reply::NO_MESSAGE, out),
            },
            C::Uidl(Some(number)) => match maildrop.message(number) {
                Some((uid, _)) => {
                    let unique_id = maildrop.unique_id(uid);
                    put(out, &format!("+OK {number} {unique_id}\r\n"));
                    None
                }
                None => answer(Reply::NO_MESSAGE, out),
            },
            C::Retr(number) => self.on_retrieve(number, None, out),
            C::Top { number, lines } => self.on_retrieve(number, Some(lines), out),
            _ => unreachable!("`on_command` answers the others"),
        }
    }

    fn on_retrieve(&mut self, number: u32, lines: Option<u32>, out: &mut Vec<u8>) -> Option<Event> {
        let found = self.maildrop.as_ref();
        match found.and_then(|maildrop| maildrop.message(number)) {
            Some((uid, octets)) => Some(Event::Send(Retrieval { uid, octets, lines })),
            None => answer(Reply::NO_MESSAGE, out),
        }
    }

    fn begin_list(&mut self, of: Of) -> Option<Event> {
        self.listing = Some(Listing { of, next: 1 });
        None
    }

    /// Some of a list, so that no list of a large maildrop is ever in memory as text.
    fn list_more(&mut self, listing: Listing, out: &mut Vec<u8>) -> Option<Event> {
        let maildrop = self.maildrop.as_ref();
        let maildrop = maildrop.expect("a list is of an open maildrop");
        let mut next = listing.next;
        self.listing = loop {
            // until there is enough to send, or no more to list
            if out.len() > REPLIES_BYTES_MAX {
                break Some(Listing { next, ..listing });
            }
            let Some((number, uid, octets)) = maildrop.next(next) else {
                put(out, ".\r\n");
                break None;
            };
            let line = match listing.of {
                Of::Sizes => format!("{number} {octets}\r\n"),
                Of::UniqueIds => format!("{number} {}\r\n", maildrop.unique_id(uid)),
            };
            put(out, &line);
            next = number + 1;
        };
        None
    }

    /// RFC 2449 §5, and for each capability its own section.
    fn on_capa(&self, out: &mut Vec<u8>) -> Option<Event> {
        Reply::CAPABILITIES.put(out);
        put(
            out,
            "TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nUTF8\r\nLANG\r\n",
        );
        if self.may_log_in() {
            let mechanisms: Vec<_> = self.offer.mechanisms().map(Mechanism::name).collect();
            put(out, &format!("USER\r\nSASL {}\r\n", mechanisms.join(" ")));
        }
        if self.state == State::Authorization && self.policy.tls_offered && !self.tls {
            put(out, "STLS\r\n");
        }
        put(out, "IMPLEMENTATION Ringpost\r\n.\r\n");
        None
    }

    /// RFC 6856 §3: the replies are English, which is the default language too.
    fn on_lang(&mut self, language: Option<&str>, out: &mut Vec<u8>) -> Option<Event> {
        let Some(language) = language else {
            Reply::LANGUAGES.put(out);
            put(out, "en English\r\n.\r\n");
            return None;
        };
        let is_ours = ["en", "i-default", "*"]
            .iter()
            .any(|ours| ours.eq_ignore_ascii_case(language));
        answer(
            if is_ours {
                Reply::LANGUAGE
            } else {
                Reply::NO_LANGUAGE
            },
            out,
        )
    }

    fn on_quit(&mut self, out: &mut Vec<u8>) -> Option<Event> {
        let deleted = self.maildrop.as_ref().map(Maildrop::deleted);
        match deleted.filter(|uids| !uids.is_empty()) {
            Some(uids) => {
                // RFC 1939 §6 UPDATE: nothing but the removal follows.
                self.maildrop = None;
                self.reader.clear();
                Some(Event::Remove(uids))
            }
            None => Some(self.end(Reply::BYE, out)),
        }
    }

    /// The outcome of `Event::Remove`: the last reply.
    pub fn removed(&mut self, outcome: Result<(), Reply>, out: &mut Vec<u8>) {
        self.end(outcome.err().unwrap_or(Reply::BYE), out);
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
        self.maildrop = None;
        self.reader.clear();
        Event::Close
    }
}

/// Writes a reply that is all of the answer.
fn answer(reply: Reply, out: &mut Vec<u8>) -> Option<Event> {
    reply.put(out);
    None
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}
