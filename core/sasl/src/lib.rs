//! SASL (RFC 4422) as the server's side of a pure exchange: what the client answered in, a challenge or a name and a password out.
//!
//! `smtp` and `imap` carry the lines; the caller above them checks the password. What must hold: no input makes it panic; what it holds is
//! bounded by the line that the protocol accepts; neither a name nor a password is in any `Debug` text.
//!
//! Mechanisms: PLAIN (RFC 4616), and LOGIN, which has no RFC and which Outlook and many devices use (draft-murchison-sasl-login). SCRAM, where the password
//! does not travel, is in `scram.rs`; it is offered where the caller says so (`Offer`), because it needs keys that the caller looks up. So are OAUTHBEARER and
//! XOAUTH2 (`bearer.rs`), and EXTERNAL (RFC 4422 appendix A), where TLS has said who the client is.
#![forbid(unsafe_code)]

pub mod base64;
pub mod bearer;
#[doc(hidden)]
pub mod fuzzing;
pub mod scram;

use std::borrow::Cow;
use std::fmt;

use bearer::{Bearer, Failure};
use scram::{Binding, Conversation, Found, Next, Proved};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// draft-murchison-sasl-login.
    Login,
    /// RFC 7677.
    ScramSha256,
    /// The same, bound to the TLS connection.
    ScramSha256Plus,
    /// RFC 7628.
    OauthBearer,
    /// Its vendors' form from before the RFC.
    XOauth2,
    /// RFC 4422 appendix A.
    External,
}

/// What is offered beside PLAIN and LOGIN on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offer {
    /// SCRAM; without it there is no binding either.
    pub scram: bool,
    /// `None`: there is no TLS, or none that can be bound to.
    pub binding: Option<Binding>,
    /// OAUTHBEARER and XOAUTH2.
    pub tokens: bool,
    /// EXTERNAL: the client has shown a certificate that counts.
    pub external: bool,
}

impl Offer {
    /// In the order in which they are listed.
    pub fn mechanisms(self) -> impl Iterator<Item = Mechanism> {
        let offered = move |mechanism: &Mechanism| match mechanism {
            Mechanism::Plain | Mechanism::Login => true,
            Mechanism::ScramSha256 => self.scram,
            Mechanism::ScramSha256Plus => self.scram && self.binding.is_some(),
            Mechanism::OauthBearer | Mechanism::XOauth2 => self.tokens,
            Mechanism::External => self.external,
        };
        Mechanism::ALL.into_iter().filter(offered)
    }

    /// The mechanism of this name, where it is offered.
    pub fn named(self, name: &str) -> Option<Mechanism> {
        let mechanism = Mechanism::named(name)?;
        self.mechanisms().find(|offered| *offered == mechanism)
    }
}

impl Mechanism {
    /// In the order in which they are offered.
    pub const ALL: [Mechanism; 7] = [
        Mechanism::Plain,
        Mechanism::Login,
        Mechanism::ScramSha256,
        Mechanism::ScramSha256Plus,
        Mechanism::OauthBearer,
        Mechanism::XOauth2,
        Mechanism::External,
    ];

    /// As it is registered with IANA.
    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::OauthBearer => "OAUTHBEARER",
            Mechanism::XOauth2 => "XOAUTH2",
            Mechanism::External => "EXTERNAL",
        }
    }

    /// Names are compared without regard to case (RFC 4422 §3.1 writes them in upper case; clients do not always).
    pub fn named(name: &str) -> Option<Mechanism> {
        Mechanism::ALL
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }
}

/// What a client says of itself, not yet checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// As the client sent it.
    pub user: Vec<u8>,
    /// As the client sent it.
    pub password: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// What follows a response of the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this text, base64 already, and wait for the next response.
    Challenge(Cow<'static, str>),
    /// SCRAM: look for the keys of this user, and give them to `keys_found`.
    FindKeys(Vec<u8>),
    /// SCRAM is over: the caller decides what follows.
    Proved(Proved),
    /// The exchange is over: they are to be checked.
    Credentials(Credentials),
    /// The token is to be checked; one that is not good is answered by `token_refused`.
    Token(Bearer),
    /// EXTERNAL: whether the client's certificate is this user's; `None`: whose it is.
    External(Option<Vec<u8>>),
    /// The exchange is over, without credentials.
    Refused(Fault),
}

