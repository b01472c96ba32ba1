//! One conversation as a state machine (RFC 9051 §3): which command is allowed when, capabilities, the dialogues of
//! AUTHENTICATE and IDLE, and every reply that needs no mailbox.
//!
//! Bytes go into `input`; `step` gives what is to be done. What it can answer itself it writes to `out`; what needs an account
//! or a mailbox comes out as an `Event`, and the caller reports the outcome (`logged_in`, `selected`, …). No sockets, no clock.

mod admit;
mod enable;
mod login;
mod more;

use sasl::bearer::Bearer;
use sasl::scram::Proved;
use sasl::{Exchange, Offer};

use crate::command::{Body, Command};
use crate::hide::Hidden;
use crate::limits::{
    APPEND_BYTES_MAX, BAD_COMMANDS_MAX, COMMAND_BYTES_BEFORE_LOGIN_MAX, COMMAND_BYTES_MAX,
    ID_COMMAND_BYTES_MAX, REPLIES_BYTES_MAX, SASL_LINE_BYTES_MAX,
};
use crate::parse::{self, Names, Refusal};
use crate::reader::{Bounds, Read, Reader};
use crate::respond::{Status, put, put_reply, put_untagged};

/// RFC 9051 §3: what has been reached; it decides which commands are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// After the greeting.
    NotAuthenticated,
    /// After a login, without an open mailbox.
    Authenticated,
    /// A mailbox is open; `read_only` after EXAMINE.
    Selected { read_only: bool },
    /// BYE is in `out`; every further command is refused.
    Logout,
}

/// What the operator allows on this listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// STARTTLS can be had.
    pub tls_offered: bool,
    /// Passwords may be sent without TLS (loopback in trial mode).
    pub login_without_tls: bool,
    /// The largest message of an APPEND, in bytes.
    pub append_bytes_max: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            tls_offered: true,
            login_without_tls: false,
            append_bytes_max: APPEND_BYTES_MAX,
        }
    }
}

/// What the caller does next.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// Send what is in `out`, then receive more.
    Wait,
    /// Send what is in `out` and clear it: there is more to do than it should hold the replies to.
    Flush,
    /// Check these and call `logged_in` or `login_refused`.
    LogIn {
        /// The tag that the answer gets.
        tag: Box<str>,
        /// The user name, as the client sent it.
        user: Vec<u8>,
        /// The password, as the client sent it.
        password: Vec<u8>,
    },
    /// SCRAM: look for the keys of this user, and call `keys_found`, or `login_deferred`.
    FindKeys {
        /// The tag that the answer gets, should there be no keys now.
        tag: Box<str>,
        user: Vec<u8>,
    },
    /// SCRAM is over: call `logged_in` or `login_refused`.
    Proved {
        /// The tag that the answer gets.
        tag: Box<str>,
        proved: Proved,
    },
    /// A token of OAuth: call `logged_in`, or `token_refused`, or `login_deferred`.
    CheckToken {
        /// The tag that the answer gets.
        tag: Box<str>,
        bearer: Bearer,
    },
    /// EXTERNAL: whether the client's certificate is this user's. Call `logged_in` or `login_refused`.
    CheckCertificate {
        /// The tag that the answer gets.
        tag: Box<str>,
        /// `None`: whose it is.
        user: Option<Vec<u8>>,
    },
    /// OK is in `out`: send it, shake hands, call `tls_started`.
    StartTls,
    /// COMPRESS: take memory for it and call `compressed` or `compression_refused`.
    Compress { tag: Box<str> },
    /// Allowed in this state; the caller answers it. `bytes` hold the message of an APPEND.
    Perform { command: Command, bytes: Vec<u8> },
    /// `+` is in `out`: report changes until `IdleEnded`.
    Idle,
    /// The client ended IDLE: report changes once more, then reply OK to `tag`.
    IdleEnded { tag: Box<str> },
    /// Send what is in `out` and close.
    Close,
}

