//! TLS and logins of a session: STARTTLS, AUTHENTICATE, and what the caller's verdict changes (RFC 9051 §6.2).

use sasl::{Credentials, Exchange, Fault, Mechanism, Step};

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
        if mechanism != "PLAIN" {
            put_reply(
                out,
                &tag,
                Status::No,
                "CANNOT",
                "Unsupported mechanism; use PLAIN",
            );
            return None;
        }
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
        match initial {
            Some(response) => self.on_plain(tag, response, out),
            None => {
                put(out, "+ \r\n");
                self.expect = Expect::SaslResponse { tag };
                None
            }
        }
    }

    pub(super) fn on_plain(
        &mut self,
        tag: Box<str>,
        response: Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Option<Event> {
        match Exchange::new(Mechanism::Plain).respond_decoded(response) {
            Step::Credentials(Credentials { user, password }) => Some(Event::LogIn {
                tag,
                user,
                password,
            }),
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
            Step::Refused(_) | Step::Challenge(_) => {
                put_reply(out, &tag, Status::Bad, "", "Invalid PLAIN response");
                self.count_bad(out)
            }
        }
    }

    /// The handshake is done: passwords are accepted from now on.
    pub fn tls_started(&mut self) {
        self.tls = true;
    }

    /// The password is right: writes OK with the new capabilities.
    pub fn logged_in(&mut self, tag: &str, out: &mut Vec<u8>) {
        assert_eq!(self.state, State::NotAuthenticated);
        self.state = State::Authenticated;
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