/// Why an exchange ends without credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client sent `*`.
    Cancelled,
    /// The response is not base64.
    Encoding,
    /// The response is not of the mechanism's form.
    Malformed,
    /// An authorization identity other than the user (RFC 4422 §2); it is not offered.
    ActingAs,
    /// SCRAM: it is bound to something else than this connection.
    Binding,
    /// SCRAM: the client was shown a list of mechanisms without channel binding, which is not the list that we sent.
    Downgraded,
    /// The token was refused, and the client has been told why.
    Token,
}

/// One exchange. At first `challenge` is owed, or `respond` is given the client's initial response.
pub struct Exchange {
    /// Which form the responses have.
    mechanism: Mechanism,
    /// LOGIN: the name, once it was given.
    user: Option<Vec<u8>>,
    /// SCRAM only.
    scram: Option<Box<Conversation>>,
    /// The client has been told why its token is refused: whatever it answers, the exchange has failed.
    is_refused: bool,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({})", self.mechanism.name())
    }
}

impl Exchange {
    /// An exchange that has not begun.
    pub fn new(mechanism: Mechanism) -> Exchange {
        Exchange::offering(mechanism, Offer::default())
    }

    /// The same, where `offer` was made: SCRAM looks whether the client saw it.
    pub fn offering(mechanism: Mechanism, offer: Offer) -> Exchange {
        let scram = |is_plus| Some(Box::new(Conversation::new(is_plus, offer.binding)));
        Exchange {
            mechanism,
            user: None,
            scram: match mechanism {
                Mechanism::ScramSha256 => scram(false),
                Mechanism::ScramSha256Plus => scram(true),
                _ => None,
            },
            is_refused: false,
        }
    }

    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// What is sent when the client gave no initial response: base64, empty where the client begins.
    pub fn challenge(&self) -> &'static str {
        match self.mechanism {
            Mechanism::Login => USERNAME,
            _ => "",
        }
    }

    /// SCRAM, while keys are owed: the client's first message as it came, for a server elsewhere that carries the exchange on.
    pub fn first(&self) -> Option<String> {
        self.scram.as_ref()?.first_message()
    }

    /// What was looked up for `FindKeys`. `Refused`: nothing was asked for.
    pub fn keys_found(&mut self, found: Found) -> Step {
        let challenge = self.scram.as_mut().map(|scram| scram.found(found));
        match challenge.unwrap_or(Err(Fault::Malformed)) {
            Ok(challenge) => said(&challenge),
            Err(fault) => Step::Refused(fault),
        }
    }

    /// The token of `Token` is not good: the client gets the reason, and its answer ends the exchange.
    pub fn token_refused(&mut self, why: &Failure) -> Step {
        self.is_refused = true;
        said(&why.json(self.mechanism))
    }

    /// Only the client's word that it has understood is awaited.
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// A line of the client without its CRLF: base64, or `*`.
    pub fn respond(&mut self, line: &[u8]) -> Step {
        if self.is_refused {
            return Step::Refused(Fault::Token);
        }
        if line == b"*" {
            return Step::Refused(Fault::Cancelled);
        }
        match base64::decode(line) {
            Some(response) => self.respond_decoded(response),
            None => Step::Refused(Fault::Encoding),
        }
    }

    /// As `respond`, for a response that the protocol has decoded already.
    pub fn respond_decoded(&mut self, response: Vec<u8>) -> Step {
        if self.is_refused {
            return Step::Refused(Fault::Token);
        }
        if let Some(scram) = &mut self.scram {
            return match scram.respond(&response) {
                Ok(Next::Find(user)) => Step::FindKeys(user),
                Ok(Next::Say(text)) => said(&text),
                Ok(Next::Done(proved)) => Step::Proved(proved),
                Err(fault) => Step::Refused(fault),
            };
        }
        match (self.mechanism, self.user.take()) {
            (Mechanism::Login, None) => {
                self.user = Some(response);
                Step::Challenge(PASSWORD.into())
            }
            (Mechanism::Login, Some(user)) => Step::Credentials(Credentials {
                user,
                password: response,
            }),
            (Mechanism::OauthBearer, _) => token(bearer::oauthbearer(&response)),
            (Mechanism::XOauth2, _) => token(bearer::xoauth2(&response)),
            // RFC 4422 appendix A.1: an authorization identity, or nothing.
            (Mechanism::External, _) if response.contains(&0) => Step::Refused(Fault::Malformed),
            (Mechanism::External, _) => Step::External((!response.is_empty()).then_some(response)),
            (_, _) => plain(&response),
        }
    }
}

