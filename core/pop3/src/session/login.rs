//! TLS and logins of a session: STLS, USER and PASS, AUTH, and what the caller's verdict changes.

use sasl::bearer::Failure;
use sasl::scram::Found;
use sasl::{Credentials, Exchange, Fault, Offer, Step};

use super::{Event, Expect, Session, State, answer, put};
use crate::limits::LOGIN_FAILURES_MAX;
use crate::maildrop::Maildrop;
use crate::reply::Reply;

impl Session {
    /// Passwords may be sent now.
    pub(super) fn may_log_in(&self) -> bool {
        self.tls || self.policy.login_without_tls
    }

    pub(super) fn on_stls(&mut self, out: &mut Vec<u8>) -> Option<Event> {
        if self.tls || !self.policy.tls_offered {
            return self.refuse(Reply::NO_STLS, out);
        }
        Reply::BEGIN_TLS.put(out);
        // RFC 2595 §2.1 and §4: what was sent before TLS is not known any more, and what was sent behind STLS in the clear is not acted on.
        self.user = None;
        self.reader.clear();
        Some(Event::StartTls)
    }

    /// The handshake is done: passwords are accepted from now on.
    pub fn tls_started(&mut self) {
        self.tls = true;
    }

    /// RFC 1939 §7: the answer does not tell whether there is such a user.
    pub(super) fn on_user(&mut self, user: &[u8], out: &mut Vec<u8>) -> Option<Event> {
        if !self.may_log_in() {
            return answer(Reply::NEEDS_TLS, out);
        }
        self.user = Some(user.to_vec());
        answer(Reply::SEND_PASSWORD, out)
    }

    pub(super) fn on_pass(&mut self, password: &[u8], out: &mut Vec<u8>) -> Option<Event> {
        if !self.may_log_in() {
            return answer(Reply::NEEDS_TLS, out);
        }
        match self.user.take() {
            Some(user) => {
                self.mechanism = "USER";
                Some(Event::LogIn(Credentials {
                    user,
                    password: password.to_vec(),
                }))
            }
            None => self.refuse(Reply::USER_FIRST, out),
        }
    }

    /// RFC 5034 §4.
    pub(super) fn on_auth(
        &mut self,
        mechanism: Option<&str>,
        initial: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Option<Event> {
        if !self.may_log_in() {
            return answer(Reply::NEEDS_TLS, out);
        }
        let Some(mechanism) = mechanism else {
            // Before CAPA, clients asked so; some still do.
            Reply::MECHANISMS.put(out);
            for mechanism in self.offer.mechanisms() {
                put(out, &format!("{}\r\n", mechanism.name()));
            }
            put(out, ".\r\n");
            return None;
        };
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
        put(out, &format!("+ {challenge}\r\n"));
        self.expect = Expect::Response(exchange);
        None
    }

    /// A line of the client inside of AUTH.
    pub(super) fn on_response(
        &mut self,
        mut exchange: Exchange,
        line: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Event> {
        let step = exchange.respond(line);
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

    /// From now on SCRAM is offered, bound to the connection where that can be. Before the greeting, and again when TLS has started.
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

    /// Answers `Event::CheckToken`: the client gets the reason, and its next line ends the exchange (RFC 7628 §3.2.3).
    pub fn token_refused(&mut self, why: &Failure, out: &mut Vec<u8>) {
        let expected = std::mem::replace(&mut self.expect, Expect::Command);
        let Expect::Keys(mut exchange) = expected else {
            panic!("no verdict on a token is owed")
        };
        let step = exchange.token_refused(why);
        // A challenge.
        self.on_step(exchange, step, out);
    }

    /// The password is right, and this is the maildrop.
    pub fn opened(&mut self, maildrop: Maildrop, out: &mut Vec<u8>) {
        assert_eq!(self.state, State::Authorization);
        self.state = State::Transaction;
        // A token that is good ends its exchange.
        self.expect = Expect::Command;
        self.maildrop = Some(maildrop);
        Reply::LOGGED_IN.put(out);
    }

    /// A wrong user or password; both sound the same. After too many of them the connection is closed.
    pub fn login_refused(&mut self, out: &mut Vec<u8>) {
        self.fail(Reply::WRONG_PASSWORD, out);
    }

    /// The login cannot be decided, or the maildrop cannot be opened: it counts for nothing.
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
