//! The four protocols before the login, as a front speaks them: the sessions that a storage node has, of which only the beginning is used.
//!
//! What must hold: the front's session and the storage node's are of one kind, so a refusal sounds the same and a client cannot tell which of them spoke.

use std::sync::Arc;

use imap::hide::Hide;
use imap::respond::{Status, put_reply};
use sasl::{Credentials, Offer};
use smtp::{Action, Refusal, Role};

use super::preface::Offered;
use super::speech::Speech;
use crate::login::audit::Protocol;

/// What a session asks for.
#[derive(Debug)]
pub(super) enum Step {
    /// Send what is in `out`, then receive more.
    Wait,
    /// Send what is in `out`: there is more to do.
    Flush,
    /// Send what is in `out`, shake hands, and say so by `tls_started`.
    StartTls,
    /// Answer by `refused` or `put_off`, or pass the session on.
    LogIn(Credentials),
    /// SCRAM of this user: the same. What the client said first is with it.
    Scram { user: Vec<u8>, first: String },
    /// Send what is in `out`, and close.
    Close,
}

/// Why a front ends a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Silent,
    Stopping,
    Banned,
    /// It tried to log in too often.
    TooMany,
    /// The storage node is gone in the middle of a session.
    NodeGone,
}

/// How one protocol's conversations begin.
pub(super) struct Manner {
    pub tls_offered: bool,
    pub login_without_tls: bool,
    pub has_tls: bool,
    /// For greetings.
    pub hostname: String,
    pub offered: Option<Offered>,
    /// The greatest message where no node has said its own.
    pub message_bytes_max: u64,
}

impl Manner {
    /// Never a binding: it would be to the front's TLS, which the storage node does not see.
    fn offer(&self) -> Offer {
        Offer {
            scram: self.offered.as_ref().is_some_and(|offered| offered.scram),
            ..Offer::default()
        }
    }
}

/// One client's session before its login.
pub(super) struct Tongue {
    manner: Manner,
    session: Session,
}

enum Session {
    Imap {
        session: Box<imap::Session>,
        /// Of the login that is under way.
        tag: Box<str>,
        is_over: bool,
    },
    Pop3(Box<pop3::Session>),
    Sieve(Box<managesieve::Session>),
    Submission {
        session: Box<smtp::Session<()>>,
        inbox: Vec<u8>,
    },
}

impl Tongue {
    /// Greets into `out`.
    pub fn new(protocol: Protocol, manner: Manner, out: &mut Vec<u8>) -> Tongue {
        let (tls_offered, login_without_tls) = (manner.tls_offered, manner.login_without_tls);
        let session = match protocol {
            Protocol::Imap => {
                let policy = imap::Policy {
                    tls_offered,
                    login_without_tls,
                    append_bytes_max: 0,
                };
                let mut session = imap::Session::new(policy, manner.has_tls);
                session.offer(manner.offer());
                // A rule that hides nothing: with rules the session keeps the client's name, by which the storage node hides what it must.
                session.hiding(Arc::new([Hide {
                    client: None,
                    account: None,
                    capabilities: Vec::new(),
                }]));
                session.greet(out);
                Session::Imap {
                    session: Box::new(session),
                    tag: Box::default(),
                    is_over: false,
                }
            }
            Protocol::Pop3 => {
                let policy = pop3::Policy {
                    tls_offered,
                    login_without_tls,
                };
                let mut session = pop3::Session::new(policy, manner.has_tls);
                session.offer(manner.offer());
                session.greet(out);
                Session::Pop3(Box::new(session))
            }
            Protocol::Sieve => {
                let sieve = manner
                    .offered
                    .as_ref()
                    .map(|offered| offered.sieve.join(" "));
                let policy = managesieve::Policy {
                    tls_offered,
                    login_without_tls,
                    extensions: sieve.unwrap_or_default().into(),
                    redirects_max: sieve::limits::REDIRECTS_COUNT_MAX,
                };
                let mut session = managesieve::Session::new(policy, manner.has_tls);
                session.offer(manner.offer());
                session.greet(out);
                Session::Sieve(Box::new(session))
            }
            Protocol::Submission => {
                let offered = manner.offered.as_ref();
                let config = smtp::Config {
                    role: Role::Smtp,
                    service: smtp::Service::Submission { login_without_tls },
                    hostname: manner.hostname.clone(),
                    limits: smtp::Limits {
                        message_bytes_max: offered.map_or(manner.message_bytes_max, |offered| {
                            offered.message_bytes_max
                        }),
                        ..smtp::Limits::default()
                    },
                    tls_available: tls_offered,
                    tls_required: false,
                };
                let mut session = smtp::Session::new(Arc::new(config), manner.has_tls, out);
                session.offer(manner.offer());
                Session::Submission {
                    session: Box::new(session),
                    inbox: Vec::new(),
                }
            }
        };
        Tongue { manner, session }
    }