fn said(text: &str) -> Step {
    Step::Challenge(base64::encode(text.as_bytes()).into())
}

fn token(read: Result<Bearer, Fault>) -> Step {
    match read {
        Ok(bearer) => Step::Token(bearer),
        Err(fault) => Step::Refused(fault),
    }
}

/// RFC 4616 §2: authzid NUL authcid NUL passwd.
fn plain(response: &[u8]) -> Step {
    let pieces: Vec<&[u8]> = response.split(|&byte| byte == 0).collect();
    let [acting_as, user, password] = pieces[..] else {
        return Step::Refused(Fault::Malformed);
    };
    if !acting_as.is_empty() && acting_as != user {
        return Step::Refused(Fault::ActingAs);
    }
    Step::Credentials(Credentials {
        user: user.to_vec(),
        password: password.to_vec(),
    })
}

/// The first challenge of LOGIN: "Username:", the word that clients look for, in base64.
const USERNAME: &str = "VXNlcm5hbWU6";
/// The second challenge of LOGIN: "Password:".
const PASSWORD: &str = "UGFzc3dvcmQ6";

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(user: &str, password: &str) -> Step {
        Step::Credentials(Credentials {
            user: user.into(),
            password: password.into(),
        })
    }

    #[test]
    fn plain_is_three_pieces() {
        let answer = |response: &[u8]| {
            let line = base64::encode(response);
            Exchange::new(Mechanism::Plain).respond(line.as_bytes())
        };
        assert_eq!(answer(b"\0ann\0secret"), credentials("ann", "secret"));
        assert_eq!(answer(b"ann\0ann\0secret"), credentials("ann", "secret"));
        assert_eq!(answer(b"\0\0"), credentials("", ""));
        assert_eq!(answer(b"bob\0ann\0x"), Step::Refused(Fault::ActingAs));
        for malformed in [&b""[..], b"ann", b"\0ann", b"\0ann\0se\0cret"] {
            assert_eq!(answer(malformed), Step::Refused(Fault::Malformed));
        }
    }

    #[test]
    fn login_asks_twice() {
        assert_eq!(base64::encode(b"Username:"), USERNAME);
        assert_eq!(base64::encode(b"Password:"), PASSWORD);
        let mut exchange = Exchange::new(Mechanism::Login);
        assert_eq!(exchange.challenge(), USERNAME);
        assert_eq!(exchange.respond(b"YW5u"), Step::Challenge(PASSWORD.into()));
        assert_eq!(exchange.respond(b"c2VjcmV0"), credentials("ann", "secret"));
    }

    #[test]
    fn a_client_may_cancel_and_cannot_send_noise() {
        for mechanism in Mechanism::ALL {
            let mut exchange = Exchange::new(mechanism);
            assert_eq!(exchange.respond(b"*"), Step::Refused(Fault::Cancelled));
            for noise in [&b"Zh=="[..], b"Z", b"\xff\xff", b" "] {
                let mut exchange = Exchange::new(mechanism);
                assert_eq!(exchange.respond(noise), Step::Refused(Fault::Encoding));
            }
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let mut exchange = Exchange::new(Mechanism::Login);
        exchange.respond(b"YW5u");
        let step = exchange.respond(b"c2VjcmV0");
        let printed = format!("{exchange:?} {step:?}");
        assert!(!printed.contains("ann") && !printed.contains("secret"));
        assert!(!printed.contains("115"), "bytes of a password: {printed}");
    }

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(Mechanism::named("pLaIn"), Some(Mechanism::Plain));
        assert_eq!(Mechanism::named("LOGIN"), Some(Mechanism::Login));
        for other in ["", "PLAIN ", "CRAM-MD5", "SCRAM-SHA-1"] {
            assert_eq!(Mechanism::named(other), None);
        }
        let names = |offer: Offer| offer.mechanisms().map(Mechanism::name).collect::<Vec<_>>();
        assert_eq!(names(Offer::default()), ["PLAIN", "LOGIN"]);
        assert_eq!(Offer::default().named("SCRAM-SHA-256"), None);
        let offer = Offer {
            scram: true,
            ..Offer::default()
        };
        assert_eq!(names(offer), ["PLAIN", "LOGIN", "SCRAM-SHA-256"]);
        assert_eq!(offer.named("SCRAM-SHA-256-PLUS"), None);
    }
}
