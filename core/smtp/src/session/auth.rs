//! AUTH on a submission port (RFC 4954): the exchange of SASL, and what the caller's verdict on it changes.
//!
//! What must hold: no password is taken where it would travel in clear and that was not allowed; nothing of an exchange outlives it; a client
//! that guesses is sent away.

use sasl::bearer::Failure;
use sasl::scram::Found;
use sasl::{Exchange, Fault, Mechanism, Offer, Step};

use crate::limits::{AUTH_LINE_BYTES_MAX, COMMAND_LINE_BYTES_MAX, LOGIN_FAILURES_MAX};
use crate::reply::{Refusal, Reply};

use super::{Action, Service, Session, State};

impl<R> Session<R> {
    pub(super) fn is_submission(&self) -> bool {
        matches!(self.config.service, Service::Submission { .. })
    }

    /// Whether AUTH is offered now.
    pub(super) fn may_log_in(&self) -> bool {
        match self.config.service {
            Service::Exchange => false,
            Service::Submission { login_without_tls } => self.tls || login_without_tls,
        }
    }

    /// RFC 4954 §4: refused before EHLO, twice, and inside a transaction; ours also without TLS where passwords need it.
    pub(super) fn on_auth(
        &mut self,
        mechanism: Option<Mechanism>,
        initial: Option<&str>,
        output: &mut Vec<u8>,
    ) -> Option<Action<R>> {
        let offer = self.offer;
        let mechanism = mechanism.filter(|it| offer.mechanisms().any(|offered| offered == *it));
        let extended = self.hello.as_ref().is_some_and(|hello| hello.extended);
        let refusal = match mechanism {
            _ if !self.is_submission() => Refusal::NoAuth,
            _ if !extended => Refusal::HelloFirst,
            _ if self.logged_in => Refusal::AuthAlready,
            _ if self.transaction.is_some() => Refusal::AuthInTransaction,
            _ if !self.may_log_in() => Refusal::TlsRequired,
            None => Refusal::AuthMechanism,
            Some(mechanism) => {
                self.mechanism = mechanism.name();
                let mut exchange = Exchange::offering(mechanism, offer);
                return match initial {
                    // RFC 4954 §4: an initial response of no bytes.
                    Some("=") => {
                        let step = exchange.respond_decoded(Vec::new());
                        self.on_step(exchange, step, output)
                    }
                    Some(initial) => {
                        let step = exchange.respond(initial.as_bytes());
                        self.on_step(exchange, step, output)
                    }
                    None => {
                        self.challenge(exchange.challenge(), output);
                        self.state = State::Auth(exchange);
                        None
                    }
                };
            }
        };
        self.refuse(refusal, output)
    }

    /// A line of the client inside an exchange.
    pub(super) fn on_response(&mut self, line: &[u8], output: &mut Vec<u8>) -> Option<Action<R>> {
        let State::Auth(mut exchange) = std::mem::replace(&mut self.state, State::Command) else {
            panic!("no exchange is open")
        };
        let step = exchange.respond(line);
        self.on_step(exchange, step, output)
    }

    fn on_step(
        &mut self,
        exchange: Exchange,
        step: Step,
        output: &mut Vec<u8>,
    ) -> Option<Action<R>> {
        let refusal = match step {
            Step::Challenge(text) => {
                self.challenge(&text, output);
                self.state = State::Auth(exchange);
                return None;
            }
            Step::FindKeys(user) => {
                self.state = State::Keys(exchange);
                return Some(Action::FindKeys(user));
            }
            Step::Proved(proved) => {
                self.state = State::Login;
                return Some(Action::Proved(proved));
            }
            Step::Credentials(credentials) => {
                self.state = State::Login;
                return Some(Action::CheckLogin(credentials));
            }
            Step::Refused(Fault::Cancelled) => Refusal::AuthCancelled,
            Step::Refused(Fault::Encoding) => Refusal::AuthEncoding,
            Step::Refused(Fault::Malformed) => Refusal::AuthMalformed,
            Step::Token(bearer) => {
                self.state = State::Keys(exchange);
                return Some(Action::CheckToken(bearer));
            }
            Step::External(user) => {
                self.state = State::Login;
                return Some(Action::CheckCertificate(user));
            }
            Step::Refused(Fault::ActingAs | Fault::Binding | Fault::Downgraded | Fault::Token) => {
                return self.count_login_failure(output);
            }
        };
        self.refuse(refusal, output)
    }