    pub fn protocol(&self) -> Protocol {
        match &self.session {
            Session::Imap { .. } => Protocol::Imap,
            Session::Pop3(_) => Protocol::Pop3,
            Session::Sieve(_) => Protocol::Sieve,
            Session::Submission { .. } => Protocol::Submission,
        }
    }

    /// Where received bytes are appended; what is in it is not used up yet.
    pub fn input(&mut self) -> &mut Vec<u8> {
        match &mut self.session {
            Session::Imap { session, .. } => session.input(),
            Session::Pop3(session) => session.input(),
            Session::Sieve(session) => session.input(),
            Session::Submission { inbox, .. } => inbox,
        }
    }

    /// Gives memory back before a long wait.
    pub fn rest(&mut self) {
        match &mut self.session {
            Session::Imap { session, .. } => session.rest(),
            Session::Pop3(session) => session.rest(),
            Session::Sieve(session) => session.rest(),
            Session::Submission { inbox, .. } if inbox.is_empty() => *inbox = Vec::new(),
            Session::Submission { .. } => {}
        }
    }

    pub fn step(&mut self, out: &mut Vec<u8>) -> Step {
        let scram = |user, first: Option<String>| Step::Scram {
            user,
            first: first.expect("the session asks for keys of it"),
        };
        match &mut self.session {
            Session::Imap { is_over: true, .. } => Step::Close,
            Session::Imap { session, tag, .. } => match session.step(out) {
                imap::Event::Wait => Step::Wait,
                imap::Event::Flush => Step::Flush,
                imap::Event::StartTls => Step::StartTls,
                imap::Event::LogIn {
                    tag: of,
                    user,
                    password,
                } => {
                    *tag = of;
                    Step::LogIn(Credentials { user, password })
                }
                imap::Event::FindKeys { tag: of, user } => {
                    *tag = of;
                    scram(user, session.take_first())
                }
                // Nothing else comes before a login.
                _ => Step::Close,
            },
            Session::Pop3(session) => match session.step(out) {
                pop3::Event::Wait => Step::Wait,
                pop3::Event::Flush => Step::Flush,
                pop3::Event::StartTls => Step::StartTls,
                pop3::Event::LogIn(credentials) => Step::LogIn(credentials),
                pop3::Event::FindKeys(user) => scram(user, session.take_first()),
                _ => Step::Close,
            },
            Session::Sieve(session) => match session.step(out) {
                managesieve::Event::Wait => Step::Wait,
                managesieve::Event::Flush => Step::Flush,
                managesieve::Event::StartTls => Step::StartTls,
                managesieve::Event::LogIn(credentials) => Step::LogIn(credentials),
                managesieve::Event::FindKeys(user) => scram(user, session.take_first()),
                _ => Step::Close,
            },
            Session::Submission { session, inbox } => {
                let (used, action) = session.step(inbox, out);
                inbox.drain(..used);
                match action {
                    Action::NeedInput => Step::Wait,
                    Action::StartTls => {
                        inbox.clear();
                        Step::StartTls
                    }
                    Action::CheckLogin(credentials) => Step::LogIn(credentials),
                    Action::FindKeys(user) => scram(user, session.take_first()),
                    _ => Step::Close,
                }
            }
        }
    }

    /// `offered`: as it is by now.
    pub fn tls_started(&mut self, offered: Option<Offered>, out: &mut Vec<u8>) {
        self.manner.offered = offered;
        let offer = self.manner.offer();
        match &mut self.session {
            Session::Imap { session, .. } => {
                session.tls_started();
                session.offer(offer);
            }
            Session::Pop3(session) => {
                session.tls_started();
                session.offer(offer);
            }
            Session::Sieve(session) => {
                session.offer(offer);
                session.tls_started(out);
            }
            Session::Submission { session, .. } => {
                session.tls_started();
                session.offer(offer);
            }
        }
    }