/// What the next line is.
enum Expect {
    /// A command with its tag.
    Command,
    /// The answer to `+` of AUTHENTICATE.
    SaslResponse { tag: Box<str>, exchange: Exchange },
    /// The caller owes keys, or a verdict on a token.
    Keys { tag: Box<str>, exchange: Exchange },
    /// DONE, which ends IDLE.
    Done { tag: Box<str> },
}

/// One conversation, from the greeting to BYE.
pub struct Session {
    /// Gathers lines and literals into whole commands.
    reader: Reader,
    /// What the operator allows.
    policy: Policy,
    /// What has been reached.
    state: State,
    /// The connection has TLS.
    tls: bool,
    /// SASL mechanisms beside PLAIN.
    offer: Offer,
    /// Of the last login that was tried.
    mechanism: &'static str,
    /// What the next line is: it is a command except inside AUTHENTICATE and IDLE.
    expect: Expect,
    /// ENABLE IMAP4rev2 was given.
    rev2: bool,
    /// ENABLE UTF8=ACCEPT was given (RFC 6855).
    utf8: bool,
    /// The client gets modification sequences (RFC 7162 §3.1).
    condstore: bool,
    /// ENABLE QRESYNC was given (RFC 7162 §3.2.3).
    qresync: bool,
    /// ENABLE UIDONLY was given (RFC 9586 §3.1).
    uid_only: bool,
    /// BAD replies so far; past `BAD_COMMANDS_MAX` the connection is closed.
    bad_commands: u32,
    /// Refused logins so far; at `LOGIN_FAILURES_MAX` the connection is closed.
    login_failures: u32,
    /// See `take_saved_lost`.
    saved_lost: bool,
    /// COMPRESS has begun (RFC 4978).
    compressed: bool,
    /// What this client is not offered.
    hiding: Hidden,
    /// The URL of scripts (RFC 6785).
    sieve: Option<std::sync::Arc<str>>,
}

impl Session {
    /// `tls`: the connection began inside of TLS.
    pub fn new(policy: Policy, tls: bool) -> Session {
        Session {
            reader: Reader::default(),
            policy,
            state: State::NotAuthenticated,
            tls,
            offer: Offer::default(),
            mechanism: "",
            expect: Expect::Command,
            rev2: false,
            utf8: false,
            condstore: false,
            qresync: false,
            uid_only: false,
            bad_commands: 0,
            login_failures: 0,
            saved_lost: false,
            compressed: false,
            hiding: Hidden::default(),
            sieve: None,
        }
    }

    /// RFC 9051 §7.1: the greeting, with capabilities so that clients need not ask.
    pub fn greet(&self, out: &mut Vec<u8>) {
        put_reply(
            out,
            "*",
            Status::Ok,
            &format!("CAPABILITY {}", self.capabilities()),
            "Ringpost ready",
        );
    }

    /// What has been reached.
    pub fn state(&self) -> State {
        self.state
    }

    /// IMAP4rev2 was enabled: ESEARCH instead of SEARCH, no RECENT.
    pub fn is_rev2(&self) -> bool {
        self.rev2
    }

    /// The client gets modification sequences: MODSEQ is in every FETCH response about flags.
    pub fn is_condstore(&self) -> bool {
        self.condstore
    }

    /// ENABLE QRESYNC was given: VANISHED instead of EXPUNGE.
    pub fn is_qresync(&self) -> bool {
        self.qresync
    }

    /// How mailbox names are read and written now.
    pub fn names(&self) -> Names {
        if self.rev2 || self.utf8 {
            Names::Utf8
        } else {
            Names::ModifiedUtf7
        }
    }

    /// Whether a SEARCH RETURN (SAVE) was answered NO since the last call: `$` is then empty (RFC 9051 §6.4.4.1).
    pub fn take_saved_lost(&mut self) -> bool {
        std::mem::take(&mut self.saved_lost)
    }