    fn challenge(&self, text: &str, output: &mut Vec<u8>) {
        output.extend_from_slice(b"334 ");
        output.extend_from_slice(text.as_bytes());
        output.extend_from_slice(b"\r\n");
    }

    /// From now on SCRAM is offered, bound to the connection where that can be. Before EHLO, and again when TLS has started.
    pub fn offer(&mut self, offer: Offer) {
        self.offer = offer;
    }

    /// How the last login was tried.
    pub fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// At `FindKeys`: another server carries the exchange on. The client's first message as it came; `login_verdict` is owed.
    pub fn take_first(&mut self) -> Option<String> {
        match std::mem::replace(&mut self.state, State::Login) {
            State::Keys(exchange) => exchange.first(),
            _ => None,
        }
    }

    /// Answers `FindKeys`.
    pub fn keys_found(&mut self, found: Found, output: &mut Vec<u8>) {
        let State::Keys(mut exchange) = std::mem::replace(&mut self.state, State::Command) else {
            panic!("no keys are owed")
        };
        let step = exchange.keys_found(found);
        // A challenge: keys were asked for.
        self.on_step(exchange, step, output);
    }

    /// Answers `CheckToken`: the client gets the reason, and its next line ends the exchange (RFC 7628 §3.2.3).
    pub fn token_refused(&mut self, why: &Failure, output: &mut Vec<u8>) {
        let State::Keys(mut exchange) = std::mem::replace(&mut self.state, State::Command) else {
            panic!("no verdict on a token is owed")
        };
        let step = exchange.token_refused(why);
        // A challenge.
        self.on_step(exchange, step, output);
    }

    /// How long the next line may be, by what it begins with: tokens are long, and nothing else of a login is.
    pub(super) fn line_bytes_max(&self, input: &[u8]) -> usize {
        let begins = input
            .first_chunk::<5>()
            .is_some_and(|word| word.eq_ignore_ascii_case(b"AUTH "));
        let is_token = match &self.state {
            State::Auth(exchange) => matches!(
                exchange.mechanism(),
                Mechanism::OauthBearer | Mechanism::XOauth2
            ),
            _ => begins,
        };
        match self.is_submission() && !self.logged_in && self.offer.tokens && is_token {
            true => AUTH_LINE_BYTES_MAX,
            false => COMMAND_LINE_BYTES_MAX,
        }
    }

    /// Answers `CheckLogin`, `CheckCertificate`, `CheckToken`, `Proved`, and `FindKeys` with a refusal: `Ok(true)`, the password is this user's; `Ok(false)`, it is not; `Err`, that could not be said now.
    pub fn login_verdict(&mut self, verdict: Result<bool, Refusal>, output: &mut Vec<u8>) {
        assert!(
            matches!(self.state, State::Login | State::Keys(_)),
            "no login is to be checked"
        );
        self.state = State::Command;
        // A close that comes of it is seen by the next `step`.
        let _ = match verdict {
            Ok(true) => {
                self.logged_in = true;
                Reply::LOGIN_OK.write(output);
                None
            }
            Ok(false) => self.count_login_failure(output),
            Err(refusal) => self.refuse(refusal, output),
        };
    }

    fn count_login_failure(&mut self, output: &mut Vec<u8>) -> Option<Action<R>> {
        self.login_failures += 1;
        if self.login_failures < LOGIN_FAILURES_MAX {
            return self.refuse(Refusal::AuthFailed, output);
        }
        Refusal::AuthFailed.reply().write(output);
        self.close(Refusal::TooManyErrors, output);
        Some(Action::Close)
    }
}
