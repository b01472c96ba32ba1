//! STARTTLS and AUTHENTICATE (RFC 5804 §2.1 and §2.2).

use sasl::bearer::Failure;
use sasl::scram::Found;
use sasl::{Exchange, Fault, Offer, Step};

use super::{Event, Expect, Session, State, answer};
use crate::limits::LOGIN_FAILURES_MAX;
use crate::reply::{Reply, put_string};

impl Session {
    /// Passwords may be sent now.
    pub(super) fn may_log_in(&self) -> bool {
        self.tls || self.policy.login_without_tls
    }

    pub(super) fn on_starttls(&mut self, out: &mut Vec<u8>) -> Option<Event> {
        if self.tls || !self.policy.tls_offered {
            return self.refuse(Reply::NO_STARTTLS, out);
        }
        Reply::BEGIN_TLS.put(out);
        // What was sent behind STARTTLS in the clear is not acted on.
        self.reader.clear();
        Some(Event::StartTls)
    }

    /// The handshake is done: passwords are accepted from now on. RFC 5804 §2.2: the capabilities are sent again.
    pub fn tls_started(&mut self, out: &mut Vec<u8>) {
        self.tls = true;
        self.put_capabilities(out);
        Reply::CAPABILITIES.put(out);
    }

    pub(super) fn on_authenticate(
        &mut self,
        mechanism: &str,
        initial: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Option<Event> {
        if !self.may_log_in() {
            return answer(Reply::NEEDS_TLS, out);
        }
        let Some(mechanism) = self.offer.named(mechanism) else {
            return answer(Reply::NO_MECHANISM, out);
        };
        self.mechanism = mechanism.name();
        let exchange = Exchange::offering(mechanism, self.offer);
        match initial {
            Some(response) => self.on_response(exchange, response, out),
            None => {
                let challenge = exchange.challenge();
                self.challenge(exchange, challenge, out)
            }
        }
    }

    fn challenge(
        &mut self,
        exchange: Exchange,
        challenge: &str,
        out: &mut Vec<u8>,
    ) -> Option<Event> {
        put_string(challenge, out);
        out.extend_from_slice(b"\r\n");
        self.expect = Expect::Response(exchange);
        None
    }

    /// A string of the client inside of AUTHENTICATE: base64, or `*`.
    pub(super) fn on_response(
        &mut self,
        mut exchange: Exchange,
        response: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Event> {
        let step = exchange.respond(response);
        self.on_step(exchange, step, out)
    }

    fn on_step(&mut self, exchange: Exchange, step: Step, out: &mut Vec<u8>) -> Option<Event> {
        match step {
            Step::Challenge(challenge) => self.challenge(exchange, &challenge, out),
            Step::FindKeys(user) => {
                self.expect = Expect::Keys(exchange);
                Some(Event::FindKeys(user))
            }
            Step::Proved(proved) => Some(Event::Proved(proved)),
            Step::Credentials(credentials) => Some(Event::LogIn(credentials)),
            Step::Refused(Fault::ActingAs) => self.fail(Reply::ACTING_AS, out),
            Step::Token(bearer) => {
                self.expect = Expect::Keys(exchange);
                Some(Event::CheckToken(bearer))
            }
            Step::External(user) => Some(Event::CheckCertificate(user)),
            Step::Refused(Fault::Binding | Fault::Downgraded | Fault::Token) => {
                self.fail(Reply::WRONG_PASSWORD, out)
            }
            Step::Refused(Fault::Cancelled) => self.refuse(Reply::CANCELLED, out),
            Step::Refused(Fault::Encoding | Fault::Malformed) => {
                self.refuse(Reply::BAD_RESPONSE, out)
            }
        }
    }

    /// From now on SCRAM is offered, bound to the connection where that can be. Before the greeting, and again before `tls_started`.
    pub fn offer(&mut self, offer: Offer) {
        self.offer = offer;
    }

    /// How the last login was tried.
    pub fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// At `Event::FindKeys`: another server carries the exchange on. The client's first message as it came; what follows is a command again.
    pub fn take_first(&mut self) -> Option<String> {
        match std::mem::replace(&mut self.expect, Expect::Command) {
            Expect::Keys(exchange) => exchange.first(),
            _ => None,
        }
    }

    /// Answers `Event::FindKeys`.
    pub fn keys_found(&mut self, found: Found, out: &mut Vec<u8>) {
        let expected = std::mem::replace(&mut self.expect, Expect::Command);
        let Expect::Keys(mut exchange) = expected else {
            panic!("no keys are owed")
        };
        let step = exchange.keys_found(found);
        // A challenge: keys were asked for.
        self.on_step(exchange, step, out);
    }

    /// Answers `Event::CheckToken`: the client gets the reason, and its next string ends the exchange (RFC 7628 §3.2.3).
    pub fn token_refused(&mut self, why: &Failure, out: &mut Vec<u8>) {
        let expected = std::mem::replace(&mut self.expect, Expect::Command);
        let Expect::Keys(mut exchange) = expected else {
            panic!("no verdict on a token is owed")
        };
        let step = exchange.token_refused(why);
        // A challenge.
        self.on_step(exchange, step, out);
    }

    /// The password is right, and these are the scripts of `owner`.
    pub fn logged_in(&mut self, owner: &str, out: &mut Vec<u8>) {
        assert_eq!(self.state, State::Unauthenticated);
        self.state = State::Authenticated;
        // A token that is good ends its exchange.
        self.expect = Expect::Command;
        self.owner = owner.to_owned();
        Reply::LOGGED_IN.put(out);
    }

    /// A wrong user or password; both sound the same. After too many of them the connection is closed.
    pub fn login_refused(&mut self, out: &mut Vec<u8>) {
        self.fail(Reply::WRONG_PASSWORD, out);
    }

    /// The login cannot be decided: it counts for nothing.
    pub fn login_deferred(&mut self, why: Reply, out: &mut Vec<u8>) {
        self.expect = Expect::Command;
        why.put(out);
    }

    fn fail(&mut self, reply: Reply, out: &mut Vec<u8>) -> Option<Event> {
        self.login_failures += 1;
        match self.login_failures >= LOGIN_FAILURES_MAX {
            true => Some(self.end(Reply::TOO_MANY_FAILURES, out)),
            false => answer(reply, out),
        }
    }
}
