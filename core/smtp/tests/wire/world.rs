//! A small world around a session: example.org with a few mailboxes, no socket and no store.

use std::sync::Arc;

use sasl::scram::{Found, Keys, NONCE_BYTES};
use smtp::{Action, Config, ForwardPath, Limits, Refusal, ReversePath, Role, Service, Session};

pub fn config(role: Role) -> Config {
    Config {
        role,
        service: Service::Exchange,
        hostname: "mx.example.org".into(),
        limits: Limits::default(),
        tls_available: false,
        tls_required: false,
    }
}

pub struct World {
    pub session: Session<Mailbox>,
    role: Role,
    pub output: Vec<u8>,
    /// Received and not yet used up.
    inbox: Vec<u8>,
    pub messages: Vec<Vec<u8>>,
    pub closed: bool,
    /// STARTTLS was agreed to; the rest of the flight is thrown away.
    pub handshake: bool,
}

impl World {
    pub fn new(config: Config) -> World {
        let mut output = Vec::new();
        let role = config.role;
        let session = Session::new(Arc::new(config), false, &mut output);
        World {
            session,
            role,
            output,
            inbox: Vec::new(),
            messages: Vec::new(),
            closed: false,
            handshake: false,
        }
    }

    pub fn tls_started(&mut self) {
        self.session.tls_started();
        self.handshake = false;
    }

    /// One segment arrives.
    pub fn receive(&mut self, segment: &[u8]) {
        if self.closed || self.handshake {
            return;
        }
        self.inbox.extend_from_slice(segment);
        let mut at = 0;
        loop {
            // Ends at NeedInput, StartTls or Close; each other action uses up input or ends a content.
            let (consumed, action) = self.session.step(&self.inbox[at..], &mut self.output);
            at += consumed;
            match action {
                Action::NeedInput => break,
                Action::CheckLogin(credentials) => {
                    let verdict = match (&credentials.user[..], &credentials.password[..]) {
                        (b"alice", b"secret") => Ok(true),
                        (b"busy", _) => Err(Refusal::AuthUnavailable),
                        _ => Ok(false),
                    };
                    self.session.login_verdict(verdict, &mut self.output);
                }
                Action::FindKeys(user) if user == b"busy" => {
                    let refusal = Err(Refusal::AuthUnavailable);
                    self.session.login_verdict(refusal, &mut self.output);
                }
                Action::FindKeys(_) => {
                    let salt = b"0123456789abcdef".to_vec();
                    let found = Found {
                        keys: vec![Keys::derive("secret", &salt, 4_096)],
                        salt,
                        iterations: 4_096,
                        nonce: [7; NONCE_BYTES],
                        fate: Default::default(),
                    };
                    self.session.keys_found(found, &mut self.output);
                }
                Action::CheckToken(bearer) => match &bearer.token[..] {
                    "good" => self.session.login_verdict(Ok(true), &mut self.output),
                    "busy" => {
                        let refusal = Err(Refusal::AuthUnavailable);
                        self.session.login_verdict(refusal, &mut self.output);
                    }
                    _ => {
                        let why = sasl::fuzzing::failure();
                        self.session.token_refused(&why, &mut self.output);
                    }
                },
                Action::CheckCertificate(user) => {
                    let verdict = Ok(user.is_none_or(|user| user == b"alice"));
                    self.session.login_verdict(verdict, &mut self.output);
                }
                Action::Proved(proved) => {
                    let verdict = Ok(proved.by.is_some());
                    self.session.login_verdict(verdict, &mut self.output);
                }
                Action::CheckSender => {
                    let verdict = match self.session.sender() {
                        ReversePath::Address(address) if address.local() != "alice" => {
                            Err(Refusal::NotYourAddress)
                        }
                        _ => Ok(()),
                    };
                    self.session.sender_verdict(verdict, &mut self.output);
                }
                Action::CheckRecipient => {
                    let verdict = verdict(self.session.recipient());
                    self.session.recipient_verdict(verdict, &mut self.output);
                }
                Action::BeginContent => {
                    let local = self
                        .session
                        .envelope()
                        .and_then(|envelope| envelope.recipients.first())
                        .map(|recipient| recipient.route);
                    if local == Some(Mailbox::NoSpace) {
                        self.session
                            .refuse_content(Refusal::StorageFull, &mut self.output);
                    } else {
                        self.session.begin_content(Vec::new(), &mut self.output);
                    }
                }
                Action::Forwarded(said) => {
                    let hello = said.hello;
                    self.session.forwarded(hello, &mut self.output);
                }
                Action::StartTls => {
                    self.handshake = true;
                    at = self.inbox.len();
                    break;
                }
                Action::Message(message) => {
                    self.messages.push(message.content);
                    let id = format!("m{}", self.messages.len());
                    let outcomes: Vec<_> = message
                        .envelope
                        .recipients
                        .iter()
                        .map(|recipient| {
                            if recipient.route == Mailbox::Full {
                                Err(Refusal::MailboxFull)
                            } else {
                                Ok(id.as_str())
                            }
                        })
                        .collect();
                    let due = if self.role == Role::Lmtp {
                        outcomes.len()
                    } else {
                        1
                    };
                    self.session.outcome(&outcomes[..due], &mut self.output);
                }
                Action::Close => {
                    self.closed = true;
                    at = self.inbox.len();
                    break;
                }
            }
        }
        self.inbox.drain(..at);
        // A login by token may have a longer line, and no other one.
        let bytes_max = match self.inbox.starts_with(b"AUTH XOAUTH2 ") {
            true => smtp::limits::AUTH_LINE_BYTES_MAX,
            false => smtp::limits::COMMAND_LINE_BYTES_MAX,
        };
        assert!(self.inbox.len() < bytes_max);
    }
}

/// Where a recipient's mail goes in this world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mailbox {
    Roomy,
    /// Refuses at the end of the content.
    Full,
    /// There is no memory for its content.
    NoSpace,
}

fn verdict(path: &ForwardPath) -> Result<Mailbox, Refusal> {
    let ForwardPath::Address(address) = path else {
        return Ok(Mailbox::Roomy);
    };
    match (address.local(), address.domain()) {
        ("alice" | "bob" | "a b" | "\u{e9}", "example.org") => Ok(Mailbox::Roomy),
        ("full", "example.org") => Ok(Mailbox::Full),
        ("nospace", "example.org") => Ok(Mailbox::NoSpace),
        ("busy", "example.org") => Err(Refusal::Busy),
        (_, "example.org") => Err(Refusal::UnknownRecipient),
        _ => Err(Refusal::RelayDenied),
    }
}
