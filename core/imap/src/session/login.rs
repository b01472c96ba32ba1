//! TLS and logins of a session: STARTTLS, AUTHENTICATE, and what the caller's verdict changes (RFC 9051 §6.2).

use sasl::bearer::Failure;
use sasl::scram::Found;
use sasl::{Credentials, Exchange, Fault, Mechanism, Offer, Step};

use crate::limits::LOGIN_FAILURES_MAX;
use crate::respond::{Status, put, put_reply};

use super::{Event, Expect, Session, State};

impl Session {
    pub(super) fn on_starttls(&mut self, tag: &str, out: &mut Vec<u8>) -> Option<Event> {
        if self.tls || !self.policy.tls_offered {
            put_reply(out, tag, Status::Bad, "", "STARTTLS not available");
            return self.count_bad(out);
        }
        put_reply(out, tag, Status::Ok, "", "Begin TLS negotiation now");
        // RFC 9051 §6.2.1: what was sent behind STARTTLS in the clear is not acted on.
        self.reader.clear();
        Some(Event::StartTls)
    }

    pub(super) fn on_authenticate(
        &mut self,
        tag: Box<str>,
        mechanism: &str,
        initial: Option<Vec<u8>>,
        out: &mut Vec<u8>,
    ) -> Option<Event> {
        let offered = self.mechanisms();
        let Some(mechanism) = Mechanism::named(mechanism).filter(|it| offered.contains(it)) else {
            put_reply(
                out,
                &tag,
                Status::No,
                "CANNOT",
                "Unsupported mechanism; use PLAIN",
            );
            return None;
        };
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
        self.mechanism = mechanism.name();
        let exchange = Exchange::offering(mechanism, self.offer);
        match initial {
            Some(response) => self.on_response(tag, exchange, response, out),
            None => {
                put(out, "+ \r\n");
                self.expect = Expect::SaslResponse { tag, exchange };
                None
            }
        }
    }

    pub(super) fn on_response(
        &mut self,
        tag: Box<str>,
        mut exchange: Exchange,
        response: Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Option<Event> {
        let step = exchange.respond_decoded(response);
        self.on_step(tag, exchange, step, out)
    }

    fn on_step(
        &mut self,
        tag: Box<str>,
        exchange: Exchange,
        step: Step,
        out: &mut Vec<u8>,
    ) -> Option<Event> {
        match step {
            Step::Challenge(text) => {
                put(out, &format!("+ {text}\r\n"));
                self.expect = Expect::SaslResponse { tag, exchange };
                None
            }
            Step::FindKeys(user) => {
                let named = tag.clone();
                self.expect = Expect::Keys { tag, exchange };
                Some(Event::FindKeys { tag: named, user })
            }
            Step::Proved(proved) => Some(Event::Proved { tag, proved }),
            Step::Credentials(Credentials { user, password }) => Some(Event::LogIn {
                tag,
                user,
                password,
            }),
            Step::Token(bearer) => {
                let named = tag.clone();
                self.expect = Expect::Keys { tag, exchange };
                Some(Event::CheckToken { tag: named, bearer })
            }
            Step::External(user) => Some(Event::CheckCertificate { tag, user }),
            Step::Refused(Fault::Token) => self.login_refused(&tag, out),
            Step::Refused(Fault::ActingAs) => {
                put_reply(
                    out,
                    &tag,
                    Status::No,
                    "AUTHORIZATIONFAILED",
                    "Authorization identity not supported",
                );
                self.count_login_failure(out)
            }
            Step::Refused(Fault::Binding | Fault::Downgraded) => {
                put_reply(
                    out,
                    &tag,
                    Status::No,
                    "AUTHENTICATIONFAILED",
                    "Channel binding does not match",
                );
                self.count_login_failure(out)
            }
            Step::Refused(_) => {
                put_reply(out, &tag, Status::Bad, "", "Invalid SASL response");
                self.count_bad(out)
            }
        }
    }

    /// What is offered: LOGIN is a command here, and its mechanism is not.
    pub(super) fn mechanisms(&self) -> Vec<Mechanism> {
        let all = self.offer.mechanisms();
        all.filter(|it| *it != Mechanism::Login).collect()
    }

    /// From now on SCRAM is offered, bound to the connection where that can be. Before the greeting, and again when TLS has started.
    pub fn offer(&mut self, offer: Offer) {
        self.offer = offer;
    }

    /// How the last login was tried.
    pub fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// Answers `Event::FindKeys`.
    pub fn keys_found(&mut self, found: Found, out: &mut Vec<u8>) {
        let expected = std::mem::replace(&mut self.expect, Expect::Command);
        let Expect::Keys { tag, mut exchange } = expected else {
            panic!("no keys are owed")
        };
        let step = exchange.keys_found(found);
        // A challenge: keys were asked for.
        self.on_step(tag, exchange, step, out);
    }

    /// Answers `Event::CheckToken`: the client gets the reason, and its next line ends the exchange (RFC 7628 §3.2.3).
    pub fn token_refused(&mut self, why: &Failure, out: &mut Vec<u8>) {
        let expected = std::mem::replace(&mut self.expect, Expect::Command);
        let Expect::Keys { tag, mut exchange } = expected else {
            panic!("no verdict on a token is owed")
        };
        let step = exchange.token_refused(why);
        // A challenge.
        self.on_step(tag, exchange, step, out);
    }

    /// At `Event::FindKeys`: another server carries the exchange on. The client's first message as it came; what follows is a command again.
    pub fn take_first(&mut self) -> Option<String> {
        match std::mem::replace(&mut self.expect, Expect::Command) {
            Expect::Keys { exchange, .. } => exchange.first(),
            _ => None,
        }
    }

    /// Answers `Event::FindKeys` where they cannot be looked up now, and `Event::CheckToken` where it cannot be said; the caller writes the reply.
    pub fn login_deferred(&mut self) {
        self.expect = Expect::Command;
    }

    /// The handshake is done: passwords are accepted from now on.
    pub fn tls_started(&mut self) {
        self.tls = true;
    }

    /// The password is right: writes OK with the new capabilities.
    pub fn logged_in(&mut self, tag: &str, out: &mut Vec<u8>) {
        assert_eq!(self.state, State::NotAuthenticated);
        self.state = State::Authenticated;
        // A token that is good ends its exchange.
        self.expect = Expect::Command;
        put_reply(
            out,
            tag,
            Status::Ok,
            &format!("CAPABILITY {}", self.capabilities()),
            "Logged in",
        );
    }

    /// A wrong user or password; both sound the same. `Some(Close)` after too many.
    pub fn login_refused(&mut self, tag: &str, out: &mut Vec<u8>) -> Option<Event> {
        put_reply(
            out,
            tag,
            Status::No,
            "AUTHENTICATIONFAILED",
            "Authentication failed",
        );
        self.count_login_failure(out)
    }

    pub(super) fn count_login_failure(&mut self, out: &mut Vec<u8>) -> Option<Event> {
        self.login_failures += 1;
        (self.login_failures >= LOGIN_FAILURES_MAX).then(|| self.bye(out, "Too many failed logins"))
    }
}