    /// The limit that APPENDLIMIT reports, in bytes.
    pub fn append_bytes_max(&self) -> usize {
        self.policy.append_bytes_max
    }

    /// Where received bytes are appended.
    pub fn input(&mut self) -> &mut Vec<u8> {
        self.reader.input()
    }

    /// Bytes of a literal that are still to come.
    pub fn literal_bytes_pending(&self) -> usize {
        self.reader.literal_bytes_pending()
    }

    /// Gives memory back before a long wait.
    pub fn rest(&mut self) {
        self.reader.rest();
    }

    /// What is offered in the present state, without the word CAPABILITY. Before login: LOGINDISABLED where passwords need TLS.
    pub fn capabilities(&self) -> String {
        self.hiding.shown(self.all_capabilities())
    }

    /// Hidden ones too.
    fn all_capabilities(&self) -> String {
        let mut words = String::from("IMAP4rev1 IMAP4rev2 LITERAL+ ID ENABLE SASL-IR");
        if self.state == State::NotAuthenticated {
            if self.policy.tls_offered && !self.tls {
                words.push_str(" STARTTLS");
            }
            if !self.may_log_in() {
                words.push_str(" LOGINDISABLED");
                return words;
            }
            for mechanism in self.mechanisms() {
                words.push_str(" AUTH=");
                words.push_str(mechanism.name());
            }
            return words;
        }
        words.push_str(
            " NAMESPACE IDLE UNSELECT UIDPLUS MOVE CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE ESEARCH \
             SEARCHRES BINARY STATUS=SIZE UTF8=ACCEPT CONDSTORE QRESYNC \
             SORT SORT=DISPLAY ESORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES WITHIN PARTIAL I18NLEVEL=1 INPROGRESS APPENDLIMIT=",
        );
        words.push_str(&self.policy.append_bytes_max.to_string());
        self.put_more(&mut words);
        words
    }

    /// Passwords may be sent now.
    fn may_log_in(&self) -> bool {
        self.tls || self.policy.login_without_tls
    }

    /// Before a login a stranger gets little room.
    fn bounds(&self) -> Bounds {
        match self.state {
            State::NotAuthenticated => Bounds {
                command_bytes_max: COMMAND_BYTES_BEFORE_LOGIN_MAX,
                id_bytes_max: ID_COMMAND_BYTES_MAX,
                append_bytes_max: 0,
            },
            _ => Bounds {
                command_bytes_max: COMMAND_BYTES_MAX,
                id_bytes_max: ID_COMMAND_BYTES_MAX,
                append_bytes_max: self.policy.append_bytes_max,
            },
        }
    }