    /// What the storage node's session gets to know.
    pub fn speech(&self) -> Speech {
        let protocol = self.protocol();
        let (tag, name) = match &self.session {
            Session::Imap { session, tag, .. } => (tag.clone(), session.client_name().into()),
            Session::Submission { session, .. } => {
                let name = session.hello().map(|hello| hello.name.clone());
                (Box::default(), name.unwrap_or_default().into())
            }
            Session::Pop3(_) | Session::Sieve(_) => Default::default(),
        };
        Speech {
            protocol,
            tag,
            name,
        }
    }

    /// The storage node refused the login for good. After too many the next step is `Close`.
    pub fn refused(&mut self, out: &mut Vec<u8>) {
        match &mut self.session {
            Session::Imap {
                session,
                tag,
                is_over,
            } => *is_over = session.login_refused(tag, out).is_some(),
            Session::Pop3(session) => session.login_refused(out),
            Session::Sieve(session) => session.login_refused(out),
            Session::Submission { session, .. } => session.login_verdict(Ok(false), out),
        }
    }

    /// It cannot be decided now: it counts for nothing.
    pub fn put_off(&mut self, out: &mut Vec<u8>) {
        match &mut self.session {
            Session::Imap { tag, .. } => {
                let text = "Storage is busy, try again later";
                put_reply(out, tag, Status::No, "UNAVAILABLE", text);
            }
            Session::Pop3(session) => session.login_deferred(pop3::Reply::BUSY, out),
            Session::Sieve(session) => session.login_deferred(managesieve::Reply::BUSY, out),
            Session::Submission { session, .. } => {
                session.login_verdict(Err(Refusal::AuthUnavailable), out);
            }
        }
    }

    /// The client gave up the exchange, and `reply` of the storage node says so.
    pub fn cancelled(&mut self, reply: &[u8], out: &mut Vec<u8>) {
        match &mut self.session {
            // Its own reply is the same, and the session waits for a verdict.
            Session::Submission { session, .. } => {
                session.login_verdict(Err(Refusal::AuthCancelled), out);
            }
            _ => out.extend_from_slice(reply),
        }
    }
}

/// The last words before the connection is closed; empty where the protocol has none.
pub(super) fn last_words(protocol: Protocol, why: Why) -> Vec<u8> {
    match protocol {
        Protocol::Imap => match why {
            Why::Silent => b"* BYE Logged out for inactivity\r\n".to_vec(),
            Why::Stopping => b"* BYE Server shutting down\r\n".to_vec(),
            Why::Banned => {
                b"* BYE Too many failures from your address, try again later\r\n".to_vec()
            }
            Why::TooMany => b"* BYE Too many failed logins\r\n".to_vec(),
            Why::NodeGone => {
                b"* BYE [UNAVAILABLE] The mailbox cannot be reached, connect again\r\n".to_vec()
            }
        },
        // RFC 1939 §3: a server that gives up a session says nothing.
        Protocol::Pop3 => match why {
            Why::Banned => crate::pop3::BANNED.to_vec(),
            Why::TooMany => b"-ERR [AUTH] Too many failed logins\r\n".to_vec(),
            Why::Silent | Why::Stopping | Why::NodeGone => Vec::new(),
        },
        Protocol::Sieve => match why {
            Why::Silent => b"BYE \"Closing an idle connection\"\r\n".to_vec(),
            Why::Stopping => b"BYE (TRYLATER) \"Server shutting down\"\r\n".to_vec(),
            Why::Banned => crate::managesieve::BANNED.to_vec(),
            Why::TooMany => b"BYE \"Too many failed logins\"\r\n".to_vec(),
            Why::NodeGone => {
                b"BYE (TRYLATER) \"The scripts cannot be reached, connect again\"\r\n".to_vec()
            }
        },
        Protocol::Submission => {
            let refusal = match why {
                // RFC 5321 §4.5.3.2.7.
                Why::Silent => Refusal::TimedOut,
                Why::Stopping | Why::NodeGone => Refusal::ShuttingDown,
                Why::Banned => Refusal::Banned,
                Why::TooMany => Refusal::TooManyErrors,
            };
            refusal.line().as_bytes().to_vec()
        }
    }
}