    /// The next thing to do. Call again after each event but `Wait`, which wants more input, and `Close`.
    pub fn step(&mut self, out: &mut Vec<u8>) -> Event {
        loop {
            // until the input is used up
            if out.len() > REPLIES_BYTES_MAX {
                return Event::Flush;
            }
            if self.state == State::Logout {
                // A login was refused once too often while the caller answered.
                return Event::Close;
            }
            let event = match &self.expect {
                Expect::Command => self.next_command(out),
                Expect::SaslResponse { .. } | Expect::Done { .. } => self.next_line(out),
                Expect::Keys { .. } => panic!("step while keys are owed"),
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    /// One command read, admitted and performed; `None`: the next one.
    fn next_command(&mut self, out: &mut Vec<u8>) -> Option<Event> {
        match self.reader.step(self.bounds()) {
            Read::More => Some(Event::Wait),
            Read::Continue(_) => {
                put(out, "+ go ahead\r\n");
                None
            }
            Read::Lost => Some(self.bye(out, "Command is too long")),
            Read::TooLarge { tag, literal } => {
                // RFC 9051 §7.1 TOOBIG and RFC 7888 §4.
                let status = if literal { Status::No } else { Status::Bad };
                put_reply(
                    out,
                    &tag,
                    status,
                    "TOOBIG",
                    "Command or literal is too large",
                );
                self.count_bad(out)
            }
            Read::Command(bytes) => match parse::command(&bytes, self.names()) {
                Ok(command) => match self.admit(&command) {
                    Ok(()) => self.on_command(command, bytes, out),
                    Err((status, code, text)) => {
                        put_reply(out, &command.tag, status, code, text);
                        if status == Status::Bad {
                            self.count_bad(out)
                        } else {
                            None
                        }
                    }
                },
                Err(bad) => {
                    let (status, code, text) = reply_to(bad.refusal);
                    put_reply(out, &bad.tag, status, code, text);
                    self.saved_lost |= bad.saves && status == Status::No;
                    if status == Status::Bad {
                        self.count_bad(out)
                    } else {
                        None
                    }
                }
            },
        }
    }

    /// A line inside of AUTHENTICATE or IDLE.
    fn next_line(&mut self, out: &mut Vec<u8>) -> Option<Event> {
        let bytes_max = match self.expect {
            Expect::SaslResponse { .. } => SASL_LINE_BYTES_MAX,
            _ => COMMAND_BYTES_BEFORE_LOGIN_MAX,
        };
        let line = match self.reader.line_only(bytes_max) {
            Ok(None) => return Some(Event::Wait),
            Err(_) => return Some(self.bye(out, "Line is too long")),
            Ok(Some(line)) => line,
        };
        match std::mem::replace(&mut self.expect, Expect::Command) {
            Expect::Command | Expect::Keys { .. } => {
                unreachable!("`step` asks for a line only in a dialogue")
            }
            Expect::SaslResponse { tag, exchange } => {
                // RFC 9051 §6.2.2: a lone * cancels.
                let response = if exchange.is_refused() {
                    // Whatever it is: the token stays refused.
                    Some(Vec::new())
                } else if line == b"*" {
                    None
                } else {
                    sasl::base64::decode(&line)
                };
                match response {
                    Some(response) => self.on_response(tag, exchange, response, out),
                    None => {
                        put_reply(out, &tag, Status::Bad, "", "Authentication cancelled");
                        self.count_bad(out)
                    }
                }
            }
            Expect::Done { tag } if line.eq_ignore_ascii_case(b"DONE") => {
                Some(Event::IdleEnded { tag })
            }
            Expect::Done { tag } => {
                put_reply(out, &tag, Status::Bad, "", "Expected DONE");
                self.count_bad(out)
                    .or(Some(Event::IdleEnded { tag: "".into() }))
            }
        }
    }

    /// Answers what needs no caller.
    fn on_command(&mut self, command: Command, bytes: Vec<u8>, out: &mut Vec<u8>) -> Option<Event> {
        let Command { tag, body } = command;
        match body {
            Body::Capability => {
                put_untagged(out, &format!("CAPABILITY {}", self.capabilities()));
                put_reply(out, &tag, Status::Ok, "", "Capability completed");
                None
            }
            Body::Noop if self.state == State::NotAuthenticated => {
                put_reply(out, &tag, Status::Ok, "", "NOOP completed");
                None
            }
            Body::Logout => {
                put_untagged(out, "BYE Logging out");
                put_reply(out, &tag, Status::Ok, "", "Logout completed");
                self.state = State::Logout;
                Some(Event::Close)
            }
            Body::Id(pairs) => {
                self.hiding.meet_client(&pairs);
                self.on_id(&tag, out);
                None
            }
            Body::Enable(capabilities) => self.on_enable(tag, capabilities, out),
            Body::Compress => self.on_compress(tag, out),
            Body::SetQuota { .. } => self.on_set_quota(&tag, out),
            Body::Unauthenticate if self.compressed => self.on_unauthenticate(&tag, out),
            Body::StartTls => self.on_starttls(&tag, out),
            Body::Login { user, password } => {
                if !self.may_log_in() {
                    put_reply(
                        out,
                        &tag,
                        Status::No,
                        "PRIVACYREQUIRED",
                        "Plaintext authentication is allowed only inside TLS",
                    );
                    return None;
                }
                self.mechanism = "LOGIN command";
                Some(Event::LogIn {
                    tag,
                    user,
                    password,
                })
            }
            Body::Authenticate { mechanism, initial } => {
                self.on_authenticate(tag, &mechanism, initial, out)
            }
            Body::Idle => {
                put(out, "+ idling\r\n");
                self.expect = Expect::Done { tag };
                Some(Event::Idle)
            }
            body => {
                self.condstore |= body.enables_condstore();
                Some(Event::Perform {
                    command: Command { tag, body },
                    bytes,
                })
            }
        }
    }

    /// The caller has opened a mailbox and written its data.
    pub fn selected(&mut self, read_only: bool) {
        assert!(!matches!(
            self.state,
            State::NotAuthenticated | State::Logout
        ));
        self.state = State::Selected { read_only };
    }

    /// After CLOSE, UNSELECT, a failed SELECT, or when the mailbox went away.
    pub fn unselected(&mut self) {
        if matches!(self.state, State::Selected { .. }) {
            self.state = State::Authenticated;
        }
    }

    /// The last words of a server that closes (RFC 9051 §7.1.5). `text` is ours.
    pub fn bye(&mut self, out: &mut Vec<u8>, text: &str) -> Event {
        put_untagged(out, &format!("BYE {text}"));
        self.state = State::Logout;
        Event::Close
    }

    /// One more BAD. A client that sends many does not speak IMAP, and costs a parse each time.
    fn count_bad(&mut self, out: &mut Vec<u8>) -> Option<Event> {
        self.bad_commands += 1;
        (self.bad_commands > BAD_COMMANDS_MAX).then(|| self.bye(out, "Too many invalid commands"))
    }
}

/// RFC 9051 §7.1 BADCHARSET lists what is supported: `mail::text::CHARSETS`.
pub(crate) const BAD_CHARSET: &str = "BADCHARSET (UTF-8 IBM866 ISO-8859-2 ISO-8859-3 ISO-8859-4 ISO-8859-5 ISO-8859-6 ISO-8859-7 ISO-8859-8 \
    ISO-8859-8-I ISO-8859-10 ISO-8859-13 ISO-8859-14 ISO-8859-15 ISO-8859-16 KOI8-R KOI8-U macintosh windows-874 \
    windows-1250 windows-1251 windows-1252 windows-1253 windows-1254 windows-1255 windows-1256 windows-1257 \
    windows-1258 x-mac-cyrillic GBK gb18030 Big5 EUC-JP ISO-2022-JP Shift_JIS EUC-KR UTF-16BE UTF-16LE \
    x-user-defined)";

/// The only place where parse errors become words.
fn reply_to(refusal: Refusal) -> (Status, &'static str, &'static str) {
    match refusal {
        Refusal::Syntax(text) => (Status::Bad, "", text),
        Refusal::UnknownCommand => (Status::Bad, "", "Unknown command"),
        Refusal::TooMuch(_) => (Status::No, "LIMIT", "Too many items in one command"),
        Refusal::BadCharset => (
            Status::No,
            BAD_CHARSET,
            "Charset not supported, or text not valid in it",
        ),
        Refusal::BadMailboxName => (Status::No, "CANNOT", "Invalid mailbox name"),
        Refusal::Binary => (Status::No, "UNKNOWN-CTE", "Message contains NUL octets"),
        // RFC 10022.
        Refusal::TurnedBatches => (
            Status::Bad,
            "CLIENTBUG",
            "Batches must be named from the lower to the higher number",
        ),
        Refusal::BadSpecialUse => (Status::No, "USEATTR", "Special use not supported"),
        Refusal::BadEvent => (Status::No, crate::notify::BAD_EVENT, "Event not supported"),
    }
}
